package store_test

import (
	"context"
	"testing"

	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/postgrestest"
	"example.org/keyserver/internal/store/storetest"
)

// shared is a database on PostgreSQL.
type shared store.Location

func (s shared) Create(ctx context.Context, o store.Options) (*store.DB, error) {
	o.Injected = true
	return store.Create(ctx, store.Location(s), storetest.ServerID, o)
}

func (s shared) Open(ctx context.Context, o store.Options) (*store.DB, error) {
	o.Injected = true
	return store.Open(ctx, store.Location(s), o)
}

func TestPostgreSQLKeepsTheContractOfTheStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Database { return shared(postgrestest.New(t)) })
}

// As production runs it.
func TestPostgreSQLKeepsTheContractOfTheStoreForARoleThatCannotRewriteTheLog(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Database { return shared(postgrestest.Confined(postgrestest.New(t))) })
}

package store_test

import (
	"context"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// file is a database on SQLite.
type file string

func newFile(t testing.TB) file { return file(filepath.Join(t.TempDir(), "keyserver.db")) }

func (f file) Create(ctx context.Context, o store.Options) (*store.DB, error) {
	return store.Create(ctx, string(f), storetest.ServerID, o)
}

func (f file) Open(ctx context.Context, o store.Options) (*store.DB, error) {
	return store.Open(ctx, string(f), o)
}

func TestSQLiteKeepsTheContractOfTheStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Database { return newFile(t) })
}

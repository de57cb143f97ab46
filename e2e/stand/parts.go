package stand

import (
	"context"
	"errors"
	"fmt"
	"os"

	"example.org/keyserver/internal/keystore/hsm/hsmtest"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/postgrestest"
)

// prepare makes what the servers need before they are configured: the database's cluster, and the token.
func (s *Stand) prepare(ctx context.Context, o Options) error {
	switch o.Keystore {
	case "", Software:
	case SoftHSM:
		if s.Token != nil {
			return errors.New("a stand has one keystore: a token or a new one")
		}
		token, err := hsmtest.MakeSoftHSM(ctx, s.Dir, "keyserver", "271828")
		if err != nil {
			return err
		}
		s.Token = &token
	default:
		return fmt.Errorf("keystore %q is unknown; say %s or %s", o.Keystore, Software, SoftHSM)
	}
	if s.Token != nil {
		if err := os.WriteFile(s.path("pin"), []byte(s.Token.PIN+"\n"), 0o600); err != nil {
			return err
		}
	}
	switch o.Database {
	case "", SQLite:
		if o.Servers > 1 {
			return fmt.Errorf("%d servers need a database that they can share; say %s", o.Servers, Postgres)
		}
		return nil
	case Postgres:
		return s.startCluster(ctx)
	}
	return fmt.Errorf("database %q is unknown; say %s or %s", o.Database, SQLite, Postgres)
}

// startCluster starts a cluster and makes the database. Its files are not in the stand's directory, which is for its
// owner alone: the cluster of root runs as somebody else.
func (s *Stand) startCluster(ctx context.Context) error {
	cluster, err := postgrestest.Start("")
	if err != nil {
		return err
	}
	s.Cluster = cluster
	at, err := cluster.NewDatabase(ctx)
	if err != nil {
		return err
	}
	s.database = postgrestest.Confined(at).Postgres
	return nil
}

// values are what the files of a server say.
func (s *Stand) values(address string) map[string]any {
	return map[string]any{"Address": address, "Issuer": s.Issuer, "Postgres": s.database, "Token": s.Token, "MailPort": s.mailPort}
}

// Copy copies what the database holds, while nobody uses it, and changes the copy by a statement of SQL. It returns
// the name of the copy: only for a stand with a cluster.
func (s *Stand) Copy(ctx context.Context, statement string) (name string, err error) {
	name = s.database.Name + "_copy"
	err = s.Cluster.Exec(ctx, "postgres", "CREATE DATABASE "+name+" OWNER "+postgrestest.Owner+" TEMPLATE "+s.database.Name)
	if err == nil {
		err = s.Cluster.Exec(ctx, name, statement)
	}
	return name, err
}

// Database is the name of the database in the cluster.
func (s *Stand) Database() string { return s.database.Name }

// Location is where the database is, for its owner.
func (s *Stand) Location() store.Location {
	if s.database != nil {
		return store.Location{Postgres: s.database}
	}
	return store.File(s.path("keyserver.db"))
}

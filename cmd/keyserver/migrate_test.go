package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/postgrestest"
)

// databases are both ways of a move: what a site is on, and what it moves to.
var databases = map[string]func(testing.TB) *site{"from SQLite": newSQLiteSite, "from PostgreSQL": newPostgresSite}

// moving is a site with a history whose server has stopped, a checkpoint of which is in the file checkpoint.
func moving(t *testing.T, new func(testing.TB) *site) *site {
	t.Helper()
	s := new(t)
	s.quickKeystore()
	s.must(s.init())
	v := s.serve()
	o, p := v.order("fw-dev", "release"), v.order("fw-prod", "another")
	for i := range 5 {
		v.sign(o, fmt.Sprint("image-", i))
	}
	if _, err := v.as("alice").Approve(t.Context(), p.ID, p.Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := v.as("olga").Revoke(t.Context(), p.ID, "wrong tag: ä€𝄞"); err != nil {
		t.Fatal(err)
	}
	s.write("checkpoint", v.sign(o, "image-last"))
	if code := v.end(); code != exitOK {
		t.Fatalf("the server ended with %d\n%s", code, v.log)
	}
	return s
}

// destination is an empty database of the other kind, and how migrate names source and target. The
// configuration names the new one, or the old one if only that is on PostgreSQL.
func (s *site) destination(t *testing.T) (to store.Location, args []string) {
	t.Helper()
	if s.at.Shared() {
		to = store.File(s.path("data/moved.db"))
		return to, []string{"migrate", "--from", "postgres:", "--to", "sqlite:" + to.SQLite}
	}
	to = postgrestest.Confined(postgrestest.New(t))
	to.Postgres.Confined = false
	s.edit("keyserver.yaml", databaseConfig(s.at), databaseConfig(to))
	return to, []string{"migrate", "--from", "sqlite:" + s.at.SQLite, "--to", "postgres:"}
}

// goTo makes a database that of the site.
func (s *site) goTo(at store.Location) {
	s.Helper()
	if s.at.Shared() {
		s.edit("keyserver.yaml", databaseConfig(s.at), strings.Replace(sqliteConfig, "data/keyserver.db", at.SQLite, 1))
	}
	s.at = at
}

func TestAKeyserverMovesToAnotherDatabaseAndGoesOn(t *testing.T) {
	for name, new := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := moving(t, new)
			size := s.logSize()
			to, args := s.destination(t)
			r := s.must(s.run(args...))
			for _, line := range []string{fmt.Sprintf("entries     %d, root ", size), "every row is the same, the audit log is intact and the state is what it tells\n", "never serve the old database again"} {
				if !strings.Contains(r.stdout, line) {
					t.Errorf("it does not say %q, but:\n%s", line, r.stdout)
				}
			}
			s.goTo(to)
			if verified := s.must(s.run("verify", "--checkpoint", s.path("checkpoint"))); !strings.Contains(verified.stdout, rootOf(r.stdout)) {
				t.Errorf("the root is another:\n%s%s", r.stdout, verified.stdout)
			}
			if !to.Shared() { // whose clock is the site's
				s.clock.Set(time.Since(s.clock.Now()))
			}
			v := s.serve()
			v.sign(v.order("fw-dev", "after-the-move"), "image")
			if code := v.end(); code != exitOK {
				t.Errorf("the server ended with %d\n%s", code, v.log)
			}
			s.must(s.run("verify", "--checkpoint", s.path("checkpoint")))
		})
	}
}

func rootOf(said string) string {
	_, root, _ := strings.Cut(said, "root ")
	root, _, _ = strings.Cut(root, "\n")
	return root
}

// rows are all rows of all tables of a file.
func rows(t *testing.T, path string) []string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	query := func(text string, columns func(*sql.Rows) error) {
		found, err := db.Query(text)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = found.Close() }()
		for found.Next() {
			if err := columns(found); err != nil {
				t.Fatal(err)
			}
		}
	}
	var tables, all []string
	query(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'goose%' ORDER BY name`, func(r *sql.Rows) error {
		var name string
		err := r.Scan(&name)
		tables = append(tables, name)
		return err
	})
	for _, name := range tables {
		query(`SELECT * FROM `+name, func(r *sql.Rows) error {
			columns, err := r.Columns()
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			err = errors.Join(err, r.Scan(into...))
			all = append(all, fmt.Sprintf("%s %v %T %q", name, columns, values, values))
			return err
		})
	}
	slices.Sort(all)
	return all
}

func TestWhatMovesThereAndBackIsTheSame(t *testing.T) {
	s := moving(t, newSQLiteSite)
	to, args := s.destination(t)
	s.must(s.run(args...))
	s.must(s.run("migrate", "--from", "postgres:", "--to", "sqlite:"+s.path("data/back.db")))
	before, after := rows(t, s.at.SQLite), rows(t, s.path("data/back.db"))
	if len(before) < 60 || !slices.Equal(before, after) {
		t.Errorf("%d rows went and %d came back:\n%s\n\n%s", len(before), len(after), strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	s.goTo(to)
}

func TestAServerThatRunsIsNotMoved(t *testing.T) {
	for name, new := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := moving(t, new)
			v := s.serve()
			_, args := s.destination(t)
			says := "another keyserver serves this database"
			if s.at.Shared() {
				says = "a keyserver is connected to it"
			}
			s.refused(s.run(args...), exitFailed, "copying from database", says)
			v.sign(v.order("fw-dev", "meanwhile"), "image")
			v.end()
			s.must(s.run(args...))
		})
	}
}

func TestAMoveIsMadeIntoAnEmptyDatabaseAlone(t *testing.T) {
	for name, new := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := moving(t, new)
			_, args := s.destination(t)
			s.must(s.run(args...))
			s.refused(s.run(args...), exitFailed, "copying to database", "there are rows in its table audit_events; copies are made into an empty database alone")
		})
	}
	s := newSQLiteSite(t)
	s.quickKeystore()
	s.must(s.init())
	for _, args := range [][]string{
		{"--from", "postgres:", "--to", "sqlite:x"}, {"--from", "sqlite:", "--to", "postgres:"}, {"--from", "x.db", "--to", "postgres:"},
		{"--from", "sqlite:" + s.at.SQLite, "--to", "postgres://db/keyserver"},
	} {
		s.refused(s.run(append([]string{"migrate"}, args...)...), exitFailed, "--", "postgres:")
	}
	s.refused(s.run("migrate", "--from", "sqlite:"+s.path("nothing.db"), "--to", "sqlite:"+s.path("x.db")), exitFailed, "--from: there is no such file: "+s.path("nothing.db"))
	s.refused(s.run("migrate", "--from", "sqlite:"+s.at.SQLite, "--to", "sqlite:"+s.at.SQLite), exitFailed, "source and target are both")
	if _, err := os.Stat(s.path("x.db")); err == nil {
		t.Error("a move that was refused has made a file")
	}
}

// tablesOf makes a site's tables in an empty database.
func (s *site) tablesOf(to store.Location) *site {
	s.Helper()
	db, err := store.Create(s.Context(), to, "keyserver/nobody", store.Options{Clock: s.clock.Now})
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		s.Fatal(err)
	}
	there := &site{TB: s, dir: s.dir, at: to}
	there.intrude(`DELETE FROM head`)
	return there
}

// Whoever can change the target while it is written, or the source before, gets no copy that is called done
// or that could be served.
func TestAMoveThatWasTamperedWithIsNotDone(t *testing.T) {
	for name, new := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := moving(t, new)
			to, args := s.destination(t)
			there := s.tablesOf(to)
			if to.Shared() {
				there.intrude(`CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.taken := 1; NEW.signed := 1; RETURN NEW; END'`,
					`CREATE TRIGGER forget BEFORE INSERT ON operation_keys FOR EACH ROW EXECUTE FUNCTION forget()`)
			} else {
				there.intrudeFile(to.SQLite, `CREATE TRIGGER forget AFTER INSERT ON operation_keys BEGIN UPDATE operation_keys SET taken = 1, signed = 1; END`)
			}
			s.refused(s.run(args...), exitFailed, "table operation_keys is not the same after it was copied: 2 rows, digest ")
			if to.Shared() {
				there.intrude(`DROP TRIGGER forget ON operation_keys`)
			} else {
				there.intrudeFile(to.SQLite, `DROP TRIGGER forget`)
			}
			s.intrude(`UPDATE operation_keys SET taken = 1, signed = 1`)
			s.refused(s.run(args...), exitTampered, "the copy is not what it must be, and cannot be served", "table operation_keys")
			s.goTo(to)
			s.refused(s.run("serve"), exitFailed, "the database is not initialised")
		})
	}
}

// A move that is cut off anywhere leaves nothing that could be served, and can be done again.
func TestAMoveThatWasCutOffCanBeDoneAgain(t *testing.T) {
	for name, new := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := moving(t, new)
			to, args := s.destination(t)
			for _, cut := range []struct {
				table string
				again bool
			}{{"audit_events", false}, {"sign_orders", false}, {"head", false}, {"audit_events", true}, {"head", true}} {
				ctx, cancel := context.WithCancel(t.Context())
				_, err := store.Copy(ctx, s.at, to, store.Options{Clock: s.clock.Now}, store.CopyOptions{
					Progress: func(table string, _ int64, again bool) {
						if table == cut.table && again == cut.again {
							cancel()
						}
					},
					Check: func(context.Context, *store.DB, store.Copied) error { return nil },
				})
				if err == nil {
					t.Fatalf("cut off at %v, it is done", cut)
				}
			}
			twin := &site{TB: t, dir: s.dir, at: s.at, clock: s.clock, env: s.env, idp: s.idp}
			config := s.read("keyserver.yaml")
			twin.goTo(to)
			s.refused(twin.run("serve"), exitFailed, "the database is not initialised")
			s.write("keyserver.yaml", config)
			s.must(s.run(args...))
			s.goTo(to)
			s.must(s.run("verify", "--checkpoint", s.path("checkpoint")))
		})
	}
}

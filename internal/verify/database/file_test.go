package database_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	_ "modernc.org/sqlite"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/database"
	"example.org/keyserver/internal/verify/verifytest"
)

// told is a database in which everything happened, as a file that can be copied.
type told struct {
	world  *verifytest.World
	file   []byte
	events []audit.Event
	newest audit.Checkpoint
}

func tell(t *testing.T) *told {
	t.Helper()
	w := verifytest.New(t)
	w.Story()
	s := &told{world: w, events: w.Events(), newest: audit.Checkpoint{Origin: verifytest.ServerID, Size: w.DB.Head().Size(), Root: w.DB.Head().Root()}}
	s.file = fileOf(t, w)
	return s
}

// fileOf closes the database and returns it as one file.
func fileOf(t *testing.T, w *verifytest.World) []byte {
	t.Helper()
	w.Close()
	db, err := sql.Open("sqlite", w.Path)
	if err == nil {
		_, err = db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(w.Path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// intruder has a copy of the database and does to it what SQL can.
type intruder struct {
	*testing.T
	of   *told
	path string
	db   *sql.DB
}

func (s *told) intrude(t *testing.T) *intruder {
	t.Helper()
	i := &intruder{T: t, of: s, path: filepath.Join(t.TempDir(), "copy.db")}
	i.must(os.WriteFile(i.path, s.file, 0o600))
	var err error
	i.db, err = sql.Open("sqlite", i.path+"?_pragma=foreign_keys(0)&_pragma=ignore_check_constraints(1)&_pragma=synchronous(0)")
	i.must(err)
	return i
}

func (i *intruder) must(err error) {
	i.Helper()
	if err != nil {
		i.Fatal(err)
	}
}

// do runs a statement that must change something.
func (i *intruder) do(text string, args ...any) {
	i.Helper()
	i.must(i.try(text, args...))
}

func (i *intruder) try(text string, args ...any) error {
	done, err := i.db.Exec(text, args...)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err == nil && n == 0 {
		return errors.New("nothing was changed by: " + text)
	}
	return nil
}

// texts reads one column of text.
func (i *intruder) texts(query string, args ...any) []string {
	i.Helper()
	rows, err := i.db.Query(query, args...)
	i.must(err)
	var all []string
	for rows.Next() {
		var s string
		i.must(rows.Scan(&s))
		all = append(all, s)
	}
	i.must(errors.Join(rows.Err(), rows.Close()))
	return all
}

func (i *intruder) text(query string, args ...any) string {
	i.Helper()
	all := i.texts(query, args...)
	if len(all) == 0 {
		i.Fatalf("nothing found by: %s", query)
	}
	return all[0]
}

// verify opens the changed database and verifies it.
func (i *intruder) verify(remembered ...audit.Checkpoint) error {
	i.Helper()
	i.must(i.db.Close())
	db, err := store.OpenForInspection(context.Background(), store.File(i.path), store.Options{Clock: i.of.world.Now})
	i.must(err)
	_, err = database.Verify(context.Background(), db, i.of.world.Verifier, verify.Options{Remembered: remembered})
	return errors.Join(err, db.Close())
}

// forgeLog writes these events as the log, as somebody does who wants it to fit together: numbered and
// linked, every hash made anew.
func (i *intruder) forgeLog(events []audit.Event) {
	i.Helper()
	tx, err := i.db.Begin()
	i.must(err)
	do := func(text string, args ...any) {
		_, err := tx.Exec(text, args...)
		i.must(err)
	}
	do(`DELETE FROM audit_events`)
	do(`DELETE FROM audit_hashes`)
	var tree audit.Tree
	for n, e := range events {
		e.Index, e.Previous = int64(n), tree.Previous()
		leaf, err := e.Leaf()
		i.must(err)
		subject := ""
		if e.Actor != nil {
			subject = string(e.Actor.Subject)
		}
		do(`INSERT INTO audit_events (idx, batch, time, type, operation, subject, keyid, session, leaf) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			e.Index, e.Batch, e.Time, string(e.Type), string(e.Operation), subject, string(e.Key), e.Session, string(leaf))
		next, hashes := tree.Append(leaf)
		for _, h := range hashes {
			do(`INSERT INTO audit_hashes (idx, hash) VALUES (?, ?)`, h.Index, h.Hash[:])
		}
		tree = next
	}
	do(`UPDATE head SET size = ?`, len(events))
	i.must(tx.Commit())
}

// without returns the events but one.
func without(events []audit.Event, n int) []audit.Event {
	return slices.Concat(events[:n], events[n+1:])
}

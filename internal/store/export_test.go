package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

// What the tests of checks call by themselves, since the faults cannot be had.
var (
	CheckFileSystem = checkFileSystem
	CheckDurable    = checkDurable
)

// CheckPostgres checks what the check of a PostgreSQL server looks at.
func CheckPostgres(version int, standby bool, synchronousCommit, fsync, fullPageWrites, encoding string) error {
	return postgresSettings{version, standby, synchronousCommit, fsync, fullPageWrites, encoding}.check()
}

// OnWriter runs a statement on the connection that writes, while nothing else does.
func (db *DB) OnWriter(t testing.TB, statement string) {
	t.Helper()
	c, err := db.writer.take(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer db.writer.giveBack(c)
	if _, err := c.ExecContext(context.Background(), statement); err != nil {
		t.Fatal(err)
	}
}

// PlanOfEvents is how SQLite would look for these events.
func (db *DB) PlanOfEvents(t testing.TB, query EventQuery) string {
	t.Helper()
	text, args := query.statement(1)
	return db.plan(t, text, args)
}

// PlanOfOperations is how SQLite would look for these operations.
func (db *DB) PlanOfOperations(t testing.TB, query OperationQuery) string {
	t.Helper()
	text, args := query.statement()
	return db.plan(t, text, args)
}

// Asked are the texts of the queries that a closure asks, on SQLite.
func (db *DB) Asked(t testing.TB, fn func(*Tx) error) []string {
	t.Helper()
	var asked []string
	if _, err := Update(context.Background(), db, func(tx *Tx) (any, error) {
		before := maps.Clone(tx.q.c.statements)
		clear(tx.q.c.statements)
		err := fn(tx)
		asked = slices.Collect(maps.Keys(tx.q.c.statements))
		for text, s := range before {
			if again := tx.q.c.statements[text]; again != nil {
				err = errors.Join(err, again.Close())
			}
			tx.q.c.statements[text] = s
		}
		return nil, err
	}); err != nil {
		t.Fatal(err)
	}
	return asked
}

// Plan is how SQLite would look for what a text asks for.
func (db *DB) Plan(t testing.TB, text string, args ...any) string {
	t.Helper()
	return db.plan(t, text, args)
}

// PlansOfCertificates is how SQLite would answer what is asked of very many device certificates.
func (db *DB) PlansOfCertificates(t testing.TB) map[string]string {
	t.Helper()
	plans := map[string]string{}
	for what, text := range map[string]string{
		"revocation list": listRevoked, "count of revoked": countRevoked, "count of a lot": countLot, "count of refused": countRefused,
		"first of a lot": `SELECT ` + certificateColumns + ` FROM certificates WHERE ` + lotOf + ` ORDER BY id LIMIT 1`,
		"of keys":        `SELECT ` + certificateColumns + ` FROM certificates WHERE ` + ofKeys,
	} {
		plans[what] = db.plan(t, text, []any{"a", "b", 1}[:strings.Count(text, "$")])
	}
	return plans
}

func (db *DB) plan(t testing.TB, text string, args []any) string {
	t.Helper()
	c, err := db.writer.take(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer db.writer.giveBack(c)
	rows, err := c.QueryContext(context.Background(), `EXPLAIN QUERY PLAN `+text, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "; ")
}

// Forget makes the writer read anew what it knows.
func (db *DB) Forget(t testing.TB) {
	t.Helper()
	if _, err := Update(context.Background(), db, func(tx *Tx) (any, error) { tx.cache.clear(tx.cache.size); return nil, nil }); err != nil {
		t.Fatal(err)
	}
}

// Pragmas reads pragmas of every connection, of those that read too.
func (db *DB) Pragmas(t testing.TB, name string) []string {
	t.Helper()
	var values []string
	for _, p := range []conns{db.writer, db.readers} {
		var taken []*conn
		for range cap(p.free) {
			c, err := p.take(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, c)
			var value string
			if err := c.QueryRowContext(context.Background(), `PRAGMA `+name).Scan(&value); err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		for _, c := range taken {
			p.giveBack(c)
		}
	}
	return values
}

// Watched is how many operations are watched.
func (db *DB) Watched() int {
	db.watch.mu.Lock()
	defer db.watch.mu.Unlock()
	return len(db.watch.waiting)
}

// WriterSetting reads a setting of the connection that writes.
func (db *DB) WriterSetting(t testing.TB, name string) (value string, err error) {
	t.Helper()
	c, err := db.writer.take(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer db.writer.giveBack(c)
	err = c.QueryRowContext(context.Background(), `SELECT current_setting($1)`, name).Scan(&value)
	return value, err
}

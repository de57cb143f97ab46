package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
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

func createShared(t testing.TB, at store.Location) *store.DB {
	t.Helper()
	db, err := shared(at).Create(t.Context(), withClock(store.Options{}))
	must(t, err)
	closeAtEnd(t, db)
	must(t, update(db, func(tx *store.Tx) error { return storetest.Configure(tx, storetest.World()) }))
	return db
}

func openShared(t testing.TB, at store.Location) *store.DB {
	t.Helper()
	db, err := shared(at).Open(t.Context(), withClock(store.Options{}))
	must(t, err)
	closeAtEnd(t, db)
	return db
}

func TestPostgreSQLThatCouldLoseDataIsRefused(t *testing.T) {
	for _, c := range []struct {
		version                                            int
		standby                                            bool
		synchronousCommit, fsync, fullPageWrites, encoding string
		refused                                            string // in the sentence; empty: it is not
	}{
		{15, false, "on", "on", "on", "UTF8", ""},
		{18, false, "remote_apply", "on", "on", "UTF8", ""},
		{14, false, "on", "on", "on", "UTF8", "PostgreSQL 14 is too old"},
		{15, true, "on", "on", "on", "UTF8", "it is a standby"},
		{15, false, "off", "on", "on", "UTF8", "synchronous_commit is off"},
		{15, false, "local", "on", "on", "UTF8", "synchronous_commit is local"},
		{15, false, "remote_write", "on", "on", "UTF8", "synchronous_commit is remote_write"},
		{15, false, "", "on", "on", "UTF8", "synchronous_commit is"},
		{15, false, "on", "off", "on", "UTF8", "fsync is off"},
		{15, false, "on", "on", "off", "UTF8", "full_page_writes off"},
		{15, false, "on", "on", "on", "SQL_ASCII", "encoding is SQL_ASCII"},
	} {
		err := store.CheckPostgres(c.version, c.standby, c.synchronousCommit, c.fsync, c.fullPageWrites, c.encoding)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%+v: the error is %v", c, err)
		}
	}
}

func TestADatabaseWhoseCommitsCouldBeLostIsNotOpened(t *testing.T) {
	at := postgrestest.New(t)
	must(t, createShared(t, at).Close())
	postgrestest.Exec(t, at, `ALTER DATABASE `+at.Postgres.Name+` SET synchronous_commit = off`)
	_, err := shared(at).Open(t.Context(), withClock(store.Options{}))
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit is off") {
		t.Errorf("the error is %v", err)
	}
	postgrestest.Exec(t, at, `ALTER DATABASE `+at.Postgres.Name+` RESET synchronous_commit`)
	openShared(t, at)
}

// The server's role cannot do what it never does.
func TestAProductionServersRoleCannotRewriteWhatWasSaid(t *testing.T) {
	at := postgrestest.Confined(postgrestest.New(t))
	db := createShared(t, at)
	must(t, update(db, func(tx *store.Tx) error {
		if err := storetest.Create(tx, "one", 1, "fw"); err != nil {
			return err
		}
		_, err := storetest.Place(tx, "one", "fw", "order")
		return err
	}))
	for _, statement := range []string{
		`UPDATE audit_events SET leaf = ''`, `DELETE FROM audit_events`, `TRUNCATE audit_events`, `DROP TABLE audit_events`,
		`ALTER TABLE audit_events DISABLE TRIGGER ALL`, `UPDATE audit_hashes SET hash = ''`, `DELETE FROM audit_hashes`,
		`DELETE FROM head`, `INSERT INTO head SELECT * FROM head`, `UPDATE operations SET statement = ''`, `UPDATE operations SET eligible = ''`,
		`DELETE FROM operations`, `DELETE FROM operation_keys`, `UPDATE operation_keys SET keyid = ''`, `UPDATE approvals SET subject = ''`,
		`DELETE FROM approvals`, `UPDATE sign_orders SET input = ''`, `UPDATE sign_orders SET requester = ''`, `DELETE FROM sign_orders`,
		`UPDATE administration_sessions SET statement = ''`, `UPDATE administration_sessions SET plan = ''`, `UPDATE administration_sessions SET base = 0`,
		`DELETE FROM administration_sessions`, `UPDATE session_authorisations SET subject = ''`, `DELETE FROM session_authorisations`,
		`UPDATE certificates SET tbs = ''`, `UPDATE certificates SET serial = ''`, `DELETE FROM certificates`, `DELETE FROM revocation_lists`,
		`DELETE FROM ended_sign_ins`, `UPDATE ended_sign_ins SET id = ''`,
		`UPDATE sign_orders SET certifies = ''`, `TRUNCATE configuration`, `CREATE TABLE other ()`, `DELETE FROM goose_db_version`,
	} {
		err := postgrestest.ExecAs(t, at, postgrestest.Server, statement)
		if err == nil || !strings.Contains(err.Error(), "permission denied") && !strings.Contains(err.Error(), "must be owner") {
			t.Errorf("%s: the error is %v", statement, err)
		}
	}
	storetest.Check(t, db)
}

func TestARoleThatCouldRewriteTheLogIsRefusedWhereItMustNot(t *testing.T) {
	at := postgrestest.New(t)
	must(t, createShared(t, at).Close())
	owner := *at.Postgres
	owner.Confined = true
	for name, p := range map[string]store.Postgres{"the owner": owner} {
		_, err := shared{Postgres: &p}.Open(t.Context(), withClock(store.Options{}))
		if err == nil || !strings.Contains(err.Error(), "its role could rewrite the audit log") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	confined := postgrestest.Confined(at)
	_, _, err := store.Upgrade(t.Context(), confined, withClock(store.Options{}))
	must(t, err)
	must(t, openShared(t, confined).Close())
	for _, grant := range []string{`UPDATE ON audit_hashes`, `DELETE ON audit_events`, `TRUNCATE ON audit_events`} {
		postgrestest.Exec(t, at, `GRANT `+grant+` TO `+postgrestest.Server)
		if _, err := shared(confined).Open(t.Context(), withClock(store.Options{})); err == nil || !strings.Contains(err.Error(), "could rewrite") {
			t.Errorf("with %s the error is %v", grant, err)
		}
		postgrestest.Exec(t, at, `REVOKE `+grant+` FROM `+postgrestest.Server)
	}
	openShared(t, confined)
}

// A restored backup under a running server, or a standby that was behind and became the primary.
func TestADatabaseThatHasGoneBackIsNotWrittenTo(t *testing.T) {
	at := postgrestest.New(t)
	db := createShared(t, at)
	must(t, update(db, say("one")))
	must(t, update(db, say("two")))
	size := db.Head().Size()
	postgrestest.Exec(t, at, fmt.Sprintf(`DELETE FROM audit_events WHERE idx = %d; DELETE FROM audit_hashes WHERE idx >= %d; UPDATE head SET size = %[1]d`, size-1, hashes(size-1)))
	if err := update(db, say("never")); !isUnavailable(err) || !strings.Contains(err.Error(), "has gone back") {
		t.Errorf("the error is %v", err)
	}
	if db.Head().Size() != size {
		t.Error("the head has gone back")
	}
	must(t, update(openShared(t, at), say("after a restart")))
}

// hashes is how many hashes a tree of that size has stored (golang.org/x/mod/sumdb/tlog).
func hashes(size int64) int64 {
	n := int64(0)
	for ; size > 0; size /= 2 {
		n += size
	}
	return n
}

func TestWatchersAreToldOfWhatAnotherServerHasCommitted(t *testing.T) {
	at := postgrestest.New(t)
	db := createShared(t, at)
	other := openShared(t, at)
	create := func(id law.OperationID) {
		must(t, update(db, func(tx *store.Tx) error { return storetest.Create(tx, id, 1, "fw") }))
	}
	await := func(db *store.DB, id law.OperationID, do func()) {
		t.Helper()
		changed, stop := db.Watch(id)
		defer stop()
		do()
		<-changed
	}
	await(other, "one", func() { create("one") })
	await(other, "two", func() { create("two") })
	// It is told too of what it may have missed while its connection was gone.
	await(other, "three", func() {
		postgrestest.Exec(t, at, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`)
	})
	await(other, "four", func() { create("four") })
	awaitAny := func(do func()) {
		t.Helper()
		changed, stop := other.WatchAny()
		defer stop()
		do()
		<-changed
	}
	awaitAny(func() { create("five") })
	awaitAny(func() { must(t, update(db, say("what is of no operation"))) })
}

func TestASecretOfALocationIsNeverPrinted(t *testing.T) {
	at := store.Location{Postgres: &store.Postgres{Host: "db.test", Port: 5432, Name: "keys", Server: store.Role{Name: "who", Password: "SECRET"}, Owner: store.Role{Password: "SECRET"}}}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "at", at, "role", at.Postgres.Server)
	for _, text := range []string{fmt.Sprint(at), fmt.Sprintf("%+v %#v %v %+v", at, at.Postgres.Server, *at.Postgres, at.Postgres), log.String()} {
		if strings.Contains(text, "SECRET") || text == "" {
			t.Errorf("it prints %s", text)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := store.Open(ctx, at, withClock(store.Options{}))
	if err == nil || strings.Contains(err.Error(), "SECRET") || !strings.Contains(err.Error(), "keys of the PostgreSQL server at db.test:5432") {
		t.Errorf("the error is %v", err)
	}
}

func TestAnEmptyDatabaseIsNotInitialised(t *testing.T) {
	if _, err := shared(postgrestest.New(t)).Open(t.Context(), withClock(store.Options{})); !errors.Is(err, store.ErrNotInitialised) {
		t.Errorf("the error is %v", err)
	}
}

// A plan is made while a table is new, and kept: it must be the one that is right for a large table.
func TestANewDatabaseLooksWhereItWillFindWhatItLooksForFast(t *testing.T) {
	at := postgrestest.New(t)
	createShared(t, at)
	for query, index := range map[string]string{
		`SELECT * FROM sign_orders WHERE operation = 'o' AND keyid = 'k' AND requester = 'r' AND idempotencykey = 'i'`:      "sign_orders_idempotencykey",
		`SELECT * FROM sign_orders WHERE operation = 'o' AND id > 'i' ORDER BY id LIMIT 10`:                                 "sign_orders_operation",
		`SELECT * FROM sign_orders WHERE state = 'running' AND lease <= 1 ORDER BY lease LIMIT 10`:                          "sign_orders_running",
		`SELECT id FROM operations WHERE state IN ('pending', 'approved') AND expires <= 1 ORDER BY expires LIMIT 10`:       "operations_due",
		`SELECT operation FROM audit_events WHERE type = 'operation-became-approved' AND operation IN ('a', 'b')`:           "audit_events_approved",
		`SELECT idx FROM audit_events WHERE idx >= 0 AND idx < 9 AND session = 's' AND session <> '' ORDER BY idx LIMIT 10`: "audit_events_session",
		`SELECT id FROM operations WHERE state = 'pending' AND expires > 1 ORDER BY expires, id LIMIT 10`:                   "operations_waiting",
		`SELECT count(*) FROM sign_orders WHERE keyid = 'k' AND accepted >= 1 AND accepted < 2`:                             "sign_orders_accepted",
	} {
		if plan := postgrestest.Query(t, at, `EXPLAIN `+query); !strings.Contains(plan, " "+index+" ") {
			t.Errorf("%s: the plan is\n%s", query, plan)
		}
	}
}

// A standby that was behind becomes the primary, and another server writes there before this one looks: the log
// is as long as this server knows it, or longer, and is another one.
func TestADatabaseThatHasGoneBackAndGrownAgainIsNotWrittenTo(t *testing.T) {
	for name, more := range map[string]int{"as long as it was": 1, "longer": 3} {
		t.Run(name, func(t *testing.T) {
			at := postgrestest.New(t)
			db := createShared(t, at)
			must(t, update(db, say("one")))
			must(t, update(db, func(tx *store.Tx) error { return storetest.Create(tx, "lost", 1, "fw") }))
			head := db.Head()
			size := head.Size()
			postgrestest.Exec(t, at, fmt.Sprintf(`DELETE FROM operation_keys; DELETE FROM operations; DELETE FROM audit_events WHERE idx >= %[1]d; DELETE FROM audit_hashes WHERE idx >= %[2]d; UPDATE head SET size = %[1]d`, size-2, hashes(size-2)))
			other := openShared(t, at)
			for range more + 1 {
				must(t, update(other, say("on the new primary")))
			}
			if _, err := store.View(t.Context(), db, func(*store.Reader) (any, error) { return nil, nil }); !isUnavailable(err) {
				t.Errorf("the error of a view is %v", err)
			}
			if err := update(db, say("never")); !isUnavailable(err) {
				t.Errorf("the error is %v", err)
			}
			if db.Head() != head {
				t.Error("a checkpoint would be signed of another log than that of the last one")
			}
			storetest.Check(t, other)
		})
	}
}

// Nobody is refused for good because what the server remembers is not what is in the database.
func TestAnOperationChangedBehindTheServersBackIsReadAnew(t *testing.T) {
	at := postgrestest.New(t)
	db := createShared(t, at)
	must(t, update(db, func(tx *store.Tx) error {
		return errors.Join(storetest.Create(tx, "one", 9, "fw"), storetest.Create(tx, "two", 9, "fw"))
	}))
	postgrestest.Exec(t, at, `UPDATE operations SET revision = revision + 1 WHERE id = 'one'`)
	errs := together(t, db,
		say("before"),
		func(tx *store.Tx) error { _, err := storetest.Place(tx, "one", "fw", "a"); return err },
		func(tx *store.Tx) error {
			_, err := tx.OperationIDs(store.OperationQuery{Limit: 10})
			return errors.Join(err, say("after")(tx))
		},
	)
	if err := errors.Join(errs...); err != nil {
		t.Errorf("the errors are %v", errs)
	}
	must(t, update(db, func(tx *store.Tx) error { _, err := storetest.Place(tx, "one", "fw", "b"); return err }))
	storetest.Check(t, db)
}

// What stands where a commit's first entry would be may be another server's.
func TestACommitThatDidNotHappenIsNotTakenForThatOfAnotherServer(t *testing.T) {
	at := postgrestest.New(t)
	must(t, createShared(t, at).Close())
	other, written := openShared(t, at), make(chan error, 1)
	answer := errors.New("the answer was lost")
	lose := false
	o := withClock(store.Options{Commit: func(commit func() error) error {
		if !lose {
			return commit()
		}
		lose = false
		go func() { written <- update(other, say("by the other")) }() // it gets the lock next
		for postgrestest.Query(t, at, `SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == "0" {
			runtime.Gosched()
		}
		return answer
	}})
	db, err := shared(at).Open(t.Context(), o)
	must(t, err)
	closeAtEnd(t, db)
	lose = true
	if err := update(db, say("never")); !errors.Is(err, answer) {
		t.Errorf("it is said to have happened: %v", err)
	}
	must(t, <-written)
	must(t, update(db, say("after")))
	storetest.Check(t, db)
}

// The law judges by the time at which the lock is held, not by that at which it was asked for.
func TestTheTimeIsReadOnceTheLockIsHeld(t *testing.T) {
	at := postgrestest.New(t)
	must(t, createShared(t, at).Close())
	open := func() *store.DB {
		db, err := store.Open(t.Context(), at, withClock(store.Options{}))
		must(t, err)
		closeAtEnd(t, db)
		return db
	}
	db, other := open(), open()
	clock := func() string {
		return postgrestest.Query(t, at, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint::text`)
	}
	waiting := make(chan error, 1)
	var judged, released int64
	must(t, update(other, func(*store.Tx) error {
		go func() {
			waiting <- update(db, func(tx *store.Tx) error {
				now, _ := tx.Clock()
				judged = now.UnixMilli()
				return nil
			})
		}()
		for postgrestest.Query(t, at, `SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == "0" {
			runtime.Gosched()
		}
		for before := clock(); before == clock(); { // a millisecond, at the least
		}
		_, err := fmt.Sscan(clock(), &released)
		return err
	}))
	must(t, <-waiting)
	if judged < released {
		t.Errorf("judged by a time %d ms before the lock was held", released-judged)
	}
}

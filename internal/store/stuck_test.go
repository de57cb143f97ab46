package store_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/postgrestest"
)

func ownCluster(t *testing.T) (*postgrestest.Cluster, store.Location) {
	t.Helper()
	c, err := postgrestest.Start("")
	must(t, err)
	t.Cleanup(func() { must(t, c.Stop()) })
	at, err := c.NewDatabase(t.Context())
	must(t, err)
	return c, at
}

func happened(tx *store.Tx) error {
	return tx.Append(audit.Event{Type: audit.ServerStarted, Server: tx.Server()})
}

// withoutStandby is a database with one event, whose commits wait for a synchronous standby that is not there.
func withoutStandby(t *testing.T) (*postgrestest.Cluster, store.Location, *store.DB) {
	t.Helper()
	c, at := ownCluster(t)
	db, err := shared(at).Create(t.Context(), withClock(store.Options{}))
	must(t, err)
	must(t, errors.Join(update(db, happened), db.Close()))
	must(t, c.Exec(t.Context(), "postgres", `ALTER SYSTEM SET synchronous_standby_names = 'gone'`))
	must(t, c.Halt())
	must(t, c.Resume())
	db, err = shared(at).Open(t.Context(), withClock(store.Options{}))
	must(t, err)
	closeAtEnd(t, db)
	return c, at, db
}

// A backend that waits for a synchronous standby and is ended, by an operator or by a shutdown, has committed
// here: everybody sees it. Whether the standby has it is not known, and no answer may say that it is durable.
func TestACommitWhoseWaitForTheStandbyWasCutShortIsNotAnswered(t *testing.T) {
	for _, how := range []string{"pg_terminate_backend", "pg_cancel_backend"} {
		t.Run(how, func(t *testing.T) { cutShort(t, how) })
	}
}

func cutShort(t *testing.T, how string) {
	t.Parallel()
	c, at, db := withoutStandby(t)
	size := db.Head().Size()
	answer := make(chan error, 1)
	go func() { answer <- update(db, happened) }()
	end := `DO $$ BEGIN
		WHILE NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep') LOOP PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP;
		PERFORM ` + how + `(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep';
	END $$`
	must(t, c.Exec(t.Context(), at.Postgres.Name, `SET synchronous_commit = local; `+end))
	err := <-answer
	var unavailable *store.Unavailable
	if !errors.As(err, &unavailable) {
		t.Errorf("no standby has it, and the answer is %v; the head has %d entries, had %d", err, db.Head().Size(), size)
	}
	must(t, c.Exec(t.Context(), "postgres", `ALTER SYSTEM RESET synchronous_standby_names`))
	must(t, c.Exec(t.Context(), "postgres", `SELECT pg_reload_conf()`))
}

// freeze stops every backend of keyservers, as a virtual machine that is suspended does, or a network that
// loses everything.
func freeze(t *testing.T, c *postgrestest.Cluster, at store.Location) (thaw func()) {
	t.Helper()
	pids := strings.Fields(c.MustQuery(t, at, `SELECT pid::text FROM pg_stat_activity WHERE application_name = 'keyserver'`))
	signal := func(s syscall.Signal) {
		for _, p := range pids {
			var pid int
			_, _ = fmt.Sscan(p, &pid)
			_ = syscall.Kill(pid, s)
		}
	}
	signal(syscall.SIGSTOP)
	return func() { signal(syscall.SIGCONT) }
}

func TestADatabaseThatFallsSilentAfterTheLastStatementDoesNotHoldTheWriterForEver(t *testing.T) {
	t.Parallel()
	c, at := ownCluster(t)
	db, err := shared(at).Create(t.Context(), withClock(store.Options{}))
	must(t, err)
	closeAtEnd(t, db)
	thaw := func() {}
	defer func() { thaw() }()
	answer := make(chan error, 1)
	go func() { answer <- update(db, func(*store.Tx) error { thaw = freeze(t, c, at); return nil }) }()
	select {
	case err := <-answer:
		t.Log(err)
	case <-time.After(45 * time.Second):
		t.Error("the writer has not answered for 45 s")
	}
}

func TestClosingDoesNotWaitForADatabaseThatIsSilent(t *testing.T) {
	t.Parallel()
	c, at := ownCluster(t)
	db, err := shared(at).Create(t.Context(), withClock(store.Options{}))
	must(t, err)
	thaw := freeze(t, c, at)
	defer thaw()
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	select {
	case err := <-closed:
		t.Log(err)
	case <-time.After(45 * time.Second):
		t.Error("closing has not ended after 45 s")
		thaw()
		<-closed
	}
}

// A setting that is changed while the server is connected.
func TestACommitThatCouldBeLostSinceAnOperatorChangedASettingIsNotMade(t *testing.T) {
	t.Parallel()
	c, at := ownCluster(t)
	db, err := shared(at).Create(t.Context(), withClock(store.Options{}))
	must(t, err)
	closeAtEnd(t, db)
	must(t, c.Exec(t.Context(), "postgres", `ALTER SYSTEM SET synchronous_commit = off`))
	must(t, c.Exec(t.Context(), "postgres", `SELECT pg_reload_conf()`))
	for c.MustQuery(t, at, `SHOW synchronous_commit`) != "off" { // of a new connection
	}
	is, err := db.WriterSetting(t, "synchronous_commit")
	must(t, err)
	if is != "on" {
		t.Errorf("commits are made with synchronous_commit %s", is)
	}
}

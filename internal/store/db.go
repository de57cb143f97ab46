// Package store keeps the state and the audit log in one database, so that neither can change without the
// other. It holds no opinion on what is allowed.
//
// The audit log's head is the write lock: a write transaction takes it first, so writers are serial on
// however many servers. Concurrent calls of [Update] on one server are run one after the other inside one
// transaction, a savepoint each, and made durable by one commit.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

//go:embed migrations
var migrations embed.FS

// ErrNotInitialised says that the database has no state yet.
var ErrNotInitialised = errors.New("the database is not initialised; run keyserver init")

// Unavailable says that the database could not be had. Nothing was changed, unless the answer to a commit
// was lost and the database was gone when it was asked what had become of it, as Err then says. The same
// request may be made again: idempotency keys and states tell whether it was done before.
type Unavailable struct{ Err error }

// Error says what the database said.
func (u *Unavailable) Error() string { return fmt.Sprintf("the database is not to be had: %v", u.Err) }

// Unwrap returns what the database said.
func (u *Unavailable) Unwrap() error { return u.Err }

// Options for opening a database.
type Options struct {
	// Clock is the process's clock. It is what counts as the database's time on SQLite. Required.
	Clock func() time.Time
	// Serve refuses to open a database that another process serves. Tools leave it off.
	Serve bool
	// Commit, if given, is called in place of each commit and makes it or not: tests fail commits with it, or
	// lose their answers. Nil outside of tests.
	Commit func(commit func() error) error
}

// DB is the database of one keyserver.
type DB struct {
	dialect dialect
	clock   func() time.Time
	commit  func(commit func() error) error
	pool    *sql.DB
	writer  conns        // one connection
	readers conns        // connections that only read
	present func() error // says whether the database is still what was opened
	lock    *os.File     // held while serving

	first, rest chan *job
	stop        chan struct{}
	stopped     sync.WaitGroup
	closeOnce   sync.Once

	durable atomic.Pointer[audit.Tree] // the log as last committed
	facts   atomic.Pointer[factsAt]
	watch   watchers
}

// Open opens the database of a keyserver that was initialised before. The caller closes it.
func Open(ctx context.Context, path string, o Options) (*DB, error) {
	db, err := connect(ctx, path, o)
	if err != nil {
		return nil, err
	}
	tree, err := View(ctx, db, func(r *Reader) (audit.Tree, error) { return audit.Resume(r.LogSize(), r.q) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening database %s: %w", path, err), db.Close())
	}
	db.durable.Store(&tree)
	db.start()
	return db, nil
}

// OpenForInspection opens a database for [Inspect] alone. It believes nothing that is in it, so that one that
// was tampered with can be opened too.
func OpenForInspection(ctx context.Context, path string, o Options) (*DB, error) {
	return connect(ctx, path, o)
}

// Create makes the database of a new keyserver and names the server. It refuses one that is initialised, but
// not one whose audit log is empty: it was left by an attempt that was cut off.
func Create(ctx context.Context, path, server string, o Options) (*DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("creating database %s: %w", path, err)
	}
	// An empty file is left by an earlier attempt that was cut off.
	switch file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); {
	case err == nil:
		if err := file.Close(); err != nil {
			return nil, fmt.Errorf("creating database %s: %w", path, err)
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("creating database: %w", err)
	}
	db, err := connect(ctx, path, o)
	if err != nil {
		return nil, err
	}
	done, err := db.pool.ExecContext(ctx, `INSERT INTO head (id, server, size, mark, configuration) VALUES (1, $1, 0, $2, 0)
		ON CONFLICT (id) DO UPDATE SET server = excluded.server, mark = excluded.mark
		WHERE head.size = 0 AND NOT EXISTS (SELECT 1 FROM audit_events)`,
		server, millis(o.Clock()))
	if err == nil {
		if n, _ := done.RowsAffected(); n == 0 {
			err = errors.New("it is initialised already, which is done only once")
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("creating database %s: %w", path, err), db.Close())
	}
	db.durable.Store(&audit.Tree{})
	db.start()
	return db, nil
}

func connect(ctx context.Context, path string, o Options) (*DB, error) {
	if o.Clock == nil {
		return nil, errors.New("opening database: no clock given")
	}
	db := &DB{
		dialect: sqlite, clock: o.Clock, commit: o.Commit,
		first: make(chan *job, queueLength), rest: make(chan *job, queueLength), stop: make(chan struct{}),
	}
	if db.commit == nil {
		db.commit = func(commit func() error) error { return commit() }
	}
	db.writer = pool(1, db.dial, nil) // what is under way when the database is closed is finished
	db.readers = pool(readers, db.dial, db.stop)
	err := db.connectSQLite(path, o.Serve)
	if err == nil {
		err = db.migrate(ctx)
	}
	if err == nil {
		var c *conn
		if c, err = db.writer.take(ctx); err == nil { // the checks of dial are made before anything else
			db.writer.giveBack(c)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening database %s: %w", path, err), db.Close())
	}
	return db, nil
}

func (db *DB) dial(ctx context.Context) (*conn, error) {
	sc, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	c := &conn{Conn: sc, statements: map[string]*sql.Stmt{}}
	if err := db.dialect.check(ctx, sc); err != nil {
		c.drop()
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return c, nil
}

func (db *DB) migrate(ctx context.Context) error {
	steps, err := fs.Sub(migrations, "migrations/"+db.dialect.name)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(db.dialect.goose, db.pool, steps)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	switch is, known, err := provider.GetVersions(ctx); {
	case err != nil:
		return fmt.Errorf("migrating: %w", err)
	case is > known:
		return fmt.Errorf("it is of version %d, made by a newer keyserver; this one knows version %d", is, known)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	return nil
}

// Close waits for the updates under way and closes the database.
func (db *DB) Close() error {
	var err error
	db.closeOnce.Do(func() {
		close(db.stop)
		db.stopped.Wait()
		if db.pool != nil {
			err = errors.Join(db.writer.close(), db.readers.close(), db.pool.Close())
		}
		if db.lock != nil {
			err = errors.Join(err, db.lock.Close())
		}
	})
	return err
}

// Head returns the audit log's tree as it was last committed: the newest that a checkpoint may be signed of.
func (db *DB) Head() audit.Tree { return *db.durable.Load() }

// Clock is the database's clock as it is, with the process's monotonic reading if it has one.
func (db *DB) Clock() time.Time { return db.clock() }

// factsAt is the configuration as of one version of it.
type factsAt struct {
	version int64
	facts   law.Facts
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

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
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
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
	// Clock is the process's clock, with its monotonic reading. It is what counts as the database's time on
	// SQLite. Required.
	Clock func() time.Time
	// Injected lets the clock be the database's time on PostgreSQL too: tests move it. False outside of tests.
	Injected bool
	// Serve refuses to open a database that another process serves. Tools leave it off.
	Serve bool
	// Commit, if given, is called in place of each commit and makes it or not: tests fail commits with it, or
	// lose their answers. Nil outside of tests.
	Commit func(commit func() error) error
}

// DB is the database of one keyserver.
type DB struct {
	dialect    dialect
	clock      func() time.Time
	commit     func(commit func() error) error
	pool       *sql.DB
	connection *pgx.ConnConfig // of PostgreSQL
	writer     conns           // one connection
	readers    conns           // connections that only read
	present    func() error    // says whether the database is still what was opened
	lock       *os.File        // held while serving

	first, rest chan *job
	stop        chan struct{}
	stopped     sync.WaitGroup
	closeOnce   sync.Once

	durable atomic.Pointer[audit.Tree] // the log as last committed
	facts   atomic.Pointer[factsAt]
	cache   cache // used by batches alone
	watch   watchers
	outbox  bool // is kept
}

// Open opens the database of a keyserver that was initialised before. The caller closes it.
func Open(ctx context.Context, at Location, o Options) (*DB, error) {
	db, err := connect(ctx, at, o)
	if err != nil {
		return nil, err
	}
	tree, err := View(ctx, db, func(r *Reader) (audit.Tree, error) { return audit.Resume(r.LogSize(), r.q) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening database %s: %w", at, err), db.Close())
	}
	db.start(tree)
	return db, nil
}

// OpenForInspection opens a database for [Inspect] alone. It believes nothing that is in it, so that one that
// was tampered with can be opened too.
func OpenForInspection(ctx context.Context, at Location, o Options) (*DB, error) {
	return connect(ctx, at, o)
}

// Create makes the database of a new keyserver and names the server. It refuses one that is initialised, but
// not one whose audit log is empty: it was left by an attempt that was cut off. On PostgreSQL there must be
// an empty database already.
func Create(ctx context.Context, at Location, server string, o Options) (*DB, error) {
	if o.Clock == nil {
		return nil, errNoClock
	}
	if !at.Shared() {
		if err := makeFile(at.SQLite); err != nil {
			return nil, fmt.Errorf("creating database %s: %w", at, err)
		}
	}
	if err := asOwner(ctx, at, o, nil, func(db *DB) error { return db.name(ctx, server) }); err != nil {
		return nil, fmt.Errorf("creating database %s: %w", at, err)
	}
	return Open(ctx, at, o)
}

// asOwner makes or migrates the tables, and does something as their owner before and after that. Both may be
// nil.
func asOwner(ctx context.Context, at Location, o Options, before, after func(*DB) error) (err error) {
	db := newDB(at, o)
	defer func() { err = errors.Join(err, db.Close()) }()
	if at.Shared() {
		err = db.connectPostgres(at.Postgres, at.Postgres.owner())
	} else {
		err = db.connectSQLite(at.SQLite, o.Serve)
	}
	if err == nil {
		err = db.ready(ctx)
	}
	if err == nil && before != nil {
		err = before(db)
	}
	if err == nil {
		err = db.migrate(ctx)
	}
	if NotPermitted(err) {
		err = at.Postgres.notTheOwner(err)
	}
	if err == nil && at.Shared() && at.Postgres.owner() != at.Postgres.Server {
		err = grant(ctx, db.pool, at.Postgres.Server.Name)
	}
	if err == nil && after != nil {
		err = after(db)
	}
	return err
}

// name names the server of a new database.
func (db *DB) name(ctx context.Context, server string) error {
	done, err := db.pool.ExecContext(ctx, `INSERT INTO head (id, server, size, mark, configuration) VALUES (1, $1, 0, $2, 0)
		ON CONFLICT (id) DO UPDATE SET server = excluded.server, mark = excluded.mark
		WHERE head.size = 0 AND NOT EXISTS (SELECT 1 FROM audit_events)`,
		server, millis(db.clock()))
	if err != nil {
		return err
	}
	if n, _ := done.RowsAffected(); n == 0 {
		return errors.New("it is initialised already, which is done only once")
	}
	return nil
}

var errNoClock = errors.New("opening database: no clock given")

func newDB(at Location, o Options) *DB {
	db := &DB{
		dialect: sqlite, clock: o.Clock, commit: o.Commit, present: func() error { return nil },
		first: make(chan *job, queueLength), rest: make(chan *job, queueLength), stop: make(chan struct{}),
	}
	if at.Shared() {
		db.dialect = postgres
		if o.Injected {
			db.dialect.clock = sqlite.clock
		}
	}
	if db.commit == nil {
		db.commit = func(commit func() error) error { return commit() }
	}
	db.writer = pool(1, db.dial, nil) // what is under way when the database is closed is finished
	db.readers = pool(readers, db.dial, db.stop)
	return db
}

func connect(ctx context.Context, at Location, o Options) (*DB, error) {
	if o.Clock == nil {
		return nil, errNoClock
	}
	db := newDB(at, o)
	var err error
	if at.Shared() {
		err = db.connectPostgres(at.Postgres, at.Postgres.Server)
	} else {
		err = db.connectSQLite(at.SQLite, o.Serve)
	}
	if err == nil {
		err = db.ready(ctx)
	}
	if err == nil {
		err = db.upToDate(ctx, o.Serve)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening database %s: %w", at, err), db.Close())
	}
	return db, nil
}

// ready makes the checks of dial before anything else.
func (db *DB) ready(ctx context.Context) error {
	c, err := db.writer.take(ctx)
	if err == nil {
		db.writer.giveBack(c)
	}
	return err
}

func (db *DB) dial(ctx context.Context) (*conn, error) {
	sc, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	c := &conn{Conn: sc, dialect: &db.dialect, statements: map[string]*sql.Stmt{}}
	err = c.findRemote()
	if err == nil {
		err = db.dialect.check(ctx, sc)
	}
	if err != nil {
		c.drop()
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return c, nil
}

// upToDate checks that the tables are what this version of the program knows. A server migrates a file by
// itself.
func (db *DB) upToDate(ctx context.Context, serve bool) error {
	is, known, err := db.version(ctx)
	switch {
	case err != nil:
		return err
	case is == known:
		return nil
	case is == 0:
		return ErrNotInitialised
	case is < known && serve && db.dialect.name == sqlite.name:
		return db.migrate(ctx)
	case is < known:
		return fmt.Errorf("it is of version %d, and this keyserver needs version %d; run keyserver upgrade", is, known)
	}
	return fmt.Errorf("it is of version %d, made by a newer keyserver; this one knows version %d", is, known)
}

func (db *DB) migrations() (*goose.Provider, error) {
	steps, err := fs.Sub(migrations, "migrations/"+db.dialect.name)
	if err != nil {
		return nil, err
	}
	options, err := db.dialect.migrating()
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(db.dialect.goose, db.pool, steps, options...)
	if err != nil {
		return nil, fmt.Errorf("reading migrations: %w", err)
	}
	return provider, nil
}

func (db *DB) migrate(ctx context.Context) error {
	provider, err := db.migrations()
	if err != nil {
		return err
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

// advance makes a committed tree the head, unless a longer one is known already.
func (db *DB) advance(tree audit.Tree) {
	for {
		was := db.durable.Load()
		if was != nil && was.Size() >= tree.Size() {
			return
		}
		if db.durable.CompareAndSwap(was, &tree) {
			return
		}
	}
}

// Shared says whether other servers may use the database.
func (db *DB) Shared() bool { return db.connection != nil }

// Clock is the process's clock as it is, with its monotonic reading if it has one.
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

package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"example.org/keyserver/internal/audit"
)

// table is one that a copy has, and what its rows are sorted by: the same on every database, since ids sort by
// their bytes.
type table struct{ name, order string }

// tables are all there are, those that others refer to first. The head is the last: a database without it
// cannot be opened.
var tables = []table{
	{"audit_events", "idx"}, {"audit_hashes", "idx"}, {"configuration", "kind, id"}, {"operations", "id"}, {"operation_keys", "operation, keyid"},
	{"approvals", "operation, position"}, {"sign_orders", "id"}, {"administration_sessions", "id"}, {"session_authorisations", "session, position"},
	{"certificates", "id"}, {"revocation_lists", "keyid"}, {"ended_sign_ins", "id"},
	{"contacts", "subject"}, {"outbox", "event, type"}, {"notices", "id"},
	{"head", "id"},
}

// CopyOptions for copying a database.
type CopyOptions struct {
	// Progress, if given, is told after each row how many of its table were copied or, with again, read again.
	Progress func(table string, rows int64, again bool)
	// Check says whether the copy is what it must be, apart from that it is the same. Required.
	Check func(context.Context, *DB, Copied) error
}

// Copied is what was copied.
type Copied struct {
	Entries int64 // in the audit log
	Root    audit.Hash
	Rows    int64 // in all tables
}

// Copy copies the state and the audit log of a stopped server from one database to another, as the owner of
// that one. The target has no state yet; Copy makes its tables. Nothing of the copy is stored unless it was
// read back and every row was the same, and if Check does not accept it, it cannot be opened.
//
// Nobody can change the source meanwhile: a file is locked as by a server, and elsewhere the head is. Copy
// refuses a source that a server is connected to. What was copied is still there afterwards, and must not be
// served again.
func Copy(ctx context.Context, from, to Location, o Options, c CopyOptions) (Copied, error) {
	if o.Clock == nil {
		return Copied{}, errNoClock
	}
	if from.String() == to.String() {
		return Copied{}, fmt.Errorf("copying: source and target are both %s", to)
	}
	source, err := openSource(ctx, from, o)
	if err != nil {
		return Copied{}, fmt.Errorf("copying from database %s: %w", from, err)
	}
	copied, err := copyTo(ctx, source, to, o, c)
	if err := errors.Join(err, source.close()); err != nil {
		return Copied{}, fmt.Errorf("copying to database %s: %w", to, err)
	}
	return copied, nil
}

func copyTo(ctx context.Context, source *end, to Location, o Options, c CopyOptions) (copied Copied, err error) {
	if !to.Shared() {
		if err := makeFile(to.SQLite); err != nil {
			return Copied{}, err
		}
	}
	o.Serve = true
	refuse := func(db *DB) error { return refuseState(ctx, db) }
	if err := asOwner(ctx, to, o, refuse, func(db *DB) error {
		copied, err = source.copyInto(ctx, db, c)
		return err
	}); err != nil {
		return Copied{}, err
	}
	if err := checkCopy(ctx, to, o, func(db *DB) error { return c.Check(ctx, db, copied) }); err != nil {
		return Copied{}, errors.Join(fmt.Errorf("the copy is not what it must be, and cannot be served: %w", err),
			asOwner(context.WithoutCancel(ctx), to, o, nil, func(db *DB) error {
				_, err := db.pool.ExecContext(context.WithoutCancel(ctx), `DELETE FROM head`)
				return err
			}))
	}
	return copied, nil
}

func checkCopy(ctx context.Context, at Location, o Options, check func(*DB) error) (err error) {
	o.Serve = false
	db, err := OpenForInspection(ctx, at, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return check(db)
}

// refuseState refuses a database in which there is anything.
func refuseState(ctx context.Context, db *DB) error {
	is, known, err := db.version(ctx)
	if err != nil || is == 0 {
		return err
	}
	if is != known {
		return fmt.Errorf("it has tables of version %d, and this keyserver needs version %d; give it an empty database", is, known)
	}
	for _, t := range tables {
		var any bool
		if err := db.pool.QueryRowContext(ctx, `SELECT count(*) > 0 FROM (SELECT 1 FROM `+t.name+` LIMIT 1) AS first`).Scan(&any); err != nil {
			return fmt.Errorf("looking into table %s: %w", t.name, err)
		}
		if any {
			return fmt.Errorf("there are rows in its table %s; copies are made into an empty database alone", t.name)
		}
	}
	return nil
}

// end is one end of a copy: one connection with a transaction under way.
type end struct {
	db *DB
	c  *sql.Conn
}

// openSource opens a database so that nobody else changes it until the end is closed.
func openSource(ctx context.Context, at Location, o Options) (source *end, err error) {
	db := newDB(at, o)
	defer func() {
		switch {
		case err != nil && source != nil:
			err = errors.Join(err, source.close())
		case err != nil:
			err = errors.Join(err, db.Close())
		}
	}()
	if at.Shared() {
		if err = db.connectPostgres(at.Postgres, at.Postgres.Server); err == nil {
			db.connection.RuntimeParams["application_name"] = "keyserver migrate"
		}
	} else {
		err = db.connectSQLite(at.SQLite, true)
	}
	if err == nil {
		err = db.upToDate(ctx, false)
	}
	if err != nil {
		return nil, err
	}
	begin := db.dialect.view
	if at.Shared() {
		begin = `BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE`
	}
	if source, err = db.begin(ctx, begin); err != nil {
		return nil, err
	}
	if at.Shared() {
		err = source.lockHead(ctx)
	}
	return source, err
}

// begin takes a connection and starts a transaction that may be idle for long.
func (db *DB) begin(ctx context.Context, how string) (*end, error) {
	c, err := db.pool.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if err = db.dialect.check(ctx, c); err == nil {
		_, err = c.ExecContext(ctx, how)
	}
	if err == nil && db.Shared() {
		_, err = c.ExecContext(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0`)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &end{db, c}, nil
}

// lockHead takes the head's lock, so that no server can write, and refuses a database that one uses.
func (e *end) lockHead(ctx context.Context) error {
	if err := e.refuseServers(ctx); err != nil {
		return err
	}
	var size int64
	err := e.c.QueryRowContext(ctx, `SELECT size FROM head WHERE id = 1`+e.db.dialect.lockHead).Scan(&size)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotInitialised
	case err != nil:
		return fmt.Errorf("taking the write lock: %w; stop all servers first", err)
	}
	return e.refuseServers(ctx) // one may have come in between; the next cannot write
}

// How long the connections of a server that has just stopped may take to be gone.
const (
	leaving = 2 * time.Second
	glance  = 20 * time.Millisecond
)

func (e *end) refuseServers(ctx context.Context) error {
	for waited := time.Duration(0); ; waited += glance {
		var servers int
		_, err := e.c.ExecContext(ctx, `SELECT pg_stat_clear_snapshot()`) // else a transaction sees the same again and again
		if err == nil {
			err = e.c.QueryRowContext(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'keyserver'`).Scan(&servers)
		}
		switch {
		case err != nil:
			return fmt.Errorf("looking for servers that use it: %w", err)
		case servers == 0:
			return nil
		case waited >= leaving:
			return fmt.Errorf("a keyserver is connected to it (%d connections); stop all servers first", servers)
		}
		select {
		case <-time.After(glance):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close ends the transaction and closes the database.
func (e *end) close() error {
	_, _ = e.c.ExecContext(context.Background(), `ROLLBACK`) // which closing does as well
	return errors.Join(e.c.Close(), e.db.Close())
}

// copyInto copies all tables in one transaction, and commits it when what it reads back is the same.
func (e *end) copyInto(ctx context.Context, db *DB, c CopyOptions) (Copied, error) {
	target, err := db.begin(ctx, db.dialect.begin)
	if err != nil {
		return Copied{}, err
	}
	defer func() {
		_, _ = target.c.ExecContext(context.Background(), `ROLLBACK`) // after a commit there is nothing to roll back
		_ = target.c.Close()
	}()
	var sums [2][]summary
	columns := make([]string, len(tables))
	for i, t := range tables {
		read := e.read(ctx, t, `*`, c.progress(t, false))
		if err := target.write(ctx, t, read); err != nil {
			return Copied{}, fmt.Errorf("copying table %s: %w", t.name, err)
		}
		sums[0], columns[i] = append(sums[0], read.sum()), strings.Join(read.columns, ", ")
		if t.name == "head" && sums[0][i].rows != 1 {
			return Copied{}, ErrNotInitialised
		}
	}
	for i, t := range tables {
		again := target.read(ctx, t, columns[i], c.progress(t, true))
		for again.Next() {
		}
		if again.close(); again.err != nil {
			return Copied{}, fmt.Errorf("reading table %s again: %w", t.name, again.err)
		}
		sums[1] = append(sums[1], again.sum())
	}
	var copied Copied
	for i, t := range tables {
		if sums[0][i] != sums[1][i] {
			return Copied{}, fmt.Errorf("table %s is not the same after it was copied: %s there, %s here", t.name, sums[0][i], sums[1][i])
		}
		copied.Rows += sums[0][i].rows
	}
	copied.Entries, copied.Root = sums[1][0].rows, sums[1][0].root
	if _, err := target.c.ExecContext(ctx, `COMMIT`); err != nil {
		return Copied{}, fmt.Errorf("committing: %w", err)
	}
	return copied, nil
}

func (c CopyOptions) progress(t table, again bool) func(int64) {
	if c.Progress == nil {
		return func(int64) {}
	}
	return func(rows int64) { c.Progress(t.name, rows, again) }
}

// write stores all rows of a table as they are read.
func (e *end) write(ctx context.Context, t table, read *reading) error {
	defer read.close()
	if read.err != nil {
		return read.err
	}
	if e.db.Shared() {
		return e.c.Raw(func(driver any) error {
			_, err := driver.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{t.name}, read.columns, read)
			return err
		})
	}
	places := make([]string, len(read.columns))
	for i := range places {
		places[i] = "$" + strconv.Itoa(i+1)
	}
	insert, err := e.c.PrepareContext(ctx, `INSERT INTO `+t.name+` (`+strings.Join(read.columns, ", ")+`) VALUES (`+strings.Join(places, ", ")+`)`)
	if err != nil {
		return err
	}
	for err == nil && read.Next() {
		_, err = insert.ExecContext(ctx, read.values...)
	}
	return errors.Join(err, read.Err(), insert.Close())
}

// summary is what a table comes down to.
type summary struct {
	rows   int64
	digest [sha256.Size]byte // of all rows in their order
	root   audit.Hash        // of the audit log whose leaves they are
}

func (s summary) String() string { return fmt.Sprintf("%d rows, digest %x", s.rows, s.digest[:8]) }

// reading reads all rows of a table in their order. It is a [pgx.CopyFromSource].
type reading struct {
	rows     *sql.Rows
	columns  []string
	values   []any
	leaf     int // index of the column with leaves of the audit log, -1 if there is none
	err      error
	progress func(int64)

	count  int64
	digest hash.Hash
	tree   audit.Tree
}

// read begins to read columns of a table. The reading is to be closed.
func (e *end) read(ctx context.Context, t table, columns string, progress func(int64)) *reading {
	r := &reading{digest: sha256.New(), progress: progress}
	if r.rows, r.err = e.c.QueryContext(ctx, `SELECT `+columns+` FROM `+t.name+` ORDER BY `+t.order); r.err != nil {
		return r
	}
	r.columns, r.err = r.rows.Columns()
	r.values = make([]any, len(r.columns))
	r.leaf = slices.Index(r.columns, "leaf")
	return r
}

// Next reads one row.
func (r *reading) Next() bool {
	if r.err != nil || !r.rows.Next() {
		return false
	}
	into := make([]any, len(r.values))
	for i := range r.values {
		into[i] = &r.values[i]
	}
	if r.err = r.rows.Scan(into...); r.err == nil {
		r.err = r.add()
	}
	r.count++
	r.progress(r.count)
	return r.err == nil
}

// Values returns the row that was read.
func (r *reading) Values() ([]any, error) { return r.values, nil }

// Err returns why reading ended early.
func (r *reading) Err() error {
	if r.err == nil {
		r.err = r.rows.Err()
	}
	return r.err
}

func (r *reading) close() {
	if r.rows != nil {
		r.err = errors.Join(r.Err(), r.rows.Close())
	}
}

func (r *reading) sum() summary {
	s := summary{rows: r.count, root: r.tree.Root()}
	r.digest.Sum(s.digest[:0])
	return s
}

// add adds a row to the digest: each value with its column, its type and its length.
func (r *reading) add() error {
	for i, v := range r.values {
		var kind byte
		var text []byte
		switch v := v.(type) {
		case int64:
			kind, text = 'i', binary.BigEndian.AppendUint64(nil, uint64(v))
		case string:
			kind, text = 't', []byte(v)
		case []byte:
			kind, text = 'b', v
		default:
			return fmt.Errorf("column %s has a value of a type that no column has: %T", r.columns[i], v)
		}
		head := append(binary.BigEndian.AppendUint64([]byte{kind}, uint64(len(text))), r.columns[i]...)
		_, _ = r.digest.Write(append(head, 0))
		_, _ = r.digest.Write(text)
		if i == r.leaf {
			r.tree, _ = r.tree.Append(text)
		}
	}
	return nil
}

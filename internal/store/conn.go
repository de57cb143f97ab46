package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/mod/sumdb/tlog"
)

// conn is one connection with its prepared statements. It runs one transaction at a time.
type conn struct {
	*sql.Conn
	dialect    *dialect
	statements map[string]*sql.Stmt
	remote     *pgx.Conn // to PostgreSQL; nil if it is another database
	open       bool      // a transaction may be under way
	used       bool      // it was good once
	failed     error     // the first error of the transaction, which may have been swallowed on its way up
}

func (c *conn) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	if s := c.statements[text]; s != nil {
		return s, nil
	}
	s, err := c.PrepareContext(ctx, c.dialect.words(text))
	if err == nil {
		c.statements[text] = s
	}
	return s, err
}

// findRemote looks for the connection to PostgreSQL below that of database/sql.
func (c *conn) findRemote() error {
	return c.Raw(func(driver any) error {
		if p, is := driver.(*stdlib.Conn); is {
			c.remote = p.Conn()
		}
		return nil
	})
}

// drop closes the connection to the database. Close would hand it to whoever asks for one next.
func (c *conn) drop() {
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
}

// gone says whether the driver knows that the connection is closed.
func (c *conn) gone() bool {
	return c.remote != nil && c.remote.IsClosed()
}

// close closes the statements first: SQLite keeps a connection, and with it the files of its write-ahead
// log, for as long as it has statements.
func (c *conn) close() error {
	if c.remote != nil { // closed or gone, it makes no difference: the server keeps nothing of it
		c.drop()
		return nil
	}
	var err error
	for _, s := range c.statements {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, c.Close())
}

// conns is a pool of connections. A place in it is nil until its connection is needed.
type conns struct {
	dial   func(context.Context) (*conn, error)
	free   chan *conn
	closed <-chan struct{} // once closed, nothing is given out any more
}

func pool(size int, dial func(context.Context) (*conn, error), closed <-chan struct{}) conns {
	p := conns{dial: dial, free: make(chan *conn, size), closed: closed}
	for range size {
		p.free <- nil
	}
	return p
}

func (p conns) take(ctx context.Context) (*conn, error) {
	select {
	case c := <-p.free:
		if c != nil {
			return c, nil
		}
		c, err := p.dial(ctx)
		if err != nil {
			p.free <- nil
		}
		return c, err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed:
		return nil, errClosed
	}
}

// begin takes a connection and starts a transaction on it, in the dialect's words and with what is asked right
// after. A connection that was idle may be gone, as after a restart of the database: then another is made, once.
func (p conns) begin(ctx context.Context, how string, more ...statement) (querier, error) {
	for {
		c, err := p.take(ctx)
		if err != nil {
			return querier{}, err
		}
		fresh := !c.used
		c.used = true
		q := querier{ctx, c}
		if err = q.begin(how, more...); err == nil {
			return q, nil
		}
		gone := c.gone()
		p.giveBack(c)
		if fresh || !gone {
			return querier{}, err
		}
	}
}

// giveBack ends what the connection was doing and puts it back, or lets it go if it is no good any more.
func (p conns) giveBack(c *conn) {
	if c.open {
		c.open = false
		ctx, cancel := c.dialect.bound()
		defer cancel()
		if err := (querier{ctx, c}).exec(`ROLLBACK`); err != nil {
			c.drop()
			c = nil // a new one is made when it is needed
		}
	}
	p.free <- c
}

// close waits for the transactions under way and closes all connections.
func (p conns) close() error {
	var err error
	for range cap(p.free) {
		if c := <-p.free; c != nil {
			err = errors.Join(err, c.close())
		}
	}
	return err
}

// querier runs statements in the transaction of a connection.
type querier struct {
	ctx context.Context
	c   *conn
}

// begin starts a transaction, in the dialect's words.
func (q querier) begin(how string, more ...statement) error {
	q.c.failed = nil
	q.c.open = true // also if the answer is an error: it may have begun
	return q.all(append([]statement{{text: how}}, more...))
}

// commit ends the transaction. If the answer is an error, whether it happened is not known.
func (q querier) commit() error {
	err := q.exec(`COMMIT`)
	if q.c.open = err != nil; err == nil {
		err = safe(q.c.remote)
	}
	return err
}

// note remembers that a statement failed. That there is no row is an answer, not a failure.
func (q querier) note(err error) error {
	if err != nil && !errors.Is(err, sql.ErrNoRows) && q.c.failed == nil {
		q.c.failed = err
	}
	return err
}

// errText says that a text cannot be in any database: PostgreSQL stores neither NUL nor what is no UTF-8, and
// what one database cannot store no other does.
var errText = errors.New("a text has the character NUL in it, or is no UTF-8")

func storable(args []any) bool {
	for _, a := range args {
		if s, is := a.(string); is && (strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s)) {
			return false
		}
	}
	return true
}

func (q querier) exec(text string, args ...any) error {
	_, err := q.changed(text, args...)
	return err
}

// changed runs a statement and says how many rows it changed.
func (q querier) changed(text string, args ...any) (rows int64, err error) {
	if !storable(args) {
		return 0, errText
	}
	s, err := q.c.prepared(q.ctx, text)
	if err == nil {
		var done sql.Result
		if done, err = s.ExecContext(q.ctx, args...); err == nil {
			rows, err = done.RowsAffected()
		}
	}
	return rows, q.note(err)
}

// row reads the one row of a query; sql.ErrNoRows if there is none.
func (q querier) row(text string, args []any, into ...any) error {
	if !storable(args) {
		return sql.ErrNoRows // nothing can be found by it
	}
	s, err := q.c.prepared(q.ctx, text)
	if err == nil {
		err = s.QueryRowContext(q.ctx, args...).Scan(into...)
	}
	return q.note(err)
}

// each calls fn for every row of a query. Its error ends the query and is returned.
func (q querier) each(text string, args []any, fn func(scan func(...any) error) error) error {
	return q.rows(text, args, func(r *sql.Rows) error { return fn(r.Scan) })
}

func (q querier) rows(text string, args []any, fn func(*sql.Rows) error) error {
	if !storable(args) {
		return nil // nothing can be found by it
	}
	s, err := q.c.prepared(q.ctx, text)
	if err != nil {
		return q.note(err)
	}
	rows, err := s.QueryContext(q.ctx, args...)
	if err != nil {
		return q.note(err)
	}
	defer func() { _ = rows.Close() }() // Err says all that Close would
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return q.note(rows.Err())
}

// ReadHashes implements tlog.HashReader on the stored hashes of the audit log.
func (q querier) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	lengths := make([]int, len(indexes))
	var all []statement
	for i, index := range indexes {
		all = append(all, statement{text: `SELECT hash FROM audit_hashes WHERE idx = $1`, args: []any{index}, row: func(scan func(...any) error) error {
			var b []byte
			err := scan(&b)
			copy(out[i][:], b)
			lengths[i] = len(b)
			return err
		}})
	}
	if err := q.all(all); err != nil {
		return nil, fmt.Errorf("reading hashes of the audit log: %w", err)
	}
	for i, index := range indexes {
		if lengths[i] != tlog.HashSize {
			return nil, fmt.Errorf("reading hash %d of the audit log: it is %d bytes long", index, lengths[i])
		}
	}
	return out, nil
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// conn is one connection with its prepared statements. It runs one transaction at a time.
type conn struct {
	*sql.Conn
	statements map[string]*sql.Stmt
	open       bool  // a transaction is under way
	failed     error // the first error of the transaction, which may have been swallowed on its way up
}

func dial(ctx context.Context, db *sql.DB) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return &conn{Conn: c, statements: map[string]*sql.Stmt{}}, nil
}

func (c *conn) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	if s := c.statements[text]; s != nil {
		return s, nil
	}
	s, err := c.PrepareContext(ctx, text)
	if err == nil {
		c.statements[text] = s
	}
	return s, err
}

// conns is a pool of connections. A place in it is nil until its connection is needed.
type conns struct {
	db   *sql.DB
	free chan *conn
}

func pool(db *sql.DB, size int) conns {
	p := conns{db, make(chan *conn, size)}
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
		c, err := dial(ctx, p.db)
		if err != nil {
			p.free <- nil
		}
		return c, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// giveBack ends what the connection was doing and puts it back, or lets it go if it is no good any more.
func (p conns) giveBack(c *conn) {
	if c.open {
		c.open = false
		if _, err := c.ExecContext(context.Background(), `ROLLBACK`); err != nil {
			_ = c.Close() // it has failed; a new one is made when it is needed
			c = nil
		}
	}
	p.free <- c
}

// close waits for the transactions under way and closes all connections.
func (p conns) close() error {
	var err error
	for range cap(p.free) {
		if c := <-p.free; c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

// begin starts a transaction, in the dialect's words.
func (q querier) begin(how string) error {
	q.c.failed = nil
	err := q.exec(how)
	q.c.open = err == nil
	return err
}

// commit ends the transaction. If the answer is an error, whether it happened is not known.
func (q querier) commit() error {
	err := q.exec(`COMMIT`)
	q.c.open = err != nil
	return err
}

// querier runs statements in the transaction of a connection.
type querier struct {
	ctx context.Context
	c   *conn
}

// note remembers that a statement failed. That there is no row is an answer, not a failure.
func (q querier) note(err error) error {
	if err != nil && !errors.Is(err, sql.ErrNoRows) && q.c.failed == nil {
		q.c.failed = err
	}
	return err
}

func (q querier) exec(text string, args ...any) error {
	s, err := q.c.prepared(q.ctx, text)
	if err == nil {
		_, err = s.ExecContext(q.ctx, args...)
	}
	return q.note(err)
}

// row reads the one row of a query; sql.ErrNoRows if there is none.
func (q querier) row(text string, args []any, into ...any) error {
	s, err := q.c.prepared(q.ctx, text)
	if err == nil {
		err = s.QueryRowContext(q.ctx, args...).Scan(into...)
	}
	return q.note(err)
}

// each calls fn for every row of a query. Its error ends the query and is returned.
func (q querier) each(text string, args []any, fn func(scan func(...any) error) error) error {
	s, err := q.c.prepared(q.ctx, text)
	if err != nil {
		return q.note(err)
	}
	rows, err := s.QueryContext(q.ctx, args...)
	if err != nil {
		return q.note(err)
	}
	for err == nil && rows.Next() {
		err = fn(rows.Scan)
	}
	return errors.Join(err, q.note(rows.Err()), q.note(rows.Close()))
}

// ReadHashes implements tlog.HashReader on the stored hashes of the audit log.
func (q querier) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		var b []byte
		if err := q.row(`SELECT hash FROM audit_hashes WHERE idx = $1`, []any{index}, &b); err != nil {
			return nil, fmt.Errorf("reading hash %d of the audit log: %w", index, err)
		}
		if copy(out[i][:], b) != tlog.HashSize || len(b) != tlog.HashSize {
			return nil, fmt.Errorf("reading hash %d of the audit log: it is %d bytes long", index, len(b))
		}
	}
	return out, nil
}

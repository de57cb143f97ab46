package store

import (
	"context"
	"database/sql"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Dump reads the tables as they are stored, for verification: it makes nothing of what it reads, so that
// what makes no sense can be read too. All its answers belong together.
type Dump struct{ q querier }

// Inspect runs fn on one state of the database. The error is *Unavailable if it could not be read, or fn's own.
func Inspect[T any](ctx context.Context, db *DB, fn func(*Dump) (T, error)) (T, error) {
	return read(ctx, db, nil, func(q querier) (T, error) { return fn(&Dump{q}) })
}

// Rows reads every column of every row of a table. columns and values are valid until fn returns.
func (d *Dump) Rows(table string, fn func(columns []string, values []any) error) error {
	return d.each(table, `SELECT * FROM `+table, nil, fn)
}

// RowsFrom reads the rows of a table of the audit log from that index on, in order, at most limit.
func (d *Dump) RowsFrom(table string, index int64, limit int, fn func(columns []string, values []any) error) error {
	return d.each(table, `SELECT * FROM `+table+` WHERE idx >= $1 ORDER BY idx LIMIT $2`, []any{index, limit}, fn)
}

// Count counts the rows of a table.
func (d *Dump) Count(table string) (int64, error) {
	var n int64
	if err := d.q.row(`SELECT count(*) FROM `+table, nil, &n); err != nil {
		return 0, fmt.Errorf("counting the rows of table %s: %w", table, err)
	}
	return n, nil
}

// Hashes reads the stored hashes of the audit log.
func (d *Dump) Hashes() tlog.HashReader { return d.q }

func (d *Dump) each(table, text string, args []any, fn func([]string, []any) error) error {
	var columns []string
	var values, into []any
	err := d.q.rows(text, args, func(r *sql.Rows) (err error) {
		if columns == nil {
			if columns, err = r.Columns(); err != nil {
				return err
			}
			values, into = make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
		}
		if err := r.Scan(into...); err != nil {
			return err
		}
		return fn(columns, values)
	})
	if err != nil && d.q.c.failed != nil {
		return fmt.Errorf("reading table %s: %w", table, err)
	}
	return err
}

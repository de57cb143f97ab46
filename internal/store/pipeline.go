package store

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// statement is one of several that are run together. To PostgreSQL, which may be beyond a network, they travel
// together too: a batch takes three round trips, and not one for each.
type statement struct {
	text    string
	args    []any
	row     func(scan func(...any) error) error // of a query: called for each row; its error ends all
	changes bool                                // it must change a row; else the error is errChanged
}

// all runs the statements in order, until one fails.
func (q querier) all(statements []statement) error {
	if len(statements) == 0 {
		return nil
	}
	if q.c.remote != nil {
		return q.pipeline(statements)
	}
	for _, s := range statements {
		if s.row != nil {
			if err := q.each(s.text, s.args, s.row); err != nil {
				return err
			}
			continue
		}
		n, err := q.changed(s.text, s.args...)
		if err == nil && n == 0 && s.changes {
			err = errChanged
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (q querier) pipeline(statements []statement) error {
	var b pgx.Batch
	var own error // of those who look at rows: the database has done what it was asked
	for _, s := range statements {
		if !storable(s.args) {
			if s.row == nil {
				return errText
			}
			continue // nothing can be found by it
		}
		queued := b.Queue(s.text, s.args...)
		if s.row != nil {
			queued.Query(func(rows pgx.Rows) error {
				for rows.Next() && own == nil {
					own = s.row(rows.Scan)
				}
				return rows.Err()
			})
			continue
		}
		queued.Exec(func(done pgconn.CommandTag) error {
			if s.changes && done.RowsAffected() == 0 {
				return errChanged
			}
			return nil
		})
	}
	if err := q.c.remote.SendBatch(q.ctx, &b).Close(); err != nil {
		return q.note(err)
	}
	return own
}

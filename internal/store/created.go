package store

import (
	"database/sql"
	"errors"
	"fmt"
	"sort"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// disorder is how much later than another an operation must have been created to be sure to have the greater id: an id is
// drawn by the clock of a server before it waits for the database, whose time is that of the creation.
const disorder = 10 * time.Minute

// CreatedBetween says between which ids the operations are that were created in a time, as the audit log tells: since is
// the first one that may be, before the first one after. Empty: there is no such bound. Some between them may have
// been created up to ten minutes earlier or later. A zero time is no bound.
func (r *Reader) CreatedBetween(from, until time.Time) (since, before law.OperationID, err error) {
	parts, err := r.steadyParts()
	if err != nil {
		return "", "", err
	}
	if !from.IsZero() {
		index := r.head.size // of the first event that is late enough
		for _, p := range parts {
			at, err := r.firstEventAt(p, from.Add(-disorder))
			if err != nil {
				return "", "", err
			}
			if at < p.end {
				index = at
				break
			}
		}
		since, err = r.createdSince(index)
		if err == nil && since == "" {
			since = nothing
		}
		if err != nil {
			return "", "", err
		}
	}
	if !until.IsZero() {
		index := int64(0) // of the first event after the last one that is early enough
		for i := len(parts) - 1; i >= 0 && index == 0; i-- {
			at, err := r.firstEventAt(parts[i], until.Add(disorder))
			if err != nil {
				return "", "", err
			}
			if at > parts[i].begin {
				index = at
			}
		}
		before, err = r.createdSince(index)
	}
	return since, before, err
}

// nothing is greater than every id of an operation.
const nothing law.OperationID = "~"

// part is a part of the audit log in which the time never goes back.
type part struct{ begin, end int64 }

// steadyParts are the parts of the log: the time goes back only where an operator accepted that.
func (r *Reader) steadyParts() ([]part, error) {
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	parts := []part{{0, r.head.size}}
	err = q.each(`SELECT idx FROM audit_events WHERE type = $1 AND idx < $2 ORDER BY idx`, []any{string(audit.ClockAccepted), r.head.size},
		func(scan func(...any) error) error {
			var index int64
			err := scan(&index)
			parts[len(parts)-1].end = index
			parts = append(parts, part{index, r.head.size})
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("reading where the clock went back: %w", err)
	}
	return parts, nil
}

// firstEventAt is the index of the first event in a part that is not before a time, the part's end if there is none.
func (r *Reader) firstEventAt(p part, t time.Time) (int64, error) {
	var failed error
	n := sort.Search(int(p.end-p.begin), func(i int) bool {
		if failed != nil {
			return true
		}
		var at int64
		failed = r.q.row(`SELECT time FROM audit_events WHERE idx = $1`, []any{p.begin + int64(i)}, &at)
		return at >= millis(t)
	})
	if failed != nil {
		return 0, fmt.Errorf("looking for a time in the audit log: %w", failed)
	}
	return p.begin + int64(n), nil
}

// createdSince is the first operation whose creation is at the index of the audit log or after; empty: there is none.
func (r *Reader) createdSince(index int64) (law.OperationID, error) {
	var id law.OperationID
	err := r.q.row(`SELECT operation FROM audit_events WHERE type = $1 AND idx >= $2 ORDER BY idx LIMIT 1`, []any{string(audit.OperationCreated), index}, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking for an operation in the audit log: %w", err)
	}
	return id, nil
}

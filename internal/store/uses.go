package store

import (
	"fmt"
	"time"

	"example.org/keyserver/internal/law"
)

const day = 24 * time.Hour

// Uses counts the sign orders that were accepted with a key, for each of so many days from the given time.
func (r *Reader) Uses(key law.KeyID, from time.Time, days int) ([]int, error) {
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	uses := make([]int, days)
	begin := millis(from)
	// PostgreSQL gives a parameter the type that it has where it is met first.
	err = q.each(`SELECT (accepted - CAST($2 AS BIGINT)) / 86400000 AS day, count(*) FROM sign_orders WHERE keyid = $1 AND accepted >= $2 AND accepted < $3 GROUP BY 1`,
		[]any{string(key), begin, begin + int64(days)*day.Milliseconds()}, func(scan func(...any) error) error {
			var at, n int
			err := scan(&at, &n)
			if err == nil {
				uses[at] = n
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("counting uses of key %s: %w", key, err)
	}
	return uses, nil
}

// UsesSince counts the sign orders that were accepted with a key at or after a time.
func (r *Reader) UsesSince(key law.KeyID, from time.Time) (int, error) {
	q, err := r.list()
	if err != nil {
		return 0, err
	}
	var n int
	if err := q.row(`SELECT count(*) FROM sign_orders WHERE keyid = $1 AND accepted >= $2`, []any{string(key), millis(from)}, &n); err != nil {
		return 0, fmt.Errorf("counting uses of key %s: %w", key, err)
	}
	return n, nil
}

// Use is the acceptance of a sign order.
type Use struct {
	Operation law.OperationID
	At        time.Time
}

// NewestUses lists the sign orders that were accepted with a key from one time until before another, newest first, at
// most limit.
func (r *Reader) NewestUses(key law.KeyID, from, until time.Time, limit int) ([]Use, error) {
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	var uses []Use
	err = q.each(`SELECT operation, accepted FROM sign_orders WHERE keyid = $1 AND accepted >= $2 AND accepted < $3 ORDER BY accepted DESC LIMIT $4`,
		[]any{string(key), millis(from), millis(until), limit}, func(scan func(...any) error) error {
			var u Use
			var at int64
			err := scan(&u.Operation, &at)
			u.At = fromMillis(at)
			uses = append(uses, u)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("listing uses of key %s: %w", key, err)
	}
	return uses, nil
}

// RecentOrders lists the sign orders before the given one, newest first, at most limit. Empty: from the newest.
func (r *Reader) RecentOrders(before law.OrderID, limit int) ([]law.Order, error) {
	if before == "" {
		return r.orders(`id > '' ORDER BY id DESC LIMIT $1`, limit)
	}
	return r.orders(`id < $1 ORDER BY id DESC LIMIT $2`, string(before), limit)
}

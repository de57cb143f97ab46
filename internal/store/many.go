package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/internal/law"
)

// manyAtOnce is how many operations are read together. The statements have always as many places, so that there is one
// text to prepare.
const manyAtOnce = 100

// ReadOperations reads operations, in the order of their ids here; one that is not there is left out.
func (r *Reader) ReadOperations(ids []law.OperationID) ([]Operation, error) {
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	found := map[law.OperationID]Operation{}
	for from := 0; from < len(ids); from += manyAtOnce {
		some := ids[from:min(from+manyAtOnce, len(ids))]
		places := make([]string, manyAtOnce)
		args := make([]any, manyAtOnce)
		for i := range manyAtOnce {
			places[i], args[i] = "$"+strconv.Itoa(i+1), string(some[min(i, len(some)-1)])
		}
		read, err := readOperations(q, `id IN (`+strings.Join(places, ", ")+`)`, args...)
		if err != nil {
			return nil, err
		}
		for _, o := range read {
			found[o.ID] = o
		}
	}
	all := make([]Operation, 0, len(ids))
	for _, id := range ids {
		if o, known := found[id]; known {
			all = append(all, o)
		}
	}
	return all, nil
}

// Waiting is where an operation is in the list of those that are open.
type Waiting struct {
	Expires time.Time
	ID      law.OperationID
}

// WaitingOperations lists operations that are stored as pending, or else as approved, and whose validity ends after that
// of the given one, earliest first, at most limit.
func (r *Reader) WaitingOperations(state law.State, after Waiting, limit int) ([]Waiting, error) {
	where := `state = 'pending'`
	if state == law.Approved {
		where = `state IN ('pending', 'approved') AND state = 'approved'` // both, as the index says it
	}
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	var all []Waiting
	err = q.each(`SELECT expires, id FROM operations WHERE `+where+` AND expires >= $1 AND (expires > $1 OR id > $2) ORDER BY expires, id LIMIT $3`,
		[]any{millis(after.Expires), string(after.ID), limit}, func(scan func(...any) error) error {
			var w Waiting
			var expires int64
			err := scan(&expires, &w.ID)
			w.Expires = fromMillis(expires)
			all = append(all, w)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("listing operations that wait: %w", err)
	}
	return all, nil
}

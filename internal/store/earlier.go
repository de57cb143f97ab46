package store

import (
	"fmt"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// Earlier is an operation that went before another one.
type Earlier struct {
	Operation
	WasApproved bool // at some time, whatever has become of it
}

// EarlierOperations reads the operations on a key before the given one, newest first, at most limit.
func (r *Reader) EarlierOperations(key law.KeyID, before law.OperationID, limit int) ([]Earlier, error) {
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	const newest = `(SELECT operation FROM operation_keys WHERE keyid = $1 AND operation < $2 ORDER BY operation DESC LIMIT $3)`
	args := []any{string(key), string(before), limit}
	found, err := readOperations(q, `id IN `+newest, args...)
	if err != nil {
		return nil, err
	}
	approved := map[law.OperationID]bool{}
	if err := q.each(`SELECT operation FROM audit_events WHERE type = '`+string(audit.OperationBecameApproved)+`' AND operation IN `+newest, args,
		func(scan func(...any) error) error {
			var id law.OperationID
			err := scan(&id)
			approved[id] = true
			return err
		}); err != nil {
		return nil, fmt.Errorf("reading which operations were approved: %w", err)
	}
	all := make([]Earlier, 0, len(found))
	for _, o := range found {
		all = append(all, Earlier{o, approved[o.ID]})
	}
	return all, nil
}

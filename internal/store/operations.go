package store

import (
	"encoding/json/v2"
	"fmt"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// Operation is an operation as it is stored.
type Operation struct {
	law.Operation
	Revision       int64         // grows with every change; 0 before it is stored
	IdempotencyKey string        // of its creation, scoped to the orderer
	Asked          string        // lower-case hex SHA-256 of what was asked for under that key
	was            law.Operation // as it is stored
}

const operationColumns = `id, revision, orderer, idempotencykey, asked, state, statement, behind, eligible, endedat, endedby, endedreason`

// Operation reads one operation. It is false if there is none.
func (r *Reader) Operation(id law.OperationID) (Operation, bool, error) {
	if o, known := r.pending.operation(id); known {
		return o, true, nil
	}
	if r.cache == nil {
		return r.operation(`id = $1`, string(id))
	}
	if o, known := r.cache.operation(id); known {
		return o, true, nil
	}
	o, known, err := r.operation(`id = $1`, string(id))
	if known && err == nil {
		r.cache.keep(o)
	}
	return o, known, err
}

// OperationByIdempotencyKey reads the operation that a subject created under an idempotency key. It is
// false if there is none.
func (r *Reader) OperationByIdempotencyKey(orderer law.SubjectID, key string) (Operation, bool, error) {
	if c, known := r.pending.find(func(c change) bool {
		return c.operation != nil && c.operation.IdempotencyKey == key && c.operation.Orderer.Subject == orderer
	}); known {
		return *c.operation, true, nil
	}
	return r.operation(`orderer = $1 AND idempotencykey = $2`, string(orderer), key)
}

// operation reads the operation for which the condition holds.
func (r *Reader) operation(where string, args ...any) (Operation, bool, error) {
	all, err := readOperations(r.q, where, args...)
	if err != nil || len(all) == 0 {
		return Operation{}, false, err
	}
	return all[0], true, nil
}

// readOperations reads the operations for which the condition holds, newest first.
func readOperations(q querier, where string, args ...any) ([]Operation, error) {
	var all []Operation
	at := map[law.OperationID]int{}
	of := func(id law.OperationID) (*Operation, error) {
		i, known := at[id]
		if !known {
			return nil, fmt.Errorf("there are rows of operation %s, and there is no such operation", id)
		}
		return &all[i], nil
	}
	in := ` WHERE operation IN (SELECT id FROM operations WHERE ` + where + `)`
	var last law.OperationID
	err := q.all([]statement{
		{text: `SELECT ` + operationColumns + ` FROM operations WHERE ` + where + ` ORDER BY id DESC`, args: args, row: func(scan func(...any) error) error {
			var o Operation
			err := o.scan(scan)
			at[o.ID], last = len(all), o.ID
			all = append(all, o)
			return err
		}},
		{text: `SELECT operation, keyid, taken, signed FROM operation_keys` + in, args: args, row: func(scan func(...any) error) error {
			var u law.Usage
			var key law.KeyID
			if err := scan(&last, &key, &u.Taken, &u.Signed); err != nil {
				return err
			}
			o, err := of(last)
			if err == nil {
				o.used(key, u)
			}
			return err
		}},
		{text: `SELECT operation, subject, covers, at, withdrawn FROM approvals` + in + ` ORDER BY operation, position`, args: args, row: func(scan func(...any) error) error {
			var a law.Approval
			var covers string
			var at, withdrawn int64
			if err := scan(&last, &a.By, &covers, &at, &withdrawn); err != nil {
				return err
			}
			o, err := of(last)
			if err != nil {
				return err
			}
			a.At, a.Withdrawn = fromMillis(at), fromMillis(withdrawn)
			o.Approvals = append(o.Approvals, a)
			return json.Unmarshal([]byte(covers), &o.Approvals[len(o.Approvals)-1].Covers)
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("reading operation %s: %w", last, err)
	}
	for i := range all {
		all[i].was = all[i].Operation
	}
	return all, nil
}

func (o *Operation) scan(scan func(...any) error) error {
	var id, orderer, statement, eligible string
	var ended int64
	if err := scan(&id, &o.Revision, &orderer, &o.IdempotencyKey, &o.Asked, &o.Recorded, &statement, &o.Behind, &eligible,
		&ended, &o.Ending.By, &o.Ending.Reason); err != nil {
		return err
	}
	o.ID = law.OperationID(id) // if the statement cannot be read, whose it is
	o.Ending.At = fromMillis(ended)
	parsed, err := law.ParseStatement([]byte(statement))
	if err != nil {
		return err
	}
	o.Statement = parsed
	return json.Unmarshal([]byte(eligible), &o.Eligible)
}

func (o *Operation) used(key law.KeyID, u law.Usage) {
	if o.Usage == nil {
		o.Usage = map[law.KeyID]law.Usage{}
	}
	o.Usage[key] = u
}

// SaveOperation stores an operation with the events that say what happened to it.
func (tx *Tx) SaveOperation(o Operation, first audit.Event, more ...audit.Event) error {
	if err := tx.pending.save(o); err != nil {
		return tx.wrote(fmt.Errorf("storing operation %s: %w", o.ID, err))
	}
	return tx.Append(first, more...)
}

// row is the statement that stores the operation's own row.
func (c change) row() (statement, error) {
	o := c.operation
	if c.revision == 0 {
		eligible, err := json.Marshal(o.Eligible, json.Deterministic(true))
		return statement{
			text: `INSERT INTO operations (` + operationColumns + `, expires, digest) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			args: []any{
				string(o.ID), o.Revision, string(o.Orderer.Subject), o.IdempotencyKey, o.Asked, string(o.Recorded), string(o.Canonical()),
				string(o.Behind), string(eligible), millis(o.Ending.At), string(o.Ending.By), o.Ending.Reason, millis(o.Expires), string(o.Digest()),
			},
		}, err
	}
	return statement{
		text:    `UPDATE operations SET revision = $3, state = $4, endedat = $5, endedby = $6, endedreason = $7 WHERE id = $1 AND revision = $2`,
		args:    []any{string(o.ID), c.revision, o.Revision, string(o.Recorded), millis(o.Ending.At), string(o.Ending.By), o.Ending.Reason},
		changes: true,
	}, nil
}

// keys are the rows of uses that are not as they were.
func (c change) keys() [][]any {
	var rows [][]any
	for i, k := range c.operation.Keys {
		if u := c.operation.Usage[k.Key]; c.revision == 0 || u != c.was.Usage[k.Key] {
			rows = append(rows, []any{string(c.operation.ID), i, string(k.Key), u.Taken, u.Signed})
		}
	}
	return rows
}

// approvals appends the rows of approvals that are not as they were.
func (c change) approvals(rows [][]any) ([][]any, error) {
	for i, a := range c.operation.Approvals {
		if i < len(c.was.Approvals) && a.Withdrawn.Equal(c.was.Approvals[i].Withdrawn) {
			continue
		}
		covers, err := json.Marshal(a.Covers)
		if err != nil {
			return nil, err
		}
		rows = append(rows, []any{string(c.operation.ID), i, string(a.By), string(covers), millis(a.At), millis(a.Withdrawn)})
	}
	return rows, nil
}

// DueOperationIDs lists open operations whose validity has run out at the given time, at most limit.
func (r *Reader) DueOperationIDs(now time.Time, limit int) ([]law.OperationID, error) {
	return r.ids(`SELECT id FROM operations WHERE state IN ('pending', 'approved') AND expires <= $1 ORDER BY expires LIMIT $2`, millis(now), limit)
}

// OpenOperationIDs lists the operations stored as open after the given one, oldest first.
func (r *Reader) OpenOperationIDs(after law.OperationID, limit int) ([]law.OperationID, error) {
	return r.ids(`SELECT id FROM operations WHERE state IN ('pending', 'approved') AND id > $1 ORDER BY id LIMIT $2`, string(after), limit)
}

// PendingOf counts the operations of an orderer that are stored as pending.
func (r *Reader) PendingOf(orderer law.SubjectID, now time.Time) (int, error) {
	var n int
	q, err := r.list()
	if err == nil {
		err = q.row(`SELECT count(*) FROM operations WHERE orderer = $1 AND state = 'pending' AND expires > $2`, []any{string(orderer), millis(now)}, &n)
	}
	if err != nil {
		return 0, fmt.Errorf("counting pending operations: %w", err)
	}
	return n, nil
}

func (r *Reader) ids(text string, args ...any) ([]law.OperationID, error) {
	var out []law.OperationID
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	err = q.each(text, args, func(scan func(...any) error) error {
		var id law.OperationID
		err := scan(&id)
		out = append(out, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing operations: %w", err)
	}
	return out, nil
}

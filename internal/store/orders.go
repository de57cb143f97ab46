package store

import (
	"encoding/hex"
	"fmt"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

const orderColumns = `id, operation, keyid, fingerprint, requester, idempotencykey, hash, scheme, input, certifies, device, usenumber, accepted, state, attempt, lease, settled, failure, signature`

// Order reads one sign order. It is false if there is none.
func (r *Reader) Order(id law.OrderID) (law.Order, bool, error) {
	if c, known := r.pending.find(func(c change) bool { return c.order != nil && c.order.ID == id }); known {
		return *c.order, true, nil
	}
	if r.cache != nil {
		if o, known := r.cache.orders[id]; known {
			return o, true, nil
		}
	}
	return r.order(`id = $1`, string(id))
}

// OrderKey says where to find the sign order that a subject placed under an idempotency key, for one key of
// one operation.
type OrderKey struct {
	Operation      law.OperationID
	Key            law.KeyID
	Requester      law.SubjectID
	IdempotencyKey string
}

const underOrderKey = `operation = $1 AND keyid = $2 AND requester = $3 AND idempotencykey = $4`

func (k OrderKey) args() []any {
	return []any{string(k.Operation), string(k.Key), string(k.Requester), k.IdempotencyKey}
}

func (k OrderKey) of(r law.Order) bool {
	return k == OrderKey{r.Operation, r.Key, r.Requester, r.IdempotencyKey}
}

// found are the sign orders that a batch has looked for at its beginning.
type found map[OrderKey]*sought

// sought is a sign order, if there is one, or why it cannot be read.
type sought struct {
	order law.Order
	known bool
	err   error
}

// lookFor are the statements that look for sign orders.
func (f *found) lookFor(wanted []OrderKey) []statement {
	var all []statement
	for _, k := range wanted {
		if _, twice := (*f)[k]; twice {
			continue
		}
		if *f == nil {
			*f = found{}
		}
		s := &sought{}
		(*f)[k] = s
		all = append(all, statement{
			text: selectOrders + underOrderKey, args: k.args(),
			row: func(scan func(...any) error) error {
				s.order, s.err = scanOrder(scan)
				s.known = true
				return nil // what makes no sense is an error of who looks for it
			},
		})
	}
	return all
}

// OrderByKey reads a sign order. It is false if there is none.
func (r *Reader) OrderByKey(k OrderKey) (law.Order, bool, error) {
	if c, known := r.pending.find(func(c change) bool { return c.order != nil && k.of(*c.order) }); known {
		return *c.order, true, nil
	}
	if s := r.found[k]; s != nil {
		return s.order, s.known, s.err
	}
	return r.order(underOrderKey, k.args()...)
}

func (r *Reader) order(where string, args ...any) (law.Order, bool, error) {
	orders, err := readOrders(r.q, where, args...)
	if err != nil || len(orders) == 0 {
		return law.Order{}, false, err
	}
	return orders[0], true, nil
}

// Orders lists the sign orders of an operation after the given one, oldest first.
func (r *Reader) Orders(op law.OperationID, after law.OrderID, limit int) ([]law.Order, error) {
	return r.orders(`operation = $1 AND id > $2 ORDER BY id LIMIT $3`, string(op), string(after), limit)
}

// RunningOrders lists the sign orders with an attempt under way whose lease ends at or before the given
// time, at most limit.
func (r *Reader) RunningOrders(until time.Time, limit int) ([]law.Order, error) {
	return r.orders(`state = 'running' AND lease <= $1 ORDER BY lease LIMIT $2`, millis(until), limit)
}

func (r *Reader) orders(where string, args ...any) ([]law.Order, error) {
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	return readOrders(q, where, args...)
}

const selectOrders = `SELECT ` + orderColumns + ` FROM sign_orders WHERE `

func readOrders(q querier, where string, args ...any) ([]law.Order, error) {
	var out []law.Order
	err := q.each(selectOrders+where, args, func(scan func(...any) error) error {
		o, err := scanOrder(scan)
		out = append(out, o)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading sign orders: %w", err)
	}
	return out, nil
}

func scanOrder(scan func(...any) error) (law.Order, error) {
	var o law.Order
	var input string
	var accepted, lease, settled int64
	if err := scan(&o.ID, &o.Operation, &o.Key, &o.Fingerprint, &o.Requester, &o.IdempotencyKey, &o.Input.Hash, &o.Input.Scheme, &input,
		&o.Certifies, &o.Device, &o.Use, &accepted, &o.State, &o.Attempt, &lease, &settled, &o.Failure, &o.Signature); err != nil {
		return law.Order{}, err
	}
	if len(o.Signature) == 0 {
		o.Signature = nil
	}
	o.Accepted, o.Lease, o.Settled = fromMillis(accepted), fromMillis(lease), fromMillis(settled)
	var err error
	o.Input.Digest, err = hex.DecodeString(input)
	return o, err
}

// SaveOrder stores a sign order and its operation with the events that say what happened to them.
func (tx *Tx) SaveOrder(o Operation, r law.Order, first audit.Event, more ...audit.Event) error {
	if err := tx.SaveOperation(o, first, more...); err != nil {
		return err
	}
	tx.pending.journal = append(tx.pending.journal, change{order: &r, before: -1})
	return nil
}

func orderRow(r law.Order) []any {
	signature := r.Signature
	if signature == nil {
		signature = []byte{}
	}
	return []any{
		string(r.ID), string(r.Operation), string(r.Key), r.Fingerprint, string(r.Requester), r.IdempotencyKey, string(r.Input.Hash), string(r.Input.Scheme),
		hex.EncodeToString(r.Input.Digest), string(r.Certifies), r.Device, r.Use, millis(r.Accepted), string(r.State), r.Attempt, millis(r.Lease), millis(r.Settled), r.Failure, signature,
	}
}

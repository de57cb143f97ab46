package keyserver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

func (c Caller) actor() *audit.Actor {
	return &audit.Actor{Subject: c.Subject, Issuer: c.Issuer, Sub: c.Sub, Address: c.Address}
}

// refused completes the event of a refusal.
func (c Caller) refused(e audit.Event, r *law.Refusal) audit.Event {
	e.Actor, e.Request, e.Route = c.actor(), c.Request, c.Route
	e.Refusal, e.Reason = r.Kind, r.Reason
	return e
}

// recorded says whether a refusal is an event: not that the server cannot answer now.
func recorded(r *law.Refusal) bool { return r.Kind != law.Held && r.Kind != law.Superseded }

// operationEvents are the events of what happened to an operation, one for each change.
func (c Caller) operationEvents(o law.Operation, changes []law.Change) []audit.Event {
	digest := o.Digest()
	events := make([]audit.Event, 0, len(changes)+1)
	for _, change := range changes {
		e := audit.Event{
			Type: audit.Type(change.Kind), Operation: o.ID, Digest: digest, Request: c.Request, Covers: change.Covers, Reason: change.Reason,
		}
		if change.By != "" {
			e.Actor = c.actor()
		}
		if change.Kind == law.DidCreate {
			e.Statement, e.Eligible, e.Behind = o.Canonical(), o.Eligible, o.Behind
		}
		events = append(events, e)
	}
	return events
}

// orderEvents are the events of what happened to a sign order and its operation.
func (c Caller) orderEvents(o law.Operation, r law.Order, changes []law.Change) []audit.Event {
	events := c.operationEvents(o, changes)
	grant, _ := o.Grant(r.Key)
	for i, e := range events {
		switch law.ChangeKind(e.Type) {
		case law.DidAcceptOrder, law.DidAttemptOrder:
			e.IdempotencyKey, e.Lease = r.IdempotencyKey, r.Lease.UnixMilli()
		case law.DidSignOrder:
			e.Signature = hexHash(r.Signature)
		case law.DidFailOrder, law.DidWithhold:
		default:
			continue // about the operation, not the order
		}
		e.Order, e.Attempt, e.Key, e.Fingerprint, e.Use, e.Of = r.ID, r.Attempt, r.Key, r.Fingerprint, r.Use, grant.MaxUses
		e.Hash, e.Scheme, e.Input = r.Input.Hash, r.Input.Scheme, hex.EncodeToString(r.Input.Digest)
		events[i] = e
	}
	return events
}

// signing completes the event of a signature that is permitted.
func signing(e *audit.Event, p law.Permit) {
	in := p.Input()
	e.Hash, e.Scheme, e.Input = in.Hash, in.Scheme, hex.EncodeToString(in.Digest)
}

// hexHash is the SHA-256 of data, in lower-case hex.
func hexHash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// save stores the operation if anything happened to it, with its events and the one of the refusal, if
// there was a refusal that is an event.
func (c Caller) save(tx *store.Tx, o store.Operation, events []audit.Event, about audit.Event, refusal error) (store.Operation, error) {
	var r *law.Refusal
	if errors.As(refusal, &r) && recorded(r) {
		refused := c.refused(about, r)
		if len(events) == 0 {
			return o, tx.Append(refused)
		}
		events = append(events, refused)
	}
	if len(events) == 0 {
		return o, nil
	}
	err := tx.SaveOperation(o, events[0], events[1:]...)
	o.Revision++
	return o, err
}

package keyserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"fmt"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// errNoOperation is what a caller is told of an operation that is not there. One that is hidden looks the
// same, but is an event.
var errNoOperation = &law.Refusal{Kind: law.NotFound, Reason: "there is no such operation"}

// CreateOperation asks for an operation (rule 1). The same request under the same idempotency key gives the
// operation as it is now.
func (k *Keyserver) CreateOperation(ctx context.Context, c Caller, request CreateRequest) (Operation, error) {
	asked, err := askDigest(request.Ask)
	if err != nil {
		return Operation{}, err
	}
	ask := request.Ask
	id, err := newID()
	if err != nil {
		return Operation{}, err
	}
	var nonce [32]byte
	_, _ = rand.Read(nonce[:]) // it never fails, see crypto/rand
	ask.ID, ask.Nonce = law.OperationID(id), hex.EncodeToString(nonce[:])
	return update(ctx, k, func(tx *store.Tx) (Operation, error) {
		earlier, known, err := tx.OperationByIdempotencyKey(c.Subject, request.IdempotencyKey)
		if err != nil {
			return Operation{}, err
		}
		if known {
			return k.createdBefore(tx, c, earlier, asked)
		}
		pending, err := tx.PendingOf(c.Subject, tx.Now())
		if err != nil {
			return Operation{}, err
		}
		if pending >= k.limits.PendingOperations {
			return Operation{}, &TooMany{Sentence: fmt.Sprintf("%d of your operations are pending, which is as many as may be; "+
				"wait until some are judged, or revoke those that are not needed", pending), RetryAfter: time.Minute}
		}
		ask.Server = tx.Server()
		out, refusal := law.Create(c.Caller, ask, tx.Facts(), tx.Now())
		o := store.Operation{Operation: out.Operation, IdempotencyKey: request.IdempotencyKey, Asked: asked}
		var events []audit.Event
		if refusal == nil {
			events = c.operationEvents(o.Operation, out.Changes)
		}
		if o, err = c.save(tx, o, events, audit.Event{Type: audit.OperationRefused}, refusal); err != nil {
			return Operation{}, err
		}
		if refusal != nil {
			return Operation{}, refusal
		}
		return k.seen(&tx.Reader, c, o), nil
	})
}

func (k *Keyserver) createdBefore(tx *store.Tx, c Caller, earlier store.Operation, asked string) (Operation, error) {
	refusal := earlier.CreateAgain(c.Subject, earlier.Asked == asked, tx.Facts())
	var r *law.Refusal
	if !errors.As(refusal, &r) {
		return k.seen(&tx.Reader, c, earlier), nil
	}
	if err := tx.Append(c.refused(audit.Event{Type: audit.OperationRefused}, r)); err != nil {
		return Operation{}, err
	}
	return Operation{}, refusal
}

// askDigest names what was asked for, so that asking for something else under the same idempotency key is
// noticed.
func askDigest(ask law.Ask) (string, error) {
	ask.Server, ask.ID, ask.Nonce = "", "", ""
	body, err := json.Marshal(struct {
		law.Ask
		Validity int64
	}{ask, ask.Validity.Milliseconds()})
	if err != nil {
		return "", &Malformed{Sentence: "the request is not valid UTF-8"}
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}

// Operation returns one operation, if it exists for the caller.
func (k *Keyserver) Operation(ctx context.Context, c Caller, id law.OperationID) (Operation, error) {
	o, err := look(ctx, k, func(r *store.Reader) (Operation, error) {
		o, err := visible(r, c, id)
		return k.seen(r, c, o), err
	})
	return o, k.auditHidden(ctx, c, err, audit.Event{Operation: id})
}

// visible reads an operation that the caller may see.
func visible(r *store.Reader, c Caller, id law.OperationID) (store.Operation, error) {
	o, known, err := r.Operation(id)
	switch {
	case err != nil:
		return o, err
	case !known || !r.Facts().Sees(c.Subject, o.Operation):
		return store.Operation{}, &unseen{errNoOperation, known}
	}
	return o, nil
}

// seen is an operation as the caller sees it now.
func (k *Keyserver) seen(r *store.Reader, c Caller, o store.Operation) Operation {
	return Operation{
		Operation: o.Operation, State: o.State(r.Facts(), r.Now()), Digest: o.Digest(), Progress: o.Progress(r.Facts()),
		Obstacles: o.Obstacles(r.Facts()), Counts: o.EligibleFor(c.Subject, r.Facts()), Revision: o.Revision,
	}
}

// Stopping says that the server is to stop: those who wait for a change are answered with what there is.
func (k *Keyserver) Stopping() { k.stopOnce.Do(func() { close(k.stopping) }) }

// WaitOperation returns the operation as soon as its revision is greater than the given one, or as it is
// after the given time.
func (k *Keyserver) WaitOperation(ctx context.Context, c Caller, id law.OperationID, revision int64, wait time.Duration) (Operation, error) {
	enough, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		changed, stop := k.db.Watch(id)
		o, err := k.Operation(ctx, c, id)
		if err != nil || o.Revision > revision {
			stop()
			return o, err
		}
		select {
		case <-changed:
			stop()
		case <-enough.Done():
			stop()
			return o, ctx.Err()
		case <-k.stopping:
			stop()
			return o, nil
		}
	}
}

// Approve gives the caller's yes to exactly the operation with this digest (rule 4).
func (k *Keyserver) Approve(ctx context.Context, c Caller, id law.OperationID, d law.Digest) (Operation, error) {
	return k.change(ctx, c, id, store.Update[Operation], func(o law.Operation, f law.Facts, now time.Time) (law.Outcome, error) {
		return o.Approve(c.Subject, d, f, now)
	})
}

// Withdraw takes the caller's approval back (rule 5).
func (k *Keyserver) Withdraw(ctx context.Context, c Caller, id law.OperationID) (Operation, error) {
	return k.change(ctx, c, id, store.UpdateFirst[Operation], func(o law.Operation, f law.Facts, now time.Time) (law.Outcome, error) {
		return o.Withdraw(c.Subject, f, now)
	})
}

// Reject ends the operation by the caller's no (rule 6).
func (k *Keyserver) Reject(ctx context.Context, c Caller, id law.OperationID, reason string) (Operation, error) {
	return k.change(ctx, c, id, store.UpdateFirst[Operation], func(o law.Operation, f law.Facts, now time.Time) (law.Outcome, error) {
		return o.Reject(c.Subject, reason, f, now)
	})
}

// Revoke ends the operation at any time (rule 7).
func (k *Keyserver) Revoke(ctx context.Context, c Caller, id law.OperationID, reason string) (Operation, error) {
	return k.change(ctx, c, id, store.UpdateFirst[Operation], func(o law.Operation, f law.Facts, now time.Time) (law.Outcome, error) {
		return o.Revoke(c.Subject, reason, f, now)
	})
}

type updater func(context.Context, *store.DB, func(*store.Tx) (Operation, error), ...store.OrderKey) (Operation, error)

type verb func(law.Operation, law.Facts, time.Time) (law.Outcome, error)

// change applies a verb of the law to a stored operation, and stores what comes of it.
func (k *Keyserver) change(ctx context.Context, c Caller, id law.OperationID, run updater, apply verb) (Operation, error) {
	out, err := run(ctx, k.db, func(tx *store.Tx) (Operation, error) {
		o, known, err := tx.Operation(id)
		if err != nil {
			return Operation{}, err
		}
		if !known {
			return Operation{}, errNoOperation
		}
		out, refusal := apply(o.Operation, tx.Facts(), tx.Now())
		o.Operation = out.Operation
		about := audit.Event{Type: audit.RequestRefused, Operation: id, Digest: o.Digest()}
		if o, err = c.save(tx, o, c.operationEvents(o.Operation, out.Changes), about, refusal); err != nil {
			return Operation{}, err
		}
		if refusal != nil {
			return Operation{}, refusal
		}
		return k.seen(&tx.Reader, c, o), nil
	})
	return out, unavailable(err, "")
}

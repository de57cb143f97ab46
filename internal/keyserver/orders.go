package keyserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// PlaceSignOrder has one input signed under an approved operation (rules 10 to 12). ID and Who of the ask
// are filled in.
//
// The error is ErrStale if the caller is not authenticated by the configuration of now.
//
// The use is taken and audited durably before the keystore is asked, and the signature is stored and
// audited durably before it is returned (rule 11).
func (k *Keyserver) PlaceSignOrder(ctx context.Context, c Caller, id law.OperationID, ask law.OrderAsk) (SignOrder, error) {
	draw, err := newDrawing()
	if err != nil {
		return SignOrder{}, err
	}
	ask.ID, ask.Who = law.OrderID(draw.id), c.Subject
	patience, cancel := context.WithTimeout(ctx, k.limits.DuplicateWait)
	defer cancel()
	for {
		changed, stop := k.db.Watch(id)
		p, err := k.place(ctx, c, id, ask, draw)
		switch {
		case err != nil:
			stop()
			return SignOrder{}, err
		case p.Permit.Granted():
			stop()
			// Whatever becomes of the caller now, an attempt that has begun is brought to its end.
			return k.attempt(context.WithoutCancel(ctx), c, p)
		case p.Order.State == law.OrderSigned:
			stop()
			return k.answer(p.Operation, p.Order)
		}
		select {
		case <-changed:
			stop()
		case <-patience.Done():
			stop()
			return SignOrder{}, &Unavailable{Kind: "running", Sentence: "an attempt at this sign order is under way; ask for it again soon",
				RetryAfter: time.Second, Order: p.Order.ID, Err: ctx.Err()}
		}
	}
}

// place asks the law for a permit, and stores the use that it takes.
func (k *Keyserver) place(ctx context.Context, c Caller, id law.OperationID, ask law.OrderAsk, draw drawing) (law.Placed, error) {
	under := store.OrderKey{Operation: id, Key: ask.Key, Requester: c.Subject, IdempotencyKey: ask.IdempotencyKey}
	return update(ctx, k, func(tx *store.Tx) (law.Placed, error) {
		if c.stale(tx.Reader) {
			return law.Placed{}, ErrStale
		}
		o, known, err := tx.Operation(id)
		if err != nil {
			return law.Placed{}, err
		}
		if !known {
			return law.Placed{}, errNoOperation
		}
		prior, placedBefore, err := tx.OrderByKey(under)
		if err != nil {
			return law.Placed{}, err
		}
		before := &prior
		if !placedBefore {
			before = nil
		}
		earlier, err := draw.order(&tx.Reader, &ask, before)
		if err != nil {
			return law.Placed{}, err
		}
		p, refusal := o.Place(ask, before, tx.Facts(), tx.Now())
		o.Operation = p.Operation
		if p.Permit.Granted() {
			if before != nil {
				p.Certificate = earlier
			}
			return p, c.saveOrder(tx, o, p, nil)
		}
		about := audit.Event{
			Type: audit.OrderRefused, Operation: id, Digest: o.Digest(), Key: ask.Key, Order: prior.ID, IdempotencyKey: ask.IdempotencyKey,
		}
		if _, err = c.save(tx, o, c.operationEvents(o.Operation, p.Changes), about, refusal); err != nil {
			return law.Placed{}, err
		}
		return p, refusal
	}, under)
}

// attempt makes one attempt at a signature and stores what comes of it.
func (k *Keyserver) attempt(ctx context.Context, c Caller, p law.Placed) (SignOrder, error) {
	signature, der, failure := k.sign(ctx, p)
	// What was begun is finished before anything new is begun.
	done, err := store.UpdateFirst(ctx, k.db, func(tx *store.Tx) (law.Placed, error) {
		if failure != nil {
			return c.settle(tx, p.Permit.Order(), nil, func(o law.Operation, r law.Order, f law.Facts, now time.Time) (law.Placed, error) {
				return o.Fail(r, p.Permit.Attempt(), reasonOf(failure), f, now)
			})
		}
		return c.settle(tx, p.Permit.Order(), der, func(o law.Operation, r law.Order, f law.Facts, now time.Time) (law.Placed, error) {
			return o.Complete(r, p.Permit.Attempt(), signature, f, now)
		})
	})
	switch {
	case err != nil:
		k.log.ErrorContext(ctx, "storing the result of a sign order", slog.String("order", string(p.Order.ID)), slog.Any("error", err))
		return SignOrder{}, unavailable(err, p.Order.ID)
	case failure != nil:
		k.log.ErrorContext(ctx, reasonOf(failure), slog.String("order", string(p.Order.ID)), slog.Any("error", failure))
		return SignOrder{}, &Unavailable{Kind: "keystore", Sentence: reasonOf(failure) + "; the use is kept, place the same order again with the same idempotency key",
			RetryAfter: 2 * time.Second, Order: p.Order.ID, Err: failure}
	case done.Order.State == law.OrderWithheld:
		return SignOrder{}, &law.Refusal{Kind: law.WrongState, Reason: "the operation was revoked while the signature was made; it is withheld"}
	}
	return k.answer(done.Operation, done.Order)
}

// sign makes an attempt at a signature, and the certificate of it if the sign order is for one.
func (k *Keyserver) sign(ctx context.Context, p law.Placed) (signature, der []byte, err error) {
	if p.Order.ForCertificate() {
		return k.signCertificate(ctx, p.Permit, p.Certificate.TBS)
	}
	signature, err = k.keystores.Sign(ctx, p.Permit)
	return signature, nil, err
}

// settle stores how an attempt at a sign order ended, as the law judges it, and the certificate that came of it if it is
// for one.
func (c Caller) settle(tx *store.Tx, id law.OrderID, der []byte, judge func(law.Operation, law.Order, law.Facts, time.Time) (law.Placed, error)) (law.Placed, error) {
	r, known, err := tx.Order(id)
	if err != nil {
		return law.Placed{}, err
	}
	if !known {
		return law.Placed{}, fmt.Errorf("sign order %s is not there any more", id)
	}
	o, _, err := tx.Operation(r.Operation)
	if err != nil {
		return law.Placed{}, err
	}
	p, refusal := judge(o.Operation, r, tx.Facts(), tx.Now())
	o.Operation = p.Operation
	if refusal != nil {
		events := c.orderEvents(o.Operation, p.Order, p.Changes)
		if _, err := c.save(tx, o, events, audit.Event{}, refusal); err != nil {
			return law.Placed{}, err
		}
		return p, refusal
	}
	if p.Certificate, err = certificateOf(&tx.Reader, r); err != nil {
		return law.Placed{}, err
	}
	return p, c.saveOrder(tx, o, p, der)
}

// saveOrder stores a sign order with its events, and the certificate that it is for, if it is for one.
func (c Caller) saveOrder(tx *store.Tx, o store.Operation, p law.Placed, der []byte) error {
	events := c.orderEvents(o.Operation, p.Order, p.Changes)
	if !p.Order.ForCertificate() {
		return tx.SaveOrder(o, p.Order, events[0], events[1:]...)
	}
	now := p.Certificate.Follow(p.Order, der)
	for i := range events {
		if events[i].Order != "" {
			events[i].Certificate = audit.CertificateOf(now)
		}
	}
	return tx.SaveCertificateOrder(o, p.Order, now, events[0], events[1:]...)
}

// certificateOf is the certificate that a sign order is for, the zero one if it is for none.
func certificateOf(r *store.Reader, order law.Order) (law.Certificate, error) {
	if !order.ForCertificate() {
		return law.Certificate{}, nil
	}
	c, known, err := r.Certificate(law.CertificateID(order.ID))
	if err == nil && !known {
		err = fmt.Errorf("the certificate of sign order %s is not there", order.ID)
	}
	return c, err
}

// PlaceCertificateOrder has a CA key issue the certificate of an FW key under an approved operation. It is a sign order
// (rules 10 to 12): the same request under the same idempotency key gives the same certificate.
func (k *Keyserver) PlaceCertificateOrder(ctx context.Context, c Caller, id law.OperationID, request CertificateOrder) (Certificate, error) {
	order, err := k.PlaceSignOrder(ctx, c, id, law.OrderAsk{
		Key: request.Issuer, IdempotencyKey: request.IdempotencyKey, Certificate: &law.CertificateAsk{Key: request.Key},
	})
	if err != nil {
		return Certificate{}, err
	}
	out, err := look(ctx, k, func(r *store.Reader) (Certificate, error) {
		issued, err := certificateOf(r, order.Order)
		if err != nil {
			return Certificate{}, err
		}
		return k.withPath(r, issued)
	})
	out.Checkpoint = order.Checkpoint
	return out, err
}

// reasonOf says what a keystore's failure is to people, without what a vendor's library says.
func reasonOf(failure error) string {
	var wrong *keystore.BadSignature
	if errors.As(failure, &wrong) {
		return "the keystore made a signature that does not verify with the key's public key"
	}
	return "the keystore made no signature"
}

func (k *Keyserver) answer(o law.Operation, r law.Order) (SignOrder, error) {
	checkpoint, err := k.newestCheckpoint()
	grant, _ := o.Grant(r.Key)
	return SignOrder{Order: r, Of: grant.MaxUses, Checkpoint: checkpoint}, err
}

// SignOrder returns one sign order, if its operation exists for the caller. The signature is for its
// requester.
func (k *Keyserver) SignOrder(ctx context.Context, c Caller, id law.OrderID) (SignOrder, error) {
	order, err := look(ctx, k, func(r *store.Reader) (SignOrder, error) {
		order, known, err := r.Order(id)
		if err != nil {
			return SignOrder{}, err
		}
		o, err := visible(r, c, order.Operation)
		var u *unseen
		if errors.As(err, &u) {
			err = &unseen{&law.Refusal{Kind: law.NotFound, Reason: "there is no such sign order"}, known}
		}
		if err != nil {
			return SignOrder{}, err
		}
		return k.answer(o.Operation, order.SeenBy(c.Subject))
	})
	return order, k.auditHidden(ctx, c, err, audit.Event{Order: id})
}

// SignOrders lists the sign orders of an operation, oldest first.
func (k *Keyserver) SignOrders(ctx context.Context, c Caller, id law.OperationID, p Page) (SignOrderPage, error) {
	scope := fmt.Sprintf("signorders %q", id)
	after, err := k.openCursor(c, scope, p)
	if err != nil {
		return SignOrderPage{}, err
	}
	page, err := look(ctx, k, func(r *store.Reader) (SignOrderPage, error) {
		var page SignOrderPage
		o, err := visible(r, c, id)
		if err != nil {
			return page, err
		}
		orders, err := r.Orders(id, law.OrderID(after), p.Limit)
		if err != nil {
			return page, err
		}
		for _, order := range orders {
			one, err := k.answer(o.Operation, order.SeenBy(c.Subject))
			if err != nil {
				return page, err
			}
			page.Orders = append(page.Orders, one)
		}
		if len(orders) == p.Limit {
			page.Next = k.cursor(c, scope, string(orders[len(orders)-1].ID))
		}
		return page, nil
	})
	return page, k.auditHidden(ctx, c, err, audit.Event{Operation: id})
}

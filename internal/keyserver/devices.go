package keyserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// MaxDevices is how many device certificates can be asked for at once.
const MaxDevices = 1000

// DeviceOrder asks for the certificate of a device.
type DeviceOrder struct {
	IdempotencyKey string
	Request        []byte // certificate request (PKCS #10, RFC 2986), PEM or DER
}

// DeviceResult is what comes of a [DeviceOrder].
type DeviceResult struct {
	Certificate Certificate
	Err         error // nil: there is a certificate
}

// IssueDevice has a CA key issue the certificate of a device under an approved operation. It is a sign order (rules 10 to
// 12): the same request under the same idempotency key gives the same certificate. While an attempt at it runs, it waits.
//
// The error is ErrStale if the caller is not authenticated by the configuration of now.
func (k *Keyserver) IssueDevice(ctx context.Context, c Caller, id law.OperationID, issuer law.KeyID, order DeviceOrder) (Certificate, error) {
	patience, cancel := context.WithTimeout(ctx, k.limits.DuplicateWait)
	defer cancel()
	for {
		changed, stop := k.db.Watch(id)
		all, err := k.IssueDevices(ctx, c, id, issuer, []DeviceOrder{order})
		if err != nil {
			stop()
			return Certificate{}, err
		}
		var running *Unavailable
		if !errors.As(all[0].Err, &running) || running.Kind != "running" {
			stop()
			return all[0].Certificate, all[0].Err
		}
		select {
		case <-changed:
			stop()
		case <-patience.Done():
			stop()
			return Certificate{}, all[0].Err
		}
	}
}

// IssueDevices is [Keyserver.IssueDevice] for up to [MaxDevices] devices at once, each with a result of its own: they are
// accepted in one transaction, and what comes of them is stored in one. It does not wait for attempts under way.
//
// What is signed is drawn up and looked through for errors first, then accepted and audited durably, and only then is the
// keystore asked; a certificate is stored and audited durably before it is returned (rule 11).
func (k *Keyserver) IssueDevices(ctx context.Context, c Caller, id law.OperationID, issuer law.KeyID, orders []DeviceOrder) ([]DeviceResult, error) {
	if len(orders) == 0 || len(orders) > MaxDevices {
		return nil, &Malformed{fmt.Sprintf("between 1 and %d certificates can be asked for at once", MaxDevices)}
	}
	keys := map[string]bool{}
	for _, o := range orders {
		if keys[o.IdempotencyKey] {
			return nil, &Malformed{fmt.Sprintf("idempotency key %q is there twice; each certificate needs one of its own", o.IdempotencyKey)}
		}
		keys[o.IdempotencyKey] = true
	}
	for range 3 { // until nobody changes the profile meanwhile
		drawn, err := k.drawDevices(ctx, c, id, issuer, orders)
		if err != nil {
			return nil, err
		}
		placed, err := k.placeDevices(ctx, c, id, issuer, orders, drawn)
		if errors.Is(err, errRedraw) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// Whatever becomes of the caller now, attempts that have begun are brought to their end.
		return k.signDevices(context.WithoutCancel(ctx), c, id, placed)
	}
	return nil, &Unavailable{Kind: "busy", Sentence: "the configuration of the key changes all the time; ask again", RetryAfter: time.Second}
}

// placedDevice is what the law said to a [DeviceOrder].
type placedDevice struct {
	law.Placed
	err error
}

// placeDevices asks the law for the permits, and stores the uses that they take: all in one transaction.
func (k *Keyserver) placeDevices(ctx context.Context, c Caller, id law.OperationID, issuer law.KeyID, orders []DeviceOrder, drawn drawnDevices) ([]placedDevice, error) {
	under := make([]store.OrderKey, len(orders))
	for i, o := range orders {
		under[i] = store.OrderKey{Operation: id, Key: issuer, Requester: c.Subject, IdempotencyKey: o.IdempotencyKey}
	}
	return update(ctx, k, func(tx *store.Tx) ([]placedDevice, error) {
		if c.stale(tx.Reader) {
			return nil, ErrStale
		}
		if _, known, err := tx.Operation(id); err != nil || !known {
			return nil, cmp.Or[error](err, errNoOperation)
		}
		key, _ := tx.Facts().Key(issuer)
		current, _, err := currentOf(&tx.Reader, key)
		if err != nil {
			return nil, err
		}
		if drawn.profile != "" && (key.Devices == nil || key.Devices.Digest() != drawn.profile || current.ID != drawn.authority) {
			return nil, errRedraw
		}
		prior, own, err := placedBefore(&tx.Reader, under)
		if err != nil {
			return nil, err
		}
		earlier, err := rivalsOf(&tx.Reader, key, drawn.asks)
		if err != nil {
			return nil, err
		}
		all := make([]placedDevice, len(orders))
		for i, ask := range drawn.asks {
			var was law.Certificate
			if prior[i] != nil {
				was = own[law.CertificateID(prior[i].ID)]
				ask = again(ask, was, *prior[i])
			}
			if ask.Earlier = earlier.of(ask.Draft.Device, ask.Draft.Fingerprint); prior[i] != nil {
				ask.Earlier = append(ask.Earlier, was)
			}
			p, err := c.placeDevice(tx, id, law.OrderAsk{
				ID: law.OrderID(drawn.ids[i]), Who: c.Subject, Key: issuer, IdempotencyKey: orders[i].IdempotencyKey, Device: &ask,
			}, prior[i], was)
			var refusal *law.Refusal
			if whole := errors.As(err, &refusal) && (refusal.Kind == law.Forbidden || refusal.Kind == law.NotFound); err != nil && (refusal == nil || whole) {
				return nil, err // one who may not ask for the first may not ask for the others
			}
			all[i] = placedDevice{p, err}
			if err == nil && p.Permit.Granted() {
				earlier.add(p.Certificate)
			}
		}
		return all, nil
	}, under...)
}

// placeDevice asks the law for one permit, and stores the use that it takes, or that it was refused.
func (c Caller) placeDevice(tx *store.Tx, id law.OperationID, ask law.OrderAsk, prior *law.Order, was law.Certificate) (law.Placed, error) {
	o, _, err := tx.Operation(id)
	if err != nil {
		return law.Placed{}, err
	}
	p, refusal := o.Place(ask, prior, tx.Facts(), tx.Now())
	o.Operation = p.Operation
	if p.Permit.Granted() {
		if prior != nil {
			p.Certificate = was
		}
		return p, c.saveOrder(tx, o, p, nil)
	}
	if prior != nil {
		p.Certificate = was
	}
	about := audit.Event{Type: audit.OrderRefused, Operation: id, Digest: o.Digest(), Key: ask.Key, IdempotencyKey: ask.IdempotencyKey}
	if prior != nil {
		about.Order = prior.ID
	}
	if _, err := c.save(tx, o, c.operationEvents(o.Operation, p.Changes), about, refusal); err != nil {
		return law.Placed{}, err
	}
	return p, refusal
}

// signingAtOnce is how many signatures of device certificates are asked for at the same time, in all batches together: a
// keystore that is asked for too many refuses them.
const signingAtOnce = 32

// madeDevice is what a keystore has made, or why it has not.
type madeDevice struct {
	signature, der []byte
	failure        error
}

// Why a keystore is not asked for what it has not begun of a batch.
var (
	errRevoked = errors.New("the operation was revoked before the keystore was asked")
	errLate    = errors.New("the keystore did not come to it in the time of the attempt")
)

// turns say for how long a keystore is asked for the signatures of a batch.
type turns struct {
	k       *Keyserver
	id      law.OperationID
	until   time.Duration // since the server began
	mu      sync.Mutex
	changed <-chan struct{}
	stop    func()
}

// turns begins a batch. What a keystore begins in the first half of a lease is done at its end. Call stop once all is
// signed.
func (k *Keyserver) turns(id law.OperationID) *turns {
	first := make(chan struct{}) // it looks the first time in any case
	close(first)
	return &turns{k: k, id: id, until: k.elapsed() + law.AttemptLease/2, changed: first, stop: func() {}}
}

// next says why the keystore is not asked any more, nil if it is.
func (t *turns) next(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.k.elapsed() > t.until {
		return errLate
	}
	select {
	case <-t.changed:
	default:
		return nil
	}
	changed, stop := t.k.db.Watch(t.id)
	o, err := look(ctx, t.k, func(r *store.Reader) (law.Operation, error) {
		o, _, err := r.Operation(t.id)
		return o.Operation, err
	})
	if err == nil && o.Withholds() {
		err = errRevoked
	}
	if err != nil { // the next one looks again
		stop()
		return err
	}
	t.stop()
	t.changed, t.stop = changed, stop
	return nil
}

// signDevices makes the attempts and stores what comes of them: all in one transaction.
func (k *Keyserver) signDevices(ctx context.Context, c Caller, id law.OperationID, placed []placedDevice) ([]DeviceResult, error) {
	made := make([]madeDevice, len(placed))
	turns := k.turns(id)
	defer func() { turns.stop() }()
	parallel(len(placed), signingAtOnce, func(i int) {
		p, m := placed[i], &made[i]
		if p.err != nil || !p.Permit.Granted() {
			return
		}
		k.signing <- struct{}{}
		defer func() { <-k.signing }()
		if m.failure = turns.next(ctx); m.failure != nil {
			return
		}
		m.signature, m.der, m.failure = k.sign(ctx, p.Placed)
	})
	// What was begun is finished before anything new is begun.
	results, err := store.UpdateFirst(ctx, k.db, func(tx *store.Tx) ([]DeviceResult, error) {
		return k.settleDevices(tx, c, placed, made)
	})
	if err != nil {
		k.log.ErrorContext(ctx, "storing device certificates", slog.Any("error", err))
		return nil, unavailable(err, "")
	}
	checkpoint, err := k.newestCheckpoint()
	for i := range results {
		results[i].Certificate.Checkpoint = checkpoint
		if failure := made[i].failure; failure != nil && !errors.Is(failure, errRevoked) {
			k.log.ErrorContext(ctx, reasonOf(failure), slog.String("order", string(placed[i].Order.ID)), slog.Any("error", failure))
		}
	}
	return results, err
}

func (k *Keyserver) settleDevices(tx *store.Tx, c Caller, placed []placedDevice, made []madeDevice) ([]DeviceResult, error) {
	results := make([]DeviceResult, len(placed))
	above := paths{}
	finished := func(i int, done law.Certificate) (err error) {
		results[i].Certificate, err = withIssuers(&tx.Reader, done, above)
		return err
	}
	var ids []string
	for _, p := range placed {
		if p.err == nil && p.Same == nil {
			ids = append(ids, string(p.Order.ID))
		}
	}
	stored, err := tx.CertificatesByID(ids)
	if err != nil {
		return nil, err
	}
	for i, p := range placed {
		switch {
		case p.err != nil:
			results[i].Err = unavailable(p.err, p.Order.ID)
		case p.Same != nil:
			err = finished(i, *p.Same)
		case p.Permit.Granted():
			var done law.Certificate
			if done, results[i].Err, err = k.settleDevice(tx, c, p.Placed, stored[law.CertificateID(p.Order.ID)], made[i]); err == nil && results[i].Err == nil {
				err = finished(i, done)
			}
		case p.Order.State == law.OrderSigned:
			err = finished(i, stored[law.CertificateID(p.Order.ID)])
		default:
			results[i].Err = &Unavailable{Kind: "running", Sentence: "an attempt at this certificate is under way; ask for it again soon", RetryAfter: time.Second, Order: p.Order.ID}
		}
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

// settleDevice stores what came of an attempt. The refusal says why there is no certificate, if there is none.
func (k *Keyserver) settleDevice(tx *store.Tx, c Caller, p law.Placed, was law.Certificate, made madeDevice) (done law.Certificate, refusal, err error) {
	r, known, err := tx.Order(p.Order.ID)
	if err == nil && !known {
		err = fmt.Errorf("sign order %s is not there any more", p.Order.ID)
	}
	if err != nil {
		return was, nil, err
	}
	o, _, err := tx.Operation(r.Operation)
	if err != nil {
		return was, nil, err
	}
	if o.Withholds() && errors.Is(made.failure, errRevoked) {
		made.failure = nil // it is withheld as what was being signed is
	}
	attempt, why := p.Permit.Attempt(), error(nil)
	unwanted := was.StillWanted()
	switch {
	case made.failure != nil:
		p, why = o.Fail(r, attempt, reasonOf(made.failure), tx.Facts(), tx.Now())
	case unwanted != nil:
		p, why = o.Fail(r, attempt, unwanted.Error(), tx.Facts(), tx.Now())
	default:
		p, why = o.Complete(r, attempt, made.signature, tx.Facts(), tx.Now())
	}
	o.Operation = p.Operation
	if why != nil { // another attempt was begun since
		if _, err := c.save(tx, o, c.orderEvents(o.Operation, p.Order, p.Changes), audit.Event{}, why); err != nil {
			return was, nil, err
		}
		return was, unavailable(why, r.ID), nil
	}
	p.Certificate = was
	if err := c.saveOrder(tx, o, p, made.der); err != nil {
		return was, nil, err
	}
	done = was.Follow(p.Order, made.der)
	switch {
	case made.failure != nil:
		return done, &Unavailable{Kind: "keystore", Sentence: reasonOf(made.failure) + "; the use is kept, ask again with the same idempotency key",
			RetryAfter: 2 * time.Second, Order: r.ID, Err: made.failure}, nil
	case unwanted != nil:
		return done, unwanted, nil
	case done.State == law.CertificateWithheld:
		return done, &law.Refusal{Kind: law.WrongState, Reason: "the operation was revoked while the certificate was signed; it is withheld"}, nil
	}
	return done, nil, c.replaceEarlier(tx, done)
}

// replaceEarlier revokes the certificates that a device had before, if the profile says so.
func (c Caller) replaceEarlier(tx *store.Tx, done law.Certificate) error {
	key, _ := tx.Facts().Key(done.Issuer)
	if key.Devices == nil || key.Devices.Duplicates != law.DuplicatesReplaced {
		return nil
	}
	earlier, err := tx.DevicesLike(done.Issuer, done.IssuerFingerprint, []string{done.Device}, nil)
	if err != nil {
		return err
	}
	for _, old := range done.Replace(earlier, c.Subject, tx.Facts(), tx.Now()) {
		if err := tx.SaveCertificate(old, c.deviceRevoked(old)); err != nil {
			return err
		}
	}
	return nil
}

// deviceRevoked is the event that says that a device certificate is revoked.
func (c Caller) deviceRevoked(now law.Certificate) audit.Event {
	return audit.Event{
		Type: audit.CertificateRevoked, Actor: c.actor(), Key: now.Issuer, Certificate: audit.CertificateOf(now), Operation: now.Operation,
		Reason: now.Revocation.Reason, Request: c.Request,
	}
}

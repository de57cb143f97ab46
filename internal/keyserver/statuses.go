package keyserver

import (
	"context"
	"crypto"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
	"example.org/keyserver/internal/store"
)

// CertificateStatus is an answer to a request for the status of a certificate.
type CertificateStatus struct {
	DER []byte        // OCSPResponse (RFC 6960 section 4.2.1), signed or one of those that have no signature
	For time.Duration // how long it may be handed on to others who ask the same; 0: not at all
}

// statuses is what a server remembers of the certificate statuses that it signs.
type statuses struct {
	sync.Mutex
	leaves     map[law.KeyID]law.Statuses
	responders map[law.CertificateID]pki.Responder // by their certificate
	signed     [2]map[statusKey]signedStatus

	looking chan struct{} // see statusesRead
	signing chan struct{} // see statusesAtOnce
	taking  chan struct{} // one takes a leave
}

// statusKey is what a signed status answers.
type statusKey struct {
	by, of law.CertificateID
	hash   crypto.Hash
}

// signedStatus is a status, and what it says.
type signedStatus struct {
	der     []byte
	revoked time.Time // zero: it is not
	this    time.Time
}

const (
	statusPatience = 10 * time.Second
	statusesRead   = 2      // that look at the database at the same time; its other connections are for those who are somebody
	statusesAtOnce = 8      // signatures that are asked for at the same time; the other places in a keystore's queue are for sign orders
	leaveTries     = 3      // others may spend the leave that one has taken
	statusesKept   = 10_000 // in each of the two generations, of about 1 KiB each
)

func newStatuses() statuses {
	return statuses{
		leaves: map[law.KeyID]law.Statuses{}, responders: map[law.CertificateID]pki.Responder{}, looking: make(chan struct{}, statusesRead),
		signing: make(chan struct{}, statusesAtOnce), taking: make(chan struct{}, 1),
	}
}

// CertificateStatus answers a request for the status of a certificate (RFC 6960 section 4.1, DER), for anybody. There is
// always an answer: what cannot be answered has one that says so.
func (k *Keyserver) CertificateStatus(ctx context.Context, c Caller, request []byte) CertificateStatus {
	q, err := pki.ParseStatusRequest(request)
	if err != nil {
		return CertificateStatus{DER: pki.StatusMalformed()}
	}
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	answer, err := k.statusKept(ctx, q)
	if err == nil && answer.DER == nil {
		answer, err = k.statusSigned(ctx, c, q)
	}
	var refused *law.Refusal
	switch {
	case err == nil:
		return answer
	case errors.As(err, &refused) && refused.Kind == law.NotFound:
		return CertificateStatus{DER: pki.StatusUnauthorized()}
	}
	level := slog.LevelWarn
	if _, wrong := errors.AsType[*keystore.BadSignature](err); wrong {
		level = slog.LevelError
	}
	k.log.Log(ctx, level, "no certificate status could be given", slog.String("request", c.Request), slog.Any("error", err))
	return CertificateStatus{DER: pki.StatusTryLater()}
}

// statusKept looks for a status that was signed a short while ago and is still so.
func (k *Keyserver) statusKept(ctx context.Context, q pki.StatusRequest) (CertificateStatus, error) {
	return lookOften(ctx, k, func(r *store.Reader) (CertificateStatus, error) {
		t, err := k.statusTurn(r, q)
		if err != nil {
			return CertificateStatus{}, err
		}
		return k.statuses.kept(t, r.Now()), nil
	})
}

// statusSigned signs a status.
func (k *Keyserver) statusSigned(ctx context.Context, c Caller, q pki.StatusRequest) (CertificateStatus, error) {
	select {
	case k.statuses.signing <- struct{}{}:
		defer func() { <-k.statuses.signing }()
	case <-ctx.Done():
		return CertificateStatus{}, ctx.Err()
	}
	for range leaveTries {
		t, err := lookOften(ctx, k, func(r *store.Reader) (statusTurn, error) {
			t, err := k.statusTurn(r, q)
			if err == nil {
				t.kept = k.statuses.kept(t, r.Now())
			}
			if err == nil && t.kept.DER == nil {
				err = k.statuses.permit(r, &t)
			}
			return t, err
		})
		var refused *law.Refusal
		switch {
		case errors.As(err, &refused) && refused.Kind == law.Superseded:
			if err := k.takeLeave(ctx, c, t.by); err != nil {
				return CertificateStatus{}, err
			}
			continue
		case err != nil || t.kept.DER != nil:
			return t.kept, err
		}
		signature, err := k.keystores.Sign(context.WithoutCancel(ctx), t.permit) // whoever hangs up, and asks again, is to find it
		if err != nil {
			return CertificateStatus{}, err
		}
		der, err := t.draft.Finish(t.draft.TBS(), signature)
		if err != nil {
			return CertificateStatus{}, err
		}
		k.statuses.keep(t, der)
		return CertificateStatus{DER: der, For: t.handedOn(t.this, t.this)}, nil
	}
	return CertificateStatus{}, errors.New("the leave to sign certificate statuses is spent as soon as it is taken")
}

// lookOften is look for what anybody asks.
func lookOften[T any](ctx context.Context, k *Keyserver, fn func(*store.Reader) (T, error)) (out T, err error) {
	select {
	case k.statuses.looking <- struct{}{}:
		defer func() { <-k.statuses.looking }()
	case <-ctx.Done():
		return out, ctx.Err()
	}
	return look(ctx, k, fn)
}

// statusTurn is one status that is asked for.
type statusTurn struct {
	by        law.Certificate // of the responder key
	responder pki.Responder
	of        law.Certificate
	hash      crypto.Hash

	kept   CertificateStatus // that was signed before
	draft  pki.Draft
	this   time.Time
	permit law.Permit
}

// statusTurn finds the responder key that tells of the certificate, and the certificate.
func (k *Keyserver) statusTurn(r *store.Reader, q pki.StatusRequest) (statusTurn, error) {
	t := statusTurn{hash: q.Hash}
	for _, key := range r.Facts().Keys() {
		if !key.Responder() {
			continue
		}
		by, found, err := currentOf(r, key)
		if err != nil {
			return statusTurn{}, err
		}
		if !found || by.Responds(r.Facts(), r.Now()) != nil {
			continue
		}
		responder, err := k.responder(r, key, by)
		if err != nil {
			return statusTurn{}, err
		}
		if !responder.Asked(q) {
			continue
		}
		t.by, t.responder = by, responder
		t.of, found, err = r.CertificateBySerial(by.Issuer, q.Serial.Text(16))
		if err != nil {
			return statusTurn{}, err
		}
		if found && t.of.HasStatus() && t.of.IssuerFingerprint == by.IssuerFingerprint {
			return t, nil
		}
	}
	if r.Facts().ClockHeld {
		return statusTurn{}, &law.Refusal{Kind: law.Held, Reason: "the clock went back, and no status is signed until it is right"}
	}
	return statusTurn{}, &law.Refusal{Kind: law.NotFound, Reason: "there is no such certificate"}
}

// responder is the key as one that signs statuses, by its certificate; the zero one, which nobody asks, if the certificate
// does not make it one. It stays what it is: the certificate names its issuer, whose key pair is known.
func (k *Keyserver) responder(r *store.Reader, key law.Key, by law.Certificate) (pki.Responder, error) {
	if known, is := k.statuses.responder(by.ID); is {
		return known, nil
	}
	above, err := r.CertificatesOf(by.Issuer)
	if err != nil {
		return pki.Responder{}, err
	}
	_, wrong := pki.NewResponder(key, [][]byte{by.DER})
	for _, c := range slices.Backward(above) {
		if c.Fingerprint != by.IssuerFingerprint || c.DER == nil {
			continue
		}
		var made pki.Responder
		if made, wrong = pki.NewResponder(key, [][]byte{by.DER, c.DER}); wrong == nil { // else one under another name
			k.statuses.setResponder(by.ID, made)
			return made, nil
		}
	}
	k.log.Warn("a key signs no certificate statuses", slog.Any("error", wrong))
	return pki.Responder{}, nil
}

// takeLeave takes the leave to sign statuses by this certificate of a responder key, unless somebody has just done so. It
// is in the audit log before the first of them is signed.
func (k *Keyserver) takeLeave(ctx context.Context, c Caller, by law.Certificate) error {
	select {
	case k.statuses.taking <- struct{}{}:
		defer func() { <-k.statuses.taking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	taken, err := update(ctx, k, func(tx *store.Tx) (law.Statuses, error) {
		if !k.statuses.leave(by.Key).Spent(by, tx.Now()) {
			return law.Statuses{}, nil
		}
		now, _, err := tx.Certificate(by.ID)
		if err != nil {
			return law.Statuses{}, err
		}
		leave, err := law.PermitStatuses(now, tx.Facts(), tx.Now())
		if err != nil {
			return law.Statuses{}, err
		}
		return leave, tx.Append(audit.Event{
			Type: audit.StatusesPermitted, Key: now.Key, Fingerprint: now.Fingerprint, Certificate: audit.CertificateOf(now), Count: leave.Left,
			Lease: leave.Until.UnixMilli(), Request: c.Request,
		})
	})
	if err == nil && taken.Left > 0 { // else it is being used already
		k.statuses.setLeave(by.Key, taken)
	}
	return err
}

// permit draws up the status and asks the law for leave to sign it.
func (s *statuses) permit(r *store.Reader, t *statusTurn) error {
	t.this = r.Now().Truncate(time.Second)
	one, err := revocationOf(t.of.Serial, t.of.Revocation.At, t.of.Revocation.Code, t.this)
	if err != nil {
		return err
	}
	says := pki.Status{Hash: t.hash, Serial: one.Serial, ThisUpdate: t.this, NextUpdate: t.end()}
	if !t.of.Revocation.At.IsZero() {
		says.Revoked = &one
	}
	var wrong error
	t.draft, wrong = pki.PrepareStatus(t.responder, says)
	s.Lock()
	defer s.Unlock()
	left, permit, err := s.leaves[t.by.Key].Permit(t.by, law.StatusDraft{
		Draft: draftOf(t.draft, wrong), Of: t.of, ThisUpdate: says.ThisUpdate, NextUpdate: says.NextUpdate,
	}, r.Facts(), r.Now())
	if err == nil {
		s.leaves[t.by.Key], t.permit = left, permit
	}
	return err
}

func (s *statuses) leave(key law.KeyID) law.Statuses {
	s.Lock()
	defer s.Unlock()
	return s.leaves[key]
}

func (s *statuses) setLeave(key law.KeyID, leave law.Statuses) {
	s.Lock()
	defer s.Unlock()
	s.leaves[key] = leave
}

func (s *statuses) responder(by law.CertificateID) (pki.Responder, bool) {
	s.Lock()
	defer s.Unlock()
	known, is := s.responders[by]
	return known, is
}

func (s *statuses) setResponder(by law.CertificateID, r pki.Responder) {
	s.Lock()
	defer s.Unlock()
	s.responders[by] = r
}

// kept is the status if it was signed a short while ago and says what is so now; nothing otherwise.
func (s *statuses) kept(t statusTurn, now time.Time) CertificateStatus {
	s.Lock()
	defer s.Unlock()
	for _, all := range s.signed {
		one, known := all[t.key()]
		if age := now.Sub(one.this); known && one.revoked.Equal(t.of.Revocation.At) && age >= 0 && age < law.StatusRenewal {
			return CertificateStatus{one.der, t.handedOn(one.this, now)}
		}
	}
	return CertificateStatus{}
}

func (s *statuses) keep(t statusTurn, der []byte) {
	s.Lock()
	defer s.Unlock()
	if s.signed[0] == nil || len(s.signed[0]) >= statusesKept {
		s.signed[1], s.signed[0] = s.signed[0], map[statusKey]signedStatus{}
	}
	s.signed[0][t.key()] = signedStatus{der, t.of.Revocation.At, t.this}
}

// end is until when a status that is signed now is good. Without the certificate of its responder nobody verifies it.
func (t statusTurn) end() time.Time {
	if end := t.this.Add(law.StatusValidity); end.Before(t.by.NotAfter) {
		return end
	}
	return t.by.NotAfter
}

// handedOn is how long a status of that time may be handed on from now (RFC 5019 section 6).
func (t statusTurn) handedOn(this, now time.Time) time.Duration {
	return min(this.Add(law.StatusRenewal).Sub(now), t.by.NotAfter.Sub(now))
}

func (t statusTurn) key() statusKey { return statusKey{t.by.ID, t.of.ID, t.hash} }

// responderWarning is how long before its end people are told that the certificate of a responder key is to be renewed.
const responderWarning = 14 * 24 * time.Hour

// warnOfResponders warns, once a day, of responder keys whose certificate ends soon, or has ended: people renew it.
func (k *Keyserver) warnOfResponders(ctx context.Context) error {
	due, err := look(ctx, k, func(r *store.Reader) (map[law.KeyID]time.Time, error) {
		due := map[law.KeyID]time.Time{}
		for _, key := range r.Facts().Keys() {
			if !key.Responder() || key.State != law.KeyActive || k.elapsed() < k.lists[key.ID] {
				continue
			}
			c, found, err := currentOf(r, key)
			if err != nil {
				return nil, err
			}
			if found && c.NotAfter.Sub(r.Now()) < responderWarning {
				due[key.ID] = c.NotAfter
			}
		}
		return due, nil
	})
	for key, end := range due {
		k.lists[key] = k.elapsed() + listWarning
		k.log.WarnContext(ctx, "the certificate of a responder key is to be renewed; after its end no certificate statuses are signed",
			slog.String("key", string(key)), slog.Time("end", end))
	}
	return err
}

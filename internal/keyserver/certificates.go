package keyserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
	"example.org/keyserver/internal/store"
)

// Certificate is a certificate with those above it, as far as this server has them.
type Certificate struct {
	law.Certificate
	Path       [][]byte // DER: itself, then its issuer's, up to the top; empty until it is issued
	Checkpoint string   // the newest one of the audit log
}

// PEM is the certificate and those above it (RFC 7468), itself first; empty until it is issued.
func (c Certificate) PEM() string { return string(pki.PEM(pki.CertificatePEM, c.Path...)) }

// IssueRequest asks for a certificate.
type IssueRequest struct {
	Key    law.KeyID // that it is of
	Issuer law.KeyID // ROOT key that signs it; the same key for its own certificate
}

// CertificateOrder asks for a certificate under an operation.
type CertificateOrder struct {
	Issuer         law.KeyID // CA key that signs it
	Key            law.KeyID // FW key that it is of
	IdempotencyKey string
}

// CertificateFilter selects certificates. An empty field selects all.
type CertificateFilter struct {
	Key  law.KeyID
	Page Page
}

// CertificatePage is one page of certificates, oldest first. A page may be shorter than asked for and still have a next
// one.
type CertificatePage struct {
	Certificates []Certificate
	Next         string // cursor of the next page, empty at the end
}

var errNoCertificate = &law.Refusal{Kind: law.NotFound, Reason: "there is no such certificate"}

// IssueCertificate has a ROOT key issue a certificate in an administration session, as the profile of the key says that
// it is of. Asking again renews it: the newest one is the current one. The error is *Unavailable if the keystore made no
// signature; ask again then.
//
// What is signed is audited durably before the keystore is asked, and the certificate is stored and audited durably
// before it is returned.
func (k *Keyserver) IssueCertificate(ctx context.Context, c Caller, id law.SessionID, request IssueRequest) (Certificate, error) {
	draw, err := newDrawing()
	if err != nil {
		return Certificate{}, err
	}
	s, err := update(ctx, k, func(tx *store.Tx) (certifying, error) {
		var out law.Certified
		s, err := c.actIn(tx, id, func(s law.Session) (law.SessionOutcome, error) {
			draft, err := draw.certificate(&tx.Reader, request.Issuer, request.Key)
			if err != nil {
				return law.SessionOutcome{Session: s}, err
			}
			out, err = s.Certify(c.Subject, law.CertificateAsk{ID: draw.id, Issuer: request.Issuer, Key: request.Key, Draft: draft}, tx.Facts(), tx.Now())
			return out.SessionOutcome, err
		})
		if err != nil {
			return certifying{}, err
		}
		e := c.certificateEvent(audit.CertificateAccepted, s, out.Certificate)
		e.Actor, e.Lease = c.actor(), out.Certificate.Lease.UnixMilli()
		signing(&e, out.Permit)
		return certifying{out.Certificate, out.Permit, s}, tx.SaveCertificate(out.Certificate, e)
	})
	if err != nil {
		return Certificate{}, err
	}
	// Whatever becomes of the caller now, an attempt that has begun is brought to its end.
	return k.certify(context.WithoutCancel(ctx), c, s)
}

// certifying is a certificate that is being signed in a session.
type certifying struct {
	certificate law.Certificate
	permit      law.Permit
	session     law.Session
}

// certify makes the attempt at a certificate in a session and stores what comes of it.
func (k *Keyserver) certify(ctx context.Context, c Caller, s certifying) (Certificate, error) {
	_, der, failure := k.signCertificate(ctx, s.permit, s.certificate.TBS)
	done, err := store.UpdateFirst(ctx, k.db, func(tx *store.Tx) (Certificate, error) {
		now, err := c.settleCertificate(tx, s.certificate.ID, s.session, func(now law.Certificate) (law.Certificate, error) {
			if failure != nil {
				return now.Fail(reasonOf(failure), tx.Now())
			}
			return now.Complete(der, tx.Facts(), tx.Now())
		})
		if err != nil {
			return Certificate{}, err
		}
		return k.withPath(&tx.Reader, now)
	})
	switch {
	case err != nil:
		k.log.ErrorContext(ctx, "storing a certificate", slog.String("certificate", string(s.certificate.ID)), slog.Any("error", err))
		return Certificate{}, unavailable(err, "")
	case failure != nil:
		return Certificate{}, k.unsigned(ctx, "certificate "+string(s.certificate.ID), failure)
	case done.State != law.CertificateIssued:
		return Certificate{}, &law.Refusal{Kind: law.WrongState, Reason: done.Failure}
	}
	done.Checkpoint, err = k.newestCheckpoint()
	return done, err
}

// signCertificate makes an attempt at the signature of a certificate, and puts the two together.
func (k *Keyserver) signCertificate(ctx context.Context, p law.Permit, tbs []byte) (signature, der []byte, err error) {
	if signature, err = k.keystores.Sign(ctx, p); err == nil {
		der, err = pki.FinishCertificate(tbs, p.Key().PublicKey, p.Input(), signature)
	}
	return signature, der, err
}

// unsigned is what a caller is told of an attempt that failed.
func (k *Keyserver) unsigned(ctx context.Context, what string, failure error) error {
	k.log.ErrorContext(ctx, reasonOf(failure), slog.String("for", what), slog.Any("error", failure))
	return &Unavailable{Kind: "keystore", Sentence: reasonOf(failure) + "; ask again", RetryAfter: 2 * time.Second, Err: failure}
}

// settleCertificate stores how an attempt at a certificate in a session ended, as the law judges it.
func (c Caller) settleCertificate(tx *store.Tx, id law.CertificateID, s law.Session, judge func(law.Certificate) (law.Certificate, error)) (law.Certificate, error) {
	now, known, err := tx.Certificate(id)
	if err == nil && !known {
		err = fmt.Errorf("certificate %s is not there any more", id)
	}
	if err != nil {
		return law.Certificate{}, err
	}
	if now, err = judge(now); err != nil {
		return law.Certificate{}, err
	}
	e := c.certificateEvent(audit.CertificateIssued, s, now)
	if now.State == law.CertificateFailed {
		e.Type, e.Reason = audit.CertificateFailed, now.Failure
	}
	return now, tx.SaveCertificate(now, e)
}

// cutOffCertificates fails attempts in sessions whose lease ends within the given time, at most beatBatch, and says how
// many.
func cutOffCertificates(tx *store.Tx, within time.Duration, why string) (int, error) {
	running, err := tx.RunningCertificates(tx.Now().Add(within), beatBatch)
	if err != nil {
		return 0, err
	}
	for _, r := range running {
		s, _, err := tx.Session(r.Session)
		if err != nil {
			return 0, err
		}
		if _, err := (Caller{}).settleCertificate(tx, r.ID, s.Session, func(now law.Certificate) (law.Certificate, error) { return now.Fail(why, tx.Now()) }); err != nil {
			return 0, err
		}
	}
	return len(running), nil
}

// actIn asks the law for something in a session, and stores what has become of the session and a refusal.
func (c Caller) actIn(tx *store.Tx, id law.SessionID, judge func(law.Session) (law.SessionOutcome, error)) (law.Session, error) {
	s, known, err := tx.Session(id)
	if err != nil {
		return law.Session{}, err
	}
	if !known {
		return law.Session{}, errNoSession
	}
	out, refusal := judge(s.Session)
	s.Session = out.Session
	if s, err = c.saveSession(tx, s, out.Changes, refusal); err != nil {
		return law.Session{}, err
	}
	return s.Session, refusal
}

// certificateEvent is an event about a certificate in a session, if it has one.
func (c Caller) certificateEvent(of audit.Type, s law.Session, cert law.Certificate) audit.Event {
	return audit.Event{
		Type: of, Key: cert.Key, Certificate: audit.CertificateOf(cert), Session: string(s.ID), SessionDescription: s.Description, Request: c.Request,
	}
}

// ImportCertificate takes over a certificate that was issued elsewhere, PEM with the certificates above it, its own
// first, in an administration session.
func (k *Keyserver) ImportCertificate(ctx context.Context, c Caller, id law.SessionID, key law.KeyID, chain []byte) (Certificate, error) {
	draw, err := newDrawing()
	if err != nil {
		return Certificate{}, err
	}
	return update(ctx, k, func(tx *store.Tx) (Certificate, error) {
		var out law.Certified
		s, err := c.actIn(tx, id, func(s law.Session) (law.SessionOutcome, error) {
			var err error
			cert, fault := draw.imported(tx.Facts(), key, chain, tx.Now())
			out, err = s.Import(c.Subject, cert, fault, tx.Facts(), tx.Now())
			return out.SessionOutcome, err
		})
		if err != nil {
			return Certificate{}, err
		}
		e := c.certificateEvent(audit.CertificateImported, s, out.Certificate)
		e.Actor = c.actor()
		if err := tx.SaveCertificate(out.Certificate, e); err != nil {
			return Certificate{}, err
		}
		return k.withPath(&tx.Reader, out.Certificate)
	})
}

// RevokeCertificate revokes a certificate, without a session. Revoking what is revoked changes nothing and is no error.
// The next revocation list of its issuer names it: a CA key's is made at once, a ROOT key's in an administration session.
func (k *Keyserver) RevokeCertificate(ctx context.Context, c Caller, id law.CertificateID, code law.RevocationCode, reason string) (Certificate, error) {
	out, err := store.UpdateFirst(ctx, k.db, func(tx *store.Tx) (Certificate, error) {
		was, known, err := tx.Certificate(id)
		if err != nil {
			return Certificate{}, err
		}
		if !known || was.OfDevice() {
			return Certificate{}, errNoCertificate
		}
		now, refusal := was.Revoke(c.Subject, code, reason, tx.Facts(), tx.Now())
		if err := c.audit(tx, audit.Event{Type: audit.RequestRefused, Key: was.Key}, refusal); err != nil {
			return Certificate{}, err
		}
		if was.Revocation.At.IsZero() {
			e := c.certificateEvent(audit.CertificateRevoked, law.Session{}, now)
			e.Actor, e.Reason = c.actor(), reason
			if err := tx.SaveCertificate(now, e); err != nil {
				return Certificate{}, err
			}
		}
		return k.withPath(&tx.Reader, now)
	})
	return out, unavailable(err, "")
}

// CertificateRequest has a key sign a request for its certificate (RFC 2986) in an administration session, for an issuer
// elsewhere, and returns it in PEM.
func (k *Keyserver) CertificateRequest(ctx context.Context, c Caller, id law.SessionID, key law.KeyID) ([]byte, error) {
	type requesting struct {
		draft  pki.Draft
		permit law.Permit
		event  audit.Event
	}
	r, err := update(ctx, k, func(tx *store.Tx) (requesting, error) {
		var out requesting
		s, err := c.actIn(tx, id, func(s law.Session) (law.SessionOutcome, error) {
			configured, _ := tx.Facts().Key(key)
			var wrong error
			out.draft, wrong = pki.PrepareRequest(configured)
			session, permit, err := s.Request(c.Subject, key, draftOf(out.draft, wrong), tx.Facts(), tx.Now())
			out.permit = permit
			return session, err
		})
		if err != nil {
			return requesting{}, err
		}
		out.event = audit.Event{
			Key: key, Fingerprint: out.permit.Key().Fingerprint, Session: string(s.ID), SessionDescription: s.Description, Request: c.Request,
		}
		signing(&out.event, out.permit)
		accepted := out.event
		accepted.Type, accepted.Actor = audit.CertificateRequestAccepted, c.actor()
		return out, tx.Append(accepted)
	})
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	var der []byte
	signature, failure := k.keystores.Sign(ctx, r.permit)
	if failure == nil {
		der, failure = r.draft.Finish(r.draft.TBS(), signature)
	}
	if _, err := store.UpdateFirst(ctx, k.db, func(tx *store.Tx) (struct{}, error) {
		e := r.event
		if failure != nil {
			e.Type, e.Reason = audit.CertificateRequestFailed, reasonOf(failure)
		} else {
			e.Type, e.Signature = audit.CertificateRequestSigned, hexHash(signature)
		}
		return struct{}{}, tx.Append(e)
	}); err != nil {
		return nil, unavailable(err, "")
	}
	if failure != nil {
		return nil, k.unsigned(ctx, "certificate request of key "+string(key), failure)
	}
	return pki.PEM(pki.RequestPEM, der), nil
}

// Certificates lists the certificates of the keys that exist for the caller.
func (k *Keyserver) Certificates(ctx context.Context, c Caller, f CertificateFilter) (CertificatePage, error) {
	scope := fmt.Sprintf("certificates %q", f.Key)
	after, err := k.openCursor(c, scope, f.Page)
	if err != nil {
		return CertificatePage{}, err
	}
	return look(ctx, k, func(r *store.Reader) (CertificatePage, error) {
		var page CertificatePage
		found, err := r.Certificates(f.Key, law.CertificateID(after), f.Page.Limit)
		if err != nil {
			return page, err
		}
		for _, one := range found {
			if !r.Facts().SeesKey(c.Subject, one.Key) {
				continue
			}
			seen, err := k.withPath(r, one)
			if err != nil {
				return page, err
			}
			page.Certificates = append(page.Certificates, seen)
		}
		if len(found) == f.Page.Limit {
			page.Next = k.cursor(c, scope, string(found[len(found)-1].ID))
		}
		return page, nil
	})
}

// Certificate returns one certificate, if its key exists for the caller.
func (k *Keyserver) Certificate(ctx context.Context, c Caller, id law.CertificateID) (Certificate, error) {
	one, err := look(ctx, k, func(r *store.Reader) (Certificate, error) {
		found, known, err := r.Certificate(id)
		switch {
		case err != nil:
			return Certificate{}, err
		case !known || found.OfDevice() || !r.Facts().SeesKey(c.Subject, found.Key):
			return Certificate{}, &unseen{errNoCertificate, known}
		}
		return k.withPath(r, found)
	})
	return one, k.auditHidden(ctx, c, err, audit.Event{})
}

// CurrentCertificate returns the current certificate of a key, if the key exists for the caller.
func (k *Keyserver) CurrentCertificate(ctx context.Context, c Caller, id law.KeyID) (Certificate, error) {
	key, err := k.Key(ctx, c, id)
	if err != nil {
		return Certificate{}, err
	}
	return look(ctx, k, func(r *store.Reader) (Certificate, error) {
		current, found, err := currentOf(r, key)
		switch {
		case err != nil:
			return Certificate{}, err
		case !found:
			return Certificate{}, &law.Refusal{Kind: law.NotFound, Reason: fmt.Sprintf("key %s has no certificate", id)}
		}
		return k.withPath(r, current)
	})
}

// currentOf is the current certificate of a key. It is false if there is none.
func currentOf(r *store.Reader, key law.Key) (law.Certificate, bool, error) {
	all, err := r.CertificatesOf(key.ID)
	current, found := key.Current(all)
	return current, found, err
}

// withPath is a certificate with those above it.
func (k *Keyserver) withPath(r *store.Reader, c law.Certificate) (Certificate, error) {
	path, err := pathOf(r, c)
	return Certificate{Certificate: c, Path: path}, err
}

// pathOf finds the certificates above one, and begins with itself: empty if it is not issued.
func pathOf(r *store.Reader, c law.Certificate) ([][]byte, error) {
	var path [][]byte
	var err error
	for above := c; above.DER != nil; {
		path = append(append(path, above.DER), above.Chain...)
		if above.Issuer == "" || above.SelfSigned() {
			break
		}
		if above, err = issuerOf(r, above); err != nil {
			return nil, err
		}
	}
	return path, nil
}

// issuerOf finds the newest certificate of the key pair that has issued one, under the name that this says: the key may have
// been certified under another since. The zero one if there is none.
func issuerOf(r *store.Reader, c law.Certificate) (law.Certificate, error) {
	all, err := r.CertificatesOf(c.Issuer)
	if err != nil {
		return law.Certificate{}, err
	}
	by, _ := pki.Names(c.TBS)
	of := slices.DeleteFunc(all, func(above law.Certificate) bool {
		_, name := pki.Names(above.TBS)
		return !bytes.Equal(name, by)
	})
	above, _ := law.Key{ID: c.Issuer, Fingerprint: c.IssuerFingerprint}.Current(of)
	return above, nil
}

// audit stores a refusal that is an event, and returns it.
func (c Caller) audit(tx *store.Tx, about audit.Event, refusal error) error {
	var r *law.Refusal
	if errors.As(refusal, &r) && recorded(r) {
		if err := tx.Append(c.refused(about, r)); err != nil {
			return err
		}
	}
	return refusal
}

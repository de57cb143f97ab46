package law

import (
	"slices"
	"time"
)

// How long a certificate status is good for, and how much may be signed before the audit log tells of it again.
const (
	StatusValidity = 24 * time.Hour // from thisUpdate to nextUpdate
	StatusRenewal  = time.Hour      // after which a new one is made for whoever asks
	MaxStatuses    = 10_000         // signed under one entry of the audit log
	StatusLease    = time.Hour      // after which the entry is good for no more
)

// MaxResponderValidity is how long the certificate of a key that signs certificate statuses may be valid: nobody can ask
// whether it is revoked (RFC 6960 section 4.2.2.2.1).
const MaxResponderValidity = 366 * 24 * time.Hour

// Responder says whether the key signs certificate statuses (RFC 6960), and with that nothing else: it is an FW key whose
// certificate is for OCSPSigning.
func (k Key) Responder() bool {
	return k.Type == Firmware && k.Profile != nil && slices.ContainsFunc(k.Profile.ExtendedKeyUsage, signsStatuses)
}

// InOperations says whether operations can name the key.
func (k Key) InOperations() bool { return k.Type != Root && !k.Responder() }

// signsStatuses says whether the extended key usage is OCSPSigning, by its name or its number.
func signsStatuses(usage string) bool {
	oid, err := ParseExtendedKeyUsage(usage)
	return err == nil && oid.Equal(ExtendedKeyUsages()["OCSPSigning"])
}

// Statuses is the leave to sign certificate statuses with a responder key: so many, for a time. The zero Statuses is none.
type Statuses struct {
	Certificate CertificateID // of the responder key, by the key that issued what they are the statuses of
	Left        int
	Until       time.Time
}

// StatusDraft is the status of a certificate that is to be signed.
type StatusDraft struct {
	Draft
	Of         Certificate
	ThisUpdate time.Time
	NextUpdate time.Time
}

// PermitStatuses gives the leave to sign statuses of the certificates that were issued by the key pair that issued this
// certificate of a responder key. The server takes it by itself.
func PermitStatuses(c Certificate, f Facts, now time.Time) (Statuses, error) {
	if err := c.Responds(f, now); err != nil {
		return Statuses{}, err
	}
	return Statuses{c.ID, MaxStatuses, now.Add(StatusLease)}, nil
}

// Permit permits the signature of one status, and returns what is left. The certificate of the responder key is given as it
// is now.
func (s Statuses) Permit(c Certificate, d StatusDraft, f Facts, now time.Time) (Statuses, Permit, error) {
	if err := c.Responds(f, now); err != nil {
		return s, Permit{}, err
	}
	k := f.keys[c.Key]
	in, err := d.signedBy(k)
	switch {
	case err != nil:
		return s, Permit{}, err
	case s.Spent(c, now):
		return s, Permit{}, refuse(Superseded, "key %s has no leave to sign this status; take one first", k.ID)
	case !d.Of.HasStatus() || d.Of.Issuer != c.Issuer || d.Of.IssuerFingerprint != c.IssuerFingerprint:
		return s, Permit{}, refuse(NotFound, "there is no such certificate")
	case d.ThisUpdate.After(now) || !now.Before(d.NextUpdate) || d.NextUpdate.Sub(d.ThisUpdate) > StatusValidity:
		return s, Permit{}, refuse(Impossible, "the status would be good from %v to %v, which is not now, or too long", d.ThisUpdate.UTC(), d.NextUpdate.UTC())
	}
	s.Left--
	return s, Permit{granted: true, purpose: ForStatus, certificate: d.Of.ID, key: k, input: in}, nil
}

// Spent says whether the leave is good for nothing more: all is signed, its time is over, or the responder key has another
// certificate now. One that ends too late is of a time before the clock went back.
func (s Statuses) Spent(c Certificate, now time.Time) bool {
	return s.Left < 1 || !now.Before(s.Until) || s.Until.After(now.Add(StatusLease+ClockSlack)) || s.Certificate != c.ID
}

// HasStatus says whether anybody is told how the certificate stands: it was issued here.
func (c Certificate) HasStatus() bool { return c.State == CertificateIssued && c.Issuer != "" }

// Responds refuses a certificate by which no status is told now.
func (c Certificate) Responds(f Facts, now time.Time) error {
	k, known := f.keys[c.Key]
	switch {
	case f.ClockHeld:
		return refuseClock()
	case !known || !k.Responder():
		return refuse(Impossible, "key %q signs no certificate statuses", c.Key)
	case k.State != KeyActive:
		return refuse(Impossible, "key %s is not active", k.ID)
	case !c.Valid() || !c.HasStatus() || c.Fingerprint != k.Fingerprint:
		return refuse(Impossible, "key %s has no certificate by a key of this server; have one issued by the key whose certificates it is to tell of", k.ID)
	case now.Before(c.NotBefore) || !now.Before(c.NotAfter):
		return refuse(Impossible, "the certificate of key %s is valid from %v to %v, and not now; renew it", k.ID, c.NotBefore.UTC(), c.NotAfter.UTC())
	}
	return nil
}

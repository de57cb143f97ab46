package law

import (
	"bytes"
	"regexp"
	"slices"
	"time"
)

// CertificateID names a certificate (UUIDv7, RFC 9562). One that is made under an operation has the id of its sign order.
type CertificateID string

// CertificateState is where a certificate stands.
type CertificateState string

const (
	CertificateRunning  CertificateState = "running"  // it is being signed
	CertificateIssued   CertificateState = "issued"   // signed and stored
	CertificateFailed   CertificateState = "failed"   // the attempt gave no signature
	CertificateWithheld CertificateState = "withheld" // its operation was revoked while it was signed
	CertificateImported CertificateState = "imported" // issued elsewhere
)

// Certificate is a certificate (RFC 5280) of a key of this server, and what became of it.
type Certificate struct {
	ID                CertificateID
	Key               KeyID  // that it is of; empty: of a device
	Device            string // identity of the device that it is of; empty: of none
	Request           string // of a device: lower-case hex SHA-256 of the certificate request, DER
	Fingerprint       string // of the public key in it
	Issuer            KeyID  // that signs it; empty: it was issued elsewhere
	IssuerFingerprint string
	Serial            string   // lower-case hex
	TBS               []byte   // tbsCertificate, DER
	DER               []byte   // nil until it is issued
	Chain             [][]byte // certificates above one that was issued elsewhere, DER, the issuer's first
	NotBefore         time.Time
	NotAfter          time.Time
	Session           SessionID   // that it was made or imported in; empty: in none
	Operation         OperationID // that it was made under; empty: under none
	Accepted          time.Time
	State             CertificateState
	Lease             time.Time // until when the latest attempt may run
	Settled           time.Time // when the latest attempt ended; zero while it runs
	Failure           string    // why the latest attempt failed
	Revocation        Revocation
}

// Revocation says that a certificate is revoked. The zero Revocation says that it is not.
type Revocation struct {
	At     time.Time
	By     SubjectID
	Code   RevocationCode
	Reason string // in a person's words
}

// RevocationCode is the reason for a revocation by its name in RFC 5280 section 5.3.1. A hold, and its end, are none:
// what is revoked stays revoked.
type RevocationCode string

// RevocationCodes are the reasons with their numbers.
func RevocationCodes() map[RevocationCode]int {
	return map[RevocationCode]int{
		"unspecified": 0, "keyCompromise": 1, "cACompromise": 2, "affiliationChanged": 3, "superseded": 4, "cessationOfOperation": 5,
		"privilegeWithdrawn": 9, "aACompromise": 10,
	}
}

// Valid says whether the certificate is issued, here or elsewhere, and not revoked. Whether its time has come, or has
// gone by, is not asked.
func (c Certificate) Valid() bool {
	return (c.State == CertificateIssued || c.State == CertificateImported) && c.Revocation.At.IsZero()
}

// SelfSigned says whether the key that the certificate is of has signed it.
func (c Certificate) SelfSigned() bool { return c.Issuer == c.Key }

// Draft is a certificate, a revocation list or a certificate request that is to be signed.
type Draft struct {
	TBS   []byte // what is signed, DER
	Input Input  // of the signature over it
	Fault string // why it could not be drawn up, a sentence; empty: it could
}

// CertificateDraft is a certificate that is to be signed.
type CertificateDraft struct {
	Draft
	Fingerprint string // of the public key in it
	Serial      string // lower-case hex
	NotBefore   time.Time
	NotAfter    time.Time
}

// CertificateAsk asks for a certificate. ID is given by the server, and so is the draft, which is judged last.
type CertificateAsk struct {
	ID     CertificateID
	Issuer KeyID // key that signs it
	Key    KeyID // key that it is of
	Draft  CertificateDraft
}

// serialPattern is that of a positive number of at most 20 octets (RFC 5280 section 4.1.2.2).
var serialPattern = regexp.MustCompile(`^[0-9a-f]{1,40}$`)

// signedBy returns the input of the signature by the key over the draft.
func (d Draft) signedBy(k Key) (Input, error) {
	in := d.Input
	switch {
	case d.Fault != "":
		return Input{}, refuse(Impossible, "%s", d.Fault)
	case in.Hash != k.Hash || !slices.Contains(k.Schemes, in.Scheme):
		return Input{}, refuse(InputMisfit, "key %s makes no %s signatures over %s", k.ID, in.Scheme, in.Hash)
	case len(d.TBS) == 0 || len(d.TBS) > MaxMessage && in.Scheme == EdDSA:
		return Input{}, refuse(InputMisfit, "what is to be signed is %d bytes long; an Ed25519 key signs at most %d", len(d.TBS), MaxMessage)
	case !bytes.Equal(in.Digest, k.Hash.Sum(d.TBS)):
		return Input{}, refuse(InputMisfit, "the digest is not that of what is to be signed")
	}
	in.Message = nil
	if in.Scheme == EdDSA {
		in.Message = d.TBS
	}
	return in, nil
}

// draw judges the draft of a certificate and returns the certificate and what is signed of it.
func (ask CertificateAsk) draw(f Facts, now time.Time) (Certificate, Input, error) {
	by, k, d := f.keys[ask.Issuer], f.keys[ask.Key], ask.Draft
	in, err := d.signedBy(by)
	switch {
	case err != nil:
		return Certificate{}, Input{}, err
	case d.Fingerprint != k.Fingerprint:
		return Certificate{}, Input{}, refuse(WrongState, "the key pair of key %s was replaced since the certificate was drawn up; ask for a new one", k.ID)
	case !serialPattern.MatchString(d.Serial):
		return Certificate{}, Input{}, refuse(Impossible, "%q is no serial number of a certificate", d.Serial)
	case !d.NotBefore.Before(d.NotAfter) || !now.Before(d.NotAfter):
		return Certificate{}, Input{}, refuse(Impossible, "the certificate would be valid from %v to %v, which is never", d.NotBefore.UTC(), d.NotAfter.UTC())
	}
	return Certificate{
		ID: ask.ID, Key: k.ID, Fingerprint: k.Fingerprint, Issuer: by.ID, IssuerFingerprint: by.Fingerprint, Serial: d.Serial, TBS: d.TBS,
		NotBefore: d.NotBefore, NotAfter: d.NotAfter, Accepted: now, State: CertificateRunning, Lease: now.Add(AttemptLease),
	}, in, nil
}

// subject refuses a key that gets no certificate.
func (ask CertificateAsk) subject(f Facts) error {
	k, known := f.keys[ask.Key]
	switch {
	case !known:
		return refuse(Impossible, "there is no key %q that could get a certificate", ask.Key)
	case k.State == KeyRevoked:
		return refuse(Impossible, "key %s is revoked for ever; it gets no certificate", k.ID)
	case k.Profile == nil:
		return refuse(Impossible, "key %s has no certificate profile; configure one first", k.ID)
	}
	return nil
}

// Certified is the outcome of asking for a certificate in a session. The permit is for its signature.
type Certified struct {
	SessionOutcome
	Certificate Certificate
	Permit      Permit
}

// Certify accepts a certificate that a ROOT key issues in the session: its own, or one of a CA or FW key. A session
// with a plan allows nothing but the plan.
func (s Session) Certify(who SubjectID, ask CertificateAsk, f Facts, now time.Time) (Certified, error) {
	out, err := s.uses(who, f, now)
	c := Certified{SessionOutcome: out}
	if err != nil {
		return c, err
	}
	if err := f.issues(ask.Issuer); err != nil {
		return c, err
	}
	if err := ask.subject(f); err != nil {
		return c, err
	}
	if ask.Key != ask.Issuer && f.keys[ask.Key].Type == Root {
		return c, refuse(Impossible, "key %s is a ROOT key, whose certificate is signed by itself; name it as issuer", ask.Key)
	}
	made, in, err := ask.draw(f, now)
	if err != nil {
		return c, err
	}
	made.Session = s.ID
	c.Certificate = made
	c.Permit = Permit{granted: true, purpose: ForCertificate, session: s.ID, certificate: made.ID, key: f.keys[ask.Issuer], input: in}
	return c, nil
}

// issues refuses a key that does not issue certificates in a session.
func (f Facts) issues(id KeyID) error {
	k, known := f.keys[id]
	switch {
	case !known:
		return refuse(Impossible, "there is no key %q that could issue a certificate", id)
	case k.Type == CA:
		return refuse(Impossible, "key %s is a CA key; it issues certificates under an approved operation", id)
	case k.Type != Root:
		return refuse(Impossible, "key %s is an %s key, which issues no certificate; name a ROOT key as issuer", id, k.Type)
	case k.State != KeyActive:
		return refuse(Impossible, "key %s is not active", id)
	}
	return nil
}

// uses says whether the subject may use keys in the session now.
func (s Session) uses(who SubjectID, f Facts, now time.Time) (SessionOutcome, error) {
	out, err := s.Act(who, f, now)
	if err == nil && s.Plan != "" {
		err = refusePlanned()
	}
	return out, err
}

func refusePlanned() error {
	return refuse(Forbidden, "this session has a plan, and in it nothing is done but the plan; open another session for anything else")
}

// Request permits the signature of a certificate request (RFC 2986) by the key that it is for.
func (s Session) Request(who SubjectID, id KeyID, d Draft, f Facts, now time.Time) (SessionOutcome, Permit, error) {
	out, err := s.uses(who, f, now)
	if err != nil {
		return out, Permit{}, err
	}
	if err := (CertificateAsk{Key: id}).subject(f); err != nil {
		return out, Permit{}, err
	}
	k := f.keys[id]
	if k.State != KeyActive {
		return out, Permit{}, refuse(Impossible, "key %s is not active", id)
	}
	in, err := d.signedBy(k)
	if err != nil {
		return out, Permit{}, err
	}
	return out, Permit{granted: true, purpose: ForCertificateRequest, session: s.ID, key: k, input: in}, nil
}

// Import takes over a certificate that was issued elsewhere. fault says why it does not fit the key; empty: it does.
func (s Session) Import(who SubjectID, c Certificate, fault string, f Facts, now time.Time) (Certified, error) {
	session, err := s.uses(who, f, now)
	out := Certified{SessionOutcome: session}
	k, known := f.keys[c.Key]
	switch {
	case err != nil:
		return out, err
	case !known:
		return out, refuse(Impossible, "there is no key %q that could get a certificate", c.Key)
	case k.State == KeyRevoked:
		return out, refuse(Impossible, "key %s is revoked for ever; it gets no certificate", k.ID)
	case fault != "":
		return out, refuse(Impossible, "%s", fault)
	case c.Fingerprint != k.Fingerprint:
		return out, refuse(Impossible, "the certificate is of another public key than that of key %s", k.ID)
	case !now.Before(c.NotAfter):
		return out, refuse(Impossible, "the certificate expired at %v", c.NotAfter.UTC())
	}
	c.Issuer, c.IssuerFingerprint, c.State, c.Session, c.Accepted, c.Settled = "", "", CertificateImported, s.ID, now, now
	out.Certificate = c
	return out, nil
}

// Complete stores the certificate that an attempt in a session has made. It fails if one of its two keys is not what it
// was: what was asked for is then no certificate that anybody should have.
func (c Certificate) Complete(der []byte, f Facts, now time.Time) (Certificate, error) {
	if c.State != CertificateRunning {
		return c, refuse(Superseded, "the attempt at this certificate has been given up; ask for a new one")
	}
	by, k := f.keys[c.Issuer], f.keys[c.Key]
	if by.State == KeyRevoked || k.State == KeyRevoked || by.Fingerprint != c.IssuerFingerprint || k.Fingerprint != c.Fingerprint {
		return c.Fail("one of its keys was revoked, or its key pair replaced, while it was signed", now)
	}
	c.State, c.DER, c.Settled = CertificateIssued, der, now
	return c, nil
}

// Fail ends an attempt in a session that gave no certificate.
func (c Certificate) Fail(why string, now time.Time) (Certificate, error) {
	if c.State != CertificateRunning {
		return c, refuse(Superseded, "the attempt at this certificate has been given up; ask for a new one")
	}
	c.State, c.Failure, c.Settled = CertificateFailed, why, now
	return c, nil
}

// Follow is the certificate of a sign order as it is after what happened to the order.
func (c Certificate) Follow(r Order, der []byte) Certificate {
	c.Lease, c.Settled, c.Failure = r.Lease, r.Settled, r.Failure
	switch r.State {
	case OrderRunning:
		c.State = CertificateRunning
	case OrderFailed:
		c.State = CertificateFailed
	case OrderWithheld:
		c.State = CertificateWithheld
	case OrderSigned:
		c.State, c.DER = CertificateIssued, der
	}
	return c
}

// Revoke revokes a certificate, without a session: it is the safe direction. Revoking what is revoked changes nothing
// and is no error.
func (c Certificate) Revoke(who SubjectID, code RevocationCode, reason string, f Facts, now time.Time) (Certificate, error) {
	_, known := RevocationCodes()[code]
	switch {
	case !f.SeesKey(who, c.Key):
		return c, refuse(NotFound, "there is no such certificate")
	case !f.Holds(who, Administrator, ""):
		return c, refuse(Forbidden, "a certificate is revoked by an administrator")
	case !c.Revocation.At.IsZero():
		return c, nil
	case c.State != CertificateIssued && c.State != CertificateImported:
		return c, refuse(WrongState, "the certificate is %s; there is nothing to revoke", c.State)
	case c.SelfSigned():
		return c, refuse(Impossible, "a certificate that signs its own revocation list is not revoked by it; revoke key %s, and remove the certificate where it is trusted", c.Key)
	case !known:
		return c, refuse(Impossible, "reason code %q is unknown; use one of RFC 5280 section 5.3.1 that is final", code)
	case CheckText(reason, MaxReason) != nil:
		return c, refuse(Impossible, "reason: %v", CheckText(reason, MaxReason))
	}
	c.Revocation = Revocation{At: now, By: who, Code: code, Reason: reason}
	return c, nil
}

// Current is the newest certificate of the key pair that the key has now, among those given, oldest first. It is false
// if there is none.
func (k Key) Current(all []Certificate) (Certificate, bool) {
	for _, c := range slices.Backward(all) {
		if c.Key == k.ID && c.Fingerprint == k.Fingerprint && c.Valid() {
			return c, true
		}
	}
	return Certificate{}, false
}

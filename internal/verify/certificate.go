package verify

import (
	"encoding/hex"
	"slices"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// certificate is what the log has told of a certificate so far. Times are ms UTC.
type certificate struct {
	audit.Certificate
	session        law.SessionID
	operation      law.OperationID
	hash           law.Hash
	scheme         law.Scheme
	input          string // hex
	state          law.CertificateState
	accepted       int64
	lease, settled int64
	failure        string
	revokedAt      int64 // 0: it is not revoked
	revokedBy      law.SubjectID
	revokedReason  string
	seen           bool // in the database
}

// list is what the log has told of the revocation lists of a key so far.
type list struct {
	key         law.KeyID
	accepted    int64 // number of the newest one that was accepted
	lease       int64 // 0: no attempt is under way
	attempt     audit.Event
	fingerprint string // of the newest one that was issued
	issued      audit.RevocationList
	hash        law.Hash
	scheme      law.Scheme
	seen        bool // in the database
}

// serial is the number that an issuer gives once.
type serial struct {
	issuer law.KeyID
	number string
}

// request is a certificate request that is being signed.
type request struct {
	session     string
	key         law.KeyID
	fingerprint string
	input       string
}

// certified checks the events of certificates and revocation lists.
func (f *Fold) certified(e *audit.Event) error {
	switch e.Type {
	case audit.CertificateAccepted:
		return f.certificateAccepted(e)
	case audit.CertificateIssued, audit.CertificateFailed:
		return f.certificateResult(e)
	case audit.CertificateImported:
		return f.certificateImported(e)
	case audit.CertificateRevoked:
		return f.certificateRevoked(e)
	case audit.CertificateRequestAccepted:
		return f.requestAccepted(e)
	case audit.CertificateRequestSigned, audit.CertificateRequestFailed:
		return f.requestResult(e)
	case audit.RevocationListAccepted:
		return f.listAccepted(e)
	case audit.StatusesPermitted:
		return f.statusesPermitted(e)
	default:
		return f.listResult(e)
	}
}

// usedIn is the session in which a key is used: active, and without a plan (section 5).
func (f *Fold) usedIn(e *audit.Event) error {
	s, err := f.inSession(e)
	if err != nil {
		return err
	}
	if err := f.mayAct(s, e.Actor.Subject, e.Time); err != nil {
		return err
	}
	if s.plan != "" {
		return breaks("section 5", "administration session %s has a plan, and in it nothing is done but the plan", s.id)
	}
	return nil
}

// signs checks that the key is active and makes such a signature.
func (f *Fold) signs(id law.KeyID, fingerprint string, e *audit.Event) error {
	k, known := f.world.keys[id]
	input, err := hex.DecodeString(e.Input)
	switch {
	case !known || k.State != law.KeyActive:
		return breaks("section 3", "key %q signs nothing now", id)
	case k.Fingerprint != fingerprint:
		return breaks("section 3", "key %s has another key pair", id)
	case e.Hash != k.Hash || !slices.Contains(k.Schemes, e.Scheme):
		return breaks("section 3", "key %s makes no %s signatures over %s", id, e.Scheme, e.Hash)
	case err != nil || len(input) != e.Hash.Size() || hex.EncodeToString(input) != e.Input:
		return breaks("section 3", "%q is not a digest of %s", e.Input, e.Hash)
	}
	return nil
}

// drawn checks what is said of a certificate that is to be signed.
func (f *Fold) drawn(c *audit.Certificate, at int64) error {
	k, known := f.world.keys[c.Key]
	_, used := f.serials[serial{c.Issuer, c.Serial}]
	device := c.Device != ""
	switch {
	case f.certificates[c.ID] != nil:
		return breaks("section 3", "certificate %s was accepted before", c.ID)
	case device != (c.Key == "") || device != (c.Request != "") || device && !isSHA256(c.Request):
		return breaks("section 3", "certificate %s is of a key and of a device, or of neither, or a device has not asked for it", c.ID)
	case !device && (!known || k.State == law.KeyRevoked || k.Fingerprint != c.Fingerprint || k.Profile == nil): // of a device see [Fold.deviceDrawn]
		return breaks("section 3", "key %q with fingerprint %s gets no certificate now", c.Key, c.Fingerprint)
	case !isSHA256(c.TBS) || c.Digest != "" || c.Code != "" || c.Chain != "":
		return breaks("section 3", "certificate %s is said to be signed before it is", c.ID)
	case c.NotBefore >= c.NotAfter || c.NotAfter <= at:
		return breaks("section 3", "certificate %s is never valid", c.ID)
	case c.Serial == "" || used:
		return breaks("section 3", "key %s has issued a certificate with serial number %q before", c.Issuer, c.Serial)
	}
	return nil
}

func (f *Fold) certificateAccepted(e *audit.Event) error {
	if err := f.usedIn(e); err != nil {
		return err
	}
	c := e.Certificate
	root := f.world.keys[c.Issuer]
	switch {
	case root.Type != law.Root:
		return breaks("section 3", "key %q is no ROOT key, and in a session nothing else issues certificates", c.Issuer)
	case f.world.keys[c.Key].Type == law.Root && c.Key != c.Issuer:
		return breaks("section 3", "the certificate of ROOT key %s is signed by itself alone", c.Key)
	case e.Key != c.Key || e.Lease <= e.Time:
		return breaks("section 3", "certificate %s is of another key, or its lease ends before it begins", c.ID)
	}
	if err := f.signs(c.Issuer, c.IssuerFingerprint, e); err != nil {
		return err
	}
	if err := f.drawn(c, e.Time); err != nil {
		return err
	}
	f.enter(e, law.SessionID(e.Session), "")
	return nil
}

// enter notes a certificate that is being signed.
func (f *Fold) enter(e *audit.Event, s law.SessionID, o law.OperationID) *certificate {
	c := &certificate{
		Certificate: *e.Certificate, session: s, operation: o, hash: e.Hash, scheme: e.Scheme, input: e.Input,
		state: law.CertificateRunning, accepted: e.Time, lease: e.Lease,
	}
	f.certificates[c.ID] = c
	f.serials[serial{c.Issuer, c.Serial}] = struct{}{}
	f.enterDevice(c)
	return c
}

// known is the certificate that an event is about. But for what the event may add, it says what those before said.
func (f *Fold) known(e *audit.Event, digest string, code law.RevocationCode) (*certificate, error) {
	c := f.certificates[e.Certificate.ID]
	if c == nil {
		return nil, breaks("section 3", "certificate %s was never accepted", e.Certificate.ID)
	}
	as := c.Certificate
	as.Digest, as.Code = digest, code
	if *e.Certificate != as {
		return nil, breaks("section 3", "this is not what was said of certificate %s before", c.ID)
	}
	return c, nil
}

// certificateResult checks how an attempt in a session has ended.
func (f *Fold) certificateResult(e *audit.Event) error {
	c, err := f.known(e, e.Certificate.Digest, "")
	if err != nil {
		return err
	}
	if _, err := f.inSession(e); err != nil {
		return err
	}
	by, of := f.world.keys[c.Issuer], f.world.keys[c.Key]
	issued := e.Type == audit.CertificateIssued
	switch {
	case c.state != law.CertificateRunning || c.operation != "":
		return breaks("section 3", "no attempt at certificate %s is under way in a session; it is %s", c.ID, c.state)
	case string(c.session) != e.Session || e.Key != c.Key:
		return breaks("section 5", "certificate %s was accepted in another session, or is of another key", c.ID)
	case issued != isSHA256(e.Certificate.Digest) || !issued && e.Certificate.Digest != "":
		return breaks("section 3", "certificate %s is said to be issued, and has no hash, or the other way round", c.ID)
	case issued && (by.State == law.KeyRevoked || of.State == law.KeyRevoked || by.Fingerprint != c.IssuerFingerprint || of.Fingerprint != c.Fingerprint):
		return breaks("section 3", "certificate %s is of, or by, a key pair that is not used any more", c.ID)
	}
	c.Digest, c.settled, c.state, c.failure = e.Certificate.Digest, e.Time, law.CertificateIssued, e.Reason
	if !issued {
		c.state = law.CertificateFailed
	}
	return nil
}

func (f *Fold) certificateImported(e *audit.Event) error {
	if err := f.usedIn(e); err != nil {
		return err
	}
	c := e.Certificate
	k, known := f.world.keys[c.Key]
	switch {
	case f.certificates[c.ID] != nil:
		return breaks("section 3", "certificate %s was there before", c.ID)
	case !known || k.State == law.KeyRevoked || k.Fingerprint != c.Fingerprint || e.Key != c.Key:
		return breaks("section 3", "key %q with fingerprint %s gets no certificate now", c.Key, c.Fingerprint)
	case c.Issuer != "" || c.IssuerFingerprint != "" || !isSHA256(c.Digest) || !isSHA256(c.TBS) || c.Code != "" || c.NotAfter <= e.Time:
		return breaks("section 3", "certificate %s is none that was issued elsewhere", c.ID)
	}
	f.certificates[c.ID] = &certificate{Certificate: *c, session: law.SessionID(e.Session), state: law.CertificateImported, accepted: e.Time, settled: e.Time}
	return nil
}

func (f *Fold) certificateRevoked(e *audit.Event) error {
	before := f.certificates[e.Certificate.ID]
	if before == nil {
		return breaks("section 3", "certificate %s was never accepted", e.Certificate.ID)
	}
	if before.Device != "" {
		return f.deviceRevoked(before, e)
	}
	c, err := f.known(e, before.Digest, e.Certificate.Code)
	if err != nil {
		return err
	}
	_, final := law.RevocationCodes()[e.Certificate.Code]
	switch {
	case !f.world.administrators.has(e.Actor.Subject):
		return breaks("section 5", "%q, who is said to have revoked a certificate, is no enabled administrator", e.Actor.Subject)
	case c.state != law.CertificateIssued && c.state != law.CertificateImported || c.revokedAt != 0:
		return breaks("section 3", "certificate %s is %s, or revoked already", c.ID, c.state)
	case c.Issuer == c.Key || !final || e.Key != c.Key:
		return breaks("section 3", "certificate %s cannot be revoked like this", c.ID)
	}
	f.revoke(c, e)
	return nil
}

// revoke notes that a certificate is revoked.
func (f *Fold) revoke(c *certificate, e *audit.Event) {
	c.Code, c.revokedAt, c.revokedBy, c.revokedReason = e.Certificate.Code, e.Time, e.Actor.Subject, e.Reason
	f.revoked[pair{c.Issuer, c.IssuerFingerprint}]++
}

// pair is a key pair that issues.
type pair struct {
	issuer      law.KeyID
	fingerprint string
}

func requestOf(e *audit.Event) request { return request{e.Session, e.Key, e.Fingerprint, e.Input} }

func (f *Fold) requestAccepted(e *audit.Event) error {
	if err := f.usedIn(e); err != nil {
		return err
	}
	if err := f.signs(e.Key, e.Fingerprint, e); err != nil {
		return err
	}
	f.requests[requestOf(e)]++
	return nil
}

func (f *Fold) requestResult(e *audit.Event) error {
	r := requestOf(e)
	switch {
	case f.requests[r] == 0:
		return breaks("section 3", "no request for a certificate of key %s is being signed", e.Key)
	case e.Type == audit.CertificateRequestSigned && !isSHA256(e.Signature):
		return breaks("section 3", "%q is not a SHA-256", e.Signature)
	}
	f.requests[r]--
	return nil
}

func (f *Fold) listAccepted(e *audit.Event) error {
	k, l := f.world.keys[e.Key], f.lists[e.Key]
	if l == nil {
		l = &list{key: e.Key}
	}
	switch {
	case k.Type == law.Root:
		if e.Actor == nil || e.Session == "" {
			return breaks("section 3", "a revocation list of a ROOT key is made in an administration session")
		}
		if err := f.usedIn(e); err != nil {
			return err
		}
	case k.Type != law.CA || e.Actor != nil || e.Session != "" || e.SessionDescription != "":
		return breaks("section 3", "key %q has no revocation list that the server would make by itself", e.Key)
	}
	if err := f.signs(e.Key, e.Fingerprint, e); err != nil {
		return err
	}
	n := e.RevocationList
	switch {
	case e.Time < l.lease && l.lease <= e.Time+law.AttemptLease.Milliseconds(): // else it is of a time before the clock went back
		return breaks("section 3", "a revocation list of key %s is being signed", e.Key)
	case n.Number != l.accepted+1:
		return breaks("section 3", "this is list %d of key %s, not %d", l.accepted+1, e.Key, n.Number)
	case n.Digest != "" || !isSHA256(n.TBS) || n.ThisUpdate > e.Time || n.NextUpdate <= e.Time || e.Lease <= e.Time:
		return breaks("section 3", "list %d of key %s is not good now, or is said to be signed before it is", n.Number, e.Key)
	case n.Entries != f.revokedBy(e.Key, e.Fingerprint):
		return breaks("section 3", "key %s has issued %d certificates that are revoked, and %d are on its list", e.Key, f.revokedBy(e.Key, e.Fingerprint), n.Entries)
	}
	l.accepted, l.lease, l.attempt = n.Number, e.Lease, *e
	f.lists[e.Key] = l
	return nil
}

// revokedBy counts the certificates that a key pair has issued and that are revoked.
func (f *Fold) revokedBy(issuer law.KeyID, fingerprint string) int64 {
	return f.revoked[pair{issuer, fingerprint}]
}

func (f *Fold) listResult(e *audit.Event) error {
	l := f.lists[e.Key]
	if l == nil || l.lease == 0 {
		return breaks("section 3", "no revocation list of key %s is being signed", e.Key)
	}
	issued := e.Type == audit.RevocationListIssued
	as := *l.attempt.RevocationList
	as.Digest = e.RevocationList.Digest
	switch {
	case *e.RevocationList != as || e.Fingerprint != l.attempt.Fingerprint || e.Session != l.attempt.Session || e.SessionDescription != l.attempt.SessionDescription:
		return breaks("section 3", "this is not the revocation list of key %s that is being signed", e.Key)
	case issued != isSHA256(as.Digest) || !issued && as.Digest != "" && !isSHA256(as.Digest):
		return breaks("section 3", "list %d of key %s is said to be issued, and has no hash, or the other way round", as.Number, e.Key)
	}
	l.lease = 0
	if issued {
		l.fingerprint, l.issued, l.hash, l.scheme = e.Fingerprint, as, l.attempt.Hash, l.attempt.Scheme
	}
	return nil
}

// orderedCertificate checks what the events of a sign order say of the certificate that it is for.
func (f *Fold) orderedCertificate(r *order, e *audit.Event) error {
	if (e.Certificate != nil) != r.certifies {
		return breaks("section 3", "sign order %s is for a certificate in one event, and not in another", r.id)
	}
	if !r.certifies {
		return nil
	}
	digest := ""
	if e.Type == audit.OrderSigned {
		digest = e.Certificate.Digest
	}
	if e.Type == audit.OrderAccepted {
		c := e.Certificate
		if err := f.drawn(c, e.Time); err != nil {
			return err
		}
		if c.Device != "" {
			if err := f.deviceDrawn(r, c, e.Time); err != nil {
				return err
			}
			f.enter(e, "", r.operation.id)
			return nil
		}
		if string(c.ID) != string(r.id) || c.Issuer != r.key || c.IssuerFingerprint != r.fingerprint || f.world.keys[c.Key].Type != law.Firmware {
			return breaks("section 3", "sign order %s is for a certificate of an FW key, by its own key", r.id)
		}
		if !f.world.sees(r.requester, c.Key) {
			return breaks("rule 10", "%s has no role on key %s", r.requester, c.Key)
		}
		f.enter(e, "", r.operation.id)
		return nil
	}
	before := f.certificates[law.CertificateID(r.id)]
	if before == nil {
		return breaks("section 3", "the certificate of sign order %s was never accepted", r.id)
	}
	c, err := f.known(e, digest, before.Code)
	if err != nil {
		return err
	}
	switch e.Type {
	case audit.OrderAttempted:
		k := f.world.keys[c.Key]
		if c.Device != "" {
			if err := f.deviceAgain(c, e.Time); err != nil {
				return err
			}
		} else if k.State == law.KeyRevoked || k.Fingerprint != c.Fingerprint || k.Profile == nil || !f.world.sees(r.requester, c.Key) || c.NotAfter <= e.Time {
			return breaks("section 3", "key %s gets no such certificate any more", c.Key)
		}
		c.state, c.lease, c.settled, c.failure = law.CertificateRunning, e.Lease, 0, ""
		return nil
	case audit.OrderSigned:
		if !isSHA256(digest) {
			return breaks("section 3", "certificate %s has no hash", c.ID)
		}
		if c.Device != "" && c.revokedAt != 0 {
			return breaks("section 3", "certificate %s was revoked before it was issued", c.ID)
		}
		c.state, c.Digest = law.CertificateIssued, digest
		f.deviceIssued(c, e)
	case audit.OrderFailed:
		c.state, c.failure = law.CertificateFailed, e.Reason
	case audit.OrderWithheld:
		c.state = law.CertificateWithheld
	}
	c.settled = e.Time
	return nil
}

// sees says whether the key exists for the subject.
func (w *world) sees(who law.SubjectID, key law.KeyID) bool {
	return w.orderers[key].has(who) || w.approvers[key].has(who) || w.viewers.has(who)
}

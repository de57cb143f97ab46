package verify

import (
	"encoding/hex"
	"slices"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// order is what the log has told of a sign order so far. Times are ms UTC.
type order struct {
	id             law.OrderID
	operation      *operation
	key            law.KeyID
	fingerprint    string
	requester      law.SubjectID
	idempotencyKey string
	hash           law.Hash
	scheme         law.Scheme
	input          string // hex
	use            int
	accepted       int64
	state          law.OrderState
	attempt        int
	lease, settled int64
	failure        string
	signature      string // hex SHA-256
	certifies      bool   // it is for a certificate, see [Fold.certificates]
	seen           bool   // in the database
}

// usable is the operation that a key is to be used under now (rules 8 to 10, I3).
func (f *Fold) usable(e *audit.Event) (*operation, error) {
	o, err := f.acted(e)
	if err == nil && o.state != law.Approved {
		err = breaks("rule 10, I3", "operation %s is %s, not approved", o.id, o.state)
	}
	return o, err
}

// accepted checks a new sign order and its first attempt.
func (f *Fold) accepted(e *audit.Event) error {
	o, err := f.usable(e)
	if err != nil {
		return err
	}
	k := o.key(e.Key)
	if k == nil {
		return breaks("rule 10", "key %s is not in operation %s", e.Key, o.id)
	}
	r := &order{
		id: e.Order, operation: o, key: e.Key, fingerprint: k.Fingerprint, requester: e.Actor.Subject, idempotencyKey: e.IdempotencyKey,
		hash: e.Hash, scheme: e.Scheme, input: e.Input, use: k.taken + 1, accepted: e.Time,
		certifies: e.Certificate != nil,
	}
	place := placing{r.key, r.requester, r.idempotencyKey}
	_, before := o.placed[place]
	switch {
	case f.orders[r.id] != nil:
		return breaks("I4", "sign order %s was accepted before", r.id)
	case before:
		return breaks("rule 12, I4", "%s has placed a sign order under this idempotency key before", r.requester)
	case k.taken >= k.MaxUses:
		return breaks("rule 10, I1", "all %d uses of key %s in operation %s are taken", k.MaxUses, k.Key, o.id)
	}
	if err := f.attempt(r, e); err != nil {
		return err
	}
	k.taken++
	f.orders[r.id] = r
	o.placed[place] = struct{}{}
	return nil
}

// attempted checks a further attempt (rule 12).
func (f *Fold) attempted(e *audit.Event) error {
	if _, err := f.usable(e); err != nil {
		return err
	}
	r := f.orders[e.Order]
	switch {
	case r == nil:
		return breaks("rule 12", "sign order %s was never accepted", e.Order)
	case e.Actor.Subject != r.requester || e.IdempotencyKey != r.idempotencyKey:
		return breaks("rule 12", "a further attempt is made by the same requester under the same idempotency key")
	case r.state == law.OrderRunning && e.Time < r.lease:
		return breaks("rule 12", "an attempt at sign order %s is under way", r.id)
	case r.state != law.OrderRunning && r.state != law.OrderFailed:
		return breaks("rule 12", "sign order %s is %s already", r.id, r.state)
	}
	return f.attempt(r, e)
}

// attempt checks that an attempt may be made under the operation, which is usable, and is the next one.
func (f *Fold) attempt(r *order, e *audit.Event) error {
	if err := r.same(e); err != nil {
		return err
	}
	o, key := r.operation, f.world.keys[r.key]
	input, err := hex.DecodeString(r.input)
	switch {
	case !o.party(r.requester):
		return breaks("rule 10, I3", "%s is neither orderer nor client of operation %s", r.requester, o.id)
	case !f.world.orderers[r.key].has(r.requester):
		return breaks("rule 10, I3", "%s is not enabled, or has no orderer role on key %s", r.requester, r.key)
	case key.Type != law.Firmware && !r.certifies:
		return breaks("section 3, I9", "key %s is a %s key, which never signs an input", r.key, key.Type)
	case key.Type != law.CA && r.certifies:
		return breaks("section 3", "key %s is an %s key, which issues no certificate under an operation", r.key, key.Type)
	case r.certifies && (e.Certificate == nil || e.Certificate.Device == "") && o.key(r.key).Profiles != f.world.profiles[r.key]:
		return breaks("rule 9", "what the certificates of FW keys hold has changed since operation %s was created", o.id)
	case r.hash != key.Hash || !slices.Contains(key.Schemes, r.scheme):
		return breaks("rule 10", "key %s makes no %s signatures over %s", r.key, r.scheme, r.hash)
	case err != nil || len(input) != r.hash.Size() || hex.EncodeToString(input) != r.input:
		return breaks("rule 10", "%q is not a digest of %s", r.input, r.hash)
	case (len(o.artifacts) > 0 || key.ArtifactsNeeded) && (r.certifies || !o.covers(r)):
		return breaks("rule 10, I9", "the input is none of the artifacts of operation %s", o.id)
	case e.Attempt != r.attempt+1:
		return breaks("rule 12", "this is attempt %d of sign order %s, not %d", r.attempt+1, r.id, e.Attempt)
	case e.Lease <= e.Time:
		return breaks("rule 12", "the attempt's lease ends before it begins")
	}
	r.state, r.attempt, r.lease, r.settled, r.failure = law.OrderRunning, e.Attempt, e.Lease, 0, ""
	o.changes++
	return f.orderedCertificate(r, e)
}

func (o *operation) covers(r *order) bool {
	return slices.ContainsFunc(o.artifacts, func(a law.Artifact) bool { return a.Hash == r.hash && a.Digest == r.input })
}

// result checks how an attempt has ended.
func (f *Fold) result(e *audit.Event) error {
	o, err := f.acted(e)
	if err != nil {
		return err
	}
	r := f.orders[e.Order]
	if r == nil {
		return breaks("I1", "sign order %s was never accepted", e.Order)
	}
	if err := r.same(e); err != nil {
		return err
	}
	switch {
	case r.state != law.OrderRunning:
		return breaks("rule 12, I1", "no attempt at sign order %s is under way; it is %s", r.id, r.state)
	case e.Attempt != r.attempt:
		return breaks("rule 12", "this is the result of attempt %d of sign order %s, but the latest is %d", e.Attempt, r.id, r.attempt)
	case e.Type == audit.OrderSigned && o.state == law.Revoked:
		return breaks("rule 7, I8", "operation %s is revoked; its signatures are withheld", o.id)
	case e.Type == audit.OrderWithheld && o.state != law.Revoked:
		return breaks("rule 7", "operation %s is %s, and only revocation withholds", o.id, o.state)
	case e.Type == audit.OrderSigned && !isSHA256(e.Signature):
		return breaks("I2", "%q is not a SHA-256", e.Signature)
	}
	r.settled = e.Time
	switch e.Type {
	case audit.OrderSigned:
		r.state, r.signature = law.OrderSigned, e.Signature
		o.key(r.key).signed++
	case audit.OrderFailed:
		r.state, r.failure = law.OrderFailed, e.Reason
	case audit.OrderWithheld:
		r.state = law.OrderWithheld
	}
	o.changes++
	f.settleLater(o, e.Time)
	return f.orderedCertificate(r, e)
}

// same checks that an event of the order says of it what the first one did (I1: one input for ever).
func (r *order) same(e *audit.Event) error {
	k := r.operation.key(r.key)
	if e.Operation != r.operation.id || e.Key != r.key || e.Fingerprint != r.fingerprint || e.Hash != r.hash || e.Scheme != r.scheme ||
		e.Input != r.input || e.Use != r.use || e.Of != k.MaxUses {
		return breaks("I1", "sign order %s is use %d of %d of key %s with fingerprint %s under operation %s, for %s over %s %s",
			r.id, r.use, k.MaxUses, r.key, r.fingerprint, r.operation.id, r.scheme, r.hash, r.input)
	}
	return nil
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && hex.EncodeToString(b) == s
}

package law

import (
	"bytes"
	"encoding/hex"
	"slices"
	"time"
)

// OrderID names a sign order (UUIDv7, RFC 9562).
type OrderID string

// OrderState is where a sign order stands.
type OrderState string

const (
	OrderRunning  OrderState = "running"  // an attempt is being made
	OrderFailed   OrderState = "failed"   // the last attempt gave no signature; another may be made
	OrderSigned   OrderState = "signed"   // the signature is stored
	OrderWithheld OrderState = "withheld" // the operation was revoked while the keystore worked
)

// Input is what one signature is made over. Two inputs are the same if hash, scheme and digest are.
type Input struct {
	Hash    Hash
	Scheme  Scheme
	Digest  []byte
	Message []byte // the data itself where the scheme signs data (EdDSA), else nil; it is not stored
}

func (in Input) same(other Input) bool {
	return in.Hash == other.Hash && in.Scheme == other.Scheme && bytes.Equal(in.Digest, other.Digest)
}

// Order is the right to have one input signed by one key under an operation, and its result.
type Order struct {
	ID             OrderID
	Operation      OperationID
	Key            KeyID
	Fingerprint    string
	Requester      SubjectID
	IdempotencyKey string
	Input          Input
	Certifies      KeyID  // the FW key whose certificate is signed; empty: the input was given as such
	Device         string // identity of the device whose certificate is signed; empty: of none
	Use            int    // which use of the key it took, from 1
	Accepted       time.Time
	State          OrderState
	Attempt        int       // the latest one, from 1
	Lease          time.Time // until when the latest attempt may run
	Settled        time.Time // when the latest attempt ended; zero while it runs
	Failure        string    // why the latest attempt failed
	Signature      []byte    // as the keystore's contract says, once signed
}

// ForCertificate says whether it is a certificate that is signed.
func (r Order) ForCertificate() bool { return r.Certifies != "" || r.Device != "" }

// Running says whether an attempt is being made now.
func (r Order) Running(now time.Time) bool { return r.State == OrderRunning && now.Before(r.Lease) }

// SeenBy is the order as the subject may see it: the signature is for its requester (rule 12).
func (r Order) SeenBy(who SubjectID) Order {
	if r.Requester != who {
		r.Signature = nil
	}
	return r
}

// OrderAsk asks for one signature. Either Digest or Data is given.
type OrderAsk struct {
	ID             OrderID // for the order, if it is a new one
	Who            SubjectID
	Key            KeyID
	IdempotencyKey string
	Hash           Hash   // may be empty with Data
	Scheme         Scheme // may be empty if the key makes only one
	Digest         []byte
	Data           []byte
	Certificate    *CertificateAsk // instead of an input; its ID and Issuer are those of the order and its key
	Device         *DeviceAsk      // instead of an input

	prior CertificateID // of the order placed before, if it is for a device certificate
}

// Placed is the outcome of asking for a signature. If the permit is granted, an attempt is to be made with
// it. If not, the order is an earlier one: signed, or still running.
type Placed struct {
	Outcome
	Order       Order
	Permit      Permit
	Certificate Certificate  // that is to be signed, if the order is a new one for one
	Same        *Certificate // that the device has already: the answer, and no order was placed
}

// Place accepts a sign order (rule 10), or finds that it is the one placed before under the same
// idempotency key (rule 12): prior, if there is one.
func (o Operation) Place(ask OrderAsk, prior *Order, f Facts, now time.Time) (Placed, error) {
	p := Placed{Outcome: o.Settle(f, now)}
	o = p.Operation
	if !f.Sees(ask.Who, o) {
		return p, refuseUnseen()
	}
	if prior != nil {
		return o.placeAgain(p, ask, *prior, f, now)
	}
	to, err := o.judge(ask, f, now)
	if err != nil {
		return p, err
	}
	if to.same != nil {
		p.Same = to.same
		return p, nil
	}
	grant, _ := o.Grant(ask.Key)
	taken := o.Usage[ask.Key].Taken
	if taken >= grant.MaxUses {
		return p, refuse(WrongState, "all %d uses of key %s in this operation are taken", grant.MaxUses, ask.Key)
	}
	p.Operation = o.use(ask.Key, 1, 0)
	p.Order = Order{
		ID: ask.ID, Operation: o.ID, Key: ask.Key, Fingerprint: grant.Fingerprint, Requester: ask.Who,
		IdempotencyKey: ask.IdempotencyKey, Certifies: ask.certifies(), Device: to.certificate.Device,
		Use: taken + 1, Accepted: now,
	}
	p.Certificate = to.certificate
	p.attempt(to.input, f, now)
	p.add(Change{Kind: DidAcceptOrder, By: ask.Who})
	return p, nil
}

func (o Operation) placeAgain(p Placed, ask OrderAsk, prior Order, f Facts, now time.Time) (Placed, error) {
	in, err := ask.again(prior, f.keys[prior.Key])
	switch {
	case prior.Operation != o.ID || prior.Key != ask.Key || prior.Requester != ask.Who || prior.IdempotencyKey != ask.IdempotencyKey:
		return p, refuse(NotFound, "there is no such sign order")
	case err != nil || !in.same(prior.Input) || ask.certifies() != prior.Certifies || (ask.Device != nil) != (prior.Device != ""):
		return p, refuse(KeyReused, "this idempotency key was used for another input; use a new one for each input")
	case prior.State == OrderSigned || prior.Running(now):
		p.Order = prior
		return p, nil
	case prior.State == OrderWithheld:
		return p, refuse(WrongState, "the operation was revoked while the signature was made; it is withheld")
	}
	ask.prior = CertificateID(prior.ID)
	ask.Hash, ask.Scheme = in.Hash, in.Scheme // as said or understood then, whatever the key would add to the asking now
	to, err := o.judge(ask, f, now)
	switch {
	case err != nil:
		return p, err
	case to.same != nil || !to.input.same(prior.Input): // a certificate of another draft
		return p, refuse(KeyReused, "a further attempt is made at the certificate that was drawn up first")
	}
	p.Order = prior
	p.attempt(to.input, f, now)
	p.add(Change{Kind: DidAttemptOrder, By: ask.Who})
	return p, nil
}

func (p *Placed) attempt(in Input, f Facts, now time.Time) {
	p.Order.Input = in
	p.Order.State = OrderRunning
	p.Order.Attempt++
	p.Order.Lease = now.Add(AttemptLease)
	p.Order.Settled, p.Order.Failure = time.Time{}, ""
	p.Permit = Permit{
		granted: true, purpose: ForSignOrder, operation: p.Order.Operation, order: p.Order.ID, attempt: p.Order.Attempt,
		key: f.keys[p.Order.Key], input: in,
	}
	if p.Order.ForCertificate() {
		p.Permit.purpose, p.Permit.certificate = ForCertificate, CertificateID(p.Order.ID)
	}
}

// again is the input that is asked for again. A certificate is recognised by its key alone, or by the request of the
// device: the draft is that of the order, whatever a new one would be like.
func (ask OrderAsk) again(prior Order, k Key) (Input, error) {
	switch {
	case ask.Device != nil && ask.Device.Request != ask.Device.Draft.Request:
		return Input{}, refuse(KeyReused, "it is another certificate request")
	case ask.Certificate != nil || ask.Device != nil:
		return prior.Input, nil
	}
	k.Hash, k.Schemes = prior.Input.Hash, []Scheme{prior.Input.Scheme}
	return ask.input(k)
}

// forCertificate says whether a certificate is asked for.
func (ask OrderAsk) forCertificate() bool { return ask.Certificate != nil || ask.Device != nil }

// certifies is the key whose certificate is asked for, if one is.
func (ask OrderAsk) certifies() KeyID {
	if ask.Certificate == nil {
		return ""
	}
	return ask.Certificate.Key
}

// toSign is what a sign order is for.
type toSign struct {
	input       Input
	certificate Certificate  // whose signature it is, if it is one's
	same        *Certificate // instead: that the device has already
}

// judge is rule 10 but for the uses left.
func (o Operation) judge(ask OrderAsk, f Facts, now time.Time) (toSign, error) {
	k := f.keys[ask.Key]
	_, named := o.Grant(ask.Key)
	party := ask.Who == o.Orderer.Subject || slices.Contains(o.Clients, ask.Who)
	switch {
	case !party:
		return toSign{}, refuse(Forbidden, "sign orders are placed by the operation's orderer or by a client that it names")
	case k.Type == Root:
		return toSign{}, refuse(Impossible, "key %s is a ROOT key; it cannot be used in an operation", ask.Key)
	case k.Responder():
		return toSign{}, refuse(Impossible, "key %s signs certificate statuses; it cannot be used in an operation", ask.Key)
	case !named:
		return toSign{}, refuse(NotCovered, "key %q is not in this operation", ask.Key)
	case !f.Holds(ask.Who, Orderer, ask.Key):
		return toSign{}, refuse(Forbidden, "none of your orderer roles covers key %s", ask.Key)
	case k.Type != Firmware && !ask.forCertificate():
		return toSign{}, refuse(Impossible, "key %s is a %s key; only FW keys sign an input", ask.Key, k.Type)
	case k.Type != CA && ask.forCertificate():
		return toSign{}, refuse(Impossible, "key %s is an %s key; under an operation only CA keys issue certificates", ask.Key, k.Type)
	case f.ClockHeld:
		return toSign{}, refuseClock()
	case o.Recorded.Final():
		return toSign{}, refuse(WrongState, "the operation is %s; create a new one", o.Recorded)
	case o.Recorded != Approved:
		return toSign{}, refuse(WrongState, "the operation is not approved: %s", o.wants(f))
	}
	switch {
	case ask.Certificate != nil && ask.Device != nil:
		return toSign{}, refuse(InputMisfit, "ask for the certificate of a key or of a device, not of both at once")
	case ask.Certificate != nil:
		return o.judgeCertificate(ask, f, now)
	case ask.Device != nil:
		return o.judgeDevice(ask, f, now)
	}
	in, err := ask.input(k)
	if err != nil {
		return toSign{}, err
	}
	return toSign{input: in}, o.checkArtifact(in, k)
}

// judgeCertificate judges a certificate that a CA key of the operation is to issue for an FW key.
func (o Operation) judgeCertificate(ask OrderAsk, f Facts, now time.Time) (toSign, error) {
	k := f.keys[ask.Certificate.Key]
	grant, _ := o.Grant(ask.Key)
	switch {
	case !f.SeesKey(ask.Who, ask.Certificate.Key):
		return toSign{}, refuse(Forbidden, "key %q is unknown, or none of your roles covers it", ask.Certificate.Key)
	case k.Type != Firmware:
		return toSign{}, refuse(Impossible, "key %s is a %s key; under an operation certificates are issued for FW keys", k.ID, k.Type)
	case len(o.Artifacts) > 0 || f.keys[ask.Key].ArtifactsNeeded:
		return toSign{}, refuse(InputMisfit, "the operation is for the artifacts that it names, and a certificate is none of them")
	}
	if err := ask.Certificate.subject(f); err != nil {
		return toSign{}, err
	}
	if grant.Profiles != f.profiles[ask.Key] {
		return toSign{}, refuse(WrongState, "the certificate profiles and key pairs of key %s and the FW keys are not those of when the operation was created; create a new operation", ask.Key)
	}
	c := *ask.Certificate
	c.ID, c.Issuer = CertificateID(ask.ID), ask.Key
	made, in, err := c.draw(f, now)
	made.Operation = o.ID
	return toSign{input: in, certificate: made}, err
}

func (o Operation) checkArtifact(in Input, k Key) error {
	if len(o.Artifacts) == 0 && !k.ArtifactsNeeded {
		return nil
	}
	digest := hex.EncodeToString(in.Digest)
	for _, a := range o.Artifacts {
		sized := in.Message == nil || int64(len(in.Message)) == a.Size
		if a.Hash == in.Hash && a.Digest == digest && sized {
			return nil
		}
	}
	return refuse(InputMisfit, "this input is none of the artifacts that the operation names")
}

// input brings what was asked into the one form that is compared, stored and signed, and refuses what
// does not fit the key.
func (ask OrderAsk) input(k Key) (Input, error) {
	in := Input{Hash: ask.Hash, Scheme: ask.Scheme, Digest: ask.Digest}
	if in.Scheme == "" && len(k.Schemes) == 1 {
		in.Scheme = k.Schemes[0]
	}
	if in.Hash == "" && ask.Data != nil {
		in.Hash = k.Hash
	}
	switch {
	case !slices.Contains(k.Schemes, in.Scheme):
		return Input{}, refuse(InputMisfit, "key %s makes signatures of the schemes %v; name one of them as scheme", k.ID, k.Schemes)
	case in.Hash != k.Hash:
		return Input{}, refuse(InputMisfit, "key %s signs %s; name it as hash and hash with it", k.ID, k.Hash)
	case (ask.Digest == nil) == (ask.Data == nil):
		return Input{}, refuse(InputMisfit, "give either a digest or data")
	case in.Scheme == EdDSA && ask.Data == nil:
		return Input{}, refuse(InputMisfit, "key %s is an Ed25519 key, which signs the data itself; send data, not a digest", k.ID)
	case ask.Data != nil && (len(ask.Data) == 0 || len(ask.Data) > MaxMessage):
		return Input{}, refuse(InputMisfit, "data is between 1 and %d bytes long; of anything longer send a digest", MaxMessage)
	case ask.Data == nil && len(ask.Digest) != k.Hash.Size():
		return Input{}, refuse(InputMisfit, "a %s digest is %d bytes long, not %d; send the bare digest", k.Hash, k.Hash.Size(), len(ask.Digest))
	}
	if ask.Data != nil {
		in.Digest = k.Hash.Sum(ask.Data)
	}
	if in.Scheme == EdDSA {
		in.Message = ask.Data
	}
	return in, nil
}

// Complete stores the signature that an attempt has made, unless the operation was revoked meanwhile: then
// it is withheld, and the Order of the answer has none (rule 7). Only the latest attempt is heard (rule 12).
func (o Operation) Complete(r Order, attempt int, signature []byte, f Facts, now time.Time) (Placed, error) {
	p := Placed{Outcome: o.Settle(f, now), Order: r}
	if err := r.heard(attempt); err != nil {
		return p, err
	}
	p.Order.Settled = now
	if p.Operation.Withholds() {
		p.Order.State = OrderWithheld
		p.add(Change{Kind: DidWithhold, Reason: "the operation was revoked while the signature was made"})
		return p, nil
	}
	p.Order.State = OrderSigned
	p.Order.Signature = signature
	p.Operation = p.Operation.use(r.Key, 0, 1)
	p.add(Change{Kind: DidSignOrder})
	p.Outcome = p.settle(f, now)
	return p, nil
}

// Fail ends an attempt that gave no signature. The use stays taken; another attempt may be made (rule 12).
func (o Operation) Fail(r Order, attempt int, why string, f Facts, now time.Time) (Placed, error) {
	p := Placed{Outcome: o.Settle(f, now), Order: r}
	if err := r.heard(attempt); err != nil {
		return p, err
	}
	p.Order.State = OrderFailed
	p.Order.Settled = now
	p.Order.Failure = why
	p.add(Change{Kind: DidFailOrder, Reason: why})
	return p, nil
}

func (r Order) heard(attempt int) error {
	if r.State != OrderRunning || r.Attempt != attempt {
		return refuse(Superseded, "another attempt at this sign order has been made since; ask for the order again")
	}
	return nil
}

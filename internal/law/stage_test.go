package law_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.org/keyserver/internal/law"
)

// A stage is one operation with its sign orders in front of the oracle. Every method takes one step: it
// asks the law, has the oracle judge the answer, and returns the next stage. The error is a broken
// invariant, never a refusal: refusals are expected where the oracle expects them.
type stage struct {
	set    *scene
	held   bool
	now    time.Time
	op     law.Operation
	orders []law.Order
	digest law.Digest
	tale   tale
	seal   string // of op and orders, to see that nothing changes them in place
	desk   desk

	// Of the latest step:
	did     []law.Change
	refusal *law.Refusal
	permit  law.Permit
}

// scene is a configuration, for the law and for the oracle.
type scene struct {
	cfg   law.Configuration
	facts law.Facts
	plain *plain
}

func newScene(c law.Configuration) (*scene, error) {
	f, err := law.NewFacts(c)
	return &scene{c, f, spellOut(c)}, err
}

func (s stage) facts() law.Facts {
	f := s.set.facts
	f.ClockHeld = s.held
	return f
}

// opened is the first stage of an operation. The law creates it exactly when the oracle says that it may:
// if not, there is no stage, and the refusal is returned. behind is the person behind a CI job.
func opened(set *scene, held bool, who law.Caller, behind law.SubjectID, ask law.Ask, now time.Time) (stage, *law.Refusal, error) {
	s := stage{set: set, held: held, now: now, tale: bornOf(who.Subject, behind, ask, set.plain, now)}
	out, err := law.Create(who, ask, s.facts(), now)
	var refusal *law.Refusal
	if may := set.plain.mayCreate(who.Subject, behind, ask) && !held; (err == nil) != may {
		return s, nil, fmt.Errorf("creating: the law says %v, but it may be: %v", err, may)
	}
	if errors.As(err, &refusal) {
		return s, refusal, nil
	}
	s.digest = out.Operation.Digest()
	s, err = s.goOn(out, "")
	return s, nil, err
}

// at moves the stage to another time and configuration without letting the operation know.
func (s stage) at(set *scene, now time.Time, held bool) stage {
	s.set, s.now, s.held, s.did, s.refusal, s.permit = set, now, held, nil, nil, law.Permit{}
	s.desk = s.desk.cleared()
	return s
}

// settled lets the operation catch up.
func (s stage) settled() (stage, error) {
	return s.step(s.op.Settle(s.facts(), s.now), nil, true)
}

func (s stage) clockAccepted() (stage, error) {
	out := s.op.AcceptClock(s.now)
	if s.tale.end() == "" {
		s.tale = s.tale.and(note{what: ended, end: law.Expired})
	}
	return s.goOn(out, "")
}

func (s stage) approve(who law.SubjectID, rightDigest bool) (stage, error) {
	d := s.digest
	if !rightDigest {
		d = "0" + d[1:] + "x"
	}
	may := s.open() == law.Pending && !s.held && rightDigest && s.tale.judgesAny(who, s.set.plain) && s.tale.yes(who) == nil
	out, err := s.op.Approve(who, d, s.facts(), s.now)
	return s.step(out, err, may, note{what: saidYes, who: who, on: s.set.plain})
}

func (s stage) withdraw(who law.SubjectID) (stage, error) {
	may := s.open() != "" && s.tale.visible(who, s.set.plain) && s.tale.yes(who) != nil && !s.tale.used() // I5
	out, err := s.op.Withdraw(who, s.facts(), s.now)
	return s.step(out, err, may, note{what: tookBack, who: who})
}

func (s stage) reject(who law.SubjectID) (stage, error) {
	may := s.open() != "" && s.tale.judgesAny(who, s.set.plain) && !s.tale.used()
	out, err := s.op.Reject(who, "no", s.facts(), s.now)
	return s.step(out, err, may, note{what: ended, end: law.Rejected})
}

func (s stage) revoke(who law.SubjectID) (stage, error) {
	p := s.set.plain
	may := p.on[who] && (who == s.tale.orderer || p.boss[who] || s.tale.judgesAny(who, p))
	out, err := s.op.Revoke(who, "stop", s.facts(), s.now)
	if s.tale.caughtUp(p, s.now).end() == law.Revoked {
		return s.step(out, err, may)
	}
	return s.step(out, err, may && s.open() != "", note{what: ended, end: law.Revoked})
}

// place asks for a signature, under the order that has this idempotency key already, if there is one.
func (s stage) place(ask law.OrderAsk) (stage, error) { return s.placeDrawn(ask, false) }

// placeDrawn is place with a certificate that is as it should be, that of the order placed before if there is one, or as
// it was drawn up anew.
func (s stage) placeDrawn(ask law.OrderAsk, anew bool) (stage, error) {
	prior := s.placedBefore(ask)
	if prior != nil {
		ask.ID = "not-" + prior.ID
	}
	ask = s.desk.served(ask, prior, s.set.plain.keys[ask.Key], anew)
	told, p := s.tale.caughtUp(s.set.plain, s.now), s.set.plain
	in, ok := told.meant(ask, p)
	e := told.orderOf(ask)
	lets, same := s.desk.ledger.judges(told, ask, in, p, s.now)
	lets = lets && !s.held && ok
	n := note{
		who: ask.Who, on: p, order: ask.ID, key: ask.Key, idem: ask.IdempotencyKey, thing: thing(ask), input: in, until: s.now.Add(law.AttemptLease),
	}
	took, begun := n, n
	took.what, begun.what = tookUse, tried

	got, err := s.op.Place(ask, prior, s.facts(), s.now)
	var next stage
	var broken error
	attempt := false
	switch {
	case !e.found && lets && same != "":
		next, broken = s.stepOn(ask.Key, got.Outcome, err, true)
	case !e.found: // a new order
		attempt = lets && told.count(tookUse, ask.Key) < told.uses[ask.Key]
		next, broken = s.stepOn(ask.Key, got.Outcome, err, attempt, took, begun)
	case !ok || e.thing != thing(ask) || e.thing == "" && spelled(e.input) != spelled(in): // I4
		next, broken = s.stepOn(ask.Key, got.Outcome, err, false)
	case e.signed || e.running && s.now.Before(e.until):
		next, broken = s.stepOn(ask.Key, got.Outcome, err, p.on[ask.Who])
	default:
		attempt = lets && same == "" && !e.held && spelled(e.input) == spelled(in)
		begun.order = e.order
		next, broken = s.stepOn(ask.Key, got.Outcome, err, attempt, begun)
	}
	if broken != nil {
		return next, broken
	}
	next.desk.asked = &ask
	if got.Same != nil || !e.found && lets && same != "" {
		return next.answered(got, same)
	}
	if next, broken = next.withOrder(got, attempt); broken != nil {
		return next, broken
	}
	return next.filed(got, ask, attempt)
}

// placedBefore is the order that has this idempotency key already, nil if none has.
func (s stage) placedBefore(ask law.OrderAsk) *law.Order {
	i := slices.IndexFunc(s.orders, func(r law.Order) bool {
		return r.Requester == ask.Who && r.Key == ask.Key && r.IdempotencyKey == ask.IdempotencyKey
	})
	if i < 0 {
		return nil
	}
	return &s.orders[i]
}

// complete brings the result of an attempt; fail brings that there is none.
func (s stage) complete(i, attempt int) (stage, error) {
	r := s.orders[i]
	e := s.tale.orderNamed(r.ID)
	may := e.running && e.tries == attempt
	n := note{what: signed, order: r.ID, key: r.Key, who: r.Requester, idem: r.IdempotencyKey}
	if s.tale.caughtUp(s.set.plain, s.now).end() == law.Revoked { // I8
		n.what = withheld
	}
	got, err := s.op.Complete(r, attempt, []byte("signature"), s.facts(), s.now)
	return s.settledOrder(got, err, may, n)
}

func (s stage) fail(i, attempt int) (stage, error) {
	r := s.orders[i]
	e := s.tale.orderNamed(r.ID)
	n := note{what: failed, order: r.ID, key: r.Key, who: r.Requester, idem: r.IdempotencyKey}
	got, err := s.op.Fail(r, attempt, "no answer", s.facts(), s.now)
	return s.settledOrder(got, err, e.running && e.tries == attempt, n)
}

func (s stage) settledOrder(got law.Placed, err error, may bool, n note) (stage, error) {
	next, broken := s.stepOn(n.key, got.Outcome, err, may, n)
	if broken != nil {
		return next, broken
	}
	if next, broken = next.withOrder(got, false); broken != nil || !may {
		return next, broken
	}
	return next.settledPaper(got.Order, n.what)
}

// open is where an open operation stands by the tale, empty when it has ended.
func (s stage) open() law.State {
	if st := s.tale.stands(s.set.plain, s.now); st == law.Pending || st == law.Approved {
		return st
	}
	return ""
}

func (s stage) step(out law.Outcome, err error, may bool, news ...note) (stage, error) {
	return s.stepOn("", out, err, may, news...)
}

// stepOn judges what a verb did: it was allowed exactly when it may be, a refusal changed nothing but what
// had to be settled, and the rest as in goOn.
func (s stage) stepOn(key law.KeyID, out law.Outcome, err error, may bool, news ...note) (stage, error) {
	if sealOf(s.op, s.orders) != s.seal {
		return s, errors.New("the operation or an order was changed in place")
	}
	s.refusal = nil
	if err != nil && !errors.As(err, &s.refusal) {
		return s, fmt.Errorf("not a refusal: %w", err)
	}
	if (err == nil) != may {
		return s, fmt.Errorf("the law says %v, but it may be: %v", err, may)
	}
	s.tale = s.tale.caughtUp(s.set.plain, s.now)
	if !may {
		for _, c := range out.Changes { // I14
			if c.By != "" || !slices.Contains(byItself, c.Kind) {
				return s, fmt.Errorf("refused (%v), but %s happened", err, c.Kind)
			}
		}
		return s.goOn(out, key)
	}
	for _, n := range news {
		s.tale = s.tale.and(n)
	}
	return s.goOn(out, key)
}

var byItself = []law.ChangeKind{law.DidMeet, law.DidLapse, law.DidExpire, law.DidRevoke, law.DidExhaust}

// goOn takes over what a verb left: the books continue as its changes say (I11), along the arrows (I6),
// the operation stands where the oracle says (I3), and books and tale agree (I1, I7).
func (s stage) goOn(out law.Outcome, key law.KeyID) (stage, error) {
	book, err := bookOf(s.op).fold(out.Changes, key, s.now)
	if err != nil {
		return s, err
	}
	if !book.same(bookOf(out.Operation)) {
		return s, fmt.Errorf("what happened %+v leads to %+v, but the operation is %+v", out.Changes, book, bookOf(out.Operation))
	}
	s.op, s.did, s.permit = out.Operation, out.Changes, law.Permit{}
	s.tale = s.tale.caughtUp(s.set.plain, s.now)
	want := s.tale.stands(s.set.plain, s.now)
	if s.op.Recorded != want || s.op.State(s.facts(), s.now) != want {
		return s, fmt.Errorf("recorded as %s and judged %s; it should be %s", s.op.Recorded, s.op.State(s.facts(), s.now), want)
	}
	s.seal = sealOf(s.op, s.orders)
	return s, s.tale.agrees(s.op)
}

// withOrder takes over the order that a verb gave: there is a permit exactly when an attempt begins, for
// the input, key and number of that attempt.
func (s stage) withOrder(got law.Placed, attempt bool) (stage, error) {
	s.permit = got.Permit
	if got.Permit.Granted() != attempt {
		return s, fmt.Errorf("permit: %v; attempt: %v", got.Permit.Granted(), attempt)
	}
	if s.refusal != nil {
		return s, nil
	}
	r := got.Order
	if err := s.tale.agreesOn(r, s.now); err != nil {
		return s, err
	}
	if p := got.Permit; attempt && (p.Order() != r.ID || p.Attempt() != r.Attempt || p.Operation() != s.op.ID ||
		p.Key().ID != r.Key || p.Key().Fingerprint != r.Fingerprint || spelled(p.Input()) != spelled(r.Input) ||
		p.Purpose() != purpose[r.ForCertificate()]) {
		return s, fmt.Errorf("permit %+v does not fit order %+v", p, r)
	}
	s.orders = slices.Clone(s.orders)
	i := slices.IndexFunc(s.orders, func(o law.Order) bool { return o.ID == r.ID })
	switch {
	case i >= 0:
		s.orders[i] = r
	case slices.ContainsFunc(s.orders, func(o law.Order) bool { return o.Key == r.Key && o.Use == r.Use }):
		return s, fmt.Errorf("use %d of key %s was given twice", r.Use, r.Key)
	default:
		s.orders = append(s.orders, r)
	}
	s.seal = sealOf(s.op, s.orders)
	return s, nil
}

var purpose = map[bool]law.Purpose{false: law.ForSignOrder, true: law.ForCertificate}

// sealOf writes down everything in an operation and its orders that a verb could change.
func sealOf(o law.Operation, orders []law.Order) string {
	b := make([]byte, 0, 512)
	text := func(s string) { b = append(append(b, s...), 0) }
	when := func(t time.Time) { b = binary.AppendVarint(b, t.UnixNano()) }
	text(string(o.Recorded))
	text(string(o.Ending.By))
	text(o.Ending.Reason)
	when(o.Ending.At)
	when(o.Expires)
	for _, k := range o.Keys {
		text(string(k.Key))
		text(k.Fingerprint)
		b = append(b, byte(k.MaxUses), byte(k.Requirement.People()))
		u := o.Usage[k.Key]
		b = append(b, byte(u.Taken), byte(u.Signed))
		for _, who := range o.Eligible[k.Key] {
			text(string(who))
		}
	}
	for _, a := range o.Approvals {
		b = appendYes(b, a.By, a.Covers)
		when(a.At)
		when(a.Withdrawn)
	}
	for _, r := range orders {
		text(string(r.ID))
		text(string(r.State))
		b = append(b, byte(r.Attempt), byte(r.Use))
		when(r.Lease)
		when(r.Settled)
		text(r.Failure)
		text(string(r.Signature))
		text(spelled(r.Input))
	}
	return string(b)
}

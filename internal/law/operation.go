package law

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// OperationID names an operation (UUIDv7, RFC 9562).
type OperationID string

// State is where an operation stands.
type State string

const (
	Pending   State = "pending"
	Approved  State = "approved"
	Exhausted State = "exhausted"
	Rejected  State = "rejected"
	Revoked   State = "revoked"
	Expired   State = "expired"
)

// States lists all states.
func States() []State { return []State{Pending, Approved, Exhausted, Rejected, Revoked, Expired} }

// Final says whether an operation never leaves the state. Anything but pending and approved is final.
func (s State) Final() bool { return s != Pending && s != Approved }

// Operation is a request to use keys a limited number of times, and what became of it. It is a value: a
// verb returns the next one and changes nothing in place. The zero Operation has expired.
type Operation struct {
	Statement
	Behind    SubjectID             // the person behind the orderer (the actor of a CI token), if any
	Eligible  map[KeyID][]SubjectID // who was eligible when the operation was created (rule 3)
	Approvals []Approval            // in the order they were given, withdrawn ones too
	Usage     map[KeyID]Usage
	Recorded  State  // as last written down; ask State for what holds now
	Ending    Ending // how it ended, once Recorded is final
}

// Approval is one approver's yes.
type Approval struct {
	By        SubjectID
	Covers    []KeyID // the keys it counts for
	At        time.Time
	Withdrawn time.Time // zero while it stands
}

// Stands says whether the approval has not been withdrawn.
func (a Approval) Stands() bool { return a.Withdrawn.IsZero() }

// Usage counts the uses of one key in one operation.
type Usage struct {
	Taken  int // sign orders accepted; never decreases
	Signed int // of these, the ones with a stored signature
}

// Ending says how an operation ended.
type Ending struct {
	At     time.Time
	By     SubjectID // empty: the server
	Reason string
}

// Withholds says whether no further signature is made under the operation, and one that is just being made is withheld: a
// revocation alone does that (rule 7).
func (o Operation) Withholds() bool { return o.Recorded == Revoked }

// ChangeKind is what happened.
type ChangeKind string

const (
	DidCreate       ChangeKind = "operation-created"
	DidApprove      ChangeKind = "operation-approved" // one approver's yes
	DidWithdraw     ChangeKind = "operation-withdrawn"
	DidReject       ChangeKind = "operation-rejected"
	DidMeet         ChangeKind = "operation-became-approved"
	DidLapse        ChangeKind = "operation-lapsed"
	DidExpire       ChangeKind = "operation-expired"
	DidRevoke       ChangeKind = "operation-revoked"
	DidExhaust      ChangeKind = "operation-exhausted"
	DidAcceptOrder  ChangeKind = "order-accepted" // and the first attempt begins
	DidAttemptOrder ChangeKind = "order-attempted"
	DidSignOrder    ChangeKind = "order-signed"
	DidFailOrder    ChangeKind = "order-failed"
	DidWithhold     ChangeKind = "order-withheld"
)

// Change is one thing that happened to an operation. Each becomes one audit event.
type Change struct {
	Kind   ChangeKind
	By     SubjectID // empty: the server
	Covers []KeyID   // DidApprove: the keys that the approval counts for
	Reason string
}

// Outcome is what a verb leaves to be stored, whether it was refused or not.
type Outcome struct {
	Operation Operation
	Changes   []Change // in order; empty: nothing to store
}

func (out *Outcome) add(c ...Change) { out.Changes = append(out.Changes, c...) }

// State is where the operation stands, judged by the world as it is (rule 9).
func (o Operation) State(f Facts, now time.Time) State {
	switch {
	case o.Recorded.Final() && o.Recorded != "":
		return o.Recorded
	case !now.Before(o.Expires): // rule 8
		return Expired
	case o.keyGone(f) != "":
		return Revoked
	case o.spent():
		return Exhausted
	case o.wants(f) == "":
		return Approved
	}
	return Pending
}

// Settle writes down what has come about by itself: expiry, a key that is gone, a requirement that is now
// met or no longer.
func (o Operation) Settle(f Facts, now time.Time) Outcome {
	next := o.State(f, now)
	if next == o.Recorded {
		return Outcome{Operation: o}
	}
	var c Change
	switch next {
	case Approved:
		c = Change{Kind: DidMeet, Reason: "every key has its required number of approvals"}
		if o.needsNobody(f) {
			c.Reason = "automatic: every key requires 0 approvals"
		}
	case Pending:
		c = Change{Kind: DidLapse, Reason: o.wants(f)}
	case Expired:
		c = Change{Kind: DidExpire, Reason: "its validity has run out"}
	case Revoked:
		c = Change{Kind: DidRevoke, Reason: o.keyGone(f)}
	case Exhausted:
		c = Change{Kind: DidExhaust, Reason: "every use is taken and has its signature"}
	}
	o.Recorded = next
	if next.Final() {
		o.Ending = Ending{At: now, Reason: c.Reason}
	}
	return Outcome{Operation: o, Changes: []Change{c}}
}

// AcceptClock ends an open operation because an operator has accepted a clock that went back (rule 8).
func (o Operation) AcceptClock(now time.Time) Outcome {
	if o.Recorded.Final() {
		return Outcome{Operation: o}
	}
	return o.end(Outcome{Operation: o}, Expired, Change{Kind: DidExpire, Reason: "an operator accepted a clock that went back"}, now)
}

func (o Operation) end(out Outcome, s State, c Change, now time.Time) Outcome {
	o.Recorded = s
	o.Ending = Ending{At: now, By: c.By, Reason: c.Reason}
	out.Operation = o
	out.add(c)
	return out
}

// KeyProgress says how far the approval of one key is.
type KeyProgress struct {
	Key     KeyID
	Needed  Requirement // the stricter of then and now
	Counted []SubjectID // people whose approval counts for the key now
}

// Progress says for every key how far its approval is.
func (o Operation) Progress(f Facts) []KeyProgress {
	out := make([]KeyProgress, 0, len(o.Keys))
	for _, k := range o.Keys {
		out = append(out, KeyProgress{k.Key, k.Requirement.stricter(f.keys[k.Key].Requirement), o.counted(k.Key, f)})
	}
	return out
}

// Obstacles says what, besides missing approvals, keeps the operation from being approved (rule 9): each
// a sentence; none if there is nothing.
func (o Operation) Obstacles(f Facts) []string {
	var why []string
	if !f.enabled(o.Orderer.Subject) {
		why = append(why, fmt.Sprintf("the orderer %s is disabled", o.Orderer.Subject))
	}
	for _, k := range o.Keys {
		if !f.Holds(o.Orderer.Subject, Orderer, k.Key) {
			why = append(why, fmt.Sprintf("the orderer %s has no orderer role on key %s", o.Orderer.Subject, k.Key))
		}
		if f.keys[k.Key].State != KeyActive {
			why = append(why, fmt.Sprintf("key %s is not active", k.Key))
		}
	}
	return why
}

// EligibleFor returns the keys for which the person could approve now: eligible when the operation was
// created, and still (rule 3).
func (o Operation) EligibleFor(who SubjectID, f Facts) []KeyID {
	var keys []KeyID
	for _, k := range o.Keys {
		if o.eligible(who, k.Key, f) {
			keys = append(keys, k.Key)
		}
	}
	return keys
}

// Queued says whether the operation waits in the subject's queue (rule 4).
func (o Operation) Queued(who SubjectID, f Facts, now time.Time) bool {
	return o.State(f, now) == Pending &&
		slices.ContainsFunc(o.Keys, func(k KeyGrant) bool { return f.Holds(who, Approver, k.Key) })
}

// Used says whether a sign order was ever accepted under the operation.
func (o Operation) Used() bool {
	for _, u := range o.Usage {
		if u.Taken > 0 {
			return true
		}
	}
	return false
}

// Grant returns what the operation says of one of its keys.
func (o Operation) Grant(k KeyID) (KeyGrant, bool) {
	i := slices.IndexFunc(o.Keys, func(g KeyGrant) bool { return g.Key == k })
	if i < 0 {
		return KeyGrant{}, false
	}
	return o.Keys[i], true
}

func (o Operation) eligible(who SubjectID, k KeyID, f Facts) bool {
	return slices.Contains(o.Eligible[k], who) && f.Holds(who, Approver, k)
}

// counted returns the set of people whose standing approval counts for the key now: a person counts once.
func (o Operation) counted(k KeyID, f Facts) []SubjectID {
	var people []SubjectID
	for _, a := range o.Approvals {
		if a.Stands() && slices.Contains(a.Covers, k) && o.eligible(a.By, k, f) && !slices.Contains(people, a.By) {
			people = append(people, a.By)
		}
	}
	return people
}

// wants says what the operation lacks to be approved; empty: nothing. Every key must have enough approvals
// by its requirement then and by the one now (rules 2, 9).
func (o Operation) wants(f Facts) string {
	if len(o.Keys) == 0 {
		return "it names no key"
	}
	if why := o.Obstacles(f); len(why) > 0 {
		return why[0]
	}
	for _, p := range o.Progress(f) {
		if !p.Needed.MetBy(len(p.Counted)) {
			return fmt.Sprintf("key %s has %d of %d approvals", p.Key, len(p.Counted), p.Needed.People())
		}
	}
	return ""
}

func (o Operation) needsNobody(f Facts) bool {
	return !slices.ContainsFunc(o.Progress(f), func(p KeyProgress) bool { return !p.Needed.MetBy(0) })
}

// keyGone says which key was revoked, replaced or removed since the operation was created, or issues device certificates
// that nobody has judged (rule 9), if any.
func (o Operation) keyGone(f Facts) string {
	for _, k := range o.Keys {
		now, known := f.keys[k.Key]
		switch {
		case !known:
			return fmt.Sprintf("key %s is not there any more", k.Key)
		case now.State == KeyRevoked:
			return fmt.Sprintf("key %s was revoked", k.Key)
		case now.Fingerprint != k.Fingerprint:
			return fmt.Sprintf("the key pair of key %s was replaced", k.Key)
		case f.devices[k.Key] != k.Devices:
			return fmt.Sprintf("the profile of device certificates of key %s was changed", k.Key)
		}
	}
	return ""
}

// spent says whether every use of every key is taken and has its signature (rule 13).
func (o Operation) spent() bool {
	for _, k := range o.Keys {
		if u := o.Usage[k.Key]; u.Taken < k.MaxUses || u.Signed < u.Taken {
			return false
		}
	}
	return len(o.Keys) > 0
}

func (o Operation) use(k KeyID, taken, signed int) Operation {
	usage := map[KeyID]Usage{}
	maps.Copy(usage, o.Usage)
	u := usage[k]
	usage[k] = Usage{Taken: u.Taken + taken, Signed: u.Signed + signed}
	o.Usage = usage
	return o
}

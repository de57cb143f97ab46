package law

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Ask is what an orderer asks for. Server, ID and Nonce are given by the server, since the law has no
// randomness.
type Ask struct {
	Server      string
	ID          OperationID
	Nonce       string
	Keys        []KeyAsk
	Description string
	Context     string
	Validity    time.Duration // from creation, whole milliseconds
	Artifacts   []Artifact
	Clients     []SubjectID
}

// KeyAsk asks for uses of one key.
type KeyAsk struct {
	Key     KeyID
	MaxUses int
}

// Lengths of texts, in bytes.
const (
	MaxDescription = 1000
	MaxContext     = 20000
	MaxReason      = 2000
	MaxName        = 255 // of an artifact
)

// Create makes an operation (rule 1), refused as a whole if anything in it cannot be.
func Create(who Caller, ask Ask, f Facts, now time.Time) (Outcome, error) {
	if !f.enabled(who.Subject) {
		return Outcome{}, refuse(Forbidden, "you are not an enabled subject of this server")
	}
	for _, check := range []func() error{
		func() error { return checkKeys(who.Subject, ask, f) },
		func() error { return checkContent(ask) },
		func() error { return checkClients(who.Subject, ask, f) },
	} {
		if err := check(); err != nil {
			return Outcome{}, err
		}
	}
	behind, err := personBehind(who, f)
	if err != nil {
		return Outcome{}, err
	}
	if f.ClockHeld {
		return Outcome{}, refuseClock()
	}
	created := now.UTC().Truncate(time.Millisecond)
	o := Operation{
		Statement: Statement{
			Server: ask.Server, ID: ask.ID, Nonce: ask.Nonce, Orderer: who.Principal, Clients: slices.Clone(ask.Clients),
			Description: ask.Description, Context: ask.Context, Artifacts: slices.Clone(ask.Artifacts),
			Created: created, Expires: created.Add(ask.Validity), Claims: slices.Clone(who.Claims),
		},
		Behind: behind, Eligible: map[KeyID][]SubjectID{}, Usage: map[KeyID]Usage{}, Recorded: Pending,
	}
	for _, a := range ask.Keys {
		k := f.keys[a.Key]
		o.Keys = append(o.Keys, KeyGrant{k.ID, k.Fingerprint, a.MaxUses, k.Requirement, f.devices[k.ID], f.profiles[k.ID]})
		o.Eligible[k.ID] = f.eligibleAtCreation(o, k.ID)
		if !k.Requirement.MetBy(len(o.Eligible[k.ID])) {
			return Outcome{}, refuse(Impossible, "key %s requires %d approvals, but only %d people are eligible to approve this operation; "+
				"ask an administrator for more approvers, or name fewer clients", k.ID, k.Requirement.People(), len(o.Eligible[k.ID]))
		}
	}
	if _, err := o.canonical(); err != nil {
		return Outcome{}, refuse(Impossible, "your token cannot be stored with the operation: %v", err)
	}
	out := Outcome{Operation: o, Changes: []Change{{Kind: DidCreate, By: who.Subject}}}
	return out.settle(f, now), nil
}

// CreateAgain judges a creation under the idempotency key with which the same subject created this
// operation: it is this operation if the same was asked for, and else refused.
func (o Operation) CreateAgain(who SubjectID, same bool, f Facts) error {
	switch {
	case !f.Sees(who, o):
		return refuseUnseen()
	case !same:
		return refuse(KeyReused, "this idempotency key was used for another operation; use a new one for each operation")
	}
	return nil
}

// Approve gives one person's yes to exactly the operation with this digest (rule 4).
func (o Operation) Approve(who SubjectID, d Digest, f Facts, now time.Time) (Outcome, error) {
	out := o.Settle(f, now)
	o = out.Operation
	covers := o.EligibleFor(who, f)
	switch {
	case !f.Sees(who, o):
		return out, refuseUnseen()
	case len(covers) == 0:
		return out, o.refuseIneligible(who)
	case f.ClockHeld:
		return out, refuseClock()
	case o.Recorded.Final():
		return out, refuse(WrongState, "the operation is %s and can no longer be approved", o.Recorded)
	case o.standing(who) >= 0:
		return out, refuse(Duplicate, "you have approved this operation already; an approval counts once")
	case o.Recorded != Pending:
		return out, refuse(WrongState, "the operation is approved already and needs no further approval")
	case d != o.Digest():
		return out, refuse(WrongDigest, "this is not the digest of the operation; look at the operation again before you approve it")
	}
	o.Approvals = append(slices.Clone(o.Approvals), Approval{By: who, Covers: covers, At: now})
	out.Operation = o
	out.add(Change{Kind: DidApprove, By: who, Covers: covers})
	return out.settle(f, now), nil
}

// Withdraw takes one's own approval back, until the first sign order is accepted (rule 5).
func (o Operation) Withdraw(who SubjectID, f Facts, now time.Time) (Outcome, error) {
	out := o.Settle(f, now)
	o = out.Operation
	mine := o.standing(who)
	switch {
	case !f.Sees(who, o):
		return out, refuseUnseen()
	case o.Recorded.Final():
		return out, refuse(WrongState, "the operation is %s; there is nothing to withdraw any more", o.Recorded)
	case mine < 0:
		return out, refuse(WrongState, "you have no approval on this operation that could be withdrawn")
	case o.Used():
		return out, refuse(WrongState, "a sign order has been accepted under this operation; approvals can no longer be withdrawn, revoke it instead")
	}
	o.Approvals = slices.Clone(o.Approvals)
	o.Approvals[mine].Withdrawn = now
	out.Operation = o
	out.add(Change{Kind: DidWithdraw, By: who})
	return out.settle(f, now), nil
}

// Reject ends an operation by one eligible person's no, until the first sign order is accepted (rule 6).
func (o Operation) Reject(who SubjectID, reason string, f Facts, now time.Time) (Outcome, error) {
	out := o.Settle(f, now)
	o = out.Operation
	switch {
	case !f.Sees(who, o):
		return out, refuseUnseen()
	case len(o.EligibleFor(who, f)) == 0:
		return out, o.refuseIneligible(who)
	case o.Recorded.Final():
		return out, refuse(WrongState, "the operation is %s and can no longer be rejected", o.Recorded)
	case o.Used():
		return out, refuse(WrongState, "a sign order has been accepted under this operation; it can no longer be rejected, revoke it instead")
	case CheckText(reason, MaxReason) != nil:
		return out, refuse(Impossible, "reason: %v", CheckText(reason, MaxReason))
	}
	return o.end(out, Rejected, Change{Kind: DidReject, By: who, Reason: reason}, now), nil
}

// Revoke ends an open operation at any time (rule 7). Revoking what is revoked changes nothing and is no
// error.
func (o Operation) Revoke(who SubjectID, reason string, f Facts, now time.Time) (Outcome, error) {
	out := o.Settle(f, now)
	o = out.Operation
	mine := o.Orderer.Subject == who || f.Holds(who, Administrator, "") || len(o.EligibleFor(who, f)) > 0
	switch {
	case !f.Sees(who, o):
		return out, refuseUnseen()
	case !mine:
		return out, refuse(Forbidden, "an operation is revoked by its orderer, by someone eligible to approve it, or by an administrator")
	case o.Recorded == Revoked:
		return out, nil
	case o.Recorded.Final():
		return out, refuse(WrongState, "the operation is %s already", o.Recorded)
	case CheckText(reason, MaxReason) != nil:
		return out, refuse(Impossible, "reason: %v", CheckText(reason, MaxReason))
	}
	return o.end(out, Revoked, Change{Kind: DidRevoke, By: who, Reason: reason}, now), nil
}

// settle re-judges after a change, so that what follows from it is stored with it.
func (out Outcome) settle(f Facts, now time.Time) Outcome {
	next := out.Operation.Settle(f, now)
	next.Changes = slices.Concat(out.Changes, next.Changes)
	return next
}

func (o Operation) standing(who SubjectID) int {
	return slices.IndexFunc(o.Approvals, func(a Approval) bool { return a.By == who && a.Stands() })
}

// eligibleAtCreation lists who is eligible for a key of the operation that is being created (rule 3).
func (f Facts) eligibleAtCreation(o Operation, k KeyID) []SubjectID {
	var people []SubjectID
	for _, r := range f.roles {
		for _, m := range r.Members {
			barred := m == o.Orderer.Subject || m == o.Behind || slices.Contains(o.Clients, m)
			if f.Holds(m, Approver, k) && !barred && !slices.Contains(people, m) {
				people = append(people, m)
			}
		}
	}
	slices.Sort(people)
	return people
}

func (o Operation) refuseIneligible(who SubjectID) error {
	switch {
	case who == o.Orderer.Subject:
		return refuse(Forbidden, "this is your own operation; somebody else must judge it")
	case who == o.Behind:
		return refuse(Forbidden, "you set off the job that ordered this operation; somebody else must judge it")
	case slices.Contains(o.Clients, who):
		return refuse(Forbidden, "you are a client of this operation; somebody else must judge it")
	}
	return refuse(Forbidden, "you are not eligible to judge this operation: that takes an approver role on one of its keys now and when it was created")
}

func checkKeys(who SubjectID, ask Ask, f Facts) error {
	if len(ask.Keys) == 0 || len(ask.Keys) > MaxKeys {
		return refuse(Impossible, "an operation names between 1 and %d keys", MaxKeys)
	}
	for i, a := range ask.Keys {
		k, known := f.keys[a.Key]
		switch {
		case slices.ContainsFunc(ask.Keys[:i], func(b KeyAsk) bool { return a.Key == b.Key }):
			return refuse(Impossible, "key %s is named twice", a.Key)
		case known && k.Type == Root:
			return refuse(Impossible, "key %s is a ROOT key; it cannot be used in an operation", a.Key)
		case known && k.Responder():
			return refuse(Impossible, "key %s signs certificate statuses; it cannot be used in an operation", a.Key)
		case !f.Holds(who, Orderer, a.Key):
			return refuse(Forbidden, "key %q is unknown, or none of your orderer roles covers it", a.Key)
		case k.State != KeyActive:
			return refuse(Impossible, "key %s is not active", a.Key)
		case a.MaxUses < 1 || a.MaxUses > k.MaxUses:
			return refuse(Impossible, "key %s can be asked for between 1 and %d uses, not %d", a.Key, k.MaxUses, a.MaxUses)
		case ask.Validity < time.Millisecond || ask.Validity > k.MaxValidity || ask.Validity%time.Millisecond != 0:
			return refuse(Impossible, "with key %s an operation can be valid between 1 and %d ms", a.Key, k.MaxValidity.Milliseconds())
		case k.ArtifactsNeeded && len(ask.Artifacts) == 0:
			return refuse(Impossible, "with key %s an operation must name its artifacts", a.Key)
		case k.Type == Firmware && len(ask.Artifacts) > 0 && !slices.ContainsFunc(ask.Artifacts, func(a Artifact) bool { return a.Hash == k.Hash }):
			return refuse(Impossible, "key %s signs %s, but no artifact has a digest of that kind; name one", a.Key, k.Hash)
		}
	}
	return nil
}

func checkContent(ask Ask) error {
	if err := CheckText(ask.Description, MaxDescription); err != nil {
		return refuse(Impossible, "description: %v", err)
	}
	if err := CheckText(ask.Context, MaxContext); err != nil {
		return refuse(Impossible, "context: %v", err)
	}
	if len(ask.Artifacts) > MaxArtifacts {
		return refuse(Impossible, "an operation names at most %d artifacts", MaxArtifacts)
	}
	for i, a := range ask.Artifacts {
		digest, err := hex.DecodeString(a.Digest)
		switch {
		case CheckLine(a.Name, MaxName) != nil:
			return refuse(Impossible, "name of artifact %d: %v", i+1, CheckLine(a.Name, MaxName))
		case a.Size < 0 || a.Size >= 1<<53:
			return refuse(Impossible, "artifact %s: its size is out of range", a.Name)
		case a.Hash.Size() == 0:
			return refuse(Impossible, "artifact %s: hash %q is unknown; use one of %v", a.Name, a.Hash, Hashes())
		case err != nil || len(digest) != a.Hash.Size() || hex.EncodeToString(digest) != a.Digest:
			return refuse(Impossible, "artifact %s: a %s digest is %d lower-case hex digits", a.Name, a.Hash, 2*a.Hash.Size())
		case slices.ContainsFunc(ask.Artifacts[:i], func(b Artifact) bool { return a.Hash == b.Hash && a.Digest == b.Digest }):
			return refuse(Impossible, "artifact %s: its digest is named twice", a.Name)
		}
	}
	return nil
}

func checkClients(who SubjectID, ask Ask, f Facts) error {
	if len(ask.Clients) > MaxClients {
		return refuse(Impossible, "an operation names at most %d clients", MaxClients)
	}
	for i, c := range ask.Clients {
		switch {
		case c == who:
			return refuse(Impossible, "the orderer needs not be named as a client; remove %s", c)
		case slices.Contains(ask.Clients[:i], c):
			return refuse(Impossible, "client %s is named twice", c)
		case !f.enabled(c):
			return refuse(Impossible, "client %q is not an enabled subject of this server", c)
		}
	}
	return nil
}

// personBehind finds who set off the CI job that asks (rule 1).
func personBehind(who Caller, f Facts) (SubjectID, error) {
	issuer, known := f.issuers[who.Issuer]
	if !known {
		return "", refuse(Forbidden, "your token's issuer is not configured any more")
	}
	if issuer.ActorClaim == "" {
		return "", nil
	}
	person, found := f.actors[ActorName{who.Issuer, who.Actor}]
	if found && f.enabled(person) || issuer.ActorOptional {
		return person, nil
	}
	return "", refuse(Forbidden, "claim %s of your token is absent, or names no enabled person whom this server knows; "+
		"have the issuer send it, or ask an administrator to enter the person's actor name", issuer.ActorClaim)
}

func refuse(kind RefusalKind, sentence string, args ...any) error {
	return &Refusal{Kind: kind, Reason: fmt.Sprintf(sentence, args...)}
}

func refuseUnseen() error { return refuse(NotFound, "there is no such operation") }

func refuseClock() error {
	return refuse(Held, "the server's clock is behind what it was; an operator must put it right, or run keyserver clock accept")
}

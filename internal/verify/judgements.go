package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// named is the operation that the event names, digest and all.
func (f *Fold) named(e *audit.Event) (*operation, error) {
	o := f.operations[e.Operation]
	switch {
	case o == nil:
		return nil, breaks("I11", "operation %s was never created", e.Operation)
	case e.Digest != o.digest:
		return nil, breaks("I11", "this is not the digest of operation %s", e.Operation)
	}
	return o, nil
}

// acted is the operation that somebody does something to. Where it stands has been written down before.
func (f *Fold) acted(e *audit.Event) (*operation, error) {
	o, err := f.named(e)
	if err != nil {
		return nil, err
	}
	if now := o.stands(&f.world, e.Time); now != o.state {
		return nil, breaks("rule 9, I6", "operation %s has become %s, of which there is no event", o.id, now)
	}
	return o, nil
}

// settled checks what came about by itself.
func (f *Fold) settled(e *audit.Event, to law.State) error {
	o, err := f.named(e)
	if err != nil {
		return err
	}
	switch {
	case !open(o.state):
		return breaks("I6", "operation %s is %s, which it stays for ever", o.id, o.state)
	case endsByClock(e):
		f.accepting, f.ended = f.accepting+1, true
	case o.state == to:
		return breaks("I6", "operation %s is %s already", o.id, to)
	case o.stands(&f.world, e.Time) != to:
		return breaks("rules 2, 8, 9 and 13, I3", "operation %s has become %s, not %s", o.id, o.stands(&f.world, e.Time), to)
	}
	delete(f.due, o)
	o.changes++
	f.become(o, to, e)
	return nil
}

func (f *Fold) become(o *operation, to law.State, e *audit.Event) {
	o.state = to
	if open(to) {
		return
	}
	o.endedAt, o.reason = e.Time, e.Reason
	o.placed, o.artifacts = nil, nil // no sign order is accepted or attempted any more
	if e.Actor != nil {
		o.endedBy = e.Actor.Subject
	}
	delete(f.open, o.id)
}

// judgement is what a person does with an operation: approve, withdraw, reject, revoke.
func (f *Fold) judgement(e *audit.Event) error {
	o, err := f.acted(e)
	if err != nil {
		return err
	}
	who := e.Actor.Subject
	switch {
	case !open(o.state):
		return breaks("I6", "operation %s is %s, which it stays for ever", o.id, o.state)
	case !o.seenBy(who, &f.world):
		return breaks("section 6", "for %q operation %s does not exist", who, o.id)
	}
	switch e.Type {
	case audit.OperationApproved:
		err = f.approved(o, e)
	case audit.OperationWithdrawn:
		a := o.approvalOf(who)
		switch {
		case a == nil:
			return breaks("rule 5", "%s has no approval on operation %s to withdraw", who, o.id)
		case o.used():
			return breaks("rule 5, I5", "a sign order has been accepted under operation %s; no approval can be withdrawn", o.id)
		}
		a.withdrawn, o.weighed = e.Time, 0
	case audit.OperationRejected:
		switch {
		case len(o.judgedBy(who, &f.world)) == 0:
			return breaks("rule 6", "%s is not eligible for a key of operation %s", who, o.id)
		case o.used():
			return breaks("rule 6, I5", "a sign order has been accepted under operation %s; it cannot be rejected", o.id)
		}
		f.become(o, law.Rejected, e)
	case audit.OperationRevoked:
		if who != o.orderer && !f.world.administrators.has(who) && len(o.judgedBy(who, &f.world)) == 0 {
			return breaks("rule 7", "%s may not revoke operation %s", who, o.id)
		}
		f.become(o, law.Revoked, e)
	}
	o.changes++
	f.settleLater(o, e.Time)
	return err
}

func (f *Fold) approved(o *operation, e *audit.Event) error {
	who := e.Actor.Subject
	covers := o.judgedBy(who, &f.world)
	switch {
	case o.state != law.Pending:
		return breaks("rule 4", "operation %s is %s and needs no approval", o.id, o.state)
	case len(covers) == 0:
		return breaks("rule 3", "%s is not eligible for a key of operation %s", who, o.id)
	case !slices.Equal(covers, e.Covers):
		return breaks("rule 4", "the approval of %s counts for %v, not for %v", who, covers, e.Covers)
	case o.approvalOf(who) != nil:
		return breaks("rule 4", "%s has approved operation %s already", who, o.id)
	}
	o.approvals = append(o.approvals, &approval{by: who, covers: covers, at: e.Time})
	o.weighed = 0
	return nil
}

// created checks a new operation (rules 1 and 3).
func (f *Fold) created(e *audit.Event) error {
	s, err := law.ParseStatement(e.Statement)
	if err != nil {
		return breaks("section 4", "%v", err)
	}
	digest := sha256.Sum256(e.Statement)
	nonce, err := hex.DecodeString(s.Nonce)
	switch {
	case hex.EncodeToString(digest[:]) != string(e.Digest):
		return breaks("section 4", "this is not the digest of the operation's canonical form")
	case f.operations[e.Operation] != nil:
		return breaks("I6", "operation %s was created before", e.Operation)
	case s.ID != e.Operation || s.Server != f.server:
		return breaks("section 4", "the canonical form is of operation %s of server %q", s.ID, s.Server)
	case s.Orderer != (law.Principal{Subject: e.Actor.Subject, Issuer: e.Actor.Issuer, Sub: e.Actor.Sub}):
		return breaks("section 4", "the canonical form names another orderer than the one who asked")
	case s.Created.UnixMilli() != e.Time:
		return breaks("rule 8", "the canonical form says that it was created at another time")
	case err != nil || len(nonce) != sha256.Size || s.Description == "" || s.Context == "":
		return breaks("section 4", "the canonical form is incomplete")
	}
	o := &operation{
		id: s.ID, digest: e.Digest, orderer: s.Orderer.Subject, behind: e.Behind, clients: s.Clients, artifacts: s.Artifacts,
		expires: s.Expires.UnixMilli(), eligible: e.Eligible, state: law.Pending, changes: 1, placed: map[placing]struct{}{},
	}
	if err := f.checkParties(o, &s); err != nil {
		return err
	}
	for i, k := range s.Keys {
		if slices.ContainsFunc(s.Keys[:i], func(other law.KeyGrant) bool { return other.Key == k.Key }) {
			return breaks("rule 1", "key %s is named twice", k.Key)
		}
		if err := f.checkKey(o, k, s.Expires.Sub(s.Created).Milliseconds()); err != nil {
			return err
		}
		o.keys = append(o.keys, granted{KeyGrant: k})
	}
	if len(s.Keys) == 0 || len(e.Eligible) != len(s.Keys) {
		return breaks("rules 1 and 3", "it names %d keys, and who is eligible for %d", len(s.Keys), len(e.Eligible))
	}
	f.operations[o.id], f.open[o.id] = o, o
	f.settleLater(o, e.Time)
	return nil
}

// checkParties checks the clients, and who is behind the orderer.
func (f *Fold) checkParties(o *operation, s *law.Statement) error {
	for i, c := range o.clients {
		if c == o.orderer || slices.Contains(o.clients[:i], c) || !f.world.subjects[c].Enabled {
			return breaks("rule 1", "%s cannot be a client of this operation", c)
		}
	}
	issuer, known := f.world.issuers[s.Orderer.Issuer]
	if !known {
		return breaks("rule 1", "issuer %q of the orderer's token is not configured", s.Orderer.Issuer)
	}
	var behind law.SubjectID
	for _, c := range s.Claims {
		if issuer.ActorClaim != "" && c.Name == issuer.ActorClaim && c.Present {
			behind = f.world.actors[law.ActorName{Issuer: issuer.URL, Value: c.Value}]
		}
	}
	switch {
	case o.behind != behind:
		return breaks("rules 1 and 3", "the person behind the orderer is %q, not %q", behind, o.behind)
	case issuer.ActorClaim != "" && !issuer.ActorOptional && !f.world.subjects[behind].Enabled:
		return breaks("rule 1", "claim %s of the orderer's token names no enabled person", issuer.ActorClaim)
	}
	return nil
}

// checkKey checks what a new operation says of one key, and who is eligible for it.
func (f *Fold) checkKey(o *operation, k law.KeyGrant, valid int64) error {
	now, known := f.world.keys[k.Key]
	var eligible []law.SubjectID
	for person := range f.world.approvers[k.Key] {
		if person != o.orderer && person != o.behind && !slices.Contains(o.clients, person) {
			eligible = append(eligible, person)
		}
	}
	slices.Sort(eligible)
	recorded, listed := o.eligible[k.Key]
	digests := func(a law.Artifact) bool { return a.Hash == now.Hash }
	switch {
	case !known || now.State != law.KeyActive || now.Type == law.Root || answers(now):
		return breaks("rule 1", "key %s cannot be used in an operation", k.Key)
	case !f.world.orderers[k.Key].has(o.orderer):
		return breaks("rule 1", "%s has no orderer role on key %s", o.orderer, k.Key)
	case k.Fingerprint != now.Fingerprint || k.Requirement != now.Requirement:
		return breaks("section 4", "fingerprint or requirement of key %s are not those that the key has", k.Key)
	case k.Devices != f.world.devices[k.Key] || k.Profiles != f.world.profiles[k.Key]:
		return breaks("rule 9", "the operation says of key %s that it puts something else into certificates than it does", k.Key)
	case k.MaxUses < 1 || k.MaxUses > now.MaxUses || valid < 1 || valid > now.MaxValidity.Milliseconds():
		return breaks("rule 1", "%d uses within %d ms are beyond the limits of key %s", k.MaxUses, valid, k.Key)
	case now.ArtifactsNeeded && len(o.artifacts) == 0:
		return breaks("rule 1", "key %s needs artifacts, and none is named", k.Key)
	case now.Type == law.Firmware && len(o.artifacts) > 0 && !slices.ContainsFunc(o.artifacts, digests):
		return breaks("rule 1", "no artifact has a digest that key %s could sign", k.Key)
	case !listed || !slices.Equal(recorded, eligible):
		return breaks("rule 3", "eligible for key %s are %v, not %v", k.Key, eligible, recorded)
	case !now.Requirement.MetBy(len(eligible)):
		return breaks("rule 1", "key %s requires more people than are eligible", k.Key)
	}
	return nil
}

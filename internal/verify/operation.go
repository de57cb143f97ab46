package verify

import (
	"fmt"
	"slices"

	"example.org/keyserver/internal/law"
)

// operation is what the log has told of an operation so far. Times are ms UTC.
type operation struct {
	id        law.OperationID
	digest    law.Digest
	orderer   law.SubjectID
	behind    law.SubjectID
	clients   []law.SubjectID
	artifacts []law.Artifact
	expires   int64
	keys      []granted
	eligible  map[law.KeyID][]law.SubjectID // when it was created
	approvals []*approval
	placed    map[placing]struct{}
	state     law.State
	endedAt   int64
	endedBy   law.SubjectID
	reason    string // of its end
	changes   int64  // events that changed it
	seen      bool   // in the database

	// What the configuration and the approvals say, of the world's version weighed.
	weighed   int // 0: never, or not since an approval changed
	gone, met bool
}

// granted is what an operation says of one of its keys, and what became of it.
type granted struct {
	law.KeyGrant
	taken  int  // sign orders accepted
	signed int  // of these, those with a signature
	seen   bool // in the database
}

type approval struct {
	by        law.SubjectID
	covers    []law.KeyID
	at        int64
	withdrawn int64 // 0 while it stands
	seen      bool  // in the database
}

// placing is what a sign order's idempotency key is scoped to within its operation.
type placing struct {
	key            law.KeyID
	who            law.SubjectID
	idempotencyKey string
}

func open(s law.State) bool { return s == law.Pending || s == law.Approved }

// stands is where the operation should stand at a time in a world.
func (o *operation) stands(w *world, at int64) law.State {
	if !open(o.state) {
		return o.state // I6
	}
	if o.weighed != w.version {
		o.weigh(w)
	}
	switch {
	case at >= o.expires: // rule 8
		return law.Expired
	case o.gone: // rule 9
		return law.Revoked
	case o.spent(): // rule 13
		return law.Exhausted
	case o.met:
		return law.Approved
	}
	return law.Pending
}

func (o *operation) unsettled(w *world, at int64) bool { return o.stands(w, at) != o.state }

func (o *operation) unsaid(w *world, at int64) string {
	return fmt.Sprintf("operation %s is %s, though it has just become %s", o.id, o.state, o.stands(w, at))
}

func (o *operation) weigh(w *world) {
	o.weighed, o.gone, o.met = w.version, false, true
	for i := range o.keys {
		then := &o.keys[i]
		now, known := w.keys[then.Key]
		if !known || now.State == law.KeyRevoked || now.Fingerprint != then.Fingerprint || w.devices[then.Key] != then.Devices {
			o.gone = true
		}
		n := o.quorum(w, then.Key)
		if now.State != law.KeyActive || !w.orderers[then.Key].has(o.orderer) || !then.Requirement.MetBy(n) || !now.Requirement.MetBy(n) {
			o.met = false
		}
	}
}

// quorum is the size of Q(o,k,t) of I3. It goes through people, not approvals, so that nobody counts twice.
func (o *operation) quorum(w *world, key law.KeyID) int {
	n := 0
	for _, person := range o.eligible[key] {
		a := o.approvalOf(person)
		if a != nil && slices.Contains(a.covers, key) && w.approvers[key].has(person) {
			n++
		}
	}
	return n
}

// approvalOf is the approval of that person that stands, nil if there is none.
func (o *operation) approvalOf(person law.SubjectID) *approval {
	for _, a := range o.approvals {
		if a.by == person && a.withdrawn == 0 {
			return a
		}
	}
	return nil
}

// judgedBy lists the keys for which the person is eligible (rule 3).
func (o *operation) judgedBy(person law.SubjectID, w *world) []law.KeyID {
	var keys []law.KeyID
	for i := range o.keys {
		k := o.keys[i].Key
		if slices.Contains(o.eligible[k], person) && w.approvers[k].has(person) {
			keys = append(keys, k)
		}
	}
	return keys
}

// seenBy says for whom the operation exists.
func (o *operation) seenBy(who law.SubjectID, w *world) bool {
	if !w.subjects[who].Enabled {
		return false
	}
	for i := range o.keys {
		if w.approvers[o.keys[i].Key].has(who) {
			return true
		}
	}
	return o.party(who) || w.viewers.has(who)
}

// party says who may place sign orders.
func (o *operation) party(who law.SubjectID) bool {
	return who == o.orderer || slices.Contains(o.clients, who)
}

func (o *operation) key(id law.KeyID) *granted {
	for i := range o.keys {
		if o.keys[i].Key == id {
			return &o.keys[i]
		}
	}
	return nil
}

func (o *operation) spent() bool {
	for i := range o.keys {
		if o.keys[i].signed < o.keys[i].MaxUses {
			return false
		}
	}
	return true
}

func (o *operation) used() bool {
	for i := range o.keys {
		if o.keys[i].taken > 0 {
			return true
		}
	}
	return false
}

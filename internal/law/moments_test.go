package law_test

import (
	"slices"

	"example.org/keyserver/internal/law"
)

// moment is one step of a random schedule.
type moment struct {
	verb          string
	who           law.SubjectID
	before, after stage
	refusal       *law.Refusal
}

// moments are the events that the random schedules must reach: rare ones, and those where the popular
// shortcuts go wrong.
var moments = []struct {
	name string
	saw  func(moment) bool
}{
	{"created", func(m moment) bool { return m.did(law.DidCreate) }},
	{"approved automatically", func(m moment) bool { return m.verb == "create" && m.did(law.DidMeet) }},
	{"creation refused: forbidden", func(m moment) bool { return m.refused("create", law.Forbidden) }},
	{"creation refused: impossible", func(m moment) bool { return m.refused("create", law.Impossible) }},
	{"creation refused: clock held", func(m moment) bool { return m.refused("create", law.Held) }},
	{"approved by one person", func(m moment) bool { return m.did(law.DidApprove) }},
	{"approval that counts for one key of several", func(m moment) bool {
		return m.did(law.DidApprove) && m.before.tale.counts(m.who, m.before) < len(m.before.op.Keys)
	}},
	{"approval that is not enough", func(m moment) bool { return m.did(law.DidApprove) && m.after.op.Recorded == law.Pending }},
	{"approval that is enough", func(m moment) bool { return m.did(law.DidApprove) && m.did(law.DidMeet) }},
	{"approval refused: not visible", func(m moment) bool { return m.refused("approve", law.NotFound) }},
	{"approval refused: the orderer", func(m moment) bool { return m.refused("approve", law.Forbidden) && m.who == m.before.tale.orderer }},
	{"approval refused: the person behind", func(m moment) bool { return m.refused("approve", law.Forbidden) && m.who == m.before.tale.behind }},
	{"approval refused: a client", func(m moment) bool {
		return m.refused("approve", law.Forbidden) && slices.Contains(m.before.op.Clients, m.who)
	}},
	{"approval refused: not eligible at creation", func(m moment) bool {
		t := m.before.tale
		return m.refused("approve", law.Forbidden) && !t.users[m.who] && m.who != t.behind && m.before.set.plain.approver(m.who, t)
	}},
	{"approval refused: a second one", func(m moment) bool { return m.refused("approve", law.Duplicate) }},
	{"approval refused: wrong digest", func(m moment) bool { return m.refused("approve", law.WrongDigest) }},
	{"approval refused: wrong state", func(m moment) bool { return m.refused("approve", law.WrongState) }},
	{"approval refused: clock held", func(m moment) bool { return m.refused("approve", law.Held) }},
	{"withdrawn", func(m moment) bool { return m.did(law.DidWithdraw) }},
	{"withdrawn, which made it pending", func(m moment) bool { return m.did(law.DidWithdraw) && m.did(law.DidLapse) }},
	{"withdrawn, then approved again", func(m moment) bool {
		return m.did(law.DidApprove) && slices.ContainsFunc(m.before.op.Approvals, func(a law.Approval) bool { return a.By == m.who })
	}},
	{"withdrawn while the clock is held", func(m moment) bool { return m.did(law.DidWithdraw) && m.before.held }},
	{"withdrawal refused: it was used", func(m moment) bool {
		return m.refused("withdraw", law.WrongState) && m.before.open() != "" && m.before.tale.yes(m.who) != nil
	}},
	{"rejected", func(m moment) bool { return m.did(law.DidReject) }},
	{"rejected after approval", func(m moment) bool { return m.did(law.DidReject) && m.before.open() == law.Approved }},
	{"rejected by who approved it", func(m moment) bool { return m.did(law.DidReject) && m.before.tale.yes(m.who) != nil }},
	{"rejected while the clock is held", func(m moment) bool { return m.did(law.DidReject) && m.before.held }},
	{"rejection refused: it was used", func(m moment) bool { return m.refused("reject", law.WrongState) && m.before.open() != "" }},
	{"revoked by somebody", func(m moment) bool { return m.verb == "revoke" && m.did(law.DidRevoke) }},
	{"revoked after signatures", func(m moment) bool { return m.did(law.DidRevoke) && m.order(law.OrderSigned) }},
	{"revoked while an attempt runs", func(m moment) bool { return m.did(law.DidRevoke) && m.order(law.OrderRunning) }},
	{"revoked what is revoked", func(m moment) bool {
		return m.verb == "revoke" && m.refusal == nil && m.before.op.Recorded == law.Revoked
	}},
	{"revoked while the clock is held", func(m moment) bool { return m.verb == "revoke" && m.did(law.DidRevoke) && m.before.held }},
	{"revoked by a key that is revoked", func(m moment) bool { return m.verb == "configure" && m.did(law.DidRevoke) && !m.replaced() }},
	{"revoked by a key that is replaced", func(m moment) bool { return m.verb == "configure" && m.did(law.DidRevoke) && m.replaced() }},
	{"lapsed by the configuration", func(m moment) bool { return m.verb == "configure" && m.did(law.DidLapse) }},
	{"lapsed after use", func(m moment) bool { return m.did(law.DidLapse) && m.before.tale.used() }},
	{"approved again by the configuration", func(m moment) bool { return m.verb == "configure" && m.did(law.DidMeet) }},
	{"approved again after use", func(m moment) bool { return m.did(law.DidMeet) && m.before.tale.used() }},
	{"kept pending by a requirement that was lowered since", func(m moment) bool { return m.refused("place", law.WrongState) && m.enough(false) }},
	{"kept pending by a requirement that was raised since", func(m moment) bool { return m.refused("place", law.WrongState) && m.enough(true) }},
	{"expired while pending", func(m moment) bool { return m.did(law.DidExpire) && m.before.op.Recorded == law.Pending }},
	{"expired while approved", func(m moment) bool { return m.did(law.DidExpire) && m.before.op.Recorded == law.Approved }},
	{"expired while an attempt ran", func(m moment) bool { return m.did(law.DidExpire) && m.order(law.OrderRunning) }},
	{"expired at its very instant", func(m moment) bool { return m.did(law.DidExpire) && m.after.now.Equal(m.before.op.Expires) }},
	{"expired by an accepted clock", func(m moment) bool { return m.verb == "accept clock" && m.did(law.DidExpire) }},
	{"expiry met by a verb that is refused", func(m moment) bool { return m.refusal != nil && m.did(law.DidExpire) }},
	{"order accepted", func(m moment) bool { return m.did(law.DidAcceptOrder) }},
	{"order accepted from a client", func(m moment) bool { return m.did(law.DidAcceptOrder) && m.who != m.before.tale.orderer }},
	{"order accepted for a named artifact", func(m moment) bool { return m.did(law.DidAcceptOrder) && len(m.before.op.Artifacts) > 0 }},
	{"second use of a key", func(m moment) bool {
		return m.did(law.DidAcceptOrder) && m.after.orders[len(m.after.orders)-1].Use == 2
	}},
	{"order refused: forbidden", func(m moment) bool { return m.refused("place", law.Forbidden) }},
	{"order refused: not visible", func(m moment) bool { return m.refused("place", law.NotFound) }},
	{"order refused: key not covered", func(m moment) bool { return m.refused("place", law.NotCovered) }},
	{"order refused: a CA key", func(m moment) bool { return m.refused("place", law.Impossible) }},
	{"order refused: input does not fit", func(m moment) bool { return m.refused("place", law.InputMisfit) }},
	{"order refused: clock held", func(m moment) bool { return m.refused("place", law.Held) }},
	{"order refused: uses taken", func(m moment) bool { return m.refused("place", law.WrongState) && m.after.op.Recorded == law.Approved }},
	{"order refused: idempotency key with another input", func(m moment) bool { return m.refused("place", law.KeyReused) }},
	{"attempt after a failure", func(m moment) bool { return m.did(law.DidAttemptOrder) && m.latest(law.OrderFailed) }},
	{"attempt after one that was cut off", func(m moment) bool { return m.did(law.DidAttemptOrder) && m.latest(law.OrderRunning) }},
	{"third attempt", func(m moment) bool { return m.did(law.DidAttemptOrder) && m.after.permit.Attempt() == 3 }},
	{"attempt refused, as the operation has ended", func(m moment) bool {
		return m.refused("place", law.WrongState) && m.after.tale.end() != "" && m.order(law.OrderFailed)
	}},
	{"signature fetched again", func(m moment) bool { return m.fetched(law.OrderSigned) }},
	{"signature fetched after the end", func(m moment) bool { return m.fetched(law.OrderSigned) && m.after.tale.end() != "" }},
	{"told that an attempt runs", func(m moment) bool { return m.fetched(law.OrderRunning) }},
	{"signed", func(m moment) bool { return m.did(law.DidSignOrder) }},
	{"signed after expiry", func(m moment) bool { return m.did(law.DidSignOrder) && m.after.op.Recorded == law.Expired }},
	{"signed while lapsed", func(m moment) bool { return m.did(law.DidSignOrder) && m.before.open() == law.Pending }},
	{"failed", func(m moment) bool { return m.did(law.DidFailOrder) }},
	{"withheld", func(m moment) bool { return m.did(law.DidWithhold) }},
	{"result refused: not of the latest attempt", func(m moment) bool {
		return m.refused("complete", law.Superseded) || m.refused("fail", law.Superseded)
	}},
	{"exhausted", func(m moment) bool { return m.did(law.DidExhaust) }},
	{"exhausted with two keys", func(m moment) bool { return m.did(law.DidExhaust) && len(m.after.op.Keys) > 1 }},
	{"exhausted while lapsed", func(m moment) bool { return m.did(law.DidExhaust) && m.before.open() == law.Pending }},
}

func (m moment) did(kind law.ChangeKind) bool {
	return slices.ContainsFunc(m.after.did, func(c law.Change) bool { return c.Kind == kind })
}

func (m moment) refused(verb string, kind law.RefusalKind) bool {
	return m.verb == verb && m.refusal != nil && m.refusal.Kind == kind
}

// order says whether the operation had a sign order in this state.
func (m moment) order(s law.OrderState) bool {
	return slices.ContainsFunc(m.before.orders, func(r law.Order) bool { return r.State == s })
}

// latest says in which state the order was before the attempt that has now begun.
func (m moment) latest(s law.OrderState) bool {
	return slices.ContainsFunc(m.before.orders, func(r law.Order) bool { return r.ID == m.after.permit.Order() && r.State == s })
}

// fetched says that asking for an order again gave it back in this state.
func (m moment) fetched(s law.OrderState) bool {
	return m.verb == "place" && m.refusal == nil && !m.after.permit.Granted() && m.order(s)
}

// replaced says whether a key of the operation has another key pair now.
func (m moment) replaced() bool {
	return slices.ContainsFunc(m.after.op.Keys, func(k law.KeyGrant) bool { return m.after.set.plain.keys[k.Key].Fingerprint != k.Fingerprint })
}

// enough says whether the people who approved are enough by the requirements then (or those now) alone,
// and nothing else is in the way.
func (m moment) enough(then bool) bool {
	now, t := m.before.set.plain, m.before.tale
	for k := range t.uses {
		need := now.keys[k].Requirement.People()
		if then {
			need = t.born.keys[k].Requirement.People()
		}
		if t.quorum(k, now) < need || !now.mayOrder[k][t.orderer] || now.keys[k].State != law.KeyActive {
			return false
		}
	}
	return m.before.open() == law.Pending
}

// counts is for how many keys the person's approval would count.
func (b tale) counts(who law.SubjectID, s stage) int {
	sum := 0
	for k := range b.uses {
		if b.judges(who, k, s.set.plain) {
			sum++
		}
	}
	return sum
}

// approver says whether the person has an approver role on a key of the operation.
func (p *plain) approver(who law.SubjectID, b tale) bool {
	for k := range b.uses {
		if p.mayApprove[k][who] {
			return true
		}
	}
	return false
}

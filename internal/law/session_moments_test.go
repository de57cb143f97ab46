package law_test

import (
	"time"

	"example.org/keyserver/internal/law"
)

// sessionMoment is one step of a session in a random schedule.
type sessionMoment struct {
	verb          string
	who           law.SubjectID
	before, after planned
	others        []planned
	refusal       *law.Refusal
}

// operationMoment is what became of an operation when the configuration changed, or when an administrator approved it.
type operationMoment struct {
	who           law.SubjectID // empty: the configuration changed
	before, after stage
}

func inSession(saw func(sessionMoment) bool) func(any) bool {
	return func(m any) bool { s, ok := m.(sessionMoment); return ok && saw(s) }
}

func inOperation(saw func(operationMoment) bool) func(any) bool {
	return func(m any) bool { o, ok := m.(operationMoment); return ok && saw(o) }
}

// sessionMoments are the events that the random schedules of administration must reach.
var sessionMoments = []struct {
	name string
	saw  func(any) bool
}{
	{"opened", inSession(func(m sessionMoment) bool { return m.did(law.DidOpenSession) })},
	{"opened with a plan", inSession(func(m sessionMoment) bool { return m.did(law.DidOpenSession) && m.after.told.plan != "" })},
	{"opening refused: forbidden", inSession(func(m sessionMoment) bool { return m.refused("open", law.Forbidden) })},
	{"opening refused: clock held", inSession(func(m sessionMoment) bool { return m.refused("open", law.Held) })},
	{"opening refused: too many", inSession(func(m sessionMoment) bool { return m.refused("open", law.WrongState) })},
	{"authorised and active", inSession(func(m sessionMoment) bool { return m.did(law.DidAuthoriseSession) && m.did(law.DidActivateSession) })},
	{"authorised, and not enough", inSession(func(m sessionMoment) bool {
		return m.did(law.DidAuthoriseSession) && m.after.s.Recorded == law.SessionInactive
	})},
	{"authorised while active", inSession(func(m sessionMoment) bool {
		return m.did(law.DidAuthoriseSession) && m.before.s.Recorded == law.SessionActive
	})},
	{"authorised again after withdrawing", inSession(func(m sessionMoment) bool {
		n := 0
		for _, a := range m.after.s.Authorisations {
			if a.By == m.who {
				n++
			}
		}
		return m.did(law.DidAuthoriseSession) && n > 1
	})},
	{"authorising refused: not visible", inSession(func(m sessionMoment) bool { return m.refused("authorise", law.NotFound) })},
	{"authorising refused: an auditor", inSession(func(m sessionMoment) bool { return m.refused("authorise", law.Forbidden) })},
	{"authorising refused: twice", inSession(func(m sessionMoment) bool { return m.refused("authorise", law.Duplicate) })},
	{"authorising refused: another digest", inSession(func(m sessionMoment) bool { return m.refused("authorise", law.WrongDigest) })},
	{"authorising refused: ended", inSession(func(m sessionMoment) bool { return m.refused("authorise", law.WrongState) })},
	{"authorising refused: clock held", inSession(func(m sessionMoment) bool { return m.refused("authorise", law.Held) })},
	{"withdrawn", inSession(func(m sessionMoment) bool { return m.did(law.DidRecallSession) })},
	{"withdrawn by the opener", inSession(func(m sessionMoment) bool { return m.did(law.DidRecallSession) && m.who == m.after.s.OpenedBy.Subject })},
	{"withdrawn after a lapse", inSession(func(m sessionMoment) bool { return m.did(law.DidRecallSession) && !m.after.s.Activated.IsZero() })},
	{"withdrawing refused: active", inSession(func(m sessionMoment) bool {
		return m.refused("withdraw", law.WrongState) && m.after.s.Recorded == law.SessionActive
	})},
	{"closed", inSession(func(m sessionMoment) bool { return m.verb == "close" && m.did(law.DidCloseSession) })},
	{"closed by who did not authorise it", inSession(func(m sessionMoment) bool {
		return m.verb == "close" && m.did(law.DidCloseSession) && !m.after.told.voices()[m.who]
	})},
	{"closed twice", inSession(func(m sessionMoment) bool {
		return m.verb == "close" && m.refusal == nil && !m.did(law.DidCloseSession)
	})},
	{"lapsed because somebody counts no longer", inSession(func(m sessionMoment) bool {
		return m.did(law.DidLapseSession) && len(m.after.told.heard(m.after.set.plain)) < m.after.s.Required
	})},
	{"lapsed because more are required", inSession(func(m sessionMoment) bool {
		return m.did(law.DidLapseSession) && len(m.after.told.heard(m.after.set.plain)) >= m.after.s.Required
	})},
	{"active again", inSession(func(m sessionMoment) bool {
		return m.did(law.DidActivateSession) && !m.before.s.Activated.IsZero()
	})},
	{"fewer are required than when it was opened", inSession(func(m sessionMoment) bool {
		return m.after.s.Required > m.after.set.facts.Administration().Administrators && !m.after.s.Recorded.Final()
	})},
	{"expired without having been active", inSession(func(m sessionMoment) bool {
		return m.did(law.DidExpireSession) && m.after.s.Activated.IsZero() && m.verb != "accept clock"
	})},
	{"expired while active", inSession(func(m sessionMoment) bool {
		return m.did(law.DidExpireSession) && m.before.s.Recorded == law.SessionActive && m.verb != "accept clock"
	})},
	{"expired while lapsed", inSession(func(m sessionMoment) bool {
		return m.did(law.DidExpireSession) && m.before.s.Recorded == law.SessionInactive && !m.before.s.Activated.IsZero() && m.verb != "accept clock"
	})},
	{"ended with an accepted clock", inSession(func(m sessionMoment) bool { return m.verb == "accept clock" && m.did(law.DidExpireSession) })},
	{"changed", inSession(func(m sessionMoment) bool { return m.after.next != nil && m.after.told.plan == "" })},
	{"changed at the last millisecond", inSession(func(m sessionMoment) bool {
		return m.after.next != nil && m.after.told.deadline().Sub(m.after.now) <= time.Millisecond
	})},
	{"changed by who authorised it third", inSession(func(m sessionMoment) bool {
		a := m.after.s.Authorisations
		return m.after.next != nil && len(a) > 2 && a[2].By == m.who
	})},
	{"changed while two sessions are active", inSession(func(m sessionMoment) bool {
		n := 0
		for _, s := range m.others {
			if s.s.Recorded == law.SessionActive {
				n++
			}
		}
		return m.after.next != nil && n > 1
	})},
	{"changed so that it no longer is active itself", inSession(func(m sessionMoment) bool {
		return m.verb == "settle" && m.did(law.DidLapseSession) && m.before.next != nil
	})},
	{"a plan was applied", inSession(func(m sessionMoment) bool { return m.did(law.DidApplyPlan) })},
	{"a plan was tried and not applied", inSession(func(m sessionMoment) bool {
		return m.after.next != nil && m.after.told.plan != "" && !m.did(law.DidApplyPlan)
	})},
	{"a plan is made against another configuration", inSession(func(m sessionMoment) bool {
		return m.refused("change", law.WrongState) && m.after.told.plan != ""
	})},
	{"a plan would be applied twice", inSession(func(m sessionMoment) bool { return m.verb == "change" && m.refusal != nil && m.before.applied > 0 })},
	{"another plan", inSession(func(m sessionMoment) bool {
		return m.refused("change", law.Forbidden) && m.after.told.lets(m.who, m.after.set, m.after.now, m.after.held)
	})},
	{"a plan without sense", inSession(func(m sessionMoment) bool { return m.refused("change", law.Impossible) && m.after.told.plan != "" })},
	{"a change without sense", inSession(func(m sessionMoment) bool { return m.refused("change", law.Impossible) && m.after.told.plan == "" })},
	{"a change in a session that is inactive", inSession(func(m sessionMoment) bool {
		return m.refused("change", law.Forbidden) && m.after.s.Recorded == law.SessionInactive && m.after.told.heard(m.after.set.plain)[m.who]
	})},
	{"a change in a session that has lapsed", inSession(func(m sessionMoment) bool {
		return m.refused("change", law.Forbidden) && m.after.s.Recorded == law.SessionInactive && !m.after.s.Activated.IsZero()
	})},
	{"a change in a session that has expired", inSession(func(m sessionMoment) bool {
		return m.refused("change", law.Forbidden) && m.after.s.Recorded == law.SessionExpired && m.after.told.heard(m.after.set.plain)[m.who]
	})},
	{"a change in a session of others", inSession(func(m sessionMoment) bool {
		return m.refused("change", law.Forbidden) && m.after.s.Recorded == law.SessionActive && !m.after.told.voices()[m.who] && m.after.set.plain.boss[m.who]
	})},
	{"a change by who counts no longer", inSession(func(m sessionMoment) bool {
		return m.verb == "change" && m.refusal != nil && m.after.told.voices()[m.who] && !m.after.set.plain.boss[m.who]
	})},
	{"a change while the clock is held", inSession(func(m sessionMoment) bool { return m.refused("change", law.Held) })},

	{"an operation lapsed by a change", inOperation(func(m operationMoment) bool { return m.happened(law.DidLapse) })},
	{"an operation ended by a change", inOperation(func(m operationMoment) bool { return m.happened(law.DidRevoke) })},
	{"an operation that a change has put back", inOperation(func(m operationMoment) bool { return m.who == "" && m.happened(law.DidMeet) })},
	{"a requirement that was lowered, and would have released a pending operation", inOperation(func(m operationMoment) bool {
		return m.after.op.Recorded == law.Pending && m.free(false)
	})},
	{"an approver who was added too late, and would have released a pending operation", inOperation(func(m operationMoment) bool {
		return m.who != "" && m.after.refusal != nil && m.after.refusal.Kind == law.Forbidden && m.after.op.Recorded == law.Pending && m.free(true)
	})},
	{"a lowered requirement that was put back under a pending operation", inOperation(func(m operationMoment) bool {
		lower := func(s stage) bool {
			for k := range s.tale.uses {
				if s.set.plain.keys[k].Requirement.People() < s.tale.born.keys[k].Requirement.People() {
					return true
				}
			}
			return false
		}
		return m.who == "" && lower(m.before) && !lower(m.after) && m.after.op.Recorded == law.Pending
	})},
}

func (m sessionMoment) did(kind law.ChangeKind) bool {
	for _, c := range m.after.did {
		if c.Kind == kind {
			return true
		}
	}
	return false
}

func (m sessionMoment) refused(verb string, kind law.RefusalKind) bool {
	return m.verb == verb && m.refusal != nil && m.refusal.Kind == kind
}

func (m operationMoment) happened(kind law.ChangeKind) bool {
	for _, c := range m.after.did {
		if c.Kind == kind {
			return true
		}
	}
	return false
}

// free says whether the operation would be approved if only the present counted; with the yes of who has just been
// refused, if that is said.
func (m operationMoment) free(also bool) bool {
	s := m.after
	now := s.set.plain
	for k := range s.tale.uses {
		n := 0
		for who := range now.mayApprove[k] {
			if now.mayApprove[k][who] && !s.tale.users[who] && who != s.tale.behind && (s.tale.yes(who) != nil || also && who == m.who) {
				n++
			}
		}
		if n < now.keys[k].Requirement.People() || now.keys[k].State != law.KeyActive || !now.mayOrder[k][s.tale.orderer] {
			return false
		}
	}
	return true
}

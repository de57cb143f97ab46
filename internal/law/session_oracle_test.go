package law_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.org/keyserver/internal/law"
)

// The oracle of administration sessions. As that of operations it never asks the law: it keeps minutes of what was said
// in a session, and works out by sets of people where the session stands and who may do what.

// minutes is what a bystander wrote down about one session. It is never changed, only continued.
type minutes struct {
	plan     law.Digest
	base     int64 // how often the configuration had changed when it was opened
	required int
	active   time.Duration
	opened   time.Time
	latest   *line
}

type line struct {
	what    saying
	who     law.SubjectID
	at      time.Time
	end     law.SessionState
	earlier *line
}

type saying int

const (
	gaveYes saying = iota
	tookYes
	wasActive // for the first time
	wasOver
)

func (m minutes) and(l line) minutes {
	l.earlier = m.latest
	m.latest = &l
	return m
}

// last finds the latest line of the kind, nil if there is none.
func (m minutes) last(what saying) *line {
	for l := m.latest; l != nil; l = l.earlier {
		if l.what == what {
			return l
		}
	}
	return nil
}

// voices is the set of people whose yes stands.
func (m minutes) voices() map[law.SubjectID]bool {
	said, yes := map[law.SubjectID]bool{}, map[law.SubjectID]bool{}
	for l := m.latest; l != nil; l = l.earlier { // from the latest to the earliest
		if l.what <= tookYes && !said[l.who] {
			said[l.who] = true
			if l.what == gaveYes {
				yes[l.who] = true
			}
		}
	}
	return yes
}

// heard is the set of those whose yes counts under a configuration.
func (m minutes) heard(on *plain) map[law.SubjectID]bool {
	heard := map[law.SubjectID]bool{}
	for who := range m.voices() {
		if on.boss[who] {
			heard[who] = true
		}
	}
	return heard
}

// enough is how many it takes.
func (m minutes) enough(set *scene) int {
	now := set.cfg.Administration.Administrators
	if now == 0 {
		now = 2
	}
	if now > m.required {
		return now
	}
	return m.required
}

func (m minutes) deadline() time.Time {
	if l := m.last(wasActive); l != nil {
		return l.at.Add(m.active)
	}
	return m.opened.Add(24 * time.Hour)
}

// stands is where the session should stand.
func (m minutes) stands(set *scene, at time.Time) law.SessionState {
	switch l := m.last(wasOver); {
	case l != nil:
		return l.end
	case at.Compare(m.deadline()) >= 0:
		return law.SessionExpired
	case len(m.heard(set.plain)) >= m.enough(set):
		return law.SessionActive
	}
	return law.SessionInactive
}

// caughtUp writes down what has come about.
func (m minutes) caughtUp(set *scene, at time.Time) minutes {
	switch st := m.stands(set, at); {
	case st == law.SessionActive && m.last(wasActive) == nil:
		return m.and(line{what: wasActive, at: at})
	case st == law.SessionExpired && m.last(wasOver) == nil:
		return m.and(line{what: wasOver, end: st})
	}
	return m
}

func (m minutes) open(set *scene, at time.Time) bool {
	st := m.stands(set, at)
	return st == law.SessionInactive || st == law.SessionActive
}

// lets says whether somebody may act in the session.
func (m minutes) lets(who law.SubjectID, set *scene, at time.Time, held bool) bool {
	return !held && m.stands(set, at) == law.SessionActive && m.heard(set.plain)[who]
}

// A sitting is one session in front of the oracle, as a stage is one operation. The error of a step is a broken
// invariant, never a refusal.
type sitting struct {
	set     *scene
	held    bool
	now     time.Time
	changed int64 // how often the configuration has
	s       law.Session
	born    law.SessionStatement
	digest  law.Digest
	told    minutes
	seal    string

	// Of the latest step:
	did     []law.Change
	refusal *law.Refusal
	next    *law.Configuration // what a change leads to
}

func (s sitting) facts() law.Facts {
	f := s.set.facts
	f.ClockHeld = s.held
	return f
}

// convened is the first step of a session. The law opens it exactly when the oracle says that it may be.
func convened(set *scene, held bool, who law.SubjectID, ask law.SessionAsk, now time.Time, changed int64) (sitting, error) {
	s := sitting{set: set, held: held, now: now, changed: changed, told: minutes{plan: ask.Plan, base: changed, opened: now}}
	s.told.required = s.told.enough(set)
	s.told.active = set.cfg.Administration.Active
	if s.told.active == 0 {
		s.told.active = time.Hour
	}
	ask.Base = changed
	out, err := law.OpenSession(law.Principal{Subject: who, Issuer: people, Sub: string(who)}, ask, s.facts(), now)
	may := set.plain.boss[who] && !held && ask.Open < 10
	if (err == nil) != may {
		return s, fmt.Errorf("opening: the law says %v, but it may be: %v", err, may)
	}
	if errors.As(err, &s.refusal) {
		return s, nil
	}
	s.told = s.told.and(line{what: gaveYes, who: who})
	s.born, s.digest = out.Session.SessionStatement, out.Session.Digest()
	return s.goOn(out)
}

// at moves the sitting to another time and configuration without letting the session know.
func (s sitting) at(set *scene, now time.Time, held bool, changed int64) sitting {
	s.set, s.now, s.held, s.changed, s.did, s.refusal, s.next = set, now, held, changed, nil, nil, nil
	return s
}

func (s sitting) settled() (sitting, error) {
	return s.step("", s.s.Settle(s.facts(), s.now), nil, true)
}

func (s sitting) clockAccepted() (sitting, error) {
	out := s.s.AcceptClock(s.now)
	if s.told.last(wasOver) == nil {
		s.told = s.told.and(line{what: wasOver, end: law.SessionExpired})
	}
	return s.goOn(out)
}

func (s sitting) authorise(who law.SubjectID, right bool) (sitting, error) {
	d := s.digest
	if !right {
		d = "0" + d[1:] + "x"
	}
	may := s.set.plain.boss[who] && !s.held && right && s.told.open(s.set, s.now) && !s.told.voices()[who]
	out, err := s.s.Authorise(who, d, s.facts(), s.now)
	return s.step(who, out, err, may, line{what: gaveYes, who: who})
}

func (s sitting) recall(who law.SubjectID) (sitting, error) {
	may := s.set.plain.watcher[who] && s.told.stands(s.set, s.now) == law.SessionInactive && s.told.voices()[who]
	out, err := s.s.Withdraw(who, s.facts(), s.now)
	return s.step(who, out, err, may, line{what: tookYes, who: who})
}

func (s sitting) close(who law.SubjectID) (sitting, error) {
	out, err := s.s.Close(who, s.facts(), s.now)
	if s.told.stands(s.set, s.now) == law.SessionClosed {
		return s.step(who, out, err, s.set.plain.boss[who])
	}
	return s.step(who, out, err, s.set.plain.boss[who] && s.told.open(s.set, s.now), line{what: wasOver, end: law.SessionClosed})
}

func (s sitting) act(who law.SubjectID) (sitting, error) {
	out, err := s.s.Act(who, s.facts(), s.now)
	return s.step(who, out, err, s.told.lets(who, s.set, s.now, s.held))
}

// change tries a change of the configuration: it is made exactly if the person may act in the session, it is what the
// session was authorised for, and it makes sense, of which the oracle has no opinion.
func (s sitting) change(who law.SubjectID, c law.Changes, plan law.Digest, pairs map[law.KeyID]law.KeyPair) (sitting, error) {
	told := s.told.caughtUp(s.set, s.now)
	may := told.lets(who, s.set, s.now, s.held) && plan == told.plan && (plan == "" || s.changed == told.base)
	out, next, err := s.s.Change(who, c, plan, s.changed, pairs, law.Mode{}, s.facts(), s.now)
	var r *law.Refusal
	if may && errors.As(err, &r) && r.Kind == law.Impossible {
		may = false
	}
	if err != nil && len(next.Subjects) > 0 {
		return s, errors.New("a refused change left a configuration")
	}
	var after sitting
	var broken error
	if plan != "" && pairs != nil {
		after, broken = s.step(who, out, err, may, line{what: wasOver, end: law.SessionClosed})
	} else {
		after, broken = s.step(who, out, err, may)
	}
	if err == nil {
		after.next = &next
	}
	return after, broken
}

// step judges what a verb did: it was allowed exactly when it may be, a refusal changed nothing but what had to be
// settled, nobody hears of a session who must not, and the rest as in goOn.
func (s sitting) step(who law.SubjectID, out law.SessionOutcome, err error, may bool, news ...line) (sitting, error) {
	if sealOfSession(s.s) != s.seal {
		return s, errors.New("the session was changed in place")
	}
	s.refusal, s.next = nil, nil
	if err != nil && !errors.As(err, &s.refusal) {
		return s, fmt.Errorf("not a refusal: %w", err)
	}
	if (err == nil) != may {
		return s, fmt.Errorf("the law says %v, but it may be: %v", err, may)
	}
	if r := s.refusal; r != nil && (r.Kind == law.NotFound) == s.set.plain.watcher[who] {
		return s, fmt.Errorf("%q is told %q", who, r.Reason)
	}
	s.told = s.told.caughtUp(s.set, s.now)
	if !may {
		news = nil
	}
	for _, c := range out.Changes {
		if !may && c.By != "" {
			return s, fmt.Errorf("refused (%v), but %s happened", err, c.Kind)
		}
	}
	for _, l := range news {
		s.told = s.told.and(l)
	}
	return s.goOn(out)
}

// goOn takes over what a verb left: the session is the fold of what happened, along the arrows, and stands where the
// oracle says.
func (s sitting) goOn(out law.SessionOutcome) (sitting, error) {
	state, yes := s.s.Recorded, standing(s.s)
	for _, c := range out.Changes {
		to := state
		switch c.Kind {
		case law.DidOpenSession:
			to = law.SessionInactive
			yes[c.By] = true
		case law.DidAuthoriseSession:
			yes[c.By] = true
		case law.DidRecallSession:
			delete(yes, c.By)
		case law.DidActivateSession:
			to = law.SessionActive
		case law.DidLapseSession:
			to = law.SessionInactive
		case law.DidExpireSession:
			to = law.SessionExpired
		case law.DidCloseSession:
			to = law.SessionClosed
		case law.DidApplyPlan:
			if state != law.SessionActive {
				return s, fmt.Errorf("a plan was applied in a session that is %s", state)
			}
		default:
			return s, fmt.Errorf("change %q is unknown", c.Kind)
		}
		if to != state && !slices.Contains(sessionArrows[state], to) {
			return s, fmt.Errorf("%s became %s", state, to)
		}
		state = to
	}
	if out.Session.Recorded != state || !sameSet(standing(out.Session), yes) {
		return s, fmt.Errorf("what happened %+v leads to %s %v, but the session is %+v", out.Changes, state, yes, out.Session)
	}
	s.s, s.did = out.Session, out.Changes
	s.told = s.told.caughtUp(s.set, s.now)
	s.seal = sealOfSession(s.s)
	return s, s.agrees()
}

// agrees compares the session with the minutes.
func (s sitting) agrees() error {
	want := s.told.stands(s.set, s.now)
	counted := map[law.SubjectID]bool{}
	for _, who := range s.s.Counted(s.facts()) {
		if counted[who] {
			return fmt.Errorf("%s counts twice", who)
		}
		counted[who] = true
	}
	var since time.Time
	if l := s.told.last(wasActive); l != nil {
		since = l.at
	}
	switch {
	case s.s.Recorded != want || s.s.State(s.facts(), s.now) != want:
		return fmt.Errorf("recorded as %s and judged %s; it should be %s", s.s.Recorded, s.s.State(s.facts(), s.now), want)
	case !sameSet(counted, s.told.heard(s.set.plain)):
		return fmt.Errorf("counted are %v; heard are %v", counted, s.told.heard(s.set.plain))
	case s.s.Needed(s.facts()) != s.told.enough(s.set):
		return fmt.Errorf("it takes %d, not %d", s.told.enough(s.set), s.s.Needed(s.facts()))
	case !s.s.Activated.Equal(since) || !s.s.Ends().Equal(s.told.deadline()):
		return fmt.Errorf("active since %s until %s; it should be since %s until %s", s.s.Activated, s.s.Ends(), since, s.told.deadline())
	case s.s.SessionStatement != s.born:
		return errors.New("what its digest is taken over has changed")
	case want.Final() == s.s.Ending.At.IsZero():
		return fmt.Errorf("it is %s, and ended %+v", want, s.s.Ending)
	}
	return nil
}

var sessionArrows = map[law.SessionState][]law.SessionState{
	"":                  {law.SessionInactive},
	law.SessionInactive: {law.SessionActive, law.SessionClosed, law.SessionExpired},
	law.SessionActive:   {law.SessionInactive, law.SessionClosed, law.SessionExpired},
}

func standing(s law.Session) map[law.SubjectID]bool {
	yes := map[law.SubjectID]bool{}
	for _, a := range s.Authorisations {
		if a.Withdrawn.IsZero() {
			yes[a.By] = true
		}
	}
	return yes
}

func sameSet(a, b map[law.SubjectID]bool) bool {
	for who := range a {
		if !b[who] {
			return false
		}
	}
	return len(a) == len(b)
}

// sealOfSession writes down everything in a session that a verb could change.
func sealOfSession(s law.Session) string {
	b := make([]byte, 0, 256)
	text := func(s string) { b = append(append(b, s...), 0) }
	when := func(t time.Time) { b = binary.AppendVarint(b, t.UnixNano()) }
	text(string(s.Recorded))
	text(string(s.Ending.By))
	text(s.Ending.Reason)
	when(s.Ending.At)
	when(s.Activated)
	b = binary.AppendVarint(b, s.Base)
	for _, a := range s.Authorisations {
		text(string(a.By))
		when(a.At)
		when(a.Withdrawn)
	}
	return string(b)
}

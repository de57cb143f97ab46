package law_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"

	"pgregory.net/rapid"
)

// Random schedules of administration: several sessions over one configuration, whose changes really change it, and the
// administrators themselves; operations wait for approval meanwhile. The oracles of sessions and of operations judge
// every step. Every rare event of session_moments_test.go must be reached.
func TestRandomSchedulesOfAdministration(t *testing.T) {
	const stepsPerSchedule = 500 // times 100 schedules, rapid's default
	fixSeed(t)
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		h := newHall(t, seen)
		for range stepsPerSchedule {
			h.step()
		}
	})
	var counts []string
	for _, m := range sessionMoments {
		counts = append(counts, fmt.Sprintf("%7d %s", seen[m.name], m.name))
		if seen[m.name] == 0 && !t.Failed() {
			t.Errorf("never reached: %s", m.name)
		}
	}
	t.Logf("reached\n%s", strings.Join(counts, "\n"))
}

// hall is the larger world of operations with administrators who have the say in it.
type hall struct {
	*bigWorld
	met      map[string]int // rare events
	sessions []planned
	opened   int
	changed  int64 // how often the configuration has
}

// planned is a session with the changes of its plan, if it has one.
type planned struct {
	sitting
	changes law.Changes
	applied int
}

var bosses = []law.SubjectID{"ada", "bert", "dora", "zoe"} // who are administrators now and then

func newHall(t *rapid.T, seen map[string]int) *hall {
	h := &hall{bigWorld: newBigWorld(t, nil), met: seen}
	member("administrators", "bert", true)(&h.cfg)
	member("administrators", "dora", true)(&h.cfg)
	var err error
	if h.set, err = newScene(h.cfg); err != nil {
		t.Fatal(err)
	}
	return h
}

var sessionSteps = []struct {
	weight int
	take   func(*hall)
}{
	{6, (*hall).open},
	{14, (*hall).authorise},
	{3, (*hall).recall},
	{1, (*hall).close},
	{2, (*hall).act},
	{18, (*hall).change},
	{2, (*hall).disable},
	{4, (*hall).mend},
	{6, (*hall).pass},
	{1, (*hall).clockBack},
	{2, (*hall).acceptClock},
	{7, (*hall).create},
	{7, (*hall).approve},
	{6, (*hall).cunning},
	{3, (*hall).place},
}

func (h *hall) step() {
	sum := 0
	for _, s := range sessionSteps {
		sum += s.weight
	}
	n := h.below(sum, "step")
	for _, s := range sessionSteps {
		if n -= s.weight; n < 0 {
			s.take(h)
			break
		}
	}
	for _, o := range h.ops {
		h.easy(o)
	}
}

// easy fails if an operation is approved that would not be by the rules of the day it was created: whatever has been
// changed since has made it easier.
func (h *hall) easy(o stage) {
	if o.op.Recorded != law.Approved {
		return
	}
	for k := range o.tale.uses {
		people := map[law.SubjectID]bool{}
		for _, a := range o.op.Approvals {
			if a.Withdrawn.IsZero() && o.tale.born.mayApprove[k][a.By] && !o.tale.users[a.By] && a.By != o.tale.behind {
				people[a.By] = true
			}
		}
		if need := o.tale.born.keys[k].Requirement.People(); len(people) < need {
			h.t.Fatalf("operation %s is approved with %v for key %s, which took %d when it was created", o.op.ID, people, k, need)
		}
	}
}

func (h *hall) open() {
	now, held := h.bigWorld.now()
	who := h.boss()
	s := planned{}
	ask := law.SessionAsk{Server: "test", ID: law.SessionID(fmt.Sprintf("session-%d", h.opened)), Nonce: "00", Description: "d"}
	for _, o := range h.sessions {
		if o.s.OpenedBy.Subject == who && !o.s.Recorded.Final() {
			ask.Open++
		}
	}
	if h.below(20, "too many") == 0 {
		ask.Open = law.MaxOpenSessions
	}
	if h.below(2, "with a plan") == 0 {
		s.changes = h.proposal()
		s.changes.ReplacePairs = nil
		ask.Plan = law.Digest(fmt.Sprintf("%x", digestOf(string(ask.ID))))
	}
	h.opened++
	var err error
	s.sitting, err = convened(h.set, held, who, ask, now, h.changed)
	h.see(sessionMoment{verb: "open", who: who, after: s}, err)
	if s.refusal == nil {
		h.sessions = append(h.sessions, s)
	}
	if len(h.sessions) > 6 {
		i := max(0, slices.IndexFunc(h.sessions, func(s planned) bool { return s.s.Recorded.Final() }))
		h.sessions = slices.Delete(h.sessions, i, i+1)
	}
}

// boss draws an administrator, or now and then just anybody.
func (h *hall) boss() law.SubjectID {
	if h.below(10, "anybody") == 0 {
		return pick(h.bigWorld, "who", anybody)
	}
	return pick(h.bigWorld, "administrator", bosses)
}

// any draws a session, mostly one that is open; there is none if it is negative.
func (h *hall) any() int {
	var open []int
	for i, s := range h.sessions {
		if !s.s.Recorded.Final() {
			open = append(open, i)
		}
	}
	switch {
	case len(h.sessions) == 0:
		return -1
	case len(open) == 0 || h.below(8, "also ended ones") == 0:
		return h.below(len(h.sessions), "session")
	}
	return pick(h.bigWorld, "open session", open)
}

// on takes a step with one of the sessions, and returns what it was and has become.
func (h *hall) on(verb string, who law.SubjectID, i int, take func(sitting) (sitting, error)) sessionMoment {
	m := sessionMoment{verb: verb, who: who, before: h.sessions[i], others: h.sessions}
	now, held := h.bigWorld.now()
	after, err := take(m.before.at(h.set, now, held, h.changed))
	h.sessions[i].sitting = after
	m.after = h.sessions[i]
	h.see(m, err)
	return m
}

func (h *hall) authorise() {
	if i := h.any(); i >= 0 {
		who, right := h.boss(), h.below(12, "wrong digest") > 0
		h.on("authorise", who, i, func(s sitting) (sitting, error) { return s.authorise(who, right) })
	}
}

func (h *hall) recall() {
	if i := h.any(); i >= 0 {
		who := h.boss()
		h.on("withdraw", who, i, func(s sitting) (sitting, error) { return s.recall(who) })
	}
}

func (h *hall) close() {
	if i := h.any(); i >= 0 {
		who := h.boss()
		h.on("close", who, i, func(s sitting) (sitting, error) { return s.close(who) })
	}
}

func (h *hall) act() {
	if i := h.any(); i >= 0 {
		who := h.boss()
		h.on("act", who, i, func(s sitting) (sitting, error) { return s.act(who) })
	}
}

// change tries to change the configuration in a session. What is allowed is made.
func (h *hall) change() {
	i := h.any()
	if i < 0 {
		return
	}
	s, who := h.sessions[i], h.boss()
	plan, c := s.told.plan, s.changes
	if plan == "" {
		c = h.proposal()
	}
	if h.below(12, "another plan") == 0 {
		plan = pick(h.bigWorld, "plan", []law.Digest{"", aPlan})
	}
	pairs := map[law.KeyID]law.KeyPair{}
	for _, id := range c.ReplacePairs {
		pairs[id] = made(fmt.Sprintf("%s-%d", id, h.changed), h.set.plain.keys[id].Version+1)
	}
	if h.below(10, "a trial") == 0 {
		pairs = nil
	}
	m := h.on("change", who, i, func(s sitting) (sitting, error) { return s.change(who, c, plan, pairs) })
	if m.after.next != nil && pairs != nil {
		h.witness(m, plan)
		h.sessions[i].applied++
		h.apply(*m.after.next)
	}
}

// witness is the invariant in other words: every change of the configuration was made in a session that at that instant
// had enough distinct enabled administrators, within its time, by one of them, and with a plan only the plan, against
// the configuration it was made for, once.
func (h *hall) witness(m sessionMoment, plan law.Digest) {
	now, held := h.bigWorld.now()
	s := m.before.s
	people := map[law.SubjectID]bool{}
	for _, a := range s.Authorisations {
		for _, r := range h.cfg.Roles {
			on := slices.ContainsFunc(h.cfg.Subjects, func(x law.Subject) bool { return x.ID == a.By && x.Enabled && x.Kind == law.User })
			if a.Withdrawn.IsZero() && r.Kind == law.Administrator && slices.Contains(r.Members, a.By) && on {
				people[a.By] = true
			}
		}
	}
	configured := h.cfg.Administration.Administrators
	if configured == 0 {
		configured = 2
	}
	since := s.Activated
	if since.IsZero() { // it has just become active
		since = now
	}
	switch {
	case len(people) < configured || len(people) < s.Required || len(people) < 2 || !people[m.who]:
		h.t.Fatalf("%s changes the configuration in a session of %v, which takes %d or %d", m.who, people, s.Required, configured)
	case held || s.Recorded.Final() || now.Sub(since) >= s.Active:
		h.t.Fatalf("the configuration is changed at %s in session %+v", now, s)
	case s.Plan != plan || plan != "" && (s.Base != h.changed || m.before.applied > 0):
		h.t.Fatalf("after %d changes, plan %q is applied in session %+v", h.changed, plan, s)
	}
}

// apply takes a new configuration over, and everything open is judged again.
func (h *hall) apply(c law.Configuration) {
	set, err := newScene(c)
	if err != nil {
		h.t.Fatalf("the law made a configuration that cannot be: %v", err)
	}
	h.cfg, h.set = c, set
	h.changed++
	now, held := h.bigWorld.now()
	before := slices.Clone(h.ops)
	h.each("configure", func(s stage) (stage, error) { return s.at(set, now, held).settled() })
	for i := range h.ops {
		h.meet(operationMoment{before: before[i], after: h.ops[i]})
	}
	for i := range h.sessions {
		h.on("settle", "", i, sitting.settled)
	}
}

// disable is the way without a session: it takes an administrator, and leads in the safe direction only.
func (h *hall) disable() {
	who, c := h.boss(), law.Configuration{}
	c.Subjects, c.Keys = slices.Clone(h.cfg.Subjects), slices.Clone(h.cfg.Keys)
	var changes law.Changes
	var err error
	if h.below(2, "a key") == 0 {
		i := h.below(len(c.Keys), "key")
		changes, err = h.set.facts.DisableKey(who, c.Keys[i].ID)
		if c.Keys[i].State == law.KeyActive {
			c.Keys[i].State = law.KeyDisabled
		}
	} else {
		i := h.below(len(c.Subjects), "subject")
		changes, err = h.set.facts.DisableSubject(who, c.Subjects[i].ID)
		c.Subjects[i].Enabled = false
	}
	if !h.set.plain.boss[who] {
		if err == nil {
			h.t.Fatalf("%s disables without being an administrator", who)
		}
		return
	}
	if err != nil || changes.Empty() {
		return
	}
	after := h.cfg
	after.Subjects, after.Keys = c.Subjects, c.Keys
	for _, s := range changes.Set.Subjects {
		if i := slices.IndexFunc(after.Subjects, func(o law.Subject) bool { return o.ID == s.ID }); s.Enabled || after.Subjects[i].Enabled {
			h.t.Fatalf("disabling made %+v of %+v", s, after.Subjects[i])
		}
	}
	h.apply(after)
}

// mend gives the world its administrators and approvers back when there are too few to go on. No law is asked: it is as
// if another world began in which the sessions and operations are known.
func (h *hall) mend() {
	active := 0
	for who := range h.set.plain.boss {
		if h.set.plain.on[who] {
			active++
		}
	}
	if active > 2 && h.below(6, "nevertheless") > 0 {
		return
	}
	whole := newHall(h.t, nil).cfg
	for i := range whole.Keys {
		if whole.Keys[i].ID == h.cfg.Keys[i].ID {
			whole.Keys[i] = whole.Keys[i].With(h.cfg.Keys[i].Pair())
		}
	}
	slices.SortFunc(whole.Keys, func(a, b law.Key) int { return strings.Compare(string(a.ID), string(b.ID)) })
	h.apply(whole)
}

// proposal draws a change of the configuration.
func (h *hall) proposal() law.Changes {
	c := h.cfg
	c.Subjects, c.Keys, c.Roles = slices.Clone(c.Subjects), slices.Clone(c.Keys), slices.Clone(c.Roles)
	subject := func(who law.SubjectID, on bool) law.Changes {
		switched(who, on)(&c)
		i := slices.IndexFunc(c.Subjects, func(s law.Subject) bool { return s.ID == who })
		return law.Changes{Set: law.Configuration{Subjects: c.Subjects[i : i+1]}}
	}
	role := func(id law.RoleID, who law.SubjectID, in bool) law.Changes {
		member(id, who, in)(&c)
		i := slices.IndexFunc(c.Roles, func(r law.Role) bool { return r.ID == id })
		return law.Changes{Set: law.Configuration{Roles: c.Roles[i : i+1]}}
	}
	ofKey := func(id law.KeyID, change func(*law.Key)) law.Changes {
		i := slices.IndexFunc(c.Keys, func(k law.Key) bool { return k.ID == id })
		change(&c.Keys[i])
		return law.Changes{Set: law.Configuration{Keys: c.Keys[i : i+1]}}
	}
	id, boss := pick(h.bigWorld, "key", allKeys), pick(h.bigWorld, "administrator", bosses)
	if i := h.bigWorld.any(); i >= 0 && h.below(2, "a key that is asked for") == 0 {
		id = pick(h.bigWorld, "key of it", h.ops[i].op.Keys).Key
	}
	switch h.below(16, "proposal") {
	case 0:
		return subject(boss, false)
	case 1, 2:
		return subject(pick(h.bigWorld, "subject", anybody), true)
	case 3, 4:
		return role("administrators", boss, false)
	case 5, 6:
		return role("administrators", boss, true)
	case 7:
		return law.Changes{Set: law.Configuration{Administration: law.Administration{Administrators: 2 + h.below(2, "more")}}}
	case 8, 9, 10:
		return ofKey(id, func(k *law.Key) { k.Requirement = law.Require(h.below(3, "requirement")) })
	case 11, 12:
		return role(pick(h.bigWorld, "role", []law.RoleID{"approvers-prod", "approvers-test"}), boss, h.below(4, "out") > 0)
	case 13:
		return ofKey(id, func(k *law.Key) { k.State = pick(h.bigWorld, "state", []law.KeyState{law.KeyActive, law.KeyDisabled}) })
	case 14:
		if h.below(4, "replace") == 0 {
			return law.Changes{ReplacePairs: []law.KeyID{id}}
		}
	}
	return law.Changes{RemoveRoles: []law.RoleID{"administrators"}} // after which nobody could administer
}

// cunning lets an administrator approve an operation, of whom many were made approvers only after it was created.
func (h *hall) cunning() {
	i := h.bigWorld.any()
	if i < 0 {
		return
	}
	who := pick(h.bigWorld, "administrator", bosses)
	before := h.ops[i]
	h.bigWorld.on("approve", who, i, func(s stage) (stage, error) { return s.approve(who, true) })
	h.meet(operationMoment{who: who, before: before, after: h.ops[i]})
}

// pass lets time pass: a little, or until a session ends, or all but.
func (h *hall) pass() {
	next := h.raw.Add(time.Duration(1+h.below(60, "seconds")) * time.Second)
	if i := h.any(); i >= 0 && h.below(6, "long") == 0 {
		end := h.sessions[i].told.deadline()
		if long := end.Sub(h.raw); long > 0 && (long < 2*time.Hour || h.below(3, "a day") == 0) {
			next = end.Add(-time.Duration(h.below(2, "just before")) * time.Millisecond)
		}
	}
	h.tick(next)
}

func (h *hall) clockBack() {
	h.tick(h.raw.Add(-pick(h.bigWorld, "by", []time.Duration{time.Second, time.Minute})))
}

// tick moves the time on without telling the sessions, which must be judged rightly all the same.
func (h *hall) tick(raw time.Time) {
	h.bigWorld.tick(raw)
	now, held := h.bigWorld.now()
	for i, s := range h.sessions {
		h.sessions[i].sitting = s.at(h.set, now, held, h.changed)
		if got, want := s.s.State(h.set.facts, now), s.told.stands(h.set, now); got != want {
			h.t.Fatalf("session %s is judged %s; it should be %s", s.s.ID, got, want)
		}
	}
}

func (h *hall) acceptClock() {
	if _, held := h.bigWorld.now(); !held {
		return
	}
	h.bigWorld.acceptClock()
	for i := range h.sessions {
		h.on("accept clock", "", i, sitting.clockAccepted)
	}
}

func (h *hall) create()  { h.bigWorld.create() }
func (h *hall) approve() { h.bigWorld.approve() }
func (h *hall) place()   { h.bigWorld.place() }

// see fails the test if the oracle has found an invariant broken, and counts the rare events.
func (h *hall) see(m sessionMoment, err error) {
	if err != nil {
		h.t.Fatalf("%s by %q: %v\nsession %+v", m.verb, m.who, err, m.before.s)
	}
	m.refusal = m.after.refusal
	h.meet(m)
}

func (h *hall) meet(m any) {
	for _, event := range sessionMoments {
		if event.saw(m) {
			h.met[event.name]++
		}
	}
}

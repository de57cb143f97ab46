package law_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// The model test of administration sessions visits every state that a session of a small world can reach, and takes
// from each every step there is: everybody tries every verb, administrators are disabled, lose the role and get it
// back, more of them are required and fewer again, the configuration is changed by somebody else, and the time goes on
// to the last millisecond. The oracle judges every step: no change of the configuration without enough distinct enabled
// administrators at that moment.

func TestModelOfASessionWithoutAPlan(t *testing.T) {
	exploreSession(t, "", []law.ChangeKind{
		law.DidAuthoriseSession, law.DidRecallSession, law.DidActivateSession, law.DidLapseSession, law.DidCloseSession, law.DidExpireSession,
	})
}

func TestModelOfASessionWithAPlan(t *testing.T) {
	exploreSession(t, aPlan, []law.ChangeKind{
		law.DidAuthoriseSession, law.DidRecallSession, law.DidActivateSession, law.DidLapseSession, law.DidCloseSession, law.DidExpireSession,
		law.DidApplyPlan,
	})
}

func takesAdministrators(n int) func(*law.Configuration) {
	return func(c *law.Configuration) { c.Administration.Administrators = n }
}

var sessionKnobs = []knob{
	{switched("ada", true), switched("ada", false)},
	{member("administrators", "bert", true), member("administrators", "bert", false)},
	{takesAdministrators(2), takesAdministrators(3)},
}

var sessionPeople = []law.SubjectID{"ada", "bert", "dora", "otto", "zoe"} // three administrators, an auditor, and somebody

type sessionNode struct {
	sitting
	knobs [3]uint8
}

type sessionExplorer struct {
	t      *testing.T
	base   *council
	scenes map[[3]uint8]*scene
	seen   map[string]bool
	queue  []sessionNode
	trail  []mark
	done   int
	edges  int
	states map[law.SessionState]int
	did    map[law.ChangeKind]int
	made   int // changes of the configuration
}

func exploreSession(t *testing.T, plan law.Digest, reached []law.ChangeKind) {
	e := sessionExplorer{
		t: t, base: newCouncil(t), scenes: map[[3]uint8]*scene{}, seen: map[string]bool{}, states: map[law.SessionState]int{}, did: map[law.ChangeKind]int{},
	}
	first := sessionNode{}
	s, err := convened(e.scene(first.knobs), false, "ada", law.SessionAsk{Server: "test", ID: "s", Nonce: "00", Description: "d", Plan: plan}, monday, 5)
	if err != nil || s.refusal != nil {
		t.Fatal(err, s.refusal)
	}
	first.sitting = s
	e.visit(first, "opened", -1)
	for ; len(e.queue) > 0; e.done++ {
		n := e.queue[0]
		e.queue[0] = sessionNode{}
		e.queue = e.queue[1:]
		e.people(n)
		e.surroundings(n)
	}
	t.Logf("%d states, %d edges, %d changes of the configuration; by the session's state: %v", len(e.trail), e.edges, e.made, e.states)
	for _, c := range reached {
		if e.did[c] == 0 {
			t.Errorf("%s never happened", c)
		}
	}
	if e.made == 0 {
		t.Error("the configuration never changed")
	}
}

func (e *sessionExplorer) edge(what string, next sessionNode, err error) {
	e.edges++
	if err != nil {
		e.t.Fatalf("%v, after\n%s", err, e.story(what))
	}
	for _, c := range next.did {
		e.did[c.Kind]++
	}
	e.visit(next, what, e.done)
}

func (e *sessionExplorer) visit(n sessionNode, by string, from int) {
	if k := n.name(); !e.seen[k] {
		e.seen[k] = true
		e.states[n.s.Recorded]++
		e.queue = append(e.queue, n)
		e.trail = append(e.trail, mark{from, by})
	}
}

func (e *sessionExplorer) story(last string) string {
	steps := []string{last}
	for i := e.done; i >= 0; i = e.trail[i].from {
		steps = append(steps, e.trail[i].by)
	}
	slices.Reverse(steps)
	return strings.Join(steps, "\n")
}

// people takes the steps of people: each tries every verb.
func (e *sessionExplorer) people(n sessionNode) {
	try := func(what string, who law.SubjectID) func(sitting, error) {
		return func(s sitting, err error) { e.edge(what+string(who), sessionNode{s, n.knobs}, err) }
	}
	try("settle", "")(n.settled())
	for _, who := range sessionPeople {
		try("authorise by ", who)(n.authorise(who, true))
		try("authorise with a wrong digest by ", who)(n.authorise(who, false))
		try("withdraw by ", who)(n.recall(who))
		try("close by ", who)(n.close(who))
		try("act by ", who)(n.act(who))
		for _, plan := range []law.Digest{"", aPlan, law.Digest(strings.Repeat("cd", 32))} {
			for _, pairs := range []map[law.KeyID]law.KeyPair{nil, noPairs} {
				s, err := n.change(who, e.base.rename("olga"), plan, pairs)
				if s.next != nil && pairs != nil {
					e.made++
					s.changed = 6 // that it has changed is all that matters
				}
				try(fmt.Sprintf("change by plan %.2q (a trial: %v) by ", plan, pairs == nil), who)(s, err)
			}
		}
	}
}

// surroundings takes the steps of everything around the session: its configuration and the clock.
func (e *sessionExplorer) surroundings(n sessionNode) {
	for i, k := range sessionKnobs {
		for v := range k {
			if knobs := n.knobs; int(knobs[i]) != v {
				knobs[i] = uint8(v)
				s, err := n.at(e.scene(knobs), n.now, n.held, 6).settled()
				e.edge(fmt.Sprintf("knob %d to %d", i, v), sessionNode{s, knobs}, err)
			}
		}
	}
	e.tick("somebody else changes the configuration", n, n.now, n.held, 6)
	end := n.told.deadline()
	for what, to := range map[string]time.Time{
		"some time passes": n.now.Add(10 * time.Minute), "to the last millisecond": end.Add(-time.Millisecond), "to the end": end,
	} {
		if to.After(n.now) && (to.Before(monday.Add(20*time.Minute)) || what != "some time passes") {
			e.tick(what, n, to, n.held, n.changed)
		}
	}
	e.tick("the clock goes back", n, n.now, true, n.changed)
	if n.held {
		e.tick("the clock comes back", n, n.now, false, n.changed)
		s, err := n.at(n.set, monday, false, n.changed).clockAccepted()
		e.edge("clock accepted", sessionNode{s, n.knobs}, err)
	}
}

// tick changes what is around the session without telling it, and it must be judged rightly all the same.
func (e *sessionExplorer) tick(what string, n sessionNode, to time.Time, held bool, changed int64) {
	next := sessionNode{n.at(n.set, to, held, changed), n.knobs}
	var err error
	if got, want := next.s.State(next.facts(), to), next.told.stands(next.set, to); got != want {
		err = fmt.Errorf("judged %s; it should be %s", got, want)
	}
	e.edge(what, next, err)
}

func (e *sessionExplorer) scene(knobs [3]uint8) *scene {
	if s, ok := e.scenes[knobs]; ok {
		return s
	}
	c := e.base.cfg
	c.Subjects, c.Roles = slices.Clone(c.Subjects), slices.Clone(c.Roles)
	for i, k := range sessionKnobs {
		k[knobs[i]](&c)
	}
	s, err := newScene(c)
	if err != nil {
		e.t.Fatal(err)
	}
	e.scenes[knobs] = s
	return s
}

// name is the same for two nodes exactly when nothing that can still happen tells them apart.
func (n sessionNode) name() string {
	if n.s.Recorded.Final() { // whatever came before
		return fmt.Sprint(n.knobs, n.held, n.s.Recorded)
	}
	var yes []string
	for who := range standing(n.s) {
		yes = append(yes, string(who))
	}
	slices.Sort(yes)
	return fmt.Sprint(n.knobs, n.held, n.now.UnixMilli(), n.changed, n.s.Recorded, n.s.Activated.UnixMilli(), yes)
}

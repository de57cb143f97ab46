package law_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// council is the small world with three administrators (ada, bert and dora), an auditor (otto), and one administration
// session at a time.
type council struct {
	*world
	s       law.Session // the latest
	changed int64       // how often the configuration has
}

func newCouncil(t testing.TB) *council {
	w := newWorld(t)
	w.members("administrators", "ada", "bert", "dora")
	return &council{world: w, changed: 7}
}

var ada = law.Principal{Subject: "ada", Issuer: people, Sub: "ada-sub"}

// aPlan is the digest of some plan.
var aPlan = law.Digest(strings.Repeat("ab", 32))

func (c *council) opening(who law.Principal, change func(*law.SessionAsk)) (law.SessionOutcome, error) {
	c.t.Helper()
	ask := law.SessionAsk{Server: "test", ID: "session-1", Nonce: "00ff", Description: "zoe joins the approvers", Base: c.changed}
	if change != nil {
		change(&ask)
	}
	return law.OpenSession(who, ask, c.facts(), c.now)
}

// open opens the session of the test, by ada.
func (c *council) open() {
	c.t.Helper()
	c.does(c.opening(ada, nil))
}

// convene opens the session of the test and lets bert authorise it too, so that it is active.
func (c *council) convene() {
	c.t.Helper()
	c.open()
	c.does(c.authorise("bert"))
	c.stands(law.SessionActive)
}

func (c *council) planned() {
	c.t.Helper()
	c.does(c.opening(ada, func(a *law.SessionAsk) { a.Plan = aPlan }))
	c.does(c.authorise("bert"))
}

func (c *council) authorise(who law.SubjectID) (law.SessionOutcome, error) {
	c.t.Helper()
	return c.s.Authorise(who, c.s.Digest(), c.facts(), c.now)
}

func (c *council) recall(who law.SubjectID) (law.SessionOutcome, error) {
	c.t.Helper()
	return c.s.Withdraw(who, c.facts(), c.now)
}

func (c *council) closing(who law.SubjectID) (law.SessionOutcome, error) {
	c.t.Helper()
	return c.s.Close(who, c.facts(), c.now)
}

func (c *council) act(who law.SubjectID) (law.SessionOutcome, error) {
	c.t.Helper()
	return c.s.Act(who, c.facts(), c.now)
}

// does takes what a verb gave and goes on with it; the verb must not have been refused.
func (c *council) does(out law.SessionOutcome, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("refused: %v", err)
	}
	c.s, c.did = out.Session, out.Changes
}

// denied takes what a verb gave, which must be a refusal of this kind that left nothing but what the session came to
// by itself.
func (c *council) denied(kind law.RefusalKind) func(law.SessionOutcome, error) {
	c.t.Helper()
	return func(out law.SessionOutcome, err error) {
		c.t.Helper()
		wantRefusal(c.t, kind, err)
		if settled := c.s.Settle(c.facts(), c.now); !reflect.DeepEqual(out, settled) {
			c.t.Fatalf("a refusal changed something:\n got %+v\nwant %+v", out, settled)
		}
		c.s, c.did = out.Session, out.Changes
	}
}

// unopened is denied for OpenSession, which leaves nothing at all.
func (c *council) unopened(kind law.RefusalKind) func(law.SessionOutcome, error) {
	c.t.Helper()
	return func(out law.SessionOutcome, err error) {
		c.t.Helper()
		wantRefusal(c.t, kind, err)
		if !reflect.DeepEqual(out, law.SessionOutcome{}) {
			c.t.Fatalf("a refused opening left %+v", out)
		}
	}
}

// stands checks where the session is, as written down and as judged now.
func (c *council) stands(want law.SessionState) {
	c.t.Helper()
	if got := c.s.State(c.facts(), c.now); c.s.Recorded != want || got != want {
		c.t.Fatalf("the session is recorded as %s and judged %s; want %s", c.s.Recorded, got, want)
	}
}

// comesTo lets the world catch up with the session and checks what it came to.
func (c *council) comesTo(want law.SessionState, changes ...law.ChangeKind) {
	c.t.Helper()
	c.does(c.s.Settle(c.facts(), c.now), nil)
	c.stands(want)
	c.happened(changes...)
}

func (c *council) takes(n int) { c.cfg.Administration = law.Administration{Administrators: n} }

func (c *council) pass(d time.Duration) { c.now = c.now.Add(d) }

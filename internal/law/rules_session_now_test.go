package law_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// section 5: who is no longer an enabled administrator counts no longer, at once
func TestASessionLapsesAtOnceWhenAnAdministratorNoLongerCounts(t *testing.T) {
	for name, step := range map[string]struct{ change, undo func(*council) }{
		"disabled":           {func(c *council) { c.enable("bert", false) }, func(c *council) { c.enable("bert", true) }},
		"role taken away":    {func(c *council) { c.leave("administrators", "bert") }, func(c *council) { c.join("administrators", "bert") }},
		"the opener":         {func(c *council) { c.enable("ada", false) }, func(c *council) { c.enable("ada", true) }},
		"more are required":  {func(c *council) { c.takes(3) }, func(c *council) { c.takes(2) }},
		"everybody disabled": {func(c *council) { c.enable("ada", false); c.enable("bert", false) }, func(c *council) { c.enable("ada", true); c.enable("bert", true) }},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCouncil(t)
			c.convene()
			active := c.s.Activated
			c.pass(10 * time.Minute)
			step.change(c)
			for _, who := range []law.SubjectID{"ada", "bert"} {
				if _, err := c.act(who); err == nil {
					t.Fatalf("%s acts in it", who)
				}
			}
			c.comesTo(law.SessionInactive, law.DidLapseSession)
			if !strings.HasPrefix(c.did[0].Reason, "only ") || c.did[0].By != "" {
				t.Errorf("happened: %+v", c.did[0])
			}
			c.pass(10 * time.Minute)
			step.undo(c)
			c.comesTo(law.SessionActive, law.DidActivateSession)
			if !c.s.Activated.Equal(active) || !c.s.Ends().Equal(active.Add(time.Hour)) {
				t.Errorf("active since %s, until %s", c.s.Activated, c.s.Ends())
			}
			c.does(c.act("ada"))
			c.now = active.Add(time.Hour)
			c.denied(law.Forbidden)(c.act("ada"))
			c.happened(law.DidExpireSession)
		})
	}
}

// A session that has lapsed gives no second wait: it expires when its window is over.
func TestASessionThatHasLapsedExpiresWithItsWindow(t *testing.T) {
	c := newCouncil(t)
	c.convene()
	c.enable("bert", false)
	c.comesTo(law.SessionInactive, law.DidLapseSession)
	c.pass(time.Hour - time.Millisecond)
	c.comesTo(law.SessionInactive)
	c.does(c.authorise("dora")) // in the place of bert, for the last millisecond
	c.stands(law.SessionActive)
	c.does(c.act("dora"))
	c.pass(time.Millisecond)
	c.comesTo(law.SessionExpired, law.DidExpireSession)
}

// In a session that has lapsed one can take back what one said, and it is not active again when the others count again.
func TestAnAuthorisationIsWithdrawnFromASessionThatHasLapsed(t *testing.T) {
	c := newCouncil(t)
	c.convene()
	c.enable("bert", false)
	c.does(c.recall("ada"))
	c.happened(law.DidLapseSession, law.DidRecallSession)
	c.enable("bert", true)
	c.comesTo(law.SessionInactive)
}

// section 5: the stricter number of then and now
func TestTheStricterNumberOfAdministratorsHolds(t *testing.T) {
	for _, n := range []struct{ then, now, needed int }{{2, 2, 2}, {2, 3, 3}, {3, 2, 3}, {1, 3, 3}, {3, 1, 3}, {1, 1, 1}} {
		t.Run(fmt.Sprintf("then %d, now %d", n.then, n.now), func(t *testing.T) {
			c := newCouncil(t)
			c.takes(n.then)
			c.open()
			c.takes(n.now)
			given := 1
			for _, who := range []law.SubjectID{"bert", "dora"} {
				if got := c.s.Needed(c.facts()); got != n.needed {
					t.Fatalf("needed: %d", got)
				}
				if given < n.needed {
					c.denied(law.Forbidden)(c.act("ada"))
				}
				c.does(c.authorise(who))
				if given++; given >= n.needed {
					c.does(c.act("ada"))
				}
			}
		})
	}
}

// section 5: half-open, as rule 8 is
func TestASessionExpiresToTheMillisecond(t *testing.T) {
	c := newCouncil(t)
	c.open()
	if !c.s.Ends().Equal(monday.Add(24 * time.Hour)) {
		t.Errorf("it waits until %s", c.s.Ends())
	}
	c.now = c.s.Ends().Add(-time.Nanosecond)
	c.comesTo(law.SessionInactive)
	c.now = c.s.Ends().Add(-time.Millisecond)
	c.does(c.authorise("bert"))
	c.stands(law.SessionActive)
	if want := c.now.Add(time.Hour); !c.s.Ends().Equal(want) {
		t.Errorf("it is active until %s; want %s", c.s.Ends(), want)
	}
	c.now = c.s.Ends().Add(-time.Nanosecond)
	c.does(c.act("ada"))
	c.now = c.s.Ends()
	c.denied(law.Forbidden)(c.act("ada"))
	c.happened(law.DidExpireSession)
	c.stands(law.SessionExpired)
	if c.s.Ending != (law.Ending{At: c.now, Reason: "its time has run out"}) {
		t.Errorf("ended %+v", c.s.Ending)
	}
	c.now = monday // the clock goes back, and it stays expired
	c.comesTo(law.SessionExpired)
	c.denied(law.WrongState)(c.authorise("dora"))
}

func TestASessionThatIsNotAuthorisedInTimeExpires(t *testing.T) {
	c := newCouncil(t)
	c.open()
	c.now = c.s.Ends()
	c.denied(law.WrongState)(c.authorise("bert"))
	c.happened(law.DidExpireSession)
}

// rule 8
func TestAnAcceptedClockEndsEveryOpenSession(t *testing.T) {
	for _, convened := range []bool{false, true} {
		c := newCouncil(t)
		c.open()
		if convened {
			c.does(c.authorise("bert"))
		}
		c.does(c.s.AcceptClock(c.now), nil)
		c.happened(law.DidExpireSession)
		c.stands(law.SessionExpired)
		if c.s.Ending != (law.Ending{At: c.now, Reason: "an operator accepted a clock that went back"}) {
			t.Errorf("ended %+v", c.s.Ending)
		}
		before := c.s
		c.does(c.s.AcceptClock(c.now.Add(time.Hour)), nil)
		c.happened()
		if !reflect.DeepEqual(c.s, before) {
			t.Errorf("accepting again made it %+v", c.s)
		}
	}
}

// AZ-04: what needs a session is refused outside of one, as forbidden
func TestAZ04_NothingIsDoneButInAnActiveSessionByWhoAuthorisedIt(t *testing.T) {
	for name, refusal := range map[string]struct {
		kind   law.RefusalKind
		who    law.SubjectID
		change func(*council)
	}{
		"somebody without a role":               {law.NotFound, "zoe", func(*council) {}},
		"a machine":                             {law.NotFound, "line", func(*council) {}},
		"an auditor":                            {law.Forbidden, "otto", func(*council) {}},
		"an administrator who did not":          {law.Forbidden, "dora", func(*council) {}},
		"an administrator who did not, held":    {law.Forbidden, "dora", func(c *council) { c.held = true }},
		"an administrator who withdrew":         {law.Forbidden, "ada", func(c *council) { c.takes(3); c.does(c.recall("ada")); c.takes(2); c.does(c.authorise("dora")) }},
		"who is disabled":                       {law.NotFound, "ada", func(c *council) { c.enable("ada", false) }},
		"who is an auditor now":                 {law.Forbidden, "ada", func(c *council) { c.leave("administrators", "ada"); c.join("auditors", "ada") }},
		"while the clock is held":               {law.Held, "ada", func(c *council) { c.held = true }},
		"in one that is closed":                 {law.Forbidden, "ada", func(c *council) { c.does(c.closing("dora")) }},
		"in one that has expired":               {law.Forbidden, "ada", func(c *council) { c.pass(time.Hour) }},
		"in one that has lapsed":                {law.Forbidden, "ada", func(c *council) { c.enable("bert", false) }},
		"in one that was ended with the clock":  {law.Forbidden, "ada", func(c *council) { c.does(c.s.AcceptClock(c.now), nil) }},
		"in one that only its opener wants":     {law.Forbidden, "ada", func(c *council) { c.open() }},
		"in one of others":                      {law.Forbidden, "dora", func(*council) {}},
		"in one with a state that nobody knows": {law.Forbidden, "ada", func(c *council) { c.s.Recorded = "open" }},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCouncil(t)
			c.convene()
			refusal.change(c)
			c.denied(refusal.kind)(c.act(refusal.who))
			before := c.s
			_, next, err := c.s.Change(refusal.who, c.rename("zoe"), "", c.changed, nil, law.Mode{}, c.facts(), c.now)
			wantRefusal(t, refusal.kind, err)
			if !reflect.DeepEqual(next, law.Configuration{}) || !reflect.DeepEqual(c.s, before) {
				t.Error("a refused change left something")
			}
		})
	}
}

func TestTheZeroSessionAllowsNothing(t *testing.T) {
	c := newCouncil(t)
	for name, s := range map[string]law.Session{
		"zero":                     {},
		"recorded as active":       {Recorded: law.SessionActive},
		"authorised, no statement": {Recorded: law.SessionActive, Authorisations: []law.Authorisation{{By: "ada"}, {By: "bert"}, {By: "dora"}}},
		"nobody required": {Recorded: law.SessionActive, Activated: c.now, SessionStatement: law.SessionStatement{Opened: c.now, Active: time.Hour},
			Authorisations: []law.Authorisation{{By: "ada"}, {By: "bert"}}},
		"fewer than nobody": {Recorded: law.SessionActive, Activated: c.now, SessionStatement: law.SessionStatement{Opened: c.now, Active: time.Hour, Required: math.MinInt},
			Authorisations: []law.Authorisation{{By: "ada"}, {By: "bert"}}},
		"active for less than no time": {Recorded: law.SessionActive, Activated: c.now, SessionStatement: law.SessionStatement{Opened: c.now, Active: math.MinInt64, Required: 2},
			Authorisations: []law.Authorisation{{By: "ada"}, {By: "bert"}}},
		"nobody authorised it": {Recorded: law.SessionActive, Activated: c.now, SessionStatement: law.SessionStatement{Opened: c.now, Active: time.Hour, Required: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if st := s.State(c.facts(), c.now); st == law.SessionActive {
				t.Errorf("it is %s", st)
			}
			if _, err := s.Act("ada", c.facts(), c.now); err == nil {
				t.Error("an administrator acts in it")
			}
			if st := s.State(law.Facts{}, c.now); st == law.SessionActive {
				t.Errorf("by nobody's configuration it is %s", st)
			}
		})
	}
	var s law.Session
	if !s.Recorded.Final() || law.SessionInactive.Final() || law.SessionActive.Final() || !law.SessionClosed.Final() || !law.SessionExpired.Final() {
		t.Error("the wrong states are final")
	}
	if out := s.Settle(c.facts(), c.now); len(out.Changes) != 0 || out.Session.Recorded != "" {
		t.Errorf("the zero session became %+v", out)
	}
	_, err := s.Authorise("ada", s.Digest(), c.facts(), c.now)
	wantRefusal(t, law.WrongState, err)
	c.convene()
	_, err = c.s.Act("ada", law.Facts{}, c.now)
	wantRefusal(t, law.NotFound, err)
}

// A session is a value, as an operation is: what a verb was asked of stays as it was.
func TestAVerbOfASessionChangesNothingInPlace(t *testing.T) {
	c := newCouncil(t)
	c.takes(3)
	c.open()
	c.s.Authorisations = append(make([]law.Authorisation, 0, 8), c.s.Authorisations...) // room for whoever appends in place
	before, want := c.s, fmt.Sprintf("%+v", c.s)
	c.does(c.authorise("bert"))
	one := c.s
	c.s = before
	c.does(c.authorise("dora"))
	if one.Authorisations[1].By != "bert" {
		t.Error("two sessions share their authorisations")
	}
	c.does(c.recall("ada"))
	if got := fmt.Sprintf("%+v", before); got != want {
		t.Errorf("it was\n%s\nand is\n%s", want, got)
	}
}

// Everybody who sees a session is an administrator or an auditor.
func TestSessionsExistForAdministratorsAndAuditors(t *testing.T) {
	c := newCouncil(t)
	for who, sees := range map[law.SubjectID]bool{"ada": true, "otto": true, "anna": false, "olga": false, "line": false, "zoe": false, "": false} {
		if c.facts().SeesSessions(who) != sees {
			t.Errorf("%s sees sessions: %v", who, !sees)
		}
	}
}

func TestTheWholeConfigurationIsForAdministratorsAndAuditors(t *testing.T) {
	c := newCouncil(t)
	for _, who := range []law.SubjectID{"ada", "otto"} {
		if err := c.facts().ReadConfiguration(who); err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
	for _, who := range []law.SubjectID{"anna", "line", "zoe", ""} {
		wantRefusal(t, law.Forbidden, c.facts().ReadConfiguration(who))
	}
}

func TestAReasonCanBeRead(t *testing.T) {
	if err := law.CheckReason("the laptop was stolen"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", " ", "a\u202eb", strings.Repeat("x", law.MaxReason+1)} {
		wantRefusal(t, law.Impossible, law.CheckReason(bad))
	}
}

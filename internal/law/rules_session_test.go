package law_test

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// section 5
func TestOnlyAnAdministratorOpensASession(t *testing.T) {
	for who, may := range map[law.SubjectID]bool{
		"ada": true, "bert": true, "dora": true, "otto": false, "anna": false, "olga": false, "zoe": false, "line": false, "nobody": false, "": false,
	} {
		c := newCouncil(t)
		by := law.Principal{Subject: who, Issuer: people, Sub: "s"}
		if may {
			c.does(c.opening(by, nil))
		} else {
			c.unopened(law.Forbidden)(c.opening(by, nil))
		}
	}
	c := newCouncil(t)
	c.enable("ada", false)
	c.unopened(law.Forbidden)(c.opening(ada, nil))
	c.enable("ada", true)
	c.leave("administrators", "ada")
	c.unopened(law.Forbidden)(c.opening(ada, nil))
	if _, err := law.OpenSession(ada, law.SessionAsk{Description: "d"}, law.Facts{}, monday); err == nil {
		t.Error("the zero facts let a session be opened")
	}
}

// section 5
func TestWhoOpensASessionHasAuthorisedIt(t *testing.T) {
	c := newCouncil(t)
	c.cfg.Administration = law.Administration{Administrators: 3, Active: 5 * time.Minute}
	c.now = monday.Add(1234567 * time.Nanosecond).In(time.FixedZone("elsewhere", 3600))
	c.does(c.opening(ada, func(a *law.SessionAsk) { a.Plan = aPlan }))
	c.happened(law.DidOpenSession)
	opened := monday.Add(time.Millisecond)
	want := law.Session{
		SessionStatement: law.SessionStatement{
			Server: "test", ID: "session-1", Nonce: "00ff", OpenedBy: ada, Description: "zoe joins the approvers", Plan: aPlan,
			Required: 3, Active: 5 * time.Minute, Opened: opened,
		},
		Base: 7, Authorisations: []law.Authorisation{{By: "ada", At: opened}}, Recorded: law.SessionInactive,
	}
	if !reflect.DeepEqual(c.s, want) || c.did[0].By != "ada" {
		t.Errorf("opened %+v by %s\nwant %+v", c.s, c.did[0].By, want)
	}
	c.stands(law.SessionInactive)
}

// section 5
func TestASessionTakesTwoAdministratorsAndAnHourWhereNothingIsConfigured(t *testing.T) {
	c := newCouncil(t)
	c.open()
	if c.s.Required != 2 || c.s.Active != time.Hour || c.s.Needed(law.Facts{}) != 2 {
		t.Errorf("required: %d for %s; by nobody's configuration %d", c.s.Required, c.s.Active, c.s.Needed(law.Facts{}))
	}
}

// section 5
func TestWhereOneAdministratorIsEnoughASessionIsActiveAtOnce(t *testing.T) {
	c := newCouncil(t)
	c.takes(1)
	c.does(c.opening(ada, nil))
	c.happened(law.DidOpenSession, law.DidActivateSession)
	c.stands(law.SessionActive)
	c.does(c.act("ada"))
	c.takes(2) // and the stricter number holds when it comes
	c.denied(law.Forbidden)(c.act("ada"))
	c.happened(law.DidLapseSession)
}

// section 5, "Development mode"
func TestOneAdministratorIsEnoughInDevelopmentModeOnly(t *testing.T) {
	for n, production := range map[int]bool{0: true, 1: false, 2: true, 3: true} {
		c := newCouncil(t)
		c.takes(n)
		if err := c.facts().MayServe(law.Mode{}); (err == nil) != production {
			t.Errorf("%d administrators in production: %v", n, err)
		}
		if err := c.facts().MayServe(law.Mode{Development: true}); err != nil {
			t.Errorf("%d administrators in development: %v", n, err)
		}
	}
}

func TestASessionThatCannotBeIsNotOpened(t *testing.T) {
	for name, refusal := range map[string]struct {
		kind   law.RefusalKind
		change func(*council, *law.SessionAsk, *law.Principal)
	}{
		"no description": {law.Impossible, func(_ *council, a *law.SessionAsk, _ *law.Principal) { a.Description = "" }},
		"description too long": {law.Impossible, func(_ *council, a *law.SessionAsk, _ *law.Principal) {
			a.Description = strings.Repeat("x", law.MaxDescription+1)
		}},
		"misleading description": {law.Impossible, func(_ *council, a *law.SessionAsk, _ *law.Principal) { a.Description = "a\u202eb" }},
		"plan of nothing known":  {law.Impossible, func(_ *council, a *law.SessionAsk, _ *law.Principal) { a.Plan = "plan" }},
		"plan in capitals":       {law.Impossible, func(_ *council, a *law.SessionAsk, _ *law.Principal) { a.Plan = law.Digest(strings.Repeat("AB", 32)) }},
		"plan a digit short":     {law.Impossible, func(_ *council, a *law.SessionAsk, _ *law.Principal) { a.Plan = aPlan[1:] }},
		"plan and a line":        {law.Impossible, func(_ *council, a *law.SessionAsk, _ *law.Principal) { a.Plan = aPlan + "\n" }},
		"token not in UTF-8":     {law.Impossible, func(_ *council, _ *law.SessionAsk, p *law.Principal) { p.Sub = "\xff" }},
		"in the year 300000": {law.Impossible, func(c *council, _ *law.SessionAsk, _ *law.Principal) {
			c.now = time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC)
		}},
		"clock held":    {law.Held, func(c *council, _ *law.SessionAsk, _ *law.Principal) { c.held = true }},
		"too many open": {law.WrongState, func(_ *council, a *law.SessionAsk, _ *law.Principal) { a.Open = law.MaxOpenSessions }},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCouncil(t)
			who, ask := ada, law.SessionAsk{Server: "test", ID: "session-1", Nonce: "00ff", Description: "d"}
			refusal.change(c, &ask, &who)
			c.unopened(refusal.kind)(c.opening(who, func(a *law.SessionAsk) { *a = ask }))
		})
	}
	c := newCouncil(t)
	c.does(c.opening(ada, func(a *law.SessionAsk) {
		a.Open, a.Description = law.MaxOpenSessions-1, strings.Repeat("x", law.MaxDescription)
	}))
}

func TestWhatAdministrationTakesHasBounds(t *testing.T) {
	for _, c := range []struct {
		a  law.Administration
		ok bool
	}{
		{law.Administration{}, true},
		{law.Administration{Administrators: 1}, true},
		{law.Administration{Administrators: law.MaxAdministrator}, true},
		{law.Administration{Administrators: law.MaxAdministrator + 1}, false},
		{law.Administration{Administrators: -1}, false},
		{law.Administration{Administrators: math.MinInt}, false},
		{law.Administration{Active: time.Second}, true},
		{law.Administration{Active: time.Second - time.Millisecond}, false},
		{law.Administration{Active: law.MaxSessionActive}, true},
		{law.Administration{Active: law.MaxSessionActive + time.Millisecond}, false},
		{law.Administration{Active: -time.Hour}, false},
		{law.Administration{Active: math.MinInt64}, false},
		{law.Administration{Active: time.Minute + time.Microsecond}, false},
	} {
		if err := c.a.Check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.a, err)
		}
		if _, err := law.NewFacts(law.Configuration{Administration: c.a}); (err == nil) != c.ok {
			t.Errorf("facts of %+v: %v", c.a, err)
		}
	}
}

// section 5
func TestASessionIsActiveOnceEnoughAdministratorsHaveAuthorisedIt(t *testing.T) {
	c := newCouncil(t)
	c.takes(3)
	c.open()
	_, err := c.act("ada")
	wantRefusal(t, law.Forbidden, err)
	wantSaid(t, "the session is inactive: 1 of 3 administrators have authorised it", err)
	c.does(c.authorise("bert"))
	c.happened(law.DidAuthoriseSession)
	c.stands(law.SessionInactive)
	c.denied(law.Forbidden)(c.act("bert"))
	c.pass(time.Minute + 5*time.Microsecond)
	c.does(c.authorise("dora"))
	c.happened(law.DidAuthoriseSession, law.DidActivateSession)
	c.stands(law.SessionActive)
	if c.did[0].By != "dora" || c.did[1].By != "" || c.did[1].Reason != "3 of 3 administrators have authorised it" {
		t.Errorf("happened: %+v", c.did)
	}
	if a := c.s.Authorisations; len(a) != 3 || a[2] != (law.Authorisation{By: "dora", At: c.now}) || !c.s.Activated.Equal(monday.Add(time.Minute)) {
		t.Errorf("authorised %+v, active since %s", a, c.s.Activated)
	}
	for _, who := range []law.SubjectID{"ada", "bert", "dora"} {
		c.does(c.act(who))
	}
}

// section 5; the order of refusals gives nothing away
func TestAuthorisingIsRefused(t *testing.T) {
	for name, refusal := range map[string]struct {
		kind   law.RefusalKind
		who    law.SubjectID
		change func(*council)
	}{
		"to who has no role":           {law.NotFound, "zoe", func(c *council) { c.held = true }},
		"to an approver":               {law.NotFound, "anna", func(*council) {}},
		"to a machine":                 {law.NotFound, "line", func(*council) {}},
		"to nobody":                    {law.NotFound, "", func(*council) {}},
		"to who is disabled":           {law.NotFound, "bert", func(c *council) { c.enable("bert", false) }},
		"to who lost the role":         {law.NotFound, "bert", func(c *council) { c.leave("administrators", "bert") }},
		"to an auditor":                {law.Forbidden, "otto", func(c *council) { c.held = true }},
		"while the clock is held":      {law.Held, "bert", func(c *council) { c.held = true }},
		"after it was closed":          {law.WrongState, "bert", func(c *council) { c.does(c.closing("dora")) }},
		"after it expired":             {law.WrongState, "bert", func(c *council) { c.pass(law.SessionWait) }},
		"to who closed it":             {law.WrongState, "ada", func(c *council) { c.does(c.closing("ada")) }},
		"to its opener":                {law.Duplicate, "ada", func(*council) {}},
		"to who has authorised":        {law.Duplicate, "bert", func(c *council) { c.takes(3); c.does(c.authorise("bert")) }},
		"to who has, and it is active": {law.Duplicate, "bert", func(c *council) { c.does(c.authorise("bert")) }},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCouncil(t)
			c.open()
			refusal.change(c)
			c.denied(refusal.kind)(c.s.Authorise(refusal.who, "", c.facts(), c.now))
			c.denied(refusal.kind)(c.authorise(refusal.who))
		})
	}
}

// section 5: an authorisation covers exactly one session, and so its plan
func TestAnAuthorisationNamesTheDigestOfTheSession(t *testing.T) {
	c := newCouncil(t)
	c.does(c.opening(ada, func(a *law.SessionAsk) { a.Plan = aPlan }))
	other := c.s
	other.Plan = law.Digest(strings.Repeat("cd", 32))
	for _, d := range []law.Digest{"", aPlan, other.Digest(), law.Digest(strings.ToUpper(string(c.s.Digest()))), c.s.Digest() + " "} {
		c.denied(law.WrongDigest)(c.s.Authorise("bert", d, c.facts(), c.now))
	}
	c.stands(law.SessionInactive)
}

// section 5
func TestAPersonCountsOnceInASession(t *testing.T) {
	c := newCouncil(t)
	c.open()
	c.s.Authorisations = append(c.s.Authorisations, law.Authorisation{By: "ada", At: c.now}, law.Authorisation{By: "ada", At: c.now})
	c.comesTo(law.SessionInactive)
	if got := c.s.Counted(c.facts()); !slices.Equal(got, []law.SubjectID{"ada"}) {
		t.Errorf("counted: %v", got)
	}
	c.addRole(law.Role{ID: "more-administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada"}})
	c.comesTo(law.SessionInactive)
}

// section 5: whoever authorised it may act in it
func TestAThirdAdministratorAuthorisesAnActiveSessionSoAsToActInIt(t *testing.T) {
	c := newCouncil(t)
	c.convene()
	active := c.s.Activated
	c.denied(law.Forbidden)(c.act("dora"))
	c.pass(time.Minute)
	c.does(c.authorise("dora"))
	c.happened(law.DidAuthoriseSession)
	c.does(c.act("dora"))
	if !c.s.Activated.Equal(active) {
		t.Error("a further authorisation makes it active for longer")
	}
}

// section 5
func TestAnAuthorisationIsWithdrawnWhileTheSessionIsInactive(t *testing.T) {
	c := newCouncil(t)
	c.takes(3)
	c.open()
	c.does(c.authorise("bert"))
	c.held = true // taking back is always safe
	c.does(c.recall("bert"))
	c.happened(law.DidRecallSession)
	if c.did[0].By != "bert" || c.s.Authorisations[0].Stands() == false || c.s.Authorisations[1].Stands() || !c.s.Authorisations[1].Withdrawn.Equal(c.now) {
		t.Errorf("withdrawn by %s: %+v", c.did[0].By, c.s.Authorisations)
	}
	c.denied(law.WrongState)(c.recall("bert"))
	c.held = false
	c.does(c.authorise("dora"))
	c.stands(law.SessionInactive)
	c.does(c.authorise("bert")) // who withdrew gives it again
	c.stands(law.SessionActive)
	if len(c.s.Authorisations) != 4 {
		t.Errorf("authorisations: %+v", c.s.Authorisations)
	}
}

// section 5
func TestTheOpenerWithdrawsAndTheOthersGoOn(t *testing.T) {
	c := newCouncil(t)
	c.open()
	c.does(c.recall("ada"))
	c.stands(law.SessionInactive)
	if n := len(c.s.Counted(c.facts())); n != 0 {
		t.Errorf("%d administrators still count", n)
	}
	c.does(c.authorise("bert"))
	c.stands(law.SessionInactive)
	c.does(c.authorise("dora"))
	c.stands(law.SessionActive)
	c.denied(law.Forbidden)(c.act("ada"))
	c.does(c.authorise("ada"))
	c.does(c.act("ada"))
}

func TestWithdrawingIsRefused(t *testing.T) {
	for name, refusal := range map[string]struct {
		kind   law.RefusalKind
		who    law.SubjectID
		change func(*council)
	}{
		"to who has no role":             {law.NotFound, "zoe", func(*council) {}},
		"to who is disabled":             {law.NotFound, "ada", func(c *council) { c.enable("ada", false) }},
		"to who has not authorised":      {law.WrongState, "bert", func(*council) {}},
		"to an auditor":                  {law.WrongState, "otto", func(*council) {}},
		"in an active session":           {law.WrongState, "ada", func(c *council) { c.does(c.authorise("bert")) }},
		"in one that has become active":  {law.WrongState, "ada", func(c *council) { c.takes(3); c.does(c.authorise("bert")); c.takes(2) }},
		"after it was closed":            {law.WrongState, "ada", func(c *council) { c.does(c.closing("ada")) }},
		"after it expired":               {law.WrongState, "ada", func(c *council) { c.pass(law.SessionWait) }},
		"after an accepted clock":        {law.WrongState, "ada", func(c *council) { c.does(c.s.AcceptClock(c.now), nil) }},
		"to who has withdrawn it before": {law.WrongState, "ada", func(c *council) { c.does(c.recall("ada")) }},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCouncil(t)
			c.open()
			refusal.change(c)
			c.denied(refusal.kind)(c.recall(refusal.who))
		})
	}
}

// An administrator who became an auditor may still take back what he said.
func TestAnAuditorWhoWasAnAdministratorWithdraws(t *testing.T) {
	c := newCouncil(t)
	c.open()
	c.leave("administrators", "ada")
	c.join("auditors", "ada")
	c.does(c.recall("ada"))
	c.happened(law.DidRecallSession)
}

// section 5
func TestAnyAdministratorClosesASession(t *testing.T) {
	for _, convened := range []bool{false, true} {
		for _, who := range []law.SubjectID{"ada", "bert", "dora"} {
			c := newCouncil(t)
			c.open()
			if convened {
				c.does(c.authorise("bert"))
			}
			c.held = true // ending is always safe
			c.does(c.closing(who))
			c.happened(law.DidCloseSession)
			c.stands(law.SessionClosed)
			if c.s.Ending != (law.Ending{At: c.now, By: who, Reason: "closed by hand"}) {
				t.Errorf("ended %+v", c.s.Ending)
			}
			before := c.s
			c.does(c.closing("dora"))
			c.happened()
			if !reflect.DeepEqual(c.s, before) {
				t.Errorf("closing twice made it %+v", c.s)
			}
			c.held = false
			c.denied(law.Forbidden)(c.act("ada"))
			c.pass(48 * time.Hour)
			c.comesTo(law.SessionClosed)
		}
	}
}

func TestClosingIsRefused(t *testing.T) {
	for name, refusal := range map[string]struct {
		kind   law.RefusalKind
		who    law.SubjectID
		change func(*council)
	}{
		"to who has no role":      {law.NotFound, "zoe", func(*council) {}},
		"to who is disabled":      {law.NotFound, "ada", func(c *council) { c.enable("ada", false) }},
		"to an auditor":           {law.Forbidden, "otto", func(*council) {}},
		"to an auditor, twice":    {law.Forbidden, "otto", func(c *council) { c.does(c.closing("ada")) }},
		"after it expired":        {law.WrongState, "ada", func(c *council) { c.pass(law.SessionWait) }},
		"after an accepted clock": {law.WrongState, "ada", func(c *council) { c.does(c.s.AcceptClock(c.now), nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCouncil(t)
			c.open()
			refusal.change(c)
			c.denied(refusal.kind)(c.closing(refusal.who))
		})
	}
}

package webui

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

// office is a small world: two administrators, an auditor, and somebody who may do nothing.
func office(t *testing.T) law.Facts {
	t.Helper()
	subject := func(id law.SubjectID) law.Subject {
		return law.Subject{ID: id, Kind: law.User, Name: strings.ToUpper(string(id)), Enabled: true, Identities: []law.Identity{{Issuer: "https://idp.example", Claims: map[string][]string{"sub": {string(id)}}}}}
	}
	f, err := law.NewFacts(law.Configuration{
		Administration: law.Administration{Administrators: 2, Active: time.Hour},
		Issuers:        []law.Issuer{{URL: "https://idp.example", Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}}},
		Subjects:       []law.Subject{subject("adam"), subject("carol"), subject("dana"), subject("erin")},
		Roles: []law.Role{
			{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"carol", "adam"}},
			{ID: "auditors", Kind: law.Auditor, Members: []law.SubjectID{"erin"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var opened = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// sessionOf is a session that carol opened, as its page has it, and the server and call that show it to who.
func sessionOf(t *testing.T, who law.SubjectID, plan *law.Changes) (*server, *call, *sessionPage) {
	t.Helper()
	f := office(t)
	ask := law.SessionAsk{Server: "server", ID: "session", Nonce: strings.Repeat("0", 64), Description: "for a test"}
	if plan != nil {
		ask.Plan = law.Digest(strings.Repeat("a", 64))
	}
	out, err := law.OpenSession(law.Principal{Subject: "carol", Issuer: "https://idp.example", Sub: "carol"}, ask, f, opened)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Options: Options{Now: func() time.Time { return opened.Add(time.Minute) }}}
	c := &call{facts: f}
	c.Caller.Subject = who
	return s, c, pageOf(out.Session, f, plan, s.Now())
}

func pageOf(l law.Session, f law.Facts, plan *law.Changes, now time.Time) *sessionPage {
	p := &sessionPage{Now: now, Fresh: true, Session: keyserver.Session{
		Session: l, State: l.State(f, now), Digest: l.Digest(), Needed: l.Needed(f), Counted: l.Counted(f), Ends: l.Ends(), Plan: plan,
	}}
	if plan != nil {
		p.Difference = difference(policy.Describe(*plan, law.Configuration{}), 0)
	}
	return p
}

func aPlan() *law.Changes {
	return &law.Changes{Set: law.Configuration{Roles: []law.Role{{ID: "auditors", Kind: law.Auditor, Members: []law.SubjectID{"dana"}}}}}
}

func TestASessionOffersEachOneWhatTheLawAllows(t *testing.T) {
	for _, test := range []struct {
		who  law.SubjectID
		want string // authorise, withdraw, apply, close
	}{
		{"carol", "-w-c"}, {"adam", "a--c"}, {"erin", "----"},
	} {
		s, c, p := sessionOf(t, test.who, aPlan())
		s.sessionOffers(c, p)
		if got := offers(p); got != test.want {
			t.Errorf("%s is offered %s, not %s", test.who, got, test.want)
		}
	}
}

func offers(p *sessionPage) string {
	out := ""
	for i, o := range []offer{p.Authorise, p.Withdraw, p.Apply, p.Close} {
		if o.Action != "" {
			out += "awpc"[i : i+1]
		} else {
			out += "-"
		}
	}
	return out
}

func TestAnActiveSessionOffersToApplyItsPlanToWhoeverAuthorisedIt(t *testing.T) {
	s, c, p := sessionOf(t, "adam", aPlan())
	if does := authorisationDoes(c, p, must[law.SessionOutcome](t)(p.Session.Session.Authorise("adam", p.Digest, c.facts, s.Now())).Session, s.Now()); !strings.Contains(does, "1 change, all that the plan makes") || !strings.Contains(does, "active at once, for 1 hour") {
		t.Errorf("authorising says %q", does)
	}
	for _, plan := range []*law.Changes{aPlan(), nil} {
		s, c, p := sessionOf(t, "adam", plan)
		p = pageOf(must[law.SessionOutcome](t)(p.Session.Session.Authorise("adam", p.Digest, c.facts, s.Now())).Session, c.facts, plan, s.Now())
		s.sessionOffers(c, p)
		want := map[bool]string{true: "--pc", false: "---c"}[plan != nil]
		if got := offers(p); got != want {
			t.Errorf("with plan %v, adam is offered %s, not %s", plan != nil, got, want)
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestASessionSaysWhoCanGiveWhatIsMissing(t *testing.T) {
	_, c, p := sessionOf(t, "erin", nil)
	if got, want := sessionNext(c, p.Session), "It needs 1 more authorisation; adam can give it."; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	p.Needed = 4
	if got, want := sessionNext(c, p.Session), "It needs 3 more authorisations, and only 1 person can give any."; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
}

func TestDisablingAnAdministratorWarnsWhenTooFewWouldBeLeft(t *testing.T) {
	c := &call{facts: office(t)}
	c.Caller.Subject = "carol"
	for id, want := range map[law.SubjectID]int{"adam": 1, "carol": 2, "dana": 0} {
		if got := disablingNotes(c, id); len(got) != want {
			t.Errorf("of %s it says %q", id, got)
		}
	}
}

func TestAFaultOfAPolicyShowsItsLine(t *testing.T) {
	text := "administration: {administrators: 2}\ncolour: blue\n"
	_, err := policy.Parse([]byte(text))
	if err == nil {
		t.Fatal("the policy has no fault")
	}
	got := problemsIn(text, err)
	if !slices.ContainsFunc(got, func(p policyProblem) bool {
		return p.Line == "colour: blue" && strings.HasPrefix(p.Sentence, "Line 2")
	}) {
		t.Errorf("it says %+v", got)
	}
	for _, odd := range []string{"line 0: x", "line 9999: x", "line 99999999999999999999: x", "x", ""} {
		if got := problemsIn(text, errors.New(odd)); len(got) != 1 || got[0].Line != "" {
			t.Errorf("%q: %+v", odd, got)
		}
	}
}

func TestALongDifferenceIsShownInPages(t *testing.T) {
	items := make([]policy.Item, itemsShown+3)
	for from, want := range map[int][2]int{0: {1, itemsShown}, itemsShown: {itemsShown + 1, itemsShown + 3}, -5: {1, itemsShown}, 9999: {itemsShown + 4, itemsShown + 3}} {
		if d := difference(items, from); d.First != want[0] || d.Last != want[1] || len(d.Items) != d.Last-d.First+1 || d.Total != len(items) {
			t.Errorf("from %d: %d to %d, %d items", from, d.First, d.Last, len(d.Items))
		}
	}
}

func TestPagesOfSubjectsMissNobody(t *testing.T) {
	var all []law.SubjectID
	for i := range 1005 {
		all = append(all, law.SubjectID(fmt.Sprintf("s%04d", i)))
	}
	var seen []law.SubjectID
	for from := ""; ; {
		page, next := pageFrom(all, func(id law.SubjectID) law.SubjectID { return id }, from, subjectsShown)
		seen = append(seen, page...)
		if from = next; next == "" {
			break
		}
	}
	if !slices.Equal(seen, all) {
		t.Errorf("%d of %d were seen", len(seen), len(all))
	}
}

func TestSubjectsAreFoundByWhatPeopleKnowOfThem(t *testing.T) {
	f := office(t)
	erin, _ := f.Subject("erin")
	roles := rolesOf(f)["erin"]
	for _, p := range []subjectsPage{{}, {Text: "ERI"}, {Text: "sub = erin"}, {Text: "auditors"}, {Text: "idp.example"}, {State: "enabled"}, {Role: "auditors"}} {
		if !p.fits(erin, roles) {
			t.Errorf("%+v does not find erin", p)
		}
	}
	for _, p := range []subjectsPage{{Text: "adam"}, {State: "disabled"}, {Role: "administrators"}} {
		if p.fits(erin, roles) {
			t.Errorf("%+v finds erin", p)
		}
	}
}

func TestWhatASessionSaysIsShownHarmlessly(t *testing.T) {
	s, c, p := sessionOf(t, "adam", aPlan())
	s.sessionOffers(c, p)
	p.Description = "<script>alert(1)</script>\u202e"
	p.Difference.Items[0].Lines = []changedLine{{policy.Add, "<img src=x>\u200b"}}
	pages, err := parseTemplates()
	if err != nil {
		t.Fatal(err)
	}
	if s.sealer, err = newSealer(make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	c.signIn = &signIn{ID: "sign-in"}
	var out bytes.Buffer
	if err := pages["session"].Execute(&out, &shell{Page: p, Roles: map[law.RoleKind]bool{}, server: s, call: c}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script>alert", "<img", "\u202e", "\u200b"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if !strings.Contains(out.String(), `name="digest" value="`+string(p.Digest)+`"`) {
		t.Error("the page does not send the digest of what it shows")
	}
}

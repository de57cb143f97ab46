package keyserver_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// sessionEvents returns the audit events of an administration session, also what was refused of it.
func sessionEvents(k *testkit.Kit, id law.SessionID) []audit.Event {
	k.Helper()
	return slices.DeleteFunc(k.Events(""), func(e audit.Event) bool { return e.Session != string(id) })
}

func typesOf(events []audit.Event) []audit.Type {
	var types []audit.Type
	for _, e := range events {
		types = append(types, e.Type)
	}
	return types
}

// expectEvents checks of which types the events of a session are, and that each names it.
func expectEvents(k *testkit.Kit, s keyserver.Session, want ...audit.Type) []audit.Event {
	k.Helper()
	events := sessionEvents(k, s.ID)
	if got := typesOf(events); !slices.Equal(got, want) {
		k.Errorf("the events are %v, want %v", got, want)
	}
	for _, e := range events {
		if e.SessionDescription != s.Description || e.Type != audit.ConfigurationChanged && e.Digest != s.Digest {
			k.Errorf("the event %+v does not say which session it is of", e)
		}
	}
	return events
}

func expectSessionState(k *testkit.Kit, id law.SessionID, want law.SessionState) keyserver.Session {
	k.Helper()
	s := k.LookAt(id)
	if s.State != want {
		k.Errorf("the session is %s, want %s", s.State, want)
	}
	return s
}

func TestASessionIsActiveOnceEnoughAdministratorsHaveAuthorisedIt(t *testing.T) {
	k := testkit.New(t)
	s := k.OpenSession(nil)
	if s.State != law.SessionInactive || s.Needed != 2 || !slices.Equal(s.Counted, []law.SubjectID{"ada"}) || s.Revision != 1 || s.Plan != nil {
		t.Errorf("it was opened as %+v", s)
	}
	if !s.Ends.Equal(k.Clock.Now().Add(law.SessionWait)) {
		t.Errorf("it waits until %v", s.Ends)
	}
	active := k.Authorise(s, "adam")
	if active.State != law.SessionActive || !active.Ends.Equal(k.Clock.Now().Add(time.Hour)) || !slices.Equal(active.Counted, []law.SubjectID{"ada", "adam"}) {
		t.Errorf("it is %+v", active)
	}
	if closed := k.Close(s); closed.State != law.SessionClosed || closed.Ending.By != "ada" {
		t.Errorf("it is %+v", closed)
	}
	again := k.Close(s) // changes nothing
	events := expectEvents(k, s, audit.SessionOpened, audit.SessionAuthorised, audit.SessionBecameActive, audit.SessionClosed)
	for i, who := range []law.SubjectID{"ada", "adam", "", "ada"} {
		if a := events[i].Actor; (a == nil) != (who == "") || a != nil && a.Subject != who {
			t.Errorf("%s was done by %+v, want %q", events[i].Type, a, who)
		}
	}
	if string(events[0].Statement) != string(s.Canonical()) || again.Revision != 3 {
		t.Errorf("stored is %s, at revision %d", events[0].Statement, again.Revision)
	}
}

func TestAnAuthorisationIsOfExactlyOneDigestAndCountsOnce(t *testing.T) {
	k := testkit.New(t)
	s, other := k.OpenSession(nil), k.OpenSession(nil)
	authorise := func(who law.SubjectID, d law.Digest) error {
		_, err := k.Keyserver.AuthoriseSession(k.Context(), k.Caller(who), s.ID, d)
		return err
	}
	testkit.Refused(t, "the digest of another session", authorise("adam", other.Digest), law.WrongDigest)
	testkit.Refused(t, "authorising twice", authorise("ada", s.Digest), law.Duplicate)
	testkit.Refused(t, "an auditor's authorisation", authorise("audrey", s.Digest), law.Forbidden)
	testkit.Refused(t, "an approver's authorisation", authorise("alice", s.Digest), law.NotFound)
	withdraw := func(who law.SubjectID) error {
		_, err := k.Keyserver.WithdrawAuthorisation(k.Context(), k.Caller(who), s.ID)
		return err
	}
	testkit.Refused(t, "withdrawing what was not given", withdraw("adam"), law.WrongState)
	if err := errors.Join(withdraw("ada"), authorise("adam", s.Digest)); err != nil {
		t.Fatal(err)
	}
	expectSessionState(k, s.ID, law.SessionInactive)
	k.Authorise(s, "ada")
	expectSessionState(k, s.ID, law.SessionActive)
	testkit.Refused(t, "withdrawing from an active session", withdraw("ada"), law.WrongState)
	refusals := 0
	for _, e := range sessionEvents(k, s.ID) {
		if e.Refusal != "" {
			refusals++
			if hidden := e.Actor.Subject == "alice"; hidden != (e.Type == audit.RequestRefused) || e.Actor.Subject == "" {
				t.Errorf("a refusal was written as %+v", e)
			}
		}
	}
	if refusals != 6 {
		t.Errorf("%d refusals are events, want 6", refusals)
	}
}

// AZ-04
func TestAZ04_ASessionExistsForAdministratorsAndAuditorsAlone(t *testing.T) {
	k := testkit.New(t)
	s := k.ActiveSession(nil)
	for _, who := range []law.SubjectID{"olga", "alice", "ci", "eve"} {
		c, ctx, server := k.Caller(who), k.Context(), k.Keyserver
		_, read := server.Session(ctx, c, s.ID)
		_, authorise := server.AuthoriseSession(ctx, c, s.ID, s.Digest)
		_, withdraw := server.WithdrawAuthorisation(ctx, c, s.ID)
		_, closing := server.CloseSession(ctx, c, s.ID)
		_, apply := server.ApplyPlan(ctx, c, s.ID)
		_, change := server.Change(ctx, c, s.ID, "mine", law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}})
		_, none := server.Session(ctx, c, "00000000-0000-7000-8000-000000000000")
		for what, err := range map[string]error{
			"read": read, "authorise": authorise, "withdraw": withdraw, "close": closing, "apply": apply, "change": change, "read none": none,
		} {
			testkit.Refused(t, what+" by "+string(who), err, law.NotFound)
			if err.Error() != none.Error() {
				t.Errorf("%s by %s says %q", what, who, err)
			}
		}
		_, open := server.OpenSession(ctx, c, keyserver.OpenSessionRequest{Description: "mine"})
		_, policy := server.Policy(ctx, c)
		_, subjects := server.Subjects(ctx, c)
		_, roles := server.Roles(ctx, c)
		_, difference := server.Difference(ctx, c, law.Configuration{})
		_, whoCan := server.WhoCan(ctx, c, "fw-dev", nil, "")
		_, key := server.DisableKey(ctx, c, "fw-dev", "mine")
		_, noKey := server.DisableKey(ctx, c, "none", "mine")
		_, subject := server.DisableSubject(ctx, c, "ada", "mine")
		for what, err := range map[string]error{
			"open": open, "policy": policy, "subjects": subjects, "roles": roles, "difference": difference, "who-can": whoCan,
			"disable a key": key, "disable no key": noKey, "disable a subject": subject,
		} {
			testkit.Refused(t, what+" by "+string(who), err, law.Forbidden)
		}
		if page, err := server.Sessions(ctx, c, keyserver.SessionFilter{Page: keyserver.Page{Limit: 9}}); err != nil || len(page.Sessions) > 0 {
			t.Errorf("%s sees %v (%v)", who, page.Sessions, err)
		}
		if n := len(slices.DeleteFunc(k.Events(""), func(e audit.Event) bool { return e.Refusal == "" || e.Actor.Subject != who })); n != 6+9 {
			t.Errorf("%d refusals of %s's are events, want 15", n, who)
		}
	}
	// Auditors look, and do nothing.
	c := k.Caller("audrey")
	_, err := k.Keyserver.Change(k.Context(), c, s.ID, "mine", law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}})
	testkit.Refused(t, "a change by an auditor", err, law.Forbidden)
	_, err = k.Keyserver.CloseSession(k.Context(), c, s.ID)
	testkit.Refused(t, "closing by an auditor", err, law.Forbidden)
	expectSessionState(k, s.ID, law.SessionActive)
}

func TestASessionAtItsLastMillisecond(t *testing.T) {
	for what, c := range map[string]struct {
		late time.Duration
		want bool
	}{"one millisecond before": {-time.Millisecond, true}, "at it": {0, false}, "after it": {time.Millisecond, false}} {
		t.Run(what, func(t *testing.T) {
			k := testkit.New(t)
			s := k.ActiveSession(nil)
			waiting := k.OpenSession(nil)
			k.Clock.Step(time.Hour + c.late)
			_, err := k.ChangeIn(s, law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}})
			if c.want && err != nil {
				t.Error(err)
			}
			if !c.want {
				testkit.Refused(t, "a change", err, law.Forbidden)
				expectSessionState(k, s.ID, law.SessionExpired)
				expectEvents(k, s, audit.SessionOpened, audit.SessionAuthorised, audit.SessionBecameActive, audit.SessionExpired, audit.SessionRefused)
			}
			k.Clock.Step(law.SessionWait - time.Hour)
			_, err = k.Keyserver.AuthoriseSession(k.Context(), k.Caller("adam"), waiting.ID, waiting.Digest)
			if c.want && err != nil {
				t.Error(err)
			}
			if !c.want {
				testkit.Refused(t, "an authorisation", err, law.WrongState)
			}
		})
	}
}

func TestASessionExpiresThoughNobodyAsks(t *testing.T) {
	k := testkit.New(t)
	active, waiting, closed := k.ActiveSession(nil), k.OpenSession(nil), k.OpenSession(nil)
	k.Close(closed)
	k.Clock.Step(time.Hour)
	k.Beat()
	expectEvents(k, active, audit.SessionOpened, audit.SessionAuthorised, audit.SessionBecameActive, audit.SessionExpired)
	k.Clock.Step(law.SessionWait)
	k.Beat()
	k.Beat()
	expectEvents(k, waiting, audit.SessionOpened, audit.SessionExpired)
	expectEvents(k, closed, audit.SessionOpened, audit.SessionClosed)
}

func TestAcceptingAClockEndsEverySession(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-prod"))
	active, waiting := k.ActiveSession(nil), k.OpenSession(nil)
	k.Clock.Set(-time.Hour)
	_, err := k.Keyserver.OpenSession(k.Context(), k.Caller("ada"), keyserver.OpenSessionRequest{Description: "now"})
	testkit.Unavailable(t, "opening a session", err, "clock")
	_, err = k.ChangeIn(active, law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}})
	testkit.Unavailable(t, "a change", err, "clock")
	if ended := k.AcceptClock(); ended != 1 {
		t.Errorf("%d operations ended", ended)
	}
	expectState(k, o, law.Expired)
	expectSessionState(k, active.ID, law.SessionExpired)
	expectSessionState(k, waiting.ID, law.SessionExpired)
	if _, err := k.ChangeIn(k.ActiveSession(nil), law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}}); err != nil {
		t.Error(err)
	}
}

func TestNobodyOpensSessionsWithoutEnd(t *testing.T) {
	k := testkit.New(t)
	for range law.MaxOpenSessions {
		k.OpenSession(nil)
	}
	open := func(who law.SubjectID, description string) error {
		_, err := k.Keyserver.OpenSession(k.Context(), k.Caller(who), keyserver.OpenSessionRequest{Description: description})
		return err
	}
	testkit.Refused(t, "one session more", open("ada", "more"), law.WrongState)
	testkit.Refused(t, "a session without a description", open("adam", ""), law.Impossible)
	testkit.Refused(t, "a session with a misleading description", open("adam", "a\u202eb"), law.Impossible)
	if err := open("adam", "his own"); err != nil {
		t.Error(err)
	}
	k.Clock.Step(law.SessionWait)
	if err := open("ada", "the others have expired"); err != nil {
		t.Error(err)
	}
}

func TestSessionsAreListedByPagesAndStates(t *testing.T) {
	k := testkit.New(t)
	var ids []law.SessionID
	for i := range 5 {
		s := k.OpenSession(nil)
		if i%2 == 1 {
			k.Authorise(s, "adam")
		}
		ids = append([]law.SessionID{s.ID}, ids...)
	}
	list := func(state law.SessionState, limit int) []law.SessionID {
		var got []law.SessionID
		f := keyserver.SessionFilter{State: state, Page: keyserver.Page{Limit: limit}}
		for {
			page, err := k.Keyserver.Sessions(k.Context(), k.Caller("audrey"), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range page.Sessions {
				got = append(got, s.ID)
			}
			if f.Page.Cursor = page.Next; page.Next == "" {
				return got
			}
		}
	}
	for limit := range 6 {
		if got := list("", limit+1); !slices.Equal(got, ids) {
			t.Errorf("pages of %d: %v, want %v", limit+1, got, ids)
		}
	}
	if got := list(law.SessionActive, 1); !slices.Equal(got, []law.SessionID{ids[1], ids[3]}) {
		t.Errorf("active are %v", got)
	}
	k.Clock.Step(time.Hour) // which nobody has met yet
	if got := list(law.SessionExpired, 2); !slices.Equal(got, []law.SessionID{ids[1], ids[3]}) {
		t.Errorf("expired are %v", got)
	}
	if got := list(law.SessionActive, 2); len(got) > 0 {
		t.Errorf("active are %v", got)
	}
	_, err := k.Keyserver.Sessions(k.Context(), k.Caller("audrey"), keyserver.SessionFilter{Page: keyserver.Page{Limit: 1, Cursor: "made up"}})
	if m, is := errors.AsType[*keyserver.Malformed](err); !is || !strings.Contains(m.Sentence, "cursor") {
		t.Errorf("a cursor that was made up: %v", err)
	}
}

// AZ-04
func TestAZ04_NothingIsConfiguredWithoutAnActiveSession(t *testing.T) {
	k := testkit.New(t)
	change := law.Changes{Set: law.Configuration{Keys: []law.Key{testkit.Key("fw-new", 0)}}}
	planned := k.Policy(requiring("fw-one", 2))
	inactive, closed, lapsing, withPlan := k.OpenSession(nil), k.ActiveSession(nil), k.ActiveSession(nil), k.ActiveSession(&planned)
	expired := k.ActiveSession(nil)
	k.Clock.Step(30 * time.Minute)
	k.Close(closed)
	other, err := k.Keyserver.OpenSession(k.Context(), k.Caller("adam"), keyserver.OpenSessionRequest{Description: "adam's own"})
	if err != nil {
		t.Fatal(err)
	}
	k.Clock.Step(30*time.Minute - time.Millisecond)
	expectSessionState(k, withPlan.ID, law.SessionActive)
	before := k.LogSize()
	_, err = k.ChangeIn(withPlan, change)
	testkit.Refused(t, "something else than the plan", err, law.Forbidden)
	k.Clock.Step(time.Millisecond)
	for what, s := range map[string]keyserver.Session{"inactive": inactive, "closed": closed, "another's": other, "expired": expired, "expired too": lapsing} {
		_, err := k.ChangeIn(s, change)
		testkit.Refused(t, what, err, law.Forbidden)
		_, err = k.Keyserver.ApplyPlan(k.Context(), k.Caller("ada"), s.ID)
		testkit.Refused(t, "applying in the one that is "+what, err, law.Forbidden)
	}
	_, err = k.ChangeIn(keyserver.Session{Session: law.Session{SessionStatement: law.SessionStatement{ID: "none"}}}, change)
	testkit.Refused(t, "a session that is not there", err, law.NotFound)
	refused := 0
	for _, e := range k.EventsSince(before) {
		switch {
		case e.Type == audit.ConfigurationChanged:
			t.Errorf("the configuration was changed: %+v", e)
		case e.Type == audit.SessionRefused && e.Refusal == law.Forbidden && e.Session != "" && e.Actor.Subject == "ada":
			refused++
		}
	}
	if refused != 11 {
		t.Errorf("%d refusals are events, want 11", refused)
	}
	if n := len(k.Policy(func(*law.Configuration) {}).Keys); n != len(testkit.World(k.IdP).Keys) {
		t.Errorf("there are %d keys", n)
	}
}

func TestWhoCountsNoMoreEndsWhatASessionAllowsAtOnce(t *testing.T) {
	administrators := func(members ...law.SubjectID) law.Changes {
		return law.Changes{Set: law.Configuration{Roles: []law.Role{{ID: "administrators", Kind: law.Administrator, Members: members}}}}
	}
	for what, lose := range map[string]func(*testkit.Kit){
		"disabled": func(k *testkit.Kit) { k.Enable("adam", false) },
		"the role is lost": func(k *testkit.Kit) {
			k.Change(administrators("ada", "amy", "anton"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			k := testkit.NewWith(t, testkit.Options{World: func(c *law.Configuration) {
				for _, who := range []law.SubjectID{"amy", "anton"} {
					s := c.Subjects[0]
					s.ID, s.Identities = who, []law.Identity{{Issuer: c.Issuers[0].URL, Claims: map[string][]string{"sub": {string(who)}}}}
					c.Subjects = append(c.Subjects, s)
				}
				for i := range c.Roles {
					if c.Roles[i].Kind == law.Administrator {
						c.Roles[i].Members = []law.SubjectID{"ada", "adam", "amy", "anton"}
					}
				}
			}})
			s := k.ActiveSession(nil)
			lose(k)
			if got := expectSessionState(k, s.ID, law.SessionInactive); !slices.Equal(got.Counted, []law.SubjectID{"ada"}) {
				t.Errorf("counted are %v", got.Counted)
			}
			lapsed := sessionEvents(k, s.ID)
			if e := lapsed[len(lapsed)-1]; e.Type != audit.SessionLapsed || e.Actor != nil || e.Reason == "" {
				t.Errorf("the last event is %+v", e)
			}
			_, err := k.ChangeIn(s, law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}})
			testkit.Refused(t, "a change", err, law.Forbidden)
			_, err = k.Keyserver.Change(k.Context(), k.Caller("adam"), s.ID, "mine", law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}})
			if _, is := errors.AsType[*law.Refusal](err); !is {
				t.Errorf("a change by whom it has lost: %v", err)
			}
			k.Authorise(s, "amy")
			if _, err := k.ChangeIn(s, law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}}); err != nil {
				t.Errorf("somebody else has authorised it: %v", err)
			}
		})
	}
}

func TestAProductionServerDoesNotStartWhereOneAdministratorIsEnough(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Mode: law.Mode{Development: true}, World: func(c *law.Configuration) { c.Administration.Administrators = 1 }})
	if s := k.OpenSession(nil); s.State != law.SessionActive {
		t.Errorf("the session is %s", s.State)
	}
	production := k.Server(func(o *keyserver.Options) { o.Mode = law.Mode{} })
	if err := production.Start(k.Context()); err == nil || !strings.Contains(err.Error(), "development mode only") {
		t.Errorf("it started: %v", err)
	}
}

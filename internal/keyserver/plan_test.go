package keyserver_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// newProduct adds a key, with roles on it, removes a role, and changes a subject.
func newProduct(c *law.Configuration) {
	c.Keys = append(c.Keys, testkit.Key("fw-new", 1))
	c.Roles = slices.DeleteFunc(c.Roles, func(r law.Role) bool { return r.ID == "peter-orders" })
	c.Roles = append(c.Roles,
		law.Role{ID: "new-orderers", Kind: law.Orderer, Keys: []law.KeyID{"fw-new"}, Members: []law.SubjectID{"olga"}},
		law.Role{ID: "new-approvers", Kind: law.Approver, Keys: []law.KeyID{"fw-new"}, Members: []law.SubjectID{"alice", "bob"}})
	for i := range c.Subjects {
		if c.Subjects[i].ID == "eve" {
			c.Subjects[i].Enabled = false
		}
	}
}

func apply(k *testkit.Kit, who law.SubjectID, s keyserver.Session) (keyserver.Session, error) {
	return k.Keyserver.ApplyPlan(k.Context(), k.Caller(who), s.ID)
}

func TestAPlanIsSeenAuthorisedAndAppliedAsOne(t *testing.T) {
	k := testkit.New(t)
	policy := k.Policy(newProduct)
	s := k.OpenSession(&policy)
	if s.Plan == nil || len(s.Plan.Set.Keys) != 1 || len(s.Plan.Set.Roles) != 2 || !slices.Equal(s.Plan.RemoveRoles, []law.RoleID{"peter-orders"}) ||
		len(s.Plan.Set.Subjects) != 1 || s.Plan.Set.Subjects[0].Enabled {
		t.Errorf("the plan is %+v", s.Plan)
	}
	if b := s.Before; len(b.Keys) != 0 || len(b.Roles) != 1 || len(b.Subjects) != 1 || !b.Subjects[0].Enabled {
		t.Errorf("before it there was %+v", b)
	}
	_, err := apply(k, "ada", s)
	testkit.Refused(t, "a plan that nobody else has authorised", err, law.Forbidden)
	k.Authorise(s, "adam")
	done, err := apply(k, "adam", s)
	if err != nil || done.State != law.SessionClosed || done.Ending.By != "adam" {
		t.Fatalf("it is %+v (%v)", done, err)
	}
	events := expectEvents(k, s, audit.SessionOpened, audit.SessionRefused, audit.SessionAuthorised, audit.SessionBecameActive, audit.SessionPlanApplied,
		audit.ConfigurationChanged, audit.ConfigurationChanged, audit.ConfigurationChanged, audit.ConfigurationChanged, audit.ConfigurationChanged, audit.SessionClosed)
	var objects []string
	for _, e := range events[5:10] {
		objects = append(objects, string(e.Configuration.Kind)+" "+e.Configuration.ID)
		if e.Actor == nil || e.Actor.Subject != "adam" || e.Reason == "" || e.Batch != events[4].Batch {
			t.Errorf("the event %+v does not say who, or is of another commit", e)
		}
	}
	if want := []string{"key fw-new", "subject eve", "role new-approvers", "role new-orderers", "role peter-orders"}; !slices.Equal(objects, want) {
		t.Errorf("changed are %v, want %v", objects, want)
	}
	o := k.Approve(k.Create(testkit.Ask("fw-new")), "alice")
	k.MustSign(o, testkit.OrderAsk("fw-new", "1", "image"))
	_, err = k.CreateAs(k.Caller("peter"), testkit.Ask("fw-one"))
	testkit.Refused(t, "an order of whom the plan has taken the role", err, law.Forbidden)
}

func TestAPolicyThatWasReadIsAPlanOfNothing(t *testing.T) {
	k := testkit.New(t)
	policy, err := k.Keyserver.Policy(k.Context(), k.Caller("audrey"))
	if err != nil {
		t.Fatal(err)
	}
	difference, err := k.Keyserver.Difference(k.Context(), k.Caller("audrey"), policy)
	if err != nil || !difference.Changes.Empty() || len(difference.Faults) > 0 {
		t.Errorf("it differs in %+v (%v)", difference, err)
	}
}

func TestATrialSaysWhatWouldBeRefusedAndIsNoEvent(t *testing.T) {
	k := testkit.New(t)
	before := k.LogSize()
	for what, c := range map[string]struct {
		change func(*law.Configuration)
		fault  string // empty: none
	}{
		"a product":         {newProduct, ""},
		"a subject goes":    {func(c *law.Configuration) { c.Subjects = c.Subjects[1:] }, "subjects never go"},
		"one administrator": {func(c *law.Configuration) { c.Administration.Administrators = 1 }, "development mode"},
		"an unknown key": {func(c *law.Configuration) {
			c.Roles = append(c.Roles, law.Role{ID: "more", Kind: law.Orderer, Keys: []law.KeyID{"none"}, Members: []law.SubjectID{"olga"}})
		}, `there is no key "none"`},
		"an unknown keystore": {func(c *law.Configuration) {
			key := testkit.Key("fw-new", 0)
			key.Keystore = "vault"
			c.Keys = append(c.Keys, key)
		}, `there is no keystore "vault"`},
		"another algorithm": {func(c *law.Configuration) {
			testkit.ChangeKey(c, "fw-dev", func(k *law.Key) { k.Algorithm = law.P384 })
		}, "algorithm"},
		"a machine is a human": {func(c *law.Configuration) {
			for i := range c.Subjects {
				if c.Subjects[i].ID == "ci" {
					c.Subjects[i].Kind = law.User
				}
			}
		}, "for ever"},
	} {
		policy := k.Policy(c.change)
		difference, err := k.Keyserver.Difference(k.Context(), k.Caller("ada"), policy)
		said := strings.Join(difference.Faults, "\n")
		if err != nil || c.fault == "" && said != "" || !strings.Contains(said, c.fault) {
			t.Errorf("%s: the faults are %q (%v), want %q", what, said, err, c.fault)
		}
		if c.fault == "" {
			continue
		}
		_, err = k.Keyserver.OpenSession(k.Context(), k.Caller("ada"), keyserver.OpenSessionRequest{Description: what, Policy: &policy})
		testkit.Refused(t, "a session for "+what, err, law.Impossible)
	}
	for _, e := range k.EventsSince(before) {
		if e.Type != audit.SessionRefused {
			t.Errorf("there is an event %+v", e)
		}
	}
}

func TestAPlanIsAppliedOnce(t *testing.T) {
	k := testkit.New(t)
	policy := k.Policy(newProduct)
	s := k.ActiveSession(&policy)
	errs := make([]error, 4)
	testkit.Race(len(errs), func(i int) { _, errs[i] = apply(k, []law.SubjectID{"ada", "adam"}[i%2], s) })
	applied := 0
	for _, err := range errs {
		if err == nil {
			applied++
		} else {
			testkit.Refused(t, "applying it again", err, law.Forbidden)
		}
	}
	if applied != 1 || k.Count("", audit.SessionPlanApplied) != 1 || k.Count("", audit.SessionClosed) != 1 {
		t.Errorf("it was applied %d times", applied)
	}
	_, err := apply(k, "ada", s)
	testkit.Refused(t, "applying it once more", err, law.Forbidden)
}

func TestOfTwoPlansForOneConfigurationOneIsApplied(t *testing.T) {
	k := testkit.New(t)
	policies := []law.Configuration{k.Policy(newProduct), k.Policy(requiring("fw-one", 2))}
	sessions := []keyserver.Session{k.ActiveSession(&policies[0]), k.ActiveSession(&policies[1])}
	before := k.LogSize()
	errs := make([]error, 2)
	testkit.Race(2, func(i int) { _, errs[i] = apply(k, "ada", sessions[i]) })
	won := slices.Index(errs, nil)
	if won < 0 {
		t.Fatalf("none was applied: %v", errs)
	}
	lost := 1 - won
	testkit.Refused(t, "the other one", errs[lost], law.WrongState)
	if !strings.Contains(errs[lost].Error(), "the configuration has changed since the plan was made") {
		t.Errorf("it says: %v", errs[lost])
	}
	for _, e := range k.EventsSince(before) {
		if e.Type == audit.ConfigurationChanged && e.Session != string(sessions[won].ID) {
			t.Errorf("half of the other plan was applied: %+v", e)
		}
	}
	expectSessionState(k, sessions[lost].ID, law.SessionActive)
	_, err := apply(k, "adam", sessions[lost])
	testkit.Refused(t, "the other one again", err, law.WrongState)
}

func TestAPlanForAConfigurationThatHasChangedIsRefused(t *testing.T) {
	for what, change := range map[string]func(*testkit.Kit){
		"in a session":    func(k *testkit.Kit) { require(k, "fw-other", 2) },
		"in an emergency": func(k *testkit.Kit) { k.Enable("oscar", false) },
		"to and fro":      func(k *testkit.Kit) { require(k, "fw-other", 2); require(k, "fw-other", 1) },
	} {
		t.Run(what, func(t *testing.T) {
			k := testkit.New(t)
			policy := k.Policy(newProduct)
			s := k.ActiveSession(&policy)
			change(k)
			made := len(k.Policy(func(*law.Configuration) {}).Keys)
			_, err := apply(k, "ada", s)
			testkit.Refused(t, "the plan", err, law.WrongState)
			if n := len(k.Policy(func(*law.Configuration) {}).Keys); n != made {
				t.Errorf("there are %d keys, were %d", n, made)
			}
		})
	}
}

// A plan that takes its own administrators' power is applied if others remain; its session is closed by it.
func TestAPlanMayEndThePowerOfItsOwnAdministrators(t *testing.T) {
	k := testkit.New(t)
	successors := func(c *law.Configuration) {
		for i := range c.Roles {
			if c.Roles[i].Kind == law.Administrator {
				c.Roles[i].Members = []law.SubjectID{"carol", "bob"}
			}
		}
		for i := range c.Subjects {
			if id := c.Subjects[i].ID; id == "ada" || id == "adam" {
				c.Subjects[i].Enabled = false
			}
		}
	}
	policy := k.Policy(successors)
	waiting := k.ActiveSession(nil)
	s := k.ActiveSession(&policy)
	if _, err := apply(k, "ada", s); err != nil {
		t.Fatal(err)
	}
	expectSessionState(k, s.ID, law.SessionClosed)
	expectSessionState(k, waiting.ID, law.SessionInactive)
	_, err := k.ChangeIn(waiting, law.Changes{ReplacePairs: []law.KeyID{"fw-dev"}})
	if _, is := errors.AsType[*law.Refusal](err); !is {
		t.Errorf("ada changes things still: %v", err)
	}
	next, err := k.Keyserver.OpenSession(k.Context(), k.Caller("carol"), keyserver.OpenSessionRequest{Description: "the new ones"})
	if err != nil {
		t.Fatal(err)
	}
	if k.Authorise(next, "bob"); k.LookAt(next.ID).State != law.SessionActive {
		t.Error("the successors cannot administer")
	}
}

func TestAnOpenerWhoIsDisabledCountsForNoPlan(t *testing.T) {
	k := testkit.New(t)
	policy := k.Policy(newProduct)
	s := k.ActiveSession(&policy)
	if _, err := k.Keyserver.DisableSubject(k.Context(), k.Caller("adam"), "ada", "the laptop is gone"); err != nil {
		t.Fatal(err)
	}
	for _, who := range []law.SubjectID{"ada", "adam"} {
		_, err := apply(k, who, s)
		if _, is := errors.AsType[*law.Refusal](err); !is {
			t.Errorf("%s applied it: %v", who, err)
		}
	}
	if n := k.Count("", audit.SessionPlanApplied); n != 0 {
		t.Errorf("it was applied %d times", n)
	}
}

func TestAnAuthorisationThatRacesWithTheCloseCannotReviveASession(t *testing.T) {
	for range 10 {
		k := testkit.New(t)
		policy := k.Policy(newProduct)
		s := k.OpenSession(&policy)
		var errs [3]error
		testkit.Race(3, func(i int) {
			switch i {
			case 0:
				_, errs[0] = k.Keyserver.AuthoriseSession(k.Context(), k.Caller("adam"), s.ID, s.Digest)
			case 1:
				_, errs[1] = k.Keyserver.CloseSession(k.Context(), k.Caller("ada"), s.ID)
			case 2:
				_, errs[2] = apply(k, "ada", s)
			}
		})
		expectSessionState(k, s.ID, law.SessionClosed)
		if errs[0] != nil {
			testkit.Refused(t, "authorising too late", errs[0], law.WrongState)
		}
		if applied := k.Count("", audit.SessionPlanApplied) == 1; applied != (errs[2] == nil) || !applied && errs[1] != nil {
			t.Errorf("applied: %t; %v", applied, errs)
		}
		_, err := apply(k, "adam", s)
		testkit.Refused(t, "applying what is closed", err, law.Forbidden)
	}
}

// The server ends between making key pairs and storing the plan.
func TestAKeyPairThatWasMadeForAPlanThatWasCutOffIsNeverUsed(t *testing.T) {
	for what, again := range map[string]func(*testkit.Kit){
		"it goes on": func(*testkit.Kit) {}, "a restart": (*testkit.Kit).Restart, "a crash": (*testkit.Kit).Crash,
	} {
		t.Run(what, func(t *testing.T) {
			var fail atomic.Bool
			k := testkit.NewWith(t, testkit.Options{Commit: func(commit func() error) error {
				if fail.Load() {
					return errors.New("the disk is full")
				}
				return commit()
			}})
			policy := k.Policy(newProduct)
			s := k.ActiveSession(&policy)
			size := k.LogSize()
			fail.Store(true)
			_, err := apply(k, "ada", s)
			testkit.Unavailable(t, "applying", err, "database")
			fail.Store(false)
			left, err := k.Keystore.PublicKey(k.Context(), "fw-new.1")
			if err != nil {
				t.Fatalf("no key pair was made: %v", err)
			}
			if n := k.LogSize() - size; n != 0 {
				t.Errorf("half of the plan is in the log: %d events", n)
			}
			again(k)
			_, err = k.Keyserver.Key(k.Context(), k.Caller("ada"), "fw-new")
			testkit.Refused(t, "looking for the key", err, law.NotFound)
			if _, err := apply(k, "ada", s); err != nil {
				t.Fatal(err)
			}
			key, err := k.Keyserver.Key(k.Context(), k.Caller("ada"), "fw-new")
			if err != nil || key.Version != 2 || slices.Equal(key.PublicKey, left) {
				t.Errorf("the key is %+v (%v), want a new key pair", key, err)
			}
		})
	}
}

func TestAPlanWhoseAnswerIsLostIsAppliedOnce(t *testing.T) {
	var lose atomic.Bool
	k := testkit.NewWith(t, testkit.Options{Commit: func(commit func() error) error {
		err := commit()
		if err == nil && lose.Load() {
			err = errors.New("the answer is lost")
		}
		return err
	}})
	policy := k.Policy(newProduct)
	s := k.ActiveSession(&policy)
	lose.Store(true)
	_, err := apply(k, "ada", s)
	lose.Store(false)
	if err != nil || k.Count("", audit.SessionPlanApplied) != 1 || k.LookAt(s.ID).State != law.SessionClosed {
		t.Errorf("the session is %s (%v)", k.LookAt(s.ID).State, err)
	}
	_, err = apply(k, "ada", s)
	testkit.Refused(t, "applying it again", err, law.Forbidden)
}

func TestWhoCanIsAnsweredForWhatIsAndForWhatIsPlanned(t *testing.T) {
	k := testkit.New(t)
	policy := k.Policy(newProduct)
	s := k.OpenSession(&policy)
	approvers := func(key law.KeyID, planned *law.Configuration, in law.SessionID) []law.SubjectID {
		t.Helper()
		who, err := k.Keyserver.WhoCan(k.Context(), k.Caller("audrey"), key, planned, in)
		if err != nil {
			t.Error(err)
		}
		return who.Approvers
	}
	if got := approvers("fw-one", nil, ""); !slices.Equal(got, []law.SubjectID{"alice", "bob", "dave", "peter"}) {
		t.Errorf("approvers are %v", got)
	}
	for what, got := range map[string][]law.SubjectID{"planned": approvers("fw-new", &policy, ""), "in the session": approvers("fw-new", nil, s.ID)} {
		if !slices.Equal(got, []law.SubjectID{"alice", "bob"}) {
			t.Errorf("approvers as it is %s are %v", what, got)
		}
	}
	size := k.LogSize()
	for what, ask := range map[string]func() error{
		"a key that is not there": func() error {
			_, err := k.Keyserver.WhoCan(k.Context(), k.Caller("ada"), "fw-new", nil, "")
			return err
		},
		"a session that is not there": func() error {
			_, err := k.Keyserver.WhoCan(k.Context(), k.Caller("ada"), "fw-one", nil, "none")
			return err
		},
	} {
		testkit.Refused(t, what, ask(), law.NotFound)
	}
	if n := k.LogSize() - size; n != 0 {
		t.Errorf("asking left %d events", n)
	}
}

func TestAPlanOfTenThousandSubjectsIsApplied(t *testing.T) {
	k := testkit.New(t)
	many := 10_000
	if testkit.OnPostgres(t) {
		many = 1000 // the same statements; a disk makes the test long, not the number another
	}
	policy := k.Policy(func(c *law.Configuration) {
		for i := range many {
			c.Subjects = append(c.Subjects, testkit.Subject(k.IdP, law.SubjectID(fmt.Sprint("p", i)), law.User))
		}
	})
	if _, err := apply(k, "ada", k.ActiveSession(&policy)); err != nil {
		t.Fatal(err)
	}
	if subjects, err := k.Keyserver.Subjects(k.Context(), k.Caller("audrey")); err != nil || len(subjects) != len(policy.Subjects) {
		t.Errorf("there are %d subjects (%v)", len(subjects), err)
	}
}

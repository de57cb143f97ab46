package keyserver_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func TestAnyAdministratorDisablesAKeyOrASubjectAtOnce(t *testing.T) {
	k := testkit.New(t)
	byKey, bySubject := k.Approve(k.Create(testkit.Ask("fw-one")), "dave"), k.Approve(k.Create(testkit.Ask("fw-prod")), "alice", "bob")
	before := k.LogSize()
	key, err := k.Keyserver.DisableKey(k.Context(), k.Caller("adam"), "fw-one", "it was seen elsewhere")
	if err != nil || key.State != law.KeyDisabled {
		t.Fatalf("the key is %+v (%v)", key, err)
	}
	subject, err := k.Keyserver.DisableSubject(k.Context(), k.Caller("ada"), "alice", "the laptop is gone")
	if err != nil || subject.Enabled {
		t.Fatalf("the subject is %+v (%v)", subject, err)
	}
	for range 2 { // what is disabled stays so
		if _, err := k.Keyserver.DisableKey(k.Context(), k.Caller("ada"), "fw-one", "again"); err != nil {
			t.Error(err)
		}
		if _, err := k.Keyserver.DisableSubject(k.Context(), k.Caller("ada"), "alice", "again"); err != nil {
			t.Error(err)
		}
	}
	expectState(k, byKey, law.Pending)
	expectState(k, bySubject, law.Pending)
	events := k.EventsSince(before)
	if got := typesOf(events); !slices.Equal(got, []audit.Type{audit.ConfigurationChanged, audit.OperationLapsed, audit.ConfigurationChanged, audit.OperationLapsed}) {
		t.Fatalf("the events are %v", got)
	}
	for i, who := range map[int]law.SubjectID{0: "adam", 2: "ada"} {
		e := events[i]
		if e.Actor == nil || e.Actor.Subject != who || e.Session != "" || e.Reason == "" || events[i+1].Batch != e.Batch {
			t.Errorf("it was written as %+v", e)
		}
	}
	_, err = k.Keyserver.DisableKey(k.Context(), k.Caller("ada"), "none", "no")
	testkit.Refused(t, "disabling a key that is not there", err, law.NotFound)
	_, err = k.Keyserver.DisableSubject(k.Context(), k.Caller("ada"), "bob", "")
	testkit.Refused(t, "disabling without a reason", err, law.Impossible)

	// Enabling takes a session.
	k.ReconfigureKey("fw-one", func(key *law.Key) { key.State = law.KeyActive })
	k.Enable("alice", true)
	expectState(k, byKey, law.Approved)
	expectState(k, bySubject, law.Approved)
}

// The brake works where a change in a session would make no sense.
func TestDisablingDoesNotAskWhetherTheRestMakesSense(t *testing.T) {
	k := testkit.New(t)
	for _, who := range []law.SubjectID{"alice", "bob", "carol", "peter", "dave", "adam", "ada"} {
		if _, err := k.Keyserver.DisableSubject(k.Context(), k.Caller("ada"), who, "everybody out"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := k.Keyserver.DisableSubject(k.Context(), k.Caller("ada"), "olga", "too late")
	testkit.Refused(t, "disabling by whom is disabled", err, law.Forbidden)
}

// RC-05
func TestRC05_OrdersThatRaceWithTheirKeyAreSignedByTheApprovedKeyPairOrRefused(t *testing.T) {
	for what, change := range map[string]func(*testkit.Kit) error{
		"it is disabled": func(k *testkit.Kit) error {
			_, err := k.Keyserver.DisableKey(k.Context(), k.Caller("adam"), "fw-one", "now")
			return err
		},
		"its key pair is replaced": func(k *testkit.Kit) error {
			_, err := k.ChangeIn(k.ActiveSession(nil), law.Changes{ReplacePairs: []law.KeyID{"fw-one"}})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			k := testkit.New(t)
			key, err := k.Keyserver.Key(k.Context(), k.Caller("ada"), "fw-one")
			if err != nil {
				t.Fatal(err)
			}
			const sides, each = 4, 40
			ask := testkit.Ask("fw-one")
			ask.Keys[0].MaxUses = sides * each
			o := k.Approve(k.Create(ask), "alice")
			var signed, refused atomic.Int64
			testkit.Race(sides+1, func(side int) {
				if side == sides {
					for signed.Load() == 0 { // so that there is something to race with
						_, _ = k.Keyserver.Facts(k.Context())
					}
					if err := change(k); err != nil {
						t.Error(err)
					}
					return
				}
				for i := range each {
					order, err := k.Sign(o, testkit.OrderAsk("fw-one", fmt.Sprint(side, "/", i), "image"))
					_, is := errors.AsType[*law.Refusal](err)
					switch {
					case is:
						refused.Add(1)
					case err != nil:
						t.Error(err)
					case order.Fingerprint != key.Fingerprint:
						t.Errorf("it was signed by the key pair %s", order.Fingerprint)
					default:
						signed.Add(1)
						if err := keystore.Verify(key.PublicKey, law.Input{Hash: law.SHA256, Scheme: law.ECDSA, Digest: law.SHA256.Sum([]byte("image"))}, order.Signature); err != nil {
							t.Error(err)
						}
					}
				}
			})
			if _, err := k.Sign(o, testkit.OrderAsk("fw-one", "after", "image")); err == nil {
				t.Error("an order was signed after the change")
			}
			if signed.Load() == 0 || signed.Load()+refused.Load() != sides*each {
				t.Errorf("%d were signed and %d refused", signed.Load(), refused.Load())
			}
			changed := false
			for _, e := range k.Events("") {
				changed = changed || e.Type == audit.ConfigurationChanged && e.Actor != nil
				if changed && e.Type == audit.OrderAccepted {
					t.Errorf("an order was accepted after the change: %+v", e)
				}
			}
		})
	}
}

// AR-09
func TestAR09_ARequirementThatNobodyCanMeetIsRefusedAndStaysSo(t *testing.T) {
	k := testkit.New(t)
	// peter orders himself, so of four approvers three are eligible.
	policy := k.Policy(requiring("fw-prod", 4))
	if _, err := k.Keyserver.ApplyPlan(k.Context(), k.Caller("ada"), k.ActiveSession(&policy).ID); err != nil {
		t.Fatal(err)
	}
	_, err := k.CreateAs(k.Caller("peter"), testkit.Ask("fw-prod"))
	testkit.Refused(t, "an operation for which too few are eligible", err, law.Impossible)
	earlier := k.Approve(k.Create(testkit.Ask("fw-prod")), "alice", "bob", "carol")
	expectState(k, earlier, law.Pending)
	require(k, "fw-prod", 2) // which eases no operation that there is
	expectState(k, earlier, law.Pending)
	if n := len(k.EventsOf("", audit.OperationCreated)); n != 1 {
		t.Errorf("there are %d operations", n)
	}
	if later := k.Approve(k.Create(testkit.Ask("fw-prod")), "alice", "bob"); later.State != law.Approved {
		t.Errorf("an operation created after it is %s", later.State)
	}
}

// An administrator lowers a requirement, or adds himself as an approver, approves, and puts it back.
func TestAnAdministratorDoesNotReleaseWhatIsPendingByChangingTheRulesToAndFro(t *testing.T) {
	approvers := func(members ...law.SubjectID) func(*law.Configuration) {
		return func(c *law.Configuration) {
			for i := range c.Roles {
				if c.Roles[i].ID == "prod-approvers" {
					c.Roles[i].Members = members
				}
			}
		}
	}
	for what, c := range map[string]struct{ there, back func(*law.Configuration) }{
		"the requirement is lowered":  {requiring("fw-prod", 1), requiring("fw-prod", 2)},
		"the requirement is none":     {requiring("fw-prod", 0), requiring("fw-prod", 2)},
		"he approves himself":         {approvers("carol", "peter", "ada"), approvers("carol", "peter")},
		"both administrators approve": {approvers("carol", "peter", "ada", "adam"), approvers("carol", "peter")},
	} {
		t.Run(what, func(t *testing.T) {
			k := testkit.New(t)
			o := k.Approve(k.Create(testkit.Ask("fw-prod")), "alice")
			for range 2 {
				k.Configure(c.there)
				expectState(k, o, law.Pending)
				for _, who := range []law.SubjectID{"ada", "adam"} {
					_, err := k.Keyserver.Approve(k.Context(), k.Caller(who), o.ID, o.Digest)
					testkit.Refused(t, "an approval by "+string(who), err, law.Forbidden)
				}
				_, err := k.Sign(o, testkit.OrderAsk("fw-prod", "1", "image"))
				testkit.Refused(t, "an order", err, law.WrongState)
				k.Configure(c.back)
				expectState(k, o, law.Pending)
			}
			if n := len(k.Keystore.Calls()); n != 0 {
				t.Errorf("the keystore was asked %d times", n)
			}
			k.MustSign(k.Approve(o, "carol"), testkit.OrderAsk("fw-prod", "1", "image")) // as it was meant
		})
	}
}

func TestARequirementThatIsRaisedActsAtOnceAndOneThatIsLoweredEasesNothing(t *testing.T) {
	k := testkit.New(t)
	approved, pending := k.Approve(k.Create(testkit.Ask("fw-prod")), "alice", "bob"), k.Approve(k.Create(testkit.Ask("fw-prod")), "alice")
	require(k, "fw-prod", 3)
	expectState(k, approved, law.Pending)
	_, err := k.Sign(approved, testkit.OrderAsk("fw-prod", "1", "image"))
	testkit.Refused(t, "an order under what has lapsed", err, law.WrongState)
	require(k, "fw-prod", 1)
	expectState(k, approved, law.Approved) // it has the two that it was created with
	expectState(k, pending, law.Pending)
	k.MustSign(approved, testkit.OrderAsk("fw-prod", "1", "image"))
	expectState(k, k.Approve(pending, "carol"), law.Approved)
}

package keyserver_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/testkit"
)

// refusals lists the kinds of the refusals in the audit log, of one operation or all, in order.
func refusals(k *testkit.Kit, id law.OperationID) []law.RefusalKind {
	var kinds []law.RefusalKind
	for _, e := range k.Events(id) {
		if e.Refusal != "" {
			kinds = append(kinds, e.Refusal)
		}
	}
	return kinds
}

// expectCounts checks how many events of each type an operation has.
func expectCounts(k *testkit.Kit, id law.OperationID, want map[audit.Type]int) {
	k.Helper()
	for of, n := range want {
		if got := k.Count(id, of); got != n {
			k.Errorf("there are %d events %s, want %d", got, of, n)
		}
	}
}

func expectState(k *testkit.Kit, o keyserver.Operation, want law.State) {
	k.Helper()
	if got := k.State(o.ID); got != want {
		k.Errorf("the operation is %s, want %s", got, want)
	}
}

// AR-01
func TestAR01_UseBeforeApprovalIsRefused(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-prod", "fw-dev"))
	for _, who := range []law.SubjectID{"alice", "bob"} {
		expectState(k, o, law.Pending)
		for _, key := range []law.KeyID{"fw-prod", "fw-dev"} { // also the one that needs nobody
			_, err := k.Sign(o, testkit.OrderAsk(key, "early", "image"))
			testkit.Refused(t, "a use before approval", err, law.WrongState)
		}
		k.Approve(o, who)
	}
	expectState(k, o, law.Approved)
	if n := k.Keystore.Signs("fw-prod") + k.Keystore.Signs("fw-dev"); n != 0 {
		t.Errorf("the keystore was asked %d times before the approval", n)
	}
	// A refused order leaves no trace under its idempotency key: the same ones are good now.
	k.MustSign(o, testkit.OrderAsk("fw-dev", "early", "another image"))
	k.MustSign(o, testkit.OrderAsk("fw-prod", "early", "image"))

	expectCounts(k, o.ID, map[audit.Type]int{
		audit.OperationCreated: 1, audit.OperationApproved: 2, audit.OperationBecameApproved: 1, audit.OrderRefused: 4,
		audit.OrderAccepted: 2, audit.OrderSigned: 2, audit.OperationExhausted: 1,
	})
	for i, e := range k.EventsOf(o.ID, audit.OperationApproved) {
		if who := []law.SubjectID{"alice", "bob"}[i]; e.Actor.Subject != who || e.Actor.Issuer != k.IdP.URL || e.Actor.Sub != string(who) || e.Actor.Address == "" {
			t.Errorf("approval %d was given by %+v", i, e.Actor)
		}
		if !slices.Equal(e.Covers, []law.KeyID{"fw-prod", "fw-dev"}) || e.Digest != o.Digest {
			t.Errorf("approval %d covers %v of %s", i, e.Covers, e.Digest)
		}
	}
}

// AR-02
func TestAR02_KeysThatNeedNobodyAreApprovedAtCreationAndSaidToBe(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-dev", "fw-ed"))
	if o.State != law.Approved {
		t.Errorf("the operation is %s", o.State)
	}
	became := k.EventsOf(o.ID, audit.OperationBecameApproved)
	if len(became) != 1 || became[0].Reason != "automatic: every key requires 0 approvals" || became[0].Actor != nil {
		t.Errorf("the events are %+v", became)
	}
}

// AR-02
func TestAR02_ARequirementThatIsAbsentIsAnErrorAtStart(t *testing.T) {
	k := testkit.New(t)
	world := testkit.World(k.IdP)
	world.Keys[0].Requirement = law.Requirement{}
	db, err := store.Create(k.Context(), store.File(t.TempDir()+"/keyserver.db"), "keyserver/other", store.Options{Clock: k.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := keyserver.Initialise(k.Context(), db, nil, law.Mode{}, world); err == nil {
		t.Error("a first configuration in which a key has no requirement was stored")
	}
	session := k.ActiveSession(nil)
	before := k.LogSize()
	_, err = k.ChangeIn(session, law.Changes{Set: law.Configuration{Keys: world.Keys[:1]}})
	testkit.Refused(t, "a key without a requirement", err, law.Impossible)
	if said := k.EventsSince(before); len(said) != 1 || said[0].Type != audit.SessionRefused {
		t.Errorf("the change that was refused left %+v", said)
	}
}

// AR-03
func TestAR03_AnApproverCountsOnce(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-prod"))
	const n = 32
	errs := make([]error, n)
	testkit.Race(n, func(i int) {
		_, errs[i] = k.Keyserver.Approve(k.Context(), k.Caller("alice"), o.ID, o.Digest)
	})
	given := 0
	for _, err := range errs {
		if err == nil {
			given++
		} else {
			testkit.Refused(t, "approving again", err, law.Duplicate)
		}
	}
	if given != 1 {
		t.Errorf("%d of %d approvals by one person at the same time were taken", given, n)
	}
	another := k.Caller("alice") // the same person with another token
	another.Sub, another.Request = "alice-at-home", uuid.NewString()
	_, err := k.Keyserver.Approve(k.Context(), another, o.ID, o.Digest)
	testkit.Refused(t, "approving again with another token", err, law.Duplicate)
	expectState(k, o, law.Pending)
	expectCounts(k, o.ID, map[audit.Type]int{audit.OperationApproved: 1, audit.RequestRefused: n, audit.OperationBecameApproved: 0})
	for _, kind := range refusals(k, o.ID) {
		if kind != law.Duplicate {
			t.Errorf("a refusal was written as %s", kind)
		}
	}
}

// AR-04
func TestAR04_NobodyApprovesTheirOwnOperation(t *testing.T) {
	k := testkit.New(t)
	o, err := k.CreateAs(k.Caller("peter"), testkit.Ask("fw-one")) // peter approves on fw-one, too
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Keyserver.Approve(k.Context(), k.Caller("peter"), o.ID, o.Digest)
	testkit.Refused(t, "approving one's own operation", err, law.Forbidden)
	expectState(k, o, law.Pending)
	refused := k.EventsOf(o.ID, audit.RequestRefused)
	if len(refused) != 1 || refused[0].Refusal != law.Forbidden || refused[0].Actor.Subject != "peter" || refused[0].Digest != o.Digest || refused[0].Reason == "" {
		t.Errorf("the events are %+v", refused)
	}
	expectCounts(k, o.ID, map[audit.Type]int{audit.OperationApproved: 0})
}

// AR-05
func TestAR05_AnApprovalCountsForTheKeysItsGiverIsEligibleFor(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{World: func(c *law.Configuration) {
		c.Keys[2].Requirement = law.Require(1) // fw-prod
	}})
	o := k.Create(testkit.Ask("fw-one", "fw-prod"))
	o = k.Approve(o, "dave")
	if o.State != law.Pending {
		t.Errorf("with one key's approval alone the operation is %s", o.State)
	}
	approved := k.EventsOf(o.ID, audit.OperationApproved)
	if len(approved) != 1 || !slices.Equal(approved[0].Covers, []law.KeyID{"fw-one"}) || !slices.Equal(o.Approvals[0].Covers, []law.KeyID{"fw-one"}) {
		t.Errorf("the approval covers %v and %v", approved, o.Approvals)
	}
	_, err := k.Keyserver.Approve(k.Context(), k.Caller("eve"), o.ID, o.Digest)
	testkit.Refused(t, "approval by somebody without a role", err, law.NotFound)
	if o = k.Approve(o, "carol"); o.State != law.Approved {
		t.Errorf("with both keys' approvals the operation is %s", o.State)
	}
	if got := refusals(k, o.ID); !slices.Equal(got, []law.RefusalKind{law.NotFound}) {
		t.Errorf("the refusals are %v", got)
	}
}

// AR-05
func TestAR05_ThePersonBehindAJobIsNotEligible(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{World: func(c *law.Configuration) {
		c.Issuers[0].ActorClaim, c.Issuers[0].ActorOptional = "actor", true
		for i := range c.Subjects {
			if c.Subjects[i].ID == "bob" {
				c.Subjects[i].Actors = []law.ActorName{{Issuer: c.Issuers[0].URL, Value: "bob-ci"}}
			}
		}
	}})
	ci := k.Caller("ci")
	ci.Actor, ci.Claims = "bob-ci", []law.Claim{{Name: "actor", Present: true, Value: "bob-ci"}, {Name: "ref"}}
	o, err := k.CreateAs(ci, testkit.Ask("fw-one"))
	if err != nil {
		t.Fatal(err)
	}
	if o.Behind != "bob" || slices.Contains(o.Eligible["fw-one"], "bob") || !slices.Equal(o.Claims, ci.Claims) {
		t.Errorf("behind the operation is %q, eligible are %v, its claims are %v", o.Behind, o.Eligible, o.Claims)
	}
	_, err = k.Keyserver.Approve(k.Context(), k.Caller("bob"), o.ID, o.Digest)
	testkit.Refused(t, "approval by the person behind the job", err, law.Forbidden)
	if o = k.Approve(o, "alice"); o.State != law.Approved {
		t.Errorf("the operation is %s", o.State)
	}
	if e := k.EventsOf(o.ID, audit.OperationCreated)[0]; e.Behind != "bob" {
		t.Errorf("the event says that behind the orderer is %q", e.Behind)
	}
}

// AR-06
func TestAR06_AnApprovalIsWithdrawnUntilTheFirstOrderIsAccepted(t *testing.T) {
	k := testkit.New(t)
	o := k.Approve(k.Create(testkit.Ask("fw-prod", "fw-one")), "alice", "bob")
	_, err := k.Sign(o, law.OrderAsk{Key: "fw-one", IdempotencyKey: "bad", Hash: law.SHA256, Digest: []byte("short")})
	testkit.Refused(t, "a bad input", err, law.InputMisfit) // which does not close the window
	after, err := k.Keyserver.Withdraw(k.Context(), k.Caller("bob"), o.ID)
	if err != nil || after.State != law.Pending {
		t.Fatalf("after withdrawing the operation is %s (%v)", after.State, err)
	}
	_, err = k.Keyserver.Withdraw(k.Context(), k.Caller("bob"), o.ID)
	testkit.Refused(t, "withdrawing twice", err, law.WrongState)
	_, err = k.Sign(o, testkit.OrderAsk("fw-one", "lapsed", "image"))
	testkit.Refused(t, "a use after the withdrawal", err, law.WrongState)
	if k.Approve(o, "bob").State != law.Approved {
		t.Error("approving again does not count")
	}

	k.Keystore.Fail(fmt.Errorf("no power"))
	_, err = k.Sign(o, testkit.OrderAsk("fw-one", "first", "image"))
	testkit.Unavailable(t, "an order that the keystore fails", err, "keystore") // was accepted nevertheless
	_, err = k.Keyserver.Withdraw(k.Context(), k.Caller("bob"), o.ID)
	testkit.Refused(t, "withdrawing after the first order", err, law.WrongState)
	_, err = k.Keyserver.Reject(k.Context(), k.Caller("alice"), o.ID, "too late")
	testkit.Refused(t, "rejecting after the first order", err, law.WrongState)
	expectState(k, o, law.Approved)
	expectCounts(k, o.ID, map[audit.Type]int{
		audit.OperationApproved: 3, audit.OperationWithdrawn: 1, audit.OperationBecameApproved: 2, audit.OperationLapsed: 1,
		audit.OrderAccepted: 1, audit.OrderFailed: 1,
	})
	want := []law.RefusalKind{law.InputMisfit, law.WrongState, law.WrongState, law.WrongState, law.WrongState}
	if got := refusals(k, o.ID); !slices.Equal(got, want) {
		t.Errorf("the refusals are %v, want %v", got, want)
	}
}

// AR-07
func TestAR07_OneRejectionIsFinal(t *testing.T) {
	for _, approved := range []bool{false, true} {
		t.Run(fmt.Sprintf("approved=%t", approved), func(t *testing.T) {
			k := testkit.New(t)
			o := k.Approve(k.Create(testkit.Ask("fw-one", "fw-dev")), map[bool][]law.SubjectID{true: {"dave"}}[approved]...)
			rejected, err := k.Keyserver.Reject(k.Context(), k.Caller("dave"), o.ID, "not reviewed")
			if err != nil || rejected.State != law.Rejected || rejected.Ending.By != "dave" || rejected.Ending.Reason != "not reviewed" {
				t.Fatalf("rejected: %+v (%v)", rejected, err)
			}
			everythingIsRefused(k, o, law.WrongState)
			if after := k.Look(o.ID); after.State != law.Rejected || after.Revision != rejected.Revision {
				t.Errorf("the operation became %+v", after)
			}
			said := k.EventsOf(o.ID, audit.OperationRejected)
			if len(said) != 1 || said[0].Actor.Subject != "dave" || said[0].Reason != "not reviewed" {
				t.Errorf("the events are %+v", said)
			}
		})
	}
}

// everythingIsRefused tries all that can be done to an operation of olga's on fw-one and fw-dev that has
// ended, and checks that each refusal is one event.
func everythingIsRefused(k *testkit.Kit, o keyserver.Operation, want law.RefusalKind) {
	k.Helper()
	server, ctx := k.Keyserver, k.Context()
	before, signs := k.LogSize(), len(k.Keystore.Calls())
	n := 0
	for what, do := range map[string]func() error{
		"approving": func() error { _, err := server.Approve(ctx, k.Caller("alice"), o.ID, o.Digest); return err },
		"approving as the one who did": func() error {
			_, err := server.Approve(ctx, k.Caller("dave"), o.ID, o.Digest)
			return err
		},
		"withdrawing":           func() error { _, err := server.Withdraw(ctx, k.Caller("dave"), o.ID); return err },
		"rejecting":             func() error { _, err := server.Reject(ctx, k.Caller("bob"), o.ID, "no"); return err },
		"revoking as orderer":   func() error { _, err := server.Revoke(ctx, k.Caller("olga"), o.ID, "no"); return err },
		"revoking as approver":  func() error { _, err := server.Revoke(ctx, k.Caller("alice"), o.ID, "no"); return err },
		"revoking as an admin":  func() error { _, err := server.Revoke(ctx, k.Caller("ada"), o.ID, "no"); return err },
		"signing":               func() error { _, err := k.Sign(o, testkit.OrderAsk("fw-one", "late", "image")); return err },
		"signing, needs nobody": func() error { _, err := k.Sign(o, testkit.OrderAsk("fw-dev", "late", "image")); return err },
	} {
		testkit.Refused(k, what, do(), want)
		n++
	}
	events := k.EventsSince(before)
	for _, e := range events {
		if e.Refusal != want || e.Actor == nil || e.Route == "" || e.Operation != o.ID {
			k.Errorf("a refusal was written as %+v", e)
		}
	}
	if len(events) != n || len(k.Keystore.Calls()) != signs {
		k.Errorf("%d refusals left %d events and %d calls of the keystore", n, len(events), len(k.Keystore.Calls())-signs)
	}
}

// AR-08
func TestAR08_NothingBringsAnExpiredOperationBack(t *testing.T) {
	k := testkit.New(t)
	o := k.Approve(k.Create(testkit.Ask("fw-one", "fw-dev")), "dave")
	k.MustSign(o, testkit.OrderAsk("fw-dev", "in time", "image"))
	k.Clock.Step(testkit.Day)
	expectState(k, o, law.Expired) // though nobody has written it down
	expectCounts(k, o.ID, map[audit.Type]int{audit.OperationExpired: 0})
	_, err := k.Keyserver.Approve(k.Context(), k.Caller("bob"), o.ID, o.Digest)
	testkit.Refused(t, "the request that finds it expired", err, law.WrongState) // stores the expiry, too
	everythingIsRefused(k, o, law.WrongState)
	k.Beat()
	k.Restart()
	k.Clock.Step(-testkit.Day)
	expectState(k, o, law.Expired)
	k.AcceptClock()
	everythingIsRefused(k, o, law.WrongState)
	expectState(k, o, law.Expired)
	expectCounts(k, o.ID, map[audit.Type]int{audit.OperationExpired: 1, audit.OperationRevoked: 0})
	again, err := k.Sign(o, testkit.OrderAsk("fw-dev", "in time", "image"))
	if err != nil || again.State != law.OrderSigned {
		t.Errorf("the signature made in time is not to be had: %v", err)
	}
}

// AR-09
func TestAR09_ARequirementThatNobodyCanMeetIsRefusedAtCreation(t *testing.T) {
	k := testkit.New(t)
	require(k, "fw-prod", 4) // of four approvers
	k.Enable("carol", false)
	_, err := k.CreateAs(k.Caller("olga"), testkit.Ask("fw-dev", "fw-prod"))
	testkit.Refused(t, "an operation that nobody could approve", err, law.Impossible)
	refused := k.EventsOf("", audit.OperationRefused)
	if len(refused) != 1 || refused[0].Refusal != law.Impossible || refused[0].Actor.Subject != "olga" || k.Count("", audit.OperationCreated) != 0 {
		t.Errorf("the events are %+v", refused)
	}
	require(k, "fw-prod", 1)
	list, err := k.Keyserver.Operations(k.Context(), k.Caller("olga"), keyserver.OperationFilter{Page: keyserver.Page{Limit: 10}})
	if err != nil || len(list.Operations) != 0 {
		t.Errorf("what was refused is there after all: %+v (%v)", list, err)
	}
}

// AR-09
func TestAR09_NothingAnAdministratorChangesMakesAnOpenOperationEasier(t *testing.T) {
	k := testkit.New(t)
	o := k.Approve(k.Create(testkit.Ask("fw-prod")), "alice")
	k.ReconfigureKey("fw-prod", func(key *law.Key) { key.Requirement = law.Require(0) })
	expectState(k, o, law.Pending)
	_, err := k.Sign(o, testkit.OrderAsk("fw-prod", "1", "image"))
	testkit.Refused(t, "a use after the requirement was lowered", err, law.WrongState)
	k.Members("prod-approvers", "carol", "peter", "dave") // dave was not eligible when it was created
	_, err = k.Keyserver.Approve(k.Context(), k.Caller("dave"), o.ID, o.Digest)
	testkit.Refused(t, "approval by somebody who became an approver later", err, law.Forbidden)
	expectState(k, o, law.Pending)
	expectCounts(k, o.ID, map[audit.Type]int{audit.OperationBecameApproved: 0, audit.OperationApproved: 1})
	if k.Approve(o, "carol").State != law.Approved {
		t.Error("the requirement as it was cannot be met any more")
	}
	later := k.Create(testkit.Ask("fw-prod"))
	expectState(k, later, law.Approved) // by the requirement as it is now
}

// AR-10
func TestAR10_KeysAreExhaustedOneByOne(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev", "fw-one")
	ask.Keys[1].MaxUses = 2
	o := k.Approve(k.Create(ask), "dave")
	k.MustSign(o, testkit.OrderAsk("fw-dev", "1", "image"))
	_, err := k.Sign(o, testkit.OrderAsk("fw-dev", "2", "image"))
	testkit.Refused(t, "a use of a key that has none left", err, law.WrongState)
	for i, idempotencyKey := range []string{"1", "2"} {
		expectState(k, o, law.Approved)
		if order := k.MustSign(o, testkit.OrderAsk("fw-one", idempotencyKey, "image")); order.Use != i+1 || order.Of != 2 {
			t.Errorf("this is use %d of %d", order.Use, order.Of)
		}
	}
	expectState(k, o, law.Exhausted)
	_, err = k.Sign(o, testkit.OrderAsk("fw-one", "3", "image"))
	testkit.Refused(t, "a use of an exhausted operation", err, law.WrongState)
	var uses []string
	for _, e := range k.EventsOf(o.ID, audit.OrderAccepted) {
		uses = append(uses, fmt.Sprintf("%s %d/%d", e.Key, e.Use, e.Of))
	}
	if !slices.Equal(uses, []string{"fw-dev 1/1", "fw-one 1/2", "fw-one 2/2"}) {
		t.Errorf("the log has the uses %v", uses)
	}
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderSigned: 3, audit.OrderRefused: 2, audit.OperationExhausted: 1})
}

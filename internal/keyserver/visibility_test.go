package keyserver_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// looks are the ways to get at an operation or its sign order.
var looks = map[string]func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, order law.OrderID) error{
	"the operation": func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, _ law.OrderID) error {
		_, err := k.Keyserver.Operation(k.Context(), c, id)
		return err
	},
	"waiting": func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, _ law.OrderID) error {
		_, err := k.Keyserver.WaitOperation(k.Context(), c, id, 0, time.Hour)
		return err
	},
	"its sign orders": func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, _ law.OrderID) error {
		_, err := k.Keyserver.SignOrders(k.Context(), c, id, keyserver.Page{Limit: 1})
		return err
	},
	"its events": func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, _ law.OrderID) error {
		_, err := k.Keyserver.Events(k.Context(), c, keyserver.EventFilter{Operation: id, Page: keyserver.Page{Limit: 1}})
		return err
	},
	"a sign order": func(k *testkit.Kit, c keyserver.Caller, _ law.OperationID, order law.OrderID) error {
		_, err := k.Keyserver.SignOrder(k.Context(), c, order)
		return err
	},
}

// acts are the ways to do something to an operation.
var acts = map[string]func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, d law.Digest) error{
	"approving": func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, d law.Digest) error {
		_, err := k.Keyserver.Approve(k.Context(), c, id, d)
		return err
	},
	"withdrawing": func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, _ law.Digest) error {
		_, err := k.Keyserver.Withdraw(k.Context(), c, id)
		return err
	},
	"rejecting": func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, _ law.Digest) error {
		_, err := k.Keyserver.Reject(k.Context(), c, id, "no")
		return err
	},
	"revoking": func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, _ law.Digest) error {
		_, err := k.Keyserver.Revoke(k.Context(), c, id, "no")
		return err
	},
	"signing": func(k *testkit.Kit, c keyserver.Caller, id law.OperationID, _ law.Digest) error {
		_, err := k.Keyserver.PlaceSignOrder(k.Context(), c, id, testkit.OrderAsk("fw-prod", "foreign", "image"))
		return err
	},
}

func TestAnOperationExistsForThoseWhomItConcernsAlone(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-prod")
	ask.Clients, ask.Keys[0].MaxUses = []law.SubjectID{"ci"}, 2
	o := k.Approve(k.Create(ask), "alice", "bob")
	order := k.MustSign(o, testkit.OrderAsk("fw-prod", "1", "image"))

	for _, who := range []law.SubjectID{"olga", "ci", "alice", "bob", "carol", "peter", "ada", "adam", "audrey"} {
		size := k.LogSize()
		for what, look := range looks {
			if err := look(k, k.Caller(who), o.ID, order.ID); err != nil {
				t.Errorf("%s looks at %s: %v", who, what, err)
			}
		}
		if n := k.LogSize() - size; n != 0 {
			t.Errorf("that %s looked left %d events", who, n)
		}
	}
	for _, who := range []law.SubjectID{"oscar", "dave", "eve", "nobody"} {
		for what, look := range looks {
			hidden(k, string(who)+" looks at "+what, who, o, func() error { return look(k, k.Caller(who), o.ID, order.ID) })
		}
		for what, act := range acts {
			hidden(k, string(who)+" tries "+what, who, o, func() error { return act(k, k.Caller(who), o.ID, o.Digest) })
		}
		list, err := k.Keyserver.Operations(k.Context(), k.Caller(who), keyserver.OperationFilter{Page: keyserver.Page{Limit: 10}})
		if err != nil || len(list.Operations) != 0 || list.Next != "" {
			t.Errorf("%s lists %+v (%v)", who, list, err)
		}
	}
	if after := k.Look(o.ID); after.Usage["fw-prod"] != (law.Usage{Taken: 1, Signed: 1}) || after.State != law.Approved {
		t.Errorf("the operation is %s, its usage %+v", after.State, after.Usage)
	}
}

// hidden checks that what somebody does is answered as if there were no such thing, and is one event.
func hidden(k *testkit.Kit, what string, who law.SubjectID, o keyserver.Operation, do func() error) {
	k.Helper()
	size := k.LogSize()
	err := do()
	testkit.Refused(k, what, err, law.NotFound)
	if unknown := looks["the operation"](k, k.Caller(who), law.OperationID(uuid.NewString()), ""); err == nil ||
		!strings.HasPrefix(unknown.Error(), "there is no such") || !strings.HasPrefix(err.Error(), "there is no such") {
		k.Errorf("%s: hidden is told as %v, unknown as %v", what, err, unknown)
	}
	events := k.EventsSince(size)
	if len(events) != 1 || events[0].Refusal != law.NotFound || events[0].Actor.Subject != who || events[0].Operation != o.ID && events[0].Order == "" {
		k.Errorf("%s: the events are %+v", what, events)
	}
}

func TestLookingForWhatThereIsNotIsNoEvent(t *testing.T) {
	k := testkit.New(t)
	size := k.LogSize()
	for what, look := range looks {
		testkit.Refused(t, what, look(k, k.Caller("olga"), law.OperationID(uuid.NewString()), law.OrderID(uuid.NewString())), law.NotFound)
	}
	for what, act := range acts {
		testkit.Refused(t, what, act(k, k.Caller("olga"), law.OperationID(uuid.NewString()), "00"), law.NotFound)
	}
	_, err := k.Keyserver.Key(k.Context(), k.Caller("olga"), "fw-none")
	testkit.Refused(t, "a key", err, law.NotFound)
	if n := k.LogSize() - size; n != 0 {
		t.Errorf("there are %d events", n)
	}
}

// AZ-02
func TestAZ02_AnotherOrderersOperationIsNotThere(t *testing.T) {
	k := testkit.New(t)
	o := k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	_, err := k.Place("oscar", o, testkit.OrderAsk("fw-one", "1", "image"))
	testkit.Refused(t, "an order of somebody else", err, law.NotFound)
	_, err = k.Place("ci", o, testkit.OrderAsk("fw-one", "1", "image")) // who orders on this key
	testkit.Refused(t, "an order of another orderer of the key", err, law.NotFound)
	_, err = k.Place("dave", o, testkit.OrderAsk("fw-one", "1", "image")) // who sees it
	testkit.Refused(t, "an order of an approver", err, law.Forbidden)
	if usage := k.Look(o.ID).Usage["fw-one"]; usage != (law.Usage{}) || k.Keystore.Signs("fw-one") != 0 {
		t.Errorf("the usage is %+v, the keystore was asked %d times", usage, k.Keystore.Signs("fw-one"))
	}
	var who []law.SubjectID
	for _, e := range k.EventsOf(o.ID, audit.OrderRefused) {
		who = append(who, e.Actor.Subject)
		if e.Digest != o.Digest || e.Key != "fw-one" || e.IdempotencyKey != "1" {
			t.Errorf("the event is %+v", e)
		}
	}
	if !slices.Equal(who, []law.SubjectID{"oscar", "ci", "dave"}) {
		t.Errorf("refused were %v", who)
	}
}

func TestASignatureIsForItsRequester(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev")
	ask.Clients = []law.SubjectID{"ci"}
	o := k.Create(ask)
	made, err := k.Place("ci", o, testkit.OrderAsk("fw-dev", "1", "image"))
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []law.SubjectID{"ci", "olga", "alice", "ada", "audrey"} {
		one, err := k.Keyserver.SignOrder(k.Context(), k.Caller(who), made.ID)
		list, err2 := k.Keyserver.SignOrders(k.Context(), k.Caller(who), o.ID, keyserver.Page{Limit: 10})
		if err := errors.Join(err, err2); err != nil || len(list.Orders) != 1 {
			t.Fatalf("%s: %+v (%v)", who, list, err)
		}
		for _, got := range []keyserver.SignOrder{one, list.Orders[0]} {
			if got.ID != made.ID || got.State != law.OrderSigned || got.Of != 1 || got.Checkpoint == "" ||
				bytes.Equal(got.Signature, made.Signature) != (who == "ci") || (who != "ci" && got.Signature != nil) {
				t.Errorf("%s sees %+v", who, got)
			}
		}
	}
}

func TestTheStoryOfASessionIsForThoseForWhomItExists(t *testing.T) {
	k := testkit.New(t)
	session, other := k.OpenSession(nil), k.OpenSession(nil)
	if _, err := k.Keyserver.CloseSession(k.Context(), k.Caller("ada"), session.ID); err != nil {
		t.Fatal(err)
	}
	for _, who := range []law.SubjectID{"ada", "audrey"} {
		page, err := k.Keyserver.Events(k.Context(), k.Caller(who), keyserver.EventFilter{Session: session.ID, Page: keyserver.Page{Limit: 10}})
		if err != nil || len(page.Leaves) != 2 || page.Next != "" {
			t.Errorf("%s reads %d events (%v)", who, len(page.Leaves), err)
		}
		for _, leaf := range page.Leaves {
			if e, err := audit.ParseLeaf(leaf); err != nil || e.Session != string(session.ID) || e.Session == string(other.ID) {
				t.Errorf("%s reads %s (%v)", who, leaf, err)
			}
		}
	}
	o, size := k.Create(testkit.Ask("fw-dev")), k.LogSize()
	for _, f := range []keyserver.EventFilter{{Session: session.ID}, {Session: session.ID, Operation: o.ID}} {
		f.Page.Limit = 10
		_, err := k.Keyserver.Events(k.Context(), k.Caller("olga"), f)
		testkit.Refused(t, "olga reads the story of a session", err, law.NotFound)
	}
	events := k.EventsSince(size)
	if len(events) != 2 || events[0].Type != audit.RequestRefused || events[0].Session != string(session.ID) {
		t.Errorf("the events are %+v", events)
	}
	_, err := k.Keyserver.Events(k.Context(), k.Caller("ada"), keyserver.EventFilter{Session: "none", Page: keyserver.Page{Limit: 10}})
	testkit.Refused(t, "the story of no session", err, law.NotFound)
}

func TestKeysAreThereForThoseWithARoleOnThem(t *testing.T) {
	k := testkit.New(t)
	all := []law.KeyID{"ca-dev", "fw-dev", "fw-ed", "fw-one", "fw-other", "fw-prod", "root"}
	for who, want := range map[law.SubjectID][]law.KeyID{
		"olga": {"ca-dev", "fw-dev", "fw-ed", "fw-one", "fw-prod"}, "oscar": {"fw-other"}, "ci": {"fw-dev", "fw-one", "fw-prod"},
		"alice": {"ca-dev", "fw-dev", "fw-ed", "fw-one", "fw-other", "fw-prod"}, "carol": {"fw-prod"}, "peter": {"fw-one", "fw-prod"},
		"ada": all, "audrey": all, "eve": nil,
	} {
		keys, err := k.Keyserver.Keys(k.Context(), k.Caller(who))
		var got []law.KeyID
		for _, key := range keys {
			got = append(got, key.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s sees the keys %v, want %v (%v)", who, got, want, err)
		}
		for _, id := range all {
			size := k.LogSize()
			key, err := k.Keyserver.Key(k.Context(), k.Caller(who), id)
			events := k.EventsSince(size)
			if slices.Contains(want, id) {
				if err != nil || key.ID != id || len(events) != 0 {
					t.Errorf("%s does not see key %s: %v", who, id, err)
				}
				continue
			}
			testkit.Refused(t, string(who)+" looks at "+string(id), err, law.NotFound)
			if len(events) != 1 || events[0].Type != audit.RequestRefused || events[0].Key != id || events[0].Actor.Subject != who {
				t.Errorf("%s: the events are %+v", who, events)
			}
		}
	}
}

func TestWhoAmISaysTheRolesOneHas(t *testing.T) {
	k := testkit.New(t)
	self, err := k.Keyserver.WhoAmI(k.Context(), k.Caller("peter"))
	var roles []law.RoleID
	for _, r := range self.Roles {
		roles = append(roles, r.ID)
	}
	if err != nil || self.Subject.ID != "peter" || !slices.Equal(roles, []law.RoleID{"one-approvers", "peter-orders", "prod-approvers"}) {
		t.Errorf("peter is %+v with %v (%v)", self.Subject, roles, err)
	}
}

func TestTheWholeLogIsForAuditorsAndAdministrators(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-one"))
	for who, sees := range map[law.SubjectID]bool{"audrey": true, "ada": true, "olga": false, "alice": false, "ci": false, "eve": false} {
		size := k.LogSize()
		var export bytes.Buffer
		err := k.Keyserver.Export(k.Context(), k.Caller(who), &export)
		_, err2 := k.Keyserver.Events(k.Context(), k.Caller(who), keyserver.EventFilter{Page: keyserver.Page{Limit: 10}})
		events := k.EventsSince(size)
		if !sees {
			testkit.Refused(t, string(who)+" exports", err, law.Forbidden)
			testkit.Refused(t, string(who)+" lists", err2, law.Forbidden)
			if export.Len() > 0 || len(events) != 2 || events[0].Type != audit.RequestRefused {
				t.Errorf("%s was given %d bytes; the events are %+v", who, export.Len(), events)
			}
		} else if err := errors.Join(err, err2); err != nil || len(events) != 0 || export.Len() == 0 {
			t.Errorf("%s: %v, %d events", who, err, len(events))
		}
		if checkpoint, err := k.Keyserver.Checkpoint(k.Context(), k.Caller(who)); err != nil || !strings.HasPrefix(checkpoint, k.ServerID+"\n") {
			t.Errorf("%s gets the checkpoint %q (%v)", who, checkpoint, err)
		}
	}
	page, err := k.Keyserver.Events(k.Context(), k.Caller("olga"), keyserver.EventFilter{Operation: o.ID, Page: keyserver.Page{Limit: 10}})
	if err != nil || len(page.Leaves) != k.Count(o.ID, audit.OperationCreated) {
		t.Errorf("olga sees %d events of her operation (%v)", len(page.Leaves), err)
	}
}

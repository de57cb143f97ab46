package keyserver_test

import (
	"errors"
	"slices"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// reconfigurations are what an administrator can change, what it does to an operation of olga's on fw-one and
// fw-dev that dave has approved and that was used once, and what taking it back does.
var reconfigurations = map[string]struct {
	change, back func(*testkit.Kit)
	then         law.State // after the change
	after        law.State // after taking it back
}{
	"an approver loses the role": {
		func(k *testkit.Kit) { k.Members("one-approvers", "peter") },
		func(k *testkit.Kit) { k.Members("one-approvers", "peter", "dave") }, law.Pending, law.Approved,
	},
	"an approver is disabled": {
		func(k *testkit.Kit) { k.Enable("dave", false) },
		func(k *testkit.Kit) { k.Enable("dave", true) }, law.Pending, law.Approved,
	},
	"the orderer is disabled": {
		func(k *testkit.Kit) { k.Enable("olga", false) },
		func(k *testkit.Kit) { k.Enable("olga", true) }, law.Pending, law.Approved,
	},
	"the orderer loses the role": {
		func(k *testkit.Kit) { k.Members("orderers", "oscar") },
		func(k *testkit.Kit) { k.Members("orderers", "olga") }, law.Pending, law.Approved,
	},
	"the orderer's role loses a key": {
		func(k *testkit.Kit) { covers(k, "orderers", "fw-one", "fw-prod") },
		func(k *testkit.Kit) { covers(k, "orderers", "fw-one", "fw-prod", "fw-dev") }, law.Pending, law.Approved,
	},
	"a requirement is raised": {
		func(k *testkit.Kit) { require(k, "fw-one", 2) },
		func(k *testkit.Kit) { require(k, "fw-one", 1) }, law.Pending, law.Approved,
	},
	"the requirement of the other key is raised": {
		func(k *testkit.Kit) { require(k, "fw-dev", 1) },
		func(k *testkit.Kit) { require(k, "fw-dev", 0) }, law.Pending, law.Approved,
	},
	"a key is disabled": {
		func(k *testkit.Kit) { state(k, "fw-dev", law.KeyDisabled) },
		func(k *testkit.Kit) { state(k, "fw-dev", law.KeyActive) }, law.Pending, law.Approved,
	},
	"a key is revoked": {
		func(k *testkit.Kit) { state(k, "fw-dev", law.KeyRevoked) },
		func(*testkit.Kit) {}, law.Revoked, law.Revoked, // for ever
	},
	"a key pair is replaced": {
		func(k *testkit.Kit) { k.ReplaceKeyPair("fw-one") },
		func(k *testkit.Kit) { k.ReplaceKeyPair("fw-one") }, law.Revoked, law.Revoked,
	},
}

func require(k *testkit.Kit, id law.KeyID, people int) { k.Configure(requiring(id, people)) }

// requiring changes what a key requires.
func requiring(id law.KeyID, people int) func(*law.Configuration) {
	return func(c *law.Configuration) {
		testkit.ChangeKey(c, id, func(key *law.Key) { key.Requirement = law.Require(people) })
	}
}

func state(k *testkit.Kit, id law.KeyID, s law.KeyState) {
	k.ReconfigureKey(id, func(key *law.Key) { key.State = s })
}

func covers(k *testkit.Kit, id law.RoleID, keys ...law.KeyID) {
	k.Configure(func(c *law.Configuration) {
		for i := range c.Roles {
			if c.Roles[i].ID == id {
				c.Roles[i].Keys = keys
			}
		}
	})
}

func TestAChangeOfTheConfigurationActsAtOnceOnOpenOperations(t *testing.T) {
	for what, c := range reconfigurations {
		t.Run(what, func(t *testing.T) {
			k := testkit.New(t)
			ask := testkit.Ask("fw-one", "fw-dev")
			ask.Keys[0].MaxUses, ask.Keys[1].MaxUses = 2, 2
			o := k.Approve(k.Create(ask), "dave")
			k.MustSign(o, testkit.OrderAsk("fw-one", "1", "image"))
			untouched := k.Create(testkit.Ask("fw-prod"))

			c.change(k)
			changesWith(k, o, c.then)
			_, err := k.Sign(o, testkit.OrderAsk("fw-one", "2", "image"))
			if _, is := errors.AsType[*law.Refusal](err); !is {
				t.Errorf("a use after the change: %v", err)
			}
			c.back(k)
			if c.after != c.then {
				changesWith(k, o, c.after)
				k.MustSign(o, testkit.OrderAsk("fw-one", "2", "image"))
			}
			expectState(k, o, c.after)
			if after := k.Look(untouched.ID); after.Revision != untouched.Revision {
				t.Errorf("an operation that it did not touch is %s, revision %d", after.State, after.Revision)
			}
			if n := len(k.Keystore.Calls()); (c.after == law.Approved) != (n == 2) {
				t.Errorf("the keystore was asked %d times", n)
			}
		})
	}
}

// changesWith checks that the last change of the configuration is one event, followed in the same commit by
// what it made of the operation, written by the server.
func changesWith(k *testkit.Kit, o keyserver.Operation, want law.State) {
	k.Helper()
	events := k.Events("")
	last := len(events) - 1
	for events[last].Type != audit.ConfigurationChanged {
		last--
	}
	of := map[law.State]audit.Type{law.Pending: audit.OperationLapsed, law.Approved: audit.OperationBecameApproved, law.Revoked: audit.OperationRevoked}[want]
	e := events[last+1]
	if e.Type != of || e.Operation != o.ID || e.Actor != nil || e.Reason == "" || e.Batch != events[last].Batch {
		k.Errorf("after %+v came %+v, want %s", events[last], e, of)
	}
	if c := events[last]; c.Actor == nil || c.Actor.Subject != "ada" || c.Reason == "" {
		k.Errorf("the change was written as %+v", c)
	}
	if events[last-1].Type == audit.ConfigurationChanged && events[last-1].Batch == events[last].Batch {
		k.Errorf("the change of one object was written as more: %+v", events[last-1].Configuration)
	}
	expectState(k, o, want)
}

func TestAChangeOfNothingIsRefused(t *testing.T) {
	k := testkit.New(t)
	session := k.ActiveSession(nil)
	_, err := k.ChangeIn(session, law.Changes{})
	testkit.Refused(t, "a change of nothing", err, law.Impossible)
	policy := k.Policy(func(*law.Configuration) {})
	_, err = k.Keyserver.OpenSession(t.Context(), k.Caller("ada"), keyserver.OpenSessionRequest{Description: "nothing", Policy: &policy})
	testkit.Refused(t, "a plan of nothing", err, law.Impossible)
}

func TestAConfigurationThatMakesNoSenseChangesNothing(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-dev"))
	session := k.ActiveSession(nil)
	size := k.LogSize()
	_, err := k.ChangeIn(session, law.Changes{Set: law.Configuration{
		Keys:  []law.Key{testkit.Key("fw-new", 1)},
		Roles: []law.Role{{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"fw-lost"}, Members: []law.SubjectID{"olga"}}},
	}})
	testkit.Refused(t, "a role on a key that does not exist", err, law.Impossible)
	if said := k.EventsSince(size); len(said) != 1 || said[0].Type != audit.SessionRefused {
		t.Errorf("what was refused left %+v", said)
	}
	expectState(k, o, law.Approved)
	if _, err := k.Keyserver.Key(k.Context(), k.Caller("ada"), "fw-new"); err == nil {
		t.Error("half of the configuration was stored")
	}
}

func TestAnAdministratorRevokesAnyOperationAndOthersTheirs(t *testing.T) {
	k := testkit.New(t)
	for _, who := range []law.SubjectID{"olga", "dave", "ada"} {
		o := k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
		revoked, err := k.Keyserver.Revoke(k.Context(), k.Caller(who), o.ID, "wrong tag")
		if err != nil || revoked.State != law.Revoked || revoked.Ending.By != who {
			t.Errorf("%s: %+v (%v)", who, revoked.Ending, err)
		}
		again, err := k.Keyserver.Revoke(k.Context(), k.Caller("ada"), o.ID, "another reason")
		if err != nil || again.Revision != revoked.Revision || again.Ending != revoked.Ending {
			t.Errorf("revoking what is revoked changed it to %+v (%v)", again.Ending, err)
		}
		said := k.EventsOf(o.ID, audit.OperationRevoked)
		if len(said) != 1 || said[0].Actor.Subject != who || said[0].Reason != "wrong tag" {
			t.Errorf("the events are %+v", said)
		}
	}
	o := k.Create(testkit.Ask("fw-one"))
	_, err := k.Keyserver.Revoke(k.Context(), k.Caller("audrey"), o.ID, "I may look only")
	testkit.Refused(t, "revoking by an auditor", err, law.Forbidden)
	if got := refusals(k, o.ID); !slices.Equal(got, []law.RefusalKind{law.Forbidden}) {
		t.Errorf("the refusals are %v", got)
	}
}

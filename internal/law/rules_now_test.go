package law_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// rule 9
func TestWhatAdministratorsTakeAwayActsAtOnceAndLapses(t *testing.T) {
	for name, c := range map[string]struct{ change, undo func(*world) }{
		"approver's role removed":  {func(w *world) { w.leave("approvers-test", "anna") }, func(w *world) { w.join("approvers-test", "anna") }},
		"approver disabled":        {func(w *world) { w.enable("anna", false) }, func(w *world) { w.enable("anna", true) }},
		"orderer's role removed":   {func(w *world) { w.leave("orderers", "olga") }, func(w *world) { w.join("orderers", "olga") }},
		"orderer disabled":         {func(w *world) { w.enable("olga", false) }, func(w *world) { w.enable("olga", true) }},
		"requirement raised":       {func(w *world) { w.require("fw-test", 2) }, func(w *world) { w.require("fw-test", 1) }},
		"requirement of the other": {func(w *world) { w.require("fw-dev", 1) }, func(w *world) { w.require("fw-dev", 0) }},
		"key disabled":             {func(w *world) { w.setState("fw-test", law.KeyDisabled) }, func(w *world) { w.setState("fw-test", law.KeyActive) }},
		"other key disabled":       {func(w *world) { w.setState("fw-dev", law.KeyDisabled) }, func(w *world) { w.setState("fw-dev", law.KeyActive) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.orderWith(func(a *law.Ask) { a.Clients, a.Keys[1].MaxUses = []law.SubjectID{"line"}, 5 }, "fw-test", "fw-dev")
			w.ok(w.approve("anna"))
			failed := w.okOrder(w.fail(w.okOrder(w.place("line", "fw-dev")))) // used ones lapse, too
			c.change(w)
			w.noOrder(law.WrongState)(w.place("line", "fw-dev"))
			w.happened(law.DidLapse)
			if w.did[0].Reason == "" {
				t.Error("the event does not say why it lapsed")
			}
			w.is(law.Pending)
			w.noOrder(law.WrongState)(w.again(failed))
			w.noOrder(law.WrongState)(w.place("line", "fw-dev"))
			c.undo(w)
			w.settles(law.Approved, law.DidMeet)
			w.okOrder(w.place("line", "fw-dev"))
			w.okOrder(w.again(failed))
		})
	}
}

// rule 9
func TestObstaclesSayWhatKeepsAnOperationFromBeingApproved(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test", "fw-dev")
	if why := w.op.Obstacles(w.facts()); len(why) != 0 {
		t.Errorf("obstacles: %v", why)
	}
	w.enable("olga", false)
	w.setState("fw-dev", law.KeyDisabled)
	why := strings.Join(w.op.Obstacles(w.facts()), "\n")
	for _, want := range []string{"olga is disabled", "role on key fw-test", "role on key fw-dev", "fw-dev is not active"} {
		if !strings.Contains(why, want) {
			t.Errorf("obstacles %q do not say %q", why, want)
		}
	}
}

// rule 9
func TestARequirementThatWasLoweredStillBindsOperationsCreatedBefore(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod")
	w.require("fw-prod", 0)
	w.settles(law.Pending)
	w.ok(w.approve("anna"))
	w.is(law.Pending)
	w.ok(w.approve("bert"))
	w.is(law.Approved)
}

// rule 9
func TestARequirementThatWasRaisedBindsOpenOperations(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod")
	w.require("fw-prod", 3)
	w.ok(w.approve("anna"))
	w.ok(w.approve("bert"))
	w.is(law.Pending)
	w.ok(w.approve("carl"))
	w.is(law.Approved)
}

// rule 9
func TestAnApprovalByWhoLostTheRoleDoesNotCountUntilItIsBack(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod")
	w.ok(w.approve("anna"))
	w.leave("approvers-prod", "anna")
	w.ok(w.approve("bert"))
	w.is(law.Pending)
	w.join("approvers-prod", "anna")
	w.settles(law.Approved, law.DidMeet)
}

// rule 9
func TestWhoLostTheRoleNeitherApprovesNorRejectsNorRevokes(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod", "fw-test")
	w.leave("approvers-prod", "anna")
	w.leave("approvers-test", "anna")
	w.enable("bert", false)
	for _, who := range []law.SubjectID{"anna", "bert"} {
		w.refused(law.NotFound)(w.approve(who))
		w.refused(law.NotFound)(w.reject(who))
		w.refused(law.NotFound)(w.revoke(who))
	}
	if got := w.op.EligibleFor("carl", w.facts()); !slices.Equal(got, []law.KeyID{"fw-prod"}) {
		t.Errorf("carl is eligible for %v", got)
	}
}

// rule 9
func TestAKeyThatIsGoneEndsEveryOpenOperationThatNamesIt(t *testing.T) {
	for name, change := range map[string]func(*world){
		"revoked":  func(w *world) { w.setState("fw-dev", law.KeyRevoked) },
		"replaced": func(w *world) { w.changeKey("fw-dev", func(k *law.Key) { k.Version, k.Fingerprint = 2, "another" }) },
		"removed":  func(w *world) { w.removeKey("fw-dev") },
	} {
		t.Run(name, func(t *testing.T) {
			for _, approved := range []bool{false, true} {
				w := newWorld(t)
				w.order("fw-test", "fw-dev")
				if approved {
					w.ok(w.approve("anna"))
				}
				change(w)
				w.settles(law.Revoked, law.DidRevoke)
				if w.did[0].By != "" || !strings.Contains(w.did[0].Reason, "fw-dev") {
					t.Errorf("revoked by %q because %q", w.did[0].By, w.did[0].Reason)
				}
				w.endedForGood(law.Revoked)
			}
		})
	}
}

// rule 9
func TestAnOperationThatExpiredIsNotRevokedByItsKeyLater(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	w.now = monday.Add(time.Hour)
	w.setState("fw-test", law.KeyRevoked)
	w.settles(law.Expired, law.DidExpire)
}

// rule 9
func TestWhatBecomesAnArtifactKeyLaterStillNeedsNamedArtifacts(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev")
	w.changeKey("fw-dev", func(k *law.Key) { k.ArtifactsNeeded = true })
	w.noOrder(law.InputMisfit)(w.place("olga", "fw-dev"))
}

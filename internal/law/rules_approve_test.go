package law_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// rule 2
func TestEveryKeyNeedsItsApprovalsBeforeAnyCanBeUsed(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod", "fw-dev")
	w.noOrder(law.WrongState)(w.place("olga", "fw-dev"))
	w.ok(w.approve("anna"))
	w.is(law.Pending)
	w.happened(law.DidApprove)
	w.noOrder(law.WrongState)(w.place("olga", "fw-dev"))
	w.ok(w.approve("bert"))
	w.is(law.Approved)
	w.happened(law.DidApprove, law.DidMeet)
	w.okOrder(w.place("olga", "fw-dev"))
	w.okOrder(w.place("olga", "fw-prod"))
}

// rule 2
func TestOneKeysQuorumIsNotAnothers(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod", "fw-test")
	w.ok(w.approve("bert"))
	w.ok(w.approve("carl")) // two for fw-prod, nobody for fw-test
	w.is(law.Pending)
	w.ok(w.approve("dora")) // for fw-test
	w.is(law.Approved)
}

// rule 2
func TestWhereEveryKeyNeedsNobodyApprovalIsAutomaticAndSaysSo(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev", "ed")
	w.is(law.Approved)
	w.happened(law.DidCreate, law.DidMeet)
	if w.did[1].By != "" || !strings.HasPrefix(w.did[1].Reason, "automatic") {
		t.Errorf("became approved by %q because %q", w.did[1].By, w.did[1].Reason)
	}
	w.order("fw-test")
	w.ok(w.approve("anna"))
	if strings.HasPrefix(w.did[1].Reason, "automatic") {
		t.Errorf("approved by anna, but the event says %q", w.did[1].Reason)
	}
}

// rule 2
func TestAnApprovalThatSomebodyHadToGiveIsNeverCalledAutomatic(t *testing.T) {
	w := newWorld(t)
	w.addRole(law.Role{ID: "approvers-dev", Kind: law.Approver, Keys: []law.KeyID{"fw-dev"}, Members: []law.SubjectID{"anna"}})
	w.order("fw-dev")
	w.require("fw-dev", 1)
	w.settles(law.Pending, law.DidLapse)
	w.ok(w.approve("anna"))
	w.happened(law.DidApprove, law.DidMeet)
	if strings.HasPrefix(w.did[1].Reason, "automatic") {
		t.Errorf("anna had to approve it, but the event says %q", w.did[1].Reason)
	}
}

// rule 2
func TestTheZeroRequirementIsMetByNobody(t *testing.T) {
	var none law.Requirement
	if none.Set() || none.MetBy(0) || none.MetBy(1000) || none.People() != -1 {
		t.Error("the zero requirement can be met")
	}
	if law.Require(-1) != none || law.Require(-7) != none {
		t.Error("a negative requirement is not the zero one")
	}
	if r := law.Require(0); !r.Set() || !r.MetBy(0) || r.People() != 0 {
		t.Error("needing nobody is not met by nobody")
	}
	if r := law.Require(2); r.MetBy(1) || !r.MetBy(2) || !r.MetBy(3) || r.People() != 2 {
		t.Error("needing two is not met by two and more")
	}
	w := newWorld(t)
	w.order("fw-dev")
	w.op.Keys[0].Requirement = none // as a damaged row would have it
	w.settles(law.Pending, law.DidLapse)
}

// rule 2
func TestAnOperationThatNamesNoKeyIsNeverApproved(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev")
	w.op.Keys = nil // as a damaged row would have it
	w.settles(law.Pending, law.DidLapse)
}

// rule 2
func TestProgressSaysWhoCountsForWhichKey(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod", "fw-test")
	w.ok(w.approve("anna"))
	w.ok(w.approve("bert"))
	w.require("fw-test", 2)
	for i, want := range []law.KeyProgress{
		{Key: "fw-prod", Needed: law.Require(2), Counted: []law.SubjectID{"anna", "bert"}},
		{Key: "fw-test", Needed: law.Require(2), Counted: []law.SubjectID{"anna"}},
	} {
		got := w.op.Progress(w.facts())[i]
		if got.Key != want.Key || got.Needed != want.Needed || !slices.Equal(got.Counted, want.Counted) {
			t.Errorf("progress %+v; want %+v", got, want)
		}
	}
}

// rule 3
func TestTheOrdererDoesNotJudgeTheirOwnOperation(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test") // olga has the approver role, too
	w.refused(law.Forbidden)(w.approve("olga"))
	w.refused(law.Forbidden)(w.reject("olga"))
}

// rule 3
func TestAClientDoesNotJudgeTheOperation(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Clients = []law.SubjectID{"bert"} }, "fw-prod")
	w.refused(law.Forbidden)(w.approve("bert"))
	w.refused(law.Forbidden)(w.reject("bert"))
}

// rule 3
func TestThePersonBehindACIJobDoesNotJudgeTheOperation(t *testing.T) {
	w := newWorld(t)
	w.ok(w.create(ciJob, nil, "fw-prod"))
	w.refused(law.Forbidden)(w.approve("carl"))
	w.refused(law.Forbidden)(w.reject("carl"))
	w.ok(w.approve("olga")) // who has not ordered this one
	w.ok(w.approve("anna"))
	w.is(law.Approved)
}

// rule 3
func TestWhoBecomesAnApproverLaterIsNotEligibleForAnOpenOperation(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod")
	w.join("approvers-prod", "dora")
	w.refused(law.Forbidden)(w.approve("dora"))
	w.refused(law.Forbidden)(w.reject("dora"))
	w.refused(law.Forbidden)(w.revoke("dora"))
}

// rule 3
func TestOnePersonCountsOnceHoweverManyRoles(t *testing.T) {
	w := newWorld(t)
	w.addRole(law.Role{ID: "more", Kind: law.Approver, Keys: []law.KeyID{"fw-prod", "fw-prod"}, Members: []law.SubjectID{"anna", "anna"}})
	w.order("fw-prod")
	if want := []law.SubjectID{"anna", "bert", "carl"}; !slices.Equal(w.op.Eligible["fw-prod"], want) {
		t.Errorf("eligible are %v; want %v", w.op.Eligible["fw-prod"], want)
	}
	w.ok(w.approve("anna"))
	w.is(law.Pending)
	w.op.Approvals = append(w.op.Approvals, w.op.Approvals[0]) // as a forged row would have it
	w.settles(law.Pending)
}

// rule 3
func TestAMachineIsNeverAnApprover(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	w.cfg.Subjects[1].Kind = law.Client // anna becomes a machine, and keeps her role
	if _, err := law.NewFacts(w.cfg); err == nil {
		t.Error("a machine is an approver")
	}
	w.leave("approvers-prod", "anna")
	w.leave("approvers-test", "anna")
	w.addRole(law.Role{ID: "x", Kind: law.Approver, Keys: []law.KeyID{"fw-dev"}, Members: []law.SubjectID{"line"}})
	if _, err := law.NewFacts(w.cfg); err == nil {
		t.Error("a machine is an approver")
	}
}

// rule 4
func TestAnApprovalCountsForTheKeysThatThePersonIsEligibleFor(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod", "fw-test", "fw-dev")
	w.ok(w.approve("anna"))
	if want := []law.KeyID{"fw-prod", "fw-test"}; !slices.Equal(w.did[0].Covers, want) || !slices.Equal(w.op.Approvals[0].Covers, want) {
		t.Errorf("anna's approval covers %v, the record says %v", w.op.Approvals[0].Covers, w.did[0].Covers)
	}
	if a := w.op.Approvals[0]; a.By != "anna" || a.At != w.now || !a.Stands() || w.did[0].By != "anna" {
		t.Errorf("approval %+v, change %+v", a, w.did[0])
	}
	w.ok(w.approve("bert"))
	if want := []law.KeyID{"fw-prod"}; !slices.Equal(w.did[0].Covers, want) {
		t.Errorf("bert's approval covers %v; want %v", w.did[0].Covers, want)
	}
}

// rule 4
func TestAnApprovalDoesNotGrowWithLaterRoles(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod", "fw-test")
	w.leave("approvers-test", "anna")
	w.ok(w.approve("anna")) // for fw-prod only
	w.join("approvers-test", "anna")
	w.ok(w.approve("bert"))
	w.is(law.Pending)
	w.ok(w.withdraw("anna"))
	w.ok(w.approve("anna")) // now for both
	w.is(law.Approved)
}

// rule 4
func TestASecondApprovalBySamePersonIsRefused(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod")
	w.ok(w.approve("anna"))
	for range 32 {
		w.refused(law.Duplicate)(w.approve("anna"))
	}
	w.is(law.Pending)
	if len(w.op.Approvals) != 1 {
		t.Errorf("%d approvals", len(w.op.Approvals))
	}
}

// rule 4
func TestOnlyAPendingOperationCanBeApproved(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	w.ok(w.approve("anna"))
	w.refused(law.WrongState)(w.approve("dora"))
	w.refused(law.Duplicate)(w.approve("anna"))
}

// rule 4
func TestApprovingNamesTheDigest(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	other := w.op
	other.Description = "something else"
	for _, d := range []law.Digest{"", other.Digest(), law.Digest(strings.ToUpper(string(w.op.Digest())))} {
		w.refused(law.WrongDigest)(w.op.Approve("anna", d, w.facts(), w.now))
	}
	w.ok(w.approve("anna"))
}

// rule 4
func TestWhoHasNoApproverRoleDoesNotSeeTheOperation(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	for _, who := range []law.SubjectID{"zoe", "bert", "line", "nobody", ""} {
		w.refused(law.NotFound)(w.approve(who))
		w.refused(law.NotFound)(w.withdraw(who))
		w.refused(law.NotFound)(w.reject(who))
		w.refused(law.NotFound)(w.revoke(who))
		w.noOrder(law.NotFound)(w.place(who, "fw-test"))
	}
	for _, who := range []law.SubjectID{"ada", "otto"} { // who see everything
		w.refused(law.Forbidden)(w.approve(who))
		w.refused(law.Forbidden)(w.reject(who))
		w.noOrder(law.Forbidden)(w.place(who, "fw-test"))
	}
}

// rule 4
func TestAPendingOperationStaysInEveryApproversQueue(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod", "fw-dev")
	queued := func(want bool, who ...law.SubjectID) {
		t.Helper()
		for _, s := range who {
			if w.op.Queued(s, w.facts(), w.now) != want {
				t.Errorf("queued for %s: %v", s, !want)
			}
		}
	}
	w.join("approvers-prod", "zoe") // not eligible, but with the role
	queued(true, "anna", "bert", "carl", "olga", "zoe")
	queued(false, "dora", "ada", "otto", "ci")
	w.ok(w.approve("anna"))
	queued(true, "anna", "bert")
	w.ok(w.approve("bert"))
	queued(false, "anna", "bert", "carl")
	w.setState("fw-dev", law.KeyDisabled)
	queued(true, "anna", "bert", "carl")
	w.now = w.now.Add(time.Hour)
	queued(false, "anna", "bert", "carl")
}

// rule 4
func TestNothingIsApprovedByATimeOut(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	for range 59 {
		w.now = w.now.Add(time.Minute)
		w.settles(law.Pending)
	}
}

// rule 5
func TestAnApprovalCanBeWithdrawnBeforeTheFirstSignOrder(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test", "fw-dev")
	w.ok(w.approve("anna"))
	w.now = w.now.Add(time.Minute)
	w.ok(w.withdraw("anna"))
	w.is(law.Pending)
	w.happened(law.DidWithdraw, law.DidLapse)
	if a := w.op.Approvals[0]; a.Stands() || a.Withdrawn != w.now || w.did[0].By != "anna" {
		t.Errorf("approval %+v, change %+v", a, w.did[0])
	}
	w.noOrder(law.WrongState)(w.place("olga", "fw-dev"))
	w.refused(law.WrongState)(w.withdraw("anna"))
	w.ok(w.approve("anna")) // again, after withdrawing
	w.is(law.Approved)
	w.ok(w.withdraw("anna")) // the refused order did not count
}

// rule 5
func TestOnlyOnesOwnApprovalCanBeWithdrawn(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod")
	w.ok(w.approve("anna"))
	w.refused(law.WrongState)(w.withdraw("bert"))
	w.refused(law.WrongState)(w.withdraw("olga"))
	w.refused(law.WrongState)(w.withdraw("ada"))
}

// rule 5
func TestNothingIsWithdrawnOnceASignOrderWasAccepted(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test", "fw-dev")
	w.ok(w.approve("anna"))
	r := w.okOrder(w.place("olga", "fw-dev")) // another key than the one that anna's approval is for
	w.refused(law.WrongState)(w.withdraw("anna"))
	w.okOrder(w.fail(r)) // a failed keystore call does not reopen the window
	w.refused(law.WrongState)(w.withdraw("anna"))
}

// rule 6
func TestOneEligiblePersonRejectsForGood(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod", "fw-test")
	w.ok(w.approve("anna"))
	w.ok(w.reject("dora")) // eligible for one of the keys
	w.is(law.Rejected)
	w.happened(law.DidReject)
	if w.did[0].By != "dora" || w.did[0].Reason != "not this one" || w.op.Ending != (law.Ending{At: w.now, By: "dora", Reason: "not this one"}) {
		t.Errorf("change %+v, ending %+v", w.did[0], w.op.Ending)
	}
	w.endedForGood(law.Rejected)
}

// rule 6
func TestAnApprovedOperationCanBeRejectedAlsoByWhoApprovedIt(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	w.ok(w.approve("anna"))
	w.ok(w.reject("anna"))
	w.is(law.Rejected)
}

// rule 6
func TestNothingIsRejectedOnceASignOrderWasAccepted(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	w.ok(w.approve("anna"))
	w.okOrder(w.place("olga", "fw-test"))
	w.refused(law.WrongState)(w.reject("dora"))
}

// rules 6 and 7
func TestRejectingAndRevokingNeedAReason(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	for _, bad := range []string{"", "\x1b[2J", strings.Repeat("r", law.MaxReason+1)} {
		w.refused(law.Impossible)(w.op.Reject("anna", bad, w.facts(), w.now))
		w.refused(law.Impossible)(w.op.Revoke("anna", bad, w.facts(), w.now))
	}
}

// rule 7
func TestTheOrdererAnEligibleApproverOrAnAdministratorRevokes(t *testing.T) {
	for _, who := range []law.SubjectID{"olga", "anna", "ada"} {
		w := newWorld(t)
		w.orderWith(func(a *law.Ask) { a.Clients = []law.SubjectID{"line"} }, "fw-test")
		w.refused(law.Forbidden)(w.revoke("line"))
		w.refused(law.Forbidden)(w.revoke("otto"))
		w.ok(w.revoke(who))
		w.is(law.Revoked)
		w.happened(law.DidRevoke)
		if w.op.Ending != (law.Ending{At: w.now, By: who, Reason: "key ceremony postponed"}) || w.did[0].By != who {
			t.Errorf("change %+v, ending %+v", w.did[0], w.op.Ending)
		}
		w.endedForGood(law.Revoked)
	}
}

// rule 7
func TestAnOrdererWhoLostTheRoleCanStillRevoke(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	w.leave("orderers", "olga")
	w.ok(w.revoke("olga"))
	w.is(law.Revoked)
}

// rule 7
func TestRevokingIsAllowedAfterSignaturesWereMade(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Keys[0].MaxUses = 2 }, "fw-dev")
	w.okOrder(w.complete(w.okOrder(w.place("olga", "fw-dev"))))
	w.ok(w.revoke("olga"))
	w.noOrder(law.WrongState)(w.place("olga", "fw-dev"))
}

// rule 7
func TestRevokingWhatIsRevokedAnswersTheSameAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	w.ok(w.revoke("olga"))
	before := w.op.Ending
	w.ok(w.op.Revoke("ada", "", w.facts(), w.now.Add(time.Minute)))
	w.happened()
	if w.op.Ending != before {
		t.Errorf("ending %+v became %+v", before, w.op.Ending)
	}
}

// endedForGood tries every verb on an operation that has ended.
func (w *world) endedForGood(s law.State) {
	w.t.Helper()
	if w.op.Ending.At.IsZero() || w.op.Ending.Reason == "" {
		w.t.Errorf("it ended, but how it ended says %+v", w.op.Ending)
	}
	w.refused(law.WrongState)(w.approve("anna"))
	w.refused(law.WrongState)(w.withdraw("anna"))
	w.refused(law.WrongState)(w.reject("anna"))
	w.noOrder(law.WrongState)(w.place("olga", w.op.Keys[0].Key))
	if s != law.Revoked {
		w.refused(law.WrongState)(w.revoke("ada"))
	}
	w.ok(w.op.AcceptClock(w.now), nil)
	w.happened()
	w.now = w.now.Add(365 * 24 * time.Hour)
	w.settles(s)
	w.now = monday
	w.settles(s)
}

// rules 3, 4
func TestThoseAreAwaitedWhoseApprovalAnOperationLacks(t *testing.T) {
	w := newWorld(t)
	w.order("fw-prod", "fw-dev")
	awaited := func(want ...law.SubjectID) {
		t.Helper()
		got := w.op.Awaited(w.facts(), w.now)
		if !slices.Equal(got, want) {
			t.Errorf("awaited are %v, must be %v", got, want)
		}
		for _, who := range got {
			if _, err := w.op.Approve(who, w.op.Digest(), w.facts(), w.now); err != nil {
				t.Errorf("%s is awaited and could not approve: %v", who, err)
			}
		}
	}
	w.join("approvers-prod", "zoe") // not eligible, but with the role
	awaited("anna", "bert", "carl")
	w.ok(w.approve("anna"))
	awaited("bert", "carl")
	w.enable("carl", false)
	awaited("bert")
	w.enable("olga", false) // approvals are of use once she is enabled again
	awaited("bert")
	w.enable("olga", true)
	w.ok(w.approve("bert"))
	awaited()
	w.setState("fw-dev", law.KeyDisabled) // pending, but not for want of approvals
	awaited()
	w.setState("fw-dev", law.KeyActive)
	w.ok(w.withdraw("anna"))
	awaited("anna")
	w.now = w.now.Add(time.Hour)
	awaited()
}

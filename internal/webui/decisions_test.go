package webui_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func TestTwoApproversReleaseAnOperationOnItsPage(t *testing.T) {
	s := newSite(t)
	o := s.Create(testkit.Ask("fw-prod"))
	at := "/operations/" + string(o.ID)
	alice, bob := s.signIn(t, "alice"), s.signIn(t, "bob")
	expect(t, alice.open("/approvals"), http.StatusOK, o.Description, "0 of 2 approvals", "you count here", "waits for you")
	first := alice.send(alice.open(at), at+"/approve", nil)
	expect(t, first, http.StatusOK, "You have approved it.", "Key fw-prod needs 1 more approval; bob, carol or peter can give it.", "pending")
	if first.offers(at+"/approve") || !first.offers(at+"/withdraw") {
		t.Error("who has approved is offered to approve, or not to withdraw")
	}
	expect(t, bob.open(at), http.StatusOK, "1 of 2", "With it every requirement is met: the operation is approved")
	expect(t, bob.send(bob.open(at), at+"/approve", nil), http.StatusOK, "approved", "It is approved: 1 signature with fw-prod can be made under it.")
	if state := s.State(o.ID); state != law.Approved {
		t.Errorf("the operation is %s", state)
	}
}

func TestWhatIsApprovedIsWhatWasShown(t *testing.T) {
	s := newSite(t)
	o, other := s.Create(testkit.Ask("fw-prod")), s.Create(testkit.Ask("fw-prod"))
	at := "/operations/" + string(o.ID)
	alice := s.signIn(t, "alice")
	answer := alice.send(alice.open(at), at+"/approve", url.Values{"digest": {string(other.Digest)}})
	expect(t, answer, http.StatusPreconditionFailed, "digest")
	if n := s.Count(o.ID, audit.OperationApproved); n != 0 {
		t.Errorf("%d approvals", n)
	}
}

func TestDecisionsOfOnePersonOnTwoPagesCountOnce(t *testing.T) {
	s := newSite(t)
	o := s.Create(testkit.Ask("fw-prod"))
	at := "/operations/" + string(o.ID)
	alice := s.signIn(t, "alice")
	one, two := alice.open(at), alice.open(at)
	expect(t, alice.send(one, at+"/approve", nil), http.StatusOK, "You have approved it.")
	expect(t, alice.send(two, at+"/approve", nil), http.StatusConflict, "pending", "1 of 2")
	if n := s.Count(o.ID, audit.OperationApproved); n != 1 {
		t.Errorf("%d approvals", n)
	}
}

func TestWithdrawRejectAndRevokeOnThePage(t *testing.T) {
	s := newSite(t)
	alice, olga := s.signIn(t, "alice"), s.signIn(t, "olga")
	o := s.Create(testkit.Ask("fw-prod"))
	at := "/operations/" + string(o.ID)
	alice.send(alice.open(at), at+"/approve", nil)
	expect(t, alice.send(alice.open(at), at+"/withdraw", nil), http.StatusOK, "You have withdrawn your approval.")
	expect(t, alice.send(alice.open(at), at+"/reject", url.Values{"reason": {""}}), http.StatusUnprocessableEntity)
	expect(t, alice.send(alice.open(at), at+"/reject", url.Values{"reason": {"wrong\r\nbranch"}}), http.StatusOK, "The operation is rejected.", "wrong branch")
	if done := olga.open(at); done.offers(at+"/revoke") || done.offers(at+"/approve") {
		t.Error("decisions on an ended operation are offered")
	}
	o = s.Create(testkit.Ask("fw-prod"))
	at = "/operations/" + string(o.ID)
	if page := olga.open(at); page.offers(at + "/approve") {
		t.Error("the orderer is offered to approve")
	}
	expect(t, olga.send(olga.open(at), at+"/revoke", url.Values{"reason": {"not needed"}}), http.StatusOK, "The operation is revoked.", "not needed")
	if r := s.Look(o.ID).Ending; r.Reason != "not needed" || r.By != "olga" {
		t.Errorf("it ended %+v", r)
	}
}

func TestADecisionNeedsARecentSignIn(t *testing.T) {
	s := newSite(t)
	o := s.Create(testkit.Ask("fw-prod"))
	at := "/operations/" + string(o.ID)
	alice := s.signIn(t, "alice")
	shown := alice.open(at)
	s.Clock.Step(16 * time.Minute)
	answer := alice.submit(shown, at+"/reject", url.Values{"reason": {"a good reason"}})
	expect(t, answer, http.StatusForbidden, "Sign in again to decide", "Nothing was done.")
	if state := s.State(o.ID); state != law.Pending {
		t.Fatalf("the operation is %s", state)
	}
	if n := s.Count("", audit.RequestRefused); n == 0 {
		t.Error("the refusal is no event")
	}
	if stale := alice.open(at); stale.offers(at+"/reject") || !strings.Contains(stale.text(), "Sign in again to decide") {
		t.Error("a decision is offered that the sign-in is too old for")
	}
	_, link, _ := strings.Cut(answer.body, `class="button primary" href="`)
	link, _, _ = strings.Cut(link, `"`)
	back := alice.open(strings.ReplaceAll(link, "&amp;", "&"))
	expect(t, back, http.StatusOK, o.Description, "a good reason")
	expect(t, alice.send(back, at+"/reject", url.Values{"reason": {"a good reason"}}), http.StatusOK, "The operation is rejected.")
}

func TestWhoIsRemovedWhileThePageIsOpenDecidesNothing(t *testing.T) {
	s := newSite(t)
	o := s.Create(testkit.Ask("fw-one"))
	at := "/operations/" + string(o.ID)
	dave := s.signIn(t, "dave")
	shown := dave.open(at)
	s.Members("one-approvers", "peter")
	expect(t, dave.submit(shown, at+"/approve", nil), http.StatusNotFound)
	expect(t, dave.open(at), http.StatusNotFound)
	s.Enable("dave", false)
	expect(t, dave.open("/approvals"), http.StatusForbidden, "disabled")
	if n := s.Count(o.ID, audit.OperationApproved); n != 0 {
		t.Errorf("%d approvals", n)
	}
}

func TestAnOperationPageTellsAllThatThereIs(t *testing.T) {
	s := newSite(t)
	ask := testkit.Ask("fw-prod", "fw-dev")
	ask.Clients = []law.SubjectID{"ci"}
	ask.Context = "# Why\n\nsee https://git.example/1 and https://evil.example/"
	earlier := s.Approve(s.Create(testkit.Ask("fw-prod", "fw-dev")), "alice", "bob")
	s.MustSign(earlier, testkit.OrderAsk("fw-prod", "k", "one"))
	o := s.Approve(s.Create(ask), "alice", "bob")
	s.MustSign(o, testkit.OrderAsk("fw-dev", "k", "another"))
	page := s.signIn(t, "alice").open("/operations/" + string(o.ID))
	expect(t, page, http.StatusOK, "What is unusual here", "Compared with the last approved one", "clients: ci, last time none", "signed", string(o.Digest), o.Nonce,
		"It is approved", "https://evil.example/", string(o.Statement.Keys[0].Fingerprint))
	if !strings.Contains(page.body, `<a href="https://git.example/1" rel="noreferrer noopener external">`) || strings.Contains(page.body, `href="https://evil`) {
		t.Error("links to hosts that are allowed are none, or those to others are")
	}
}

func TestTheQueueIsAsFilteredAndTheMostUrgentFirst(t *testing.T) {
	s := newSite(t)
	alice, erin := s.signIn(t, "alice"), s.signIn(t, "audrey")
	expect(t, alice.open("/approvals"), http.StatusOK, "Nothing waits for approval", "appears here at once")
	expect(t, erin.open("/approvals"), http.StatusOK, "You have no approver role.")
	late, soon := testkit.Ask("fw-prod"), testkit.Ask("fw-one")
	late.Description, late.Validity = "later", testkit.Day
	soon.Description, soon.Validity = "sooner", time.Hour
	o := s.Create(late)
	s.Create(soon)
	if text := alice.open("/approvals").text(); strings.Index(text, "sooner") > strings.Index(text, "later") {
		t.Errorf("the order is wrong: %s", text)
	}
	expect(t, alice.open("/approvals?key=fw-prod"), http.StatusOK, "later", "1 of 2 operations")
	s.Approve(o, "alice")
	expect(t, alice.open("/approvals?key=fw-prod&mine=1"), http.StatusOK, "No operation that waits is like that.")
	expect(t, alice.open("/approvals?key=fw-prod"), http.StatusOK, "you have approved", "approved by alice")
	expect(t, alice.open("/"), http.StatusOK, "1 operation waits for your approval", "sooner")
}

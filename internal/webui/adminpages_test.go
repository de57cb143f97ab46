package webui_test

import (
	"html"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

var tokenButton = regexp.MustCompile(`<button[^>]*name="token" value="([^"]*)"(?: formaction="([^"]*)")?`)

// press sends the form that opens a session, by the button that leads there.
func (p *person) press(on page, path, description, policy string) page {
	p.t.Helper()
	for _, m := range tokenButton.FindAllStringSubmatch(on.body, -1) {
		if m[2] == path || m[2] == "" && path == "/administration/preview" {
			return p.follow(p.post(path, url.Values{"token": {html.UnescapeString(m[1])}, "description": {description}, "policy": {strings.ReplaceAll(policy, "\n", "\r\n")}}))
		}
	}
	p.t.Fatalf("the page %s has no button for %s", on.path, path)
	return page{}
}

// without is the policy of now, but with that subject disabled.
func (s *site) without(who law.SubjectID) string {
	return string(policy.Write(s.Policy(func(c *law.Configuration) {
		c.Administration = law.Administration{Administrators: 2, Active: time.Hour}
		for i := range c.Subjects {
			if c.Subjects[i].ID == who {
				c.Subjects[i].Enabled = false
			}
		}
	})))
}

func TestTwoAdministratorsCarryOutAPlanOnThePages(t *testing.T) {
	s := newSite(t)
	ada, adam := s.signIn(t, "ada"), s.signIn(t, "adam")
	form := ada.open("/administration/open")
	shown := ada.press(form, "/administration/preview", "alice leaves", s.without("alice"))
	expect(t, shown, http.StatusOK, "What the session would change", "1 change", "changed subject alice", "enabled: true → false", "Nothing has been opened yet.")
	opened := ada.press(shown, "/administration/sessions", "alice leaves", s.without("alice"))
	expect(t, opened, http.StatusOK, "The session is open, and you have authorised it by opening it.", "It needs 1 more authorisation; adam can give it.", "enabled: true → false")
	at, _, _ := strings.Cut(opened.path, "?")
	if opened.offers(at+"/apply") || opened.offers(at+"/authorise") {
		t.Error("ada is offered what she cannot do")
	}

	seen := adam.open(at)
	expect(t, seen, http.StatusOK, "alice leaves", "Authorised by 1 of 2", "You say yes to 1 change", "the session is active at once, for 1 hour")
	expect(t, adam.send(seen, at+"/authorise", url.Values{"digest": {strings.Repeat("0", 64)}}), http.StatusPreconditionFailed, "not the digest")
	expect(t, adam.send(seen, at+"/authorise", nil), http.StatusOK, "You have authorised it.", "ada or adam can apply the plan")
	applied := adam.send(adam.open(at), at+"/apply", nil)
	expect(t, applied, http.StatusOK, "The plan has been applied", "Its plan was applied")
	expect(t, ada.open("/audit?session="+path.Base(at)), http.StatusOK, "alice leaves", "Administration session opened", "Administration session became active", "Configuration changed")
	expect(t, ada.open("/administration/subjects/alice"), http.StatusOK, "disabled", "It is disabled. Enabling it again takes an administration session.")
	expect(t, ada.open("/administration?state=closed"), http.StatusOK, "alice leaves")
	expect(t, ada.open("/administration?state=active"), http.StatusOK, "No administration session is like that.")
}

func TestAnAuthorisationIsWithdrawnAndASessionClosedOnItsPage(t *testing.T) {
	s := newSite(t)
	session := s.OpenSession(nil)
	at := "/administration/sessions/" + string(session.ID)
	ada, audrey := s.signIn(t, "ada"), s.signIn(t, "audrey")
	expect(t, ada.send(ada.open(at), at+"/withdraw", nil), http.StatusOK, "You have withdrawn your authorisation.", "Authorised by 0 of 2")
	seen := audrey.open(at)
	for _, verb := range []string{"/authorise", "/withdraw", "/apply", "/close"} {
		if seen.offers(at + verb) {
			t.Errorf("an auditor is offered %s", verb)
		}
	}
	expect(t, ada.send(ada.open(at), at+"/close", nil), http.StatusOK, "The session is closed. Nothing more can be changed in it.")
	if state := s.LookAt(session.ID).State; state != law.SessionClosed {
		t.Errorf("the session is %s", state)
	}
}

func TestWhatWasTypedStaysWhenASessionCannotBeOpened(t *testing.T) {
	s := newSite(t)
	ada := s.signIn(t, "ada")
	form := ada.open("/administration/open?from=present")
	typed := "colour: blue\n"
	for _, path := range []string{"/administration/preview", "/administration/sessions"} {
		expect(t, ada.press(form, path, "a fault", typed), http.StatusUnprocessableEntity, "The policy cannot be read", "Line 1, column 1", "colour: blue")
	}
	answer := ada.press(form, "/administration/sessions", "nothing new", s.without("nobody"))
	expect(t, answer, http.StatusUnprocessableEntity, "there is nothing to plan", "id: alice")
	if !strings.Contains(answer.body, `value="nothing new"`) {
		t.Error("the description is lost")
	}
	s.Clock.Step(16 * time.Minute)
	refused := s.Count("", audit.RequestRefused)
	answer = ada.press(form, "/administration/sessions", "too late", s.without("alice"))
	expect(t, answer, http.StatusForbidden, "Nothing was done.", "Keep a copy of the policy", "id: alice")
	if s.Count("", audit.RequestRefused) != refused+1 {
		t.Error("the refusal is no event")
	}
	if page := ada.open("/administration"); !strings.Contains(page.text(), "No administration session yet") {
		t.Errorf("a session was opened: %s", page.text())
	}
}

func TestAuthorisingNeedsARecentSignIn(t *testing.T) {
	s := newSite(t)
	session := s.OpenSession(nil)
	at := "/administration/sessions/" + string(session.ID)
	adam := s.signIn(t, "adam")
	shown := adam.open(at)
	s.Clock.Step(16 * time.Minute)
	expect(t, adam.submit(shown, at+"/authorise", nil), http.StatusForbidden, "Sign in again to decide")
	if n := len(s.LookAt(session.ID).Counted); n != 1 {
		t.Errorf("%d authorisations count", n)
	}
}

func TestASubjectIsDisabledOnItsPage(t *testing.T) {
	s := newSite(t)
	ada, audrey := s.signIn(t, "ada"), s.signIn(t, "audrey")
	const at = "/administration/subjects/alice"
	shown := ada.open(at)
	expect(t, ada.send(shown, at+"/disable", url.Values{"reason": {" "}}), http.StatusUnprocessableEntity, "Reason: it is empty; write something.")
	expect(t, audrey.open(at), http.StatusOK, "You cannot disable it: A subject is disabled by an administrator.")
	expect(t, ada.send(shown, at+"/disable", url.Values{"reason": {"her laptop was stolen"}}), http.StatusOK, "is disabled. Open operations have been judged anew.")
}

func TestTheConfigurationIsShownToAdministratorsAndAuditorsAlone(t *testing.T) {
	s := newSite(t)
	session := s.OpenSession(nil)
	audrey, olga := s.signIn(t, "audrey"), s.signIn(t, "olga")
	for path, says := range map[string]string{
		"/administration": "a change by a test",
		"/administration/sessions/" + string(session.ID): "a change by a test",
		"/administration/subjects?q=alice":               "alice",
		"/administration/subjects/alice":                 "sub = ",
		"/administration/roles":                          "approvers",
		"/administration/policy":                         "id: alice",
		"/administration/policy.yaml":                    "id: alice",
		"/administration/subjects?q=nobody-is-like-this": "No subject is like that.",
	} {
		expect(t, audrey.open(path), http.StatusOK, says)
		if page := olga.open(path); strings.Contains(page.text(), says) || page.status == http.StatusOK && path != "/administration" {
			t.Errorf("%s: olga sees %d %s", path, page.status, page.text())
		}
	}
	if got := audrey.open("/administration/policy.yaml").header.Get("Content-Disposition"); got != `attachment; filename="policy.yaml"` {
		t.Errorf("the policy is saved as %q", got)
	}
	expect(t, olga.open("/administration/open"), http.StatusOK, "An administration session is opened by an administrator.")
	expect(t, audrey.open("/administration/subjects/nobody"), http.StatusNotFound, "There is no such subject.")
	expect(t, audrey.open("/administration?state=odd"), http.StatusBadRequest, "choose one of the states")
}

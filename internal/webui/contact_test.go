package webui_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/testkit"
)

func newTellingSite(t *testing.T) *site {
	return newSiteOf(t, testkit.Options{Notifications: &keyserver.Notifications{
		Reminder: time.Hour, Gather: 5 * time.Minute, MailDomains: []string{"example.com"}, Webhooks: true,
	}})
}

func TestWhatOneIsToldIsChosenOnAPage(t *testing.T) {
	s := newTellingSite(t)
	alice := s.signIn(t, "alice")
	if page := alice.open("/notifications"); page.status != http.StatusOK || strings.Contains(page.body, " checked") || !strings.Contains(page.text(), "An address at example.com.") ||
		!strings.Contains(page.text(), "within 5 minutes") {
		t.Errorf("%d %s", page.status, page.text())
	}
	page := alice.send(alice.open("/notifications"), "/notifications", url.Values{
		"tells": {"waiting", "change"}, "mail": {" alice@example.com "}, "webhook": {"https://hooks.example.com/x"}, "format": {"standard"},
	})
	if page.status != http.StatusOK || !strings.Contains(page.text(), "Saved.") || !strings.Contains(page.body, "whsec_") || strings.Count(page.body, " checked") != 2 {
		t.Errorf("%d %s", page.status, page.text())
	}
	page = alice.open("/notifications")
	if !strings.Contains(page.body, `value="alice@example.com"`) || !strings.Contains(page.body, `value="https://hooks.example.com/x"`) || strings.Contains(page.body, "whsec_") {
		t.Errorf("%d %s", page.status, page.body)
	}
	if page = alice.send(alice.open("/notifications"), "/notifications", url.Values{"mail": {""}, "webhook": {""}, "format": {"standard"}}); !strings.Contains(page.text(), "You are told nothing.") {
		t.Errorf("%d %s", page.status, page.text())
	}
	if n := s.Count("", audit.ContactChanged); n != 2 {
		t.Errorf("%d choices are audited", n)
	}
}

func TestWhatCannotBeChosenIsSaidWithWhatWasTyped(t *testing.T) {
	s := newTellingSite(t)
	alice := s.signIn(t, "alice")
	for name, c := range map[string]struct {
		form   url.Values
		status int
		says   string
	}{
		"elsewhere":  {url.Values{"tells": {"waiting"}, "mail": {"alice@evil.example"}}, http.StatusUnprocessableEntity, "to addresses at example.com only"},
		"no address": {url.Values{"tells": {"waiting"}, "mail": {"<script>alert(1)</script>"}}, http.StatusBadRequest, "is not one like alice@example.com"},
		"by nothing": {url.Values{"tells": {"waiting"}}, http.StatusBadRequest, "both what to be told and by what"},
	} {
		page := alice.send(alice.open("/notifications"), "/notifications", c.form)
		if page.status != c.status || !strings.Contains(page.text(), c.says) || strings.Contains(page.body, "<script>alert") || !strings.Contains(page.body, "checked") {
			t.Errorf("%s: %d %s", name, page.status, page.text())
		}
	}
	if n := s.Count("", audit.ContactChanged); n != 0 {
		t.Errorf("%d choices are audited", n)
	}
}

func TestAServerThatSendsNoMessagesSaysSoOnThePage(t *testing.T) {
	s := newSite(t)
	if page := s.signIn(t, "alice").open("/notifications"); page.status != http.StatusOK || !strings.Contains(page.text(), "This server sends no messages") {
		t.Errorf("%d %s", page.status, page.text())
	}
}

func TestWhyTheLastMessageFailedIsSaid(t *testing.T) {
	s := newTellingSite(t)
	alice := s.signIn(t, "alice")
	alice.send(alice.open("/notifications"), "/notifications", url.Values{"tells": {"waiting"}, "webhook": {"https://hooks.example.com/x"}, "format": {"chat"}})
	messages, err := s.Keyserver.TakeMessages(s.Context(), 1, nil)
	if err != nil || len(messages) != 1 {
		t.Fatalf("%v, %v", messages, err)
	}
	if err := s.Keyserver.MessageFailed(s.Context(), messages[0], "the webhook answered 404", false); err != nil {
		t.Fatal(err)
	}
	if page := alice.open("/notifications"); !strings.Contains(page.text(), "could not be sent: the webhook answered 404.") {
		t.Errorf("%d %s", page.status, page.text())
	}
}

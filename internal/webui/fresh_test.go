package webui_test

import (
	"net/http"
	"net/url"
	"testing"

	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/testkit"
)

func TestATokenThatDoesNotSayWhenSomebodySignedInIsGoodForNoDecision(t *testing.T) {
	s := newSite(t)
	o := s.Create(testkit.Ask("fw-prod"))
	at := "/operations/" + string(o.ID)
	alice := s.browser(t, "alice")
	alice.claims = func(c identitytest.Claims, asked url.Values) identitytest.Claims {
		if asked.Get("max_age") == "" { // as OpenID Connect Core 1.0, section 2, lets a provider do
			return c.Without("auth_time")
		}
		return c
	}
	shown := alice.open(at)
	expect(t, shown, http.StatusOK, "Sign in again to decide")
	if shown.offers(at + "/approve") {
		t.Error("a decision is offered")
	}
	alice.open("/sign-in?fresh=1&to=" + url.QueryEscape(at))
	expect(t, alice.send(alice.open(at), at+"/approve", nil), http.StatusOK, "You have approved it.")
}

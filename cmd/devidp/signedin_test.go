package main

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/law"
)

// The pages of a keyserver sign people in here, as they would at any provider.
func TestAPersonSignsInAtThePagesOfAKeyserver(t *testing.T) {
	in := start(t)
	facts, err := law.NewFacts(law.Configuration{
		Issuers: []law.Issuer{{URL: in.issuer, Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}}},
		Subjects: []law.Subject{{ID: "carol-cooper", Kind: law.User, Name: "Carol Cooper", Enabled: true,
			Identities: []law.Identity{{Issuer: in.issuer, Claims: map[string][]string{"sub": {"carol"}}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	auth := identity.New(identity.Options{Now: time.Now, Development: true, HTTP: in.http})
	pages := auth.NewSignIns(identity.SignInOptions{Issuer: in.issuer, ClientID: "ks", RedirectURL: "http://127.0.0.1:49152/signed-in"})
	for _, fresh := range []bool{false, true} {
		location, pending, err := pages.Begin(t.Context(), facts, fresh)
		if err != nil {
			t.Fatal(err)
		}
		r := in.get(strings.TrimPrefix(location, in.issuer))
		login := r.header.Get("Location")
		if r.status != http.StatusFound || !strings.HasPrefix(login, "/login?request=") {
			t.Fatalf("got %d to %q, want the login page: %s", r.status, login, r.body)
		}
		if policy := in.get(login).header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, "form-action 'self' http://127.0.0.1:49152") {
			t.Errorf("policy %q does not let the form lead back to the pages", policy)
		}
		back := in.post("/login", "request", strings.TrimPrefix(login, "/login?request="), "sub", "carol", "action", "allow")
		signedIn, err := pages.Complete(t.Context(), facts, pending, parsed(t, back.header.Get("Location")).Query())
		if err != nil {
			t.Fatal(err)
		}
		if age := time.Since(signedIn.At); age < 0 || age > time.Minute || signedIn.ACR != "0" || !slices.Equal(signedIn.AMR, []string{"pwd"}) || signedIn.Name != "Carol Cooper" {
			t.Errorf("signed in as %+v", signedIn)
		}
		if caller, err := auth.Caller(facts, signedIn); err != nil || caller.Subject != "carol-cooper" {
			t.Errorf("the caller is %+v (%v)", caller, err)
		}
	}
}

func TestAnAnswerNamesItsIssuer(t *testing.T) {
	in := start(t)
	_, login := in.authorize()
	if query := in.choose(login, "carol", "deny").Query(); query.Get("iss") != in.issuer { // RFC 9207
		t.Errorf("the answer says that it is of %q", query.Get("iss"))
	}
}

func parsed(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

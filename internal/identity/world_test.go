package identity_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/law"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is an authenticator in production mode with a stepped clock, one issuer, and the subject ada, who
// has the sub ada-1 there.
type world struct {
	t     testing.TB
	now   time.Time
	idp   *identitytest.IdP
	facts law.Facts
	auth  *identity.Authenticator
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, now: start, idp: identitytest.NewInProcess(t, "https://idp.example")}
	w.know(w.idp.Issuer(), person("ada", w.idp.URL, "sub", "ada-1"))
	w.restart(false)
	return w
}

// restart replaces the authenticator by one that remembers nothing.
func (w *world) restart(development bool) {
	w.auth = identity.New(identity.Options{Now: func() time.Time { return w.now }, HTTP: w.idp.Client(), Development: development})
}

// know replaces the facts.
func (w *world) know(issuer law.Issuer, subjects ...law.Subject) {
	w.t.Helper()
	facts, err := law.NewFacts(law.Configuration{Issuers: []law.Issuer{issuer}, Subjects: subjects})
	if err != nil {
		w.t.Fatal(err)
	}
	w.facts = facts
}

// person returns a subject with one identity; pairs are claim names and values.
func person(id law.SubjectID, issuer string, pairs ...string) law.Subject {
	claims := map[string][]string{}
	for i := 0; i < len(pairs); i += 2 {
		claims[pairs[i]] = append(claims[pairs[i]], pairs[i+1])
	}
	return law.Subject{ID: id, Kind: law.User, Name: "A person", Enabled: true, Identities: []law.Identity{{Issuer: issuer, Claims: claims}}}
}

// good returns the claims of a token of ada.
func (w *world) good() identitytest.Claims { return identitytest.AccessToken(w.now, "ada-1") }

// token returns a new good token of ada.
func (w *world) token() string { return w.idp.Token("at+jwt", w.good()) }

func (w *world) accept(token string) law.Caller {
	w.t.Helper()
	caller, err := w.auth.Authenticate(context.Background(), w.facts, token)
	if err != nil {
		w.t.Fatalf("a good token was refused: %v", err)
	}
	return caller
}

func (w *world) refuse(token string, kind identity.Kind, reason identity.Reason) *identity.Error {
	w.t.Helper()
	caller, err := w.auth.Authenticate(context.Background(), w.facts, token)
	var refused *identity.Error
	if !errors.As(err, &refused) {
		w.t.Fatalf("the token was accepted as %+v (error %v); want the reason %s", caller, err, reason)
	}
	if refused.Kind != kind || refused.Reason != reason {
		w.t.Errorf("refused for kind %d, reason %s (%v); want kind %d, reason %s", refused.Kind, refused.Reason, refused, kind, reason)
	}
	noPartOf(w.t, token, refused)
	return refused
}

func (w *world) reject(token string, reason identity.Reason) {
	w.t.Helper()
	w.refuse(token, identity.Rejected, reason)
}

// noPartOf fails if an error holds something of a token.
func noPartOf(t testing.TB, token string, err *identity.Error) {
	t.Helper()
	for part := range strings.SplitSeq(token, ".") {
		if len(part) >= 12 && !strings.Contains(part[:12], " ") && strings.Contains(err.Error()+err.Sentence, part[:12]) {
			t.Errorf("the error holds a part of the token: %v", err)
		}
	}
}

// fetches counts how often the keys were asked for.
func (w *world) fetches() int {
	n := 0
	for _, path := range w.idp.Requests() {
		if path == identitytest.KeysPath {
			n++
		}
	}
	return n
}

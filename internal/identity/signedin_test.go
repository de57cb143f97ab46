package identity_test

import (
	"context"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/law"
)

// signIn signs ada in, with claims changed.
func (w *world) signIn(change func(identitytest.Claims) identitytest.Claims) identity.SignedIn {
	w.t.Helper()
	b := w.begin(w.pages(nil), false)
	return b.accept(b.bring(func(asked url.Values) string { return w.idp.Token("JWT", change(b.good(asked))) }))
}

func same(c identitytest.Claims) identitytest.Claims { return c }

func (w *world) refuseCaller(in identity.SignedIn, kind identity.Kind, reason identity.Reason) *identity.Error {
	w.t.Helper()
	caller, err := w.auth.Caller(w.facts, in)
	return refusal(w.t, caller, err, kind, reason)
}

func TestASignInIsJudgedByTheFactsOfNow(t *testing.T) {
	w := newWorld(t)
	in := w.signIn(same)
	if caller, err := w.auth.Caller(w.facts, in); err != nil || caller.Subject != "ada" {
		t.Fatalf("%+v, %v", caller, err)
	}
	ada := person("ada", w.idp.URL, "sub", "ada-1")
	ada.Enabled = false
	w.know(w.idp.Issuer(), ada)
	if err := w.refuseCaller(in, identity.NotAllowed, identity.DisabledSubject); err.Who.Subject != "ada" {
		t.Errorf("who: %+v", err.Who)
	}
	w.know(w.idp.Issuer(), person("ada", w.idp.URL, "sub", "ada-2"))
	if err := w.refuseCaller(in, identity.NotAllowed, identity.NoSubject); err.Who.Sub != "ada-1" {
		t.Errorf("who: %+v", err.Who)
	}
	w.know(w.idp.Issuer(), person("eve", w.idp.URL, "sub", "ada-1"))
	if caller, err := w.auth.Caller(w.facts, in); err != nil || caller.Subject != "eve" {
		t.Errorf("%+v, %v", caller, err)
	}
	machine := person("ci", w.idp.URL, "sub", "ada-1")
	machine.Kind = law.Client
	w.know(w.idp.Issuer(), machine)
	if err := w.refuseCaller(in, identity.NotAllowed, identity.MachineSubject); err.Who.Subject != "ci" {
		t.Errorf("who: %+v", err.Who)
	}
	w.facts = law.Facts{}
	w.refuseCaller(in, identity.Rejected, identity.UnknownIssuer)
	_, p, err := w.pages(nil).Begin(context.Background(), w.facts, false)
	refusal(t, p, err, identity.Rejected, identity.UnknownIssuer)
}

func TestNobodyIsNobody(t *testing.T) {
	w := newWorld(t)
	w.refuseCaller(identity.SignedIn{}, identity.Rejected, identity.UnknownIssuer)
	w.refuseCaller(identity.SignedIn{Issuer: w.idp.URL}, identity.Rejected, identity.NoToken)
	w.refuseCaller(identity.SignedIn{Issuer: w.idp.URL, Claims: map[string]string{"sub": "ada-1"}}, identity.Rejected, identity.NoToken)
	w.refuseCaller(identity.SignedIn{Issuer: w.idp.URL, Sub: "eve-1", Claims: map[string]string{"sub": "ada-1"}}, identity.NotAllowed, identity.NoSubject)
}

func TestASignInWithoutTLSIsRefusedInProduction(t *testing.T) {
	w := newWorld(t)
	w.idp = identitytest.New(t)
	w.know(w.idp.Issuer(), person("ada", w.idp.URL, "sub", "ada-1"))
	w.restart(true)
	in := w.signIn(func(c identitytest.Claims) identitytest.Claims { return c.With("development", true) })
	if caller, err := w.auth.Caller(w.facts, in); err != nil || caller.Subject != "ada" {
		t.Errorf("%+v, %v", caller, err)
	}
	w.restart(false)
	w.refuseCaller(in, identity.Rejected, identity.InsecureIssuer)
	_, p, err := w.pages(nil).Begin(context.Background(), w.facts, false)
	refusal(t, p, err, identity.Rejected, identity.InsecureIssuer)
}

func TestOnlyWhatIdentitiesNameAndApproversSeeIsKept(t *testing.T) {
	w := newWorld(t)
	issuer := w.idp.Issuer()
	issuer.Captured = []string{"department", "level"}
	w.know(issuer, person("ada", w.idp.URL, "oid", "o-1", "tid", "t-1"), person("bob", w.idp.URL, "oid", "o-2", "group", "g"))
	in := w.signIn(func(c identitytest.Claims) identitytest.Claims {
		return c.With("oid", "o-1").With("tid", "t-1").With("email", "ada@example.com").With("level", 7).With("name", "Ada\u202e").
			With("acr", strings.Repeat("x", 300)).With("amr", []any{"pwd", 1})
	})
	want := map[string]string{"sub": "ada-1", "oid": "o-1", "tid": "t-1"}
	if !reflect.DeepEqual(in.Claims, want) || in.Name != "" || in.ACR != "" || in.AMR != nil {
		t.Errorf("kept %+v", in)
	}
	caller, err := w.auth.Caller(w.facts, in)
	claims := []law.Claim{{Name: "department"}, {Name: "level", Present: true, Value: "7"}}
	if err != nil || caller.Subject != "ada" || caller.Actor != "" || !slices.Equal(caller.Claims, claims) {
		t.Errorf("%+v, %v", caller, err)
	}
	issuer.Captured = []string{"department"}
	w.know(issuer, person("ada", w.idp.URL, "oid", "o-1"))
	w.refuseCaller(in, identity.Rejected, identity.BadClaim) // approvers would be shown other claims than they should
}

func TestAnActorInAnIDTokenIsOneAsInAnAccessToken(t *testing.T) {
	w := newWorld(t)
	issuer := w.idp.Issuer()
	issuer.ActorClaim = "actor"
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	for _, c := range []struct {
		value any
		want  string
	}{{"bob", "bob"}, {7, "7"}, {nil, ""}} {
		caller, err := w.auth.Caller(w.facts, w.signIn(func(claims identitytest.Claims) identitytest.Claims { return claims.With("actor", c.value) }))
		if err != nil || caller.Actor != c.want || len(caller.Claims) != 1 {
			t.Errorf("%v: %+v, %v", c.value, caller, err)
		}
	}
	b := w.begin(w.pages(nil), false)
	b.refuseToken(identity.BadClaim, func(asked url.Values) string { return w.idp.Token("JWT", b.good(asked).With("actor", []string{"bob"})) })
}

func TestASignInThatACookieCannotHoldIsRefused(t *testing.T) {
	w := newWorld(t)
	issuer := w.idp.Issuer()
	issuer.Captured = []string{"a", "b", "c"}
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	large := func(n int) func(c identitytest.Claims) identitytest.Claims {
		return func(c identitytest.Claims) identitytest.Claims {
			return c.With("a", strings.Repeat("x", n)).With("b", strings.Repeat("x", n)).With("c", strings.Repeat("x", n))
		}
	}
	in := w.signIn(large(600))
	if n := len(asJSON(t, in)); n > 2560 {
		t.Errorf("%d bytes are kept", n)
	}
	b := w.begin(w.pages(nil), false)
	b.refuseToken(identity.BadClaim, func(asked url.Values) string { return w.idp.Token("JWT", large(900)(b.good(asked))) })
}

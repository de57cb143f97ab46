package identity_test

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"testing"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/law"
)

// FuzzToken hands any bytes to the authenticator: nothing but the one token that the issuer signed is
// accepted, and no error holds a part of what was handed in.
func FuzzToken(f *testing.F) {
	w := newWorld(f)
	key := identitytest.NewKey(f, "key-1", "EdDSA") // its signatures have one form only
	w.idp.SetKeys(key)
	issuer := w.idp.Issuer()
	issuer.Algorithms = []string{"EdDSA"}
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	good := w.token()
	w.accept(good)
	f.Add(good)
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(good + ".AAAA.AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := w.auth.Authenticate(context.Background(), w.facts, token)
		if err == nil {
			if token != good {
				t.Fatalf("a token that nobody signed was accepted: %q", token)
			}
			return
		}
		var refused *identity.Error
		if !errors.As(err, &refused) || refused.Kind != identity.Rejected || refused.Sentence == "" {
			t.Fatalf("refused with %#v", err)
		}
		noPartOf(t, token, refused)
	})
}

// FuzzSignedToken has the issuer sign any header and any claims: what is accepted says all that it must say.
func FuzzSignedToken(f *testing.F) {
	w := newWorld(f)
	issuer := w.idp.Issuer()
	issuer.ActorClaim, issuer.Captured = "actor", []string{"ref"}
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	w.accept(w.token())
	header := []byte(`{"alg":"ES256","kid":"key-1","typ":"at+jwt"}`)
	f.Add(header, asJSON(f, w.good().With("iss", w.idp.URL).With("actor", 7).With("ref", []any{"x", 1.5})))
	f.Add(header, asJSON(f, w.good().With("iss", w.idp.URL).With("aud", []string{"keyserver", "b"}).With("azp", "keyserver")))
	f.Add([]byte(`{"alg":"ES256","kid":"key-1","typ":"application/AT+JWT","jwk":{}}`), []byte(`{"iss":"https://idp.example"}`))
	f.Fuzz(func(t *testing.T, header, claims []byte) {
		caller, err := w.auth.Authenticate(context.Background(), w.facts, w.idp.Key().Sign(header, claims))
		if err != nil {
			return
		}
		var read struct {
			Iss string `json:"iss"`
			Sub string `json:"sub"`
			Exp int64  `json:"exp"`
		}
		if err := json.Unmarshal(claims, &read); err != nil {
			t.Fatalf("accepted claims that cannot be read: %v", err)
		}
		if read.Iss != w.idp.URL || read.Sub != "ada-1" || read.Exp <= w.now.Unix() || caller.Subject != "ada" {
			t.Errorf("accepted %s as %+v", claims, caller)
		}
		for _, c := range caller.Claims {
			if c.Value != "" && law.CheckText(c.Value, 1024) != nil {
				t.Errorf("captured %+v", c)
			}
		}
	})
}

// BenchmarkRememberedToken is what a request costs when its token was seen before.
func BenchmarkRememberedToken(b *testing.B) {
	for _, subjects := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("%d subjects", subjects), func(b *testing.B) {
			w := newWorld(b)
			all := []law.Subject{person("ada", w.idp.URL, "sub", "ada-1")}
			for i := 1; i < subjects; i++ {
				all = append(all, person(law.SubjectID(fmt.Sprintf("p%d", i)), w.idp.URL, "sub", fmt.Sprintf("p%d", i)))
			}
			w.know(w.idp.Issuer(), all...)
			token := w.token()
			w.accept(token)
			for b.Loop() {
				w.accept(token)
			}
		})
	}
}

// BenchmarkNewToken is what the first request with a token costs.
func BenchmarkNewToken(b *testing.B) {
	w := newWorld(b)
	header := []byte(`{"alg":"ES256","kid":"key-1","typ":"at+jwt"}`)
	tokens := make([]string, 1000)
	for i := range tokens {
		tokens[i] = w.idp.Key().Sign(header, asJSON(b, w.good().With("iss", w.idp.URL).With("jti", i)))
	}
	for i := 0; b.Loop(); i++ {
		if i%len(tokens) == 0 {
			w.restart(false)
		}
		w.accept(tokens[i%len(tokens)])
	}
}

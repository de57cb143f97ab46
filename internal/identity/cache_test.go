package identity

import (
	"crypto/sha256"
	"testing"
	"time"

	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/law"
)

func TestTheCacheForgetsWhatWasNotUsedLongest(t *testing.T) {
	c := newCache(2)
	a, b, d := sha256.Sum256([]byte("a")), sha256.Sum256([]byte("b")), sha256.Sum256([]byte("d"))
	c.put(a, &verified{sub: "a"})
	c.put(b, &verified{sub: "b"})
	c.put(b, &verified{sub: "b again"})
	if got := c.get(b); got == nil || got.sub != "b again" {
		t.Errorf("b is remembered as %+v", got)
	}
	c.get(a)
	c.put(d, &verified{sub: "d"})
	if c.get(a) == nil || c.get(b) != nil || c.get(d) == nil {
		t.Error("b should be forgotten, a and d remembered")
	}
	if len(c.entries) != 2 || c.byUse.Len() != 2 {
		t.Errorf("%d and %d entries, want 2", len(c.entries), c.byUse.Len())
	}
}

// Anybody can have tokens of an issuer that is open to everybody.
func TestATokenOfAStrangerIsNotRemembered(t *testing.T) {
	idp := identitytest.NewInProcess(t, "https://idp.test")
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	facts, err := law.NewFacts(law.Configuration{Issuers: []law.Issuer{idp.Issuer()}, Subjects: []law.Subject{{
		ID: "ada", Kind: law.User, Name: "Ada", Enabled: true,
		Identities: []law.Identity{{Issuer: idp.URL, Claims: map[string][]string{"sub": {"ada"}}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	a := New(Options{Now: func() time.Time { return now }, HTTP: idp.Client()})
	for sub, remembered := range map[string]bool{"ada": true, "stranger": false} {
		token := idp.Token("at+jwt", identitytest.AccessToken(now, sub))
		if _, err := a.Authenticate(t.Context(), facts, token); (err == nil) != remembered {
			t.Errorf("%s: %v", sub, err)
		}
		if got := a.remembered.get(sha256.Sum256([]byte(token))) != nil; got != remembered {
			t.Errorf("%s: remembered is %t", sub, got)
		}
	}
}

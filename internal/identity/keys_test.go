package identity_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/law"
)

func (w *world) unavailable(token string) *identity.Error {
	w.t.Helper()
	return w.refuse(token, identity.Unavailable, identity.KeysUnavailable)
}

func TestARotatedKeyIsFoundAndTheOldOneStopsWorking(t *testing.T) {
	w := newWorld(t)
	old, oldToken := w.idp.Key(), w.token()
	w.accept(oldToken)
	next := identitytest.NewKey(t, "key-2", "ES256")
	w.idp.SetKeys(next, old)
	w.now = w.now.Add(time.Minute)
	w.accept(w.token())
	w.accept(oldToken)
	if w.fetches() != 2 {
		t.Errorf("%d fetches, want one at first and one for the new kid", w.fetches())
	}
	w.idp.SetKeys(next)
	w.now = w.now.Add(time.Hour)
	longLived := old.Sign([]byte(`{"alg":"ES256","kid":"key-1","typ":"at+jwt"}`), asJSON(t, w.good().With("iss", w.idp.URL)))
	w.reject(longLived, identity.UnknownKey)
}

func TestARememberedTokenEndsWithItsKey(t *testing.T) {
	w := newWorld(t)
	token := w.idp.Token("at+jwt", w.good().With("exp", w.now.Add(24*time.Hour).Unix()))
	w.accept(token)
	w.idp.SetKeys(identitytest.NewKey(t, "key-2", "ES256"))
	w.now = w.now.Add(59 * time.Minute)
	w.accept(token)
	w.now = w.now.Add(time.Minute)
	w.reject(token, identity.UnknownKey)
}

func TestUnknownKeyIdsFetchKeysAtALimitedRate(t *testing.T) {
	w := newWorld(t)
	w.accept(w.token())
	flood := func() {
		for i := range 50 {
			w.reject(w.idp.TokenWith(identitytest.Header{"typ": "at+jwt", "kid": fmt.Sprint("random-", i)}, w.good()), identity.UnknownKey)
		}
	}
	w.now = w.now.Add(9 * time.Second)
	flood()
	if w.fetches() != 1 {
		t.Errorf("%d fetches within 10 seconds, want 1", w.fetches())
	}
	for range 3 {
		w.now = w.now.Add(10 * time.Second)
		flood()
	}
	if w.fetches() != 4 {
		t.Errorf("%d fetches within 40 seconds, want 4", w.fetches())
	}
	w.accept(w.token())
}

func TestKeysAreFetchedAgainAfterAnHourAndNotUsedAfterADay(t *testing.T) {
	w := newWorld(t)
	w.accept(w.token())
	w.now = start.Add(time.Hour - time.Second)
	w.accept(w.token())
	if w.fetches() != 1 {
		t.Errorf("%d fetches within the first hour, want 1", w.fetches())
	}
	w.idp.Answer(identitytest.KeysPath, identitytest.Say(http.StatusBadGateway, nil))
	remembered := w.idp.Token("at+jwt", w.good().With("exp", start.Add(100*time.Hour).Unix()))
	for _, age := range []time.Duration{time.Hour, 2 * time.Hour, 24*time.Hour - time.Second} {
		w.now = start.Add(age)
		w.accept(w.token()) // the issuer is down; its keys are not too old
		w.accept(remembered)
	}
	if w.fetches() != 4 {
		t.Errorf("%d fetches, want one in each of the later hours", w.fetches())
	}
	w.now = start.Add(24 * time.Hour)
	err := w.unavailable(w.token())
	if !strings.Contains(err.Error(), "502") || strings.Contains(err.Sentence, "502") {
		t.Errorf("the cause must be in the log and not in the sentence: %q, %q", err.Error(), err.Sentence)
	}
	w.unavailable(remembered)
	w.idp.Answer(identitytest.KeysPath, nil)
	w.unavailable(w.token()) // too early to try again
	w.now = w.now.Add(10 * time.Second)
	w.accept(w.token())
}

func TestKeysThatCannotBeReadAreNotHad(t *testing.T) {
	good := string(identitytest.NewInProcess(t, "").KeySet())
	for name, answer := range map[string]http.HandlerFunc{
		"not found":       identitytest.Say(http.StatusNotFound, []byte(good)),
		"no content":      identitytest.Say(http.StatusNoContent, nil),
		"not JSON":        identitytest.Say(http.StatusOK, []byte("<html>")),
		"empty":           identitytest.Say(http.StatusOK, nil),
		"no keys member":  identitytest.Say(http.StatusOK, []byte(`{}`)),
		"null keys":       identitytest.Say(http.StatusOK, []byte(`{"keys":null}`)),
		"keys no list":    identitytest.Say(http.StatusOK, []byte(`{"keys":{}}`)),
		"two keys lists":  identitytest.Say(http.StatusOK, []byte(`{"keys":[],`+good[1:])),
		"trailing bytes":  identitytest.Say(http.StatusOK, []byte(good+"x")),
		"larger than 256": identitytest.Say(http.StatusOK, []byte(good+strings.Repeat(" ", 256<<10))),
		"a redirect": func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://evil.example/other", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.idp.Answer(identitytest.KeysPath, answer)
			w.unavailable(w.token())
			w.unavailable(w.token())
			if n := len(w.idp.Requests()); n != 2 {
				t.Errorf("%d requests, want one for the discovery document and one for the keys: %v", n, w.idp.Requests())
			}
		})
	}
}

func TestDiscoveryMustNameTheIssuerAndASafeAddress(t *testing.T) {
	for name, document := range map[string]string{
		"another issuer":     `{"issuer":"https://other.example","jwks_uri":"https://idp.example/keys"}`,
		"a trailing slash":   `{"issuer":"https://idp.example/","jwks_uri":"https://idp.example/keys"}`,
		"no issuer":          `{"jwks_uri":"https://idp.example/keys"}`,
		"no keys":            `{"issuer":"https://idp.example"}`,
		"keys without TLS":   `{"issuer":"https://idp.example","jwks_uri":"http://idp.example/keys"}`,
		"keys on this host":  `{"issuer":"https://idp.example","jwks_uri":"http://127.0.0.1/keys"}`,
		"keys in a file":     `{"issuer":"https://idp.example","jwks_uri":"file:///etc/passwd"}`,
		"two addresses":      `{"issuer":"https://idp.example","jwks_uri":"https://idp.example/keys","jwks_uri":"https://idp.example/keys"}`,
		"other case":         `{"Issuer":"https://idp.example","JWKS_URI":"https://idp.example/keys"}`,
		"address is no text": `{"issuer":"https://idp.example","jwks_uri":["https://idp.example/keys"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.idp.Answer(identitytest.DiscoveryPath, identitytest.Say(http.StatusOK, []byte(document)))
			w.unavailable(w.token())
			if w.fetches() != 0 {
				t.Error("keys were fetched nevertheless")
			}
		})
	}
}

func TestAConfiguredKeysAddressNeedsNoDiscovery(t *testing.T) {
	w := newWorld(t)
	w.idp.Answer(identitytest.DiscoveryPath, identitytest.Say(http.StatusNotFound, nil))
	issuer := w.idp.Issuer()
	issuer.KeysURL = w.idp.URL + identitytest.KeysPath
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	w.accept(w.token())
	if got := w.idp.Requests(); len(got) != 1 {
		t.Errorf("requests: %v; want the keys only", got)
	}
}

func TestOnlyAFittingPublicSigningKeyVerifies(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ec := identitytest.NewKey(t, "key-1", "ES256")
	ec384 := identitytest.NewKey(t, "key-1", "ES384")
	ed := identitytest.NewKey(t, "key-1", "EdDSA")
	strong := identitytest.NewKey(t, "key-1", "RS256")
	for name, c := range map[string]struct {
		signer identitytest.Key
		served jose.JSONWebKey
		want   identity.Reason // empty: accepted
	}{
		"as it should be":        {ec, jose.JSONWebKey{Key: ec.Private.Public(), KeyID: "key-1", Use: "sig", Algorithm: "ES256"}, ""},
		"no use and no alg":      {ec, jose.JSONWebKey{Key: ec.Private.Public(), KeyID: "key-1"}, ""},
		"RSA":                    {strong, jose.JSONWebKey{Key: strong.Private.Public(), KeyID: "key-1"}, ""},
		"for encryption":         {ec, jose.JSONWebKey{Key: ec.Private.Public(), KeyID: "key-1", Use: "enc"}, identity.UnknownKey},
		"for another algorithm":  {strong, jose.JSONWebKey{Key: strong.Private.Public(), KeyID: "key-1", Algorithm: "PS256"}, identity.UnknownKey},
		"RSA of 1024 bits":       {identitytest.Key{ID: "key-1", Algorithm: "RS256", Private: weak}, jose.JSONWebKey{Key: weak.Public(), KeyID: "key-1"}, identity.UnknownKey},
		"a private key":          {ec, jose.JSONWebKey{Key: ec.Private, KeyID: "key-1"}, identity.UnknownKey},
		"a secret":               {ec, jose.JSONWebKey{Key: []byte("secret-secret-secret-secret-1234"), KeyID: "key-1"}, identity.UnknownKey},
		"another curve":          {ec, jose.JSONWebKey{Key: ec384.Private.Public(), KeyID: "key-1"}, identity.UnknownKey},
		"another kind":           {ec, jose.JSONWebKey{Key: ed.Private.Public(), KeyID: "key-1"}, identity.UnknownKey},
		"another kid":            {ec, jose.JSONWebKey{Key: ec.Private.Public(), KeyID: "key-2"}, identity.UnknownKey},
		"no kid":                 {ec, jose.JSONWebKey{Key: ec.Private.Public()}, identity.UnknownKey},
		"another key's kid":      {ec, jose.JSONWebKey{Key: identitytest.NewKey(t, "", "ES256").Private.Public(), KeyID: "key-1"}, identity.BadSignature},
		"RSA for an EC token":    {ec, jose.JSONWebKey{Key: strong.Private.Public(), KeyID: "key-1"}, identity.UnknownKey},
		"Ed25519 is not allowed": {ed, jose.JSONWebKey{Key: ed.Private.Public(), KeyID: "key-1"}, identity.BadAlgorithm},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.idp.SetKeys(c.signer)
			// A key of a kind that nobody knows does not spoil the set.
			set := `{"keys":[{"kty":"LATTICE","kid":"key-0"},` + string(asJSON(t, c.served)) + `]}`
			w.idp.Answer(identitytest.KeysPath, identitytest.Say(http.StatusOK, []byte(set)))
			if c.want == "" {
				w.accept(w.token())
			} else {
				w.reject(w.token(), c.want)
			}
		})
	}
}

func TestKeysOfOneKidAreTriedOneAfterTheOther(t *testing.T) {
	w := newWorld(t)
	w.idp.SetKeys(w.idp.Key(), identitytest.NewKey(t, "key-1", "ES256"))
	w.accept(w.token())
	w.idp.SetKeys(identitytest.NewKey(t, "key-1", "RS256"), w.idp.Key())
	w.reject(w.token(), identity.UnknownKey) // the key set is still the old one
	w.now = w.now.Add(time.Hour)
	w.accept(w.token())
}

func TestAnEmptyKeySetWithdrawsAllKeys(t *testing.T) {
	w := newWorld(t)
	w.accept(w.token())
	w.idp.Answer(identitytest.KeysPath, identitytest.Say(http.StatusOK, []byte(`{"keys":[]}`)))
	w.now = w.now.Add(time.Hour)
	w.reject(w.token(), identity.UnknownKey)
}

func TestASilentIssuerIsGivenUpAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.Answer(identitytest.KeysPath, identitytest.Hang)
		began := time.Now()
		err := w.unavailable(w.token())
		if took := time.Since(began); took != 5*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up after %v: %v", took, err)
		}
	})
}

func TestCallersShareOneFetchThatOutlivesTheFirstOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		release := make(chan struct{})
		keys := w.idp.KeySet()
		w.idp.Answer(identitytest.KeysPath, func(rw http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
				rw.Write(keys)
			case <-r.Context().Done():
			}
		})
		token := w.token()
		firstCtx, leave := context.WithCancel(t.Context())
		var first error
		results := make([]error, 50)
		var callers sync.WaitGroup
		callers.Go(func() { _, first = w.auth.Authenticate(firstCtx, w.facts, token) })
		synctest.Wait()
		w.now = w.now.Add(time.Minute) // no reason for a second one while the first is under way
		for i := range results {
			callers.Go(func() { _, results[i] = w.auth.Authenticate(t.Context(), w.facts, token) })
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		callers.Wait()
		var unavailable *identity.Error
		if !errors.As(first, &unavailable) || unavailable.Kind != identity.Unavailable || !errors.Is(first, context.Canceled) {
			t.Errorf("the caller who left got %v", first)
		}
		for _, err := range results {
			if err != nil {
				t.Errorf("a caller who stayed got %v", err)
			}
		}
		if w.fetches() != 1 {
			t.Errorf("%d fetches, want 1", w.fetches())
		}
	})
}

func TestProductionTakesKeysOverTLSOnly(t *testing.T) {
	for _, c := range []struct {
		url, keys   string
		development bool
		allowed     bool
	}{
		{"https://idp.example", "", false, true},
		{"http://idp.example", "", false, false},
		{"http://127.0.0.1:1234", "", false, false},
		{"http://localhost:1234", "", false, false},
		{"https://idp.example", "http://idp.example/keys", false, false},
		{"idp.example", "", false, false},
		{"ftp://idp.example", "", true, false},
		{"https://idp.example", "", true, true},
		{"http://127.0.0.1:1234", "", true, true},
		{"http://[::1]:1234", "", true, true},
		{"http://localhost:1234", "", true, true},
		{"http://idp.example", "", true, false},
		{"http://localhost.example", "", true, false},
		{"http://127.0.0.1.example", "", true, false},
		{"http://10.0.0.1", "", true, false},
		{"http://127.0.0.1@idp.example", "", true, false},
		{"https://idp.example", "http://idp.example/keys", true, false},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			w := newWorld(t)
			w.idp = identitytest.NewInProcess(t, c.url)
			issuer := w.idp.Issuer()
			issuer.KeysURL = c.keys
			w.know(issuer, person("ada", c.url, "sub", "ada-1"))
			w.restart(c.development)
			if c.allowed {
				w.accept(w.token())
				return
			}
			w.reject(w.token(), identity.InsecureIssuer)
			if n := len(w.idp.Requests()); n != 0 {
				t.Errorf("%d requests were made", n)
			}
		})
	}
}

func TestKeysComeFromARealServerWithAVerifiedCertificate(t *testing.T) {
	idp := identitytest.NewInProcess(t, "")
	server := httptest.NewUnstartedServer(idp)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it says that a client does not trust it
	server.StartTLS()
	defer server.Close()
	idp.URL = server.URL
	w := newWorld(t)
	w.idp = idp
	w.know(idp.Issuer(), person("ada", idp.URL, "sub", "ada-1"))
	w.auth = identity.New(identity.Options{Now: func() time.Time { return w.now }, HTTP: server.Client()})
	w.accept(w.token())
	w.auth = identity.New(identity.Options{Now: func() time.Time { return w.now }}) // does not know its certificate authority
	w.unavailable(w.token())
}

func TestTokensOfADevelopmentProviderAreRefusedInProduction(t *testing.T) {
	w := newWorld(t)
	token := w.idp.Token("at+jwt", w.good().With("development", true))
	w.reject(token, identity.DevelopmentToken)
	w.accept(w.idp.Token("at+jwt", w.good().With("development", false)))
	w.restart(true)
	w.accept(token)
}

func TestAChangedIssuerIsJudgedAnew(t *testing.T) {
	w := newWorld(t)
	token := w.token()
	w.accept(token)
	ada := person("ada", w.idp.URL, "sub", "ada-1")
	change := func(f func(*law.Issuer)) {
		issuer := w.idp.Issuer()
		f(&issuer)
		w.know(issuer, ada)
	}
	change(func(i *law.Issuer) { i.Audiences = []string{"other"} })
	w.reject(token, identity.BadAudience)
	change(func(i *law.Issuer) { i.Algorithms = []string{"RS256"} })
	w.reject(token, identity.BadAlgorithm)
	change(func(i *law.Issuer) { i.Types = []string{"JWT"} })
	w.reject(token, identity.BadType)
	change(func(i *law.Issuer) { i.KeysURL = "https://idp.example/elsewhere" })
	w.unavailable(token)
	change(func(i *law.Issuer) { i.Captured = []string{"scope"} })
	if got := w.accept(token).Claims; len(got) != 1 || got[0].Value != "openid" {
		t.Errorf("captured %v", got)
	}
	change(func(*law.Issuer) {})
	w.accept(token)
	w.facts = law.Facts{}
	w.reject(token, identity.UnknownIssuer)
}

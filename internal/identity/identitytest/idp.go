// Package identitytest is an identity provider for tests: it mints any token, good or bad, serves any key
// set, slow, huge or broken ones too, and counts what it is asked. It knows the claims of the tokens of
// GitHub Actions, GitLab CI and Microsoft Entra ID.
package identitytest

import (
	"encoding/json/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"example.org/keyserver/internal/law"
)

// The paths at which an IdP answers.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	KeysPath      = "/keys"
	AuthorizePath = "/authorize" // where no page is: [IdP.SignIn] plays the browser
	TokenPath     = "/token"
)

// Audience is the aud claim of tokens, and the audience of issuers, of this package.
const Audience = "keyserver"

// IdP is an identity provider. It is safe for concurrent use.
type IdP struct {
	// URL is the issuer that its tokens and its discovery document name.
	URL string

	client   *http.Client
	mu       sync.Mutex
	keys     []Key
	handlers map[string]http.HandlerFunc // by path; they replace the usual answer
	requests []string                    // paths, in order
	codes    map[string]grant            // not yet redeemed
	secret   string                      // of the client for browsers; empty: it is a public one
}

// New starts an identity provider on a loopback port, with one ES256 key. It ends with the test.
func New(t testing.TB) *IdP {
	t.Helper()
	p := &IdP{keys: []Key{NewKey(t, "key-1", "ES256")}}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL, p.client = server.URL, server.Client()
	return p
}

// NewInProcess returns an identity provider with one ES256 key that only its [IdP.Client] reaches, at a URL
// of one's choice and without a socket.
func NewInProcess(t testing.TB, url string) *IdP {
	t.Helper()
	p := &IdP{URL: url, keys: []Key{NewKey(t, "key-1", "ES256")}}
	p.client = &http.Client{Transport: inProcess{p}}
	return p
}

// Client returns a client that reaches the identity provider.
func (p *IdP) Client() *http.Client { return p.client }

// Issuer returns the configuration for its access tokens of type at+jwt.
func (p *IdP) Issuer() law.Issuer {
	return law.Issuer{URL: p.URL, Audiences: []string{Audience}, Algorithms: []string{"ES256", "RS256"}, Types: []string{"at+jwt"}}
}

// SetKeys replaces the keys. The first one signs.
func (p *IdP) SetKeys(keys ...Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// Key returns the key that signs.
func (p *IdP) Key() Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[0]
}

// Answer makes a path be answered by h; nil brings the usual answer back.
func (p *IdP) Answer(path string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handlers == nil {
		p.handlers = map[string]http.HandlerFunc{}
	}
	p.handlers[path] = h
}

// Requests returns the paths asked for so far, in order.
func (p *IdP) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.requests...)
}

// KeySet returns the key set as it is served.
func (p *IdP) KeySet() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, k := range p.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Algorithm: k.Algorithm, Use: "sig"})
	}
	return mustJSON(set)
}

// ServeHTTP answers discovery, key set and token requests.
func (p *IdP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, r.URL.Path)
	handler := p.handlers[r.URL.Path]
	p.mu.Unlock()
	switch {
	case handler != nil:
		handler(w, r)
	case r.URL.Path == DiscoveryPath:
		w.Header().Set("Content-Type", "application/json")
		w.Write(mustJSON(map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + KeysPath, "response_types_supported": []string{"code"},
			"authorization_endpoint": p.URL + AuthorizePath, "token_endpoint": p.URL + TokenPath,
		}))
	case r.URL.Path == KeysPath:
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Write(p.KeySet())
	case r.URL.Path == TokenPath:
		p.token(w, r)
	default:
		http.NotFound(w, r)
	}
}

// Hang is an answer that does not come as long as the client waits.
func Hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// Say returns an answer with this status and body.
func Say(status int, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		w.Write(body)
	}
}

// inProcess hands requests to the handler.
type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder, done := httptest.NewRecorder(), make(chan struct{})
	go func() {
		defer close(done)
		t.handler.ServeHTTP(recorder, r)
	}()
	select {
	case <-done:
		return recorder.Result(), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func mustJSON(v any) []byte {
	out, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic("identitytest: " + err.Error())
	}
	return out
}

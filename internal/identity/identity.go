// Package identity answers who is calling: it checks OAuth 2.0 access tokens (JWT, RFC 9068 or what an
// OpenID provider issues in its manner) of the issuers that the facts name, and finds the one subject they
// belong to. People may also sign in with a browser ([SignIns]): then it is an ID token that is checked, once, by
// the same code, and what is kept of it is matched with the facts anew each time.
//
// What it believes of a token is decided by configuration only: the issuer's keys, algorithms, types and
// audiences. A token cannot bring or name a key. Nothing is kept of a token but what [law.Caller] holds and
// the string claims that identities may name, and no token is ever part of an error.
//
// The signature and the keys are go-jose's business. go-oidc is not used: its key set has no rate limit, no
// greatest age and no limit on sizes, and what is left of discovery without it is one small document.
package identity

import (
	"context"
	"crypto/sha256"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.org/keyserver/internal/law"
)

// Options are what an [Authenticator] needs from outside.
type Options struct {
	// Now tells the time. Required.
	Now func() time.Time
	// HTTP fetches key sets. Its redirects, cookies and timeout are not used. Nil: a client of its own that
	// heeds the proxy settings of the environment.
	HTTP *http.Client
	// Development allows issuers without TLS on this machine, and the tokens of the development identity
	// provider.
	Development bool
	// MinRefresh is the least time between two fetches of one issuer's keys. Zero: 10 seconds.
	MinRefresh time.Duration
	// MaxTokens is how many verified tokens are remembered. Zero: 10,000.
	MaxTokens int
}

// Authenticator checks access tokens, and what was kept of sign-ins with a browser. It is safe for concurrent use.
type Authenticator struct {
	now        func() time.Time
	fetcher    fetcher
	minRefresh time.Duration
	remembered *cache
	mu         sync.Mutex
	sources    map[string]*keySource // by issuer URL
}

// New returns an Authenticator that knows no keys yet.
func New(opts Options) *Authenticator {
	if opts.MinRefresh == 0 {
		opts.MinRefresh = 10 * time.Second
	}
	if opts.MaxTokens == 0 {
		opts.MaxTokens = 10_000
	}
	return &Authenticator{
		now:        opts.Now,
		fetcher:    newFetcher(opts.HTTP, opts.Development),
		minRefresh: opts.MinRefresh,
		remembered: newCache(opts.MaxTokens),
		sources:    map[string]*keySource{},
	}
}

// Authenticate returns who the access token belongs to. The error is an [*Error].
func (a *Authenticator) Authenticate(ctx context.Context, f law.Facts, token string) (law.Caller, error) {
	if err := checkSize(token, accessToken); err != nil {
		return law.Caller{}, err
	}
	now, sum := a.now(), sha256.Sum256([]byte(token))
	v, err := a.recall(ctx, f, sum, now)
	isNew := err == nil && v == nil
	if isNew {
		v, err = a.verify(ctx, f, token, now)
	}
	if err != nil {
		return law.Caller{}, err
	}
	subject, err := v.subject(f)
	if err != nil {
		return law.Caller{}, err
	}
	if isNew { // not before there is a subject: strangers must not push out those who work here
		a.remembered.put(sum, v)
	}
	return law.Caller{
		Principal: law.Principal{Subject: subject, Issuer: v.issuer.URL, Sub: v.sub},
		Actor:     v.actor,
		Claims:    slices.Clone(v.captured),
	}, nil
}

// verified is what is kept of a token whose signature and claims are good.
type verified struct {
	issuer   law.Issuer // as it was configured when the token was checked
	keys     *keySet    // with which it was checked
	times    times
	sub      string
	text     map[string]string // the string claims: what identities are matched with
	actor    string
	captured []law.Claim
	matched  atomic.Pointer[matched]
}

// matched is what the configuration of one making says of a token: that its issuer is as it was when the token
// was checked, and whose it is.
type matched struct {
	making  law.Making
	subject law.SubjectID
}

// matches says whether that was found of facts with this very configuration. Any other is judged anew.
func (v *verified) matches(f law.Facts) bool {
	m := v.matched.Load()
	return m != nil && m.making == f.Making()
}

// recall returns what is known of a token that was verified before, nil if it must be verified: it was not
// seen yet, or the issuer's configuration or keys are not those it was verified with.
func (a *Authenticator) recall(ctx context.Context, f law.Facts, sum [sha256.Size]byte, now time.Time) (*verified, error) {
	v := a.remembered.get(sum)
	if v == nil {
		return nil, nil
	}
	if !v.matches(f) {
		if issuer, known := f.Issuer(v.issuer.URL); !known || !reflect.DeepEqual(issuer, v.issuer) {
			return nil, nil
		}
	}
	keys, err := a.keys(v.issuer).current(ctx, now, anyKey)
	if err != nil {
		return nil, err
	}
	if keys != v.keys {
		return nil, nil
	}
	return v, v.times.check(now)
}

// verify checks an access token from its first byte to its last claim.
func (a *Authenticator) verify(ctx context.Context, f law.Facts, token string, now time.Time) (*verified, error) {
	t, err := parse(token, accessToken)
	if err != nil {
		return nil, err
	}
	issuer, err := a.issuer(f, t)
	if err != nil {
		return nil, err
	}
	keys, err := a.signed(ctx, t, issuer, now)
	if err != nil {
		return nil, err
	}
	if err := checkAudience(t.claims, issuer); err != nil {
		return nil, err
	}
	v := &verified{issuer: issuer, keys: keys}
	return v, v.read(t.claims, t.use, a.fetcher.development, now)
}

// signed checks header and signature of a token, and returns the keys with which it did.
func (a *Authenticator) signed(ctx context.Context, t token, issuer law.Issuer, now time.Time) (*keySet, error) {
	if err := t.checkHeader(issuer); err != nil {
		return nil, err
	}
	keys, err := a.keys(issuer).current(ctx, now, t.kid)
	if err != nil {
		return nil, err
	}
	return keys, t.checkSignature(issuer, keys)
}

// issuer returns the issuer that the token says it is from, byte for byte: it only selects whose keys must
// have signed.
func (a *Authenticator) issuer(f law.Facts, t token) (law.Issuer, error) {
	iss, _ := text(t.claims["iss"]) // no issuer is called ""
	return a.trusted(f, iss, string(t.use))
}

// trusted returns an issuer of the facts whose keys may be fetched.
func (a *Authenticator) trusted(f law.Facts, url, what string) (law.Issuer, error) {
	issuer, known := f.Issuer(url)
	if !known {
		return law.Issuer{}, reject(UnknownIssuer, "the %s is not from an issuer of this server; sign in with one that is configured", what)
	}
	for _, url := range []string{issuer.URL, issuer.KeysURL} {
		if url == "" {
			continue
		}
		if err := a.fetcher.allowed(url); err != nil {
			return law.Issuer{}, reject(InsecureIssuer, "tokens of issuer %s are refused: %v", issuer.URL, err)
		}
	}
	return issuer, nil
}

// keys returns where the keys of the issuer come from. A changed keys URL starts anew.
func (a *Authenticator) keys(issuer law.Issuer) *keySource {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sources[issuer.URL]
	if s == nil || s.keysURL != issuer.KeysURL {
		s = newKeySource(a.fetcher, issuer, a.minRefresh)
		a.sources[issuer.URL] = s
	}
	return s
}

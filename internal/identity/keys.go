package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"

	"example.org/keyserver/internal/law"
)

const (
	keysFresh  = time.Hour      // after which keys are fetched again before they are used
	keysUsable = 24 * time.Hour // after which keys are not used, even if no newer ones can be had
	fetchTime  = 5 * time.Second
	anyKey     = ""
)

// keySet is an issuer's public keys as they were fetched at one time. It is never changed.
type keySet struct {
	fetched time.Time
	byID    map[string][]jose.JSONWebKey
}

// fitting returns the public keys with this kid that may verify this algorithm.
func (s *keySet) fitting(kid, alg string) []any {
	var out []any
	for _, k := range s.byID[kid] {
		if (k.Use == "" || k.Use == "sig") && (k.Algorithm == "" || k.Algorithm == alg) && fits(k.Key, alg) {
			out = append(out, k.Key)
		}
	}
	return out
}

// fits says whether a key is a public key of the kind that the algorithm needs (RFC 7518, section 3.1; RFC
// 8037), and of a decent size. It knows no symmetric algorithm.
func fits(key any, alg string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch alg {
		case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
			return k.N.BitLen() >= 2048 && k.N.BitLen() <= 8192
		}
	case *ecdsa.PublicKey:
		switch alg {
		case "ES256":
			return k.Curve == elliptic.P256()
		case "ES384":
			return k.Curve == elliptic.P384()
		case "ES512":
			return k.Curve == elliptic.P521()
		}
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// keySource keeps the newest keys of one issuer. Fetches are rare, shared by all who wait for one, and not
// given up when a caller goes away.
type keySource struct {
	fetcher fetcher
	issuer  string
	keysURL string // as configured; empty: found by discovery

	mu      sync.Mutex
	limit   *rate.Limiter
	newest  *keySet       // nil before the first success
	failure error         // of the last fetch
	running chan struct{} // closed when the fetch under way has ended; nil when there is none
}

func newKeySource(f fetcher, issuer law.Issuer, min time.Duration) *keySource {
	return &keySource{fetcher: f, issuer: issuer.URL, keysURL: issuer.KeysURL, limit: rate.NewLimiter(rate.Every(min), 1)}
}

// current returns the issuer's keys, after fetching them if they are not fresh or do not have the kid, and
// if the rate limit lets it. When no fetch succeeds, older keys serve until they are too old.
func (s *keySource) current(ctx context.Context, now time.Time, kid string) (*keySet, error) {
	s.mu.Lock()
	var wait chan struct{}
	if !s.newest.serves(now, kid) {
		wait = s.fetch(ctx, now)
	}
	s.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, s.unavailable(context.Cause(ctx))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil || now.Sub(s.newest.fetched) >= keysUsable {
		return nil, s.unavailable(s.failure)
	}
	return s.newest, nil
}

// serves says whether the keys can be used for the kid without asking the issuer.
func (s *keySet) serves(now time.Time, kid string) bool {
	if s == nil {
		return false
	}
	_, known := s.byID[kid]
	return now.Sub(s.fetched) < keysFresh && (known || kid == anyKey)
}

// fetch returns what to wait for: the fetch under way or a new one; nil if it is too early for a new one.
func (s *keySource) fetch(ctx context.Context, now time.Time) chan struct{} {
	if s.running != nil || !s.limit.AllowN(now, 1) {
		return s.running
	}
	done := make(chan struct{})
	s.running = done
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	go func() {
		defer close(done)
		defer cancel()
		byID, err := s.fetcher.keys(ctx, s.issuer, s.keysURL)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			s.newest = &keySet{fetched: now, byID: byID}
		}
		s.failure, s.running = err, nil
	}()
	return done
}

func (s *keySource) unavailable(cause error) error {
	return &Error{Kind: Unavailable, Reason: KeysUnavailable, cause: cause,
		Sentence: fmt.Sprintf("the keys of issuer %s cannot be had at the moment, so no token of it can be checked; try again later", s.issuer)}
}

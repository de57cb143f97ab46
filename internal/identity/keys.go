package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"example.org/keyserver/internal/law"
)

const anyKey = ""

// keySet is an issuer's public keys as they were fetched at one time. It is never changed.
type keySet struct {
	byID map[string][]jose.JSONWebKey
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

// keySource is where the keys of one issuer come from.
type keySource struct {
	*source[keySet]
	keysURL string // as configured; empty: found by discovery
}

func newKeySource(f fetcher, issuer law.Issuer, min time.Duration) *keySource {
	load := func(ctx context.Context) (*keySet, error) {
		byID, err := f.keys(ctx, issuer.URL, issuer.KeysURL)
		return &keySet{byID: byID}, err
	}
	late := fmt.Sprintf("the keys of issuer %s cannot be had at the moment, so no token of it can be checked; try again later", issuer.URL)
	return &keySource{newSource(load, min, KeysUnavailable, late), issuer.KeysURL}
}

// current returns the issuer's keys, after fetching them if they are not fresh or do not have the kid.
func (s *keySource) current(ctx context.Context, now time.Time, kid string) (*keySet, error) {
	return s.source.current(ctx, now, func(k *keySet) bool {
		_, known := k.byID[kid]
		return known || kid == anyKey
	})
}

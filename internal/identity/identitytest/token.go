package identitytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"maps"
	"testing"
)

// Key is a key pair of an identity provider.
type Key struct {
	ID        string
	Algorithm string // JWS, such as ES256
	Private   crypto.Signer
}

// NewKey makes a key pair for a JWS algorithm; RSA keys have 2048 bits.
func NewKey(t testing.TB, id, algorithm string) Key {
	t.Helper()
	k := Key{ID: id, Algorithm: algorithm}
	var err error
	switch algorithm {
	case "ES256":
		k.Private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		k.Private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		k.Private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, k.Private, err = ed25519.GenerateKey(rand.Reader)
	default:
		k.Private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatalf("making a key for %s: %v", algorithm, err)
	}
	return k
}

// Header is a JOSE header.
type Header map[string]any

// Claims are the claims of a token.
type Claims map[string]any

// With returns the claims with one of them changed.
func (c Claims) With(name string, value any) Claims {
	c = maps.Clone(c)
	c[name] = value
	return c
}

// Without returns the claims without some of them.
func (c Claims) Without(names ...string) Claims {
	c = maps.Clone(c)
	for _, name := range names {
		delete(c, name)
	}
	return c
}

// Token mints a token of a type with the key that signs. A missing iss claim is filled in.
func (p *IdP) Token(typ string, c Claims) string { return p.TokenWith(Header{"typ": typ}, c) }

// TokenWith mints a token with these header parameters besides, or instead of, alg and kid; a nil one is
// left out. The signature is good.
func (p *IdP) TokenWith(h Header, c Claims) string {
	key := p.Key()
	header := Header{"alg": key.Algorithm, "kid": key.ID}
	maps.Copy(header, h)
	maps.DeleteFunc(header, func(_ string, v any) bool { return v == nil })
	if _, set := c["iss"]; !set {
		c = c.With("iss", p.URL)
	}
	return key.Sign(mustJSON(header), mustJSON(c))
}

// Sign returns a JWS in compact form over any header and any payload, signed as the key's Algorithm says
// whatever the header says.
func (k Key) Sign(header, payload []byte) string {
	input := Part(header) + "." + Part(payload)
	return input + "." + Part(k.signature([]byte(input)))
}

// HMAC returns a JWS in compact form like Sign, with HMAC-SHA-256 and any secret.
func HMAC(secret, header, payload []byte) string {
	input := Part(header) + "." + Part(payload)
	mac := hmac.New(crypto.SHA256.New, secret)
	mac.Write([]byte(input))
	return input + "." + Part(mac.Sum(nil))
}

// Part returns the base64url form of one part of a token.
func Part(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// signature signs with the standard library only, so that the product's JOSE library is not checked against
// itself.
func (k Key) signature(input []byte) []byte {
	if private, ok := k.Private.(ed25519.PrivateKey); ok {
		return ed25519.Sign(private, input)
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[k.Algorithm[2:]]
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	var out []byte
	var err error
	switch private := k.Private.(type) {
	case *ecdsa.PrivateKey:
		r, s, signErr := ecdsa.Sign(rand.Reader, private, digest)
		if err = signErr; err == nil { // RFC 7518, section 3.4
			size := (private.Curve.Params().BitSize + 7) / 8
			out = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case *rsa.PrivateKey:
		if k.Algorithm[:2] == "PS" {
			out, err = rsa.SignPSS(rand.Reader, private, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			out, err = rsa.SignPKCS1v15(nil, private, hash, digest)
		}
	}
	if err != nil {
		panic("identitytest: signing: " + err.Error())
	}
	return out
}

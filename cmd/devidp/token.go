package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// reservedClaims are those that a minter sets itself.
func reservedClaims() []string {
	return []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "auth_time", "scope",
		"nonce", "at_hash", "acr", "amr", "name", "groups", "development"}
}

// grant is what somebody has been granted: the content of the tokens they get.
type grant struct {
	subject  string
	clientID string
	scopes   []string
	claims   map[string]any // further claims; never a reserved one but name and groups
	authTime time.Time      // when the person signed in; zero for a machine
	nonce    string         // of the authorization request, for the ID token
}

// minter makes tokens. Its key is as old as the program.
type minter struct {
	issuer   string
	audience string
	lifetime time.Duration
	now      func() time.Time
	public   jose.JSONWebKey
	access   jose.Signer
	id       jose.Signer
}

// newMinter makes a key and the signers for the two kinds of token. There are two because the library's
// own token code can sign with type "JWT" only, and an access token says "at+jwt" (RFC 9068, section 2.1).
func newMinter(issuer string, a accounts, now func() time.Time) (*minter, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the signing key: %w", err)
	}
	public := jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.ES256), Use: "sig"}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("naming the signing key: %w", err)
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)

	signingKey := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: public.KeyID}}
	access, err := jose.NewSigner(signingKey, new(jose.SignerOptions).WithType("at+jwt"))
	if err != nil {
		return nil, fmt.Errorf("preparing access tokens: %w", err)
	}
	id, err := jose.NewSigner(signingKey, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("preparing ID tokens: %w", err)
	}
	return &minter{
		issuer: issuer, audience: a.Audience, lifetime: a.TokenLifetime, now: now,
		public: public, access: access, id: id,
	}, nil
}

// mint makes the answer to a token request: an access token, and an ID token for a person who asked for
// one with the scope openid.
func (m *minter) mint(g grant) (*oidc.AccessTokenResponse, error) {
	access, err := m.accessToken(g)
	if err != nil {
		return nil, err
	}
	response := &oidc.AccessTokenResponse{
		AccessToken: access,
		TokenType:   oidc.BearerToken,
		ExpiresIn:   uint64(m.lifetime / time.Second),
		Scope:       g.scopes,
	}
	if !g.authTime.IsZero() && slices.Contains(g.scopes, oidc.ScopeOpenID) {
		if response.IDToken, err = m.idToken(g, access); err != nil {
			return nil, err
		}
	}
	return response, nil
}

// accessToken makes a token as in RFC 9068, section 2.2.
func (m *minter) accessToken(g grant) (string, error) {
	claims := m.claims(g)
	claims["aud"] = m.audience
	claims["nbf"] = claims["iat"]
	claims["jti"] = rand.Text()
	claims["client_id"] = g.clientID
	if len(g.scopes) > 0 {
		claims["scope"] = strings.Join(g.scopes, " ")
	}
	return sign(m.access, claims)
}

// idToken makes a token as in OpenID Connect Core, section 2; it goes with one access token.
func (m *minter) idToken(g grant, access string) (string, error) {
	hash, err := oidc.ClaimHash(access, jose.ES256)
	if err != nil {
		return "", fmt.Errorf("hashing the access token: %w", err)
	}
	claims := m.claims(g)
	claims["aud"] = g.clientID
	claims["at_hash"] = hash
	claims["acr"], claims["amr"] = "0", []string{"pwd"} // a password that everybody knows is good for no more
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	return sign(m.id, claims)
}

// claims are what both kinds of token have.
func (m *minter) claims(g grant) map[string]any {
	claims := make(map[string]any)
	maps.Copy(claims, g.claims)
	now := m.now()
	claims["iss"] = m.issuer
	claims["sub"] = g.subject
	claims["iat"] = now.Unix()
	claims["exp"] = now.Add(m.lifetime).Unix()
	claims["development"] = true
	if !g.authTime.IsZero() {
		claims["auth_time"] = g.authTime.Unix()
	}
	return claims
}

func sign(signer jose.Signer, claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding claims: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed.CompactSerialize()
}

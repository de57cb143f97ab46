package main

import (
	"crypto/subtle"
	"net/url"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// client is a client as the library wants to see it: the public client of the people, which has no
// secret, or a machine. The zero client may do nothing.
type client struct {
	id           string
	secret       string
	grants       []oidc.GrantType
	redirectURIs []string
}

// client finds a client by its id.
func (a *accounts) client(id string) (client, bool) {
	if id == a.PublicClient {
		return client{
			id:           id,
			grants:       []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeDeviceCode},
			redirectURIs: a.RedirectURIs,
		}, true
	}
	m, ok := a.machine(id)
	if !ok {
		return client{}, false
	}
	return client{id: id, secret: m.Secret, grants: []oidc.GrantType{oidc.GrantTypeClientCredentials}}, true
}

// authenticates reports whether this is the client's secret; the public client has the empty one.
func (c client) authenticates(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(c.secret), []byte(secret)) == 1
}

// public reports whether the client has no secret.
func (c client) public() bool { return c.secret == "" }

// may reports whether the client may use a grant.
func (c client) may(grant oidc.GrantType) bool { return slices.Contains(c.grants, grant) }

// The rest is what op.Client demands. The library asks for the first six; the others belong to parts of
// it that are not used here and say the least they can.

func (c client) GetID() string                { return c.id }
func (c client) RedirectURIs() []string       { return c.redirectURIs }
func (c client) GrantTypes() []oidc.GrantType { return c.grants }
func (c client) IsScopeAllowed(string) bool   { return true } // grantable decides

func (c client) ResponseTypes() []oidc.ResponseType {
	if c.may(oidc.GrantTypeCode) {
		return []oidc.ResponseType{oidc.ResponseTypeCode}
	}
	return nil
}

// ApplicationType is native for people, so that redirects to loopback match on any port (RFC 8252,
// section 7.3).
func (c client) ApplicationType() op.ApplicationType {
	if c.public() {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

func (c client) AuthMethod() oidc.AuthMethod {
	if c.public() {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

// LoginURL is the page where the person answers an authorization request.
func (c client) LoginURL(request string) string {
	return "/login?" + url.Values{"request": {request}}.Encode()
}

func (c client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeJWT }
func (c client) PostLogoutRedirectURIs() []string     { return nil }
func (c client) IDTokenLifetime() time.Duration       { return 0 }
func (c client) DevMode() bool                        { return false }
func (c client) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c client) ClockSkew() time.Duration             { return 0 }

func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string     { return noScopes }
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return noScopes }

func noScopes([]string) []string { return nil }

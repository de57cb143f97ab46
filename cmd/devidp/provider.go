package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	loginLifetime  = 10 * time.Minute // to choose an account on the login page
	codeLifetime   = time.Minute      // to redeem an authorization code
	deviceLifetime = 10 * time.Minute // to answer on the device page
	pollInterval   = time.Second      // between two questions of a waiting program
)

// provider answers the requests of the OpenID library, which has parsed them and checked redirect URIs,
// response types and client ids. What it does not override is refused by UnimplementedServer.
type provider struct {
	op.UnimplementedServer

	issuer    string
	accounts  accounts
	endpoints op.Endpoints
	minter    *minter
	now       func() time.Time

	logins  *shelf[oidc.AuthRequest] // waiting for a person to choose an account
	codes   *shelf[codeGrant]        // waiting to be redeemed
	devices *devices
}

// codeGrant is what an authorization code stands for.
type codeGrant struct {
	request oidc.AuthRequest
	grant   grant
}

// newProvider makes a provider that nobody has signed in to.
func newProvider(issuer string, a accounts, now func() time.Time) (*provider, error) {
	minter, err := newMinter(issuer, a, now)
	if err != nil {
		return nil, err
	}
	return &provider{
		issuer:   issuer,
		accounts: a,
		endpoints: op.Endpoints{
			Authorization:       op.NewEndpoint("/authorize"),
			Token:               op.NewEndpoint("/token"),
			DeviceAuthorization: op.NewEndpoint("/device_authorization"),
			JwksURI:             op.NewEndpoint("/keys"),
		},
		minter:  minter,
		now:     now,
		logins:  newShelf[oidc.AuthRequest](loginLifetime, now),
		codes:   newShelf[codeGrant](codeLifetime, now),
		devices: newDevices(deviceLifetime, now),
	}, nil
}

// handler lists every route there is. The library's router would take any method.
func (p *provider) handler() http.Handler {
	library := op.RegisterServer(p, p.endpoints, op.WithServerCORSOptions(nil))
	mux := http.NewServeMux()
	mux.Handle("GET "+oidc.DiscoveryEndpoint, library)
	mux.Handle("GET "+p.endpoints.JwksURI.Relative(), library)
	mux.Handle("GET "+p.endpoints.Authorization.Relative(), library)
	mux.Handle("POST "+p.endpoints.Token.Relative(), library)
	mux.Handle("POST "+p.endpoints.DeviceAuthorization.Relative(), library)
	p.addPages(mux)

	protected := http.NewCrossOriginProtection().Handler(mux)
	return http.MaxBytesHandler(onlyFor(strings.TrimPrefix(p.issuer, "http://"), protected), 64<<10)
}

// onlyFor refuses requests for another host: a page elsewhere whose name its owner lets point to
// 127.0.0.1 (DNS rebinding) is same-origin to the browser and would pass the cross-origin protection.
func onlyFor(host string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != host {
			http.Error(w, "this is http://"+host+" and no other host; use that address", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// discovery is the discovery document, with what the library does not know of.
type discovery struct {
	oidc.DiscoveryConfiguration
	NamesItself bool `json:"authorization_response_iss_parameter_supported"`
}

// Discovery says what there is, and nothing that there is not.
func (p *provider) Discovery(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	return op.NewResponse(&discovery{NamesItself: true, DiscoveryConfiguration: oidc.DiscoveryConfiguration{
		Issuer:                            p.issuer,
		AuthorizationEndpoint:             p.endpoints.Authorization.Absolute(p.issuer),
		TokenEndpoint:                     p.endpoints.Token.Absolute(p.issuer),
		DeviceAuthorizationEndpoint:       p.endpoints.DeviceAuthorization.Absolute(p.issuer),
		JwksURI:                           p.endpoints.JwksURI.Absolute(p.issuer),
		ScopesSupported:                   supportedScopes(),
		ResponseTypesSupported:            []string{string(oidc.ResponseTypeCode)},
		ResponseModesSupported:            []string{string(oidc.ResponseModeQuery)},
		GrantTypesSupported:               []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeDeviceCode, oidc.GrantTypeClientCredentials},
		SubjectTypesSupported:             []string{"public"},
		ACRValuesSupported:                []string{"0"},
		IDTokenSigningAlgValuesSupported:  []string{string(jose.ES256)},
		TokenEndpointAuthMethodsSupported: []oidc.AuthMethod{oidc.AuthMethodNone, oidc.AuthMethodBasic, oidc.AuthMethodPost},
		CodeChallengeMethodsSupported:     []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
	}}), nil
}

// Keys publishes the signing key.
func (p *provider) Keys(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	return op.NewResponse(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{p.minter.public}}), nil
}

// VerifyAuthRequest finds the client of an authorization request. The library then checks its redirect
// URI, so an unknown client is never redirected.
func (p *provider) VerifyAuthRequest(_ context.Context, r *op.Request[oidc.AuthRequest]) (*op.ClientRequest[oidc.AuthRequest], error) {
	if r.Data.RequestParam != "" {
		return nil, oidc.ErrRequestNotSupported()
	}
	c, ok := p.accounts.client(r.Data.ClientID)
	if !ok || !c.may(oidc.GrantTypeCode) {
		return nil, oidc.ErrUnauthorizedClient().WithDescription("people sign in with the client %q", p.accounts.PublicClient)
	}
	return &op.ClientRequest[oidc.AuthRequest]{Request: r, Client: c}, nil
}

// Authorize remembers the request and sends the person to the login page.
func (p *provider) Authorize(_ context.Context, r *op.ClientRequest[oidc.AuthRequest]) (*op.Redirect, error) {
	request := *r.Data
	if request.CodeChallenge == "" || request.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE is required: send a code_challenge with code_challenge_method S256")
	}
	if request.ResponseMode != "" && request.ResponseMode != oidc.ResponseModeQuery {
		return nil, oidc.ErrInvalidRequest().WithDescription("the only response_mode is query")
	}
	if slices.Contains(request.Prompt, oidc.PromptNone) {
		return nil, oidc.ErrLoginRequired().WithDescription("nobody stays signed in here, so prompt=none cannot succeed")
	}
	scopes, err := grantable(request.Scopes)
	if err != nil {
		return nil, err
	}
	request.Scopes = scopes
	return op.NewRedirect(r.Client.LoginURL(p.logins.put(request))), nil
}

// DeviceAuthorization starts a device flow (RFC 8628, section 3.1).
func (p *provider) DeviceAuthorization(_ context.Context, r *op.ClientRequest[oidc.DeviceAuthorizationRequest]) (*op.Response, error) {
	if !op.ValidateGrantType(r.Client, oidc.GrantTypeDeviceCode) {
		return nil, oidc.ErrUnauthorizedClient().WithDescription("client %q may not use device codes", r.Client.GetID())
	}
	scopes, err := grantable(r.Data.Scopes)
	if err != nil {
		return nil, err
	}
	deviceCode, userCode, err := p.devices.add(r.Client.GetID(), scopes)
	if err != nil {
		return nil, serverError(err)
	}
	return notStored(&oidc.DeviceAuthorizationResponse{
		DeviceCode:              deviceCode,
		UserCode:                userCode,
		VerificationURI:         p.issuer + "/device",
		VerificationURIComplete: p.issuer + "/device?user_code=" + userCode,
		ExpiresIn:               int(deviceLifetime / time.Second),
		Interval:                int(pollInterval / time.Second),
	}), nil
}

// VerifyClient authenticates the client of a token request. An unknown client and a wrong secret get the
// same answer.
func (p *provider) VerifyClient(_ context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	c, ok := p.accounts.client(r.Data.ClientID)
	if !ok || r.Data.ClientAssertion != "" || !c.authenticates(r.Data.ClientSecret) {
		err := oidc.ErrInvalidClient().WithDescription("there is no client with this client_id and secret")
		return nil, op.NewStatusError(err, http.StatusUnauthorized)
	}
	return c, nil
}

// CodeExchange redeems an authorization code. A code is used up by the first attempt, also a wrong one.
func (p *provider) CodeExchange(_ context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	code, ok := p.codes.take(r.Data.Code)
	if !ok || code.request.ClientID != r.Client.GetID() {
		return nil, oidc.ErrInvalidGrant().WithDescription("the code is unknown, has expired or has been used")
	}
	if r.Data.RedirectURI != code.request.RedirectURI {
		return nil, oidc.ErrInvalidGrant().WithDescription("redirect_uri is not that of the authorization request")
	}
	challenge := &oidc.CodeChallenge{Challenge: code.request.CodeChallenge, Method: code.request.CodeChallengeMethod}
	if !oidc.VerifyCodeChallenge(challenge, r.Data.CodeVerifier) {
		return nil, oidc.ErrInvalidGrant().WithDescription("code_verifier does not fit the code_challenge")
	}
	return p.tokens(code.grant)
}

// DeviceToken tells a waiting program how its device authorization stands (RFC 8628, section 3.5).
func (p *provider) DeviceToken(_ context.Context, r *op.ClientRequest[oidc.DeviceAccessTokenRequest]) (*op.Response, error) {
	d := p.devices.redeem(r.Client.GetID(), r.Data.DeviceCode)
	switch d.verdict {
	case pending:
		return nil, oidc.ErrAuthorizationPending()
	case denied:
		return nil, oidc.ErrAccessDenied()
	case expired:
		return nil, oidc.ErrExpiredDeviceCode()
	case allowed:
		g, ok := p.personGrant(d.subject, d.clientID, d.scopes)
		if !ok {
			return nil, oidc.ErrAccessDenied()
		}
		g.authTime = d.authTime
		return p.tokens(g)
	default:
		return nil, oidc.ErrInvalidGrant().WithDescription("the device code is unknown or has been used")
	}
}

// ClientCredentialsExchange gives a machine a token for itself. The library has let VerifyClient check
// the secret and refuses clients without one.
func (p *provider) ClientCredentialsExchange(_ context.Context, r *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	m, ok := p.accounts.machine(r.Client.GetID())
	if !ok {
		return nil, oidc.ErrUnauthorizedClient()
	}
	scopes, err := grantable(r.Data.Scope)
	if err != nil {
		return nil, err
	}
	claims := map[string]any{"name": m.Name}
	for name, value := range m.Claims {
		claims[name] = value
	}
	return p.tokens(grant{subject: m.ID, clientID: m.ID, scopes: scopes, claims: claims})
}

// personGrant is what a person who signs in now is granted.
func (p *provider) personGrant(sub, clientID string, scopes []string) (grant, bool) {
	u, ok := p.accounts.user(sub)
	if !ok {
		return grant{}, false
	}
	claims := map[string]any{"name": u.Name}
	if len(u.Groups) > 0 {
		claims["groups"] = u.Groups
	}
	return grant{subject: u.Sub, clientID: clientID, scopes: scopes, claims: claims, authTime: p.now()}, true
}

func (p *provider) tokens(g grant) (*op.Response, error) {
	response, err := p.minter.mint(g)
	if err != nil {
		return nil, serverError(err)
	}
	return notStored(response), nil
}

func supportedScopes() []string { return []string{oidc.ScopeOpenID, oidc.ScopeProfile} }

// grantable keeps the scopes that exist here. Asking only for others is refused, since the answer could
// not say that none was granted (RFC 6749, section 3.3).
func grantable(asked []string) ([]string, error) {
	var scopes []string
	for _, scope := range supportedScopes() {
		if slices.Contains(asked, scope) {
			scopes = append(scopes, scope)
		}
	}
	if len(asked) > 0 && len(scopes) == 0 {
		return nil, oidc.ErrInvalidScope().WithDescription("the scopes are %s", strings.Join(supportedScopes(), " and "))
	}
	return scopes, nil
}

// notStored is an answer with something secret in it (RFC 6749, section 5.1).
func notStored(data any) *op.Response {
	response := op.NewResponse(data)
	response.Header.Set("Cache-Control", "no-store")
	return response
}

func serverError(err error) error {
	return op.NewStatusError(oidc.ErrServerError().WithParent(fmt.Errorf("answering a token request: %w", err)), http.StatusInternalServerError)
}

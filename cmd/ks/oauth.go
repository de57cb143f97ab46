package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// issuerTimeout bounds each request to an issuer, maxIssuerAnswer what is read of its answer.
const (
	issuerTimeout   = 30 * time.Second
	maxIssuerAnswer = 1 << 20
)

// issuer is an OpenID provider that gives access tokens.
type issuer struct {
	config oauth2.Config
	client *http.Client
}

// findIssuer asks an issuer where its endpoints are (OpenID Connect Discovery section 4).
func findIssuer(ctx context.Context, f profile) (*issuer, error) {
	i := &issuer{}
	var err error
	if i.client, err = trust(f.CAFile); err != nil {
		return nil, err
	}
	i.client.Transport, i.client.Timeout = guard{i.client.Transport}, issuerTimeout
	provider, err := oidc.NewProvider(i.context(ctx), f.Issuer)
	if err != nil {
		return nil, fmt.Errorf("asking issuer %s for its endpoints: %w", f.Issuer, err)
	}
	i.config = oauth2.Config{ClientID: f.ClientID, Endpoint: provider.Endpoint(), Scopes: f.Scopes}
	if len(f.Scopes) == 0 {
		var metadata struct {
			Scopes []string `json:"scopes_supported"`
		}
		if err := provider.Claims(&metadata); err != nil {
			return nil, fmt.Errorf("reading what issuer %s says of itself: %w", f.Issuer, err)
		}
		for _, scope := range []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess} {
			if slices.Contains(metadata.Scopes, scope) {
				i.config.Scopes = append(i.config.Scopes, scope)
			}
		}
	}
	return i, nil
}

// context carries the HTTP client to the libraries, as they want it.
func (i *issuer) context(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, i.client)
}

// deviceToken lets a person sign in with a browser on any machine (RFC 8628). tell gets what the person
// must know.
func (i *issuer) deviceToken(ctx context.Context, tell func(*oauth2.DeviceAuthResponse)) (*oauth2.Token, error) {
	if i.config.Endpoint.DeviceAuthURL == "" {
		return nil, fmt.Errorf("the issuer offers no device flow (RFC 8628); sign in with --client-credentials, or set KS_TOKEN")
	}
	ctx = i.context(ctx)
	started, err := i.config.DeviceAuth(ctx)
	if err != nil {
		return nil, oauthFailure("starting to sign in", err)
	}
	tell(started)
	token, err := i.config.DeviceAccessToken(ctx, started)
	if err != nil {
		return nil, oauthFailure("signing in", err)
	}
	return token, nil
}

// machineToken signs in a machine with its secret (RFC 6749 section 4.4).
func (i *issuer) machineToken(ctx context.Context, secret string) (*oauth2.Token, error) {
	config := clientcredentials.Config{ClientID: i.config.ClientID, ClientSecret: secret, TokenURL: i.config.Endpoint.TokenURL, Scopes: i.config.Scopes}
	token, err := config.Token(i.context(ctx))
	if err != nil {
		return nil, oauthFailure("signing in", err)
	}
	return token, nil
}

// refresh gets a new access token for a refresh token (RFC 6749 section 6).
func (i *issuer) refresh(ctx context.Context, refreshToken string) (*oauth2.Token, error) {
	token, err := i.config.TokenSource(i.context(ctx), &oauth2.Token{RefreshToken: refreshToken}).Token()
	if err != nil {
		return nil, oauthFailure("renewing the sign-in", err)
	}
	return token, nil
}

// oauthFailure says in a sentence why an issuer gave no token.
func oauthFailure(doing string, err error) error {
	answer := (*oauth2.RetrieveError)(nil)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{code: exitSignIn, what: doing + ": nobody entered the code in time", hint: "run `ks login` again", cause: err}
	case !errors.As(err, &answer):
		return fmt.Errorf("%s: %w", doing, err)
	case answer.Response != nil && answer.Response.StatusCode >= http.StatusInternalServerError:
		return &failure{code: exitUnavailable, what: fmt.Sprintf("%s: the issuer answers %s", doing, answer.Response.Status), hint: "try again later", cause: err}
	}
	why := answer.ErrorCode
	switch why {
	case "access_denied":
		why = "it was denied"
	case "expired_token":
		why = "nobody entered the code in time"
	case "":
		why = "the issuer refuses without saying why"
	}
	if answer.ErrorDescription != "" {
		why += " (" + answer.ErrorDescription + ")"
	}
	return &failure{code: exitSignIn, what: doing + ": " + why, hint: "run `ks login` again", cause: err}
}

// trust returns an HTTP client that trusts the authorities in a PEM file, the system's if no file is named.
func trust(caFile string) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if caFile == "" {
		return &http.Client{Transport: transport}, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate authorities: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, usage("", "there is no PEM certificate in %s", caFile)
	}
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities}
	return &http.Client{Transport: transport}, nil
}

// guard sends nothing over a connection that others could read, also after a redirect or when discovery
// names such an endpoint, and reads no endless answers.
type guard struct{ transport http.RoundTripper }

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !loopback(r.URL.Hostname()) {
		return nil, &failure{code: exitOther, what: r.URL.Redacted() + " is without TLS and not on this machine", hint: "use an issuer with TLS"}
	}
	answer, err := g.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxIssuerAnswer), answer.Body}
	return answer, nil
}

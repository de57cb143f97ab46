package identity

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const maxDocument = 256 << 10 // bytes of a discovery document or key set

// fetcher fetches what issuers publish, and redeems codes. The URLs are from the configuration or from the issuer, never from a token.
type fetcher struct {
	client      *http.Client
	development bool
}

func newFetcher(client *http.Client, development bool) fetcher {
	var transport http.RoundTripper = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if client != nil {
		transport = client.Transport
	}
	return fetcher{
		client: &http.Client{
			Transport: transport,
			// The keys come from where the configuration says, or not at all.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		development: development,
	}
}

// allowed says whether keys may come from a URL: over TLS, or in development mode from this machine.
func (f fetcher) allowed(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is not a URL", address)
	case u.Scheme == "https":
		return nil
	case !f.development:
		return fmt.Errorf("%s does not begin with https://", address)
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
		return nil
	}
	return fmt.Errorf("%s does not begin with https:// and is not on this machine", address)
}

// keys returns the issuer's keys by kid. Keys of kinds that are not known are left out.
func (f fetcher) keys(ctx context.Context, issuer, keysURL string) (map[string][]jose.JSONWebKey, error) {
	if keysURL == "" {
		found, err := f.discover(ctx, issuer)
		if err != nil {
			return nil, err
		}
		keysURL = found.KeysURL
	}
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := f.document(ctx, keysURL, &set); err != nil {
		return nil, err
	}
	if set.Keys == nil {
		return nil, fmt.Errorf("reading %s: it is not a key set; it has no keys member", keysURL)
	}
	byID := map[string][]jose.JSONWebKey{}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if err := k.UnmarshalJSON(raw); err == nil {
			byID[k.KeyID] = append(byID[k.KeyID], k)
		}
	}
	return byID, nil
}

// provider is what an issuer says of itself.
type provider struct {
	Issuer           string `json:"issuer"`
	KeysURL          string `json:"jwks_uri"`
	AuthorizationURL string `json:"authorization_endpoint"`
	TokenURL         string `json:"token_endpoint"`
	NamesItself      bool   `json:"authorization_response_iss_parameter_supported"` // RFC 9207
}

// discover asks an issuer about itself (OpenID Connect Discovery 1.0, section 4).
func (f fetcher) discover(ctx context.Context, issuer string) (*provider, error) {
	address := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	var found provider
	if err := f.document(ctx, address, &found); err != nil {
		return nil, err
	}
	if found.Issuer != issuer {
		return nil, fmt.Errorf("reading %s: it is about issuer %q", address, found.Issuer)
	}
	return &found, nil
}

// document fetches one JSON document.
func (f fetcher) document(ctx context.Context, address string, into any) error {
	if err := f.allowed(address); err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("fetching %s: %w", address, err)
	}
	request.Header.Set("Accept", "application/json")
	status, body, err := f.answer(request)
	if err != nil {
		return fmt.Errorf("fetching %s: %w", address, err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("fetching %s: the answer is %d %s", address, status, http.StatusText(status))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading %s: %w", address, err)
	}
	return nil
}

// answer sends a request and reads the answer, if it is of a sensible size.
func (f fetcher) answer(request *http.Request) (status int, body []byte, err error) {
	response, err := f.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return 0, nil, err
	}
	if len(body) > maxDocument {
		return 0, nil, fmt.Errorf("it is larger than %d bytes", maxDocument)
	}
	return response.StatusCode, body, nil
}

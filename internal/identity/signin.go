package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/law"
)

// signInTime is how long a person may take at the provider.
const signInTime = 15 * time.Minute

// SignInOptions say at which issuer people sign in with a browser, and as which client this server is known there.
type SignInOptions struct {
	// Issuer is the URL of an issuer of the facts. The zero value signs nobody in.
	Issuer string
	// ClientID is the id of this server's pages there. It must not be an audience of access tokens. Required.
	ClientID string
	// ClientSecret reads the client's secret. Nil: a public client.
	ClientSecret func() ([]byte, error)
	// RedirectURL is where the issuer sends the browser back to, as registered there. Required.
	RedirectURL string
}

// SignIns lets people sign in with a browser at one issuer of the facts: OpenID Connect Core 1.0, section 3.1, with
// PKCE (RFC 7636). It is safe for concurrent use.
type SignIns struct {
	auth     *Authenticator
	options  SignInOptions
	provider *source[provider]
}

// NewSignIns returns SignIns that know nothing of the issuer yet.
func (a *Authenticator) NewSignIns(o SignInOptions) *SignIns {
	load := func(ctx context.Context) (*provider, error) {
		found, err := a.fetcher.discover(ctx, o.Issuer)
		if err != nil {
			return nil, err
		}
		for _, endpoint := range []string{found.AuthorizationURL, found.TokenURL} {
			if err := a.fetcher.allowed(endpoint); err != nil {
				return nil, fmt.Errorf("reading what %s says of itself: %w", o.Issuer, err)
			}
		}
		return found, nil
	}
	late := fmt.Sprintf("issuer %s does not say at the moment how to sign in there; try again later", o.Issuer)
	return &SignIns{auth: a, options: o, provider: newSource(load, a.minRefresh, ProviderUnavailable, late)}
}

// Pending is what must be kept of a sign-in until the browser comes back, where nobody but the server can read or
// change it. The zero Pending is completed by nothing.
type Pending struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Fresh    bool      `json:"fresh"` // the person had to sign in anew
	Begun    time.Time `json:"begun"`
}

// Begin returns where to send the browser, and what to keep meanwhile. If the sign-in must be fresh, the person signs
// in anew even if the issuer still knows them. The error is an [*Error].
func (s *SignIns) Begin(ctx context.Context, f law.Facts, fresh bool) (location string, p Pending, err error) {
	now := s.auth.now()
	_, found, err := s.issuer(ctx, f, now)
	if err != nil {
		return "", Pending{}, err
	}
	p = Pending{State: random(), Nonce: random(), Verifier: random(), Fresh: fresh, Begun: now}
	u, err := url.Parse(found.AuthorizationURL)
	if err != nil { // it was parsed when it was fetched
		return "", Pending{}, s.provider.unavailable(err)
	}
	challenge := sha256.Sum256([]byte(p.Verifier))
	q := u.Query() // which stays (RFC 6749, section 3.1)
	q.Set("response_type", "code")
	q.Set("scope", "openid profile")
	q.Set("client_id", s.options.ClientID)
	q.Set("redirect_uri", s.options.RedirectURL)
	q.Set("state", p.State)
	q.Set("nonce", p.Nonce)
	q.Set("code_challenge", base64.RawURLEncoding.EncodeToString(challenge[:]))
	q.Set("code_challenge_method", "S256")
	if fresh {
		q.Set("prompt", "login")
		q.Set("max_age", "0")
	}
	u.RawQuery, u.Fragment, u.RawFragment = q.Encode(), "", ""
	return u.String(), p, nil
}

// random returns what nobody can guess: 256 bits, and as many characters as RFC 7636 wants of a verifier.
func random() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// issuer returns the issuer where people sign in, as it is configured and as it says of itself.
func (s *SignIns) issuer(ctx context.Context, f law.Facts, now time.Time) (law.Issuer, *provider, error) {
	issuer, err := s.auth.trusted(f, s.options.Issuer, "sign-in")
	if err != nil {
		return law.Issuer{}, nil, err
	}
	// An ID token would then pass for an access token: only their audiences tell them apart.
	confusable := slices.ContainsFunc(issuer.Types, func(typ string) bool { return strings.EqualFold(mediaType(typ), typeOfIDTokens) })
	if confusable && slices.Contains(issuer.Audiences, s.options.ClientID) {
		return law.Issuer{}, nil, reject(BadAudience, "nobody can sign in here: client %s is an audience of access tokens of issuer %s too; "+
			"ask an administrator to register a client for the pages alone", s.options.ClientID, issuer.URL)
	}
	found, err := s.provider.current(ctx, now, func(*provider) bool { return true })
	return issuer, found, err
}

// Complete ends a sign-in with what the issuer gave the browser to bring. The code is redeemed and the ID token checked
// (OpenID Connect Core 1.0, section 3.1.3.7); the tokens are then thrown away. Whether the person has a subject is
// what [Authenticator.Caller] says. The error is an [*Error].
func (s *SignIns) Complete(ctx context.Context, f law.Facts, p Pending, query url.Values) (SignedIn, error) {
	now := s.auth.now()
	if err := p.check(query, now); err != nil {
		return SignedIn{}, err
	}
	issuer, found, err := s.issuer(ctx, f, now)
	if err != nil {
		return SignedIn{}, err
	}
	code, err := readRedirect(query, *found)
	if err != nil {
		return SignedIn{}, err
	}
	compact, err := s.redeem(ctx, found.TokenURL, code, p.Verifier)
	if err != nil {
		return SignedIn{}, err
	}
	return s.read(ctx, f, issuer, p, compact)
}

// check says whether the browser comes back from this sign-in, and in time.
func (p Pending) check(query url.Values, now time.Time) error {
	for _, kept := range []string{p.State, p.Nonce, p.Verifier} {
		if kept == "" {
			return reject(BadState, "no sign-in was begun in this browser; sign in again")
		}
	}
	state, ok := single(query, "state")
	if !ok || subtle.ConstantTimeCompare([]byte(state), []byte(p.State)) != 1 {
		return reject(BadState, "this is the answer to another sign-in than the one begun last in this browser; sign in again")
	}
	if age := now.Sub(p.Begun); age < -leeway || age >= signInTime {
		return reject(BadState, "the sign-in was begun more than %d minutes ago; sign in again", int(signInTime.Minutes()))
	}
	return nil
}

// readRedirect returns the code that the browser brings (RFC 6749, section 4.1.2).
func readRedirect(query url.Values, found provider) (string, error) {
	iss, named := single(query, "iss")
	if query.Has("iss") && (!named || iss != found.Issuer) || found.NamesItself && !named { // RFC 9207
		return "", reject(UnknownIssuer, "the answer is not from issuer %s, where the sign-in was begun; sign in again", found.Issuer)
	}
	if query.Has("error") {
		return "", refusedAt(found.Issuer, query)
	}
	code, ok := single(query, "code")
	if !ok {
		return "", reject(BadCode, "issuer %s sent no code; sign in again", found.Issuer)
	}
	return code, nil
}

// refusedAt puts into words why the issuer did not sign the person in. Its own words are not repeated: anybody can
// write them into a link.
func refusedAt(issuer string, query url.Values) error {
	switch why, _ := single(query, "error"); why {
	case "access_denied":
		return reject(Denied, "issuer %s did not sign you in: you declined, or it does not let you in here; sign in again, or ask who runs it", issuer)
	case "temporarily_unavailable", "server_error":
		return &Error{Kind: Unavailable, Reason: ProviderUnavailable, Sentence: fmt.Sprintf("issuer %s cannot sign anybody in at the moment; try again later", issuer)}
	case "login_required", "interaction_required", "consent_required", "account_selection_required",
		"invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope":
		return reject(Denied, "issuer %s did not sign you in (%s); sign in again, or ask an administrator", issuer, why)
	}
	return reject(Denied, "issuer %s did not sign you in; sign in again, or ask an administrator", issuer)
}

// single returns a parameter that is there once and is not empty.
func single(query url.Values, name string) (string, bool) {
	if values := query[name]; len(values) == 1 && values[0] != "" {
		return values[0], true
	}
	return "", false
}

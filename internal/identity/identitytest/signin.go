package identitytest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// The client as which a server under test is registered for sign-ins with a browser.
const (
	WebClient   = "keyserver-web"
	RedirectURL = "https://keyserver.example/signed-in"
)

// AccessSecret is what the access tokens are that come with ID tokens: nobody may keep or say it.
const AccessSecret = "access-token-that-nobody-may-keep"

// grant is what a code stands for.
type grant struct {
	asked   url.Values // the authorization request
	idToken string
}

// IDToken returns the claims of the ID token of a person who signs in now, as an authorization request wants it.
func IDToken(now time.Time, sub string, asked url.Values) Claims {
	return Claims{
		"aud": asked.Get("client_id"), "sub": sub, "nonce": asked.Get("nonce"), "name": "Ada Example",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "auth_time": now.Unix(), "acr": "0", "amr": []string{"pwd"},
	}
}

// SignIn plays the browser of a person at the authorization endpoint, and returns the query of the redirect. For the
// code in it the token endpoint gives the ID token, once.
func (p *IdP) SignIn(t testing.TB, location string, mint func(asked url.Values) string) url.Values {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	asked := u.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": WebClient, "redirect_uri": RedirectURL, "scope": "openid profile", "code_challenge_method": "S256",
	} {
		if asked.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, asked.Get(name), want)
		}
	}
	if u.Scheme+"://"+u.Host+u.Path != p.URL+AuthorizePath {
		t.Errorf("the browser is sent to %s", location)
	}
	token := mint(asked)
	code := rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.codes == nil {
		p.codes = map[string]grant{}
	}
	p.codes[code] = grant{asked, token}
	return url.Values{"code": {code}, "state": {asked.Get("state")}, "iss": {p.URL}}
}

// SetSecret makes the client a confidential one.
func (p *IdP) SetSecret(secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secret = secret
}

// token answers a request for tokens as RFC 6749 and RFC 7636 have it.
func (p *IdP) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, basic := r.BasicAuth()
	if !basic {
		id = r.PostFormValue("client_id")
	}
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if id != WebClient || basic != (p.secret != "") || subtle.ConstantTimeCompare([]byte(secret), []byte(p.secret)) != 1 {
		Say(http.StatusUnauthorized, mustJSON(map[string]string{"error": "invalid_client"}))(w, r)
		return
	}
	g, known := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if r.Method != http.MethodPost || r.PostFormValue("grant_type") != "authorization_code" || !known ||
		g.asked.Get("redirect_uri") != r.PostFormValue("redirect_uri") || g.asked.Get("code_challenge") != Part(challenge[:]) {
		Say(http.StatusBadRequest, mustJSON(map[string]string{"error": "invalid_grant", "error_description": AccessSecret}))(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(mustJSON(map[string]any{"access_token": AccessSecret, "token_type": "Bearer", "expires_in": 300, "id_token": g.idToken}))
}

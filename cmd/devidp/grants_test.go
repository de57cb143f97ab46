package main

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// Machines: client credentials.

func TestAMachineGetsATokenWithItsClaims(t *testing.T) {
	in := start(t)
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		config := clientcredentials.Config{
			ClientID: "ci-firmware", ClientSecret: "development-only", TokenURL: in.issuer + "/token", AuthStyle: style,
		}
		token, err := config.Token(in.ctx)
		if err != nil {
			t.Fatal(err)
		}
		claims := in.verified(token.AccessToken, "keyserver", "at+jwt")
		wantClaims(t, claims, map[string]any{
			"iss": in.issuer, "sub": "ci-firmware", "aud": "keyserver", "client_id": "ci-firmware",
			"repository": "example/firmware", "ref": "refs/heads/main", "actor": "alice", "name": "Firmware build pipeline",
			"nbf": claims["iat"],
		})
		if lifetime := claims["exp"].(float64) - claims["iat"].(float64); lifetime != 3600 {
			t.Errorf("the token lives %vs, want 3600s", lifetime)
		}
		if _, ok := claims["auth_time"]; ok || claims["jti"] == "" {
			t.Errorf("claims %v: a machine has a jti and no auth_time", claims)
		}
	}
}

func TestAMachineWithoutItsSecretGetsNothing(t *testing.T) {
	in := start(t)
	for _, c := range []struct{ id, secret string }{
		{"ci-firmware", "wrong"},
		{"ci-firmware", ""},
		{"nobody", "development-only"},
		{"alice", ""},
		{"ks", "a public client has no secret"},
	} {
		r := in.post("/token", "grant_type", "client_credentials", "client_id", c.id, "client_secret", c.secret)
		r.wantOAuthError(t, http.StatusUnauthorized, "invalid_client")
	}
}

func TestClientsUseOnlyTheirOwnGrants(t *testing.T) {
	in := start(t)
	machine := []string{"client_id", "ci-firmware", "client_secret", "development-only"}
	in.post("/token", "grant_type", "client_credentials", "client_id", "ks").wantOAuthError(t, http.StatusBadRequest, "unauthorized_client")
	in.post("/device_authorization", machine...).wantOAuthError(t, http.StatusBadRequest, "unauthorized_client")
	in.post("/token", append(machine, "grant_type", "authorization_code", "code", "x")...).wantOAuthError(t, http.StatusBadRequest, "unauthorized_client")
	in.post("/token", "grant_type", "refresh_token", "client_id", "ks", "refresh_token", "x").wantOAuthError(t, http.StatusBadRequest, "unauthorized_client")
	in.post("/token", "grant_type", "password", "client_id", "ks").wantOAuthError(t, http.StatusBadRequest, "unsupported_grant_type")
}

func TestScopesThatDoNotExistAreNotGranted(t *testing.T) {
	in := start(t)
	machine := []string{"grant_type", "client_credentials", "client_id", "ci-firmware", "client_secret", "development-only"}
	in.post("/token", append(machine, "scope", "everything")...).wantOAuthError(t, http.StatusBadRequest, "invalid_scope")
	r := in.post("/token", append(machine, "scope", "everything openid")...).json(t)
	if r["scope"] != "openid" || r["id_token"] != nil {
		t.Errorf("got %v, want the scope openid and no ID token for a machine", r)
	}
	in.post("/device_authorization", "client_id", "ks", "scope", "everything").wantOAuthError(t, http.StatusBadRequest, "invalid_scope")
}

// People: device flow.

func TestAPersonSignsInAProgramByDeviceCode(t *testing.T) {
	in := start(t)
	config := in.person()
	device, err := config.DeviceAuth(in.ctx)
	if err != nil {
		t.Fatal(err)
	}
	page := in.get(strings.TrimPrefix(device.VerificationURIComplete, in.issuer))
	if device.VerificationURI != in.issuer+"/device" || !strings.Contains(page.body, `value="`+device.UserCode+`"`) ||
		!strings.Contains(page.body, "The program ks waits for you") {
		t.Fatalf("the page at %s does not ask about the code:\n%s", device.VerificationURIComplete, page.body)
	}
	copied := " " + strings.ToLower(strings.ReplaceAll(device.UserCode, "-", " ")) // as people do
	if r := in.post("/device", "user_code", copied, "sub", "alice", "action", "allow"); r.status != http.StatusOK {
		t.Fatalf("allowing: got %d\n%s", r.status, r.body)
	}
	token, err := config.DeviceAccessToken(in.ctx, device)
	if err != nil {
		t.Fatal(err)
	}
	claims := in.verified(token.AccessToken, "keyserver", "at+jwt")
	wantClaims(t, claims, map[string]any{
		"sub": "alice", "client_id": "ks", "name": "Alice Archer", "scope": "openid",
	})
	if signedIn, ok := claims["auth_time"].(float64); !ok || signedIn > claims["iat"].(float64) {
		t.Errorf("auth_time is %v, want a time not after %v", claims["auth_time"], claims["iat"])
	}
	if groups := []any{"release-engineering"}; !reflect.DeepEqual(claims["groups"], groups) {
		t.Errorf("groups are %v, want %v", claims["groups"], groups)
	}
	wantClaims(t, in.verified(token.Extra("id_token").(string), "ks", "JWT"), map[string]any{"sub": "alice", "aud": "ks"})

	again := in.post("/token", "grant_type", deviceGrant, "client_id", "ks", "device_code", device.DeviceCode)
	again.wantOAuthError(t, http.StatusBadRequest, "invalid_grant")
}

// device starts a device flow without the scope openid.
func (in *instance) device() (deviceCode, userCode string) {
	in.t.Helper()
	r := in.post("/device_authorization", "client_id", "ks").json(in.t)
	return r["device_code"].(string), r["user_code"].(string)
}

func (in *instance) poll(deviceCode string) reply {
	in.t.Helper()
	return in.post("/token", "grant_type", deviceGrant, "client_id", "ks", "device_code", deviceCode)
}

func TestAProgramWaitsUntilThePersonAnswers(t *testing.T) {
	in := start(t)
	deviceCode, userCode := in.device()
	in.poll(deviceCode).wantOAuthError(t, http.StatusBadRequest, "authorization_pending")
	in.post("/device", "user_code", userCode, "sub", "bob", "action", "allow")
	r := in.poll(deviceCode)
	if _, ok := r.json(t)["id_token"]; ok || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %v %s; want no ID token without the scope openid, and no-store", r.header, r.body)
	}
	wantClaims(t, in.verified(r.json(t)["access_token"].(string), "keyserver", "at+jwt"), map[string]any{"sub": "bob", "scope": nil})
}

func TestAPersonWhoDeniesGivesNoToken(t *testing.T) {
	in := start(t)
	deviceCode, userCode := in.device()
	if r := in.post("/device", "user_code", userCode, "action", "deny"); r.status != http.StatusOK {
		t.Errorf("denying: got %d\n%s", r.status, r.body)
	}
	in.poll(deviceCode).wantOAuthError(t, http.StatusBadRequest, "access_denied")
}

func TestAnswersToADeviceThatMakeNoSenseAreRefused(t *testing.T) {
	in := start(t)
	deviceCode, userCode := in.device()
	for _, c := range []struct {
		userCode, sub, action string
		status                int
	}{
		{"BBBB-BBBB", "alice", "allow", http.StatusNotFound},
		{"", "alice", "allow", http.StatusNotFound},
		{"BBBB-BBBB", "", "deny", http.StatusNotFound},
		{userCode, "mallory", "allow", http.StatusBadRequest},
		{userCode, "ci-firmware", "allow", http.StatusBadRequest},
		{userCode, "", "allow", http.StatusBadRequest},
		{userCode, "alice", "", http.StatusBadRequest},
		{userCode, "alice", "perhaps", http.StatusBadRequest},
	} {
		if r := in.post("/device", "user_code", c.userCode, "sub", c.sub, "action", c.action); r.status != c.status {
			t.Errorf("%+v: got %d", c, r.status)
		}
	}
	in.poll(deviceCode).wantOAuthError(t, http.StatusBadRequest, "authorization_pending")
	in.poll("nonsense").wantOAuthError(t, http.StatusBadRequest, "invalid_grant")

	in.post("/device", "user_code", userCode, "sub", "alice", "action", "allow")
	if r := in.post("/device", "user_code", userCode, "sub", "bob", "action", "allow"); r.status != http.StatusNotFound {
		t.Errorf("answering twice: got %d, want 404", r.status)
	}
}

// People: authorization code with PKCE.

// authorize starts a code flow, as far as the login page.
func (in *instance) authorize(options ...oauth2.AuthCodeOption) (verifier, login string) {
	in.t.Helper()
	verifier = oauth2.GenerateVerifier()
	options = append(options, oauth2.S256ChallengeOption(verifier), oidc.Nonce("the-nonce"))
	r := in.get(strings.TrimPrefix(in.person().AuthCodeURL("the-state", options...), in.issuer))
	login = r.header.Get("Location")
	if r.status != http.StatusFound || !strings.HasPrefix(login, "/login?request=") {
		in.t.Fatalf("got %d to %q, want the login page: %s", r.status, login, r.body)
	}
	return verifier, login
}

// choose fills in the login form and returns where the browser is sent.
func (in *instance) choose(login, sub, action string) *url.URL {
	in.t.Helper()
	page := in.get(login)
	_, rest, ok := strings.Cut(page.body, `<input type="hidden" name="request" value="`)
	request, _, _ := strings.Cut(rest, `"`)
	if !ok || !strings.Contains(page.body, `<input type="radio" name="sub" value="`+sub+`"`) {
		in.t.Fatalf("the login page does not offer %s:\n%s", sub, page.body)
	}
	r := in.post("/login", "request", request, "sub", sub, "action", action)
	location, err := url.Parse(r.header.Get("Location"))
	if err != nil || r.status != http.StatusSeeOther || location.Query().Get("state") != "the-state" {
		in.t.Fatalf("choosing %s: got %d to %q, %v", sub, r.status, location, err)
	}
	return location
}

func TestAPersonSignsInByCode(t *testing.T) {
	in := start(t)
	verifier, login := in.authorize()
	if policy := in.get(login).header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, "form-action 'self' http://127.0.0.1:49152") {
		t.Errorf("policy %q does not let the form lead back to the program", policy)
	}
	location := in.choose(login, "carol", "allow")
	if got, want := location.Scheme+"://"+location.Host+location.Path, "http://127.0.0.1:49152/callback"; got != want {
		t.Errorf("sent to %s, want %s", got, want)
	}
	code := location.Query().Get("code")
	token, err := in.person().Exchange(in.ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	wantClaims(t, in.verified(token.AccessToken, "keyserver", "at+jwt"), map[string]any{"sub": "carol", "client_id": "ks", "nonce": nil})
	idToken := token.Extra("id_token").(string)
	wantClaims(t, in.verified(idToken, "ks", "JWT"), map[string]any{"sub": "carol", "nonce": "the-nonce"})

	if _, err := in.person().Exchange(in.ctx, code, oauth2.VerifierOption(verifier)); err == nil {
		t.Error("the code can be used twice")
	}
	if r := in.get(login); r.status != http.StatusNotFound {
		t.Errorf("the login page can be used twice: got %d", r.status)
	}
}

func TestAPersonWhoDeniesGivesNoCode(t *testing.T) {
	in := start(t)
	_, login := in.authorize()
	query := in.choose(login, "carol", "deny").Query()
	if query.Get("error") != "access_denied" || query.Has("code") {
		t.Errorf("got %v, want access_denied", query)
	}
}

func TestALoginThatMakesNoSenseIsRefused(t *testing.T) {
	in := start(t)
	_, login := in.authorize()
	request := strings.TrimPrefix(login, "/login?request=")
	for _, c := range []struct {
		request, sub, action string
		status               int
	}{
		{"nonsense", "alice", "allow", http.StatusNotFound},
		{request, "mallory", "allow", http.StatusBadRequest},
		{request, "alice", "perhaps", http.StatusBadRequest},
	} {
		if r := in.post("/login", "request", c.request, "sub", c.sub, "action", c.action); r.status != c.status {
			t.Errorf("%+v: got %d", c, r.status)
		}
	}
	in.choose(login, "alice", "allow") // the refusals have not used it up
}

func TestACodeIsUsedUpByAWrongAttempt(t *testing.T) {
	in := start(t)
	for name, attempt := range map[string][]string{
		"wrong verifier":     {"code_verifier", oauth2.GenerateVerifier()},
		"no verifier":        {"code_verifier", ""},
		"wrong redirect_uri": {"redirect_uri", "http://127.0.0.1:49153/callback"},
	} {
		verifier, login := in.authorize()
		right := []string{
			"grant_type", "authorization_code", "client_id", "ks", "code", in.choose(login, "carol", "allow").Query().Get("code"),
			"redirect_uri", "http://127.0.0.1:49152/callback", "code_verifier", verifier,
		}
		for _, form := range [][]string{append(slices.Clone(right), attempt...), right} {
			t.Run(name, func(t *testing.T) {
				in.post("/token", form...).wantOAuthError(t, http.StatusBadRequest, "invalid_grant")
			})
		}
	}
}

func TestAuthorizationWithoutS256IsRefused(t *testing.T) {
	in := start(t)
	verifier := oauth2.GenerateVerifier()
	for name, extra := range map[string][]string{
		"no challenge":       nil,
		"plain challenge":    {"code_challenge", verifier, "code_challenge_method", "plain"},
		"no method":          {"code_challenge", verifier},
		"unknown method":     {"code_challenge", verifier, "code_challenge_method", "S257"},
		"method alone":       {"code_challenge_method", "S256"},
		"fragment answers":   {"code_challenge", verifier, "code_challenge_method", "S256", "response_mode", "fragment"},
		"implicit flow":      {"code_challenge", verifier, "code_challenge_method", "S256", "response_type", "token"},
		"scopes that aren't": {"code_challenge", verifier, "code_challenge_method", "S256", "scope", "everything"},
		"without a page":     {"code_challenge", verifier, "code_challenge_method", "S256", "prompt", "none"},
	} {
		form := pairs(append([]string{
			"client_id", "ks", "response_type", "code", "scope", "openid", "redirect_uri", "http://127.0.0.1:49152/callback",
		}, extra...))
		r := in.get("/authorize?" + form.Encode())
		location := r.header.Get("Location")
		if !strings.HasPrefix(location, "http://127.0.0.1:49152/callback") || !strings.Contains(location, "error=") || strings.Contains(location, "code=") {
			t.Errorf("%s: got %d to %q, want an error at the redirect URI", name, r.status, location)
		}
	}
}

func TestOnlyKnownRedirectURIsAreUsed(t *testing.T) {
	in := start(t)
	query := func(clientID, redirectURI string) string {
		return "/authorize?" + pairs([]string{
			"client_id", clientID, "response_type", "code", "scope", "openid", "redirect_uri", redirectURI,
			"code_challenge", oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier()), "code_challenge_method", "S256",
		}).Encode()
	}
	for _, uri := range []string{"http://127.0.0.1/callback", "http://127.0.0.1:1/callback", "http://[::1]:65535/callback", "http://127.0.0.1:8443/signin/callback", "http://127.0.0.1:8443/signed-in"} {
		if location := in.get(query("ks", uri)).header.Get("Location"); !strings.HasPrefix(location, "/login?") {
			t.Errorf("%s is not accepted: %q", uri, location)
		}
	}
	for _, uri := range []string{"", "http://127.0.0.1/other", "http://127.0.0.1@example.org/callback", "https://example.org/callback", "http://192.0.2.1/callback", "javascript:alert(1)"} {
		if r := in.get(query("ks", uri)); r.status != http.StatusBadRequest || r.header.Get("Location") != "" {
			t.Errorf("%q: got %d to %q, want 400 and no redirect", uri, r.status, r.header.Get("Location"))
		}
	}
	for _, clientID := range []string{"", "nobody", "ci-firmware"} {
		if r := in.get(query(clientID, "http://127.0.0.1/callback")); r.status != http.StatusBadRequest || r.header.Get("Location") != "" {
			t.Errorf("client %q: got %d to %q, want 400 and no redirect", clientID, r.status, r.header.Get("Location"))
		}
	}
}

// Time.

// clock is a time that the test moves.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func TestWhatWaitsExpiresAtItsTime(t *testing.T) {
	c := &clock{time.UnixMilli(1_800_000_000_000)}
	s := newShelf[string](time.Minute, c.now)
	name, taken := s.put("value"), s.put("taken")
	c.Time = c.Add(time.Minute - 1)
	if v, ok := s.look(name); !ok || v != "value" {
		t.Errorf("just before its time: got %q, %v", v, ok)
	}
	if _, ok := s.take(taken); !ok {
		t.Error("what is there cannot be taken")
	}
	if _, ok := s.take(taken); ok {
		t.Error("it can be taken twice")
	}
	c.Time = c.Add(1)
	if _, ok := s.look(name); ok {
		t.Error("at its time it can be looked at")
	}
	if s.put("other"); len(s.items) != 1 {
		t.Errorf("%d items are kept, want the new one alone", len(s.items))
	}
}

func TestAnExpiredDeviceCodeSaysSoAndCannotBeAllowed(t *testing.T) {
	c := &clock{time.UnixMilli(1_800_000_000_000)}
	ds := newDevices(time.Minute, c.now)
	deviceCode, userCode, err := ds.add("ks", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := ds.redeem("other", deviceCode).verdict; got != unknown {
		t.Errorf("another client learns %v of the device", got)
	}
	c.Time = c.Add(time.Minute)
	if ds.decide(userCode, allowed, "alice") {
		t.Error("an expired user code can be answered")
	}
	if got := ds.redeem("ks", deviceCode).verdict; got != expired {
		t.Errorf("the verdict is %v, want expired", got)
	}
	c.Time = c.Add(time.Minute)
	if _, _, err := ds.add("ks", nil); err != nil || len(ds.byCode) != 1 {
		t.Errorf("%d devices are kept, %v; want the new one alone", len(ds.byCode), err)
	}
}

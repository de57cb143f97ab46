package main

import (
	"bufio"
	"context"
	"encoding/json/v2"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"
)

func TestMain(m *testing.M) {
	slog.SetLogLoggerLevel(slog.LevelError) // refusals are what most tests are about
	goleak.VerifyTestMain(m)
}

// instance is a running devidp and somebody who talks to it.
type instance struct {
	t      *testing.T
	issuer string
	http   *http.Client // does not follow redirects
	ctx    context.Context
}

// start runs the whole program on a free port until the test ends.
func start(t *testing.T, args ...string) *instance {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	stdout, out := io.Pipe()
	ended := make(chan error, 1)
	args = append([]string{"--listen", "127.0.0.1:0", "--accounts", "testdata/accounts.yaml"}, args...)
	go func() {
		err := run(ctx, args, nil, out, t.Output())
		out.CloseWithError(err)
		ended <- err
	}()
	transport := new(http.Transport)
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("run ended with %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("waiting for the issuer: %v", err)
	}
	issuer, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "issuer ")
	if !ok {
		t.Fatalf("got %q, want the issuer", line)
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &instance{t: t, issuer: issuer, http: client, ctx: context.WithValue(ctx, oauth2.HTTPClient, client)}
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

func (in *instance) do(r *http.Request) reply {
	in.t.Helper()
	response, err := in.http.Do(r)
	if err != nil {
		in.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

func (in *instance) request(method, path string, form url.Values) *http.Request {
	in.t.Helper()
	r, err := http.NewRequestWithContext(in.ctx, method, in.issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		in.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func (in *instance) get(path string) reply {
	in.t.Helper()
	return in.do(in.request(http.MethodGet, path, nil))
}

// post sends a form; the fields are pairs of name and value.
func (in *instance) post(path string, fields ...string) reply {
	in.t.Helper()
	return in.do(in.request(http.MethodPost, path, pairs(fields)))
}

func pairs(fields []string) url.Values {
	form := make(url.Values)
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return form
}

func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var value map[string]any
	if err := json.Unmarshal([]byte(r.body), &value); err != nil {
		t.Fatalf("answer %d %q is not JSON: %v", r.status, r.body, err)
	}
	return value
}

// wantOAuthError checks an error answer of the token and device authorization endpoints.
func (r reply) wantOAuthError(t *testing.T, status int, code string) {
	t.Helper()
	if got := r.json(t)["error"]; r.status != status || got != code {
		t.Errorf("got %d %v, want %d %s: %s", r.status, got, status, code, r.body)
	}
}

// verified checks a token against discovery and JWKS, as any relying party would, and returns its claims.
func (in *instance) verified(raw, audience, typ string) map[string]any {
	in.t.Helper()
	discovered, err := oidc.NewProvider(in.ctx, in.issuer)
	if err != nil {
		in.t.Fatal(err)
	}
	token, err := discovered.Verifier(&oidc.Config{ClientID: audience}).Verify(in.ctx, raw)
	if err != nil {
		in.t.Fatal(err)
	}
	parsed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		in.t.Fatal(err)
	}
	if got := parsed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; got != typ {
		in.t.Errorf("typ is %v, want %s", got, typ)
	}
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		in.t.Fatal(err)
	}
	if claims["development"] != true {
		in.t.Errorf("development is %v, want true", claims["development"])
	}
	return claims
}

// person is the configuration of a program with which a person signs in.
func (in *instance) person() *oauth2.Config {
	in.t.Helper()
	discovered, err := oidc.NewProvider(in.ctx, in.issuer)
	if err != nil {
		in.t.Fatal(err)
	}
	return &oauth2.Config{
		ClientID:    "ks",
		Endpoint:    discovered.Endpoint(),
		RedirectURL: "http://127.0.0.1:49152/callback",
		Scopes:      []string{oidc.ScopeOpenID},
	}
}

func wantClaims(t *testing.T, claims map[string]any, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if claims[name] != value {
			t.Errorf("claim %s is %v, want %v", name, claims[name], value)
		}
	}
}

// The program.

// attempt runs the program so that it ends at once also where it should have refused to start.
func attempt(stdout io.Writer, args ...string) error {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	return run(ctx, args, nil, stdout, io.Discard)
}

func TestItListensOnLoopbackOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":9100", "192.0.2.1:9100", "localhost:0", "example.org:9100", "9100", ""} {
		err := attempt(io.Discard, "--listen", address, "--accounts", "testdata/accounts.yaml")
		if err == nil || !strings.Contains(err.Error(), "listens on loopback only; give 127.0.0.1:PORT") {
			t.Errorf("--listen %q: got %v, want a refusal that says what to give", address, err)
		}
	}
}

func TestTheCommandLineIsStrict(t *testing.T) {
	for _, args := range [][]string{nil, {"--acounts", "x"}, {"--accounts", "testdata/accounts.yaml", "more"}} {
		if err := attempt(io.Discard, args...); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
	var help strings.Builder
	if err := attempt(&help, "--help"); err != nil || !strings.Contains(help.String(), "-addr-file") {
		t.Errorf("--help: got %v and %q", err, help.String())
	}
}

func TestTheAddressFileNamesTheIssuerOfThisRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "addr")
	if err := os.WriteFile(file, []byte("http://127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := start(t, "--addr-file", file)
	content, err := os.ReadFile(file)
	if err != nil || string(content) != in.issuer+"\n" {
		t.Errorf("got %q, %v; want %q", content, err, in.issuer+"\n")
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v; want the address file alone", entries, err)
	}
}

func TestAnAddressFileOfAnEarlierRunIsGoneWhenListeningFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "addr")
	if err := os.WriteFile(file, []byte("http://127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken := strings.TrimPrefix(start(t).issuer, "http://")
	err := attempt(io.Discard, "--listen", taken, "--accounts", "testdata/accounts.yaml", "--addr-file", file)
	if err == nil {
		t.Error("a port that is taken is accepted")
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the old address file is still there: %v", err)
	}
}

// The provider as a whole.

func TestDiscoveryPromisesOnlyWhatThereIs(t *testing.T) {
	in := start(t)
	got := in.get("/.well-known/openid-configuration").json(t)
	wantClaims(t, got, map[string]any{
		"issuer":                        in.issuer,
		"authorization_endpoint":        in.issuer + "/authorize",
		"token_endpoint":                in.issuer + "/token",
		"device_authorization_endpoint": in.issuer + "/device_authorization",
		"jwks_uri":                      in.issuer + "/keys",

		"authorization_response_iss_parameter_supported": true,
	})
	for _, absent := range []string{"userinfo_endpoint", "introspection_endpoint", "revocation_endpoint", "end_session_endpoint"} {
		if value, ok := got[absent]; ok {
			t.Errorf("%s is promised: %v", absent, value)
		}
	}
	for _, path := range []string{"/", "/userinfo", "/oauth/token", "/revoke", "/healthz"} {
		if r := in.get(path); r.status != http.StatusNotFound {
			t.Errorf("GET %s: got %d, want 404", path, r.status)
		}
	}
	if r := in.get("/token?grant_type=client_credentials&client_id=ci-firmware&client_secret=development-only"); r.status != http.StatusMethodNotAllowed {
		t.Errorf("GET /token: got %d, want 405", r.status)
	}
}

func TestTheKeyIsNewAtEveryStart(t *testing.T) {
	one, two := start(t).get("/keys").body, start(t).get("/keys").body
	if one == two {
		t.Error("two runs have the same key")
	}
	if strings.Contains(one, `"d"`) {
		t.Error("the private key is published")
	}
}

func TestPostsFromOtherSitesAreRefused(t *testing.T) {
	in := start(t)
	for _, path := range []string{"/device", "/login", "/token", "/device_authorization"} {
		for name, value := range map[string]string{"Origin": "http://example.org", "Sec-Fetch-Site": "cross-site"} {
			r := in.request(http.MethodPost, path, nil)
			r.Header.Set(name, value)
			if got := in.do(r); got.status != http.StatusForbidden {
				t.Errorf("POST %s with %s: got %d, want 403", path, name, got.status)
			}
		}
	}
}

func TestRequestsForAnotherHostAreRefused(t *testing.T) {
	in := start(t)
	r := in.request(http.MethodGet, "/device", nil)
	r.Host = "rebound.example.org"
	if got := in.do(r); got.status != http.StatusMisdirectedRequest {
		t.Errorf("got %d, want 421", got.status)
	}
}

func TestEveryPageSaysWhatThisIsAndRunsNothing(t *testing.T) {
	in := start(t)
	_, login := in.authorize()
	for _, path := range []string{"/device", "/device?user_code=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", login, "/login?request=none"} {
		r := in.get(path)
		if !strings.Contains(r.body, `<p class="large">DEVELOPMENT identity provider</p>`) || !strings.Contains(r.body, "anybody on this machine can be anybody") {
			t.Errorf("%s does not say what this is:\n%s", path, r.body)
		}
		if strings.Contains(r.body, "<script") {
			t.Errorf("%s has a script:\n%s", path, r.body)
		}
		policy := r.header.Get("Content-Security-Policy")
		for _, directive := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, directive) {
				t.Errorf("%s: policy %q lacks %s", path, policy, directive)
			}
		}
	}
	if r := in.get("/style.css"); r.status != http.StatusOK || !strings.Contains(r.body, ".large") {
		t.Errorf("the stylesheet: got %d", r.status)
	}
}

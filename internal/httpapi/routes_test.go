package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/testkit"
)

// exampleID is well-formed and names nothing.
const exampleID = "01936f5e-7c00-7000-8000-000000000000"

// eachRoute calls do for every method of every path in the specification, with well-formed parameters.
func eachRoute(t *testing.T, do func(method, path string, op *openapi3.Operation)) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(api.OpenAPI()))
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{keyid}", "fw-dev", "{operation}", exampleID, "{signorder}", exampleID, "{session}", exampleID, "{subject}", "eve",
		"{certificate}", exampleID, "{list}", "fw-dev.crl", "{request}", "MAMCAQE=")
	n := 0
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			n++
			do(method, fill.Replace(path), op)
		}
	}
	if n < 40 {
		t.Errorf("only %d routes were tried", n)
	}
}

// A route that is served and not in the specification, or the other way round, is refused by New: every
// test here would fail.
func TestNoRouteEscapesAuthentication(t *testing.T) {
	k := testkit.New(t)
	open := map[string]int{api.PathOpenAPI: 200, api.PathHealth: 200, api.PathReady: 200, api.PathVersion: 200, "/crl/fw-dev.crl": 404,
		"/ocsp": 415, "/ocsp/MAMCAQE=": 200}
	eachRoute(t, func(method, path string, op *openapi3.Operation) {
		// The body is malformed: whoever has not signed in learns nothing about that.
		body := ""
		if op.RequestBody != nil {
			body = "{"
		}
		answer, p := send(k, "", method, path, body)
		if want := open[path]; want != 0 {
			if answer.StatusCode != want {
				t.Errorf("%s %s needs no token, and answers %d", method, path, answer.StatusCode)
			}
			return
		}
		expect(t, method+" "+path, answer, p, api.Unauthenticated)
		if got := answer.Header.Get("WWW-Authenticate"); got != `Bearer realm="keyserver"` {
			t.Errorf("%s %s: WWW-Authenticate is %q", method, path, got)
		}
		answer, _ = send(k, "", method, path, body, "Authorization", "Bearer a.b.c")
		if got := answer.Header.Get("WWW-Authenticate"); got != `Bearer realm="keyserver", error="invalid_token"` {
			t.Errorf("%s %s with a bad token: WWW-Authenticate is %q", method, path, got)
		}
	})
}

func TestNoRouteEscapesValidation(t *testing.T) {
	k := testkit.New(t)
	eachRoute(t, func(method, path string, op *openapi3.Operation) {
		if op.Security == nil {
			answer, p := send(k, "olga", method, path+"?unknown=1", map[bool]string{true: "{}"}[op.RequestBody != nil || method == "POST"])
			expect(t, method+" "+path+" with an unknown query parameter", answer, p, api.Malformed)
		}
		if op.OperationID == "askStatus" { // which is not JSON; whatever it is has an answer
			return
		}
		if op.RequestBody == nil {
			answer, p := send(k, "olga", method, path, `{}`)
			expect(t, method+" "+path+" with a body", answer, p, api.Malformed)
			return
		}
		answer, p := send(k, "olga", method, path, `{"unknown":1}`)
		expect(t, method+" "+path+" with an unknown member", answer, p, api.Malformed)
		answer, p = send(k, "olga", method, path, `{}`)
		expect(t, method+" "+path+" without its members", answer, p, api.Malformed)
		answer, p = send(k, "olga", method, path, `{}`, "Content-Type", "text/plain")
		expect(t, method+" "+path+" as text", answer, p, api.UnsupportedMedia)
		answer, p = send(k, "olga", method, path, "")
		if p.Kind() != api.Malformed && p.Kind() != api.UnsupportedMedia {
			t.Errorf("%s %s without a body: got %d %s", method, path, answer.StatusCode, p.Detail)
		}
	})
}

func TestEveryRouteRefusesAStranger(t *testing.T) {
	k := testkit.New(t)
	token := k.IdP.Token("at+jwt", map[string]any{
		"aud": "keyserver", "sub": "mallory", "iat": k.Clock.Now().Unix(), "exp": k.Clock.Now().Unix() + 60, "client_id": "ks", "jti": "1",
	})
	before := k.Count("", "request-refused")
	n := 0
	eachRoute(t, func(method, path string, op *openapi3.Operation) {
		if op.Security != nil {
			return
		}
		n++
		answer, p := send(k, "", method, path, map[bool]string{true: "{}"}[op.RequestBody != nil], "Authorization", "Bearer "+token)
		expect(t, method+" "+path, answer, p, api.Forbidden)
	})
	if got := k.Count("", "request-refused") - before; got != n {
		t.Errorf("%d of %d refusals are events", got, n)
	}
}

func TestUnknownPathsAndMethodsAreProblems(t *testing.T) {
	k := testkit.New(t)
	for _, path := range []string{
		"/", "/api", "/api/", "/api/keys/", "/api//keys", "/api/./keys", "/api/x/../keys", "/api/keys/fw-dev/", "/api/keys/fw-dev/secret", "/API/keys",
		"/api/operations/" + exampleID + "/approval/x", "/metrics", "/debug/pprof", "//", "/api/keys/a%2f..%2f..%2fb", "/.well-known/security.txt",
	} {
		answer, p := send(k, "ada", "GET", path, "")
		expect(t, path, answer, p, api.NotFound)
	}
	for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
		answer, p := send(k, "ada", method, api.PathOperations, "")
		expect(t, method, answer, p, api.MethodNotAllowed)
		if allow := answer.Header.Get("Allow"); allow != "GET, POST" {
			t.Errorf("%s: Allow is %q", method, allow)
		}
	}
	if answer, _ := send(k, "ada", "HEAD", api.PathKeys, ""); answer.StatusCode != http.StatusOK {
		t.Errorf("HEAD answers %d", answer.StatusCode)
	}
}

package httpapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/testkit"
)

// FuzzRequestBody: whatever the body, it is created or refused with a problem that says so; never a fault,
// and nothing but good requests leaves an operation.
func FuzzRequestBody(f *testing.F) {
	k := testkit.New(f)
	good := operationBody(oneKey)
	for _, seed := range []string{
		good, "", "{}", "null", "[]", `{"new-keyusagerestrictions":[]}`, good + good, strings.Replace(good, "1000", "1e3", 1), strings.Replace(good, `"d"`, `"\u202e"`, 1),
		strings.Replace(good, `"validms"`, `"clients":["ci","ci"],"validms"`, 1), strings.Replace(good, `"validms"`, `"artifacts":[{"name":"a","size":1,"hash":"SHA-256","digest":"00"}],"validms"`, 1),
		strings.Repeat("[", 100), "\ufeff" + good, "\x00", `{"a":{"a":{"a":1}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := http.NewRequest("POST", k.URL+api.PathOperations, strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", api.MediaJSON)
		r.Header.Set(api.HeaderIdempotencyKey, "fuzz")
		r.Header.Set("Authorization", "Bearer "+k.Token("olga"))
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		p := problemOf(t, answer)
		switch answer.StatusCode {
		case http.StatusCreated, http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests:
		default:
			t.Errorf("got %d %+v", answer.StatusCode, p)
		}
	})
}

// FuzzPaths: whatever the method, path and query, the answer is one that the specification knows or a
// problem; never a fault or a redirect.
func FuzzPaths(f *testing.F) {
	k := testkit.New(f)
	for _, seed := range [][3]string{
		{"GET", "/api/keys/fw-dev", "a=b"}, {"GET", "/api/keys/%2e%2e/x", ""}, {"GET", "//api/keys", ""}, {"DELETE", "/api/operations/x/approval", ""},
		{"GET", "/api/operations", "limit=1&limit=2"}, {"GET", "/api/operations", "%zz;"}, {"GET", "/api/keys/\x00", ""}, {"PUT", "/api/operations", ""},
		{"GET", "/api/audit/events", "cursor=AAAA"}, {"GET", "/api/audit/inclusionproof", "index=0&size=1"}, {"GET", "/api/signorders/" + exampleID, "format=der"},
		{"GET", "/api/keys/fw-dev%2fpublickey", ""}, {"HEAD", "/api/audit/export", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	noRedirect := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		base, err := url.Parse(k.URL)
		if err != nil {
			t.Fatal(err)
		}
		base.Path, base.RawQuery = "/"+strings.TrimPrefix(path, "/"), query
		r, err := http.NewRequest(method, "http://x/", nil)
		if err != nil || method == "CONNECT" {
			return // not a request that a client would send
		}
		r.URL, r.Host = base, base.Host
		r.Header.Set("Authorization", "Bearer "+k.Token("audrey"))
		answer, err := noRedirect.Do(r)
		if err != nil {
			return // not a request that a client would send
		}
		defer answer.Body.Close()
		switch {
		case answer.StatusCode == http.StatusOK:
		case method == "HEAD" && answer.StatusCode < 500:
		case answer.StatusCode == http.StatusBadRequest && answer.Header.Get(api.HeaderRequestID) == "": // by net/http, before us
		case answer.StatusCode >= 400 && answer.StatusCode < 500:
			problemOf(t, answer)
		default:
			t.Errorf("%s %s: got %d", method, base, answer.StatusCode)
		}
	})
}

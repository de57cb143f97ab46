package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
	"example.org/keyserver/internal/testkit"
)

// clientOf returns a client of the kit's server for the subject. Every answer that it gets is held to the
// specification.
func clientOf(k *testkit.Kit, who law.SubjectID) *client.Client {
	k.Helper()
	c, err := client.New(k.URL, client.TokenFunc(func(context.Context) (string, error) { return k.Token(who), nil }),
		client.Options{HTTP: &http.Client{Transport: newConforming(k)}, Tries: 1})
	if err != nil {
		k.Fatal(err)
	}
	return c
}

// conforming holds answers to the specification: status, headers, media type and body.
type conforming struct {
	testing.TB
	router routers.Router
}

func newConforming(t testing.TB) *conforming {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(api.OpenAPI()))
	if err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &conforming{t, router}
}

func (c *conforming) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	c.check(r, answer, body)
	return answer, nil
}

func (c *conforming) check(r *http.Request, answer *http.Response, body []byte) {
	what := r.Method + " " + r.URL.Path + ": "
	cached := "no-store"
	status := strings.HasPrefix(r.URL.Path, "/ocsp/") && len(body) > len(pki.StatusUnauthorized()) // else it is without a signature
	if (status || strings.HasPrefix(r.URL.Path, "/crl/")) && answer.StatusCode == http.StatusOK {
		cached = "public, max-age=3600"
	}
	for header, want := range map[string]string{
		"Cache-Control": cached, "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := answer.Header.Get(header); got != want {
			c.Errorf("%s%s is %q, not %q", what, header, got, want)
		}
	}
	if answer.Header.Get(api.HeaderRequestID) == "" {
		c.Errorf("%sthe answer has no request id", what)
	}
	route, _, err := c.router.FindRoute(r)
	if err != nil {
		return
	}
	documented := route.Operation.Responses.Value(strconv.Itoa(answer.StatusCode))
	if documented == nil {
		c.Errorf("%sthe specification has no answer %d; it was %s", what, answer.StatusCode, body)
		return
	}
	for header := range documented.Value.Headers {
		if answer.Header.Get(header) == "" {
			c.Errorf("%sthe answer %d has no header %s", what, answer.StatusCode, header)
		}
	}
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	content := documented.Value.Content[media]
	if content == nil {
		c.Errorf("%sthe specification has no answer %d of type %q", what, answer.StatusCode, media)
		return
	}
	var value any = string(body)
	if strings.HasSuffix(media, "json") {
		value = nil
		if err := json.Unmarshal(body, &value); err != nil {
			c.Errorf("%sthe answer is not JSON: %v", what, err)
			return
		}
	}
	if err := content.Schema.Value.VisitJSON(value); err != nil {
		c.Errorf("%sthe answer does not fit the specification: %v", what, err)
	}
}

// send makes a raw request with the subject's token and returns the answer with its problem, if it is one.
func send(k *testkit.Kit, who law.SubjectID, method, path, body string, header ...string) (*http.Response, api.Problem) {
	k.Helper()
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, k.URL+path, from)
	if err != nil {
		k.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", api.MediaJSON)
	}
	if method == "POST" {
		r.Header.Set(api.HeaderIdempotencyKey, "key-1")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	answer := k.Do(who, r)
	return answer, problemOf(k, answer)
}

func problemOf(k testing.TB, answer *http.Response) api.Problem {
	k.Helper()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		k.Fatal(err)
	}
	var p api.Problem
	if answer.StatusCode >= 400 {
		if err := json.Unmarshal(body, &p); err != nil || answer.Header.Get("Content-Type") != api.MediaProblem {
			k.Errorf("the answer %d is no problem: %s", answer.StatusCode, body)
		}
		if p.Status != answer.StatusCode || p.Title == "" || p.Detail == "" || p.Instance != "urn:uuid:"+answer.Header.Get(api.HeaderRequestID) {
			k.Errorf("the problem is incomplete: %+v", p)
		}
	}
	return p
}

// expect checks the status and kind of a refusal.
func expect(t testing.TB, what string, answer *http.Response, p api.Problem, want api.Kind) {
	t.Helper()
	if answer.StatusCode != want.Status() || p.Kind() != want {
		t.Errorf("%s: got %d %s (%s), want %d %s", what, answer.StatusCode, p.Kind(), p.Detail, want.Status(), want)
	}
}

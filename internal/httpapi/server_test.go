package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/limits"
)

const requestID = "01936f5e-7c00-7000-8000-000000000001"

// bare serves one route that needs no keyserver, over HTTP in memory.
func bare(t *testing.T, log io.Writer, serve func(*server, *call) (answer, error)) (*httptest.Server, *prometheus.Registry) {
	r := prometheus.NewRegistry()
	now := time.Unix(0, 0)
	s := &server{
		Options: Options{
			Log: slog.New(slog.NewJSONHandler(log, nil)), NewRequestID: func() string { return requestID },
			Now: func() time.Time { now = now.Add(time.Millisecond); return now },
		},
		metrics: newMetrics(r), outside: limits.NewLimiter(limits.Rate{PerSecond: 1e6, Burst: 1e6}),
	}
	rt := &route{path: "/x", access: open, serve: serve}
	return httptest.NewTestServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { s.run(w, req, rt) })), r
}

// get makes one request, and returns once the server is done with it to the last line of its log.
func get(t *testing.T, server *httptest.Server) (*http.Response, []byte, error) {
	t.Helper()
	defer server.Close()
	r, err := http.NewRequest("GET", "http://keyserver.test/x?q=%0a%7b", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer sEcReT")
	answer, err := server.Client().Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer, body, err
}

func metricsOf(r *prometheus.Registry) string {
	w := httptest.NewRecorder()
	MetricsHandler(r).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestPanicIsAnsweredWithoutItsCauseAndCounted(t *testing.T) {
	var log bytes.Buffer
	server, r := bare(t, &log, func(*server, *call) (answer, error) { panic("the innermost secret") })
	answer, body, err := get(t, server)
	var p api.Problem
	if err != nil || json.Unmarshal(body, &p) != nil || answer.StatusCode != 500 || p.Kind() != api.Internal {
		t.Fatalf("got %v %s", err, body)
	}
	if strings.Contains(string(body), "secret") || strings.Contains(string(body), "goroutine") || p.Instance != "urn:uuid:"+requestID {
		t.Errorf("the answer is %s", body)
	}
	if !strings.Contains(log.String(), "the innermost secret") || !strings.Contains(metricsOf(r), "keyserver_http_panics_total 1") {
		t.Errorf("the panic is not logged and counted: %s", log.String())
	}
}

func TestUnknownErrorIsAnsweredWithoutItsCause(t *testing.T) {
	var log bytes.Buffer
	server, _ := bare(t, &log, func(*server, *call) (answer, error) { return answer{}, errors.New("dial tcp 10.0.0.7: refused") })
	answer, body, err := get(t, server)
	if err != nil || answer.StatusCode != 500 || strings.Contains(string(body), "10.0.0.7") || !strings.Contains(log.String(), "10.0.0.7") {
		t.Errorf("got %v %s, logged %s", err, body, log.String())
	}
}

func TestStreamThatFailsInTheMiddleIsCutOff(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("the database went away") }, "panic": func() error { panic("oops") },
	} {
		server, _ := bare(t, io.Discard, func(_ *server, c *call) (answer, error) {
			w := c.stream(api.MediaText)
			for range 100 {
				if _, err := w.Write(bytes.Repeat([]byte("leaf\n"), 1000)); err != nil {
					return answer{}, err
				}
			}
			return answer{}, fail()
		})
		answer, body, err := get(t, server)
		if err == nil || answer == nil || answer.StatusCode != 200 || !bytes.HasPrefix(body, []byte("leaf\n")) {
			t.Errorf("%s: a broken stream looks whole: %v, %d bytes", name, err, len(body))
		}
	}
}

func TestStreamRefusedBeforeItsFirstByteIsAProblem(t *testing.T) {
	server, _ := bare(t, io.Discard, func(_ *server, c *call) (answer, error) {
		c.stream(api.MediaText)
		return answer{}, &law.Refusal{Kind: law.Forbidden, Reason: "no"}
	})
	if answer, body, err := get(t, server); err != nil || answer.StatusCode != 403 || answer.Header.Get("Content-Type") != api.MediaProblem {
		t.Errorf("got %v %s", err, body)
	}
}

func TestEachRequestIsOneLineInTheLogWithoutTokenOrBody(t *testing.T) {
	var log bytes.Buffer
	server, r := bare(t, &log, func(*server, *call) (answer, error) { return asJSON(api.Health{Status: "ok"}) })
	if _, _, err := get(t, server); err != nil {
		t.Fatal(err)
	}
	var line struct {
		Msg, Request, Subject, Address, Route string
		Status, MS                            int
	}
	err := json.Unmarshal(log.Bytes(), &line, json.MatchCaseInsensitiveNames(true))
	if err != nil || line.Msg != "request" || line.Request != requestID || line.Address != "192.0.2.1" || line.Route != "/x" || line.Status != 200 || line.MS < 1 {
		t.Errorf("logged %s (%v)", log.String(), err)
	}
	if strings.Contains(log.String(), "sEcReT") {
		t.Errorf("the token is in the log: %s", log.String())
	}
	for _, want := range []string{`keyserver_http_requests_total{route="/x",status="200"} 1`, `keyserver_http_request_seconds_count{route="/x"} 1`, "keyserver_http_requests_in_flight 0"} {
		if !strings.Contains(metricsOf(r), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestEveryErrorHasItsPlaceInTheTable(t *testing.T) {
	for _, c := range []struct {
		err    error
		kind   api.Kind
		status int
		retry  time.Duration
	}{
		{&law.Refusal{Kind: law.Forbidden}, api.Forbidden, 403, 0},
		{&law.Refusal{Kind: law.NotFound}, api.NotFound, 404, 0},
		{&law.Refusal{Kind: law.WrongState}, api.WrongState, 409, 0},
		{&law.Refusal{Kind: law.NotCovered}, api.NotCovered, 409, 0},
		{&law.Refusal{Kind: law.Duplicate}, api.Duplicate, 409, 0},
		{&law.Refusal{Kind: law.WrongDigest}, api.WrongDigest, 412, 0},
		{&law.Refusal{Kind: law.Impossible}, api.Impossible, 422, 0},
		{&law.Refusal{Kind: law.InputMisfit}, api.InputMisfit, 422, 0},
		{&law.Refusal{Kind: law.KeyReused}, api.KeyReused, 422, 0},
		{&law.Refusal{Kind: law.Held}, api.ClockHeld, 503, time.Minute},
		{&law.Refusal{Kind: law.Superseded}, api.Running, 503, time.Second},
		{&law.Refusal{}, api.Internal, 500, 0},
		{&keyserver.Unavailable{Kind: "database", RetryAfter: 5 * time.Second}, api.Unavailable, 503, 5 * time.Second},
		{&keyserver.Unavailable{Kind: "clock", RetryAfter: time.Minute}, api.ClockHeld, 503, time.Minute},
		{&keyserver.Unavailable{Kind: "running", Order: "o", Err: &law.Refusal{Kind: law.Forbidden}}, api.Running, 503, time.Second},
		{&keyserver.TooMany{RetryAfter: time.Minute}, api.TooMany, 429, time.Minute},
		{&keyserver.Malformed{}, api.Malformed, 400, 0},
		{&identity.Error{Kind: identity.Rejected}, api.Unauthenticated, 401, 0},
		{&identity.Error{Kind: identity.NotAllowed}, api.Forbidden, 403, 0},
		{&identity.Error{Kind: identity.Unavailable}, api.Unavailable, 503, 5 * time.Second},
		{context.Canceled, api.Unavailable, 503, time.Second},
		{context.DeadlineExceeded, api.Unavailable, 503, time.Second},
		{errors.New("anything else"), api.Internal, 500, 0},
	} {
		for _, err := range []error{c.err, fmt.Errorf("doing something: %w", c.err), errors.Join(nil, c.err)} {
			p := Translate(err)
			if p.Kind() != c.kind || c.kind.Status() != c.status || p.RetryAfter != c.retry {
				t.Errorf("%T %v: got %s after %v, want %s after %v", err, err, p.Kind(), p.RetryAfter, c.kind, c.retry)
			}
		}
	}
}

func TestServerHasBoundsAndModernTLS(t *testing.T) {
	given := &tls.Config{MinVersion: tls.VersionTLS10}
	s := NewServer(http.NotFoundHandler(), given, slog.New(slog.DiscardHandler))
	if s.TLSConfig.MinVersion != tls.VersionTLS12 || given.MinVersion != tls.VersionTLS10 {
		t.Errorf("TLS from %x", s.TLSConfig.MinVersion)
	}
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.IdleTimeout == 0 || s.MaxHeaderBytes != 16<<10 || s.HTTP2.MaxConcurrentStreams == 0 {
		t.Errorf("a bound is missing: %+v", s)
	}
	if s.WriteTimeout <= api.MaxWait*time.Millisecond {
		t.Errorf("a wait may take longer than %v", s.WriteTimeout)
	}
	if NewServer(http.NotFoundHandler(), nil, slog.New(slog.DiscardHandler)).TLSConfig != nil {
		t.Error("TLS out of nothing")
	}
}

// The deadline for reading a request must not cancel it while it is answered.
func TestReadTimeoutDoesNotCutALongAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cut error
		server, _ := bare(t, io.Discard, func(_ *server, c *call) (answer, error) {
			longer, stop := context.WithTimeout(c.Context(), time.Hour)
			defer stop()
			<-longer.Done()
			cut = c.Context().Err()
			return asJSON(api.Health{Status: "ok"})
		})
		server.Config.ReadTimeout = time.Minute
		if answer, body, err := get(t, server); err != nil || cut != nil || answer.StatusCode != 200 {
			t.Errorf("the request was cut: %v %v %s", err, cut, body)
		}
	})
}

func TestBodiesOfUnstatedLengthAreTakenOverHTTP2(t *testing.T) {
	s, err := New(Options{
		Log: slog.New(slog.DiscardHandler), NewRequestID: func() string { return requestID }, Now: func() time.Time { return time.Unix(0, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	rt := &route{method: "POST", path: api.PathOperations, access: open, serve: func(_ *server, c *call) (answer, error) {
		return asText(api.MediaText, c.Proto+" "+string(c.body))
	}}
	item := s.(*server).doc.Paths.Value(rt.path)
	rt.bind(item, item.Post)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.(*server).run(w, r, rt) })
	server := httptest.NewUnstartedServer(h)
	server.Config = NewServer(h, &tls.Config{}, slog.New(slog.DiscardHandler))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	body := `{"new-keyusagerestrictions":[{"keyid":"k","maxusagecount":1}],"description":"d","context":"c","validms":1}`
	for name, test := range map[string]struct {
		body string
		want int
	}{"good": {body, 200}, "too long": {body + strings.Repeat(" ", api.MaxBody), 400}, "bad": {body + "}", 400}} {
		r, err := http.NewRequest("POST", server.URL, io.MultiReader(strings.NewReader(test.body))) // of unknown length
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", api.MediaJSON)
		r.Header.Set(api.HeaderIdempotencyKey, "k")
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != test.want || answer.Proto != "HTTP/2.0" || answer.Header.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: got %d %s %v: %s", name, answer.StatusCode, answer.Proto, err, got)
		}
	}
}

package client_test

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
)

// These tests are about what a server does that a healthy one does not. How the client and the server fit
// together is tested with a real server, in internal/httpapi.

// script answers with one step after the other, the last one for ever.
type script struct {
	*httptest.Server
	asked atomic.Int32
}

func serve(t *testing.T, steps ...http.HandlerFunc) *script {
	s := &script{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(s.asked.Add(1))
		steps[min(n, len(steps))-1](w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *script) client(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(s.URL, client.StaticToken("token"), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fake answers in memory, so that synctest can let the waiting pass.
type fake struct {
	steps []http.HandlerFunc
	asked int
}

func (f *fake) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	defer func() {
		if recover() == http.ErrAbortHandler {
			err = io.ErrUnexpectedEOF
		}
	}()
	f.asked++
	w := httptest.NewRecorder()
	f.steps[min(f.asked, len(f.steps))-1](w, r)
	return w.Result(), nil
}

func (f *fake) client(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	o.HTTP = &http.Client{Transport: f}
	c, err := client.New("https://keyserver.test", client.StaticToken("token"), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func problem(k api.Kind, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.Header().Set("Content-Type", api.MediaProblem)
		w.WriteHeader(k.Status())
		json.MarshalWrite(w, api.Problem{Type: k.Type(), Title: k.Title(), Status: k.Status(), Detail: "detail", Order: "order-1"})
	}
}

func say(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
}

func hangUp(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }

func TestRequestsAreRepeatedOnlyIfThatIsSafe(t *testing.T) {
	ctx := context.Background()
	sign := func(c *client.Client) error {
		_, err := c.PlaceSignOrder(ctx, "o", "k", api.NewSignOrder{KeyID: "k"})
		return err
	}
	approve := func(c *client.Client) error { _, err := c.Approve(ctx, "o", "d"); return err }
	revoke := func(c *client.Client) error { _, err := c.Revoke(ctx, "o", "r"); return err }
	read := func(c *client.Client) error { _, err := c.Keys(ctx); return err }
	export := func(c *client.Client) error { return c.Export(ctx, io.Discard) }
	open := func(c *client.Client) error { _, err := c.OpenSession(ctx, api.NewSession{}); return err }
	authorise := func(c *client.Client) error { _, err := c.AuthoriseSession(ctx, "s", "d"); return err }
	apply := func(c *client.Client) error { _, err := c.ApplyPlan(ctx, "s"); return err }
	change := func(c *client.Client) error { _, err := c.Change(ctx, "s", "r", "f"); return err }
	closing := func(c *client.Client) error { _, err := c.CloseSession(ctx, "s"); return err }
	disable := func(c *client.Client) error { _, err := c.DisableKey(ctx, "k", "r"); return err }
	for _, test := range []struct {
		name  string
		verb  func(*client.Client) error
		first http.HandlerFunc
		asked int
		ok    bool
	}{
		{"sign after 503", sign, problem(api.Unavailable, "1"), 2, true},
		{"sign while another attempt runs", sign, problem(api.Running, "1"), 2, true},
		{"sign after 429", sign, problem(api.TooMany, "1"), 2, true},
		{"sign without an answer", sign, hangUp, 2, true},
		{"revoke after 503", revoke, problem(api.Unavailable, "1"), 2, true},
		{"read without an answer", read, hangUp, 2, true},
		{"approve after 429", approve, problem(api.TooMany, "1"), 2, true},
		{"approve after 503", approve, problem(api.Unavailable, "1"), 1, false},
		{"approve without an answer", approve, hangUp, 1, false},
		{"export without an answer", export, hangUp, 1, false},
		{"open without an answer", open, hangUp, 1, false},
		{"authorise without an answer", authorise, hangUp, 1, false},
		{"apply after 503", apply, problem(api.Unavailable, "1"), 1, false},
		{"change without an answer", change, hangUp, 1, false},
		{"close without an answer", closing, hangUp, 2, true},
		{"disable after 503", disable, problem(api.Unavailable, "1"), 2, true},
		{"sign refused", sign, problem(api.WrongState, "1"), 1, false},
		{"sign after 500", sign, problem(api.Internal, "1"), 1, false},
		{"503 without Retry-After", sign, problem(api.Unavailable, ""), 1, false},
		{"503 with a long Retry-After", sign, problem(api.Unavailable, "31"), 1, false},
		{"503 with a bad Retry-After", sign, problem(api.Unavailable, "-1"), 1, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{steps: []http.HandlerFunc{test.first, say("{}")}}
			err := test.verb(f.client(t, client.Options{}))
			if f.asked != test.asked || (err == nil) != test.ok {
				t.Errorf("%s: asked %d times, want %d: %v", test.name, f.asked, test.asked, err)
			}
		})
	}
}

func TestTriesAreBoundedAndEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{steps: []http.HandlerFunc{problem(api.Unavailable, "20")}}
		start := time.Now()
		_, err := f.client(t, client.Options{Tries: 3}).Keys(context.Background())
		if p, ok := errors.AsType[*api.Problem](err); !ok || p.Kind() != api.Unavailable || p.Order != "order-1" || f.asked != 3 {
			t.Errorf("asked %d times: %v", f.asked, err)
		}
		if waited := time.Since(start); waited != 40*time.Second {
			t.Errorf("waited %v", waited)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		start, f.asked = time.Now(), 0
		if _, err := f.client(t, client.Options{}).Keys(ctx); err == nil || f.asked != 1 || time.Since(start) != 10*time.Second {
			t.Errorf("asked %d times in %v: %v", f.asked, time.Since(start), err)
		}
	})
}

func TestSameIdempotencyKeyIsSentAgain(t *testing.T) {
	var keys, bodies []string
	f := &fake{steps: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		keys, bodies = append(keys, r.Header.Get(api.HeaderIdempotencyKey)), append(bodies, string(body))
		problem(api.Unavailable, "1")(w, r)
	}}}
	synctest.Test(t, func(t *testing.T) {
		f.client(t, client.Options{Tries: 2}).PlaceSignOrder(context.Background(), "o", "my-key", api.NewSignOrder{KeyID: "k", Data: []byte("x")})
	})
	if len(keys) != 2 || keys[0] != "my-key" || keys[1] != keys[0] || bodies[1] != bodies[0] || bodies[0] != `{"keyid":"k","data":"eA=="}` {
		t.Errorf("sent %q %q", keys, bodies)
	}
}

func TestTokenGoesToOneServerOnly(t *testing.T) {
	other := serve(t, say("{}"))
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	_, err := s.client(t, client.Options{}).Keys(context.Background())
	if p, ok := errors.AsType[*api.Problem](err); !ok || p.Status != http.StatusFound || p.Kind() != "" || other.asked.Load() != 0 {
		t.Errorf("the redirect was followed: %v", err)
	}
	for _, bad := range []string{"http://keyserver.example.org", "keyserver.example.org", "ftp://localhost", "https://user:pw@host", "https://host?x", "https://", "http://10.0.0.1", "\x00"} {
		if _, err := client.New(bad, nil, client.Options{}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"https://keyserver.example.org", "http://localhost:1", "http://127.0.0.1:1/", "http://[::1]:1"} {
		if _, err := client.New(good, nil, client.Options{}); err != nil {
			t.Error(err)
		}
	}
}

func TestTokenThatCannotBeHadEndsTheRequest(t *testing.T) {
	s, none := serve(t, say("{}")), errors.New("no token today")
	c, err := client.New(s.URL, client.TokenFunc(func(context.Context) (string, error) { return "", none }), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Keys(context.Background()); !errors.Is(err, none) || s.asked.Load() != 0 {
		t.Errorf("asked %d times: %v", s.asked.Load(), err)
	}
	c, _ = client.New(s.URL, nil, client.Options{})
	if _, err := c.Keys(context.Background()); err == nil || s.asked.Load() != 0 {
		t.Errorf("asked %d times without a token", s.asked.Load())
	}
	if _, err := c.Version(context.Background()); err != nil {
		t.Errorf("what needs no token: %v", err)
	}
}

func TestAnswersThatAreNoneOfTheKeyserverAreErrors(t *testing.T) {
	ctx := context.Background()
	for name, step := range map[string]http.HandlerFunc{
		"a page": say("<html>"),
		"a proxy's error": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>bad gateway", http.StatusBadGateway)
		},
		"a broken problem": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", api.MediaProblem)
			w.WriteHeader(409)
			io.WriteString(w, "{")
		},
		"a huge problem": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", api.MediaProblem)
			w.WriteHeader(409)
			w.Write(bytes.Repeat([]byte(" "), 1<<20))
		},
	} {
		_, err := serve(t, step).client(t, client.Options{Tries: 1}).Keys(ctx)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if p, ok := errors.AsType[*api.Problem](err); ok && (p.Kind() != "" || strings.Contains(p.Detail, "html")) {
			t.Errorf("%s: became %+v", name, p)
		}
	}
}

func TestAnswerThatIsTooLongIsNotRead(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		piece := bytes.Repeat([]byte(" "), 1<<20)
		for range 80 {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	_, err := s.client(t, client.Options{Tries: 1}).Keys(context.Background())
	if err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}

func TestExportThatIsCutOffIsAnError(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "leaf")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	var out bytes.Buffer
	if err := s.client(t, client.Options{}).Export(context.Background(), &out); !errors.Is(err, io.ErrUnexpectedEOF) || s.asked.Load() != 1 {
		t.Errorf("asked %d times: %v", s.asked.Load(), err)
	}
}

func TestIDsCannotLeaveTheirPlaceInThePath(t *testing.T) {
	var path string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { path = r.URL.EscapedPath(); io.WriteString(w, "{}") })
	c := s.client(t, client.Options{})
	if _, err := c.Key(context.Background(), "../operations?x#y"); err != nil || path != "/api/keys/..%2Foperations%3Fx%23y" {
		t.Errorf("asked for %s: %v", path, err)
	}
	for _, id := range []string{"", ".", ".."} {
		if _, err := c.Key(context.Background(), id); err == nil {
			t.Errorf("%q is taken as an id", id)
		}
	}
}

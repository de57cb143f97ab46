// Package client speaks to a keyserver: one method for each verb of its HTTP API, and a [Signer] that makes
// an approved operation usable as a crypto.Signer.
//
// An error that the server answered is an [*api.Problem]; find it with errors.As and decide by its Kind. A
// request is repeated by itself only if that cannot do anything twice, see [Options].
//
// The package depends on the standard library and package api only.
package client

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/api"
)

// TokenSource gives the access token for the next request. It is called for each one, and refreshes the
// token when that is due.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// TokenFunc is a function as a TokenSource.
type TokenFunc func(ctx context.Context) (string, error)

// Token calls the function.
func (f TokenFunc) Token(ctx context.Context) (string, error) { return f(ctx) }

// StaticToken is an access token that is not refreshed.
func StaticToken(token string) TokenSource {
	return TokenFunc(func(context.Context) (string, error) { return token, nil })
}

// Options of a client. The zero value is right.
type Options struct {
	// HTTP makes the requests. Its redirects and its timeout are not used: a token goes to one server only,
	// and the context says how long to wait. Nil: http.DefaultTransport.
	HTTP *http.Client
	// Tries is how often a request is made at most. It is made again after 429, and, if doing it twice is
	// the same as doing it once, after 503 and when no answer came. That holds for everything that reads,
	// for revoking, closing and disabling, and for creating and signing, which repeat their idempotency key. 0: 4.
	Tries int
	// MaxWait is the longest Retry-After that is waited for. Longer ones are given to the caller. 0: 30 s.
	MaxWait time.Duration
	// UserAgent names the program to the server.
	UserAgent string
}

// Client speaks to one keyserver. It is safe for concurrent use.
type Client struct {
	base   string
	tokens TokenSource
	opts   Options
}

// Largest answers that are read, in bytes.
const (
	maxAnswer  = 64 << 20
	maxProblem = 64 << 10
)

// New returns a client of the server at the URL, such as https://keyserver.example.org. Plain HTTP is for
// servers on this machine only. The tokens may be nil for what needs none.
func New(baseURL string, tokens TokenSource, o Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the server's URL: %w", err)
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("the server's URL %q is not of the form https://host", baseURL)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("the server's URL %q would send the access token in clear; use https", baseURL)
	}
	if o.Tries == 0 {
		o.Tries = 4
	}
	if o.MaxWait == 0 {
		o.MaxWait = 30 * time.Second
	}
	var h http.Client
	if o.HTTP != nil {
		h = *o.HTTP
	}
	h.Timeout = 0
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.HTTP = &h
	return &Client{base: strings.TrimSuffix(u.String(), "/"), tokens: tokens, opts: o}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ask is one request.
type ask struct {
	method string
	path   string // of package api
	id     string // for the parameter of the path
	query  url.Values
	key    string // idempotency key
	body   any
	open   bool // needs no token
	twice  bool // doing it twice is the same as doing it once
}

// do makes the request, again if that is safe, and decodes its JSON answer.
func do[T any](ctx context.Context, c *Client, a ask) (T, error) {
	var out T
	body, err := c.bytes(ctx, a)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, fmt.Errorf("reading the answer to %s %s: %w", a.method, a.path, err)
	}
	return out, nil
}

// bytes makes the request, again if that is safe, and returns its answer.
func (c *Client) bytes(ctx context.Context, a ask) ([]byte, error) {
	var out []byte
	err := c.try(ctx, a, func(r *http.Response) error {
		var err error
		out, err = readAll(r.Body, maxAnswer)
		return err
	})
	return out, err
}

// try makes the request until it is answered, or must not be made again.
func (c *Client) try(ctx context.Context, a ask, read func(*http.Response) error) error {
	var body []byte
	if a.body != nil {
		var err error
		if body, err = json.Marshal(a.body); err != nil {
			return fmt.Errorf("writing the request %s %s: %w", a.method, a.path, err)
		}
	}
	for n := 1; ; n++ {
		err := c.once(ctx, a, body, read)
		wait, again := c.again(a, err)
		if !again || n >= c.opts.Tries || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// again says whether and when the request may be made again.
func (c *Client) again(a ask, err error) (time.Duration, bool) {
	var problem *api.Problem
	var none *noAnswer
	switch {
	case errors.As(err, &problem):
		retry := problem.Status == http.StatusTooManyRequests || problem.Status == http.StatusServiceUnavailable && a.twice
		return problem.RetryAfter, retry && problem.RetryAfter > 0 && problem.RetryAfter <= c.opts.MaxWait
	case errors.As(err, &none):
		return time.Second, a.twice
	}
	return 0, false
}

// noAnswer is a failure to get any answer, or a whole one.
type noAnswer struct {
	what string
	err  error
}

// Error says what was being done and what went wrong.
func (e *noAnswer) Error() string { return e.what + ": " + e.err.Error() }

// Unwrap returns what went wrong.
func (e *noAnswer) Unwrap() error { return e.err }

func (c *Client) once(ctx context.Context, a ask, body []byte, read func(*http.Response) error) error {
	req, err := c.request(ctx, a, body)
	if err != nil {
		return err
	}
	what := "asking the keyserver: " + a.method + " " + a.path
	resp, err := c.opts.HTTP.Do(req)
	if err != nil {
		return &noAnswer{what, err}
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return problemOf(resp)
	}
	if err := read(resp); err != nil {
		return &noAnswer{what, err}
	}
	return nil
}

func (c *Client) request(ctx context.Context, a ask, body []byte) (*http.Request, error) {
	path := a.path
	if head, tail, ok := strings.Cut(path, "{"); ok {
		_, tail, _ = strings.Cut(tail, "}")
		if a.id == "" || a.id == "." || a.id == ".." {
			return nil, fmt.Errorf("asking the keyserver: %q is not an id for %s", a.id, a.path)
		}
		path = head + url.PathEscape(a.id) + tail
	}
	if len(a.query) > 0 {
		path += "?" + a.query.Encode()
	}
	var from io.Reader // nil: net/http then sends no body, where an empty one would be chunked
	if body != nil {
		from = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, a.method, c.base+path, from)
	if err != nil {
		return nil, fmt.Errorf("making the request %s %s: %w", a.method, a.path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", api.MediaJSON)
	}
	if a.key != "" {
		req.Header.Set(api.HeaderIdempotencyKey, a.key)
	}
	if c.opts.UserAgent != "" {
		req.Header.Set("User-Agent", c.opts.UserAgent)
	}
	if a.open {
		return req, nil
	}
	if c.tokens == nil {
		return nil, fmt.Errorf("asking the keyserver: %s %s needs an access token", a.method, a.path)
	}
	token, err := c.tokens.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting an access token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return req, nil
}

// problemOf reads why the request was refused. What is not a problem of the keyserver, such as the page of
// a proxy, becomes one without a kind.
func problemOf(r *http.Response) error {
	p := new(api.Problem)
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	body, err := readAll(r.Body, maxProblem)
	if err != nil || media != api.MediaProblem || json.Unmarshal(body, p) != nil {
		*p = api.Problem{Type: "about:blank", Title: http.StatusText(r.StatusCode), Detail: "the server answered " + r.Status}
	}
	p.Status = r.StatusCode
	if seconds, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && seconds >= 0 && seconds < 1<<31 {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}

func readAll(r io.Reader, most int64) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(out)) > most {
		return nil, fmt.Errorf("the answer is longer than %d bytes", most)
	}
	return out, err
}

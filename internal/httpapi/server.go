// Package httpapi serves the HTTP API: it decodes, authenticates, asks the keyserver and writes what it
// says. It has no opinion on what is allowed.
//
// Every request goes the same way, in [server.answer]: framing, authentication, limits, room, body,
// specification, handler. Handlers return a value or an error; [server.write] alone writes, and [Translate]
// alone turns errors into problems. What the specification (package api) does not name is not served, and
// what it names is validated here against it, for every route.
package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/limits"
)

// Options are what the API needs from outside. All but Registry and Rate are required.
type Options struct {
	Keyserver    *keyserver.Keyserver
	Auth         *identity.Authenticator
	Log          *slog.Logger
	Now          func() time.Time     // for rate limits and durations
	NewRequestID func() string        // a new UUIDv7 with every call
	Mode         string               // production or development
	Software     string               // name and version
	Registry     *prometheus.Registry // nil: metrics are counted, and seen by nobody
	Rate         limits.Rate          // of one subject, or without a token one address; PerSecond 0: 50, Burst 0: 200
}

type server struct {
	Options
	mux      *http.ServeMux
	doc      *openapi3.T
	unknown  *route // what no path names
	metrics  *metrics
	ordinary *limits.Limiter // by subject
	brakes   *limits.Limiter // by subject
	outside  *limits.Limiter // by address or issuer, of those who are no subjects: they cannot push out the subjects' buckets
	waits    *limits.Crowd
	lists    *limits.Crowd
	exports  *limits.Crowd
	policies *limits.Crowd
	changes  *limits.Crowd
	batches  *limits.Crowd
	often    *limits.Limiter // by address, of those who ask for statuses
}

// Serves says whether the path is one of the API's, and not one of the pages'.
func Serves(path string) bool {
	for _, below := range []string{"/api", "/crl", api.PathStatuses} {
		if path == below || strings.HasPrefix(path, below+"/") {
			return true
		}
	}
	return false
}

// New returns the handler of everything that [Serves] names. The error says where the routes and the specification
// disagree; it is nil in every program that passes its tests.
func New(o Options) (http.Handler, error) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(api.OpenAPI()))
	if err != nil {
		return nil, fmt.Errorf("reading the API's specification: %w", err)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Rate.PerSecond == 0 {
		o.Rate.PerSecond = 50
	}
	if o.Rate.Burst == 0 {
		o.Rate.Burst = 200
	}
	s := &server{
		Options: o, mux: http.NewServeMux(), doc: doc, metrics: newMetrics(o.Registry),
		ordinary: limits.NewLimiter(o.Rate), brakes: limits.NewLimiter(o.Rate), outside: limits.NewLimiter(o.Rate),
		// The database has 8 connections for reading. Two are left for what is short, so that whoever revokes is heard: to find
		// out who asks, and for certificate statuses.
		waits: limits.NewCrowd(100, 0), lists: limits.NewCrowd(4, 4), exports: limits.NewCrowd(1, 2),
		// A policy is large, and larger still when it is read. A change of the configuration makes keys, which can take long.
		policies: limits.NewCrowd(2, 2), changes: limits.NewCrowd(2, 4),
		// A factory has many stations, of one subject or of several.
		batches: limits.NewCrowd(32, 32),
		often:   limits.NewLimiter(limits.Rate{PerSecond: 5000, Burst: 5000}),
		unknown: &route{path: "unknown", access: open, serve: serveUnknown},
	}
	if err := s.register(s.routes()); err != nil {
		return nil, err
	}
	return s, nil
}

// register makes the routes known, each bound to its operation in the specification, and says what is
// missing on either side.
func (s *server) register(routes []route) error {
	methods := map[string][]string{} // by path
	for i := range routes {
		r := &routes[i]
		item := s.doc.Paths.Value(r.path)
		if item == nil || item.GetOperation(r.method) == nil {
			return fmt.Errorf("the API's specification has no %s", r)
		}
		r.bind(item, item.GetOperation(r.method))
		if r.public() != r.access.free() {
			return fmt.Errorf("%s: the API's specification and the route disagree on whether a token is needed", r)
		}
		methods[r.path] = append(methods[r.path], r.method)
		s.metrics.serves(r.String())
		s.mux.HandleFunc(pattern(r.String()), func(w http.ResponseWriter, req *http.Request) { s.run(w, req, r) })
	}
	for p, item := range s.doc.Paths.Map() {
		if len(methods[p]) != len(item.Operations()) {
			return fmt.Errorf("the API's specification has %d methods on %s, of which %d are served", len(item.Operations()), p, len(methods[p]))
		}
		other := &route{path: p, access: open, serve: refuseMethod, allow: strings.Join(methods[p], ", ")}
		s.mux.HandleFunc(pattern(p), func(w http.ResponseWriter, req *http.Request) { s.run(w, req, other) })
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) { s.run(w, req, s.unknown) })
	return nil
}

// pattern is that of the mux. A request for a status goes to the end of the path: proxies take the percent-encoding from the
// slashes in it.
func pattern(route string) string {
	return strings.Replace(route, "/{request}", "/{request...}", 1)
}

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path
	if strings.HasPrefix(name, api.PathStatuses+"/") {
		name = r.URL.EscapedPath() // Base64 has slashes of its own
	}
	if clean := path.Clean(name); clean != name && clean+"/" != name {
		s.run(w, r, s.unknown) // the mux would redirect: one name for each thing
		return
	}
	s.mux.ServeHTTP(w, r)
}

// run takes one request from its id to its line in the log.
func (s *server) run(w http.ResponseWriter, r *http.Request, rt *route) {
	start := s.Now()
	c := &call{
		Request: r, route: rt, out: &recorder{ResponseWriter: w},
		Caller: keyserver.Caller{Address: address(r), Request: s.NewRequestID(), Route: rt.String()},
	}
	s.metrics.inFlight.Inc()
	defer func() {
		took := s.Now().Sub(start)
		s.metrics.inFlight.Dec()
		c.inside.Quit(c.Caller.Subject)
		s.metrics.finished(c.Caller.Route, c.out.status, took)
		s.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", slog.String("request", c.Caller.Request), slog.String("subject", string(c.Caller.Subject)),
			slog.String("address", c.Caller.Address), slog.String("route", c.Caller.Route), slog.Int("status", c.out.status), slog.Int64("ms", took.Milliseconds()))
	}()
	a, err := s.answer(c)
	s.write(c, a, err)
}

// answer is the way of every request. A step that returns an error is the last one.
func (s *server) answer(c *call) (a answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.metrics.panics.Inc()
			s.Log.Error("panic", "request", c.Caller.Request, "route", c.route.String(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	defer func() {
		if c.entered {
			c.route.crowd.Leave()
		}
	}()
	for _, step := range []func(*call) error{s.checkFraming, s.authenticate, s.limit, s.admit, s.enter, s.readBody, s.validate} {
		if err := step(c); err != nil {
			return answer{}, err
		}
	}
	for range tries {
		a, err = c.route.serve(s, c)
		if err != keyserver.ErrStale {
			return a, err
		}
		if err := s.authenticateNow(c); err != nil {
			return answer{}, err
		}
	}
	return answer{}, &keyserver.Unavailable{Kind: "busy", Sentence: "the configuration is being changed; ask again", RetryAfter: time.Second, Err: err}
}

// tries is how often a caller is authenticated again because the configuration changed in between.
const tries = 3

var errPanic = errors.New("a fault of the server; the log says more under the request id")

// limit refuses a subject, or an address without a token, that asks too often. Whatever ends or takes back something
// has a measure of its own, so that it works when everything else is overloaded (law 7).
func (s *server) limit(c *call) error {
	switch c.route.access {
	case open:
		return s.take(s.outside, "address "+c.Caller.Address)
	case often:
		return s.take(s.often, "address "+c.Caller.Address)
	case brake:
		return s.take(s.brakes, string(c.Caller.Subject))
	}
	return s.take(s.ordinary, string(c.Caller.Subject))
}

// admit refuses a subject that has too many requests of this kind under way.
func (s *server) admit(c *call) error {
	if !c.route.crowd.Join(c.Caller.Subject) {
		return errCrowded
	}
	c.inside = c.route.crowd
	return nil
}

// enter waits until there is room to serve the request, before its body is read: that can be large.
func (s *server) enter(c *call) error {
	if !c.route.crowd.Enter(c.Context()) {
		c.close = hasBody(c.Request)
		return errCrowded
	}
	c.entered = true
	return nil
}

var errCrowded = &keyserver.TooMany{Sentence: "too many requests of this kind are under way; ask again when one has ended", RetryAfter: time.Second}

func (s *server) take(l *limits.Limiter, who string) error {
	if wait := l.Take(who, s.Now()); wait > 0 {
		return &keyserver.TooMany{Sentence: "you are asking too often; wait as long as Retry-After says", RetryAfter: wait}
	}
	return nil
}

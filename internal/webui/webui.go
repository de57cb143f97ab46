// Package webui serves the pages: what people look at rather than type. It calls the same verbs as the HTTP
// API and decides nothing.
//
// Every request goes the same way, in [server.answer]: who asks, how often, is the form one of ours, handler.
// Handlers return a view or an error; [server.write] alone writes. Every page works as plain HTML and forms;
// the one script adds what is live (static/page.js). Nothing is loaded from anywhere else, and nothing runs
// that is not in static.
package webui

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/limits"
)

// Options are what the pages need from outside. All but LinkHosts are required.
type Options struct {
	Keyserver    *keyserver.Keyserver
	Auth         *identity.Authenticator
	SignIns      *identity.SignIns
	Secret       []byte // that all servers of one database share, and nobody else has; at least 32 bytes
	Log          *slog.Logger
	Now          func() time.Time
	NewRequestID func() string            // a new UUIDv7 with every call
	Translate    func(error) *api.Problem // the one table from errors to problems
	Development  bool                     // said on every page
	Rate         limits.Rate              // of one subject, or without a sign-in one address
	Idle         time.Duration            // after which an unused sign-in ends
	Absolute     time.Duration            // after which a sign-in ends in any case
	DecisionAge  time.Duration            // a decision needs a sign-in younger than this
	LinkHosts    []string                 // hosts that claims and contexts may link to
	// Verify reads an export of the audit log to its end and says what is wrong with it, nil if nothing is. It tells
	// progress now and then how many entries it has verified.
	Verify func(ctx context.Context, export io.Reader, progress func(done int64)) error
}

type server struct {
	Options
	mux        *http.ServeMux
	sealer     *sealer
	pages      map[string]*template.Template
	foreign    *http.CrossOriginProtection
	ordinary   *limits.Limiter // by subject
	brakes     *limits.Limiter // by subject: what ends or takes back something works when everything else is overloaded (law 7)
	outside    *limits.Limiter // by address or issuer
	lists      *limits.Crowd
	streams    *limits.Crowd
	exports    *limits.Crowd
	policies   *limits.Crowd
	amendments *limits.Crowd
}

// New returns the handler of everything that is not under /api. It is an error of the program if it fails.
func New(o Options) (http.Handler, error) {
	pages, err := parseTemplates()
	if err != nil {
		return nil, err
	}
	sealer, err := newSealer(o.Secret)
	if err != nil {
		return nil, err
	}
	s := &server{
		Options: o, mux: http.NewServeMux(), sealer: sealer, pages: pages, foreign: http.NewCrossOriginProtection(),
		ordinary: limits.NewLimiter(o.Rate), brakes: limits.NewLimiter(o.Rate), outside: limits.NewLimiter(o.Rate),
		lists: limits.NewCrowd(4, 4), streams: limits.NewCrowd(20, 0), exports: limits.NewCrowd(1, 1),
		policies: limits.NewCrowd(2, 2), amendments: limits.NewCrowd(2, 4),
	}
	for _, rt := range routes() {
		s.mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) { s.run(w, r, rt) })
	}
	s.mux.Handle("GET /static/", http.HandlerFunc(serveStatic))
	none := &route{pattern: "unknown", access: open, serve: serveUnknown}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.run(w, r, none) })
	return s, nil
}

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if clean := path.Clean(r.URL.Path); clean != r.URL.Path && clean+"/" != r.URL.Path {
		http.NotFound(w, r) // the mux would redirect: one name for each thing
		return
	}
	s.mux.ServeHTTP(w, r)
}

// run takes one request from its id to its line in the log.
func (s *server) run(w http.ResponseWriter, r *http.Request, rt *route) {
	start := s.Now()
	c := &call{Request: r, route: rt, out: w, Caller: keyserver.Caller{Address: address(r), Request: s.NewRequestID(), Route: rt.pattern}}
	defer func() {
		if c.inside {
			rt.crowd(s).Quit(c.member)
		}
		s.Log.LogAttrs(r.Context(), slog.LevelInfo, "page", slog.String("request", c.Caller.Request), slog.String("subject", string(c.Caller.Subject)),
			slog.String("address", c.Caller.Address), slog.String("route", rt.pattern), slog.Int("status", c.status), slog.Int64("ms", s.Now().Sub(start).Milliseconds()))
	}()
	v, err := s.answer(c)
	s.write(c, v, err)
}

// answer is the way of every request. A step that returns an error is the last one.
func (s *server) answer(c *call) (v view, err error) {
	err = s.safely(c, func() error {
		v, err = s.serve(c)
		return err
	})
	return v, err
}

// safely makes a panic an error, which the log tells of.
func (s *server) safely(c *call, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("panic", "request", c.Caller.Request, "route", c.route.pattern, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errFault
		}
	}()
	return do()
}

func (s *server) serve(c *call) (view, error) {
	defer func() {
		if c.entered {
			c.route.crowd(s).Leave()
		}
	}()
	for _, step := range []func(*call) error{s.authenticate, s.limit, s.join, s.readForm, s.checkFresh, s.enter} {
		if err := step(c); err != nil {
			return view{}, err
		}
	}
	return c.route.serve(s, c)
}

var errFault = errors.New("a fault of the server; the log says more under the request id")

// limit refuses a subject, or an address without a sign-in, that asks too often.
func (s *server) limit(c *call) error {
	l, who := s.ordinary, string(c.Caller.Subject)
	switch c.route.access {
	case open:
		l, who = s.outside, "address "+c.Caller.Address
	case brake, undo, leave:
		l = s.brakes
	}
	return s.take(l, who)
}

func (s *server) take(l *limits.Limiter, who string) error {
	if wait := l.Take(who, s.Now()); wait > 0 {
		return &keyserver.TooMany{Sentence: "you are asking too often; wait a little, then load the page again", RetryAfter: wait}
	}
	return nil
}

// join refuses a subject that has too many requests of this kind under way.
func (s *server) join(c *call) error {
	if c.route.crowd == nil {
		return nil
	}
	c.member = c.Caller.Subject
	if c.inside = c.route.crowd(s).Join(c.member); !c.inside {
		return errCrowded
	}
	return nil
}

// enter waits until there is room, once the form is there: who sends one slowly holds nothing that others need.
func (s *server) enter(c *call) error {
	if c.route.crowd == nil {
		return nil
	}
	if c.entered = c.route.crowd(s).Enter(c.Context()); !c.entered {
		return errCrowded
	}
	return nil
}

var errCrowded = &keyserver.TooMany{Sentence: "too many of your pages of this kind are loading; close some, then load this one again", RetryAfter: time.Second}

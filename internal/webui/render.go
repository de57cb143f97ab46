package webui

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
)

//go:embed templates
var templates embed.FS

// view is what a handler returns: a page, or where to go. The zero view says that the handler has streamed what
// there was to say.
type view struct {
	page     string // name of the template
	title    string
	section  string // which part of the navigation it belongs to
	status   int    // 0: 200
	data     any
	live     string // where the page hears that it has changed; empty: it does not change
	redirect string
	file     []byte // instead of a page
	media    string // of the file
	name     string // under which the file is saved; empty: it is shown
}

// shell is what every page is made of.
type shell struct {
	Title, Section string
	Live           string
	Development    bool
	SignedIn       bool
	Stranger       bool // somebody has signed in who may speak for no subject
	Me             law.Subject
	Here           string // the page's own address, to come back to
	Page           any
	Roles          map[law.RoleKind]bool // kinds of role that the caller has
	Everything     bool                  // sees everything: an administrator or auditor

	server *server
	call   *call
}

// Form returns what a form that is sent to action must bring.
func (s *shell) Form(action string) formHead {
	return formHead{Action: action, Token: s.server.sealer.token(s.call.signIn.ID, action)}
}

type formHead struct{ Action, Token string }

// parseTemplates makes one template of each page.
func parseTemplates() (map[string]*template.Template, error) {
	base, err := template.New("base.html").Funcs(functions()).ParseFS(templates, "templates/base.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("reading the templates: %w", err)
	}
	names, err := templates.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("reading the templates: %w", err)
	}
	pages := map[string]*template.Template{}
	for _, f := range names {
		name := strings.TrimSuffix(f.Name(), ".html")
		if name == "base" || name == "parts" {
			continue
		}
		page, err := base.Clone()
		if err == nil {
			page, err = page.ParseFS(templates, path.Join("templates", f.Name()))
		}
		if err != nil {
			return nil, fmt.Errorf("reading template %s: %w", name, err)
		}
		pages[name] = page.Option("missingkey=error")
	}
	return pages, nil
}

// problemPage is shown when something was refused or is not to be had.
type problemPage struct {
	Sentence string
	SignIn   string // where to sign in, if that is what it needs
	Retry    bool
	Request  string
}

// write is the only place where an answer leaves.
func (s *server) write(c *call, v view, err error) {
	if c.status != 0 { // a stream has begun
		if err != nil && c.Context().Err() == nil {
			s.Log.Error("stream broken off", "request", c.Caller.Request, "route", c.route.pattern, "error", err)
		}
		if err != nil {
			panic(http.ErrAbortHandler) // a cut-off answer must not look like a whole one
		}
		return
	}
	if err != nil {
		v = s.problem(c, err)
	}
	switch {
	case v.redirect != "":
		s.start(c, http.StatusSeeOther, "", "Location", v.redirect)
		return
	case v.file != nil:
		disposition := "inline"
		if v.name != "" {
			disposition = `attachment; filename="` + v.name + `"`
		}
		s.start(c, http.StatusOK, v.media, "Content-Disposition", disposition)
		_, _ = c.out.Write(v.file) // an error is the browser's going away
		return
	}
	var page bytes.Buffer
	if err := s.pages[v.page].Execute(&page, s.shell(c, v)); err != nil {
		s.Log.Error("page not rendered", "request", c.Caller.Request, "page", v.page, "error", err)
		page.Reset()
		v.status = http.StatusInternalServerError
		page.WriteString("<!doctype html><html lang=en><title>Fault</title><p>" + template.HTMLEscapeString(errFault.Error()) + ": " + c.Caller.Request)
	}
	s.start(c, max(v.status, http.StatusOK), "text/html; charset=utf-8")
	_, _ = c.out.Write(page.Bytes())
}

func (s *server) shell(c *call, v view) *shell {
	sh := &shell{
		Title: v.title, Section: v.section, Live: v.live, Development: s.Development, Page: v.data, server: s, call: c,
		SignedIn: c.signIn != nil && c.Caller.Subject != "", Stranger: c.signIn != nil && c.Caller.Subject == "", Here: c.URL.RequestURI(), Roles: map[law.RoleKind]bool{},
	}
	if c.Method != http.MethodGet {
		sh.Here = "/"
	}
	if sh.SignedIn {
		sh.Me, _ = c.facts.Subject(c.Caller.Subject)
		sh.Everything = c.facts.SeesEverything(c.Caller.Subject)
		for _, r := range c.facts.Roles() {
			if slices.Contains(r.Members, c.Caller.Subject) {
				sh.Roles[r.Kind] = true
			}
		}
	}
	return sh
}

// policyHeader is the Content-Security-Policy of every page (CSP level 3).
const policyHeader = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// start writes the head of an answer.
func (s *server) start(c *call, status int, media string, more ...string) {
	h := c.out.Header()
	if media != "" {
		h.Set("Content-Type", media)
	}
	h.Set(api.HeaderRequestID, c.Caller.Request)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for what does not know frame-ancestors
	h.Set("Content-Security-Policy", policyHeader)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
	if c.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	for i := 0; i+1 < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	c.status = status
	c.out.WriteHeader(status)
}

// problem is the page of an error.
func (s *server) problem(c *call, err error) view {
	v := view{page: "problem"}
	p := problemPage{Request: c.Caller.Request}
	switch {
	case errors.Is(err, errSignedOut) && c.Method == http.MethodGet && !c.stream() && !c.sentByForm():
		return view{redirect: "/sign-in?to=" + url.QueryEscape(c.URL.RequestURI())}
	case errors.Is(err, errSignedOut):
		s.keepTyped(c)
		v.status, v.title, p.Sentence, p.SignIn = http.StatusUnauthorized, "Your sign-in has ended", "Nothing was done. Sign in again, then repeat what you were about to do; a reason that you typed is there again.", signInAgain(c, false)
	case errors.Is(err, errStaleSignIn):
		s.keepTyped(c)
		v.status, v.title, p.SignIn = http.StatusForbidden, "Sign in again to decide", signInAgain(c, true)
		p.Sentence = "Nothing was done. A decision needs a sign-in younger than " + length(s.DecisionAge) + ". Sign in again: you come back to the same page, with the reason that you typed."
	default:
		t := s.Translate(err)
		v.status, v.title, p.Sentence = t.Kind().Status(), heading(t.Kind().Status()), sentence(t.Detail)
		p.Retry = v.status == http.StatusServiceUnavailable || v.status == http.StatusTooManyRequests
		if t.RetryAfter > 0 {
			c.out.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(t.RetryAfter.Seconds()))))
		}
		if v.status == http.StatusInternalServerError && !errors.Is(err, errFault) {
			s.Log.Error("page failed", "request", c.Caller.Request, "route", c.route.pattern, "error", err)
		}
	}
	v.data = p
	return v
}

// sentByForm says whether a form of ours may have sent this GET request. A browser would not follow a redirect to the
// provider then: form-action holds for redirects as well (CSP level 3, section 6.4.1).
func (c *call) sentByForm() bool {
	return c.URL.RawQuery != "" && c.Header.Get("Sec-Fetch-Site") == "same-origin"
}

// stream says whether the request is for a stream, which a redirect to another site does not serve.
func (c *call) stream() bool { return strings.HasPrefix(c.URL.Path, "/live/") }

// signInAgain is where to sign in so as to come back to the page whose form this was.
func signInAgain(c *call, fresh bool) string {
	to := c.URL.RequestURI()
	if c.Method == http.MethodPost {
		to = path.Dir(c.URL.Path)
	}
	q := url.Values{"to": {to}}
	if fresh {
		q.Set("fresh", "1")
	}
	return "/sign-in?" + q.Encode()
}

func heading(status int) string {
	switch status {
	case http.StatusForbidden:
		return "Not allowed"
	case http.StatusNotFound:
		return "Not found"
	case http.StatusConflict:
		return "Not possible any more"
	case http.StatusPreconditionFailed:
		return "The operation is not the one that you were shown"
	case http.StatusTooManyRequests:
		return "Too many requests"
	case http.StatusServiceUnavailable:
		return "Not to be had at the moment"
	case http.StatusInternalServerError:
		return "A fault of the server"
	}
	return "Not possible"
}

package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

//go:embed page.html
var pageTemplate string

//go:embed style.css
var stylesheet []byte

// answer is what a page handler wants sent: a page, or a redirect when location is set.
type answer struct {
	status   int
	location string
	leadsTo  string // a further CSP source that the form's answer may redirect to

	Heading string
	Message string
	Form    *form
}

// form asks who somebody is. It is the login page's if Request is set, else the device page's.
type form struct {
	Action   string
	Request  string
	UserCode string
	Users    []user
}

// addPages adds the pages that people see.
func (p *provider) addPages(mux *http.ServeMux) {
	page := template.Must(template.New("page").Parse(pageTemplate))
	show := func(handle func(*http.Request) answer) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			write(w, r, page, handle(r))
		})
	}
	mux.Handle("GET /login", show(p.askLogin))
	mux.Handle("POST /login", show(p.decideLogin))
	mux.Handle("GET /device", show(p.askDevice))
	mux.Handle("POST /device", show(p.decideDevice))
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Write(stylesheet)
	})
}

// write sends an answer. Nothing on a page runs, loads from elsewhere or can be framed.
func write(w http.ResponseWriter, r *http.Request, page *template.Template, a answer) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "same-origin") // no-referrer would make the forms send "Origin: null"
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; "+
		"frame-ancestors 'none'; form-action "+strings.TrimSpace("'self' "+a.leadsTo))
	if a.location != "" {
		http.Redirect(w, r, a.location, http.StatusSeeOther)
		return
	}
	var body bytes.Buffer
	if err := page.Execute(&body, a); err != nil {
		slog.ErrorContext(r.Context(), "rendering a page", "error", err)
		http.Error(w, "the page could not be rendered", http.StatusInternalServerError)
		return
	}
	header.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(a.status)
	w.Write(body.Bytes())
}

// askLogin shows the accounts to choose from for an authorization request.
func (p *provider) askLogin(r *http.Request) answer {
	id := r.FormValue("request")
	request, ok := p.logins.look(id)
	if !ok {
		return noSuchLogin()
	}
	return answer{
		status:  http.StatusOK,
		leadsTo: source(request.RedirectURI),
		Heading: "Sign in",
		Message: "The program " + request.ClientID + " wants to know who you are.",
		Form:    &form{Action: "/login", Request: id, Users: p.accounts.Users},
	}
}

// decideLogin ends an authorization request and sends the browser back with a code or a refusal.
func (p *provider) decideLogin(r *http.Request) answer {
	id, sub, action := r.PostFormValue("request"), r.PostFormValue("sub"), r.PostFormValue("action")
	request, ok := p.logins.look(id)
	if !ok {
		return noSuchLogin()
	}
	g, known := p.personGrant(sub, request.ClientID, request.Scopes)
	if refusal, ok := checkDecision(action, known); !ok {
		return refusal
	}
	if _, ok := p.logins.take(id); !ok { // somebody else was faster
		return noSuchLogin()
	}
	var result any
	if action == "allow" {
		g.nonce = request.Nonce
		result = &op.CodeResponseType{Code: p.codes.put(codeGrant{request, g}), State: request.State}
	} else {
		refused := oidc.ErrAccessDenied()
		refused.State = request.State
		result = refused
	}
	location, err := op.AuthResponseURL(request.RedirectURI, request.ResponseType, request.ResponseMode, result, oidc.NewEncoder())
	if err != nil {
		return problem(http.StatusInternalServerError, "Your browser could not be sent back to the program: "+err.Error())
	}
	return answer{location: location + "&" + url.Values{"iss": {p.issuer}}.Encode(), leadsTo: source(request.RedirectURI)} // RFC 9207
}

// askDevice asks for the code that a program shows, and who its person is.
func (p *provider) askDevice(r *http.Request) answer {
	userCode := r.FormValue("user_code")
	message := "Type the code that your program shows."
	if clientID, ok := p.devices.waiting(userCode); ok {
		message = "The program " + clientID + " waits for you. Go on only if it shows this same code."
	}
	return answer{
		status:  http.StatusOK,
		Heading: "Sign in a program",
		Message: message,
		Form:    &form{Action: "/device", UserCode: userCode, Users: p.accounts.Users},
	}
}

// decideDevice answers a waiting program. Scripts use it too: see the package comment.
func (p *provider) decideDevice(r *http.Request) answer {
	userCode, sub, action := r.PostFormValue("user_code"), r.PostFormValue("sub"), r.PostFormValue("action")
	_, known := p.accounts.user(sub)
	if refusal, ok := checkDecision(action, known); !ok {
		return refusal
	}
	verdict := denied
	if action == "allow" {
		verdict = allowed
	}
	if !p.devices.decide(userCode, verdict, sub) {
		return problem(http.StatusNotFound, "No program waits with this code: it is unknown, has expired or has been answered. Start again in your program.")
	}
	if verdict == denied {
		return answer{status: http.StatusOK, Heading: "Denied", Message: "The program is told that you denied it. You can close this page."}
	}
	return answer{status: http.StatusOK, Heading: "Signed in", Message: "The program goes on as " + sub + ". You can close this page."}
}

// checkDecision refuses a form that says neither allow nor deny, or allow without a known account.
func checkDecision(action string, known bool) (refusal answer, ok bool) {
	switch {
	case action != "allow" && action != "deny":
		return problem(http.StatusBadRequest, "The field action is neither allow nor deny."), false
	case action == "allow" && !known:
		return problem(http.StatusBadRequest, "Nobody has this sub. Choose one of the accounts."), false
	}
	return answer{}, true
}

func noSuchLogin() answer {
	return problem(http.StatusNotFound, "This request to sign in is unknown, has expired or has been answered. Start again in your program.")
}

func problem(status int, message string) answer {
	return answer{status: status, Heading: "This did not work", Message: message}
}

// source is the CSP source of a redirect URI: browsers apply form-action to the redirect that answers the
// form too. CSP has no way to write an IPv6 address, so there the scheme has to do.
func source(redirectURI string) string {
	u, err := url.Parse(redirectURI)
	if err != nil {
		return ""
	}
	if strings.HasPrefix(u.Host, "[") {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}

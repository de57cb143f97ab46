package webui_test

import (
	"bytes"
	"context"
	"html"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/internal/httpapi"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/limits"
	"example.org/keyserver/internal/testkit"
	"example.org/keyserver/internal/webui"
)

// site is a keyserver with its pages.
type site struct {
	*testkit.Kit
	pages http.Handler
}

func newSite(t *testing.T) *site { return newSiteWith(t, func(*webui.Options) {}) }

func newSiteWith(t testing.TB, change func(*webui.Options)) *site {
	t.Helper()
	return newSiteOf(t, testkit.Options{World: testkit.Hierarchy}, change)
}

// newSiteOf is a site of another keyserver, or with other options.
func newSiteOf(t testing.TB, of testkit.Options, changes ...func(*webui.Options)) *site {
	t.Helper()
	k := testkit.NewWith(t, of)
	auth := identity.New(identity.Options{Now: k.Clock.Now, HTTP: k.IdP.Client(), Development: true})
	o := webui.Options{
		Keyserver: k.Keyserver, Auth: auth, Secret: bytes.Repeat([]byte("s"), 32), Log: slog.New(faults{t}), Now: k.Clock.Now,
		SignIns:      auth.NewSignIns(identity.SignInOptions{Issuer: k.IdP.URL, ClientID: identitytest.WebClient, RedirectURL: identitytest.RedirectURL}),
		NewRequestID: func() string { return uuid.Must(uuid.NewV7()).String() }, Translate: httpapi.Translate, Development: true,
		Rate: limits.Rate{PerSecond: 1e6, Burst: 1e6}, Idle: time.Hour, Absolute: 12 * time.Hour, DecisionAge: 15 * time.Minute,
		LinkHosts: []string{"git.example"},
	}
	for _, change := range changes {
		change(&o)
	}
	pages, err := webui.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &site{k, pages}
}

// faults fails the test when the server says that something went wrong.
type faults struct{ t testing.TB }

func (f faults) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (f faults) WithAttrs([]slog.Attr) slog.Handler               { return f }
func (f faults) WithGroup(string) slog.Handler                    { return f }

func (f faults) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		f.t.Errorf("the server says: %s: %s", r.Message, a)
		return true
	})
	return nil
}

// person is somebody with a browser, which keeps cookies and sends what browsers send.
type person struct {
	*site
	t       testing.TB
	who     law.SubjectID
	cookies map[string]string
	headers map[string]string                                         // of the next requests, besides the usual ones
	at      string                                                    // path of the page that was loaded last
	claims  func(identitytest.Claims, url.Values) identitytest.Claims // changes what the issuer says of the person; nil: it does not
}

// signIn returns a person who has signed in.
func (s *site) signIn(t testing.TB, who law.SubjectID) *person {
	t.Helper()
	p := s.browser(t, who)
	if page := p.open("/"); page.status != http.StatusOK {
		t.Fatalf("%s cannot sign in: %d %s", who, page.status, page.body)
	}
	return p
}

// browser returns a person who has not signed in.
func (s *site) browser(t testing.TB, who law.SubjectID) *person {
	return &person{site: s, t: t, who: who, cookies: map[string]string{}, headers: map[string]string{}}
}

// page is what a browser shows.
type page struct {
	status int
	path   string
	body   string
	header http.Header
}

// text is the page without its tags.
func (p page) text() string {
	plain := regexp.MustCompile(`(?s)<script.*?</script>|<[^>]*>`).ReplaceAllString(p.body, " ")
	return strings.Join(strings.Fields(html.UnescapeString(plain)), " ")
}

// ask makes one request, and follows nothing.
func (p *person) ask(r *http.Request) page {
	p.t.Helper()
	for name, value := range p.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	for name, value := range p.headers {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	p.pages.ServeHTTP(w, r)
	answer := w.Result()
	for _, c := range answer.Cookies() {
		p.check(c)
		if c.MaxAge < 0 {
			delete(p.cookies, c.Name)
		} else {
			p.cookies[c.Name] = c.Value
		}
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return page{answer.StatusCode, r.URL.RequestURI(), string(body), answer.Header}
}

// check refuses a cookie that a script, another site or another host could have.
func (p *person) check(c *http.Cookie) {
	p.t.Helper()
	if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		p.t.Errorf("cookie %+v", c)
	}
}

// open loads a page, and signs in where it is asked to.
func (p *person) open(path string) page {
	p.t.Helper()
	return p.follow(p.ask(httptest.NewRequest("GET", path, nil)))
}

func (p *person) follow(from page) page {
	p.t.Helper()
	for range 6 {
		to := from.header.Get("Location")
		switch {
		case to == "":
			p.at = from.path
			return from
		case strings.HasPrefix(to, p.IdP.URL):
			query := p.IdP.SignIn(p.t, to, func(asked url.Values) string {
				claims := identitytest.IDToken(p.Clock.Now(), string(p.who), asked).With("iss", p.IdP.URL)
				if p.claims != nil {
					claims = p.claims(claims, asked)
				}
				return p.IdP.Token("JWT", claims)
			})
			to = "/signed-in?" + query.Encode()
		}
		from = p.ask(httptest.NewRequest("GET", to, nil))
	}
	p.t.Fatalf("redirected for ever, now to %s", from.header.Get("Location"))
	return page{}
}

// send sends a form of a page, with fields besides those that it has, as a click would.
func (p *person) send(on page, action string, fields url.Values) page {
	p.t.Helper()
	return p.follow(p.submit(on, action, fields))
}

// submit is send that follows nothing.
func (p *person) submit(on page, action string, fields url.Values) page {
	p.t.Helper()
	values := url.Values{}
	maps.Copy(values, fields)
	for name, value := range p.hidden(on, action) {
		if !values.Has(name) {
			values[name] = value
		}
	}
	return p.post(action, values)
}

func (p *person) post(path string, values url.Values) page {
	p.t.Helper()
	r := httptest.NewRequest("POST", path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return p.ask(r)
}

var hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)

// hidden are the hidden fields of the form of a page that is sent to action.
func (p *person) hidden(on page, action string) url.Values {
	p.t.Helper()
	_, form, found := strings.Cut(on.body, `action="`+action+`">`)
	if !found {
		p.t.Fatalf("the page %s has no form for %s", on.path, action)
	}
	form, _, _ = strings.Cut(form, "</form>")
	values := url.Values{}
	for _, m := range hiddenInput.FindAllStringSubmatch(form, -1) {
		values.Add(m[1], html.UnescapeString(m[2]))
	}
	return values
}

// offers says whether a page has a form that is sent to action.
func (p page) offers(action string) bool { return strings.Contains(p.body, `action="`+action+`">`) }

// expect checks status and text of a page.
func expect(t testing.TB, p page, status int, texts ...string) {
	t.Helper()
	if p.status != status {
		t.Errorf("%s: status %d, want %d: %s", p.path, p.status, status, p.text())
	}
	for _, text := range texts {
		if !strings.Contains(p.text(), text) {
			t.Errorf("%s does not say %q: %s", p.path, text, p.text())
		}
	}
}

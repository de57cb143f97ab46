package webui_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/limits"
	"example.org/keyserver/internal/testkit"
	"example.org/keyserver/internal/webui"
)

func TestPagesWithoutASignInLeadToTheProviderAndBack(t *testing.T) {
	s := newSite(t)
	alice := s.browser(t, "alice")
	page := alice.open("/approvals?mine=1")
	expect(t, page, http.StatusOK, "Approvals", "The alice")
	if page.path != "/approvals?mine=1" {
		t.Errorf("back at %s", page.path)
	}
	if n := s.Count("", "signed-in"); n != 1 {
		t.Errorf("%d events of the sign-in", n)
	}
}

func TestASignInComesBackToThisServerOnly(t *testing.T) {
	s := newSite(t)
	for _, to := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "/\\/evil.example", "javascript:alert(1)", "/signed-in?x=1", "http:evil", "/%0d%0aSet-Cookie:x", ""} {
		alice := s.browser(t, "alice")
		page := alice.open("/sign-in?to=" + url.QueryEscape(to))
		if page.path != "/" && !strings.HasPrefix(page.path, "/%0") {
			t.Errorf("%q leads to %s", to, page.path)
		}
	}
}

func TestSignOutEndsTheSignInForWhoeverHasTheCookie(t *testing.T) {
	s := newSite(t)
	alice := s.signIn(t, "alice")
	thief := s.browser(t, "mallory")
	for name, value := range alice.cookies {
		thief.cookies[name] = value
	}
	expect(t, thief.open("/approvals"), http.StatusOK)
	expect(t, alice.send(alice.open("/"), "/sign-out", nil), http.StatusOK, "Signed out")
	if answer := thief.ask(httptest.NewRequest("GET", "/approvals", nil)); answer.status != http.StatusSeeOther {
		t.Errorf("the cookie is still good: %d", answer.status)
	}
	if n := s.Count("", "signed-out"); n != 1 {
		t.Errorf("%d events of the sign-out", n)
	}
}

func TestASignInEndsUnusedAndInAnyCase(t *testing.T) {
	s := newSite(t)
	alice := s.signIn(t, "alice")
	for range 11 {
		s.Clock.Step(50 * time.Minute)
		expect(t, alice.ask(httptest.NewRequest("GET", "/approvals", nil)), http.StatusOK)
	}
	s.Clock.Step(59 * time.Minute)
	expect(t, alice.ask(httptest.NewRequest("GET", "/approvals", nil)), http.StatusOK)
	s.Clock.Step(time.Hour)
	expect(t, alice.ask(httptest.NewRequest("GET", "/approvals", nil)), http.StatusSeeOther)
	alice.open("/")
	s.Clock.Step(time.Hour)
	expect(t, alice.ask(httptest.NewRequest("GET", "/approvals", nil)), http.StatusSeeOther)
	expect(t, alice.post("/sign-out", url.Values{}), http.StatusUnauthorized, "Your sign-in has ended", "Nothing was done.")
}

func TestWhatTheScriptLoadsByItselfKeepsNoSignInAlive(t *testing.T) {
	s := newSite(t)
	alice := s.signIn(t, "alice")
	script := func() page {
		r := httptest.NewRequest("GET", "/approvals", nil)
		r.Header.Set("Sec-Fetch-Dest", "empty")
		return alice.ask(r)
	}
	for range 2 {
		s.Clock.Step(29 * time.Minute)
		expect(t, script(), http.StatusOK)
	}
	s.Clock.Step(2 * time.Minute)
	if answer := script(); answer.status != http.StatusSeeOther {
		t.Errorf("the sign-in is still good: %d", answer.status)
	}
}

func TestSignInsThatWereBegunFitIntoABrowser(t *testing.T) {
	s := newSite(t)
	alice := s.signIn(t, "alice")
	for _, to := range []string{
		"/operations/x?reject=" + strings.Repeat("%E4%BD%A0", 333), "/approvals?key=" + strings.Repeat("\"", 5000), "/" + strings.Repeat("x", 5000), "/approvals",
	} {
		for range 20 {
			alice.ask(httptest.NewRequest("GET", "/sign-in?to="+url.QueryEscape(to), nil))
			all := 0
			for name, value := range alice.cookies {
				if all += len(name) + len(value) + len("=; "); len(name)+len(value) > 4096 {
					t.Fatalf("no browser keeps a cookie of %d bytes", len(name)+len(value))
				}
			}
			if all > 12<<10 {
				t.Fatalf("%d bytes of cookies with %.30s: no server takes that", all, to)
			}
		}
		alice.open("/sign-in?to=" + url.QueryEscape(to)) // the newest one can still be completed
	}
	reason := strings.Repeat("\u4f60", 333)
	if page := alice.open("/sign-in?to=" + url.QueryEscape("/approvals?key="+url.QueryEscape(reason[:300]))); page.path != "/approvals?key="+url.QueryEscape(reason[:300]) {
		t.Errorf("back at %s", page.path)
	}
}

func TestOnlyWhatTheServerSealedIsASignIn(t *testing.T) {
	s := newSite(t)
	alice := s.signIn(t, "alice")
	good := alice.cookies["__Host-keyserver"]
	for name, cookie := range map[string]string{
		"empty": "", "not base64": "%%%", "short": "AAAA", "cut off": good[:len(good)-4], "changed": "AAAA" + good[4:],
		"another's": newSiteWith(t, func(o *webui.Options) { o.Secret = []byte(strings.Repeat("t", 32)) }).signIn(t, "alice").cookies["__Host-keyserver"],
	} {
		alice.cookies["__Host-keyserver"] = cookie
		if answer := alice.ask(httptest.NewRequest("GET", "/approvals", nil)); answer.status != http.StatusSeeOther {
			t.Errorf("%s: status %d", name, answer.status)
		}
	}
}

func TestStrangersAndMachinesAreRefusedAndTheLogSaysSo(t *testing.T) {
	s := newSite(t)
	for _, who := range []string{"mallory", "ci"} {
		before := s.LogSize()
		expect(t, s.browser(t, law.SubjectID(who)).open("/"), http.StatusForbidden, "Not allowed")
		if events := s.EventsSince(before); len(events) != 1 || events[0].Type != audit.RequestRefused {
			t.Errorf("%s: the log holds %v", who, events)
		}
	}
}

func TestASignInThatWasNotBegunHereIsRefused(t *testing.T) {
	s := newSite(t)
	alice, mallory := s.browser(t, "alice"), s.browser(t, "mallory")
	begun := mallory.ask(httptest.NewRequest("GET", "/sign-in", nil))
	state := begun.header.Get("Location")
	u, err := url.Parse(state)
	if err != nil {
		t.Fatal(err)
	}
	q := url.Values{"code": {"x"}, "state": {u.Query().Get("state")}}
	expect(t, alice.ask(httptest.NewRequest("GET", "/signed-in?"+q.Encode(), nil)), http.StatusBadRequest, "begin again")
	expect(t, alice.ask(httptest.NewRequest("GET", "/signed-in", nil)), http.StatusBadRequest, "begin again")
}

func TestFormsOfOtherSitesAndSignInsAreRefused(t *testing.T) {
	s := newSite(t)
	o := s.Create(testkit.Ask("fw-prod"))
	at := "/operations/" + string(o.ID)
	alice, bob := s.signIn(t, "alice"), s.signIn(t, "bob")
	page := alice.open(at)
	good := alice.hidden(page, at+"/approve")
	bad := func(name string, change func(url.Values)) {
		values := url.Values{}
		for n, v := range good {
			values[n] = v
		}
		change(values)
		if answer := alice.post(at+"/approve", values); answer.status != http.StatusForbidden && answer.status != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, answer.status)
		}
	}
	bad("no token", func(v url.Values) { v.Del("token") })
	bad("the token of another form", func(v url.Values) { v["token"] = alice.hidden(page, at+"/reject")["token"] })
	bad("the token of somebody else", func(v url.Values) { v["token"] = bob.hidden(bob.open(at), at+"/approve")["token"] })
	bad("an unknown field", func(v url.Values) { v.Set("key", "fw-prod") })
	bad("a field twice", func(v url.Values) { v.Add("digest", v.Get("digest")) })
	for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		r := httptest.NewRequest("POST", at+"/approve", strings.NewReader(good.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set(name, value)
		expect(t, alice.ask(r), http.StatusForbidden, "another site")
	}
	if n := s.Count(o.ID, audit.OperationApproved); n != 0 {
		t.Errorf("%d approvals", n)
	}
}

func TestEveryPageForbidsWhatItDoesNotNeed(t *testing.T) {
	s := newSite(t)
	alice := s.signIn(t, "alice")
	for _, path := range []string{"/", "/approvals", "/operations", "/no/such/page", "/signed-out"} {
		h := alice.open(path).header
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"Cache-Control":           "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if body := alice.open(path).body; strings.Contains(body, "<style") || strings.Contains(body, " style=") || strings.Contains(body, " onclick") || strings.Contains(body, "<script>") {
			t.Errorf("%s has style or script in it", path)
		}
	}
}

func TestWhoAsksTooOftenWaitsAndCanStillRevoke(t *testing.T) {
	s := newSiteWith(t, func(o *webui.Options) { o.Rate = limits.Rate{PerSecond: 0.001, Burst: 8} })
	o := s.Create(testkit.Ask("fw-prod"))
	at := "/operations/" + string(o.ID)
	olga := s.signIn(t, "olga")
	shown := olga.open(at)
	for range 20 {
		if answer := olga.open("/keys-that-are-not-there"); answer.status == http.StatusTooManyRequests {
			break
		}
	}
	for olga.open("/approvals").status != http.StatusTooManyRequests {
	}
	if answer := olga.submit(shown, at+"/revoke", url.Values{"reason": {"stop"}}); answer.status != http.StatusSeeOther {
		t.Errorf("revoking: %d %s", answer.status, answer.text())
	}
}

func TestAFilterThatIsSentAfterTheSignInHasEndedLeadsBackByALink(t *testing.T) {
	s := newSite(t)
	alice := s.signIn(t, "alice")
	s.Clock.Step(2 * time.Hour)
	alice.headers["Sec-Fetch-Site"] = "same-origin"
	page := alice.ask(httptest.NewRequest("GET", "/operations?state=pending", nil))
	expect(t, page, http.StatusUnauthorized, "Your sign-in has ended", "Sign in again")
	if !strings.Contains(page.body, `href="/sign-in?to=%2Foperations%3Fstate%3Dpending"`) {
		t.Errorf("it does not lead back: %s", page.body)
	}
}

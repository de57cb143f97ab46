package webui_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

const typedCookie = "__Host-keyserver-typed"

// link is where the first button of a page leads.
func (p page) link() string {
	_, link, _ := strings.Cut(p.body, `class="button primary" href="`)
	link, _, _ = strings.Cut(link, `"`)
	return html.UnescapeString(link)
}

// typed is what stands in a page's form.
func (p page) typed(action string) string {
	_, form, _ := strings.Cut(p.body, `action="`+action+`">`)
	form, _, _ = strings.Cut(form, "</form>")
	_, area, _ := strings.Cut(form, "<textarea")
	_, area, _ = strings.Cut(area, ">")
	area, _, _ = strings.Cut(area, "</textarea>")
	return html.UnescapeString(area)
}

func TestAReasonAsLongAsTheLawAllowsSurvivesSigningInAgain(t *testing.T) {
	s := newSite(t)
	for name, reason := range map[string]string{
		"of as many bytes as there may be": strings.Repeat("x", law.MaxReason),
		"of characters of three bytes":     strings.Repeat("你", law.MaxReason/3),
		"with lines and quotes":            strings.Repeat("\"<\n", law.MaxReason/4) + "end",
	} {
		for after, status := range map[time.Duration]int{16 * time.Minute: http.StatusForbidden, 2 * time.Hour: http.StatusUnauthorized} {
			ask := testkit.Ask("fw-prod")
			ask.Validity = testkit.Day
			o, alice := s.Create(ask), s.signIn(t, "alice")
			at := "/operations/" + string(o.ID)
			shown := alice.open(at)
			s.Clock.Step(after)
			answer := alice.submit(shown, at+"/reject", url.Values{"reason": {strings.ReplaceAll(reason, "\n", "\r\n")}})
			expect(t, answer, status, "Nothing was done.")
			if cookie := alice.cookies[typedCookie]; cookie == "" || len(typedCookie)+len(cookie) > 4096 || strings.Contains(answer.body, "xxx") {
				t.Errorf("a reason %s is kept in %d bytes", name, len(cookie))
			}
			back := alice.open(answer.link())
			if back.path != at || back.typed(at+"/reject") != reason || back.typed(at+"/revoke") != "" {
				t.Errorf("a reason %s, after %v: %s has %.50q", name, after, back.path, back.typed(at+"/reject"))
			}
			expect(t, alice.send(back, at+"/reject", url.Values{"reason": {reason}}), http.StatusOK, "The operation is rejected.")
			if alice.cookies[typedCookie] != "" {
				t.Error("the reason is kept though it was heard")
			}
		}
	}
}

func TestAReasonIsKeptForAWhileAndForItsFormAlone(t *testing.T) {
	s := newSite(t)
	ask := testkit.Ask("fw-prod")
	ask.Validity = testkit.Day
	o, other := s.Create(ask), s.Create(ask)
	at, elsewhere := "/operations/"+string(o.ID), "/operations/"+string(other.ID)
	alice := s.signIn(t, "alice")
	shown := alice.open(at)
	s.Clock.Step(16 * time.Minute)
	answer := alice.submit(shown, at+"/reject", url.Values{"reason": {"because"}})
	kept := alice.cookies[typedCookie]
	alice.open(answer.link())
	if typed := alice.open(elsewhere).typed(elsewhere + "/reject"); typed != "" {
		t.Errorf("another operation's form has %q", typed)
	}
	for name, cookie := range map[string]string{
		"nothing": "", "no base64": "%%%", "cut off": kept[:len(kept)-4], "changed": "AAAA" + kept[4:], "a sign-in": alice.cookies["__Host-keyserver"],
	} {
		alice.cookies[typedCookie] = cookie
		if typed := alice.open(at).typed(at + "/reject"); typed != "" {
			t.Errorf("%s is taken for the reason %q", name, typed)
		}
	}
	alice.cookies[typedCookie] = kept
	if typed := alice.open(at).typed(at + "/reject"); typed != "because" {
		t.Errorf("the form has %q", typed)
	}
	s.Clock.Step(10 * time.Minute)
	if typed := alice.open(at).typed(at + "/reject"); typed != "" {
		t.Errorf("after ten minutes the form has %q", typed)
	}
	if typed := alice.open(at + "?reject=planted").typed(at + "/reject"); typed != "" {
		t.Errorf("a link has put %q into the form", typed)
	}
}

func TestNoOtherSiteAndNoOddFormLeavesAReason(t *testing.T) {
	s := newSite(t)
	at := "/operations/" + string(s.Create(testkit.Ask("fw-prod")).ID) + "/reject"
	for name, test := range map[string]struct{ body, site string }{
		"of another site": {"reason=planted", "cross-site"}, "too long": {"reason=" + strings.Repeat("x", law.MaxReason+1), "same-origin"},
		"too long to be read": {"reason=r&more=" + strings.Repeat("x", 17<<10), "same-origin"}, "not to be shown": {"reason=%00", "same-origin"},
		"no form": {"%zz", "same-origin"}, "no reason": {"digest=1", "same-origin"},
	} {
		nobody := s.browser(t, "alice")
		r := httptest.NewRequest("POST", at, strings.NewReader(test.body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", test.site)
		expect(t, nobody.ask(r), http.StatusUnauthorized, "Your sign-in has ended")
		if nobody.cookies[typedCookie] != "" {
			t.Errorf("%s: it is kept", name)
		}
	}
}

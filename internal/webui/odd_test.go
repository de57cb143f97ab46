package webui_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// odd are values that no page of ours sends.
var odd = []string{"\xff", "a\x00b", "-1", "99999999999999999999", strings.Repeat("x", 4000)}

func TestNoOddParameterIsAFaultOfTheServer(t *testing.T) {
	s := newSite(t)
	o := s.Create(testkit.Ask("fw-prod"))
	session := s.OpenSession(nil)
	names := []string{"text", "key", "orderer", "q", "role", "operation", "session", "subject", "did", "description", "reject", "disable", "to", "iss", "error"}
	alone := []string{"from", "until", "cursor", "state", "type", "revision"} // whoever is wrong about them is told so before the rest is looked at
	paths := []string{
		"/", "/sign-in", "/signed-in", "/approvals", "/operations", "/operations/new", "/operations/" + string(o.ID), "/keys", "/keys/fw-prod", "/certificates", "/audit", "/audit/1",
		"/administration", "/administration/open", "/administration/sessions/" + string(session.ID), "/administration/subjects", "/administration/subjects/alice", "/administration/roles",
	}
	named := []string{
		"/operations/", "/keys/", "/certificates/", "/audit/", "/administration/sessions/", "/administration/subjects/", "/live/operations/", "/live/sessions/", "/static/", "/",
	}
	for _, who := range []law.SubjectID{"olga", "ada"} {
		person := s.signIn(t, who)
		for _, value := range odd {
			for _, path := range paths {
				all := url.Values{}
				for _, name := range names {
					all.Set(name, value)
				}
				person.noFault(person.ask(httptest.NewRequest("GET", path+"?"+all.Encode(), nil)))
				for _, name := range alone {
					person.noFault(person.ask(httptest.NewRequest("GET", path+"?%zz=;&"+name+"="+url.QueryEscape(value), nil)))
				}
			}
			for _, path := range named {
				person.noFault(person.ask(httptest.NewRequest("GET", path+url.PathEscape(value), nil)))
			}
		}
	}
}

func TestNoOddFieldOfAFormIsAFaultOfTheServer(t *testing.T) {
	s := newSite(t)
	olga, alice, ada := s.signIn(t, "olga"), s.signIn(t, "alice"), s.signIn(t, "ada")
	form := olga.open("/operations/new")
	opening := ada.open("/administration/open?from=present")
	for _, value := range odd {
		for name := range wish(func(url.Values) {}) {
			olga.noFault(olga.submit(form, "/operations", wish(func(v url.Values) { v[name][0] = value })))
		}
		olga.noFault(olga.submit(form, "/operations", wish(func(v url.Values) { v.Set("idempotency", value) })))
		olga.noFault(olga.submit(form, "/operations", wish(func(v url.Values) { v.Set("do", "preview"); v.Set("context", value) })))
		o := s.Create(testkit.Ask("fw-prod"))
		at := "/operations/" + string(o.ID)
		alice.noFault(alice.submit(alice.open(at), at+"/approve", url.Values{"digest": {value}}))
		alice.noFault(alice.submit(alice.open(at), at+"/reject", url.Values{"reason": {"x" + value}}))
		o = s.Create(testkit.Ask("fw-prod"))
		at = "/operations/" + string(o.ID)
		olga.noFault(olga.submit(olga.open(at), at+"/revoke", url.Values{"reason": {"x" + value}}))
		for _, verb := range []string{"/administration/preview", "/administration/sessions"} {
			ada.noFault(ada.press(opening, verb, value, ""))
			ada.noFault(ada.press(opening, verb, "x", value))
		}
		at = "/administration/subjects/carol"
		if page := ada.open(at); page.offers(at + "/disable") {
			ada.noFault(ada.submit(page, at+"/disable", url.Values{"reason": {"x" + value}}))
		}
		at = "/keys/fw-dev"
		if page := ada.open(at); page.offers(at + "/disable") {
			ada.noFault(ada.submit(page, at+"/disable", url.Values{"reason": {"x" + value}}))
		}
	}
}

func (p *person) noFault(answer page) {
	p.t.Helper()
	if answer.status >= http.StatusInternalServerError {
		p.t.Errorf("%s: %.100s: status %d: %s", p.who, answer.path, answer.status, answer.text())
	}
}

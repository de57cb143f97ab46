package webui_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
)

// wish is the form of a new operation, filled in.
func wish(change func(url.Values)) url.Values {
	v := url.Values{
		"description": {"release 1.2.3"}, "context": {"## Why\r\n\r\ntests are green"}, "hours": {"24"}, "clients": {"ci"},
		"key": {"fw-dev", "fw-prod"}, "count": {"", "2"}, "artifact-name": {"a.bin", ""}, "artifact-size": {"5", ""}, "artifact-hash": {"SHA-256", "SHA-256"},
		"artifact-digest": {strings.Repeat("AB", 32), ""}, "do": {"create"},
	}
	change(v)
	return v
}

func TestAnOperationIsAskedForOnceHoweverOftenTheFormIsSent(t *testing.T) {
	s := newSite(t)
	olga := s.signIn(t, "olga")
	form := olga.open("/operations/new")
	expect(t, olga.send(form, "/operations", wish(func(v url.Values) { v.Set("do", "preview") })), http.StatusOK,
		"This is what approvers will see", "0 of 2 approvals", "Key fw-prod needs 2 more approvals; alice, bob, carol or peter can give them.", strings.Repeat("ab", 32))
	first := olga.send(form, "/operations", wish(func(url.Values) {}))
	expect(t, first, http.StatusOK, "The operation has been created.", "release 1.2.3")
	again := olga.send(form, "/operations", wish(func(url.Values) {}))
	if again.path != first.path {
		t.Errorf("the form sent twice made %s and %s", first.path, again.path)
	}
	id := law.OperationID(strings.TrimSuffix(strings.TrimPrefix(first.path, "/operations/"), "?did=created"))
	if o := s.Look(id); o.Context != "## Why\n\ntests are green" || len(o.Artifacts) != 1 || len(o.Clients) != 1 || len(o.Statement.Keys) != 1 {
		t.Errorf("it is %+v", o.Statement)
	}
	expect(t, olga.open("/operations?text=RELEASE&state=pending&key=fw-prod&orderer=olga&from=2000-01-01"), http.StatusOK, "release 1.2.3")
	expect(t, olga.open("/operations?text=nothing"), http.StatusOK, "No operations")
	expect(t, olga.open("/operations?from=yesterday"), http.StatusBadRequest, "is not a date")
}

func TestAFormThatIsRefusedKeepsWhatWasTyped(t *testing.T) {
	s := newSite(t)
	olga := s.signIn(t, "olga")
	form := olga.open("/operations/new?key=fw-prod")
	for name, c := range map[string]struct {
		change func(url.Values)
		status int
		says   string
	}{
		"no key":            {func(v url.Values) { v["count"] = []string{"", "0"} }, http.StatusBadRequest, "of at least one key"},
		"a count in words":  {func(v url.Values) { v["count"] = []string{"two", ""} }, http.StatusBadRequest, "must be a whole number"},
		"beyond the limit":  {func(v url.Values) { v["count"] = []string{"", "100000"} }, http.StatusUnprocessableEntity, "uses"},
		"no time":           {func(v url.Values) { v.Set("hours", "0") }, http.StatusBadRequest, "whole number of hours"},
		"too long":          {func(v url.Values) { v.Set("hours", "10000") }, http.StatusUnprocessableEntity, "fw-prod"},
		"a size in words":   {func(v url.Values) { v["artifact-size"] = []string{"big", ""} }, http.StatusBadRequest, "whole number of bytes"},
		"a wrong digest":    {func(v url.Values) { v["artifact-digest"] = []string{"abcd", ""} }, http.StatusUnprocessableEntity, "digest"},
		"an unknown client": {func(v url.Values) { v.Set("clients", "nobody") }, http.StatusUnprocessableEntity, "nobody"},
		"a key of others":   {func(v url.Values) { v["key"] = []string{"fw-dev", "fw-other"} }, http.StatusForbidden, "fw-other"},
		"hidden characters": {func(v url.Values) { v.Set("description", "a\u202eb") }, http.StatusUnprocessableEntity, "U+202E"},
	} {
		answer := olga.send(form, "/operations", wish(c.change))
		if !strings.Contains(answer.text(), c.says) || answer.status != c.status || !strings.Contains(answer.body, "tests are green") {
			t.Errorf("%s: status %d (%d expected): %s", name, answer.status, c.status, answer.text())
		}
	}
	if page := olga.open("/operations"); !strings.Contains(page.text(), "No operations") {
		t.Error("one of them was made")
	}
}

func TestAPreviewSaysWhatWouldBeRefusedAndIsNoEvent(t *testing.T) {
	s := newSite(t)
	olga := s.signIn(t, "olga")
	form, before := olga.open("/operations/new"), s.LogSize()
	answer := olga.send(form, "/operations", wish(func(v url.Values) { v.Set("do", "preview"); v.Set("hours", "10000") }))
	expect(t, answer, http.StatusOK, "It would be refused:", "fw-prod")
	if events := s.EventsSince(before); len(events) != 0 {
		t.Errorf("the log holds %v", events)
	}
}

package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// What the API serves outside /api is there for everybody, with pages or without.
func TestThePagesDoNotHideWhatTheAPIServes(t *testing.T) {
	named := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(name)) })
	}
	for path, want := range map[string]string{
		"/": "pages", "/operations": "pages", "/apis": "pages", "/crls": "pages", "/ocspx": "pages", "/api": "API", "/api/keys": "API",
		"/crl/ca.crl": "API", "/ocsp": "API", "/ocsp/MAMCAQE=": "API", "/ocsp/a%2F%2Fb": "API",
	} {
		w := httptest.NewRecorder()
		together(named("API"), named("pages")).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if got := w.Body.String(); got != want {
			t.Errorf("%s is served by the %s, not by the %s", path, got, want)
		}
	}
}

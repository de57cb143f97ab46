package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"example.org/keyserver/api"
)

func TestEveryPathOfTheAPIIsServedByItWithPagesToo(t *testing.T) {
	says := func(who string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Served-By", who) })
	}
	both := together(says("api"), says("pages"))
	servedBy := func(path string) string {
		w := httptest.NewRecorder()
		both.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w.Header().Get("Served-By")
	}
	doc, err := openapi3.NewLoader().LoadFromData([]byte(api.OpenAPI()))
	if err != nil {
		t.Fatal(err)
	}
	for path := range doc.Paths.Map() {
		if got := servedBy(path); got != "api" {
			t.Errorf("%s is served by the %s", path, got)
		}
	}
	for _, path := range []string{"/", "/operations", "/apis", "/crls/root.crl"} {
		if got := servedBy(path); got != "pages" {
			t.Errorf("%s is served by the %s", path, got)
		}
	}
}

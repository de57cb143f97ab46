package webui_test

import (
	"fmt"
	"net/http"
	"testing"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/testkit"
)

// How long an approver's pages take when 1,000 operations wait.
func BenchmarkPagesWith1000PendingOperations(b *testing.B) {
	s := newSiteOf(b, testkit.Options{World: testkit.Hierarchy, Limits: keyserver.Limits{PendingOperations: 2000}})
	for i := range 1000 {
		ask := testkit.Ask("fw-prod")
		ask.Description = fmt.Sprintf("release %d", i)
		s.Create(ask)
	}
	alice := s.signIn(b, "alice")
	for _, path := range []string{"/approvals", "/", "/operations"} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				if page := alice.open(path); page.status != http.StatusOK {
					b.Fatal(page.status)
				}
			}
		})
	}
}

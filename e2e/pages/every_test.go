package pages_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"example.org/keyserver/client"
	"example.org/keyserver/e2e/browser"
)

// Screenshots is the environment variable that names the folder for pictures of every page. Without it none are taken.
const Screenshots = "KEYSERVER_SCREENSHOTS"

// dropFile gives the form the file hello.bin, as if it had been chosen.
func dropFile(p *person) {
	p.t.Helper()
	browser.Eval[bool](p.Page, `(() => {
		const files = new DataTransfer()
		files.items.add(new File(["hello"], "hello.bin"))
		const field = document.querySelector("[data-files]")
		field.files = files.files
		field.dispatchEvent(new Event("change", {bubbles: true}))
		return true
	})()`)
}

// everyPage looks at each page as the person whom it is for: at two widths and in both themes, with the rules of
// WCAG 2.2 AA.
func everyPage(t *testing.T, s *site) {
	folder := os.Getenv(Screenshots)
	page, err := s.as(t, "alice").Operations(t.Context(), client.OperationFilter{KeyID: "meter-prod"})
	if err != nil || len(page.Operations) == 0 {
		t.Fatal("there are no operations to look at", err)
	}
	waiting, err := s.as(t, "alice").Operations(t.Context(), client.OperationFilter{KeyID: "gateway-prod", State: "pending"})
	if err != nil || len(waiting.Operations) == 0 {
		t.Fatal("no operation waits", err)
	}
	operation := func(state string) string {
		for _, o := range page.Operations {
			if string(o.State) == state {
				return "/operations/" + o.ID
			}
		}
		t.Fatalf("no operation is %s", state)
		return ""
	}
	sessions, err := s.as(t, "erin").Sessions(t.Context(), client.SessionFilter{State: "inactive"})
	if err != nil || len(sessions.Sessions) == 0 {
		t.Fatal("there are no administration sessions to look at", err)
	}
	for _, c := range []struct {
		who   string
		pages map[string]string // by name
	}{
		{"alice", map[string]string{
			"overview": "/", "approvals": "/approvals", "operation-waiting": "/operations/" + waiting.Operations[0].ID, "operation-pending": operation("pending"), "operation-approved": operation("approved"),
			"operation-revoked": operation("revoked"), "operations": "/operations", "not-found": "/no/such/page",
			"notifications": "/notifications",
		}},
		{"dana", map[string]string{"new-operation": "/operations/new", "overview-orderer": "/"}},
		{"adam", map[string]string{
			"sessions": "/administration", "session-plan": "/administration/sessions/" + sessions.Sessions[0].ID, "session-open": "/administration/open?from=present",
			"subjects": "/administration/subjects", "subject": "/administration/subjects/bob", "roles": "/administration/roles", "policy": "/administration/policy",
		}},
		{"erin", map[string]string{
			"approvals-empty": "/approvals", "keys": "/keys", "key": "/keys/gateway-prod", "certificates": "/certificates", "audit": "/audit", "event": "/audit/20",
			"story": "/audit?" + url.Values{"operation": {page.Operations[0].ID}}.Encode(), "overview-auditor": "/",
		}},
	} {
		p := s.person(t, c.who)
		for name, path := range c.pages {
			for _, scheme := range []string{"light", "dark"} {
				p.Scheme(scheme)
				for width, height := range map[int]int{1280: 800, 390: 844} {
					p.Size(width, height)
					p.open(path)
					p.WaitFor("main h1")
					if folder != "" {
						p.Screenshot(filepath.Join(folder, name+"-"+map[int]string{1280: "laptop", 390: "phone"}[width]+"-"+scheme+".png"))
					}
					if wide := browser.Eval[int](p.Page, "document.documentElement.scrollWidth"); wide > width {
						t.Errorf("%s is %d pixels wide on a screen of %d", name, wide, width)
					}
				}
				for _, f := range p.Axe() {
					t.Errorf("%s, %s: %+v", name, scheme, f)
				}
			}
		}
		p.well()
	}
}

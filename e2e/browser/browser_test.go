package browser_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"example.org/keyserver/e2e/browser"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTheKit shares one browser among its parts, which are independent people.
func TestTheKit(t *testing.T) {
	b := browser.New(t)
	for name, part := range map[string]func(*testing.T, *browser.Browser){
		"the identity provider's device page is usable by everybody":   devicePage,
		"what keeps people out is found":                               findsBarriers,
		"a script against the policy is complained of":                 complains,
		"a page or an icon that is refused is no complaint":            refusedPage,
		"dark and light look different":                                colours,
		"a phone is narrow and a screenshot as long as the page":       sizes,
		"with script off none runs, and forms work":                    noScript,
		"two people have their own cookies, and two tabs of one share": cookies,
		"a click waits for what comes later and leads on and back":     waits,
	} {
		t.Run(name, func(t *testing.T) { part(t, b) })
	}
}

// serve answers each path with a page, under a policy as strict as the keyserver's.
func serve(t *testing.T, pages map[string]string) string {
	t.Helper()
	mux := http.NewServeMux()
	for path, page := range pages {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(path, ".js") {
				w.Header().Set("Content-Type", "text/javascript")
			} else if strings.HasSuffix(path, ".css") {
				w.Header().Set("Content-Type", "text/css")
			} else {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
			}
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; form-action 'self'")
			r.ParseForm()
			io.WriteString(w, strings.ReplaceAll(page, "{name}", r.Form.Get("name")))
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// page is a whole document that nothing is wrong with.
func page(head, body string) string {
	return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
		`<title>A page</title>` + head + `</head><body><main><h1>A page</h1>` + body + `</main></body></html>`
}

func noComplaints(t *testing.T, p *browser.Page) {
	t.Helper()
	if got := p.Complaints(); len(got) != 0 {
		t.Errorf("the page complains: %q", got)
	}
}

func devicePage(t *testing.T, b *browser.Browser) {
	issuer := devidp(t)
	p := b.Person(t)
	p.Open(issuer + "/device")
	p.WaitForText("h1", "Sign in")
	if found := p.Axe(); len(found) != 0 {
		t.Errorf("axe finds %+v", found)
	}
	p.Fill("input[name=user_code]", "BCDF-GHJK")
	p.Click("input[value=alice]")
	p.Click("button[value=allow]")
	p.WaitForText("h1", "This did not work")
	if strings.Contains(p.HTML(), "<form") {
		t.Errorf("a code that nobody has shows\n%s", p.HTML())
	}
	noComplaints(t, p)
}

// devidp runs the development identity provider until the test ends, and is where it is.
func devidp(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "devidp")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/devidp").CombinedOutput(); err != nil {
		t.Fatalf("building devidp: %v\n%s", err, out)
	}
	ctx, end := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, program, "--listen", "127.0.0.1:0", "--accounts", "../../cmd/devidp/testdata/accounts.yaml")
	c.Stderr = t.Output()
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end()
		c.Wait() // it was killed, and says so
	})
	var issuer string
	if _, err := fmt.Fscanf(stdout, "issuer %s\n", &issuer); err != nil {
		t.Fatalf("waiting for the issuer: %v", err)
	}
	return issuer
}

func findsBarriers(t *testing.T, b *browser.Browser) {
	p := b.Person(t)
	p.Open(serve(t, map[string]string{"/": page("", `<form><input name="nameless"></form>`)}))
	found := p.Axe()
	if len(found) != 1 || found[0].ID != "label" || found[0].Impact != "critical" || found[0].Target != "input" || found[0].Help == "" {
		t.Errorf("axe finds %+v, want the field without a label", found)
	}
	noComplaints(t, p) // axe-core does not do what the policy forbids
}

func complains(t *testing.T, b *browser.Browser) {
	p := b.Person(t)
	at := serve(t, map[string]string{
		"/":        page(`<script>document.title = "ran"</script>`, `<img alt="" src="https://elsewhere.invalid/x.png">`),
		"/loud":    page(`<script src="/loud.js"></script>`, `<p>Loud</p>`),
		"/loud.js": `console.error("so", {loud: 1}); console.log("quiet"); throw new Error("thrown")`,
	})
	p.Open(at)
	if got := browser.Eval[string](p, "document.title"); got != "A page" {
		t.Errorf("the inline script ran: %q", got)
	}
	wantComplaints(t, p, "csp: kInlineViolation, against script-src-elem", "csp: kURLViolation, against img-src https://elsewhere.invalid/x.png", "log: ")
	p.Open(at + "/loud")
	wantComplaints(t, p, "console: so Object", "exception: Uncaught Error: thrown")
	if strings.Contains(strings.Join(p.Complaints(), "\n"), "quiet") {
		t.Errorf("what is no error is complained of: %q", p.Complaints())
	}
}

func wantComplaints(t *testing.T, p *browser.Page, beginnings ...string) {
	t.Helper()
	got := p.Complaints()
	for _, want := range beginnings {
		if !slices.ContainsFunc(got, func(c string) bool { return strings.HasPrefix(c, want) }) {
			t.Errorf("no complaint begins with %q; there are %q", want, got)
		}
	}
}

func refusedPage(t *testing.T, b *browser.Browser) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/page" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusConflict)
		io.WriteString(w, page("", "It has ended."))
	}))
	t.Cleanup(server.Close)
	p := b.Person(t)
	p.Open(server.URL + "/page")
	p.WaitForText("main", "It has ended.")
	browser.Eval[bool](p, `fetch("/favicon.ico").then(() => true)`)
	noComplaints(t, p)
	browser.Eval[bool](p, `fetch("/nothing").then(() => true)`)
	wantComplaints(t, p, "log: Failed to load resource")
}

func colours(t *testing.T, b *browser.Browser) {
	p := b.Person(t)
	p.Open(serve(t, map[string]string{
		"/":          page(`<link rel="stylesheet" href="/style.css">`, "Colours"),
		"/style.css": `:root { background: white } @media (prefers-color-scheme: dark) { :root { background: black; color: white } }`,
	}))
	p.Scheme("light")
	light := screenshot(t, p)
	p.Scheme("dark")
	dark := screenshot(t, p)
	p.Scheme("light")
	if bytes.Equal(light, dark) {
		t.Error("dark and light are the same picture")
	}
	if !bytes.Equal(light, screenshot(t, p)) {
		t.Error("light is not the same picture twice")
	}
	noComplaints(t, p)
}

// screenshot is the picture that the page writes, in a folder that is not there before.
func screenshot(t *testing.T, p *browser.Page) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new", "page.png")
	p.Screenshot(path)
	picture, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

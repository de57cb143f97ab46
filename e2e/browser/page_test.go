package browser_test

import (
	"bytes"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.org/keyserver/e2e/browser"
)

func sizes(t *testing.T, b *browser.Browser) {
	p := b.Person(t)
	at := serve(t, map[string]string{
		"/":     page("", strings.Repeat("<p>A line</p>", 100)),
		"/wide": `<!doctype html><title>No viewport</title><p>A line</p>`,
	})
	for _, size := range [][2]int{{390, 844}, {1280, 800}} {
		p.Size(size[0], size[1])
		p.Open(at)
		if got := browser.Eval[int](p, "innerWidth"); got != size[0] {
			t.Errorf("the page is %d wide, want %d", got, size[0])
		}
		picture, err := png.DecodeConfig(bytes.NewReader(screenshot(t, p)))
		if long := browser.Eval[int](p, "document.documentElement.scrollHeight"); err != nil || picture.Width != size[0] || picture.Height != long || long <= size[1] {
			t.Errorf("the screenshot is %dx%d of a page %d long (%v)", picture.Width, picture.Height, long, err)
		}
	}
	p.Size(390, 844)
	p.Open(at + "/wide")
	if got := browser.Eval[int](p, "innerWidth"); got <= 390 {
		t.Errorf("a page that says nothing of a phone is %d wide on one", got)
	}
}

func noScript(t *testing.T, b *browser.Browser) {
	p := b.Person(t)
	at := serve(t, map[string]string{
		"/":         page(`<script src="/title.js" defer></script>`, `<form method="post" action="/hello"><label>Name <input name="name" value="old"></label> <button>Go on</button></form>`),
		"/title.js": `document.querySelector("h1").textContent = "ran"`,
		"/hello":    page("", "Hello {name}"),
	})
	p.Open(at)
	p.WaitForText("h1", "ran")
	p.Script(false)
	p.Open(at)
	if got := p.Text("h1"); got != "A page" {
		t.Errorf("with script off the heading is %q", got)
	}
	p.Fill("input", "Zoë “x” ☃")
	p.Click("button")
	p.WaitForText("main", "Hello Zoë “x” ☃")
	p.Script(true)
	p.Open(at)
	p.WaitForText("h1", "ran")
	noComplaints(t, p)
}

func cookies(t *testing.T, b *browser.Browser) {
	// A cookie like that of a session: only over TLS or, as here, on loopback.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		said := "nobody"
		if c, err := r.Cookie("__Host-name"); err == nil {
			said = c.Value
		}
		if name := r.FormValue("name"); name != "" {
			http.SetCookie(w, &http.Cookie{Name: "__Host-name", Value: name, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
		}
		w.Write([]byte(page("", "You are "+said)))
	}))
	t.Cleanup(server.Close)
	says := func(p *browser.Page, want string) {
		t.Helper()
		p.Open(server.URL)
		if got := p.Text("main"); !strings.Contains(got, "You are "+want) {
			t.Errorf("the page says %q, want %s", got, want)
		}
	}
	alice, bob := b.Person(t), b.Person(t)
	alice.Open(server.URL + "/?name=alice")
	says(alice, "alice")
	says(bob, "nobody")
	bob.Open(server.URL + "/?name=bob")
	says(bob, "bob")
	says(alice, "alice")
	says(alice.Tab(), "alice")
	says(b.Person(t), "nobody")
}

func waits(t *testing.T, b *browser.Browser) {
	p := b.Person(t)
	at := serve(t, map[string]string{
		"/": page(`<script src="/late.js" defer></script>`, `<p id="hidden" hidden>Hidden</p><label>Kind <select name="kind"><option>one</option><option>two</option></select></label>`+
			`<label>Name <input name="name" value="old"></label><a href="/next" hidden>Next</a><output></output>`),
		"/late.js": `const next = document.querySelector("a")
			setTimeout(() => { next.hidden = false }, 200)
			for (const field of ["select", "input"]) document.querySelector(field).addEventListener("input", e => { document.querySelector("output").textContent = "got [" + e.target.value + "]" })`,
		"/next": page("", `<p>Arrived</p>`),
	})
	p.Open(at + "/")
	p.Fill("select", "two")
	p.WaitForText("output", "got [two]")
	p.Fill("input", "new")
	p.WaitForText("output", "got [new]")
	p.Fill("input", "")
	p.WaitForText("output", "got []")
	p.Click("a")
	p.WaitForText("p", "Arrived")
	if got := p.Location(); got != at+"/next" {
		t.Errorf("the address is %s", got)
	}
	p.Back()
	p.WaitFor("select")
	if got := p.Location(); got != at+"/" {
		t.Errorf("the address after going back is %s", got)
	}
	p.Reload()
	p.DoubleClick("a")
	p.WaitForText("p", "Arrived")
	noComplaints(t, p)
}

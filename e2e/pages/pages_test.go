package pages_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/api"
)

// One site serves all: starting it takes longer than most of what is done there.
func TestPeopleUseThePages(t *testing.T) {
	s := newSite(t)
	if err := s.World(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		test func(*testing.T, *site)
	}{
		{"every page is fit for everybody, in both themes", everyPage},
		{"two approvers release an operation, each seeing the other's step", twoApprovers},
		{"what is new appears in the queue by itself, and goes", liveQueue},
		{"reject, withdraw and revoke, while another page is open", endings},
		{"double click, back button and two tabs decide once", twice},
		{"a sign-in that ends in the middle of a decision", signedOutElsewhere},
		{"an approver who is removed while the page is open", removed},
		{"text that wants to be something else", hostile},
		{"forms without script", withoutScript},
		{"other sites cannot frame a page or send a form", otherSites},
		{"an e-mail leads an approver to the page, and decides nothing", told},
		{"an operation is asked for, with a file whose digest is taken in the browser", create},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

func twoApprovers(t *testing.T, s *site) {
	o := s.ask(t, "gateway-prod", "A release for two", "Tests are green.")
	alice, bob := s.person(t, "alice"), s.person(t, "bob")
	alice.open(at(o))
	bob.open(at(o))
	bob.WaitForText(".live-state", "Live")
	alice.Click(button(o, "approve"))
	alice.WaitForText(".said", "You have approved it.")
	alice.WaitForText(".said", "Key gateway-prod needs 1 more approval; bob can give it.")
	bob.WaitForText("#keys", "1 of 2: alice")
	bob.WaitForText("#decide", "the operation is approved")
	bob.Click(button(o, "approve"))
	bob.WaitForText("#decide .state", "approved")
	alice.WaitForText("#keys", "2 of 2: alice and bob")
	alice.WaitForText("#decide .state", "approved")
	if _, err := s.as(t, "dana").PlaceSignOrder(t.Context(), o.ID, rand.Text(), api.NewSignOrder{KeyID: "gateway-prod", Hash: "SHA-256", Digest: digest}); err != nil {
		t.Fatal(err)
	}
	alice.WaitForText("#orders .state", "signed")
	alice.WaitForText("#decide .state", "exhausted")
	alice.well()
	bob.well()
}

func liveQueue(t *testing.T, s *site) {
	alice := s.person(t, "alice")
	alice.open("/approvals")
	alice.WaitForText(".live-state", "Live")
	o := s.ask(t, "gateway-prod", "Appears by itself", "And goes.")
	alice.WaitForText("#queue", "Appears by itself")
	if _, err := s.as(t, "dana").Revoke(t.Context(), o.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	gone := s.ask(t, "gateway-prod", "The next one", "Appears when the other has gone.")
	alice.WaitForText("#queue", "The next one")
	if strings.Contains(alice.Text("#queue"), "Appears by itself") {
		t.Error("what was revoked is still in the queue")
	}
	if _, err := s.as(t, "dana").Revoke(t.Context(), gone.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	alice.well()
}

func endings(t *testing.T, s *site) {
	o := s.ask(t, "gateway-prod", "To be withdrawn and rejected", "Context.")
	alice, bob := s.person(t, "alice"), s.person(t, "bob")
	alice.open(at(o))
	alice.Click(button(o, "approve"))
	alice.WaitFor(button(o, "withdraw"))
	alice.Click(button(o, "withdraw"))
	alice.WaitForText(".said", "You have withdrawn your approval.")
	bob.open(at(o))
	bob.WaitForText(".live-state", "Live")
	alice.Click("#decide details:first-of-type summary")
	alice.Fill(fmt.Sprintf(`form[action="%s/reject"] textarea`, at(o)), "Built from the wrong branch")
	alice.Click(button(o, "reject"))
	alice.WaitForText(".said", "The operation is rejected.")
	bob.WaitForText("#decide", "Built from the wrong branch")
	bob.WaitForText("#decide .state", "rejected")

	o = s.ask(t, "gateway-prod", "To be revoked", "Context.")
	dana := s.person(t, "dana")
	bob.open(at(o))
	bob.WaitForText(".live-state", "Live")
	dana.open(at(o))
	dana.Click("#decide summary")
	dana.Fill(fmt.Sprintf(`form[action="%s/revoke"] textarea`, at(o)), "Not needed any more")
	dana.Click(button(o, "revoke"))
	dana.WaitForText(".said", "The operation is revoked.")
	bob.WaitForText("#decide", "Not needed any more")
	alice.well()
	bob.well()
	dana.well()
}

func told(t *testing.T, s *site) {
	alice := s.person(t, "alice")
	alice.Click(".bell")
	alice.WaitFor("input[name=mail]")
	alice.Click("input[value=waiting]")
	alice.Fill("input[name=mail]", "alice@example.com")
	alice.Click(`form[action="/notifications"] .primary`)
	alice.WaitForText(".said", "a test message is on its way")
	s.letter(t, "You will be told here")
	o := s.ask(t, "gateway-prod", "Told by e-mail", "Context.")
	text := s.letter(t, "An operation waits for your approval")
	link := regexp.MustCompile(`http://\S+/operations/\S+`).FindString(text)
	if link != s.Server+at(o) || strings.Count(text, "http://") != 2 || strings.Contains(text, "Told by") {
		t.Errorf("the e-mail says %s", text)
	}
	alice.Open(link)
	alice.WaitFor(button(o, "approve")) // which she has to press
	if o = s.look(t, o.ID); len(o.Approvals) != 0 {
		t.Errorf("the link has approved: %+v", o)
	}
	alice.well()
}

// letter waits for an e-mail and returns its text.
func (s *site) letter(t *testing.T, subject string) string {
	t.Helper()
	select {
	case l := <-s.mail.Letters:
		m, err := mail.ReadMessage(strings.NewReader(l.Text))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil || !strings.Contains(m.Header.Get("Subject"), subject) {
			t.Fatalf("e-mail %s (%v)", l.Text, err)
		}
		return string(body)
	case <-t.Context().Done():
	case <-time.After(time.Minute):
	}
	t.Fatal("no e-mail came")
	return ""
}

func twice(t *testing.T, s *site) {
	o := s.ask(t, "gateway-prod", "Clicked twice", "Context.")
	alice := s.person(t, "alice")
	alice.open(at(o))
	tab := &person{alice.Tab(), t, s}
	tab.Script(false) // it hears nothing of what is done elsewhere
	tab.open(at(o))
	alice.DoubleClick(button(o, "approve"))
	alice.WaitForText(".said", "You have approved it.")
	tab.Click(button(o, "approve"))
	tab.WaitFor("#decide .refused")
	alice.Back()
	alice.WaitForText("#keys", "1 of 2: alice")
	if got := approvals(s.look(t, o.ID)); got != "alice" {
		t.Errorf("approved by %q", got)
	}
	alice.well()
}

func signedOutElsewhere(t *testing.T, s *site) {
	o := s.ask(t, "gateway-prod", "Signed out meanwhile", "Context.")
	alice := s.person(t, "alice")
	alice.Script(false) // with it the page would notice by itself
	alice.open(at(o))
	tab := &person{alice.Tab(), t, s}
	tab.open("/approvals")
	tab.Click(".me button")
	tab.WaitForText("h1", "Signed out")
	alice.Click(button(o, "approve"))
	alice.WaitForText("h1", "Your sign-in has ended")
	if got := approvals(s.look(t, o.ID)); got != "" {
		t.Errorf("approved by %q", got)
	}
	alice.Click("main a.primary")
	alice.choose("alice")
	alice.WaitForText("h1", "Signed out meanwhile")
	alice.Click(button(o, "approve"))
	alice.WaitForText(".said", "You have approved it.")
}

func removed(t *testing.T, s *site) {
	o := s.ask(t, "pump-prod", "Carol approves no more", "Context.")
	carol := s.person(t, "carol")
	carol.open("/approvals")
	carol.WaitForText("#queue", "Carol approves no more")
	eve := s.person(t, "bob")
	eve.open(at(o))
	eve.WaitForText(".live-state", "Live")
	if _, err := s.as(t, "adam").DisableSubject(t.Context(), "bob", "left the company"); err != nil {
		t.Fatal(err)
	}
	defer s.enable(t, "bob")
	if _, err := s.as(t, "dana").Revoke(t.Context(), o.ID, "enough"); err != nil { // the page hears of it, and finds out who it is for
		t.Fatal(err)
	}
	eve.WaitForText("h1", "Not allowed")
}

// enable brings a subject back, in an administration session.
func (s *site) enable(t *testing.T, who string) {
	t.Helper()
	carol, adam := s.as(t, "carol"), s.as(t, "adam")
	session, err := carol.OpenSession(t.Context(), api.NewSession{Description: "Bring " + who + " back"})
	if err == nil {
		_, err = adam.AuthoriseSession(t.Context(), session.ID, session.Digest)
	}
	if err == nil {
		_, err = carol.Change(t.Context(), session.ID, "came back", fmt.Sprintf(
			"subjects:\n  - {id: %s, kind: user, name: \"Bob Baker, security lead\", enabled: true, identities: [{issuer: %q, claims: {sub: %s}}]}\n", who, s.Issuer, who))
	}
	if err == nil {
		_, err = carol.CloseSession(t.Context(), session.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// IN-04
func hostile(t *testing.T, s *site) {
	const context = "<img src=x onerror=\"document.title='owned'\">\n\n<script>document.title='owned'</script>\n\n[click me](javascript:document.title='owned')\n\n" +
		"![x](https://evil.example/x.png)\n\n<!-- hidden from the approver -->\n\n[hidden]: https://evil.example \"hidden title\"\n\n&#x202E;&lt;b&gt;\n\n| a | b |\n|---|---|\n\n```\n</code></pre><script>document.title='owned'</script>\n```"
	o := s.ask(t, "gateway-prod", `</title><script>document.title="owned"</script> "quoted" <b>bold</b>`, context)
	alice := s.person(t, "alice")
	alice.open("/approvals")
	alice.WaitForText("#queue", `</title><script>document.title="owned"</script> "quoted" <b>bold</b>`)
	alice.open(at(o))
	shown := alice.Text(".prose")
	for _, text := range []string{`<img src=x onerror=`, `[click me](javascript:`, `![x](https://evil.example/x.png)`, `<!-- hidden from the approver -->`, `"hidden title"`, `&#x202E;&lt;b&gt;`, `</code></pre><script>`} {
		if !strings.Contains(shown, text) {
			t.Errorf("an approver does not see %q in %q", text, shown)
		}
	}
	if html := alice.HTML(); strings.Contains(html, "<img") || strings.Contains(html, "evil.example\"") || strings.Contains(html, "<title>owned") {
		t.Error("the text has become something else")
	}
	if _, err := s.as(t, "dana").Revoke(t.Context(), o.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	alice.well()
}

func withoutScript(t *testing.T, s *site) {
	o := s.ask(t, "gateway-prod", "Without script", "Context.")
	bob := s.person(t, "bob")
	bob.Script(false)
	bob.open("/approvals")
	bob.Click(fmt.Sprintf(`a[href="%s"]`, at(o)))
	bob.WaitForText("h1", "Without script")
	bob.Click(button(o, "approve"))
	bob.WaitForText(".said", "You have approved it.")
	bob.Click("#decide details:first-of-type summary")
	bob.Fill(fmt.Sprintf(`form[action="%s/reject"] textarea`, at(o)), "Thought again")
	bob.Click(button(o, "reject"))
	bob.WaitForText(".said", "The operation is rejected.")
	bob.Click(".me button")
	bob.WaitForText("h1", "Signed out")
}

func otherSites(t *testing.T, s *site) {
	o := s.ask(t, "gateway-prod", "Wanted by another site", "Context.")
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `<!doctype html><title>evil</title><iframe src="%[1]s%[2]s" width=600 height=400></iframe>
<form method=post action="%[1]s%[2]s/approve"><input name=digest value="%[3]s"><button>Win a prize</button></form>`, s.Server, at(o), o.Digest)
	}))
	defer evil.Close()
	alice := s.person(t, "alice")
	alice.Open(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)) // another site, not only another origin
	framed := false
	for _, complaint := range alice.Complaints() {
		framed = framed || strings.Contains(complaint, "frame-ancestors")
	}
	alice.Click("button")
	alice.WaitFor("h1")
	if title := alice.Text("h1"); title != "Your sign-in has ended" && title != "Not allowed" { // the cookie does not come along
		t.Errorf("the form is answered with %q", title)
	}
	for _, complaint := range alice.Complaints() {
		framed = framed || strings.Contains(complaint, "frame-ancestors")
	}
	if !framed {
		t.Errorf("the frame was not refused: %v", alice.Complaints())
	}
	if got := approvals(s.look(t, o.ID)); got != "" {
		t.Errorf("approved by %q", got)
	}
}

func create(t *testing.T, s *site) {
	dana := s.person(t, "dana")
	dana.open("/operations/new?key=pump-prod")
	dana.Fill("input[name=description]", "Made in the browser")
	dana.Fill("textarea[name=context]", "## Why\n\n- it is **tested**")
	dropFile(dana)
	dana.WaitForText("[data-drop-state]", "The digest of hello.bin was taken.")
	dana.Click("button[value=preview]")
	dana.WaitForText(".preview", "Made in the browser")
	dana.WaitForText(".preview", digest)
	dana.WaitForText(".preview", "Key pump-prod needs 1 more approval")
	dana.DoubleClick("button[value=create]")
	dana.WaitForText(".said", "The operation has been created.")
	dana.WaitForText("h1", "Made in the browser")
	id := dana.Location()
	id = id[strings.LastIndex(id, "/")+1:]
	id, _, _ = strings.Cut(id, "?")
	if o := s.look(t, id); len(o.Artifacts) != 1 || o.Artifacts[0].Digest != digest || o.Artifacts[0].Size != 5 {
		t.Errorf("its artifacts are %+v", o.Artifacts)
	}
	dana.well()
}

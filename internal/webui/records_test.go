package webui

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/httpapi"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/limits"
	"example.org/keyserver/internal/testkit"
	"example.org/keyserver/internal/verify"
)

// reader looks at pages as people who are signed in.
type reader struct {
	*testkit.Kit
	*server
}

func newReader(t *testing.T, o testkit.Options) *reader {
	t.Helper()
	k := testkit.NewWith(t, o)
	key, err := audit.NewVerifier(k.Keyserver.LogKey())
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Options{
		Keyserver: k.Keyserver, Auth: identity.New(identity.Options{Now: k.Clock.Now, Development: true}), Secret: make([]byte, 32), Log: slog.New(slog.DiscardHandler),
		Now: k.Clock.Now, NewRequestID: func() string { return "0197e9a0-0000-7000-8000-000000000000" }, Translate: httpapi.Translate, Rate: limits.Rate{PerSecond: 1e6, Burst: 1e6},
		Idle: time.Hour, Absolute: 8 * time.Hour, DecisionAge: 15 * time.Minute,
		Verify: func(_ context.Context, export io.Reader, progress func(int64)) error {
			_, err := verify.Export(export, key, verify.Options{Progress: progress})
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &reader{k, h.(*server)}
}

// ask sends a request as somebody who has just signed in, with a form if it is no nil.
func (r *reader) ask(who law.SubjectID, path string, form url.Values) *httptest.ResponseRecorder {
	r.Helper()
	now := r.Clock.Now()
	i := signIn{ID: "sign-in", Who: identity.SignedIn{Issuer: r.IdP.URL, Sub: string(who), At: now, Told: true}, Began: now.UnixMilli(), Seen: now.UnixMilli()}
	sealed, err := r.sealer.seal(signInCookie, i)
	if err != nil {
		r.Fatal(err)
	}
	method, body := http.MethodGet, ""
	if form != nil {
		form.Set("token", r.sealer.token(i.ID, path))
		method, body = http.MethodPost, form.Encode()
	}
	q := httptest.NewRequest(method, "http://keyserver.test"+path, strings.NewReader(body))
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	q.AddCookie(&http.Cookie{Name: signInCookie, Value: sealed})
	w := &stubborn{httptest.NewRecorder()}
	r.server.ServeHTTP(w, q)
	return w.ResponseRecorder
}

// stubborn is a connection that knows of deadlines and keeps none.
type stubborn struct{ *httptest.ResponseRecorder }

func (*stubborn) SetWriteDeadline(time.Time) error { return nil }

// shows wants a page with all of the texts.
func (r *reader) shows(who law.SubjectID, path string, wants ...string) string {
	r.Helper()
	a := r.ask(who, path, nil)
	return r.has(a, http.StatusOK, string(who)+" at "+path, wants...)
}

func (r *reader) has(a *httptest.ResponseRecorder, status int, what string, wants ...string) string {
	r.Helper()
	if a.Code != status {
		r.Fatalf("%s: status %d: %s", what, a.Code, a.Body)
	}
	for _, want := range wants {
		if !strings.Contains(a.Body.String(), want) {
			r.Errorf("%s: there is no %q in\n%s", what, want, a.Body)
		}
	}
	return a.Body.String()
}

func TestKeysAreShownToThoseForWhomTheyExist(t *testing.T) {
	r := newReader(t, testkit.Options{})
	r.shows("ada", "/keys", `href="/keys/fw-other"`, "2 approvals", "sessions only")
	if page := r.shows("olga", "/keys", `href="/keys/fw-prod"`); strings.Contains(page, "fw-other") {
		t.Error("olga sees a key that none of her roles covers")
	}
	r.has(r.ask("olga", "/keys/fw-other", nil), http.StatusNotFound, "a hidden key", "There is no such key.")
	r.shows("eve", "/keys", "No role of yours covers a key.")

	o := r.Create(testkit.Ask("fw-one"))
	r.shows("ada", "/keys/fw-one", "Uses by day", "alice, bob, dave and peter", "Disable in an emergency", string(o.ID))
	if page := r.shows("olga", "/keys/fw-one", "You are an orderer with this key", string(o.ID)); strings.Contains(page, "dave") || strings.Contains(page, "Disable in") {
		t.Error("olga is told who approves, or offered what only an administrator does")
	}
	a := r.ask("olga", "/keys/fw-one/public.pem", nil)
	k, _ := must[law.Facts](t)(r.Keyserver.Facts(t.Context())).Key("fw-one")
	if block, rest := pem.Decode(a.Body.Bytes()); block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 || !bytes.Equal(block.Bytes, k.PublicKey) {
		t.Errorf("the public key is %s", a.Body)
	}
}

func TestAKeyIsDisabledOnItsPage(t *testing.T) {
	r := newReader(t, testkit.Options{})
	r.has(r.ask("olga", "/keys/fw-dev/disable", url.Values{"reason": {"lost"}}), http.StatusForbidden, "not an administrator", "A key is disabled by an administrator.")
	r.has(r.ask("ada", "/keys/fw-dev/disable", url.Values{"reason": {""}}), http.StatusUnprocessableEntity, "no reason", `role="alert"`)
	a := r.ask("ada", "/keys/fw-dev/disable", url.Values{"reason": {"lost"}})
	if to := a.Header().Get("Location"); a.Code != http.StatusSeeOther || to != "/keys/fw-dev?did=disabled" {
		t.Fatalf("status %d, to %q", a.Code, to)
	}
	if page := r.shows("ada", "/keys/fw-dev?did=disabled", "The key is disabled."); strings.Contains(page, "/disable\"") {
		t.Error("what is disabled is offered to be disabled")
	}
}

func TestCertificatesAreShownAndRevoked(t *testing.T) {
	r := newReader(t, testkit.Options{World: testkit.Hierarchy})
	r.Certify("root")
	one := r.Certify("fw-dev")
	at := "/certificates/" + string(one.ID)
	r.shows("ada", "/keys", `href="`+at+`"`)
	r.shows("olga", "/keys/fw-dev", at+"/chain.pem", "CN=root")
	r.shows("olga", "/certificates?key=fw-dev", at, "issued")
	page := r.shows("olga", at, one.Serial, "digitalSignature", "codeSigning", "not a CA", "CN=root")
	if strings.Contains(page, "/revoke\"") {
		t.Error("olga is offered to revoke a certificate")
	}
	if a := r.ask("olga", at+"/chain.pem", nil); a.Body.String() != one.PEM() {
		t.Errorf("the chain is %s", a.Body)
	}
	r.has(r.ask("oscar", at, nil), http.StatusNotFound, "a hidden certificate")
	r.shows("ada", at, "keyCompromise: somebody else may have the private key")
	r.has(r.ask("ada", at+"/revoke", url.Values{"code": {"certificateHold"}, "reason": {"lost"}}), http.StatusUnprocessableEntity, "no code", "is unknown", ">lost</textarea>")
	if a := r.ask("ada", at+"/revoke", url.Values{"code": {"keyCompromise"}, "reason": {"lost"}}); a.Code != http.StatusSeeOther {
		t.Fatalf("status %d: %s", a.Code, a.Body)
	}
	r.shows("ada", at+"?did=revoked", "The certificate is revoked.", "keyCompromise", "state-revoked")
}

func TestTheAuditLogIsReadByThoseWhoMay(t *testing.T) {
	r := newReader(t, testkit.Options{})
	o := r.Create(testkit.Ask("fw-one"))
	r.Approve(o, "alice")
	story := "/audit?operation=" + string(o.ID)
	for _, path := range []string{"/audit", "/audit/0", "/audit/99999", "/audit/export.csv", "/audit/export.jsonl"} {
		r.has(r.ask("olga", path, nil), http.StatusForbidden, path, "The whole audit log is for auditors and administrators")
	}
	r.has(r.ask("olga", "/audit/verify", url.Values{}), http.StatusForbidden, "verify", "The whole audit log is for auditors")
	page := r.shows("olga", story, "Operation created", "Operation became approved", "alice")
	if strings.Index(page, "Operation created") > strings.Index(page, "Operation became approved") {
		t.Error("the story does not begin with its beginning")
	}
	r.has(r.ask("oscar", story, nil), http.StatusNotFound, "a hidden story")
	page = r.shows("audrey", "/audit", "server started", "Verify now", "operation became approved")
	if strings.Index(page, "<th scope=\"row\" class=\"hue-plain\">operation created") < strings.Index(page, "operation became approved</th>") {
		t.Error("the list does not begin with the newest")
	}
	r.has(r.ask("audrey", "/audit/99999", nil), http.StatusNotFound, "no entry", "The audit log has no such entry.")
	r.has(r.ask("audrey", "/audit/first", nil), http.StatusBadRequest, "no number")
	created := r.EventsOf(o.ID, audit.OperationCreated)[0]
	entry := "/audit/" + strconv.FormatInt(created.Index, 10)
	for _, who := range []law.SubjectID{"audrey", "olga"} {
		r.shows(who, entry, "Leaf hash", "newest checkpoint", `&#34;type&#34;: &#34;operation-created&#34;`)
	}
	r.has(r.ask("oscar", entry, nil), http.StatusForbidden, "a hidden entry")
}

func TestEveryEventIsOnOnePageOfTheList(t *testing.T) {
	r := newReader(t, testkit.Options{})
	for range listed {
		r.Create(testkit.Ask("fw-one"))
	}
	size, seen := r.LogSize(), 0
	for at := "/audit"; at != ""; {
		page := r.shows("audrey", at)
		seen += strings.Count(page, `<td class="num"><a href="/audit/`)
		_, rest, _ := strings.Cut(page, `<nav class="pages"`)
		at = ""
		if i := strings.Index(rest, `href="/audit?cursor=`); i >= 0 {
			at, _, _ = strings.Cut(rest[i+len(`href="`):], `"`)
		}
	}
	if int64(seen) != size {
		t.Errorf("%d of %d events are on the pages", seen, size)
	}
}

func TestTheAuditLogIsVerifiedAndExported(t *testing.T) {
	r := newReader(t, testkit.Options{})
	ask := testkit.Ask("fw-dev")
	r.Create(ask)
	page := r.has(r.ask("audrey", "/audit/verify", url.Values{}), http.StatusOK, "verify", "The audit log is intact", "</html>")
	if strings.Contains(page, verifyMarker) {
		t.Error("the marker is sent")
	}
	a := r.ask("audrey", "/audit/export.jsonl", nil)
	key, err := audit.NewVerifier(r.Keyserver.LogKey())
	if err != nil {
		t.Fatal(err)
	}
	report, err := verify.Export(a.Body, key, verify.Options{})
	if err != nil || report.Checkpoint.Size != r.LogSize() {
		t.Errorf("the export says %+v, %v", report, err)
	}
	a = r.ask("audrey", "/audit/export.csv", nil)
	rows, err := csv.NewReader(a.Body).ReadAll()
	if err != nil || int64(len(rows)) != 1+r.LogSize() || rows[0][0] != "index" {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestAFaultInTheLogIsSaidOnThePage(t *testing.T) {
	r := newReader(t, testkit.Options{})
	r.Verify = func(_ context.Context, export io.Reader, _ func(int64)) error {
		return &audit.Tampered{Index: 3, What: "it is <b>not</b> what it was"}
	}
	r.has(r.ask("audrey", "/audit/verify", url.Values{}), http.StatusOK, "verify", "The audit log does not verify", "&lt;b&gt;not", "</html>")
}

func TestAPanicOfAnExportIsSaidOnThePage(t *testing.T) {
	r := newReader(t, testkit.Options{})
	var log bytes.Buffer
	r.server.Log = slog.New(slog.NewTextHandler(&log, nil))
	c := &call{route: &route{pattern: "POST /audit/verify"}}
	for name, export := range map[string]func(io.Writer) error{
		"before the first byte": func(io.Writer) error { panic("of the test") },
		"in the middle":         func(w io.Writer) error { fmt.Fprint(w, "begun"); panic("of the test") },
	} {
		log.Reset()
		running := r.runExport(c, export)
		begun := <-running.begun
		if _, err := io.ReadAll(running); !errors.Is(err, errFault) {
			t.Errorf("%s: the reader gets %v", name, err)
		}
		if err := <-running.ended; !errors.Is(err, errFault) || (begun == nil) != (name == "in the middle") {
			t.Errorf("%s: the export begins with %v and ends with %v", name, begun, err)
		}
		if said := log.String(); !strings.Contains(said, "of the test") || !strings.Contains(said, "/audit/verify") {
			t.Errorf("%s: the log says %s", name, said)
		}
	}
	if said := string(r.brokenOff(c, errFault)); !strings.Contains(said, "broken off, and says nothing of the audit log") {
		t.Errorf("the page says %s", said)
	}
}

func TestNoCellOfATableIsAFormula(t *testing.T) {
	for cell, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@sum": "'@sum", "\t=1": "'\t=1", "": "", "a=1": "a=1", "1": "1", "'=": "'=",
	} {
		if got := inert(cell); got != want {
			t.Errorf("%q becomes %q, not %q", cell, got, want)
		}
	}
}

func TestAnExportIsTakenToPiecesHoweverItComes(t *testing.T) {
	const text = "one\ntwo\n\norigin\n2\nroot\n\n— signature\n"
	for size := 1; size <= len(text); size++ {
		var leaves []string
		e := &exportReader{leaf: func(leaf []byte) error { leaves = append(leaves, string(leaf)); return nil }}
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := e.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if strings.Join(leaves, " ") != "one two" || e.leaves != 2 || string(e.checkpoint) != "origin\n2\nroot\n\n— signature\n" {
			t.Errorf("in pieces of %d: %q, %q", size, leaves, e.checkpoint)
		}
	}
}

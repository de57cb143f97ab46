package httpapi_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/httpapi"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// serve puts the kit's keyserver behind a server as the program makes it, with other timeouts.
func serve(k *testkit.Kit, t *tls.Config, change func(*http.Server)) *httptest.Server {
	k.Helper()
	log := slog.New(slog.DiscardHandler)
	handler, err := httpapi.New(httpapi.Options{
		Keyserver: k.Keyserver, Log: log, Now: k.Clock.Now, Mode: "development", Software: "test", Limits: httpapi.Limits{PerSecond: 1e6, Burst: 1e6},
		Auth:         identity.New(identity.Options{Now: k.Clock.Now, HTTP: k.IdP.Client(), Development: true}),
		NewRequestID: func() string { return uuid.Must(uuid.NewV7()).String() },
	})
	if err != nil {
		k.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config = httpapi.NewServer(handler, t, log)
	change(server.Config)
	if t == nil {
		server.Start()
	} else {
		server.EnableHTTP2 = true
		server.StartTLS()
	}
	k.Cleanup(server.Close)
	return server
}

// IN-06: whoever announces a body and does not send it is cut off, also where nobody wants the body.
func TestIN06_BodyThatNeverComesIsNotWaitedFor(t *testing.T) {
	k := testkit.New(t)
	server := serve(k, nil, func(s *http.Server) { s.ReadTimeout = 100 * time.Millisecond })
	for _, path := range []string{"/nothing", "/api/health", "/api/operations/" + exampleID + "/wait", "/api/operations"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: k\r\nContent-Length: 100\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		late := time.AfterFunc(10*time.Second, func() { conn.Close() })
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("POST %s: the server holds the connection: %v", path, err)
		}
		late.Stop()
	}
}

// IN-06: one who waits for everything takes nothing from the others, nor from what he does besides.
func TestIN06_WaitsOfOneSubjectAreBounded(t *testing.T) {
	k := testkit.New(t)
	const most = 100
	o := k.Create(testkit.Ask("fw-prod"))
	path := "/api/operations/" + string(o.ID)
	wait := func(ms int) string { return fmt.Sprintf("%s/wait?revision=%d&waitms=%d", path, o.Revision, ms) }
	var all sync.WaitGroup
	for range most {
		all.Go(func() {
			answer, p := send(k, "olga", "GET", wait(api.MaxWait), "")
			for answer.StatusCode == http.StatusTooManyRequests { // one of those below was there
				answer, p = send(k, "olga", "GET", wait(api.MaxWait), "")
			}
			if answer.StatusCode != http.StatusOK {
				t.Errorf("a wait is refused: %+v", p)
			}
		})
	}
	for { // until all of them are there
		answer, p := send(k, "olga", "GET", wait(0), "")
		if answer.StatusCode == http.StatusOK {
			continue
		}
		expect(t, "one wait more", answer, p, api.TooMany)
		break
	}
	if answer, p := send(k, "alice", "GET", wait(0), ""); answer.StatusCode != http.StatusOK {
		t.Errorf("another subject's wait is refused: %+v", p)
	}
	if answer, p := send(k, "olga", "GET", api.PathWhoAmI, ""); answer.StatusCode != http.StatusOK {
		t.Errorf("another request is refused: %+v", p)
	}
	if answer, p := send(k, "olga", "POST", path+"/revocation", `{"reason":"enough"}`); answer.StatusCode != http.StatusOK {
		t.Errorf("revoking is refused: %+v", p)
	}
	all.Wait() // the operation has changed
	if answer, p := send(k, "olga", "GET", wait(0), ""); answer.StatusCode != http.StatusOK {
		t.Errorf("afterwards a wait is refused: %+v", p)
	}
}

// IN-06: an export reads from the database for as long as its client takes.
func TestIN06_ExportsThatStallLeaveTheDatabaseToOthers(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev")
	ask.Context = strings.Repeat("x", law.MaxContext)
	var all sync.WaitGroup
	for range 200 { // more than there is room for on the way to a client that does not read
		all.Go(func() {
			if _, err := k.CreateAs(k.Caller("olga"), ask); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	export := func(who law.SubjectID) *http.Response {
		r, err := http.NewRequest("GET", k.URL+api.PathExport, nil)
		if err != nil {
			t.Fatal(err)
		}
		return k.Do(who, r)
	}
	first := export("audrey")
	for _, answer := range []*http.Response{first, export("ada"), export("adam")} {
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("an export is refused with %d", answer.StatusCode)
		}
	}
	for range 8 {
		answer := export("audrey")
		expect(t, "one more export", answer, problemOf(t, answer), api.TooMany)
	}
	if answer, p := send(k, "alice", "GET", api.PathWhoAmI, ""); answer.StatusCode != http.StatusOK {
		t.Errorf("another request is refused: %+v", p)
	}
	if err := first.Body.Close(); err != nil {
		t.Fatal(err)
	}
	for answer := export("audrey"); answer.StatusCode != http.StatusOK; answer = export("audrey") { // until the server has noticed
		expect(t, "an export after the first", answer, problemOf(t, answer), api.TooMany)
	}
}

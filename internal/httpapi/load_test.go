package httpapi_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json/v2"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/httpapi"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/limits"
	"example.org/keyserver/internal/testkit"
)

// serve puts the kit's keyserver behind a server as the program makes it, with other timeouts.
func serve(k *testkit.Kit, t *tls.Config, change func(*http.Server)) *httptest.Server {
	k.Helper()
	log := slog.New(slog.DiscardHandler)
	handler, err := httpapi.New(httpapi.Options{
		Keyserver: k.Keyserver, Log: log, Now: k.Clock.Now, Mode: "development", Software: "test", Rate: limits.Rate{PerSecond: 1e6, Burst: 1e6},
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

// AN-04: a header of 1 MB is not read to its end.
func TestAN04_OversizeHeadersAreRefused(t *testing.T) {
	k := testkit.New(t)
	server := serve(k, nil, func(*http.Server) {})
	r, err := http.NewRequest("GET", server.URL+api.PathKeys, nil)
	if err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int]int{9 << 10: http.StatusUnauthorized, 1 << 20: http.StatusRequestHeaderFieldsTooLarge} {
		r.Header.Set("Authorization", "Bearer "+strings.Repeat("x", size))
		answer := k.Do("", r)
		if answer.StatusCode != want {
			t.Errorf("a token of %d bytes: got %d, want %d", size, answer.StatusCode, want)
		}
	}
	if answer := k.Do("olga", r); answer.StatusCode != http.StatusOK {
		t.Errorf("a good token: got %d", answer.StatusCode)
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
	for _, answer := range []*http.Response{first, export("ada")} {
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

// IN-06
func TestIN06_SlowConnectionsAndRapidResetsStopNobodyElse(t *testing.T) {
	k := testkit.New(t)
	const slow = 2000
	plain := serve(k, nil, func(s *http.Server) { s.ReadHeaderTimeout = 3 * time.Second })
	secure := serve(k, &tls.Config{}, func(*http.Server) {})
	before := usage()

	var cut, resets sync.WaitGroup
	dribble := make(chan net.Conn, slow)
	for i := range slow {
		conn, err := net.Dial("tcp", plain.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			dribble <- conn
		}
		cut.Go(func() { _, _ = io.Copy(io.Discard, conn) }) // until the server has had enough
	}
	attack, end := context.WithCancel(k.Context())
	for range 4 {
		resets.Go(func() { rapidReset(attack, t, secure.Listener.Addr().String(), k.Token("eve")) })
	}
	go func() {
		cut.Wait()
		end()
	}()
	go func() { // one letter of a header for one connection after the other
		for {
			select {
			case conn := <-dribble:
				_, _ = io.WriteString(conn, "G")
				dribble <- conn
			case <-attack.Done():
				return
			}
		}
	}()

	peak, requests := before, 0
	for attack.Err() == nil {
		for _, server := range []*httptest.Server{plain, secure} {
			healthy(k, server, fmt.Sprintf("order %d", requests))
			requests++
		}
		peak = peak.with(usage())
	}
	resets.Wait()
	t.Logf("%d requests during the attack; %d MB and %d goroutines more than before", requests, (peak.heap-before.heap)>>20, peak.goroutines-before.goroutines)
	// Two for each connection and one for what reads it here; the streams that the resets may have under way.
	if peak.goroutines-before.goroutines > 4*slow+4*500 {
		t.Errorf("there were %d goroutines, before the attack %d", peak.goroutines, before.goroutines)
	}
	if (peak.heap-before.heap)>>20 > 200 {
		t.Errorf("the heap had %d MB, before the attack %d MB", peak.heap>>20, before.heap>>20)
	}
}

// resources are what an attack may use up.
type resources struct{ heap, goroutines int }

func usage() resources {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return resources{int(m.HeapInuse), runtime.NumGoroutine()}
}

func (r resources) with(other resources) resources {
	return resources{max(r.heap, other.heap), max(r.goroutines, other.goroutines)}
}

// healthy creates an operation and signs under it.
func healthy(k *testkit.Kit, server *httptest.Server, key string) {
	k.Helper()
	post := func(path, body string, into any) {
		k.Helper()
		ctx, cancel := context.WithTimeout(k.Context(), 20*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "POST", server.URL+path, strings.NewReader(body))
		if err != nil {
			k.Fatal(err)
		}
		r.Header.Set("Content-Type", api.MediaJSON)
		r.Header.Set("Authorization", "Bearer "+k.Token("olga"))
		r.Header.Set(api.HeaderIdempotencyKey, strings.ReplaceAll(key, " ", "-"))
		answer, err := server.Client().Do(r)
		if err != nil {
			k.Fatalf("%s during the attack: %v", path, err)
		}
		defer answer.Body.Close()
		if err := json.UnmarshalRead(answer.Body, into); err != nil || answer.StatusCode != http.StatusCreated {
			k.Fatalf("%s during the attack: got %d %v", path, answer.StatusCode, err)
		}
	}
	var o api.Operation
	post(api.PathOperations, operationBody(oneKey), &o)
	var signed api.SignOrder
	post("/api/operations/"+o.ID+"/signorders", `{"keyid":"fw-dev","hash":"SHA-256","digest":"`+digestOf(key)+`"}`, &signed)
	if len(signed.Signature) == 0 {
		k.Fatalf("no signature: %+v", signed)
	}
}

// rapidReset asks for one thing after the other over HTTP/2 and takes each back at once (CVE-2023-44487),
// until the context ends or the server has had enough.
func rapidReset(ctx context.Context, t *testing.T, address, token string) {
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	// RFC 9113 section 4.1: length, type, flags, stream.
	frame := func(to []byte, kind, flags byte, stream uint32, payload []byte) []byte {
		to = append(to, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), kind, flags)
		return append(binary.BigEndian.AppendUint32(to, stream), payload...)
	}
	// RFC 7541: GET and https of the static table, then fields that are not indexed.
	field := func(to []byte, name []byte, value string) []byte {
		to = append(to, name...)
		if n := len(value); n < 127 {
			to = append(to, byte(n))
		} else {
			to = append(to, 127)
			for n -= 127; n >= 128; n >>= 7 {
				to = append(to, byte(n)|128)
			}
			to = append(to, byte(n))
		}
		return append(to, value...)
	}
	headers := []byte{0x82, 0x87}
	headers = field(headers, []byte{0x01}, "keyserver")           // :authority
	headers = field(headers, []byte{0x04}, "/api/operations")     // :path
	headers = field(headers, []byte{0x0f, 0x08}, "Bearer "+token) // authorization
	const (
		headersFrame, resetFrame, settingsFrame = 1, 3, 4
		endStream, endHeaders                   = 1, 4
	)
	cancel := []byte{0, 0, 0, 8}
	first := frame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), settingsFrame, 0, 0, nil)
	if _, err := conn.Write(frame(first, headersFrame, endStream|endHeaders, 1, headers)); err != nil {
		t.Error(err)
		return
	}
	answers := bufio.NewReader(conn)
	for kind := byte(settingsFrame); kind != headersFrame; { // the first request is answered: it is a good one
		var head [9]byte
		if _, err := io.ReadFull(answers, head[:]); err != nil {
			t.Errorf("the first request is not answered: %v", err)
			return
		}
		kind = head[3]
		if _, err := answers.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2])); err != nil {
			t.Error(err)
			return
		}
	}
	go func() { _, _ = io.Copy(io.Discard, answers) }()
	for stream := uint32(3); err == nil && stream < 1<<31; stream += 2 {
		pair := frame(nil, headersFrame, endStream|endHeaders, stream, headers)
		_, err = conn.Write(frame(pair, resetFrame, 0, stream, cancel))
	}
}

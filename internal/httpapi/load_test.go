package httpapi_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/internal/httpapi"
	"example.org/keyserver/internal/identity"
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

package httpapi

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"

	"example.org/keyserver/api"
)

// NewServer returns an HTTP server with bounds on everything that a client could draw out or pile up. A nil
// TLS configuration means plain HTTP, which is for loopback only: the caller sees to that.
func NewServer(h http.Handler, t *tls.Config, log *slog.Logger) *http.Server {
	if t != nil {
		t = t.Clone()
		t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
		t.NextProtos = []string{"h2", "http/1.1"} // also where Serve is given a TLS listener
	}
	return &http.Server{
		Handler:           h,
		TLSConfig:         t,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       20 * time.Second,                              // of the whole request
		WriteTimeout:      api.MaxWait*time.Millisecond + 30*time.Second, // of the whole answer: streams have a bound of their own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          100,
			MaxReceiveBufferPerConnection: 1 << 20,
			MaxReceiveBufferPerStream:     128 << 10,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              30 * time.Second,
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/httpapi"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/store"
)

// drain is how long requests under way may take when the server stops. It is longer than a signature may.
const drain = 30 * time.Second

func (p program) serveCommand(read func() (config.Config, error)) *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Serve the API until SIGTERM or SIGINT", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := read()
			if err != nil {
				return err
			}
			return p.serve(c.Context(), cfg)
		},
	}
}

func (p program) serve(ctx context.Context, cfg config.Config) (err error) {
	log := p.logger(cfg)
	logKey, err := cfg.LogKey.Read()
	if err != nil {
		return fmt.Errorf("log key: %w", err)
	}
	keystores, err := openKeystores(cfg, software.Open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keystores.Close()) }()
	db, err := store.Open(ctx, cfg.Database.SQLite, store.Options{Clock: p.now, Serve: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	k, err := keyserver.New(keyserver.Options{
		DB: db, Keystores: keystores, LogKey: string(logKey), Log: log, Software: version(),
		Limits: keyserver.Limits{PendingOperations: cfg.Limits.PendingOperations},
	})
	if err != nil {
		return err
	}
	if err := k.Start(ctx, true); err != nil {
		return err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	handler, err := httpapi.New(httpapi.Options{
		Keyserver: k, Log: log, Now: p.now, Mode: string(cfg.Mode), Software: version(), Registry: metrics,
		Auth:         identity.New(identity.Options{Now: p.now, Development: cfg.Mode == config.Development}),
		NewRequestID: func() string { return uuid.Must(uuid.NewV7()).String() },
		Limits:       httpapi.Limits{PerSecond: float64(cfg.Limits.RequestsPerMinute) / 60, Burst: cfg.Limits.RequestsPerMinute},
	})
	if err != nil {
		return err
	}
	listeners, err := p.listen(cfg, handler, metrics, log)
	if err != nil {
		return err
	}
	return run(ctx, k, listeners, log)
}

// listener is one server on its socket.
type listener struct {
	name   string
	server *http.Server
	socket net.Listener
}

func (p program) listen(cfg config.Config, api http.Handler, metrics *prometheus.Registry, log *slog.Logger) ([]listener, error) {
	var tlsConfig *tls.Config
	if cfg.TLS.CertificateFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.TLS.CertificateFile, cfg.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the TLS certificate: %w", err)
		}
		tlsConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	socket, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	all := []listener{{"api", httpapi.NewServer(api, tlsConfig, log), socket}}
	if cfg.MetricsListen == "" {
		return all, nil
	}
	socket, err = net.Listen("tcp", cfg.MetricsListen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening for metrics: %w", err), all[0].socket.Close())
	}
	return append(all, listener{"metrics", httpapi.NewServer(httpapi.MetricsHandler(metrics), nil, log), socket}), nil
}

// run serves until the context ends or a listener fails, then lets the requests under way finish.
func run(ctx context.Context, k *keyserver.Keyserver, listeners []listener, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		k.Run(ctx)
	}()
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() {
			log.Info("listening", slog.String("for", l.name), slog.String("address", l.socket.Addr().String()))
			err := error(nil)
			if l.server.TLSConfig != nil {
				err = l.server.ServeTLS(l.socket, "", "")
			} else {
				err = l.server.Serve(l.socket)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serving %s: %w", l.name, err)
			}
		}()
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info("stopping: no new requests, those under way are finished")
	case err = <-failed:
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	for _, l := range listeners {
		err = errors.Join(err, l.server.Shutdown(last))
	}
	stop()
	<-beating
	return err
}

func (p program) logger(cfg config.Config) *slog.Logger {
	log := newLogger(p.stderr, cfg.Log)
	if cfg.Mode == config.Development {
		log = log.With(slog.String("mode", string(cfg.Mode)))
		log.Warn("DEVELOPMENT MODE: anybody on this machine can be anybody; never use keys of value here")
	}
	return log
}

func newLogger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // the configuration was checked
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
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
	"example.org/keyserver/internal/notify"
)

// drain is how long requests under way may take when the server stops. It is longer than a signature may.
const drain = 30 * time.Second

const warning = "DEVELOPMENT MODE: anybody on this machine can be anybody; never use keys of value here"

func (p *program) serveCommand(read func() (config.Config, error)) *cobra.Command {
	return p.command(&cobra.Command{
		Use: "serve", Short: "Serve the API until SIGTERM or SIGINT",
		Long: "serve prints the server's id, its log key and where it listens, and serves the API until SIGTERM or SIGINT.\n" +
			"Then it takes no new requests, finishes those under way and ends with 0; a second signal ends it at once,\n" +
			"which costs attempts at sign orders that are under way, and nothing else.",
	}, func(ctx context.Context) error {
		cfg, err := read()
		if err != nil {
			return err
		}
		return p.serve(ctx, cfg)
	})
}

func (p *program) serve(ctx context.Context, cfg config.Config) (err error) {
	defer func() { err = explained(err) }()
	log := p.logger(cfg)
	logKey, _, err := readLogKey(cfg)
	if err != nil {
		return err
	}
	at, err := location(cfg)
	if err != nil {
		return err
	}
	db, err := p.openDatabase(ctx, at, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	keystores, err := p.openKeystores(cfg, software.Open, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keystores.Close()) }()
	k, err := keyserver.New(keyserver.Options{
		DB: db, Keystores: keystores, LogKey: logKey, Log: log, Software: version(), Mode: lawMode(cfg),
		Limits: keyserver.Limits{PendingOperations: cfg.Limits.PendingOperations}, Notifications: notifications(cfg),
	})
	if err != nil {
		return err
	}
	facts, err := k.Facts(ctx)
	if err != nil {
		return err
	}
	if err := checkIssuers(cfg, facts.Issuers()); err != nil {
		return err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	messages, err := p.sender(cfg, k, metrics, log)
	if err != nil {
		return err
	}
	listeners, err := p.listen(cfg, k, logKey, metrics, log)
	if err != nil {
		return err
	}
	err = k.Start(ctx)
	if err == nil {
		err = p.announce(cfg, k, listeners)
	}
	if err != nil {
		return errors.Join(err, closeSockets(listeners))
	}
	return run(ctx, k, messages, listeners, log)
}

// listener is one server on its socket.
type listener struct {
	name   string
	server *http.Server
	socket net.Listener
}

// listen takes the sockets. Nobody is answered on them yet.
func (p *program) listen(cfg config.Config, k *keyserver.Keyserver, logKey string, metrics *prometheus.Registry, log *slog.Logger) ([]listener, error) {
	auth := identity.New(identity.Options{Now: p.now, Development: cfg.Mode == config.Development})
	api, err := httpapi.New(httpapi.Options{
		Keyserver: k, Log: log, Now: p.now, Mode: string(cfg.Mode), Software: version(), Registry: metrics,
		Auth: auth, NewRequestID: newRequestID, Rate: rate(cfg),
	})
	if err != nil {
		return nil, err
	}
	pages, err := p.pages(cfg, k, auth, logKey, log)
	if err != nil {
		return nil, err
	}
	certificate, err := readTLS(cfg)
	if err != nil {
		return nil, err
	}
	socket, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	all := []listener{{"api", httpapi.NewServer(together(api, pages), certificate, log), socket}}
	if cfg.MetricsListen == "" {
		return all, nil
	}
	socket, err = net.Listen("tcp", cfg.MetricsListen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listening for metrics: %w", err), closeSockets(all))
	}
	return append(all, listener{"metrics", httpapi.NewServer(httpapi.MetricsHandler(metrics), nil, log), socket}), nil
}

func newRequestID() string { return uuid.Must(uuid.NewV7()).String() }

func closeSockets(listeners []listener) error {
	var err error
	for _, l := range listeners {
		err = errors.Join(err, l.socket.Close())
	}
	return err
}

// address is what the listener listens on, as a URL.
func (l listener) address() string {
	scheme := "http"
	if l.server.TLSConfig != nil {
		scheme = "https"
	}
	return scheme + "://" + l.socket.Addr().String()
}

// announce says what an operator needs to know of a server that starts.
func (p *program) announce(cfg config.Config, k *keyserver.Keyserver, listeners []listener) error {
	err := p.printf("keyserver %s, mode %s\n", version(), cfg.Mode)
	if cfg.Mode == config.Development {
		err = errors.Join(err, p.printf("%s\n", warning))
	}
	err = errors.Join(err, p.printf("server    %s\nlog key   %s\n", k.ServerID(), k.LogKey()))
	for _, l := range listeners {
		err = errors.Join(err, p.printf("%-9s %s\n", l.name, l.address()))
	}
	return err
}

// run serves until the context ends or a listener fails, then lets the requests under way finish.
func run(ctx context.Context, k *keyserver.Keyserver, messages *notify.Sender, listeners []listener, log *slog.Logger) error {
	beats, still := context.WithCancel(context.WithoutCancel(ctx))
	var beating sync.WaitGroup
	beating.Go(func() { k.Run(beats) })
	if messages != nil {
		beating.Go(func() { messages.Run(beats) })
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		log.Info("listening", slog.String("for", l.name), slog.String("address", l.address()))
		go func() { failed <- l.serve() }()
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info("stopping: no new requests, those under way are finished")
	case err = <-failed:
	}
	k.Stopping()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	for _, l := range listeners {
		err = errors.Join(err, l.stop(last, log))
	}
	still()
	beating.Wait()
	return err
}

func (l listener) serve() error {
	var err error
	if l.server.TLSConfig != nil {
		err = l.server.ServeTLS(l.socket, "", "")
	} else {
		err = l.server.Serve(l.socket)
	}
	return fmt.Errorf("serving %s: %w", l.name, err)
}

// stop lets the requests under way finish, and cuts off those that take too long.
func (l listener) stop(ctx context.Context, log *slog.Logger) error {
	err := l.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		log.Warn("requests were cut off: they took too long to finish", slog.String("for", l.name))
		err = l.server.Close()
	}
	return err
}

func (p *program) logger(cfg config.Config) *slog.Logger {
	log := newLogger(p.stderr, cfg.Log)
	if cfg.Mode == config.Development {
		log = log.With(slog.String("mode", string(cfg.Mode)))
		log.Warn(warning)
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

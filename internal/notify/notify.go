// Package notify sends the messages of the keyserver: e-mails, and webhooks. What is told to whom is decided elsewhere.
//
// A message says that something happened and where to look. It holds nothing that an orderer has written, and no link
// does more than open a page: nobody decides anything by mail.
package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/keyserver/internal/keyserver"
)

// Options are what messages need. All are required but Mail, Channels, Networks, Roots and Registry.
type Options struct {
	Keyserver *keyserver.Keyserver
	Log       *slog.Logger
	Now       func() time.Time
	URL       string // of the pages, without a slash at its end
	// Mail is how e-mails are sent. Nil: none are.
	Mail *Mail
	// Channels are the webhooks of the server, by name.
	Channels map[string]keyserver.Webhook
	// Networks are those with private addresses that webhooks may be in. None: webhooks are on the Internet.
	Networks []netip.Prefix
	// Roots are the authorities that mail servers and webhooks are checked by. Nil: those of the system.
	Roots *x509.CertPool
	// Registry counts what was sent. Nil: nobody sees it.
	Registry *prometheus.Registry
}

const (
	interval = time.Second      // between two looks at what is due
	slots    = 32               // messages that are being sent at the same time
	patience = 10 * time.Second // that sending one may take; much less than its lease
)

// Sender sends messages.
type Sender struct {
	Options
	web   *http.Client
	count *prometheus.CounterVec

	mu   sync.Mutex
	busy map[string]bool // targets that are being sent to
	sent sync.WaitGroup
}

// New prepares sending.
func New(o Options) (*Sender, error) {
	s := &Sender{Options: o, web: newClient(o.Networks, o.Roots), busy: map[string]bool{}, count: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keyserver_messages_total", Help: "Messages that were tried to be sent, by the way they go and how it went: sent, failed or gone (failed for good).",
	}, []string{"way", "result"})}
	if o.Registry != nil {
		if err := o.Registry.Register(s.count); err != nil {
			return nil, fmt.Errorf("preparing messages: %w", err)
		}
	}
	return s, nil
}

// Run sends what is due until the context ends. What it is just sending then is cut off, and sent again by whoever runs
// next.
func (s *Sender) Run(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	defer s.sent.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.Send(ctx); err != nil && ctx.Err() == nil {
				s.Log.ErrorContext(ctx, "looking for messages to be sent", slog.Any("error", err))
			}
		}
	}
}

// Send begins to send what is due, as far as there is room.
func (s *Sender) Send(ctx context.Context) error {
	s.mu.Lock()
	busy := map[string]bool{}
	for target := range s.busy {
		busy[target] = true
	}
	s.mu.Unlock()
	if len(busy) >= slots {
		return nil
	}
	messages, err := s.Keyserver.TakeMessages(ctx, slots-len(busy), busy)
	if err != nil {
		return err
	}
	for _, m := range messages {
		s.mark(m, true)
		s.sent.Go(func() {
			defer s.mark(m, false)
			s.one(ctx, m)
		})
	}
	return nil
}

// Wait waits until what is being sent was sent, or has failed.
func (s *Sender) Wait() { s.sent.Wait() }

func (s *Sender) mark(m keyserver.Message, busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if busy {
		s.busy[m.Target()] = true
	} else {
		delete(s.busy, m.Target())
	}
}

// fault is why a message was not sent, in words for its recipient, who is told nothing of the network that the server is
// in.
type fault struct {
	why  string
	gone bool // it will never be
	err  error
}

func (f *fault) Error() string { return fmt.Sprintf("%s: %v", f.why, f.err) }
func (f *fault) Unwrap() error { return f.err }

// one sends a message and stores how that went.
func (s *Sender) one(ctx context.Context, m keyserver.Message) {
	limited, cancel := context.WithTimeout(ctx, patience)
	err := s.deliver(limited, m)
	cancel()
	stored, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience) // what was sent is not sent again because the server stops
	defer cancel()
	if err != nil && ctx.Err() != nil { // it is leased still
		return
	}
	ctx = stored
	if err == nil {
		s.count.WithLabelValues(string(m.Way), "sent").Inc()
		if err := s.Keyserver.MessageSent(ctx, m); err != nil {
			s.Log.ErrorContext(ctx, "storing that a message was sent; it will be sent again", slog.String("to", m.Target()), slog.Any("error", err))
		}
		return
	}
	f := &fault{why: "it could not be sent", err: err}
	errors.As(err, &f)
	result := "failed"
	if f.gone {
		result = "gone"
	}
	s.count.WithLabelValues(string(m.Way), result).Inc()
	s.Log.WarnContext(ctx, "a message was not sent", slog.String("to", m.Target()), slog.String("message", m.ID), slog.Any("error", err))
	if err := s.Keyserver.MessageFailed(ctx, m, f.why, f.gone); err != nil {
		s.Log.ErrorContext(ctx, "storing that a message was not sent", slog.String("to", m.Target()), slog.Any("error", err))
	}
}

func (s *Sender) deliver(ctx context.Context, m keyserver.Message) error {
	switch m.Way {
	case keyserver.WayMail:
		if s.Mail == nil {
			return &fault{"this server sends no e-mails", true, errors.New("no mail server is configured")}
		}
		return s.mail(ctx, m)
	case keyserver.WayWebhook:
		return s.post(ctx, m, m.Webhook)
	case keyserver.WayChannel:
		w, known := s.Channels[m.Name]
		if !known {
			return &fault{"there is no such channel", true, errors.New("it is not configured any more")}
		}
		return s.post(ctx, m, w)
	}
	return &fault{"it could not be sent", true, fmt.Errorf("messages are not sent by %q", m.Way)}
}

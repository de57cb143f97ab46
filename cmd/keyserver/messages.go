package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/notify"
)

// notifications are what the server tells people of, nil if it sends no messages.
func notifications(cfg config.Config) *keyserver.Notifications {
	c := cfg.Notifications
	if c == nil {
		return nil
	}
	n := &keyserver.Notifications{
		Reminder: c.Reminder.Duration(), Gather: c.Gather.Duration(), Webhooks: c.PersonalWebhooks, PlainHTTP: cfg.Mode == config.Development,
	}
	if c.Mail != nil {
		n.MailDomains = c.Mail.Domains
	}
	for _, channel := range c.Channels {
		one := keyserver.Channel{Name: channel.Name}
		for _, t := range channel.Tells {
			one.Tells = append(one.Tells, keyserver.Kind(t))
		}
		n.Channels = append(n.Channels, one)
	}
	return n
}

// sender returns what sends the messages, nil if none are sent.
func (p *program) sender(cfg config.Config, k *keyserver.Keyserver, metrics *prometheus.Registry, log *slog.Logger) (*notify.Sender, error) {
	c := cfg.Notifications
	if c == nil {
		return nil, nil
	}
	o := notify.Options{Keyserver: k, Log: log, Now: p.now, URL: strings.TrimSuffix(cfg.URL, "/"), Channels: map[string]keyserver.Webhook{}, Registry: metrics}
	for _, network := range c.AllowNetworks {
		parsed, err := netip.ParsePrefix(network)
		if err != nil {
			return nil, fmt.Errorf("reading allow-networks: %w", err)
		}
		o.Networks = append(o.Networks, parsed)
	}
	for _, channel := range c.Channels {
		w, err := webhook(channel)
		if err == nil {
			err = k.Notifications().CheckChannel(w)
		}
		if err != nil {
			return nil, fmt.Errorf("channel %s: %w", channel.Name, err)
		}
		o.Channels[channel.Name] = w
	}
	if m := c.Mail; m != nil {
		host, port, err := net.SplitHostPort(m.Server)
		if err != nil {
			return nil, fmt.Errorf("reading the name of the mail server: %w", err)
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return nil, fmt.Errorf("reading the port of the mail server: %w", err)
		}
		o.Mail = &notify.Mail{Host: host, Port: number, From: m.From, TLS: notify.TLS(m.TLS), Username: m.Username}
		if m.Password != nil {
			o.Mail.Password = m.Password.Read
		}
	}
	return notify.New(o)
}

// webhook reads where the messages of a channel go.
func webhook(c config.Channel) (keyserver.Webhook, error) {
	url, err := c.URL.Read()
	if err != nil {
		return keyserver.Webhook{}, err
	}
	w := keyserver.Webhook{URL: string(url), Format: keyserver.Format(c.Format)}
	if c.Secret == nil {
		return w, nil
	}
	secret, err := c.Secret.Read()
	w.Secret = string(secret)
	return w, err
}

// checkMessages says which of the secrets of messages cannot be read or used.
func checkMessages(cfg config.Config) []error {
	var problems []error
	if cfg.Notifications == nil {
		return nil
	}
	if m := cfg.Notifications.Mail; m != nil && m.Password != nil {
		value, err := m.Password.Read()
		clear(value)
		if err != nil {
			problems = append(problems, fmt.Errorf("notifications: mail: password: %w", err))
		}
	}
	for _, channel := range cfg.Notifications.Channels {
		w, err := webhook(channel)
		if err == nil {
			err = notifications(cfg).CheckChannel(w)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("notifications: channel %s: %w", channel.Name, err))
		}
	}
	return problems
}

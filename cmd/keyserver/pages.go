package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/httpapi"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/limits"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/webui"
)

// pages returns the handler of the pages, nil if none are configured. All servers of one database have the log key,
// and nobody else has it: what seals the cookies is derived from it.
func (p *program) pages(cfg config.Config, k *keyserver.Keyserver, auth *identity.Authenticator, logKey string, log *slog.Logger) (http.Handler, error) {
	if cfg.Web == nil {
		return nil, nil
	}
	secret, err := hkdf.Key(sha256.New, []byte(logKey), nil, "keyserver pages, version 1", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving the secret of the pages: %w", err)
	}
	o := identity.SignInOptions{Issuer: cfg.Web.Issuer, ClientID: cfg.Web.ClientID, RedirectURL: cfg.RedirectURL()}
	if cfg.Web.ClientSecret != nil {
		o.ClientSecret = cfg.Web.ClientSecret.Read
	}
	key, err := audit.NewVerifier(k.LogKey())
	if err != nil {
		return nil, err
	}
	return webui.New(webui.Options{
		Keyserver: k, Auth: auth, SignIns: auth.NewSignIns(o), Secret: secret, Log: log, Now: p.now, NewRequestID: newRequestID, Translate: httpapi.Translate,
		Development: cfg.Mode == config.Development, Rate: rate(cfg), LinkHosts: cfg.Web.LinkHosts,
		Verify: func(_ context.Context, export io.Reader, progress func(int64)) error {
			_, err := verify.Export(export, key, verify.Options{Progress: progress})
			return err
		},
		Idle: cfg.Web.Idle.Duration(), Absolute: cfg.Web.Absolute.Duration(), DecisionAge: cfg.Web.DecisionAge.Duration(),
	})
}

func rate(cfg config.Config) limits.Rate {
	return limits.Rate{PerSecond: float64(cfg.Limits.RequestsPerMinute) / 60, Burst: cfg.Limits.RequestsPerMinute}
}

// together serves the API under its paths, and the pages under everything else.
func together(api, pages http.Handler) http.Handler {
	if pages == nil {
		return api
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if httpapi.Serves(r.URL.Path) {
			api.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

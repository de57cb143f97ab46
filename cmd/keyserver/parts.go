package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// openDatabase opens a database that has a configuration. Without one, init was cut off.
func (p *program) openDatabase(ctx context.Context, at store.Location, serve bool) (*store.DB, error) {
	db, err := store.Open(ctx, at, store.Options{Clock: p.now, Serve: serve})
	if err != nil {
		return nil, err
	}
	if db.Head().Size() == 0 {
		return nil, errors.Join(fmt.Errorf("opening database %s: %w", at, store.ErrNotInitialised), db.Close())
	}
	return db, nil
}

// openKeystores opens the configured keystores with how: software.Open, or something that creates one.
func openKeystores(c config.Config, how func(path string, passphrase []byte) (*software.Keystore, error)) (*keystore.Set, error) {
	var members []keystore.Member
	closeAll := func(err error) error {
		for _, m := range members {
			err = errors.Join(err, m.Keystore.Close())
		}
		return err
	}
	for _, k := range c.Keystores {
		passphrase, err := readPassphrase(k)
		if err != nil {
			return nil, closeAll(err)
		}
		open, err := how(k.Software.Directory, passphrase)
		clear(passphrase)
		if err != nil {
			return nil, closeAll(fmt.Errorf("keystore %s: %w", k.Name, err))
		}
		limits := keystore.DefaultLimits()
		limits.Timeout = c.Limits.KeystoreTimeout.Duration()
		limits.Concurrent = c.Limits.KeystoreConcurrency
		members = append(members, keystore.Member{Name: k.Name, Keystore: open, Limits: limits})
	}
	set, err := keystore.NewSet(members...)
	if err != nil {
		return nil, closeAll(err)
	}
	return set, nil
}

// createOrOpen makes the keystore if there is none in its directory yet.
func createOrOpen(path string, passphrase []byte) (*software.Keystore, error) {
	open, err := software.Open(path, passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		return software.Create(path, passphrase, software.Options{})
	}
	return open, err
}

func readPassphrase(k config.Keystore) ([]byte, error) {
	passphrase, err := k.Software.Passphrase.Read()
	if err != nil {
		return nil, fmt.Errorf("keystore %s: passphrase: %w", k.Name, err)
	}
	return passphrase, nil
}

// checkPassphrases says which passphrases cannot be read.
func checkPassphrases(c config.Config) []error {
	var problems []error
	for _, k := range c.Keystores {
		passphrase, err := readPassphrase(k)
		clear(passphrase)
		if err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// readLogKey reads the secret that signs checkpoints.
func readLogKey(c config.Config) (string, audit.Signer, error) {
	text, err := c.LogKey.Read()
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("log key: %w; keyserver init makes it, with the database", err)
	}
	if err != nil {
		return "", nil, fmt.Errorf("log key: %w", err)
	}
	signer, err := audit.NewSigner(string(text))
	if err != nil {
		return "", nil, fmt.Errorf("log key %s: %w", c.LogKey, err)
	}
	return string(text), signer, nil
}

// readTLS reads the API's certificate; nil if there is none.
func readTLS(c config.Config) (*tls.Config, error) {
	if c.TLS.CertificateFile == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.CertificateFile, c.TLS.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// checkIssuers says which issuer a server of this mode does not accept.
func checkIssuers(c config.Config, issuers []law.Issuer) error {
	for _, i := range issuers {
		plain := !strings.HasPrefix(i.URL, "https://") || i.KeysURL != "" && !strings.HasPrefix(i.KeysURL, "https://")
		if c.Mode != config.Development && plain {
			return fmt.Errorf("issuer %s: outside of development mode issuers and their keys are reached by https alone", i.URL)
		}
	}
	return nil
}

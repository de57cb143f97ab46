package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/hsm"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// lawMode is the mode of the server in the law's words.
func lawMode(c config.Config) law.Mode { return law.Mode{Development: c.Mode == config.Development} }

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

// openKeystores opens the configured keystores; those of encrypted files with how: software.Open, or something
// that creates one.
func (p *program) openKeystores(c config.Config, how openSoftware, log *slog.Logger) (*keystore.Set, error) {
	var members []keystore.Member
	closeAll := func(err error) error {
		for _, m := range members {
			err = errors.Join(err, m.Keystore.Close())
		}
		return err
	}
	for _, k := range c.Keystores {
		limits := keystore.DefaultLimits()
		limits.Timeout = c.Limits.KeystoreTimeout.Duration()
		limits.Concurrent = c.Limits.KeystoreConcurrency
		open, err := openKeystore(k, how, limits, log)
		if err != nil {
			return nil, closeAll(fmt.Errorf("keystore %s: %w", k.Name, err))
		}
		members = append(members, keystore.Member{Name: k.Name, Keystore: open, Limits: limits})
	}
	set, err := keystore.NewSet(members...)
	if err != nil {
		return nil, closeAll(err)
	}
	return set, nil
}

type openSoftware func(path string, passphrase []byte) (*software.Keystore, error)

func openKeystore(k config.Keystore, how openSoftware, limits keystore.Limits, log *slog.Logger) (keystore.Keystore, error) {
	if k.PKCS11 != nil {
		return openHSM(*k.PKCS11, limits, log.With(slog.String("keystore", k.Name)))
	}
	passphrase, err := k.Software.Passphrase.Read()
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	defer clear(passphrase)
	open, err := how(k.Software.Directory, passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; keyserver init makes it, once: a further server needs a copy of the first one's directory, and its passphrase", err)
	}
	return open, err
}

// openHSM returns the keystore in an HSM. Its worker starts when it is needed.
func openHSM(c config.PKCS11, limits keystore.Limits, log *slog.Logger) (keystore.Keystore, error) {
	worker, err := workerOf(c)
	if err != nil {
		return nil, err
	}
	return hsm.New(hsm.Options{
		Worker: worker, Module: c.Module, Parameters: c.Parameters, Token: c.Token, PIN: c.PIN.Read, Environment: c.Environment, Sessions: c.Sessions,
		Timeout: limits.Timeout - limits.Timeout/10, // so that it is the worker that is late, and not who asks for the signature
		Log:     log,
	})
}

// workerOf is where the worker's program is: where the configuration says, or beside this one.
func workerOf(c config.PKCS11) (string, error) {
	if c.Worker != "" {
		return c.Worker, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("looking for keyserver-hsm beside this program: %w", err)
	}
	return filepath.Join(filepath.Dir(self), "keyserver-hsm"), nil
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

// checkSecrets says which passphrases, PINs and client secrets cannot be read, and which workers cannot be run.
func checkSecrets(c config.Config) []error {
	var problems []error
	for _, k := range c.Keystores {
		what, secret := "passphrase", config.Secret{}
		if k.PKCS11 != nil {
			what, secret = "pin", k.PKCS11.PIN
			problems = append(problems, checkPrograms(k.Name, *k.PKCS11)...)
		} else {
			secret = k.Software.Passphrase
		}
		value, err := secret.Read()
		clear(value)
		if err != nil {
			problems = append(problems, fmt.Errorf("keystore %s: %s: %w", k.Name, what, err))
		}
	}
	if c.Web != nil && c.Web.ClientSecret != nil {
		value, err := c.Web.ClientSecret.Read()
		clear(value)
		if err != nil {
			problems = append(problems, fmt.Errorf("web: client-secret: %w", err))
		}
	}
	return append(problems, checkMessages(c)...)
}

func checkPrograms(name string, c config.PKCS11) []error {
	var problems []error
	worker, err := workerOf(c)
	if err == nil {
		_, err = exec.LookPath(worker)
	}
	if err != nil {
		problems = append(problems, fmt.Errorf("keystore %s: worker: %w", name, err))
	}
	if _, err := os.Stat(c.Module); err != nil {
		problems = append(problems, fmt.Errorf("keystore %s: module: %w", name, err))
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

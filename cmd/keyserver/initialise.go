package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

func (p *program) initCommand(read func() (config.Config, error)) *cobra.Command {
	var bootstrap string
	c := p.command(&cobra.Command{
		Use: "init --bootstrap FILE", Short: "Create the database, the log key and the first issuers, subjects, roles and keys, once",
		Long: "init makes a new keyserver from a bootstrap file. It is done once: afterwards the configuration is in the\n" +
			"database and the bootstrap file is no longer read. Every object of it is an event of the audit log.\n\n" +
			"If it is cut off, do it again: until the database has its configuration there is nothing to lose.",
	}, func(ctx context.Context) error {
		cfg, err := read()
		if err != nil {
			return err
		}
		return p.initialise(ctx, cfg, bootstrap)
	})
	c.Flags().StringVar(&bootstrap, "bootstrap", "", "`FILE` with the first issuers, subjects, roles and keys")
	_ = c.MarkFlagRequired("bootstrap")
	return c
}

// initialise can be cut off anywhere and done again. What comes into being is, in this order: the database
// with the server's id, the log key's file, the keystores, the key pairs, and in one commit the configuration.
func (p *program) initialise(ctx context.Context, cfg config.Config, bootstrap string) (err error) {
	first, err := config.ReadBootstrap(bootstrap)
	if err != nil {
		return err
	}
	if err := fits(cfg, first); err != nil {
		return fmt.Errorf("%s: %w", bootstrap, err)
	}
	if err := errors.Join(checkSecrets(cfg)...); err != nil {
		return err
	}
	at, err := locationOfOwner(cfg)
	if err != nil {
		return err
	}
	key, err := firstLogKey(cfg)
	if err != nil {
		return err
	}
	db, err := store.Create(ctx, at, key.signer.Name(), store.Options{Clock: p.now, Serve: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := key.write(); err != nil {
		return fmt.Errorf("writing the log key: %w", err)
	}
	keystores, err := p.openKeystores(cfg, createOrOpen, newLogger(p.stderr, cfg.Log))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keystores.Close()) }()
	adopted := 0
	for _, k := range first.Keys {
		if k.Adopted != "" {
			adopted++
		}
	}
	p.notef("%s ...", making(len(first.Keys)-adopted, adopted))
	if err := keyserver.Initialise(ctx, db, keystores, lawMode(cfg), first); err != nil {
		return fmt.Errorf("storing the first configuration: %w\nput that right and run keyserver init again", err)
	}
	return p.printFirst(key, first.Keys)
}

// making says how many key pairs are made and adopted.
func making(made, adopted int) string {
	count := func(n int) string {
		if n == 1 {
			return "1 key pair"
		}
		return fmt.Sprintf("%d key pairs", n)
	}
	switch {
	case adopted == 0:
		return "making " + count(made)
	case made == 0:
		return "adopting " + count(adopted)
	}
	return fmt.Sprintf("making %s, adopting %d", count(made), adopted)
}

func (p *program) printFirst(key logKey, keys []law.Key) error {
	verifier, err := audit.VerifierOf(key.text)
	if err != nil {
		return err
	}
	err = p.printf("server    %s\nlog key   %s\n", key.signer.Name(), verifier)
	for _, k := range keys {
		err = errors.Join(err, p.printf("key       %s  %s %s, requires %d approvals, fingerprint %s\n",
			k.ID, k.Type, k.Algorithm, k.Requirement.People(), k.Fingerprint))
	}
	return err
}

// fits says what of the first configuration does not fit the server's.
func fits(cfg config.Config, first law.Configuration) error {
	for _, k := range first.Keys {
		if !cfg.HasKeystore(k.Keystore) {
			return fmt.Errorf("key %s: there is no keystore %q in the configuration", k.ID, k.Keystore)
		}
	}
	return checkIssuers(cfg, first.Issuers)
}

// logKey signs checkpoints. Its name is the server's id.
type logKey struct {
	text   string // secret
	signer audit.Signer
	file   string // where it is to be written; empty: it is there
}

// firstLogKey reads the log key, or makes one if it is to be in a file that is not there.
func firstLogKey(cfg config.Config) (logKey, error) {
	text, signer, err := readLogKey(cfg)
	if err == nil || cfg.LogKey.File == "" || !errors.Is(err, fs.ErrNotExist) {
		return logKey{text, signer, ""}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return logKey{}, fmt.Errorf("making a server id: %w", err)
	}
	text, _, err = audit.GenerateKey(rand.Reader, "keyserver/"+id.String())
	if err != nil {
		return logKey{}, err
	}
	signer, err = audit.NewSigner(text)
	return logKey{text, signer, cfg.LogKey.File}, err
}

// write makes the log key's file, whole and durable or not at all. It never replaces one.
func (k logKey) write() error {
	if k.file == "" {
		return nil
	}
	dir := filepath.Dir(k.file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	draft, err := os.CreateTemp(dir, ".new-log-key-*") // for its owner alone
	if err != nil {
		return err
	}
	_, err = draft.WriteString(k.text + "\n")
	err = errors.Join(err, draft.Sync(), draft.Close())
	if err == nil {
		err = os.Link(draft.Name(), k.file)
	}
	if err := errors.Join(err, os.Remove(draft.Name())); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

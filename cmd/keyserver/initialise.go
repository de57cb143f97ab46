package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

func (p program) initCommand(read func() (config.Config, error)) *cobra.Command {
	var bootstrap string
	c := &cobra.Command{
		Use: "init", Short: "Create the database, the log key and the first issuers, subjects, roles and keys, once", Args: noArgs,
		Long: "init makes a new keyserver from a bootstrap file. It is done once: afterwards the configuration is in the\n" +
			"database and the bootstrap file is no longer read. Every object of it is an event of the audit log.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := read()
			if err != nil {
				return err
			}
			return p.initialise(c.Context(), cfg, bootstrap)
		},
	}
	c.Flags().StringVar(&bootstrap, "bootstrap", "", "file with the first issuers, subjects, roles and keys")
	_ = c.MarkFlagRequired("bootstrap")
	return c
}

func (p program) initialise(ctx context.Context, cfg config.Config, bootstrap string) (err error) {
	first, err := config.ReadBootstrap(bootstrap)
	if err != nil {
		return err
	}
	if err := fits(cfg, first); err != nil {
		return fmt.Errorf("%s: %w", bootstrap, err)
	}
	logKey, err := makeLogKey(cfg.LogKey)
	if err != nil {
		return err
	}
	signer, err := audit.NewSigner(logKey)
	if err != nil {
		return err
	}
	db, err := store.Create(ctx, cfg.Database.SQLite, signer.Name(), store.Options{Clock: p.now, Serve: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	keystores, err := openKeystores(cfg, createOrOpen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keystores.Close()) }()
	_, _ = fmt.Fprintf(p.stderr, "making %d key pairs ...\n", len(first.Keys))
	if err := keyserver.Initialise(ctx, db, keystores, first); err != nil {
		return fmt.Errorf("storing the first configuration: %w\nnothing is configured; remove %s and what is in the keystores' directories before you try again",
			err, cfg.Database.SQLite)
	}
	verifier, err := audit.VerifierOf(logKey)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "server    %s\nlog key   %s\n", signer.Name(), verifier)
	for _, k := range first.Keys {
		if err == nil {
			_, err = fmt.Fprintf(p.stdout, "key       %s  %s %s, requires %d approvals, fingerprint %s\n", k.ID, k.Type, k.Algorithm, k.Requirement.People(), k.Fingerprint)
		}
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
	for _, i := range first.Issuers {
		plain := !strings.HasPrefix(i.URL, "https://") || i.KeysURL != "" && !strings.HasPrefix(i.KeysURL, "https://")
		if cfg.Mode != config.Development && plain {
			return fmt.Errorf("issuer %s: outside of development mode issuers and their keys are reached by https alone", i.URL)
		}
	}
	return nil
}

// makeLogKey reads the log key. If it is to be in a file that is not there yet, it makes one.
func makeLogKey(where config.Secret) (string, error) {
	if where.File != "" {
		if _, err := os.Stat(where.File); errors.Is(err, os.ErrNotExist) {
			if err := writeLogKey(where.File); err != nil {
				return "", fmt.Errorf("making the log key: %w", err)
			}
		}
	}
	key, err := where.Read()
	if err != nil {
		return "", fmt.Errorf("log key: %w", err)
	}
	return string(key), nil
}

func writeLogKey(path string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	signer, _, err := audit.GenerateKey(rand.Reader, "keyserver/"+id.String())
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(signer + "\n")
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/database"
)

func (p program) verifyCommand(read func() (config.Config, error)) *cobra.Command {
	var checkpoints []string
	c := &cobra.Command{
		Use: "verify", Short: "Verify the whole audit log, and that the state is what the log tells", Args: noArgs,
		Long: "verify reads the whole database: that the audit log is intact, that the law allows all that it tells, that\n" +
			"every table holds exactly that, and that every signature verifies. Give it checkpoints that were kept\n" +
			"elsewhere: without them a log that was rewritten as a whole looks like any other. It can run while the server\n" +
			"serves. It ends with 6 when it finds something.",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			cfg, err := read()
			if err != nil {
				return err
			}
			key, err := verifierOf(cfg)
			if err != nil {
				return err
			}
			o, err := p.verifyOptions(key, checkpoints)
			if err != nil {
				return err
			}
			db, err := store.Open(c.Context(), cfg.Database.SQLite, store.Options{Clock: p.now})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.Close()) }()
			report, err := database.Verify(c.Context(), db, key, o)
			if err != nil {
				return found(err)
			}
			_, err = fmt.Fprintf(p.stdout, "the audit log is intact and the state is what it tells\n"+
				"entries     %d, root %s\noperations  %d, of these open %d\nsign orders %d, of these signed %d\ncompared    with %d checkpoints\n",
				report.Checkpoint.Size, report.Checkpoint.Root, report.Operations, report.Open, report.SignOrders, report.Signatures, len(o.Remembered))
			return err
		},
	}
	c.Flags().StringArrayVar(&checkpoints, "checkpoint", nil, "file with a checkpoint that was kept elsewhere; once for each")
	return c
}

func verifierOf(cfg config.Config) (audit.Verifier, error) {
	logKey, err := cfg.LogKey.Read()
	if err != nil {
		return nil, fmt.Errorf("log key: %w", err)
	}
	text, err := audit.VerifierOf(string(logKey))
	if err != nil {
		return nil, err
	}
	return audit.NewVerifier(text)
}

func (p program) verifyOptions(key audit.Verifier, checkpoints []string) (verify.Options, error) {
	var o verify.Options
	for _, path := range checkpoints {
		signed, err := os.ReadFile(path)
		if err != nil {
			return o, err
		}
		checkpoint, err := audit.ParseCheckpoint(signed, key)
		if err != nil {
			return o, fmt.Errorf("%s: %w", path, err)
		}
		o.Remembered = append(o.Remembered, checkpoint)
	}
	o.Progress = func(n int64) { _, _ = fmt.Fprintf(p.stderr, "%d entries read ...\n", n) }
	return o, nil
}

// found gives an error its exit code: whether something is wrong with the database or with reading it.
func found(err error) error {
	var log *audit.Tampered
	var violation *verify.Violation
	var difference *verify.Difference
	if errors.As(err, &log) || errors.As(err, &violation) || errors.As(err, &difference) {
		return coded{exitTampered, err}
	}
	return err
}

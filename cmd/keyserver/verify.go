package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/database"
)

func (p *program) verifyCommand(read func() (config.Config, error)) *cobra.Command {
	var checkpoints []string
	c := p.command(&cobra.Command{
		Use: "verify [--checkpoint FILE ...]", Short: "Verify the whole audit log, and that the state is what the log tells",
		Long: "verify reads the whole database: that the audit log is intact, that the law allows all that it tells, that\n" +
			"every table holds exactly that, and that every signature verifies. Give it checkpoints that were kept\n" +
			"elsewhere: without them a log that was rewritten as a whole, or cut off, looks like any other. It can run\n" +
			"while the server serves. It ends with 6 when it finds something.",
	}, func(ctx context.Context) error {
		cfg, err := read()
		if err != nil {
			return err
		}
		return p.verify(ctx, cfg, checkpoints)
	})
	c.Flags().StringArrayVar(&checkpoints, "checkpoint", nil, "`FILE` of 'ks audit checkpoint --output' that was kept elsewhere; once for each")
	return c
}

func (p *program) verify(ctx context.Context, cfg config.Config, checkpoints []string) (err error) {
	key, err := verifierOf(cfg)
	if err != nil {
		return err
	}
	remembered, err := readCheckpoints(checkpoints, key)
	if err != nil {
		return err
	}
	at, err := location(cfg)
	if err != nil {
		return err
	}
	db, err := store.OpenForInspection(ctx, at, store.Options{Clock: p.now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	total, err := store.Inspect(ctx, db, func(d *store.Dump) (int64, error) { return d.Count("audit_events") })
	if err != nil {
		return err
	}
	report, err := database.Verify(ctx, db, key, verify.Options{Remembered: remembered, Progress: p.progress(total)})
	if err != nil {
		return found(err)
	}
	return p.printf("the audit log is intact and the state is what it tells\n"+
		"entries     %d, root %s\noperations  %d, of these open %d\nsign orders %d, of these signed %d\ncompared    with %d checkpoints\n",
		report.Checkpoint.Size, report.Checkpoint.Root, report.Operations, report.Open, report.SignOrders, report.Signatures, len(remembered))
}

func verifierOf(cfg config.Config) (audit.Verifier, error) {
	key, _, err := readLogKey(cfg)
	if err != nil {
		return nil, err
	}
	text, err := audit.VerifierOf(key)
	if err != nil {
		return nil, err
	}
	return audit.NewVerifier(text)
}

func readCheckpoints(paths []string, key audit.Verifier) ([]audit.Checkpoint, error) {
	var all []audit.Checkpoint
	for _, path := range paths {
		signed, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading checkpoint: %w", err)
		}
		checkpoint, err := audit.ParseCheckpoint(signed, key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, checkpoint)
	}
	return all, nil
}

// How much is verified at least between two lines of progress.
const (
	progressEntries = 50_000
	progressTime    = 2 * time.Second
)

// progress says how many of the entries are verified, when that has taken a while.
func (p *program) progress(total int64) func(int64) {
	lastEntries, lastTime := int64(0), p.now()
	return func(n int64) {
		if now := p.now(); n-lastEntries >= progressEntries || now.Sub(lastTime) >= progressTime {
			lastEntries, lastTime = n, now
			p.notef("%d of %d entries verified ...", n, total)
		}
	}
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

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/keyserver"
)

func (p *program) checkCommand(path *string) *cobra.Command {
	return p.command(&cobra.Command{
		Use: "check", Short: "Say what is wrong with the configuration",
		Long: "check says everything that is wrong with the configuration, and which of the secrets and certificates that it\n" +
			"names cannot be read here. It prints no secret.",
	}, func(context.Context) error {
		cfg, err := p.readConfig(*path)
		if err != nil {
			return err
		}
		if err := errors.Join(checkFiles(cfg)...); err != nil {
			return err
		}
		return p.printf("%s is right\n", *path)
	})
}

// checkFiles says what of the files and variables that a configuration names cannot be used.
func checkFiles(cfg config.Config) []error {
	problems := checkSecrets(cfg)
	_, _, err := readLogKey(cfg)
	_, noDatabase := os.Stat(cfg.Database.SQLite)
	if toBeMade := errors.Is(err, fs.ErrNotExist) && errors.Is(noDatabase, fs.ErrNotExist); err != nil && !toBeMade { // by init
		problems = append(problems, err)
	}
	if _, err := readTLS(cfg); err != nil {
		problems = append(problems, err)
	}
	return problems
}

func (p *program) showCommand(path *string) *cobra.Command {
	return p.command(&cobra.Command{
		Use: "show", Short: "Show the configuration with its defaults, without secrets",
	}, func(context.Context) error {
		cfg, err := config.Read(*path, p.env)
		if err != nil {
			return err
		}
		return cfg.Show(p.stdout)
	})
}

func (p *program) clockAcceptCommand(read func() (config.Config, error)) *cobra.Command {
	return p.command(&cobra.Command{
		Use: "accept", Short: "Accept a clock that went back: every open operation expires",
		Long: "accept sets the time below which the server's time never falls to the present time of the clock, and expires\n" +
			"every open operation. It is audited. It is for a clock that was wrong and has been put right; if it is wrong\n" +
			"now, put it right instead. The server may be running.",
	}, func(ctx context.Context) (err error) {
		cfg, err := read()
		if err != nil {
			return err
		}
		db, err := p.openDatabase(ctx, location(cfg), false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		ended, err := keyserver.AcceptClock(ctx, db)
		if err != nil {
			return fmt.Errorf("accepting the clock: %w", err)
		}
		return p.printf("the clock is accepted; %d open operations have expired\n", ended)
	})
}

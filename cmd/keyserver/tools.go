package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/store"
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
		if err := errors.Join(p.checkFiles(cfg)...); err != nil {
			return err
		}
		return p.printf("%s is right\n", *path)
	})
}

// checkFiles says what of the files and variables that a configuration names cannot be used.
func (p *program) checkFiles(cfg config.Config) []error {
	problems := checkSecrets(cfg)
	_, _, err := readLogKey(cfg)
	switch absent := errors.Is(err, fs.ErrNotExist); {
	case absent && databaseMissing(cfg): // init makes both
	case absent && cfg.Database.Postgres != nil:
		p.notef("there is no log key yet: keyserver init makes it; a further server gets a copy of the first one's")
	case err != nil:
		problems = append(problems, err)
	}
	if err := checkDatabase(cfg); err != nil {
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

func (p *program) upgradeCommand(read func() (config.Config, error)) *cobra.Command {
	return p.command(&cobra.Command{
		Use: "upgrade", Short: "Bring the database to what this version of the program needs",
		Long: "upgrade migrates the tables of the database, as their owner, and gives the server's role again what it needs\n" +
			"of them. Stop all servers and make a backup first; there is no way back to an older version. A server migrates\n" +
			"a SQLite database by itself when it starts.",
	}, func(ctx context.Context) error {
		cfg, err := read()
		if err != nil {
			return err
		}
		at, err := locationOfOwner(cfg)
		if err != nil {
			return err
		}
		from, to, err := store.Upgrade(ctx, at, store.Options{Clock: p.now, Serve: true})
		switch {
		case err != nil:
			return err
		case from == to:
			err = p.printf("the database is of version %d, which is what this keyserver needs; there is nothing to migrate\n", to)
		default:
			err = p.printf("the database was of version %d and is of version %d now\n", from, to)
		}
		return errors.Join(err, p.printRights(at))
	})
}

// printRights says whose rights an upgrade has given again, if there are several roles.
func (p *program) printRights(at store.Location) error {
	switch {
	case !at.Shared():
		return nil
	case at.Postgres.Owner.Name == "":
		return p.printf("the configuration names no owner: the tables alone were looked at, and no role was given rights\n")
	}
	return p.printf("the role %s was given again what it needs\n", at.Postgres.Server)
}

func (p *program) clockAcceptCommand(read func() (config.Config, error)) *cobra.Command {
	return p.command(&cobra.Command{
		Use: "accept", Short: "Accept a clock that went back: every open operation expires",
		Long: "accept sets the time below which the server's time never falls to the present time of the clock, and expires\n" +
			"every open operation. It is audited. It is for a clock that was wrong and has been put right; if it is wrong\n" +
			"now, put it right instead. The server may be running.",
	}, func(ctx context.Context) (err error) {
		defer func() { err = explained(err) }()
		cfg, err := read()
		if err != nil {
			return err
		}
		at, err := location(cfg)
		if err != nil {
			return err
		}
		db, err := p.openDatabase(ctx, at, false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		if cfg.Notifications != nil {
			db.KeepOutbox() // orderers are told that their operations have expired
		}
		ended, err := keyserver.AcceptClock(ctx, db)
		if err != nil {
			return fmt.Errorf("accepting the clock: %w", err)
		}
		return p.printf("the clock is accepted; %d open operations have expired\n", ended)
	})
}

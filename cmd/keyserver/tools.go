package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/store"
)

func (p program) checkCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Say what is wrong with the configuration", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if _, err := p.readConfig(*path); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.stdout, "%s is right\n", *path)
			return err
		},
	}
}

func (p program) showCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the configuration with its defaults, without secrets", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := config.Read(*path, p.env)
			if err != nil {
				return err
			}
			return c.Show(p.stdout)
		},
	}
}

func (p program) clockAcceptCommand(read func() (config.Config, error)) *cobra.Command {
	return &cobra.Command{
		Use: "accept", Short: "Accept a clock that went back: every open operation expires", Args: noArgs,
		Long: "accept sets the time below which the server's time never falls to the present time of the clock, and expires\n" +
			"every open operation. It is audited. It is for a clock that was wrong and has been put right; if it is wrong\n" +
			"now, put it right instead.",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			cfg, err := read()
			if err != nil {
				return err
			}
			db, err := store.Open(c.Context(), cfg.Database.SQLite, store.Options{Clock: p.now})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.Close()) }()
			ended, err := keyserver.AcceptClock(c.Context(), db)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.stdout, "the clock is accepted; %d open operations have expired\n", ended)
			return err
		},
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/database"
)

func (p *program) migrateCommand(read func() (config.Config, error)) *cobra.Command {
	var from, to string
	c := p.command(&cobra.Command{
		Use: "migrate --from DATABASE --to DATABASE", Short: "Move the state and the audit log of a stopped server to another database",
		Long: "migrate copies everything from one database to another, either of which is sqlite:PATH or postgres:, the\n" +
			"database.postgres of the configuration. All servers are stopped, and the new database is empty. It is done only\n" +
			"when every row was read back and is the same, and the copy verifies as keyserver verify does it. If it is cut\n" +
			"off, nothing can be served from the copy; do it again.\n\n" +
			"The old database is left as it is. Never serve it again: two logs that go on from the same entry are what\n" +
			"everybody who keeps checkpoints must take for a rewritten log.",
	}, func(ctx context.Context) error {
		cfg, err := read()
		if err != nil {
			return err
		}
		return p.migrate(ctx, cfg, from, to)
	})
	c.Flags().StringVar(&from, "from", "", "the `DATABASE` that was served so far")
	c.Flags().StringVar(&to, "to", "", "the empty `DATABASE` that is to be served")
	_ = c.MarkFlagRequired("from")
	_ = c.MarkFlagRequired("to")
	return c
}

func (p *program) migrate(ctx context.Context, cfg config.Config, fromText, toText string) error {
	key, err := verifierOf(cfg)
	if err != nil {
		return err
	}
	from, err := namedLocation(cfg, fromText, location)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	if _, err := os.Stat(from.SQLite); !from.Shared() && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--from: there is no such file: %s", from.SQLite)
	}
	to, err := namedLocation(cfg, toText, locationOfOwner)
	if err != nil {
		return fmt.Errorf("--to: %w", err)
	}
	copied, err := store.Copy(ctx, from, to, store.Options{Clock: p.now}, store.CopyOptions{
		Progress: p.copying(),
		Check: func(ctx context.Context, db *store.DB, copied store.Copied) error {
			report, err := database.Verify(ctx, db, key, verify.Options{Progress: p.progress(copied.Entries)})
			if is := report.Checkpoint; err == nil && (is.Size != copied.Entries || is.Root != copied.Root) {
				err = fmt.Errorf("it was changed after it was copied: it has %d entries and the root %s", is.Size, is.Root)
			}
			return err
		},
	})
	if err != nil {
		return found(err)
	}
	return p.printf("moved       %d rows, from %s to %s\nentries     %d, root %s\n"+
		"every row is the same, the audit log is intact and the state is what it tells\n"+
		"never serve the old database again: keep it as it is, and let the configuration of every server name the new one\n",
		copied.Rows, from, to, copied.Entries, copied.Root)
}

// namedLocation is the database that an argument names.
func namedLocation(cfg config.Config, text string, postgres func(config.Config) (store.Location, error)) (store.Location, error) {
	path, isFile := strings.CutPrefix(text, "sqlite:")
	switch {
	case isFile && path != "":
		absolute, err := filepath.Abs(path)
		return store.File(absolute), err
	case text == "postgres:" && cfg.Database.Postgres == nil:
		return store.Location{}, fmt.Errorf("postgres: is the database.postgres of the configuration, and there is none in it; give the other one with --config")
	case text == "postgres:":
		return postgres(cfg)
	}
	return store.Location{}, fmt.Errorf("%q is no database; write sqlite: and the path of its file, or postgres: for the one of the configuration", text)
}

// copying says how far the copy is, when that has taken a while.
func (p *program) copying() func(table string, rows int64, again bool) {
	last := p.now()
	return func(table string, rows int64, again bool) {
		if rows%1000 != 0 {
			return
		}
		now := p.now()
		if now.Sub(last) < progressTime {
			return
		}
		last = now
		what := "copied"
		if again {
			what = "read again"
		}
		p.notef("%d rows of table %s %s ...", rows, table, what)
	}
}

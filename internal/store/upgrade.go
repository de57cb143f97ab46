package store

import (
	"context"
	"fmt"
)

// Upgrade brings the tables of a database to what this version of the program knows, as their owner, and
// gives the server's role again what it needs of them. It returns of which version they were and are. It
// refuses a database without tables, and one that a newer program has made. With Serve it refuses a file that
// is served.
func Upgrade(ctx context.Context, at Location, o Options) (from, to int64, err error) {
	if o.Clock == nil {
		return 0, 0, errNoClock
	}
	err = asOwner(ctx, at, o, func(db *DB) (err error) {
		from, to, err = db.version(ctx)
		switch {
		case err != nil:
			return err
		case from == 0:
			return ErrNotInitialised
		case from > to:
			return fmt.Errorf("it is of version %d, made by a newer keyserver; this one knows version %d", from, to)
		}
		return nil
	}, nil)
	if err != nil {
		return 0, 0, fmt.Errorf("upgrading database %s: %w", at, err)
	}
	return from, to, nil
}

// version is of which version the tables are, 0 if there are none, and which one this program knows.
func (db *DB) version(ctx context.Context) (is, known int64, err error) {
	provider, err := db.migrations()
	if err != nil {
		return 0, 0, err
	}
	for _, step := range provider.ListSources() {
		known = max(known, step.Version)
	}
	var there bool // asked first: goose would make its table, which the server's role cannot
	if err = db.pool.QueryRowContext(ctx, db.dialect.versioned).Scan(&there); err == nil && there {
		is, err = provider.GetDBVersion(ctx)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("reading its version: %w", err)
	}
	return is, known, nil
}

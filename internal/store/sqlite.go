package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"golang.org/x/mod/semver"
	"golang.org/x/sys/unix"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const readers = 8 // connections that only read

// dialect is what differs between databases.
type dialect struct {
	name     string // of its directory of migrations
	goose    goose.Dialect
	begin    string // begins a write transaction
	lockHead string // appended to the query that reads the head under the write lock
	// fatal says whether an error means that the whole batch cannot be stored.
	fatal func(error) bool
}

var sqlite = dialect{name: "sqlite", goose: goose.DialectSQLite3, begin: `BEGIN IMMEDIATE`, fatal: fatalToSQLite}

// Versions before this one could corrupt a database in WAL mode.
const oldestSQLite = "v3.51.3"

func sqliteName(path string) string {
	q := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}}
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: abs, RawQuery: q.Encode()}).String()
}

// checkSQLite reads back what durability depends on: a pragma that is not understood is silently ignored.
func checkSQLite(ctx context.Context, db *sql.DB) error {
	var version, journal string
	var synchronous, foreignKeys int
	err := errors.Join(
		db.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&version),
		db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&journal),
		db.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&synchronous),
		db.QueryRowContext(ctx, `PRAGMA foreign_keys`).Scan(&foreignKeys),
	)
	const full = 2
	switch {
	case err != nil:
		return err
	case semver.Compare("v"+version, oldestSQLite) < 0:
		return fmt.Errorf("SQLite %s is too old; %s or newer is needed", version, oldestSQLite)
	case journal != "wal" || synchronous != full || foreignKeys != 1:
		return fmt.Errorf("SQLite runs with journal_mode=%s synchronous=%d foreign_keys=%d; wal, 2 and 1 are needed", journal, synchronous, foreignKeys)
	}
	return nil
}

// Locks and fsync of SQLite are not to be trusted on these (statfs(2), f_type).
var networkFileSystems = map[uint32]string{
	0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB2", 0x01021997: "9P",
	0x65735546: "FUSE", 0x00c36400: "Ceph", 0x5346414f: "AFS", 0x0bd00bd0: "Lustre", 0x01161970: "GFS2", 0x7461636f: "OCFS2",
}

func checkFile(path string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return ErrNotInitialised
		}
		return err
	}
	if name, network := networkFileSystems[uint32(s.Type)]; network {
		return fmt.Errorf("it is on a network file system (%s), where SQLite can lose data; put it on a local disk", name)
	}
	return nil
}

func fatalToSQLite(err error) bool {
	var e *driver.Error
	if !errors.As(err, &e) {
		return true
	}
	primary := e.Code() & 0xff
	return primary != sqlite3.SQLITE_CONSTRAINT && primary != sqlite3.SQLITE_TOOBIG
}

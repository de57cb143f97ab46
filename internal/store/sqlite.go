package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

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
	view     string // begins a transaction that reads one state
	// versioned asks whether there is a table that says of which version the others are.
	versioned string
	// check says what is wrong with a new connection.
	check func(context.Context, *sql.Conn) error
	// fatal says whether an error means that the whole batch cannot be stored.
	fatal func(error) bool
	// clock is the database's time in SQL, ms; 0 where the process's clock is the database's.
	clock string
	// words are a statement as the database likes it best.
	words func(string) string
	// patience is how long a whole batch may take; 0: no statement can take for ever.
	patience time.Duration
}

var sqlite = dialect{
	name: "sqlite", goose: goose.DialectSQLite3, begin: `BEGIN IMMEDIATE`, view: `BEGIN`, check: checkSQLite, fatal: fatalToSQLite, clock: `0`, words: anonymous,
	versioned: `SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'goose_db_version'`,
}

// anonymous takes the numbers off the parameters of a statement in which each stands once and in order. SQLite
// takes $1 for a name, and looks for each from the first on, which is slow where there are hundreds.
func anonymous(text string) string {
	if !strings.HasPrefix(text, `INSERT`) {
		return text
	}
	return parameter.ReplaceAllString(text, `?`)
}

var parameter = regexp.MustCompile(`\$[0-9]+`)

// Versions before this one could corrupt a database in WAL mode.
const oldestSQLite = "v3.51.3"

// connectSQLite makes ready to open the file. With serve it takes the lock by which a second server is
// refused.
func (db *DB) connectSQLite(path string, serve bool) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := checkFile(path); err != nil {
		return err
	}
	opened, err := os.Stat(path)
	if err != nil {
		return err
	}
	// SQLite goes on writing into a file that was removed or replaced, and all that it writes is lost.
	db.present = func() error {
		now, err := os.Stat(path)
		if err == nil && !os.SameFile(now, opened) {
			err = fmt.Errorf("%s is another file than the one that was opened; restart the server", path)
		}
		return err
	}
	if serve {
		if db.lock, err = serveLock(path + ".lock"); err != nil {
			return err
		}
	}
	db.pool, err = sql.Open("sqlite", sqliteName(path))
	return err
}

// makeFile makes the file of a new database. An empty one is left by an earlier attempt that was cut off.
func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

func sqliteName(path string) string {
	// temp_store is about the journals of statements that may have to be rolled back: no durability hangs on them.
	// The cache of pages is 512 KiB for each connection: of the default, 2 MB, ten connections make half of the
	// server's memory, and the system caches the file anyway.
	q := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "temp_store(memory)", "cache_size(-512)"}}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String()
}

func serveLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errors.New("another keyserver serves this database; SQLite is for one server")
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// checkSQLite reads back what durability depends on: a pragma that is not understood is silently ignored.
func checkSQLite(ctx context.Context, c *sql.Conn) error {
	var version, journal string
	var synchronous, foreignKeys int
	err := errors.Join(
		c.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&version),
		c.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&journal),
		c.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&synchronous),
		c.QueryRowContext(ctx, `PRAGMA foreign_keys`).Scan(&foreignKeys),
	)
	if err != nil {
		return err
	}
	return checkDurable(version, journal, synchronous, foreignKeys)
}

func checkDurable(version, journal string, synchronous, foreignKeys int) error {
	const full = 2
	switch {
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
	return checkFileSystem(uint32(s.Type))
}

func checkFileSystem(magic uint32) error {
	if name, network := networkFileSystems[magic]; network {
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

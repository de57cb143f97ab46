package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childDatabase); path != "" {
		os.Exit(child(path))
	}
	goleak.VerifyTestMain(m)
}

// file is a database on SQLite.
type file string

func newFile(t testing.TB) file { return file(filepath.Join(t.TempDir(), "keyserver.db")) }

func (f file) Create(ctx context.Context, o store.Options) (*store.DB, error) {
	return store.Create(ctx, store.File(string(f)), storetest.ServerID, o)
}

func (f file) Open(ctx context.Context, o store.Options) (*store.DB, error) {
	return store.Open(ctx, store.File(string(f)), o)
}

func TestSQLiteKeepsTheContractOfTheStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Database { return newFile(t) })
}

func TestEventsAreLookedForInTheIndexOfTheirFilter(t *testing.T) {
	db := newFile(t).create(t, store.Options{})
	for index, query := range map[string]store.EventQuery{
		"audit_events_type": {Type: audit.SignedIn}, "audit_events_operation": {Operation: "o"}, "audit_events_subject": {Subject: "s"},
		"audit_events_keyid": {Key: "k"}, "audit_events_session": {Session: "s", Newest: true},
	} {
		query.Limit = 10
		if plan := db.PlanOfEvents(t, query); !strings.Contains(plan, index) {
			t.Errorf("%+v: the plan is %s", query, plan)
		}
	}
}

// Of a million certificates, each that is looked at is a place on the disk of its own.
func TestVeryManyCertificatesAreCountedAndListedInIndexesAlone(t *testing.T) {
	plans := newFile(t).create(t, store.Options{}).PlansOfCertificates(t)
	for what, want := range map[string]string{
		"revocation list":  "SEARCH certificates USING COVERING INDEX certificates_revoked (issuer=? AND issuerfingerprint=? AND revokedat>?)",
		"count of revoked": "SEARCH certificates USING COVERING INDEX certificates_revoked (issuer=? AND issuerfingerprint=? AND revokedat>?)",
		"count of a lot":   "SEARCH certificates USING COVERING INDEX certificates_lot (operation=? AND issuer=? AND state=?)",
		"first of a lot":   "SEARCH certificates USING INDEX certificates_lot (operation=? AND issuer=? AND state=?)",
		"of keys":          "SEARCH certificates USING INDEX certificates_keys (id>?)",
		"count of refused": "SEARCH audit_events USING COVERING INDEX audit_events_refused (operation=? AND keyid=?)",
	} {
		if plans[what] != want {
			t.Errorf("%s: the plan is %s", what, plans[what])
		}
	}
}

// A list that is sorted first is read to its end for each page of it.
func TestOperationsAreLookedForInTheOrderOfTheirList(t *testing.T) {
	db := newFile(t).create(t, store.Options{})
	merged := regexp.MustCompile(`SCAN list[0-9]; USE TEMP B-TREE FOR ORDER BY`)
	open := []law.State{law.Pending, law.Approved}
	expired := append(slices.Clone(open), law.Expired)
	for _, test := range []struct {
		query store.OperationQuery
		index string
	}{
		{store.OperationQuery{}, "sqlite_autoindex_operations_1"},
		{store.OperationQuery{States: expired}, "operations_state"}, {store.OperationQuery{Orderer: "o"}, "operations_orderer"},
		{store.OperationQuery{Key: "k"}, "operation_keys_keyid"}, {store.OperationQuery{Key: "k", States: expired}, "operations_state"},
		{store.OperationQuery{Key: "k", States: open}, "operations_state"}, {store.OperationQuery{Key: "k", Orderer: "o"}, "operations_orderer"},
		{store.OperationQuery{Key: "k", Orderer: "o", States: expired}, "operations_orderer"}, {store.OperationQuery{Orderer: "o", States: open}, "operations_state"},
	} {
		for _, before := range []law.OperationID{"", "b"} {
			test.query.Before, test.query.Limit = before, 10
			plan := db.PlanOfOperations(t, test.query)
			unsorted := merged.ReplaceAllString(plan, "") // the lists that are merged are no longer than the page
			if !strings.Contains(plan, test.index) || strings.Contains(unsorted, "TEMP B-TREE") {
				t.Errorf("%+v: the plan is %s", test.query, plan)
			}
		}
	}
}

// create makes a database with the configuration of the contract, until the test ends.
func (f file) create(t testing.TB, o store.Options) *store.DB {
	t.Helper()
	db, err := f.Create(t.Context(), withClock(o))
	must(t, err)
	closeAtEnd(t, db)
	must(t, update(db, func(tx *store.Tx) error { return storetest.Configure(tx, storetest.World()) }))
	return db
}

func (f file) open(t testing.TB, o store.Options) *store.DB {
	t.Helper()
	db, err := f.Open(t.Context(), withClock(o))
	must(t, err)
	closeAtEnd(t, db)
	return db
}

func closeAtEnd(t testing.TB, db *store.DB) {
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
}

func withClock(o store.Options) store.Options {
	o.Clock = storetest.NewClock().Now
	return o
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func update(db *store.DB, fn func(*store.Tx) error) error {
	_, err := store.Update(context.Background(), db, func(tx *store.Tx) (any, error) { return nil, fn(tx) })
	return err
}

func TestEveryConnectionHasWhatDurabilityNeeds(t *testing.T) {
	db := newFile(t).create(t, store.Options{})
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000"} {
		got := db.Pragmas(t, pragma)
		if len(got) < 2 || len(slices.Compact(got)) != 1 || got[0] != want {
			t.Errorf("%s is %v, want %s", pragma, got, want)
		}
	}
}

func TestSQLiteThatCouldLoseDataIsRefused(t *testing.T) {
	for _, c := range []struct {
		version, journal         string
		synchronous, foreignKeys int
		refused                  string // in the sentence; empty: it is not
	}{
		{"3.51.3", "wal", 2, 1, ""},
		{"3.52.0", "wal", 2, 1, ""},
		{"3.100.0", "wal", 2, 1, ""},
		{"3.51.2", "wal", 2, 1, "too old"},
		{"3.9.0", "wal", 2, 1, "too old"},
		{"", "wal", 2, 1, "too old"},
		{"3.51.3", "delete", 2, 1, "journal_mode=delete"},
		{"3.51.3", "wal", 1, 1, "synchronous=1"},
		{"3.51.3", "wal", 2, 0, "foreign_keys=0"},
	} {
		err := store.CheckDurable(c.version, c.journal, c.synchronous, c.foreignKeys)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%+v: the error is %v", c, err)
		}
	}
}

func TestNetworkFileSystemsAreRefused(t *testing.T) {
	for magic, name := range map[uint32]string{
		0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB2", 0x01021997: "9P", 0x65735546: "FUSE",
		0x00c36400: "Ceph", 0x5346414f: "AFS", 0x0bd00bd0: "Lustre", 0x01161970: "GFS2", 0x7461636f: "OCFS2",
	} {
		if err := store.CheckFileSystem(magic); err == nil || !strings.Contains(err.Error(), "("+name+")") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	for name, magic := range map[string]uint32{"ext4": 0xef53, "xfs": 0x58465342, "btrfs": 0x9123683e, "zfs": 0x2fc12fc1, "tmpfs": 0x01021994, "overlayfs": 0x794c7630} {
		if err := store.CheckFileSystem(magic); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASecondServerIsRefused(t *testing.T) {
	f := newFile(t)
	must(t, f.create(t, store.Options{}).Close())
	first := f.open(t, store.Options{Serve: true})
	if _, err := f.Open(t.Context(), withClock(store.Options{Serve: true})); err == nil || !strings.Contains(err.Error(), "another keyserver serves this database") {
		t.Errorf("the error is %v", err)
	}
	must(t, f.open(t, store.Options{}).Close()) // a tool
	must(t, first.Close())
	must(t, f.open(t, store.Options{Serve: true}).Close())
}

func TestADatabaseIsInitialisedOnce(t *testing.T) {
	f := newFile(t)
	db := f.create(t, store.Options{})
	if _, err := f.Create(t.Context(), withClock(store.Options{})); err == nil || !strings.Contains(err.Error(), "initialised already") {
		t.Errorf("the error is %v", err)
	}
	storetest.Check(t, db)
}

func TestInitialisingGoesOnWhereItWasCutOff(t *testing.T) {
	f := newFile(t)
	must(t, os.WriteFile(string(f), nil, 0o600))
	if _, err := f.Open(t.Context(), withClock(store.Options{})); !errors.Is(err, store.ErrNotInitialised) {
		t.Errorf("the error of Open is %v", err)
	}
	storetest.Check(t, f.create(t, store.Options{}))
}

func TestTheFilesAreForTheServerAlone(t *testing.T) {
	f := file(filepath.Join(t.TempDir(), "new", "keyserver.db"))
	f.create(t, store.Options{Serve: true})
	for name, want := range map[string]os.FileMode{"": 0o700, "keyserver.db": 0o600, "keyserver.db-wal": 0o600, "keyserver.db-shm": 0o600, "keyserver.db.lock": 0o600} {
		info, err := os.Stat(filepath.Join(filepath.Dir(string(f)), name))
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o, want %o", name, got, want)
		}
	}
}

func TestAPathMayHaveAnyCharacters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c#d%41&_pragma=synchronous(0)")
	f := file(filepath.Join(dir, "key server?.db"))
	db := f.create(t, store.Options{})
	storetest.Check(t, db)
	if got := db.Pragmas(t, "synchronous"); got[0] != "2" {
		t.Errorf("synchronous is %v", got)
	}
	if _, err := os.Stat(string(f)); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want string
	}{
		"nothing there": {func(*testing.T, string) {}, "not initialised"},
		"a directory":   {func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) }, "unable to open"},
		"something else": {func(t *testing.T, path string) {
			must(t, os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600))
		}, "not a database"},
		"a newer version": {newerVersion, "made by a newer keyserver"},
		"no lock to be had": {func(t *testing.T, path string) {
			must(t, file(path).create(t, store.Options{}).Close())
			must(t, os.Mkdir(path+".lock", 0o700))
		}, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(t)
			c.make(t, string(f))
			db, err := f.Open(t.Context(), withClock(store.Options{Serve: true}))
			if db != nil || err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), string(f)) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func newerVersion(t *testing.T, path string) {
	db := file(path).create(t, store.Options{})
	db.OnWriter(t, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
	must(t, db.Close())
}

func TestWhatCannotBeCreatedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("not a directory"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "directory"), 0o700))
	for _, path := range []string{"file/keyserver.db", "directory"} {
		if _, err := file(filepath.Join(dir, path)).Create(t.Context(), withClock(store.Options{})); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: the error is %v", path, err)
		}
	}
	if _, err := newFile(t).Create(t.Context(), store.Options{}); err == nil || !strings.Contains(err.Error(), "no clock") {
		t.Errorf("the error without a clock is %v", err)
	}
}

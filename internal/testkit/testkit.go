// Package testkit gives a test a whole keyserver: a real database, a real software keystore with a counter
// in front of it, a real API on loopback, an identity provider that mints any token, and a clock that the
// test moves. Every kit is checked when its test ends, see [Kit.Check].
package testkit

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/httpapi"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/limits"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/postgrestest"
)

// Day is the longest validity of the keys of [World].
const Day = 24 * time.Hour

// Kit is a keyserver under test.
type Kit struct {
	testing.TB
	Clock     *Clock
	IdP       *identitytest.IdP
	Keystore  *keystoretest.Counting
	Keyserver *keyserver.Keyserver
	DB        *store.DB
	URL       string // of the API, without /api
	Dir       string // holds the keys, and the database if it is a file
	Location  store.Location
	ServerID  string
	logKey    string
	options   Options
	http      *httptest.Server

	remembered []audit.Checkpoint // of earlier checks
}

// Options change what New makes. The zero value is the usual kit.
type Options struct {
	World         func(*law.Configuration) // changes the configuration before it is stored
	Mode          law.Mode                 // of the server
	Limits        keyserver.Limits
	Notifications *keyserver.Notifications        // nil: no messages are sent
	Rates         limits.Rate                     // zero: so high that they are never reached
	Commit        func(commit func() error) error // see store.Options
	Log           *slog.Logger                    // nil: nowhere
	Shared        bool                            // on a database that several servers can use, whatever [Database] says
	File          bool                            // on a database that is a file, whatever [Database] says

	// Keystores are there beside the one of name software. They outlive the kit's restarts, and whoever made them
	// closes them.
	Keystores []keystore.Member
	// Asked says how often these keystores have been asked to sign with each key. Required if there are any.
	Asked func(*Kit) map[law.KeyID]int
}

// Database is the environment variable that says which database kits are on: sqlite, which is the default, or
// postgres. The tests of whole servers are run on both.
const Database = "KEYSERVER_TEST_DATABASE"

// New starts a keyserver with the configuration of [World].
func New(t testing.TB) *Kit { return NewWith(t, Options{}) }

// NewWith starts a keyserver.
func NewWith(t testing.TB, o Options) *Kit {
	t.Helper()
	k := &Kit{TB: t, Clock: NewClock(), Dir: t.TempDir(), options: o, ServerID: "keyserver/test"}
	k.IdP = identitytest.NewInProcess(t, "https://idp.test")
	signer, _, err := audit.GenerateKey(strings.NewReader(strings.Repeat("log key ", 16)), k.ServerID)
	k.must(err)
	k.logKey = signer
	passphrase := []byte("testkit passphrase")
	keys, err := software.Create(filepath.Join(k.Dir, "keys"), passphrase, software.Options{Iterations: software.MinIterations})
	k.must(err)
	k.Keystore = keystoretest.Count(keys)
	k.Location = k.location()
	db, err := store.Create(context.Background(), k.Location, k.ServerID, k.storeOptions())
	k.must(err)
	world := World(k.IdP)
	if o.World != nil {
		o.World(&world)
	}
	k.must(keyserver.Initialise(context.Background(), db, k.set(), o.Mode, world))
	k.must(db.Close())
	k.start()
	t.Cleanup(func() {
		k.Check()
		k.stop()
	})
	return k
}

// OnPostgres says whether [Database] asks for PostgreSQL.
func OnPostgres(t testing.TB) bool {
	t.Helper()
	switch name := os.Getenv(Database); name {
	case "postgres":
		return true
	case "", "sqlite":
	default:
		t.Fatalf("%s is %q; say sqlite or postgres", Database, name)
	}
	return false
}

// Another starts a further server on the same database, with the same keystore and clock, on a kit of its own.
// The database is a shared one.
func (k *Kit) Another() *Kit {
	k.Helper()
	return k.AnotherAt(k.Location)
}

// AnotherAt is Another that reaches the database in another way.
func (k *Kit) AnotherAt(at store.Location) *Kit {
	k.Helper()
	other := &Kit{
		TB: k.TB, Clock: k.Clock, IdP: k.IdP, Keystore: k.Keystore, Dir: k.Dir, Location: at, ServerID: k.ServerID,
		logKey: k.logKey, options: k.options,
	}
	other.start()
	k.Cleanup(func() {
		other.Check()
		other.stop()
	})
	return other
}

func (k *Kit) location() store.Location {
	if !k.options.File && (k.options.Shared || OnPostgres(k)) {
		return postgrestest.Confined(postgrestest.New(k))
	}
	return store.File(filepath.Join(k.Dir, "keyserver.db"))
}

func (k *Kit) storeOptions() store.Options {
	return store.Options{Clock: k.Clock.Now, Injected: true, Commit: k.options.Commit}
}

func (k *Kit) set() *keystore.Set {
	own := keystore.Member{Name: "software", Keystore: k.Keystore, Limits: keystore.DefaultLimits()}
	set, err := keystore.NewSet(append(slices.Clone(k.options.Keystores), own)...)
	k.must(err)
	return set
}

func (k *Kit) start() {
	k.Helper()
	var err error
	o := k.storeOptions()
	o.Serve = true
	k.DB, err = store.Open(context.Background(), k.Location, o)
	k.must(err)
	k.Keyserver = k.Server(func(*keyserver.Options) {})
	k.must(k.Keyserver.Start(context.Background()))
	rates := k.options.Rates
	if rates.PerSecond == 0 {
		rates = limits.Rate{PerSecond: 1e6, Burst: 1e6}
	}
	handler, err := httpapi.New(httpapi.Options{
		Keyserver: k.Keyserver, Log: k.log(), Now: k.Clock.Now, Mode: "development", Software: "testkit", Rate: rates,
		Auth:         identity.New(identity.Options{Now: k.Clock.Now, HTTP: k.IdP.Client(), Development: true}),
		NewRequestID: func() string { return uuid.Must(uuid.NewV7()).String() },
	})
	k.must(err)
	k.http = httptest.NewServer(handler)
	k.URL = k.http.URL
}

// Server makes a server on the kit's database, with options changed. It is not started.
func (k *Kit) Server(change func(*keyserver.Options)) *keyserver.Keyserver {
	k.Helper()
	o := keyserver.Options{
		DB: k.DB, Keystores: k.set(), LogKey: k.logKey, Log: k.log(), Software: "testkit", Mode: k.options.Mode, Limits: k.options.Limits,
		Notifications: k.options.Notifications, Elapsed: k.Clock.Elapsed,
	}
	change(&o)
	server, err := keyserver.New(o)
	k.must(err)
	return server
}

func (k *Kit) log() *slog.Logger {
	if k.options.Log != nil {
		return k.options.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (k *Kit) stop() {
	k.http.CloseClientConnections()
	k.http.Close()
	if err := k.DB.Close(); err != nil {
		k.Errorf("closing the database: %v", err)
	}
}

// Restart stops the server and starts it again on the same database.
func (k *Kit) Restart() {
	k.Helper()
	k.stop()
	k.start()
	k.Check()
}

// Crash starts the server again on a copy of the database as it is on disk at this moment, as after the
// loss of power; where the database is shared, after it has lost all its connections.
func (k *Kit) Crash() {
	k.Helper()
	if k.Location.Shared() {
		postgrestest.Exec(k, k.Location, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		k.Restart()
		return
	}
	copied := filepath.Join(k.TempDir(), "keyserver.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(k.Location.SQLite + suffix)
		k.must(err)
		k.must(os.WriteFile(copied+suffix, data, 0o600))
	}
	k.stop()
	k.Location = store.File(copied)
	k.start()
	k.Check()
}

// Caller returns a person or machine of the configuration as the server sees it after signing in.
func (k *Kit) Caller(who law.SubjectID) keyserver.Caller {
	return keyserver.Caller{
		Caller:  law.Caller{Principal: law.Principal{Subject: who, Issuer: k.IdP.URL, Sub: string(who)}},
		Address: "127.0.0.1", Request: uuid.NewString(), Route: "testkit",
	}
}

// Token returns an access token of the person or machine.
func (k *Kit) Token(who law.SubjectID) string {
	return k.IdP.Token("at+jwt", identitytest.AccessToken(k.Clock.Now(), string(who)))
}

// Do makes a request to the API with the subject's token, or none if who is empty.
func (k *Kit) Do(who law.SubjectID, r *http.Request) *http.Response {
	k.Helper()
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+k.Token(who))
	}
	answer, err := k.http.Client().Do(r)
	k.must(err)
	k.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// Ask returns what an orderer asks for: one use of each of the keys, for a day.
func Ask(keys ...law.KeyID) law.Ask {
	ask := law.Ask{Description: "release 1.2.3", Context: "built from tag v1.2.3", Validity: Day}
	for _, key := range keys {
		ask.Keys = append(ask.Keys, law.KeyAsk{Key: key, MaxUses: 1})
	}
	return ask
}

// Create creates an operation for olga.
func (k *Kit) Create(ask law.Ask) keyserver.Operation {
	k.Helper()
	o, err := k.CreateAs(k.Caller("olga"), ask)
	k.must(err)
	return o
}

// Approve approves an operation for each of these people.
func (k *Kit) Approve(o keyserver.Operation, people ...law.SubjectID) keyserver.Operation {
	k.Helper()
	for _, who := range people {
		var err error
		o, err = k.Keyserver.Approve(context.Background(), k.Caller(who), o.ID, o.Digest)
		k.must(err)
	}
	return o
}

// OrderAsk asks for a signature over the digest of the text, with the hash and scheme of [World]'s ECDSA keys.
func OrderAsk(key law.KeyID, idempotencyKey, text string) law.OrderAsk {
	return law.OrderAsk{Key: key, IdempotencyKey: idempotencyKey, Hash: law.SHA256, Digest: law.SHA256.Sum([]byte(text))}
}

// Sign places a sign order for olga.
func (k *Kit) Sign(o keyserver.Operation, ask law.OrderAsk) (keyserver.SignOrder, error) {
	return k.Keyserver.PlaceSignOrder(context.Background(), k.Caller("olga"), o.ID, ask)
}

// State returns where an operation stands.
func (k *Kit) State(id law.OperationID) law.State {
	k.Helper()
	return k.Look(id).State
}

// Events returns the audit events, of one operation or all.
func (k *Kit) Events(id law.OperationID) []audit.Event {
	k.Helper()
	return k.events(store.EventQuery{Operation: id})
}

// LogSize is how many events the audit log has.
func (k *Kit) LogSize() int64 {
	k.Helper()
	size, err := store.View(context.Background(), k.DB, func(r *store.Reader) (int64, error) { return r.LogSize(), nil })
	k.must(err)
	return size
}

// EventsSince returns the audit events since the log had this size.
func (k *Kit) EventsSince(size int64) []audit.Event {
	k.Helper()
	return k.events(store.EventQuery{From: size})
}

func (k *Kit) events(query store.EventQuery) []audit.Event {
	k.Helper()
	query.Limit = 1 << 30
	events, err := store.View(context.Background(), k.DB, func(r *store.Reader) ([]audit.Event, error) {
		stored, err := r.Events(query)
		if err != nil {
			return nil, err
		}
		var events []audit.Event
		for _, s := range stored {
			e, err := audit.ParseLeaf(s.Leaf)
			if err != nil {
				return nil, err
			}
			events = append(events, e)
		}
		return events, nil
	})
	k.must(err)
	return events
}

// Count is how many of the audit events, of one operation or all, have the type.
func (k *Kit) Count(id law.OperationID, of audit.Type) int {
	k.Helper()
	return len(k.EventsOf(id, of))
}

func (k *Kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

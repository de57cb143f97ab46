// Package verifytest makes databases and logs to be verified: a small keyserver, and a story in which
// everything happens to it that can.
package verifytest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// ServerID is the server of every [World].
const ServerID = "keyserver/verify"

const (
	people = "https://people.test"
	builds = "https://builds.test" // its tokens name the person who set the job off
)

// World is a keyserver and what it stands on. Its clock stands still until it is moved.
type World struct {
	testing.TB
	Path     string // of the database
	DB       *store.DB
	Server   *keyserver.Keyserver
	Keystore *keystoretest.Counting
	Signer   audit.Signer
	Verifier audit.Verifier

	logKey string
	now    atomic.Int64 // ms UTC
	lose   atomic.Bool  // commits fail

	requests map[string][]byte // of devices, by idempotency key
}

// New returns a new keyserver, initialised and started:
//
//	olga           orders on all keys; the machine ci on fw-zero and fw-two
//	alice, bob, carol, dora   approve on all keys; dora is the person behind ci's jobs
//	ada, adam, anna   administer; audrey audits; eve is known and may do nothing
//
//	fw-zero        needs nobody, as do fw-ed (Ed25519) and fw-rsa (RSA-2048); fw-two needs two people
func New(t testing.TB) *World {
	t.Helper()
	w := &World{requests: map[string][]byte{}, TB: t, Path: filepath.Join(t.TempDir(), "keyserver.db")}
	w.now.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMilli())
	signer, verifier, err := audit.GenerateKey(strings.NewReader(strings.Repeat("a log key ", 8)), ServerID)
	w.must(err)
	w.logKey = signer
	w.Signer, err = audit.NewSigner(signer)
	w.must(err)
	w.Verifier, err = audit.NewVerifier(verifier)
	w.must(err)
	keys, err := software.Create(filepath.Join(t.TempDir(), "keys"), []byte("a passphrase"), software.Options{Iterations: software.MinIterations})
	w.must(err)
	w.Keystore = keystoretest.Count(keys)
	w.DB, err = store.Create(w.Context(), store.File(w.Path), ServerID, store.Options{Clock: w.Now})
	w.must(err)
	w.must(keyserver.Initialise(w.Context(), w.DB, w.keystores(), law.Mode{}, configuration()))
	w.must(w.DB.Close())
	w.start()
	t.Cleanup(w.Close)
	return w
}

// Now is the time.
func (w *World) Now() time.Time { return time.UnixMilli(w.now.Load()).UTC() }

// Step moves the clock, also backwards.
func (w *World) Step(d time.Duration) { w.now.Add(d.Milliseconds()) }

// Close closes the database, so that its file is whole. It may be called again.
func (w *World) Close() {
	if err := w.DB.Close(); err != nil {
		w.Errorf("closing the database: %v", err)
	}
}

// Restart closes the database and starts another server on it.
func (w *World) Restart() {
	w.Helper()
	w.Close()
	w.start()
}

func (w *World) start() {
	w.Helper()
	var err error
	w.DB, err = store.Open(w.Context(), store.File(w.Path), store.Options{Clock: w.Now, Commit: w.commit})
	w.must(err)
	w.Server, err = keyserver.New(keyserver.Options{
		Notifications: &keyserver.Notifications{Reminder: time.Hour, Gather: time.Minute, MailDomains: []string{"example.com"}, Webhooks: true},
		DB:            w.DB, Keystores: w.keystores(), LogKey: w.logKey, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Software: "test",
	})
	w.must(err)
	w.must(w.Server.Start(w.Context()))
}

func (w *World) commit(commit func() error) error {
	if w.lose.Load() {
		return errors.New("this commit is lost")
	}
	return commit()
}

func (w *World) keystores() *keystore.Set {
	w.Helper()
	set, err := keystore.NewSet(keystore.Member{Name: "software", Keystore: w.Keystore, Limits: keystore.DefaultLimits()})
	w.must(err)
	return set
}

func (w *World) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// Refused fails the test unless the law said no.
func (w *World) Refused(err error) {
	w.Helper()
	var refusal *law.Refusal
	if !errors.As(err, &refusal) {
		w.Fatalf("this is not refused: %v", err)
	}
}

// Caller is a subject that has signed in.
func (w *World) Caller(who law.SubjectID) keyserver.Caller {
	c := law.Caller{Principal: law.Principal{Subject: who, Issuer: people, Sub: "sub of " + string(who)}}
	if who == "ci" {
		c.Issuer, c.Actor = builds, "dora-at-builds"
		c.Claims = []law.Claim{{Name: "actor", Present: true, Value: c.Actor}, {Name: "ref", Present: true, Value: "refs/tags/v1"}}
	}
	return keyserver.Caller{Caller: c, Address: "192.0.2.7", Request: "request", Route: "POST /api/test"}
}

// Events reads the whole log.
func (w *World) Events() []audit.Event {
	w.Helper()
	events, err := store.View(w.Context(), w.DB, func(r *store.Reader) ([]audit.Event, error) {
		var all []audit.Event
		stored, err := r.Events(store.EventQuery{Limit: 1 << 30})
		if err != nil {
			return nil, err
		}
		for _, s := range stored {
			e, err := audit.ParseLeaf(s.Leaf)
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
		return all, nil
	})
	w.must(err)
	return events
}

// Configure makes the configuration what it is after the change, in an administration session of its own.
func (w *World) Configure(change func(*law.Configuration)) {
	w.Helper()
	f, err := w.Server.Facts(w.Context())
	w.must(err)
	wanted := f.Configuration()
	change(&wanted)
	changes, err := f.Difference(wanted)
	w.must(err)
	w.Change(changes)
}

// Change makes a change in an administration session of its own.
func (w *World) Change(changes law.Changes) {
	w.Helper()
	w.must(w.TryChange(changes))
}

// TryChange is Change that may be refused.
func (w *World) TryChange(changes law.Changes) error {
	s, err := w.Server.OpenSession(w.Context(), w.Caller("ada"), keyserver.OpenSessionRequest{Description: "a test changes it"})
	if err == nil {
		_, err = w.Server.AuthoriseSession(w.Context(), w.Caller("adam"), s.ID, s.Digest)
	}
	if err == nil {
		_, err = w.Server.Change(w.Context(), w.Caller("ada"), s.ID, "a test changes it", changes)
	}
	if err == nil {
		_, err = w.Server.CloseSession(w.Context(), w.Caller("adam"), s.ID)
	}
	return err
}

// Enable enables a subject, or disables it at once.
func (w *World) Enable(who law.SubjectID, enabled bool) {
	w.Helper()
	if !enabled {
		_, err := w.Server.DisableSubject(w.Context(), w.Caller("ada"), who, "a test disables it")
		w.must(err)
		return
	}
	w.Configure(func(c *law.Configuration) {
		for i := range c.Subjects {
			if c.Subjects[i].ID == who {
				c.Subjects[i].Enabled = true
			}
		}
	})
}

// ChangeKey changes a key.
func (w *World) ChangeKey(id law.KeyID, change func(*law.Key)) {
	w.Helper()
	w.Configure(func(c *law.Configuration) {
		for i := range c.Keys {
			if c.Keys[i].ID == id {
				change(&c.Keys[i])
			}
		}
	})
}

func configuration() law.Configuration {
	key := func(id law.KeyID, requirement int) law.Key {
		return law.Key{
			ID: id, Type: law.Firmware, Algorithm: law.P256, Hash: law.SHA256, Schemes: []law.Scheme{law.ECDSA},
			Requirement: law.Require(requirement), MaxValidity: 24 * time.Hour, MaxUses: 100, Approvals: law.SessionApprovals,
			State: law.KeyActive, Keystore: "software",
		}
	}
	subject := func(id law.SubjectID) law.Subject {
		return law.Subject{ID: id, Kind: law.User, Name: "The " + string(id), Enabled: true,
			Identities: []law.Identity{{Issuer: people, Claims: map[string][]string{"sub": {"sub of " + string(id)}}}}}
	}
	issuer := func(url string) law.Issuer {
		return law.Issuer{URL: url, Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}}
	}
	jobs := issuer(builds)
	jobs.ActorClaim, jobs.Captured = "actor", []string{"ref"}
	ed, rsa := key("fw-ed", 0), key("fw-rsa", 0)
	ed.Algorithm, ed.Hash, ed.Schemes = law.Ed25519, law.SHA512, []law.Scheme{law.EdDSA}
	rsa.Algorithm, rsa.Schemes = law.RSA2048, []law.Scheme{law.PKCS1v15, law.PSS}
	ci, dora := subject("ci"), subject("dora")
	ci.Kind = law.Client
	dora.Actors = []law.ActorName{{Issuer: builds, Value: "dora-at-builds"}}
	all := []law.KeyID{"fw-zero", "fw-two", "fw-ed", "fw-rsa"}
	c := law.Configuration{
		Issuers:  []law.Issuer{issuer(people), jobs},
		Keys:     []law.Key{key("fw-zero", 0), key("fw-two", 2), ed, rsa},
		Subjects: []law.Subject{subject("olga"), ci, subject("alice"), subject("bob"), subject("carol"), dora, subject("ada"), subject("adam"), subject("anna"), subject("audrey"), subject("eve")},
		Roles: []law.Role{
			{ID: "orderers", Kind: law.Orderer, Keys: all, Members: []law.SubjectID{"olga"}},
			{ID: "pipelines", Kind: law.Orderer, Keys: all[:2], Members: []law.SubjectID{"ci"}},
			{ID: "approvers", Kind: law.Approver, Keys: all, Members: []law.SubjectID{"alice", "bob", "carol", "dora"}},
			{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada", "adam", "anna"}},
			{ID: "auditors", Kind: law.Auditor, Members: []law.SubjectID{"audrey"}},
		},
	}
	hierarchy(&c, key)
	return c
}

// WhileSigning does something each time the keystore is asked, before it answers.
func (w *World) WhileSigning(do func()) {
	w.Keystore.Hook(keystoretest.Hooks{Before: func(context.Context, law.Permit) error { do(); return nil }})
}

package keyserver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/testkit"
)

func TestAServerDoesNotStartWithAKeyPairThatIsNotTheConfiguredOne(t *testing.T) {
	k := testkit.New(t)
	keys, err := software.Create(t.TempDir()+"/keys", []byte("another passphrase"), software.Options{Iterations: software.MinIterations})
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := ""
	for _, key := range k.Policy(func(*law.Configuration) {}).Keys {
		if key.ID == "fw-one" {
			continue
		}
		pair, err := keys.Generate(t.Context(), key.ID, key.Version, key.Algorithm)
		if err != nil {
			t.Fatal(err)
		}
		if key.ID == "fw-dev" {
			fingerprint = keystore.Fingerprint(pair.PublicKey)
		}
	}
	set, err := keystore.NewSet(keystore.Member{Name: "software", Keystore: keys, Limits: keystore.DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	other := k.Server(func(o *keyserver.Options) { o.Keystores = set })
	before := k.Count("", audit.ServerStarted)
	err = other.Start(t.Context())
	for _, want := range []string{
		"key fw-dev: its key pair fw-dev.1 in keystore software has the fingerprint", fingerprint,
		"key fw-one: keystore software does not have its key pair fw-one.1",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("started with %v, want to be told: %s", err, want)
		}
	}
	if k.Count("", audit.ServerStarted) != before {
		t.Error("a server that was refused has said that it started")
	}

	// A key that was revoked has no need of its key pair.
	k.Configure(func(c *law.Configuration) {
		for i := range c.Keys {
			c.Keys[i].State = law.KeyRevoked
		}
	})
	if err := other.Start(t.Context()); err != nil {
		t.Errorf("starting without the key pairs of revoked keys: %v", err)
	}
}

// outOfReach is a keystore that is not to be had.
type outOfReach struct{ keystore.Keystore }

func (outOfReach) PublicKey(context.Context, string) ([]byte, error) {
	return nil, errors.New("the cable is out")
}

func TestAKeystoreThatIsNotToBeHadIsShownByReadinessAndDoesNotStopTheStart(t *testing.T) {
	var log bytes.Buffer
	k := testkit.NewWith(t, testkit.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	real := k.Keystore.Keystore
	k.Keystore.Keystore = outOfReach{real}
	k.Restart()
	if !strings.Contains(log.String(), "the cable is out") {
		t.Errorf("the log does not say why:\n%s", &log)
	}
	if err := readiness(k)["keystore software"]; err == nil || !strings.Contains(err.Error(), "key fw-prod: keystore software: the cable is out") {
		t.Errorf("readiness says: %v", err)
	}
	k.Keystore.Keystore = real
	if err := readiness(k)["keystore software"]; err != nil {
		t.Errorf("the keystore is there again, and readiness says: %v", err)
	}
}

func readiness(k *testkit.Kit) map[string]error {
	all := map[string]error{}
	for _, check := range k.Keyserver.Ready(context.Background()) {
		all[check.Name] = check.Err
	}
	return all
}

func TestAServerDoesNotStartWithTheLogKeyOfAnother(t *testing.T) {
	k := testkit.New(t)
	signer, _, err := audit.GenerateKey(rand.Reader, "keyserver/other")
	if err != nil {
		t.Fatal(err)
	}
	other := k.Server(func(o *keyserver.Options) { o.LogKey = signer })
	before := len(k.Events(""))
	err = other.Start(context.Background())
	if err == nil || !strings.Contains(err.Error(), "the log key is that of keyserver/other and the database that of keyserver/test") {
		t.Errorf("started with %v", err)
	}
	if len(k.Events("")) != before {
		t.Error("the log of another server was written to")
	}
}

func TestWaitingForAChangeEndsWhenTheServerIsToStop(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-prod"))
	answers := make(chan error)
	go func() {
		got, err := k.Keyserver.WaitOperation(context.Background(), k.Caller("olga"), o.ID, o.Revision, time.Hour)
		if err == nil && got.Revision != o.Revision {
			err = errors.New("it has changed")
		}
		answers <- err
	}()
	k.Keyserver.Stopping()
	k.Keyserver.Stopping() // as often as one likes
	if err := <-answers; err != nil {
		t.Error(err)
	}
}

func TestInitialisingThatWasCutOffCanBeDoneAgainAndLeavesForeignKeyPairsAlone(t *testing.T) {
	k := testkit.New(t)
	dir := t.TempDir()
	db, err := store.Create(context.Background(), store.File(dir+"/keyserver.db"), "keyserver/again", store.Options{Clock: k.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	keys, err := software.Create(dir+"/keys", []byte("a passphrase for tests"), software.Options{Iterations: software.MinIterations})
	if err != nil {
		t.Fatal(err)
	}
	first, err := keys.Generate(context.Background(), "fw-dev", 1, law.P256)
	if err != nil {
		t.Fatal(err)
	}
	set, err := keystore.NewSet(keystore.Member{Name: "software", Keystore: keys, Limits: keystore.DefaultLimits()})
	if err != nil {
		t.Fatal(err)
	}
	world := testkit.World(k.IdP)
	cut, cancel := context.WithCancel(context.Background())
	cancel()
	if err := keyserver.Initialise(cut, db, set, law.Mode{}, world); !errors.Is(err, context.Canceled) {
		t.Fatalf("cut off, it says: %v", err)
	}
	if err := keyserver.Initialise(context.Background(), db, set, law.Mode{}, world); err != nil {
		t.Fatal(err)
	}
	facts, err := store.View(context.Background(), db, func(r *store.Reader) (law.Facts, error) { return r.Facts(), nil })
	if err != nil {
		t.Fatal(err)
	}
	key, _ := facts.Key("fw-dev")
	if key.Version != 2 || key.Fingerprint == keystore.Fingerprint(first.PublicKey) {
		t.Errorf("key fw-dev has version %d, want a new key pair of version 2", key.Version)
	}
	if err := keyserver.Initialise(context.Background(), db, set, law.Mode{}, world); err == nil || !strings.Contains(err.Error(), "a configuration already") {
		t.Errorf("done twice, it says: %v", err)
	}
}

package keyserver_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// publicKey is the public key by which an outsider verifies.
func publicKey(k *testkit.Kit, id law.KeyID) any {
	k.Helper()
	key, err := k.Keyserver.Key(k.Context(), k.Caller("audrey"), id)
	if err != nil {
		k.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(key.PublicKey)
	if err != nil {
		k.Fatal(err)
	}
	return public
}

func TestASignatureVerifiesWithThePublicKeyAndIsInTheLog(t *testing.T) {
	k := testkit.New(t)
	o := k.Approve(k.Create(testkit.Ask("fw-one", "fw-ed")), "alice")
	digest := sha256.Sum256([]byte("image"))
	order := k.MustSign(o, testkit.OrderAsk("fw-one", "1", "image"))
	if !ecdsa.VerifyASN1(publicKey(k, "fw-one").(*ecdsa.PublicKey), digest[:], order.Signature) {
		t.Error("the ECDSA signature does not verify")
	}
	data := law.OrderAsk{Key: "fw-ed", IdempotencyKey: "1", Data: []byte("small image")}
	ed := k.MustSign(o, data)
	if !ed25519.Verify(publicKey(k, "fw-ed").(ed25519.PublicKey), data.Data, ed.Signature) {
		t.Error("the Ed25519 signature does not verify")
	}
	if again := k.MustSign(o, data); again.ID != ed.ID || !bytes.Equal(again.Signature, ed.Signature) {
		t.Error("the same data is not the same order")
	}
	sum := sha512.Sum512(data.Data)
	signed := k.EventsOf(o.ID, audit.OrderSigned)
	for i, want := range []struct {
		order  keyserver.SignOrder
		input  []byte
		hash   law.Hash
		scheme law.Scheme
	}{{order, digest[:], law.SHA256, law.ECDSA}, {ed, sum[:], law.SHA512, law.EdDSA}} {
		e, signature := signed[i], sha256.Sum256(want.order.Signature)
		if e.Order != want.order.ID || e.Input != hex.EncodeToString(want.input) || e.Signature != hex.EncodeToString(signature[:]) ||
			e.Hash != want.hash || e.Scheme != want.scheme || e.Use != 1 || e.Of != 1 || e.Fingerprint != want.order.Fingerprint {
			t.Errorf("the event is %+v", e)
		}
		verifier, err := audit.NewVerifier(k.Keyserver.LogKey())
		if err != nil {
			t.Fatal(err)
		}
		if c, err := audit.ParseCheckpoint([]byte(want.order.Checkpoint), verifier); err != nil || c.Size <= e.Index {
			t.Errorf("the checkpoint of %d entries does not cover entry %d (%v)", c.Size, e.Index, err)
		}
	}
}

// CR-01
func TestCR01_InputsThatDoNotFitTheKeyAreRefused(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-dev", "fw-ed"))
	good := testkit.OrderAsk("fw-dev", "1", "image")
	n := 0
	for what, change := range map[string]func(*law.OrderAsk){
		"31 bytes": func(a *law.OrderAsk) { a.Digest = a.Digest[:31] }, "33 bytes": func(a *law.OrderAsk) { a.Digest = append(a.Digest, 0) },
		"48 bytes": func(a *law.OrderAsk) { a.Digest = make([]byte, 48) }, "an empty digest": func(a *law.OrderAsk) { a.Digest = []byte{} },
		"SHA-1": func(a *law.OrderAsk) { a.Hash, a.Digest = "SHA-1", make([]byte, 20) }, "MD5": func(a *law.OrderAsk) { a.Hash, a.Digest = "MD5", make([]byte, 16) },
		"another hash": func(a *law.OrderAsk) { a.Hash, a.Digest = law.SHA384, make([]byte, 48) }, "no hash": func(a *law.OrderAsk) { a.Hash = "" },
		"another hash's name": func(a *law.OrderAsk) { a.Hash = law.SHA512 },
		"PKCS#1":              func(a *law.OrderAsk) { a.Scheme = law.PKCS1v15 }, "PSS": func(a *law.OrderAsk) { a.Scheme = law.PSS },
		"a scheme in small letters": func(a *law.OrderAsk) { a.Scheme = "ecdsa" },
		"neither digest nor data":   func(a *law.OrderAsk) { a.Digest = nil }, "both": func(a *law.OrderAsk) { a.Data = []byte("image") },
		"a DigestInfo": func(a *law.OrderAsk) { // RFC 8017 section 9.2
			a.Digest = append([]byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"), a.Digest...)
		},
		"no data":              func(a *law.OrderAsk) { a.Digest, a.Data = nil, []byte{} },
		"too much data":        func(a *law.OrderAsk) { a.Digest, a.Data = nil, make([]byte, law.MaxMessage+1) },
		"a digest for Ed25519": func(a *law.OrderAsk) { a.Key, a.Hash, a.Digest = "fw-ed", law.SHA512, make([]byte, 64) },
	} {
		ask := good
		ask.Digest = bytes.Clone(good.Digest)
		change(&ask)
		_, err := k.Sign(o, ask)
		testkit.Refused(t, what, err, law.InputMisfit)
		n++
	}
	if len(k.Keystore.Calls()) != 0 || k.Look(o.ID).Used() {
		t.Errorf("the keystore was asked %d times, the usage is %+v", len(k.Keystore.Calls()), k.Look(o.ID).Usage)
	}
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderRefused: n, audit.OrderAccepted: 0})
	k.MustSign(o, good) // under the same idempotency key
}

// CR-04
func TestCR04_CAAndRootKeysNeverSignAnInput(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("ca-dev", "fw-dev"))
	_, err := k.Sign(o, testkit.OrderAsk("ca-dev", "1", "image"))
	testkit.Refused(t, "a sign order with a CA key", err, law.Impossible)
	_, err = k.Sign(o, testkit.OrderAsk("root", "1", "image"))
	testkit.Refused(t, "a sign order with a ROOT key", err, law.Impossible)
	_, err = k.CreateAs(k.Caller("olga"), testkit.Ask("root"))
	testkit.Refused(t, "an operation on a ROOT key", err, law.Impossible)
	if n := len(k.Keystore.Calls()); n != 0 || k.Look(o.ID).Used() {
		t.Errorf("the keystore was asked %d times", n)
	}
	expectCounts(k, "", map[audit.Type]int{audit.OrderRefused: 2, audit.OperationRefused: 1})
}

// AZ-03
func TestAZ03_AnOrderNamesAKeyOfItsOperation(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-dev"))
	for _, key := range []law.KeyID{"fw-one", "fw-other", "fw-dev.1", "FW-DEV", "fw-dev ", "", "fw-none"} {
		_, err := k.Sign(o, testkit.OrderAsk(key, "1", "image"))
		testkit.Refused(t, "an order for key "+string(key), err, law.NotCovered)
	}
	k.ReplaceKeyPair("fw-dev") // another version
	_, err := k.Sign(o, testkit.OrderAsk("fw-dev", "1", "image"))
	testkit.Refused(t, "an order for another version of the key", err, law.WrongState)
	if n := len(k.Keystore.Calls()); n != 0 || k.Look(o.ID).Used() {
		t.Errorf("the keystore was asked %d times", n)
	}
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderRefused: 8, audit.OperationRevoked: 1})
}

// I9
func TestOnlyNamedArtifactsAreSigned(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev", "fw-ed")
	ask.Keys[0].MaxUses = 5
	sum256, sum512 := sha256.Sum256([]byte("image")), sha512.Sum512([]byte("small image"))
	ask.Artifacts = []law.Artifact{
		{Name: "image.bin", Size: 5, Hash: law.SHA256, Digest: hex.EncodeToString(sum256[:])},
		{Name: "small.bin", Size: 11, Hash: law.SHA512, Digest: hex.EncodeToString(sum512[:])},
	}
	o := k.Create(ask)
	for what, order := range map[string]law.OrderAsk{
		"another digest":               testkit.OrderAsk("fw-dev", "1", "another image"),
		"other data":                   {Key: "fw-dev", IdempotencyKey: "1", Data: []byte("another image")},
		"other data for Ed25519":       {Key: "fw-ed", IdempotencyKey: "1", Data: []byte("another image")},
		"the other artifact":           {Key: "fw-ed", IdempotencyKey: "1", Data: []byte("image")},
		"the other artifact, by ECDSA": {Key: "fw-dev", IdempotencyKey: "1", Data: []byte("small image")},
	} {
		_, err := k.Sign(o, order)
		testkit.Refused(t, what, err, law.InputMisfit)
	}
	if n := len(k.Keystore.Calls()); n != 0 {
		t.Errorf("the keystore was asked %d times", n)
	}
	k.MustSign(o, testkit.OrderAsk("fw-dev", "1", "image"))
	k.MustSign(o, law.OrderAsk{Key: "fw-dev", IdempotencyKey: "2", Data: []byte("image")})
	k.MustSign(o, law.OrderAsk{Key: "fw-ed", IdempotencyKey: "1", Data: []byte("small image")})

	k.ReconfigureKey("fw-one", func(key *law.Key) { key.ArtifactsNeeded = true })
	_, err := k.CreateAs(k.Caller("olga"), testkit.Ask("fw-one"))
	testkit.Refused(t, "an operation without the artifacts that the key needs", err, law.Impossible)
}

// lines collects a server's log.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// I10
func TestASignatureThatDoesNotVerifyIsNeverReleased(t *testing.T) {
	var log lines
	k := testkit.NewWith(t, testkit.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = 2
	o := k.Create(ask)
	k.Keystore.Corrupt()
	corrupt, err := k.Sign(o, testkit.OrderAsk("fw-dev", "1", "image"))
	u := testkit.Unavailable(t, "a corrupt signature", err, "keystore")
	if corrupt.Signature != nil || !strings.Contains(u.Sentence, "does not verify") {
		t.Errorf("the answer is %+v, %+v", corrupt, u)
	}
	k.Keystore.Swap()
	swapped := make([]answered, 2)
	testkit.Race(2, func(i int) {
		swapped[i].order, swapped[i].err = k.Sign(o, testkit.OrderAsk("fw-dev", []string{"1", "2"}[i], []string{"image", "another"}[i]))
	})
	for _, answer := range swapped {
		testkit.Unavailable(t, "the signature of another input", answer.err, "keystore")
		if answer.order.Signature != nil {
			t.Error("the signature of another input was released")
		}
	}
	if strings.Count(log.text(), `"level":"ERROR"`) != 3 || strings.Count(log.text(), "bad signature with key fw-dev") != 3 {
		t.Errorf("the log says\n%s", log.text())
	}
	failed := k.EventsOf(o.ID, audit.OrderFailed)
	for _, e := range failed {
		if !strings.Contains(e.Reason, "does not verify") {
			t.Errorf("the event is %+v", e)
		}
	}
	if one, err := k.Keyserver.SignOrder(k.Context(), k.Caller("olga"), u.Order); err != nil || one.Signature != nil || one.State != law.OrderFailed {
		t.Errorf("the order is %+v (%v)", one, err)
	}
	k.Keystore.Hook(keystoretest.Hooks{})
	if order := k.MustSign(o, testkit.OrderAsk("fw-dev", "1", "image")); order.Attempt != 3 || order.Use > 2 {
		t.Errorf("the order is %+v", order.Order)
	}
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderAccepted: 2, audit.OrderAttempted: 2, audit.OrderFailed: 3, audit.OrderSigned: 1})
}

// I10
func TestASignatureByAnotherKeyPairIsNeverReleased(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-dev"))
	k.Keystore.Hook(keystoretest.Hooks{After: func(p law.Permit, _ keystore.Unverified, _ error) (keystore.Unverified, error) {
		other := p.Key()
		other.ID = "fw-stray"
		pair, err := k.Keystore.Generate(k.Context(), other.ID, 1, other.Algorithm)
		if err != nil {
			return keystore.Unverified{}, err
		}
		other.Handle, other.PublicKey, other.Fingerprint = pair.Handle, pair.PublicKey, keystore.Fingerprint(pair.PublicKey)
		return k.Keystore.Keystore.Sign(k.Context(), keystoretest.Permit(t, other, p.Input()))
	}})
	order, err := k.Sign(o, testkit.OrderAsk("fw-dev", "1", "image"))
	if u := testkit.Unavailable(t, "a signature by another key pair", err, "keystore"); order.Signature != nil || !strings.Contains(u.Sentence, "does not verify") {
		t.Errorf("the answer is %+v, %+v", order, u)
	}
}

// I8
func TestI08_ASignatureThatIsBeingMadeIsWithheldByRevocation(t *testing.T) {
	for name, end := range map[string]func(*testkit.Kit, keyserver.Operation) error{
		"the operation is revoked": func(k *testkit.Kit, o keyserver.Operation) error { // while the keystore hangs
			revoked, err := k.Keyserver.Revoke(k.Context(), k.Caller("ada"), o.ID, "wrong tag")
			if revoked.State != law.Revoked {
				k.Errorf("the operation is %s", revoked.State)
			}
			return err
		},
		"its key is revoked":         func(k *testkit.Kit, _ keyserver.Operation) error { state(k, "fw-one", law.KeyRevoked); return nil },
		"its key's pair is replaced": func(k *testkit.Kit, _ keyserver.Operation) error { k.ReplaceKeyPair("fw-one"); return nil },
		"it is revoked by its orderer": func(k *testkit.Kit, o keyserver.Operation) error {
			_, err := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), o.ID, "no")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := testkit.New(t)
			o, ask, hanging, answer := hangingOrder(k)
			if err := end(k, o); err != nil {
				t.Fatal(err)
			}
			hanging.Release()
			got := <-answer
			testkit.Refused(t, "the signature that was being made", got.err, law.WrongState)
			if got.order.Signature != nil {
				t.Error("a signature was released after the revocation was acknowledged")
			}
			for range 2 {
				_, err := k.Sign(o, ask)
				testkit.Refused(t, "asking for it again", err, law.WrongState)
				k.Restart()
			}
			orders, err := k.Keyserver.SignOrders(k.Context(), k.Caller("olga"), o.ID, keyserver.Page{Limit: 10})
			if err != nil || len(orders.Orders) != 1 || orders.Orders[0].State != law.OrderWithheld || orders.Orders[0].Signature != nil {
				t.Errorf("the orders are %+v (%v)", orders, err)
			}
			expectState(k, o, law.Revoked)
			expectCounts(k, o.ID, map[audit.Type]int{
				audit.OrderAccepted: 1, audit.OrderWithheld: 1, audit.OrderSigned: 0, audit.OrderFailed: 0, audit.OperationRevoked: 1, audit.OrderRefused: 2,
			})
		})
	}
}

// Rule 7: only revocation withholds.
func TestASignatureThatIsBeingMadeIsGivenThoughTheOperationExpiresOrLapses(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*testkit.Kit)
		want law.State
	}{
		"expired": {func(k *testkit.Kit) { k.Clock.Step(law.AttemptLease / 2); k.Beat() }, law.Expired},
		"lapsed":  {func(k *testkit.Kit) { k.Enable("alice", false) }, law.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			k := testkit.New(t)
			ask := testkit.Ask("fw-one")
			ask.Validity, ask.Keys[0].MaxUses = law.AttemptLease/2, 2 // it expires while the attempt may still run
			o := k.Approve(k.Create(ask), "alice")
			hanging := k.Keystore.Hang(t)
			answer := inBackground(k, o, testkit.OrderAsk("fw-one", "1", "image"))
			if err := hanging.Wait(k.Context(), 1); err != nil {
				t.Fatal(err)
			}
			c.end(k)
			expectState(k, o, c.want)
			hanging.Release()
			if got := <-answer; got.err != nil || got.order.Signature == nil {
				t.Errorf("the signature was not given: %v", got.err)
			}
			_, err := k.Sign(o, testkit.OrderAsk("fw-one", "2", "image"))
			if _, is := errors.AsType[*law.Refusal](err); !is {
				t.Errorf("another use: %v", err)
			}
			expectState(k, o, c.want)
			expectCounts(k, o.ID, map[audit.Type]int{audit.OrderSigned: 1, audit.OrderWithheld: 0})
		})
	}
}

// Law 9: a caller counts only if he was authenticated by the configuration that the order is judged by.
func TestCallerAuthenticatedByAnotherConfigurationIsSentBack(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = 2
	o := k.Create(ask)
	facts, err := k.Keyserver.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	olga := k.Caller("olga")
	olga.By = facts.Making()
	if _, err := k.Keyserver.PlaceSignOrder(t.Context(), olga, o.ID, testkit.OrderAsk("fw-dev", "1", "one")); err != nil {
		t.Fatal(err)
	}
	k.Enable("eve", false)
	size := k.LogSize()
	if _, err := k.Keyserver.PlaceSignOrder(t.Context(), olga, o.ID, testkit.OrderAsk("fw-dev", "2", "two")); err != keyserver.ErrStale {
		t.Errorf("got %v, want ErrStale", err)
	}
	if k.LogSize() != size {
		t.Error("there are events of it")
	}
	if recent, err := k.Keyserver.RecentFacts(t.Context()); err != nil || recent.Making() != facts.Making() {
		t.Errorf("recent facts are not those asked for last: %v", err)
	}
	if facts, err = k.Keyserver.Facts(t.Context()); err != nil {
		t.Fatal(err)
	}
	olga.By = facts.Making()
	if _, err := k.Keyserver.PlaceSignOrder(t.Context(), olga, o.ID, testkit.OrderAsk("fw-dev", "2", "two")); err != nil {
		t.Errorf("authenticated again: %v", err)
	}
}

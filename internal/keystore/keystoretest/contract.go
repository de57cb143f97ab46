package keystoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// Can says what a keystore can do: the schemes of each algorithm.
type Can map[law.Algorithm][]law.Scheme

// All is everything that the law knows.
func All() Can {
	can := Can{}
	for _, a := range law.Algorithms() {
		can[a] = a.Schemes()
	}
	return can
}

// only are those of the algorithms that the keystore can do; P-256 is always one.
func (c Can) only(wanted ...law.Algorithm) []law.Algorithm {
	return slices.DeleteFunc(wanted, func(a law.Algorithm) bool { return len(c[a]) == 0 })
}

// Run is the contract of keystores: every keystore passes it. It calls open for each case; the answer may
// be a new keystore or another session with the same one, since each case has key ids of its own.
//
// What the keystore can do must be said, and at least that is ECDSA on P-256; what it cannot do, it must refuse.
func Run(t *testing.T, can Can, open func(t *testing.T) keystore.Keystore) {
	if !slices.Contains(can[law.P256], law.ECDSA) {
		t.Fatalf("a keystore that cannot sign with %s is none that this contract can be tried on", law.P256)
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, keystore.Keystore, Can)
	}{
		{"TheZeroPermitIsRefused", zeroPermit},
		{"EveryAlgorithmSchemeAndHashSigns", everyCombination},
		{"WhatItCannotDoIsRefused", cannot},
		{"TwoKeysAreNeverMixed", neverMixed},
		{"VersionsOfAKeyAreDifferentKeyPairs", versions},
		{"AKeyPairIsNeverReplaced", neverReplaced},
		{"AHandleThatNobodyKnowsIsRefused", unknownHandle},
		{"APermitThatDoesNotFitTogetherIsRefused", unfitPermit},
		{"WhatCannotBeGeneratedIsRefused", impossibleKeys},
		{"AnAnswerIsNotSharedWithTheKeystore", answersAreCopies},
		{"ACancelledContextIsAnError", cancelled},
		{"ManyCallsAtTheSameTime", concurrent},
		{"ECDSASignaturesHaveDistinctRAndMinimalDER", distinctECDSA},
		{"RSAPKCS1SignaturesHoldOneDigestInfo", oneDigestInfo},
		{"AClosedKeystoreAnswersNothing", closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := open(t)
			defer k.Close()
			if err := k.Ready(t.Context()); err != nil {
				t.Fatalf("a keystore that was just opened is not ready: %v", err)
			}
			c.run(t, k, can)
		})
	}
}

var message = []byte("firmware 1.2.3\n")

// generate makes a key pair and returns a key for it.
func generate(t testing.TB, k keystore.Keystore, id law.KeyID, a law.Algorithm) law.Key {
	t.Helper()
	pair, err := k.Generate(t.Context(), id, 1, a)
	if err != nil {
		t.Fatalf("generating key %s of %s: %v", id, a, err)
	}
	return Key("tested", id, a, pair)
}

// sign signs and releases.
func sign(t testing.TB, k keystore.Keystore, key law.Key, in law.Input) []byte {
	t.Helper()
	p := Permit(t, key, in)
	made, err := k.Sign(t.Context(), p)
	if err != nil {
		t.Fatalf("signing with key %s: %v", key.ID, err)
	}
	signature, err := made.Release(p)
	if err != nil {
		t.Fatalf("key %s made a bad signature: %v", key.ID, err)
	}
	return signature
}

func refused(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func zeroPermit(t *testing.T, k keystore.Keystore, _ Can) {
	_, err := k.Sign(t.Context(), law.Permit{})
	refused(t, "the zero permit", err, keystore.ErrNoPermit)
}

func everyCombination(t *testing.T, k keystore.Keystore, can Can) {
	for _, a := range can.only(law.Algorithms()...) {
		key := generate(t, k, law.KeyID("every-"+lower(a)), a)
		for _, s := range can[a] {
			for _, h := range HashesOf(a) {
				t.Run(fmt.Sprintf("%s/%s/%s", a, s, h), func(t *testing.T) {
					signature := sign(t, k, key, Input(h, s, message))
					checkForm(t, a, signature)
					VerifiedByOthers(t, key.PublicKey, Input(h, s, message), message, signature)
				})
			}
		}
	}
}

// cannot tries what the keystore is said not to do, so that the list is not shorter than it is.
func cannot(t *testing.T, k keystore.Keystore, can Can) {
	for _, a := range law.Algorithms() {
		if len(can[a]) > 0 {
			continue
		}
		if pair, err := k.Generate(t.Context(), law.KeyID("cannot-"+lower(a)), 1, a); err == nil {
			t.Errorf("%s is not on the list of what this keystore can do, and it generated %s", a, pair.Handle)
		}
	}
}

func neverMixed(t *testing.T, k keystore.Keystore, can Can) {
	for _, a := range can.only(law.P256, law.RSA2048, law.Ed25519) {
		one, two := generate(t, k, law.KeyID("mixed-one-"+lower(a)), a), generate(t, k, law.KeyID("mixed-two-"+lower(a)), a)
		in := Input(HashesOf(a)[0], a.Schemes()[0], message)
		if err := keystore.Verify(two.PublicKey, in, sign(t, k, one, in)); err == nil {
			t.Errorf("%s: a signature of one key verifies with another", a)
		}
		if err := keystore.Verify(one.PublicKey, in, sign(t, k, two, in)); err == nil {
			t.Errorf("%s: a signature of one key verifies with another", a)
		}
		mixed := one
		mixed.Handle = two.Handle
		_, err := k.Sign(t.Context(), Permit(t, mixed, in))
		refused(t, "a permit with the handle of another key pair", err, keystore.ErrUnfit)
	}
}

func versions(t *testing.T, k keystore.Keystore, _ Can) {
	one := generate(t, k, "versions", law.P256)
	pair, err := k.Generate(t.Context(), "versions", 2, law.P256)
	if err != nil {
		t.Fatalf("generating version 2: %v", err)
	}
	if pair.Handle == one.Handle || bytes.Equal(pair.PublicKey, one.PublicKey) {
		t.Fatalf("version 2 is the key pair of version 1")
	}
	in := Input(law.SHA256, law.ECDSA, message)
	sign(t, k, one, in)
	sign(t, k, Key("tested", "versions", law.P256, pair), in)
}

func neverReplaced(t *testing.T, k keystore.Keystore, can Can) {
	key := generate(t, k, "replaced", law.P256)
	for _, a := range can.only(law.P256, law.Ed25519) {
		_, err := k.Generate(t.Context(), "replaced", 1, a)
		refused(t, "generating the same key and version again", err, keystore.ErrExists)
	}
	got, err := k.PublicKey(t.Context(), key.Handle)
	if err != nil || !bytes.Equal(got, key.PublicKey) {
		t.Errorf("the key pair is another now, or gone (error %v)", err)
	}
	sign(t, k, key, Input(law.SHA256, law.ECDSA, message))
}

func unknownHandle(t *testing.T, k keystore.Keystore, _ Can) {
	key := generate(t, k, "unknown", law.P256)
	for _, handle := range []string{"", "nobody.1", key.Handle + "0", "../" + key.Handle, key.Handle + "\x00", "%", string(make([]byte, 10_000))} {
		_, err := k.PublicKey(t.Context(), handle)
		refused(t, fmt.Sprintf("the public key at handle %.40q", handle), err, keystore.ErrNoKeyPair)
		lost := key
		lost.Handle = handle
		_, err = k.Sign(t.Context(), Permit(t, lost, Input(law.SHA256, law.ECDSA, message)))
		refused(t, fmt.Sprintf("signing at handle %.40q", handle), err, keystore.ErrNoKeyPair)
	}
}

func unfitPermit(t *testing.T, k keystore.Keystore, _ Can) {
	key, other := generate(t, k, "unfit", law.P256), generate(t, k, "unfit-other", law.P256)
	in := Input(law.SHA256, law.ECDSA, message)
	for what, change := range map[string]func(*law.Key){
		"the fingerprint of another key": func(k *law.Key) { k.Fingerprint = other.Fingerprint },
		"the public key of another key":  func(k *law.Key) { k.PublicKey = other.PublicKey },
		"public key and fingerprint of another key": func(k *law.Key) {
			k.PublicKey, k.Fingerprint = other.PublicKey, other.Fingerprint
		},
		"no public key": func(k *law.Key) {
			k.PublicKey, k.Fingerprint = nil, keystore.Fingerprint(nil)
		},
		"another algorithm": func(k *law.Key) { k.Algorithm = law.P384 },
	} {
		changed := key
		change(&changed)
		_, err := k.Sign(t.Context(), Permit(t, changed, in))
		refused(t, what, err, keystore.ErrUnfit)
	}
}

func impossibleKeys(t *testing.T, k keystore.Keystore, _ Can) {
	for _, c := range []struct {
		id      law.KeyID
		version int
		a       law.Algorithm
	}{
		{"impossible", 1, ""},
		{"impossible", 1, "RSA-1024"},
		{"impossible", 1, "ECDSA-P224"},
		{"impossible", 0, law.P256},
		{"impossible", -1, law.P256},
		{"", 1, law.P256},
		{"../impossible", 1, law.P256},
		{"a/b", 1, law.P256},
		{"UPPER", 1, law.P256},
		{"nul\x00", 1, law.P256},
	} {
		if pair, err := k.Generate(t.Context(), c.id, c.version, c.a); err == nil {
			t.Errorf("key %q version %d of algorithm %q was generated at %q", c.id, c.version, c.a, pair.Handle)
		}
	}
}

func answersAreCopies(t *testing.T, k keystore.Keystore, _ Can) {
	pair, err := k.Generate(t.Context(), "copies", 1, law.P256)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(pair.PublicKey)
	clear(pair.PublicKey)
	for range 2 {
		got, err := k.PublicKey(t.Context(), pair.Handle)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("a caller has changed the keystore's public key (error %v)", err)
		}
		clear(got)
	}
}

func cancelled(t *testing.T, k keystore.Keystore, _ Can) {
	key := generate(t, k, "cancelled", law.P256)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.Sign(ctx, Permit(t, key, Input(law.SHA256, law.ECDSA, message)))
	refused(t, "signing", err, context.Canceled)
	_, err = k.PublicKey(ctx, key.Handle)
	refused(t, "asking for a public key", err, context.Canceled)
	_, err = k.Generate(ctx, "cancelled-too", 1, law.P256)
	refused(t, "generating", err, context.Canceled)
	generate(t, k, "cancelled-too", law.P256) // is not there yet
}

func concurrent(t *testing.T, k keystore.Keystore, can Can) {
	var keys []law.Key
	for _, a := range can.only(law.P256, law.RSA2048, law.Ed25519, law.P384) {
		keys = append(keys, generate(t, k, law.KeyID("concurrent-"+lower(a)), a))
	}
	var all sync.WaitGroup
	for i := range 64 {
		key := keys[i%len(keys)]
		p := Permit(t, key, Input(HashesOf(key.Algorithm)[0], key.Schemes[0], fmt.Append(nil, "message ", i)))
		all.Go(func() {
			for range 4 {
				made, err := k.Sign(t.Context(), p)
				if err == nil {
					_, err = made.Release(p)
				}
				if err != nil {
					t.Errorf("signing with key %s: %v", key.ID, err)
				}
			}
		})
	}
	all.Wait()
}

func closed(t *testing.T, k keystore.Keystore, _ Can) {
	key := generate(t, k, "closed", law.P256)
	if err := k.Close(); err != nil {
		t.Fatalf("closing: %v", err)
	}
	refused(t, "being ready", k.Ready(t.Context()), keystore.ErrClosed)
	_, err := k.Sign(t.Context(), Permit(t, key, Input(law.SHA256, law.ECDSA, message)))
	refused(t, "signing", err, keystore.ErrClosed)
	_, err = k.PublicKey(t.Context(), key.Handle)
	refused(t, "asking for a public key", err, keystore.ErrClosed)
	_, err = k.Generate(t.Context(), "closed-too", 1, law.P256)
	refused(t, "generating", err, keystore.ErrClosed)
	refused(t, "closing again", k.Close(), keystore.ErrClosed)
}

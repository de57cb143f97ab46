package keystore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
)

var message = []byte("firmware 1.2.3\n")

func newSoftware(t testing.TB) *software.Keystore {
	t.Helper()
	k, err := software.Create(t.TempDir()+"/keys", []byte("correct horse battery staple"), software.Options{Iterations: software.MinIterations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func newKey(t testing.TB, k keystore.Keystore, id law.KeyID, a law.Algorithm) law.Key {
	t.Helper()
	pair, err := k.Generate(t.Context(), id, 1, a)
	if err != nil {
		t.Fatal(err)
	}
	return keystoretest.Key("main", id, a, pair)
}

// everySignature calls do with a permit for each algorithm, scheme and hash.
func everySignature(t *testing.T, do func(t *testing.T, k keystore.Keystore, p law.Permit)) {
	k, keys := allKeys(t)
	for _, key := range keys {
		for _, s := range key.Algorithm.Schemes() {
			for _, h := range keystoretest.HashesOf(key.Algorithm) {
				t.Run(fmt.Sprintf("%s/%s/%s", key.Algorithm, s, h), func(t *testing.T) {
					do(t, k, keystoretest.Permit(t, key, keystoretest.Input(h, s, message)))
				})
			}
		}
	}
}

func allKeys(t *testing.T) (keystore.Keystore, []law.Key) {
	k := newSoftware(t)
	keys := make([]law.Key, len(law.Algorithms()))
	var all sync.WaitGroup
	for i, a := range law.Algorithms() {
		all.Go(func() { keys[i] = newKey(t, k, law.KeyID("fw-"+strings.ToLower(string(a))), a) })
	}
	all.Wait()
	return k, keys
}

func release(t testing.TB, k keystore.Keystore, p law.Permit) []byte {
	t.Helper()
	made, err := k.Sign(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := made.Release(p)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func TestAnUnverifiedSignatureIsNeverPrinted(t *testing.T) {
	u := keystore.NewUnverified([]byte("SECRET"))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, u); got != "unverified signature of 6 bytes" {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

func TestNoSignatureIsReleasedWithoutAPermitThatFits(t *testing.T) {
	k := newSoftware(t)
	key, other := newKey(t, k, "one", law.P256), newKey(t, k, "two", law.P256)
	in := keystoretest.Input(law.SHA256, law.ECDSA, message)
	p := keystoretest.Permit(t, key, in)
	made, err := k.Sign(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	renamed := key
	renamed.Fingerprint = other.Fingerprint
	for what, wrong := range map[string]law.Permit{
		"the zero permit":                         {},
		"a permit for another key":                keystoretest.Permit(t, other, in),
		"a permit for another input":              keystoretest.Permit(t, key, keystoretest.Input(law.SHA256, law.ECDSA, []byte("other"))),
		"a permit for another hash":               keystoretest.Permit(t, key, keystoretest.Input(law.SHA384, law.ECDSA, message)),
		"a permit that names another fingerprint": keystoretest.Permit(t, renamed, in),
	} {
		if signature, err := made.Release(wrong); err == nil || signature != nil {
			t.Errorf("%s: released %x (error %v)", what, signature, err)
		}
	}
	if _, err := made.Release(p); err != nil {
		t.Errorf("with its own permit: %v", err)
	}
	if signature, err := (keystore.Unverified{}).Release(p); err == nil {
		t.Errorf("the zero Unverified was released: %x", signature)
	}
}

package keyserver_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// vault is a keystore that has key pairs already, or none at all.
type vault struct {
	keystore.Keystore
	has   map[string]keystore.KeyPair
	fault error // why it makes none
}

func (v vault) Adopt(_ context.Context, name string) (keystore.KeyPair, error) {
	pair, known := v.has[name]
	if !known {
		return keystore.KeyPair{}, keystore.ErrNoKeyPair
	}
	return pair, nil
}

func (v vault) Generate(ctx context.Context, id law.KeyID, version int, a law.Algorithm) (keystore.KeyPair, error) {
	if v.fault != nil {
		return keystore.KeyPair{}, v.fault
	}
	return v.Keystore.Generate(ctx, id, version, a)
}

func TestAKeyPairIsAdoptedInASessionIfItIsWhatWasSaid(t *testing.T) {
	k := testkit.New(t)
	inside := &law.KeyAttributes{Sensitive: true, NeverExtractable: true}
	pair := func(id law.KeyID, attributes *law.KeyAttributes) keystore.KeyPair {
		made, err := k.Keystore.Generate(t.Context(), id, 1, law.P256)
		if err != nil {
			t.Fatal(err)
		}
		made.Attributes = attributes
		return made
	}
	dev, err := k.Keyserver.Key(t.Context(), k.Caller("ada"), "fw-dev")
	if err != nil {
		t.Fatal(err)
	}
	k.Keystore.Keystore = vault{Keystore: k.Keystore.Keystore, has: map[string]keystore.KeyPair{
		"good": pair("a", inside), "loose": pair("b", nil), "taken": {Handle: dev.Handle, PublicKey: dev.PublicKey, Attributes: inside},
	}}
	adopt := func(id law.KeyID, name string, change func(*law.Key)) error {
		key := testkit.Key(id, 0)
		key.Adopted = name
		change(&key)
		_, err := k.ChangeIn(k.ActiveSession(nil), law.Changes{Set: law.Configuration{Keys: []law.Key{key}}})
		return err
	}
	as := func(*law.Key) {}
	before := k.LogSize()
	for what, c := range map[string]struct {
		err  error
		says string
	}{
		"none":                {adopt("fw-x", "none", as), "no such key pair"},
		"another algorithm":   {adopt("fw-x", "good", func(k *law.Key) { k.Algorithm = law.P384 }), "say algorithm"},
		"one that can leave":  {adopt("fw-x", "loose", as), "extractable: allowed"},
		"one of another key":  {adopt("fw-x", "taken", as), "the same key pair"},
		"an unknown keystore": {adopt("fw-x", "good", func(k *law.Key) { k.Keystore = "none" }), "there is no keystore"},
	} {
		testkit.Refused(t, what, c.err, law.Impossible)
		if !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: it says %q, want %q", what, c.err, c.says)
		}
	}
	refused := 0
	for _, e := range k.EventsSince(before) {
		switch {
		case e.Type == audit.SessionRefused && e.Session != "" && e.Reason != "":
			refused++
		case e.Type == audit.ConfigurationChanged:
			t.Errorf("the configuration was changed: %+v", e)
		}
	}
	if refused != 5 {
		t.Errorf("%d refusals are events, want 5", refused)
	}
	if err := errors.Join(adopt("fw-good", "good", as), adopt("fw-loose", "loose", func(k *law.Key) { k.MayLeave = true })); err != nil {
		t.Fatal(err)
	}
	good, err := k.Keyserver.Key(t.Context(), k.Caller("ada"), "fw-good")
	if err != nil || good.Adopted != "good" || good.Attributes == nil || *good.Attributes != *inside || good.Version != 1 {
		t.Errorf("the key is %+v (%v)", good, err)
	}
	_, err = k.ChangeIn(k.ActiveSession(nil), law.Changes{ReplacePairs: []law.KeyID{"fw-good"}})
	testkit.Refused(t, "a new key pair for an adopted key", err, law.Impossible)
}

func TestAKeystoreThatMakesNoKeyPairChangesNothing(t *testing.T) {
	k := testkit.New(t)
	real := k.Keystore.Keystore
	k.Keystore.Keystore = vault{Keystore: real, fault: errors.New("the cable is out")}
	policy := k.Policy(newProduct)
	s := k.ActiveSession(&policy)
	size := k.LogSize()
	_, err := apply(k, "ada", s)
	if u := testkit.Unavailable(t, "applying", err, "keystore"); strings.Contains(u.Sentence, "cable") {
		t.Errorf("it says what the keystore said: %s", u.Sentence)
	}
	if n := k.LogSize() - size; n != 0 {
		t.Errorf("it left %d events", n)
	}
	k.Keystore.Keystore = real
	if _, err := apply(k, "ada", s); err != nil {
		t.Error(err)
	}
}

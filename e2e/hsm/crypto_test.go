package hsm_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/e2e/pkcs11shim"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keystore/hsm/hsmtest"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func digestOf(text string) string { return hex.EncodeToString(law.SHA256.Sum([]byte(text))) }

// sha256Info is what comes before the digest in a DigestInfo of SHA-256 (RFC 8017 section 9.2).
const sha256Info = "3031300d060960864801650304020105000420"

// CR-01
func TestCR01_AnInputThatDoesNotFitNeverReachesTheHSM(t *testing.T) {
	onBoth(t, setting{}, func(s *site) {
		o := s.approved("fw-dev", 2)
		good := digestOf("image")
		bad := map[string]api.NewSignOrder{
			"31 bytes":         {Hash: "SHA-256", Digest: good[2:]},
			"33 bytes":         {Hash: "SHA-256", Digest: good + "00"},
			"48 bytes":         {Hash: "SHA-256", Digest: good + good[:32]},
			"SHA-1":            {Hash: "SHA-1", Digest: good[:40]},
			"MD5":              {Hash: "MD5", Digest: good[:32]},
			"another hash":     {Hash: "SHA-384", Digest: good + good[:32]},
			"PKCS#1":           {Hash: "SHA-256", Digest: good, Scheme: "RSASSA-PKCS1-v1_5"},
			"PSS":              {Hash: "SHA-256", Digest: good, Scheme: "RSASSA-PSS"},
			"EdDSA":            {Hash: "SHA-256", Digest: good, Scheme: "EdDSA"},
			"client's own DER": {Hash: "SHA-256", Digest: sha256Info + good},
		}
		for what, in := range bad {
			in.KeyID = "fw-dev"
			_, err := s.as("olga").PlaceSignOrder(s.Context(), string(o.ID), "1", in)
			refused(s, what, err, api.InputMisfit)
		}
		if n := s.calls("fw-dev"); n != 0 || s.Look(o.ID).Used() {
			s.Errorf("the HSM was asked %d times, the usage is %+v", n, s.Look(o.ID).Usage)
		}
		s.mustOrder(o, "fw-dev", "1", "image") // the idempotency key is not used either
		s.counts(o, map[audit.Type]int{audit.OrderRefused: len(bad), audit.OrderAccepted: 1, audit.OrderSigned: 1})
	})
}

// withRSA puts an RSA-2048 key for each hash into the token.
func withRSA(c *law.Configuration) {
	for _, h := range law.Hashes() {
		key := testkit.Key(rsaKey(h), 0)
		key.Algorithm, key.Hash, key.Schemes, key.Keystore = law.RSA2048, h, []law.Scheme{law.PKCS1v15, law.PSS}, "hsm"
		addKey(c, key)
	}
}

func rsaKey(h law.Hash) law.KeyID { return law.KeyID("fw-rsa-" + strings.ToLower(string(h))) }

// addKey adds a key that olga orders on and alice and bob approve on.
func addKey(c *law.Configuration, key law.Key) {
	c.Keys = append(c.Keys, key)
	for i, r := range c.Roles {
		if r.ID == "orderers" || r.ID == "approvers" {
			c.Roles[i].Keys = append(c.Roles[i].Keys[:len(r.Keys):len(r.Keys)], key.ID)
		}
	}
}

// CR-02
func TestCR02_TheServerMakesTheDigestInfoAndExactlyOne(t *testing.T) {
	onBoth(t, setting{world: withRSA}, func(s *site) {
		for _, h := range law.Hashes() {
			id := rsaKey(h)
			key, o := s.key(id), s.approved(id, 1)
			digest := hex.EncodeToString(h.Sum([]byte("image")))
			in := api.NewSignOrder{KeyID: string(id), Hash: string(h), Scheme: "RSASSA-PKCS1-v1_5", Digest: sha256Info + digest}
			_, err := s.as("olga").PlaceSignOrder(s.Context(), string(o.ID), "1", in)
			refused(s, "a DigestInfo", err, api.InputMisfit)
			if n := s.calls(id); n != 0 || s.Look(o.ID).Used() {
				s.Errorf("the HSM was asked %d times", n)
			}
			in.Digest = digest
			signed, err := s.as("olga").PlaceSignOrder(s.Context(), string(o.ID), "1", in)
			if err != nil {
				s.Fatal(err)
			}
			input := keystoretest.Input(h, law.PKCS1v15, []byte("image"))
			keystoretest.OneDigestInfo(s, key.PublicKey, input, signed.Signature)
			keystoretest.VerifiedByOthers(s, key.PublicKey, input, []byte("image"), signed.Signature)
		}
	})
}

// manySignatures are to have distinct r.
const manySignatures = 10_000

// CR-03
func TestCR03_TenThousandSignaturesOfTheTokenHaveDistinctRAndMinimalDER(t *testing.T) {
	many := setting{world: func(c *law.Configuration) { c.Keys[0].MaxUses = manySignatures }}
	onBoth(t, many, func(s *site) {
		o := s.approved("fw-dev", manySignatures)
		signatures := make([][]byte, manySignatures)
		const workers = 64
		testkit.Race(workers, func(worker int) {
			for i := worker; i < manySignatures && !s.Failed(); i += workers {
				order, err := s.Sign(o, testkit.OrderAsk("fw-dev", fmt.Sprint(i), "image"))
				if err != nil {
					s.Errorf("order %d: %v", i, err)
				}
				signatures[i] = order.Signature
			}
		})
		if s.Failed() {
			return
		}
		seen := map[string]bool{}
		for _, signature := range signatures {
			seen[string(keystoretest.MinimalDER(s, signature))] = true
		}
		if n := s.calls("fw-dev"); len(seen) != manySignatures || n != manySignatures {
			s.Errorf("there are %d distinct r in %d signatures, and the HSM was asked %d times", len(seen), manySignatures, n)
		}
	})
}

// everyAlgorithm puts a key of each algorithm into the token.
func everyAlgorithm(c *law.Configuration) {
	for a := range keystoretest.All() {
		key := testkit.Key(keyOf(a), 0)
		key.Algorithm, key.Hash, key.Schemes, key.Keystore = a, keystoretest.HashesOf(a)[0], a.Schemes(), "hsm"
		addKey(c, key)
	}
}

func keyOf(a law.Algorithm) law.KeyID { return law.KeyID("fw-of-" + strings.ToLower(string(a))) }

// CR-03
func TestCR03_ASignatureThatIsWrongIsNeverReleasedAndTheOrderCompletes(t *testing.T) {
	onBoth(t, setting{world: everyAlgorithm}, func(s *site) {
		for a, schemes := range keystoretest.All() {
			for _, scheme := range schemes {
				s.neverReleases(a, scheme)
			}
		}
	})
}

// neverReleases has the token give the signature of the order before, then one with a wrong bit, and then the
// right one.
func (s *site) neverReleases(a law.Algorithm, scheme law.Scheme) {
	s.Helper()
	key := s.key(keyOf(a))
	o, before := s.approved(key.ID, 2), s.calls(key.ID)
	in := newOrder(key.ID, "the first")
	in.Scheme = string(scheme)
	place := func(text string) (api.SignOrder, error) { // which is the idempotency key as well, but for its spaces
		in.Data = []byte(text)
		return s.as("olga").PlaceSignOrder(s.Context(), string(o.ID), strings.ReplaceAll(text, " ", "-"), in)
	}
	first, err := place("the first")
	if err != nil {
		s.Fatal(err)
	}
	id := ""
	for _, fault := range []pkcs11shim.Action{pkcs11shim.Swap, pkcs11shim.Corrupt} {
		s.shim.Set(pkcs11shim.Fault{Do: fault})
		order, err := place("the second")
		p := unavailable(s, string(fault), err)
		if len(order.Signature) > 0 || id != "" && p.Order != id {
			s.Errorf("%s, %s: order %s, which was %s, has the signature %x", key.ID, fault, p.Order, id, order.Signature)
		}
		id = p.Order
		stored, err := s.as("olga").SignOrder(s.Context(), id, "")
		if err != nil || stored.State != api.OrderFailed || len(stored.Signature) > 0 || !strings.Contains(stored.Failure, "does not verify") {
			s.Errorf("%s, %s: the order is %+v (error %v)", key.ID, fault, stored, err)
		}
	}
	s.shim.Clear()
	second, err := place("the second")
	if err != nil || second.ID != id || second.Use != 2 || second.Attempt != 3 {
		s.Errorf("%s: the order was completed as %+v (error %v)", key.ID, second, err)
	}
	for text, order := range map[string]api.SignOrder{"the first": first, "the second": second} {
		keystoretest.VerifiedByOthers(s, key.PublicKey, law.Input{Hash: key.Hash, Scheme: scheme}, []byte(text), order.Signature)
	}
	if n := s.calls(key.ID) - before; n != 4 {
		s.Errorf("%s: the HSM was asked %d times, not 4", key.ID, n)
	}
	s.counts(o, map[audit.Type]int{audit.OrderAccepted: 2, audit.OrderAttempted: 2, audit.OrderFailed: 2, audit.OrderSigned: 2, audit.OperationExhausted: 1})
}

// CR-04
func TestCR04_CAAndRootKeysInTheHSMNeverSignAnInput(t *testing.T) {
	onBoth(t, setting{}, func(s *site) {
		o := s.Create(testkit.Ask("ca-dev", "fw-dev"))
		for _, key := range []law.KeyID{"ca-dev", "root"} {
			_, err := s.order(o, key, "1", "image")
			refused(s, "a sign order with "+string(key), err, api.Impossible)
			if n := s.calls(key); n != 0 {
				s.Errorf("the HSM was asked %d times to sign with %s", n, key)
			}
		}
		_, err := s.as("olga").CreateOperation(s.Context(), "1", api.NewOperation{
			KeyUsageRestrictions: []api.KeyUsageRestriction{{KeyID: "root", MaxUsageCount: 1}}, Description: "d", Context: "c", ValidMS: 1000,
		})
		refused(s, "an operation on ROOT", err, api.Impossible)
		if s.Look(o.ID).Used() {
			s.Error("a use was taken")
		}
	})
}

// twins makes two key pairs in the token that have everything in common but their CKA_ID.
func twins(t testing.TB, token hsmtest.Token) {
	t.Helper()
	for _, id := range []string{"07", "08"} {
		if _, err := token.Tool(context.Background(), "pkcs11-tool", "--module", token.Module, "--token-label", token.Label, "--login", "--pin", token.PIN,
			"--keypairgen", "--key-type", "EC:prime256v1", "--label", "twin", "--id", id); err != nil {
			t.Fatal(err)
		}
	}
}

// AZ-03
func TestAZ03_KeysOfTheSameLabelAreNeverMixed(t *testing.T) {
	with := setting{prepare: twins, world: func(c *law.Configuration) {
		for id, of := range map[law.KeyID]string{"fw-castor": "07", "fw-pollux": "08"} {
			key := testkit.Key(id, 0)
			key.Keystore, key.Adopted = "hsm", "pkcs11:token=keys;id=%"+of+";type=private"
			addKey(c, key)
		}
	}}
	onBoth(t, with, func(s *site) {
		castor, pollux := s.key("fw-castor"), s.key("fw-pollux")
		if castor.Fingerprint == pollux.Fingerprint {
			s.Fatal("the twins are one key")
		}
		alone := s.approved("fw-castor", 1)
		_, err := s.order(alone, "fw-pollux", "1", "image")
		refused(s, "an order with the other twin", err, api.NotCovered)

		const each = 50
		ask := testkit.Ask("fw-castor", "fw-pollux")
		ask.Keys[0].MaxUses, ask.Keys[1].MaxUses = each, each
		o := s.Create(ask)
		testkit.Race(2*each, func(i int) {
			key, other := castor, pollux
			if i%2 == 1 {
				key, other = pollux, castor
			}
			order, err := s.order(o, key.ID, fmt.Sprint(i), "image")
			if err != nil || !verifies(s, key, "image", order.Signature) || verifies(s, other, "image", order.Signature) || order.Fingerprint != key.Fingerprint {
				s.Errorf("an order with %s gave %+v (error %v)", key.ID, order, err)
			}
		})
		for id, n := range map[string]int{castor.Handle: s.calls("fw-castor"), pollux.Handle: s.calls("fw-pollux")} {
			if n != each {
				s.Errorf("the HSM was asked %d times to sign with %s", n, id)
			}
		}
		for _, c := range s.shim.All() {
			if c.Label != "twin" {
				s.Errorf("a key of label %s was used", c.Label)
			}
		}
	})
}

package keystore_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
)

func TestEverySignatureVerifiesAndNoneThatWasChanged(t *testing.T) {
	everySignature(t, func(t *testing.T, k keystore.Keystore, p law.Permit) {
		key, in, signature := p.Key(), p.Input(), release(t, k, p)
		if err := keystore.Verify(key.PublicKey, in, signature); err != nil {
			t.Fatalf("a good signature: %v", err)
		}
		for i := range signature {
			bad := bytes.Clone(signature)
			bad[i] ^= 1 << (i % 8)
			if keystore.Verify(key.PublicKey, in, bad) == nil {
				t.Errorf("verifies with byte %d changed", i)
			}
		}
		for what, bad := range map[string][]byte{
			"nothing": nil, "one byte less": signature[:len(signature)-1], "one byte more": append(bytes.Clone(signature), 0),
			"a zero in front": append([]byte{0}, signature...), "only zeros": make([]byte, len(signature)),
		} {
			if keystore.Verify(key.PublicKey, in, bad) == nil {
				t.Errorf("verifies: %s", what)
			}
		}
		other := keystoretest.Input(in.Hash, in.Scheme, []byte("other"))
		if keystore.Verify(key.PublicKey, other, signature) == nil {
			t.Error("verifies over another message")
		}
	})
}

func spki(t *testing.T, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestRSASignaturesOfOtherFormsAreRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public := spki(t, &key.PublicKey)
	v15, pss := keystoretest.Input(law.SHA256, law.PKCS1v15, message), keystoretest.Input(law.SHA256, law.PSS, message)
	sign := func(o crypto.SignerOpts) []byte {
		signature, err := key.Sign(rand.Reader, v15.Digest, o)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	good := sign(crypto.SHA256)
	if err := keystore.Verify(public, v15, good); err != nil {
		t.Fatal(err)
	}

	// The bare private key operation, over a DigestInfo without the NULL parameters and one with garbage
	// after it (RFC 8017 section 9.2 allows neither).
	bare := func(info []byte) []byte {
		em := slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, 256-3-len(info)), []byte{0}, info)
		m := new(big.Int).SetBytes(em)
		return m.Exp(m, key.D, key.N).FillBytes(make([]byte, 256))
	}
	prefix := []byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20")
	noNull := []byte("\x30\x2f\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x04\x20")
	if err := keystore.Verify(public, v15, bare(slices.Concat(prefix, v15.Digest))); err != nil {
		t.Fatalf("the test's own signature: %v", err)
	}
	beyond := new(big.Int).Add(new(big.Int).SetBytes(good), key.N)
	for what, c := range map[string]struct {
		in        law.Input
		signature []byte
	}{
		"no NULL parameters":           {v15, bare(slices.Concat(noNull, v15.Digest))},
		"bytes after the DigestInfo":   {v15, bare(slices.Concat(prefix, v15.Digest, []byte{0}))},
		"the bare digest":              {v15, sign(crypto.Hash(0))},
		"PSS as PKCS #1 v1.5":          {v15, sign(&rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256})},
		"PKCS #1 v1.5 as PSS":          {pss, good},
		"PSS without salt":             {pss, sign(&rsa.PSSOptions{SaltLength: 0, Hash: crypto.SHA256})},
		"PSS with a salt of 20 bytes":  {pss, sign(&rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256})},
		"PSS with a salt of 64 bytes":  {pss, sign(&rsa.PSSOptions{SaltLength: 64, Hash: crypto.SHA256})},
		"the modulus added to it":      {v15, beyond.Bytes()},
		"a number that is always one":  {v15, big.NewInt(1).FillBytes(make([]byte, 256))},
		"another hash of equal length": {law.Input{Hash: "SM3", Scheme: law.PKCS1v15, Digest: v15.Digest}, good},
	} {
		if keystore.Verify(public, c.in, c.signature) == nil {
			t.Errorf("verifies: %s", what)
		}
	}
	if keystore.Verify(public, pss, sign(&rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256})) != nil {
		t.Error("PSS with a salt of 32 bytes does not verify")
	}
}

func TestECDSASignaturesOfOtherFormsAreRefused(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, in, order := spki(t, &key.PublicKey), keystoretest.Input(law.SHA256, law.ECDSA, message), elliptic.P256().Params().N
	type pair struct{ R, S *big.Int }
	var sig pair
	var der []byte
	for len(der) != 70 { // r and s without a leading zero, so that the length bytes below are right
		if der, err = ecdsa.SignASN1(rand.Reader, key, in.Digest); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		t.Fatal(err)
	}
	encode := func(r, s *big.Int) []byte {
		out, err := asn1.Marshal(pair{r, s})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if err := keystore.Verify(public, in, encode(sig.R, sig.S)); err != nil {
		t.Fatalf("a good signature: %v", err)
	}
	raw, err := keystore.ToP1363(law.P256, der)
	if err != nil {
		t.Fatal(err)
	}
	zero := new(big.Int)
	for what, bad := range map[string][]byte{
		"IEEE P1363":                    raw,
		"r = 0":                         encode(zero, sig.S),
		"s = 0":                         encode(sig.R, zero),
		"r = s = 0":                     encode(zero, zero),
		"r = order":                     encode(order, sig.S),
		"s + order":                     encode(sig.R, new(big.Int).Add(sig.S, order)),
		"r + order":                     encode(new(big.Int).Add(sig.R, order), sig.S),
		"negative r":                    encode(new(big.Int).Neg(sig.R), sig.S),
		"negative s":                    encode(sig.R, new(big.Int).Neg(sig.S)),
		"r with a leading zero":         slices.Concat([]byte{0x30, 69, 2, 33, 0}, der[4:]),
		"the length in its long form":   slices.Concat([]byte{0x30, 0x81, 68}, der[2:]),
		"an indefinite length":          slices.Concat([]byte{0x30, 0x80}, der[2:], []byte{0, 0}),
		"bytes after it":                append(bytes.Clone(der), 0),
		"bytes after s in the sequence": slices.Concat([]byte{0x30, 70}, der[2:], []byte{5, 0}),
		"a set":                         slices.Concat([]byte{0x31}, der[1:]),
	} {
		if keystore.Verify(public, in, bad) == nil {
			t.Errorf("verifies: %s", what)
		}
		if raw, err := keystore.ToP1363(law.P256, bad); err == nil {
			t.Errorf("%s is turned into IEEE P1363: %x", what, raw)
		}
	}
}

func TestKeysThatTheLawDoesNotKnowAreRefused(t *testing.T) {
	rsa1024 := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	rsaThree := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2047, 1), E: 3}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		spki []byte
		why  string
	}{
		"RSA of 1024 bits":    {spki(t, rsa1024), "1024 bits"},
		"RSA exponent 3":      {spki(t, rsaThree), "exponent 3"},
		"P-224":               {spki(t, &p224.PublicKey), "curve P-224"},
		"X25519":              {spki(t, x25519.PublicKey()), "type *ecdh.PublicKey"},
		"nothing":             {nil, "reading a public key"},
		"bytes after it":      {append(spki(t, &p256.PublicKey), 0), "reading a public key"},
		"point off the curve": {flipLast(spki(t, &p256.PublicKey)), "reading a public key"},
	} {
		if a, err := keystore.AlgorithmOf(c.spki); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got algorithm %q, error %v, want one with %q", what, a, err, c.why)
		}
		if keystore.Verify(c.spki, keystoretest.Input(law.SHA256, law.ECDSA, message), []byte("signature")) == nil {
			t.Errorf("%s verifies something", what)
		}
	}
}

func flipLast(b []byte) []byte {
	b[len(b)-1] ^= 1
	return b
}

func TestInputsThatDoNotFitTheKeyNeverVerify(t *testing.T) {
	k := newSoftware(t)
	ec, ed := newKey(t, k, "ec", law.P256), newKey(t, k, "ed", law.Ed25519)
	fit := keystoretest.Input(law.SHA512, law.EdDSA, message)
	edSignature := release(t, k, keystoretest.Permit(t, ed, fit))
	ecSignature := release(t, k, keystoretest.Permit(t, ec, keystoretest.Input(law.SHA256, law.ECDSA, message)))
	for what, c := range map[string]struct {
		key       law.Key
		in        law.Input
		signature []byte
		why       string
	}{
		"scheme of another algorithm": {ec, keystoretest.Input(law.SHA256, law.PSS, message), ecSignature, "makes no RSASSA-PSS"},
		"no scheme":                   {ec, law.Input{Hash: law.SHA256, Digest: law.SHA256.Sum(message)}, ecSignature, "makes no"},
		"no hash":                     {ec, law.Input{Scheme: law.ECDSA, Digest: law.SHA256.Sum(message)}, ecSignature, "is unknown"},
		"a hash of the past":          {ec, law.Input{Hash: "SHA-1", Scheme: law.ECDSA, Digest: make([]byte, 20)}, ecSignature, "is unknown"},
		"a digest one byte short":     {ec, law.Input{Hash: law.SHA256, Scheme: law.ECDSA, Digest: law.SHA256.Sum(message)[1:]}, ecSignature, "32 bytes long, not 31"},
		"a digest with more after it": {ec, law.Input{Hash: law.SHA256, Scheme: law.ECDSA, Digest: append(law.SHA256.Sum(message), 0)}, ecSignature, "32 bytes long, not 33"},
		"Ed25519 without a message":   {ed, law.Input{Hash: law.SHA512, Scheme: law.EdDSA, Digest: fit.Digest}, edSignature, "not that of the message"},
		"Ed25519 with another digest": {ed, law.Input{Hash: law.SHA512, Scheme: law.EdDSA, Digest: make([]byte, 64), Message: message}, edSignature, "not that of the message"},
		"Ed25519 with SHA-256":        {ed, keystoretest.Input(law.SHA256, law.EdDSA, message), edSignature, "RFC 8032"},
	} {
		if err := keystore.Verify(c.key.PublicKey, c.in, c.signature); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: got error %v, want one with %q", what, err, c.why)
		}
	}
}

func TestEd25519SignaturesHaveOneForm(t *testing.T) {
	k := newSoftware(t)
	p := keystoretest.Permit(t, newKey(t, k, "ed", law.Ed25519), keystoretest.Input(law.SHA512, law.EdDSA, message))
	signature := release(t, k, p)
	// s + L is the same number modulo the order of the group: RFC 8032 section 5.1.7 has it refused.
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := bytes.Clone(signature[32:])
	slices.Reverse(s)
	more := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(more)
	if keystore.Verify(p.Key().PublicKey, p.Input(), slices.Concat(signature[:32], more)) == nil {
		t.Error("a second form of the same signature verifies")
	}
}

func TestECDSAFormsTurnIntoEachOther(t *testing.T) {
	for a, size := range map[law.Algorithm]int{law.P256: 64, law.P384: 96, law.P521: 132} {
		t.Run(string(a), func(t *testing.T) {
			order := keystore.Curve(a).Params().N
			rapid.Check(t, func(t *rapid.T) {
				scalar := rapid.Custom(func(t *rapid.T) *big.Int {
					i := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 1, size/2).Draw(t, "bytes"))
					return i.Mod(i, new(big.Int).Sub(order, big.NewInt(1))).Add(i, big.NewInt(1))
				})
				r, s := scalar.Draw(t, "r"), scalar.Draw(t, "s")
				der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
				if err != nil {
					t.Fatal(err)
				}
				raw, err := keystore.ToP1363(a, der)
				if err != nil || len(raw) != size {
					t.Fatalf("to IEEE P1363: %x, %v", raw, err)
				}
				if new(big.Int).SetBytes(raw[:size/2]).Cmp(r) != 0 || new(big.Int).SetBytes(raw[size/2:]).Cmp(s) != 0 {
					t.Fatalf("r and s are others in %x", raw)
				}
				if again, err := keystore.FromP1363(a, raw); err != nil || !bytes.Equal(again, der) {
					t.Fatalf("back to DER: %x, %v, want %x", again, err, der)
				}
			})
		})
	}
}

func TestWhatIsNoECDSASignatureIsNotTurned(t *testing.T) {
	for what, c := range map[string]struct {
		a   law.Algorithm
		raw []byte
	}{
		"an RSA key":   {law.RSA2048, make([]byte, 256)},
		"no algorithm": {"", make([]byte, 64)},
		"nothing":      {law.P256, nil},
		"too short":    {law.P256, bytes.Repeat([]byte{1}, 63)},
		"too long":     {law.P256, bytes.Repeat([]byte{1}, 65)},
		"of P-384":     {law.P256, bytes.Repeat([]byte{1}, 96)},
		"zeros":        {law.P256, make([]byte, 64)},
		"s = 0":        {law.P256, slices.Concat(bytes.Repeat([]byte{1}, 32), make([]byte, 32))},
		"out of range": {law.P256, bytes.Repeat([]byte{0xff}, 64)},
	} {
		if der, err := keystore.FromP1363(c.a, c.raw); err == nil {
			t.Errorf("%s: turned into %x", what, der)
		}
	}
	if _, err := keystore.ToP1363(law.Ed25519, []byte{0x30, 6, 2, 1, 1, 2, 1, 1}); err == nil {
		t.Error("an Ed25519 key has ECDSA signatures")
	}
}

func FuzzECDSASignature(f *testing.F) {
	f.Add([]byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Add([]byte{0x30, 0x81, 6, 2, 1, 1, 2, 1, 1})
	f.Add(slices.Concat([]byte{0x30, 38, 2, 33, 0}, bytes.Repeat([]byte{0xff}, 32), []byte{2, 1, 1}))
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, a := range []law.Algorithm{law.P256, law.P384, law.P521} {
			raw, err := keystore.ToP1363(a, der)
			if err != nil {
				continue
			}
			keystoretest.MinimalDER(t, der)
			if again, err := keystore.FromP1363(a, raw); err != nil || !bytes.Equal(again, der) {
				t.Fatalf("%x turns into %x and that into %x (%v)", der, raw, again, err)
			}
		}
	})
}

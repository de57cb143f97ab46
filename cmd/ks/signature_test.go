package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
)

// pair is a key pair whose signatures are verified.
type pair struct {
	name    string
	private crypto.Signer
	schemes []law.Scheme
}

func pairs(t *testing.T) []pair {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	all := []pair{{"RSA-2048", rsaKey, []law.Scheme{law.PKCS1v15, law.PSS}}, {"Ed25519", edKey, []law.Scheme{law.EdDSA}}}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pair{curve.Params().Name, key, []law.Scheme{law.ECDSA}})
	}
	return all
}

func (p pair) pem(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(p.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// sign signs with the standard library alone.
func (p pair) sign(t *testing.T, in law.Input) []byte {
	t.Helper()
	var options crypto.SignerOpts = in.Hash.Crypto()
	message := in.Digest
	switch in.Scheme {
	case law.PSS:
		options = &rsa.PSSOptions{Hash: in.Hash.Crypto(), SaltLength: rsa.PSSSaltLengthEqualsHash}
	case law.EdDSA:
		options, message = crypto.Hash(0), in.Message
	}
	signature, err := p.private.Sign(rand.Reader, message, options)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// inputOf is the data as signed with the scheme and SHA-512.
func inputOf(scheme law.Scheme, data string) law.Input {
	in := law.Input{Hash: law.SHA512, Scheme: scheme, Digest: law.SHA512.Sum([]byte(data))}
	if scheme == law.EdDSA {
		in.Message = []byte(data)
	}
	return in
}

func TestAGoodSignatureVerifiesHereAndWithOpenssl(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "it's a file")
	if err := os.WriteFile(file, []byte("firmware"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, pair := range pairs(t) {
		for _, scheme := range pair.schemes {
			for _, hash := range law.Hashes() {
				if scheme == law.EdDSA && hash != law.SHA512 {
					continue
				}
				t.Run(fmt.Sprint(pair.name, scheme, hash), func(t *testing.T) {
					in, err := new(program).readInput(t.Context(), file, hash, scheme)
					if err != nil {
						t.Fatal(err)
					}
					public, err := parsePublicKey(pair.pem(t))
					if err != nil {
						t.Fatal(err)
					}
					signature := pair.sign(t, in)
					if err := public.verify(in, "", signature); err != nil {
						t.Fatal(err)
					}
					keyFile, signatureFile := filepath.Join(dir, "key.pem"), filepath.Join(dir, "signature")
					for name, data := range map[string][]byte{keyFile: public.pem(), signatureFile: signature} {
						if err := os.WriteFile(name, data, 0o600); err != nil {
							t.Fatal(err)
						}
					}
					line := public.openssl(in, "", keyFile, signatureFile, file)
					if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
						t.Errorf("%s: %v\n%s", line, err, out)
					}
				})
			}
		}
	}
}

func TestASignatureThatIsNotTheKeysOwnIsNoSignature(t *testing.T) {
	all, others := pairs(t), pairs(t)
	for i, pair := range all {
		scheme := pair.schemes[0]
		in := inputOf(scheme, "data")
		public, err := parsePublicKey(pair.pem(t))
		if err != nil {
			t.Fatal(err)
		}
		signature := pair.sign(t, in)
		other := inputOf(scheme, "other data")
		changed := bytes.Clone(signature)
		changed[len(changed)-1] ^= 1
		for name, bad := range map[string]func() error{
			"other input": func() error { return public.verify(other, "", signature) },
			"changed":     func() error { return public.verify(in, "", changed) },
			"empty":       func() error { return public.verify(in, "", nil) },
			"longer":      func() error { return public.verify(in, "", append(bytes.Clone(signature), 0)) },
			"other key": func() error {
				another, err := parsePublicKey(others[i].pem(t))
				if err != nil {
					t.Fatal(err)
				}
				return another.verify(in, "", signature)
			},
		} {
			if err := bad(); explain(err).code != exitTampered {
				t.Errorf("%s, %s: got %v, want that it is no signature", pair.name, name, err)
			}
		}
	}
}

func TestP1363SignaturesHaveTheLengthOfTheCurve(t *testing.T) {
	for _, pair := range pairs(t)[2:] {
		public, err := parsePublicKey(pair.pem(t))
		if err != nil {
			t.Fatal(err)
		}
		in := inputOf(law.ECDSA, "data")
		var parts struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(pair.sign(t, in), &parts); err != nil {
			t.Fatal(err)
		}
		size := (pair.private.Public().(*ecdsa.PublicKey).Params().BitSize + 7) / 8
		signature := append(parts.R.FillBytes(make([]byte, size)), parts.S.FillBytes(make([]byte, size))...)
		if err := public.verify(in, api.P1363, signature); err != nil {
			t.Errorf("%s: %v", pair.name, err)
		}
		for _, bad := range [][]byte{signature[1:], append([]byte{0}, signature...), nil, make([]byte, 2*size)} {
			if err := public.verify(in, api.P1363, bad); err == nil {
				t.Errorf("%s: %d other bytes verify", pair.name, len(bad))
			}
		}
		if public.openssl(in, api.P1363, "k", "s", "f") != "" {
			t.Errorf("%s: openssl is said to read P1363", pair.name)
		}
	}
}

func TestAPublicKeyIsReadFromItsCertificateToo(t *testing.T) {
	pair := pairs(t)[2]
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pair.private.Public(), pair.private)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	got, err := parsePublicKey(append([]byte("Subject: somebody\n"), certificate...))
	if err != nil {
		t.Fatal(err)
	}
	want, err := parsePublicKey(pair.pem(t))
	if err != nil {
		t.Fatal(err)
	}
	if got.fingerprint != want.fingerprint || !bytes.Equal(got.pem(), pair.pem(t)) {
		t.Errorf("got %s, want %s", got.fingerprint, want.fingerprint)
	}
}

func TestWhatIsNoPublicKeyIsRefused(t *testing.T) {
	for name, text := range map[string][]byte{
		"nothing":         nil,
		"a private key":   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}),
		"a broken key":    pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}),
		"a broken cert":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}),
		"not PEM at all ": []byte("-----BEGIN"),
	} {
		if _, err := parsePublicKey(text); err == nil {
			t.Errorf("%s is taken for a public key", name)
		}
	}
}

func TestTheDefaultIdempotencyKeyNamesTheInput(t *testing.T) {
	base := law.Input{Hash: law.SHA256, Scheme: law.PSS, Digest: []byte{1, 2, 3}}
	seen := map[string]bool{defaultIdempotencyKey(base): true}
	for _, other := range []law.Input{
		{Hash: law.SHA384, Scheme: law.PSS, Digest: []byte{1, 2, 3}},
		{Hash: law.SHA256, Scheme: law.PKCS1v15, Digest: []byte{1, 2, 3}},
		{Hash: law.SHA256, Scheme: law.PSS, Digest: []byte{1, 2}},
	} {
		key := defaultIdempotencyKey(other)
		if seen[key] || len(key) > api.MaxIdempotencyKey {
			t.Errorf("%+v has the idempotency key %s of another, or one that is too long", other, key)
		}
		seen[key] = true
	}
	// Fixed: another version of ks must find the sign order of this one.
	if got, want := defaultIdempotencyKey(base), "ks-6cbb63b24a3e3192248c2dbda58acd7f7c23036c0f6fc3b9eddb9bf5fcd38099"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

package keystoretest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

func lower(a law.Algorithm) string { return strings.ToLower(string(a)) }

func publicKey[T any](t testing.TB, spki []byte) T {
	t.Helper()
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatalf("reading the public key: %v", err)
	}
	typed, ok := key.(T)
	if !ok {
		t.Fatalf("the public key is a %T", key)
	}
	return typed
}

// checkForm checks that a signature is as long as it must be and, if it is DER, minimal.
func checkForm(t testing.TB, a law.Algorithm, signature []byte) {
	t.Helper()
	switch a {
	case law.RSA2048, law.RSA3072, law.RSA4096:
		want := map[law.Algorithm]int{law.RSA2048: 256, law.RSA3072: 384, law.RSA4096: 512}[a]
		if len(signature) != want {
			t.Errorf("a signature of %s has %d bytes, not %d", a, len(signature), want)
		}
	case law.Ed25519:
		if len(signature) != 64 {
			t.Errorf("an Ed25519 signature has %d bytes, not 64", len(signature))
		}
	default:
		MinimalDER(t, signature)
	}
}

// MinimalDER checks byte by byte that an ECDSA signature is a SEQUENCE of two positive INTEGERs, every
// length and number in its shortest form (X.690 sections 8.3 and 10.1), and returns the bytes of r.
func MinimalDER(t testing.TB, der []byte) (r []byte) {
	t.Helper()
	take := func(tag byte, in []byte) (content, rest []byte) {
		t.Helper()
		if len(in) < 2 || in[0] != tag {
			t.Fatalf("tag %#x is missing in %x", tag, der)
		}
		size, head := int(in[1]), 2
		if size == 0x81 && len(in) > 2 {
			if size, head = int(in[2]), 3; size < 0x80 {
				t.Fatalf("a length could be shorter in %x", der)
			}
		} else if size >= 0x80 {
			t.Fatalf("a length is not in its shortest form in %x", der)
		}
		if len(in) < head+size {
			t.Fatalf("it is cut off: %x", der)
		}
		return in[head : head+size], in[head+size:]
	}
	body, rest := take(0x30, der)
	r, body = take(0x02, body)
	s, body := take(0x02, body)
	if len(rest)+len(body) > 0 {
		t.Fatalf("there are bytes after the signature in %x", der)
	}
	for _, i := range [][]byte{r, s} {
		zeroFirst := len(i) > 0 && i[0] == 0
		switch {
		case len(i) == 0, zeroFirst && len(i) == 1, i[0] >= 0x80:
			t.Fatalf("r or s is not positive in %x", der)
		case zeroFirst && i[1] < 0x80:
			t.Fatalf("r or s could be shorter in %x", der)
		}
	}
	return r
}

// VerifiedByOthers checks a signature over a message with the standard library and with the openssl command.
func VerifiedByOthers(t testing.TB, spki []byte, in law.Input, message, signature []byte) {
	t.Helper()
	checkWithGo(t, spki, in, message, signature)
	checkWithOpenSSL(t, spki, in, message, signature)
}

// checkWithGo verifies a signature over the message with the standard library.
func checkWithGo(t testing.TB, spki []byte, in law.Input, message, signature []byte) {
	t.Helper()
	h, s := in.Hash, in.Scheme
	hash := map[law.Hash]crypto.Hash{law.SHA256: crypto.SHA256, law.SHA384: crypto.SHA384, law.SHA512: crypto.SHA512}[h]
	hasher := hash.New()
	hasher.Write(message)
	digest := hasher.Sum(nil)
	var good bool
	switch s {
	case law.PKCS1v15:
		good = rsa.VerifyPKCS1v15(publicKey[*rsa.PublicKey](t, spki), hash, digest, signature) == nil
	case law.PSS:
		pss := &rsa.PSSOptions{SaltLength: hash.Size(), Hash: hash}
		good = rsa.VerifyPSS(publicKey[*rsa.PublicKey](t, spki), hash, digest, signature, pss) == nil
	case law.ECDSA:
		good = ecdsa.VerifyASN1(publicKey[*ecdsa.PublicKey](t, spki), digest, signature)
	case law.EdDSA:
		good = ed25519.Verify(publicKey[ed25519.PublicKey](t, spki), message, signature)
	}
	if !good {
		t.Errorf("the standard library does not verify the signature")
	}
}

// checkWithOpenSSL verifies a signature over the message with the openssl command, which is not our code.
func checkWithOpenSSL(t testing.TB, spki []byte, in law.Input, message, signature []byte) {
	t.Helper()
	h, s := in.Hash, in.Scheme
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatalf("this test needs the openssl command; install the Debian package openssl (%v)", err)
	}
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	args := []string{"pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", file("key", spki), "-sigfile", file("signature", signature)}
	if s == law.EdDSA {
		args = append(args, "-rawin", "-in", file("input", message))
	} else {
		digest := strings.ReplaceAll(strings.ToLower(string(h)), "-", "")
		args = append(args, "-in", file("input", h.Sum(message)), "-pkeyopt", "digest:"+digest)
	}
	if s == law.PSS {
		args = append(args, "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest")
	}
	out, err := exec.CommandContext(t.Context(), openssl, args...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Signature Verified Successfully") {
		t.Errorf("openssl does not verify the signature: %v\n%s", err, out)
	}
}

func distinctECDSA(t *testing.T, k keystore.Keystore, can Can) {
	for _, a := range can.only(law.P256, law.P384, law.P521) {
		key := generate(t, k, law.KeyID("distinct-"+lower(a)), a)
		seen := map[string]bool{}
		for range 50 {
			r := MinimalDER(t, sign(t, k, key, Input(law.SHA512, law.ECDSA, message)))
			if seen[string(r)] {
				t.Fatalf("two signatures of %s have the same r: the private key can be computed from them", a)
			}
			seen[string(r)] = true
		}
	}
}

func oneDigestInfo(t *testing.T, k keystore.Keystore, can Can) {
	if !slices.Contains(can[law.RSA2048], law.PKCS1v15) {
		return // there are none
	}
	key := generate(t, k, "digestinfo", law.RSA2048)
	for _, h := range law.Hashes() {
		OneDigestInfo(t, key.PublicKey, Input(h, law.PKCS1v15, message), sign(t, k, key, Input(h, law.PKCS1v15, message)))
	}
}

// OneDigestInfo checks what an RSASSA-PKCS1-v1_5 signature is made over, recovered with the bare RSA
// operation: 00 01, FF up to the length of the modulus, 00, and exactly one DigestInfo, with the hash's
// OID and NULL parameters, and nothing after it (RFC 8017 section 9.2).
func OneDigestInfo(t testing.TB, spki []byte, in law.Input, signature []byte) {
	t.Helper()
	key := publicKey[*rsa.PublicKey](t, spki)
	s := new(big.Int).SetBytes(signature)
	got := s.Exp(s, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, key.Size()))

	// SEQUENCE { SEQUENCE { OID 2.16.840.1.101.3.4.2.n, NULL }, OCTET STRING digest }, written by hand
	prefix, err := hex.DecodeString(map[law.Hash]string{
		law.SHA256: "3031300d060960864801650304020105000420",
		law.SHA384: "3041300d060960864801650304020205000430",
		law.SHA512: "3051300d060960864801650304020305000440",
	}[in.Hash])
	if err != nil {
		t.Fatal(err)
	}
	info := slices.Concat(prefix, in.Digest)
	want := slices.Concat([]byte{0, 1}, bytes.Repeat([]byte{0xff}, key.Size()-3-len(info)), []byte{0}, info)
	if !bytes.Equal(got, want) {
		t.Errorf("a %s signature with %s is over\n%x, not\n%x", in.Scheme, in.Hash, got, want)
	}
}

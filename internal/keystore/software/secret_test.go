package software

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
)

var passphrase = []byte("correct horse battery staple")

func newKeystore(t *testing.T) (k *Keystore, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "keys")
	k, err := Create(dir, passphrase, Options{Iterations: MinIterations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k, dir
}

// contents returns the decrypted private key of a key file, in PKCS #8.
func contents(t *testing.T, k *Keystore, dir string, n name) (sealed, private []byte) {
	t.Helper()
	sealed, err := os.ReadFile(filepath.Join(dir, n.file()))
	if err != nil {
		t.Fatal(err)
	}
	_, private, err = unseal(k.kek, n, sealed)
	if err != nil {
		t.Fatal(err)
	}
	return sealed, private
}

// spellings are the ways in which a secret could be printed.
func spellings(secret []byte) map[string]string {
	decimal := strings.Trim(fmt.Sprint(secret), "[]")
	return map[string]string{
		"raw": string(secret), "hex": hex.EncodeToString(secret), "number": new(big.Int).SetBytes(secret).String(),
		"bytes": decimal, "Go bytes": strings.Trim(fmt.Sprintf("%#v", secret), "[]byte{}"),
		"base64": base64.StdEncoding.EncodeToString(secret), "quoted": strings.Trim(fmt.Sprintf("%q", secret), `"`),
	}
}

func secretsOf(t *testing.T, pkcs8 []byte) [][]byte {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return [][]byte{pkcs8, key.D.Bytes(), key.Primes[0].Bytes(), key.Primes[1].Bytes()}
	case *ecdsa.PrivateKey:
		d, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return [][]byte{pkcs8, d}
	case ed25519.PrivateKey:
		return [][]byte{pkcs8, key.Seed()}
	}
	t.Fatalf("a key of type %T", key)
	return nil
}

func TestNoPrintAndNoFileHoldsASecret(t *testing.T) {
	k, dir := newKeystore(t)
	secrets := [][]byte{passphrase}
	var text strings.Builder
	for _, a := range []law.Algorithm{law.P256, law.Ed25519, law.RSA2048} {
		n := name{law.KeyID(strings.ToLower(string(a))), 1}
		if _, err := k.Generate(t.Context(), n.id, n.version, a); err != nil {
			t.Fatal(err)
		}
		sealed, private := contents(t, k, dir, n)
		secrets = append(secrets, secretsOf(t, private)...)
		text.Write(sealed)
		for _, wrong := range [][]byte{nil, sealed[:len(sealed)-1]} { // errors are printed too
			_, _, err := unseal(k.kek, n, wrong)
			fmt.Fprintln(&text, err)
		}
	}
	h, err := readHeader(k.dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := h.encode()
	if err != nil {
		t.Fatal(err)
	}
	text.Write(data)
	kek, _, err := h.derive(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, kek)

	// The keystore, its copy as a value, and each of its pairs, also behind an interface and in a struct.
	values := []any{k, reflect.ValueOf(k).Elem(), struct{ K *Keystore }{k}, []any{k}, k.pairs, k.kek}
	for _, p := range k.pairs {
		values = append(values, p, *p, struct{ p *pair }{p})
	}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&text, verb+"\n", v)
		}
		slog.New(slog.NewTextHandler(&text, nil)).Info("text", "value", v)
		slog.New(slog.NewJSONHandler(&text, nil)).Info("json", "value", v)
		if encoded, err := json.Marshal(v); err == nil {
			text.Write(encoded)
		}
	}
	if !strings.Contains(text.String(), "software keystore "+dir) {
		t.Errorf("a keystore does not print its path:\n%s", text.String())
	}
	for i, secret := range secrets {
		for how, spelling := range spellings(secret) {
			if strings.Contains(text.String(), spelling) {
				t.Errorf("secret %d is there as %s", i, how)
			}
		}
	}
}

func TestAFileOfWhichAnyBitWasChangedIsNotRead(t *testing.T) {
	k, dir := newKeystore(t)
	n := name{"fw-prod", 1}
	if _, err := k.Generate(t.Context(), n.id, n.version, law.P256); err != nil {
		t.Fatal(err)
	}
	file, _ := contents(t, k, dir, n)
	for i := range file {
		for bit := range 8 {
			bad := bytes.Clone(file)
			bad[i] ^= 1 << bit
			if _, _, err := unseal(k.kek, n, bad); err == nil {
				t.Errorf("bit %d of byte %d can be changed", bit, i)
			}
		}
		if _, _, err := unseal(k.kek, n, file[:i]); err == nil {
			t.Errorf("it can be cut off after %d bytes", i)
		}
	}
	if _, _, err := unseal(k.kek, n, append(file, 0)); err == nil {
		t.Error("a byte can be appended")
	}
}

func TestAHeaderOfWhichAnyByteWasChangedUnlocksNothing(t *testing.T) {
	_, dir := newKeystore(t)
	good, err := os.ReadFile(filepath.Join(dir, headerName))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		h, err := parseHeader(bad)
		if err == nil && h.Iterations < 2*MinIterations { // more only take longer
			_, err = h.unlock(passphrase)
			if err == nil {
				t.Errorf("byte %d can be changed: %s", i, bad)
			}
		}
	}
}

func TestTheFirstLineOfAKeyFileSaysWhatItIs(t *testing.T) {
	k, dir := newKeystore(t)
	n := name{"fw-prod", 1}
	if _, err := k.Generate(t.Context(), n.id, n.version, law.P256); err != nil {
		t.Fatal(err)
	}
	file, _ := contents(t, k, dir, n)
	line := "keyserver-key 1 fw-prod 1 ECDSA-P256\n"
	if !bytes.HasPrefix(file, []byte(line)) {
		t.Fatalf("the file begins with %.60q", file)
	}
	rest := string(file[len(line):])
	for other, want := range map[string]string{
		"keyserver-key 2 fw-prod 1 ECDSA-P256\n" + rest: `its format "2" is unknown`,
		"keyserver-key 1 fw-prod 2 ECDSA-P256\n" + rest: `it holds version "2" of key "fw-prod"`,
		"keyserver-key 1 fw-prod 1 ECDSA-P224\n" + rest: `its algorithm "ECDSA-P224" is unknown`,
		"keyserver-key 1 fw-prod 1 ECDSA-P384\n" + rest: "it was changed or cut off",
		"keyserver-key 1 fw-prod 1 ECDSA-P256":          "its first line is not that of one",
		"":                                              "its first line is not that of one",
	} {
		_, _, err := unseal(k.kek, n, []byte(other))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one that says %q", other, err, want)
		}
	}
}

// Such files need the key-encryption key to be made: the authenticated content is wrong.
func TestAKeyFileWithContentThatIsNotItsKeyIsRefused(t *testing.T) {
	k, _ := newKeystore(t)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range []any{nil, p224, x25519, p384} {
		private := []byte("not PKCS #8")
		if key != nil {
			if private, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
				t.Fatal(err)
			}
		}
		n := name{"fw", i + 1}
		if err := writeFile(k.dir, n.file(), seal(k.kek, n, law.P256, private)); err != nil {
			t.Fatal(err)
		}
		if _, err := k.PublicKey(t.Context(), n.handle()); err == nil || !strings.Contains(err.Error(), "reading "+n.file()) {
			t.Errorf("content %d: got error %v", i, err)
		}
	}
}

func TestEveryRSAKeyHasTheExponent65537(t *testing.T) {
	pkcs8, err := generate(law.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	if e := key.(*rsa.PrivateKey).E; e != 65537 {
		t.Errorf("the exponent is %d", e)
	}
}

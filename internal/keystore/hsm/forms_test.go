package hsm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"
	"testing"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

func TestAPointIsAcceptedAsDERAndBareAndInNoOtherForm(t *testing.T) {
	type made struct {
		spki, point []byte
		err         error
	}
	ec := func(c elliptic.Curve) made {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			return made{err: err}
		}
		spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		point, pointErr := key.PublicKey.Bytes()
		return made{spki, point, errors.Join(err, pointErr)}
	}
	edwards := func() made {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		spki, spkiErr := x509.MarshalPKIXPublicKey(public)
		return made{spki, public, errors.Join(err, spkiErr)}
	}
	for a, key := range map[law.Algorithm]made{law.P256: ec(elliptic.P256()), law.P384: ec(elliptic.P384()), law.P521: ec(elliptic.P521()), law.Ed25519: edwards()} {
		if key.err != nil {
			t.Fatal(key.err)
		}
		der, err := asn1.Marshal(key.point)
		if err != nil {
			t.Fatal(err)
		}
		for _, params := range Curves(a) {
			for _, form := range [][]byte{key.point, der} {
				if got, err := ECPublicKey(params, form); err != nil || !bytes.Equal(got, key.spki) {
					t.Errorf("%s: %x gives %x, %v", a, form, got, err)
				}
			}
			long := slices.Concat([]byte{4, 0x82, 0, byte(len(key.point))}, key.point)
			for _, bad := range [][]byte{nil, key.point[1:], append(bytes.Clone(der), 0), der[:len(der)-1], long, bytes.Repeat([]byte{4}, len(key.point)+2)} {
				if got, err := ECPublicKey(params, bad); err == nil {
					t.Errorf("%s: %x gives %x", a, bad, got)
				}
			}
		}
		if a != law.Ed25519 {
			off := bytes.Clone(key.point)
			off[len(off)-1] ^= 1
			if _, err := ECPublicKey(Curves(a)[0], off); err == nil {
				t.Errorf("%s: a point that is not on the curve is accepted", a)
			}
		}
	}
	for _, params := range [][]byte{nil, {6, 1, 1}, append(bytes.Clone(Curves(law.P256)[0]), 0)} {
		if _, err := ECPublicKey(params, make([]byte, 65)); err == nil {
			t.Errorf("parameters %x are accepted", params)
		}
	}
}

func TestAnRSAKeyIsAcceptedWithTheOneExponentAndSizesThatTheLawKnows(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	want, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	n := key.N.Bytes()
	for _, e := range [][]byte{{1, 0, 1}, {0, 0, 1, 0, 1}} {
		if got, err := RSAPublicKey(append([]byte{0}, n...), e); err != nil || !bytes.Equal(got, want) {
			t.Errorf("exponent %x gives %x, %v", e, got, err)
		}
	}
	for _, e := range [][]byte{nil, {3}, {1, 0, 0, 0, 1}, bytes.Repeat([]byte{255}, 16)} {
		if _, err := RSAPublicKey(n, e); err == nil {
			t.Errorf("exponent %x is accepted", e)
		}
	}
	for _, n := range [][]byte{nil, n[1:], n[:len(n)-1], append(bytes.Clone(n), 1)} {
		if _, err := RSAPublicKey(n, []byte{1, 0, 1}); err == nil {
			t.Errorf("a modulus of %d bytes is accepted", len(n))
		}
	}
}

// CR-02: the worker makes the DigestInfo, and of a digest of the hash's length alone.
func TestCR02_TheInputIsMadeOfADigestOfTheRightLength(t *testing.T) {
	s := Sign{Handle: "h", Fingerprint: "f", Hash: law.SHA256, Scheme: law.PKCS1v15, Digest: bytes.Repeat([]byte{7}, 32)}
	if err := s.Check("f", law.RSA2048); err != nil {
		t.Fatal(err)
	}
	input, err := s.Input(law.RSA2048)
	if want := "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20" + strings.Repeat("\x07", 32); err != nil || string(input) != want {
		t.Errorf("it is %x, %v", input, err)
	}
	for what, change := range map[string]func(*Sign){
		"another public key":  func(s *Sign) { s.Fingerprint = "g" },
		"a DigestInfo":        func(s *Sign) { s.Digest = input },
		"a short digest":      func(s *Sign) { s.Digest = s.Digest[1:] },
		"an unknown hash":     func(s *Sign) { s.Hash = "MD5" },
		"another scheme":      func(s *Sign) { s.Scheme = law.ECDSA },
		"a message as well":   func(s *Sign) { s.Message = []byte("x") },
		"no scheme":           func(s *Sign) { s.Scheme = "" },
		"the digest of more":  func(s *Sign) { s.Hash = law.SHA512 },
		"EdDSA with this key": func(s *Sign) { s.Scheme = law.EdDSA },
	} {
		changed := s
		change(&changed)
		if err := changed.Check("f", law.RSA2048); !errors.Is(err, keystore.ErrUnfit) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAHandleIsWrittenInOneWay(t *testing.T) {
	handle := Handle("a token; %/ü", []byte{0, 'a', 0xff})
	if want := "pkcs11:token=a%20token%3B%20%25%2F%C3%BC;id=%00%61%FF;type=private"; handle != want {
		t.Errorf("it is %s", handle)
	}
	token, id, ok := ParseHandle(handle)
	if !ok || token != "a token; %/ü" || string(id) != "\x00a\xff" {
		t.Errorf("it is read as %q, %x, %v", token, id, ok)
	}
	for _, other := range []string{
		"", handle + "0", handle + ";", strings.ToUpper(handle), strings.Replace(handle, "%61", "a", 1), strings.Replace(handle, "%FF", "%ff", 1),
		"pkcs11:id=%01;token=t;type=private", "pkcs11:token=t;id=%01", "pkcs11:token=t;object=x;id=%01;type=private", "pkcs11:token=t;type=private", handle + "?pin-value=1",
	} {
		if _, _, ok := ParseHandle(other); ok {
			t.Errorf("%s is a handle", other)
		}
	}
}

func FuzzHandle(f *testing.F) {
	f.Add("pkcs11:token=keys;id=%01;type=private")
	f.Fuzz(func(t *testing.T, text string) {
		if token, id, ok := ParseHandle(text); ok && Handle(token, id) != text {
			t.Fatalf("%q is also written %q", text, Handle(token, id))
		}
		if u, err := ParseURI(text); err == nil && (u.Token == "" || u.ID == nil && u.Object == "") {
			t.Fatalf("%q names nothing", text)
		}
	})
}

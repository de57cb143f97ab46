package pki_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/asn1"
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// reencode writes a value again, from the inside out.
func reencode(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out []byte
	for len(raw) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(raw, &v)
		if err != nil {
			t.Fatal(err)
		}
		if v.FullBytes = nil; v.IsCompound {
			v.Bytes = reencode(t, v.Bytes)
		}
		one, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out, raw = append(out, one...), rest
	}
	return out
}

// FuzzParseDeviceRequest reads what it makes of requests, with the signature made good again, since nothing else could
// get past it.
func FuzzParseDeviceRequest(f *testing.F) {
	is := good(f, law.Ed25519)
	f.Add(is.subject, is.wishes, is.spki, true)
	f.Add(is.subject, is.wishes, is.der(f), false)
	f.Add(is.subject, is.wishes, csr(f, law.P256, nil), false)
	var parts struct {
		Info struct {
			Raw                      asn1.RawContent
			Version                  int
			Subject, Key, Attributes asn1.RawValue
		}
		Algorithm, Signature asn1.RawValue
	}
	_, err := asn1.Unmarshal(csr(f, law.P256, func(r *x509.CertificateRequest) {
		r.DNSNames = []string{"a.local"}
		wish(asn1.ObjectIdentifier{2, 5, 29, 15}, true, 3, 2, 7, 0x80)(r)
	}), &parts)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(is.subject, parts.Info.Attributes.FullBytes, is.spki, true)
	key := private(f, law.Ed25519, devicePair).(ed25519.PrivateKey)
	f.Fuzz(func(t *testing.T, subject, wishes, rest []byte, whole bool) {
		raw := rest
		if whole {
			made := good(t, law.Ed25519)
			made.subject, made.wishes = subject, wishes
			made.sign = func(info []byte) []byte { return ed25519.Sign(key, info) }
			if len(subject) == 0 || len(wishes) == 0 {
				return
			}
			raw = made.der(t)
		}
		r, err := pki.ParseDeviceRequest(raw)
		if err != nil {
			if r.DER != nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("something came with %q", err)
			}
			return
		}
		if again := reencode(t, r.DER); !bytes.Equal(again, r.DER) {
			t.Fatalf("%x\nis written again as\n%x", r.DER, again)
		}
		if _, err := x509.ParseCertificateRequest(r.DER); err != nil {
			t.Fatal(err)
		}
	})
}

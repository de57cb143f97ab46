package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// finished is a certificate that the standard library has made, to be put together from its parts.
func finished(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Unix(1_800_000_000, 0), NotAfter: time.Unix(1_900_000_000, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestACertificateIsPutTogetherFromWhatWasKept(t *testing.T) {
	c, other := finished(t), finished(t)
	in := law.Input{Hash: law.SHA256, Scheme: law.ECDSA, Digest: law.SHA256.Sum(c.RawTBSCertificate)}
	der, err := pki.FinishCertificate(c.RawTBSCertificate, c.RawSubjectPublicKeyInfo, in, c.Signature)
	if err != nil || !bytes.Equal(der, c.Raw) {
		t.Errorf("%v; it is\n%x, and must be\n%x", err, der, c.Raw)
	}
	described, err := pki.Describe(c.RawTBSCertificate)
	if err != nil || described.SerialNumber.Cmp(c.SerialNumber) != 0 || !described.NotAfter.Equal(c.NotAfter) {
		t.Errorf("%v; described is %+v", err, described)
	}
	noTBS := law.Input{Hash: law.SHA256, Scheme: law.ECDSA, Digest: law.SHA256.Sum(c.Raw)}
	for what, try := range map[string]func() ([]byte, error){
		"another TBS": func() ([]byte, error) {
			return pki.FinishCertificate(other.RawTBSCertificate, c.RawSubjectPublicKeyInfo, in, c.Signature)
		},
		"another key": func() ([]byte, error) {
			return pki.FinishCertificate(c.RawTBSCertificate, other.RawSubjectPublicKeyInfo, in, c.Signature)
		},
		"another signature": func() ([]byte, error) {
			return pki.FinishCertificate(c.RawTBSCertificate, c.RawSubjectPublicKeyInfo, in, other.Signature)
		},
		"no signature": func() ([]byte, error) {
			return pki.FinishCertificate(c.RawTBSCertificate, c.RawSubjectPublicKeyInfo, in, nil)
		},
		"what is no TBS": func() ([]byte, error) {
			return pki.FinishCertificate(c.Raw, c.RawSubjectPublicKeyInfo, noTBS, c.Signature)
		},
		"a description of nonsense": func() ([]byte, error) { _, err := pki.Describe([]byte("nonsense")); return nil, err },
	} {
		if der, err := try(); err == nil {
			t.Errorf("%s was taken: %x", what, der)
		}
	}
}

package pki_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// The standard library makes the same list: slowly, of entries of its own.
func TestARevocationListIsByteForByteThatOfTheStandardLibrary(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	large := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 159), big.NewInt(1))
	for what, l := range map[string]pki.RevocationList{
		"an empty one": newList(0), "of one entry": newList(1), "with every reason": newList(len(pki.Reasons())), "a long one": newList(3000),
		"of large serial numbers": {Number: large, ThisUpdate: now, NextUpdate: now.Add(day), Entries: []pki.Revocation{
			{Serial: large, Time: now, Reason: "superseded"}, {Serial: big.NewInt(128), Time: now, Reason: "superseded"}, {Serial: big.NewInt(127), Time: now, Reason: pki.Unspecified},
		}},
		"of years that UTCTime cannot say": {Number: big.NewInt(1), ThisUpdate: time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC), NextUpdate: time.Date(2061, 1, 1, 0, 0, 0, 0, time.UTC), Entries: []pki.Revocation{
			{Serial: big.NewInt(1), Time: time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC), Reason: pki.Unspecified},
			{Serial: big.NewInt(2), Time: time.Date(2049, 12, 31, 23, 59, 59, 999, time.UTC), Reason: "keyCompromise"},
			{Serial: big.NewInt(3), Time: time.Date(2050, 1, 1, 0, 0, 0, 0, time.FixedZone("east", 3600)), Reason: "keyCompromise"},
			{Serial: big.NewInt(4), Time: time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC), Reason: "keyCompromise"},
		}},
	} {
		issuer := made.ca
		if l.ThisUpdate.Year() == 2060 {
			issuer = newRoot(t, newKey(t, "root", law.Root, law.P256, law.SHA256, rootPair).with(func(p *law.Profile) { p.Validity = 40 * year }))
		}
		d, err := pki.PrepareRevocationList(issuer.pki(), l)
		got, err := x509.ParseRevocationList(issuer.finish(t, d, err))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if err := got.CheckSignatureFrom(issuer.certificate); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if !bytes.Equal(got.RawTBSRevocationList, standardList(t, issuer, l)) {
			t.Errorf("%s: it is\n%x, not\n%x", what, got.RawTBSRevocationList, standardList(t, issuer, l))
		}
	}
}

// standardList is what the standard library would have the issuer sign, but for its key.
func standardList(t *testing.T, issuer authority, l pki.RevocationList) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: l.Number, ThisUpdate: l.ThisUpdate.UTC().Truncate(time.Second), NextUpdate: l.NextUpdate.UTC().Truncate(time.Second)}
	for _, e := range l.Entries {
		code, err := e.Reason.Code()
		if err != nil {
			t.Fatal(err)
		}
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: e.Serial, RevocationTime: e.Time.UTC().Truncate(time.Second), ReasonCode: code})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, issuer.certificate, issuer.private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.RawTBSRevocationList
}

func TestALongRevocationListIsNotMadePieceByPiece(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	l := newList(20_000)
	allocated := testing.AllocsPerRun(1, func() {
		if _, err := pki.PrepareRevocationList(made.ca.pki(), l); err != nil {
			t.Fatal(err)
		}
	})
	if each := allocated / float64(len(l.Entries)); each > 1 {
		t.Errorf("it takes %.1f allocations for an entry", each)
	}
}

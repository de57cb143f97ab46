package pki_test

import (
	"bytes"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// newList has that many entries, with the reasons in turn.
func newList(entries int) pki.RevocationList {
	l := pki.RevocationList{Number: big.NewInt(7), ThisUpdate: now, NextUpdate: now.Add(7 * day)}
	for i := range entries {
		l.Entries = append(l.Entries, pki.Revocation{
			Serial: big.NewInt(int64(i + 1)), Time: now.Add(-time.Duration(i) * time.Hour), Reason: pki.Reasons()[i%len(pki.Reasons())],
		})
	}
	return l
}

func TestARevocationListSaysWhatIsRevokedSinceWhenAndWhy(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	for _, is := range []authority{made.root, made.lower} {
		asked := newList(len(pki.Reasons()))
		d, err := pki.PrepareRevocationList(is.pki(), asked)
		got, err := x509.ParseRevocationList(is.finish(t, d, err))
		if err != nil {
			t.Fatal(err)
		}
		if err := got.CheckSignatureFrom(is.certificate); err != nil {
			t.Error(err)
		}
		second := now.Truncate(time.Second)
		if got.Number.Int64() != 7 || !got.ThisUpdate.Equal(second) || !got.NextUpdate.Equal(second.Add(7*day)) || !bytes.Equal(got.AuthorityKeyId, is.certificate.SubjectKeyId) {
			t.Errorf("number %v, updates %v and %v, authority key identifier %x", got.Number, got.ThisUpdate, got.NextUpdate, got.AuthorityKeyId)
		}
		if len(got.RevokedCertificateEntries) != len(asked.Entries) {
			t.Fatalf("%d entries", len(got.RevokedCertificateEntries))
		}
		for i, e := range got.RevokedCertificateEntries {
			want := asked.Entries[i]
			reason, err := pki.ReasonOf(e.ReasonCode)
			if err != nil || reason != want.Reason || e.SerialNumber.Cmp(want.Serial) != 0 || !e.RevocationTime.Equal(want.Time.Truncate(time.Second)) {
				t.Errorf("entry %d is %v at %v for %v (%v)", i, e.SerialNumber, e.RevocationTime, reason, err)
			}
			if given := len(e.Extensions) > 0; given != (want.Reason != pki.Unspecified) {
				t.Errorf("entry %d, %s: it gives a reason: %v", i, want.Reason, given)
			}
		}
	}
}

func TestWhatARevocationListCannotSayIsRefused(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	with := func(change func(*pki.RevocationList)) pki.RevocationList {
		l := newList(2)
		change(&l)
		return l
	}
	for says, is := range map[string]struct {
		issuer authority
		list   pki.RevocationList
	}{
		"its number must not be negative":               {made.ca, with(func(l *pki.RevocationList) { l.Number = big.NewInt(-1) })},
		"and be at most 20 octets":                      {made.ca, with(func(l *pki.RevocationList) { l.Number = new(big.Int).Lsh(big.NewInt(1), 159) })},
		"negative and be at most":                       {made.ca, with(func(l *pki.RevocationList) { l.Number = nil })},
		"at least a second after":                       {made.ca, with(func(l *pki.RevocationList) { l.NextUpdate = l.ThisUpdate })},
		"at least a second after this one":              {made.ca, with(func(l *pki.RevocationList) { l.NextUpdate = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) })},
		"positive and at most":                          {made.ca, with(func(l *pki.RevocationList) { l.Entries[1].Serial = nil })},
		"positive and at most 20":                       {made.ca, with(func(l *pki.RevocationList) { l.Entries[1].Serial = big.NewInt(0) })},
		"serial number 1 is there twice":                {made.ca, with(func(l *pki.RevocationList) { l.Entries[1].Serial = big.NewInt(1) })},
		"it can be revoked only before":                 {made.ca, with(func(l *pki.RevocationList) { l.Entries[1].Time = now.Add(time.Second) })},
		"can be revoked only before":                    {made.ca, with(func(l *pki.RevocationList) { l.Entries[1].Time = time.Time{} })},
		"cannot be certificateHold":                     {made.ca, with(func(l *pki.RevocationList) { l.Entries[1].Reason = "certificateHold" })},
		"cannot be removeFromCRL":                       {made.ca, with(func(l *pki.RevocationList) { l.Entries[1].Reason = "removeFromCRL" })},
		`reason "" is unknown`:                          {made.ca, with(func(l *pki.RevocationList) { l.Entries[1].Reason = "" })},
		"an FW key issues nothing":                      {made.firmware, newList(0)},
		"has no certificate, so it issues nothing":      {authority{pair: made.ca.pair}, newList(0)},
		"valid from 2027-03-01T12:00:00Z to 2042-02-25": {made.ca, with(func(l *pki.RevocationList) { l.ThisUpdate, l.NextUpdate = now.Add(16*year), now.Add(17*year) })},
	} {
		_, err := pki.PrepareRevocationList(is.issuer.pki(), is.list)
		refused(t, err, says)
	}
}

func TestARevocationListLongerThanAnEd25519KeySignsIsRefused(t *testing.T) {
	root := newRoot(t, newKey(t, "root", law.Root, law.Ed25519, law.SHA512, rootPair))
	_, err := pki.PrepareRevocationList(root.pki(), newList(2000))
	refused(t, err, "issue with a key of another algorithm")
	root = newRoot(t, newKey(t, "root", law.Root, law.P256, law.SHA256, rootPair))
	if _, err := pki.PrepareRevocationList(root.pki(), newList(2000)); err != nil {
		t.Error(err)
	}
}

func TestReasonsHaveTheNumbersOfRFC5280(t *testing.T) {
	for code, want := range map[int]pki.Reason{
		0: "unspecified", 1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged", 4: "superseded", 5: "cessationOfOperation", 9: "privilegeWithdrawn", 10: "aACompromise",
	} {
		if got, err := pki.ReasonOf(code); err != nil || got != want {
			t.Errorf("%d is %s, error %v", code, got, err)
		}
		if got, err := want.Code(); err != nil || got != code {
			t.Errorf("%s is %d, error %v", want, got, err)
		}
	}
	for _, code := range []int{-1, 6, 7, 8, 11} {
		_, err := pki.ReasonOf(code)
		refused(t, err, "is not the number of a reason")
	}
}

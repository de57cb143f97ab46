package pki_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"testing"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

func TestARequestAsksForWhatTheCertificateWouldHold(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	for _, is := range []authority{made.root, made.ca, made.lower, made.firmware} {
		d, err := pki.PrepareRequest(is.Key)
		r, err := x509.ParseCertificateRequest(is.finish(t, d, err))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.CheckSignature(); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(r.RawSubject, is.certificate.RawSubject) || !bytes.Equal(r.RawSubjectPublicKeyInfo, is.PublicKey) || !bytes.Equal(r.RawTBSCertificateRequest, d.TBS()) {
			t.Errorf("%s: subject %s", is.ID, pki.Text(r.Subject))
		}
		for _, e := range r.Extensions {
			if !slices.ContainsFunc(is.certificate.Extensions, func(c pkix.Extension) bool {
				return c.Id.Equal(e.Id) && c.Critical == e.Critical && bytes.Equal(c.Value, e.Value)
			}) {
				t.Errorf("%s: extension %v is not in the certificate", is.ID, e)
			}
		}
		if want := 2 + len(is.Profile.ExtendedKeyUsage); len(r.Extensions) != want {
			t.Errorf("%s: %d extensions", is.ID, len(r.Extensions))
		}
	}
}

func TestARequestIsRefusedWithoutAProfileAndFinishedOnlyByItsKey(t *testing.T) {
	ca, other := newKey(t, "ca", law.CA, law.P256, law.SHA256, caPair), newKey(t, "other", law.CA, law.P256, law.SHA256, rootPair)
	without := ca.Key
	without.Profile = nil
	_, err := pki.PrepareRequest(without)
	refused(t, err, "it has no certificate profile")
	d, err := pki.PrepareRequest(ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Finish(d.TBS(), other.sign(t, d.Input()))
	refused(t, err, "no valid ECDSA signature")
}

func TestANameIsShownWhollyAndWithoutWhatCannotBeShown(t *testing.T) {
	is := func(oid asn1.ObjectIdentifier, value string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: oid, Value: value}
	}
	cn, o := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{2, 5, 4, 10}
	for want, n := range map[string]pkix.Name{
		`CN=Größe,O=A\, B`:                  {Names: []pkix.AttributeTypeAndValue{is(o, "A, B"), is(cn, "Größe")}},
		`CN=one,CN=two`:                     {Names: []pkix.AttributeTypeAndValue{is(cn, "two"), is(cn, "one")}},
		`CN=\1B[31mred\0D\0A\E2\80\AEdlrow`: {Names: []pkix.AttributeTypeAndValue{is(cn, "\x1b[31mred\r\n\u202edlrow")}},
		`1.2.3=x`:                           {Names: []pkix.AttributeTypeAndValue{is(asn1.ObjectIdentifier{1, 2, 3}, "x")}},
		`CN=made,C=DE`:                      {Country: []string{"DE"}, CommonName: "made"},
		``:                                  {},
	} {
		if got := pki.Text(n); got != want {
			t.Errorf("%q is shown, not %q", got, want)
		}
	}
}

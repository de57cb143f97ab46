package pki_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// drawProfile draws a profile of device certificates, at the ends of what one may say, that the law takes.
func drawProfile(t *rapid.T) *law.DeviceProfile {
	some := func(label string, all []string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, len(all), func(s string) string { return s }).Draw(t, label)
	}
	url := func(label string) string {
		return rapid.SampledFrom([]string{"", "http://a", "https://crl.example.com/a%20b?c=d", "http://" + strings.Repeat("x", 493)}).Draw(t, label)
	}
	p := &law.DeviceProfile{
		Identity: "serial-number", NoExpiry: rapid.Bool().Draw(t, "no expiry"), ExtendedKeyUsage: some("purposes", []string{"clientAuth", "serverAuth", "emailProtection", "1.3.6.1.4.1.99999.1"}),
		Policies: some("policies", []string{"1.3.6.1.4.1.99999.2", "2.999.1", "1.3.6.1.4.1.99999.3.4294967"}), Duplicates: law.DuplicatesSame,
		CRLURL: url("list"), OCSPURL: url("responder"), IssuerURL: url("issuer"),
	}
	for _, u := range some("usages", []string{"digitalSignature", "contentCommitment", "keyEncipherment", "keyAgreement"}) {
		p.KeyUsage = append(p.KeyUsage, law.KeyUsage(u))
	}
	for _, a := range some("algorithms", []string{"RSA-2048", "ECDSA-P256", "ECDSA-P384", "Ed25519"}) {
		p.Algorithms = append(p.Algorithms, law.Algorithm(a))
	}
	if !p.NoExpiry {
		p.Validity = rapid.SampledFrom([]time.Duration{time.Second, year, 9 * year}).Draw(t, "validity")
	}
	for _, a := range some("attributes", []string{"common-name", "country", "locality", "province", "organization", "organizational-unit", "1.3.6.1.4.1.37244.2.1"}) {
		value := strings.Repeat("Ü", 64)
		if a == "country" {
			value = "DE"
		}
		p.Subject = append(p.Subject, law.DeviceAttribute{Type: a, DeviceField: law.DeviceField{Fixed: value}})
	}
	p.Subject = append(p.Subject, law.DeviceAttribute{Type: "serial-number", DeviceField: law.DeviceField{Pattern: ".*", MaxLength: 64}})
	for _, n := range some("names", []string{"{device}.devices.example.com", "{device}", "com", "xn--ls8h.example", "a-.b", "--a"}) {
		p.Names = append(p.Names, law.DeviceName{Kind: law.DNSName, DeviceField: law.DeviceField{Fixed: n}})
	}
	for _, u := range some("URIs", []string{"urn:dev:{device}", "https://example.com/{device}", "https://{device}", "coap://10.0.0.1/x", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", "https://x:99/", "a:b", "http:///x", "opc.tcp://host", "http://[::1]/", "mailto:a@b"}) {
		p.Names = append(p.Names, law.DeviceName{Kind: law.URIName, DeviceField: law.DeviceField{Fixed: u}})
	}
	if rapid.Bool().Draw(t, "module") {
		p.Names = append(p.Names, law.DeviceName{Kind: law.HardwareModule, HardwareType: "1.3.6.1.4.1.99999.7", DeviceField: law.DeviceField{Fixed: "{device}"}})
	}
	if rapid.Bool().Draw(t, "extension") {
		p.Extensions = []law.DeviceExtension{{ID: "1.3.6.1.4.1.99999.9", Value: []byte{5, 0}}, {ID: "1.3.6.1.5.5.7.1.24", Value: []byte{0x30, 3, 2, 1, 5}}}
	}
	return p
}

// What the law takes for a profile makes certificates without errors: nobody learns at the first device, under an
// approved operation, that a profile is of no use.
func TestAProfileThatTheLawTakesMakesCertificatesWithoutErrors(t *testing.T) {
	made := newDeviceCA(t, law.P256, nil)
	l, err := pki.NewLinter(made.lower.Key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	valid := rapid.Custom(drawProfile).Filter(func(p *law.DeviceProfile) bool { return p.Check() == nil })
	rapid.Check(t, func(rt *rapid.T) {
		a := made.lower
		a.Devices = valid.Draw(rt, "profile")
		serial := rapid.SampledFrom([]string{"a", "a1b2c3d4", "sn-0", strings.Repeat("a", 63)}).Draw(rt, "serial number")
		der := csr(t, rapid.SampledFrom(a.Devices.Algorithms).Draw(rt, "algorithm"), func(r *x509.CertificateRequest) {
			r.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 5}, Value: serial}}}
		})
		d, device, err := pki.PrepareDevice(a.pki(), request(t, der), now, newSerial(t))
		if err != nil {
			rt.Fatal(err)
		}
		if err := l.Lint(d.TBS()); err != nil {
			rt.Fatal(err)
		}
		c := parse(t, a.finish(t, d, nil))
		if device.Identity != serial || c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
			rt.Fatalf("device %q, CA %t, key usage %b", device.Identity, c.IsCA, c.KeyUsage)
		}
	})
}

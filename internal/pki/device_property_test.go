package pki_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// drawProfile draws a profile of device certificates, at the ends of what one may say: of what is drawn it has what the law
// takes beside what it has already.
func drawProfile(t *rapid.T) *law.DeviceProfile {
	p := law.DeviceProfile{
		Identity: "serial-number", Duplicates: law.DuplicatesSame, Validity: year, KeyUsage: []law.KeyUsage{law.DigitalSignature}, Algorithms: []law.Algorithm{law.P256},
		Subject: []law.DeviceAttribute{{Type: "serial-number", DeviceField: law.DeviceField{Pattern: ".*", MaxLength: 64}}},
	}
	try := func(change func(*law.DeviceProfile)) {
		next := p
		next.Subject, next.Names = slices.Clone(p.Subject), slices.Clone(p.Names)
		if change(&next); next.Check() == nil {
			p = next
		}
	}
	some := func(label string, all ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(all), 0, len(all), func(s string) string { return s }).Draw(t, label)
	}
	algorithms := typed[law.Algorithm](some("algorithms", "RSA-2048", "ECDSA-P256", "ECDSA-P384", "Ed25519"))
	try(func(p *law.DeviceProfile) { p.Algorithms = algorithms })
	usages := typed[law.KeyUsage](some("usages", "digitalSignature", "contentCommitment", "keyEncipherment", "keyAgreement"))
	try(func(p *law.DeviceProfile) { p.KeyUsage = usages })
	if rapid.Bool().Draw(t, "no expiry") {
		try(func(p *law.DeviceProfile) { p.NoExpiry, p.Validity = true, 0 })
	} else {
		try(func(p *law.DeviceProfile) {
			p.Validity = rapid.SampledFrom([]time.Duration{time.Second, year, 9 * year}).Draw(t, "validity")
		})
	}
	for _, u := range some("purposes", "clientAuth", "serverAuth", "emailProtection", "1.3.6.1.4.1.99999.1") {
		try(func(p *law.DeviceProfile) { p.ExtendedKeyUsage = append(slices.Clone(p.ExtendedKeyUsage), u) })
	}
	try(func(p *law.DeviceProfile) {
		p.Policies = some("policies", "1.3.6.1.4.1.99999.2", "2.999.1", "1.3.6.1.4.1.99999.3.4294967")
	})
	url := func(label string) string {
		return rapid.SampledFrom([]string{"", "http://a", "https://crl.example.com/a%20b?c=d", "http://" + strings.Repeat("x", 493)}).Draw(t, label)
	}
	list, responder, issuer := url("list"), url("responder"), url("issuer")
	try(func(p *law.DeviceProfile) { p.CRLURL, p.OCSPURL, p.IssuerURL = list, responder, issuer })
	for _, a := range some("attributes", "common-name", "country", "locality", "province", "organization", "organizational-unit", "1.3.6.1.4.1.37244.2.1") {
		value := strings.Repeat("Ü", 64)
		if a == "country" {
			value = "DE"
		}
		try(func(p *law.DeviceProfile) {
			p.Subject = append([]law.DeviceAttribute{{Type: a, DeviceField: law.DeviceField{Fixed: value}}}, p.Subject...)
		})
	}
	drawNames(t, some, try)
	if rapid.Bool().Draw(t, "extension") {
		try(func(p *law.DeviceProfile) {
			p.Extensions = []law.DeviceExtension{{ID: "1.3.6.1.4.1.99999.9", Value: []byte{5, 0}}, {ID: "1.3.6.1.5.5.7.1.24", Value: []byte{0x30, 3, 2, 1, 5}}}
		})
	}
	return &p
}

func drawNames(t *rapid.T, some func(label string, all ...string) []string, try func(func(*law.DeviceProfile))) {
	named := func(n law.DeviceName) { try(func(p *law.DeviceProfile) { p.Names = append(p.Names, n) }) }
	for _, n := range some("names", "{device}.devices.example.com", "{device}", "com", "xn--ls8h.example", "a-.b", "--a") {
		named(law.DeviceName{Kind: law.DNSName, DeviceField: law.DeviceField{Fixed: n}})
	}
	for _, u := range some("URIs", "urn:dev:{device}", "https://example.com/{device}", "https://{device}", "coap://10.0.0.1/x", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", "https://x:99/", "a:b", "http:///x", "opc.tcp://host", "http://[::1]/", "mailto:a@b") {
		named(law.DeviceName{Kind: law.URIName, DeviceField: law.DeviceField{Fixed: u}})
	}
	if rapid.Bool().Draw(t, "module") {
		named(law.DeviceName{Kind: law.HardwareModule, HardwareType: "1.3.6.1.4.1.99999.7", DeviceField: law.DeviceField{Fixed: "{device}"}})
	}
}

func typed[T ~string](all []string) []T {
	var out []T
	for _, one := range all {
		out = append(out, T(one))
	}
	return out
}

// What the law takes for a profile makes certificates without errors: nobody learns at the first device, under an
// approved operation, that a profile is of no use.
func TestAProfileThatTheLawTakesMakesCertificatesWithoutErrors(t *testing.T) {
	made := newDeviceCA(t, law.P256, nil)
	l, err := pki.NewLinter(made.lower.Key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		a := made.lower
		a.Devices = drawProfile(rt)
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

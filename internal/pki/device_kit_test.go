package pki_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"testing"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// Numbers of the key pairs of devices.
const devicePair = 7

// idevid is a profile as IEEE 802.1AR asks for, and tlsClient one of a device that signs in with TLS.
func idevid() *law.DeviceProfile {
	return &law.DeviceProfile{
		Subject: []law.DeviceAttribute{
			{Type: "country", DeviceField: law.DeviceField{Fixed: "DE"}},
			{Type: "organization", DeviceField: law.DeviceField{Fixed: "Example GmbH"}},
			{Type: "common-name", DeviceField: law.DeviceField{Pattern: "Gateway [A-Z0-9]+", MaxLength: 32, Optional: true}},
			{Type: "serial-number", DeviceField: law.DeviceField{Pattern: "[A-Z0-9]{6,16}", MaxLength: 16}},
		},
		Names:    []law.DeviceName{{Kind: law.HardwareModule, HardwareType: "1.3.6.1.4.1.99999.7", DeviceField: law.DeviceField{Fixed: "{device}"}}},
		Identity: "serial-number", Algorithms: law.Algorithms(), NoExpiry: true, KeyUsage: []law.KeyUsage{law.DigitalSignature},
		Duplicates: law.DuplicatesRefused,
	}
}

func tlsClient() *law.DeviceProfile {
	return &law.DeviceProfile{
		Subject: []law.DeviceAttribute{
			{Type: "organization", DeviceField: law.DeviceField{Fixed: "Example GmbH"}},
			{Type: "common-name", DeviceField: law.DeviceField{Pattern: "[a-z0-9-]+", MaxLength: 32}},
		},
		Names: []law.DeviceName{
			{Kind: law.DNSName, DeviceField: law.DeviceField{Fixed: "{device}.devices.example.com"}},
			{Kind: law.DNSName, Most: 2, DeviceField: law.DeviceField{Pattern: `[a-z0-9-]+\.local`, MaxLength: 40, Optional: true}},
			{Kind: law.URIName, DeviceField: law.DeviceField{Fixed: "urn:example:device:{device}"}},
		},
		Identity: "common-name", Algorithms: []law.Algorithm{law.P256, law.P384, law.P521}, Validity: year,
		KeyUsage: []law.KeyUsage{law.DigitalSignature, law.KeyAgreement}, ExtendedKeyUsage: []string{"clientAuth"},
		Policies: []string{"1.3.6.1.4.1.99999.2.1"}, Extensions: []law.DeviceExtension{{ID: "1.3.6.1.4.1.99999.3", Value: []byte{0x0c, 2, 'r', '1'}}},
		CRLURL: "http://crl.example.com/ca.crl", OCSPURL: "http://ocsp.example.com", IssuerURL: "http://crl.example.com/ca.cer",
		Duplicates: law.DuplicatesReplaced,
	}
}

// newDeviceCA is a hierarchy whose lower CA key issues device certificates.
func newDeviceCA(t testing.TB, a law.Algorithm, p *law.DeviceProfile) (made hierarchy) {
	t.Helper()
	made = newHierarchy(t, a, law.SHA256)
	made.lower.Devices = p
	return made
}

// csr makes a certificate request; change has a say in it before it is signed.
func csr(t testing.TB, a law.Algorithm, change func(*x509.CertificateRequest)) []byte {
	t.Helper()
	r := &x509.CertificateRequest{Subject: pkix.Name{SerialNumber: "A1B2C3D4"}}
	if change != nil {
		change(r)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, r, private(t, a, devicePair))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func named(name string) func(*x509.CertificateRequest) {
	return func(r *x509.CertificateRequest) { r.Subject = pkix.Name{CommonName: name} }
}

func wish(id asn1.ObjectIdentifier, critical bool, der ...byte) func(*x509.CertificateRequest) {
	return func(r *x509.CertificateRequest) {
		r.ExtraExtensions = append(r.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: der})
	}
}

func request(t testing.TB, der []byte) pki.DeviceRequest {
	t.Helper()
	r, err := pki.ParseDeviceRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// issueDevice has the authority issue for a device, and lints before.
func (a authority) issueDevice(t testing.TB, r pki.DeviceRequest) (*x509.Certificate, pki.Device) {
	t.Helper()
	d, device, err := pki.PrepareDevice(a.pki(), r, now, newSerial(t))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, a.finish(t, d, nil)), device
}

func uri(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

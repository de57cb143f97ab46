package pki_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

func TestADeviceCertificateSaysWhatTheProfileSaysAndOfTheRequestWhatItLetsThrough(t *testing.T) {
	made := newDeviceCA(t, law.P256, tlsClient())
	r := request(t, csr(t, law.P384, func(r *x509.CertificateRequest) {
		r.Subject = pkix.Name{CommonName: "pump-17", Organization: []string{"Example GmbH"}}
		r.DNSNames, r.URIs = []string{"pump-17.local", "pump-17.devices.example.com", "17.local"}, []*url.URL{uri(t, "urn:example:device:pump-17")}
		r.ExtraExtensions = []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 0}},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 7, 0x80}},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: []byte{0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2}},
		}
	}))
	c, device := made.lower.issueDevice(t, r)
	if pki.Text(c.Subject) != "CN=pump-17,O=Example GmbH" || !slices.Equal(c.DNSNames, []string{"pump-17.devices.example.com", "pump-17.local", "17.local"}) || len(c.URIs) != 1 || c.URIs[0].String() != "urn:example:device:pump-17" {
		t.Errorf("subject %s, names %v %v", pki.Text(c.Subject), c.DNSNames, c.URIs)
	}
	if c.IsCA || !c.BasicConstraintsValid || c.MaxPathLen != -1 || c.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Errorf("CA %t, key usage %b, extended %v", c.IsCA, c.KeyUsage, c.ExtKeyUsage)
	}
	if !slices.Equal(c.CRLDistributionPoints, []string{"http://crl.example.com/ca.crl"}) || !slices.Equal(c.OCSPServer, []string{"http://ocsp.example.com"}) || !slices.Equal(c.IssuingCertificateURL, []string{"http://crl.example.com/ca.cer"}) {
		t.Errorf("revocation list at %v, responder at %v, issuer at %v", c.CRLDistributionPoints, c.OCSPServer, c.IssuingCertificateURL)
	}
	if len(c.Policies) != 1 || c.Policies[0].String() != "1.3.6.1.4.1.99999.2.1" || !c.NotAfter.Equal(c.NotBefore.Add(year-time.Second)) {
		t.Errorf("policies %v, valid from %v to %v", c.Policies, c.NotBefore, c.NotAfter)
	}
	var extra []byte
	for _, e := range c.Extensions {
		if e.Id.String() == "1.3.6.1.4.1.99999.3" {
			extra = e.Value
		}
		if must := e.Id.String() == "2.5.29.15" || e.Id.String() == "2.5.29.19"; e.Critical != must {
			t.Errorf("extension %s is critical: %v", e.Id, e.Critical)
		}
	}
	if !bytes.Equal(extra, []byte{0x0c, 2, 'r', '1'}) || !bytes.Equal(c.RawSubjectPublicKeyInfo, r.PublicKey) || !bytes.Equal(c.AuthorityKeyId, made.lower.certificate.SubjectKeyId) {
		t.Errorf("extension %x, or the keys are others", extra)
	}
	want := pki.Device{Identity: "pump-17", Fingerprint: r.Fingerprint, Request: r.Digest(), Profile: tlsClient().Digest(), NotBefore: c.NotBefore, NotAfter: c.NotAfter}
	if device != want {
		t.Errorf("recorded by %+v, not %+v", device, want)
	}
}

func TestAnIDevIDHasNoExpiryAndNamesTheHardware(t *testing.T) {
	made := newDeviceCA(t, law.P256, idevid())
	for _, a := range []law.Algorithm{law.RSA2048, law.P256, law.P384, law.P521, law.Ed25519} {
		c, device := made.lower.issueDevice(t, request(t, csr(t, a, nil)))
		if !c.NotAfter.Equal(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)) || !bytes.Contains(c.RawTBSCertificate, []byte("\x18\x0f99991231235959Z")) {
			t.Errorf("%s: valid to %v", a, c.NotAfter)
		}
		if device.Identity != "A1B2C3D4" || pki.Text(c.Subject) != "SERIALNUMBER=A1B2C3D4,O=Example GmbH,C=DE" {
			t.Errorf("%s: device %s, subject %s", a, device.Identity, pki.Text(c.Subject))
		}
		// otherName hardwareModuleName (RFC 4108 section 5)
		module := append([]byte{0x06, 8, 0x2b, 6, 1, 5, 5, 7, 8, 4, 0xa0, 0x17, 0x30, 0x15, 0x06, 9, 0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, 7, 4, 8}, "A1B2C3D4"...)
		if !bytes.Contains(c.RawTBSCertificate, module) {
			t.Errorf("%s: no hardware module in %x", a, c.RawTBSCertificate)
		}
		if err := c.CheckSignatureFrom(made.lower.certificate); err != nil {
			t.Error(err)
		}
	}
}

func TestTheHardwareModuleOfARequestMayBeTheDeviceIdentity(t *testing.T) {
	p := idevid()
	p.Identity = "hardware-module"
	p.Names[0].DeviceField, p.Names[0].Most = law.DeviceField{Pattern: "SN-[0-9]+", MaxLength: 12}, 1
	made := newDeviceCA(t, law.P256, p)
	module := func(arc byte, serial string) []byte {
		inner := append([]byte{0x06, 9, 0x2b, 6, 1, 4, 1, 0x86, 0x8d, 0x1f, arc, 4, byte(len(serial))}, serial...)
		inner = append([]byte{0xa0, byte(len(inner) + 2), 0x30, byte(len(inner))}, inner...)
		inner = append([]byte{0x06, 8, 0x2b, 6, 1, 5, 5, 7, 8, 4}, inner...)
		inner = append([]byte{0xa0, byte(len(inner))}, inner...)
		return append([]byte{0x30, byte(len(inner))}, inner...)
	}
	names := asn1.ObjectIdentifier{2, 5, 29, 17}
	_, device := made.lower.issueDevice(t, request(t, csr(t, law.P256, wish(names, false, module(7, "SN-17")...))))
	if device.Identity != "SN-17" {
		t.Errorf("the device is %q", device.Identity)
	}
	_, _, err := pki.PrepareDevice(made.lower.pki(), request(t, csr(t, law.P256, wish(names, false, module(6, "SN-17")...))), now, newSerial(t))
	refused(t, err, "the request has a hardware module of type 1.3.6.1.4.1.99999.6, and the profile has 1.3.6.1.4.1.99999.7")
	_, _, err = pki.PrepareDevice(made.lower.pki(), request(t, csr(t, law.P256, wish(names, false, module(7, "17")...))), now, newSerial(t))
	refused(t, err, `"17" does not match the pattern SN-[0-9]+ of the profile`)
}

// refusedDevice has the request refused, when it is read or when the certificate is prepared.
func refusedDevice(t *testing.T, a pki.Authority, raw []byte, says string) {
	t.Helper()
	r, err := pki.ParseDeviceRequest(raw)
	if err == nil {
		_, _, err = pki.PrepareDevice(a, r, now, newSerial(t))
	}
	refused(t, err, says)
	if err != nil && (strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "the certificate request: ") && !strings.HasPrefix(err.Error(), "a device certificate, issued by key lower: ")) {
		t.Errorf("it is not one sentence: %q", err)
	}
}

func TestWhatARequestAsksForBeyondTheProfileIsRefused(t *testing.T) {
	made := newDeviceCA(t, law.P256, tlsClient())
	id := func(arcs ...int) asn1.ObjectIdentifier { return arcs }
	for says, change := range map[string]func(*x509.CertificateRequest){
		// CE-01
		"it asks for CA:TRUE, a path length":                                  wish(id(2, 5, 29, 19), true, 0x30, 3, 1, 1, 0xff),
		"or other basic constraints":                                          wish(id(2, 5, 29, 19), true, 0x30, 6, 1, 1, 0xff, 2, 1, 0),
		"or ask for CA:FALSE in DER":                                          wish(id(2, 5, 29, 19), true, 0x30, 3, 2, 1, 0),
		"no device gets (bit 5 of":                                            wish(id(2, 5, 29, 15), true, 3, 2, 2, 0x84),
		"no device gets (bit 6 of":                                            wish(id(2, 5, 29, 15), true, 3, 2, 1, 2),
		"it asks for the extension 2.5.29.30 (critical: true)":                wish(id(2, 5, 29, 30), true, 0x30, 0),
		"it asks for the extension 1.2.3.4 (critical: true)":                  wish(id(1, 2, 3, 4), true, 5, 0),
		"it asks for the extension 1.2.3.5 (critical: false)":                 wish(id(1, 2, 3, 5), false, 5, 0),
		"it asks for the extension 2.5.29.32 (critical":                       wish(id(2, 5, 29, 32), false, 0x30, 0),
		"it asks for the extension 1.3.6.1.5.5.7.1.1 (critical":               wish(id(1, 3, 6, 1, 5, 5, 7, 1, 1), false, 0x30, 0),
		"it asks for the extension 1.3.6.1.4.1.99999.3 (critical: false)":     wish(id(1, 3, 6, 1, 4, 1, 99999, 3), false, 5, 0),
		"asks for the key usage contentCommitment, and the profile gives":     wish(id(2, 5, 29, 15), true, 3, 2, 6, 0x40),
		"asks for the key usage keyEncipherment, and the profile gives":       wish(id(2, 5, 29, 15), true, 3, 2, 5, 0x20),
		"asks for the extended key usage 1.3.6.1.5.5.7.3.1, and the profile":  wish(id(2, 5, 29, 37), false, 0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1),
		"asks for the extended key usage 2.5.29.37.0, and the profile":        wish(id(2, 5, 29, 37), false, 0x30, 6, 6, 4, 0x55, 0x1d, 0x25, 0),
		"the key usage that it asks for is empty or not DER":                  wish(id(2, 5, 29, 15), true, 3, 2, 0, 0x80),
		"the extended key usage that it asks for cannot be read":              wish(id(2, 5, 29, 37), false, 0x30, 0),
		"it is not DER: asn1: structure error: non-minimal length":            wish(id(2, 5, 29, 37), false, 0x30, 0x81, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2),
		`has the alternative name dns "other.example.com"`:                    nil,
		"it asks for an alternative name of a kind that no device gets (7 of": wish(id(2, 5, 29, 17), false, 0x30, 6, 0x87, 4, 10, 0, 0, 1),
		"it asks for an alternative name of a kind that no device gets (1 of": wish(id(2, 5, 29, 17), false, 0x30, 5, 0x81, 3, 'a', '@', 'b'),
		"it asks for an alternative name of another kind than a hardware":     wish(id(2, 5, 29, 17), false, 0x30, 10, 0xa0, 8, 6, 2, 0x2a, 3, 0xa0, 2, 5, 0),
		"the request has the alternative name hardware-module":                wish(id(2, 5, 29, 17), false, append([]byte{0x30, 27, 0xa0, 25, 6, 8, 0x2b, 6, 1, 5, 5, 7, 8, 4, 0xa0, 13, 0x30, 11, 6, 2, 0x2a, 3, 4, 5}, "12345"...)...),
		"alternative name dns that it asks for: it has the character U+0000":  wish(id(2, 5, 29, 17), false, append([]byte{0x30, 9, 0x82, 7}, "a\x00.loca"...)...),
		"the alternative names that it asks for cannot be read":               wish(id(2, 5, 29, 17), false, 0x30, 0),
		`alternative name dns of the request: "*.local" is no host name`:      func(r *x509.CertificateRequest) { r.DNSNames = []string{"*.local"} },
		`alternative name dns of the request: "A.local" is no host name`:      func(r *x509.CertificateRequest) { r.DNSNames = []string{"A.local"} },
		`"a.evil" does not match the pattern`:                                 func(r *x509.CertificateRequest) { r.DNSNames = []string{"a.evil"} },
		`"a.local.evil" does not match the pattern`:                           func(r *x509.CertificateRequest) { r.DNSNames = []string{"a.local.evil"} },
		"the request has more alternative names dns than the profile allows":  func(r *x509.CertificateRequest) { r.DNSNames = []string{"a.local", "b.local", "c.local"} },
		"it asks for the alternative name \"a.local\" twice":                  func(r *x509.CertificateRequest) { r.DNSNames = []string{"a.local", "a.local"} },
		"it is 46 characters long; the profile allows 40":                     func(r *x509.CertificateRequest) { r.DNSNames = []string{strings.Repeat("a", 40) + ".local"} },
		`has the alternative name uri "urn:example:device:other"`:             func(r *x509.CertificateRequest) { r.URIs = []*url.URL{uri(t, "urn:example:device:other")} },
		"attribute common-name of the request: it is 33 characters long":      named(strings.Repeat("x", 33)),
		`common-name of the request: "Pump" does not match the pattern`:       named("Pump"),
		"the request lacks the attribute common-name":                         named(""),
		"attribute common-name of its subject: it has the character U+0000":   named("pump\x00.evil"),
		"attribute common-name of its subject: it has the character U+202E":   named("pump\u202e"),
		"attribute common-name of its subject: it is 5000 bytes long":         named(strings.Repeat("x", 5000)),
		`says organization "Evil", and the profile "Example GmbH"`:            func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"Evil"} },
		"has the attribute country in its subject, of which the profile says": func(r *x509.CertificateRequest) { r.Subject.Country = []string{"DE"} },
		"has the attribute 1.2.3.4 in its subject, of which the profile says": func(r *x509.CertificateRequest) {
			r.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: id(2, 5, 4, 3), Value: "a"}, {Type: id(1, 2, 3, 4), Value: "x"}}
		},
		"attribute common-name is in its subject twice": func(r *x509.CertificateRequest) {
			r.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: id(2, 5, 4, 3), Value: "a"}, {Type: id(2, 5, 4, 3), Value: "b"}}
		},
		"a part of its subject is not one attribute by itself": func(r *x509.CertificateRequest) { r.Subject.OrganizationalUnit = []string{"a", "b"} },
		"the extension 2.5.29.15 twice":                        func(r *x509.CertificateRequest) { u := wish(id(2, 5, 29, 15), true, 3, 2, 7, 0x80); u(r); u(r) },
		"neither a UTF8String nor a PrintableString": func(r *x509.CertificateRequest) {
			r.RawSubject = []byte{0x30, 12, 0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x1e, 1, 'a'}
		},
	} {
		t.Run(says, func(t *testing.T) {
			raw := csr(t, law.P256, func(r *x509.CertificateRequest) {
				r.Subject = pkix.Name{CommonName: "pump-17"}
				if change == nil {
					r.DNSNames = []string{"other.example.com"}
					says = `alternative name dns of the request: "other.example.com" does not match the pattern`
					return
				}
				change(r)
			})
			refusedDevice(t, made.lower.pki(), raw, says)
		})
	}
	p := tlsClient()
	p.Names = slices.Delete(p.Names, 1, 2)
	refusedDevice(t, newDeviceCA(t, law.P256, p).lower.pki(), csr(t, law.P256, func(r *x509.CertificateRequest) {
		r.Subject, r.DNSNames = pkix.Name{CommonName: "pump-17"}, []string{"a.local"}
	}), `the request has the alternative name dns "a.local", and the profile lets no such name through; remove it`)
}

func TestAnAlternativeNameIsInACertificateOnceWhereverItComesFrom(t *testing.T) {
	p := tlsClient()
	p.Names = []law.DeviceName{
		{Kind: law.DNSName, Most: 1, DeviceField: law.DeviceField{Pattern: `[a-z0-9.-]+`, MaxLength: 40, Optional: true}},
		{Kind: law.DNSName, DeviceField: law.DeviceField{Fixed: "{device}.devices.example.com"}},
		{Kind: law.DNSName, DeviceField: law.DeviceField{Fixed: "pump-17.devices.example.com"}},
	}
	made := newDeviceCA(t, law.P256, p)
	for _, also := range [][]string{nil, {"pump-17.devices.example.com"}, {"pump-17.devices.example.com", "a.local"}} {
		c, _ := made.lower.issueDevice(t, request(t, csr(t, law.P256, func(r *x509.CertificateRequest) {
			r.Subject, r.DNSNames = pkix.Name{CommonName: "pump-17"}, also
		})))
		want := slices.Clone(also[min(1, len(also)):])
		if want = append(want, "pump-17.devices.example.com"); !slices.Equal(c.DNSNames, want) {
			t.Errorf("asked for %q it has %q", also, c.DNSNames)
		}
	}
}

func TestWhatTheIssuerCannotGiveIsRefused(t *testing.T) {
	made := newDeviceCA(t, law.P256, tlsClient())
	good := request(t, csr(t, law.P256, named("pump-17")))
	change := func(f func(*law.DeviceProfile)) authority {
		a, p := made.lower, tlsClient()
		f(p)
		a.Devices = p
		return a
	}
	none, noCertificate, firmware := made.lower, made.lower, made.firmware
	none.Devices, noCertificate.certificate, firmware.Devices = nil, nil, tlsClient()
	likeTheIssuer := change(func(p *law.DeviceProfile) {
		p.Subject = []law.DeviceAttribute{
			{Type: "country", DeviceField: law.DeviceField{Fixed: "DE"}}, {Type: "organization", DeviceField: law.DeviceField{Fixed: "Example GmbH"}},
			{Type: "organizational-unit", DeviceField: law.DeviceField{Fixed: "Product Security"}}, {Type: "common-name", DeviceField: law.DeviceField{Pattern: ".*", MaxLength: 64}},
		}
		p.Names = nil
	})
	for says, is := range map[string]struct {
		authority
		r      pki.DeviceRequest
		now    time.Time
		serial *big.Int
	}{
		"it has no profile of device certificates":  {none, good, now, newSerial(t)},
		"issued by key firmware: it has no profile": {firmware, good, now, newSerial(t)},
		"has no certificate, so it issues nothing":  {noCertificate, good, now, newSerial(t)},
		"its profile: its subject must have":        {change(func(p *law.DeviceProfile) { p.Subject = nil }), good, now, newSerial(t)},
		"the device key is of ECDSA-P256":           {change(func(p *law.DeviceProfile) { p.Algorithms = []law.Algorithm{law.P384} }), good, now, newSerial(t)},
		"the device key is of ; the profile":        {made.lower, pki.DeviceRequest{}, now, newSerial(t)},
		"it would be valid until 2047":              {change(func(p *law.DeviceProfile) { p.Validity = 20 * year }), good, now, newSerial(t)},
		"and not now; renew it":                     {made.lower, good, now.Add(30 * year), newSerial(t)},
		"at most 20 octets":                         {made.lower, good, now, new(big.Int).Lsh(big.NewInt(1), 159)},
		"must be positive":                          {made.lower, good, now, big.NewInt(0)},
		"a serial number must be positive and":      {made.lower, good, now, nil},
		`for device "-pump-": "-pump-.devices`:      {made.lower, request(t, csr(t, law.P256, named("-pump-"))), now, newSerial(t)},
		"look self-issued":                          {likeTheIssuer, request(t, csr(t, law.P256, named("Example lower"))), now, newSerial(t)},
		"would look self-issued":                    {likeTheIssuer, request(t, csr(t, law.P256, named("EXAMPLE Lower"))), now, newSerial(t)},
	} {
		t.Run(says, func(t *testing.T) {
			_, _, err := pki.PrepareDevice(is.pki(), is.r, is.now, is.serial)
			refused(t, err, says)
		})
	}
	ours := made.lower
	ours.PublicKey = good.PublicKey
	_, _, err := pki.PrepareDevice(ours.pki(), good, now, newSerial(t))
	refused(t, err, "the device key is that of the issuer") // CE-03
}

func TestTheLinterRefusesWhatBreaksARule(t *testing.T) {
	made := newDeviceCA(t, law.P256, tlsClient())
	l, err := pki.NewLinter(made.lower.Key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := made.lower.issueDevice(t, request(t, csr(t, law.P256, named("pump-17"))))
	if err := l.Lint(c.RawTBSCertificate); err != nil {
		t.Error(err)
	}
	bad := bytes.Replace(c.RawTBSCertificate, []byte("urn:example:device:pump-17"), []byte("urn_example_device_pump-17"), 1)
	refused(t, l.Lint(bad), "would break a rule of X.509, so it is not signed: e_ext_san_uri_format_invalid")
	refused(t, l.Lint(nil), "linting a certificate: it is no tbsCertificate")
	refused(t, new(pki.Linter).Lint(c.RawTBSCertificate), "no linter")
	refused(t, (*pki.Linter)(nil).Lint(c.RawTBSCertificate), "no linter")
	none := made.lower.Key
	none.Schemes = nil
	_, err = pki.NewLinter(none, rand.Reader)
	if refused(t, err, "no signature of a certificate is known"); errors.Is(err, nil) {
		t.Error("there is a linter")
	}
}

func TestOneLinterIsUsedByManyAtOnce(t *testing.T) {
	made := newDeviceCA(t, law.P256, tlsClient())
	l, err := pki.NewLinter(made.lower.Key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := made.lower.issueDevice(t, request(t, csr(t, law.P256, named("pump-17"))))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 5 {
				if err := l.Lint(c.RawTBSCertificate); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkDeviceCertificate(b *testing.B) {
	for _, a := range []law.Algorithm{law.P256, law.RSA2048} {
		p := idevid()
		made := newDeviceCA(b, law.P256, p)
		raw := csr(b, a, nil)
		b.Run(string(a)+" parse", func(b *testing.B) {
			for b.Loop() {
				request(b, raw)
			}
		})
		r, serial := request(b, raw), newSerial(b)
		b.Run(string(a)+" prepare", func(b *testing.B) {
			for b.Loop() {
				if _, _, err := pki.PrepareDevice(made.lower.pki(), r, now, serial); err != nil {
					b.Fatal(err)
				}
			}
		})
		l, err := pki.NewLinter(made.lower.Key, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		d, _, err := pki.PrepareDevice(made.lower.pki(), r, now, serial)
		if err != nil {
			b.Fatal(err)
		}
		tbs := d.TBS()
		b.Run(string(a)+" lint", func(b *testing.B) {
			for b.Loop() {
				if err := l.Lint(tbs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

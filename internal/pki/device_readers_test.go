package pki_test

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// deviceProfiles are the profiles that are tried with every reader, and a request that fits each.
func deviceProfiles(t testing.TB) map[string]struct {
	profile *law.DeviceProfile
	request []byte
} {
	type tried = struct {
		profile *law.DeviceProfile
		request []byte
	}
	return map[string]tried{"idevid": {idevid(), csr(t, law.P256, nil)}, "tls": {tlsClient(), csr(t, law.P256, named("pump-17"))}}
}

// CE-04, and the lints for each profile.
func TestDeviceCertificatesOfEveryIssuerAreValidFromTheRootAndHaveNoErrors(t *testing.T) {
	for name, is := range deviceProfiles(t) {
		for _, a := range []law.Algorithm{law.RSA2048, law.P256, law.P384, law.P521, law.Ed25519} {
			made := newDeviceCA(t, a, is.profile)
			l, err := pki.NewLinter(made.lower.Key, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			for _, of := range is.profile.Algorithms {
				if of == law.RSA3072 || of == law.RSA4096 {
					continue // they are slow to make, and no other to a certificate
				}
				raw := is.request
				if of != law.P256 {
					raw = csr(t, of, map[string]func(*x509.CertificateRequest){"tls": named("pump-17")}[name])
				}
				d, _, err := pki.PrepareDevice(made.lower.pki(), request(t, raw), now, newSerial(t))
				if err != nil {
					t.Fatal(err)
				}
				if err := l.Lint(d.TBS()); err != nil {
					t.Errorf("%s, %s by %s: %v", name, of, a, err)
				}
				der, err := pki.FinishCertificate(d.TBS(), made.lower.PublicKey, d.Input(), made.lower.sign(t, d.Input()))
				if err != nil {
					t.Fatal(err)
				}
				roots, between := x509.NewCertPool(), x509.NewCertPool()
				roots.AddCert(made.root.certificate)
				between.AddCert(made.ca.certificate)
				between.AddCert(made.lower.certificate)
				options := x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
				c := parse(t, der)
				if chains, err := c.Verify(options); err != nil || len(chains) != 1 {
					t.Errorf("%s, %s by %s: %v", name, of, a, err)
				}
				if c.NotAfter.After(made.lower.certificate.NotAfter) != is.profile.NoExpiry {
					t.Errorf("%s, %s by %s: valid until %v", name, of, a, c.NotAfter)
				}
			}
		}
	}
}

// reader runs a program that is not our code, which must accept, and what it says must hold all of those.
func (b bench) reader(program, debian string, args []string, all ...string) {
	b.t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		b.t.Fatalf("this test needs the command %s; install the Debian package %s (%v)", program, debian, err)
	}
	out, err := exec.CommandContext(b.t.Context(), path, args...).CombinedOutput()
	if err != nil {
		b.t.Errorf("%s %v: %v\n%s", program, args, err, out)
	}
	for _, s := range all {
		if !strings.Contains(string(out), s) {
			b.t.Errorf("%s %v does not say %q:\n%s", program, args, s, out)
		}
	}
}

func TestOpenSSLGnuTLSAndJavaReadDeviceCertificates(t *testing.T) {
	for name, is := range deviceProfiles(t) {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			made := newDeviceCA(t, law.P256, is.profile)
			c, _ := made.lower.issueDevice(t, request(t, is.request))
			root := b.file("root.pem", pki.PEM(pki.CertificatePEM, made.root.certificate.Raw))
			between := b.file("ca.pem", pki.PEM(pki.CertificatePEM, made.lower.certificate.Raw, made.ca.certificate.Raw))
			device := b.file("device.pem", pki.PEM(pki.CertificatePEM, c.Raw))
			verify := []string{"verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslclient", "-attime", fmt.Sprint(now.Unix()), "-CAfile", root}
			b.says(true, append(verify, "-untrusted", between, device), "device.pem: OK")
			b.says(false, append(verify, device), "unable to get local issuer certificate")
			openssl := map[string][]string{
				"idevid": {"CA:FALSE", "X509v3 Basic Constraints: critical", "X509v3 Key Usage: critical", "Digital Signature", "Not After : Dec 31 23:59:59 9999 GMT", "serialNumber = A1B2C3D4", "othername: 1.3.6.1.5.5.7.8.4"},
				"tls": {"CA:FALSE", "Digital Signature, Key Agreement", "TLS Web Client Authentication", "DNS:pump-17.devices.example.com", "URI:urn:example:device:pump-17",
					"OCSP - URI:http://ocsp.example.com", "CA Issuers - URI:http://crl.example.com/ca.cer", "URI:http://crl.example.com/ca.crl", "Policy: 1.3.6.1.4.1.99999.2.1", "1.3.6.1.4.1.99999.3"},
			}[name]
			b.says(true, []string{"x509", "-noout", "-text", "-in", device}, openssl...)
			b.says(true, []string{"asn1parse", "-in", device}, map[string]string{"idevid": "GENERALIZEDTIME   :99991231235959Z", "tls": "UTCTIME"}[name])
			gnutls := map[string][]string{
				"idevid": {"Certificate Authority (CA): FALSE", "Not After: Fri Dec 31 23:59:59 UTC 9999", "serialNumber=A1B2C3D4", "1.3.6.1.5.5.7.8.4"},
				"tls":    {"Certificate Authority (CA): FALSE", "DNSname: pump-17.devices.example.com", "URI: urn:example:device:pump-17", "TLS WWW Client.", "1.3.6.1.4.1.99999.2.1"},
			}[name]
			b.reader("certtool", "gnutls-bin", []string{"--certificate-info", "--infile", device}, gnutls...)
			java := map[string][]string{
				"idevid": {"Owner: SERIALNUMBER=A1B2C3D4, O=Example GmbH, C=DE", "9999", "DigitalSignature", "CA:false"},
				"tls":    {"Owner: CN=pump-17, O=Example GmbH", "DNSName: pump-17.devices.example.com", "URIName: urn:example:device:pump-17", "clientAuth", "Key_Agreement", "CA:false"},
			}[name]
			b.reader("keytool", "default-jre-headless", []string{"-J-Duser.language=en", "-J-Duser.timezone=UTC", "-printcert", "-file", device}, java...)
		})
	}
}

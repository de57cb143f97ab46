package pki_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// bench is a directory in which the openssl command, which is not our code, judges what was made.
type bench struct {
	t       *testing.T
	dir     string
	openssl string
}

func newBench(t *testing.T) bench {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatalf("this test needs the openssl command; install the Debian package openssl (%v)", err)
	}
	return bench{t, t.TempDir(), openssl}
}

func (b bench) file(name string, content []byte) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// says runs openssl; with good, it must accept, and what it says must hold all of those.
func (b bench) says(good bool, args []string, all ...string) {
	b.t.Helper()
	out, err := exec.CommandContext(b.t.Context(), b.openssl, args...).CombinedOutput()
	if (err == nil) != good {
		b.t.Errorf("openssl %v: %v\n%s", args, err, out)
	}
	for _, s := range all {
		if !strings.Contains(string(out), s) {
			b.t.Errorf("openssl %v does not say %q:\n%s", args, s, out)
		}
	}
}

func TestOpenSSLVerifiesTheHierarchyFromTheRootAndRefusesWhatIsRevoked(t *testing.T) {
	for _, a := range []law.Algorithm{law.RSA2048, law.P256, law.P384, law.P521, law.Ed25519} {
		for _, s := range a.Schemes() {
			t.Run(fmt.Sprint(a, " ", s), func(t *testing.T) {
				b := newBench(t)
				made := newHierarchy(t, a, law.SHA384, s)
				b.file("root.pem", pki.PEM(pki.CertificatePEM, made.root.certificate.Raw))
				root := b.file("root.pem", pki.PEM(pki.CertificatePEM, made.root.certificate.Raw))
				between := b.file("ca.pem", pki.PEM(pki.CertificatePEM, made.lower.certificate.Raw, made.ca.certificate.Raw))
				leaf := b.file("fw.pem", pki.PEM(pki.CertificatePEM, made.firmware.certificate.Raw))
				lists := func(revoked ...pki.Revocation) string {
					var all []byte
					for _, is := range []authority{made.root, made.ca, made.lower} {
						l := newList(0)
						if is.ID == made.lower.ID {
							l.Entries = revoked
						}
						d, err := pki.PrepareRevocationList(is.pki(), l)
						all = append(all, pki.PEM(pki.RevocationListPEM, is.finish(t, d, err))...)
					}
					return b.file(fmt.Sprintf("%d.crl", len(revoked)), all)
				}
				at := fmt.Sprint(now.Unix())
				verify := []string{"verify", "-x509_strict", "-check_ss_sig", "-attime", at, "-CAfile", root}
				b.says(true, append(verify, "-untrusted", between, leaf), "fw.pem: OK")
				b.says(true, append(verify, root), "root.pem: OK")
				b.says(false, append(verify, leaf), "unable to get local issuer certificate")

				verify = append(verify, "-untrusted", between, "-crl_check_all", "-CRLfile")
				b.says(true, append(verify, lists(), leaf), "fw.pem: OK")
				b.says(false, append(verify, lists(pki.Revocation{Serial: made.firmware.certificate.SerialNumber, Time: now, Reason: "keyCompromise"}), leaf), "certificate revoked")
			})
		}
	}
}

func TestOpenSSLReadsACertificateAndARevocationListAsTheyAreMeant(t *testing.T) {
	b := newBench(t)
	made := newHierarchy(t, law.P256, law.SHA256)
	text := []string{"-noout", "-text", "-inform", "DER", "-in"}
	b.says(true, append(append([]string{"x509"}, text...), b.file("lower", made.lower.certificate.Raw)),
		"Version: 3", "CA:TRUE, pathlen:0", "X509v3 Basic Constraints: critical", "X509v3 Key Usage: critical", "Certificate Sign, CRL Sign",
		"URI:http://crl.example.com/ca.crl", "Not Before: Mar  1 12:00:00 2027 GMT", "Not After : Feb 26 11:59:59 2037 GMT")
	b.says(true, append(append([]string{"x509"}, text...), b.file("firmware", made.firmware.certificate.Raw)),
		"CA:FALSE", "Digital Signature", "Code Signing", "X509v3 Authority Key Identifier")
	d, err := pki.PrepareRevocationList(made.root.pki(), newList(2))
	b.says(true, append(append([]string{"crl"}, text...), b.file("list", made.root.finish(t, d, err))),
		"Version 2", "X509v3 CRL Number", "Next Update: Mar  8 12:00:00 2027 GMT", "Key Compromise")
}

func TestOpenSSLReadsARequestAndVerifiesIt(t *testing.T) {
	for _, a := range []law.Algorithm{law.RSA2048, law.P256, law.P384, law.P521, law.Ed25519} {
		for _, s := range a.Schemes() {
			b := newBench(t)
			ca := newKey(t, "ca", law.CA, a, law.SHA256, caPair, s)
			d, err := pki.PrepareRequest(ca.Key)
			path := b.file("ca.csr", pki.PEM(pki.RequestPEM, ca.finish(t, d, err)))
			b.says(true, []string{"req", "-noout", "-verify", "-text", "-in", path},
				"verify OK", "CN = Example ca", "CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "X509v3 Basic Constraints: critical")
			firmware := newKey(t, "firmware", law.Firmware, a, law.SHA256, firmwarePair, s)
			d, err = pki.PrepareRequest(firmware.Key)
			path = b.file("fw.csr", pki.PEM(pki.RequestPEM, firmware.finish(t, d, err)))
			b.says(true, []string{"req", "-noout", "-verify", "-text", "-in", path}, "verify OK", "CA:FALSE", "Digital Signature", "Code Signing")
		}
	}
}

package testkit

import (
	"context"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// Hierarchy gives the keys of [World] certificate profiles: root, ca-dev, and the FW keys fw-dev, fw-one and fw-ed. It is for
// [Options.World].
func Hierarchy(c *law.Configuration) {
	const year = 365 * 24 * time.Hour
	authority := func(name string, validity time.Duration, pathLen int) *law.Profile {
		return &law.Profile{
			Subject: law.Name{Country: "DE", Organization: "Example", CommonName: name}, Validity: validity, PathLen: pathLen,
			KeyUsage: []law.KeyUsage{law.KeyCertSign, law.CRLSign}, CRLURL: "http://keyserver.test/crl/" + name + ".crl",
		}
	}
	profiles := map[law.KeyID]*law.Profile{"root": authority("root", 20*year, 1), "ca-dev": authority("ca-dev", 10*year, 0)}
	for _, id := range []law.KeyID{"fw-dev", "fw-one", "fw-ed"} {
		profiles[id] = &law.Profile{
			Subject: law.Name{Country: "DE", Organization: "Example", CommonName: string(id)}, Validity: year,
			KeyUsage: []law.KeyUsage{law.DigitalSignature}, ExtendedKeyUsage: []string{"codeSigning"},
		}
	}
	for i := range c.Keys {
		c.Keys[i].Profile = profiles[c.Keys[i].ID]
	}
}

// Certify has root issue the certificate of a key, in an administration session of its own.
func (k *Kit) Certify(of law.KeyID) keyserver.Certificate {
	k.Helper()
	s := k.ActiveSession(nil)
	c, err := k.CertifyIn(s, of)
	k.must(err)
	k.Close(s)
	return c
}

// CertifyIn has root issue the certificate of a key in an administration session, as ada.
func (k *Kit) CertifyIn(s keyserver.Session, of law.KeyID) (keyserver.Certificate, error) {
	return k.Keyserver.IssueCertificate(context.Background(), k.Caller("ada"), s.ID, keyserver.IssueRequest{Key: of, Issuer: "root"})
}

// CertificateOrder has ca-dev issue the certificate of a key under an operation, as olga.
func (k *Kit) CertificateOrder(o keyserver.Operation, of law.KeyID, idempotencyKey string) (keyserver.Certificate, error) {
	return k.Keyserver.PlaceCertificateOrder(context.Background(), k.Caller("olga"), o.ID,
		keyserver.CertificateOrder{Issuer: "ca-dev", Key: of, IdempotencyKey: idempotencyKey})
}

// OpenSSL runs the openssl command on files, which are given by name and content, in a directory of their own. Its
// answer is standard output and error.
func (k *Kit) OpenSSL(files map[string][]byte, args ...string) (string, error) {
	k.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		k.Fatalf("this test needs the openssl command; install the Debian package openssl (%v)", err)
	}
	dir := k.TempDir()
	for name, content := range files {
		k.must(os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	command := exec.CommandContext(k.Context(), program, args...)
	command.Dir = dir
	out, err := command.CombinedOutput()
	return string(out), err
}

// PEM writes DER as PEM blocks of the kind, one after the other.
func PEM(kind string, ders ...[]byte) []byte {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	return out
}

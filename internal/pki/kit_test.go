package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

var now = time.Date(2027, 3, 1, 12, 0, 0, 999_000_000, time.UTC)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// pair is a throw-away key pair and the key that the law knows it as.
type pair struct {
	law.Key
	private crypto.Signer
}

// privates are made once for each algorithm and number, because RSA keys are slow to make.
var privates sync.Map

func private(t testing.TB, a law.Algorithm, number int) crypto.Signer {
	t.Helper()
	type id struct {
		law.Algorithm
		int
	}
	if p, made := privates.Load(id{a, number}); made {
		return p.(crypto.Signer)
	}
	var p crypto.Signer
	var err error
	switch a {
	case law.RSA2048:
		p, err = rsa.GenerateKey(rand.Reader, 2048)
	case law.RSA3072:
		p, err = rsa.GenerateKey(rand.Reader, 3072)
	case law.RSA4096:
		p, err = rsa.GenerateKey(rand.Reader, 4096)
	case law.P256:
		p, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case law.P384:
		p, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case law.P521:
		p, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case law.Ed25519:
		p = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(number + 1)}, ed25519.SeedSize)) // the same in every process of a fuzz run
	}
	if err != nil {
		t.Fatal(err)
	}
	privates.Store(id{a, number}, p)
	return p
}

// Numbers of the key pairs of one algorithm, so that the keys of a hierarchy have different ones.
const (
	rootPair = iota
	caPair
	lowerPair
	firmwarePair
)

func newKey(t testing.TB, id law.KeyID, kind law.KeyType, a law.Algorithm, h law.Hash, number int, schemes ...law.Scheme) pair {
	t.Helper()
	if a == law.Ed25519 {
		h = law.SHA512
	}
	if len(schemes) == 0 {
		schemes = a.Schemes()
	}
	p := private(t, a, number)
	spki, err := x509.MarshalPKIXPublicKey(p.Public())
	if err != nil {
		t.Fatal(err)
	}
	profile := law.Profile{
		Subject:  law.Name{Country: "DE", Organization: "Example GmbH", OrganizationalUnit: "Product Security", CommonName: "Example " + string(id)},
		Validity: 2 * year,
		KeyUsage: []law.KeyUsage{law.KeyCertSign, law.CRLSign},
		CRLURL:   "http://crl.example.com/" + string(id) + ".crl",
	}
	switch kind {
	case law.Root:
		profile.PathLen, profile.Validity = 2, 20*year
	case law.CA:
		profile.Validity = 10 * year
	case law.Firmware:
		profile.KeyUsage, profile.ExtendedKeyUsage, profile.CRLURL = []law.KeyUsage{law.DigitalSignature}, []string{"codeSigning"}, ""
	}
	k := law.Key{
		ID: id, Type: kind, Algorithm: a, Hash: h, Schemes: schemes, Requirement: law.Require(2), MaxValidity: day, MaxUses: 1, Approvals: law.SessionApprovals,
		State: law.KeyActive, Keystore: "test", Version: 1, PublicKey: spki, Fingerprint: keystore.Fingerprint(spki), Profile: &profile,
	}
	if err := k.Check(); err != nil {
		t.Fatal(err)
	}
	return pair{k, p}
}

// with returns the key with another profile.
func (p pair) with(change func(*law.Profile)) pair {
	profile := *p.Profile
	change(&profile)
	p.Profile = &profile
	return p
}

// sign is what a keystore does.
func (p pair) sign(t testing.TB, in law.Input) []byte {
	t.Helper()
	var options crypto.SignerOpts = in.Hash.Crypto()
	message := in.Digest
	switch in.Scheme {
	case law.PSS:
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: in.Hash.Crypto()}
	case law.EdDSA:
		options, message = crypto.Hash(0), in.Message
	}
	signature, err := p.private.Sign(rand.Reader, message, options)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func (p pair) finish(t testing.TB, d pki.Draft, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := d.Finish(d.TBS(), p.sign(t, d.Input()))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newSerial(t testing.TB) *big.Int {
	t.Helper()
	n, err := pki.Serial(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// authority is a key pair that issues.
type authority struct {
	pair
	certificate *x509.Certificate
}

func (a authority) pki() pki.Authority { return pki.Authority{Key: a.Key, Certificate: a.certificate} }

func newRoot(t testing.TB, p pair) authority {
	t.Helper()
	d, err := pki.PrepareRoot(p.Key, now, newSerial(t))
	return authority{p, parse(t, p.finish(t, d, err))}
}

func (a authority) issue(t testing.TB, subject pair) authority {
	t.Helper()
	d, err := pki.PrepareSubordinate(a.pki(), subject.Key, now, newSerial(t))
	return authority{subject, parse(t, a.finish(t, d, err))}
}

// hierarchy is ROOT → CA with path length 1 → CA with path length 0 → FW.
type hierarchy struct{ root, ca, lower, firmware authority }

func newHierarchy(t testing.TB, a law.Algorithm, h law.Hash, schemes ...law.Scheme) hierarchy {
	t.Helper()
	root := newRoot(t, newKey(t, "root", law.Root, a, h, rootPair, schemes...))
	ca := root.issue(t, newKey(t, "ca", law.CA, a, h, caPair, schemes...).with(func(p *law.Profile) { p.PathLen, p.Validity = 1, 15*year }))
	lower := ca.issue(t, newKey(t, "lower", law.CA, a, h, lowerPair, schemes...))
	return hierarchy{root, ca, lower, lower.issue(t, newKey(t, "firmware", law.Firmware, a, h, firmwarePair, schemes...))}
}

// chain is the certificates from that of the firmware key up to that of the ROOT key, DER.
func (h hierarchy) chain() [][]byte {
	return [][]byte{h.firmware.certificate.Raw, h.lower.certificate.Raw, h.ca.certificate.Raw, h.root.certificate.Raw}
}

func refused(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("the error is %v; it must say %q", err, says)
	}
}

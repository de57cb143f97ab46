package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	zcrypto "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// Linter looks for errors in certificates before the key of the issuer signs them. The zero Linter finds fault with
// everything. It may be used by several goroutines.
type Linter struct {
	lints     lint.Registry
	signature []byte
}

// lintSources are where the rules are from: the RFCs that define certificates, and what readers are known to stumble
// over. The rules of browsers, of mail, of code signing and of trust lists are not for devices.
func lintSources() lint.SourceList {
	return lint.SourceList{lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC6960, lint.RFC6962, lint.RFC8813, lint.Community}
}

// NewLinter makes a linter of certificates that a key issues. It signs with a throw-away key of the same type once,
// which takes seconds for RSA: the rules look at the form of a signature, and none verifies it.
func NewLinter(issuer law.Key, random io.Reader) (*Linter, error) {
	scheme, _, err := signatureOf(issuer)
	if err != nil {
		return nil, err
	}
	signature, err := throwAway(issuer, scheme, random)
	if err != nil {
		return nil, fmt.Errorf("making a throw-away key of %s: %w", issuer.Algorithm, err)
	}
	lints, err := lint.GlobalRegistry().Filter(lint.FilterOptions{
		IncludeSources: lintSources(),
		// these take longer than all others together: one verifies signatures by the keys of a CA of the public web,
		// and the other looks for what checkDeviceKey has looked for
		ExcludeNames: []string{"e_cert_issued_by_compromised_emudhra_ca", "e_rsa_fermat_factorization"},
	})
	if err != nil {
		return nil, fmt.Errorf("choosing the lints of certificates: %w", err)
	}
	return &Linter{lints, signature}, nil
}

func throwAway(of law.Key, scheme law.Scheme, random io.Reader) ([]byte, error) {
	var signer crypto.Signer
	var err error
	var opts crypto.SignerOpts = of.Hash.Crypto()
	message := of.Hash.Sum(nil)
	switch {
	case scheme == law.EdDSA:
		_, signer, err = ed25519.GenerateKey(random)
		opts = crypto.Hash(0)
	case scheme == law.ECDSA:
		signer, err = ecdsa.GenerateKey(keystore.Curve(of.Algorithm), random)
	default:
		signer, err = rsa.GenerateKey(random, map[law.Algorithm]int{law.RSA2048: 2048, law.RSA3072: 3072, law.RSA4096: 4096}[of.Algorithm])
		if scheme == law.PSS {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: of.Hash.Crypto()}
		}
	}
	if err != nil {
		return nil, err
	}
	return signer.Sign(random, message, opts)
}

// Lint says what errors are in what is to be signed of a certificate: nil if there are none.
func (l *Linter) Lint(tbs []byte) error {
	if l == nil || l.lints == nil {
		return errors.New("linting a certificate with no linter")
	}
	der, err := assemble(tbs, l.signature)
	if err != nil {
		return fmt.Errorf("linting a certificate: %w", err)
	}
	c, err := zcrypto.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("linting a certificate: %w", err)
	}
	if !bytes.Equal(c.RawTBSCertificate, tbs) {
		return errors.New("linting a certificate: read back it is not what is to be signed")
	}
	var found []string
	for name, r := range zlint.LintCertificateEx(c, l.lints).Results {
		if r.Status >= lint.Error {
			found = append(found, strings.TrimSpace(name+" "+r.Details))
		}
	}
	if len(found) > 0 {
		slices.Sort(found)
		return fmt.Errorf("the certificate would break a rule of X.509, so it is not signed: %s; mend the request or the profile", strings.Join(found, ", "))
	}
	return nil
}

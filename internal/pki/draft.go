// Package pki makes and checks X.509 (RFC 5280, RFC 2986): certificates, certificate requests and revocation lists of the
// server's own keys, and the certificates of devices, from their requests. It is pure over bytes: no I/O and no clock, and randomness is an argument.
//
// Everything is made in two steps, so that what will be signed is fixed and can be audited before a key is touched:
// Prepare… gives a [Draft], its TBS is signed elsewhere, and [Draft.Finish] puts the two together.
package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// Draft is something that is complete but for its signature. The zero Draft cannot be finished.
type Draft struct {
	tbs    []byte
	input  law.Input
	signer []byte // SubjectPublicKeyInfo of the key that signs it
	make   func(crypto.Signer) ([]byte, error)
}

// TBS is what is to be signed, DER (RFC 5280 section 4.1.1.1: tbsCertificate).
func (d Draft) TBS() []byte { return bytes.Clone(d.tbs) }

// Input is what the key of the issuer is asked to sign: the digest of the TBS, for EdDSA also the TBS itself.
func (d Draft) Input() law.Input {
	in := d.input
	in.Digest, in.Message = bytes.Clone(in.Digest), bytes.Clone(in.Message)
	return in
}

// Finish returns the signed whole, DER. The TBS is what was given to be signed, and the signature is in the form that
// keystores give. A TBS that is not byte for byte the prepared one, and a signature over anything else or by another
// key, are refused.
func (d Draft) Finish(tbs, signature []byte) ([]byte, error) {
	switch {
	case d.make == nil:
		return nil, errors.New("finishing what was never prepared")
	case !bytes.Equal(tbs, d.tbs):
		return nil, errors.New("finishing: what was signed is not what was prepared; something changed it in between")
	}
	if err := keystore.Verify(d.signer, d.input, signature); err != nil {
		return nil, fmt.Errorf("finishing: %w", err)
	}
	pen, err := newPen(d.signer)
	if err != nil {
		return nil, fmt.Errorf("finishing: %w", err)
	}
	pen.sign = func(again []byte) ([]byte, error) {
		if !bytes.Equal(again, d.tbs) {
			return nil, errors.New("the second making differs from the first")
		}
		return signature, nil
	}
	der, err := d.make(pen) // the standard library verifies the signature again
	if err != nil {
		return nil, fmt.Errorf("finishing: %w", err)
	}
	return der, nil
}

// prepare makes the TBS of whatever make makes. The key signs it, with the hash that it was configured with.
func prepare(key law.Key, makes func(crypto.Signer) ([]byte, error)) (Draft, error) {
	scheme, _, err := signatureOf(key)
	if err != nil {
		return Draft{}, err
	}
	pen, err := newPen(key.PublicKey)
	if err != nil {
		return Draft{}, fmt.Errorf("key %s: %w", key.ID, err)
	}
	d := Draft{signer: bytes.Clone(key.PublicKey), make: makes}
	pen.sign = func(tbs []byte) ([]byte, error) {
		d.tbs = bytes.Clone(tbs)
		return nil, errPrepared
	}
	if _, err := makes(pen); !errors.Is(err, errPrepared) {
		return Draft{}, err
	}
	d.input = law.Input{Hash: key.Hash, Scheme: scheme, Digest: key.Hash.Sum(d.tbs)}
	if scheme == law.EdDSA {
		if len(d.tbs) > law.MaxMessage {
			return Draft{}, fmt.Errorf("key %s: %s signs the whole of what is %d bytes long, and the most is %d; issue with a key of another algorithm", key.ID, key.Algorithm, len(d.tbs), law.MaxMessage)
		}
		d.input.Message = d.tbs
	}
	if err := keystore.CheckInput(key.Algorithm, d.input); err != nil {
		return Draft{}, fmt.Errorf("key %s: %w", key.ID, err)
	}
	return d, nil
}

var errPrepared = errors.New("prepared, and not yet signed")

// pen is what the standard library takes for the private key. It is asked to sign exactly once in each making.
type pen struct {
	public crypto.PublicKey
	sign   func(tbs []byte) ([]byte, error)
}

var _ crypto.MessageSigner = &pen{}

func newPen(spki []byte) (*pen, error) {
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, fmt.Errorf("reading its public key: %w", err)
	}
	return &pen{public: public}, nil
}

func (p *pen) Public() crypto.PublicKey { return p.public }

// SignMessage is what crypto/x509 calls, with the whole TBS.
func (p *pen) SignMessage(_ io.Reader, tbs []byte, _ crypto.SignerOpts) ([]byte, error) {
	return p.sign(tbs)
}

func (p *pen) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("a digest alone is not what is to be signed")
}

// signatureOf says how a key signs certificates, requests and revocation lists. Of a key that makes both kinds of RSA
// signatures it is RSASSA-PKCS1-v1_5: every reader of certificates can verify it, which is not so with RSASSA-PSS, and
// boot loaders are among the readers.
func signatureOf(key law.Key) (law.Scheme, x509.SignatureAlgorithm, error) {
	for _, scheme := range []law.Scheme{law.PKCS1v15, law.PSS, law.ECDSA, law.EdDSA} {
		if !slices.Contains(key.Schemes, scheme) {
			continue
		}
		if a, known := signatures[scheme][key.Hash]; known {
			return scheme, a, nil
		}
	}
	return "", 0, fmt.Errorf("key %s: no signature of a certificate is known for the schemes %v with %s", key.ID, key.Schemes, key.Hash)
}

var signatures = map[law.Scheme]map[law.Hash]x509.SignatureAlgorithm{
	law.PKCS1v15: {law.SHA256: x509.SHA256WithRSA, law.SHA384: x509.SHA384WithRSA, law.SHA512: x509.SHA512WithRSA},
	law.PSS:      {law.SHA256: x509.SHA256WithRSAPSS, law.SHA384: x509.SHA384WithRSAPSS, law.SHA512: x509.SHA512WithRSAPSS},
	law.ECDSA:    {law.SHA256: x509.ECDSAWithSHA256, law.SHA384: x509.ECDSAWithSHA384, law.SHA512: x509.ECDSAWithSHA512},
	law.EdDSA:    {law.SHA512: x509.PureEd25519},
}

// Kinds of PEM blocks (RFC 7468).
const (
	CertificatePEM    = "CERTIFICATE"
	RequestPEM        = "CERTIFICATE REQUEST"
	RevocationListPEM = "X509 CRL"
)

// PEM returns each of the DER values as a PEM block of the kind, one after the other.
func PEM(kind string, ders ...[]byte) []byte {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	return out
}

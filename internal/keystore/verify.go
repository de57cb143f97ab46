package keystore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"example.org/keyserver/internal/law"
)

// rsaExponent is the one public exponent that keys here have.
const rsaExponent = 65537

// Verify says whether a signature, in the form that keystores give, is one over the input by the private
// key that belongs to the public key (SubjectPublicKeyInfo, DER): nil, or why not. It accepts one
// encoding of a signature only; the salt of RSASSA-PSS is as long as the digest.
func Verify(publicKey []byte, in law.Input, signature []byte) error {
	key, a, err := parsePublicKey(publicKey)
	if err != nil {
		return err
	}
	if err := CheckInput(a, in); err != nil {
		return err
	}
	if !verifies(key, a, in, signature) {
		return fmt.Errorf("this is no valid %s signature over the input by key pair %s", in.Scheme, Fingerprint(publicKey))
	}
	return nil
}

func verifies(key crypto.PublicKey, a law.Algorithm, in law.Input, signature []byte) bool {
	h := in.Hash.Crypto()
	switch key := key.(type) {
	case *rsa.PublicKey:
		if in.Scheme == law.PSS {
			pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(key, h, in.Digest, signature, pss) == nil
		}
		return rsa.VerifyPKCS1v15(key, h, in.Digest, signature) == nil
	case *ecdsa.PublicKey:
		_, err := ToP1363(a, signature) // VerifyASN1 does not promise to be strict about the encoding
		return err == nil && ecdsa.VerifyASN1(key, in.Digest, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(key, in.Message, signature)
	}
	return false
}

// CheckInput says whether a key of this algorithm signs such an input: nil, or why not.
func CheckInput(a law.Algorithm, in law.Input) error {
	switch {
	case !slices.Contains(a.Schemes(), in.Scheme):
		return fmt.Errorf("a key of %s makes no %s signatures", a, in.Scheme)
	case in.Hash.Size() == 0:
		return fmt.Errorf("hash %q is unknown", in.Hash)
	case len(in.Digest) != in.Hash.Size():
		return fmt.Errorf("a %s digest is %d bytes long, not %d", in.Hash, in.Hash.Size(), len(in.Digest))
	case in.Scheme != law.EdDSA:
		return nil
	case in.Hash != law.SHA512:
		return fmt.Errorf("%s hashes with %s (RFC 8032), not %s", law.EdDSA, law.SHA512, in.Hash)
	case !bytes.Equal(in.Hash.Sum(in.Message), in.Digest):
		return errors.New("the digest is not that of the message")
	}
	return nil
}

// AlgorithmOf says of which algorithm a public key (SubjectPublicKeyInfo, DER) is. A kind of key that the
// law does not know is an error.
func AlgorithmOf(publicKey []byte) (law.Algorithm, error) {
	_, a, err := parsePublicKey(publicKey)
	return a, err
}

func parsePublicKey(spki []byte) (crypto.PublicKey, law.Algorithm, error) {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, "", fmt.Errorf("reading a public key: %w", err)
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		a := law.Algorithm(fmt.Sprintf("RSA-%d", key.N.BitLen()))
		if key.E == rsaExponent && a.Schemes() != nil {
			return key, a, nil
		}
		return nil, "", fmt.Errorf("an RSA key of %d bits with exponent %d is not supported", key.N.BitLen(), key.E)
	case *ecdsa.PublicKey:
		for _, a := range law.Algorithms() {
			if c := Curve(a); c != nil && c == key.Curve {
				return key, a, nil
			}
		}
		return nil, "", fmt.Errorf("an ECDSA key on curve %s is not supported", key.Params().Name)
	case ed25519.PublicKey:
		return key, law.Ed25519, nil
	}
	return nil, "", fmt.Errorf("a public key of type %T is not supported", key)
}

// Curve returns the curve of an ECDSA algorithm, and nil for any other.
func Curve(a law.Algorithm) elliptic.Curve {
	switch a {
	case law.P256:
		return elliptic.P256()
	case law.P384:
		return elliptic.P384()
	case law.P521:
		return elliptic.P521()
	}
	return nil
}

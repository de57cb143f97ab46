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
func Verify(spki []byte, in law.Input, signature []byte) error {
	return new(Checker).Verify(spki, in, signature)
}

// publicKey is a public key, read.
type publicKey struct {
	fingerprint string
	algorithm   law.Algorithm
	key         crypto.PublicKey
}

// verify is Verify of an input that was checked.
func (k publicKey) verify(in law.Input, signature []byte) error {
	if !k.verifies(in, signature) {
		return fmt.Errorf("this is no valid %s signature over the input by key pair %s", in.Scheme, k.fingerprint)
	}
	return nil
}

func (k publicKey) verifies(in law.Input, signature []byte) bool {
	h := in.Hash.Crypto()
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		if in.Scheme == law.PSS {
			pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.VerifyPSS(key, h, in.Digest, signature, pss) == nil
		}
		return rsa.VerifyPKCS1v15(key, h, in.Digest, signature) == nil
	case *ecdsa.PublicKey:
		_, err := ToP1363(k.algorithm, signature) // VerifyASN1 does not promise to be strict about the encoding
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
func AlgorithmOf(spki []byte) (law.Algorithm, error) {
	key, err := parsePublicKey(spki)
	return key.algorithm, err
}

// parsePublicKey reads a public key. Its fingerprint is there also with an error.
func parsePublicKey(spki []byte) (publicKey, error) {
	k := publicKey{fingerprint: Fingerprint(spki)}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return k, fmt.Errorf("reading a public key: %w", err)
	}
	a, err := algorithmOf(parsed)
	if err == nil {
		k.algorithm, k.key = a, parsed
	}
	return k, err
}

func algorithmOf(key crypto.PublicKey) (law.Algorithm, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		a := law.Algorithm(fmt.Sprintf("RSA-%d", key.N.BitLen()))
		if key.E == rsaExponent && a.Schemes() != nil {
			return a, nil
		}
		return "", fmt.Errorf("an RSA key of %d bits with exponent %d is not supported", key.N.BitLen(), key.E)
	case *ecdsa.PublicKey:
		for _, a := range law.Algorithms() {
			if c := Curve(a); c != nil && c == key.Curve {
				return a, nil
			}
		}
		return "", fmt.Errorf("an ECDSA key on curve %s is not supported", key.Params().Name)
	case ed25519.PublicKey:
		return law.Ed25519, nil
	}
	return "", fmt.Errorf("a public key of type %T is not supported", key)
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

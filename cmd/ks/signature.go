package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // registers SHA-384 and SHA-512 with package crypto
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"example.org/keyserver/api"
)

// The names of hashes and schemes in the API.
const (
	sha256Name = "SHA-256"
	sha384Name = "SHA-384"
	sha512Name = "SHA-512"

	pkcs1 = "RSASSA-PKCS1-v1_5"
	pss   = "RSASSA-PSS"
	ecDSA = "ECDSA"
	edDSA = "EdDSA"
)

// hashOf returns the hash of a name, and 0 for an unknown one.
func hashOf(name string) crypto.Hash {
	switch name {
	case sha256Name:
		return crypto.SHA256
	case sha384Name:
		return crypto.SHA384
	case sha512Name:
		return crypto.SHA512
	}
	return 0
}

// publicKey is a public key with its fingerprint.
type publicKey struct {
	key         crypto.PublicKey
	der         []byte // SubjectPublicKeyInfo (RFC 5280)
	fingerprint string // as the keyserver gives it
}

// parsePublicKey reads a PEM file with a public key or a certificate (RFC 7468).
func parsePublicKey(text []byte) (publicKey, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		der := block.Bytes
		switch block.Type {
		case "CERTIFICATE":
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return publicKey{}, fmt.Errorf("reading certificate: %w", err)
			}
			der = cert.RawSubjectPublicKeyInfo
		case "PUBLIC KEY":
		default:
			continue
		}
		key, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return publicKey{}, fmt.Errorf("reading public key: %w", err)
		}
		sum := sha256.Sum256(der)
		return publicKey{key: key, der: der, fingerprint: hex.EncodeToString(sum[:])}, nil
	}
	return publicKey{}, fmt.Errorf("there is neither a PUBLIC KEY nor a CERTIFICATE in PEM in it")
}

func (k publicKey) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der})
}

// schemes lists the signature schemes of this kind of key, the usual one first.
func (k publicKey) schemes() []string {
	switch k.key.(type) {
	case *rsa.PublicKey:
		return []string{pkcs1, pss}
	case *ecdsa.PublicKey:
		return []string{ecDSA}
	case ed25519.PublicKey:
		return []string{edDSA}
	}
	return nil
}

// input is what is or was signed.
type input struct {
	hash   string
	scheme string
	digest []byte
	data   []byte // the data itself, for EdDSA only
}

// verify returns nil if the signature, in that format, is one of the key over the input.
func (k publicKey) verify(in input, format api.Format, signature []byte) error {
	hash := hashOf(in.hash)
	if hash == 0 {
		return usage("", "hash %q is unknown; it is one of SHA-256, SHA-384 and SHA-512", in.hash)
	}
	if !slices.Contains(k.schemes(), in.scheme) {
		return usage("", "scheme %q does not fit the key; it makes %s", in.scheme, strings.Join(k.schemes(), " or "))
	}
	format, err := k.format(format)
	if err != nil {
		return err
	}
	good := false
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		if in.scheme == pss {
			options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash} // what the keyserver makes, and nothing else
			good = rsa.VerifyPSS(key, hash, in.digest, signature, options) == nil
		} else {
			good = rsa.VerifyPKCS1v15(key, hash, in.digest, signature) == nil
		}
	case *ecdsa.PublicKey:
		der := signature
		if format == api.P1363 {
			der = fromP1363(key, signature)
		}
		good = ecdsa.VerifyASN1(key, in.digest, der)
	case ed25519.PublicKey:
		good = ed25519.Verify(key, in.data, signature)
	}
	if !good {
		return tampered(nil, "check that file, signature and key belong together, and that hash, scheme and format are those that it was made with",
			"this is no %s signature with %s over the file by the key %s", in.scheme, in.hash, k.fingerprint)
	}
	return nil
}

// format returns the form of a signature of this key, which is the usual one unless said.
func (k publicKey) format(said api.Format) (api.Format, error) {
	_, isECDSA := k.key.(*ecdsa.PublicKey)
	switch {
	case said == "" && isECDSA:
		return api.DER, nil
	case said == "":
		return api.Raw, nil
	case isECDSA && (said == api.DER || said == api.P1363), !isECDSA && said == api.Raw:
		return said, nil
	}
	return "", usage("", "format %q does not fit the key: ECDSA signatures are der or p1363, others are raw", string(said))
}

// fromP1363 writes r and s as ASN.1, nil if the signature does not have the length that fits the curve.
func fromP1363(key *ecdsa.PublicKey, signature []byte) []byte {
	size := (key.Params().N.BitLen() + 7) / 8
	if len(signature) != 2*size {
		return nil
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])})
	if err != nil {
		return nil
	}
	return der
}

// openssl returns the command line with which a program that is not ours verifies the same, empty if there
// is none.
func (k publicKey) openssl(in input, format api.Format, keyFile, signatureFile, file string) string {
	if format == api.P1363 {
		return ""
	}
	if in.scheme == edDSA {
		return "openssl pkeyutl -verify -pubin -inkey " + quote(keyFile) + " -rawin -sigfile " + quote(signatureFile) + " -in " + quote(file)
	}
	line := "openssl dgst -" + strings.ToLower(strings.ReplaceAll(in.hash, "-", ""))
	if in.scheme == pss {
		line += " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest"
	}
	return line + " -verify " + quote(keyFile) + " -signature " + quote(signatureFile) + " " + quote(file)
}

package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// publicKey is a public key of a kind that keyservers have.
type publicKey struct {
	der         []byte // SubjectPublicKeyInfo (RFC 5280)
	algorithm   law.Algorithm
	fingerprint string // as the keyserver gives it
}

// parsePublicKey reads a PEM file with a public key or a certificate (RFC 7468).
func parsePublicKey(text []byte) (publicKey, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		der := block.Bytes
		switch block.Type {
		case "CERTIFICATE":
			certificate, err := x509.ParseCertificate(der)
			if err != nil {
				return publicKey{}, fmt.Errorf("reading certificate: %w", err)
			}
			der = certificate.RawSubjectPublicKeyInfo
		case "PUBLIC KEY":
		default:
			continue
		}
		algorithm, err := keystore.AlgorithmOf(der)
		return publicKey{der, algorithm, keystore.Fingerprint(der)}, err
	}
	return publicKey{}, fmt.Errorf("there is neither a PUBLIC KEY nor a CERTIFICATE in PEM in it")
}

func (k publicKey) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.der})
}

func (k publicKey) isECDSA() bool { return slices.Contains(k.algorithm.Schemes(), law.ECDSA) }

// verify returns nil if the signature, in that format, is one of the key over the input.
func (k publicKey) verify(in law.Input, format api.Format, signature []byte) error {
	if !slices.Contains(k.algorithm.Schemes(), in.Scheme) {
		return usage("", "scheme %q does not fit a key of %s; it makes %v", string(in.Scheme), k.algorithm, k.algorithm.Schemes())
	}
	format, err := k.format(format)
	if err != nil {
		return err
	}
	if format == api.P1363 {
		signature, err = keystore.FromP1363(k.algorithm, signature)
	}
	if err == nil {
		err = keystore.Verify(k.der, in, signature)
	}
	if err != nil {
		return tampered(err, "check that file, signature and key belong together, and that hash, scheme and format are those that it was made with", "%v (%s)", err, in.Hash)
	}
	return nil
}

// format returns the form of a signature of this key, which is the usual one unless said.
func (k publicKey) format(said api.Format) (api.Format, error) {
	switch {
	case said == "" && k.isECDSA():
		return api.DER, nil
	case said == "":
		return api.Raw, nil
	case k.isECDSA() && (said == api.DER || said == api.P1363), !k.isECDSA() && said == api.Raw:
		return said, nil
	}
	return "", usage("", "format %q does not fit the key: ECDSA signatures are der or p1363, others are raw", string(said))
}

// openssl returns the command line with which a program that is not ours verifies the same, empty if there
// is none.
func (k publicKey) openssl(in law.Input, format api.Format, keyFile, signatureFile, file string) string {
	if format == api.P1363 {
		return ""
	}
	if in.Scheme == law.EdDSA {
		return "openssl pkeyutl -verify -pubin -inkey " + quote(keyFile) + " -rawin -sigfile " + quote(signatureFile) + " -in " + quote(file)
	}
	line := "openssl dgst -" + strings.ToLower(strings.ReplaceAll(string(in.Hash), "-", ""))
	if in.Scheme == law.PSS {
		line += " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest"
	}
	return line + " -verify " + quote(keyFile) + " -signature " + quote(signatureFile) + " " + quote(file)
}

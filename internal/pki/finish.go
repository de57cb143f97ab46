package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// FinishCertificate puts a certificate together that was prepared earlier, perhaps before a restart: its TBS as it was
// kept, and the signature over it, in the form that keystores give, by the key with this public key
// (SubjectPublicKeyInfo, DER). A signature over anything else, or by another key, is refused.
func FinishCertificate(tbs, publicKey []byte, in law.Input, signature []byte) ([]byte, error) {
	if in.Scheme == law.EdDSA {
		in.Message = tbs // it is not kept with an input
	}
	if err := keystore.Verify(publicKey, in, signature); err != nil {
		return nil, fmt.Errorf("finishing a certificate: %w", err)
	}
	if !bytes.Equal(in.Hash.Sum(tbs), in.Digest) {
		return nil, errors.New("finishing a certificate: what was signed is not what was prepared")
	}
	der, err := assemble(tbs, signature)
	if err != nil {
		return nil, fmt.Errorf("finishing a certificate: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("finishing a certificate: %w", err)
	}
	if !bytes.Equal(c.RawTBSCertificate, tbs) || !bytes.Equal(c.Signature, signature) {
		return nil, errors.New("finishing a certificate: read back it is not what was put together")
	}
	signer, err := newPen(publicKey)
	if err != nil {
		return nil, fmt.Errorf("finishing a certificate: %w", err)
	}
	// as a reader does it, by the algorithm that the certificate names
	if err := (&x509.Certificate{PublicKey: signer.public}).CheckSignature(c.SignatureAlgorithm, tbs, signature); err != nil {
		return nil, fmt.Errorf("finishing a certificate: %w", err)
	}
	return der, nil
}

// Describe reads what is to be signed of a certificate.
func Describe(tbs []byte) (*x509.Certificate, error) {
	der, err := assemble(tbs, []byte{0}) // the parser reads the signature, and does not verify it
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Alike says whether two certificates that are to be signed hold the same for as long, but for their serial numbers and when
// they begin: whether the second is what would be drawn up today in the place of the first.
func Alike(tbs, today []byte) bool {
	a, err := Describe(tbs)
	b, err2 := Describe(today)
	return err == nil && err2 == nil && a.SignatureAlgorithm == b.SignatureAlgorithm && bytes.Equal(a.RawIssuer, b.RawIssuer) &&
		bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo) &&
		(a.NotAfter.Equal(b.NotAfter) || a.NotAfter.Sub(a.NotBefore) == b.NotAfter.Sub(b.NotBefore)) && // some have no expiry
		slices.EqualFunc(a.Extensions, b.Extensions, func(x, y pkix.Extension) bool {
			return x.Id.Equal(y.Id) && x.Critical == y.Critical && bytes.Equal(x.Value, y.Value)
		})
}

// Names returns the names of the issuer and of the subject in what is to be signed of a certificate, DER; nil if it is none.
func Names(tbs []byte) (issuer, subject []byte) {
	parts, err := partsOf(tbs)
	if err != nil {
		return nil, nil
	}
	return parts[3].FullBytes, parts[5].FullBytes
}

// partsOf are the first parts of a tbsCertificate (RFC 5280 section 4.1): version, serial number, algorithm, issuer, validity
// and subject.
func partsOf(tbs []byte) (parts [6]asn1.RawValue, err error) {
	var whole asn1.RawValue
	if rest, err := asn1.Unmarshal(tbs, &whole); err != nil || len(rest) > 0 || whole.Tag != asn1.TagSequence {
		return parts, errors.New("it is no tbsCertificate")
	}
	inside := whole.Bytes
	for i := range parts {
		if inside, err = asn1.Unmarshal(inside, &parts[i]); err != nil {
			return parts, fmt.Errorf("it is no tbsCertificate: %w", err)
		}
	}
	return parts, nil
}

// assemble makes a Certificate of its three parts (RFC 5280 section 4.1). The algorithm of the signature is the one that
// the TBS names.
func assemble(tbs, signature []byte) ([]byte, error) {
	parts, err := partsOf(tbs)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, parts[2], asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
}

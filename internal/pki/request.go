package pki

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/bits"

	"example.org/keyserver/internal/law"
)

// PrepareRequest prepares a certificate request (PKCS #10, RFC 2986) for a key whose issuer is elsewhere. It asks for
// what the profile says: subject, key usage, extended key usage and basic constraints. The key signs it itself.
func PrepareRequest(key law.Key) (Draft, error) {
	profile, err := profileOf(key)
	if err != nil {
		return Draft{}, err
	}
	_, algorithm, err := signatureOf(key)
	if err != nil {
		return Draft{}, err
	}
	wanted, err := requested(profile, key.Type)
	if err != nil {
		return Draft{}, fmt.Errorf("preparing a certificate request for key %s: %w", key.ID, err)
	}
	t := &x509.CertificateRequest{Subject: subjectName(profile.Subject), SignatureAlgorithm: algorithm, ExtraExtensions: wanted}
	d, err := prepare(key, func(s crypto.Signer) ([]byte, error) { return x509.CreateCertificateRequest(nil, t, s) })
	if err != nil {
		return Draft{}, fmt.Errorf("preparing a certificate request for key %s: %w", key.ID, err)
	}
	return d, nil
}

// requested is what a request asks for, as extensions (RFC 2985 section 5.4.2); the standard library makes them for
// certificates only.
func requested(p law.Profile, of law.KeyType) ([]pkix.Extension, error) {
	constraints := struct {
		CA      bool `asn1:"optional"`
		PathLen int  `asn1:"optional,default:-1"`
	}{of != law.Firmware, p.PathLen}
	if !constraints.CA {
		constraints.PathLen = -1
	}
	var usage x509.KeyUsage
	for _, u := range p.KeyUsage {
		usage |= keyUsages[u]
	}
	// bit 0 of the extension is the first bit of the first octet (RFC 5280 section 4.2.1.3); those that a profile can
	// name are in the first octet
	named := asn1.BitString{Bytes: []byte{bits.Reverse8(uint8(usage))}, BitLength: bits.Len8(uint8(usage))}
	type extension struct {
		id       asn1.ObjectIdentifier
		critical bool
		value    any
	}
	values := []extension{{asn1.ObjectIdentifier{2, 5, 29, 15}, true, named}, {asn1.ObjectIdentifier{2, 5, 29, 19}, true, constraints}}
	switch wanted, err := purposes(p); {
	case err != nil:
		return nil, err
	case len(wanted) > 0:
		values = append(values, extension{oidExtendedKeyUsage, false, wanted})
	}
	var all []pkix.Extension
	for _, v := range values {
		der, err := asn1.Marshal(v.value)
		if err != nil {
			return nil, err
		}
		all = append(all, pkix.Extension{Id: v.id, Critical: v.critical, Value: der})
	}
	return all, nil
}

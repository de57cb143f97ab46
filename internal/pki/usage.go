package pki

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"slices"

	"example.org/keyserver/internal/law"
)

var keyUsages = map[law.KeyUsage]x509.KeyUsage{
	law.DigitalSignature:  x509.KeyUsageDigitalSignature,
	law.ContentCommitment: x509.KeyUsageContentCommitment,
	law.KeyCertSign:       x509.KeyUsageCertSign,
	law.CRLSign:           x509.KeyUsageCRLSign,
	law.KeyEncipherment:   x509.KeyUsageKeyEncipherment,
	law.KeyAgreement:      x509.KeyUsageKeyAgreement,
}

var (
	oidExtendedKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	anyExtendedKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37, 0}
)

// purposes are the extended key usages of a profile.
func purposes(p law.Profile) ([]asn1.ObjectIdentifier, error) { return purposesOf(p.ExtendedKeyUsage) }

func purposesOf(usages []string) ([]asn1.ObjectIdentifier, error) {
	var all []asn1.ObjectIdentifier
	for _, u := range usages {
		oid, err := law.ParseExtendedKeyUsage(u)
		if err != nil {
			return nil, err
		}
		all = append(all, oid)
	}
	return all, nil
}

// extendedKeyUsages reads the extension, of which the standard library keeps what it knows by another name. A certificate
// without it is for every purpose.
func extendedKeyUsages(c *x509.Certificate) ([]asn1.ObjectIdentifier, error) {
	var all []asn1.ObjectIdentifier
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidExtendedKeyUsage) {
			continue
		}
		if rest, err := asn1.Unmarshal(e.Value, &all); err != nil || len(rest) > 0 {
			return nil, errors.New("its extended key usage cannot be read")
		}
	}
	return all, nil
}

// outside returns the first purpose that is not within the others, nil if all are. None at all are all there are.
func outside(some, within []asn1.ObjectIdentifier) asn1.ObjectIdentifier {
	if len(within) == 0 || slices.ContainsFunc(within, anyExtendedKeyUsage.Equal) {
		return nil
	}
	for _, p := range some {
		if !slices.ContainsFunc(within, p.Equal) {
			return p
		}
	}
	return nil
}

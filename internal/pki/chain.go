package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/law"
)

// Bounds of what is imported.
const (
	MaxChain       = 10       // certificates, from that of the key to the root
	MaxCertificate = 16 << 10 // bytes of one, DER
	maxImport      = 2 * MaxChain * MaxCertificate
)

// CheckImport reads the certificate of a key that an issuer elsewhere gave, and the chain above it up to a self-signed
// root, as PEM or as DER, one after the other. It returns them, that of the key first. All that is not right is refused:
// another key, a signature or an order that is wrong, what is not valid now, weak algorithms, extensions that are
// critical and unknown, and usages wider than the profile of the key.
//
// Whether the root is the right one, people must judge: nothing here says which roots are trusted.
func CheckImport(key law.Key, certificates []byte, now time.Time) ([]*x509.Certificate, error) {
	chain, err := read(certificates)
	if err == nil {
		err = check(key, chain, now)
	}
	if err == nil {
		err = fitsProfile(key, chain[0])
	}
	if err != nil {
		return nil, fmt.Errorf("the certificate for key %s: %w", key.ID, err)
	}
	return chain, nil
}

// CheckIssuer returns the authority that a ROOT or CA key is with the certificate and the chain that were kept, DER, that
// of the key first. They are checked again, as [CheckImport] does it: what is kept can have been changed, or have
// expired. Only the profile does not count: it may have changed since, and says what the next certificate holds.
func CheckIssuer(key law.Key, certificates [][]byte, now time.Time) (Authority, error) {
	if key.Type != law.Root && key.Type != law.CA {
		return Authority{}, fmt.Errorf("key %s: an %s key issues nothing", key.ID, key.Type)
	}
	if len(certificates) == 0 {
		return Authority{}, fmt.Errorf("key %s has no certificate, so it issues nothing; give it one first", key.ID)
	}
	chain, err := readDER(bytes.Join(certificates, nil))
	if err == nil {
		err = check(key, chain, now)
	}
	if err != nil {
		return Authority{}, fmt.Errorf("the certificate of key %s: %w", key.ID, err)
	}
	return Authority{key, chain[0]}, nil
}

// read parses certificates and holds them to the bounds.
func read(certificates []byte) ([]*x509.Certificate, error) {
	if len(certificates) > maxImport {
		return nil, fmt.Errorf("it and its chain are %d bytes long, and the most is %d", len(certificates), maxImport)
	}
	// DER begins with a SEQUENCE of more than 127 bytes, and no text does
	if len(certificates) > 1 && certificates[0] == 0x30 && certificates[1] >= 0x80 {
		return readDER(certificates)
	}
	der, err := readPEM(certificates)
	if err != nil {
		return nil, err
	}
	return readDER(der)
}

func readDER(der []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for len(der) > 0 {
		if len(chain) == MaxChain {
			return nil, fmt.Errorf("there are more than %d certificates", MaxChain)
		}
		var one asn1.RawValue
		rest, err := asn1.Unmarshal(der, &one)
		if err != nil {
			return nil, fmt.Errorf("number %d of the certificates cannot be read: %w", len(chain)+1, err)
		}
		if len(one.FullBytes) > MaxCertificate {
			return nil, fmt.Errorf("number %d of the certificates is %d bytes long, and the most is %d", len(chain)+1, len(one.FullBytes), MaxCertificate)
		}
		c, err := x509.ParseCertificate(one.FullBytes)
		if err != nil {
			return nil, fmt.Errorf("number %d of the certificates cannot be read: %w", len(chain)+1, err)
		}
		if slices.ContainsFunc(chain, c.Equal) {
			return nil, fmt.Errorf("number %d of the certificates is there twice", len(chain)+1)
		}
		chain, der = append(chain, c), rest
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate; send it and its chain as PEM or DER")
	}
	return chain, nil
}

// readPEM returns the certificates one after the other, DER. Text around the blocks is passed over, as RFC 7468 wants it.
func readPEM(text []byte) ([]byte, error) {
	var der []byte
	begun := bytes.Count(text, []byte("-----BEGIN "))
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != CertificatePEM {
			return nil, fmt.Errorf("there is a PEM block of type %q; send certificates alone", block.Type)
		}
		der, text = append(der, block.Bytes...), rest
		begun--
	}
	if begun != 0 { // the standard library passes over a block that it cannot read
		return nil, errors.New("a PEM block cannot be read; send all of it, unchanged")
	}
	return der, nil
}

// check says what is wrong with a chain for the key.
func check(key law.Key, chain []*x509.Certificate, now time.Time) error {
	if !bytes.Equal(chain[0].RawSubjectPublicKeyInfo, key.PublicKey) {
		return errors.New("its public key is not that of the key; the first certificate must be that of the key")
	}
	for _, c := range chain { // before any signature is verified, which can take long
		if err := alone(c, now); err != nil {
			return fmt.Errorf("%s: %w", Text(c.Subject), err)
		}
	}
	if err := fitsType(key.Type, chain); err != nil {
		return err
	}
	for i, c := range chain {
		err := issued(c, chain[min(i+1, len(chain)-1)])
		if err == nil && i > 0 {
			err = issuer(c, chain[:i])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", Text(c.Subject), err)
		}
	}
	return verify(chain, now)
}

// alone is what can be seen from one certificate.
func alone(c *x509.Certificate, now time.Time) error {
	switch {
	case c.Version != 3:
		return fmt.Errorf("it is of version %d; only version 3 says what a certificate is for", c.Version)
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("it has the critical extension %s, which is not understood here", c.UnhandledCriticalExtensions[0])
	case !validAt(c, now):
		return fmt.Errorf("it is valid from %s to %s, and not now", instant(c.NotBefore), instant(c.NotAfter))
	case !slices.Contains(strong, c.SignatureAlgorithm):
		return fmt.Errorf("it is signed with %s; only SHA-256, SHA-384 and SHA-512 with RSA and ECDSA, and Ed25519, are accepted", c.SignatureAlgorithm)
	}
	return strongKey(c.PublicKey)
}

var strong = []x509.SignatureAlgorithm{
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
	x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
}

// strongKey refuses public keys that are weak, and those that are so long that verifying takes long.
func strongKey(public any) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > 8192 || k.E < 1<<16+1 {
			return fmt.Errorf("its RSA key has %d bits and exponent %d; 2048 to 8192 bits and an exponent from 65537 are accepted", n, k.E)
		}
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P224() {
			return errors.New("its ECDSA key is on P-224; P-256, P-384 and P-521 are accepted")
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return errors.New("its public key is of a kind that is not accepted; RSA, ECDSA and Ed25519 are")
}

// issued says whether the one above signed the certificate: itself, when it is the last of its chain.
func issued(c, above *x509.Certificate) error {
	if !bytes.Equal(c.RawIssuer, above.RawSubject) {
		if c == above {
			return fmt.Errorf("it is the last certificate and not self-signed; add that of its issuer, %s, and so on up to the root", Text(c.Issuer))
		}
		return fmt.Errorf("its issuer is %s, and the next certificate is that of %s; put them in order", Text(c.Issuer), Text(above.Subject))
	}
	if err := above.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature); err != nil {
		return fmt.Errorf("its signature is not by the key of %s: %w", Text(above.Subject), err)
	}
	return nil
}

// issuer says whether a certificate may be above those, that of the key first (RFC 5280 sections 4.2.1.3 and 4.2.1.9).
func issuer(c *x509.Certificate, below []*x509.Certificate) error {
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return errors.New("it issued a certificate, and its basic constraints do not say that it is a CA")
	case c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("it issued a certificate, and its key usage is without keyCertSign")
	}
	within, err := extendedKeyUsages(c)
	if err != nil {
		return err
	}
	has, err := extendedKeyUsages(below[0])
	if err != nil {
		return err
	}
	if p := outside(has, within); p != nil {
		return fmt.Errorf("its extended key usage does not allow %s, which the certificate of the key has", p)
	}
	// a CA key is going to issue, so its own certificate counts too
	between := 0
	for _, b := range below {
		if b.IsCA && !bytes.Equal(b.RawSubject, b.RawIssuer) {
			between++
		}
	}
	if c.MaxPathLen >= 0 && between > c.MaxPathLen {
		return fmt.Errorf("its path length is %d, and there are %d CA certificates below it", c.MaxPathLen, between)
	}
	return nil
}

// fitsType says whether the certificate at the beginning of the chain allows a key of this type what it does, and an FW key
// no more.
func fitsType(of law.KeyType, chain []*x509.Certificate) error {
	c := chain[0]
	if of == law.Firmware {
		switch {
		case c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
			return fmt.Errorf("it says that it is a CA, and an %s key issues nothing; ask for another", of)
		case c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
			return fmt.Errorf("its key usage is without digitalSignature, and an %s key signs; ask for another", of)
		}
		return nil
	}
	switch {
	case !c.BasicConstraintsValid || !c.IsCA:
		return fmt.Errorf("its basic constraints do not say that it is a CA, and a %s key issues certificates; ask for another", of)
	case c.KeyUsage&x509.KeyUsageCertSign == 0 || c.KeyUsage&x509.KeyUsageCRLSign == 0:
		return fmt.Errorf("its key usage is without keyCertSign or cRLSign, and a %s key issues certificates and revocation lists; ask for another", of)
	case len(c.SubjectKeyId) == 0:
		return errors.New("it has no subject key identifier, which what it issues must name (RFC 5280 section 4.2.1.2); ask for another")
	case of == law.Root && len(chain) > 1:
		return errors.New("it is not self-signed, as that of a ROOT key must be; configure the key as a CA key")
	}
	return nil
}

// fitsProfile says whether the certificate is for nothing that the profile of the key does not name.
func fitsProfile(key law.Key, c *x509.Certificate) error {
	profile, err := profileOf(key)
	if err != nil {
		return err
	}
	var allowed x509.KeyUsage
	for _, u := range profile.KeyUsage {
		allowed |= keyUsages[u]
	}
	if c.KeyUsage&^allowed != 0 {
		return errors.New("its key usage is wider than the profile of the key; ask for another, or change the profile")
	}
	named, err := purposes(profile)
	if err != nil || len(named) == 0 {
		return err
	}
	has, err := extendedKeyUsages(c)
	if err != nil {
		return err
	}
	if len(has) == 0 { // it is for every purpose
		return fmt.Errorf("it has no extended key usage, and the profile of the key names %s; ask for another", strings.Join(profile.ExtendedKeyUsage, ", "))
	}
	if p := outside(has, named); p != nil {
		return fmt.Errorf("its extended key usage %s is not in the profile of the key; ask for another, or change the profile", p)
	}
	return nil
}

// verify lets the standard library judge the path too: it knows of name constraints and of more than is checked here.
func verify(chain []*x509.Certificate, now time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(chain[len(chain)-1])
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now.Truncate(time.Second), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("its chain is not valid: %w", err)
	}
	return nil
}

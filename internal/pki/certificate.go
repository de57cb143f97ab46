package pki

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"example.org/keyserver/internal/law"
)

// Authority is a key that issues, with its own certificate.
type Authority struct {
	Key         law.Key
	Certificate *x509.Certificate // as [CheckIssuer] gives it
}

// Serial draws a serial number of 128 bits: positive, and at most 17 octets long (RFC 5280 section 4.1.2.2 allows 20).
// The reader must be a cryptographically secure source.
func Serial(random io.Reader) (*big.Int, error) {
	drawn := make([]byte, 16)
	if _, err := io.ReadFull(random, drawn); err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	serial := new(big.Int).SetBytes(drawn)
	return serial, checkSerial(serial)
}

func checkSerial(serial *big.Int) error {
	if serial == nil || serial.Sign() <= 0 || serial.BitLen() > 20*8-1 {
		return errors.New("a serial number must be positive and at most 20 octets long (RFC 5280 section 4.1.2.2)")
	}
	return nil
}

// PrepareRoot prepares the self-signed certificate of a ROOT key, by its profile. It is valid from now, in whole
// seconds. The same call with a new serial number renews it, without a new key.
func PrepareRoot(key law.Key, now time.Time, serial *big.Int) (Draft, error) {
	if key.Type != law.Root {
		return Draft{}, fmt.Errorf("key %s: an %s key does not sign its own certificate; have a ROOT or CA key issue it", key.ID, key.Type)
	}
	t, err := template(key, now, serial)
	if err != nil {
		return Draft{}, err
	}
	return prepareCertificate(key, t, t, key)
}

// PrepareSubordinate prepares a certificate for a CA or FW key, by its profile, that the authority issues. It is valid
// from now, in whole seconds. What would not be valid under the certificate of the authority is refused. The same call
// with a new serial number renews it, without a new key.
func PrepareSubordinate(issuer Authority, subject law.Key, now time.Time, serial *big.Int) (Draft, error) {
	if subject.Type == law.Root {
		return Draft{}, fmt.Errorf("key %s: the certificate of a ROOT key is signed by that key alone", subject.ID)
	}
	t, err := template(subject, now, serial)
	if err != nil {
		return Draft{}, err
	}
	if err := issuer.check(x509.KeyUsageCertSign, now); err != nil {
		return Draft{}, err
	}
	if err := issuer.allows(subject, t); err != nil {
		return Draft{}, fmt.Errorf("key %s: its certificate, issued by key %s: %w", subject.ID, issuer.Key.ID, err)
	}
	if issuer.Key.Profile != nil && issuer.Key.Profile.CRLURL != "" {
		t.CRLDistributionPoints = []string{issuer.Key.Profile.CRLURL}
	}
	return prepareCertificate(issuer.Key, t, issuer.Certificate, subject)
}

func prepareCertificate(signer law.Key, t, parent *x509.Certificate, subject law.Key) (Draft, error) {
	_, algorithm, err := signatureOf(signer)
	if err != nil {
		return Draft{}, err
	}
	t.SignatureAlgorithm = algorithm
	public, err := newPen(subject.PublicKey)
	if err != nil {
		return Draft{}, fmt.Errorf("key %s: %w", subject.ID, err)
	}
	d, err := prepare(signer, func(s crypto.Signer) ([]byte, error) {
		return x509.CreateCertificate(nil, t, parent, public.Public(), s)
	})
	if err != nil {
		return Draft{}, fmt.Errorf("preparing a certificate for key %s: %w", subject.ID, err)
	}
	return d, nil
}

// template is the certificate of a key as its profile wants it, before anything of an issuer is in it.
func template(key law.Key, now time.Time, serial *big.Int) (*x509.Certificate, error) {
	if err := checkSerial(serial); err != nil {
		return nil, err
	}
	profile, err := profileOf(key)
	if err != nil {
		return nil, err
	}
	identifier, err := keyIdentifier(key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", key.ID, err)
	}
	notBefore := now.UTC().Truncate(time.Second)
	t := &x509.Certificate{
		SerialNumber: new(big.Int).Set(serial),
		Subject:      subjectName(profile.Subject),
		NotBefore:    notBefore,
		// both ends belong to the validity period (RFC 5280 section 4.1.2.5)
		NotAfter:              notBefore.Add(profile.Validity - time.Second),
		BasicConstraintsValid: true,
		SubjectKeyId:          identifier,
	}
	if t.NotBefore.Year() < 1950 || t.NotAfter.Year() > 9999 {
		return nil, fmt.Errorf("key %s: its certificate would be valid from %v to %v, which X.509 cannot say; look at the clock", key.ID, t.NotBefore, t.NotAfter)
	}
	if key.Type != law.Firmware {
		t.IsCA, t.MaxPathLen, t.MaxPathLenZero = true, profile.PathLen, profile.PathLen == 0
	}
	for _, u := range profile.KeyUsage {
		t.KeyUsage |= keyUsages[u]
	}
	if t.UnknownExtKeyUsage, err = purposes(profile); err != nil {
		return nil, fmt.Errorf("key %s: %w", key.ID, err)
	}
	if key.Responder() {
		t.ExtraExtensions = []pkix.Extension{{Id: oidNoCheck, Value: asn1.NullBytes}}
	}
	return t, nil
}

// oidNoCheck is id-pkix-ocsp-nocheck: whoever asks for the status of a certificate does not go on to ask for that of the
// responder's (RFC 6960 section 4.2.2.2.1).
var oidNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}

// profileOf returns the profile of a key, checked.
func profileOf(key law.Key) (law.Profile, error) {
	if key.Profile == nil {
		return law.Profile{}, fmt.Errorf("key %s: it has no certificate profile, so it gets no certificate; configure one", key.ID)
	}
	if err := key.Profile.Check(key.Type); err != nil {
		return law.Profile{}, fmt.Errorf("key %s: its certificate: %w", key.ID, err)
	}
	return *key.Profile, nil
}

// keyIdentifier is the leftmost 160 bits of the SHA-256 of the public key (RFC 7093 section 2, method 1).
func keyIdentifier(spki []byte) ([]byte, error) {
	public, err := publicKeyBits(spki)
	sum := sha256.Sum256(public)
	return sum[:20], err
}

// publicKeyBits is the subjectPublicKey of a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
func publicKeyBits(spki []byte) ([]byte, error) {
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if rest, err := asn1.Unmarshal(spki, &info); err != nil || len(rest) > 0 {
		return nil, errors.New("its public key is no SubjectPublicKeyInfo")
	}
	return info.Key.RightAlign(), nil
}

// check says whether the authority can sign for this use now.
func (a Authority) check(use x509.KeyUsage, now time.Time) error {
	c := a.Certificate
	switch {
	case c == nil:
		return fmt.Errorf("key %s has no certificate, so it issues nothing; give it one first", a.Key.ID)
	case a.Key.Type != law.Root && a.Key.Type != law.CA:
		return fmt.Errorf("key %s: an %s key issues nothing", a.Key.ID, a.Key.Type)
	case !bytes.Equal(c.RawSubjectPublicKeyInfo, a.Key.PublicKey):
		return fmt.Errorf("key %s: the certificate at hand is not of its key pair", a.Key.ID)
	case !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&use == 0:
		return fmt.Errorf("key %s: its certificate does not allow it to sign this", a.Key.ID)
	case len(c.SubjectKeyId) == 0:
		return fmt.Errorf("key %s: its certificate has no subject key identifier", a.Key.ID)
	case !validAt(c, now):
		return fmt.Errorf("key %s: its certificate is valid from %s to %s, and not now; renew it", a.Key.ID, instant(c.NotBefore), instant(c.NotAfter))
	}
	return nil
}

// allows says whether a certificate like this one is valid under the authority's.
func (a Authority) allows(subject law.Key, t *x509.Certificate) error {
	above := a.Certificate
	most := above.MaxPathLen // -1: no limit
	if p := a.Key.Profile; p != nil && (most < 0 || p.PathLen < most) {
		most = p.PathLen // of an authority elsewhere, who gave more than was asked for
	}
	switch {
	case bytes.Equal(subject.PublicKey, a.Key.PublicKey):
		return errors.New("both have one key pair; a key does not issue for itself")
	case sameName(t.Subject, above.Subject):
		return errors.New("both have one subject, so the certificate would look self-issued; give the key another subject")
	case t.NotAfter.After(above.NotAfter):
		return fmt.Errorf("it would be valid until %s, and that of the issuer is until %s; shorten the validity, or renew the certificate of the issuer first", instant(t.NotAfter), instant(above.NotAfter))
	case t.IsCA && most >= 0 && t.MaxPathLen >= most:
		return fmt.Errorf("its path length %d does not fit below the issuer's, which is %d; make it smaller", t.MaxPathLen, most)
	}
	if subject.Responder() { // RFC 6960 section 4.2.2.2 asks its own certificate alone, and a CA's with OCSPSigning would be a responder's
		return nil
	}
	within, err := extendedKeyUsages(above)
	if err != nil {
		return err
	}
	if u := outside(t.UnknownExtKeyUsage, within); u != nil {
		return fmt.Errorf("its extended key usage %s is not among those of the issuer's certificate; remove it", u)
	}
	return nil
}

// validAt counts in whole seconds, as certificates do: the last second of the validity belongs to it.
func validAt(c *x509.Certificate, now time.Time) bool {
	second := now.Truncate(time.Second)
	return !second.Before(c.NotBefore) && !second.After(c.NotAfter)
}

// instant is how people read a time in a certificate.
func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"example.org/keyserver/internal/law"
)

// Device is what a device certificate is recorded by.
type Device struct {
	Identity    string // of the device, by the profile
	Fingerprint string // of the public key of the device
	Request     string // lower-case hex SHA-256 of the request's DER
	Profile     string // digest of the profile
	NotBefore   time.Time
	NotAfter    time.Time
}

// PrepareDevice prepares the certificate of a device that the authority issues. It is made of the profile of the key,
// and of what the profile lets through of the request; what the request asks for beyond that is refused, not left out.
// It is valid from now, in whole seconds.
func PrepareDevice(issuer Authority, r DeviceRequest, now time.Time, serial *big.Int) (Draft, Device, error) {
	draft, device, err := prepareDevice(issuer, r, now, serial)
	if err != nil {
		return Draft{}, Device{}, fmt.Errorf("a device certificate, issued by key %s: %w", issuer.Key.ID, err)
	}
	return draft, device, nil
}

func prepareDevice(issuer Authority, r DeviceRequest, now time.Time, serial *big.Int) (Draft, Device, error) {
	p := issuer.Key.Devices
	switch {
	case p == nil || issuer.Key.Type != law.CA:
		return Draft{}, Device{}, errors.New("it has no profile of device certificates; configure one of a CA key first")
	case p.Check() != nil:
		return Draft{}, Device{}, fmt.Errorf("its profile: %w", p.Check())
	case !slices.Contains(p.Algorithms, r.Algorithm):
		return Draft{}, Device{}, fmt.Errorf("the device key is of %s; the profile allows %v", r.Algorithm, p.Algorithms)
	case bytes.Equal(r.PublicKey, issuer.Key.PublicKey):
		return Draft{}, Device{}, errors.New("the device key is that of the issuer; make a new one in the device")
	}
	if err := issuer.check(x509.KeyUsageCertSign, now); err != nil {
		return Draft{}, Device{}, err
	}
	if err := checkSerial(serial); err != nil {
		return Draft{}, Device{}, err
	}
	f, err := fill(*p, r)
	if err != nil {
		return Draft{}, Device{}, err
	}
	t, err := f.template(issuer, now, serial)
	if err != nil {
		return Draft{}, Device{}, err
	}
	if err := issuer.allowsDevice(f, t); err != nil {
		return Draft{}, Device{}, err
	}
	_, t.SignatureAlgorithm, err = signatureOf(issuer.Key)
	if err != nil {
		return Draft{}, Device{}, err
	}
	public, err := newPen(r.PublicKey)
	if err != nil {
		return Draft{}, Device{}, err
	}
	d, err := prepare(issuer.Key, func(s crypto.Signer) ([]byte, error) {
		return x509.CreateCertificate(nil, t, issuer.Certificate, public.Public(), s)
	})
	if err != nil {
		return Draft{}, Device{}, err
	}
	return d, Device{f.identity, r.Fingerprint, r.Digest(), p.Digest(), t.NotBefore, t.NotAfter}, nil
}

// allowsDevice says whether a device certificate like this one is valid under the authority's.
func (a Authority) allowsDevice(f filled, t *x509.Certificate) error {
	above := a.Certificate
	var subject pkix.Name
	subject.FillFromRDNSequence(&f.subject)
	within, err := extendedKeyUsages(above)
	if err != nil {
		return err
	}
	constrained := len(above.PermittedDNSDomains)+len(above.ExcludedDNSDomains)+len(above.PermittedURIDomains)+len(above.ExcludedURIDomains) > 0
	switch u := outside(t.UnknownExtKeyUsage, within); {
	case sameName(subject, above.Subject):
		return errors.New("device and issuer have one subject, so the certificate would look self-issued; give the device another")
	case u != nil:
		return fmt.Errorf("its extended key usage %s is not among those of the issuer's certificate; remove it from the profile", u)
	case !f.profile.NoExpiry && t.NotAfter.After(above.NotAfter):
		return fmt.Errorf("it would be valid until %s, and that of the issuer is until %s; shorten the validity, or renew the certificate of the issuer first", instant(t.NotAfter), instant(above.NotAfter))
	case constrained && len(f.names) > 0:
		return errors.New("the certificate of the issuer constrains names, to which those of devices are not held here; have it certified without name constraints")
	}
	return nil
}

// noExpiry is the time that certificates end at which have no well-defined end (RFC 5280 section 4.1.2.5).
func noExpiry() time.Time { return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }

// template is the certificate as it is made of what is filled.
func (f filled) template(issuer Authority, now time.Time, serial *big.Int) (*x509.Certificate, error) {
	p := f.profile
	subject, err := asn1.Marshal(f.subject)
	if err != nil {
		return nil, err
	}
	identifier, err := keyIdentifier(f.request.PublicKey)
	if err != nil {
		return nil, err
	}
	notBefore := now.UTC().Truncate(time.Second)
	t := &x509.Certificate{
		SerialNumber: new(big.Int).Set(serial), RawSubject: subject, SubjectKeyId: identifier, BasicConstraintsValid: true,
		NotBefore: notBefore, NotAfter: notBefore.Add(p.Validity - time.Second), CRLDistributionPoints: given(p.CRLURL),
		OCSPServer: given(p.OCSPURL), IssuingCertificateURL: given(p.IssuerURL),
	}
	if p.NoExpiry {
		t.NotAfter = noExpiry()
	}
	if t.NotBefore.Year() < 1950 || t.NotAfter.Year() > 9999 {
		return nil, fmt.Errorf("it would be valid from %v to %v, which X.509 cannot say; look at the clock", t.NotBefore, t.NotAfter)
	}
	for _, u := range p.KeyUsage {
		t.KeyUsage |= keyUsages[u]
	}
	if t.UnknownExtKeyUsage, err = purposesOf(p.ExtendedKeyUsage); err != nil {
		return nil, err
	}
	for _, dotted := range p.Policies {
		id, err := x509.ParseOID(dotted)
		if err != nil {
			return nil, err
		}
		t.Policies = append(t.Policies, id)
	}
	if len(f.names) > 0 {
		names, err := f.alternativeNames()
		if err != nil {
			return nil, err
		}
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: oidSubjectAltName, Value: names})
	}
	for _, e := range p.Extensions {
		t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{Id: law.ParseObjectIdentifier(e.ID), Value: e.Value})
	}
	return t, nil
}

func given(url string) []string {
	if url == "" {
		return nil
	}
	return []string{url}
}

func (f filled) alternativeNames() ([]byte, error) {
	var all []asn1.RawValue
	for _, n := range f.names {
		v, err := nameDER(n)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return asn1.Marshal(all)
}

package pki

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"
)

// Reason says why a certificate is revoked, by its name in RFC 5280 section 5.3.1.
type Reason string

// Unspecified gives no reason: the revocation list then says none, as RFC 5280 recommends.
const Unspecified Reason = "unspecified"

// certificateHold and removeFromCRL are missing: a revocation is final here, and there are no delta lists.
var reasons = map[Reason]int{
	Unspecified: 0, "keyCompromise": 1, "cACompromise": 2, "affiliationChanged": 3, "superseded": 4,
	"cessationOfOperation": 5, "privilegeWithdrawn": 9, "aACompromise": 10,
}

// Reasons lists every reason, in the order of their codes.
func Reasons() []Reason {
	return slices.SortedFunc(maps.Keys(reasons), func(a, b Reason) int { return reasons[a] - reasons[b] })
}

// Code returns the number of the reason (CRLReason, RFC 5280 section 5.3.1).
func (r Reason) Code() (int, error) {
	switch code, known := reasons[r]; {
	case known:
		return code, nil
	case r == "certificateHold" || r == "removeFromCRL":
		return 0, fmt.Errorf("a revocation is final here, so its reason cannot be %s; give one of %v", r, Reasons())
	}
	return 0, fmt.Errorf("reason %q is unknown; give one of %v", r, Reasons())
}

// ReasonOf returns the reason that has this number.
func ReasonOf(code int) (Reason, error) {
	for r, c := range reasons {
		if c == code {
			return r, nil
		}
	}
	return "", fmt.Errorf("%d is not the number of a reason that is given here", code)
}

// Revocation is one certificate that is revoked.
type Revocation struct {
	Serial *big.Int
	Time   time.Time // since when; a list has it in whole seconds
	Reason Reason
}

// RevocationList is what a revocation list says.
type RevocationList struct {
	Number     *big.Int // greater than that of every earlier list of the issuer; at most 20 octets
	ThisUpdate time.Time
	NextUpdate time.Time // when a newer one will be there at the latest
	Entries    []Revocation
}

// PrepareRevocationList prepares a revocation list of the authority (RFC 5280 section 5), complete and direct: it names
// all certificates of the issuer that are revoked. Times are cut to whole seconds.
func PrepareRevocationList(issuer Authority, l RevocationList) (Draft, error) {
	if err := issuer.check(x509.KeyUsageCRLSign, l.ThisUpdate); err != nil {
		return Draft{}, err
	}
	t, err := l.template()
	if err != nil {
		return Draft{}, fmt.Errorf("preparing a revocation list of key %s: %w", issuer.Key.ID, err)
	}
	if _, t.SignatureAlgorithm, err = signatureOf(issuer.Key); err != nil {
		return Draft{}, err
	}
	d, err := prepare(issuer.Key, func(s crypto.Signer) ([]byte, error) {
		return x509.CreateRevocationList(nil, t, issuer.Certificate, s)
	})
	if err != nil {
		return Draft{}, fmt.Errorf("preparing a revocation list of key %s: %w", issuer.Key.ID, err)
	}
	return d, nil
}

func (l RevocationList) template() (*x509.RevocationList, error) {
	if l.Number == nil || l.Number.Sign() < 0 || l.Number.BitLen() > 20*8-1 {
		return nil, errors.New("its number must not be negative and be at most 20 octets long (RFC 5280 section 5.2.3)")
	}
	t := &x509.RevocationList{
		Number: new(big.Int).Set(l.Number), ThisUpdate: l.ThisUpdate.UTC().Truncate(time.Second), NextUpdate: l.NextUpdate.UTC().Truncate(time.Second),
	}
	if t.ThisUpdate.Year() < 1950 || t.NextUpdate.Year() > 9999 || !t.NextUpdate.After(t.ThisUpdate) {
		return nil, fmt.Errorf("its next update must be at least a second after this one, which is at %s", instant(t.ThisUpdate))
	}
	seen := map[string]bool{}
	for _, e := range l.Entries {
		if err := checkSerial(e.Serial); err != nil {
			return nil, err
		}
		serial := e.Serial.Text(16)
		code, err := e.Reason.Code()
		at := e.Time.UTC().Truncate(time.Second)
		switch {
		case err != nil:
			return nil, fmt.Errorf("serial number %s: %w", serial, err)
		case seen[serial]:
			return nil, fmt.Errorf("serial number %s is there twice", serial)
		case at.Year() < 1950 || at.After(t.ThisUpdate):
			return nil, fmt.Errorf("serial number %s: it is revoked at %s, and the list is made at %s; it can be revoked only before", serial, instant(at), instant(t.ThisUpdate))
		}
		seen[serial] = true
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: new(big.Int).Set(e.Serial), RevocationTime: at, ReasonCode: code})
	}
	return t, nil
}

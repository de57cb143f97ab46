package keyserver

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"time"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
	"example.org/keyserver/internal/store"
)

// drawing is what is random of a certificate that is being drawn up.
type drawing struct {
	id     law.CertificateID
	serial *big.Int
}

func newDrawing() (drawing, error) {
	id, err := newID()
	if err != nil {
		return drawing{}, err
	}
	serial, err := pki.Serial(rand.Reader)
	return drawing{law.CertificateID(id), serial}, err
}

// draftOf is a draft in the form that the law judges. What is wrong with it, the law says once it has judged who asks.
func draftOf(d pki.Draft, wrong error) law.Draft {
	if wrong != nil {
		return law.Draft{Fault: wrong.Error()}
	}
	return law.Draft{TBS: d.TBS(), Input: d.Input()}
}

// certificate draws up the certificate of a key, by its profile.
func (d drawing) certificate(r *store.Reader, issuer, of law.KeyID) (law.CertificateDraft, error) {
	by, _ := r.Facts().Key(issuer)
	key, _ := r.Facts().Key(of)
	var made pki.Draft
	var wrong error
	if issuer == of {
		made, wrong = pki.PrepareRoot(key, r.Now(), d.serial)
	} else {
		authority, fault, err := authorityOf(r, by)
		if err != nil {
			return law.CertificateDraft{}, err
		}
		if wrong = fault; wrong == nil {
			made, wrong = pki.PrepareSubordinate(authority, key, r.Now(), d.serial)
		}
	}
	out := law.CertificateDraft{Draft: draftOf(made, wrong), Fingerprint: key.Fingerprint, Serial: d.serial.Text(16)}
	if wrong != nil {
		return out, nil
	}
	described, err := pki.Describe(out.TBS)
	if err != nil {
		return law.CertificateDraft{}, err
	}
	out.NotBefore, out.NotAfter = described.NotBefore, described.NotAfter
	return out, nil
}

// authorityOf is a key that issues, with its current certificate. The fault says why it is none.
func authorityOf(r *store.Reader, key law.Key) (a pki.Authority, fault, err error) {
	current, _, err := currentOf(r, key)
	if err != nil {
		return pki.Authority{}, nil, err
	}
	path, err := pathOf(r, current)
	if err != nil {
		return pki.Authority{}, nil, err
	}
	a, fault = pki.CheckIssuer(key, path, r.Now())
	return a, fault, nil
}

// order completes what is asked of a sign order that is for a certificate: with a new draft, or with the one of the
// earlier order, whose certificate it returns, if it would be drawn up the same today.
func (d drawing) order(r *store.Reader, ask *law.OrderAsk, earlier *law.Order) (law.Certificate, error) {
	if ask.Certificate == nil {
		return law.Certificate{}, nil
	}
	c := *ask.Certificate
	ask.Certificate = &c
	today, err := d.certificate(r, ask.Key, c.Key)
	if c.Draft = today; err != nil || earlier == nil || earlier.Certifies == "" {
		return law.Certificate{}, err
	}
	was, err := certificateOf(r, *earlier)
	c.Draft = law.CertificateDraft{
		Draft: law.Draft{TBS: was.TBS, Input: earlier.Input, Fault: today.Fault}, Fingerprint: was.Fingerprint, Serial: was.Serial,
		NotBefore: was.NotBefore, NotAfter: was.NotAfter,
	}
	if today.Fault == "" && !pki.Alike(was.TBS, today.TBS) {
		c.Draft.Fault = "the profile of the key, or the certificate of the key that issues, has changed since the certificate was drawn up; ask for a new one, with another idempotency key"
	}
	return was, err
}

// imported is a certificate that was issued elsewhere, and what is wrong with it.
func (d drawing) imported(f law.Facts, of law.KeyID, chain []byte, now time.Time) (law.Certificate, string) {
	key, known := f.Key(of)
	if !known {
		return law.Certificate{Key: of}, ""
	}
	path, err := pki.CheckImport(key, chain, now)
	if err != nil {
		return law.Certificate{Key: of}, err.Error()
	}
	leaf := path[0]
	c := law.Certificate{
		ID: d.id, Key: of, Fingerprint: keystore.Fingerprint(leaf.RawSubjectPublicKeyInfo), Serial: leaf.SerialNumber.Text(16), TBS: leaf.RawTBSCertificate,
		DER: leaf.Raw, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
	}
	for _, above := range path[1:] {
		c.Chain = append(c.Chain, above.Raw)
	}
	return c, ""
}

// draftList draws up the next revocation list of a key, of what is revoked.
func draftList(r *store.Reader, l law.RevocationList, revoked []store.Revoked) (pki.Draft, law.ListDraft, error) {
	key, _ := r.Facts().Key(l.Key)
	validity := law.ListValidity
	if key.Type == law.Root {
		validity = law.RootListValidity
	}
	authority, fault, err := authorityOf(r, key)
	if err != nil {
		return pki.Draft{}, law.ListDraft{}, err
	}
	this := r.Now().Truncate(time.Second)
	says := pki.RevocationList{Number: big.NewInt(l.Number + 1), ThisUpdate: this, NextUpdate: this.Add(validity)}
	for _, c := range revoked {
		one, err := revocationOf(c.Serial, c.At, c.Code, this)
		if err != nil {
			return pki.Draft{}, law.ListDraft{}, err
		}
		says.Entries = append(says.Entries, one)
	}
	var d pki.Draft
	if fault == nil {
		d, fault = pki.PrepareRevocationList(authority, says)
	}
	return d, law.ListDraft{Draft: draftOf(d, fault), Entries: len(revoked), ThisUpdate: this, NextUpdate: says.NextUpdate}, nil
}

// revocationOf is what is signed at this time of a certificate that is revoked.
func revocationOf(serial string, at time.Time, code law.RevocationCode, this time.Time) (pki.Revocation, error) {
	number, ok := new(big.Int).SetString(serial, 16)
	if !ok {
		return pki.Revocation{}, fmt.Errorf("%q is no serial number of a certificate", serial)
	}
	if at.After(this) { // of a time before the clock went back
		at = this
	}
	return pki.Revocation{Serial: number, Time: at, Reason: pki.Reason(code)}, nil
}

package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"

	"example.org/keyserver/internal/law"
)

// MaxStatusRequest is how long a request for a status may be, in bytes.
const MaxStatusRequest = 2048

// StatusRequest asks for the status of one certificate (RFC 6960 section 4.1).
type StatusRequest struct {
	Hash   crypto.Hash // of the issuer's name and key
	Issuer string      // the two hashes, one after the other
	Serial *big.Int
}

// statusAsk is a Request of RFC 6960 section 4.1.1.
type statusAsk struct {
	Certificate asn1.RawValue
	Extensions  []pkix.Extension `asn1:"explicit,tag:0,optional"`
}

// StatusMalformed is the answer, without a signature, to a request that cannot be read (RFC 6960 section 2.3).
func StatusMalformed() []byte { return bytes.Clone(ocsp.MalformedRequestErrorResponse) }

// StatusTryLater is the answer, without a signature, where another time there may be a status.
func StatusTryLater() []byte { return bytes.Clone(ocsp.TryLaterErrorResponse) }

// StatusUnauthorized is the answer, without a signature, of a responder that has nothing to say of such a certificate (RFC
// 5019 section 2.2.3).
func StatusUnauthorized() []byte { return bytes.Clone(ocsp.UnauthorizedErrorResponse) }

// ParseStatusRequest reads a request for the status of one certificate. One for several is refused (RFC 5019 section
// 2.1.1), and so are a signed one and a critical extension. Who it is from and a nonce say nothing to this responder.
func ParseStatusRequest(der []byte) (StatusRequest, error) {
	if len(der) > MaxStatusRequest {
		return StatusRequest{}, fmt.Errorf("the request is %d bytes long; %d are allowed", len(der), MaxStatusRequest)
	}
	var whole struct {
		TBS struct {
			Version    int           `asn1:"explicit,tag:0,default:0,optional"`
			Requestor  asn1.RawValue `asn1:"explicit,tag:1,optional"`
			List       []statusAsk
			Extensions []pkix.Extension `asn1:"explicit,tag:2,optional"`
		}
		Signature asn1.RawValue `asn1:"explicit,tag:0,optional"`
	}
	rest, err := asn1.Unmarshal(der, &whole)
	switch {
	case err != nil || len(rest) > 0:
		return StatusRequest{}, errors.New("it is no OCSPRequest (RFC 6960 section 4.1.1)")
	case whole.TBS.Version != 0:
		return StatusRequest{}, errors.New("it is of a version other than 1")
	case len(whole.TBS.List) != 1:
		return StatusRequest{}, fmt.Errorf("it asks for %d certificates; ask for one", len(whole.TBS.List))
	}
	one := whole.TBS.List[0]
	for _, e := range append(whole.TBS.Extensions, one.Extensions...) {
		if e.Critical {
			return StatusRequest{}, fmt.Errorf("its extension %s is critical, and unknown here", e.Id)
		}
	}
	r, err := ocsp.ParseRequest(der)
	if err != nil {
		return StatusRequest{}, err
	}
	if len(r.IssuerNameHash) != r.HashAlgorithm.Size() || len(r.IssuerKeyHash) != r.HashAlgorithm.Size() || checkSerial(r.SerialNumber) != nil {
		return StatusRequest{}, errors.New("its hashes or its serial number cannot be those of a certificate")
	}
	return StatusRequest{Hash: r.HashAlgorithm, Issuer: string(r.IssuerNameHash) + string(r.IssuerKeyHash), Serial: r.SerialNumber}, nil
}

// Responder is a key that signs the statuses of the certificates of one issuer (RFC 6960 section 4.2.2.2).
type Responder struct {
	key         law.Key
	certificate *x509.Certificate
	issuer      *x509.Certificate
}

// NewResponder takes the key with its certificate and those above it, DER. A certificate that those who ask would not take
// for one of a responder is refused.
func NewResponder(key law.Key, path [][]byte) (Responder, error) {
	if len(path) < 2 {
		return Responder{}, fmt.Errorf("key %s: the certificate of the key that issued its certificate is not to be had", key.ID)
	}
	c, err := x509.ParseCertificate(path[0])
	if err != nil {
		return Responder{}, fmt.Errorf("key %s: reading its certificate: %w", key.ID, err)
	}
	issuer, err := x509.ParseCertificate(path[1])
	if err != nil {
		return Responder{}, fmt.Errorf("key %s: reading its issuer's certificate: %w", key.ID, err)
	}
	switch {
	case !bytes.Equal(c.RawSubjectPublicKeyInfo, key.PublicKey):
		return Responder{}, fmt.Errorf("key %s: the certificate at hand is not of its key pair", key.ID)
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) || c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return Responder{}, fmt.Errorf("key %s: its certificate is not for OCSPSigning; renew it", key.ID)
	case !bytes.Equal(c.RawIssuer, issuer.RawSubject):
		return Responder{}, fmt.Errorf("key %s: its certificate is by %s, and not by %s; renew it", key.ID, Text(c.Issuer), Text(issuer.Subject))
	}
	if err := c.CheckSignatureFrom(issuer); err != nil {
		return Responder{}, fmt.Errorf("key %s: its certificate: %w", key.ID, err)
	}
	return Responder{key, c, issuer}, nil
}

// Asked says whether the request is for a certificate of the issuer. The zero Responder is never asked.
func (r Responder) Asked(q StatusRequest) bool {
	if r.issuer == nil {
		return false
	}
	identifier, err := publicKeyBits(r.issuer.RawSubjectPublicKeyInfo)
	if err != nil || !q.Hash.Available() {
		return false
	}
	name, key := q.Hash.New(), q.Hash.New()
	name.Write(r.issuer.RawSubject)
	key.Write(identifier)
	return q.Issuer == string(key.Sum(name.Sum(nil)))
}

// Status is how a certificate stands.
type Status struct {
	Hash       crypto.Hash // that the request was made with
	Serial     *big.Int
	Revoked    *Revocation // nil: it is not
	ThisUpdate time.Time   // when this was so
	NextUpdate time.Time   // until when it may be taken to be so
}

// PrepareStatus prepares a response that tells a status (RFC 6960 section 4.2.1), with the certificate of the responder.
// Times are cut to whole seconds.
func PrepareStatus(r Responder, s Status) (Draft, error) {
	t := ocsp.Response{
		Status: ocsp.Good, SerialNumber: s.Serial, IssuerHash: s.Hash, Certificate: r.certificate,
		ThisUpdate: s.ThisUpdate.UTC().Truncate(time.Second), NextUpdate: s.NextUpdate.UTC().Truncate(time.Second),
	}
	if s.Revoked != nil {
		code, err := s.Revoked.Reason.Code()
		if err != nil {
			return Draft{}, fmt.Errorf("preparing a status: %w", err)
		}
		t.Status, t.RevocationReason, t.RevokedAt = ocsp.Revoked, code, s.Revoked.Time.UTC().Truncate(time.Second)
	}
	scheme, algorithm, err := signatureOf(r.key)
	if err != nil {
		return Draft{}, err
	}
	if scheme != law.PKCS1v15 && scheme != law.ECDSA {
		return Draft{}, fmt.Errorf("key %s: statuses have no %s signatures", r.key.ID, scheme)
	}
	t.SignatureAlgorithm = algorithm
	blank, err := ocsp.CreateResponse(r.issuer, r.certificate, t, blankPen{r.certificate.PublicKey})
	if err != nil {
		return Draft{}, fmt.Errorf("preparing a status: %w", err)
	}
	d, err := prepare(r.key, func(s crypto.Signer) ([]byte, error) {
		der, err := fillStatus(blank, s.(crypto.MessageSigner))
		if err != nil { // also when it is only prepared
			return nil, err
		}
		return der, r.reads(der, t)
	})
	if err != nil {
		return Draft{}, fmt.Errorf("preparing a status: %w", err)
	}
	return d, nil
}

// blankPen stands for the private key while nothing is signed yet: the library hands it the digest alone, and here the
// whole of what is signed is wanted.
type blankPen struct{ public crypto.PublicKey }

func (p blankPen) Public() crypto.PublicKey { return p.public }

func (p blankPen) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return []byte{0}, nil }

// oidBasicResponse is id-pkix-ocsp-basic (RFC 6960 section 4.2.1).
var oidBasicResponse = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}

// OCSPResponse and BasicOCSPResponse (RFC 6960 section 4.2.1).
type (
	statusResponse struct {
		Status asn1.Enumerated
		Bytes  statusBytes `asn1:"explicit,tag:0,optional"`
	}
	statusBytes struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	basicResponse struct {
		Data         asn1.RawValue
		Algorithm    asn1.RawValue
		Signature    asn1.BitString
		Certificates asn1.RawValue `asn1:"optional"`
	}
)

// fillStatus signs a response that is blank where its signature is to be.
func fillStatus(blank []byte, s crypto.MessageSigner) ([]byte, error) {
	var whole statusResponse
	var basic basicResponse
	if rest, err := asn1.Unmarshal(blank, &whole); err != nil || len(rest) > 0 || !whole.Bytes.Type.Equal(oidBasicResponse) {
		return nil, errors.New("it is no OCSPResponse")
	}
	if rest, err := asn1.Unmarshal(whole.Bytes.Response, &basic); err != nil || len(rest) > 0 {
		return nil, errors.New("it is no BasicOCSPResponse")
	}
	signature, err := s.SignMessage(nil, basic.Data.FullBytes, nil)
	if err != nil {
		return nil, err
	}
	basic.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	if whole.Bytes.Response, err = asn1.Marshal(basic); err != nil {
		return nil, err
	}
	return asn1.Marshal(whole)
}

// reads reads a response as those who ask do, and compares it with what was to be told.
func (r Responder) reads(der []byte, t ocsp.Response) error {
	got, err := ocsp.ParseResponse(der, r.issuer)
	switch {
	case err != nil:
		return err
	case got.Status != t.Status || got.SerialNumber.Cmp(t.SerialNumber) != 0 || !got.ThisUpdate.Equal(t.ThisUpdate) || !got.NextUpdate.Equal(t.NextUpdate) ||
		!got.RevokedAt.Equal(t.RevokedAt) || got.RevocationReason != t.RevocationReason || got.Certificate == nil || !bytes.Equal(got.Certificate.Raw, r.certificate.Raw):
		return errors.New("read back it is not what was prepared")
	}
	return nil
}

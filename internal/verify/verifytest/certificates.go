package verifytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"time"

	"golang.org/x/crypto/ocsp"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
)

// hierarchy gives a configuration a ROOT key and a CA key, on which olga has an orderer role, and profiles to them and to
// the keys fw-zero and fw-ed.
func hierarchy(c *law.Configuration, key func(law.KeyID, int) law.Key) {
	const year = 365 * 24 * time.Hour
	authority := func(id law.KeyID, of law.KeyType, years time.Duration, pathLen int) law.Key {
		k := key(id, 0)
		k.Type = of
		k.Profile = &law.Profile{
			Subject: law.Name{CommonName: string(id)}, Validity: years * year, PathLen: pathLen, KeyUsage: []law.KeyUsage{law.KeyCertSign, law.CRLSign},
		}
		return k
	}
	for i := range c.Keys {
		if k := &c.Keys[i]; k.ID == "fw-zero" || k.ID == "fw-ed" {
			k.Profile = &law.Profile{
				Subject: law.Name{CommonName: string(k.ID)}, Validity: year, KeyUsage: []law.KeyUsage{law.DigitalSignature},
				ExtendedKeyUsage: []string{"codeSigning"},
			}
		}
	}
	ca := authority("ca", law.CA, 10, 0)
	ca.Devices = &law.DeviceProfile{
		Subject:  []law.DeviceAttribute{{Type: "serial-number", DeviceField: law.DeviceField{Pattern: "[A-Z0-9]+", MaxLength: 16}}},
		Identity: "serial-number", Algorithms: []law.Algorithm{law.P256}, NoExpiry: true, KeyUsage: []law.KeyUsage{law.DigitalSignature},
		ExtendedKeyUsage: []string{"clientAuth"}, Extensions: []law.DeviceExtension{{ID: "1.3.6.1.4.1.99999.1", Value: []byte{5, 0}}}, Duplicates: law.DuplicatesRefused,
	}
	status := key("status", 0)
	status.Profile = &law.Profile{
		Subject: law.Name{CommonName: "status"}, Validity: year / 4, KeyUsage: []law.KeyUsage{law.DigitalSignature}, ExtendedKeyUsage: []string{"OCSPSigning"},
	}
	c.Keys = append(c.Keys, authority("root", law.Root, 20, 1), ca, status)
	c.Roles = append(c.Roles, law.Role{ID: "ca-orderers", Kind: law.Orderer, Keys: []law.KeyID{"ca", "status"}, Members: []law.SubjectID{"olga"}})
}

// certificates is what happens to certificates and revocation lists.
func (w *World) certificates() {
	w.Helper()
	s := w.OpenSession("ada", nil)
	w.Refused(w.Certify(s, "root"))
	w.Authorise(s, "adam")
	w.Refused(w.Certify(s, "ca")) // by a key without certificate
	w.Keystore.Fail(errors.New("no HSM"))
	w.Unavailable(w.Certify(s, "root"))
	_, err := w.Server.CertificateRequest(w.Context(), w.Caller("ada"), s.ID, "fw-ed")
	w.Unavailable(err)
	w.Keystore.Hook(keystoretest.Hooks{})
	w.must(w.Certify(s, "root"))
	w.Step(time.Second)
	w.must(w.Certify(s, "root")) // renewed
	w.must(w.Certify(s, "ca"))
	w.must(w.Certify(s, "fw-ed"))
	w.Keystore.Fail(errors.New("no HSM"))
	if w.Server.Beat(w.Context()) == nil {
		w.Fatal("a revocation list was made without an HSM")
	}
	w.Keystore.Hook(keystoretest.Hooks{})
	w.lost(s) // the server starts again, and makes the first list
	w.elsewhere(s)

	o := w.Create("olga", 4, nil, "ca")
	w.Keystore.Fail(errors.New("no HSM"))
	_, err = w.order(o, "1")
	w.Unavailable(err)
	w.Keystore.Hook(keystoretest.Hooks{})
	one, err := w.order(o, "1")
	w.must(err)
	_, err = w.order(o, "2")
	w.must(err)
	_, err = w.Server.RevokeCertificate(w.Context(), w.Caller("eve"), one.ID, "superseded", "why not")
	w.Refused(err)
	_, err = w.Server.RevokeCertificate(w.Context(), w.Caller("anna"), one.ID, "superseded", "a new one is there")
	w.must(err)
	w.must(w.Server.Beat(w.Context())) // makes the next list
	w.WhileSigning(func() {
		_, err := w.Server.Revoke(w.Context(), w.Caller("ada"), o.ID, "too many")
		w.must(err)
	})
	_, err = w.order(o, "3")
	w.Refused(err)
	w.Keystore.Hook(keystoretest.Hooks{})
	_, err = w.Server.MakeRevocationList(w.Context(), w.Caller("ada"), s.ID, "root")
	w.must(err)
	_, err = w.Server.CloseSession(w.Context(), w.Caller("ada"), s.ID)
	w.must(err)
}

// Certify has root issue the certificate of a key in an administration session, as ada.
func (w *World) Certify(s keyserver.Session, of law.KeyID) error {
	_, err := w.Server.IssueCertificate(w.Context(), w.Caller("ada"), s.ID, keyserver.IssueRequest{Key: of, Issuer: "root"})
	return err
}

// order has ca issue the certificate of fw-zero under an operation, as olga.
func (w *World) order(o keyserver.Operation, idempotencyKey string) (keyserver.Certificate, error) {
	return w.orderOf("fw-zero", o, idempotencyKey)
}

func (w *World) orderOf(of law.KeyID, o keyserver.Operation, idempotencyKey string) (keyserver.Certificate, error) {
	return w.Server.PlaceCertificateOrder(w.Context(), w.Caller("olga"), o.ID, keyserver.CertificateOrder{Issuer: "ca", Key: of, IdempotencyKey: idempotencyKey})
}

// statuses is what happens when somebody outside asks for the status of certificates.
func (w *World) statuses(of keyserver.Certificate) {
	w.Helper()
	_, err := w.orderOf("status", w.Create("olga", 1, nil, "ca"), "1")
	w.must(err)
	issuer, err := x509.ParseCertificate(of.Path[1])
	w.must(err)
	device, err := x509.ParseCertificate(of.DER)
	w.must(err)
	request, err := ocsp.CreateRequest(device, issuer, nil)
	w.must(err)
	for range 2 {
		_, err = ocsp.ParseResponse(w.Server.CertificateStatus(w.Context(), keyserver.Caller{Request: "outside"}, request).DER, issuer)
		w.must(err)
		w.Step(law.StatusLease)
	}
}

// lost asks for a certificate that cannot be stored.
func (w *World) lost(s keyserver.Session) {
	w.Helper()
	w.WhileSigning(func() { w.lose.Store(true) })
	w.Unavailable(w.Certify(s, "fw-zero"))
	w.lose.Store(false)
	w.Keystore.Hook(keystoretest.Hooks{})
	w.Restart()
}

// elsewhere has an issuer elsewhere answer the request of fw-ed.
func (w *World) elsewhere(s keyserver.Session) {
	w.Helper()
	request, err := w.Server.CertificateRequest(w.Context(), w.Caller("ada"), s.ID, "fw-ed")
	w.must(err)
	block, _ := pem.Decode(request)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	w.must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "elsewhere"}, NotBefore: w.Now().Add(-time.Hour), NotAfter: w.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte("elsewhere"),
	}
	root, err := x509.CreateCertificate(rand.Reader, issuer, issuer, key.Public(), key)
	w.must(err)
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: csr.Subject, NotBefore: w.Now().Add(-time.Hour), NotAfter: w.Now().Add(time.Hour), ExtraExtensions: csr.Extensions,
	}, issuer, csr.PublicKey, key)
	w.must(err)
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})...)
	_, err = w.Server.ImportCertificate(w.Context(), w.Caller("ada"), s.ID, "fw-ed", chain)
	w.must(err)
}

// devices is what happens to device certificates: issued, tried again, left alone, refused, replaced and revoked.
func (w *World) devices() {
	w.Helper()
	o := w.Create("olga", 6, nil, "ca")
	issue := func(key, device string) (keyserver.Certificate, error) {
		pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		w.must(err)
		request, made := w.requests[key]
		if !made {
			request, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{SerialNumber: device}}, pair)
			w.must(err)
			w.requests[key] = request
		}
		return w.Server.IssueDevice(w.Context(), w.Caller("olga"), o.ID, "ca", keyserver.DeviceOrder{IdempotencyKey: key, Request: request})
	}
	first, err := issue("1", "SN1")
	w.must(err)
	w.Keystore.Fail(errors.New("no HSM"))
	_, err = issue("2", "SN2")
	w.Unavailable(err)
	_, err = issue("3", "SN3")
	w.Unavailable(err)
	w.Keystore.Hook(keystoretest.Hooks{})
	second, err := issue("2", "SN2")
	w.must(err)
	_, err = issue("4", "SN1")
	w.Refused(err)
	w.ChangeKey("ca", func(k *law.Key) {
		p := *k.Devices
		p.Duplicates = law.DuplicatesReplaced
		k.Devices = &p
	})
	_, err = issue("5", "SN1") // the change has ended the operation
	w.Refused(err)
	o = w.Create("olga", 1, nil, "ca")
	_, err = issue("5", "SN1") // replaces the first
	w.must(err)
	if now, err := w.Server.DeviceCertificate(w.Context(), w.Caller("olga"), first.ID); err != nil || now.Revocation.Code != law.Superseded5280 {
		w.Errorf("the first certificate was not replaced: %+v, %v", now.Revocation, err)
	}
	_, err = w.Server.RevokeDeviceCertificate(w.Context(), w.Caller("olga"), second.ID, "keyCompromise", "lost")
	w.Refused(err)
	_, err = w.Server.RevokeDeviceCertificate(w.Context(), w.Caller("anna"), second.ID, "keyCompromise", "lost")
	w.must(err)
	w.must(w.Server.Beat(w.Context())) // makes the next list
	w.statuses(second)
}

package testkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"

	"golang.org/x/crypto/ocsp"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// Factory is [Hierarchy] with a profile of device certificates on ca-dev: a serial number from the request, P-256, ten
// years, and duplicates by the rule. It is for [Options.World].
func Factory(duplicates law.DuplicateRule) func(*law.Configuration) {
	return func(c *law.Configuration) {
		Hierarchy(c)
		for i := range c.Keys {
			if c.Keys[i].ID == "ca-dev" {
				c.Keys[i].Devices = &law.DeviceProfile{
					Subject: []law.DeviceAttribute{
						{Type: "organization", DeviceField: law.DeviceField{Fixed: "Example"}},
						{Type: "serial-number", DeviceField: law.DeviceField{Pattern: "[A-Z0-9-]+", MaxLength: 20}},
					},
					Identity: "serial-number", Algorithms: []law.Algorithm{law.P256}, Validity: 5 * 365 * 24 * time.Hour,
					KeyUsage: []law.KeyUsage{law.DigitalSignature}, Duplicates: duplicates,
				}
			}
		}
	}
}

// Responding is [Factory] with two keys that sign certificate statuses, status-ca and status-root, which olga sees. See
// [Kit.CertifyResponders].
func Responding(c *law.Configuration) {
	Factory(law.DuplicatesReplaced)(c)
	for _, id := range []law.KeyID{"status-ca", "status-root"} {
		key := Key(id, 2)
		key.Profile = &law.Profile{
			Subject: law.Name{Country: "DE", Organization: "Example", CommonName: string(id)}, Validity: 90 * Day,
			KeyUsage: []law.KeyUsage{law.DigitalSignature}, ExtendedKeyUsage: []string{"OCSPSigning"},
		}
		c.Keys = append(c.Keys, key)
		c.Roles[0].Keys = append(c.Roles[0].Keys, id)
	}
}

// CertifyResponders has root and ca-dev issue their certificates and those of the keys of [Responding]: of status-root by
// root, in a session, and of status-ca by ca-dev, under an operation.
func (k *Kit) CertifyResponders() {
	k.Helper()
	k.Certify("root")
	k.Certify("ca-dev")
	k.Certify("status-root")
	_, err := k.CertificateOrder(k.Lot(1), "status-ca", "responder")
	k.must(err)
}

// Status asks whether a certificate is good, as those do who have been given it.
func (k *Kit) Status(c keyserver.Certificate) (*ocsp.Response, error) {
	k.Helper()
	issuer, err := x509.ParseCertificate(c.Path[1])
	k.must(err)
	return ocsp.ParseResponse(k.Keyserver.CertificateStatus(k.Context(), keyserver.Caller{Request: "outside"}, k.RequestFor(c)).DER, issuer)
}

// RequestFor asks for the status of a certificate.
func (k *Kit) RequestFor(c keyserver.Certificate) []byte {
	k.Helper()
	of, err := x509.ParseCertificate(c.Path[0])
	k.must(err)
	return k.StatusRequest(of.SerialNumber, c.Path[1])
}

// StatusRequest asks for the status of what has the serial number, by the issuer, whose certificate is DER.
func (k *Kit) StatusRequest(serial *big.Int, issuer []byte) []byte {
	k.Helper()
	by, err := x509.ParseCertificate(issuer)
	k.must(err)
	request, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial}, by, nil)
	k.must(err)
	return request
}

// NewDeviceKey makes the key of a device.
func (k *Kit) NewDeviceKey() *ecdsa.PrivateKey {
	k.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.must(err)
	return key
}

// DeviceRequest is the certificate request of a device with that serial number, DER.
func (k *Kit) DeviceRequest(serial string, key crypto.Signer) []byte {
	k.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{SerialNumber: serial}, SignatureAlgorithm: x509.ECDSAWithSHA256,
	}, key)
	k.must(err)
	return der
}

// Lot is an operation of olga's on ca-dev with so many uses, which needs no approval.
func (k *Kit) Lot(uses int) keyserver.Operation {
	k.Helper()
	ask := Ask("ca-dev")
	ask.Keys[0].MaxUses = uses
	return k.Create(ask)
}

// IssueDevice has ca-dev issue the certificate of a device, as olga.
func (k *Kit) IssueDevice(o keyserver.Operation, idempotencyKey string, request []byte) (keyserver.Certificate, error) {
	return k.Keyserver.IssueDevice(k.Context(), k.Caller("olga"), o.ID, "ca-dev", keyserver.DeviceOrder{IdempotencyKey: idempotencyKey, Request: request})
}

package testkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"time"

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

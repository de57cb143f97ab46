package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"example.org/keyserver/internal/law"
)

// Certificate is a certificate as events tell of it. Hashes are SHA-256 in lower-case hex, times ms since 1970, UTC.
type Certificate struct {
	Chain             string             `json:"chain"`           // hash of the certificates above one that was issued elsewhere, DER, one after the other; else empty
	Code              law.RevocationCode `json:"code"`            // why it is revoked; empty while it is not
	Device            string             `json:"device,omitzero"` // identity of the device that it is of; left out of others
	Digest            string             `json:"digest"`          // hash of the certificate, DER; empty until it is issued
	Fingerprint       string             `json:"fingerprint"`     // of the public key in it
	ID                law.CertificateID  `json:"id"`
	Issuer            law.KeyID          `json:"issuer"`            // key that signs it; empty: it was issued elsewhere
	IssuerFingerprint string             `json:"issuerfingerprint"` // of that key's public key
	Key               law.KeyID          `json:"key"`               // that it is of; empty: of a device
	NotAfter          int64              `json:"notafter"`
	NotBefore         int64              `json:"notbefore"`
	Request           string             `json:"request,omitzero"` // hash of the device's certificate request, DER; left out of others
	Serial            string             `json:"serial"`           // lower-case hex
	TBS               string             `json:"tbs"`              // hash of its tbsCertificate, DER (RFC 5280 section 4.1.1.1)
}

// RevocationList is a revocation list as events tell of it. Hashes and times are as in [Certificate].
type RevocationList struct {
	Digest     string `json:"digest"`  // hash of the list, DER; empty until it is issued
	Entries    int64  `json:"entries"` // certificates on it
	NextUpdate int64  `json:"nextupdate"`
	Number     int64  `json:"number"`
	TBS        string `json:"tbs"` // hash of its tbsCertList, DER (RFC 5280 section 5.1.1.1)
	ThisUpdate int64  `json:"thisupdate"`
}

// CertificateOf is a certificate in the form of events.
func CertificateOf(c law.Certificate) *Certificate {
	return &Certificate{
		Chain: hashOf(slices.Concat(c.Chain...)), Code: c.Revocation.Code, Device: c.Device, Digest: hashOf(c.DER), Fingerprint: c.Fingerprint, ID: c.ID, Issuer: c.Issuer,
		IssuerFingerprint: c.IssuerFingerprint, Key: c.Key, NotAfter: c.NotAfter.UnixMilli(), NotBefore: c.NotBefore.UnixMilli(), Request: c.Request, Serial: c.Serial,
		TBS: hashOf(c.TBS),
	}
}

// RevocationListOf is a revocation list in the form of events: what is signed of it, and the list once that is done.
func RevocationListOf(number int64, d law.ListDraft, der []byte) *RevocationList {
	return &RevocationList{
		Digest: hashOf(der), Entries: int64(d.Entries), NextUpdate: d.NextUpdate.UnixMilli(), Number: number, TBS: hashOf(d.TBS),
		ThisUpdate: d.ThisUpdate.UnixMilli(),
	}
}

// hashOf is the hash of bytes, empty if there are none.
func hashOf(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (m *members) certificate(c *Certificate) {
	m.name("certificate")
	m.open()
	m.quoted("chain", c.Chain)
	m.quoted("code", string(c.Code))
	m.text("device", c.Device)
	m.quoted("digest", c.Digest)
	m.quoted("fingerprint", c.Fingerprint)
	m.quoted("id", string(c.ID))
	m.quoted("issuer", string(c.Issuer))
	m.quoted("issuerfingerprint", c.IssuerFingerprint)
	m.quoted("key", string(c.Key))
	m.always("notafter", c.NotAfter)
	m.always("notbefore", c.NotBefore)
	m.text("request", c.Request)
	m.quoted("serial", c.Serial)
	m.quoted("tbs", c.TBS)
	m.close()
}

func (m *members) revocationList(l *RevocationList) {
	m.name("revocationlist")
	m.open()
	m.quoted("digest", l.Digest)
	m.always("entries", l.Entries)
	m.always("nextupdate", l.NextUpdate)
	m.always("number", l.Number)
	m.quoted("tbs", l.TBS)
	m.always("thisupdate", l.ThisUpdate)
	m.close()
}

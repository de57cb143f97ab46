package verify

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"

	"example.org/keyserver/internal/law"
)

func (f *Fold) certificateRow(r Row) error {
	id := r.shown("id")
	c := f.certificates[law.CertificateID(id)]
	switch {
	case c == nil:
		return differs("certificates", id, tooMany)
	case c.seen:
		return differs("certificates", id, twice)
	}
	c.seen = true
	return r.compare("certificates", id, func(column string) want {
		switch column {
		case "id":
			return is(id)
		case "keyid":
			return is(string(c.Key))
		case "device":
			return is(c.Device)
		case "request":
			return is(c.Request)
		case "fingerprint":
			return is(c.Fingerprint)
		case "issuer":
			return is(string(c.Issuer))
		case "issuerfingerprint":
			return is(c.IssuerFingerprint)
		case "serial":
			return is(c.Serial)
		case "notbefore":
			return is(c.NotBefore)
		case "notafter":
			return is(c.NotAfter)
		case "session":
			return is(string(c.session))
		case "operation":
			return is(string(c.operation))
		case "accepted":
			return is(c.accepted)
		}
		return f.certificateResultRow(c, column)
	})
}

func (f *Fold) certificateResultRow(c *certificate, column string) want {
	switch column {
	case "tbs":
		return must(hasHash(c.TBS))
	case "der":
		return must(func(got any) string { return f.uncertified(c, got) })
	case "chain":
		return must(hasHash(c.Chain))
	case "state":
		return is(string(c.state))
	case "lease":
		return is(c.lease)
	case "settled":
		return is(c.settled)
	case "failure":
		return is(c.failure)
	case "revokedat":
		return is(c.revokedAt)
	case "revokedby":
		return is(string(c.revokedBy))
	case "revokedcode":
		return is(string(c.Code))
	case "revokedreason":
		return is(c.revokedReason)
	}
	return want{}
}

// hasHash is the condition that bytes have this SHA-256, or that there are none if it is empty.
func hasHash(hash string) func(any) string {
	return func(got any) string {
		data, ok := got.([]byte)
		sum := sha256.Sum256(data)
		switch {
		case !ok:
			return "it is no sequence of bytes"
		case hash == "" && len(data) == 0, hash == hex.EncodeToString(sum[:]):
			return ""
		}
		return fmt.Sprintf("its SHA-256 is %x, and must be %q", sum, hash)
	}
}

// uncertified says what is wrong with a stored certificate, but for whether its signature verifies, which is found out
// beside.
func (f *Fold) uncertified(c *certificate, got any) string {
	if what := hasHash(c.Digest)(got); what != "" || c.Digest == "" {
		return what
	}
	parsed, err := x509.ParseCertificate(got.([]byte))
	if err != nil {
		return err.Error()
	}
	key := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	switch what := hasHash(c.TBS)(parsed.RawTBSCertificate); {
	case what != "":
		return "what is signed of it is not what was accepted: " + what
	case hex.EncodeToString(key[:]) != c.Fingerprint || parsed.SerialNumber.Text(16) != c.Serial:
		return "its public key or its serial number is another"
	case parsed.NotBefore.UnixMilli() != c.NotBefore || parsed.NotAfter.UnixMilli() != c.NotAfter:
		return "its validity is another"
	case c.Issuer == "":
		return ""
	case (c.Device != "" || f.world.keys[c.Key].Type == law.Firmware) && (parsed.IsCA || parsed.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0):
		return "it is a CA's"
	case c.Device != "" && !namesDevice(parsed, c.Device):
		return fmt.Sprintf("it does not name device %q", c.Device)
	}
	return f.verifies(check{
		table: "certificates", row: string(c.ID), column: "der", publicKey: f.world.ever[c.IssuerFingerprint], signature: parsed.Signature,
		input: law.Input{Hash: c.hash, Scheme: c.scheme},
	}, parsed.RawTBSCertificate, c.input)
}

// namesDevice says whether the device identity is an attribute of the subject or in an alternative name.
func namesDevice(c *x509.Certificate, device string) bool {
	return slices.ContainsFunc(c.Subject.Names, func(a pkix.AttributeTypeAndValue) bool { return a.Value == device }) ||
		slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool {
			return e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) && bytes.Contains(e.Value, []byte(device)) // a hardware module has no name that the library reads
		})
}

// verifies has a signature over data verified beside, and says what is wrong with the digest that the log has of the data.
func (f *Fold) verifies(c check, data []byte, input string) string {
	c.input.Digest = c.input.Hash.Sum(data)
	if hex.EncodeToString(c.input.Digest) != input {
		return "what is signed of it has another digest than was accepted"
	}
	if c.input.Scheme == law.EdDSA {
		c.input.Message = data
	}
	f.signatures.verify(c)
	return ""
}

func (f *Fold) listRow(r Row) error {
	id := r.shown("keyid")
	l := f.lists[law.KeyID(id)]
	switch {
	case l == nil:
		return differs("revocation_lists", id, tooMany)
	case l.seen:
		return differs("revocation_lists", id, twice)
	}
	l.seen = true
	return r.compare("revocation_lists", id, func(column string) want {
		switch column {
		case "keyid":
			return is(id)
		case "fingerprint":
			return is(l.fingerprint)
		case "accepted":
			return is(l.accepted)
		case "lease":
			return is(l.lease)
		case "number":
			return is(l.issued.Number)
		case "entries":
			return is(l.issued.Entries)
		case "thisupdate":
			return is(l.issued.ThisUpdate)
		case "nextupdate":
			return is(l.issued.NextUpdate)
		case "der":
			return must(func(got any) string { return f.unlisted(l, got) })
		}
		return want{}
	})
}

// unlisted says what is wrong with a stored revocation list.
func (f *Fold) unlisted(l *list, got any) string {
	if what := hasHash(l.issued.Digest)(got); what != "" || l.issued.Digest == "" {
		return what
	}
	parsed, err := x509.ParseRevocationList(got.([]byte))
	if err != nil {
		return err.Error()
	}
	switch what := hasHash(l.issued.TBS)(parsed.RawTBSRevocationList); {
	case what != "":
		return "what is signed of it is not what was accepted: " + what
	case parsed.Number == nil || !parsed.Number.IsInt64() || parsed.Number.Int64() != l.issued.Number || int64(len(parsed.RevokedCertificateEntries)) != l.issued.Entries:
		return "its number, or how many certificates are on it, is another"
	}
	c := check{
		table: "revocation_lists", row: string(l.key), column: "der", publicKey: f.world.ever[l.fingerprint], signature: parsed.Signature,
		input: law.Input{Hash: l.hash, Scheme: l.scheme},
	}
	return f.verifies(c, parsed.RawTBSRevocationList, hex.EncodeToString(l.hash.Sum(parsed.RawTBSRevocationList)))
}

// unseenCertificate names a row that is missing.
func (f *Fold) unseenCertificate() error {
	for id, c := range f.certificates {
		if !c.seen {
			return differs("certificates", string(id), missing)
		}
	}
	for id, l := range f.lists {
		if !l.seen {
			return differs("revocation_lists", string(id), missing)
		}
	}
	return nil
}

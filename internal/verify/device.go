package verify

import (
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// device is a device, or its key, to a key pair that issues certificates for it.
type device struct {
	pair
	kind, name string // identity or key, and which
}

func devicesOf(c *audit.Certificate) [2]device {
	p := pair{c.Issuer, c.IssuerFingerprint}
	return [2]device{{p, "identity", c.Device}, {p, "key", c.Fingerprint}}
}

// enterDevice notes whose certificate it is that is being signed.
func (f *Fold) enterDevice(c *certificate) {
	if c.Device == "" {
		return
	}
	for _, d := range devicesOf(&c.Certificate) {
		f.devices[d] = append(f.devices[d], c)
	}
}

// stands says whether a device has the certificate, or can still get it.
func (c *certificate) stands(at int64) bool {
	return c.state != law.CertificateWithheld && c.revokedAt == 0 && at < c.NotAfter
}

// rivals are the certificates that stand beside one, for the same device or the same device key.
func (f *Fold) rivals(c *audit.Certificate, at int64) []*certificate {
	var all []*certificate
	for _, d := range devicesOf(c) {
		for _, other := range f.devices[d] {
			if other.ID != c.ID && other.stands(at) {
				all = append(all, other)
			}
		}
	}
	return all
}

// deviceDrawn checks a device certificate that is to be signed.
func (f *Fold) deviceDrawn(r *order, c *audit.Certificate, at int64) error {
	k := f.world.keys[r.key]
	switch {
	case string(c.ID) != string(r.id) || c.Issuer != r.key || c.IssuerFingerprint != r.fingerprint:
		return breaks("section 3", "sign order %s is for a certificate by its own key", r.id)
	case k.Devices == nil:
		return breaks("section 3", "key %s issues no device certificates", r.key)
	}
	for _, other := range f.world.keys {
		if other.Fingerprint == c.Fingerprint {
			return breaks("section 3", "the key of device %q is key %s of this server", c.Device, other.ID)
		}
	}
	for _, other := range f.rivals(c, at) {
		replaced := k.Devices.Duplicates == law.DuplicatesReplaced && other.Device == c.Device && other.state == law.CertificateIssued
		if !replaced {
			return breaks("section 3", "device %q, or its key, has certificate %s already", c.Device, other.ID)
		}
	}
	return nil
}

// deviceAgain checks a further attempt at a device certificate.
func (f *Fold) deviceAgain(c *certificate, at int64) error {
	k := f.world.keys[c.Issuer]
	if k.Devices == nil || c.revokedAt != 0 || c.NotAfter <= at {
		return breaks("section 3", "device %q gets no such certificate any more", c.Device)
	}
	for _, other := range f.rivals(&c.Certificate, at) {
		if k.Devices.Duplicates != law.DuplicatesReplaced || other.Device != c.Device || other.state != law.CertificateIssued {
			return breaks("section 3", "device %q, or its key, has certificate %s already", c.Device, other.ID)
		}
	}
	return nil
}

// deviceIssued notes which certificates must be revoked at once, since the device has another one now.
func (f *Fold) deviceIssued(c *certificate, e *audit.Event) {
	if c.Device == "" {
		return
	}
	k := f.world.keys[c.Issuer]
	if k.Devices == nil || k.Devices.Duplicates != law.DuplicatesReplaced {
		return
	}
	for _, other := range f.rivals(&c.Certificate, e.Time) {
		if other.Device == c.Device && other.state == law.CertificateIssued {
			f.replacing[other.ID], f.replacedIn = c.ID, e.Batch
		}
	}
}

// allReplaced checks, before an event of another batch and at the end, that what was replaced is revoked.
func (f *Fold) allReplaced(batch string) error {
	for old, by := range f.replacing {
		if batch != f.replacedIn {
			return breaks("section 3", "certificate %s was replaced by %s, and is not revoked", old, by)
		}
	}
	return nil
}

// deviceRevoked checks that a device certificate is revoked: by an administrator, or because it was replaced.
func (f *Fold) deviceRevoked(c *certificate, e *audit.Event) error {
	if _, err := f.known(e, c.Digest, e.Certificate.Code); err != nil {
		return err
	}
	_, final := law.RevocationCodes()[e.Certificate.Code]
	by, replaced := f.replacing[c.ID]
	delete(f.replacing, c.ID)
	switch {
	case c.revokedAt != 0 || c.state == law.CertificateWithheld || !final || e.Key != c.Issuer || string(c.operation) != string(e.Operation):
		return breaks("section 3", "certificate %s is %s, or revoked already, or cannot be revoked like this", c.ID, c.state)
	case replaced && e.Certificate.Code == law.Superseded5280 && e.Reason == "replaced by certificate "+string(by):
	case !f.world.administrators.has(e.Actor.Subject):
		return breaks("section 5", "%q, who is said to have revoked a certificate, is no enabled administrator", e.Actor.Subject)
	}
	f.revoke(c, e)
	return nil
}

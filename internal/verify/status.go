package verify

import (
	"slices"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// answers says whether the key is one that signs certificate statuses: its certificate is for that alone.
func answers(k law.Key) bool { return k.Type == law.Firmware && forStatuses(k) }

func forStatuses(k law.Key) bool {
	return k.Profile != nil && slices.ContainsFunc(k.Profile.ExtendedKeyUsage, func(u string) bool {
		id, err := law.ParseExtendedKeyUsage(u)
		return err == nil && id.String() == "1.3.6.1.5.5.7.3.9"
	})
}

// statusesPermitted checks that a responder key could sign statuses: as an active key for it, by a certificate that is
// valid and that a key of this server has issued.
func (f *Fold) statusesPermitted(e *audit.Event) error {
	k, c := f.world.keys[e.Key], f.certificates[e.Certificate.ID]
	switch {
	case !answers(k) || k.State != law.KeyActive || k.Fingerprint != e.Fingerprint:
		return breaks("section 3", "key %q with fingerprint %s signs no certificate statuses now", e.Key, e.Fingerprint)
	case c == nil || c.Certificate != *e.Certificate || c.state != law.CertificateIssued || c.revokedAt != 0:
		return breaks("section 3", "certificate %s is not issued like this, or is revoked", e.Certificate.ID)
	case c.Key != e.Key || c.Fingerprint != e.Fingerprint || c.Issuer == "":
		return breaks("section 3", "certificate %s is not of key %s, by a key of this server", c.ID, e.Key)
	case e.Time < c.NotBefore || c.NotAfter <= e.Time:
		return breaks("section 3", "certificate %s is not valid at this time", c.ID)
	case e.Count < 1 || e.Count > law.MaxStatuses || e.Lease <= e.Time || e.Lease > e.Time+law.StatusLease.Milliseconds():
		return breaks("section 3", "key %s may not sign %d certificate statuses until %d", e.Key, e.Count, e.Lease)
	}
	return nil
}

package law

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"slices"
)

// The canonical form's objects, their fields in the order of their JSON names (RFC 8785).
type (
	canonicalProfile struct {
		CRLURL           string           `json:"crlurl"`
		ExtendedKeyUsage []string         `json:"extendedkeyusage"`
		Fingerprint      string           `json:"fingerprint"` // of the public key
		Key              KeyID            `json:"keyid"`
		KeyUsage         []KeyUsage       `json:"keyusage"`
		Subject          canonicalSubject `json:"subject"`
		Validity         int64            `json:"validityms"`
	}
	canonicalSubject struct {
		CommonName         string `json:"commonname"`
		Country            string `json:"country"`
		Locality           string `json:"locality"`
		Organization       string `json:"organization"`
		OrganizationalUnit string `json:"organizationalunit"`
		Province           string `json:"province"`
	}
)

// ProfilesDigest names exactly what a CA key can put into the certificates of FW keys: lower-case hex SHA-256 of a JSON
// array, as RFC 8785 orders and writes it, of the FW keys that have a certificate profile, by their ids.
func ProfilesDigest(keys []Key) string {
	all := []canonicalProfile{}
	for _, k := range keys {
		if p := k.Profile; p != nil && k.Type == Firmware {
			n := p.Subject
			all = append(all, canonicalProfile{
				p.CRLURL, p.ExtendedKeyUsage, k.Fingerprint, k.ID, p.KeyUsage,
				canonicalSubject{n.CommonName, n.Country, n.Locality, n.Organization, n.OrganizationalUnit, n.Province}, p.Validity.Milliseconds(),
			})
		}
	}
	slices.SortFunc(all, func(a, b canonicalProfile) int { return cmp.Compare(a.Key, b.Key) })
	form, err := json.Marshal(all)
	if err != nil { // only invalid UTF-8 can do this, and Profile.Check refuses it
		panic(fmt.Sprintf("law: certificate profiles: %v", err))
	}
	sum := sha256.Sum256(form)
	return hex.EncodeToString(sum[:])
}

// profilesFor is what an operation says of the profiles of the FW keys, whose certificates only a CA key issues.
func (f Facts) profilesFor(k Key) string {
	if k.Type != CA {
		return ""
	}
	return f.profiles
}

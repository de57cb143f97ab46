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
		PathLen          int              `json:"pathlen"`
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
// array, as RFC 8785 orders and writes it, of the CA key and then the FW keys that have a certificate profile, by their ids.
func ProfilesDigest(by Key, keys []Key) string {
	all := []canonicalProfile{}
	for _, k := range keys {
		if k.Profile != nil && k.Type == Firmware {
			all = append(all, k.canonicalProfile())
		}
	}
	slices.SortFunc(all, func(a, b canonicalProfile) int { return cmp.Compare(a.Key, b.Key) })
	form, err := json.Marshal(slices.Insert(all, 0, by.canonicalProfile()))
	if err != nil { // only invalid UTF-8 can do this, and Key.Check refuses it
		panic(fmt.Sprintf("law: certificate profiles: %v", err))
	}
	sum := sha256.Sum256(form)
	return hex.EncodeToString(sum[:])
}

func (k Key) canonicalProfile() canonicalProfile {
	var p Profile
	if k.Profile != nil {
		p = *k.Profile
	}
	n := p.Subject
	return canonicalProfile{
		p.CRLURL, p.ExtendedKeyUsage, k.Fingerprint, k.ID, p.KeyUsage, p.PathLen,
		canonicalSubject{n.CommonName, n.Country, n.Locality, n.Organization, n.OrganizationalUnit, n.Province}, p.Validity.Milliseconds(),
	}
}

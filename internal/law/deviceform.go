package law

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"slices"
	"time"
)

// The canonical form's objects, their fields in the order of their JSON names (RFC 8785).
type (
	canonicalDevices struct {
		Algorithms       []Algorithm          `json:"algorithms"`
		CRLURL           string               `json:"crlurl"`
		Duplicates       DuplicateRule        `json:"duplicates"`
		ExtendedKeyUsage []string             `json:"extendedkeyusage"`
		Extensions       []canonicalExtension `json:"extensions"`
		Identity         string               `json:"identity"`
		IssuerURL        string               `json:"issuerurl"`
		KeyUsage         []KeyUsage           `json:"keyusage"`
		Names            []canonicalName      `json:"names"`
		NoExpiry         bool                 `json:"noexpiry"`
		OCSPURL          string               `json:"ocspurl"`
		Policies         []string             `json:"policies"`
		Subject          []canonicalAttribute `json:"subject"`
		Validity         int64                `json:"validityms"`
	}
	canonicalAttribute struct {
		Fixed     string `json:"fixed"`
		MaxLength int    `json:"maxlength"`
		Optional  bool   `json:"optional"`
		Pattern   string `json:"pattern"`
		Type      string `json:"type"`
	}
	canonicalName struct {
		Fixed        string         `json:"fixed"`
		HardwareType string         `json:"hardwaretype"`
		Kind         DeviceNameKind `json:"kind"`
		MaxLength    int            `json:"maxlength"`
		Most         int            `json:"most"`
		Optional     bool           `json:"optional"`
		Pattern      string         `json:"pattern"`
	}
	canonicalExtension struct {
		ID    string `json:"id"`
		Value string `json:"value"` // lower-case hex
	}
)

// Canonical returns the canonical form of a profile that [DeviceProfile.Check] finds nothing wrong with: one JSON
// object as RFC 8785 orders and writes it. All members are always there; lists are never null.
func (p DeviceProfile) Canonical() ([]byte, error) {
	c := canonicalDevices{
		Algorithms: p.Algorithms, CRLURL: p.CRLURL, Duplicates: p.Duplicates, ExtendedKeyUsage: p.ExtendedKeyUsage, Identity: p.Identity,
		IssuerURL: p.IssuerURL, KeyUsage: p.KeyUsage, NoExpiry: p.NoExpiry, OCSPURL: p.OCSPURL, Policies: p.Policies, Validity: p.Validity.Milliseconds(),
	}
	for _, e := range p.Extensions {
		c.Extensions = append(c.Extensions, canonicalExtension{e.ID, hex.EncodeToString(e.Value)})
	}
	for _, n := range p.Names {
		c.Names = append(c.Names, canonicalName{n.Fixed, n.HardwareType, n.Kind, n.MaxLength, n.Most, n.Optional, n.Pattern})
	}
	for _, a := range p.Subject {
		c.Subject = append(c.Subject, canonicalAttribute{a.Fixed, a.MaxLength, a.Optional, a.Pattern, a.Type})
	}
	return json.Marshal(c)
}

// ParseDeviceProfile reads a canonical form back. An unknown member, and anything that could be said in two ways, is
// refused; whether the profile is one that makes sense, [DeviceProfile.Check] says.
func ParseDeviceProfile(canonical []byte) (DeviceProfile, error) {
	var c canonicalDevices
	if err := json.Unmarshal(canonical, &c, json.RejectUnknownMembers(true)); err != nil {
		return DeviceProfile{}, fmt.Errorf("reading a device profile: %w", err)
	}
	p := DeviceProfile{
		Identity: c.Identity, Algorithms: c.Algorithms, Validity: time.Duration(c.Validity) * time.Millisecond, NoExpiry: c.NoExpiry, KeyUsage: c.KeyUsage,
		ExtendedKeyUsage: c.ExtendedKeyUsage, Policies: c.Policies, CRLURL: c.CRLURL, OCSPURL: c.OCSPURL, IssuerURL: c.IssuerURL, Duplicates: c.Duplicates,
	}
	for _, e := range c.Extensions {
		value, err := hex.DecodeString(e.Value)
		if err != nil {
			return DeviceProfile{}, fmt.Errorf("reading a device profile: extension %s: %w", e.ID, err)
		}
		p.Extensions = append(p.Extensions, DeviceExtension{e.ID, value})
	}
	for _, n := range c.Names {
		p.Names = append(p.Names, DeviceName{n.Kind, n.HardwareType, n.Most, DeviceField{n.Fixed, n.Pattern, n.MaxLength, n.Optional}})
	}
	for _, a := range c.Subject {
		p.Subject = append(p.Subject, DeviceAttribute{a.Type, DeviceField{a.Fixed, a.Pattern, a.MaxLength, a.Optional}})
	}
	if again, err := p.Canonical(); err != nil || !bytes.Equal(again, canonical) {
		return DeviceProfile{}, fmt.Errorf("reading a device profile: not in canonical form (RFC 8785)")
	}
	return p, nil
}

// Digest names a profile exactly: lower-case hex SHA-256 of its canonical form. It is empty of one that has none.
func (p DeviceProfile) Digest() string {
	form, err := p.Canonical()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(form)
	return hex.EncodeToString(sum[:])
}

func (p *DeviceProfile) same(o *DeviceProfile) bool {
	if p == nil || o == nil {
		return p == o
	}
	return slices.Equal(p.Subject, o.Subject) && slices.Equal(p.Names, o.Names) && p.Identity == o.Identity && slices.Equal(p.Algorithms, o.Algorithms) &&
		p.Validity == o.Validity && p.NoExpiry == o.NoExpiry && slices.Equal(p.KeyUsage, o.KeyUsage) && slices.Equal(p.ExtendedKeyUsage, o.ExtendedKeyUsage) &&
		slices.Equal(p.Policies, o.Policies) && p.CRLURL == o.CRLURL && p.OCSPURL == o.OCSPURL && p.IssuerURL == o.IssuerURL && p.Duplicates == o.Duplicates &&
		slices.EqualFunc(p.Extensions, o.Extensions, func(a, b DeviceExtension) bool { return a.ID == b.ID && bytes.Equal(a.Value, b.Value) })
}

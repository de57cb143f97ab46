package policy

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/strictyaml"
)

type (
	devicesItem struct {
		// Preset names fields that are filled in when the policy is read. The zero value means that all are said here.
		Preset string `yaml:"preset,omitempty" oneof:"idevid,tls-client-device"`
		// Subject are the attributes of the subject, in their order. At least one.
		Subject []deviceAttributeItem `yaml:"subject"`
		// Names are subject alternative names. The zero value means none.
		Names []deviceNameItem `yaml:"names,omitempty"`
		// Identity is the attribute or the kind of name that names the device. Required but for a preset that says it.
		Identity string `yaml:"identity,omitempty"`
		// Algorithms are those of device keys. Required but for a preset that says it.
		Algorithms []string `yaml:"algorithms,omitempty"`
		// Validity is how long a certificate is valid, whole seconds. Required but for certificates without expiry.
		Validity *strictyaml.Milliseconds `yaml:"validityms,omitempty"`
		// Expiry says that certificates have none. The zero value means that Validity says when.
		Expiry string `yaml:"expiry,omitempty" oneof:"none"`
		// KeyUsage names the bits of the key usage extension. Required but for a preset that says it.
		KeyUsage []string `yaml:"key-usage,omitempty"`
		// ExtendedKeyUsage names extended key usages, or gives their object identifiers. The zero value means none.
		ExtendedKeyUsage []string `yaml:"extended-key-usage,omitempty"`
		// Policies are object identifiers of certificate policies. The zero value means none.
		Policies []string `yaml:"policies,omitempty"`
		// Extensions are others, always the same. The zero value means none.
		Extensions []deviceExtensionItem `yaml:"extensions,omitempty"`
		// CRLURL is where the revocation list is. The zero value means that certificates do not say.
		CRLURL string `yaml:"crl-url,omitempty"`
		// OCSPURL is where the OCSP responder is. The zero value means that certificates do not say.
		OCSPURL string `yaml:"ocsp-url,omitempty"`
		// IssuerURL is where the certificate of the CA key is. The zero value means that certificates do not say.
		IssuerURL string `yaml:"issuer-url,omitempty"`
		// Duplicates says what becomes of a request for a device that has a valid certificate.
		Duplicates string `yaml:"duplicates" oneof:"refuse,same,replace"`
	}

	deviceAttributeItem struct {
		// Attribute is its type, a name or an object identifier.
		Attribute string `yaml:"attribute"`
		// Fixed is its value. The zero value means that it comes from the request.
		Fixed string `yaml:"fixed,omitempty"`
		// Pattern is what the value of the request must match. Required unless it is fixed, and refused then.
		Pattern string `yaml:"pattern,omitempty"`
		// MaxLength is how long the value of the request may be. Required unless it is fixed, and refused then.
		MaxLength int `yaml:"max-length,omitempty"`
		// Presence says whether a request must have it. The zero value means that it must.
		Presence string `yaml:"presence,omitempty" oneof:"required,optional"`
	}

	deviceNameItem struct {
		// Kind is the kind of the name.
		Kind string `yaml:"kind" oneof:"dns,uri,hardware-module"`
		// HardwareType is the type of hardware, of hardware modules alone.
		HardwareType string `yaml:"hardware-type,omitempty"`
		// Fixed is its value, in which {device} stands for the device identity. The zero value means that it comes from the request.
		Fixed string `yaml:"fixed,omitempty"`
		// Pattern is what the value of the request must match. Required unless it is fixed, and refused then.
		Pattern string `yaml:"pattern,omitempty"`
		// MaxLength is how long the value of the request may be. Required unless it is fixed, and refused then.
		MaxLength int `yaml:"max-length,omitempty"`
		// Most is how many of them a request may have. The zero value means one.
		Most *int `yaml:"most,omitempty"`
		// Presence says whether a request must have it. The zero value means that it must.
		Presence string `yaml:"presence,omitempty" oneof:"required,optional"`
	}

	deviceExtensionItem struct {
		// ID is its object identifier.
		ID string `yaml:"id"`
		// Value is its value, DER in hex.
		Value string `yaml:"value"`
	}
)

// preset is what a preset says. Everything else is for whoever writes the policy to say.
func (d devicesItem) preset() (law.DeviceProfile, bool) {
	switch d.Preset {
	case "idevid": // IEEE 802.1AR-2018 sections 8 and 9
		return law.DeviceProfile{
			Identity: "serial-number", Algorithms: []law.Algorithm{law.RSA2048, law.P256, law.P384}, NoExpiry: true, KeyUsage: []law.KeyUsage{law.DigitalSignature},
		}, true
	case "tls-client-device": // RFC 8446 section 4.4.2
		return law.DeviceProfile{
			Algorithms: []law.Algorithm{law.P256, law.P384}, KeyUsage: []law.KeyUsage{law.DigitalSignature}, ExtendedKeyUsage: []string{"clientAuth"},
		}, true
	}
	return law.DeviceProfile{}, false
}

// Fault says what is wrong between the fields of a profile of device certificates.
func (d devicesItem) Fault() string {
	p, _ := d.preset()
	for _, f := range []struct {
		name               string
		by, said, optional bool // said by the preset, said here, need not be said
	}{
		{"identity", p.Identity != "", d.Identity != "", false},
		{"algorithms", len(p.Algorithms) > 0, len(d.Algorithms) > 0, false},
		{"key-usage", len(p.KeyUsage) > 0, len(d.KeyUsage) > 0, false},
		{"validityms", p.NoExpiry, d.Validity != nil || d.Expiry != "", false},
		{"extended-key-usage", len(p.ExtendedKeyUsage) > 0, len(d.ExtendedKeyUsage) > 0, true},
	} {
		switch {
		case f.by && f.said:
			return fmt.Sprintf("`%s` is said by the preset %s; remove it, or write everything out without `preset`", f.name, d.Preset)
		case !f.by && !f.said && !f.optional:
			return fmt.Sprintf("it lacks the field `%s`%s", f.name, choice(f.name == "validityms", "; or say `expiry: none` if certificates are to have none", ""))
		}
	}
	if d.Validity != nil && d.Expiry != "" {
		return "it has `validityms` and `expiry`; say one of them"
	}
	return ""
}

// Fault says what is wrong with the value of an extension.
func (e deviceExtensionItem) Fault() string {
	if value, err := hex.DecodeString(e.Value); err != nil || hex.EncodeToString(value) != e.Value {
		return "`value` must be DER in small hex digits, two for each byte"
	}
	return ""
}

func (d devicesItem) law() *law.DeviceProfile {
	p, preset := d.preset()
	if d.Identity != "" {
		p.Identity = d.Identity
	}
	if len(d.Algorithms) > 0 {
		p.Algorithms = as[law.Algorithm](d.Algorithms)
	}
	if len(d.KeyUsage) > 0 {
		p.KeyUsage = as[law.KeyUsage](d.KeyUsage)
	}
	if len(d.ExtendedKeyUsage) > 0 || !preset {
		p.ExtendedKeyUsage = d.ExtendedKeyUsage
	}
	if d.Validity != nil {
		p.Validity = d.Validity.Duration()
	}
	p.NoExpiry = p.NoExpiry || d.Expiry == "none"
	for _, a := range d.Subject {
		p.Subject = append(p.Subject, law.DeviceAttribute{Type: a.Attribute, DeviceField: law.DeviceField{
			Fixed: a.Fixed, Pattern: a.Pattern, MaxLength: a.MaxLength, Optional: a.Presence == "optional",
		}})
	}
	for _, n := range d.Names {
		p.Names = append(p.Names, n.law())
	}
	for _, e := range d.Extensions {
		value, err := hex.DecodeString(e.Value)
		if err != nil {
			value = nil // which the law refuses
		}
		p.Extensions = append(p.Extensions, law.DeviceExtension{ID: e.ID, Value: value})
	}
	p.Policies, p.CRLURL, p.OCSPURL, p.IssuerURL, p.Duplicates = d.Policies, d.CRLURL, d.OCSPURL, d.IssuerURL, law.DuplicateRule(d.Duplicates)
	return &p
}

func (n deviceNameItem) law() law.DeviceName {
	out := law.DeviceName{Kind: law.DeviceNameKind(n.Kind), HardwareType: n.HardwareType, DeviceField: law.DeviceField{
		Fixed: n.Fixed, Pattern: n.Pattern, MaxLength: n.MaxLength, Optional: n.Presence == "optional",
	}}
	switch {
	case n.Most != nil:
		out.Most = *n.Most
	case n.Fixed == "":
		out.Most = 1
	}
	return out
}

// devices writes a profile of device certificates, always in full.
func (w *writer) devices(p law.DeviceProfile) {
	w.line(2, "devices:")
	w.block(3, "subject", deviceAttributes(p))
	w.block(3, "names", deviceNames(p))
	w.line(3, "identity: %s", scalar(p.Identity))
	list(w, 3, "algorithms", p.Algorithms)
	if p.NoExpiry {
		w.line(3, "expiry: none")
	} else {
		w.line(3, "validityms: %d", p.Validity.Milliseconds())
	}
	list(w, 3, "key-usage", p.KeyUsage)
	list(w, 3, "extended-key-usage", p.ExtendedKeyUsage)
	list(w, 3, "policies", p.Policies)
	w.block(3, "extensions", deviceExtensions(p))
	w.text(3, "crl-url", p.CRLURL)
	w.text(3, "ocsp-url", p.OCSPURL)
	w.text(3, "issuer-url", p.IssuerURL)
	w.line(3, "duplicates: %s", p.Duplicates)
}

// mapping writes the fields that are not empty in one line.
func mapping(fields ...attribute) string {
	var said []string
	for _, f := range fields {
		if f.value != "" {
			said = append(said, f.name+": "+f.value)
		}
	}
	return "{" + strings.Join(said, ", ") + "}"
}

func text(name, value string) attribute {
	if value == "" {
		return attribute{name, ""}
	}
	return attribute{name, scalar(value)}
}

func count(name string, n int) attribute {
	if n == 0 {
		return attribute{name, ""}
	}
	return attribute{name, strconv.Itoa(n)}
}

func deviceField(f law.DeviceField) []attribute {
	return []attribute{text("fixed", f.Fixed), text("pattern", f.Pattern), count("max-length", f.MaxLength), {"presence", choice(f.Optional, "optional", "")}}
}

func deviceAttributes(p law.DeviceProfile) []string {
	var out []string
	for _, a := range p.Subject {
		out = append(out, mapping(slices.Concat([]attribute{text("attribute", a.Type)}, deviceField(a.DeviceField))...))
	}
	return out
}

func deviceNames(p law.DeviceProfile) []string {
	var out []string
	for _, n := range p.Names {
		most := count("most", choice(n.Most != 1, n.Most, 0))
		out = append(out, mapping(slices.Concat([]attribute{text("kind", string(n.Kind)), text("hardware-type", n.HardwareType)}, deviceField(n.DeviceField), []attribute{most})...))
	}
	return out
}

func deviceExtensions(p law.DeviceProfile) []string {
	var out []string
	for _, e := range p.Extensions {
		out = append(out, mapping(text("id", e.ID), text("value", hex.EncodeToString(e.Value))))
	}
	return out
}

// fieldsOfDevices begins with what names a device and with what requests may say.
func fieldsOfDevices(p *law.DeviceProfile) []field {
	const in = "devices."
	if p == nil {
		return absent(fieldsOfDevices(&law.DeviceProfile{}))
	}
	validity := field{name: in + "validityms"}
	if !p.NoExpiry {
		validity = number(validity.name, p.Validity.Milliseconds())
	}
	return []field{
		word(in+"identity", p.Identity), {name: in + "subject", values: deviceAttributes(*p), list: ordered}, {name: in + "names", values: deviceNames(*p), list: ordered},
		word(in+"duplicates", p.Duplicates), words(in+"algorithms", ordered, p.Algorithms), validity, word(in+"expiry", choice(p.NoExpiry, "none", "")),
		words(in+"key-usage", ordered, p.KeyUsage), words(in+"extended-key-usage", ordered, p.ExtendedKeyUsage), words(in+"policies", ordered, p.Policies),
		{name: in + "extensions", values: deviceExtensions(*p), list: ordered}, word(in+"crl-url", p.CRLURL), word(in+"ocsp-url", p.OCSPURL), word(in+"issuer-url", p.IssuerURL),
	}
}

package law

import (
	"encoding/asn1"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// DeviceProfile says what the device certificates (RFC 5280) that a CA key issues hold, and what of it may come from a
// certificate request. Nothing in it has a default, and what it does not name is not in a certificate.
type DeviceProfile struct {
	Subject          []DeviceAttribute // in the order of the name; at least one
	Names            []DeviceName      // subject alternative names
	Identity         string            // what names the device: the type of one of the attributes, or the kind of one of the names
	Algorithms       []Algorithm       // that device keys may have; at least one
	Validity         time.Duration     // whole seconds; zero with NoExpiry
	NoExpiry         bool              // notAfter is 99991231235959Z (IEEE 802.1AR; RFC 5280 section 4.1.2.5)
	KeyUsage         []KeyUsage        // at least one
	ExtendedKeyUsage []string          // names of [ExtendedKeyUsages] or dotted object identifiers
	Policies         []string          // of the certificate policies extension, dotted object identifiers
	Extensions       []DeviceExtension
	CRLURL           string // where the revocation list is; empty: the certificates do not say
	OCSPURL          string // where the OCSP responder is; empty: the certificates do not say
	IssuerURL        string // where the certificate of the CA key is; empty: the certificates do not say
	Duplicates       DuplicateRule
}

// DeviceField is where a value of a certificate comes from: the profile, if Fixed is not empty, else the request.
type DeviceField struct {
	Fixed     string // in a name, [DeviceMark] in it stands for the device identity
	Pattern   string // regular expression (RE2) that the whole value of the request must match
	MaxLength int    // of the value of the request, in characters
	Optional  bool   // a request may leave it out
}

// DeviceMark stands for the device identity in the fixed value of a name.
const DeviceMark = "{device}"

// DeviceAttribute is an attribute of the subject.
type DeviceAttribute struct {
	Type string // one of [DeviceAttributeTypes], or a dotted object identifier
	DeviceField
}

// DeviceName is a subject alternative name. At most one of a kind comes from the request.
type DeviceName struct {
	Kind         DeviceNameKind
	HardwareType string // object identifier of the type of hardware; hardware-module only
	Most         int    // how many a request may have; zero if it is fixed
	DeviceField
}

// DeviceNameKind is a kind of a subject alternative name.
type DeviceNameKind string

const (
	DNSName        DeviceNameKind = "dns"
	URIName        DeviceNameKind = "uri"
	HardwareModule DeviceNameKind = "hardware-module" // otherName hardwareModuleName (RFC 4108 section 5); its value is the serial number
)

// DeviceExtension is an extension with a value that is always the same. It is never critical: a critical one that a
// reader does not know makes the certificate worthless to it.
type DeviceExtension struct {
	ID    string // dotted object identifier
	Value []byte // DER
}

// DuplicateRule says what becomes of a request for a device that has a valid certificate of the same CA key.
type DuplicateRule string

const (
	DuplicatesRefused  DuplicateRule = "refuse"  // there is no second certificate
	DuplicatesSame     DuplicateRule = "same"    // the earlier certificate is the answer, if device key and device identity are the same
	DuplicatesReplaced DuplicateRule = "replace" // the earlier certificate is revoked as superseded, if the device identity is the same
)

// DeviceAttributeTypes are the types of attributes that have a name (RFC 4519).
func DeviceAttributeTypes() map[string]asn1.ObjectIdentifier {
	return map[string]asn1.ObjectIdentifier{
		"common-name": {2, 5, 4, 3}, "serial-number": {2, 5, 4, 5}, "country": {2, 5, 4, 6}, "locality": {2, 5, 4, 7}, "province": {2, 5, 4, 8},
		"organization": {2, 5, 4, 10}, "organizational-unit": {2, 5, 4, 11},
	}
}

// Bounds of a device profile.
const (
	MaxDeviceAttributes = 16
	MaxDeviceNames      = 16  // entries, and names in one certificate
	MaxDeviceExtensions = 16  //
	MaxExtensionValue   = 512 // bytes
	MaxPattern          = 256 // bytes
	MaxDeviceName       = 255 // characters of a subject alternative name
)

// Check returns what is wrong with the profile, nil if nothing is.
func (p DeviceProfile) Check() error {
	for _, check := range []func() error{p.checkSubject, p.checkNames, p.checkIdentity, p.checkUsage, p.checkExtensions} {
		if err := check(); err != nil {
			return err
		}
	}
	switch {
	case p.NoExpiry && p.Validity != 0:
		return fmt.Errorf("it has a validity and no expiry; say one of them")
	case !p.NoExpiry && (p.Validity < time.Second || p.Validity > MaxCertificateValidity || p.Validity%time.Second != 0):
		return fmt.Errorf("its validity must be between 1 second and %d days, in whole seconds, or it must say no expiry", int(MaxCertificateValidity.Hours()/24))
	case !slices.Contains([]DuplicateRule{DuplicatesRefused, DuplicatesSame, DuplicatesReplaced}, p.Duplicates):
		return fmt.Errorf("duplicates %q is unknown; it must be refuse, same or replace", p.Duplicates)
	}
	for _, u := range []struct{ name, url string }{{"the revocation list", p.CRLURL}, {"the OCSP responder", p.OCSPURL}, {"the issuer's certificate", p.IssuerURL}} {
		if u.url != "" && checkURL(u.url) != nil {
			return fmt.Errorf("the URL of %s: %w", u.name, checkURL(u.url))
		}
	}
	return nil
}

func (p DeviceProfile) checkSubject() error {
	if len(p.Subject) == 0 || len(p.Subject) > MaxDeviceAttributes {
		return fmt.Errorf("its subject must have between 1 and %d attributes", MaxDeviceAttributes)
	}
	for i, a := range p.Subject {
		oid, err := ParseDeviceAttribute(a.Type)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.Subject[:i], func(o DeviceAttribute) bool { return o.Type == a.Type }) {
			return fmt.Errorf("attribute %s is named twice", a.Type)
		}
		if err := a.check(attributeBound(oid)); err != nil {
			return fmt.Errorf("attribute %s: %w", a.Type, err)
		}
		if a.Fixed != "" {
			if err := a.Valid(a.Fixed); err != nil {
				return fmt.Errorf("attribute %s: %w", a.Type, err)
			}
		}
	}
	return nil
}

func (p DeviceProfile) checkNames() error {
	if len(p.Names) > MaxDeviceNames {
		return fmt.Errorf("it has %d alternative names; %d are allowed", len(p.Names), MaxDeviceNames)
	}
	most := 0
	for i, n := range p.Names {
		if err := n.checkName(); err != nil {
			return fmt.Errorf("alternative name %s: %w", n.Kind, err)
		}
		for _, o := range p.Names[:i] {
			if o.Kind == n.Kind && (o.Fixed == n.Fixed || n.Kind == HardwareModule) {
				return fmt.Errorf("alternative name %s is named twice; only fixed ones that differ may be", n.Kind)
			}
		}
		most += max(n.Most, 1)
	}
	if most > MaxDeviceNames {
		return fmt.Errorf("certificates could have %d alternative names; %d are allowed", most, MaxDeviceNames)
	}
	return nil
}

func (n DeviceName) checkName() error {
	switch {
	case !slices.Contains([]DeviceNameKind{DNSName, URIName, HardwareModule}, n.Kind):
		return fmt.Errorf("the kind is unknown; it must be dns, uri or hardware-module")
	case n.Kind == HardwareModule && ParseObjectIdentifier(n.HardwareType) == nil:
		return fmt.Errorf("the type of hardware %q is no object identifier", n.HardwareType)
	case n.Kind != HardwareModule && n.HardwareType != "":
		return fmt.Errorf("only a hardware-module has a type of hardware; remove it")
	case n.Fixed == "" && (n.Most < 1 || n.Most > MaxDeviceNames || n.Kind == HardwareModule && n.Most != 1):
		return fmt.Errorf("how many a request may have must be between 1 and %d, and 1 of a hardware-module", MaxDeviceNames)
	case n.Fixed != "" && n.Most != 0:
		return fmt.Errorf("it is fixed, so a request has none; remove how many it may have")
	}
	if err := n.check(MaxDeviceName); err != nil {
		return err
	}
	if n.Fixed != "" {
		return n.Valid(strings.ReplaceAll(n.Fixed, DeviceMark, "x"))
	}
	return nil
}

// check holds the field to its bounds; most is the largest length.
func (d DeviceField) check(most int) error {
	if d.Fixed != "" {
		if d.Pattern != "" || d.MaxLength != 0 || d.Optional {
			return fmt.Errorf("it is fixed, so a request has no say in it; remove pattern, length and optional")
		}
		if utf8.RuneCountInString(d.Fixed) > most {
			return fmt.Errorf("it is longer than %d characters", most)
		}
		return nil
	}
	switch _, err := d.pattern(); {
	case d.Pattern == "":
		return fmt.Errorf("it has neither a fixed value nor a pattern for that of the request; say one")
	case CheckLine(d.Pattern, MaxPattern) != nil:
		return fmt.Errorf("pattern: %w", CheckLine(d.Pattern, MaxPattern))
	case err != nil:
		return err
	case d.MaxLength < 1 || d.MaxLength > most:
		return fmt.Errorf("its largest length must be between 1 and %d characters", most)
	}
	return nil
}

func (d DeviceField) pattern() (*regexp.Regexp, error) {
	// by itself first: one that closes what it has not opened would leave the anchors
	if _, err := regexp.Compile(d.Pattern); err != nil {
		return nil, fmt.Errorf("pattern %q is no regular expression (RE2): %w", d.Pattern, err)
	}
	return regexp.Compile(`\A(?:` + d.Pattern + `)\z`)
}

// passes says whether the profile lets the value of a request through.
func (d DeviceField) passes(value string) error {
	pattern, err := d.pattern()
	switch {
	case err != nil:
		return err
	case d.Fixed != "" || d.Pattern == "":
		return fmt.Errorf("the profile takes none from a request")
	case utf8.RuneCountInString(value) > d.MaxLength:
		return fmt.Errorf("it is %d characters long; the profile allows %d", utf8.RuneCountInString(value), d.MaxLength)
	case !pattern.MatchString(value):
		return fmt.Errorf("%q does not match the pattern %s of the profile", value, d.Pattern)
	}
	return nil
}

// Passes says whether the profile lets the attribute of a request through, nil if it does.
func (a DeviceAttribute) Passes(value string) error {
	if err := a.Valid(value); err != nil {
		return err
	}
	return a.passes(value)
}

// Passes says whether the profile lets the name of a request through, nil if it does.
func (n DeviceName) Passes(value string) error {
	if err := n.Valid(value); err != nil {
		return err
	}
	return n.passes(value)
}

// Valid says whether the attribute can have the value (RFC 5280 appendix A.1), wherever it comes from.
func (a DeviceAttribute) Valid(value string) error {
	oid, err := ParseDeviceAttribute(a.Type)
	if err != nil {
		return err
	}
	if most := attributeBound(oid); utf8.RuneCountInString(value) > most {
		return fmt.Errorf("it is %d characters long; %d are allowed", utf8.RuneCountInString(value), most)
	}
	if err := checkValue(value); err != nil {
		return err
	}
	switch {
	case a.Type == "country" && (len(value) != 2 || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != ""):
		return fmt.Errorf("%q is no country; write two capital letters (ISO 3166)", value)
	case a.Type == "serial-number" && !printableString.MatchString(value):
		return fmt.Errorf("%q has a character that a PrintableString has not; use letters, digits, space and '()+,-./:=?", value)
	}
	return nil
}

// Valid says whether there can be such a name of this kind, wherever it comes from.
func (n DeviceName) Valid(value string) error {
	if len(value) > MaxDeviceName {
		return fmt.Errorf("it is %d characters long; %d are allowed", len(value), MaxDeviceName)
	}
	if err := checkValue(value); err != nil {
		return err
	}
	switch {
	case n.Kind == DNSName && (len(value) > 253 || !hostName.MatchString(value)):
		return fmt.Errorf("%q is no host name; write it in small letters, digits, hyphens and dots, with no wildcard (RFC 5280 section 4.2.1.6)", value)
	case n.Kind == URIName && !absoluteURI.MatchString(value):
		return fmt.Errorf("%q is no absolute URI (RFC 3986), or the host in it is no whole name (RFC 5280 section 4.2.1.6)", value)
	case n.Kind == HardwareModule && !visible.MatchString(value):
		return fmt.Errorf("%q is no serial number; use letters, digits and the signs of ASCII", value)
	}
	return nil
}

// Characters of a URI (RFC 3986), of which the first after the scheme is no slash.
const (
	uriCharacter = `([A-Za-z0-9\-._~:/?#@!$&'()*+,;=]|%[0-9A-F]{2})`
	uriFirst     = `[A-Za-z0-9\-._~@!$&'()*+,;=]`
)

var (
	printableString = regexp.MustCompile(`^[A-Za-z0-9 '()+,\-./:=?]+$`)
	hostName        = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	// without an authority, or with one that is a whole host name (RFC 5280 section 4.2.1.6)
	absoluteURI = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:(//([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?(:[0-9]{1,5})?([/?#]` + uriCharacter + `*)?|` + uriFirst + uriCharacter + `*)$`)
	visible     = regexp.MustCompile(`^[!-~]+( [!-~]+)*$`)
)

// checkValue refuses values that look like others: X.520 compares them without spaces at the ends, and takes several
// in the middle for one.
func checkValue(value string) error {
	if err := CheckLine(value, 4*MaxDeviceName); err != nil {
		return err
	}
	if strings.TrimSpace(value) != value || strings.Contains(value, "  ") {
		return fmt.Errorf("%q has a space at an end, or two in a row; remove it", value)
	}
	return nil
}

// attributeBound is how many characters the value of an attribute may have (RFC 5280 appendix A.1); 64 of those that
// are not in it.
func attributeBound(oid asn1.ObjectIdentifier) int {
	switch oid.String() {
	case "2.5.4.6":
		return 2
	case "2.5.4.7", "2.5.4.8":
		return 128
	}
	return 64
}

// checkIdentity wants the device identity to be in every certificate, once, and to come from the request.
func (p DeviceProfile) checkIdentity() error {
	found := false
	is := func(d DeviceField, once bool) { found = found || d.Fixed == "" && !d.Optional && once }
	for _, a := range p.Subject {
		if a.Type == p.Identity {
			is(a.DeviceField, true)
		}
	}
	for _, n := range p.Names {
		if string(n.Kind) == p.Identity {
			is(n.DeviceField, n.Most == 1)
		}
		if string(n.Kind) == p.Identity && strings.Contains(n.Fixed, DeviceMark) {
			return fmt.Errorf("alternative name %s is the device identity, so none of its kind is made of it", n.Kind)
		}
	}
	if !found {
		return fmt.Errorf("identity %q names no attribute and no alternative name that every request must have once; name the one that names the device", p.Identity)
	}
	return nil
}

func (p DeviceProfile) checkUsage() error {
	if len(p.Algorithms) == 0 {
		return fmt.Errorf("it names no algorithm of device keys; name at least one of %v", Algorithms())
	}
	for i, a := range p.Algorithms {
		if a.Schemes() == nil || slices.Contains(p.Algorithms[:i], a) {
			return fmt.Errorf("algorithm %q is unknown or named twice", a)
		}
	}
	if len(p.KeyUsage) == 0 {
		return fmt.Errorf("it names no key usage")
	}
	for i, u := range p.KeyUsage {
		switch {
		case u == KeyCertSign || u == CRLSign:
			return fmt.Errorf("a device is no CA; remove key usage %s", u)
		case !slices.Contains([]KeyUsage{DigitalSignature, ContentCommitment, KeyEncipherment, KeyAgreement}, u) || slices.Contains(p.KeyUsage[:i], u):
			return fmt.Errorf("key usage %q is unknown or named twice", u)
		}
		for _, a := range p.Algorithms {
			if u == KeyEncipherment && !rsa(a) {
				return fmt.Errorf("a %s key enciphers no keys (RFC 5480 section 3, RFC 8410 section 5); remove key usage %s or the algorithm", a, u)
			}
			if u == KeyAgreement && (rsa(a) || a == Ed25519) {
				return fmt.Errorf("a %s key agrees on no keys (RFC 3279 section 2.3.1, RFC 8410 section 5); remove key usage %s or the algorithm", a, u)
			}
		}
	}
	for i, u := range p.ExtendedKeyUsage {
		oid, err := ParseExtendedKeyUsage(u)
		switch {
		case err != nil:
			return err
		case slices.ContainsFunc(p.ExtendedKeyUsage[:i], func(o string) bool { other, _ := ParseExtendedKeyUsage(o); return oid.Equal(other) }):
			return fmt.Errorf("extended key usage %s is named twice", u)
		case slices.Contains(neverOfDevices, oid.String()):
			return fmt.Errorf("extended key usage %s is not for a device; remove it", u)
		}
	}
	return p.checkConsistent()
}

// checkConsistent wants one of the extended key usages, of those that RFC 5280 section 4.2.1.12 tells of, to go with
// all of the key usage.
func (p DeviceProfile) checkConsistent() error {
	goes := map[string][]KeyUsage{
		"1.3.6.1.5.5.7.3.1": {DigitalSignature, KeyEncipherment, KeyAgreement}, "1.3.6.1.5.5.7.3.2": {DigitalSignature, KeyAgreement},
		"1.3.6.1.5.5.7.3.4": {DigitalSignature, ContentCommitment, KeyEncipherment, KeyAgreement},
	}
	told := false
	for _, u := range p.ExtendedKeyUsage {
		oid, err := ParseExtendedKeyUsage(u)
		with, known := goes[oid.String()]
		if err != nil || !known {
			continue
		}
		told = true
		if !slices.ContainsFunc(p.KeyUsage, func(k KeyUsage) bool { return !slices.Contains(with, k) }) {
			return nil
		}
	}
	if told {
		return fmt.Errorf("key usage %v goes with none of the extended key usages %v (RFC 5280 section 4.2.1.12); remove one of them", p.KeyUsage, p.ExtendedKeyUsage)
	}
	return nil
}

func rsa(a Algorithm) bool { return slices.Contains(a.Schemes(), PKCS1v15) }

// neverOfDevices are the purposes by which a device could speak for more than itself: any, code signing, time stamping,
// and OCSP responses in the name of the CA key.
var neverOfDevices = []string{"2.5.29.37.0", "1.3.6.1.5.5.7.3.3", "1.3.6.1.5.5.7.3.8", "1.3.6.1.5.5.7.3.9"}

func (p DeviceProfile) checkExtensions() error {
	if len(p.Policies)+len(p.Extensions) > MaxDeviceExtensions {
		return fmt.Errorf("it has %d policies and extensions; %d are allowed", len(p.Policies)+len(p.Extensions), MaxDeviceExtensions)
	}
	for i, id := range p.Policies {
		if ParseObjectIdentifier(id) == nil || id == "2.5.29.32.0" || slices.Contains(p.Policies[:i], id) {
			return fmt.Errorf("policy %q is no object identifier of one policy, or is named twice", id)
		}
	}
	for i, e := range p.Extensions {
		var value asn1.RawValue
		rest, err := asn1.Unmarshal(e.Value, &value)
		switch {
		case ParseObjectIdentifier(e.ID) == nil:
			return fmt.Errorf("extension %q is no object identifier", e.ID)
		case slices.ContainsFunc(p.Extensions[:i], func(o DeviceExtension) bool { return o.ID == e.ID }):
			return fmt.Errorf("extension %s is named twice", e.ID)
		case strings.HasPrefix(e.ID, "2.5.29.") || slices.Contains(reservedExtensions, e.ID):
			return fmt.Errorf("extension %s is one that this server makes or that could make a device a CA; remove it", e.ID)
		case len(e.Value) > MaxExtensionValue || err != nil || len(rest) > 0:
			return fmt.Errorf("extension %s: its value must be one value in DER of at most %d bytes", e.ID, MaxExtensionValue)
		}
	}
	return nil
}

// reservedExtensions are authority information access, those of certificate transparency (RFC 6962), of proxy
// certificates (RFC 3820), and the type of certificate of Netscape, by which old readers take a certificate for a CA's.
// All of RFC 5280 section 4.2.1 are reserved besides.
var reservedExtensions = []string{"1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.14", "1.3.6.1.4.1.11129.2.4.2", "1.3.6.1.4.1.11129.2.4.3", "2.16.840.1.113730.1.1"}

// ParseDeviceAttribute returns the object identifier of a type of attributes, named or dotted. One that has a name is
// not dotted.
func ParseDeviceAttribute(s string) (asn1.ObjectIdentifier, error) {
	types := DeviceAttributeTypes()
	if oid, named := types[s]; named {
		return oid, nil
	}
	oid := ParseObjectIdentifier(s)
	if oid == nil {
		return nil, fmt.Errorf("attribute %q is neither a known name nor a dotted object identifier", s)
	}
	for name, o := range types {
		if o.Equal(oid) {
			return nil, fmt.Errorf("attribute %s has a name; write %s", s, name)
		}
	}
	return oid, nil
}

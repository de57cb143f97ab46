package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"example.org/keyserver/internal/law"
)

// MaxDeviceRequest is how long a certificate request of a device may be, in bytes, PEM or DER.
const MaxDeviceRequest = 16 << 10

// DeviceRequest is a certificate request (PKCS #10, RFC 2986) of a device, read: its key is none that is known to be
// weak, and the device has proven that it has the private key. What it asks for is not yet judged.
type DeviceRequest struct {
	DER         []byte
	PublicKey   []byte // SubjectPublicKeyInfo, DER
	Fingerprint string // lower-case hex SHA-256 of PublicKey
	Algorithm   law.Algorithm

	subject    []requestedAttribute
	names      []requestedName
	constraint bool // basic constraints are asked for, as those of no CA
	usage      []law.KeyUsage
	purposes   []asn1.ObjectIdentifier
}

// Digest is the lower-case hex SHA-256 of the request's DER.
func (r DeviceRequest) Digest() string {
	sum := sha256.Sum256(r.DER)
	return hex.EncodeToString(sum[:])
}

type (
	requestedAttribute struct {
		id    asn1.ObjectIdentifier
		value string
	}
	requestedName struct {
		kind     law.DeviceNameKind
		hardware string // type of a hardware module, dotted
		value    string
	}
)

// The parts of a request (RFC 2986 section 4).
type (
	requestDER struct {
		Info      requestInfo
		Algorithm struct {
			ID         asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Signature asn1.BitString
	}
	requestInfo struct {
		Raw        asn1.RawContent
		Version    int
		Subject    []asn1.RawValue
		Key        spki
		Attributes []asn1.RawValue `asn1:"tag:0,set"`
	}
	attributeDER struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	attributesDER struct {
		ID     asn1.ObjectIdentifier
		Values []asn1.RawValue `asn1:"set"`
	}
	extensionDER struct {
		ID       asn1.ObjectIdentifier
		Critical bool `asn1:"optional"`
		Value    []byte
	}
)

var oidExtensionRequest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}

// ParseDeviceRequest reads a certificate request of a device, one block of PEM or DER. It is strict: what is not DER,
// what follows, what nobody here can give and what is not known are refused, each with a sentence. The key is checked
// before its signature is verified, and no more than [MaxDeviceRequest] bytes are looked at, so refusing is cheap.
func ParseDeviceRequest(raw []byte) (DeviceRequest, error) {
	r, err := parseDeviceRequest(raw)
	if err != nil {
		return DeviceRequest{}, fmt.Errorf("the certificate request: %w", err)
	}
	return r, nil
}

func parseDeviceRequest(raw []byte) (DeviceRequest, error) {
	if len(raw) == 0 || len(raw) > MaxDeviceRequest {
		return DeviceRequest{}, fmt.Errorf("it is %d bytes long; between 1 and %d are accepted", len(raw), MaxDeviceRequest)
	}
	der, err := requestFrom(raw)
	if err != nil {
		return DeviceRequest{}, err
	}
	if err := checkDER(der); err != nil {
		return DeviceRequest{}, err
	}
	var parts requestDER
	if rest, err := asn1.Unmarshal(der, &parts); err != nil || len(rest) > 0 {
		return DeviceRequest{}, errors.New("it is no PKCS #10 request (RFC 2986)")
	}
	if parts.Info.Version != 0 {
		return DeviceRequest{}, fmt.Errorf("it has version %d; the only one is 0 (RFC 2986 section 4.1)", parts.Info.Version)
	}
	r := DeviceRequest{DER: bytes.Clone(der), PublicKey: bytes.Clone(parts.Info.Key.Raw)}
	sum := sha256.Sum256(r.PublicKey)
	r.Fingerprint = hex.EncodeToString(sum[:])
	if r.Algorithm, err = parts.Info.Key.checkDeviceKey(); err != nil {
		return DeviceRequest{}, err
	}
	if err := r.readSubject(parts.Info.Subject); err != nil {
		return DeviceRequest{}, err
	}
	if err := r.readAttributes(parts.Info.Attributes); err != nil {
		return DeviceRequest{}, err
	}
	return r, r.checkPossession()
}

// requestFrom returns the DER of a request that may be PEM.
func requestFrom(raw []byte) ([]byte, error) {
	if raw[0] == asn1.TagSequence|0x20 {
		return raw, nil
	}
	block, rest := pem.Decode(raw)
	switch {
	case !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("-----BEGIN ")) || block == nil:
		return nil, errors.New("it is neither DER nor one block of PEM with nothing before it (RFC 7468)")
	case block.Type != RequestPEM && block.Type != "NEW CERTIFICATE REQUEST":
		return nil, fmt.Errorf("its PEM block is a %q; send a %s", block.Type, RequestPEM)
	case len(block.Headers) > 0:
		return nil, errors.New("its PEM block has headers; remove them")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("something follows its PEM block; send one request alone")
	}
	return block.Bytes, nil
}

// checkPossession verifies the signature of the request by its own key.
func (r DeviceRequest) checkPossession() error {
	parsed, err := x509.ParseCertificateRequest(r.DER)
	if err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	allowed := false
	for _, byHash := range signatures {
		for _, a := range byHash {
			allowed = allowed || parsed.SignatureAlgorithm == a
		}
	}
	switch {
	case !allowed:
		return fmt.Errorf("it is signed with %s; sign it with SHA-256, SHA-384 or SHA-512, or Ed25519", parsed.SignatureAlgorithm)
	case parsed.CheckSignature() != nil:
		return errors.New("its signature is not by the key that is in it, so nobody has proven to have that key; sign the request with the device's own key")
	}
	return nil
}

// readSubject reads the subject: each attribute once, each by itself, in a form of text that every reader reads alike.
func (r *DeviceRequest) readSubject(rdns []asn1.RawValue) error {
	if len(rdns) > law.MaxDeviceAttributes {
		return fmt.Errorf("its subject has %d attributes; %d are allowed", len(rdns), law.MaxDeviceAttributes)
	}
	for _, rdn := range rdns {
		var set []attributeDER
		if rest, err := asn1.UnmarshalWithParams(rdn.FullBytes, &set, "set"); err != nil || len(rest) > 0 || len(set) != 1 {
			return errors.New("a part of its subject is not one attribute by itself (RFC 5280 section 4.1.2.4)")
		}
		a := requestedAttribute{id: set[0].ID, value: string(set[0].Value.Bytes)}
		if v := set[0].Value; v.Class != asn1.ClassUniversal || v.Tag != asn1.TagUTF8String && v.Tag != asn1.TagPrintableString {
			return fmt.Errorf("attribute %s of its subject is neither a UTF8String nor a PrintableString (RFC 5280 section 4.1.2.4)", attributeName(a.id))
		} else if v.Tag == asn1.TagPrintableString && !printable(a.value) {
			return fmt.Errorf("attribute %s of its subject has characters that a PrintableString has not", attributeName(a.id))
		}
		if slices.ContainsFunc(r.subject, func(o requestedAttribute) bool { return o.id.Equal(a.id) }) {
			return fmt.Errorf("attribute %s is in its subject twice", attributeName(a.id))
		}
		if err := law.CheckLine(a.value, 4*law.MaxDeviceName); err != nil {
			return fmt.Errorf("attribute %s of its subject: %w", attributeName(a.id), err)
		}
		r.subject = append(r.subject, a)
	}
	return nil
}

// printable says whether a PrintableString can hold the text (X.680 section 41.4).
func printable(s string) bool {
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !bytes.ContainsRune([]byte(" '()+,-./:=?"), rune(c)) {
			return false
		}
	}
	return true
}

// attributeName is how a person knows a type of attributes.
func attributeName(id asn1.ObjectIdentifier) string {
	for name, oid := range law.DeviceAttributeTypes() {
		if oid.Equal(id) {
			return name
		}
	}
	return id.String()
}

// readAttributes reads what else a request has: at most a list of extensions that it asks for (RFC 2985 section 5.4.2).
func (r *DeviceRequest) readAttributes(all []asn1.RawValue) error {
	for i, raw := range all {
		var a attributesDER
		rest, err := asn1.Unmarshal(raw.FullBytes, &a)
		switch {
		case err != nil || len(rest) > 0:
			return errors.New("one of its attributes is none (RFC 2986 section 4.1)")
		case !a.ID.Equal(oidExtensionRequest):
			return fmt.Errorf("it has the attribute %s, and only requested extensions are taken; remove it (a challenge password is 1.2.840.113549.1.9.7)", a.ID)
		case i > 0 || len(a.Values) != 1:
			return errors.New("it asks for extensions in more than one list; put all into one")
		}
		var extensions []extensionDER
		if rest, err := asn1.Unmarshal(a.Values[0].FullBytes, &extensions); err != nil || len(rest) > 0 {
			return errors.New("the extensions that it asks for cannot be read (RFC 5280 section 4.1)")
		}
		if again, err := asn1.Marshal(extensions); err != nil || !bytes.Equal(again, a.Values[0].FullBytes) {
			return errors.New("it is not DER: a default is written out in the extensions that it asks for")
		}
		if err := r.readExtensions(extensions); err != nil {
			return err
		}
	}
	return nil
}

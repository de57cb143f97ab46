package law

import (
	"encoding/asn1"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Profile says what the certificate of a key holds (RFC 5280). Nothing in it has a default.
type Profile struct {
	Subject          Name
	Validity         time.Duration // whole seconds
	PathLen          int           // ROOT and CA keys: how many CA certificates may follow below; FW keys: 0
	KeyUsage         []KeyUsage
	ExtendedKeyUsage []string // names of [ExtendedKeyUsages] or dotted object identifiers; FW keys: at least one
	CRLURL           string   // where the revocation list of the key is, for the certificates that it issues; empty: they do not say
}

// Name is a distinguished name (RFC 5280 section 4.1.2.4). CommonName is required, the rest may be empty.
type Name struct {
	Country, Province, Locality, Organization, OrganizationalUnit, CommonName string
}

// KeyUsage is a bit of the key usage extension, by its name in RFC 5280 section 4.2.1.3.
type KeyUsage string

const (
	DigitalSignature  KeyUsage = "digitalSignature"
	ContentCommitment KeyUsage = "contentCommitment"
	KeyCertSign       KeyUsage = "keyCertSign"
	CRLSign           KeyUsage = "cRLSign"
	KeyEncipherment   KeyUsage = "keyEncipherment" // device certificates only
	KeyAgreement      KeyUsage = "keyAgreement"    // device certificates only
)

// ExtendedKeyUsages are the extended key usages that have a name (RFC 5280 section 4.2.1.12).
func ExtendedKeyUsages() map[string]asn1.ObjectIdentifier {
	return map[string]asn1.ObjectIdentifier{
		"codeSigning": {1, 3, 6, 1, 5, 5, 7, 3, 3}, "timeStamping": {1, 3, 6, 1, 5, 5, 7, 3, 8}, "emailProtection": {1, 3, 6, 1, 5, 5, 7, 3, 4},
		"clientAuth": {1, 3, 6, 1, 5, 5, 7, 3, 2}, "serverAuth": {1, 3, 6, 1, 5, 5, 7, 3, 1}, "OCSPSigning": {1, 3, 6, 1, 5, 5, 7, 3, 9},
	}
}

// Bounds of a profile.
const (
	MaxPathLen             = 5
	MaxCertificateValidity = 50 * 366 * 24 * time.Hour
)

// ParseExtendedKeyUsage returns the object identifier of an extended key usage, named or dotted.
func ParseExtendedKeyUsage(s string) (asn1.ObjectIdentifier, error) {
	if oid, named := ExtendedKeyUsages()[s]; named {
		return oid, nil
	}
	oid := ParseObjectIdentifier(s)
	if oid == nil {
		return nil, fmt.Errorf("extended key usage %q is neither a known name nor a dotted object identifier", s)
	}
	return oid, nil
}

// ParseObjectIdentifier reads a dotted object identifier of at least three arcs, nil if it is none.
func ParseObjectIdentifier(s string) asn1.ObjectIdentifier {
	var oid asn1.ObjectIdentifier
	for arc := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(arc, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != arc {
			return nil
		}
		oid = append(oid, int(n))
	}
	if len(oid) < 3 || len(oid) > 32 || oid[0] > 2 || oid[0] < 2 && oid[1] > 39 {
		return nil
	}
	return oid
}

// Check returns what is wrong with the profile for a key of this type, nil if nothing is.
func (p Profile) Check(of KeyType) error {
	authority := of == Root || of == CA
	has := func(u KeyUsage) bool { return slices.Contains(p.KeyUsage, u) }
	if err := p.Subject.check(); err != nil {
		return err
	}
	switch {
	case p.Validity < time.Second || p.Validity > MaxCertificateValidity || p.Validity%time.Second != 0:
		return fmt.Errorf("its validity must be between 1 second and %d days, in whole seconds", int(MaxCertificateValidity.Hours()/24))
	case authority && (p.PathLen < 0 || p.PathLen > MaxPathLen):
		return fmt.Errorf("its path length must be between 0 and %d", MaxPathLen)
	case !authority && p.PathLen != 0:
		return fmt.Errorf("an %s key issues no certificate; remove the path length", of)
	case len(p.KeyUsage) == 0:
		return fmt.Errorf("it names no key usage")
	case authority && (!has(KeyCertSign) || !has(CRLSign)):
		return fmt.Errorf("a %s key issues certificates and revocation lists; its key usage must name keyCertSign and cRLSign", of)
	case !authority && (has(KeyCertSign) || has(CRLSign) || !has(DigitalSignature)):
		return fmt.Errorf("an %s key signs; its key usage must name digitalSignature, and neither keyCertSign nor cRLSign", of)
	case !authority && len(p.ExtendedKeyUsage) == 0:
		return fmt.Errorf("it names no extended key usage; name what its signatures are for, such as codeSigning")
	case of == Root && len(p.ExtendedKeyUsage) > 0:
		return fmt.Errorf("the certificate of a ROOT key has no extended key usage; remove it")
	case !authority && slices.ContainsFunc(p.ExtendedKeyUsage, signsStatuses) && (len(p.ExtendedKeyUsage) > 1 || len(p.KeyUsage) > 1):
		return fmt.Errorf("a key that signs certificate statuses does nothing else; name extended key usage OCSPSigning and key usage digitalSignature alone")
	case !authority && slices.ContainsFunc(p.ExtendedKeyUsage, signsStatuses) && p.Validity > MaxResponderValidity:
		return fmt.Errorf("nobody can ask whether the certificate of a key that signs certificate statuses is revoked; make its validity at most %d days", int(MaxResponderValidity.Hours()/24))
	case authority && slices.ContainsFunc(p.ExtendedKeyUsage, signsStatuses):
		return fmt.Errorf("with extended key usage OCSPSigning a CA key would vouch for itself: it could say that its own certificate is not revoked; remove it")
	case !authority && p.CRLURL != "":
		return fmt.Errorf("an %s key has no revocation list; remove the URL of one", of)
	}
	for i, u := range p.KeyUsage {
		if !slices.Contains([]KeyUsage{DigitalSignature, ContentCommitment, KeyCertSign, CRLSign}, u) || slices.Contains(p.KeyUsage[:i], u) {
			return fmt.Errorf("key usage %q is unknown or named twice", u)
		}
	}
	for i, u := range p.ExtendedKeyUsage {
		if !authority && has(ContentCommitment) && (u == "codeSigning" || u == "serverAuth" || u == "clientAuth") {
			return fmt.Errorf("key usage contentCommitment does not go with extended key usage %s (RFC 5280 section 4.2.1.12); remove one of them", u)
		}
		if _, err := ParseExtendedKeyUsage(u); err != nil {
			return err
		}
		if slices.Contains(p.ExtendedKeyUsage[:i], u) {
			return fmt.Errorf("extended key usage %s is named twice", u)
		}
	}
	if p.CRLURL != "" {
		if err := checkURL(p.CRLURL); err != nil {
			return fmt.Errorf("the URL of its revocation list: %w", err)
		}
	}
	return nil
}

// checkURL holds a URL to what a certificate can say (RFC 5280 section 4.2.1.6: an IA5String).
func checkURL(u string) error {
	scheme, rest, _ := strings.Cut(u, "://")
	if scheme != "http" && scheme != "https" || rest == "" || strings.HasPrefix(rest, "/") {
		return fmt.Errorf("it must begin with http:// or https:// and a host")
	}
	for _, r := range u {
		if r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r) {
			return fmt.Errorf("it has the character %q; percent-encode it (RFC 3986)", r)
		}
	}
	return CheckLine(u, 500)
}

// check holds the attributes to their upper bounds (RFC 5280 appendix A.1).
func (n Name) check() error {
	if n.CommonName == "" {
		return fmt.Errorf("its subject has no common name")
	}
	for _, a := range []struct {
		name, value string
		most        int
	}{
		{"country", n.Country, 2}, {"province", n.Province, 128}, {"locality", n.Locality, 128}, {"organization", n.Organization, 64},
		{"organizational unit", n.OrganizationalUnit, 64}, {"common name", n.CommonName, 64},
	} {
		if a.value == "" {
			continue
		}
		if err := CheckLine(a.value, a.most); err != nil {
			return fmt.Errorf("%s of its subject: %w", a.name, err)
		}
	}
	if n.Country != "" && (len(n.Country) != 2 || strings.Trim(n.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		return fmt.Errorf("country of its subject: two capital letters (ISO 3166)")
	}
	return nil
}

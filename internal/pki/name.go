package pki

import (
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"unicode"

	"example.org/keyserver/internal/law"
)

// subjectName is the name as X.509 has it. Attributes that are empty are not in it.
func subjectName(n law.Name) pkix.Name {
	list := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	return pkix.Name{
		Country: list(n.Country), Province: list(n.Province), Locality: list(n.Locality),
		Organization: list(n.Organization), OrganizationalUnit: list(n.OrganizationalUnit), CommonName: n.CommonName,
	}
}

// Text is a distinguished name as people read it (RFC 4514): its last attribute first. All of a certificate's name is in
// it, in order, and what cannot be shown is escaped, byte by byte.
func Text(n pkix.Name) string {
	rdns := n.ToRDNSequence()
	if len(n.Names) > 0 { // it was read: what it says, not what the standard library makes of it
		rdns = nil
		for _, a := range n.Names {
			rdns = append(rdns, pkix.RelativeDistinguishedNameSET{a})
		}
	}
	var b strings.Builder
	for _, r := range rdns.String() {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(string(r)) {
			fmt.Fprintf(&b, `\%02X`, c)
		}
	}
	return b.String()
}

// sameName says whether readers take both for one: they compare names without regard to case (RFC 5280 section 7.1).
func sameName(a, b pkix.Name) bool { return strings.EqualFold(Text(a), Text(b)) }

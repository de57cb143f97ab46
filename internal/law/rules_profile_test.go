package law_test

import (
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

func TestAProfileThatNoCertificateCanHoldIsRefused(t *testing.T) {
	const year = 365 * 24 * time.Hour
	authority := law.Profile{
		Subject: law.Name{Country: "DE", Organization: "Example GmbH", CommonName: "Example CA"}, Validity: 10 * year, PathLen: 1,
		KeyUsage: []law.KeyUsage{law.KeyCertSign, law.CRLSign}, CRLURL: "http://crl.example.com/ca%20one.crl?a=b",
	}
	firmware := law.Profile{
		Subject: law.Name{CommonName: "Example Firmware"}, Validity: year, KeyUsage: []law.KeyUsage{law.DigitalSignature}, ExtendedKeyUsage: []string{"codeSigning", "1.3.6.1.4.1.99999.1"},
	}
	for _, good := range []struct {
		law.KeyType
		law.Profile
	}{{law.Root, authority}, {law.CA, authority}, {law.Firmware, firmware}} {
		if err := good.Check(good.KeyType); err != nil {
			t.Errorf("%s: %v", good.KeyType, err)
		}
	}
	for says, is := range map[string]struct {
		law.KeyType
		law.Profile
		change func(*law.Profile)
	}{
		"no common name": {law.CA, authority, func(p *law.Profile) { p.Subject.CommonName = "" }},
		"common name of its subject: it is 65 bytes":    {law.CA, authority, func(p *law.Profile) { p.Subject.CommonName = strings.Repeat("x", 65) }},
		"organization of its subject: it has more":      {law.CA, authority, func(p *law.Profile) { p.Subject.Organization = "a\nb" }},
		"province of its subject: it has the char":      {law.CA, authority, func(p *law.Profile) { p.Subject.Province = "a\u202eb" }},
		"two capital letters":                           {law.CA, authority, func(p *law.Profile) { p.Subject.Country = "de" }},
		"country of its subject: two capital letters":   {law.CA, authority, func(p *law.Profile) { p.Subject.Country = "Ä" }},
		"country of its subject: two capital":           {law.CA, authority, func(p *law.Profile) { p.Subject.Country = "D1" }},
		"its validity must be between 1 second":         {law.CA, authority, func(p *law.Profile) { p.Validity = 0 }},
		"validity must be between":                      {law.CA, authority, func(p *law.Profile) { p.Validity = law.MaxCertificateValidity + time.Second }},
		"in whole seconds":                              {law.CA, authority, func(p *law.Profile) { p.Validity += time.Millisecond }},
		"its path length must be between 0 and 5":       {law.CA, authority, func(p *law.Profile) { p.PathLen = 6 }},
		"path length must be between 0":                 {law.Root, authority, func(p *law.Profile) { p.PathLen = -1 }},
		"remove the path length":                        {law.Firmware, firmware, func(p *law.Profile) { p.PathLen = 1 }},
		"it names no key usage":                         {law.CA, authority, func(p *law.Profile) { p.KeyUsage = nil }},
		"must name keyCertSign and cRLSign":             {law.CA, authority, func(p *law.Profile) { p.KeyUsage = p.KeyUsage[:1] }},
		"neither keyCertSign nor cRLSign":               {law.Firmware, firmware, func(p *law.Profile) { p.KeyUsage = []law.KeyUsage{law.DigitalSignature, law.CRLSign} }},
		"must name digitalSignature":                    {law.Firmware, firmware, func(p *law.Profile) { p.KeyUsage = []law.KeyUsage{law.ContentCommitment} }},
		"is unknown or named twice":                     {law.CA, authority, func(p *law.Profile) { p.KeyUsage = []law.KeyUsage{law.CRLSign, law.KeyCertSign, law.CRLSign} }},
		`key usage "decipherOnly" is unknown`:           {law.CA, authority, func(p *law.Profile) { p.KeyUsage = []law.KeyUsage{law.CRLSign, law.KeyCertSign, "decipherOnly"} }},
		"names no extended key usage":                   {law.Firmware, firmware, func(p *law.Profile) { p.ExtendedKeyUsage = nil }},
		"ROOT key has no extended key usage":            {law.Root, authority, func(p *law.Profile) { p.ExtendedKeyUsage = []string{"codeSigning"} }},
		"neither a known name nor a dotted":             {law.Firmware, firmware, func(p *law.Profile) { p.ExtendedKeyUsage = []string{"codesigning"} }},
		`"1.40.1" is neither a known name nor a dotted`: {law.Firmware, firmware, func(p *law.Profile) { p.ExtendedKeyUsage = []string{"1.40.1"} }},
		"extended key usage codeSigning is named":       {law.Firmware, firmware, func(p *law.Profile) { p.ExtendedKeyUsage = []string{"codeSigning", "codeSigning"} }},
		"contentCommitment does not go with extended":   {law.Firmware, firmware, func(p *law.Profile) { p.KeyUsage = []law.KeyUsage{law.DigitalSignature, law.ContentCommitment} }},
		"remove the URL of one":                         {law.Firmware, firmware, func(p *law.Profile) { p.CRLURL = "http://crl.example.com/fw.crl" }},
		"must begin with http":                          {law.CA, authority, func(p *law.Profile) { p.CRLURL = "ldap://crl.example.com/ca.crl" }},
		"and a host":                                    {law.CA, authority, func(p *law.Profile) { p.CRLURL = "https:///ca.crl" }},
		"has the character ' '; percent-encode it":      {law.CA, authority, func(p *law.Profile) { p.CRLURL = "http://crl.example.com/ca one.crl" }},
		"has the character 'ü'":                         {law.CA, authority, func(p *law.Profile) { p.CRLURL = "http://crl.example.com/ü.crl" }},
		"it is 519 bytes long":                          {law.CA, authority, func(p *law.Profile) { p.CRLURL = "http://example.com/" + strings.Repeat("x", 500) }},
	} {
		p := is.Profile
		is.change(&p)
		if err := p.Check(is.KeyType); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the error is %v; it must say %q", err, says)
		}
	}
}

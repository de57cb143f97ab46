package pki_test

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	zcrypto "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// exceptions are the errors of zlint that certificates here may have, and why. All sources of lints are run: those of the
// public web and mail apply to a private hierarchy only where they say so by themselves, and that is rare.
var exceptions = map[string]string{
	"e_invalid_ca_certificate_policies":        "CA/Browser Forum, CAs for TLS: a private hierarchy has no certificate policies to assert",
	"e_sub_ca_certificate_policies_missing":    "CA/Browser Forum, CAs for TLS: a private hierarchy has no certificate policies to assert",
	"e_sub_ca_crl_distribution_points_missing": "CA/Browser Forum, CAs for TLS: where revocation lists are is as configured, and may be told in another way",
	"e_ca_country_name_missing":                "CA/Browser Forum, CAs for TLS: a common name is enough for a private hierarchy (RFC 5280 wants a name that is not empty)",
	"e_ca_organization_name_missing":           "CA/Browser Forum, CAs for TLS: a common name is enough for a private hierarchy (RFC 5280 wants a name that is not empty)",
	"e_subj_orgunit_in_ca_cert":                "CA/Browser Forum, CAs for TLS: the organizational unit is what the administrators configured",
	"e_signature_algorithm_not_supported":      "CA/Browser Forum, TLS: Ed25519 is in RFC 8410, and not among the algorithms of browsers",
	"e_algorithm_identifier_improper_encoding": "CA/Browser Forum, TLS: Ed25519 is in RFC 8410, and not among the algorithms of browsers",
	"e_mp_ecdsa_signature_encoding_correct":    "Mozilla: the hash is the key's, as configured, and may be another than the one that browsers pair with the curve",
	"e_crl_ecdsa_signature_encoding_correct":   "Mozilla: the hash is the key's, as configured, and may be another than the one that browsers pair with the curve",
	"e_cab_crl_has_valid_reason_code":          "CA/Browser Forum, TLS: cACompromise and aACompromise are reasons in RFC 5280, and not among those of web servers",
}

// lints collects what zlint finds, and which exceptions were of use.
type lints struct{ used map[string]bool }

func (l lints) check(t *testing.T, what string, found *zlint.ResultSet) {
	t.Helper()
	if len(found.Results) == 0 {
		t.Errorf("%s: no lint was run", what)
	}
	for name, r := range found.Results {
		if r.Status < lint.Error {
			continue
		}
		if l.used[name] = true; exceptions[name] == "" || r.Status == lint.Fatal {
			t.Errorf("%s: %s: %s %s", what, name, r.Status, r.Details)
		}
	}
}

func (l lints) certificate(t *testing.T, what string, c *x509.Certificate) {
	t.Helper()
	parsed, err := zcrypto.ParseCertificate(c.Raw)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	l.check(t, what, zlint.LintCertificate(parsed))
}

func TestZlintFindsNoErrorInAnyCertificateOrRevocationList(t *testing.T) {
	l := lints{map[string]bool{}}
	for _, a := range []law.Algorithm{law.RSA2048, law.P256, law.P384, law.P521, law.Ed25519} {
		for _, s := range a.Schemes() {
			made := newHierarchy(t, a, law.SHA256, s)
			for _, is := range []authority{made.root, made.ca, made.lower, made.firmware} {
				l.certificate(t, strings.Join([]string{string(is.ID), string(a), string(s)}, " "), is.certificate)
			}
			for name, list := range map[string]pki.RevocationList{"empty": newList(0), "every reason": newList(len(pki.Reasons()))} {
				d, err := pki.PrepareRevocationList(made.ca.pki(), list)
				parsed, err := zcrypto.ParseRevocationList(made.ca.finish(t, d, err))
				if err != nil {
					t.Fatal(err)
				}
				l.check(t, "revocation list, "+name, zlint.LintRevocationList(parsed))
			}
		}
	}
	for name, change := range atTheEnds {
		root := newRoot(t, newKey(t, "root", law.Root, law.P256, law.SHA256, rootPair).with(change))
		ca := root.issue(t, newKey(t, "ca", law.CA, law.P256, law.SHA256, caPair).with(change))
		firmware := ca.issue(t, newKey(t, "firmware", law.Firmware, law.P256, law.SHA256, firmwarePair).with(change))
		for _, is := range []authority{root, ca, firmware} {
			l.certificate(t, name+", "+string(is.ID), is.certificate)
		}
	}
	for name := range exceptions {
		if !l.used[name] {
			t.Errorf("the exception %s is of no use", name)
		}
	}
}

// atTheEnds are changes of a profile to the ends of what it may say.
var atTheEnds = map[string]func(*law.Profile){
	"only a common name": func(p *law.Profile) { p.Subject, p.CRLURL = law.Name{CommonName: p.Subject.CommonName}, "" },
	"the longest subject": func(p *law.Profile) {
		long := strings.Repeat("Ü", 32)
		p.Subject = law.Name{
			Country: "DE", Province: long + long, Locality: long + long, Organization: long, OrganizationalUnit: long,
			CommonName: p.Subject.CommonName + strings.Repeat("x", 64-len(p.Subject.CommonName)),
		}
	},
	"the shortest validity": func(p *law.Profile) { p.Validity = time.Second },
	"the longest validity":  func(p *law.Profile) { p.Validity = law.MaxCertificateValidity },
	"the longest URL": func(p *law.Profile) {
		if p.CRLURL != "" {
			p.CRLURL += "?" + strings.Repeat("x", 499-len(p.CRLURL))
		}
	},
	"every usage": func(p *law.Profile) {
		p.KeyUsage = append(p.KeyUsage, law.ContentCommitment)
		if len(p.ExtendedKeyUsage) > 0 {
			p.ExtendedKeyUsage = []string{"timeStamping", "emailProtection", "1.3.6.1.4.1.99999.1"}
		}
	},
}

func TestTheDocumentationNamesEveryExceptionWithItsReason(t *testing.T) {
	page, err := os.ReadFile("../../docs/formats/certificates.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		name, rest, is := strings.Cut(strings.TrimPrefix(line, "| `"), "` | ")
		if !is || !strings.HasPrefix(name, "e_") {
			continue
		}
		rows++
		if reason := strings.TrimSuffix(strings.TrimSpace(rest), " |"); reason != exceptions[name] {
			t.Errorf("%s: the page says %q, and the test %q", name, reason, exceptions[name])
		}
	}
	if rows != len(exceptions) {
		t.Errorf("the page has %d exceptions, and the test %d", rows, len(exceptions))
	}
}

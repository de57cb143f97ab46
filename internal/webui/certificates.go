package webui

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

type certificatesPage struct {
	Items []certificateLine
	Keys  []law.Key // that can be chosen
	Key   law.KeyID
	Next  string // address of the next page; empty at the end
	First bool   // nothing stands before
}

// certificateLine is a certificate as it is at a time.
type certificateLine struct {
	keyserver.Certificate
	now time.Time
}

// Standing says what the certificate is worth now.
func (l certificateLine) Standing() string {
	switch {
	case !l.Revocation.At.IsZero():
		return "revoked"
	case l.Valid() && !l.now.Before(l.NotAfter):
		return "expired"
	}
	return string(l.State)
}

// Ends says whether its end has come, or comes soon.
func (l certificateLine) Ends() string { return soon(l.NotAfter, l.now) }

// Who says who issued it.
func (l certificateLine) Who() string {
	switch {
	case l.Issuer == "":
		return "elsewhere"
	case l.SelfSigned():
		return "itself"
	}
	return string(l.Issuer)
}

func showCertificates(s *server, c *call) (view, error) {
	in := c.URL.Query()
	p := certificatesPage{Key: law.KeyID(in.Get("key")), First: in.Get("cursor") == ""}
	page, err := s.Keyserver.Certificates(c.Context(), c.Caller, keyserver.CertificateFilter{Key: p.Key, Page: keyserver.Page{Limit: listed, Cursor: in.Get("cursor")}})
	if err != nil {
		return view{}, err
	}
	now := s.Now()
	for _, one := range page.Certificates {
		p.Items = append(p.Items, certificateLine{one, now})
	}
	if p.Keys, err = s.Keyserver.Keys(c.Context(), c.Caller); err != nil {
		return view{}, err
	}
	if page.Next != "" {
		in.Set("cursor", page.Next)
		p.Next = "/certificates?" + in.Encode()
	}
	return view{page: "certificates", title: "Certificates", section: "certificates", data: p}, nil
}

type certificatePage struct {
	certificateLine
	Fields  []field     // of the certificate itself
	Chain   []chainLine // itself and those above it
	Text    string      // PEM; empty until it is issued
	Revoke  offer
	Codes   []revocationCode
	Code    string // chosen before
	Fresh   bool
	Age     time.Duration
	Again   string
	Said    string
	Refused string
}

type field struct {
	Name, Value string
	Code        bool // it is read letter by letter
}

// chainLine is one certificate of a chain.
type chainLine struct {
	Subject, Issuer, Serial, Fingerprint string
	NotAfter                             time.Time
}

type revocationCode struct {
	Code  law.RevocationCode
	Means string
}

// revocationCodes are the reasons of RFC 5280 section 5.3.1, in its order.
func revocationCodes() []revocationCode {
	means := map[law.RevocationCode]string{
		"unspecified": "no particular reason", "keyCompromise": "somebody else may have the private key", "cACompromise": "somebody else may have the private key of this CA",
		"affiliationChanged": "the name in it is no longer right", "superseded": "another certificate took its place", "cessationOfOperation": "it is no longer needed",
		"privilegeWithdrawn": "its holder may no longer do what it allows", "aACompromise": "an attribute authority was compromised",
	}
	numbers := law.RevocationCodes()
	var all []revocationCode
	for _, code := range slices.SortedFunc(maps.Keys(numbers), func(a, b law.RevocationCode) int { return numbers[a] - numbers[b] }) {
		all = append(all, revocationCode{code, means[code]})
	}
	return all
}

func showCertificate(s *server, c *call) (view, error) { return s.certificateView(c, nil) }

// certificateView is the page of the certificate that the path names, after what was tried on it was refused, if it was.
func (s *server) certificateView(c *call, refused error) (view, error) {
	one, err := s.Keyserver.Certificate(c.Context(), c.Caller, c.certificate())
	if err != nil {
		return view{}, err
	}
	p := &certificatePage{
		certificateLine: certificateLine{one, s.Now()}, Text: one.PEM(), Codes: revocationCodes(), Code: "unspecified",
		Fresh: s.fresh(c), Age: s.age(c), Again: signInAgain(c, true),
	}
	if p.Fields, err = fieldsOf(one); err != nil {
		return view{}, err
	}
	if p.Chain, err = chainOf(one); err != nil {
		return view{}, err
	}
	if one.Revocation.At.IsZero() {
		_, err := one.Revoke(c.Caller.Subject, "unspecified", "reason", c.facts, s.Now())
		p.Revoke = offered("/certificates/"+string(one.ID)+"/revoke", err)
		p.Revoke.Reason = s.typedBefore(c, "/certificates/"+string(one.ID)+"/revoke")
		if r, ok := refusal(err); ok && r.Kind == law.Forbidden {
			p.Revoke.Why = "" // it is not worth saying to everybody
		}
	} else if c.URL.Query().Get("did") == "revoked" {
		p.Said = "The certificate is revoked. The next revocation list of its issuer names it."
	}
	v := view{page: "certificate", title: "Certificate of " + string(one.Key), section: "certificates", data: p}
	if refused != nil {
		t := s.Translate(refused)
		v.status, p.Refused = t.Kind().Status(), sentence(t.Detail)
		p.Revoke.Reason, p.Code = c.reason(), c.form.Get("code")
	}
	return v, nil
}

func (c *call) certificate() law.CertificateID { return law.CertificateID(c.PathValue("certificate")) }

// parsed reads a certificate, also one that has no signature yet.
func parsed(one keyserver.Certificate) (*x509.Certificate, error) {
	if one.DER != nil {
		return x509.ParseCertificate(one.DER)
	}
	return pki.Describe(one.TBS)
}

func fieldsOf(one keyserver.Certificate) ([]field, error) {
	x, err := parsed(one)
	if err != nil {
		return nil, fmt.Errorf("reading certificate %s: %w", one.ID, err)
	}
	all := []field{
		{"Subject", pki.Text(x.Subject), false}, {"Issuer", pki.Text(x.Issuer), false}, {"Serial number", hex.EncodeToString(x.SerialNumber.Bytes()), true},
		{"Signature algorithm", x.SignatureAlgorithm.String(), false}, {"Basic constraints", constraints(x), false},
		{"Key usage", usages(x.KeyUsage), false}, {"Extended key usage", purposes(x), false},
		{"Revocation list", strings.Join(x.CRLDistributionPoints, ", "), false},
		{"Subject key id", hex.EncodeToString(x.SubjectKeyId), true}, {"Authority key id", hex.EncodeToString(x.AuthorityKeyId), true},
		{"Public key", one.Fingerprint, true},
	}
	if one.DER != nil {
		all = append(all, field{"SHA-256 of it", fingerprint(one.DER), true})
	}
	return slices.DeleteFunc(all, func(f field) bool { return f.Value == "" }), nil
}

func chainOf(one keyserver.Certificate) ([]chainLine, error) {
	var chain []chainLine
	for _, der := range one.Path {
		x, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading the chain of certificate %s: %w", one.ID, err)
		}
		chain = append(chain, chainLine{pki.Text(x.Subject), pki.Text(x.Issuer), hex.EncodeToString(x.SerialNumber.Bytes()), fingerprint(der), x.NotAfter})
	}
	return chain, nil
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func constraints(x *x509.Certificate) string {
	switch {
	case !x.IsCA:
		return "not a CA"
	case x.MaxPathLen < 0 || x.MaxPathLen == 0 && !x.MaxPathLenZero:
		return "a CA, with as many CA certificates below as there are"
	case x.MaxPathLen == 0:
		return "a CA, with no CA certificate below"
	}
	return fmt.Sprintf("a CA, with at most %s below", count(x.MaxPathLen, "CA certificate"))
}

// usages are the bits of the key usage by their names in RFC 5280 section 4.2.1.3.
func usages(of x509.KeyUsage) string {
	var names []string
	for i, name := range []string{
		"digitalSignature", "contentCommitment", "keyEncipherment", "dataEncipherment", "keyAgreement", "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly",
	} {
		if of&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// purposes are the extended key usages, by name where they have one.
func purposes(x *x509.Certificate) string {
	known := map[x509.ExtKeyUsage]string{
		x509.ExtKeyUsageAny: "any", x509.ExtKeyUsageServerAuth: "serverAuth", x509.ExtKeyUsageClientAuth: "clientAuth", x509.ExtKeyUsageCodeSigning: "codeSigning",
		x509.ExtKeyUsageEmailProtection: "emailProtection", x509.ExtKeyUsageTimeStamping: "timeStamping", x509.ExtKeyUsageOCSPSigning: "OCSPSigning",
	}
	var names []string
	for _, u := range x.ExtKeyUsage {
		name := known[u]
		if name == "" {
			name = fmt.Sprintf("another (number %d of the standard library)", u)
		}
		names = append(names, name)
	}
	for _, oid := range x.UnknownExtKeyUsage {
		names = append(names, oid.String())
	}
	return strings.Join(names, ", ")
}

func downloadChain(s *server, c *call) (view, error) {
	one, err := s.Keyserver.Certificate(c.Context(), c.Caller, c.certificate())
	if err != nil {
		return view{}, err
	}
	if len(one.Path) == 0 {
		return view{}, &law.Refusal{Kind: law.WrongState, Reason: fmt.Sprintf("the certificate is %s; there is nothing to download", one.State)}
	}
	return view{file: []byte(one.PEM()), media: mediaPEM, name: fileName(string(one.Key), one.Serial+".pem")}, nil
}

func revokeCertificate(s *server, c *call) (view, error) {
	one, err := s.Keyserver.RevokeCertificate(c.Context(), c.Caller, c.certificate(), law.RevocationCode(c.form.Get("code")), c.reason())
	if r, ok := refusal(err); ok && r.Kind != law.NotFound {
		return s.certificateView(c, err)
	}
	if err != nil {
		return view{}, err
	}
	return view{redirect: "/certificates/" + string(one.ID) + "?did=revoked"}, nil
}

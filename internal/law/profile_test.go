package law_test

import (
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

func profileOf(of law.KeyType) law.Profile {
	p := law.Profile{Subject: law.Name{CommonName: "Acme"}, Validity: time.Hour, KeyUsage: []law.KeyUsage{law.KeyCertSign, law.CRLSign}}
	if of == law.Firmware {
		p.KeyUsage, p.ExtendedKeyUsage = []law.KeyUsage{law.DigitalSignature}, []string{"codeSigning"}
	}
	return p
}

func TestTheProfileOfACertificateHasBounds(t *testing.T) {
	for name, c := range map[string]struct {
		of     law.KeyType
		change func(*law.Profile)
		said   string
	}{
		"ROOT":                      {law.Root, func(*law.Profile) {}, ""},
		"CA":                        {law.CA, func(*law.Profile) {}, ""},
		"FW":                        {law.Firmware, func(*law.Profile) {}, ""},
		"shortest validity":         {law.CA, func(p *law.Profile) { p.Validity = time.Second }, ""},
		"validity too short":        {law.CA, func(p *law.Profile) { p.Validity = time.Second - 1 }, "validity must be between"},
		"no validity":               {law.CA, func(p *law.Profile) { p.Validity = 0 }, "validity must be between"},
		"validity backwards":        {law.CA, func(p *law.Profile) { p.Validity = -time.Hour }, "validity must be between"},
		"longest validity":          {law.CA, func(p *law.Profile) { p.Validity = law.MaxCertificateValidity }, ""},
		"validity too long":         {law.CA, func(p *law.Profile) { p.Validity = law.MaxCertificateValidity + time.Second }, "validity must be between"},
		"validity of parts":         {law.CA, func(p *law.Profile) { p.Validity += time.Millisecond }, "whole seconds"},
		"longest path":              {law.Root, func(p *law.Profile) { p.PathLen = law.MaxPathLen }, ""},
		"path too long":             {law.Root, func(p *law.Profile) { p.PathLen = law.MaxPathLen + 1 }, "path length must be between"},
		"path of less than nothing": {law.CA, func(p *law.Profile) { p.PathLen = -1 }, "path length must be between"},
		"path of an FW key":         {law.Firmware, func(p *law.Profile) { p.PathLen = 1 }, "an FW key issues no certificate"},
		"no key usage":              {law.CA, func(p *law.Profile) { p.KeyUsage = nil }, "names no key usage"},
		"CA without keyCertSign":    {law.CA, func(p *law.Profile) { p.KeyUsage = []law.KeyUsage{law.CRLSign} }, "a CA key issues certificates"},
		"ROOT without cRLSign":      {law.Root, func(p *law.Profile) { p.KeyUsage = []law.KeyUsage{law.KeyCertSign} }, "a ROOT key issues certificates"},
		"CA that signs, too":        {law.CA, func(p *law.Profile) { p.KeyUsage = append(p.KeyUsage, law.DigitalSignature) }, ""},
		"FW with keyCertSign":       {law.Firmware, func(p *law.Profile) { p.KeyUsage = append(p.KeyUsage, law.KeyCertSign) }, "an FW key signs"},
		"FW with cRLSign":           {law.Firmware, func(p *law.Profile) { p.KeyUsage = append(p.KeyUsage, law.CRLSign) }, "an FW key signs"},
		"FW without signing":        {law.Firmware, func(p *law.Profile) { p.KeyUsage = []law.KeyUsage{law.ContentCommitment} }, "an FW key signs"},
		"a key usage twice":         {law.Firmware, func(p *law.Profile) { p.KeyUsage = append(p.KeyUsage, law.DigitalSignature) }, "named twice"},
		"a key usage nobody knows":  {law.Firmware, func(p *law.Profile) { p.KeyUsage = append(p.KeyUsage, "x") }, `key usage "x" is unknown`},
		"FW without a purpose":      {law.Firmware, func(p *law.Profile) { p.ExtendedKeyUsage = nil }, "names no extended key usage"},
		"ROOT with a purpose":       {law.Root, func(p *law.Profile) { p.ExtendedKeyUsage = []string{"codeSigning"} }, "ROOT key has no extended key usage"},
		"CA with a purpose":         {law.CA, func(p *law.Profile) { p.ExtendedKeyUsage = []string{"codeSigning"} }, ""},
		"a purpose twice":           {law.CA, func(p *law.Profile) { p.ExtendedKeyUsage = []string{"codeSigning", "codeSigning"} }, "named twice"},
		"a purpose nobody knows":    {law.CA, func(p *law.Profile) { p.ExtendedKeyUsage = []string{"signing"} }, "neither a known name"},
		"statuses":                  {law.Firmware, func(p *law.Profile) { p.ExtendedKeyUsage = []string{"OCSPSigning"} }, ""},
		"statuses by number, and code": {law.Firmware, func(p *law.Profile) { p.ExtendedKeyUsage = append(p.ExtendedKeyUsage, "1.3.6.1.5.5.7.3.9") },
			"does nothing else"},
		"statuses, and commitments": {law.Firmware, func(p *law.Profile) {
			p.ExtendedKeyUsage, p.KeyUsage = []string{"OCSPSigning"}, append(p.KeyUsage, law.ContentCommitment)
		}, "does nothing else"},
		"statuses for longest": {law.Firmware, func(p *law.Profile) {
			p.ExtendedKeyUsage, p.Validity = []string{"OCSPSigning"}, law.MaxResponderValidity
		}, ""},
		"statuses for too long": {law.Firmware, func(p *law.Profile) {
			p.ExtendedKeyUsage, p.Validity = []string{"OCSPSigning"}, law.MaxResponderValidity+time.Second
		}, "at most 366 days"},
		"CA that tells statuses": {law.CA, func(p *law.Profile) {
			p.ExtendedKeyUsage = []string{"clientAuth", "1.3.6.1.5.5.7.3.9"}
		}, "would vouch for itself"},
		"list of an FW key":        {law.Firmware, func(p *law.Profile) { p.CRLURL = "http://x" }, "an FW key has no revocation list"},
		"list":                     {law.CA, func(p *law.Profile) { p.CRLURL = "http://ca.example/crl" }, ""},
		"list over TLS":            {law.CA, func(p *law.Profile) { p.CRLURL = "https://ca.example/crl" }, ""},
		"list in a file":           {law.CA, func(p *law.Profile) { p.CRLURL = "file:///crl" }, "must begin with http"},
		"list at a long address":   {law.CA, func(p *law.Profile) { p.CRLURL = "http://" + strings.Repeat("x", 500) }, "bytes long"},
		"no name":                  {law.CA, func(p *law.Profile) { p.Subject = law.Name{Organization: "Acme"} }, "no common name"},
		"longest name":             {law.CA, func(p *law.Profile) { p.Subject.CommonName = strings.Repeat("x", 64) }, ""},
		"name too long":            {law.CA, func(p *law.Profile) { p.Subject.CommonName = strings.Repeat("x", 65) }, "common name of its subject"},
		"name of two lines":        {law.CA, func(p *law.Profile) { p.Subject.Organization = "a\nb" }, "organization of its subject"},
		"country":                  {law.CA, func(p *law.Profile) { p.Subject.Country = "DE" }, ""},
		"country of one letter":    {law.CA, func(p *law.Profile) { p.Subject.Country = "D" }, "two capital letters"},
		"country in small letters": {law.CA, func(p *law.Profile) { p.Subject.Country = "de" }, "two capital letters"},
		"country that is none":     {law.CA, func(p *law.Profile) { p.Subject.Country = "Germany" }, "country of its subject"},
	} {
		t.Run(name, func(t *testing.T) {
			p := profileOf(c.of)
			c.change(&p)
			wantSaid(t, c.said, p.Check(c.of))
			k := with(key("k", 0), func(k *law.Key) { k.Type, k.Profile = c.of, &p })
			wantSaid(t, c.said, k.Check())
		})
	}
}

func TestAnExtendedKeyUsageIsANameOrAnObjectIdentifier(t *testing.T) {
	for s, want := range map[string]string{
		"codeSigning": "1.3.6.1.5.5.7.3.3", "OCSPSigning": "1.3.6.1.5.5.7.3.9", "1.3.6.1.4.1.311.10.3.6": "1.3.6.1.4.1.311.10.3.6", "2.999.1": "2.999.1", "0.39.1": "0.39.1",
		"": "", "codesigning": "", "1": "", "1.2": "", "3.1.1": "", "1.40.1": "", "1.2.": "", "1..2": "", "1.02.3": "", "1.-2.3": "", "1.2.2147483648": "", " 1.2.3": "",
	} {
		oid, err := law.ParseExtendedKeyUsage(s)
		if (err == nil) != (want != "") || err == nil && oid.String() != want {
			t.Errorf("%q is %s, %v", s, oid, err)
		}
	}
}

package law_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// deviceProfile is a whole one: everything that a profile can say is in it.
func deviceProfile() law.DeviceProfile {
	return law.DeviceProfile{
		Subject: []law.DeviceAttribute{
			{Type: "organization", DeviceField: law.DeviceField{Fixed: "Acme"}},
			{Type: "common-name", DeviceField: law.DeviceField{Pattern: "Pump .*", MaxLength: 64, Optional: true}},
			{Type: "serial-number", DeviceField: law.DeviceField{Pattern: "[A-Z0-9]{6,16}", MaxLength: 16}},
			{Type: "1.3.6.1.4.1.37244.2.1", DeviceField: law.DeviceField{Fixed: "FFF1"}},
		},
		Names: []law.DeviceName{
			{Kind: law.DNSName, DeviceField: law.DeviceField{Fixed: "{device}.devices.example.com"}},
			{Kind: law.DNSName, Most: 2, DeviceField: law.DeviceField{Pattern: `[a-z]+\.local`, MaxLength: 40, Optional: true}},
			{Kind: law.URIName, DeviceField: law.DeviceField{Fixed: "urn:example:{device}"}},
			{Kind: law.HardwareModule, HardwareType: "1.3.6.1.4.1.99999.7", DeviceField: law.DeviceField{Fixed: "{device}"}},
		},
		Identity: "serial-number", Algorithms: []law.Algorithm{law.P256, law.P384}, Validity: time.Hour,
		KeyUsage: []law.KeyUsage{law.DigitalSignature, law.KeyAgreement}, ExtendedKeyUsage: []string{"clientAuth", "1.3.6.1.4.1.99999.1"},
		Policies: []string{"1.3.6.1.4.1.99999.2"}, Extensions: []law.DeviceExtension{{ID: "1.3.6.1.4.1.99999.3", Value: []byte{5, 0}}},
		CRLURL: "http://ca.example/crl", OCSPURL: "http://ca.example/ocsp", IssuerURL: "http://ca.example/ca.cer", Duplicates: law.DuplicatesRefused,
	}
}

func TestADeviceProfileIsReadBackFromItsCanonicalForm(t *testing.T) {
	for name, p := range map[string]law.DeviceProfile{"whole": deviceProfile(), "zero": {}} {
		form, err := p.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		back, err := law.ParseDeviceProfile(form)
		if err != nil || back.Digest() != p.Digest() || name == "whole" && !reflect.DeepEqual(back, p) {
			t.Errorf("%s: %v\n%s\n%+v", name, err, form, back)
		}
		for what, bad := range map[string]string{
			"a member is unknown": strings.Replace(string(form), `{"algorithms"`, `{"a":1,"algorithms"`, 1),
			"a member is missing": strings.Replace(string(form), `"crlurl":"`+p.CRLURL+`",`, "", 1),
			"a space":             strings.Replace(string(form), ":", ": ", 1),
			"another order":       strings.Replace(string(form), `"validityms":`, `"subject":[],"validityms":`, 1),
			"hex in capitals":     strings.Replace(string(form), `"0500"`, `"050G"`, 1) + " ",
		} {
			if _, err := law.ParseDeviceProfile([]byte(bad)); err == nil {
				t.Errorf("%s: %s, and it is read", name, what)
			}
		}
	}
}

// Section 3: a CA key issues device certificates within its profile, and no profile lets a device be more than a device.
func TestADeviceProfileThatNoCertificateShouldHaveIsRefused(t *testing.T) {
	fromRequest := law.DeviceField{Pattern: "x", MaxLength: 1}
	attribute := func(of string, f law.DeviceField) func(*law.DeviceProfile) {
		return func(p *law.DeviceProfile) {
			p.Subject = append(p.Subject, law.DeviceAttribute{Type: of, DeviceField: f})
		}
	}
	alternative := func(n law.DeviceName) func(*law.DeviceProfile) {
		return func(p *law.DeviceProfile) { p.Names = append(p.Names, n) }
	}
	fixed := func(kind law.DeviceNameKind, value string) func(*law.DeviceProfile) {
		return alternative(law.DeviceName{Kind: kind, DeviceField: law.DeviceField{Fixed: value}})
	}
	for name, c := range map[string]struct {
		change func(*law.DeviceProfile)
		said   string
	}{
		"whole":                             {func(*law.DeviceProfile) {}, ""},
		"zero":                              {func(p *law.DeviceProfile) { *p = law.DeviceProfile{} }, "its subject must have between 1 and 16 attributes"},
		"no subject":                        {func(p *law.DeviceProfile) { p.Subject = nil }, "its subject must have between 1"},
		"17 attributes":                     {func(p *law.DeviceProfile) { p.Subject = make([]law.DeviceAttribute, 17) }, "its subject must have between 1"},
		"an attribute nobody knows":         {attribute("name", fromRequest), `attribute "name" is neither a known name nor`},
		"an attribute of two arcs":          {attribute("2.5", fromRequest), `attribute "2.5" is neither`},
		"a known attribute by its number":   {attribute("2.5.4.3", fromRequest), "attribute 2.5.4.3 has a name; write common-name"},
		"an attribute twice":                {attribute("organization", fromRequest), "attribute organization is named twice"},
		"neither fixed nor a pattern":       {attribute("locality", law.DeviceField{}), "it has neither a fixed value nor a pattern"},
		"fixed and a pattern":               {attribute("locality", law.DeviceField{Fixed: "x", Pattern: "x", MaxLength: 1}), "it is fixed, so a request has no say"},
		"fixed and a length":                {attribute("locality", law.DeviceField{Fixed: "x", MaxLength: 1}), "it is fixed, so a request has no say"},
		"fixed and optional":                {attribute("locality", law.DeviceField{Fixed: "x", Optional: true}), "it is fixed, so a request has no say"},
		"no regular expression":             {attribute("locality", law.DeviceField{Pattern: "(", MaxLength: 1}), "is no regular expression (RE2)"},
		"a pattern that leaves its anchors": {attribute("locality", law.DeviceField{Pattern: "a)|(b", MaxLength: 1}), "is no regular expression (RE2)"},
		"a pattern of PCRE":                 {attribute("locality", law.DeviceField{Pattern: "(?=a)", MaxLength: 1}), "is no regular expression (RE2)"},
		"a pattern that is long":            {attribute("locality", law.DeviceField{Pattern: strings.Repeat("a", 257), MaxLength: 1}), "pattern: it is 257 bytes long"},
		"a pattern of two lines":            {attribute("locality", law.DeviceField{Pattern: "a\nb", MaxLength: 1}), "pattern: it has more than one line"},
		"no length":                         {attribute("locality", law.DeviceField{Pattern: "a"}), "its largest length must be between 1 and 128"},
		"a length beyond the bound":         {attribute("locality", law.DeviceField{Pattern: "a", MaxLength: 129}), "its largest length must be between 1 and 128"},
		"a common attribute's bound":        {attribute("organizational-unit", law.DeviceField{Pattern: "a", MaxLength: 65}), "its largest length must be between 1 and 64"},
		"a fixed value beyond the bound":    {attribute("organizational-unit", law.DeviceField{Fixed: strings.Repeat("Ü", 65)}), "it is longer than 64 characters"},
		"the longest fixed value":           {attribute("organizational-unit", law.DeviceField{Fixed: strings.Repeat("Ü", 64)}), ""},
		"a country that is none":            {attribute("country", law.DeviceField{Fixed: "de"}), "is no country"},
		"a fixed value of two lines":        {attribute("locality", law.DeviceField{Fixed: "a\nb"}), "it has more than one line"},
		"a fixed value with a NUL":          {attribute("locality", law.DeviceField{Fixed: "a\x00b"}), "it has the character U+0000"},
		"a space at the end":                {attribute("locality", law.DeviceField{Fixed: "a "}), "has a space at an end"},

		"17 names":                       {func(p *law.DeviceProfile) { p.Names = make([]law.DeviceName, 17) }, "it has 17 alternative names"},
		"17 names in a certificate":      {func(p *law.DeviceProfile) { p.Names[1].Most = 14 }, "certificates could have 17 alternative names"},
		"a kind of names nobody knows":   {alternative(law.DeviceName{Kind: "email"}), "alternative name email: the kind is unknown"},
		"a hardware of no type":          {func(p *law.DeviceProfile) { p.Names[3].HardwareType = "1" }, "the type of hardware \"1\" is no object identifier"},
		"a host name with a hardware":    {func(p *law.DeviceProfile) { p.Names[0].HardwareType = "1.2.3" }, "only a hardware-module has a type of hardware"},
		"none at most":                   {func(p *law.DeviceProfile) { p.Names[1].Most = 0 }, "how many a request may have"},
		"17 at most":                     {func(p *law.DeviceProfile) { p.Names[1].Most = 17 }, "how many a request may have"},
		"two hardware modules":           {func(p *law.DeviceProfile) { p.Names[3].DeviceField, p.Names[3].Most = fromRequest, 2 }, "and 1 of a hardware-module"},
		"a fixed name at most":           {func(p *law.DeviceProfile) { p.Names[0].Most = 1 }, "it is fixed, so a request has none"},
		"a kind from the request twice":  {alternative(law.DeviceName{Kind: law.DNSName, Most: 1, DeviceField: fromRequest}), "alternative name dns is named twice"},
		"a fixed name twice":             {fixed(law.URIName, "urn:example:{device}"), "alternative name uri is named twice"},
		"another hardware module":        {alternative(law.DeviceName{Kind: law.HardwareModule, HardwareType: "1.2.3", DeviceField: law.DeviceField{Fixed: "x"}}), "alternative name hardware-module is named twice"},
		"another fixed name":             {fixed(law.DNSName, "gateway.local"), ""},
		"a wildcard":                     {fixed(law.DNSName, "*.example.com"), "is no host name"},
		"a host name in capitals":        {fixed(law.DNSName, "A.example.com"), "is no host name"},
		"a host name that ends with one": {fixed(law.DNSName, "example.com."), "is no host name"},
		"a label that is long":           {fixed(law.DNSName, strings.Repeat("a", 64)), "is no host name"},
		"a name that is long":            {fixed(law.DNSName, strings.Repeat("a.", 128)), "longer than 255 characters"},
		"a URI with half a host name":    {fixed(law.URIName, "https://device/x"), "the host in it is no whole name"},
		"a URI with no host name":        {fixed(law.URIName, "http:///x"), "the host in it is no whole name"},
		"a URI with a user":              {fixed(law.URIName, "http://a@example.com/"), "the host in it is no whole name"},
		"a URI with a port":              {fixed(law.URIName, "https://example.com:443/x?y#z"), ""},
		"a relative URI":                 {fixed(law.URIName, "/device"), "is no absolute URI"},
		"a URI with a space":             {fixed(law.URIName, "urn:a b"), "is no absolute URI"},
		"a URI that is badly encoded":    {fixed(law.URIName, "urn:%g0"), "is no absolute URI"},
		"a device made of itself":        {func(p *law.DeviceProfile) { p.Identity = "dns"; p.Names[1].Most, p.Names[1].Optional = 1, false }, "so none of its kind is made of it"},
		"no identity":                    {func(p *law.DeviceProfile) { p.Identity = "" }, `identity "" names no attribute`},
		"an identity that is fixed":      {func(p *law.DeviceProfile) { p.Identity = "organization" }, `identity "organization" names no attribute`},
		"an identity that may be absent": {func(p *law.DeviceProfile) { p.Identity = "common-name" }, `identity "common-name" names no attribute`},
		"an identity that is not there":  {func(p *law.DeviceProfile) { p.Identity = "locality" }, `identity "locality" names no attribute`},
		"an identity of several":         {func(p *law.DeviceProfile) { p.Identity, p.Names = "dns", p.Names[1:2]; p.Names[0].Optional = false }, `identity "dns" names no attribute`},
		"an identity that is a name": {func(p *law.DeviceProfile) {
			p.Identity, p.Names = "dns", p.Names[1:2]
			p.Names[0].Optional, p.Names[0].Most = false, 1
		}, ""},

		"no algorithm":              {func(p *law.DeviceProfile) { p.Algorithms = nil }, "it names no algorithm of device keys"},
		"an algorithm nobody knows": {func(p *law.DeviceProfile) { p.Algorithms = []law.Algorithm{"RSA-1024"} }, `algorithm "RSA-1024" is unknown or named twice`},
		"an algorithm twice":        {func(p *law.DeviceProfile) { p.Algorithms = append(p.Algorithms, law.P256) }, "is unknown or named twice"},
		"no key usage":              {func(p *law.DeviceProfile) { p.KeyUsage = nil }, "it names no key usage"},
		"a device that is a CA":     {func(p *law.DeviceProfile) { p.KeyUsage = append(p.KeyUsage, law.KeyCertSign) }, "a device is no CA; remove key usage keyCertSign"},
		"a device that revokes":     {func(p *law.DeviceProfile) { p.KeyUsage = append(p.KeyUsage, law.CRLSign) }, "a device is no CA; remove key usage cRLSign"},
		"a key usage nobody knows":  {func(p *law.DeviceProfile) { p.KeyUsage = append(p.KeyUsage, "decipherOnly") }, `key usage "decipherOnly" is unknown`},
		"a key usage twice":         {func(p *law.DeviceProfile) { p.KeyUsage = append(p.KeyUsage, law.DigitalSignature) }, "is unknown or named twice"},
		"ECDSA that enciphers":      {func(p *law.DeviceProfile) { p.KeyUsage = append(p.KeyUsage, law.KeyEncipherment) }, "a ECDSA-P256 key enciphers no keys"},
		"Ed25519 that agrees":       {func(p *law.DeviceProfile) { p.Algorithms = []law.Algorithm{law.Ed25519} }, "a Ed25519 key agrees on no keys"},
		"RSA that agrees":           {func(p *law.DeviceProfile) { p.Algorithms = []law.Algorithm{law.RSA3072} }, "a RSA-3072 key agrees on no keys"},
		"RSA that enciphers": {func(p *law.DeviceProfile) {
			p.Algorithms, p.KeyUsage, p.ExtendedKeyUsage = []law.Algorithm{law.RSA2048}, []law.KeyUsage{law.KeyEncipherment}, []string{"serverAuth"}
		}, ""},
		"a purpose nobody knows":       {func(p *law.DeviceProfile) { p.ExtendedKeyUsage = []string{"clientauth"} }, "neither a known name"},
		"a purpose twice, two ways":    {func(p *law.DeviceProfile) { p.ExtendedKeyUsage = []string{"clientAuth", "1.3.6.1.5.5.7.3.2"} }, "is named twice"},
		"a device that answers OCSP":   {func(p *law.DeviceProfile) { p.ExtendedKeyUsage = []string{"OCSPSigning"} }, "OCSPSigning is not for a device"},
		"a device that signs code":     {func(p *law.DeviceProfile) { p.ExtendedKeyUsage = []string{"1.3.6.1.5.5.7.3.3"} }, "is not for a device"},
		"a device that stamps time":    {func(p *law.DeviceProfile) { p.ExtendedKeyUsage = []string{"timeStamping"} }, "is not for a device"},
		"a device for everything":      {func(p *law.DeviceProfile) { p.ExtendedKeyUsage = []string{"2.5.29.37.0"} }, "is not for a device"},
		"a client that commits itself": {func(p *law.DeviceProfile) { p.KeyUsage = []law.KeyUsage{law.DigitalSignature, law.ContentCommitment} }, "goes with none of the extended key usages"},
		"a client that deciphers": {func(p *law.DeviceProfile) {
			p.Algorithms, p.KeyUsage = []law.Algorithm{law.RSA2048}, []law.KeyUsage{law.DigitalSignature, law.KeyEncipherment}
		}, "goes with none of the extended key usages"},
		"and is a server": {func(p *law.DeviceProfile) {
			p.Algorithms, p.KeyUsage, p.ExtendedKeyUsage = []law.Algorithm{law.RSA2048}, []law.KeyUsage{law.DigitalSignature, law.KeyEncipherment}, []string{"clientAuth", "serverAuth"}
		}, ""},
		"no purpose that is told of": {func(p *law.DeviceProfile) {
			p.KeyUsage, p.ExtendedKeyUsage = []law.KeyUsage{law.ContentCommitment}, []string{"1.2.3.4"}
		}, ""},
		"no purpose":                 {func(p *law.DeviceProfile) { p.ExtendedKeyUsage = nil }, ""},
		"every policy":               {func(p *law.DeviceProfile) { p.Policies = []string{"2.5.29.32.0"} }, `policy "2.5.29.32.0" is no object identifier of one policy`},
		"a policy twice":             {func(p *law.DeviceProfile) { p.Policies = append(p.Policies, p.Policies...) }, "or is named twice"},
		"a policy in words":          {func(p *law.DeviceProfile) { p.Policies = []string{"high"} }, `policy "high" is no object identifier`},
		"too many extensions":        {func(p *law.DeviceProfile) { p.Extensions = make([]law.DeviceExtension, 16) }, "it has 17 policies and extensions"},
		"an extension in words":      {func(p *law.DeviceProfile) { p.Extensions[0].ID = "x" }, `extension "x" is no object identifier`},
		"an extension twice":         {func(p *law.DeviceProfile) { p.Extensions = append(p.Extensions, p.Extensions[0]) }, "extension 1.3.6.1.4.1.99999.3 is named twice"},
		"basic constraints":          {func(p *law.DeviceProfile) { p.Extensions[0].ID = "2.5.29.19" }, "that this server makes or that could make a device a CA"},
		"an extension of the future": {func(p *law.DeviceProfile) { p.Extensions[0].ID = "2.5.29.99" }, "that this server makes or that could make a device a CA"},
		"authority information":      {func(p *law.DeviceProfile) { p.Extensions[0].ID = "1.3.6.1.5.5.7.1.1" }, "that this server makes or that could make a device a CA"},
		"the type of Netscape":       {func(p *law.DeviceProfile) { p.Extensions[0].ID = "2.16.840.1.113730.1.1" }, "that this server makes or that could make a device a CA"},
		"an extension without value": {func(p *law.DeviceProfile) { p.Extensions[0].Value = nil }, "its value must be one value in DER"},
		"an extension of two values": {func(p *law.DeviceProfile) { p.Extensions[0].Value = []byte{5, 0, 5, 0} }, "its value must be one value in DER"},
		"an extension that is long": {func(p *law.DeviceProfile) {
			p.Extensions[0].Value = append([]byte{4, 0x82, 2, 0}, make([]byte, 512)...)
		}, "of at most 512 bytes"},
		"a TLS feature (RFC 7633)": {func(p *law.DeviceProfile) {
			p.Extensions[0] = law.DeviceExtension{ID: "1.3.6.1.5.5.7.1.24", Value: []byte{0x30, 3, 2, 1, 5}}
		}, ""},

		"no validity":                {func(p *law.DeviceProfile) { p.Validity = 0 }, "its validity must be between"},
		"a validity of parts":        {func(p *law.DeviceProfile) { p.Validity = 1500 * time.Millisecond }, "in whole seconds"},
		"a validity that is long":    {func(p *law.DeviceProfile) { p.Validity = law.MaxCertificateValidity + time.Second }, "its validity must be between"},
		"no expiry":                  {func(p *law.DeviceProfile) { p.Validity, p.NoExpiry = 0, true }, ""},
		"a validity and no expiry":   {func(p *law.DeviceProfile) { p.NoExpiry = true }, "it has a validity and no expiry; say one"},
		"a list in a file":           {func(p *law.DeviceProfile) { p.CRLURL = "file:///crl" }, "the URL of the revocation list"},
		"a responder by no name":     {func(p *law.DeviceProfile) { p.OCSPURL = "http://" }, "URL of the OCSP responder"},
		"an issuer at two lines":     {func(p *law.DeviceProfile) { p.IssuerURL = "http://a\nb" }, "URL of the issuer's certificate"},
		"no rule of duplicates":      {func(p *law.DeviceProfile) { p.Duplicates = "" }, `duplicates "" is unknown; it must be refuse, same or replace`},
		"duplicates that are let in": {func(p *law.DeviceProfile) { p.Duplicates = "allow" }, `duplicates "allow" is unknown`},
	} {
		t.Run(name, func(t *testing.T) {
			p := deviceProfile()
			c.change(&p)
			wantSaid(t, c.said, p.Check())
			k := with(key("k", 0), func(k *law.Key) { k.Type, k.Devices = law.CA, &p })
			wantSaid(t, c.said, k.Check())
		})
	}
}

func TestOnlyCAKeysHaveADeviceProfile(t *testing.T) {
	p := deviceProfile()
	for _, of := range []law.KeyType{law.Root, law.Firmware} {
		k := with(key("k", 0), func(k *law.Key) { k.Type, k.Devices = of, &p })
		wantSaid(t, "only CA keys issue device certificates", k.Check())
	}
}

// The whole value must match, whatever the pattern says of its ends.
func TestAProfileLetsThroughWhatMatchesItsPatternAsAWhole(t *testing.T) {
	of := func(kind, pattern string, most int) law.DeviceAttribute {
		return law.DeviceAttribute{Type: kind, DeviceField: law.DeviceField{Pattern: pattern, MaxLength: most}}
	}
	for _, c := range []struct {
		law.DeviceAttribute
		value, said string
	}{
		{of("serial-number", "[A-Z0-9]{4}", 4), "A1B2", ""},
		{of("serial-number", "[A-Z0-9]{4}", 4), "A1B2C", "it is 5 characters long; the profile allows 4"},
		{of("serial-number", "[A-Z0-9]{4}", 8), "A1B2C", "does not match the pattern"},
		{of("serial-number", "A|B", 8), "AX", "does not match the pattern"},
		{of("serial-number", "^A|B$", 8), "XB", "does not match the pattern"},
		{of("serial-number", "(?m)^A$", 8), "A\nB", "it has more than one line"},
		{of("serial-number", "A.B", 8), "A*B", "has a character that a PrintableString has not"},
		{of("common-name", ".*", 8), "", "it is empty"},
		{of("common-name", ".*", 8), "Über 1", ""},
		{of("common-name", ".*", 8), "a  b", "two in a row"},
		{of("common-name", ".*", 64), strings.Repeat("ü", 64), ""},
		{of("common-name", ".*", 64), strings.Repeat("ü", 65), "65 characters long; 64 are allowed"},
		{of("country", "..", 2), "DE", ""},
		{of("country", "..", 2), "d1", "is no country"},
		{of("common-name", "(", 8), "x", "is no regular expression"},
		{law.DeviceAttribute{Type: "common-name", DeviceField: law.DeviceField{Fixed: "x"}}, "x", "takes none from a request"},
		{law.DeviceAttribute{Type: "common-name"}, "x", "takes none from a request"},
		{law.DeviceAttribute{Type: "x"}, "x", "is neither a known name"},
	} {
		wantSaid(t, c.said, c.Passes(c.value))
	}
	module := law.DeviceName{Kind: law.HardwareModule, HardwareType: "1.2.3", Most: 1, DeviceField: law.DeviceField{Pattern: ".*", MaxLength: 8}}
	for value, said := range map[string]string{"SN 1": "", "SN\u00dc": "is no serial number", " SN": "space at an end", "123456789": "the profile allows 8"} {
		wantSaid(t, said, module.Passes(value))
	}
}

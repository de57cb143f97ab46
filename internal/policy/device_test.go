package policy_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

func devicesOf(t *testing.T, c law.Configuration) law.DeviceProfile {
	t.Helper()
	i := slices.IndexFunc(c.Keys, func(k law.Key) bool { return k.Devices != nil })
	if i < 0 {
		t.Fatal("no key issues device certificates")
	}
	return *c.Keys[i].Devices
}

func TestAPresetIsWrittenOutWhenThePolicyIsRead(t *testing.T) {
	idevid := law.DeviceProfile{
		Subject: []law.DeviceAttribute{
			{Type: "country", DeviceField: law.DeviceField{Fixed: "DE"}}, {Type: "organization", DeviceField: law.DeviceField{Fixed: "Example Instruments"}},
			{Type: "common-name", DeviceField: law.DeviceField{Pattern: "Gateway G[0-9]{3}", MaxLength: 12, Optional: true}},
			{Type: "serial-number", DeviceField: law.DeviceField{Pattern: "[A-Z0-9]{8}", MaxLength: 8}},
		},
		Names:    []law.DeviceName{{Kind: law.HardwareModule, HardwareType: "1.3.6.1.4.1.99999.7", DeviceField: law.DeviceField{Fixed: "{device}"}}},
		Identity: "serial-number", Algorithms: []law.Algorithm{law.RSA2048, law.P256, law.P384}, NoExpiry: true, KeyUsage: []law.KeyUsage{law.DigitalSignature},
		CRLURL: "http://keyserver.example.com/crl/ca-gateway.crl", Duplicates: law.DuplicatesRefused,
	}
	if got := devicesOf(t, parsed(t, example(t))); !reflect.DeepEqual(got, idevid) {
		t.Errorf("%+v\nwant\n%+v", got, idevid)
	}
	text := strings.Replace(example(t), "preset: idevid", "preset: tls-client-device\n      identity: serial-number\n      validityms: 3600000", 1)
	tls := idevid
	tls.Algorithms, tls.NoExpiry, tls.Validity, tls.ExtendedKeyUsage = []law.Algorithm{law.P256, law.P384}, false, time.Hour, []string{"clientAuth"}
	if got := devicesOf(t, parsed(t, text)); !reflect.DeepEqual(got, tls) {
		t.Errorf("%+v\nwant\n%+v", got, tls)
	}
	if strings.Contains(string(policy.Write(parsed(t, text))), "preset") {
		t.Error("a preset is written")
	}
}

func TestADeviceProfileThatIsNotWhatItMustBeIsRefusedWithTheLine(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"preset: idevid", "preset: idev", "`preset` must be idevid or tls-client-device"},
		{"preset: idevid", "copy: all", "unknown field `copy`"},
		{"preset: idevid", "policies: [1.2.3]", "`devices`: it lacks the field `identity`"},
		{"preset: idevid", "identity: serial-number", "`devices`: it lacks the field `algorithms`"},
		{"preset: idevid", "identity: serial-number\n      algorithms: [ECDSA-P256]", "`devices`: it lacks the field `key-usage`"},
		{"preset: idevid", "identity: serial-number\n      algorithms: [ECDSA-P256]\n      key-usage: [digitalSignature]", "it lacks the field `validityms`; or say `expiry: none`"},
		{"preset: idevid", "preset: tls-client-device", "`devices`: it lacks the field `identity`"},
		{"preset: idevid", "preset: idevid\n      identity: serial-number", "`identity` is said by the preset idevid; remove it"},
		{"preset: idevid", "preset: idevid\n      algorithms: [RSA-4096]", "`algorithms` is said by the preset idevid; remove it"},
		{"preset: idevid", "preset: idevid\n      validityms: 1000", "`validityms` is said by the preset idevid; remove it"},
		{"preset: idevid", "preset: idevid\n      expiry: none", "`validityms` is said by the preset idevid; remove it"},
		{"preset: idevid", "preset: idevid\n      expiry: never", "`expiry` must be none"},
		{"preset: idevid", "preset: tls-client-device\n      identity: serial-number\n      validityms: 1000\n      expiry: none", "it has `validityms` and `expiry`; say one of them"},
		{"preset: idevid", "preset: tls-client-device\n      identity: serial-number\n      validityms: 1000\n      extended-key-usage: [serverAuth]", "`extended-key-usage` is said by the preset tls-client-device"},
		{"preset: idevid", "preset: idevid\n      extensions: [{id: 1.2.3.4, value: \"05\"}]", "extension 1.2.3.4: its value must be one value in DER"},
		{"preset: idevid", "preset: idevid\n      extensions: [{id: 1.2.3.4, value: 0C00}]", "`value` must be DER in small hex digits"},
		{"preset: idevid", "preset: idevid\n      extensions: [{id: 1.2.3.4, value: 0500, critical: true}]", "unknown field `critical`"},
		{"preset: idevid", "preset: idevid\n      extended-key-usage: [OCSPSigning]", "OCSPSigning is not for a device"},
		{"      duplicates: refuse\n", "", "`devices` lacks the field `duplicates`"},
		{"duplicates: refuse", "duplicates: allow", "`duplicates` must be refuse, same or replace"},
		{"attribute: serial-number, ", "", "entry 4 of `subject` lacks the field `attribute`"},
		{`pattern: "[A-Z0-9]{8}", `, "", "attribute serial-number: it has neither a fixed value nor a pattern"},
		{", max-length: 8}", "}", "attribute serial-number: its largest length must be between 1 and 64"},
		{", max-length: 8}", ", max-length: 8, presence: optional}", `identity "serial-number" names no attribute`},
		{", max-length: 8}", ", max-length: 8, presence: maybe}", "`presence` must be required or optional"},
		{`fixed: "{device}"}`, `fixed: "{device}", most: 1}`, "it is fixed, so a request has none"},
		{`fixed: "{device}"}`, `pattern: "x", max-length: 1, most: 0}`, "how many a request may have must be between 1"},
		{`fixed: "{device}"}`, `fixed: ""}`, "`fixed` is empty"},
		{"hardware-type: 1.3.6.1.4.1.99999.7, ", "", "the type of hardware \"\" is no object identifier"},
		{"type: CA\n", "type: FW\n", "only CA keys issue device certificates"},
	} {
		text := strings.Replace(example(t), c.old, c.new, 1)
		if c.old == "type: CA\n" {
			text = strings.Replace(text, "      path-length: 0\n      key-usage: [keyCertSign, cRLSign]\n      crl-url: http://keyserver.example.com/crl/ca-gateway.crl\n", "      key-usage: [digitalSignature]\n      extended-key-usage: [codeSigning]\n", 1)
		}
		_, err := policy.Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%q: %v, want %q", c.new, err, c.want)
		}
	}
}

func TestADifferenceOfADeviceProfileIsToldFieldByField(t *testing.T) {
	got := difference(t,
		"preset: idevid", "identity: serial-number\n      algorithms: [ECDSA-P256, ECDSA-P384]\n      key-usage: [digitalSignature]\n      validityms: 3600000",
		`pattern: "[A-Z0-9]{8}"`, `pattern: ".*"`,
		"duplicates: refuse", "duplicates: same",
		`      names:
        - {kind: hardware-module, hardware-type: 1.3.6.1.4.1.99999.7, fixed: "{device}"}
`, "",
	)
	const want = `~ changed key ca-gateway
    devices.subject: + {attribute: serial-number, pattern: ".*", max-length: 8}, - {attribute: serial-number, pattern: "[A-Z0-9]{8}", max-length: 8}
    - devices.names: {kind: hardware-module, hardware-type: "1.3.6.1.4.1.99999.7", fixed: "{device}"}
    devices.duplicates: refuse → same
    devices.algorithms: - RSA-2048
    + devices.validityms: 3600000
    - devices.expiry: none
`
	if got != want {
		t.Errorf("told:\n%s\nwant:\n%s", got, want)
	}
}

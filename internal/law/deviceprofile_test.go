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

func TestADeviceProfileMakesSense(t *testing.T) {
	if err := deviceProfile().Check(); err != nil {
		t.Error(err)
	}
}

package audit_test

import (
	"encoding/json/jsontext"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

func someConfiguration() law.Configuration {
	key := law.Key{
		ID: "fw-prod", Type: law.Firmware, Algorithm: law.P256, Hash: law.SHA256, Schemes: []law.Scheme{law.ECDSA}, Requirement: law.Require(0),
		MaxValidity: 36 * time.Hour, MaxUses: 100, Approvals: law.SessionApprovals, ArtifactsNeeded: true, State: law.KeyActive, Keystore: "software",
		Version: 2, Handle: "fw-prod.2", PublicKey: []byte{0x30, 0}, Fingerprint: digest("spki"), Adopted: "pkcs11:object=fw", MayLeave: true,
		Profile: &law.Profile{Subject: law.Name{CommonName: "fw"}, Validity: time.Hour, KeyUsage: []law.KeyUsage{law.DigitalSignature}, ExtendedKeyUsage: []string{"codeSigning"}},
	}
	never := key
	never.ID, never.Requirement = "nobody", law.Requirement{} // met by nobody, which is not Require(0)
	key.Devices = &law.DeviceProfile{
		Subject:    []law.DeviceAttribute{{Type: "serial-number", DeviceField: law.DeviceField{Pattern: "[A-Z0-9]+", MaxLength: 16}}},
		Names:      []law.DeviceName{{Kind: law.DNSName, DeviceField: law.DeviceField{Fixed: "{device}.example.com"}}},
		Identity:   "serial-number",
		Algorithms: []law.Algorithm{law.P256}, NoExpiry: true, KeyUsage: []law.KeyUsage{law.DigitalSignature}, ExtendedKeyUsage: []string{"clientAuth"}, Policies: []string{"2.999.1"},
		Extensions: []law.DeviceExtension{{ID: "1.3.6.1.4.1.99999.1", Value: []byte{5, 0}}}, Duplicates: law.DuplicatesSame,
	}
	key.Attributes = &law.KeyAttributes{Local: true, Sensitive: true, AlwaysSensitive: true, Extractable: true, NeverExtractable: true}
	return law.Configuration{
		Issuers: []law.Issuer{{
			URL: "https://login.example.org", Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"},
			KeysURL: "https://login.example.org/keys", ActorClaim: "actor", ActorOptional: true, Captured: []string{"ref"},
		}},
		Subjects: []law.Subject{{
			ID: "ada", Kind: law.User, Name: "Ada", Enabled: true,
			Identities: []law.Identity{{Issuer: "https://login.example.org", Claims: map[string][]string{"sub": {"1"}, "oid": {"2", "3"}}}},
			Actors:     []law.ActorName{{Issuer: "https://login.example.org", Value: "ada"}},
		}},
		Roles: []law.Role{{ID: "approvers", Kind: law.Approver, Keys: []law.KeyID{"fw-prod"}, Members: []law.SubjectID{"ada"}}},
		Keys:  []law.Key{key, never},
	}
}

func TestAConfigurationComesBackFromItsEvents(t *testing.T) {
	want := someConfiguration()
	parts, err := audit.ConfigurationOf(want)
	if err != nil {
		t.Fatal(err)
	}
	var events []audit.Event
	for _, p := range parts {
		events = append(events, audit.Event{Type: audit.ConfigurationChanged, Configuration: &p})
	}
	var got law.Configuration
	for _, leaf := range link(t, events) {
		e, err := audit.ParseLeaf(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Configuration.AddTo(&got); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it came back as\n%+v\nand was\n%+v", got, want)
	}
}

// The logs of releases that knew no attributes and no device profiles stay what they are, byte for byte.
func TestAKeyWithoutAttributesAndDeviceProfileIsWrittenAsBeforeThereWereAny(t *testing.T) {
	c := someConfiguration()
	for i, want := range []bool{true, false} {
		parts, err := audit.ConfigurationOf(law.Configuration{Keys: c.Keys[i : i+1]})
		if err != nil {
			t.Fatal(err)
		}
		for _, member := range []string{`"attributes":`, `"devices":`} {
			if got := strings.Contains(string(parts[0].Value), member); got != want {
				t.Errorf("key %s: %s", c.Keys[i].ID, parts[0].Value)
			}
		}
	}
}

func TestEveryFieldOfAConfigurationIsInTheTestAbove(t *testing.T) {
	c := someConfiguration()
	for _, v := range []any{c.Issuers[0], c.Subjects[0], c.Roles[0]} {
		for i := range reflect.TypeOf(v).NumField() {
			if reflect.ValueOf(v).Field(i).IsZero() {
				t.Errorf("%T: field %s is not set", v, reflect.TypeOf(v).Field(i).Name)
			}
		}
	}
	for i := range reflect.TypeFor[law.Key]().NumField() {
		if reflect.ValueOf(c.Keys[0]).Field(i).IsZero() {
			t.Errorf("law.Key: field %s is not set", reflect.TypeFor[law.Key]().Field(i).Name)
		}
	}
}

func TestAConfigurationThatIsNotUnderstoodIsRefused(t *testing.T) {
	for _, c := range []audit.Configuration{
		{Kind: "group", ID: "g", Value: jsontext.Value(`{}`)},
		{Kind: audit.ConfiguredRole, ID: "r", Value: jsontext.Value(`{"id":"r","colour":"red"}`)},
		{Kind: audit.ConfiguredKey, ID: "k", Value: jsontext.Value(`{"keyid":"k","devices":null}`)},
		{Kind: audit.ConfiguredKey, ID: "k", Value: jsontext.Value(`{"keyid":"k","devices":{"ca":true}}`)},
	} {
		if err := c.AddTo(&law.Configuration{}); err == nil {
			t.Errorf("%s %s was read", c.Kind, c.ID)
		}
	}
	bad := "\xff"
	for _, c := range []law.Configuration{
		{Issuers: []law.Issuer{{URL: bad}}}, {Subjects: []law.Subject{{Name: bad}}}, {Roles: []law.Role{{ID: law.RoleID(bad)}}}, {Keys: []law.Key{{Handle: bad}}},
		{Keys: []law.Key{{Devices: &law.DeviceProfile{Identity: bad}}}},
	} {
		if _, err := audit.ConfigurationOf(c); err == nil {
			t.Errorf("text that is not UTF-8 was written: %+v", c)
		}
	}
}

func TestTheVerifierOfASignerIsTheOneMadeWithIt(t *testing.T) {
	if got, err := audit.VerifierOf(testSigner); err != nil || got != testVerifier {
		t.Errorf("it is %q, not %q (%v)", got, testVerifier, err)
	}
	for _, bad := range []string{"", "PRIVATE+KEY+keyserver/test+4cb36af7+AQAB", testSigner[:len(testSigner)-1] + "A"} {
		if got, err := audit.VerifierOf(bad); err == nil {
			t.Errorf("the verifier of %q is %q", bad, got)
		}
	}
}

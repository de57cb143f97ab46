package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

// strange are texts that a YAML reader, or a person, could take for something else.
var strange = []string{
	"yes", "No", "on", "y", "NULL", "~", "true", "1e3", "010", "0x1F", "0o7", "1_000", "+1", "-1", ".inf", ".NaN", "12:30:00", "2026-11-26", "2026-11-26T10:00:00Z",
	"a: b", "a:", ": a", "a:b", "a:b:", "repo:example/x:ref", "https://x:1/y", "https://x/y", "a::b", "c:", "a #b", "#a", "'", "''", `"`, `\`, `\n`, `\u0041`, "- a", "-", "---", "...", "? a", "?", "{a}", "[a]", "a, b", ",", "&a", "*a", "!a", "!!str a", "%a", "@a", "`a",
	"|", ">", "|-", "=", "<<", " leading", "trailing ", "a  b", "é", "日本", "😀", "a\u00a0b", "\u202ea", "\ufeffa", "a\u200bb", "\u2028", "\u3164", "\U000e0001", "ｙｅｓ", "K",
}

// texts are what the strict reader takes for a text.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom(strange), rapid.StringMatching(`[a-zA-Z0-9 :/#@.,{}\[\]"'\\|>&*!%?=~-]{1,20}`), rapid.StringN(1, 20, 60)).Filter(func(s string) bool {
		return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
	})
}

// lines are what the law takes for a name.
func lines(most int) *rapid.Generator[string] {
	return texts().Filter(func(s string) bool { return law.CheckLine(s, most) == nil })
}

func someOf(t *rapid.T, label string) []string {
	return rapid.SliceOfNDistinct(texts(), 1, 30, func(s string) string { return s }).Draw(t, label)
}

// draw returns the example with strange but valid texts wherever a text can be.
func draw(t *rapid.T, c law.Configuration) law.Configuration {
	c.Administration = rapid.SampledFrom([]law.Administration{{}, {Administrators: 3}, {Active: time.Second}, {Administrators: 1, Active: time.Millisecond * 1001}}).Draw(t, "administration")
	c.Subjects, c.Issuers, c.Roles, c.Keys = slices.Clone(c.Subjects), slices.Clone(c.Issuers), slices.Clone(c.Roles), slices.Clone(c.Keys)
	c.Issuers[0].Audiences, c.Issuers[0].Types, c.Issuers[1].Captured = someOf(t, "audiences"), someOf(t, "types"), someOf(t, "captured")
	c.Issuers[1].ActorClaim, c.Issuers[1].ActorOptional = texts().Draw(t, "actor claim"), rapid.Bool().Draw(t, "optional")
	who := &c.Subjects[0]
	who.Name, who.Enabled = lines(200).Draw(t, "name"), rapid.Bool().Draw(t, "enabled")
	who.Actors = nil
	for _, value := range someOf(t, "actors") {
		who.Actors = append(who.Actors, law.ActorName{Issuer: c.Issuers[1].URL, Value: value})
	}
	who.Identities = []law.Identity{{Issuer: c.Issuers[0].URL, Claims: map[string][]string{"sub": someOf(t, "sub"), texts().Draw(t, "claim"): someOf(t, "values")}}}
	for _, n := range []int{1, 30} {
		r := law.Role{ID: law.RoleID(fmt.Sprintf("role-of-%d", n)), Kind: law.Auditor}
		for i := range n {
			s := law.Subject{ID: law.SubjectID(fmt.Sprintf("member-%d-of-%d", i, n)), Kind: law.Client, Name: "Machine", Enabled: true}
			c.Subjects, r.Members = append(c.Subjects, s), append(r.Members, s.ID)
		}
		c.Roles = append(c.Roles, r)
	}
	k := &c.Keys[slices.IndexFunc(c.Keys, func(k law.Key) bool { return k.ID == "root" })]
	k.Adopted, k.MayLeave, k.Keystore = texts().Draw(t, "adopted"), rapid.Bool().Draw(t, "may leave"), texts().Draw(t, "keystore")
	k.State = rapid.SampledFrom([]law.KeyState{law.KeyActive, law.KeyDisabled, law.KeyRevoked}).Draw(t, "state")
	p := *k.Profile
	p.Subject = law.Name{Country: "NO", Province: lines(128).Draw(t, "province"), OrganizationalUnit: lines(64).Draw(t, "unit"), CommonName: lines(64).Draw(t, "common name")}
	p.PathLen = rapid.IntRange(0, law.MaxPathLen).Draw(t, "path length")
	k.Profile = &p
	c.Keys[0].Profile = nil
	ca := &c.Keys[slices.IndexFunc(c.Keys, func(k law.Key) bool { return k.ID == "ca-gateway" })]
	ca.Devices = drawDevices(t)
	return c
}

// tight says whether X.520 compares the text as it stands.
func tight(s string) bool { return strings.TrimSpace(s) == s && !strings.Contains(s, "  ") }

func drawDevices(t *rapid.T) *law.DeviceProfile {
	p := law.DeviceProfile{
		Subject: []law.DeviceAttribute{
			{Type: "2.999.1", DeviceField: law.DeviceField{Fixed: lines(32).Filter(tight).Draw(t, "attribute")}},
			{Type: "serial-number", DeviceField: law.DeviceField{Pattern: rapid.SampledFrom([]string{`[A-Z]\d+`, `"'{}#: `, ".*", "null", "[é]"}).Draw(t, "pattern"), MaxLength: rapid.IntRange(1, 64).Draw(t, "length")}},
			{Type: "locality", DeviceField: law.DeviceField{Pattern: "x", MaxLength: 1, Optional: rapid.Bool().Draw(t, "optional")}},
		},
		Identity: "serial-number", Algorithms: []law.Algorithm{law.P256}, KeyUsage: []law.KeyUsage{law.DigitalSignature}, NoExpiry: rapid.Bool().Draw(t, "no expiry"),
		ExtendedKeyUsage: rapid.SampledFrom([][]string{nil, {"clientAuth", "1.2.3.4"}}).Draw(t, "purposes"),
		Policies:         rapid.SampledFrom([][]string{nil, {"1.2.3.4"}}).Draw(t, "policies"),
		Extensions:       rapid.SampledFrom([][]law.DeviceExtension{nil, {{ID: "1.2.3.4", Value: []byte{5, 0}}}}).Draw(t, "extensions"),
		Names: rapid.SampledFrom([][]law.DeviceName{nil, {
			{Kind: law.DNSName, DeviceField: law.DeviceField{Fixed: "{device}.example.com"}}, {Kind: law.URIName, Most: 1, DeviceField: law.DeviceField{Pattern: "urn:.*", MaxLength: 40}},
			{Kind: law.DNSName, Most: 7, DeviceField: law.DeviceField{Pattern: "a", MaxLength: 4, Optional: true}}, {Kind: law.HardwareModule, HardwareType: "1.2.3", DeviceField: law.DeviceField{Fixed: "{device}"}},
		}}).Draw(t, "names"),
		CRLURL: rapid.SampledFrom([]string{"", "http://a/crl"}).Draw(t, "list"), OCSPURL: rapid.SampledFrom([]string{"", "http://a/ocsp"}).Draw(t, "responder"),
		IssuerURL: rapid.SampledFrom([]string{"", "http://a/cer"}).Draw(t, "issuer"), Duplicates: rapid.SampledFrom([]law.DuplicateRule{"refuse", "same", "replace"}).Draw(t, "duplicates"),
	}
	if !p.NoExpiry {
		p.Validity = time.Hour
	}
	return &p
}

func TestAPolicyThatIsWrittenAndReadAgainIsTheSame(t *testing.T) {
	base := parsed(t, example(t))
	valid := rapid.Custom(func(t *rapid.T) law.Configuration { return draw(t, base) }).Filter(func(c law.Configuration) bool {
		_, err := law.NewFacts(c) // refuses e-mail addresses as identities and the like
		return err == nil
	})
	rapid.Check(t, func(t *rapid.T) {
		c := valid.Draw(t, "configuration")
		facts, err := law.NewFacts(c)
		if err != nil {
			t.Fatal(err)
		}
		text := policy.Write(c)
		again, err := policy.Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if d, err := facts.Difference(again); err != nil || !d.Empty() {
			t.Fatalf("%v: %+v\n%s", err, d, text)
		}
		if string(policy.Write(again)) != string(text) {
			t.Fatalf("written again it is\n%s\nnot\n%s", policy.Write(again), text)
		}
		if i := strings.IndexFunc(string(text), func(r rune) bool { return r != '\n' && law.CheckLine("x"+string(r), 10) != nil }); i >= 0 {
			t.Fatalf("byte %d cannot be shown safely:\n%s", i, text)
		}
	})
}

func TestAnExportReadsWell(t *testing.T) {
	c := law.Configuration{
		Issuers: []law.Issuer{{URL: "https://login.example.com", Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}, ActorClaim: "actor_id", ActorOptional: true}},
		Subjects: []law.Subject{
			{ID: "bob", Kind: law.User, Name: "Bob Brown, lead", Identities: []law.Identity{{Issuer: "https://login.example.com", Claims: map[string][]string{"sub": {"77c0"}}}}},
			{ID: "firmware-ci", Kind: law.Client, Name: "Firmware release pipeline", Enabled: true, Identities: []law.Identity{
				{Issuer: "https://login.example.com", Claims: map[string][]string{"repository_id": {"1296269"}, "sub": {"repo:example/firmware", "repo:example/loader"}}}}},
		},
		Roles: []law.Role{{ID: "approvers", Kind: law.Approver, Keys: []law.KeyID{"root"}, Members: []law.SubjectID{"bob"}}},
		Keys: []law.Key{{ID: "root", Type: law.Root, Algorithm: law.P384, Hash: law.SHA384, Schemes: []law.Scheme{law.ECDSA}, Requirement: law.Require(2), MaxValidity: time.Minute,
			MaxUses: 1, Approvals: law.SessionApprovals, State: law.KeyDisabled, Keystore: "hsm", Adopted: "pkcs11:id=%01", MayLeave: true, Version: 3, Fingerprint: "feed", Handle: "h-canary",
			Profile: &law.Profile{Subject: law.Name{CommonName: "Root", Country: "NO"}, Validity: time.Hour, KeyUsage: []law.KeyUsage{law.KeyCertSign, law.CRLSign}}}},
	}
	const want = `administration: {administrators: 2, active-validityms: 3600000}

issuers:
  - url: https://login.example.com
    audiences: [keyserver]
    algorithms: [ES256]
    types: [at+jwt]
    actor-claim: actor_id
    actor: optional

subjects:
  - {id: bob, kind: user, name: "Bob Brown, lead", enabled: false, identities: [{issuer: https://login.example.com, claims: {sub: "77c0"}}]}
  - id: firmware-ci
    kind: client
    name: Firmware release pipeline
    identities:
      - {issuer: https://login.example.com, claims: {repository_id: "1296269", sub: ["repo:example/firmware", "repo:example/loader"]}}

roles:
  - {id: approvers, kind: approver, keys: [root], members: [bob]}

keys:
  - keyid: root
    # fingerprint feed, version 3
    type: ROOT
    algorithm: ECDSA-P384
    hash: SHA-384
    schemes: [ECDSA]
    requirement: 2
    max-validityms: 60000
    max-usagecount: 1
    approvals: session
    artifacts: optional
    keystore: hsm
    adopt: "pkcs11:id=%01"
    extractable: allowed
    state: disabled
    certificate:
      subject: {common-name: Root, country: "NO"}
      validityms: 3600000
      path-length: 0
      key-usage: [keyCertSign, cRLSign]
`
	text := string(policy.Write(c))
	heading, body, _ := strings.Cut(text, "\n\n")
	if body != want {
		t.Errorf("written:\n%s\nwant:\n%s", body, want)
	}
	for _, line := range strings.Split(heading, "\n") {
		if !strings.HasPrefix(line, "# ") {
			t.Errorf("in the heading: %s", line)
		}
	}
	if d, err := factsOf(t, c).Difference(parsed(t, text)); err != nil || !d.Empty() {
		t.Errorf("%v %+v", err, d)
	}
}

// 10,000 subjects fit, and take seconds on a slow machine, not minutes.
func TestAPolicyOf10000SubjectsIsWrittenAndRead(t *testing.T) {
	c := many(parsed(t, example(t)), 10_000)
	text := policy.Write(c)
	if len(text) > policy.MaxSize/2 {
		t.Errorf("it takes %d bytes", len(text))
	}
	if again := parsed(t, string(text)); len(again.Subjects) != len(c.Subjects) {
		t.Errorf("%d subjects came back", len(again.Subjects))
	}
}

// many adds so many people, all of them in one role.
func many(c law.Configuration, n int) law.Configuration {
	c.Subjects, c.Roles = slices.Clone(c.Subjects), slices.Clone(c.Roles)
	all := law.Role{ID: "everybody", Kind: law.Auditor}
	for i := range n {
		s := law.Subject{ID: law.SubjectID(fmt.Sprintf("person-%05d", i)), Kind: law.User, Name: fmt.Sprintf("Person %d, of a large company", i), Enabled: true,
			Identities: []law.Identity{{Issuer: "https://login.example.com", Claims: map[string][]string{"sub": {fmt.Sprintf("0a5b1f0f6e-%d", i)}}}}}
		c.Subjects, all.Members = append(c.Subjects, s), append(all.Members, s.ID)
	}
	c.Roles = append(c.Roles, all)
	return c
}

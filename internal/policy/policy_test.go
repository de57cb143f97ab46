package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

func parsed(t testing.TB, text string) law.Configuration {
	t.Helper()
	c, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func factsOf(t testing.TB, c law.Configuration) law.Facts {
	t.Helper()
	f, err := law.NewFacts(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTheExampleOfACompanyWithThreeProductsMakesSense(t *testing.T) {
	c := parsed(t, example(t))
	if faults := factsOf(t, c).Sense(law.Mode{}); len(faults) > 0 {
		t.Error(faults)
	}
	want := map[law.KeyID]int{"fw-valve-dev": 0, "fw-sensor-dev": 0, "fw-gateway-dev": 0, "fw-valve": 2, "fw-sensor": 2, "fw-gateway": 2, "ca-gateway": 2, "root": 2}
	for _, k := range c.Keys {
		if k.Requirement != law.Require(want[k.ID]) {
			t.Errorf("key %s requires %d", k.ID, k.Requirement.People())
		}
	}
	if len(c.Keys) != len(want) || c.Administration != (law.Administration{Administrators: 2, Active: time.Hour}) {
		t.Errorf("%d keys, %+v", len(c.Keys), c.Administration)
	}
	root := c.Keys[slices.IndexFunc(c.Keys, func(k law.Key) bool { return k.ID == "root" })]
	if p := root.Profile; p.PathLen != 1 || p.Subject.CommonName != "Example Instruments root" || p.Validity != 25*365*24*time.Hour {
		t.Errorf("%+v", p)
	}
}

func TestAPolicyThatIsWrittenAndReadAgainIsTheSame(t *testing.T) {
	text := rapid.OneOf(rapid.SampledFrom([]string{
		"yes", "no", "1e3", "010", "2026-11-26", "a: b", "x #y", "'", `"`, `\`, "- a", "{a}", "[a]", "&a", "*a", "!a", "%a", "@a", "`a", "?", "null", "~", ".inf", "0x1F",
		" leading", "trailing ", "é", "日本", "<<", "a,b", "|", ">", "=", "12:30", "true", "+1", "a\u00a0b", "😀",
	}), rapid.StringMatching(`[a-zA-Z0-9 :/#@.,{}\[\]"'\\-]{1,20}`).Filter(func(s string) bool { return law.CheckLine(s, 200) == nil }))
	base := parsed(t, example(t))
	rapid.Check(t, func(t *rapid.T) {
		c := base
		c.Subjects, c.Issuers, c.Keys = slices.Clone(base.Subjects), slices.Clone(base.Issuers), slices.Clone(base.Keys)
		value := text.Draw(t, "claim")
		c.Subjects[1].Name = text.Draw(t, "name")
		c.Subjects[1].Enabled = rapid.Bool().Draw(t, "enabled")
		c.Subjects[1].Identities = []law.Identity{{Issuer: c.Issuers[0].URL, Claims: map[string][]string{"sub": {value, value + "2"}, text.Draw(t, "claim name"): {value}}}}
		c.Issuers[0].Audiences = []string{text.Draw(t, "audience")}
		c.Issuers[1].ActorOptional = rapid.Bool().Draw(t, "actor")
		c.Keys[0].Adopted, c.Keys[0].MayLeave = text.Draw(t, "adopted"), rapid.Bool().Draw(t, "may leave")
		c.Keys[1].State = rapid.SampledFrom([]law.KeyState{law.KeyActive, law.KeyDisabled, law.KeyRevoked}).Draw(t, "state")
		facts, err := law.NewFacts(c)
		if err != nil {
			t.Skip(err.Error())
		}
		again, err := policy.Parse(policy.Write(c))
		if err != nil {
			t.Fatalf("%v\n%s", err, policy.Write(c))
		}
		if d, err := facts.Difference(again); err != nil || !d.Empty() {
			t.Fatalf("%v: %+v\n%s", err, d, policy.Write(c))
		}
	})
}

func TestAnExportTellsTheFingerprintOfAKeyAndNoSecret(t *testing.T) {
	c := parsed(t, example(t))
	c.Keys[0] = c.Keys[0].With(law.KeyPair{Version: 3, Handle: "handle-of-the-pair", PublicKey: []byte("public"), Fingerprint: "feed"})
	text := string(policy.Write(c))
	if !strings.Contains(text, "# fingerprint feed, version 3\n") || strings.Contains(text, "handle-of-the-pair") {
		t.Error(text)
	}
	if d, err := factsOf(t, c).Difference(parsed(t, text)); err != nil || !d.Empty() {
		t.Errorf("%v %+v", err, d)
	}
}

func TestAPolicyThatIsNotWhatItMustBeIsRefusedWithTheLine(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"requirement: 2 # of no meaning: a ROOT key is never used in an operation\n", "\n", "lacks the field `requirement`"},
		{"path-length: 1\n", "\n", "`certificate` lacks the field `path-length`"},
		{"key-usage: [digitalSignature]", "path-length: 0\n      key-usage: [digitalSignature]", "only ROOT and CA keys issue certificates"},
		{"path-length: 1\n", "path-length: 9\n", "its path length must be between 0 and 5"},
		{"validityms: 788400000000", "validityms: 788400000001", "in whole seconds"},
		{"validityms: 788400000000", "validityms: 3153600000000", "its validity must be between"},
		{"administrators: 2", "administrators: 0", "`administrators` must be at least 1"},
		{"administrators: 2", "administrators: 11", "between 1 and 10 administrators can be required"},
		{"active-validityms: 3600000", "active-validityms: 10", "a session can be active between"},
		{"key-usage: [digitalSignature]", "key-usage: [digitalSignature, keyCertSign]", "neither keyCertSign nor cRLSign"},
		{"extended-key-usage: [codeSigning]", "extended-key-usage: [codeSining]", "neither a known name nor a dotted object identifier"},
		{"extended-key-usage: [codeSigning]", "extended-key-usage: [codeSigning]\n    state: paused", "`state` must be active, disabled or revoked"},
		{"country: DE}\n      validityms: 788", "country: Germany}\n      validityms: 788", "country of its subject"},
		{"remove", "remove", "unknown field `remove`"},
	} {
		text := strings.Replace(example(t), c.old, c.new, 1)
		if c.old == "remove" {
			text += "remove: {roles: [auditors]}\n"
		}
		_, err := policy.Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%q: %v, want %q", c.new, err, c.want)
		}
	}
}

func TestAFragmentIsAPartOfAPolicy(t *testing.T) {
	c, err := policy.ParseFragment([]byte(`{"roles": [{"id": "r", "kind": "approver", "keys": ["k"], "members": ["m"]}], "remove": {"roles": ["old"], "issuers": ["https://x"]}, "replace-pairs": ["k"]}`))
	if err != nil || len(c.Set.Roles) != 1 || c.RemoveRoles[0] != "old" || c.RemoveIssuers[0] != "https://x" || c.ReplacePairs[0] != "k" {
		t.Errorf("%v %+v", err, c)
	}
	again, err := policy.ParseFragment(policy.WriteFragment(c))
	if err != nil || string(policy.WriteFragment(again)) != string(policy.WriteFragment(c)) {
		t.Errorf("%v %+v", err, again)
	}
	for text, want := range map[string]string{
		"{}": "changes nothing", "remove: {}": "changes nothing", "role: []": "did you mean `roles`", "roles: []": "at least one entry",
		"keys:\n  - {keyid: k}": "lacks the field `requirement`",
	} {
		if _, err := policy.ParseFragment([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestADifferenceTellsWhatChangesAndNothingElse(t *testing.T) {
	before := parsed(t, example(t))
	text := example(t)
	for _, edit := range [][2]string{
		{"requirement: 2\n    max-validityms: 604800000 # a week", "requirement: 1\n    max-validityms: 604800000 # a week"},
		{"keys: [ca-gateway], members: [bob, carol, dave]", "keys: [ca-gateway], members: [dave, bob, erin]"},
		{"  - {id: auditors, kind: auditor, members: [heidi]}\n", ""},
		{"  - {id: heidi, kind: user", "  - {id: heidi, enabled: false, kind: user"},
		{"administrators: 2", "administrators: 3"},
		{"roles:\n", "roles:\n  - {id: watchers, kind: auditor, members: [bob]}\n"},
	} {
		if !strings.Contains(text, edit[0]) {
			t.Fatalf("no %q", edit[0])
		}
		text = strings.Replace(text, edit[0], edit[1], 1)
	}
	changes, err := factsOf(t, before).Difference(parsed(t, text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range policy.Describe(changes, before) {
		got = append(got, fmt.Sprintf("%s %s %s: %s", i.Change, i.Kind, i.ID, strings.Join(i.Lines, "; ")))
	}
	want := []string{
		"change administration : administrators: 2 → 3",
		"change key fw-valve: requirement: 2 → 1",
		"change subject heidi: enabled: true → false",
		"add role watchers: + kind: auditor; + members: bob",
		"change role ca-approvers: members: + erin, - carol",
		"remove role auditors: - kind: auditor; - members: heidi",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestANewKeyPairIsTold(t *testing.T) {
	items := policy.Describe(law.Changes{ReplacePairs: []law.KeyID{"fw"}}, law.Configuration{})
	if len(items) != 1 || items[0].ID != "fw" || !strings.Contains(items[0].Lines[0], "ends every open operation") {
		t.Errorf("%+v", items)
	}
}

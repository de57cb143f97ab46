package policy_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

func example(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operators", "files", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

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
	want := law.Changes{
		Set:         law.Configuration{Roles: []law.Role{{ID: "r", Kind: law.Approver, Keys: []law.KeyID{"k"}, Members: []law.SubjectID{"m"}}}},
		RemoveRoles: []law.RoleID{"old"}, RemoveIssuers: []string{"https://x"}, ReplacePairs: []law.KeyID{"k"},
	}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("%v %+v", err, c)
	}
	if again, err := policy.ParseFragment(policy.WriteFragment(c)); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("%v %+v", err, again)
	}
}

// Whoever makes single changes gets the same help as whoever writes a policy.
func TestAFragmentThatIsNotWhatItMustBeIsRefused(t *testing.T) {
	const key = "keys:\n  - {keyid: k, type: FW, algorithm: Ed25519, hash: SHA-512, schemes: [EdDSA], requirement: 1, max-validityms: 1, max-usagecount: 1, " +
		"approvals: session, artifacts: optional, keystore: hsm}\n"
	for text, want := range map[string]string{
		"{}":                        "it changes nothing; name what is new, changes or goes",
		"remove: {}":                "it changes nothing; name what is new, changes or goes",
		"role: []":                  "line 1, column 1: unknown field `role`; did you mean `roles`?",
		"roles: []":                 "line 1, column 8: `roles` must be a list with at least one entry",
		"replace-pairs: [k, k]":     "line 1, column 20: `k` is in `replace-pairs` twice",
		"keys:\n  - {keyid: k}":     "lacks the field `requirement`",
		"remove: {subjects: [bob]}": "line 1, column 10: unknown field `subjects`; the fields here are `roles` and `issuers`",
		strings.Replace(key, "Ed25519", "Ed448", 1):                                      "line 2: key k: algorithm \"Ed448\" is unknown",
		key + "replace-pairs: [k]":                                                       "line 2: key k is to get a new key pair as well; make the two changes one after the other",
		key + strings.TrimPrefix(key, "keys:\n"):                                         "line 3: key k is named twice; the first is in line 2",
		"subjects:\n  - {id: B, kind: user, name: B}\n":                                  "line 2: subject \"B\": an id is 1 to 63 of",
		"issuers:\n  - {url: https://x, audiences: [a], algorithms: [none], types: [t]}": "line 2: issuer https://x: algorithm \"none\" is not allowed",
		"issuers:\n  - {url: https://x, audiences: [a], algorithms: [ES256], types: [t]}\nremove: {issuers: [https://x]}": "line 2: issuer https://x is to be removed as well; say one of the two",
		"roles:\n  - {id: r, kind: auditor, members: [m]}\n  - {id: r, kind: auditor, members: [n]}":                      "line 3: role r is named twice; the first is in line 2",
		"roles:\n  - {id: r, kind: auditor, members: [m]}\nremove: {roles: [r]}":                                          "line 2: role r is to be removed as well; say one of the two",
		"administration: {administrators: 11, active-validityms: 1000}":                                                   "line 1: administration: between 1 and 10 administrators can be required, not 11",
		strings.Repeat(" ", policy.MaxSize+1):                                                                             "it is longer than 4194304 bytes",
	} {
		c, err := policy.ParseFragment([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !c.Empty() {
			t.Errorf("%.80q: %v\nwant %s", text, err, want)
		}
	}
}

func TestManyProblemsAreCounted(t *testing.T) {
	_, err := policy.Parse([]byte("keys: [" + strings.Repeat("1, ", 25) + "1]\n"))
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 21 || lines[20] != "and 9 more" { // four sections are lacking besides
		t.Errorf("%d lines: %v", len(lines), err)
	}
}

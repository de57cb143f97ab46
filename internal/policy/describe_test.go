package policy_test

import (
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

// told writes items as ks does.
func told(items []policy.Item) string {
	var b strings.Builder
	for _, i := range items {
		verb := map[string]string{policy.Add: "+ new ", policy.Change: "~ changed ", policy.Remove: "- removed "}[i.Change]
		b.WriteString(strings.TrimSpace(verb+i.Kind+" "+i.ID) + "\n")
		for _, line := range i.Lines {
			b.WriteString("    " + line + "\n")
		}
	}
	return b.String()
}

// difference tells the way from the example to what the edits make of it.
func difference(t *testing.T, edits ...string) string {
	t.Helper()
	before, text := parsed(t, example(t)), example(t)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("no %q", edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	changes, err := factsOf(t, before).Difference(parsed(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return told(policy.Describe(changes, before))
}

func TestADifferenceTellsWhatChangesAndNothingElse(t *testing.T) {
	got := difference(t,
		"requirement: 2\n    max-validityms: 604800000 # a week", "requirement: 1\n    max-validityms: 604800000 # a week",
		"keys: [ca-gateway], members: [bob, carol, dave]", "keys: [ca-gateway], members: [dave, bob, erin]",
		"  - {id: auditors, kind: auditor, members: [heidi]}\n", "",
		"  - {id: heidi, kind: user", "  - {id: heidi, enabled: false, kind: user",
		"administrators: 2", "administrators: 3",
		"roles:\n", "roles:\n  - {id: watchers, kind: auditor, members: [bob]}\n",
		"actor-claim: actor_id\n", "actor-claim: actor_id\n    actor: optional\n",
		"captured-claims: [repository, ref,", "captured-claims: [ref, repository,",
		"claims: {sub: \"77c0a2d4\"}", "claims: {sub: [\"77c0a2d4\", new]}",
		"crl-url: http://keyserver.example.com/crl/root.crl", "",
		"keys:\n  - {keyid: fw-valve-dev", "keys:\n  - {state: revoked, keyid: fw-valve-dev",
	)
	const want = `~ changed administration
    administrators: 2 → 3
~ changed issuer https://token.actions.githubusercontent.com
    actor: required → optional
    captured-claims: in another order: ref, repository, sha, run_id, actor
~ changed key fw-valve-dev
    state: active → revoked
~ changed key fw-valve
    requirement: 2 → 1
~ changed key root
    - certificate.crl-url: http://keyserver.example.com/crl/root.crl
~ changed subject bob
    identities: + {issuer: https://login.example.com, claims: {sub: ["77c0a2d4", new]}}, - {issuer: https://login.example.com, claims: {sub: "77c0a2d4"}}
~ changed subject heidi
    enabled: true → false
+ new role watchers
    + kind: auditor
    + members: bob
~ changed role ca-approvers
    members: + erin, - carol
- removed role auditors
    - kind: auditor
    - members: heidi
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestOfNoDifferenceNothingIsTold(t *testing.T) {
	if got := difference(t); got != "" {
		t.Error(got)
	}
}

// A fragment can name what stays as it is; a role's lists have no order.
func TestWhatStaysAsItIsIsNotTold(t *testing.T) {
	before := parsed(t, example(t))
	c := law.Changes{Set: parsed(t, example(t))}
	c.Set.Administration = law.Administration{Administrators: 2, Active: time.Hour}
	c.Set.Roles[4].Members = []law.SubjectID{"dave", "carol", "bob"}
	if items := policy.Describe(c, before); len(items) > 0 {
		t.Errorf("%+v", items)
	}
}

func TestANewKeyIsToldWhole(t *testing.T) {
	before := parsed(t, example(t))
	at := len(before.Keys) - 1
	root := before.Keys[at]
	root.Adopted, root.MayLeave = "pkcs11:id=%01", true
	before.Keys = before.Keys[:at]
	const want = `+ new key root
    + type: ROOT
    + state: active
    + requirement: 2
    + approvals: session
    + artifacts: required
    + max-validityms: 1
    + max-usagecount: 1
    + algorithm: ECDSA-P384
    + hash: SHA-384
    + schemes: ECDSA
    + keystore: hsm
    + adopt: "pkcs11:id=%01"
    + extractable: allowed
    + certificate.subject.common-name: Example Instruments root
    + certificate.subject.organization: Example Instruments
    + certificate.subject.country: DE
    + certificate.validityms: 788400000000
    + certificate.path-length: 1
    + certificate.key-usage: keyCertSign, cRLSign
    + certificate.crl-url: http://keyserver.example.com/crl/root.crl
~ changed key fw-valve
    + a new key pair, which ends every open operation with this key
`
	c := law.Changes{Set: law.Configuration{Keys: []law.Key{root}}, ReplacePairs: []law.KeyID{"fw-valve"}}
	if got := told(policy.Describe(c, before)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The words of the difference are those of the document, so that whoever reads it can look them up.
func TestEveryFieldOfADifferenceIsOneOfTheDocument(t *testing.T) {
	known := map[string]bool{}
	for _, f := range policy.Fields() {
		section, name, _ := strings.Cut(f.Name, ".")
		known[strings.TrimSuffix(strings.TrimSuffix(section, "[]"), "s")+" "+name] = true
	}
	c := law.Changes{Set: parsed(t, example(t))}
	c.Set.Administration = law.Administration{Administrators: 3, Active: time.Minute}
	for _, i := range policy.Describe(c, law.Configuration{}) {
		for _, line := range i.Lines {
			if name, _, _ := strings.Cut(strings.TrimPrefix(line, "+ "), ":"); !known[i.Kind+" "+name] {
				t.Errorf("%s: %s", i.Kind, line)
			}
		}
	}
}

// Who authorises a change must not be made to read another one.
func TestNoTextOfADifferenceCanLookLikeAnother(t *testing.T) {
	for name, want := range map[string]string{
		"Eve, - dave":               `"Eve, - dave"`,
		"Eve → Bob":                 `"Eve → Bob"`,
		"Eve\n+ requirement: 2":     `"Eve\u000a+ requirement: 2"`,
		"Eve\u202edave":             `"Eve\u202edave"`,
		"Eve\u200b":                 `"Eve\u200b"`,
		"Eve\x1b[2K":                `"Eve\u001b[2K"`,
		`Eve" + x`:                  `"Eve\" + x"`,
		"Eve\U000e0001":             `"Eve\U000e0001"`,
		"Eve Ellis":                 `Eve Ellis`,
		"Zoë":                       `"Zoë"`,
		"true":                      `"true"`,
		"https://login.example.com": `https://login.example.com`,
	} {
		c := law.Changes{Set: law.Configuration{Issuers: []law.Issuer{{URL: name, Audiences: []string{name}}}, Subjects: []law.Subject{{ID: "eve", Name: name}}}}
		items := policy.Describe(c, law.Configuration{Subjects: []law.Subject{{ID: "eve"}}})
		if items[0].ID != want || items[0].Lines[0] != "+ audiences: "+want || items[1].Lines[0] != "+ name: "+want {
			t.Errorf("%q: %q", name, items)
		}
	}
}

func TestTheDifferenceOf10000SubjectsIsTold(t *testing.T) {
	base := parsed(t, example(t))
	before, after := many(base, 10_000), many(base, 10_000)
	for i := range after.Subjects {
		after.Subjects[i].Enabled = false
	}
	after.Roles[len(after.Roles)-1].Members = after.Roles[len(after.Roles)-1].Members[5_000:]
	c := law.Changes{Set: law.Configuration{Subjects: after.Subjects, Roles: after.Roles}}
	for _, r := range before.Roles[:3] {
		c.RemoveRoles = append(c.RemoveRoles, r.ID)
	}
	items := policy.Describe(c, before)
	if len(items) != len(after.Subjects)+1+3 || strings.Count(told(items), "enabled: true → false\n") != len(after.Subjects) {
		t.Errorf("%d items", len(items))
	}
	role := items[len(after.Subjects)]
	if len(role.Lines) != 1 || strings.Count(role.Lines[0], ", - person-") != 4_999 {
		t.Errorf("%d lines of %s", len(role.Lines), role.ID)
	}
}

package policy_test

import (
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

// The seeds are in testdata, and short: a fuzzer spends its time on making long ones shorter.

// What is accepted is accepted by the law, every key says how many people must approve, and written and read again it
// is the same.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		c, err := policy.Parse([]byte(text))
		if err != nil {
			if len(c.Issuers)+len(c.Subjects)+len(c.Roles)+len(c.Keys) > 0 {
				t.Fatalf("something came with %v", err)
			}
			return
		}
		facts, err := law.NewFacts(c)
		if err != nil {
			t.Fatal(err)
		}
		if written := strings.Count(text, "requirement"); written < len(c.Keys) && !strings.Contains(text, `\`) { // escapes can spell it too
			t.Fatalf("%d keys, and only %d requirements in\n%s", len(c.Keys), written, text)
		}
		for _, k := range c.Keys {
			if !k.Requirement.Set() || k.MaxValidity <= 0 || k.PublicKey != nil {
				t.Fatalf("accepted key %+v", k)
			}
		}
		again, err := policy.Parse(policy.Write(c))
		if err != nil {
			t.Fatalf("written and not accepted: %v\n%s", err, policy.Write(c))
		}
		if d, err := facts.Difference(again); err != nil || !d.Empty() {
			t.Fatalf("written and read again it is different: %v %+v\n%s", err, d, policy.Write(c))
		}
	})
}

// What is accepted changes something, is told, and written and read again it is the same.
func FuzzParseFragment(f *testing.F) {
	f.Add("roles:\n  - {id: r, kind: approver, keys: [k], members: [m]}\nremove: {roles: [a]}\nreplace-pairs: [k]\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := policy.ParseFragment([]byte(text))
		if err != nil {
			if !c.Empty() {
				t.Fatalf("something came with %v", err)
			}
			return
		}
		text = told(policy.Describe(c, law.Configuration{}))
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && law.CheckLine("x"+string(r), 10) != nil }); i >= 0 {
			t.Fatalf("byte %d cannot be shown safely: %q", i, text)
		}
		again, err := policy.ParseFragment(policy.WriteFragment(c))
		if err != nil || string(policy.WriteFragment(again)) != string(policy.WriteFragment(c)) {
			t.Fatalf("written and read again it is different: %v\n%s", err, policy.WriteFragment(c))
		}
	})
}

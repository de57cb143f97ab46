package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/keyserver/internal/policy"
	"example.org/keyserver/internal/strictyaml"
)

func reference(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operators", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documented are the fields of a policy, and those that a fragment has besides.
func documented() []strictyaml.Field {
	fields, known := policy.Fields(), map[string]bool{}
	for _, f := range fields {
		known[f.Name] = true
	}
	for _, f := range policy.FragmentFields() {
		if !known[f.Name] {
			fields = append(fields, f)
		}
	}
	return fields
}

func TestTheReferenceHasEveryFieldAndNoOther(t *testing.T) {
	known := map[string]bool{}
	for _, f := range documented() {
		known[f.Name] = true
		_, row, found := strings.Cut(reference(t), "\n| `"+f.Name+"` |")
		row, more, _ := strings.Cut(row, "\n")
		if !found || strings.Contains(more, "\n| `"+f.Name+"` |") {
			t.Errorf("%s has not one row in the reference", f.Name)
		}
		conditional := strings.Contains(row, "required for `")
		if said := strings.Contains(row, "*optional:*"); said != f.Optional && !conditional {
			t.Errorf("%s: optional is %v, and the reference says %v", f.Name, f.Optional, said)
		}
	}
	for _, row := range strings.Split(reference(t), "\n| `")[1:] {
		if name, _, _ := strings.Cut(row, "`"); !known[name] {
			t.Errorf("the reference has %s, which is not a field", name)
		}
	}
}

func TestTheFragmentOfTheReferenceIsOne(t *testing.T) {
	_, text, _ := strings.Cut(reference(t), "\n## Fragments\n")
	_, text, _ = strings.Cut(text, "```yaml\n")
	text, _, _ = strings.Cut(text, "```\n")
	if c, err := policy.ParseFragment([]byte(text)); err != nil || len(c.Set.Roles) != 1 || len(c.Set.Subjects) != 1 || len(c.RemoveRoles) != 1 {
		t.Errorf("%v %+v", err, c)
	}
}

func TestTheReferenceTellsADifferenceAsItIsTold(t *testing.T) {
	got := difference(t,
		"requirement: 2\n    max-validityms: 604800000 # a week", "requirement: 1\n    max-validityms: 604800000 # a week",
		"keys: [fw-valve-dev, fw-valve], members: [alice, valve-ci]", "keys: [fw-valve-dev, fw-valve], members: [erin, valve-ci]",
		"members: [heidi]}\n", "members: [heidi]}\n  - {id: watchers, kind: auditor, members: [bob]}\n",
	)
	if !strings.Contains(reference(t), "```\n"+got+"```\n") {
		t.Errorf("the reference does not tell\n%s", got)
	}
}

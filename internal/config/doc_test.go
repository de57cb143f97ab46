package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"example.org/keyserver/internal/strictyaml"
)

func reference(t *testing.T) string { return page(t, "configuration.md") }

func page(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "operators", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func documented() []strictyaml.Field {
	return strictyaml.Fields(reflect.TypeFor[Config]())
}

func TestTheReferenceHasEveryFieldAndNoOther(t *testing.T) {
	known := map[string]bool{}
	for _, f := range documented() {
		known[f.Name] = true
		if n := strings.Count(reference(t), "\n| `"+f.Name+"` |"); n != 1 {
			t.Errorf("%s has %d rows in the reference", f.Name, n)
		}
	}
	for _, row := range strings.Split(reference(t), "\n| `")[1:] {
		if name, _, _ := strings.Cut(row, "`"); !known[name] {
			t.Errorf("the reference has %s, which is not a field", name)
		}
	}
}

func TestTheReferenceSaysWhichFieldsAreOptional(t *testing.T) {
	for _, f := range documented() {
		_, row, _ := strings.Cut(reference(t), "\n| `"+f.Name+"` |")
		row, _, _ = strings.Cut(row, "\n")
		conditional := strings.Contains(row, "this or `")
		if said := strings.Contains(row, "*optional:*"); said != f.Optional && !conditional {
			t.Errorf("%s: optional is %v, and the reference says %v", f.Name, f.Optional, said)
		}
	}
}

func TestTheReferencesShowTheExamplesThatAreTested(t *testing.T) {
	for file, in := range map[string]string{
		"development.yaml": "configuration.md", "production.yaml": "configuration.md", "production-postgres.yaml": "configuration.md",
		"hsm.yaml": "configuration.md", "web.yaml": "configuration.md", "notifications.yaml": "configuration.md", "bootstrap.yaml": "policy.md",
	} {
		if !strings.Contains(page(t, in), "```yaml\n"+example(t, file)+"```\n") {
			t.Errorf("%s is not in %s as it is", file, in)
		}
	}
}

func TestTheReferenceQuotesRealMessages(t *testing.T) {
	_, quoted, _ := strings.Cut(reference(t), "```\nkeyserver.yaml: ")
	quoted, _, _ = strings.Cut(quoted, "\n```")
	var real []string
	for _, c := range append(refusedConfigurations, refusedBootstraps...) {
		real = append(real, c.want)
	}
	for _, message := range strings.Split(quoted, "\nbootstrap.yaml: ") {
		if !strings.Contains(strings.Join(real, "\n"), message) {
			t.Errorf("nothing says %q", message)
		}
	}
}

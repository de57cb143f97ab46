package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func reference(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "operators", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// documented returns the fields of a file as the reference writes them, such as keystores[].name.
func documented(prefix string, t reflect.Type) []string {
	switch {
	case t.Kind() == reflect.Pointer:
		return documented(prefix, t.Elem())
	case t.Kind() == reflect.Slice:
		return documented(prefix+"[]", t.Elem())
	case t.Kind() != reflect.Struct:
		return nil
	}
	var out []string
	for _, f := range fieldsOf(t) {
		name := strings.TrimPrefix(prefix+"."+f.name, ".")
		out = append(append(out, name), documented(name, t.Field(f.index).Type)...)
	}
	return out
}

func TestTheReferenceHasEveryFieldAndNoOther(t *testing.T) {
	fields := append(documented("", reflect.TypeFor[Config]()), documented("", reflect.TypeFor[bootstrap]())...)
	known := map[string]bool{}
	for _, f := range fields {
		known[f] = true
		if n := strings.Count(reference(t), "\n| `"+f+"` |"); n != 1 {
			t.Errorf("%s has %d rows in the reference", f, n)
		}
	}
	for _, row := range strings.Split(reference(t), "\n| `")[1:] {
		if name, _, _ := strings.Cut(row, "`"); !known[name] {
			t.Errorf("the reference has %s, which is not a field", name)
		}
	}
}

func TestTheReferenceSaysWhichFieldsAreOptional(t *testing.T) {
	for _, root := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[bootstrap]()} {
		checkOptional(t, "", root)
	}
}

func checkOptional(t *testing.T, prefix string, typ reflect.Type) {
	for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Pointer {
		if typ.Kind() == reflect.Slice {
			prefix += "[]"
		}
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return
	}
	for _, f := range fieldsOf(typ) {
		name := strings.TrimPrefix(prefix+"."+f.name, ".")
		_, row, _ := strings.Cut(reference(t), "\n| `"+name+"` |")
		row, _, _ = strings.Cut(row, "\n")
		conditional := strings.Contains(row, "this or `") || strings.Contains(row, "required for `orderer`")
		if said := strings.Contains(row, "*optional:*"); said != f.optional && !conditional {
			t.Errorf("%s: optional is %v, and the reference says %v", name, f.optional, said)
		}
		checkOptional(t, name, typ.Field(f.index).Type)
	}
}

func TestTheReferenceShowsTheExamplesThatAreTested(t *testing.T) {
	for _, file := range []string{"development.yaml", "production.yaml", "production-postgres.yaml", "hsm.yaml", "bootstrap.yaml"} {
		if !strings.Contains(reference(t), "```yaml\n"+example(t, file)+"```\n") {
			t.Errorf("%s is not in the reference as it is", file)
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

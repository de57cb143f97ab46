package strictyaml_test

import (
	"strings"
	"testing"

	"example.org/keyserver/internal/strictyaml"
)

type file struct {
	Name   string                          `yaml:"name,omitempty"`
	Names  []string                        `yaml:"names,omitempty"`
	Claims map[string]strictyaml.OneOrMore `yaml:"claims,omitempty"`
	Items  []item                          `yaml:"items,omitempty"`
}

type item struct {
	strictyaml.Line
	ID string `yaml:"id"`
	On string `yaml:"on,omitempty"`
}

// Each of these would take the parser minutes or more.
func TestATextThatIsMadeForTheParserIsRefusedBeforeItIsParsed(t *testing.T) {
	for name, c := range map[string]struct{ once, want string }{
		"fields without a value":            {"a:\n", "line 1001, column 2: a mapping has more than 1000 fields"},
		"fields":                            {"a: b # c\n", "line 1001, column 2: a mapping has more than 1000 fields"},
		"fields of an entry":                {"  a: b\n", "line 1001, column 4: a mapping has more than 1000 fields"},
		"entries without a value":           {"-\n", "line 1001, column 1: more than 1000 values are absent, or anchors, aliases and the like"},
		"marked keys":                       {"? a\n", "line 1001, column 1: more than 1000 values are absent, or anchors, aliases and the like"},
		"tags":                              {"- !!str\n", "line 1001, column 3: more than 1000 values are absent, or anchors, aliases and the like"},
		"fields without a value, in a line": {"a:,", "column 3003: more than 1000 values are absent, or anchors, aliases and the like"},
		"names alone, in a line":            {"a,", "column 2002: more than 1000 values are absent, or anchors, aliases and the like"},
		"marked keys, in a line":            {"? a,", "column 4002: more than 1000 values are absent, or anchors, aliases and the like"},
		"aliases, in a line":                {"*a,", "column 3002: more than 1000 values are absent, or anchors, aliases and the like"},
		"depth":                             {"{a: ", "nested more than 16 deep"},
		"punctuation":                       {strings.Repeat("[],\n", 10), "the file has more than 600000 punctuation marks and lines"},
	} {
		text := strings.Repeat(c.once, 20_000)
		if strings.HasSuffix(c.once, ",") {
			text = "{" + text + "}"
		}
		problems := strictyaml.Decode([]byte(text), new(file))
		if len(problems) != 1 || !strings.HasSuffix(problems[0].Error(), c.want) {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

func TestWhatPeopleWriteIsFarFromTheBounds(t *testing.T) {
	text := "# names\nnames:\n" + strings.Repeat(" ", 2) + "- first # one\n" +
		"claims: {sub: [a, b], oid: c}\nitems:\n" + strings.Repeat("- id: a\n  \"on\": b\n- {id: c}\n", 5_000)
	var f file
	if problems := strictyaml.Decode([]byte(text), &f); len(problems) > 0 {
		t.Fatal(problems)
	}
	if len(f.Items) != 10_000 || f.Items[3].Line != 11 || f.Items[0].On != "b" || len(f.Claims["sub"]) != 2 || f.Claims["oid"][0] != "c" {
		t.Errorf("%d items, the fourth %+v, %v", len(f.Items), f.Items[3], f.Claims)
	}
}

func TestAfterManyProblemsNothingMoreIsLookedFor(t *testing.T) {
	text := "names: [" + strings.Repeat("1, ", 50_000) + "a]\nitems: [" + strings.Repeat("{idd: a}, ", 10_000) + "a]\n"
	if problems := strictyaml.Decode([]byte(text), new(file)); len(problems) < 100 || len(problems) > 110 {
		t.Errorf("%d problems", len(problems))
	}
}

func TestJSONIsReadAsItIsMeant(t *testing.T) {
	for _, text := range []string{
		`{"name":"\u003c \ud83d\ude00 \/ \u00e9 a: b #c","items":[{"id":"a"}]}`,
		"{\n\t\"name\": \"< 😀 / é a: b #c\",\n\t\"items\": [\n\t\t{\n\t\t\t\"id\": \"a\"\n\t\t}\n\t]\n}\n",
		"{\r\n  \"items\": [{\"id\": \"a\"}],\r\n  \"name\": \"< \\ud83d\\ude00 / é a: b #c\"\r\n}\r\n",
	} {
		var f file
		if problems := strictyaml.Decode([]byte(text), &f); len(problems) > 0 || f.Name != "< 😀 / é a: b #c" || f.Items[0].ID != "a" {
			t.Errorf("%q: %v, %+v", text, problems, f)
		}
	}
}

// Package strictyaml reads YAML, and JSON since that is YAML, into Go values without ever converting anything: an
// unknown field, a value of another kind, a field that is lacking or given twice is a problem with its line.
package strictyaml

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The decoder walks the syntax tree and the Go value side by side. It is our own because a YAML library
// converts where it can (a number becomes text, null becomes 0, 010 becomes 8), and in a file that says how
// many people must approve, a conversion nobody asked for is a hole.

// maxFound is how many problems are found before nothing more is looked for.
const maxFound = 100

type decoder struct{ problems []error }

// Decode reads YAML into the struct that v points to and returns what is wrong with it, in the order of the text.
// Fields that the text does not name are left as they are. The tag `omitempty` marks a field that may be absent; all
// others are required, and an empty list or text is never taken for an absent one. The tag `oneof` lists the values
// that a text may have.
func Decode(data []byte, v any) []error {
	d := &decoder{}
	if body := d.parse(data); body != nil {
		d.value(body, body.GetToken(), "the file", reflect.ValueOf(v).Elem())
	}
	return d.problems
}

func (d *decoder) parse(data []byte) ast.Node {
	switch {
	case !utf8.Valid(data):
		d.refuse(nil, "the file is not valid UTF-8")
		return nil
	case strings.HasPrefix(string(data), "\ufeff"):
		d.refuse(nil, "the file begins with a byte order mark; save it without one")
		return nil
	}
	if marks(data) > maxMarks {
		d.refuse(nil, "the file has more than %d punctuation marks and lines", maxMarks)
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if at, problem := tooMuch(tokens); at != nil {
		d.refuse(at, "%s", problem)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // duplicates are refused below, with both places
	var syntax yaml.Error
	switch {
	case errors.As(err, &syntax):
		d.refuse(syntax.GetToken(), "not valid YAML: %s", syntax.GetMessage())
		return nil
	case err != nil:
		d.refuse(nil, "not valid YAML: %v", err)
		return nil
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		d.refuse(nil, "the file says nothing")
		return nil
	case len(file.Docs) > 1:
		d.refuse(file.Docs[1].Start, "a second document begins here; the file must be one document, without directives")
		return nil
	}
	return file.Docs[0].Body
}

func (d *decoder) refuse(at *token.Token, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if at != nil && at.Position != nil {
		text = fmt.Sprintf("line %d, column %d: %s", at.Position.Line, at.Position.Column, text)
	}
	d.problems = append(d.problems, errors.New(text))
}

// begin is where a node begins for people; for the parser a block mapping begins at its first colon.
func begin(n ast.Node) *token.Token {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return m.Values[0].Key.GetToken()
	}
	return n.GetToken()
}

// Types that look after themselves when they are decoded.
type (
	// placed wants to know the line it was read from.
	placed interface{ SetLine(int) }
	// faulty says what is wrong between its fields, nothing if all is well.
	faulty interface{ Fault() string }
)

// value decodes one node. The name is that of the field, for people; key is the token that names it.
func (d *decoder) value(n ast.Node, key *token.Token, name string, v reflect.Value) {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		d.refuse(key, "%s has no value; write one", name)
		return
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.refuse(n.GetToken(), "%s: anchors, aliases and tags are not allowed; write the value itself", name)
		return
	}
	if v.Type() == reflect.TypeFor[Milliseconds]() {
		d.milliseconds(n, name, v)
		return
	}
	if _, several := n.(*ast.SequenceNode); !several && v.Type() == reflect.TypeFor[OneOrMore]() {
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		d.text(n, name, v.Index(0))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, key, name, v.Elem())
	case reflect.Struct:
		d.fields(n, name, v)
	case reflect.Map:
		d.entries(n, name, v)
	case reflect.Slice:
		d.list(n, name, v)
	case reflect.String:
		d.text(n, name, v)
	case reflect.Bool:
		d.boolean(n, name, v)
	case reflect.Int:
		if i, ok := d.number(n, name); ok {
			v.SetInt(i)
		}
	default:
		panic("strictyaml: a field of type " + v.Type().String() + " cannot be decoded")
	}
}

// field is a field of a struct as the file knows it.
type field struct {
	name     string
	optional bool
	oneOf    []string
	index    int
}

func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("yaml")
		if !ok {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		f := field{name: name, optional: option == "omitempty", index: i}
		if values := t.Field(i).Tag.Get("oneof"); values != "" {
			f.oneOf = strings.Split(values, ",")
		}
		out = append(out, f)
	}
	return out
}

func (d *decoder) fields(n ast.Node, name string, v reflect.Value) {
	fields := fieldsOf(v.Type())
	mapping, ok := n.(*ast.MappingNode)
	if !ok {
		d.refuse(begin(n), "%s must be a mapping; its fields are %s", name, list(codes(names(fields)), "and"))
		return
	}
	start := begin(n)
	if p, ok := v.Addr().Interface().(placed); ok {
		p.SetLine(start.Position.Line)
	}
	before := len(d.problems)
	given := map[string]bool{}
	d.keys(mapping, func(key *token.Token, value ast.Node) {
		given[key.Value] = true
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		if i < 0 {
			hint, near := meant(key.Value, names(fields))
			given[near] = true // and so is not also reported as lacking
			d.refuse(key, "unknown field %s; %s", code(key.Value), hint)
			return
		}
		f := fields[i]
		d.value(value, key, code(f.name), v.Field(f.index))
		if s := v.Field(f.index); f.oneOf != nil && s.String() != "" && !slices.Contains(f.oneOf, s.String()) {
			d.refuse(value.GetToken(), "%s must be %s", code(f.name), list(f.oneOf, "or"))
		}
	})
	for _, f := range fields {
		if !f.optional && !given[f.name] {
			d.refuse(start, "%s lacks the field %s", name, code(f.name))
		}
	}
	if f, ok := v.Interface().(faulty); ok && len(d.problems) == before && f.Fault() != "" {
		d.refuse(start, "%s: %s", name, f.Fault())
	}
}

func (d *decoder) entries(n ast.Node, name string, v reflect.Value) {
	mapping, ok := n.(*ast.MappingNode)
	if !ok || len(mapping.Values) == 0 {
		d.refuse(begin(n), "%s must be a mapping with at least one entry", name)
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.keys(mapping, func(key *token.Token, value ast.Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(value, key, code(key.Value), item)
		v.SetMapIndex(reflect.ValueOf(key.Value), item)
	})
}

// keys calls use for every key of the mapping that is text and new.
func (d *decoder) keys(mapping *ast.MappingNode, use func(key *token.Token, value ast.Node)) {
	first := map[string]*token.Token{}
	for _, entry := range mapping.Values {
		if len(d.problems) > maxFound {
			return
		}
		key := entry.Key.GetToken()
		if _, ok := entry.Key.(*ast.StringNode); !ok {
			d.refuse(key, "a field name must be plain text; merge keys, numbers and the like are not allowed here")
			continue
		}
		if at, twice := first[key.Value]; twice {
			d.refuse(key, "field %s is given twice; the first is in line %d", code(key.Value), at.Position.Line)
			continue
		}
		first[key.Value] = key
		use(key, entry.Value)
	}
}

func (d *decoder) list(n ast.Node, name string, v reflect.Value) {
	sequence, ok := n.(*ast.SequenceNode)
	if !ok || len(sequence.Values) == 0 {
		d.refuse(begin(n), "%s must be a list with at least one entry", name)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(sequence.Values), len(sequence.Values)))
	seen := map[string]bool{}
	for i, item := range sequence.Values {
		if len(d.problems) > maxFound {
			return
		}
		d.value(item, sequence.GetToken(), fmt.Sprintf("entry %d of %s", i+1, name), v.Index(i))
		if v.Index(i).Kind() != reflect.String {
			continue
		}
		s := v.Index(i).String()
		if s != "" && seen[s] {
			d.refuse(item.GetToken(), "%s is in %s twice", code(s), name)
		}
		seen[s] = true
	}
}

func (d *decoder) text(n ast.Node, name string, v reflect.Value) {
	s, ok := n.(*ast.StringNode)
	switch {
	case !ok && scalar(n):
		d.refuse(n.GetToken(), "%s must be text; put it in quotes if that is what you mean", name)
	case !ok:
		d.refuse(begin(n), "%s must be text in one line", name)
	case s.Value == "":
		d.refuse(n.GetToken(), "%s is empty; write a value", name)
	case strings.ContainsFunc(s.Value, unicode.IsControl):
		d.refuse(n.GetToken(), "%s has a control character in it; remove it", name)
	default:
		v.SetString(s.Value)
	}
}

func scalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return true
	}
	return false
}

func (d *decoder) boolean(n ast.Node, name string, v reflect.Value) {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		d.refuse(n.GetToken(), "%s must be true or false", name)
		return
	}
	v.SetBool(b.Value)
}

var decimal = regexp.MustCompile(`^(0|[1-9][0-9]{0,17})$`) // fits an int64

// number takes only what every reader takes for the same number: YAML readers disagree on 010 and 1_000.
func (d *decoder) number(n ast.Node, name string) (int64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if ok && decimal.MatchString(i.Token.Value) {
		if value, err := strconv.ParseInt(i.Token.Value, 10, strconv.IntSize); err == nil {
			return value, true
		}
	}
	d.refuse(n.GetToken(), "%s must be a whole number, 0 or more, in decimal digits only", name)
	return 0, false
}

func (d *decoder) milliseconds(n ast.Node, name string, v reflect.Value) {
	value, ok := d.number(n, name)
	if ok && (value < 1 || value > maxMilliseconds) {
		d.refuse(n.GetToken(), "%s must be between 1 and %d milliseconds", name, maxMilliseconds)
		return
	}
	v.SetInt(value)
}

package strictyaml

import (
	"reflect"
	"strings"
	"time"
)

// Milliseconds is a length of time as the files write it: a whole number of milliseconds.
type Milliseconds int64

const maxMilliseconds = 100 * 365 * 24 * 60 * 60 * 1000 // 100 years: what [Milliseconds.Duration] can always hold

// Duration returns the length of time.
func (m Milliseconds) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// OneOrMore is a list of text that may be written as one text.
type OneOrMore []string

// Line is where an item begins in the text. Embed it.
type Line int

// SetLine is called by [Decode].
func (l *Line) SetLine(n int) { *l = Line(n) }

// Field is a field of a file.
type Field struct {
	Name     string // with those that it is in, such as keys[].keyid
	Optional bool   // it may be absent
}

// Fields lists the fields of a type, each before those in it.
func Fields(t reflect.Type) []Field { return nested("", t) }

func nested(prefix string, t reflect.Type) []Field {
	switch {
	case t.Kind() == reflect.Pointer:
		return nested(prefix, t.Elem())
	case t.Kind() == reflect.Slice:
		return nested(prefix+"[]", t.Elem())
	case t.Kind() != reflect.Struct:
		return nil
	}
	var out []Field
	for _, f := range fieldsOf(t) {
		name := strings.TrimPrefix(prefix+"."+f.name, ".")
		out = append(append(out, Field{name, f.optional}), nested(name, t.Field(f.index).Type)...)
	}
	return out
}

package strictyaml

import (
	"bytes"
	"fmt"
	"maps"

	"github.com/goccy/go-yaml/token"
)

// The parser takes quadratic time for some texts and about 250 bytes for each token. These bounds keep a text that was
// made for it from taking more than seconds and a few hundred megabytes. None is near what people write.
const (
	maxMarks  = 600_000 // of which there can be at most two tokens each
	maxDepth  = 16      // of nested lists and mappings in one line
	maxFields = 1000    // of one block mapping
	maxOdd    = 1000    // values that are absent, anchors, aliases, tags and marked keys
)

// marks counts the bytes that can begin or end a token.
func marks(text []byte) int {
	n := 0
	for _, mark := range []byte("\n,:[]{}-?#&*!|>%@'\"") {
		n += bytes.Count(text, []byte{mark})
	}
	return n
}

// bounds is what has been seen of a text.
type bounds struct {
	line, column int          // column of the first name or value in the line, 0: not yet known
	entries      int          // list entries that begin in the line
	fields       map[int]int  // of the open block mappings, by the column of their names
	flow         []token.Type // how the open flow collections began
	odd          int
}

// tooMuch finds the token at which a text is too much for the parser, and says why.
func tooMuch(tokens token.Tokens) (at *token.Token, problem string) {
	b := bounds{fields: map[int]int{}}
	for i, t := range tokens {
		if t.Type == token.CommentType {
			continue
		}
		var next *token.Token
		for _, n := range tokens[i+1:] {
			if n.Type != token.CommentType {
				next = n
				break
			}
		}
		b.see(t, next)
		switch {
		case len(b.flow) > maxDepth || b.entries > maxDepth:
			return t, fmt.Sprintf("lists and mappings are nested more than %d deep", maxDepth)
		case b.fields[b.column] > maxFields:
			return t, fmt.Sprintf("a mapping has more than %d fields", maxFields)
		case b.odd > maxOdd:
			return t, fmt.Sprintf("more than %d values are absent, or anchors, aliases and the like", maxOdd)
		}
	}
	return nil, ""
}

func (b *bounds) see(t, next *token.Token) {
	if t.Position.Line != b.line {
		b.line, b.entries, b.column = t.Position.Line, 0, 0
	}
	if len(b.flow) > 0 {
		b.seeFlow(t, next)
		return
	}
	if b.column == 0 {
		maps.DeleteFunc(b.fields, func(column, _ int) bool { return column > t.Position.Column })
		if t.Type != token.SequenceEntryType && t.Type != token.MappingKeyType {
			b.column = t.Position.Column
		}
	}
	switch t.Type {
	case token.MappingStartType, token.SequenceStartType:
		b.flow = append(b.flow, t.Type)
	case token.SequenceEntryType:
		b.entries++
		if next == nil || next.Position.Line > b.line && next.Position.Column <= t.Position.Column {
			b.odd++
		}
	case token.MappingValueType:
		b.fields[b.column]++
		list := next != nil && next.Type == token.SequenceEntryType && next.Position.Column == b.column
		if next == nil || next.Position.Line > b.line && next.Position.Column <= b.column && !list {
			b.odd++
		}
	case token.AnchorType, token.AliasType, token.TagType, token.MappingKeyType:
		b.odd++
	}
}

func (b *bounds) seeFlow(t, next *token.Token) {
	ends := next == nil || next.Type == token.CollectEntryType || next.Type == token.MappingEndType || next.Type == token.SequenceEndType
	begins := t.Prev != nil && (t.Prev.Type == token.CollectEntryType || t.Prev.Type == token.MappingStartType)
	top := len(b.flow) - 1
	switch t.Type {
	case token.MappingStartType, token.SequenceStartType:
		b.flow = append(b.flow, t.Type)
	case token.MappingEndType, token.SequenceEndType:
		b.flow = b.flow[:top]
	case token.AnchorType, token.AliasType, token.TagType, token.MappingKeyType:
		b.odd++
	case token.CollectEntryType:
	default:
		if ends && (t.Type == token.MappingValueType || b.flow[top] == token.MappingStartType && begins) {
			b.odd++
		}
	}
}

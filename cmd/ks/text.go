package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"example.org/keyserver/internal/law"
)

// Everything that somebody else wrote (descriptions, contexts, names, reasons, claims, problem details)
// goes through this file before it reaches a terminal: what would not be seen as itself is written as
// <U+202E>, and no text can begin a line of ours. Sequences that control a terminal need a control character
// and so never pass.

// maxMarks is how many combining marks may follow one character. Living scripts need no more; piles of them
// paint over the lines above and below.
const maxMarks = 4

// visible returns the text on one line, with every character that is not printed as itself made visible.
func visible(s string) string {
	var b strings.Builder
	marks := maxMarks // none may stand on what we print before the text
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		mark := unicode.Is(unicode.M, r)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "<0x%02X>", s[i])
			marks = maxMarks
		case !printable(r), mark && marks == maxMarks, strings.HasPrefix(s[i:], "<U+"), strings.HasPrefix(s[i:], "<0x"):
			fmt.Fprintf(&b, "<%U>", r) // the last two cases: an escape is never the author's own words
			marks = maxMarks
		default:
			b.WriteRune(r)
			if mark {
				marks++
			} else {
				marks = 0
			}
		}
		i += n
	}
	return b.String()
}

// printable says whether a character is seen as itself: letters, marks, numbers, punctuation, symbols and
// spaces, unless Unicode says that they are rendered as nothing. Controls, bidirectional and zero-width
// characters, line separators, private and unassigned code points are not.
func printable(r rune) bool {
	const brailleBlank = '\u2800' // a symbol that is empty
	return r != brailleBlank &&
		unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Zs) &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// block returns the text with its lines kept, each made visible, broken so that the terminal has nothing to
// break, and begun with prefix. A line that the terminal breaks would go on at its left edge, where only our
// own lines begin. The result ends with a line feed.
func block(prefix, text string, width int) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		for _, part := range wrap(visible(line), width-columns(prefix)) {
			b.WriteString(prefix)
			b.WriteString(part)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// wrap breaks a visible line into parts of at most width columns, at spaces where there are any, without
// losing a character.
func wrap(line string, width int) []string {
	width = max(width, 10)
	var parts []string
	for {
		end := fit(line, width)
		if end == len(line) {
			return append(parts, line)
		}
		if space := strings.LastIndexByte(line[:end], ' '); space > end/2 {
			end = space + 1
		}
		parts = append(parts, line[:end])
		line = line[end:]
	}
}

// fit returns how many bytes of the line fit into width columns, at least one character's.
func fit(line string, width int) int {
	used := 0
	for i, r := range line {
		used += runeColumns(r)
		if used > width && i > 0 {
			return i
		}
	}
	return len(line)
}

// cell returns the text on one line of at most width columns.
func cell(s string, width int) string {
	s = visible(s)
	if columns(s) <= width {
		return s
	}
	return s[:fit(s, width-1)] + "…"
}

func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

// runeColumns says how wide a character is at most. Which characters are narrow is different from terminal
// to terminal, but none is wider than two columns.
func runeColumns(r rune) int {
	if r < utf8.RuneSelf {
		return 1
	}
	return 2
}

// visibleJSON returns the same JSON with every character that is not printed as itself written as \uXXXX.
// Such characters stand in strings only.
func visibleJSON(in []byte) []byte {
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); {
		r, n := utf8.DecodeRune(in[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, `\ufffd`...)
		case printable(r) || r == '\n' || r == '\t' || r == '\r':
			out = append(out, in[i:i+n]...)
		case r > 0xFFFF: // RFC 8259 section 7
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out
}

// quote returns the text as a word of a POSIX shell, for command lines that we print.
func quote(s string) string {
	plain := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("@%+=:,./_-", r))
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// shortDigest is the digest of an operation as people compare it. The web pages show the same.
func shortDigest(digest string) string { return visible(law.Digest(digest).Short()) }

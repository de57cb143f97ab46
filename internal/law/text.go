package law

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckText refuses text that a person could misread: empty or longer than max bytes, invalid UTF-8,
// control characters other than line feed, bidirectional and zero-width characters, and code points that
// Unicode does not assign (Trojan Source, CVE-2021-42574).
func CheckText(s string, max int) error {
	switch {
	case s == "":
		return fmt.Errorf("it is empty; write something")
	case len(s) > max:
		return fmt.Errorf("it is %d bytes long; %d are allowed", len(s), max)
	case !utf8.ValidString(s):
		return fmt.Errorf("it is not valid UTF-8")
	}
	visible := false
	for i, r := range s {
		if !showable(r) {
			return fmt.Errorf("it has the character %U at byte %d, which cannot be shown safely; remove it", r, i)
		}
		visible = visible || r != '\n' && !unicode.Is(unicode.Zs, r)
	}
	if !visible {
		return fmt.Errorf("it is blank; write something")
	}
	return nil
}

// CheckReason refuses what is no reason that people can read, for what is done without any other judgement of it.
func CheckReason(reason string) error {
	if err := CheckText(reason, MaxReason); err != nil {
		return refuse(Impossible, "reason: %v", err)
	}
	return nil
}

// CheckLine refuses what [CheckText] refuses, and line feeds: for names, which must not look like more than
// one line where they are shown.
func CheckLine(s string, max int) error {
	if strings.Contains(s, "\n") {
		return fmt.Errorf("it has more than one line; write it in one")
	}
	return CheckText(s, max)
}

// Line feed, letters, marks, numbers, punctuation, symbols and spaces can be shown, unless Unicode says
// that they are rendered as nothing. What is left out: controls, format characters (bidirectional and
// zero-width), line and paragraph separators, surrogates, private use, unassigned.
func showable(r rune) bool {
	if r == '\n' {
		return true
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Zs) &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

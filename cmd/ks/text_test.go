package main

import (
	"encoding/json/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"example.org/keyserver/api"
)

// IN-04, R17
func TestIN04_CharactersThatDoNotShowAsThemselvesAreMadeVisible(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "Release 4.2, signed-off (Ada)", "Release 4.2, signed-off (Ada)"},
		{"other scripts", "Änderung für 東京 — שלום", "Änderung für 東京 — שלום"},
		{"empty", "", ""},
		{"line feed", "a\nb", "a<U+000A>b"},
		{"carriage return", "approved\rrefused", "approved<U+000D>refused"},
		{"tab", "a\tb", "a<U+0009>b"},
		{"NUL", "a\x00b", "a<U+0000>b"},
		{"ANSI colour", "\x1b[32mapproved\x1b[0m", "<U+001B>[32mapproved<U+001B>[0m"},
		{"OSC 8 link", "\x1b]8;;http://x\x07y", "<U+001B>]8;;http://x<U+0007>y"},
		{"C1 CSI", "a\u009b31mb", "a<U+009B>31mb"},
		{"C1 CSI as a bare byte", "a\x9b31mb", "a<0x9B>31mb"},
		{"delete", "a\x7fb", "a<U+007F>b"},
		{"backspace", "no\b\byes", "no<U+0008><U+0008>yes"},
		{"right-to-left override", "user\u202Etxt.exe", "user<U+202E>txt.exe"},
		{"isolates", "\u2066a\u2069", "<U+2066>a<U+2069>"},
		{"marks of direction", "a\u200Eb\u200Fc\u061Cd", "a<U+200E>b<U+200F>c<U+061C>d"},
		{"zero width", "fw\u200B-\u200C\u200Dprod\uFEFF\u2060", "fw<U+200B>-<U+200C><U+200D>prod<U+FEFF><U+2060>"},
		{"soft hyphen", "fw\u00ADprod", "fw<U+00AD>prod"},
		{"line and paragraph separator", "a\u2028b\u2029c", "a<U+2028>b<U+2029>c"},
		{"Hangul filler", "a\u3164b\uFFA0", "a<U+3164>b<U+FFA0>"},
		{"Braille blank", "a\u2800b", "a<U+2800>b"},
		{"variation selector", "a\uFE0F\U000E0100", "a<U+FE0F><U+E0100>"},
		{"tags", "a\U000E0041", "a<U+E0041>"},
		{"private use", "\uE000", "<U+E000>"},
		{"unassigned", "\u0378", "<U+0378>"},
		{"not a character", "\uFFFF", "<U+FFFF>"},
		{"not UTF-8", "a\xffb\xc3", "a<0xFF>b<0xC3>"},
		{"accent", "e\u0301", "e\u0301"},
		{"accent with nothing to stand on", "\u0301e", "<U+0301>e"},
		{"accents in a pile", "e" + strings.Repeat("\u0301", 6), "e" + strings.Repeat("\u0301", 4) + "<U+0301><U+0301>"},
		{"an escape of the author's own", "a<U+202E>b", "a<U+003C>U+202E>b"},
		{"a byte escape of the author's own", "a<0xFF>b", "a<U+003C>0xFF>b"},
		{"other angle brackets", "<script>alert(1)</script> <user>", "<script>alert(1)</script> <user>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := visible(c.in); got != c.want {
				t.Errorf("visible(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

// IN-04: no character at all gets through that the law of texts would not let in.
func TestIN04_OfAllCharactersOnlyVisibleOnesPass(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue // surrogates have no UTF-8
		}
		passes := visible("a"+string(r)) == "a"+string(r)
		bad := unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp, unicode.Bidi_Control,
			unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) || !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z)
		if bad && passes {
			t.Errorf("%U passes", r)
		}
		if !bad && !passes && r != '\u2800' {
			t.Errorf("%U is made visible, but it is", r)
		}
	}
}

func TestNoTwoTextsLookTheSameOnceMadeVisible(t *testing.T) {
	seen := map[string]string{}
	parts := []string{"<", "U+", "0x", "202E", "FF", ">", "\u202E", "\xff", "e", "\u0301", "<U+003C>"}
	var try func(prefix string, depth int)
	try = func(prefix string, depth int) {
		v := visible(prefix)
		if other, ok := seen[v]; ok && other != prefix {
			t.Errorf("%q and %q both look like %q", prefix, other, v)
		}
		seen[v] = prefix
		for _, p := range parts {
			if depth > 0 {
				try(prefix+p, depth-1)
			}
		}
	}
	try("", 4)
}

// IN-04
func TestIN04_NoLineOfABlockBeginsAtTheLeftEdge(t *testing.T) {
	for _, text := range []string{
		"first\nstate: approved\n\nlast",
		"first\r\nstate: approved",
		"x" + strings.Repeat(" ", 200) + "state: approved",
		strings.Repeat("y", 500) + "\u202E\n\n\n",
		strings.Repeat("東", 300),
		"a\u2028state: approved\u0085b\vc\fd",
		"",
	} {
		const width = 60
		got := block("  | ", text, width)
		if !strings.HasSuffix(got, "\n") {
			t.Errorf("%q: the block does not end its last line", text)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(got, "\n"), "\n") {
			if !strings.HasPrefix(line, "  | ") || columns(line) > width {
				t.Errorf("%q: line %q of %d columns", text, line, columns(line))
			}
		}
	}
}

func TestABlockLosesNothing(t *testing.T) {
	text := "one two three, four five six seven; eight-nine-ten eleven twelve\nthirteen"
	got := strings.ReplaceAll(block("", text, 20), "\n", "")
	if want := strings.ReplaceAll(text, "\n", ""); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestACellStaysInItsColumn(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"short", "short"},
		{"exactly10!", "exactly10!"},
		{"more than ten", "more than…"},
		{"two\nlines", "two<U+000…"},
		{"東京東京東京", "東京東京…"},
	} {
		if got := cell(c.in, 10); got != c.want {
			t.Errorf("cell(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

// IN-04
func TestIN04_JSONIsTheSameJSONWithoutHiddenCharacters(t *testing.T) {
	text := "\x00\x1b[31m \u009b \u202E \u200B \u2028 \U000E0041 \U0001F600 ä \"quoted\" \\ \x7f\n"
	in, err := json.Marshal(map[string]string{"description": text})
	if err != nil {
		t.Fatal(err)
	}
	out := visibleJSON(in)
	for _, r := range string(out) {
		if !printable(r) {
			t.Errorf("%U is still in %q", r, out)
		}
	}
	var back map[string]string
	if err := json.Unmarshal(out, &back); err != nil {
		t.Fatal(err)
	}
	if back["description"] != text {
		t.Errorf("got %q back, want %q", back["description"], text)
	}
	if got, want := string(visibleJSON([]byte("\"\xff\""))), `"\ufffd"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAWordIsQuotedForTheShell(t *testing.T) {
	for in, want := range map[string]string{
		"fw.bin": "fw.bin", "/tmp/a_b-c.sig": "/tmp/a_b-c.sig", "": "''", "two words": "'two words'",
		"it's": `'it'\''s'`, "$(id)": "'$(id)'", "ä": "'ä'", "a;b": "'a;b'",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestTheShortDigestIsTheFirst16DigitsInGroupsOfFour(t *testing.T) {
	if got, want := shortDigest("3f2a90c177de04b8"+strings.Repeat("0", 48)), "3f2a-90c1-77de-04b8"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := shortDigest("3f\x1b"), "3f<U+001B>"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWhereAPrivateKeyCanHaveBeenIsSaidInWords(t *testing.T) {
	never := api.KeyAttributes{Local: true, Sensitive: true, AlwaysSensitive: true, NeverExtractable: true}
	brought, readable, leaves := never, never, never
	brought.Local, brought.NeverExtractable = false, false
	readable.Sensitive = false
	leaves.Extractable = true
	for want, a := range map[string]api.KeyAttributes{
		"made in the HSM, which it can never have left":                                  never,
		"brought into the HSM from elsewhere; it cannot leave it now, but could earlier": brought,
		"made in the HSM, and it can leave it":                                           leaves,
		"brought into the HSM from elsewhere, and it can leave it":                       {},
	} {
		if got := custody(a); got != want {
			t.Errorf("%+v: %s", a, got)
		}
	}
	if got := custody(readable); got != custody(leaves) {
		t.Errorf("%+v: %s", readable, got)
	}
}

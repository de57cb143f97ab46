package law_test

import (
	"strings"
	"testing"

	"example.org/keyserver/internal/law"

	"pgregory.net/rapid"
)

// docs/threats.md R17
func TestTextThatCouldDeceiveIsRefused(t *testing.T) {
	for name, bad := range map[string]string{
		"empty":                       "",
		"blank":                       " \n\u00a0\u3000",
		"too long":                    strings.Repeat("a", 101),
		"too long in bytes":           strings.Repeat("ü", 51),
		"not UTF-8":                   "a\xffb",
		"a surrogate":                 "a\xed\xa0\x80b",
		"NUL":                         "a\x00b",
		"tab":                         "a\tb",
		"carriage return":             "a\r\nb",
		"escape":                      "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
		"delete":                      "a\x7fb",
		"C1 control":                  "a\u009bb",
		"next line":                   "a\u0085b",
		"line separator":              "a\u2028b",
		"paragraph separator":         "a\u2029b",
		"right-to-left override":      "a\u202eb",
		"left-to-right isolate":       "a\u2066b",
		"right-to-left mark":          "a\u200fb",
		"Arabic letter mark":          "a\u061cb",
		"zero-width space":            "a\u200bb",
		"zero-width joiner":           "a\u200db",
		"word joiner":                 "a\u2060b",
		"byte order mark":             "\ufeffab",
		"soft hyphen":                 "a\u00adb",
		"combining grapheme joiner":   "a\u034fb",
		"Hangul filler":               "a\u3164b",
		"halfwidth Hangul filler":     "a\uffa0b",
		"Mongolian vowel separator":   "a\u180eb",
		"variation selector":          "a\ufe0fb",
		"variation selector 17":       "a\U000e0100b",
		"language tag":                "a\U000e0041b",
		"interlinear annotation":      "a\ufff9b",
		"private use":                 "a\ue000b",
		"unassigned":                  "a\u0378b",
		"not a character":             "a\uffffb",
		"beyond what Unicode assigns": "a\U0010ffffb",
	} {
		if err := law.CheckText(bad, 100); err == nil {
			t.Errorf("%s: %q is not refused", name, bad)
		}
	}
}

func TestTextThatPeopleWriteIsAllowed(t *testing.T) {
	for _, good := range []string{
		"a", "Release 1.2 (build 77) — signed & sealed, 100 % <b>\"quoted\"</b>\n\nSecond paragraph.\n", strings.Repeat("a", 100),
		"Größe, naïve, Ελληνικά, Русский", "日本語のテキスト", "한국어", "שלום", "مرحبا", "हिन्दी", "e\u0301", "👍 ✓ €", "a\u00a0b",
	} {
		if err := law.CheckText(good, 100); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestTextThatIsAllowedHasNoControlCharacters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		if law.CheckText(s, 1000) != nil {
			return
		}
		for _, r := range s {
			if r < ' ' && r != '\n' || 0x7f <= r && r <= 0x9f || 0x200b <= r && r <= 0x200f || 0x2028 <= r && r <= 0x202e || 0x2060 <= r && r <= 0x206f {
				t.Fatalf("%q with %U is allowed", s, r)
			}
		}
	})
}

// A name with a line feed would look like two lines where it is shown.
func TestANameHasOneLine(t *testing.T) {
	if err := law.CheckLine("fw.bin\napproved by bob", 100); err == nil {
		t.Error("a name of two lines is allowed")
	}
	if err := law.CheckLine("fw.bin", 100); err != nil {
		t.Errorf("a name of one line: %v", err)
	}
	if err := law.CheckLine("fw\u202Ebin", 100); err == nil {
		t.Error("a name with a bidirectional override is allowed")
	}
}

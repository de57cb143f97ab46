package webui

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/law"
)

func TestMarkdownShowsWhatIsUnderstoodAndLeavesTheRest(t *testing.T) {
	for in, want := range map[string]string{
		"# Title\ntext":            `<p class="heading">Title</p><p>text</p>`,
		"one\ntwo\n\nthree":        "<p>one<br>two</p><p>three</p>",
		"- a\n- **b**\n3. c":       `<ul class="bullets"><li>a</li><li><strong>b</strong></li></ul><ul class="numbers"><li>3. c</li></ul>`,
		"> quoted\n> more":         "<blockquote>quoted<br>more</blockquote>",
		"a `b*c*` *d*":             "<p>a <code>b*c*</code> <em>d</em></p>",
		"```sh\nrm <x>\n```\nend":  "<pre><code>``` sh\nrm &lt;x&gt;</code></pre><p>end</p>",
		"```\nnever closed":        "<pre><code>never closed</code></pre>",
		"<b>x</b> <!-- y -->":      "<p>&lt;b&gt;x&lt;/b&gt; &lt;!-- y --&gt;</p>",
		"[x](javascript:alert(1))": "<p>[x](javascript:alert(1))</p>",
		"[a]: https://e.x \"t\"":   `<p>[a]: https://e.x &#34;t&#34;</p>`,
		"&#x202E; &amp;":           "<p>&amp;#x202E; &amp;amp;</p>",
		"see https://git.example/a?b=1&c, https://git.example:444/ http://git.example/ https://u@git.example/ https://evil.example/": `<p>see ` +
			`<a href="https://git.example/a?b=1&amp;c" rel="noreferrer noopener external">https://git.example/a?b=1&amp;c</a>, https://git.example:444/ http://git.example/ https://u@git.example/ https://evil.example/</p>`,
		"a\u202eb\u200bc":       "<p>a⟨U+202E⟩b⟨U+200B⟩c</p>",
		"\x1b]8;;x\x07 \xff \t": "<p>⟨U+001B⟩]8;;x⟨U+0007⟩ ⟨FF⟩ ⟨U+0009⟩</p>",
	} {
		if got := string(markdown(in, []string{"git.example"})); got != want {
			t.Errorf("%q\n is %s\nnot %s", in, got, want)
		}
	}
}

var (
	tag     = regexp.MustCompile(`<[^>]*>`)
	ours    = regexp.MustCompile(`^</?(p|ul|li|pre|code|strong|em|blockquote|br|a)( class="(heading|bullets|numbers)"| href="https://git\.example/[^"<>]*" rel="noreferrer noopener external")?>$`)
	unequal = regexp.MustCompile(`[^a-z0-9]`)
)

// Whatever the orderer wrote, an approver sees each letter and digit of it, and the browser gets no tag but ours.
func TestMarkdownHidesNothingAndMakesNothing(t *testing.T) {
	word := rapid.StringMatching(`[a-z0-9]{1,4}|[#>*_~\x60\[\]()<>&"'!|\\-]{1,3}|https://git\.example/x|<script>|</p>| {1,3}|\n`)
	rapid.Check(t, func(t *rapid.T) {
		in := strings.Join(rapid.SliceOfN(word, 0, 40).Draw(t, "words"), "")
		out := string(markdown(in, []string{"git.example"}))
		for _, found := range tag.FindAllString(out, -1) {
			if !ours.MatchString(found) {
				t.Fatalf("%q makes the tag %s", in, found)
			}
		}
		letters := func(s string) string { return unequal.ReplaceAllString(s, "") }
		if got, want := letters(html.UnescapeString(tag.ReplaceAllString(out, ""))), letters(in); got != want {
			t.Fatalf("of %q this is seen: %q", in, out)
		}
	})
}

func TestTimesLengthsAndCountsAsPeopleReadThem(t *testing.T) {
	at := time.Date(2026, 11, 26, 9, 5, 7, 123e6, time.FixedZone("", 3600))
	for got, want := range map[string]string{
		string(moment(at)):                         `<time datetime="2026-11-26T08:05:07.123Z">2026-11-26 08:05:07 UTC</time>`,
		string(moment(time.Time{})):                "",
		left(90 * time.Minute):                     "1 h 30 min",
		left(49 * time.Hour):                       "2 d 1 h",
		left(61 * time.Second):                     "1 min 1 s",
		left(59 * time.Second):                     "59 s",
		left(0):                                    "over",
		length(90061001 * time.Millisecond):        "1 day 1 hour 1 minute 1 second 1 millisecond",
		length(0):                                  "no time",
		count(1, "use"):                            "1 use",
		count(0, "person", "people"):               "0 people",
		size(5):                                    "5 bytes",
		size(1536):                                 "1.5 KiB (1536 bytes)",
		sentence("it is so"):                       "It is so.",
		sentence("Is it?"):                         "Is it?",
		law.Digest("00112233445566778899").Short(): "0011-2233-4455-6677",
		joined([]law.KeyID{"a", "b", "c"}):         "a, b and c",
		joined([]law.KeyID{"a"}):                   "a",
		joined([]law.KeyID{}):                      "",
		either([]law.SubjectID{"a", "b", "c"}):     "a, b or c",
		shown("plain ünïcode 日本 \u2066x\u2069 \u00ad"): "plain ünïcode 日本 ⟨U+2066⟩x⟨U+2069⟩ ⟨U+00AD⟩",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzLocal(f *testing.F) {
	for _, s := range []string{"/", "/a?b=c", "//x", "/\\x", "https://x", "/%2f/x", "/signed-in"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := local(s)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t ") {
			t.Errorf("%q leads to %q", s, got)
		}
	})
}

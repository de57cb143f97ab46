package webui

import (
	"html/template"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// The context of an operation is Markdown, of which a small part is understood: headings, lists, quotations, code,
// emphasis and addresses. It is not CommonMark, on purpose: there the text can hide things (link definitions,
// titles, comments, raw HTML, character references), and an approver must see every character that the orderer
// wrote. Whatever is not understood stands there as it was written.

// markdown renders text so that nothing of it is hidden. Addresses become links only to the given hosts.
func markdown(text string, hosts []string) template.HTML {
	m := &marker{hosts: hosts}
	lines := strings.Split(strings.ReplaceAll(shown(text), "\r", ""), "\n")
	for len(lines) > 0 {
		lines = lines[m.block(lines):]
	}
	return template.HTML(m.out.String())
}

type marker struct {
	out   strings.Builder
	hosts []string
}

var (
	headingLine = regexp.MustCompile(`^#{1,6} +(.+)$`)
	bulletLine  = regexp.MustCompile(`^ {0,3}[-*] +(.+)$`)
	numberLine  = regexp.MustCompile(`^ {0,3}([0-9]{1,4}[.)]) +(.+)$`)
)

// block writes the block that the lines begin with, and returns how many lines it has, at least 1.
func (m *marker) block(lines []string) int {
	first := lines[0]
	switch {
	case strings.TrimSpace(first) == "":
		return 1
	case strings.HasPrefix(first, "```"):
		return m.code(lines)
	case headingLine.MatchString(first):
		m.element("p", "heading", headingLine.FindStringSubmatch(first)[1])
		return 1
	case strings.HasPrefix(first, ">"):
		n := run(lines, func(s string) bool { return strings.HasPrefix(s, ">") })
		var inner []string
		for _, l := range lines[:n] {
			inner = append(inner, strings.TrimPrefix(strings.TrimPrefix(l, ">"), " "))
		}
		m.element("blockquote", "", strings.Join(inner, "\n"))
		return n
	case bulletLine.MatchString(first):
		return m.list(lines, bulletLine, "bullets", func(s []string) string { return s[1] })
	case numberLine.MatchString(first): // with the numbers that were written, not those that a browser would count
		return m.list(lines, numberLine, "numbers", func(s []string) string { return s[1] + " " + s[2] })
	}
	n := max(1, run(lines, plain))
	m.element("p", "", strings.Join(lines[:n], "\n"))
	return n
}

func plain(s string) bool {
	return strings.TrimSpace(s) != "" && !strings.HasPrefix(s, "```") && !strings.HasPrefix(s, ">") &&
		!headingLine.MatchString(s) && !bulletLine.MatchString(s) && !numberLine.MatchString(s)
}

// run is how many lines at the beginning are of a kind.
func run(lines []string, is func(string) bool) int {
	n := slices.IndexFunc(lines, func(s string) bool { return !is(s) })
	if n < 0 {
		return len(lines)
	}
	return n
}

// code writes a fenced block; what stands behind the fence is kept.
func (m *marker) code(lines []string) int {
	n := 1 + run(lines[1:], func(s string) bool { return strings.TrimSpace(s) != "```" })
	body := lines[1:n]
	if word := strings.TrimPrefix(lines[0], "```"); word != "" {
		body = append([]string{"``` " + word}, body...)
	}
	m.out.WriteString("<pre><code>" + template.HTMLEscapeString(strings.Join(body, "\n")) + "</code></pre>")
	return min(n+1, len(lines))
}

func (m *marker) list(lines []string, item *regexp.Regexp, class string, text func([]string) string) int {
	n := run(lines, item.MatchString)
	m.out.WriteString(`<ul class="` + class + `">`)
	for _, l := range lines[:n] {
		m.element("li", "", text(item.FindStringSubmatch(l)))
	}
	m.out.WriteString("</ul>")
	return n
}

func (m *marker) element(name, class, text string) {
	m.out.WriteString("<" + name)
	if class != "" {
		m.out.WriteString(` class="` + class + `"`)
	}
	m.out.WriteString(">")
	m.inline(text)
	m.out.WriteString("</" + name + ">")
}

// span finds code, strong and emphasised text, and addresses.
var span = regexp.MustCompile("`[^`\n]+`|\\*\\*[^*\n]+\\*\\*|\\*[^*\\s][^*\n]*\\*|https?://[^\\s<>\"'`)\\]]+")

func (m *marker) inline(text string) {
	for {
		at := span.FindStringIndex(text)
		if at == nil {
			m.text(text)
			return
		}
		m.text(text[:at[0]])
		m.span(text[at[0]:at[1]])
		text = text[at[1]:]
	}
}

func (m *marker) span(s string) {
	switch {
	case strings.HasPrefix(s, "`"):
		m.wrap("code", strings.Trim(s, "`"))
	case strings.HasPrefix(s, "**"):
		m.wrap("strong", strings.Trim(s, "*"))
	case strings.HasPrefix(s, "*"):
		m.wrap("em", strings.Trim(s, "*"))
	default:
		end := strings.TrimRight(s, ".,;:!?")
		m.out.WriteString(string(link(end, m.hosts)))
		m.text(s[len(end):])
	}
}

func (m *marker) wrap(name, text string) {
	m.out.WriteString("<" + name + ">" + template.HTMLEscapeString(text) + "</" + name + ">")
}

func (m *marker) text(s string) {
	m.out.WriteString(strings.ReplaceAll(template.HTMLEscapeString(s), "\n", "<br>"))
}

// link shows text as a link if it is an https address on one of the hosts, and as it is if not.
func link(s string, hosts []string) template.HTML {
	text := template.HTMLEscapeString(shown(s))
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" || !slices.Contains(hosts, u.Host) || shown(s) != s {
		return template.HTML(text)
	}
	return template.HTML(`<a href="` + template.HTMLEscapeString(u.String()) + `" rel="noreferrer noopener external">` + text + `</a>`)
}

package webui

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.org/keyserver/internal/law"
)

func functions() template.FuncMap {
	return template.FuncMap{
		"static": staticURL, "time": moment, "until": countdown, "shown": shown, "short": law.Digest.Short, "length": length, "bytes": size,
		"count": count, "keys": joined[law.KeyID], "people": joined[law.SubjectID], "sentence": sentence,
		"nav": navItem, "pips": pips, "standing": standing,
	}
}

// moment shows a time in UTC; the script shows it in the viewer's zone and keeps UTC at hand.
func moment(t time.Time) template.HTML {
	if t.IsZero() {
		return ""
	}
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format("2006-01-02T15:04:05.000Z") + `">` + t.Format("2006-01-02 15:04:05 UTC") + `</time>`)
}

// countdown shows how long it is until a time; the script counts on.
func countdown(t, now time.Time) template.HTML {
	return template.HTML(`<time class="countdown" data-until="` + t.UTC().Format("2006-01-02T15:04:05.000Z") + `">` + template.HTMLEscapeString(left(t.Sub(now))) + `</time>`)
}

// left says how much time is left, in the two largest units. The script says it in the same words.
func left(d time.Duration) string {
	if d <= 0 {
		return "over"
	}
	s := int64(d / time.Second)
	switch days, hours, minutes := s/86400, s/3600%24, s/60%60; {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%d min %d s", minutes, s%60)
	}
	return fmt.Sprintf("%d s", s)
}

// length says how long something lasts, exactly.
func length(d time.Duration) string {
	var parts []string
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}, {time.Millisecond, "millisecond"}} {
		if n := d / u.unit; n > 0 {
			parts = append(parts, count(int64(n), u.name))
			d -= n * u.unit
		}
	}
	if len(parts) == 0 {
		return "no time"
	}
	return strings.Join(parts, " ")
}

// count is a number of things.
func count(n any, one string, many ...string) string {
	number := fmt.Sprint(n)
	if number == "1" {
		return "1 " + one
	}
	if len(many) > 0 {
		return number + " " + many[0]
	}
	return number + " " + one + "s"
}

// size is a number of bytes as people read it, beside the exact one.
func size(n int64) string {
	exact := count(n, "byte")
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.bytes {
			return fmt.Sprintf("%.1f %s (%s)", float64(n)/float64(u.bytes), u.name, exact)
		}
	}
	return exact
}

// shown writes text so that nothing in it is hidden or turns other text around: what cannot be seen is shown by
// its code point. The law refuses such text in operations; claims, names and logs can have come by other ways.
func shown(s any) string {
	text := fmt.Sprint(s)
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, "⟨%02X⟩", text[i])
		case r == '\n' || r == ' ' || unicode.IsGraphic(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && (!unicode.IsSpace(r)):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		}
	}
	return b.String()
}

// sentence begins with a capital letter and ends with a full stop.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	s = string(unicode.ToUpper(r)) + s[n:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}

// joined lists names: "a, b and c".
func joined[T ~string](names []T) string {
	switch n := len(names); n {
	case 0:
		return ""
	case 1:
		return string(names[0])
	default:
		parts := make([]string, n-1)
		for i := range parts {
			parts[i] = string(names[i])
		}
		return strings.Join(parts, ", ") + " and " + string(names[n-1])
	}
}

// navLink is one entry of the navigation.
type navLink struct {
	URL, Text string
	Current   bool
}

func navItem(sh *shell, section, url, text string) navLink {
	return navLink{url, text, sh.Section == section}
}

// pips are the approvals that a key needs, those that are there first.
func pips(k keyLine) []bool {
	all := make([]bool, min(k.Needed.People(), 12))
	for i := range all {
		all[i] = i < len(k.Counted)
	}
	return all
}

// standing are those whose approvals have not been withdrawn.
func standing(all []law.Approval) []law.SubjectID {
	var who []law.SubjectID
	for _, a := range all {
		if a.Withdrawn.IsZero() {
			who = append(who, a.By)
		}
	}
	return who
}

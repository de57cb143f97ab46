package strictyaml

import (
	"strconv"
	"strings"
)

// MaxName is how many bytes of an unknown name are compared and shown.
const MaxName = 64

func names(fields []field) []string {
	var out []string
	for _, f := range fields {
		out = append(out, f.name)
	}
	return out
}

// meant says which of the valid names was probably meant, and which one that is; or else all of them.
func meant(name string, valid []string) (hint, near string) {
	best, least := "", (len(name)+4)/3 // one slip in three letters is still a slip
	for _, v := range valid {
		if d := distance(plain(name), plain(v)); d < least {
			best, least = v, d
		}
	}
	if best != "" && len(name) <= MaxName {
		return "did you mean " + code(best) + "?", best
	}
	if len(valid) == 1 {
		return "only " + code(valid[0]) + " can be here", ""
	}
	return "the fields here are " + list(codes(valid), "and"), ""
}

// plain leaves out what people vary without meaning anything by it.
func plain(name string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(name[:min(len(name), MaxName)]))
}

// distance counts the letters to insert, remove, replace or swap with the next one to get from a to b
// (optimal string alignment).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		for j := range d[i] {
			switch {
			case i == 0 || j == 0:
				d[i][j] = i + j
			case a[i-1] == b[j-1]:
				d[i][j] = d[i-1][j-1]
			default:
				d[i][j] = 1 + min(d[i-1][j], d[i][j-1], d[i-1][j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}

// code sets a name off from the sentence, with anything that cannot be seen made visible.
func code(name string) string {
	if len(name) > MaxName {
		name = name[:MaxName] + "…"
	}
	quoted := strconv.Quote(name)
	return "`" + quoted[1:len(quoted)-1] + "`"
}

func codes(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, code(n))
	}
	return out
}

package policy

import (
	"encoding/json/v2"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.org/keyserver/internal/law"
)

const heading = `# The configuration of a keyserver: who may sign in, who may do what, and the keys.
# Change it here, and make a plan of the difference: ks admin plan -f FILE --description TEXT
# Roles and issuers that are not named go; subjects and keys never do: disable them, or revoke keys.
`

// Write writes a policy, which [Parse] reads as the same configuration. Key pairs and certificates are no part of it;
// of a key pair its fingerprint is told in a comment.
func Write(c law.Configuration) []byte {
	w := &writer{}
	w.b.WriteString(heading)
	w.configuration(c)
	return []byte(w.b.String())
}

// WriteFragment writes a change, which [ParseFragment] reads as the same.
func WriteFragment(c law.Changes) []byte {
	w := &writer{}
	w.configuration(c.Set)
	if len(c.RemoveRoles)+len(c.RemoveIssuers) > 0 {
		w.line(0, "remove:")
		w.list(1, "roles", c.RemoveRoles)
		w.list(1, "issuers", c.RemoveIssuers)
	}
	w.list(0, "replace-pairs", c.ReplacePairs)
	return []byte(w.b.String())
}

type writer struct{ b strings.Builder }

func (w *writer) line(depth int, format string, args ...any) {
	w.b.WriteString(strings.Repeat("  ", depth))
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

// list writes a field that is a list, nothing if the list is empty.
func (w *writer) list(depth int, name string, values any) {
	if s := flow(values); s != "[]" {
		w.line(depth, "%s: %s", name, s)
	}
}

// text writes a field that is text, nothing if there is none.
func (w *writer) text(depth int, name, value string) {
	if value != "" {
		w.line(depth, "%s: %s", name, scalar(value))
	}
}

func (w *writer) configuration(c law.Configuration) {
	if a := c.Administration; a != (law.Administration{}) {
		effective := a.Effective()
		w.line(0, "administration: {administrators: %d, active-validityms: %d}", effective.Administrators, effective.Active.Milliseconds())
	}
	section(w, "issuers", c.Issuers, w.issuer)
	section(w, "subjects", c.Subjects, w.subject)
	section(w, "roles", c.Roles, w.role)
	section(w, "keys", c.Keys, w.key)
}

func section[T any](w *writer, name string, items []T, write func(T)) {
	if len(items) == 0 {
		return
	}
	if w.b.Len() > 0 {
		w.b.WriteByte('\n')
	}
	w.line(0, "%s:", name)
	for _, i := range items {
		write(i)
	}
}

func (w *writer) issuer(i law.Issuer) {
	w.line(1, "- url: %s", scalar(i.URL))
	w.list(2, "audiences", i.Audiences)
	w.list(2, "algorithms", i.Algorithms)
	w.list(2, "types", i.Types)
	w.text(2, "keys-url", i.KeysURL)
	w.text(2, "actor-claim", i.ActorClaim)
	if i.ActorOptional {
		w.line(2, "actor: optional")
	}
	w.list(2, "captured-claims", i.Captured)
}

func (w *writer) subject(s law.Subject) {
	w.line(1, "- id: %s", scalar(string(s.ID)))
	w.line(2, "kind: %s", s.Kind)
	w.line(2, "name: %s", scalar(s.Name))
	if !s.Enabled {
		w.line(2, "enabled: false")
	}
	if len(s.Identities) > 0 {
		w.line(2, "identities:")
	}
	for _, i := range s.Identities {
		var claims []string
		for _, claim := range slices.Sorted(maps.Keys(i.Claims)) {
			claims = append(claims, scalar(claim)+": "+oneOrMore(i.Claims[claim]))
		}
		w.line(3, "- {issuer: %s, claims: {%s}}", scalar(i.Issuer), strings.Join(claims, ", "))
	}
	if len(s.Actors) > 0 {
		w.line(2, "actors:")
	}
	for _, a := range s.Actors {
		w.line(3, "- {issuer: %s, value: %s}", scalar(a.Issuer), scalar(a.Value))
	}
}

func oneOrMore(values []string) string {
	if len(values) == 1 {
		return scalar(values[0])
	}
	return flow(values)
}

func (w *writer) role(r law.Role) {
	w.line(1, "- id: %s", scalar(string(r.ID)))
	w.line(2, "kind: %s", r.Kind)
	w.list(2, "keys", r.Keys)
	w.list(2, "members", r.Members)
}

func (w *writer) key(k law.Key) {
	w.line(1, "- keyid: %s", scalar(string(k.ID)))
	if k.Fingerprint != "" {
		w.line(2, "# fingerprint %s, version %d", k.Fingerprint, k.Version)
	}
	w.line(2, "type: %s", k.Type)
	w.line(2, "algorithm: %s", k.Algorithm)
	w.line(2, "hash: %s", k.Hash)
	w.list(2, "schemes", k.Schemes)
	w.line(2, "requirement: %d", k.Requirement.People())
	w.line(2, "max-validityms: %d", k.MaxValidity.Milliseconds())
	w.line(2, "max-usagecount: %d", k.MaxUses)
	w.line(2, "approvals: %s", k.Approvals)
	artifacts := "optional"
	if k.ArtifactsNeeded {
		artifacts = "required"
	}
	w.line(2, "artifacts: %s", artifacts)
	w.line(2, "keystore: %s", scalar(k.Keystore))
	w.text(2, "adopt", k.Adopted)
	if k.MayLeave {
		w.line(2, "extractable: allowed")
	}
	if k.State != law.KeyActive {
		w.line(2, "state: %s", k.State)
	}
	if k.Profile != nil {
		w.profile(*k.Profile, k.Type)
	}
}

func (w *writer) profile(p law.Profile, of law.KeyType) {
	w.line(2, "certificate:")
	var name []string
	for _, a := range subjectOf(p.Subject) {
		if a.value != "" {
			name = append(name, a.name+": "+scalar(a.value))
		}
	}
	w.line(3, "subject: {%s}", strings.Join(name, ", "))
	w.line(3, "validityms: %d", p.Validity.Milliseconds())
	if of != law.Firmware {
		w.line(3, "path-length: %d", p.PathLen)
	}
	w.list(3, "key-usage", p.KeyUsage)
	w.list(3, "extended-key-usage", p.ExtendedKeyUsage)
	w.text(3, "crl-url", p.CRLURL)
}

type attribute struct{ name, value string }

// subjectOf lists the attributes of a name, empty ones too.
func subjectOf(n law.Name) []attribute {
	return []attribute{
		{"common-name", n.CommonName}, {"organization", n.Organization}, {"organizational-unit", n.OrganizationalUnit},
		{"locality", n.Locality}, {"province", n.Province}, {"country", n.Country},
	}
}

// flow writes a list of texts in one line.
func flow(values any) string {
	var words []string
	for _, v := range textsOf(values) {
		words = append(words, scalar(v))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func textsOf(values any) []string {
	switch values := values.(type) {
	case []string:
		return values
	case []law.KeyID:
		return texts(values)
	case []law.SubjectID:
		return texts(values)
	case []law.RoleID:
		return texts(values)
	case []law.Scheme:
		return texts(values)
	case []law.KeyUsage:
		return texts(values)
	}
	panic(fmt.Sprintf("policy: a list of %T cannot be written", values))
}

func texts[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// What can stand without quotes wherever a text can, and means itself to every YAML reader.
var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._/+@-]*( [A-Za-z0-9._/+@-]+)*$`)

// Words that YAML readers take for something else, some of them only old ones.
var taken = []string{"true", "false", "yes", "no", "on", "off", "y", "n", "null"}

func scalar(s string) string {
	if plain.MatchString(s) && !slices.Contains(taken, strings.ToLower(s)) {
		return s
	}
	out, err := json.Marshal(s) // a JSON text is a double-quoted text of YAML
	if err != nil {
		return strconv.QuoteToASCII(s) // no valid UTF-8: no reader takes it
	}
	return string(out)
}

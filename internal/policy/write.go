package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"example.org/keyserver/internal/law"
)

const heading = `# The configuration of a keyserver: who may sign in, who may do what, and the keys. Key pairs and certificates are not in it.
# Change it here and make a plan of the difference: ks admin plan -f FILE --description TEXT
# It is whole: roles and issuers that it does not name go. Subjects and keys never go: disable them, or revoke a key.

`

// Write writes a policy, which [Parse] reads as the same configuration. Key pairs and certificates are no part of it;
// of a key pair its fingerprint is told in a comment.
func Write(c law.Configuration) []byte {
	w := &writer{}
	w.b.WriteString(heading)
	c.Administration = c.Administration.Effective()
	w.configuration(c)
	return []byte(w.b.String())
}

// WriteFragment writes a change, which [ParseFragment] reads as the same.
func WriteFragment(c law.Changes) []byte {
	w := &writer{}
	w.configuration(c.Set)
	if len(c.RemoveRoles)+len(c.RemoveIssuers) > 0 {
		w.line(0, "remove:")
		list(w, 1, "roles", c.RemoveRoles)
		list(w, 1, "issuers", c.RemoveIssuers)
	}
	list(w, 0, "replace-pairs", c.ReplacePairs)
	return []byte(w.b.String())
}

// width is how long a line may be, in bytes, before an object or a list in it is written in several. One text is never
// broken.
const width = 160

type writer struct{ b strings.Builder }

func (w *writer) line(depth int, format string, args ...any) {
	w.b.WriteString(strings.Repeat("  ", depth))
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

// list writes a field that is a list, nothing if the list is empty.
func list[T ~string](w *writer, depth int, name string, values []T) {
	if len(values) == 0 {
		return
	}
	if s := name + ": " + flow(values); 2*depth+len(s) <= width {
		w.line(depth, "%s", s)
		return
	}
	w.line(depth, "%s:", name)
	for _, v := range values {
		w.line(depth+1, "- %s", scalar(string(v)))
	}
}

// text writes a field that is text, nothing if there is none.
func (w *writer) text(depth int, name, value string) {
	if value != "" {
		w.line(depth, "%s: %s", name, scalar(value))
	}
}

// inOneLine writes an object of a list in one line if that is not too long, and says whether it did.
func (w *writer) inOneLine(fields ...string) bool {
	s := "- {" + strings.Join(slices.DeleteFunc(fields, func(f string) bool { return f == "" }), ", ") + "}"
	if 2+len(s) > width {
		return false
	}
	w.line(1, "%s", s)
	return true
}

func (w *writer) configuration(c law.Configuration) {
	if a := c.Administration; a != (law.Administration{}) {
		a = a.Effective()
		w.line(0, "administration: {administrators: %d, active-validityms: %d}", a.Administrators, a.Active.Milliseconds())
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
	list(w, 2, "audiences", i.Audiences)
	list(w, 2, "algorithms", i.Algorithms)
	list(w, 2, "types", i.Types)
	w.text(2, "keys-url", i.KeysURL)
	w.text(2, "actor-claim", i.ActorClaim)
	if i.ActorOptional {
		w.line(2, "actor: optional")
	}
	list(w, 2, "captured-claims", i.Captured)
}

func (w *writer) subject(s law.Subject) {
	enabled := ""
	if !s.Enabled {
		enabled = "enabled: false"
	}
	var identities, actors []string
	for _, i := range s.Identities {
		identities = append(identities, identity(i))
	}
	for _, a := range s.Actors {
		actors = append(actors, actor(a))
	}
	id, kind, name := "id: "+scalar(string(s.ID)), "kind: "+string(s.Kind), "name: "+scalar(s.Name)
	if w.inOneLine(id, kind, name, enabled, bracketed("identities", identities), bracketed("actors", actors)) {
		return
	}
	w.line(1, "- %s", id)
	w.line(2, "%s", kind)
	w.line(2, "%s", name)
	if enabled != "" {
		w.line(2, "%s", enabled)
	}
	w.block(2, "identities", identities)
	w.block(2, "actors", actors)
}

// block writes a field that is a list of mappings, nothing if the list is empty.
func (w *writer) block(depth int, name string, items []string) {
	if len(items) == 0 {
		return
	}
	w.line(depth, "%s:", name)
	for _, i := range items {
		w.line(depth+1, "- %s", i)
	}
}

func bracketed(name string, items []string) string {
	if len(items) == 0 {
		return ""
	}
	return name + ": [" + strings.Join(items, ", ") + "]"
}

func identity(i law.Identity) string {
	var claims []string
	for _, claim := range slices.Sorted(maps.Keys(i.Claims)) {
		values := i.Claims[claim]
		name, value := scalar(claim), flow(values)
		if len(values) == 1 {
			value = scalar(values[0])
		}
		claims = append(claims, name+": "+value)
	}
	return fmt.Sprintf("{issuer: %s, claims: {%s}}", scalar(i.Issuer), strings.Join(claims, ", "))
}

func actor(a law.ActorName) string {
	return fmt.Sprintf("{issuer: %s, value: %s}", scalar(a.Issuer), scalar(a.Value))
}

func (w *writer) role(r law.Role) {
	id, kind, keys := "id: "+scalar(string(r.ID)), "kind: "+string(r.Kind), ""
	if len(r.Keys) > 0 {
		keys = "keys: " + flow(r.Keys)
	}
	if w.inOneLine(id, kind, keys, "members: "+flow(r.Members)) {
		return
	}
	w.line(1, "- %s", id)
	w.line(2, "%s", kind)
	list(w, 2, "keys", r.Keys)
	list(w, 2, "members", r.Members)
}

func (w *writer) key(k law.Key) {
	w.line(1, "- keyid: %s", scalar(string(k.ID)))
	if k.Fingerprint != "" {
		w.line(2, "# fingerprint %s, version %d", k.Fingerprint, k.Version)
	}
	w.line(2, "type: %s", k.Type)
	w.line(2, "algorithm: %s", k.Algorithm)
	w.line(2, "hash: %s", k.Hash)
	list(w, 2, "schemes", k.Schemes)
	w.line(2, "requirement: %d", k.Requirement.People())
	w.line(2, "max-validityms: %d", k.MaxValidity.Milliseconds())
	w.line(2, "max-usagecount: %d", k.MaxUses)
	w.line(2, "approvals: %s", k.Approvals)
	w.line(2, "artifacts: %s", choice(k.ArtifactsNeeded, "required", "optional"))
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
	if k.Devices != nil {
		w.devices(*k.Devices)
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
	list(w, 3, "key-usage", p.KeyUsage)
	list(w, 3, "extended-key-usage", p.ExtendedKeyUsage)
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
func flow[T ~string](values []T) string {
	var words []string
	for _, v := range values {
		words = append(words, scalar(string(v)))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// What can stand without quotes wherever a text can, and means itself to every YAML reader.
var plain = regexp.MustCompile(`^(https?://)?[A-Za-z][A-Za-z0-9_./+@-]*( [A-Za-z0-9_./+@-]+)*$`)

// Words that YAML readers take for something else, some of them only old ones.
var taken = []string{"true", "false", "yes", "no", "on", "off", "y", "n", "null"}

// scalar writes one text, in quotes where it needs them.
func scalar(s string) string {
	if plain.MatchString(s) && !slices.Contains(taken, strings.ToLower(s)) {
		return s
	}
	return quoted(s)
}

// quoted writes a text in double quotes, and what cannot be shown safely as its code.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case law.CheckLine("x"+string(r), utf8.UTFMax+1) == nil:
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"example.org/keyserver/internal/law"
)

// Item is what a change does to one object, for people.
type Item struct {
	Kind   string   // administration, issuer, key, subject or role
	ID     string   // empty for the administration
	Change string   // add, change or remove
	Lines  []string // what of it is new, other or gone, in the words of the document
}

// Describe says what a change does to the configuration before it, object by object. Of an object that changes only
// what changes is told.
func Describe(c law.Changes, before law.Configuration) []Item {
	var items []Item
	if a := c.Set.Administration; a != (law.Administration{}) {
		items = append(items, item("administration", "", administrationOf(before.Administration.Effective()), administrationOf(a.Effective())))
	}
	items = append(items, describe("issuer", c.Set.Issuers, before.Issuers, func(i law.Issuer) string { return i.URL }, propertiesOfIssuer)...)
	items = append(items, describe("key", c.Set.Keys, before.Keys, func(k law.Key) string { return string(k.ID) }, propertiesOfKey)...)
	items = append(items, describe("subject", c.Set.Subjects, before.Subjects, func(s law.Subject) string { return string(s.ID) }, propertiesOfSubject)...)
	items = append(items, describe("role", c.Set.Roles, before.Roles, func(r law.Role) string { return string(r.ID) }, propertiesOfRole)...)
	for _, id := range c.ReplacePairs {
		items = append(items, Item{"key", string(id), "change", []string{"a new key pair, which ends every open operation with the key"}})
	}
	for _, id := range c.RemoveRoles {
		for _, r := range before.Roles {
			if r.ID == id {
				items = append(items, item("role", string(id), propertiesOfRole(r), nil))
			}
		}
	}
	for _, url := range c.RemoveIssuers {
		for _, i := range before.Issuers {
			if i.URL == url {
				items = append(items, item("issuer", url, propertiesOfIssuer(i), nil))
			}
		}
	}
	return items
}

func describe[T any](kind string, set, before []T, id func(T) string, of func(T) []property) []Item {
	was := make(map[string]T, len(before))
	for _, b := range before {
		was[id(b)] = b
	}
	var items []Item
	for _, s := range set {
		var then []property
		if b, known := was[id(s)]; known {
			then = of(b)
		}
		items = append(items, item(kind, id(s), then, of(s)))
	}
	return items
}

// property is a field of an object: what it says, nothing if it is absent.
type property struct {
	name   string
	values []string
	list   bool // in no order
}

func one(name, value string) property {
	if value == "" {
		return property{name: name}
	}
	return property{name: name, values: []string{value}}
}

func many[T ~string](name string, values []T) property {
	return property{name: name, values: texts(values), list: true}
}

// item compares an object with what it was. Both have the same properties in the same order; nil: it is not there.
func item(kind, id string, then, now []property) Item {
	i := Item{Kind: kind, ID: id, Change: "change"}
	switch {
	case then == nil:
		i.Change = "add"
	case now == nil:
		i.Change = "remove"
	}
	for n := range max(len(then), len(now)) {
		var was, is property
		if then != nil {
			was = then[n]
		}
		if now != nil {
			is = now[n]
		}
		if line := change(was, is); line != "" {
			i.Lines = append(i.Lines, line)
		}
	}
	return i
}

func change(was, is property) string {
	more, less := without(is.values, was.values), without(was.values, is.values)
	name := is.name + ": "
	switch {
	case was.name == "" && len(is.values) > 0:
		return "+ " + name + strings.Join(is.values, ", ")
	case is.name == "" && len(was.values) > 0:
		return "- " + was.name + ": " + strings.Join(was.values, ", ")
	case len(more)+len(less) == 0 && (is.list || slices.Equal(was.values, is.values)):
		return ""
	case !is.list:
		return name + shown(was.values) + " → " + shown(is.values)
	}
	var parts []string
	for _, m := range more {
		parts = append(parts, "+ "+m)
	}
	for _, l := range less {
		parts = append(parts, "- "+l)
	}
	return name + strings.Join(parts, ", ")
}

func without(a, b []string) []string {
	in := make(map[string]bool, len(b))
	for _, v := range b {
		in[v] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(v string) bool { return in[v] })
}

func shown(values []string) string {
	if len(values) == 0 {
		return "none"
	}
	return strings.Join(values, ", ")
}

func administrationOf(a law.Administration) []property {
	return []property{one("administrators", strconv.Itoa(a.Administrators)), one("active-validityms", strconv.FormatInt(a.Active.Milliseconds(), 10))}
}

func propertiesOfIssuer(i law.Issuer) []property {
	actor := "required"
	if i.ActorOptional {
		actor = "optional"
	}
	if i.ActorClaim == "" {
		actor = ""
	}
	return []property{
		many("audiences", i.Audiences), many("algorithms", i.Algorithms), many("types", i.Types), one("keys-url", i.KeysURL),
		one("actor-claim", i.ActorClaim), one("actor", actor), many("captured-claims", i.Captured),
	}
}

func propertiesOfSubject(s law.Subject) []property {
	var identities, actors []string
	for _, i := range s.Identities {
		var claims []string
		for _, claim := range slices.Sorted(maps.Keys(i.Claims)) {
			claims = append(claims, claim+" = "+strings.Join(i.Claims[claim], " or "))
		}
		identities = append(identities, "at "+i.Issuer+" with "+strings.Join(claims, " and "))
	}
	for _, a := range s.Actors {
		actors = append(actors, a.Value+" at "+a.Issuer)
	}
	return []property{
		one("kind", string(s.Kind)), one("name", s.Name), one("enabled", strconv.FormatBool(s.Enabled)),
		many("identities", identities), many("actors", actors),
	}
}

func propertiesOfRole(r law.Role) []property {
	return []property{one("kind", string(r.Kind)), many("keys", r.Keys), many("members", r.Members)}
}

func propertiesOfKey(k law.Key) []property {
	artifacts, extractable := "optional", "refused"
	if k.ArtifactsNeeded {
		artifacts = "required"
	}
	if k.MayLeave {
		extractable = "allowed"
	}
	if k.Adopted == "" {
		extractable = ""
	}
	all := []property{
		one("type", string(k.Type)), one("state", string(k.State)), one("requirement", strconv.Itoa(k.Requirement.People())),
		one("algorithm", string(k.Algorithm)), one("hash", string(k.Hash)), many("schemes", k.Schemes),
		one("max-validityms", strconv.FormatInt(k.MaxValidity.Milliseconds(), 10)), one("max-usagecount", strconv.Itoa(k.MaxUses)),
		one("approvals", string(k.Approvals)), one("artifacts", artifacts), one("keystore", k.Keystore), one("adopt", k.Adopted),
		one("extractable", extractable),
	}
	p := law.Profile{}
	validity, pathLength := "", ""
	if k.Profile != nil {
		p = *k.Profile
		validity, pathLength = strconv.FormatInt(p.Validity.Milliseconds(), 10), strconv.Itoa(p.PathLen)
	}
	for _, a := range subjectOf(p.Subject) {
		all = append(all, one("certificate "+a.name, a.value))
	}
	return append(all, one("certificate validityms", validity), one("certificate path-length", pathLength),
		many("certificate key-usage", p.KeyUsage), many("certificate extended-key-usage", p.ExtendedKeyUsage), one("certificate crl-url", p.CRLURL))
}

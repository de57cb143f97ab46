package policy

import (
	"slices"
	"strconv"
	"strings"

	"example.org/keyserver/internal/law"
)

// What becomes of an object.
const (
	Add    = "add"
	Change = "change"
	Remove = "remove"
)

// Item is what a change does to one object, for people: nothing in it can look like something else where it is shown.
type Item struct {
	Kind   string   // administration, issuer, key, subject or role
	ID     string   // empty for the administration
	Change string   // Add, Change or Remove
	Lines  []string // "+ field: value", "- field: value", "field: old → new", or "field: + member, - member"
}

// Describe says what a change does to the configuration before it, object by object, in the words of the document. Of
// an object that changes it tells only what does, and of one that stays as it is nothing. Of the configuration before
// it looks only at the objects that the change names.
func Describe(c law.Changes, before law.Configuration) []Item {
	var items []Item
	if a := c.Set.Administration; a != (law.Administration{}) {
		items = compare(items, "administration", "", fieldsOfAdministration(before.Administration), fieldsOfAdministration(a))
	}
	items = describe(items, "issuer", c.Set.Issuers, c.RemoveIssuers, before.Issuers, func(i law.Issuer) string { return i.URL }, fieldsOfIssuer)
	items = describe(items, "key", c.Set.Keys, nil, before.Keys, func(k law.Key) law.KeyID { return k.ID }, fieldsOfKey)
	for _, id := range c.ReplacePairs {
		items = append(items, Item{"key", scalar(string(id)), Change, []string{"+ a new key pair, which ends every open operation with this key"}})
	}
	items = describe(items, "subject", c.Set.Subjects, nil, before.Subjects, func(s law.Subject) law.SubjectID { return s.ID }, fieldsOfSubject)
	return describe(items, "role", c.Set.Roles, c.RemoveRoles, before.Roles, func(r law.Role) law.RoleID { return r.ID }, fieldsOfRole)
}

func describe[T any, ID ~string](items []Item, kind string, set []T, remove []ID, before []T, id func(T) ID, of func(T) []field) []Item {
	was := make(map[ID][]field, len(set)+len(remove))
	for _, o := range set {
		was[id(o)] = nil
	}
	for _, gone := range remove {
		was[gone] = nil
	}
	for _, o := range before {
		if _, named := was[id(o)]; named {
			was[id(o)] = of(o)
		}
	}
	for _, o := range set {
		items = compare(items, kind, string(id(o)), was[id(o)], of(o))
	}
	for _, gone := range remove {
		items = compare(items, kind, string(gone), was[gone], nil)
	}
	return items
}

// field is a field of an object and what it says, as the document would: nothing if it is absent.
type field struct {
	name   string
	values []string
	list   listKind
}

type listKind int

const (
	noList listKind = iota
	ordered
	unordered
)

// compare adds an item that compares an object with what it was. Both have the same fields in the same order; nil: it
// is not there.
func compare(items []Item, kind, id string, was, is []field) []Item {
	i := Item{Kind: kind, Change: Change}
	if id != "" {
		i.ID = scalar(id)
	}
	switch {
	case is == nil:
		i.Change = Remove
		is = absent(was)
	case was == nil:
		i.Change = Add
		was = absent(is)
	}
	for n := range is {
		if line := is[n].since(was[n]); line != "" {
			i.Lines = append(i.Lines, line)
		}
	}
	if len(i.Lines) == 0 && i.Change == Change {
		return items
	}
	return append(items, i)
}

func absent(fields []field) []field {
	none := slices.Clone(fields)
	for n := range none {
		none[n].values = nil
	}
	return none
}

// since says how the field differs from what it was, nothing if it does not.
func (f field) since(was field) string {
	switch {
	case slices.Equal(f.values, was.values):
		return ""
	case len(was.values) == 0:
		return "+ " + f.name + ": " + strings.Join(f.values, ", ")
	case len(f.values) == 0:
		return "- " + f.name + ": " + strings.Join(was.values, ", ")
	case f.list == noList:
		return f.name + ": " + was.values[0] + " → " + f.values[0]
	}
	var parts []string
	for _, v := range without(f.values, was.values) {
		parts = append(parts, "+ "+v)
	}
	for _, v := range without(was.values, f.values) {
		parts = append(parts, "- "+v)
	}
	switch {
	case len(parts) > 0:
		return f.name + ": " + strings.Join(parts, ", ")
	case f.list == unordered:
		return ""
	}
	return f.name + ": in another order: " + strings.Join(f.values, ", ")
}

func without(a, b []string) []string {
	in := make(map[string]bool, len(b))
	for _, v := range b {
		in[v] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(v string) bool { return in[v] })
}

func word[T ~string](name string, value T) field {
	if value == "" {
		return field{name: name}
	}
	return field{name: name, values: []string{scalar(string(value))}}
}

func number[T int | int64](name string, value T) field {
	return field{name: name, values: []string{strconv.FormatInt(int64(value), 10)}}
}

func truth(name string, value bool) field {
	return field{name: name, values: []string{strconv.FormatBool(value)}}
}

// words is a list of texts.
func words[T ~string](name string, kind listKind, values []T) field {
	f := field{name: name, list: kind}
	for _, v := range values {
		f.values = append(f.values, scalar(string(v)))
	}
	return f
}

func fieldsOfAdministration(a law.Administration) []field {
	a = a.Effective()
	return []field{number("administrators", a.Administrators), number("active-validityms", a.Active.Milliseconds())}
}

func fieldsOfIssuer(i law.Issuer) []field {
	actor := ""
	if i.ActorClaim != "" {
		actor = choice(i.ActorOptional, "optional", "required")
	}
	return []field{
		words("audiences", ordered, i.Audiences), words("algorithms", ordered, i.Algorithms), words("types", ordered, i.Types),
		word("keys-url", i.KeysURL), word("actor-claim", i.ActorClaim), word("actor", actor), words("captured-claims", ordered, i.Captured),
	}
}

func fieldsOfSubject(s law.Subject) []field {
	identities, actors := field{name: "identities", list: ordered}, field{name: "actors", list: ordered}
	for _, i := range s.Identities {
		identities.values = append(identities.values, identity(i))
	}
	for _, a := range s.Actors {
		actors.values = append(actors.values, actor(a))
	}
	return []field{word("kind", s.Kind), word("name", s.Name), truth("enabled", s.Enabled), identities, actors}
}

func fieldsOfRole(r law.Role) []field {
	return []field{word("kind", r.Kind), words("keys", unordered, r.Keys), words("members", unordered, r.Members)}
}

// fieldsOfKey begins with what lets the key be used.
func fieldsOfKey(k law.Key) []field {
	extractable := ""
	if k.Adopted != "" {
		extractable = choice(k.MayLeave, "allowed", "refused")
	}
	all := []field{
		word("type", k.Type), word("state", k.State), number("requirement", k.Requirement.People()), word("approvals", k.Approvals),
		word("artifacts", choice(k.ArtifactsNeeded, "required", "optional")), number("max-validityms", k.MaxValidity.Milliseconds()),
		number("max-usagecount", k.MaxUses), word("algorithm", k.Algorithm), word("hash", k.Hash), words("schemes", ordered, k.Schemes),
		word("keystore", k.Keystore), word("adopt", k.Adopted), word("extractable", extractable),
	}
	return slices.Concat(all, fieldsOfProfile(k.Profile, k.Type), fieldsOfDevices(k.Devices))
}

func fieldsOfProfile(p *law.Profile, of law.KeyType) []field {
	const in = "certificate."
	if p == nil {
		return absent(fieldsOfProfile(&law.Profile{}, of))
	}
	var all []field
	for _, a := range subjectOf(p.Subject) {
		all = append(all, word(in+"subject."+a.name, a.value))
	}
	length := field{name: in + "path-length"}
	if of != law.Firmware {
		length = number(length.name, p.PathLen)
	}
	return append(all, number(in+"validityms", p.Validity.Milliseconds()), length, words(in+"key-usage", ordered, p.KeyUsage),
		words(in+"extended-key-usage", ordered, p.ExtendedKeyUsage), word(in+"crl-url", p.CRLURL))
}

func choice[T any](yes bool, then, otherwise T) T {
	if yes {
		return then
	}
	return otherwise
}

package policy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/strictyaml"
)

// MaxSize is the longest text that is read, in bytes: room for more than 10,000 subjects.
const MaxSize = 4 << 20

// Parse reads a policy, the whole configuration. The keys have no key pair: no version, handle or public key. The
// error tells every problem with its line, up to a bound.
func Parse(text []byte) (law.Configuration, error) {
	c, problems := Read(text)
	return c, strictyaml.Together("", problems)
}

// Read reads a policy as [Parse] does, and returns each problem by itself.
func Read(text []byte) (law.Configuration, []error) {
	var d document
	if problems := decode(text, &d); len(problems) > 0 {
		return law.Configuration{}, problems
	}
	c := d.firstItems(d.items())
	if _, err := law.NewFacts(c); err != nil {
		return law.Configuration{}, []error{d.blame()}
	}
	return c, nil
}

// ParseFragment reads a part of a policy: objects that are new or change, each whole, and what goes. Each object is
// checked by itself; that it fits the configuration is for the law to judge. An empty fragment is an error.
func ParseFragment(text []byte) (law.Changes, error) {
	var f fragment
	problems := decode(text, &f)
	if len(problems) == 0 {
		problems = f.faults()
	}
	if len(problems) > 0 {
		return law.Changes{}, strictyaml.Together("", problems)
	}
	c := f.law()
	if c.Empty() {
		return law.Changes{}, errors.New("it changes nothing; name what is new, changes or goes")
	}
	return c, nil
}

func decode(text []byte, into any) []error {
	if len(text) > MaxSize {
		return []error{fmt.Errorf("it is longer than %d bytes", MaxSize)}
	}
	return strictyaml.Decode(text, into)
}

func (f fragment) law() law.Changes {
	all := document{f.Administration, f.Issuers, f.Subjects, f.Roles, f.Keys}
	c := law.Changes{Set: all.firstItems(all.items()), ReplacePairs: as[law.KeyID](f.ReplacePairs)}
	if f.Remove != nil {
		c.RemoveRoles, c.RemoveIssuers = as[law.RoleID](f.Remove.Roles), f.Remove.Issuers
	}
	return c
}

// faults says what is wrong with the objects of a fragment, each by itself, and where it says two things of one.
func (f fragment) faults() []error {
	var faults []error
	refuse := func(at line, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", at, err))
		}
	}
	said := map[string]line{}
	once := func(kind, id string, at line) {
		if first, twice := said[kind+" "+id]; twice {
			refuse(at, fmt.Errorf("%s %s is named twice; the first is in line %d", kind, id, first))
			return
		}
		said[kind+" "+id] = at
	}
	var remove removeItem
	if f.Remove != nil {
		remove = *f.Remove
	}
	if a := f.Administration; a != nil {
		refuse(a.line, a.law().Check())
	}
	for _, i := range f.Issuers {
		once("issuer", i.URL, i.line)
		refuse(i.line, i.law().Check())
		if slices.Contains(remove.Issuers, i.URL) {
			refuse(i.line, fmt.Errorf("issuer %s is to be removed as well; say one of the two", i.URL))
		}
	}
	for _, k := range f.Keys {
		once("key", k.KeyID, k.line)
		refuse(k.line, k.law().Check())
		if slices.Contains(f.ReplacePairs, k.KeyID) {
			refuse(k.line, fmt.Errorf("key %s is to get a new key pair as well; make the two changes one after the other", k.KeyID))
		}
	}
	for _, s := range f.Subjects {
		once("subject", s.ID, s.line)
		refuse(s.line, s.law().Check())
	}
	for _, r := range f.Roles {
		once("role", r.ID, r.line)
		if slices.Contains(remove.Roles, r.ID) {
			refuse(r.line, fmt.Errorf("role %s is to be removed as well; say one of the two", r.ID))
		}
	}
	return faults
}

// Fields lists the fields of a policy.
func Fields() []strictyaml.Field { return strictyaml.Fields(reflect.TypeFor[document]()) }

// FragmentFields lists the fields of a fragment.
func FragmentFields() []strictyaml.Field { return strictyaml.Fields(reflect.TypeFor[fragment]()) }

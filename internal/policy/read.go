package policy

import (
	"errors"
	"fmt"
	"reflect"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/strictyaml"
)

const maxProblems = 20 // told at once

// Parse reads a policy, the whole configuration. The keys have no key pair: no version, handle or public key. The
// error tells every problem with its line, up to a bound.
func Parse(text []byte) (law.Configuration, error) {
	c, problems := Read(text)
	return c, together(problems)
}

// Read reads a policy as [Parse] does, and returns each problem by itself.
func Read(text []byte) (law.Configuration, []error) {
	var d document
	if problems := strictyaml.Decode(text, &d); len(problems) > 0 {
		return law.Configuration{}, problems
	}
	c := d.firstItems(d.items())
	if _, err := law.NewFacts(c); err != nil {
		return law.Configuration{}, []error{d.blame()}
	}
	return c, nil
}

// ParseFragment reads a part of a policy: objects that are new or change, each whole, and what goes. That they fit the
// configuration is for the law to judge.
func ParseFragment(text []byte) (law.Changes, error) {
	var f fragment
	if problems := strictyaml.Decode(text, &f); len(problems) > 0 {
		return law.Changes{}, together(problems)
	}
	all := document{f.Administration, f.Issuers, f.Subjects, f.Roles, f.Keys}
	c := law.Changes{Set: all.firstItems(all.items()), ReplacePairs: as[law.KeyID](f.ReplacePairs)}
	if f.Remove != nil {
		c.RemoveRoles, c.RemoveIssuers = as[law.RoleID](f.Remove.Roles), f.Remove.Issuers
	}
	if c.Empty() {
		return law.Changes{}, errors.New("it changes nothing; name what is new, changes or goes")
	}
	return c, nil
}

func together(problems []error) error {
	if len(problems) > maxProblems {
		problems = append(problems[:maxProblems:maxProblems], fmt.Errorf("and %d more", len(problems)-maxProblems))
	}
	return errors.Join(problems...)
}

// Fields lists the fields of a policy.
func Fields() []strictyaml.Field { return strictyaml.Fields(reflect.TypeFor[document]()) }

// FragmentFields lists the fields of a fragment.
func FragmentFields() []strictyaml.Field { return strictyaml.Fields(reflect.TypeFor[fragment]()) }

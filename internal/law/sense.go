package law

import (
	"fmt"
	"strings"
)

// Mode says which rules of development hold. The zero Mode is production.
type Mode struct{ Development bool }

// Sense returns what makes no sense in a configuration that is otherwise well-formed, each a sentence that says how to
// mend it, in an order that depends on nothing but the configuration.
func (f Facts) Sense(m Mode) []string {
	c := f.crowd()
	faults := f.senseOfAdministration(c, m)
	for _, k := range f.Keys() {
		if k.State == KeyActive && k.InOperations() {
			faults = append(faults, c.team(k).sense()...)
		}
	}
	return faults
}

// senseOfAdministration finds a configuration that nobody or one person alone could change. People are counted, and
// only those who can sign in.
func (f Facts) senseOfAdministration(c *crowd, m Mode) []string {
	var faults []string
	required := f.Administration().Administrators
	if required < 2 && !m.Development {
		faults = append(faults, fmt.Sprintf("administration: %d administrator is enough in development mode only; require at least 2", required))
	}
	needed := required
	if !m.Development {
		needed = max(2, required)
	}
	all := c.administrators(f.Roles())
	persons, of := c.byPerson(all)
	switch n := len(persons); {
	case n == 0:
		faults = append(faults, fmt.Sprintf("administration: nobody could administer; give the role to at least %s, enabled and with an identity", people(needed)))
	case n < needed:
		faults = append(faults, fmt.Sprintf("administration: only %s could administer (one person counts once, and only with an identity), and it takes %s; "+
			"give the role to more", list(c.ids(all)), people(needed)))
	}
	for _, p := range persons {
		if n := len(of[p]); n > 1 && n >= required {
			faults = append(faults, fmt.Sprintf("administration: administrators %s are one person by their identities, who could authorise "+
				"an administration session alone; leave the role to one of them", list(c.ids(of[p]))))
		}
	}
	return faults
}

// sense finds a key that can never be used in an operation, and one that a single person could release alone.
func (t *team) sense() []string {
	var faults []string
	if n := len(t.persons); !t.key.Requirement.MetBy(n) {
		faults = append(faults, fmt.Sprintf("key %s: %s required, but only %s could approve (one person counts once, and only if enabled and "+
			"with an identity); add approvers or lower the requirement", t.key.ID, approvals(t.key), people(n)))
	} else if t.stuck() {
		faults = append(faults, fmt.Sprintf("key %s: none of its orderers (%s) could ever get the approvals it requires, because nobody approves "+
			"what they order or set off; add an approver who does neither", t.key.ID, list(t.ids(t.orderers))))
	}
	for _, s := range t.solos() {
		faults = append(faults, fmt.Sprintf("key %s: %s required, but one person could release it alone, ordering as %s and approving as %s, "+
			"who are one person by their identities; take one of these roles away", t.key.ID, approvals(t.key), t.subjects[s.orderer].ID, list(t.ids(s.approvers))))
	}
	return faults
}

// stuck says whether there are orderers, and none of them could ever get an operation approved because of who is an
// approver.
func (t *team) stuck() bool {
	var stuck bool
	for _, o := range t.orderers {
		left, orders := t.left(o)
		switch {
		case !orders:
		case t.key.Requirement.MetBy(left):
			return false
		default:
			stuck = true
		}
	}
	return stuck
}

func people(n int) string {
	if n == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", n)
}

// list names some of the subjects, all if they are few.
func list(ids []SubjectID) string {
	const few = 5
	var names []string
	for _, id := range ids[:min(len(ids), few)] {
		names = append(names, string(id))
	}
	switch n := len(ids) - few; {
	case n > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), n)
	case len(names) > 1:
		return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
	}
	return strings.Join(names, "")
}

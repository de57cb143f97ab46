package law

import (
	"fmt"
	"slices"
)

// team is who can use one key in operations, of those who can sign in: enabled subjects with an identity.
type team struct {
	*crowd
	key       Key
	orderers  []int
	approvers []int
	approves  []bool         // by subject
	persons   []int          // of the approvers
	of        map[int][]int  // the approvers by person
	naming    map[string]int // by issuer: how many of the approvers its actor claim can name
}

func (c *crowd) team(k Key) *team {
	t := &team{crowd: c, key: k, approves: make([]bool, len(c.subjects)), naming: map[string]int{}}
	for _, r := range c.roles[k.ID] {
		if r.Kind == Orderer {
			t.orderers = append(t.orderers, c.members[r.ID]...)
		} else {
			t.approvers = append(t.approvers, c.members[r.ID]...)
		}
	}
	slices.Sort(t.orderers)
	slices.Sort(t.approvers)
	t.orderers, t.approvers = slices.Compact(t.orderers), slices.Compact(t.approvers)
	for _, a := range t.approvers {
		t.approves[a] = true
	}
	t.persons, t.of = c.byPerson(t.approvers)
	return t
}

// left returns how many of the approvers could be eligible for an operation of the orderer at most (rule 3), and whether
// the orderer can create one at all: not if every token must name a person whom the server knows, and names none.
func (t *team) left(o int) (n int, orders bool) {
	n = len(t.approvers)
	if t.approves[o] {
		n--
	}
	for _, b := range t.origins[o].behind {
		if b == nobody || b == o || !t.approves[b] {
			return n, true
		}
		orders = true
	}
	for _, issuer := range t.origins[o].issuers {
		known := t.actors[issuer]
		if len(known) > t.namable(issuer) || t.knows(issuer, o) {
			return n, true
		}
		orders = orders || len(known) > 0
	}
	return max(n-1, 0), orders
}

// knows says whether the subject has an actor name of the issuer.
func (c *crowd) knows(issuer string, who int) bool {
	return slices.ContainsFunc(c.subjects[who].Actors, func(a ActorName) bool { return a.Issuer == issuer })
}

// namable is how many of the approvers the issuer can name as the person behind an orderer.
func (t *team) namable(issuer string) int {
	n, counted := t.naming[issuer]
	if !counted {
		for _, u := range t.actors[issuer] {
			if t.approves[u] {
				n++
			}
		}
		t.naming[issuer] = n
	}
	return n
}

// never says why no operation of the orderer could ever be approved, empty if one could.
func (t *team) never(o int) string {
	left, orders := t.left(o)
	switch {
	case !orders:
		return "no token can name a person behind it whom this server knows; enter the actor names of those who set off its jobs"
	case t.key.Requirement.MetBy(left):
		return ""
	case !t.key.Requirement.MetBy(len(t.approvers)):
		return fmt.Sprintf("%s required, but only %d can be given", approvals(t.key), len(t.approvers))
	case t.approves[o]:
		return fmt.Sprintf("%s required, but nobody approves an operation of one's own, and that leaves only %d", approvals(t.key), left)
	}
	return fmt.Sprintf("%s required, but nobody approves what they set off, and that leaves only %d", approvals(t.key), left)
}

// approvals says how many approvals the key requires, with the verb.
func approvals(k Key) string {
	if n := k.Requirement.People(); n != 1 {
		return fmt.Sprintf("%d approvals are", n)
	}
	return "1 approval is"
}

// solo is how one person can release a key alone: ordering as one subject and approving as others.
type solo struct {
	orderer   int
	approvers []int
}

// solos returns the people who could release the key alone although it requires approvals, each once.
func (t *team) solos() []solo {
	var found []solo
	seen := map[int]bool{}
	try := func(o int, w way) {
		mine := t.of[w.person]
		n := len(mine)
		if t.approves[o] && t.person[o] == w.person {
			n--
		}
		if b := w.behind; b != nobody && b != o && t.approves[b] && t.person[b] == w.person {
			n--
		}
		if seen[w.person] || !t.key.Requirement.MetBy(n) {
			return
		}
		seen[w.person] = true
		found = append(found, solo{o, slices.DeleteFunc(slices.Clone(mine), func(a int) bool { return a == o || a == w.behind })})
	}
	if t.key.Requirement.MetBy(0) {
		return nil
	}
	asked := map[string]int{} // by issuer: the person who orders, if an approver
	for _, o := range t.orderers {
		for _, w := range t.origins[o].ways {
			try(o, w)
		}
		for _, issuer := range t.origins[o].issuers {
			who := nobody
			if t.approves[o] {
				who = t.person[o]
			}
			switch first, before := asked[issuer]; {
			case before && (first == nobody || first == who):
				continue
			case before: // nobody is both, so these two orderers stand for all
				who = nobody
			}
			asked[issuer] = who
			for _, w := range t.setOff[issuer] {
				try(o, w)
			}
		}
	}
	return found
}

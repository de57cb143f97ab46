package law

import (
	"slices"
)

// crowd is the subjects by number, in the order of their ids, and what the configuration betrays of the people behind
// them. One person is to be one subject. But users whose identities have a value of a personal claim of one issuer in
// common are one person all the same, and that person can also get tokens of a client that shares such a value, or
// whose identity names the person's actor name.
type crowd struct {
	subjects []Subject
	number   map[SubjectID]int
	person   []int            // of a user: the number of the person's first user; of a client: its own
	users    map[int]int      // how many users a person is
	actors   map[string][]int // by issuer: the enabled users whose actor name it knows
	origins  []origin         // by subject
	setOff   map[string][]way // by issuer: how people who are several users can set off its jobs
	members  map[RoleID][]int // of each role: those who can sign in
	roles    map[KeyID][]Role // of each key: the orderer and approver roles that cover it
}

// personal are the claims that name a person at an issuer (OpenID Connect Core 1.0, section 5.1; oid: Microsoft Entra ID).
var personal = []string{"sub", "oid"}

// nobody stands for a person whom the server does not know, and behind an orderer for one who can approve nothing.
const nobody = -1

// way is a way in which a person orders as a subject: behind is the user who is then the person behind the orderer
// and cannot approve (rule 3).
type way struct{ person, behind int }

// origin is where the tokens of a subject come from.
type origin struct {
	ways    []way
	behind  []int    // whom they can name as the person behind the orderer, nobody among them
	issuers []string // of those that can name any actor whom the issuer knows
}

func (f Facts) crowd() *crowd {
	c := &crowd{
		subjects: f.Subjects(), number: map[SubjectID]int{}, users: map[int]int{}, actors: map[string][]int{},
		setOff: map[string][]way{}, members: map[RoleID][]int{}, roles: map[KeyID][]Role{},
	}
	for i, s := range c.subjects {
		c.number[s.ID] = i
	}
	owners := c.unite()
	for i, s := range c.subjects {
		if s.Kind == User {
			c.users[c.person[i]]++
		}
	}
	for i, s := range c.subjects {
		for _, a := range s.Actors {
			if s.Enabled {
				c.actors[a.Issuer] = append(c.actors[a.Issuer], i)
			}
			if w, orders := c.actor(f, a, i); orders && c.users[c.person[i]] > 1 {
				c.setOff[a.Issuer] = append(c.setOff[a.Issuer], w)
			}
		}
	}
	for issuer, known := range c.actors {
		c.actors[issuer] = slices.Compact(known)
	}
	for i := range c.subjects {
		c.origins = append(c.origins, c.origin(f, i, owners))
	}
	for _, r := range f.Roles() {
		for _, m := range r.Members {
			if s := f.subjects[m]; s.Enabled && len(s.Identities) > 0 {
				c.members[r.ID] = append(c.members[r.ID], c.number[m])
			}
		}
		for _, k := range r.Keys {
			c.roles[k] = append(c.roles[k], r)
		}
	}
	return c
}

// unite finds the users who are one person, and returns which person each value of a personal claim names.
func (c *crowd) unite() map[claimValue]int {
	c.person = make([]int, len(c.subjects))
	for i := range c.person {
		c.person[i] = i
	}
	root := func(i int) int {
		for c.person[i] != i {
			c.person[i] = c.person[c.person[i]]
			i = c.person[i]
		}
		return i
	}
	owners := map[claimValue]int{}
	for i, s := range c.subjects {
		if s.Kind != User {
			continue
		}
		for v := range personalValues(s) {
			other, taken := owners[v]
			if !taken {
				owners[v] = i
				continue
			}
			a, b := root(i), root(other)
			c.person[max(a, b)] = min(a, b)
		}
	}
	for i := range c.person {
		c.person[i] = root(i)
	}
	for v, i := range owners {
		owners[v] = c.person[i]
	}
	return owners
}

func personalValues(s Subject) func(func(claimValue) bool) {
	return func(yield func(claimValue) bool) {
		for _, i := range s.Identities {
			for _, v := range i.personal() {
				if !yield(v) {
					return
				}
			}
		}
	}
}

func (i Identity) personal() []claimValue {
	var values []claimValue
	for _, claim := range personal {
		for _, v := range i.Claims[claim] {
			values = append(values, claimValue{i.Issuer, claim, v})
		}
	}
	return values
}

func (c *crowd) origin(f Facts, i int, owners map[claimValue]int) origin {
	var o origin
	for _, identity := range c.subjects[i].Identities {
		people := []int{c.person[i]}
		if c.subjects[i].Kind != User {
			people = nil
			for _, v := range identity.personal() {
				if p, known := owners[v]; known {
					people = append(people, p)
				}
			}
		}
		set, anybody := c.behind(f, identity)
		if anybody {
			o.issuers = append(o.issuers, identity.Issuer)
		}
		for _, w := range set {
			o.behind = append(o.behind, w.behind)
			if w.person != nobody {
				o.ways = append(o.ways, w)
			}
			for _, p := range people {
				o.ways = append(o.ways, way{p, w.behind})
			}
		}
		for _, p := range people {
			if anybody { // the configuration does not say that it is this person whom their tokens name
				o.ways = append(o.ways, way{p, nobody})
			}
		}
	}
	return o
}

// behind returns who can set off what orders by an identity, and whether anybody can whom the issuer knows.
func (c *crowd) behind(f Facts, i Identity) (ways []way, anybody bool) {
	issuer := f.issuers[i.Issuer]
	values, named := i.Claims[issuer.ActorClaim]
	switch {
	case issuer.ActorClaim == "":
		return []way{{nobody, nobody}}, false
	case !named && issuer.ActorOptional:
		return []way{{nobody, nobody}}, true
	case !named:
		return nil, true
	}
	for _, v := range values {
		name := ActorName{i.Issuer, v}
		who, known := f.actors[name]
		switch {
		case known:
			if w, orders := c.actor(f, name, c.number[who]); orders {
				ways = append(ways, w)
			}
		case issuer.ActorOptional:
			ways = append(ways, way{nobody, nobody})
		}
	}
	return ways, false
}

// actor returns how a user orders by what they set off, and whether they can: somebody disabled cannot, unless the
// issuer need not name anybody.
func (c *crowd) actor(f Facts, a ActorName, user int) (w way, orders bool) {
	if c.subjects[user].Enabled {
		return way{c.person[user], user}, true
	}
	return way{c.person[user], nobody}, f.issuers[a.Issuer].ActorOptional
}

// ids returns the ids of subjects.
func (c *crowd) ids(numbers []int) []SubjectID {
	ids := make([]SubjectID, len(numbers))
	for i, n := range numbers {
		ids[i] = c.subjects[n].ID
	}
	return ids
}

// administrators returns who can sign in and has the role of an administrator.
func (c *crowd) administrators(roles []Role) []int {
	var all []int
	for _, r := range roles {
		if r.Kind == Administrator {
			all = append(all, c.members[r.ID]...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// byPerson groups users by who they are. The persons are in the order of their first users.
func (c *crowd) byPerson(users []int) (persons []int, of map[int][]int) {
	of = map[int][]int{}
	for _, u := range users {
		of[c.person[u]] = append(of[c.person[u]], u)
	}
	for p := range of {
		persons = append(persons, p)
	}
	slices.Sort(persons)
	return persons, of
}

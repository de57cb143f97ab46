package law

import "slices"

// WhoCan answers who can use a key. Only those count who can sign in: enabled subjects with an identity.
type WhoCan struct {
	Key         KeyID
	Type        KeyType
	State       KeyState
	Requirement Requirement
	Orderers    []SubjectID // who can order operations with it, by id
	Approvers   []SubjectID // who can approve them, by id
	Never       []Never     // orderers none of whose operations with it could ever be approved

	// A ROOT key is used in no operation but by administrators, in an administration session.
	Administrators []SubjectID // by id; empty for other keys
	Needed         int         // of them, to authorise the session; 0 for other keys

	Alone   []Alone       // how a single person or credential could obtain a signature
	Persons [][]SubjectID // of all these subjects those that one person can sign in as, two or more
}

// Never is an orderer who orders in vain.
type Never struct {
	Orderer SubjectID
	Why     string // a sentence
}

// Alone is a way in which a single person, or whoever has a machine's credential, could obtain a signature.
type Alone struct {
	Subjects []SubjectID // as whom
	How      string      // a sentence
}

// WhoCan answers who can use the key, by the configuration alone: whether it is active does not matter to who is
// listed, but a key that is not gives no signature to anybody alone. False if there is no such key.
func (f Facts) WhoCan(id KeyID) (WhoCan, bool) {
	k, known := f.keys[id]
	if !known {
		return WhoCan{}, false
	}
	c := f.crowd()
	w := WhoCan{Key: id, Type: k.Type, State: k.State, Requirement: k.Requirement}
	administrators := c.administrators(f.Roles())
	switch {
	case k.Type == Root:
		w.Administrators, w.Needed = c.ids(administrators), f.Administration().Administrators
		w.Persons = c.samePeople(administrators)
	case !k.Responder(): // which the server alone signs with
		t := c.team(k)
		w.Orderers, w.Approvers, w.Persons = c.ids(t.orderers), c.ids(t.approvers), c.samePeople(slices.Concat(t.orderers, t.approvers))
		for _, o := range t.orderers {
			if why := t.never(o); why != "" {
				w.Never = append(w.Never, Never{c.subjects[o].ID, why})
			}
		}
		if k.State == KeyActive {
			w.Alone = t.alone()
		}
	}
	if k.State != KeyRevoked {
		w.Alone = append(w.Alone, c.administerAlone(administrators, f.Administration().Administrators)...)
	}
	return w, true
}

// alone lists who could obtain a signature in an operation of their own.
func (t *team) alone() []Alone {
	var all []Alone
	if t.key.Requirement.MetBy(0) {
		for _, o := range t.orderers {
			s := t.subjects[o]
			how := "the key requires no approvals: the credential of this machine alone is enough"
			if s.Kind == User {
				how = "the key requires no approvals: this person orders, and signs at once"
			}
			if t.never(o) == "" {
				all = append(all, Alone{[]SubjectID{s.ID}, how})
			}
		}
	}
	for _, s := range t.solos() {
		all = append(all, Alone{t.ids(append([]int{s.orderer}, s.approvers...)),
			"one person by their identities: ordering as the first and approving as the others is enough"})
	}
	return all
}

// administerAlone lists who needs nobody else to change the configuration, and so to obtain a signature with any key.
func (c *crowd) administerAlone(administrators []int, required int) []Alone {
	const how = ", in which roles and requirements change"
	var all []Alone
	persons, of := c.byPerson(administrators)
	for _, p := range persons {
		switch n := len(of[p]); {
		case required == 1:
			all = append(all, Alone{c.ids(of[p]), "one administrator is enough for an administration session" + how})
		case n >= required:
			all = append(all, Alone{c.ids(of[p]), "one person by their identities: as these administrators, enough for an administration session" + how})
		}
	}
	return all
}

// samePeople lists those of the subjects that one person can sign in as, or whose tokens one person can get: two or
// more at a time.
func (c *crowd) samePeople(subjects []int) [][]SubjectID {
	as := map[int][]int{}
	for _, s := range subjects {
		if c.subjects[s].Kind == User {
			as[c.person[s]] = append(as[c.person[s]], s)
			continue
		}
		for _, w := range c.origins[s].ways {
			as[w.person] = append(as[w.person], s)
		}
	}
	var groups [][]int
	for _, all := range as {
		slices.Sort(all)
		if all = slices.Compact(all); len(all) > 1 {
			groups = append(groups, all)
		}
	}
	slices.SortFunc(groups, slices.Compare[[]int])
	ids := make([][]SubjectID, len(groups))
	for i, g := range groups {
		ids[i] = c.ids(g)
	}
	return ids
}

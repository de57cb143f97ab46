package law

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// claimed is an identity and whose it is: the number of a subject.
type claimed struct {
	subject int
	claims  map[string][]string
}

// kin are the identities that name the same claims of the same issuer.
type kin struct {
	issuer string
	names  []string // sorted
	all    []claimed
	spread map[string]int // how many different values each claim has among them
}

// checkOverlap refuses two subjects that one token could match. A token has one text for each claim, so two
// identities cannot match the same token only if they are of different issuers, or if some claim that both name has no
// value in common.
func checkOverlap(subjects []Subject) error {
	groups := kinOf(subjects)
	for i, one := range groups {
		for _, other := range groups[i:] {
			if one.issuer != other.issuer {
				continue
			}
			common := slices.DeleteFunc(slices.Clone(one.names), func(name string) bool {
				_, named := slices.BinarySearch(other.names, name)
				return !named
			})
			// Those that tell most apart first.
			slices.SortStableFunc(common, func(a, b string) int {
				return cmp.Compare(one.spread[b]+other.spread[b], one.spread[a]+other.spread[a])
			})
			if a, b, found := clash(one.all, other.all, common); found {
				a, b = min(a, b), max(a, b)
				return fmt.Errorf("subjects %s and %s: a token of issuer %s could belong to both; make their identities differ in a claim that both name",
					subjects[a].ID, subjects[b].ID, one.issuer)
			}
		}
	}
	return nil
}

// kinOf groups the identities of the subjects, in the order in which they are first seen.
func kinOf(subjects []Subject) []*kin {
	var groups []*kin
	at := map[string]*kin{}
	for number, s := range subjects {
		for _, i := range s.Identities {
			names := slices.Sorted(maps.Keys(i.Claims))
			key := fmt.Sprintf("%q %q", i.Issuer, names)
			if at[key] == nil {
				at[key] = &kin{issuer: i.Issuer, names: names}
				groups = append(groups, at[key])
			}
			at[key].all = append(at[key].all, claimed{number, i.Claims})
		}
	}
	for _, g := range groups {
		g.spread = make(map[string]int, len(g.names))
		for _, name := range g.names {
			values := map[string]struct{}{}
			for _, c := range g.all {
				for _, v := range c.claims[name] {
					values[v] = struct{}{}
				}
			}
			g.spread[name] = len(values)
		}
	}
	return groups
}

// clash finds an identity on the left and one on the right that are of different subjects and have a value of each of
// the claims in common, and returns the subjects. It sorts both sides by the values of one claim, and what is together
// by those of the next.
func clash(left, right []claimed, claims []string) (a, b int, found bool) {
	a, b, found = strangers(left, right)
	if !found || len(claims) == 0 {
		return a, b, found
	}
	type sides struct{ left, right []claimed }
	var together []*sides // in a fixed order, so that the same two are found each time
	at := map[string]*sides{}
	for _, c := range left {
		for _, v := range c.claims[claims[0]] {
			if at[v] == nil {
				at[v] = &sides{}
				together = append(together, at[v])
			}
			at[v].left = append(at[v].left, c)
		}
	}
	for _, c := range right {
		for _, v := range c.claims[claims[0]] {
			if s := at[v]; s != nil {
				s.right = append(s.right, c)
			}
		}
	}
	for _, s := range together {
		if a, b, found := clash(s.left, s.right, claims[1:]); found {
			return a, b, true
		}
	}
	return 0, 0, false
}

// strangers finds two that are not of the same subject, one on each side.
func strangers(left, right []claimed) (a, b int, found bool) {
	if len(left) == 0 || len(right) == 0 {
		return 0, 0, false
	}
	for _, c := range right {
		if c.subject != left[0].subject {
			return left[0].subject, c.subject, true
		}
	}
	for _, c := range left { // all on the right are of the subject of the first on the left
		if c.subject != right[0].subject {
			return c.subject, right[0].subject, true
		}
	}
	return 0, 0, false
}

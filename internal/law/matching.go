package law

import (
	"maps"
	"slices"
)

// claimValue is one value of one claim of an issuer.
type claimValue struct{ issuer, claim, value string }

// signIn is an identity in the index of sign-in, and whose it is.
type signIn struct {
	subject SubjectID
	claims  map[string][]string
}

// signIns finds identities by the values of one of the claims that each of them names: the one whose values the
// fewest others have too.
func signIns(subjects []Subject) map[claimValue][]signIn {
	shared := map[claimValue]int{}
	for _, s := range subjects {
		for _, i := range s.Identities {
			for claim, values := range i.Claims {
				for _, v := range values {
					shared[claimValue{i.Issuer, claim, v}]++
				}
			}
		}
	}
	index := map[claimValue][]signIn{}
	for _, s := range subjects {
		for _, i := range s.Identities {
			best, fewest := "", 0
			for _, claim := range slices.Sorted(maps.Keys(i.Claims)) {
				most := 0
				for _, v := range i.Claims[claim] {
					most = max(most, shared[claimValue{i.Issuer, claim, v}])
				}
				if best == "" || most < fewest {
					best, fewest = claim, most
				}
			}
			for _, v := range i.Claims[best] {
				at := claimValue{i.Issuer, best, v}
				index[at] = append(index[at], signIn{s.ID, i.Claims})
			}
		}
	}
	return index
}

// fits says whether every claim that the identity names is among the claims, with one of the listed values.
func (s signIn) fits(claims map[string]string) bool {
	for name, values := range s.claims {
		value, present := claims[name]
		if !present || !slices.Contains(values, value) {
			return false
		}
	}
	return true
}

// Matching returns the subjects, disabled ones too, that a token of the issuer belongs to, by id: claims are its
// claims that are texts, byte for byte. Of facts that [NewFacts] made there is at most one.
func (f Facts) Matching(issuer string, claims map[string]string) []SubjectID {
	var found []SubjectID
	for name, value := range claims {
		for _, s := range f.signIns[claimValue{issuer, name, value}] {
			if s.fits(claims) {
				found = append(found, s.subject)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

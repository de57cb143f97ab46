package law_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/law"
)

func identified(id law.SubjectID, identities ...law.Identity) law.Subject {
	return law.Subject{ID: id, Kind: law.User, Name: string(id), Enabled: true, Identities: identities}
}

// at is an identity; pairs are names and values of claims.
func at(issuer string, pairs ...string) law.Identity {
	i := law.Identity{Issuer: issuer, Claims: map[string][]string{}}
	for n := 0; n < len(pairs); n += 2 {
		i.Claims[pairs[n]] = append(i.Claims[pairs[n]], pairs[n+1])
	}
	return i
}

func TestTwoSubjectsThatOneTokenCouldMatchAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		a, b     []law.Identity
		overlaps bool
	}{
		"the same identity":                  {[]law.Identity{at(people, "sub", "1")}, []law.Identity{at(people, "sub", "1")}, true},
		"another value":                      {[]law.Identity{at(people, "sub", "1")}, []law.Identity{at(people, "sub", "2")}, false},
		"another issuer":                     {[]law.Identity{at(people, "sub", "1")}, []law.Identity{at(builds, "sub", "1")}, false},
		"no claim that both name":            {[]law.Identity{at(people, "sub", "1")}, []law.Identity{at(people, "oid", "2")}, true},
		"one names more":                     {[]law.Identity{at(people, "sub", "1")}, []law.Identity{at(people, "sub", "1", "azp", "ci")}, true},
		"one names more and another value":   {[]law.Identity{at(people, "sub", "1")}, []law.Identity{at(people, "sub", "2", "azp", "ci")}, false},
		"one of two claims differs":          {[]law.Identity{at(people, "sub", "1", "azp", "web")}, []law.Identity{at(people, "sub", "1", "azp", "ci")}, false},
		"lists with a common value":          {[]law.Identity{at(people, "sub", "1", "sub", "2")}, []law.Identity{at(people, "sub", "2", "sub", "3")}, true},
		"lists in common in one claim only":  {[]law.Identity{at(people, "r", "1", "r", "2", "s", "a")}, []law.Identity{at(people, "r", "2", "s", "b", "s", "c")}, false},
		"the second identities":              {[]law.Identity{at(people, "sub", "1"), at(people, "sub", "2")}, []law.Identity{at(people, "sub", "3"), at(people, "sub", "2")}, true},
		"two identities of the same subject": {[]law.Identity{at(people, "sub", "1"), at(people, "sub", "1"), at(people, "oid", "1", "sub", "1")}, nil, false},
		"another claim set, of the first":    {[]law.Identity{at(people, "sub", "1"), at(people, "sub", "2", "azp", "x")}, []law.Identity{at(people, "sub", "2")}, true},
		"values in another case":             {[]law.Identity{at(people, "sub", "a")}, []law.Identity{at(people, "sub", "A")}, false},
		"a name within a name":               {[]law.Identity{at(people, "a", "1", "b c", "1")}, []law.Identity{at(people, "a b", "1", "a", "2", "c", "1")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, enabled := range []bool{true, false} {
				a, b := identified("a", c.a...), identified("b", c.b...)
				b.Enabled = enabled
				says := ""
				if c.overlaps {
					says = "subjects a and b: a token of issuer " + people + " could belong to both; make their identities differ in a claim that both name"
				}
				for _, subjects := range [][]law.Subject{{a, b}, {a, identified("m", at(builds, "sub", "m")), b}} {
					_, err := law.NewFacts(law.Configuration{Issuers: []law.Issuer{issuer(people), issuer(builds)}, Subjects: subjects})
					wantSaid(t, says, err)
				}
			}
		})
	}
}

// overlap is the definition, pair by pair.
func overlap(a, b law.Identity) bool {
	if a.Issuer != b.Issuer {
		return false
	}
	for name, values := range a.Claims {
		others, both := b.Claims[name]
		if both && !slices.ContainsFunc(values, func(v string) bool { return slices.Contains(others, v) }) {
			return false
		}
	}
	return true
}

// matches says which subjects a token belongs to, by looking at each.
func matches(subjects []law.Subject, issuer string, claims map[string]string) []law.SubjectID {
	var found []law.SubjectID
	for _, s := range subjects {
		if slices.ContainsFunc(s.Identities, func(i law.Identity) bool {
			for name, values := range i.Claims {
				if v, present := claims[name]; !present || !slices.Contains(values, v) {
					return false
				}
			}
			return i.Issuer == issuer
		}) {
			found = append(found, s.ID)
		}
	}
	slices.Sort(found)
	return found
}

func drawIdentity(t *rapid.T) law.Identity {
	i := law.Identity{Issuer: rapid.SampledFrom([]string{people, builds}).Draw(t, "issuer"), Claims: map[string][]string{}}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"sub", "ref", "repository"}), 1, 3, rapid.ID).Draw(t, "claims") {
		i.Claims[name] = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 2, rapid.ID).Draw(t, name)
	}
	return i
}

// allTokens calls f with every token there can be of the claims and values that drawIdentity draws.
func allTokens(f func(issuer string, claims map[string]string)) {
	values := []string{"", "a", "b", "c", "d"}
	for _, issuer := range []string{people, builds} {
		for _, sub := range values {
			for _, ref := range values {
				for _, repository := range values {
					claims := map[string]string{"scope": "openid"}
					for name, v := range map[string]string{"sub": sub, "ref": ref, "repository": repository} {
						if v != "" {
							claims[name] = v
						}
					}
					f(issuer, claims)
				}
			}
		}
	}
}

func TestAnyConfigurationIsRefusedExactlyIfOneTokenCouldMatchTwoSubjects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var subjects []law.Subject
		for n := range rapid.SampledFrom([]int{2, 3, 4, 5}).Draw(t, "subjects") {
			subjects = append(subjects, identified(law.SubjectID(fmt.Sprintf("s%d", n)), rapid.SliceOfN(rapid.Custom(drawIdentity), 0, 2).Draw(t, "identities")...))
		}
		pairs := map[string]bool{} // what may be said
		for i, a := range subjects {
			for _, b := range subjects[i+1:] {
				for _, x := range a.Identities {
					if slices.ContainsFunc(b.Identities, func(y law.Identity) bool { return overlap(x, y) }) {
						pairs[fmt.Sprintf("subjects %s and %s: a token of issuer %s could", a.ID, b.ID, x.Issuer)] = true
					}
				}
			}
		}
		c := law.Configuration{Issuers: []law.Issuer{issuer(people), issuer(builds)}, Subjects: subjects}
		f, err := law.NewFacts(c)
		if (err != nil) != (len(pairs) > 0) {
			t.Fatalf("error %v, but those who overlap are %v", err, pairs)
		}
		if err != nil {
			if _, again := law.NewFacts(c); again.Error() != err.Error() {
				t.Fatalf("once %v, then %v", err, again)
			}
			if said, _, _ := strings.Cut(err.Error(), " could"); !pairs[said+" could"] {
				t.Fatalf("said %v, but those who overlap are %v", err, pairs)
			}
		}
		doubtful := false
		allTokens(func(issuer string, claims map[string]string) {
			want := matches(subjects, issuer, claims)
			doubtful = doubtful || len(want) > 1
			if err == nil && !slices.Equal(f.Matching(issuer, claims), want) {
				t.Fatalf("token %v of %s matches %v; want %v", claims, issuer, f.Matching(issuer, claims), want)
			}
		})
		if doubtful != (err != nil) {
			t.Fatalf("error %v, but a token that matches two was found: %v", err, doubtful)
		}
	})
}

func TestATokenMatchesByAllItsClaimsAndAlsoSomebodyDisabled(t *testing.T) {
	off := identified("b", at(people, "sub", "2", "azp", "web", "azp", "cli"))
	off.Enabled = false
	f, err := law.NewFacts(law.Configuration{Issuers: []law.Issuer{issuer(people)}, Subjects: []law.Subject{identified("a", at(people, "sub", "1")), off}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		issuer string
		claims map[string]string
		want   string
	}{
		"one claim":       {people, map[string]string{"sub": "1", "azp": "other"}, "a"},
		"disabled":        {people, map[string]string{"sub": "2", "azp": "cli"}, "b"},
		"a claim lacking": {people, map[string]string{"sub": "2"}, ""},
		"a claim wrong":   {people, map[string]string{"sub": "2", "azp": "other"}, ""},
		"another issuer":  {builds, map[string]string{"sub": "1"}, ""},
		"no claims":       {people, nil, ""},
		"an empty claim":  {people, map[string]string{"sub": "", "": ""}, ""},
	} {
		var got string
		for _, id := range f.Matching(c.issuer, c.claims) {
			got += string(id)
		}
		if got != c.want {
			t.Errorf("%s: matches %q, want %q", name, got, c.want)
		}
	}
	if got := (law.Facts{}).Matching(people, map[string]string{"sub": "1"}); got != nil {
		t.Errorf("the zero Facts know %v", got)
	}
}

package law_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/law"
)

const lax = "https://lax.example" // an issuer whose tokens need not name an actor

// drawTeam draws a configuration with one key, in which people are several subjects rather too often. Everybody's
// identity names another azp, so that no token is of two.
func drawTeam(t *rapid.T) law.Configuration {
	ci, loose := issuer(builds), issuer(lax)
	ci.ActorClaim, loose.ActorClaim, loose.ActorOptional = "actor", "actor", true
	c := law.Configuration{
		Issuers: []law.Issuer{issuer(people), ci, loose},
		Keys:    []law.Key{key("k", rapid.SampledFrom([]int{1, 1, 2}).Draw(t, "requirement"))},
	}
	actors := []string{"v", "w", "x"}
	identities := func(id string) []law.Identity {
		var all []law.Identity
		for n := range rapid.IntRange(1, 2).Draw(t, "identities") {
			i := at(rapid.SampledFrom([]string{people, builds, lax}).Draw(t, "issuer"), "azp", fmt.Sprintf("%s-%d", id, n))
			if subs := rapid.SampledFrom([][]string{{"1"}, {"2"}, {"3"}, {"2", "1"}, nil}).Draw(t, "subs"); len(subs) > 0 {
				i.Claims["sub"] = subs
			}
			if names := rapid.SampledFrom([][]string{nil, nil, {"v"}, {"w"}, {"x"}, {"v", "w"}, {"x", "v"}}).Draw(t, "actors"); len(names) > 0 {
				i.Claims["actor"] = names
			}
			all = append(all, i)
		}
		return all
	}
	var ids, users []law.SubjectID
	for n := range rapid.SampledFrom([]int{2, 3, 4}).Draw(t, "users") {
		id := law.SubjectID(fmt.Sprintf("u%d", n))
		ids, users = append(ids, id), append(users, id)
		c.Subjects = append(c.Subjects, law.Subject{ID: id, Kind: law.User, Name: "U", Enabled: rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "enabled"), Identities: identities(string(id))})
	}
	for _, url := range []string{builds, lax} {
		for _, a := range actors[:2] { // x is nobody's
			u := &c.Subjects[rapid.IntRange(0, len(users)-1).Draw(t, "actor")]
			u.Actors = append(u.Actors, law.ActorName{Issuer: url, Value: a})
		}
	}
	for n := range rapid.SampledFrom([]int{0, 1, 2}).Draw(t, "clients") {
		id := law.SubjectID(fmt.Sprintf("c%d", n))
		ids = append(ids, id)
		c.Subjects = append(c.Subjects, law.Subject{ID: id, Kind: law.Client, Name: "C", Enabled: true, Identities: identities(string(id))})
	}
	// Somebody who takes no part: a person can have an accomplice set off a job.
	other := identified("other", at(people, "sub", "other", "azp", "other"))
	other.Actors = []law.ActorName{{Issuer: builds, Value: "other"}, {Issuer: lax, Value: "other"}}
	c.Subjects = append(c.Subjects, other)
	some := func(of []law.SubjectID) []law.SubjectID {
		return slices.DeleteFunc(slices.Clone(of), func(law.SubjectID) bool { return rapid.Bool().Draw(t, "out") })
	}
	for _, r := range []law.Role{{ID: "o", Kind: law.Orderer, Members: some(ids)}, {ID: "a", Kind: law.Approver, Members: some(users)}} {
		if r.Keys = []law.KeyID{"k"}; len(r.Members) > 0 {
			c.Roles = append(c.Roles, r)
		}
	}
	return c
}

// accounts are what one person can sign in with.
type accounts struct {
	users        []law.SubjectID
	subs, actors map[law.ActorName]bool // by issuer and value
}

// peopleOf finds who is who from the users alone: whoever shares a sub is the same, again and again.
func peopleOf(c law.Configuration) []accounts {
	var all []accounts
	for _, s := range c.Subjects {
		if s.Kind != law.User {
			continue
		}
		one := accounts{users: []law.SubjectID{s.ID}, subs: map[law.ActorName]bool{}, actors: map[law.ActorName]bool{}}
		for _, i := range s.Identities {
			for _, v := range i.Claims["sub"] {
				one.subs[law.ActorName{Issuer: i.Issuer, Value: v}] = true
			}
		}
		for _, a := range s.Actors {
			one.actors[a] = true
		}
		var rest []accounts
		for _, p := range all {
			same := false
			for v := range p.subs {
				same = same || one.subs[v]
			}
			if !same {
				rest = append(rest, p)
				continue
			}
			one.users = append(one.users, p.users...)
			for v := range p.subs {
				one.subs[v] = true
			}
			for v := range p.actors {
				one.actors[v] = true
			}
		}
		all = append(rest, one)
	}
	return all
}

// callers are all the orderers that a person can be, by whatever token.
func (p accounts) callers(c law.Configuration) []law.Caller {
	var all []law.Caller
	for _, s := range c.Subjects {
		for _, i := range s.Identities {
			mine := slices.Contains(p.users, s.ID)
			for _, v := range i.Claims["sub"] {
				mine = mine || p.subs[law.ActorName{Issuer: i.Issuer, Value: v}]
			}
			values := i.Claims["actor"]
			if values == nil {
				values = []string{"", "v", "w", "x", "other"}
			}
			for _, v := range values {
				if mine || p.actors[law.ActorName{Issuer: i.Issuer, Value: v}] {
					all = append(all, law.Caller{Principal: law.Principal{Subject: s.ID, Issuer: i.Issuer, Sub: "s"}, Actor: v})
				}
			}
		}
	}
	return all
}

// releases says whether a person gets an operation approved that they order as the caller.
func (p accounts) releases(f law.Facts, who law.Caller) bool {
	out, err := law.Create(who, law.Ask{
		Server: "test", ID: "op-1", Nonce: "00", Keys: []law.KeyAsk{{Key: "k", MaxUses: 1}}, Description: "d", Context: "c", Validity: time.Hour,
	}, f, monday)
	for _, u := range p.users {
		if s, _ := f.Subject(u); err == nil && len(s.Identities) > 0 {
			if next, refused := out.Operation.Approve(u, out.Operation.Digest(), f, monday); refused == nil {
				out = next
			}
		}
	}
	return err == nil && out.Operation.Recorded == law.Approved
}

// Sense says of no other key than one that a single person can really release, playing it through.
func TestAnyKeyThatOnePersonCouldReleaseAloneIsFound(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		c := drawTeam(t)
		f, err := law.NewFacts(c)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{} // the first user of each who can
		for _, p := range peopleOf(c) {
			for _, who := range p.callers(c) {
				if p.releases(f, who) {
					slices.Sort(p.users)
					want[string(p.users[0])] = true
				}
			}
		}
		w, _ := f.WhoCan("k")
		got := map[string]bool{}
		for _, a := range w.Alone {
			for _, p := range peopleOf(c) {
				if slices.Contains(p.users, a.Subjects[1]) {
					got[string(slices.Min(p.users))] = true
				}
			}
		}
		said := 0
		for _, fault := range f.Sense(law.Mode{}) {
			if strings.Contains(fault, "one person could release it alone") {
				said++
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || said != len(want) {
			t.Fatalf("got %v, said %d times; want %v\n%+v", got, said, want, c)
		}
		found += len(want)
	})
	if found == 0 {
		t.Error("no such key was drawn")
	}
}

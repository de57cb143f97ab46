package law_test

import (
	"fmt"
	"testing"

	"example.org/keyserver/internal/law"
)

// manySubjects is a company of n subjects, half of them pipelines, and n/100 keys of a hundred subjects each. All
// people are in one more role that covers ten of them.
func manySubjects(n int) law.Configuration {
	ci := issuer(builds)
	ci.ActorClaim = "actor"
	c := law.Configuration{Issuers: []law.Issuer{issuer(people), ci}}
	auditors := law.Role{ID: "auditors", Kind: law.Auditor}
	everywhere := law.Role{ID: "everywhere", Kind: law.Approver}
	for k := range n / 100 {
		id := law.KeyID(fmt.Sprintf("key-%d", k))
		c.Keys = append(c.Keys, key(id, k%4))
		if k < 10 {
			everywhere.Keys = append(everywhere.Keys, id)
		}
		orderers := law.Role{ID: law.RoleID("orderers-" + id), Kind: law.Orderer, Keys: []law.KeyID{id}}
		approvers := law.Role{ID: law.RoleID("approvers-" + id), Kind: law.Approver, Keys: []law.KeyID{id}}
		for i := range 50 {
			who := k*50 + i
			user := person(law.SubjectID(fmt.Sprintf("person-%d", who)))
			user.Actors = []law.ActorName{{Issuer: builds, Value: string(user.ID)}}
			job := identified(law.SubjectID(fmt.Sprintf("job-%d", who)), at(builds, "repository", fmt.Sprintf("r%d", k), "ref", fmt.Sprintf("refs/heads/%d", i)))
			job.Kind = law.Client
			c.Subjects = append(c.Subjects, user, job)
			orderers.Members = append(orderers.Members, job.ID)
			approvers.Members = append(approvers.Members, user.ID)
			auditors.Members = append(auditors.Members, user.ID)
		}
		c.Roles = append(c.Roles, orderers, approvers)
	}
	everywhere.Members = auditors.Members
	c.Roles = append(c.Roles, auditors, everywhere, law.Role{ID: "administrators", Kind: law.Administrator, Members: auditors.Members[:3]})
	return c
}

func TestAPlanWithTenThousandSubjectsIsMadeAndJudged(t *testing.T) {
	whole := manySubjects(10_000)
	wanted := manySubjects(10_000)
	few := law.Configuration{Issuers: whole.Issuers, Subjects: whole.Subjects[:6], Roles: []law.Role{
		{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"person-0", "person-1", "person-2"}}}}
	f, err := law.NewFacts(few)
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Difference(wanted)
	if err != nil || len(c.Set.Subjects) != 9_994 || len(c.Set.Keys) != 100 || len(c.Set.Roles) != 202 {
		t.Fatalf("the difference is %d subjects, %d keys and %d roles; %v", len(c.Set.Subjects), len(c.Set.Keys), len(c.Set.Roles), err)
	}
	next, err := c.On(f, nil, law.Mode{})
	if err != nil || len(next.Subjects) != 10_000 {
		t.Fatalf("%d subjects afterwards; %v", len(next.Subjects), err)
	}
	after, err := law.NewFacts(next)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := after.Difference(wanted); err != nil || !again.Empty() {
		t.Errorf("the difference is not empty afterwards: %v", err)
	}
	if w, known := after.WhoCan("key-7"); !known || len(w.Orderers) != 50 || len(w.Approvers) != 5_000 {
		t.Errorf("%d orderers and %d approvers", len(w.Orderers), len(w.Approvers))
	}
	wanted.Subjects[9_999].Identities = wanted.Subjects[1].Identities
	c, err = after.Difference(wanted)
	if err != nil || len(c.Set.Subjects) != 1 {
		t.Fatalf("the difference is %d subjects; %v", len(c.Set.Subjects), err)
	}
	_, err = c.On(after, nil, law.Mode{})
	wantRefusal(t, law.Impossible, err)
	wantSaid(t, "subjects job-0 and job-4999: a token of issuer "+builds+" could belong to both", err)
}

// What grows must grow with the number of subjects, not with its square.
func BenchmarkConfiguration(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		c := manySubjects(n)
		f, err := law.NewFacts(c)
		if err != nil {
			b.Fatal(err)
		}
		one := law.Changes{Set: law.Configuration{Subjects: []law.Subject{with(c.Subjects[0], func(s *law.Subject) { s.Name = "another" })}}}
		for _, step := range []struct {
			name string
			do   func() error
		}{
			{"NewFacts", func() error { _, err := law.NewFacts(c); return err }},
			{"Sense", func() error { f.Sense(law.Mode{}); return nil }},
			{"Difference", func() error { _, err := f.Difference(c); return err }},
			{"On", func() error { _, err := one.On(f, nil, law.Mode{}); return err }},
			{"WhoCan", func() error { f.WhoCan("key-3"); return nil }},
		} {
			b.Run(fmt.Sprintf("%s of %d subjects", step.name, n), func(b *testing.B) {
				for b.Loop() {
					if err := step.do(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

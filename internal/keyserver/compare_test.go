package keyserver_test

import (
	"slices"
	"strings"
	"testing"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func kinds(notes []keyserver.Note) []string {
	var out []string
	for _, n := range notes {
		out = append(out, strings.TrimSpace(n.Kind+" "+string(n.Key)))
	}
	return out
}

func TestAnOperationIsComparedWithTheLastOneApprovedOnTheSameKeys(t *testing.T) {
	k := testkit.New(t)
	compare := func(who law.SubjectID, o, earlier keyserver.Operation, want ...string) {
		t.Helper()
		got, err := k.Keyserver.Compare(k.Context(), k.Caller(who), o.ID)
		if err != nil {
			t.Fatal(err)
		}
		var id law.OperationID
		if got.Earlier != nil {
			id = got.Earlier.ID
		}
		if id != earlier.ID || !slices.Equal(kinds(got.Notes), want) {
			t.Errorf("%s sees %s beside operation %s, want %s, and the notes %v, want %v", who, o.ID, id, earlier.ID, kinds(got.Notes), want)
		}
	}
	none := keyserver.Operation{}
	first := k.Create(testkit.Ask("fw-one", "fw-prod"))
	compare("alice", first, none, "first-time fw-one", "first-time fw-prod", "no-artifacts")
	k.Approve(first, "alice", "bob")
	if _, err := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), first.ID, "no"); err != nil { // it was approved all the same
		t.Fatal(err)
	}
	never := k.Create(testkit.Ask("fw-prod", "fw-one")) // the newest one on these keys, never approved
	k.Approve(k.Create(testkit.Ask("fw-one")), "alice") // on fewer keys
	more := testkit.Ask("fw-prod", "fw-one")
	more.Keys[1].MaxUses, more.Clients = 5, []law.SubjectID{"ci"}
	o := k.Create(more)
	compare("alice", o, first, "count fw-one", "no-artifacts", "clients")
	compare("audrey", o, first, "count fw-one", "no-artifacts", "clients")
	compare("olga", o, first, "count fw-one", "no-artifacts", "clients")
	compare("dave", o, first, "count fw-one", "no-artifacts", "clients") // who sees fw-one alone
	compare("ci", o, none, "first-time fw-prod", "first-time fw-one", "no-artifacts", "clients")
	compare("alice", never, first, "no-artifacts")
	if o := k.Look(o.ID); o.State != law.Pending {
		t.Errorf("comparing has made it %s", o.State)
	}
	for _, who := range []law.SubjectID{"oscar", "eve", "nobody"} {
		hidden(k, string(who)+" compares", who, o, func() error { _, err := k.Keyserver.Compare(k.Context(), k.Caller(who), o.ID); return err })
	}
	_, err := k.Keyserver.Compare(k.Context(), k.Caller("alice"), "none")
	testkit.Refused(t, "what is not there", err, law.NotFound)
}

// What others have asked for, and how often, is not said to those who do not see it.
func TestAComparisonSaysNothingOfWhatIsHidden(t *testing.T) {
	k := testkit.New(t)
	sentences := func() []string {
		t.Helper()
		o, err := k.CreateAs(k.Caller("ci"), testkit.Ask("fw-dev"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Keyserver.Compare(k.Context(), k.Caller("ci"), o.ID)
		if err != nil || got.Earlier != nil && got.Earlier.Orderer.Subject != "ci" {
			t.Fatalf("it is compared with %+v (%v)", got.Earlier, err)
		}
		var all []string
		for _, n := range got.Notes {
			all = append(all, n.Sentence)
		}
		return all
	}
	sentences()
	alone := sentences()
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = 900
	for range 3 {
		k.Create(ask)
	}
	if got := sentences(); !slices.Equal(got, alone) {
		t.Errorf("the notes are %q, and were %q when there was nothing else", got, alone)
	}
}

func TestAComparisonLooksAtTheNewestOperationsOnly(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Limits: keyserver.Limits{PendingOperations: 1 << 20}})
	k.Create(testkit.Ask("fw-one")) // of olga, approved by nobody
	k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	testkit.Race(20, func(int) {
		for range keyserver.LooksBack / 20 {
			if _, err := k.CreateAs(k.Caller("peter"), testkit.Ask("fw-one")); err != nil {
				k.Error(err)
			}
		}
	})
	got, err := k.Keyserver.Compare(k.Context(), k.Caller("alice"), k.Create(testkit.Ask("fw-one")).ID)
	if err != nil || got.Earlier != nil || len(got.Notes) == 0 ||
		got.Notes[0].Sentence != "olga has not asked for key fw-one in the newest 200 operations on it before this one" {
		t.Errorf("it is %+v (%v)", got, err)
	}
}

package verify_test

import (
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// administer tells of everything that happens in administration sessions.
func administer(t testing.TB) *tale {
	l := newTale(t)

	// Without a plan: single changes, a new key, a new key pair, roles and issuers that go.
	l.open("changes", "ada")
	l.authorise("changes", "bea")
	l.change("changes", "bea", 1, l.key("fw-one", func(k *law.Key) { k.Requirement = law.Require(1) }))
	l.change("changes", "ada", 1, law.Changes{Set: law.Configuration{Keys: []law.Key{someKey("fw-new")}}})
	l.change("changes", "ada", 2, law.Changes{ReplacePairs: []law.KeyID{"fw-two"}})
	l.change("changes", "ada", 1, law.Changes{RemoveRoles: []law.RoleID{"auditors"}, RemoveIssuers: []string{"https://spare.test"}})
	l.authorise("changes", "cleo") // while it is active
	l.change("changes", "cleo", 1, law.Changes{Set: law.Configuration{Roles: []law.Role{
		{ID: "auditors", Kind: law.Auditor, Members: []law.SubjectID{"audrey", "dina"}}}}})
	l.close("changes", "dina")

	// An emergency makes a session lapse; the subject is enabled in another one.
	l.open("lapses", "ada")
	l.authorise("lapses", "bea")
	l.disable("cleo", "", "bea")
	l.disable("cleo", "fw-two", "")
	l.withdraw("lapses", "ada")
	l.authorise("lapses", "cleo", "ada")
	l.change("lapses", "ada", 1, l.enable("bea", true))
	l.change("lapses", "ada", 1, l.key("fw-two", func(k *law.Key) { k.State = law.KeyActive }))
	l.change("lapses", "bea", 1, law.Changes{Set: law.Configuration{Administration: law.Administration{Administrators: 3, Active: 30 * time.Minute}}})

	// With a plan, which disables one of its own administrators and makes another session lapse.
	l.open("plan", "ada", law.Changes{
		Set: law.Configuration{
			Administration: law.Administration{Administrators: 4},
			Subjects:       []law.Subject{{ID: "dina", Kind: law.User, Name: "dina"}, {ID: "fay", Kind: law.User, Name: "Fay", Enabled: true, Identities: someIdentity("fay")}},
			Keys:           []law.Key{someKey("fw-planned"), someKey("fw-one")},
			Roles: []law.Role{{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada", "bea", "cleo", "dina", "fay"}},
				{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"fw-planned"}, Members: []law.SubjectID{"olga"}}},
		},
		RemoveRoles: []law.RoleID{"approvers"},
	})
	l.authorise("plan", "dina", "cleo")
	l.apply("plan", "dina")
	l.close("lapses", "ada")

	// Time runs out: of one that was active, and, when something else changes, of one that too few have authorised.
	l.open("waits", "bea")
	l.open("runs out", "cleo")
	l.authorise("runs out", "bea", "ada", "fay")
	l.step(time.Hour)
	l.settle()
	l.step(23 * time.Hour)
	l.disable("ada", "fw-new", "")

	l.open("last", "cleo")
	return l
}

func TestALogOfAdministrationSessionsIsAllowed(t *testing.T) {
	l := administer(t)
	if err := l.log.fold(); err != nil {
		t.Fatal(err)
	}
	seen := map[audit.Type]int{}
	for _, e := range l.log.events {
		seen[e.Type]++
	}
	for _, kind := range []audit.Type{
		audit.SessionOpened, audit.SessionAuthorised, audit.SessionWithdrawn, audit.SessionBecameActive, audit.SessionLapsed,
		audit.SessionPlanApplied, audit.SessionClosed, audit.SessionExpired,
	} {
		if seen[kind] == 0 {
			t.Errorf("the tale has no %s", kind)
		}
	}
	t.Log(seen)
}

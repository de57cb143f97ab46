package verifytest

import (
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// OpenSession opens an administration session, with a plan if there is a policy.
func (w *World) OpenSession(who law.SubjectID, policy func(*law.Configuration)) keyserver.Session {
	w.Helper()
	request := keyserver.OpenSessionRequest{Description: "a session of " + string(who)}
	if policy != nil {
		f, err := w.Server.Facts(w.Context())
		w.must(err)
		wanted := f.Configuration()
		policy(&wanted)
		request.Policy = &wanted
	}
	s, err := w.Server.OpenSession(w.Context(), w.Caller(who), request)
	w.must(err)
	return s
}

// Authorise authorises an administration session for each of these people.
func (w *World) Authorise(s keyserver.Session, administrators ...law.SubjectID) {
	w.Helper()
	for _, who := range administrators {
		_, err := w.Server.AuthoriseSession(w.Context(), w.Caller(who), s.ID, s.Digest)
		w.must(err)
	}
}

func (w *World) withdraw(who law.SubjectID, s keyserver.Session) {
	w.Helper()
	_, err := w.Server.WithdrawAuthorisation(w.Context(), w.Caller(who), s.ID)
	w.must(err)
}

// Apply applies the plan of an administration session.
func (w *World) Apply(who law.SubjectID, s keyserver.Session) error {
	_, err := w.Server.ApplyPlan(w.Context(), w.Caller(who), s.ID)
	return err
}

// In makes a change in an administration session.
func (w *World) In(who law.SubjectID, s keyserver.Session, changes law.Changes) error {
	_, err := w.Server.Change(w.Context(), w.Caller(who), s.ID, "a test changes it", changes)
	return err
}

func (w *World) sessions() {
	w.Helper()

	// An administrator of a session is disabled, and enabled again by the others.
	s := w.OpenSession("ada", nil)
	w.Refused(w.In("ada", s, law.Changes{RemoveRoles: []law.RoleID{"auditors"}}))
	w.Authorise(s, "adam")
	_, err := w.Server.AuthoriseSession(w.Context(), w.Caller("adam"), s.ID, s.Digest)
	w.Refused(err)
	_, err = w.Server.AuthoriseSession(w.Context(), w.Caller("eve"), s.ID, s.Digest)
	w.Refused(err)
	w.Enable("adam", false) // lapses
	w.withdraw("ada", s)
	w.Authorise(s, "anna", "ada")
	f, err := w.Server.Facts(w.Context())
	w.must(err)
	adam, _ := f.Subject("adam")
	adam.Enabled = true
	w.must(w.In("anna", s, law.Changes{Set: law.Configuration{Subjects: []law.Subject{adam}}}))
	w.must(w.In("adam", s, law.Changes{ReplacePairs: []law.KeyID{"fw-two"}}))
	w.must(w.In("ada", s, law.Changes{RemoveRoles: []law.RoleID{"auditors"}}))

	// Of two plans for the same configuration one is applied; the other is too late for ever.
	late := w.OpenSession("anna", func(c *law.Configuration) { c.Administration.Active = 2 * time.Hour })
	plan := w.OpenSession("adam", func(c *law.Configuration) {
		c.Administration = law.Administration{Administrators: 3, Active: 30 * time.Minute}
		c.Roles = append(c.Roles, law.Role{ID: "inspectors", Kind: law.Auditor, Members: []law.SubjectID{"audrey"}})
		c.Subjects = append(c.Subjects, law.Subject{ID: "zoe", Kind: law.User, Name: "Zoe", Enabled: true, Identities: []law.Identity{
			{Issuer: people, Claims: map[string][]string{"sub": {"sub of zoe"}}}}})
		more := c.Keys[0]
		more.ID, more.Requirement = "fw-more", law.Require(0)
		c.Keys = append(c.Keys, more.With(law.KeyPair{}))
	})
	w.Authorise(plan, "ada")
	w.Authorise(late, "ada")
	w.must(w.Apply("adam", plan))
	w.Refused(w.Apply("adam", plan))
	w.Refused(w.Apply("anna", late))
	w.Authorise(late, "adam") // three are needed now
	w.Refused(w.Apply("anna", late))

	// Time runs out.
	w.Refused(w.In("eve", s, law.Changes{RemoveRoles: []law.RoleID{"inspectors"}}))
	w.Step(time.Hour)
	w.Refused(w.In("anna", s, law.Changes{RemoveRoles: []law.RoleID{"inspectors"}})) // meets the end of one
	w.must(w.Server.Beat(w.Context()))                                               // finds the other one
	back := w.OpenSession("ada", func(c *law.Configuration) { c.Administration = law.Administration{Administrators: 2} })
	w.Authorise(back, "adam", "anna")
	w.must(w.Apply("anna", back))
}

package testkit

import (
	"context"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// OpenSession opens an administration session as ada, with a plan unless policy is nil.
func (k *Kit) OpenSession(policy *law.Configuration) keyserver.Session {
	k.Helper()
	s, err := k.Keyserver.OpenSession(context.Background(), k.Caller("ada"), keyserver.OpenSessionRequest{Description: "a change by a test", Policy: policy})
	k.must(err)
	return s
}

// Authorise authorises an administration session for each of these people.
func (k *Kit) Authorise(s keyserver.Session, people ...law.SubjectID) keyserver.Session {
	k.Helper()
	for _, who := range people {
		var err error
		s, err = k.Keyserver.AuthoriseSession(context.Background(), k.Caller(who), s.ID, s.Digest)
		k.must(err)
	}
	return s
}

// ActiveSession opens an administration session as ada, which adam authorises.
func (k *Kit) ActiveSession(policy *law.Configuration) keyserver.Session {
	k.Helper()
	return k.Authorise(k.OpenSession(policy), "adam")
}

// LookAt returns an administration session as the auditor sees it.
func (k *Kit) LookAt(id law.SessionID) keyserver.Session {
	k.Helper()
	s, err := k.Keyserver.Session(context.Background(), k.Caller("audrey"), id)
	k.must(err)
	return s
}

// ChangeIn makes a change in an administration session as ada.
func (k *Kit) ChangeIn(s keyserver.Session, changes law.Changes) (law.Configuration, error) {
	return k.Keyserver.Change(context.Background(), k.Caller("ada"), s.ID, "changed by a test", changes)
}

// Close closes an administration session as ada.
func (k *Kit) Close(s keyserver.Session) keyserver.Session {
	k.Helper()
	s, err := k.Keyserver.CloseSession(context.Background(), k.Caller("ada"), s.ID)
	k.must(err)
	return s
}

// Change makes a change in an administration session of its own.
func (k *Kit) Change(changes law.Changes) law.Configuration {
	k.Helper()
	s := k.ActiveSession(nil)
	set, err := k.ChangeIn(s, changes)
	k.must(err)
	k.Close(s)
	return set
}

// Policy is the configuration as it is, changed.
func (k *Kit) Policy(change func(*law.Configuration)) law.Configuration {
	k.Helper()
	facts, err := k.Keyserver.Facts(context.Background())
	k.must(err)
	policy := facts.Configuration()
	change(&policy)
	return policy
}

// Configure makes the configuration what it is after the change, in an administration session of its own. Where that
// is what it is already, nothing is done.
func (k *Kit) Configure(change func(*law.Configuration)) {
	k.Helper()
	facts, err := k.Keyserver.Facts(context.Background())
	k.must(err)
	changes, err := facts.Difference(k.Policy(change))
	k.must(err)
	if !changes.Empty() {
		k.Change(changes)
	}
}

// ReconfigureKey changes one key of the configuration.
func (k *Kit) ReconfigureKey(id law.KeyID, change func(*law.Key)) {
	k.Helper()
	k.Configure(func(c *law.Configuration) { ChangeKey(c, id, change) })
}

// ChangeKey changes a key of a configuration.
func ChangeKey(c *law.Configuration, id law.KeyID, change func(*law.Key)) {
	for i := range c.Keys {
		if c.Keys[i].ID == id {
			change(&c.Keys[i])
		}
	}
}

// Members replaces the members of a role.
func (k *Kit) Members(id law.RoleID, members ...law.SubjectID) {
	k.Helper()
	k.Configure(func(c *law.Configuration) {
		for i := range c.Roles {
			if c.Roles[i].ID == id {
				c.Roles[i].Members = members
			}
		}
	})
}

// ReplaceKeyPair gives a key a new key pair.
func (k *Kit) ReplaceKeyPair(id law.KeyID) {
	k.Helper()
	k.Change(law.Changes{ReplacePairs: []law.KeyID{id}})
}

// Enable enables a subject, or disables it at once.
func (k *Kit) Enable(id law.SubjectID, enabled bool) {
	k.Helper()
	if !enabled {
		_, err := k.Keyserver.DisableSubject(context.Background(), k.Caller("ada"), id, "disabled by a test")
		k.must(err)
		return
	}
	k.Configure(func(c *law.Configuration) {
		for i := range c.Subjects {
			if c.Subjects[i].ID == id {
				c.Subjects[i].Enabled = true
			}
		}
	})
}

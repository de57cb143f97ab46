package keyserver

import (
	"context"
	"errors"
	"time"

	"example.org/keyserver/internal/law"
)

// Session is an administration session as it is now.
type Session struct {
	law.Session
	State    law.SessionState
	Digest   law.Digest        // by which it is authorised
	Needed   int               // administrators who must have authorised it
	Counted  []law.SubjectID   // those whose authorisation counts now
	Ends     time.Time         // when it expires, if nothing ends it before
	Plan     *law.Changes      // nil: it has none
	Before   law.Configuration // the objects that the plan changes, as they are now
	Revision int64             // grows with every change
}

// OpenSessionRequest asks for a new administration session.
type OpenSessionRequest struct {
	Description string
	Policy      *law.Configuration // the whole configuration as it is to be; nil: the session has no plan
}

// SessionFilter selects administration sessions. Empty fields select all.
type SessionFilter struct {
	State law.SessionState
	Page  Page
}

// SessionPage is one page of administration sessions, newest first. A page may be shorter than asked for and still
// have a next one.
type SessionPage struct {
	Sessions []Session
	Next     string // cursor of the next page, empty at the end
}

// Difference is what would change if the configuration became another one.
type Difference struct {
	Changes law.Changes
	Before  law.Configuration // the objects that change, as they are now
	Faults  []string          // why the change would be refused, each a sentence; empty: it would not be
}

var errNotYet = errors.New("not yet")

// OpenSession opens an administration session, with the plan that makes the configuration what the policy says.
func (k *Keyserver) OpenSession(ctx context.Context, c Caller, request OpenSessionRequest) (Session, error) {
	return Session{}, errNotYet
}

// Session returns one administration session, for administrators and auditors.
func (k *Keyserver) Session(ctx context.Context, c Caller, id law.SessionID) (Session, error) {
	return Session{}, errNotYet
}

// Sessions lists administration sessions, newest first, for administrators and auditors.
func (k *Keyserver) Sessions(ctx context.Context, c Caller, f SessionFilter) (SessionPage, error) {
	return SessionPage{}, errNotYet
}

// AuthoriseSession gives the caller's yes to exactly the session with this digest.
func (k *Keyserver) AuthoriseSession(ctx context.Context, c Caller, id law.SessionID, d law.Digest) (Session, error) {
	return Session{}, errNotYet
}

// WithdrawAuthorisation takes the caller's authorisation back.
func (k *Keyserver) WithdrawAuthorisation(ctx context.Context, c Caller, id law.SessionID) (Session, error) {
	return Session{}, errNotYet
}

// CloseSession ends an administration session.
func (k *Keyserver) CloseSession(ctx context.Context, c Caller, id law.SessionID) (Session, error) {
	return Session{}, errNotYet
}

// ApplyPlan makes the changes of the session's plan, all of them or none, which closes the session.
func (k *Keyserver) ApplyPlan(ctx context.Context, c Caller, id law.SessionID) (Session, error) {
	return Session{}, errNotYet
}

// Change makes changes in a session without a plan, and returns the objects that were set as they are now.
func (k *Keyserver) Change(ctx context.Context, c Caller, id law.SessionID, why string, changes law.Changes) (law.Configuration, error) {
	return law.Configuration{}, errNotYet
}

// DisableKey disables a key at once, without a session.
func (k *Keyserver) DisableKey(ctx context.Context, c Caller, id law.KeyID, reason string) (law.Key, error) {
	return law.Key{}, errNotYet
}

// DisableSubject disables a subject at once, without a session.
func (k *Keyserver) DisableSubject(ctx context.Context, c Caller, id law.SubjectID, reason string) (law.Subject, error) {
	return law.Subject{}, errNotYet
}

// Policy returns the whole configuration, for administrators and auditors.
func (k *Keyserver) Policy(ctx context.Context, c Caller) (law.Configuration, error) {
	return law.Configuration{}, errNotYet
}

// Difference says what would change if the configuration became the wanted one, which is whole, and what would be
// refused of it. It changes nothing.
func (k *Keyserver) Difference(ctx context.Context, c Caller, wanted law.Configuration) (Difference, error) {
	return Difference{}, errNotYet
}

// WhoCan says who can obtain a signature with a key: in the configuration as it is, as it is planned, or as it would
// be after the plan of a session.
func (k *Keyserver) WhoCan(ctx context.Context, c Caller, key law.KeyID, planned *law.Configuration, session law.SessionID) (law.WhoCan, error) {
	return law.WhoCan{}, errNotYet
}

// Subjects lists all subjects, for administrators and auditors.
func (k *Keyserver) Subjects(ctx context.Context, c Caller) ([]law.Subject, error) {
	return nil, errNotYet
}

// Roles lists all roles, for administrators and auditors.
func (k *Keyserver) Roles(ctx context.Context, c Caller) ([]law.Role, error) {
	return nil, errNotYet
}

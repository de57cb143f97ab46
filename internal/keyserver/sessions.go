package keyserver

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
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

// errNoSession is what a caller is told of an administration session that is not there. One that is hidden looks the
// same, but is an event.
var errNoSession = &law.Refusal{Kind: law.NotFound, Reason: "there is no such administration session"}

// OpenSession opens an administration session, with the plan that makes the configuration what the policy says. It is
// not repeated blindly: an answer that was lost leaves an inactive session, which expires.
func (k *Keyserver) OpenSession(ctx context.Context, c Caller, request OpenSessionRequest) (Session, error) {
	id, err := newID()
	if err != nil {
		return Session{}, err
	}
	var nonce [32]byte
	_, _ = rand.Read(nonce[:]) // it never fails, see crypto/rand
	ask := law.SessionAsk{ID: law.SessionID(id), Nonce: hex.EncodeToString(nonce[:]), Description: request.Description}
	return update(ctx, k, func(tx *store.Tx) (Session, error) {
		var s store.Session
		ask := ask
		open, err := tx.OpenSessionsOf(c.Subject, tx.Now())
		if err != nil {
			return Session{}, err
		}
		ask.Server, ask.Base, ask.Open = tx.Server(), tx.Changed(), open
		_, refusal := law.OpenSession(c.Principal, ask, tx.Facts(), tx.Now())
		if refusal == nil && request.Policy != nil { // nobody who may not open a session hears of the policy's faults
			s.Changes, refusal = k.plan(tx.Facts(), *request.Policy)
			ask.Plan = digestOf(s.Changes)
		}
		var out law.SessionOutcome
		if refusal == nil {
			out, refusal = law.OpenSession(c.Principal, ask, tx.Facts(), tx.Now())
		}
		s.Session = out.Session
		if s, err = c.saveSession(tx, s, out.Changes, refusal); err != nil {
			return Session{}, err
		}
		if refusal != nil {
			return Session{}, refusal
		}
		return seenSession(&tx.Reader, s)
	})
}

// plan returns the canonical form of the changes that make the configuration what the policy says, or refuses them.
func (k *Keyserver) plan(f law.Facts, policy law.Configuration) ([]byte, error) {
	changes, err := f.Difference(policy)
	if err != nil {
		return nil, err
	}
	if changes.Empty() {
		return nil, misfit("the policy says what is configured already; there is nothing to plan")
	}
	if _, err := changes.On(f, nil, k.mode); err != nil {
		return nil, err
	}
	if err := k.knowsKeystores(changes.NewPairs(f)); err != nil {
		return nil, err
	}
	plan, err := audit.Plan(changes)
	if err != nil {
		return nil, misfit("the policy cannot be written down: %v", err)
	}
	return plan, nil
}

func digestOf(plan []byte) law.Digest {
	sum := sha256.Sum256(plan)
	return law.Digest(hex.EncodeToString(sum[:]))
}

// Session returns one administration session, for administrators and auditors.
func (k *Keyserver) Session(ctx context.Context, c Caller, id law.SessionID) (Session, error) {
	s, err := look(ctx, k, func(r *store.Reader) (Session, error) {
		s, err := visibleSession(r, c, id)
		if err != nil {
			return Session{}, err
		}
		return seenSession(r, s)
	})
	return s, k.auditHidden(ctx, c, err, audit.Event{Session: string(id)})
}

// visibleSession reads an administration session that the caller may see.
func visibleSession(r *store.Reader, c Caller, id law.SessionID) (store.Session, error) {
	s, known, err := r.Session(id)
	switch {
	case err != nil:
		return s, err
	case !known || !r.Facts().SeesSessions(c.Subject):
		return store.Session{}, &unseen{errNoSession, known}
	}
	return s, nil
}

// seenSession is a session as it is now.
func seenSession(r *store.Reader, s store.Session) (Session, error) {
	f := r.Facts()
	out := Session{
		Session: s.Session, State: s.State(f, r.Now()), Digest: s.Digest(), Needed: s.Needed(f), Counted: s.Counted(f), Ends: s.Ends(),
		Revision: s.Revision,
	}
	if len(s.Changes) == 0 {
		return out, nil
	}
	plan, err := audit.ParsePlan(s.Changes)
	if err != nil {
		return Session{}, fmt.Errorf("administration session %s: %w", s.ID, err)
	}
	out.Plan, out.Before = &plan, before(f, plan)
	return out, nil
}

// Sessions lists the administration sessions that exist for the caller, newest first.
func (k *Keyserver) Sessions(ctx context.Context, c Caller, f SessionFilter) (SessionPage, error) {
	scope := fmt.Sprintf("sessions %q", f.State)
	before, err := k.openCursor(c, scope, f.Page)
	if err != nil {
		return SessionPage{}, err
	}
	query := store.SessionQuery{Before: law.SessionID(before), Limit: f.Page.Limit}
	if f.State != "" { // an open one may have ended since it was stored, or lapsed
		query.States = []law.SessionState{law.SessionInactive, law.SessionActive, f.State}
	}
	return look(ctx, k, func(r *store.Reader) (SessionPage, error) {
		var page SessionPage
		if !r.Facts().SeesSessions(c.Subject) {
			return page, nil
		}
		for scanned, bytes := 0, 0; scanned < longestScan; {
			ids, err := r.SessionIDs(query)
			if err != nil {
				return SessionPage{}, err
			}
			for _, id := range ids {
				query.Before = id
				scanned++
				stored, _, err := r.Session(id)
				if err != nil {
					return SessionPage{}, err
				}
				if f.State == "" || stored.State(r.Facts(), r.Now()) == f.State {
					s, err := seenSession(r, stored)
					if err != nil {
						return SessionPage{}, err
					}
					page.Sessions = append(page.Sessions, s)
					bytes += len(s.Description) + len(stored.Changes)
				}
				if len(page.Sessions) == f.Page.Limit || bytes >= heaviestPage {
					page.Next = k.cursor(c, scope, string(id))
					return page, nil
				}
			}
			if len(ids) < query.Limit {
				return page, nil
			}
		}
		page.Next = k.cursor(c, scope, string(query.Before))
		return page, nil
	})
}

// AuthoriseSession gives the caller's yes to exactly the session with this digest, and so to its plan.
func (k *Keyserver) AuthoriseSession(ctx context.Context, c Caller, id law.SessionID, d law.Digest) (Session, error) {
	return k.changeSession(ctx, c, id, store.Update[Session], func(s law.Session, f law.Facts, now time.Time) (law.SessionOutcome, error) {
		return s.Authorise(c.Subject, d, f, now)
	})
}

// WithdrawAuthorisation takes the caller's authorisation back, while the session is inactive.
func (k *Keyserver) WithdrawAuthorisation(ctx context.Context, c Caller, id law.SessionID) (Session, error) {
	return k.changeSession(ctx, c, id, store.UpdateFirst[Session], func(s law.Session, f law.Facts, now time.Time) (law.SessionOutcome, error) {
		return s.Withdraw(c.Subject, f, now)
	})
}

// CloseSession ends an administration session.
func (k *Keyserver) CloseSession(ctx context.Context, c Caller, id law.SessionID) (Session, error) {
	return k.changeSession(ctx, c, id, store.UpdateFirst[Session], func(s law.Session, f law.Facts, now time.Time) (law.SessionOutcome, error) {
		return s.Close(c.Subject, f, now)
	})
}

type sessionUpdater func(context.Context, *store.DB, func(*store.Tx) (Session, error), ...store.OrderKey) (Session, error)

type sessionVerb func(law.Session, law.Facts, time.Time) (law.SessionOutcome, error)

// changeSession applies a verb of the law to a stored session, and stores what comes of it.
func (k *Keyserver) changeSession(ctx context.Context, c Caller, id law.SessionID, run sessionUpdater, apply sessionVerb) (Session, error) {
	out, err := run(ctx, k.db, func(tx *store.Tx) (Session, error) {
		s, known, err := tx.Session(id)
		if err != nil {
			return Session{}, err
		}
		if !known {
			return Session{}, errNoSession
		}
		out, refusal := apply(s.Session, tx.Facts(), tx.Now())
		s.Session = out.Session
		if s, err = c.saveSession(tx, s, out.Changes, refusal); err != nil {
			return Session{}, err
		}
		if refusal != nil {
			return Session{}, refusal
		}
		return seenSession(&tx.Reader, s)
	})
	return out, unavailable(err, "")
}

// saveSession stores the session if anything happened to it, with its events and the one of the refusal, if there was a
// refusal that is an event. The zero session is one that was not opened.
func (c Caller) saveSession(tx *store.Tx, s store.Session, changes []law.Change, refusal error) (store.Session, error) {
	events := c.sessionEvents(s.Session, changes)
	happened := len(events) > 0
	var r *law.Refusal
	if errors.As(refusal, &r) && recorded(r) {
		events = append(events, c.refused(aboutSession(s.Session, r), r))
	}
	switch {
	case happened:
		err := tx.SaveSession(s, events[0], events[1:]...)
		s.Revision++
		return s, err
	case len(events) > 0:
		return s, tx.Append(events[0])
	}
	return s, nil
}

// aboutSession is the event of a refusal before it is completed. That a session was hidden is not one of the session's.
func aboutSession(s law.Session, r *law.Refusal) audit.Event {
	e := audit.Event{Type: audit.SessionRefused, Session: string(s.ID), SessionDescription: s.Description}
	if s.ID != "" {
		e.Digest = s.Digest()
	}
	if r.Kind == law.NotFound {
		e.Type = audit.RequestRefused
	}
	return e
}

// sessionEvents are the events of what happened to a session, one for each change.
func (c Caller) sessionEvents(s law.Session, changes []law.Change) []audit.Event {
	events := make([]audit.Event, 0, len(changes)+1)
	for _, change := range changes {
		e := audit.Event{
			Type: audit.Type(change.Kind), Session: string(s.ID), SessionDescription: s.Description, Digest: s.Digest(), Reason: change.Reason, Request: c.Request,
		}
		if change.By != "" {
			e.Actor = c.actor()
		}
		if change.Kind == law.DidOpenSession {
			e.Statement = s.Canonical()
		}
		events = append(events, e)
	}
	return events
}

// settleSessions stores what has come about by itself for these sessions.
func settleSessions(tx *store.Tx, ids []law.SessionID) error {
	return endSessions(tx, ids, func(s law.Session) law.SessionOutcome { return s.Settle(tx.Facts(), tx.Now()) })
}

// endSessions stores what becomes of these sessions though nobody asks.
func endSessions(tx *store.Tx, ids []law.SessionID, how func(law.Session) law.SessionOutcome) error {
	for _, id := range ids {
		s, _, err := tx.Session(id)
		if err != nil {
			return err
		}
		out := how(s.Session)
		s.Session = out.Session
		if _, err := (Caller{}).saveSession(tx, s, out.Changes, nil); err != nil {
			return err
		}
	}
	return nil
}

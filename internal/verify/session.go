package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// session is what the log has told of an administration session so far. Times are ms UTC.
type session struct {
	id             law.SessionID
	digest         law.Digest
	description    string
	openedBy       law.SubjectID
	plan           law.Digest // empty: it has none
	required       int
	opened, active int64 // active is how long
	activated      int64 // 0: never yet
	authorisations []*authorisation
	standing       map[law.SubjectID]*authorisation // those not withdrawn
	state          law.SessionState
	endedAt        int64
	endedBy        law.SubjectID
	reason         string // of its end
	changes        int64  // events that changed it
	seen           bool   // in the database

	configured int64 // objects of the configuration that had been set or removed when it was opened
}

type authorisation struct {
	by        law.SubjectID
	at        int64
	withdrawn int64 // 0 while it stands
	seen      bool  // in the database
}

func openSession(s law.SessionState) bool { return s == law.SessionInactive || s == law.SessionActive }

const sessionWait = 24 * 60 * 60 * 1000 // ms

// ends is when it expires; at this instant it has.
func (s *session) ends() int64 {
	if s.activated == 0 {
		return s.opened + sessionWait
	}
	return s.activated + s.active
}

// stands is where the session should stand at a time in a world.
func (s *session) stands(w *world, at int64) law.SessionState {
	if !openSession(s.state) {
		return s.state
	}
	n := 0
	for who := range s.standing {
		if w.administrators.has(who) {
			n++
		}
	}
	switch {
	case at >= s.ends():
		return law.SessionExpired
	case n >= s.required && n >= w.required():
		return law.SessionActive
	}
	return law.SessionInactive
}

func (s *session) unsettled(w *world, at int64) bool { return s.stands(w, at) != s.state }

func (s *session) unsaid(w *world, at int64) string {
	return fmt.Sprintf("administration session %s is %s, though it has just become %s", s.id, s.state, s.stands(w, at))
}

// counts says whether the person is one of those who may act in the session.
func (s *session) counts(who law.SubjectID, w *world) bool {
	return s.standing[who] != nil && w.administrators.has(who)
}

// inSession is the session in which something was done, according to the event.
func (f *Fold) inSession(e *audit.Event) (*session, error) {
	s := f.sessions[law.SessionID(e.Session)]
	switch {
	case s == nil:
		return nil, breaks("section 5", "administration session %s was never opened", e.Session)
	case e.SessionDescription != s.description:
		return nil, breaks("section 5", "this is not the description of administration session %s", e.Session)
	}
	return s, nil
}

// namedSession is the session that something happened to, digest and all.
func (f *Fold) namedSession(e *audit.Event) (*session, error) {
	s, err := f.inSession(e)
	if err == nil && e.Digest != s.digest {
		err = breaks("section 5", "this is not the digest of administration session %s", e.Session)
	}
	return s, err
}

// mayAct says whether the person may change the configuration in the session.
func (f *Fold) mayAct(s *session, who law.SubjectID, at int64) error {
	switch now := s.stands(&f.world, at); {
	case now != s.state:
		return breaks("section 5", "administration session %s has become %s, of which there is no event", s.id, now)
	case now != law.SessionActive:
		return breaks("section 5", "administration session %s is %s; nothing is done in it", s.id, now)
	case !s.counts(who, &f.world):
		return breaks("section 5", "%q is none of the administrators who authorised session %s", who, s.id)
	}
	return nil
}

func (f *Fold) sessionOpened(e *audit.Event) error {
	s, err := law.ParseSessionStatement(e.Statement)
	if err != nil {
		return breaks("section 5", "%v", err)
	}
	digest := sha256.Sum256(e.Statement)
	who := e.Actor.Subject
	switch {
	case hex.EncodeToString(digest[:]) != string(e.Digest):
		return breaks("section 5", "this is not the digest of the session's canonical form")
	case f.sessions[s.ID] != nil:
		return breaks("section 5", "administration session %s was opened before", s.ID)
	case string(s.ID) != e.Session || s.Server != f.server || s.Description != e.SessionDescription:
		return breaks("section 5", "the canonical form is of session %s of server %q, %q", s.ID, s.Server, s.Description)
	case s.OpenedBy != (law.Principal{Subject: who, Issuer: e.Actor.Issuer, Sub: e.Actor.Sub}):
		return breaks("section 5", "the canonical form names another administrator than the one who opened it")
	case s.Opened.UnixMilli() != e.Time:
		return breaks("section 5", "the canonical form says that it was opened at another time")
	case s.Required != f.world.required() || s.Active.Milliseconds() != f.world.active():
		return breaks("section 5", "%d administrators and %d ms are not what a session takes now", s.Required, s.Active.Milliseconds())
	case !isSHA256(s.Nonce) || s.Plan != "" && !isSHA256(string(s.Plan)):
		return breaks("section 5", "the canonical form is incomplete")
	case !f.world.administrators.has(who):
		return breaks("section 5", "%q, who is said to have opened a session, is no enabled administrator", who)
	}
	n := &session{
		id: s.ID, digest: e.Digest, description: s.Description, openedBy: who, plan: s.Plan, required: s.Required, opened: e.Time,
		active: s.Active.Milliseconds(), standing: map[law.SubjectID]*authorisation{}, state: law.SessionInactive,
		configured: f.configured,
	}
	f.sessions[n.id], f.openSessions[n.id] = n, n
	f.authorise(n, who, e.Time)
	return nil
}

func (f *Fold) authorise(s *session, who law.SubjectID, at int64) {
	a := &authorisation{by: who, at: at}
	s.authorisations = append(s.authorisations, a)
	s.standing[who] = a
	s.changes++
	f.settleLater(s, at)
}

// administered is what a person does with a session.
func (f *Fold) administered(e *audit.Event) error {
	s, err := f.namedSession(e)
	if err != nil {
		return err
	}
	who := e.Actor.Subject
	now := s.stands(&f.world, e.Time)
	if f.applied == s {
		now = s.state // whatever its plan has made of it
	}
	switch {
	case now != s.state:
		return breaks("section 5", "administration session %s has become %s, of which there is no event", s.id, now)
	case !openSession(s.state):
		return breaks("section 5", "administration session %s is %s, which it stays for ever", s.id, s.state)
	}
	administers := f.world.administrators.has(who) || f.applied == s
	switch e.Type {
	case audit.SessionAuthorised:
		switch {
		case !administers:
			return breaks("section 5", "%q, who is said to have authorised session %s, is no enabled administrator", who, s.id)
		case s.standing[who] != nil:
			return breaks("section 5", "%q has authorised session %s already", who, s.id)
		}
		f.authorise(s, who, e.Time)
		return nil
	case audit.SessionWithdrawn:
		a := s.standing[who]
		switch {
		case a == nil || !f.world.viewers.has(who):
			return breaks("section 5", "%q has no authorisation of session %s that could be withdrawn", who, s.id)
		case s.state == law.SessionActive:
			return breaks("section 5", "session %s is active; no authorisation of it can be withdrawn", s.id)
		}
		a.withdrawn = e.Time
		delete(s.standing, who)
	case audit.SessionPlanApplied:
		return f.planBegins(s, e)
	case audit.SessionClosed:
		if !administers {
			return breaks("section 5", "%q, who is said to have closed session %s, is no enabled administrator", who, s.id)
		}
		f.applied = nil
		f.sessionBecomes(s, law.SessionClosed, e)
	}
	s.changes++
	return nil
}

// sessionSettled checks what came about by itself.
func (f *Fold) sessionSettled(e *audit.Event, to law.SessionState) error {
	s, err := f.namedSession(e)
	if err != nil {
		return err
	}
	switch now := s.stands(&f.world, e.Time); {
	case !openSession(s.state):
		return breaks("section 5", "administration session %s is %s, which it stays for ever", s.id, s.state)
	case endsByClock(e):
		f.ended = true
	case s.state == to:
		return breaks("section 5", "administration session %s is %s already", s.id, to)
	case now != to:
		return breaks("section 5", "administration session %s has become %s, not %s", s.id, now, to)
	}
	delete(f.due, s)
	s.changes++
	if to == law.SessionActive && s.activated == 0 {
		s.activated = e.Time
	}
	f.sessionBecomes(s, to, e)
	return nil
}

func (f *Fold) sessionBecomes(s *session, to law.SessionState, e *audit.Event) {
	s.state = to
	if openSession(to) {
		return
	}
	s.endedAt, s.reason = e.Time, e.Reason
	if e.Actor != nil {
		s.endedBy = e.Actor.Subject
	}
	delete(f.openSessions, s.id)
}

package law

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// SessionID names an administration session (UUIDv7, RFC 9562).
type SessionID string

// SessionState is where an administration session stands.
type SessionState string

const (
	SessionInactive SessionState = "inactive" // not enough administrators have authorised it
	SessionActive   SessionState = "active"
	SessionClosed   SessionState = "closed"  // by hand, or because its plan was applied; final
	SessionExpired  SessionState = "expired" // by time; final
)

// Final says whether a session never leaves the state. Anything but inactive and active is final.
func (s SessionState) Final() bool { return s != SessionInactive && s != SessionActive }

// Session is an administration session: a window, authorised by several administrators, in which the
// configuration may change. It is a value, as an [Operation] is. The zero Session is final and allows nothing.
type Session struct {
	SessionStatement
	Base           int64           // how often the configuration had changed when it was opened
	Authorisations []Authorisation // in the order they were given, withdrawn ones too; the opener's is the first
	Activated      time.Time       // when it was active first; zero: never yet
	Recorded       SessionState    // as last written down; ask State for what holds now
	Ending         Ending          // how it ended, once Recorded is final
}

// SessionStatement is the part of a session that never changes, and what its digest is taken over.
type SessionStatement struct {
	Server      string // server id
	ID          SessionID
	Nonce       string // lower-case hex, 32 random bytes
	OpenedBy    Principal
	Description string
	Plan        Digest        // of the plan; empty: it has none
	Required    int           // administrators who must authorise it, as configured when it was opened
	Active      time.Duration // how long it is active, whole milliseconds
	Opened      time.Time     // whole milliseconds, UTC
}

// Authorisation is one administrator's yes to a session.
type Authorisation struct {
	By        SubjectID
	At        time.Time
	Withdrawn time.Time // zero while it stands
}

// Stands says whether the authorisation has not been withdrawn.
func (a Authorisation) Stands() bool { return a.Withdrawn.IsZero() }

// Bounds of sessions.
const (
	SessionWait      = 24 * time.Hour // how long a session waits to be authorised
	MaxSessionActive = 24 * time.Hour
	MaxOpenSessions  = 10 // that one administrator has opened and that have not ended
	MaxAdministrator = 10 // administrators who can be required
)

// What a session takes where nothing is configured.
const (
	defaultAdministrators = 2
	defaultActive         = time.Hour
)

// Session events.
const (
	DidOpenSession      ChangeKind = "session-opened"
	DidAuthoriseSession ChangeKind = "session-authorised"
	DidRecallSession    ChangeKind = "session-withdrawn" // one administrator's authorisation
	DidActivateSession  ChangeKind = "session-became-active"
	DidLapseSession     ChangeKind = "session-lapsed" // back to inactive
	DidApplyPlan        ChangeKind = "session-plan-applied"
	DidCloseSession     ChangeKind = "session-closed"
	DidExpireSession    ChangeKind = "session-expired"
)

// Check returns what is wrong with what is configured, nil if nothing is.
func (a Administration) Check() error {
	switch {
	case a.Administrators < 0 || a.Administrators > MaxAdministrator:
		return fmt.Errorf("administration: between 1 and %d administrators can be required, not %d", MaxAdministrator, a.Administrators)
	case a.Active != 0 && (a.Active < time.Second || a.Active > MaxSessionActive || a.Active%time.Millisecond != 0):
		return fmt.Errorf("administration: a session can be active between 1000 and %d ms", MaxSessionActive.Milliseconds())
	}
	return nil
}

// Administration returns what an administration session takes now, defaults filled in.
func (f Facts) Administration() Administration { return f.administration.Effective() }

// Effective returns it with the defaults filled in.
func (a Administration) Effective() Administration {
	if a.Administrators == 0 {
		a.Administrators = defaultAdministrators
	}
	if a.Active == 0 {
		a.Active = defaultActive
	}
	return a
}

// MayServe refuses a configuration under which a server of this mode must not serve.
func (f Facts) MayServe(m Mode) error {
	if n := f.Administration().Administrators; n < 2 && !m.Development {
		return refuse(Impossible, "the configuration says that %d administrator may change it alone, which is for development mode only; start in that mode, require at least 2 in an administration session, and start again", n)
	}
	return nil
}

// SessionAsk is what an administrator opens a session with. Server, ID and Nonce are given by the server, and so
// are Open, the number of sessions of that administrator that have not ended, and Base.
type SessionAsk struct {
	Server      string
	ID          SessionID
	Nonce       string
	Description string
	Plan        Digest
	Base        int64
	Open        int
}

// SessionOutcome is what a verb leaves to be stored, whether it was refused or not.
type SessionOutcome struct {
	Session Session
	Changes []Change // in order; empty: nothing to store
}

// OpenSession opens an administration session. Who opens it has authorised it.
func OpenSession(who Principal, ask SessionAsk, f Facts, now time.Time) (SessionOutcome, error) {
	switch {
	case !f.Holds(who.Subject, Administrator, ""):
		return SessionOutcome{}, refuse(Forbidden, "an administration session is opened by an administrator")
	case f.ClockHeld:
		return SessionOutcome{}, refuseClock()
	case CheckText(ask.Description, MaxDescription) != nil:
		return SessionOutcome{}, refuse(Impossible, "description: %v", CheckText(ask.Description, MaxDescription))
	case ask.Open >= MaxOpenSessions:
		return SessionOutcome{}, refuse(WrongState, "you have opened %d sessions that have not ended; close one of them first", ask.Open)
	}
	a := f.Administration()
	opened := now.UTC().Truncate(time.Millisecond)
	s := Session{
		SessionStatement: SessionStatement{
			Server: ask.Server, ID: ask.ID, Nonce: ask.Nonce, OpenedBy: who, Description: ask.Description, Plan: ask.Plan,
			Required: a.Administrators, Active: a.Active, Opened: opened,
		},
		Base: ask.Base, Authorisations: []Authorisation{{By: who.Subject, At: opened}}, Recorded: SessionInactive,
	}
	if err := s.check(); err != nil {
		return SessionOutcome{}, refuse(Impossible, "the session cannot be: %v", err)
	}
	if _, err := s.canonical(); err != nil {
		return SessionOutcome{}, refuse(Impossible, "your token cannot be stored with the session: %v", err)
	}
	return SessionOutcome{s, []Change{{Kind: DidOpenSession, By: who.Subject}}}.settle(f, now), nil
}

// Ends is when the session expires, if nothing ends it before; at this instant it has expired.
func (s Session) Ends() time.Time {
	if s.Activated.IsZero() {
		return s.Opened.Add(SessionWait)
	}
	return s.Activated.Add(s.Active)
}

// State is where the session stands, judged by the world as it is: only people who are enabled administrators
// now count, and there must be as many as were required when it was opened and as are required now.
func (s Session) State(f Facts, now time.Time) SessionState {
	switch {
	case s.Recorded.Final():
		return s.Recorded
	case !now.Before(s.Ends()):
		return SessionExpired
	case s.Required > 0 && len(s.Counted(f)) >= s.Needed(f):
		return SessionActive
	}
	return SessionInactive
}

// Needed is how many administrators must have authorised the session: the stricter of then and now.
func (s Session) Needed(f Facts) int { return max(s.Required, f.Administration().Administrators) }

// Counted returns the set of administrators whose standing authorisation counts now: a person counts once.
func (s Session) Counted(f Facts) []SubjectID {
	var people []SubjectID
	for _, a := range s.Authorisations {
		if a.Stands() && f.Holds(a.By, Administrator, "") && !slices.Contains(people, a.By) {
			people = append(people, a.By)
		}
	}
	return people
}

// Settle writes down what has come about by itself: that it became active, lapsed or expired.
func (s Session) Settle(f Facts, now time.Time) SessionOutcome {
	next := s.State(f, now)
	if next == s.Recorded {
		return SessionOutcome{Session: s}
	}
	var c Change
	switch next {
	case SessionActive:
		c = Change{Kind: DidActivateSession, Reason: fmt.Sprintf("%d of %d administrators have authorised it", len(s.Counted(f)), s.Needed(f))}
		if s.Activated.IsZero() {
			s.Activated = now.UTC().Truncate(time.Millisecond)
		}
	case SessionInactive:
		c = Change{Kind: DidLapseSession, Reason: fmt.Sprintf("only %d of %d administrators have authorised it and still count", len(s.Counted(f)), s.Needed(f))}
	case SessionExpired:
		c = Change{Kind: DidExpireSession, Reason: "its time has run out"}
		s.Ending = Ending{At: now, Reason: c.Reason}
	}
	s.Recorded = next
	return SessionOutcome{s, []Change{c}}
}

// AcceptClock ends an open session because an operator has accepted a clock that went back (rule 8).
func (s Session) AcceptClock(now time.Time) SessionOutcome {
	if s.Recorded.Final() {
		return SessionOutcome{Session: s}
	}
	c := Change{Kind: DidExpireSession, Reason: "an operator accepted a clock that went back"}
	return s.end(SessionOutcome{}, SessionExpired, c, now)
}

func (s Session) end(out SessionOutcome, to SessionState, c Change, now time.Time) SessionOutcome {
	s.Recorded = to
	s.Ending = Ending{At: now, By: c.By, Reason: c.Reason}
	return SessionOutcome{s, append(slices.Clone(out.Changes), c)}
}

func (out SessionOutcome) settle(f Facts, now time.Time) SessionOutcome {
	next := out.Session.Settle(f, now)
	next.Changes = slices.Concat(out.Changes, next.Changes)
	return next
}

// SeesSessions says whether administration sessions exist for the subject: for administrators and auditors.
func (f Facts) SeesSessions(who SubjectID) bool { return f.SeesEverything(who) }

// Authorise gives one administrator's yes to exactly the session with this digest, and so to its plan.
func (s Session) Authorise(who SubjectID, d Digest, f Facts, now time.Time) (SessionOutcome, error) {
	out := s.Settle(f, now)
	s = out.Session
	switch {
	case !f.SeesSessions(who):
		return out, refuseNoSession()
	case !f.Holds(who, Administrator, ""):
		return out, refuse(Forbidden, "an administration session is authorised by an administrator")
	case f.ClockHeld:
		return out, refuseClock()
	case s.Recorded.Final():
		return out, refuse(WrongState, "the session is %s; open a new one", s.Recorded)
	case s.standing(who) >= 0:
		return out, refuse(Duplicate, "you have authorised this session already; an authorisation counts once")
	case d != s.Digest():
		return out, refuse(WrongDigest, "this is not the digest of the session; look at the session again before you authorise it")
	}
	s.Authorisations = append(slices.Clone(s.Authorisations), Authorisation{By: who, At: now})
	out.Session = s
	out.Changes = append(out.Changes, Change{Kind: DidAuthoriseSession, By: who})
	return out.settle(f, now), nil
}

// Withdraw takes one's own authorisation back while the session is inactive.
func (s Session) Withdraw(who SubjectID, f Facts, now time.Time) (SessionOutcome, error) {
	out := s.Settle(f, now)
	s = out.Session
	mine := s.standing(who)
	switch {
	case !f.SeesSessions(who):
		return out, refuseNoSession()
	case s.Recorded.Final():
		return out, refuse(WrongState, "the session is %s; there is nothing to withdraw any more", s.Recorded)
	case mine < 0:
		return out, refuse(WrongState, "you have no authorisation of this session that could be withdrawn")
	case s.Recorded == SessionActive:
		return out, refuse(WrongState, "the session is active; close it instead")
	}
	s.Authorisations = slices.Clone(s.Authorisations)
	s.Authorisations[mine].Withdrawn = now
	out.Session = s
	out.Changes = append(out.Changes, Change{Kind: DidRecallSession, By: who})
	return out.settle(f, now), nil
}

// Close ends an open session. Any administrator may. Closing what is closed changes nothing and is no error.
func (s Session) Close(who SubjectID, f Facts, now time.Time) (SessionOutcome, error) {
	out := s.Settle(f, now)
	s = out.Session
	switch {
	case !f.SeesSessions(who):
		return out, refuseNoSession()
	case !f.Holds(who, Administrator, ""):
		return out, refuse(Forbidden, "an administration session is closed by an administrator")
	case s.Recorded == SessionClosed:
		return out, nil
	case s.Recorded.Final():
		return out, refuse(WrongState, "the session is %s already", s.Recorded)
	}
	return s.end(out, SessionClosed, Change{Kind: DidCloseSession, By: who, Reason: "closed by hand"}, now), nil
}

// Act says whether the subject may do something in the session now: it is active, and the subject is one of those
// who authorised it.
func (s Session) Act(who SubjectID, f Facts, now time.Time) (SessionOutcome, error) {
	out := s.Settle(f, now)
	s = out.Session
	switch {
	case !f.SeesSessions(who):
		return out, refuseNoSession()
	case !slices.Contains(s.Counted(f), who):
		return out, refuse(Forbidden, "you have not authorised this administration session; whoever authorised it may act in it")
	case f.ClockHeld:
		return out, refuseClock()
	case s.Recorded == SessionInactive:
		return out, refuse(Forbidden, "the session is inactive: %d of %d administrators have authorised it", len(s.Counted(f)), s.Needed(f))
	case s.Recorded != SessionActive:
		return out, refuse(Forbidden, "the session is %s; open a new one", s.Recorded)
	}
	return out, nil
}

func (s Session) standing(who SubjectID) int {
	return slices.IndexFunc(s.Authorisations, func(a Authorisation) bool { return a.By == who && a.Stands() })
}

func refuseNoSession() error { return refuse(NotFound, "there is no such administration session") }

// The canonical form's object, its fields in the order of their JSON names.
type canonicalSession struct {
	Active      int64              `json:"activems"`
	Description string             `json:"description"`
	Nonce       string             `json:"nonce"`
	Opened      int64              `json:"opened"` // milliseconds since 1970, UTC
	OpenedBy    canonicalPrincipal `json:"openedby"`
	Plan        Digest             `json:"plan"`
	Required    int                `json:"required"`
	Server      string             `json:"server"`
	Session     SessionID          `json:"session"`
	Version     int                `json:"version"`
}

// check refuses what no session can say: a number of administrators or a time out of bounds, or a plan without a
// proper digest.
func (s SessionStatement) check() error {
	a := Administration{s.Required, s.Active}
	switch {
	case a != a.Effective():
		return fmt.Errorf("it does not say how many administrators must authorise it, or how long it is active")
	case s.Plan != "" && !digestPattern.MatchString(string(s.Plan)):
		return fmt.Errorf("%q is not the digest of a plan", s.Plan)
	}
	return a.Check()
}

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Canonical returns the canonical form, version 1: one JSON object as RFC 8785 orders and writes it. Every integer in
// it is below 2^53.
func (s SessionStatement) Canonical() []byte {
	out, err := s.canonical()
	if err != nil { // only invalid UTF-8 and numbers beyond 2^53 can do this, and OpenSession refuses both
		panic(fmt.Sprintf("law: canonical form of session %s: %v", s.ID, err))
	}
	return out
}

func (s SessionStatement) canonical() ([]byte, error) {
	c := canonicalSession{
		Active: s.Active.Milliseconds(), Description: s.Description, Nonce: s.Nonce, Opened: s.Opened.UnixMilli(),
		OpenedBy: canonicalPrincipal{Issuer: s.OpenedBy.Issuer, Sub: s.OpenedBy.Sub, Subject: s.OpenedBy.Subject},
		Plan:     s.Plan, Required: s.Required, Server: s.Server, Session: s.ID, Version: StatementVersion,
	}
	if err := exact(c.Active, c.Opened, int64(c.Required)); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

// Digest returns the digest of the canonical form, by which the session is authorised.
func (s SessionStatement) Digest() Digest {
	sum := sha256.Sum256(s.Canonical())
	return Digest(hex.EncodeToString(sum[:]))
}

// ParseSessionStatement reads a canonical form back. It refuses anything that is not byte for byte what
// [SessionStatement.Canonical] writes.
func ParseSessionStatement(canonical []byte) (SessionStatement, error) {
	var c canonicalSession
	if err := json.Unmarshal(canonical, &c, json.RejectUnknownMembers(true)); err != nil {
		return SessionStatement{}, fmt.Errorf("reading administration session: %w", err)
	}
	s := SessionStatement{
		Server: c.Server, ID: c.Session, Nonce: c.Nonce, OpenedBy: Principal{c.OpenedBy.Subject, c.OpenedBy.Issuer, c.OpenedBy.Sub},
		Description: c.Description, Plan: c.Plan, Required: c.Required, Active: time.Duration(c.Active) * time.Millisecond,
		Opened: time.UnixMilli(c.Opened).UTC(),
	}
	if err := s.check(); err != nil {
		return SessionStatement{}, fmt.Errorf("reading administration session %s: %w", c.Session, err)
	}
	if again, err := s.canonical(); err != nil || string(again) != string(canonical) {
		return SessionStatement{}, fmt.Errorf("reading administration session %s: not in canonical form (RFC 8785), version %d", c.Session, StatementVersion)
	}
	return s, nil
}

package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// Session is an administration session as it is stored.
type Session struct {
	law.Session
	Revision int64  // grows with every change; 0 before it is stored
	Changes  []byte // canonical form of its plan, see [audit.Plan]; empty: it has none
}

const sessionColumns = `id, revision, openedby, statement, digest, plan, base, state, activated, ends, endedat, endedby, endedreason`

// Session reads one administration session. It is false if there is none.
func (r *Reader) Session(id law.SessionID) (Session, bool, error) {
	var s Session
	known := false
	err := r.q.all([]statement{
		{text: `SELECT revision, statement, plan, base, state, activated, endedat, endedby, endedreason FROM administration_sessions WHERE id = $1`,
			args: []any{string(id)}, row: func(scan func(...any) error) error {
				known = true
				return s.scan(scan)
			}},
		{text: `SELECT subject, at, withdrawn FROM session_authorisations WHERE session = $1 ORDER BY position`,
			args: []any{string(id)}, row: s.scanAuthorisation},
	})
	if err != nil {
		return Session{}, false, fmt.Errorf("reading administration session %s: %w", id, err)
	}
	return s, known, nil
}

func (s *Session) scan(scan func(...any) error) error {
	var text string
	var activated, ended int64
	if err := scan(&s.Revision, &text, &s.Changes, &s.Base, &s.Recorded, &activated, &ended, &s.Ending.By, &s.Ending.Reason); err != nil {
		return err
	}
	s.Activated, s.Ending.At = fromMillis(activated), fromMillis(ended)
	var err error
	s.SessionStatement, err = law.ParseSessionStatement([]byte(text))
	return err
}

func (s *Session) scanAuthorisation(scan func(...any) error) error {
	var a law.Authorisation
	var at, withdrawn int64
	if err := scan(&a.By, &at, &withdrawn); err != nil {
		return err
	}
	a.At, a.Withdrawn = fromMillis(at), fromMillis(withdrawn)
	s.Authorisations = append(s.Authorisations, a)
	return nil
}

// SaveSession stores an administration session with the events that say what happened to it. Sessions are rare: they
// are written at once, not with the batch.
func (tx *Tx) SaveSession(s Session, first audit.Event, more ...audit.Event) error {
	if err := tx.saveSession(s); err != nil {
		return tx.wrote(fmt.Errorf("storing administration session %s: %w", s.ID, err))
	}
	return tx.Append(first, more...)
}

func (tx *Tx) saveSession(s Session) error {
	q, err := tx.list()
	if err != nil {
		return err
	}
	tx.batch.sent = true
	if s.Revision == 0 {
		err = q.exec(`INSERT INTO administration_sessions (`+sessionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			string(s.ID), 1, string(s.OpenedBy.Subject), string(s.Canonical()), string(s.Digest()), string(s.Changes), s.Base, string(s.Recorded),
			millis(s.Activated), millis(s.Ends()), millis(s.Ending.At), string(s.Ending.By), s.Ending.Reason)
	} else {
		var n int64
		n, err = q.changed(`UPDATE administration_sessions SET revision = $3, state = $4, activated = $5, ends = $6, endedat = $7, endedby = $8, endedreason = $9
			WHERE id = $1 AND revision = $2`,
			string(s.ID), s.Revision, s.Revision+1, string(s.Recorded), millis(s.Activated), millis(s.Ends()), millis(s.Ending.At), string(s.Ending.By),
			s.Ending.Reason)
		if err == nil && n != 1 {
			err = errChanged
		}
	}
	for i, a := range s.Authorisations {
		if err != nil {
			return err
		}
		err = q.exec(`INSERT INTO session_authorisations (session, position, subject, at, withdrawn) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (session, position) DO UPDATE SET withdrawn = excluded.withdrawn`,
			string(s.ID), i, string(a.By), millis(a.At), millis(a.Withdrawn))
	}
	return err
}

// SessionQuery selects administration sessions by what is stored; an empty field selects all. What is stored as open
// may have expired since.
type SessionQuery struct {
	States []law.SessionState
	Before law.SessionID // only older ones; empty: from the newest
	Limit  int
}

// SessionIDs lists administration sessions, newest first.
func (r *Reader) SessionIDs(query SessionQuery) ([]law.SessionID, error) {
	text := `SELECT id FROM administration_sessions`
	var where []string
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	if len(query.States) > 0 {
		var in []string
		for _, s := range slices.Compact(slices.Sorted(slices.Values(query.States))) {
			in = append(in, arg(string(s)))
		}
		where = append(where, `state IN (`+strings.Join(in, `, `)+`)`)
	}
	if query.Before != "" {
		where = append(where, `id < `+arg(string(query.Before)))
	}
	if len(where) > 0 {
		text += ` WHERE ` + strings.Join(where, ` AND `)
	}
	return r.sessionIDs(text+` ORDER BY id DESC LIMIT `+arg(query.Limit), args...)
}

// OpenSessionIDs lists the administration sessions stored as open, oldest first.
func (r *Reader) OpenSessionIDs() ([]law.SessionID, error) {
	return r.sessionIDs(`SELECT id FROM administration_sessions WHERE state IN ('inactive', 'active') ORDER BY id`)
}

// DueSessionIDs lists open administration sessions whose time has run out at the given time, at most limit.
func (r *Reader) DueSessionIDs(now time.Time, limit int) ([]law.SessionID, error) {
	return r.sessionIDs(`SELECT id FROM administration_sessions WHERE state IN ('inactive', 'active') AND ends <= $1 ORDER BY ends LIMIT $2`, millis(now), limit)
}

// OpenSessionsOf counts the administration sessions that a subject has opened and that are open.
func (r *Reader) OpenSessionsOf(who law.SubjectID, now time.Time) (int, error) {
	var n int
	if err := r.q.row(`SELECT count(*) FROM administration_sessions WHERE openedby = $1 AND state IN ('inactive', 'active') AND ends > $2`,
		[]any{string(who), millis(now)}, &n); err != nil {
		return 0, fmt.Errorf("counting open administration sessions: %w", err)
	}
	return n, nil
}

func (r *Reader) sessionIDs(text string, args ...any) ([]law.SessionID, error) {
	var out []law.SessionID
	if err := r.q.each(text, args, func(scan func(...any) error) error {
		var id law.SessionID
		err := scan(&id)
		out = append(out, id)
		return err
	}); err != nil {
		return nil, fmt.Errorf("listing administration sessions: %w", err)
	}
	return out, nil
}

package verify

import (
	"strconv"

	"example.org/keyserver/internal/law"
)

func (f *Fold) unseenSession() error {
	for _, s := range f.sessions {
		if !s.seen {
			return differs("administration_sessions", string(s.id), missing)
		}
		for i, a := range s.authorisations {
			if !a.seen {
				return differs("session_authorisations", string(s.id)+" "+strconv.Itoa(i), missing)
			}
		}
	}
	return nil
}

func (f *Fold) sessionRow(r Row) error {
	id := r.shown("id")
	s := f.sessions[law.SessionID(id)]
	switch {
	case s == nil:
		return differs("administration_sessions", id, tooMany)
	case s.seen:
		return differs("administration_sessions", id, twice)
	}
	s.seen = true
	return r.compare("administration_sessions", id, func(column string) want {
		switch column {
		case "id":
			return is(id)
		case "openedby":
			return is(string(s.openedBy))
		case "statement":
			return must(hashes(string(s.digest)))
		case "digest":
			return is(string(s.digest))
		case "plan":
			if s.plan == "" {
				return is("")
			}
			return must(hashes(string(s.plan)))
		case "base":
			return is(s.configured)
		case "revision": // one change can have several events
			return between(1, s.changes)
		}
		return s.standsInRow(column)
	})
}

func (s *session) standsInRow(column string) want {
	switch column {
	case "state":
		return is(string(s.state))
	case "activated":
		return is(s.activated)
	case "ends":
		return is(s.ends())
	case "endedat":
		return is(s.endedAt)
	case "endedby":
		return is(string(s.endedBy))
	case "endedreason":
		return is(s.reason)
	}
	return want{}
}

func (f *Fold) authorisationRow(r Row) error {
	id := r.text("session") + " " + r.shown("position")
	s := f.sessions[law.SessionID(r.text("session"))]
	at := r.number("position")
	if s == nil || at < 0 || at >= int64(len(s.authorisations)) {
		return differs("session_authorisations", id, tooMany)
	}
	a := s.authorisations[at]
	if a.seen {
		return differs("session_authorisations", id, twice)
	}
	a.seen = true
	return r.compare("session_authorisations", id, func(column string) want {
		switch column {
		case "session":
			return is(string(s.id))
		case "position":
			return is(at)
		case "subject":
			return is(string(a.by))
		case "at":
			return is(a.at)
		case "withdrawn":
			return is(a.withdrawn)
		}
		return want{}
	})
}

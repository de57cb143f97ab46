package httpapi

import (
	"net/http"
	"strings"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

func openSession(s *server, c *call) (answer, error) {
	in, err := decode[api.NewSession](c)
	if err != nil {
		return answer{}, err
	}
	ask := keyserver.OpenSessionRequest{Description: in.Description}
	if in.Policy != "" {
		if ask.Policy, err = s.parsePolicy(c, in.Policy); err != nil {
			return answer{}, err
		}
	}
	session, err := s.Keyserver.OpenSession(c.Context(), c.Caller, ask)
	if err != nil {
		return answer{}, err
	}
	location := strings.Replace(api.PathSession, "{session}", string(session.ID), 1)
	return answer{status: http.StatusCreated, value: sessionOut(session), location: location}, nil
}

func listSessions(s *server, c *call) (answer, error) {
	page, err := s.Keyserver.Sessions(c.Context(), c.Caller, keyserver.SessionFilter{
		State: law.SessionState(c.query.Get("state")), Page: c.page(),
	})
	if err != nil {
		return answer{}, err
	}
	out := api.Sessions{Next: page.Next}
	for _, session := range page.Sessions {
		session.Plan = nil // whoever wants to know what it changes looks at the session
		out.Sessions = append(out.Sessions, sessionOut(session))
	}
	return asJSON(out)
}

func getSession(s *server, c *call) (answer, error) {
	session, err := s.Keyserver.Session(c.Context(), c.Caller, c.session())
	return asSession(session, err)
}

func getDifference(s *server, c *call) (answer, error) {
	session, err := s.Keyserver.Session(c.Context(), c.Caller, c.session())
	if err != nil {
		return answer{}, err
	}
	out := differenceOut(session, c.integer("from", 0), c.integer("limit", api.MaxItems))
	if out == nil {
		out = &api.Difference{}
	}
	return asJSON(out)
}

func authoriseSession(s *server, c *call) (answer, error) {
	in, err := decode[api.NewAuthorisation](c)
	if err != nil {
		return answer{}, err
	}
	session, err := s.Keyserver.AuthoriseSession(c.Context(), c.Caller, c.session(), law.Digest(in.Digest))
	return asSession(session, err)
}

func withdrawAuthorisation(s *server, c *call) (answer, error) {
	session, err := s.Keyserver.WithdrawAuthorisation(c.Context(), c.Caller, c.session())
	return asSession(session, err)
}

func closeSession(s *server, c *call) (answer, error) {
	session, err := s.Keyserver.CloseSession(c.Context(), c.Caller, c.session())
	return asSession(session, err)
}

func applyPlan(s *server, c *call) (answer, error) {
	session, err := s.Keyserver.ApplyPlan(c.Context(), c.Caller, c.session())
	return asSession(session, err)
}

func changeConfiguration(s *server, c *call) (answer, error) {
	in, err := decode[api.NewChange](c)
	if err != nil {
		return answer{}, err
	}
	changes, err := policy.ParseFragment([]byte(in.Fragment))
	if err != nil {
		return answer{}, s.policyFault(c, err)
	}
	set, err := s.Keyserver.Change(c.Context(), c.Caller, c.session(), in.Reason, changes)
	if err != nil {
		return answer{}, err
	}
	return asJSON(changedOut(set))
}

// session returns the administration session that the path names.
func (c *call) session() law.SessionID { return law.SessionID(c.PathValue("session")) }

func asSession(s keyserver.Session, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return asJSON(sessionOut(s))
}

func sessionOut(s keyserver.Session) api.Session {
	out := api.Session{
		ID: string(s.ID), Server: s.Server, Nonce: s.Nonce, Digest: string(s.Digest), State: api.SessionState(s.State), Revision: s.Revision,
		Description: s.Description, Plan: string(s.Session.Plan), Difference: differenceOut(s, 0, api.MaxItems), Opened: millis(s.Opened),
		OpenedBy: api.Principal{Subject: string(s.OpenedBy.Subject), Issuer: s.OpenedBy.Issuer, Sub: s.OpenedBy.Sub},
		ActiveMS: s.Active.Milliseconds(), Required: s.Required, Needed: s.Needed, Counted: texts(s.Counted),
		Activated: millis(s.Activated), Ends: millis(s.Ends),
	}
	for _, a := range s.Authorisations {
		out.Authorisations = append(out.Authorisations, api.Authorisation{By: string(a.By), At: millis(a.At), Withdrawn: millis(a.Withdrawn)})
	}
	if !s.Ending.At.IsZero() {
		out.Ended = &api.Ended{At: millis(s.Ending.At), By: string(s.Ending.By), Reason: s.Ending.Reason}
	}
	return out
}

// differenceOut writes items of what the session's plan changes, nil if it has none.
func differenceOut(s keyserver.Session, from, limit int64) *api.Difference {
	if s.Plan == nil {
		return nil
	}
	items := policy.Describe(*s.Plan, s.Before)
	total := int64(len(items))
	from = min(from, total)
	return &api.Difference{Total: len(items), Items: itemsOut(items[from:min(from+limit, total)])}
}

func itemsOut(items []policy.Item) []api.DifferenceItem {
	var out []api.DifferenceItem
	for _, i := range items {
		out = append(out, api.DifferenceItem(i))
	}
	return out
}

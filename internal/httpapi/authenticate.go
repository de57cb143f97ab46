package httpapi

import (
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/law"
)

// authenticate finds out who asks. Where the verb makes sure of it, recent facts will do for a yes.
func (s *server) authenticate(c *call) (err error) {
	if c.route.access.free() {
		return nil
	}
	if c.token, err = identity.BearerToken(c.Header); err != nil {
		return s.refuseSignIn(c, err)
	}
	if c.route.rechecks {
		if c.facts, err = s.Keyserver.RecentFacts(c.Context()); err != nil {
			return err
		}
		if c.recent = true; s.identify(c) == nil {
			return nil
		}
	}
	return s.authenticateNow(c)
}

// authenticateNow finds out who asks by the facts of now.
func (s *server) authenticateNow(c *call) (err error) {
	if c.facts, err = s.Keyserver.Facts(c.Context()); err != nil {
		return err
	}
	c.recent = false
	if err := s.identify(c); err != nil {
		return s.refuseSignIn(c, err)
	}
	return nil
}

// identify finds out whose the token is, once for the same facts: garbage must not cost more than it has to.
func (s *server) identify(c *call) error {
	if by := c.facts.Making(); c.unknown == nil || c.Caller.By != by {
		c.Caller.By = by
		c.Caller.Caller, c.unknown = s.Auth.Authenticate(c.Context(), c.facts, c.token)
	}
	return c.unknown
}

// refuseSignIn answers somebody whose token counts for nothing, as the pages do.
func (s *server) refuseSignIn(c *call, err error) error {
	return s.Keyserver.RefuseSignIn(c.Context(), c.Caller, err, func(who string) error { return s.take(s.outside, who) })
}

// refused returns a refusal that no verb has made, after it was audited as those of the verbs are.
func (s *server) refused(c *call, kind law.RefusalKind, sentence string) error {
	return s.Keyserver.Refused(c.Context(), c.Caller, &law.Refusal{Kind: kind, Reason: sentence})
}

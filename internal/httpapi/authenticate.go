package httpapi

import (
	"errors"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/law"
)

// authenticate finds out who asks. Where the verb makes sure of it, recent facts will do for a yes.
func (s *server) authenticate(c *call) (err error) {
	if c.route.access == open {
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

// refuseSignIn counts a refused sign-in. A good token that may speak for no subject is an audit event
// (docs/law.md, Audit).
func (s *server) refuseSignIn(c *call, err error) error {
	var e *identity.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case identity.Rejected:
		s.Keyserver.SignInRefused(c.Caller.Address, string(e.Reason))
	case identity.NotAllowed:
		// Each is an event. All of an issuer are measured together, since some issuers let anybody have as
		// many names as he likes.
		if err := s.take(s.outside, "issuer "+e.Who.Issuer); err != nil {
			return err
		}
		who := c.Caller
		who.Caller = law.Caller{Principal: e.Who}
		return s.Keyserver.Refused(c.Context(), who, &law.Refusal{Kind: law.Forbidden, Reason: e.Sentence})
	}
	return err
}

// refused returns a refusal that no verb has made, after it was audited as those of the verbs are.
func (s *server) refused(c *call, kind law.RefusalKind, sentence string) error {
	return s.Keyserver.Refused(c.Context(), c.Caller, &law.Refusal{Kind: kind, Reason: sentence})
}

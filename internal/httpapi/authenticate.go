package httpapi

import (
	"errors"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/law"
)

// authenticate finds out who asks. Refused sign-ins are counted, a good token that may speak for no
// subject is an audit event (docs/law.md, Audit).
func (s *server) authenticate(c *call) error {
	if c.route.access == open {
		return nil
	}
	token, err := identity.BearerToken(c.Header)
	if err == nil {
		if c.facts, err = s.Keyserver.Facts(c.Context()); err != nil {
			return err
		}
		c.Caller.Caller, err = s.Auth.Authenticate(c.Context(), c.facts, token)
	}
	var e *identity.Error
	if errors.As(err, &e) {
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
	}
	return err
}

// refused returns a refusal that no verb has made, after it was audited as those of the verbs are.
func (s *server) refused(c *call, kind law.RefusalKind, sentence string) error {
	return s.Keyserver.Refused(c.Context(), c.Caller, &law.Refusal{Kind: kind, Reason: sentence})
}

package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// change is one change of the configuration, of one or several objects: entries that follow one another at one time.
type change struct {
	session *session     // in which it is made; nil: in none
	actor   *audit.Actor // nil: it is the first configuration
	request string
	plan    bool                  // it is that of the session
	objects []audit.Configuration // of the plan
}

// goesOn says whether an event at the same time is of the same change. What is done in an emergency is always of one
// object.
func (c *change) goesOn(e *audit.Event) bool {
	switch {
	case e.Type != audit.ConfigurationChanged || e.Request != c.request:
		return false
	case c.session == nil:
		return c.actor == nil && e.Actor == nil && e.Session == ""
	}
	return e.Session == string(c.session.id) && e.Actor != nil && *e.Actor == *c.actor
}

// configure checks that the configuration may change (section 5).
func (f *Fold) configure(e *audit.Event) error {
	if f.change == nil {
		if err := f.changeBegins(e); err != nil {
			return err
		}
	}
	switch c := f.change; {
	case c.session != nil && e.SessionDescription != c.session.description:
		return breaks("section 5", "this is not the description of administration session %s", c.session.id)
	case c.plan && !f.world.keepsPair(e.Configuration):
		return breaks("section 5", "a plan does not change the key pair of key %s", e.Configuration.ID)
	case c.plan:
		c.objects = append(c.objects, *e.Configuration)
	case c.actor != nil && c.session == nil && !f.world.disables(e.Configuration):
		return breaks("section 5", "without an administration session nothing is done but to disable a key or a subject")
	}
	f.configured++
	return f.world.set(e.Configuration)
}

func (f *Fold) changeBegins(e *audit.Event) error {
	c := &change{actor: e.Actor, request: e.Request}
	switch {
	case e.Session == "" && e.SessionDescription != "":
		return breaks("section 5", "it has the description of an administration session, but not the session")
	case e.Session == "" && e.Actor == nil && e.Index != 0:
		return breaks("section 5", "it is not the first configuration, and nobody is said to have made it")
	case e.Session == "" && e.Actor != nil && !f.world.administrators.has(e.Actor.Subject):
		return breaks("section 5", "%q is no enabled administrator", e.Actor.Subject)
	case e.Session != "":
		s, err := f.inSession(e)
		switch {
		case err != nil:
			return err
		case e.Actor == nil:
			return breaks("section 5", "nobody is said to have done it in session %s", s.id)
		case s.plan != "":
			return breaks("section 5", "session %s has a plan, and in it nothing is done but the plan", s.id)
		}
		if err := f.mayAct(s, e.Actor.Subject, e.Time); err != nil {
			return err
		}
		c.session = s
	}
	f.change = c
	return nil
}

func (f *Fold) planBegins(s *session, e *audit.Event) error {
	switch err := f.mayAct(s, e.Actor.Subject, e.Time); {
	case err != nil:
		return err
	case s.plan == "":
		return breaks("section 5", "session %s has no plan", s.id)
	case s.configured != f.configured:
		return breaks("section 5", "the configuration has changed since session %s was opened, for which its plan was made", s.id)
	}
	s.changes++
	f.change = &change{session: s, actor: e.Actor, request: e.Request, plan: true}
	return nil
}

// planEnds checks that what was changed is the plan, and that the next event closes its session.
func (f *Fold) planEnds(c *change, e *audit.Event, together bool) error {
	plan, err := audit.PlanOf(c.objects)
	digest := sha256.Sum256(plan)
	switch {
	case err != nil || hex.EncodeToString(digest[:]) != string(c.session.plan):
		return breaks("section 5", "what was changed is not the plan of session %s", c.session.id)
	case !together || e.Type != audit.SessionClosed || e.Session != string(c.session.id) || *e.Actor != *c.actor:
		return breaks("section 5", "the plan of session %s is applied, and here it must be closed", c.session.id)
	}
	f.applied = c.session
	return nil
}

// disables says whether the object differs from the one there is in being disabled, and in nothing else.
func (w *world) disables(c *audit.Configuration) bool {
	var disabled law.Configuration
	key, subject := w.keys[law.KeyID(c.ID)], w.subjects[law.SubjectID(c.ID)]
	switch {
	case c.Kind == audit.ConfiguredKey && key.State == law.KeyActive:
		key.State = law.KeyDisabled
		disabled.Keys = []law.Key{key}
	case c.Kind == audit.ConfiguredSubject && subject.Enabled:
		subject.Enabled = false
		disabled.Subjects = []law.Subject{subject}
	}
	must, err := audit.ConfigurationOf(disabled)
	return err == nil && len(must) == 1 && bytes.Equal(must[0].Value, c.Value)
}

// keepsPair says whether the object is no key that there is, or has its key pair.
func (w *world) keepsPair(c *audit.Configuration) bool {
	was, known := w.keys[law.KeyID(c.ID)]
	var one law.Configuration
	return c.Kind != audit.ConfiguredKey || !known || c.AddTo(&one) == nil && samePair(was, one.Keys[0])
}

func samePair(a, b law.Key) bool {
	same := a.Version == b.Version && a.Handle == b.Handle && bytes.Equal(a.PublicKey, b.PublicKey) && a.Fingerprint == b.Fingerprint
	if a.Attributes == nil || b.Attributes == nil {
		return same && a.Attributes == b.Attributes
	}
	return same && *a.Attributes == *b.Attributes
}

// outlasts says whether a key is what it was in all that never changes.
func outlasts(was, k law.Key) error {
	switch {
	case was.State == law.KeyRevoked && k.State != law.KeyRevoked:
		return breaks("section 5", "key %s is revoked for ever", k.ID)
	case was.Type != k.Type || was.Algorithm != k.Algorithm || was.Hash != k.Hash || !slices.Equal(was.Schemes, k.Schemes) ||
		answers(was) != answers(k) || was.Keystore != k.Keystore || was.Adopted != k.Adopted || was.MayLeave != k.MayLeave:
		return breaks("section 5", "type, algorithm, hash, schemes, keystore and origin of key %s never change, and neither does whether it signs certificate statuses", k.ID)
	case !samePair(was, k) && (k.Version <= was.Version || k.Adopted != "" || was.State == law.KeyRevoked):
		return breaks("section 5", "the key pair of key %s is another, but no newer one that it may have", k.ID)
	}
	return nil
}

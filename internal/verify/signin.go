package verify

import (
	"regexp"

	"example.org/keyserver/internal/audit"
)

// signIn is what the log has told of a sign-in with a browser.
type signIn struct {
	by    audit.Actor // without the address, which may change
	ended bool
	until int64 // when it would have ended by itself, ms UTC
	seen  bool  // in the database
}

// uuidv7 is an id as RFC 9562 writes it.
var uuidv7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// whoSigns is who signs in or out.
func whoSigns(e *audit.Event) audit.Actor {
	by := *e.Actor
	by.Address = ""
	return by
}

func (f *Fold) signedIn(e *audit.Event) error {
	s := e.SignIn
	switch {
	case !uuidv7.MatchString(s.ID):
		return breaks("section 6", "%q is no id of a sign-in", s.ID)
	case f.signIns[s.ID] != nil:
		return breaks("section 6", "sign-in %s was made before", s.ID)
	case !f.world.subjects[e.Actor.Subject].Enabled:
		return breaks("section 6", "%q, who is said to have signed in, is no enabled subject", e.Actor.Subject)
	case s.At == 0 || s.Until != 0:
		return breaks("section 6", "sign-in %s does not say when it was made, or says how it was ended", s.ID)
	}
	f.signIns[s.ID] = &signIn{by: whoSigns(e)}
	return nil
}

func (f *Fold) signedOut(e *audit.Event) error {
	s := f.signIns[e.SignIn.ID]
	switch {
	case s == nil:
		return breaks("section 6", "sign-in %s was never made", e.SignIn.ID)
	case s.ended:
		return breaks("section 6", "sign-in %s was ended before", e.SignIn.ID)
	case s.by != whoSigns(e):
		return breaks("section 6", "%q has ended sign-in %s of %q", e.Actor.Subject, e.SignIn.ID, s.by.Subject)
	case e.SignIn.Until == 0 || e.SignIn.At != 0 || e.SignIn.ACR != "" || e.SignIn.AMR != nil:
		return breaks("section 6", "the end of sign-in %s does not say when it would have ended by itself, or says how it was made", e.SignIn.ID)
	}
	s.ended, s.until = true, e.SignIn.Until
	return nil
}

func (f *Fold) endedRow(r Row) error {
	id := r.shown("id")
	s := f.signIns[id]
	switch {
	case s == nil || !s.ended:
		return differs("ended_sign_ins", id, tooMany)
	case s.seen:
		return differs("ended_sign_ins", id, twice)
	}
	s.seen = true
	return r.compare("ended_sign_ins", id, func(column string) want {
		switch column {
		case "id":
			return is(id)
		case "until":
			return is(s.until)
		}
		return want{}
	})
}

package verify

import (
	"encoding/json/v2"
	"fmt"
	"math"
	"slices"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// contact is what a subject has chosen to be told, and by what.
type contact struct {
	audit.Contact
	seen bool // in the database
}

const maxFailure = 500 // bytes

func (f *Fold) contactChanged(e *audit.Event) error {
	who, c := e.Actor.Subject, e.Contact
	switch {
	case !f.world.subjects[who].Enabled:
		return breaks("section 6", "%q, who is said to have chosen what to be told, is no enabled subject", who)
	case !slices.Contains([]string{"", "standard", "chat"}, c.Webhook):
		return breaks("section 6", "%q is no format of webhooks", c.Webhook)
	case (len(c.Tells) > 0) != (c.Mail || c.Webhook != ""):
		return breaks("section 6", "%q is told of something by nothing, or of nothing by something", who)
	}
	for i, of := range c.Tells {
		if !slices.Contains([]string{"change", "expiring", "waiting"}, of) || i > 0 && of <= c.Tells[i-1] {
			return breaks("section 6", "%q is told of %q, which is nothing that anybody is told of, or stands in the wrong place", who, of)
		}
	}
	f.contacts[who] = &contact{Contact: *c}
	return nil
}

// contactRow compares what was chosen. Where messages go is sealed and no part of the log, nor is how sending them went.
func (f *Fold) contactRow(r Row) error {
	who := r.shown("subject")
	c := f.contacts[law.SubjectID(who)]
	switch {
	case c == nil:
		return differs("contacts", who, tooMany)
	case c.seen:
		return differs("contacts", who, twice)
	}
	c.seen = true
	return r.compare("contacts", who, func(column string) want {
		switch column {
		case "subject":
			return is(who)
		case "mail":
			if c.Mail {
				return is(int64(1))
			}
			return is(int64(0))
		case "webhook":
			return is(c.Webhook)
		case "tells":
			tells, err := json.Marshal(c.Tells)
			if err != nil {
				return want{}
			}
			return is(string(tells))
		case "targets":
			return must(func(got any) string {
				if sealed, is := got.([]byte); !is || len(sealed) == 0 {
					return "it is not sealed"
				}
				return ""
			})
		case "mailed", "tested":
			return between(0, math.MaxInt64)
		case "failure":
			return must(func(got any) string {
				if why, is := got.(string); !is || len(why) > maxFailure {
					return fmt.Sprintf("it is no text of at most %d bytes", maxFailure)
				}
				return ""
			})
		}
		return want{}
	})
}

package verify_test

import (
	"testing"

	"example.org/keyserver/internal/audit"
)

// chosen changes what an event says was chosen.
func chosen(change func(*audit.Contact)) func(*audit.Event) {
	return func(e *audit.Event) {
		c := *e.Contact
		change(&c)
		e.Contact = &c
	}
}

func TestAForgedChoiceOfWhatToBeToldIsFound(t *testing.T) {
	wantRefused(t, map[string]forgery{
		"of nobody who is known": retold("section 6", by("mallory"), audit.ContactChanged),
		"of what there is not":   retold("section 6", chosen(func(c *audit.Contact) { c.Tells = []string{"all"} }), audit.ContactChanged),
		"out of order":           retold("section 6", chosen(func(c *audit.Contact) { c.Tells = []string{"waiting", "change"} }), audit.ContactChanged),
		"twice the same":         retold("section 6", chosen(func(c *audit.Contact) { c.Tells = []string{"change", "change"} }), audit.ContactChanged),
		"by an unknown format":   retold("section 6", chosen(func(c *audit.Contact) { c.Webhook = "xml" }), audit.ContactChanged),
		"of nothing":             retold("section 6", chosen(func(c *audit.Contact) { c.Tells = nil }), audit.ContactChanged),
		"by nothing":             retold("section 6", chosen(func(c *audit.Contact) { c.Mail, c.Webhook = false, "" }), audit.ContactChanged),
		"by nobody":              retold("what an event tells", func(e *audit.Event) { e.Actor = nil }, audit.ContactChanged),
		"without what it is":     retold("what an event tells", func(e *audit.Event) { e.Contact = nil }, audit.ContactChanged),
	})
}

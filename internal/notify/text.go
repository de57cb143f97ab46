package notify

import (
	"encoding/json/v2"
	"fmt"
	"strings"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// happened says of an event what happened to an operation.
var happened = map[audit.Type]string{
	audit.OperationApproved: "was approved by one person", audit.OperationWithdrawn: "had an approval withdrawn", audit.OperationRejected: "was rejected",
	audit.OperationBecameApproved: "is approved and can be used", audit.OperationLapsed: "has lapsed and is pending again", audit.OperationExpired: "has expired",
	audit.OperationRevoked: "was revoked", audit.OperationExhausted: "is exhausted: all its uses are taken",
}

// headline says what a notice is about, in one sentence without its full stop.
func headline(n keyserver.Notice) string {
	switch n.Kind {
	case keyserver.KindWaiting:
		return "An operation waits for your approval"
	case keyserver.KindExpiring:
		return "An operation that waits for your approval expires soon"
	case keyserver.KindTest:
		return "You will be told here"
	case keyserver.KindChange:
	}
	text, known := happened[n.Event]
	if !known {
		text = "has changed"
	}
	text = "An operation that you ordered " + text
	if n.By != "" {
		text += " (by " + n.By + ")"
	}
	return text
}

// details are what people look for, a line each.
func details(n keyserver.Notice) []string {
	o := n.Operation
	var keys []string
	for _, k := range o.Keys {
		keys = append(keys, fmt.Sprintf("%s (%d)", k.Key, k.MaxUses))
	}
	return []string{
		"Keys (uses)  " + strings.Join(keys, ", "),
		"Orderer      " + o.Orderer,
		"State        " + string(o.State),
		"Ends         " + o.Expires.UTC().Format("2006-01-02 15:04:05 UTC"),
		"Digest       " + o.Digest.Short(),
	}
}

// link is the page of an operation. It does nothing but show it.
func (s *Sender) link(id law.OperationID) string { return s.URL + "/operations/" + string(id) }

// subject is the one line of an e-mail that is always seen.
func subject(m keyserver.Message) string {
	if len(m.Notices) == 1 {
		return "[keyserver] " + headline(m.Notices[0])
	}
	waiting := 0
	for _, n := range m.Notices {
		if n.Kind == keyserver.KindWaiting || n.Kind == keyserver.KindExpiring {
			waiting++
		}
	}
	if waiting > 1 {
		return fmt.Sprintf("[keyserver] %d operations wait for your approval", waiting)
	}
	return fmt.Sprintf("[keyserver] %d messages about operations", len(m.Notices))
}

// body is the text of an e-mail.
func (s *Sender) body(m keyserver.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s,\n\n", m.Name)
	for _, n := range m.Notices {
		b.WriteString(headline(n) + ".\n\n")
		if n.Kind == keyserver.KindTest {
			continue
		}
		for _, line := range details(n) {
			b.WriteString("  " + line + "\n")
		}
		b.WriteString("\n  " + s.link(n.Operation.ID) + "\n\n")
	}
	b.WriteString("Look at an operation on its page, and compare the digest there, before you decide. Nothing can be decided by answering\n" +
		"this e-mail, which nobody reads.\n\n")
	b.WriteString("You have chosen to be told this. What you are told, and by what: " + s.URL + "/notifications\n")
	return b.String()
}

// event is the payload of a webhook (Standard Webhooks, "Payload structure").
type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when it happened
	Data      data      `json:"data"`
}

type data struct {
	Server    string          `json:"server"`
	Event     audit.Type      `json:"event,omitzero"`
	By        string          `json:"by,omitzero"`
	Operation law.OperationID `json:"operation,omitzero"`
	Digest    law.Digest      `json:"digest,omitzero"`
	State     law.State       `json:"state,omitzero"`
	Orderer   string          `json:"orderer,omitzero"`
	Keys      []key           `json:"keys,omitzero"`
	Expires   int64           `json:"expires,omitzero"` // ms since 1970, UTC
	URL       string          `json:"url"`
}

type key struct {
	KeyID         law.KeyID `json:"keyid"`
	MaxUsageCount int       `json:"maxusagecount"`
}

var eventTypes = map[keyserver.Kind]string{
	keyserver.KindWaiting: "operation.waiting", keyserver.KindExpiring: "operation.expiring", keyserver.KindChange: "operation.changed",
	keyserver.KindTest: "test",
}

// payload is the body of a webhook's message.
func (s *Sender) payload(n keyserver.Notice, f keyserver.Format) ([]byte, error) {
	if f == keyserver.FormatChat {
		return json.Marshal(struct {
			Text string `json:"text"`
		}{s.chat(n)})
	}
	e := event{Type: eventTypes[n.Kind], Timestamp: n.At.UTC(), Data: data{Server: s.Keyserver.ServerID(), URL: s.URL + "/notifications"}}
	if n.Kind != keyserver.KindTest {
		o := n.Operation
		e.Data = data{
			Server: s.Keyserver.ServerID(), Event: n.Event, By: n.By, Operation: o.ID, Digest: o.Digest, State: o.State, Orderer: o.Orderer,
			Expires: o.Expires.UnixMilli(), URL: s.link(o.ID),
		}
		for _, k := range o.Keys {
			e.Data.Keys = append(e.Data.Keys, key{k.Key, k.MaxUses})
		}
	}
	return json.Marshal(e)
}

// chat is a message for people in a chat tool: all of them are told, so it speaks to none.
func (s *Sender) chat(n keyserver.Notice) string {
	text := strings.NewReplacer("for your approval", "for approval", "An operation that you ordered", "An operation").Replace(headline(n))
	if n.Kind == keyserver.KindTest {
		return text + "."
	}
	return harmless(text+".\n"+strings.Join(details(n), "\n")) + "\n" + s.link(n.Operation.ID)
}

// harmless takes from a text what chat tools give a meaning: a name calls nobody, links to nothing and is not set in type.
func harmless(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "(at)", "*", "", "`", "'", "[", "(", "]", ")", "://", ": ").Replace(text)
}

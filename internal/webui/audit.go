package webui

import (
	"encoding/hex"
	"encoding/json/jsontext"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

type auditPage struct {
	Items []eventLine
	Types []eventName
	Query auditQuery
	Story *story    // the list is the whole story of one thing, oldest first; nil: it is not
	Next  string    // address of the next page; empty at the end
	First bool      // nothing stands before
	Log   *logState // nil: it is not shown
}

// auditQuery is what the filters of the list say, as they were typed.
type auditQuery struct{ Type, Operation, Session, Subject, Key string }

// story says whether nothing but all of one operation or one administration session is asked for.
func (q auditQuery) story() bool {
	return !q.Empty() && (q == auditQuery{Operation: q.Operation} || q == auditQuery{Session: q.Session})
}

// Empty says whether everything is listed.
func (q auditQuery) Empty() bool { return q == auditQuery{} }

// story is what a list tells the whole story of.
type story struct{ Kind, Address, Description, State string }

// storyOf is the operation or the administration session that is asked for.
func (s *server) storyOf(c *call, q auditQuery) (*story, error) {
	if q.Session != "" {
		found, err := s.Keyserver.Session(c.Context(), c.Caller, law.SessionID(q.Session))
		return &story{"Administration session", sessionAddress(found.ID), found.Description, string(found.State)}, err
	}
	o, err := s.Keyserver.Operation(c.Context(), c.Caller, law.OperationID(q.Operation))
	return &story{"Operation", "/operations/" + string(o.ID), o.Description, string(o.State)}, err
}

// logState is where the audit log stands.
type logState struct {
	Size       int64
	Root       string
	Checkpoint string // as it was signed
	Key        string
}

// eventName is a type of event as people say it.
type eventName struct{ Type, Name string }

// nameOf says a type of event in the words of the product.
func nameOf(t audit.Type) string {
	name := strings.ReplaceAll(string(t), "-", " ")
	for _, w := range [][2]string{{"order ", "sign order "}, {"session ", "administration session "}, {"sign in ", "sign-in "}} {
		if rest, ok := strings.CutPrefix(name, w[0]); ok {
			return w[1] + rest
		}
	}
	return name
}

// eventLine is an audit event as a line says it.
type eventLine struct{ audit.Event }

// Name says what kind of thing happened.
func (e eventLine) Name() string { return nameOf(e.Type) }

// Heading is that as a heading.
func (e eventLine) Heading() string { return strings.TrimSuffix(sentence(e.Name()), ".") }

// At is when it happened.
func (e eventLine) At() time.Time { return time.UnixMilli(e.Time) }

// Who did it; empty: the server itself.
func (e eventLine) Who() string {
	switch {
	case e.Actor == nil:
		return ""
	case e.Actor.Subject == "" && e.Actor.Sub == "":
		return "somebody unknown"
	case e.Actor.Subject == "":
		return e.Actor.Sub
	}
	return string(e.Actor.Subject)
}

// Address is the network address that it came from.
func (e eventLine) Address() string {
	if e.Actor == nil {
		return ""
	}
	return e.Actor.Address
}

// Hue is the part of the style that says how the event is to be taken.
func (e eventLine) Hue() string {
	t := string(e.Type)
	for _, end := range []string{"-refused", "-failed", "-rejected", "-revoked", "-withheld", "-violation"} {
		if strings.HasSuffix(t, end) {
			return "ended"
		}
	}
	for _, end := range []string{"-approved", "-signed", "-issued", "-authorised", "-active", "-applied"} {
		if strings.HasSuffix(t, end) {
			return "fine"
		}
	}
	return "plain"
}

// Facts are what the line says besides who, when, key, operation and reason.
func (e eventLine) Facts() []string {
	var all []string
	add := func(show bool, format string, args ...any) {
		if show {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(e.Use > 0, "use %d of %d", e.Use, e.Of)
	add(e.Attempt > 1, "attempt %d", e.Attempt)
	add(len(e.Covers) > 0, "for %s", joined(e.Covers))
	if e.Configuration != nil {
		add(true, "%s %s", e.Configuration.Kind, e.Configuration.ID)
	}
	add(e.SessionDescription != "", "session “%s”", e.SessionDescription)
	if e.Certificate != nil {
		add(true, "certificate %s", e.Certificate.ID)
	}
	add(e.Route != "" && e.Refusal != "", "%s", e.Route)
	add(e.Count > 1, "%s", count(e.Count, "time"))
	add(e.Software != "", "software %s", e.Software)
	return all
}

func showAudit(s *server, c *call) (view, error) {
	in := c.URL.Query()
	q := auditQuery{
		in.Get("type"), strings.TrimSpace(in.Get("operation")), strings.TrimSpace(in.Get("session")), strings.TrimSpace(in.Get("subject")),
		strings.TrimSpace(in.Get("key")),
	}
	page, err := s.Keyserver.Events(c.Context(), c.Caller, keyserver.EventFilter{
		Type: q.Type, Operation: law.OperationID(q.Operation), Subject: law.SubjectID(q.Subject), Key: law.KeyID(q.Key),
		Session: law.SessionID(q.Session), Newest: !q.story(), Page: keyserver.Page{Limit: listed, Cursor: in.Get("cursor")},
	})
	if err != nil {
		return view{}, err
	}
	p := auditPage{Query: q, First: in.Get("cursor") == ""}
	for _, leaf := range page.Leaves {
		e, err := audit.ParseLeaf(leaf)
		if err != nil {
			return view{}, err
		}
		p.Items = append(p.Items, eventLine{e})
	}
	for _, t := range audit.Types() {
		p.Types = append(p.Types, eventName{string(t), nameOf(t)})
	}
	if page.Next != "" {
		in.Set("cursor", page.Next)
		p.Next = "/audit?" + in.Encode()
	}
	title := "Audit log"
	if q.story() {
		if p.Story, err = s.storyOf(c, q); err != nil {
			return view{}, err
		}
		title = "Story: " + shown(p.Story.Description)
	}
	if p.First && q.Empty() {
		if p.Log, err = s.logState(c); err != nil {
			return view{}, err
		}
	}
	return view{page: "audit", title: title, section: "audit", data: p}, nil
}

// newest returns the newest checkpoint of the log, and its text.
func (s *server) newest(c *call) (audit.Checkpoint, string, error) {
	signed, err := s.Keyserver.Checkpoint(c.Context(), c.Caller)
	if err != nil {
		return audit.Checkpoint{}, "", err
	}
	checkpoint, err := s.readCheckpoint([]byte(signed))
	return checkpoint, signed, err
}

func (s *server) readCheckpoint(signed []byte) (audit.Checkpoint, error) {
	key, err := audit.NewVerifier(s.Keyserver.LogKey())
	if err != nil {
		return audit.Checkpoint{}, err
	}
	return audit.ParseCheckpoint(signed, key)
}

func (s *server) logState(c *call) (*logState, error) {
	checkpoint, signed, err := s.newest(c)
	if err != nil {
		return nil, err
	}
	return &logState{checkpoint.Size, checkpoint.Root.String(), signed, s.Keyserver.LogKey()}, nil
}

type eventPage struct {
	eventLine
	Leaf     string // as people read it
	LeafHash string
	Size     int64    // of the newest checkpoint that it is in
	Root     string   // of that
	Proof    []string // hashes from the leaf to the root
	Before   int64    // index of the entry before; -1: there is none
	After    int64    // index of the entry after; -1: there is none
}

func showEvent(s *server, c *call) (view, error) {
	index, err := strconv.ParseInt(c.PathValue("index"), 10, 64)
	if err != nil || index < 0 {
		return view{}, &keyserver.Malformed{Sentence: "an entry of the audit log is named by its number, from 0"}
	}
	leaf, err := s.Keyserver.Event(c.Context(), c.Caller, index)
	if err != nil {
		return view{}, err
	}
	e, err := audit.ParseLeaf(leaf)
	if err != nil {
		return view{}, err
	}
	readable := jsontext.Value(leaf).Clone()
	if err := readable.Indent(jsontext.WithIndent("  ")); err != nil {
		return view{}, fmt.Errorf("reading audit entry %d: %w", index, err)
	}
	p := eventPage{eventLine: eventLine{e}, Leaf: string(readable), LeafHash: audit.LeafHash(leaf).String(), Before: index - 1, After: index + 1}
	if err := s.prove(c, leaf, &p); err != nil {
		return view{}, err
	}
	return view{page: "event", title: fmt.Sprintf("Audit entry %d", index), section: "audit", data: p}, nil
}

// prove shows that the entry is in the log of the newest checkpoint, as an outsider would find it out.
func (s *server) prove(c *call, leaf []byte, p *eventPage) error {
	checkpoint, _, err := s.newest(c)
	if err != nil {
		return err
	}
	proof, err := s.Keyserver.InclusionProof(c.Context(), c.Caller, p.Index, checkpoint.Size)
	if err != nil {
		return err
	}
	var hashes []audit.Hash
	for _, h := range proof {
		hashes = append(hashes, audit.Hash(h))
		p.Proof = append(p.Proof, hex.EncodeToString(h))
	}
	if err := audit.CheckInclusion(hashes, checkpoint, p.Index, leaf); err != nil {
		return err
	}
	if p.Size, p.Root = checkpoint.Size, checkpoint.Root.String(); p.After >= p.Size {
		p.After = -1
	}
	return nil
}

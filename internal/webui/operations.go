package webui

import (
	"strings"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

const listed = 50 // entries on one page of a list

type operationsPage struct {
	Items  []item
	Next   string // address of the next page; empty at the end
	First  bool   // nothing stands before
	States []law.State
	Keys   []law.Key
	Query  operationsQuery
	Orders bool // the caller can ask for operations
}

// operationsQuery is what the filters of the list say, as they were typed.
type operationsQuery struct{ Text, State, Key, Orderer, From, Until string }

func showOperations(s *server, c *call) (view, error) {
	in := c.URL.Query()
	q := operationsQuery{strings.TrimSpace(in.Get("text")), in.Get("state"), in.Get("key"), strings.TrimSpace(in.Get("orderer")), in.Get("from"), in.Get("until")}
	f := keyserver.OperationFilter{
		Text: q.Text, State: law.State(q.State), Key: law.KeyID(q.Key), Orderer: law.SubjectID(q.Orderer),
		Page: keyserver.Page{Limit: listed, Cursor: in.Get("cursor")},
	}
	var err error
	if f.From, err = day(q.From, 0); err != nil {
		return view{}, err
	}
	if f.Until, err = day(q.Until, 1); err != nil {
		return view{}, err
	}
	page, err := s.Keyserver.Operations(c.Context(), c.Caller, f)
	if err != nil {
		return view{}, err
	}
	p := operationsPage{States: law.States(), Query: q, First: f.Page.Cursor == "", Orders: ordersAny(c)}
	for _, o := range page.Operations {
		p.Items = append(p.Items, s.item(c, o))
	}
	for _, k := range c.facts.Keys() {
		if k.InOperations() && c.facts.SeesKey(c.Caller.Subject, k.ID) {
			p.Keys = append(p.Keys, k)
		}
	}
	if page.Next != "" {
		in.Set("cursor", page.Next)
		p.Next = "/operations?" + in.Encode()
	}
	return view{page: "operations", title: "Operations", section: "operations", data: p}, nil
}

// day reads a date of a filter, in UTC; plus that many days. An empty one is the zero time.
func day(text string, plus int) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, &keyserver.Malformed{Sentence: "“" + shown(text) + "” is not a date; write it as 2026-11-26"}
	}
	return t.AddDate(0, 0, plus), nil
}

// ordersAny says whether the caller has an orderer role on any key.
func ordersAny(c *call) bool { return len(orderable(c)) > 0 }

// orderable are the keys that the caller has an orderer role on.
func orderable(c *call) []law.Key {
	var keys []law.Key
	for _, k := range c.facts.Keys() {
		if k.InOperations() && k.State == law.KeyActive && c.facts.Holds(c.Caller.Subject, law.Orderer, k.ID) {
			keys = append(keys, k)
		}
	}
	return keys
}

package webui

import (
	"slices"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

type queuePage struct {
	Items  []item
	More   bool        // there are more than are shown
	Keys   []law.KeyID // that can be chosen
	Key    law.KeyID
	Mine   bool // only those for which the caller's approval counts
	Total  int
	IsAble bool // whether the caller is an approver at all
}

// item is an operation in a list.
type item struct {
	keyserver.Operation
	Now     time.Time
	Orderer law.Subject
	Keys    []keyLine
	Did     bool // the caller's approval stands
	Urgent  bool // less than a tenth of its time, or an hour, is left
}

// keyLine is how far one key of an operation is.
type keyLine struct {
	law.KeyGrant
	Needed  law.Requirement
	Counted []law.SubjectID
	Missing int
	Taken   int
	Signed  int
	You     bool // the caller's approval would count, or does
	Key     law.Key
	Known   bool
}

// Met says whether nothing is missing for this key.
func (k keyLine) Met() bool { return k.Missing == 0 }

func (s *server) item(c *call, o keyserver.Operation) item {
	now := s.Now()
	i := item{Operation: o, Now: now, Keys: keyLines(c, o)}
	i.Orderer, _ = c.facts.Subject(o.Operation.Orderer.Subject)
	i.Did = slices.ContainsFunc(o.Approvals, func(a law.Approval) bool { return a.By == c.Caller.Subject && a.Withdrawn.IsZero() })
	rest := o.Expires.Sub(now)
	i.Urgent = !o.State.Final() && (rest < time.Hour || rest < o.Expires.Sub(o.Created)/10)
	return i
}

func keyLines(c *call, o keyserver.Operation) []keyLine {
	var lines []keyLine
	for _, g := range o.Statement.Keys {
		l := keyLine{KeyGrant: g, Taken: o.Usage[g.Key].Taken, Signed: o.Usage[g.Key].Signed}
		l.Key, l.Known = c.facts.Key(g.Key)
		for _, p := range o.Progress {
			if p.Key == g.Key {
				l.Needed, l.Counted = p.Needed, p.Counted
				l.Missing = missing(p)
			}
		}
		l.You = slices.Contains(o.Counts, g.Key) && l.Needed.People() > 0
		lines = append(lines, l)
	}
	return lines
}

// missing is how many approvals are missing; -1: the requirement cannot be met.
func missing(p law.KeyProgress) int {
	if !p.Needed.Set() {
		return -1
	}
	return max(0, p.Needed.People()-len(p.Counted))
}

func showQueue(s *server, c *call) (view, error) {
	all, more, err := s.Keyserver.Queue(c.Context(), c.Caller)
	if err != nil {
		return view{}, err
	}
	q := c.URL.Query()
	p := queuePage{More: more, Total: len(all), Key: law.KeyID(q.Get("key")), Mine: q.Get("mine") == "1"}
	for _, o := range all {
		i := s.item(c, o)
		keep := p.Key == ""
		for _, k := range i.Keys {
			if !slices.Contains(p.Keys, k.KeyGrant.Key) {
				p.Keys = append(p.Keys, k.KeyGrant.Key)
			}
			keep = keep || k.KeyGrant.Key == p.Key
		}
		if keep && (!p.Mine || len(o.Counts) > 0 && !i.Did) {
			p.Items = append(p.Items, i)
		}
	}
	slices.Sort(p.Keys)
	p.IsAble = approvesAny(c)
	return view{page: "approvals", title: "Approvals", section: "approvals", data: p, live: liveQueue(all)}, nil
}

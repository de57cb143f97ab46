package webui

import (
	"cmp"
	"slices"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

const (
	overviewDays   = 30
	expiryWarning  = 30 * 24 * time.Hour
	recentShown    = 10
	overviewQueued = 5
)

type overviewPage struct {
	Now       time.Time
	Waiting   int // operations that the caller can still approve
	More      bool
	Queue     []item // the most urgent of them
	Mine      int    // the caller's own operations that are pending, on the newest page
	Usable    int    // and those that are approved
	Recent    []keyserver.SignOrder
	Expiring  []keyserver.Certificate
	Uses      []bar
	Sum       int
	SomeUses  bool // there are more uses than are counted
	Days      int
	Approver  bool
	Orderer   bool
	Sessions  int  // administration sessions that wait for another administrator
	Administr bool // the caller sees administration sessions
	live      string
}

// bar is one line of a bar chart.
type bar struct {
	Key   law.KeyID
	Count int
	Width int // of 100
}

func showOverview(s *server, c *call) (view, error) {
	p := overviewPage{Now: s.Now(), Days: overviewDays, Orderer: ordersAny(c), Administr: c.facts.SeesSessions(c.Caller.Subject)}
	for _, fill := range []func(*call, *overviewPage) error{s.fillQueue, s.fillOwn, s.fillSessions, s.fillUses} {
		if err := fill(c, &p); err != nil {
			return view{}, err
		}
	}
	var err error
	if p.Recent, err = s.Keyserver.RecentSignOrders(c.Context(), c.Caller, recentShown); err != nil {
		return view{}, err
	}
	if p.Expiring, err = s.Keyserver.ExpiringCertificates(c.Context(), c.Caller, p.Now.Add(expiryWarning)); err != nil {
		return view{}, err
	}
	return view{page: "overview", title: "Overview", section: "overview", data: p, live: p.live}, nil
}

func (s *server) fillQueue(c *call, p *overviewPage) error {
	p.Approver = approvesAny(c)
	all, more, err := s.Keyserver.Queue(c.Context(), c.Caller)
	if err != nil {
		return err
	}
	p.More, p.live = more, liveQueue(all)
	for _, o := range all {
		if i := s.item(c, o); len(o.Counts) > 0 && !i.Did {
			if p.Waiting++; p.Waiting <= overviewQueued {
				p.Queue = append(p.Queue, i)
			}
		}
	}
	return nil
}

// fillOwn counts the caller's own operations that are open.
func (s *server) fillOwn(c *call, p *overviewPage) error {
	if !p.Orderer {
		return nil
	}
	for state, n := range map[law.State]*int{law.Pending: &p.Mine, law.Approved: &p.Usable} {
		page, err := s.Keyserver.Operations(c.Context(), c.Caller, keyserver.OperationFilter{State: state, Orderer: c.Caller.Subject, Page: keyserver.Page{Limit: keyserver.MaxPage}})
		if err != nil {
			return err
		}
		*n = len(page.Operations)
	}
	return nil
}

func (s *server) fillSessions(c *call, p *overviewPage) error {
	if !p.Administr {
		return nil
	}
	page, err := s.Keyserver.Sessions(c.Context(), c.Caller, keyserver.SessionFilter{State: law.SessionInactive, Page: keyserver.Page{Limit: keyserver.MaxPage}})
	p.Sessions = len(page.Sessions)
	return err
}

func (s *server) fillUses(c *call, p *overviewPage) error {
	uses, all, err := s.Keyserver.UsesByKey(c.Context(), c.Caller, p.Now.Add(-overviewDays*24*time.Hour))
	if err != nil {
		return err
	}
	p.SomeUses = !all
	most := 1
	for key, n := range uses {
		p.Uses, p.Sum, most = append(p.Uses, bar{Key: key, Count: n}), p.Sum+n, max(most, n)
	}
	slices.SortFunc(p.Uses, func(a, b bar) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Key, b.Key)) })
	p.Uses = p.Uses[:min(len(p.Uses), 12)]
	for i := range p.Uses {
		p.Uses[i].Width = max(1, p.Uses[i].Count*100/most)
	}
	return nil
}

// approvesAny says whether the caller has an approver role.
func approvesAny(c *call) bool {
	return slices.ContainsFunc(c.facts.Roles(), func(r law.Role) bool {
		return r.Kind == law.Approver && slices.Contains(r.Members, c.Caller.Subject)
	})
}

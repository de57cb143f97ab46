package law_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// The model test visits every state that a small world can reach, and takes from each every step there is.
// The oracle judges every step. Three worlds share the work: in the first, people and configuration change;
// in the second and third, sign orders are attempted, cut off and repeated, and race for uses, while the
// clock goes forwards and back.

const tick = 40 * time.Second // longer than an attempt's lease

type smallWorld struct {
	cfg     func(*world)
	clients []law.SubjectID
	keys    []law.KeyAsk
	knobs   []knob              // what of the configuration changes
	people  []law.SubjectID     // who tries every verb
	asks    []law.OrderAsk      // sign orders that are tried
	ticks   int                 // the operation expires at this one, and the clock stops there
	back    bool                // the clock can also go back
	tries   map[law.OrderID]int // how many attempts an order is given; 1 unless said
	reached []law.ChangeKind    // what must happen on some edge
}

// knob is something of the configuration that can be put to any of its settings, the first to begin with.
type knob []func(*law.Configuration)

func TestModelOfPeopleAndConfiguration(t *testing.T) {
	explore(t, smallWorld{
		// prod needs two of anna, bert and carl (olga is the orderer), test one of anna and carl, dev nobody.
		cfg: func(w *world) {
			w.cfg.Subjects = []law.Subject{person("olga"), person("anna"), person("bert"), person("carl"), machine("line")}
			w.cfg.Keys = []law.Key{key("prod", 2), key("test", 1), key("dev", 0)}
			w.cfg.Roles = []law.Role{
				{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"prod", "dev"}, Members: []law.SubjectID{"olga", "line"}},
				{ID: "orderers-test", Kind: law.Orderer, Keys: []law.KeyID{"test"}, Members: []law.SubjectID{"olga", "line"}},
				{ID: "approvers-prod", Kind: law.Approver, Keys: []law.KeyID{"prod"}, Members: []law.SubjectID{"anna", "bert", "carl", "olga"}},
				{ID: "approvers-test", Kind: law.Approver, Keys: []law.KeyID{"test"}, Members: []law.SubjectID{"anna", "carl"}},
				{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"carl"}},
			}
		},
		clients: []law.SubjectID{"line"},
		keys:    []law.KeyAsk{{Key: "prod", MaxUses: 1}, {Key: "test", MaxUses: 1}, {Key: "dev", MaxUses: 1}},
		knobs: []knob{
			{member("approvers-prod", "anna", true), member("approvers-prod", "anna", false)},
			{switched("bert", true), switched("bert", false)},
			{switched("olga", true), switched("olga", false)},
			{member("orderers-test", "olga", true), member("orderers-test", "olga", false)},
			{needs("test", 1), needs("test", 2), needs("test", 0)},
			{pair("dev", law.KeyActive, "a"), pair("dev", law.KeyDisabled, "a"), pair("dev", law.KeyRevoked, "a"), pair("dev", law.KeyActive, "b")},
		},
		people: []law.SubjectID{"olga", "anna", "bert", "carl", "line"},
		asks:   []law.OrderAsk{sign("1", "line", "dev", "x")},
		ticks:  1,
		reached: []law.ChangeKind{
			law.DidMeet, law.DidLapse, law.DidApprove, law.DidWithdraw, law.DidReject, law.DidRevoke, law.DidExpire,
			law.DidAcceptOrder, law.DidSignOrder, law.DidFailOrder, law.DidWithhold,
		},
	})
}

func TestModelOfSignOrdersAndTime(t *testing.T) {
	explore(t, smallWorld{
		cfg: func(w *world) {
			w.cfg.Subjects = []law.Subject{person("olga"), person("anna"), person("ada"), machine("line")}
			w.cfg.Keys = []law.Key{key("test", 1), key("dev", 0)}
			w.cfg.Roles = []law.Role{
				{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"test", "dev"}, Members: []law.SubjectID{"olga", "line"}},
				{ID: "approvers", Kind: law.Approver, Keys: []law.KeyID{"test"}, Members: []law.SubjectID{"anna"}},
				{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada"}},
			}
		},
		clients: []law.SubjectID{"line"},
		keys:    []law.KeyAsk{{Key: "test", MaxUses: 1}, {Key: "dev", MaxUses: 1}},
		knobs: []knob{
			{switched("line", true), switched("line", false)},
			{pair("test", law.KeyActive, "a"), pair("test", law.KeyDisabled, "a")},
		},
		people: []law.SubjectID{"olga", "anna", "ada"},
		asks: []law.OrderAsk{
			sign("1", "line", "test", "x"), sign("1", "line", "test", "y"), // the same order with another input
			sign("2", "olga", "test", "x"), sign("1", "line", "dev", "x"),
		},
		ticks: 2,
		back:  true,
		tries: map[law.OrderID]int{"line-test-1": 2},
		reached: []law.ChangeKind{
			law.DidMeet, law.DidLapse, law.DidWithdraw, law.DidReject, law.DidRevoke, law.DidExpire, law.DidExhaust,
			law.DidAcceptOrder, law.DidAttemptOrder, law.DidSignOrder, law.DidFailOrder, law.DidWithhold,
		},
	})
}

func TestModelOfSeveralUsesOfOneKey(t *testing.T) {
	explore(t, smallWorld{
		cfg: func(w *world) {
			w.cfg.Subjects = []law.Subject{person("olga"), person("ada"), machine("line")}
			w.cfg.Keys = []law.Key{key("dev", 0)}
			w.cfg.Roles = []law.Role{
				{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"dev"}, Members: []law.SubjectID{"olga", "line"}},
				{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada"}},
			}
		},
		clients: []law.SubjectID{"line"},
		keys:    []law.KeyAsk{{Key: "dev", MaxUses: 2}},
		knobs:   []knob{{pair("dev", law.KeyActive, "a"), pair("dev", law.KeyDisabled, "a"), pair("dev", law.KeyActive, "b")}},
		people:  []law.SubjectID{"olga", "ada"},
		asks: []law.OrderAsk{
			sign("1", "line", "dev", "x"), sign("1", "line", "dev", "y"), sign("2", "line", "dev", "x"), sign("1", "olga", "dev", "x"),
		},
		ticks: 2,
		back:  true,
		tries: map[law.OrderID]int{"line-dev-1": 2, "line-dev-2": 2},
		reached: []law.ChangeKind{
			law.DidLapse, law.DidRevoke, law.DidExpire, law.DidExhaust,
			law.DidAcceptOrder, law.DidAttemptOrder, law.DidSignOrder, law.DidFailOrder, law.DidWithhold,
		},
	})
}

// node is a state of the small world.
type node struct {
	stage
	knobs     [6]uint8
	raw, mark int // what the clock shows, and the highest that it has shown; in ticks
}

// clock is the time that the store gives to the law: never below the mark (I15).
func (n node) clock() (now time.Time, held bool) {
	return monday.Add(time.Duration(max(n.raw, n.mark)) * tick), n.raw < n.mark // a tick is more than the slack
}

type explorer struct {
	t      *testing.T
	w      smallWorld
	base   law.Configuration
	scenes map[[6]uint8]*scene
	seen   map[string]bool
	queue  []node // whose steps are still to be taken
	trail  []mark // how each node was reached first, in the order of the queue
	done   int    // nodes whose steps are taken
	edges  int
	states map[law.State]int
	did    map[law.ChangeKind]int
}

type mark struct {
	from int
	by   string
}

func explore(t *testing.T, w smallWorld) {
	base := newWorld(t)
	w.cfg(base)
	e := explorer{
		t: t, w: w, base: base.cfg, scenes: map[[6]uint8]*scene{}, seen: map[string]bool{}, states: map[law.State]int{}, did: map[law.ChangeKind]int{},
	}
	ask := law.Ask{
		Server: "test", ID: "op", Nonce: "00", Description: "d", Context: "c", Validity: time.Duration(w.ticks) * tick, Keys: w.keys, Clients: w.clients,
	}
	var first node
	s, refusal, err := opened(e.scene(first.knobs), false, olga, "", ask, monday)
	if err != nil || refusal != nil {
		t.Fatal(err, refusal)
	}
	first.stage = s
	e.visit(first, "created", -1)
	for ; len(e.queue) > 0; e.done++ {
		n := e.queue[0]
		e.queue[0] = node{}
		e.queue = e.queue[1:]
		e.people(n)
		e.orders(n)
		e.surroundings(n)
	}
	t.Logf("%d states, %d edges; by the operation's state: %v", len(e.trail), e.edges, e.states)
	for _, c := range w.reached {
		if e.did[c] == 0 {
			t.Errorf("%s never happened", c)
		}
	}
}

// edge is one step from the node whose steps are being taken.
func (e *explorer) edge(what string, next node, err error) {
	e.edges++
	if err != nil {
		e.t.Fatalf("%v, after\n%s", err, e.story(what))
	}
	for _, c := range next.did {
		e.did[c.Kind]++
	}
	e.visit(next, what, e.done)
}

func (e *explorer) visit(n node, by string, from int) {
	if k := n.name(); !e.seen[k] {
		e.seen[k] = true
		e.states[n.op.Recorded]++
		e.queue = append(e.queue, n)
		e.trail = append(e.trail, mark{from, by})
	}
}

// story tells how the node whose steps are being taken was reached.
func (e *explorer) story(last string) string {
	steps := []string{last}
	for i := e.done; i >= 0; i = e.trail[i].from {
		steps = append(steps, e.trail[i].by)
	}
	slices.Reverse(steps)
	return strings.Join(steps, "\n")
}

// people takes the steps of people: each tries every verb.
func (e *explorer) people(n node) {
	try := func(what string, who law.SubjectID) func(stage, error) {
		return func(s stage, err error) { e.edge(what+string(who), node{s, n.knobs, n.raw, n.mark}, err) }
	}
	try("settle", "")(n.settled())
	for _, who := range e.w.people {
		try("approve by ", who)(n.approve(who, true))
		try("withdraw by ", who)(n.withdraw(who))
		try("reject by ", who)(n.reject(who))
		try("revoke by ", who)(n.revoke(who))
	}
	try("approve with a wrong digest by ", e.w.people[1])(n.approve(e.w.people[1], false))
}

// orders takes the steps of sign orders: new ones, old ones again, and the results of all attempts, also
// of those that are not the latest.
func (e *explorer) orders(n node) {
	try := func(what string, id law.OrderID) func(stage, error) {
		return func(s stage, err error) { e.edge(what+string(id), node{s, n.knobs, n.raw, n.mark}, err) }
	}
	for _, ask := range e.w.asks {
		i := slices.IndexFunc(n.orders, func(r law.Order) bool { return r.ID == ask.ID })
		if i >= 0 && n.orders[i].Attempt >= max(1, e.w.tries[ask.ID]) && n.orders[i].State != law.OrderSigned && !n.orders[i].Running(n.now) {
			continue // this world makes no more attempts
		}
		try("order ", ask.ID)(n.place(drawnUp(ask, n.set)))
	}
	for i, r := range n.orders {
		for attempt := 1; attempt <= r.Attempt; attempt++ {
			what := fmt.Sprintf("result of attempt %d of ", attempt)
			try(what, r.ID)(n.complete(i, attempt))
			try("no "+what, r.ID)(n.fail(i, attempt))
		}
	}
	for _, p := range n.desk.ledger {
		for _, who := range e.w.people {
			try("revocation by "+string(who)+" of ", p.order)(n.revokeDevice(p.order, who, "keyCompromise", "lost"))
		}
	}
}

// surroundings takes the steps of everything around the operation: its configuration and the clock.
func (e *explorer) surroundings(n node) {
	for i, k := range e.w.knobs {
		for v := range k {
			if next := n; int(n.knobs[i]) != v {
				next.knobs[i] = uint8(v)
				s, err := n.at(e.scene(next.knobs), n.now, n.held).settled()
				next.stage = s
				e.edge(fmt.Sprintf("knob %d to %d", i, v), next, err)
			}
		}
	}
	if n.raw < e.w.ticks {
		next := n
		next.raw++
		next.mark = max(next.raw, n.mark)
		e.tick("clock forward", next)
	}
	if n.raw > 0 && e.w.back {
		next := n
		next.raw--
		e.tick("clock back", next)
	}
	if n.held {
		next := n
		next.mark = n.raw
		now, held := next.clock()
		s, err := n.at(n.set, now, held).clockAccepted()
		next.stage = s
		e.edge("clock accepted", next, err)
	}
}

// tick moves the time on without telling the operation, which must be judged rightly all the same.
func (e *explorer) tick(what string, next node) {
	now, held := next.clock()
	next.stage = next.at(next.set, now, held)
	var err error
	if got, want := next.op.State(next.facts(), now), next.tale.stands(next.set.plain, now); got != want {
		err = fmt.Errorf("judged %s; it should be %s", got, want)
	}
	e.edge(what, next, err)
}

func (e *explorer) scene(knobs [6]uint8) *scene {
	if s, ok := e.scenes[knobs]; ok {
		return s
	}
	c := e.base
	c.Subjects, c.Keys, c.Roles = slices.Clone(c.Subjects), slices.Clone(c.Keys), slices.Clone(c.Roles)
	for i, k := range e.w.knobs {
		k[knobs[i]](&c)
	}
	s, err := newScene(c)
	if err != nil {
		e.t.Fatal(err)
	}
	e.scenes[knobs] = s
	return s
}

// name is the same for two nodes exactly when nothing that can still happen tells them apart.
func (n node) name() string {
	b := append(make([]byte, 0, 128), n.knobs[:]...)
	b = append(b, byte(n.raw), byte(n.mark))
	b = append(append(b, n.op.Recorded...), 0)
	yes := []string{}
	for _, a := range n.op.Approvals {
		if a.Stands() {
			yes = append(yes, string(appendYes(nil, a.By, a.Covers)))
		}
	}
	slices.Sort(yes)
	for _, y := range yes {
		b = append(b, y...)
	}
	for _, g := range n.op.Keys {
		u := n.op.Usage[g.Key]
		b = append(b, byte(u.Taken), byte(u.Signed))
	}
	orders := []string{}
	for _, r := range n.orders {
		o := append([]byte(r.ID), byte(r.Attempt), byte(r.Use))
		o = append(append(o, r.State...), spelled(r.Input)...)
		orders = append(orders, string(binary.AppendVarint(o, r.Lease.Sub(monday).Milliseconds())))
	}
	slices.Sort(orders)
	for _, o := range orders {
		b = append(b, o...)
	}
	for _, p := range n.desk.ledger { // oldest first, which tells some apart
		b = fmt.Appendf(b, "%s%t%t%t", p.order, p.made, p.lost, p.void)
	}
	return string(b)
}

// Parts of small worlds.

func sign(idem string, who law.SubjectID, k law.KeyID, text string) law.OrderAsk {
	return law.OrderAsk{
		ID: law.OrderID(string(who) + "-" + string(k) + "-" + idem), Who: who, Key: k, IdempotencyKey: idem,
		Hash: law.SHA256, Scheme: law.ECDSA, Digest: digestOf(text),
	}
}

func member(role law.RoleID, who law.SubjectID, in bool) func(*law.Configuration) {
	return func(c *law.Configuration) {
		i := slices.IndexFunc(c.Roles, func(r law.Role) bool { return r.ID == role })
		members := slices.DeleteFunc(slices.Clone(c.Roles[i].Members), func(m law.SubjectID) bool { return m == who })
		if in {
			members = append(members, who)
		}
		c.Roles[i].Members = members
	}
}

func switched(who law.SubjectID, on bool) func(*law.Configuration) {
	return func(c *law.Configuration) {
		c.Subjects[slices.IndexFunc(c.Subjects, func(s law.Subject) bool { return s.ID == who })].Enabled = on
	}
}

func ofKey(id law.KeyID, change func(*law.Key)) func(*law.Configuration) {
	return func(c *law.Configuration) {
		change(&c.Keys[slices.IndexFunc(c.Keys, func(k law.Key) bool { return k.ID == id })])
	}
}

func needs(id law.KeyID, n int) func(*law.Configuration) {
	return ofKey(id, func(k *law.Key) { k.Requirement = law.Require(n) })
}

func pair(id law.KeyID, s law.KeyState, fingerprint string) func(*law.Configuration) {
	return ofKey(id, func(k *law.Key) { k.State, k.Fingerprint = s, fingerprint })
}

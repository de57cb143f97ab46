package law_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"

	"pgregory.net/rapid"
)

// Random schedules in a larger world: several operations at once, sign orders with idempotency keys, results
// that come late or twice, a configuration and a clock that change under them. The same oracle as in the
// model test judges every step. Every rare event of moments_test.go must be reached.
func TestRandomSchedules(t *testing.T) {
	const stepsPerSchedule = 2000 // times 100 schedules, rapid's default
	fixSeed(t)
	seen, steps := map[string]int{}, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newBigWorld(t, seen)
		for range stepsPerSchedule {
			w.step()
			steps++
		}
	})
	var counts []string
	for _, m := range moments {
		counts = append(counts, fmt.Sprintf("%7d %s", seen[m.name], m.name))
		if seen[m.name] == 0 && !t.Failed() {
			t.Errorf("never reached: %s", m.name)
		}
	}
	t.Logf("%d steps; reached\n%s", steps, strings.Join(counts, "\n"))
	if steps < 100_000 && !t.Failed() {
		t.Errorf("%d steps are too few", steps)
	}
}

// fixSeed makes the schedules the same in every run, unless -rapid.seed asks for others: what is reached
// must not depend on luck.
func fixSeed(t *testing.T) {
	seed := flag.Lookup("rapid.seed")
	if seed.Value.String() != seed.DefValue {
		return
	}
	if err := flag.Set("rapid.seed", "20261123"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := flag.Set("rapid.seed", seed.DefValue); err != nil {
			t.Error(err)
		}
	})
}

type bigWorld struct {
	t         *rapid.T
	seen      map[string]int
	keys      []law.KeyID
	whole     law.Configuration // as it was in the beginning
	cfg       law.Configuration
	set       *scene
	raw, mark time.Time // what the clock shows, and the highest that it has shown
	ops       []stage
	most      int // uses of a key in an operation
	bare      int // for each operation that names artifacts, how many do not
	made      int // operations
	ordered   int // sign orders
	desk      desk
}

var (
	humans   = []law.SubjectID{"olga", "omar", "anna", "bert", "carl", "dora", "emil", "ada", "otto", "zoe"}
	machines = []law.SubjectID{"ci", "line", "line2"}
	anybody  = slices.Concat(humans, machines)
	allKeys  = []law.KeyID{"prod", "prod2", "test", "dev", "rsa", "ed", "art", "ca"}
)

func newBigWorld(t *rapid.T, seen map[string]int) *bigWorld {
	c := law.Configuration{
		Issuers: []law.Issuer{issuer(people), with(issuer(builds), func(i *law.Issuer) { i.ActorClaim = "actor" })},
		Keys: []law.Key{
			key("prod", 2), key("prod2", 1), key("test", 1), key("dev", 0),
			with(key("rsa", 0), func(k *law.Key) { k.Algorithm, k.Schemes = law.RSA3072, []law.Scheme{law.PKCS1v15} }),
			with(key("ed", 0), func(k *law.Key) { k.Algorithm, k.Hash, k.Schemes = law.Ed25519, law.SHA512, []law.Scheme{law.EdDSA} }),
			with(key("art", 1), func(k *law.Key) { k.ArtifactsNeeded = true }),
			with(key("ca", 1), func(k *law.Key) { k.Type = law.CA }),
		},
		Roles: []law.Role{
			{ID: "orderers", Kind: law.Orderer, Keys: allKeys, Members: []law.SubjectID{"olga", "omar", "ci", "line", "line2"}},
			{ID: "orderers-dev", Kind: law.Orderer, Keys: []law.KeyID{"dev", "rsa"}, Members: []law.SubjectID{"emil", "line"}},
			{ID: "approvers-prod", Kind: law.Approver, Keys: []law.KeyID{"prod", "prod2"}, Members: []law.SubjectID{"anna", "bert", "carl", "omar"}},
			{ID: "approvers-prod2", Kind: law.Approver, Keys: []law.KeyID{"prod2", "ca"}, Members: []law.SubjectID{"anna", "dora"}},
			{ID: "approvers-test", Kind: law.Approver, Keys: []law.KeyID{"test", "art", "dev"}, Members: []law.SubjectID{"carl", "dora", "emil", "anna"}},
			{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada"}},
			{ID: "auditors", Kind: law.Auditor, Members: []law.SubjectID{"otto"}},
		},
	}
	for _, h := range humans {
		c.Subjects = append(c.Subjects, person(h))
	}
	for _, m := range machines {
		c.Subjects = append(c.Subjects, machine(m))
	}
	return newWorldOf(t, seen, c, allKeys)
}

func newWorldOf(t *rapid.T, seen map[string]int, c law.Configuration, keys []law.KeyID) *bigWorld {
	w := &bigWorld{t: t, seen: seen, keys: keys, most: 2, bare: 2, whole: c, cfg: c, raw: monday, mark: monday}
	var err error
	if w.set, err = newScene(c); err != nil {
		t.Fatal(err)
	}
	return w
}

// The steps, and how often each is taken.
var steps = []struct {
	weight int
	take   func(*bigWorld)
}{
	{6, (*bigWorld).create},
	{14, (*bigWorld).approve},
	{3, (*bigWorld).withdraw},
	{1, (*bigWorld).reject},
	{2, (*bigWorld).revoke},
	{2, (*bigWorld).settle},
	{26, (*bigWorld).place},
	{12, (*bigWorld).complete},
	{8, (*bigWorld).fail},
	{5, (*bigWorld).configure},
	{4, (*bigWorld).mend},
	{6, (*bigWorld).pass},
	{1, (*bigWorld).clockBack},
	{2, (*bigWorld).acceptClock},
}

func (w *bigWorld) step() {
	sum := 0
	for _, s := range steps {
		sum += s.weight
	}
	n := w.below(sum, "step")
	for _, s := range steps {
		if n -= s.weight; n < 0 {
			s.take(w)
			return
		}
	}
}

// now is the time that the store gives to the law: never below the mark (I15).
func (w *bigWorld) now() (time.Time, bool) {
	now := w.raw
	if now.Before(w.mark) {
		now = w.mark
	}
	return now, w.raw.Before(w.mark.Add(-law.ClockSlack))
}

func (w *bigWorld) create() {
	ask := law.Ask{
		Server: "test", ID: law.OperationID(fmt.Sprintf("op-%d", w.made)), Nonce: "00", Description: "d", Context: "c",
		Validity: pick(w, "validity", []time.Duration{time.Minute, 5 * time.Minute, time.Hour}),
	}
	for range 1 + w.below(3, "keys") {
		k := pick(w, "key", w.keys)
		if !slices.ContainsFunc(ask.Keys, func(a law.KeyAsk) bool { return a.Key == k }) {
			ask.Keys = append(ask.Keys, law.KeyAsk{Key: k, MaxUses: 1 + w.below(w.most, "uses")})
		}
	}
	if w.below(1+w.bare, "with artifacts") == 0 {
		ask.Artifacts = []law.Artifact{artifact("a", "x"), sha512Artifact("b", "x")}
	}
	who := pick(w, "orderer", []law.SubjectID{"olga", "omar", "ci", "emil", "anna"})
	for _, c := range []law.SubjectID{"line", "line2", "bert"} {
		if w.below(3, "as a client") == 0 && c != who {
			ask.Clients = append(ask.Clients, c)
		}
	}
	caller := law.Caller{Principal: law.Principal{Subject: who, Issuer: people, Sub: string(who)}}
	behind := law.SubjectID("")
	if who == "ci" {
		caller.Issuer, caller.Actor, behind = builds, "carl-at-ci", "carl"
	}
	now, held := w.now()
	s, refusal, err := opened(w.set, held, caller, behind, ask, now)
	w.made++
	w.look(moment{verb: "create", who: who, after: s, refusal: refusal}, err)
	if err == nil && refusal == nil {
		w.ops = append(w.ops, s)
	}
	if len(w.ops) > 8 { // forget one that has ended, else the oldest
		i := max(0, slices.IndexFunc(w.ops, func(s stage) bool { return s.op.Recorded.Final() }))
		w.ops = slices.Delete(w.ops, i, i+1)
	}
}

// on takes a step with one of the operations.
func (w *bigWorld) on(verb string, who law.SubjectID, i int, take func(stage) (stage, error)) {
	before := w.ops[i]
	before.did, before.refusal, before.permit, before.desk = nil, nil, law.Permit{}, w.desk.cleared()
	after, err := take(before)
	w.ops[i], w.desk = after, after.desk
	w.look(moment{verb: verb, who: who, before: before, after: after, refusal: after.refusal}, err)
}

// each takes a step with every operation.
func (w *bigWorld) each(verb string, take func(stage) (stage, error)) {
	for i := range w.ops {
		w.on(verb, "", i, take)
	}
}

// any draws an operation, mostly one that is open; there is none if it is negative.
func (w *bigWorld) any() int {
	var open []int
	for i, s := range w.ops {
		if !s.op.Recorded.Final() {
			open = append(open, i)
		}
	}
	switch {
	case len(w.ops) == 0:
		return -1
	case len(open) == 0 || w.below(5, "also ended ones") == 0:
		return w.below(len(w.ops), "operation")
	}
	return pick(w, "open operation", open)
}

// someone draws a person who could have a say, or now and then just anybody.
func (w *bigWorld) someone(i int) law.SubjectID {
	if w.below(8, "anybody") == 0 {
		return pick(w, "who", anybody)
	}
	var judges []law.SubjectID
	for _, k := range w.ops[i].op.Keys {
		judges = append(judges, w.ops[i].op.Eligible[k.Key]...)
	}
	if len(judges) == 0 {
		return w.ops[i].tale.orderer
	}
	return pick(w, "who", judges)
}

func (w *bigWorld) approve() {
	if i := w.any(); i >= 0 {
		who, right := w.someone(i), w.below(12, "wrong digest") > 0
		w.on("approve", who, i, func(s stage) (stage, error) { return s.approve(who, right) })
	}
}

func (w *bigWorld) withdraw() {
	if i := w.any(); i >= 0 {
		who := w.someone(i)
		w.on("withdraw", who, i, func(s stage) (stage, error) { return s.withdraw(who) })
	}
}

func (w *bigWorld) reject() {
	if i := w.any(); i >= 0 {
		who := w.someone(i)
		w.on("reject", who, i, func(s stage) (stage, error) { return s.reject(who) })
	}
}

func (w *bigWorld) revoke() {
	if i := w.any(); i >= 0 {
		who := pick(w, "who", []law.SubjectID{w.someone(i), w.ops[i].tale.orderer, "ada"})
		w.on("revoke", who, i, func(s stage) (stage, error) { return s.revoke(who) })
	}
}

func (w *bigWorld) settle() {
	if i := w.any(); i >= 0 {
		w.on("settle", "", i, stage.settled)
	}
}

func (w *bigWorld) place() {
	i := w.any()
	if i < 0 {
		return
	}
	who := w.requester(i)
	k := pick(w, "key of it", w.ops[i].op.Keys).Key
	if w.below(20, "any key") == 0 {
		k = pick(w, "key", w.keys)
	}
	w.ordered++
	ask := w.ask(who, k)
	w.on("place", who, i, func(s stage) (stage, error) { return s.place(ask) })
}

// requester draws somebody who could use an operation, or now and then just anybody.
func (w *bigWorld) requester(i int) law.SubjectID {
	o := w.ops[i].op
	switch n := w.below(8, "by"); {
	case n == 0:
		return pick(w, "who", anybody)
	case n < 4 && len(o.Clients) > 0:
		return pick(w, "client", o.Clients)
	}
	return o.Orderer.Subject
}

func (w *bigWorld) ask(who law.SubjectID, k law.KeyID) law.OrderAsk {
	ask := law.OrderAsk{
		ID: law.OrderID(fmt.Sprintf("so-%d", w.ordered)), Who: who, Key: k, IdempotencyKey: pick(w, "idempotency key", []string{"1", "2"}),
	}
	key := w.set.plain.keys[k]
	text := "x"
	if w.below(8, "other text") == 0 {
		text = "y"
	}
	if k == "ed" && w.below(8, "digest") > 0 || w.below(2, "data") == 0 {
		ask.Data = []byte(text)
	} else {
		ask.Hash, ask.Digest = key.Hash, key.Hash.Sum([]byte(text))
	}
	if w.below(3, "name the scheme") == 0 {
		ask.Hash, ask.Scheme = key.Hash, pick(w, "scheme", key.Schemes)
	}
	if w.below(30, "a digest of wrong length") == 0 && ask.Digest != nil {
		ask.Digest = ask.Digest[1:]
	}
	return ask
}

// result brings the result of an attempt, mostly of the latest.
func (w *bigWorld) result(verb string, take func(s stage, order, attempt int) (stage, error)) {
	i := w.any()
	if i < 0 || len(w.ops[i].orders) == 0 {
		return
	}
	n := w.below(len(w.ops[i].orders), "order")
	attempt := w.ops[i].orders[n].Attempt
	if w.below(4, "late") == 0 {
		attempt = 1 + w.below(attempt, "attempt")
	}
	w.on(verb, "", i, func(s stage) (stage, error) { return take(s, n, attempt) })
}

func (w *bigWorld) complete() { w.result("complete", stage.complete) }
func (w *bigWorld) fail()     { w.result("fail", stage.fail) }

// configure changes something of the configuration; every open operation is judged again.
func (w *bigWorld) configure() {
	someRole := func(in bool) func(*law.Configuration) {
		r := w.cfg.Roles[w.below(5, "role")]
		who := pick(w, "member", r.Members)
		if in {
			who = pick(w, "person", humans)
		}
		return member(r.ID, who, in)
	}
	id := pick(w, "key", w.keys)
	k := w.set.plain.keys[id]
	switch w.below(12, "change") {
	case 0, 1:
		w.change(switched(pick(w, "who", anybody), false))
	case 2, 3:
		w.change(someRole(false))
	case 4:
		w.change(someRole(true))
	case 5, 6:
		w.change(needs(id, w.below(4, "requirement")))
	case 7, 8:
		w.change(pair(id, law.KeyDisabled, k.Fingerprint))
	case 9:
		if w.below(3, "revoke the key") == 0 {
			w.change(pair(id, law.KeyRevoked, k.Fingerprint))
		}
	case 10:
		if w.below(3, "replace the key") == 0 {
			w.change(pair(id, law.KeyActive, fmt.Sprintf("%s-%d", id, w.ordered)))
		}
	case 11:
		w.change(ofKey(id, func(k *law.Key) {
			switch {
			case k.Algorithm == law.RSA3072:
				k.Schemes = pick(w, "schemes", [][]law.Scheme{{law.PSS}, {law.PKCS1v15}, {law.PSS, law.PKCS1v15}})
			case k.Algorithm != law.Ed25519:
				k.Hash = pick(w, "hash", []law.Hash{law.SHA256, law.SHA512})
			}
			k.ArtifactsNeeded = w.below(8, "artifacts needed") == 0
		}))
	}
}

// mend undoes what has been taken away, mostly: else the world would come to a standstill.
func (w *bigWorld) mend() {
	whole := w.whole
	whole.Keys = slices.Clone(whole.Keys)
	if w.below(2, "people or keys") == 0 {
		whole.Keys = w.cfg.Keys
	} else {
		for i := range whole.Keys {
			whole.Keys[i].Fingerprint = w.cfg.Keys[i].Fingerprint
		}
		whole.Roles, whole.Subjects = w.cfg.Roles, w.cfg.Subjects
	}
	w.change(func(c *law.Configuration) { *c = whole })
}

func (w *bigWorld) change(change func(*law.Configuration)) {
	c := w.cfg
	c.Subjects, c.Keys, c.Roles = slices.Clone(c.Subjects), slices.Clone(c.Keys), slices.Clone(c.Roles)
	change(&c)
	set, err := newScene(c)
	if err != nil { // such as a role without members
		return
	}
	w.cfg, w.set = c, set
	now, held := w.now()
	w.each("configure", func(s stage) (stage, error) { return s.at(set, now, held).settled() })
}

// pass lets time pass: a little, until a lease is over, or until an operation expires.
func (w *bigWorld) pass() {
	next := w.raw
	switch w.below(12, "time") {
	case 0, 1, 2, 3, 4, 5:
		next = w.raw.Add(time.Duration(1+w.below(5000, "ms")) * time.Millisecond)
	case 6, 7, 8:
		next = w.raw.Add(law.AttemptLease)
	case 9:
		next = w.raw.Add(time.Duration(1+w.below(10, "minutes")) * time.Minute)
	case 10, 11:
		if i := w.any(); i >= 0 && w.ops[i].op.Expires.After(w.raw) {
			next = w.ops[i].op.Expires.Add(-time.Duration(w.below(2, "just before")) * time.Millisecond)
		}
	}
	w.tick(next)
}

// clockBack sets the clock back, within the slack and beyond.
func (w *bigWorld) clockBack() {
	w.tick(w.raw.Add(-pick(w, "by", []time.Duration{time.Second, law.ClockSlack, time.Minute})))
}

func (w *bigWorld) tick(raw time.Time) {
	w.raw = raw
	if w.mark.Before(raw) {
		w.mark = raw
	}
	now, held := w.now()
	for i, s := range w.ops { // which the operations do not hear of, but are to be judged by
		w.ops[i] = s.at(w.set, now, held)
		if got, want := s.op.State(w.set.facts, now), s.tale.stands(w.set.plain, now); got != want {
			w.t.Fatalf("operation %s is judged %s; it should be %s", s.op.ID, got, want)
		}
	}
}

func (w *bigWorld) acceptClock() {
	if _, held := w.now(); !held {
		return
	}
	w.mark = w.raw
	now, held := w.now()
	w.each("accept clock", func(s stage) (stage, error) { return s.at(w.set, now, held).clockAccepted() })
}

// look fails the test if the oracle has found an invariant broken, and counts the rare events.
func (w *bigWorld) look(m moment, err error) {
	if err != nil {
		w.t.Fatalf("%s by %q: %v\noperation %+v", m.verb, m.who, err, m.before.op)
	}
	if w.seen == nil {
		return
	}
	for _, event := range moments {
		if event.saw(m) {
			w.seen[event.name]++
		}
	}
}

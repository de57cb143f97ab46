package law_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"time"

	"example.org/keyserver/internal/law"
)

// The oracle judges the law without asking it. It reads the raw lists of the configuration, keeps its own
// story of what happened to an operation, and works out by sets who may do what. The letters and numbers
// (I1 …) are the invariants of docs/threats.md.

// plain is a configuration spelled out: for every grant the set of people and machines that have it now.
type plain struct {
	on         map[law.SubjectID]bool
	mayOrder   map[law.KeyID]map[law.SubjectID]bool
	mayApprove map[law.KeyID]map[law.SubjectID]bool
	boss       map[law.SubjectID]bool // administrators
	watcher    map[law.SubjectID]bool // administrators and auditors
	keys       map[law.KeyID]law.Key
}

func spellOut(c law.Configuration) *plain {
	p := &plain{
		on: map[law.SubjectID]bool{}, mayOrder: map[law.KeyID]map[law.SubjectID]bool{}, mayApprove: map[law.KeyID]map[law.SubjectID]bool{},
		boss: map[law.SubjectID]bool{}, watcher: map[law.SubjectID]bool{}, keys: map[law.KeyID]law.Key{},
	}
	human := map[law.SubjectID]bool{}
	for _, s := range c.Subjects {
		p.on[s.ID], human[s.ID] = s.Enabled, s.Kind == law.User
	}
	for _, k := range c.Keys {
		p.keys[k.ID], p.mayOrder[k.ID], p.mayApprove[k.ID] = k, map[law.SubjectID]bool{}, map[law.SubjectID]bool{}
	}
	for _, r := range c.Roles {
		for _, m := range r.Members {
			if !p.on[m] {
				continue
			}
			switch r.Kind {
			case law.Administrator:
				p.boss[m], p.watcher[m] = true, true
			case law.Auditor:
				p.watcher[m] = true
			case law.Orderer:
				for _, k := range r.Keys {
					p.mayOrder[k][m] = true
				}
			case law.Approver:
				for _, k := range r.Keys {
					p.mayApprove[k][m] = human[m]
				}
			}
		}
	}
	return p
}

// tale is what one bystander wrote down about one operation. It is never changed, only continued.
type tale struct {
	born     *plain // the configuration on the day of its creation
	orderer  law.SubjectID
	behind   law.SubjectID
	users    map[law.SubjectID]bool // the orderer and the clients
	uses     map[law.KeyID]int      // the keys asked for
	named    map[string]bool        // artifacts: hash and digest
	deadline time.Time
	latest   *note
}

type note struct {
	what    happening
	who     law.SubjectID
	on      *plain // the configuration at that time
	order   law.OrderID
	key     law.KeyID
	idem    string
	thing   string // what is signed: empty: an input that was given; else a certificate of what
	input   law.Input
	until   time.Time // of an attempt: its lease
	end     law.State // of an ending
	earlier *note
}

type happening int

const (
	saidYes happening = iota
	tookBack
	tookUse // a sign order was accepted
	tried   // an attempt began, also the first
	signed
	failed
	withheld
	ended
)

func (b tale) and(n note) tale {
	n.earlier = b.latest
	b.latest = &n
	return b
}

// end is how the operation ended, empty while it is open. There is at most one ending (I6).
func (b tale) end() law.State {
	for n := b.latest; n != nil; n = n.earlier {
		if n.what == ended {
			return n.end
		}
	}
	return ""
}

// yes is the person's approval, nil if there is none that stands.
func (b tale) yes(who law.SubjectID) *note {
	for n := b.latest; n != nil; n = n.earlier {
		switch {
		case n.what == tookBack && n.who == who:
			return nil
		case n.what == saidYes && n.who == who:
			return n
		}
	}
	return nil
}

// count counts what happened with a key.
func (b tale) count(what happening, k law.KeyID) int {
	sum := 0
	for n := b.latest; n != nil; n = n.earlier {
		if n.what == what && n.key == k {
			sum++
		}
	}
	return sum
}

// used says whether any sign order was ever accepted.
func (b tale) used() bool {
	for n := b.latest; n != nil; n = n.earlier {
		if n.what == tookUse {
			return true
		}
	}
	return false
}

// judges is the set of people who could judge the operation for a key under a configuration.
func (b tale) judges(who law.SubjectID, k law.KeyID, on *plain) bool {
	return on.mayApprove[k][who] && b.born.mayApprove[k][who] && !b.users[who] && who != b.behind
}

func (b tale) judgesAny(who law.SubjectID, on *plain) bool {
	for k := range b.uses {
		if b.judges(who, k, on) {
			return true
		}
	}
	return false
}

// quorum is Q(o,k,t) of I3: how many people's yes stands and is worth something for the key, at creation,
// when they said it, and now.
func (b tale) quorum(k law.KeyID, now *plain) int {
	sum := 0
	for who := range b.born.mayApprove[k] {
		if y := b.yes(who); y != nil && b.judges(who, k, y.on) && b.judges(who, k, now) {
			sum++
		}
	}
	return sum
}

// gone says whether a key was revoked, replaced or removed, or makes other device certificates.
func (b tale) gone(now *plain) bool {
	for k := range b.uses {
		then, is := b.born.keys[k], now.keys[k]
		if is.State == law.KeyRevoked || is.Fingerprint != then.Fingerprint || !reflect.DeepEqual(is.Devices, then.Devices) {
			return true
		}
	}
	return false
}

// certified is all that the certificates of FW keys by a CA key would hold, and of which key pairs.
func (p *plain) certified(by law.KeyID) map[law.KeyID]any {
	all := map[law.KeyID]any{}
	for id, k := range p.keys {
		if (k.Type == law.Firmware || id == by) && k.Profile != nil {
			all[id] = struct {
				pair string
				law.Profile
			}{k.Fingerprint, *k.Profile}
		}
	}
	return all
}

func (b tale) spent() bool {
	for k, n := range b.uses {
		if b.count(signed, k) < n {
			return false
		}
	}
	return true
}

// free says whether every key has the people it needs and nothing is in the way (I3, for all keys).
func (b tale) free(now *plain) bool {
	for k := range b.uses {
		n := b.quorum(k, now)
		switch {
		case n < b.born.keys[k].Requirement.People() || n < now.keys[k].Requirement.People():
			return false
		case !now.mayOrder[k][b.orderer] || now.keys[k].State != law.KeyActive:
			return false
		}
	}
	return true
}

// stands is where the operation should stand.
func (b tale) stands(now *plain, at time.Time) law.State {
	switch end := b.end(); {
	case end != "":
		return end
	case at.Compare(b.deadline) >= 0:
		return law.Expired
	case b.gone(now):
		return law.Revoked
	case b.spent():
		return law.Exhausted
	case b.free(now):
		return law.Approved
	}
	return law.Pending
}

// caughtUp writes down an ending that has come about.
func (b tale) caughtUp(now *plain, at time.Time) tale {
	if s := b.stands(now, at); b.end() == "" && s != law.Pending && s != law.Approved {
		return b.and(note{what: ended, end: s})
	}
	return b
}

func (b tale) visible(who law.SubjectID, now *plain) bool {
	if !now.on[who] {
		return false
	}
	for k := range b.uses {
		if now.mayApprove[k][who] {
			return true
		}
	}
	return b.users[who] || now.watcher[who]
}

// entry is what the tale says of one sign order.
type entry struct {
	found   bool
	order   law.OrderID
	thing   string
	input   law.Input
	tries   int
	running bool // the latest attempt has no result yet
	until   time.Time
	signed  bool
	held    bool // withheld
}

func (b tale) entry(match func(*note) bool) entry {
	var e entry
	for n := b.latest; n != nil; n = n.earlier { // from the latest to the earliest
		if n.what < tookUse || n.what == ended || !match(n) {
			continue
		}
		if !e.found {
			e.found, e.order, e.running, e.until = true, n.order, n.what == tried, n.until
			e.signed, e.held = n.what == signed, n.what == withheld
		}
		if n.what == tried {
			e.tries++
			e.thing, e.input = n.thing, n.input
		}
	}
	return e
}

func (b tale) orderNamed(id law.OrderID) entry {
	return b.entry(func(n *note) bool { return n.order == id })
}

func (b tale) orderOf(ask law.OrderAsk) entry {
	return b.entry(func(n *note) bool { return n.who == ask.Who && n.key == ask.Key && n.idem == ask.IdempotencyKey })
}

// mayUse is I3 and I9 spelled out for one attempt, but for the uses left and what is signed.
func (b tale) mayUse(who law.SubjectID, k law.KeyID, now *plain, at time.Time) bool {
	return b.end() == "" && at.Before(b.deadline) && b.free(now) && b.uses[k] > 0 && b.users[who] && now.mayOrder[k][who]
}

// maySign says whether the key signs this input that was given.
func (b tale) maySign(k law.KeyID, in law.Input, now *plain) bool {
	key := now.keys[k]
	return key.Type == law.Firmware && fits(in, key) &&
		(b.named[string(in.Hash)+hex.EncodeToString(in.Digest)] || len(b.named) == 0 && !key.ArtifactsNeeded)
}

func fits(in law.Input, k law.Key) bool {
	return in.Hash == k.Hash && slices.Contains(k.Schemes, in.Scheme) && len(in.Digest) == bytesOf[in.Hash]
}

var bytesOf = map[law.Hash]int{law.SHA256: 32, law.SHA384: 48, law.SHA512: 64}

// meant is the input that somebody asks to have signed. What they leave open is what it was when the order
// was first placed, and what the key says for a new one. It is not ok if nothing can be meant.
func (b tale) meant(ask law.OrderAsk, now *plain) (in law.Input, ok bool) {
	if d := draftOf(ask); d != nil {
		return d.Input, true
	}
	in = law.Input{Hash: ask.Hash, Scheme: ask.Scheme, Digest: ask.Digest}
	key, e := now.keys[ask.Key], b.orderOf(ask)
	if in.Scheme == "" && e.found {
		in.Scheme = e.input.Scheme
	} else if in.Scheme == "" && len(key.Schemes) == 1 {
		in.Scheme = key.Schemes[0]
	}
	if ask.Data != nil && in.Hash == "" {
		in.Hash = key.Hash
		if e.found {
			in.Hash = e.input.Hash
		}
	}
	if ask.Data != nil {
		in.Digest = hashOf(in.Hash, ask.Data)
	}
	return in, (ask.Data == nil) != (ask.Digest == nil) && (in.Scheme != law.EdDSA || ask.Data != nil)
}

func hashOf(h law.Hash, data []byte) []byte {
	switch h {
	case law.SHA256:
		sum := sha256.Sum256(data)
		return sum[:]
	case law.SHA384:
		sum := sha512.Sum384(data)
		return sum[:]
	case law.SHA512:
		sum := sha512.Sum512(data)
		return sum[:]
	}
	return nil
}

// mayCreate says whether somebody may create an operation; behind is who set off the job, if it is one.
func (p *plain) mayCreate(who law.SubjectID, behind law.SubjectID, ask law.Ask) bool {
	if !p.on[who] || behind != "" && !p.on[behind] {
		return false
	}
	barred := map[law.SubjectID]bool{who: true, behind: true}
	for _, c := range ask.Clients {
		barred[c] = true
		if !p.on[c] {
			return false
		}
	}
	for _, a := range ask.Keys {
		judges, k := 0, p.keys[a.Key]
		for who, in := range p.mayApprove[a.Key] {
			if in && !barred[who] {
				judges++
			}
		}
		fitting := len(ask.Artifacts) == 0 && !k.ArtifactsNeeded || k.Type == law.CA && len(ask.Artifacts) > 0
		for _, f := range ask.Artifacts {
			fitting = fitting || f.Hash == k.Hash
		}
		if !p.mayOrder[a.Key][who] || k.State != law.KeyActive || k.Type == law.Root || judges < k.Requirement.People() ||
			a.MaxUses > k.MaxUses || ask.Validity > k.MaxValidity || !fitting {
			return false
		}
	}
	return true
}

func spelled(in law.Input) string {
	return string(in.Hash) + " " + string(in.Scheme) + " " + string(in.Digest)
}

// bornOf begins the tale of an operation.
func bornOf(who law.SubjectID, behind law.SubjectID, ask law.Ask, on *plain, at time.Time) tale {
	b := tale{
		born: on, orderer: who, behind: behind, users: map[law.SubjectID]bool{who: true},
		uses: map[law.KeyID]int{}, named: map[string]bool{}, deadline: at.Add(ask.Validity),
	}
	for _, c := range ask.Clients {
		b.users[c] = true
	}
	for _, k := range ask.Keys {
		b.uses[k.Key] = k.MaxUses
	}
	for _, a := range ask.Artifacts {
		b.named[string(a.Hash)+a.Digest] = true
	}
	return b
}

// agrees checks that what the law wrote down is what the tale says (I1, I4, I6, I7).
func (b tale) agrees(o law.Operation) error {
	standing := 0
	for _, a := range o.Approvals {
		if !a.Stands() {
			continue
		}
		standing++
		y := b.yes(a.By)
		if y == nil {
			return fmt.Errorf("%s has an approval in the books, and none in the tale", a.By)
		}
		for k := range b.uses {
			if slices.Contains(a.Covers, k) != b.judges(a.By, k, y.on) {
				return fmt.Errorf("the approval of %s covers %v", a.By, a.Covers)
			}
		}
	}
	people := map[law.SubjectID]bool{}
	for n := b.latest; n != nil; n = n.earlier {
		if n.what == saidYes && b.yes(n.who) != nil {
			people[n.who] = true
		}
	}
	if len(people) != standing {
		return fmt.Errorf("%d approvals stand, by %d people", standing, len(people))
	}
	for k, most := range b.uses {
		taken, done := b.count(tookUse, k), b.count(signed, k)
		if u := o.Usage[k]; u.Taken != taken || u.Signed != done || taken > most || done > taken {
			return fmt.Errorf("key %s: the books say %+v, the tale %d taken and %d signed, of %d", k, u, taken, done, most)
		}
	}
	return nil
}

// agreesOn checks one sign order against the tale (I1: one input for ever; I7).
func (b tale) agreesOn(r law.Order, at time.Time) error {
	e := b.orderNamed(r.ID)
	want := law.OrderFailed
	switch {
	case e.signed:
		want = law.OrderSigned
	case e.held:
		want = law.OrderWithheld
	case e.running:
		want = law.OrderRunning
	}
	switch {
	case r.State != want || r.Attempt != e.tries:
		return fmt.Errorf("order %s is %s at attempt %d; the tale says %s at %d", r.ID, r.State, r.Attempt, want, e.tries)
	case r.Running(at) != (e.running && at.Before(e.until)):
		return fmt.Errorf("order %s runs: %v", r.ID, r.Running(at))
	case e.signed != (len(r.Signature) > 0):
		return fmt.Errorf("order %s is %s with signature %q", r.ID, r.State, r.Signature)
	}
	for n := b.latest; n != nil; n = n.earlier {
		if n.what == tried && n.order == r.ID && spelled(n.input) != spelled(r.Input) {
			return fmt.Errorf("two inputs were signed under order %s: %q and %q", r.ID, spelled(n.input), spelled(r.Input))
		}
	}
	return nil
}

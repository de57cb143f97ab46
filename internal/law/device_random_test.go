package law_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"

	"pgregory.net/rapid"
)

// Random schedules of a factory: stations have CA keys issue certificates for a few devices under several operations at
// once, administrators revoke them and change what the profile says of duplicates, and the same things as in
// TestRandomSchedules happen meanwhile.
func TestRandomSchedulesOfDevices(t *testing.T) {
	const stepsPerSchedule = 1000 // times 100 schedules, rapid's default
	fixSeed(t)
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		f := newFloor(t, seen)
		for range stepsPerSchedule {
			f.step()
		}
	})
	var counts []string
	for _, m := range deviceMoments {
		counts = append(counts, fmt.Sprintf("%7d %s", seen[m.name], m.name))
		if seen[m.name] == 0 && !t.Failed() {
			t.Errorf("never reached: %s", m.name)
		}
	}
	t.Logf("reached\n%s", strings.Join(counts, "\n"))
}

// floor is the larger world with CA keys and devices.
type floor struct {
	*bigWorld
	met map[string]int // rare events
	ca  int            // how often the certificates of the CA keys were issued anew
}

var (
	floorKeys  = []law.KeyID{"ca", "free", "fw"} // free needs nobody's approval
	authority  = func(n int) law.CertificateID { return law.CertificateID(fmt.Sprintf("c-%d", n)) }
	duplicates = []law.DuplicateRule{law.DuplicatesRefused, law.DuplicatesSame, law.DuplicatesReplaced}
)

func newFloor(t *rapid.T, seen map[string]int) *floor {
	c := newBigWorld(t, nil).cfg
	issuing := func(rule law.DuplicateRule) func(*law.Key) {
		return func(k *law.Key) {
			k.Type, k.Profile, k.Devices = law.CA, profile(0, law.KeyCertSign, law.CRLSign), meterProfile(rule)
		}
	}
	c.Keys = []law.Key{
		with(key("ca", 1), issuing(law.DuplicatesReplaced)), with(key("free", 0), issuing(law.DuplicatesSame)),
		with(key("fw", 0), func(k *law.Key) { k.Profile = profile(0, law.DigitalSignature) }),
	}
	c.Roles = []law.Role{
		{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"ca", "free"}, Members: []law.SubjectID{"olga", "omar", "ci", "line", "line2", "emil"}},
		{ID: "orderers-fw", Kind: law.Orderer, Keys: []law.KeyID{"fw"}, Members: []law.SubjectID{"olga", "ci", "line"}},
		{ID: "approvers", Kind: law.Approver, Keys: []law.KeyID{"ca", "fw"}, Members: []law.SubjectID{"anna", "dora", "omar"}},
		{ID: "approvers-free", Kind: law.Approver, Keys: []law.KeyID{"free"}, Members: []law.SubjectID{"anna", "bert", "carl"}},
		{ID: "approvers-ca", Kind: law.Approver, Keys: []law.KeyID{"ca"}, Members: []law.SubjectID{"bert", "carl"}},
		{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada"}},
		{ID: "auditors", Kind: law.Auditor, Members: []law.SubjectID{"otto"}},
	}
	f := &floor{bigWorld: newWorldOf(t, nil, c, floorKeys), met: seen}
	f.most, f.bare = 6, 15
	return f
}

func meterProfile(rule law.DuplicateRule) *law.DeviceProfile {
	return &law.DeviceProfile{
		Subject:  []law.DeviceAttribute{{Type: "serial-number", DeviceField: law.DeviceField{Pattern: ".*", MaxLength: 20}}},
		Identity: "serial-number", Algorithms: []law.Algorithm{law.P256}, Validity: time.Hour, KeyUsage: []law.KeyUsage{law.DigitalSignature}, Duplicates: rule,
	}
}

var deviceSteps = []struct {
	weight int
	take   func(*floor)
}{
	{7, (*floor).create},
	{10, (*floor).approve},
	{1, (*floor).withdraw},
	{1, (*floor).reject},
	{1, (*floor).revoke},
	{1, (*floor).settle},
	{2, (*floor).place},
	{30, (*floor).issue},
	{8, (*floor).repeat},
	{3, (*floor).certify},
	{14, (*floor).complete},
	{6, (*floor).fail},
	{4, (*floor).revokeDevice},
	{2, (*floor).policy},
	{2, (*floor).configure},
	{3, (*floor).mend},
	{4, (*floor).pass},
	{1, (*floor).clockBack},
	{2, (*floor).acceptClock},
}

func (f *floor) step() {
	sum := 0
	for _, s := range deviceSteps {
		sum += s.weight
	}
	n := f.below(sum, "step")
	for _, s := range deviceSteps {
		if n -= s.weight; n < 0 {
			s.take(f)
			return
		}
	}
}

// act takes a step with an operation and counts the rare events in it.
func (f *floor) act(verb string, who law.SubjectID, i int, take func(stage) (stage, error)) {
	before := f.ops[i]
	before.desk = f.desk
	f.on(verb, who, i, take)
	after := f.ops[i]
	m := deviceMoment{moment{verb: verb, who: who, before: before, after: after, refusal: after.refusal}}
	for _, event := range deviceMoments {
		if event.saw(m) {
			f.met[event.name]++
		}
	}
}

// issue asks for the certificate of a device, mostly by a key of the operation.
func (f *floor) issue() {
	i := f.any()
	if i < 0 {
		return
	}
	who, k := f.requester(i), pick(f.bigWorld, "key of it", f.ops[i].op.Keys).Key
	if k == "fw" && f.below(8, "an FW key") > 0 {
		k = pick(f.bigWorld, "key", floorKeys)
	}
	n := 1 + f.below(4, "device")
	of := n
	if f.below(4, "another key") == 0 {
		of = 1 + f.below(4, "device key")
	}
	f.ordered++
	ask := f.askDevice(fmt.Sprintf("SN-%d", n), fmt.Sprintf("f-%d", of), f.set.plain.keys[k])
	ask.Who, ask.Key, ask.IdempotencyKey = who, k, pick(f.bigWorld, "idempotency key", []string{"1", "2", "3"})
	if f.below(8, "a fault") == 0 {
		f.spoil(ask.Device)
	}
	f.act("issue", who, i, func(s stage) (stage, error) { return s.place(ask) })
}

func (f *floor) askDevice(device, fingerprint string, k law.Key) law.OrderAsk {
	now, _ := f.now()
	d := law.DeviceAsk{Request: "request of " + device + " with " + fingerprint, Authority: authority(f.ca)}
	d.Draft = law.DeviceDraft{
		CertificateDraft: law.CertificateDraft{
			Draft: draftFor(k, fmt.Sprintf("certificate %d of %s", f.ordered, device)), Fingerprint: fingerprint, Serial: fmt.Sprintf("%x", f.ordered),
			NotBefore: now, NotAfter: now.Add(pick(f.bigWorld, "validity", []time.Duration{10 * time.Minute, time.Hour})),
		},
		Device: device, Request: d.Request, Authority: d.Authority,
	}
	if k.Devices != nil {
		d.Draft.Profile = k.Devices.Digest()
	}
	return law.OrderAsk{ID: law.OrderID(fmt.Sprintf("so-%05d", f.ordered)), Device: &d}
}

func draftFor(k law.Key, tbs string) law.Draft {
	return law.Draft{TBS: []byte(tbs), Input: law.Input{Hash: k.Hash, Scheme: law.ECDSA, Digest: k.Hash.Sum([]byte(tbs))}}
}

// spoil makes something of a draft wrong, or of another time.
func (f *floor) spoil(ask *law.DeviceAsk) {
	now, _ := f.now()
	d := &ask.Draft
	pick(f.bigWorld, "fault", []func(){
		func() { d.Fault = "it cannot be drawn up" },
		func() { d.Profile = meterProfile(pick(f.bigWorld, "rule", duplicates)).Digest() },
		func() { d.Authority = authority(f.ca - 1) },
		func() { d.Fingerprint = f.set.plain.keys[pick(f.bigWorld, "key", floorKeys)].Fingerprint },
		func() { d.Serial = "" },
		func() { d.Device = pick(f.bigWorld, "name", []string{"", "SN\n1"}) },
		func() { d.NotAfter = now },
		func() { d.NotBefore = d.NotAfter },
		func() { d.Input.Digest = digestOf("another") },
		func() { d.TBS = nil },
	})()
}

// repeat asks again under the idempotency key of an order: mostly for the same, else for something else.
func (f *floor) repeat() {
	i := f.any()
	if i < 0 || len(f.ops[i].orders) == 0 {
		return
	}
	r := pick(f.bigWorld, "order", f.ops[i].orders)
	was, _ := f.desk.book(r.ID)
	f.ordered++
	k := f.set.plain.keys[r.Key]
	ask := f.askDevice(was.Device, was.Fingerprint, k)
	ask.Who, ask.Key, ask.IdempotencyKey = r.Requester, r.Key, r.IdempotencyKey
	ask.Device.Request, ask.Device.Draft.Request = was.Request, was.Request
	anew := f.below(8, "drawn up anew") == 0
	switch f.below(12, "what") {
	case 0: // what is signed, as an input
		ask.Device = nil
		ask.Hash, ask.Scheme, ask.Digest = r.Input.Hash, r.Input.Scheme, r.Input.Digest
	case 1:
		ask.Device, ask.Certificate = nil, f.askCertificate(k)
	case 2:
		ask.Device.Request = "another request"
	}
	f.act("repeat", r.Requester, i, func(s stage) (stage, error) { return s.placeDrawn(ask, anew) })
}

// certify asks for the certificate of the FW key.
func (f *floor) certify() {
	i := f.any()
	if i < 0 {
		return
	}
	who, k := f.requester(i), pick(f.bigWorld, "key of it", f.ops[i].op.Keys).Key
	f.ordered++
	ask := law.OrderAsk{
		ID: law.OrderID(fmt.Sprintf("so-%05d", f.ordered)), Who: who, Key: k, IdempotencyKey: pick(f.bigWorld, "idempotency key", []string{"1", "2", "3"}),
		Certificate: f.askCertificate(f.set.plain.keys[k]),
	}
	f.act("certify", who, i, func(s stage) (stage, error) { return s.place(ask) })
}

func (f *floor) askCertificate(issuer law.Key) *law.CertificateAsk {
	now, _ := f.now()
	of := f.set.plain.keys["fw"]
	if f.below(10, "of a CA key") == 0 {
		of = f.set.plain.keys["ca"]
	}
	return &law.CertificateAsk{Key: of.ID, Draft: law.CertificateDraft{
		Draft: draftFor(issuer, fmt.Sprintf("certificate %d of key %s", f.ordered, of.ID)), Fingerprint: of.Fingerprint,
		Serial: fmt.Sprintf("%x", f.ordered), NotBefore: now, NotAfter: now.Add(time.Hour),
	}}
}

func (f *floor) complete() { f.result("complete", stage.complete) }
func (f *floor) fail()     { f.result("fail", stage.fail) }

// result brings the result of an attempt, mostly of the latest of an order that has none yet.
func (f *floor) result(verb string, take func(s stage, order, attempt int) (stage, error)) {
	i := f.any()
	if i < 0 || len(f.ops[i].orders) == 0 {
		return
	}
	orders := f.ops[i].orders
	n := f.below(len(orders), "order")
	if j := slices.IndexFunc(orders, func(r law.Order) bool { return r.State == law.OrderRunning }); j >= 0 && f.below(2, "the first that runs") == 0 {
		n = j
	}
	attempt := orders[n].Attempt
	if f.below(6, "late") == 0 {
		attempt = 1 + f.below(attempt, "attempt")
	}
	f.act(verb, orders[n].Requester, i, func(s stage) (stage, error) { return take(s, n, attempt) })
}

// revokeDevice revokes one of the latest certificates of an operation that is still there.
func (f *floor) revokeDevice() {
	var there []int
	for i, p := range f.desk.ledger {
		if f.holding(p.op) >= 0 && (!p.void || f.below(30, "what was revoked") == 0) {
			there = append(there, i)
		}
	}
	if len(there) == 0 {
		return
	}
	p := f.desk.ledger[pick(f.bigWorld, "certificate", there[max(0, len(there)-8):])]
	who := law.SubjectID("ada")
	if f.below(5, "anybody") == 0 {
		who = pick(f.bigWorld, "who", anybody)
	}
	code, reason := law.RevocationCode("keyCompromise"), "lost"
	switch f.below(10, "not well said") {
	case 0:
		code = "certificateHold"
	case 1:
		reason = ""
	}
	f.act("revoke device", who, f.holding(p.op), func(s stage) (stage, error) { return s.revokeDevice(p.order, who, code, reason) })
}

func (f *floor) holding(op law.OperationID) int {
	return slices.IndexFunc(f.ops, func(s stage) bool { return s.op.ID == op })
}

// policy changes what a CA key says of device certificates, or issues its own certificate anew.
func (f *floor) policy() {
	id := pick(f.bigWorld, "key", []law.KeyID{"ca", "free"})
	switch f.below(10, "policy") {
	case 0:
		f.ca++
	case 2:
		f.change(ofKey(id, func(k *law.Key) { k.ArtifactsNeeded = true }))
	case 1:
		f.change(ofKey(id, func(k *law.Key) { k.Devices = nil }))
	case 3:
		f.change(ofKey("fw", func(k *law.Key) {
			k.Profile = profile(0, law.DigitalSignature)
			k.Profile.Subject.CommonName = pick(f.bigWorld, "name", []string{"one", "two"})
		}))
	default:
		rule := pick(f.bigWorld, "rule", duplicates)
		f.change(ofKey(id, func(k *law.Key) { k.Devices = meterProfile(rule) }))
	}
}

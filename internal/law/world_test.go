package law_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// The small world of the rule tests: people, machines, keys, and one operation at a time.
//
//	orderers   olga (a person, also an approver), ci and line (machines)
//	approvers  fw-prod: anna, bert, carl, olga · fw-test: anna, dora, olga · ca: anna
//	others     ada (administrator), otto (auditor), zoe (no role)
//	keys       fw-prod needs 2, fw-test 1, fw-dev 0, ca 1, ed 0, rsa 0, root 0
//
// carl is the person whom the tokens of the CI issuer call carl-at-ci.
type world struct {
	t    testing.TB
	cfg  law.Configuration
	now  time.Time
	held bool

	op   law.Operation // the latest
	did  []law.Change  // by the latest verb
	made int           // sign orders, to number them
}

const (
	people = "https://id.example"
	builds = "https://ci.example"
)

var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func newWorld(t testing.TB) *world {
	t.Helper()
	return &world{t: t, now: monday, cfg: law.Configuration{
		Issuers: []law.Issuer{issuer(people), {
			URL: builds, Audiences: []string{"keyserver"}, Algorithms: []string{"RS256"}, Types: []string{"JWT"},
			ActorClaim: "actor", Captured: []string{"repository"},
		}},
		Subjects: []law.Subject{
			person("olga"), person("anna"), person("bert"), person("carl"), person("dora"), person("ada"), person("otto"), person("zoe"),
			machine("ci"), machine("line"),
		},
		Keys: []law.Key{
			key("fw-prod", 2), key("fw-test", 1), key("fw-dev", 0),
			with(key("ca", 1), func(k *law.Key) { k.Type = law.CA }),
			with(key("root", 0), func(k *law.Key) { k.Type = law.Root }),
			with(key("ed", 0), func(k *law.Key) { k.Algorithm, k.Hash, k.Schemes = law.Ed25519, law.SHA512, []law.Scheme{law.EdDSA} }),
			with(key("rsa", 0), func(k *law.Key) { k.Algorithm, k.Schemes = law.RSA3072, []law.Scheme{law.PKCS1v15, law.PSS} }),
		},
		Roles: []law.Role{
			{ID: "orderers", Kind: law.Orderer, Keys: []law.KeyID{"fw-prod", "fw-test", "fw-dev", "ca", "root", "ed", "rsa"}, Members: []law.SubjectID{"olga", "ci", "line"}},
			{ID: "approvers-prod", Kind: law.Approver, Keys: []law.KeyID{"fw-prod"}, Members: []law.SubjectID{"anna", "bert", "carl", "olga"}},
			{ID: "approvers-test", Kind: law.Approver, Keys: []law.KeyID{"fw-test"}, Members: []law.SubjectID{"anna", "dora", "olga"}},
			{ID: "approvers-ca", Kind: law.Approver, Keys: []law.KeyID{"ca"}, Members: []law.SubjectID{"anna"}},
			{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada"}},
			{ID: "auditors", Kind: law.Auditor, Members: []law.SubjectID{"otto"}},
		},
	}}
}

func (w *world) facts() law.Facts {
	w.t.Helper()
	f, err := law.NewFacts(w.cfg)
	if err != nil {
		w.t.Fatalf("configuration of the test: %v", err)
	}
	f.ClockHeld = w.held
	return f
}

// order creates the operation of the test: by olga, the given keys with one use each, valid for an hour.
func (w *world) order(keys ...law.KeyID) {
	w.t.Helper()
	w.orderWith(nil, keys...)
}

func (w *world) orderWith(change func(*law.Ask), keys ...law.KeyID) {
	w.t.Helper()
	w.ok(w.create(olga, change, keys...))
}

func (w *world) create(who law.Caller, change func(*law.Ask), keys ...law.KeyID) (law.Outcome, error) {
	w.t.Helper()
	ask := law.Ask{
		Server: "test", ID: "op-1", Nonce: "00ff", Description: "release 1.2", Context: "built from tag v1.2", Validity: time.Hour,
	}
	for _, k := range keys {
		ask.Keys = append(ask.Keys, law.KeyAsk{Key: k, MaxUses: 1})
	}
	if change != nil {
		change(&ask)
	}
	return law.Create(who, ask, w.facts(), w.now)
}

var (
	olga  = law.Caller{Principal: law.Principal{Subject: "olga", Issuer: people, Sub: "olga-sub"}}
	ciJob = law.Caller{
		Principal: law.Principal{Subject: "ci", Issuer: builds, Sub: "repo:firmware"}, Actor: "carl-at-ci",
		Claims: []law.Claim{{Name: "repository", Present: true, Value: "firmware"}, {Name: "actor", Present: true, Value: "carl-at-ci"}},
	}
)

func (w *world) approve(who law.SubjectID) (law.Outcome, error) {
	w.t.Helper()
	return w.op.Approve(who, w.op.Digest(), w.facts(), w.now)
}

func (w *world) withdraw(who law.SubjectID) (law.Outcome, error) {
	w.t.Helper()
	return w.op.Withdraw(who, w.facts(), w.now)
}

func (w *world) reject(who law.SubjectID) (law.Outcome, error) {
	w.t.Helper()
	return w.op.Reject(who, "not this one", w.facts(), w.now)
}

func (w *world) revoke(who law.SubjectID) (law.Outcome, error) {
	w.t.Helper()
	return w.op.Revoke(who, "key ceremony postponed", w.facts(), w.now)
}

// place asks for a signature over the digest of a text, by a new order.
func (w *world) place(who law.SubjectID, k law.KeyID) (law.Placed, error) {
	w.t.Helper()
	w.made++
	return w.op.Place(w.ask(who, k), nil, w.facts(), w.now)
}

func (w *world) ask(who law.SubjectID, k law.KeyID) law.OrderAsk {
	return law.OrderAsk{
		ID: law.OrderID("so-" + string(rune('0'+w.made))), Who: who, Key: k, IdempotencyKey: "idem-" + string(rune('0'+w.made)),
		Hash: law.SHA256, Scheme: law.ECDSA, Digest: digestOf("firmware"),
	}
}

// again asks once more for an order that was placed with w.ask(who, k).
func (w *world) again(r law.Order) (law.Placed, error) {
	w.t.Helper()
	ask := w.ask(r.Requester, r.Key)
	ask.IdempotencyKey = r.IdempotencyKey
	return w.op.Place(ask, &r, w.facts(), w.now)
}

func (w *world) complete(r law.Order) (law.Placed, error) {
	w.t.Helper()
	return w.op.Complete(r, r.Attempt, []byte("signature"), w.facts(), w.now)
}

func (w *world) fail(r law.Order) (law.Placed, error) {
	w.t.Helper()
	return w.op.Fail(r, r.Attempt, "the keystore did not answer", w.facts(), w.now)
}

// ok takes what a verb gave and goes on with it; the verb must not have been refused.
func (w *world) ok(out law.Outcome, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("refused: %v", err)
	}
	w.op, w.did = out.Operation, out.Changes
}

// okOrder is ok for the verbs of sign orders.
func (w *world) okOrder(p law.Placed, err error) law.Order {
	w.t.Helper()
	w.ok(p.Outcome, err)
	return p.Order
}

// refused takes what a verb gave, which must be a refusal of this kind that left nothing but what the
// operation came to by itself.
func (w *world) refused(kind law.RefusalKind) func(law.Outcome, error) {
	w.t.Helper()
	return func(out law.Outcome, err error) {
		w.t.Helper()
		wantRefusal(w.t, kind, err)
		settled := w.op.Settle(w.facts(), w.now)
		if !reflect.DeepEqual(out, settled) {
			w.t.Fatalf("a refusal changed something:\n got %+v\nwant %+v", out, settled)
		}
		w.op, w.did = out.Operation, out.Changes
	}
}

// notCreated is refused for Create, which leaves nothing at all.
func (w *world) notCreated(kind law.RefusalKind) func(law.Outcome, error) {
	w.t.Helper()
	return func(out law.Outcome, err error) {
		w.t.Helper()
		wantRefusal(w.t, kind, err)
		if !reflect.DeepEqual(out, law.Outcome{}) {
			w.t.Fatalf("a refused creation left %+v", out)
		}
	}
}

// noOrder is refused for the verbs that place a sign order: no permit and no trace of an order is left.
func (w *world) noOrder(kind law.RefusalKind) func(law.Placed, error) {
	w.t.Helper()
	return func(p law.Placed, err error) {
		w.t.Helper()
		w.refused(kind)(p.Outcome, err)
		if p.Permit.Granted() || !reflect.DeepEqual(p.Order, law.Order{}) {
			w.t.Fatalf("a refused sign order left %+v", p)
		}
	}
}

// is checks where the operation stands, as written down and as judged now.
func (w *world) is(want law.State) {
	w.t.Helper()
	if w.op.Recorded != want || w.op.State(w.facts(), w.now) != want {
		w.t.Fatalf("the operation is recorded as %s and judged %s; want %s", w.op.Recorded, w.op.State(w.facts(), w.now), want)
	}
}

// settles lets the world catch up with the operation and checks what it came to.
func (w *world) settles(want law.State, changes ...law.ChangeKind) {
	w.t.Helper()
	w.ok(w.op.Settle(w.facts(), w.now), nil)
	w.is(want)
	w.happened(changes...)
}

// happened checks what the latest verb wrote down.
func (w *world) happened(want ...law.ChangeKind) {
	w.t.Helper()
	got := []law.ChangeKind{}
	for _, c := range w.did {
		got = append(got, c.Kind)
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("happened: %v; want %v", got, want)
	}
}

// Changes of the configuration.

func (w *world) changeKey(id law.KeyID, change func(*law.Key)) {
	i := slices.IndexFunc(w.cfg.Keys, func(k law.Key) bool { return k.ID == id })
	change(&w.cfg.Keys[i])
}

func (w *world) setState(id law.KeyID, s law.KeyState) {
	w.changeKey(id, func(k *law.Key) { k.State = s })
}

func (w *world) require(id law.KeyID, n int) {
	w.changeKey(id, func(k *law.Key) { k.Requirement = law.Require(n) })
}

func (w *world) enable(id law.SubjectID, on bool) {
	i := slices.IndexFunc(w.cfg.Subjects, func(s law.Subject) bool { return s.ID == id })
	w.cfg.Subjects[i].Enabled = on
}

func (w *world) join(role law.RoleID, who law.SubjectID) {
	i := slices.IndexFunc(w.cfg.Roles, func(r law.Role) bool { return r.ID == role })
	w.cfg.Roles[i].Members = append(slices.Clone(w.cfg.Roles[i].Members), who)
}

func (w *world) leave(role law.RoleID, who law.SubjectID) {
	i := slices.IndexFunc(w.cfg.Roles, func(r law.Role) bool { return r.ID == role })
	w.cfg.Roles[i].Members = slices.DeleteFunc(slices.Clone(w.cfg.Roles[i].Members), func(m law.SubjectID) bool { return m == who })
}

func (w *world) addRole(r law.Role) { w.cfg.Roles = append(w.cfg.Roles, r) }

func (w *world) removeKey(id law.KeyID) {
	w.cfg.Keys = slices.DeleteFunc(w.cfg.Keys, func(k law.Key) bool { return k.ID == id })
	for i := range w.cfg.Roles {
		w.cfg.Roles[i].Keys = slices.DeleteFunc(slices.Clone(w.cfg.Roles[i].Keys), func(k law.KeyID) bool { return k == id })
	}
	w.cfg.Roles = slices.DeleteFunc(w.cfg.Roles, func(r law.Role) bool {
		return len(r.Keys) == 0 && (r.Kind == law.Orderer || r.Kind == law.Approver)
	})
}

// Parts of a configuration.

func issuer(url string) law.Issuer {
	return law.Issuer{URL: url, Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}}
}

func person(id law.SubjectID) law.Subject {
	s := law.Subject{
		ID: id, Kind: law.User, Name: string(id), Enabled: true,
		Identities: []law.Identity{{Issuer: people, Claims: map[string][]string{"sub": {string(id) + "-sub"}}}},
	}
	if id == "carl" {
		s.Actors = []law.ActorName{{Issuer: builds, Value: "carl-at-ci"}}
	}
	return s
}

func machine(id law.SubjectID) law.Subject {
	return law.Subject{
		ID: id, Kind: law.Client, Name: string(id), Enabled: true,
		Identities: []law.Identity{{Issuer: builds, Claims: map[string][]string{"sub": {string(id) + "-sub"}}}},
	}
}

func key(id law.KeyID, needs int) law.Key {
	return law.Key{
		ID: id, Type: law.Firmware, Algorithm: law.P256, Hash: law.SHA256, Schemes: []law.Scheme{law.ECDSA},
		Requirement: law.Require(needs), MaxValidity: 24 * time.Hour, MaxUses: 10, Approvals: law.SessionApprovals, State: law.KeyActive,
		Keystore: "software", Version: 1, Handle: string(id) + "/1", Fingerprint: "fingerprint-of-" + string(id),
	}
}

func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

// Small helpers.

func digestOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

func artifact(name, content string) law.Artifact {
	return law.Artifact{Name: name, Size: int64(len(content)), Hash: law.SHA256, Digest: hex.EncodeToString(digestOf(content))}
}

func wantRefusal(t testing.TB, kind law.RefusalKind, err error) {
	t.Helper()
	var r *law.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("not refused: %v; want %s", err, kind)
	}
	if r.Kind != kind || r.Error() == "" {
		t.Fatalf("refused as %s (%s); want %s", r.Kind, r.Reason, kind)
	}
}

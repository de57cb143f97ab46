package law_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// rule 10
func TestASignOrderTakesAUseAndGetsAPermit(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev")
	p, err := w.place("olga", "fw-dev")
	r := w.okOrder(p, err)
	w.happened(law.DidAcceptOrder)
	want := law.Order{
		ID: "so-1", Operation: "op-1", Key: "fw-dev", Fingerprint: "fingerprint-of-fw-dev", Requester: "olga", IdempotencyKey: "idem-1",
		Input: law.Input{Hash: law.SHA256, Scheme: law.ECDSA, Digest: digestOf("firmware")},
		Use:   1, Accepted: monday, State: law.OrderRunning, Attempt: 1, Lease: monday.Add(law.AttemptLease),
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("order\n     %+v\nwant %+v", r, want)
	}
	if w.did[0].By != "olga" || w.op.Usage["fw-dev"] != (law.Usage{Taken: 1}) {
		t.Errorf("change %+v, usage %+v", w.did[0], w.op.Usage)
	}
	k, _ := w.facts().Key("fw-dev")
	if m := p.Permit; !m.Granted() || m.Operation() != "op-1" || m.Order() != "so-1" || m.Attempt() != 1 ||
		!reflect.DeepEqual(m.Key(), k) || !reflect.DeepEqual(m.Input(), want.Input) {
		t.Errorf("permit %+v", m)
	}
}

// rule 10
func TestTheZeroPermitIsNotGranted(t *testing.T) {
	if (law.Permit{}).Granted() {
		t.Error("the zero permit is granted")
	}
}

// rule 10
func TestUseBeforeApprovalIsRefused(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	w.noOrder(law.WrongState)(w.place("olga", "fw-test"))
	if w.op.Used() {
		t.Error("a refused order took a use")
	}
	w.ok(w.approve("anna"))
	w.okOrder(w.place("olga", "fw-test"))
	if !w.op.Used() {
		t.Error("an accepted order took no use")
	}
}

// rule 10
func TestOnlyTheOrdererAndNamedClientsPlaceSignOrders(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Clients, a.Keys[0].MaxUses = []law.SubjectID{"line"}, 9 }, "fw-test")
	w.ok(w.approve("anna"))
	w.okOrder(w.place("olga", "fw-test"))
	w.okOrder(w.place("line", "fw-test"))
	w.noOrder(law.NotFound)(w.place("ci", "fw-test"))
	w.noOrder(law.Forbidden)(w.place("anna", "fw-test"))
	w.noOrder(law.Forbidden)(w.place("ada", "fw-test"))
	w.join("orderers", "ada") // who sees it and has an orderer role, but is not named
	w.noOrder(law.Forbidden)(w.place("ada", "fw-test"))
}

// rule 10
func TestARequesterNeedsAnOrdererRoleOnTheKeyNow(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Clients, a.Keys[0].MaxUses = []law.SubjectID{"line", "anna"}, 9 }, "fw-dev")
	w.okOrder(w.place("line", "fw-dev"))
	w.noOrder(law.Forbidden)(w.place("anna", "fw-dev")) // a client, but no orderer
	w.leave("orderers", "line")
	w.noOrder(law.Forbidden)(w.place("line", "fw-dev"))
	w.join("orderers", "line")
	w.enable("line", false)
	w.noOrder(law.NotFound)(w.place("line", "fw-dev"))
}

// rule 10
func TestAKeyThatIsNotInTheOperationCannotBeUsed(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev")
	w.noOrder(law.NotCovered)(w.place("olga", "fw-test"))
	w.noOrder(law.NotCovered)(w.place("olga", "nothing"))
}

// rule 10
func TestRootAndCAKeysNeverSignAnInput(t *testing.T) {
	w := newWorld(t)
	w.order("ca")
	w.ok(w.approve("anna"))
	w.noOrder(law.Impossible)(w.place("olga", "ca"))
	w.noOrder(law.Impossible)(w.place("olga", "root"))
	w.order("fw-dev")
	w.changeKey("fw-dev", func(k *law.Key) { k.Type = law.Root })
	w.noOrder(law.Impossible)(w.place("olga", "fw-dev"))
}

// rule 10
func TestNoMoreUsesThanWereApproved(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Keys[0].MaxUses = 3 }, "fw-dev", "fw-test")
	w.ok(w.approve("anna"))
	for use := 1; use <= 3; use++ {
		if r := w.okOrder(w.place("olga", "fw-dev")); r.Use != use {
			t.Errorf("use %d is numbered %d", use, r.Use)
		}
	}
	w.noOrder(law.WrongState)(w.place("olga", "fw-dev"))
	w.okOrder(w.place("olga", "fw-test")) // another key has its own uses
}

// Operation is a value: what a verb was asked of stays as it was (package comment).
func TestAVerbChangesNothingInPlace(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Keys[1].MaxUses = 3 }, "fw-test", "fw-dev")
	w.ok(w.approve("anna"))
	before, want := w.op, sealOf(w.op, nil)
	w.ok(w.withdraw("anna"))
	w.ok(w.approve("anna"))
	if got := sealOf(before, nil); got != want {
		t.Errorf("withdrawing changed %q to %q", want, got)
	}
	w.okOrder(w.place("olga", "fw-dev"))
	before, want = w.op, sealOf(w.op, nil)
	w.okOrder(w.complete(w.okOrder(w.place("olga", "fw-dev"))))
	if got := sealOf(before, nil); got != want {
		t.Errorf("signing changed %q to %q", want, got)
	}
}

// rule 10
func TestTheInputMustFitTheKey(t *testing.T) {
	long := make([]byte, law.MaxMessage+1)
	for name, c := range map[string]struct {
		key    law.KeyID
		change func(*law.OrderAsk)
		fits   bool
	}{
		"digest":                   {"fw-dev", func(a *law.OrderAsk) {}, true},
		"scheme left out":          {"fw-dev", func(a *law.OrderAsk) { a.Scheme = "" }, true},
		"data":                     {"fw-dev", func(a *law.OrderAsk) { a.Digest, a.Data = nil, []byte("x") }, true},
		"data, hash left out":      {"fw-dev", func(a *law.OrderAsk) { a.Digest, a.Data, a.Hash = nil, []byte("x"), "" }, true},
		"longest data":             {"fw-dev", func(a *law.OrderAsk) { a.Digest, a.Data = nil, long[1:] }, true},
		"data too long":            {"fw-dev", func(a *law.OrderAsk) { a.Digest, a.Data = nil, long }, false},
		"no data":                  {"fw-dev", func(a *law.OrderAsk) { a.Digest, a.Data = nil, []byte{} }, false},
		"hash left out":            {"fw-dev", func(a *law.OrderAsk) { a.Hash = "" }, false},
		"other hash":               {"fw-dev", func(a *law.OrderAsk) { a.Hash, a.Digest = law.SHA384, make([]byte, 48) }, false},
		"hash nobody knows":        {"fw-dev", func(a *law.OrderAsk) { a.Hash = "SHA-1" }, false},
		"other scheme":             {"fw-dev", func(a *law.OrderAsk) { a.Scheme = law.PSS }, false},
		"digest a byte short":      {"fw-dev", func(a *law.OrderAsk) { a.Digest = a.Digest[1:] }, false},
		"digest a byte long":       {"fw-dev", func(a *law.OrderAsk) { a.Digest = append(a.Digest, 0) }, false},
		"neither":                  {"fw-dev", func(a *law.OrderAsk) { a.Digest = nil }, false},
		"both":                     {"fw-dev", func(a *law.OrderAsk) { a.Data = []byte("x") }, false},
		"one of two schemes":       {"rsa", func(a *law.OrderAsk) { a.Scheme = law.PSS }, true},
		"two schemes, none named":  {"rsa", func(a *law.OrderAsk) { a.Scheme = "" }, false},
		"DigestInfo":               {"rsa", func(a *law.OrderAsk) { a.Scheme, a.Digest = law.PKCS1v15, make([]byte, 51) }, false},
		"Ed25519 with data":        {"ed", func(a *law.OrderAsk) { a.Scheme, a.Hash, a.Digest, a.Data = "", "", nil, []byte("x") }, true},
		"Ed25519 with data, named": {"ed", func(a *law.OrderAsk) { a.Scheme, a.Hash, a.Digest, a.Data = law.EdDSA, law.SHA512, nil, []byte("x") }, true},
		"Ed25519 with a digest":    {"ed", func(a *law.OrderAsk) { a.Scheme, a.Hash, a.Digest = law.EdDSA, law.SHA512, make([]byte, 64) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.order(c.key)
			ask := w.ask("olga", c.key)
			c.change(&ask)
			p, err := w.op.Place(ask, nil, w.facts(), w.now)
			if !c.fits {
				w.noOrder(law.InputMisfit)(p, err)
				return
			}
			w.okOrder(p, err)
		})
	}
}

// rule 10
func TestDataIsHashedAndKeptOnlyWhereTheSchemeSignsIt(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev", "ed")
	ask := w.ask("olga", "fw-dev")
	ask.Digest, ask.Data = nil, []byte("firmware")
	r := w.okOrder(w.op.Place(ask, nil, w.facts(), w.now))
	if !bytes.Equal(r.Input.Digest, digestOf("firmware")) || r.Input.Message != nil {
		t.Errorf("ECDSA input %+v", r.Input)
	}
	r = w.okOrder(w.op.Place(law.OrderAsk{Who: "olga", Key: "ed", Data: []byte("firmware")}, nil, w.facts(), w.now))
	sum := sha512.Sum512([]byte("firmware"))
	if !bytes.Equal(r.Input.Digest, sum[:]) || string(r.Input.Message) != "firmware" || r.Input.Hash != law.SHA512 || r.Input.Scheme != law.EdDSA {
		t.Errorf("Ed25519 input %+v", r.Input)
	}
}

// rule 10
func TestWhereArtifactsAreNamedOnlyTheyAreSigned(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) {
		a.Keys[0].MaxUses = 9
		a.Artifacts = []law.Artifact{artifact("a", "other"), artifact("b", "firmware"), sha512Artifact("c", "firmware")}
	}, "fw-dev", "ed")
	w.okOrder(w.place("olga", "fw-dev"))
	ask := w.ask("olga", "fw-dev")
	ask.Digest = digestOf("not named")
	w.noOrder(law.InputMisfit)(w.op.Place(ask, nil, w.facts(), w.now))
	data := func(text string) law.OrderAsk { return law.OrderAsk{Who: "olga", Key: "ed", Data: []byte(text)} }
	w.noOrder(law.InputMisfit)(w.op.Place(data("other"), nil, w.facts(), w.now)) // named with another hash
	w.okOrder(w.op.Place(data("firmware"), nil, w.facts(), w.now))
}

// rule 10
func TestAnArtifactOfAnotherSizeIsNotSigned(t *testing.T) {
	w := newWorld(t)
	wrong := sha512Artifact("c", "firmware")
	wrong.Size++
	w.orderWith(func(a *law.Ask) { a.Artifacts = []law.Artifact{wrong} }, "ed")
	w.noOrder(law.InputMisfit)(w.op.Place(law.OrderAsk{Who: "olga", Key: "ed", Data: []byte("firmware")}, nil, w.facts(), w.now))
}

func sha512Artifact(name, content string) law.Artifact {
	a := artifact(name, content)
	a.Hash, a.Digest = law.SHA512, hex.EncodeToString(law.SHA512.Sum([]byte(content)))
	return a
}

// rule 11: what the law does for it is that a completed order holds the signature, and one withheld does not.
func TestACompletedOrderHoldsItsSignature(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Keys[0].MaxUses = 2 }, "fw-dev")
	r := w.okOrder(w.place("olga", "fw-dev"))
	w.now = w.now.Add(time.Second)
	r = w.okOrder(w.complete(r))
	w.happened(law.DidSignOrder)
	if r.State != law.OrderSigned || string(r.Signature) != "signature" || r.Settled != w.now || w.op.Usage["fw-dev"] != (law.Usage{Taken: 1, Signed: 1}) {
		t.Errorf("order %+v, usage %+v", r, w.op.Usage)
	}
}

// rule 7
func TestASignatureThatTheKeystoreIsMakingWhileTheOperationIsRevokedIsWithheld(t *testing.T) {
	for name, revoke := range map[string]func(*world){
		"by the orderer": func(w *world) { w.ok(w.revoke("olga")) },
		"by its key":     func(w *world) { w.setState("fw-dev", law.KeyRevoked) },
		"by a new pair":  func(w *world) { w.changeKey("fw-dev", func(k *law.Key) { k.Fingerprint = "another" }) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.order("fw-dev")
			r := w.okOrder(w.place("olga", "fw-dev"))
			revoke(w)
			r = w.okOrder(w.complete(r))
			w.is(law.Revoked)
			if last := w.did[len(w.did)-1]; last.Kind != law.DidWithhold || r.State != law.OrderWithheld || r.Signature != nil || r.Settled != w.now {
				t.Errorf("last %+v, order %+v", last, r)
			}
			if w.op.Usage["fw-dev"] != (law.Usage{Taken: 1}) {
				t.Errorf("usage %+v", w.op.Usage)
			}
			w.noOrder(law.WrongState)(w.again(r))
			p, err := w.complete(r)
			w.refused(law.Superseded)(p.Outcome, err)
		})
	}
}

// rule 7
func TestExpiryOrALapseDuringTheKeystoresCallDoesNotWithhold(t *testing.T) {
	for name, change := range map[string]func(*world){
		"expiry":          func(w *world) { w.now = w.now.Add(time.Hour) },
		"accepted clock":  func(w *world) { w.ok(w.op.AcceptClock(w.now), nil) },
		"lapse":           func(w *world) { w.setState("fw-dev", law.KeyDisabled) },
		"role taken away": func(w *world) { w.leave("orderers", "olga") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.orderWith(func(a *law.Ask) { a.Keys[0].MaxUses = 2 }, "fw-dev")
			r := w.okOrder(w.place("olga", "fw-dev"))
			change(w)
			r = w.okOrder(w.complete(r))
			if r.State != law.OrderSigned || len(r.Signature) == 0 {
				t.Errorf("order %+v", r)
			}
			if got := w.okOrder(w.again(r)); !reflect.DeepEqual(got, r) { // and can be fetched
				t.Errorf("fetched %+v", got)
			}
		})
	}
}

// rule 13
func TestExhaustedWhenEveryUseOfEveryKeyHasItsSignature(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Keys[1].MaxUses = 2 }, "fw-dev", "rsa")
	a := w.okOrder(w.place("olga", "fw-dev"))
	w.noOrder(law.WrongState)(w.place("olga", "fw-dev")) // its use is taken
	pkcs := func(id string) (law.Placed, error) {
		ask := w.ask("olga", "rsa")
		ask.Scheme, ask.IdempotencyKey = law.PKCS1v15, id
		return w.op.Place(ask, nil, w.facts(), w.now)
	}
	b := w.okOrder(pkcs("1")) // though the other key's can still be taken
	c := w.okOrder(pkcs("2"))
	w.okOrder(w.complete(b))
	w.okOrder(w.complete(c))
	a = w.okOrder(w.fail(a))
	w.is(law.Approved) // every use is taken, but one has no signature
	a = w.okOrder(w.again(a))
	w.okOrder(w.complete(a))
	w.is(law.Exhausted)
	w.happened(law.DidSignOrder, law.DidExhaust)
	if w.did[1].By != "" || w.op.Ending.At != w.now {
		t.Errorf("change %+v, ending %+v", w.did[1], w.op.Ending)
	}
	w.noOrder(law.WrongState)(w.place("olga", "fw-dev"))
	w.refused(law.WrongState)(w.revoke("olga"))
}

// rule 13
func TestTheLastSignatureExhaustsAlsoAnOperationThatHasLapsed(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev")
	r := w.okOrder(w.place("olga", "fw-dev"))
	w.setState("fw-dev", law.KeyDisabled)
	w.okOrder(w.complete(r))
	w.is(law.Exhausted)
	w.happened(law.DidLapse, law.DidSignOrder, law.DidExhaust)
}

// rule 12: the stored signature is for its requester.
func TestASignatureIsSeenByItsRequesterAlone(t *testing.T) {
	order := law.Order{ID: "1", Requester: "olga", Signature: []byte("signature")}
	if seen := order.SeenBy("olga"); string(seen.Signature) != "signature" {
		t.Error("the requester does not see the signature")
	}
	if seen := order.SeenBy("alice"); seen.Signature != nil || seen.ID != "1" {
		t.Errorf("somebody else sees %+v", seen)
	}
}

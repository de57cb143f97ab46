package law_test

import (
	"reflect"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// rule 12
func TestTheSameOrderAgainIsTheSameOrderAndNotASecondUse(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Keys[0].MaxUses = 2 }, "fw-dev")
	running := w.okOrder(w.place("olga", "fw-dev"))
	for _, r := range []law.Order{running, w.okOrder(w.complete(running))} {
		p, err := w.again(r)
		got := w.okOrder(p, err)
		w.happened()
		if p.Permit.Granted() || !reflect.DeepEqual(got, r) || w.op.Usage["fw-dev"].Taken != 1 {
			t.Errorf("got %+v with permit %v, usage %v; want %+v", got, p.Permit.Granted(), w.op.Usage, r)
		}
	}
}

// rule 12
func TestAStoredSignatureCanBeFetchedAfterTheOperationEnded(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Clients, a.Keys[0].MaxUses = []law.SubjectID{"line"}, 2 }, "fw-dev")
	signed := w.okOrder(w.complete(w.okOrder(w.place("line", "fw-dev"))))
	w.ok(w.revoke("olga"))
	w.leave("orderers", "line")
	if got := w.okOrder(w.again(signed)); !reflect.DeepEqual(got, signed) {
		t.Errorf("fetched %+v", got)
	}
	w.enable("line", false)
	w.noOrder(law.NotFound)(w.again(signed))
}

// rule 12
func TestAStoredSignatureCanBeFetchedWhateverBecameOfTheKey(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Keys[0].MaxUses = 2 }, "fw-dev")
	signed := w.okOrder(w.complete(w.okOrder(w.place("olga", "fw-dev"))))
	w.changeKey("fw-dev", func(k *law.Key) { k.Hash = law.SHA512 })
	w.okOrder(w.again(signed))
	w.removeKey("fw-dev")
	if got := w.okOrder(w.again(signed)); !reflect.DeepEqual(got, signed) {
		t.Errorf("fetched %+v", got)
	}
}

// rule 12
func TestTheSameIdempotencyKeyWithAnotherInputIsRefused(t *testing.T) {
	for name, change := range map[string]func(*law.OrderAsk){
		"digest":     func(a *law.OrderAsk) { a.Digest = digestOf("other") },
		"scheme":     func(a *law.OrderAsk) { a.Scheme = law.PSS },
		"hash":       func(a *law.OrderAsk) { a.Hash, a.Digest = law.SHA512, make([]byte, 64) },
		"data":       func(a *law.OrderAsk) { a.Digest, a.Data = nil, []byte("other") },
		"both":       func(a *law.OrderAsk) { a.Data = []byte("firmware") },
		"no digest":  func(a *law.OrderAsk) { a.Digest = nil },
		"bad length": func(a *law.OrderAsk) { a.Digest = a.Digest[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.order("rsa")
			ask := w.ask("olga", "rsa")
			ask.Scheme = law.PKCS1v15
			r := w.okOrder(w.op.Place(ask, nil, w.facts(), w.now))
			change(&ask)
			for _, r := range []law.Order{r, w.okOrder(w.fail(r))} {
				w.noOrder(law.KeyReused)(w.op.Place(ask, &r, w.facts(), w.now))
			}
		})
	}
}

// rule 12
func TestTheInputIsTheSameWhateverItsEncoding(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Keys[0].MaxUses = 2 }, "fw-dev", "ed")
	r := w.okOrder(w.complete(w.okOrder(w.place("olga", "fw-dev"))))
	ask := w.ask("olga", "fw-dev")
	ask.Hash, ask.Scheme, ask.Digest, ask.Data = "", "", nil, []byte("firmware")
	if got := w.okOrder(w.op.Place(ask, &r, w.facts(), w.now)); !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v", got)
	}
	data := law.OrderAsk{Who: "olga", Key: "ed", Data: []byte("firmware")}
	r = w.okOrder(w.fail(w.okOrder(w.op.Place(data, nil, w.facts(), w.now))))
	p, err := w.op.Place(data, &r, w.facts(), w.now)
	w.okOrder(p, err)
	if string(p.Permit.Input().Message) != "firmware" {
		t.Errorf("the further attempt is to sign %q", p.Permit.Input().Message)
	}
}

// rule 12
func TestAnIdempotencyKeyIsScopedToSubjectOperationAndKey(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Clients = []law.SubjectID{"line"} }, "fw-dev", "rsa")
	r := w.okOrder(w.place("olga", "fw-dev"))
	for name, change := range map[string]func(*law.Order){
		"subject":   func(r *law.Order) { r.Requester = "line" },
		"operation": func(r *law.Order) { r.Operation = "op-2" },
		"key":       func(r *law.Order) { r.Key = "rsa" },
		"itself":    func(r *law.Order) { r.IdempotencyKey = "another" },
	} {
		t.Run(name, func(t *testing.T) {
			other := r
			change(&other)
			w.noOrder(law.NotFound)(w.op.Place(w.ask("olga", "fw-dev"), &other, w.facts(), w.now))
		})
	}
}

// rule 12
func TestAFailedOrCutOffAttemptCanBeMadeAgainWithoutASecondUse(t *testing.T) {
	for name, cut := range map[string]func(*world, law.Order) law.Order{
		"failed":  func(w *world, r law.Order) law.Order { return w.okOrder(w.fail(r)) },
		"cut off": func(w *world, r law.Order) law.Order { w.now = w.now.Add(law.AttemptLease); return r },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.order("fw-dev")
			first := w.okOrder(w.place("olga", "fw-dev"))
			second := cut(w, first)
			p, err := w.again(second)
			second = w.okOrder(p, err)
			w.happened(law.DidAttemptOrder)
			if w.did[0].By != "olga" || w.op.Usage["fw-dev"] != (law.Usage{Taken: 1}) {
				t.Errorf("change %+v, usage %+v", w.did[0], w.op.Usage)
			}
			want := first
			want.Attempt, want.Lease = 2, w.now.Add(law.AttemptLease)
			if !reflect.DeepEqual(second, want) {
				t.Errorf("order\n     %+v\nwant %+v", second, want)
			}
			if m := p.Permit; !m.Granted() || m.Order() != first.ID || m.Attempt() != 2 || !reflect.DeepEqual(m.Input(), first.Input) {
				t.Errorf("permit %+v", m)
			}
			second = w.okOrder(w.complete(second))
			w.is(law.Exhausted)
			w.okOrder(w.again(second))
		})
	}
}

// rule 12
func TestAFailedAttemptSaysWhyAndGivesTheUseNotBack(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev")
	r := w.okOrder(w.fail(w.okOrder(w.place("olga", "fw-dev"))))
	w.happened(law.DidFailOrder)
	if r.State != law.OrderFailed || r.Failure != "the keystore did not answer" || w.did[0].Reason != r.Failure || r.Settled != w.now {
		t.Errorf("order %+v, change %+v", r, w.did[0])
	}
	if w.op.Usage["fw-dev"] != (law.Usage{Taken: 1}) {
		t.Errorf("usage %+v", w.op.Usage)
	}
	w.noOrder(law.WrongState)(w.place("olga", "fw-dev")) // a new order
}

// rule 12
func TestWhileAnAttemptRunsNoOtherIsMade(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev")
	r := w.okOrder(w.place("olga", "fw-dev"))
	w.now = w.now.Add(law.AttemptLease - time.Millisecond)
	if !r.Running(w.now) {
		t.Error("its lease is not over, but it does not run")
	}
	p, err := w.again(r)
	if got := w.okOrder(p, err); p.Permit.Granted() || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v with permit %v", got, p.Permit.Granted())
	}
	w.now = w.now.Add(time.Millisecond)
	if r.Running(w.now) {
		t.Error("its lease is over, but it runs")
	}
}

// rule 12
func TestAResultIsTakenOnlyFromTheLatestAttempt(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev")
	first := w.okOrder(w.place("olga", "fw-dev"))
	w.now = w.now.Add(law.AttemptLease)
	second := w.okOrder(w.again(first))
	for _, attempt := range []int{0, 1, 3} {
		p, err := w.op.Complete(second, attempt, []byte("late"), w.facts(), w.now)
		w.refused(law.Superseded)(p.Outcome, err)
		if !reflect.DeepEqual(p.Order, second) {
			t.Errorf("order %+v", p.Order)
		}
		p, err = w.op.Fail(second, attempt, "late", w.facts(), w.now)
		w.refused(law.Superseded)(p.Outcome, err)
	}
	second = w.okOrder(w.complete(second))
	p, err := w.fail(second) // it has its result
	w.refused(law.Superseded)(p.Outcome, err)
	p, err = w.complete(second)
	w.refused(law.Superseded)(p.Outcome, err)
}

// rule 12
func TestALateResultOfTheLatestAttemptIsTaken(t *testing.T) {
	w := newWorld(t)
	w.order("fw-dev")
	r := w.okOrder(w.place("olga", "fw-dev"))
	w.now = w.now.Add(2 * law.AttemptLease)
	if r = w.okOrder(w.complete(r)); r.State != law.OrderSigned {
		t.Errorf("order %+v", r)
	}
}

// rule 12
func TestAFurtherAttemptIsJudgedAsTheFirstWas(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		kind   law.RefusalKind
	}{
		"expired":         {func(w *world) { w.now = w.now.Add(time.Hour) }, law.WrongState},
		"revoked":         {func(w *world) { w.ok(w.revoke("olga")) }, law.WrongState},
		"lapsed":          {func(w *world) { w.leave("approvers-test", "anna") }, law.WrongState},
		"role taken away": {func(w *world) { w.leave("orderers", "line") }, law.Forbidden},
		"disabled":        {func(w *world) { w.enable("line", false) }, law.NotFound},
		"clock held":      {func(w *world) { w.held = true }, law.Held},
		"artifact needed": {func(w *world) { w.changeKey("fw-test", func(k *law.Key) { k.ArtifactsNeeded = true }) }, law.InputMisfit},
		"other hash":      {func(w *world) { w.changeKey("fw-test", func(k *law.Key) { k.Hash = law.SHA384 }) }, law.InputMisfit},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.orderWith(func(a *law.Ask) { a.Clients = []law.SubjectID{"line"} }, "fw-test")
			w.ok(w.approve("anna"))
			r := w.okOrder(w.fail(w.okOrder(w.place("line", "fw-test"))))
			c.change(w)
			w.noOrder(c.kind)(w.again(r))
		})
	}
}

// rule 12: a use is the right to have one input signed, also where the asking left open what the key says.
func TestAFurtherAttemptNeverSignsAnotherInput(t *testing.T) {
	for name, change := range map[string]func(*law.Key){
		"other hash":   func(k *law.Key) { k.Hash = law.SHA512 },
		"other scheme": func(k *law.Key) { k.Schemes = []law.Scheme{law.PSS} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.changeKey("rsa", func(k *law.Key) { k.Schemes = []law.Scheme{law.PKCS1v15} })
			w.order("rsa")
			ask := law.OrderAsk{Who: "olga", Key: "rsa", Data: []byte("firmware")} // hash and scheme are the key's
			r := w.okOrder(w.fail(w.okOrder(w.op.Place(ask, nil, w.facts(), w.now))))
			w.changeKey("rsa", change)
			w.noOrder(law.InputMisfit)(w.op.Place(ask, &r, w.facts(), w.now))
		})
	}
}

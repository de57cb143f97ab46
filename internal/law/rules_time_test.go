package law_test

import (
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// rule 8
func TestAnOperationExpiresAtTheInstantOfItsExpiry(t *testing.T) {
	for name, prepare := range map[string]func(*world){
		"pending":  func(w *world) {},
		"approved": func(w *world) { w.ok(w.approve("anna")) },
		"used":     func(w *world) { w.ok(w.approve("anna")); w.okOrder(w.place("olga", "fw-test")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.orderWith(func(a *law.Ask) { a.Keys[0].MaxUses = 2 }, "fw-test")
			prepare(w)
			before := w.op.Recorded
			w.now = monday.Add(time.Hour - time.Millisecond)
			w.settles(before)
			w.now = monday.Add(time.Hour)
			w.settles(law.Expired, law.DidExpire)
			w.endedForGood(law.Expired)
		})
	}
}

// rule 8
func TestWhoMeetsAnExpirySettlesItOnce(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	w.now = monday.Add(time.Hour)
	w.refused(law.WrongState)(w.approve("anna"))
	w.happened(law.DidExpire) // though the approval was refused
	w.refused(law.WrongState)(w.approve("anna"))
	w.happened()
	if w.op.Ending.At != w.now || w.op.Ending.By != "" {
		t.Errorf("ending %+v", w.op.Ending)
	}
}

// rule 8
func TestValidityOfOneMillisecond(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Validity = time.Millisecond }, "fw-test")
	w.is(law.Pending)
	w.now = monday.Add(time.Millisecond)
	w.settles(law.Expired, law.DidExpire)
}

// rule 8
func TestTheZeroOperationHasExpired(t *testing.T) {
	w := newWorld(t)
	if s := w.op.State(w.facts(), w.now); s != law.Expired {
		t.Errorf("the zero operation is %s", s)
	}
	w.settles(law.Expired, law.DidExpire)
}

// rule 8
func TestWhileTheClockIsHeldNothingIsCreatedApprovedOrSigned(t *testing.T) {
	w := newWorld(t)
	w.order("fw-test")
	w.held = true
	w.notCreated(law.Held)(w.create(olga, nil, "fw-dev"))
	w.refused(law.Held)(w.approve("anna"))
	w.held = false
	w.ok(w.approve("anna"))
	w.held = true
	w.noOrder(law.Held)(w.place("olga", "fw-test"))
	w.ok(w.withdraw("anna"))
	w.ok(w.reject("anna"))
	w.held = false
	w.order("fw-test")
	w.held = true
	w.ok(w.revoke("olga"))
}

// rule 8
func TestWhileTheClockIsHeldNoFurtherAttemptIsMade(t *testing.T) {
	w := newWorld(t)
	w.orderWith(func(a *law.Ask) { a.Keys[0].MaxUses = 2 }, "fw-dev")
	failed := w.okOrder(w.fail(w.okOrder(w.place("olga", "fw-dev"))))
	running := w.okOrder(w.place("olga", "fw-dev"))
	w.held = true
	w.noOrder(law.Held)(w.again(failed))
	signed := w.okOrder(w.complete(running)) // one that runs comes to its end
	if got := w.okOrder(w.again(signed)); got.State != law.OrderSigned {
		t.Errorf("the stored signature cannot be fetched: %+v", got)
	}
}

// rule 8
func TestAcceptingTheClockExpiresEveryOpenOperation(t *testing.T) {
	w := newWorld(t)
	for _, approved := range []bool{false, true} {
		w.order("fw-test")
		if approved {
			w.ok(w.approve("anna"))
		}
		w.ok(w.op.AcceptClock(w.now), nil)
		w.is(law.Expired)
		w.happened(law.DidExpire)
		w.endedForGood(law.Expired)
	}
	w.order("fw-dev")
	w.ok(w.revoke("olga"))
	w.ok(w.op.AcceptClock(w.now), nil)
	w.is(law.Revoked)
	w.happened()
}

package keyserver_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// hangingOrder begins a sign order under a new operation whose attempt hangs in the keystore.
func hangingOrder(k *testkit.Kit) (keyserver.Operation, law.OrderAsk, *keystoretest.Hanging, <-chan answered) {
	k.Helper()
	ask := testkit.Ask("fw-one")
	ask.Keys[0].MaxUses = 2
	o := k.Approve(k.Create(ask), "alice")
	order := testkit.OrderAsk("fw-one", "the same", "image")
	hanging := k.Keystore.Hang(k)
	answer := inBackground(k, o, order)
	if err := hanging.Wait(k.Context(), 1); err != nil {
		k.Fatal(err)
	}
	return o, order, hanging, answer
}

func TestADuplicateWaitsForTheAttemptUnderWay(t *testing.T) {
	k := testkit.New(t)
	o, order, hanging, answer := hangingOrder(k)
	duplicates := []<-chan answered{inBackground(k, o, order), inBackground(k, o, order)}
	impatient, cancel := context.WithCancel(k.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := k.Keyserver.PlaceSignOrder(impatient, k.Caller("olga"), o.ID, order)
		gone <- err
	}()
	cancel() // one that goes away takes nobody along
	if err := <-gone; err == nil {
		t.Error("a duplicate was answered while the attempt was under way")
	}
	hanging.Release()
	first := <-answer
	if first.err != nil {
		t.Fatal(first.err)
	}
	for _, duplicate := range duplicates {
		if again := <-duplicate; again.err != nil || again.order.ID != first.order.ID || !bytes.Equal(again.order.Signature, first.order.Signature) {
			t.Errorf("the duplicate was answered %+v", again)
		}
	}
	if n := k.Keystore.Signs("fw-one"); n != 1 {
		t.Errorf("the keystore was asked %d times", n)
	}
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderAccepted: 1, audit.OrderAttempted: 0, audit.OrderSigned: 1})
}

func TestADuplicateDoesNotWaitForEver(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Limits: keyserver.Limits{DuplicateWait: time.Millisecond}})
	o, order, hanging, answer := hangingOrder(k)
	_, err := k.Sign(o, order)
	u := testkit.Unavailable(t, "a duplicate", err, "running")
	hanging.Release()
	first := <-answer
	if first.err != nil || u.Order != first.order.ID {
		t.Errorf("the duplicate was told of order %s; the order is %+v", u.Order, first)
	}
	if again := k.MustSign(o, order); !bytes.Equal(again.Signature, first.order.Signature) {
		t.Error("the order has two signatures")
	}
}

func TestAnotherInputIsNotADuplicate(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev", "fw-one")
	ask.Keys[0].MaxUses, ask.Clients = 5, []law.SubjectID{"ci"}
	o := k.Approve(k.Create(ask), "alice")
	first := k.MustSign(o, testkit.OrderAsk("fw-dev", "1", "image"))

	_, err := k.Sign(o, testkit.OrderAsk("fw-dev", "1", "another image"))
	testkit.Refused(t, "the same key with another input", err, law.KeyReused)
	data := testkit.OrderAsk("fw-dev", "1", "image")
	data.Digest, data.Data, data.Scheme = nil, []byte("image"), law.ECDSA // the same input, said in another way
	if again, err := k.Sign(o, data); err != nil || again.ID != first.ID {
		t.Errorf("the same input was not recognised: %v", err)
	}
	// Idempotency keys are scoped to subject, operation and key.
	if other := k.MustSign(o, testkit.OrderAsk("fw-one", "1", "image")); other.ID == first.ID {
		t.Error("the order of another key was given")
	}
	other, err := k.Place("ci", o, testkit.OrderAsk("fw-dev", "1", "another image"))
	if err != nil || other.ID == first.ID || other.Use != 2 {
		t.Errorf("another subject's order is %+v (%v)", other, err)
	}
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderAccepted: 3, audit.OrderRefused: 1})
	refused := k.EventsOf(o.ID, audit.OrderRefused)[0]
	if refused.Refusal != law.KeyReused || refused.Order != first.ID || refused.IdempotencyKey != "1" || refused.Key != "fw-dev" {
		t.Errorf("the event is %+v", refused)
	}
}

func TestAStoredSignatureIsGivenAgainAfterTheEnd(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-dev", "fw-one")) // stays open when fw-dev is spent
	k.Approve(o, "alice")
	order := testkit.OrderAsk("fw-dev", "1", "image")
	first := k.MustSign(o, order)
	for what, change := range map[string]func(){
		"its role is gone": func() { k.Members("orderers", "oscar") },
		"revocation":       func() { _, _ = k.Keyserver.Revoke(k.Context(), k.Caller("ada"), o.ID, "over") },
	} {
		change()
		if again, err := k.Sign(o, order); err != nil || !bytes.Equal(again.Signature, first.Signature) {
			t.Errorf("after %s: %v", what, err)
		}
	}
	_, err := k.Sign(o, testkit.OrderAsk("fw-dev", "1", "another image"))
	testkit.Refused(t, "another input after the end", err, law.KeyReused)
	k.Enable("olga", false)
	_, err = k.Sign(o, order)
	testkit.Refused(t, "a subject that was disabled after it signed in", err, law.NotFound)
}

func TestAnAttemptWhoseLeaseHasRunOutIsSupersededAndItsResultNeverStored(t *testing.T) {
	for name, beat := range map[string]bool{"closed by the heartbeat": true, "found by the retry": false} {
		t.Run(name, func(t *testing.T) {
			k := testkit.New(t)
			o, order, hanging, answer := hangingOrder(k)
			k.Clock.Step(law.AttemptLease - time.Millisecond)
			k.Beat()
			expectCounts(k, o.ID, map[audit.Type]int{audit.OrderFailed: 0})
			k.Clock.Step(time.Millisecond)
			failed := 0
			if beat {
				k.Beat()
				k.Beat()
				failed = 1
			}
			expectCounts(k, o.ID, map[audit.Type]int{audit.OrderFailed: failed})
			k.Keystore.Hook(keystoretest.Hooks{})
			second := k.MustSign(o, order)
			if second.Attempt != 2 || second.Use != 1 {
				t.Errorf("the second attempt is number %d of use %d", second.Attempt, second.Use)
			}
			hanging.Release()
			u := testkit.Unavailable(t, "the attempt that was superseded", (<-answer).err, "running")
			if u.Order != second.ID {
				t.Errorf("it was told of order %s", u.Order)
			}
			if again := k.MustSign(o, order); !bytes.Equal(again.Signature, second.Signature) {
				t.Error("the result of the superseded attempt was stored")
			}
			if n := k.Keystore.Signs("fw-one"); n != 2 {
				t.Errorf("the keystore was asked %d times", n)
			}
			expectCounts(k, o.ID, map[audit.Type]int{audit.OrderAccepted: 1, audit.OrderAttempted: 1, audit.OrderSigned: 1, audit.OrderFailed: failed, audit.OrderRefused: 0})
		})
	}
}

func TestAServerThatStartsClosesTheAttemptsOfTheOneBefore(t *testing.T) {
	for name, again := range map[string]func(*testkit.Kit){"restart": (*testkit.Kit).Restart, "crash": (*testkit.Kit).Crash} {
		t.Run(name, func(t *testing.T) {
			k := testkit.New(t)
			o, order, hanging, answer := hangingOrder(k)
			k.CutOff(again)
			why := "the server stopped during the attempt"
			if k.DB.Shared() {
				why = "no result within the attempt's lease"
			}
			failed := k.EventsOf(o.ID, audit.OrderFailed)
			if len(failed) != 1 || failed[0].Attempt != 1 || failed[0].Reason != why || failed[0].Actor != nil {
				t.Errorf("the events are %+v", failed)
			}
			k.Keystore.Hook(keystoretest.Hooks{})
			if second := k.MustSign(o, order); second.Attempt != 2 || second.Use != 1 {
				t.Errorf("the order is %+v", second.Order)
			}
			hanging.Release()
			testkit.Unavailable(t, "the server that stopped", (<-answer).err, "database")
		})
	}
}

func TestAFailedAttemptKeepsItsUseAndIsRetriedUnderTheRules(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-one")
	ask.Clients = []law.SubjectID{"ci"}
	o := k.Approve(k.Create(ask), "alice")
	order := testkit.OrderAsk("fw-one", "1", "image")
	k.Keystore.Fail(errors.New("no power: vendor detail"))
	_, err := k.Place("ci", o, order)
	u := testkit.Unavailable(t, "an attempt that failed", err, "keystore")
	if u.Order == "" || bytes.Contains([]byte(u.Sentence), []byte("vendor detail")) {
		t.Errorf("the answer is %+v", u)
	}
	k.Keystore.Hook(keystoretest.Hooks{})
	_, err = k.Sign(o, testkit.OrderAsk("fw-one", "2", "image"))
	testkit.Refused(t, "another order", err, law.WrongState) // the use is not given back
	_, err = k.Place("ci", o, testkit.OrderAsk("fw-one", "1", "another image"))
	testkit.Refused(t, "a retry with another input", err, law.KeyReused)
	k.Enable("alice", false)
	_, err = k.Place("ci", o, order)
	testkit.Refused(t, "a retry while the operation has lapsed", err, law.WrongState)
	k.Enable("alice", true)
	done, err := k.Place("ci", o, order)
	if err != nil || done.ID != u.Order || done.Use != 1 || done.Attempt != 2 {
		t.Errorf("the retry gave %+v (%v)", done, err)
	}
	expectState(k, o, law.Exhausted)
	expectCounts(k, o.ID, map[audit.Type]int{
		audit.OrderAccepted: 1, audit.OrderFailed: 1, audit.OrderAttempted: 1, audit.OrderSigned: 1, audit.OrderRefused: 3,
	})
}

func TestAnAttemptIsBroughtToItsEndThoughItsClientGoesAway(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-dev"))
	order := testkit.OrderAsk("fw-dev", "1", "image")
	hanging := k.Keystore.Hang(t)
	client, leave := context.WithCancel(k.Context())
	answer := make(chan error, 1)
	go func() {
		_, err := k.Keyserver.PlaceSignOrder(client, k.Caller("olga"), o.ID, order)
		answer <- err
	}()
	if err := hanging.Wait(k.Context(), 1); err != nil {
		t.Fatal(err)
	}
	leave()
	hanging.Release()
	if err := <-answer; err != nil {
		t.Errorf("the attempt was cut off: %v", err)
	}
	if again := k.MustSign(o, order); again.Attempt != 1 || k.Keystore.Signs("fw-dev") != 1 {
		t.Errorf("after attempt %d the keystore was asked %d times", again.Attempt, k.Keystore.Signs("fw-dev"))
	}
}

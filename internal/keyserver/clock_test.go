package keyserver_test

import (
	"errors"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// TM-01
func TestTM01_AnOperationOfOneMillisecondExpires(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-one")
	ask.Validity = time.Millisecond
	o := k.Create(ask)
	expectState(k, o, law.Pending)
	k.Clock.Step(time.Millisecond)
	expectState(k, o, law.Expired)
	_, err := k.Keyserver.Approve(k.Context(), k.Caller("alice"), o.ID, o.Digest)
	testkit.Refused(t, "approving at the instant of expiry", err, law.WrongState)
	expectCounts(k, o.ID, map[audit.Type]int{audit.OperationExpired: 1, audit.OperationApproved: 0})
	if after := k.Look(o.ID); !after.Ending.At.Equal(o.Expires) || after.Ending.By != "" {
		t.Errorf("it ended %+v", after.Ending)
	}

	for _, validity := range []time.Duration{0, -time.Millisecond, time.Millisecond - 1, 3 * time.Millisecond / 2, testkit.Day + time.Millisecond, 1<<63 - 1} {
		ask.Validity = validity
		_, err := k.CreateAs(k.Caller("olga"), ask)
		testkit.Refused(t, validity.String(), err, law.Impossible)
	}
	if n := k.Count("", audit.OperationCreated); n != 1 {
		t.Errorf("%d operations were created", n)
	}
}

// TM-02
func TestTM02_AClockSetBackBringsNothingBack(t *testing.T) {
	k := testkit.New(t)
	o := k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	k.Clock.Step(testkit.Day)
	k.Beat()
	expectState(k, o, law.Expired)
	k.Clock.Set(-time.Hour)
	k.Restart()
	expectState(k, o, law.Expired)
	stepped := k.EventsOf("", audit.ClockStepped)
	now := k.Clock.Now().UnixMilli()
	if len(stepped) != 1 || stepped[0].Clock.New != now || stepped[0].Clock.Old != now+time.Hour.Milliseconds() {
		t.Errorf("the steps are %+v", stepped)
	}
	_, err := k.Sign(o, testkit.OrderAsk("fw-one", "1", "image"))
	testkit.Unavailable(t, "an order while the clock is held", err, "clock")
	k.Crash()
	expectState(k, o, law.Expired)
	expectCounts(k, o.ID, map[audit.Type]int{audit.OperationExpired: 1, audit.OrderAccepted: 0})
}

// TM-03
func TestTM03_AYearForwardAndBackMakesNothingValidLonger(t *testing.T) {
	const year = 365 * testkit.Day
	k := testkit.New(t)
	before := k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	k.Clock.Set(year)
	k.Beat()
	expectState(k, before, law.Expired)
	meanwhile := k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	k.Clock.Set(-year)
	k.Beat()
	for _, restart := range []func(){func() {}, k.Restart, k.Crash} {
		restart()
		expectState(k, before, law.Expired)
		_, err := k.Sign(meanwhile, testkit.OrderAsk("fw-one", "1", "image"))
		testkit.Unavailable(t, "an order while the clock is held", err, "clock")
	}
	if ended := k.AcceptClock(); ended != 1 {
		t.Errorf("%d operations ended with the acceptance of the clock", ended)
	}
	for _, o := range []keyserver.Operation{before, meanwhile} {
		expectState(k, o, law.Expired)
		_, err := k.Sign(o, testkit.OrderAsk("fw-one", "1", "image"))
		testkit.Refused(t, "an order", err, law.WrongState)
	}
	if n := len(k.Keystore.Calls()); n != 0 {
		t.Errorf("the keystore was asked %d times", n)
	}
}

func TestWhileTheClockIsHeldOnlyTheSafeDirectionWorks(t *testing.T) {
	k := testkit.New(t)
	approved := k.Approve(k.Create(testkit.Ask("fw-one", "fw-dev")), "alice")
	done := k.MustSign(approved, testkit.OrderAsk("fw-dev", "1", "image"))
	pending, toReject, toRevoke := k.Create(testkit.Ask("fw-one")), k.Create(testkit.Ask("fw-one")), k.Create(testkit.Ask("fw-one"))
	toWithdraw := k.Approve(k.Create(testkit.Ask("fw-prod")), "bob")

	k.Clock.Set(-law.ClockSlack) // which is not yet too far
	k.MustSign(k.Create(testkit.Ask("fw-dev")), testkit.OrderAsk("fw-dev", "1", "image"))
	k.Clock.Set(-time.Millisecond)
	size := k.LogSize()
	_, err := k.CreateAs(k.Caller("olga"), testkit.Ask("fw-dev"))
	testkit.Unavailable(t, "creating", err, "clock")
	_, err = k.Keyserver.Approve(k.Context(), k.Caller("alice"), pending.ID, pending.Digest)
	testkit.Unavailable(t, "approving", err, "clock")
	_, err = k.Sign(approved, testkit.OrderAsk("fw-one", "1", "image"))
	testkit.Unavailable(t, "signing", err, "clock")
	if n := k.LogSize() - size; n != 0 {
		t.Errorf("that the clock is held left %d events", n)
	}
	again, err := k.Sign(approved, testkit.OrderAsk("fw-dev", "1", "image"))
	if err != nil || again.ID != done.ID {
		t.Errorf("a stored signature is not to be had: %v", err)
	}

	_, err = k.Keyserver.Withdraw(k.Context(), k.Caller("bob"), toWithdraw.ID)
	_, err2 := k.Keyserver.Reject(k.Context(), k.Caller("dave"), toReject.ID, "no")
	_, err3 := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), toRevoke.ID, "no")
	if err := errors.Join(err, err2, err3); err != nil {
		t.Error(err)
	}
	for _, check := range k.Keyserver.Ready(k.Context()) {
		if (check.Err != nil) != (check.Name == "clock") {
			t.Errorf("%s is %v", check.Name, check.Err)
		}
	}
}

func TestAcceptingTheClockExpiresEveryOpenOperation(t *testing.T) {
	k := testkit.New(t)
	pending, approved := k.Create(testkit.Ask("fw-one")), k.Create(testkit.Ask("fw-dev"))
	ended := k.Create(testkit.Ask("fw-one"))
	if _, err := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), ended.ID, "no"); err != nil {
		t.Fatal(err)
	}
	k.Clock.Set(-time.Hour)
	old := k.Clock.Now().Add(time.Hour).UnixMilli()
	if n := k.AcceptClock(); n != 2 {
		t.Errorf("%d operations ended", n)
	}
	expectState(k, pending, law.Expired)
	expectState(k, approved, law.Expired)
	expectState(k, ended, law.Revoked)
	accepted := k.EventsOf("", audit.ClockAccepted)
	if len(accepted) != 1 || accepted[0].Count != 2 || accepted[0].Clock.Old != old || accepted[0].Clock.New != k.Clock.Now().UnixMilli() {
		t.Errorf("the events are %+v", accepted)
	}
	if o := k.Create(testkit.Ask("fw-dev")); !o.Created.Equal(k.Clock.Now()) {
		t.Errorf("an operation created now was created at %v", o.Created)
	}
	k.Restart()
	expectState(k, approved, law.Expired)
}

func TestAcceptingTheClockClosesAttemptsCountedByTheOldOne(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-dev"))
	hanging := k.Keystore.Hang(t)
	answer := inBackground(k, o, testkit.OrderAsk("fw-dev", "1", "image"))
	if err := hanging.Wait(k.Context(), 1); err != nil {
		t.Fatal(err)
	}
	k.Clock.Set(-time.Hour)
	k.AcceptClock()
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderFailed: 1, audit.OperationExpired: 1})
	_, err := k.Sign(o, testkit.OrderAsk("fw-dev", "1", "image"))
	testkit.Refused(t, "another attempt", err, law.WrongState)
	hanging.Release()
	testkit.Unavailable(t, "the attempt that was closed", (<-answer).err, "running")
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderSigned: 0})
}

func TestStepsOfTheClockAreAuditedOnce(t *testing.T) {
	k := testkit.New(t)
	steps := func() []time.Duration {
		var all []time.Duration
		for _, e := range k.EventsOf("", audit.ClockStepped) {
			all = append(all, time.Duration(e.Clock.New-e.Clock.Old)*time.Millisecond)
		}
		return all
	}
	expect := func(what string, want ...time.Duration) {
		t.Helper()
		k.Beat()
		k.Beat()
		got := steps()
		if len(got) != len(want) {
			t.Fatalf("after %s the steps are %v, want %v", what, got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("after %s the steps are %v, want %v", what, got, want)
			}
		}
	}
	expect("nothing")
	k.Clock.Step(time.Hour)
	expect("an hour")
	k.Clock.Set(time.Second - time.Millisecond)
	expect("less than a second")
	k.Clock.Set(time.Minute)
	expect("a minute forward", time.Minute)
	k.Clock.Set(-time.Minute)
	expect("a minute back", time.Minute, -time.Minute)
	k.Clock.Step(time.Hour)
	expect("an hour more", time.Minute, -time.Minute)
	k.Clock.Set(-2 * time.Second)
	expect("2 s back", time.Minute, -time.Minute, -2*time.Second)
	k.Clock.Set(-time.Second)
	expect("another second back", time.Minute, -time.Minute, -2*time.Second, -time.Second)
	k.Clock.Step(2 * time.Hour)
	k.Clock.Set(-time.Hour) // to where it was not yet when the mark was stored
	expect("an hour back of two", time.Minute, -time.Minute, -2*time.Second, -time.Second, -time.Hour)
}

func TestAClockStepThatCouldNotBeStoredIsStoredByTheNextBeat(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			var fault commitFault
			k := testkit.NewWith(t, testkit.Options{Commit: fault.commit})
			k.Clock.Set(step)
			fault.next(didNotHappen)
			if err := k.Keyserver.Beat(k.Context()); err == nil {
				t.Error("the beat says nothing of the failed commit")
			}
			k.Beat()
			k.Beat()
			if steps := k.EventsOf("", audit.ClockStepped); len(steps) != 1 || steps[0].Clock.New-steps[0].Clock.Old != step.Milliseconds() {
				t.Errorf("the steps are %+v", steps)
			}
		})
	}
}

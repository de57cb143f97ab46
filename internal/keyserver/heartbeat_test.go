package keyserver_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func TestTheHeartbeatRecordsExpiriesThatNobodyMet(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Limits: keyserver.Limits{PendingOperations: 1000}})
	const n = 150 // more than are settled in one transaction
	operations := make([]keyserver.Operation, n)
	testkit.Race(n, func(i int) { operations[i] = k.Create(testkit.Ask([]law.KeyID{"fw-one", "fw-dev"}[i%2])) })
	later := testkit.Ask("fw-one")
	later.Validity = testkit.Day / 2
	k.Clock.Step(testkit.Day - time.Millisecond)
	longer := k.Create(later)
	k.Beat()
	if got := k.Count("", audit.OperationExpired); got != 0 {
		t.Errorf("%d operations expired a millisecond early", got)
	}
	k.Clock.Step(time.Millisecond)
	k.Beat()
	k.Beat()
	if got := k.Count("", audit.OperationExpired); got != n {
		t.Errorf("%d of %d expiries are recorded", got, n)
	}
	e := k.EventsOf(operations[0].ID, audit.OperationExpired)[0]
	if e.Actor != nil || e.Reason == "" || e.Time != operations[0].Expires.UnixMilli() || e.Digest != operations[0].Digest {
		t.Errorf("the event is %+v", e)
	}
	expectState(k, longer, law.Pending)
}

func TestTheHeartbeatClosesAttemptsThatWereCutOff(t *testing.T) {
	k := testkit.New(t)
	o, _, hanging, answer := hangingOrder(k)
	k.Clock.Step(law.AttemptLease)
	k.Beat()
	failed := k.EventsOf(o.ID, audit.OrderFailed)
	if len(failed) != 1 || failed[0].Reason == "" || failed[0].Actor != nil || failed[0].Attempt != 1 {
		t.Errorf("the events are %+v", failed)
	}
	expectState(k, o, law.Approved) // the use stays taken
	if usage := k.Look(o.ID).Usage["fw-one"]; usage != (law.Usage{Taken: 1}) {
		t.Errorf("the usage is %+v", usage)
	}
	hanging.Release()
	testkit.Unavailable(t, "the attempt that was cut off", (<-answer).err, "running")
}

func TestTheHeartbeatStoresHowFarTheTimeWas(t *testing.T) {
	k := testkit.New(t)
	k.Clock.Step(time.Minute)
	size := k.LogSize()
	k.Beat()
	if n := k.LogSize() - size; n != 0 {
		t.Errorf("a quiet beat left %d events", n)
	}
	at := k.Clock.Now()
	k.Clock.Set(-5 * time.Second)
	for _, restart := range []func(){func() {}, k.Restart, k.Crash} {
		restart()
		if o := k.Create(testkit.Ask("fw-dev")); !o.Created.Equal(at) {
			t.Errorf("the time went back to %v", o.Created)
		}
	}
}

func TestRefusedSignInsAreCountedByAddressAndMinute(t *testing.T) {
	var fault commitFault
	k := testkit.NewWith(t, testkit.Options{Commit: fault.commit})
	signIns := func() []string {
		var all []string
		for _, e := range k.EventsOf("", audit.SignInRefused) {
			all = append(all, fmt.Sprintf("%s %d %s", e.Actor.Address, e.Count, e.Reason))
		}
		return all
	}
	for range 3 {
		k.Keyserver.SignInRefused("192.0.2.2", "expired")
	}
	k.Keyserver.SignInRefused("192.0.2.1", "expired")
	k.Keyserver.SignInRefused("192.0.2.1", "signature")
	k.Beat()
	if got := signIns(); got != nil {
		t.Errorf("in the same minute there are the events %v", got)
	}
	k.Clock.Step(time.Minute)
	fault.set(didNotHappen, true)
	if err := k.Keyserver.Beat(k.Context()); err == nil {
		t.Error("the beat says nothing of the failed commit")
	}
	fault.set(noFault, false)
	k.Keyserver.SignInRefused("192.0.2.2", "expired") // joins those that could not be stored
	k.Beat()
	k.Beat()
	want := []string{"192.0.2.1 2 signature", "192.0.2.2 4 expired"}
	if got := signIns(); !slices.Equal(got, want) {
		t.Errorf("the events are %v, want %v", got, want)
	}

	k.Keyserver.SignInRefused("192.0.2.3", "issuer")
	stopping, stop := context.WithCancel(k.Context())
	stop()
	k.Keyserver.Run(stopping) // stores what is left
	if got := signIns(); !slices.Equal(got, append(want, "192.0.2.3 1 issuer")) {
		t.Errorf("at the end the events are %v", got)
	}
}

func TestRefusedSignInsOfManyAddressesAreCountedTogether(t *testing.T) {
	k := testkit.New(t)
	const addresses = 1500
	testkit.Race(addresses, func(i int) { k.Keyserver.SignInRefused(fmt.Sprintf("2001:db8::%x", i), "no-token") })
	k.Clock.Step(time.Minute)
	k.Beat()
	events := k.EventsOf("", audit.SignInRefused)
	total, others := 0, 0
	for _, e := range events {
		total += e.Count
		if e.Actor.Address == "others" {
			others = e.Count
		}
	}
	if len(events) > 1001 || total != addresses || others != addresses-1000 {
		t.Errorf("%d events tell of %d refusals, %d of them by others", len(events), total, others)
	}
}

func TestTheServerSaysThatItStarted(t *testing.T) {
	k := testkit.New(t)
	k.Restart()
	started := k.EventsOf("", audit.ServerStarted)
	if len(started) != 2 || started[1].Server != k.ServerID || started[1].Software != "testkit" {
		t.Errorf("the events are %+v", started)
	}
}

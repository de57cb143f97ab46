package keyserver_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// waiting waits for olga in the background.
func waiting(k *testkit.Kit, o keyserver.Operation) <-chan keyserver.Operation {
	answer := make(chan keyserver.Operation, 1)
	go func() {
		after, err := k.Keyserver.WaitOperation(k.Context(), k.Caller("olga"), o.ID, o.Revision, time.Hour)
		if err != nil {
			k.Error(err)
		}
		answer <- after
	}()
	return answer
}

func TestWaitingEndsWithWhateverChangesTheOperation(t *testing.T) {
	k := testkit.New(t)
	for what, c := range map[string]struct {
		change func(keyserver.Operation)
		want   law.State
	}{
		"an approval":   {func(o keyserver.Operation) { k.Approve(o, "alice") }, law.Approved},
		"a rejection":   {func(o keyserver.Operation) { _, _ = k.Keyserver.Reject(k.Context(), k.Caller("dave"), o.ID, "no") }, law.Rejected},
		"a revocation":  {func(o keyserver.Operation) { _, _ = k.Keyserver.Revoke(k.Context(), k.Caller("ada"), o.ID, "no") }, law.Revoked},
		"configuration": {func(keyserver.Operation) { k.ReplaceKeyPair("fw-one") }, law.Revoked},
		"the heartbeat": {func(keyserver.Operation) { k.Clock.Step(testkit.Day); k.Beat() }, law.Expired},
	} {
		o := k.Create(testkit.Ask("fw-one"))
		answers := []<-chan keyserver.Operation{waiting(k, o), waiting(k, o)}
		c.change(o)
		for _, answer := range answers {
			if after := <-answer; after.State != c.want || after.Revision <= o.Revision {
				t.Errorf("%s: waited for %s, revision %d", what, after.State, after.Revision)
			}
		}
		if after := <-waiting(k, o); after.State != c.want { // it has changed already
			t.Errorf("%s: waited late for %s", what, after.State)
		}
	}
}

func TestWaitingEndsWithItsTime(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-one"))
	after, err := k.Keyserver.WaitOperation(k.Context(), k.Caller("olga"), o.ID, o.Revision, time.Millisecond)
	if err != nil || after.Revision != o.Revision || after.State != law.Pending {
		t.Errorf("waited for %+v (%v)", after, err)
	}
	gone, cancel := context.WithCancel(k.Context())
	cancel()
	if _, err := k.Keyserver.WaitOperation(gone, k.Caller("olga"), o.ID, o.Revision, time.Hour); err == nil {
		t.Error("somebody who went away was answered")
	}
}

func TestWaitingAndSigningLeaveNothingBehind(t *testing.T) {
	k := testkit.New(t)
	o := k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	k.MustSign(k.Create(testkit.Ask("fw-dev")), testkit.OrderAsk("fw-dev", "1", "image")) // whatever is kept open is open now
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(k.Context())
	testkit.Race(20, func(i int) {
		if i == 19 {
			cancel()
			return
		}
		_, err := k.Keyserver.WaitOperation(ctx, k.Caller("olga"), o.ID, o.Revision, time.Hour)
		if u, is := errors.AsType[*keyserver.Unavailable](err); !errors.Is(err, context.Canceled) && !is {
			t.Errorf("waiting ended with %v, %v", u, err)
		}
	})
	testkit.Race(20, func(int) { k.MustSign(o, testkit.OrderAsk("fw-one", "1", "image")) })
	goleak.VerifyNone(t, before)
}

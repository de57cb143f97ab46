package keyserver_test

import (
	"slices"
	"testing"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func wantQueue(k *testkit.Kit, who law.SubjectID, want ...keyserver.Operation) {
	k.Helper()
	all, more, err := k.Keyserver.Queue(k.Context(), k.Caller(who))
	var got, ids []law.OperationID
	for _, o := range all {
		got = append(got, o.ID)
	}
	for _, o := range want {
		ids = append(ids, o.ID)
	}
	if err != nil || more || !slices.Equal(got, ids) {
		k.Errorf("for %s wait %v, want %v (%v, %v)", who, got, ids, more, err)
	}
}

func TestTheQueueHoldsWhatWaitsForTheCallerTheMostUrgentFirst(t *testing.T) {
	k := testkit.New(t)
	valid := func(d time.Duration, keys ...law.KeyID) keyserver.Operation {
		ask := testkit.Ask(keys...)
		ask.Validity = d
		return k.Create(ask)
	}
	late, soon, prod := valid(3*time.Hour, "fw-one"), valid(time.Hour, "fw-one", "fw-prod"), valid(2*time.Hour, "fw-prod")
	valid(2*time.Hour, "fw-dev") // approved at once
	over := valid(time.Second, "fw-one")
	wantQueue(k, "alice", over, soon, prod, late)
	k.Clock.Step(time.Second)
	wantQueue(k, "alice", soon, prod, late)
	wantQueue(k, "dave", soon, late)
	wantQueue(k, "carol", soon, prod)
	for _, who := range []law.SubjectID{"olga", "ada", "audrey", "eve", "nobody"} {
		wantQueue(k, who)
	}
	k.Approve(late, "dave")
	wantQueue(k, "alice", soon, prod)
	k.Enable("dave", false) // it has lapsed
	wantQueue(k, "alice", soon, prod, late)
	wantQueue(k, "dave")
}

func TestALongQueueSaysThatThereIsMore(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Limits: keyserver.Limits{PendingOperations: 1 << 20}})
	const racing = 50
	testkit.Race(racing, func(int) {
		for range keyserver.MaxQueue / racing {
			k.Create(testkit.Ask("fw-one"))
		}
	})
	queue := func(want int, wantMore bool) []keyserver.Operation {
		t.Helper()
		all, more, err := k.Keyserver.Queue(k.Context(), k.Caller("dave"))
		if err != nil || len(all) != want || more != wantMore {
			t.Fatalf("%d wait, and more: %v (%v)", len(all), more, err)
		}
		return all
	}
	queue(keyserver.MaxQueue, false)
	urgent := testkit.Ask("fw-one")
	urgent.Validity = time.Hour
	first := k.Create(urgent)
	if all := queue(keyserver.MaxQueue, true); all[0].ID != first.ID || len(slices.CompactFunc(all, func(a, b keyserver.Operation) bool { return a.ID == b.ID })) != len(all) {
		t.Error("the most urgent one is not the first, or one is there twice")
	}
}

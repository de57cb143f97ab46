package keyserver_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func TestUsesOfAKeyAreCountedByTheDayForThoseWhoSeeIt(t *testing.T) {
	k := testkit.New(t)
	start := k.Clock.Now() // noon
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = 9
	for _, n := range []int{2, 0, 3} {
		o := k.Create(ask)
		for i := range n {
			k.MustSign(o, testkit.OrderAsk("fw-dev", fmt.Sprint(i), "image"))
		}
		k.Clock.Step(testkit.Day - time.Millisecond)
	}
	k.Clock.Step(-k.Clock.Now().Sub(start.Add(84*time.Hour - time.Millisecond))) // just before midnight
	k.MustSign(k.Create(ask), testkit.OrderAsk("fw-dev", "late", "image"))
	k.Clock.Step(time.Millisecond)
	k.MustSign(k.Create(ask), testkit.OrderAsk("fw-dev", "early", "image"))
	want := func(from time.Time, days int, want ...int) {
		t.Helper()
		for _, who := range []law.SubjectID{"olga", "ci", "alice", "audrey"} {
			want := want
			if who == "ci" { // which sees none of olga's operations
				want = make([]int, days)
			}
			if got, err := k.Keyserver.Uses(k.Context(), k.Caller(who), "fw-dev", from, days); err != nil || !slices.Equal(got.Days, want) || !got.Since.IsZero() {
				t.Errorf("from %v %s counts %v, want %v (%v)", from, who, got, want, err)
			}
		}
	}
	want(start, 5, 2, 0, 3, 1, 1)
	want(start.Add(11*time.Hour), 3, 2, 0, 3)
	want(start.Add(-testkit.Day), 2, 0, 2)
	size := k.LogSize()
	for _, who := range []law.SubjectID{"carol", "eve"} {
		_, err := k.Keyserver.Uses(k.Context(), k.Caller(who), "fw-dev", start, 5)
		testkit.Refused(t, string(who)+" counts uses", err, law.NotFound)
	}
	_, err := k.Keyserver.Uses(k.Context(), k.Caller("olga"), "none", start, 5)
	testkit.Refused(t, "uses of what is not there", err, law.NotFound)
	if n := k.LogSize() - size; n != 2 {
		t.Errorf("what is hidden left %d events", n)
	}
	for _, days := range []int{-1, 0, keyserver.MaxUseDays + 1} {
		if _, err := k.Keyserver.Uses(k.Context(), k.Caller("olga"), "fw-dev", start, days); err == nil {
			t.Errorf("uses of %d days are counted", days)
		}
	}
	byKey := func(who law.SubjectID, from time.Time, want map[law.KeyID]int) {
		t.Helper()
		if got, all, err := k.Keyserver.UsesByKey(k.Context(), k.Caller(who), from); err != nil || !all || !maps.Equal(got, want) {
			t.Errorf("%s counts %v, want %v (%v)", who, got, want, err)
		}
	}
	olga := map[law.KeyID]int{"ca-dev": 0, "fw-ed": 0, "fw-one": 0, "fw-prod": 0}
	for from, n := range map[time.Time]int{start: 7, start.Add(1): 7 /* to the millisecond */, start.Add(time.Millisecond): 5} {
		olga["fw-dev"] = n
		byKey("olga", from, olga)
	}
	byKey("ci", start, map[law.KeyID]int{"fw-dev": 0, "fw-one": 0, "fw-prod": 0})
	byKey("carol", start, map[law.KeyID]int{"fw-prod": 0})
	byKey("eve", start, nil)
	if _, _, err := k.Keyserver.UsesByKey(k.Context(), k.Caller("ci"), start.Add(-(keyserver.MaxUseDays+1)*testkit.Day)); err == nil {
		t.Error("uses of ever are counted")
	}
}

func TestUsesAreCountedAsFarAsTheyCanBeLookedThrough(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = 9
	ask.Clients = []law.SubjectID{"ci"}
	shared := k.Create(ask)
	ask.Clients = nil
	hidden := k.Create(ask)
	start := k.Clock.Now()
	for i := range 4 {
		k.Clock.Step(time.Second)
		k.MustSign(shared, testkit.OrderAsk("fw-dev", fmt.Sprint(i), "image"))
		k.MustSign(hidden, testkit.OrderAsk("fw-dev", fmt.Sprint(i), "image"))
	}
	for limit, want := range map[int]struct{ seen, since int }{8: {4, 0}, 7: {3, 2}, 6: {2, 3}, 2: {0, 5}, 1: {0, 5}} {
		seen, since, err := k.Keyserver.SeenUses(k.Context(), "ci", "fw-dev", start, limit)
		if since.IsZero() != (want.since == 0) || seen != want.seen || err != nil {
			t.Errorf("of %d uses %d are seen since %v, want %+v (%v)", limit, seen, since, want, err)
		}
	}
}

func TestRecentSignOrdersAreThoseOfOperationsThatOneSees(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev")
	ask.Clients, ask.Keys[0].MaxUses = []law.SubjectID{"ci"}, 9
	shared, own := k.Create(ask), k.Create(testkit.Ask("fw-dev"))
	one, two := k.MustSign(shared, testkit.OrderAsk("fw-dev", "1", "image")), k.MustSign(own, testkit.OrderAsk("fw-dev", "1", "image"))
	three, err := k.Place("ci", shared, testkit.OrderAsk("fw-dev", "1", "image"))
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[law.SubjectID][]law.OrderID{
		"olga": {three.ID, two.ID, one.ID}, "ci": {three.ID, one.ID}, "alice": {three.ID, two.ID, one.ID}, "carol": nil, "eve": nil,
	} {
		got, err := k.Keyserver.RecentSignOrders(k.Context(), k.Caller(who), 10)
		var ids []law.OrderID
		for _, order := range got {
			ids = append(ids, order.ID)
			if (order.Signature != nil) != (order.Requester == who) || order.Of == 0 {
				t.Errorf("%s sees %+v", who, order)
			}
		}
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("%s sees %v, want %v (%v)", who, ids, want, err)
		}
	}
	if got, err := k.Keyserver.RecentSignOrders(k.Context(), k.Caller("olga"), 1); err != nil || len(got) != 1 || got[0].ID != three.ID {
		t.Errorf("the newest one is %+v (%v)", got, err)
	}
	for _, limit := range []int{0, keyserver.MaxPage + 1} {
		_, err := k.Keyserver.RecentSignOrders(k.Context(), k.Caller("olga"), limit)
		if _, is := errors.AsType[*keyserver.Malformed](err); !is {
			t.Errorf("%d are listed (%v)", limit, err)
		}
	}
}

func TestCertificatesThatEndSoonAreListedTheEarliestFirst(t *testing.T) {
	k := hierarchy(t)
	k.Certify("root")
	k.Certify("fw-one")
	k.Clock.Step(time.Hour)
	dev := k.Certify("fw-dev")
	k.Clock.Step(time.Hour)
	one := k.Certify("fw-one") // the one before is not current any more
	want := func(who law.SubjectID, before time.Time, want ...keyserver.Certificate) {
		t.Helper()
		got, err := k.Keyserver.ExpiringCertificates(k.Context(), k.Caller(who), before)
		same := func(a, b keyserver.Certificate) bool { return a.ID == b.ID && len(a.Path) == 2 }
		if err != nil || !slices.EqualFunc(got, want, same) {
			t.Errorf("%s sees %d certificates that end before %v, want %d (%v)", who, len(got), before, len(want), err)
		}
	}
	want("audrey", one.NotAfter.Add(time.Second), dev, one)
	want("audrey", one.NotAfter, dev)
	want("audrey", dev.NotAfter)
	want("dave", one.NotAfter.Add(time.Second), one)
	want("eve", one.NotAfter.Add(time.Second))
}

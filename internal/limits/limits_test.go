package limits

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestLimiterForgetsTheOldestFirst(t *testing.T) {
	l, now := NewLimiter(Rate{PerSecond: 1, Burst: 1}), time.Unix(0, 0)
	for i := range maxBuckets + 10 {
		if wait := l.Take(fmt.Sprint(i), now); wait != 0 {
			t.Fatalf("%d waits %v at the first request", i, wait)
		}
	}
	if len(l.buckets) != maxBuckets || l.recent.Len() != maxBuckets {
		t.Errorf("%d buckets are kept", len(l.buckets))
	}
	if wait := l.Take(fmt.Sprint(maxBuckets+9), now); wait != time.Second {
		t.Errorf("the latest waits %v", wait)
	}
	if wait := l.Take(fmt.Sprint(maxBuckets+9), now.Add(time.Second)); wait != 0 {
		t.Errorf("a second later it waits %v", wait)
	}
}

func TestCrowdBoundsEachSubjectAndHowManyAreServed(t *testing.T) {
	c, gone := NewCrowd(2, 1), func() context.Context { ctx, cancel := context.WithCancel(t.Context()); cancel(); return ctx }()
	if got := []bool{c.Join("olga"), c.Join("olga"), c.Join("olga"), c.Join("alice")}; !slices.Equal(got, []bool{true, true, false, true}) {
		t.Errorf("three of olga and one of alice were let in: %v", got)
	}
	if c.Quit("olga"); !c.Join("olga") {
		t.Error("there is no place for one who comes when another has gone")
	}
	if !c.Enter(t.Context()) || c.Enter(gone) {
		t.Error("not one was served")
	}
	if c.Leave(); !c.Enter(t.Context()) {
		t.Error("there is no room when another has left")
	}
	c.Quit("olga")
	c.Quit("olga")
	if c.Quit("alice"); len(c.present) != 0 {
		t.Errorf("who has gone is remembered: %v", c.present)
	}
	if all := NewCrowd(1, 0); !all.Enter(gone) {
		t.Error("somebody waits where there is room for all")
	}
}

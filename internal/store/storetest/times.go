package storetest

import (
	"errors"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// now is the time and whether the clock is held, as a view and as an update see it.
func (f *fixture) expectNow(want time.Time, held bool) {
	f.Helper()
	check := func(who string, r *store.Reader) {
		if !r.Now().Equal(want) || r.Facts().ClockHeld != held {
			f.Errorf("for %s it is %v, held %v; want %v, held %v", who, r.Now(), r.Facts().ClockHeld, want, held)
		}
		if clock, behind := r.Clock(); !clock.Equal(f.clock.Now()) || !clock.Add(behind).Equal(want) {
			f.Errorf("for %s the clock is %v, %v behind", who, clock, behind)
		}
	}
	f.view(func(r *store.Reader) error { check("a view", r); return nil })
	f.update(func(tx *store.Tx) error { check("an update", &tx.Reader); return nil })
}

var times = map[string]func(*fixture){
	"TheTimeIsNeverBeforeTheLastEvent": func(f *fixture) {
		f.clock.Step(hour)
		f.update(saying("an hour later"))
		mark := f.clock.Now()
		f.expectNow(mark, false)
		f.clock.Step(-time.Millisecond)
		f.expectNow(mark, false)
		f.update(saying("again"))
		events := Events(f, f.db)
		if last := events[len(events)-1]; last.Time != mark.UnixMilli() {
			f.Errorf("the time of the event is %d, want %d", last.Time, mark.UnixMilli())
		}
		f.clock.Step(2 * time.Millisecond)
		f.expectNow(mark.Add(time.Millisecond), false)
	},

	"AClockMoreThanTenSecondsBehindIsHeld": func(f *fixture) {
		mark := f.clock.Now()
		f.clock.Step(-10 * time.Second)
		f.expectNow(mark, false)
		f.clock.Step(-time.Millisecond)
		f.expectNow(mark, true)
		err := f.try(func(tx *store.Tx) error { return Create(tx, "one", 1, "fw") })
		var refusal *law.Refusal
		if !errors.As(err, &refusal) || refusal.Kind != law.Held {
			f.Errorf("the error is %v", err)
		}
		f.clock.Step(time.Millisecond)
		f.expectNow(mark, false)
	},

	"TheMarkSurvivesAReopeningWithTheClockSetBack": func(f *fixture) {
		f.clock.Step(hour)
		f.update(func(tx *store.Tx) error { tx.Mark(); return nil })
		mark := f.clock.Now()
		f.clock.Step(-5 * time.Second)
		f.reopen()
		f.expectNow(mark, false)
		f.clock.Step(-hour)
		f.reopen()
		f.expectNow(mark, true)
	},

	"TheMarkNeedsNoEventAndNeverGoesBack": func(f *fixture) {
		size := f.db.Head().Size()
		f.clock.Step(hour)
		mark := f.clock.Now()
		f.update(func(tx *store.Tx) error {
			tx.Mark()
			if _, behind := tx.Clock(); behind != 0 {
				f.Errorf("behind by %v", behind)
			}
			return nil
		})
		f.clock.Step(-time.Second)
		f.update(func(tx *store.Tx) error { tx.Mark(); return nil })
		f.expectNow(mark, false)
		if f.db.Head().Size() != size {
			f.Error("there is an event")
		}
	},

	"AMarkIsRolledBackWithItsClosure": func(f *fixture) {
		mark := f.clock.Now()
		f.clock.Step(hour)
		_ = f.try(func(tx *store.Tx) error { tx.Mark(); return errOwn })
		_ = f.try(func(tx *store.Tx) error { return errors.Join(say(tx, "failed"), errOwn) })
		f.clock.Step(-hour)
		f.expectNow(mark, false)
	},

	"EveryClosureHasItsOwnTime": func(f *fixture) {
		var at []time.Time
		look := func(step time.Duration) func(*store.Tx) error {
			return func(tx *store.Tx) error {
				at = append(at, tx.Now())
				err := say(tx, "now")
				f.clock.Step(step)
				return err
			}
		}
		start := f.clock.Now()
		f.must(errors.Join(f.batch(look(time.Second), look(-3*time.Second), look(0))...))
		for i, want := range []time.Duration{0, time.Second, time.Second} {
			if !at[i].Equal(start.Add(want)) {
				f.Errorf("the time of closure %d is %v after the start, want %v", i, at[i].Sub(start), want)
			}
		}
	},

	"AClockThatWasAcceptedIsTheTime": func(f *fixture) {
		mark := f.clock.Now()
		f.clock.Step(-hour)
		f.expectNow(mark, true)
		accept := func(tx *store.Tx) error {
			err := tx.AcceptClock(audit.Event{Type: audit.ClockAccepted, Clock: &audit.ClockStep{Old: mark.UnixMilli(), New: f.clock.Now().UnixMilli()}})
			if tx.Facts().ClockHeld || !tx.Now().Equal(f.clock.Now()) {
				f.Errorf("in the closure it is %v, held %v", tx.Now(), tx.Facts().ClockHeld)
			}
			return err
		}
		_ = f.try(func(tx *store.Tx) error { return errors.Join(accept(tx), errOwn) })
		f.expectNow(mark, true)
		f.must(errors.Join(f.batch(accept, func(tx *store.Tx) error { return Create(tx, "one", 1, "fw") })...))
		f.expectNow(f.clock.Now(), false)
		events := Events(f, f.db)
		if e := events[len(events)-3]; e.Type != audit.ClockAccepted || e.Time != f.clock.Now().UnixMilli() {
			f.Errorf("the event is %v", e)
		}
		f.reopen()
		f.expectNow(f.clock.Now(), false)
	},
}

package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

var errCommit = errors.New("the commit's answer, by the test")

func failed(func() error) error { return errCommit }

func lost(commit func() error) error { return errors.Join(commit(), errCommit) }

var commits = map[string]func(*fixture){
	"NothingIsReturnedBeforeItIsDurable": func(f *fixture) {
		var returned atomic.Bool
		before := f.db.Head()
		f.onCommit(func(commit func() error) error {
			if returned.Load() {
				f.Error("the update has returned before the commit")
			}
			if f.db.Head() != before {
				f.Error("the head has moved before the commit")
			}
			f.view(func(r *store.Reader) error {
				if r.LogSize() != before.Size() {
					f.Error("others see what is not committed")
				}
				return nil
			})
			return commit()
		})
		f.update(saying("durable"))
		returned.Store(true)
		f.commit.Store(nil)
		f.expectSaid("durable")
	},

	"ACommitThatFailsFailsTheWholeBatch": func(f *fixture) {
		f.update(saying("before"))
		head, facts := f.db.Head(), f.facts()
		f.onCommit(failed)
		errs := f.batch(
			saying("a"),
			func(tx *store.Tx) error { return Create(tx, "one", 1, "fw-two") },
			func(tx *store.Tx) error { return Configure(tx, without("anna")) },
			func(tx *store.Tx) error { return errors.Join(say(tx, "refused"), &law.Refusal{Reason: "not now"}) },
		)
		for _, err := range errs {
			f.expectUnavailable(err)
			if !errors.Is(err, errCommit) {
				f.Errorf("the error is %v", err)
			}
		}
		f.commit.Store(nil)
		if f.db.Head() != head {
			f.Error("the head has moved")
		}
		f.expectSaid("before")
		f.expectFacts(facts)
		f.update(saying("after"))
		f.expectSaid("before", "after")
		f.view(func(r *store.Reader) error {
			if _, known, err := r.Operation("one"); known || err != nil {
				f.Errorf("the operation is stored: %v, %v", known, err)
			}
			return nil
		})
		f.reopen()
		f.expectSaid("before", "after")
		f.expectFacts(facts)
	},

	"ACommitWhoseAnswerIsLostIsLookedUpAndNotRunAgain": func(f *fixture) {
		f.onCommit(lost)
		runs := 0
		refusal := &law.Refusal{Reason: "not now"}
		errs := f.batch(
			func(tx *store.Tx) error { runs++; return say(tx, "a") },
			func(*store.Tx) error { return errOwn },
			func(tx *store.Tx) error { return errors.Join(say(tx, "b"), refusal) },
			func(tx *store.Tx) error { return Configure(tx, without("anna")) },
		)
		f.commit.Store(nil)
		if errs[0] != nil || !errors.Is(errs[1], errOwn) || !errors.Is(errs[2], refusal) || errs[3] != nil || runs != 1 {
			f.Errorf("the errors are %v; run %d times", errs, runs)
		}
		f.expectSaid("a", "b")
		if s, _ := f.facts().Subject("anna"); s.Enabled {
			f.Error("the configuration was not stored")
		}
		f.update(saying("after"))
		f.expectSaid("a", "b", "after")
	},

	"AMarkWhoseCommitsAnswerIsLostIsLookedUp": func(f *fixture) {
		f.clock.Step(hour)
		mark := func(tx *store.Tx) error { tx.Mark(); return nil }
		f.onCommit(failed)
		f.expectUnavailable(f.try(mark))
		f.onCommit(lost)
		f.update(mark)
	},

	"FailedCommitsLeaveNoTraceBetweenGoodOnes": func(f *fixture) {
		var want []string
		for i := range 60 {
			what := fmt.Sprint(i)
			switch i % 3 {
			case 0:
				f.onCommit(failed)
				f.expectUnavailable(f.try(saying(what)))
			case 1:
				f.onCommit(lost)
				f.update(saying(what))
				want = append(want, what)
			case 2:
				f.commit.Store(nil)
				f.update(saying(what))
				want = append(want, what)
			}
		}
		f.expectSaid(want...)
	},
}

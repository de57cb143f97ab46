package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

var errOwn = errors.New("the closure's own error")

var transactions = map[string]func(*fixture){
	"AnUpdateStoresTheOperationAndItsEvent": func(f *fixture) {
		size := f.db.Head().Size()
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 1, "fw-two") })
		f.view(func(r *store.Reader) error {
			_, err := operation(r, "one")
			return err
		})
		if added := f.db.Head().Size() - size; added != 1 {
			f.Errorf("%d events were added, want 1", added)
		}
	},

	"AnUpdateThatFailsStoresNeither": func(f *fixture) {
		before := f.db.Head()
		err := f.try(func(tx *store.Tx) error { return errors.Join(Create(tx, "one", 1, "fw-two"), errOwn) })
		if !errors.Is(err, errOwn) {
			f.Errorf("the error is %v", err)
		}
		f.expectNothing(before)
	},

	"TheResultOfAnUpdateThatFailsIsZero": func(f *fixture) {
		got, err := store.Update(background, f.db, func(*store.Tx) (int, error) { return 7, errOwn })
		if got != 0 || !errors.Is(err, errOwn) {
			f.Errorf("the result is %d, %v", got, err)
		}
	},

	"ARefusalStoresItsEventAndReturnsTheResult": func(f *fixture) {
		refusal := &law.Refusal{Kind: law.WrongState, Reason: "not now"}
		got, err := store.Update(background, f.db, func(tx *store.Tx) (int, error) { return 7, errors.Join(refusal, say(tx, "refused")) })
		if got != 7 || !errors.Is(err, refusal) {
			f.Errorf("the result is %d, %v", got, err)
		}
		f.expectSaid("refused")
	},

	"APanicIsAnErrorAndStoresNothing": func(f *fixture) {
		before := f.db.Head()
		err := f.try(func(tx *store.Tx) error {
			if err := Create(tx, "one", 1, "fw-two"); err != nil {
				return err
			}
			panic("of the test")
		})
		if err == nil || !strings.Contains(err.Error(), "of the test") || !strings.Contains(err.Error(), "transactions.go") {
			f.Errorf("the error does not say what panicked where: %v", err)
		}
		f.expectNothing(before)
	},

	// No write without its event, whatever the closure makes of the error.
	"AWriteWithoutItsEventIsNotStoredThoughTheClosureSaysItSucceeded": func(f *fixture) {
		before := f.db.Head()
		for name, write := range map[string]func(*store.Tx){
			"operation": func(tx *store.Tx) {
				out, _ := law.Create(olga, law.Ask{ID: "one", Keys: []law.KeyAsk{{Key: "fw", MaxUses: 1}}, Description: "d", Context: "c", Validity: hour}, tx.Facts(), tx.Now())
				_ = tx.SaveOperation(store.Operation{Operation: out.Operation}, audit.Event{Type: "unknown"})
			},
			"event": func(tx *store.Tx) {
				_ = tx.Append(audit.Event{Type: audit.RequestRefused}, audit.Event{Type: "unknown"})
			},
			"clock":         func(tx *store.Tx) { _ = tx.AcceptClock(audit.Event{Type: "unknown"}) },
			"configuration": func(tx *store.Tx) { _ = tx.Configure(audit.Event{Type: audit.ServerStarted}) },
			"session":       func(tx *store.Tx) { _ = tx.SaveSession(session(tx, "one"), audit.Event{Type: "unknown"}) },
			"sign order": func(tx *store.Tx) {
				_ = Create(tx, "one", 1, "fw")
				_ = tx.SaveOrder(store.Operation{}, law.Order{ID: "order", Operation: "none"}, audit.Event{Type: audit.OrderAccepted})
			},
		} {
			refused := f.try(func(tx *store.Tx) error { write(tx); return &law.Refusal{Reason: "refused"} })
			succeeded := f.try(func(tx *store.Tx) error { write(tx); return nil })
			var refusal *law.Refusal
			if succeeded == nil || refused == nil || errors.As(refused, &refusal) {
				f.Errorf("%s: the errors are %v and %v", name, succeeded, refused)
			}
			f.expectNothing(before)
		}
	},

	"ClosuresReadWhatTheyHaveWritten": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			size := tx.LogSize()
			if err := Create(tx, "one", 1, "fw"); err != nil {
				return err
			}
			events, err := tx.Events(store.EventQuery{Operation: "one", Limit: 10})
			if err != nil {
				return err
			}
			if len(events) != 2 || tx.LogSize() != size+2 {
				f.Errorf("%d events, log size %d after %d", len(events), tx.LogSize(), size)
			}
			_, err = operation(&tx.Reader, "one")
			return err
		})
	},

	"EventsAreChainedAndStamped": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return errors.Join(say(tx, "first"), say(tx, "second")) })
		f.clock.Step(hour)
		f.update(func(tx *store.Tx) error { return say(tx, "third") })
		events := Events(f, f.db)
		last := events[len(events)-3:]
		if last[0].Batch != last[1].Batch || last[1].Batch == last[2].Batch || last[0].Batch == "" {
			f.Errorf("batches are %s, %s, %s", last[0].Batch, last[1].Batch, last[2].Batch)
		}
		if last[0].Time != last[1].Time || last[2].Time != f.clock.Now().UnixMilli() {
			f.Errorf("times are %d, %d, %d", last[0].Time, last[1].Time, last[2].Time)
		}
	},

	"ACancelledContextRunsNothing": func(f *fixture) {
		ctx, cancel := context.WithCancel(background)
		cancel()
		for range 200 {
			_, err := store.Update(ctx, f.db, func(*store.Tx) (any, error) { f.Error("the closure was run"); return nil, nil })
			if !errors.Is(err, context.Canceled) {
				f.Errorf("the error of Update is %v", err)
			}
		}
		_, err := store.View(ctx, f.db, func(*store.Reader) (any, error) { return nil, nil })
		if !errors.Is(err, context.Canceled) {
			f.Errorf("the error of View is %v", err)
		}
	},

	"WhoWatchesEverythingIsToldOfWhateverWasCommitted": func(f *fixture) {
		for what, change := range map[string]func(*store.Tx) error{
			"an event":          func(tx *store.Tx) error { return say(tx, "something") },
			"an operation":      func(tx *store.Tx) error { return Create(tx, "one", 1, "fw") },
			"the configuration": func(tx *store.Tx) error { return Configure(tx, with("zoe")) },
			"a session":         func(tx *store.Tx) error { return saveSession(tx, session(tx, "one"), audit.SessionOpened) },
			"a sign-out":        signOut(signIn),
		} {
			changed, stop := f.db.WatchAny()
			_ = f.try(func(tx *store.Tx) error { return errors.Join(change(tx), errOwn) })
			f.clock.Step(hour)
			f.update(func(tx *store.Tx) error { tx.Mark(); return nil })
			select {
			case <-changed: // on a shared database a server hears of its own changes once more, a little later
				if !f.db.Shared() {
					f.Errorf("%s: told of an update that failed, or of the time", what)
				}
			default:
			}
			f.update(change)
			select {
			case <-changed:
			default:
				f.Errorf("%s: not told when the update had returned", what)
			}
			stop()
		}
	},

	"WatchersAreToldOfWhatWasCommittedAndOfNothingElse": func(f *fixture) {
		one, stop := f.db.Watch("one")
		defer stop()
		again, stopAgain := f.db.Watch("one")
		defer stopAgain()
		other, stopOther := f.db.Watch("other")
		defer stopOther()
		_ = f.try(func(tx *store.Tx) error { return errors.Join(Create(tx, "one", 1, "fw"), errOwn) })
		told := func(c <-chan struct{}) bool {
			select {
			case <-c:
				return true
			default:
				return false
			}
		}
		f.update(func(tx *store.Tx) error { return say(tx, "something") })
		if told(one) {
			f.Error("told of an update that failed")
		}
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 1, "fw") })
		<-one
		<-again
		next, stopNext := f.db.Watch("one")
		stopNext()
		stop()
		if told(other) || told(next) && !f.db.Shared() { // a shared one hears of its own changes once more
			f.Error("told of a change of another operation, or of one before")
		}
	},
}

// expectNothing checks that nothing was stored since the head was this one.
func (f *fixture) expectNothing(before audit.Tree) {
	f.Helper()
	if f.db.Head() != before {
		f.Errorf("the head has moved from %d to %d", before.Size(), f.db.Head().Size())
	}
	f.view(func(r *store.Reader) error {
		if r.LogSize() != before.Size() {
			f.Errorf("the log has %d entries, had %d", r.LogSize(), before.Size())
		}
		ids, err := r.OperationIDs(store.OperationQuery{Limit: 100})
		if len(ids) > 0 || slices.Contains(f.said(), "") {
			f.Errorf("stored are the operations %v and the events %q", ids, f.said())
		}
		return err
	})
}

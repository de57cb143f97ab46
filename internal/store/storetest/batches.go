package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

var batches = map[string]func(*fixture){
	"ConcurrentUpdatesAreOneCommit": func(f *fixture) {
		commits := 0
		f.onCommit(func(commit func() error) error { commits++; return commit() })
		errs := f.batch(saying("a"), saying("b"), saying("c"))
		if err := errors.Join(errs...); err != nil {
			f.Error(err)
		}
		f.expectSaid("a", "b", "c")
		if ids := f.batchesOf("a", "b", "c"); len(ids) != 1 || commits != 1 {
			f.Errorf("%d batches, %d commits, want 1", len(ids), commits)
		}
	},

	"AFailureTakesNobodyElseAlong": func(f *fixture) {
		refusal := &law.Refusal{Kind: law.WrongState, Reason: "not now"}
		errs := f.batch(
			saying("before"),
			func(tx *store.Tx) error { return errors.Join(say(tx, "failed"), Create(tx, "failed", 1, "fw"), errOwn) },
			saying("between"),
			func(tx *store.Tx) error {
				if err := say(tx, "panicked"); err != nil {
					return err
				}
				panic("of the test")
			},
			func(tx *store.Tx) error { return errors.Join(say(tx, "refused"), refusal) },
			func(tx *store.Tx) error { return Create(tx, "created", 1, "fw-two") },
			saying("after"),
		)
		for i, failed := range []bool{false, true, false, true, true, false, false} {
			if (errs[i] != nil) != failed {
				f.Errorf("the error of closure %d is %v", i, errs[i])
			}
		}
		if !errors.Is(errs[1], errOwn) || !errors.Is(errs[4], refusal) {
			f.Errorf("the errors are %v and %v", errs[1], errs[4])
		}
		f.expectSaid("before", "between", "refused", "after")
		if ids := f.batchesOf("before", "between", "refused", "after"); len(ids) != 1 {
			f.Errorf("%d batches, want 1", len(ids))
		}
		f.view(func(r *store.Reader) error {
			if _, known, err := r.Operation("failed"); known || err != nil {
				f.Errorf("the operation of the closure that failed is stored: %v, %v", known, err)
			}
			_, err := operation(r, "created")
			return err
		})
	},

	"ABatchIsAtMost64Closures": func(f *fixture) {
		var fns []func(*store.Tx) error
		for i := range 150 {
			fns = append(fns, saying(fmt.Sprint(i)))
		}
		if err := errors.Join(f.batch(fns...)...); err != nil {
			f.Error(err)
		}
		sizes := map[string]int{}
		var order []string
		for _, e := range Events(f, f.db) {
			if e.Type != audit.RequestRefused {
				continue
			}
			if sizes[e.Batch]++; sizes[e.Batch] == 1 {
				order = append(order, e.Batch)
			}
		}
		var got []int
		for _, id := range order {
			got = append(got, sizes[id])
		}
		if !slices.Equal(got, []int{64, 64, 22}) {
			f.Errorf("the sizes of the batches are %v", got)
		}
	},

	"WhatMustNotWaitGoesFirst": func(f *fixture) {
		var want []string
		for range 20 {
			release := f.hold()
			wait := f.queue(saying("one"), saying("two"))
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := store.UpdateFirst(background, f.db, func(tx *store.Tx) (any, error) { return nil, say(tx, "revoke") }); err != nil {
					f.Error(err)
				}
			})
			await(func() bool { return f.db.Waiting() == 3 })
			release()
			wg.Wait()
			f.must(errors.Join(wait()...))
			want = append(want, "revoke", "one", "two")
		}
		f.expectSaid(want...)
	},

	"AClosureWhoseCallerWentAwayBeforeItBeganIsNotRun": func(f *fixture) {
		release := f.hold()
		ctx, cancel := context.WithCancel(background)
		gone := make(chan error)
		go func() {
			_, err := store.Update(ctx, f.db, func(tx *store.Tx) (any, error) { return nil, say(tx, "gone") })
			gone <- err
		}()
		await(func() bool { return f.db.Waiting() == 1 })
		wait := f.queue(saying("patient"))
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) { // while the writer is still held
			f.Errorf("the error is %v", err)
		}
		release()
		f.must(errors.Join(wait()...))
		f.expectSaid("patient")
	},

	"AClosureWhoseCallerWentAwayAfterItBeganIsFinished": func(f *fixture) {
		ctx, cancel := context.WithCancel(background)
		got, err := store.Update(ctx, f.db, func(tx *store.Tx) (int, error) {
			cancel()
			return 7, say(tx, "begun")
		})
		if got != 7 || err != nil {
			f.Errorf("the result is %d, %v", got, err)
		}
		f.expectSaid("begun")
	},

	"TooManyThatWaitAreTurnedAway": func(f *fixture) {
		release := f.hold()
		ctx, cancel := context.WithCancel(background)
		var wg sync.WaitGroup
		busy := make(chan struct{})
		for full := false; !full; {
			n := f.db.Waiting()
			wg.Go(func() {
				_, err := store.Update(ctx, f.db, func(*store.Tx) (any, error) { return nil, nil })
				if errors.Is(err, store.ErrBusy) {
					close(busy)
				}
			})
			await(func() bool {
				select {
				case <-busy:
					full = true
				default:
				}
				return full || f.db.Waiting() > n
			})
		}
		full, first := f.db.Waiting(), make(chan error)
		go func() {
			_, err := store.UpdateFirst(background, f.db, func(tx *store.Tx) (any, error) { return nil, say(tx, "revoke") })
			first <- err
		}()
		await(func() bool { return f.db.Waiting() > full })
		cancel()
		wg.Wait()
		release()
		f.must(<-first)
		f.expectSaid("revoke")
	},

	"ClosingFinishesWhatHasBegunAndTurnsAwayWhatWaits": func(f *fixture) {
		begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error)
		go func() {
			ended <- f.try(func(tx *store.Tx) error {
				close(begun)
				<-end
				return say(tx, "begun")
			})
		}()
		<-begun
		wait := f.queue(saying("waiting"), saying("waiting"))
		closed := make(chan error)
		go func() { closed <- f.db.Close() }()
		for _, err := range wait() { // while the closure still runs
			f.expectUnavailable(err)
		}
		close(end)
		f.must(<-ended)
		f.must(<-closed)
		f.expectUnavailable(f.try(saying("late")))
		_, err := store.View(background, f.db, func(*store.Reader) (any, error) { return nil, nil })
		f.expectUnavailable(err)
		f.reopen()
		f.expectSaid("begun")
	},

	"TheTreeIsThatOfTheLeavesWhateverFails": func(f *fixture) {
		var want []string
		rapid.Check(f.T, func(t *rapid.T) {
			kinds := rapid.SliceOfN(rapid.SampledFrom([]string{"success", "failure", "refusal", "panic"}), 1, 12).Draw(t, "closures")
			var fns []func(*store.Tx) error
			for i, kind := range kinds {
				n := rapid.IntRange(0, 5).Draw(t, "events")
				fns = append(fns, func(tx *store.Tx) error {
					for range n {
						if err := say(tx, kind+fmt.Sprint(i)); err != nil {
							return err
						}
					}
					switch kind {
					case "failure":
						return errOwn
					case "refusal":
						return &law.Refusal{Reason: "not now"}
					case "panic":
						panic("of the test")
					}
					return nil
				})
				if kind == "success" || kind == "refusal" {
					want = append(want, slices.Repeat([]string{kind + fmt.Sprint(i)}, n)...)
				}
			}
			f.batch(fns...)
			f.view(func(r *store.Reader) error {
				stored, err := audit.Resume(r.LogSize(), r.Hashes())
				if stored != f.db.Head() {
					t.Fatalf("the head is not the tree of the stored hashes, at size %d", stored.Size())
				}
				return err
			})
		})
		f.expectSaid(want...)
		Check(f, f.db)
	},
}

func saying(what string) func(*store.Tx) error {
	return func(tx *store.Tx) error { return say(tx, what) }
}

// batchesOf returns the ids of the batches in which this was said.
func (f *fixture) batchesOf(what ...string) []string {
	f.Helper()
	ids := map[string]bool{}
	for _, e := range Events(f, f.db) {
		if slices.Contains(what, e.Reason) {
			ids[e.Batch] = true
		}
	}
	return slices.Collect(maps.Keys(ids))
}

func (f *fixture) onCommit(do func(commit func() error) error) { f.commit.Store(&do) }

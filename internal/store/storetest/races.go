package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

var races = map[string]func(*fixture){
	"TwoHundredRacingOnAUseCountGetExactlyThatCount": func(f *fixture) {
		for _, uses := range []int{1, 2, 7, 64} {
			id := law.OperationID(fmt.Sprint("of ", uses))
			f.update(func(tx *store.Tx) error { return Create(tx, id, uses, "fw") })
			f.race(id, 200, uses, f.db)
		}
	},

	"TwoServersRacingOnAUseCountGetExactlyThatCount": func(f *fixture) {
		other := f.another(f.options())
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 7, "fw") })
		f.race("one", 100, 7, f.db, other)
	},

	"TwoServersLoseNothingOfEachOther": func(f *fixture) {
		other := f.another(f.options())
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 1000, "fw") })
		var wg sync.WaitGroup
		for i, db := range []*store.DB{f.db, other} {
			for j := range 4 {
				wg.Go(func() {
					for k := range 10 {
						if err := update(db, func(tx *store.Tx) error {
							_, err := Place(tx, "one", "fw", law.OrderID(fmt.Sprint(i, j, k)))
							return err
						}); err != nil {
							f.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		f.view(func(r *store.Reader) error {
			o, err := operation(r, "one")
			if taken := o.Usage["fw"].Taken; taken != 80 {
				f.Errorf("%d uses are taken, want 80", taken)
			}
			return err
		})
		Check(f, other)
		f.must(update(other, saying("the other resumes the tree")))
		f.update(saying("and so does this one"))
	},

	"ReadersSeeNoHalvesWhileWritersWrite": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 1000, "fw") })
		var done atomic.Bool
		var readers, writers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				for !done.Load() {
					Check(f, f.db)
				}
			})
		}
		for i := range 4 {
			writers.Go(func() {
				for j := range 15 {
					_ = f.try(func(tx *store.Tx) error {
						_, err := Place(tx, "one", "fw", law.OrderID(fmt.Sprint(i, " ", j)))
						if j%3 == 0 {
							err = errOwn
						}
						return err
					})
				}
			})
		}
		writers.Wait()
		done.Store(true)
		readers.Wait()
	},
}

// race places so many sign orders at once and checks that exactly as many are accepted as there are uses.
func (f *fixture) race(id law.OperationID, orders, uses int, servers ...*store.DB) {
	f.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var numbers []int
	start := make(chan struct{})
	for i := range orders {
		wg.Go(func() {
			<-start
			r, err := store.Update(background, servers[i%len(servers)], func(tx *store.Tx) (law.Order, error) {
				return Place(tx, id, "fw", law.OrderID(fmt.Sprint(id, i)))
			})
			var refusal *law.Refusal
			switch {
			case err == nil:
				mu.Lock()
				defer mu.Unlock()
				numbers = append(numbers, r.Use)
			case !errors.As(err, &refusal) || refusal.Kind != law.WrongState:
				f.Errorf("the error is %v", err)
			}
		})
	}
	close(start)
	wg.Wait()
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != i+1 {
			f.Errorf("the numbers of the uses are %v", numbers)
			break
		}
	}
	if len(numbers) != uses {
		f.Errorf("%d sign orders were accepted, want %d", len(numbers), uses)
	}
}

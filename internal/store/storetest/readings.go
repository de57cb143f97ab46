package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

var readings = map[string]func(*fixture){
	"AViewSeesOneStateWhileOthersWrite": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 5, "fw") })
		f.view(func(r *store.Reader) error {
			for i := range 3 {
				o, err := operation(r, "one")
				if err != nil {
					return err
				}
				events, err := allEvents(r)
				if err != nil {
					return err
				}
				orders, err := r.Orders("one", "", 9)
				_, two, err2 := r.Operation("two")
				if o.Usage["fw"].Taken != 0 || int64(len(events)) != r.LogSize() || len(orders) != 0 || two || !knows(r.Facts(), "anna") {
					f.Errorf("a view sees %d uses, %d events of %d, %d orders, %v", o.Usage["fw"].Taken, len(events), r.LogSize(), len(orders), two)
				}
				f.update(func(tx *store.Tx) error {
					_, err := Place(tx, "one", "fw", law.OrderID(fmt.Sprint(i)))
					if i == 0 {
						err = errors.Join(err, Create(tx, "two", 1, "fw"), Configure(tx, without("anna")))
					}
					return err
				})
				if err := errors.Join(err, err2); err != nil {
					return err
				}
			}
			return nil
		})
	},

	"AViewsErrorIsItsOwn": func(f *fixture) {
		got, err := store.View(background, f.db, func(*store.Reader) (int, error) { return 7, errOwn })
		if got != 7 || !errors.Is(err, errOwn) {
			f.Errorf("the result is %d, %v", got, err)
		}
	},

	// Whenever its caller goes away, and by a panic too, a view leaves its connection fit for the next.
	"AViewThatIsCutOffDoesNoHarmToTheNext": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			for i := range 300 {
				if err := say(tx, fmt.Sprint(i)); err != nil {
					return err
				}
			}
			return nil
		})
		for i := range 200 {
			ctx, cancel := context.WithTimeout(background, time.Duration(i)*10*time.Microsecond)
			_, err := store.View(ctx, f.db, func(r *store.Reader) (any, error) {
				_, err := r.Events(store.EventQuery{Limit: 1000})
				return nil, err
			})
			cancel()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				f.Errorf("the error is %v", err)
			}
		}
		for range 20 {
			func() {
				defer func() { _ = recover() }()
				f.view(func(*store.Reader) error { panic("of the test") })
			}()
		}
		f.update(saying("after"))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := store.View(background, f.db, func(r *store.Reader) (any, error) {
					if r.LogSize() != f.db.Head().Size() {
						f.Errorf("an old state is seen: %d entries", r.LogSize())
					}
					return r.Events(store.EventQuery{Limit: 10})
				})
				if err != nil {
					f.Error(err)
				}
			})
		}
		wg.Wait()
	},

	"EventsAreListedByEveryFilter": func(f *fixture) {
		start := f.db.Head().Size()
		f.update(func(tx *store.Tx) error {
			return tx.Append(
				audit.Event{Type: audit.RequestRefused, Actor: &audit.Actor{Subject: "anna"}, Reason: "0"},
				audit.Event{Type: audit.OperationRefused, Operation: "x", Reason: "1"},
				audit.Event{Type: audit.OperationRefused, Operation: "x", Key: "fw", Actor: &audit.Actor{Subject: "anna"}, Reason: "2"},
				audit.Event{Type: audit.OrderRefused, Operation: "y", Key: "fw", Session: "s", Reason: "3"},
			)
		})
		for _, c := range []struct {
			query store.EventQuery
			want  []int64
		}{
			{store.EventQuery{From: start}, []int64{0, 1, 2, 3}},
			{store.EventQuery{From: start, Limit: 2}, []int64{0, 1}},
			{store.EventQuery{From: start + 3}, []int64{3}},
			{store.EventQuery{From: start + 4}, nil},
			{store.EventQuery{Type: audit.OperationRefused}, []int64{1, 2}},
			{store.EventQuery{Operation: "x"}, []int64{1, 2}},
			{store.EventQuery{Subject: "anna"}, []int64{0, 2}},
			{store.EventQuery{Key: "fw"}, []int64{2, 3}},
			{store.EventQuery{Session: "s"}, []int64{3}},
			{store.EventQuery{Type: audit.OperationRefused, Operation: "x", Subject: "anna", Key: "fw"}, []int64{2}},
			{store.EventQuery{Operation: "x", From: start + 2}, []int64{2}},
			{store.EventQuery{Operation: "z"}, nil},
		} {
			if c.query.Limit == 0 {
				c.query.Limit = 100
			}
			f.view(func(r *store.Reader) error {
				events, err := r.Events(c.query)
				var got []int64
				for _, e := range events {
					got = append(got, e.Index-start)
				}
				if !slices.Equal(got, c.want) {
					f.Errorf("%+v lists %v, want %v", c.query, got, c.want)
				}
				return err
			})
		}
	},

	"EarlierOperationsOnAKeyAreReadWithWhetherTheyWereApproved": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			err := errors.Join(Create(tx, opID(0), 1, "fw", "fw-two"), Create(tx, opID(1), 1, "fw"), Create(tx, opID(2), 1, "fw-two"), Create(tx, opID(3), 1, "fw-two", "fw"))
			return errors.Join(err, approve(tx, opID(0), "anna"), approve(tx, opID(0), "bert"), approve(tx, opID(2), "bert"))
		})
		read := func(key law.KeyID, before, limit int, want ...string) {
			f.Helper()
			f.view(func(r *store.Reader) error {
				earlier, err := r.EarlierOperations(key, opID(before), limit)
				var got []string
				for _, e := range earlier {
					if one, err2 := operation(r, e.ID); err2 != nil || !reflect.DeepEqual(one, e.Operation) {
						f.Errorf("among others it reads\n%+v\nand alone\n%+v (%v)", e.Operation, one, err2)
					}
					got = append(got, fmt.Sprint(e.ID, " ", e.WasApproved))
				}
				if !slices.Equal(got, want) {
					f.Errorf("before %d there are %v, want %v", before, got, want)
				}
				return err
			})
		}
		read("fw", 9, 9, "operation-0003 false", "operation-0001 true", "operation-0000 true")
		read("fw", 3, 9, "operation-0001 true", "operation-0000 true")
		read("fw-two", 9, 2, "operation-0003 false", "operation-0002 false")
		read("fw-two", 2, 2, "operation-0000 true")
		read("fw-two", 0, 2)
		read("none", 9, 2)
	},

	"TheServerHasItsName": func(f *fixture) {
		f.view(func(r *store.Reader) error {
			if r.Server() != ServerID {
				f.Errorf("the server is %q", r.Server())
			}
			return nil
		})
	},

	"AHashThatIsNotThereIsAnError": func(f *fixture) {
		f.view(func(r *store.Reader) error {
			if _, err := r.Hashes().ReadHashes([]int64{0, 1 << 40}); err == nil {
				f.Error("there is no error")
			}
			return nil
		})
	},
}

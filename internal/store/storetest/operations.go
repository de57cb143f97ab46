package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// expectStored checks that the operation reads as it was saved.
func (f *fixture) expectStored(want law.Operation, revision int64) {
	f.Helper()
	f.view(func(r *store.Reader) error {
		got, err := operation(r, want.ID)
		if !reflect.DeepEqual(got.Operation, want) || got.Revision != revision {
			f.Errorf("stored is revision %d\n%+v\nwant revision %d\n%+v", got.Revision, got.Operation, revision, want)
		}
		return err
	})
}

func (f *fixture) expectIDs(want []law.OperationID, list func(*store.Reader) ([]law.OperationID, error)) {
	f.Helper()
	f.view(func(r *store.Reader) error {
		got, err := list(r)
		if !slices.Equal(got, want) {
			f.Errorf("listed are %v, want %v", got, want)
		}
		return err
	})
}

var operations = map[string]func(*fixture){
	"AnOperationReadsAsItWasSaved": func(f *fixture) {
		var o store.Operation
		then := func(what string, change func(tx *store.Tx) law.Operation) {
			f.Helper()
			f.clock.Step(time.Millisecond)
			f.update(func(tx *store.Tx) error {
				o.Operation = change(tx)
				err := tx.SaveOperation(o, audit.Event{Type: audit.OperationCreated, Operation: "one", Reason: what})
				o.Revision++
				return err
			})
			f.expectStored(o.Operation, o.Revision)
		}
		o.IdempotencyKey, o.Asked = "key", "asked"
		then("create", func(tx *store.Tx) law.Operation { return elaborate(tx) })
		one := o.Operation
		then("approve", func(tx *store.Tx) law.Operation {
			one.Approvals = []law.Approval{{By: "anna", Covers: []law.KeyID{"fw", "fw-two"}, At: tx.Now()}, {By: "bert", Covers: []law.KeyID{"fw-two"}, At: tx.Now()}}
			one.Recorded = law.Approved
			return one
		})
		then("withdraw, approve again", func(tx *store.Tx) law.Operation {
			one.Approvals = slices.Clone(one.Approvals)
			one.Approvals[0].Withdrawn = tx.Now()
			one.Approvals = append(one.Approvals, law.Approval{By: "anna", Covers: []law.KeyID{"fw"}, At: tx.Now()})
			return one
		})
		then("use", func(*store.Tx) law.Operation {
			one.Usage = map[law.KeyID]law.Usage{"fw": {Taken: 2, Signed: 1}, "fw-two": {Taken: 1}}
			return one
		})
		then("end", func(tx *store.Tx) law.Operation {
			one.Recorded = law.Revoked
			one.Ending = law.Ending{At: tx.Now(), By: "anna", Reason: "a mistake, \"quoted\" – ünïcode"}
			return one
		})
		f.reopen()
		f.expectStored(one, 5)
		// The tables of this test do not follow from its events.
		f.close()
	},

	"AnOperationCanBeSavedTwiceInOneClosure": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 1, "fw-two") })
		f.update(func(tx *store.Tx) error {
			return errors.Join(approve(tx, "one", "anna"), approve(tx, "one", "bert"))
		})
		f.update(func(tx *store.Tx) error {
			o, err := operation(&tx.Reader, "one")
			if err != nil {
				return err
			}
			now := tx.Now()
			o.Approvals = slices.Clone(o.Approvals)
			o.Approvals[0].Withdrawn = now
			o.Approvals = append(o.Approvals, law.Approval{By: "anna", Covers: []law.KeyID{"fw-two"}, At: now})
			first := tx.SaveOperation(o, audit.Event{Type: audit.OperationApproved, Operation: "one"})
			o.Revision++
			o.Approvals = slices.Clone(o.Approvals)
			o.Approvals[2].Withdrawn = now
			return errors.Join(first, tx.SaveOperation(o, audit.Event{Type: audit.OperationWithdrawn, Operation: "one"}))
		})
		f.view(func(r *store.Reader) error {
			o, err := operation(r, "one")
			if len(o.Approvals) != 3 || o.Approvals[0].Stands() || !o.Approvals[1].Stands() || o.Approvals[2].Stands() {
				f.Errorf("the approvals are %v", o.Approvals)
			}
			return err
		})
	},

	"WhatWasChangedInBetweenIsNotOverwritten": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 1, "fw-two") })
		var stale store.Operation
		f.view(func(r *store.Reader) (err error) { stale, err = operation(r, "one"); return err })
		errs := f.batch(
			func(tx *store.Tx) error { return approve(tx, "one", "anna") },
			func(tx *store.Tx) error {
				out, err := stale.Approve("bert", stale.Digest(), tx.Facts(), tx.Now())
				return errors.Join(err, save(tx, stale, out))
			},
			func(tx *store.Tx) error {
				unknown := stale
				unknown.ID = "other"
				return tx.SaveOperation(unknown, audit.Event{Type: audit.OperationApproved})
			},
			saying("neighbour"),
		)
		if errs[0] != nil || errs[1] == nil || errs[2] == nil || errs[3] != nil {
			f.Errorf("the errors are %v", errs)
		}
		f.view(func(r *store.Reader) error {
			o, err := operation(r, "one")
			if len(o.Approvals) != 1 || o.Approvals[0].By != "anna" {
				f.Errorf("the approvals are %v", o.Approvals)
			}
			return err
		})
	},

	"WhatMayBeThereOnceFailsItsClosureAlone": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			if err := errors.Join(Create(tx, "one", 2, "fw-two"), Create(tx, "two", 5, "fw")); err != nil {
				return err
			}
			_, err := Place(tx, "two", "fw", "first")
			return err
		})
		twice := func(tx *store.Tx, change func(*law.Order)) error {
			o, err := operation(&tx.Reader, "two")
			if err != nil {
				return err
			}
			r, _, err := tx.Order("first")
			if err != nil {
				return err
			}
			r.ID, r.IdempotencyKey, r.Use = "second", "second", 2
			change(&r)
			return tx.SaveOrder(o, r, audit.Event{Type: audit.OrderAccepted})
		}
		errs := f.batch(
			saying("before"),
			func(tx *store.Tx) error { // the same person twice
				o, err := operation(&tx.Reader, "one")
				if err != nil {
					return err
				}
				yes := law.Approval{By: "anna", Covers: []law.KeyID{"fw-two"}, At: tx.Now()}
				o.Approvals = []law.Approval{yes, yes}
				return tx.SaveOperation(o, audit.Event{Type: audit.OperationApproved})
			},
			func(tx *store.Tx) error { return twice(tx, func(r *law.Order) { r.Use = 1 }) },
			func(tx *store.Tx) error { return twice(tx, func(r *law.Order) { r.IdempotencyKey = "first" }) },
			func(tx *store.Tx) error { return twice(tx, func(r *law.Order) { r.Operation = "none" }) },
			func(tx *store.Tx) error { return Create(tx, "one", 1, "fw") },
			func(tx *store.Tx) error { // the same idempotency key
				o, err := operation(&tx.Reader, "one")
				o.ID, o.Revision = "three", 0
				return errors.Join(err, tx.SaveOperation(o, audit.Event{Type: audit.OperationCreated}))
			},
			func(tx *store.Tx) error { // swallowed
				_ = Create(tx, "one", 1, "fw")
				return say(tx, "as if nothing had happened")
			},
			saying("after"),
		)
		for i, err := range errs {
			if ok := i == 0 || i == len(errs)-1; (err == nil) != ok {
				f.Errorf("the error of closure %d is %v", i, err)
			}
			var unavailable *store.Unavailable
			if errors.As(err, &unavailable) {
				f.Errorf("closure %d failed the whole batch: %v", i, err)
			}
		}
		f.expectSaid("before", "after")
	},

	"IdempotencyKeysFindWhatTheyMade": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return errors.Join(Create(tx, "one", 1, "fw"), Create(tx, "two", 1, "fw")) })
		f.update(func(tx *store.Tx) error { _, err := Place(tx, "one", "fw", "order"); return err })
		f.view(func(r *store.Reader) error {
			o, known, err := r.OperationByIdempotencyKey("olga", "idem one")
			if !known || o.ID != "one" || o.IdempotencyKey != "idem one" || o.Asked != "asked one" {
				f.Errorf("found is %v, %v", o, known)
			}
			_, none, err2 := r.OperationByIdempotencyKey("anna", "idem one")
			order, found, err3 := r.OrderByKey(orderKey("one", "fw", "olga", "order"))
			if none || !found || order.ID != "order" {
				f.Errorf("found are an operation of somebody else %v, the order %v %v", none, found, order)
			}
			for _, q := range [][4]string{{"two", "fw", "olga", "order"}, {"one", "fw-two", "olga", "order"}, {"one", "fw", "anna", "order"}, {"one", "fw", "olga", "other"}} {
				if _, found, err4 := r.OrderByKey(orderKey(law.OperationID(q[0]), law.KeyID(q[1]), law.SubjectID(q[2]), q[3])); found || err4 != nil {
					f.Errorf("found for %v: %v, %v", q, found, err4)
				}
			}
			return errors.Join(err, err2, err3)
		})
	},

	"WhatIsNotThereIsNotThere": func(f *fixture) {
		f.view(func(r *store.Reader) error {
			_, operation, err := r.Operation("none")
			_, order, err2 := r.Order("none")
			if operation || order {
				f.Error("something is there")
			}
			return errors.Join(err, err2)
		})
	},

	"OperationsAreListedByEveryFilter": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			for i := range 5 {
				if err := Create(tx, opID(i), 1, []law.KeyID{"fw", "fw-two"}[i%2]); err != nil {
					return err
				}
			}
			return nil
		})
		list := func(q store.OperationQuery, want ...int) {
			f.Helper()
			var ids []law.OperationID
			for _, i := range want {
				ids = append(ids, opID(i))
			}
			f.expectIDs(ids, func(r *store.Reader) ([]law.OperationID, error) { return r.OperationIDs(q) })
		}
		list(store.OperationQuery{Limit: 9}, 4, 3, 2, 1, 0)
		list(store.OperationQuery{Limit: 2}, 4, 3)
		list(store.OperationQuery{Limit: 2, Before: opID(3)}, 2, 1)
		list(store.OperationQuery{Limit: 9, Since: opID(3)}, 4, 3)
		list(store.OperationQuery{Limit: 9, Since: opID(1), Before: opID(3), Key: "fw"}, 2)
		list(store.OperationQuery{Limit: 9, States: []law.State{law.Pending}}, 3, 1)
		list(store.OperationQuery{Limit: 9, States: []law.State{law.Pending, law.Approved, law.Pending}}, 4, 3, 2, 1, 0)
		list(store.OperationQuery{Limit: 9, States: []law.State{law.Revoked}})
		list(store.OperationQuery{Limit: 9, Key: "fw"}, 4, 2, 0)
		list(store.OperationQuery{Limit: 9, Orderer: "olga"}, 4, 3, 2, 1, 0)
		list(store.OperationQuery{Limit: 9, Orderer: "anna"})
		list(store.OperationQuery{Limit: 9, Key: "fw-two", Orderer: "olga", States: []law.State{law.Pending}, Before: opID(3)}, 1)
	},

	"ExpiryIsFoundToTheMillisecond": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, opID(0), 1, "fw-two") })
		f.clock.Step(time.Millisecond)
		f.update(func(tx *store.Tx) error { return Create(tx, opID(1), 1, "fw") })
		due := func(limit int, want ...law.OperationID) {
			f.Helper()
			f.expectIDs(want, func(r *store.Reader) ([]law.OperationID, error) { return r.DueOperationIDs(r.Now(), limit) })
		}
		pending := func(want int) {
			f.Helper()
			f.view(func(r *store.Reader) error {
				if n, err := r.PendingOf("olga", r.Now()); n != want || err != nil {
					f.Errorf("%d are pending, %v; want %d", n, err, want)
				}
				return nil
			})
		}
		f.clock.Step(hour - 2*time.Millisecond)
		due(9)
		pending(1)
		f.clock.Step(time.Millisecond)
		due(9, opID(0))
		pending(0)
		f.clock.Step(time.Millisecond)
		due(9, opID(0), opID(1))
		due(1, opID(0))
		f.update(func(tx *store.Tx) error {
			o, err := operation(&tx.Reader, opID(0))
			return errors.Join(err, save(tx, o, o.Settle(tx.Facts(), tx.Now())))
		})
		due(9, opID(1))
	},

	"OpenOperationsAreListedInPages": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			for i := range 4 {
				if err := Create(tx, opID(i), 1, "fw"); err != nil {
					return err
				}
			}
			o, err := operation(&tx.Reader, opID(1))
			if err != nil {
				return err
			}
			out, err := o.Revoke("olga", "no more", tx.Facts(), tx.Now())
			return errors.Join(err, save(tx, o, out))
		})
		f.expectIDs([]law.OperationID{opID(0), opID(2)}, func(r *store.Reader) ([]law.OperationID, error) { return r.OpenOperationIDs("", 2) })
		f.expectIDs([]law.OperationID{opID(3)}, func(r *store.Reader) ([]law.OperationID, error) { return r.OpenOperationIDs(opID(2), 2) })
		f.expectIDs(nil, func(r *store.Reader) ([]law.OperationID, error) { return r.OpenOperationIDs(opID(3), 2) })
	},

	"SignOrdersReadAsTheyWereSaved": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 3, "fw") })
		var order law.Order
		f.update(func(tx *store.Tx) (err error) { order, err = Place(tx, "one", "fw", "order-1"); return err })
		expect := func() {
			f.Helper()
			f.view(func(r *store.Reader) error {
				got, _, err := r.Order(order.ID)
				if !reflect.DeepEqual(got, order) {
					f.Errorf("stored is\n%+v\nwant\n%+v", got, order)
				}
				return err
			})
		}
		order.Signature = []byte{}
		got, _, err := f.order("order-1")
		f.must(err)
		order.Signature = got.Signature // nil or empty, as the database likes
		if len(order.Signature) != 0 {
			f.Errorf("the signature is %x", order.Signature)
		}
		expect()
		f.clock.Step(time.Second)
		f.update(func(tx *store.Tx) error { return complete(tx, "order-1", []byte{0, 1, 255}) })
		order.State, order.Settled, order.Signature = law.OrderSigned, f.clock.Now(), []byte{0, 1, 255}
		expect()
		f.view(func(r *store.Reader) error {
			o, err := operation(r, "one")
			if u := o.Usage["fw"]; u != (law.Usage{Taken: 1, Signed: 1}) {
				f.Errorf("the usage is %v", u)
			}
			return err
		})
	},

	"SignOrdersAreListedInPagesAndByTheirLease": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 9, "fw") })
		for i := range 4 {
			f.update(func(tx *store.Tx) error {
				_, err := Place(tx, "one", "fw", law.OrderID(fmt.Sprint("order-", i)))
				return err
			})
			f.clock.Step(time.Second)
		}
		f.update(func(tx *store.Tx) error { return complete(tx, "order-1", []byte("signature")) })
		list := func(list func(*store.Reader) ([]law.Order, error), want ...law.OrderID) {
			f.Helper()
			f.view(func(r *store.Reader) error {
				orders, err := list(r)
				var got []law.OrderID
				for _, o := range orders {
					got = append(got, o.ID)
				}
				if !slices.Equal(got, want) {
					f.Errorf("listed are %v, want %v", got, want)
				}
				return err
			})
		}
		list(func(r *store.Reader) ([]law.Order, error) { return r.Orders("one", "", 2) }, "order-0", "order-1")
		list(func(r *store.Reader) ([]law.Order, error) { return r.Orders("one", "order-1", 9) }, "order-2", "order-3")
		list(func(r *store.Reader) ([]law.Order, error) { return r.Orders("two", "", 9) })
		end := f.clock.Now().Add(-4 * time.Second).Add(law.AttemptLease) // of the first
		list(func(r *store.Reader) ([]law.Order, error) { return r.RunningOrders(end.Add(-time.Millisecond), 9) })
		list(func(r *store.Reader) ([]law.Order, error) { return r.RunningOrders(end, 9) }, "order-0")
		list(func(r *store.Reader) ([]law.Order, error) { return r.RunningOrders(end.Add(time.Hour), 2) }, "order-0", "order-2")
	},
}

func (f *fixture) order(id law.OrderID) (o law.Order, known bool, err error) {
	f.view(func(r *store.Reader) error { o, known, err = r.Order(id); return nil })
	return o, known, err
}

// elaborate is an operation with something in every field.
func elaborate(tx *store.Tx) law.Operation {
	who := olga
	who.Claims = []law.Claim{{Name: "repository", Present: true, Value: "firmware"}, {Name: "actor"}}
	out, err := law.Create(who, law.Ask{
		Server: tx.Server(), ID: "one", Nonce: "00ff", Keys: []law.KeyAsk{{Key: "fw-two", MaxUses: 3}, {Key: "fw", MaxUses: 2}},
		Description: "release \"1.2\" <&> – ünïcode", Context: "line one\nline two", Validity: hour,
		Artifacts: []law.Artifact{{Name: "image.bin", Size: 1 << 40, Hash: law.SHA256, Digest: fmt.Sprintf("%064x", 1)}},
	}, tx.Facts(), tx.Now())
	if err != nil {
		panic(err) // the error of the update
	}
	o := out.Operation
	o.Clients = []law.SubjectID{}
	o.Usage = map[law.KeyID]law.Usage{"fw": {}, "fw-two": {}}
	o.Behind = "bert"
	return o
}

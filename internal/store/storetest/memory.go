package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// memory is what the store keeps in memory between statements and batches: none of it may ever show.
var memory = map[string]func(*fixture){
	"AClosureThatFailsAfterItReadAListOfWhatItWroteTakesNobodyElseAlong": func(f *fixture) {
		runs := map[string]int{}
		errs := f.batch(
			func(tx *store.Tx) error { runs["before"]++; return say(tx, "before") },
			func(tx *store.Tx) error {
				if err := Create(tx, "failed", 1, "fw"); err != nil {
					return err
				}
				ids, err := tx.OperationIDs(store.OperationQuery{Limit: 10})
				if !slices.Contains(ids, "failed") {
					f.Errorf("the closure does not see what it wrote: %v", ids)
				}
				return errors.Join(err, errOwn)
			},
			func(tx *store.Tx) error { runs["after"]++; return say(tx, "after") },
			func(tx *store.Tx) error {
				ids, err := tx.OperationIDs(store.OperationQuery{Limit: 10})
				if len(ids) > 0 {
					f.Errorf("another closure sees %v", ids)
				}
				return err
			},
		)
		if errs[0] != nil || !errors.Is(errs[1], errOwn) || errs[2] != nil || errs[3] != nil {
			f.Errorf("the errors are %v", errs)
		}
		f.expectSaid("before", "after")
	},

	"TheLastOfABatchFailsAloneThoughSomeOfItWasSent": func(f *fixture) {
		for name, fails := range map[string]func(*store.Tx) error{
			"operation": func(tx *store.Tx) error {
				if err := Create(tx, "failed", 1, "fw"); err != nil {
					return err
				}
				_, err := tx.OperationIDs(store.OperationQuery{Limit: 10})
				return errors.Join(err, errOwn)
			},
			"configuration": func(tx *store.Tx) error { return errors.Join(Configure(tx, without("anna")), errOwn) },
		} {
			errs := f.batch(saying(name), fails)
			if errs[0] != nil || !errors.Is(errs[1], errOwn) {
				f.Errorf("%s: the errors are %v", name, errs)
			}
			f.reopen()
			f.view(func(r *store.Reader) error {
				ids, err := r.OperationIDs(store.OperationQuery{Limit: 10})
				if s, _ := r.Facts().Subject("anna"); len(ids) > 0 || !s.Enabled {
					f.Errorf("%s: what failed is stored", name)
				}
				return err
			})
		}
	},

	"AnOperationThatIsSentAndChangedAgainTakesNoSecondBatch": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 9, "fw") })
		place := func(order law.OrderID) func(*store.Tx) error {
			return func(tx *store.Tx) error { _, err := Place(tx, "one", "fw", order); return err }
		}
		errs := f.batch(
			place("first"), saying("a"),
			func(tx *store.Tx) error { _, err := tx.Orders("one", "", 10); return err },
			place("second"), saying("b"), place("third"),
		)
		if err := errors.Join(errs...); err != nil {
			f.Error(err)
		}
		if ids := f.batchesOf("a", "b"); len(ids) != 1 {
			f.Errorf("%d batches, want 1", len(ids))
		}
		if o := f.stored("one"); o.Usage["fw"].Taken != 3 {
			f.Errorf("the usage is %v", o.Usage)
		}
	},

	"WhatAClosureBeforeHasChangedIsNotOverwritten": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 1, "fw-two") })
		stale := f.stored("one")
		errs := f.batch(
			func(tx *store.Tx) error { return approve(tx, "one", "anna") },
			func(tx *store.Tx) error {
				out, err := stale.Approve("bert", stale.Digest(), tx.Facts(), tx.Now())
				return errors.Join(err, save(tx, stale, out))
			},
		)
		if o := f.stored("one"); errs[0] != nil || errs[1] == nil || len(o.Approvals) != 1 {
			f.Errorf("the errors are %v, the approvals %v", errs, o.Approvals)
		}
	},

	"TextThatNoDatabaseCanStoreFailsItsClosureAloneAndFindsNothing": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "two", 9, "fw") })
		for _, text := range []string{"a\x00b", "a\xffb"} {
			errs := f.batch(
				saying("neighbour"),
				func(tx *store.Tx) error { return createAs(tx, "one", text) },
				saying("neighbour"),
			)
			var unavailable *store.Unavailable
			if errs[0] != nil || errs[1] == nil || errors.As(errs[1], &unavailable) || errs[2] != nil {
				f.Errorf("%q: the errors are %v", text, errs)
			}
			f.view(func(r *store.Reader) error {
				_, one, err1 := r.Operation(law.OperationID(text))
				_, two, err2 := r.OperationByIdempotencyKey("olga", text)
				_, three, err3 := r.OrderByKey(orderKey("two", "fw", "olga", text))
				ids, err4 := r.OperationIDs(store.OperationQuery{Orderer: law.SubjectID(text), Limit: 10})
				if one || two || three || len(ids) > 0 {
					f.Errorf("%q: something is found", text)
				}
				return errors.Join(err1, err2, err3, err4)
			})
		}
	},

	"WhatACommitThatFailedWouldHaveChangedIsAsItWas": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 1, "fw-two") })
		f.update(func(tx *store.Tx) error { return approve(tx, "one", "anna") })
		f.onCommit(failed)
		f.expectUnavailable(f.try(func(tx *store.Tx) error { return approve(tx, "one", "bert") }))
		f.commit.Store(nil)
		f.update(func(tx *store.Tx) error {
			o, err := operation(&tx.Reader, "one")
			if len(o.Approvals) != 1 || o.Revision != 2 {
				f.Errorf("the approvals are %v, the revision %d", o.Approvals, o.Revision)
			}
			return errors.Join(err, approve(tx, "one", "bert"))
		})
		f.onCommit(lost)
		f.update(func(tx *store.Tx) error { _, err := Place(tx, "one", "fw-two", "order"); return err })
		f.commit.Store(nil)
		f.update(func(tx *store.Tx) error {
			o, err := operation(&tx.Reader, "one")
			if u := o.Usage["fw-two"]; u.Taken != 1 || len(o.Approvals) != 2 {
				f.Errorf("the operation is %+v", o)
			}
			return err
		})
	},

	"AnOperationThatManyClosuresOfABatchChangeIsAsTheLastOneLeftIt": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 9, "fw") })
		before := f.stored("one")
		var fns []func(*store.Tx) error
		for i := range 9 {
			fns = append(fns, func(tx *store.Tx) error {
				r, err := Place(tx, "one", "fw", law.OrderID(fmt.Sprint("order ", i)))
				if r.Use != i+1 {
					f.Errorf("order %d takes use %d", i, r.Use)
				}
				if i%2 == 1 {
					err = errors.Join(err, complete(tx, r.ID, []byte("signature")))
				}
				return err
			})
		}
		if err := errors.Join(f.batch(fns...)...); err != nil {
			f.Error(err)
		}
		after := f.stored("one")
		if u := after.Usage["fw"]; u != (law.Usage{Taken: 9, Signed: 4}) || after.Revision != before.Revision+13 {
			f.Errorf("the usage is %+v, the revision %d after %d", u, after.Revision, before.Revision)
		}
		f.update(func(tx *store.Tx) error { return complete(tx, "order 0", []byte("signature")) })
		f.reopen()
		if u := f.stored("one").Usage["fw"]; u != (law.Usage{Taken: 9, Signed: 5}) {
			f.Errorf("the usage is %+v", u)
		}
	},

	"ClosuresOfABatchFindWhatTheOnesBeforeMadeUnderAnIdempotencyKey": func(f *fixture) {
		errs := f.batch(
			func(tx *store.Tx) error { return Create(tx, "one", 9, "fw") },
			func(tx *store.Tx) error {
				o, known, err := tx.OperationByIdempotencyKey("olga", "idem one")
				if !known || o.ID != "one" {
					f.Errorf("the operation is not found: %v", o.ID)
				}
				_, other, errOther := tx.OperationByIdempotencyKey("anna", "idem one")
				_, placed := Place(tx, "one", "fw", "order")
				if other {
					f.Error("that of somebody else is found")
				}
				return errors.Join(err, errOther, placed)
			},
			func(tx *store.Tx) error {
				r, known, err := tx.OrderByKey(orderKey("one", "fw", "olga", "order"))
				byID, knownByID, errByID := tx.Order("order")
				if !known || r.ID != "order" || !knownByID || byID.Use != 1 {
					f.Errorf("the sign order is not found: %v, %v", r, byID)
				}
				_, other, errOther := tx.OrderByKey(orderKey("one", "fw", "anna", "order"))
				if other {
					f.Error("that of somebody else is found")
				}
				return errors.Join(err, errByID, errOther)
			},
		)
		if err := errors.Join(errs...); err != nil {
			f.Error(err)
		}
	},

	"SignOrdersThatAreLookedForTogetherAreEachFound": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			return errors.Join(Create(tx, "one", 9, "fw"), Create(tx, "two", 9, "fw"))
		})
		f.update(func(tx *store.Tx) error { _, err := Place(tx, "one", "fw", "first"); return err })
		release := f.hold()
		var wg sync.WaitGroup
		for i, c := range []struct {
			in    law.OperationID
			order law.OrderID
			known bool // when the batch begins
		}{{"one", "first", true}, {"two", "first", false}, {"one", "second", false}, {"one", "second", false}, {"one", "sec\x00nd", false}} {
			n := f.db.Waiting()
			wg.Go(func() {
				_, err := store.Update(background, f.db, func(tx *store.Tx) (any, error) {
					r, known, err := tx.OrderByKey(Placing(c.in, "fw", c.order))
					if again := i == 3; known != (c.known || again) || known && r.IdempotencyKey != string(c.order) || known && r.Operation != c.in {
						f.Errorf("%v: found %v, %+v", c, known, r)
					}
					if !known && i < 4 {
						_, err = Place(tx, c.in, "fw", "new "+law.OrderID(fmt.Sprint(i)))
						if i == 2 {
							_, err = Place(tx, c.in, "fw", c.order)
						}
					}
					return nil, err
				}, Placing(c.in, "fw", c.order))
				if err != nil {
					f.Errorf("%v: %v", c, err)
				}
			})
			await(func() bool { return f.db.Waiting() > n })
		}
		release()
		wg.Wait()
	},

	"WhatAnotherServerHasChangedIsReadAnewThoughItWasUsedLongAgo": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 2, "fw") })
		f.update(func(tx *store.Tx) error { // more than are kept as used lately
			for i := range 1100 {
				if err := Create(tx, opID(i), 1, "fw"); err != nil {
					return err
				}
			}
			return nil
		})
		f.must(update(f.another(f.options()), func(tx *store.Tx) error { _, err := Place(tx, "one", "fw", "first"); return err }))
		f.update(func(tx *store.Tx) error {
			r, err := Place(tx, "one", "fw", "second")
			if r.Use != 2 {
				f.Errorf("it took use %d", r.Use)
			}
			return err
		})
	},

	"ASignOrderThatAnotherServerHasSettledIsReadAnew": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 2, "fw") })
		f.update(func(tx *store.Tx) error { _, err := Place(tx, "one", "fw", "order"); return err })
		f.must(update(f.another(f.options()), func(tx *store.Tx) error { return complete(tx, "order", []byte("signature")) }))
		f.update(func(tx *store.Tx) error {
			r, _, err := tx.Order("order")
			if r.State != law.OrderSigned {
				f.Errorf("the sign order is %s", r.State)
			}
			return err
		})
	},

	"WhatAClosureBeforeHasChangedStandsWhenTheNextOneFails": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 9, "fw") })
		place := func(order law.OrderID, err error) func(*store.Tx) error {
			return func(tx *store.Tx) error { _, placed := Place(tx, "one", "fw", order); return errors.Join(placed, err) }
		}
		other := func(tx *store.Tx) error { return Create(tx, "other", 9, "fw") }
		errs := f.batch(other, place("a", nil), place("b", errOwn))
		if u := f.stored("one").Usage["fw"]; errs[0] != nil || errs[1] != nil || u.Taken != 1 {
			f.Errorf("the errors are %v, the usage %+v", errs, u)
		}
	},

	"AClosureThatSwallowsAnErrorOfTheDatabaseIsNotAnswered": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return createAs(tx, "one", "same") })
		head := f.db.Head()
		if err := f.try(func(tx *store.Tx) error {
			err := createAs(tx, "two", "same")
			_, _ = tx.OperationIDs(store.OperationQuery{Limit: 1})
			return err
		}); err == nil || f.db.Head() != head {
			f.Errorf("the error is %v", err)
		}
	},

	"AViewOfWhatAnotherServerWroteMovesTheHead": func(f *fixture) {
		f.must(update(f.another(f.options()), saying("x")))
		f.view(func(r *store.Reader) error {
			if f.db.Head().Size() != r.LogSize() {
				f.Errorf("the head has %d entries, the log %d", f.db.Head().Size(), r.LogSize())
			}
			return nil
		})
	},

	"AFurtherAttemptHasItsOwnLease": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Create(tx, "one", 9, "fw") })
		f.update(func(tx *store.Tx) error { _, err := Place(tx, "one", "fw", "order"); return err })
		var later law.Order
		f.update(func(tx *store.Tx) error {
			r, _, err := tx.Order("order")
			o, errOperation := operation(&tx.Reader, "one")
			r.Attempt, r.Lease = 2, r.Lease.Add(hour)
			later = r
			return errors.Join(err, errOperation, tx.SaveOrder(o, r, eventsOf(o.Operation, []law.Change{{Kind: law.DidAttemptOrder}}, r)[0]))
		})
		f.reopen()
		if r, _, err := f.order("order"); err != nil || !r.Lease.Equal(later.Lease) || r.Attempt != 2 {
			f.Errorf("stored is %+v (%v)", r, err)
		}
	},

	"WhatAnotherServerHasChangedIsReadAnew": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			return errors.Join(Create(tx, "one", 3, "fw-two"), Create(tx, "other", 3, "fw"))
		})
		other := f.another(f.options())
		look := func(tx *store.Tx) error {
			one, err := operation(&tx.Reader, "one")
			two, errTwo := operation(&tx.Reader, "other")
			if len(one.Approvals) > 0 || two.Revision == 0 {
				f.Errorf("the operations are %+v and %+v", one, two)
			}
			return errors.Join(err, errTwo)
		}
		f.update(look)
		f.must(update(other, look))
		f.must(update(other, func(tx *store.Tx) error { return approve(tx, "one", "anna") }))
		f.update(func(tx *store.Tx) error { return approve(tx, "one", "bert") })
		f.must(update(other, func(tx *store.Tx) error { _, err := Place(tx, "one", "fw-two", "first"); return err }))
		f.update(func(tx *store.Tx) error { _, err := Place(tx, "one", "fw-two", "second"); return err })
		f.must(update(other, func(tx *store.Tx) error { return complete(tx, "second", []byte("signature")) }))
		f.update(func(tx *store.Tx) error { return complete(tx, "first", []byte("signature")) })
		for i := range 3 { // more events than are looked through
			f.must(update(other, func(tx *store.Tx) error {
				for range 2000 {
					if err := say(tx, "x"); err != nil {
						return err
					}
				}
				_, err := Place(tx, "other", "fw", law.OrderID(fmt.Sprint("of the other ", i)))
				return err
			}))
		}
		f.update(func(tx *store.Tx) error {
			o, err := operation(&tx.Reader, "other")
			if o.Usage["fw"].Taken != 3 {
				f.Errorf("the usage is %+v", o.Usage)
			}
			return err
		})
	},
}

// stored is an operation as a view sees it.
func (f *fixture) stored(id law.OperationID) store.Operation {
	f.Helper()
	var o store.Operation
	f.view(func(r *store.Reader) (err error) { o, err = operation(r, id); return err })
	return o
}

// createAs makes an operation under an idempotency key.
func createAs(tx *store.Tx, id law.OperationID, idempotencyKey string) error {
	ask := law.Ask{
		Server: tx.Server(), ID: id, Nonce: strings.Repeat("0f", 32), Description: "release", Context: "of the test", Validity: hour,
		Keys: []law.KeyAsk{{Key: "fw", MaxUses: 1}},
	}
	out, err := law.Create(olga, ask, tx.Facts(), tx.Now())
	if err != nil {
		return err
	}
	return save(tx, store.Operation{IdempotencyKey: idempotencyKey, Asked: "asked"}, out)
}

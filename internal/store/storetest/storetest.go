// Package storetest is the contract of the store: what every database that it runs on must do.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// ServerID is the name of the servers whose databases the contract makes.
const ServerID = "keyserver/storetest"

// Database is one database, empty at first and made for one test.
type Database interface {
	// Create makes the state of a new keyserver named [ServerID] in it.
	Create(context.Context, store.Options) (*store.DB, error)
	// Open opens it once more, as another server or the same one after a restart does.
	Open(context.Context, store.Options) (*store.DB, error)
}

// Run runs the contract. empty gives an empty database, which is gone when the test ends.
func Run(t *testing.T, empty func(testing.TB) Database) {
	for _, group := range []map[string]func(*fixture){
		transactions, batches, commits, times, configurations, operations, sessions, certificates, devices, signIns, outbox, readings, memory, races,
	} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(newFixture(t, empty(t)))
			})
		}
	}
}

// fixture is a database under test with the configuration of [World].
type fixture struct {
	*testing.T
	database Database
	clock    *Clock
	db       *store.DB
	commit   atomic.Pointer[func(commit func() error) error] // what happens to a commit; nil: nothing
}

var background = context.Background()

func newFixture(t *testing.T, d Database) *fixture {
	t.Helper()
	f := &fixture{T: t, database: d, clock: NewClock()}
	db, err := d.Create(background, f.options())
	f.must(err)
	f.db = db
	_, err = store.Update(background, db, func(tx *store.Tx) (any, error) { return nil, Configure(tx, World()) })
	f.must(err)
	t.Cleanup(func() {
		if f.db != nil {
			Check(t, f.db)
			f.close()
		}
	})
	return f
}

func (f *fixture) options() store.Options {
	return store.Options{Clock: f.clock.Now, Commit: func(commit func() error) error {
		if replaced := f.commit.Load(); replaced != nil {
			return (*replaced)(commit)
		}
		return commit()
	}}
}

// another opens the database once more, until the test ends.
func (f *fixture) another(o store.Options) *store.DB {
	f.Helper()
	db, err := f.database.Open(background, o)
	f.must(err)
	f.Cleanup(func() {
		if err := db.Close(); err != nil {
			f.Errorf("closing the other one: %v", err)
		}
	})
	return db
}

func (f *fixture) close() {
	f.Helper()
	f.must(f.db.Close())
	f.db = nil
}

func (f *fixture) reopen() {
	f.Helper()
	f.close()
	db, err := f.database.Open(background, f.options())
	f.must(err)
	f.db = db
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// update runs a closure that must succeed.
func (f *fixture) update(fn func(*store.Tx) error) {
	f.Helper()
	f.must(f.try(fn))
}

// try runs a closure and returns the error that Update returns.
func (f *fixture) try(fn func(*store.Tx) error) error { return update(f.db, fn) }

func update(db *store.DB, fn func(*store.Tx) error) error {
	_, err := store.Update(background, db, func(tx *store.Tx) (any, error) { return nil, fn(tx) })
	return err
}

// view runs a closure that reads and must succeed.
func (f *fixture) view(fn func(*store.Reader) error) {
	f.Helper()
	_, err := store.View(background, f.db, func(r *store.Reader) (any, error) { return nil, fn(r) })
	f.must(err)
}

// say appends an event that can be recognised.
func say(tx *store.Tx, what string) error {
	return tx.Append(audit.Event{Type: audit.RequestRefused, Reason: what})
}

// said is what was said since the configuration, in order.
func (f *fixture) said() []string {
	f.Helper()
	var out []string
	for _, e := range Events(f, f.db) {
		if e.Type == audit.RequestRefused {
			out = append(out, e.Reason)
		}
	}
	return out
}

func (f *fixture) expectSaid(want ...string) {
	f.Helper()
	if got := f.said(); !slices.Equal(got, want) {
		f.Errorf("the log says %q, want %q", got, want)
	}
}

func (f *fixture) expectUnavailable(err error) {
	f.Helper()
	var unavailable *store.Unavailable
	if !errors.As(err, &unavailable) {
		f.Errorf("the error is %v, want *Unavailable", err)
	}
}

// hold keeps the writer busy with a closure until release is called, so that what is asked for meanwhile
// forms one batch. release returns once the closure has ended.
func (f *fixture) hold() (release func()) {
	f.Helper()
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- f.try(func(*store.Tx) error {
			close(begun)
			<-end
			return nil
		})
	}()
	<-begun
	return sync.OnceFunc(func() {
		close(end)
		if err := <-ended; err != nil {
			f.Errorf("the closure that held the writer: %v", err)
		}
	})
}

// queue asks for closures to be run, in this order, while the writer is held. The function it returns waits
// for them and returns their errors.
func (f *fixture) queue(fns ...func(*store.Tx) error) (wait func() []error) {
	f.Helper()
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		n := f.db.Waiting()
		wg.Go(func() { errs[i] = f.try(fn) })
		await(func() bool { return f.db.Waiting() > n })
	}
	return func() []error { wg.Wait(); return errs }
}

// batch runs closures in one batch and returns their errors.
func (f *fixture) batch(fns ...func(*store.Tx) error) []error {
	f.Helper()
	release := f.hold()
	wait := f.queue(fns...)
	release()
	return wait()
}

func await(what func() bool) {
	for !what() {
		runtime.Gosched()
	}
}

// Events reads the whole audit log.
func Events(t testing.TB, db *store.DB) []audit.Event {
	t.Helper()
	events, err := store.View(background, db, allEvents)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func allEvents(r *store.Reader) ([]audit.Event, error) {
	stored, err := r.Events(store.EventQuery{Limit: 1 << 30})
	if err != nil {
		return nil, err
	}
	events := make([]audit.Event, len(stored))
	for i, s := range stored {
		if events[i], err = audit.ParseLeaf(s.Leaf); err != nil {
			return nil, err
		}
		if events[i].Index != s.Index {
			return nil, fmt.Errorf("entry %d is stored as %d", events[i].Index, s.Index)
		}
	}
	return events, nil
}

// Check fails the test if state and audit log do not belong together: the tree must be that of the leaves,
// and the tables what the events tell.
func Check(t testing.TB, db *store.DB) {
	t.Helper()
	if _, err := store.View(background, db, func(r *store.Reader) (any, error) {
		return nil, errors.Join(checkLog(r), checkTables(r))
	}); err != nil {
		t.Errorf("checking the database: %v", err)
	}
}

func checkLog(r *store.Reader) error {
	stored, err := r.Events(store.EventQuery{Limit: 1 << 30})
	if err != nil {
		return err
	}
	checker, err := audit.NewChecker(ServerID, nil, nil)
	if err != nil {
		return err
	}
	var tree audit.Tree
	for _, s := range stored {
		if err := checker.Leaf(s.Leaf); err != nil {
			return err
		}
		var hashes []audit.StoredHash
		tree, hashes = tree.Append(s.Leaf)
		for _, h := range hashes {
			read, err := r.Hashes().ReadHashes([]int64{h.Index})
			if err != nil {
				return err
			}
			if !bytes.Equal(read[0][:], h.Hash[:]) {
				return fmt.Errorf("stored hash %d is not that of the leaves", h.Index)
			}
		}
	}
	resumed, err := audit.Resume(r.LogSize(), r.Hashes())
	if err != nil {
		return err
	}
	if resumed != tree {
		return fmt.Errorf("the tree of %d leaves, read from its hashes, is not that of the %d leaves", resumed.Size(), tree.Size())
	}
	_, err = checker.Finish(audit.Checkpoint{Origin: ServerID, Size: tree.Size(), Root: tree.Root()})
	return err
}

// checkTables compares the tables with a count of the events.
func checkTables(r *store.Reader) error {
	events, err := allEvents(r)
	if err != nil {
		return err
	}
	type keyOf struct {
		operation law.OperationID
		key       law.KeyID
	}
	created, orders := map[law.OperationID]bool{}, map[law.OperationID]int{}
	taken, signed := map[keyOf]int{}, map[keyOf]int{}
	for _, e := range events {
		switch e.Type {
		case audit.OperationCreated:
			created[e.Operation] = true
		case audit.OrderAccepted:
			orders[e.Operation]++
			taken[keyOf{e.Operation, e.Key}]++
		case audit.OrderSigned:
			signed[keyOf{e.Operation, e.Key}]++
		}
	}
	ids, err := r.OperationIDs(store.OperationQuery{Limit: 1 << 30})
	if err != nil {
		return err
	}
	if len(ids) != len(created) {
		return fmt.Errorf("%d operations are stored, %d were created", len(ids), len(created))
	}
	for _, id := range ids {
		o, _, err := r.Operation(id)
		if err != nil {
			return err
		}
		placed, err := r.Orders(id, "", 1<<30)
		if err != nil {
			return err
		}
		if !created[id] || len(placed) != orders[id] {
			return fmt.Errorf("operation %s: created %v, %d sign orders stored, %d accepted", id, created[id], len(placed), orders[id])
		}
		for key, u := range o.Usage {
			if want := (law.Usage{Taken: taken[keyOf{id, key}], Signed: signed[keyOf{id, key}]}); u != want {
				return fmt.Errorf("operation %s, key %s: usage is %v, by the events %v", id, key, u, want)
			}
		}
	}
	return nil
}

// Clock is a clock that stands still until the test moves it.
type Clock struct{ ms atomic.Int64 }

// NewClock returns a clock at a fixed time.
func NewClock() *Clock {
	c := &Clock{}
	c.ms.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

// Now is the time.
func (c *Clock) Now() time.Time { return time.UnixMilli(c.ms.Load()).UTC() }

// Step moves the clock, also backwards.
func (c *Clock) Step(d time.Duration) { c.ms.Add(d.Milliseconds()) }

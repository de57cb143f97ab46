package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/storetest"
)

func say(what string) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.Append(audit.Event{Type: audit.RequestRefused, Reason: what}) }
}

func isUnavailable(err error) bool {
	var unavailable *store.Unavailable
	return errors.As(err, &unavailable)
}

// together runs closures in one batch, if the database lets the one begin that holds the writer meanwhile.
func together(t *testing.T, db *store.DB, fns ...func(*store.Tx) error) []error {
	t.Helper()
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_ = update(db, func(*store.Tx) error { close(begun); <-end; return nil })
	}()
	held := true
	select {
	case <-begun:
	case <-ended:
		held = false
	}
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		wg.Go(func() { errs[i] = update(db, fn) })
		for held && db.Waiting() <= i {
			runtime.Gosched()
		}
	}
	close(end)
	wg.Wait()
	<-ended
	return errs
}

// CF-02, AT-03: whatever keeps the database from writing, nothing is stored, and when the cause is gone
// everything goes on without repair.
func TestCF02_ADatabaseThatCannotWriteStoresNothingAndRecovers(t *testing.T) {
	big := strings.Repeat("x", 100_000)
	move := func(t *testing.T, from, to string) { must(t, os.Rename(from, to)) }
	for name, fault := range map[string]struct {
		begin, end func(t *testing.T, path string, db *store.DB)
		reads      bool // nothing can be read either
	}{
		"disk full": {
			begin: func(t *testing.T, _ string, db *store.DB) { db.OnWriter(t, `PRAGMA max_page_count = 1`) }, // no more than there are
			end:   func(t *testing.T, _ string, db *store.DB) { db.OnWriter(t, `PRAGMA max_page_count = 1000000`) },
		},
		"directory moved away": {
			begin: func(t *testing.T, path string, _ *store.DB) { move(t, filepath.Dir(path), filepath.Dir(path)+".away") },
			end:   func(t *testing.T, path string, _ *store.DB) { move(t, filepath.Dir(path)+".away", filepath.Dir(path)) },
			reads: true,
		},
		"another file in its place": {
			begin: func(t *testing.T, path string, _ *store.DB) {
				move(t, path, path+".away")
				must(t, os.WriteFile(path, nil, 0o600))
			},
			end:   func(t *testing.T, path string, _ *store.DB) { move(t, path+".away", path) },
			reads: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := file(filepath.Join(t.TempDir(), "database", "keyserver.db"))
			db := f.create(t, store.Options{})
			must(t, update(db, say("before")))
			head := db.Head()
			fault.begin(t, string(f), db)
			for i, err := range together(t, db, say("small"), say(big), func(tx *store.Tx) error { return storetest.Create(tx, "one", 1, "fw") }) {
				if !isUnavailable(err) {
					t.Errorf("the error of closure %d is %v, want *Unavailable", i, err)
				}
			}
			if db.Head() != head {
				t.Error("the head has moved")
			}
			_, err := store.View(t.Context(), db, func(*store.Reader) (any, error) { return nil, nil })
			if isUnavailable(err) != fault.reads {
				t.Errorf("the error of a view is %v", err)
			}
			fault.end(t, string(f), db)
			storetest.Check(t, db)
			must(t, update(db, say(big)))
			must(t, update(db, func(tx *store.Tx) error { return storetest.Create(tx, "one", 1, "fw-two") }))
			storetest.Check(t, db)
			if got, want := db.Head().Size(), head.Size()+2; got != want {
				t.Errorf("the log has %d entries, want %d", got, want)
			}
		})
	}
}

// A connection that is in a state of which the program does not know fails once and is replaced.
func TestAConnectionThatIsNoGoodAnyMoreIsReplaced(t *testing.T) {
	db := newFile(t).create(t, store.Options{})
	for _, statement := range []string{`BEGIN IMMEDIATE`, `PRAGMA query_only = 1`} {
		head := db.Head()
		db.OnWriter(t, statement)
		if err := update(db, say("never")); !isUnavailable(err) || db.Head() != head {
			t.Errorf("after %s the error is %v", statement, err)
		}
		must(t, update(db, say("after")))
		if got := db.Pragmas(t, "synchronous"); got[0] != "2" {
			t.Errorf("synchronous is %v", got)
		}
	}
	storetest.Check(t, db)
}

func TestAT03_ADatabaseLockedByAnotherProcessIsUnavailableUntilItIsReleased(t *testing.T) {
	t.Parallel() // it waits out the busy timeout
	f := newFile(t)
	db := f.create(t, store.Options{})
	other := f.open(t, store.Options{})
	begun, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := update(other, func(tx *store.Tx) error { close(begun); <-end; return say("by the other")(tx) }); err != nil {
			t.Error(err)
		}
	})
	<-begun
	if err := update(db, say("never")); !isUnavailable(err) || !strings.Contains(err.Error(), "taking the write lock") {
		t.Errorf("the error is %v", err)
	}
	if _, err := store.View(t.Context(), db, func(*store.Reader) (any, error) { return nil, nil }); err != nil {
		t.Errorf("reading under the lock: %v", err)
	}
	storetest.Check(t, f.open(t, store.Options{})) // a tool
	close(end)
	wg.Wait()
	must(t, update(db, say("after")))
	storetest.Check(t, db)
}

// A commit of which nobody knows what became is said to be so, and nothing else goes wrong by it.
func TestAnOutcomeThatCannotBeLookedUpIsSaidToBeUnknown(t *testing.T) {
	for name, happened := range map[string]bool{"happened": true, "did not happen": false} {
		t.Run(name, func(t *testing.T) {
			f := newFile(t)
			var fault func(commit func() error) error
			db := f.create(t, store.Options{Commit: func(commit func() error) error {
				if fault != nil {
					return fault(commit)
				}
				return commit()
			}})
			answer := errors.New("the answer was lost")
			fault = func(commit func() error) error {
				if happened {
					must(t, commit())
				}
				must(t, os.Rename(string(f), string(f)+".away"))
				return answer
			}
			err := update(db, func(tx *store.Tx) error { return storetest.Create(tx, "one", 1, "fw") })
			if !isUnavailable(err) || !errors.Is(err, answer) || !strings.Contains(err.Error(), "looking up whether it happened") {
				t.Errorf("the error is %v", err)
			}
			fault = nil
			must(t, os.Rename(string(f)+".away", string(f)))
			must(t, update(db, say("after")))
			storetest.Check(t, db)
			known, err := store.View(t.Context(), db, func(r *store.Reader) (bool, error) {
				_, known, err := r.Operation("one")
				return known, err
			})
			if known != happened || err != nil {
				t.Errorf("the operation is stored: %v, %v", known, err)
			}
		})
	}
}

// What makes no sense in one row is an error of whoever reads it, and of nobody else.
func TestRowsThatMakeNoSenseAreErrorsOfTheirReaders(t *testing.T) {
	f := newFile(t)
	db := f.create(t, store.Options{})
	must(t, update(db, func(tx *store.Tx) error {
		for _, id := range []law.OperationID{"statement", "eligible", "covers", "order"} {
			if err := storetest.Create(tx, id, 1, "fw"); err != nil {
				return err
			}
		}
		_, err := storetest.Place(tx, "order", "fw", "order")
		return err
	}))
	db.OnWriter(t, `UPDATE operations SET statement = ' ' || statement WHERE id = 'statement'`)
	db.OnWriter(t, `UPDATE operations SET eligible = '[' WHERE id = 'eligible'`)
	db.OnWriter(t, `INSERT INTO approvals (operation, position, subject, covers, at, withdrawn) VALUES ('covers', 0, 'anna', 'fw', 1, 0)`)
	db.OnWriter(t, `UPDATE sign_orders SET input = 'zz' WHERE id = 'order'`)
	db.OnWriter(t, `UPDATE audit_hashes SET hash = x'00' WHERE idx = 1`)
	db.Forget(t)
	for name, read := range map[string]func(*store.Reader) error{
		"statement": func(r *store.Reader) error { _, _, err := r.Operation("statement"); return err },
		"eligible":  func(r *store.Reader) error { _, _, err := r.Operation("eligible"); return err },
		"covers":    func(r *store.Reader) error { _, _, err := r.Operation("covers"); return err },
		"order":     func(r *store.Reader) error { _, _, err := r.Order("order"); return err },
		"hash":      func(r *store.Reader) error { _, err := r.Hashes().ReadHashes([]int64{1}); return err },
	} {
		errs := together(t, db, say("neighbour"), func(tx *store.Tx) error { return read(&tx.Reader) })
		_, err := store.View(t.Context(), db, func(r *store.Reader) (any, error) { return nil, read(r) })
		if errs[0] != nil || errs[1] == nil || isUnavailable(errs[1]) || err == nil || isUnavailable(err) {
			t.Errorf("%s: the errors are %v and %v", name, errs, err)
		}
	}
	db.OnWriter(t, `UPDATE configuration SET body = '{}' WHERE kind = 'key'`)
	db.OnWriter(t, `UPDATE head SET configuration = configuration + 1`)
	if err := update(db, say("without facts")); !isUnavailable(err) || !strings.Contains(err.Error(), "the configuration as stored") {
		t.Errorf("the error of an update without facts is %v", err)
	}
	if _, err := store.View(t.Context(), db, func(*store.Reader) (any, error) { return nil, nil }); !isUnavailable(err) {
		t.Errorf("the error of a view without facts is %v", err)
	}
	db.OnWriter(t, `UPDATE configuration SET body = '[' WHERE kind = 'key'`)
	if err := update(db, say("without facts")); !isUnavailable(err) || !strings.Contains(err.Error(), "reading the configuration") {
		t.Errorf("the error is %v", err)
	}
}

func TestATableThatIsGoneMakesTheDatabaseUnavailable(t *testing.T) {
	for _, table := range []string{"head", "audit_events", "audit_hashes", "configuration", "operations", "operation_keys", "approvals", "sign_orders"} {
		t.Run(table, func(t *testing.T) {
			db := newFile(t).create(t, store.Options{})
			must(t, update(db, func(tx *store.Tx) error { return storetest.Create(tx, "one", 9, "fw") }))
			db.Forget(t)
			db.OnWriter(t, `PRAGMA foreign_keys = 0`)
			db.OnWriter(t, `ALTER TABLE `+table+` RENAME TO elsewhere`)
			all := func(tx *store.Tx) error {
				_, _, errOperation := tx.Operation("one")
				_, _, errOrder := tx.Order("order")
				_, errIDs := tx.OperationIDs(store.OperationQuery{Limit: 1})
				_, errPending := tx.PendingOf("olga", tx.Now())
				_, errEvents := tx.Events(store.EventQuery{Limit: 1})
				_, errPlace := storetest.Place(tx, "one", "fw", "order")
				return errors.Join(errOperation, errOrder, errIDs, errPending, errEvents, errPlace, storetest.Configure(tx, storetest.World()))
			}
			if err := update(db, all); !isUnavailable(err) {
				t.Errorf("the error is %v", err)
			}
			if _, err := store.View(t.Context(), db, func(r *store.Reader) (any, error) {
				_, _, errOperation := r.Operation("one")
				_, _, errOrder := r.Order("order")
				_, errEvents := r.Events(store.EventQuery{Limit: 1})
				_, errHash := r.Hashes().ReadHashes([]int64{0})
				if errors.Join(errOperation, errOrder, errEvents, errHash) == nil {
					return nil, &store.Unavailable{} // of this table a view reads nothing
				}
				return nil, nil
			}); !isUnavailable(err) {
				t.Errorf("the error of a view that swallows it is %v", err)
			}
			db.OnWriter(t, `ALTER TABLE elsewhere RENAME TO `+table)
			must(t, update(db, say("after")))
			storetest.Check(t, db)
		})
	}
}

func TestClosingWaitsForViews(t *testing.T) {
	db := newFile(t).create(t, store.Options{})
	begun, end := make(chan struct{}), make(chan struct{})
	viewed, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := store.View(context.Background(), db, func(r *store.Reader) (any, error) {
			close(begun)
			<-end
			_, err := r.Events(store.EventQuery{Limit: 1})
			return nil, err
		})
		viewed <- err
	}()
	<-begun
	go func() { closed <- db.Close() }()
	for { // until the closing has begun
		if err := update(db, func(*store.Tx) error { return nil }); isUnavailable(err) {
			break
		}
	}
	select {
	case err := <-closed:
		t.Errorf("closed under a view: %v", err)
	default:
	}
	close(end)
	must(t, <-viewed)
	must(t, <-closed)
}

func ExampleUnavailable() {
	fmt.Println(&store.Unavailable{Err: errors.New("taking the write lock: database is locked")})
	// Output: the database is not to be had: taking the write lock: database is locked
}

func TestWatchersThatAreDoneLeaveNothingBehind(t *testing.T) {
	db := newFile(t).create(t, store.Options{})
	_, first := db.Watch("one")
	_, second := db.Watch("one")
	_, other := db.Watch("other")
	first()
	if n := db.Watched(); n != 2 {
		t.Errorf("%d operations are watched, want 2", n)
	}
	second()
	must(t, update(db, func(tx *store.Tx) error { return storetest.Create(tx, "other", 1, "fw") }))
	_, everything := db.WatchAny()
	everything()
	other()
	if n := db.Watched(); n != 0 {
		t.Errorf("%d operations are watched, want none", n)
	}
}

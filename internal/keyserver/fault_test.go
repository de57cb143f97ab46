package keyserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/testkit"
)

// A fault is what goes wrong with something: it did not happen, or it did and was reported as failed.
type faultKind int

const (
	noFault faultKind = iota
	didNotHappen
	reportedAsFailed
)

var errFault = errors.New("injected fault")

// commitFault makes commits fail.
type commitFault struct {
	mu    sync.Mutex
	kind  faultKind
	every bool
}

// next makes the next commit fail.
func (f *commitFault) next(kind faultKind) { f.set(kind, false) }

// set makes the next commit, or every one, fail. No fault makes all well again.
func (f *commitFault) set(kind faultKind, every bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kind, f.every = kind, every
}

func (f *commitFault) commit(commit func() error) error {
	f.mu.Lock()
	kind := f.kind
	if !f.every {
		f.kind = noFault
	}
	f.mu.Unlock()
	switch kind {
	case didNotHappen:
		return errFault
	case reportedAsFailed:
		return errors.Join(commit(), errFault)
	}
	return commit()
}

// answered is what a verb answered.
type answered struct {
	order keyserver.SignOrder
	err   error
}

// inBackground places a sign order for olga and returns where the answer will be.
func inBackground(k *testkit.Kit, o keyserver.Operation, ask law.OrderAsk) <-chan answered {
	answer := make(chan answered, 1)
	go func() {
		order, err := k.Sign(o, ask)
		answer <- answered{order, err}
	}()
	return answer
}

// injected is one fault at one fault point, in a kit that is to survive it.
type injected struct {
	*testkit.Kit
	client context.Context // of who asks
	inject func()          // from now on
	mend   func()          // ends the server and the fault, and starts the server again
}

// everyFault tries each fault at each of the fault points of ARCHITECTURE.md section 5.
func everyFault(t *testing.T, o testkit.Options, survives func(injected)) {
	points := map[string]func(k *testkit.Kit, fault *commitFault, kind faultKind, cancel func()){
		"commit of the acceptance": func(_ *testkit.Kit, fault *commitFault, kind faultKind, _ func()) { fault.next(kind) },
		"call of the keystore": func(k *testkit.Kit, _ *commitFault, kind faultKind, _ func()) {
			if kind == didNotHappen {
				k.Keystore.Fail(errFault)
			} else {
				k.Keystore.FailAfter(errFault)
			}
		},
		"commit of the result": func(k *testkit.Kit, fault *commitFault, kind faultKind, _ func()) {
			k.Keystore.Hook(keystoretest.Hooks{After: func(_ law.Permit, u keystore.Unverified, err error) (keystore.Unverified, error) {
				fault.next(kind)
				return u, err
			}})
		},
		"answer to the client": func(k *testkit.Kit, _ *commitFault, kind faultKind, cancel func()) {
			if kind == reportedAsFailed { // the client goes away while its signature is made
				k.Keystore.Hook(keystoretest.Hooks{Before: func(context.Context, law.Permit) error { cancel(); return nil }})
			} else { // before anything was done
				cancel()
			}
		},
	}
	for point, inject := range points {
		for kind, happened := range map[faultKind]string{didNotHappen: "did not happen", reportedAsFailed: "happened but was reported as failed"} {
			for how, again := range map[string]func(*testkit.Kit){"restart": (*testkit.Kit).Restart, "crash": (*testkit.Kit).Crash} {
				t.Run(fmt.Sprintf("%s %s, %s", point, happened, how), func(t *testing.T) {
					var fault commitFault
					o.Commit = fault.commit
					k := testkit.NewWith(t, o)
					ctx, cancel := context.WithCancel(k.Context())
					defer cancel()
					survives(injected{k, ctx, func() { inject(k, &fault, kind, cancel) }, func() {
						fault.next(noFault)
						k.Keystore.Hook(keystoretest.Hooks{})
						k.CutOff(again)
					}})
				})
			}
		}
	}
}

// Whatever goes wrong, after a restart the same order is brought to its end: one use, every attempt audited, the same
// bytes for ever.
func TestASignOrderSurvivesEveryFault(t *testing.T) {
	everyFault(t, testkit.Options{}, func(f injected) {
		survives(f.Kit, func(o keyserver.Operation, ask law.OrderAsk) (keyserver.SignOrder, error) {
			f.inject()
			return f.Keyserver.PlaceSignOrder(f.client, f.Caller("olga"), o.ID, ask)
		}, f.mend)
	})
}

func survives(k *testkit.Kit, place func(keyserver.Operation, law.OrderAsk) (keyserver.SignOrder, error), again func()) {
	ask := testkit.Ask("fw-one")
	ask.Keys[0].MaxUses = 2
	o := k.Approve(k.Create(ask), "alice")
	order := testkit.OrderAsk("fw-one", "the same", "image")
	first, err := place(o, order)
	if u, is := errors.AsType[*keyserver.Unavailable](err); err != nil && !errors.Is(err, context.Canceled) && (!is || u.RetryAfter <= 0) {
		k.Errorf("the first answer is %v", err)
	} else if is && u.Order != "" {
		first.ID = u.Order
	}
	again()
	second := k.MustSign(o, order)
	if first.ID != "" && second.ID != first.ID {
		k.Errorf("the order was %s and is %s", first.ID, second.ID)
	}
	if first.Signature != nil && !bytes.Equal(first.Signature, second.Signature) {
		k.Error("the signature was released, and is another one after the restart")
	}
	third := k.MustSign(o, order)
	if third.ID != second.ID || !bytes.Equal(third.Signature, second.Signature) {
		k.Error("the same order has another signature")
	}
	after := k.Look(o.ID)
	if usage := after.Usage["fw-one"]; usage != (law.Usage{Taken: 1, Signed: 1}) {
		k.Errorf("the usage is %+v", usage)
	}
	attempts := k.Count(o.ID, audit.OrderAccepted) + k.Count(o.ID, audit.OrderAttempted)
	if signs := k.Keystore.Signs("fw-one"); signs > attempts || attempts > 2 || attempts != second.Attempt {
		k.Errorf("the keystore was asked %d times in %d audited attempts, the order says %d", signs, attempts, second.Attempt)
	}
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderAccepted: 1, audit.OrderSigned: 1, audit.OrderFailed: attempts - 1, audit.OrderRefused: 0})
}

// AT-03
func TestAT03_WithoutItsAuditEventNothingHappens(t *testing.T) {
	var fault commitFault
	k := testkit.NewWith(t, testkit.Options{Commit: fault.commit})
	approved := k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	pending := k.Approve(k.Create(testkit.Ask("fw-prod")), "alice")
	size := k.LogSize()
	fault.set(didNotHappen, true) // a disk that is full
	for what, do := range map[string]func() error{
		"creating": func() error { _, err := k.CreateAs(k.Caller("olga"), testkit.Ask("fw-dev")); return err },
		"approving": func() error {
			_, err := k.Keyserver.Approve(k.Context(), k.Caller("bob"), pending.ID, pending.Digest)
			return err
		},
		"withdrawing": func() error { _, err := k.Keyserver.Withdraw(k.Context(), k.Caller("alice"), pending.ID); return err },
		"rejecting":   func() error { _, err := k.Keyserver.Reject(k.Context(), k.Caller("bob"), pending.ID, "no"); return err },
		"revoking": func() error {
			_, err := k.Keyserver.Revoke(k.Context(), k.Caller("ada"), approved.ID, "no")
			return err
		},
		"signing": func() error { _, err := k.Sign(approved, testkit.OrderAsk("fw-one", "1", "image")); return err },
		"looking at what is hidden": func() error { // cannot be audited, so it is not answered either
			_, err := k.Keyserver.Operation(k.Context(), k.Caller("eve"), pending.ID)
			return err
		},
	} {
		testkit.Unavailable(t, what, do(), "database")
	}
	if n := len(k.Keystore.Calls()); n != 0 {
		t.Errorf("the keystore was asked %d times", n)
	}
	if n := k.LogSize() - size; n != 0 {
		t.Errorf("there are %d new events", n)
	}
	for _, o := range []keyserver.Operation{approved, pending} {
		if after := k.Look(o.ID); after.State != o.State || after.Revision != o.Revision {
			t.Errorf("an operation that was %s is %s, revision %d", o.State, after.State, after.Revision)
		}
	}
	fault.set(noFault, false)
	k.Check()
	k.MustSign(approved, testkit.OrderAsk("fw-one", "1", "image"))
	if k.Approve(pending, "bob").State != law.Approved {
		t.Error("an approval does not count after the recovery")
	}
}

// AT-03
func TestAT03_WhileTheLogIsLockedNothingHappens(t *testing.T) {
	t.Parallel() // it waits as long as a server waits for the lock
	k := testkit.New(t)
	o := k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	size := k.LogSize()
	other, err := store.Open(k.Context(), k.Location, store.Options{Clock: k.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	locked, unlock := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = store.Update(k.Context(), other, func(*store.Tx) (struct{}, error) {
			close(locked)
			<-unlock
			return struct{}{}, nil
		})
	}()
	<-locked
	_, err = k.Sign(o, testkit.OrderAsk("fw-one", "1", "image"))
	testkit.Unavailable(t, "signing", err, "database")
	if n := len(k.Keystore.Calls()); n != 0 || k.LogSize() != size {
		t.Errorf("the keystore was asked %d times, there are %d new events", n, k.LogSize()-size)
	}
	close(unlock)
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	k.MustSign(o, testkit.OrderAsk("fw-one", "1", "image"))
}

// AT-03
func TestAT03_AnEventThatCannotBeWrittenTakesItsChangeBack(t *testing.T) {
	k := testkit.New(t)
	o := k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	k.Clock.Step(testkit.Day)
	size := k.LogSize()
	ask := testkit.OrderAsk("fw-one", "not UTF-8: \xff", "image") // which no entry of the log can hold
	_, err := k.Sign(o, ask)
	if refusal, is := errors.AsType[*law.Refusal](err); err == nil || is {
		t.Errorf("a refusal that could not be audited was answered: %v", refusal)
	}
	if n := k.LogSize() - size; n != 0 { // not even the expiry that it would have settled
		t.Errorf("there are %d new events", n)
	}
}

// CF-04
func TestCF04_TenThousandPendingOperationsSurviveRestartAndCrash(t *testing.T) {
	t.Parallel()
	const n, workers, approved = 10_000, 100, 4 // every 4th has an approval
	orderers := make([]law.SubjectID, workers)
	k := testkit.NewWith(t, testkit.Options{World: func(c *law.Configuration) {
		for i := range orderers {
			orderers[i] = law.SubjectID(fmt.Sprint("olga-", i))
			c.Subjects = append(c.Subjects, law.Subject{ID: orderers[i], Kind: law.User, Name: "An olga", Enabled: true})
		}
		c.Roles[0].Members = orderers
	}})
	testkit.Race(workers, func(worker int) {
		for i := worker; i < n; i += workers {
			ask := testkit.Ask("fw-prod")
			ask.Validity = time.Hour + time.Duration(i)*time.Millisecond
			o, err := k.CreateAs(k.Caller(orderers[worker]), ask)
			if err != nil {
				k.Error(err)
				return
			}
			if i/workers%approved == 0 {
				k.Approve(o, "alice")
			}
		}
	})
	before := snapshot(k)
	if len(before) != n {
		t.Fatalf("%d operations were created", len(before))
	}
	for how, again := range map[string]func(){"restart": k.Restart, "crash": k.Crash} {
		again()
		after := snapshot(k)
		if len(after) != n {
			t.Errorf("after the %s there are %d operations", how, len(after))
		}
		for id, then := range before {
			if after[id] != then {
				t.Fatalf("after the %s operation %s is %+v, and was %+v", how, id, after[id], then)
			}
		}
	}
}

// kept is what a restart must not change.
type kept struct {
	state     law.State
	approvals string
	digest    law.Digest
	expires   time.Time
	revision  int64
}

func snapshot(k *testkit.Kit) map[law.OperationID]kept {
	all := map[law.OperationID]kept{}
	page := keyserver.Page{Limit: keyserver.MaxPage}
	for {
		out, err := k.Keyserver.Operations(k.Context(), k.Caller("audrey"), keyserver.OperationFilter{Page: page})
		if err != nil {
			k.Fatal(err)
		}
		for _, o := range out.Operations {
			all[o.ID] = kept{o.State, fmt.Sprint(o.Approvals), o.Digest, o.Expires, o.Revision}
		}
		if page.Cursor = out.Next; page.Cursor == "" {
			return all
		}
	}
}

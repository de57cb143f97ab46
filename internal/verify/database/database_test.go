package database_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/database"
	"example.org/keyserver/internal/verify/verifytest"
)

func verified(t *testing.T, w *verifytest.World, o verify.Options) verify.Report {
	t.Helper()
	report, err := database.Verify(t.Context(), w.DB, w.Verifier, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestADatabaseInWhichEverythingHappenedIsInOrder(t *testing.T) {
	w := verifytest.New(t)
	w.Story()
	var progress []int64
	report := verified(t, w, verify.Options{Progress: func(n int64) { progress = append(progress, n) }})
	for _, kind := range audit.Types() {
		if report.Counts[kind] == 0 && kind != audit.IntegrityViolation { // which nothing writes yet
			t.Errorf("the story has no %s", kind)
		}
	}
	size := report.Checkpoint.Size
	if size == 0 || size != w.DB.Head().Size() || report.Checkpoint.Root != w.DB.Head().Root() || progress[len(progress)-1] != size {
		t.Errorf("%d entries are reported, with progress %v; the database has %d", size, progress, w.DB.Head().Size())
	}
	if report.Open != 2 || int64(report.Operations) != report.Counts[audit.OperationCreated] ||
		int64(report.SignOrders) != report.Counts[audit.OrderAccepted] || int64(report.Signatures) != report.Counts[audit.OrderSigned] {
		t.Errorf("reported are %+v", report)
	}
}

func TestAnInitialisedDatabaseIsInOrder(t *testing.T) {
	w := verifytest.New(t)
	if report := verified(t, w, verify.Options{}); report.Operations != 0 || report.SignOrders != 0 {
		t.Errorf("reported are %+v", report)
	}
}

func TestALogOfSeveralPortionsIsInOrder(t *testing.T) {
	w := verifytest.New(t)
	_, err := store.Update(t.Context(), w.DB, func(tx *store.Tx) (struct{}, error) {
		for range 2500 {
			if err := tx.Append(audit.Event{Type: audit.SignInRefused, Actor: &audit.Actor{Address: "192.0.2.1"}, Count: 1}); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	remembered := audit.Checkpoint{Origin: verifytest.ServerID, Size: w.DB.Head().Size(), Root: w.DB.Head().Root()}
	verified(t, w, verify.Options{Remembered: []audit.Checkpoint{remembered}})
}

// Whatever several people do at the same time, in whatever order: what is stored is what the law allows.
func TestWhateverHappensAtTheSameTimeTheDatabaseIsInOrder(t *testing.T) {
	w := verifytest.New(t)
	var asked atomic.Int64
	w.Keystore.Hook(keystoretest.Hooks{Before: func(context.Context, law.Permit) error {
		if asked.Add(1)%5 == 0 {
			return errors.New("no HSM just now")
		}
		return nil
	}})
	wanted := []audit.Type{
		audit.OperationApproved, audit.OperationWithdrawn, audit.OperationRejected, audit.OperationBecameApproved, audit.OperationLapsed,
		audit.OperationExpired, audit.OperationRevoked, audit.OperationExhausted, audit.OrderAccepted, audit.OrderAttempted,
		audit.OrderSigned, audit.OrderFailed, audit.OrderRefused,
	}
	var report verify.Report
	missing := func(kind audit.Type) bool { return report.Counts[kind] == 0 }
	for round := 0; round < 4 || round < 40 && slices.ContainsFunc(wanted, missing); round++ { // what is rare does not happen in every four
		var all sync.WaitGroup
		var known sync.Map // operations by number
		for n := range 8 {
			all.Go(func() { wander(w, &known, rand.New(rand.NewPCG(uint64(round), uint64(n)))) })
		}
		if err := w.Server.Beat(t.Context()); err != nil { // one goroutine beats, as in a server
			t.Error(err)
		}
		all.Wait()
		report = verified(t, w, verify.Options{})
		if round%2 == 1 {
			w.Restart()
			report = verified(t, w, verify.Options{})
		}
	}
	t.Logf("%d operations, %d sign orders, %v", report.Operations, report.SignOrders, report.Counts)
	for _, kind := range wanted {
		if missing(kind) {
			t.Errorf("there was no %s; the test proves too little", kind)
		}
	}
}

// wander does 60 things, many of which are refused.
func wander(w *verifytest.World, known *sync.Map, r *rand.Rand) {
	ctx := context.Background()
	approver := func() keyserver.Caller {
		return w.Caller([]law.SubjectID{"alice", "bob", "carol", "dora"}[r.IntN(4)])
	}
	for range 60 {
		var o keyserver.Operation
		if found, ok := known.Load(r.IntN(6)); ok {
			o = found.(keyserver.Operation)
		}
		switch r.IntN(20) {
		case 0, 1:
			keys := [][]law.KeyID{{"fw-zero"}, {"fw-two"}, {"fw-two", "fw-zero"}}[r.IntN(3)]
			valid := func(ask *law.Ask) { ask.Validity = time.Duration(1+r.IntN(30)) * time.Second }
			if o, err := w.TryCreate([]law.SubjectID{"olga", "ci"}[r.IntN(2)], 1+r.IntN(3), valid, keys...); err == nil {
				known.Store(r.IntN(6), o)
			}
		case 2, 3, 4, 5:
			_, _ = w.Server.Approve(ctx, approver(), o.ID, o.Digest)
		case 6:
			who := approver()
			_, _ = w.Server.Approve(ctx, who, o.ID, o.Digest)
			_, _ = w.Server.Withdraw(ctx, who, o.ID)
		case 7:
			switch r.IntN(4) {
			case 0:
				_, _ = w.Server.Reject(ctx, approver(), o.ID, "no")
			case 1:
				_, _ = w.Server.Revoke(ctx, w.Caller("ada"), o.ID, "stop")
			}
		case 8:
			who := []law.SubjectID{"olga", "alice", "bob", "ci"}[r.IntN(4)]
			facts, err := w.Server.Facts(ctx)
			if s, ok := facts.Subject(who); err == nil && ok {
				if s.Enabled && r.IntN(3) == 0 {
					_, _ = w.Server.DisableSubject(ctx, w.Caller("ada"), who, "to and fro")
				}
				if !s.Enabled {
					s.Enabled = true
					_ = w.TryChange(law.Changes{Set: law.Configuration{Subjects: []law.Subject{s}}})
				}
			}
		case 9:
			w.Step(time.Duration(r.IntN(1500)) * time.Millisecond)
		default:
			key := law.KeyID("fw-zero")
			if len(o.Keys) > 0 {
				key = o.Keys[r.IntN(len(o.Keys))].Key
			}
			_ = w.Sign(o.Orderer.Subject, o, key, fmt.Sprint(r.IntN(5)), "image")
		}
	}
}

package testkit

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// Refused checks that an error is the law's refusal of this kind.
func Refused(t testing.TB, what string, err error, want law.RefusalKind) {
	t.Helper()
	refusal, is := errors.AsType[*law.Refusal](err)
	if !is || refusal.Kind != want || refusal.Reason == "" {
		t.Errorf("%s: got %v (%+v), want a refusal: %s", what, err, refusal, want)
	}
}

// Unavailable checks that an error says that something is not to be had, and returns it.
func Unavailable(t testing.TB, what string, err error, kind string) *keyserver.Unavailable {
	t.Helper()
	u, is := errors.AsType[*keyserver.Unavailable](err)
	if !is || u.Kind != kind || u.Sentence == "" || u.RetryAfter <= 0 {
		t.Fatalf("%s: got %v (%+v), want that %s is not to be had", what, err, u, kind)
	}
	return u
}

// Race runs fn n times, all released together, and waits for them.
func Race(n int, fn func(i int)) {
	var ready, all sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		all.Go(func() {
			ready.Done()
			<-start
			fn(i)
		})
	}
	ready.Wait()
	close(start)
	all.Wait()
}

// CreateAs creates an operation.
func (k *Kit) CreateAs(c keyserver.Caller, ask law.Ask) (keyserver.Operation, error) {
	return k.Keyserver.CreateOperation(context.Background(), c, keyserver.CreateRequest{IdempotencyKey: uuid.NewString(), Ask: ask})
}

// Place places a sign order.
func (k *Kit) Place(who law.SubjectID, o keyserver.Operation, ask law.OrderAsk) (keyserver.SignOrder, error) {
	return k.Keyserver.PlaceSignOrder(context.Background(), k.Caller(who), o.ID, ask)
}

// MustSign places a sign order for olga that is to succeed.
func (k *Kit) MustSign(o keyserver.Operation, ask law.OrderAsk) keyserver.SignOrder {
	k.Helper()
	order, err := k.Sign(o, ask)
	k.must(err)
	return order
}

// Look returns an operation as the auditor sees it.
func (k *Kit) Look(id law.OperationID) keyserver.Operation {
	k.Helper()
	o, err := k.Keyserver.Operation(context.Background(), k.Caller("audrey"), id)
	k.must(err)
	return o
}

// EventsOf returns the audit events of a type, of one operation or all.
func (k *Kit) EventsOf(id law.OperationID, of audit.Type) []audit.Event {
	k.Helper()
	return slices.DeleteFunc(k.Events(id), func(e audit.Event) bool { return e.Type != of })
}

// CutOff does again what ends a server, and returns once attempts that it has left under way are closed: at
// its start where the database is its own, else when their lease has run out.
func (k *Kit) CutOff(again func(*Kit)) {
	k.Helper()
	again(k)
	if k.DB.Shared() {
		k.Clock.Step(law.AttemptLease)
		k.Beat()
	}
}

// Beat lets the server do what it does every second.
func (k *Kit) Beat() {
	k.Helper()
	k.must(k.Keyserver.Beat(context.Background()))
}

// AcceptClock does what keyserver clock accept does.
func (k *Kit) AcceptClock() (ended int) {
	k.Helper()
	ended, err := keyserver.AcceptClock(context.Background(), k.DB)
	k.must(err)
	return ended
}

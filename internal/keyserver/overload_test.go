package keyserver_test

import (
	"errors"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// held are commits that wait until they are let go.
type held struct{ hold, one, let chan struct{} }

func (h held) commit(commit func() error) error {
	select {
	case <-h.hold: // closed: commits are held
		select {
		case h.one <- struct{}{}:
		default:
		}
		<-h.let
	default:
	}
	return commit()
}

// Rule 7, and what was begun is finished before anything new is begun: however long the queue is.
func TestWhenTheQueueIsFullTheSafeDirectionWorksAndResultsAreStored(t *testing.T) {
	h := held{make(chan struct{}), make(chan struct{}, 1), make(chan struct{})}
	k := testkit.NewWith(t, testkit.Options{Commit: h.commit})
	toRevoke, toReject := k.Create(testkit.Ask("fw-one")), k.Create(testkit.Ask("fw-one"))
	toWithdraw := k.Approve(k.Create(testkit.Ask("fw-prod")), "alice")
	signing, _, hanging, answer := hangingOrder(k)

	const many = 1100 // more than can wait
	busy := make(chan error, many)
	ask := func() { // what is refused is an event, and waits for the database, too
		_, err := k.Keyserver.Approve(k.Context(), k.Caller("olga"), toRevoke.ID, toRevoke.Digest)
		if u, is := errors.AsType[*keyserver.Unavailable](err); is && u.Kind == "busy" {
			busy <- err
		}
	}
	close(h.hold)
	go ask()
	<-h.one
	for range many {
		go ask()
	}
	testkit.Unavailable(t, "one too many", <-busy, "busy")
	hanging.Release()
	first := make(chan error)
	go func() {
		_, err := k.Keyserver.Revoke(k.Context(), k.Caller("ada"), toRevoke.ID, "stop")
		first <- err
	}()
	go func() { _, err := k.Keyserver.Reject(k.Context(), k.Caller("dave"), toReject.ID, "stop"); first <- err }()
	go func() { _, err := k.Keyserver.Withdraw(k.Context(), k.Caller("alice"), toWithdraw.ID); first <- err }()
	close(h.let)
	for range 3 {
		if err := <-first; err != nil {
			t.Error(err)
		}
	}
	if got := <-answer; got.err != nil {
		t.Errorf("the result was not stored: %v", got.err)
	}
	expectState(k, toRevoke, law.Revoked)
	expectState(k, toReject, law.Rejected)
	expectCounts(k, toWithdraw.ID, map[audit.Type]int{audit.OperationWithdrawn: 1})
	expectCounts(k, signing.ID, map[audit.Type]int{audit.OrderSigned: 1})
}

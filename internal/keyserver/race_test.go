package keyserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// RC-01
func TestRC01_OneUseIsTakenByOneOfManyOrders(t *testing.T) {
	k := testkit.New(t)
	o := k.Approve(k.Create(testkit.Ask("fw-one")), "alice")
	const n = 64
	errs := make([]error, n)
	testkit.Race(n, func(i int) {
		_, errs[i] = k.Sign(o, testkit.OrderAsk("fw-one", fmt.Sprint(i), "image"))
	})
	signed := 0
	for _, err := range errs {
		if err == nil {
			signed++
		} else {
			testkit.Refused(t, "an order too many", err, law.WrongState)
		}
	}
	if signed != 1 || k.Keystore.Signs("fw-one") != 1 {
		t.Errorf("%d orders were signed, and the keystore was asked %d times", signed, k.Keystore.Signs("fw-one"))
	}
	expectCounts(k, o.ID, map[audit.Type]int{
		audit.OrderAccepted: 1, audit.OrderAttempted: 0, audit.OrderSigned: 1, audit.OrderRefused: n - 1, audit.OperationExhausted: 1,
	})
}

func TestRacingOrdersTakeExactlyTheUsesThereAre(t *testing.T) {
	k := testkit.New(t)
	const racing = 200
	for _, uses := range []int{1, 2, 7, 64} {
		t.Run(fmt.Sprintf("%d of %d", uses, racing), func(t *testing.T) {
			ask := testkit.Ask("fw-dev")
			ask.Keys[0].MaxUses = uses
			o := k.Create(ask)
			before := k.Keystore.Signs("fw-dev")
			errs := make([]error, racing)
			testkit.Race(racing, func(i int) {
				_, errs[i] = k.Sign(o, testkit.OrderAsk("fw-dev", fmt.Sprint(i), fmt.Sprint("image ", i)))
			})
			signed := 0
			for _, err := range errs {
				if err == nil {
					signed++
				} else {
					testkit.Refused(t, "an order too many", err, law.WrongState)
				}
			}
			if signs := k.Keystore.Signs("fw-dev") - before; signed != uses || signs != uses {
				t.Errorf("%d orders were signed, and the keystore was asked %d times, of %d uses", signed, signs, uses)
			}
			if taken := k.Look(o.ID).Usage["fw-dev"]; taken != (law.Usage{Taken: uses, Signed: uses}) {
				t.Errorf("the usage is %+v", taken)
			}
			expectCounts(k, o.ID, map[audit.Type]int{
				audit.OrderAccepted: uses, audit.OrderSigned: uses, audit.OrderRefused: racing - uses, audit.OperationExhausted: 1,
			})
		})
	}
}

// withdrawalRounds and withdrawalTime bound the race of withdrawals and orders: as many rounds as fit, and more until
// each has won.
const (
	withdrawalRounds = 10_000
	withdrawalTime   = 12 * time.Second
	fewestRounds     = 1_000
	roundsAtOnce     = 50
)

// RC-02
func TestRC02_AWithdrawnApprovalNeverMeetsASignatureThatNeededIt(t *testing.T) {
	t.Parallel()
	k := testkit.NewWith(t, testkit.Options{Limits: keyserver.Limits{PendingOperations: 1 << 20}})
	enough, cancel := context.WithTimeout(k.Context(), withdrawalTime)
	defer cancel()
	rounds, withdrawn, signed := 0, 0, 0
	for rounds < fewestRounds || rounds < withdrawalRounds && (enough.Err() == nil || withdrawn == 0 || signed == 0) {
		w, s := withdrawalsAgainstOrders(k, roundsAtOnce)
		rounds, withdrawn, signed = rounds+roundsAtOnce, withdrawn+w, signed+s
	}
	t.Logf("%d rounds: %d approvals withdrawn, %d orders signed", rounds, withdrawn, signed)
	if withdrawn+signed != rounds {
		t.Errorf("in %d rounds %d approvals were withdrawn and %d orders signed; each round has one winner", rounds, withdrawn, signed)
	}
	if withdrawn == 0 || signed == 0 {
		t.Error("the race had the same winner in every round")
	}
	if got := k.Count("", audit.OperationWithdrawn); got != withdrawn {
		t.Errorf("%d withdrawals are in the log, %d were answered", got, withdrawn)
	}
	if got := k.Keystore.Signs("fw-one"); got != signed || k.Count("", audit.OrderAccepted) != signed {
		t.Errorf("the keystore was asked %d times, %d orders were signed", got, signed)
	}
}

// withdrawalsAgainstOrders races on n operations that one approval has released: on each the approver
// withdraws while the orderer places the first order.
func withdrawalsAgainstOrders(k *testkit.Kit, n int) (withdrawn, signed int) {
	operations := make([]keyserver.Operation, n)
	testkit.Race(n, func(i int) {
		operations[i], _ = k.CreateAs(k.Caller("olga"), testkit.Ask("fw-one"))
		_, _ = k.Keyserver.Approve(k.Context(), k.Caller("dave"), operations[i].ID, operations[i].Digest)
	})
	withdrawals, orders := make([]error, n), make([]error, n)
	testkit.Race(2*n, func(i int) {
		o, withdraws := operations[i/2], i%2 == 1
		// Withdrawals overtake orders in the queue; a delay gives each a chance. On one processor whoever is not delayed wins.
		if delaysOrder := i/2%4 == 0; delaysOrder != withdraws {
			for range i {
				runtime.Gosched()
			}
		}
		if withdraws {
			_, withdrawals[i/2] = k.Keyserver.Withdraw(k.Context(), k.Caller("dave"), o.ID)
		} else {
			_, orders[i/2] = k.Sign(o, testkit.OrderAsk("fw-one", "1", "image"))
		}
	})
	for i := range n {
		switch {
		case withdrawals[i] == nil && orders[i] == nil:
			k.Fatalf("operation %s: the approval was withdrawn, and the order that needed it was signed", operations[i].ID)
		case withdrawals[i] == nil:
			withdrawn++
			testkit.Refused(k, "the order that lost", orders[i], law.WrongState)
		case orders[i] == nil:
			signed++
			testkit.Refused(k, "the withdrawal that lost", withdrawals[i], law.WrongState)
		}
	}
	return withdrawn, signed
}

// RC-03
func TestRC03_NoOrderIsAcceptedBeforeTheLastOfTwoApprovals(t *testing.T) {
	k := testkit.New(t)
	const rounds = 20
	early := 0
	for round := range rounds {
		o := k.Create(testkit.Ask("fw-prod", "fw-dev"))
		testkit.Race(3, func(i int) {
			if i < 2 {
				k.Approve(o, []law.SubjectID{"alice", "bob"}[i])
				return
			}
			for {
				_, err := k.Sign(o, testkit.OrderAsk("fw-dev", "1", "image"))
				if err == nil {
					return
				}
				testkit.Refused(k, "an order before the approval", err, law.WrongState)
				if k.Failed() {
					return
				}
			}
		})
		approvals, became, accepted := 0, 0, 0
		for _, e := range k.Events(o.ID) {
			switch e.Type {
			case audit.OperationApproved:
				approvals++
			case audit.OperationBecameApproved:
				became++
				if approvals != 2 {
					t.Errorf("round %d: approved after %d approvals", round, approvals)
				}
			case audit.OrderRefused:
				early++
			case audit.OrderAccepted:
				accepted++
				if became != 1 {
					t.Errorf("round %d: an order was accepted before the operation was approved", round)
				}
			}
		}
		if approvals != 2 || became != 1 || accepted != 1 {
			t.Errorf("round %d: %d approvals, approved %d times, %d orders accepted", round, approvals, became, accepted)
		}
	}
	if early == 0 {
		t.Error("no order came before the approval in any round")
	}
}

// RC-04
func TestRC04_TheSameOrderAtTheSameTimeIsOneUseAndOneSignature(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = 2
	o := k.Create(ask)
	const n = 32
	orders, errs := make([]keyserver.SignOrder, n), make([]error, n)
	testkit.Race(n, func(i int) {
		orders[i], errs[i] = k.Sign(o, testkit.OrderAsk("fw-dev", "the same", "image"))
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, order := range orders {
		if order.ID != orders[0].ID || len(order.Signature) == 0 || !bytes.Equal(order.Signature, orders[0].Signature) || order.Checkpoint == "" {
			t.Errorf("answers to the same order differ: %+v and %+v", order, orders[0])
		}
	}
	if signs := k.Keystore.Signs("fw-dev"); signs != 1 {
		t.Errorf("the keystore was asked %d times", signs)
	}
	if usage := k.Look(o.ID).Usage["fw-dev"]; usage != (law.Usage{Taken: 1, Signed: 1}) {
		t.Errorf("the usage is %+v", usage)
	}
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderAccepted: 1, audit.OrderAttempted: 0, audit.OrderSigned: 1, audit.OrderRefused: 0})
}

// RC-06
func TestRC06_ARejectionAgainstTheLastApprovalEndsTheOperationForEver(t *testing.T) {
	k := testkit.New(t)
	const rounds = 60
	approvedFirst := 0
	for range rounds {
		o := k.Create(testkit.Ask("fw-one"))
		var approval, rejection error
		testkit.Race(2, func(i int) {
			if i == 0 {
				_, approval = k.Keyserver.Approve(k.Context(), k.Caller("alice"), o.ID, o.Digest)
			} else {
				_, rejection = k.Keyserver.Reject(k.Context(), k.Caller("dave"), o.ID, "not reviewed")
			}
		})
		if rejection != nil {
			t.Errorf("the rejection was refused, though no order was accepted: %v", rejection)
		}
		if approval == nil {
			approvedFirst++
		} else {
			testkit.Refused(t, "the approval that lost", approval, law.WrongState)
		}
		expectState(k, o, law.Rejected)
		ended := false
		for _, e := range k.Events(o.ID) {
			if ended && e.Refusal == "" {
				t.Errorf("after the rejection came %s", e.Type)
			}
			ended = ended || e.Type == audit.OperationRejected
		}
	}
	t.Logf("the approval came first in %d of %d rounds", approvedFirst, rounds)
}

// The same request to create at the same time makes one operation.
func TestTheSameCreationAtTheSameTimeIsOneOperation(t *testing.T) {
	k := testkit.New(t)
	const n = 32
	request := keyserver.CreateRequest{IdempotencyKey: uuid.NewString(), Ask: testkit.Ask("fw-prod")}
	operations, errs := make([]keyserver.Operation, n), make([]error, n)
	testkit.Race(n, func(i int) {
		operations[i], errs[i] = k.Keyserver.CreateOperation(k.Context(), k.Caller("olga"), request)
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, o := range operations {
		if o.ID != operations[0].ID || o.Digest != operations[0].Digest {
			t.Errorf("the same request made %s and %s", o.ID, operations[0].ID)
		}
	}
	if n := k.Count("", audit.OperationCreated); n != 1 {
		t.Errorf("%d operations were created", n)
	}
}

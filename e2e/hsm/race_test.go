package hsm_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// statusOf is the status of an answer; 0 for none at all.
func statusOf(err error) int {
	p, is := errors.AsType[*api.Problem](err)
	switch {
	case err == nil:
		return http.StatusOK
	case is:
		return p.Status
	}
	return 0
}

// RC-01
func TestRC01_OneUseIsTakenByOneOfManyOrdersAndTheHSMIsAskedOnce(t *testing.T) {
	onBoth(t, setting{}, func(s *site) {
		const n = 64
		o := s.approved("fw-one", 1)
		statuses := make([]int, n)
		testkit.Race(n, func(i int) {
			_, err := s.order(o, "fw-one", fmt.Sprint(i), "image")
			statuses[i] = statusOf(err)
		})
		answered := map[int]int{}
		for _, status := range statuses {
			answered[status]++
		}
		if answered[http.StatusOK] != 1 || answered[http.StatusConflict] != n-1 || s.calls("fw-one") != 1 {
			s.Errorf("the answers were %v, and the HSM was asked %d times", answered, s.calls("fw-one"))
		}
		s.counts(o, map[audit.Type]int{
			audit.OrderAccepted: 1, audit.OrderAttempted: 0, audit.OrderSigned: 1, audit.OrderRefused: n - 1, audit.OperationExhausted: 1,
		})
	})
}

// rounds does one round after the other until the time is over, and says how many.
func (s *site) rounds(most time.Duration, fewest int, round func(n int)) int {
	enough, cancel := context.WithTimeout(s.Context(), most)
	defer cancel()
	n := 0
	for ; (n < fewest || enough.Err() == nil) && !s.Failed(); n++ {
		round(n)
	}
	return n
}

// RC-02
func TestRC02_AWithdrawnApprovalNeverMeetsASignatureOfTheHSM(t *testing.T) {
	onBoth(t, setting{limit: keyserver.Limits{PendingOperations: 1 << 20}}, func(s *site) {
		const atOnce = 20
		withdrawn, signed := 0, 0
		n := s.rounds(5*time.Second, 5, func(int) {
			w, o := s.withdrawalsAgainstOrders(atOnce)
			withdrawn, signed = withdrawn+w, signed+o
		})
		s.Logf("%d rounds: %d approvals withdrawn, %d orders signed", n*atOnce, withdrawn, signed)
		if withdrawn+signed != n*atOnce || withdrawn == 0 || signed == 0 {
			s.Errorf("in %d rounds %d approvals were withdrawn and %d orders signed; each has one winner, and not always the same", n*atOnce, withdrawn, signed)
		}
		if calls := s.calls("fw-one"); calls != signed || s.Count("", audit.OperationWithdrawn) != withdrawn {
			s.Errorf("the HSM was asked %d times for %d orders; %d of %d withdrawals are in the log", calls, signed, s.Count("", audit.OperationWithdrawn), withdrawn)
		}
	})
}

// withdrawalsAgainstOrders races on n operations that one approval has released.
func (s *site) withdrawalsAgainstOrders(n int) (withdrawn, signed int) {
	operations := make([]keyserver.Operation, n)
	testkit.Race(n, func(i int) {
		operations[i], _ = s.CreateAs(s.Caller("olga"), testkit.Ask("fw-one"))
		_, _ = s.Keyserver.Approve(s.Context(), s.Caller("dave"), operations[i].ID, operations[i].Digest)
	})
	withdrawals, orders := make([]error, n), make([]error, n)
	testkit.Race(2*n, func(i int) {
		o := operations[i/2]
		if i%2 == 0 {
			_, orders[i/2] = s.order(o, "fw-one", "1", "image")
			return
		}
		for range 10 * i { // withdrawals overtake orders in the queue; a delay gives each a chance
			runtime.Gosched()
		}
		_, withdrawals[i/2] = s.as("dave").Withdraw(s.Context(), string(o.ID))
	})
	for i := range n {
		switch was := [2]int{statusOf(withdrawals[i]), statusOf(orders[i])}; was {
		case [2]int{http.StatusOK, http.StatusConflict}:
			withdrawn++
		case [2]int{http.StatusConflict, http.StatusOK}:
			signed++
		default:
			s.Errorf("operation %s: the withdrawal was answered %d and the order %d", operations[i].ID, was[0], was[1])
		}
	}
	return withdrawn, signed
}

// RC-03
func TestRC03_TheHSMIsNotAskedBeforeTheLastOfTwoApprovals(t *testing.T) {
	onBoth(t, setting{}, func(s *site) {
		early := 0
		for range 20 {
			o := s.Create(testkit.Ask("fw-prod", "fw-dev"))
			tried := make(chan struct{})
			testkit.Race(3, func(i int) {
				if i < 2 {
					<-tried
					s.Approve(o, []law.SubjectID{"alice", "bob"}[i])
					return
				}
				_, err := s.order(o, "fw-dev", "1", "image")
				close(tried)
				for status := statusOf(err); status != http.StatusOK && !s.Failed(); status = statusOf(err) {
					if status != http.StatusConflict {
						s.Errorf("an order before the approval: %v", err)
					}
					_, err = s.order(o, "fw-dev", "1", "image")
				}
			})
			order := ""
			for _, e := range s.Events(o.ID) {
				switch e.Type {
				case audit.OperationApproved, audit.OperationBecameApproved, audit.OrderAccepted, audit.OrderSigned:
					order += string(e.Type) + " "
				case audit.OrderRefused:
					early++
				}
			}
			if want := fmt.Sprintln(audit.OperationApproved, audit.OperationApproved, audit.OperationBecameApproved, audit.OrderAccepted, audit.OrderSigned); order != want[:len(want)-1]+" " {
				s.Errorf("the log says %s", order)
			}
		}
		if early < 20 || s.calls("fw-dev") != 20 {
			s.Errorf("%d orders came too early, and the HSM was asked %d times", early, s.calls("fw-dev"))
		}
	})
}

// RC-04
func TestRC04_TheSameOrderAtTheSameTimeIsOneCallOfTheHSM(t *testing.T) {
	onBoth(t, setting{}, func(s *site) {
		const n, uses = 32, 2
		o := s.approved("fw-dev", uses)
		orders, errs := make([]api.SignOrder, n), make([]error, n)
		testkit.Race(n, func(i int) { orders[i], errs[i] = s.order(o, "fw-dev", "the-same", "image") })
		if err := errors.Join(errs...); err != nil {
			s.Fatal(err)
		}
		for _, order := range orders {
			order.Checkpoint = orders[0].Checkpoint // the newest, which may differ
			if fmt.Sprintf("%+v", order) != fmt.Sprintf("%+v", orders[0]) || len(order.Signature) == 0 {
				s.Errorf("answers to the same order differ: %+v and %+v", order, orders[0])
			}
		}
		if calls, usage := s.calls("fw-dev"), s.Look(o.ID).Usage["fw-dev"]; calls != 1 || usage != (law.Usage{Taken: 1, Signed: 1}) {
			s.Errorf("the HSM was asked %d times, and the usage is %+v", calls, usage)
		}
		s.counts(o, map[audit.Type]int{audit.OrderAccepted: 1, audit.OrderAttempted: 0, audit.OrderSigned: 1, audit.OrderRefused: 0})
	})
}

// RC-05
func TestRC05_AKeyThatIsDisabledOrReplacedSignsNothingUnderAnotherFingerprint(t *testing.T) {
	onBoth(t, setting{world: func(c *law.Configuration) { c.Keys[0].MaxUses = law.MaxUses }}, func(s *site) {
		signed, refusals := 0, 0
		n := s.rounds(3*time.Second, 4, func(round int) {
			key, o := s.key("fw-dev"), s.approved("fw-dev", law.MaxUses)
			change := func() { s.ReplaceKeyPair("fw-dev") }
			if round%2 == 0 {
				change = func() { s.ReconfigureKey("fw-dev", func(k *law.Key) { k.State = law.KeyDisabled }) }
			}
			yes, no := s.ordersWhile(o, key, change)
			signed, refusals = signed+yes, refusals+no
			s.ReconfigureKey("fw-dev", func(k *law.Key) { k.State = law.KeyActive })
		})
		s.Logf("%d rounds: %d orders signed, %d refused", n, signed, refusals)
		if signed == 0 || refusals == 0 {
			s.Errorf("%d orders were signed and %d refused", signed, refusals)
		}
		for _, e := range s.Events("") {
			if (e.Type == audit.OrderAccepted || e.Type == audit.OrderSigned) && e.Fingerprint == "" {
				s.Errorf("the event %+v does not say which key pair it was", e)
			}
		}
	})
}

// ordersWhile places orders from all sides while the key changes, until each side was refused.
func (s *site) ordersWhile(o keyserver.Operation, key law.Key, change func()) (signed, refusals int) {
	const sides = 8
	yes := make([]int, sides)
	changed := make(chan struct{})
	testkit.Race(sides+1, func(side int) {
		if side == sides {
			change()
			close(changed)
			return
		}
		for i := 0; !s.Failed(); i++ {
			late := false
			select {
			case <-changed:
				late = true
			default:
			}
			order, err := s.order(o, key.ID, fmt.Sprint(side, "-", i), "image")
			switch status := statusOf(err); {
			case status == http.StatusConflict:
				return
			case status == http.StatusServiceUnavailable && strings.Contains(err.Error(), "the configuration is being changed"):
				i-- // the same order again, as a client does
			case status != http.StatusOK:
				s.Errorf("an order while the key changes: %v", err)
			case late || order.Fingerprint != key.Fingerprint || !verifies(s, key, "image", order.Signature):
				s.Errorf("after the change: %t; the order %+v is not of the key pair that was approved, %s", late, order, key.Fingerprint)
			default:
				yes[side]++
			}
		}
	})
	for _, n := range yes {
		signed += n
	}
	return signed, sides
}

// RC-06
func TestRC06_ARejectionAgainstTheLastApprovalLeavesNothingToSign(t *testing.T) {
	onBoth(t, setting{limit: keyserver.Limits{PendingOperations: 1 << 20}}, func(s *site) {
		outcomes := map[string]int{}
		n := s.rounds(3*time.Second, 20, func(int) {
			o := s.Create(testkit.Ask("fw-one"))
			var approval, rejection, order error
			testkit.Race(3, func(i int) {
				switch i {
				case 0:
					_, approval = s.as("alice").Approve(s.Context(), string(o.ID), string(o.Digest))
				case 1:
					for range 200 {
						runtime.Gosched()
					}
					_, rejection = s.as("dave").Reject(s.Context(), string(o.ID), "not reviewed")
				case 2:
					_, order = s.order(o, "fw-one", "1", "image")
				}
			})
			is := fmt.Sprintf("approval %d, rejection %d, order %d: %s", statusOf(approval), statusOf(rejection), statusOf(order), s.State(o.ID))
			outcomes[is]++
			switch is { // rule 6: a rejection after the first order that was accepted comes too late
			case "approval 200, rejection 200, order 409: rejected", "approval 409, rejection 200, order 409: rejected",
				"approval 200, rejection 409, order 200: exhausted":
			default:
				s.Error(is)
			}
			_, later := s.as("alice").Approve(s.Context(), string(o.ID), string(o.Digest))
			if statusOf(later) != http.StatusConflict {
				s.Errorf("an approval after the end: %v", later)
			}
		})
		signed := outcomes["approval 200, rejection 409, order 200: exhausted"]
		s.Logf("%d rounds: %v", n, outcomes)
		if calls := s.calls("fw-one"); calls != signed {
			s.Errorf("the HSM was asked %d times for %d orders", calls, signed)
		}
	})
}

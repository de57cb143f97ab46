package hsm_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/e2e/pkcs11shim"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// ready asks the server whether it is, as a load balancer does.
func (s *site) ready() (status int, body string) {
	s.Helper()
	answer, err := http.Get(s.URL + "/api/ready")
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// workers is how many workers have been started.
func (s *site) workers() int { return strings.Count(s.log.String(), "keystore worker started") }

// label is the CKA_LABEL of the first key pair that the server makes for a key.
func label(key law.KeyID) string { return string(key) + ".1" }

// CF-03
func TestCF03_AnHSMThatIsGoneAndBackIsUsedAgainWithoutARestart(t *testing.T) {
	onBoth(t, setting{}, func(s *site) {
		for rv, inVain := range map[uint]int{pkcs11shim.DeviceRemoved: 1, pkcs11shim.TokenNotPresent: 5} {
			o, calls := s.approved("fw-one", 1), s.calls("fw-one")
			s.shim.Set(pkcs11shim.Fault{Do: pkcs11shim.Gone, RV: rv})
			_, err := s.order(o, "fw-one", "1", "image")
			p := unavailable(s, "an order while the HSM is gone", err)
			if status, body := s.ready(); status != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"keystore hsm","ok":false}`) ||
				!strings.Contains(body, `{"name":"keystore software","ok":true}`) {
				s.Errorf("readiness says %d %s", status, body)
			}
			s.mustOrder(s.approved("fw-ed", 1), "fw-ed", "1", "small image") // the other keystore signs
			if n := s.calls("fw-one") - calls; n != 0 {
				s.Errorf("an HSM that is gone was asked %d times", n)
			}
			starts := s.workers() + inVain // the pauses between them grow
			until(s, 20*time.Second, "the worker was started in vain again and again", func() bool { s.ready(); return s.workers() >= starts })
			s.shim.Clear()
			began := time.Now()
			until(s, 10*time.Second, "the server is ready", func() bool { status, _ := s.ready(); return status == http.StatusOK })
			order, err := s.order(o, "fw-one", "1", "image")
			if err != nil || order.ID != p.Order || order.Use != 1 || order.Attempt != 2 || !verifies(s, s.key("fw-one"), "image", order.Signature) {
				s.Errorf("the order %s was completed as %+v (error %v)", p.Order, order, err)
			}
			s.Logf("with %#x: it signs %v after the HSM is back", rv, time.Since(began).Round(time.Millisecond))
			s.counts(o, map[audit.Type]int{
				audit.OrderAccepted: 1, audit.OrderFailed: 1, audit.OrderAttempted: 1, audit.OrderSigned: 1, audit.OrderRefused: 0, audit.OperationExhausted: 1,
			})
		}
	})
}

// I7: whether the HSM made a signature before it said that it did not is known to nobody.
func TestOneAttemptIsAtMostOneCallOfTheHSM(t *testing.T) {
	onBoth(t, setting{}, func(s *site) {
		for _, rv := range []uint{pkcs11shim.DeviceError, pkcs11shim.SessionHandleInvalid, pkcs11shim.UserNotLoggedIn, pkcs11shim.GeneralError} {
			for _, fault := range []pkcs11shim.Action{pkcs11shim.Return, pkcs11shim.Report} {
				what := fmt.Sprintf("%s %#x", fault, rv)
				o, before := s.approved("fw-one", 1), s.calls("fw-one")
				s.shim.Set(pkcs11shim.Fault{Do: fault, RV: rv, Times: 1})
				_, err := s.order(o, "fw-one", "1", "image")
				p := unavailable(s, what, err)
				if n := s.calls("fw-one") - before; n != 1 {
					s.Errorf("%s: the HSM was asked %d times in one attempt", what, n)
				}
				order, err := s.order(o, "fw-one", "1", "image")
				if err != nil || order.ID != p.Order || order.Attempt != 2 || s.calls("fw-one")-before != 2 {
					s.Errorf("%s: the order was completed as %+v (error %v)", what, order, err)
				}
			}
		}
	})
}

// quick is a setting whose HSM is given up after a second.
func quick() setting {
	limits := keystore.DefaultLimits()
	limits.Timeout = 2 * time.Second
	return setting{bound: time.Second, limits: limits}
}

// placed is what a sign order in the background is answered.
type placed struct {
	order api.SignOrder
	err   error
}

// hanging places a sign order that hangs in the HSM.
func (s *site) hanging(o keyserver.Operation, key law.KeyID) <-chan placed {
	s.Helper()
	before := s.shim.Calls()[label(key)]
	s.shim.Set(pkcs11shim.Fault{Do: pkcs11shim.Hang, Label: label(key)})
	answer := make(chan placed, 1)
	go func() {
		order, err := s.order(o, key, "1", "image")
		answer <- placed{order, err}
	}()
	s.shim.Await(label(key), before+1)
	return answer
}

// within checks that something is done within the bound.
func (s *site) within(bound time.Duration, what string, do func() error) {
	s.Helper()
	began := time.Now()
	if err := do(); err != nil {
		s.Errorf("%s: %v", what, err)
	}
	if took := time.Since(began); took > bound {
		s.Errorf("%s took %v", what, took)
	}
}

// L2, I8
func TestWhileTheHSMHangsAnOperationIsRevokedAtOnceAndItsSignatureWithheld(t *testing.T) {
	onBoth(t, setting{}, func(s *site) {
		o, other, pending := s.approved("fw-one", 2), s.approved("fw-one", 1), s.Create(testkit.Ask("fw-prod"))
		answer := s.hanging(o, "fw-one")
		s.within(time.Second, "revoking", func() error { _, err := s.as("ada").Revoke(s.Context(), string(o.ID), "stop"); return err })
		s.within(time.Second, "revoking another", func() error { _, err := s.as("olga").Revoke(s.Context(), string(other.ID), "stop"); return err })
		s.within(time.Second, "rejecting", func() error { _, err := s.as("alice").Reject(s.Context(), string(pending.ID), "no"); return err })
		s.within(time.Second, "signing in the other keystore", func() error {
			_, err := s.order(s.approved("fw-ed", 1), "fw-ed", "1", "small image")
			return err
		})
		if calls := s.shim.All(); calls[len(calls)-1].Ended {
			s.Error("the HSM does not hang")
		}
		s.shim.Clear() // the signature is made now
		a := <-answer
		refused(s, "the order of the operation that was revoked", a.err, api.WrongState)
		if last := s.shim.All(); !last[len(last)-1].Called || len(a.order.Signature) > 0 {
			s.Errorf("the HSM's call is %+v, the answer %+v", last[len(last)-1], a.order)
		}
		s.counts(o, map[audit.Type]int{audit.OrderAccepted: 1, audit.OrderWithheld: 1, audit.OrderSigned: 0, audit.OrderFailed: 0, audit.OperationRevoked: 1})
		stored, err := s.as("olga").SignOrders(s.Context(), string(o.ID), client.Page{})
		if err != nil || len(stored.SignOrders) != 1 || stored.SignOrders[0].State != api.OrderWithheld || len(stored.SignOrders[0].Signature) > 0 {
			s.Errorf("stored is %+v (error %v)", stored, err)
		}
		_, err = s.order(o, "fw-one", "1", "image")
		refused(s, "the same order again", err, api.WrongState)
		if n := s.calls("fw-one"); n != 1 {
			s.Errorf("the HSM was asked %d times", n)
		}
	})
}

// L1, R41
func TestAnHSMThatHangsIsGivenUpWithinItsBoundAndTheOrderCompletes(t *testing.T) {
	onBoth(t, quick(), func(s *site) {
		s.mustOrder(s.approved("fw-dev", 1), "fw-dev", "1", "image") // a worker runs
		o, workers := s.approved("fw-one", 2), s.workers()
		began := time.Now()
		a := <-s.hanging(o, "fw-one")
		p := unavailable(s, "an order that hangs", a.err)
		if took := time.Since(began); took > 4*time.Second {
			s.Errorf("it was answered after %v", took)
		}
		s.shim.Clear()
		order, err := s.order(o, "fw-one", "1", "image")
		if err != nil || order.ID != p.Order || order.Attempt != 2 || order.Use != 1 {
			s.Errorf("the order was completed as %+v (error %v)", order, err)
		}
		if n := s.workers() - workers; n != 1 || !strings.Contains(s.log.String(), "did not answer within 1s (sign) and was killed") {
			s.Errorf("%d workers were started\n%s", n, s.log)
		}
		s.counts(o, map[audit.Type]int{audit.OrderAccepted: 1, audit.OrderFailed: 1, audit.OrderAttempted: 1, audit.OrderSigned: 1})
	})
}

// LD-01
func TestLD01_WhileOrdersFloodTheHSMOperationsAreEndedAtOnce(t *testing.T) {
	with := setting{limits: keystore.Limits{Timeout: 5 * time.Second, Concurrent: 16, Queue: 16}, limit: keyserver.Limits{PendingOperations: 1 << 20}}
	with.world = func(c *law.Configuration) { c.Keys[0].MaxUses = law.MaxUses }
	onBoth(t, with, func(s *site) {
		const clients, ends = 64, 25
		o := s.approved("fw-dev", law.MaxUses)
		var toRevoke, toReject []keyserver.Operation
		for range ends {
			toRevoke, toReject = append(toRevoke, s.approved("fw-one", 1)), append(toReject, s.Create(testkit.Ask("fw-prod")))
		}
		s.shim.Set(pkcs11shim.Fault{Do: pkcs11shim.Delay, For: 50 * time.Millisecond})
		var over atomic.Bool
		var took []time.Duration
		answers := make([]map[int]int, clients)
		again := make([][]string, clients) // idempotency keys of what was not signed
		testkit.Race(clients+1, func(i int) {
			if i == clients {
				defer over.Store(true)
				s.shim.Await(label("fw-dev"), 32) // the flood has come
				took = s.endAll(toRevoke, toReject)
				return
			}
			answers[i] = map[int]int{}
			for n := 0; !over.Load(); n++ {
				key := fmt.Sprint(i, "-", n)
				_, err := s.order(o, "fw-dev", key, "image")
				if answers[i][statusOf(err)]++; err != nil {
					again[i] = append(again[i], key)
				}
			}
		})
		s.shim.Clear()
		all := map[int]int{}
		for _, a := range answers {
			for status, n := range a {
				all[status] += n
			}
		}
		slices.Sort(took)
		s.Logf("the orders were answered %v; ending an operation took %v at p50, %v at most", all, took[len(took)/2], took[len(took)-1])
		if took[len(took)-1] > time.Second {
			s.Errorf("ending an operation took %v", took[len(took)-1])
		}
		if signed := all[http.StatusOK]; signed == 0 || all[http.StatusServiceUnavailable] == 0 || len(all) != 2 {
			s.Errorf("the orders were answered %v; some are to be signed and the others told to come back", all)
		}
		s.completeAll(o, all[http.StatusOK], slices.Concat(again...))
	})
}

// endAll ends operations, and says how long each took.
func (s *site) endAll(toRevoke, toReject []keyserver.Operation) (took []time.Duration) {
	for i := range toRevoke {
		began := time.Now()
		if _, err := s.as("ada").Revoke(s.Context(), string(toRevoke[i].ID), "stop"); err != nil {
			s.Errorf("revoking: %v", err)
		}
		revoked := time.Now()
		if _, err := s.as("alice").Reject(s.Context(), string(toReject[i].ID), "no"); err != nil {
			s.Errorf("rejecting: %v", err)
		}
		took = append(took, revoked.Sub(began), time.Since(revoked))
	}
	return took
}

// completeAll asks again for the sign orders of an operation that have no signature yet, and checks that each then has
// one and took one use.
func (s *site) completeAll(o keyserver.Operation, signed int, again []string) {
	s.Helper()
	all := signed + len(again)
	if usage := s.Look(o.ID).Usage["fw-dev"]; usage != (law.Usage{Taken: all, Signed: signed}) {
		s.Errorf("%d orders were signed and %d were not; the usage is %+v", signed, len(again), usage)
	}
	const workers = 16
	testkit.Race(workers, func(worker int) {
		for i := worker; i < len(again) && !s.Failed(); i += workers {
			if _, err := s.order(o, "fw-dev", again[i], "image"); err != nil {
				s.Errorf("order %s: %v", again[i], err)
			}
		}
	})
	if usage := s.Look(o.ID).Usage["fw-dev"]; usage != (law.Usage{Taken: all, Signed: all}) {
		s.Errorf("of %d orders %d were asked for again; the usage is %+v", all, len(again), usage)
	}
}

package hsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/e2e/pkcs11shim"
	"example.org/keyserver/e2e/stand"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// CF-01: the worker dies with the call, before or after the HSM made the signature.
func TestCF01_AWorkerKilledAroundTheCallLosesNoUse(t *testing.T) {
	onBoth(t, setting{}, func(s *site) {
		const rounds = 10
		for _, at := range []pkcs11shim.Action{pkcs11shim.KillBefore, pkcs11shim.KillAfter} {
			o, before := s.approved("fw-one", rounds), s.calls("fw-one")
			for n := range rounds {
				id := fmt.Sprint(n)
				s.shim.Set(pkcs11shim.Fault{Do: at, PID: pkcs11shim.Self, Times: 1})
				_, err := s.order(o, "fw-one", id, "image")
				p := unavailable(s, string(at), err)
				order, err := s.order(o, "fw-one", id, "image")
				if err != nil || order.ID != p.Order || order.Attempt != 2 || order.Use != n+1 || !verifies(s, s.key("fw-one"), "image", order.Signature) {
					s.Fatalf("%s: the order %s was completed as %+v (error %v)", at, p.Order, order, err)
				}
			}
			if calls := s.calls("fw-one") - before; calls != 2*rounds {
				s.Errorf("%s: the HSM was asked %d times, not %d", at, calls, 2*rounds)
			}
			s.counts(o, map[audit.Type]int{
				audit.OrderAccepted: rounds, audit.OrderFailed: rounds, audit.OrderAttempted: rounds, audit.OrderSigned: rounds, audit.OperationExhausted: 1,
			})
		}
	})
}

var workerPID = regexp.MustCompile(`keystore worker started" pid=([0-9]+)`)

// worker is the process id of the newest worker.
func (s *site) worker() int {
	s.Helper()
	all := workerPID.FindAllStringSubmatch(s.log.String(), -1)
	if len(all) == 0 {
		s.Fatalf("no worker has been started:\n%s", s.log)
	}
	pid, err := strconv.Atoi(all[len(all)-1][1])
	if err != nil {
		s.Fatal(err)
	}
	return pid
}

// CF-01: at any other moment too.
func TestCF01_AWorkerKilledAtAnyMomentUnderLoadLosesNoUse(t *testing.T) {
	onBoth(t, setting{world: func(c *law.Configuration) { c.Keys[0].MaxUses = law.MaxUses }}, func(s *site) {
		const clients, kills = 16, 15
		o := s.approved("fw-dev", law.MaxUses)
		done := make(chan struct{})
		var orders, again [clients]int
		testkit.Race(clients+1, func(client int) {
			if client == clients {
				defer close(done)
				for range kills {
					seen := s.shim.Calls()[label("fw-dev")]
					s.shim.Await(label("fw-dev"), seen+1+rand.IntN(40))
					if err := syscall.Kill(s.worker(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
						s.Error(err)
					}
				}
				return
			}
			for n := 0; !s.Failed(); n++ {
				select {
				case <-done:
					orders[client] = n
					return
				default:
				}
				id, attempts := fmt.Sprint(client, "-", n), 1
				order, err := s.order(o, "fw-dev", id, id)
				for ; err != nil && attempts < 100; attempts++ {
					unavailable(s, "an order while the worker is killed", err)
					again[client]++
					order, err = s.order(o, "fw-dev", id, id)
				}
				if order.Attempt != attempts || !verifies(s, s.key("fw-dev"), id, order.Signature) {
					s.Errorf("after %d attempts the order is %+v (error %v)", attempts, order, err)
				}
			}
		})
		all, failed := 0, 0
		for i := range clients {
			all, failed = all+orders[i], failed+again[i]
		}
		s.Logf("%d orders, of which %d attempts failed; %d workers", all, failed, s.workers())
		if usage := s.Look(o.ID).Usage["fw-dev"]; usage != (law.Usage{Taken: all, Signed: all}) || failed == 0 || s.workers() <= kills/2 {
			s.Errorf("%d orders, %d failed attempts, %d workers; the usage is %+v", all, failed, s.workers(), usage)
		}
	})
}

// CF-01: the server stops at a commit, of the acceptance or of the result, before or after it is durable.
func TestCF01_AServerThatStopsAtACommitLosesNoUse(t *testing.T) {
	for name, at := range map[string]stopped{
		"the acceptance is not durable": {commit: 1}, "the acceptance is durable": {commit: 1, happens: true},
		"the result is not durable": {commit: 2}, "the result is durable": {commit: 2, happens: true},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, setting{}, func(s *site) {
				o := s.approved("fw-one", 2)
				s.commits.stopAt(&stopped{at.commit, at.happens}) // on each database of its own
				first, err := s.order(o, "fw-one", "1", "image")
				var p *api.Problem
				switch errors.As(err, &p); {
				case err == nil: // the store looked whether the commit happened, and it did
					p = &api.Problem{Order: first.ID}
				case p == nil || p.Status != http.StatusServiceUnavailable:
					s.Fatalf("the server that stops answers %+v (error %v)", first, err)
				}
				s.commits.stopAt(nil)
				s.CutOff((*testkit.Kit).Crash)
				order, err := s.order(o, "fw-one", "1", "image")
				if err != nil || order.Use != 1 || p.Order != "" && p.Order != order.ID || !verifies(s, s.key("fw-one"), "image", order.Signature) {
					s.Errorf("the order %s was completed as %+v (error %v)", p.Order, order, err)
				}
				released := len(first.Signature) > 0
				if released && (!bytes.Equal(first.Signature, order.Signature) || !at.happens || at.commit != 2) {
					s.Errorf("released was %x, stored is %x", first.Signature, order.Signature)
				}
				attempts := s.Count(o.ID, audit.OrderAccepted) + s.Count(o.ID, audit.OrderAttempted)
				if usage := s.Look(o.ID).Usage["fw-one"]; usage != (law.Usage{Taken: 1, Signed: 1}) || attempts != order.Attempt {
					s.Errorf("the usage is %+v, after %d attempts of %d", usage, attempts, order.Attempt)
				}
			})
		})
	}
}

// stopped is the moment at which a server stops.
type stopped struct {
	commit  int  // the how many-eth from now on; none after it happens
	happens bool // whether this one does
}

var errStopped = errors.New("the server has stopped")

// commits are those of a site's server.
type commits struct {
	mu sync.Mutex
	at *stopped // nil: it does not stop
}

func (c *commits) stopAt(at *stopped) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// run does a commit, or what becomes of it when the server stops.
func (c *commits) run(commit func() error) error {
	c.mu.Lock()
	n, happens := 2, true // not now
	if c.at != nil {
		n, happens = c.at.commit, c.at.happens
		c.at.commit--
	}
	c.mu.Unlock()
	switch {
	case n > 1:
		return commit()
	case n == 1 && happens:
		return errors.Join(commit(), errStopped)
	}
	return errStopped
}

// served is a server process with clients that place sign orders, and what they were answered.
type served struct {
	*real
	operation string

	mu       sync.Mutex
	asked    map[string]bool
	answered map[string]api.SignOrder // by idempotency key
}

// place places a sign order and remembers what came of it.
func (v *served) place(id string) (api.SignOrder, error) {
	v.mu.Lock()
	v.asked[id] = true
	v.mu.Unlock()
	order, err := v.client().PlaceSignOrder(v.Context(), v.operation, id, newOrder("fw-dev", id))
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		return order, err
	}
	if before, was := v.answered[id]; was && string(before.Signature) != string(order.Signature) {
		v.Errorf("order %s was answered with two signatures", id)
	}
	v.answered[id] = order
	return order, nil
}

// CF-01
func TestCF01_AServerKilledAtAnyMomentLosesNoUseAndReleasesNothingTwice(t *testing.T) {
	t.Parallel()
	bin := programs(t)
	for _, database := range []string{stand.SQLite, stand.Postgres} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			v := &served{real: newReal(t, bin, database), asked: map[string]bool{}, answered: map[string]api.SignOrder{}}
			v.operation = v.create().ID
			cut := 0
			for round := range 3 {
				for _, at := range []pkcs11shim.Action{pkcs11shim.KillBefore, pkcs11shim.KillAfter} {
					v.killedAround(at, fmt.Sprint(at, "-", round))
					cut++
				}
			}
			began, random := time.Now(), 0
			for ; time.Since(began) < killTime && !t.Failed(); random++ {
				v.killedUnderLoad(random)
			}
			answered := maps.Clone(v.answered)
			v.completeAll()
			for id, order := range answered {
				if v.answered[id].ID != order.ID {
					t.Errorf("order %s was %s and is %s", id, order.ID, v.answered[id].ID)
				}
			}
			t.Logf("the server was killed %d times around the call and %d times at random; %d of %d orders were answered before",
				cut, random, len(answered), len(v.asked))
			v.balance()
		})
	}
}

// killTime is how long servers are killed at random moments.
const killTime = 9 * time.Second

// killedAround has the shim kill the server around a call of the HSM, and starts it again.
func (v *served) killedAround(at pkcs11shim.Action, id string) {
	v.Helper()
	v.shim.Set(pkcs11shim.Fault{Do: at, PID: v.PIDs("keyserver")[0], Times: 1})
	order, err := v.place(id)
	if statusOf(err) != 0 || err == nil {
		v.Errorf("%s: a server that was killed answers %+v (error %v)", at, order, err)
	}
	v.again()
	v.shim.Clear()
}

// killedUnderLoad kills the server at a random moment while clients place sign orders, and starts it again.
func (v *served) killedUnderLoad(round int) {
	v.Helper()
	const clients = 8
	kill := rand.IntN(60)
	testkit.Race(clients+1, func(client int) {
		if client == clients {
			v.shim.Await(label("fw-dev"), v.shim.Calls()[label("fw-dev")]+kill)
			if err := syscall.Kill(v.PIDs("keyserver")[0], syscall.SIGKILL); err != nil {
				v.Error(err)
			}
			return
		}
		for n, err := 0, error(nil); err == nil; n++ {
			_, err = v.place(fmt.Sprint(round, "-", client, "-", n))
			if status := statusOf(err); err != nil && status != 0 {
				v.Errorf("before the server was killed: %v", err)
			}
		}
	})
	v.again()
}

// completeAll asks again for every order, until the leases of what was cut off have run out.
func (v *served) completeAll() {
	v.Helper()
	bound := 10 * time.Second
	if v.Cluster != nil { // another server could be at it
		bound += law.AttemptLease
	}
	ids := make(chan string, len(v.asked))
	for id := range v.asked {
		ids <- id
	}
	close(ids)
	deadline := time.Now().Add(bound)
	testkit.Race(32, func(int) {
		for id := range ids {
			order, err := v.place(id)
			for err != nil && time.Now().Before(deadline) {
				refused(v, "an order whose attempt was cut off", err, api.Running)
				order, err = v.place(id)
			}
			if err != nil || !verifies(v, v.key, id, order.Signature) {
				v.Errorf("order %s was completed as %+v (error %v)", id, order, err)
			}
		}
	})
}

// balance checks what the server has left: the common oracle, on its database.
func (v *served) balance() {
	v.Helper()
	attempts, signed, accepted := 0, 0, 0
	for _, e := range v.finish() {
		switch e.Type {
		case audit.OrderAccepted:
			accepted++
			attempts++
		case audit.OrderAttempted:
			attempts++
		case audit.OrderSigned:
			signed++
		}
	}
	calls := v.shim.Calls()[label("fw-dev")]
	v.Logf("%d orders accepted, %d attempts audited, the HSM was asked %d times, %d signed", accepted, attempts, calls, signed)
	if signed > calls || calls > attempts || accepted != len(v.asked) || signed != accepted || len(v.answered) != accepted || attempts == accepted {
		v.Errorf("of %d orders %d were accepted and %d signed; the HSM was asked %d times in %d audited attempts", len(v.asked), accepted, signed, calls, attempts)
	}
}

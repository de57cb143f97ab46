package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/internal/testkit"
)

// launch is serve in a process of its own, which can be killed.
func (s *site) launch() (v *serving, kill func()) {
	s.Helper()
	self, err := os.Executable()
	if err != nil {
		s.Fatal(err)
	}
	c := exec.Command(self)
	c.Args = []string{"keyserver", "serve", "--config", s.path("keyserver.yaml")} // TestMain knows it by this name
	v = &serving{site: s, said: map[string]string{}, http: &http.Client{}, log: &lockedBuffer{}, done: make(chan int, 1)}
	c.Stderr = v.log
	r, w, err := os.Pipe()
	if err != nil {
		s.Fatal(err)
	}
	c.Stdout = w
	if err := errors.Join(c.Start(), w.Close()); err != nil {
		s.Fatal(err)
	}
	v.stop = func() { _ = c.Process.Signal(syscall.SIGTERM) }
	go func() {
		_ = c.Wait()
		_ = r.Close()
		v.done <- c.ProcessState.ExitCode()
	}()
	s.Cleanup(func() { v.end() })
	v.listen(r)
	return v, func() {
		_ = c.Process.Kill()
		v.done <- <-v.done
	}
}

// trial is a site for processes, which tell the time themselves, without limits on what olga asks for.
func trial(t *testing.T) *site {
	t.Helper()
	s := newPostgresSite(t)
	s.clock.Set(time.Since(s.clock.Now()))
	s.edit("keyserver.yaml", "keystores:", "limits: {requests-per-minute: 100000, pending-operations: 10000}\nkeystores:")
	s.quickKeystore()
	s.must(s.init())
	return s
}

// orderUses creates an operation with so many uses of fw-dev.
func (v *serving) orderUses(uses int, name string) api.Operation {
	v.Helper()
	o, err := v.as("olga").CreateOperation(v.Context(), name, api.NewOperation{
		KeyUsageRestrictions: []api.KeyUsageRestriction{{KeyID: "fw-dev", MaxUsageCount: uses}},
		Description:          name, Context: "built from tag v1.2.3", ValidMS: 3_600_000,
	})
	if err != nil {
		v.Fatal(err)
	}
	return o
}

// Races on servers that are processes: as many rounds as fit into the time, of so many orders each.
const (
	processRounds = 200
	fewestRounds  = 8
	processTime   = 15 * time.Second
	racing        = 90
)

// RC-01 on three real servers.
func TestRacingOrdersOnThreeProcessesTakeExactlyTheUsesThereAre(t *testing.T) {
	t.Parallel()
	s := trial(t)
	servers, clients := make([]*serving, 3), make([]*client.Client, 3)
	testkit.Race(len(servers), func(i int) { servers[i], _ = s.launch() })
	for i, v := range servers {
		clients[i] = v.as("olga")
	}
	began, rounds, all := time.Now(), 0, 0
	for rounds < fewestRounds || rounds < processRounds && time.Since(began) < processTime {
		uses := []int{1, 2, 7, 64}[rounds%4]
		o := servers[rounds%3].orderUses(uses, fmt.Sprint("round-", rounds))
		orders, errs := make([]api.SignOrder, racing), make([]error, racing)
		place := func(server, i int) (api.SignOrder, error) {
			return clients[server%3].PlaceSignOrder(t.Context(), o.ID, fmt.Sprint(i), api.NewSignOrder{KeyID: "fw-dev", Data: []byte(fmt.Sprint("image ", i))})
		}
		testkit.Race(racing, func(i int) { orders[i], errs[i] = place(i, i) })
		answered := 0
		for i, err := range errs {
			if problem, is := errors.AsType[*api.Problem](err); err != nil && (!is || problem.Status != http.StatusConflict) {
				t.Errorf("an order too many: %v", err)
			}
			if err != nil {
				continue
			}
			answered++
			if stored, err := place(i+1, i); err != nil || !bytes.Equal(stored.Signature, orders[i].Signature) {
				t.Errorf("a signature that was answered is not stored: %v", err)
			}
		}
		if answered != uses {
			t.Errorf("of %d uses %d were answered", uses, answered)
		}
		rounds, all = rounds+1, all+answered
	}
	t.Logf("%d rounds of %d orders on 3 processes: %d signed", rounds, racing, all)
	for _, v := range servers {
		if code := v.end(); code != exitOK {
			t.Errorf("a server ended with %d\n%s", code, v.log)
		}
	}
	if r := s.must(s.run("verify")); !strings.Contains(r.stdout, fmt.Sprintf("sign orders %d, of these signed %d\n", all, all)) {
		t.Errorf("it says:\n%s", r.stdout)
	}
}

// A trial with servers that are killed.
const (
	kills        = 12
	betweenKills = 60 // orders, on average
	usesEach     = 50
	operations   = kills * betweenKills / usesEach
)

// fleet are three servers, of which any may be killed and replaced at any time.
type fleet struct {
	*site
	mu      sync.Mutex
	servers [3]*serving
	kill    [3]func()
	clients [3]*client.Client
}

func (f *fleet) launch(i int) {
	v, kill := f.site.launch()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers[i], f.kill[i], f.clients[i] = v, kill, v.as("olga")
}

func (f *fleet) place(server int, o api.Operation, n int) (api.SignOrder, error) {
	f.mu.Lock()
	c := f.clients[server]
	f.mu.Unlock()
	return c.PlaceSignOrder(f.Context(), o.ID, fmt.Sprint("order-", n), api.NewSignOrder{KeyID: "fw-dev", Data: []byte(fmt.Sprint("image ", n))})
}

// CF-01 on three real servers: whatever was under way when one of them was killed, every order completes once
// when it is asked for again, on any server.
func TestEveryOrderCompletesOnceWhenServersAreKilled(t *testing.T) {
	t.Parallel()
	f := &fleet{site: trial(t)}
	testkit.Race(3, f.launch)
	var ops []api.Operation
	for i := range operations {
		ops = append(ops, f.servers[0].orderUses(usesEach, fmt.Sprint("operation-", i)))
	}
	const all = operations * usesEach
	signatures, asked := make([][]byte, all), make([]int, all)
	var next, unanswered atomic.Int64
	deadly := make(chan int, kills)
	var working, killing sync.WaitGroup
	killing.Go(func() {
		for i := range deadly {
			f.kill[i]()
			f.launch(i)
		}
	})
	due := map[int64]int{} // by order: which server is killed when that is placed
	for i := range kills {
		due[int64(i*betweenKills+rand.IntN(betweenKills))] = rand.IntN(3)
	}
	for range 8 {
		working.Go(func() {
			for n := next.Add(1) - 1; n < all; n = next.Add(1) - 1 {
				if server, is := due[n]; is {
					deadly <- server
				}
				server := rand.IntN(3)
				if order, err := f.place(server, ops[n/usesEach], int(n)); err == nil {
					signatures[n] = order.Signature
				} else if problem, is := errors.AsType[*api.Problem](err); is && problem.Status != http.StatusServiceUnavailable {
					t.Errorf("order %d: %v", n, err)
				} else {
					unanswered.Add(1)
				}
			}
		})
	}
	working.Wait()
	close(deadly)
	killing.Wait()
	testkit.Race(8, func(worker int) {
		for n := worker; n < all; n += 8 {
			f.complete(ops[n/usesEach], n, signatures[n], &asked[n])
		}
	})
	waited := 0
	for _, n := range asked {
		if n > 1 {
			waited++
		}
	}
	t.Logf("%d kills, %d orders, of these %d not answered at first; %d had to wait for the lease of an attempt that was cut off", kills, all, unanswered.Load(), waited)
	if unanswered.Load() == 0 {
		t.Error("every order was answered: the servers were not killed under load")
	}
	for _, o := range ops {
		got, err := f.clients[0].Operation(t.Context(), o.ID)
		if err != nil || got.State != api.Exhausted {
			t.Errorf("an operation whose orders are all signed is %s (%v)", got.State, err)
		}
	}
	if r := f.must(f.run("verify")); !strings.Contains(r.stdout, fmt.Sprintf("sign orders %d, of these signed %d\n", all, all)) {
		t.Errorf("it says:\n%s", r.stdout)
	}
}

// complete asks for an order until it is signed, and holds it to what was answered before if anything was.
func (f *fleet) complete(o api.Operation, n int, before []byte, asked *int) {
	until(f, fmt.Sprint("order ", n, " completes"), func() bool {
		*asked++
		order, err := f.place(n%3, o, n)
		if problem, is := errors.AsType[*api.Problem](err); is && problem.Status == http.StatusServiceUnavailable {
			return false
		}
		if err != nil || before != nil && !bytes.Equal(order.Signature, before) {
			f.Errorf("order %d, asked for again: another signature, or %v", n, err)
		}
		return true
	})
}

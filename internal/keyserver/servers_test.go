package keyserver_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store/postgrestest"
	"example.org/keyserver/internal/testkit"
)

// several are servers on one database.
func several(t *testing.T, n int) []*testkit.Kit {
	k := testkit.NewWith(t, testkit.Options{Shared: true, Limits: keyserver.Limits{PendingOperations: 1 << 20}})
	all := []*testkit.Kit{k}
	for range n - 1 {
		all = append(all, k.Another())
	}
	return all
}

// Races on several servers: as many rounds as fit into the time, of so many orders each.
const (
	serverRounds    = 400
	fewestOnServers = 200
	serverTime      = 25 * time.Second
	racingOnServers = 90
)

// RC-01 on several servers.
func TestRacingOrdersOnSeveralServersTakeExactlyTheUsesThereAre(t *testing.T) {
	t.Parallel()
	kits := several(t, 3)
	enough, cancel := context.WithTimeout(t.Context(), serverTime)
	defer cancel()
	rounds, signed, winners := 0, 0, map[int]int{}
	for rounds < fewestOnServers || rounds < serverRounds && enough.Err() == nil {
		uses := []int{1, 2, 7, 64}[rounds%4]
		for i := range raceOnServers(t, kits, uses) {
			winners[i%len(kits)]++
			signed++
		}
		rounds++
	}
	t.Logf("%d rounds of %d orders on %d servers: %d signed, by server %v", rounds, racingOnServers, len(kits), signed, winners)
	if len(winners) != len(kits) {
		t.Errorf("only the servers %v have signed", winners)
	}
	if asked := kits[0].Keystore.Signs("fw-dev"); asked != signed {
		t.Errorf("%d orders were signed, and the keystore was asked %d times", signed, asked)
	}
}

// raceOnServers has orders race for the uses of one operation, and returns what was answered, by order.
func raceOnServers(t *testing.T, kits []*testkit.Kit, uses int) map[int]keyserver.SignOrder {
	t.Helper()
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = uses
	o := kits[0].Create(ask)
	orders, errs := make([]keyserver.SignOrder, racingOnServers), make([]error, racingOnServers)
	place := func(k *testkit.Kit, i int) (keyserver.SignOrder, error) {
		return k.Sign(o, testkit.OrderAsk("fw-dev", fmt.Sprint(i), fmt.Sprint("image ", i)))
	}
	testkit.Race(racingOnServers, func(i int) { orders[i], errs[i] = place(kits[i%len(kits)], i) })
	answered := map[int]keyserver.SignOrder{}
	for i, err := range errs {
		if err != nil {
			testkit.Refused(t, "an order too many", err, law.WrongState)
			continue
		}
		answered[i] = orders[i]
		stored, err := place(kits[(i+1)%len(kits)], i) // on another server
		if err != nil || !bytes.Equal(stored.Signature, orders[i].Signature) {
			t.Errorf("a signature that was answered is not stored: %v", err)
		}
	}
	usage := kits[1].Look(o.ID).Usage["fw-dev"]
	if len(answered) != uses || usage != (law.Usage{Taken: uses, Signed: uses}) {
		t.Errorf("of %d uses %d were answered, and the usage is %+v", uses, len(answered), usage)
	}
	return answered
}

// Two orders are one on whatever servers they are placed.
func TestTheSameOrderOnSeveralServersIsOneOrder(t *testing.T) {
	kits := several(t, 3)
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = 5
	o := kits[0].Create(ask)
	order := testkit.OrderAsk("fw-dev", "same", "image")
	answers := make([]keyserver.SignOrder, 30)
	testkit.Race(len(answers), func(i int) {
		var err error
		if answers[i], err = kits[i%3].Sign(o, order); err != nil {
			t.Error(err)
		}
	})
	for _, a := range answers {
		if a.ID != answers[0].ID || !bytes.Equal(a.Signature, answers[0].Signature) {
			t.Errorf("order %s, signature %x, and %s, %x", a.ID, a.Signature, answers[0].ID, answers[0].Signature)
		}
	}
	if n := kits[0].Keystore.Signs("fw-dev"); n != 1 {
		t.Errorf("the keystore was asked %d times", n)
	}
}

// Rule 12: the lease of an attempt tells when another server may make the next one, and a result that comes
// after that is not taken.
func TestAnotherServerCompletesWhatTheFirstOneDoesNot(t *testing.T) {
	kits := several(t, 2)
	first, second := kits[0], kits[1]
	o := first.Create(testkit.Ask("fw-dev"))
	order := testkit.OrderAsk("fw-dev", "1", "image")
	hanging := first.Keystore.Hang(t)
	late := inBackground(first, o, order)
	if err := hanging.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	first.Keystore.Hook(keystoretest.Hooks{}) // the first server alone hangs
	first.Clock.Step(law.AttemptLease - time.Millisecond)
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := second.Keyserver.PlaceSignOrder(impatient, second.Caller("olga"), o.ID, order); err == nil {
		t.Error("within the lease of the attempt another one was made")
	}
	first.Clock.Step(time.Millisecond)
	done, err := second.Sign(o, order)
	if err != nil {
		t.Fatal(err)
	}
	if done.Attempt != 2 || done.Use != 1 {
		t.Errorf("it was attempt %d of use %d", done.Attempt, done.Use)
	}
	hanging.Release()
	if a := <-late; a.err == nil && !bytes.Equal(a.order.Signature, done.Signature) {
		t.Errorf("the first server answers with a signature that was not taken: %x", a.order.Signature)
	}
	for _, k := range kits {
		if again := k.MustSign(o, order); !bytes.Equal(again.Signature, done.Signature) || again.Attempt != 2 {
			t.Errorf("attempt %d is stored", again.Attempt)
		}
	}
	expectCounts(second, o.ID, map[audit.Type]int{
		audit.OrderAccepted: 1, audit.OrderAttempted: 1, audit.OrderSigned: 1, audit.OperationExhausted: 1,
	})
}

// told bounds how long news may take to another server. A connection that listens looks of itself only after
// twice that long: news that come in time were told.
const told = 5 * time.Second

func TestWhoWaitsOnOneServerIsToldWhatHappenedOnAnother(t *testing.T) {
	kits := several(t, 2)
	for range 3 {
		o := kits[0].Create(testkit.Ask("fw-one"))
		answer := waiting(kits[0], o)
		kits[1].Approve(o, "alice")
		expectNews(t, answer, law.Approved)
	}
}

func expectNews(t *testing.T, answer <-chan keyserver.Operation, want law.State) {
	t.Helper()
	select {
	case after := <-answer:
		if after.State != want {
			t.Errorf("waited for %s", after.State)
		}
	case <-time.After(told):
		t.Fatal("it is not told")
	}
}

// cutListeners ends the connections that listen, as an operator or a network can.
func cutListeners(k *testkit.Kit) {
	postgrestest.Exec(k, k.Location, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`)
}

func TestWhoWaitsIsToldAlsoWhenTheConnectionThatListensIsCut(t *testing.T) {
	kits := several(t, 2)
	before := kits[0].Create(testkit.Ask("fw-one"))
	answer := waiting(kits[0], before)
	cutListeners(kits[0])
	kits[1].Approve(before, "alice")
	expectNews(t, answer, law.Approved)
	for range 3 { // and it listens again, or looks by itself until then
		o := kits[0].Create(testkit.Ask("fw-one"))
		answer := waiting(kits[0], o)
		kits[1].Approve(o, "alice")
		expectNews(t, answer, law.Approved)
	}
}

// What becomes of a commit whose answer is lost is looked up; nothing is run twice.
func TestACommitWhoseAnswerIsLostIsNotRunAgain(t *testing.T) {
	for name, c := range map[string]struct {
		lose      func(*postgrestest.Proxy)
		unknown   bool // the commit did not happen, and the order has to be placed again
		attempts  int
		afterThat func(*testkit.Kit)
	}{
		"the answer to the acceptance":    {func(p *postgrestest.Proxy) { p.LoseAnswer(0) }, false, 1, nil},
		"the answer to the result":        {func(p *postgrestest.Proxy) { p.LoseAnswer(1) }, false, 1, nil},
		"the commit of the acceptance":    {func(p *postgrestest.Proxy) { p.LoseCommit(0) }, true, 1, nil},
		"the commit of the result itself": {func(p *postgrestest.Proxy) { p.LoseCommit(1) }, true, 2, func(k *testkit.Kit) { k.Clock.Step(law.AttemptLease) }},
	} {
		t.Run(name, func(t *testing.T) {
			k := testkit.NewWith(t, testkit.Options{Shared: true})
			proxy := postgrestest.NewProxy(t, k.Location)
			behind := k.AnotherAt(proxy.At)
			o := behind.Create(testkit.Ask("fw-dev"))
			order := testkit.OrderAsk("fw-dev", "1", "image")
			c.lose(proxy)
			signed, err := behind.Sign(o, order)
			if proxy.Lost() != 1 {
				t.Fatalf("%d commits or answers were lost", proxy.Lost())
			}
			if c.unknown != (err != nil) {
				t.Errorf("the answer is %+v (%v)", signed, err)
			}
			if err != nil {
				testkit.Unavailable(t, "an order that was not stored", err, "database")
				if c.afterThat != nil {
					c.afterThat(behind)
				}
				signed = behind.MustSign(o, order)
			}
			if stored := k.MustSign(o, order); !bytes.Equal(stored.Signature, signed.Signature) || stored.Attempt != c.attempts || stored.Use != 1 {
				t.Errorf("stored is attempt %d of use %d", stored.Attempt, stored.Use)
			}
			expectCounts(k, o.ID, map[audit.Type]int{
				audit.OrderAccepted: 1, audit.OrderAttempted: c.attempts - 1, audit.OrderSigned: 1, audit.OperationExhausted: 1,
			})
			if n := k.Keystore.Signs("fw-dev"); n != c.attempts {
				t.Errorf("the keystore was asked %d times", n)
			}
		})
	}
}

// One step of the database's clock is one event, however many servers see it.
func TestAStepOfTheClockThatSeveralServersSeeIsOneEvent(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": time.Minute, "back": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			kits := several(t, 3)
			for _, k := range kits {
				k.Beat()
			}
			kits[0].Clock.Set(step)
			for range 2 {
				for _, k := range kits {
					k.Beat()
				}
			}
			if n := len(kits[0].EventsOf("", audit.ClockStepped)); n != 1 {
				t.Errorf("one step is %d events", n)
			}
		})
	}
}

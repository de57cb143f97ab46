package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"

	"example.org/keyserver/e2e/stand"
	"example.org/keyserver/internal/law"
)

const (
	fewOrders = 1000   // stored, to compare with
	portion   = 10_000 // orders of one operation of the history
	fillers   = 128    // clients that make it: enough for full batches
)

// past is what a long history costs.
type past struct {
	many   int     // sign orders stored
	events int     // of the log
	slower float64 // latency of one client's sign order with so many stored, of that with few
	start  time.Duration
}

// measureHistory measures what a long history costs: the latency of a sign order with few and with many stored, the
// time to start, and the rate of verification. The history is made through the API, so it is as a server makes it,
// with good signatures.
func (b *bench) measureHistory(ctx context.Context, s *stand.Stand, of setup) error {
	fmt.Printf("\n%-32s %12s %10s %10s %10s %10s\n", "stored sign orders ("+of.String()+")", "clients", "orders/s", "p50 ms", "p99 ms", "RSS MiB")
	b.past = &past{}
	stored := 0
	var alone []time.Duration // of one client, half of its orders
	for _, size := range []int{fewOrders, b.history} {
		if err := fill(ctx, s, &stored, size); err != nil {
			return err
		}
		b.past.many = stored
		for _, clients := range []int{1, 32} {
			l, err := orders(ctx, s, p256, clients, b.each)
			if err != nil {
				return err
			}
			fmt.Printf("%-32d %12d %10.0f %10.2f %10.2f %10.0f\n", stored, clients, l.rate, ms(l.at(0.50)), ms(l.at(0.99)), l.rss)
			stored += len(l.latencies)
			if clients == 1 {
				alone = append(alone, l.at(0.50))
			}
		}
	}
	b.past.slower = float64(alone[1]) / float64(alone[0])
	return b.measureVerification(ctx, s)
}

// measureVerification measures the verification of all that is stored, and how long the server then takes to start.
func (b *bench) measureVerification(ctx context.Context, s *stand.Stand) error {
	if err := s.StopServer(); err != nil {
		return err
	}
	begun := time.Now()
	out, err := s.Command(ctx, "keyserver", "verify", "--config", s.Config()).Output()
	if err != nil {
		return fmt.Errorf("keyserver verify: %w\n%s", err, out)
	}
	took := time.Since(begun)
	found := regexp.MustCompile(`(?m)^entries +(\d+),`).FindSubmatch(out)
	if found == nil {
		return errors.New("keyserver verify does not say how many entries it has verified")
	}
	b.past.events, _ = strconv.Atoi(string(found[1]))
	fmt.Printf("\nverification of %d events, their signatures and all tables: %.1f s, %.0f events/s\n", b.past.events, took.Seconds(), float64(b.past.events)/took.Seconds())
	begun = time.Now()
	if err := s.Serve(ctx); err != nil {
		return err
	}
	b.past.start = time.Since(begun)
	fmt.Printf("start of the server until it is ready: %.0f ms\n", ms(b.past.start))
	return nil
}

// fill places sign orders until so many are stored.
func fill(ctx context.Context, s *stand.Stand, stored *int, size int) error {
	for *stored < size {
		n := min(portion, size-*stored)
		_, l, _, err := ordering(ctx, s, p256, fillers, law.MaxUses)
		if err != nil {
			return err
		}
		r, err := l.run(ctx, time.Hour, int64(n))
		if err != nil {
			return err
		}
		*stored += len(r.latencies)
		fmt.Fprintf(os.Stderr, "\rmaking history: %d of %d sign orders, %.0f/s ", *stored, size, r.rate)
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	return nil
}

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
)

// history measures what a long history costs: the latency of a sign order with few and with many stored, the
// time to start, and the rate of verification. The history is made through the API, so it is as a server makes it,
// with good signatures.
func history(ctx context.Context, s *stand.Stand, many int, each time.Duration) error {
	fmt.Printf("\n%-22s %12s %10s %10s %10s %10s\n", "stored sign orders", "clients", "orders/s", "p50 ms", "p99 ms", "RSS MiB")
	stored := 0
	for _, size := range []int{fewOrders, many} {
		if err := fill(ctx, s, &stored, size); err != nil {
			return err
		}
		for _, clients := range []int{1, 32} {
			l, err := orders(ctx, s, subjects[0], clients, each)
			if err != nil {
				return err
			}
			fmt.Printf("%-22d %12d %10.0f %10.2f %10.2f %10.0f\n", stored, clients, l.rate, ms(l.at(0.50)), ms(l.at(0.99)), l.rss)
			stored += len(l.latencies)
		}
	}
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
	entries, _ := strconv.Atoi(string(found[1]))
	fmt.Printf("\nverification of %d events, their signatures and all tables: %.1f s, %.0f events/s\n", entries, took.Seconds(), float64(entries)/took.Seconds())
	begun = time.Now()
	if err := s.Serve(ctx); err != nil {
		return err
	}
	fmt.Printf("start of the server until it is ready: %.0f ms\n", ms(time.Since(begun)))
	return nil
}

// fill places sign orders until so many are stored.
func fill(ctx context.Context, s *stand.Stand, stored *int, size int) error {
	for *stored < size {
		n := min(portion, size-*stored)
		_, l, _, err := ordering(ctx, s, subjects[0], 64, law.MaxUses)
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

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"example.org/keyserver/e2e/stand"
	"example.org/keyserver/internal/keystore/hsm"
	"example.org/keyserver/internal/law"
)

// baseline is what sign orders are compared with.
type baseline struct {
	syncs float64             // fdatasync a second
	raw   map[rawRate]float64 // signatures a second
	noop  map[int]float64     // requests a second without TLS, by the number of clients
	log   float64             // events a second of an exported log that are verified
}

// rawRate names what a keystore does in a second when nothing else is done.
type rawRate struct {
	keystore  string
	algorithm law.Algorithm
}

// clientCounts are the numbers of clients of each table.
var clientCounts = []int{1, 8, 32}

// measureParts measures the disk, the keystores and the verification of a log.
func (b *bench) measureParts(ctx context.Context) (err error) {
	if b.syncs, err = fdatasyncs(b.dir, b.each); err != nil {
		return err
	}
	fmt.Printf("\n%-50s %9.0f/s\n", "fdatasync of 4 KiB, one after the other", b.syncs)
	b.raw = map[rawRate]float64{}
	for _, s := range []subject{p256, rsa3072} {
		raw, verified, err := softwareRates(ctx, filepath.Join(b.dir, "raw-"+s.key), s, b.each)
		if err != nil {
			return err
		}
		b.raw[rawRate{stand.Software, s.algorithm}] = raw
		fmt.Printf("%-50s %9.0f/s raw, %.0f/s with each signature verified\n", fmt.Sprintf("software keystore, %s, all cores", s.algorithm), raw, verified)
	}
	if slices.ContainsFunc(b.setups, func(s setup) bool { return s.Keystore == stand.SoftHSM }) {
		if err := b.measureHSM(ctx); err != nil {
			return err
		}
	}
	found, err := benchmarked(ctx, "./internal/audit", "0", "^BenchmarkVerifyExport$", "entries/s", b.each)
	if err != nil {
		return err
	}
	b.log = found["VerifyExport"]
	fmt.Printf("%-50s %9.0f events/s\n", "verification of an exported log", b.log)
	return nil
}

// measureHSM measures the bare C_SignInit and C_Sign of SoftHSM, with as many sessions as the worker has, and what is left
// of it on the other side of the worker's socket.
func (b *bench) measureHSM(ctx context.Context) error {
	lane := fmt.Sprint(hsm.DefaultSessions)
	found, err := benchmarked(ctx, "./cmd/keyserver-hsm", "1", "^BenchmarkSign$/^(raw|worker)$/^"+lane+"$", "signatures/s", b.each)
	if err != nil {
		return err
	}
	raw := found["Sign/raw/"+lane]
	b.raw[rawRate{stand.SoftHSM, law.P256}] = raw
	fmt.Printf("%-50s %9.0f/s raw, %.0f/s through the worker\n", fmt.Sprintf("SoftHSM2 over PKCS#11, %s, %s sessions", law.P256, lane), raw, found["Sign/worker/"+lane])
	return nil
}

// measureNoop measures the server that does nothing. Requests and answers are as long as those of a sign order.
func (b *bench) measureNoop(ctx context.Context, s *stand.Stand) error {
	_, l, _, err := ordering(ctx, s, p256, 1, 1)
	if err != nil {
		return err
	}
	one, err := l.run(ctx, b.each, 1)
	if err != nil {
		return err
	}
	b.noop = map[int]float64{}
	fmt.Printf("\n%-14s %8s %10s %10s %10s %12s\n", "no-op handler", "clients", "answers/s", "p50 ms", "p99 ms", "CPU us each")
	for _, kind := range []string{"plain", "tls"} {
		for _, clients := range clientCounts {
			l.clients = clients
			r, cpu, err := measureNothing(ctx, l, kind, one.answer, b.each)
			if err != nil {
				return err
			}
			if kind == "plain" {
				b.noop[clients] = r.rate
			}
			fmt.Printf("%-14s %8d %10.0f %10.2f %10.2f %12.0f\n", kind, clients, r.rate, ms(r.at(0.50)), ms(r.at(0.99)), us(cpu))
		}
	}
	return nil
}

// measureNothing puts the load on a server that does nothing, and returns also the CPU time of one answer.
func measureNothing(ctx context.Context, l load, kind string, size int, each time.Duration) (r result, cpu time.Duration, err error) {
	n, err := startNoop(ctx, kind, size)
	if err != nil {
		return r, 0, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	l.addresses, l.tls = []string{n.address}, n.tls
	if r, err = l.run(ctx, each, 0); err != nil {
		return r, 0, err
	}
	used, err := usageOf([]int{n.command.Process.Pid})
	return r, used.cpu / time.Duration(len(r.latencies)), err
}

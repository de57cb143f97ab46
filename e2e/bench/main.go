// Command bench measures sign orders through the API, durable and audited, beside what limits them: the
// raw rate of the keystore, and of fdatasync on the same disk. It prints them side by side, as ratios.
//
//	go run ./e2e/bench [-seconds 4]
//
// The server is a process of its own on loopback, as in production but for TLS and the HSM; the clients are
// goroutines here, so they share the machine's cores with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/e2e/stand"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
)

func main() {
	seconds := flag.Float64("seconds", 4, "how long each line of the table is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, time.Duration(*seconds*float64(time.Second))); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// subject is a key that is measured.
type subject struct {
	key       string
	algorithm law.Algorithm
	scheme    law.Scheme
}

var subjects = []subject{{"fw-dev", law.P256, law.ECDSA}, {"fw-rsa", law.RSA3072, law.PSS}}

func run(ctx context.Context, each time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "keyserver-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	syncs, err := fdatasyncs(dir, each)
	if err != nil {
		return err
	}
	fmt.Printf("%d cores, %s\n\n", runtime.NumCPU(), runtime.Version())
	fmt.Printf("fdatasync of 4 KiB, one after the other: %.0f/s\n", syncs)
	raw := map[law.Algorithm]float64{}
	for _, s := range subjects {
		if raw[s.algorithm], err = rawRate(filepath.Join(dir, "raw-"+s.key), s); err != nil {
			return err
		}
		fmt.Printf("software keystore, %s, all cores:  %.0f/s\n", s.algorithm, raw[s.algorithm])
	}
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	standDir := filepath.Join(dir, "stand")
	if err := os.Mkdir(standDir, 0o700); err != nil {
		return err
	}
	s, err := stand.New(ctx, bin, standDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	fmt.Printf("\n%-12s %8s %12s %10s %10s %14s %14s\n", "key", "clients", "orders/s", "p50 ms", "p99 ms", "of keystore", "of fdatasync")
	for _, subject := range subjects {
		for _, clients := range []int{1, 8, 32} {
			r, err := orders(ctx, s, subject, clients, each)
			if err != nil {
				return err
			}
			fmt.Printf("%-12s %8d %12.0f %10.2f %10.2f %14.2f %14.2f\n", subject.algorithm, clients, r.rate,
				ms(r.at(0.50)), ms(r.at(0.99)), r.rate/raw[subject.algorithm], r.rate/syncs)
		}
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// fdatasyncs is how often a second 4 KiB can be appended and made durable.
func fdatasyncs(dir string, each time.Duration) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "fdatasync"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	page := make([]byte, 4096)
	n, begun := 0, time.Now()
	for ; time.Since(begun) < each; n++ {
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}

// rawRate is how many signatures a second the keystore makes when nothing else is done.
func rawRate(dir string, s subject) (float64, error) {
	k, err := software.Create(dir, []byte("a passphrase for a benchmark"), software.Options{Iterations: software.MinIterations})
	if err != nil {
		return 0, err
	}
	defer k.Close()
	pair, err := k.Generate(context.Background(), law.KeyID(s.key), 1, s.algorithm)
	if err != nil {
		return 0, err
	}
	r := testing.Benchmark(func(b *testing.B) {
		permit := keystoretest.Permit(b, keystoretest.Key("software", law.KeyID(s.key), s.algorithm, pair), keystoretest.Input(law.SHA256, s.scheme, []byte("image")))
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := k.Sign(context.Background(), permit); err != nil {
					b.Error(err)
				}
			}
		})
	})
	if r.N == 0 {
		return 0, fmt.Errorf("measuring the keystore with %s failed", s.algorithm)
	}
	return float64(r.N) / r.T.Seconds(), nil
}

// result is what one line of the table is made of.
type result struct {
	rate      float64
	latencies []time.Duration // sorted
}

func (r result) at(part float64) time.Duration {
	return r.latencies[min(len(r.latencies)-1, int(part*float64(len(r.latencies))))]
}

// orders lets so many clients place sign orders one after the other.
func orders(ctx context.Context, s *stand.Stand, subject subject, clients int, each time.Duration) (result, error) {
	token, err := s.MachineToken(ctx)
	if err != nil {
		return result{}, err
	}
	c, err := client.New(s.Server, client.StaticToken(token), client.Options{})
	if err != nil {
		return result{}, err
	}
	o, err := c.CreateOperation(ctx, fmt.Sprintf("bench-%s-%d", subject.key, clients), api.NewOperation{
		KeyUsageRestrictions: []api.KeyUsageRestriction{{KeyID: subject.key, MaxUsageCount: law.MaxUses}},
		Description:          "benchmark", Context: "sign orders through the API", ValidMS: time.Hour.Milliseconds(),
	})
	if err != nil {
		return result{}, err
	}
	var placed atomic.Int64
	latencies := make([][]time.Duration, clients)
	errs := make([]error, clients)
	begun := time.Now()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for time.Since(begun) < each {
				n := placed.Add(1)
				order := api.NewSignOrder{
					KeyID: subject.key, Hash: string(law.SHA256), Scheme: string(subject.scheme),
					Digest: strings.Repeat(fmt.Sprintf("%08x", n), 8),
				}
				sent := time.Now()
				if _, err := c.PlaceSignOrder(ctx, o.ID, fmt.Sprint(n), order); err != nil {
					errs[i] = err
					return
				}
				latencies[i] = append(latencies[i], time.Since(sent))
			}
		})
	}
	all.Wait()
	took := time.Since(begun)
	r := result{latencies: slices.Concat(latencies...)}
	slices.Sort(r.latencies)
	r.rate = float64(len(r.latencies)) / took.Seconds()
	return r, errors.Join(errs...)
}

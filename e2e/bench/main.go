// Command bench measures sign orders through the API, durable, audited and with the token checked, beside what
// limits them on the same machine in the same run: the raw rate of the keystore, fdatasync on the same disk, and
// a server of the same HTTP stack whose handler does nothing. It prints them side by side, as ratios.
//
//	go run ./e2e/bench [-seconds 4] [-history 1000000]
//
// The servers are processes of their own on loopback, as in production but for TLS and the HSM. The clients are
// goroutines here, made cheap (see load), and share the machine's cores with them.
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
	"syscall"
	"time"

	"example.org/keyserver/e2e/stand"
	"example.org/keyserver/internal/law"
)

// options are what the command line says.
type options struct {
	database, keystore string
	servers            int
	each               time.Duration
	history            int
}

func main() {
	var o options
	flag.StringVar(&o.database, "db", "sqlite", "database of the servers: sqlite")
	flag.StringVar(&o.keystore, "keystore", "software", "keystore of the servers: software")
	flag.IntVar(&o.servers, "servers", 1, "number of servers on one database")
	flag.DurationVar(&o.each, "each", 4*time.Second, "how long each line of the tables is measured")
	flag.IntVar(&o.history, "history", 0, "measure also with so many sign orders stored, such as 1000000; 0: do not")
	nothing := flag.String("serve-nothing", "", "for the program itself: be the server that does nothing, plain or tls")
	size := flag.Int("size", 0, "for the program itself: bytes of an answer")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	run := func() error { return o.run(ctx) }
	if *nothing != "" {
		run = func() error { return serveNothing(*nothing, *size) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) (err error) {
	if o.database != "sqlite" || o.keystore != "software" || o.servers != 1 {
		return fmt.Errorf("-db %s -keystore %s -servers %d cannot be measured yet", o.database, o.keystore, o.servers)
	}
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "keyserver-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Printf("%d cores, which servers and clients share; %s; database %s, keystore %s, servers %d\n",
		runtime.NumCPU(), runtime.Version(), o.database, o.keystore, o.servers)
	fmt.Println("clients: a connection each, kept; requests made beforehand; of answers only status and length are read")
	var base baseline
	if err := base.measureParts(ctx, dir, o.each); err != nil {
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
	if err := base.measureNoop(ctx, s, o.each); err != nil {
		return err
	}
	if err := o.measureOrders(ctx, s, base); err != nil || o.history == 0 {
		return err
	}
	return history(ctx, s, o.history, o.each)
}

// baseline is what sign orders are compared with.
type baseline struct {
	syncs    float64 // fdatasync a second
	keystore map[law.Algorithm]rates
	noop     map[int]float64 // requests a second without TLS, by the number of clients
}

// counts of clients, of each table.
var clientCounts = []int{1, 8, 32}

// measureParts measures the disk and the keystore.
func (b *baseline) measureParts(ctx context.Context, dir string, each time.Duration) (err error) {
	if b.syncs, err = fdatasyncs(dir, each); err != nil {
		return err
	}
	fmt.Printf("\nfdatasync of 4 KiB, one after the other:       %8.0f/s\n", b.syncs)
	b.keystore = map[law.Algorithm]rates{}
	for _, s := range subjects {
		r, err := keystoreRates(ctx, filepath.Join(dir, "raw-"+s.key), s)
		if err != nil {
			return err
		}
		b.keystore[s.algorithm] = r
		fmt.Printf("keystore, %-10s, all cores:               %8.0f/s raw, %8.0f/s with each signature verified\n", s.algorithm, r.raw, r.verified)
	}
	return nil
}

// measureNoop measures the server that does nothing. Requests and answers are as long as those of a sign order.
func (b *baseline) measureNoop(ctx context.Context, s *stand.Stand, each time.Duration) error {
	_, l, _, err := ordering(ctx, s, subjects[0], 1, 1)
	if err != nil {
		return err
	}
	one, err := l.run(ctx, each, 1)
	if err != nil {
		return err
	}
	b.noop = map[int]float64{}
	fmt.Printf("\n%-14s %8s %10s %10s %10s %12s\n", "no-op handler", "clients", "answers/s", "p50 ms", "p99 ms", "CPU us each")
	for _, kind := range []string{"plain", "tls"} {
		for _, clients := range clientCounts {
			l.clients = clients
			r, cpu, err := measureNothing(ctx, l, kind, one.answer, each)
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

func (o options) measureOrders(ctx context.Context, s *stand.Stand, b baseline) error {
	fmt.Printf("\n%-11s %7s %9s %8s %8s | %9s %9s %9s | %7s %8s %8s %8s\n", "sign orders", "clients", "orders/s", "p50 ms", "p99 ms",
		"of no-op", "of keyst.", "of fsync", "CPU us", "commits", "RSS MiB", "peak MiB")
	for _, subject := range subjects {
		for _, clients := range clientCounts {
			l, err := orders(ctx, s, subject, clients, o.each)
			if err != nil {
				return err
			}
			fmt.Printf("%-11s %7d %9.0f %8.2f %8.2f | %9.3f %9.3f %9.2f | %7.0f %8.2f %8.0f %8.0f\n", subject.algorithm, clients, l.rate,
				ms(l.at(0.50)), ms(l.at(0.99)), l.rate/b.noop[clients], l.rate/b.keystore[subject.algorithm].raw, l.rate/b.syncs,
				us(l.cpu), l.commits, l.rss, l.peak)
		}
	}
	fmt.Println("CPU us and commits are for one order, by the servers; no-op: without TLS, with as many clients; keyst.: raw")
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// Command bench measures sign orders through the API, durable, audited and with the token checked, beside what
// limits them on the same machine in the same run: the raw rates of the keystores, fdatasync on the same disk, and
// a server of the same HTTP stack whose handler does nothing. It prints them side by side, as ratios, and the goals
// with what was reached.
//
//	go run ./e2e/bench [-db postgres] [-keystore softhsm] [-servers 3] [-each 4s] [-history 1000000]
//	go run ./e2e/bench -only-devices -devices 1000000 [-db postgres]
//
// Without the first three it measures, one after the other, the servers that the goals compare. The servers,
// PostgreSQL and the worker of the HSM are processes of their own on this machine, as in production but for TLS, the
// network and the HSM's hardware. The clients are goroutines here, made cheap (see load), and share the machine's
// cores with them.
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
)

// options are what the command line says.
type options struct {
	parts   stand.Options // the zero value: all that the goals compare
	each    time.Duration
	history int
	devices int
	only    bool // the device certificates are measured alone
}

func main() {
	var o options
	flag.StringVar(&o.parts.Database, "db", "", "measure servers on this database alone: sqlite or postgres")
	flag.StringVar(&o.parts.Keystore, "keystore", "", "measure servers with this keystore alone: software or softhsm")
	flag.IntVar(&o.parts.Servers, "servers", 0, "measure so many servers on one database alone, such as 1 or 3")
	flag.DurationVar(&o.each, "each", 4*time.Second, "how long each line of the tables is measured")
	flag.IntVar(&o.history, "history", 0, "measure also with so many sign orders stored, such as 1000000; 0: do not")
	flag.IntVar(&o.devices, "devices", 20_000, "measure also with so many device certificates of one CA key, such as 1000000; 0: do not")
	flag.BoolVar(&o.only, "only-devices", false, "measure device certificates alone")
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
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "keyserver-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Printf("%d cores, which servers, databases and clients share; %s\n", runtime.NumCPU(), runtime.Version())
	fmt.Println("clients: a connection each, kept; requests made beforehand; of answers only status and length are read")
	b := bench{options: o, bin: bin, dir: dir, setups: o.setups()}
	if o.only {
		return b.on(ctx, b.setups[0], b.measureDevices)
	}
	if err := b.measureParts(ctx); err != nil {
		return err
	}
	for _, s := range b.setups {
		if err := b.on(ctx, s, b.measureOrders); err != nil {
			return err
		}
	}
	printFoot()
	if o.history > 0 {
		if err := b.on(ctx, b.setups[0], b.measureHistory); err != nil {
			return err
		}
	}
	if o.devices > 0 {
		if err := b.on(ctx, b.setups[0], b.measureDevices); err != nil {
			return err
		}
	}
	b.printGoals()
	return nil
}

// bench is a run of the benchmark. What is measured is kept for the goals.
type bench struct {
	options
	bin, dir string
	setups   []setup

	baseline
	lines []line
	past  *past // nil: no history was asked for
}

// setup is servers that are measured, and with which keys.
type setup struct {
	stand.Options
	subjects []subject
}

func (s setup) String() string {
	name := s.Database + ", " + s.Keystore
	if s.Servers > 1 {
		name = fmt.Sprintf("%s ×%d, %s", s.Database, s.Servers, s.Keystore)
	}
	return name
}

// setups are the servers to be measured: those of the goals, or the one that the command line asks for.
func (o options) setups() []setup {
	if o.parts == (stand.Options{}) {
		return []setup{
			{stand.Options{Database: stand.SQLite, Keystore: stand.Software, Servers: 1}, []subject{p256, rsa3072}},
			{stand.Options{Database: stand.Postgres, Keystore: stand.Software, Servers: 1}, []subject{p256}},
			{stand.Options{Database: stand.Postgres, Keystore: stand.Software, Servers: 3}, []subject{p256}},
			{stand.Options{Database: stand.SQLite, Keystore: stand.SoftHSM, Servers: 1}, []subject{p256}},
		}
	}
	one := setup{o.parts, []subject{p256, rsa3072}}
	one.Servers = max(one.Servers, 1)
	if one.Database == "" {
		one.Database = stand.SQLite
	}
	if one.Keystore == "" {
		one.Keystore = stand.Software
	}
	return []setup{one}
}

// on sets servers up and measures them.
func (b *bench) on(ctx context.Context, of setup, measure func(context.Context, *stand.Stand, setup) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", of, err)
		}
	}()
	dir, err := os.MkdirTemp(b.dir, "stand-")
	if err != nil {
		return err
	}
	s, err := stand.NewWith(ctx, b.bin, dir, of.Options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	return measure(ctx, s, of)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
)

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

// softwareRates are how many signatures the software keystore makes in a second on all cores when nothing else is
// done: raw, and each verified before it is released, as every one is (rule 11).
func softwareRates(ctx context.Context, dir string, s subject, each time.Duration) (raw, verified float64, err error) {
	k, err := software.Create(dir, []byte("a passphrase for a benchmark"), software.Options{Iterations: software.MinIterations})
	if err != nil {
		return 0, 0, err
	}
	set, err := keystore.NewSet(keystore.Member{Name: "software", Keystore: k, Limits: keystore.DefaultLimits()})
	if err != nil {
		return 0, 0, err
	}
	defer set.Close()
	pair, err := k.Generate(ctx, law.KeyID(s.key), 1, s.algorithm)
	if err != nil {
		return 0, 0, err
	}
	key := keystoretest.Key("software", law.KeyID(s.key), s.algorithm, pair)
	if raw, err = parallel(key, s, each, func(p law.Permit) error { _, err := k.Sign(ctx, p); return err }); err != nil {
		return 0, 0, err
	}
	verified, err = parallel(key, s, each, func(p law.Permit) error { _, err := set.Sign(ctx, p); return err })
	return raw, verified, err
}

// parallel is how often a second it can be done on all cores, measured for so long at least.
func parallel(key law.Key, s subject, each time.Duration, do func(law.Permit) error) (float64, error) {
	n, took := 0, time.Duration(0)
	for took < each {
		r := testing.Benchmark(func(b *testing.B) {
			permit := keystoretest.Permit(b, key, keystoretest.Input(law.SHA256, s.scheme, []byte("image")))
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := do(permit); err != nil {
						b.Error(err)
					}
				}
			})
		})
		if r.N == 0 {
			return 0, fmt.Errorf("measuring the keystore with %s failed", s.algorithm)
		}
		n, took = n+r.N, took+r.T
	}
	return float64(n) / took.Seconds(), nil
}

// benchmarked runs a benchmark of the tests for so long, and returns what it reports in that unit, by its name. It is
// for what this program cannot measure in its own process: what needs cgo, above all.
func benchmarked(ctx context.Context, pkg, cgo, name, unit string, each time.Duration) (map[string]float64, error) {
	c := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", name, "-benchtime", each.String(), pkg)
	c.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	out, err := c.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("running benchmark %s of %s: %w\n%s", name, pkg, err, out)
	}
	found := map[string]float64{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		at := slices.Index(fields, unit)
		if at < 1 {
			continue
		}
		bare, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "Benchmark"), "-") // without the number of cores
		if found[bare], err = strconv.ParseFloat(fields[at-1], 64); err != nil {
			return nil, fmt.Errorf("reading what benchmark %s reports: %w", name, err)
		}
	}
	return found, nil
}

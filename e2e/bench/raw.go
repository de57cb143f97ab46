package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

// rates is what a keystore does in a second on all cores when nothing else is done.
type rates struct {
	raw      float64 // signatures
	verified float64 // signatures that are verified before they are released, as every one is (rule 11)
}

// keystoreRates measures the software keystore.
func keystoreRates(ctx context.Context, dir string, s subject) (rates, error) {
	k, err := software.Create(dir, []byte("a passphrase for a benchmark"), software.Options{Iterations: software.MinIterations})
	if err != nil {
		return rates{}, err
	}
	set, err := keystore.NewSet(keystore.Member{Name: "software", Keystore: k, Limits: keystore.DefaultLimits()})
	if err != nil {
		return rates{}, err
	}
	defer set.Close()
	pair, err := k.Generate(ctx, law.KeyID(s.key), 1, s.algorithm)
	if err != nil {
		return rates{}, err
	}
	key := keystoretest.Key("software", law.KeyID(s.key), s.algorithm, pair)
	raw, err := parallel(key, s, func(p law.Permit) error { _, err := k.Sign(ctx, p); return err })
	if err != nil {
		return rates{}, err
	}
	verified, err := parallel(key, s, func(p law.Permit) error { _, err := set.Sign(ctx, p); return err })
	return rates{raw, verified}, err
}

// parallel is how often a second it can be done on all cores.
func parallel(key law.Key, s subject, do func(law.Permit) error) (float64, error) {
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
	return float64(r.N) / r.T.Seconds(), nil
}

//go:build cgo

package main

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"example.org/keyserver/internal/keystore/hsm"
	"example.org/keyserver/internal/keystore/hsm/hsmtest"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
)

// opened is a token that the test's own process has opened, as a worker does.
func opened(tb testing.TB, made hsmtest.Token, sessions int) *token {
	tb.Helper()
	for name, value := range made.Environment {
		if err := os.Setenv(name, value); err != nil { // the library reads it, so it stays
			tb.Fatal(err)
		}
	}
	t := &token{open: hsm.Open{Protocol: hsm.Protocol, Module: made.Module, Parameters: made.Parameters, Token: made.Label, PIN: hsm.PIN(made.PIN), Sessions: sessions}}
	if _, err := t.start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = t.module.Finalize()
		t.module.Destroy()
	})
	return t
}

// callers has n callers do something b.N times altogether.
func callers(b *testing.B, n int, do func(caller int) error) {
	b.ResetTimer()
	var all sync.WaitGroup
	for caller := range n {
		all.Go(func() {
			for range b.N/n + 1 {
				if err := do(caller); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signatures/s")
}

// BenchmarkSign compares the bare C_SignInit and C_Sign of SoftHSM, in this process, with what a server gets
// through the socketpair, with as many sessions.
func BenchmarkSign(b *testing.B) {
	in := keystoretest.Input(law.SHA256, law.ECDSA, []byte("firmware"))
	for _, n := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("raw/%d", n), func(b *testing.B) {
			t := opened(b, hsmtest.NewSoftHSM(b), n)
			maker := &session{token: t, writes: true}
			pair, err := maker.generate(hsm.Generate{Key: "fw", Version: 1, Algorithm: law.P256})
			if err != nil {
				b.Fatal(err)
			}
			sessions, key := make([]*session, n), (*key)(nil)
			for i := range sessions {
				sessions[i] = &session{token: t}
				if err := sessions[i].open(); err != nil {
					b.Fatal(err)
				}
			}
			if key, err = sessions[0].find(pair.Handle); err != nil {
				b.Fatal(err)
			}
			callers(b, n, func(caller int) error {
				h := sessions[caller].handle
				if err := t.module.SignInit(h, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}, key.private); err != nil {
					return err
				}
				_, err := t.module.Sign(h, in.Digest)
				return err
			})
		})
		b.Run(fmt.Sprintf("worker/%d", n), func(b *testing.B) {
			o := hsmtest.NewSoftHSM(b).Options(b, nil)
			o.Sessions = n
			k := hsmtest.Open(b, o)
			pair, err := k.Generate(b.Context(), "fw", 1, law.P256)
			if err != nil {
				b.Fatal(err)
			}
			p := keystoretest.Permit(b, keystoretest.Key("hsm", "fw", law.P256, pair), in)
			callers(b, n, func(int) error {
				_, err := k.Sign(b.Context(), p)
				return err
			})
		})
	}
}

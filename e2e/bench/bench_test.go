package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// BenchmarkSignOrders is the server's way of a sign order within one process, for profiles:
//
//	go test ./e2e/bench -run - -bench SignOrders/32 -benchtime 5s -cpuprofile cpu.out
//	go tool pprof -top -cum -focus conn..serve cpu.out
//
// The load generator and the check of everything at the end are in the profile too; -focus leaves them out.
func BenchmarkSignOrders(b *testing.B) {
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			k := testkit.NewWith(b, testkit.Options{
				World: func(c *law.Configuration) { c.Keys[0].MaxUses = law.MaxUses },
				Log:   slog.New(slog.NewTextHandler(io.Discard, nil)),
			})
			s := subject{string(testkit.Key("fw-dev", 0).ID), law.P256, law.ECDSA}
			ask := testkit.Ask(law.KeyID(s.key))
			ask.Keys[0].MaxUses = law.MaxUses
			l := load{
				addresses: []string{strings.TrimPrefix(k.URL, "http://")}, clients: clients, status: http.StatusCreated,
				request: orderRequest(s, string(k.Create(ask).ID), k.Token("olga")),
			}
			b.ReportAllocs()
			b.ResetTimer()
			r, err := l.run(b.Context(), time.Hour, int64(b.N))
			b.StopTimer()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(r.rate, "orders/s")
		})
	}
}

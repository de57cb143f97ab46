package verify_test

import (
	"fmt"
	"slices"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/verifytest"
)

// The goal is 200,000 entries a second for the whole verification, of which this is a small part.
func BenchmarkFold(b *testing.B) {
	w := verifytest.New(b)
	first := len(w.Events())
	o := w.Create("olga", 100, nil, "fw-zero")
	for n := range 100 {
		if err := w.Sign("olga", o, "fw-zero", fmt.Sprint(n), "image"); err != nil {
			b.Fatal(err)
		}
	}
	l := &log{b, w.Events()}
	one := slices.Clone(l.events[first:])
	for n := range 200 { // operations like the one that was made
		at := len(l.events)
		l.events = append(l.events, one...)
		id := law.OperationID(fmt.Sprint("operation ", n))
		for i := range l.events[at:] {
			l.edit(at+i, func(e *audit.Event) {
				e.Operation = id
				if e.Order != "" {
					e.Order += law.OrderID(fmt.Sprint(" ", n))
				}
			})
		}
		l.restate(id, func(s *law.Statement) { s.ID = id })
	}
	for i := range l.events {
		l.events[i].Index = int64(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		f := verify.NewFold(verifytest.ServerID)
		for _, e := range l.events {
			if err := f.Add(e); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(len(l.events)*b.N)/b.Elapsed().Seconds(), "entries/s")
}

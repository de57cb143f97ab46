package pki_test

import (
	"crypto/rand"
	"fmt"
	"testing"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// BenchmarkRevocationList prepares revocation lists.
func BenchmarkRevocationList(b *testing.B) {
	root := newHierarchy(b, law.P256, law.SHA256, law.ECDSA).root
	for _, entries := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) {
			l := newList(1)
			one := l.Entries[0]
			l.Entries = nil
			for range entries {
				serial, err := pki.Serial(rand.Reader)
				if err != nil {
					b.Fatal(err)
				}
				one.Serial = serial
				l.Entries = append(l.Entries, one)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pki.PrepareRevocationList(root.pki(), l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

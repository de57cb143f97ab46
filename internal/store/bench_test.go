package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/postgrestest"
	"example.org/keyserver/internal/store/storetest"
)

// BenchmarkFdatasync is what the disk can do: append what one commit of one event appends, and make it durable.
func BenchmarkFdatasync(b *testing.B) {
	f, err := os.OpenFile(filepath.Join(b.TempDir(), "file"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(b, err)
	defer func() { _ = f.Close() }()
	frames := make([]byte, 6*4120)
	for b.Loop() {
		_, err := f.Write(frames)
		must(b, err)
		must(b, unix.Fdatasync(int(f.Fd())))
	}
}

func BenchmarkUpdateOfOneEvent(b *testing.B) {
	db := newFile(b).create(b, store.Options{})
	for b.Loop() {
		must(b, update(db, say("one event")))
	}
}

// BenchmarkSignOrder accepts sign orders, one after the other and many at once.
func BenchmarkSignOrder(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) { signOrders(b, func() *store.DB { return newFile(b).create(b, store.Options{}) }) })
	b.Run("PostgreSQL", func(b *testing.B) {
		signOrders(b, func() *store.DB {
			db, err := shared(postgrestest.New(b)).Create(b.Context(), withClock(store.Options{}))
			must(b, err)
			closeAtEnd(b, db)
			must(b, update(db, func(tx *store.Tx) error { return storetest.Configure(tx, storetest.World()) }))
			return db
		})
	})
}

func signOrders(b *testing.B, create func() *store.DB) {
	for _, callers := range []int{1, 8, 32, 128} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			db := create()
			must(b, update(db, func(tx *store.Tx) error { return storetest.Create(tx, "one", law.MaxUses, "fw") }))
			var n atomic.Int64
			b.SetParallelism(callers) // times GOMAXPROCS
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id := law.OrderID(fmt.Sprintf("%08d", n.Add(1)))
					if _, err := store.Update(b.Context(), db, func(tx *store.Tx) (law.Order, error) {
						return storetest.Place(tx, "one", "fw", id)
					}, storetest.Placing("one", "fw", id)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkServersInTurn accepts sign orders on three servers that share a database, one after the other: each
// finds that another has written.
func BenchmarkServersInTurn(b *testing.B) {
	at := postgrestest.New(b)
	servers := []*store.DB{createShared(b, at), openShared(b, at), openShared(b, at)}
	must(b, update(servers[0], func(tx *store.Tx) error { return storetest.Create(tx, "one", law.MaxUses, "fw") }))
	for n := 0; b.Loop(); n++ {
		id := law.OrderID(fmt.Sprintf("%08d", n))
		_, err := store.Update(b.Context(), servers[n%3], func(tx *store.Tx) (law.Order, error) {
			return storetest.Place(tx, "one", "fw", id)
		}, storetest.Placing("one", "fw", id))
		must(b, err)
	}
}

func BenchmarkView(b *testing.B) {
	db := newFile(b).create(b, store.Options{})
	must(b, update(db, func(tx *store.Tx) error { return storetest.Create(tx, "one", 1, "fw") }))
	read := func(r *store.Reader) (any, error) { _, _, err := r.Operation("one"); return nil, err }
	for b.Loop() {
		_, err := store.View(b.Context(), db, read)
		must(b, err)
	}
}

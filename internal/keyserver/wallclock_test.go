package keyserver_test

import (
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/storetest"
)

// set sets the wall clock of a time forward and leaves its monotonic reading, as when an operator sets the clock
// (time.Time: hasMonotonic is the highest bit of wall, seconds are the 33 bits after it).
func set(t time.Time, seconds uint64) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += seconds << 30
	return t
}

// As production runs it: the clock has a monotonic reading, and there is no other one.
func TestAStepForwardOfAClockWithAMonotonicReadingIsAudited(t *testing.T) {
	var ahead uint64
	clock := func() time.Time { return set(time.Now(), ahead) }
	db, err := store.Create(t.Context(), store.File(filepath.Join(t.TempDir(), "db")), "keyserver/test", store.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	key, _, err := audit.GenerateKey(rand.Reader, "keyserver/test")
	if err != nil {
		t.Fatal(err)
	}
	k, err := keyserver.New(keyserver.Options{DB: db, LogKey: key, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := k.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		ahead = 3600
	}
	if events := storetest.Events(t, db); len(events) != 1 || events[0].Type != audit.ClockStepped || events[0].Clock.New-events[0].Clock.Old < 3599_000 {
		t.Errorf("the events are %+v", events)
	}
}

package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/storetest"
)

// The test binary started with the path of a database in the first of these does in its own process what
// the second says.
const (
	childDatabase = "STORE_TEST_DATABASE"
	childDoes     = "STORE_TEST_DOES"
)

func startChild(t *testing.T, f file, does string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), childDatabase+"="+string(f), childDoes+"="+does)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	return c, bufio.NewScanner(out)
}

func child(path string) int {
	db, err := file(path).Open(context.Background(), withClock(store.Options{Serve: true}))
	if err == nil && os.Getenv(childDoes) == "hammer" {
		hammer(db)
	}
	if err == nil {
		err = errors.Join(fillDisk(db), db.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// hammer places sign orders and prints each as it is accepted, until it is killed.
func hammer(db *store.DB) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				id := law.OrderID(fmt.Sprintf("%x", rand.Uint64()))
				if err := update(db, func(tx *store.Tx) error { _, err := storetest.Place(tx, "one", "fw", id); return err }); err != nil {
					panic(err)
				}
				fmt.Println(id)
			}
		})
	}
	wg.Wait()
}

// CF-01: what was acknowledged is there after a kill at any moment, and state and log belong together.
func TestCF01_AKilledServerHasLostNothingItAcknowledged(t *testing.T) {
	f := newFile(t)
	db := f.create(t, store.Options{})
	must(t, update(db, func(tx *store.Tx) error { return storetest.Create(tx, "one", law.MaxUses, "fw") }))
	must(t, db.Close())
	var accepted []law.OrderID
	for range 12 {
		c, lines := startChild(t, f, "hammer")
		for n := 1 + rand.IntN(150); n > 0 && lines.Scan(); n-- {
			accepted = append(accepted, law.OrderID(lines.Text()))
		}
		must(t, c.Process.Kill())
		for lines.Scan() {
			accepted = append(accepted, law.OrderID(lines.Text()))
		}
		_ = c.Wait() // killed
		db := f.open(t, store.Options{Serve: true})
		storetest.Check(t, db)
		_, err := store.View(t.Context(), db, func(r *store.Reader) (any, error) {
			for _, id := range accepted {
				if _, known, err := r.Order(id); !known || err != nil {
					t.Errorf("sign order %s was acknowledged and is lost: %v", id, err)
				}
			}
			return nil, nil
		})
		must(t, err)
		must(t, db.Close())
	}
	t.Logf("%d sign orders were acknowledged", len(accepted))
}

// CF-02: a file that cannot grow fails writes with EFBIG in the midst of a commit.
func TestCF02_AnErrorOfWriteInACommitStoresNothingAndRecovers(t *testing.T) {
	f := newFile(t)
	must(t, f.create(t, store.Options{}).Close())
	c, lines := startChild(t, f, "fill the disk")
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	must(t, c.Wait())
	db := f.open(t, store.Options{})
	storetest.Check(t, db)
	var stored []string
	for _, e := range storetest.Events(t, db) {
		if e.Type == audit.RequestRefused {
			stored = append(stored, e.Reason[:strings.Index(e.Reason, " ")])
		}
	}
	if !slices.Equal(stored, said) || len(said) < 3 {
		t.Errorf("stored are %v, acknowledged were %v", stored, said)
	}
}

// fillDisk writes until the files may grow no more, and then goes on when they may.
func fillDisk(db *store.DB) error {
	signal.Ignore(unix.SIGXFSZ)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	small := limit
	small.Cur = 500_000
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &small); err != nil {
		return err
	}
	full := 0
	for i := 0; full < 5; i++ {
		head := db.Head()
		err := update(db, say(fmt.Sprint(i, " ", strings.Repeat("x", 7000+i))))
		switch {
		case err == nil:
			fmt.Println(i)
		case isUnavailable(err) && db.Head() == head:
			full++
		default:
			return fmt.Errorf("the error at the limit is %w", err)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	fmt.Println("last")
	return update(db, say("last "))
}

// The loss of power, at every moment of a commit: the files as they are before it, after it, and with a
// part of what it appends to the write-ahead log, or with nonsense at its end.
func TestCF01_FilesAsTheyAreAtAnyMomentOfACommitAreAWholeState(t *testing.T) {
	f := newFile(t)
	type image struct {
		db, wal []byte
		size    int64 // of the log, durable in this image
	}
	var images []image
	var db *store.DB
	shoot := func(size int64) image {
		main, err := os.ReadFile(string(f))
		must(t, err)
		wal, err := os.ReadFile(string(f) + "-wal")
		must(t, err)
		return image{main, wal, size}
	}
	db = f.create(t, store.Options{Commit: func(commit func() error) error {
		if db == nil { // the configuration
			return commit()
		}
		before := shoot(db.Head().Size())
		err := commit()
		after := shoot(db.Head().Size() + 3)
		images = append(images, before, after)
		for range 4 {
			torn := before
			torn.db = after.db
			if at := rand.IntN(len(after.wal)); at > len(before.wal) {
				torn.wal = after.wal[:at]
			}
			images = append(images, torn)
		}
		rotten := before
		rotten.wal = append(slices.Clone(before.wal), make([]byte, rand.IntN(9000))...)
		images = append(images, rotten)
		return err
	}})
	for i := range 12 {
		must(t, errors.Join(together(t, db,
			say(strings.Repeat("x", rand.IntN(9000))),
			func(tx *store.Tx) error {
				return storetest.Create(tx, law.OperationID(fmt.Sprint(i)), 1, "fw-two")
			},
			say("last of its commit"),
		)...))
	}
	for _, image := range images {
		copied := newFile(t)
		must(t, os.WriteFile(string(copied), image.db, 0o600))
		must(t, os.WriteFile(string(copied)+"-wal", image.wal, 0o600))
		db := copied.open(t, store.Options{})
		storetest.Check(t, db)
		if db.Head().Size() < image.size {
			t.Errorf("the log has %d entries; %d were acknowledged", db.Head().Size(), image.size)
		}
		events := storetest.Events(t, db)
		if last := events[len(events)-1]; last.Reason != "last of its commit" && last.Type != audit.ConfigurationChanged {
			t.Errorf("half of a commit is there: the last entry is %v", last)
		}
		must(t, update(db, say("after")))
		must(t, db.Close())
	}
}

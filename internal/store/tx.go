package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// head is the one row whose lock is the write lock.
type head struct {
	server        string
	size          int64 // entries in the audit log
	mark          int64 // high-water mark of the time, ms UTC
	configuration int64 // counts the objects of it that were set or removed, ever
}

// instant is the database's time, and where the process's clock stood when it was read.
type instant struct{ database, process time.Time }

// now is the database's time now. It goes by the process's clock since it was read, which nobody can set:
// a clock with a monotonic reading is compared by that.
func (db *DB) now(read instant) time.Time {
	now := db.clock()
	if read.database.IsZero() {
		return fromMillis(millis(now)) // the process's clock is the database's
	}
	return fromMillis(millis(read.database.Add(now.Sub(read.process))))
}

func (db *DB) instant(ms int64) instant { return instant{fromMillis(ms), db.clock()} }

// Reader reads one state of the database: all its answers belong together.
type Reader struct {
	q       querier
	cache   *cache   // of the writer; nil in a view
	pending *pending // written in the same batch; nil in a view
	found   found    // before the batch
	head    head
	facts   law.Facts
	now     time.Time
	clock   time.Time
}

// Tx is a write transaction under way.
type Tx struct {
	Reader
	batch  *batch
	failed error // the first write that failed, which may have been swallowed on its way up
}

// View runs fn on one state of the database. The error is *Unavailable if it could not be read, or fn's own. It keeps
// the context's deadline, but what has begun is not cut off when the caller goes away.
func View[T any](ctx context.Context, db *DB, fn func(*Reader) (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var none T
		return none, &Unavailable{fmt.Errorf("beginning to read: %w", err)}
	}
	ctx, end := db.dialect.lasting(ctx)
	defer end()
	var s standing
	return read(ctx, db, db.stand(&s, ""), func(q querier) (T, error) {
		var none T
		if err := s.follows(); err != nil {
			return none, &Unavailable{err}
		}
		if err := db.keepUp(q, s.head.size); err != nil {
			return none, &Unavailable{err}
		}
		r, err := db.reader(q, s.head, s.at, true)
		if err != nil {
			return none, &Unavailable{err}
		}
		return fn(&r)
	})
}

// keepUp reads the head of a log that another server has written to, so that a checkpoint covers what is read.
func (db *DB) keepUp(q querier, size int64) error {
	if known := db.durable.Load(); known == nil || known.Size() >= size {
		return nil
	}
	tree, err := audit.Resume(size, q)
	if err != nil {
		return fmt.Errorf("reading the audit log's edge: %w", err)
	}
	db.advance(tree)
	return nil
}

// read runs fn in a transaction that begins with the statements.
func read[T any](ctx context.Context, db *DB, first []statement, fn func(querier) (T, error)) (T, error) {
	var none T
	var q querier
	err := db.present()
	if err == nil {
		q, err = db.readers.begin(ctx, db.dialect.view, first...)
	}
	if err != nil {
		return none, &Unavailable{fmt.Errorf("beginning to read: %w", errors.Join(err, ctx.Err()))}
	}
	defer db.readers.giveBack(q.c)
	out, err := fn(q)
	if q.c.failed != nil {
		return none, &Unavailable{errors.Join(q.c.failed, ctx.Err())} // a driver need not say that it was told to stop
	}
	return out, err
}

// Now is the time that the law is judged by: the database's, never before the stored mark.
func (r *Reader) Now() time.Time { return r.now }

// Clock is the database's clock as it is, and how far it is behind the mark if it is.
func (r *Reader) Clock() (now time.Time, behind time.Duration) {
	return r.clock, max(0, fromMillis(r.head.mark).Sub(r.clock))
}

// Facts is the world as it is now.
func (r *Reader) Facts() law.Facts { return r.facts }

// list is for reading lists: the database must know then what the batch has written.
func (r *Reader) list() (querier, error) {
	if r.pending == nil {
		return r.q, nil
	}
	return r.q, r.pending.send(r.q)
}

// Server is the id of the server whose database this is.
func (r *Reader) Server() string { return r.head.server }

// LogSize is the number of entries in the audit log.
func (r *Reader) LogSize() int64 { return r.head.size }

// standing is the head as it was read, and when.
type standing struct {
	head  head
	at    instant
	found bool
	known *audit.Tree // the log as this server knew it before; nil: not yet
	last  audit.Hash  // of the entry that was the last one then, as it is in the database
}

// follows says whether the log is the one that this server knows, and what was written to it since. Each entry
// has the hash of the one before it in it.
func (s *standing) follows() error {
	const why = "find out why (a restored backup, a standby that was behind?) before you restart the server"
	switch {
	case !s.found:
		return ErrNotInitialised
	case s.known == nil || s.known.Size() == 0:
		return nil
	case s.head.size < s.known.Size():
		return fmt.Errorf("the database has gone back: its audit log has %d entries and had %d; "+why, s.head.size, s.known.Size())
	case hex.EncodeToString(s.last[:]) != s.known.Previous():
		return fmt.Errorf("the database has gone back: entry %d of its audit log is not the one that was written; "+why, s.known.Size()-1)
	}
	return nil
}

// stand are the statements that read the head. Where the lock is to be waited for, the time is read once it is
// held.
func (db *DB) stand(s *standing, lock string) []statement {
	read := func(lock string) statement {
		return statement{
			text: `SELECT server, size, mark, configuration, ` + db.dialect.clock + ` FROM head WHERE id = 1` + lock,
			row: func(scan func(...any) error) error {
				var ms int64
				err := scan(&s.head.server, &s.head.size, &s.head.mark, &s.head.configuration, &ms)
				s.at, s.found = db.instant(ms), true
				return err
			},
		}
	}
	all := []statement{read(lock)}
	if lock != "" {
		all = append(all, read(""))
	}
	if s.known = db.durable.Load(); s.known != nil && s.known.Size() > 0 {
		all = append(all, statement{
			text: `SELECT hash FROM audit_hashes WHERE idx = $1`, args: []any{tlog.StoredHashIndex(0, s.known.Size()-1)},
			row: func(scan func(...any) error) error {
				var hash []byte
				err := scan(&hash)
				copy(s.last[:], hash)
				return err
			},
		})
	}
	return all
}

// reader reads the time and the facts for one closure. The facts are kept for the next one, unless they are
// of a configuration that is not committed.
func (db *DB) reader(q querier, h head, read instant, committed bool) (Reader, error) {
	r := Reader{q: q, head: h, clock: db.now(read)}
	r.now = r.clock
	if mark := fromMillis(h.mark); r.now.Before(mark) {
		r.now = mark
	}
	at := db.facts.Load()
	if at == nil || at.version != h.configuration {
		facts, err := readFacts(q)
		if err != nil {
			return Reader{}, err
		}
		at = &factsAt{h.configuration, facts}
		if committed {
			db.facts.Store(at)
		}
	}
	r.facts = at.facts
	_, behind := r.Clock()
	r.facts.ClockHeld = behind > law.ClockSlack
	return r, nil
}

// append writes events to the audit log. The events' index, previous hash, batch and time are filled in.
func (tx *Tx) append(events ...audit.Event) error {
	for _, e := range events {
		b := tx.batch
		e.Version, e.Index, e.Previous, e.Batch, e.Time = audit.Version, b.tree.Size(), b.tree.Previous(), b.id, millis(tx.now)
		leaf, err := e.Leaf()
		if err != nil {
			return err
		}
		next, hashes := b.tree.Append(leaf)
		tx.pending.event(e, leaf, hashes)
		if o, is := noted(e); is && b.db.outbox {
			tx.pending.outbox = append(tx.pending.outbox, o.row())
		}
		b.tree = next
		b.head.size = next.Size()
		b.head.mark = max(b.head.mark, e.Time)
		tx.head = b.head
	}
	return nil
}

// Append writes events that change nothing but the audit log, such as a refusal.
func (tx *Tx) Append(first audit.Event, more ...audit.Event) error {
	return tx.wrote(tx.append(append([]audit.Event{first}, more...)...))
}

// wrote remembers that a write failed: what it may have written is not to be stored.
func (tx *Tx) wrote(err error) error {
	if tx.failed == nil {
		tx.failed = err
	}
	return err
}

// Mark stores the present time as the mark, below which the time never falls again. It is a write without an event, as
// those about messages are.
func (tx *Tx) Mark() {
	tx.batch.head.mark = max(tx.batch.head.mark, millis(tx.now))
	tx.head = tx.batch.head
}

// AcceptClock sets the mark to the clock as it is, also backwards, with the event that says so.
func (tx *Tx) AcceptClock(e audit.Event) error {
	tx.now = tx.clock
	tx.facts.ClockHeld = false
	tx.batch.head.mark = millis(tx.clock)
	return tx.wrote(tx.append(e))
}

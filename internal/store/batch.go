package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/google/uuid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

const (
	batchLength = 64   // closures in one commit
	queueLength = 1024 // closures waiting, of each kind
)

// ErrBusy says that too many updates wait; nothing was changed.
var ErrBusy = errors.New("too many requests wait for the database")

// errClosed says that the database was closed; nothing was changed.
var errClosed = errors.New("the server is stopping")

// job is one closure on its way through the writer.
type job struct {
	fn     func(*Tx) error
	wanted []OrderKey
	taken  atomic.Bool // by the writer, or by its caller who went away
	done   chan struct{}
	err    error
}

// Update runs fn in a write transaction and returns its result once that is durable. A *law.Refusal that fn
// returns is stored with what fn wrote, since a refusal is an event; any other error rolls back what fn
// wrote, and so does a failed write, even if fn does not return its error. fn has no effects outside the
// transaction. It runs concurrently with nothing, and may be run together with others in one commit.
//
// The sign orders under the keys given are looked for together with those of others in the batch: fn finds them
// faster then.
//
// An error that is not fn's own is *Unavailable, ErrBusy, or the context's error if the caller went away
// before fn was begun: then nothing was changed, but see [Unavailable].
func Update[T any](ctx context.Context, db *DB, fn func(*Tx) (T, error), wanted ...OrderKey) (T, error) {
	return update(ctx, db, db.rest, fn, wanted)
}

// UpdateFirst is Update before all others that wait: for revoking, rejecting and withdrawing, which must
// work when everything else is overloaded, and for the results of signatures: what was begun is finished first.
func UpdateFirst[T any](ctx context.Context, db *DB, fn func(*Tx) (T, error), wanted ...OrderKey) (T, error) {
	return update(ctx, db, db.first, fn, wanted)
}

func update[T any](ctx context.Context, db *DB, queue chan *job, fn func(*Tx) (T, error), wanted []OrderKey) (T, error) {
	var out, none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	j := &job{wanted: wanted, done: make(chan struct{})}
	j.fn = func(tx *Tx) (err error) {
		out, err = fn(tx)
		return err
	}
	select {
	case queue <- j:
	default:
		return none, ErrBusy
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.taken.CompareAndSwap(false, true) {
			return none, ctx.Err()
		}
		<-j.done
	case <-db.stop:
		if j.taken.CompareAndSwap(false, true) {
			return none, &Unavailable{errClosed}
		}
		<-j.done
	}
	if j.err != nil && !kept(j.err) {
		return none, j.err
	}
	return out, j.err
}

// kept says whether what a closure wrote is stored.
func kept(err error) bool {
	var refusal *law.Refusal
	return err == nil || errors.As(err, &refusal)
}

// Waiting is how many closures wait to be run, for metrics.
func (db *DB) Waiting() int { return len(db.first) + len(db.rest) }

func (db *DB) start(tree audit.Tree) {
	db.durable.Store(&tree)
	if db.Shared() {
		c, _ := db.listener(context.Background()) // if it cannot be had now, it is made later
		db.stopped.Go(func() { db.listen(c) })
	}
	db.stopped.Go(func() {
		for {
			first := db.collect(true, batchLength)
			if len(first) == 0 {
				return
			}
			db.run(&batch{jobs: first})
		}
	})
}

// collect takes the closures that are there, and may wait for the first. It returns none once the database is
// closed: who waits then gives up by himself.
func (db *DB) collect(wait bool, most int) []*job {
	var jobs []*job
	for len(jobs) < most {
		j := db.next(wait && len(jobs) == 0)
		if j == nil {
			break
		}
		if j.taken.CompareAndSwap(false, true) {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// next is the next closure that waits, nil if there is none. It may wait for one until the database is
// closed.
func (db *DB) next(wait bool) *job {
	select {
	case j := <-db.first:
		return j
	default:
	}
	if wait {
		select {
		case j := <-db.first:
			return j
		case j := <-db.rest:
			return j
		case <-db.stop:
			return nil
		}
	}
	select {
	case j := <-db.rest:
		return j
	default:
		return nil
	}
}

func (j *job) finish(err error) {
	j.err = err
	close(j.done)
}

// run makes one commit of a batch. If what one closure wrote cannot be stored, or be forgotten, without the
// others, each is run again by itself.
func (db *DB) run(b *batch) {
	b.db, b.id, b.tree = db, uuid.NewString(), db.Head()
	errs, err := b.attempt()
	if err != nil && b.committing {
		err = b.lookUp(err)
	}
	if b.entangled {
		db.cache.clear(b.before.size) // if it is not what is in the database any more, no batch would ever succeed
	}
	if b.entangled && len(b.jobs) > 1 {
		for _, j := range b.jobs {
			db.run(&batch{jobs: []*job{j}, alone: true})
		}
		return
	}
	if err == nil {
		db.advance(b.tree)
		db.cache.committed(&b.pending, b.head.size)
		if b.changed() {
			db.watch.announce(b.pending.saved())
		}
	}
	for i, j := range b.jobs {
		switch {
		case b.entangled:
			j.finish(err)
		case err != nil:
			j.finish(&Unavailable{err})
		default:
			j.finish(errs[i])
		}
	}
}

// batch is a write transaction under way. Its head is what the head will be.
type batch struct {
	jobs       []*job
	alone      bool // no other closures are taken along
	db         *DB
	id         string
	q          querier
	before     head
	head       head
	at         instant
	tree       audit.Tree
	pending    pending
	found      found
	apart      bool  // something beside the log was written
	sent       bool  // the closure under way has sent something to the database
	committing bool  // the commit may have happened
	entangled  bool  // the error is of one closure, and nothing of the batch can be stored
	fatal      error // the database failed: nothing of the batch can be stored
}

// attempt runs the closures and makes what they wrote durable. It returns the error of each; they count only
// if the commit happened. No context of a caller is in it: one who goes away does not take the others along.
func (b *batch) attempt() ([]error, error) {
	ctx, cancel := b.db.dialect.bound()
	defer cancel()
	if err := b.begin(ctx, wantedBy(b.jobs)); err != nil {
		return nil, err
	}
	defer b.end()
	if err := b.db.cache.follow(b.q, b.before.size); err != nil {
		return nil, err
	}
	if err := b.takeAlong(); err != nil {
		return nil, err
	}
	errs := make([]error, len(b.jobs))
	for i, j := range b.jobs {
		errs[i] = b.runOne(j)
		switch {
		case b.fatal != nil:
			return nil, b.fatal
		case b.entangled:
			return nil, errs[i]
		}
	}
	if b.head == b.before && !b.apart {
		return errs, nil
	}
	if err := b.store(); err != nil {
		b.entangled = b.ofOne(err)
		return nil, err
	}
	b.committing = true
	if err := b.db.commit(b.q.commit); err != nil {
		return errs, fmt.Errorf("committing: %w", err)
	}
	return errs, nil
}

// changed says whether the batch has changed anything: no change is without its event, and the time's mark is none.
func (b *batch) changed() bool { return b.head.size != b.before.size }

// takeAlong adds the closures that have come while the lock was waited for: the more servers share a database,
// the more they are.
func (b *batch) takeAlong() error {
	if b.alone {
		return nil
	}
	more := b.db.collect(false, batchLength-len(b.jobs))
	b.jobs = append(b.jobs, more...)
	return b.q.all(b.found.lookFor(wantedBy(more)))
}

func wantedBy(jobs []*job) []OrderKey {
	var wanted []OrderKey
	for _, j := range jobs {
		wanted = append(wanted, j.wanted...)
	}
	return wanted
}

// ofOne says whether an error is about what one closure has written, and not about the database.
func (b *batch) ofOne(err error) bool {
	return errors.Is(err, errChanged) || errors.Is(err, errText) || !b.db.dialect.fatal(err)
}

// store sends all that the batch has written.
func (b *batch) store() error {
	head := statement{
		text: `UPDATE head SET size = $1, mark = $2, configuration = $3 WHERE id = 1`,
		args: []any{b.head.size, b.head.mark, b.head.configuration},
	}
	return b.pending.send(b.q, append(b.notify(), head)...)
}

// lookUp finds out whether a commit happened whose answer was the error given: it is never run again
// blindly. It holds the write lock, so that the commit is not still under way.
func (b *batch) lookUp(answer error) error {
	ctx, cancel := b.db.dialect.bound()
	defer cancel()
	now := &batch{db: b.db, tree: b.tree}
	var entries int
	err := now.begin(ctx, nil)
	if err == nil {
		defer now.end()
		err = now.q.row(`SELECT count(*) FROM audit_events WHERE idx = $1 AND batch = $2`, []any{b.before.size, b.id}, &entries)
	}
	onlyMark := !b.apart && b.head.size == b.before.size && now.head.mark >= b.head.mark
	if err == nil && entries == 0 && !onlyMark {
		return answer
	}
	// That it is seen does not make it durable: it may wait for a standby still, though nobody waits with it (PostgreSQL
	// documentation, "Synchronous Replication"). A commit after it is answered when both are.
	if err == nil {
		err = now.q.exec(`UPDATE head SET mark = mark WHERE id = 1`)
	}
	if err == nil {
		err = now.q.commit()
	}
	if err != nil {
		return errors.Join(answer, fmt.Errorf("looking up whether it happened: %w", err))
	}
	return nil
}

// bound is how long a batch may take. On SQLite no statement waits longer than the busy timeout.
func (d dialect) bound() (context.Context, context.CancelFunc) {
	if d.patience == 0 {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), d.patience)
}

// lasting has the deadline of the caller's context but does not end when the caller goes away: PostgreSQL's
// connections do not survive a statement that is cut off, and whoever asks and hangs up, over and over, would have
// the server connect anew for nothing.
func (d dialect) lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	kept, stop := context.WithoutCancel(ctx), context.CancelFunc(func() {})
	if deadline, is := ctx.Deadline(); is {
		kept, stop = context.WithDeadline(kept, deadline)
	}
	if d.patience == 0 {
		return kept, stop
	}
	kept, cancel := context.WithTimeout(kept, d.patience)
	return kept, func() { cancel(); stop() }
}

// begin takes the write lock, and reads what stands once it is held: the head, and the sign orders that the
// closures will look for. end is to be called unless it failed.
func (b *batch) begin(ctx context.Context, wanted []OrderKey) error {
	var s standing
	err := b.db.present()
	if err == nil {
		first := append(b.db.stand(&s, b.db.dialect.lockHead), b.found.lookFor(wanted)...)
		b.q, err = b.db.writer.begin(ctx, b.db.dialect.begin, first...)
	}
	if err != nil {
		return fmt.Errorf("taking the write lock: %w", err)
	}
	b.before, b.head, b.at = s.head, s.head, s.at
	if err = s.follows(); err != nil {
		err = fmt.Errorf("taking the write lock: %w", err)
	} else {
		err = b.resume()
	}
	if err != nil {
		b.end()
	}
	return err
}

func (b *batch) end() { b.db.writer.giveBack(b.q.c) }

// resume makes the tree that of the log as it is.
func (b *batch) resume() error {
	if b.head.size == b.tree.Size() {
		return nil
	}
	tree, err := audit.Resume(b.head.size, b.q) // another process has written
	if err != nil {
		return fmt.Errorf("reading the audit log's edge: %w", err)
	}
	b.tree = tree
	return nil
}

// runOne runs one closure. What it wrote, the tree and the head are as before if it fails.
func (b *batch) runOne(j *job) (err error) {
	head, tree, marks := b.head, b.tree, b.pending.marks()
	tx := &Tx{batch: b}
	if tx.Reader, err = b.db.reader(b.q, b.head, b.at, b.head.configuration == b.before.configuration); err != nil {
		b.fatal = err
		return err
	}
	tx.cache, tx.pending, tx.found = &b.db.cache, &b.pending, b.found
	b.q.c.failed, b.sent = nil, false
	err = tx.call(j.fn)
	if failed := b.q.c.failed; failed != nil {
		if !b.ofOne(failed) {
			b.fatal = failed
			return err
		}
		b.entangled = true // on PostgreSQL nothing can be done in a transaction after an error
		if kept(err) {
			err = failed
		}
		return err
	}
	if tx.failed != nil && kept(err) {
		err = tx.failed
	}
	if !kept(err) {
		b.entangled = b.sent || !b.pending.forget(marks)
		b.head, b.tree = head, tree
	}
	return err
}

// call runs a closure and makes an error of a panic, so that it takes nobody else along.
func (tx *Tx) call(fn func(*Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in an update: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(tx)
}

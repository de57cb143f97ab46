package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

const (
	batchLength  = 64               // closures in one commit
	queueLength  = 1024             // closures waiting, of each kind
	batchTimeout = 30 * time.Second // for one commit with all that is in it
)

// ErrBusy says that too many updates wait; nothing was changed.
var ErrBusy = errors.New("too many requests wait for the database")

// errClosed says that the database was closed; nothing was changed.
var errClosed = errors.New("the server is stopping")

// job is one closure on its way through the writer.
type job struct {
	fn    func(*Tx) error
	taken atomic.Bool // by the writer, or by its caller who went away
	done  chan struct{}
	err   error
}

// Update runs fn in a write transaction and returns its result once that is durable. A *law.Refusal that fn
// returns is stored with what fn wrote, since a refusal is an event; any other error rolls back what fn
// wrote. fn has no effects outside the transaction. It runs concurrently with nothing, and may be run
// together with others in one commit.
//
// An error that is not fn's own is *Unavailable, ErrBusy, or the context's error if the caller went away
// before fn was begun: then nothing was changed.
func Update[T any](ctx context.Context, db *DB, fn func(*Tx) (T, error)) (T, error) {
	return update(ctx, db, db.rest, fn)
}

// UpdateFirst is Update before all others that wait: for revoking, rejecting and withdrawing, which must
// work when everything else is overloaded.
func UpdateFirst[T any](ctx context.Context, db *DB, fn func(*Tx) (T, error)) (T, error) {
	return update(ctx, db, db.first, fn)
}

func update[T any](ctx context.Context, db *DB, queue chan *job, fn func(*Tx) (T, error)) (T, error) {
	var out, none T
	j := &job{done: make(chan struct{})}
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

func (db *DB) start() {
	db.stopped.Add(1)
	go func() {
		defer db.stopped.Done()
		for {
			batch, ok := db.collect()
			if len(batch) > 0 {
				db.run(batch)
			}
			if !ok {
				return
			}
		}
	}()
}

// collect waits for a closure and takes along what else is there. It is false once the database is closed:
// who waits then gives up by himself.
func (db *DB) collect() ([]*job, bool) {
	var batch []*job
	take := func(j *job) {
		if j.taken.CompareAndSwap(false, true) {
			batch = append(batch, j)
		}
	}
	select {
	case j := <-db.first:
		take(j)
	case j := <-db.rest:
		take(j)
	case <-db.stop:
		return nil, false
	}
	for len(batch) < batchLength {
		select {
		case j := <-db.first:
			take(j)
			continue
		default:
		}
		select {
		case j := <-db.rest:
			take(j)
			continue
		default:
		}
		break
	}
	return batch, true
}

func (j *job) finish(err error) {
	j.err = err
	close(j.done)
}

// run makes one commit of a batch. The batch has a context of its own: a caller who goes away does not
// take the others along.
func (db *DB) run(batch []*job) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	b, errs, err := db.attempt(ctx, batch)
	for i, j := range batch {
		if err != nil {
			j.finish(&Unavailable{err})
		} else {
			j.finish(errs[i])
		}
	}
	if err == nil {
		db.watch.announce(b.saved)
	}
}

// batch is a write transaction under way. Its head is what the head will be.
type batch struct {
	db     *DB
	id     string
	q      querier
	before head
	head   head
	tree   audit.Tree
	saved  []law.OperationID
	fatal  error // the database failed: nothing of the batch can be stored
}

func (db *DB) attempt(ctx context.Context, jobs []*job) (*batch, []error, error) {
	c, err := db.writer.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer db.writer.giveBack(c)
	b := &batch{db: db, id: uuid.NewString(), q: querier{ctx, c}, tree: db.Head()}
	if err := b.begin(); err != nil {
		return nil, nil, err
	}
	errs := make([]error, len(jobs))
	for i, j := range jobs {
		if errs[i] = b.runOne(j); b.fatal != nil {
			return nil, nil, b.fatal
		}
	}
	if b.head == b.before {
		return b, errs, nil
	}
	if err := b.q.exec(`UPDATE head SET size = $1, mark = $2, configuration = $3 WHERE id = 1`,
		b.head.size, b.head.mark, b.head.configuration); err != nil {
		return nil, nil, fmt.Errorf("storing head: %w", err)
	}
	if err := db.commit(b.q.commit); err != nil && !db.committed(b) {
		return nil, nil, fmt.Errorf("committing: %w", err)
	}
	db.durable.Store(&b.tree)
	return b, errs, nil
}

// committed looks up whether a commit happened whose answer was an error: it is never run again blindly.
func (db *DB) committed(b *batch) bool {
	if b.head.size == b.before.size {
		return false // only the mark moved
	}
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	c, err := db.readers.take(ctx)
	if err != nil {
		return false
	}
	defer db.readers.giveBack(c)
	var n int
	err = querier{ctx, c}.row(`SELECT count(*) FROM audit_events WHERE batch = $1`, []any{b.id}, &n)
	return err == nil && n > 0
}

// begin takes the write lock and reads the head.
func (b *batch) begin() error {
	err := b.q.begin(b.db.dialect.begin)
	if err == nil {
		b.before, err = readHead(b.q, b.db.dialect.lockHead)
	}
	if err != nil {
		return fmt.Errorf("taking the write lock: %w", err)
	}
	b.head = b.before
	if b.head.size != b.tree.Size() { // another process has written
		if b.tree, err = audit.Resume(b.head.size, b.q); err != nil {
			return fmt.Errorf("reading the audit log's edge: %w", err)
		}
	}
	return nil
}

// runOne runs one closure in a savepoint. What it wrote, the tree and the head are as before if it fails.
func (b *batch) runOne(j *job) (err error) {
	was := *b
	if err := b.q.exec(`SAVEPOINT closure`); err != nil {
		b.fatal = fmt.Errorf("setting savepoint: %w", err)
		return err
	}
	tx := &Tx{batch: b}
	if tx.Reader, err = b.db.reader(b.q, b.head, b.head.configuration == b.before.configuration); err != nil {
		b.fatal = err
		return err
	}
	b.q.c.failed = nil
	err = tx.call(j.fn)
	if failed := b.q.c.failed; failed != nil {
		if b.db.dialect.fatal(failed) {
			b.fatal = failed
			return err
		}
		if kept(err) {
			err = failed
		}
	}
	if !kept(err) {
		*b = was
		if back := b.q.exec(`ROLLBACK TO SAVEPOINT closure`); back != nil {
			b.fatal = fmt.Errorf("rolling back: %w", back)
		}
	}
	if release := b.q.exec(`RELEASE SAVEPOINT closure`); release != nil && b.fatal == nil {
		b.fatal = fmt.Errorf("releasing savepoint: %w", release)
	}
	return err
}

// call runs a closure and makes an error of a panic, so that it takes nobody else along.
func (tx *Tx) call(fn func(*Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in an update: %v", p)
		}
	}()
	return fn(tx)
}

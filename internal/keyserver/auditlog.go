package keyserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// Events lists audit events, oldest first unless the filter says otherwise: those of one operation or
// administration session for everybody for whom it exists, all for administrators and auditors.
func (k *Keyserver) Events(ctx context.Context, c Caller, f EventFilter) (EventPage, error) {
	scope := fmt.Sprintf("events %q %q %q %q %q %t", f.Type, f.Operation, f.Subject, f.Key, f.Session, f.Newest)
	last, err := k.openCursor(c, scope, f.Page)
	if err != nil {
		return EventPage{}, err
	}
	query := store.EventQuery{Type: audit.Type(f.Type), Operation: f.Operation, Subject: f.Subject, Key: f.Key, Session: f.Session, Newest: f.Newest, Limit: f.Page.Limit}
	if last != "" {
		index, err := strconv.ParseInt(last, 10, 64)
		if err != nil {
			return EventPage{}, fmt.Errorf("reading cursor: %w", err)
		}
		if query.From = index + 1; f.Newest {
			query.From, query.Before = 0, index
		}
	}
	page, err := look(ctx, k, func(r *store.Reader) (EventPage, error) {
		var page EventPage
		if err := f.readBy(r, c); err != nil {
			return page, err
		}
		query, further := f.within(query, r.LogSize())
		events, err := r.Events(query)
		for _, e := range events {
			page.Leaves = append(page.Leaves, e.Leaf)
		}
		if err == nil && len(events) == f.Page.Limit && (!f.Newest || events[len(events)-1].Index > 0) {
			page.Next = k.cursor(c, scope, strconv.FormatInt(events[len(events)-1].Index, 10))
		} else if err == nil && len(events) < f.Page.Limit && further >= 0 {
			page.Next = k.cursor(c, scope, strconv.FormatInt(further, 10))
		}
		return page, err
	})
	return page, k.auditHidden(ctx, c, err, audit.Event{Operation: f.Operation, Session: string(f.Session)})
}

// longestLook is among how many events those of one page are looked for, where several things are asked of them: an
// index finds them by one.
const longestLook = 50_000

// within bounds where a page of a log of this size is looked for, and says which event the next one goes on from; -1: there
// is no bound.
func (f EventFilter) within(query store.EventQuery, size int64) (store.EventQuery, int64) {
	asked := 0
	for _, is := range []bool{f.Type != "", f.Subject != "", f.Key != ""} {
		if is {
			asked++
		}
	}
	if asked < 2 || f.Operation != "" || f.Session != "" {
		return query, -1
	}
	if query.Before == 0 {
		query.Before = size
	}
	switch {
	case query.Before-query.From <= longestLook:
		return query, -1
	case f.Newest:
		query.From = query.Before - longestLook
		return query, query.From
	}
	query.Before = query.From + longestLook
	return query, query.Before - 1
}

// readBy refuses those who may not read what is selected.
func (f EventFilter) readBy(r *store.Reader, c Caller) error {
	if f.Operation == "" && f.Session == "" {
		return r.Facts().ReadLog(c.Subject)
	}
	if f.Operation != "" {
		if _, err := visible(r, c, f.Operation); err != nil {
			return err
		}
	}
	if f.Session != "" {
		if _, err := visibleSession(r, c, f.Session); err != nil {
			return err
		}
	}
	return nil
}

var errNoEvent = &law.Refusal{Kind: law.NotFound, Reason: "the audit log has no such entry"}

// Event returns one audit event as the canonical bytes of its leaf: one of an operation to everybody for whom the
// operation exists, any to administrators and auditors. Others are not told whether there is one.
func (k *Keyserver) Event(ctx context.Context, c Caller, index int64) ([]byte, error) {
	leaf, err := look(ctx, k, func(r *store.Reader) ([]byte, error) {
		var found []store.Event
		if index >= 0 && index < r.LogSize() {
			var err error
			if found, err = r.Events(store.EventQuery{From: index, Limit: 1}); err != nil {
				return nil, err
			}
		}
		refused := r.Facts().ReadLog(c.Subject)
		switch {
		case len(found) == 0 && refused != nil:
			return nil, refused
		case len(found) == 0:
			return nil, &unseen{errNoEvent, false}
		case refused == nil:
			return found[0].Leaf, nil
		}
		e, err := audit.ParseLeaf(found[0].Leaf)
		if err != nil {
			return nil, err
		}
		if e.Operation == "" {
			return nil, refused
		}
		var hidden *unseen
		if _, err := visible(r, c, e.Operation); errors.As(err, &hidden) {
			return nil, refused
		} else if err != nil {
			return nil, err
		}
		return found[0].Leaf, nil
	})
	return leaf, k.auditHidden(ctx, c, err, audit.Event{})
}

// Checkpoint returns the newest checkpoint of the audit log, for anybody who is signed in: whoever holds
// one is a witness.
func (k *Keyserver) Checkpoint(context.Context, Caller) (string, error) { return k.newestCheckpoint() }

// newestCheckpoint signs the newest durable head of the log, once for each size.
func (k *Keyserver) newestCheckpoint() (string, error) {
	tree := k.db.Head()
	k.checkpoint.Lock()
	defer k.checkpoint.Unlock()
	if k.checkpoint.text == "" || k.checkpoint.size < tree.Size() {
		signed, err := audit.SignCheckpoint(tree.Size(), tree.Root(), k.signer)
		if err != nil {
			return "", err
		}
		k.checkpoint.size, k.checkpoint.text = tree.Size(), string(signed)
	}
	return k.checkpoint.text, nil
}

// InclusionProof proves that the entry at index is in the log of the given size (RFC 6962 section 2.1.1).
func (k *Keyserver) InclusionProof(ctx context.Context, _ Caller, index, size int64) ([][]byte, error) {
	return k.proof(ctx, size, func(r *store.Reader) ([]audit.Hash, error) {
		if index < 0 || index >= size {
			return nil, &Malformed{fmt.Sprintf("index must be between 0 and %d", size-1)}
		}
		return audit.ProveInclusion(size, index, r.Hashes())
	})
}

// ConsistencyProof proves that the log of the size from is the beginning of the one of the size to (RFC
// 6962 section 2.1.2).
func (k *Keyserver) ConsistencyProof(ctx context.Context, _ Caller, from, to int64) ([][]byte, error) {
	return k.proof(ctx, to, func(r *store.Reader) ([]audit.Hash, error) {
		if from < 1 || from > to {
			return nil, &Malformed{fmt.Sprintf("from must be between 1 and %d", to)}
		}
		return audit.ProveConsistency(to, from, r.Hashes())
	})
}

func (k *Keyserver) proof(ctx context.Context, size int64, prove func(*store.Reader) ([]audit.Hash, error)) ([][]byte, error) {
	return look(ctx, k, func(r *store.Reader) ([][]byte, error) {
		if size < 1 || size > r.LogSize() {
			return nil, &Malformed{fmt.Sprintf("the log has %d entries", r.LogSize())}
		}
		hashes, err := prove(r)
		out := make([][]byte, 0, len(hashes))
		for _, h := range hashes {
			out = append(out, h[:])
		}
		return out, err
	})
}

// exportChunk is how many events an export reads at a time.
const exportChunk = 200

// Export writes the whole audit log with its checkpoint, for auditors and administrators. It holds the
// database only while it reads, however slowly w takes what it is given.
func (k *Keyserver) Export(ctx context.Context, c Caller, w io.Writer) error {
	tree, err := look(ctx, k, func(r *store.Reader) (audit.Tree, error) {
		if err := r.Facts().ReadLog(c.Subject); err != nil {
			return audit.Tree{}, err
		}
		return audit.Resume(r.LogSize(), r.Hashes())
	})
	if err != nil {
		return k.auditHidden(ctx, c, err, audit.Event{})
	}
	checkpoint, err := audit.SignCheckpoint(tree.Size(), tree.Root(), k.signer)
	if err != nil {
		return err
	}
	return audit.WriteExport(w, k.leaves(ctx, tree.Size()), checkpoint)
}

// leaves reads the leaves of the audit log up to a size. Since the log only grows, they are the same
// whenever they are read.
func (k *Keyserver) leaves(ctx context.Context, size int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for from := int64(0); from < size; {
			events, err := look(ctx, k, func(r *store.Reader) ([]store.Event, error) {
				return r.Events(store.EventQuery{From: from, Limit: int(min(exportChunk, size-from))})
			})
			if err == nil && len(events) == 0 {
				err = fmt.Errorf("audit entry %d is missing", from)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, e := range events {
				if !yield(e.Leaf, nil) {
					return
				}
				from = e.Index + 1
			}
		}
	}
}

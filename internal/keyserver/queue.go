package keyserver

import (
	"cmp"
	"context"
	"slices"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

const (
	// MaxQueue is how many operations a queue shows.
	MaxQueue = 1000

	longestQueueScan = 5000     // stored operations of a state that a queue is looked for in
	heaviestQueue    = 16 << 20 // bytes of text in a queue, but for its last operation
	queueChunk       = 200      // operations that are read at a time
)

// Queue returns the operations that wait for the caller (rule 4), those that expire first at the beginning, at most
// [MaxQueue]. more says that there can be others.
func (k *Keyserver) Queue(ctx context.Context, c Caller) (all []Operation, more bool, err error) {
	all, err = look(ctx, k, func(r *store.Reader) ([]Operation, error) {
		// What is stored as approved may have lapsed; there may be many of these that wait for nobody.
		var all []Operation
		for _, state := range []law.State{law.Pending, law.Approved} {
			found, cut, err := k.queued(r, c, state)
			if err != nil {
				return nil, err
			}
			all, more = append(all, found...), more || cut
		}
		slices.SortFunc(all, func(a, b Operation) int { return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.ID, b.ID)) })
		if len(all) > MaxQueue {
			all, more = all[:MaxQueue], true
		}
		return all, nil
	})
	return all, more && err == nil, err
}

// queued is what waits for the caller of what is stored as of one state. cut says that it was not looked to the end.
func (k *Keyserver) queued(r *store.Reader, c Caller, state law.State) (all []Operation, cut bool, err error) {
	after := store.Waiting{Expires: r.Now()}
	for scanned, bytes := 0, 0; ; scanned += queueChunk {
		waiting, err := r.WaitingOperations(state, after, queueChunk)
		if err != nil || len(waiting) == 0 {
			return all, false, err
		}
		if scanned >= longestQueueScan {
			return all, true, nil
		}
		ids := make([]law.OperationID, 0, len(waiting))
		for _, w := range waiting {
			ids = append(ids, w.ID)
		}
		operations, err := r.ReadOperations(ids)
		if err != nil {
			return nil, false, err
		}
		for _, o := range operations {
			if !r.Facts().Sees(c.Subject, o.Operation) || !o.Queued(c.Subject, r.Facts(), r.Now()) {
				continue
			}
			if len(all) == MaxQueue || bytes >= heaviestQueue {
				return all, true, nil
			}
			all = append(all, k.seen(r, c, o))
			bytes += weight(o.Operation)
		}
		after = waiting[len(waiting)-1]
	}
}

package store

import (
	"maps"
	"slices"
	"sync"

	"example.org/keyserver/internal/law"
)

// watchers are told when an operation, or anything, was changed by a commit of this server, or of another one.
type watchers struct {
	mu      sync.Mutex
	waiting map[law.OperationID]*watched
}

type watched struct {
	changed chan struct{}
	users   int
}

// anything is what is watched by who wants to know of every change: no operation has this id.
const anything law.OperationID = ""

// WatchAny returns a channel that is closed when any change is committed, whatever it is of: when the audit log has
// grown. Now and then it is closed though nothing was changed: who looks then sees the same again. The rest is as
// with [DB.Watch].
func (db *DB) WatchAny() (changed <-chan struct{}, stop func()) { return db.Watch(anything) }

// Watch returns a channel that is closed when a change of the operation is committed, before the [Update] that made it
// on this server returns, and a function to be called when it is no longer needed. To miss nothing, watch first and
// look then.
func (db *DB) Watch(id law.OperationID) (changed <-chan struct{}, stop func()) {
	w := &db.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[law.OperationID]*watched{}
	}
	it := w.waiting[id]
	if it == nil {
		it = &watched{changed: make(chan struct{})}
		w.waiting[id] = it
	}
	it.users++
	return it.changed, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if it.users--; it.users == 0 && w.waiting[id] == it {
			delete(w.waiting, id)
		}
	}
}

// announceAll tells every watcher, since some of their operations may have been changed.
func (w *watchers) announceAll() {
	w.mu.Lock()
	all := slices.Collect(maps.Keys(w.waiting))
	w.mu.Unlock()
	w.announce(all)
}

// announce tells those who watch one of the operations that were changed, and those who watch everything.
func (w *watchers) announce(saved []law.OperationID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range append(saved, anything) {
		if it := w.waiting[id]; it != nil {
			close(it.changed)
			delete(w.waiting, id)
		}
	}
}

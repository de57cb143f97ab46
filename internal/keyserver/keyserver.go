// Package keyserver holds the verbs of the product, one method for each thing that can be asked. It is the
// only caller of store.Update and of the keystores. It decides nothing: it reads the facts, asks the law,
// stores what the law says together with its audit events, and uses a keystore when it has a permit.
package keyserver

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// Options for a keyserver. All are required but Mode, Limits' fields, Notifications and Elapsed, which have defaults.
type Options struct {
	DB        *store.DB
	Keystores *keystore.Set
	LogKey    string // the signer key of the audit log's checkpoints, as audit.GenerateKey made it; secret
	Log       *slog.Logger
	Software  string // version of the program
	Mode      law.Mode
	Limits    Limits
	// Notifications says what messages this server sends. Nil: none.
	Notifications *Notifications
	// Elapsed is the time since the server began, by a clock that nobody can set: it shows when the other
	// one is set forward. Nil: by the monotonic readings of the database's clock.
	Elapsed func() time.Duration
}

// Limits of one server. A zero field means its default.
type Limits struct {
	PendingOperations int           // per orderer; default 100
	DuplicateWait     time.Duration // how long a repeated sign order waits for the attempt under way; default 15 s
}

// Keyserver is one server.
type Keyserver struct {
	db        *store.DB
	keystores *keystore.Set
	signer    audit.Signer
	verifier  string
	log       *slog.Logger
	software  string
	mode      law.Mode
	limits    Limits
	notify    *Notifications
	cursors   cipher.AEAD
	targets   cipher.AEAD
	elapsed   func() time.Duration

	checkpoint struct {
		sync.Mutex
		size int64
		text string
	}
	recent    atomic.Pointer[law.Facts] // as they were when somebody asked for them last
	signIns   signIns
	pairs     pairs
	linters   linters
	statuses  statuses
	listsKept keptLists
	signing   chan struct{}               // of device certificates, see signingAtOnce
	lists     map[law.KeyID]time.Duration // since the server began: until when nothing is done about the revocation list, or the certificate of a responder key
	last      pulse                       // the last beat
	behind    bool                        // the clock went back, which was said, and is not right again

	stopping chan struct{} // closed by Stopping
	stopOnce sync.Once
}

// New returns the server of a database that was initialised.
func New(o Options) (*Keyserver, error) {
	signer, err := audit.NewSigner(o.LogKey)
	if err != nil {
		return nil, err
	}
	verifier, err := audit.VerifierOf(o.LogKey)
	if err != nil {
		return nil, err
	}
	cursors, err := newSeal(o.LogKey, "keyserver cursor")
	if err != nil {
		return nil, err
	}
	targets, err := newSeal(o.LogKey, "keyserver contact")
	if err != nil {
		return nil, err
	}
	if o.Notifications != nil {
		o.DB.KeepOutbox()
	}
	if o.Limits.PendingOperations == 0 {
		o.Limits.PendingOperations = 100
	}
	if o.Limits.DuplicateWait == 0 {
		o.Limits.DuplicateWait = 15 * time.Second
	}
	if o.Elapsed == nil {
		began := o.DB.Clock()
		o.Elapsed = func() time.Duration { return o.DB.Clock().Sub(began) }
	}
	return &Keyserver{
		db: o.DB, keystores: o.Keystores, signer: signer, verifier: verifier, log: o.Log, software: o.Software, mode: o.Mode,
		limits: o.Limits, notify: o.Notifications, cursors: cursors, targets: targets, elapsed: o.Elapsed, pairs: pairs{same: map[place]bool{}}, lists: map[law.KeyID]time.Duration{},
		stopping: make(chan struct{}), signing: make(chan struct{}, signingAtOnce), statuses: newStatuses(),
		listsKept: keptLists{of: map[law.KeyID]law.RevocationList{}},
	}, nil
}

// ServerID names the server, and is part of every operation's digest.
func (k *Keyserver) ServerID() string { return k.signer.Name() }

// LogKey is the verifier key of the audit log's checkpoints (C2SP signed-note).
func (k *Keyserver) LogKey() string { return k.verifier }

// Check is how one part that the server depends on is.
type Check struct {
	Name string
	Err  error // nil: it is well
}

// Ready says how the parts are that the server depends on, every keystore a part of its own.
func (k *Keyserver) Ready(ctx context.Context) []Check {
	held, err := store.View(ctx, k.db, func(r *store.Reader) (error, error) {
		if r.Facts().ClockHeld {
			_, behind := r.Clock()
			return fmt.Errorf("the clock is %v behind what it was; put it right, or run keyserver clock accept", behind), nil
		}
		return nil, nil
	})
	return append([]Check{{"database", err}, {"clock", held}}, k.keystoresReady(ctx)...)
}

// Facts returns the world as it is now, for checking access tokens.
func (k *Keyserver) Facts(ctx context.Context) (law.Facts, error) {
	f, err := look(ctx, k, func(r *store.Reader) (law.Facts, error) { return r.Facts(), nil })
	if err == nil {
		k.recent.Store(&f)
	}
	return f, err
}

// RecentFacts returns the world as it was lately, without asking the database. A caller who is authenticated
// by it is no more than a guess, which [Keyserver.PlaceSignOrder] alone takes, and checks.
func (k *Keyserver) RecentFacts(ctx context.Context) (law.Facts, error) {
	if f := k.recent.Load(); f != nil {
		return *f, nil
	}
	return k.Facts(ctx)
}

// ErrStale says that the configuration is not that which the caller was authenticated by. Nothing was done;
// authenticate the caller again by the facts of now (rule 9).
var ErrStale = errors.New("the configuration has changed since the caller was authenticated")

// stale says whether a caller was authenticated by another configuration than that of the transaction.
func (c Caller) stale(r store.Reader) bool {
	return c.By != (law.Making{}) && c.By != r.Facts().Making()
}

// WhoAmI says who the caller is to this server.
func (k *Keyserver) WhoAmI(ctx context.Context, c Caller) (Self, error) {
	return look(ctx, k, func(r *store.Reader) (Self, error) {
		var self Self
		self.Subject, _ = r.Facts().Subject(c.Subject)
		for _, role := range r.Facts().Roles() {
			if slices.Contains(role.Members, c.Subject) {
				self.Roles = append(self.Roles, role)
			}
		}
		return self, nil
	})
}

// Keys lists the keys that exist for the caller.
func (k *Keyserver) Keys(ctx context.Context, c Caller) ([]law.Key, error) {
	return look(ctx, k, func(r *store.Reader) ([]law.Key, error) {
		var keys []law.Key
		for _, key := range r.Facts().Keys() {
			if r.Facts().SeesKey(c.Subject, key.ID) {
				keys = append(keys, key)
			}
		}
		return keys, nil
	})
}

// Key returns one key, if it exists for the caller.
func (k *Keyserver) Key(ctx context.Context, c Caller, id law.KeyID) (law.Key, error) {
	key, err := look(ctx, k, func(r *store.Reader) (law.Key, error) {
		key, known := r.Facts().Key(id)
		switch {
		case !known:
			return key, unknownKey(false)
		case !r.Facts().SeesKey(c.Subject, id):
			return law.Key{}, unknownKey(true)
		}
		return key, nil
	})
	return key, k.auditHidden(ctx, c, err, audit.Event{Key: id})
}

var errNoKey = &law.Refusal{Kind: law.NotFound, Reason: "there is no such key"}

func unknownKey(hidden bool) error { return &unseen{errNoKey, hidden} }

// unseen is a refusal because something is not there, or is hidden, which is an audit event.
type unseen struct {
	refusal *law.Refusal
	hidden  bool
}

func (u *unseen) Error() string { return u.refusal.Reason }

// auditHidden writes the event of a read that was refused, and returns the refusal as what it is to the
// caller.
func (k *Keyserver) auditHidden(ctx context.Context, c Caller, err error, about audit.Event) error {
	var u *unseen
	var refusal *law.Refusal
	switch {
	case errors.As(err, &u):
		if !u.hidden {
			return u.refusal
		}
		refusal = u.refusal
	case !errors.As(err, &refusal):
		return err
	}
	about.Type = audit.RequestRefused
	if _, err := update(ctx, k, func(tx *store.Tx) (struct{}, error) {
		return struct{}{}, tx.Append(c.refused(about, refusal))
	}); err != nil {
		return err // what cannot be audited is not answered
	}
	return refusal
}

// Refused audits a refusal that was decided before any verb was called.
func (k *Keyserver) Refused(ctx context.Context, c Caller, refusal *law.Refusal) error {
	return k.auditHidden(ctx, c, refusal, audit.Event{})
}

// look is store.View with this package's errors.
func look[T any](ctx context.Context, k *Keyserver, fn func(*store.Reader) (T, error)) (T, error) {
	out, err := store.View(ctx, k.db, fn)
	return out, unavailable(err, "")
}

// update is store.Update with this package's errors.
func update[T any](ctx context.Context, k *Keyserver, fn func(*store.Tx) (T, error), wanted ...store.OrderKey) (T, error) {
	out, err := store.Update(ctx, k.db, fn, wanted...)
	return out, unavailable(err, "")
}

// unavailable translates what the store says, and what the law says of the clock.
func unavailable(err error, order law.OrderID) error {
	var db *store.Unavailable
	var refusal *law.Refusal
	switch {
	case errors.Is(err, store.ErrBusy):
		return &Unavailable{Kind: "busy", Sentence: "the server has too much to do; try again soon", RetryAfter: time.Second, Order: order, Err: err}
	case errors.As(err, &db):
		return &Unavailable{Kind: "database", Sentence: "the database is not to be had; try again later", RetryAfter: 5 * time.Second, Order: order, Err: err}
	case errors.As(err, &refusal) && refusal.Kind == law.Held:
		return &Unavailable{Kind: "clock", Sentence: refusal.Reason, RetryAfter: time.Minute, Order: order, Err: err}
	case errors.As(err, &refusal) && refusal.Kind == law.Superseded:
		return &Unavailable{Kind: "running", Sentence: refusal.Reason, RetryAfter: time.Second, Order: order, Err: err}
	}
	return err
}

// newID returns a new UUIDv7 (RFC 9562).
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("making an id: %w", err)
	}
	return id.String(), nil
}

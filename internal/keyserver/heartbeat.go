package keyserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

const (
	heartbeat = time.Second // between two beats
	beatBatch = 64          // operations and sign orders settled in one transaction
	clockStep = time.Second // a step of the clock that is an event
)

// Start writes that the server has started, and closes what a server that stopped before left under way.
// It is called once, before the first request. With alone, no other server uses the database: then no
// attempt can be under way.
func (k *Keyserver) Start(ctx context.Context, alone bool) error {
	if _, err := update(ctx, k, func(tx *store.Tx) (struct{}, error) {
		return struct{}{}, tx.Append(audit.Event{Type: audit.ServerStarted, Server: tx.Server(), Software: k.software})
	}); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	if alone {
		if err := k.closeAttempts(ctx, law.AttemptLease, "the server stopped during the attempt"); err != nil {
			return fmt.Errorf("starting: %w", err)
		}
	}
	if err := k.Beat(ctx); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	return nil
}

// Run beats until the context ends, and then stores what is left to be stored.
func (k *Keyserver) Run(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := k.storeSignIns(last, true); err != nil {
				k.log.ErrorContext(last, "storing refused sign-ins", slog.Any("error", err))
			}
			return
		case <-tick.C:
			if err := k.Beat(ctx); err != nil && ctx.Err() == nil {
				k.log.ErrorContext(ctx, "heartbeat", slog.Any("error", err))
			}
		}
	}
}

// Beat does what has to be done though nobody asks: it stores the time's mark, expiries that nobody has
// met, attempts whose lease has run out, and steps of the clock.
func (k *Keyserver) Beat(ctx context.Context) error {
	return errors.Join(
		k.beatClock(ctx),
		k.expire(ctx),
		k.closeAttempts(ctx, 0, "no result within the attempt's lease"),
		k.storeSignIns(ctx, false),
	)
}

func (k *Keyserver) beatClock(ctx context.Context) error {
	_, err := update(ctx, k, func(tx *store.Tx) (struct{}, error) {
		clock, behind := tx.Clock()
		old := clock.Add(behind)
		stepped := behind >= clockStep
		if forward := k.steppedForward(); forward >= clockStep {
			stepped, old = true, clock.Add(-forward)
		} else if stepped && k.stepped {
			return struct{}{}, nil // said already
		}
		k.stepped = behind >= clockStep
		if stepped {
			return struct{}{}, tx.Append(audit.Event{Type: audit.ClockStepped, Clock: &audit.ClockStep{Old: old.UnixMilli(), New: clock.UnixMilli()}})
		}
		tx.Mark()
		return struct{}{}, nil
	})
	return err
}

// steppedForward says how much further the process's wall clock has gone since the last beat than its
// monotonic clock.
func (k *Keyserver) steppedForward() time.Duration {
	now, last := k.db.Clock(), k.lastBeat
	k.lastBeat = now
	if last.IsZero() {
		return 0
	}
	return now.Round(0).Sub(last.Round(0)) - now.Sub(last)
}

// expire settles operations whose validity has run out.
func (k *Keyserver) expire(ctx context.Context) error {
	for {
		n, err := update(ctx, k, func(tx *store.Tx) (int, error) {
			due, err := tx.DueOperationIDs(tx.Now(), beatBatch)
			if err != nil {
				return 0, err
			}
			return len(due), settleAll(tx, due)
		})
		if err != nil || n < beatBatch {
			return err
		}
	}
}

// settleAll stores what has come about by itself for these operations.
func settleAll(tx *store.Tx, ids []law.OperationID) error {
	for _, id := range ids {
		o, _, err := tx.Operation(id)
		if err != nil {
			return err
		}
		out := o.Settle(tx.Facts(), tx.Now())
		o.Operation = out.Operation
		if _, err := (Caller{}).save(tx, o, Caller{}.operationEvents(o.Operation, out.Changes), audit.Event{}, nil); err != nil {
			return err
		}
	}
	return nil
}

// closeAttempts fails the attempts whose lease ends within the given time.
func (k *Keyserver) closeAttempts(ctx context.Context, within time.Duration, why string) error {
	for {
		n, err := update(ctx, k, func(tx *store.Tx) (int, error) {
			running, err := tx.RunningOrders(tx.Now().Add(within), beatBatch)
			if err != nil {
				return 0, err
			}
			for _, r := range running {
				if _, err := k.settle(tx, Caller{}, r.ID, func(o law.Operation, r law.Order, f law.Facts, now time.Time) (law.Placed, error) {
					return o.Fail(r, r.Attempt, why, f, now)
				}); err != nil {
					return 0, err
				}
			}
			return len(running), nil
		})
		if err != nil || n < beatBatch {
			return err
		}
	}
}

// AcceptClock resets the time's mark to the clock as it is, after expiring every open operation (rule 8).
// It is for an operator with access to the database, and says how many operations it ended.
func AcceptClock(ctx context.Context, db *store.DB) (ended int, err error) {
	ended, err = store.Update(ctx, db, func(tx *store.Tx) (int, error) {
		open, err := allOpen(&tx.Reader)
		if err != nil {
			return 0, err
		}
		for _, id := range open {
			o, _, err := tx.Operation(id)
			if err != nil {
				return 0, err
			}
			out := o.AcceptClock(tx.Now())
			o.Operation = out.Operation
			if _, err := (Caller{}).save(tx, o, Caller{}.operationEvents(o.Operation, out.Changes), audit.Event{}, nil); err != nil {
				return 0, err
			}
		}
		clock, behind := tx.Clock()
		return len(open), tx.AcceptClock(audit.Event{
			Type: audit.ClockAccepted, Clock: &audit.ClockStep{Old: clock.Add(behind).UnixMilli(), New: clock.UnixMilli()}, Count: len(open),
		})
	})
	return ended, err
}

func allOpen(r *store.Reader) ([]law.OperationID, error) {
	var all []law.OperationID
	last := law.OperationID("")
	for {
		ids, err := r.OpenOperationIDs(last, 1000)
		if err != nil || len(ids) == 0 {
			return all, err
		}
		all = append(all, ids...)
		last = ids[len(ids)-1]
	}
}

// signIns counts refused sign-ins per address, for one minute at a time.
type signIns struct {
	sync.Mutex
	minute time.Time
	counts map[string]int
	reason map[string]string // the latest one
}

// manyAddresses is how many addresses are counted apart; all others are counted together.
const manyAddresses = 1000

// SignInRefused counts a refused sign-in. There is one event for each address and minute.
func (k *Keyserver) SignInRefused(address, reason string) {
	s := &k.signIns
	s.Lock()
	defer s.Unlock()
	if s.counts == nil {
		s.minute = k.db.Clock().Truncate(time.Minute)
		s.counts, s.reason = map[string]int{}, map[string]string{}
	}
	if _, known := s.counts[address]; !known && len(s.counts) >= manyAddresses {
		address = "others"
	}
	s.counts[address]++
	s.reason[address] = reason
}

// storeSignIns writes the events of a minute that is over, or of this one too.
func (k *Keyserver) storeSignIns(ctx context.Context, all bool) error {
	s := &k.signIns
	s.Lock()
	defer s.Unlock()
	if len(s.counts) == 0 || !all && k.db.Clock().Truncate(time.Minute).Equal(s.minute) {
		return nil
	}
	if _, err := update(ctx, k, func(tx *store.Tx) (struct{}, error) {
		for address, n := range s.counts {
			if err := tx.Append(audit.Event{Type: audit.SignInRefused, Actor: &audit.Actor{Address: address}, Count: n, Reason: s.reason[address]}); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	}); err != nil {
		return err
	}
	s.counts = nil
	return nil
}

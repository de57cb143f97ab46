package keyserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

const (
	heartbeat = time.Second // between two beats
	beatBatch = 64          // operations, sign orders and administration sessions settled in one transaction
	clockStep = time.Second // a step of the clock that is an event
)

// Start writes that the server has started, and closes what a server that stopped before left under way.
// It is called once, before the first request. On a database that is not shared no attempt can be under way;
// elsewhere another server may be making it, and its lease tells. It refuses a log key or a keystore that is not
// that of the database, and a configuration that is not for servers of its mode; a keystore that is not to be had
// does not stop it.
func (k *Keyserver) Start(ctx context.Context) error {
	unknown, err := k.fits(ctx)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	facts, err := k.Facts(ctx)
	if err == nil {
		err = facts.MayServe(k.mode)
	}
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	if unknown != nil {
		k.log.ErrorContext(ctx, "not ready: keys that cannot be used yet", slog.Any("error", unknown))
	}
	if _, err := update(ctx, k, func(tx *store.Tx) (struct{}, error) {
		return struct{}{}, tx.Append(audit.Event{Type: audit.ServerStarted, Server: tx.Server(), Software: k.software})
	}); err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	if !k.db.Shared() {
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
// met, attempts whose lease has run out, steps of the clock, and revocation lists that are due.
func (k *Keyserver) Beat(ctx context.Context) error {
	return errors.Join(
		k.beatClock(ctx),
		k.expire(ctx),
		k.expireSessions(ctx),
		k.closeAttempts(ctx, 0, "no result within the attempt's lease"),
		k.storeSignIns(ctx, false),
		k.renewLists(ctx),
		k.warnOfResponders(ctx),
	)
}

// pulse is where the clock, and the time since the server began, stood at a beat.
type pulse struct {
	clock   time.Time
	elapsed time.Duration
}

// beatClock stores the time's mark, or the step of a clock that was found to be wrong: one event for each.
func (k *Keyserver) beatClock(ctx context.Context) error {
	var now pulse
	behind, err := update(ctx, k, func(tx *store.Tx) (bool, error) {
		clock, behind := tx.Clock() // the database's, by its date: of a monotonic reading no step could be seen
		now = pulse{clock, k.elapsed()}
		jumped := now.clock.Sub(k.last.clock) - (now.elapsed - k.last.elapsed)
		if k.last.clock.IsZero() {
			jumped = 0
		}
		back := behind >= clockStep
		old := clock.Add(behind)
		switch {
		case jumped.Abs() >= clockStep:
			old = clock.Add(-jumped)
		case back && k.behind:
			return back, nil // said already
		case !back:
			tx.Mark()
			return back, nil
		}
		return back, tx.Append(audit.Event{Type: audit.ClockStepped, Clock: &audit.ClockStep{Old: old.UnixMilli(), New: clock.UnixMilli()}})
	})
	if err == nil { // else the next beat says it
		k.behind, k.last = behind, now
	}
	return err
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

// expireSessions settles administration sessions whose time has run out.
func (k *Keyserver) expireSessions(ctx context.Context) error {
	for {
		n, err := update(ctx, k, func(tx *store.Tx) (int, error) {
			due, err := tx.DueSessionIDs(tx.Now(), beatBatch)
			if err != nil {
				return 0, err
			}
			return len(due), settleSessions(tx, due)
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
		n, err := update(ctx, k, func(tx *store.Tx) (int, error) { return cutOff(tx, within, why) })
		if err != nil || n < beatBatch {
			return err
		}
	}
}

// cutOff fails attempts whose lease ends within the given time, of sign orders and of certificates in sessions each at most
// beatBatch, and says of which there were more.
func cutOff(tx *store.Tx, within time.Duration, why string) (int, error) {
	running, err := tx.RunningOrders(tx.Now().Add(within), beatBatch)
	if err != nil {
		return 0, err
	}
	for _, r := range running {
		if _, err := (Caller{}).settle(tx, r.ID, nil, func(o law.Operation, r law.Order, f law.Facts, now time.Time) (law.Placed, error) {
			return o.Fail(r, r.Attempt, why, f, now)
		}); err != nil {
			return 0, err
		}
	}
	certificates, err := cutOffCertificates(tx, within, why)
	return max(len(running), certificates), err
}

// AcceptClock resets the time's mark to the clock as it is, after expiring every open operation (rule 8) and
// administration session.
// It is for an operator with access to the database, and says how many operations it ended.
func AcceptClock(ctx context.Context, db *store.DB) (ended int, err error) {
	ended, err = store.Update(ctx, db, func(tx *store.Tx) (int, error) {
		// The leases of attempts are counted from the old time, and would run far too long by the new one.
		for n := beatBatch; n == beatBatch; {
			var err error
			if n, err = cutOff(tx, law.AttemptLease, "an operator accepted a clock that went back"); err != nil {
				return 0, err
			}
		}
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
		sessions, err := tx.OpenSessionIDs()
		if err == nil {
			err = endSessions(tx, sessions, func(s law.Session) law.SessionOutcome { return s.AcceptClock(tx.Now()) })
		}
		if err != nil {
			return 0, err
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
	counts map[string]refusals
}

// refusals are those of one address.
type refusals struct {
	count  int
	reason string // the latest one
}

// manyAddresses is how many addresses are counted apart; all others are counted together.
const manyAddresses = 1000

// SignInRefused counts a refused sign-in. There is one event for each address and minute.
func (k *Keyserver) SignInRefused(address, reason string) {
	k.signIns.add(k.db.Clock(), map[string]refusals{address: {1, reason}})
}

func (s *signIns) add(now time.Time, more map[string]refusals) {
	s.Lock()
	defer s.Unlock()
	if s.counts == nil {
		s.minute, s.counts = now.Truncate(time.Minute), map[string]refusals{}
	}
	for address, r := range more {
		if _, known := s.counts[address]; !known && len(s.counts) >= manyAddresses {
			address = "others"
		}
		s.counts[address] = refusals{s.counts[address].count + r.count, r.reason}
	}
}

// take takes out what was counted, if its minute is over or all is asked for.
func (s *signIns) take(now time.Time, all bool) (minute time.Time, counts map[string]refusals) {
	s.Lock()
	defer s.Unlock()
	if !all && now.Truncate(time.Minute).Equal(s.minute) {
		return s.minute, nil
	}
	minute, counts, s.counts = s.minute, s.counts, nil
	return minute, counts
}

// storeSignIns writes the events of a minute that is over, or of this one too.
func (k *Keyserver) storeSignIns(ctx context.Context, all bool) error {
	minute, counts := k.signIns.take(k.db.Clock(), all)
	if len(counts) == 0 {
		return nil
	}
	_, err := update(ctx, k, func(tx *store.Tx) (struct{}, error) {
		for _, address := range slices.Sorted(maps.Keys(counts)) {
			r := counts[address]
			if err := tx.Append(audit.Event{Type: audit.SignInRefused, Actor: &audit.Actor{Address: address}, Count: r.count, Reason: r.reason}); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	if err != nil {
		k.signIns.add(minute, counts) // the next beat tries again
	}
	return err
}

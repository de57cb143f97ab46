package keyserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// ApplyPlan makes the changes of the session's plan, all of them or none, which closes the session.
func (k *Keyserver) ApplyPlan(ctx context.Context, c Caller, id law.SessionID) (Session, error) {
	done, err := k.amend(ctx, c, amendment{session: id, why: "the plan of the session"})
	return done.session, err
}

// Change makes changes in a session without a plan, all of them or none, and returns the objects that were set as they
// are now.
func (k *Keyserver) Change(ctx context.Context, c Caller, id law.SessionID, why string, changes law.Changes) (law.Configuration, error) {
	done, err := k.amend(ctx, c, amendment{session: id, why: why, changes: &changes})
	return done.set, err
}

// amendment is a change of the configuration that is made in a session.
type amendment struct {
	session law.SessionID
	why     string
	changes *law.Changes // nil: those of the session's plan
}

// amended is what came of it.
type amended struct {
	session Session
	set     law.Configuration
}

// amend makes a change in a session. A keystore can take long to make a key pair, so that is done between two
// transactions: the first refuses what cannot be before anything is made, the second judges all of it again.
func (k *Keyserver) amend(ctx context.Context, c Caller, a amendment) (amended, error) {
	keys, err := update(ctx, k, func(tx *store.Tx) ([]law.Key, error) {
		j, err := k.judge(tx, c, a, nil)
		if err != nil {
			return nil, err
		}
		_, err = c.saveSession(tx, j.stored, j.out.Changes, nil)
		return j.changes.NewPairs(tx.Facts()), err
	})
	if err != nil {
		return amended{}, err
	}
	pairs, err := k.makePairs(ctx, keys)
	var refusal *law.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return amended{}, err
	}
	return update(ctx, k, func(tx *store.Tx) (amended, error) {
		if refusal != nil {
			s, _, err := tx.Session(a.session)
			if err != nil {
				return amended{}, err
			}
			if _, err := c.saveSession(tx, s, nil, refusal); err != nil {
				return amended{}, err
			}
			return amended{}, refusal
		}
		j, err := k.judge(tx, c, a, pairs)
		if err != nil {
			return amended{}, err
		}
		return c.amend(tx, a, j)
	})
}

// judgement is what the law says of an amendment.
type judgement struct {
	stored  store.Session // with what has become of it
	out     law.SessionOutcome
	changes law.Changes
	after   law.Configuration
}

// judge asks the law for an amendment. A refusal is stored.
func (k *Keyserver) judge(tx *store.Tx, c Caller, a amendment, pairs map[law.KeyID]law.KeyPair) (judgement, error) {
	s, known, err := tx.Session(a.session)
	if err != nil {
		return judgement{}, err
	}
	if !known {
		return judgement{}, errNoSession
	}
	j := judgement{stored: s}
	var plan law.Digest
	switch {
	case a.changes != nil:
		j.changes = *a.changes
	case len(s.Changes) > 0:
		plan = digestOf(s.Changes)
		if j.changes, err = audit.ParsePlan(s.Changes); err != nil {
			return judgement{}, fmt.Errorf("administration session %s: %w", s.ID, err)
		}
	}
	var refusal error
	if j.out, refusal = s.Act(c.Subject, tx.Facts(), tx.Now()); refusal == nil {
		refusal = k.sound(a, s, j.changes, tx.Facts())
	}
	if refusal == nil {
		j.out, j.after, refusal = s.Change(c.Subject, j.changes, plan, tx.Changed(), pairs, k.mode, tx.Facts(), tx.Now())
	}
	j.stored.Session = j.out.Session
	if refusal == nil {
		return j, nil
	}
	if _, err := c.saveSession(tx, j.stored, j.out.Changes, refusal); err != nil {
		return judgement{}, err
	}
	return judgement{}, refusal
}

// sound refuses what is no matter of the law.
func (k *Keyserver) sound(a amendment, s store.Session, changes law.Changes, f law.Facts) error {
	if a.changes == nil && len(s.Changes) == 0 {
		return &law.Refusal{Kind: law.WrongState, Reason: "the session has no plan; make single changes in it"}
	}
	if err := law.CheckReason(a.why); err != nil {
		return err
	}
	if _, err := audit.Changed(changes, changes.Set); err != nil {
		return misfit("the change cannot be written down: %v", err)
	}
	return k.knowsKeystores(changes.NewPairs(f))
}

// amend stores an amendment that the law allows, and what follows from it.
func (c Caller) amend(tx *store.Tx, a amendment, j judgement) (amended, error) {
	objects, err := audit.Changed(j.changes, j.after)
	if err != nil {
		return amended{}, err
	}
	events := c.sessionEvents(j.stored.Session, j.out.Changes)
	applied := 1 + slices.IndexFunc(events, func(e audit.Event) bool { return e.Type == audit.SessionPlanApplied })
	if applied == 0 {
		applied = len(events)
	}
	if len(events) > 0 { // those of a plan stand before and after what it changes
		if err := tx.SaveSession(j.stored, events[0], events[1:applied]...); err != nil {
			return amended{}, err
		}
	}
	as := audit.Event{Session: string(j.stored.ID), SessionDescription: j.stored.Description, Reason: a.why}
	if err := c.configure(tx, as, objects); err != nil {
		return amended{}, err
	}
	if rest := events[applied:]; len(rest) > 0 {
		if err := tx.Append(rest[0], rest[1:]...); err != nil {
			return amended{}, err
		}
	}
	if err := rejudge(tx); err != nil {
		return amended{}, err
	}
	s, _, err := tx.Session(a.session)
	if err != nil {
		return amended{}, err
	}
	done := amended{set: before(tx.Facts(), j.changes)}
	done.session, err = seenSession(&tx.Reader, s)
	return done, err
}

// knowsKeystores refuses keys in keystores that this server does not have.
func (k *Keyserver) knowsKeystores(keys []law.Key) error {
	for _, key := range keys {
		if names := k.keystores.Names(); !slices.Contains(names, key.Keystore) {
			return misfit("key %s: there is no keystore %q; this server has %v", key.ID, key.Keystore, names)
		}
	}
	return nil
}

// makePairs makes the key pairs of keys that need a new one, or adopts them. One that is made is not in use before it
// is configured; if it never is, it is left alone.
func (k *Keyserver) makePairs(ctx context.Context, keys []law.Key) (map[law.KeyID]law.KeyPair, error) {
	pairs := map[law.KeyID]law.KeyPair{}
	for _, key := range keys {
		pair, err := provide(ctx, k.keystores, key)
		var refusal *law.Refusal
		switch {
		case err == nil:
			pairs[key.ID] = pair
		case errors.As(err, &refusal):
			return nil, refusal
		case ctx.Err() != nil:
			return nil, ctx.Err()
		default:
			k.log.ErrorContext(ctx, "providing a key pair", slog.String("key", string(key.ID)), slog.Any("error", err))
			return nil, &Unavailable{Kind: "keystore", Sentence: fmt.Sprintf("keystore %s gave no key pair for key %s; nothing was changed, try again", key.Keystore, key.ID),
				RetryAfter: 5 * time.Second, Err: err}
		}
	}
	return pairs, nil
}

// DisableKey disables a key at once, without a session.
func (k *Keyserver) DisableKey(ctx context.Context, c Caller, id law.KeyID, reason string) (law.Key, error) {
	return disable(ctx, k, c, reason, audit.Event{Key: id},
		func(f law.Facts) (law.Changes, error) { return f.DisableKey(c.Subject, id) },
		func(f law.Facts) law.Key { key, _ := f.Key(id); return key })
}

// DisableSubject disables a subject at once, without a session.
func (k *Keyserver) DisableSubject(ctx context.Context, c Caller, id law.SubjectID, reason string) (law.Subject, error) {
	return disable(ctx, k, c, reason, audit.Event{},
		func(f law.Facts) (law.Changes, error) { return f.DisableSubject(c.Subject, id) },
		func(f law.Facts) law.Subject { subject, _ := f.Subject(id); return subject })
}

// disable makes a change in the safe direction, before all others that wait. Whether the configuration makes sense
// after it is not asked.
func disable[T any](ctx context.Context, k *Keyserver, c Caller, reason string, about audit.Event,
	judge func(law.Facts) (law.Changes, error), find func(law.Facts) T) (T, error) {
	out, err := store.UpdateFirst(ctx, k.db, func(tx *store.Tx) (T, error) {
		var none T
		changes, err := judge(tx.Facts())
		if err == nil && !changes.Empty() {
			err = law.CheckReason(reason)
		}
		var refusal *law.Refusal
		if errors.As(err, &refusal) && recorded(refusal) {
			about.Type = audit.RequestRefused
			return none, errors.Join(tx.Append(c.refused(about, refusal)), refusal)
		}
		if err != nil || changes.Empty() {
			return find(tx.Facts()), err
		}
		objects, err := audit.Changed(changes, changes.Set)
		if err == nil {
			err = c.configure(tx, audit.Event{Reason: reason}, objects)
		}
		if err == nil {
			err = rejudge(tx)
		}
		return find(tx.Facts()), err
	})
	return out, unavailable(err, "")
}

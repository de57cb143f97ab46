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
	"example.org/keyserver/internal/pki"
	"example.org/keyserver/internal/store"
)

// RevocationList is the newest revocation list of a key.
type RevocationList struct {
	Number     int64
	DER        []byte
	Entries    int // certificates on it
	ThisUpdate time.Time
	NextUpdate time.Time
}

// keptLists are the newest revocation lists that were asked for. They can be tens of megabytes long, so they are in memory
// once, however many ask.
type keptLists struct {
	sync.Mutex
	of map[law.KeyID]law.RevocationList
}

// newest reads the newest list of a key, unless it is the one that is kept.
func (k *keptLists) newest(r *store.Reader, id law.KeyID) (law.RevocationList, error) {
	now, err := r.RevocationListState(id)
	if err != nil || now.Issued == 0 {
		return now, err
	}
	k.Lock()
	defer k.Unlock()
	if kept := k.of[id]; kept.Issued == now.Issued && kept.Fingerprint == now.Fingerprint && kept.ThisUpdate.Equal(now.ThisUpdate) {
		return kept, nil
	}
	if now, err = r.RevocationList(id); err == nil {
		k.of[id] = now
	}
	return now, err
}

// RevocationList returns the newest revocation list of a key, for anybody. Its DER is shared and not to be changed.
func (k *Keyserver) RevocationList(ctx context.Context, id law.KeyID) (RevocationList, error) {
	return look(ctx, k, func(r *store.Reader) (RevocationList, error) {
		l, err := k.listsKept.newest(r, id)
		if err == nil && l.DER == nil {
			err = &law.Refusal{Kind: law.NotFound, Reason: "there is no such revocation list"}
		}
		return RevocationList{l.Issued, l.DER, l.Entries, l.ThisUpdate, l.NextUpdate}, err
	})
}

// MakeRevocationList has a ROOT key sign its next revocation list in an administration session.
func (k *Keyserver) MakeRevocationList(ctx context.Context, c Caller, id law.SessionID, key law.KeyID) (RevocationList, error) {
	a, err := update(ctx, k, func(tx *store.Tx) (listing, error) {
		var out listing
		list, err := tx.RevocationListState(key)
		if err != nil {
			return listing{}, err
		}
		out.session, err = c.actIn(tx, id, func(s law.Session) (law.SessionOutcome, error) {
			made, _ := tx.Facts().Key(key)
			revoked, err := tx.RevokedSince(key, made.Fingerprint, nil)
			if err != nil {
				return law.SessionOutcome{Session: s}, err
			}
			draft, says, err := draftList(&tx.Reader, list, revoked)
			if err != nil {
				return law.SessionOutcome{Session: s}, err
			}
			var session law.SessionOutcome
			session, out.attempt, err = s.PermitRevocationList(c.Subject, list, says, tx.Facts(), tx.Now())
			out.draft = draft
			return session, err
		})
		if err != nil {
			return listing{}, err
		}
		return out, c.acceptList(tx, out)
	})
	if err != nil {
		return RevocationList{}, err
	}
	return k.signList(context.WithoutCancel(ctx), c, a)
}

// listing is a revocation list that is being signed.
type listing struct {
	draft   pki.Draft
	attempt law.ListAttempt
	session law.Session // the zero one if it is not made in a session
}

// event is an event about a revocation list.
func (c Caller) listEvent(of audit.Type, a listing, der []byte) audit.Event {
	return audit.Event{
		Type: of, Key: a.attempt.List.Key, Fingerprint: a.attempt.Permit.Key().Fingerprint, Request: c.Request, Session: string(a.session.ID),
		SessionDescription: a.session.Description, RevocationList: audit.RevocationListOf(a.attempt.List.Number, a.attempt.ListDraft, der),
	}
}

// acceptList stores that a list is to be signed.
func (c Caller) acceptList(tx *store.Tx, a listing) error {
	e := c.listEvent(audit.RevocationListAccepted, a, nil)
	e.Lease = a.attempt.List.Lease.UnixMilli()
	if c.Subject != "" {
		e.Actor = c.actor()
	}
	signing(&e, a.attempt.Permit)
	return tx.SaveRevocationList(a.attempt.List, e)
}

// signList makes the attempt at a list and stores what comes of it.
func (k *Keyserver) signList(ctx context.Context, c Caller, a listing) (RevocationList, error) {
	var der []byte
	signature, failure := k.keystores.Sign(ctx, a.attempt.Permit)
	if failure == nil {
		der, failure = a.draft.Finish(a.draft.TBS(), signature)
	}
	done, err := store.UpdateFirst(ctx, k.db, func(tx *store.Tx) (law.RevocationList, error) {
		list, err := tx.RevocationListState(a.attempt.List.Key)
		if err != nil {
			return law.RevocationList{}, err
		}
		e := c.listEvent(audit.RevocationListIssued, a, der)
		if failure != nil {
			e.Type, e.Reason = audit.RevocationListFailed, reasonOf(failure)
			list, err = a.attempt.Fail(list)
		} else {
			list, err = a.attempt.Complete(list, der)
		}
		if err != nil {
			return law.RevocationList{}, err
		}
		return list, tx.SaveRevocationList(list, e)
	})
	switch {
	case err != nil:
		return RevocationList{}, unavailable(err, "")
	case failure != nil:
		return RevocationList{}, k.unsigned(ctx, "revocation list of key "+string(a.attempt.List.Key), failure)
	}
	return RevocationList{done.Issued, done.DER, done.Entries, done.ThisUpdate, done.NextUpdate}, nil
}

const (
	listPause   = time.Minute    // between two attempts at a list of which the first failed
	listWarning = 24 * time.Hour // between two warnings of a ROOT key's list, or of a responder key
)

// renewLists makes the revocation lists of CA keys that are due, and warns of those of ROOT keys, which people make.
func (k *Keyserver) renewLists(ctx context.Context) error {
	due, err := look(ctx, k, func(r *store.Reader) ([]law.Key, error) {
		if r.Facts().ClockHeld {
			return nil, nil
		}
		var due []law.Key
		for _, key := range r.Facts().Keys() {
			list, err := k.listOf(r, key)
			if err != nil {
				return nil, err
			}
			if list.due {
				due = append(due, key)
			}
		}
		return due, nil
	})
	for _, key := range due {
		if key.Type == law.Root {
			k.lists[key.ID] = k.elapsed() + listWarning
			k.log.WarnContext(ctx, "the revocation list of a ROOT key is due; make it in an administration session", slog.String("key", string(key.ID)))
			continue
		}
		begun := k.elapsed()
		failed := k.renewList(ctx, key.ID)
		k.lists[key.ID] = k.elapsed() + (k.elapsed() - begun) // where much is revoked, half of the time is for other things
		if failed != nil {
			k.lists[key.ID] = k.elapsed() + listPause
			err = errors.Join(err, fmt.Errorf("making the revocation list of key %s: %w", key.ID, failed))
		}
	}
	return err
}

// listBasis is what a revocation list is drawn up by. While it is the same, so is the list.
type listBasis struct {
	number      int64 // of the newest one that was accepted
	issuer      law.CertificateID
	fingerprint string
	revoked     int // a revocation is final, so as many are the same
}

// standingList is how the revocation list of a key stands.
type standingList struct {
	law.RevocationList // without its DER
	basis              listBasis
	due                bool // something is to be done about it
}

// listOf is how the revocation list of a key stands. It is due only if the key has a certificate and can sign.
func (k *Keyserver) listOf(r *store.Reader, key law.Key) (standingList, error) {
	issues := key.Type == law.Root || key.Type == law.CA
	if !issues || key.State != law.KeyActive || k.elapsed() < k.lists[key.ID] {
		return standingList{}, nil
	}
	current, found, err := currentOf(r, key)
	if err != nil || !found {
		return standingList{}, err
	}
	list, err := r.RevocationListState(key.ID)
	if err != nil {
		return standingList{}, err
	}
	revoked, err := r.CountRevokedBy(key.ID, key.Fingerprint)
	return standingList{list, listBasis{list.Number, current.ID, key.Fingerprint, revoked}, list.Due(key, revoked, r.Now()) && !list.Running(r.Now())}, err
}

// drawnList is a revocation list that is drawn up.
type drawnList struct {
	standingList
	revoked []store.Revoked
	draft   pki.Draft
	says    law.ListDraft
}

// drawList draws up the revocation list of a key if it is due. What an earlier one has is not read again.
func (k *Keyserver) drawList(r *store.Reader, id law.KeyID, earlier drawnList) (drawnList, error) {
	key, _ := r.Facts().Key(id)
	list, err := k.listOf(r, key)
	if err != nil || !list.due {
		return drawnList{}, err // another server was faster
	}
	if list.basis == earlier.basis {
		return earlier, nil
	}
	if earlier.basis.fingerprint != key.Fingerprint {
		earlier.revoked = nil
	}
	revoked, err := r.RevokedSince(key.ID, key.Fingerprint, earlier.revoked)
	if err == nil && len(revoked) != list.basis.revoked { // the clock went back in between
		revoked, err = r.RevokedSince(key.ID, key.Fingerprint, nil)
	}
	if err != nil {
		return drawnList{}, err
	}
	draft, says, err := draftList(r, list.RevocationList, revoked)
	return drawnList{list, revoked, draft, says}, err
}

// renewList makes the revocation list of a CA key. A long one takes a while to draw up, so that is done outside of the
// transaction, which all others wait for; inside, what was revoked meanwhile is added.
func (k *Keyserver) renewList(ctx context.Context, id law.KeyID) error {
	drawn, err := look(ctx, k, func(r *store.Reader) (drawnList, error) { return k.drawList(r, id, drawnList{}) })
	if err != nil || !drawn.due {
		return err
	}
	a, err := update(ctx, k, func(tx *store.Tx) (listing, error) {
		now, err := k.drawList(&tx.Reader, id, drawn)
		if err != nil || !now.due {
			return listing{}, err
		}
		out := listing{draft: now.draft}
		if out.attempt, err = now.PermitRevocationList(now.says, tx.Facts(), tx.Now()); err != nil {
			return listing{}, err
		}
		return out, Caller{}.acceptList(tx, out)
	})
	if err != nil || !a.attempt.Permit.Granted() {
		return err
	}
	_, err = k.signList(context.WithoutCancel(ctx), Caller{}, a)
	return err
}

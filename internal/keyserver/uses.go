package keyserver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// MaxUseDays is for how many days the uses of a key are counted at most.
const MaxUseDays = 90

// KeyUses says how often a key was used.
type KeyUses struct {
	Days []int // uses on each day
	// Since is when the first use was accepted that is counted, where there are too many to look through. Zero: all are counted.
	Since time.Time
}

// Uses counts the sign orders, those for certificates too, that were accepted with a key on each of so many days (UTC),
// the one of the given time first, if the key exists for the caller: those of operations that exist for the caller.
func (k *Keyserver) Uses(ctx context.Context, c Caller, key law.KeyID, from time.Time, days int) (KeyUses, error) {
	if days < 1 || days > MaxUseDays {
		return KeyUses{}, &Malformed{fmt.Sprintf("days must be between 1 and %d", MaxUseDays)}
	}
	from = from.UTC().Truncate(24 * time.Hour)
	uses, err := look(ctx, k, func(r *store.Reader) (out KeyUses, err error) {
		if !r.Facts().SeesKey(c.Subject, key) {
			_, known := r.Facts().Key(key)
			return out, unknownKey(known)
		}
		if r.Facts().SeesAllOf(c.Subject, key) {
			out.Days, err = r.Uses(key, from, days)
			return out, err
		}
		seen := seenUses{c.Subject, map[law.OperationID]store.Operation{}}
		uses, since, err := seen.of(r, key, from, from.AddDate(0, 0, days), longestScan)
		out.Days, out.Since = make([]int, days), since
		for _, u := range uses {
			out.Days[u.At.Sub(from)/(24*time.Hour)]++
		}
		return out, err
	})
	return uses, k.auditHidden(ctx, c, err, audit.Event{Key: key})
}

// UsesByKey counts the sign orders, those for certificates too, that were accepted since a time with each key that exists
// for the caller: those of operations that exist for the caller. The time is not more than [MaxUseDays] days ago. It is
// false if there are too many to look through: then only the newest ones are counted.
func (k *Keyserver) UsesByKey(ctx context.Context, c Caller, from time.Time) (uses map[law.KeyID]int, all bool, err error) {
	all = true
	uses, err = look(ctx, k, func(r *store.Reader) (map[law.KeyID]int, error) {
		if r.Now().Sub(from) > MaxUseDays*24*time.Hour {
			return nil, &Malformed{fmt.Sprintf("from must not be more than %d days ago", MaxUseDays)}
		}
		uses := map[law.KeyID]int{}
		var some []law.KeyID // of which not every operation exists for the caller
		for _, key := range r.Facts().Keys() {
			switch {
			case !r.Facts().SeesKey(c.Subject, key.ID):
			case !r.Facts().SeesAllOf(c.Subject, key.ID):
				some = append(some, key.ID)
			default:
				n, err := r.UsesSince(key.ID, from)
				if err != nil {
					return nil, err
				}
				uses[key.ID] = n
			}
		}
		seen := seenUses{c.Subject, map[law.OperationID]store.Operation{}}
		for _, key := range some {
			found, since, err := seen.of(r, key, from, r.Now().Add(time.Millisecond), max(1, longestScan/len(some)))
			if err != nil {
				return nil, err
			}
			uses[key], all = len(found), all && since.IsZero()
		}
		return uses, nil
	})
	return uses, all, err
}

// seenUses finds the uses of keys in operations that exist for a subject.
type seenUses struct {
	who        law.SubjectID
	operations map[law.OperationID]store.Operation // read so far
}

// of lists those of a key, newest first, from one time until before another. It looks through the newest ones, at most
// limit; if there are more, it says since when it has looked through all.
func (s seenUses) of(r *store.Reader, key law.KeyID, from, until time.Time, limit int) (seen []store.Use, since time.Time, err error) {
	uses, err := r.NewestUses(key, from, until, limit+1)
	if err != nil {
		return nil, since, err
	}
	if len(uses) > limit {
		uses = uses[:limit]
		since = uses[limit-1].At // its millisecond may have had more
		uses = slices.DeleteFunc(uses, func(u store.Use) bool { return u.At.Equal(since) })
		since = since.Add(time.Millisecond)
	}
	ids := make([]law.OperationID, len(uses))
	for i, u := range uses {
		ids[i] = u.Operation
	}
	if err := readAlso(r, ids, s.operations); err != nil {
		return nil, since, err
	}
	for _, u := range uses {
		if o, known := s.operations[u.Operation]; known && r.Facts().Sees(s.who, o.Operation) {
			seen = append(seen, u)
		}
	}
	return seen, since, nil
}

// RecentSignOrders lists the newest sign orders of operations that exist for the caller, newest first, at most limit. It
// looks through the newest ones there are, and not through all. The signature is for its requester.
func (k *Keyserver) RecentSignOrders(ctx context.Context, c Caller, limit int) ([]SignOrder, error) {
	if limit < 1 || limit > MaxPage {
		return nil, &Malformed{fmt.Sprintf("limit must be between 1 and %d", MaxPage)}
	}
	return look(ctx, k, func(r *store.Reader) ([]SignOrder, error) {
		var recent []SignOrder
		operations := map[law.OperationID]store.Operation{}
		var before law.OrderID
		for scanned := 0; scanned < longestScan; scanned += MaxPage {
			orders, err := r.RecentOrders(before, MaxPage)
			if err != nil {
				return nil, err
			}
			ids := make([]law.OperationID, len(orders))
			for i, order := range orders {
				ids[i] = order.Operation
			}
			if err := readAlso(r, ids, operations); err != nil {
				return nil, err
			}
			for _, order := range orders {
				before = order.ID
				o, known := operations[order.Operation]
				if !known || !r.Facts().Sees(c.Subject, o.Operation) {
					continue
				}
				one, err := k.answer(o.Operation, order.SeenBy(c.Subject))
				if err != nil {
					return nil, err
				}
				if recent = append(recent, one); len(recent) == limit {
					return recent, nil
				}
			}
			if len(orders) < MaxPage {
				break
			}
		}
		return recent, nil
	})
}

// readAlso reads the operations that are not among those that were read.
func readAlso(r *store.Reader, ids []law.OperationID, operations map[law.OperationID]store.Operation) error {
	var missing []law.OperationID
	asked := map[law.OperationID]bool{}
	for _, id := range ids {
		if _, known := operations[id]; !known && !asked[id] {
			asked[id], missing = true, append(missing, id)
		}
	}
	found, err := r.ReadOperations(missing)
	for _, o := range found {
		operations[o.ID] = o
	}
	return err
}

// ExpiringCertificates lists the current certificates, of keys that exist for the caller and are not revoked, that end
// before a time or have ended, the earliest first.
func (k *Keyserver) ExpiringCertificates(ctx context.Context, c Caller, before time.Time) ([]Certificate, error) {
	return look(ctx, k, func(r *store.Reader) ([]Certificate, error) {
		var ending []Certificate
		for _, key := range r.Facts().Keys() {
			if key.State == law.KeyRevoked || !r.Facts().SeesKey(c.Subject, key.ID) {
				continue
			}
			current, found, err := currentOf(r, key)
			if err != nil {
				return nil, err
			}
			if !found || !current.NotAfter.Before(before) {
				continue
			}
			one, err := k.withPath(r, current)
			if err != nil {
				return nil, err
			}
			ending = append(ending, one)
		}
		slices.SortStableFunc(ending, func(a, b Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
		return ending, nil
	})
}

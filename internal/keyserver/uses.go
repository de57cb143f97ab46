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

// Uses counts the sign orders, those for certificates too, that were accepted with a key on each of so many days (UTC),
// the one of the given time first, if the key exists for the caller.
func (k *Keyserver) Uses(ctx context.Context, c Caller, key law.KeyID, from time.Time, days int) ([]int, error) {
	if days < 1 || days > MaxUseDays {
		return nil, &Malformed{fmt.Sprintf("days must be between 1 and %d", MaxUseDays)}
	}
	uses, err := look(ctx, k, func(r *store.Reader) ([]int, error) {
		if !r.Facts().SeesKey(c.Subject, key) {
			_, known := r.Facts().Key(key)
			return nil, unknownKey(known)
		}
		return r.Uses(key, from.UTC().Truncate(24*time.Hour), days)
	})
	return uses, k.auditHidden(ctx, c, err, audit.Event{Key: key})
}

// UsesByKey counts the sign orders, those for certificates too, that were accepted since a time with each key that exists
// for the caller. The time is not more than [MaxUseDays] days ago.
func (k *Keyserver) UsesByKey(ctx context.Context, c Caller, from time.Time) (map[law.KeyID]int, error) {
	return look(ctx, k, func(r *store.Reader) (map[law.KeyID]int, error) {
		if r.Now().Sub(from) > MaxUseDays*24*time.Hour {
			return nil, &Malformed{fmt.Sprintf("from must not be more than %d days ago", MaxUseDays)}
		}
		uses := map[law.KeyID]int{}
		for _, key := range r.Facts().Keys() {
			if !r.Facts().SeesKey(c.Subject, key.ID) {
				continue
			}
			n, err := r.UsesSince(key.ID, from)
			if err != nil {
				return nil, err
			}
			uses[key.ID] = n
		}
		return uses, nil
	})
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
			if err := readOperationsOf(r, orders, operations); err != nil {
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

// readOperationsOf reads the operations of sign orders, those that are not among the ones that were read.
func readOperationsOf(r *store.Reader, orders []law.Order, operations map[law.OperationID]store.Operation) error {
	var ids []law.OperationID
	for _, order := range orders {
		if _, known := operations[order.Operation]; !known && !slices.Contains(ids, order.Operation) {
			ids = append(ids, order.Operation)
		}
	}
	found, err := r.ReadOperations(ids)
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

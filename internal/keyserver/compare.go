package keyserver

import (
	"context"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// Comparison is an operation beside those that went before, as far as its caller may see them.
type Comparison struct {
	// Earlier is the last operation before it that was approved at some time and names exactly the same keys; nil if
	// there is none among the newest ones on its first key, see [LooksBack].
	Earlier *Operation
	Notes   []Note // what a careful person would notice
}

const (
	// LooksBack is how many operations on a key a comparison looks at, counted from the one that is compared.
	LooksBack = 200
	// looksBackInAll is how many it looks at for all keys of an operation together: of many keys, fewer of each.
	looksBackInAll = 1000
)

// Compare holds an operation against those that went before on its keys, if it exists for the caller.
func (k *Keyserver) Compare(ctx context.Context, c Caller, id law.OperationID) (Comparison, error) {
	out, err := look(ctx, k, func(r *store.Reader) (Comparison, error) {
		o, err := visible(r, c, id)
		if err != nil {
			return Comparison{}, err
		}
		var out Comparison
		var before []former
		limit := min(LooksBack, looksBackInAll/max(1, len(o.Keys)))
		for i, grant := range o.Keys {
			earlier, err := r.EarlierOperations(grant.Key, id, limit)
			if err != nil {
				return Comparison{}, err
			}
			f := former{key: grant.Key, limit: limit, open: r.Facts().Holds(c.Subject, law.Approver, grant.Key) || r.Facts().SeesEverything(c.Subject)}
			f.whole = f.open && len(earlier) < limit
			for _, e := range earlier {
				if !r.Facts().Sees(c.Subject, e.Operation.Operation) {
					continue
				}
				f.all = append(f.all, formerOperation{e.Operation.Operation, e.WasApproved})
				if i == 0 && out.Earlier == nil && e.WasApproved && sameKeys(e.Operation.Operation, o.Operation) {
					seen := k.seen(r, c, e.Operation)
					out.Earlier = &seen
				}
			}
			before = append(before, f)
		}
		out.Notes = notesOn(o.Operation, before, func(id law.KeyID) bool {
			key, known := r.Facts().Key(id)
			return !known || key.Type != law.CA
		})
		return out, nil
	})
	return out, k.auditHidden(ctx, c, err, audit.Event{Operation: id})
}

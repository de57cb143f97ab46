package keyserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

const (
	longestScan  = 2000    // stored operations that one page is looked for in
	heaviestPage = 1 << 20 // bytes of text in one page, but for its last operation
)

// weight is about how many bytes an operation adds to a page.
func weight(o law.Operation) int {
	const each = 200 // a key, an artifact, an approval, a claim
	return len(o.Description) + len(o.Context) + each*(1+len(o.Keys)+len(o.Artifacts)+len(o.Approvals)+len(o.Claims))
}

// Operations lists the operations that exist for the caller, newest first.
func (k *Keyserver) Operations(ctx context.Context, c Caller, f OperationFilter) (OperationPage, error) {
	scope := fmt.Sprintf("operations %q %q %q %t", f.State, f.Key, f.Orderer, f.Queue)
	if !f.From.IsZero() || !f.Until.IsZero() || f.Text != "" {
		scope += fmt.Sprintf(" %s %s %q", instant(f.From), instant(f.Until), f.Text)
	}
	last, err := k.openCursor(c, scope, f.Page)
	if err != nil {
		return OperationPage{}, err
	}
	return look(ctx, k, func(r *store.Reader) (OperationPage, error) {
		query, err := f.query(r, law.OperationID(last))
		if err != nil {
			return OperationPage{}, err
		}
		var page OperationPage
		for scanned, bytes := 0, 0; scanned < longestScan; {
			ids, err := r.OperationIDs(query)
			if err != nil {
				return OperationPage{}, err
			}
			operations, err := r.ReadOperations(ids)
			if err != nil {
				return OperationPage{}, err
			}
			for _, o := range operations {
				query.Before = o.ID
				scanned++
				if k.selected(r, c, f, o) {
					page.Operations = append(page.Operations, k.seen(r, c, o))
					bytes += weight(o.Operation)
				}
				if len(page.Operations) == f.Page.Limit || bytes >= heaviestPage {
					page.Next = k.cursor(c, scope, string(o.ID))
					return page, nil
				}
			}
			if len(ids) < query.Limit {
				return page, nil
			}
		}
		page.Next = k.cursor(c, scope, string(query.Before))
		return page, nil
	})
}

// instant names a time in the scope of a cursor.
func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// query selects by what is stored: by one thing, so that no more is read than can be looked through, but where only the
// few that are open are wanted. Where few of many are looked for, more are read at a time.
func (f OperationFilter) query(r *store.Reader, last law.OperationID) (store.OperationQuery, error) {
	query := store.OperationQuery{States: storedAs(f), Key: f.Key, Orderer: f.Orderer, Before: last, Limit: f.Page.Limit}
	if open := len(query.States) > 0 && !slices.ContainsFunc(query.States, law.State.Final); !open {
		switch {
		case f.Orderer != "":
			query.Key, query.States = "", nil
		case f.Key != "":
			query.States = nil
		}
	}
	if f.Text != "" || query.Key != f.Key || f.State != "" && query.States == nil {
		query.Limit = MaxPage
	}
	if f.From.IsZero() && f.Until.IsZero() && !f.wholeID() {
		return query, nil
	}
	since, before, err := r.CreatedBetween(f.From, f.Until)
	if err != nil {
		return query, err
	}
	query.Since = since
	if before != "" {
		query.Before = lower(last, before)
	}
	if id := law.OperationID(strings.ToLower(f.Text)); f.wholeID() {
		query.Since, query.Before = max(query.Since, id), lower(query.Before, id+"~")
	}
	return query, nil
}

// lower is the lower of two bounds, of which an empty one is none.
func lower(a, b law.OperationID) law.OperationID {
	if a == "" || b < a {
		return b
	}
	return a
}

// wholeID says whether the text is a whole id of an operation.
func (f OperationFilter) wholeID() bool { return len(f.Text) == 36 && uuid.Validate(f.Text) == nil }

func (k *Keyserver) selected(r *store.Reader, c Caller, f OperationFilter, o store.Operation) bool {
	return r.Facts().Sees(c.Subject, o.Operation) &&
		(f.State == "" || o.State(r.Facts(), r.Now()) == f.State) &&
		(f.Key == "" || slices.ContainsFunc(o.Keys, func(g law.KeyGrant) bool { return g.Key == f.Key })) &&
		(!f.Queue || o.Queued(c.Subject, r.Facts(), r.Now())) &&
		(f.From.IsZero() || !o.Created.Before(f.From)) && (f.Until.IsZero() || o.Created.Before(f.Until)) &&
		f.says(o)
}

// says whether the text that is looked for is in the operation.
func (f OperationFilter) says(o store.Operation) bool {
	text := strings.ToLower(f.Text)
	return f.Text == "" || strings.HasPrefix(string(o.ID), text) || strings.Contains(strings.ToLower(o.Description), text)
}

// storedAs says which stored states an operation that is selected can have: an open one may have ended
// since it was stored.
func storedAs(f OperationFilter) []law.State {
	open := []law.State{law.Pending, law.Approved}
	switch {
	case f.Queue || f.State == law.Pending || f.State == law.Approved:
		return open
	case f.State == "":
		return nil
	}
	return append(open, f.State)
}

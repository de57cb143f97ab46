package keyserver_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// list is one way to list something page by page; it returns ids.
type list func(c keyserver.Caller, p keyserver.Page) (ids []string, next string, err error)

func operationsOf(k *testkit.Kit, f keyserver.OperationFilter) list {
	return func(c keyserver.Caller, p keyserver.Page) ([]string, string, error) {
		f.Page = p
		page, err := k.Keyserver.Operations(k.Context(), c, f)
		var ids []string
		for _, o := range page.Operations {
			ids = append(ids, string(o.ID))
		}
		return ids, page.Next, err
	}
}

func ordersOf(k *testkit.Kit, id law.OperationID) list {
	return func(c keyserver.Caller, p keyserver.Page) ([]string, string, error) {
		page, err := k.Keyserver.SignOrders(k.Context(), c, id, p)
		var ids []string
		for _, o := range page.Orders {
			ids = append(ids, string(o.ID))
		}
		return ids, page.Next, err
	}
}

func eventsOf(k *testkit.Kit, f keyserver.EventFilter) list {
	return func(c keyserver.Caller, p keyserver.Page) ([]string, string, error) {
		f.Page = p
		page, err := k.Keyserver.Events(k.Context(), c, f)
		var ids []string
		for _, leaf := range page.Leaves {
			e, err := audit.ParseLeaf(leaf)
			if err != nil {
				k.Fatal(err)
			}
			ids = append(ids, fmt.Sprint(e.Index))
		}
		return ids, page.Next, err
	}
}

// all reads a list to its end.
func all(k *testkit.Kit, who law.SubjectID, l list, limit int, between func()) []string {
	k.Helper()
	var ids []string
	for p := (keyserver.Page{Limit: limit}); ; {
		page, next, err := l(k.Caller(who), p)
		if err != nil || len(page) > limit {
			k.Fatalf("a page of %d: %v", len(page), err)
		}
		ids = append(ids, page...)
		if p.Cursor = next; next == "" {
			return ids
		}
		between()
	}
}

// AZ-05
func TestAZ05_ACursorIsGoodForWhoGotItAndForWhatAlone(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = 3
	o, other := k.Create(ask), k.Create(ask)
	for i := range 3 {
		k.MustSign(o, testkit.OrderAsk("fw-dev", fmt.Sprint(i), "image"))
	}
	lists := map[string]list{
		"operations": operationsOf(k, keyserver.OperationFilter{}), "operations by state": operationsOf(k, keyserver.OperationFilter{State: law.Approved}),
		"operations by key": operationsOf(k, keyserver.OperationFilter{Key: "fw-dev"}), "operations by orderer": operationsOf(k, keyserver.OperationFilter{Orderer: "olga"}),
		"queue": operationsOf(k, keyserver.OperationFilter{Queue: true}), "orders": ordersOf(k, o.ID), "orders of another": ordersOf(k, other.ID),
		"events": eventsOf(k, keyserver.EventFilter{Operation: o.ID}), "events by type": eventsOf(k, keyserver.EventFilter{Operation: o.ID, Type: "order-signed"}),
	}
	malformed := func(what string, l list, who law.SubjectID, cursor string) {
		t.Helper()
		ids, _, err := l(k.Caller(who), keyserver.Page{Limit: 1, Cursor: cursor})
		if _, is := errors.AsType[*keyserver.Malformed](err); !is || ids != nil {
			t.Errorf("%s: got %v (%v)", what, ids, err)
		}
	}
	size := k.LogSize()
	for _, name := range []string{"operations", "orders", "events"} {
		_, cursor, err := lists[name](k.Caller("olga"), keyserver.Page{Limit: 1})
		if err != nil || cursor == "" {
			t.Fatalf("%s: no cursor (%v)", name, err)
		}
		for other, l := range lists {
			if other != name {
				malformed("the cursor of "+name+" for "+other, l, "olga", cursor)
			}
		}
		malformed("the cursor of another", lists[name], "alice", cursor)
		raw, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil {
			t.Fatal(err)
		}
		for i := range raw {
			forged := slices.Clone(raw)
			forged[i] ^= 1
			malformed("a forged cursor", lists[name], "olga", base64.RawURLEncoding.EncodeToString(forged))
		}
		for _, forged := range []string{"x", cursor[1:], cursor[:len(cursor)-4], cursor + "AAAA", cursor + "\n", " ", strings.Repeat("A", 4096), "!", base64.RawURLEncoding.EncodeToString([]byte("5"))} {
			malformed("a forged cursor", lists[name], "olga", forged)
		}
		if strings.Contains(string(raw), string(o.ID)) || strings.Contains(string(raw), string(other.ID)) {
			t.Errorf("the cursor of %s shows where the page ended", name)
		}
	}
	for _, limit := range []int{-1, 0, keyserver.MaxPage + 1, 1e9} {
		for name, l := range lists {
			if _, _, err := l(k.Caller("olga"), keyserver.Page{Limit: limit}); err == nil {
				t.Errorf("%s: a page of %d", name, limit)
			}
		}
	}
	if n := k.LogSize() - size; n != 0 {
		t.Errorf("bad pages left %d events", n)
	}
}

// AZ-05
func TestAZ05_PagesAreStableWhileOthersWrite(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = 500
	o := k.Create(ask)
	var operations, orders []string
	for i := range 9 {
		operations = append([]string{string(k.Create(testkit.Ask("fw-one")).ID)}, operations...)
		orders = append(orders, string(k.MustSign(o, testkit.OrderAsk("fw-dev", fmt.Sprint(i), "image")).ID))
	}
	n := 0
	more := func() {
		n++
		k.Create(testkit.Ask("fw-one"))
		k.MustSign(o, testkit.OrderAsk("fw-dev", fmt.Sprint("more ", n), "image"))
	}
	pending := operationsOf(k, keyserver.OperationFilter{State: law.Pending})
	for _, limit := range []int{1, 2, 3, 4, 8, 9} {
		if got := all(k, "olga", pending, limit, more); !slices.Equal(got[max(0, len(got)-9):], operations) || len(got) != len(slices.Compact(slices.Sorted(slices.Values(got)))) {
			t.Errorf("in pages of %d: %v, want at the end %v", limit, got, operations)
		}
	}
	for _, limit := range []int{2, 3, 9, 10} { // oldest first: what is written meanwhile comes too
		if got := all(k, "olga", ordersOf(k, o.ID), limit, func() {}); !slices.Equal(got[:9], orders) || len(got) != len(slices.Compact(slices.Clone(got))) {
			t.Errorf("in pages of %d: %v, want %v first", limit, got, orders)
		}
	}
	events := all(k, "audrey", eventsOf(k, keyserver.EventFilter{}), 7, func() { k.Keyserver.SignInRefused("192.0.2.1", "expired") })
	for i, index := range events {
		if index != fmt.Sprint(i) {
			t.Fatalf("event %d of the list is entry %s", i, index)
		}
	}
}

// AZ-05
func TestAZ05_AListHoldsNothingThatIsHiddenHoweverLongItIs(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Limits: keyserver.Limits{PendingOperations: 1 << 20}})
	mine, err := k.CreateAs(k.Caller("ci"), testkit.Ask("fw-dev"))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Race(50, func(int) { // more than are looked through for one page
		for range 41 {
			k.Create(testkit.Ask("fw-dev"))
		}
	})
	pages := 0
	if got := all(k, "ci", operationsOf(k, keyserver.OperationFilter{}), 200, func() { pages++ }); !slices.Equal(got, []string{string(mine.ID)}) {
		t.Errorf("the machine lists %v", got)
	}
	if pages == 0 {
		t.Error("everything was looked through for one page")
	}
}

func TestListsAreFilteredByWhatHoldsNow(t *testing.T) {
	k := testkit.New(t)
	short := testkit.Ask("fw-one")
	short.Validity = 1e9
	expiring, pending := k.Create(short), k.Create(testkit.Ask("fw-one", "fw-prod"))
	approved := k.Create(testkit.Ask("fw-dev"))
	revoked := k.Create(testkit.Ask("fw-dev"))
	if _, err := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), revoked.ID, "no"); err != nil {
		t.Fatal(err)
	}
	theirs, err := k.CreateAs(k.Caller("oscar"), testkit.Ask("fw-other"))
	if err != nil {
		t.Fatal(err)
	}
	k.Clock.Step(1e9) // nobody has written the expiry down
	for _, c := range []struct {
		who  law.SubjectID
		f    keyserver.OperationFilter
		want []keyserver.Operation
	}{
		{"audrey", keyserver.OperationFilter{}, []keyserver.Operation{theirs, revoked, approved, pending, expiring}},
		{"audrey", keyserver.OperationFilter{State: law.Pending}, []keyserver.Operation{theirs, pending}},
		{"audrey", keyserver.OperationFilter{State: law.Expired}, []keyserver.Operation{expiring}},
		{"audrey", keyserver.OperationFilter{State: law.Approved}, []keyserver.Operation{approved}},
		{"audrey", keyserver.OperationFilter{State: law.Revoked}, []keyserver.Operation{revoked}},
		{"audrey", keyserver.OperationFilter{Key: "fw-prod"}, []keyserver.Operation{pending}},
		{"audrey", keyserver.OperationFilter{Orderer: "oscar"}, []keyserver.Operation{theirs}},
		{"olga", keyserver.OperationFilter{}, []keyserver.Operation{revoked, approved, pending, expiring}},
		{"olga", keyserver.OperationFilter{Queue: true}, nil},
		{"alice", keyserver.OperationFilter{Queue: true}, []keyserver.Operation{theirs, pending}},
		{"dave", keyserver.OperationFilter{Queue: true}, []keyserver.Operation{pending}},
		{"carol", keyserver.OperationFilter{Queue: true, Key: "fw-one"}, []keyserver.Operation{pending}},
		{"audrey", keyserver.OperationFilter{Queue: true}, nil},
	} {
		var want []string
		for _, o := range c.want {
			want = append(want, string(o.ID))
		}
		if got := all(k, c.who, operationsOf(k, c.f), 2, func() {}); !slices.Equal(got, want) {
			t.Errorf("%s lists with %+v: %v, want %v", c.who, c.f, got, want)
		}
	}
	// It stays in the queue of those who have approved, and returns to it when it lapses (rule 4).
	inQueue := func(want bool) {
		t.Helper()
		got := all(k, "alice", operationsOf(k, keyserver.OperationFilter{Queue: true}), 10, func() {})
		if slices.Contains(got, string(pending.ID)) != want {
			t.Errorf("that it is in the queue is %t", !want)
		}
	}
	k.Approve(pending, "alice")
	inQueue(true)
	k.Approve(pending, "bob")
	inQueue(false)
	k.Enable("bob", false)
	inQueue(true)
}

func TestAPageOfHeavyOperationsIsShorter(t *testing.T) {
	k := testkit.New(t)
	ask := testkit.Ask("fw-dev")
	ask.Context = strings.Repeat("x", law.MaxContext)
	const many = 60
	for range many {
		k.Create(ask)
	}
	seen, pages, cursor := 0, 0, ""
	for {
		page, err := k.Keyserver.Operations(t.Context(), k.Caller("olga"), keyserver.OperationFilter{Page: keyserver.Page{Limit: keyserver.MaxPage, Cursor: cursor}})
		if err != nil {
			t.Fatal(err)
		}
		pages++
		seen += len(page.Operations)
		if weight := len(page.Operations) * law.MaxContext; weight > 1<<20+law.MaxContext {
			t.Errorf("a page has %d bytes of context", weight)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if seen != many || pages < 2 {
		t.Errorf("%d operations on %d pages, not %d on several", seen, pages, many)
	}
}

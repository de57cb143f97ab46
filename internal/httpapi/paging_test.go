package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// AZ-05
func TestAZ05_PagesThatCannotBeAreRefusedOnEveryList(t *testing.T) {
	k := testkit.New(t)
	o := k.Create(testkit.Ask("fw-dev"))
	lists := []string{api.PathOperations, api.PathSessions, strings.Replace(api.PathSignOrders, "{operation}", string(o.ID), 1), api.PathEvents + "?operation=" + string(o.ID)}
	size := k.LogSize()
	for _, list := range lists {
		and := map[bool]string{true: "&", false: "?"}[strings.Contains(list, "?")]
		for _, page := range []string{
			"limit=-1", "limit=0", "limit=201", "limit=1000000000", "limit=1e2", "limit=1.0", "limit=", "limit=x", "limit=18446744073709551617",
			"limit=1&limit=2", "cursor=", "cursor=x", "cursor=" + strings.Repeat("A", 86), "cursor=" + strings.Repeat("A", 5000), "cursor=%00",
			"cursor=..%2f..%2fetc", "cursor='%20OR%201=1--", "page_size=1", "offset=1",
		} {
			answer, p := send(k, "olga", "GET", list+and+page, "")
			expect(t, list+and+page, answer, p, api.Malformed)
		}
		if answer, p := send(k, "olga", "GET", list+and+"limit=200", ""); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: a page of 200: %d %s", list, answer.StatusCode, p.Detail)
		}
	}
	if n := k.LogSize() - size; n != 0 {
		t.Errorf("malformed requests left %d events", n)
	}
}

// AZ-05
func TestAZ05_ACursorIsOfNoUseToAnybodyElseOrForAnotherList(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	ask := testkit.Ask("fw-dev")
	ask.Keys[0].MaxUses = 3
	o, other := k.Create(ask), k.Create(ask)
	for i := range 3 {
		k.MustSign(o, testkit.OrderAsk("fw-dev", fmt.Sprint(i), "image"))
	}
	first := client.Page{Limit: 1}
	operations := must[api.Operations](t)(clientOf(k, "olga").Operations(ctx, client.OperationFilter{Page: first})).Next
	orders := must[api.SignOrders](t)(clientOf(k, "olga").SignOrders(ctx, string(o.ID), first)).Next
	k.OpenSession(nil)
	k.OpenSession(nil)
	sessions := must[api.Sessions](t)(clientOf(k, "ada").Sessions(ctx, client.SessionFilter{Page: first})).Next
	ordersOf := func(id law.OperationID) string {
		return strings.Replace(api.PathSignOrders, "{operation}", string(id), 1)
	}
	for _, c := range []struct {
		what, path, cursor string
		who                law.SubjectID
	}{
		{"of operations, another's", api.PathOperations, operations, "ada"},
		{"of operations, for sign orders", ordersOf(o.ID), operations, "olga"},
		{"of operations, with a filter", api.PathOperations + "?state=approved", operations, "olga"},
		{"of operations, for the queue", api.PathOperations + "?queue=true", operations, "olga"},
		{"of operations, for events", api.PathEvents + "?operation=" + string(o.ID), operations, "olga"},
		{"of sessions, another's", api.PathSessions, sessions, "adam"},
		{"of sessions, with a filter", api.PathSessions + "?state=inactive", sessions, "ada"},
		{"of sessions, for operations", api.PathOperations, sessions, "ada"},
		{"of operations, for sessions", api.PathSessions, operations, "olga"},
		{"of sign orders, another's", ordersOf(o.ID), orders, "ada"},
		{"of sign orders, for another operation", ordersOf(other.ID), orders, "olga"},
		{"of sign orders, for operations", api.PathOperations, orders, "olga"},
	} {
		and := map[bool]string{true: "&", false: "?"}[strings.Contains(c.path, "?")]
		answer, p := send(k, c.who, "GET", c.path+and+"limit=1&cursor="+c.cursor, "")
		expect(t, "the cursor "+c.what, answer, p, api.Malformed)
	}
	var ids []string
	for page := first; ; {
		out := must[api.SignOrders](t)(clientOf(k, "olga").SignOrders(ctx, string(o.ID), page))
		for _, order := range out.SignOrders {
			ids = append(ids, order.ID)
		}
		if page.Cursor = out.Next; out.Next == "" {
			break
		}
	}
	if len(ids) != 3 || !slices.IsSorted(ids) {
		t.Errorf("the sign orders are %v", ids)
	}
}

// AZ-05
func TestAZ05_PagesAreStableUnderConcurrentInserts(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	var want []string
	for range 7 {
		want = append([]string{string(k.Create(testkit.Ask("fw-dev")).ID)}, want...)
	}
	var got []string
	for page := (client.Page{Limit: 2}); ; {
		out := must[api.Operations](t)(clientOf(k, "olga").Operations(ctx, client.OperationFilter{Page: page}))
		for _, o := range out.Operations {
			got = append(got, o.ID)
		}
		testkit.Race(3, func(int) { k.Create(testkit.Ask("fw-dev")) }) // newer than what is still to come
		if page.Cursor = out.Next; out.Next == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages had %v, want %v", got, want)
	}
}

func TestOperationsAreFoundByTextAndTime(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	olga := clientOf(k, "olga")
	var made []api.Operation
	for _, description := range []string{"Release 4.1", "release 4.2 of the Valve", "Nightly"} {
		n := newOperation("fw-dev")
		n.Description = description
		made = append(made, must[api.Operation](t)(olga.CreateOperation(ctx, strconv.Itoa(len(made)), n)))
		k.Clock.Step(time.Hour)
	}
	at := func(i int) time.Time { return time.UnixMilli(made[i].Created) }
	for name, test := range map[string]struct {
		filter client.OperationFilter
		want   []int
	}{
		"text":                 {client.OperationFilter{Text: "RELEASE"}, []int{1, 0}},
		"text with a space":    {client.OperationFilter{Text: "the valve"}, []int{1}},
		"a whole id":           {client.OperationFilter{Text: made[2].ID}, []int{2}},
		"from":                 {client.OperationFilter{From: at(1)}, []int{2, 1}},
		"until":                {client.OperationFilter{Until: at(1)}, []int{0}},
		"a time between":       {client.OperationFilter{From: at(0).Add(time.Millisecond), Until: at(2)}, []int{1}},
		"text, time and state": {client.OperationFilter{Text: "4.", Until: at(1), State: api.Expired, KeyID: "fw-dev", Orderer: "olga"}, []int{0}},
		"before there was any": {client.OperationFilter{Until: time.UnixMilli(0)}, nil},
		"as late as can be":    {client.OperationFilter{From: time.UnixMilli(1<<53 - 1)}, nil},
		"nothing":              {client.OperationFilter{Text: "no such"}, nil},
	} {
		var got, want []string
		for _, o := range must[api.Operations](t)(olga.Operations(ctx, test.filter)).Operations {
			got = append(got, o.Description)
		}
		for _, i := range test.want {
			want = append(want, made[i].Description)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, must be %q", name, got, want)
		}
	}
}

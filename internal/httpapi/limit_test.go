package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/limits"
	"example.org/keyserver/internal/testkit"
)

func TestSubjectThatAsksTooOftenWaitsAndCanStillRevoke(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Rates: limits.Rate{PerSecond: 0.5, Burst: 3}})
	id := string(k.Create(testkit.Ask("fw-dev")).ID)
	for i := range 3 {
		if answer, p := send(k, "olga", "GET", api.PathWhoAmI, ""); answer.StatusCode != http.StatusOK {
			t.Fatalf("request %d: %+v", i, p)
		}
	}
	answer, p := send(k, "olga", "GET", api.PathWhoAmI, "")
	expect(t, "the fourth request", answer, p, api.TooMany)
	if after := answer.Header.Get("Retry-After"); after != "2" {
		t.Errorf("Retry-After is %q", after)
	}
	if answer, _ := send(k, "alice", "GET", api.PathWhoAmI, ""); answer.StatusCode != http.StatusOK {
		t.Errorf("another subject is refused with %d", answer.StatusCode)
	}
	if answer, p := send(k, "olga", "POST", "/api/operations/"+id+"/revocation", `{"reason":"enough"}`); answer.StatusCode != http.StatusOK {
		t.Errorf("revoking is refused: %+v", p)
	}
	k.Clock.Step(2 * time.Second)
	if answer, p := send(k, "olga", "GET", api.PathWhoAmI, ""); answer.StatusCode != http.StatusOK {
		t.Errorf("after the wait: %+v", p)
	}
}

func TestStrangerCannotFillTheAuditLog(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Rates: limits.Rate{PerSecond: 1, Burst: 2}})
	before := len(k.Events(""))
	for range 2 {
		answer, p := send(k, "mallory", "GET", api.PathKeys, "")
		expect(t, "a stranger", answer, p, api.Forbidden)
	}
	answer, p := send(k, "mallory", "GET", api.PathKeys, "")
	expect(t, "a stranger's third request", answer, p, api.TooMany)
	if n := len(k.Events("")) - before; n != 2 {
		t.Errorf("the log grew by %d entries", n)
	}
}

// Whoever can make tokens of an issuer that serves the whole world can make up as many subs as he likes.
func TestStrangersWithManyNamesCannotFillTheAuditLog(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Rates: limits.Rate{PerSecond: 1, Burst: 2}})
	before := len(k.Events(""))
	for i := range 10 {
		answer, p := send(k, law.SubjectID(fmt.Sprintf("mallory-%d", i)), "GET", api.PathKeys, "")
		want := api.Forbidden
		if i >= 2 {
			want = api.TooMany
		}
		expect(t, fmt.Sprintf("stranger %d", i), answer, p, want)
	}
	if n := len(k.Events("")) - before; n != 2 {
		t.Errorf("the log grew by %d entries", n)
	}
	if answer, p := send(k, "olga", "GET", api.PathKeys, ""); answer.StatusCode != http.StatusOK {
		t.Errorf("a subject of the same issuer is refused: %+v", p)
	}
}

func TestAddressWithoutTokenThatAsksTooOftenWaits(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{Rates: limits.Rate{PerSecond: 1, Burst: 1}})
	send(k, "", "GET", api.PathReady, "")
	answer, p := send(k, "", "GET", api.PathReady, "")
	expect(t, "the second request", answer, p, api.TooMany)
}

func TestKeystoreFailureIsAnsweredWithTheOrderToAskForAgain(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	olga := clientOf(k, "olga")
	o := must[api.Operation](t)(olga.CreateOperation(ctx, "c", newOperation("fw-dev")))
	order := api.NewSignOrder{KeyID: "fw-dev", Hash: "SHA-256", Digest: digestOf("x")}
	k.Keystore.Fail(context.DeadlineExceeded)
	_, err := olga.PlaceSignOrder(ctx, o.ID, "k", order)
	p := refusedAs(t, "a keystore that fails", err, api.Unavailable)
	if p.Order == "" || p.RetryAfter == 0 {
		t.Errorf("the problem is %+v", p)
	}
	k.Keystore.Fail(nil)
	signed := must[api.SignOrder](t)(olga.PlaceSignOrder(ctx, o.ID, "k", order))
	if signed.ID != p.Order || signed.Use != 1 || signed.Attempt != 2 {
		t.Errorf("asked again: %+v", signed)
	}
}

package httpapi_test

import (
	"fmt"
	"slices"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// recently is a kit with an operation of olga on fw-dev under which she has signed, so that the server has
// authenticated her token lately, and a function with which she signs again with that very token.
func recently(t *testing.T) (k *testkit.Kit, o api.Operation, sign func(f api.Format) (api.SignOrder, error)) {
	k = testkit.New(t)
	c := must[*client.Client](t)(client.New(k.URL, client.StaticToken(k.Token("olga")), client.Options{Tries: 1}))
	asked := newOperation("fw-dev")
	asked.KeyUsageRestrictions[0].MaxUsageCount = 10
	o = must[api.Operation](t)(c.CreateOperation(t.Context(), "one", asked))
	n := 0
	sign = func(f api.Format) (api.SignOrder, error) {
		n++
		return c.PlaceSignOrder(t.Context(), o.ID, fmt.Sprint(n), api.NewSignOrder{
			KeyID: "fw-dev", Hash: "SHA-256", Scheme: "ECDSA", Digest: digestOf(fmt.Sprint(n)), Format: f,
		})
	}
	must[api.SignOrder](t)(sign(api.DER))
	return k, o, sign
}

// Law 9: who was authenticated a moment ago is judged by the configuration as it is.
func TestSignOrderOfSomebodyJustDisabledIsRefused(t *testing.T) {
	k, o, sign := recently(t)
	for range 2 {
		k.Enable("olga", false)
		size := k.LogSize()
		_, err := sign(api.DER)
		refusedAs(t, "of somebody disabled", err, api.Forbidden)
		if events := k.EventsSince(size); len(events) != 1 || events[0].Type != audit.RequestRefused {
			t.Errorf("the events are %+v, want the one of the refusal", events)
		}
		k.Enable("olga", true)
		must[api.SignOrder](t)(sign(api.DER))
	}
	if taken := k.Look(law.OperationID(o.ID)).Usage["fw-dev"].Taken; taken != 3 {
		t.Errorf("%d uses are taken, want 3", taken)
	}
}

// Law 9: a token whose identity was given to somebody else speaks for him, and for nobody as whom it spoke before.
func TestSignOrderWithATokenOfSomebodyElseNowIsHis(t *testing.T) {
	k, o, sign := recently(t)
	k.Configure(func(c *law.Configuration) {
		at := func(id law.SubjectID) *law.Subject {
			return &c.Subjects[slices.IndexFunc(c.Subjects, func(s law.Subject) bool { return s.ID == id })]
		}
		at("eve").Identities, at("olga").Identities = at("olga").Identities, at("eve").Identities
	})
	size := k.LogSize()
	_, err := sign(api.DER)
	refusedAs(t, "of somebody else", err, api.NotFound)
	events := k.EventsSince(size)
	if len(events) != 1 || events[0].Type != audit.OrderRefused || events[0].Actor.Subject != "eve" {
		t.Errorf("the events are %+v, want one of a sign order of eve that was refused", events)
	}
	if taken := k.Look(law.OperationID(o.ID)).Usage["fw-dev"].Taken; taken != 1 {
		t.Errorf("%d uses are taken, want 1", taken)
	}
}

// What a key is, is no business of somebody who has just lost every role on it.
func TestFormatIsRefusedByTheFactsOfNow(t *testing.T) {
	k, _, sign := recently(t)
	_, err := sign(api.Raw)
	refusedAs(t, "a form that the key does not have", err, api.InputMisfit)
	k.Members("orderers", "oscar")
	_, err = sign(api.Raw)
	refusedAs(t, "without a role", err, api.Forbidden)
}

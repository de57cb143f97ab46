package keyserver_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// wantHistory checks what audrey lists with a filter, oldest first here, in pages of different lengths.
func wantHistory(k *testkit.Kit, what string, f keyserver.OperationFilter, want ...keyserver.Operation) {
	k.Helper()
	var ids []string
	for _, o := range slices.Backward(want) {
		ids = append(ids, string(o.ID))
	}
	for _, limit := range []int{1, 2, keyserver.MaxPage} {
		if got := all(k, "audrey", operationsOf(k, f), limit, func() {}); !slices.Equal(got, ids) {
			k.Errorf("%s, in pages of %d: %v, want %v", what, limit, got, ids)
		}
	}
}

func TestOperationsAreFoundByWhenTheyWereCreated(t *testing.T) {
	k := testkit.New(t)
	start := k.Clock.Now()
	var o []keyserver.Operation
	for i := range 6 { // at 0, 1 min, 1 h, 1 h 1 min, 2 h, 2 h 1 min
		o = append(o, k.Create(testkit.Ask("fw-dev")))
		k.Clock.Step(time.Minute)
		if i%2 == 1 {
			k.Clock.Step(58 * time.Minute)
		}
	}
	at := func(d time.Duration) time.Time { return start.Add(d) }
	wantHistory(k, "from the first", keyserver.OperationFilter{From: at(0)}, o...)
	wantHistory(k, "from after the first", keyserver.OperationFilter{From: at(1)}, o[1:]...)
	wantHistory(k, "until the second", keyserver.OperationFilter{Until: at(time.Minute)}, o[0])
	wantHistory(k, "until after the second", keyserver.OperationFilter{Until: at(time.Minute + 1)}, o[:2]...)
	wantHistory(k, "until the start", keyserver.OperationFilter{Until: at(0)})
	wantHistory(k, "long before", keyserver.OperationFilter{Until: at(-1000 * time.Hour)})
	wantHistory(k, "long after", keyserver.OperationFilter{From: at(1000 * time.Hour)})
	wantHistory(k, "all", keyserver.OperationFilter{From: at(-1000 * time.Hour), Until: at(1000 * time.Hour)}, o...)
	wantHistory(k, "in between", keyserver.OperationFilter{From: at(time.Minute), Until: at(2 * time.Hour)}, o[1:4]...)
	wantHistory(k, "in between, of one who has none", keyserver.OperationFilter{From: at(time.Minute), Until: at(2 * time.Hour), Orderer: "ci"})
	wantHistory(k, "in between, on a key", keyserver.OperationFilter{From: at(time.Minute), Until: at(2 * time.Hour), Key: "fw-dev", State: law.Approved}, o[1:4]...)
	wantHistory(k, "never", keyserver.OperationFilter{From: at(time.Hour), Until: at(time.Hour)})
}

// A clock that was set back, which an operator accepts, makes times come twice.
func TestOperationsAreFoundByTheirTimeAlsoAfterTheClockWentBack(t *testing.T) {
	k := testkit.New(t)
	start := k.Clock.Now()
	before, late := k.Create(testkit.Ask("fw-dev")), keyserver.Operation{}
	k.Clock.Step(5 * time.Hour)
	late = k.Create(testkit.Ask("fw-dev"))
	k.Clock.Set(-4 * time.Hour)
	k.AcceptClock()
	again := k.Create(testkit.Ask("fw-dev")) // an hour after the start, by its time
	k.Clock.Step(time.Hour)
	last := k.Create(testkit.Ask("fw-dev"))
	wantHistory(k, "the second hour", keyserver.OperationFilter{From: start.Add(time.Hour), Until: start.Add(2 * time.Hour)}, again)
	wantHistory(k, "until the second hour is over", keyserver.OperationFilter{Until: start.Add(2*time.Hour + 1)}, before, again, last)
	wantHistory(k, "from the fourth hour", keyserver.OperationFilter{From: start.Add(4 * time.Hour)}, late)
	wantHistory(k, "the start", keyserver.OperationFilter{Until: start.Add(1)}, before)
}

func TestOperationsAreFoundByTheirDescriptionAndTheirID(t *testing.T) {
	k := testkit.New(t)
	said := func(description string) keyserver.Operation {
		ask := testkit.Ask("fw-dev")
		ask.Description = description
		return k.Create(ask)
	}
	a, b, c := said("Release 1.2 of the Thermostat"), said("release 1.3 of the LÜFTER"), said("50% off_")
	find := func(text string, want ...keyserver.Operation) {
		t.Helper()
		wantHistory(k, text, keyserver.OperationFilter{Text: text}, want...)
	}
	find("RELEASE 1.", a, b)
	find("thermo", a)
	find("lüfter", b)
	find("%", c)
	find("f_", c)
	find("none of these")
	find(string(b.ID), b)
	find(strings.ToUpper(string(b.ID)), b)
	find(string(b.ID[:35]), b)
	find("00000000-0000-7000-8000-000000000000")
	wantHistory(k, "with its key", keyserver.OperationFilter{Text: string(b.ID), Key: "fw-dev"}, b)
	wantHistory(k, "with another key", keyserver.OperationFilter{Text: string(b.ID), Key: "fw-one"})
	wantHistory(k, "at its time", keyserver.OperationFilter{Text: string(b.ID), From: b.Created, Until: b.Created.Add(1)}, b)
	wantHistory(k, "at another time", keyserver.OperationFilter{Text: string(b.ID), Until: b.Created})
	if got := all(k, "oscar", operationsOf(k, keyserver.OperationFilter{Text: string(b.ID)}), 9, func() {}); len(got) != 0 {
		t.Errorf("one who does not see it finds %v", got)
	}
}

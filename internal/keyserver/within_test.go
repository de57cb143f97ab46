package keyserver

import (
	"testing"

	"example.org/keyserver/internal/store"
)

func TestEventsOfWhichMuchIsAskedAreLookedForInPortions(t *testing.T) {
	const size = 2*longestLook + 10
	for _, newest := range []bool{false, true} {
		f := EventFilter{Type: "signed-in", Subject: "olga", Newest: newest}
		looked, last := make([]int, size), int64(-1)
		for range 3 {
			query := store.EventQuery{}
			switch { // as Events reads its cursor
			case last >= 0 && newest:
				query.Before = last
			case last >= 0:
				query.From = last + 1
			}
			query, last = f.within(query, size)
			for i := query.From; i < query.Before; i++ {
				looked[i]++
			}
		}
		for i, n := range looked {
			if n != 1 || last != -1 {
				t.Fatalf("newest first %t: event %d is looked at %d times, and then %d", newest, i, n, last)
			}
		}
	}
	for _, f := range []EventFilter{{}, {Type: "signed-in"}, {Subject: "olga"}, {Key: "fw"}, {Type: "signed-in", Subject: "olga", Operation: "o"}, {Key: "fw", Subject: "olga", Session: "s"}} {
		if query, next := f.within(store.EventQuery{}, size); query != (store.EventQuery{}) || next != -1 {
			t.Errorf("%+v is looked for in %+v", f, query)
		}
	}
}

package audit_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/audit"
)

// wantTampered verifies the export and wants it refused for this entry, with so many proven before it.
func wantTampered(t *testing.T, data []byte, opt audit.ExportOptions, index, proven int64) {
	t.Helper()
	report, err := audit.VerifyExport(bytes.NewReader(data), verifier(t), opt)
	var tampered *audit.Tampered
	if !errors.As(err, &tampered) {
		t.Errorf("the tampered log is reported as %+v (%v)", report, err)
		return
	}
	if tampered.Index != index || tampered.Proven != proven || tampered.What == "" {
		t.Errorf("entry %d is named, %d are proven; must be %d and %d: %v", tampered.Index, tampered.Proven, index, proven, err)
	}
	if report.Counts != nil || report.Checkpoint != (audit.Checkpoint{}) {
		t.Errorf("a tampered log is reported: %+v", report)
	}
}

// AT-01
func TestAT01_AByteFlippedAnywhereInAnExportIsFoundAndItsEntryNamed(t *testing.T) {
	leaves := link(t, story(8))
	data := export(t, leaves, sign(t, leaves))
	for i := range data {
		index := int64(bytes.Count(data[:i], []byte("\n"))) // a line's end belongs to its line
		if index > 8 {
			index = -1 // behind the empty line: the checkpoint
		}
		for _, mask := range []byte{0x01, 0x20, 0x80} {
			changed := slices.Clone(data)
			changed[i] ^= mask
			wantTampered(t, changed, audit.ExportOptions{}, index, 0)
		}
		if t.Failed() {
			t.Fatalf("at byte %d, %q", i, data[i])
		}
	}
}

// AT-01
func TestAT01_AnyChangeOfBytesIsFound(t *testing.T) {
	leaves := link(t, story(12))
	data := export(t, leaves, sign(t, leaves))
	v := verifier(t)
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(0, len(data)).Draw(t, "from")
		to := rapid.IntRange(from, min(len(data), from+2000)).Draw(t, "to")
		var with []byte
		if rapid.Bool().Draw(t, "from the log itself") {
			at := rapid.IntRange(0, len(data)).Draw(t, "at")
			with = data[at:rapid.IntRange(at, min(len(data), at+2000)).Draw(t, "end")]
		} else {
			with = rapid.SliceOf(rapid.Byte()).Draw(t, "with")
		}
		changed := slices.Concat(data[:from], with, data[to:])
		_, err := audit.VerifyExport(bytes.NewReader(changed), v, audit.ExportOptions{})
		if tampered := (*audit.Tampered)(nil); !bytes.Equal(changed, data) && !errors.As(err, &tampered) {
			t.Fatalf("bytes %d to %d replaced with %q: %v", from, to, with, err)
		}
	})
}

// AT-01
func TestAT01_ALogCutOffAnywhereIsFound(t *testing.T) {
	leaves := link(t, story(8))
	data := export(t, leaves, sign(t, leaves))
	for i := range data {
		index := int64(bytes.Count(data[:i], []byte("\n")))
		if index > 8 {
			index = -1
		}
		wantTampered(t, data[:i], audit.ExportOptions{}, index, 0)
	}
}

// AT-01: what somebody does who can write the file, but neither links the entries again nor has the log's key.
func TestAT01_TamperedEntriesAreFoundAndTheFirstBadOneNamed(t *testing.T) {
	const n = 20
	events := story(n)
	leaves := link(t, events)
	signed := sign(t, leaves)
	change := func(i int, old, new string) [][]byte {
		out := slices.Clone(leaves)
		out[i] = bytes.Replace(out[i], []byte(old), []byte(new), 1)
		return out
	}
	forge := func(index int64, previous string) []byte {
		e := events[4]
		e.Version, e.Index, e.Previous, e.Time = audit.Version, index, previous, events[index].Time
		leaf, err := e.Leaf()
		if err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	swap := func(i, j int) [][]byte {
		out := slices.Clone(leaves)
		out[i], out[j] = out[j], out[i]
		return out
	}
	earlier := slices.Clone(events)
	earlier[7].Time = earlier[6].Time - 1
	tests := map[string]struct {
		leaves [][]byte
		index  int64
	}{
		"change the middle":                            {change(7, "192.0.2.17", "192.0.2.18"), 7},
		"change the first":                             {change(0, `"dora"`, `"dave"`), 0},
		"change the last but one":                      {change(n-2, "192.0.2.17", "192.0.2.18"), n - 2},
		"change the last":                              {change(n-1, `"index"`, `"idempotencykey":"x","index"`), n - 1},
		"change the last, still a leaf":                {change(n-1, "order-signed", "order-withheld"), n - 1},
		"change a time":                                {change(7, "1764000000280", "1764000000281"), 7},
		"change a previous hash":                       {change(7, `"previous":"`+previousOf(leaves[7]), `"previous":"`+digest("x")), 7},
		"change the last's previous hash":              {change(n-1, previousOf(leaves[n-1]), digest("x")), n - 1},
		"change two in a row":                          {slices.Concat(change(7, "192.0.2.17", "192.0.2.18")[:8], change(8, "192.0.2.17", "192.0.2.18")[8:]), 8},
		"change the index to the one before":           {change(7, `"index":7`, `"index":6`), 7},
		"change the index to the next":                 {change(7, `"index":7`, `"index":8`), 7},
		"delete the first":                             {leaves[1:], 0},
		"delete one":                                   {slices.Delete(slices.Clone(leaves), 7, 8), 7},
		"delete a range":                               {slices.Delete(slices.Clone(leaves), 5, 10), 5},
		"delete the last":                              {leaves[:n-1], n - 1},
		"delete all":                                   {nil, 0},
		"reorder two":                                  {swap(4, 9), 4},
		"reorder neighbours":                           {swap(4, 5), 4},
		"reorder the last two":                         {swap(n-2, n-1), n - 2},
		"duplicate one in place":                       {slices.Insert(slices.Clone(leaves), 7, leaves[6]), 7},
		"duplicate one later":                          {slices.Insert(slices.Clone(leaves), 11, leaves[6]), 11},
		"duplicate the last":                           {append(slices.Clone(leaves), leaves[n-1]), n},
		"insert one that follows":                      {slices.Insert(slices.Clone(leaves), 8, forge(8, previousOf(leaves[8]))), 8},
		"insert one that does not follow":              {slices.Insert(slices.Clone(leaves), 8, forge(8, digest("x"))), 8},
		"insert one of another index":                  {slices.Insert(slices.Clone(leaves), 8, forge(9, previousOf(leaves[8]))), 8},
		"append one that follows":                      {append(slices.Clone(leaves), link(t, story(n+1))[n]), n},
		"replace one by one that follows":              {slices.Replace(slices.Clone(leaves), 8, 9, forge(8, previousOf(leaves[8]))), 8},
		"replace one by one that does not":             {slices.Replace(slices.Clone(leaves), 8, 9, forge(8, digest("x"))), 8},
		"replace the last by one that does not follow": {slices.Replace(slices.Clone(leaves), n-1, n, forge(n-1, digest("x"))), n - 1},
		"an entry that does not follow, then too few":  {slices.Replace(slices.Clone(leaves), 8, n, forge(8, digest("x"))), 8},
		"time goes back":                               {link(t, earlier), 7},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			wantTampered(t, export(t, tt.leaves, signed), audit.ExportOptions{}, tt.index, 0)
		})
	}
	t.Run("an entry that does not follow, then a bad checkpoint", func(t *testing.T) {
		cut := slices.Replace(slices.Clone(leaves), 8, n, forge(8, digest("x")))
		wantTampered(t, export(t, cut, signed[:len(signed)-1]), audit.ExportOptions{}, 8, 0)
	})
}

func previousOf(leaf []byte) string {
	_, rest, _ := strings.Cut(string(leaf), `"previous":"`)
	return rest[:64]
}

// AT-01: what somebody does who links all entries again, and what changes when he has the log's key too.
func TestAT01_ARecomputedLogIsFoundByItsCheckpointAndByRememberedOnes(t *testing.T) {
	const n = 20
	events := story(n)
	honest := link(t, events)
	remembered := audit.ExportOptions{Remembered: []audit.Checkpoint{checkpointOf(honest, 15), checkpointOf(honest, 5), checkpointOf(honest, 12)}}
	forged := events[4]
	forged.Time = events[8].Time
	changed := slices.Clone(events)
	changed[8].Reason = "nothing to see here"
	swapped := slices.Clone(events)
	swapped[8], swapped[9] = swapped[9], swapped[8]
	swapped[8].Time, swapped[9].Time = events[8].Time, events[9].Time

	tests := map[string]struct {
		events []audit.Event
		named  int64 // by the checkpoint alone
	}{
		"change one":      {changed, n - 1},
		"delete one":      {slices.Delete(slices.Clone(events), 8, 9), n - 1},
		"delete a range":  {slices.Delete(slices.Clone(events), 7, 12), n - 5},
		"reorder two":     {swapped, n - 1},
		"duplicate one":   {slices.Insert(slices.Clone(events), 8, events[8]), n},
		"insert a forged": {slices.Insert(slices.Clone(events), 8, forged), n},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			leaves := link(t, tt.events)
			wantTampered(t, export(t, leaves, sign(t, honest)), audit.ExportOptions{}, tt.named, 0)

			// From the checkpoint of 5 entries on, up to that of 12, something is wrong.
			wantTampered(t, export(t, leaves, sign(t, honest)), remembered, 11, 5)
			wantTampered(t, export(t, leaves, sign(t, leaves)), remembered, 11, 5)

			// The log's key alone makes a new log. Nothing but a checkpoint remembered outside shows it.
			if _, err := audit.VerifyExport(bytes.NewReader(export(t, leaves, sign(t, leaves))), verifier(t), audit.ExportOptions{}); err != nil {
				t.Errorf("a log that is consistent and signed is refused: %v", err)
			}
		})
	}
}

// AT-01
func TestAT01_ATruncatedLogIsFoundByARememberedCheckpointThoughSignedAnew(t *testing.T) {
	honest := link(t, story(20))
	remembered := audit.ExportOptions{Remembered: []audit.Checkpoint{checkpointOf(honest, 5), checkpointOf(honest, 12)}}
	for _, size := range []int{0, 4, 5, 11} {
		short := honest[:size]
		proven := int64(0)
		if size >= 5 {
			proven = 5
		}
		wantTampered(t, export(t, short, sign(t, honest)), audit.ExportOptions{}, int64(size), 0)
		wantTampered(t, export(t, short, sign(t, short)), remembered, int64(size), proven)
		if size == 0 {
			continue
		}
		// truncated, and written on from there
		events := story(20)
		events[size].Reason = "nothing to see here"
		other := link(t, events)
		wantTampered(t, export(t, other, sign(t, other)), remembered, map[bool]int64{true: 4, false: 11}[size < 5], map[bool]int64{true: 0, false: 5}[size < 5])
	}
	whole := honest[:12]
	if _, err := audit.VerifyExport(bytes.NewReader(export(t, whole, sign(t, whole))), verifier(t), remembered); err != nil {
		t.Errorf("a log that ends at the newest remembered checkpoint is refused: %v", err)
	}
}

// AT-01
func TestAT01_WhatARememberedCheckpointProvesIsNeverBlamed(t *testing.T) {
	events := story(20)
	honest := link(t, events)
	at8 := audit.ExportOptions{Remembered: []audit.Checkpoint{checkpointOf(honest, 8)}}

	// Entry 8 does not follow, but all after it were linked to it: entry 7 looks as if it was changed.
	e := events[8]
	e.Version, e.Index, e.Previous = audit.Version, 8, digest("x")
	leaf, err := e.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	next := events[9]
	h := audit.LeafHash(leaf)
	next.Version, next.Index, next.Previous = audit.Version, 9, hexOf(h)
	nextLeaf, err := next.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	forked := slices.Concat(honest[:8], [][]byte{leaf, nextLeaf})
	wantTampered(t, export(t, forked, sign(t, honest)), at8, 8, 8)

	// There are two entries 7, and the first is the one remembered.
	e = events[4]
	e.Version, e.Index, e.Previous, e.Time = audit.Version, 7, previousOf(honest[7]), events[7].Time
	if leaf, err = e.Leaf(); err != nil {
		t.Fatal(err)
	}
	wantTampered(t, export(t, slices.Insert(slices.Clone(honest), 8, leaf), sign(t, honest)), at8, 8, 8)

	// A log that does not even begin as the empty one.
	empty := audit.ExportOptions{Remembered: []audit.Checkpoint{{Origin: "keyserver/test"}}}
	wantTampered(t, export(t, honest, sign(t, honest)), empty, -1, 0)
}

func TestWhatIsTamperedWithIsSaidInASentence(t *testing.T) {
	tests := map[string]audit.Tampered{
		"the audit log's checkpoint: it is bad":                                          {Index: -1, Proven: 3, What: "it is bad"},
		"audit entry 7: it is bad (no remembered checkpoint proves what is before it)":   {Index: 7, What: "it is bad"},
		"audit entry 7: it is bad (a remembered checkpoint proves the first 5 entries)":  {Index: 7, Proven: 5, What: "it is bad"},
		"audit entry 7: it is bad (a remembered checkpoint proves everything before it)": {Index: 7, Proven: 7, What: "it is bad"},
	}
	for want, tampered := range tests {
		if got := tampered.Error(); got != want {
			t.Errorf("it says %q, not %q", got, want)
		}
	}
}

package audit_test

import (
	"bytes"
	"encoding/json/jsontext"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"example.org/keyserver/internal/audit"
)

func TestAnExportIsReportedAsItIs(t *testing.T) {
	events := story(2500) // several portions
	leaves := link(t, events)
	var seen []audit.Event
	var progress []int64
	report, err := audit.VerifyExport(bytes.NewReader(export(t, leaves, sign(t, leaves))), verifier(t), audit.ExportOptions{
		Remembered: []audit.Checkpoint{checkpointOf(leaves, 2500), checkpointOf(leaves, 1024), checkpointOf(leaves, 0), checkpointOf(leaves, 1024)},
		Each:       func(e audit.Event) error { seen = append(seen, e); return nil },
		Progress:   func(n int64) { progress = append(progress, n) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.Checkpoint != checkpointOf(leaves, 2500) || report.First != start || report.Last != start+2499*40 {
		t.Errorf("reported: %+v", report)
	}
	counts := map[audit.Type]int64{}
	for i, e := range events {
		counts[e.Type]++
		if s := seen[i]; s.Index != int64(i) || s.Type != e.Type || s.Operation != e.Operation {
			t.Fatalf("entry %d was shown as %+v", i, s)
		}
	}
	for typ, n := range counts {
		if report.Counts[typ] != n {
			t.Errorf("%d entries of type %s, not %d", report.Counts[typ], typ, n)
		}
	}
	if len(seen) != 2500 || len(progress) < 2 || progress[len(progress)-1] != 2500 || !slices.IsSorted(progress) {
		t.Errorf("%d entries were shown, progress was %d", len(seen), progress)
	}
}

func TestAnEmptyLogIsExportedAndVerified(t *testing.T) {
	report, err := audit.VerifyExport(bytes.NewReader(export(t, nil, sign(t, nil))), verifier(t), audit.ExportOptions{})
	if err != nil || report.Checkpoint.Size != 0 || report.First != 0 || report.Last != 0 || len(report.Counts) != 0 {
		t.Errorf("reported: %+v (%v)", report, err)
	}
	signed, err := audit.SignCheckpoint(0, audit.Hash{1}, signer(t))
	if err != nil {
		t.Fatal(err)
	}
	wantTampered(t, export(t, nil, signed), audit.ExportOptions{}, -1, 0)
}

func TestLongLeavesAreVerifiedWithinBoundedMemory(t *testing.T) {
	events := story(20)
	for i := range events {
		events[i].Statement = jsontext.Value(`"` + strings.Repeat("x", 300_000) + `"`)
	}
	leaves := link(t, events)
	data := export(t, leaves, sign(t, leaves))
	if _, err := audit.VerifyExport(bytes.NewReader(data), verifier(t), audit.ExportOptions{}); err != nil {
		t.Error(err)
	}
	tooLong := slices.Concat(leaves[0], []byte("\n"), bytes.Repeat([]byte("x"), audit.MaxLeaf+2), []byte("\n"))
	wantTampered(t, tooLong, audit.ExportOptions{}, 1, 0)
	wantTampered(t, bytes.Repeat([]byte("x"), audit.MaxLeaf+1), audit.ExportOptions{}, 0, 0)
}

func TestAnEntryMayBeBeforeTheLastOnlyWhenTheClockWasAccepted(t *testing.T) {
	events := story(6)
	events[3] = audit.Event{Type: audit.ClockAccepted, Clock: &audit.ClockStep{Old: events[2].Time, New: events[2].Time - 1000}}
	for i := 3; i < 6; i++ {
		events[i].Time = events[2].Time - 1000
	}
	leaves := link(t, events)
	if _, err := audit.VerifyExport(bytes.NewReader(export(t, leaves, sign(t, leaves))), verifier(t), audit.ExportOptions{}); err != nil {
		t.Error(err)
	}
	events[5].Time--
	leaves = link(t, events)
	wantTampered(t, export(t, leaves, sign(t, leaves)), audit.ExportOptions{}, 5, 0)
}

func TestErrorsOfTheReaderAndOfTheHookAreNotTampering(t *testing.T) {
	leaves := link(t, story(3))
	data := export(t, leaves, sign(t, leaves))
	broken := errors.New("disk on fire")
	entries := bytes.Index(data, []byte("\n\n")) + 2
	for _, n := range []int{0, 1, 1000, entries, entries + 5, len(data)} {
		r := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken))
		_, err := audit.VerifyExport(r, verifier(t), audit.ExportOptions{})
		if tampered := (*audit.Tampered)(nil); !errors.Is(err, broken) || errors.As(err, &tampered) {
			t.Errorf("reading fails after %d bytes: %v", n, err)
		}
	}
	hook := func(e audit.Event) error {
		if e.Index == 2 {
			return broken
		}
		return nil
	}
	if _, err := audit.VerifyExport(bytes.NewReader(data), verifier(t), audit.ExportOptions{Each: hook}); !errors.Is(err, broken) {
		t.Errorf("the hook fails: %v", err)
	}
}

func TestCheckpointsOfOtherLogsAreNotCompared(t *testing.T) {
	leaves := link(t, story(3))
	data := export(t, leaves, sign(t, leaves))
	other := checkpointOf(leaves, 2)
	other.Origin = "keyserver/other"
	_, err := audit.VerifyExport(bytes.NewReader(data), verifier(t), audit.ExportOptions{Remembered: []audit.Checkpoint{other}})
	if tampered := (*audit.Tampered)(nil); err == nil || errors.As(err, &tampered) {
		t.Errorf("a remembered checkpoint of another log: %v", err)
	}
	c, err := audit.NewChecker("keyserver/test", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(audit.Checkpoint{Origin: "keyserver/other", Root: audit.Tree{}.Root()}); err == nil {
		t.Error("a log was finished with the checkpoint of another")
	}
}

func TestALogIsCheckedEntryByEntry(t *testing.T) {
	leaves := link(t, story(3))
	c, err := audit.NewChecker("keyserver/test", []audit.Checkpoint{checkpointOf(leaves, 2)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leaves {
		if err := c.Leaf(l); err != nil {
			t.Fatal(err)
		}
	}
	if report, err := c.Finish(checkpointOf(leaves, 3)); err != nil || report.Checkpoint.Size != 3 {
		t.Errorf("reported: %+v (%v)", report, err)
	}
}

func TestAnExportIsWrittenWholeOrNotAtAll(t *testing.T) {
	broken := errors.New("disk on fire")
	leaves := link(t, story(30))
	failing := func(yield func([]byte, error) bool) { _ = yield(leaves[0], nil) && yield(nil, broken) }
	if err := audit.WriteExport(io.Discard, failing, nil); !errors.Is(err, broken) || !strings.Contains(err.Error(), "entry 1") {
		t.Errorf("the leaves fail: %v", err)
	}
	for _, bad := range []string{"", "a\nb", "\n"} {
		if err := audit.WriteExport(io.Discard, all([][]byte{[]byte(bad)}), nil); err == nil {
			t.Errorf("%q was written as a line", bad)
		}
	}
	whole := len(export(t, leaves, sign(t, leaves)))
	for _, room := range []int{0, 1, 5000, whole - 1} {
		if err := audit.WriteExport(&disk{room: room}, all(leaves), sign(t, leaves)); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("with room for %d bytes: %v", room, err)
		}
	}
}

// disk has room for some bytes.
type disk struct{ room int }

func (d *disk) Write(b []byte) (int, error) {
	n := min(len(b), d.room)
	d.room -= n
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func FuzzExport(f *testing.F) {
	events := aroundOperations()[2:5] // short ones: the shorter the input, the faster it is changed
	leaves := link(f, events)
	f.Add(bytes.Join(leaves, []byte("\n")))
	f.Add([]byte{})
	f.Add([]byte("\n"))
	f.Add(bytes.Join(leaves[:1], []byte("\n")))
	f.Fuzz(func(t *testing.T, data []byte) {
		v := verifier(t)
		var tampered *audit.Tampered
		if _, err := audit.VerifyExport(bytes.NewReader(data), v, audit.ExportOptions{}); !errors.As(err, &tampered) {
			t.Fatalf("accepted without a signature (%v):\n%s", err, data)
		}
		// Whatever the entries are, let the log's key say that they are the log: what is accepted then must
		// still be a log, and come out again as it went in.
		leaves := bytes.Split(data, []byte("\n"))
		data = slices.Concat(data, []byte("\n\n"), sign(t, leaves))
		var again [][]byte
		report, err := audit.VerifyExport(bytes.NewReader(data), v, audit.ExportOptions{Each: func(e audit.Event) error {
			leaf, err := e.Leaf()
			again = append(again, leaf)
			return err
		}})
		if errors.As(err, &tampered) {
			return
		}
		if err != nil || report.Checkpoint.Root != rootByRFC(leaves) || !bytes.Equal(data, export(t, again, sign(t, again))) {
			t.Fatalf("accepted as %+v (%v):\n%s", report, err, data)
		}
	})
}

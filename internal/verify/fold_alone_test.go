package verify_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/verifytest"
)

// A fold is not fooled by a log of which nobody has checked the chain.
func TestAFoldAloneFindsWhatAnIntactLogCannotHave(t *testing.T) {
	w := verifytest.New(t)
	w.Story()
	events := w.Events()
	for name, change := range map[string]func(e *audit.Event){
		"the order of the log": func(e *audit.Event) { e.Index++ },
		"the events there are": func(e *audit.Event) { e.Version++ },
		"rule 8, I15":          func(e *audit.Event) { e.Time = events[0].Time - 1 },
		"what an event tells":  func(e *audit.Event) { e.Batch = "" },
	} {
		f := verify.NewFold(verifytest.ServerID)
		for i, e := range events {
			if i == 30 {
				change(&e)
			}
			err := f.Add(e)
			var v *verify.Violation
			if i < 30 && err != nil {
				t.Fatal(err)
			}
			if i == 30 && (!errors.As(err, &v) || v.Rule != name || v.Index != e.Index) {
				t.Errorf("%s: reported is %v", name, err)
			}
			if i > 30 && (!errors.As(err, &v) || v.Rule != name) {
				t.Fatalf("after the error %s entry %d is fine: %v", name, i, err)
			}
		}
		if f.Finish() == nil {
			t.Errorf("%s: after the error the log may end", name)
		}
	}
	f := verify.NewFold(verifytest.ServerID)
	if err := f.Add(audit.Event{Version: audit.Version, Type: "tea-made", Batch: "batch"}); err == nil || !strings.Contains(err.Error(), `audit entry 0: an event of type "tea-made" is unknown`) {
		t.Errorf("reported is %v", err)
	}
}

func TestAnEventNobodyWritesYetIsReadAndChangesNothing(t *testing.T) {
	w := verifytest.New(t)
	events := w.Events()
	f := verify.NewFold(verifytest.ServerID)
	for _, e := range events {
		if err := f.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	last := events[len(events)-1]
	if err := f.Add(audit.Event{
		Version: audit.Version, Index: last.Index + 1, Time: last.Time, Batch: last.Batch, Type: audit.IntegrityViolation, Reason: "a row too many",
	}); err != nil {
		t.Error(err)
	}
}

// That a log was tampered with says more than what it tells because of it.
func TestATamperedLogIsReportedBeforeWhatItTells(t *testing.T) {
	w := verifytest.New(t)
	w.Story()
	l := &log{t, w.Events()}
	export := l.export(w.Signer)
	if !bytes.Contains(export, []byte(`"type":"operation-became-approved"`)) {
		t.Fatal("the story is another")
	}
	export = bytes.Replace(export, []byte(`"type":"operation-became-approved"`), []byte(`"type":"operation-exhausted"`), 1)
	_, err := verify.Export(bytes.NewReader(export), w.Verifier, verify.Options{})
	var tampered *audit.Tampered
	if !errors.As(err, &tampered) || tampered.Index != int64(l.find(0, audit.OperationBecameApproved)) {
		t.Errorf("reported is %v", err)
	}
}

func TestAnExportIsComparedWithRememberedCheckpointsAndItsProgressIsTold(t *testing.T) {
	w := verifytest.New(t)
	early := audit.Checkpoint{Origin: verifytest.ServerID, Size: w.DB.Head().Size(), Root: w.DB.Head().Root()}
	w.Story()
	l := &log{t, w.Events()}
	var told int64
	report, err := verify.Export(bytes.NewReader(l.export(w.Signer)), w.Verifier, verify.Options{
		Remembered: []audit.Checkpoint{early}, Progress: func(n int64) { told = n },
	})
	if err != nil || told != int64(len(l.events)) || report.Checkpoint.Size != told || report.Open != 2 || report.Signatures == 0 {
		t.Errorf("reported is %+v (%v) after %d entries", report, err, told)
	}
	l.edit(0, func(e *audit.Event) { e.Reason = "another" })
	_, err = verify.Export(bytes.NewReader(l.export(w.Signer)), w.Verifier, verify.Options{Remembered: []audit.Checkpoint{early}})
	var tampered *audit.Tampered
	if !errors.As(err, &tampered) {
		t.Errorf("reported is %v", err)
	}
}

// What must follow at once does not follow in the same commit, and is not replaced by something else there.
func TestAT01_NothingStandsBetweenAChangeAndWhatFollowsFromIt(t *testing.T) {
	wantRefused(t, map[string]forgery{
		"a refusal": {"rule 9", func(l *log) int {
			return l.tell(l.find(0, audit.OperationBecameApproved), l.events[l.find(0, audit.SignInRefused)], nil)
		}},
		"what follows for another operation": {"rule 9", func(l *log) int {
			met := l.find(0, audit.OperationBecameApproved)
			other := l.find(met+1, audit.OperationBecameApproved)
			l.edit(met, func(e *audit.Event) { e.Operation, e.Digest = l.events[other].Operation, l.events[other].Digest })
			return met
		}},
		"the end of an operation that was never created": {"I11", func(l *log) int {
			expired := l.find(0, audit.OperationExpired)
			l.edit(expired, func(e *audit.Event) { e.Operation = "another" })
			return expired
		}},
		"the end of an operation with another digest": {"I11", func(l *log) int {
			expired := l.find(0, audit.OperationExpired)
			l.edit(expired, func(e *audit.Event) { e.Digest = law.Digest(strings.Repeat("0", 64)) })
			return expired
		}},
		"the result of a sign order that was never accepted": {"I1", func(l *log) int {
			failed := l.find(0, audit.OrderFailed)
			l.edit(failed, func(e *audit.Event) { e.Order = "another" })
			return failed
		}},
	})
}

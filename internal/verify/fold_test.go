package verify_test

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/verify"
	"example.org/keyserver/internal/verify/verifytest"
)

// log is a log that somebody forges who can make it fit together again.
type log struct {
	testing.TB
	events []audit.Event
}

// find is the index of the first event of the type, from an index on, for which all conditions hold.
func (l *log) find(from int, kind audit.Type, conditions ...func(audit.Event) bool) int {
	l.Helper()
	for i := from; i < len(l.events); i++ {
		if l.events[i].Type == kind && !slices.ContainsFunc(conditions, func(ok func(audit.Event) bool) bool { return !ok(l.events[i]) }) {
			return i
		}
	}
	l.Fatalf("the story has no such %s", kind)
	return 0
}

// edit changes one event.
func (l *log) edit(i int, change func(e *audit.Event)) {
	e := l.events[i]
	if e.Actor != nil {
		actor := *e.Actor
		e.Actor = &actor
	}
	change(&e)
	l.events[i] = e
}

// tell inserts an event that is like another, but for what is changed, at the time and in the batch of the
// one before it.
func (l *log) tell(at int, like audit.Event, change func(e *audit.Event)) int {
	l.events = slices.Insert(l.events, at, like)
	l.edit(at, func(e *audit.Event) {
		e.Time, e.Batch = l.events[at-1].Time, l.events[at-1].Batch
		if change != nil {
			change(e)
		}
	})
	return at
}

func (l *log) remove(i int) { l.events = slices.Delete(l.events, i, i+1) }

// restate changes what an operation says of itself, with its digest wherever that stands.
func (l *log) restate(id law.OperationID, change func(s *law.Statement)) {
	l.Helper()
	var digest law.Digest
	for i := range l.events {
		if l.events[i].Operation != id {
			continue
		}
		l.edit(i, func(e *audit.Event) {
			if e.Type == audit.OperationCreated {
				s, err := law.ParseStatement(e.Statement)
				if err != nil {
					l.Fatal(err)
				}
				change(&s)
				e.Statement, digest = s.Canonical(), s.Digest()
			}
			if e.Digest != "" {
				e.Digest = digest
			}
		})
	}
}

// by makes somebody else the actor.
func by(who law.SubjectID) func(*audit.Event) {
	return func(e *audit.Event) {
		e.Actor = &audit.Actor{Subject: who, Issuer: "https://people.test", Sub: "sub of " + string(who)}
	}
}

// export is the log as an export, all of it made anew so that it fits together.
func (l *log) export(s audit.Signer) []byte {
	l.Helper()
	var tree audit.Tree
	var leaves [][]byte
	for i, e := range l.events {
		e.Index, e.Previous = int64(i), tree.Previous()
		leaf, err := e.Leaf()
		if err != nil {
			l.Fatal(err)
		}
		leaves = append(leaves, leaf)
		tree, _ = tree.Append(leaf)
	}
	signed, err := audit.SignCheckpoint(tree.Size(), tree.Root(), s)
	if err != nil {
		l.Fatal(err)
	}
	var out bytes.Buffer
	if err := audit.WriteExport(&out, all(leaves), signed); err != nil {
		l.Fatal(err)
	}
	return out.Bytes()
}

func all(leaves [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, leaf := range leaves {
			if !yield(leaf, nil) {
				return
			}
		}
	}
}

// forgery is one way to tell what is not so. It returns the index of the entry that must be named.
type forgery struct {
	rule  string // that must be named
	forge func(l *log) int
}

// wantRefused wants every forgery to be found, at its entry and for its rule.
func wantRefused(t *testing.T, forgeries map[string]forgery) {
	t.Helper()
	w := verifytest.New(t)
	w.Story()
	events := w.Events()
	if _, err := verify.Export(bytes.NewReader((&log{t, events}).export(w.Signer)), w.Verifier, verify.Options{}); err != nil {
		t.Fatalf("the log as it was: %v", err)
	}
	for name, f := range forgeries {
		t.Run(name, func(t *testing.T) {
			l := &log{t, slices.Clone(events)}
			at := f.forge(l)
			report, err := verify.Export(bytes.NewReader(l.export(w.Signer)), w.Verifier, verify.Options{})
			var v *verify.Violation
			if !errors.As(err, &v) || v.Index != int64(at) || !strings.Contains(v.Rule, f.rule) {
				t.Errorf("reported is %v; must be entry %d, %s", err, at, f.rule)
			}
			if report.Operations != 0 || report.Counts != nil {
				t.Errorf("a forged log is reported as %+v", report)
			}
			t.Log(err)
		})
	}
}

// Conditions for find.

func of(id law.OperationID) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Operation == id }
}

func onKey(id law.KeyID) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Key == id }
}

func use(n, of int) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Use == n && e.Of == of }
}

func bySubject(who law.SubjectID) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Actor != nil && e.Actor.Subject == who }
}

func byClock(e audit.Event) bool { return e.Reason == "an operator accepted a clock that went back" }

func byServer(e audit.Event) bool { return e.Actor == nil }

// says is a condition on the statement of an operation.
func says(text string) func(audit.Event) bool {
	return func(e audit.Event) bool { return strings.Contains(string(e.Statement), text) }
}

// quorum is where the story has an operation that needs two people: created, approved twice, and so on.
func (l *log) quorum() (created int, id law.OperationID) {
	created = l.find(0, audit.OperationCreated, says(`"keyid":"fw-two"`))
	return created, l.events[created].Operation
}

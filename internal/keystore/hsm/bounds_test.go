package hsm

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// bounded is a process that only counts ticks.
func bounded() *process {
	return &process{waiting: map[uint64]*waiting{}, tick: 100 * time.Millisecond}
}

func (p *process) waitFor(t *testing.T, r Request, bound time.Duration) uint64 {
	t.Helper()
	if _, err := p.enlist(&r, bound, func() {}); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func TestACallIsLateAfterItsBoundAndNotBefore(t *testing.T) {
	p := bounded()
	p.waitFor(t, Request{Sign: &Sign{}}, 250*time.Millisecond)
	for i := range 3 { // the first tick may come at once
		if late := p.late(); late != nil {
			t.Fatalf("after %d ticks: %v", i+1, late)
		}
	}
	if late, is := errors.AsType[*hung](p.late()); !is || late.verb != "sign" || late.bound != 250*time.Millisecond {
		t.Errorf("it is not late: %v", late)
	}
}

func TestOthersAreNotLateWhileTheTokenMakesAKeyPair(t *testing.T) {
	p := bounded()
	p.waitFor(t, Request{Sign: &Sign{}}, 100*time.Millisecond)
	making := p.waitFor(t, Request{Generate: &Generate{}}, time.Minute)
	p.waitFor(t, Request{Ready: &Ready{}}, 100*time.Millisecond)
	for range 100 {
		if late := p.late(); late != nil {
			t.Fatal(late)
		}
	}
	if err := p.take(Answer{ID: making, Refusal: &Refusal{Code: CodeFailed}}); err != nil {
		t.Fatal(err)
	}
	if first, second := p.late(), p.late(); first != nil || second == nil {
		t.Errorf("once it is made: %v, %v", first, second)
	}
}

func TestAnAnswerThatNobodyAskedForIsTheEnd(t *testing.T) {
	p := bounded()
	id := p.waitFor(t, Request{Ready: &Ready{}}, time.Second)
	if err := p.take(Answer{ID: id + 1, Ready: &Ready{}}); err == nil {
		t.Error("it is taken")
	}
	if err := p.take(Answer{ID: id, Ready: &Ready{}}); err != nil {
		t.Error(err)
	}
	if err := p.take(Answer{ID: id, Ready: &Ready{}}); err == nil {
		t.Error("it is taken twice")
	}
}

func TestAWorkerWhoseTokenIsGoneAnswersWhatItHasAndNoMore(t *testing.T) {
	p := bounded()
	one, two := p.waitFor(t, Request{Sign: &Sign{}}, time.Second), p.waitFor(t, Request{Sign: &Sign{}}, time.Second)
	if err := p.take(Answer{ID: one, Refusal: &Refusal{CodeGone, "the cable is out"}}); err != nil || p.usable() {
		t.Errorf("it is usable, or at its end: %v", err)
	}
	if err := p.take(Answer{ID: two, Signature: []byte{1}}); err == nil || err.Error() != "the cable is out" {
		t.Errorf("after the last answer: %v", err)
	}
}

func TestOnlyTheFirstLinesOfAWorkerAreLogged(t *testing.T) {
	var got []string
	l := &lines{log: slog.New(slog.NewTextHandler(writer(func(p []byte) { got = append(got, string(p)) }), nil))}
	for i := range 100 {
		if n, err := fmt.Fprintf(l, "line %d\nand %s", i, string(make([]byte, 3000))); err != nil || n == 0 {
			t.Fatal(err)
		}
	}
	if len(got) != maxLines {
		t.Errorf("it logs %d lines", len(got))
	}
	for _, line := range got {
		if len(line) > 5*maxLine {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

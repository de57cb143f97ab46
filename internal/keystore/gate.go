package keystore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// ErrBusy says that a keystore has as many calls running and waiting as it may.
var ErrBusy = errors.New("too many calls are running and waiting; try again later")

// Panic is a panic in a keystore, made an error.
type Panic struct {
	Value any
	Stack []byte // where it happened
}

// Error says what the panic said.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// gate lets a limited number of calls through at the same time and has a limited number wait.
type gate struct {
	inside  chan struct{}
	waiting atomic.Int64
	queue   int64
}

func newGate(l Limits) *gate {
	return &gate{inside: make(chan struct{}, l.Concurrent), queue: int64(l.Queue)}
}

func (g *gate) enter(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	select {
	case g.inside <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return ErrBusy
	}
	select {
	case g.inside <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a turn: %w", context.Cause(ctx))
	}
}

func (g *gate) leave() { <-g.inside }

type answer[T any] struct {
	value T
	err   error
}

// call runs fn inside the gate. When the context ends first, fn is left behind: it stays inside the gate
// until it returns, and what it returns then is dropped.
func call[T any](ctx context.Context, g *gate, fn func() (T, error)) (T, error) {
	var none T
	if err := g.enter(ctx); err != nil {
		return none, err
	}
	answers := make(chan answer[T], 1)
	go func() {
		a := answer[T]{err: errors.New("the call ended without an answer")} // runtime.Goexit
		defer func() {
			if v := recover(); v != nil {
				a = answer[T]{err: &Panic{v, debug.Stack()}}
			}
			g.leave()
			answers <- a
		}()
		a.value, a.err = fn()
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, fmt.Errorf("waiting for an answer: %w", context.Cause(ctx))
	}
}

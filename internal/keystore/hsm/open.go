package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.org/keyserver/internal/keystore"
)

// current returns a worker that has opened the token, starting one if need be. Several calls wait for one
// start; a call that goes away does not end it.
func (k *Keystore) current(ctx context.Context) (*process, error) {
	k.mu.Lock()
	o, err := k.startIfNeeded()
	w := k.worker
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if o == nil {
		return w, nil
	}
	select {
	case <-o.done:
		return o.worker, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the worker to start: %w", context.Cause(ctx))
	}
}

// startIfNeeded returns the start to wait for, nil if there is a worker. The mutex is held.
func (k *Keystore) startIfNeeded() (*opening, error) {
	switch {
	case k.closed:
		return nil, keystore.ErrClosed
	case k.opening != nil:
		return k.opening, nil
	case k.worker != nil && k.worker.usable():
		return nil, nil
	case k.refused != nil:
		return nil, k.refused
	}
	if k.worker != nil {
		k.settle()
	}
	if k.pause != nil {
		select {
		case <-k.pause:
			k.pause = nil
		default:
			return nil, fmt.Errorf("the worker is started again in a moment; the last one: %w", k.last)
		}
	}
	k.opening = &opening{done: make(chan struct{})}
	go k.start(k.opening)
	return k.opening, nil
}

// settle parts with a worker that is of no more use. If nothing ever came of it, the next one waits a while.
func (k *Keystore) settle() {
	w := k.worker
	k.worker = nil
	w.mu.Lock()
	served, why := w.served, w.over
	if why == nil {
		why = w.retired
	}
	w.mu.Unlock()
	if served {
		k.failures, k.last = 0, nil
		return
	}
	k.failed(why)
}

// failed notes a start of which nothing came. The mutex is held.
func (k *Keystore) failed(why error) {
	k.last = why
	k.pause = time.After(min(shortestPause<<min(k.failures, 10), longestPause))
	k.failures++
}

// start starts one worker and has it open the token.
func (k *Keystore) start(o *opening) {
	worker, opened, err := k.open()
	k.mu.Lock()
	defer k.mu.Unlock()
	defer close(o.done)
	k.opening = nil
	if err == nil && k.closed {
		worker.fail(keystore.ErrClosed)
	}
	o.worker, o.err = worker, err
	if err != nil {
		k.failed(err)
		return
	}
	k.worker, k.opened = worker, opened
	t := opened.Token
	k.options.Log.Info("keystore opened", slog.String("token", t.Label), slog.String("manufacturer", t.Manufacturer), slog.String("model", t.Model),
		slog.String("serial", t.Serial), slog.String("library", t.Library))
}

func (k *Keystore) open() (*process, Opened, error) {
	pin, err := k.options.PIN()
	defer clear(pin)
	if err != nil {
		return nil, Opened{}, fmt.Errorf("reading the PIN: %w", err)
	}
	o := Open{Protocol, k.options.Module, k.options.Parameters, k.options.Token, pin, k.options.Sessions}
	if err := o.check(); err != nil {
		return nil, Opened{}, err
	}
	w, err := start(k.options)
	if err != nil {
		return nil, Opened{}, err
	}
	a, err := w.ask(context.Background(), Request{Open: &o}, k.options.OpenTimeout, func() {})
	if err == nil {
		err = a.Refusal.error()
	}
	if err == nil && a.Opened == nil {
		err = errors.New("the worker answers something else than what it opened")
	}
	if err != nil {
		err = fmt.Errorf("opening token %q: %w", k.options.Token, err)
		w.fail(err)
		if a.Refusal != nil && a.Refusal.Code == CodePIN {
			k.refusePIN(err)
		}
		return nil, Opened{}, err
	}
	w.mu.Lock()
	w.served = false // nothing that was asked for yet
	w.mu.Unlock()
	return w, *a.Opened, nil
}

// refusePIN remembers that the PIN is wrong. Tried again and again it would lock the token.
func (k *Keystore) refusePIN(why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused = why
}

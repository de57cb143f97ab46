package keystoretest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// Counting is a keystore that passes every call on to another and remembers each call of Sign, whatever
// comes of it: it is what a test believes when the question is how often the keystore was asked. On
// request it does harm.
type Counting struct {
	keystore.Keystore

	mu    sync.Mutex
	calls []law.Permit
	hooks Hooks
}

// Hooks are called around Sign, after the call has been counted. Those that are nil are left out.
type Hooks struct {
	// Before runs first. If it gives an error, that is the answer and the other keystore is not asked.
	Before func(context.Context, law.Permit) error
	// After may change the answer.
	After func(law.Permit, keystore.Unverified, error) (keystore.Unverified, error)
	// Ready, if it gives an error, answers for Ready.
	Ready func(context.Context) error
}

// Count wraps a keystore.
func Count(k keystore.Keystore) *Counting { return &Counting{Keystore: k} }

// Sign counts and signs.
func (c *Counting) Sign(ctx context.Context, p law.Permit) (keystore.Unverified, error) {
	c.mu.Lock()
	c.calls = append(c.calls, p)
	h := c.hooks
	c.mu.Unlock()
	if h.Before != nil {
		if err := h.Before(ctx, p); err != nil {
			return keystore.Unverified{}, err
		}
	}
	signature, err := c.Keystore.Sign(ctx, p)
	if h.After != nil {
		return h.After(p, signature, err)
	}
	return signature, err
}

// Ready asks the hook, then the other keystore.
func (c *Counting) Ready(ctx context.Context) error {
	c.mu.Lock()
	ready := c.hooks.Ready
	c.mu.Unlock()
	if ready != nil {
		if err := ready(ctx); err != nil {
			return err
		}
	}
	return c.Keystore.Ready(ctx)
}

// Signs is how often Sign was called for the key.
func (c *Counting) Signs(id law.KeyID) int {
	n := 0
	for _, p := range c.Calls() {
		if p.Key().ID == id {
			n++
		}
	}
	return n
}

// Calls lists the permits of all calls of Sign so far, in order.
func (c *Counting) Calls() []law.Permit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]law.Permit(nil), c.calls...)
}

// Hook replaces the hooks, for calls that begin from now on. The zero Hooks do no harm.
func (c *Counting) Hook(h Hooks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks = h
}

// Fail makes Sign and Ready fail with the error, before the other keystore is asked.
func (c *Counting) Fail(err error) {
	c.Hook(Hooks{
		Before: func(context.Context, law.Permit) error { return err },
		Ready:  func(context.Context) error { return err },
	})
}

// FailAfter makes Sign fail with the error after the other keystore has signed: the signature is made
// and lost.
func (c *Counting) FailAfter(err error) {
	c.Hook(Hooks{After: func(law.Permit, keystore.Unverified, error) (keystore.Unverified, error) {
		return keystore.Unverified{}, err
	}})
}

// Corrupt makes Sign flip the last bit of each signature.
func (c *Counting) Corrupt() {
	c.Hook(Hooks{After: func(p law.Permit, u keystore.Unverified, err error) (keystore.Unverified, error) {
		if err != nil {
			return u, err
		}
		signature, err := u.Release(p)
		if err != nil {
			return u, err
		}
		bad := bytes.Clone(signature)
		bad[len(bad)-1] ^= 1
		return keystore.NewUnverified(bad), nil
	}})
}

// Swap makes every two calls of Sign get each other's signature: the first of the two waits for the second.
func (c *Counting) Swap() {
	type offer struct {
		signature keystore.Unverified
		inReturn  chan keystore.Unverified
	}
	offers := make(chan offer, 1)
	c.Hook(Hooks{After: func(_ law.Permit, mine keystore.Unverified, err error) (keystore.Unverified, error) {
		if err != nil {
			return mine, err
		}
		inReturn := make(chan keystore.Unverified, 1)
		select {
		case offers <- offer{mine, inReturn}:
			return <-inReturn, nil
		case o := <-offers:
			o.inReturn <- mine
			return o.signature, nil
		}
	}})
}

// Hang makes every call of Sign hang, whatever becomes of its context, until it is released.
func (c *Counting) Hang(t testing.TB) *Hanging {
	h := &Hanging{entered: make(chan struct{}), released: make(chan struct{})}
	t.Cleanup(h.Release)
	c.Hook(Hooks{Before: func(context.Context, law.Permit) error {
		select {
		case h.entered <- struct{}{}:
			<-h.released
		case <-h.released:
		}
		return nil
	}})
	return h
}

// Hanging are calls of Sign that hang.
type Hanging struct {
	entered  chan struct{}
	released chan struct{}
	once     sync.Once
}

// Wait waits until n more calls hang. It fails when the context ends first.
func (h *Hanging) Wait(ctx context.Context, n int) error {
	for range n {
		select {
		case <-h.entered:
		case <-ctx.Done():
			return errors.Join(errors.New("waiting for calls to hang"), context.Cause(ctx))
		}
	}
	return nil
}

// Release lets all calls go on, also later ones, to sign as if nothing had been.
func (h *Hanging) Release() { h.once.Do(func() { close(h.released) }) }

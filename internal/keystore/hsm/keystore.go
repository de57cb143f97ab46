package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/law"
)

// Keystore is one token of an HSM. Make it with [New].
type Keystore struct {
	options Options
	slots   chan struct{} // two for each session that signs: what the worker has, it does now or next
	prefix  string        // of every handle
	stop    context.CancelFunc
	watched chan struct{}

	mu       sync.Mutex
	worker   *process // nil: there is none
	opened   Opened
	opening  *opening         // nil: nobody is at it
	refused  error            // the PIN was refused: it is not tried again until the server is restarted
	failures int              // starts in a row of which nothing came
	pause    <-chan time.Time // no start before it fires; nil: at once
	last     error            // why the last start came to nothing
	closed   bool
}

// opening is a start of a worker that several calls may wait for.
type opening struct {
	done   chan struct{}
	worker *process
	err    error
}

var _ keystore.Keystore = (*Keystore)(nil)

// The pauses between starts that come to nothing: doubled each time, up to the longest, which bounds how long
// an HSM that is back is not noticed.
const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 2 * time.Second
)

// New returns the keystore. The worker starts with the first call that needs it; whether the token is there
// and takes the PIN is said by Ready. A server must not end because a PIN is wrong: started again and again
// it would lock the token.
func New(o Options) (*Keystore, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("keystore in token %q: %w", o.Token, err)
	}
	o.Environment = maps.Clone(o.Environment)
	ctx, stop := context.WithCancel(context.Background())
	k := &Keystore{options: o, slots: make(chan struct{}, 2*o.Sessions), prefix: strings.TrimSuffix(Handle(o.Token, nil), handleEnd), stop: stop, watched: make(chan struct{})}
	go k.watch(ctx)
	return k, nil
}

// watch looks after the token now and then, so that one that is ill is noticed, and one that is back used,
// before somebody needs it.
func (k *Keystore) watch(ctx context.Context) {
	defer close(k.watched)
	tick := time.NewTicker(k.options.Keepalive)
	defer tick.Stop()
	var ill error
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch err := k.Ready(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil && (ill == nil || ill.Error() != err.Error()):
			k.options.Log.Error("keystore is ill", slog.Any("error", err))
			ill = err
		case err == nil && ill != nil:
			k.options.Log.Info("keystore is well again")
			ill = nil
		}
	}
}

// Generate makes a key pair in the token.
func (k *Keystore) Generate(ctx context.Context, id law.KeyID, version int, a law.Algorithm) (keystore.KeyPair, error) {
	g := Generate{id, version, a}
	if err := g.Check(); err != nil {
		return keystore.KeyPair{}, err
	}
	return k.pair(ctx, Request{Generate: &g}, k.options.GenerateTimeout)
}

// Adopt returns the key pair of the token that a PKCS#11 URI means.
func (k *Keystore) Adopt(ctx context.Context, uri string) (keystore.KeyPair, error) {
	if _, err := ParseURI(uri); err != nil {
		return keystore.KeyPair{}, err
	}
	return k.pair(ctx, Request{Adopt: &Adopt{uri}}, k.options.Timeout)
}

// PublicKey returns the public key of a key pair, as it is in the token now.
func (k *Keystore) PublicKey(ctx context.Context, handle string) ([]byte, error) {
	if err := k.known(ctx, handle); err != nil {
		return nil, err
	}
	pair, err := k.pair(ctx, Request{PublicKey: &PublicKey{handle}}, k.options.Timeout)
	return pair.PublicKey, err
}

// Sign signs what the permit says. It waits for a session first; a token that has none free is busy, not ill.
func (k *Keystore) Sign(ctx context.Context, p law.Permit) (keystore.Unverified, error) {
	if err := keystore.CheckPermit(p); err != nil {
		return keystore.Unverified{}, err
	}
	if err := k.known(ctx, p.Key().Handle); err != nil {
		return keystore.Unverified{}, err
	}
	select {
	case k.slots <- struct{}{}:
	case <-ctx.Done():
		return keystore.Unverified{}, fmt.Errorf("waiting for a session: %w", context.Cause(ctx))
	}
	release := func() { <-k.slots }
	in := p.Input()
	r := Sign{Handle: p.Key().Handle, Fingerprint: p.Key().Fingerprint, Hash: in.Hash, Scheme: in.Scheme, Digest: in.Digest, Message: in.Message}
	a, err := k.ask(ctx, Request{Sign: &r}, k.options.Timeout, release)
	if err != nil {
		return keystore.Unverified{}, err
	}
	if len(a.Signature) == 0 {
		return keystore.Unverified{}, errors.New("the worker answers something else than a signature")
	}
	return keystore.NewUnverified(a.Signature), nil
}

// Ready says whether the token could sign now.
func (k *Keystore) Ready(ctx context.Context) error {
	if err := k.usable(ctx); err != nil {
		return err
	}
	a, err := k.ask(ctx, Request{Ready: &Ready{}}, k.options.ReadyTimeout, nil)
	if err == nil && a.Ready == nil {
		err = errors.New("the worker answers something else than whether it is ready")
	}
	return err
}

// Close ends the worker.
func (k *Keystore) Close() error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return keystore.ErrClosed
	}
	k.closed = true
	worker, opening := k.worker, k.opening
	k.mu.Unlock()
	k.stop()
	<-k.watched
	if opening != nil {
		<-opening.done
		worker = opening.worker
	}
	if worker != nil {
		worker.fail(keystore.ErrClosed)
		<-worker.ended
	}
	return nil
}

// Opened says what the token is and can, once a worker has opened it.
func (k *Keystore) Opened(ctx context.Context) (Opened, error) {
	if err := k.Ready(ctx); err != nil {
		return Opened{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.opened, nil
}

// usable says what keeps every call from being made.
func (k *Keystore) usable(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return keystore.ErrClosed
	}
	return context.Cause(ctx)
}

// known says whether there can be a key pair at the handle. The worker reads it to the letter.
func (k *Keystore) known(ctx context.Context, handle string) error {
	if err := k.usable(ctx); err != nil {
		return err
	}
	if !strings.HasPrefix(handle, k.prefix) || !strings.HasSuffix(handle, handleEnd) || len(handle) > maxHandle || !utf8.ValidString(handle) {
		return keystore.ErrNoKeyPair
	}
	return nil
}

func (k *Keystore) pair(ctx context.Context, r Request, bound time.Duration) (keystore.KeyPair, error) {
	if err := k.usable(ctx); err != nil {
		return keystore.KeyPair{}, err
	}
	a, err := k.ask(ctx, r, bound, nil)
	if err != nil {
		return keystore.KeyPair{}, err
	}
	if a.Pair == nil {
		return keystore.KeyPair{}, errors.New("the worker answers something else than a key pair")
	}
	return keystore.KeyPair{Handle: a.Pair.Handle, PublicKey: bytes.Clone(a.Pair.PublicKey), Attributes: &a.Pair.Attributes}, nil
}

// ask asks the worker, starting one if there is none, and makes an error of a refusal. done is called when the
// worker has answered or is gone, which may be after ask returns.
func (k *Keystore) ask(ctx context.Context, r Request, bound time.Duration, done func()) (Answer, error) {
	if done == nil {
		done = func() {}
	}
	w, err := k.current(ctx)
	if err != nil {
		done()
		return Answer{}, err
	}
	a, err := w.ask(ctx, r, bound, done)
	if err != nil {
		return Answer{}, err
	}
	err = a.Refusal.error()
	if a.Refusal != nil && a.Refusal.Code == CodePIN {
		k.refusePIN(err)
	}
	return a, err
}

// error makes an error of a refusal, nil of none.
func (r *Refusal) error() error {
	if r == nil {
		return nil
	}
	for code, meant := range map[Code]error{CodeNoKeyPair: keystore.ErrNoKeyPair, CodeUnfit: keystore.ErrUnfit, CodeExists: keystore.ErrExists} {
		if r.Code != code {
			continue
		}
		if r.Text == meant.Error() {
			return meant
		}
		return fmt.Errorf("%w: %s", meant, strings.TrimPrefix(r.Text, meant.Error()+": "))
	}
	return errors.New(r.Text)
}

// Format prints nothing but the token's label, whatever the verb.
func (k *Keystore) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "keystore in token %q", k.options.Token)
}

// LogValue logs nothing but the token's label.
func (k *Keystore) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

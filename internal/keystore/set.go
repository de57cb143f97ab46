package keystore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"example.org/keyserver/internal/law"
)

// Limits bound what is asked of one keystore.
type Limits struct {
	Timeout    time.Duration // for one signature, waiting included; more than 0 and less than law.AttemptLease
	Concurrent int           // calls at the same time, at least 1; one that hangs is counted until it returns
	Queue      int           // calls that may wait for their turn; 0: none, whoever comes too many gets ErrBusy
}

// DefaultLimits are good for a keystore of which nothing is known.
func DefaultLimits() Limits { return Limits{Timeout: 10 * time.Second, Concurrent: 16, Queue: 256} }

// Member is one configured keystore.
type Member struct {
	Name     string // as keys name it
	Keystore Keystore
	Limits   Limits
}

// Set is all keystores of a server, by name, and the only way to them. Whatever a keystore does (hang,
// panic, answer nonsense), a method of Set returns within its time, and no signature leaves unverified.
type Set struct {
	members map[string]*member
	checker Checker
}

type member struct {
	Member
	signing *gate
	asking  *gate // for everything else, so that a server under load is still ready
}

// NewSet returns the set of these keystores. They belong to it from then on.
func NewSet(members ...Member) (*Set, error) {
	s := &Set{members: map[string]*member{}}
	for _, m := range members {
		_, twice := s.members[m.Name]
		switch {
		case m.Name == "":
			return nil, errors.New("a keystore has no name")
		case m.Keystore == nil:
			return nil, fmt.Errorf("keystore %s is missing", m.Name)
		case twice:
			return nil, fmt.Errorf("keystore %s is named twice", m.Name)
		case m.Limits.Timeout <= 0 || m.Limits.Timeout >= law.AttemptLease:
			return nil, fmt.Errorf("keystore %s: the timeout must be more than 0 and less than %v, not %v", m.Name, law.AttemptLease, m.Limits.Timeout)
		case m.Limits.Concurrent < 1:
			return nil, fmt.Errorf("keystore %s: at least 1 call at the same time must be allowed", m.Name)
		case m.Limits.Queue < 0:
			return nil, fmt.Errorf("keystore %s: the queue cannot be negative", m.Name)
		}
		s.members[m.Name] = &member{m, newGate(m.Limits), newGate(m.Limits)}
	}
	return s, nil
}

// Names lists the keystores.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.members)) }

// Sign makes one signature and verifies it. The error is, or wraps, ErrNoPermit or ErrUnfit (something is
// wrong in this server), *Unavailable (try again later) or *BadSignature (alarm).
func (s *Set) Sign(ctx context.Context, p law.Permit) ([]byte, error) {
	if err := s.checker.CheckPermit(p); err != nil {
		return nil, err
	}
	m, err := s.member(p.Key().Keystore)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.Limits.Timeout)
	defer cancel()
	made, err := call(ctx, m.signing, func() (Unverified, error) { return m.Keystore.Sign(ctx, p) })
	switch {
	case errors.Is(err, ErrUnfit) || errors.Is(err, ErrNoPermit):
		return nil, fmt.Errorf("signing in keystore %s: %w", m.Name, err)
	case err != nil:
		return nil, &Unavailable{m.Name, err}
	}
	signature, err := made.release(&s.checker, p)
	if err != nil {
		return nil, &BadSignature{m.Name, p.Key().ID, p.Key().Fingerprint, err}
	}
	return signature, nil
}

// Generate makes a key pair in the named keystore. It may take as long as the context lasts, since making
// a key pair can take an HSM minutes.
func (s *Set) Generate(ctx context.Context, keystore string, id law.KeyID, version int, a law.Algorithm) (KeyPair, error) {
	m, err := s.member(keystore)
	if err != nil {
		return KeyPair{}, err
	}
	pair, err := call(ctx, m.asking, func() (KeyPair, error) { return m.Keystore.Generate(ctx, id, version, a) })
	if err != nil {
		return KeyPair{}, fmt.Errorf("generating version %d of key %s in keystore %s: %w", version, id, m.Name, err)
	}
	got, err := AlgorithmOf(pair.PublicKey)
	switch {
	case err != nil:
		return KeyPair{}, fmt.Errorf("generating version %d of key %s in keystore %s: %w", version, id, m.Name, err)
	case got != a || pair.Handle == "":
		return KeyPair{}, fmt.Errorf("generating version %d of key %s in keystore %s: asked for %s, got %s at handle %q", version, id, m.Name, a, got, pair.Handle)
	}
	return pair, nil
}

// Adopt returns the key pair that the named keystore has already and that the name means.
func (s *Set) Adopt(ctx context.Context, keystore, name string) (KeyPair, error) {
	m, err := s.member(keystore)
	if err != nil {
		return KeyPair{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.Limits.Timeout)
	defer cancel()
	pair, err := call(ctx, m.asking, func() (KeyPair, error) { return m.Keystore.Adopt(ctx, name) })
	if err == nil && pair.Handle == "" {
		err = errors.New("the keystore does not say where it is")
	}
	if err == nil {
		_, err = AlgorithmOf(pair.PublicKey)
	}
	if err != nil {
		return KeyPair{}, fmt.Errorf("adopting %s in keystore %s: %w", name, m.Name, err)
	}
	return pair, nil
}

// PublicKey returns the public key at a handle of the named keystore.
func (s *Set) PublicKey(ctx context.Context, keystore, handle string) ([]byte, error) {
	m, err := s.member(keystore)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, m.Limits.Timeout)
	defer cancel()
	key, err := call(ctx, m.asking, func() ([]byte, error) { return m.Keystore.PublicKey(ctx, handle) })
	if err != nil {
		return nil, &Unavailable{m.Name, err}
	}
	return key, nil
}

// Ready says which keystores could not sign now, by name, and why: an *Unavailable each. It is empty if all could.
func (s *Set) Ready(ctx context.Context) map[string]error {
	return s.each(func(m *member) error {
		ctx, cancel := context.WithTimeout(ctx, m.Limits.Timeout)
		defer cancel()
		_, err := call(ctx, m.asking, func() (struct{}, error) { return struct{}{}, m.Keystore.Ready(ctx) })
		return err
	})
}

// Close closes every keystore. One that hangs is left behind.
func (s *Set) Close() error {
	faults := s.each(func(m *member) error {
		ctx, cancel := context.WithTimeout(context.Background(), m.Limits.Timeout)
		defer cancel()
		_, err := call(ctx, newGate(m.Limits), func() (struct{}, error) { return struct{}{}, m.Keystore.Close() })
		return err
	})
	var err error
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		err = errors.Join(err, faults[name])
	}
	return err
}

// each does the same to all members at the same time, so that one that hangs takes no time from another. It
// returns what went wrong with which.
func (s *Set) each(do func(*member) error) map[string]error {
	names := s.Names()
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { errs[i] = do(s.members[name]) })
	}
	all.Wait()
	faults := map[string]error{}
	for i, err := range errs {
		if err != nil {
			faults[names[i]] = &Unavailable{names[i], err}
		}
	}
	return faults
}

func (s *Set) member(name string) (*member, error) {
	m, known := s.members[name]
	if !known {
		return nil, &Unavailable{name, errors.New("no such keystore is configured")}
	}
	return m, nil
}

// Unavailable says that a keystore gave no answer. Another attempt may succeed.
type Unavailable struct {
	Keystore string
	Err      error // ErrBusy, ErrNoKeyPair, context.DeadlineExceeded, *Panic, or what the keystore said
}

// Error says which keystore and why.
func (e *Unavailable) Error() string { return fmt.Sprintf("keystore %s: %v", e.Keystore, e.Err) }

// Unwrap returns the reason.
func (e *Unavailable) Unwrap() error { return e.Err }

// BadSignature says that a keystore made a signature that does not verify. The signature itself is not
// in it (see [Unverified.Format]). It is a reason for an alarm: the keystore is broken or not the one we think it is.
type BadSignature struct {
	Keystore    string
	Key         law.KeyID
	Fingerprint string // of the key pair that should have signed
	Err         error
}

// Error says which keystore and key.
func (e *BadSignature) Error() string {
	return fmt.Sprintf("keystore %s made a bad signature with key %s: %v", e.Keystore, e.Key, e.Err)
}

// Unwrap returns what is wrong with the signature.
func (e *BadSignature) Unwrap() error { return e.Err }

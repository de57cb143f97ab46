package keystore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
)

// newSet returns a set with one keystore, main, that is counted.
func newSet(t testing.TB, k keystore.Keystore, l keystore.Limits) (*keystore.Set, *keystoretest.Counting) {
	t.Helper()
	counting := keystoretest.Count(k)
	s, err := keystore.NewSet(keystore.Member{Name: "main", Keystore: counting, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	return s, counting
}

func p256Permit(t testing.TB, k keystore.Keystore) law.Permit {
	t.Helper()
	return keystoretest.Permit(t, newKey(t, k, "fw-prod", law.P256), keystoretest.Input(law.SHA256, law.ECDSA, message))
}

func unavailable(t testing.TB, err, want error) {
	t.Helper()
	if why, ok := errors.AsType[*keystore.Unavailable](err); !ok || why.Keystore != "main" || !errors.Is(err, want) {
		t.Errorf("got error %v (%T), want keystore main to be unavailable because of: %v", err, err, want)
	}
}

// CR-03
func TestCR03_ASignatureThatDoesNotVerifyIsNeverReleased(t *testing.T) {
	everySignature(t, func(t *testing.T, k keystore.Keystore, p law.Permit) {
		s, counting := newSet(t, k, keystore.DefaultLimits())
		if signature, err := s.Sign(t.Context(), p); err != nil || keystore.Verify(p.Key().PublicKey, p.Input(), signature) != nil {
			t.Fatalf("a good keystore: got signature %x, error %v", signature, err)
		}
		counting.Corrupt()
		signature, err := s.Sign(t.Context(), p)
		bad, ok := errors.AsType[*keystore.BadSignature](err)
		if !ok || signature != nil {
			t.Fatalf("a corrupted signature: got signature %x, error %v", signature, err)
		}
		if bad.Keystore != "main" || bad.Key != p.Key().ID || bad.Fingerprint != p.Key().Fingerprint {
			t.Errorf("the alarm is about something else: %#v", bad)
		}
		if got, want := err.Error(), "keystore main made a bad signature with key "+string(p.Key().ID)+": this is no valid "; !strings.HasPrefix(got, want) {
			t.Errorf("the alarm says %q, not %q", got, want)
		}
		if errors.As(err, new(*keystore.Unavailable)) {
			t.Errorf("an alarm asks for another attempt: %v", err)
		}
		if got := counting.Signs(p.Key().ID); got != 2 {
			t.Errorf("the keystore was asked %d times, not 2", got)
		}
	})
}

func TestSignaturesThatAKeystoreMixesUpAreNeverReleased(t *testing.T) {
	k := newSoftware(t)
	key, other := newKey(t, k, "one", law.P256), newKey(t, k, "two", law.P256)
	a, b := keystoretest.Input(law.SHA256, law.ECDSA, message), keystoretest.Input(law.SHA256, law.ECDSA, []byte("other"))
	for what, permits := range map[string][2]law.Permit{
		"of two keys":   {keystoretest.Permit(t, key, a), keystoretest.Permit(t, other, a)},
		"of two inputs": {keystoretest.Permit(t, key, a), keystoretest.Permit(t, key, b)},
	} {
		s, counting := newSet(t, k, keystore.DefaultLimits())
		counting.Swap()
		var both sync.WaitGroup
		for _, p := range permits {
			both.Go(func() {
				if signature, err := s.Sign(t.Context(), p); !errors.As(err, new(*keystore.BadSignature)) || signature != nil {
					t.Errorf("signatures %s: got %x, error %v", what, signature, err)
				}
			})
		}
		both.Wait()
	}
}

func TestWhatHasNoPermitNeverReachesAKeystore(t *testing.T) {
	k := newSoftware(t)
	s, counting := newSet(t, k, keystore.DefaultLimits())
	key, other := newKey(t, k, "one", law.P256), newKey(t, k, "two", law.P256)
	wrong := key
	wrong.Fingerprint = other.Fingerprint
	for what, c := range map[string]struct {
		permit law.Permit
		want   error
	}{
		"the zero permit":                  {law.Permit{}, keystore.ErrNoPermit},
		"a key with another's fingerprint": {keystoretest.Permit(t, wrong, keystoretest.Input(law.SHA256, law.ECDSA, message)), keystore.ErrUnfit},
	} {
		if signature, err := s.Sign(t.Context(), c.permit); !errors.Is(err, c.want) || signature != nil {
			t.Errorf("%s: got %x, error %v", what, signature, err)
		}
	}
	if got := len(counting.Calls()); got != 0 {
		t.Errorf("the keystore was asked %d times", got)
	}
}

func TestAKeyPairThatIsNotTheOneInThePermitIsNoReasonToTryAgain(t *testing.T) {
	k := newSoftware(t)
	s, _ := newSet(t, k, keystore.DefaultLimits())
	key, other := newKey(t, k, "one", law.P256), newKey(t, k, "two", law.P256)
	key.Handle = other.Handle
	_, err := s.Sign(t.Context(), keystoretest.Permit(t, key, keystoretest.Input(law.SHA256, law.ECDSA, message)))
	if !errors.Is(err, keystore.ErrUnfit) || errors.As(err, new(*keystore.Unavailable)) {
		t.Errorf("got error %v", err)
	}
}

func TestAKeystoreThatFailsIsUnavailable(t *testing.T) {
	k := newSoftware(t)
	p := p256Permit(t, k)
	s, counting := newSet(t, k, keystore.DefaultLimits())
	broken := errors.New("token removed")

	counting.Fail(broken)
	_, err := s.Sign(t.Context(), p)
	unavailable(t, err, broken)
	unavailable(t, s.Ready(t.Context())["main"], broken)

	counting.FailAfter(broken)
	signature, err := s.Sign(t.Context(), p)
	unavailable(t, err, broken)
	if signature != nil {
		t.Errorf("a lost signature is there: %x", signature)
	}

	counting.Hook(keystoretest.Hooks{})
	if err := s.Ready(t.Context())["main"]; err != nil {
		t.Errorf("not ready after the fault: %v", err)
	}
	if _, err := s.Sign(t.Context(), p); err != nil {
		t.Errorf("signing after the fault: %v", err)
	}
	if got := counting.Signs("fw-prod"); got != 3 {
		t.Errorf("the keystore was asked %d times, not 3", got)
	}
}

func TestWhatNobodyConfiguredIsUnavailable(t *testing.T) {
	k := newSoftware(t)
	s, _ := newSet(t, k, keystore.DefaultLimits())
	key := newKey(t, k, "one", law.P256)
	lost := key
	lost.Handle = "nobody.1"
	_, err := s.Sign(t.Context(), keystoretest.Permit(t, lost, keystoretest.Input(law.SHA256, law.ECDSA, message)))
	unavailable(t, err, keystore.ErrNoKeyPair)

	key.Keystore = "hsm"
	_, err = s.Sign(t.Context(), keystoretest.Permit(t, key, keystoretest.Input(law.SHA256, law.ECDSA, message)))
	_, generateErr := s.Generate(t.Context(), "hsm", "one", 1, law.P256)
	_, publicErr := s.PublicKey(t.Context(), "hsm", "one.1")
	for _, err := range []error{err, generateErr, publicErr} {
		if why, ok := errors.AsType[*keystore.Unavailable](err); !ok || why.Keystore != "hsm" {
			t.Errorf("a keystore that is not configured: %v", err)
		}
	}
}

func TestAPanicInAKeystoreIsAnError(t *testing.T) {
	k := newSoftware(t)
	p := p256Permit(t, k)
	s, counting := newSet(t, k, keystore.DefaultLimits())
	counting.Hook(keystoretest.Hooks{Before: func(context.Context, law.Permit) error { panic("vendor code") }})
	_, err := s.Sign(t.Context(), p)
	why, ok := errors.AsType[*keystore.Panic](err)
	unavailable(t, err, why)
	if !ok || why.Value != "vendor code" || !bytes.Contains(why.Stack, []byte("set_test.go")) {
		t.Fatalf("got error %v", err)
	}
	if got := err.Error(); got != "keystore main: panic: vendor code" {
		t.Errorf("it says %q", got)
	}
	counting.Hook(keystoretest.Hooks{Before: func(context.Context, law.Permit) error { runtime.Goexit(); return nil }})
	if _, err = s.Sign(t.Context(), p); err == nil || !strings.Contains(err.Error(), "without an answer") {
		t.Errorf("a call that ends its goroutine: %v", err)
	}
	counting.Hook(keystoretest.Hooks{})
	if _, err := s.Sign(t.Context(), p); err != nil {
		t.Errorf("signing after the panic: %v", err)
	}
}

func TestAKeystoreThatHangsIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newSoftware(t)
		p := p256Permit(t, k)
		s, counting := newSet(t, k, keystore.Limits{Timeout: 5 * time.Second, Concurrent: 2, Queue: 0})
		hanging := counting.Hang(t)
		for range 2 {
			began := time.Now()
			signature, err := s.Sign(t.Context(), p)
			unavailable(t, err, context.DeadlineExceeded)
			if took := time.Since(began); took != 5*time.Second || signature != nil {
				t.Errorf("after %v got signature %x", took, signature)
			}
		}

		// Both still hang, so nobody else gets in, and at once.
		began := time.Now()
		_, err := s.Sign(t.Context(), p)
		unavailable(t, err, keystore.ErrBusy)
		if took := time.Since(began); took != 0 {
			t.Errorf("was refused after %v", took)
		}
		if got := counting.Signs("fw-prod"); got != 2 {
			t.Errorf("the keystore was asked %d times, not 2", got)
		}
		if err := s.Ready(t.Context())["main"]; err != nil { // what it says of itself is asked for all the same
			t.Errorf("asking whether it is ready: %v", err)
		}

		hanging.Release()
		synctest.Wait()
		if _, err := s.Sign(t.Context(), p); err != nil {
			t.Errorf("signing after the calls have come back: %v", err)
		}
	})
}

func TestCallersWaitTheirTurnAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newSoftware(t)
		p := p256Permit(t, k)
		s, counting := newSet(t, k, keystore.Limits{Timeout: 5 * time.Second, Concurrent: 1, Queue: 1})
		hanging := counting.Hang(t)
		answers := make(chan error, 2)
		ask := func() { _, err := s.Sign(t.Context(), p); answers <- err }
		go ask()
		if err := hanging.Wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		go ask() // waits
		synctest.Wait()
		_, err := s.Sign(t.Context(), p)
		unavailable(t, err, keystore.ErrBusy)

		hanging.Release()
		for range 2 {
			if err := <-answers; err != nil {
				t.Errorf("one that got in or waited: %v", err)
			}
		}

		hanging = counting.Hang(t)
		go ask()
		if err := hanging.Wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = s.Sign(t.Context(), p) // waits in vain
		unavailable(t, err, context.DeadlineExceeded)
		if took := time.Since(began); took != 5*time.Second || !strings.Contains(err.Error(), "waiting for a turn") {
			t.Errorf("after %v: %v", took, err)
		}
		unavailable(t, <-answers, context.DeadlineExceeded)
	})
}

func TestACallerThatGoesAwayIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newSoftware(t)
		p := p256Permit(t, k)
		s, counting := newSet(t, k, keystore.DefaultLimits())
		hanging := counting.Hang(t)
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan error, 1)
		go func() { _, err := s.Sign(ctx, p); answer <- err }()
		if err := hanging.Wait(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		cancel()
		unavailable(t, <-answer, context.Canceled)
		_, err := s.Sign(ctx, p)
		unavailable(t, err, context.Canceled)
		if got := counting.Signs("fw-prod"); got != 1 {
			t.Errorf("the keystore was asked %d times, not 1", got)
		}
	})
}

// stuck is a keystore whose other methods hang.
type stuck struct {
	keystore.Keystore
	released chan struct{}
}

func (s stuck) Ready(context.Context) error { <-s.released; return nil }
func (s stuck) Close() error                { <-s.released; return nil }
func (s stuck) PublicKey(context.Context, string) ([]byte, error) {
	<-s.released
	return nil, nil
}

func TestAKeystoreThatHangsDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		defer close(released)
		limits := keystore.Limits{Timeout: 3 * time.Second, Concurrent: 4}
		s, err := keystore.NewSet(
			keystore.Member{Name: "main", Keystore: stuck{nil, released}, Limits: limits},
			keystore.Member{Name: "second", Keystore: stuck{nil, released}, Limits: limits},
			keystore.Member{Name: "software", Keystore: newSoftware(t), Limits: limits},
		)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(s.Names()); got != "[main second software]" {
			t.Errorf("the keystores are %s", got)
		}
		ask := func(what string, do func() error) error {
			began := time.Now()
			err := do()
			unavailable(t, err, context.DeadlineExceeded)
			if took := time.Since(began); took != 3*time.Second {
				t.Errorf("%s: took %v", what, took)
			}
			return err
		}
		_ = ask("public key", func() error { _, err := s.PublicKey(t.Context(), "main", "one.1"); return err })
		for _, all := range []struct {
			what string
			do   func() error
		}{{"ready", func() error {
			ill := s.Ready(t.Context())
			return errors.Join(ill["main"], ill["second"], ill["software"])
		}}, {"close", s.Close}} {
			if err := ask(all.what, all.do); err == nil || (!strings.Contains(err.Error(), "second") || strings.Contains(err.Error(), "software")) {
				t.Errorf("%s: %v", all.what, err)
			}
		}
	})
}

// liar gives the same key pair for every wish.
type liar struct {
	keystore.Keystore
	pair keystore.KeyPair
}

func (l liar) Generate(context.Context, law.KeyID, int, law.Algorithm) (keystore.KeyPair, error) {
	return l.pair, nil
}

func TestAGeneratedKeyPairIsWhatWasAskedFor(t *testing.T) {
	k := newSoftware(t)
	s, _ := newSet(t, k, keystore.DefaultLimits())
	pair, err := s.Generate(t.Context(), "main", "one", 1, law.P256)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.PublicKey(t.Context(), "main", pair.Handle); err != nil || !bytes.Equal(got, pair.PublicKey) {
		t.Errorf("its public key: %x, %v", got, err)
	}
	if _, err := s.Generate(t.Context(), "main", "one", 1, law.P256); !errors.Is(err, keystore.ErrExists) {
		t.Errorf("generating it again: %v", err)
	}
	for what, lie := range map[string]keystore.KeyPair{
		"a key of another algorithm": {Handle: "x", PublicKey: newKey(t, k, "ed", law.Ed25519).PublicKey},
		"no public key":              {Handle: "x"},
		"no handle":                  {PublicKey: pair.PublicKey},
	} {
		s, _ := newSet(t, liar{k, lie}, keystore.DefaultLimits())
		if got, err := s.Generate(t.Context(), "main", "two", 1, law.P256); err == nil {
			t.Errorf("%s: accepted at handle %q", what, got.Handle)
		}
	}
}

func TestASetWithoutSenseIsRefused(t *testing.T) {
	k := newSoftware(t)
	good := keystore.DefaultLimits()
	for want, members := range map[string][]keystore.Member{
		"no name":         {{"", k, good}},
		"missing":         {{"main", nil, good}},
		"named twice":     {{"main", k, good}, {"main", k, good}},
		"timeout":         {{"main", k, keystore.Limits{Concurrent: 1}}},
		"less than 30s":   {{"main", k, keystore.Limits{Timeout: law.AttemptLease, Concurrent: 1}}},
		"at least 1 call": {{"main", k, keystore.Limits{Timeout: time.Second}}},
		"negative":        {{"main", k, keystore.Limits{Timeout: time.Second, Concurrent: 1, Queue: -1}}},
	} {
		if _, err := keystore.NewSet(members...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
	empty, err := keystore.NewSet()
	if err != nil || len(empty.Ready(t.Context())) > 0 || empty.Close() != nil {
		t.Errorf("the empty set: %v", err)
	}
	if _, err := empty.Sign(t.Context(), p256Permit(t, k)); !errors.As(err, new(*keystore.Unavailable)) {
		t.Errorf("the empty set signs: %v", err)
	}
}

func TestAClosedSetSignsNothing(t *testing.T) {
	k := newSoftware(t)
	p := p256Permit(t, k)
	s, _ := newSet(t, k, keystore.DefaultLimits())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Sign(t.Context(), p)
	unavailable(t, err, keystore.ErrClosed)
	unavailable(t, s.Close(), keystore.ErrClosed)
}

// A public key that was read before must not lend its algorithm or fingerprint to another.
func TestARememberedPublicKeyStandsForItsOwnBytesOnly(t *testing.T) {
	k := newSoftware(t)
	one, other := newKey(t, k, "fw-one", law.P256), newKey(t, k, "fw-other", law.P256)
	in := keystoretest.Input(law.SHA256, law.ECDSA, message)
	var c keystore.Checker
	for range 2 {
		for _, key := range []law.Key{one, other} {
			if err := c.CheckPermit(keystoretest.Permit(t, key, in)); err != nil {
				t.Fatalf("a good permit of key %s: %v", key.ID, err)
			}
		}
	}
	swapped := one
	swapped.PublicKey = other.PublicKey
	misnamed := one
	misnamed.Algorithm = law.P384
	for what, key := range map[string]law.Key{"another's public key": swapped, "another algorithm": misnamed} {
		if err := c.CheckPermit(keystoretest.Permit(t, key, in)); !errors.Is(err, keystore.ErrUnfit) {
			t.Errorf("%s: got %v, want ErrUnfit", what, err)
		}
	}
	if err := c.CheckPermit(law.Permit{}); !errors.Is(err, keystore.ErrNoPermit) {
		t.Errorf("the zero permit: got %v, want ErrNoPermit", err)
	}
}

func BenchmarkSetSign(b *testing.B) {
	k := newSoftware(b)
	s, err := keystore.NewSet(keystore.Member{Name: "main", Keystore: k, Limits: keystore.DefaultLimits()})
	if err != nil {
		b.Fatal(err)
	}
	p := p256Permit(b, k)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sign(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
}

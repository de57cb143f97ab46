package keystoretest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
)

func newCounting(t *testing.T) (*keystoretest.Counting, law.Key) {
	t.Helper()
	k, err := software.Create(t.TempDir()+"/keys", []byte("correct horse battery staple"), software.Options{Iterations: software.MinIterations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	pair, err := k.Generate(t.Context(), "fw", 1, law.P256)
	if err != nil {
		t.Fatal(err)
	}
	return keystoretest.Count(k), keystoretest.Key("main", "fw", law.P256, pair)
}

func TestAPermitSaysWhatWasAskedFor(t *testing.T) {
	_, key := newCounting(t)
	key.Type, key.State, key.Requirement, key.ArtifactsNeeded = law.CA, law.KeyDisabled, law.Require(2), true
	in := keystoretest.Input(law.SHA384, law.ECDSA, []byte("message"))
	p := keystoretest.Permit(t, key, in)
	if !p.Granted() || p.Key().ID != "fw" || p.Key().Handle != key.Handle || p.Input().Hash != law.SHA384 || !slices.Equal(p.Input().Digest, in.Digest) {
		t.Errorf("got permit %+v", p)
	}
}

func TestCountingCountsEveryCallWhateverComesOfIt(t *testing.T) {
	c, key := newCounting(t)
	p := keystoretest.Permit(t, key, keystoretest.Input(law.SHA256, law.ECDSA, []byte("message")))
	broken := errors.New("broken")
	for i, harm := range []func(){
		func() { c.Hook(keystoretest.Hooks{}) },
		func() { c.Fail(broken) },
		func() { c.FailAfter(broken) },
		c.Corrupt,
	} {
		harm()
		_, _ = c.Sign(t.Context(), p)
		if c.Signs("fw") != i+1 || c.Signs("other") != 0 || len(c.Calls()) != i+1 || c.Calls()[i].Order() != p.Order() {
			t.Errorf("after %d calls: counted %d", i+1, c.Signs("fw"))
		}
	}
	lost := key
	lost.Handle = "nobody.1"
	for _, harm := range []func(){c.Corrupt, c.Swap} {
		harm()
		if _, err := c.Sign(t.Context(), keystoretest.Permit(t, lost, p.Input())); !errors.Is(err, keystore.ErrNoKeyPair) {
			t.Errorf("harm to a signature that was never made: %v", err)
		}
	}
}

func TestCallsHangUntilTheyAreReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, key := newCounting(t)
		p := keystoretest.Permit(t, key, keystoretest.Input(law.SHA256, law.ECDSA, []byte("message")))
		hanging := c.Hang(t)
		answers := make(chan error, 3)
		for range cap(answers) {
			go func() { _, err := c.Sign(context.Background(), p); answers <- err }()
		}
		if err := hanging.Wait(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(answers) != 0 {
			t.Error("a call that hangs has an answer")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := hanging.Wait(ctx, 2); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting for more calls than there are: %v", err)
		}
		hanging.Release()
		hanging.Release()
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Errorf("after the release: %v", err)
			}
		}
	})
}

// recorder is a test that may fail without the real one failing.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper()                      {}
func (r *recorder) Errorf(f string, args ...any) { r.failure = fmt.Sprintf(f, args...) }
func (r *recorder) Fatalf(f string, args ...any) { r.Errorf(f, args...); panic(r) }

func fails(t *testing.T, check func(testing.TB)) bool {
	r := &recorder{TB: t}
	func() {
		defer func() {
			if v := recover(); v != nil && v != any(r) {
				panic(v)
			}
		}()
		check(r)
	}()
	return r.failure != ""
}

func TestTheCheckOfDERSeesWhatIsNotMinimal(t *testing.T) {
	long := slices.Concat([]byte{0x30, 0x81, 0x84, 2, 0x40, 1}, make([]byte, 63), []byte{2, 0x40, 1}, make([]byte, 63))
	for what, c := range map[string]struct {
		der  []byte
		good bool
	}{
		"minimal":                      {[]byte{0x30, 6, 2, 1, 1, 2, 1, 1}, true},
		"minimal with a sign byte":     {[]byte{0x30, 7, 2, 2, 0, 0x80, 2, 1, 1}, true},
		"minimal and long":             {long, true},
		"nothing":                      {nil, false},
		"a set":                        {[]byte{0x31, 6, 2, 1, 1, 2, 1, 1}, false},
		"cut off":                      {[]byte{0x30, 6, 2, 1, 1, 2, 1}, false},
		"one number":                   {[]byte{0x30, 3, 2, 1, 1}, false},
		"a long length":                {[]byte{0x30, 0x81, 6, 2, 1, 1, 2, 1, 1}, false},
		"a very long length":           {[]byte{0x30, 0x82, 0, 6, 2, 1, 1, 2, 1, 1}, false},
		"bytes after it":               {[]byte{0x30, 6, 2, 1, 1, 2, 1, 1, 0}, false},
		"bytes after s":                {[]byte{0x30, 8, 2, 1, 1, 2, 1, 1, 5, 0}, false},
		"r = 0":                        {[]byte{0x30, 6, 2, 1, 0, 2, 1, 1}, false},
		"empty s":                      {[]byte{0x30, 5, 2, 1, 1, 2, 0}, false},
		"negative s":                   {[]byte{0x30, 6, 2, 1, 1, 2, 1, 0x80}, false},
		"r with a zero in front of it": {[]byte{0x30, 7, 2, 2, 0, 1, 2, 1, 1}, false},
	} {
		if fails(t, func(t testing.TB) { keystoretest.MinimalDER(t, c.der) }) == c.good {
			t.Errorf("%s: %x", what, c.der)
		}
	}
}

func TestTheCheckOfDigestInfoSeesAnotherHash(t *testing.T) {
	c, _ := newCounting(t)
	pair, err := c.Generate(t.Context(), "rsa", 1, law.RSA2048)
	if err != nil {
		t.Fatal(err)
	}
	in := keystoretest.Input(law.SHA256, law.PKCS1v15, []byte("message"))
	p := keystoretest.Permit(t, keystoretest.Key("main", "rsa", law.RSA2048, pair), in)
	made, err := c.Sign(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := made.Release(p)
	if err != nil {
		t.Fatal(err)
	}
	for h, good := range map[law.Hash]bool{law.SHA256: true, law.SHA384: false} {
		other := law.Input{Hash: h, Scheme: in.Scheme, Digest: in.Digest}
		if fails(t, func(t testing.TB) { keystoretest.OneDigestInfo(t, pair.PublicKey, other, signature) }) == good {
			t.Errorf("with %s", h)
		}
	}
}

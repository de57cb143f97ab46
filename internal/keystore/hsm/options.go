package hsm

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"
)

// Options say which token a keystore is, and how patient it is.
type Options struct {
	Worker      string                 // absolute path of keyserver-hsm
	Module      string                 // absolute path of the PKCS#11 library
	Parameters  string                 // for the library when it is initialised; most want none
	Token       string                 // label of the token, at most 32 bytes
	PIN         func() ([]byte, error) // reads the PIN of the token's user; called whenever a worker starts, and what it returns is cleared
	Environment map[string]string      // of the worker, whole: the library sees nothing of the server's
	Sessions    int                    // signatures at the same time, 1 to 256; the token must have two sessions more; 0 means DefaultSessions

	// The bounds of one call, from when the worker gets it. When one is exceeded the worker is killed, with
	// all that it is doing, and replaced. 0 means the default.
	Timeout         time.Duration // of a signature, a public key or an adoption; default 10 s
	GenerateTimeout time.Duration // default 5 min: some tokens take as long for RSA
	ReadyTimeout    time.Duration // of a look whether the token could sign; default 4 s
	OpenTimeout     time.Duration // of loading the library and logging in; default 8 s

	Keepalive time.Duration // how often a token that nobody uses is looked after; 0 means 5 s

	Log *slog.Logger // required
}

// DefaultSessions are good for most HSMs.
const DefaultSessions = 8

func (o Options) withDefaults() Options {
	if o.Sessions == 0 {
		o.Sessions = DefaultSessions
	}
	for _, d := range []struct {
		of *time.Duration
		is time.Duration
	}{
		{&o.Timeout, 10 * time.Second}, {&o.GenerateTimeout, 5 * time.Minute}, {&o.ReadyTimeout, 4 * time.Second},
		{&o.OpenTimeout, 8 * time.Second}, {&o.Keepalive, 5 * time.Second},
	} {
		if *d.of == 0 {
			*d.of = d.is
		}
	}
	return o
}

// tick is how finely the bounds are watched: a call ends at most two ticks after its bound.
func (o Options) tick() time.Duration {
	least := min(o.Timeout, o.GenerateTimeout, o.ReadyTimeout, o.OpenTimeout)
	return max(min(least/20, 100*time.Millisecond), time.Millisecond)
}

// check says what is missing or cannot be.
func (o Options) check() error {
	switch {
	case !filepath.IsAbs(o.Worker):
		return fmt.Errorf("the worker %q must be an absolute path", o.Worker)
	case o.PIN == nil || o.Log == nil:
		return errors.New("the way to the PIN or the log is missing")
	case o.Timeout < 0 || o.GenerateTimeout < 0 || o.ReadyTimeout < 0 || o.OpenTimeout < 0 || o.Keepalive < 0:
		return errors.New("a bound is negative")
	}
	return Open{Protocol, o.Module, o.Parameters, o.Token, PIN("?"), o.Sessions}.check()
}

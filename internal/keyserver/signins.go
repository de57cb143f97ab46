package keyserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// SignIn is how somebody signed in with a browser. Its cookie is sealed by the pages; what is stored of it is its event.
type SignIn struct {
	ID  string    // UUIDv7, a new one for each sign-in, also when [Keyserver.SignedIn] has failed
	At  time.Time // when the issuer authenticated the person: the ID token's auth_time
	ACR string    // how strongly, as the issuer says; empty: it does not say
	AMR []string  // by which methods, likewise
}

// What an issuer may say of a sign-in. It goes into the audit log, where it stays.
const (
	maxMethods = 16
	maxMethod  = 255 // bytes; also of the ACR
)

func (s SignIn) check() error {
	if err := checkSignIn(s.ID); err != nil {
		return err
	}
	odd := func(text string) bool { return len(text) > maxMethod || !utf8.ValidString(text) }
	if odd(s.ACR) || slices.ContainsFunc(s.AMR, odd) || len(s.AMR) > maxMethods {
		return &Malformed{fmt.Sprintf("the identity provider may say by up to %d methods (amr) how you signed in there, each, like the acr, in up to %d bytes of UTF-8; ask its operator", maxMethods, maxMethod)}
	}
	if s.At.UnixMilli() <= 0 {
		return &Malformed{"the identity provider does not say when you signed in there (auth_time); ask its operator"}
	}
	return nil
}

// checkSignIn checks an id, which the pages have made.
func checkSignIn(id string) error {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.Version() != 7 || parsed.String() != id {
		return fmt.Errorf("sign-in %q: its id is no UUIDv7", id)
	}
	return nil
}

// SignedIn records that somebody signed in with a browser. The sign-in counts only when it is recorded.
func (k *Keyserver) SignedIn(ctx context.Context, c Caller, s SignIn) error {
	if err := s.check(); err != nil {
		return err
	}
	told := &audit.SignIn{ID: s.ID, At: s.At.UnixMilli(), ACR: s.ACR}
	if len(s.AMR) > 0 {
		told.AMR = s.AMR
	}
	_, err := update(ctx, k, func(tx *store.Tx) (struct{}, error) {
		// Only an enabled subject is ever authenticated: one that is not was disabled since.
		if who, known := tx.Facts().Subject(c.Subject); !known || !who.Enabled || c.stale(tx.Reader) {
			return struct{}{}, ErrStale
		}
		return struct{}{}, tx.Append(c.signIn(audit.SignedIn, told))
	})
	return err
}

func (c Caller) signIn(of audit.Type, s *audit.SignIn) audit.Event {
	return audit.Event{Type: of, Actor: c.actor(), Request: c.Request, Route: c.Route, SignIn: s}
}

// SignOut ends a sign-in everywhere; until is when it would have ended by itself. Twice is once. The caller is who signed
// in, by issuer and sub, whatever subject that is by now, if any: who was disabled signs out too.
func (k *Keyserver) SignOut(ctx context.Context, c Caller, id string, until time.Time) error {
	if err := checkSignIn(id); err != nil {
		return err
	}
	if until.UnixMilli() <= 0 {
		return fmt.Errorf("ending sign-in %s: it is not said when it would have ended by itself", id)
	}
	made, err := look(ctx, k, func(r *store.Reader) (audit.Event, error) { // what the log tells once it tells for ever
		e, known, err := r.SignIn(id)
		if err == nil && (!known || e.Actor.Issuer != c.Issuer || e.Actor.Sub != c.Sub) {
			err = errNoSignIn
		}
		return e, err
	})
	if err != nil {
		return err
	}
	c.Subject = made.Actor.Subject
	_, err = store.UpdateFirst(ctx, k.db, func(tx *store.Tx) (struct{}, error) {
		ended, err := tx.SignInEnded(id)
		if err != nil || ended {
			return struct{}{}, err
		}
		return struct{}{}, tx.EndSignIn(id, until, c.signIn(audit.SignedOut, &audit.SignIn{ID: id, Until: until.UnixMilli()}))
	})
	return unavailable(err, "")
}

// errNoSignIn refuses what could not be told of in the log: the database was put back to before the sign-in.
var errNoSignIn = &law.Refusal{Kind: law.NotFound, Reason: "the audit log knows of no such sign-in of yours; if the database was restored from a backup, have the key of the pages' cookies replaced, which ends all sign-ins"}

// RefuseSignIn counts a refused sign-in, and returns the error that refused it. Who is known to the issuer and may speak
// for no subject is an audit event of its own (docs/law.md, Audit); take measures all of one issuer together, since some
// issuers let anybody have as many names as he likes.
func (k *Keyserver) RefuseSignIn(ctx context.Context, c Caller, err error, take func(who string) error) error {
	e, is := errors.AsType[*identity.Error](err)
	if !is {
		return err
	}
	switch e.Kind {
	case identity.Rejected:
		k.SignInRefused(c.Address, string(e.Reason))
	case identity.NotAllowed:
		if err := take("issuer " + e.Who.Issuer); err != nil {
			return err
		}
		c.Caller = law.Caller{Principal: e.Who}
		return k.Refused(ctx, c, &law.Refusal{Kind: law.Forbidden, Reason: e.Sentence})
	}
	return err
}

// FactsFor returns the world as it is now, as [Keyserver.Facts] does, and whether the sign-in has been ended, for every
// request of the pages.
func (k *Keyserver) FactsFor(ctx context.Context, signIn string) (law.Facts, bool, error) {
	ended := true
	f, err := look(ctx, k, func(r *store.Reader) (law.Facts, error) {
		var err error
		ended, err = r.SignInEnded(signIn)
		return r.Facts(), err
	})
	if err != nil {
		return law.Facts{}, true, err // who does not look at the error signs nobody in
	}
	k.recent.Store(&f)
	return f, ended, nil
}

// Changed returns a channel that is closed when anything has changed on any server, when this one is stopping, or when
// the context ends, and a function to be called when it is no longer needed. To miss nothing, ask for it first and look
// then; look whether the server [Keyserver.IsStopping] before waiting again. Now and then it is closed for nothing.
func (k *Keyserver) Changed(ctx context.Context) (changed <-chan struct{}, stop func()) {
	anything, unwatch := k.db.WatchAny()
	ctx, cancel := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		defer unwatch()
		select {
		case <-anything:
		case <-k.stopping:
		case <-ctx.Done():
		}
	}()
	return told, cancel
}

// IsStopping says whether the server is to stop, and nobody should wait for anything any more.
func (k *Keyserver) IsStopping() bool {
	select {
	case <-k.stopping:
		return true
	default:
		return false
	}
}

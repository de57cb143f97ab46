package keyserver_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// newSignIn is a sign-in of a moment ago.
func newSignIn(k *testkit.Kit) keyserver.SignIn {
	return keyserver.SignIn{ID: uuid.Must(uuid.NewV7()).String(), At: k.Clock.Now().Add(-time.Second), ACR: "mfa", AMR: []string{"pwd", "hwk"}}
}

func signIn(k *testkit.Kit, who law.SubjectID) keyserver.SignIn {
	k.Helper()
	s := newSignIn(k)
	if err := k.Keyserver.SignedIn(k.Context(), k.Caller(who), s); err != nil {
		k.Fatal(err)
	}
	return s
}

func signOut(k *testkit.Kit, c keyserver.Caller, s keyserver.SignIn) error {
	return k.Keyserver.SignOut(k.Context(), c, s.ID, s.At.Add(8*time.Hour))
}

func expectEnded(k *testkit.Kit, s keyserver.SignIn, want bool) {
	k.Helper()
	facts, ended, err := k.Keyserver.FactsFor(k.Context(), s.ID)
	if ended != want || err != nil {
		k.Errorf("sign-in %s: ended is %v, must be %v (%v)", s.ID, ended, want, err)
	}
	if now, err := k.Keyserver.Facts(k.Context()); err != nil || facts.Making() != now.Making() {
		k.Errorf("the facts are not those of now (%v)", err)
	}
}

func TestASignInAndItsEndAreEvents(t *testing.T) {
	k := testkit.New(t)
	s, other := signIn(k, "alice"), signIn(k, "alice")
	expectEnded(k, s, false)
	for range 2 { // twice is once
		if err := signOut(k, k.Caller("alice"), s); err != nil {
			t.Fatal(err)
		}
	}
	expectEnded(k, s, true)
	expectEnded(k, other, false)
	in, out := k.EventsOf("", audit.SignedIn), k.EventsOf("", audit.SignedOut)
	if len(in) != 2 || len(out) != 1 {
		t.Fatalf("%d sign-ins and %d sign-outs are in the log", len(in), len(out))
	}
	if want := (&audit.SignIn{ID: s.ID, At: s.At.UnixMilli(), ACR: "mfa", AMR: []string{"pwd", "hwk"}}); !reflect.DeepEqual(in[0].SignIn, want) {
		t.Errorf("signed in is %+v", in[0].SignIn)
	}
	if want := (&audit.SignIn{ID: s.ID, Until: s.At.Add(8 * time.Hour).UnixMilli()}); !reflect.DeepEqual(out[0].SignIn, want) {
		t.Errorf("signed out is %+v", out[0].SignIn)
	}
	for _, e := range append(in, out...) {
		if e.Actor == nil || e.Actor.Subject != "alice" || e.Actor.Issuer != k.IdP.URL || e.Actor.Sub != "alice" || e.Actor.Address == "" || e.Request == "" || e.Route == "" {
			t.Errorf("%s does not say who it was: %+v", e.Type, e)
		}
	}
	k.Check()
	k.Restart()
	expectEnded(k, s, true)
	k.Clock.Step(100 * testkit.Day) // it stays ended, whatever the clock does
	k.Clock.Set(-99 * testkit.Day)
	k.AcceptClock()
	expectEnded(k, s, true)
	k.Check()
}

func TestWhoWasDisabledSignsOutAndNotIn(t *testing.T) {
	k := testkit.New(t)
	s, c := signIn(k, "alice"), k.Caller("alice")
	if _, err := k.Keyserver.DisableSubject(k.Context(), k.Caller("ada"), "alice", "left the company"); err != nil {
		t.Fatal(err)
	}
	if err := k.Keyserver.SignedIn(k.Context(), c, newSignIn(k)); !errors.Is(err, keyserver.ErrStale) {
		t.Errorf("who was disabled signs in: %v", err)
	}
	c.Subject = "" // as who is disabled is seen by whoever looks now
	if err := signOut(k, c, s); err != nil {
		t.Error(err)
	}
	expectEnded(k, s, true)
	if n := k.Count("", audit.SignedIn); n != 1 {
		t.Errorf("%d sign-ins are in the log", n)
	}
	k.Check()
}

func TestNobodyEndsTheSignInOfAnotherOrOneThatNeverWas(t *testing.T) {
	k := testkit.New(t)
	s := signIn(k, "alice")
	testkit.Refused(t, "the sign-in of another", signOut(k, k.Caller("bob"), s), law.NotFound)
	testkit.Refused(t, "a sign-in that never was", signOut(k, k.Caller("alice"), newSignIn(k)), law.NotFound)
	expectEnded(k, s, false)
	k.Check()
}

func TestASignInThatMakesNoSenseIsNotRecorded(t *testing.T) {
	k := testkit.New(t)
	size := k.LogSize()
	for name, spoil := range map[string]func(*keyserver.SignIn){
		"no id":             func(s *keyserver.SignIn) { s.ID = "" },
		"another kind":      func(s *keyserver.SignIn) { s.ID = uuid.NewString() },
		"in upper case":     func(s *keyserver.SignIn) { s.ID = strings.ToUpper(s.ID[:35]) + "A" },
		"no time":           func(s *keyserver.SignIn) { s.At = time.Time{} },
		"a long acr":        func(s *keyserver.SignIn) { s.ACR = strings.Repeat("x", 256) },
		"an acr not UTF-8":  func(s *keyserver.SignIn) { s.ACR = "\xff" },
		"a long method":     func(s *keyserver.SignIn) { s.AMR = []string{strings.Repeat("x", 256)} },
		"many methods":      func(s *keyserver.SignIn) { s.AMR = make([]string, 17) },
		"a method no UTF-8": func(s *keyserver.SignIn) { s.AMR = []string{"\xff"} },
	} {
		s := newSignIn(k)
		spoil(&s)
		if err := k.Keyserver.SignedIn(k.Context(), k.Caller("alice"), s); err == nil {
			t.Errorf("%s: it was recorded", name)
		}
	}
	if err := k.Keyserver.SignOut(k.Context(), k.Caller("alice"), newSignIn(k).ID, time.Time{}); err == nil {
		t.Error("a sign-in is ended that does not say when it would have ended")
	}
	if err := k.Keyserver.SignOut(k.Context(), k.Caller("alice"), "%", k.Clock.Now()); err == nil {
		t.Error("a sign-in is ended that has no id")
	}
	least := newSignIn(k)
	least.ACR, least.AMR = "", []string{}
	if err := k.Keyserver.SignedIn(k.Context(), k.Caller("alice"), least); err != nil || k.LogSize() != size+1 {
		t.Errorf("the log has grown by %d (%v)", k.LogSize()-size, err)
	}
	k.Check()
}

func TestASignInIsEndedOnceHoweverManyWantThat(t *testing.T) {
	k := testkit.New(t)
	s := signIn(k, "alice")
	testkit.Race(20, func(int) {
		if err := signOut(k, k.Caller("alice"), s); err != nil {
			t.Error(err)
		}
	})
	if n := k.Count("", audit.SignedOut); n != 1 {
		t.Errorf("it was ended %d times", n)
	}
	k.Check()
}

func TestAStaleCallerDoesNotSignIn(t *testing.T) {
	k := testkit.New(t)
	facts, err := k.Keyserver.Facts(k.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := k.Caller("alice")
	c.By = facts.Making()
	if _, err := k.Keyserver.DisableSubject(k.Context(), k.Caller("ada"), "bob", "left the company"); err != nil {
		t.Fatal(err)
	}
	if err := k.Keyserver.SignedIn(k.Context(), c, newSignIn(k)); !errors.Is(err, keyserver.ErrStale) {
		t.Errorf("the error is %v", err)
	}
	k.Check()
}

func TestWhenTheDatabaseIsGoneASignInCountsAsEnded(t *testing.T) {
	k := testkit.New(t)
	s := signIn(k, "alice")
	gone, cancel := context.WithCancel(k.Context())
	cancel()
	if _, ended, err := k.Keyserver.FactsFor(gone, s.ID); !ended || err == nil {
		t.Errorf("ended is %v (%v)", ended, err)
	}
}

func TestASignInThatIsEndedOnOneServerIsEndedOnAllAndTheyAreTold(t *testing.T) {
	kits := several(t, 2)
	s := signIn(kits[0], "alice")
	expectEnded(kits[1], s, false)
	changed, stop := kits[1].Keyserver.Changed(t.Context())
	defer stop()
	if err := signOut(kits[0], kits[0].Caller("alice"), s); err != nil {
		t.Fatal(err)
	}
	expectTold(t, changed)
	expectEnded(kits[1], s, true)
	if err := signOut(kits[1], kits[1].Caller("alice"), s); err != nil {
		t.Error(err)
	}
	kits[0].Check()
}

func expectTold(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(told):
		t.Fatal("it is not told")
	}
}

func TestWhoWatchesOnOneServerIsToldOfWhateverHappensOnAnother(t *testing.T) {
	kits := several(t, 2)
	watch := func(do func()) {
		t.Helper()
		changed, stop := kits[0].Keyserver.Changed(t.Context())
		defer stop()
		do()
		expectTold(t, changed)
	}
	var o keyserver.Operation
	watch(func() { o = kits[1].Create(testkit.Ask("fw-one")) })
	watch(func() { kits[1].Approve(o, "alice") })
	watch(func() { kits[1].ActiveSession(nil) })
	watch(func() { cutListeners(kits[0]) })
	watch(func() { signIn(kits[1], "alice") })
}

func TestWatchingEndsWithAChangeItsUseOrTheServer(t *testing.T) {
	k := testkit.New(t)
	k.Create(testkit.Ask("fw-one")) // whatever is kept open is open now
	before := goleak.IgnoreCurrent()
	for name, end := range map[string]func(cancel, stop func()){
		"a change":     func(_, _ func()) { k.Create(testkit.Ask("fw-one")) },
		"the caller":   func(cancel, _ func()) { cancel() },
		"its own stop": func(_, stop func()) { stop() },
		"the server":   func(_, _ func()) { k.Keyserver.Stopping() }, // which may come first: then it fires at once
	} {
		ctx, cancel := context.WithCancel(k.Context())
		changed, stop := k.Keyserver.Changed(ctx)
		end(cancel, stop)
		select {
		case <-changed:
		case <-time.After(told):
			t.Errorf("%s does not end it", name)
		}
		stop()
		cancel()
	}
	if !k.Keyserver.IsStopping() {
		t.Error("the server is not said to be stopping")
	}
	goleak.VerifyNone(t, before)
}

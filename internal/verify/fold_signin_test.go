package verify_test

import (
	"strings"
	"testing"

	"example.org/keyserver/internal/audit"
)

// ofSignIn changes what an event says of its sign-in.
func ofSignIn(change func(*audit.SignIn)) func(*audit.Event) {
	return func(e *audit.Event) {
		s := *e.SignIn
		change(&s)
		e.SignIn = &s
	}
}

func TestAForgedSignInIsFound(t *testing.T) {
	const another = "0192f0c1-0000-7000-8000-00000000ffff"
	wantRefused(t, map[string]forgery{
		"of nobody who is known": retold("section 6", by("mallory"), audit.SignedIn),
		"of who is disabled": {"section 6", func(l *log) int {
			i := l.find(0, audit.SignedIn, bySubject("eve"))
			out := l.find(i, audit.SignedOut, bySubject("eve"))
			return l.tell(out+1, l.events[i], ofSignIn(func(s *audit.SignIn) { s.ID = another }))
		}},
		"made twice": {"section 6", func(l *log) int {
			i := l.find(0, audit.SignedIn)
			return l.tell(i+1, l.events[i], nil)
		}},
		"under an id that is none":     retold("section 6", ofSignIn(func(s *audit.SignIn) { s.ID = strings.ToUpper(s.ID) + "A" }), audit.SignedIn),
		"under a random id":            retold("section 6", ofSignIn(func(s *audit.SignIn) { s.ID = "0192f0c1-0000-4000-8000-00000000ffff" }), audit.SignedIn),
		"without its time":             retold("section 6", ofSignIn(func(s *audit.SignIn) { s.At = 0 }), audit.SignedIn),
		"with its end":                 retold("section 6", ofSignIn(func(s *audit.SignIn) { s.Until = 1 }), audit.SignedIn),
		"without what it is":           retold("what an event tells", func(e *audit.Event) { e.SignIn = nil }, audit.SignedIn),
		"by nobody":                    retold("what an event tells", func(e *audit.Event) { e.Actor = nil }, audit.SignedOut),
		"ended and never made":         retold("section 6", ofSignIn(func(s *audit.SignIn) { s.ID = another }), audit.SignedOut),
		"ended by another":             retold("section 6", by("bob"), audit.SignedOut),
		"ended by another of the name": retold("section 6", func(e *audit.Event) { e.Actor.Sub = "another" }, audit.SignedOut),
		"ended without its end":        retold("section 6", ofSignIn(func(s *audit.SignIn) { s.Until = 0 }), audit.SignedOut),
		"ended, with how it was made":  retold("section 6", ofSignIn(func(s *audit.SignIn) { s.ACR = "mfa" }), audit.SignedOut),
		"ended twice": {"section 6", func(l *log) int {
			i := l.find(0, audit.SignedOut)
			return l.tell(i+1, l.events[i], nil)
		}},
		"in a refusal": retold("what an event tells", func(e *audit.Event) { e.SignIn = &audit.SignIn{ID: another} }, audit.RequestRefused),
	})
}

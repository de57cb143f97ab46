package storetest

import (
	"errors"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/store"
)

const (
	signIn      = "0192f0c1-0000-7000-8000-000000000001"
	otherSignIn = "0192f0c1-0000-7000-8000-000000000002"
)

func signInBy(id string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		return tx.Append(audit.Event{
			Type: audit.SignedIn, Actor: &audit.Actor{Subject: "olga", Issuer: issuer, Sub: "sub of olga"},
			SignIn: &audit.SignIn{ID: id, At: tx.Now().UnixMilli(), AMR: []string{"pwd", `"id":"x"`}},
		})
	}
}

func signOut(id string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		until := tx.Now().Add(hour)
		return tx.EndSignIn(id, until, audit.Event{
			Type: audit.SignedOut, Actor: &audit.Actor{Subject: "olga"}, SignIn: &audit.SignIn{ID: id, Until: until.UnixMilli()},
		})
	}
}

// expectEnded checks which of the sign-ins were ended, on another server too.
func (f *fixture) expectEnded(ended, other bool) {
	f.Helper()
	for _, db := range []*store.DB{f.db, f.another(f.options())} {
		_, err := store.View(background, db, func(r *store.Reader) (any, error) {
			one, err := r.SignInEnded(signIn)
			two, errTwo := r.SignInEnded(otherSignIn)
			if one != ended || two != other {
				f.Errorf("ended are %v and %v, must be %v and %v", one, two, ended, other)
			}
			return nil, errors.Join(err, errTwo)
		})
		f.must(err)
	}
}

var signIns = map[string]func(*fixture){
	"ASignInThatWasEndedStaysSo": func(f *fixture) {
		f.update(signInBy(signIn))
		f.expectEnded(false, false)
		f.update(signOut(signIn))
		f.expectEnded(true, false)
		f.clock.Step(2 * hour) // longer than it would have lasted
		f.update(signInBy(otherSignIn))
		f.update(signOut(otherSignIn))
		f.expectEnded(true, true)
		f.reopen()
		f.expectEnded(true, true)
	},

	"ASignInIsFoundInTheLog": func(f *fixture) {
		f.must(errors.Join(f.batch(signInBy(signIn), func(tx *store.Tx) error {
			if _, known, err := tx.SignIn(signIn); !known || err != nil {
				f.Errorf("in the same batch it is not found (%v)", err)
			}
			return nil
		}, signInBy(otherSignIn))...))
		f.view(func(r *store.Reader) error {
			e, known, err := r.SignIn(signIn)
			if !known || e.SignIn.ID != signIn || e.Actor.Subject != "olga" {
				f.Errorf("found is %+v", e)
			}
			for _, id := range []string{"", "x", "%", signIn[:len(signIn)-1] + "_", signIn[:len(signIn)-1]} {
				if e, known, errNone := r.SignIn(id); known || errNone != nil {
					f.Errorf("as %q %+v is found (%v)", id, e.SignIn, errNone)
				}
			}
			return err
		})
	},

	"ASignInIsEndedOnceAndInTheBatchToo": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			err := signOut(signIn)(tx)
			ended, errEnded := tx.SignInEnded(signIn)
			if !ended {
				f.Error("the closure that has ended it does not see that")
			}
			return errors.Join(err, errEnded)
		})
		head := f.db.Head()
		if err := f.try(signOut(signIn)); err == nil {
			f.Error("it was ended twice")
		}
		if f.db.Head() != head {
			f.Error("what was not stored has left an event")
		}
	},

	"AnEndThatFailsIsNotStoredAndTakesNobodyAlong": func(f *fixture) {
		errs := f.batch(
			saying("before"),
			func(tx *store.Tx) error { return errors.Join(signOut(signIn)(tx), errOwn) },
			func(tx *store.Tx) error { return tx.EndSignIn(otherSignIn, time.Time{}, audit.Event{Type: "unknown"}) },
			saying("after"),
		)
		if errs[0] != nil || !errors.Is(errs[1], errOwn) || errs[2] == nil || errs[3] != nil {
			f.Errorf("the errors are %v", errs)
		}
		f.expectSaid("before", "after")
		f.expectEnded(false, false)
	},
}

package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// session is a new administration session of anna's, which bert has authorised too.
func session(tx *store.Tx, id law.SessionID) store.Session {
	return store.Session{Changes: []byte(`{"objects":[],"version":1}`), Session: law.Session{
		SessionStatement: law.SessionStatement{
			Server: tx.Server(), ID: id, Nonce: strings.Repeat("0f", 32), OpenedBy: law.Principal{Subject: "anna", Issuer: issuer, Sub: "sub of anna"},
			Description: "a change", Plan: law.Digest(strings.Repeat("0d", 32)), Required: 3, Active: hour, Opened: tx.Now(),
		},
		Base: tx.Changed(), Authorisations: []law.Authorisation{{By: "anna", At: tx.Now()}, {By: "bert", At: tx.Now()}}, Recorded: law.SessionInactive,
	}}
}

// saveSession stores a session with one event.
func saveSession(tx *store.Tx, s store.Session, of audit.Type) error {
	return tx.SaveSession(s, audit.Event{Type: of, Session: string(s.ID), SessionDescription: s.Description, Digest: s.Digest()})
}

func readSession(r *store.Reader, id law.SessionID) (store.Session, error) {
	s, known, err := r.Session(id)
	if err == nil && !known {
		err = fmt.Errorf("there is no session %s", id)
	}
	return s, err
}

// changeSession changes a stored session.
func changeSession(id law.SessionID, of audit.Type, change func(*store.Tx, *store.Session)) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		s, err := readSession(&tx.Reader, id)
		if err != nil {
			return err
		}
		change(tx, &s)
		return saveSession(tx, s, of)
	}
}

func (f *fixture) expectSession(want store.Session) {
	f.Helper()
	f.view(func(r *store.Reader) error {
		got, err := readSession(r, want.ID)
		if !reflect.DeepEqual(got, want) {
			f.Errorf("stored is\n%+v, want\n%+v", got, want)
		}
		return err
	})
}

var sessions = map[string]func(*fixture){
	"ASessionIsReadAsItWasStored": func(f *fixture) {
		var s store.Session
		f.update(func(tx *store.Tx) error {
			s = session(tx, "one")
			return saveSession(tx, s, audit.SessionOpened)
		})
		s.Revision = 1
		f.expectSession(s)

		f.clock.Step(hour)
		f.update(changeSession("one", audit.SessionClosed, func(tx *store.Tx, changed *store.Session) {
			changed.Authorisations[1].Withdrawn = tx.Now()
			changed.Authorisations = append(changed.Authorisations, law.Authorisation{By: "bert", At: tx.Now()})
			changed.Activated, changed.Recorded = tx.Now(), law.SessionClosed
			changed.Ending = law.Ending{At: tx.Now(), By: "anna", Reason: "closed by hand"}
			s = *changed
		}))
		s.Revision = 2
		f.expectSession(s)
		f.reopen()
		f.expectSession(s)
	},

	"ASessionThatIsNotThereIsNotFound": func(f *fixture) {
		f.view(func(r *store.Reader) error {
			_, known, err := r.Session("none")
			_, odd, errOdd := r.Session("n\x00ne")
			if known || odd {
				f.Error("it was found")
			}
			return errors.Join(err, errOdd)
		})
	},

	"AClosureSeesTheSessionsThatItHasWritten": func(f *fixture) {
		f.must(errors.Join(f.batch(
			func(tx *store.Tx) error {
				err := saveSession(tx, session(tx, "one"), audit.SessionOpened)
				s, errRead := readSession(&tx.Reader, "one")
				if s.Revision != 1 {
					f.Errorf("its revision is %d", s.Revision)
				}
				return errors.Join(err, errRead)
			},
			changeSession("one", audit.SessionAuthorised, func(*store.Tx, *store.Session) {}),
		)...))
		f.view(func(r *store.Reader) error {
			s, err := readSession(r, "one")
			if s.Revision != 2 {
				f.Errorf("its revision is %d", s.Revision)
			}
			return err
		})
	},

	"ASessionIsNotStoredOverOneThatHasChanged": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return saveSession(tx, session(tx, "one"), audit.SessionOpened) })
		var old store.Session
		f.view(func(r *store.Reader) (err error) { old, err = readSession(r, "one"); return err })
		f.update(changeSession("one", audit.SessionAuthorised, func(*store.Tx, *store.Session) {}))
		head := f.db.Head()
		if err := f.try(func(tx *store.Tx) error { return saveSession(tx, old, audit.SessionClosed) }); err == nil {
			f.Error("an old state was stored")
		}
		if err := f.try(func(tx *store.Tx) error { return saveSession(tx, session(tx, "one"), audit.SessionOpened) }); err == nil {
			f.Error("it was opened twice")
		}
		if f.db.Head() != head {
			f.Error("what was not stored has left an event")
		}
	},

	// AP-01's counterpart: the database itself refuses it.
	"AnAdministratorCannotBeCountedTwice": func(f *fixture) {
		if err := f.try(func(tx *store.Tx) error {
			s := session(tx, "one")
			s.Authorisations[1].By = "anna"
			return saveSession(tx, s, audit.SessionOpened)
		}); err == nil {
			f.Error("two authorisations of one administrator were stored")
		}
	},

	"ASessionThatFailsIsStoredNeitherAndTakesNobodyAlong": func(f *fixture) {
		errs := f.batch(
			saying("before"),
			func(tx *store.Tx) error {
				return errors.Join(saveSession(tx, session(tx, "one"), audit.SessionOpened), errOwn)
			},
			func(tx *store.Tx) error { return tx.SaveSession(session(tx, "two"), audit.Event{Type: "unknown"}) },
			saying("after"),
		)
		if errs[0] != nil || !errors.Is(errs[1], errOwn) || errs[2] == nil || errs[3] != nil {
			f.Errorf("the errors are %v", errs)
		}
		f.expectSaid("before", "after")
		f.view(func(r *store.Reader) error {
			ids, err := r.SessionIDs(store.SessionQuery{Limit: 9})
			if len(ids) > 0 {
				f.Errorf("stored are %v", ids)
			}
			return err
		})
	},

	"SessionsAreListedNewestFirst": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			return errors.Join(
				saveSession(tx, session(tx, "1"), audit.SessionOpened), saveSession(tx, session(tx, "2"), audit.SessionOpened),
				saveSession(tx, session(tx, "3"), audit.SessionOpened), saveSession(tx, session(tx, "4"), audit.SessionOpened),
			)
		})
		f.update(changeSession("2", audit.SessionClosed, func(_ *store.Tx, s *store.Session) { s.Recorded = law.SessionClosed }))
		f.update(changeSession("3", audit.SessionBecameActive, func(tx *store.Tx, s *store.Session) { s.Recorded, s.Activated = law.SessionActive, tx.Now() }))
		f.view(func(r *store.Reader) error {
			expect := func(what string, want ...law.SessionID) func([]law.SessionID, error) {
				return func(got []law.SessionID, err error) {
					if !slices.Equal(got, want) || err != nil {
						f.Errorf("%s: %v (%v), want %v", what, got, err, want)
					}
				}
			}
			expect("all", "4", "3", "2", "1")(r.SessionIDs(store.SessionQuery{Limit: 9}))
			expect("a page", "2")(r.SessionIDs(store.SessionQuery{Before: "3", Limit: 1}))
			expect("of a state", "2")(r.SessionIDs(store.SessionQuery{States: []law.SessionState{law.SessionClosed}, Limit: 9}))
			expect("of states", "4", "3", "1")(r.SessionIDs(store.SessionQuery{States: []law.SessionState{law.SessionActive, law.SessionInactive}, Limit: 9}))
			expect("open ones", "1", "3", "4")(r.OpenSessionIDs())
			expect("due, too early")(r.DueSessionIDs(r.Now().Add(hour-1), 9))
			expect("due after the active time", "3")(r.DueSessionIDs(r.Now().Add(hour), 9))
			expect("due after the wait", "3", "1", "4")(r.DueSessionIDs(r.Now().Add(law.SessionWait), 9))
			n, err := r.OpenSessionsOf("anna", r.Now())
			later, errLater := r.OpenSessionsOf("anna", r.Now().Add(hour))
			of, errOf := r.OpenSessionsOf("bert", r.Now())
			if n != 3 || later != 2 || of != 0 {
				f.Errorf("open are %d, later %d, of bert's %d", n, later, of)
			}
			return errors.Join(err, errLater, errOf)
		})
	},

	"WhatIsRemovedIsConfiguredNoMore": func(f *fixture) {
		remove := func(kind audit.ConfigurationKind, id string) func(*store.Tx) error {
			return func(tx *store.Tx) error {
				gone := audit.Removed(kind, id)
				return tx.Configure(audit.Event{Type: audit.ConfigurationChanged, Configuration: &gone})
			}
		}
		f.update(remove(audit.ConfiguredRole, "approvers"))
		if roles := f.facts().Roles(); len(roles) != 1 || roles[0].ID != "orderers" {
			f.Errorf("the roles are %v", roles)
		}
		facts, head := f.facts(), f.db.Head()
		if err := f.try(remove(audit.ConfiguredRole, "approvers")); err == nil {
			f.Error("it was removed twice")
		}
		if err := f.try(remove(audit.ConfiguredKey, "fw")); err == nil {
			f.Error("a key was removed that a role covers")
		}
		if f.db.Head() != head {
			f.Error("what was refused has left an event")
		}
		f.expectFacts(facts)
	},

	"AnObjectThatIsNamedTwiceIsNotStored": func(f *fixture) {
		head := f.db.Head()
		if err := f.try(func(tx *store.Tx) error {
			return Configure(tx, law.Configuration{Subjects: []law.Subject{person("zoe"), person("zoe")}})
		}); err == nil || f.db.Head() != head {
			f.Errorf("the error is %v", err)
		}
	},

	"TheCountOfTheConfigurationIsOfItsObjects": func(f *fixture) {
		count := func() (n int64) {
			f.view(func(r *store.Reader) error { n = r.Changed(); return nil })
			return n
		}
		before := count()
		f.update(func(tx *store.Tx) error {
			err := errors.Join(Configure(tx, with("zoe")), Configure(tx, law.Configuration{Subjects: []law.Subject{person("yves"), person("xaver")}}))
			if n := tx.Changed() - before; n != 3 {
				f.Errorf("in the closure it has grown by %d", n)
			}
			return err
		})
		_ = f.try(func(tx *store.Tx) error { return errors.Join(Configure(tx, without("zoe")), errOwn) })
		if n := count() - before; n != 3 {
			f.Errorf("it has grown by %d", n)
		}
	},
}

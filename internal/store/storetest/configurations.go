package storetest

import (
	"cmp"
	"errors"
	"reflect"
	"slices"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

func (f *fixture) facts() law.Facts {
	f.Helper()
	var facts law.Facts
	f.view(func(r *store.Reader) error { facts = r.Facts(); return nil })
	return facts
}

// expectFacts checks that views and updates see these facts.
func (f *fixture) expectFacts(want law.Facts) {
	f.Helper()
	check := func(who string, got law.Facts) {
		if !reflect.DeepEqual(got, want) {
			f.Errorf("the facts of %s are %v, want %v", who, got, want)
		}
	}
	check("a view", f.facts())
	f.update(func(tx *store.Tx) error { check("an update", tx.Facts()); return nil })
}

// without is the subject, disabled.
func without(who law.SubjectID) law.Configuration {
	s := person(who)
	s.Enabled = false
	return law.Configuration{Subjects: []law.Subject{s}}
}

func with(who law.SubjectID) law.Configuration {
	return law.Configuration{Subjects: []law.Subject{person(who)}}
}

func knows(facts law.Facts, who law.SubjectID) bool {
	s, known := facts.Subject(who)
	return known && s.Enabled
}

var configurations = map[string]func(*fixture){
	"TheFactsAreWhatWasConfigured": func(f *fixture) {
		got := f.facts()
		stored, err := audit.ConfigurationOf(law.Configuration{Issuers: got.Issuers(), Keys: got.Keys(), Subjects: got.Subjects(), Roles: got.Roles()})
		f.must(err)
		want, err := audit.ConfigurationOf(World())
		f.must(err)
		byID := func(a, b audit.Configuration) int { return cmp.Compare(string(a.Kind)+a.ID, string(b.Kind)+b.ID) }
		slices.SortFunc(stored, byID)
		slices.SortFunc(want, byID)
		if !reflect.DeepEqual(stored, want) {
			f.Errorf("stored is %s, want %s", stored, want)
		}
		f.reopen()
		f.expectFacts(got)
	},

	"AnObjectTakesThePlaceOfTheOneWithItsID": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return Configure(tx, without("anna")) })
		if facts := f.facts(); knows(facts, "anna") || !knows(facts, "bert") || len(facts.Subjects()) != 3 {
			f.Errorf("the subjects are %v", facts.Subjects())
		}
	},

	"TheNextClosureSeesTheNewConfiguration": func(f *fixture) {
		errs := f.batch(
			func(tx *store.Tx) error {
				err := Configure(tx, without("anna"))
				if knows(tx.Facts(), "anna") {
					f.Error("the closure itself does not see it")
				}
				return err
			},
			func(tx *store.Tx) error {
				if knows(tx.Facts(), "anna") {
					f.Error("the next closure of the batch does not see it")
				}
				return nil
			},
		)
		f.must(errors.Join(errs...))
		if knows(f.facts(), "anna") {
			f.Error("the next view does not see it")
		}
	},

	"TheConfigurationOfAClosureThatFailsIsSeenByNobody": func(f *fixture) {
		before := f.facts()
		look := func(tx *store.Tx) error {
			if knows(tx.Facts(), "zoe") || !knows(tx.Facts(), "anna") {
				f.Error("the facts are those of a closure that failed")
			}
			return nil
		}
		f.batch(
			func(tx *store.Tx) error { return errors.Join(Configure(tx, with("zoe")), errOwn) },
			look,
			func(tx *store.Tx) error {
				if err := Configure(tx, without("anna")); err != nil {
					f.Error(err)
				}
				panic("of the test")
			},
			look,
		)
		f.expectFacts(before)
	},

	// Both configurations have the same version number: one must not be taken for the other.
	"TheConfigurationOfABatchThatFailsIsSeenByNobody": func(f *fixture) {
		other := f.another(f.options())
		f.onCommit(failed)
		f.expectUnavailable(errors.Join(f.batch(
			func(tx *store.Tx) error { return Configure(tx, with("zoe")) },
			func(tx *store.Tx) error { return say(tx, "with the facts") },
		)...))
		f.commit.Store(nil)
		f.must(update(other, func(tx *store.Tx) error { return Configure(tx, with("yves")) }))
		if facts := f.facts(); knows(facts, "zoe") || !knows(facts, "yves") {
			f.Errorf("the subjects are %v", facts.Subjects())
		}
	},

	"AConfigurationThatMakesNoSenseIsNotStored": func(f *fixture) {
		before := f.facts()
		err := f.try(func(tx *store.Tx) error {
			_ = Configure(tx, law.Configuration{Roles: []law.Role{{ID: "r", Kind: law.Approver, Keys: []law.KeyID{"nokey"}, Members: []law.SubjectID{"anna"}}}})
			if knows(tx.Facts(), "anna") {
				f.Error("the facts go on as if nothing had happened")
			}
			return nil
		})
		if err == nil {
			f.Error("there is no error")
		}
		f.expectFacts(before)
	},

	"AHeldClockIsHeldUnderANewConfigurationToo": func(f *fixture) {
		f.clock.Step(-hour)
		f.update(func(tx *store.Tx) error {
			err := Configure(tx, with("zoe"))
			if !tx.Facts().ClockHeld {
				f.Error("the clock is not held any more")
			}
			return err
		})
	},

	"AnEventThatSaysNoConfigurationIsRefused": func(f *fixture) {
		head := f.db.Head()
		for _, e := range []audit.Event{{Type: audit.ConfigurationChanged}, {Type: audit.ServerStarted, Configuration: &audit.Configuration{}}} {
			if err := f.try(func(tx *store.Tx) error { return tx.Configure(e) }); err == nil {
				f.Errorf("%v was stored", e)
			}
		}
		f.update(func(tx *store.Tx) error { return tx.Configure() })
		if f.db.Head() != head {
			f.Error("the head has moved")
		}
	},

	"OtherServersSeeTheNewConfiguration": func(f *fixture) {
		other := f.another(f.options())
		f.update(func(tx *store.Tx) error { return Configure(tx, with("zoe")) })
		f.must(update(other, func(tx *store.Tx) error {
			if !knows(tx.Facts(), "zoe") {
				f.Error("the other server does not see it")
			}
			return Configure(tx, without("zoe"))
		}))
		if knows(f.facts(), "zoe") {
			f.Error("the change by the other server is not seen")
		}
	},
}

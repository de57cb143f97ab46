package law_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// rename is a small change of the configuration.
func (c *council) rename(who law.SubjectID) law.Changes {
	return law.Changes{Set: law.Configuration{Subjects: []law.Subject{with(*c.subject(who), func(s *law.Subject) { s.Name += " the younger" })}}}
}

func (c *council) change(who law.SubjectID, ch law.Changes, plan law.Digest, pairs map[law.KeyID]law.KeyPair) (law.SessionOutcome, law.Configuration, error) {
	c.t.Helper()
	return c.s.Change(who, ch, plan, c.changed, pairs, law.Mode{}, c.facts(), c.now)
}

// made is a key pair as a keystore makes it.
func made(handle string, version int) law.KeyPair {
	sum := sha256.Sum256([]byte(handle))
	return law.KeyPair{Version: version, Handle: handle, PublicKey: []byte(handle), Fingerprint: hex.EncodeToString(sum[:])}
}

var noPairs = map[law.KeyID]law.KeyPair{}

// section 5
func TestInASessionWithoutAPlanEveryChangeThatMakesSenseIsMade(t *testing.T) {
	c := newCouncil(t)
	c.convene()
	for range 3 { // as often as one likes
		want := c.subject("zoe").Name + " the younger"
		out, next, err := c.change("bert", c.rename("zoe"), "", noPairs)
		c.does(out, err)
		c.happened()
		c.stands(law.SessionActive)
		c.cfg, c.changed = next, c.changed+1
		if got := c.subject("zoe").Name; got != want {
			t.Fatalf("zoe is called %s; want %s", got, want)
		}
	}
	out, _, err := c.change("bert", c.rename("zoe"), aPlan, noPairs)
	c.denied(law.Forbidden)(out, err)
	out, _, err = c.change("bert", law.Changes{}, "", noPairs)
	c.denied(law.Impossible)(out, err)
}

// section 5
func TestInASessionWithAPlanNothingIsDoneButThePlan(t *testing.T) {
	c := newCouncil(t)
	c.planned()
	for _, other := range []law.Digest{"", law.Digest(strings.Repeat("cd", 32)), aPlan[1:], law.Digest(strings.ToUpper(string(aPlan)))} {
		out, next, err := c.change("ada", c.rename("zoe"), other, noPairs)
		if other == "" {
			wantSaid(t, "this session has a plan, and in it nothing is done but the plan", err)
		}
		c.denied(law.Forbidden)(out, err)
		if !reflect.DeepEqual(next, law.Configuration{}) {
			t.Error("a refused change left a configuration")
		}
	}
	out, _, err := c.change("ada", c.rename("zoe"), aPlan, nil) // a trial, before key pairs are made
	c.does(out, err)
	c.happened()
	c.stands(law.SessionActive)
	out, next, err := c.change("bert", c.rename("zoe"), aPlan, noPairs)
	c.does(out, err)
	c.happened(law.DidApplyPlan, law.DidCloseSession)
	c.stands(law.SessionClosed)
	if c.did[0].By != "bert" || c.did[1].By != "bert" || c.s.Ending != (law.Ending{At: c.now, By: "bert", Reason: "its plan has been applied"}) {
		t.Errorf("%+v, ended %+v", c.did, c.s.Ending)
	}
	c.cfg = next
	if c.subject("zoe").Name != "zoe the younger" {
		t.Error("the plan was not applied")
	}
	out, _, err = c.change("bert", c.rename("zoe"), aPlan, noPairs) // twice
	c.denied(law.Forbidden)(out, err)
}

// section 5
func TestAPlanIsAppliedOnlyToTheConfigurationItWasMadeAgainst(t *testing.T) {
	for _, by := range []int64{-1, 1, 1 << 40} {
		c := newCouncil(t)
		c.planned()
		c.changed += by
		for _, pairs := range []map[law.KeyID]law.KeyPair{nil, noPairs} {
			out, _, err := c.change("ada", c.rename("zoe"), aPlan, pairs)
			c.denied(law.WrongState)(out, err)
		}
		c.stands(law.SessionActive)
	}
	c := newCouncil(t) // without a plan it does not matter
	c.convene()
	c.changed++
	out, _, err := c.change("ada", c.rename("zoe"), "", noPairs)
	c.does(out, err)
}

// section 5
func TestAPlanWhoseSessionHasExpiredIsNotApplied(t *testing.T) {
	c := newCouncil(t)
	c.planned()
	c.now = c.s.Ends()
	out, _, err := c.change("ada", c.rename("zoe"), aPlan, noPairs)
	c.denied(law.Forbidden)(out, err)
	c.happened(law.DidExpireSession)
	c = newCouncil(t)
	c.planned()
	c.now = c.s.Ends().Add(-time.Nanosecond)
	out, _, err = c.change("ada", c.rename("zoe"), aPlan, noPairs)
	c.does(out, err)
}

// A plan can disable those who made it, as long as enough others are left; and one that would leave too few is refused
// before anything is changed.
func TestAPlanThatDisablesItsOwnAdministrators(t *testing.T) {
	out := func(who law.SubjectID, c *council) law.Changes {
		return law.Changes{Set: law.Configuration{Subjects: []law.Subject{with(*c.subject(who), func(s *law.Subject) { s.Enabled = false })}}}
	}
	c := newCouncil(t)
	c.planned()
	done, next, err := c.change("ada", out("ada", c), aPlan, noPairs)
	c.does(done, err)
	c.cfg = next
	c.comesTo(law.SessionClosed)
	c = newCouncil(t)
	c.leave("administrators", "dora")
	c.planned()
	done, _, err = c.change("ada", out("ada", c), aPlan, noPairs)
	c.denied(law.Impossible)(done, err)
	c.stands(law.SessionActive)
}

// In a session without a plan the change acts on the session itself at once.
func TestAChangeThatDisablesItsOwnAdministratorEndsWhatHeCanDo(t *testing.T) {
	c := newCouncil(t)
	c.convene()
	ch := law.Changes{Set: law.Configuration{Subjects: []law.Subject{with(*c.subject("ada"), func(s *law.Subject) { s.Enabled = false })}}}
	out, next, err := c.change("ada", ch, "", noPairs)
	c.does(out, err)
	c.cfg = next
	c.comesTo(law.SessionInactive, law.DidLapseSession)
	out, _, err = c.change("bert", c.rename("zoe"), "", noPairs)
	c.denied(law.Forbidden)(out, err)
}

func TestWhatComesAboutByItselfIsToldWithAChange(t *testing.T) {
	c := newCouncil(t)
	c.open()
	c.takes(3)
	c.does(c.authorise("bert"))
	c.takes(2)
	out, _, err := c.change("ada", c.rename("zoe"), "", noPairs)
	c.does(out, err)
	c.happened(law.DidActivateSession)
}

func TestAChangeThatNamesAnObjectTwiceIsRefused(t *testing.T) {
	for name, ch := range map[string]func(*council) law.Changes{
		`issuer "` + people + `"`: func(c *council) law.Changes {
			return law.Changes{Set: law.Configuration{Issuers: []law.Issuer{issuer(people), issuer(people)}}}
		},
		`issuer "` + builds + `"`: func(c *council) law.Changes {
			return law.Changes{Set: law.Configuration{Issuers: []law.Issuer{issuer(builds)}}, RemoveIssuers: []string{builds}}
		},
		`subject "zoe"`: func(c *council) law.Changes {
			return law.Changes{Set: law.Configuration{Subjects: []law.Subject{person("zoe"), person("zoe")}}}
		},
		`role "approvers-ca"`: func(c *council) law.Changes {
			return law.Changes{Set: law.Configuration{Roles: c.cfg.Roles[3:4]}, RemoveRoles: []law.RoleID{"approvers-ca"}}
		},
		`role "auditors"`: func(c *council) law.Changes { return law.Changes{RemoveRoles: []law.RoleID{"auditors", "auditors"}} },
		`key "fw-test"`: func(c *council) law.Changes {
			return law.Changes{Set: law.Configuration{Keys: []law.Key{key("fw-test", 0), key("fw-test", 1)}}}
		},
		`key "fw-dev"`: func(c *council) law.Changes {
			return law.Changes{Set: law.Configuration{Keys: []law.Key{key("fw-dev", 1)}}, ReplacePairs: []law.KeyID{"fw-dev"}}
		},
		`key "fw-prod"`: func(c *council) law.Changes { return law.Changes{ReplacePairs: []law.KeyID{"fw-prod", "fw-prod"}} },
		`issuer "https://another.example"`: func(c *council) law.Changes {
			return law.Changes{RemoveIssuers: []string{"https://another.example", "https://another.example"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCouncil(t)
			_, err := ch(c).On(c.facts(), nil, law.Mode{})
			wantRefusal(t, law.Impossible, err)
			wantSaid(t, name+" is named twice", err)
		})
	}
}

func TestWhatIsNotThereCannotGo(t *testing.T) {
	c := newCouncil(t)
	for said, ch := range map[string]law.Changes{
		`role "approvers" is to be removed, but there is none`:          {RemoveRoles: []law.RoleID{"approvers"}},
		`issuer "https://x" is to be removed, but there is none`:        {RemoveIssuers: []string{"https://x"}},
		`there is no key "fw" whose key pair could be replaced`:         {ReplacePairs: []law.KeyID{"fw"}},
		`there is no issuer "` + people + `"`:                           {RemoveIssuers: []string{people}}, // people sign in with it
		`subject zoe is a user for ever; enter a new subject`:           {Set: law.Configuration{Subjects: []law.Subject{machine("zoe")}}},
		`subject line is a client for ever; enter a new subject`:        {Set: law.Configuration{Subjects: []law.Subject{person("line")}}},
		`administration: nobody could administer`:                       {RemoveRoles: []law.RoleID{"administrators"}},
		`administration: between 1 and 10 administrators can be`:        {Set: law.Configuration{Administration: law.Administration{Administrators: 11}}},
		`administration: 1 administrator is enough in development mode`: {Set: law.Configuration{Administration: law.Administration{Administrators: 1}}},
	} {
		_, err := ch.On(c.facts(), noPairs, law.Mode{})
		wantRefusal(t, law.Impossible, err)
		wantSaid(t, said, err)
	}
}

func TestAChangeAddsReplacesAndRemoves(t *testing.T) {
	c := newCouncil(t)
	before := c.facts().Configuration()
	other := issuer("https://other.example")
	ch := law.Changes{
		Set: law.Configuration{
			Administration: law.Administration{Administrators: 3, Active: time.Minute},
			Issuers:        []law.Issuer{other},
			Subjects:       []law.Subject{person("max"), machine("line")},
			Roles:          []law.Role{{ID: "approvers-ca", Kind: law.Approver, Keys: []law.KeyID{"ca"}, Members: []law.SubjectID{"max", "anna"}}},
			Keys:           []law.Key{key("new", 0).With(law.KeyPair{}), with(key("fw-dev", 0), func(k *law.Key) { k.MaxUses = 1 })},
		},
		RemoveRoles: []law.RoleID{"auditors"}, ReplacePairs: []law.KeyID{"fw-prod"},
	}
	if names := ch.NewPairs(c.facts()); len(names) != 2 || names[0].ID != "new" || names[1].ID != "fw-prod" || names[1].Version != 1 {
		t.Errorf("new key pairs for %+v", names)
	}
	if len(ch.Set.Keys) != 2 {
		t.Fatal("the change was changed in place")
	}
	next, err := ch.On(c.facts(), map[law.KeyID]law.KeyPair{"new": made("new/1", 1), "fw-prod": made("fw-prod/2", 2), "fw-dev": made("fw-dev/9", 9)}, law.Mode{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := law.NewFacts(next)
	if err != nil {
		t.Fatal(err)
	}
	now := func(id law.KeyID) law.Key { k, _ := f.Key(id); return k }
	_, known := f.Issuer(other.URL)
	switch {
	case f.Administration() != law.Administration{Administrators: 3, Active: time.Minute}:
		t.Errorf("administration: %+v", f.Administration())
	case !known, !f.Holds("max", law.Approver, "ca"), f.SeesSessions("otto"):
		t.Error("issuer, subject or roles are not as they were to be")
	case now("new").Fingerprint != made("new/1", 1).Fingerprint, now("fw-prod").Version != 2, now("fw-prod").Requirement != law.Require(2):
		t.Errorf("keys: %+v", next.Keys)
	case now("fw-dev").Pair().Handle != "fw-dev/1", now("fw-dev").MaxUses != 1, now("fw-test").MaxUses != 10:
		t.Errorf("a key that was there is %+v", now("fw-dev"))
	case len(next.Subjects) != len(before.Subjects)+1, len(next.Roles) != len(before.Roles)-1, len(next.Keys) != len(before.Keys)+1:
		t.Error("objects were lost")
	}
	if got := c.facts().Configuration(); !reflect.DeepEqual(got, before) {
		t.Error("the configuration was changed in place")
	}
	trial, err := ch.On(c.facts(), nil, law.Mode{})
	if err != nil || len(trial.Keys) != len(next.Keys) {
		t.Errorf("before the key pairs are made: %v", err)
	}
	if one := (law.Changes{Set: law.Configuration{Keys: []law.Key{key("fw-dev", 0)}}}).NewPairs(c.facts()); len(one) != 0 {
		t.Errorf("new key pairs for %+v", one)
	}
	if none := (law.Changes{ReplacePairs: []law.KeyID{"unknown"}}).NewPairs(c.facts()); len(none) != 0 {
		t.Errorf("new key pairs for %+v", none)
	}
}

func TestARemovedIssuerIsGone(t *testing.T) {
	c := newCouncil(t)
	c.cfg.Issuers = append(c.cfg.Issuers, issuer("https://old.example"))
	next, err := law.Changes{RemoveIssuers: []string{"https://old.example"}}.On(c.facts(), noPairs, law.Mode{})
	if err != nil || len(next.Issuers) != 2 || next.Issuers[0].URL == "https://old.example" || next.Issuers[1].URL == "https://old.example" {
		t.Errorf("%+v, %v", next.Issuers, err)
	}
}

func TestAnyPartOfAChangeMakesItOne(t *testing.T) {
	if !(law.Changes{}).Empty() {
		t.Error("the zero change is one")
	}
	for name, ch := range map[string]law.Changes{
		"administrators": {Set: law.Configuration{Administration: law.Administration{Administrators: 2}}},
		"active":         {Set: law.Configuration{Administration: law.Administration{Active: time.Hour}}},
		"issuers":        {Set: law.Configuration{Issuers: []law.Issuer{{}}}},
		"subjects":       {Set: law.Configuration{Subjects: []law.Subject{{}}}},
		"roles":          {Set: law.Configuration{Roles: []law.Role{{}}}},
		"keys":           {Set: law.Configuration{Keys: []law.Key{{}}}},
		"roles gone":     {RemoveRoles: []law.RoleID{""}},
		"issuers gone":   {RemoveIssuers: []string{""}},
		"new pairs":      {ReplacePairs: []law.KeyID{""}},
	} {
		if ch.Empty() {
			t.Errorf("%s: it is empty", name)
		}
		if _, err := ch.On(newCouncil(t).facts(), nil, law.Mode{}); (err == nil) != (name == "administrators" || name == "active") {
			t.Error(fmt.Errorf("%s: %w", name, err))
		}
	}
}

// rule 9: who lowers a requirement or makes himself an approver, approves, and puts it back, has released nothing that
// was waiting, and nothing for longer than that.
func TestAnAdministratorReleasesNothingThatWaitsByChangingWhatItTakes(t *testing.T) {
	c := newCouncil(t)
	c.order("fw-prod")
	c.ok(c.approve("anna"))
	c.convene()
	made := func(change func(*law.Configuration)) {
		t.Helper()
		ch := law.Changes{}
		change(&ch.Set)
		out, next, err := c.change("ada", ch, "", noPairs)
		c.does(out, err)
		c.cfg, c.changed = next, c.changed+1
		c.ok(c.op.Settle(c.facts(), c.now), nil)
	}
	prod, _ := c.facts().Key("fw-prod")
	made(func(s *law.Configuration) {
		s.Keys = []law.Key{with(prod, func(k *law.Key) { k.Requirement = law.Require(1) })}
	})
	c.is(law.Pending)
	made(func(s *law.Configuration) {
		s.Roles = []law.Role{{ID: "more", Kind: law.Approver, Keys: []law.KeyID{"fw-prod"}, Members: []law.SubjectID{"ada", "dora"}}}
	})
	c.refused(law.Forbidden)(c.approve("ada"))
	c.noOrder(law.WrongState)(c.place("olga", "fw-prod"))
	waiting := c.op
	c.order("fw-prod") // a new one they can release, as long as it is so
	c.ok(c.approve("ada"))
	c.is(law.Approved)
	made(func(s *law.Configuration) { s.Keys = []law.Key{prod} })
	c.is(law.Pending)
	c.noOrder(law.WrongState)(c.place("olga", "fw-prod"))
	c.op = waiting
	c.settles(law.Pending)
	c.ok(c.approve("bert"))
	c.is(law.Approved)
}

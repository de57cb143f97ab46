package law_test

import (
	"slices"
	"testing"

	"example.org/keyserver/internal/law"
)

// sensible is the small world with two administrators, which makes sense.
func sensible(t testing.TB) *world {
	w := newWorld(t)
	w.join("administrators", "otto")
	return w
}

func (w *world) subject(id law.SubjectID) *law.Subject {
	w.t.Helper()
	i := slices.IndexFunc(w.cfg.Subjects, func(s law.Subject) bool { return s.ID == id })
	if i < 0 {
		w.t.Fatalf("there is no subject %s", id)
	}
	return &w.cfg.Subjects[i]
}

func (w *world) signsIn(id law.SubjectID, identities ...law.Identity) {
	w.t.Helper()
	w.subject(id).Identities = identities
}

func (w *world) members(role law.RoleID, who ...law.SubjectID) {
	i := slices.IndexFunc(w.cfg.Roles, func(r law.Role) bool { return r.ID == role })
	w.cfg.Roles[i].Members = who
}

// sameSub makes b somebody who signs in with the sub of a, told apart by the client used.
func (w *world) sameSub(a, b law.SubjectID) {
	w.t.Helper()
	w.signsIn(a, at(people, "sub", string(a), "azp", "web"))
	w.signsIn(b, at(people, "sub", string(a), "azp", string(b)))
}

const (
	noOrderer = "key ca: none of its orderers (olga) could ever get the approvals it requires, because nobody approves what they order or set off; add an approver who does neither"
	tooFew    = "key fw-prod: 2 approvals are required, but only 1 person could approve (one person counts once, and only if enabled and with an identity); add approvers or lower the requirement"
	onlyAda   = "administration: only ada could administer (one person counts once, and only with an identity), and it takes 2 people; give the role to more"
)

// AR-09
func TestAR09_ARequirementThatCannotBeMetMakesNoSense(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"as it is":               {func(w *world) {}, nil},
		"as many approvers":      {func(w *world) { w.members("approvers-prod", "anna", "bert") }, nil},
		"one approver too few":   {func(w *world) { w.members("approvers-prod", "anna") }, []string{tooFew}},
		"disabled":               {func(w *world) { w.members("approvers-prod", "anna", "bert"); w.enable("bert", false) }, []string{tooFew}},
		"one who cannot sign in": {func(w *world) { w.members("approvers-prod", "anna", "bert"); w.signsIn("bert") }, []string{tooFew}},
		"one person as two":      {func(w *world) { w.members("approvers-prod", "anna", "bert"); w.sameSub("anna", "bert") }, []string{tooFew}},
		"by two roles": {func(w *world) {
			w.members("approvers-prod", "anna")
			w.addRole(law.Role{ID: "more", Kind: law.Approver, Keys: []law.KeyID{"fw-prod"}, Members: []law.SubjectID{"anna", "dora"}})
		}, nil},
		"twice by two roles": {func(w *world) {
			w.members("approvers-prod", "anna")
			w.addRole(law.Role{ID: "more", Kind: law.Approver, Keys: []law.KeyID{"fw-prod"}, Members: []law.SubjectID{"anna"}})
		}, []string{tooFew}},
		"of a key that is disabled": {func(w *world) { w.require("fw-prod", 5); w.setState("fw-prod", law.KeyDisabled) }, nil},
		"of a key that is revoked":  {func(w *world) { w.require("fw-prod", 5); w.setState("fw-prod", law.KeyRevoked) }, nil},
		"of a ROOT key":             {func(w *world) { w.require("root", 5) }, nil},
		"nobody at all": {func(w *world) { w.cfg.Roles = slices.Delete(w.cfg.Roles, 3, 4) },
			[]string{"key ca: 1 approval is required, but only 0 people could approve (one person counts once, and only if enabled and with an identity); add approvers or lower the requirement"}},
		"the only orderer is the only approver": {func(w *world) {
			w.members("orderers", "olga")
			w.members("approvers-ca", "olga")
		}, []string{noOrderer}},
		"another orderer, too":          {func(w *world) { w.members("approvers-ca", "olga") }, nil},
		"another orderer, but disabled": {func(w *world) { w.members("approvers-ca", "olga"); w.enable("ci", false); w.enable("line", false) }, []string{noOrderer}},
		"no orderer at all": {func(w *world) {
			w.cfg.Roles = w.cfg.Roles[1:]
		}, nil},
		"jobs, all of which approvers set off": {func(w *world) {
			w.members("orderers", "ci")
			w.members("approvers-ca", "carl")
		}, []string{"key ca: none of its orderers (ci) could ever get the approvals it requires, because nobody approves what they order or set off; add an approver who does neither"}},
		"jobs that somebody else can set off, too": {func(w *world) {
			w.members("orderers", "ci")
			w.members("approvers-ca", "carl")
			w.subject("dora").Actors = []law.ActorName{{Issuer: builds, Value: "dora"}}
		}, nil},
		"jobs that nobody need set off": {func(w *world) {
			w.members("orderers", "ci")
			w.members("approvers-ca", "carl")
			w.cfg.Issuers[1].ActorOptional = true
		}, nil},
		"jobs of somebody whom nobody knows, by name, where nobody need be named": {func(w *world) {
			w.members("orderers", "ci", "carl")
			w.members("approvers-ca", "carl")
			w.cfg.Issuers[1].ActorOptional = true
			w.signsIn("ci", at(builds, "sub", "ci", "actor", "a-stranger"))
		}, nil},
		"jobs of approvers, by name": {func(w *world) {
			w.members("orderers", "ci")
			w.members("approvers-ca", "carl")
			w.subject("dora").Actors = []law.ActorName{{Issuer: builds, Value: "dora"}}
			w.signsIn("ci", at(builds, "sub", "ci", "actor", "carl-at-ci"))
		}, []string{"key ca: none of its orderers (ci) could ever get the approvals it requires, because nobody approves what they order or set off; add an approver who does neither"}},
		"jobs of an approver and of another, by name": {func(w *world) {
			w.members("orderers", "ci")
			w.members("approvers-ca", "carl")
			w.subject("dora").Actors = []law.ActorName{{Issuer: builds, Value: "dora"}}
			w.signsIn("ci", at(builds, "sub", "ci", "actor", "carl-at-ci", "actor", "dora"))
		}, nil},
		"an approver who orders by a job of their own": {func(w *world) {
			w.members("orderers", "carl")
			w.members("approvers-ca", "carl", "anna")
			w.signsIn("carl", at(builds, "sub", "carl"))
		}, nil},
		"an approver who orders by a job that only they set off": {func(w *world) {
			w.members("orderers", "carl")
			w.members("approvers-ca", "carl", "anna")
			w.signsIn("carl", at(builds, "sub", "carl", "actor", "carl-at-ci"))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := sensible(t)
			c.change(w)
			if got := w.facts().Sense(law.Mode{}); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestAConfigurationThatTooFewPeopleCouldAdministerMakesNoSense(t *testing.T) {
	one := func(w *world) { w.cfg.Administration.Administrators = 1 }
	alone := func(w *world) { w.leave("administrators", "otto") }
	nobody := func(w *world) { w.cfg.Roles = slices.Delete(w.cfg.Roles, 4, 5) }
	const (
		oneIsEnough = "administration: 1 administrator is enough in development mode only; require at least 2"
		gone        = "administration: nobody could administer; give the role to at least 2 people, enabled and with an identity"
	)
	for name, c := range map[string]struct {
		change                  func(*world)
		production, development []string
	}{
		"as it is":                     {func(w *world) {}, nil, nil},
		"one only":                     {alone, []string{onlyAda}, []string{onlyAda}},
		"the other disabled":           {func(w *world) { w.enable("otto", false) }, []string{onlyAda}, []string{onlyAda}},
		"the other cannot sign in":     {func(w *world) { w.signsIn("otto") }, []string{onlyAda}, []string{onlyAda}},
		"nobody":                       {nobody, []string{gone}, []string{gone}},
		"one is enough":                {one, []string{oneIsEnough}, nil},
		"one is enough, and there":     {func(w *world) { one(w); alone(w) }, []string{oneIsEnough, onlyAda}, nil},
		"one is enough, and not there": {func(w *world) { one(w); nobody(w) }, []string{oneIsEnough, gone}, []string{"administration: nobody could administer; give the role to at least 1 person, enabled and with an identity"}},
		"fewer than required": {func(w *world) { w.cfg.Administration.Administrators = 3 },
			[]string{"administration: only ada and otto could administer (one person counts once, and only with an identity), and it takes 3 people; give the role to more"},
			[]string{"administration: only ada and otto could administer (one person counts once, and only with an identity), and it takes 3 people; give the role to more"}},
		"two who are one person": {func(w *world) { w.sameSub("ada", "otto") },
			[]string{
				"administration: only ada and otto could administer (one person counts once, and only with an identity), and it takes 2 people; give the role to more",
				"administration: administrators ada and otto are one person by their identities, who could authorise an administration session alone; leave the role to one of them",
			},
			[]string{
				"administration: only ada and otto could administer (one person counts once, and only with an identity), and it takes 2 people; give the role to more",
				"administration: administrators ada and otto are one person by their identities, who could authorise an administration session alone; leave the role to one of them",
			}},
		"two of three who are one person": {func(w *world) { w.sameSub("ada", "otto"); w.join("administrators", "zoe") },
			[]string{"administration: administrators ada and otto are one person by their identities, who could authorise an administration session alone; leave the role to one of them"},
			[]string{"administration: administrators ada and otto are one person by their identities, who could authorise an administration session alone; leave the role to one of them"}},
		"two who are one person where three are required": {func(w *world) {
			w.sameSub("ada", "otto")
			w.cfg.Administration.Administrators = 3
			w.join("administrators", "zoe")
			w.join("administrators", "dora")
		}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := sensible(t)
			c.change(w)
			for mode, want := range map[law.Mode][]string{{}: c.production, {Development: true}: c.development} {
				if got := w.facts().Sense(mode); !slices.Equal(got, want) {
					t.Errorf("%+v:\ngot  %q\nwant %q", mode, got, want)
				}
			}
		})
	}
}

// byOne is the fault of a key that one person can release, ordering as one subject and approving as others.
func byOne(key, approvals, orderer, approvers string) string {
	return "key " + key + ": " + approvals + " required, but one person could release it alone, ordering as " + orderer + " and approving as " + approvers +
		", who are one person by their identities; take one of these roles away"
}

func TestAKeyThatOnePersonCouldReleaseAloneMakesNoSense(t *testing.T) {
	ca := byOne("ca", "1 approval is", "ci", "anna")
	for name, c := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"a client and an approver with the same sub": {func(w *world) { w.sameSub("anna", "ci"); w.members("orderers", "ci") },
			[]string{ca, byOne("fw-test", "1 approval is", "ci", "anna")}},
		"the same sub of another issuer": {func(w *world) { w.signsIn("ci", at(builds, "sub", "anna-sub")) }, nil},
		"the same oid": {func(w *world) {
			w.signsIn("anna", at(people, "oid", "7", "azp", "web"))
			for _, id := range []law.SubjectID{"olga", "bert", "carl", "dora", "ada", "otto", "zoe"} {
				w.signsIn(id, at(people, "oid", string(id)))
			}
			w.signsIn("ci", at(people, "oid", "7", "azp", "ci"))
			w.setState("fw-test", law.KeyDisabled)
		}, []string{ca}},
		"the same value of a claim that is no person's": {func(w *world) {
			w.signsIn("anna", at(people, "sub", "anna-sub", "team", "7"))
			w.signsIn("ci", at(people, "sub", "ci", "team", "7"))
		}, nil},
		"one of the subs of a shared client": {func(w *world) {
			w.signsIn("anna", at(people, "sub", "anna", "azp", "web"))
			w.signsIn("dora", at(people, "sub", "dora", "azp", "web"))
			w.signsIn("ci", at(people, "sub", "dora", "sub", "anna", "azp", "ci"))
		}, []string{ca, byOne("fw-test", "1 approval is", "ci", "dora"), byOne("fw-test", "1 approval is", "ci", "anna")}},
		"people who share a client are not one person": {func(w *world) {
			w.signsIn("anna", at(people, "sub", "anna", "azp", "web"))
			w.signsIn("bert", at(people, "sub", "bert", "azp", "web"))
			w.signsIn("ci", at(people, "sub", "bert", "sub", "anna", "azp", "ci"))
			w.setState("ca", law.KeyDisabled)
			w.setState("fw-test", law.KeyDisabled)
		}, nil}, // fw-prod requires two
		"two approvers and a client": {func(w *world) {
			w.sameSub("anna", "bert")
			w.signsIn("ci", at(people, "sub", "anna", "azp", "ci"))
			w.setState("ca", law.KeyDisabled)
			w.setState("fw-test", law.KeyDisabled)
		}, []string{byOne("fw-prod", "2 approvals are", "ci", "anna and bert")}},
		"two approvers, one of whom orders": {func(w *world) { w.sameSub("olga", "anna"); w.setState("ca", law.KeyDisabled) },
			[]string{byOne("fw-test", "1 approval is", "olga", "anna")}},
		"three by a chain of identities": {func(w *world) {
			w.signsIn("anna", at(people, "sub", "1", "azp", "web"))
			w.signsIn("zoe", at(people, "sub", "1", "azp", "cli"), at(builds, "sub", "2", "azp", "cli"))
			w.signsIn("olga", at(builds, "sub", "2", "azp", "web"))
			w.setState("fw-test", law.KeyDisabled)
		}, []string{byOne("ca", "1 approval is", "olga", "anna")}},
		"the orderer disabled": {func(w *world) { w.sameSub("anna", "ci"); w.enable("ci", false) }, nil},
		"the approver disabled": {func(w *world) {
			w.sameSub("anna", "ci")
			w.enable("anna", false)
			w.setState("ca", law.KeyDisabled)
		}, nil},
		"the orderer without the role": {func(w *world) { w.sameSub("anna", "ci"); w.members("orderers", "olga", "line") }, nil},
		"a job that only carl sets off, whom the law keeps from approving it": {func(w *world) {
			w.signsIn("ci", at(builds, "sub", "ci", "actor", "carl-at-ci"))
			w.members("approvers-ca", "carl")
		}, nil},
		"a job that only carl sets off, who also is cora": {func(w *world) {
			w.cfg.Subjects = append(w.cfg.Subjects, person("cora"))
			w.sameSub("carl", "cora")
			w.signsIn("ci", at(builds, "sub", "ci", "actor", "carl-at-ci"))
			w.members("orderers", "olga", "ci")
			w.members("approvers-ca", "cora", "carl")
		}, []string{byOne("ca", "1 approval is", "ci", "cora")}},
		"a job that also carl sets off, who also is cora": {func(w *world) {
			w.cfg.Subjects = append(w.cfg.Subjects, person("cora"))
			w.sameSub("carl", "cora")
			w.members("orderers", "olga", "ci")
			w.members("approvers-ca", "cora")
		}, []string{byOne("ca", "1 approval is", "ci", "cora")}},
		"carl by a job of his own, who also is cora": {func(w *world) {
			w.cfg.Subjects = append(w.cfg.Subjects, person("cora"))
			w.signsIn("carl", at(builds, "sub", "carl", "azp", "web", "actor", "carl-at-ci"))
			w.signsIn("cora", at(builds, "sub", "carl", "azp", "cora"))
			w.members("orderers", "olga", "carl")
			w.members("approvers-ca", "cora", "carl")
		}, []string{byOne("ca", "1 approval is", "carl", "cora")}},
		"jobs that carl and somebody else as an orderer set off, who also is cora": {func(w *world) {
			w.cfg.Subjects = append(w.cfg.Subjects, person("cora"))
			w.signsIn("carl", at(builds, "sub", "carl", "azp", "web"))
			w.signsIn("cora", at(builds, "sub", "carl", "azp", "cora"))
			w.enable("carl", false)
			w.subject("cora").Actors = []law.ActorName{{Issuer: builds, Value: "cora"}}
			w.cfg.Issuers[1].ActorOptional = true
			w.members("orderers", "cora", "line")
			w.members("approvers-ca", "cora")
		}, []string{byOne("ca", "1 approval is", "line", "cora")}},
		"a job set off by carl, who is disabled and also is cora": {func(w *world) {
			w.cfg.Subjects = append(w.cfg.Subjects, person("cora"))
			w.sameSub("carl", "cora")
			w.enable("carl", false)
			w.members("approvers-ca", "cora", "anna")
		}, nil},
		"a job that nobody need set off, by carl, who is disabled and also is cora": {func(w *world) {
			w.cfg.Subjects = append(w.cfg.Subjects, person("cora"))
			w.sameSub("carl", "cora")
			w.enable("carl", false)
			w.cfg.Issuers[1].ActorOptional = true
			w.members("approvers-ca", "cora", "anna")
		}, []string{byOne("ca", "1 approval is", "ci", "cora")}},
		"a key that is disabled": {func(w *world) {
			w.sameSub("anna", "ci")
			w.setState("ca", law.KeyDisabled)
			w.setState("fw-test", law.KeyDisabled)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := sensible(t)
			c.change(w)
			if got := w.facts().Sense(law.Mode{}); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestLongListsOfSubjectsAreCutShort(t *testing.T) {
	w := sensible(t)
	w.members("administrators", "ada", "otto", "zoe", "dora", "carl", "bert", "anna")
	w.cfg.Administration.Administrators = 8
	want := []string{"administration: only ada, anna, bert, carl, dora and 2 more could administer (one person counts once, and only with an identity), and it takes 8 people; give the role to more"}
	if got := w.facts().Sense(law.Mode{}); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// AR-09
func TestAR09_AChangeThatBringsAFaultIsRefusedAndOneThatLeavesAnOldFaultIsNot(t *testing.T) {
	w := sensible(t)
	changes := func(change func(*law.Key), id law.KeyID) law.Changes {
		k, _ := w.facts().Key(id)
		return law.Changes{Set: law.Configuration{Keys: []law.Key{with(k, change)}}}
	}
	raise := changes(func(k *law.Key) { k.Requirement = law.Require(5) }, "fw-prod")
	limit := changes(func(k *law.Key) { k.MaxUses = 3 }, "fw-test")
	_, err := raise.On(w.facts(), nil, law.Mode{})
	wantRefusal(t, law.Impossible, err)
	wantSaid(t, "key fw-prod: 5 approvals are required, but only 4 people could approve", err)
	w.require("fw-prod", 5)
	if _, err := limit.On(w.facts(), nil, law.Mode{}); err != nil {
		t.Errorf("an old fault stands in the way of another change: %v", err)
	}
	for id, state := range map[law.KeyID]law.KeyState{"fw-test": law.KeyDisabled, "fw-prod": law.KeyRevoked} {
		if _, err := changes(func(k *law.Key) { k.State = state }, id).On(w.facts(), nil, law.Mode{}); err != nil {
			t.Errorf("the safe direction is refused: %v", err)
		}
	}
}

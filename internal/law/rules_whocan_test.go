package law_test

import (
	"reflect"
	"testing"

	"example.org/keyserver/internal/law"
)

func TestWhoCanOrderAndApproveAndHowManyMustIsAnswered(t *testing.T) {
	const (
		lacking  = "2 approvals are required, but only 1 can be given"
		ownOnly  = "1 approval is required, but nobody approves an operation of one's own, and that leaves only 0"
		jobsOnly = "1 approval is required, but nobody approves what they set off, and that leaves only 0"
		noActor  = "no token can name a person behind it whom this server knows; enter the actor names of those who set off its jobs"
		person   = "the key requires no approvals: this person orders, and signs at once"
		machine  = "the key requires no approvals: the credential of this machine alone is enough"
		same     = "one person by their identities: ordering as the first and approving as the others is enough"
		one      = "one administrator is enough for an administration session, in which roles and requirements change"
		asTwo    = "one person by their identities: as these administrators, enough for an administration session, in which roles and requirements change"
	)
	type subjects = []law.SubjectID
	fw := func(w law.WhoCan) law.WhoCan {
		w.Type, w.State = law.Firmware, law.KeyActive
		if w.Orderers == nil {
			w.Orderers = subjects{"ci", "line", "olga"}
		}
		return w
	}
	for name, c := range map[string]struct {
		change func(*world)
		want   law.WhoCan
	}{
		"a key that requires two": {func(w *world) {}, fw(law.WhoCan{
			Key: "fw-prod", Requirement: law.Require(2), Approvers: subjects{"anna", "bert", "carl", "olga"}})},
		"only those who are enabled and can sign in": {func(w *world) { w.enable("anna", false); w.enable("ci", false); w.signsIn("bert"); w.signsIn("line") }, fw(law.WhoCan{
			Key: "fw-prod", Requirement: law.Require(2), Orderers: subjects{"olga"}, Approvers: subjects{"carl", "olga"},
			Never: []law.Never{{"olga", "2 approvals are required, but nobody approves an operation of one's own, and that leaves only 1"}}})},
		"too few approvers": {func(w *world) { w.members("approvers-prod", "anna") }, fw(law.WhoCan{
			Key: "fw-prod", Requirement: law.Require(2), Approvers: subjects{"anna"},
			Never: []law.Never{{"ci", lacking}, {"line", lacking}, {"olga", lacking}}})},
		"an orderer who is needed as an approver": {func(w *world) { w.members("approvers-test", "olga") }, fw(law.WhoCan{
			Key: "fw-test", Requirement: law.Require(1), Approvers: subjects{"olga"}, Never: []law.Never{{"olga", ownOnly}}})},
		"jobs that only the approver sets off": {func(w *world) { w.members("approvers-test", "carl") }, fw(law.WhoCan{
			Key: "fw-test", Requirement: law.Require(1), Approvers: subjects{"carl"}, Never: []law.Never{{"ci", jobsOnly}, {"line", jobsOnly}}})},
		"jobs of which nobody knows who sets them off": {func(w *world) { w.subject("carl").Actors = nil }, fw(law.WhoCan{
			Key: "fw-dev", Requirement: law.Require(0), Approvers: subjects{}, Never: []law.Never{{"ci", noActor}, {"line", noActor}},
			Alone: []law.Alone{{subjects{"olga"}, person}}})},
		"a key that requires nobody": {func(w *world) {}, fw(law.WhoCan{
			Key: "fw-dev", Requirement: law.Require(0), Approvers: subjects{},
			Alone: []law.Alone{{subjects{"ci"}, machine}, {subjects{"line"}, machine}, {subjects{"olga"}, person}}})},
		"a key that requires nobody, but disabled": {func(w *world) { w.setState("fw-dev", law.KeyDisabled) }, with(fw(law.WhoCan{
			Key: "fw-dev", Requirement: law.Require(0), Approvers: subjects{}}), func(w *law.WhoCan) { w.State = law.KeyDisabled })},
		"one person as an orderer and two approvers": {func(w *world) {
			w.sameSub("dora", "anna")
			w.signsIn("line", at(people, "sub", "dora", "azp", "line"))
		}, fw(law.WhoCan{
			Key: "fw-test", Requirement: law.Require(1), Approvers: subjects{"anna", "dora", "olga"},
			Alone: []law.Alone{{subjects{"line", "anna", "dora"}, same}}, Persons: []subjects{{"anna", "dora", "line"}}})},
		"a machine of which two people have the credential": {func(w *world) {
			w.signsIn("anna", at(people, "sub", "anna", "azp", "web"))
			w.signsIn("bert", at(people, "sub", "bert", "azp", "web"))
			w.signsIn("ci", at(people, "sub", "bert", "sub", "anna", "azp", "ci"))
		}, fw(law.WhoCan{
			Key: "fw-prod", Requirement: law.Require(2), Approvers: subjects{"anna", "bert", "carl", "olga"},
			Persons: []subjects{{"anna", "ci"}, {"bert", "ci"}}})},
		"a ROOT key": {func(w *world) {}, law.WhoCan{
			Key: "root", Type: law.Root, State: law.KeyActive, Requirement: law.Require(0), Administrators: subjects{"ada", "otto"}, Needed: 2, Persons: []subjects{}}},
		"one administrator is enough": {func(w *world) { w.cfg.Administration.Administrators = 1 }, law.WhoCan{
			Key: "root", Type: law.Root, State: law.KeyActive, Requirement: law.Require(0), Administrators: subjects{"ada", "otto"}, Needed: 1, Persons: []subjects{},
			Alone: []law.Alone{{subjects{"ada"}, one}, {subjects{"otto"}, one}}}},
		"two administrators are one person": {func(w *world) { w.sameSub("ada", "otto"); w.setState("root", law.KeyDisabled) }, law.WhoCan{
			Key: "root", Type: law.Root, State: law.KeyDisabled, Requirement: law.Require(0), Administrators: subjects{"ada", "otto"}, Needed: 2,
			Persons: []subjects{{"ada", "otto"}}, Alone: []law.Alone{{subjects{"ada", "otto"}, asTwo}}}},
		"two administrators are one person, and the key is no more": {func(w *world) { w.sameSub("ada", "otto"); w.setState("root", law.KeyRevoked) }, law.WhoCan{
			Key: "root", Type: law.Root, State: law.KeyRevoked, Requirement: law.Require(0), Administrators: subjects{"ada", "otto"}, Needed: 2,
			Persons: []subjects{{"ada", "otto"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := sensible(t)
			c.change(w)
			if c.want.Persons == nil {
				c.want.Persons = []subjects{}
			}
			if got, known := w.facts().WhoCan(c.want.Key); !known || !reflect.DeepEqual(got, c.want) {
				t.Errorf("\ngot  %+v\nwant %+v", got, c.want)
			}
		})
	}
	if w, known := newWorld(t).facts().WhoCan("none"); known || !reflect.DeepEqual(w, law.WhoCan{}) {
		t.Errorf("of a key that is not there: %+v", w)
	}
}

// Whoever administers alone needs no role on a key.
func TestAnAdministratorWhoIsEnoughCouldObtainASignatureWithAnyKey(t *testing.T) {
	w := sensible(t)
	w.cfg.Administration.Administrators = 1
	for _, k := range w.facts().Keys() {
		can, _ := w.facts().WhoCan(k.ID)
		if n := len(can.Alone); n < 2 || can.Alone[n-2].Subjects[0] != "ada" || can.Alone[n-1].Subjects[0] != "otto" {
			t.Errorf("key %s: %+v", k.ID, can.Alone)
		}
	}
}

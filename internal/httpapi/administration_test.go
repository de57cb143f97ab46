package httpapi_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
	"example.org/keyserver/internal/testkit"
)

// newKeyAndRole adds a key on which carol may order and alice approve.
func newKeyAndRole(c *law.Configuration) {
	c.Keys = append(c.Keys, testkit.Key("fw-new", 1))
	c.Roles = append(c.Roles,
		law.Role{ID: "new-orderers", Kind: law.Orderer, Keys: []law.KeyID{"fw-new"}, Members: []law.SubjectID{"carol"}},
		law.Role{ID: "new-approvers", Kind: law.Approver, Keys: []law.KeyID{"fw-new"}, Members: []law.SubjectID{"alice"}})
}

func written(k *testkit.Kit, change func(*law.Configuration)) string {
	k.Helper()
	return string(policy.Write(k.Policy(change)))
}

func TestPlanIsAuthorisedAndAppliedThroughTheAPI(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	ada, adam, carol := clientOf(k, "ada"), clientOf(k, "adam"), clientOf(k, "carol")
	wanted := written(k, newKeyAndRole)

	trial := must[api.PolicyDifference](t)(ada.Difference(ctx, wanted))
	if len(trial.Items) != 3 || len(trial.Faults) != 0 {
		t.Errorf("the trial says %+v", trial)
	}
	s := must[api.Session](t)(ada.OpenSession(ctx, api.NewSession{Description: "Größe: <b>a new key</b> \\ \"fw-new\" 𝄞", Policy: wanted}))
	if s.State != api.SessionInactive || s.Required != 2 || s.Needed != 2 || !slices.Equal(s.Counted, []string{"ada"}) || s.OpenedBy.Subject != "ada" || s.Plan == "" {
		t.Errorf("opened: %+v", s)
	}
	_, err := ada.ApplyPlan(ctx, s.ID)
	refusedAs(t, "applying what one administrator has authorised", err, api.Forbidden)

	seen := must[api.Session](t)(adam.Session(ctx, s.ID))
	if seen.Difference == nil || seen.Difference.Total != 3 || len(seen.Difference.Items) != 3 {
		t.Fatalf("adam sees %+v", seen)
	}
	added := seen.Difference.Items[0]
	if added.Kind != "key" || added.ID != "fw-new" || added.Change != "add" || !slices.Contains(added.Lines, "+ requirement: 1") {
		t.Errorf("the first item is %+v", added)
	}
	digest := must[string](t)(seen.ComputeDigest())
	if digest != s.Digest {
		t.Errorf("the digest of what is shown is %s, the server says %s", digest, s.Digest)
	}
	_, err = adam.AuthoriseSession(ctx, s.ID, digestOf("another session"))
	refusedAs(t, "authorising another digest", err, api.WrongDigest)
	_, err = ada.AuthoriseSession(ctx, s.ID, digest)
	refusedAs(t, "authorising twice", err, api.Duplicate)
	if s = must[api.Session](t)(adam.AuthoriseSession(ctx, s.ID, digest)); s.State != api.SessionActive || s.Activated == 0 || s.Ends != s.Activated+s.ActiveMS {
		t.Errorf("authorised: %+v", s)
	}
	_, err = adam.WithdrawAuthorisation(ctx, s.ID)
	refusedAs(t, "withdrawing from an active session", err, api.WrongState)
	_, err = ada.Change(ctx, s.ID, "and one thing more", "roles: [{id: more, kind: auditor, members: [eve]}]")
	refusedAs(t, "anything but the plan", err, api.Forbidden)
	if who := must[api.WhoCan](t)(adam.WhoCan(ctx, "fw-new", s.ID)); !slices.Equal(who.Orderers, []string{"carol"}) || !slices.Equal(who.Approvers, []string{"alice"}) || who.Requirement != 1 {
		t.Errorf("after the plan fw-new is for %+v", who)
	}
	_, err = adam.WhoCan(ctx, "fw-new", "")
	refusedAs(t, "a key that is planned", err, api.NotFound)

	if s = must[api.Session](t)(ada.ApplyPlan(ctx, s.ID)); s.State != api.SessionClosed || s.Ended == nil || s.Ended.By != "ada" {
		t.Errorf("applied: %+v", s)
	}
	_, err = adam.ApplyPlan(ctx, s.ID)
	refusedAs(t, "applying twice", err, api.Forbidden)
	for _, e := range k.EventsOf("", audit.ConfigurationChanged)[1:] {
		if e.Session == s.ID && e.SessionDescription != s.Description {
			t.Errorf("a change in the session says %q of it", e.SessionDescription)
		}
	}

	if got := string(must[[]byte](t)(ada.Policy(ctx))); !strings.Contains(got, "fw-new") {
		t.Errorf("the policy is %s", got)
	} else if _, err := ada.OpenSession(ctx, api.NewSession{Description: "again", Policy: got}); err == nil {
		t.Error("an export is a plan that changes something")
	} else {
		refusedAs(t, "a plan of what is exported", err, api.Impossible)
	}
	if trial := must[api.PolicyDifference](t)(ada.Difference(ctx, string(must[[]byte](t)(ada.Policy(ctx))))); len(trial.Items)+len(trial.Faults) != 0 {
		t.Errorf("an export differs by %+v", trial)
	}
	o := must[api.Operation](t)(carol.CreateOperation(ctx, "c", newOperation("fw-new")))
	o = must[api.Operation](t)(clientOf(k, "alice").Approve(ctx, o.ID, o.Digest))
	signed := must[api.SignOrder](t)(carol.PlaceSignOrder(ctx, o.ID, "s", api.NewSignOrder{KeyID: "fw-new", Hash: "SHA-256", Digest: digestOf("img")}))
	if len(signed.Signature) == 0 {
		t.Errorf("the new key signed %+v", signed)
	}
}

func TestSingleChangesAreMadeInASessionWithoutAPlan(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	ada, adam := clientOf(k, "ada"), clientOf(k, "adam")
	s := must[api.Session](t)(ada.OpenSession(ctx, api.NewSession{Description: "a new colleague"}))
	if s.Plan != "" || s.Difference != nil {
		t.Errorf("a session without a plan has one: %+v", s)
	}
	if d := must[api.Difference](t)(adam.SessionDifference(ctx, s.ID, 0)); d.Total != 0 || len(d.Items) != 0 {
		t.Errorf("a session without a plan differs by %+v", d)
	}
	_, err := ada.Change(ctx, s.ID, "too early", "roles: [{id: more, kind: auditor, members: [eve]}]")
	refusedAs(t, "a change in an inactive session", err, api.Forbidden)
	if s = must[api.Session](t)(ada.WithdrawAuthorisation(ctx, s.ID)); len(s.Counted) != 0 || s.Authorisations[0].Withdrawn == 0 {
		t.Errorf("withdrawn: %+v", s)
	}
	must[api.Session](t)(ada.AuthoriseSession(ctx, s.ID, s.Digest))
	must[api.Session](t)(adam.AuthoriseSession(ctx, s.ID, s.Digest))

	changed := must[api.Changed](t)(adam.Change(ctx, s.ID, "Zoe joined", `
administration: {administrators: 2, active-validityms: 60000}
issuers: [{url: "https://ci.example.org", audiences: [keyserver], algorithms: [RS256], types: [JWT], actor-claim: actor, actor: optional, captured-claims: [ref]}]
subjects: [{id: zoe, kind: user, name: Zoe, identities: [{issuer: "`+k.IdP.URL+`", claims: {sub: [zoe, zoe-2], tenant: one}}], actors: [{issuer: "https://ci.example.org", value: zoe}]}]
roles: [{id: zoe-approves, kind: approver, keys: [fw-one], members: [zoe]}]
keys:
  - {keyid: fw-zoe, type: FW, algorithm: ECDSA-P256, hash: SHA-256, schemes: [ECDSA], requirement: 0, max-validityms: 1000, max-usagecount: 1,
     approvals: session, artifacts: optional, keystore: software,
     certificate: {subject: {common-name: Zoe, country: DE}, validityms: 1000, key-usage: [digitalSignature], extended-key-usage: [codeSigning]}}
  - {keyid: ca-zoe, type: CA, algorithm: ECDSA-P256, hash: SHA-256, schemes: [ECDSA], requirement: 0, max-validityms: 1000, max-usagecount: 1,
     approvals: session, artifacts: optional, keystore: software,
     devices: {preset: idevid, subject: [{attribute: organization, fixed: Zoe}, {attribute: serial-number, pattern: ".*", max-length: 9}],
       names: [{kind: dns, pattern: ".*", max-length: 8, most: 2, presence: optional}], extensions: [{id: 1.2.3.4, value: "0500"}], duplicates: same}}
`))
	switch {
	case changed.Administration == nil || changed.Administration.ActiveMS != 60000:
		t.Errorf("the administration is %+v", changed.Administration)
	case len(changed.Issuers) != 1 || changed.Issuers[0].ActorClaim != "actor" || !changed.Issuers[0].ActorOptional:
		t.Errorf("the issuers are %+v", changed.Issuers)
	case len(changed.Subjects) != 1 || !changed.Subjects[0].Enabled || len(changed.Subjects[0].Identities[0].Claims) != 2 || changed.Subjects[0].Actors[0].Value != "zoe":
		t.Errorf("the subjects are %+v", changed.Subjects)
	case len(changed.Roles) != 1 || !slices.Equal(changed.Roles[0].Members, []string{"zoe"}):
		t.Errorf("the roles are %+v", changed.Roles)
	case len(changed.Keys) != 2 || changed.Keys[0].Fingerprint == "" || changed.Keys[0].Profile == nil || changed.Keys[0].Profile.Subject.CommonName != "Zoe":
		t.Errorf("the keys are %+v", changed.Keys)
	}
	devices := changed.Keys[1].Devices
	if devices == nil || len(devices.Digest) != 64 {
		t.Fatalf("the device profile is %+v", devices)
	}
	devices.Digest = ""
	if want := (api.DeviceProfile{
		Subject: []api.DeviceAttribute{{Type: "organization", Fixed: "Zoe"}, {Type: "serial-number", Pattern: ".*", MaxLength: 9}},
		Names:   []api.DeviceName{{Kind: "dns", Pattern: ".*", MaxLength: 8, Most: 2, Optional: true}}, Identity: "serial-number",
		Algorithms: []string{"RSA-2048", "ECDSA-P256", "ECDSA-P384"}, NoExpiry: true, KeyUsage: []string{"digitalSignature"}, ExtendedKeyUsage: []string{},
		Policies: []string{}, Extensions: []api.DeviceExtension{{ID: "1.2.3.4", Value: "0500"}}, Duplicates: "same",
	}); !reflect.DeepEqual(*devices, want) {
		t.Errorf("the device profile is\n%+v\nwant\n%+v", *devices, want)
	}
	_, err = ada.Change(ctx, s.ID, "nobody", "roles: [{id: more, kind: auditor, members: [nobody]}]")
	refusedAs(t, "a member that there is not", err, api.Impossible)
	must[api.Session](t)(ada.CloseSession(ctx, s.ID))
	if again := must[api.Session](t)(adam.CloseSession(ctx, s.ID)); again.Ended.By != "ada" {
		t.Errorf("closed again: %+v", again)
	}
	_, err = ada.Change(ctx, s.ID, "too late", "roles: [{id: more, kind: auditor, members: [eve]}]")
	refusedAs(t, "a change in a closed session", err, api.Forbidden)

	if subjects := must[[]api.Subject](t)(ada.Subjects(ctx)); !slices.ContainsFunc(subjects, func(s api.Subject) bool { return s.Subject == "zoe" && s.Kind == "user" }) {
		t.Errorf("the subjects are %+v", subjects)
	}
	if roles := must[[]api.ConfiguredRole](t)(ada.Roles(ctx)); !slices.ContainsFunc(roles, func(r api.ConfiguredRole) bool { return r.Role == "zoe-approves" && r.Keys[0] == "fw-one" }) {
		t.Errorf("the roles are %+v", roles)
	}
	page := must[api.Sessions](t)(clientOf(k, "audrey").Sessions(ctx, client.SessionFilter{State: api.SessionClosed}))
	if len(page.Sessions) != 1 || page.Sessions[0].ID != s.ID {
		t.Errorf("the closed sessions are %+v", page)
	}
	if page := must[api.Sessions](t)(clientOf(k, "olga").Sessions(ctx, client.SessionFilter{})); len(page.Sessions) != 0 {
		t.Errorf("olga sees %+v", page)
	}
}

func TestEmergenciesNeedNoSession(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	ada := clientOf(k, "ada")
	for range 2 {
		if key := must[api.Key](t)(ada.DisableKey(ctx, "fw-one", "stolen")); key.State != "disabled" {
			t.Errorf("the key is %+v", key)
		}
		if s := must[api.Subject](t)(ada.DisableSubject(ctx, "olga", "left")); s.Enabled {
			t.Errorf("the subject is %+v", s)
		}
	}
	_, err := clientOf(k, "olga").WhoAmI(ctx)
	refusedAs(t, "a disabled subject", err, api.Forbidden)
	_, err = ada.DisableKey(ctx, "fw-nothing", "stolen")
	refusedAs(t, "a key that there is not", err, api.NotFound)
	_, err = ada.DisableSubject(ctx, "nobody", "left")
	refusedAs(t, "a subject that there is not", err, api.NotFound)
	if n := len(k.EventsOf("", audit.ConfigurationChanged)); n < 2 {
		t.Errorf("%d changes of the configuration are in the log", n)
	}
}

func TestWhoCanIsAnsweredForNowAndForAPolicy(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	audrey := clientOf(k, "audrey")
	now := must[api.WhoCan](t)(audrey.WhoCan(ctx, "fw-one", ""))
	if now.Requirement != 1 || !slices.Contains(now.Orderers, "olga") || !slices.Contains(now.Approvers, "dave") || len(now.Alone) != 0 {
		t.Errorf("now fw-one is for %+v", now)
	}
	if dev := must[api.WhoCan](t)(audrey.WhoCan(ctx, "fw-dev", "")); len(dev.Alone) == 0 || dev.Alone[0].How == "" {
		t.Errorf("fw-dev is for %+v", dev)
	}
	if root := must[api.WhoCan](t)(audrey.WhoCan(ctx, "root", "")); root.Needed != 2 || !slices.Equal(root.Administrators, []string{"ada", "adam"}) {
		t.Errorf("root is for %+v", root)
	}
	without := written(k, func(c *law.Configuration) {
		testkit.ChangeKey(c, "fw-one", func(k *law.Key) { k.Requirement = law.Require(0) })
	})
	planned := must[api.WhoCan](t)(audrey.WhoCould(ctx, "fw-one", without))
	if planned.Requirement != 0 || len(planned.Alone) == 0 {
		t.Errorf("by the policy fw-one is for %+v", planned)
	}
	_, err := audrey.WhoCan(ctx, "fw-one", exampleID)
	refusedAs(t, "a session that there is not", err, api.NotFound)
	_, err = clientOf(k, "olga").WhoCan(ctx, "fw-one", "")
	refusedAs(t, "olga", err, api.Forbidden)
}

func TestFaultsOfAPolicyAreToldLineByLine(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	ada := clientOf(k, "ada")
	broken := strings.Replace(written(k, newKeyAndRole), "kind: user", "kind: robot", 2) + "more: 1\n"
	_, err := ada.OpenSession(ctx, api.NewSession{Description: "d", Policy: broken})
	p := refusedAs(t, "a policy with faults", err, api.PolicyFault)
	if lines := strings.Split(p.Detail, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], "line ") || !strings.Contains(lines[2], "`more`") {
		t.Errorf("the faults are told as %q", p.Detail)
	}
	_, err = ada.Difference(ctx, broken)
	refusedAs(t, "as a trial", err, api.PolicyFault)
	_, err = ada.WhoCould(ctx, "fw-one", broken)
	refusedAs(t, "to ask who could", err, api.PolicyFault)
	_, err = clientOf(k, "olga").Difference(ctx, broken)
	refusedAs(t, "of somebody who may not ask", err, api.Forbidden)
	s := k.ActiveSession(nil)
	_, err = ada.Change(ctx, string(s.ID), "d", "nothing: 1")
	refusedAs(t, "a fragment with faults", err, api.PolicyFault)

	// A trial tells all that a plan would be refused for.
	senseless := written(k, func(c *law.Configuration) {
		testkit.ChangeKey(c, "fw-one", func(k *law.Key) { k.Requirement = law.Require(500) })
		c.Administration.Administrators = 1
	})
	if d := must[api.PolicyDifference](t)(ada.Difference(ctx, senseless)); len(d.Items) != 2 || len(d.Faults) < 2 {
		t.Errorf("what makes no sense is told as %+v", d)
	}
	_, err = ada.OpenSession(ctx, api.NewSession{Description: "d", Policy: senseless})
	refusedAs(t, "a plan that makes no sense", err, api.Impossible)
}

// Law: whoever authorises can read all of what he authorises.
func TestPlanWithTenThousandSubjectsCanBeReadToItsEnd(t *testing.T) {
	k, ctx := testkit.New(t), context.Background()
	const people = 10_000
	wanted := written(k, func(c *law.Configuration) {
		for i := range people {
			c.Subjects = append(c.Subjects, testkit.Subject(k.IdP, law.SubjectID(fmt.Sprintf("person-%d", i)), law.User))
		}
	})
	ada, adam := clientOf(k, "ada"), clientOf(k, "adam")
	s := must[api.Session](t)(ada.OpenSession(ctx, api.NewSession{Description: "the whole company", Policy: wanted}))
	if s.Difference.Total != people || len(s.Difference.Items) != api.MaxItems {
		t.Errorf("the session has %d of %d items", len(s.Difference.Items), s.Difference.Total)
	}
	items := must[[]api.DifferenceItem](t)(adam.WholeDifference(ctx, s.ID))
	seen := map[string]bool{}
	for _, i := range items {
		seen[i.ID] = true
	}
	if len(items) != people || len(seen) != people {
		t.Errorf("%d items of %d subjects are told", len(items), len(seen))
	}
	if past := must[api.Difference](t)(adam.SessionDifference(ctx, s.ID, people+5)); past.Total != people || len(past.Items) != 0 {
		t.Errorf("past the end there is %+v", past)
	}
	if page := must[api.Sessions](t)(adam.Sessions(ctx, client.SessionFilter{})); page.Sessions[0].Difference != nil || page.Sessions[0].Plan != s.Plan {
		t.Errorf("the list has %+v", page.Sessions[0])
	}
	must[api.Session](t)(adam.AuthoriseSession(ctx, s.ID, s.Digest))
	if s = must[api.Session](t)(ada.ApplyPlan(ctx, s.ID)); s.State != api.SessionClosed {
		t.Errorf("applied: %s", s.State)
	}
	if subjects := must[[]api.Subject](t)(ada.Subjects(ctx)); len(subjects) < people {
		t.Errorf("there are %d subjects", len(subjects))
	}
}

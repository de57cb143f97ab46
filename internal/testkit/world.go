package testkit

import (
	"slices"

	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/law"
)

// World is the configuration of a kit: a small company.
//
//	olga           orders on all keys but fw-other; oscar on fw-other alone; the machine ci on fw-dev, fw-prod, fw-one
//	alice, bob     approve on all keys
//	carol          approves on fw-prod alone
//	dave           approves on fw-one alone
//	peter          orders and approves on fw-one and fw-prod
//	ada, adam      administer; audrey audits; eve is known and may do nothing
//
//	fw-dev         needs 0 approvals, fw-one 1, fw-prod 2, fw-other 1; all ECDSA P-256 with SHA-256
//	fw-ed          Ed25519, needs 0
//	ca-dev         a CA key, needs 0; root the ROOT key
func World(idp *identitytest.IdP) law.Configuration {
	person := func(id law.SubjectID) law.Subject { return Subject(idp, id, law.User) }
	all := []law.KeyID{"fw-dev", "fw-one", "fw-prod", "fw-ed", "ca-dev"}
	root := Key("root", 2)
	root.Type = law.Root
	ca := Key("ca-dev", 0)
	ca.Type = law.CA
	ed := Key("fw-ed", 0)
	ed.Algorithm, ed.Hash, ed.Schemes = law.Ed25519, law.SHA512, []law.Scheme{law.EdDSA}
	return law.Configuration{
		Issuers: []law.Issuer{idp.Issuer()},
		Keys:    []law.Key{Key("fw-dev", 0), Key("fw-one", 1), Key("fw-prod", 2), Key("fw-other", 1), ed, ca, root},
		Subjects: []law.Subject{
			person("olga"), person("oscar"), Subject(idp, "ci", law.Client), person("alice"), person("bob"), person("carol"), person("dave"),
			person("peter"), person("ada"), person("adam"), person("audrey"), person("eve"),
		},
		Roles: []law.Role{
			{ID: "orderers", Kind: law.Orderer, Keys: all, Members: []law.SubjectID{"olga"}},
			{ID: "other-orderers", Kind: law.Orderer, Keys: []law.KeyID{"fw-other"}, Members: []law.SubjectID{"oscar"}},
			{ID: "ci-orderers", Kind: law.Orderer, Keys: []law.KeyID{"fw-dev", "fw-prod", "fw-one"}, Members: []law.SubjectID{"ci"}},
			{ID: "peter-orders", Kind: law.Orderer, Keys: []law.KeyID{"fw-one", "fw-prod"}, Members: []law.SubjectID{"peter"}},
			{ID: "approvers", Kind: law.Approver, Keys: append(slices.Clone(all), "fw-other"), Members: []law.SubjectID{"alice", "bob"}},
			{ID: "prod-approvers", Kind: law.Approver, Keys: []law.KeyID{"fw-prod"}, Members: []law.SubjectID{"carol", "peter"}},
			{ID: "one-approvers", Kind: law.Approver, Keys: []law.KeyID{"fw-one"}, Members: []law.SubjectID{"dave", "peter"}},
			{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"ada", "adam"}},
			{ID: "auditors", Kind: law.Auditor, Members: []law.SubjectID{"audrey"}},
		},
	}
}

// Subject is an enabled subject that the identity provider knows by the same name.
func Subject(idp *identitytest.IdP, id law.SubjectID, kind law.SubjectKind) law.Subject {
	return law.Subject{
		ID: id, Kind: kind, Name: "The " + string(id), Enabled: true,
		Identities: []law.Identity{{Issuer: idp.URL, Claims: map[string][]string{"sub": {string(id)}}}},
	}
}

// Key is an active FW key, ECDSA P-256 with SHA-256, of which an operation may have 1000 uses for a day.
func Key(id law.KeyID, requirement int) law.Key {
	return law.Key{
		ID: id, Type: law.Firmware, Algorithm: law.P256, Hash: law.SHA256, Schemes: []law.Scheme{law.ECDSA},
		Requirement: law.Require(requirement), MaxValidity: Day, MaxUses: 1000, Approvals: law.SessionApprovals,
		State: law.KeyActive, Keystore: "software",
	}
}

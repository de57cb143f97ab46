package httpapi

import (
	"encoding/hex"
	"maps"
	"slices"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
)

func changedOut(c law.Configuration) api.Changed {
	var out api.Changed
	if c.Administration != (law.Administration{}) {
		a := c.Administration.Effective()
		out.Administration = &api.Administration{Administrators: a.Administrators, ActiveMS: a.Active.Milliseconds()}
	}
	for _, i := range c.Issuers {
		out.Issuers = append(out.Issuers, api.Issuer{
			URL: i.URL, Audiences: i.Audiences, Algorithms: i.Algorithms, Types: i.Types, KeysURL: i.KeysURL,
			ActorClaim: i.ActorClaim, ActorOptional: i.ActorOptional, CapturedClaims: i.Captured,
		})
	}
	for _, s := range c.Subjects {
		out.Subjects = append(out.Subjects, subjectOut(s))
	}
	for _, r := range c.Roles {
		out.Roles = append(out.Roles, roleOut(r))
	}
	for _, k := range c.Keys {
		out.Keys = append(out.Keys, keyOut(k))
	}
	return out
}

func subjectOut(s law.Subject) api.Subject {
	out := api.Subject{Subject: string(s.ID), Kind: string(s.Kind), Name: s.Name, Enabled: s.Enabled}
	for _, i := range s.Identities {
		identity := api.Identity{Issuer: i.Issuer}
		for _, name := range slices.Sorted(maps.Keys(i.Claims)) {
			identity.Claims = append(identity.Claims, api.ClaimMatch{Name: name, Values: i.Claims[name]})
		}
		out.Identities = append(out.Identities, identity)
	}
	for _, a := range s.Actors {
		out.Actors = append(out.Actors, api.Actor(a))
	}
	return out
}

func roleOut(r law.Role) api.ConfiguredRole {
	return api.ConfiguredRole{Role: string(r.ID), Kind: string(r.Kind), Keys: texts(r.Keys), Members: texts(r.Members)}
}

func profileOut(p *law.Profile) *api.Profile {
	if p == nil {
		return nil
	}
	return &api.Profile{
		Subject: api.Name{
			Country: p.Subject.Country, Province: p.Subject.Province, Locality: p.Subject.Locality, Organization: p.Subject.Organization,
			OrganizationalUnit: p.Subject.OrganizationalUnit, CommonName: p.Subject.CommonName,
		},
		ValidMS: p.Validity.Milliseconds(), PathLength: p.PathLen, KeyUsage: texts(p.KeyUsage), ExtendedKeyUsage: p.ExtendedKeyUsage, CRLURL: p.CRLURL,
	}
}

func devicesOut(p *law.DeviceProfile) *api.DeviceProfile {
	if p == nil {
		return nil
	}
	out := &api.DeviceProfile{
		Digest: p.Digest(), Identity: p.Identity, Algorithms: texts(p.Algorithms),
		ValidMS: p.Validity.Milliseconds(), NoExpiry: p.NoExpiry, KeyUsage: texts(p.KeyUsage), ExtendedKeyUsage: texts(p.ExtendedKeyUsage),
		Policies: texts(p.Policies), CRLURL: p.CRLURL, OCSPURL: p.OCSPURL, IssuerURL: p.IssuerURL, Duplicates: string(p.Duplicates),
	}
	for _, a := range p.Subject {
		out.Subject = append(out.Subject, api.DeviceAttribute{Type: a.Type, Fixed: a.Fixed, Pattern: a.Pattern, MaxLength: a.MaxLength, Optional: a.Optional})
	}
	for _, n := range p.Names {
		out.Names = append(out.Names, api.DeviceName{
			Kind: string(n.Kind), HardwareType: n.HardwareType, Fixed: n.Fixed, Pattern: n.Pattern, MaxLength: n.MaxLength, Most: n.Most, Optional: n.Optional,
		})
	}
	for _, e := range p.Extensions {
		out.Extensions = append(out.Extensions, api.DeviceExtension{ID: e.ID, Value: hex.EncodeToString(e.Value)})
	}
	return out
}

func whoCanOut(w law.WhoCan) api.WhoCan {
	out := api.WhoCan{
		KeyID: string(w.Key), Type: string(w.Type), State: string(w.State), Requirement: w.Requirement.People(),
		Orderers: texts(w.Orderers), Approvers: texts(w.Approvers), Administrators: texts(w.Administrators), Needed: w.Needed,
	}
	for _, n := range w.Never {
		out.Never = append(out.Never, api.Never{Orderer: string(n.Orderer), Why: n.Why})
	}
	for _, a := range w.Alone {
		out.Alone = append(out.Alone, api.Alone{Subjects: texts(a.Subjects), How: a.How})
	}
	for _, p := range w.Persons {
		out.Persons = append(out.Persons, texts(p))
	}
	return out
}

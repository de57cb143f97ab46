package audit

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"time"

	"example.org/keyserver/internal/law"
)

type issuerValue struct {
	URL           string   `json:"url"`
	Audiences     []string `json:"audiences"`
	Algorithms    []string `json:"algorithms"`
	Types         []string `json:"types"`
	KeysURL       string   `json:"keysurl"`
	ActorClaim    string   `json:"actorclaim"`
	ActorOptional bool     `json:"actoroptional"`
	Captured      []string `json:"capturedclaims"`
}

type subjectValue struct {
	ID         law.SubjectID   `json:"id"`
	Kind       law.SubjectKind `json:"kind"`
	Name       string          `json:"name"`
	Enabled    bool            `json:"enabled"`
	Identities []law.Identity  `json:"identities"`
	Actors     []law.ActorName `json:"actors"`
}

type roleValue struct {
	ID      law.RoleID      `json:"id"`
	Kind    law.RoleKind    `json:"kind"`
	Keys    []law.KeyID     `json:"keys"`
	Members []law.SubjectID `json:"members"`
}

type keyValue struct {
	ID              law.KeyID        `json:"keyid"`
	Type            law.KeyType      `json:"type"`
	Algorithm       law.Algorithm    `json:"algorithm"`
	Hash            law.Hash         `json:"hash"`
	Schemes         []law.Scheme     `json:"schemes"`
	Requirement     *int             `json:"requirement"`
	MaxValidity     int64            `json:"maxvalidityms"`
	MaxUses         int              `json:"maxusagecount"`
	Approvals       law.ApprovalMode `json:"approvals"`
	ArtifactsNeeded bool             `json:"artifactsneeded"`
	State           law.KeyState     `json:"state"`
	Keystore        string           `json:"keystore"`
	Version         int              `json:"version"`
	Handle          string           `json:"handle"`
	PublicKey       []byte           `json:"publickey"` // SubjectPublicKeyInfo, DER
	Fingerprint     string           `json:"fingerprint"`
	Adopted         string           `json:"adopted"`
	MayLeave        bool             `json:"mayleave"`
	Profile         *profileValue    `json:"profile"`

	Attributes *law.KeyAttributes `json:"attributes,omitzero"` // absent if the keystore says nothing
	Devices    jsontext.Value     `json:"devices,omitzero"`    // the canonical form of a device profile; absent if there is none
}

type profileValue struct {
	Subject          nameValue      `json:"subject"`
	Validity         int64          `json:"validityms"`
	PathLen          int            `json:"pathlen"`
	KeyUsage         []law.KeyUsage `json:"keyusage"`
	ExtendedKeyUsage []string       `json:"extendedkeyusage"`
	CRLURL           string         `json:"crlurl"`
}

type nameValue struct {
	Country            string `json:"country"`
	Province           string `json:"province"`
	Locality           string `json:"locality"`
	Organization       string `json:"organization"`
	OrganizationalUnit string `json:"organizationalunit"`
	CommonName         string `json:"commonname"`
}

type administrationValue struct {
	Administrators int   `json:"administrators"`
	Active         int64 `json:"activems"`
}

// administration is the id of the one object of its kind.
const administration = "administration"

// removed is the value of an object that is configured no more.
const removed = "null"

// Removed is the event's form of a role or issuer that is configured no more.
func Removed(kind ConfigurationKind, id string) Configuration {
	return Configuration{Kind: kind, ID: id, Value: jsontext.Value(removed)}
}

// Removes says whether the object is configured no more.
func (c Configuration) Removes() bool { return string(c.Value) == removed }

// ConfigurationOf returns the objects of a configuration as they stand in events: administration, issuers, keys, subjects,
// roles, each before the ones that refer to it.
func ConfigurationOf(c law.Configuration) ([]Configuration, error) {
	var out []Configuration
	var values []any
	add := func(kind ConfigurationKind, id string, value any) {
		out, values = append(out, Configuration{Kind: kind, ID: id}), append(values, value)
	}
	if a := c.Administration; a != (law.Administration{}) {
		add(ConfiguredAdministration, administration, administrationValue{a.Administrators, a.Active.Milliseconds()})
	}
	for _, i := range c.Issuers {
		add(ConfiguredIssuer, i.URL, issuerValue(i))
	}
	for _, k := range c.Keys {
		v, err := valueOfKey(k)
		if err != nil {
			return nil, fmt.Errorf("writing key %s: %w", k.ID, err)
		}
		add(ConfiguredKey, string(k.ID), v)
	}
	for _, s := range c.Subjects {
		add(ConfiguredSubject, string(s.ID), subjectValue(s))
	}
	for _, r := range c.Roles {
		add(ConfiguredRole, string(r.ID), roleValue(r))
	}
	for i := range out {
		body, err := json.Marshal(values[i])
		if err == nil {
			err = (*jsontext.Value)(&body).Canonicalize()
		}
		if err != nil {
			return nil, fmt.Errorf("writing %s %s: %w", out[i].Kind, out[i].ID, err)
		}
		out[i].Value = body
	}
	return out, nil
}

// AddTo reads the object back into a configuration. An unknown kind or member is an error.
func (c Configuration) AddTo(all *law.Configuration) error {
	read := func(into any) error { return json.Unmarshal(c.Value, into, json.RejectUnknownMembers(true)) }
	if c.Removes() {
		return fmt.Errorf("reading configuration: %s %s is not there", c.Kind, c.ID)
	}
	var err error
	switch c.Kind {
	case ConfiguredAdministration:
		var v administrationValue
		err = read(&v)
		all.Administration = law.Administration{Administrators: v.Administrators, Active: time.Duration(v.Active) * time.Millisecond}
	case ConfiguredIssuer:
		var v issuerValue
		err = read(&v)
		all.Issuers = append(all.Issuers, law.Issuer(v))
	case ConfiguredSubject:
		var v subjectValue
		err = read(&v)
		all.Subjects = append(all.Subjects, law.Subject(v))
	case ConfiguredRole:
		var v roleValue
		err = read(&v)
		all.Roles = append(all.Roles, law.Role(v))
	case ConfiguredKey:
		var v keyValue
		var k law.Key
		if err = read(&v); err == nil {
			k, err = v.key()
		}
		all.Keys = append(all.Keys, k)
	default:
		return fmt.Errorf("reading configuration: kind %q is unknown", c.Kind)
	}
	if err != nil {
		return fmt.Errorf("reading configuration of %s %s: %w", c.Kind, c.ID, err)
	}
	return nil
}

func valueOfKey(k law.Key) (keyValue, error) {
	v := keyValue{
		ID: k.ID, Type: k.Type, Algorithm: k.Algorithm, Hash: k.Hash, Schemes: k.Schemes,
		MaxValidity: k.MaxValidity.Milliseconds(), MaxUses: k.MaxUses, Approvals: k.Approvals, ArtifactsNeeded: k.ArtifactsNeeded,
		State: k.State, Keystore: k.Keystore, Version: k.Version, Handle: k.Handle, PublicKey: k.PublicKey,
		Fingerprint: k.Fingerprint, Attributes: k.Attributes, Adopted: k.Adopted, MayLeave: k.MayLeave,
	}
	if p := k.Profile; p != nil {
		v.Profile = &profileValue{nameValue(p.Subject), p.Validity.Milliseconds(), p.PathLen, p.KeyUsage, p.ExtendedKeyUsage, p.CRLURL}
	}
	if k.Requirement.Set() {
		people := k.Requirement.People()
		v.Requirement = &people
	}
	if k.Devices == nil {
		return v, nil
	}
	var err error
	v.Devices, err = k.Devices.Canonical()
	return v, err
}

func (v keyValue) key() (law.Key, error) {
	k := law.Key{
		ID: v.ID, Type: v.Type, Algorithm: v.Algorithm, Hash: v.Hash, Schemes: v.Schemes,
		MaxValidity: time.Duration(v.MaxValidity) * time.Millisecond, MaxUses: v.MaxUses, Approvals: v.Approvals, ArtifactsNeeded: v.ArtifactsNeeded,
		State: v.State, Keystore: v.Keystore, Version: v.Version, Handle: v.Handle, PublicKey: v.PublicKey,
		Fingerprint: v.Fingerprint, Attributes: v.Attributes, Adopted: v.Adopted, MayLeave: v.MayLeave,
	}
	if p := v.Profile; p != nil {
		k.Profile = &law.Profile{
			Subject: law.Name(p.Subject), Validity: time.Duration(p.Validity) * time.Millisecond, PathLen: p.PathLen, KeyUsage: p.KeyUsage,
			ExtendedKeyUsage: p.ExtendedKeyUsage, CRLURL: p.CRLURL,
		}
	}
	if v.Requirement != nil { // a requirement that is absent stays unset, which nobody meets
		k.Requirement = law.Require(*v.Requirement)
	}
	if v.Devices == nil {
		return k, nil
	}
	p, err := law.ParseDeviceProfile(v.Devices)
	k.Devices = &p
	return k, err
}

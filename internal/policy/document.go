// Package policy is the one format in which people write the configuration: who may sign in, who may do what, and the
// keys. It is YAML, or JSON since that is YAML. A policy is the whole configuration: what keyserver init begins with,
// what an export writes, and what a plan is made from. A fragment is a part of one: a single change.
package policy

import (
	"fmt"
	"net/netip"
	"net/url"
	"sort"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/strictyaml"
)

// The document, item by item. The tag `omitempty` marks a field that may be absent; all others are
// required, and an empty list or text is never taken for an absent one.
type (
	document struct {
		// Administration says what an administration session takes. The zero value means two administrators and an hour.
		Administration *administrationItem `yaml:"administration,omitempty"`
		// Issuers are the identity providers whose access tokens are accepted. At least one.
		Issuers []issuerItem `yaml:"issuers"`
		// Subjects are the people and machines that the keyserver knows. At least one.
		Subjects []subjectItem `yaml:"subjects"`
		// Roles are the grants. At least one.
		Roles []roleItem `yaml:"roles"`
		// Keys are the signing keys. At least one.
		Keys []keyItem `yaml:"keys"`
	}

	// fragment has any of the parts of a document.
	fragment struct {
		Administration *administrationItem `yaml:"administration,omitempty"`
		Issuers        []issuerItem        `yaml:"issuers,omitempty"`
		Subjects       []subjectItem       `yaml:"subjects,omitempty"`
		Roles          []roleItem          `yaml:"roles,omitempty"`
		Keys           []keyItem           `yaml:"keys,omitempty"`
		// Remove names what goes.
		Remove *removeItem `yaml:"remove,omitempty"`
		// ReplacePairs are keys that get a new key pair.
		ReplacePairs []string `yaml:"replace-pairs,omitempty"`
	}

	removeItem struct {
		// Roles are ids of roles.
		Roles []string `yaml:"roles,omitempty"`
		// Issuers are URLs of issuers.
		Issuers []string `yaml:"issuers,omitempty"`
	}

	administrationItem struct {
		line
		// Administrators is how many must authorise a session, its opener counted.
		Administrators int `yaml:"administrators"`
		// Active is how long a session is active.
		Active strictyaml.Milliseconds `yaml:"active-validityms"`
	}

	issuerItem struct {
		line
		// URL is the iss claim, byte for byte.
		URL string `yaml:"url"`
		// Audiences: one of them must be in the aud claim.
		Audiences []string `yaml:"audiences"`
		// Algorithms are JWS algorithms, asymmetric only.
		Algorithms []string `yaml:"algorithms"`
		// Types are values of the typ header.
		Types []string `yaml:"types"`
		// KeysURL is where its keys are. The zero value means that they are found by discovery.
		KeysURL string `yaml:"keys-url,omitempty"`
		// ActorClaim names the claim that tells the person behind a token. The zero value means that its
		// tokens have no such claim.
		ActorClaim string `yaml:"actor-claim,omitempty"`
		// Actor says whether a token must tell a known person. The zero value means required.
		Actor string `yaml:"actor,omitempty" oneof:"required,optional"`
		// CapturedClaims are stored with an operation and shown to approvers. The zero value means none.
		CapturedClaims []string `yaml:"captured-claims,omitempty"`
	}

	subjectItem struct {
		line
		// ID names the subject for ever.
		ID string `yaml:"id"`
		// Kind tells people from machines.
		Kind string `yaml:"kind" oneof:"user,client"`
		// Name is shown to people.
		Name string `yaml:"name"`
		// Enabled is true when it is absent: to name a subject here is the explicit act. Absence grants
		// nothing, since a subject can do only what a role in the same file lets it do.
		Enabled *bool `yaml:"enabled,omitempty"`
		// Identities are the ways to sign in. The zero value means that the subject cannot.
		Identities []identityItem `yaml:"identities,omitempty"`
		// Actors are the names the subject has in the actor claims of CI tokens. The zero value means none.
		Actors []actorItem `yaml:"actors,omitempty"`
	}

	identityItem struct {
		// Issuer is the URL of an issuer in the same file.
		Issuer string `yaml:"issuer"`
		// Claims must all match; of the values of one claim, any.
		Claims map[string]strictyaml.OneOrMore `yaml:"claims"`
	}

	actorItem struct {
		// Issuer is the URL of an issuer in the same file that has an actor claim.
		Issuer string `yaml:"issuer"`
		// Value is that of the actor claim.
		Value string `yaml:"value"`
	}

	roleItem struct {
		line
		// ID names the role.
		ID string `yaml:"id"`
		// Kind says what the role lets its members do.
		Kind string `yaml:"kind" oneof:"orderer,approver,administrator,auditor"`
		// Keys are those the role covers. Required for orderers and approvers, refused for the others.
		Keys []string `yaml:"keys,omitempty"`
		// Members are ids of subjects.
		Members []string `yaml:"members"`
	}

	keyItem struct {
		line
		// KeyID names the key for ever.
		KeyID string `yaml:"keyid"`
		// Type says what the key is for.
		Type string `yaml:"type" oneof:"ROOT,CA,FW"`
		// Algorithm is the kind of key pair.
		Algorithm string `yaml:"algorithm"`
		// Hash is what the key signs digests of.
		Hash string `yaml:"hash"`
		// Schemes are the signature schemes it may make.
		Schemes []string `yaml:"schemes"`
		// Requirement is how many people must approve. Absent is an error, never 0 (AR-02).
		Requirement int `yaml:"requirement"`
		// MaxValidity is the longest validity an operation may ask for.
		MaxValidity strictyaml.Milliseconds `yaml:"max-validityms"`
		// MaxUses is the largest use count an operation may ask for.
		MaxUses int `yaml:"max-usagecount"`
		// Approvals says how an approval must be given.
		Approvals string `yaml:"approvals"`
		// Artifacts says whether an operation must name its artifacts.
		Artifacts string `yaml:"artifacts" oneof:"optional,required"`
		// Keystore is the name of a keystore of the server's configuration.
		Keystore string `yaml:"keystore"`
		// Adopt names a key pair that the keystore has already. The zero value means that a new one is made.
		Adopt string `yaml:"adopt,omitempty"`
		// Extractable says whether a key pair is adopted that could leave its keystore. The zero value means refused.
		Extractable string `yaml:"extractable,omitempty" oneof:"refused,allowed"`
		// State is active when it is absent: to name a key is the explicit act, and a new key can be nothing else.
		State string `yaml:"state,omitempty" oneof:"active,disabled,revoked"`
		// Certificate says what the key's certificate holds. The zero value means that it gets none.
		Certificate *certificateItem `yaml:"certificate,omitempty"`
		// Devices says what device certificates the key issues. The zero value means that it issues none.
		Devices *devicesItem `yaml:"devices,omitempty"`
	}

	certificateItem struct {
		// Subject is its subject.
		Subject nameItem `yaml:"subject"`
		// Validity is how long it is valid, whole seconds.
		Validity strictyaml.Milliseconds `yaml:"validityms"`
		// PathLength is how many CA certificates may follow below it. Required for ROOT and CA keys, refused for FW keys.
		PathLength *int `yaml:"path-length,omitempty"`
		// KeyUsage names the bits of the key usage extension.
		KeyUsage []string `yaml:"key-usage"`
		// ExtendedKeyUsage names extended key usages, or gives their object identifiers. The zero value means none.
		ExtendedKeyUsage []string `yaml:"extended-key-usage,omitempty"`
		// CRLURL is where the key's revocation list is. The zero value means that certificates do not say.
		CRLURL string `yaml:"crl-url,omitempty"`
	}

	nameItem struct {
		CommonName         string `yaml:"common-name"`
		Organization       string `yaml:"organization,omitempty"`
		OrganizationalUnit string `yaml:"organizational-unit,omitempty"`
		Locality           string `yaml:"locality,omitempty"`
		Province           string `yaml:"province,omitempty"`
		Country            string `yaml:"country,omitempty"`
	}
)

type line = strictyaml.Line

// Fault says what is wrong with what a session takes.
func (a administrationItem) Fault() string {
	if a.Administrators == 0 {
		return "`administrators` must be at least 1; leave `administration` out for 2"
	}
	return ""
}

// Fault says what is wrong between the fields of an issuer.
func (i issuerItem) Fault() string {
	switch {
	case i.Actor != "" && i.ActorClaim == "":
		return "`actor` says something of a claim that `actor-claim` does not name; name it or remove `actor`"
	case !safeURL(i.URL):
		return "`url` must be an https:// URL as it stands in the iss claim; plain http:// is for loopback only"
	case i.KeysURL != "" && !safeURL(i.KeysURL):
		return "`keys-url` must be an https:// URL; plain http:// is for loopback only"
	}
	return ""
}

// Fault says what is wrong between the fields of a key.
func (k keyItem) Fault() string {
	authority := k.Type == string(law.Root) || k.Type == string(law.CA)
	switch {
	case k.Certificate == nil:
	case authority && k.Certificate.PathLength == nil:
		return "`certificate` lacks the field `path-length`; say how many CA certificates may follow below this one"
	case !authority && k.Certificate.PathLength != nil:
		return "`certificate` has the field `path-length`, but only ROOT and CA keys issue certificates; remove it"
	}
	if k.Extractable != "" && k.Adopt == "" {
		return "`extractable` says something of a key pair that is adopted, and this one is made; name it in `adopt` or remove `extractable`"
	}
	return ""
}

// safeURL says whether what is read from there comes from whom the URL names.
func safeURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Hostname() != "" && u.User == nil && u.Fragment == "" &&
		(u.Scheme == "https" || u.Scheme == "http" && OnLoopback(u))
}

// OnLoopback says whether a URL leads to this machine, whatever name servers say (RFC 6761 for localhost).
func OnLoopback(u *url.URL) bool {
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.Unmap().IsLoopback() || u.Hostname() == "localhost"
}

func (b document) items() int {
	return b.administrations() + len(b.Issuers) + len(b.Keys) + len(b.Subjects) + len(b.Roles)
}

// blame says in which line the item begins that the law refuses: the last one of the shortest beginning
// that is refused, in the order in which law.NewFacts takes them (each kind refers only to kinds before it).
func (b document) blame() error {
	n := sort.Search(b.items(), func(n int) bool {
		_, err := law.NewFacts(b.firstItems(n))
		return err != nil
	})
	_, err := law.NewFacts(b.firstItems(n))
	var lines []line
	if b.Administration != nil {
		lines = append(lines, b.Administration.line)
	}
	for _, i := range b.Issuers {
		lines = append(lines, i.line)
	}
	for _, k := range b.Keys {
		lines = append(lines, k.line)
	}
	for _, s := range b.Subjects {
		lines = append(lines, s.line)
	}
	for _, r := range b.Roles {
		lines = append(lines, r.line)
	}
	return fmt.Errorf("line %d: %w", lines[n-1], err)
}

// firstItems turns the first n items, in the order of law.NewFacts, into the law's words.
func (b document) firstItems(n int) law.Configuration {
	var c law.Configuration
	if take(&n, b.administrations()) > 0 {
		c.Administration = b.Administration.law()
	}
	for _, i := range b.Issuers[:take(&n, len(b.Issuers))] {
		c.Issuers = append(c.Issuers, i.law())
	}
	for _, k := range b.Keys[:take(&n, len(b.Keys))] {
		c.Keys = append(c.Keys, k.law())
	}
	for _, s := range b.Subjects[:take(&n, len(b.Subjects))] {
		c.Subjects = append(c.Subjects, s.law())
	}
	for _, r := range b.Roles[:take(&n, len(b.Roles))] {
		c.Roles = append(c.Roles, r.law())
	}
	return c
}

func (b document) administrations() int {
	if b.Administration == nil {
		return 0
	}
	return 1
}

func take(n *int, most int) int {
	taken := min(*n, most)
	*n -= taken
	return taken
}

func (a administrationItem) law() law.Administration {
	return law.Administration{Administrators: a.Administrators, Active: a.Active.Duration()}
}

func (i issuerItem) law() law.Issuer {
	return law.Issuer{
		URL: i.URL, Audiences: i.Audiences, Algorithms: i.Algorithms, Types: i.Types, KeysURL: i.KeysURL,
		ActorClaim: i.ActorClaim, ActorOptional: i.Actor == "optional", Captured: i.CapturedClaims,
	}
}

func (s subjectItem) law() law.Subject {
	out := law.Subject{ID: law.SubjectID(s.ID), Kind: law.SubjectKind(s.Kind), Name: s.Name, Enabled: s.Enabled == nil || *s.Enabled}
	for _, i := range s.Identities {
		claims := map[string][]string{}
		for claim, values := range i.Claims {
			claims[claim] = values
		}
		out.Identities = append(out.Identities, law.Identity{Issuer: i.Issuer, Claims: claims})
	}
	for _, a := range s.Actors {
		out.Actors = append(out.Actors, law.ActorName(a))
	}
	return out
}

func (r roleItem) law() law.Role {
	return law.Role{ID: law.RoleID(r.ID), Kind: law.RoleKind(r.Kind), Keys: as[law.KeyID](r.Keys), Members: as[law.SubjectID](r.Members)}
}

func (k keyItem) law() law.Key {
	out := law.Key{
		ID: law.KeyID(k.KeyID), Type: law.KeyType(k.Type), Algorithm: law.Algorithm(k.Algorithm), Hash: law.Hash(k.Hash),
		Schemes: as[law.Scheme](k.Schemes), Requirement: law.Require(k.Requirement),
		MaxValidity: k.MaxValidity.Duration(), MaxUses: k.MaxUses, Approvals: law.ApprovalMode(k.Approvals),
		ArtifactsNeeded: k.Artifacts == "required", State: law.KeyActive, Keystore: k.Keystore, Adopted: k.Adopt,
		MayLeave: k.Extractable == "allowed",
	}
	if k.State != "" {
		out.State = law.KeyState(k.State)
	}
	if c := k.Certificate; c != nil {
		out.Profile = &law.Profile{
			Subject: law.Name{
				Country: c.Subject.Country, Province: c.Subject.Province, Locality: c.Subject.Locality, Organization: c.Subject.Organization,
				OrganizationalUnit: c.Subject.OrganizationalUnit, CommonName: c.Subject.CommonName,
			},
			Validity: c.Validity.Duration(), KeyUsage: as[law.KeyUsage](c.KeyUsage), ExtendedKeyUsage: c.ExtendedKeyUsage, CRLURL: c.CRLURL,
		}
		if c.PathLength != nil {
			out.Profile.PathLen = *c.PathLength
		}
	}
	if k.Devices != nil {
		out.Devices = k.Devices.law()
	}
	return out
}

// as gives words read from a file the type that the law has for them.
func as[T ~string](words []string) []T {
	var out []T
	for _, w := range words {
		out = append(out, T(w))
	}
	return out
}

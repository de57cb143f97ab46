package law

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

// SubjectID names a subject: a person or a machine.
type SubjectID string

// SubjectKind tells people from machines.
type SubjectKind string

const (
	User   SubjectKind = "user"   // a person
	Client SubjectKind = "client" // a machine; never an approver or administrator
)

// Identity is one way a subject signs in: tokens of the issuer in which every named claim has one of the
// listed values, byte for byte. At least one claim is named.
type Identity struct {
	Issuer string              `json:"issuer"`
	Claims map[string][]string `json:"claims"`
}

// Subject is a person or machine that the keyserver knows.
type Subject struct {
	ID         SubjectID
	Kind       SubjectKind
	Name       string // display name
	Enabled    bool
	Identities []Identity
	Actors     []ActorName
}

// ActorName is how the CI tokens of an issuer name the person who set them off: the value of the issuer's
// actor claim. It never signs anybody in.
type ActorName struct {
	Issuer string `json:"issuer"`
	Value  string `json:"value"`
}

// Issuer is an identity provider whose access tokens are accepted.
type Issuer struct {
	URL           string   // the iss claim, byte for byte
	Audiences     []string // one of them must be in the aud claim
	Algorithms    []string // JWS algorithms (RFC 7518), asymmetric only
	Types         []string // typ header values, such as at+jwt (RFC 9068)
	KeysURL       string   // JWKS; empty: found by OpenID Connect discovery
	ActorClaim    string   // names the person behind a CI token; empty: the issuer has none
	ActorOptional bool     // a token without a known actor may create operations nevertheless
	Captured      []string // claims stored with an operation and shown to approvers
}

// Configuration is everything that administrators decide: who may sign in, who may do what, and the keys.
type Configuration struct {
	Administration Administration
	Issuers        []Issuer
	Subjects       []Subject
	Roles          []Role
	Keys           []Key
}

// Administration says what an administration session takes. The zero value means two administrators and one hour.
type Administration struct {
	Administrators int           // who must authorise a session, its opener counted; 0 means 2; 1 in development mode only
	Active         time.Duration // how long a session is active, whole milliseconds; 0 means one hour
}

// Check returns what is wrong with the configuration of the subject, nil if nothing is.
func (s Subject) Check() error {
	if err := checkID(string(s.ID)); err != nil {
		return fmt.Errorf("subject %q: %w", s.ID, err)
	}
	if s.Kind != User && s.Kind != Client {
		return fmt.Errorf("subject %s: kind %q is unknown; it must be user or client", s.ID, s.Kind)
	}
	if err := CheckLine(s.Name, 200); err != nil {
		return fmt.Errorf("subject %s: name: %w", s.ID, err)
	}
	for _, i := range s.Identities {
		if i.Issuer == "" || len(i.Claims) == 0 {
			return fmt.Errorf("subject %s: an identity needs an issuer and at least one claim", s.ID)
		}
		for claim, values := range i.Claims {
			if claim == "" || len(values) == 0 || slices.Contains(values, "") {
				return fmt.Errorf("subject %s: claim %q of issuer %s needs at least one value, and no empty one", s.ID, claim, i.Issuer)
			}
			if claim == "email" || claim == "preferred_username" || claim == "upn" {
				return fmt.Errorf("subject %s: claim %q can change hands and is never an identity; match on sub (or oid)", s.ID, claim)
			}
		}
	}
	for _, a := range s.Actors {
		if a.Issuer == "" || a.Value == "" {
			return fmt.Errorf("subject %s: an actor name needs an issuer and a value", s.ID)
		}
		if s.Kind != User {
			return fmt.Errorf("subject %s: only a person can be the actor of a CI token", s.ID)
		}
	}
	return nil
}

// Check returns what is wrong with the configuration of the issuer, nil if nothing is.
func (i Issuer) Check() error {
	switch {
	case i.URL == "":
		return fmt.Errorf("an issuer has no url; write the iss claim of its tokens")
	case len(i.Audiences) == 0 || slices.Contains(i.Audiences, ""):
		return fmt.Errorf("issuer %s: no audience; name what its tokens for this server carry as aud", i.URL)
	case len(i.Algorithms) == 0:
		return fmt.Errorf("issuer %s: no algorithm; name those it signs with, such as RS256 or ES256", i.URL)
	case len(i.Types) == 0:
		return fmt.Errorf("issuer %s: no token type; name the typ of its access tokens, such as at+jwt", i.URL)
	case i.ActorOptional && i.ActorClaim == "":
		return fmt.Errorf("issuer %s: the actor is optional but no actor claim is named", i.URL)
	case slices.Contains(i.Captured, ""):
		return fmt.Errorf("issuer %s: a captured claim has no name", i.URL)
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(asymmetric, a) {
			return fmt.Errorf("issuer %s: algorithm %q is not allowed; use one of %v", i.URL, a, asymmetric)
		}
	}
	return nil
}

// RoleID names a role.
type RoleID string

// RoleKind is what a role lets its members do.
type RoleKind string

const (
	Orderer       RoleKind = "orderer"
	Approver      RoleKind = "approver"
	Administrator RoleKind = "administrator"
	Auditor       RoleKind = "auditor"
)

// Role is a named grant. Orderer and approver roles list the keys they cover.
type Role struct {
	ID      RoleID
	Kind    RoleKind
	Keys    []KeyID
	Members []SubjectID
}

// Facts is the world as it is now: what the law judges by. Make it with [NewFacts]; the zero Facts knows
// nobody and refuses everything.
type Facts struct {
	// ClockHeld says that the clock is more than [ClockSlack] behind its mark: nothing is created,
	// approved or signed until an operator has accepted the clock (rule 8).
	ClockHeld bool

	administration Administration

	issuers  map[string]Issuer
	subjects map[SubjectID]Subject
	roles    map[RoleID]Role
	keys     map[KeyID]Key
	devices  map[KeyID]string // digests of the profiles of device certificates
	profiles map[KeyID]string // digests of what CA keys put into the certificates of FW keys
	grants   map[grant]struct{}
	actors   map[ActorName]SubjectID
	signIns  map[claimValue][]signIn
	making   Making
}

// Making names one call of [NewFacts]. It can be compared and kept without keeping the Facts.
type Making struct{ at *struct{ _ byte } } // of a size, so that no two have the same address

type grant struct {
	who  SubjectID
	kind RoleKind
	key  KeyID // empty for administrators and auditors
}

// NewFacts checks that the parts of a configuration make sense together and returns them as Facts. The
// error says what to mend.
func NewFacts(c Configuration) (Facts, error) {
	f := Facts{
		issuers: map[string]Issuer{}, subjects: map[SubjectID]Subject{}, roles: map[RoleID]Role{}, keys: map[KeyID]Key{},
		devices: map[KeyID]string{}, profiles: map[KeyID]string{},
		grants: map[grant]struct{}{}, actors: map[ActorName]SubjectID{}, making: Making{new(struct{ _ byte })},
	}
	if err := c.Administration.Check(); err != nil {
		return Facts{}, err
	}
	f.administration = c.Administration
	for _, i := range c.Issuers {
		if err := i.Check(); err != nil {
			return Facts{}, err
		}
		if _, twice := f.issuers[i.URL]; twice {
			return Facts{}, fmt.Errorf("issuer %s is named twice", i.URL)
		}
		f.issuers[i.URL] = i
	}
	pairs := map[string]KeyID{}
	for _, k := range c.Keys {
		if err := k.Check(); err != nil {
			return Facts{}, err
		}
		if _, twice := f.keys[k.ID]; twice {
			return Facts{}, fmt.Errorf("key %s is named twice", k.ID)
		}
		f.keys[k.ID] = k
		if k.Devices != nil {
			f.devices[k.ID] = k.Devices.Digest()
		}
		if other, taken := pairs[k.Fingerprint]; taken {
			return Facts{}, fmt.Errorf("keys %s and %s have the same key pair; what one of them requires would be worth nothing", other, k.ID)
		}
		if k.Fingerprint != "" { // else it has none yet
			pairs[k.Fingerprint] = k.ID
		}
	}
	for _, k := range c.Keys {
		if k.Type == CA {
			f.profiles[k.ID] = ProfilesDigest(k, c.Keys)
		}
	}
	for _, s := range c.Subjects {
		if err := f.addSubject(s); err != nil {
			return Facts{}, err
		}
	}
	if err := checkOverlap(c.Subjects); err != nil {
		return Facts{}, err
	}
	f.signIns = signIns(c.Subjects)
	for _, r := range c.Roles {
		if err := f.addRole(r); err != nil {
			return Facts{}, err
		}
	}
	return f, nil
}

func (f Facts) addSubject(s Subject) error {
	if err := s.Check(); err != nil {
		return err
	}
	if _, twice := f.subjects[s.ID]; twice {
		return fmt.Errorf("subject %s is named twice", s.ID)
	}
	for _, i := range s.Identities {
		if _, known := f.issuers[i.Issuer]; !known {
			return fmt.Errorf("subject %s: there is no issuer %q", s.ID, i.Issuer)
		}
	}
	for _, a := range s.Actors {
		if f.issuers[a.Issuer].ActorClaim == "" {
			return fmt.Errorf("subject %s: there is no issuer %q with an actor claim", s.ID, a.Issuer)
		}
		if other, taken := f.actors[a]; taken {
			return fmt.Errorf("subjects %s and %s have the same actor name %q of issuer %s", other, s.ID, a.Value, a.Issuer)
		}
		f.actors[a] = s.ID
	}
	f.subjects[s.ID] = s
	return nil
}

func (f Facts) addRole(r Role) error {
	if err := checkID(string(r.ID)); err != nil {
		return fmt.Errorf("role %q: %w", r.ID, err)
	}
	if _, twice := f.roles[r.ID]; twice {
		return fmt.Errorf("role %s is named twice", r.ID)
	}
	keyed := r.Kind == Orderer || r.Kind == Approver
	switch {
	case !keyed && r.Kind != Administrator && r.Kind != Auditor:
		return fmt.Errorf("role %s: kind %q is unknown; it must be orderer, approver, administrator or auditor", r.ID, r.Kind)
	case keyed && len(r.Keys) == 0:
		return fmt.Errorf("role %s: an %s role must list the keys it covers", r.ID, r.Kind)
	case !keyed && len(r.Keys) > 0:
		return fmt.Errorf("role %s: an %s role covers no keys; remove them", r.ID, r.Kind)
	case len(r.Members) == 0:
		return fmt.Errorf("role %s has no members; name at least one or remove the role", r.ID)
	}
	for _, k := range r.Keys {
		if _, known := f.keys[k]; !known {
			return fmt.Errorf("role %s: there is no key %q", r.ID, k)
		}
	}
	for _, m := range r.Members {
		s, known := f.subjects[m]
		if !known {
			return fmt.Errorf("role %s: there is no subject %q", r.ID, m)
		}
		if s.Kind != User && (r.Kind == Approver || r.Kind == Administrator) {
			return fmt.Errorf("role %s: %s is a machine, and machines are never %ss", r.ID, m, r.Kind)
		}
		if !keyed {
			f.grants[grant{m, r.Kind, ""}] = struct{}{}
		}
		for _, k := range r.Keys {
			f.grants[grant{m, r.Kind, k}] = struct{}{}
		}
	}
	f.roles[r.ID] = r
	return nil
}

// Making says which call of [NewFacts] made the facts. What was concluded from the configuration of facts of
// one making holds for all facts of that making: any change of the configuration makes new ones.
func (f Facts) Making() Making { return f.making }

// Configuration returns what the facts were made of, each list by id.
func (f Facts) Configuration() Configuration {
	return Configuration{Administration: f.administration, Issuers: f.Issuers(), Subjects: f.Subjects(), Roles: f.Roles(), Keys: f.Keys()}
}

// Key returns a key as it is now.
func (f Facts) Key(id KeyID) (Key, bool) { k, ok := f.keys[id]; return k, ok }

// Subject returns a subject as it is now.
func (f Facts) Subject(id SubjectID) (Subject, bool) { s, ok := f.subjects[id]; return s, ok }

// Issuer returns an issuer as it is now.
func (f Facts) Issuer(url string) (Issuer, bool) { i, ok := f.issuers[url]; return i, ok }

// Issuers returns all issuers, by URL.
func (f Facts) Issuers() []Issuer {
	return slices.SortedFunc(maps.Values(f.issuers), func(a, b Issuer) int { return cmp.Compare(a.URL, b.URL) })
}

// Keys returns all keys, by id.
func (f Facts) Keys() []Key {
	return slices.SortedFunc(maps.Values(f.keys), func(a, b Key) int { return cmp.Compare(a.ID, b.ID) })
}

// Subjects returns all subjects, by id.
func (f Facts) Subjects() []Subject {
	return slices.SortedFunc(maps.Values(f.subjects), func(a, b Subject) int { return cmp.Compare(a.ID, b.ID) })
}

// Roles returns all roles, by id.
func (f Facts) Roles() []Role {
	return slices.SortedFunc(maps.Values(f.roles), func(a, b Role) int { return cmp.Compare(a.ID, b.ID) })
}

// Holds says whether the subject is enabled and a member of a role of this kind that covers the key.
// Administrator and auditor roles cover no key: ask with an empty one.
func (f Facts) Holds(who SubjectID, kind RoleKind, key KeyID) bool {
	_, ok := f.grants[grant{who, kind, key}]
	return ok && f.subjects[who].Enabled
}

// OrdersAnything says whether the subject has an orderer role on any key.
func (f Facts) OrdersAnything(who SubjectID) bool {
	for id := range f.keys {
		if f.Holds(who, Orderer, id) {
			return true
		}
	}
	return false
}

func (f Facts) enabled(who SubjectID) bool { return f.subjects[who].Enabled }

// SeesKey says whether the key exists for the subject: with any role on it, as administrator or as auditor.
func (f Facts) SeesKey(who SubjectID, key KeyID) bool {
	_, known := f.keys[key]
	return known && (f.Holds(who, Orderer, key) || f.Holds(who, Approver, key) || f.SeesEverything(who))
}

// SeesEverything says whether every operation and every audit event exists for the subject.
func (f Facts) SeesEverything(who SubjectID) bool {
	return f.Holds(who, Administrator, "") || f.Holds(who, Auditor, "")
}

// SeesAllOf says whether every operation with the key exists for the subject.
func (f Facts) SeesAllOf(who SubjectID, key KeyID) bool {
	return f.SeesEverything(who) || f.Holds(who, Approver, key)
}

// ReadLog refuses the whole audit log to everybody but administrators and auditors.
func (f Facts) ReadLog(who SubjectID) error {
	if f.SeesEverything(who) {
		return nil
	}
	return refuse(Forbidden, "the whole audit log is for auditors and administrators; list the events of an operation of yours")
}

// ReadConfiguration refuses the whole configuration to everybody but administrators and auditors.
func (f Facts) ReadConfiguration(who SubjectID) error {
	if f.SeesEverything(who) {
		return nil
	}
	return refuse(Forbidden, "the configuration is for auditors and administrators")
}

// Sees says whether the operation exists for the subject: for its orderer, its clients, everyone with an
// approver role on one of its keys, administrators and auditors.
func (f Facts) Sees(who SubjectID, o Operation) bool {
	if !f.enabled(who) {
		return false
	}
	if who == o.Orderer.Subject || slices.Contains(o.Clients, who) || f.SeesEverything(who) {
		return true
	}
	return slices.ContainsFunc(o.Keys, func(k KeyGrant) bool { return f.Holds(who, Approver, k.Key) })
}

var asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

func checkID(id string) error {
	if !idPattern.MatchString(id) {
		return fmt.Errorf("an id is 1 to 63 of a-z, 0-9, dot, dash and underscore, and starts with a letter or digit")
	}
	return nil
}

// Caller is who asks, as authenticated from an access token.
type Caller struct {
	Principal
	Actor  string  // value of the issuer's actor claim; empty when the token has none
	Claims []Claim // the issuer's captured claims, and the actor claim, in configured order
}

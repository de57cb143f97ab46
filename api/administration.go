package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
)

// SessionState is where an administration session stands.
type SessionState string

// The states of an administration session. Nothing ever leaves the last two.
const (
	SessionInactive SessionState = "inactive" // not enough administrators have authorised it
	SessionActive   SessionState = "active"
	SessionClosed   SessionState = "closed" // by hand, or because its plan was applied
	SessionExpired  SessionState = "expired"
)

// Final says whether an administration session never leaves the state.
func (s SessionState) Final() bool { return s != SessionInactive && s != SessionActive }

// NewSession opens an administration session.
type NewSession struct {
	Description string `json:"description"`
	Policy      string `json:"policy,omitzero"` // the whole configuration as it is to be, YAML or JSON; empty: the session has no plan
}

// NewAuthorisation authorises the administration session that has this digest.
type NewAuthorisation struct {
	Digest string `json:"digest"` // lower-case hex
}

// NewChange makes changes in an administration session without a plan.
type NewChange struct {
	Reason   string `json:"reason"`
	Fragment string `json:"fragment"` // a part of a policy, YAML or JSON
}

// Policy is a whole configuration, YAML or JSON.
type Policy struct {
	Policy string `json:"policy"`
}

// Disabling disables a key or a subject.
type Disabling struct {
	Reason string `json:"reason"`
}

// Sessions is one page of administration sessions, newest first, without their differences. It may be shorter
// than asked for and still have a next one.
type Sessions struct {
	Sessions []Session `json:"sessions"`
	Next     string    `json:"next,omitzero"` // cursor of the next page, empty at the end
}

// Session is an administration session as it is now.
type Session struct {
	ID             string          `json:"id"`
	Server         string          `json:"server"`
	Nonce          string          `json:"nonce"`
	Digest         string          `json:"digest"` // as the server says; [Session.Canonical] lets one compute it
	State          SessionState    `json:"state"`
	Revision       int64           `json:"revision"` // grows with every change
	Description    string          `json:"description"`
	Plan           string          `json:"plan,omitzero"`       // digest of its plan, lower-case hex; empty: it has none
	Difference     *Difference     `json:"difference,omitzero"` // the beginning of what the plan changes
	Opened         int64           `json:"opened"`
	OpenedBy       Principal       `json:"openedby"`
	ActiveMS       int64           `json:"activems"` // how long it is active from when it first was
	Required       int             `json:"required"` // administrators who had to authorise it when it was opened
	Needed         int             `json:"needed"`   // who must have now
	Counted        []string        `json:"counted"`  // whose authorisation counts now
	Authorisations []Authorisation `json:"authorisations"`
	Activated      int64           `json:"activated,omitzero"` // when it was active first; zero: never yet
	Ends           int64           `json:"ends"`               // when it expires, if nothing ends it before
	Ended          *Ended          `json:"ended,omitzero"`
}

// Authorisation is one administrator's yes to an administration session.
type Authorisation struct {
	By        string `json:"by"`
	At        int64  `json:"at"`
	Withdrawn int64  `json:"withdrawn,omitzero"` // zero while it stands
}

// Difference is a part of what the plan of an administration session changes.
type Difference struct {
	Total int              `json:"total"` // items of the whole difference
	Items []DifferenceItem `json:"items"` // some of them
}

// DifferenceItem is what happens to one object of the configuration.
type DifferenceItem struct {
	Kind   string   `json:"kind"`   // administration, issuer, key, subject or role
	ID     string   `json:"id"`     // empty for the administration
	Change string   `json:"change"` // add, change or remove
	Lines  []string `json:"lines"`  // what of it is new, other or gone
}

// PolicyDifference is what a policy would change.
type PolicyDifference struct {
	Items  []DifferenceItem `json:"items"`
	Faults []string         `json:"faults"` // why it would be refused, in sentences; empty: it would not be
}

// Changed is the objects of the configuration that a change has set, as they are now.
type Changed struct {
	Administration *Administration  `json:"administration,omitzero"`
	Issuers        []Issuer         `json:"issuers"`
	Subjects       []Subject        `json:"subjects"`
	Roles          []ConfiguredRole `json:"roles"`
	Keys           []Key            `json:"keys"`
}

// Administration is what an administration session takes.
type Administration struct {
	Administrators int   `json:"administrators"` // who must authorise it, its opener counted
	ActiveMS       int64 `json:"activems"`       // how long it is active
}

// Issuer is an identity provider whose access tokens are accepted.
type Issuer struct {
	URL            string   `json:"url"` // the iss claim
	Audiences      []string `json:"audiences"`
	Algorithms     []string `json:"algorithms"`
	Types          []string `json:"types"`
	KeysURL        string   `json:"keysurl,omitzero"`    // empty: found by discovery
	ActorClaim     string   `json:"actorclaim,omitzero"` // names the person behind a token; empty: none does
	ActorOptional  bool     `json:"actoroptional"`
	CapturedClaims []string `json:"capturedclaims"`
}

// Subjects is a list of subjects.
type Subjects struct {
	Subjects []Subject `json:"subjects"`
}

// Subject is a person or machine that the keyserver knows.
type Subject struct {
	Subject    string     `json:"subject"`
	Kind       string     `json:"kind"` // user or client
	Name       string     `json:"name"`
	Enabled    bool       `json:"enabled"`
	Identities []Identity `json:"identities"` // the ways to sign in
	Actors     []Actor    `json:"actors"`     // the names that it has in the actor claims of CI tokens
}

// Identity is one way to sign in: all claims must match.
type Identity struct {
	Issuer string       `json:"issuer"`
	Claims []ClaimMatch `json:"claims"`
}

// ClaimMatch matches a claim that has one of the values.
type ClaimMatch struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// Actor is the name that a person has in the actor claim of an issuer's tokens.
type Actor struct {
	Issuer string `json:"issuer"`
	Value  string `json:"value"`
}

// Roles is a list of roles.
type Roles struct {
	Roles []ConfiguredRole `json:"roles"`
}

// ConfiguredRole is a role with its members.
type ConfiguredRole struct {
	Role    string   `json:"role"`
	Kind    string   `json:"kind"` // orderer, approver, administrator or auditor
	Keys    []string `json:"keys"` // that it covers; none for administrators and auditors
	Members []string `json:"members"`
}

// Canonical returns the canonical form of the administration session, version 1: what never changes in it, as one
// JSON object in the form of RFC 8785. It is made from the members that are shown to people, not taken from the
// server, so that a digest of it which differs from the server's says that something was hidden.
func (s Session) Canonical() ([]byte, error) {
	statement := struct {
		Version     int       `json:"version"`
		Server      string    `json:"server"`
		Session     string    `json:"session"`
		Nonce       string    `json:"nonce"`
		OpenedBy    Principal `json:"openedby"`
		Description string    `json:"description"`
		Plan        string    `json:"plan"`
		Required    int       `json:"required"`
		ActiveMS    int64     `json:"activems"`
		Opened      int64     `json:"opened"`
	}{1, s.Server, s.ID, s.Nonce, s.OpenedBy, s.Description, s.Plan, s.Required, s.ActiveMS, s.Opened}
	out, err := json.Marshal(statement)
	if err != nil {
		return nil, fmt.Errorf("writing the canonical form of administration session %s: %w", s.ID, err)
	}
	canonical := jsontext.Value(out)
	if err := canonical.Canonicalize(); err != nil {
		return nil, fmt.Errorf("writing the canonical form of administration session %s: %w", s.ID, err)
	}
	return canonical, nil
}

// ComputeDigest returns the digest of the canonical form, lower-case hex SHA-256. Compare it with Digest before
// authorising.
func (s Session) ComputeDigest() (string, error) {
	canonical, err := s.Canonical()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

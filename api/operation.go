package api

// State is where an operation stands.
type State string

// The states of an operation. Nothing ever leaves the last four.
const (
	Pending   State = "pending"
	Approved  State = "approved"
	Exhausted State = "exhausted"
	Rejected  State = "rejected"
	Revoked   State = "revoked"
	Expired   State = "expired"
)

// Final says whether an operation never leaves the state.
func (s State) Final() bool { return s != Pending && s != Approved }

// NewOperation asks for an operation.
type NewOperation struct {
	KeyUsageRestrictions []KeyUsageRestriction `json:"new-keyusagerestrictions"`
	Description          string                `json:"description"`
	Context              string                `json:"context"`
	ValidMS              int64                 `json:"validms"`            // from its creation
	Artifacts            []Artifact            `json:"artifacts,omitzero"` // only their digests can then be signed
	Clients              []string              `json:"clients,omitzero"`   // may place sign orders besides the orderer
}

// KeyUsageRestriction asks for uses of one key.
type KeyUsageRestriction struct {
	KeyID         string `json:"keyid"`
	MaxUsageCount int    `json:"maxusagecount"`
}

// Artifact is a file that an operation is for.
type Artifact struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	Hash   string `json:"hash"`
	Digest string `json:"digest"` // lower-case hex
}

// NewApproval approves the operation that has this digest.
type NewApproval struct {
	Digest string `json:"digest"` // lower-case hex
}

// Ending ends an operation: rejects or revokes it.
type Ending struct {
	Reason string `json:"reason"`
}

// Operations is one page of operations, newest first. It may be shorter than asked for and still have a
// next one.
type Operations struct {
	Operations []Operation `json:"operations"`
	Next       string      `json:"next,omitzero"` // cursor of the next page, empty at the end
}

// Operation is an operation as the caller sees it now.
type Operation struct {
	ID          string         `json:"id"`
	Server      string         `json:"server"`
	Nonce       string         `json:"nonce"`
	Digest      string         `json:"digest"` // as the server says; [Operation.Canonical] lets one compute it
	State       State          `json:"state"`
	Revision    int64          `json:"revision"` // grows with every change
	Orderer     Principal      `json:"orderer"`
	Behind      string         `json:"behind,omitzero"` // the person behind the orderer, if there is one
	Clients     []string       `json:"clients"`
	Keys        []OperationKey `json:"keys"`
	Description string         `json:"description"`
	Context     string         `json:"context"`
	Artifacts   []Artifact     `json:"artifacts"`
	Created     int64          `json:"created"` // milliseconds since 1970 UTC, like all times here
	Expires     int64          `json:"expires"` // at this instant it is expired
	Claims      []Claim        `json:"claims"`  // of the orderer's access token
	Approvals   []Approval     `json:"approvals"`
	Used        bool           `json:"used"`      // whether a sign order was ever accepted under it
	Obstacles   []string       `json:"obstacles"` // what besides missing approvals keeps it from being approved
	CountsFor   []string       `json:"countsfor"` // the keys for which the caller's approval would count
	Ended       *Ended         `json:"ended,omitzero"`
}

// Principal is who a subject was when it came.
type Principal struct {
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
	Sub     string `json:"sub"`
}

// OperationKey is one key of an operation: what was asked, and how far its approval and its use are.
type OperationKey struct {
	KeyID         string   `json:"keyid"`
	Fingerprint   string   `json:"fingerprint"`
	MaxUsageCount int      `json:"maxusagecount"`
	Requirement   int      `json:"requirement"` // how many people had to approve when it was created
	Needed        int      `json:"needed"`      // how many must now; -1 when it cannot be met any more
	ApprovedBy    []string `json:"approvedby"`  // whose approval counts for the key now
	Taken         int      `json:"taken"`       // uses
	Signed        int      `json:"signed"`      // uses with a signature

	// Of a CA key, what it could put into certificates when the operation was created, lower-case hex SHA-256:
	DeviceProfile string `json:"deviceprofile,omitzero"` // of its profile of device certificates; empty: it has none
	KeyProfiles   string `json:"keyprofiles,omitzero"`   // of the certificate profiles of the FW keys
}

// Claim is one captured claim of the orderer's access token.
type Claim struct {
	Name    string `json:"name"`
	Present bool   `json:"present"`
	Value   string `json:"value"` // empty when absent
}

// Approval is one approver's yes.
type Approval struct {
	By        string   `json:"by"`
	Covers    []string `json:"covers"` // the keys it counts for
	At        int64    `json:"at"`
	Withdrawn int64    `json:"withdrawn,omitzero"` // zero while it stands
}

// Ended says how an operation ended.
type Ended struct {
	At     int64  `json:"at"`
	By     string `json:"by,omitzero"` // empty: the server
	Reason string `json:"reason"`
}

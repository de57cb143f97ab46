package api

import "encoding/json/jsontext"

// Events is one page of audit events, oldest first.
type Events struct {
	Events []jsontext.Value `json:"events"`        // leaves of the log in their canonical form (RFC 8785)
	Next   string           `json:"next,omitzero"` // cursor of the next page, empty at the end
}

// InclusionProof proves that a leaf is in the log (RFC 6962 section 2.1.1).
type InclusionProof struct {
	Index  int64    `json:"index"`
	Size   int64    `json:"size"`
	Hashes [][]byte `json:"hashes"`
}

// ConsistencyProof proves that an earlier log is a prefix of a later one (RFC 6962 section 2.1.2).
type ConsistencyProof struct {
	From   int64    `json:"from"`
	To     int64    `json:"to"`
	Hashes [][]byte `json:"hashes"`
}

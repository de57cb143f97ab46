package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
)

// Canonical returns the canonical form of the operation, version 1: what never changes in it, as one JSON
// object in the form of RFC 8785. It is made from the members that are shown to people, not taken from the
// server, so that a digest of it which differs from the server's says that something was hidden.
func (o Operation) Canonical() ([]byte, error) {
	type key struct {
		KeyID         string `json:"keyid"`
		Fingerprint   string `json:"fingerprint"`
		MaxUsageCount int    `json:"maxusagecount"`
		Requirement   int    `json:"requirement"`
		DeviceProfile string `json:"deviceprofile,omitempty"`
		KeyProfiles   string `json:"keyprofiles,omitempty"`
	}
	statement := struct {
		Version     int        `json:"version"`
		Server      string     `json:"server"`
		Operation   string     `json:"operation"`
		Nonce       string     `json:"nonce"`
		Orderer     Principal  `json:"orderer"`
		Clients     []string   `json:"clients"`
		Keys        []key      `json:"keys"`
		Description string     `json:"description"`
		Context     string     `json:"context"`
		Artifacts   []Artifact `json:"artifacts"`
		Created     int64      `json:"created"`
		Expires     int64      `json:"expires"`
		Claims      []Claim    `json:"claims"`
	}{
		Version: 1, Server: o.Server, Operation: o.ID, Nonce: o.Nonce, Orderer: o.Orderer, Clients: o.Clients,
		Description: o.Description, Context: o.Context, Artifacts: o.Artifacts, Created: o.Created, Expires: o.Expires, Claims: o.Claims,
	}
	for _, k := range o.Keys {
		statement.Keys = append(statement.Keys, key{k.KeyID, k.Fingerprint, k.MaxUsageCount, k.Requirement, k.DeviceProfile, k.KeyProfiles})
	}
	out, err := json.Marshal(statement)
	if err != nil {
		return nil, fmt.Errorf("writing the canonical form of operation %s: %w", o.ID, err)
	}
	canonical := jsontext.Value(out)
	if err := canonical.Canonicalize(); err != nil {
		return nil, fmt.Errorf("writing the canonical form of operation %s: %w", o.ID, err)
	}
	return canonical, nil
}

// ComputeDigest returns the digest of the canonical form, lower-case hex SHA-256. Compare it with Digest
// before approving.
func (o Operation) ComputeDigest() (string, error) {
	canonical, err := o.Canonical()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

package law

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"time"
)

// StatementVersion is the version of the canonical form that this package writes.
const StatementVersion = 1

// Digest names an operation exactly: lower-case hex SHA-256 of its canonical form.
type Digest string

// Short is the digest as people compare it: its first 16 hex digits in groups of four, such as 3f2a-90c1-77de-04b8. It is
// for the eye only: programs compare the whole digest.
func (d Digest) Short() string {
	if len(d) < 16 {
		return string(d)
	}
	return string(d[0:4] + "-" + d[4:8] + "-" + d[8:12] + "-" + d[12:16])
}

// Statement is the part of an operation that never changes after its creation, and what its digest is
// taken over.
type Statement struct {
	Server      string // server id
	ID          OperationID
	Nonce       string // lower-case hex, 32 random bytes
	Orderer     Principal
	Clients     []SubjectID // besides the orderer
	Keys        []KeyGrant
	Description string
	Context     string
	Artifacts   []Artifact
	Created     time.Time // whole milliseconds, UTC
	Expires     time.Time // whole milliseconds, UTC; at this instant the operation is expired
	Claims      []Claim
}

// Principal is who a subject was when it came: the subject and the token's issuer and sub.
type Principal struct {
	Subject SubjectID `json:"subject"`
	Issuer  string    `json:"issuer"`
	Sub     string    `json:"sub"`
}

// KeyGrant is what an operation says of one of its keys.
type KeyGrant struct {
	Key         KeyID
	Fingerprint string      // of the public key when the operation was created
	MaxUses     int         // uses asked for
	Requirement Requirement // when the operation was created
	// Of a CA key, what it could put into certificates when the operation was created:
	Devices  string // digest of its profile of device certificates; empty: it has none
	Profiles string // digest of its own certificate profile and those of the FW keys
}

// Artifact is a file that an operation is for.
type Artifact struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	Hash   Hash   `json:"hash"`
	Digest string `json:"digest"` // lower-case hex
}

// Claim is one claim of the orderer's access token that the issuer's configuration captures. A claim that
// the token did not have is kept as absent.
type Claim struct {
	Name    string `json:"name"`
	Present bool   `json:"present"`
	Value   string `json:"value"` // empty when absent
}

// The canonical form's objects, their fields in the order of their JSON names: encoding/json/v2 writes them in
// that order, and RFC 8785 wants them in that order. A test holds the two together.
type (
	canonicalStatement struct {
		Artifacts   []canonicalArtifact `json:"artifacts"`
		Claims      []Claim             `json:"claims"`
		Clients     []SubjectID         `json:"clients"`
		Context     string              `json:"context"`
		Created     int64               `json:"created"` // milliseconds since 1970, UTC
		Description string              `json:"description"`
		Expires     int64               `json:"expires"` // milliseconds since 1970, UTC
		Keys        []canonicalKey      `json:"keys"`
		Nonce       string              `json:"nonce"`
		Operation   OperationID         `json:"operation"`
		Orderer     canonicalPrincipal  `json:"orderer"`
		Server      string              `json:"server"`
		Version     int                 `json:"version"`
	}
	canonicalArtifact struct {
		Digest string `json:"digest"`
		Hash   Hash   `json:"hash"`
		Name   string `json:"name"`
		Size   int64  `json:"size"`
	}
	canonicalKey struct {
		Devices     string `json:"deviceprofile,omitempty"`
		Fingerprint string `json:"fingerprint"`
		KeyID       KeyID  `json:"keyid"`
		Profiles    string `json:"keyprofiles,omitempty"`
		MaxUses     int    `json:"maxusagecount"`
		Requirement int    `json:"requirement"`
	}
	canonicalPrincipal struct {
		Issuer  string    `json:"issuer"`
		Sub     string    `json:"sub"`
		Subject SubjectID `json:"subject"`
	}
)

// Canonical returns the canonical form, version 1: one JSON object as RFC 8785 orders and writes it. All
// members are always there, but those that only a CA key has; lists are never null. Every integer in it is below 2^53.
func (s Statement) Canonical() []byte {
	out, err := s.canonical()
	if err != nil { // only invalid UTF-8 and numbers beyond 2^53 can do this, and Create refuses both
		panic(fmt.Sprintf("law: canonical form of operation %s: %v", s.ID, err))
	}
	return out
}

func (s Statement) canonical() ([]byte, error) {
	c := canonicalStatement{
		Version: StatementVersion, Server: s.Server, Operation: s.ID, Nonce: s.Nonce,
		Orderer: canonicalPrincipal{Issuer: s.Orderer.Issuer, Sub: s.Orderer.Sub, Subject: s.Orderer.Subject}, Clients: s.Clients,
		Description: s.Description, Context: s.Context, Created: s.Created.UnixMilli(), Expires: s.Expires.UnixMilli(), Claims: s.Claims,
	}
	for _, k := range s.Keys {
		c.Keys = append(c.Keys, canonicalKey{k.Devices, k.Fingerprint, k.Key, k.Profiles, k.MaxUses, k.Requirement.People()})
	}
	for _, a := range s.Artifacts {
		c.Artifacts = append(c.Artifacts, canonicalArtifact{a.Digest, a.Hash, a.Name, a.Size})
	}
	if err := c.exact(); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

func (c canonicalStatement) exact() error {
	numbers := []int64{c.Created, c.Expires}
	for _, k := range c.Keys {
		numbers = append(numbers, int64(k.MaxUses), int64(k.Requirement))
	}
	for _, a := range c.Artifacts {
		numbers = append(numbers, a.Size)
	}
	return exact(numbers...)
}

// exact refuses an integer that not every JSON reader reads exactly (RFC 8785 section 3.2.2.3).
func exact(numbers ...int64) error {
	for _, n := range numbers {
		if n <= -1<<53 || n >= 1<<53 {
			return fmt.Errorf("number %d is not within 2^53-1", n)
		}
	}
	return nil
}

// Digest returns the digest of the canonical form.
func (s Statement) Digest() Digest {
	sum := sha256.Sum256(s.Canonical())
	return Digest(hex.EncodeToString(sum[:]))
}

// ParseStatement reads a canonical form back. It refuses anything that is not byte for byte what
// [Statement.Canonical] writes.
func ParseStatement(canonical []byte) (Statement, error) {
	var c canonicalStatement
	if err := json.Unmarshal(canonical, &c, json.RejectUnknownMembers(true)); err != nil {
		return Statement{}, fmt.Errorf("reading operation: %w", err)
	}
	if c.Version != StatementVersion {
		return Statement{}, fmt.Errorf("reading operation: version %d is unknown; this program reads version %d", c.Version, StatementVersion)
	}
	s := Statement{
		Server: c.Server, ID: c.Operation, Nonce: c.Nonce, Orderer: Principal{c.Orderer.Subject, c.Orderer.Issuer, c.Orderer.Sub},
		Clients: c.Clients, Description: c.Description, Context: c.Context, Artifacts: make([]Artifact, 0, len(c.Artifacts)),
		Created: time.UnixMilli(c.Created).UTC(), Expires: time.UnixMilli(c.Expires).UTC(), Claims: c.Claims,
	}
	for _, k := range c.Keys {
		s.Keys = append(s.Keys, KeyGrant{k.KeyID, k.Fingerprint, k.MaxUses, Require(k.Requirement), k.Devices, k.Profiles})
	}
	for _, a := range c.Artifacts {
		s.Artifacts = append(s.Artifacts, Artifact{a.Name, a.Size, a.Hash, a.Digest})
	}
	if again, err := s.canonical(); err != nil || string(again) != string(canonical) {
		return Statement{}, fmt.Errorf("reading operation %s: not in canonical form (RFC 8785)", c.Operation)
	}
	return s, nil
}

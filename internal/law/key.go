package law

import (
	"crypto"
	_ "crypto/sha256" // registers SHA-256 with package crypto
	_ "crypto/sha512" // registers SHA-384 and SHA-512 with package crypto
	"fmt"
	"slices"
	"time"
)

// KeyID names a key. It is chosen by people and never reused.
type KeyID string

// KeyType says what a key is for.
type KeyType string

const (
	Root     KeyType = "ROOT" // top of a hierarchy; never usable in an operation
	CA       KeyType = "CA"   // issues device certificates; never signs a raw input
	Firmware KeyType = "FW"   // signs firmware, binaries, hashes, release artifacts
)

// KeyState is what the administrators last said of a key.
type KeyState string

const (
	KeyActive   KeyState = "active"
	KeyDisabled KeyState = "disabled"
	KeyRevoked  KeyState = "revoked" // final; ends every open operation that names the key (rule 9)
)

// Algorithm is the kind of a key pair.
type Algorithm string

const (
	RSA2048 Algorithm = "RSA-2048"
	RSA3072 Algorithm = "RSA-3072"
	RSA4096 Algorithm = "RSA-4096"
	P256    Algorithm = "ECDSA-P256"
	P384    Algorithm = "ECDSA-P384"
	P521    Algorithm = "ECDSA-P521"
	Ed25519 Algorithm = "Ed25519"
)

// Algorithms lists every algorithm a key may have.
func Algorithms() []Algorithm {
	return []Algorithm{RSA2048, RSA3072, RSA4096, P256, P384, P521, Ed25519}
}

// Schemes returns the signature schemes that keys of this algorithm can make, none for an unknown one.
func (a Algorithm) Schemes() []Scheme {
	switch a {
	case RSA2048, RSA3072, RSA4096:
		return []Scheme{PKCS1v15, PSS}
	case P256, P384, P521:
		return []Scheme{ECDSA}
	case Ed25519:
		return []Scheme{EdDSA}
	}
	return nil
}

// Hash names a hash function.
type Hash string

const (
	SHA256 Hash = "SHA-256"
	SHA384 Hash = "SHA-384"
	SHA512 Hash = "SHA-512"
)

// Hashes lists every hash a key may use.
func Hashes() []Hash { return []Hash{SHA256, SHA384, SHA512} }

// Crypto returns the standard library's name of the hash, and 0 for an unknown one.
func (h Hash) Crypto() crypto.Hash {
	switch h {
	case SHA256:
		return crypto.SHA256
	case SHA384:
		return crypto.SHA384
	case SHA512:
		return crypto.SHA512
	}
	return 0
}

// Size is the length of a digest in bytes, and 0 for an unknown hash.
func (h Hash) Size() int {
	if c := h.Crypto(); c != 0 {
		return c.Size()
	}
	return 0
}

// Sum returns the digest of data. It panics on an unknown hash.
func (h Hash) Sum(data []byte) []byte {
	d := h.Crypto().New()
	d.Write(data)
	return d.Sum(nil)
}

// Scheme is a signature scheme.
type Scheme string

const (
	PKCS1v15 Scheme = "RSASSA-PKCS1-v1_5" // RFC 8017 section 8.2
	PSS      Scheme = "RSASSA-PSS"        // RFC 8017 section 8.1; MGF1 with the same hash, salt as long as the digest
	ECDSA    Scheme = "ECDSA"             // FIPS 186-5
	EdDSA    Scheme = "EdDSA"             // RFC 8032, Ed25519 over the message itself
)

// ApprovalMode says how an approval that counts for a key must be given.
type ApprovalMode string

const (
	SessionApprovals ApprovalMode = "session" // by an authenticated approver
	SignedApprovals  ApprovalMode = "signed"  // also signed by the approver's own key; not yet available
)

// Requirement is how many distinct eligible people must approve. The zero Requirement is met by nobody;
// needing nobody is the explicit choice Require(0).
type Requirement struct{ plusOne int }

// Require returns the requirement of n people. A negative n gives the zero Requirement.
func Require(n int) Requirement { return Requirement{max(n, -1) + 1} }

// MetBy says whether n people are enough.
func (r Requirement) MetBy(n int) bool { return r.plusOne > 0 && n >= r.plusOne-1 }

// Set says whether the requirement was given at all.
func (r Requirement) Set() bool { return r.plusOne > 0 }

// People is the number of people required, -1 when the requirement was never given.
func (r Requirement) People() int { return r.plusOne - 1 }

func (r Requirement) stricter(s Requirement) Requirement {
	if !r.Set() || !s.Set() {
		return Requirement{}
	}
	return Requirement{max(r.plusOne, s.plusOne)}
}

// Key is a signing key as it is configured now.
type Key struct {
	ID              KeyID
	Type            KeyType
	Algorithm       Algorithm
	Hash            Hash     // Ed25519 hashes with SHA-512 inside (RFC 8032): its keys say SHA512
	Schemes         []Scheme // what the key may make; at least one
	Requirement     Requirement
	MaxValidity     time.Duration // the longest validity an operation may ask for, whole milliseconds
	MaxUses         int           // the largest use count an operation may ask for
	Approvals       ApprovalMode
	ArtifactsNeeded bool // operations must name their artifacts
	State           KeyState
	Keystore        string         // name of the keystore that holds the private key
	Version         int            // of the key pair, from 1
	Handle          string         // where the key pair is in its keystore
	PublicKey       []byte         // SubjectPublicKeyInfo, DER (RFC 5280)
	Fingerprint     string         // lower-case hex SHA-256 of PublicKey
	Attributes      *KeyAttributes // of the private key, as its keystore gave them with the key pair; nil if it says nothing of it
	Adopted         string         // the name by which its keystore had the key pair already; empty: it was made for this server
	MayLeave        bool           // a key pair that could be elsewhere than in its keystore was accepted, explicitly
	Profile         *Profile       // of its certificate; nil: it gets none
	Devices         *DeviceProfile // of the device certificates that it issues; nil: it issues none. CA keys only
}

// KeyAttributes say where a private key can have been, by the token that has it (PKCS#11, section 4.9).
// They are recorded and shown; that a key pair may not be taken into use depends on them, no use of it does.
type KeyAttributes struct {
	Local            bool `json:"local"`            // made in the token (CKA_LOCAL)
	Sensitive        bool `json:"sensitive"`        // its value cannot be read in plain text
	AlwaysSensitive  bool `json:"alwayssensitive"`  // and never could be
	Extractable      bool `json:"extractable"`      // it can be taken out of the token, encrypted or not
	NeverExtractable bool `json:"neverextractable"` // and never could be
}

// CanLeave says whether the private key could be elsewhere than in its token, or does not say that it could not: nil
// attributes say nothing.
func (a *KeyAttributes) CanLeave() bool { return a == nil || a.Extractable || !a.Sensitive }

// Check returns what is wrong with the configuration of the key, nil if nothing is.
func (k Key) Check() error {
	switch {
	case checkID(string(k.ID)) != nil:
		return fmt.Errorf("key %q: %w", k.ID, checkID(string(k.ID)))
	case k.Type != Root && k.Type != CA && k.Type != Firmware:
		return fmt.Errorf("key %s: type %q is unknown; it must be ROOT, CA or FW", k.ID, k.Type)
	case k.Algorithm.Schemes() == nil:
		return fmt.Errorf("key %s: algorithm %q is unknown; it must be one of %v", k.ID, k.Algorithm, Algorithms())
	case k.Hash.Size() == 0:
		return fmt.Errorf("key %s: hash %q is unknown; it must be one of %v", k.ID, k.Hash, Hashes())
	case k.Algorithm == Ed25519 && k.Hash != SHA512:
		return fmt.Errorf("key %s: Ed25519 hashes with SHA-512 (RFC 8032); say hash SHA-512", k.ID)
	case len(k.Schemes) == 0:
		return fmt.Errorf("key %s: no signature scheme; name at least one of %v", k.ID, k.Algorithm.Schemes())
	case !k.Requirement.Set():
		return fmt.Errorf("key %s: no requirement; say how many people must approve, 0 if nobody must", k.ID)
	case k.MaxValidity < time.Millisecond || k.MaxValidity > MaxValidity || k.MaxValidity%time.Millisecond != 0:
		return fmt.Errorf("key %s: longest validity must be between 1 and %d ms", k.ID, MaxValidity.Milliseconds())
	case k.MaxUses < 1 || k.MaxUses > MaxUses:
		return fmt.Errorf("key %s: largest use count must be between 1 and %d", k.ID, MaxUses)
	case k.Approvals == SignedApprovals:
		return fmt.Errorf("key %s: approvals signed are not yet available; say session", k.ID)
	case k.Approvals != SessionApprovals:
		return fmt.Errorf("key %s: approvals %q is unknown; say session", k.ID, k.Approvals)
	case k.State != KeyActive && k.State != KeyDisabled && k.State != KeyRevoked:
		return fmt.Errorf("key %s: state %q is unknown; it must be active, disabled or revoked", k.ID, k.State)
	case k.Keystore == "":
		return fmt.Errorf("key %s: no keystore named", k.ID)
	case k.Profile != nil && k.Profile.Check(k.Type) != nil:
		return fmt.Errorf("key %s: its certificate: %w", k.ID, k.Profile.Check(k.Type))
	case k.Responder() && !slices.Contains(k.Schemes, PKCS1v15) && !slices.Contains(k.Schemes, ECDSA):
		return fmt.Errorf("key %s: those who ask for certificate statuses read RSASSA-PKCS1-v1_5 and ECDSA signatures; name one of these schemes", k.ID)
	case k.Devices != nil && k.Type != CA:
		return fmt.Errorf("key %s: only CA keys issue device certificates, and it is a key of type %s; remove the profile of them", k.ID, k.Type)
	case k.Devices != nil && k.Devices.Check() != nil:
		return fmt.Errorf("key %s: its device certificates: %w", k.ID, k.Devices.Check())
	}
	for i, s := range k.Schemes {
		if !slices.Contains(k.Algorithm.Schemes(), s) {
			return fmt.Errorf("key %s: scheme %q does not fit %s; it must be one of %v", k.ID, s, k.Algorithm, k.Algorithm.Schemes())
		}
		if slices.Contains(k.Schemes[:i], s) {
			return fmt.Errorf("key %s: scheme %s is named twice", k.ID, s)
		}
	}
	return nil
}

// Static ceilings, whatever a key allows.
const (
	MaxKeys      = 100                  // keys in one operation
	MaxClients   = 100                  // clients in one operation
	MaxArtifacts = 1000                 // artifacts in one operation
	MaxUses      = 1_000_000            // uses of one key in one operation
	MaxValidity  = 366 * 24 * time.Hour // of one operation
	MaxMessage   = 32 << 10             // bytes of data in one sign order
	AttemptLease = 30 * time.Second     // how long an attempt at a sign order may run
	ClockSlack   = 10 * time.Second     // how far the clock may be behind its mark
)

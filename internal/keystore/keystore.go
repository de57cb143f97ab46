// Package keystore says what a keystore is: the place where private keys live and sign.
//
// A [Keystore] signs for a [law.Permit] and for nothing else, and what it makes is an [Unverified]: its
// bytes come out of [Unverified.Release] alone, which verifies them first. The rest of the program holds a
// [Set], which adds what every keystore needs around it: a bound on time and on load, and typed errors.
//
// A new keystore implements Keystore and passes keystoretest.Run.
package keystore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"example.org/keyserver/internal/law"
)

// Keystore is where private keys live and sign. Its methods are called concurrently. A method may hang
// or panic, since the code of an HSM's vendor does: only [Set] calls them.
type Keystore interface {
	// Generate makes a key pair and returns once it is durable. It never replaces one: if there is a
	// key pair of this id and version, the error is ErrExists.
	Generate(ctx context.Context, id law.KeyID, version int, a law.Algorithm) (KeyPair, error)

	// Adopt returns the key pair that the keystore has already and that the name means; what a name is, the
	// keystore says. Nothing changes in the keystore. The error is ErrNoKeyPair if there is none,
	// ErrNoAdoption if this keystore has only the key pairs that it made itself.
	Adopt(ctx context.Context, name string) (KeyPair, error)

	// PublicKey returns the public key of the key pair at the handle (SubjectPublicKeyInfo, DER). The
	// error is ErrNoKeyPair if there is none.
	PublicKey(ctx context.Context, handle string) ([]byte, error)

	// Sign signs the permit's input with the key pair at the handle of the permit's key, and with no
	// other: it starts with CheckPermit, and if the public key there is not that of the permit's key,
	// the error is ErrUnfit. The form of the signature is fixed: for RSA the bytes of RFC 8017, for
	// ECDSA the DER of RFC 3279 section 2.2.3, for Ed25519 the 64 bytes of RFC 8032.
	Sign(ctx context.Context, p law.Permit) (Unverified, error)

	// Ready says whether the keystore could sign now: nil, or why not.
	Ready(ctx context.Context) error

	// Close ends the use of the keystore. After it every method answers ErrClosed.
	Close() error
}

// KeyPair is a key pair that a keystore has made or adopted. The private key stays there.
type KeyPair struct {
	Handle     string             // where the key pair is in its keystore; opaque to everybody else
	PublicKey  []byte             // SubjectPublicKeyInfo, DER (RFC 5280)
	Attributes *law.KeyAttributes // what the keystore says of the private key; nil if it says nothing
}

// What a keystore refuses.
var (
	ErrNoPermit   = errors.New("no permit: a keystore signs only what the law has allowed")
	ErrUnfit      = errors.New("the permit does not fit")
	ErrNoKeyPair  = errors.New("no such key pair in this keystore")
	ErrExists     = errors.New("this keystore has a key pair of that id and version already")
	ErrNoAdoption = errors.New("this keystore has only the key pairs that it made itself; generate one")
	ErrClosed     = errors.New("the keystore is closed")
)

// Unverified is a signature that a keystore has made and nobody has verified yet.
type Unverified struct{ signature []byte }

// NewUnverified wraps what a keystore has made.
func NewUnverified(signature []byte) Unverified { return Unverified{signature} }

// Release returns the signature if it verifies, with the public key of the permit's key, over the
// permit's input; nobody gets at it in another way (rule 11).
func (u Unverified) Release(p law.Permit) ([]byte, error) { return u.release(new(Checker), p) }

func (u Unverified) release(c *Checker, p law.Permit) ([]byte, error) {
	key, err := c.check(p)
	if err != nil {
		return nil, err
	}
	if err := key.verify(p.Input(), u.signature); err != nil {
		return nil, err
	}
	return u.signature, nil
}

// Format keeps the signature out of every print: a faulty RSA signature can give the private key away
// (Boneh, DeMillo, Lipton: On the Importance of Checking Cryptographic Protocols for Faults).
func (u Unverified) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "unverified signature of %d bytes", len(u.signature))
}

// CheckPermit says whether a permit was made by the law and fits together: its key's fingerprint is that
// of its key's public key, which is of the key's algorithm, and the input is one that such a key signs.
// The error is ErrNoPermit or ErrUnfit.
func CheckPermit(p law.Permit) error { return new(Checker).CheckPermit(p) }

// maxRead bounds how many public keys a Checker remembers.
const maxRead = 1000

// Checker checks permits as [CheckPermit] does and signatures as [Verify] does, and remembers the public keys that it has read, by all
// their bytes: reading one takes several times as long as all the rest. The zero Checker remembers none. It
// is safe for concurrent use.
type Checker struct {
	mu   sync.RWMutex
	read map[string]publicKey // by SubjectPublicKeyInfo
}

// Verify does what the function of this name does.
func (c *Checker) Verify(spki []byte, in law.Input, signature []byte) error {
	key, err := c.publicKey(spki)
	if err != nil {
		return err
	}
	if err := CheckInput(key.algorithm, in); err != nil {
		return err
	}
	return key.verify(in, signature)
}

// CheckPermit does what the function of this name does.
func (c *Checker) CheckPermit(p law.Permit) error {
	_, err := c.check(p)
	return err
}

// check checks the permit and returns the public key of its key.
func (c *Checker) check(p law.Permit) (publicKey, error) {
	if !p.Granted() {
		return publicKey{}, ErrNoPermit
	}
	k := p.Key()
	key, err := c.publicKey(k.PublicKey)
	if key.fingerprint != k.Fingerprint {
		return publicKey{}, fmt.Errorf("%w: key %s has the fingerprint %s, but its public key has %s", ErrUnfit, k.ID, k.Fingerprint, key.fingerprint)
	}
	if err != nil {
		return publicKey{}, fmt.Errorf("%w: key %s: %w", ErrUnfit, k.ID, err)
	}
	if key.algorithm != k.Algorithm {
		return publicKey{}, fmt.Errorf("%w: key %s says %s, but its public key is %s", ErrUnfit, k.ID, k.Algorithm, key.algorithm)
	}
	if err := CheckInput(key.algorithm, p.Input()); err != nil {
		return publicKey{}, fmt.Errorf("%w: key %s: %w", ErrUnfit, k.ID, err)
	}
	return key, nil
}

// publicKey reads a public key. Its fingerprint is known also if there is an error.
func (c *Checker) publicKey(spki []byte) (publicKey, error) {
	c.mu.RLock()
	key, known := c.read[string(spki)]
	c.mu.RUnlock()
	if known {
		return key, nil
	}
	key, err := parsePublicKey(spki)
	if err != nil {
		return key, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read == nil || len(c.read) >= maxRead {
		c.read = map[string]publicKey{}
	}
	c.read[string(spki)] = key
	return key, nil
}

// Fingerprint names a public key: the lower-case hex SHA-256 of its SubjectPublicKeyInfo.
func Fingerprint(publicKey []byte) string {
	sum := sha256.Sum256(publicKey)
	return hex.EncodeToString(sum[:])
}

package software

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
)

const (
	headerName = "keystore.json"
	format     = 1
	kdf        = "PBKDF2-HMAC-SHA-256"

	// MinPassphrase is the shortest passphrase, in bytes.
	MinPassphrase = 12
	// DefaultIterations of PBKDF2 are what OWASP asks for with HMAC-SHA-256 (Password Storage Cheat Sheet).
	DefaultIterations = 600_000
	// MinIterations are the fewest that Create and Open accept.
	MinIterations = 100_000
	maxIterations = 10_000_000 // a damaged header must not keep the server from starting for hours
)

var errPassphrase = errors.New("the passphrase is wrong, or " + headerName + " is damaged")

// header is keystore.json. The salt is random. The check says whether a passphrase is the right one.
type header struct {
	Format     int    `json:"format"`
	KDF        string `json:"kdf"`
	Iterations int    `json:"iterations"`
	Salt       []byte `json:"salt"`  // base64
	Check      []byte `json:"check"` // base64
}

func newHeader(passphrase []byte, iterations int) (header, error) {
	h := header{Format: format, KDF: kdf, Iterations: iterations, Salt: make([]byte, 32)}
	rand.Read(h.Salt) // never fails (crypto/rand)
	if err := h.supported(); err != nil {
		return header{}, err
	}
	_, check, err := h.derive(passphrase)
	h.Check = check
	return h, err
}

// parseHeader accepts exactly what encode writes.
func parseHeader(data []byte) (header, error) {
	var h header
	if err := json.Unmarshal(data, &h); err != nil {
		return header{}, fmt.Errorf("it is damaged: %w", err)
	}
	if err := h.supported(); err != nil {
		return header{}, err
	}
	if again, err := h.encode(); err != nil || !bytes.Equal(again, data) {
		return header{}, errors.New("it is damaged: this is not how the keystore writes it")
	}
	return h, nil
}

func (h header) encode() ([]byte, error) {
	data, err := json.Marshal(h)
	return append(data, '\n'), err
}

func (h header) supported() error {
	switch {
	case h.Format != format:
		return fmt.Errorf("its format %d is unknown to this version of keyserver, which reads format %d", h.Format, format)
	case h.KDF != kdf:
		return fmt.Errorf("its key derivation %q is unknown to this version of keyserver, which has %s", h.KDF, kdf)
	case h.Iterations < MinIterations || h.Iterations > maxIterations:
		return fmt.Errorf("%d iterations are out of range; it must be between %d and %d", h.Iterations, MinIterations, maxIterations)
	}
	return nil
}

// unlock returns the cipher under the key-encryption key, if the passphrase is the right one.
func (h header) unlock(passphrase []byte) (cipher.AEAD, error) {
	key, check, err := h.derive(passphrase)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(check, h.Check) != 1 {
		return nil, errPassphrase
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (h header) derive(passphrase []byte) (key, check []byte, err error) {
	if len(passphrase) < MinPassphrase {
		return nil, nil, fmt.Errorf("the passphrase has %d bytes; it must have at least %d", len(passphrase), MinPassphrase)
	}
	master, err := pbkdf2.Key(sha256.New, string(passphrase), h.Salt, h.Iterations, 32)
	if err != nil {
		return nil, nil, err
	}
	if key, err = hkdf.Expand(sha256.New, master, "keyserver software keystore 1: key encryption", 32); err != nil {
		return nil, nil, err
	}
	check, err = hkdf.Expand(sha256.New, master, "keyserver software keystore 1: passphrase check", 32)
	return key, check, err
}

func readHeader(dir *os.Root) (header, error) {
	data, err := readFile(dir, headerName)
	if err != nil {
		return header{}, err
	}
	h, err := parseHeader(data)
	if err != nil {
		return header{}, fmt.Errorf("reading %s: %w", headerName, err)
	}
	return h, nil
}

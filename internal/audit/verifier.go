package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// VerifierOf returns the verifier's text that belongs to a signer's text (C2SP signed-note, Ed25519).
func VerifierOf(signer string) (string, error) {
	s, err := NewSigner(signer)
	if err != nil {
		return "", err
	}
	// PRIVATE+KEY+<name>+<hash>+<base64 of algorithm byte and seed>, as note.GenerateKey documents.
	parts := strings.SplitN(signer, "+", 5)
	secret, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err != nil || len(secret) != 1+ed25519.SeedSize {
		return "", errors.New("reading a log's signing key: it is not an Ed25519 key")
	}
	public := ed25519.NewKeyFromSeed(secret[1:]).Public().(ed25519.PublicKey)
	return note.NewEd25519VerifierKey(s.Name(), public)
}

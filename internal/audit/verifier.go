package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// VerifierOf returns the verifier's text that belongs to a signer's text (C2SP signed-note, Ed25519).
func VerifierOf(signer string) (string, error) {
	s, err := NewSigner(signer)
	if err != nil {
		return "", err
	}
	// PRIVATE+KEY+<name>+<hash>+<base64 of algorithm byte and seed>, as note.GenerateKey documents and
	// NewSigner has seen it to be.
	secret, _ := base64.StdEncoding.DecodeString(strings.SplitN(signer, "+", 5)[4])
	public := ed25519.NewKeyFromSeed(secret[1:]).Public().(ed25519.PublicKey)
	return note.NewEd25519VerifierKey(s.Name(), public)
}

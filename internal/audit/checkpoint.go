package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// MaxCheckpoint is how long a checkpoint may be, in bytes, with all its signatures.
const MaxCheckpoint = 16 << 10

// Checkpoint says that the log of that origin had that root when it had that size.
type Checkpoint struct {
	Origin string
	Size   int64
	Root   Hash
}

// Signer signs checkpoints; its name is the log's origin.
type Signer = note.Signer

// Verifier verifies checkpoints; its name is the log's origin.
type Verifier = note.Verifier

// GenerateKey makes a log's key pair (Ed25519, algorithm 1 of C2SP signed-note) as texts for [NewSigner] and
// [NewVerifier]. The signer's text is secret.
func GenerateKey(random io.Reader, origin string) (signer, verifier string, err error) {
	if err := checkOrigin(origin); err != nil {
		return "", "", fmt.Errorf("making a log key: %w", err)
	}
	signer, verifier, err = note.GenerateKey(random, origin)
	if err != nil {
		return "", "", fmt.Errorf("making a log key: %w", err)
	}
	return signer, verifier, nil
}

// NewSigner reads what [GenerateKey] made.
func NewSigner(text string) (Signer, error) {
	s, err := note.NewSigner(text)
	if err != nil {
		return nil, errors.New("reading a log's signing key: it is not as it was made") // not a word of the key
	}
	if err := checkOrigin(s.Name()); err != nil {
		return nil, fmt.Errorf("reading a log's signing key: %w", err)
	}
	return s, nil
}

// NewVerifier reads what [GenerateKey] made.
func NewVerifier(text string) (Verifier, error) {
	v, err := note.NewVerifier(text)
	if err != nil {
		return nil, fmt.Errorf("reading log key %q: %w", text, err)
	}
	if err := checkOrigin(v.Name()); err != nil {
		return nil, fmt.Errorf("reading log key %q: %w", text, err)
	}
	return v, nil
}

func checkOrigin(origin string) error {
	for _, c := range []byte(origin) {
		if c <= ' ' || c > '~' || c == '+' {
			return fmt.Errorf("origin %q: it must be visible ASCII without plus", origin)
		}
	}
	if origin == "" || len(origin) > 255 {
		return fmt.Errorf("origin %q: it must have 1 to 255 characters", origin)
	}
	return nil
}

func (c Checkpoint) text() string { return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, c.Root) }

// SignCheckpoint returns a checkpoint (C2SP tlog-checkpoint, no extension lines) in a signed note. The origin
// is the signer's name.
func SignCheckpoint(size int64, root Hash, s Signer) ([]byte, error) {
	if size < 0 || size > maxInteger {
		return nil, fmt.Errorf("signing checkpoint: there is no log of size %d", size)
	}
	signed, err := note.Sign(&note.Note{Text: Checkpoint{s.Name(), size, root}.text()}, s)
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint of size %d: %w", size, err)
	}
	return signed, nil
}

// ParseCheckpoint reads a signed checkpoint of the log that v names. It must be signed by that log's key;
// signatures of others (witnesses) may stand beside and are not checked.
func ParseCheckpoint(signed []byte, v Verifier) (Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return Checkpoint{}, fmt.Errorf("reading checkpoint: %d bytes are too long; %d are allowed", len(signed), MaxCheckpoint)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if unverified := (*note.UnverifiedNoteError)(nil); errors.As(err, &unverified) {
		return Checkpoint{}, fmt.Errorf("reading checkpoint: it is not signed by log key %s+%08x", v.Name(), v.KeyHash())
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("reading checkpoint: it is no signed note (C2SP): %w", err)
	}
	if len(signed) != canonicalLength(n) {
		return Checkpoint{}, fmt.Errorf("reading checkpoint: a signature is there twice or not in its only encoding")
	}
	c, err := parseText(n.Text)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != v.Name() {
		return Checkpoint{}, fmt.Errorf("reading checkpoint: its origin is %q, but its signer is %q", c.Origin, v.Name())
	}
	return c, nil
}

// canonicalLength is how long the note is with each signature once, and -1 if a signature is not encoded as
// RFC 4648 section 3.5 demands: package note overlooks both.
func canonicalLength(n *note.Note) int {
	length := len(n.Text) + len("\n")
	for _, list := range [][]note.Signature{n.Sigs, n.UnverifiedSigs} {
		for _, s := range list {
			if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
				return -1
			}
			length += len("— ") + len(s.Name) + len(" ") + len(s.Base64) + len("\n")
		}
	}
	return length
}

func parseText(text string) (Checkpoint, error) {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) != 4 || lines[3] != "" { // three lines, each with its end
		return Checkpoint{}, fmt.Errorf("reading checkpoint: it must have three lines: origin, size, root")
	}
	size, err := strconv.ParseInt(strings.TrimSuffix(lines[1], "\n"), 10, 64)
	if err != nil || size < 0 || size > maxInteger {
		return Checkpoint{}, fmt.Errorf("reading checkpoint: size %q is not a number within 2^53-1", lines[1])
	}
	root, err := tlog.ParseHash(strings.TrimSuffix(lines[2], "\n"))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("reading checkpoint: root %q is not a SHA-256 in base64", lines[2])
	}
	c := Checkpoint{strings.TrimSuffix(lines[0], "\n"), size, root}
	if c.text() != text {
		return Checkpoint{}, fmt.Errorf("reading checkpoint: size or root is not in its only encoding")
	}
	return c, nil
}

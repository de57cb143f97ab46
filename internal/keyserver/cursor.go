package keyserver

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// A cursor is where the page before ended, sealed for who asked for what: one that was forged, or given to
// somebody else or for another list, is refused. It is encrypted too, since a page may end at something
// that does not exist for the caller.

// newSeal derives a key for a purpose from the log key, and returns what seals with it.
func newSeal(logKey, purpose string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(logKey), nil, purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the key of %s: %w", purpose, err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("preparing the key of %s: %w", purpose, err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (k *Keyserver) cursor(c Caller, scope, last string) string {
	return base64.RawURLEncoding.EncodeToString(k.cursors.Seal(nil, nil, []byte(last), cursorOf(c, scope)))
}

// openCursor checks the page and returns where the one before ended, empty at the start.
func (k *Keyserver) openCursor(c Caller, scope string, p Page) (string, error) {
	if p.Limit < 1 || p.Limit > MaxPage {
		return "", &Malformed{fmt.Sprintf("limit must be between 1 and %d", MaxPage)}
	}
	if p.Cursor == "" {
		return "", nil
	}
	last, err := base64.RawURLEncoding.Strict().DecodeString(p.Cursor)
	if strings.ContainsAny(p.Cursor, "\r\n") { // which the decoder overlooks
		last = nil
	}
	if err == nil {
		last, err = k.cursors.Open(nil, nil, last, cursorOf(c, scope))
	}
	if err != nil {
		return "", &Malformed{"this cursor was not given to you for this list; start again without one"}
	}
	return string(last), nil
}

func cursorOf(c Caller, scope string) []byte { return fmt.Appendf(nil, "%q %s", c.Subject, scope) }

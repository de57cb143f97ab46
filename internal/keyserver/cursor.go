package keyserver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// A cursor is where the page before ended, with a MAC that binds it to who asked for what: one that was
// forged, or given to somebody else or for another list, is refused.

func (k *Keyserver) cursor(c Caller, scope, last string) string {
	return base64.RawURLEncoding.EncodeToString(append(k.cursorMAC(c, scope, last), last...))
}

// openCursor checks the page and returns where the one before ended, empty at the start.
func (k *Keyserver) openCursor(c Caller, scope string, p Page) (string, error) {
	if p.Limit < 1 || p.Limit > MaxPage {
		return "", &Malformed{fmt.Sprintf("limit must be between 1 and %d", MaxPage)}
	}
	if p.Cursor == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(p.Cursor)
	if err != nil || len(b) < sha256.Size || !hmac.Equal(b[:sha256.Size], k.cursorMAC(c, scope, string(b[sha256.Size:]))) {
		return "", &Malformed{"this cursor was not given to you for this list; start again without one"}
	}
	return string(b[sha256.Size:]), nil
}

func (k *Keyserver) cursorMAC(c Caller, scope, last string) []byte {
	mac := hmac.New(sha256.New, k.cursorKey)
	mac.Write([]byte(strings.Join([]string{string(c.Subject), scope, last}, "\x00")))
	return mac.Sum(nil)
}

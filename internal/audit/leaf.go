package audit

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// MaxLeaf is how long a leaf may be, in bytes. An operation at every static ceiling of the law that fits
// into a request fits into it.
const MaxLeaf = 1 << 20

// maxInteger is the largest integer that every JSON reader reads exactly (RFC 8785 section 3.2.2.3).
const maxInteger = 1<<53 - 1

// Leaf returns the event's canonical bytes: one JSON object on one line, without the line's end, as RFC
// 8785 orders and writes it. It refuses an event that [ParseLeaf] would refuse.
func (e Event) Leaf() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("writing audit entry %d: %w", e.Index, err)
	}
	leaf, err := e.appendTo(nil)
	if err == nil && len(leaf) > MaxLeaf {
		err = errTooLong(len(leaf))
	}
	if err != nil {
		return nil, fmt.Errorf("writing audit entry %d: %w", e.Index, err)
	}
	return leaf, nil
}

// ParseLeaf reads a leaf. It accepts the bytes that [Event.Leaf] writes and no others.
func ParseLeaf(leaf []byte) (Event, error) {
	var e Event
	if _, err := e.parse(leaf, nil); err != nil {
		return Event{}, err
	}
	return e, nil
}

// parse reads the leaf into a zero event. It uses scratch and returns it for the next.
func (e *Event) parse(leaf, scratch []byte) ([]byte, error) {
	if len(leaf) > MaxLeaf {
		return scratch, fmt.Errorf("reading audit entry: %w", errTooLong(len(leaf)))
	}
	err := json.Unmarshal(leaf, e, json.RejectUnknownMembers(true))
	if err == nil {
		err = e.check()
	}
	if err == nil {
		// Writing it again is the whole test of the canonical form: spaces, order, escapes, numbers, nulls
		// and zero members all come out differently if they came in differently.
		scratch, err = e.appendTo(scratch[:0])
	}
	if err == nil && !bytes.Equal(scratch, leaf) {
		err = errors.New("not in canonical form (RFC 8785)")
	}
	if err != nil {
		return scratch, fmt.Errorf("reading audit entry: %w", err)
	}
	return scratch, nil
}

func errTooLong(n int) error { return fmt.Errorf("%d bytes are too long; %d are allowed", n, MaxLeaf) }

func (e *Event) check() error {
	switch {
	case e.Version != Version:
		return fmt.Errorf("version %d is unknown; this program knows version %d", e.Version, Version)
	case !e.Type.known():
		return fmt.Errorf("type %q is unknown", e.Type)
	case e.Index == 0 && e.Previous != "":
		return fmt.Errorf("entry 0 has nothing before it, but its previous hash is %q", e.Previous)
	case e.Index != 0 && !isHash(e.Previous):
		return fmt.Errorf("previous hash %q is not a SHA-256 in lower-case hex", e.Previous)
	}
	if err := e.checkIntegers(); err != nil {
		return err
	}
	for k := range e.Eligible {
		if !isKeyID(string(k)) {
			return fmt.Errorf("eligible: %q is not a key id", k)
		}
	}
	return nil
}

func (e *Event) checkIntegers() error {
	numbers := [...]int64{e.Index, e.Time, e.Lease, int64(e.Attempt), int64(e.Count), int64(e.Use), int64(e.Of), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if e.Clock != nil {
		numbers[7], numbers[8] = e.Clock.Old, e.Clock.New
	}
	if c := e.Certificate; c != nil {
		numbers[9], numbers[10] = c.NotBefore, c.NotAfter
	}
	if l := e.RevocationList; l != nil {
		numbers[11], numbers[12], numbers[13], numbers[14] = l.Number, l.Entries, l.ThisUpdate, l.NextUpdate
	}
	if s := e.SignIn; s != nil {
		numbers[15], numbers[16] = s.At, s.Until
	}
	for _, n := range numbers {
		if n < 0 || n > maxInteger {
			return fmt.Errorf("number %d is out of bounds (0 to 2^53-1)", n)
		}
	}
	if err := checkNumbers(e.Statement); err != nil {
		return fmt.Errorf("statement: %w", err)
	}
	if e.Configuration == nil {
		return nil
	}
	if err := checkNumbers(e.Configuration.Value); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	return nil
}

// checkNumbers refuses JSON with a number that is not an exact integer: the canonical form would round it
// without a word. It looks at numbers only; whether v is JSON at all shows when it is written.
func checkNumbers(v jsontext.Value) error {
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"':
			for i++; i < len(v) && v[i] != '"'; i++ {
				if v[i] == '\\' {
					i++
				}
			}
		case c == '-' || '0' <= c && c <= '9':
			start := i
			for i < len(v) && bytes.IndexByte([]byte("+-.0123456789Ee"), v[i]) >= 0 {
				i++
			}
			n, err := strconv.ParseInt(string(v[start:i]), 10, 64)
			if err != nil || n < -maxInteger || n > maxInteger {
				return fmt.Errorf("number %s is not an integer within 2^53-1", v[start:i])
			}
			i--
		}
	}
	return nil
}

func (t Type) known() bool { return slices.Contains(Types(), t) }

func isHash(s string) bool {
	if len(s) != 2*hashSize {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isKeyID also keeps the names within ASCII, where encoding/json/v2 (by bytes) and RFC 8785 (by UTF-16)
// sort alike.
func isKeyID(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return 0 < len(s) && len(s) <= 63
}

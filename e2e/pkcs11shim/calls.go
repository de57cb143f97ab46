package pkcs11shim

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Call is one call that makes a signature: of C_Sign, C_SignFinal or C_SignRecover, with room for the
// signature. A call that only asks for the length is none.
type Call struct {
	Number   int // 1 for the first of all processes that use the directory
	PID      int
	Function string
	ID       []byte // CKA_ID of the key
	Label    string // CKA_LABEL of the key
	Fault    string // what was done to it: an [Action], none, or malformed for a control file that is not understood
	Ended    bool   // false while it is under way, and for ever if its process ended first
	Called   bool   // the real module was called; known when it has ended
	Real     uint   // what the real module returned
	Returned uint   // what the caller got
}

// Calls says how many calls that make a signature were begun with the key of each label, whether or not they
// came to the real module.
func (s *Shim) Calls() map[string]int {
	s.t.Helper()
	n := map[string]int{}
	for _, c := range s.All() {
		n[c.Label]++
	}
	return n
}

// All are all calls that make a signature, in the order in which they were begun.
func (s *Shim) All() []Call {
	s.t.Helper()
	calls, err := parse(s.read("calls"))
	if err != nil {
		s.t.Fatalf("reading the calls that the shim wrote down: %v", err)
	}
	return calls
}

// parse reads the file of calls. Text without a newline at its end is of a call that was never made.
func parse(text string) ([]Call, error) {
	var calls []Call
	for line := range strings.Lines(text) {
		line, whole := strings.CutSuffix(line, "\n")
		if !whole {
			break
		}
		w := words{text: line}
		switch kind := w.next(""); kind {
		case "before":
			c := w.before()
			if w.err == nil && c.Number != len(calls)+1 {
				w.err = fmt.Errorf("it is line %d of those before a call", len(calls)+1)
			}
			calls = append(calls, c)
		case "after":
			w.after(calls)
		default:
			w.err = fmt.Errorf("%q is not how a line begins", kind)
		}
		if w.err == nil && w.text != "" {
			w.err = fmt.Errorf("%q is too much", w.text)
		}
		if w.err != nil {
			return nil, fmt.Errorf("line %q: %w", line, w.err)
		}
	}
	return calls, nil
}

// words takes a line apart, and keeps the first error.
type words struct {
	text string
	err  error
}

// next is the value of the next word, which must begin with the prefix.
func (w *words) next(prefix string) string {
	word, rest, _ := strings.Cut(w.text, " ")
	w.text = rest
	value, ok := strings.CutPrefix(word, prefix)
	if !ok && w.err == nil {
		w.err = fmt.Errorf("%q stands where %s… should", word, prefix)
	}
	return value
}

func take[T any](w *words, value T, err error) T {
	if w.err == nil {
		w.err = err
	}
	return value
}

func (w *words) number(prefix string) int {
	n, err := strconv.Atoi(w.next(prefix))
	return take(w, n, err)
}

func (w *words) rv(prefix string) uint {
	n, err := strconv.ParseUint(w.next(prefix), 0, strconv.IntSize)
	return uint(take(w, n, err))
}

func (w *words) before() Call {
	c := Call{Number: w.number(""), PID: w.number("pid="), Function: w.next("function=")}
	id, err := hex.DecodeString(w.next("id="))
	c.ID = take(w, id, err)
	label, err := url.PathUnescape(w.next("label="))
	c.Label = take(w, label, err)
	w.next("control=")
	w.number("match=")
	c.Fault = w.next("fault=")
	return c
}

func (w *words) after(calls []Call) {
	n, pid := w.number(""), w.number("pid=")
	if w.err == nil && (n < 1 || n > len(calls) || calls[n-1].PID != pid || calls[n-1].Ended) {
		w.err = fmt.Errorf("no call %d of process %d is under way", n, pid)
	}
	if w.err != nil {
		return
	}
	c := &calls[n-1]
	c.Ended = true
	if c.Called = !strings.HasPrefix(w.text, "real=- "); c.Called {
		c.Real = w.rv("real=")
	} else {
		w.next("real=-")
	}
	c.Returned = w.rv("returned=")
}

// escape writes a label as the shim does: all but letters, digits, '.', '_' and '-' as %XX.
func escape(label string) string {
	var b strings.Builder
	for _, c := range []byte(label) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

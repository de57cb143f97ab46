package hsm

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// URI is what a PKCS#11 URI (RFC 7512) says of a private key. The handle of a key pair has Token and ID.
//
// RFC 7512 allows much more, and where what it allows would let the text choose the library or carry a PIN,
// it is refused with a sentence of its own.
type URI struct {
	Token        string // label of the token
	Manufacturer string
	Model        string
	Serial       string
	ID           []byte // CKA_ID
	Object       string // CKA_LABEL
}

// scheme begins every PKCS#11 URI.
const scheme = "pkcs11:"

// MaxID is how long a CKA_ID may be, in bytes.
const MaxID = 128

// attribute is `name=value` of a path: what RFC 7512 section 2.3 allows in a value, percent-encoding included.
var attribute = regexp.MustCompile(`^([a-z-]+)=((?:[A-Za-z0-9._~:\[\]@!$'()*+,=&-]|%[0-9A-Fa-f]{2})+)$`)

// ParseURI reads a PKCS#11 URI of a private key. It must name the token, and the key by `id`, by `object`
// or by both.
func ParseURI(text string) (URI, error) {
	u, err := parseURI(text)
	if err != nil {
		return URI{}, fmt.Errorf("reading a PKCS#11 URI: %w", err)
	}
	return u, nil
}

func parseURI(text string) (URI, error) {
	var u URI
	rest, is := strings.CutPrefix(text, scheme)
	switch {
	case !is:
		return u, fmt.Errorf("it must begin with %s", scheme)
	case len(text) > maxHandle:
		return u, fmt.Errorf("it is longer than %d bytes", maxHandle)
	case strings.Contains(rest, "?"):
		return u, errors.New("module-path, module-name, pin-value, pin-source and whatever else comes after a question mark belong into the configuration; remove them")
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(rest, ";") {
		m := attribute.FindStringSubmatch(part)
		if m == nil {
			return u, errors.New("between two semicolons it must say name=value, with % before the hex digits of what is not a letter or digit")
		}
		name := m[1]
		value, err := url.PathUnescape(m[2])
		if err != nil || seen[name] {
			return u, fmt.Errorf("%s is there twice, or cannot be read", name)
		}
		seen[name] = true
		if err := u.set(name, value); err != nil {
			return u, err
		}
	}
	if u.Token == "" || u.ID == nil && u.Object == "" {
		return u, errors.New("it must name the token (token=…) and the key (id=… or object=…)")
	}
	return u, nil
}

func (u *URI) set(name, value string) error {
	switch name {
	case "token":
		u.Token = value
	case "manufacturer":
		u.Manufacturer = value
	case "model":
		u.Model = value
	case "serial":
		u.Serial = value
	case "object":
		u.Object = value
	case "id":
		if u.ID = []byte(value); len(u.ID) > MaxID {
			return fmt.Errorf("id is longer than %d bytes", MaxID)
		}
	case "type":
		if value != "private" {
			return fmt.Errorf("type=%s is no private key; say type=private", value)
		}
	default:
		return fmt.Errorf("%s is not used to find a key; say token, manufacturer, model, serial, id, object and type=private", name)
	}
	return nil
}

const handleEnd = ";type=private"

// Handle names the key pair with this CKA_ID in the token of this label.
func Handle(token string, id []byte) string {
	var b strings.Builder
	b.WriteString(scheme + "token=")
	for i := range len(token) {
		if c := token[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	b.WriteString(";id=")
	for _, c := range id {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	b.WriteString(handleEnd)
	return b.String()
}

// ParseHandle reads what Handle has written, and nothing else: a key pair has one handle.
func ParseHandle(handle string) (token string, id []byte, ok bool) {
	u, err := parseURI(handle)
	if err != nil || len(u.ID) == 0 || Handle(u.Token, u.ID) != handle {
		return "", nil, false
	}
	return u.Token, u.ID, true
}

// Label is the CKA_LABEL of a key pair that the keyserver makes. It is for people, and to see that there
// is one already.
func (g Generate) Label() string { return fmt.Sprintf("%s.%d", g.Key, g.Version) }

var labelPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}\.[1-9][0-9]{0,8}$`) // as the law has ids

// Check says what keeps such a key pair from being made, whatever the token can do.
func (g Generate) Check() error {
	switch {
	case !labelPattern.MatchString(g.Label()):
		return fmt.Errorf("key id %q or version %d cannot be", g.Key, g.Version)
	case g.Algorithm.Schemes() == nil:
		return fmt.Errorf("algorithm %q is unknown", g.Algorithm)
	}
	return nil
}

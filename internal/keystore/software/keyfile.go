package software

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.org/keyserver/internal/law"
)

// name names one key pair. Its text is the handle.
type name struct {
	id      law.KeyID
	version int
}

func (n name) handle() string { return string(n.id) + "." + strconv.Itoa(n.version) }
func (n name) file() string   { return n.handle() + ".key" }

// handlePattern is a key id (DNS-like, as the law has it) and a version. Nothing that matches it leads
// out of the directory.
var handlePattern = regexp.MustCompile(`^([a-z0-9][a-z0-9._-]{0,62})\.([1-9][0-9]{0,8})$`)

func parseHandle(handle string) (name, bool) {
	m := handlePattern.FindStringSubmatch(handle)
	if m == nil {
		return name{}, false
	}
	version, err := strconv.Atoi(m[2])
	return name{law.KeyID(m[1]), version}, err == nil
}

// seal makes the content of a key file: a line that says what is in it, and the private key.
func seal(kek cipher.AEAD, n name, a law.Algorithm, private []byte) []byte {
	line := fmt.Appendf(nil, "keyserver-key %d %s %d %s\n", format, n.id, n.version, a)
	return kek.Seal(bytes.Clone(line), nil, private, line)
}

// unseal reads what seal made for the key pair of this name.
func unseal(kek cipher.AEAD, n name, data []byte) (law.Algorithm, []byte, error) {
	end := bytes.IndexByte(data, '\n') + 1
	line, sealed := data[:end], data[end:]
	words := strings.Split(strings.TrimSuffix(string(line), "\n"), " ")
	switch {
	case words[0] != "keyserver-key" || len(words) != 5:
		return "", nil, errors.New("it is damaged or not a key file: its first line is not that of one")
	case words[1] != strconv.Itoa(format):
		return "", nil, fmt.Errorf("its format %q is unknown to this version of keyserver, which reads format %d", words[1], format)
	case words[2] != string(n.id) || words[3] != strconv.Itoa(n.version):
		return "", nil, fmt.Errorf("it holds version %q of key %q: it was renamed or damaged", words[3], words[2])
	case !slices.Contains(law.Algorithms(), law.Algorithm(words[4])):
		return "", nil, fmt.Errorf("its algorithm %q is unknown to this version of keyserver", words[4])
	}
	private, err := kek.Open(nil, nil, sealed, line)
	if err != nil {
		return "", nil, errors.New("it was changed or cut off, or belongs to another keystore: its content does not decrypt")
	}
	return law.Algorithm(words[4]), private, nil
}

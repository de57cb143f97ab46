package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"syscall"
)

// Secret says where a secret is: in a file or in an environment variable, exactly one of them. It never
// holds the secret itself, so that printing, logging or showing a configuration cannot give it away. The
// zero Secret is nowhere and cannot be read.
type Secret struct {
	// File is the path of a file that only its owner may read. The zero value means that it is not in a file.
	File string `yaml:"file,omitempty"`
	// Env is the name of an environment variable. The zero value means that it is not in the environment.
	Env string `yaml:"env,omitempty"`

	lookup func(string) (string, bool)
}

const maxSecret = 64 << 10

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Read returns the secret, without the one line break that text files end with. A secret that is empty or
// that others may read is refused.
func (s Secret) Read() ([]byte, error) {
	value, err := s.read()
	if err != nil {
		return nil, fmt.Errorf("reading a secret %s: %w", s, err)
	}
	value = bytes.TrimSuffix(value, []byte("\n"))
	value = bytes.TrimSuffix(value, []byte("\r"))
	switch {
	case len(value) == 0:
		return nil, fmt.Errorf("reading a secret %s: it is empty", s)
	case len(value) > maxSecret:
		return nil, fmt.Errorf("reading a secret %s: it is longer than %d bytes", s, maxSecret)
	}
	return value, nil
}

func (s Secret) read() ([]byte, error) {
	switch {
	case s.Fault() != "":
		return nil, errors.New(s.Fault())
	case s.File != "":
		return readPrivate(s.File)
	case s.lookup == nil:
		return nil, fmt.Errorf("there is no environment")
	}
	value, ok := s.lookup(s.Env)
	if !ok {
		return nil, fmt.Errorf("it is not set")
	}
	return []byte(value), nil
}

func readPrivate(path string) (value []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err) // the path is said already
	}
	defer f.Close()
	info, err := f.Stat() // of what is open, not of what the path may name by then
	switch {
	case err != nil:
		return nil, errors.Unwrap(err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("it is not a regular file")
	case !private(info):
		return nil, fmt.Errorf("others than its owner may use it (mode %04o); run: chmod 600 %s", info.Mode().Perm(), path)
	}
	return io.ReadAll(io.LimitReader(f, maxSecret+3)) // room for a line break and for noticing one byte too many
}

// private says whether nobody but its owner may use a file. systemd gives a service its credentials in files of
// root's that an access control list lets it read: then what looks like the group's right is the list's mask
// (acl(5)), and root's own group reads everything anyway.
func private(info fs.FileInfo) bool {
	s, known := info.Sys().(*syscall.Stat_t)
	credential := known && s.Uid == 0 && s.Gid == 0 && info.Mode().Perm() == 0o440
	return credential || info.Mode().Perm()&0o077 == 0
}

// fault says what is wrong with a Secret, nothing if it can be looked for.
func (s Secret) Fault() string {
	switch {
	case (s.File == "") == (s.Env == ""):
		return "say exactly one of `file` and `env`"
	case s.Env != "" && !variable.MatchString(s.Env):
		return "`env` is the name of an environment variable (letters, digits and underscores), not the secret itself" // and is not repeated here
	}
	return ""
}

// String says where the secret comes from.
func (s Secret) String() string {
	switch {
	case s.Fault() != "":
		return "from nowhere"
	case s.File != "":
		return "from file " + s.File
	}
	return "from environment variable " + s.Env
}

// GoString says where the secret comes from.
func (s Secret) GoString() string { return "config.Secret(" + s.String() + ")" }

// LogValue says where the secret comes from.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

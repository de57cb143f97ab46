// Package hsmtest has what tests and trials of keystores in an HSM need: the worker, built from this tree,
// and tokens without hardware, each in a directory of its own, so that nothing of the machine is touched.
//
// A token that another library stands in front of, such as one that counts or does harm, is the same [Token]
// with another Module and more Environment.
package hsmtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.org/keyserver/internal/keystore/hsm"
)

// Token is a token that was made for one test or trial.
type Token struct {
	Module      string            // path of the PKCS#11 library
	Label       string            // of the token
	PIN         string            // of its user
	Environment map[string]string // that the library needs to find the token
	Parameters  string            // that the library is initialised with
	Directory   string            // where it is
}

// Where Debian has the libraries, and what they are called.
const (
	SoftHSM = "/usr/lib/softhsm/libsofthsm2.so" // package softhsm2
	NSS     = "libsoftokn3.so"                  // package libnss3, in the directory of the machine's kind
)

// MakeSoftHSM makes a SoftHSM 2 token in the directory, which must exist. A directory may have several.
func MakeSoftHSM(ctx context.Context, dir, label, pin string) (Token, error) {
	tokens, conf := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf")
	err := errors.Join(
		os.MkdirAll(tokens, 0o700),
		os.WriteFile(conf, fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", tokens), 0o600),
	)
	if err != nil {
		return Token{}, fmt.Errorf("making a SoftHSM token: %w", err)
	}
	t := Token{Module: SoftHSM, Label: label, PIN: pin, Environment: map[string]string{"SOFTHSM2_CONF": conf}, Directory: tokens}
	_, err = t.Tool(ctx, "softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", pin)
	if err != nil {
		return Token{}, fmt.Errorf("making a SoftHSM token (Debian package softhsm2): %w", err)
	}
	return t, nil
}

// MakeNSS makes a database of Mozilla's NSS in the directory, which is a token for its softokn library.
func MakeNSS(ctx context.Context, dir, pin string) (Token, error) {
	libraries, err := filepath.Glob("/usr/lib/*/" + NSS)
	if err != nil || len(libraries) != 1 {
		return Token{}, fmt.Errorf("making an NSS token: there is no /usr/lib/*/%s (Debian package libnss3)", NSS)
	}
	file := filepath.Join(dir, "pin")
	if err := os.WriteFile(file, []byte(pin+"\n"), 0o600); err != nil {
		return Token{}, fmt.Errorf("making an NSS token: %w", err)
	}
	t := Token{Module: libraries[0], Label: "NSS Certificate DB", PIN: pin, Directory: dir, Parameters: fmt.Sprintf("configdir='sql:%s' flags=passwordRequired", dir)}
	if _, err := t.Tool(ctx, "certutil", "-N", "-d", "sql:"+dir, "-f", file); err != nil {
		return Token{}, fmt.Errorf("making an NSS token (Debian package libnss3-tools): %w", err)
	}
	return t, nil
}

// Tool runs a program of others with the token's environment, and returns what it prints.
func (t Token) Tool(ctx context.Context, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = os.Environ()
	for name, value := range t.Environment {
		c.Env = append(c.Env, name+"="+value)
	}
	out, err := c.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return string(out), nil
}

// NewSoftHSM makes a SoftHSM 2 token for one test.
func NewSoftHSM(t testing.TB) Token {
	t.Helper()
	token, err := MakeSoftHSM(t.Context(), t.TempDir(), "keys", "2718281828")
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// NewNSS makes an NSS token for one test.
func NewNSS(t testing.TB) Token {
	t.Helper()
	token, err := MakeNSS(t.Context(), t.TempDir(), "Nss-2718281828")
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Options returns those of a keystore in the token. What the keystore logs goes to log; nil means nowhere.
func (t Token) Options(tb testing.TB, log *slog.Logger) hsm.Options {
	tb.Helper()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return hsm.Options{
		Worker: Worker(tb), Module: t.Module, Parameters: t.Parameters, Token: t.Label, Environment: t.Environment, Log: log,
		PIN: func() ([]byte, error) { return []byte(t.PIN), nil },
	}
}

// Open opens a keystore, for as long as the test runs.
func Open(tb testing.TB, o hsm.Options) *hsm.Keystore {
	tb.Helper()
	k, err := hsm.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = k.Close() }) // the test may have closed it
	return k
}

// built is the worker of this test binary. Building it again for each test would cost more than the tests.
var built = sync.OnceValues(build)

// Worker returns the path of the worker, built from this tree.
func Worker(tb testing.TB) string {
	tb.Helper()
	path, err := built()
	if err != nil {
		tb.Fatalf("building the worker (it needs gcc; Debian packages gcc and libc6-dev): %v", err)
	}
	return path
}

// build builds the worker into the user's cache, at a path that belongs to this tree.
func build() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("looking for the tree: %w", err)
	}
	root := string(bytes.TrimSpace(out))
	sum := sha256.Sum256([]byte(root))
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "keyserver-test", hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	draft, err := os.MkdirTemp(dir, "draft-") // other test binaries build at the same time
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(draft)
	path := filepath.Join(draft, "keyserver-hsm")
	c := exec.Command("go", "build", "-o", path, "./cmd/keyserver-hsm")
	c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=1")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, strings.TrimSpace(string(out)))
	}
	final := filepath.Join(dir, "keyserver-hsm")
	return final, os.Rename(path, final)
}

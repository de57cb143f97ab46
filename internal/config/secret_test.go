package config

import (
	"bytes"
	"encoding/json/v2"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goccy/go-yaml"
)

const canary = "hunter2-canary"

func secretFile(t *testing.T, value string, mode os.FileMode) Secret {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return Secret{File: path}
}

func secretVariable(value string) Secret {
	return Secret{Env: "SECRET", lookup: environment(map[string]string{"SECRET": value})}
}

func TestASecretIsReadWithoutItsLastLineBreak(t *testing.T) {
	for stored, want := range map[string]string{
		canary: canary, canary + "\n": canary, canary + "\r\n": canary, canary + "\n\n": canary + "\n", " " + canary + " \n": " " + canary + " ",
		strings.Repeat("x", maxSecret) + "\r\n": strings.Repeat("x", maxSecret),
	} {
		for _, s := range []Secret{secretFile(t, stored, 0o600), secretFile(t, stored, 0o400), secretVariable(stored)} {
			got, err := s.Read()
			if err != nil || string(got) != want {
				t.Errorf("%.20q %v: %.20q, %v", stored, s, got, err)
			}
		}
	}
}

func TestASecretIsReadWhenItIsAskedFor(t *testing.T) {
	s := secretFile(t, "old", 0o600)
	if err := os.WriteFile(s.File, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSecretsThatAreNoneAreRefused(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none")
	open := secretFile(t, canary, 0o640)
	both := secretFile(t, canary, 0o600)
	both.Env = "SECRET"
	empty, blank := secretFile(t, "", 0o600), secretFile(t, "\n", 0o600)
	long := secretFile(t, strings.Repeat("x", maxSecret+1), 0o600)
	for _, c := range []struct {
		secret Secret
		want   string
	}{
		{Secret{}, "reading a secret from nowhere: say exactly one of `file` and `env`"},
		{both, "reading a secret from nowhere: say exactly one of `file` and `env`"},
		{empty, "reading a secret from file " + empty.File + ": it is empty"},
		{blank, "reading a secret from file " + blank.File + ": it is empty"},
		{long, "reading a secret from file " + long.File + ": it is longer than 65536 bytes"},
		{Secret{File: none}, "reading a secret from file " + none + ": no such file or directory"},
		{Secret{File: dir}, "reading a secret from file " + dir + ": it is not a regular file"},
		{open, "reading a secret from file " + open.File + ": others than its owner may use it (mode 0640); run: chmod 600 " + open.File},
		{secretVariable(""), "reading a secret from environment variable SECRET: it is empty"},
		{secretVariable("\n"), "reading a secret from environment variable SECRET: it is empty"},
		{Secret{Env: "OTHER", lookup: environment(nil)}, "reading a secret from environment variable OTHER: it is not set"},
		{Secret{Env: "OTHER"}, "reading a secret from environment variable OTHER: there is no environment"},
		{Secret{Env: canary, lookup: environment(nil)},
			"reading a secret from nowhere: `env` is the name of an environment variable (letters, digits and underscores), not the secret itself"},
	} {
		value, err := c.secret.Read()
		if err == nil || err.Error() != c.want {
			t.Errorf("%v: %v\nwant %s", c.secret, err, c.want)
		}
		if value != nil {
			t.Errorf("%v: a value came with the error", c.secret)
		}
	}
}

func TestAFileThatOthersMayUseInAnyWayIsRefused(t *testing.T) {
	for bit := os.FileMode(1); bit <= 0o40; bit <<= 1 {
		if _, err := secretFile(t, canary, 0o600|bit).Read(); err == nil {
			t.Errorf("mode %04o was accepted", 0o600|bit)
		}
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	text := strings.NewReplacer("{env: KEYSERVER_PASSPHRASE}", "{file: passphrase}", "file: /var/lib/keyserver/log.key", "env: LOG_KEY").
		Replace(example(t, "production.yaml"))
	path := write(t, text)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "passphrase"), []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Read(path, environment(map[string]string{"LOG_KEY": canary}))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.secrets() {
		if value, err := s.Read(); err != nil || string(value) != canary {
			t.Fatalf("%v: %q, %v; the test proves nothing", s, value, err)
		}
	}
	var out bytes.Buffer
	for _, v := range []any{c, &c, c.LogKey, &c.LogKey, c.Keystores, *c.Keystores[0].Software} {
		fmt.Fprintf(&out, "%v %+v %#v %s %q %x\n", v, v, v, v, v, v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		y, err := yaml.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(y)
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
	}
	out.WriteString(shown(t, c))
	for _, hidden := range []string{canary, fmt.Sprintf("%x", canary)} {
		if strings.Contains(out.String(), hidden) {
			t.Errorf("%q is in\n%s", hidden, out.String())
		}
	}
	for _, where := range []string{"from environment variable LOG_KEY", "from file " + filepath.Join(filepath.Dir(path), "passphrase")} {
		if !strings.Contains(out.String(), where) {
			t.Errorf("%q is nowhere to be read", where)
		}
	}
}

// Who writes the secret itself where its place is due must not find it in the terminal's or the service's log.
func TestASecretInTheWrongPlaceIsNotRepeated(t *testing.T) {
	for _, place := range []string{canary, "[" + canary + "]", "{env: " + canary + "}", "{env: [" + canary + "]}", "!x " + canary, "&x " + canary, "'" + canary, "|\n        " + canary} {
		_, err := Read(write(t, edited(t, "development.yaml", "{file: passphrase}", place)), environment(nil))
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", place, err)
		}
	}
}

// stated is what a file's system says of it.
type stated struct {
	fs.FileInfo
	mode     fs.FileMode
	uid, gid uint32
}

func (s stated) Mode() fs.FileMode { return s.mode }
func (s stated) Sys() any          { return &syscall.Stat_t{Uid: s.uid, Gid: s.gid} }

func TestACredentialOfSystemdIsPrivate(t *testing.T) {
	for _, c := range []struct {
		file stated
		want bool
	}{
		{stated{mode: 0o440}, true}, // root's, with an access control list
		{stated{mode: 0o400, uid: 999, gid: 999}, true},
		{stated{mode: 0o440, uid: 999}, false},
		{stated{mode: 0o440, gid: 999}, false},
		{stated{mode: 0o444}, false},
		{stated{mode: 0o640}, false},
		{stated{mode: 0o460}, false},
	} {
		if got := private(c.file); got != c.want {
			t.Errorf("mode %04o of %d:%d: %v, want %v", c.file.mode, c.file.uid, c.file.gid, got, c.want)
		}
	}
}

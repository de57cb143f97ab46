package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/policy"
	"example.org/keyserver/internal/strictyaml"
)

// environment is the lookup of a fixed environment.
func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func example(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// edited returns an example in which old, which must be there once, is replaced.
func edited(t *testing.T, file, old, replacement string) string {
	t.Helper()
	text := example(t, file)
	if n := strings.Count(text, old); n != 1 {
		t.Fatalf("%q is %d times in %s", old, n, file)
	}
	return strings.Replace(text, old, replacement, 1)
}

func read(t *testing.T, text string) Config {
	t.Helper()
	c, err := Read(write(t, text), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheExamplesAreAccepted(t *testing.T) {
	for _, file := range []string{"development.yaml", "production.yaml", "production-postgres.yaml", "hsm.yaml", "web.yaml", "notifications.yaml"} {
		c, err := Read(filepath.Join("testdata", file), environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		if problems := c.Check(); len(problems) > 0 {
			t.Errorf("%s: %v", file, problems)
		}
	}
}

func TestWhatIsAbsentGetsTheDocumentedDefault(t *testing.T) {
	c := read(t, example(t, "development.yaml"))
	want := Limits{RequestsPerMinute: 600, PendingOperations: 100, KeystoreTimeout: 20_000, KeystoreConcurrency: 64}
	if c.Limits != want || c.Log != (Log{Level: "info", Format: "text"}) || c.MetricsListen != "" || c.TLS != (TLS{}) {
		t.Errorf("defaults are %+v %+v %q %+v", c.Limits, c.Log, c.MetricsListen, c.TLS)
	}
	if got := c.Limits.KeystoreTimeout.Duration(); got != 20*time.Second {
		t.Errorf("timeout is %v", got)
	}
	if !c.HasKeystore("software") || c.HasKeystore("hsm") {
		t.Error("the keystores configured are not those in the file")
	}
}

func TestOneLimitMayBeSetAlone(t *testing.T) {
	c := read(t, edited(t, "development.yaml", "log-key:", "limits:\n  pending-operations: 7\nlog-key:"))
	if want := (Limits{600, 7, 20_000, 64}); c.Limits != want {
		t.Errorf("limits are %+v, want %+v", c.Limits, want)
	}
}

func TestShowIsWhatIsInEffect(t *testing.T) {
	path := write(t, edited(t, "development.yaml", "passphrase: {file: passphrase}", "passphrase: {env: KEYSERVER_PASSPHRASE}"))
	c, err := Read(path, environment(map[string]string{"KEYSERVER_PASSPHRASE": "hunter2-canary"}))
	if err != nil {
		t.Fatal(err)
	}
	const want = `mode: development
listen: 127.0.0.1:8443
url: http://127.0.0.1:8443
database:
  sqlite: DIR/keyserver.db
log-key:
  file: DIR/log.key
keystores:
  - name: software
    software:
      directory: DIR/keys
      passphrase:
        env: KEYSERVER_PASSPHRASE
limits:
  requests-per-minute: 600
  pending-operations: 100
  keystore-timeoutms: 20000
  keystore-concurrency: 64
log:
  level: info
  format: text
`
	if got := strings.ReplaceAll(shown(t, c), filepath.Dir(path), "DIR"); got != want {
		t.Errorf("shown:\n%s\nwant:\n%s", got, want)
	}
}

func TestWhatIsShownMeansTheSameAgain(t *testing.T) {
	for _, name := range []string{"a b", "a: b", "a #b", "a ", "'a'", `"a"`, `a\nb`, "ä€𝄞", "*a", "&a", "{a}", "[a]", "%a", "@a", "`a`", "a,b", "- a", "? a", "!a"} {
		c := read(t, example(t, "development.yaml"))
		c.Database.SQLite = "/" + name
		again := read(t, shown(t, c))
		if again.Database.SQLite != c.Database.SQLite {
			t.Errorf("%q is shown as %q", c.Database.SQLite, again.Database.SQLite)
		}
	}
}

func shown(t *testing.T, c Config) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Show(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Every path of the production example is absolute already; made relative, each must come out absolute.
func TestEveryPathIsRelativeToTheFile(t *testing.T) {
	text := strings.NewReplacer(": /", ": ./", "{env: KEYSERVER_PASSPHRASE}", "{file: ./passphrase}").Replace(example(t, "production.yaml"))
	path := write(t, text)
	c, err := Read(path, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := []string{
		"certificate-file: " + dir + "/etc/keyserver/tls/server.pem", "key-file: " + dir + "/etc/keyserver/tls/server.key",
		"sqlite: " + dir + "/var/lib/keyserver/keyserver.db", "file: " + dir + "/var/lib/keyserver/log.key",
		"directory: " + dir + "/var/lib/keyserver/keys", "file: " + dir + "/passphrase",
	}
	for _, w := range want {
		if !strings.Contains(shown(t, c), w+"\n") {
			t.Errorf("%s is not in\n%s", w, shown(t, c))
		}
	}
}

func TestPathsAndSecretsOfAPostgreSQLDatabaseAreThoseOfTheFile(t *testing.T) {
	const more = "owner: {user: keyserver_owner, password: {env: OWNER_PASSWORD}}\n    tls:\n      certificate-file: /c.pem\n      key-file: /k.pem\n      ca-file:"
	text := strings.ReplaceAll(edited(t, "production-postgres.yaml", "tls:\n      ca-file:", more), ": /", ": ./")
	path := write(t, text)
	c, err := Read(path, environment(map[string]string{"OWNER_PASSWORD": "hunter2-canary"}))
	if err != nil {
		t.Fatal(err)
	}
	dir, p := filepath.Dir(path), c.Database.Postgres
	if c.Database.SQLite != "" || p.Password.File != dir+"/etc/keyserver/database.password" || p.Host != "db.example.com" {
		t.Errorf("it is %+v", p)
	}
	if want := (DatabaseTLS{dir + "/etc/keyserver/tls/database-ca.pem", dir + "/c.pem", dir + "/k.pem"}); *p.TLS != want {
		t.Errorf("TLS is %+v, want %+v", *p.TLS, want)
	}
	if password, err := p.Owner.Password.Read(); err != nil || string(password) != "hunter2-canary" {
		t.Errorf("the owner's password is %q (%v)", password, err)
	}
	for _, said := range []string{shown(t, c), fmt.Sprintf("%v %+v %#v", c, p, *p.Owner)} {
		if strings.Contains(said, "hunter2") {
			t.Errorf("it says what is secret: %s", said)
		}
	}
}

func TestAFileThatIsNotThereIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	for _, err := range []error{second(Read(path, environment(nil))), second(ReadBootstrap(path))} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("error is %v", err)
		}
	}
}

func TestAFileThatSaysNothingIsRefused(t *testing.T) {
	for _, text := range []string{"", "\n", "# mode: development\n", "---\n", "---\n...\n"} {
		for _, err := range []error{second(Read(write(t, text), environment(nil))), second(ReadBootstrap(write(t, text)))} {
			if err == nil || !strings.HasSuffix(err.Error(), ": the file says nothing") {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

func TestALongUnknownFieldIsShownInPart(t *testing.T) {
	path := write(t, example(t, "development.yaml")+strings.Repeat("x", 1000)+": 1\n")
	_, err := Read(path, environment(nil))
	if want := path + ": line 13, column 1: unknown field `" + strings.Repeat("x", strictyaml.MaxName) + "…`; the fields here are `mode`"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v", err)
	}
}

func TestAFileThatIsTooLargeIsRefused(t *testing.T) {
	padded := func(file string, size int) string {
		text := example(t, file)
		return write(t, text+"#"+strings.Repeat("x", size-len(text)-1))
	}
	for _, size := range []int{maxFile, maxFile + 1} {
		_, err := Read(padded("development.yaml", size), environment(nil))
		checkSize(t, err, size > maxFile, "the file is larger than 1048576 bytes")
	}
	for _, size := range []int{policy.MaxSize, policy.MaxSize + 1} {
		_, err := ReadBootstrap(padded("bootstrap.yaml", size))
		checkSize(t, err, size > policy.MaxSize, "the file is larger than 4194304 bytes")
	}
}

func checkSize(t *testing.T, err error, refused bool, want string) {
	t.Helper()
	if (err != nil) != refused || refused && !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error is %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/postgrestest"
	"example.org/keyserver/internal/testkit"
)

// site is a directory with the files of a keyserver, and what else a run of the program needs. The programs
// run in the process of the test.
type site struct {
	testing.TB
	dir   string
	clock *testkit.Clock
	env   map[string]string
	idp   *identitytest.IdP
	at    store.Location // of the database, for its owner

	tokens []string
}

// passphrase opens the keystore of every site.
const passphrase = "correct horse battery staple"

// configFile is the configuration of a site, for a free port in development mode.
const configFile = `mode: development
listen: 127.0.0.1:0
url: http://127.0.0.1:8443
database:
  sqlite: data/keyserver.db
log-key:
  file: data/log.key
keystores:
  - name: software
    software:
      directory: data/keys
      passphrase: {file: passphrase}
`

// bootstrapFile is the first configuration of a site: olga orders, alice approves, audrey looks;
// the two administer.
const bootstrapFile = `issuers:
  - {url: "ISSUER", audiences: [keyserver], algorithms: [ES256], types: [at+jwt]}
subjects:
  - {id: olga, kind: user, name: Olga, identities: [{issuer: "ISSUER", claims: {sub: olga}}]}
  - {id: alice, kind: user, name: Alice, identities: [{issuer: "ISSUER", claims: {sub: alice}}]}
  - {id: audrey, kind: user, name: Audrey, identities: [{issuer: "ISSUER", claims: {sub: audrey}}]}
roles:
  - {id: orderers, kind: orderer, keys: [fw-dev, fw-prod], members: [olga]}
  - {id: approvers, kind: approver, keys: [fw-dev, fw-prod], members: [alice]}
  - {id: auditors, kind: auditor, members: [audrey]}
  - {id: administrators, kind: administrator, members: [alice, audrey]}
keys:
  - keyid: fw-prod
    type: FW
    algorithm: ECDSA-P256
    hash: SHA-256
    schemes: [ECDSA]
    requirement: 1
    max-validityms: 86400000
    max-usagecount: 100
    approvals: session
    artifacts: optional
    keystore: software
  - keyid: fw-dev
    type: FW
    algorithm: Ed25519
    hash: SHA-512
    schemes: [EdDSA]
    requirement: 0
    max-validityms: 86400000
    max-usagecount: 100
    approvals: session
    artifacts: optional
    keystore: software
`

// sqliteConfig is where the database of a site is that has a file.
const sqliteConfig = "  sqlite: data/keyserver.db\n"

// newSite writes the files that an operator writes, for the database that testkit.Database names.
func newSite(t testing.TB) *site {
	t.Helper()
	if testkit.OnPostgres(t) {
		return newPostgresSite(t)
	}
	return newSQLiteSite(t)
}

func newSQLiteSite(t testing.TB) *site {
	t.Helper()
	s := &site{TB: t, dir: t.TempDir()}
	s.at = store.File(s.path("data/keyserver.db"))
	s.setUp()
	return s
}

func newPostgresSite(t testing.TB) *site {
	t.Helper()
	s := &site{TB: t, dir: t.TempDir(), at: postgrestest.Confined(postgrestest.New(t))}
	s.at.Postgres.Confined = false // as in development mode
	s.setUp()
	return s
}

func (s *site) setUp() {
	s.Helper()
	s.clock, s.env, s.idp = testkit.NewClock(), map[string]string{}, identitytest.New(s)
	s.write("keyserver.yaml", strings.Replace(configFile, sqliteConfig, databaseConfig(s.at), 1))
	s.write("bootstrap.yaml", strings.ReplaceAll(bootstrapFile, "ISSUER", s.idp.URL))
	s.write("passphrase", passphrase+"\n")
}

// databaseConfig says in a configuration where the database is.
func databaseConfig(at store.Location) string {
	if p := at.Postgres; p != nil {
		return fmt.Sprintf("  postgres: {host: %s, port: %d, name: %s, user: %s, owner: {user: %s}}\n", p.Host, p.Port, p.Name, p.Server.Name, p.Owner.Name)
	}
	return sqliteConfig
}

// files is what is in a directory of a site with these files, if the database is none of them.
func (s *site) files(names string) string {
	if s.at.Shared() {
		return strings.NewReplacer("keyserver.db.lock ", "", "keyserver.db ", "", " keyserver.db keyserver.db.lock", "").Replace(names)
	}
	return names
}

// loseDatabase removes all that is in the database.
func (s *site) loseDatabase() {
	s.Helper()
	if s.at.Shared() {
		postgrestest.Exec(s, s.at, `DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner; GRANT USAGE ON SCHEMA public TO PUBLIC`)
		return
	}
	s.remove("data/keyserver.db")
}

// newKeyserver is a site after keyserver init.
func newKeyserver(t testing.TB) *site {
	t.Helper()
	s := newSite(t)
	s.quickKeystore()
	s.must(s.init())
	return s
}

// quickKeystore makes the keystore before init does, so that opening it takes a sixth of the time.
func (s *site) quickKeystore(pairs ...law.KeyID) {
	s.Helper()
	if err := os.MkdirAll(s.path("data"), 0o700); err != nil {
		s.Fatal(err)
	}
	keys, err := software.Create(s.path("data/keys"), []byte(passphrase), software.Options{Iterations: software.MinIterations})
	if err != nil {
		s.Fatal(err)
	}
	for _, id := range pairs {
		if _, err := keys.Generate(s.Context(), id, 1, law.P256); err != nil {
			s.Fatal(err)
		}
	}
	if err := keys.Close(); err != nil {
		s.Fatal(err)
	}
}

// twin is a copy of the site as it is while nobody serves it.
func (s *site) twin(t testing.TB) *site {
	t.Helper()
	twin := &site{TB: t, dir: filepath.Join(t.TempDir(), "twin"), clock: s.clock, env: maps.Clone(s.env), idp: s.idp}
	twin.copy(s.dir, twin.dir)
	if twin.at = store.File(twin.path("data/keyserver.db")); s.at.Shared() {
		twin.at = postgrestest.Copy(t, s.at)
		twin.edit("keyserver.yaml", databaseConfig(s.at), databaseConfig(twin.at))
	}
	return twin
}

// copy copies files with their permissions.
func (s *site) copy(from, to string) {
	s.Helper()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		there := filepath.Join(to, strings.TrimPrefix(path, from))
		if e.IsDir() {
			return os.Mkdir(there, info.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(there, data, info.Mode().Perm())
	})
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *site) read(name string) string {
	s.Helper()
	data, err := os.ReadFile(s.path(name))
	if err != nil {
		s.Fatal(err)
	}
	return string(data)
}

// edit changes a part of a file, which must be there.
func (s *site) edit(name, old, new string) {
	s.Helper()
	text := s.read(name)
	if !strings.Contains(text, old) {
		s.Fatalf("%s has no %q", name, old)
	}
	s.write(name, strings.Replace(text, old, new, 1))
}

func (s *site) remove(name string) {
	s.Helper()
	if err := os.RemoveAll(s.path(name)); err != nil {
		s.Fatal(err)
	}
}

// ran is what came of a run.
type ran struct {
	code           int
	stdout, stderr string
}

func (s *site) program(stdout, stderr io.Writer) *program {
	env := func(name string) (string, bool) {
		value, is := s.env[name]
		return value, is
	}
	return &program{now: s.clock.Now, env: env, stdout: stdout, stderr: stderr}
}

// run runs the program with the site's configuration.
func (s *site) run(args ...string) ran {
	s.Helper()
	var stdout, stderr bytes.Buffer
	code := s.program(&stdout, &stderr).run(context.Background(), append(args, "--config", s.path("keyserver.yaml")))
	return ran{code, stdout.String(), stderr.String()}
}

// must demands that it went well.
func (s *site) must(r ran) ran {
	s.Helper()
	if r.code != exitOK {
		s.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	return r
}

// refused demands that it failed, with these words among others.
func (s *site) refused(r ran, code int, words ...string) {
	s.Helper()
	if r.code != code {
		s.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	if r.stdout != "" {
		s.Errorf("the standard output has:\n%s", r.stdout)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			s.Errorf("it does not say %q, but:\n%s", w, r.stderr)
		}
	}
}

// serving is a server that runs.
type serving struct {
	*site
	said map[string]string // what it printed, by the first word
	http *http.Client
	log  *lockedBuffer
	stop context.CancelFunc
	done chan int // its exit code
}

// serve starts the server and returns when it has said where it listens. It stops with the test.
func (s *site) serve() *serving {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	v := &serving{site: s, said: map[string]string{}, http: &http.Client{}, log: &lockedBuffer{}, stop: cancel, done: make(chan int, 1)}
	go func() {
		v.done <- s.program(w, v.log).run(ctx, []string{"serve", "--config", s.path("keyserver.yaml")})
		_ = w.Close()
	}()
	s.Cleanup(func() { v.end() })
	v.listen(r)
	return v
}

// listen returns when the server has said where it listens.
func (v *serving) listen(r io.Reader) {
	v.Helper()
	lines := bufio.NewScanner(r)
	for v.said["last"] == "" && lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		v.said[word] = strings.TrimSpace(rest)
		if word == "metrics" || word == "api" && !strings.Contains(v.read("keyserver.yaml"), "metrics-listen") {
			v.said["last"] = word
		}
	}
	if v.said["last"] == "" {
		v.Fatalf("the server ended with %d instead of serving:\n%s", <-v.done, v.log)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
}

// end stops the server as SIGTERM does and returns its exit code.
func (v *serving) end() int {
	v.http.CloseIdleConnections()
	v.stop()
	code := <-v.done
	v.done <- code // for who asks again
	return code
}

// as is a client with the token of a subject.
func (v *serving) as(who string) *client.Client {
	v.Helper()
	c, err := client.New(v.said["api"], client.StaticToken(v.token(who)), client.Options{HTTP: v.http, Tries: 1})
	if err != nil {
		v.Fatal(err)
	}
	return c
}

// get asks for what needs no token.
func (v *serving) get(url string) (status int, body string) {
	v.Helper()
	answer, err := v.http.Get(url)
	if err != nil {
		v.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		v.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// order creates an operation on a key for olga.
func (v *serving) order(key, description string) api.Operation {
	v.Helper()
	o, err := v.as("olga").CreateOperation(v.Context(), description, api.NewOperation{
		KeyUsageRestrictions: []api.KeyUsageRestriction{{KeyID: key, MaxUsageCount: 10}},
		Description:          description, Context: "built from tag v1.2.3", ValidMS: 3_600_000,
	})
	if err != nil {
		v.Fatal(err)
	}
	return o
}

// sign has some text signed under an operation on fw-dev and returns the newest checkpoint.
func (v *serving) sign(o api.Operation, text string) string {
	v.Helper()
	signed, err := v.as("olga").PlaceSignOrder(v.Context(), o.ID, "sign-"+text, api.NewSignOrder{KeyID: o.Keys[0].KeyID, Data: []byte(text)})
	if err != nil {
		v.Fatal(err)
	}
	return signed.Checkpoint
}

// unavailable demands that a sign order gets 503 with the time after which to ask again.
func (v *serving) unavailable(o api.Operation, text string) {
	v.Helper()
	_, err := v.as("olga").PlaceSignOrder(v.Context(), o.ID, "sign-"+text, api.NewSignOrder{KeyID: o.Keys[0].KeyID, Data: []byte(text)})
	problem, is := errors.AsType[*api.Problem](err)
	if !is || problem.Status != http.StatusServiceUnavailable || problem.RetryAfter <= 0 {
		v.Errorf("signing %s: %v (%+v)", text, err, problem)
	}
}

// token is an access token of a subject.
func (s *site) token(who string) string {
	token := s.idp.Token("at+jwt", identitytest.AccessToken(s.clock.Now(), who))
	s.minted(token)
	return token
}

// minted remembers tokens and returns all that there are.
func (s *site) minted(tokens ...string) []string {
	s.tokens = append(s.tokens, tokens...)
	return s.tokens
}

// until asks again and again until the answer is yes.
func until(t interface{ Fatalf(string, ...any) }, what string, yes func() bool) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		if yes() {
			return
		}
		<-tick.C
	}
	t.Fatalf("waited in vain: %s", what)
}

// lockedBuffer may be written to and read at the same time.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

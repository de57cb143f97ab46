package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/postgrestest"
)

// newPostgresKeyserver is a site on PostgreSQL after keyserver init.
func newPostgresKeyserver(t *testing.T) *site {
	t.Helper()
	s := newPostgresSite(t)
	s.quickKeystore()
	s.must(s.init())
	return s
}

func TestSeveralServersThatStartTogetherServeOneDatabase(t *testing.T) {
	s := newPostgresKeyserver(t)
	servers := make([]*serving, 3)
	var starting sync.WaitGroup
	for i := range servers {
		starting.Go(func() { servers[i] = s.serve() })
	}
	starting.Wait()
	o := servers[0].order("fw-dev", "release")
	for i, v := range servers {
		v.sign(o, fmt.Sprint("image-", i))
		if v.said["server"] != servers[0].said["server"] || v.said["api"] == servers[(i+1)%3].said["api"] {
			t.Errorf("server %d says %v", i, v.said)
		}
		if code := v.end(); code != exitOK {
			t.Errorf("server %d ended with %d\n%s", i, code, v.log)
		}
	}
	if r := s.must(s.run("verify")); !strings.Contains(r.stdout, "sign orders 3, of these signed 3\n") {
		t.Errorf("it says:\n%s", r.stdout)
	}
}

func TestADatabaseThatIsNotFitForAServerIsRefused(t *testing.T) {
	base := newPostgresKeyserver(t)
	for name, c := range map[string]struct {
		spoil func(*site)
		says  string
	}{
		"that could lose a commit": {
			func(s *site) { s.intrude(`ALTER DATABASE ` + s.at.Postgres.Name + ` SET synchronous_commit = off`) },
			"synchronous_commit is off, and a commit that was answered could be lost; set it to on",
		},
		"that commits on a standby's word alone": {
			func(s *site) {
				s.intrude(`ALTER DATABASE ` + s.at.Postgres.Name + ` SET synchronous_commit = remote_write`)
			},
			"synchronous_commit is remote_write, and a commit that was answered could be lost",
		},
		"that a newer keyserver has made": {
			func(s *site) { s.intrude(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`) },
			"it is of version 99, made by a newer keyserver",
		},
		"that is not there": {
			func(s *site) { s.edit("keyserver.yaml", "name: "+s.at.Postgres.Name, "name: nothing") },
			`database "nothing" does not exist`,
		},
		"that does not know the role": {
			func(s *site) { s.edit("keyserver.yaml", "user: keyserver_server", "user: nobody") },
			`role "nobody" does not exist`,
		},
		"whose server is elsewhere": {
			func(s *site) {
				s.edit("keyserver.yaml", "host: "+s.at.Postgres.Host, "host: "+s.dir)
			},
			"no such file or directory",
		},
		"that the server could rewrite, in production": {
			func(s *site) {
				s.edit("keyserver.yaml", "user: keyserver_server, owner: {user: keyserver_owner}", "user: keyserver_owner")
				s.edit("keyserver.yaml", "mode: development\nlisten: 127.0.0.1:0", "mode: production\nlisten: 127.0.0.1:8443")
			},
			"its role could rewrite the audit log; in production the server uses a role that does not own the tables",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := base.twin(t)
			c.spoil(s)
			s.refused(s.run("serve"), exitFailed, c.says)
		})
	}
}

func TestInProductionInitAndUpgradeNeedAnOwner(t *testing.T) {
	s := newPostgresSite(t)
	s.write("bootstrap.yaml", strings.ReplaceAll(s.read("bootstrap.yaml"), s.idp.URL, "https://login.example.com"))
	s.edit("keyserver.yaml", "mode: development\nlisten: 127.0.0.1:0", "mode: production\nlisten: 127.0.0.1:8443")
	s.edit("keyserver.yaml", ", owner: {user: keyserver_owner}", "")
	const want = "database: owner is missing; in production tables are made by a role other than keyserver_server"
	s.refused(s.init(), exitFailed, want)
	s.refused(s.run("upgrade"), exitFailed, want)
	if _, err := os.Stat(s.path("data")); err == nil {
		t.Errorf("it leaves behind: %s", s.names("data"))
	}
	s.edit("keyserver.yaml", "user: keyserver_server", "user: keyserver_server, owner: {user: keyserver_owner}")
	s.must(s.init())
	s.edit("keyserver.yaml", ", owner: {user: keyserver_owner}", "") // which a server does not need
	s.must(s.run("verify"))
}

func TestWhoMayNotMakeTablesIsToldToNameTheOwner(t *testing.T) {
	s := newPostgresSite(t)
	s.edit("keyserver.yaml", ", owner: {user: keyserver_owner}", "")
	s.refused(s.init(), exitFailed, "permission denied for schema public",
		"the role keyserver_server may not make tables here; name the owner in database.postgres.owner (docs/operators/postgresql.md)")
}

func TestUpgradeSaysWhatItHasDone(t *testing.T) {
	s := newSite(t)
	if !s.at.Shared() {
		s.refused(s.run("upgrade"), exitFailed, "the database is not initialised; run keyserver init")
	}
	s.quickKeystore()
	s.must(s.init())
	if r := s.must(s.run("upgrade")); !strings.HasPrefix(r.stdout, "the database is of version ") || !strings.Contains(r.stdout, "there is nothing to migrate\n") {
		t.Errorf("it says: %s", r.stdout)
	}
	s.must(s.run("verify"))
	s.intrude(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`)
	s.refused(s.run("upgrade"), exitFailed, "upgrading database", "it is of version 99, made by a newer keyserver")
}

// What an upgrade gives the server's role is not lost when another role is to serve.
func TestUpgradeGivesTheServersRoleWhatItNeeds(t *testing.T) {
	s := newPostgresSite(t)
	s.refused(s.run("upgrade"), exitFailed, "the database is not initialised; run keyserver init")
	s.quickKeystore()
	s.must(s.init())
	s.intrude(`REVOKE INSERT ON audit_events FROM keyserver_server`)
	const mend = "run keyserver upgrade with the configuration that names the owner"
	s.refused(s.run("serve"), exitFailed, "permission denied for table audit_events", mend)
	s.refused(s.run("clock", "accept"), exitFailed, "permission denied for table audit_events", mend)
	if r := s.must(s.run("upgrade")); !strings.HasSuffix(r.stdout, "there is nothing to migrate\nthe role keyserver_server was given again what it needs\n") {
		t.Errorf("it says: %s", r.stdout)
	}
	s.edit("keyserver.yaml", ", owner: {user: keyserver_owner}", "")
	if r := s.must(s.run("upgrade")); !strings.HasSuffix(r.stdout, "the configuration names no owner: the tables alone were looked at, and no role was given rights\n") {
		t.Errorf("without an owner it says: %s", r.stdout)
	}
	v := s.serve()
	v.sign(v.order("fw-dev", "release"), "image")
}

func TestAFileThatIsServedIsNotUpgraded(t *testing.T) {
	s := newSQLiteSite(t)
	s.quickKeystore()
	s.must(s.init())
	s.serve()
	s.refused(s.run("upgrade"), exitFailed, "another keyserver serves this database")
}

// secured is a site whose database is reached over TLS with passwords alone. Nobody else's tests use its server.
func secured(t *testing.T) (*site, *postgrestest.Cluster) {
	t.Helper()
	c, err := postgrestest.Start("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	at, err := c.NewDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{TB: t, dir: t.TempDir(), at: postgrestest.Confined(at)}
	s.at.Postgres.Host = "127.0.0.1"
	s.at.Postgres.Confined = false
	s.setUp()
	s.certificate("database.pem", "database.key")
	data := filepath.Join(c.Dir, "data")
	for name, text := range map[string]string{
		"server.pem": s.read("database.pem"), "server.key": s.read("database.key"),
		"pg_hba.conf": "local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
	} {
		s.giveTo(data, name, text)
	}
	for _, statement := range []string{
		`ALTER SYSTEM SET listen_addresses = '127.0.0.1'`, `ALTER SYSTEM SET ssl = on`,
		`ALTER SYSTEM SET ssl_cert_file = 'server.pem'`, `ALTER SYSTEM SET ssl_key_file = 'server.key'`,
		`ALTER ROLE keyserver_owner PASSWORD 'hunter2-owner'`, `ALTER ROLE keyserver_server PASSWORD 'hunter2-server'`,
	} {
		if err := c.Exec(t.Context(), "postgres", statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	s.edit("keyserver.yaml", "user: keyserver_server, owner: {user: keyserver_owner}",
		"tls: {ca-file: database.pem}, user: keyserver_server, password: {file: database.password}, owner: {user: keyserver_owner, password: {env: OWNER}}")
	s.write("database.password", "hunter2-server\n")
	s.env["OWNER"] = "hunter2-owner"
	return s, c
}

// giveTo writes a file for the user who owns the directory.
func (s *site) giveTo(dir, name, text string) {
	s.Helper()
	path := filepath.Join(dir, name)
	info, err := os.Stat(dir)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err == nil {
		owner := info.Sys().(*syscall.Stat_t)
		err = os.Chown(path, int(owner.Uid), int(owner.Gid))
	}
	if err != nil {
		s.Fatal(err)
	}
}

// Passwords and TLS, and that no error says a password.
func TestAServerKnowsItsDatabaseByItsCertificateAndIsKnownByItsPassword(t *testing.T) {
	s, _ := secured(t)
	s.quickKeystore()
	s.must(s.run("config", "check"))
	s.must(s.init())
	delete(s.env, "OWNER") // which a server does not need
	v := s.serve()
	v.sign(v.order("fw-dev", "release"), "image")
	if code := v.end(); code != exitOK {
		t.Errorf("the server ended with %d\n%s", code, v.log)
	}
	s.certificate("other.pem", "other.key")
	for name, c := range map[string]struct {
		spoil func(*site)
		words []string
	}{
		"a wrong password":          {func(s *site) { s.write("database.password", "hunter3-server\n") }, []string{"password authentication failed"}},
		"no password":               {func(s *site) { s.edit("keyserver.yaml", "password: {file: database.password}, ", "") }, []string{"connecting"}},
		"a password that is gone":   {func(s *site) { s.remove("database.password") }, []string{"database: password: reading a secret from file", "no such file"}},
		"a password that all see":   {func(s *site) { s.chmod("database.password", 0o644) }, []string{"database: password: ", "chmod 600"}},
		"no TLS":                    {func(s *site) { s.edit("keyserver.yaml", "tls: {ca-file: database.pem}, ", "") }, []string{"no pg_hba.conf entry", "no encryption"}},
		"a certificate of another":  {func(s *site) { s.edit("keyserver.yaml", "database.pem", "other.pem") }, []string{"certificate signed by unknown authority"}},
		"a certificate for another": {func(s *site) { s.edit("keyserver.yaml", "host: 127.0.0.1", "host: localhost") }, []string{"wanted to match localhost"}},
		"a ca-file that is gone":    {func(s *site) { s.remove("database.pem") }, []string{"database: reading ca-file: ", "database.pem: no such file"}},
		"a ca-file that is none":    {func(s *site) { s.write("database.pem", "hello\n") }, []string{"has no certificate in it; write PEM"}},
		"a key that is gone": {
			func(s *site) {
				s.edit("keyserver.yaml", "{ca-file: database.pem}", "{ca-file: database.pem, certificate-file: other.pem, key-file: gone.key}")
			},
			[]string{"database: reading its TLS certificate: ", "gone.key: no such file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			copied := &site{TB: t, dir: filepath.Join(t.TempDir(), "copy"), at: store.Location{}, clock: s.clock, env: s.env, idp: s.idp}
			copied.copy(s.dir, copied.dir)
			c.spoil(copied)
			r := copied.run("serve")
			copied.refused(r, exitFailed, c.words...)
			checked := copied.run("config", "check")
			shown := copied.must(copied.run("config", "show"))
			if said := r.stderr + checked.stdout + checked.stderr + shown.stdout; strings.Contains(said, "hunter") {
				t.Errorf("a password is said:\n%s", said)
			}
			if strings.Contains(c.words[0], "database: ") && checked.code != exitFailed {
				t.Errorf("config check finds nothing:\n%s", checked.stdout)
			}
		})
	}
}

// The database is restarted, and the server goes on by itself.
func TestADatabaseThatIsRestartedIsServedAgainWithoutARestartOfTheServer(t *testing.T) {
	s, c := secured(t)
	s.quickKeystore()
	s.must(s.init())
	v := s.serve()
	o := v.order("fw-dev", "release")
	v.sign(o, "image-1")
	if err := c.Halt(); err != nil {
		t.Fatal(err)
	}
	if status, body := v.get(v.said["api"] + "/api/ready"); status != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"database","ok":false}`) {
		t.Errorf("readiness without a database: %d %s", status, body)
	}
	v.unavailable(o, "image-2")
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	v.sign(o, "image-2")
	v.sign(o, "image-1") // as it was stored
	if status, body := v.get(v.said["api"] + "/api/ready"); status != http.StatusOK {
		t.Errorf("readiness after that: %d %s", status, body)
	}
	if code := v.end(); code != exitOK {
		t.Errorf("the server ended with %d\n%s", code, v.log)
	}
	if r := s.must(s.run("verify")); !strings.Contains(r.stdout, "sign orders 2, of these signed 2\n") {
		t.Errorf("it says:\n%s", r.stdout)
	}
	if strings.Contains(v.log.String(), "hunter") {
		t.Errorf("a password is in the log:\n%s", v.log)
	}
}

// A further server gets a copy of the log key; config check does not take its absence for a fault.
func TestConfigCheckSaysThatTheLogKeyIsNotThereYet(t *testing.T) {
	s := newPostgresSite(t)
	r := s.must(s.run("config", "check"))
	if !strings.Contains(r.stderr, "there is no log key yet: keyserver init makes it; a further server gets a copy of the first one's") {
		t.Errorf("it says:\n%s", r.stderr)
	}
	if r := newSQLiteSite(t).run("config", "check"); r.code != exitOK || strings.Contains(r.stderr, "further server") { // which a file does not have
		t.Errorf("with a file it ends with %d and says:\n%s", r.code, r.stderr)
	}
}

package main

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

func (s *site) init() ran {
	s.Helper()
	return s.run("init", "--bootstrap", s.path("bootstrap.yaml"))
}

func TestInitMakesAKeyserverOnce(t *testing.T) {
	s := newSite(t)
	first := s.must(s.init())
	lines := strings.Split(first.stdout, "\n")
	for i, begins := range []string{
		"server    keyserver/", "log key   keyserver/",
		"key       fw-prod  FW ECDSA-P256, requires 1 approvals, fingerprint ",
		"key       fw-dev  FW Ed25519, requires 0 approvals, fingerprint ",
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], begins) {
			t.Errorf("line %d does not begin with %q:\n%s", i+1, begins, first.stdout)
		}
	}
	if !strings.Contains(first.stderr, "making 2 key pairs") {
		t.Errorf("it does not say what it does:\n%s", first.stderr)
	}
	key, keys := s.read("data/log.key"), s.names("data/keys")
	s.refused(s.init(), exitFailed, "creating database", "it is initialised already, which is done only once")
	s.remove("data/log.key")
	s.refused(s.init(), exitFailed, "it is initialised already")
	if got := s.names("data"); got != s.files("keys keyserver.db keyserver.db.lock") {
		t.Errorf("a second init has made another log key: %s", got)
	}
	s.write("data/log.key", key)
	if got := s.names("data/keys"); got != keys {
		t.Errorf("a second init has made other keys: %s", got)
	}
	s.must(s.run("verify"))
}

// names lists a directory.
func (s *site) names(dir string) string {
	s.Helper()
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		s.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestInitIsRefusedAndLeavesNothingBehind(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*site)
		words []string
	}{
		"no passphrase": {
			func(s *site) { s.remove("passphrase") },
			[]string{"keystore software: passphrase: reading a secret from file", "passphrase: no such file"},
		},
		"no passphrase in the environment": {
			func(s *site) { s.edit("keyserver.yaml", "{file: passphrase}", "{env: KEYSERVER_PASSPHRASE}") },
			[]string{"keystore software: passphrase: reading a secret from environment variable KEYSERVER_PASSPHRASE: it is not set"},
		},
		"no bootstrap file": {
			func(s *site) { s.remove("bootstrap.yaml") },
			[]string{"reading bootstrap file: open ", "no such file"},
		},
		"a bootstrap file with a misspelt field": {
			func(s *site) { s.edit("bootstrap.yaml", "requirement: 1", "requirment: 1") },
			[]string{"bootstrap.yaml: line 18, column 5: unknown field `requirment`; did you mean `requirement`?"},
		},
		"a bootstrap file without a requirement": {
			func(s *site) { s.edit("bootstrap.yaml", "    requirement: 1\n", "") },
			[]string{"bootstrap.yaml: line 13, column 5: entry 1 of `keys` lacks the field `requirement`"},
		},
		"signed approvals": {
			func(s *site) { s.edit("bootstrap.yaml", "approvals: session", "approvals: signed") },
			[]string{"bootstrap.yaml: ", "not yet available"},
		},
		"an unknown keystore": {
			func(s *site) { s.edit("bootstrap.yaml", "keystore: software", "keystore: hsm") },
			[]string{`bootstrap.yaml: key fw-prod: there is no keystore "hsm" in the configuration`},
		},
		"an issuer without TLS in production": {
			func(s *site) {
				s.edit("keyserver.yaml", "mode: development\nlisten: 127.0.0.1:0", "mode: production\nlisten: 127.0.0.1:8443")
			},
			[]string{"bootstrap.yaml: issuer http://127.0.0.1:", "reached by https alone"},
		},
		"keys of an issuer without TLS in production": {
			func(s *site) {
				s.edit("keyserver.yaml", "mode: development\nlisten: 127.0.0.1:0", "mode: production\nlisten: 127.0.0.1:8443")
				s.write("bootstrap.yaml", strings.ReplaceAll(s.read("bootstrap.yaml"), s.idp.URL, "https://login.example.com"))
				s.edit("bootstrap.yaml", "audiences:", "keys-url: http://127.0.0.1:9000/keys, audiences:")
			},
			[]string{"bootstrap.yaml: issuer https://login.example.com: outside of development mode"},
		},
		"a log key in the environment that is not set": {
			func(s *site) { s.edit("keyserver.yaml", "file: data/log.key", "env: KEYSERVER_LOG_KEY") },
			[]string{"log key: reading a secret from environment variable KEYSERVER_LOG_KEY: it is not set"},
		},
		"a log key that is none": {
			func(s *site) {
				s.edit("keyserver.yaml", "file: data/log.key", "env: KEYSERVER_LOG_KEY")
				s.env["KEYSERVER_LOG_KEY"] = "hunter2"
			},
			[]string{"log key from environment variable KEYSERVER_LOG_KEY: reading a log's signing key: it is not as it was made"},
		},
		"a configuration that is wrong": {
			func(s *site) { s.edit("keyserver.yaml", "database:", "databse:") },
			[]string{"keyserver.yaml: line 4, column 1: unknown field `databse`; did you mean `database`?"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			c.spoil(s)
			r := s.init()
			s.refused(r, exitFailed, c.words...)
			if _, err := os.Stat(s.path("data")); err == nil {
				t.Errorf("it leaves behind: %s", s.names("data"))
			}
			if strings.Contains(r.stderr, "hunter2") {
				t.Errorf("it says what is secret:\n%s", r.stderr)
			}
		})
	}
}

func TestInitTakesTheLogKeyFromTheEnvironment(t *testing.T) {
	s := newSite(t)
	signer, verifier, err := audit.GenerateKey(rand.Reader, "keyserver/from-the-environment")
	if err != nil {
		t.Fatal(err)
	}
	s.edit("keyserver.yaml", "file: data/log.key", "env: KEYSERVER_LOG_KEY")
	s.env["KEYSERVER_LOG_KEY"] = signer
	if r := s.must(s.init()); !strings.Contains(r.stdout, "server    keyserver/from-the-environment\nlog key   "+verifier+"\n") {
		t.Errorf("it prints:\n%s", r.stdout)
	}
	if got := s.names("data"); got != s.files("keys keyserver.db keyserver.db.lock") {
		t.Errorf("it has made: %s", got)
	}
	if v := s.serve(); v.said["server"] != "keyserver/from-the-environment" {
		t.Errorf("serving %s", v.said["server"])
	}
}

// Whatever an init that was cut off has left behind, the next one completes it, and before that nothing is
// served.
func TestInitThatWasCutOffCanBeDoneAgain(t *testing.T) {
	mkdir := func(s *site, dir string) {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			s.Fatal(err)
		}
	}
	empty := func(s *site) {
		mkdir(s, "data")
		if !s.at.Shared() {
			s.write("data/keyserver.db", "")
		}
	}
	// database is what store.Create leaves, for a server whose log key was lost with the process.
	database := func(s *site) {
		db, err := store.Create(s.Context(), s.at, "keyserver/lost", store.Options{Clock: s.clock.Now})
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			s.Fatal(err)
		}
	}
	withLogKey := func(s *site) {
		cfg, err := config.Read(s.path("keyserver.yaml"), nil)
		if err != nil {
			s.Fatal(err)
		}
		key, err := firstLogKey(cfg)
		if err != nil {
			s.Fatal(err)
		}
		db, err := store.Create(s.Context(), s.at, key.signer.Name(), store.Options{Clock: s.clock.Now})
		if err == nil {
			err = db.Close()
		}
		if err == nil {
			err = key.write()
		}
		if err != nil {
			s.Fatal(err)
		}
	}
	withKeystore := func(s *site, pairs ...law.KeyID) {
		withLogKey(s)
		s.quickKeystore(pairs...)
	}
	for name, cut := range map[string]func(*site){
		"before the database had a table": empty,
		"before the log key was written":  database,
		"while the log key was written": func(s *site) {
			database(s)
			mkdir(s, "data")
			s.write("data/.new-log-key-123", "PRIVATE+KEY+keyser")
		},
		"before the keystore was made":        withLogKey,
		"before the keystore had a header":    func(s *site) { withLogKey(s); mkdir(s, "data/keys") },
		"before the first key pair":           func(s *site) { withKeystore(s) },
		"between two key pairs":               func(s *site) { withKeystore(s, "fw-prod") },
		"before the configuration was stored": func(s *site) { withKeystore(s, "fw-prod", "fw-dev") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			cut(s)
			s.refused(s.run("serve"), exitFailed)
			s.refused(s.run("clock", "accept"), exitFailed, "the database is not initialised; run keyserver init")
			s.must(s.init())
			s.must(s.run("verify"))
			v := s.serve()
			v.sign(v.order("fw-dev", "release"), "image")
			if code := v.end(); code != exitOK {
				t.Errorf("the server ended with %d\n%s", code, v.log)
			}
			s.must(s.run("verify"))
		})
	}
}

// A keystore whose header was not written yet is not told from somebody else's directory: init says what to
// remove.
func TestInitSaysWhatToRemoveFromADirectoryThatIsNotAKeystore(t *testing.T) {
	s := newSite(t)
	if err := os.MkdirAll(s.path("data/keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("data/keys/.new-HEADER", "{")
	s.refused(s.init(), exitFailed, "keystore software: creating keystore", "the directory is not empty (it has .new-HEADER in it)")
	s.remove("data/keys/.new-HEADER")
	s.must(s.init())
}

// Ending init early is a cut like any other.
func TestInitThatWasInterruptedCanBeDoneAgain(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	var stdout lockedBuffer
	p := s.program(&stdout, interrupter{cancel})
	if code := p.run(ctx, []string{"init", "--bootstrap", s.path("bootstrap.yaml"), "--config", s.path("keyserver.yaml")}); code != exitFailed {
		t.Errorf("interrupted, it ended with %d\n%s", code, &stdout)
	}
	s.must(s.init())
}

// interrupter ends a run as soon as it says something.
type interrupter struct{ cancel func() }

func (i interrupter) Write(p []byte) (int, error) {
	i.cancel()
	return len(p), nil
}

func TestInitSaysHowManyKeyPairsItMakesAndAdopts(t *testing.T) {
	for want, n := range map[string][2]int{
		"making 2 key pairs":             {2, 0},
		"making 1 key pair, adopting 2":  {1, 2},
		"making 3 key pairs, adopting 1": {3, 1},
		"adopting 1 key pair":            {0, 1},
	} {
		if got := making(n[0], n[1]); got != want {
			t.Errorf("%v: %q", n, got)
		}
	}
}

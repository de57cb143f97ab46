package main

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"example.org/keyserver/internal/store/postgrestest"
)

func TestVerifyOfACleanDatabaseSaysWhatItHas(t *testing.T) {
	s := newKeyserver(t)
	v := s.serve()
	o := v.order("fw-dev", "release")
	v.order("fw-prod", "another")
	s.write("early", v.sign(o, "image-1"))
	s.write("late", v.sign(o, "image-2"))
	if code := v.end(); code != exitOK {
		t.Fatalf("the server ended with %d\n%s", code, v.log)
	}
	r := s.must(s.run("verify", "--checkpoint", s.path("early"), "--checkpoint", s.path("late")))
	for _, line := range []string{
		"the audit log is intact and the state is what it tells\n", "entries     18, root ", "operations  2, of these open 2\n",
		"sign orders 2, of these signed 2\n", "compared    with 2 checkpoints\n",
	} {
		if !strings.Contains(r.stdout, line) {
			t.Errorf("it does not say %q, but:\n%s", line, r.stdout)
		}
	}
	if r.stderr != "" {
		t.Errorf("a short verification shows progress:\n%s", r.stderr)
	}
}

func TestVerifyRunsWhileTheServerServes(t *testing.T) {
	s := newKeyserver(t)
	v := s.serve()
	o := v.order("fw-dev", "release")
	for i := range 5 {
		s.write("checkpoint", v.sign(o, fmt.Sprint("image-", i)))
		s.must(s.run("verify", "--checkpoint", s.path("checkpoint")))
	}
	v.sign(o, "image-last") // the server has not lost its lock or its place in the log
	s.must(s.run("verify", "--checkpoint", s.path("checkpoint")))
}

// intrude does to the database what somebody with SQL can.
func (s *site) intrude(statements ...string) {
	s.Helper()
	if s.at.Shared() {
		postgrestest.Exec(s, s.at, strings.Join(statements, "; "))
		return
	}
	s.intrudeFile(s.at.SQLite, statements...)
}

func (s *site) intrudeFile(path string, statements ...string) {
	s.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=foreign_keys(0)&_pragma=ignore_check_constraints(1)")
	if err != nil {
		s.Fatal(err)
	}
	for _, text := range statements {
		if _, err := db.Exec(text); err != nil {
			s.Fatalf("%s: %v", text, err)
		}
	}
	if err := db.Close(); err != nil {
		s.Fatal(err)
	}
}

// What kinds of tampering are found is tested where they are looked for; here, that the exit code says so
// whatever it is, also where a server could not even start on the database.
func TestVerifyEndsWith6WhenTheDatabaseWasTamperedWith(t *testing.T) {
	base := newKeyserver(t)
	v := base.serve()
	v.sign(v.order("fw-dev", "release"), "image")
	if code := v.end(); code != exitOK {
		t.Fatalf("the server ended with %d\n%s", code, v.log)
	}
	for name, c := range map[string]struct {
		sql  string
		says string
	}{
		"an entry of the log":           {`UPDATE audit_events SET leaf = replace(leaf, 'olga', 'olaf') WHERE idx = 11`, "audit entry 11"},
		"the last entry of the log":     {`DELETE FROM audit_events WHERE idx = (SELECT max(idx) FROM audit_events)`, "audit"},
		"the whole log":                 {`DELETE FROM audit_events`, "audit"},
		"a stored hash":                 {`DELETE FROM audit_hashes WHERE idx = (SELECT max(idx) FROM audit_hashes)`, "audit_hashes"},
		"all stored hashes":             {`DELETE FROM audit_hashes`, "audit_hashes"},
		"an approval":                   {`INSERT INTO approvals SELECT id, 0, 'alice', '["fw-dev"]', 1, 0 FROM operations`, "table approvals"},
		"the uses of a key":             {`UPDATE operation_keys SET taken = 0, signed = 0`, "table operation_keys"},
		"the configuration":             {`UPDATE configuration SET body = replace(body, '"requirement":1', '"requirement":0')`, "table configuration"},
		"a configuration that is none":  {`UPDATE configuration SET body = 'x' WHERE kind = 'key'`, "table configuration"},
		"no configuration":              {`DELETE FROM configuration`, "table configuration"},
		"the head":                      {`DELETE FROM head`, "table head"},
		"the size of the log":           {`UPDATE head SET size = size - 1`, "audit"},
		"the server that the log is of": {`UPDATE head SET server = 'keyserver/other'`, "table head"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := base.twin(t)
			s.intrude(c.sql)
			s.refused(s.run("verify"), exitTampered, c.says)
		})
	}
}

// A log that was cut off, as by putting an old copy of the database in place, is as intact as any. Only who
// has kept a later checkpoint elsewhere can tell.
func TestVerifyFindsADatabaseThatIsOlderThanAKeptCheckpoint(t *testing.T) {
	s := newKeyserver(t)
	v := s.serve()
	o := v.order("fw-dev", "release")
	early := v.sign(o, "image-1")
	v.end()
	backup := s.twin(t)
	v = s.serve()
	late := v.sign(o, "image-2")
	v.end()
	backup.write("early", early)
	backup.write("late", late)
	backup.must(backup.run("verify"))
	backup.must(backup.run("verify", "--checkpoint", backup.path("early")))
	backup.refused(backup.run("verify", "--checkpoint", backup.path("early"), "--checkpoint", backup.path("late")), exitTampered, "checkpoint")

	// Nor does it help to go on from the old copy.
	w := backup.serve()
	for i := range 5 {
		w.sign(o, fmt.Sprint("other-", i))
	}
	w.end()
	backup.must(backup.run("verify", "--checkpoint", backup.path("early")))
	backup.refused(backup.run("verify", "--checkpoint", backup.path("late")), exitTampered, "checkpoint")
}

func TestVerifyRefusesWhatIsNoCheckpointOfThisLog(t *testing.T) {
	s, other := newKeyserver(t), newKeyserver(t)
	v := other.serve()
	s.write("other", v.sign(v.order("fw-dev", "release"), "image"))
	s.write("none", "nonsense\n")
	s.refused(s.run("verify", "--checkpoint", s.path("absent")), exitFailed, "reading checkpoint: open ", "absent: no such file")
	s.refused(s.run("verify", "--checkpoint", s.path("none")), exitFailed, "none: reading checkpoint: it is no signed note (C2SP)")
	s.refused(s.run("verify", "--checkpoint", s.path("other")), exitFailed, "other: reading checkpoint: it is not signed by log key keyserver/")
}

func TestALongVerificationSaysHowFarItIs(t *testing.T) {
	s := newSite(t)
	var said lockedBuffer
	progress := s.program(nil, &said).progress(130_000)
	for n := int64(1000); n <= 130_000; n += 1000 {
		if n == 70_000 {
			s.clock.Step(2 * time.Second)
		}
		progress(n)
	}
	want := "50000 of 130000 entries verified ...\n70000 of 130000 entries verified ...\n120000 of 130000 entries verified ...\n"
	if said.String() != want {
		t.Errorf("it says:\n%swant:\n%s", &said, want)
	}
}

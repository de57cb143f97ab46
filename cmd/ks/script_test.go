package main

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"ks": main}) }

// TestScripts runs what ks promises: every script in testdata, with the real program and, after the command
// server, a real keyserver. The commands that the scripts have besides are in stage.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("KS_HOME", env.WorkDir+"/home")
			env.Values["stage"] = &stage{t: env.T().(testing.TB)}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"capture": capture,
			"server":  onStage((*stage).startServer),
			"as":      onStage((*stage).signInAs),
			"lie":     onStage((*stage).tellLies),
			"issuer":  onStage((*stage).startIssuer),
			"world":   onStage((*stage).moveToAnotherWorld),
			"factory": onStage((*stage).startFactory),
			"step":    onStage((*stage).stepClock),
			"mode":    mode,
		},
	})
}

// stage is what a script plays on.
type stage struct {
	t      testing.TB
	kit    *testkit.Kit
	front  *front
	issuer *issuerFake
}

func onStage(do func(*stage, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("this command cannot be negated")
		}
		do(ts.Value("stage").(*stage), ts, args)
	}
}

// startServer starts a keyserver with the configuration of testkit.World and an RSA key, and lets ks find
// it: server.
func (s *stage) startServer(ts *testscript.TestScript, _ []string) {
	s.kit = newKit(s.t)
	s.front = newFront(s.t, s.kit.URL)
	ts.Setenv("KS_SERVER", s.front.url)
}

func newKit(t testing.TB) *testkit.Kit {
	notifications := &keyserver.Notifications{Reminder: time.Hour, Gather: time.Minute, MailDomains: []string{"example.com"}, Webhooks: true}
	return testkit.NewWith(t, testkit.Options{Notifications: notifications, World: func(c *law.Configuration) {
		key := testkit.Key("fw-rsa", 0)
		key.Algorithm, key.Schemes = law.RSA2048, []law.Scheme{law.PKCS1v15, law.PSS}
		c.Keys = append(c.Keys, key)
		for i := range c.Roles {
			if c.Roles[i].ID == "orderers" {
				c.Roles[i].Keys = append(c.Roles[i].Keys, "fw-rsa")
			}
		}
	}})
}

// signInAs gives ks an access token of somebody: as SUBJECT, or nobody: as nobody.
func (s *stage) signInAs(ts *testscript.TestScript, args []string) {
	if args[0] == "nobody" {
		ts.Setenv("KS_TOKEN", "")
		return
	}
	ts.Setenv("KS_TOKEN", s.kit.Token(law.SubjectID(args[0])))
}

// tellLies makes the server's answers false: lie WHAT, or true again: lie nothing.
func (s *stage) tellLies(ts *testscript.TestScript, args []string) {
	if !s.front.lie(args[0]) {
		ts.Fatalf("there is no lie about %s", args[0])
	}
}

// moveToAnotherWorld puts another keyserver with the same log key in the place of the first, as after a log
// was rewritten: world.
func (s *stage) moveToAnotherWorld(*testscript.TestScript, []string) {
	s.kit = newKit(s.t)
	s.front.moveTo(s.kit.URL)
}

// startFactory starts a keyserver with the configuration of testkit.Factory, a lot of 5 devices that needs no approval,
// and the certificate requests SN-1 to SN-7 in the folder requests, the last one of the key of the first: factory. $OP is
// the lot.
func (s *stage) startFactory(ts *testscript.TestScript, _ []string) {
	s.kit = testkit.NewWith(s.t, testkit.Options{World: testkit.Factory(law.DuplicatesRefused)})
	s.kit.Certify("root")
	s.kit.Certify("ca-dev")
	s.front = newFront(s.t, s.kit.URL)
	ts.Setenv("KS_SERVER", s.front.url)
	ts.Setenv("OP", string(s.kit.Lot(5).ID))
	first := s.kit.NewDeviceKey()
	ts.Check(os.Mkdir(ts.MkAbs("requests"), 0o755))
	for i := 1; i <= 7; i++ {
		key := first
		if i > 1 && i < 7 {
			key = s.kit.NewDeviceKey()
		}
		name := fmt.Sprintf("SN-%d", i)
		der := s.kit.DeviceRequest(name, key)
		ts.Check(os.WriteFile(ts.MkAbs("requests/"+name+".csr"), testkit.PEM("CERTIFICATE REQUEST", der), 0o644))
		if i == 1 {
			ts.Check(os.WriteFile(ts.MkAbs("first.der"), der, 0o644))
		}
	}
}

// stepClock moves the server's clock: step DURATION.
func (s *stage) stepClock(ts *testscript.TestScript, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	s.kit.Clock.Step(d)
}

// startIssuer starts an issuer that signs in one subject and sets $ISSUER: issuer SUBJECT [TRAIT …].
func (s *stage) startIssuer(ts *testscript.TestScript, args []string) {
	s.issuer = newIssuer(s.t, s.kit, law.SubjectID(args[0]), args[1:])
	ts.Setenv("ISSUER", s.issuer.url)
}

// exits runs a command and demands its exit code: exits CODE COMMAND ARGUMENT ….
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("running %s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// capture puts what was printed, or one member of the JSON that was printed, into a variable: capture
// VARIABLE [MEMBER].
func capture(ts *testscript.TestScript, _ bool, args []string) {
	out := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) == 2 {
		var object map[string]any
		ts.Check(json.Unmarshal([]byte(out), &object))
		text, ok := object[args[1]].(string)
		if !ok {
			ts.Fatalf("there is no text %s in what was printed", args[1])
		}
		out = text
	}
	ts.Setenv(args[0], out)
}

// mode demands the permissions of a file: mode 0600 FILE.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if info.Mode().Perm() != os.FileMode(want) {
		ts.Fatalf("%s has the mode %04o, want %04o", args[1], info.Mode().Perm(), want)
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"example.org/keyserver/internal/store/postgrestest"
	"example.org/keyserver/internal/testkit"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"keyserver": main}) }

// TestScripts runs what keyserver promises: every script in testdata, with the real program as a process of
// its own. Each begins in a directory with the files of a site, on the database that testkit.Database names; the
// condition [postgres] tells which one.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			var err error
			configuration := configFile
			if testkit.OnPostgres(t) {
				configuration = strings.Replace(configFile, sqliteConfig, databaseConfig(postgrestest.Confined(postgrestest.New(t))), 1)
			}
			for name, text := range map[string]string{
				"keyserver.yaml": configuration, "bootstrap.yaml": strings.ReplaceAll(bootstrapFile, "ISSUER", "http://127.0.0.1:9000"), "passphrase": passphrase + "\n",
			} {
				err = errors.Join(err, os.WriteFile(filepath.Join(env.WorkDir, name), []byte(text), 0o600))
			}
			return err
		},
		Condition: func(name string) (bool, error) {
			if name != "postgres" {
				return false, fmt.Errorf("unknown condition %s", name)
			}
			return testkit.OnPostgres(t), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "edit": edit, "await": await, "get": get, "dangle": dangle, "unreachable": unreachable, "mode": mode,
		},
	})
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

// edit changes a part of a file, which must be there: edit FILE OLD NEW.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], strings.ReplaceAll(args[2], `\n`, "\n"), 1)), 0o600))
}

// await waits until a file has what matches, and puts its first group into a variable: await FILE PATTERN
// [VARIABLE].
func await(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var m [][]byte
	until(ts, args[0]+" has "+args[1], func() bool {
		text, _ := os.ReadFile(ts.MkAbs(args[0]))
		m = pattern.FindSubmatch(text)
		return m != nil
	})
	if len(args) > 2 {
		ts.Setenv(args[2], string(m[1]))
	}
}

// unreachable waits until nobody listens any more: unreachable URL.
func unreachable(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, "nobody listens", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(args[0], "http://"))
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

// get demands the status, and text in the body, of an answer: get STATUS URL [TEXT].
func get(ts *testscript.TestScript, _ bool, args []string) {
	answer, err := http.Get(args[1])
	ts.Check(err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	if strconv.Itoa(answer.StatusCode) != args[0] || len(args) > 2 && !strings.Contains(string(body), args[2]) {
		ts.Fatalf("it answers %d:\n%s", answer.StatusCode, body)
	}
}

// dangle begins a request and leaves it unfinished until the script ends: dangle URL.
func dangle(ts *testscript.TestScript, _ bool, args []string) {
	c, err := net.Dial("tcp", strings.TrimPrefix(args[0], "http://"))
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
	_, err = io.WriteString(c, "GET /api/health HTTP/1.1\r\nHost: keyserver\r\nX-Un")
	ts.Check(err)
}

// mode demands the permissions of files: mode 0600 FILE ….
func mode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseUint(args[0], 8, 32)
	ts.Check(err)
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if info.Mode().Perm() != os.FileMode(want) {
			ts.Fatalf("%s has the mode %04o, want %04o", name, info.Mode().Perm(), want)
		}
	}
}

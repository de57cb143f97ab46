package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/api"
)

func TestEveryKindOfProblemHasItsExitCode(t *testing.T) {
	want := map[api.Kind]int{
		api.Malformed: exitUsage, api.TooLarge: exitUsage, api.UnsupportedMedia: exitUsage,
		api.Unauthenticated: exitSignIn,
		api.Forbidden:       exitRefused, api.NotFound: exitRefused, api.WrongState: exitRefused, api.NotCovered: exitRefused, api.Duplicate: exitRefused,
		api.WrongDigest: exitRefused, api.Impossible: exitRefused, api.InputMisfit: exitRefused, api.KeyReused: exitRefused, api.PolicyFault: exitRefused,
		api.TooMany: exitUnavailable, api.Unavailable: exitUnavailable, api.ClockHeld: exitUnavailable, api.Running: exitUnavailable,
		api.MethodNotAllowed: exitOther, api.Internal: exitOther,
	}
	for _, kind := range api.Kinds() {
		code, known := want[kind]
		problem := &api.Problem{Type: kind.Type(), Status: kind.Status(), Detail: "so it is"}
		if got := explain(fmt.Errorf("signing a file: %w", problem)); !known || got.code != code || got.what != "signing a file: so it is" {
			t.Errorf("%s: got %d %q, want %d", kind, got.code, got.what, code)
		}
	}
}

func TestEveryOtherErrorHasItsExitCode(t *testing.T) {
	_, notThere := os.Open(t.TempDir() + "/nothing")
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"no server":           {&url.Error{Op: "Get", URL: "http://127.0.0.1:1", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, exitUnavailable},
		"an answer cut off":   {fmt.Errorf("asking: %w", io.ErrUnexpectedEOF), exitUnavailable},
		"too late":            {fmt.Errorf("asking: %w", context.DeadlineExceeded), exitUnavailable},
		"a file":              {notThere, exitOther},
		"usage":               {usage("", "no"), exitUsage},
		"usage, deeper":       {fmt.Errorf("reading: %w", usage("", "no")), exitUsage},
		"tampering":           {tampered(io.ErrUnexpectedEOF, "", "no"), exitTampered},
		"not signed in":       {&url.Error{Err: notSignedIn("", "no")}, exitSignIn},
		"anything else":       {errors.New("no"), exitOther},
		"a proxy's bad day":   {&api.Problem{Type: "about:blank", Status: 502}, exitUnavailable},
		"a proxy's bad night": {&api.Problem{Type: "about:blank", Status: 504}, exitUnavailable},
	} {
		if got := explain(c.err).code; got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestHelpListsEveryExitCode(t *testing.T) {
	for _, code := range []int{exitOK, exitOther, exitUsage, exitRefused, exitSignIn, exitUnavailable, exitTampered} {
		if !strings.Contains(helpExitCodes, fmt.Sprintf("\n  %d  ", code)) {
			t.Errorf("exit code %d is not in the help", code)
		}
	}
}

func TestAnErrorSaysWhatHintAndRequestOnLinesOfTheirOwn(t *testing.T) {
	var out strings.Builder
	p := &program{stderr: &out}
	problem := &api.Problem{
		Type: api.Unavailable.Type(), Status: 503, Detail: "the keystore\x1b[2J does not answer", RetryAfter: 5 * time.Second,
		Instance: "urn:uuid:0192f0c1-0000-7000-8000-000000000001", Order: "0192f0c1-0000-7000-8000-000000000002",
	}
	if code := p.report(t.Context(), fmt.Errorf("signing fw.bin: %w", problem)); code != exitUnavailable {
		t.Errorf("got exit code %d", code)
	}
	want := "ks: signing fw.bin: the keystore<U+001B>[2J does not answer\n" +
		"hint: try again in 5s; sign order 0192f0c1-0000-7000-8000-000000000002 has taken its use, and the same command again asks for its signature\n" +
		"request: 0192f0c1-0000-7000-8000-000000000001\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestAnInterruptedCommandSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	env := []string{"KS_HOME=" + t.TempDir(), "KS_SERVER=http://127.0.0.1:1", "KS_TOKEN=token"}
	if code := run(ctx, []string{"whoami"}, env, nil, io.Discard, &out); code != exitOther || out.String() != "ks: interrupted\n" {
		t.Errorf("got %d %q", code, out.String())
	}
}

func TestWhatSomebodyTypedIsNotPrintedAsItIs(t *testing.T) {
	for _, args := range [][]string{{"x\x1b[2J"}, {"whoami", "--x\x1b[2J"}, {"operation", "create", "--key", "x\x1b[2J", "--description", "d", "--context", "c", "--valid", "1h"}} {
		var out strings.Builder
		if code := run(t.Context(), args, nil, nil, &out, &out); code != exitUsage || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%q: got %d %q", args, code, out.String())
		}
	}
}

// full refuses to be written to, like a disk that is full or a pipe that is closed.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	p := &program{stdout: full{}}
	for name, print := range map[string]func() error{
		"text": func() error { return p.printf("%d", 1) },
		"JSON": func() error { return p.printJSON(1) },
	} {
		if err := print(); err == nil {
			t.Errorf("%s: nobody notices", name)
		}
	}
}

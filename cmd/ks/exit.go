package main

import (
	"context"
	"crypto/tls"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
)

// The exit codes; helpExitCodes says what they mean.
const (
	exitOK          = 0
	exitOther       = 1
	exitUsage       = 2
	exitRefused     = 3
	exitSignIn      = 4
	exitUnavailable = 5
	exitTampered    = 6
)

const helpExitCodes = `ks ends with one of these exit codes:

  0  it was done
  1  something else went wrong, such as a file that cannot be read
  2  the command was not used as it is meant to be
  3  refused by the rules: not allowed, not there for you, not in this state, not possible;
     asking again gives the same answer until somebody changes something
  4  not signed in, or the sign-in is over: run ` + "`ks login`" + `
  5  not to be had now: the server cannot be reached or is busy, or the time to wait is over;
     the same command again may work
  6  verification failed: a signature, a digest, the audit log or the server's log key is not
     what it must be; tell your security people before you go on
`

const helpFiles = `ks keeps its files in the directory $KS_HOME, else in "ks" in the user's configuration
directory (on Linux $XDG_CONFIG_HOME/ks or ~/.config/ks). Only the user can read them.

  profiles/NAME.json   one sign-in: server, issuer, client id, access token, refresh token, expiry
  servers/URL.json     the log key of a server, pinned when the server was first seen
  logs/HASH.json       the checkpoints seen of the log with that key, the newest 20

Every answer to ` + "`ks sign`, `ks audit checkpoint` and `ks audit verify`" + ` adds its checkpoint, and the
server must prove that its log still begins with the log of the earlier ones. Who removes the last two
kinds of files no longer notices a log that was rewritten before.

The environment:

  KS_HOME           another directory for these files
  KS_SERVER         as --server
  KS_PROFILE        as --profile
  KS_TOKEN          an access token for this command, instead of a profile; meant for CI jobs
  KS_CLIENT_SECRET  the secret for ` + "`ks login --client-credentials`" + `
`

// helpTopics are pages of text under `ks help`.
func helpTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit codes mean", Long: strings.TrimSpace(helpExitCodes)},
		{Use: "files", Short: "What is kept where, and the environment", Long: strings.TrimSpace(helpFiles)},
	}
}

// failure is an error with its exit code and what to do about it.
type failure struct {
	code  int
	what  string
	hint  string // may be empty
	cause error  // may be nil
}

func (f *failure) Error() string { return f.what }
func (f *failure) Unwrap() error { return f.cause }

func usage(hint, format string, args ...any) error {
	return &failure{code: exitUsage, what: fmt.Sprintf(format, args...), hint: hint}
}

func refused(hint, format string, args ...any) error {
	return &failure{code: exitRefused, what: fmt.Sprintf(format, args...), hint: hint}
}

func notSignedIn(hint, format string, args ...any) error {
	return &failure{code: exitSignIn, what: fmt.Sprintf(format, args...), hint: hint}
}

func timedOut(hint, format string, args ...any) error {
	return &failure{code: exitUnavailable, what: fmt.Sprintf(format, args...), hint: hint}
}

func tampered(cause error, hint, format string, args ...any) error {
	return &failure{code: exitTampered, what: fmt.Sprintf(format, args...), hint: hint, cause: cause}
}

// explain finds exit code and hint of any error.
func explain(err error) failure {
	if f := (*failure)(nil); errors.As(err, &f) {
		return failure{code: f.code, what: err.Error(), hint: f.hint, cause: err}
	}
	f := failure{code: exitOther, what: err.Error(), cause: err}
	problem := (*api.Problem)(nil)
	untrusted := (*tls.CertificateVerificationError)(nil)
	switch {
	case errors.As(err, &problem):
		f.code, f.hint = explainProblem(problem)
	case errors.As(err, &untrusted):
		f.hint = "if the server has a certificate of a private authority, name it with --ca-file"
	case unreachable(err):
		f.code, f.hint = exitUnavailable, "the server cannot be reached, or answers too late; try again later"
	}
	return f
}

// unreachable says whether no answer came, or not the whole of it.
func unreachable(err error) bool {
	request, network, nonsense := (*url.Error)(nil), (*net.OpError)(nil), (*jsontext.SyntacticError)(nil)
	cut := errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &nonsense)
	return cut || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &request) || errors.As(err, &network)
}

func explainProblem(problem *api.Problem) (code int, hint string) {
	switch status := problem.Status; {
	case status == 401:
		return exitSignIn, "run `ks login`, or give another access token"
	case status == 429, status == 502, status == 503, status == 504:
		hint = "try again later"
		if problem.RetryAfter > 0 {
			hint = fmt.Sprintf("try again in %s", problem.RetryAfter)
		}
		if problem.Order != "" {
			hint += "; sign order " + visible(problem.Order) + " has taken its use, and the same command again asks for its signature"
		}
		return exitUnavailable, hint
	case status == 403, status == 404, status == 409, status == 412, status == 422:
		return exitRefused, ""
	case status == 400, status == 413, status == 415:
		if problem.Pointer != "" {
			hint = "the member " + visible(problem.Pointer) + " of the request is not as it must be"
		}
		return exitUsage, hint
	}
	return exitOther, ""
}

// errorOutput is what --json prints of an error.
type errorOutput struct {
	Exit    int          `json:"exit"`
	Error   string       `json:"error"`
	Hint    string       `json:"hint,omitzero"`
	Problem *api.Problem `json:"problem,omitzero"` // the server's answer, if it was the server who refused
}

// report prints an error and returns its exit code.
func (p *program) report(ctx context.Context, err error) int {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = &failure{code: exitOther, what: "interrupted", cause: err}
	}
	f := explain(err)
	problem := (*api.Problem)(nil)
	errors.As(err, &problem)
	if p.global.json {
		out, err := json.Marshal(errorOutput{f.code, f.what, f.hint, problem}, jsontext.WithIndent("  "))
		if err == nil {
			fmt.Fprintf(p.stderr, "%s\n", visibleJSON(out))
			return f.code
		}
	}
	what := []string{f.what}
	if problem != nil && problem.Kind() == api.PolicyFault {
		what = strings.Split(f.what, "\n") // a fault on each line
	}
	for i, line := range what {
		what[i] = visible(line)
	}
	fmt.Fprintln(p.stderr, "ks: "+strings.Join(what, "\n    "))
	if f.hint != "" {
		fmt.Fprintln(p.stderr, "hint: "+visible(f.hint))
	}
	if problem != nil && problem.Instance != "" {
		fmt.Fprintln(p.stderr, "request: "+visible(strings.TrimPrefix(problem.Instance, "urn:uuid:")))
	}
	return f.code
}

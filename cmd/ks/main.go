// Ks is the command line of the keyserver: a client of its HTTP API like any other. `ks help` lists the
// commands, and testdata/*.txtar are what they promise.
//
// Output is for people unless --json is given; then it is the API's JSON on the standard output, and an
// error is one JSON object on the standard error. `ks help exit-codes` says what the exit codes mean, and
// `ks help files` what is kept where.
//
// What others wrote is never printed as it is: text.go makes hidden characters visible.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{env: env, stdin: stdin, stdout: stdout, stderr: stderr, now: time.Now}
	return p.run(ctx, args)
}

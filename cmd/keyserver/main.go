// Command keyserver is the server, and the tools of those who operate it.
//
//	keyserver config check|show --config keyserver.yaml
//	keyserver init --config keyserver.yaml --bootstrap bootstrap.yaml
//	keyserver serve --config keyserver.yaml
//	keyserver verify --config keyserver.yaml
//	keyserver upgrade --config keyserver.yaml
//	keyserver migrate --config keyserver.yaml --from sqlite:PATH --to postgres:
//	keyserver clock accept --config keyserver.yaml
//
// What was asked for is on the standard output; errors, progress and the server's log are on the standard
// error. `keyserver help exit-codes` says what the exit codes mean. testdata/*.txtar are its promises.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	p := &program{now: time.Now, env: os.LookupEnv, stdout: os.Stdout, stderr: os.Stderr}
	if _, set := p.env("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// gcPercent is how much garbage may pile up, in percent of what is live. What is live is about 2 MB: with Go's
// 100 a server under load collects a hundred times a second, which takes a tenth of its time; with 400 it takes
// 12 MB more memory.
const gcPercent = 400

// program is one run, with what it needs from outside.
type program struct {
	now    func() time.Time
	env    func(string) (string, bool)
	stdout io.Writer
	stderr io.Writer

	begun bool // a command runs; an error before that is one of usage
}

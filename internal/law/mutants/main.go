// Command mutants shows that the tests of the law would notice if the law were broken. It seeds the popular
// shortcuts of docs/threats.md, and some more, one at a time: each is a small change of the text of
// package law, compiled over the real files and never written into them. The tests of the law must fail
// with every one of them.
//
// Run it in the module: go run ./internal/law/mutants [-oracle] [-only NAME]
package main

import (
	"context"
	"encoding/json/v2"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

// mutant is one fault: in a file of package law the text old, which is there exactly once, becomes new.
type mutant struct {
	name, file, old, new string
}

type verdict struct {
	mutant
	killer string // the test that failed; empty: none did
	took   time.Duration
	err    error // of the attempt: the text is not there once, or it does not compile
}

const (
	lawPackage = "example.org/keyserver/internal/law"
	longTests  = "^(TestModel|TestRandom)" // the oracle's
)

func main() {
	oracle := flag.Bool("oracle", false, "kill by the model test and the random schedules alone")
	only := flag.String("only", "", "try only the mutants whose name contains this")
	flag.Parse()
	survivors, err := run(context.Background(), os.Stdout, *oracle, *only)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	case survivors > 0:
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, oracle bool, only string) (survivors int, err error) {
	found, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", lawPackage).Output()
	if err != nil {
		return 0, fmt.Errorf("finding package law: %w", err)
	}
	temp, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(temp)
	b := bench{dir: strings.TrimSpace(string(found)), temp: temp, oracle: oracle}
	if v := b.try(ctx, 0, mutant{name: "the law as it is"}); v.err != nil || v.killer != "" {
		return 0, fmt.Errorf("the law as it is does not pass: %s %w", v.killer, v.err)
	}
	var chosen []mutant
	for _, m := range mutants() {
		if strings.Contains(m.name, only) {
			chosen = append(chosen, m)
		}
	}
	killed := 0
	for v := range b.all(ctx, chosen) {
		switch {
		case v.err != nil:
			err = errors.Join(err, fmt.Errorf("mutant %q: %w", v.name, v.err))
		case v.killer == "":
			survivors++
			fmt.Fprintf(out, "SURVIVED  %-64s\n", v.name)
		default:
			killed++
			fmt.Fprintf(out, "killed    %-64s %5.1fs  %s\n", v.name, v.took.Seconds(), v.killer)
		}
	}
	fmt.Fprintf(out, "%d of %d mutants killed\n", killed, len(chosen))
	return survivors, err
}

// bench is where mutants are tried.
type bench struct {
	dir    string // of package law
	temp   string
	oracle bool
}

// all tries the mutants, as many at a time as there are processors, and gives the verdicts in order.
func (b bench) all(ctx context.Context, mutants []mutant) func(func(verdict) bool) {
	verdicts := make([]chan verdict, len(mutants))
	for i := range verdicts {
		verdicts[i] = make(chan verdict, 1)
	}
	next := make(chan int)
	var workers sync.WaitGroup
	for range runtime.NumCPU() {
		workers.Go(func() {
			for i := range next {
				verdicts[i] <- b.try(ctx, i+1, mutants[i])
			}
		})
	}
	go func() {
		for i := range mutants {
			next <- i
		}
		close(next)
	}()
	return func(yield func(verdict) bool) {
		for _, v := range verdicts {
			if !yield(<-v) {
				return
			}
		}
		workers.Wait()
	}
}

// try compiles the tests of the law with one mutant laid over it and runs them: the quick ones first.
func (b bench) try(ctx context.Context, n int, m mutant) verdict {
	v := verdict{mutant: m}
	start := time.Now()
	binary := filepath.Join(b.temp, fmt.Sprintf("law-%d.test", n))
	defer os.Remove(binary)
	overlay, err := b.overlay(n, m)
	if err != nil {
		v.err = err
		return v
	}
	build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-o", binary, lawPackage)
	build.Dir = b.dir
	if said, err := build.CombinedOutput(); err != nil {
		v.err = fmt.Errorf("compiling: %w\n%s", err, said)
		return v
	}
	if !b.oracle {
		v.killer, v.err = b.phase(ctx, binary, "-test.skip="+longTests)
	}
	if v.killer == "" && v.err == nil {
		v.killer, v.err = b.phase(ctx, binary, "-test.run="+longTests)
	}
	v.took = time.Since(start)
	return v
}

// overlay writes the file with the mutant in it, and the note that tells the compiler to read it instead.
func (b bench) overlay(n int, m mutant) (string, error) {
	replace := map[string]string{}
	if m.file != "" {
		original := filepath.Join(b.dir, m.file)
		text, err := os.ReadFile(original)
		if err != nil {
			return "", err
		}
		if times := strings.Count(string(text), m.old); times != 1 {
			return "", fmt.Errorf("in %s, the text to change is there %d times", m.file, times)
		}
		changed := filepath.Join(b.temp, fmt.Sprintf("%d-%s", n, m.file))
		if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
			return "", err
		}
		replace[original] = changed
	}
	note, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.temp, fmt.Sprintf("overlay-%d.json", n))
	return path, os.WriteFile(path, note, 0o600)
}

var failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

// phase runs some of the tests and returns the name of the one that failed, empty if none did. Tests that
// do not end in time prove nothing.
func (b bench) phase(ctx context.Context, binary, which string) (string, error) {
	test := exec.CommandContext(ctx, binary, which, "-test.failfast", "-test.timeout=5m", "-rapid.nofailfile", "-rapid.shrinktime=0s")
	test.Dir = b.dir
	said, err := test.CombinedOutput()
	if err == nil {
		return "", nil
	}
	found := failedTest.FindSubmatch(said)
	if found == nil || strings.Contains(string(said), "panic: test timed out") {
		return "", fmt.Errorf("running its tests: %w\n%s", err, said)
	}
	return string(found[1]), nil
}

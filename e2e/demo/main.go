// Command demo works the keyserver as its users do: real programs, a real file, and openssl as the judge
// of the signatures. It prints each step and what proves it, and ends with 0 only if every step was as it
// says. With -up it leaves everything running for you instead.
//
//	go run ./e2e/demo [-db postgres] [-keystore softhsm] [-up]
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"example.org/keyserver/e2e/stand"
)

func main() {
	up := flag.Bool("up", false, "leave the programs running, and say how to use them")
	var parts stand.Options
	flag.StringVar(&parts.Database, "db", stand.SQLite, "where the state and the log are: sqlite or postgres")
	flag.StringVar(&parts.Keystore, "keystore", stand.Software, "where the private keys are: software or softhsm")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Stdout, "bin", parts, *up); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, bin string, parts stand.Options, up bool) (err error) {
	dir, err := os.MkdirTemp("", "keyserver-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	begun := time.Now()
	parts.World = up
	s, err := stand.NewWith(ctx, bin, dir, parts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	d := &demo{Stand: s, parts: parts, out: out}
	if up {
		return d.stayUp(ctx)
	}
	for _, step := range []func(context.Context) error{
		d.introduce, d.buildImage, d.signIn, d.custody, d.order, d.refuseUnapproved, d.refuseHalfApproved, d.approve, d.sign,
		d.spend, d.retry, d.plan, d.applyPlan, d.useNewKey, d.auditSession, d.planFactory, d.lot, d.verifyDevices, d.statuses, d.verifyLog, d.tamper,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("step %d: %w", d.steps, err)
		}
	}
	_, err = fmt.Fprintf(out, "\nEvery step was as it should be (%.0f s).\n", time.Since(begun).Seconds())
	return err
}

// demo is a run of the demonstration. What a step needs of the ones before is here.
type demo struct {
	*stand.Stand
	parts stand.Options
	out   io.Writer
	steps int

	operation, digest string
	imageSum          string

	session, sessionDigest string // of the administration session

	lotOperation string // under which devices get their certificates
}

// step begins a step.
func (d *demo) step(what string, args ...any) {
	d.steps++
	fmt.Fprintf(d.out, "\n%d. %s\n", d.steps, fmt.Sprintf(what, args...))
}

// proof says what proves that the step was right.
func (d *demo) proof(what string, args ...any) {
	fmt.Fprintf(d.out, "   ✓ %s\n", fmt.Sprintf(what, args...))
}

// ran is what came of a command.
type ran struct {
	code           int
	stdout, stderr string
}

// as runs ks as a person, shows the command and what it answers, and wants the exit code.
func (d *demo) as(ctx context.Context, person string, code int, args ...string) (ran, error) {
	return d.show(person+"$ ks", code, d.ks(ctx, person, args...))
}

func (d *demo) ks(ctx context.Context, person string, args ...string) *exec.Cmd {
	c := d.Command(ctx, "ks", args...)
	c.Env = append(os.Environ(), "KS_HOME="+filepath.Join(d.Dir, "home-"+person))
	return c
}

func (d *demo) show(prompt string, code int, c *exec.Cmd) (ran, error) {
	fmt.Fprintf(d.out, "   %s %s\n", prompt, quoted(c.Args[1:]))
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return ran{}, err
	}
	r := ran{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	lines := bufio.NewScanner(strings.NewReader(r.stdout + r.stderr))
	for lines.Scan() {
		if line := lines.Text(); line != "" {
			fmt.Fprintf(d.out, "      %s\n", line)
		}
	}
	if r.code != code {
		return r, fmt.Errorf("%s %s ended with %d, not %d", prompt, quoted(c.Args[1:]), r.code, code)
	}
	return r, nil
}

func quoted(args []string) string {
	out := make([]string, 0, len(args))
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " ;'\"$*?&|<>") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}

// login signs a person in by the device flow; the demonstration plays the person's browser.
func (d *demo) login(ctx context.Context, person string) error {
	c := d.ks(ctx, person, "login", "--server", d.Server, "--issuer", d.Issuer)
	stderr, err := c.StderrPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	said, allowed := "", false
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		said += lines.Text() + "\n"
		if code := userCode.FindString(lines.Text()); code != "" && !allowed {
			allowed = true
			if err := d.Allow(ctx, person, code); err != nil {
				return errors.Join(err, c.Process.Kill(), c.Wait())
			}
		}
	}
	if err := c.Wait(); err != nil {
		return fmt.Errorf("signing in %s: %w\n%s", person, err, said)
	}
	return nil
}

// userCode is the form of the codes that the development identity provider gives.
var userCode = regexp.MustCompile(`^\s*[A-Z0-9]{4}-[A-Z0-9]{4}\s*$`)

// image is 10 MB that look like firmware and are the same in every run: a header, and noise.
func image() []byte {
	const size = 10_000_000
	noise := rand.NewChaCha8([32]byte([]byte("keyserver demonstration image 01")))
	out := make([]byte, size)
	_, _ = noise.Read(out)
	copy(out, "FWIMG\x00\x04\x02\x00board=demo version=4.2.0\n")
	return out
}

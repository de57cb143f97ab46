package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/coredump"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/store"
)

// The exit codes; helpExitCodes says what they mean.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitTampered = 6 // as that of ks
)

const helpExitCodes = `keyserver ends with one of these exit codes:

  0  it was done; of serve: it was asked to stop, by SIGTERM or SIGINT, and has stopped
  1  something went wrong, or was refused: the message says what to do
  2  the command was not used as it is meant to be
  6  verify found something: the audit log or the state is not what it must be; keep the
     database as it is, and tell your security people before you go on
`

// coded is an error with the exit code that it means.
type coded struct {
	code int
	error
}

func (c coded) Unwrap() error { return c.error }

func (p *program) run(ctx context.Context, args []string) int {
	root := p.rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	p.notef("keyserver: %v", err)
	if !p.begun {
		p.notef("hint: run `%s --help` to see how it is used", cmd.CommandPath())
		return exitUsage
	}
	if c, is := errors.AsType[coded](err); is {
		return c.code
	}
	return exitFailed
}

func (p *program) rootCommand() *cobra.Command {
	root := p.group("keyserver", "Signs with keys that people have to release first")
	root.Version = version()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	path := root.PersistentFlags().String("config", "keyserver.yaml", "configuration `FILE`")
	read := func() (config.Config, error) { return p.readConfig(*path) }
	root.AddCommand(
		p.group("config", "Look at the configuration", p.checkCommand(path), p.showCommand(path)),
		p.initCommand(read),
		p.serveCommand(read),
		p.verifyCommand(read),
		p.upgradeCommand(read),
		p.migrateCommand(read),
		p.group("clock", "Put up with a clock that went back", p.clockAcceptCommand(read)),
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: strings.TrimSpace(helpExitCodes)},
	)
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Args = knownTopic
		}
	}
	return root
}

// knownTopic refuses help on what there is not, which cobra would answer with other help.
func knownTopic(c *cobra.Command, args []string) error {
	if _, rest, err := c.Root().Find(args); err != nil || len(rest) > 0 {
		return fmt.Errorf("there is no help on %q", strings.Join(args, " "))
	}
	return nil
}

// command completes a command: from when it runs, its errors are no more of usage unless they say so.
func (p *program) command(c *cobra.Command, do func(context.Context) error) *cobra.Command {
	c.Args = cobra.NoArgs
	c.DisableFlagsInUseLine = true
	c.RunE = func(c *cobra.Command, _ []string) error {
		p.begun = true
		if err := coredump.Disable(); err != nil {
			return fmt.Errorf("disabling core dumps: %w", err)
		}
		return do(c.Context())
	}
	return c
}

// group is a command that only has others.
func (p *program) group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, _ []string) error {
			fmt.Fprintln(p.stderr, c.UsageString())
			return fmt.Errorf("`%s` does nothing by itself: name a command", c.CommandPath())
		},
	}
	c.AddCommand(commands...)
	return c
}

// readConfig reads a configuration that must be right.
func (p *program) readConfig(path string) (config.Config, error) {
	c, err := config.Read(path, p.env)
	if err != nil {
		return config.Config{}, err
	}
	var problems []error
	for _, problem := range c.Check() {
		problems = append(problems, fmt.Errorf("%s: %w", path, problem))
	}
	return c, errors.Join(problems...)
}

// explained says to an operator why something is not to be had, which is not for callers of the API, and what
// a role that lacks a right needs.
func explained(err error) error {
	if u, is := errors.AsType[*keyserver.Unavailable](err); is && u.Err != nil {
		err = fmt.Errorf("%w\nthe cause: %w", err, u.Err)
	}
	if store.NotPermitted(err) {
		err = fmt.Errorf("%w\nrun keyserver upgrade with the configuration that names the owner: it gives the server's role what it needs", err)
	}
	return err
}

// printf writes what was asked for to the standard output.
func (p *program) printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(p.stdout, format, args...); err != nil {
		return fmt.Errorf("writing to the standard output: %w", err)
	}
	return nil
}

// notef says something besides.
func (p *program) notef(format string, args ...any) { fmt.Fprintf(p.stderr, format+"\n", args...) }

// version is what the module was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

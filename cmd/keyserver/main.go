// Command keyserver is the server, and the tools of those who operate it.
//
//	keyserver init --config keyserver.yaml --bootstrap bootstrap.yaml
//	keyserver serve --config keyserver.yaml
//	keyserver config check|show --config keyserver.yaml
//	keyserver verify --config keyserver.yaml
//	keyserver clock accept --config keyserver.yaml
//
// It ends with 0 when all went well, 1 when something failed, 2 when the command line was wrong and 6 when
// a verification found something.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"example.org/keyserver/internal/config"
	"example.org/keyserver/internal/keystore/software"
)

// Exit codes.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitTampered = 6
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := program{now: time.Now, env: os.LookupEnv, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// program is what the commands need from outside.
type program struct {
	now    func() time.Time
	env    func(string) (string, bool)
	stdout io.Writer
	stderr io.Writer
}

// coded is an error with the exit code that it means.
type coded struct {
	code int
	error
}

func (c coded) Unwrap() error { return c.error }

func (p program) run(ctx context.Context, args []string) int {
	if err := software.DisableCoreDumps(); err != nil {
		return p.fail(fmt.Errorf("disabling core dumps: %w", err))
	}
	root := p.root()
	root.SetArgs(args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		return p.fail(err)
	}
	return 0
}

func (p program) fail(err error) int {
	_, _ = fmt.Fprintln(p.stderr, "keyserver: "+err.Error())
	var c coded
	if errors.As(err, &c) {
		return c.code
	}
	return exitFailed
}

func (p program) root() *cobra.Command {
	root := &cobra.Command{
		Use: "keyserver", Short: "Signs with keys that people must release",
		SilenceUsage: true, SilenceErrors: true, Version: version(), Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return coded{exitUsage, err} })
	path := root.PersistentFlags().String("config", "keyserver.yaml", "configuration file")
	read := func() (config.Config, error) { return p.readConfig(*path) }
	configCommand := group("config", "Look at the configuration")
	configCommand.AddCommand(p.checkCommand(path), p.showCommand(path))
	clockCommand := group("clock", "Put up with a clock that went back")
	clockCommand.AddCommand(p.clockAcceptCommand(read))
	root.AddCommand(p.serveCommand(read), p.initCommand(read), p.verifyCommand(read), configCommand, clockCommand)
	return root
}

func group(use, short string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: func(c *cobra.Command, args []string) error {
		return coded{exitUsage, fmt.Errorf("%s needs one of its subcommands; see keyserver %s --help", use, use)}
	}, RunE: func(*cobra.Command, []string) error { return nil }}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return coded{exitUsage, fmt.Errorf("%s takes no argument %q", c.CommandPath(), args[0])}
	}
	return nil
}

// readConfig reads a configuration that must be right.
func (p program) readConfig(path string) (config.Config, error) {
	c, err := config.Read(path, p.env)
	if err != nil {
		return config.Config{}, err
	}
	return c, errors.Join(c.Check()...)
}

// version is what the module was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

package main

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// program is one run of ks.
type program struct {
	env    []string
	stdin  io.Reader
	stdout io.Writer // what was asked for
	stderr io.Writer // errors, questions, hints, progress
	now    func() time.Time

	global globalFlags
	begun  bool // a command runs; an error before that is one of usage
}

// globalFlags are those of every command.
type globalFlags struct {
	server    string
	profile   string
	tokenFile string
	caFile    string
	json      bool
}

func (p *program) run(ctx context.Context, args []string) int {
	root := p.rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !p.begun {
		p.global.json = p.global.json || slices.Contains(args, "--json") // the error may stand before it
		err = &failure{code: exitUsage, what: err.Error(), hint: "run `" + cmd.CommandPath() + " --help` to see how it is used", cause: err}
	}
	return p.report(ctx, err)
}

func (p *program) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "ks",
		Short: "Sign with keys that people have to release first",
		Long: "Ks is the command line of the keyserver: ask for operations, approve them, sign files under them,\n" +
			"verify signatures, and check the audit log.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.nothingAsked(cmd) },

		DisableFlagsInUseLine: true,
		SilenceErrors:         true,
		SilenceUsage:          true,
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	flags := root.PersistentFlags()
	flags.StringVar(&p.global.server, "server", "", "`URL` of the keyserver (default: $KS_SERVER, or that of the profile)")
	flags.StringVar(&p.global.profile, "profile", "", "`NAME` of the sign-in to use (default: $KS_PROFILE, or \"default\")")
	flags.StringVar(&p.global.tokenFile, "token-file", "", "`FILE` with an access token, instead of $KS_TOKEN or a profile")
	flags.StringVar(&p.global.caFile, "ca-file", "", "PEM `FILE` with the only certificate authorities to trust")
	flags.BoolVar(&p.global.json, "json", false, "print JSON for programs")
	root.AddCommand(
		p.loginCommand(), p.logoutCommand(), p.whoamiCommand(),
		p.keysCommand(), p.operationCommand(), p.signCommand(), p.verifyCommand(), p.auditCommand(), p.adminCommand(), p.certificateCommand(),
		p.deviceCommand(), p.notificationsCommand(),
	)
	root.AddCommand(helpTopics()...)
	return root
}

// command completes a command: from when it runs, its errors are no more of usage unless they say so.
func (p *program) command(cmd *cobra.Command, do func(ctx context.Context, args []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p.begun = true
		return do(cmd.Context(), args)
	}
	cmd.DisableFlagsInUseLine = true
	return cmd
}

// group is a command that only has others.
func (p *program) group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return p.nothingAsked(cmd) },

		DisableFlagsInUseLine: true,
	}
	cmd.AddCommand(commands...)
	return cmd
}

func (p *program) nothingAsked(cmd *cobra.Command) error {
	fmt.Fprintln(p.stderr, cmd.UsageString())
	return fmt.Errorf("`%s` does nothing by itself: name a command", cmd.CommandPath())
}

// getenv returns an environment variable, empty if there is none.
func (p *program) getenv(name string) string {
	for i := len(p.env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(p.env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// terminal returns the file behind a stream if it is a terminal.
func terminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// width is how wide text is printed: 100 columns, less on a narrower terminal.
func width(stream any) int { return min(terminalWidth(stream, 100), 100) }

// tableWidth is how wide tables are printed: as wide as the terminal.
func tableWidth(stream any) int { return terminalWidth(stream, 160) }

func terminalWidth(stream any, otherwise int) int {
	const least = 40
	if f, ok := terminal(stream); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return max(least, w)
		}
	}
	return otherwise
}

// printJSON prints a value for programs.
func (p *program) printJSON(v any) error {
	out, err := json.Marshal(v, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return p.print(string(visibleJSON(out)) + "\n")
}

// print writes to the standard output. A pipe that is closed at the other end is an error like any other.
func (p *program) print(s string) error {
	if _, err := io.WriteString(p.stdout, s); err != nil {
		return fmt.Errorf("writing to the standard output: %w", err)
	}
	return nil
}

// printf is print with a format. Arguments that others wrote must have been made visible.
func (p *program) printf(format string, args ...any) error {
	return p.print(fmt.Sprintf(format, args...))
}

// notef tells people something besides what was asked for.
func (p *program) notef(format string, args ...any) { fmt.Fprintf(p.stderr, format+"\n", args...) }

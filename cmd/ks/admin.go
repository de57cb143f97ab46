package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
)

func (p *program) adminCommand() *cobra.Command {
	return p.group("admin", "Change who may do what, and the keys, in administration sessions",
		p.exportPolicyCommand(), p.diffCommand(), p.planCommand(), p.applyCommand(), p.whoCanCommand(),
		p.adminSessionCommand(), p.subjectCommand(), p.roleCommand(), p.keyCommand(), p.changeCommand())
}

func (p *program) exportPolicyCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export [--output FILE]",
		Short: "Print the configuration as a policy",
		Long: "Print the whole configuration (issuers, subjects, roles, keys) in the format that `ks admin plan` reads, so that\n" +
			"it can live in version control. Private keys are no part of it.",
		Example: "  ks admin export --output policy.yaml",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&output, "output", "", "write it to `FILE` instead of the standard output")
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		text, err := s.Policy(ctx)
		switch {
		case err != nil:
			return err
		case output != "":
			return writeWhole(output, text, 0o644)
		case p.global.json:
			return p.printJSON(map[string]string{"policy": string(text)})
		}
		return p.print(string(text))
	})
}

// policyFlag names a file with a policy, or with a part of one.
type policyFlag struct{ file string }

func (f *policyFlag) add(cmd *cobra.Command, what string) {
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "`FILE` with "+what+"; - is the standard input")
}

func (f policyFlag) read(p *program) (string, error) {
	if f.file == "-" {
		text, err := io.ReadAll(io.LimitReader(p.stdin, api.MaxPolicyBody))
		if err != nil {
			return "", fmt.Errorf("reading the standard input: %w", err)
		}
		return string(text), nil
	}
	text, err := os.ReadFile(f.file)
	if err != nil {
		return "", fmt.Errorf("reading the policy: %w", err)
	}
	return string(text), nil
}

func (p *program) diffCommand() *cobra.Command {
	var from policyFlag
	cmd := &cobra.Command{
		Use:   "diff -f FILE",
		Short: "Show what a policy would change, and what of it would be refused",
		Long:  "Compare a policy with the configuration as it is. Nothing changes, and no session is opened.",
		Args:  cobra.NoArgs,
	}
	from.add(cmd, "a policy, as `ks admin export` prints it")
	_ = cmd.MarkFlagRequired("file") // fails for a flag that is not there
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		text, err := from.read(p)
		if err != nil {
			return err
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		d, err := s.Difference(ctx, text)
		switch {
		case err != nil:
			return err
		case p.global.json:
			return p.printJSON(d)
		case len(d.Items) == 0 && len(d.Faults) == 0:
			return p.print("Nothing would change.\n")
		case len(d.Items) > 0:
			err = p.print(differenceText(d.Items, width(p.stdout)))
		}
		for _, fault := range d.Faults {
			p.notef("It would be refused: %s", visible(fault))
		}
		if err == nil && len(d.Faults) > 0 {
			return refused("", "the policy would be refused")
		}
		return err
	})
}

func (p *program) planCommand() *cobra.Command {
	var from policyFlag
	var description string
	cmd := &cobra.Command{
		Use:   "plan -f FILE --description TEXT",
		Short: "Open an administration session that would make the configuration what a policy says",
		Long: "Compare a policy with the configuration as it is, and open an administration session with the difference as its\n" +
			"plan. The other administrators see the plan before they authorise it; nothing changes until it is applied.",
		Example: "  ks admin export --output policy.yaml\n  $EDITOR policy.yaml\n  ks admin plan -f policy.yaml --description 'Key for the new product'",
		Args:    cobra.NoArgs,
	}
	from.add(cmd, "the policy, as `ks admin export` prints it")
	cmd.Flags().StringVar(&description, "description", "", "what it is for, for the other administrators and the audit log")
	_ = cmd.MarkFlagRequired("file")
	_ = cmd.MarkFlagRequired("description")
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		text, err := from.read(p)
		if err != nil {
			return err
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		d, err := s.Difference(ctx, text)
		if err != nil {
			return err
		}
		if len(d.Items) == 0 && len(d.Faults) == 0 {
			p.notef("Nothing would change: the configuration is what the policy says. No session was opened.")
			return nil
		}
		return p.openSession(ctx, s, description, text)
	})
}

// openSession opens a session and says what comes next.
func (p *program) openSession(ctx context.Context, s session, description, policy string) error {
	opened, err := s.OpenSession(ctx, api.NewSession{Description: description, Policy: policy})
	if err != nil {
		return err
	}
	if err := p.printSession(ctx, s, opened); err != nil || p.global.json {
		return err
	}
	if missing := opened.Needed - len(opened.Counted); missing > 0 {
		p.notef("\n%s must authorise it: ks admin session authorise %s", people(missing, "more administrator"), opened.ID)
	}
	if opened.Plan != "" {
		p.notef("Then apply it: ks admin apply %s", opened.ID)
	}
	return nil
}

// people counts things of a kind, such as "2 more administrators".
func people(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (p *program) applyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply ID",
		Short: "Apply the plan of an administration session, all of it or nothing",
		Long:  "Make the changes of the session's plan, which must be active. Keys that are new are made in their keystores. It closes the session.",
		Args:  cobra.ExactArgs(1),
	}
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		p.notef("applying the plan of session %s ...", visible(args[0]))
		applied, err := s.ApplyPlan(ctx, args[0])
		if err != nil {
			return err
		}
		if p.global.json {
			return p.printJSON(applied)
		}
		return p.print("The plan was applied.\n")
	})
}

func (p *program) whoCanCommand() *cobra.Command {
	var planned policyFlag
	var sessionID string
	cmd := &cobra.Command{
		Use:   "who-can KEYID [-f FILE | --session ID]",
		Short: "Say who can obtain a signature with a key, and whether anybody could alone",
		Long: "Say for one key who can order and who can approve, how many must, and whether a single person or credential could\n" +
			"obtain a signature alone: by the configuration as it is, or as it would be by a policy or the plan of a session.",
		Args: cobra.ExactArgs(1),
	}
	planned.add(cmd, "a policy that is planned")
	cmd.Flags().StringVar(&sessionID, "session", "", "the administration session `ID` whose plan counts as applied")
	cmd.MarkFlagsMutuallyExclusive("file", "session")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		var who api.WhoCan
		if planned.file == "" {
			who, err = s.WhoCan(ctx, args[0], sessionID)
		} else {
			var text string
			if text, err = planned.read(p); err != nil {
				return err
			}
			who, err = s.WhoCould(ctx, args[0], text)
		}
		switch {
		case err != nil:
			return err
		case p.global.json:
			return p.printJSON(who)
		}
		return p.print(whoCanText(who, width(p.stdout)))
	})
}

// differenceText writes a difference, one object after the other.
func differenceText(items []api.DifferenceItem, width int) string {
	var b strings.Builder
	for _, i := range items {
		verb := map[string]string{"add": "+ new", "change": "~ changed", "remove": "- removed"}[i.Change]
		b.WriteString(visible(strings.TrimSpace(verb+" "+i.Kind+" "+i.ID)) + "\n")
		for _, line := range i.Lines {
			b.WriteString(block("    ", line, width))
		}
	}
	return b.String()
}

// whoCanText answers in sentences.
func whoCanText(w api.WhoCan, width int) string {
	var l lines
	l.field("key", w.KeyID)
	l.field("type", w.Type)
	l.field("state", w.State)
	if w.Type == "ROOT" {
		l.field("used", fmt.Sprintf("in administration sessions alone, which %s must authorise", people(w.Needed, "administrator")))
		l.field("by", list(w.Administrators))
	} else {
		l.field("can order", list(w.Orderers))
		l.field("can approve", list(w.Approvers))
		l.field("must approve", strconv.Itoa(w.Requirement))
	}
	for _, n := range w.Never {
		l.field("in vain", n.Orderer+": "+n.Why)
	}
	for _, same := range w.Persons {
		l.field("one person", strings.Join(same, ", "))
	}
	if len(w.Alone) == 0 {
		l.field("alone", "nobody could obtain a signature")
	}
	for _, a := range w.Alone {
		l.field("alone", list(a.Subjects)+": "+a.How)
	}
	return l.text(width)
}

func list(ids []string) string {
	if len(ids) == 0 {
		return "nobody"
	}
	return strings.Join(ids, ", ")
}

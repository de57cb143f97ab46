package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
)

func (p *program) adminSessionCommand() *cobra.Command {
	return p.group("session", "Open, authorise, see and close administration sessions",
		p.sessionOpenCommand(), p.sessionListCommand(), p.sessionShowCommand(), p.sessionAuthoriseCommand(),
		p.sessionWithdrawCommand(), p.sessionCloseCommand())
}

func (p *program) sessionOpenCommand() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use:   "open --description TEXT",
		Short: "Open an administration session for single changes",
		Long: "Open an administration session without a plan. Once enough administrators have authorised it, whoever authorised it\n" +
			"may change anything in it until it ends. Prefer `ks admin plan`: then the others see the changes before.",
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&description, "description", "", "what it is for, for the other administrators and the audit log")
	_ = cmd.MarkFlagRequired("description") // fails for a flag that is not there
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		return p.openSession(ctx, s, description, "")
	})
}

func (p *program) sessionListCommand() *cobra.Command {
	var state string
	var pages listFlags
	cmd := &cobra.Command{Use: "list", Short: "List administration sessions, the newest first", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&state, "state", "", "only those in `STATE`: inactive, active, closed or expired")
	pages.add(cmd)
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		var all api.Sessions
		all.Sessions, all.Next, err = collect(pages, func(page client.Page) ([]api.Session, string, error) {
			next, err := s.Sessions(ctx, client.SessionFilter{State: api.SessionState(state), Page: page})
			return next.Sessions, next.Next, err
		})
		if err != nil {
			return err
		}
		if p.global.json {
			return p.printJSON(all)
		}
		var rows [][]string
		for _, a := range all.Sessions {
			plan := "no"
			if a.Plan != "" {
				plan = "yes"
			}
			rows = append(rows, []string{a.ID, string(a.State), a.OpenedBy.Subject, fmt.Sprintf("%d of %d", len(a.Counted), a.Needed), plan, a.Description})
		}
		if len(rows) == 0 {
			p.notef("There is none.")
			return nil
		}
		if err := p.print(table([]string{"SESSION", "STATE", "OPENED BY", "AUTHORISED", "PLAN", "DESCRIPTION"}, rows, tableWidth(p.stdout))); err != nil {
			return err
		}
		if all.Next != "" {
			p.notef("There are more; --all prints all.")
		}
		return nil
	})
}

func (p *program) sessionShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show an administration session, with the difference that its plan makes", Args: cobra.ExactArgs(1)}
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		a, err := s.Session(ctx, args[0])
		if err != nil {
			return err
		}
		return p.printSession(ctx, s, a)
	})
}

func (p *program) sessionAuthoriseCommand() *cobra.Command {
	var digest string
	cmd := &cobra.Command{
		Use:   "authorise ID [--digest DIGEST]",
		Short: "Authorise an administration session, and so its plan",
		Long: "Authorise exactly the session that has this digest, which covers its plan. Without --digest the session is shown,\n" +
			"and you are asked; that needs a terminal. Whoever authorised a session may act in it while it is active.",
		Aliases: []string{"authorize"},
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&digest, "digest", "", "the `DIGEST` of the session that you looked at, all 64 digits")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		if digest != "" && !isDigest(digest) {
			return usage("", "--digest %s: a digest is 64 lower-case hexadecimal digits; the short form is for the eye only", digest)
		}
		_, interactive := terminal(p.stdin)
		if digest == "" && !interactive {
			return usage("look at it with `ks admin session show`, and name its digest with --digest", "what is authorised must be seen first, and this is no terminal to show it on")
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		a, err := s.Session(ctx, args[0])
		if err != nil {
			return err
		}
		text, err := p.describeSession(ctx, s, a, width(p.stderr))
		if err != nil {
			return err
		}
		if digest == "" {
			fmt.Fprint(p.stderr, text)
			if !p.ask("\nAuthorise the session with the digest " + shortDigest(a.Digest) + "? [y/N] ") {
				return errors.New("not authorised")
			}
			digest = a.Digest
		}
		a, err = s.AuthoriseSession(ctx, args[0], digest)
		if err != nil {
			return err
		}
		return p.printSession(ctx, s, a)
	})
}

func (p *program) sessionWithdrawCommand() *cobra.Command {
	return p.sessionVerb(&cobra.Command{
		Use: "withdraw ID", Short: "Withdraw your authorisation while a session is inactive", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, s session, id string) (api.Session, error) {
		return s.WithdrawAuthorisation(ctx, id)
	})
}

func (p *program) sessionCloseCommand() *cobra.Command {
	return p.sessionVerb(&cobra.Command{
		Use: "close ID", Short: "Close an administration session, for good", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, s session, id string) (api.Session, error) { return s.CloseSession(ctx, id) })
}

func (p *program) sessionVerb(cmd *cobra.Command, do func(context.Context, session, string) (api.Session, error)) *cobra.Command {
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		a, err := do(ctx, s, args[0])
		if err != nil {
			return err
		}
		return p.printSession(ctx, s, a)
	})
}

// printSession prints a session that the server answered, unless something in it is hidden.
func (p *program) printSession(ctx context.Context, s session, a api.Session) error {
	text, err := p.describeSession(ctx, s, a, width(p.stdout))
	if err != nil {
		return err
	}
	if p.global.json {
		return p.printJSON(a)
	}
	return p.print(text)
}

// describeSession writes everything that there is to know of a session, with all that its plan changes.
func (p *program) describeSession(ctx context.Context, s session, a api.Session, width int) (string, error) {
	computed, err := a.ComputeDigest()
	if err != nil {
		return "", err
	}
	if computed != a.Digest {
		return "", tampered(nil, "do not authorise it; tell your security people", "what the server shows of session %s has the digest %s, but the server says %s: something is hidden or changed", a.ID, computed, a.Digest)
	}
	var l lines
	l.field("session", a.ID)
	l.field("state", string(a.State))
	l.field("digest", a.Digest)
	l.field("short form", shortDigest(a.Digest))
	l.field("opened by", a.OpenedBy.Subject)
	l.field("description", a.Description)
	l.field("opened", date(a.Opened))
	if a.Activated != 0 {
		l.field("active since", date(a.Activated))
	}
	l.field("authorised", fmt.Sprintf("by %d of %d administrators", len(a.Counted), a.Needed))
	for _, by := range a.Authorisations {
		text := by.By + " at " + date(by.At)
		if by.Withdrawn != 0 {
			text += ", withdrawn at " + date(by.Withdrawn)
		}
		l.field("authorisation", text)
	}
	if a.Ended == nil {
		l.field("ends", date(a.Ends))
	} else {
		by := a.Ended.By
		if by == "" {
			by = "the server"
		}
		l.field("ended", date(a.Ended.At)+" by "+by)
		l.field("reason", a.Ended.Reason)
	}
	if a.Plan == "" {
		l.field("plan", "none: any change can be made in it")
		return l.text(width), nil
	}
	l.field("plan", a.Plan)
	items, err := s.WholeDifference(ctx, a.ID)
	if err != nil {
		return "", err
	}
	return l.text(width) + "\n" + differenceText(items, width), nil
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
)

func (p *program) approveCommand() *cobra.Command {
	var digest string
	cmd := &cobra.Command{
		Use:   "approve ID [--digest DIGEST]",
		Short: "Approve an operation",
		Long: "Approve exactly the operation that has this digest. Without --digest the operation is shown, and you are\n" +
			"asked; that needs a terminal. Compare the digest, or its short form, with what the pages of the server or\n" +
			"the orderer show.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&digest, "digest", "", "the `DIGEST` of the operation that you looked at, all 64 digits")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		if digest != "" && !isDigest(digest) {
			return usage("", "--digest %s: a digest is 64 lower-case hexadecimal digits; the short form is for the eye only", digest)
		}
		return p.approve(ctx, args[0], digest)
	})
}

func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

func (p *program) approve(ctx context.Context, id, digest string) error {
	_, interactive := terminal(p.stdin)
	if digest == "" && !interactive {
		return usage("look at it with `ks operation show`, and name its digest with --digest", "what is approved must be seen first, and this is no terminal to show it on")
	}
	s, err := p.connect()
	if err != nil {
		return err
	}
	o, err := s.Operation(ctx, id)
	if err != nil {
		return err
	}
	if err := checkDigest(o); err != nil {
		return err
	}
	if digest == "" {
		issuers, err := s.issuers(ctx, o)
		if err != nil {
			return err
		}
		fmt.Fprint(p.stderr, p.describe(o, issuers, width(p.stderr)))
		if !p.ask("\nApprove the operation with the digest " + shortDigest(o.Digest) + "? [y/N] ") {
			return errors.New("not approved")
		}
		digest = o.Digest
	}
	return p.printOperation(s.Approve(ctx, id, digest))
}

// ask asks a question on the terminal. Anything but a clear yes is a no.
func (p *program) ask(question string) bool {
	fmt.Fprint(p.stderr, question)
	line, _ := bufio.NewReader(p.stdin).ReadString('\n') // what was typed before an error counts as typed
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}

func (p *program) withdrawCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "withdraw ID",
		Short: "Withdraw your approval of an operation",
		Long:  "Withdraw your approval. This is possible until the first sign order under the operation is accepted.",
		Args:  cobra.ExactArgs(1),
	}
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		return p.printOperation(s.Withdraw(ctx, args[0]))
	})
}

func (p *program) rejectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reject ID --reason TEXT",
		Short: "Reject an operation, which ends it",
		Long:  "Say no to an operation. This is possible until the first sign order under it is accepted, and final.",
	}
	return p.endCommand(cmd, func(ctx context.Context, s session, id, reason string) (api.Operation, error) {
		return s.Reject(ctx, id, reason)
	})
}

func (p *program) revokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke ID --reason TEXT",
		Short: "Revoke an operation, which ends it",
		Long: "End an operation, also after signatures were made: no further one is made, and one that is just being\n" +
			"made is withheld. Final. Orderer, approvers and administrators can do it.",
	}
	return p.endCommand(cmd, func(ctx context.Context, s session, id, reason string) (api.Operation, error) {
		return s.Revoke(ctx, id, reason)
	})
}

func (p *program) endCommand(cmd *cobra.Command, end func(context.Context, session, string, string) (api.Operation, error)) *cobra.Command {
	var reason string
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the others and the audit log")
	_ = cmd.MarkFlagRequired("reason") // fails for a flag that is not there
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		o, err := end(ctx, s, args[0], reason)
		return p.printOperation(o, err)
	})
}

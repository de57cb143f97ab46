package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
)

func (p *program) certificateCommand() *cobra.Command {
	return p.group("certificate", "Issue, see, import and revoke the certificates of keys, and revocation lists",
		p.listCertificatesCommand(), p.showCertificateCommand(), p.chainCommand(), p.issueCommand(), p.requestCommand(), p.importCommand(),
		p.revokeCertificateCommand(), p.crlCommand(), p.makeCRLCommand())
}

func (p *program) listCertificatesCommand() *cobra.Command {
	var keyid string
	var pages listFlags
	cmd := &cobra.Command{Use: "list [--key KEYID]", Short: "List the certificates of the keys you may see, the oldest first", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&keyid, "key", "", "only those of `KEYID`")
	pages.add(cmd)
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		var all api.Certificates
		all.Certificates, all.Next, err = collect(pages, func(page client.Page) ([]api.Certificate, string, error) {
			next, err := s.Certificates(ctx, keyid, page)
			return next.Certificates, next.Next, err
		})
		if err != nil {
			return err
		}
		if p.global.json {
			return p.printJSON(all)
		}
		var rows [][]string
		for _, c := range all.Certificates {
			rows = append(rows, []string{c.ID, c.KeyID, issuerOf(c), stateOf(c), date(c.NotAfter)})
		}
		if len(rows) == 0 {
			p.notef("There is none.")
			return nil
		}
		if err := p.print(table([]string{"CERTIFICATE", "KEY", "ISSUER", "STATE", "VALID UNTIL"}, rows, tableWidth(p.stdout))); err != nil {
			return err
		}
		if all.Next != "" {
			p.notef("There are more; --all prints all.")
		}
		return nil
	})
}

func issuerOf(c api.Certificate) string {
	if c.Issuer == "" {
		return "elsewhere"
	}
	return c.Issuer
}

func stateOf(c api.Certificate) string {
	if c.Revoked != nil {
		return "revoked"
	}
	return c.State
}

// printCertificate prints a certificate that the server answered.
func (p *program) printCertificate(c api.Certificate, err error) error {
	if err != nil {
		return err
	}
	if p.global.json {
		return p.printJSON(c)
	}
	var l lines
	l.field("certificate", c.ID)
	l.field("key", c.KeyID)
	l.field("fingerprint", c.Fingerprint)
	l.field("issuer", issuerOf(c))
	l.field("serial", c.Serial)
	l.field("state", stateOf(c))
	l.field("valid from", date(c.NotBefore))
	l.field("until", date(c.NotAfter))
	if c.Session != "" {
		l.field("session", c.Session)
	}
	if c.Operation != "" {
		l.field("operation", c.Operation)
	}
	if c.Failure != "" {
		l.field("failure", c.Failure)
	}
	if r := c.Revoked; r != nil {
		l.field("revoked", fmt.Sprintf("%s by %s (%s)", date(r.At), r.By, r.Code))
		l.field("reason", r.Reason)
	}
	return p.print(l.text(width(p.stdout)))
}

func (p *program) showCertificateCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show a certificate", Args: cobra.ExactArgs(1)}
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		return p.printCertificate(s.CertificateByID(ctx, args[0]))
	})
}

// printFile prints what is for programs, or writes it to a file.
func (p *program) printFile(data []byte, output string, err error) error {
	switch {
	case err != nil:
		return err
	case output != "":
		return writeWhole(output, data, 0o644)
	}
	_, err = p.stdout.Write(data)
	return err
}

func (p *program) chainCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "chain KEYID [--output FILE]", Short: "Print the present certificate of a key and those above it, PEM",
		Example: "  ks certificate chain fw-prod --output fw-prod.pem", Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write it to `FILE`")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		chain, err := s.Certificate(ctx, args[0])
		return p.printFile(chain, output, err)
	})
}

func (p *program) issueCommand() *cobra.Command {
	var issuer, sessionID, operation, idempotencyKey string
	cmd := &cobra.Command{
		Use:   "issue KEYID --issuer KEYID (--session ID | --operation ID)",
		Short: "Issue the certificate of a key, also a new one in its time",
		Long: "Issue the certificate that the profile of the key says: by a ROOT key, in an active administration session; or the\n" +
			"certificate of an FW key by a CA key, under an approved operation, which takes one use. Repeating the latter gives\n" +
			"the same certificate; another --idempotency-key gives another one, for another use.",
		Example: "  ks certificate issue root --issuer root --session ID\n  ks certificate issue fw-prod --issuer ca-fw --operation ID",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&issuer, "issuer", "", "the `KEYID` that signs it; a ROOT key signs its own certificate itself")
	cmd.Flags().StringVar(&sessionID, "session", "", "the active administration session `ID`")
	cmd.Flags().StringVar(&operation, "operation", "", "the approved operation `ID`")
	cmd.Flags().StringVar(&idempotencyKey, "idempotency-key", "", "a `KEY` of your own for the certificate under the operation")
	_ = cmd.MarkFlagRequired("issuer") // fails for a flag that is not there
	cmd.MarkFlagsOneRequired("session", "operation")
	cmd.MarkFlagsMutuallyExclusive("session", "operation")
	cmd.MarkFlagsMutuallyExclusive("session", "idempotency-key")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		if sessionID != "" {
			return p.printCertificate(s.IssueCertificate(ctx, sessionID, api.NewCertificate{KeyID: args[0], Issuer: issuer}))
		}
		if idempotencyKey == "" {
			idempotencyKey = "certificate-of-" + args[0]
		}
		return p.printCertificate(s.OrderCertificate(ctx, operation, idempotencyKey, api.NewCertificateOrder{KeyID: issuer, For: args[0]}))
	})
}

func (p *program) requestCommand() *cobra.Command {
	var sessionID, output string
	cmd := &cobra.Command{
		Use: "request KEYID --session ID [--output FILE]", Short: "Print a certificate request of a key whose issuer is elsewhere, PEM",
		Long: "Have a key sign a certificate request (PKCS #10) in an active administration session. What comes back is imported with\n`ks certificate import`.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&sessionID, "session", "", "the active administration session `ID`")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write it to `FILE`")
	_ = cmd.MarkFlagRequired("session") // fails for a flag that is not there
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		request, err := s.RequestCertificate(ctx, sessionID, args[0])
		return p.printFile(request, output, err)
	})
}

func (p *program) importCommand() *cobra.Command {
	var sessionID, file string
	cmd := &cobra.Command{
		Use: "import KEYID -f FILE --session ID", Short: "Take over the certificate of a key that was issued elsewhere",
		Long: "Take over a certificate, after it was checked that it fits the key and that its chain is whole. The file is PEM: the\ncertificate, then its issuer's, and so on up to the self-signed one.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&sessionID, "session", "", "the active administration session `ID`")
	cmd.Flags().StringVarP(&file, "file", "f", "", "`FILE` with the certificate and those above it")
	_ = cmd.MarkFlagRequired("session") // fails for a flag that is not there
	_ = cmd.MarkFlagRequired("file")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		chain, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading the certificate: %w", err)
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		return p.printCertificate(s.ImportCertificate(ctx, sessionID, api.NewImport{KeyID: args[0], Chain: string(chain)}))
	})
}

// codeUsage is of the flag that says why a certificate is revoked.
const codeUsage = "`CODE` of RFC 5280: unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, " +
	"privilegeWithdrawn or aACompromise"

func (p *program) revokeCertificateCommand() *cobra.Command {
	var code, reason string
	cmd := &cobra.Command{
		Use:   "revoke ID --code CODE --reason TEXT",
		Short: "Revoke a certificate, for good",
		Long: "Revoke a certificate. Any administrator can, without a session. A CA key's revocation list is made anew within a second or\n" +
			"two, a ROOT key's in a session: see `ks certificate make-crl`.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&code, "code", "", codeUsage)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the others and the audit log")
	_ = cmd.MarkFlagRequired("code") // fails for a flag that is not there
	_ = cmd.MarkFlagRequired("reason")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		return p.printCertificate(s.RevokeCertificate(ctx, args[0], api.NewCertificateRevocation{Code: code, Reason: reason}))
	})
}

func (p *program) crlCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "crl KEYID [--output FILE]", Short: "Print the newest revocation list of a key, DER", Args: cobra.ExactArgs(1)}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write it to `FILE`")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		list, err := s.RevocationList(ctx, args[0])
		return p.printFile(list, output, err)
	})
}

func (p *program) makeCRLCommand() *cobra.Command {
	var sessionID string
	cmd := &cobra.Command{Use: "make-crl KEYID --session ID", Short: "Have a ROOT key sign its next revocation list", Args: cobra.ExactArgs(1)}
	cmd.Flags().StringVar(&sessionID, "session", "", "the active administration session `ID`")
	_ = cmd.MarkFlagRequired("session") // fails for a flag that is not there
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		list, err := s.MakeRevocationList(ctx, sessionID, args[0])
		switch {
		case err != nil:
			return err
		case p.global.json:
			return p.printJSON(list)
		}
		var l lines
		l.field("revocation list", fmt.Sprintf("of %s, number %d", list.KeyID, list.Number))
		l.field("certificates", fmt.Sprint(list.Entries))
		l.field("next update", date(list.NextUpdate))
		return p.print(l.text(width(p.stdout)))
	})
}

package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/lotreport"
)

func (p *program) lotCommand() *cobra.Command {
	var list, report string
	cmd := &cobra.Command{
		Use:   "lot OPERATION [--list FILE] [--report FILE]",
		Short: "Show what became of the device certificates of an operation",
		Long: "Show what became of the device certificates of an operation. --list writes a line for each certificate, CSV. Once the\n" +
			"operation has ended, --report writes the report on it, signed with the key of the audit log; the list is then the one\n" +
			"that the report has the digest of. `ks device verify` checks both without a server.",
		Example: "  ks device lot 0192f0c1-… --list lot-7.csv --report lot-7.json",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&list, "list", "", "write the certificates to `FILE`, CSV (RFC 4180)")
	cmd.Flags().StringVar(&report, "report", "", "write the signed report to `FILE`, JSON (RFC 7515)")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		if err := p.lotFiles(ctx, s, args[0], list, report); err != nil {
			return err
		}
		lots, err := s.Lots(ctx, args[0])
		if err != nil {
			return err
		}
		if p.global.json {
			return p.printJSON(lots)
		}
		if len(lots.Lots) == 0 {
			p.notef("The operation is for no key that issues device certificates.")
			return nil
		}
		return p.printLots(lots)
	})
}

func (p *program) printLots(lots api.Lots) error {
	var l lines
	for _, lot := range lots.Lots {
		l.field("key", lot.KeyID)
		l.field("operation", lot.State)
		l.field("issued", fmt.Sprintf("%d of %d, %d left", lot.Issued, lot.MaxUsageCount, lot.Remaining))
		l.field("per hour", fmt.Sprint(lot.PerHour))
		if lot.First != nil && lot.Last != nil {
			l.field("first", lot.First.Device+", "+date(lot.First.Settled))
			l.field("last", lot.Last.Device+", "+date(lot.Last.Settled))
		}
		l.field("revoked", fmt.Sprint(lot.Revoked))
		l.field("refused", fmt.Sprint(lot.Refused))
	}
	return p.print(l.text(width(p.stdout)))
}

// lotFiles writes the list and the report, those of the two that have a name, and checks one against the other.
func (p *program) lotFiles(ctx context.Context, s session, operation, list, report string) error {
	var signed []byte
	var r lotreport.Report
	if report != "" {
		v, _, err := p.logOf(ctx, s)
		if err != nil {
			return err
		}
		if signed, err = s.LotReport(ctx, operation); err != nil {
			return err
		}
		if r, err = readReport(signed, v, "the report"); err != nil {
			return err
		}
		if string(r.Operation) != operation {
			return tampered(nil, "tell your security people", "the report that the server gives is on operation %s", r.Operation)
		}
		if _, err := p.witness(ctx, s, r.Checkpoint); err != nil {
			return err
		}
	}
	if list != "" {
		if err := fillWhole(list, 0o644, func(w io.Writer) error { return s.LotCertificates(ctx, operation, r.At, w) }); err != nil {
			return err
		}
	}
	if report == "" {
		return nil
	}
	if list != "" {
		if err := checkList(r, list); err != nil {
			return err
		}
	}
	return writeWhole(report, append(signed, '\n'), 0o644)
}

func readReport(signed []byte, v audit.Verifier, name string) (lotreport.Report, error) {
	r, err := lotreport.Verify(signed, v)
	if err != nil {
		return r, tampered(err, "get it again, with `ks device lot OPERATION --report FILE`; if that is no better, tell your security people",
			"%s is not what the server has signed: %v", name, err)
	}
	return r, nil
}

func checkList(r lotreport.Report, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := r.CheckCertificates(f); err != nil {
		return tampered(err, "get both again, in one command: ks device lot "+string(r.Operation)+" --list FILE --report FILE", "%s is not the list that the report is about: %v", name, err)
	}
	return nil
}

func (p *program) verifyLotCommand() *cobra.Command {
	var list, logKey string
	cmd := &cobra.Command{
		Use:   "verify REPORT [--list FILE]",
		Short: "Check the signed report on the device certificates of an operation, without a server",
		Long: "Check that a report was signed with the key of the audit log, and that the list is the one it was made of. No server\n" +
			"is asked. The log key is the one pinned for the server of the profile, or of --server, unless --log-key gives it.",
		Example: "  ks device verify lot-7.json --list lot-7.csv",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&list, "list", "", "the certificates as `FILE`, CSV")
	cmd.Flags().StringVar(&logKey, "log-key", "", "the log's verifier `KEY`, as its administrators published it")
	return p.command(cmd, func(_ context.Context, args []string) error { return p.verifyLot(args[0], list, logKey) })
}

func (p *program) verifyLot(name, list, logKey string) error {
	if logKey == "" {
		var err error
		if logKey, err = p.pinnedLogKey(); err != nil {
			return err
		}
	}
	v, err := audit.NewVerifier(logKey)
	if err != nil {
		return usage("it looks like NAME+12345678+AQ…", "%v", err)
	}
	signed, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	r, err := readReport(signed, v, name)
	if err != nil {
		return err
	}
	if list != "" {
		if err := checkList(r, list); err != nil {
			return err
		}
	}
	if p.global.json {
		return p.printJSON(r)
	}
	return p.printReport(r, list != "")
}

func (p *program) printReport(r lotreport.Report, listed bool) error {
	var l lines
	l.field("server", r.Server)
	l.field("operation", string(r.Operation)+", "+string(r.State)+" "+date(r.Ended))
	l.field("ordered by", string(r.Orderer))
	for _, a := range r.Approvals {
		l.field("approved by", string(a.By)+", "+date(a.At))
	}
	for _, lot := range r.Lots {
		l.field("key", string(lot.Key))
		l.field("issued", fmt.Sprintf("%d of %d", lot.Issued, lot.MaxUses))
		if lot.First != nil && lot.Last != nil {
			l.field("first", lot.First.Device+", "+date(lot.First.Issued))
			l.field("last", lot.Last.Device+", "+date(lot.Last.Issued))
		}
		l.field("revoked", fmt.Sprint(lot.Revoked))
	}
	l.field("signature", "verified with log key of "+r.Server)
	if listed {
		l.field("list", fmt.Sprintf("its %d certificates are those of the report", r.Certificates.Count))
	}
	return p.print(l.text(width(p.stdout)))
}

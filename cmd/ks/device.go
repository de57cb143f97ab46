package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
)

func (p *program) deviceCommand() *cobra.Command {
	return p.group("device", "Get, see and revoke the certificates of devices",
		p.issueDeviceCommand(), p.batchCommand(), p.listDevicesCommand(), p.showDeviceCommand(), p.revokeDeviceCommand(), p.lotCommand(), p.verifyLotCommand())
}

func (p *program) issueDeviceCommand() *cobra.Command {
	var operation, key, output string
	cmd := &cobra.Command{
		Use:   "issue CSR --operation ID --key KEYID [--output FILE]",
		Short: "Get the certificate of one device",
		Long: "Get the certificate of one device from its certificate request (PKCS #10, PEM or DER), under an approved operation\n" +
			"on a CA key. It takes one use. The same command again gives the same certificate and takes no second use.",
		Example: "  ks device issue meter.csr --operation 0192f0c1-… --key ca-devices --output meter.pem",
		Args:    cobra.ExactArgs(1),
	}
	deviceFlags(cmd, &operation, &key)
	cmd.Flags().StringVarP(&output, "output", "o", "", "write the certificate and those above it to `FILE`, PEM")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		r, err := readRequest(args[0], args[0])
		if err != nil {
			return err
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		c, err := s.IssueDeviceCertificate(ctx, r.idempotencyKey(), api.NewDeviceCertificate{Operation: operation, KeyID: key, CSR: r.csr()})
		if err != nil {
			return err
		}
		alarm := p.keep(ctx, s, api.SignOrder{Checkpoint: c.Checkpoint})
		if output != "" {
			if err := writeNew(output, []byte(c.Chain), false); err != nil {
				return err
			}
		} else if err := p.printDevice(c, nil); err != nil {
			return err
		}
		return alarm
	})
}

func deviceFlags(cmd *cobra.Command, operation, key *string) {
	cmd.Flags().StringVar(operation, "operation", "", "`ID` of the approved operation")
	cmd.Flags().StringVar(key, "key", "", "`KEYID` of the CA key")
	_ = cmd.MarkFlagRequired("operation") // fails for a flag that is not there
	_ = cmd.MarkFlagRequired("key")
}

func (p *program) listDevicesCommand() *cobra.Command {
	var f client.DeviceFilter
	var pages listFlags
	cmd := &cobra.Command{
		Use:   "list (--operation ID | --key KEYID (--device ID | --serial HEX))",
		Short: "List the certificates of an operation, of a device, or with a serial number",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVar(&f.Operation, "operation", "", "those of the operation `ID`")
	cmd.Flags().StringVar(&f.KeyID, "key", "", "`KEYID` of the CA key")
	cmd.Flags().StringVar(&f.Device, "device", "", "those for the device `ID`")
	cmd.Flags().StringVar(&f.Serial, "serial", "", "the one with the serial number `HEX`")
	cmd.MarkFlagsOneRequired("operation", "key")
	cmd.MarkFlagsMutuallyExclusive("operation", "key")
	cmd.MarkFlagsMutuallyExclusive("device", "serial")
	pages.add(cmd)
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		var all api.DeviceCertificates
		all.Certificates, all.Next, err = collect(pages, func(page client.Page) ([]api.DeviceCertificate, string, error) {
			next, err := s.DeviceCertificates(ctx, f, page)
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
			rows = append(rows, []string{c.ID, c.Device, c.Serial, deviceState(c), date(c.NotBefore)})
		}
		if len(rows) == 0 {
			p.notef("There is none.")
			return nil
		}
		if err := p.print(table([]string{"CERTIFICATE", "DEVICE", "SERIAL", "STATE", "VALID FROM"}, rows, tableWidth(p.stdout))); err != nil {
			return err
		}
		if all.Next != "" {
			p.notef("There are more; --all prints all.")
		}
		return nil
	})
}

func deviceState(c api.DeviceCertificate) string {
	if c.Revoked != nil {
		return "revoked"
	}
	return c.State
}

func (p *program) showDeviceCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show the certificate of a device", Args: cobra.ExactArgs(1)}
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		return p.printDevice(s.DeviceCertificate(ctx, args[0]))
	})
}

// printDevice prints a device certificate that the server answered.
func (p *program) printDevice(c api.DeviceCertificate, err error) error {
	if err != nil {
		return err
	}
	if p.global.json {
		return p.printJSON(c)
	}
	var l lines
	l.field("certificate", c.ID)
	l.field("device", c.Device)
	l.field("key", c.KeyID)
	l.field("operation", c.Operation)
	l.field("serial", c.Serial)
	l.field("fingerprint", c.Fingerprint)
	l.field("request", c.Request)
	l.field("state", deviceState(c))
	l.field("valid from", date(c.NotBefore))
	l.field("until", date(c.NotAfter))
	if c.Failure != "" {
		l.field("failure", c.Failure)
	}
	if r := c.Revoked; r != nil {
		l.field("revoked", fmt.Sprintf("%s by %s (%s)", date(r.At), r.By, r.Code))
		l.field("reason", r.Reason)
	}
	return p.print(l.text(width(p.stdout)))
}

func (p *program) revokeDeviceCommand() *cobra.Command {
	var operation, code, reason string
	cmd := &cobra.Command{
		Use:   "revoke (ID | --operation ID) --code CODE --reason TEXT",
		Short: "Revoke the certificate of a device, or all of an operation, for good",
		Long: "Revoke the certificate of a device, or all of an operation. Any administrator can, without a session. The CA key's\n" +
			"revocation list is made anew within a second or two. The operation goes on: see `ks operation revoke`.",
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&operation, "operation", "", "all certificates of the operation `ID`")
	cmd.Flags().StringVar(&code, "code", "", codeUsage)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the others and the audit log")
	_ = cmd.MarkFlagRequired("code") // fails for a flag that is not there
	_ = cmd.MarkFlagRequired("reason")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		if (len(args) == 1) == (operation != "") {
			return usage("", "name either a certificate or, with --operation, an operation")
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		revocation := api.NewCertificateRevocation{Code: code, Reason: reason}
		if operation == "" {
			return p.printDevice(s.RevokeDeviceCertificate(ctx, args[0], revocation))
		}
		n, err := s.RevokeDeviceCertificates(ctx, operation, revocation)
		if err != nil {
			return err
		}
		if p.global.json {
			return p.printJSON(api.RevokedCount{Revoked: n})
		}
		var l lines
		l.field("revoked", fmt.Sprint(n))
		return p.print(l.text(width(p.stdout)))
	})
}

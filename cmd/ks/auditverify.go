package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/verify"
)

func (p *program) auditVerifyCommand() *cobra.Command {
	var logKey string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check an export of the audit log, without a server",
		Long: "Check every entry of an export and its checkpoint, that the log begins with that of every checkpoint\n" +
			"remembered here (`ks help files`), and that all that it tells of was allowed: every signature under an\n" +
			"approved operation, no use too many. Then remember its checkpoint too. No server is asked. The log key is\n" +
			"the one pinned for the server of the profile, or of --server, unless --log-key gives it.\n\n" +
			"What is found is named with the first entry that is bad, and the exit code is 6.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&logKey, "log-key", "", "the log's verifier `KEY`, as its administrators published it")
	return p.command(cmd, func(_ context.Context, args []string) error { return p.auditVerify(args[0], logKey) })
}

// auditOutput is what --json prints of a good export.
type auditOutput struct {
	Origin     string               `json:"origin"`
	Size       int64                `json:"size"`
	Root       string               `json:"root"`  // base64, as in the checkpoint
	First      int64                `json:"first"` // time of the first entry, ms since 1970 UTC
	Last       int64                `json:"last"`  // time of the last entry
	Operations int                  `json:"operations"`
	SignOrders int                  `json:"signorders"`
	Signatures int                  `json:"signatures"`
	Remembered int                  `json:"remembered"` // checkpoints that the log was compared with
	Counts     map[audit.Type]int64 `json:"counts"`
}

func (p *program) auditVerify(name, logKey string) error {
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
	m, err := p.recall(v, logKey)
	if err != nil {
		return err
	}
	report, signed, err := p.checkExport(name, v, m.checkpoints())
	if err != nil {
		return err
	}
	if err := p.rememberExport(signed, v, logKey, m.checkpoints()); err != nil {
		return err
	}
	out := auditOutput{
		Origin: report.Checkpoint.Origin, Size: report.Checkpoint.Size, Root: report.Checkpoint.Root.String(),
		First: report.First, Last: report.Last, Operations: report.Operations, SignOrders: report.SignOrders, Signatures: report.Signatures, Remembered: len(m.Checkpoints), Counts: report.Counts,
	}
	if p.global.json {
		return p.printJSON(out)
	}
	return p.print(describeAudit(out).text(width(p.stdout)))
}

// pinnedLogKey returns the log key of the server that is meant.
func (p *program) pinnedLogKey() (string, error) {
	f, _, err := p.loadProfile()
	if err != nil {
		return "", err
	}
	const hint = "give the log key with --log-key, or run `ks login` to pin that of the server"
	server, err := p.serverOf(f)
	if err != nil {
		return "", usage(hint, "no log key is known: profile %q is not signed in", p.profileName())
	}
	known, there, err := p.pinned(server)
	if err == nil && !there {
		err = usage(hint, "no log key is pinned for %s", server)
	}
	return known.LogKey, err
}

// checkExport checks an export against what is remembered of its log, and returns its signed checkpoint too.
func (p *program) checkExport(name string, v audit.Verifier, against []audit.Checkpoint) (verify.Report, string, error) {
	f, err := os.Open(name)
	if err != nil {
		return verify.Report{}, "", err
	}
	defer f.Close()
	options := verify.Options{Remembered: against}
	if bar := p.progress(-1, "checking entries"); bar != nil {
		defer bar.Close()
		options.Progress = func(entries int64) { _ = bar.Set64(entries) } // a bar that cannot be drawn is no harm
	}
	end := tail{[]byte("\n")} // before an empty log there is no line to end
	report, err := verify.Export(io.TeeReader(f, &end), v, options)
	if bad := (*audit.Tampered)(nil); errors.As(err, &bad) {
		return report, "", tampered(err, "if this is an old export, make a new one and check that; else tell your security people, and keep the export and the files that `ks help files` names: they are evidence",
			"%s is not the audit log %s as it was: %v", name, v.Name(), bad)
	}
	if violation := (*verify.Violation)(nil); errors.As(err, &violation) {
		return report, "", tampered(err, "tell your security people, and keep the export: it is evidence of what the server did",
			"%s is the audit log %s, but it tells of what may not be: %v", name, v.Name(), violation)
	}
	return report, end.checkpoint(), err
}

// tail keeps the end of what is written to it, enough to hold the checkpoint of an export.
type tail struct{ bytes []byte }

func (t *tail) Write(b []byte) (int, error) {
	const most = audit.MaxCheckpoint + len("\n\n")
	t.bytes = append(t.bytes, b...)
	if len(t.bytes) > most {
		t.bytes = append(t.bytes[:0], t.bytes[len(t.bytes)-most:]...)
	}
	return len(b), nil
}

// checkpoint returns what follows the empty line. No entry is empty, so that it is the first one.
func (t *tail) checkpoint() string {
	_, after, _ := strings.Cut(string(t.bytes), "\n\n")
	return after
}

// rememberExport remembers the checkpoint of an export that was found good. Its log begins with that of
// everything in against, so that these are linked.
func (p *program) rememberExport(signed string, v audit.Verifier, logKey string, against []audit.Checkpoint) error {
	c, err := audit.ParseCheckpoint([]byte(signed), v)
	if err != nil {
		return err
	}
	_, err = p.updateMemory(v, logKey, func(m *memory) {
		m.add(signed, c)
		known := append(against, c)
		for i := 1; i < len(known); i++ {
			m.link(known[i-1], known[i])
		}
		m.trim()
	})
	return err
}

func describeAudit(out auditOutput) *lines {
	var l lines
	l.field("verified", "every entry is in its place, the checkpoint covers them all, and all was allowed")
	l.field("log", out.Origin)
	l.field("entries", strconv.FormatInt(out.Size, 10))
	l.field("root", out.Root)
	if out.Size > 0 {
		l.field("first", date(out.First))
		l.field("last", date(out.Last))
	}
	l.field("operations", strconv.Itoa(out.Operations))
	l.field("signatures", fmt.Sprintf("%d, of %d sign orders", out.Signatures, out.SignOrders))
	switch out.Remembered {
	case 0:
		l.field("compared", "with nothing: no checkpoint of this log was remembered here before")
	case 1:
		l.field("compared", "with 1 remembered checkpoint: the log begins with its log")
	default:
		l.field("compared", fmt.Sprintf("with %d remembered checkpoints: the log begins with that of each", out.Remembered))
	}
	for _, t := range slices.Sorted(maps.Keys(out.Counts)) {
		l.field("events", fmt.Sprintf("%d %s", out.Counts[t], t))
	}
	return &l
}

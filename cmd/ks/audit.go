package main

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/internal/audit"
)

func (p *program) auditCommand() *cobra.Command {
	return p.group("audit", "Read the audit log and check that nobody has changed it",
		p.eventsCommand(), p.checkpointCommand(), p.exportCommand(), p.auditVerifyCommand())
}

func (p *program) eventsCommand() *cobra.Command {
	var filter client.EventFilter
	var pages listFlags
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List audit events, the oldest first",
		Example: "  ks audit list --operation 0192f0c1-… --all",
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&filter.Type, "type", "", "only events of `TYPE`, such as order-signed")
	f.StringVar(&filter.Operation, "operation", "", "only events of the operation `ID`")
	f.StringVar(&filter.Subject, "subject", "", "only what `SUBJECT` did")
	f.StringVar(&filter.KeyID, "key", "", "only events of `KEYID`")
	f.StringVar(&filter.Session, "session", "", "only events of the administration session `ID`")
	pages.add(cmd)
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		if filter.Type != "" && !slices.Contains(audit.Types(), audit.Type(filter.Type)) {
			return usage(knownTypes(), "there are no events of the type %q", filter.Type)
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		var all api.Events
		all.Events, all.Next, err = collect(pages, func(page client.Page) ([]jsontext.Value, string, error) {
			filter.Page = page
			next, err := s.Events(ctx, filter)
			return next.Events, next.Next, err
		})
		if err != nil {
			return err
		}
		return p.printEvents(all)
	})
}

func knownTypes() string {
	var names []string
	for _, t := range audit.Types() {
		names = append(names, string(t))
	}
	return "the types are " + strings.Join(names, ", ")
}

func (p *program) printEvents(all api.Events) error {
	if p.global.json {
		return p.printJSON(all)
	}
	var rows [][]string
	for _, leaf := range all.Events {
		var e audit.Event
		if err := json.Unmarshal(leaf, &e); err != nil {
			return fmt.Errorf("reading an audit event: %w", err)
		}
		who := "the server"
		if e.Actor != nil {
			who = string(e.Actor.Subject)
		}
		rows = append(rows, []string{strconv.FormatInt(e.Index, 10), date(e.Time), string(e.Type), who, about(e)})
	}
	if len(rows) == 0 {
		p.notef("There is none.")
		return nil
	}
	if err := p.print(table([]string{"INDEX", "TIME", "EVENT", "WHO", "WHAT"}, rows, tableWidth(p.stdout))); err != nil {
		return err
	}
	if all.Next != "" {
		p.notef("There are more; --all prints all.")
	}
	return nil
}

// about says in a few words what an event is about. Words of people come last.
func about(e audit.Event) string {
	var text string
	add := func(word string) {
		if word != "" {
			if text != "" {
				text += " "
			}
			text += word
		}
	}
	add(string(e.Operation))
	add(string(e.Key))
	if e.Use != 0 {
		add(fmt.Sprintf("use %d of %d", e.Use, e.Of))
	}
	if e.Configuration != nil {
		add(string(e.Configuration.Kind) + " " + e.Configuration.ID)
	}
	add(string(e.Refusal))
	add(e.Reason)
	return text
}

// checkpointOutput is what --json prints of a checkpoint.
type checkpointOutput struct {
	Origin     string `json:"origin"`
	Size       int64  `json:"size"`
	Root       string `json:"root"` // base64, as in the note
	Checkpoint string `json:"checkpoint"`
}

func (p *program) checkpointCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Fetch the newest checkpoint of the audit log and check it against those before",
		Long: "Fetch the newest checkpoint, verify it with the log key, have the server prove that its log still begins\n" +
			"with the log of every checkpoint remembered here, and remember it (`ks help files`).",
		Example: "  ks audit checkpoint --output newest.checkpoint   # for keyserver verify --checkpoint",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write the signed checkpoint to `FILE` too, to be kept elsewhere")
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		signed, err := s.Checkpoint(ctx)
		if err != nil {
			return err
		}
		c, err := p.witness(ctx, s, signed)
		if err != nil {
			return err
		}
		if output != "" {
			if err := os.WriteFile(output, []byte(signed), 0o644); err != nil {
				return fmt.Errorf("keeping the checkpoint: %w", err)
			}
		}
		if p.global.json {
			return p.printJSON(checkpointOutput{c.Origin, c.Size, c.Root.String(), signed})
		}
		var l lines
		l.field("log", c.Origin)
		l.field("entries", strconv.FormatInt(c.Size, 10))
		l.field("root", c.Root.String())
		l.block("checkpoint", signed)
		l.field("checked", "the log begins with that of every checkpoint remembered here")
		return p.print(l.text(width(p.stdout)))
	})
}

func (p *program) exportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "export [--output FILE]",
		Short:   "Export the whole audit log with its checkpoint",
		Long:    "Export the audit log: one entry per line, an empty line, and the checkpoint. `ks audit verify` checks it.",
		Example: "  ks audit export --output audit.log && ks audit verify audit.log",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to `FILE`, not to the standard output")
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		if _, is := terminal(p.stdout); is && output == "" {
			return usage("name a file with --output", "an export is not made to be read on a terminal")
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		if output == "" {
			return s.Export(ctx, p.stdout)
		}
		return p.exportTo(ctx, s, output)
	})
}

// exportTo writes the export to a file, which is there completely or not at all.
func (p *program) exportTo(ctx context.Context, s session, name string) error {
	if err := fillWhole(name, 0o600, func(w io.Writer) error { return s.Export(ctx, w) }); err != nil {
		return err
	}
	p.notef("Exported to %s. Check it with: ks audit verify %s", visible(name), visible(quote(name)))
	return nil
}

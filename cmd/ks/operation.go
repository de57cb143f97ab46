package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
)

func (p *program) operationCommand() *cobra.Command {
	cmd := p.group("operation", "Ask for operations, see them, approve and end them",
		p.createCommand(), p.listCommand(), p.showCommand(), p.waitCommand(),
		p.approveCommand(), p.withdrawCommand(), p.rejectCommand(), p.revokeCommand())
	cmd.Aliases = []string{"op"}
	return cmd
}

// checkDigest refuses an operation whose digest is not that of what is shown of it.
func checkDigest(o api.Operation) error {
	computed, err := o.ComputeDigest()
	if err != nil {
		return err
	}
	if computed != o.Digest {
		return tampered(nil, "do not approve it; tell your security people", "what the server shows of operation %s has the digest %s, but the server says %s: something is hidden or changed", o.ID, computed, o.Digest)
	}
	return nil
}

// printOperation prints an operation that the server answered, unless something in it is hidden.
func (p *program) printOperation(o api.Operation, err error) error {
	if err != nil {
		return err
	}
	if err := checkDigest(o); err != nil {
		return err
	}
	if p.global.json {
		return p.printJSON(o)
	}
	return p.print(p.describe(o, nil, width(p.stdout)))
}

// issuers are the keys of an operation that issue device certificates, as they are now. Keys that do not exist
// for the caller are left out.
func (s session) issuers(ctx context.Context, o api.Operation) (issuers []api.Key, err error) {
	for _, k := range o.Keys {
		key, err := s.Key(ctx, k.KeyID)
		if problem, is := errors.AsType[*api.Problem](err); is && problem.Kind() == api.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		if key.Devices != nil {
			issuers = append(issuers, key)
		}
	}
	return issuers, nil
}

// describe writes everything that there is to know of an operation. What people wrote stands at the end of
// its line, where nothing of ours follows.
func (p *program) describe(o api.Operation, issuers []api.Key, width int) string {
	var l lines
	l.field("operation", o.ID)
	l.field("state", string(o.State))
	l.field("digest", o.Digest)
	l.field("short form", shortDigest(o.Digest))
	l.field("orderer", o.Orderer.Subject)
	l.field("orderer's id", o.Orderer.Sub)
	l.field("at issuer", o.Orderer.Issuer)
	if o.Behind != "" {
		l.field("behind it", o.Behind)
	}
	if len(o.Clients) > 0 {
		l.field("clients", strings.Join(o.Clients, ", "))
	}
	for _, k := range o.Keys {
		l.field("key", describeKey(k))
	}
	for _, k := range issuers {
		describeDevices(&l, k.KeyID+", as it is now: ", *k.Devices)
	}
	l.field("description", o.Description)
	l.block("context", o.Context)
	for _, a := range o.Artifacts {
		l.field("artifact", fmt.Sprintf("%d bytes, %s", a.Size, a.Name))
		l.field("its digest", a.Hash+" "+a.Digest)
	}
	for _, c := range o.Claims {
		if c.Present {
			l.field("claim", c.Name+" = "+c.Value)
		} else {
			l.field("claim", c.Name+" is absent")
		}
	}
	l.field("created", date(o.Created))
	l.field("expires", date(o.Expires)+p.until(o))
	describeProgress(&l, o)
	return l.text(width)
}

func describeKey(k api.OperationKey) string {
	approved := fmt.Sprintf("%d approvals, %d needed", len(k.ApprovedBy), k.Needed)
	if k.Needed < 0 {
		approved = "its requirement cannot be met any more"
	}
	return fmt.Sprintf("%s, %d of %d uses taken, %s", k.KeyID, k.Taken, k.MaxUsageCount, approved)
}

func describeProgress(l *lines, o api.Operation) {
	for _, a := range o.Approvals {
		text := fmt.Sprintf("%s at %s, for %s", a.By, date(a.At), strings.Join(a.Covers, ", "))
		if a.Withdrawn != 0 {
			text += ", withdrawn at " + date(a.Withdrawn)
		}
		l.field("approval", text)
	}
	for _, obstacle := range o.Obstacles {
		l.field("obstacle", obstacle)
	}
	if o.Ended != nil {
		by := o.Ended.By
		if by == "" {
			by = "the server"
		}
		l.field("ended", date(o.Ended.At)+" by "+by)
		l.field("reason", o.Ended.Reason)
	}
	if len(o.CountsFor) > 0 && !o.State.Final() {
		l.field("you", "your approval counts for "+strings.Join(o.CountsFor, ", "))
	}
}

// until says how long an open operation is still valid.
func (p *program) until(o api.Operation) string {
	if o.State.Final() {
		return ""
	}
	left := time.UnixMilli(o.Expires).Sub(p.now())
	if left <= 0 {
		return ""
	}
	return " (in " + span(left) + ")"
}

func (p *program) showCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show an operation", Args: cobra.ExactArgs(1)}
	return p.command(cmd, func(ctx context.Context, args []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		o, err := s.Operation(ctx, args[0])
		if err != nil || p.global.json {
			return p.printOperation(o, err)
		}
		if err := checkDigest(o); err != nil {
			return err
		}
		issuers, err := s.issuers(ctx, o)
		if err != nil {
			return err
		}
		return p.print(p.describe(o, issuers, width(p.stdout)))
	})
}

// listFlags are those of every list.
type listFlags struct {
	limit int
	all   bool
}

func (f *listFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.limit, "limit", api.DefaultPage, "print at most `N`")
	cmd.Flags().BoolVar(&f.all, "all", false, "print all")
	cmd.MarkFlagsMutuallyExclusive("limit", "all")
}

// collect asks for page after page until there is enough.
func collect[T any](f listFlags, fetch func(client.Page) ([]T, string, error)) (all []T, next string, err error) {
	if f.limit < 1 {
		return nil, "", usage("", "--limit must be at least 1")
	}
	for {
		limit := api.MaxPage
		if !f.all {
			limit = min(limit, f.limit-len(all))
		}
		var page []T
		page, next, err = fetch(client.Page{Limit: limit, Cursor: next})
		all = append(all, page...)
		if err != nil || next == "" || !f.all && len(all) >= f.limit {
			return all, next, err
		}
	}
}

func (p *program) listCommand() *cobra.Command {
	var filter client.OperationFilter
	var state, from, until string
	var pages listFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List operations, the newest first",
		Long: "List operations, the newest first, those that fit all of what is said. A TIME is a day, in UTC, such as\n" +
			"2026-11-26, which --until includes; or an instant, such as 2026-11-26T14:30:00Z, which it does not.",
		Example: "  ks operation list --queue\n  ks operation list --text 'release 4.2' --from 2026-11-01 --until 2026-11-30",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&filter.Queue, "queue", false, "only those that wait for your approval")
	cmd.Flags().StringVar(&state, "state", "", "only those in `STATE`")
	cmd.Flags().StringVar(&filter.KeyID, "key", "", "only those that name `KEYID`")
	cmd.Flags().StringVar(&filter.Orderer, "orderer", "", "only those of `SUBJECT`")
	cmd.Flags().StringVar(&filter.Text, "text", "", "only those with `TEXT` in their description, or at the beginning of their id")
	cmd.Flags().StringVar(&from, "from", "", "only those created at `TIME` or after")
	cmd.Flags().StringVar(&until, "until", "", "only those created before the end of `TIME`")
	pages.add(cmd)
	return p.command(cmd, func(ctx context.Context, _ []string) (err error) {
		filter.State = api.State(state)
		if filter.From, err = instant(from, 0); err != nil {
			return err
		}
		if filter.Until, err = instant(until, 1); err != nil {
			return err
		}
		return p.listOperations(ctx, filter, pages)
	})
}

// instant reads a time of a filter: an instant, or a day in UTC and so many days more. An empty one is the zero time.
func instant(text string, more int) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		if at, err = time.Parse(time.DateOnly, text); err != nil {
			return time.Time{}, usage("write it as 2026-11-26 or 2026-11-26T14:30:00Z", "%q is no time", text)
		}
		at = at.AddDate(0, 0, more)
	}
	if at.UnixMilli() < 0 {
		return time.Time{}, usage("name a later one", "%s is before 1970", text)
	}
	return at, nil
}

func (p *program) listOperations(ctx context.Context, filter client.OperationFilter, pages listFlags) error {
	s, err := p.connect()
	if err != nil {
		return err
	}
	var all api.Operations
	all.Operations, all.Next, err = collect(pages, func(page client.Page) ([]api.Operation, string, error) {
		filter.Page = page
		next, err := s.Operations(ctx, filter)
		return next.Operations, next.Next, err
	})
	if err != nil {
		return err
	}
	if p.global.json {
		return p.printJSON(all)
	}
	var rows [][]string
	for _, o := range all.Operations {
		var keys []string
		for _, k := range o.Keys {
			keys = append(keys, k.KeyID)
		}
		rows = append(rows, []string{o.ID, string(o.State), o.Orderer.Subject, cell(strings.Join(keys, ","), 24), o.Description})
	}
	if len(rows) == 0 {
		p.notef("There is none.")
		return nil
	}
	if err := p.print(table([]string{"OPERATION", "STATE", "ORDERER", "KEYS", "DESCRIPTION"}, rows, tableWidth(p.stdout))); err != nil {
		return err
	}
	if all.Next != "" {
		p.notef("There are more; --all prints all.")
	}
	return nil
}

func (p *program) waitCommand() *cobra.Command {
	var until string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait ID",
		Short: "Wait until an operation is in a state",
		Long: "Wait until the operation is in a state, approved unless said. If it ends otherwise, so that it can never\n" +
			"be in that state, the exit code is 3; if the time to wait is over, it is 5.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&until, "until", string(api.Approved), "the `STATE`: approved, exhausted, rejected, revoked or expired")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait, such as 90s, 10m or 2h")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		states := []api.State{api.Pending, api.Approved, api.Exhausted, api.Rejected, api.Revoked, api.Expired}
		if !slices.Contains(states, api.State(until)) {
			return usage("", "there is no state %q", until)
		}
		s, err := p.connect()
		if err != nil {
			return err
		}
		return p.printOperation(s.waitFor(ctx, args[0], api.State(until), timeout))
	})
}

// waitFor waits until the operation is in a state.
func (s session) waitFor(ctx context.Context, id string, state api.State, timeout time.Duration) (api.Operation, error) {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	o, err := s.WaitOperation(within, id, func(o api.Operation) bool { return o.State == state })
	switch {
	case err != nil && within.Err() != nil && ctx.Err() == nil:
		now := ""
		if o.State != "" {
			now = ": it is " + string(o.State)
		}
		return o, timedOut("wait again, with a longer --timeout if need be", "operation %s is not %s after %s%s", id, state, timeout, now)
	case err != nil:
		return o, err
	case o.State != state:
		return o, refused("create a new operation", "operation %s is %s and will never be %s%s", id, o.State, state, because(o))
	}
	return o, nil
}

// because says why an operation ended, if somebody said so.
func because(o api.Operation) string {
	if o.Ended == nil || o.Ended.Reason == "" {
		return ""
	}
	return ": " + o.Ended.Reason
}

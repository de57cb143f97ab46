package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
)

// createFlags are those of `ks operation create`.
type createFlags struct {
	keys           []string
	description    string
	context        string
	contextFile    string
	valid          time.Duration
	artifacts      []string
	clients        []string
	idempotencyKey string
	wait           bool
	timeout        time.Duration
	quiet          bool
}

func (p *program) createCommand() *cobra.Command {
	var flags createFlags
	cmd := &cobra.Command{
		Use:   "create --key KEYID=USES … --description TEXT --context TEXT --valid TIME",
		Short: "Ask for an operation",
		Long: "Ask for an operation: which keys, how many uses of each, why, and for how long. Approvers see the\n" +
			"description and the context, and decide by them. With --artifact only these files can be signed.",
		Example: "  ks operation create --key fw-prod=1 --key fw-dev=5 --valid 24h --artifact build/fw.bin \\\n" +
			"      --description \"Release 4.2\" --context-file notes.txt --wait",
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringArrayVar(&flags.keys, "key", nil, "a key and how many uses of it, `KEYID=USES`; once for each key")
	f.StringVar(&flags.description, "description", "", "what it is, in a line")
	f.StringVar(&flags.context, "context", "", "what lets an approver judge it")
	f.StringVar(&flags.contextFile, "context-file", "", "the context is in `FILE`")
	f.DurationVar(&flags.valid, "valid", 0, "how long it is valid from now, such as 90m or 24h")
	f.StringArrayVar(&flags.artifacts, "artifact", nil, "a `FILE` that it is for; once for each")
	f.StringArrayVar(&flags.clients, "client", nil, "a `SUBJECT` that may sign besides you; once for each")
	f.StringVar(&flags.idempotencyKey, "idempotency-key", "", "the same `KEY` and request again give the same operation")
	f.BoolVar(&flags.wait, "wait", false, "wait until it is approved")
	f.DurationVar(&flags.timeout, "timeout", 10*time.Minute, "how long to wait")
	f.BoolVar(&flags.quiet, "quiet", false, "print its id only")
	for _, name := range []string{"key", "description", "valid"} {
		_ = cmd.MarkFlagRequired(name) // fails for a flag that is not there
	}
	cmd.MarkFlagsOneRequired("context", "context-file")
	cmd.MarkFlagsMutuallyExclusive("context", "context-file")
	return p.command(cmd, func(ctx context.Context, _ []string) error { return p.create(ctx, flags) })
}

func (p *program) create(ctx context.Context, flags createFlags) error {
	if flags.quiet && p.global.json {
		return usage("", "--quiet and --json exclude each other")
	}
	ask, err := flags.ask()
	if err != nil {
		return err
	}
	s, err := p.connect()
	if err != nil {
		return err
	}
	if ask.Artifacts, err = p.artifacts(ctx, s, flags.artifacts, ask.KeyUsageRestrictions); err != nil {
		return err
	}
	idempotencyKey := flags.idempotencyKey
	if idempotencyKey == "" {
		idempotencyKey = "ks-" + rand.Text()
	}
	o, err := s.CreateOperation(ctx, idempotencyKey, ask)
	if err != nil {
		return err
	}
	if err := checkDigest(o); err != nil {
		return err
	}
	if o.State == api.Pending {
		p.tellApprover(o)
		if flags.wait {
			if o, err = s.waitFor(ctx, o.ID, api.Approved, flags.timeout); err != nil {
				return err
			}
		}
	}
	if flags.quiet {
		return p.printf("%s\n", visible(o.ID))
	}
	return p.printOperation(o, nil)
}

// tellApprover prints what an approver types.
func (p *program) tellApprover(o api.Operation) {
	p.notef("Operation %s waits for approval. An approver runs:\n\n  ks operation approve %s --digest %s\n", visible(o.ID), visible(quote(o.ID)), visible(quote(o.Digest)))
}

// ask makes of the flags what is asked of the server, all but the artifacts.
func (f createFlags) ask() (api.NewOperation, error) {
	ask := api.NewOperation{Description: f.description, Context: f.context, ValidMS: f.valid.Milliseconds(), Clients: f.clients}
	if f.valid < time.Millisecond {
		return ask, usage("", "--valid must be a time from now, such as 24h")
	}
	for _, k := range f.keys {
		id, count, _ := strings.Cut(k, "=")
		uses, err := strconv.Atoi(count)
		if err != nil || id == "" || uses < 1 {
			return ask, usage("", "--key %s: say how many uses of which key, such as fw-prod=1", k)
		}
		ask.KeyUsageRestrictions = append(ask.KeyUsageRestrictions, api.KeyUsageRestriction{KeyID: id, MaxUsageCount: uses})
	}
	if f.contextFile != "" {
		text, err := os.ReadFile(f.contextFile)
		if err != nil {
			return ask, fmt.Errorf("reading the context: %w", err)
		}
		ask.Context = strings.TrimRight(string(text), "\n")
	}
	return ask, nil
}

// artifacts describes files under the hash of each key that is asked for, as the keys may have different
// ones.
func (p *program) artifacts(ctx context.Context, s session, files []string, restrictions []api.KeyUsageRestriction) ([]api.Artifact, error) {
	if len(files) == 0 {
		return nil, nil
	}
	var hashes []law.Hash
	for _, r := range restrictions {
		k, err := s.Key(ctx, r.KeyID)
		if err != nil {
			return nil, err
		}
		if h := law.Hash(k.Hash); !slices.Contains(hashes, h) {
			hashes = append(hashes, h)
		}
	}
	var all []api.Artifact
	for _, file := range files {
		size, digests, err := p.hashFile(ctx, file, hashes...)
		if err != nil {
			return nil, err
		}
		for i, h := range hashes {
			all = append(all, api.Artifact{Name: filepath.Base(file), Size: size, Hash: string(h), Digest: fmt.Sprintf("%x", digests[i])})
		}
	}
	return all, nil
}

package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"example.org/keyserver/internal/law"
)

func (p *program) keyCommand() *cobra.Command {
	return p.group("key", "Create, change, disable, enable and revoke keys",
		p.createKeyCommand(), p.changeKeyCommand(), p.disableKeyCommand(), p.enableKeyCommand(), p.revokeKeyCommand(), p.replaceKeyCommand())
}

// keyFlags are what can be changed of a key.
type keyFlags struct {
	requirement, maxUses int
	maxValid             time.Duration
	artifacts            string
}

func (f *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.requirement, "requirement", 0, "`N` people must approve an operation before the key may be used in it")
	cmd.Flags().IntVar(&f.maxUses, "max-uses", 0, "`N` uses are the most that an operation may ask for")
	cmd.Flags().DurationVar(&f.maxValid, "max-valid", 0, "the longest that an operation may be valid, such as 24h")
	cmd.Flags().StringVar(&f.artifacts, "artifacts", "", "optional, or required: operations must name their artifacts")
}

func (f keyFlags) into(k *law.Key, cmd *cobra.Command) error {
	if cmd.Flags().Changed("requirement") {
		k.Requirement = law.Require(f.requirement)
	}
	if cmd.Flags().Changed("max-uses") {
		k.MaxUses = f.maxUses
	}
	if cmd.Flags().Changed("max-valid") {
		k.MaxValidity = f.maxValid
	}
	if cmd.Flags().Changed("artifacts") {
		if f.artifacts != "optional" && f.artifacts != "required" {
			return usage("", "--artifacts %q: say optional or required", f.artifacts)
		}
		k.ArtifactsNeeded = f.artifacts == "required"
	}
	return nil
}

func (p *program) createKeyCommand() *cobra.Command {
	var in inSession
	var is keyFlags
	var k law.Key
	var kind, algorithm, hash string
	var schemes []string
	cmd := &cobra.Command{
		Use: "create KEYID --type TYPE --algorithm ALGORITHM --hash HASH --scheme SCHEME --requirement N --max-uses N --max-valid DURATION " +
			"--artifacts optional|required --keystore NAME --session ID --reason TEXT",
		Short: "Create a key, made in its keystore or adopted there",
		Long: "Create a key. Its key pair is made in the keystore; with --adopt one is taken that the keystore has already, such as\n" +
			"an object of an HSM by its PKCS#11 URI (RFC 7512). A key pair that could leave its keystore is refused unless you\n" +
			"say --extractable. A key that gets a certificate is created from a file: see `ks admin change`.",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&kind, "type", "", "`TYPE`: ROOT, CA or FW")
	cmd.Flags().StringVar(&algorithm, "algorithm", "", "such as ECDSA-P256, RSA-3072 or Ed25519")
	cmd.Flags().StringVar(&hash, "hash", "", "SHA-256, SHA-384 or SHA-512")
	cmd.Flags().StringArrayVar(&schemes, "scheme", nil, "a signature `SCHEME` that it may make: ECDSA, RSASSA-PSS, RSASSA-PKCS1-v1_5 or EdDSA")
	cmd.Flags().StringVar(&k.Keystore, "keystore", "", "`NAME` of the keystore that is to hold it")
	cmd.Flags().StringVar(&k.Adopted, "adopt", "", "the key pair to adopt, as its keystore names it, such as a PKCS#11 `URI`")
	cmd.Flags().BoolVar(&k.MayLeave, "extractable", false, "adopt it although its private key could leave its keystore")
	is.add(cmd)
	for _, name := range []string{"type", "algorithm", "hash", "scheme", "keystore", "requirement", "max-uses", "max-valid", "artifacts"} {
		_ = cmd.MarkFlagRequired(name) // fails for a flag that is not there
	}
	in.add(cmd)
	return p.command(cmd, func(ctx context.Context, args []string) error {
		return p.change(ctx, in, func(now law.Configuration) (law.Changes, error) {
			k.ID, k.Type, k.Algorithm, k.Hash = law.KeyID(args[0]), law.KeyType(kind), law.Algorithm(algorithm), law.Hash(hash)
			k.Schemes, k.Approvals, k.State = idsOf[law.Scheme](schemes), law.SessionApprovals, law.KeyActive
			if slices.ContainsFunc(now.Keys, func(n law.Key) bool { return n.ID == k.ID }) {
				return law.Changes{}, usage("`ks admin key change` changes it", "there is a key %s already", k.ID)
			}
			err := is.into(&k, cmd)
			return law.Changes{Set: law.Configuration{Keys: []law.Key{k}}}, err
		})
	})
}

func (p *program) changeKeyCommand() *cobra.Command {
	var is keyFlags
	cmd := &cobra.Command{
		Use:   "change KEYID [--requirement N] [--max-uses N] [--max-valid DURATION] [--artifacts optional|required] --session ID --reason TEXT",
		Short: "Change a key's requirement or limits",
		Long: "Change what operations with the key need and may ask for. A requirement that is raised acts on open operations at\n" +
			"once; one that is lowered helps new operations only.",
	}
	is.add(cmd)
	return p.editKey(cmd, func(k *law.Key) error { return is.into(k, cmd) })
}

func (p *program) enableKeyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "enable KEYID --session ID --reason TEXT", Short: "Enable a key that was disabled"}
	return p.editKey(cmd, func(k *law.Key) error { k.State = law.KeyActive; return nil })
}

func (p *program) revokeKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke KEYID --session ID --reason TEXT", Short: "Revoke a key, for good",
		Long: "Revoke a key. Every open operation that names it ends. It is final.",
	}
	return p.editKey(cmd, func(k *law.Key) error { k.State = law.KeyRevoked; return nil })
}

// editKey completes a command that changes one key in a session.
func (p *program) editKey(cmd *cobra.Command, edit func(*law.Key) error) *cobra.Command {
	var in inSession
	cmd.Args = cobra.ExactArgs(1)
	in.add(cmd)
	return p.command(cmd, func(ctx context.Context, args []string) error {
		return p.change(ctx, in, func(now law.Configuration) (law.Changes, error) {
			i := slices.IndexFunc(now.Keys, func(k law.Key) bool { return k.ID == law.KeyID(args[0]) })
			if i < 0 {
				return law.Changes{}, refused("`ks keys` lists them", "there is no key %s", visible(args[0]))
			}
			k := now.Keys[i]
			err := edit(&k)
			return law.Changes{Set: law.Configuration{Keys: []law.Key{k}}}, err
		})
	})
}

func (p *program) replaceKeyCommand() *cobra.Command {
	var in inSession
	cmd := &cobra.Command{
		Use: "replace-pair KEYID --session ID --reason TEXT", Short: "Give a key a new key pair",
		Long: "Make a new key pair for a key, under the same id. Every open operation that names the key ends.", Args: cobra.ExactArgs(1),
	}
	in.add(cmd)
	return p.command(cmd, func(ctx context.Context, args []string) error {
		return p.change(ctx, in, func(law.Configuration) (law.Changes, error) {
			return law.Changes{ReplacePairs: []law.KeyID{law.KeyID(args[0])}}, nil
		})
	})
}

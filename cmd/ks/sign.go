package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
)

// signFlags are those of `ks sign`.
type signFlags struct {
	operation      string
	key            string
	scheme         string
	format         string
	output         string
	outputDir      string
	force          bool
	wait           bool
	timeout        time.Duration
	idempotencyKey string
}

func (p *program) signCommand() *cobra.Command {
	var flags signFlags
	cmd := &cobra.Command{
		Use:   "sign FILE … --operation ID --key KEYID",
		Short: "Sign files under an approved operation",
		Long: "Hash files here and have the digests signed (with an Ed25519 key the files themselves, at most 32 KiB\n" +
			"each). The signature of FILE is verified with the key's public key and written to FILE.sig.\n\n" +
			"Each input takes one use of the key. The same command again takes no second use and gives the same\n" +
			"signature, also after a crash: unless you choose one, the idempotency key is derived from hash, scheme\n" +
			"and digest, and the server scopes it to you, the operation and the key. Two files with the same content\n" +
			"are one input.",
		Example: "  ks sign fw.bin --operation 0192f0c1-… --key fw-prod --wait",
		Args:    cobra.MinimumNArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&flags.operation, "operation", "", "`ID` of the operation")
	f.StringVar(&flags.key, "key", "", "`KEYID` of the key")
	f.StringVar(&flags.scheme, "scheme", "", "signature `SCHEME`, needed where the key allows several")
	f.StringVar(&flags.format, "format", "", "`FORMAT` of the signature: der or p1363 for ECDSA, raw for others")
	f.StringVar(&flags.output, "output", "", "write the signature to `FILE`, for one input only")
	f.StringVar(&flags.outputDir, "output-dir", "", "write the signatures into `DIR`")
	f.BoolVar(&flags.force, "force", false, "overwrite what is there")
	f.BoolVar(&flags.wait, "wait", false, "wait until the operation is approved")
	f.DurationVar(&flags.timeout, "timeout", 10*time.Minute, "how long to wait")
	f.StringVar(&flags.idempotencyKey, "idempotency-key", "", "choose the idempotency `KEY`, for one input only")
	for _, name := range []string{"operation", "key"} {
		_ = cmd.MarkFlagRequired(name) // fails for a flag that is not there
	}
	cmd.MarkFlagsMutuallyExclusive("output", "output-dir")
	return p.command(cmd, func(ctx context.Context, args []string) error { return p.sign(ctx, args, flags) })
}

// signing is one file on its way to its signature.
type signing struct {
	file   string
	output string
	input  law.Input
}

// signed is what --json prints of one file.
type signed struct {
	File   string        `json:"file"`
	Output string        `json:"output"`
	Order  api.SignOrder `json:"signorder"`
}

func (p *program) sign(ctx context.Context, files []string, flags signFlags) error {
	work, err := flags.outputs(files)
	if err != nil {
		return err
	}
	s, err := p.connect()
	if err != nil {
		return err
	}
	k, public, err := s.keyPair(ctx, flags.key)
	if err != nil {
		return err
	}
	scheme, err := chooseScheme(k, flags.scheme)
	if err != nil {
		return err
	}
	format, err := public.format(api.Format(flags.format))
	if err != nil {
		return err
	}
	for i := range work { // before anything takes a use, everything that can fail here has failed
		w := &work[i]
		if w.input, err = p.readInput(ctx, w.file, law.Hash(k.Hash), law.Scheme(scheme)); err != nil {
			return err
		}
		if err := w.checkOutput(public, format, flags.force); err != nil {
			return err
		}
	}
	if flags.wait {
		if err := p.waitToSign(ctx, s, flags); err != nil {
			return err
		}
	}
	var all []signed
	var alarm error
	for _, w := range work {
		order, err := p.signOne(ctx, s, w, public, format, flags)
		if err != nil {
			return cmp.Or(p.printSigned(all), err)
		}
		all = append(all, signed{w.file, w.output, order})
		alarm = cmp.Or(alarm, p.keep(ctx, s, order))
	}
	return cmp.Or(p.printSigned(all), alarm)
}

// outputs says where each signature goes.
func (f signFlags) outputs(files []string) ([]signing, error) {
	if len(files) > 1 && (f.output != "" || f.idempotencyKey != "") {
		return nil, usage("", "--output and --idempotency-key are for one FILE only")
	}
	var work []signing
	for _, file := range files {
		output := file + ".sig"
		if f.outputDir != "" {
			output = filepath.Join(f.outputDir, filepath.Base(file)+".sig")
		}
		if f.output != "" {
			output = f.output
		}
		if slices.ContainsFunc(work, func(w signing) bool { return w.output == output }) {
			return nil, usage("sign them one by one, each with its own --output", "two signatures would be written to %s", output)
		}
		work = append(work, signing{file: file, output: output})
	}
	return work, nil
}

// chooseScheme says the scheme also where the key has only one, so that the same input gets the same
// idempotency key whether it was said or not.
func chooseScheme(k api.Key, said string) (string, error) {
	switch {
	case said != "" && !slices.Contains(k.Schemes, said):
		return "", usage("", "key %s makes no %s signatures; it makes %s", k.KeyID, said, strings.Join(k.Schemes, " and "))
	case said != "":
		return said, nil
	case len(k.Schemes) == 1:
		return k.Schemes[0], nil
	}
	return "", usage("", "key %s makes signatures of several schemes; choose one with --scheme: %s", k.KeyID, strings.Join(k.Schemes, ", "))
}

// checkOutput refuses early, before a use is taken, what could not be written. A signature over the same
// input may be there: it is probably the one that will be fetched again.
func (w signing) checkOutput(public publicKey, format api.Format, force bool) error {
	if info, err := os.Stat(filepath.Dir(w.output)); err != nil {
		return fmt.Errorf("looking for the place of the signature: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("looking for the place of the signature: %s is no directory", filepath.Dir(w.output))
	}
	if force {
		return nil
	}
	there, err := os.ReadFile(w.output)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for %s: %w", w.output, err)
	}
	if public.verify(w.input, format, there) != nil {
		return errExists(w.output)
	}
	return nil
}

// waitToSign waits until the operation is approved.
func (p *program) waitToSign(ctx context.Context, s session, flags signFlags) error {
	o, err := s.Operation(ctx, flags.operation)
	if err != nil {
		return err
	}
	if o.State != api.Pending {
		return nil // the server says what it thinks of the sign order
	}
	if err := checkDigest(o); err != nil {
		return err
	}
	p.tellApprover(o)
	p.notef("Waiting …")
	_, err = s.waitFor(ctx, o.ID, api.Approved, flags.timeout)
	return err
}

// signOne has one input signed, verifies the signature and writes it.
func (p *program) signOne(ctx context.Context, s session, w signing, public publicKey, format api.Format, flags signFlags) (api.SignOrder, error) {
	ask := api.NewSignOrder{KeyID: flags.key, Hash: string(w.input.Hash), Scheme: string(w.input.Scheme), Format: format}
	if w.input.Scheme == law.EdDSA {
		ask.Data = w.input.Message
	} else {
		ask.Digest, ask.Encoding = hex.EncodeToString(w.input.Digest), api.Hex
	}
	idempotencyKey := flags.idempotencyKey
	if idempotencyKey == "" {
		idempotencyKey = defaultIdempotencyKey(w.input)
	}
	order, err := s.PlaceSignOrder(ctx, flags.operation, idempotencyKey, ask)
	if err != nil {
		return order, fmt.Errorf("signing %s: %w", w.file, err)
	}
	if order.Fingerprint != public.fingerprint {
		return order, tampered(nil, "tell your security people", "signing %s: the server signed with the key pair %s, but key %s is %s", w.file, order.Fingerprint, flags.key, public.fingerprint)
	}
	if err := public.verify(w.input, format, order.Signature); err != nil {
		return order, tampered(err, "nothing was written; tell your security people", "signing %s: the server's answer is no valid signature: %v", w.file, err)
	}
	return order, writeNew(w.output, order.Signature, flags.force)
}

// keep remembers the checkpoint of a sign order. The signature is good whatever comes out, and written.
func (p *program) keep(ctx context.Context, s session, order api.SignOrder) error {
	_, err := p.witness(ctx, s, order.Checkpoint)
	if err != nil && explain(err).code != exitTampered {
		p.notef("note: the audit log was not checked against what is remembered of it: %s", visible(err.Error()))
		return nil
	}
	return err
}

func (p *program) printSigned(all []signed) error {
	if len(all) == 0 {
		return nil
	}
	if p.global.json {
		return p.printJSON(struct {
			Signed []signed `json:"signed"`
		}{all})
	}
	for _, s := range all {
		var l lines
		l.field("signed", s.File)
		l.field("signature", s.Output)
		l.field("key", s.Order.KeyID)
		l.field("fingerprint", s.Order.Fingerprint)
		l.field("with", s.Order.Scheme+", "+s.Order.Hash)
		l.field("use", fmt.Sprintf("%d of %d", s.Order.Use, s.Order.Of))
		l.field("sign order", s.Order.ID)
		if err := p.print(l.text(width(p.stdout))); err != nil {
			return err
		}
	}
	return nil
}

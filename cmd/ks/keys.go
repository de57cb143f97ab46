package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
)

func (p *program) keysCommand() *cobra.Command {
	var pem bool
	cmd := &cobra.Command{
		Use:     "keys [KEYID]",
		Short:   "List the keys you may see, or show one",
		Example: "  ks keys\n  ks keys fw-prod --pem > fw-prod.pem",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&pem, "pem", false, "print the public key of KEYID as PEM")
	return p.command(cmd, func(ctx context.Context, args []string) error {
		if len(args) == 0 && pem {
			return usage("", "of which key? --pem needs a KEYID")
		}
		s, err := p.connect()
		switch {
		case err != nil:
			return err
		case len(args) == 0:
			return p.listKeys(ctx, s)
		case pem:
			return p.printPEM(ctx, s, args[0])
		}
		return p.showKey(ctx, s, args[0])
	})
}

func (p *program) listKeys(ctx context.Context, s session) error {
	keys, err := s.Keys(ctx)
	if err != nil {
		return err
	}
	if p.global.json {
		return p.printJSON(api.Keys{Keys: keys})
	}
	if len(keys) == 0 {
		p.notef("You have an orderer or approver role on no key.")
		return nil
	}
	var rows [][]string
	for _, k := range keys {
		rows = append(rows, []string{k.KeyID, k.Type, k.Algorithm, k.Hash, strconv.Itoa(k.Requirement), k.State, strings.Join(k.Schemes, ", ")})
	}
	return p.print(table([]string{"KEY", "TYPE", "ALGORITHM", "HASH", "APPROVALS", "STATE", "SCHEMES"}, rows, tableWidth(p.stdout)))
}

func (p *program) showKey(ctx context.Context, s session, id string) error {
	k, err := s.Key(ctx, id)
	if err != nil {
		return err
	}
	if p.global.json {
		return p.printJSON(k)
	}
	var l lines
	l.field("key", k.KeyID)
	l.field("type", k.Type)
	l.field("state", k.State)
	l.field("algorithm", k.Algorithm)
	l.field("hash", k.Hash)
	l.field("schemes", strings.Join(k.Schemes, ", "))
	l.field("approvals", fmt.Sprintf("%d needed, %s", k.Requirement, k.Approvals))
	l.field("at most", fmt.Sprintf("%d uses, within %s", k.MaxUsageCount, span(time.Duration(k.MaxValidMS)*time.Millisecond)))
	if k.ArtifactsNeeded {
		l.field("artifacts", "must be named")
	}
	l.field("fingerprint", k.Fingerprint)
	l.field("keystore", fmt.Sprintf("%s, version %d of the key pair", k.Keystore, k.Version))
	if a := k.Attributes; a != nil {
		l.field("private key", custody(*a))
	}
	if d := k.Devices; d != nil {
		describeDevices(&l, "", *d)
	}
	return p.print(l.text(width(p.stdout)))
}

// describeDevices says what device certificates a key issues; --json has every field of the profile.
func describeDevices(l *lines, before string, d api.DeviceProfile) {
	validity := "without expiry"
	if !d.NoExpiry {
		validity = "for " + span(time.Duration(d.ValidMS)*time.Millisecond)
	}
	l.field("devices", fmt.Sprintf("%scertificates %s, told apart by %s, of %s keys; duplicates: %s",
		before, validity, d.Identity, strings.Join(d.Algorithms, ", "), d.Duplicates))
	for _, a := range d.Subject {
		l.field("subject", a.Type+": "+whereFrom(a.Fixed, a.Pattern, a.Optional))
	}
	for _, n := range d.Names {
		l.field("name", n.Kind+": "+whereFrom(n.Fixed, n.Pattern, n.Optional))
	}
	l.field("usage", strings.Join(slices.Concat(d.KeyUsage, d.ExtendedKeyUsage), ", "))
	for _, policy := range d.Policies {
		l.field("policy", policy)
	}
	for _, e := range d.Extensions {
		l.field("extension", e.ID+": "+e.Value)
	}
}

// whereFrom says where a value in a device certificate comes from.
func whereFrom(fixed, pattern string, optional bool) string {
	switch {
	case fixed != "":
		return fixed
	case optional:
		return "as the device asks, if it does, within " + pattern
	}
	return "as the device asks, within " + pattern
}

// custody says where a private key can have been, by what its HSM says of it.
func custody(a api.KeyAttributes) string {
	made := "brought into the HSM from elsewhere"
	if a.Local {
		made = "made in the HSM"
	}
	switch {
	case a.Extractable || !a.Sensitive:
		return made + ", and it can leave it"
	case a.NeverExtractable && a.AlwaysSensitive:
		return made + ", which it can never have left"
	}
	return made + "; it cannot leave it now, but could earlier"
}

// printPEM prints the public key as it was read, which is why it can hold nothing else.
func (p *program) printPEM(ctx context.Context, s session, id string) error {
	_, public, err := s.keyPair(ctx, id)
	if err != nil {
		return err
	}
	if p.global.json {
		return p.printJSON(struct {
			KeyID       string `json:"keyid"`
			Fingerprint string `json:"fingerprint"`
			PublicKey   string `json:"publickey"`
		}{id, public.fingerprint, string(public.pem())})
	}
	return p.print(string(public.pem()))
}

// keyPair returns a key with its public key, after checking that it is the one with the key's fingerprint.
func (s session) keyPair(ctx context.Context, id string) (api.Key, publicKey, error) {
	k, err := s.Key(ctx, id)
	if err != nil {
		return k, publicKey{}, err
	}
	text, err := s.PublicKey(ctx, id)
	if err != nil {
		return k, publicKey{}, err
	}
	public, err := parsePublicKey(text)
	if err != nil {
		return k, public, fmt.Errorf("the public key of %s: %w", id, err)
	}
	if public.fingerprint != k.Fingerprint {
		return k, public, tampered(nil, "ask again; if it stays so, tell your security people", "the public key of %s has the fingerprint %s, but the server says %s", id, public.fingerprint, k.Fingerprint)
	}
	return k, public, nil
}

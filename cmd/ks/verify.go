package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
)

// verifyFlags are those of `ks verify`.
type verifyFlags struct {
	signature string
	publicKey string
	key       string
	hash      string
	scheme    string
	format    string
}

func (p *program) verifyCommand() *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify FILE (--public-key PEM-FILE | --key KEYID)",
		Short: "Verify the signature of a file",
		Long: "Verify a signature, with the public key of a file (then no server is asked) or of a key of the server, and\n" +
			"print the openssl command line that does the same. With --key, hash and scheme are those of the key; with\n" +
			"--public-key they are SHA-256 (SHA-512 for Ed25519) and, for RSA, RSASSA-PKCS1-v1_5 unless you say others.",
		Example: "  ks verify fw.bin --public-key fw-prod.pem",
		Args:    cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&flags.signature, "signature", "", "`FILE` with the signature (default: FILE.sig)")
	f.StringVar(&flags.publicKey, "public-key", "", "`PEM-FILE` with the public key or its certificate")
	f.StringVar(&flags.key, "key", "", "`KEYID` of a key of the server")
	f.StringVar(&flags.hash, "hash", "", "`HASH`: SHA-256, SHA-384 or SHA-512")
	f.StringVar(&flags.scheme, "scheme", "", "`SCHEME`: RSASSA-PKCS1-v1_5, RSASSA-PSS, ECDSA or EdDSA")
	f.StringVar(&flags.format, "format", "", "`FORMAT` of the signature: der or p1363 for ECDSA, raw for others")
	cmd.MarkFlagsOneRequired("public-key", "key")
	cmd.MarkFlagsMutuallyExclusive("public-key", "key")
	return p.command(cmd, func(ctx context.Context, args []string) error { return p.verify(ctx, args[0], flags) })
}

// verified is what --json prints of a good signature.
type verified struct {
	File        string     `json:"file"`
	Signature   string     `json:"signature"`
	Fingerprint string     `json:"fingerprint"`
	Hash        string     `json:"hash"`
	Scheme      string     `json:"scheme"`
	Format      api.Format `json:"format"`
	OpenSSL     string     `json:"openssl,omitzero"`
}

func (p *program) verify(ctx context.Context, file string, flags verifyFlags) error {
	public, err := p.verifyingKey(ctx, &flags)
	if err != nil {
		return err
	}
	format, err := public.format(api.Format(flags.format))
	if err != nil {
		return err
	}
	if flags.signature == "" {
		flags.signature = file + ".sig"
	}
	signature, err := os.ReadFile(flags.signature)
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	in, err := p.readInput(ctx, file, law.Hash(flags.hash), law.Scheme(flags.scheme))
	if err != nil {
		return err
	}
	if err := public.verify(in, format, signature); err != nil {
		return err
	}
	keyFile := flags.publicKey
	if keyFile == "" {
		keyFile = flags.key + ".pem"
	}
	out := verified{file, flags.signature, public.fingerprint, flags.hash, flags.scheme, format, public.openssl(in, format, keyFile, flags.signature, file)}
	if p.global.json {
		return p.printJSON(out)
	}
	var l lines
	l.field("verified", out.File)
	l.field("signature", out.Signature)
	l.field("fingerprint", out.Fingerprint)
	l.field("with", out.Scheme+", "+out.Hash)
	if err := p.print(l.text(width(p.stdout))); err != nil {
		return err
	}
	if out.OpenSSL == "" {
		return p.print("\nopenssl reads ECDSA signatures in the format der only.\n")
	}
	how := "\nThe same with openssl:\n\n"
	if flags.key != "" {
		how += "  ks keys " + visible(quote(flags.key)) + " --pem > " + visible(quote(keyFile)) + "\n"
	}
	return p.print(how + "  " + visible(out.OpenSSL) + "\n")
}

// verifyingKey returns the public key, and completes hash and scheme.
func (p *program) verifyingKey(ctx context.Context, flags *verifyFlags) (publicKey, error) {
	var k api.Key
	var public publicKey
	if flags.key != "" {
		s, err := p.connect()
		if err != nil {
			return public, err
		}
		if k, public, err = s.keyPair(ctx, flags.key); err != nil {
			return public, err
		}
	} else {
		text, err := os.ReadFile(flags.publicKey)
		if err != nil {
			return public, fmt.Errorf("reading the public key: %w", err)
		}
		if public, err = parsePublicKey(text); err != nil {
			return public, fmt.Errorf("reading %s: %w", flags.publicKey, err)
		}
		k = api.Key{KeyID: flags.publicKey, Hash: string(law.SHA256), Schemes: []string{string(public.algorithm.Schemes()[0])}}
		if public.algorithm == law.Ed25519 {
			k.Hash = string(law.SHA512)
		}
	}
	if flags.hash == "" {
		flags.hash = k.Hash
	}
	if flags.scheme != "" {
		return public, nil
	}
	var err error
	flags.scheme, err = chooseScheme(k, "")
	return public, err
}

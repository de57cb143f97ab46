package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
)

// loginFlags are those of `ks login`.
type loginFlags struct {
	issuer     string
	clientID   string
	scopes     []string
	machine    bool
	secretFile string
}

func (p *program) loginCommand() *cobra.Command {
	var flags loginFlags
	cmd := &cobra.Command{
		Use:   "login --server URL --issuer URL",
		Short: "Sign in",
		Long: "Sign in at the issuer (an OpenID provider) that the keyserver trusts, and keep the access token for\n" +
			"the commands that follow. People sign in with a browser, on this or any other machine (device flow,\n" +
			"RFC 8628); machines with --client-credentials and their secret in KS_CLIENT_SECRET or a file.\n\n" +
			"Signing in again needs no flags: server and issuer are those of the last time.\n\n" +
			"A CI job that is given an access token need not sign in: KS_SERVER and KS_TOKEN, or --server and\n" +
			"--token-file, are enough for every command.",
		Example: "  ks login --server https://keys.example.org --issuer https://login.example.org\n" +
			"  KS_CLIENT_SECRET=… ks login --profile ci --client-credentials --client-id ci-firmware",
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&flags.issuer, "issuer", "", "`URL` of the issuer")
	cmd.Flags().StringVar(&flags.clientID, "client-id", "", "`ID` of ks, or of the machine, at the issuer (default \"ks\")")
	cmd.Flags().StringSliceVar(&flags.scopes, "scope", nil, "`SCOPE` to ask for (default: openid and offline_access, if the issuer has them)")
	cmd.Flags().BoolVar(&flags.machine, "client-credentials", false, "sign in a machine with its secret")
	cmd.Flags().StringVar(&flags.secretFile, "client-secret-file", "", "`FILE` with the secret, instead of KS_CLIENT_SECRET")
	return p.command(cmd, func(ctx context.Context, _ []string) error { return p.login(ctx, flags) })
}

func (p *program) login(ctx context.Context, flags loginFlags) error {
	f, err := p.newProfile(flags)
	if err != nil {
		return err
	}
	secret := ""
	if flags.machine {
		if secret, err = p.clientSecret(flags.secretFile); err != nil {
			return err
		}
	}
	i, err := findIssuer(ctx, f)
	if err != nil {
		return err
	}
	var token *oauth2.Token
	if flags.machine {
		token, err = i.machineToken(ctx, secret)
	} else {
		token, err = i.deviceToken(ctx, p.tellDeviceCode)
	}
	if err != nil {
		return err
	}
	f.take(token)

	s, err := dial(f.Server, f.CAFile, client.StaticToken(f.Token))
	if err != nil {
		return err
	}
	self, err := s.WhoAmI(ctx)
	if err != nil {
		return err // nothing is stored: the token is of no use here
	}
	version, err := s.Version(ctx)
	if err != nil {
		return err
	}
	if _, err := p.pinLogKey(f.Server, version.LogKey); err != nil {
		return err
	}
	if err := p.saveProfile(f); err != nil {
		return err
	}
	return p.printSelf(f.Server, version, self)
}

// newProfile is the profile to be signed in: the last one's, but for what was said.
func (p *program) newProfile(flags loginFlags) (profile, error) {
	last, _, err := p.loadProfile()
	if err != nil {
		return profile{}, err
	}
	f := profile{Issuer: last.Issuer, ClientID: last.ClientID, Scopes: last.Scopes, CAFile: last.CAFile}
	if f.Server, err = p.serverOf(last); err != nil {
		return f, usage("run `ks login --server URL --issuer URL`", "sign in where? Name the server")
	}
	if flags.issuer != "" {
		f.Issuer = flags.issuer // exactly as given: an issuer is compared letter by letter
	}
	if f.Issuer == "" {
		return f, usage("run `ks login --server URL --issuer URL`; the administrators know the issuer", "sign in where? Name the issuer")
	}
	if _, err := serverURL(f.Issuer); err != nil {
		return f, err
	}
	if flags.clientID != "" {
		f.ClientID = flags.clientID
	}
	if f.ClientID == "" {
		f.ClientID = "ks"
	}
	if flags.scopes != nil {
		f.Scopes = flags.scopes
	}
	if p.global.caFile != "" {
		if f.CAFile, err = filepath.Abs(p.global.caFile); err != nil {
			return f, err
		}
	}
	return f, nil
}

// clientSecret reads a machine's secret. There is no flag for it: command lines are seen by everybody on the
// machine.
func (p *program) clientSecret(file string) (string, error) {
	secret := p.getenv("KS_CLIENT_SECRET")
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		secret = strings.TrimRight(string(data), "\r\n")
	}
	if secret == "" {
		return "", usage("set KS_CLIENT_SECRET, or name a file with --client-secret-file", "a machine signs in with its secret, and none was given")
	}
	return secret, nil
}

func (p *program) tellDeviceCode(d *oauth2.DeviceAuthResponse) {
	p.notef("Open this page in a browser, on this or any other machine:\n\n  %s\n\nand enter the code\n\n  %s\n", visible(d.VerificationURI), visible(d.UserCode))
	if d.VerificationURIComplete != "" {
		p.notef("or open %s", visible(d.VerificationURIComplete))
	}
	p.notef("Waiting for you to do so …")
}

func (p *program) logoutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "Forget the sign-in",
		Long: "Remove the access token of the profile from this machine. What is remembered of the server's audit log\n" +
			"stays (`ks help files`).",
		Args: cobra.NoArgs,
	}
	return p.command(cmd, func(context.Context, []string) error {
		there, err := p.removeProfile()
		if err != nil {
			return err
		}
		if !there {
			p.notef("Profile %q was not signed in.", p.profileName())
			return nil
		}
		p.notef("Signed out of profile %q.", p.profileName())
		return nil
	})
}

func (p *program) whoamiCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "whoami", Short: "Show who you are to the server", Args: cobra.NoArgs}
	return p.command(cmd, func(ctx context.Context, _ []string) error {
		s, err := p.connect()
		if err != nil {
			return err
		}
		self, err := s.WhoAmI(ctx)
		if err != nil {
			return err
		}
		version, err := s.Version(ctx)
		if err != nil {
			return err
		}
		return p.printSelf(s.server, version, self)
	})
}

func (p *program) printSelf(server string, version api.Version, self api.Self) error {
	if p.global.json {
		return p.printJSON(self)
	}
	var l lines
	l.field("server", server)
	l.field("server id", version.Server)
	if version.Mode != "production" {
		l.field("mode", version.Mode+": not for keys that matter")
	}
	l.field("subject", self.Subject)
	l.field("kind", self.Kind)
	l.field("name", self.Name)
	for _, r := range self.Roles {
		l.field("role", r.Role+": "+r.Kind+of(r.Keys))
	}
	if len(self.Roles) == 0 {
		l.field("role", "none: ask an administrator for one")
	}
	return p.print(l.text(width(p.stdout)))
}

// of says of which keys.
func of(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return " of " + strings.Join(keys, ", ")
}

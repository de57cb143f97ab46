package main

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// accounts is the accounts file: everybody who can get a token here, and what stands in it.
type accounts struct {
	// Audience is the aud claim of every access token. Required.
	Audience string `yaml:"audience"`
	// TokenLifetime is how long tokens are valid, at most 24h; absent: one hour.
	TokenLifetime time.Duration `yaml:"token-lifetime"`
	// PublicClient is the id of the client with which people sign in; absent: ks.
	PublicClient string `yaml:"public-client"`
	// RedirectURIs are redirect URIs of the public client besides http://127.0.0.1/callback. For those
	// on loopback any port is accepted (RFC 8252, section 7.3).
	RedirectURIs []string `yaml:"redirect-uris"`
	// Users are the people.
	Users []user `yaml:"users"`
	// Clients are the machines.
	Clients []machine `yaml:"clients"`
}

// user is a person.
type user struct {
	// Sub is the sub claim of this person's tokens. Required, and different from all other subs and ids.
	Sub string `yaml:"sub"`
	// Name is the name claim, shown in the list of accounts. Required.
	Name string `yaml:"name"`
	// Groups is the groups claim; absent: no such claim.
	Groups []string `yaml:"groups"`
}

// machine is a client that signs in for itself.
type machine struct {
	// ID is the client id and the sub claim. Required, and different from all other subs and ids.
	ID string `yaml:"id"`
	// Name is the name claim. Required.
	Name string `yaml:"name"`
	// Secret is the client secret. Either this or SecretFile is required.
	Secret string `yaml:"secret"`
	// SecretFile holds the secret, less a line end; a relative name starts at the accounts file.
	SecretFile string `yaml:"secret-file"`
	// Claims stand in the access token as they are: repository, ref, actor and the like; absent: none.
	Claims map[string]any `yaml:"claims"`
}

// loadAccounts reads and checks an accounts file and fills in what it leaves out.
func loadAccounts(name string) (accounts, error) {
	file, err := os.Open(name)
	if err != nil {
		return accounts{}, fmt.Errorf("reading accounts: %w", err)
	}
	defer file.Close()
	var a accounts
	decoder := yaml.NewDecoder(file, yaml.Strict())
	if err := decoder.Decode(&a); err != nil && !errors.Is(err, io.EOF) {
		return accounts{}, fmt.Errorf("reading accounts: %w", located(name, err))
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return accounts{}, fmt.Errorf("reading accounts: %s: more than one YAML document", name)
	}
	if err := a.complete(filepath.Dir(name)); err != nil {
		return accounts{}, fmt.Errorf("reading accounts: %s: %w", name, err)
	}
	return a, nil
}

// located says where in the file the error is. The library's own text would quote the lines around it,
// and with them perhaps a secret.
func located(name string, err error) error {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		position := at.GetToken().Position
		return fmt.Errorf("%s:%d:%d: %s", name, position.Line, position.Column, at.GetMessage())
	}
	return fmt.Errorf("%s: %w", name, err)
}

// complete fills in defaults and secrets, then refuses what is not a usable set of accounts.
func (a *accounts) complete(dir string) error {
	if a.Audience == "" {
		return errors.New("audience is required")
	}
	if a.PublicClient == "" {
		a.PublicClient = "ks"
	}
	if a.TokenLifetime == 0 {
		a.TokenLifetime = time.Hour
	}
	if a.TokenLifetime < time.Second || a.TokenLifetime > 24*time.Hour {
		return fmt.Errorf("token-lifetime is %s; give 1s to 24h", a.TokenLifetime)
	}
	for _, uri := range a.RedirectURIs {
		if err := checkRedirectURI(uri); err != nil {
			return fmt.Errorf("redirect-uris: %q %w", uri, err)
		}
	}
	a.RedirectURIs = append([]string{"http://127.0.0.1/callback"}, a.RedirectURIs...)

	// A person and a machine with the same sub would be the same to whoever reads the token.
	taken := []string{a.PublicClient}
	for i, u := range a.Users {
		if u.Sub == "" || u.Name == "" {
			return fmt.Errorf("users: number %d: sub and name are required", i+1)
		}
		if slices.Contains(taken, u.Sub) {
			return fmt.Errorf("users: sub %q is used twice", u.Sub)
		}
		taken = append(taken, u.Sub)
	}
	for i := range a.Clients {
		m := &a.Clients[i]
		if m.ID == "" || m.Name == "" {
			return fmt.Errorf("clients: number %d: id and name are required", i+1)
		}
		if slices.Contains(taken, m.ID) {
			return fmt.Errorf("clients: id %q is used twice", m.ID)
		}
		taken = append(taken, m.ID)
		if err := m.complete(dir); err != nil {
			return fmt.Errorf("clients: %s: %w", m.ID, err)
		}
	}
	return nil
}

// complete reads the secret file, if that is where the secret is, and checks the claims.
func (m *machine) complete(dir string) error {
	if (m.Secret == "") == (m.SecretFile == "") {
		return errors.New("give either secret or secret-file")
	}
	if m.SecretFile != "" {
		name := m.SecretFile
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		secret, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("reading secret-file: %w", err)
		}
		m.Secret = strings.TrimRight(string(secret), "\r\n")
		if m.Secret == "" {
			return fmt.Errorf("secret-file %s is empty", name)
		}
	}
	for claim := range m.Claims {
		if slices.Contains(reservedClaims(), claim) {
			return fmt.Errorf("claims: %s is set by the provider", claim)
		}
	}
	if _, err := json.Marshal(m.Claims); err != nil {
		return fmt.Errorf("claims: %w", err)
	}
	return nil
}

// checkRedirectURI refuses what could not be redirected to safely: plain http anywhere but on this machine,
// and a fragment (RFC 6749, section 3.1.2).
func checkRedirectURI(uri string) error {
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Host == "" || strings.Contains(uri, "#"):
		return errors.New("is not an absolute URI without fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return errors.New("is neither http nor https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.IsLoopback() {
		return errors.New("is plain http to another place than 127.0.0.1 or [::1]")
	}
	return nil
}

// user finds a person.
func (a *accounts) user(sub string) (user, bool) {
	i := slices.IndexFunc(a.Users, func(u user) bool { return u.Sub == sub })
	if i < 0 {
		return user{}, false
	}
	return a.Users[i], true
}

// machine finds a machine.
func (a *accounts) machine(id string) (machine, bool) {
	i := slices.IndexFunc(a.Clients, func(m machine) bool { return m.ID == id })
	if i < 0 {
		return machine{}, false
	}
	return a.Clients[i], true
}

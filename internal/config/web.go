package config

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"example.org/keyserver/internal/policy"
)

// Web says how people sign in at the pages, and for how long.
type Web struct {
	// Issuer is the URL of an issuer of the policy, where people sign in. The zero value is refused.
	Issuer string `yaml:"issuer"`
	// ClientID is what the issuer calls this server. The zero value is refused.
	ClientID string `yaml:"client-id"`
	// ClientSecret is that of the client. The zero value means a public client.
	ClientSecret *Secret `yaml:"client-secret,omitempty"`
	// Idle is how long somebody stays signed in who does nothing. The zero value is refused; Read fills in the default.
	Idle Milliseconds `yaml:"idlems,omitempty"`
	// Absolute is how long anybody stays signed in. The zero value is refused; Read fills in the default.
	Absolute Milliseconds `yaml:"absolutems,omitempty"`
	// DecisionAge is how old a sign-in may be for a decision. The zero value is refused; Read fills in the default.
	DecisionAge Milliseconds `yaml:"decision-agems,omitempty"`
	// LinkHosts are hosts that claims may be shown as links to. The zero value means that no claim is.
	LinkHosts []string `yaml:"link-hosts,omitempty"`
}

const (
	defaultIdle        = Milliseconds(time.Hour / time.Millisecond)
	defaultAbsolute    = 12 * defaultIdle
	defaultDecisionAge = defaultIdle / 4
	maxSignIn          = 24 * defaultIdle // nobody is signed in for longer than a day
	maxClientID        = 255              // bytes
	maxHost            = 253              // RFC 1123
	redirectPath       = "/signed-in"
)

// complete fills in the defaults.
func (w *Web) complete() {
	for _, limit := range []struct {
		value *Milliseconds
		usual Milliseconds
	}{{&w.Idle, defaultIdle}, {&w.Absolute, defaultAbsolute}, {&w.DecisionAge, defaultDecisionAge}} {
		if *limit.value == 0 {
			*limit.value = limit.usual
		}
	}
}

// RedirectURL is where the issuer sends browsers back to after a sign-in: what is registered there.
func (c Config) RedirectURL() string { return c.URL + redirectPath }

func (k *checker) web(c Config) {
	if c.Web == nil {
		return
	}
	w := *c.Web
	u, err := url.Parse(w.Issuer)
	switch plain := err == nil && u.Scheme == "http"; {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && !plain:
		k.refuse("web: issuer %q is not the https:// URL of an issuer; write it as it stands in the policy", w.Issuer)
	case plain && !policy.OnLoopback(u):
		k.refuse("web: issuer %s is reached in clear; write https://, plain http is for loopback only", w.Issuer)
	case plain && c.Mode != Development:
		k.refuse("web: issuer %s is reached in clear; write https://, plain http is for development mode only", w.Issuer)
	}
	outside := func(r rune) bool { return r < ' ' || r > '~' } // RFC 6749, appendix A.1
	if w.ClientID == "" || len(w.ClientID) > maxClientID || strings.ContainsFunc(w.ClientID, outside) {
		k.refuse("web: client-id must be 1 to %d characters of ASCII; write what the issuer calls this server", maxClientID)
	}
	if w.ClientSecret != nil {
		if fault := w.ClientSecret.Fault(); fault != "" {
			k.refuse("web: client-secret: %s", fault)
		}
	}
	for _, limit := range []struct {
		name  string
		value Milliseconds
	}{{"idlems", w.Idle}, {"absolutems", w.Absolute}, {"decision-agems", w.DecisionAge}} {
		if limit.value < 1 || limit.value > maxSignIn {
			k.refuse("web: %s is %d; write a number from 1 to %d, or remove it for the default", limit.name, limit.value, maxSignIn)
		}
	}
	if w.Idle > w.Absolute {
		k.refuse("web: idlems is %d, and nobody stays signed in for longer than absolutems, %d; make it at most that", w.Idle, w.Absolute)
	}
	for _, host := range w.LinkHosts {
		if _, err := netip.ParseAddr(host); err == nil || len(host) > maxHost || !linkHost.MatchString(host) {
			k.refuse("web: link-hosts: %q is not the plain name of a host; write it in small letters, without scheme, port or path, such as github.com", host)
		}
	}
}

var linkHost = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

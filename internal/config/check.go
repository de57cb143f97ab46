package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

// Ceilings of the limits, so that none can be set to what amounts to no limit.
const (
	maxRequestsPerMinute   = 1_000_000 // about what one server can do
	maxPendingOperations   = 10_000
	maxKeystoreTimeout     = Milliseconds(law.AttemptLease/time.Millisecond) - 1 // a signature must be back within its lease (rule 12)
	maxKeystoreConcurrency = 1024
)

type checker struct{ problems []error }

func (c *checker) refuse(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// Check returns everything that keeps a server from running with this configuration, each a sentence that
// says how to mend it. It looks at the configuration only, not at the files and addresses that it names;
// that the database is not on a network file system is checked by who opens it.
func (c Config) Check() []error {
	var k checker
	if c.Mode != Development && c.Mode != Production {
		k.refuse("mode: %q is unknown; say development or production", c.Mode)
	}
	k.listeners(c)
	k.url(c)
	k.database(c)
	if fault := c.LogKey.Fault(); fault != "" {
		k.refuse("log-key: %s", fault)
	}
	k.keystores(c)
	k.web(c)
	k.notifications(c)
	k.limits(c.Limits)
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level) {
		k.refuse("log: level %q is unknown; say debug, info, warn or error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		k.refuse("log: format %q is unknown; say text or json", c.Log.Format)
	}
	return k.problems
}

// Anything but development mode gets the rules of production.
func (k *checker) listeners(c Config) {
	local := k.listener("listen", c.Listen, c.Mode)
	if c.MetricsListen != "" {
		k.listener("metrics-listen", c.MetricsListen, c.Mode)
		if c.MetricsListen == c.Listen {
			k.refuse("metrics-listen: %s is taken by listen; write another port", c.MetricsListen)
		}
	}
	switch {
	case (c.TLS.CertificateFile == "") != (c.TLS.KeyFile == ""):
		k.refuse("tls: certificate-file and key-file belong together; write both or remove tls")
	case c.TLS == TLS{} && !local:
		k.refuse("tls: a server that listens on other than loopback needs a certificate; write certificate-file and key-file, or listen on 127.0.0.1")
	}
}

func (k *checker) listener(name, address string, mode Mode) (loopback bool) {
	a, err := netip.ParseAddrPort(address)
	if host, port, ok := strings.Cut(address, ":"); err != nil && ok && host == "" {
		a, err = netip.ParseAddrPort("[::]:" + port) // as the net package reads an empty host: every address
	}
	if err != nil {
		k.refuse("%s: %q is not an IP address with a port; write it like 127.0.0.1:8443, [::1]:8443 or :8443", name, address)
		return false
	}
	loopback = a.Addr().Unmap().IsLoopback()
	if mode == Development && !loopback {
		k.refuse("%s: %s is not on loopback, and in development mode every listener is; write 127.0.0.1:%d, or say mode: production", name, address, a.Port())
	}
	if mode != Development && a.Port() == 0 {
		k.refuse("%s: port 0 means any free port, in development mode only; write the port", name)
	}
	return loopback
}

func (k *checker) url(c Config) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || !sensiblePort(u) ||
		c.URL != u.Scheme+"://"+u.Host { // nothing else in it
		k.refuse("url: it must be http:// or https:// with a host, a port if need be, and nothing after that, such as https://keyserver.example.com")
		return
	}
	switch {
	case c.Mode == Development && !policy.OnLoopback(u):
		k.refuse("url: %s is not on loopback, and a server in development mode is reached there only; write http://127.0.0.1 with the port, or say mode: production", c.URL)
	case u.Scheme == "http" && c.TLS != TLS{}:
		k.refuse("url: the listener speaks TLS; write https://%s", u.Host)
	case u.Scheme == "http" && !policy.OnLoopback(u):
		k.refuse("url: tokens would travel in clear to %s; write https://, plain http is for loopback only", u.Host)
	}
}

// sensiblePort says whether the URL has no port or one that there is.
func sensiblePort(u *url.URL) bool {
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return !strings.HasSuffix(u.Host, ":") && (u.Port() == "" || err == nil && n > 0)
}

var keystoreName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

func (k *checker) keystores(c Config) {
	if len(c.Keystores) == 0 {
		k.refuse("keystores: there is none; write at least one, with a name")
	}
	for i, s := range c.Keystores {
		earlier := c.Keystores[:i]
		switch {
		case !keystoreName.MatchString(s.Name):
			k.refuse("keystores: the name %q is not 1 to 63 of a-z, 0-9, dot, dash and underscore that start with a letter or digit", s.Name)
		case slices.ContainsFunc(earlier, func(e Keystore) bool { return e.Name == s.Name }):
			k.refuse("keystores: two are called %s; give each a name of its own", s.Name)
		}
		switch {
		case s.Software != nil && s.PKCS11 == nil:
			k.software(s.Name, *s.Software, earlier)
		case s.PKCS11 != nil && s.Software == nil:
			k.pkcs11(s.Name, *s.PKCS11, earlier)
		default:
			k.refuse("keystore %s: say exactly one of software and pkcs11", s.Name)
		}
	}
}

func (k *checker) software(name string, s Software, earlier []Keystore) {
	switch {
	case s.Directory == "":
		k.refuse("keystore %s: no directory; write where its files are", name)
	case slices.ContainsFunc(earlier, func(e Keystore) bool {
		return e.Software != nil && filepath.Clean(e.Software.Directory) == filepath.Clean(s.Directory)
	}):
		k.refuse("keystore %s: another keystore has the same directory; give each its own", name)
	}
	if fault := s.Passphrase.Fault(); fault != "" {
		k.refuse("keystore %s: passphrase: %s", name, fault)
	}
}

const (
	maxTokenLabel = 32  // bytes: CK_TOKEN_INFO has no more
	maxSessions   = 256 // of a token
)

func (k *checker) pkcs11(name string, p PKCS11, earlier []Keystore) {
	if p.Module == "" {
		k.refuse("keystore %s: no module; write the path of the HSM vendor's PKCS#11 library", name)
	}
	switch {
	case p.Token == "" || len(p.Token) > maxTokenLabel:
		k.refuse("keystore %s: token must be the label of the token, 1 to %d bytes", name, maxTokenLabel)
	case slices.ContainsFunc(earlier, func(e Keystore) bool {
		return e.PKCS11 != nil && e.PKCS11.Module == p.Module && e.PKCS11.Token == p.Token && maps.Equal(e.PKCS11.Environment, p.Environment)
	}):
		k.refuse("keystore %s: another keystore is the same token; name it once", name)
	}
	if fault := p.PIN.Fault(); fault != "" {
		k.refuse("keystore %s: pin: %s", name, fault)
	}
	if p.Sessions < 1 || p.Sessions > maxSessions {
		k.refuse("keystore %s: sessions is %d; write a number from 1 to %d, or remove it for the default", name, p.Sessions, maxSessions)
	}
	for _, v := range slices.Sorted(maps.Keys(p.Environment)) {
		if !variable.MatchString(v) {
			k.refuse("keystore %s: environment: %q is not the name of a variable", name, v)
		}
	}
}

func (k *checker) limits(l Limits) {
	for _, limit := range []struct {
		name        string
		value, most int64
	}{
		{"requests-per-minute", int64(l.RequestsPerMinute), maxRequestsPerMinute},
		{"pending-operations", int64(l.PendingOperations), maxPendingOperations},
		{"keystore-timeoutms", int64(l.KeystoreTimeout), int64(maxKeystoreTimeout)},
		{"keystore-concurrency", int64(l.KeystoreConcurrency), maxKeystoreConcurrency},
	} {
		if limit.value < 1 || limit.value > limit.most {
			k.refuse("limits: %s is %d; write a number from 1 to %d, or remove it for the default", limit.name, limit.value, limit.most)
		}
	}
}

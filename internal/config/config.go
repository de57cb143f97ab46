// Package config reads, checks and explains the two files an operator writes: the configuration of the
// server, read at every start, and the bootstrap file, read once by keyserver init.
//
// Reading is strict (see decode.go): a file that could mean two things, or in which something was left
// out or misspelt, is refused with line and column. Secrets are never in these files; they say where a
// secret is.
//
// [Read] says whether a file can be understood, [Config.Check] whether a server may run with it.
package config

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"example.org/keyserver/internal/strictyaml"
)

// Mode says how strict the server is with its surroundings.
type Mode string

const (
	Development Mode = "development" // loopback only, this machine only
	Production  Mode = "production"
)

// Milliseconds is a length of time as the files write it: a whole number of milliseconds.
type Milliseconds = strictyaml.Milliseconds

// Config is the configuration of a server, with defaults filled in and every path made absolute.
//
// The tag `omitempty` marks a field that may be absent from the file; all others are required.
type Config struct {
	// Mode has no default. The zero value is refused.
	Mode Mode `yaml:"mode" oneof:"development,production"`
	// Listen is the address and port of the API. The zero value is refused.
	Listen string `yaml:"listen"`
	// URL is how clients reach the API. The zero value is refused.
	URL string `yaml:"url"`
	// TLS is the API's certificate. The zero value means plain HTTP, which is refused but on loopback.
	TLS TLS `yaml:"tls,omitempty"`
	// MetricsListen is the address and port of the metrics. The zero value means that there are none.
	MetricsListen string `yaml:"metrics-listen,omitempty"`
	// Database is where the state and the audit log are. The zero value is refused.
	Database Database `yaml:"database"`
	// LogKey signs the checkpoints of the audit log. The zero value is refused.
	LogKey Secret `yaml:"log-key"`
	// Keystores are where private keys live. The zero value is refused: at least one is needed.
	Keystores []Keystore `yaml:"keystores"`
	// Web is how people sign in at the pages. The zero value means that there are no pages.
	Web *Web `yaml:"web,omitempty"`
	// Notifications says what messages the server sends. The zero value means none.
	Notifications *Notifications `yaml:"notifications,omitempty"`
	// Limits keep one caller from taking everything. Its zero value is refused; Read fills in the defaults.
	Limits Limits `yaml:"limits,omitempty"`
	// Log is what the server writes about its running. Its zero value is refused; Read fills in the defaults.
	Log Log `yaml:"log,omitempty"`
}

// TLS is a server certificate. The zero TLS is none.
type TLS struct {
	// CertificateFile is a PEM file, the server's certificate first. The zero value means no TLS, and is
	// refused if KeyFile is set.
	CertificateFile string `yaml:"certificate-file"`
	// KeyFile is a PEM file. The zero value means no TLS, and is refused if CertificateFile is set.
	KeyFile string `yaml:"key-file"`
}

// Keystore is one place where private keys live.
type Keystore struct {
	// Name is what keys call it by. The zero value is refused.
	Name string `yaml:"name"`
	// Software is a directory of encrypted files. The zero value means that it is none, and is refused if PKCS11 is nil as well.
	Software *Software `yaml:"software,omitempty"`
	// PKCS11 is a token of an HSM. The zero value means that it is none, and is refused if Software is nil as well.
	PKCS11 *PKCS11 `yaml:"pkcs11,omitempty"`
}

// Software is a keystore of encrypted files.
type Software struct {
	// Directory holds the files. The zero value is refused.
	Directory string `yaml:"directory"`
	// Passphrase opens them. The zero value is refused.
	Passphrase Secret `yaml:"passphrase"`
}

// PKCS11 is a keystore in an HSM, or in any other token with a PKCS#11 library. One worker process serves it.
type PKCS11 struct {
	// Module is the path of the library. The zero value is refused.
	Module string `yaml:"module"`
	// Token is the label of the token. The zero value is refused.
	Token string `yaml:"token"`
	// PIN is that of the token's user. The zero value is refused.
	PIN Secret `yaml:"pin"`
	// Environment is that of the worker, whole. The zero value means an empty one.
	Environment map[string]string `yaml:"environment,omitempty"`
	// Parameters are given to the library when it is initialised (pReserved). The zero value means none.
	Parameters string `yaml:"parameters,omitempty"`
	// Sessions is how many signatures the token makes at the same time. The zero value is refused; Read fills in the default.
	Sessions int `yaml:"sessions,omitempty"`
	// Worker is the path of the program keyserver-hsm. The zero value means the one beside the server's program.
	Worker string `yaml:"worker,omitempty"`
}

// Limits keep one caller from taking everything. None can be switched off: the zero value of each is
// refused, and each has a ceiling.
type Limits struct {
	// RequestsPerMinute is how many requests one subject may make in a minute, on average.
	RequestsPerMinute int `yaml:"requests-per-minute,omitempty"`
	// PendingOperations is how many pending operations one orderer may have.
	PendingOperations int `yaml:"pending-operations,omitempty"`
	// KeystoreTimeout is how long one signature may take; less than the lease of an attempt (rule 12).
	KeystoreTimeout Milliseconds `yaml:"keystore-timeoutms,omitempty"`
	// KeystoreConcurrency is how many signatures are made at the same time.
	KeystoreConcurrency int `yaml:"keystore-concurrency,omitempty"`
}

// Log is what the server writes about its running, on standard error. It is not the audit log.
type Log struct {
	// Level is the least important level written, as log/slog names them. The zero value is refused.
	Level string `yaml:"level,omitempty" oneof:"debug,info,warn,error"`
	// Format is text or json. The zero value is refused.
	Format string `yaml:"format,omitempty" oneof:"text,json"`
}

// defaultSessions are good for most HSMs.
const defaultSessions = 8

func defaults() Config {
	return Config{
		Limits: Limits{RequestsPerMinute: 600, PendingOperations: 100, KeystoreTimeout: 20_000, KeystoreConcurrency: 64},
		Log:    Log{Level: "info", Format: "text"},
	}
}

const maxFile = 1 << 20 // bytes

// Read reads the configuration file. Relative paths in it are relative to the directory it is in. Secrets
// that are in the environment are looked up with env, when they are read. The error tells everything that
// was found wrong, a line each. What Read returns has yet to pass [Config.Check].
func Read(path string, env func(string) (string, bool)) (Config, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration %s: %w", path, err)
	}
	data, err := strictyaml.ReadFile(path, maxFile)
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration: %w", err)
	}
	c, problems := parse(data, filepath.Dir(abs), env)
	if len(problems) > 0 {
		return Config{}, strictyaml.Together(path, problems)
	}
	return c, nil
}

func parse(data []byte, dir string, env func(string) (string, bool)) (Config, []error) {
	c := defaults()
	if problems := strictyaml.Decode(data, &c); len(problems) > 0 {
		return Config{}, problems
	}
	for _, k := range c.Keystores {
		if k.PKCS11 != nil && k.PKCS11.Sessions == 0 {
			k.PKCS11.Sessions = defaultSessions
		}
	}
	if c.Web != nil {
		c.Web.complete()
	}
	if c.Notifications != nil {
		c.Notifications.complete()
	}
	for _, p := range c.paths() {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for _, s := range c.secrets() {
		s.lookup = env
	}
	return c, nil
}

func (c *Config) paths() []*string {
	paths := append([]*string{&c.TLS.CertificateFile, &c.TLS.KeyFile}, c.Database.paths()...)
	for _, k := range c.Keystores {
		if k.Software != nil {
			paths = append(paths, &k.Software.Directory)
		}
		if k.PKCS11 != nil {
			paths = append(paths, &k.PKCS11.Module, &k.PKCS11.Worker)
		}
	}
	for _, s := range c.secrets() {
		paths = append(paths, &s.File)
	}
	return paths
}

func (c *Config) secrets() []*Secret {
	secrets := append([]*Secret{&c.LogKey}, c.Database.secrets()...)
	for _, k := range c.Keystores {
		if k.Software != nil {
			secrets = append(secrets, &k.Software.Passphrase)
		}
		if k.PKCS11 != nil {
			secrets = append(secrets, &k.PKCS11.PIN)
		}
	}
	if c.Web != nil && c.Web.ClientSecret != nil {
		secrets = append(secrets, c.Web.ClientSecret)
	}
	return append(secrets, c.Notifications.secrets()...)
}

// Show writes the configuration that is in effect, as YAML that [Read] understands. Of a secret it shows
// where it comes from.
func (c Config) Show(w io.Writer) error {
	text, err := yaml.MarshalWithOptions(c, yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("showing the configuration: %w", err)
	}
	_, err = w.Write(text)
	return err
}

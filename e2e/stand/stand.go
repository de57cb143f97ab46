// Package stand sets up the real programs for a trial on this machine: servers on SQLite or PostgreSQL, with keys
// in the software keystore or in an HSM, and the development identity provider, each a process of its own on
// loopback.
package stand

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	_ "embed"

	"example.org/keyserver/internal/keystore/hsm/hsmtest"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/store/postgrestest"
)

// The files that a stand is made of. They serve as examples too.
var (
	//go:embed keyserver.yaml
	serverConfig string
	//go:embed bootstrap.yaml
	bootstrap string
	//go:embed accounts.yaml
	accounts string
)

// Stand is a number of servers and an identity provider that run.
type Stand struct {
	Dir     string   // holds all files but those of PostgreSQL
	Bin     string   // holds the programs
	Server  string   // URL of the API of the first server, without /api
	Servers []string // of each server
	Issuer  string   // URL of the identity provider

	Cluster *postgrestest.Cluster // where the database is; nil: in a file
	Token   *hsmtest.Token        // where the keys are; nil: in the software keystore

	database *store.Postgres
	procs    []*exec.Cmd
	mailPort int // 0: no e-mails are sent
}

// The databases and keystores of a stand.
const (
	SQLite   = "sqlite"
	Postgres = "postgres" // a private cluster of its own
	Software = "software"
	SoftHSM  = "softhsm" // a new token of SoftHSM2
)

// Options say what a stand is made of. The zero value is one server, SQLite and the software keystore.
type Options struct {
	Database string         // SQLite or Postgres
	Keystore string         // Software or SoftHSM
	Token    *hsmtest.Token // in place of the Keystore; it exists already
	Servers  int            // on the one database; more than one need Postgres
	World    bool           // with the policy that [Stand.World] needs
	MailPort int            // of a mail server on loopback; 0: no e-mails are sent
}

// patience is how long a program may take until it serves.
const patience = 30 * time.Second

// New starts the programs in bin with their files in dir, which must be empty. What they log goes to log
// files there.
func New(ctx context.Context, bin, dir string) (*Stand, error) {
	return NewWith(ctx, bin, dir, Options{})
}

// NewWith is New of other parts.
func NewWith(ctx context.Context, bin, dir string, o Options) (*Stand, error) {
	s := &Stand{Dir: dir, Bin: bin, Token: o.Token, mailPort: o.MailPort}
	if err := s.setUp(ctx, o); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stand) setUp(ctx context.Context, o Options) error {
	if err := s.prepare(ctx, o); err != nil {
		return err
	}
	if err := s.startIssuer(ctx); err != nil {
		return fmt.Errorf("starting the identity provider: %w", err)
	}
	passphrase := make([]byte, 32)
	_, _ = rand.Read(passphrase)
	policy := bootstrap
	if o.World {
		policy = worldBootstrap
	}
	files := map[string]string{"bootstrap.yaml": policy, "passphrase": base64.StdEncoding.EncodeToString(passphrase) + "\n"}
	if s.Token != nil {
		files["bootstrap.yaml"] = strings.ReplaceAll(policy, "keystore: software", "keystore: hsm")
	}
	for i := range max(o.Servers, 1) {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		s.Servers = append(s.Servers, "http://"+address)
		if err := s.write(config(i), serverConfig, s.values(address)); err != nil {
			return err
		}
	}
	s.Server = s.Servers[0]
	for name, text := range files {
		if err := s.write(name, text, s.values("")); err != nil {
			return err
		}
	}
	if out, err := s.Command(ctx, "keyserver", "init", "--config", s.Config(), "--bootstrap", s.path("bootstrap.yaml")).CombinedOutput(); err != nil {
		return fmt.Errorf("keyserver init: %w\n%s", err, out)
	}
	if err := s.Serve(ctx); err != nil {
		return fmt.Errorf("starting the server: %w", err)
	}
	return nil
}

func (s *Stand) startIssuer(ctx context.Context) error {
	if err := s.write("accounts.yaml", accounts, nil); err != nil {
		return err
	}
	where := s.path("issuer")
	if err := s.start(s.Command(ctx, "devidp", "--listen", "127.0.0.1:0", "--accounts", s.path("accounts.yaml"), "--addr-file", where)); err != nil {
		return err
	}
	return s.until(ctx, func() error {
		text, err := os.ReadFile(where)
		s.Issuer = strings.TrimSpace(string(text))
		return err
	})
}

// Serve starts the servers, and returns when they are ready.
func (s *Stand) Serve(ctx context.Context) error {
	for i := range s.Servers {
		if err := s.start(s.Command(ctx, "keyserver", "serve", "--config", s.path(config(i)))); err != nil {
			return err
		}
	}
	return s.until(ctx, func() error {
		for _, server := range s.Servers {
			if err := ready(server); err != nil {
				return err
			}
		}
		return nil
	})
}

func ready(server string) error {
	answer, err := http.Get(server + "/api/ready")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
		return fmt.Errorf("the server is not ready: %s\n%s", answer.Status, body)
	}
	return nil
}

// Command is a run of one of the programs, in the stand's folder.
func (s *Stand) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(s.Bin, program), args...)
	c.Dir = s.Dir
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 40 * time.Second // longer than the server takes to let requests finish
	return c
}

func (s *Stand) start(c *exec.Cmd) error {
	log, err := os.OpenFile(s.path(filepath.Base(c.Path)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		return err
	}
	s.procs = append(s.procs, c)
	return nil
}

// until asks again and again, until the answer is no error or patience is at its end.
func (s *Stand) until(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w\n%s", err, s.logs())
		case <-tick.C:
		}
	}
}

func (s *Stand) logs() []byte {
	var all bytes.Buffer
	for _, c := range s.procs {
		text, _ := os.ReadFile(s.path(filepath.Base(c.Path) + ".log"))
		all.Write(text)
	}
	return all.Bytes()
}

// Stop ends what the stand started and waits for it.
func (s *Stand) Stop() error {
	err := s.stopAll()
	if s.Cluster != nil {
		err = errors.Join(err, s.Cluster.Stop())
		s.Cluster = nil
	}
	return err
}

func (s *Stand) stopAll() error {
	var err error
	for _, c := range s.procs {
		if e := c.Process.Signal(os.Interrupt); !errors.Is(e, os.ErrProcessDone) {
			err = errors.Join(err, e)
		}
	}
	for _, c := range s.procs {
		_ = c.Wait() // how it ended is in its log
	}
	s.procs = nil
	return err
}

// PIDs lists the processes of a program that run.
func (s *Stand) PIDs(program string) []int {
	var pids []int
	for _, c := range s.procs {
		if filepath.Base(c.Path) == program {
			pids = append(pids, c.Process.Pid)
		}
	}
	return pids
}

// StopServer ends the servers and waits for them. [Stand.Serve] starts them again.
func (s *Stand) StopServer() error {
	server := &Stand{}
	s.procs = slices.DeleteFunc(s.procs, func(c *exec.Cmd) bool {
		is := filepath.Base(c.Path) == "keyserver"
		if is {
			server.procs = append(server.procs, c)
		}
		return is
	})
	return server.stopAll()
}

// MachineToken gets an access token for the machine ci-firmware by client credentials.
func (s *Stand) MachineToken(ctx context.Context) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"ci-firmware"}, "client_secret": {"development-only"}}
	var token struct {
		AccessToken string `json:"access_token"`
	}
	body, err := s.post(ctx, s.Issuer+"/token", form)
	if err == nil {
		err = json.Unmarshal(body, &token)
	}
	if err != nil {
		return "", fmt.Errorf("getting a token for ci-firmware: %w", err)
	}
	return token.AccessToken, nil
}

// Allow plays a person's browser: it signs in as that person and allows the device that shows the code.
func (s *Stand) Allow(ctx context.Context, person, userCode string) error {
	_, err := s.post(ctx, s.Issuer+"/device", url.Values{"user_code": {userCode}, "sub": {person}, "action": {"allow"}})
	return err
}

func (s *Stand) post(ctx context.Context, to string, form url.Values) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s\n%s", to, answer.Status, body)
	}
	return body, err
}

func (s *Stand) path(name string) string { return filepath.Join(s.Dir, name) }

// Config is the path of the first server's configuration file.
func (s *Stand) Config() string { return s.path(config(0)) }

// config is the name of the configuration file of a server.
func config(i int) string {
	if i == 0 {
		return "keyserver.yaml"
	}
	return fmt.Sprintf("keyserver-%d.yaml", i+1)
}

func (s *Stand) write(name, text string, values any) error {
	t, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, values); err != nil {
		return err
	}
	return os.WriteFile(s.path(name), out.Bytes(), 0o600)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// Package postgrestest gives tests and trials a PostgreSQL server of their own: a private cluster on a unix
// socket, that nobody else can reach, with the settings that PostgreSQL has when it is installed. It needs
// Debian's package postgresql, and fails the test where that is missing.
//
// The cluster belongs to the process that asked for it, and is gone when that ends, however it ends.
package postgrestest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"example.org/keyserver/internal/store"
)

// Roles of every cluster. They need no password, since the socket is in a directory of its owner's.
const (
	Owner    = "keyserver_owner"  // owns the databases
	Server   = "keyserver_server" // gets what the owner grants
	postgres = "postgres"         // superuser
)

// Cluster is a PostgreSQL server that runs.
type Cluster struct {
	Dir   string // holds its files, and its socket
	Port  int
	say   io.WriteCloser // closing it ends the cluster
	said  *bufio.Reader
	ended *exec.Cmd
	made  atomic.Int64 // databases
	mu    sync.Mutex
	empty []store.Location // given back
}

var shared = sync.OnceValues(func() (*Cluster, error) { return Start("") })

// New makes an empty database on the cluster of this test binary, until the test ends. It belongs to Owner,
// who serves too.
func New(t testing.TB) store.Location {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	at, err := c.NewDatabase(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.giveBack(context.Background(), at); err != nil {
			t.Error(err)
		}
	})
	return at
}

// Exec runs a statement in the database of a location as a superuser, as somebody does who has taken over
// the database.
func Exec(t testing.TB, at store.Location, statement string) {
	t.Helper()
	c, err := shared()
	if err == nil {
		err = c.Exec(context.Background(), at.Postgres.Name, statement)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ExecAs runs a statement as a role, and returns what the server says.
func ExecAs(t testing.TB, at store.Location, role, statement string) error {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c.execAs(context.Background(), at.Postgres.Name, role, statement)
}

// Copy makes a copy of a database that nobody uses, until the test ends.
func Copy(t testing.TB, of store.Location) store.Location {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	at := *of.Postgres
	at.Name = fmt.Sprintf("keyserver_%d", c.made.Add(1))
	if err := c.Exec(context.Background(), postgres, `CREATE DATABASE `+at.Name+` OWNER `+Owner+` TEMPLATE `+of.Postgres.Name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Exec(context.Background(), postgres, `DROP DATABASE `+at.Name+` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	return store.Location{Postgres: &at}
}

// Query returns the lines that a query answers with, each of one text.
func Query(t testing.TB, at store.Location, query string) string {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c.MustQuery(t, at, query)
}

// NewDatabase makes an empty database, or takes one that was given back: making one takes a third of a second.
func (c *Cluster) NewDatabase(ctx context.Context) (store.Location, error) {
	c.mu.Lock()
	if n := len(c.empty); n > 0 {
		at := c.empty[n-1]
		c.empty = c.empty[:n-1]
		c.mu.Unlock()
		return at, nil
	}
	c.mu.Unlock()
	name := fmt.Sprintf("keyserver_%d", c.made.Add(1))
	if err := c.Exec(ctx, postgres, `CREATE DATABASE `+name+` OWNER `+Owner+` TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'`); err != nil {
		return store.Location{}, err
	}
	return store.Location{Postgres: &store.Postgres{Host: c.Dir, Port: c.Port, Name: name, Server: store.Role{Name: Owner}}}, nil
}

// giveBack empties a database for the next one who asks for one.
func (c *Cluster) giveBack(ctx context.Context, at store.Location) error {
	err := c.Exec(ctx, at.Postgres.Name, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
		DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner; GRANT USAGE ON SCHEMA public TO PUBLIC`)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty = append(c.empty, at)
	return nil
}

// Confined is the same location as a production server uses it, which cannot rewrite its audit log.
func Confined(at store.Location) store.Location {
	p := *at.Postgres
	p.Owner, p.Server, p.Confined = store.Role{Name: Owner}, store.Role{Name: Server}, true
	return store.Location{Postgres: &p}
}

// Exec runs a statement in a database as a superuser.
func (c *Cluster) Exec(ctx context.Context, database, statement string) error {
	return c.execAs(ctx, database, postgres, statement)
}

func (c *Cluster) connect(ctx context.Context, database, role string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable", c.Dir, c.Port, role, database))
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster in %s: %w", c.Dir, err)
	}
	return conn, nil
}

func (c *Cluster) execAs(ctx context.Context, database, role, statement string) error {
	conn, err := c.connect(ctx, database, role)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// script runs the server, stops and starts it as it is told, until its standard input ends, which it does when
// the process that started it is gone. It says when that is done.
const script = `
set -eu
bin=$1 dir=$2 port=$3
start() {
  "$bin/postgres" -D "$dir/data" -k "$dir" -p "$port" >>"$dir/log" 2>&1 &
  server=$!
  while ! "$bin/pg_isready" -q -h "$dir" -p "$port"; do kill -0 $server; done
  echo started
}
"$bin/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync --no-instructions >"$dir/log" 2>&1
printf "listen_addresses = ''\nmax_connections = 300\n" >>"$dir/data/postgresql.conf"
start
while read -r order; do
  case $order in
    start) start ;;
    stop) kill -INT $server; wait $server || true; echo stopped ;;
  esac
done
kill -QUIT $server 2>/dev/null || true
wait $server || true
rm -rf "$dir"
`

// Start starts a cluster with its files in a new directory below the given one, or that of temporary files if
// it is empty. It is gone when Stop is called or the process ends.
func Start(below string) (*Cluster, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(below, "keyserver-pg-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, Port: port}
	if err := c.start(bin); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, errors.Join(fmt.Errorf("starting PostgreSQL: %w\n%s", err, log), os.RemoveAll(dir))
	}
	for _, role := range []string{Owner, Server} {
		if err := c.Exec(context.Background(), postgres, `CREATE ROLE `+role+` LOGIN`); err != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
	return c, nil
}

func (c *Cluster) start(bin string) error {
	run := exec.Command("/bin/sh", "-c", script, "sh", bin, c.Dir, strconv.Itoa(c.Port))
	run.Dir = "/"
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is not for it
	if os.Getuid() == 0 {
		credential, err := unprivileged()
		if err != nil {
			return err
		}
		run.SysProcAttr.Credential = credential
		if err := os.Chown(c.Dir, int(credential.Uid), int(credential.Gid)); err != nil {
			return err
		}
	}
	stdin, err := run.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := run.StdoutPipe()
	if err != nil {
		return err
	}
	if err := run.Start(); err != nil {
		return err
	}
	c.say, c.said, c.ended = stdin, bufio.NewReader(stdout), run
	if err := c.await("started"); err != nil {
		return errors.Join(err, c.Stop())
	}
	return nil
}

func (c *Cluster) await(word string) error {
	if line, err := c.said.ReadString('\n'); line != word+"\n" {
		return fmt.Errorf("the cluster in %s said %q, not %s (%w)", c.Dir, line, word, err)
	}
	return nil
}

// Halt shuts the server down as an operator does, without waiting for its clients.
func (c *Cluster) Halt() error {
	_, err := io.WriteString(c.say, "stop\n")
	return errors.Join(err, c.await("stopped"))
}

// Resume starts the server again after Halt.
func (c *Cluster) Resume() error {
	_, err := io.WriteString(c.say, "start\n")
	return errors.Join(err, c.await("started"))
}

// Stop ends the cluster and removes its files.
func (c *Cluster) Stop() error {
	err := c.say.Close()
	return errors.Join(err, c.ended.Wait())
}

// freePort is a port that nobody listens on. It is in the name of the socket, and free to be listened on too.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// Signal sends a signal to the server's first process, as an operator does.
func (c *Cluster) Signal(s syscall.Signal) error {
	text, err := os.ReadFile(filepath.Join(c.Dir, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0])
	if err != nil {
		return err
	}
	return syscall.Kill(pid, s)
}

// unprivileged is who runs the server instead of root, for whom it refuses to run.
func unprivileged() (*syscall.Credential, error) {
	u, err := user.Lookup(postgres)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// programs is the directory of the newest PostgreSQL server on this machine: Debian has them apart.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	if len(found) == 0 || version(found[len(found)-1]) < 15 {
		return "", errors.New("PostgreSQL 15 or newer is not installed; install it with: sudo apt-get install postgresql")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// MustQuery returns the lines that a query answers with, each of one text, on this cluster.
func (c *Cluster) MustQuery(t testing.TB, at store.Location, query string) string {
	t.Helper()
	conn, err := c.connect(context.Background(), at.Postgres.Name, postgres)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	rows, err := conn.Query(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

package store

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
)

// Location says where a database is: on a PostgreSQL server if Postgres is given, else in a file of SQLite.
type Location struct {
	SQLite   string // path of the file
	Postgres *Postgres
}

// File is the location of a file of SQLite.
func File(path string) Location { return Location{SQLite: path} }

// String names the location. It has no secret in it.
func (l Location) String() string {
	if l.Postgres != nil {
		return l.Postgres.String()
	}
	return l.SQLite
}

// Shared says whether several servers can use the database at the same time.
func (l Location) Shared() bool { return l.Postgres != nil }

// Postgres says where a PostgreSQL database is, and as whom it is used.
type Postgres struct {
	Host   string // name or IP address, or the absolute path of the directory that the server's socket is in
	Port   int
	Name   string      // of the database
	TLS    *tls.Config // nil: none, which is for sockets and loopback
	Server Role        // serves
	// Owner owns the tables: it makes and migrates them, and gives Server what it needs and no more, so that
	// the server cannot rewrite the audit log. The zero Owner: Server is the owner too.
	Owner Role
	// Confined refuses a server's role that could rewrite the audit log.
	Confined bool
}

// Role is a role of a PostgreSQL server.
type Role struct {
	Name     string
	Password string // secret; empty: the server knows the role in another way
}

// Format prints the name alone, whatever the verb.
func (r Role) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, r.Name) }

// LogValue logs the name alone.
func (r Role) LogValue() slog.Value { return slog.StringValue(r.Name) }

// String names the database.
func (p *Postgres) String() string {
	if strings.HasPrefix(p.Host, "/") {
		return fmt.Sprintf("%s of the PostgreSQL server at %s, port %d", p.Name, p.Host, p.Port)
	}
	return fmt.Sprintf("%s of the PostgreSQL server at %s", p.Name, net.JoinHostPort(p.Host, strconv.Itoa(p.Port)))
}

// notTheOwner says how to mend that the tables could not be made or migrated for lack of a right.
func (p *Postgres) notTheOwner(err error) error {
	if p.Owner.Name == "" {
		return fmt.Errorf("the role %s may not make tables here; name the owner in database.postgres.owner (docs/operators/postgresql.md): %w", p.Server, err)
	}
	return fmt.Errorf("the role %s may not make tables here; the owner must own the database (docs/operators/postgresql.md): %w", p.Owner, err)
}

func (p *Postgres) owner() Role {
	if p.Owner.Name == "" {
		return p.Server
	}
	return p.Owner
}

package config

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
)

// Database says where the database is: exactly one of its fields is given.
type Database struct {
	// SQLite is the path of the database file. The zero value means that the database is not a file.
	SQLite string `yaml:"sqlite,omitempty"`
	// Postgres is a database of a PostgreSQL server. The zero value means that it is not on one.
	Postgres *Postgres `yaml:"postgres,omitempty"`
}

// Postgres is a database of a PostgreSQL server, and who uses it.
type Postgres struct {
	// Host is a name or IP address, or the absolute path of the directory that the server's socket is in. The
	// zero value is refused.
	Host string `yaml:"host"`
	// Port is that of the server; it is in the name of a socket too. The zero value is refused.
	Port int `yaml:"port"`
	// Name is that of the database. The zero value is refused.
	Name string `yaml:"name"`
	// User is the role that serves. The zero value is refused.
	User string `yaml:"user"`
	// Password is that of User. The zero value means that the server knows the role in another way.
	Password *Secret `yaml:"password,omitempty"`
	// Owner is the role that owns the tables. The zero value means that tables are made and migrated from
	// elsewhere, or in development mode by User.
	Owner *Owner `yaml:"owner,omitempty"`
	// TLS is how the server is known. The zero value means no TLS, which is refused for a host on a network.
	TLS *DatabaseTLS `yaml:"tls,omitempty"`
}

// Owner is the role that owns the tables.
type Owner struct {
	// User is the role. The zero value is refused.
	User string `yaml:"user"`
	// Password is that of User. The zero value means that the server knows the role in another way.
	Password *Secret `yaml:"password,omitempty"`
}

// DatabaseTLS is how the database server and this one know each other.
type DatabaseTLS struct {
	// CAFile is a PEM file with the certificates that vouch for the database server's. The zero value is refused.
	CAFile string `yaml:"ca-file"`
	// CertificateFile is a PEM file, this server's certificate first. The zero value means none, and is refused
	// if KeyFile is set.
	CertificateFile string `yaml:"certificate-file,omitempty"`
	// KeyFile is a PEM file. The zero value means none, and is refused if CertificateFile is set.
	KeyFile string `yaml:"key-file,omitempty"`
}

// fault says what is wrong with a Database, nothing if it is exactly one.
func (d Database) Fault() string {
	if (d.SQLite == "") == (d.Postgres == nil) {
		return "say exactly one of `sqlite` and `postgres`"
	}
	return ""
}

func (d *Database) paths() []*string {
	paths := []*string{&d.SQLite}
	if d.Postgres != nil && d.Postgres.TLS != nil {
		t := d.Postgres.TLS
		paths = append(paths, &t.CAFile, &t.CertificateFile, &t.KeyFile)
	}
	return paths
}

func (d *Database) secrets() []*Secret {
	var secrets []*Secret
	if p := d.Postgres; p != nil && p.Password != nil {
		secrets = append(secrets, p.Password)
	}
	if p := d.Postgres; p != nil && p.Owner != nil && p.Owner.Password != nil {
		secrets = append(secrets, p.Owner.Password)
	}
	return secrets
}

// OnThisMachine says whether the server is reached without a network.
func (p Postgres) OnThisMachine() bool {
	a, err := netip.ParseAddr(p.Host)
	return p.socket() || p.Host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

func (p Postgres) socket() bool { return strings.HasPrefix(p.Host, "/") }

// What SQLite would take for more than a path is refused.
func (k *checker) database(c Config) {
	path := c.Database.SQLite
	switch {
	case c.Database.Fault() != "":
		k.refuse("database: %s", c.Database.Fault())
	case c.Database.Postgres != nil:
		k.postgres(*c.Database.Postgres, c.Mode)
	case strings.Contains("/"+path, "/file:") || strings.Contains(path, "?") || filepath.Base(path) == ":memory:":
		k.refuse("database: sqlite must be the plain path of a file, without file:, :memory: or a question mark")
	}
}

// hostName is one name: lists of hosts, of which any might be a standby, are not understood.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

// maxIdentifier is how long a name can be in PostgreSQL, in bytes; the server would cut off a longer one.
const maxIdentifier = 63

func (k *checker) postgres(p Postgres, mode Mode) {
	_, err := netip.ParseAddr(p.Host)
	switch {
	case err != nil && !hostName.MatchString(p.Host) && !p.socket():
		k.refuse("database: host %q is not one host; write its name or IP address, or the absolute path of the directory that the server's socket is in", p.Host)
	case mode == Development && !p.OnThisMachine():
		k.refuse("database: %s is not this machine, and in development mode the database is; write the directory of the server's socket or 127.0.0.1, or say mode: production", p.Host)
	}
	if p.Port < 1 || p.Port > 65535 {
		k.refuse("database: port %d is none; write a number from 1 to 65535, PostgreSQL's own is 5432", p.Port)
	}
	k.identifier("name", p.Name)
	k.identifier("user", p.User)
	k.password("password", p.Password)
	if p.Owner != nil {
		k.identifier("owner: user", p.Owner.User)
		k.password("owner: password", p.Owner.Password)
		if p.Owner.User == p.User {
			k.refuse("database: owner: it is the user who serves; name the role that owns the tables, or remove owner")
		}
	}
	k.databaseTLS(p)
}

func (k *checker) identifier(field, name string) {
	if name == "" || len(name) > maxIdentifier {
		k.refuse("database: %s %q is not a name of 1 to %d bytes; write one", field, name, maxIdentifier)
	}
}

func (k *checker) password(field string, s *Secret) {
	if s != nil && s.Fault() != "" {
		k.refuse("database: %s: %s", field, s.Fault())
	}
}

func (k *checker) databaseTLS(p Postgres) {
	t := p.TLS
	switch {
	case t == nil && !p.OnThisMachine():
		k.refuse("database: passwords and state would travel in clear to %s; write tls with the ca-file that vouches for its certificate", p.Host)
	case t == nil:
	case p.socket():
		k.refuse("database: tls: a socket does not speak it; remove tls, or write the name of the host")
	case t.CAFile == "":
		k.refuse("database: tls: ca-file is missing; write the file with the certificates that vouch for %s", p.Host)
	case (t.CertificateFile == "") != (t.KeyFile == ""):
		k.refuse("database: tls: certificate-file and key-file belong together; write both or remove both")
	}
}

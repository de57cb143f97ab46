package config

import (
	"path/filepath"
	"strings"
	"testing"
)

// changed returns an example with one change made to it.
func changed(t *testing.T, file string, change func(*Config)) Config {
	t.Helper()
	c, err := Read(filepath.Join("testdata", file), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	change(&c)
	return c
}

var checks = []struct {
	name   string
	file   string
	change func(*Config)
	want   string // empty: nothing is wrong
}{
	{"development on the other loopback", "development.yaml", func(c *Config) { c.Listen, c.URL = "[::1]:8443", "http://[::1]:8443" }, ""},
	{"development with a free port", "development.yaml", func(c *Config) { c.Listen = "127.0.0.1:0" }, ""},
	{"development at localhost", "development.yaml", func(c *Config) { c.URL = "http://localhost:8443" }, ""},
	{"development with TLS", "development.yaml", func(c *Config) { c.TLS, c.URL = TLS{"c", "k"}, "https://127.0.0.1" }, ""},
	{"development with metrics", "development.yaml", func(c *Config) { c.MetricsListen = "127.0.0.2:9464" }, ""},
	{"production behind a proxy on this machine", "production.yaml", func(c *Config) { c.TLS, c.Listen = TLS{}, "127.0.0.1:8443" }, ""},
	{"production on every address", "production.yaml", func(c *Config) { c.Listen = ":8443" }, ""},
	{"production without metrics", "production.yaml", func(c *Config) { c.MetricsListen = "" }, ""},

	{"development on every address", "development.yaml", func(c *Config) { c.Listen = "0.0.0.0:8443" },
		"listen: 0.0.0.0:8443 is not on loopback, and in development mode every listener is; write 127.0.0.1:8443, or say mode: production\n" +
			"tls: a server that listens on other than loopback needs a certificate; write certificate-file and key-file, or listen on 127.0.0.1"},
	{"development on every address, with TLS", "development.yaml",
		func(c *Config) { c.Listen, c.TLS, c.URL = ":8443", TLS{"c", "k"}, "https://127.0.0.1:8443" },
		"listen: :8443 is not on loopback, and in development mode every listener is; write 127.0.0.1:8443, or say mode: production"},
	{"development with metrics for all", "development.yaml", func(c *Config) { c.MetricsListen = "10.0.0.5:9464" },
		"metrics-listen: 10.0.0.5:9464 is not on loopback, and in development mode every listener is; write 127.0.0.1:9464, or say mode: production"},
	{"development that is reached from elsewhere", "development.yaml", func(c *Config) { c.URL = "https://keyserver.example.com" },
		"url: https://keyserver.example.com is not on loopback, and a server in development mode is reached there only; write http://127.0.0.1 with the port, or say mode: production"},
	{"an unknown mode", "development.yaml", func(c *Config) { c.Mode = "Development" },
		`mode: "Development" is unknown; say development or production`},
	{"an unknown mode on every address", "production.yaml", func(c *Config) { c.Mode, c.TLS = "", TLS{} },
		`mode: "" is unknown; say development or production` + "\n" +
			"tls: a server that listens on other than loopback needs a certificate; write certificate-file and key-file, or listen on 127.0.0.1"},
	{"a host name to listen on", "development.yaml", func(c *Config) { c.Listen = "localhost:8443" },
		`listen: "localhost:8443" is not an IP address with a port; write it like 127.0.0.1:8443, [::1]:8443 or :8443` + "\n" +
			"tls: a server that listens on other than loopback needs a certificate; write certificate-file and key-file, or listen on 127.0.0.1"},
	{"no port", "production.yaml", func(c *Config) { c.Listen = "10.0.0.5" },
		`listen: "10.0.0.5" is not an IP address with a port; write it like 127.0.0.1:8443, [::1]:8443 or :8443`},
	{"a port that there is not", "production.yaml", func(c *Config) { c.Listen = ":65536" },
		`listen: ":65536" is not an IP address with a port; write it like 127.0.0.1:8443, [::1]:8443 or :8443`},
	{"any free port in production", "production.yaml", func(c *Config) { c.Listen = "10.0.0.5:0" },
		"listen: port 0 means any free port, in development mode only; write the port"},
	{"metrics where the API is", "production.yaml", func(c *Config) { c.MetricsListen = c.Listen },
		"metrics-listen: 0.0.0.0:8443 is taken by listen; write another port"},
	{"production without TLS", "production.yaml", func(c *Config) { c.TLS = TLS{} },
		"tls: a server that listens on other than loopback needs a certificate; write certificate-file and key-file, or listen on 127.0.0.1"},
	{"half of TLS", "production.yaml", func(c *Config) { c.TLS.KeyFile = "" },
		"tls: certificate-file and key-file belong together; write both or remove tls"},
	{"plain http with TLS", "production.yaml", func(c *Config) { c.URL = "http://keyserver.example.com:8443" },
		"url: the listener speaks TLS; write https://keyserver.example.com:8443"},
	{"plain http through a proxy", "production.yaml",
		func(c *Config) { c.TLS, c.Listen, c.URL = TLS{}, "127.0.0.1:8443", "http://keyserver.example.com" },
		"url: tokens would travel in clear to keyserver.example.com; write https://, plain http is for loopback only"},
	{"no database", "production.yaml", func(c *Config) { c.Database.SQLite = "" },
		"database: say exactly one of `sqlite` and `postgres`"},
	{"a database with options", "production.yaml", func(c *Config) { c.Database.SQLite = "/x.db?_sync=off" },
		"database: sqlite must be the plain path of a file, without file:, :memory: or a question mark"},
	{"a database by URI", "production.yaml", func(c *Config) { c.Database.SQLite = "file:/x.db" },
		"database: sqlite must be the plain path of a file, without file:, :memory: or a question mark"},
	{"a database in memory", "production.yaml", func(c *Config) { c.Database.SQLite = "/etc/keyserver/:memory:" },
		"database: sqlite must be the plain path of a file, without file:, :memory: or a question mark"},
	{"a database on a socket", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.Host, c.Database.Postgres.TLS = "/run/postgresql", nil }, ""},
	{"a database on loopback", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.Host, c.Database.Postgres.TLS = "::1", nil }, ""},
	{"a database on loopback, with TLS", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.Host = "localhost" }, ""},
	{"a database that asks for a certificate", "production-postgres.yaml",
		func(c *Config) { c.Database.Postgres.TLS.CertificateFile, c.Database.Postgres.TLS.KeyFile = "c", "k" }, ""},
	{"a database with an owner", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.Owner = &Owner{User: "keyserver_owner"} }, ""},
	{"development with a database on a socket", "development.yaml",
		func(c *Config) {
			c.Database = Database{Postgres: &Postgres{Host: "/tmp", Port: 1, Name: "k", User: "s"}}
		}, ""},
	{"two databases", "production-postgres.yaml", func(c *Config) { c.Database.SQLite = "/x.db" },
		"database: say exactly one of `sqlite` and `postgres`"},
	{"a database of which nothing is said", "production-postgres.yaml", func(c *Config) { c.Database.Postgres = &Postgres{} },
		`database: host "" is not one host; write its name or IP address, or the absolute path of the directory that the server's socket is in` + "\n" +
			"database: port 0 is none; write a number from 1 to 65535, PostgreSQL's own is 5432\n" +
			`database: name "" is not a name of 1 to 63 bytes; write one` + "\n" + `database: user "" is not a name of 1 to 63 bytes; write one` + "\n" +
			"database: passwords and state would travel in clear to ; write tls with the ca-file that vouches for its certificate"},
	{"several hosts", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.Host = "db1,db2" },
		`database: host "db1,db2" is not one host; write its name or IP address, or the absolute path of the directory that the server's socket is in`},
	{"a port of a database that there is not", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.Port = 65536 },
		"database: port 65536 is none; write a number from 1 to 65535, PostgreSQL's own is 5432"},
	{"a role with a name that PostgreSQL cuts off", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.User = strings.Repeat("u", 64) },
		`database: user "` + strings.Repeat("u", 64) + `" is not a name of 1 to 63 bytes; write one`},
	{"a password that is nowhere", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.Password = &Secret{} },
		"database: password: say exactly one of `file` and `env`"},
	{"an owner that serves", "production-postgres.yaml",
		func(c *Config) { c.Database.Postgres.Owner = &Owner{User: "keyserver_server", Password: &Secret{}} },
		"database: owner: password: say exactly one of `file` and `env`\n" +
			"database: owner: it is the user who serves; name the role that owns the tables, or remove owner"},
	{"a database across a network in clear", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.TLS = nil },
		"database: passwords and state would travel in clear to db.example.com; write tls with the ca-file that vouches for its certificate"},
	{"a database that nobody vouches for", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.TLS = &DatabaseTLS{} },
		"database: tls: ca-file is missing; write the file with the certificates that vouch for db.example.com"},
	{"half of a certificate for the database", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.TLS.KeyFile = "k" },
		"database: tls: certificate-file and key-file belong together; write both or remove both"},
	{"TLS on a socket", "production-postgres.yaml", func(c *Config) { c.Database.Postgres.Host = "/run/postgresql" },
		"database: tls: a socket does not speak it; remove tls, or write the name of the host"},
	{"development with a database elsewhere", "development.yaml",
		func(c *Config) {
			c.Database = Database{Postgres: &Postgres{Host: "10.0.0.7", Port: 5432, Name: "k", User: "s", TLS: &DatabaseTLS{CAFile: "ca"}}}
		},
		"database: 10.0.0.7 is not this machine, and in development mode the database is; write the directory of the server's socket or 127.0.0.1, or say mode: production"},
	{"no log key", "production.yaml", func(c *Config) { c.LogKey = Secret{} },
		"log-key: say exactly one of `file` and `env`"},
	{"no keystore", "production.yaml", func(c *Config) { c.Keystores = nil },
		"keystores: there is none; write at least one, with a name"},
	{"a keystore without anything", "production.yaml", func(c *Config) { c.Keystores = []Keystore{{Name: "Soft ware"}} },
		`keystores: the name "Soft ware" is not 1 to 63 of a-z, 0-9, dot, dash and underscore that start with a letter or digit` + "\n" +
			"keystore Soft ware: say exactly one of software and pkcs11"},
	{"a software keystore without anything", "production.yaml", func(c *Config) { c.Keystores[0].Software = &Software{} },
		"keystore software: no directory; write where its files are\n" +
			"keystore software: passphrase: say exactly one of `file` and `env`"},
	{"an HSM without anything", "production.yaml", func(c *Config) { c.Keystores = []Keystore{{Name: "hsm", PKCS11: &PKCS11{}}} },
		"keystore hsm: no module; write the path of the HSM vendor's PKCS#11 library\n" +
			"keystore hsm: token must be the label of the token, 1 to 32 bytes\n" +
			"keystore hsm: pin: say exactly one of `file` and `env`\n" +
			"keystore hsm: sessions is 0; write a number from 1 to 256, or remove it for the default"},
	{"a keystore that is both", "hsm.yaml", func(c *Config) { c.Keystores[0].Software = &Software{} },
		"keystore hsm: say exactly one of software and pkcs11"},
	{"a token twice", "hsm.yaml", func(c *Config) {
		c.Keystores = append(c.Keystores, Keystore{Name: "other", PKCS11: c.Keystores[0].PKCS11})
	}, "keystore other: another keystore is the same token; name it once"},
	{"an HSM beyond the limits", "hsm.yaml", func(c *Config) {
		p := c.Keystores[0].PKCS11
		p.Sessions, p.Token, p.Environment = 257, strings.Repeat("x", 33), map[string]string{"A=B": "c"}
	}, "keystore hsm: token must be the label of the token, 1 to 32 bytes\n" +
		"keystore hsm: sessions is 257; write a number from 1 to 256, or remove it for the default\n" +
		`keystore hsm: environment: "A=B" is not the name of a variable`},
	{"a keystore twice", "production.yaml", func(c *Config) { c.Keystores = append(c.Keystores, c.Keystores[0]) },
		"keystores: two are called software; give each a name of its own\n" +
			"keystore software: another keystore has the same directory; give each its own"},
	{"no limits", "production.yaml", func(c *Config) { c.Limits = Limits{} },
		"limits: requests-per-minute is 0; write a number from 1 to 1000000, or remove it for the default\n" +
			"limits: pending-operations is 0; write a number from 1 to 10000, or remove it for the default\n" +
			"limits: keystore-timeoutms is 0; write a number from 1 to 29999, or remove it for the default\n" +
			"limits: keystore-concurrency is 0; write a number from 1 to 1024, or remove it for the default"},
	{"limits that are none", "production.yaml", func(c *Config) { c.Limits = Limits{1_000_001, 10_001, 30_000, 1025} },
		"limits: requests-per-minute is 1000001; write a number from 1 to 1000000, or remove it for the default\n" +
			"limits: pending-operations is 10001; write a number from 1 to 10000, or remove it for the default\n" +
			"limits: keystore-timeoutms is 30000; write a number from 1 to 29999, or remove it for the default\n" +
			"limits: keystore-concurrency is 1025; write a number from 1 to 1024, or remove it for the default"},
	{"no log", "production.yaml", func(c *Config) { c.Log = Log{} },
		`log: level "" is unknown; say debug, info, warn or error` + "\n" + `log: format "" is unknown; say text or json`},
}

func TestCheckSaysEverythingThatIsWrongAndHowToMendIt(t *testing.T) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			var said []string
			for _, err := range changed(t, c.file, c.change).Check() {
				said = append(said, err.Error())
			}
			if got := strings.Join(said, "\n"); got != c.want {
				t.Errorf("said:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func TestTheZeroConfigurationIsRefused(t *testing.T) {
	if problems := (Config{}).Check(); len(problems) < 8 {
		t.Errorf("only %v", problems)
	}
}

func TestAURLThatIsMoreOrLessThanSchemeHostAndPortIsRefused(t *testing.T) {
	for _, url := range []string{
		"", "keyserver.example.com", "//keyserver.example.com", "ftp://keyserver.example.com", "https://", "https://:8443",
		"https://keyserver.example.com/", "https://keyserver.example.com/api", "https://keyserver.example.com?x", "https://keyserver.example.com#x",
		"https://bob@keyserver.example.com", "HTTPS://keyserver.example.com", "https://keyserver.example.com:", "https://keyserver.example.com:0",
		"https://keyserver.example.com:65536", "https://key server.example.com", "https:keyserver.example.com", "javascript:alert(1)",
	} {
		problems := changed(t, "production.yaml", func(c *Config) { c.URL = url }).Check()
		if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "url: it must be http:// or https:// with a host") {
			t.Errorf("%q: %v", url, problems)
		}
	}
}

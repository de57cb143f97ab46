package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

const (
	oldestPostgres = 15
	// patience is how long a whole batch may take on PostgreSQL, which may be beyond a network that is gone.
	patience = 30 * time.Second
)

// postgres reads its time by the statement clock, after the lock of the head is held.
var postgres = dialect{
	name: "postgres", goose: goose.DialectPostgres,
	begin: `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE`, lockHead: ` FOR UPDATE`, view: `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`,
	clock:     `(extract(epoch FROM clock_timestamp()) * 1000)::bigint`,
	versioned: `SELECT to_regclass('goose_db_version') IS NOT NULL`,
	patience:  patience, fatal: fatalToPostgres, words: func(text string) string { return text },
}

// connectPostgres makes ready to connect as the role.
func (db *DB) connectPostgres(p *Postgres, as Role) error {
	c, err := connectionOf(p, as)
	if err != nil {
		return err
	}
	db.dialect.check = func(ctx context.Context, c *sql.Conn) error {
		return checkPostgres(ctx, c, p.Confined && as == p.Server)
	}
	db.pool = stdlib.OpenDB(*c, stdlib.OptionBeforeConnect(neverCancel))
	db.connection = c
	return nil
}

// neverCancel lets a connection dial once. When a statement takes too long the driver gives the connection up,
// and would dial again to have the server cancel the statement. A commit that waits for a synchronous standby
// and is canceled has happened here, everybody sees it, and it may not be there after a failover (PostgreSQL
// documentation, "Synchronous Replication"). Not canceled, it holds the lock of the head until it is safe.
func neverCancel(_ context.Context, c *pgx.ConnConfig) error {
	dial, dialed := c.DialFunc, false
	var mu sync.Mutex
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if dialed {
			return nil, errors.New("statements are not canceled")
		}
		conn, err := dial(ctx, network, address)
		dialed = err == nil
		return conn, err
	}
	return nil
}

// heedCanceledWait notes on a connection that somebody has canceled its wait for a synchronous standby: to the
// commit that is a success, with a warning.
func heedCanceledWait(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.Routine == "SyncRepWaitForLSN" {
		c.CustomData()[canceledWait] = true
	}
}

const canceledWait = "canceled wait"

// safe says whether the commit that was just answered is as durable as it must be.
func safe(c *pgx.Conn) error {
	if c == nil || c.PgConn().CustomData()[canceledWait] == nil {
		return nil
	}
	delete(c.PgConn().CustomData(), canceledWait)
	return errors.New("somebody has canceled it while it waited for a standby")
}

// connectionOf says all that a connection depends on. Nothing comes from the environment or from files in a
// home directory, where libpq and pgx look too.
func connectionOf(p *Postgres, as Role) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig("host=localhost user=nobody dbname=none sslmode=disable passfile=/dev/null")
	if err != nil {
		return nil, err
	}
	c.Host, c.Port, c.Database, c.User, c.Password = p.Host, uint16(p.Port), p.Name, as.Name, as.Password
	c.TLSConfig, c.Fallbacks = p.TLS, nil
	c.ConnectTimeout = 10 * time.Second
	c.OnNotice = heedCanceledWait
	c.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}).DialContext
	c.RuntimeParams = map[string]string{
		"application_name": "keyserver", "search_path": "public", "timezone": "UTC",
		// A server that has gone without a word must not hold the lock that all others wait for.
		"lock_timeout": "10s", "idle_in_transaction_session_timeout": "60s",
	}
	return c, nil
}

// checkPostgres refuses a server on which a commit could be lost, or that is not the primary.
func checkPostgres(ctx context.Context, c *sql.Conn, confined bool) error {
	var s postgresSettings
	if err := c.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery(),
		set_config('synchronous_commit', current_setting('synchronous_commit'), false), -- which makes it stay as it is
		current_setting('fsync'), current_setting('full_page_writes'), current_setting('server_encoding')`).
		Scan(&s.version, &s.standby, &s.synchronousCommit, &s.fsync, &s.fullPageWrites, &s.encoding); err != nil {
		return err
	}
	if err := s.check(); err != nil || !confined {
		return err
	}
	var rewrites sql.NullBool // NULL when there is no such table yet
	if err := c.QueryRowContext(ctx, `SELECT bool_or(has_table_privilege(oid, 'UPDATE') OR has_table_privilege(oid, 'DELETE') OR has_table_privilege(oid, 'TRUNCATE')
		OR pg_has_role(relowner, 'MEMBER')) FROM pg_class WHERE oid IN (to_regclass('audit_events'), to_regclass('audit_hashes'))`).Scan(&rewrites); err != nil {
		return err
	}
	if rewrites.Bool {
		return errors.New("its role could rewrite the audit log; in production the server uses a role that does not own the tables: see owner in the configuration reference")
	}
	return nil
}

// postgresSettings are what durability depends on.
type postgresSettings struct {
	version                                            int
	standby                                            bool
	synchronousCommit, fsync, fullPageWrites, encoding string
}

func (s postgresSettings) check() error {
	switch {
	case s.version < oldestPostgres:
		return fmt.Errorf("PostgreSQL %d is too old; %d or newer is needed", s.version, oldestPostgres)
	case s.standby:
		return errors.New("it is a standby; decisions are made on the primary only: let host lead to that")
	case s.synchronousCommit != "on" && s.synchronousCommit != "remote_apply":
		return fmt.Errorf("synchronous_commit is %s, and a commit that was answered could be lost; set it to on", s.synchronousCommit)
	case s.fsync != "on" || s.fullPageWrites != "on":
		return fmt.Errorf("fsync is %s and full_page_writes %s, and a crash could damage the database; set both to on", s.fsync, s.fullPageWrites)
	case s.encoding != "UTF8":
		return fmt.Errorf("the database's encoding is %s; make one with ENCODING 'UTF8'", s.encoding)
	}
	return nil
}

// fatalToPostgres says whether more is wrong than the statement itself, which a savepoint makes undone.
func fatalToPostgres(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Severity != "ERROR" || len(e.Code) != 5 {
		return true
	}
	switch e.Code[:2] {
	case "22", "23", "54": // data exception, integrity constraint violation, program limit exceeded
		return false
	}
	return true
}

// NotPermitted says whether the database has refused something to the role, which lacks the right to it.
func NotPermitted(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == insufficientPrivilege
}

const insufficientPrivilege = "42501" // its SQLSTATE

// migrating takes a lock, so that servers which start together do not migrate together.
func (d dialect) migrating() ([]goose.ProviderOption, error) {
	if d.goose != goose.DialectPostgres {
		return nil, nil
	}
	locker, err := lock.NewPostgresSessionLocker()
	return []goose.ProviderOption{goose.WithSessionLocker(locker)}, err
}

// grant gives the server's role what it needs of the owner's tables. It can neither change nor remove an
// audit event, nor what an operation, an approval, a sign order, a certificate or an administration
// session is about, nor bring a sign-in to life that was ended.
func grant(ctx context.Context, db *sql.DB, server string) error {
	to := pgx.Identifier{server}.Sanitize()
	for _, privileges := range []string{
		`SELECT ON goose_db_version`,
		`SELECT, UPDATE ON head`,
		`SELECT, INSERT ON audit_events, audit_hashes`,
		`SELECT, INSERT, UPDATE, DELETE ON configuration`,
		`SELECT, INSERT, UPDATE (revision, state, activated, ends, endedat, endedby, endedreason) ON administration_sessions`,
		`SELECT, INSERT, UPDATE (withdrawn) ON session_authorisations`,
		`SELECT, INSERT, UPDATE (revision, state, endedat, endedby, endedreason) ON operations`,
		`SELECT, INSERT, UPDATE (taken, signed) ON operation_keys`,
		`SELECT, INSERT, UPDATE (withdrawn) ON approvals`,
		`SELECT, INSERT, UPDATE (state, attempt, lease, settled, failure, signature) ON sign_orders`,
		`SELECT, INSERT, UPDATE (state, lease, settled, failure, der, revokedat, revokedby, revokedcode, revokedreason) ON certificates`,
		`SELECT, INSERT, UPDATE ON revocation_lists`,
		`SELECT, INSERT ON ended_sign_ins`,
		`SELECT, INSERT, UPDATE ON contacts`,
		`SELECT, INSERT, DELETE ON outbox`,
		`SELECT, INSERT, UPDATE (due, attempts), DELETE ON notices`,
	} {
		if _, err := db.ExecContext(ctx, `GRANT `+privileges+` TO `+to); err != nil {
			return fmt.Errorf("granting %s to %s: %w", privileges, server, err)
		}
	}
	return nil
}

-- +goose Up
-- Times are milliseconds since 1970, UTC. Ids are text, and sort by their bytes whatever the language of the
-- database. The statement of an operation or an administration session never changes.

-- One row. Its lock is the write lock of the whole database: every write transaction takes it first.
CREATE TABLE head (
  id            INTEGER          PRIMARY KEY CHECK (id = 1),
  server        TEXT COLLATE "C" NOT NULL,          -- server id
  size          BIGINT           NOT NULL,          -- entries in the audit log
  mark          BIGINT           NOT NULL,          -- high-water mark of the time
  configuration BIGINT           NOT NULL           -- counts the objects of it that were set or removed, ever
);

CREATE TABLE audit_events (
  idx       BIGINT           PRIMARY KEY,
  batch     TEXT COLLATE "C" NOT NULL,              -- one commit each
  time      BIGINT           NOT NULL,
  type      TEXT COLLATE "C" NOT NULL,
  operation TEXT COLLATE "C" NOT NULL,
  subject   TEXT COLLATE "C" NOT NULL,
  keyid     TEXT COLLATE "C" NOT NULL,
  session   TEXT COLLATE "C" NOT NULL,              -- administration session
  leaf      TEXT COLLATE "C" NOT NULL               -- canonical JSON, exactly as hashed
);
CREATE INDEX audit_events_operation ON audit_events (operation, idx) WHERE operation <> '';
CREATE INDEX audit_events_subject   ON audit_events (subject, idx) WHERE subject <> '';
CREATE INDEX audit_events_keyid     ON audit_events (keyid, idx) WHERE keyid <> '';
CREATE INDEX audit_events_session   ON audit_events (session, idx) WHERE session <> '';
CREATE INDEX audit_events_type      ON audit_events (type, idx);
CREATE INDEX audit_events_approved  ON audit_events (operation) WHERE type = 'operation-became-approved';
CREATE INDEX audit_events_refused   ON audit_events (operation, keyid) WHERE type = 'order-refused';

CREATE TABLE audit_hashes (
  idx  BIGINT           PRIMARY KEY,                -- as golang.org/x/mod/sumdb/tlog numbers stored hashes
  hash BYTEA            NOT NULL
);

CREATE TABLE configuration (
  kind TEXT COLLATE "C" NOT NULL,                   -- administration, issuer, subject, role or key
  id   TEXT COLLATE "C" NOT NULL,
  body TEXT COLLATE "C" NOT NULL,                   -- canonical JSON
  PRIMARY KEY (kind, id)
);

CREATE TABLE operations (
  id             TEXT COLLATE "C" PRIMARY KEY,
  revision       BIGINT           NOT NULL,         -- grows with every change
  orderer        TEXT COLLATE "C" NOT NULL,
  idempotencykey TEXT COLLATE "C" NOT NULL,
  asked          TEXT COLLATE "C" NOT NULL,         -- SHA-256 of what was asked for under the idempotency key
  state          TEXT COLLATE "C" NOT NULL,
  expires        BIGINT           NOT NULL,
  digest         TEXT COLLATE "C" NOT NULL,
  statement      TEXT COLLATE "C" NOT NULL,         -- canonical JSON, version 1
  behind         TEXT COLLATE "C" NOT NULL,
  eligible       TEXT COLLATE "C" NOT NULL,         -- JSON: keyid to subjects
  endedat        BIGINT           NOT NULL,         -- 0 while it is open
  endedby        TEXT COLLATE "C" NOT NULL,
  endedreason    TEXT COLLATE "C" NOT NULL,
  UNIQUE (orderer, idempotencykey)
);
CREATE INDEX operations_state   ON operations (state, id);
CREATE INDEX operations_orderer ON operations (orderer, id);
CREATE INDEX operations_pending ON operations (orderer, expires) WHERE state = 'pending';
CREATE INDEX operations_due     ON operations (expires) WHERE state IN ('pending', 'approved');
CREATE INDEX operations_waiting ON operations (expires, id) WHERE state = 'pending';

CREATE TABLE operation_keys (
  operation TEXT COLLATE "C" NOT NULL REFERENCES operations (id),
  position  BIGINT           NOT NULL,
  keyid     TEXT COLLATE "C" NOT NULL,
  taken     BIGINT           NOT NULL,
  signed    BIGINT           NOT NULL CHECK (signed <= taken),
  PRIMARY KEY (operation, keyid)
);
CREATE INDEX operation_keys_keyid ON operation_keys (keyid, operation);

CREATE TABLE approvals (
  operation TEXT COLLATE "C" NOT NULL REFERENCES operations (id),
  position  BIGINT           NOT NULL,
  subject   TEXT COLLATE "C" NOT NULL,
  covers    TEXT COLLATE "C" NOT NULL,              -- JSON: keyids
  at        BIGINT           NOT NULL,
  withdrawn BIGINT           NOT NULL,              -- 0 while it stands
  PRIMARY KEY (operation, position)
);
-- A person counts once, whatever the program above may think.
CREATE UNIQUE INDEX approvals_once ON approvals (operation, subject) WHERE withdrawn = 0;

CREATE TABLE administration_sessions (
  id          TEXT COLLATE "C" PRIMARY KEY,
  revision    BIGINT           NOT NULL,            -- grows with every change
  openedby    TEXT COLLATE "C" NOT NULL,
  statement   TEXT COLLATE "C" NOT NULL,            -- canonical JSON, version 1
  digest      TEXT COLLATE "C" NOT NULL,
  plan        TEXT COLLATE "C" NOT NULL,            -- canonical JSON, version 1; empty: it has none
  base        BIGINT           NOT NULL,            -- the head's count of the configuration when it was opened
  state       TEXT COLLATE "C" NOT NULL,
  activated   BIGINT           NOT NULL,            -- 0: never yet
  ends        BIGINT           NOT NULL,            -- when it expires, if nothing ends it before
  endedat     BIGINT           NOT NULL,            -- 0 while it is open
  endedby     TEXT COLLATE "C" NOT NULL,
  endedreason TEXT COLLATE "C" NOT NULL
);
CREATE INDEX administration_sessions_state    ON administration_sessions (state, id);
CREATE INDEX administration_sessions_openedby ON administration_sessions (openedby, ends) WHERE state IN ('inactive', 'active');
CREATE INDEX administration_sessions_due      ON administration_sessions (ends) WHERE state IN ('inactive', 'active');

CREATE TABLE session_authorisations (
  session     TEXT COLLATE "C" NOT NULL REFERENCES administration_sessions (id),
  position    BIGINT           NOT NULL,            -- the opener's is the first
  subject     TEXT COLLATE "C" NOT NULL,
  at          BIGINT           NOT NULL,
  withdrawn   BIGINT           NOT NULL,            -- 0 while it stands
  PRIMARY KEY (session, position)
);
-- An administrator counts once, whatever the program above may think.
CREATE UNIQUE INDEX session_authorisations_once ON session_authorisations (session, subject) WHERE withdrawn = 0;

CREATE TABLE certificates (
  id                TEXT COLLATE "C" PRIMARY KEY, -- of one that is made under an operation, that of its sign order
  keyid             TEXT COLLATE "C" NOT NULL,    -- key that it is of; empty: of a device
  device            TEXT COLLATE "C" NOT NULL,    -- identity of the device that it is of; empty: of none
  request           TEXT COLLATE "C" NOT NULL,    -- of a device: SHA-256 of the certificate request, hex
  fingerprint       TEXT COLLATE "C" NOT NULL,    -- of the public key in it
  issuer            TEXT COLLATE "C" NOT NULL,    -- key that signs it; empty: it was issued elsewhere
  issuerfingerprint TEXT COLLATE "C" NOT NULL,
  serial            TEXT COLLATE "C" NOT NULL,    -- hex
  tbs               BYTEA            NOT NULL,    -- tbsCertificate, DER
  der               BYTEA            NOT NULL,    -- empty until it is issued
  chain             BYTEA            NOT NULL,    -- certificates above one that was issued elsewhere, DER, one after the other
  notbefore         BIGINT           NOT NULL,
  notafter          BIGINT           NOT NULL,
  session           TEXT COLLATE "C" NOT NULL,    -- administration session; empty: none
  operation         TEXT COLLATE "C" NOT NULL,    -- empty: none
  accepted          BIGINT           NOT NULL,
  state             TEXT COLLATE "C" NOT NULL,
  lease             BIGINT           NOT NULL,
  settled           BIGINT           NOT NULL,    -- 0 while an attempt runs
  failure           TEXT COLLATE "C" NOT NULL,
  revokedat         BIGINT           NOT NULL,    -- 0: it is not revoked
  revokedby         TEXT COLLATE "C" NOT NULL,
  revokedcode       TEXT COLLATE "C" NOT NULL,    -- name in RFC 5280 section 5.3.1
  revokedreason     TEXT COLLATE "C" NOT NULL
);
CREATE INDEX certificates_keyid   ON certificates (keyid, id) WHERE keyid <> '';
CREATE INDEX certificates_keys    ON certificates (id) WHERE keyid <> '';
CREATE INDEX certificates_running ON certificates (lease) WHERE state = 'running' AND operation = '';
CREATE INDEX certificates_device      ON certificates (issuer, device, id) WHERE device <> '';
CREATE INDEX certificates_fingerprint ON certificates (issuer, fingerprint, id) WHERE device <> '';
CREATE INDEX certificates_operation   ON certificates (operation, id) WHERE device <> '';
-- These two have all that is asked of very many certificates at once.
CREATE INDEX certificates_lot     ON certificates (operation, issuer, state, id, revokedat) WHERE keyid = '';
CREATE INDEX certificates_revoked ON certificates (issuer, issuerfingerprint, revokedat, serial, revokedcode) WHERE revokedat > 0;
-- RFC 5280 section 4.1.2.2.
CREATE UNIQUE INDEX certificates_serial ON certificates (issuer, serial) WHERE issuer <> '';

CREATE TABLE revocation_lists (
  keyid             TEXT COLLATE "C" PRIMARY KEY, -- key that signs it
  fingerprint       TEXT COLLATE "C" NOT NULL,    -- of that key's public key
  accepted          BIGINT           NOT NULL,    -- number of the newest one that was accepted
  lease             BIGINT           NOT NULL,    -- end of the attempt at that; 0: none is under way
  number            BIGINT           NOT NULL,    -- of the newest one that was issued; 0: none was yet
  entries           BIGINT           NOT NULL,    -- certificates on it
  thisupdate        BIGINT           NOT NULL,
  nextupdate        BIGINT           NOT NULL,
  der               BYTEA            NOT NULL     -- the last column: what is before a large one is read without it
);

CREATE TABLE ended_sign_ins (                       -- with a browser, by a sign-out; all others end by themselves
  id    TEXT COLLATE "C" PRIMARY KEY,
  until BIGINT           NOT NULL                   -- when it would have ended by itself
);

-- What subjects have chosen to be told, and by what.
CREATE TABLE contacts (
  subject   TEXT COLLATE "C" PRIMARY KEY,
  mail      BIGINT           NOT NULL,              -- 1: by e-mail
  webhook   TEXT COLLATE "C" NOT NULL,              -- format of its messages; empty: none
  tells     TEXT COLLATE "C" NOT NULL,              -- JSON: of what
  targets   BYTEA            NOT NULL,              -- where messages go, sealed
  mailed    BIGINT           NOT NULL,              -- no e-mail before that; 0: none was sent yet
  tested    BIGINT           NOT NULL,              -- when a test message was last sent; 0: never
  failure   TEXT COLLATE "C" NOT NULL               -- why the last message could not be sent; empty: it was
);

-- What people are yet to be told of, written together with the event. No event tells of what becomes of it.
CREATE TABLE outbox (
  event     BIGINT           NOT NULL,              -- entry of the audit log
  type      TEXT COLLATE "C" NOT NULL,              -- of the event; reminder: of one that is due later
  operation TEXT COLLATE "C" NOT NULL,
  actor     TEXT COLLATE "C" NOT NULL,              -- who did it; empty: the server
  due       BIGINT           NOT NULL,
  PRIMARY KEY (event, type)
);
CREATE INDEX outbox_due ON outbox (due);

-- Messages to be sent, one for each recipient and way. They are removed once sent, or given up.
CREATE TABLE notices (
  id        TEXT COLLATE "C" PRIMARY KEY,
  event     BIGINT           NOT NULL,
  type      TEXT COLLATE "C" NOT NULL,
  kind      TEXT COLLATE "C" NOT NULL,              -- waiting, expiring, change or test
  operation TEXT COLLATE "C" NOT NULL,
  actor     TEXT COLLATE "C" NOT NULL,
  recipient TEXT COLLATE "C" NOT NULL,              -- subject, or name of a channel
  way       TEXT COLLATE "C" NOT NULL,              -- mail, webhook or channel
  created   BIGINT           NOT NULL,
  due       BIGINT           NOT NULL,              -- of one that is being sent: when the attempt is given up
  attempts  BIGINT           NOT NULL
);
CREATE INDEX notices_due       ON notices (due);
CREATE INDEX notices_recipient ON notices (recipient, way, due);

CREATE TABLE sign_orders (
  id             TEXT COLLATE "C" PRIMARY KEY,
  operation      TEXT COLLATE "C" NOT NULL REFERENCES operations (id),
  keyid          TEXT COLLATE "C" NOT NULL,
  fingerprint    TEXT COLLATE "C" NOT NULL,
  requester      TEXT COLLATE "C" NOT NULL,
  idempotencykey TEXT COLLATE "C" NOT NULL,
  hash           TEXT COLLATE "C" NOT NULL,
  scheme         TEXT COLLATE "C" NOT NULL,
  input          TEXT COLLATE "C" NOT NULL,         -- digest of what is signed, hex
  certifies      TEXT COLLATE "C" NOT NULL,         -- key whose certificate is signed; empty: the input was given as such
  device         TEXT COLLATE "C" NOT NULL,         -- identity of the device whose certificate is signed; empty: of none
  usenumber      BIGINT           NOT NULL,
  accepted       BIGINT           NOT NULL,
  state          TEXT COLLATE "C" NOT NULL,
  attempt        BIGINT           NOT NULL,
  lease          BIGINT           NOT NULL,
  settled        BIGINT           NOT NULL,         -- 0 while an attempt runs
  failure        TEXT COLLATE "C" NOT NULL,
  signature      BYTEA            NOT NULL,         -- empty until signed
  UNIQUE (operation, keyid, usenumber)
);
CREATE INDEX sign_orders_operation ON sign_orders (operation, id);
CREATE INDEX sign_orders_running   ON sign_orders (lease) WHERE state = 'running';
CREATE INDEX sign_orders_accepted  ON sign_orders (keyid, accepted);
-- The last one: of indexes that look the same to it, as all do while a table is new, PostgreSQL takes the last,
-- and this one is looked into with every sign order.
CREATE UNIQUE INDEX sign_orders_idempotencykey ON sign_orders (operation, keyid, requester, idempotencykey);

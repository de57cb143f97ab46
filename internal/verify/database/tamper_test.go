package database_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/verify"
)

// wantDifference wants the error to name this table, row and column.
func wantDifference(t *testing.T, err error, table, row, column string) {
	t.Helper()
	var d *verify.Difference
	if !errors.As(err, &d) || d.Table != table || !strings.Contains(d.Row, row) || d.Column != column {
		t.Errorf("reported is %v; must be table %s, row %s, column %s", err, table, row, column)
	}
}

// wantTampered wants the error to name this entry.
func wantTampered(t *testing.T, err error, index int64) {
	t.Helper()
	var d *audit.Tampered
	if !errors.As(err, &d) || d.Index != index {
		t.Errorf("reported is %v; must be entry %d", err, index)
	}
}

// wantViolation wants the error to name this entry and a rule.
func wantViolation(t *testing.T, err error, index int64, rule string) {
	t.Helper()
	var v *verify.Violation
	if !errors.As(err, &v) || v.Index != index || !strings.Contains(v.Rule, rule) {
		t.Errorf("reported is %v; must be entry %d, %s", err, index, rule)
	}
}

// wantFound wants any finding.
func wantFound(t *testing.T, err error, what string) {
	t.Helper()
	var tampered *audit.Tampered
	var violation *verify.Violation
	var difference *verify.Difference
	if !errors.As(err, &tampered) && !errors.As(err, &violation) && !errors.As(err, &difference) {
		t.Errorf("%s: reported is %v", what, err)
	}
}

func TestTheStoryAsItWasWrittenIsInOrder(t *testing.T) {
	s := tell(t)
	i := s.intrude(t)
	if err := i.verify(s.newest); err != nil {
		t.Error(err)
	}
	i = s.intrude(t)
	i.forgeLog(s.events) // what the tests below do, but changing nothing
	if err := i.verify(s.newest); err != nil {
		t.Error(err)
	}
}

// What is changed in a column whose exact value the log does not tell.
var beyondBounds = map[string]string{
	"head.mark":                        "mark - 100000000", // it also grows without an event
	"operations.revision":              "revision + 1000",
	"operations.idempotencykey":        "''", // recognises that the same operation is asked for again, as does asked
	"operations.asked":                 "''",
	"administration_sessions.revision": "revision + 1000",
	"contacts.targets":                 "x''", // where messages go is sealed
	"contacts.mailed":                  "-1",
	"contacts.tested":                  "-1",
	"contacts.failure":                 "printf('%.*c', 501, 'x')",
}

// This proves that no column of any table is left out: all tables and columns are looked up.
func TestAnyValueChangedInAnyColumnIsFound(t *testing.T) {
	s := tell(t)
	columns := columnsOf(s.intrude(t))
	if len(columns) < 50 {
		t.Fatalf("only %d columns: %v", len(columns), columns)
	}
	for _, c := range columns {
		t.Run(c.table+"."+c.column, func(t *testing.T) {
			rows := s.intrude(t).texts(fmt.Sprintf(`SELECT rowid FROM %s ORDER BY rowid`, c.table))
			for _, row := range slices.Compact([]string{rows[0], rows[len(rows)-1]}) {
				for _, change := range c.changes() {
					i := s.intrude(t)
					if err := i.try(fmt.Sprintf(`UPDATE %s SET %s = %s WHERE rowid = ?`, c.table, c.column, change), row); err != nil {
						if possible := !strings.Contains(err.Error(), "UNIQUE") && c.table+"."+c.column != "head.id"; !possible {
							continue // there is such a row already; and SQLite lets nothing but integers into head.id
						}
						t.Fatalf("%s: %v", change, err)
					}
					wantFound(t, i.verify(), fmt.Sprintf("row %s, %s", row, change))
				}
			}
		})
	}
}

type column struct{ table, column, kind string }

func columnsOf(i *intruder) []column {
	i.Helper()
	var all []column
	for _, table := range i.texts(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'goose%' ORDER BY name`) {
		if table == "outbox" || table == "notices" { // the log does not tell what becomes of messages
			continue
		}
		for _, name := range i.texts(`SELECT name FROM pragma_table_info(?)`, table) {
			all = append(all, column{table, name, i.text(`SELECT type FROM pragma_table_info(?) WHERE name = ?`, table, name)})
		}
	}
	return all
}

// changes are values that the column does not have.
func (c column) changes() []string {
	otherType := fmt.Sprintf("CAST(%s AS BLOB)", c.column)
	if c.kind == "BLOB" {
		otherType = fmt.Sprintf("CAST(hex(%s) AS TEXT)", c.column)
	}
	if bounded, ok := beyondBounds[c.table+"."+c.column]; ok {
		return []string{bounded, otherType}
	}
	switch c.kind {
	case "BLOB":
		return []string{fmt.Sprintf("CAST(%s || x'00' AS BLOB)", c.column), otherType}
	case "TEXT":
		return []string{c.column + " || 'x'", otherType}
	}
	return []string{c.column + " + 1", c.column + " + 1000003", otherType}
}

// A column that a later version adds has to be given a meaning here.
func TestAColumnThatIsUnknownIsFound(t *testing.T) {
	s := tell(t)
	for _, table := range []string{"head", "audit_events", "audit_hashes", "configuration", "operations", "operation_keys", "approvals", "sign_orders", "administration_sessions", "session_authorisations",
		"certificates", "revocation_lists", "ended_sign_ins", "contacts"} {
		i := s.intrude(t)
		if _, err := i.db.Exec(`ALTER TABLE ` + table + ` ADD COLUMN more BIGINT NOT NULL DEFAULT 0`); err != nil {
			t.Fatal(err)
		}
		var d *verify.Difference
		if err := i.verify(); !errors.As(err, &d) || d.Table != table {
			t.Errorf("table %s: reported is %v", table, err)
		}
	}
}

func TestAnyRowDeletedIsFound(t *testing.T) {
	s := tell(t)
	for _, table := range []string{"head", "audit_events", "audit_hashes", "configuration", "operations", "operation_keys", "approvals", "sign_orders", "administration_sessions", "session_authorisations",
		"certificates", "revocation_lists", "ended_sign_ins", "contacts"} {
		t.Run(table, func(t *testing.T) {
			rows := s.intrude(t).texts(fmt.Sprintf(`SELECT rowid FROM %s ORDER BY rowid`, table))
			for n, row := range rows {
				if strings.HasPrefix(table, "audit") && n%20 != 0 && n < len(rows)-2 {
					continue // some will do; what is said of each is tested elsewhere
				}
				i := s.intrude(t)
				i.do(fmt.Sprintf(`DELETE FROM %s WHERE rowid = ?`, table), row)
				wantFound(t, i.verify(), "row "+row)
			}
		})
	}
}

func TestAnyRowInsertedIsFound(t *testing.T) {
	s := tell(t)
	for _, insert := range []string{
		`INSERT INTO head SELECT 2, server, size, mark, configuration FROM head`,
		`INSERT INTO audit_events SELECT idx + 1, batch, time, type, operation, subject, keyid, session, leaf FROM audit_events ORDER BY idx DESC LIMIT 1`,
		`INSERT INTO audit_events SELECT -1, batch, time, type, operation, subject, keyid, session, leaf FROM audit_events ORDER BY idx LIMIT 1`,
		`INSERT INTO audit_events SELECT NULL, batch, time, type, operation, subject, keyid, session, leaf FROM audit_events LIMIT 1`,
		`INSERT INTO audit_events SELECT 'none', batch, time, type, operation, subject, keyid, session, leaf FROM audit_events LIMIT 1`,
		`INSERT INTO audit_hashes SELECT idx + 1, hash FROM audit_hashes ORDER BY idx DESC LIMIT 1`,
		`INSERT INTO audit_hashes VALUES (NULL, x'00')`,
		`INSERT INTO configuration SELECT kind, 'more', body FROM configuration WHERE kind = 'role' LIMIT 1`,
		`INSERT INTO configuration SELECT kind, 'more', replace(body, '"id":"orderers"', '"id":"more"') FROM configuration WHERE kind = 'role' AND id = 'orderers'`,
		`INSERT INTO operations SELECT 'more', revision, orderer, 'more', asked, state, expires, digest, statement, behind, eligible, endedat, endedby, endedreason FROM operations LIMIT 1`,
		`INSERT INTO operation_keys SELECT operation, 7, 'more', 0, 0 FROM operation_keys LIMIT 1`,
		`INSERT INTO operation_keys SELECT 'more', 0, keyid, 0, 0 FROM operation_keys LIMIT 1`,
		`INSERT INTO approvals SELECT operation, 7, 'dora', covers, at, 1 FROM approvals LIMIT 1`,
		`INSERT INTO approvals SELECT operation, -1, 'dora', covers, at, 1 FROM approvals LIMIT 1`,
		`INSERT INTO configuration VALUES ('role', 'auditors', '{"id":"auditors","keys":[],"kind":"auditor","members":["audrey"]}')`, // which was removed
		`INSERT INTO administration_sessions SELECT 'more', revision, openedby, statement, digest, plan, base, state, activated, ends, endedat, endedby, endedreason FROM administration_sessions LIMIT 1`,
		`INSERT INTO session_authorisations SELECT session, 7, 'more', at, 1 FROM session_authorisations LIMIT 1`,
		`INSERT INTO session_authorisations SELECT session, -1, 'more', at, 1 FROM session_authorisations LIMIT 1`,
		`INSERT INTO sign_orders SELECT 'more', operation, keyid, fingerprint, requester, 'more', hash, scheme, input, certifies, device, 77, accepted, state, attempt, lease, settled, failure, signature FROM sign_orders LIMIT 1`,
		`INSERT INTO certificates SELECT 'more', keyid, device, request, fingerprint, issuer, issuerfingerprint, 'more', tbs, der, chain, notbefore, notafter, session, operation, accepted, state, lease, settled, failure, revokedat, revokedby, revokedcode, revokedreason FROM certificates LIMIT 1`,
		`INSERT INTO revocation_lists SELECT 'more', fingerprint, accepted, lease, number, der, entries, thisupdate, nextupdate FROM revocation_lists LIMIT 1`,
		`INSERT INTO ended_sign_ins SELECT 'more', until FROM ended_sign_ins LIMIT 1`,
		`INSERT INTO contacts SELECT 'more', mail, webhook, tells, targets, mailed, tested, failure FROM contacts LIMIT 1`,
	} {
		i := s.intrude(t)
		i.do(insert)
		wantFound(t, i.verify(), insert)
	}
}

func TestARowThatIsThereTwiceInATableWithoutItsKeyIsFound(t *testing.T) {
	s := tell(t)
	for _, table := range []string{"configuration", "operations", "operation_keys", "approvals", "sign_orders", "administration_sessions", "session_authorisations",
		"certificates", "revocation_lists", "ended_sign_ins", "contacts"} {
		i := s.intrude(t)
		for _, text := range []string{`CREATE TABLE copy AS SELECT * FROM ` + table, `DROP TABLE ` + table, `ALTER TABLE copy RENAME TO ` + table} {
			if _, err := i.db.Exec(text); err != nil {
				t.Fatal(err)
			}
		}
		i.do(`INSERT INTO ` + table + ` SELECT * FROM ` + table + ` LIMIT 1`)
		i.do(`DELETE FROM ` + table + ` WHERE rowid = 2`)
		wantFound(t, i.verify(), table)
	}
}

// AT-02: what verification says of the row. The server that meets it is another matter.
func TestAT02_AnApprovalInsertedForARealApproverIsFound(t *testing.T) {
	s := tell(t)
	i := s.intrude(t)
	waiting := i.text(`SELECT id FROM operations WHERE state = 'pending'`)
	i.do(`INSERT INTO approvals SELECT operation, position + 1, 'alice', covers, at + 1, 0 FROM approvals WHERE operation = ?`, waiting)
	wantDifference(t, i.verify(), "approvals", waiting+" 1", "")
	i = s.intrude(t)
	i.do(`UPDATE operations SET state = 'approved' WHERE id = ?`, waiting)
	wantDifference(t, i.verify(), "operations", waiting, "state")
}

// AR-09: what verification says of a session that a database administrator makes active, and of a plan put in the place of
// the one that was authorised.
func TestAR09_ASessionThatIsNotAsTheLogTellsIsFound(t *testing.T) {
	s := tell(t)
	i := s.intrude(t)
	waiting := i.text(`SELECT id FROM administration_sessions WHERE state = 'inactive'`)
	i.do(`INSERT INTO session_authorisations SELECT session, max(position) + 1, 'ada', max(at) + 1, 0 FROM session_authorisations WHERE session = ?`, waiting)
	wantDifference(t, i.verify(), "session_authorisations", waiting+" 2", "")
	i = s.intrude(t)
	i.do(`UPDATE administration_sessions SET state = 'active' WHERE id = ?`, waiting)
	wantDifference(t, i.verify(), "administration_sessions", waiting, "state")
	i = s.intrude(t)
	planned := i.texts(`SELECT id FROM administration_sessions WHERE plan <> '' ORDER BY id`)
	i.do(`UPDATE administration_sessions SET plan = (SELECT plan FROM administration_sessions WHERE id = ?) WHERE id = ?`, planned[0], planned[1])
	wantDifference(t, i.verify(), "administration_sessions", planned[1], "plan")
}

// What verification says of a stolen cookie that a database administrator brings to life again, and of a person whom he signs
// out: nobody but who has the pages' key makes a sign-in.
func TestASignInThatIsBroughtToLifeAgainIsFound(t *testing.T) {
	s := tell(t)
	i := s.intrude(t)
	ended := i.text(`SELECT id FROM ended_sign_ins LIMIT 1`)
	i.do(`DELETE FROM ended_sign_ins WHERE id = ?`, ended)
	wantDifference(t, i.verify(), "ended_sign_ins", ended, "")
	i = s.intrude(t)
	for n, e := range s.events {
		if e.Type == audit.SignedIn && changesNothing(s.events, n) { // it was left to end by itself
			i.do(`INSERT INTO ended_sign_ins VALUES (?, 1)`, e.SignIn.ID)
			wantDifference(t, i.verify(), "ended_sign_ins", e.SignIn.ID, "")
		}
	}
}

func TestAUseGivenBackIsFound(t *testing.T) {
	s := tell(t)
	i := s.intrude(t)
	used := i.text(`SELECT operation FROM operation_keys WHERE taken > 0 AND signed > 0 LIMIT 1`)
	i.do(`UPDATE operation_keys SET taken = taken - 1, signed = signed - 1 WHERE operation = ? AND taken > 0`, used)
	wantDifference(t, i.verify(), "operation_keys", used, "taken")
	i = s.intrude(t)
	order := i.text(`SELECT id FROM sign_orders WHERE operation = ?`, used)
	i.do(`UPDATE operation_keys SET taken = taken - 1, signed = signed - 1 WHERE (operation, keyid) IN (SELECT operation, keyid FROM sign_orders WHERE id = ?)`, order)
	i.do(`DELETE FROM sign_orders WHERE id = ?`, order)
	wantFound(t, i.verify(), "with its order")
}

// I10
func TestASignatureThatIsNotTheOneThatWasMadeIsFound(t *testing.T) {
	s := tell(t)
	for _, scheme := range []law.Scheme{law.ECDSA, law.PSS, law.EdDSA} {
		i := s.intrude(t)
		signed := i.texts(`SELECT id FROM sign_orders WHERE scheme = ? AND state = 'signed' ORDER BY id`, string(scheme))
		i.do(`UPDATE sign_orders SET signature = (SELECT signature FROM sign_orders WHERE id = ?) WHERE id = ?`, signed[0], signed[1])
		wantDifference(t, i.verify(), "sign_orders", signed[1], "signature")

		// With an event that tells of it, the signature itself says so; but for EdDSA, whose message is not kept.
		i = s.intrude(t)
		i.do(`UPDATE sign_orders SET signature = (SELECT signature FROM sign_orders WHERE id = ?) WHERE id = ?`, signed[0], signed[1])
		forged := slices.Clone(s.events)
		var made string
		for n, e := range forged {
			if e.Type == audit.OrderSigned && e.Order == law.OrderID(signed[0]) {
				made = e.Signature
			}
			if e.Type == audit.OrderSigned && e.Order == law.OrderID(signed[1]) {
				forged[n].Signature = made
			}
		}
		i.forgeLog(forged)
		if err := i.verify(); scheme != law.EdDSA {
			wantDifference(t, err, "sign_orders", signed[1], "signature")
		} else if err != nil {
			t.Error(err)
		}
	}
	i := s.intrude(t)
	held := i.text(`SELECT id FROM sign_orders WHERE state = 'withheld'`)
	i.do(`UPDATE sign_orders SET signature = x'00' WHERE id = ?`, held)
	wantDifference(t, i.verify(), "sign_orders", held, "signature")
}

// With events and rows that tell of another device, the certificate itself says whose it is.
func TestADeviceCertificateThatIsAnotherDevicesThanTheLogSaysIsFound(t *testing.T) {
	s := tell(t)
	i := s.intrude(t)
	id := i.text(`SELECT id FROM certificates WHERE device = 'SN2' AND state = 'issued'`)
	i.do(`UPDATE certificates SET device = 'SN9' WHERE id = ?`, id)
	i.do(`UPDATE sign_orders SET device = 'SN9' WHERE id = ?`, id)
	forged := slices.Clone(s.events)
	for n, e := range forged {
		if c := e.Certificate; c != nil && string(c.ID) == id {
			other := *c
			other.Device = "SN9"
			forged[n].Certificate = &other
		}
	}
	i.forgeLog(forged)
	wantDifference(t, i.verify(), "certificates", id, "der")
}

// It is found before its signature is looked at: a server that has been taken over could have a CA key make it.
func TestADeviceCertificateThatIsACAsIsFound(t *testing.T) {
	s := tell(t)
	i := s.intrude(t)
	id := i.text(`SELECT id FROM certificates WHERE device = 'SN2' AND state = 'issued'`)
	is, err := x509.ParseCertificate([]byte(i.text(`SELECT der FROM certificates WHERE id = ?`, id)))
	i.must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	i.must(err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: is.SerialNumber, RawSubject: is.RawSubject, NotBefore: is.NotBefore, NotAfter: is.NotAfter, IsCA: true, BasicConstraintsValid: true,
		SignatureAlgorithm: is.SignatureAlgorithm,
	}, &x509.Certificate{Subject: is.Issuer}, is.PublicKey, key)
	i.must(err)
	ca, err := x509.ParseCertificate(der)
	i.must(err)
	hash := func(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }
	i.do(`UPDATE certificates SET der = ?, tbs = ? WHERE id = ?`, ca.Raw, ca.RawTBSCertificate, id)
	forged := slices.Clone(s.events)
	for n, e := range forged {
		if c := e.Certificate; c != nil && string(c.ID) == id {
			other := *c
			if other.TBS = hash(ca.RawTBSCertificate); other.Digest != "" {
				other.Digest = hash(ca.Raw)
			}
			forged[n].Certificate = &other
		}
	}
	i.forgeLog(forged)
	err = i.verify()
	if wantDifference(t, err, "certificates", id, "der"); err == nil || !strings.Contains(err.Error(), "a CA's") {
		t.Errorf("reported is %v", err)
	}
}

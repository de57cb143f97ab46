package store

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

const certificateColumns = `id, keyid, device, request, fingerprint, issuer, issuerfingerprint, serial, tbs, der, chain, notbefore, notafter, session, operation, accepted, ` +
	`state, lease, settled, failure, revokedat, revokedby, revokedcode, revokedreason`

const selectCertificates = `SELECT ` + certificateColumns + ` FROM certificates WHERE `

// Certificate reads one certificate. It is false if there is none.
func (r *Reader) Certificate(id law.CertificateID) (law.Certificate, bool, error) {
	if c, known := r.pending.find(func(c change) bool { return c.certificate != nil && c.certificate.ID == id }); known {
		return *c.certificate, true, nil
	}
	all, err := r.certificates(`id = $1`, string(id))
	if err != nil || len(all) == 0 {
		return law.Certificate{}, false, err
	}
	return all[0], true, nil
}

// CertificatesOf lists the certificates of a key of this server, oldest first.
func (r *Reader) CertificatesOf(key law.KeyID) ([]law.Certificate, error) {
	return r.certificates(`keyid = $1 AND keyid <> '' ORDER BY id`, string(key))
}

// Certificates lists the certificates after the given one, of one key if it is named, oldest first, at most limit.
func (r *Reader) Certificates(key law.KeyID, after law.CertificateID, limit int) ([]law.Certificate, error) {
	if key != "" {
		return r.certificates(`keyid = $1 AND keyid <> '' AND id > $2 ORDER BY id LIMIT $3`, string(key), string(after), limit)
	}
	return r.certificates(ofKeys, string(after), limit)
}

// CertificateBySerial reads the certificate that a key has issued, or is issuing, with the serial number (lower-case hex). It
// is false if there is none.
func (r *Reader) CertificateBySerial(issuer law.KeyID, serial string) (law.Certificate, bool, error) {
	all, err := r.certificates(`issuer = $1 AND issuer <> '' AND serial = $2`, string(issuer), serial)
	if err != nil || len(all) == 0 {
		return law.Certificate{}, false, err
	}
	return all[0], true, nil
}

// ofKeys are certificates of keys of this server.
const ofKeys = `keyid <> '' AND id > $1 ORDER BY id LIMIT $2`

// Revoked is what a revocation list says of a certificate.
type Revoked struct {
	Serial string // hex
	At     time.Time
	Code   law.RevocationCode
}

const (
	listRevoked  = `SELECT serial, revokedat, revokedcode` + byPair + ` AND revokedat >= $3 AND revokedat > 0 ORDER BY revokedat, serial`
	countRevoked = `SELECT count(*)` + byPair + ` AND revokedat > 0`
	byPair       = ` FROM certificates WHERE issuer = $1 AND issuerfingerprint = $2`
)

// RevokedSince lists the certificates that a key pair has issued and that are revoked, in the order in which they were. It
// begins with those that are known already, in that order, and reads only those that were revoked since the last of them.
func (r *Reader) RevokedSince(issuer law.KeyID, fingerprint string, known []Revoked) ([]Revoked, error) {
	since := fromMillis(0)
	if len(known) > 0 {
		since = known[len(known)-1].At
	}
	first, _ := slices.BinarySearchFunc(known, since, func(c Revoked, at time.Time) int { return c.At.Compare(at) })
	out := slices.Clip(known[:first])
	q, err := r.list()
	if err == nil {
		err = q.each(listRevoked, []any{string(issuer), fingerprint, millis(since)}, func(scan func(...any) error) error {
			var c Revoked
			var at int64
			err := scan(&c.Serial, &at, &c.Code)
			c.At = fromMillis(at)
			out = append(out, c)
			return err
		})
	}
	return out, because(err, "reading revoked certificates of key %s", issuer)
}

// CountRevokedBy counts the certificates that a key pair has issued and that are revoked.
func (r *Reader) CountRevokedBy(issuer law.KeyID, fingerprint string) (int, error) {
	n := 0
	q, err := r.list()
	if err == nil {
		err = q.row(countRevoked, []any{string(issuer), fingerprint}, &n)
	}
	return n, because(err, "counting revoked certificates of key %s", issuer)
}

// RunningCertificates lists the certificates in sessions with an attempt under way whose lease ends at or before the
// given time, at most limit. Those of sign orders are found by these.
func (r *Reader) RunningCertificates(until time.Time, limit int) ([]law.Certificate, error) {
	return r.certificates(`state = 'running' AND operation = '' AND lease <= $1 ORDER BY lease LIMIT $2`, millis(until), limit)
}

func (r *Reader) certificates(where string, args ...any) ([]law.Certificate, error) {
	var out []law.Certificate
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	err = q.each(selectCertificates+where, args, func(scan func(...any) error) error {
		c, err := scanCertificate(scan)
		out = append(out, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}
	return out, nil
}

func scanCertificate(scan func(...any) error) (law.Certificate, error) {
	var c law.Certificate
	var chain []byte
	var notBefore, notAfter, accepted, lease, settled, revoked int64
	if err := scan(&c.ID, &c.Key, &c.Device, &c.Request, &c.Fingerprint, &c.Issuer, &c.IssuerFingerprint, &c.Serial, &c.TBS, &c.DER, &chain, &notBefore, &notAfter,
		&c.Session, &c.Operation, &accepted, &c.State, &lease, &settled, &c.Failure, &revoked, &c.Revocation.By, &c.Revocation.Code,
		&c.Revocation.Reason); err != nil {
		return law.Certificate{}, err
	}
	if len(c.DER) == 0 {
		c.DER = nil
	}
	c.NotBefore, c.NotAfter, c.Accepted, c.Lease = fromMillis(notBefore), fromMillis(notAfter), fromMillis(accepted), fromMillis(lease)
	c.Settled, c.Revocation.At = fromMillis(settled), fromMillis(revoked)
	for len(chain) > 0 {
		var one asn1.RawValue
		rest, err := asn1.Unmarshal(chain, &one)
		if err != nil {
			return law.Certificate{}, fmt.Errorf("the chain of certificate %s: %w", c.ID, err)
		}
		c.Chain = append(c.Chain, one.FullBytes)
		chain = rest
	}
	return c, nil
}

// SaveCertificate stores a certificate with the events that say what happened to it.
func (tx *Tx) SaveCertificate(c law.Certificate, first audit.Event, more ...audit.Event) error {
	tx.saveCertificate(c)
	return tx.Append(first, more...)
}

// SaveCertificateOrder stores a sign order, the certificate that it is for, and its operation, with the events that say
// what happened to them.
func (tx *Tx) SaveCertificateOrder(o Operation, r law.Order, c law.Certificate, first audit.Event, more ...audit.Event) error {
	tx.saveCertificate(c)
	return tx.SaveOrder(o, r, first, more...)
}

func (tx *Tx) saveCertificate(c law.Certificate) {
	tx.pending.journal = append(tx.pending.journal, change{certificate: &c, before: -1})
}

var certificatesInsertion = insertion{
	table: "certificates", columns: certificateColumns,
	conflict: ` ON CONFLICT (id) DO UPDATE SET state = excluded.state, lease = excluded.lease, settled = excluded.settled, failure = excluded.failure,
		der = excluded.der, revokedat = excluded.revokedat, revokedby = excluded.revokedby, revokedcode = excluded.revokedcode,
		revokedreason = excluded.revokedreason`,
}

func certificateRow(c law.Certificate) []any {
	return []any{
		string(c.ID), string(c.Key), c.Device, c.Request, c.Fingerprint, string(c.Issuer), c.IssuerFingerprint, c.Serial, c.TBS, filled(c.DER), filled(bytes.Join(c.Chain, nil)),
		millis(c.NotBefore), millis(c.NotAfter), string(c.Session), string(c.Operation), millis(c.Accepted), string(c.State), millis(c.Lease),
		millis(c.Settled), c.Failure, millis(c.Revocation.At), string(c.Revocation.By), string(c.Revocation.Code), c.Revocation.Reason,
	}
}

// filled is a value for a column that has bytes, be they none.
func filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// RevocationList reads the revocation list of a key. If there is none yet, the one returned says so.
func (r *Reader) RevocationList(key law.KeyID) (law.RevocationList, error) {
	return r.revocationList(key, true)
}

// RevocationListState is RevocationList without its DER, which may be tens of megabytes.
func (r *Reader) RevocationListState(key law.KeyID) (law.RevocationList, error) {
	return r.revocationList(key, false)
}

func (r *Reader) revocationList(key law.KeyID, whole bool) (law.RevocationList, error) {
	l := law.RevocationList{Key: key}
	var lease, this, next int64
	columns, into := `fingerprint, accepted, lease, number, entries, thisupdate, nextupdate`, []any{&l.Fingerprint, &l.Number, &lease, &l.Issued, &l.Entries, &this, &next}
	if whole {
		columns, into = columns+`, der`, append(into, &l.DER)
	}
	err := r.q.each(`SELECT `+columns+` FROM revocation_lists WHERE keyid = $1`, []any{string(key)}, func(scan func(...any) error) error { return scan(into...) })
	l.Lease, l.ThisUpdate, l.NextUpdate = fromMillis(lease), fromMillis(this), fromMillis(next)
	if err != nil {
		return law.RevocationList{}, fmt.Errorf("reading the revocation list of key %s: %w", key, err)
	}
	if len(l.DER) == 0 {
		l.DER = nil
	}
	return l, nil
}

// SaveRevocationList stores the revocation list of a key, in the place of the one before, with the events that say what
// happened to it. While the newest one that was issued is the same, its DER stays, and may be missing here.
func (tx *Tx) SaveRevocationList(l law.RevocationList, first audit.Event, more ...audit.Event) error {
	q, err := tx.list()
	if err == nil {
		tx.batch.sent = true
		err = q.exec(`INSERT INTO revocation_lists (keyid, fingerprint, accepted, lease, number, der, entries, thisupdate, nextupdate)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (keyid) DO UPDATE SET fingerprint = excluded.fingerprint, accepted = excluded.accepted, lease = excluded.lease,
			number = excluded.number, der = CASE WHEN revocation_lists.number = excluded.number THEN revocation_lists.der ELSE excluded.der END,
			entries = excluded.entries, thisupdate = excluded.thisupdate, nextupdate = excluded.nextupdate`,
			string(l.Key), l.Fingerprint, l.Number, millis(l.Lease), l.Issued, filled(l.DER), l.Entries, millis(l.ThisUpdate), millis(l.NextUpdate))
	}
	if err != nil {
		return tx.wrote(fmt.Errorf("storing the revocation list of key %s: %w", l.Key, err))
	}
	return tx.Append(first, more...)
}

package store

import (
	"fmt"
	"slices"
	"strings"

	"example.org/keyserver/internal/law"
)

// DevicesLike lists the device certificates that a key pair has issued, or is issuing, for any of the devices or of the
// public keys, oldest first. Revoked ones are left out: a device whose certificate is replaced again and again has many.
func (r *Reader) DevicesLike(issuer law.KeyID, issuerFingerprint string, devices, fingerprints []string) ([]law.Certificate, error) {
	byDevice, err := r.devicesIn("device", issuer, issuerFingerprint, devices)
	if err != nil {
		return nil, err
	}
	byKey, err := r.devicesIn("fingerprint", issuer, issuerFingerprint, fingerprints)
	all := slices.Concat(byDevice, byKey)
	slices.SortFunc(all, func(a, b law.Certificate) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return slices.CompactFunc(all, func(a, b law.Certificate) bool { return a.ID == b.ID }), err
}

// They are in the order of the index, so that it is this one that is looked in.
func (r *Reader) devicesIn(column string, issuer law.KeyID, issuerFingerprint string, values []string) ([]law.Certificate, error) {
	return r.certificatesOfEach(values, column+` = $1 AND issuer = $2 AND issuerfingerprint = $3 AND device <> '' AND revokedat = 0 ORDER BY id`, string(issuer), issuerFingerprint)
}

// CertificatesByID reads certificates; one that is not there is left out.
func (r *Reader) CertificatesByID(ids []string) (map[law.CertificateID]law.Certificate, error) {
	found, err := r.certificatesOfEach(ids, `id = $1`)
	all := map[law.CertificateID]law.Certificate{}
	for _, c := range found {
		all[c.ID] = c
	}
	return all, err
}

// certificatesOfEach reads the certificates of each of the values, with a query for each: PostgreSQL makes a plan while the
// table is new, and keeps it, and one for many values together is to read the whole table.
func (r *Reader) certificatesOfEach(values []string, where string, more ...any) ([]law.Certificate, error) {
	q, err := r.list()
	if err != nil {
		return nil, err
	}
	var out []law.Certificate
	all := make([]statement, len(values))
	for i, value := range values {
		all[i] = statement{text: selectCertificates + where, args: append([]any{value}, more...), row: func(scan func(...any) error) error {
			c, err := scanCertificate(scan)
			out = append(out, c)
			return err
		}}
	}
	if err := q.all(all); err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}
	return out, nil
}

// DeviceQuery selects device certificates: of an operation, or that a key has issued with a serial number or for a device.
type DeviceQuery struct {
	Operation law.OperationID
	Issuer    law.KeyID
	Serial    string
	Device    string
	After     law.CertificateID // only newer ones
	Limit     int
}

// DeviceCertificates lists device certificates, oldest first. A query that names neither an operation, nor an issuer with a
// serial number or a device, has no answer.
func (r *Reader) DeviceCertificates(q DeviceQuery) ([]law.Certificate, error) {
	switch {
	case q.Issuer != "" && q.Serial != "":
		return r.certificates(`issuer = $1 AND issuer <> '' AND serial = $2 AND device <> '' AND id > $3 ORDER BY id LIMIT $4`, string(q.Issuer), q.Serial, string(q.After), q.Limit)
	case q.Issuer != "" && q.Device != "":
		return r.certificates(`issuer = $1 AND device = $2 AND device <> '' AND id > $3 ORDER BY id LIMIT $4`, string(q.Issuer), q.Device, string(q.After), q.Limit)
	case q.Operation != "":
		return r.certificates(`operation = $1 AND device <> '' AND id > $2 ORDER BY id LIMIT $3`, string(q.Operation), string(q.After), q.Limit)
	}
	return nil, nil
}

// Lot is what is known of the device certificates of an operation without reading them.
type Lot struct {
	Issued, Revoked int
	First, Last     law.Certificate // issued; the zero ones if none is
	Refused         int             // orders under the operation that were refused, for whatever reason
}

const (
	lotOf        = `operation = $1 AND keyid = '' AND issuer = $2 AND state = 'issued'`
	countLot     = `SELECT count(*), coalesce(sum(CASE WHEN revokedat > 0 THEN 1 ELSE 0 END), 0) FROM certificates WHERE ` + lotOf
	countRefused = `SELECT count(*) FROM audit_events WHERE operation = $1 AND operation <> '' AND type = 'order-refused' AND keyid = $2`
)

// Lot counts the device certificates of an operation that a key has issued, and what was refused under it of that key.
func (r *Reader) Lot(id law.OperationID, issuer law.KeyID) (Lot, error) {
	var l Lot
	of := []any{string(id), string(issuer)}
	q, err := r.list()
	if err == nil {
		err = q.row(countLot, of, &l.Issued, &l.Revoked)
	}
	if err == nil {
		err = q.row(countRefused, of, &l.Refused)
	}
	for order, into := range map[string]*law.Certificate{"": &l.First, " DESC": &l.Last} {
		var found []law.Certificate
		if err == nil {
			found, err = r.certificates(lotOf+` ORDER BY id`+order+` LIMIT 1`, of...)
		}
		if len(found) > 0 {
			*into = found[0]
		}
	}
	return l, because(err, "counting the device certificates of operation %s", id)
}

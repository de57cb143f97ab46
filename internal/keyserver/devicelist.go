package keyserver

import (
	"context"
	"fmt"
	"strings"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
	"example.org/keyserver/internal/store"
)

// DeviceFilter selects device certificates: those of an operation, those that a CA key has issued for a device, or the one
// with a serial number.
type DeviceFilter struct {
	Operation law.OperationID
	Key       law.KeyID // CA key; with Device or Serial
	Device    string    // device identity
	Serial    string    // lower-case hex
	Page      Page
}

// Lot is what became of the device certificates of an operation under one of its CA keys.
type Lot struct {
	Operation   law.OperationID
	State       law.State
	Key         law.KeyID
	MaxUses     int
	Taken       int // uses; some may have no certificate yet
	Issued      int
	Revoked     int
	Refused     int // orders under the operation that were refused, for whatever reason
	First, Last law.Certificate
}

// Remaining is how many uses are left.
func (l Lot) Remaining() int { return l.MaxUses - l.Taken }

// Rate is how many certificates were issued in an hour, on average; 0 if fewer than two were.
func (l Lot) Rate() float64 {
	if span := l.Last.Settled.Sub(l.First.Settled); l.Issued > 1 && span > 0 {
		return float64(l.Issued-1) / span.Hours()
	}
	return 0
}

var errNoDeviceCertificate = &law.Refusal{Kind: law.NotFound, Reason: "there is no such device certificate"}

// DeviceCertificates lists device certificates whose operation exists for the caller, oldest first.
func (k *Keyserver) DeviceCertificates(ctx context.Context, c Caller, f DeviceFilter) (CertificatePage, error) {
	f.Serial = strings.TrimLeft(strings.ToLower(f.Serial), "0")
	if byKey := f.Key != "" && (f.Device != "") != (f.Serial != ""); byKey == (f.Operation != "") {
		return CertificatePage{}, &Malformed{"name the operation, or the CA key with either a device or a serial number"}
	}
	scope := fmt.Sprintf("devices %q %q %q %q", f.Operation, f.Key, f.Device, f.Serial)
	after, err := k.openCursor(c, scope, f.Page)
	if err != nil {
		return CertificatePage{}, err
	}
	page, err := look(ctx, k, func(r *store.Reader) (CertificatePage, error) {
		var page CertificatePage
		if f.Operation != "" {
			if _, err := visible(r, c, f.Operation); err != nil {
				return page, err
			}
		}
		last, err := page.fill(r, c, f, law.CertificateID(after))
		if err == nil && len(page.Certificates) == f.Page.Limit {
			page.Next = k.cursor(c, scope, string(last))
		}
		return page, err
	})
	return page, k.auditHidden(ctx, c, err, audit.Event{Operation: f.Operation})
}

// fill reads the certificates that the caller sees after one, up to the limit, and returns the last one that was read. Hidden
// ones are passed over: a page that is not full and not the last would say that there are such.
func (p *CertificatePage) fill(r *store.Reader, c Caller, f DeviceFilter, last law.CertificateID) (law.CertificateID, error) {
	above := paths{}
	for more := true; more && len(p.Certificates) < f.Page.Limit; {
		wanted := f.Page.Limit - len(p.Certificates)
		found, err := r.DeviceCertificates(store.DeviceQuery{
			Operation: f.Operation, Issuer: f.Key, Serial: f.Serial, Device: f.Device, After: last, Limit: wanted,
		})
		if err != nil {
			return last, err
		}
		more = len(found) == wanted
		for _, one := range found {
			last = one.ID
			o, known, err := r.Operation(one.Operation)
			if err != nil {
				return last, err
			}
			if !known || !r.Facts().Sees(c.Subject, o.Operation) {
				continue
			}
			seen, err := withIssuers(r, one, above)
			if err != nil {
				return last, err
			}
			p.Certificates = append(p.Certificates, seen)
		}
	}
	return last, nil
}

// paths are the certificates above those that a key pair has issued under a name, kept for the next one.
type paths map[string][][]byte

// withIssuers is a device certificate with those above it.
func withIssuers(r *store.Reader, one law.Certificate, above paths) (Certificate, error) {
	out := Certificate{Certificate: one}
	if one.DER == nil {
		return out, nil
	}
	name, _ := pki.Names(one.TBS)
	by := one.IssuerFingerprint + string(name)
	path, known := above[by]
	if !known {
		whole, err := pathOf(r, one)
		if err != nil {
			return out, err
		}
		path = whole[1:]
		above[by] = path
	}
	out.Path = append([][]byte{one.DER}, path...)
	return out, nil
}

// DeviceCertificate returns one device certificate, if its operation exists for the caller.
func (k *Keyserver) DeviceCertificate(ctx context.Context, c Caller, id law.CertificateID) (Certificate, error) {
	one, err := look(ctx, k, func(r *store.Reader) (Certificate, error) {
		found, known, err := r.Certificate(id)
		if err != nil {
			return Certificate{}, err
		}
		o, _, err := r.Operation(found.Operation)
		if err != nil {
			return Certificate{}, err
		}
		if !known || !found.OfDevice() || !r.Facts().Sees(c.Subject, o.Operation) {
			return Certificate{}, &unseen{errNoDeviceCertificate, known && found.OfDevice()}
		}
		return withIssuers(r, found, paths{})
	})
	return one, k.auditHidden(ctx, c, err, audit.Event{})
}

// RevokeDeviceCertificate revokes a device certificate, without a session. Revoking what is revoked changes nothing and is
// no error. The next revocation list of its issuer, which is made at once, names it.
func (k *Keyserver) RevokeDeviceCertificate(ctx context.Context, c Caller, id law.CertificateID, code law.RevocationCode, reason string) (Certificate, error) {
	out, err := store.UpdateFirst(ctx, k.db, func(tx *store.Tx) (Certificate, error) {
		was, known, err := tx.Certificate(id)
		if err == nil && (!known || !was.OfDevice()) {
			err = errNoDeviceCertificate
		}
		if err != nil {
			return Certificate{}, err
		}
		now, err := c.revokeDevice(tx, was, code, reason)
		if err != nil {
			return Certificate{}, err
		}
		return withIssuers(&tx.Reader, now, paths{})
	})
	return out, unavailable(err, "")
}

func (c Caller) revokeDevice(tx *store.Tx, was law.Certificate, code law.RevocationCode, reason string) (law.Certificate, error) {
	o, _, err := tx.Operation(was.Operation)
	if err != nil {
		return was, err
	}
	now, refusal := was.RevokeDevice(c.Subject, code, reason, o.Operation, tx.Facts(), tx.Now())
	if err := c.audit(tx, audit.Event{Type: audit.RequestRefused, Operation: was.Operation, Digest: o.Digest(), Key: was.Issuer}, refusal); err != nil {
		return was, err
	}
	if !was.Revocation.At.IsZero() {
		return now, nil
	}
	return now, tx.SaveCertificate(now, c.deviceRevoked(now))
}

// revokedAtOnce is how many device certificates are revoked in one transaction.
const revokedAtOnce = 200

// RevokeDeviceCertificatesOf revokes all device certificates of an operation and returns how many it has revoked. If it
// fails in between, asking again goes on. It does not end the operation.
func (k *Keyserver) RevokeDeviceCertificatesOf(ctx context.Context, c Caller, id law.OperationID, code law.RevocationCode, reason string) (int, error) {
	revoked := 0
	for after := law.CertificateID(""); ; {
		type step struct {
			last    law.CertificateID
			revoked int
			more    bool
		}
		s, err := update(ctx, k, func(tx *store.Tx) (step, error) {
			var s step
			o, known, err := tx.Operation(id)
			if err == nil && !known {
				err = errNoOperation
			}
			if err != nil {
				return s, err
			}
			about := audit.Event{Type: audit.RequestRefused, Operation: id, Digest: o.Digest()}
			if err := c.audit(tx, about, o.MayRevokeDevices(c.Subject, tx.Facts())); err != nil {
				return s, err
			}
			all, err := tx.DeviceCertificates(store.DeviceQuery{Operation: id, After: after, Limit: revokedAtOnce})
			if err != nil {
				return s, err
			}
			if len(all) == 0 && after == "" {
				return s, c.audit(tx, about, &law.Refusal{Kind: law.WrongState, Reason: "no device certificate was issued under the operation"})
			}
			for _, one := range all {
				if s.last = one.ID; !one.Revocation.At.IsZero() || one.State == law.CertificateWithheld {
					continue
				}
				if _, err := c.revokeDevice(tx, one, code, reason); err != nil {
					return s, err
				}
				s.revoked++
			}
			s.more = len(all) == revokedAtOnce
			return s, nil
		})
		revoked += s.revoked
		if err != nil || !s.more {
			return revoked, err
		}
		after = s.last
	}
}

// Lots returns what became of the device certificates of an operation, for each of its CA keys that issues them.
func (k *Keyserver) Lots(ctx context.Context, c Caller, id law.OperationID) ([]Lot, error) {
	lots, err := look(ctx, k, func(r *store.Reader) ([]Lot, error) {
		o, err := visible(r, c, id)
		if err != nil {
			return nil, err
		}
		return k.lotsOf(r, o)
	})
	return lots, k.auditHidden(ctx, c, err, audit.Event{Operation: id})
}

func (k *Keyserver) lotsOf(r *store.Reader, o store.Operation) ([]Lot, error) {
	var lots []Lot
	for _, grant := range o.Keys {
		key, _ := r.Facts().Key(grant.Key)
		if key.Type != law.CA {
			continue
		}
		counted, err := r.Lot(o.ID, grant.Key)
		if err != nil {
			return nil, err
		}
		if key.Devices == nil && counted.Issued == 0 {
			continue
		}
		lots = append(lots, Lot{
			Operation: o.ID, State: o.State(r.Facts(), r.Now()), Key: grant.Key, MaxUses: grant.MaxUses, Taken: o.Usage[grant.Key].Taken,
			Issued: counted.Issued, Revoked: counted.Revoked, Refused: counted.Refused, First: counted.First, Last: counted.Last,
		})
	}
	return lots, nil
}

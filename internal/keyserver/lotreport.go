package keyserver

import (
	"context"
	"io"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/lotreport"
	"example.org/keyserver/internal/store"
)

// listedAtOnce is how many device certificates are read at once for a list.
const listedAtOnce = 1000

// WriteLot writes the device certificates that were issued under an operation as CSV, as of that time; the zero time is now.
// It holds the database only while it reads, however slowly w takes what it is given.
func (k *Keyserver) WriteLot(ctx context.Context, c Caller, id law.OperationID, at time.Time, w io.Writer) error {
	now, err := look(ctx, k, func(r *store.Reader) (time.Time, error) {
		_, err := visible(r, c, id)
		return r.Now(), err
	})
	if err != nil {
		return k.auditHidden(ctx, c, err, audit.Event{Operation: id})
	}
	if at.IsZero() || at.After(now) {
		at = now
	}
	list := lotreport.NewList(w, at)
	if err := k.eachDevice(ctx, id, list.Add); err != nil {
		return err
	}
	_, err = list.End()
	return err
}

// eachDevice reads the device certificates of an operation, oldest first.
func (k *Keyserver) eachDevice(ctx context.Context, id law.OperationID, do func(law.Certificate)) error {
	for after := law.CertificateID(""); ; {
		some, err := look(ctx, k, func(r *store.Reader) ([]law.Certificate, error) {
			return r.DeviceCertificates(store.DeviceQuery{Operation: id, After: after, Limit: listedAtOnce})
		})
		if err != nil {
			return err
		}
		for _, one := range some {
			do(one)
			after = one.ID
		}
		if len(some) < listedAtOnce {
			return nil
		}
	}
}

// LotReport returns the signed report on the device certificates of an operation that has ended (see package lotreport). It
// is signed with the key of the audit log, which is in no keystore.
func (k *Keyserver) LotReport(ctx context.Context, c Caller, id law.OperationID) ([]byte, error) {
	_, err := look(ctx, k, func(r *store.Reader) (store.Operation, error) { return reportable(r, c, id) })
	if err != nil {
		return nil, k.auditHidden(ctx, c, err, audit.Event{Operation: id})
	}
	at, err := k.settledTime(ctx)
	if err != nil {
		return nil, err
	}
	report, err := look(ctx, k, func(r *store.Reader) (lotreport.Report, error) {
		o, err := reportable(r, c, id)
		if err != nil {
			return lotreport.Report{}, err
		}
		return k.reportOf(r, o, at)
	})
	if err != nil {
		return nil, k.auditHidden(ctx, c, err, audit.Event{Operation: id})
	}
	list := lotreport.NewList(io.Discard, at)
	running := 0
	if err := k.eachDevice(ctx, id, func(one law.Certificate) {
		if list.Add(one); one.State == law.CertificateRunning {
			running++
		}
	}); err != nil {
		return nil, err
	}
	if report.Certificates, err = list.End(); err != nil {
		return nil, err
	}
	if running > 0 || report.Issued() != report.Certificates.Count { // begun before the operation ended
		return nil, &Unavailable{Kind: "running", Sentence: "a device certificate is being signed; ask again soon", RetryAfter: time.Second}
	}
	for i, l := range report.Lots {
		report.Lots[i].Revoked = list.Revoked(l.Key)
	}
	if report.Checkpoint, err = k.newestCheckpoint(); err != nil {
		return nil, err
	}
	return lotreport.Sign(report, k.signer)
}

// reportable is an operation that the caller sees and that has ended.
func reportable(r *store.Reader, c Caller, id law.OperationID) (store.Operation, error) {
	o, err := visible(r, c, id)
	if err == nil {
		err = o.MayReport()
	}
	return o, err
}

// settledTime is a time before which nothing happens any more: what happened before it is stored and can be seen. A view
// does not know of what is being stored, and has its time already.
func (k *Keyserver) settledTime(ctx context.Context) (time.Time, error) {
	return update(ctx, k, func(tx *store.Tx) (time.Time, error) {
		tx.Mark()
		return tx.Now(), nil
	})
}

// reportOf is what is to be said of an operation that has ended, but for the list of its certificates and what it counts.
func (k *Keyserver) reportOf(r *store.Reader, o store.Operation, at time.Time) (lotreport.Report, error) {
	out := lotreport.Report{
		Version: lotreport.Version, Server: k.ServerID(), At: at.UnixMilli(), Operation: o.ID, Digest: o.Digest(), Description: o.Description,
		Orderer: o.Orderer.Subject, State: o.Recorded, Created: o.Created.UnixMilli(), Ended: o.Ending.At.UnixMilli(), Reason: o.Ending.Reason,
		Approvals: []lotreport.Approval{}, Lots: []lotreport.Lot{},
	}
	for _, a := range o.Approvals {
		if a.Stands() {
			out.Approvals = append(out.Approvals, lotreport.Approval{By: a.By, At: a.At.UnixMilli(), Keys: a.Covers})
		}
	}
	lots, err := k.lotsOf(r, o)
	for _, l := range lots {
		grant, _ := o.Grant(l.Key)
		out.Lots = append(out.Lots, lotreport.Lot{
			Key: l.Key, Fingerprint: grant.Fingerprint, MaxUses: l.MaxUses, Taken: l.Taken, Issued: l.Issued, Refused: l.Refused,
			First: deviceOf(l.First), Last: deviceOf(l.Last),
		})
	}
	return out, err
}

func deviceOf(c law.Certificate) *lotreport.Device {
	if c.ID == "" {
		return nil
	}
	return &lotreport.Device{Device: c.Device, Serial: c.Serial, Issued: c.Settled.UnixMilli()}
}

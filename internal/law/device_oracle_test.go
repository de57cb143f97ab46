package law_test

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/law"
)

// What the oracle knows of device certificates. They outlive the operation that they were made under, so they are in a
// ledger of their own.

// paper is the certificate of a device, from the acceptance of its order on.
type paper struct {
	order       law.OrderID
	op          law.OperationID
	pair        string // fingerprint of the key pair that is to sign it
	device, key string
	request     string
	until       time.Time
	made        bool // it is signed
	lost        bool // it was withheld
	void        bool // it was revoked
}

// counts says whether a device has the certificate at that time, or might still get it.
func (p paper) counts(at time.Time) bool { return !p.void && !p.lost && at.Before(p.until) }

// ledger lists all papers, the oldest first. It is never changed, only replaced.
type ledger []paper

func (l ledger) of(id law.OrderID) (paper, bool) {
	i := slices.IndexFunc(l, func(p paper) bool { return p.order == id })
	if i < 0 {
		return paper{}, false
	}
	return l[i], true
}

func (l ledger) with(id law.OrderID, change func(*paper)) ledger {
	l = slices.Clone(l)
	for i := range l {
		if l[i].order == id {
			change(&l[i])
		}
	}
	return l
}

// about are the papers that count and are of the device or of its key, signed by the key pair; not the one that is being
// asked for again.
func (l ledger) about(d law.DeviceDraft, pair string, but law.OrderID, at time.Time) []paper {
	return slices.DeleteFunc(slices.Clone(l), func(p paper) bool {
		return p.order == but || p.pair != pair || !p.counts(at) || p.device != d.Device && p.key != d.Fingerprint
	})
}

// second says whether there may be a certificate for the draft beside the papers about it, or which of them is given
// instead.
func second(d law.DeviceDraft, about []paper, rule law.DuplicateRule) (may bool, same law.OrderID) {
	for _, p := range about {
		if !p.made || p.device != d.Device {
			return false, ""
		}
	}
	switch newest := len(about) - 1; {
	case newest < 0 || rule == law.DuplicatesReplaced:
		return true, ""
	case rule == law.DuplicatesSame && about[newest].key == d.Fingerprint:
		return true, about[newest].order
	}
	return false, ""
}

// judges says whether an attempt may be made at what is asked for, but for the uses left. If it is the certificate of a
// device that has one already, and gets the same, it says which.
func (l ledger) judges(b tale, ask law.OrderAsk, in law.Input, now *plain, at time.Time) (may bool, same law.OrderID) {
	if !b.mayUse(ask.Who, ask.Key, now, at) {
		return false, ""
	}
	k := now.keys[ask.Key]
	switch {
	case ask.Device == nil && ask.Certificate == nil:
		return b.maySign(ask.Key, in, now), ""
	case k.Type != law.CA || len(b.named) > 0 || k.ArtifactsNeeded:
		return false, ""
	case ask.Certificate != nil:
		return sound(ask.Certificate.Draft, k, at) && now.certifies(ask.Who, *ask.Certificate) && reflect.DeepEqual(now.certified(k.ID), b.born.certified(k.ID)), ""
	}
	d, before := ask.Device.Draft, b.orderOf(ask).order
	own, _ := l.of(before)
	if own.void || k.Devices == nil || !sound(d.CertificateDraft, k, at) || !named(d.Device) || now.ours(d.Fingerprint) ||
		d.Profile != k.Devices.Digest() || d.Authority != ask.Device.Authority {
		return false, ""
	}
	return second(d, l.about(d, k.Fingerprint, before, at), k.Devices.Duplicates)
}

// certifies says whether a CA key may issue the certificate of an FW key to somebody.
func (p *plain) certifies(who law.SubjectID, ask law.CertificateAsk) bool {
	k := p.keys[ask.Key]
	return k.Type == law.Firmware && k.State != law.KeyRevoked && k.Profile != nil && k.Fingerprint == ask.Draft.Fingerprint &&
		(p.mayOrder[k.ID][who] || p.mayApprove[k.ID][who] || p.watcher[who])
}

// ours says whether a key pair is one of this server's.
func (p *plain) ours(fingerprint string) bool {
	for _, k := range p.keys {
		if k.Fingerprint == fingerprint {
			return true
		}
	}
	return false
}

var hexNumber = regexp.MustCompile(`\A[0-9a-f]{1,40}\z`)

// sound says whether a certificate could be issued as it was drawn up.
func sound(d law.CertificateDraft, k law.Key, at time.Time) bool {
	return d.Fault == "" && fits(d.Input, k) && bytes.Equal(d.Input.Digest, hashOf(d.Input.Hash, d.TBS)) && len(d.TBS) > 0 &&
		hexNumber.MatchString(d.Serial) && d.NotBefore.Before(d.NotAfter) && at.Before(d.NotAfter)
}

func named(device string) bool {
	return device != "" && len(device) <= 255 && !strings.ContainsAny(device, "\n\t")
}

// draftOf is the draft of the certificate that is asked for, nil if none is.
func draftOf(ask law.OrderAsk) *law.Draft {
	switch {
	case ask.Device != nil:
		return &ask.Device.Draft.Draft
	case ask.Certificate != nil:
		return &ask.Certificate.Draft.Draft
	}
	return nil
}

// thing is what one idempotency key can be used for; empty: an input that is given.
func thing(ask law.OrderAsk) string {
	switch {
	case ask.Device != nil:
		return "certificate request " + ask.Device.Request
	case ask.Certificate != nil:
		return "certificate of key " + string(ask.Certificate.Key)
	}
	return ""
}

// supersedes lists what is revoked by a certificate that was just made: the others of its device, if the profile says so
// and it is good itself.
func (l ledger) supersedes(id law.OrderID, k law.Key, at time.Time) []law.OrderID {
	var olds []law.OrderID
	p, known := l.of(id)
	if !known || !p.made || p.void || k.Devices == nil || k.Devices.Duplicates != law.DuplicatesReplaced {
		return nil
	}
	for _, old := range l {
		if old.order != id && old.device == p.device && old.pair == p.pair && old.made && old.counts(at) {
			olds = append(olds, old.order)
		}
	}
	return olds
}

// agrees checks that the certificates in the books are those of the ledger.
func (l ledger) agrees(books []law.Certificate) error {
	i := 0
	for _, c := range books {
		if !c.OfDevice() {
			continue
		}
		if i == len(l) {
			return fmt.Errorf("certificate %s is in the books, and not in the ledger", c.ID)
		}
		p := l[i]
		i++
		switch {
		case string(c.ID) != string(p.order) || c.Device != p.device || c.Fingerprint != p.key || c.IssuerFingerprint != p.pair ||
			c.Request != p.request || c.Operation != p.op || !c.NotAfter.Equal(p.until):
			return fmt.Errorf("certificate %+v is in the books, and %+v in the ledger", c, p)
		case (c.State == law.CertificateIssued) != p.made || (c.State == law.CertificateWithheld) != p.lost || c.Revocation.At.IsZero() == p.void:
			return fmt.Errorf("certificate %s is %s, revoked %v; the ledger says %+v", c.ID, c.State, c.Revocation.At, p)
		}
	}
	if i != len(l) {
		return fmt.Errorf("%d certificates are in the books, and %d in the ledger", i, len(l))
	}
	return nil
}

package law_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"example.org/keyserver/internal/law"
)

// desk is where the certificates of sign orders are, in front of the oracle: what the law wrote down of them, and the
// ledger of the oracle. All operations share it.
type desk struct {
	books  []law.Certificate // oldest first; never changed in place
	ledger ledger

	// Of the latest step:
	asked    *law.OrderAsk
	same     law.OrderID   // that was the answer
	replaced []law.OrderID // that were revoked by another
}

func (d desk) cleared() desk { return desk{books: d.books, ledger: d.ledger} }

func (d desk) book(id law.OrderID) (law.Certificate, int) {
	i := slices.IndexFunc(d.books, func(c law.Certificate) bool { return string(c.ID) == string(id) })
	if i < 0 {
		return law.Certificate{}, -1
	}
	return d.books[i], i
}

// wrote takes over a certificate as it is now.
func (d desk) wrote(c law.Certificate) desk {
	_, i := d.book(law.OrderID(c.ID))
	d.books = slices.Clone(d.books)
	if i < 0 {
		d.books = append(d.books, c)
	} else {
		d.books[i] = c
	}
	return d
}

// served adds to what is asked for what the server knows: the draft of the order placed before, if there is one and the
// certificate is not drawn up anew, and all that the key pair has issued.
func (d desk) served(ask law.OrderAsk, prior *law.Order, k law.Key, anew bool) law.OrderAsk {
	var was law.Certificate
	if prior != nil {
		was, _ = d.book(prior.ID)
	}
	drawn := law.CertificateDraft{Fingerprint: was.Fingerprint, Serial: was.Serial, NotBefore: was.NotBefore, NotAfter: was.NotAfter}
	if prior != nil {
		drawn.Draft = law.Draft{TBS: was.TBS, Input: prior.Input}
	}
	switch {
	case ask.Certificate != nil && was.Key == ask.Certificate.Key:
		c := *ask.Certificate
		c.Draft = drawn
		ask.Certificate = &c
	case ask.Device != nil:
		c := *ask.Device
		if was.OfDevice() && !(anew && was.Request == c.Request) {
			c.Draft = law.DeviceDraft{CertificateDraft: drawn, Device: was.Device, Request: was.Request, Authority: c.Authority}
			if k.Devices != nil {
				c.Draft.Profile = k.Devices.Digest()
			}
		}
		for _, old := range d.books {
			if old.OfDevice() && old.IssuerFingerprint == k.Fingerprint && old.ID != was.ID {
				c.Earlier = append(c.Earlier, old)
			}
		}
		if was.OfDevice() {
			c.Earlier = append(c.Earlier, was)
		}
		ask.Device = &c
	}
	return ask
}

// answered checks that a device got the certificate that it has, and nothing else.
func (s stage) answered(got law.Placed, same law.OrderID) (stage, error) {
	if got.Same == nil || string(got.Same.ID) != string(same) || got.Permit.Granted() || got.Order.ID != "" || got.Certificate.ID != "" {
		return s, fmt.Errorf("certificate %s should be the answer, and it is %+v", same, got)
	}
	if was, _ := s.desk.book(same); !reflect.DeepEqual(*got.Same, was) {
		return s, fmt.Errorf("the answer is certificate %+v, but it was %+v", got.Same, was)
	}
	s.desk.same = same
	return s, nil
}

// filed takes over the certificate of an order that was placed.
func (s stage) filed(got law.Placed, ask law.OrderAsk, attempt bool) (stage, error) {
	r := got.Order
	switch {
	case !attempt || thing(ask) == "":
		if got.Certificate.ID != "" {
			return s, fmt.Errorf("no certificate is to be signed, but %+v", got.Certificate)
		}
		return s, nil
	case string(got.Permit.Certificate()) != string(r.ID):
		return s, fmt.Errorf("the permit is for certificate %s of order %s", got.Permit.Certificate(), r.ID)
	case r.Attempt > 1:
		was, _ := s.desk.book(r.ID)
		s.desk = s.desk.wrote(was.Follow(r, nil))
		return s, s.desk.ledger.agrees(s.desk.books)
	}
	c, d := got.Certificate, draftOf(ask)
	issuer := s.set.plain.keys[ask.Key]
	if c.State != law.CertificateRunning || string(c.ID) != string(r.ID) || c.Issuer != ask.Key || c.IssuerFingerprint != issuer.Fingerprint ||
		!slices.Equal(c.TBS, d.TBS) || c.Operation != s.op.ID || c.Device != r.Device || c.Key != r.Certifies || c.DER != nil {
		return s, fmt.Errorf("certificate %+v of order %+v", c, r)
	}
	s.desk = s.desk.wrote(c.Follow(r, nil))
	if ask.Device != nil {
		s.desk.ledger = append(slices.Clone(s.desk.ledger), paper{
			order: r.ID, op: s.op.ID, pair: issuer.Fingerprint, device: ask.Device.Draft.Device, key: ask.Device.Draft.Fingerprint,
			request: ask.Device.Request, until: ask.Device.Draft.NotAfter,
		})
	}
	return s, s.desk.ledger.agrees(s.desk.books)
}

// settledPaper takes over what a result made of the certificate of an order, and of those that it replaces.
func (s stage) settledPaper(r law.Order, what happening) (stage, error) {
	if !r.ForCertificate() {
		return s, nil
	}
	was, _ := s.desk.book(r.ID)
	done := was.Follow(r, []byte("certificate"))
	s.desk = s.desk.wrote(done)
	s.desk.ledger = s.desk.ledger.with(r.ID, func(p *paper) { p.made, p.lost = what == signed, what == withheld })
	s.desk.replaced = s.desk.ledger.supersedes(r.ID, s.set.plain.keys[r.Key], s.now)
	var others []law.Certificate // also of other keys, but not of an older pair of this
	for _, c := range s.desk.books {
		if c.Issuer != done.Issuer || c.IssuerFingerprint == done.IssuerFingerprint {
			others = append(others, c)
		}
	}
	got := done.Replace(others, r.Requester, s.facts(), s.now)
	if len(got) != len(s.desk.replaced) {
		return s, fmt.Errorf("certificate %s replaced %+v; it should replace %v", r.ID, got, s.desk.replaced)
	}
	for i, c := range got {
		id := s.desk.replaced[i]
		if string(c.ID) != string(id) || !c.Revocation.At.Equal(s.now) || c.Revocation.By != r.Requester || c.Revocation.Code != "superseded" {
			return s, fmt.Errorf("certificate %s was replaced: %+v", id, c)
		}
		s.desk = s.desk.wrote(c)
		s.desk.ledger = s.desk.ledger.with(id, func(p *paper) { p.void = true })
	}
	return s, s.desk.ledger.agrees(s.desk.books)
}

// revokeDevice revokes the certificate of a device.
func (s stage) revokeDevice(id law.OrderID, who law.SubjectID, code law.RevocationCode, reason string) (stage, error) {
	was, _ := s.desk.book(id)
	p, _ := s.desk.ledger.of(id)
	now, err := was.RevokeDevice(who, code, reason, s.op, s.facts(), s.now)
	may := s.set.plain.on[who] && s.set.plain.boss[who] && (p.void || !p.lost && code != "certificateHold" && reason != "")
	if s.refusal = nil; err != nil && !errors.As(err, &s.refusal) || (err == nil) != may {
		return s, fmt.Errorf("revoking certificate %s: the law says %v, but it may be: %v", id, err, may)
	}
	want := was
	if may && !p.void {
		want.Revocation = law.Revocation{At: s.now, By: who, Code: code, Reason: reason}
		s.desk.ledger = s.desk.ledger.with(id, func(p *paper) { p.void = true })
	}
	if !reflect.DeepEqual(now, want) {
		return s, fmt.Errorf("certificate %+v was revoked: %+v", was, now)
	}
	s.desk = s.desk.wrote(now)
	return s, s.desk.ledger.agrees(s.desk.books)
}

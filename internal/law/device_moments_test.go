package law_test

import (
	"slices"
	"strings"

	"example.org/keyserver/internal/law"
)

// deviceMoment is one step of a random schedule of device certificates.
type deviceMoment struct{ moment }

// deviceMoments are the events that these schedules must reach.
var deviceMoments = []struct {
	name string
	saw  func(deviceMoment) bool
}{
	{"accepted", func(m deviceMoment) bool { return m.accepted() }},
	{"accepted from a client", func(m deviceMoment) bool { return m.accepted() && m.who != m.before.tale.orderer }},
	{"issued", func(m deviceMoment) bool { return m.became(law.CertificateIssued) }},
	{"failed", func(m deviceMoment) bool { return m.became(law.CertificateFailed) }},
	{"withheld", func(m deviceMoment) bool { return m.became(law.CertificateWithheld) }},
	{"attempted again after a failure", func(m deviceMoment) bool { return m.again() && m.latest(law.OrderFailed) }},
	{"attempted again after one that was cut off", func(m deviceMoment) bool { return m.again() && m.latest(law.OrderRunning) }},
	{"attempted again when all uses are taken", func(m deviceMoment) bool { return m.again() && m.left() == 0 }},
	{"attempted again under another certificate of the CA key", func(m deviceMoment) bool {
		was, _ := m.before.desk.book(m.after.permit.Order())
		return m.again() && was.State == law.CertificateFailed && m.after.desk.asked.Device.Authority > "c-0"
	}},
	{"fetched again", func(m deviceMoment) bool { return m.fetched(law.CertificateIssued) }},
	{"fetched again after the end", func(m deviceMoment) bool { return m.fetched(law.CertificateIssued) && m.after.tale.end() != "" }},
	{"fetched again after its revocation", func(m deviceMoment) bool {
		return m.fetched(law.CertificateIssued) && m.own().void
	}},
	{"told that an attempt runs", func(m deviceMoment) bool { return m.fetched(law.CertificateRunning) }},
	{"attempt refused: revoked before it was issued", func(m deviceMoment) bool {
		return m.no(law.WrongState) && m.own().void && m.before.open() == law.Approved
	}},
	{"attempt refused: drawn up anew", func(m deviceMoment) bool {
		return m.no(law.KeyReused) && m.own().request == m.after.desk.asked.Device.Request
	}},
	{"refused: another request under the idempotency key", func(m deviceMoment) bool {
		return m.no(law.KeyReused) && m.own().order != "" && m.own().request != m.after.desk.asked.Device.Request
	}},
	{"refused: what is signed as an input under the idempotency key", func(m deviceMoment) bool {
		return m.refused("repeat", law.KeyReused) && thing(*m.after.desk.asked) == ""
	}},
	{"refused: a certificate of a key under the idempotency key", func(m deviceMoment) bool {
		return m.refused("repeat", law.KeyReused) && m.after.desk.asked.Certificate != nil && m.own().order != ""
	}},
	{"same answered", func(m deviceMoment) bool { return m.after.desk.same != "" }},
	{"same answered when all uses are taken", func(m deviceMoment) bool { return m.after.desk.same != "" && m.left() == 0 }},
	{"same answered from another operation", func(m deviceMoment) bool {
		p, _ := m.before.desk.ledger.of(m.after.desk.same)
		return p.op != "" && p.op != m.before.op.ID
	}},
	{"replaced", func(m deviceMoment) bool { return len(m.after.desk.replaced) > 0 }},
	{"replaced one of another operation", func(m deviceMoment) bool {
		return slices.ContainsFunc(m.after.desk.replaced, func(id law.OrderID) bool {
			p, _ := m.before.desk.ledger.of(id)
			return p.op != m.before.op.ID
		})
	}},
	{"replaced one of another device key", func(m deviceMoment) bool {
		return slices.ContainsFunc(m.after.desk.replaced, func(id law.OrderID) bool {
			p, _ := m.before.desk.ledger.of(id)
			return slices.ContainsFunc(m.after.desk.ledger, func(q paper) bool { return q.made && !q.void && q.device == p.device && q.key != p.key })
		})
	}},
	{"withheld, as the profile was changed meanwhile", func(m deviceMoment) bool {
		return m.became(law.CertificateWithheld) && strings.HasPrefix(m.after.op.Ending.Reason, "the profile of device certificates")
	}},
	{"refused: the profile of an FW key was changed", func(m deviceMoment) bool {
		grant, _ := m.before.op.Grant(m.after.desk.wish().Key)
		return m.refused("certify", law.WrongState) && m.before.open() == law.Approved && m.left() > 0 && grant.Profiles != law.ProfilesDigest(m.key(), m.before.set.cfg.Keys)
	}},
	{"not replaced by one that was revoked meanwhile", func(m deviceMoment) bool {
		return m.became(law.CertificateIssued) && m.result().void && m.beside() && m.rule() == law.DuplicatesReplaced
	}},
	{"refused as a duplicate: refuse", func(m deviceMoment) bool { return m.duplicate(law.DuplicatesRefused, true, true) }},
	{"refused as a duplicate: same, but of another key", func(m deviceMoment) bool { return m.duplicate(law.DuplicatesSame, true, false) }},
	{"refused as a duplicate: replace, but of another device", func(m deviceMoment) bool { return m.duplicate(law.DuplicatesReplaced, false, true) }},
	{"refused as a duplicate: one of another operation", func(m deviceMoment) bool {
		return slices.ContainsFunc(m.rivals(), func(p paper) bool { return p.op != m.before.op.ID })
	}},
	{"refused as a duplicate when all uses are taken", func(m deviceMoment) bool { return len(m.rivals()) > 0 && m.left() == 0 }},
	{"refused as a duplicate: one that is being issued", func(m deviceMoment) bool { return m.unfinished(law.CertificateRunning) }},
	{"refused as a duplicate: one that has failed", func(m deviceMoment) bool { return m.unfinished(law.CertificateFailed) }},
	{"issued again after a revocation", func(m deviceMoment) bool {
		return m.accepted() && m.had(func(p paper) bool { return p.made && p.void })
	}},
	{"issued again after the revocation of what was never issued", func(m deviceMoment) bool {
		return m.accepted() && m.had(func(p paper) bool { return !p.made && !p.lost && p.void })
	}},
	{"issued again after one was withheld", func(m deviceMoment) bool {
		return m.accepted() && m.had(func(p paper) bool { return p.lost })
	}},
	{"issued again after expiry", func(m deviceMoment) bool {
		return m.accepted() && m.had(func(p paper) bool { return p.made && !p.void && !p.counts(m.before.now) })
	}},
	{"issued again by another key pair", func(m deviceMoment) bool {
		pair := m.before.set.plain.keys[m.after.desk.wish().Key].Fingerprint
		return m.accepted() && m.had(func(p paper) bool { return p.made && p.counts(m.before.now) && p.pair != pair })
	}},
	{"refused: the last use was taken by somebody else's device, and its attempt runs", func(m deviceMoment) bool {
		return m.lateFor(func(r law.Order) bool { return r.Device != "" && r.Requester != m.who })
	}},
	{"refused: the last use was taken for the certificate of a key", func(m deviceMoment) bool {
		return m.lateFor(func(r law.Order) bool { return r.Certifies != "" })
	}},
	{"refused: a device took the last use before the certificate of a key", func(m deviceMoment) bool {
		return m.refused("certify", law.WrongState) && m.left() == 0 && m.before.open() == law.Approved
	}},
	{"refused: by another profile", func(m deviceMoment) bool {
		k, d := m.key(), m.draft()
		return m.no(law.WrongState) && k.Devices != nil && d.Profile != k.Devices.Digest() && m.before.open() == law.Approved
	}},
	{"refused: under another certificate", func(m deviceMoment) bool {
		return m.no(law.WrongState) && m.draft().Authority != m.after.desk.asked.Device.Authority && m.before.open() == law.Approved
	}},
	{"refused: no profile", func(m deviceMoment) bool {
		return m.no(law.Impossible) && m.key().Devices == nil && m.key().Type == law.CA
	}},
	{"refused: an FW key", func(m deviceMoment) bool { return m.no(law.Impossible) && m.key().Type == law.Firmware }},
	{"refused: a key of this server", func(m deviceMoment) bool {
		return m.no(law.Impossible) && m.before.set.plain.ours(m.draft().Fingerprint)
	}},
	{"refused: artifacts are named", func(m deviceMoment) bool { return m.no(law.InputMisfit) && len(m.before.op.Artifacts) > 0 }},
	{"refused: artifacts must be named", func(m deviceMoment) bool { return m.no(law.InputMisfit) && m.key().ArtifactsNeeded }},
	{"refused: forbidden", func(m deviceMoment) bool { return m.no(law.Forbidden) }},
	{"refused: neither the orderer nor a client", func(m deviceMoment) bool {
		return m.no(law.Forbidden) && m.before.set.plain.mayOrder[m.key().ID][m.who] && !m.before.tale.users[m.who] && m.before.open() == law.Approved
	}},
	{"refused: not visible", func(m deviceMoment) bool { return m.no(law.NotFound) }},
	{"refused: clock held", func(m deviceMoment) bool { return m.no(law.Held) }},
	{"the certificate of a key is accepted", func(m deviceMoment) bool { return m.verb == "certify" && m.did(law.DidAcceptOrder) }},
	{"revoked", func(m deviceMoment) bool { return m.revokes(law.CertificateIssued) }},
	{"revoked while it is signed", func(m deviceMoment) bool { return m.revokes(law.CertificateRunning) }},
	{"revoked after a failure", func(m deviceMoment) bool { return m.revokes(law.CertificateFailed) }},
	{"revoked twice", func(m deviceMoment) bool {
		return m.verb == "revoke device" && m.refusal == nil && slices.Equal(m.before.desk.ledger, m.after.desk.ledger)
	}},
	{"revocation refused: not visible", func(m deviceMoment) bool { return m.refused("revoke device", law.NotFound) }},
	{"revocation refused: forbidden", func(m deviceMoment) bool { return m.refused("revoke device", law.Forbidden) }},
	{"revocation refused: withheld", func(m deviceMoment) bool { return m.refused("revoke device", law.WrongState) }},
	{"revocation refused: not well said", func(m deviceMoment) bool { return m.refused("revoke device", law.Impossible) }},
}

// wish is what was asked for by the step, the zero ask if nothing was.
func (d desk) wish() law.OrderAsk {
	if d.asked == nil {
		return law.OrderAsk{}
	}
	return *d.asked
}

// draft is that of the device that was asked for.
func (m deviceMoment) draft() law.DeviceDraft {
	if d := m.after.desk.wish().Device; d != nil {
		return d.Draft
	}
	return law.DeviceDraft{}
}

func (m deviceMoment) key() law.Key { return m.before.set.plain.keys[m.after.desk.wish().Key] }

func (m deviceMoment) rule() law.DuplicateRule {
	k := m.key()
	if m.after.desk.asked == nil {
		k = m.before.set.plain.keys[m.settledBook().Issuer]
	}
	if k.Devices == nil {
		return ""
	}
	return k.Devices.Duplicates
}

// no says whether the certificate of a device was refused like this.
func (m deviceMoment) no(kind law.RefusalKind) bool {
	return m.refusal != nil && m.refusal.Kind == kind && m.after.desk.wish().Device != nil
}

func (m deviceMoment) accepted() bool { return m.did(law.DidAcceptOrder) && m.draft().Device != "" }

func (m deviceMoment) again() bool { return m.did(law.DidAttemptOrder) && m.draft().Device != "" }

// own is the paper of the order that has the idempotency key already.
func (m deviceMoment) own() paper {
	if m.after.desk.asked == nil {
		return paper{}
	}
	p, _ := m.before.desk.ledger.of(m.before.tale.orderOf(*m.after.desk.asked).order)
	return p
}

// left counts the uses of the key that are left.
func (m deviceMoment) left() int {
	k := m.after.desk.wish().Key
	return m.before.tale.uses[k] - m.before.tale.count(tookUse, k)
}

// fetched says that asking again gave the certificate in this state.
func (m deviceMoment) fetched(s law.CertificateState) bool {
	c, _ := m.before.desk.book(m.own().order)
	return m.draft().Device != "" && m.refusal == nil && !m.after.permit.Granted() && m.after.desk.same == "" && c.State == s
}

// settledBook is the certificate of a device whose attempt has ended, in the step, with what is now in the books.
func (m deviceMoment) settledBook() law.Certificate {
	for i, c := range m.before.desk.books {
		now := m.after.desk.books[i]
		if c.OfDevice() && c.State == law.CertificateRunning && now.State != c.State {
			return now
		}
	}
	return law.Certificate{}
}

func (m deviceMoment) became(s law.CertificateState) bool { return m.settledBook().State == s }

func (m deviceMoment) result() paper {
	p, _ := m.after.desk.ledger.of(law.OrderID(m.settledBook().ID))
	return p
}

// beside says whether the device has another certificate beside the one that was just issued.
func (m deviceMoment) beside() bool {
	now := m.result()
	return slices.ContainsFunc(m.after.desk.ledger, func(p paper) bool {
		return p.order != now.order && p.device == now.device && p.pair == now.pair && p.made && p.counts(m.after.now)
	})
}

// rivals are the papers for which a certificate was refused as a duplicate, or could have been.
func (m deviceMoment) rivals() []paper {
	if !m.no(law.WrongState) || m.before.open() != law.Approved || m.own().order != "" {
		return nil
	}
	return m.before.desk.ledger.about(m.draft(), m.key().Fingerprint, "", m.before.now)
}

// duplicate says whether all rivals are issued, and like this.
func (m deviceMoment) duplicate(rule law.DuplicateRule, device, key bool) bool {
	all, d := m.rivals(), m.draft()
	return len(all) > 0 && m.rule() == rule && !slices.ContainsFunc(all, func(p paper) bool {
		return !p.made || (p.device == d.Device) != device || (p.key == d.Fingerprint) != key
	})
}

// unfinished says whether the only rival is not issued yet.
func (m deviceMoment) unfinished(s law.CertificateState) bool {
	all := m.rivals()
	if len(all) != 1 {
		return false
	}
	c, _ := m.before.desk.book(all[0].order)
	return c.State == s
}

// had says whether the device had such a certificate before.
func (m deviceMoment) had(such func(paper) bool) bool {
	d := m.draft()
	return slices.ContainsFunc(m.before.desk.ledger, func(p paper) bool { return p.device == d.Device && such(p) })
}

// lateFor says that a device found all uses taken, the last by such an order, whose attempt runs.
func (m deviceMoment) lateFor(such func(law.Order) bool) bool {
	k := m.after.desk.wish().Key
	return m.no(law.WrongState) && m.left() == 0 && m.before.open() == law.Approved && m.own().order == "" &&
		slices.ContainsFunc(m.before.orders, func(r law.Order) bool {
			return r.Key == k && r.Use == m.before.tale.uses[k] && r.State == law.OrderRunning && such(r)
		})
}

// revokes says whether a certificate in this state was revoked by somebody.
func (m deviceMoment) revokes(s law.CertificateState) bool {
	for i, p := range m.before.desk.ledger {
		if c, _ := m.before.desk.book(p.order); m.verb == "revoke device" && m.after.desk.ledger[i].void && !p.void {
			return c.State == s
		}
	}
	return false
}

package verify_test

import (
	"strings"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// certificate changes what an event says of its certificate.
func certificate(change func(*audit.Certificate)) func(*audit.Event) {
	return func(e *audit.Event) {
		c := *e.Certificate
		change(&c)
		e.Certificate = &c
	}
}

// list changes what an event says of its revocation list.
func list(change func(*audit.RevocationList)) func(*audit.Event) {
	return func(e *audit.Event) {
		l := *e.RevocationList
		change(&l)
		e.RevocationList = &l
	}
}

func certifies(e audit.Event) bool { return e.Certificate != nil }

// retold is a forgery of the first such event.
func retold(rule string, change func(*audit.Event), kind audit.Type, conditions ...func(audit.Event) bool) forgery {
	return forgery{rule, func(l *log) int {
		i := l.find(0, kind, conditions...)
		l.edit(i, change)
		return i
	}}
}

// regranted is a forgery of what an operation says of its key, under which the first such order was accepted.
func regranted(rule string, order func(audit.Event) bool, change func(*law.KeyGrant)) forgery {
	return forgery{rule, func(l *log) int {
		id := l.events[l.find(0, audit.OrderAccepted, order)].Operation
		l.restate(id, func(s *law.Statement) { change(&s.Keys[0]) })
		return l.find(0, audit.OperationCreated, func(e audit.Event) bool { return e.Operation == id })
	}}
}

// changedCA is where administrators change what device certificates of ca hold.
func (l *log) changedCA() int {
	first := l.find(0, audit.ConfigurationChanged, func(e audit.Event) bool { return e.Configuration.ID == "ca" })
	return l.find(first+1, audit.ConfigurationChanged, func(e audit.Event) bool {
		return e.Configuration.ID == "ca" && strings.Contains(string(e.Configuration.Value), `"duplicates":"replace"`)
	})
}

// AZ-04
func TestAZ04_AForgedCertificateIsFound(t *testing.T) {
	const hash = "00000000000000000000000000000000000000000000000000000000000000ff"
	anotherTBS := certificate(func(c *audit.Certificate) { c.TBS = hash })
	wantRefused(t, map[string]forgery{
		"by who has not authorised the session": retold("section 5", by("anna"), audit.CertificateAccepted),
		"by who is no administrator":            retold("section 5", by("olga"), audit.CertificateAccepted),
		"in a session that never was":           retold("section 5", func(e *audit.Event) { e.Session = "none" }, audit.CertificateAccepted),
		"under another description":             retold("section 5", func(e *audit.Event) { e.SessionDescription = "other" }, audit.CertificateAccepted),
		"after its session has ended": {"section 5", func(l *log) int {
			i := l.find(0, audit.CertificateAccepted)
			closed := l.find(i, audit.SessionClosed)
			return l.tell(closed+1, l.events[i], func(e *audit.Event) { certificate(func(c *audit.Certificate) { c.ID, c.Serial = "more", "ff" })(e) })
		}},
		"by a CA key in a session": retold("section 3", certificate(func(c *audit.Certificate) { c.Issuer = "ca" }), audit.CertificateAccepted),
		"by another key pair":      retold("section 3", certificate(func(c *audit.Certificate) { c.IssuerFingerprint = hash }), audit.CertificateAccepted),
		"of another key pair":      retold("section 3", certificate(func(c *audit.Certificate) { c.Fingerprint = hash }), audit.CertificateAccepted),
		"that is never valid":      retold("section 3", certificate(func(c *audit.Certificate) { c.NotAfter = c.NotBefore }), audit.CertificateAccepted),
		"with another input":       retold("section 3", func(e *audit.Event) { e.Input = "00" }, audit.CertificateAccepted),
		"of what was not accepted": retold("section 3", anotherTBS, audit.CertificateIssued),
		"that was never accepted":  retold("section 3", certificate(func(c *audit.Certificate) { c.ID = "none" }), audit.CertificateIssued),
		"without its hash":         retold("section 3", certificate(func(c *audit.Certificate) { c.Digest = "" }), audit.CertificateIssued),
		"twice": {"section 3", func(l *log) int {
			i := l.find(0, audit.CertificateIssued)
			return l.tell(i+1, l.events[i], nil)
		}},
		"with a serial number that was there": {"section 3", func(l *log) int {
			i := l.find(0, audit.CertificateAccepted)
			return l.tell(i+1, l.events[i], certificate(func(c *audit.Certificate) { c.ID = "more" }))
		}},
		"revoked by an approver":       retold("section 5", by("alice"), audit.CertificateRevoked),
		"on hold":                      retold("section 3", certificate(func(c *audit.Certificate) { c.Code = "certificateHold" }), audit.CertificateRevoked),
		"imported of another key pair": retold("section 3", certificate(func(c *audit.Certificate) { c.Fingerprint = hash }), audit.CertificateImported),
		"imported by who may not":      retold("section 5", by("anna"), audit.CertificateImported),
		"ordered, of a CA key":         retold("section 3", certificate(func(c *audit.Certificate) { c.Key = "ca" }), audit.OrderAccepted, certifies),
		"ordered, of a profile that has changed": {"rule 9", func(l *log) int {
			i := l.find(0, audit.OrderAccepted, certifies)
			return l.tell(i, l.events[l.changedCA()], func(e *audit.Event) {
				of := *l.events[l.find(0, audit.ConfigurationChanged, func(e audit.Event) bool { return e.Configuration.ID == "fw-ed" })].Configuration
				e.Configuration = &of
				replaceValue(`"organization":"`, `"organization":"Evil `)(e)
				active := l.events[l.find(0, audit.CertificateImported)]
				e.Session, e.SessionDescription = active.Session, active.SessionDescription
			}) + 1
		}},
		"ordered, with other profiles than there were": regranted("rule 9", certifies, func(k *law.KeyGrant) { k.Profiles = hash }),
		"ordered, with another profile of devices":     regranted("rule 9", certifies, func(k *law.KeyGrant) { k.Devices = hash }),
		"open after its profile of devices has changed": {"rule 9, section 5", func(l *log) int {
			i := l.find(l.changedCA(), audit.OperationRevoked)
			l.remove(i)
			return i
		}},
		"ordered, under another id":       retold("section 3", certificate(func(c *audit.Certificate) { c.ID = "none" }), audit.OrderAccepted, certifies),
		"ordered, attempted with another": retold("section 3", anotherTBS, audit.OrderAttempted, certifies),
		"ordered, and signed as another":  retold("section 3", anotherTBS, audit.OrderSigned, certifies),
		"a raw input of a CA key":         retold("section 3, I9", func(e *audit.Event) { e.Certificate = nil }, audit.OrderAccepted, certifies),
		"requested by who may not":        retold("section 5", by("anna"), audit.CertificateRequestAccepted),
		"requested and never accepted":    retold("section 3", func(e *audit.Event) { e.Input = strings.Repeat("0", 64) }, audit.CertificateRequestSigned),
	})
}

// AZ-04
func TestAZ04_AForgedRevocationListIsFound(t *testing.T) {
	ofRoot := func(e audit.Event) bool { return e.Key == "root" }
	wantRefused(t, map[string]forgery{
		"ROOT's without a session": retold("section 3", func(e *audit.Event) { e.Actor, e.Session, e.SessionDescription = nil, "", "" }, audit.RevocationListAccepted, ofRoot),
		"ROOT's by who may not":    retold("section 5", by("anna"), audit.RevocationListAccepted, ofRoot),
		"of an FW key":             retold("section 3", func(e *audit.Event) { e.Key = law.KeyID("fw-zero") }, audit.RevocationListAccepted),
		"by another key pair":      retold("section 3", func(e *audit.Event) { e.Fingerprint = "other" }, audit.RevocationListAccepted),
		"with a number again":      retold("section 3", list(func(l *audit.RevocationList) { l.Number++ }), audit.RevocationListAccepted),
		"without who is revoked":   retold("section 3", list(func(l *audit.RevocationList) { l.Entries++ }), audit.RevocationListAccepted),
		"that is over":             retold("section 3", list(func(l *audit.RevocationList) { l.NextUpdate = l.ThisUpdate - 1 }), audit.RevocationListAccepted),
		"of what was not accepted": retold("section 3", list(func(l *audit.RevocationList) { l.TBS = l.Digest }), audit.RevocationListIssued),
		"without its hash":         retold("section 3", list(func(l *audit.RevocationList) { l.Digest = "" }), audit.RevocationListIssued),
		"twice": {"section 3", func(l *log) int {
			i := l.find(0, audit.RevocationListIssued)
			return l.tell(i+1, l.events[i], nil)
		}},
	})
}

// AZ-04
func TestAZ04_AForgedLeaveToSignStatusesIsFound(t *testing.T) {
	wantRefused(t, map[string]forgery{
		"with a key for code":          retold("section 3", func(e *audit.Event) { e.Key = "fw-zero" }, audit.StatusesPermitted),
		"with a CA key":                retold("section 3", func(e *audit.Event) { e.Key = "ca" }, audit.StatusesPermitted),
		"with an unknown key":          retold("section 3", func(e *audit.Event) { e.Key = "none" }, audit.StatusesPermitted),
		"by another key pair":          retold("section 3", func(e *audit.Event) { e.Fingerprint = strings.Repeat("0", 64) }, audit.StatusesPermitted),
		"by a certificate that is not": retold("section 3", certificate(func(c *audit.Certificate) { c.ID = "none" }), audit.StatusesPermitted),
		"by one that is another":       retold("section 3", certificate(func(c *audit.Certificate) { c.NotAfter++ }), audit.StatusesPermitted),
		"by that of another key": {"section 3", func(l *log) int {
			issued := l.events[l.find(0, audit.CertificateIssued, func(e audit.Event) bool { return e.Key == "fw-ed" })]
			i := l.find(0, audit.StatusesPermitted)
			l.edit(i, func(e *audit.Event) { e.Certificate = issued.Certificate })
			return i
		}},
		"before it is issued": {"section 3", func(l *log) int {
			permitted := l.events[l.find(0, audit.StatusesPermitted)]
			accepted := l.find(0, audit.OrderAccepted, func(e audit.Event) bool { return e.Certificate != nil && e.Certificate.Key == "status" })
			return l.tell(accepted+1, permitted, func(e *audit.Event) { e.Time = l.events[accepted].Time; e.Lease = e.Time + 1 })
		}},
		"after it is revoked": {"section 3", func(l *log) int {
			i := l.find(0, audit.StatusesPermitted)
			permitted := l.events[i]
			revoked := l.events[l.find(0, audit.CertificateRevoked, func(e audit.Event) bool { return e.Operation == "" })]
			l.tell(i, revoked, func(e *audit.Event) {
				e.Time, e.Key, e.Certificate = permitted.Time, "status", permitted.Certificate
				certificate(func(c *audit.Certificate) { c.Code = "keyCompromise" })(e)
			})
			return i + 1
		}},
		"for more":    retold("section 3", func(e *audit.Event) { e.Count = law.MaxStatuses + 1 }, audit.StatusesPermitted),
		"for longer":  retold("section 3", func(e *audit.Event) { e.Lease++ }, audit.StatusesPermitted),
		"for no time": retold("section 3", func(e *audit.Event) { e.Lease = e.Time }, audit.StatusesPermitted),
	})
}

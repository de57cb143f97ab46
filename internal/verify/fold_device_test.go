package verify_test

import (
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

func ofDevice(name string) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Certificate != nil && e.Certificate.Device == name }
}

// CE-01, AZ-04
func TestAForgedDeviceCertificateIsFound(t *testing.T) {
	const hash = "00000000000000000000000000000000000000000000000000000000000000ff"
	accepted := func(change func(*audit.Certificate)) forgery {
		return retold("section 3", certificate(change), audit.OrderAccepted, ofDevice("SN1"))
	}
	revoked := func(change func(*audit.Event), conditions ...func(audit.Event) bool) func(*log) int {
		return func(l *log) int {
			i := l.find(0, audit.CertificateRevoked, conditions...)
			l.edit(i, change)
			return i
		}
	}
	wantRefused(t, map[string]forgery{
		"of a key and of a device":      accepted(func(c *audit.Certificate) { c.Key = "fw-ed" }),
		"of nobody":                     accepted(func(c *audit.Certificate) { c.Device = "" }),
		"without a request":             accepted(func(c *audit.Certificate) { c.Request = "" }),
		"with a request that is none":   accepted(func(c *audit.Certificate) { c.Request = "none" }),
		"by another issuer":             accepted(func(c *audit.Certificate) { c.Issuer = "root" }),
		"by another key pair":           accepted(func(c *audit.Certificate) { c.IssuerFingerprint = hash }),
		"under another id":              accepted(func(c *audit.Certificate) { c.ID = "another" }),
		"that was issued before it was": accepted(func(c *audit.Certificate) { c.Digest = hash }),
		"that is never valid":           accepted(func(c *audit.Certificate) { c.NotAfter = c.NotBefore }),
		"with a serial number that was used": {"section 3", func(l *log) int {
			first, second := l.find(0, audit.OrderAccepted, ofDevice("SN1")), l.find(0, audit.OrderAccepted, ofDevice("SN2"))
			serial := l.events[first].Certificate.Serial
			l.edit(second, certificate(func(c *audit.Certificate) { c.Serial = serial }))
			return second
		}},
		"for a device that has one": {"section 3", func(l *log) int {
			i := l.find(0, audit.OrderAccepted, ofDevice("SN2"))
			l.edit(i, certificate(func(c *audit.Certificate) { c.Device = "SN1" }))
			return i
		}},
		"for a device key that has one": {"section 3", func(l *log) int {
			first, second := l.find(0, audit.OrderAccepted, ofDevice("SN1")), l.find(0, audit.OrderAccepted, ofDevice("SN2"))
			fingerprint := l.events[first].Certificate.Fingerprint
			l.edit(second, certificate(func(c *audit.Certificate) { c.Fingerprint = fingerprint }))
			return second
		}},
		"for a key of this server": {"section 3", func(l *log) int {
			i := l.find(0, audit.OrderAccepted, ofDevice("SN1"))
			l.edit(i, certificate(func(c *audit.Certificate) { c.Fingerprint = c.IssuerFingerprint }))
			return i
		}},
		"for another device in the end":         retold("section 3", certificate(func(c *audit.Certificate) { c.Device = "SN9" }), audit.OrderSigned, ofDevice("SN1")),
		"from another request when tried again": retold("section 3", certificate(func(c *audit.Certificate) { c.Request = hash }), audit.OrderAttempted, ofDevice("SN2")),
		"without its hash":                      retold("section 3", certificate(func(c *audit.Certificate) { c.Digest = "" }), audit.OrderSigned, ofDevice("SN1")),
		"issued after its revocation": {"section 3", func(l *log) int {
			i := l.find(0, audit.OrderSigned, ofDevice("SN1"))
			signed, running := l.events[i], l.events[l.find(0, audit.OrderAccepted, ofDevice("SN1"))].Certificate
			coded := certificate(func(c *audit.Certificate) { c.Code = "keyCompromise" })
			l.edit(i, coded)
			return 1 + l.tell(i, l.events[l.find(0, audit.CertificateRevoked, ofDevice("SN2"))], func(e *audit.Event) {
				e.Operation, e.Key, e.Certificate = signed.Operation, signed.Key, running
				coded(e)
			})
		}},
		"replaced and not revoked": {"section 3", func(l *log) int {
			i := l.find(0, audit.CertificateRevoked, ofDevice("SN1"))
			l.remove(i)
			return i
		}},
		"replaced and revoked as another":         {"section 5", revoked(func(e *audit.Event) { e.Reason = "lost" }, ofDevice("SN1"))},
		"replaced and revoked for another reason": {"section 5", revoked(certificate(func(c *audit.Certificate) { c.Code = "keyCompromise" }), ofDevice("SN1"))},
		"revoked by the orderer":                  {"section 5", revoked(by("olga"), ofDevice("SN2"))},
		"revoked by who is no subject":            {"section 5", revoked(by("mallory"), ofDevice("SN2"))},
		"revoked for now":                         {"section 3", revoked(certificate(func(c *audit.Certificate) { c.Code = "certificateHold" }), ofDevice("SN2"))},
		"revoked by another key":                  {"section 3", revoked(func(e *audit.Event) { e.Key = "root" }, ofDevice("SN2"))},
		"revoked in no operation":                 {"section 3", revoked(func(e *audit.Event) { e.Operation = "" }, ofDevice("SN2"))},
		"revoked twice": {"section 3", func(l *log) int {
			i := l.find(0, audit.CertificateRevoked, ofDevice("SN2"))
			return l.tell(i+1, l.events[i], nil)
		}},
		"revoked and never accepted": {"section 3", revoked(certificate(func(c *audit.Certificate) { c.ID = law.CertificateID("another") }), ofDevice("SN2"))},
	})
}

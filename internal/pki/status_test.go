package pki_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// responding is a CA key with a key that signs statuses for it.
type responding struct {
	ca, key authority
	pki.Responder
}

func newResponding(t testing.TB, a law.Algorithm, h law.Hash, schemes ...law.Scheme) responding {
	t.Helper()
	root := newRoot(t, newKey(t, "root", law.Root, a, h, rootPair, schemes...))
	ca := root.issue(t, newKey(t, "ca", law.CA, a, h, caPair, schemes...))
	key := ca.issue(t, newKey(t, "responder", law.Firmware, a, h, firmwarePair, schemes...).with(signsStatuses))
	r, err := pki.NewResponder(key.Key, [][]byte{key.certificate.Raw, ca.certificate.Raw, root.certificate.Raw})
	if err != nil {
		t.Fatal(err)
	}
	return responding{ca, key, r}
}

func signsStatuses(p *law.Profile) {
	p.ExtendedKeyUsage, p.Validity = []string{"OCSPSigning"}, 90*day
}

// ask is a request for the status of a certificate of the CA key with this number.
func (r responding) ask(t testing.TB, h crypto.Hash, serial int64) []byte {
	t.Helper()
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: big.NewInt(serial)}, r.ca.certificate, &ocsp.RequestOptions{Hash: h})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

var statusHashes = []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512}

func TestAStatusIsWhatItsReadersUnderstand(t *testing.T) {
	for what, r := range map[string]responding{
		"P-256": newResponding(t, law.P256, law.SHA256), "P-384": newResponding(t, law.P384, law.SHA384), "P-521": newResponding(t, law.P521, law.SHA512),
		"P-256 with SHA-384": newResponding(t, law.P256, law.SHA384), "RSA": newResponding(t, law.RSA2048, law.SHA256, law.PSS, law.PKCS1v15),
		"RSA with SHA-512": newResponding(t, law.RSA2048, law.SHA512, law.PKCS1v15),
	} {
		t.Run(what, func(t *testing.T) {
			for _, h := range statusHashes {
				q, err := pki.ParseStatusRequest(r.ask(t, h, 77))
				if err != nil || q.Hash != h || q.Serial.Int64() != 77 || !r.Asked(q) {
					t.Fatalf("%v, asked %t: %+v", err, r.Asked(q), q)
				}
				for _, revoked := range []*pki.Revocation{nil, {Time: now.Add(-time.Hour), Reason: "keyCompromise"}, {Time: now, Reason: pki.Unspecified}} {
					d, err := pki.PrepareStatus(r.Responder, pki.Status{Hash: h, Serial: q.Serial, Revoked: revoked, ThisUpdate: now, NextUpdate: now.Add(day)})
					got, err := ocsp.ParseResponse(r.key.finish(t, d, err), r.ca.certificate)
					if err != nil {
						t.Fatal(err)
					}
					second := now.Truncate(time.Second)
					if got.SerialNumber.Int64() != 77 || got.IssuerHash != h || !got.ThisUpdate.Equal(second) || !got.NextUpdate.Equal(second.Add(day)) ||
						!bytes.Equal(got.Certificate.Raw, r.key.certificate.Raw) {
						t.Errorf("%+v", got)
					}
					if revoked == nil && got.Status != ocsp.Good {
						t.Errorf("status %d", got.Status)
					}
					if revoked != nil {
						code, _ := revoked.Reason.Code()
						if got.Status != ocsp.Revoked || got.RevocationReason != code || !got.RevokedAt.Equal(revoked.Time.Truncate(time.Second)) {
							t.Errorf("%+v", got)
						}
					}
				}
			}
		})
	}
}

// The certificate of a responder says that nobody asks for its own status (RFC 6960 section 4.2.2.2.1), and no other does.
func TestTheCertificateOfAResponderIsForNothingElse(t *testing.T) {
	r := newResponding(t, law.P256, law.SHA256)
	c := r.key.certificate
	noCheck := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	says := func(c *x509.Certificate) []byte {
		for _, e := range c.Extensions {
			if e.Id.Equal(noCheck) && !e.Critical {
				return e.Value
			}
		}
		return nil
	}
	if !bytes.Equal(says(c), []byte{5, 0}) || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageOCSPSigning || c.KeyUsage != x509.KeyUsageDigitalSignature || c.IsCA {
		t.Errorf("no check %x, usages %v and %b", says(c), c.ExtKeyUsage, c.KeyUsage)
	}
	if made := newHierarchy(t, law.P256, law.SHA256); says(made.firmware.certificate) != nil || says(made.ca.certificate) != nil {
		t.Error("the certificate of a key that signs no statuses says that its own is not asked for")
	}
}

// A CA key certifies a responder though its own certificate is not for OCSPSigning, which would make it one for its issuer.
func TestAResponderIsNotHeldToTheExtendedKeyUsageOfItsIssuer(t *testing.T) {
	root := newRoot(t, newKey(t, "root", law.Root, law.P256, law.SHA256, rootPair))
	ca := root.issue(t, newKey(t, "ca", law.CA, law.P256, law.SHA256, caPair).with(func(p *law.Profile) { p.ExtendedKeyUsage = []string{"clientAuth"} }))
	key := ca.issue(t, newKey(t, "responder", law.Firmware, law.P256, law.SHA256, firmwarePair).with(signsStatuses))
	if _, err := pki.NewResponder(key.Key, [][]byte{key.certificate.Raw, ca.certificate.Raw}); err != nil {
		t.Error(err)
	}
	_, err := pki.PrepareSubordinate(ca.pki(), newKey(t, "firmware", law.Firmware, law.P256, law.SHA256, lowerPair).Key, now, newSerial(t))
	refused(t, err, "is not among those of the issuer's certificate")
}

func TestWhoIsNoResponderIsRefused(t *testing.T) {
	made, r := newHierarchy(t, law.P256, law.SHA256), newResponding(t, law.P256, law.SHA256)
	own, issuer := r.key.certificate.Raw, r.ca.certificate.Raw
	for says, c := range map[string]struct {
		key  pair
		path [][]byte
	}{
		"issued its certificate is not to be had": {r.key.pair, [][]byte{own}},
		"is not to be had":                        {r.key.pair, nil},
		"reading its certificate":                 {r.key.pair, [][]byte{own[1:], issuer}},
		"reading its issuer's certificate":        {r.key.pair, [][]byte{own, issuer[1:]}},
		"is not of its key pair":                  {made.lower.pair, [][]byte{own, issuer}},
		"is not for OCSPSigning":                  {made.firmware.pair, made.chain()},
		"is by CN=":                               {r.key.pair, [][]byte{own, made.lower.certificate.Raw}},
		"its certificate: ":                       {r.key.pair, [][]byte{own, newResponding(t, law.RSA2048, law.SHA256, law.PKCS1v15).ca.certificate.Raw}},
	} {
		_, err := pki.NewResponder(c.key.Key, c.path)
		refused(t, err, says)
	}
}

func TestAResponderIsAskedForCertificatesOfItsIssuerAlone(t *testing.T) {
	r := newResponding(t, law.P256, law.SHA256)
	other := newRoot(t, newKey(t, "root", law.Root, law.P256, law.SHA256, lowerPair))
	for _, h := range statusHashes {
		for what, issuer := range map[string]*x509.Certificate{
			"another key":  {RawSubject: r.ca.certificate.RawSubject, RawSubjectPublicKeyInfo: other.certificate.RawSubjectPublicKeyInfo},
			"another name": {RawSubject: other.certificate.RawSubject, RawSubjectPublicKeyInfo: r.ca.certificate.RawSubjectPublicKeyInfo},
			"itself":       r.key.certificate,
		} {
			der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: big.NewInt(1)}, issuer, &ocsp.RequestOptions{Hash: h})
			if err != nil {
				t.Fatal(err)
			}
			if q, err := pki.ParseStatusRequest(der); err != nil || r.Asked(q) {
				t.Errorf("%s: %v, asked %t", what, err, r.Asked(q))
			}
		}
	}
}

// der writes DER by hand, where the library writes no such thing.
func der(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	switch n := len(body); {
	case n < 128:
		return append([]byte{tag, byte(n)}, body...)
	case n < 256:
		return append([]byte{tag, 0x81, byte(n)}, body...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	}
}

func TestARequestThatAsksForMoreThanAStatusIsRefused(t *testing.T) {
	r := newResponding(t, law.P256, law.SHA256)
	whole := r.ask(t, crypto.SHA1, 77)
	var outer, tbs, list, one asn1.RawValue
	for _, step := range []struct{ in, out *asn1.RawValue }{{&asn1.RawValue{Bytes: whole}, &outer}, {&outer, &tbs}, {&tbs, &list}, {&list, &one}} {
		if _, err := asn1.Unmarshal(step.in.Bytes, step.out); err != nil {
			t.Fatal(err)
		}
	}
	request := func(in ...[]byte) []byte { return der(0x30, der(0x30, in...)) }
	extension := func(critical bool) []byte {
		parts := [][]byte{{6, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2}} // the nonce's (RFC 9654)
		if critical {
			parts = append(parts, []byte{1, 1, 0xff})
		}
		return der(0x30, append(parts, der(4, der(4, []byte("nonce"))))...)
	}
	for says, bad := range map[string][]byte{
		"no OCSPRequest":                     nil,
		"is no OCSPRequest":                  []byte("request"),
		"it is no OCSPRequest":               append(slices.Clone(whole), 0),
		"signed":                             der(0x30, tbs.FullBytes, der(0xa0, der(0x30, []byte{5, 0}))),
		"no OCSPRequest (RFC":                whole[:len(whole)-1],
		"2049 bytes long":                    make([]byte, pki.MaxStatusRequest+1),
		"a version other than 1":             request(der(0xa0, []byte{2, 1, 1}), list.FullBytes),
		"it asks for 2 certificates":         request(der(0x30, one.FullBytes, one.FullBytes)),
		"no OCSPRequest (RFC 6960":           request(der(0x30)),
		"1.3.6.1.5.5.7.48.1.2 is critical":   request(list.FullBytes, der(0xa2, der(0x30, extension(true)))),
		"48.1.2 is critical, and unknown":    request(der(0x30, der(0x30, one.Bytes, der(0xa0, der(0x30, extension(true)))))),
		"cannot be those of a certificate":   bytes.Replace(whole, []byte{2, 1, 77}, []byte{2, 1, 0}, 1),
		"serial number cannot be those of a": bytes.Replace(whole, []byte{2, 1, 77}, []byte{2, 1, 0x80}, 1),
		"hash":                               bytes.Replace(whole, []byte{0x2b, 0x0e, 3, 2, 0x1a}, []byte{0x2b, 0x0e, 3, 2, 0x1b}, 1),
	} {
		_, err := pki.ParseStatusRequest(bad)
		t.Run(says, func(t *testing.T) { refused(t, err, says) })
	}
	for what, good := range map[string][]byte{
		"with a nonce":         request(list.FullBytes, der(0xa2, der(0x30, extension(false)))),
		"with an extension":    request(der(0x30, der(0x30, one.Bytes, der(0xa0, der(0x30, extension(false)))))),
		"version 1 written":    request(der(0xa0, []byte{2, 1, 0}), list.FullBytes),
		"as the library does ": whole,
	} {
		if q, err := pki.ParseStatusRequest(good); err != nil || q.Serial.Int64() != 77 {
			t.Errorf("%s: %v, %v", what, err, q.Serial)
		}
	}
}

func TestAStatusThatIsNotSignedAsPreparedIsRefused(t *testing.T) {
	r := newResponding(t, law.P256, law.SHA256)
	says := pki.Status{Hash: crypto.SHA1, Serial: big.NewInt(77), ThisUpdate: now, NextUpdate: now.Add(day)}
	d, err := pki.PrepareStatus(r.Responder, says)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Finish(append(d.TBS(), 0), r.key.sign(t, d.Input()))
	refused(t, err, "what was signed is not what was prepared")
	_, err = d.Finish(d.TBS(), r.ca.sign(t, d.Input()))
	refused(t, err, "finishing")
	says.Revoked = &pki.Revocation{Time: now, Reason: "certificateHold"}
	_, err = pki.PrepareStatus(r.Responder, says)
	refused(t, err, "cannot be certificateHold")

	for what, other := range map[string]responding{
		"EdDSA": newResponding(t, law.Ed25519, law.SHA512), "PSS": newResponding(t, law.RSA2048, law.SHA256, law.PSS),
	} {
		t.Run(what, func(t *testing.T) {
			_, err := pki.PrepareStatus(other.Responder, pki.Status{Hash: crypto.SHA1, Serial: big.NewInt(77), ThisUpdate: now, NextUpdate: now.Add(day)})
			refused(t, err, "signatures")
		})
	}
}

func TestAnAnswerWithoutASignatureSaysWhy(t *testing.T) {
	for says, der := range map[string][]byte{
		"malformed": pki.StatusMalformed(), "try later": pki.StatusTryLater(), "unauthorized": pki.StatusUnauthorized(),
	} {
		_, err := ocsp.ParseResponse(der, nil)
		refused(t, err, says)
	}
}

// FuzzParseStatusRequest reads what it makes of requests: what is read, the library reads the same.
func FuzzParseStatusRequest(f *testing.F) {
	r := newResponding(f, law.P256, law.SHA256)
	for _, h := range statusHashes {
		f.Add(r.ask(f, h, 77))
	}
	f.Add([]byte(strings.Repeat("0", 100)))
	f.Fuzz(func(t *testing.T, der []byte) {
		q, err := pki.ParseStatusRequest(der)
		if err != nil {
			return
		}
		again, err := ocsp.ParseRequest(der)
		if err != nil || again.SerialNumber.Cmp(q.Serial) != 0 || len(q.Issuer) != 2*q.Hash.Size() || q.Serial.Sign() <= 0 {
			t.Errorf("%v: %+v and %+v", err, q, again)
		}
	})
}

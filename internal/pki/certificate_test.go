package pki_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

func TestEveryAlgorithmHashAndSchemeMakesAHierarchyThatVerifies(t *testing.T) {
	for _, a := range []law.Algorithm{law.RSA2048, law.P256, law.P384, law.P521, law.Ed25519} {
		for _, s := range a.Schemes() {
			for _, h := range law.Hashes() {
				if a == law.Ed25519 && h != law.SHA512 {
					continue
				}
				made := newHierarchy(t, a, h, s)
				roots, between := x509.NewCertPool(), x509.NewCertPool()
				roots.AddCert(made.root.certificate)
				between.AddCert(made.ca.certificate)
				between.AddCert(made.lower.certificate)
				chains, err := made.firmware.certificate.Verify(x509.VerifyOptions{
					Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
				})
				if err != nil || len(chains) != 1 || len(chains[0]) != 4 {
					t.Errorf("%s, %s, %s: chains %v, error %v", a, s, h, chains, err)
				}
			}
		}
	}
}

// One key pair of each longer RSA algorithm is enough here, and they are slow to make.
func TestKeysOfEveryAlgorithmAndSchemeIssueForThoseOfEveryOther(t *testing.T) {
	for _, above := range law.Algorithms() {
		for _, s := range above.Schemes() {
			root := newRoot(t, newKey(t, "root", law.Root, above, law.SHA256, rootPair, s))
			for _, below := range law.Algorithms() {
				if below == above {
					continue
				}
				firmware := newKey(t, "firmware", law.Firmware, below, law.SHA384, rootPair)
				c := root.issue(t, firmware).certificate
				if err := c.CheckSignatureFrom(root.certificate); err != nil {
					t.Errorf("%s under %s, %s: %v", below, above, s, err)
				}
				d, err := pki.PrepareRequest(firmware.Key)
				firmware.finish(t, d, err)
				d, err = pki.PrepareRevocationList(root.pki(), newList(1))
				root.finish(t, d, err)
			}
		}
	}
}

func TestACertificateSaysWhatTheProfileSays(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	cases := []struct {
		authority
		pathLen int
		crl     []string
		usage   x509.KeyUsage
		text    string
	}{
		{made.root, 2, nil, x509.KeyUsageCertSign | x509.KeyUsageCRLSign, "CN=Example root,OU=Product Security,O=Example GmbH,C=DE"},
		{made.ca, 1, []string{"http://crl.example.com/root.crl"}, x509.KeyUsageCertSign | x509.KeyUsageCRLSign, "CN=Example ca,OU=Product Security,O=Example GmbH,C=DE"},
		{made.lower, 0, []string{"http://crl.example.com/ca.crl"}, x509.KeyUsageCertSign | x509.KeyUsageCRLSign, "CN=Example lower,OU=Product Security,O=Example GmbH,C=DE"},
		{made.firmware, -1, []string{"http://crl.example.com/lower.crl"}, x509.KeyUsageDigitalSignature, "CN=Example firmware,OU=Product Security,O=Example GmbH,C=DE"},
	}
	for i, is := range cases {
		c := is.certificate
		if c.Version != 3 || !c.BasicConstraintsValid || c.IsCA != (is.Type != law.Firmware) || c.MaxPathLen != is.pathLen || c.KeyUsage != is.usage {
			t.Errorf("%s: version %d, CA %v, path length %d, key usage %b", is.ID, c.Version, c.IsCA, c.MaxPathLen, c.KeyUsage)
		}
		if !slices.Equal(c.CRLDistributionPoints, is.crl) || pki.Text(c.Subject) != is.text {
			t.Errorf("%s: revocation list at %v, subject %s", is.ID, c.CRLDistributionPoints, pki.Text(c.Subject))
		}
		if !bytes.Equal(c.RawSubjectPublicKeyInfo, is.PublicKey) || len(c.SubjectKeyId) != 20 {
			t.Errorf("%s: public key %x, subject key identifier %x", is.ID, c.RawSubjectPublicKeyInfo, c.SubjectKeyId)
		}
		if i > 0 && (!bytes.Equal(c.AuthorityKeyId, cases[i-1].certificate.SubjectKeyId) || !bytes.Equal(c.RawIssuer, cases[i-1].certificate.RawSubject)) {
			t.Errorf("%s: authority key identifier %x, issuer %s", is.ID, c.AuthorityKeyId, c.Issuer)
		}
		for _, e := range c.Extensions {
			if must := e.Id.String() == "2.5.29.15" || e.Id.String() == "2.5.29.19"; e.Critical != must {
				t.Errorf("%s: extension %s is critical: %v", is.ID, e.Id, e.Critical)
			}
		}
	}
	if u := made.firmware.certificate.ExtKeyUsage; !slices.Equal(u, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}) {
		t.Errorf("extended key usage %v", u)
	}
}

func TestBothEndsOfTheValidityAreWithinIt(t *testing.T) {
	root := newRoot(t, newKey(t, "root", law.Root, law.P256, law.SHA256, rootPair).with(func(p *law.Profile) { p.Validity = 10 * day })).certificate
	first, last := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC), time.Date(2027, 3, 11, 11, 59, 59, 0, time.UTC)
	if !root.NotBefore.Equal(first) || !root.NotAfter.Equal(last) {
		t.Errorf("valid from %v to %v, not from %v to %v", root.NotBefore, root.NotAfter, first, last)
	}
}

func TestFrom2050DatesAreGeneralizedTime(t *testing.T) {
	root := newRoot(t, newKey(t, "root", law.Root, law.P256, law.SHA256, rootPair).with(func(p *law.Profile) { p.Validity = 50 * year })).certificate
	if !bytes.Contains(root.RawTBSCertificate, []byte("\x17\x0d270301120000Z\x18\x0f20770216115959Z")) {
		t.Errorf("the dates are not 2027 as UTCTime and 2077 as GeneralizedTime:\n%s", hex.Dump(root.RawTBSCertificate))
	}
}

func TestAKeyThatMakesBothRSASignaturesSignsCertificatesWithPKCS1v15(t *testing.T) {
	c := newRoot(t, newKey(t, "root", law.Root, law.RSA2048, law.SHA384, rootPair, law.PSS, law.PKCS1v15)).certificate
	if c.SignatureAlgorithm != x509.SHA384WithRSA {
		t.Error(c.SignatureAlgorithm)
	}
}

func TestRenewalWithoutANewKeyChangesNothingButSerialNumberAndValidity(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	old := made.firmware.certificate
	later := now.Add(year)
	d, err := pki.PrepareSubordinate(made.lower.pki(), made.firmware.Key, later, newSerial(t))
	renewed := parse(t, made.lower.finish(t, d, err))
	if renewed.SerialNumber.Cmp(old.SerialNumber) == 0 || !renewed.NotAfter.Equal(old.NotAfter.Add(year)) {
		t.Errorf("serial number %v, valid to %v", renewed.SerialNumber, renewed.NotAfter)
	}
	if !bytes.Equal(renewed.RawSubject, old.RawSubject) || !bytes.Equal(renewed.RawSubjectPublicKeyInfo, old.RawSubjectPublicKeyInfo) || len(renewed.Extensions) != len(old.Extensions) {
		t.Error("subject, public key or extensions differ")
	}
}

func TestPreparingTwiceGivesTheSameBytes(t *testing.T) {
	root := newKey(t, "root", law.Root, law.RSA2048, law.SHA256, rootPair)
	serial := newSerial(t)
	one, err1 := pki.PrepareRoot(root.Key, now, serial)
	two, err2 := pki.PrepareRoot(root.Key, now.Add(time.Microsecond), serial)
	if err1 != nil || err2 != nil || !bytes.Equal(one.TBS(), two.TBS()) {
		t.Errorf("errors %v and %v, or the bytes differ", err1, err2)
	}
	if der, err := two.Finish(one.TBS(), root.sign(t, one.Input())); err != nil || !bytes.Equal(parse(t, der).RawTBSCertificate, one.TBS()) {
		t.Errorf("what was prepared before cannot be finished after: %v", err)
	}
}

func TestNothingButThePreparedBytesSignedByTheIssuerIsFinished(t *testing.T) {
	for _, a := range []law.Algorithm{law.RSA2048, law.P256, law.Ed25519} {
		root := newRoot(t, newKey(t, "root", law.Root, a, law.SHA256, rootPair))
		other := newKey(t, "other", law.Root, a, law.SHA256, caPair)
		firmware := newKey(t, "firmware", law.Firmware, a, law.SHA256, firmwarePair)
		d, err := pki.PrepareSubordinate(root.pki(), firmware.Key, now, newSerial(t))
		if err != nil {
			t.Fatal(err)
		}
		good := root.sign(t, d.Input())

		changed := d.TBS()
		changed[len(changed)-1] ^= 1
		in := law.Input{Hash: root.Hash, Scheme: d.Input().Scheme, Digest: root.Hash.Sum(changed), Message: changed}
		_, err = d.Finish(changed, root.sign(t, in))
		refused(t, err, "what was signed is not what was prepared")
		_, err = d.Finish(d.TBS(), root.sign(t, in))
		refused(t, err, "no valid")
		_, err = d.Finish(d.TBS(), other.sign(t, d.Input()))
		refused(t, err, "no valid")
		_, err = d.Finish(d.TBS(), firmware.sign(t, d.Input()))
		refused(t, err, "no valid")
		_, err = d.Finish(d.TBS()[:len(d.TBS())-1], good)
		refused(t, err, "what was signed is not what was prepared")
		_, err = d.Finish(d.TBS(), nil)
		refused(t, err, "no valid")
		_, err = d.Finish(d.TBS(), append(slices.Clone(good), 0))
		refused(t, err, "no valid")
		_, err = pki.Draft{}.Finish(nil, nil)
		refused(t, err, "never prepared")

		d.TBS()[0] ^= 1
		d.Input().Digest[0] ^= 1
		if _, err := d.Finish(d.TBS(), good); err != nil {
			t.Errorf("who reads a draft can change it: %v", err)
		}
	}
}

// CE-04: notAfter is within that of the issuer
func TestWhatWouldNotBeValidUnderTheIssuerIsRefused(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	fw := newKey(t, "new", law.Firmware, law.P256, law.SHA256, firmwarePair)
	ca := newKey(t, "new", law.CA, law.P256, law.SHA256, firmwarePair)
	narrow := made.root.issue(t, newKey(t, "narrow", law.CA, law.P256, law.SHA256, caPair).with(func(p *law.Profile) { p.ExtendedKeyUsage = []string{"timeStamping"} }))
	wrong := made.root
	wrong.certificate = made.ca.certificate
	leaf := made.lower
	leaf.certificate = made.firmware.certificate
	leaf.PublicKey = made.firmware.PublicKey
	set := func(p pair, change func(*law.Profile)) pair { return p.with(change) }
	for says, is := range map[string]struct {
		issuer  authority
		subject pair
		at      time.Time
	}{
		"shorten the validity":                   {made.lower, set(fw, func(p *law.Profile) { p.Validity = 10*year + time.Second }), now},
		"does not fit below the issuer's":        {made.ca, set(ca, func(p *law.Profile) { p.PathLen = 1 }), now},
		"path length 0 does not fit":             {made.lower, ca, now},
		"give the key another subject":           {made.lower, set(fw, func(p *law.Profile) { p.Subject.CommonName = "EXAMPLE Lower" }), now},
		"both have one key pair":                 {made.lower, newKey(t, "new", law.Firmware, law.P256, law.SHA256, lowerPair), now},
		"is not among those of the issuer's":     {narrow, fw, now},
		"and not now":                            {made.lower, fw, now.Add(11 * year)},
		"from 2027-03-01T12:00:00Z to":           {made.lower, fw, now.Add(-time.Second)},
		"not of its key pair":                    {wrong, fw, now},
		"does not allow it to sign this":         {leaf, fw, now},
		"an FW key issues nothing":               {made.firmware, ca, now},
		"has no certificate":                     {authority{pair: made.root.pair}, fw, now},
		"signed by that key alone":               {made.root, newKey(t, "new", law.Root, law.P256, law.SHA256, firmwarePair), now},
		"between 1 second and":                   {made.root, set(fw, func(p *law.Profile) { p.Validity = law.MaxCertificateValidity + time.Second }), now},
		"between 1 second and 18300":             {made.root, set(fw, func(p *law.Profile) { p.Validity = -1 }), now},
		"path length must be between":            {made.root, set(ca, func(p *law.Profile) { p.PathLen = 1 << 40 }), now},
		"remove the path length":                 {made.root, set(fw, func(p *law.Profile) { p.PathLen = 1 }), now},
		"neither keyCertSign nor cRLSign":        {made.root, set(fw, func(p *law.Profile) { p.KeyUsage = append(p.KeyUsage, law.KeyCertSign) }), now},
		"is neither a known name nor":            {made.root, set(fw, func(p *law.Profile) { p.ExtendedKeyUsage = []string{"everything"} }), now},
		"it has no certificate profile":          {made.root, pair{Key: law.Key{ID: "new", Type: law.Firmware, PublicKey: fw.PublicKey}}, now},
		"its public key is no SubjectPublicKey":  {made.root, pair{Key: law.Key{ID: "new", Type: law.Firmware, PublicKey: []byte("x"), Profile: fw.Profile}}, now},
		"which X.509 cannot say; look at the cl": {made.root, fw, time.Time{}},
	} {
		_, err := pki.PrepareSubordinate(is.issuer.pki(), is.subject.Key, is.at, newSerial(t))
		refused(t, err, says)
	}
	_, err := pki.PrepareRoot(fw.Key, now, newSerial(t))
	refused(t, err, "does not sign its own certificate")
}

// CE-04
func TestCE04_SerialNumbersArePositiveShortRandomAndUnique(t *testing.T) {
	seen := map[string]bool{}
	ones := make([]int, 128)
	const drawn = 100_000
	for range drawn {
		n := newSerial(t)
		if n.Sign() <= 0 || n.BitLen() > 128 {
			t.Fatalf("serial number %v", n)
		}
		if seen[string(n.Bytes())] {
			t.Fatalf("serial number %v was drawn twice", n)
		}
		seen[string(n.Bytes())] = true
		for bit := range ones {
			ones[bit] += int(n.Bit(bit))
		}
	}
	for bit, n := range ones { // ten standard deviations
		if n < drawn/2-1600 || n > drawn/2+1600 {
			t.Errorf("bit %d is set in %d of %d", bit, n, drawn)
		}
	}
}

// CE-04
func TestCE04_ASerialNumberThatRFC5280ForbidsIsRefused(t *testing.T) {
	root := newKey(t, "root", law.Root, law.P256, law.SHA256, rootPair)
	for _, n := range []*big.Int{nil, big.NewInt(0), big.NewInt(-1), new(big.Int).Lsh(big.NewInt(1), 159)} {
		_, err := pki.PrepareRoot(root.Key, now, n)
		refused(t, err, "positive and at most 20 octets")
	}
	if _, err := pki.PrepareRoot(root.Key, now, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 159), big.NewInt(1))); err != nil {
		t.Error(err)
	}
	_, err := pki.Serial(bytes.NewReader(make([]byte, 16)))
	refused(t, err, "positive")
	_, err = pki.Serial(iotest.ErrReader(errors.New("no randomness")))
	refused(t, err, "no randomness")
	_, err = pki.Serial(bytes.NewReader(make([]byte, 15)))
	refused(t, err, "drawing a serial number")
}

func BenchmarkSerial(b *testing.B) {
	for b.Loop() {
		if _, err := pki.Serial(rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}

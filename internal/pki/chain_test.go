package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
)

// elsewhere issues what an issuer that is not this program may issue.
func elsewhere(t testing.TB, subject any, by authority, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: newSerial(t), Subject: pkix.Name{CommonName: "Elsewhere"}, NotBefore: now.Add(-day), NotAfter: now.Add(day), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	change(c)
	above := by.certificate
	if above == nil { // self-signed
		above = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, above, subject, by.private)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, der)
}

func aCA(c *x509.Certificate) {
	c.IsCA, c.MaxPathLen, c.KeyUsage, c.ExtKeyUsage = true, -1, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	c.SubjectKeyId = []byte("subject key identifier")
}

func TestAChainThatFitsIsImportedAsPEMAndAsDER(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	text := append([]byte("0 s:CN=Example\r\n"), bytes.ReplaceAll(pki.PEM(pki.CertificatePEM, made.chain()...), []byte("\n"), []byte("\r\n"))...)
	for form, sent := range map[string][]byte{"PEM": pki.PEM(pki.CertificatePEM, made.chain()...), "DER": bytes.Join(made.chain(), nil), "PEM with text": text} {
		chain, err := pki.CheckImport(made.firmware.Key, sent, now)
		if err != nil || len(chain) != 4 || !chain[0].Equal(made.firmware.certificate) || !chain[3].Equal(made.root.certificate) {
			t.Errorf("%s: %d certificates, error %v", form, len(chain), err)
		}
	}
	for _, is := range []struct {
		authority
		chain [][]byte
	}{{made.root, made.chain()[3:]}, {made.ca, made.chain()[2:]}, {made.lower, made.chain()[1:]}} {
		got, err := pki.CheckIssuer(is.Key, is.chain, now)
		if err != nil || got.Key.ID != is.ID || !got.Certificate.Equal(is.certificate) {
			t.Errorf("%s: error %v", is.ID, err)
		}
		if _, err := pki.CheckImport(is.Key, bytes.Join(is.chain, nil), now); err != nil {
			t.Errorf("%s: %v", is.ID, err)
		}
	}
}

func TestAChainMadeElsewhereIsImported(t *testing.T) {
	firmware := newKey(t, "firmware", law.Firmware, law.P256, law.SHA256, firmwarePair)
	theirs := authority{pair: newKey(t, "theirs", law.Root, law.RSA2048, law.SHA256, rootPair)}
	theirs.certificate = elsewhere(t, theirs.private.Public(), theirs, func(c *x509.Certificate) { aCA(c); c.Subject.CommonName = "Theirs" })
	c := elsewhere(t, firmware.private.Public(), theirs, func(*x509.Certificate) {})
	if _, err := pki.CheckImport(firmware.Key, append(c.Raw, theirs.certificate.Raw...), now); err != nil {
		t.Error(err)
	}
}

func TestBothEndsOfTheValidityAreWithinItWhenAChainIsChecked(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	c := made.firmware.certificate
	for at, good := range map[time.Time]bool{
		c.NotBefore.Add(-1): false, c.NotBefore: true, c.NotAfter: true, c.NotAfter.Add(time.Second - 1): true, c.NotAfter.Add(time.Second): false,
	} {
		if _, err := pki.CheckImport(made.firmware.Key, bytes.Join(made.chain(), nil), at); (err == nil) != good {
			t.Errorf("at %v: error %v", at, err)
		}
	}
}

func TestACertificateThatDoesNotFitTheKeyOrItsChainIsRefused(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	firmware, lower := made.firmware, made.lower
	public := firmware.private.Public()
	above := made.chain()[1:]
	// forFirmware is a certificate of the FW key that the lower CA could have issued elsewhere
	forFirmware := func(change func(*x509.Certificate)) [][]byte {
		return append([][]byte{elsewhere(t, public, lower, change).Raw}, above...)
	}
	// forCA is one of the lower CA's key
	forCA := func(change func(*x509.Certificate)) [][]byte {
		return append([][]byte{elsewhere(t, lower.private.Public(), made.ca, func(c *x509.Certificate) { aCA(c); change(c) }).Raw}, made.chain()[2:]...)
	}
	// under is a chain in which the FW key is under a CA of one certificate
	under := func(change func(*x509.Certificate)) [][]byte {
		p := newKey(t, "theirs", law.Root, law.P256, law.SHA256, rootPair)
		root := authority{pair: p}
		root.certificate = elsewhere(t, p.private.Public(), root, func(c *x509.Certificate) { aCA(c); c.Subject.CommonName = "Theirs"; change(c) })
		return [][]byte{elsewhere(t, public, root, func(*x509.Certificate) {}).Raw, root.certificate.Raw}
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakRoot := authority{pair: pair{private: weak}}
	weakRoot.certificate = elsewhere(t, weak.Public(), weakRoot, func(c *x509.Certificate) { aCA(c); c.Subject.CommonName = "Theirs" })
	short, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shortRoot := authority{pair: pair{private: short}}
	shortRoot.certificate = elsewhere(t, short.Public(), shortRoot, func(c *x509.Certificate) { aCA(c); c.Subject.CommonName = "Theirs" })
	sha1 := authority{pair: newKey(t, "theirs", law.Root, law.RSA2048, law.SHA256, rootPair)}
	sha1.certificate = elsewhere(t, sha1.private.Public(), sha1, func(c *x509.Certificate) { aCA(c); c.Subject.CommonName = "Theirs" })
	sha1Leaf := elsewhere(t, public, sha1, func(*x509.Certificate) {}).Raw
	// sha256WithRSAEncryption becomes sha1WithRSAEncryption, at both places
	sha1Leaf = bytes.ReplaceAll(sha1Leaf, []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"), []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"))
	flipped := slices.Clone(firmware.certificate.Raw)
	flipped[len(flipped)-1] ^= 1
	unprofiled := firmware.Key
	unprofiled.Profile = nil
	twoCAs := firmware
	twoCAs.certificate = elsewhere(t, public, lower, aCA)
	impostor := authority{pair: newKey(t, "impostor", law.CA, law.P256, law.SHA256, rootPair)}
	impostor.certificate = elsewhere(t, impostor.private.Public(), impostor, func(c *x509.Certificate) { aCA(c); c.Subject = lower.certificate.Subject })
	leaf := made.chain()[0]

	for says, is := range map[string]struct {
		key   law.Key
		chain [][]byte
	}{
		"its public key is not that of the key":             {lower.Key, made.chain()},
		"the first certificate must be":                     {firmware.Key, above},
		"put them in order":                                 {firmware.Key, [][]byte{leaf, above[1], above[0], above[2]}},
		"the next certificate is that of CN=Example root":   {firmware.Key, [][]byte{leaf, above[0], above[2]}},
		"add that of its issuer, CN=Example ca":             {firmware.Key, [][]byte{leaf, above[0]}},
		"number 3 of the certificates is there twice":       {firmware.Key, [][]byte{leaf, above[0], above[0]}},
		"its signature is not by the key of CN=Example low": {firmware.Key, append([][]byte{flipped}, above...)},
		"its signature is not by the key of":                {firmware.Key, append([][]byte{leaf, impostor.certificate.Raw}, above[1:]...)},
		"and not now":                                       {firmware.Key, forFirmware(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) })},
		"it is valid from 2027-03-02":                       {firmware.Key, forFirmware(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(day), now.Add(2*day) })},
		"it is signed with SHA1-RSA":                        {firmware.Key, [][]byte{sha1Leaf, sha1.certificate.Raw}},
		"its RSA key has 1024 bits":                         {firmware.Key, [][]byte{elsewhere(t, public, weakRoot, func(*x509.Certificate) {}).Raw, weakRoot.certificate.Raw}},
		"P-224":                                             {firmware.Key, [][]byte{elsewhere(t, public, shortRoot, func(*x509.Certificate) {}).Raw, shortRoot.certificate.Raw}},
		"an FW key issues nothing":                          {firmware.Key, forFirmware(func(c *x509.Certificate) { c.IsCA, c.MaxPathLen = true, -1 })},
		"it says that it is a CA":                           {firmware.Key, forFirmware(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign })},
		"its key usage is without digitalSignature":         {firmware.Key, forFirmware(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment })},
		"key usage is without digitalSignature":             {firmware.Key, forFirmware(func(c *x509.Certificate) { c.KeyUsage = 0 })},
		"its key usage is wider than the profile":           {firmware.Key, forFirmware(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyEncipherment })},
		"it has no extended key usage, and the profile":     {firmware.Key, forFirmware(func(c *x509.Certificate) { c.ExtKeyUsage = nil })},
		"extended key usage 1.3.6.1.5.5.7.3.1 is not in":    {firmware.Key, forFirmware(func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) })},
		"extended key usage 2.5.29.37.0 is not in":          {firmware.Key, forFirmware(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} })},
		"critical extension 1.2.3.4, which is not": {firmware.Key, forFirmware(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true}}
		})},
		"it has no certificate profile":                     {unprofiled, made.chain()},
		"basic constraints do not say that it is a CA, and": {lower.Key, forCA(func(c *x509.Certificate) { c.IsCA, c.MaxPathLen, c.KeyUsage = false, -1, x509.KeyUsageDigitalSignature })},
		"its key usage is without keyCertSign or cRLSign":   {lower.Key, forCA(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })},
		"its path length is 1, and there are 2 CA":          {newKey(t, "third", law.CA, law.P256, law.SHA256, firmwarePair).Key, append([][]byte{twoCAs.certificate.Raw}, forCA(func(c *x509.Certificate) { c.Subject = lower.certificate.Subject })...)},
		"it is not self-signed, as that of a ROOT":          {newKey(t, "second", law.Root, law.P256, law.SHA256, caPair).Key, made.chain()[2:]},
		"do not say that it is a CA": {firmware.Key, under(func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid, c.MaxPathLen, c.KeyUsage = false, false, 0, x509.KeyUsageDigitalSignature
		})},
		"its key usage is without keyCertSign":               {firmware.Key, under(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })},
		"its extended key usage does not allow 1.3.6.1.5.5.": {firmware.Key, under(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })},
		"there is no certificate":                            {firmware.Key, nil},
		"number 2 of the certificates cannot be read":        {firmware.Key, [][]byte{leaf, []byte("0\x01x")}},
		"there are more than 10 certificates":                {firmware.Key, many(t, pki.MaxChain+1)},
		"and the most is 16384": {firmware.Key, forFirmware(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: make([]byte, pki.MaxCertificate)}}
		})},
		"bytes long, and the most is 327680": {firmware.Key, [][]byte{leaf, make([]byte, 327680)}},
	} {
		chain, err := pki.CheckImport(is.key, bytes.Join(is.chain, nil), now)
		refused(t, err, says)
		if chain != nil {
			t.Errorf("%s: there are certificates with the refusal", says)
		}
	}
}

func many(t *testing.T, n int) [][]byte {
	t.Helper()
	var all [][]byte
	for range n {
		all = append(all, newRoot(t, newKey(t, "root", law.Root, law.P256, law.SHA256, firmwarePair)).certificate.Raw)
	}
	return all
}

func TestANameConstraintOfAnIssuerElsewhereIsKept(t *testing.T) {
	firmware := newKey(t, "firmware", law.Firmware, law.P256, law.SHA256, firmwarePair)
	theirs := authority{pair: newKey(t, "theirs", law.Root, law.P256, law.SHA256, rootPair)}
	theirs.certificate = elsewhere(t, theirs.private.Public(), theirs, func(c *x509.Certificate) {
		aCA(c)
		c.Subject.CommonName, c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = "Theirs", true, []string{"example.com"}
	})
	c := elsewhere(t, firmware.private.Public(), theirs, func(c *x509.Certificate) { c.DNSNames = []string{"example.org"} })
	_, err := pki.CheckImport(firmware.Key, append(c.Raw, theirs.certificate.Raw...), now)
	refused(t, err, "its chain is not valid")
}

func TestPEMThatIsNotCertificatesAloneIsRefused(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	whole := string(pki.PEM(pki.CertificatePEM, made.chain()...))
	for text, says := range map[string]string{
		"":                                      "there is no certificate",
		"no certificate":                        "there is no certificate",
		whole[:len(whole)-30]:                   "a PEM block cannot be read",
		strings.Replace(whole, "MII", "M*I", 1): "a PEM block cannot be read",
		whole + string(pki.PEM("PRIVATE KEY", []byte("secret"))):                         `there is a PEM block of type "PRIVATE KEY"`,
		string(pki.PEM(pki.CertificatePEM, []byte("0"))):                                 "number 1 of the certificates cannot be read",
		string(pki.PEM(pki.CertificatePEM, append(made.chain()[0], made.chain()[1]...))): "add that of its issuer",
	} {
		_, err := pki.CheckImport(made.firmware.Key, []byte(text), now)
		refused(t, err, says)
	}
}

func TestAnIssuerIsCheckedAgainWhenItsCertificateComesFromStorage(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	chain := made.chain()[1:]
	changed := slices.Clone(chain[0])
	changed[len(changed)-1] ^= 1
	_, err := pki.CheckIssuer(made.lower.Key, [][]byte{changed, chain[1], chain[2]}, now)
	refused(t, err, "its signature is not by the key of")
	_, err = pki.CheckIssuer(made.lower.Key, nil, now)
	refused(t, err, "has no certificate")
	_, err = pki.CheckIssuer(made.lower.Key, chain[1:], now)
	refused(t, err, "its public key is not that of the key")
	_, err = pki.CheckIssuer(made.lower.Key, chain, now.Add(11*year))
	refused(t, err, "and not now")
	_, err = pki.CheckIssuer(made.firmware.Key, made.chain(), now)
	refused(t, err, "an FW key issues nothing")
	changedProfile := made.lower.with(func(p *law.Profile) { p.ExtendedKeyUsage, p.Subject.CommonName = []string{"codeSigning"}, "Another" })
	if _, err := pki.CheckIssuer(changedProfile.Key, chain, now); err != nil {
		t.Errorf("a profile that changed takes the certificate from the key: %v", err)
	}
}

// An issuer elsewhere may give a longer path length than was asked for; the profile bounds what is issued all the same.
func TestThePathLengthOfTheProfileBoundsAnAuthorityWithAWiderCertificate(t *testing.T) {
	made := newHierarchy(t, law.P256, law.SHA256)
	wide := made.ca
	wide.certificate = elsewhere(t, wide.private.Public(), made.root, func(c *x509.Certificate) { aCA(c); c.NotAfter = now.Add(11 * year) })
	issuer, err := pki.CheckIssuer(wide.Key, [][]byte{wide.certificate.Raw, made.root.certificate.Raw}, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.PrepareSubordinate(issuer, made.lower.Key, now, big.NewInt(1)); err != nil {
		t.Error(err)
	}
	_, err = pki.PrepareSubordinate(issuer, made.lower.with(func(p *law.Profile) { p.PathLen = 1 }).Key, now, big.NewInt(1))
	refused(t, err, "path length 1 does not fit below the issuer's, which is 1")
}

// What is accepted has the key, is valid now, and verifies; nothing panics.
func FuzzCheckImport(f *testing.F) {
	made := newHierarchy(f, law.Ed25519, law.SHA512)
	f.Add(bytes.Join(made.chain(), nil))
	f.Add(pki.PEM(pki.CertificatePEM, made.chain()...))
	f.Add(made.root.certificate.Raw)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		chain, err := pki.CheckImport(made.firmware.Key, sent, now)
		if err != nil {
			if chain != nil {
				t.Error("there are certificates with a refusal")
			}
			return
		}
		for i, c := range chain {
			if i > 0 && chain[i-1].CheckSignatureFrom(c) != nil || now.After(c.NotAfter) || !bytes.Equal(chain[0].RawSubjectPublicKeyInfo, made.firmware.PublicKey) {
				t.Errorf("certificate %d was accepted", i)
			}
		}
	})
}

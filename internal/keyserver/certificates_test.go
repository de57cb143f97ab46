package keyserver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func hierarchy(t testing.TB) *testkit.Kit {
	return testkit.NewWith(t, testkit.Options{World: testkit.Hierarchy})
}

// verified checks with openssl that a certificate is valid under the first of those that are trusted, and by the lists if
// there are any. It returns what openssl says.
func verified(k *testkit.Kit, root []byte, c keyserver.Certificate, lists ...[]byte) (string, error) {
	k.Helper()
	files := map[string][]byte{
		"root.pem": testkit.PEM("CERTIFICATE", root), "leaf.pem": testkit.PEM("CERTIFICATE", c.Path[0]), "path.pem": testkit.PEM("CERTIFICATE", c.Path...),
		"crl.pem": testkit.PEM("X509 CRL", lists...),
	}
	args := []string{"verify", "-x509_strict", "-attime", strconv.FormatInt(k.Clock.Now().Unix(), 10), "-CAfile", "root.pem", "-untrusted", "path.pem"}
	if len(lists) > 0 {
		args = append(args, "-crl_check_all", "-CRLfile", "crl.pem")
	}
	return k.OpenSSL(files, append(args, "leaf.pem")...)
}

func mustVerify(k *testkit.Kit, root []byte, c keyserver.Certificate, lists ...[]byte) {
	k.Helper()
	if out, err := verified(k, root, c, lists...); err != nil {
		k.Errorf("openssl does not verify the certificate of %s: %v\n%s", c.Key, err, out)
	}
}

// underOperation has ca-dev issue the certificate of a key under an operation of its own.
func underOperation(k *testkit.Kit, of law.KeyID) keyserver.Certificate {
	k.Helper()
	c, err := k.CertificateOrder(k.Create(testkit.Ask("ca-dev")), of, "certificate")
	if err != nil {
		k.Fatal(err)
	}
	return c
}

// CE-04
func TestTheHierarchyFromROOTToFWVerifiesWithOpenSSL(t *testing.T) {
	k := hierarchy(t)
	root, ca, direct := k.Certify("root"), k.Certify("ca-dev"), k.Certify("fw-ed")
	under := underOperation(k, "fw-dev")
	for _, c := range []keyserver.Certificate{root, ca, direct, under} {
		mustVerify(k, root.DER, c)
		if c.State != law.CertificateIssued || c.Checkpoint == "" || len(c.Serial) > 40 || len(c.Serial) < 16 {
			t.Errorf("certificate of %s: %+v", c.Key, c.Certificate)
		}
	}
	if len(under.Path) != 3 || !bytes.Equal(under.Path[1], ca.DER) || !bytes.Equal(under.Path[2], root.DER) {
		t.Errorf("the path has %d certificates", len(under.Path))
	}
	if current, err := k.Keyserver.CurrentCertificate(t.Context(), k.Caller("olga"), "fw-dev"); err != nil || current.ID != under.ID {
		t.Errorf("the current certificate is %s (%v)", current.ID, err)
	}
	for _, kind := range []audit.Type{audit.CertificateAccepted, audit.CertificateIssued} {
		for _, e := range k.EventsOf("", kind) {
			if e.Session == "" || e.SessionDescription == "" || e.Certificate.Issuer != "root" {
				t.Errorf("%s: %+v", kind, e)
			}
		}
	}
}

// AZ-04
func TestAZ04_ROOTIssuesNothingOutsideAnActiveSession(t *testing.T) {
	k := hierarchy(t)
	k.Certify("root")
	inactive, closed, foreign := k.OpenSession(nil), k.Close(k.ActiveSession(nil)), k.ActiveSession(nil)
	expired := k.ActiveSession(nil)
	asked := len(k.Keystore.Calls())
	for what, test := range map[string]struct {
		session law.SessionID
		who     law.SubjectID
		want    law.RefusalKind
	}{
		"no session":                           {"", "ada", law.NotFound},
		"an inactive session":                  {inactive.ID, "ada", law.Forbidden},
		"a closed session":                     {closed.ID, "ada", law.Forbidden},
		"another administrator's":              {foreign.ID, "audrey", law.Forbidden},
		"a session of which one knows nothing": {foreign.ID, "olga", law.NotFound},
	} {
		_, err := k.Keyserver.IssueCertificate(t.Context(), k.Caller(test.who), test.session, keyserver.IssueRequest{Key: "ca-dev", Issuer: "root"})
		testkit.Refused(t, what, err, test.want)
		_, err = k.Keyserver.CertificateRequest(t.Context(), k.Caller(test.who), test.session, "root")
		testkit.Refused(t, what, err, test.want)
		_, err = k.Keyserver.MakeRevocationList(t.Context(), k.Caller(test.who), test.session, "root")
		testkit.Refused(t, what, err, test.want)
		_, err = k.Keyserver.ImportCertificate(t.Context(), k.Caller(test.who), test.session, "root", nil)
		testkit.Refused(t, what, err, test.want)
	}
	k.Clock.Step(time.Hour)
	_, err := k.CertifyIn(expired, "ca-dev")
	testkit.Refused(t, "an expired session", err, law.Forbidden)
	if n := len(k.Keystore.Calls()); n != asked {
		t.Errorf("the keystore was asked %d times", n-asked)
	}
	if k.Count("", audit.SessionRefused) < 9 {
		t.Errorf("%d refusals are in the audit log", k.Count("", audit.SessionRefused))
	}
}

// CR-04
func TestCR04_CertificatesAreOrderedOfCAKeysAlone(t *testing.T) {
	k := hierarchy(t)
	k.Certify("root")
	o := k.Create(testkit.Ask("ca-dev", "fw-dev"))
	asked := len(k.Keystore.Calls())
	order := func(issuer, of law.KeyID) error {
		_, err := k.Keyserver.PlaceCertificateOrder(t.Context(), k.Caller("olga"), o.ID, keyserver.CertificateOrder{Issuer: issuer, Key: of, IdempotencyKey: "one"})
		return err
	}
	testkit.Refused(t, "by an FW key", order("fw-dev", "fw-dev"), law.Impossible)
	testkit.Refused(t, "by the ROOT key", order("root", "fw-dev"), law.Impossible)
	testkit.Refused(t, "by a CA key without certificate", order("ca-dev", "fw-dev"), law.Impossible)
	testkit.Refused(t, "of a CA key", order("ca-dev", "ca-dev"), law.Impossible)
	testkit.Refused(t, "without a profile", order("ca-dev", "fw-prod"), law.Impossible)
	testkit.Refused(t, "of a key that is not seen", order("ca-dev", "fw-other"), law.Forbidden)
	_, err := k.Sign(o, testkit.OrderAsk("ca-dev", "raw", "image"))
	testkit.Refused(t, "a raw input", err, law.Impossible)
	if n := len(k.Keystore.Calls()); n != asked || k.Look(o.ID).Used() {
		t.Errorf("the keystore was asked %d times", n-asked)
	}
}

func TestTheSameCertificateOrderGivesTheSameCertificate(t *testing.T) {
	k := hierarchy(t)
	k.Certify("root")
	k.Certify("ca-dev")
	ask := testkit.Ask("ca-dev")
	ask.Keys[0].MaxUses = 2
	o := k.Create(ask)
	k.Keystore.Fail(errFault)
	_, err := k.CertificateOrder(o, "fw-dev", "one")
	testkit.Unavailable(t, "a keystore that fails", err, "keystore")
	k.Keystore.Hook(keystoretest.Hooks{})
	failed := k.EventsOf(o.ID, audit.OrderFailed)
	k.Clock.Step(time.Minute)
	one, err := k.CertificateOrder(o, "fw-dev", "one")
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.CertificateOrder(o, "fw-dev", "one")
	if err != nil || !bytes.Equal(again.DER, one.DER) || len(failed) != 1 || failed[0].Certificate.TBS != audit.CertificateOf(one.Certificate).TBS {
		t.Errorf("asked for again: %v; the first attempt was %+v", err, failed)
	}
	_, err = k.CertificateOrder(o, "fw-ed", "one")
	testkit.Refused(t, "another certificate", err, law.KeyReused)
	if used := k.Look(o.ID).Usage["ca-dev"]; used != (law.Usage{Taken: 1, Signed: 1}) {
		t.Errorf("uses: %+v", used)
	}
	other, err := k.CertificateOrder(o, "fw-dev", "two")
	if err != nil || other.Serial == one.Serial {
		t.Errorf("%v; both have the serial number %s", err, one.Serial)
	}
	if current, err := k.Keyserver.CurrentCertificate(t.Context(), k.Caller("olga"), "fw-dev"); err != nil || current.ID != other.ID {
		t.Errorf("after renewal the current certificate is %s (%v)", current.ID, err)
	}
	if k.State(o.ID) != law.Exhausted {
		t.Errorf("the operation is %s", k.State(o.ID))
	}
}

func TestACertificateIsWithheldIfItsOperationIsRevokedMeanwhile(t *testing.T) {
	k := hierarchy(t)
	k.Certify("root")
	k.Certify("ca-dev")
	o := k.Create(testkit.Ask("ca-dev"))
	k.Keystore.Hook(keystoretest.Hooks{Before: func(context.Context, law.Permit) error {
		_, err := k.Keyserver.Revoke(context.Background(), k.Caller("ada"), o.ID, "stop")
		return err
	}})
	_, err := k.CertificateOrder(o, "fw-dev", "one")
	testkit.Refused(t, "a revoked operation", err, law.WrongState)
	page, err := k.Keyserver.Certificates(t.Context(), k.Caller("ada"), keyserver.CertificateFilter{Key: "fw-dev", Page: keyserver.Page{Limit: 10}})
	if err != nil || len(page.Certificates) != 1 || page.Certificates[0].State != law.CertificateWithheld || page.Certificates[0].DER != nil {
		t.Errorf("%v, %+v", err, page)
	}
}

func TestACertificateThatAFaultCutOffIsNeverThereUnaudited(t *testing.T) {
	for what, again := range map[string]func(*testkit.Kit){"restart": (*testkit.Kit).Restart, "crash": (*testkit.Kit).Crash} {
		for _, kind := range []faultKind{didNotHappen, reportedAsFailed} {
			t.Run(what, func(t *testing.T) {
				var fault commitFault
				k := testkit.NewWith(t, testkit.Options{World: testkit.Hierarchy, Commit: fault.commit})
				s := k.ActiveSession(nil)
				k.Keystore.Hook(keystoretest.Hooks{Before: func(context.Context, law.Permit) error { fault.next(kind); return nil }})
				_, err := k.CertifyIn(s, "root")
				if (err == nil) != (kind == reportedAsFailed) { // whose outcome is looked up
					t.Errorf("the answer is %v", err)
				}
				fault.next(noFault)
				k.Keystore.Hook(keystoretest.Hooks{})
				k.CutOff(again)
				issued, failed := k.Count("", audit.CertificateIssued), k.Count("", audit.CertificateFailed)
				if kind == didNotHappen && (issued != 0 || failed != 1) || kind == reportedAsFailed && (issued != 1 || failed != 0) {
					t.Errorf("%d issued, %d failed", issued, failed)
				}
				k.Certify("root")
			})
		}
	}
}

func TestASignatureThatDoesNotVerifyIsNoCertificate(t *testing.T) {
	k := hierarchy(t)
	s := k.ActiveSession(nil)
	k.Keystore.Fail(errFault)
	_, err := k.CertifyIn(s, "root")
	testkit.Unavailable(t, "a keystore that fails", err, "keystore")
	_, err = k.Keyserver.CertificateRequest(t.Context(), k.Caller("ada"), s.ID, "root")
	testkit.Unavailable(t, "a keystore that fails", err, "keystore")
	k.Keystore.Hook(keystoretest.Hooks{})
	if k.Count("", audit.CertificateFailed) != 1 || k.Count("", audit.CertificateRequestFailed) != 1 {
		t.Error("the failures are not in the audit log")
	}
	_, err = k.Keyserver.CurrentCertificate(t.Context(), k.Caller("ada"), "root")
	testkit.Refused(t, "no certificate", err, law.NotFound)
}

func TestACertificateThatCannotBeIsRefusedBeforeAKeyIsTouched(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{World: func(c *law.Configuration) {
		testkit.Hierarchy(c)
		testkit.ChangeKey(c, "ca-dev", func(key *law.Key) { key.Profile.Validity = 40 * 365 * 24 * time.Hour })
		testkit.ChangeKey(c, "fw-dev", func(key *law.Key) { key.Profile.Validity = 30 * 365 * 24 * time.Hour })
	}})
	s := k.ActiveSession(nil)
	_, err := k.CertifyIn(s, "fw-ed")
	testkit.Refused(t, "by a ROOT key without certificate", err, law.Impossible)
	if _, err = k.CertifyIn(s, "root"); err != nil {
		t.Fatal(err)
	}
	asked := len(k.Keystore.Calls())
	_, err = k.CertifyIn(s, "fw-dev")
	testkit.Refused(t, "valid for longer than its issuer's", err, law.Impossible)
	_, err = k.CertifyIn(s, "ca-dev")
	testkit.Refused(t, "valid for longer than its issuer's", err, law.Impossible)
	_, err = k.CertifyIn(s, "fw-prod")
	testkit.Refused(t, "without a profile", err, law.Impossible)
	if n := len(k.Keystore.Calls()); n != asked {
		t.Errorf("the keystore was asked %d times", n-asked)
	}
	k.Close(s)
	policy := k.Policy(func(c *law.Configuration) {
		testkit.ChangeKey(c, "ca-dev", func(key *law.Key) {
			wide := *key.Profile
			wide.Validity, wide.PathLen = time.Hour, 1
			key.Profile = &wide
		})
	})
	changes, err := keyFacts(k).Difference(policy)
	if err != nil {
		t.Fatal(err)
	}
	k.Change(changes)
	s = k.ActiveSession(nil)
	_, err = k.CertifyIn(s, "ca-dev")
	testkit.Refused(t, "a path length that does not fit below its issuer's", err, law.Impossible)
}

func keyFacts(k *testkit.Kit) law.Facts {
	f, err := k.Keyserver.Facts(k.Context())
	if err != nil {
		k.Fatal(err)
	}
	return f
}

func TestARevokedCertificateIsOnTheListOfItsIssuer(t *testing.T) {
	k := hierarchy(t)
	root := k.Certify("root")
	k.Certify("ca-dev")
	bad, good := underOperation(k, "fw-dev"), underOperation(k, "fw-ed")
	k.Beat()
	first, err := k.Keyserver.RevocationList(t.Context(), "ca-dev")
	if err != nil || first.Number != 1 || first.Entries != 0 {
		t.Fatalf("%v, %+v", err, first)
	}
	_, err = k.Keyserver.RevokeCertificate(t.Context(), k.Caller("audrey"), bad.ID, "keyCompromise", "leaked")
	testkit.Refused(t, "by an auditor", err, law.Forbidden)
	_, err = k.Keyserver.RevokeCertificate(t.Context(), k.Caller("ada"), root.ID, "superseded", "old")
	testkit.Refused(t, "of the ROOT key", err, law.Impossible)
	for range 2 { // the second time changes nothing
		revoked, err := k.Keyserver.RevokeCertificate(t.Context(), k.Caller("adam"), bad.ID, "keyCompromise", "leaked")
		if err != nil || revoked.Revocation.By != "adam" {
			t.Fatalf("%v, %+v", err, revoked.Revocation)
		}
	}
	_, err = k.Keyserver.CurrentCertificate(t.Context(), k.Caller("olga"), "fw-dev")
	testkit.Refused(t, "a key whose certificate is revoked", err, law.NotFound)
	k.Beat()
	second, err := k.Keyserver.RevocationList(t.Context(), "ca-dev")
	if err != nil || second.Number != 2 || second.Entries != 1 {
		t.Fatalf("%v, %+v", err, second)
	}
	_, err = k.Keyserver.RevocationList(t.Context(), "root")
	testkit.Refused(t, "ROOT's is made in a session", err, law.NotFound)
	s := k.ActiveSession(nil)
	_, err = k.Keyserver.MakeRevocationList(t.Context(), k.Caller("ada"), s.ID, "ca-dev")
	testkit.Refused(t, "a CA key's", err, law.Impossible)
	of, err := k.Keyserver.MakeRevocationList(t.Context(), k.Caller("ada"), s.ID, "root")
	if err != nil || of.NextUpdate.Sub(of.ThisUpdate) != law.RootListValidity {
		t.Fatalf("%v, %+v", err, of)
	}
	if out, err := verified(k, root.DER, bad, second.DER, of.DER); err == nil || !strings.Contains(out, "certificate revoked") {
		t.Errorf("openssl on the revoked one: %v\n%s", err, out)
	}
	mustVerify(k, root.DER, good, second.DER, of.DER)
	if n := k.Count("", audit.CertificateRevoked); n != 1 {
		t.Errorf("%d revocations are in the audit log", n)
	}
}

func TestTheListOfACAKeyIsMadeAgainBeforeItLapses(t *testing.T) {
	k := hierarchy(t)
	k.Certify("root")
	k.Certify("ca-dev")
	list := func() keyserver.RevocationList {
		t.Helper()
		k.Beat()
		l, err := k.Keyserver.RevocationList(t.Context(), "ca-dev")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := list()
	k.Clock.Step(law.ListValidity - law.ListRenewal)
	if l := list(); l.Number != first.Number {
		t.Errorf("list %d was made too early", l.Number)
	}
	k.Clock.Step(time.Second)
	k.Keystore.Fail(errFault)
	if err := k.Keyserver.Beat(t.Context()); err == nil {
		t.Error("that the list could not be made is not said")
	}
	k.Keystore.Hook(keystoretest.Hooks{})
	if l := list(); l.Number != first.Number {
		t.Errorf("list %d was made without a pause", l.Number)
	}
	k.Clock.Step(time.Minute)
	if l := list(); l.Number != first.Number+2 || l.NextUpdate.Sub(k.Clock.Now()) < law.ListValidity-time.Second {
		t.Errorf("list %d is good until %v", l.Number, l.NextUpdate)
	}
	k.ReconfigureKey("ca-dev", func(key *law.Key) { key.State = law.KeyDisabled })
	k.Clock.Step(law.ListValidity)
	if l := list(); l.Number != first.Number+2 {
		t.Errorf("list %d was made by a disabled key", l.Number)
	}
}

// elsewhere is an issuer that is not this server.
type elsewhere struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newElsewhere(k *testkit.Kit) elsewhere {
	k.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		k.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Elsewhere"}, NotBefore: k.Clock.Now().Add(-time.Hour), NotAfter: k.Clock.Now().Add(9000 * testkit.Day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte("elsewhere"),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		k.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		k.Fatal(err)
	}
	return elsewhere{key, cert}
}

// answer issues what a certificate request asks for, and returns the chain in PEM.
func (e elsewhere) answer(k *testkit.Kit, request []byte) []byte {
	k.Helper()
	block, _ := pem.Decode(request)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		k.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: csr.Subject, NotBefore: k.Clock.Now(), NotAfter: k.Clock.Now().Add(4000 * testkit.Day), ExtraExtensions: csr.Extensions,
		SubjectKeyId: []byte("of the request"), AuthorityKeyId: e.cert.SubjectKeyId,
	}, e.cert, csr.PublicKey, e.key)
	if err != nil {
		k.Fatal(err)
	}
	return testkit.PEM("CERTIFICATE", der, e.cert.Raw)
}

func TestACertificateFromElsewhereIsRequestedAndImported(t *testing.T) {
	k := hierarchy(t)
	e := newElsewhere(k)
	s := k.ActiveSession(nil)
	for _, key := range []law.KeyID{"ca-dev", "fw-dev"} {
		request, err := k.Keyserver.CertificateRequest(t.Context(), k.Caller("ada"), s.ID, key)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := k.OpenSSL(map[string][]byte{"request.pem": request}, "req", "-in", "request.pem", "-verify", "-noout"); err != nil {
			t.Errorf("openssl does not verify the request: %v\n%s", err, out)
		}
		chain := e.answer(k, request)
		c, err := k.Keyserver.ImportCertificate(t.Context(), k.Caller("adam"), s.ID, key, chain)
		if err != nil {
			t.Fatal(err)
		}
		mustVerify(k, e.cert.Raw, c)
		_, err = k.Keyserver.ImportCertificate(t.Context(), k.Caller("adam"), s.ID, "fw-ed", chain)
		testkit.Refused(t, "that of another key", err, law.Impossible)
		current, err := k.Keyserver.CurrentCertificate(t.Context(), k.Caller("ada"), key)
		if err != nil || current.ID != c.ID || len(current.Path) != 2 {
			t.Errorf("%v, current is %+v", err, current.Certificate)
		}
	}
	_, err := k.Keyserver.ImportCertificate(t.Context(), k.Caller("adam"), s.ID, "fw-dev", []byte("nonsense"))
	testkit.Refused(t, "nonsense", err, law.Impossible)
	k.Close(s)
	under := underOperation(k, "fw-ed") // by a CA key whose issuer is elsewhere
	mustVerify(k, e.cert.Raw, under)
	if k.Count("", audit.CertificateImported) != 2 || k.Count("", audit.CertificateRequestSigned) != 2 {
		t.Error("the imports are not in the audit log")
	}
}

func TestCertificatesAreListedForWhoSeesTheirKeys(t *testing.T) {
	k := hierarchy(t)
	k.Certify("root")
	k.Certify("ca-dev")
	one := underOperation(k, "fw-dev")
	for who, want := range map[law.SubjectID]int{"ada": 3, "audrey": 3, "olga": 2, "ci": 1, "eve": 0} {
		n, cursor := 0, ""
		for more := true; more; more = cursor != "" {
			page, err := k.Keyserver.Certificates(t.Context(), k.Caller(who), keyserver.CertificateFilter{Page: keyserver.Page{Limit: 2, Cursor: cursor}})
			if err != nil {
				t.Fatal(err)
			}
			n, cursor = n+len(page.Certificates), page.Next
		}
		if n != want {
			t.Errorf("%s sees %d certificates, want %d", who, n, want)
		}
	}
	_, err := k.Keyserver.Certificate(t.Context(), k.Caller("eve"), one.ID)
	testkit.Refused(t, "one of a hidden key", err, law.NotFound)
	if c, err := k.Keyserver.Certificate(t.Context(), k.Caller("ci"), one.ID); err != nil || c.ID != one.ID {
		t.Errorf("%v, %+v", err, c)
	}
}

// A ROOT key's list is made by people: the log tells them, once a day, for as long as it is due.
func TestThatTheListOfAROOTKeyIsDueIsSaidOnceADay(t *testing.T) {
	var log strings.Builder
	k := testkit.NewWith(t, testkit.Options{World: testkit.Hierarchy, Log: slog.New(slog.NewTextHandler(&log, nil))})
	k.Certify("root")
	said := func(times int) {
		t.Helper()
		k.Beat()
		if n := strings.Count(log.String(), "the revocation list of a ROOT key is due"); n != times {
			t.Errorf("it was said %d times, not %d", n, times)
		}
	}
	said(1)
	said(1)
	k.Clock.Step(testkit.Day)
	said(2)
	s := k.ActiveSession(nil)
	if _, err := k.Keyserver.MakeRevocationList(t.Context(), k.Caller("ada"), s.ID, "root"); err != nil {
		t.Fatal(err)
	}
	k.Clock.Step(testkit.Day)
	said(2)
}

package keyserver_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/testkit"
)

func responding(t *testing.T) *testkit.Kit {
	k := testkit.NewWith(t, testkit.Options{World: testkit.Responding})
	k.CertifyResponders()
	return k
}

// signedBy counts what the keystore was asked to sign with a key.
func signedBy(k *testkit.Kit, key law.KeyID) int {
	n := 0
	for _, p := range k.Keystore.Calls() {
		if p.Key().ID == key {
			n++
		}
	}
	return n
}

func wantStatus(k *testkit.Kit, what string, c keyserver.Certificate, status int) *ocsp.Response {
	k.Helper()
	got, err := k.Status(c)
	if err != nil {
		k.Fatalf("%s: %v", what, err)
	}
	this := k.Clock.Now().Truncate(time.Second)
	if got.Status != status || got.ThisUpdate.After(this) || this.Sub(got.ThisUpdate) >= law.StatusRenewal || got.NextUpdate.Sub(got.ThisUpdate) != law.StatusValidity {
		k.Errorf("%s: status %d at %v from %v to %v", what, got.Status, this, got.ThisUpdate, got.NextUpdate)
	}
	return got
}

func wantNoStatus(k *testkit.Kit, what string, c keyserver.Certificate, want ocsp.ResponseStatus) {
	k.Helper()
	var said ocsp.ResponseError
	if got, err := k.Status(c); !errors.As(err, &said) || said.Status != want {
		k.Errorf("%s: %v, %+v; want %v", what, err, got, want)
	}
}

func TestAStatusIsGoodUntilTheCertificateIsRevoked(t *testing.T) {
	k := responding(t)
	c := mustIssue(k, k.Lot(2), "SN-1")
	wantStatus(k, "new", c, ocsp.Good)
	k.Clock.Step(5 * time.Second)
	if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), c.ID, "keyCompromise", "read out"); err != nil {
		t.Fatal(err)
	}
	at := k.Clock.Now().Truncate(time.Second)
	got := wantStatus(k, "revoked", c, ocsp.Revoked)
	if got.RevocationReason != ocsp.KeyCompromise || !got.RevokedAt.Equal(at) || got.Certificate.Subject.CommonName != "status-ca" {
		t.Errorf("for %d at %v, by %s", got.RevocationReason, got.RevokedAt, got.Certificate.Subject)
	}
}

func TestTheStatusOfACAKeysCertificateIsToldByAResponderOfROOT(t *testing.T) {
	k := responding(t)
	ca, err := k.Keyserver.CurrentCertificate(k.Context(), k.Caller("ada"), "ca-dev")
	if err != nil {
		t.Fatal(err)
	}
	if got := wantStatus(k, "ca-dev", ca, ocsp.Good); got.Certificate.Subject.CommonName != "status-root" {
		t.Errorf("signed by %s", got.Certificate.Subject)
	}
}

// CE-05: no server goes by what it remembers. Each takes a leave of its own.
func TestARevocationShowsOnEveryServerAtOnce(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{World: testkit.Responding, Shared: true})
	k.CertifyResponders()
	other := k.Another()
	c := mustIssue(k, k.Lot(1), "SN-1")
	wantStatus(k, "here", c, ocsp.Good)
	wantStatus(other, "there", c, ocsp.Good)
	if n := len(k.EventsOf("", audit.StatusesPermitted)); n != 2 {
		t.Errorf("%d events", n)
	}
	if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), c.ID, "keyCompromise", "read out"); err != nil {
		t.Fatal(err)
	}
	wantStatus(other, "there, revoked", c, ocsp.Revoked)
	wantStatus(k, "here, revoked", c, ocsp.Revoked)
}

// CE-05: nobody is told anything of what is not there, and no key is used for it.
func TestOfWhatWasNotIssuedThereIsNoStatus(t *testing.T) {
	k := responding(t)
	o := k.Lot(5)
	c := mustIssue(k, o, "SN-1")
	k.Keystore.Fail(errors.New("no HSM"))
	_, err := k.IssueDevice(o, "2", k.DeviceRequest("SN-2", k.NewDeviceKey()))
	testkit.Unavailable(t, "a failure", err, "keystore")
	k.Keystore.Hook(keystoretest.Hooks{})
	page, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("olga"), keyserver.DeviceFilter{Operation: o.ID, Page: keyserver.Page{Limit: 10}})
	if err != nil || len(page.Certificates) != 2 {
		t.Fatalf("%v, %d certificates", err, len(page.Certificates))
	}
	failed := page.Certificates[1]
	asked := signedBy(k, "status-ca")
	described, err := pki.Describe(failed.TBS)
	if err != nil {
		t.Fatal(err)
	}
	request := k.StatusRequest(described.SerialNumber, c.Path[1])
	answer := k.Keyserver.CertificateStatus(k.Context(), keyserver.Caller{}, request)
	if string(answer.DER) != string(pki.StatusUnauthorized()) || answer.For != 0 {
		t.Errorf("of one that failed: %x for %v", answer.DER, answer.For)
	}
	request = k.StatusRequest(described.SerialNumber.Add(described.SerialNumber, described.SerialNumber), c.Path[1])
	if answer = k.Keyserver.CertificateStatus(k.Context(), keyserver.Caller{}, request); string(answer.DER) != string(pki.StatusUnauthorized()) {
		t.Errorf("of none: %x", answer.DER)
	}
	if answer = k.Keyserver.CertificateStatus(k.Context(), keyserver.Caller{}, []byte("what?")); string(answer.DER) != string(pki.StatusMalformed()) {
		t.Errorf("malformed: %x", answer.DER)
	}
	if signedBy(k, "status-ca") != asked || len(k.EventsOf("", audit.StatusesPermitted)) != 0 {
		t.Error("a key was used, or leave was taken")
	}
}

func TestAStatusIsSignedOnceAnHourAndWhenItChanges(t *testing.T) {
	k := responding(t)
	c := mustIssue(k, k.Lot(2), "SN-1")
	wantStatus(k, "new", c, ocsp.Good)
	wantSigned := func(what string, want int) {
		t.Helper()
		if got := signedBy(k, "status-ca"); got != want {
			t.Errorf("%s: signed %d times, want %d", what, got, want)
		}
	}
	wantSigned("the first", 1)
	k.Clock.Step(law.StatusRenewal - time.Second)
	wantStatus(k, "within the hour", c, ocsp.Good)
	wantSigned("within the hour", 1)
	k.Clock.Step(time.Second)
	wantStatus(k, "an hour later", c, ocsp.Good)
	wantSigned("an hour later", 2)
	if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), c.ID, "superseded", "new"); err != nil {
		t.Fatal(err)
	}
	wantStatus(k, "revoked", c, ocsp.Revoked)
	wantStatus(k, "revoked, again", c, ocsp.Revoked)
	wantSigned("revoked", 3)
	k.Restart()
	wantStatus(k, "after a restart", c, ocsp.Revoked)
	wantSigned("after a restart", 4)
}

// The leave is in the audit log before the first status is signed, says how many there may be, and is taken again when its
// time is over.
func TestLeaveToSignStatusesIsInTheAuditLog(t *testing.T) {
	k := responding(t)
	o := k.Lot(3)
	one, two := mustIssue(k, o, "SN-1"), mustIssue(k, o, "SN-2")
	k.Keystore.Fail(errors.New("no HSM"))
	wantNoStatus(k, "without an HSM", one, ocsp.TryLater)
	k.Keystore.Hook(keystoretest.Hooks{})
	events := k.EventsOf("", audit.StatusesPermitted)
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	e := events[0]
	if e.Key != "status-ca" || e.Count != law.MaxStatuses || e.Lease != k.Clock.Now().Add(law.StatusLease).UnixMilli() || e.Actor != nil ||
		e.Certificate.Issuer != "ca-dev" || e.Request != "outside" {
		t.Errorf("event %+v", e)
	}
	wantStatus(k, "one", one, ocsp.Good)
	wantStatus(k, "two", two, ocsp.Good)
	if n := len(k.EventsOf("", audit.StatusesPermitted)); n != 1 {
		t.Errorf("%d events for two statuses", n)
	}
	k.Clock.Step(law.StatusLease)
	wantStatus(k, "an hour later", one, ocsp.Good)
	if n := len(k.EventsOf("", audit.StatusesPermitted)); n != 2 {
		t.Errorf("%d events an hour later", n)
	}
}

// CE-05: otherwise whoever asks and hangs up has the key work each time, and the keystore do so for nobody.
func TestAStatusIsSignedAlsoForWhoeverDoesNotWaitForIt(t *testing.T) {
	k := responding(t)
	c := mustIssue(k, k.Lot(1), "SN-1")
	request := k.RequestFor(c)
	hanging := k.Keystore.Hang(t)
	ctx, hangUp := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { k.Keyserver.CertificateStatus(ctx, keyserver.Caller{}, request) })
	if err := hanging.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	hangUp()
	wait.Go(hanging.Release)
	wait.Wait()
	wantStatus(k, "asked again", c, ocsp.Good)
	if n := signedBy(k, "status-ca"); n != 1 {
		t.Errorf("signed %d times", n)
	}
}

func TestAResponderKeyThatIsNotInOrderTellsNothing(t *testing.T) {
	k := responding(t)
	c := mustIssue(k, k.Lot(1), "SN-1")
	wantStatus(k, "in order", c, ocsp.Good)
	own, err := k.Keyserver.CurrentCertificate(k.Context(), k.Caller("ada"), "status-ca")
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(k, "its own", own, ocsp.Good)
	k.Clock.Step(90 * testkit.Day)
	wantNoStatus(k, "with a certificate that has expired", c, ocsp.Unauthorized)
	if _, err := k.CertificateOrder(k.Lot(1), "status-ca", "responder"); err != nil {
		t.Fatal(err)
	}
	wantStatus(k, "renewed", c, ocsp.Good)
	if own, err = k.Keyserver.CurrentCertificate(k.Context(), k.Caller("ada"), "status-ca"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Keyserver.RevokeCertificate(k.Context(), k.Caller("ada"), own.ID, "keyCompromise", "lost"); err != nil {
		t.Fatal(err)
	}
	wantNoStatus(k, "with a certificate that is revoked, and one that has expired", c, ocsp.Unauthorized)
	if _, err := k.CertificateOrder(k.Lot(1), "status-ca", "responder"); err != nil {
		t.Fatal(err)
	}
	wantStatus(k, "renewed again", c, ocsp.Good)
	if _, err := k.Keyserver.DisableKey(k.Context(), k.Caller("ada"), "status-ca", "suspicious"); err != nil {
		t.Fatal(err)
	}
	wantNoStatus(k, "of a disabled key", c, ocsp.Unauthorized)
}

// Those who ask take a responder's word for certificates of the issuer that its own certificate names (RFC 6960 section 4.2.2.2).
func TestAResponderKeyTellsOfTheCertificatesUnderTheNameThatHasCertifiedIt(t *testing.T) {
	k := responding(t)
	old := mustIssue(k, k.Lot(1), "SN-1")
	k.ReconfigureKey("ca-dev", func(key *law.Key) {
		p := *key.Profile
		p.Subject.CommonName = "ca-renamed"
		key.Profile = &p
	})
	k.Certify("ca-dev")
	fresh := mustIssue(k, k.Lot(1), "SN-2")
	for _, when := range []string{"", ", after a restart"} {
		wantStatus(k, "under the old name"+when, old, ocsp.Good)
		wantNoStatus(k, "under the new name"+when, fresh, ocsp.Unauthorized)
		k.Restart()
	}
	if _, err := k.CertificateOrder(k.Lot(1), "status-ca", "under the new name"); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"", ", after a restart"} {
		wantStatus(k, "under the new name, renewed"+when, fresh, ocsp.Good)
		wantNoStatus(k, "under the old name, renewed"+when, old, ocsp.Unauthorized)
		k.Restart()
	}
}

// Who keeps a status longer could not verify it (RFC 5019 section 6).
func TestAStatusIsNotGoodForLongerThanTheCertificateOfItsResponder(t *testing.T) {
	k := responding(t)
	c := mustIssue(k, k.Lot(1), "SN-1")
	own, err := k.Keyserver.CurrentCertificate(k.Context(), k.Caller("ada"), "status-ca")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(c.Path[1])
	if err != nil {
		t.Fatal(err)
	}
	k.Clock.Step(own.NotAfter.Sub(k.Clock.Now()) - law.StatusRenewal)
	for _, left := range []time.Duration{law.StatusRenewal, law.StatusRenewal / 2, law.StatusRenewal / 4} {
		k.Clock.Step(own.NotAfter.Sub(k.Clock.Now()) - left)
		answer := k.Keyserver.CertificateStatus(k.Context(), keyserver.Caller{}, k.RequestFor(c))
		got, err := ocsp.ParseResponse(answer.DER, issuer)
		if err != nil || !got.NextUpdate.Equal(own.NotAfter) || answer.For != left {
			t.Errorf("%v before the end: %v, good until %v, handed on for %v", left, err, got.NextUpdate, answer.For)
		}
		if left == law.StatusRenewal/2 {
			k.Restart() // the next one is signed
		}
	}
}

func TestWhileTheClockIsHeldNoStatusIsTold(t *testing.T) {
	k := responding(t)
	c := mustIssue(k, k.Lot(1), "SN-1")
	wantStatus(k, "before", c, ocsp.Good)
	k.Beat()
	k.Clock.Step(-time.Minute)
	wantNoStatus(k, "while the clock is behind", c, ocsp.TryLater)
}

func TestManyStatusesAtOnceTakeOneLeave(t *testing.T) {
	k := responding(t)
	const devices, askers = 40, 3
	o := k.Lot(devices)
	var all []keyserver.Certificate
	for i := range devices {
		all = append(all, mustIssue(k, o, fmt.Sprintf("SN-%d", i)))
	}
	var wait sync.WaitGroup
	for range askers {
		for _, c := range all {
			wait.Go(func() {
				if got, err := k.Status(c); err != nil || got.Status != ocsp.Good {
					t.Errorf("%s: %v", c.Device, err)
				}
			})
		}
	}
	wait.Wait()
	if n := len(k.EventsOf("", audit.StatusesPermitted)); n != 1 {
		t.Errorf("%d events", n)
	}
	if n := signedBy(k, "status-ca"); n < devices || n > devices*askers {
		t.Errorf("signed %d times", n)
	}
}

// CE-05: who finds that somebody else has taken the leave gives nothing back of what was signed by it meanwhile.
func TestALeaveIsNeverMoreThanWhatIsLeftOfIt(t *testing.T) {
	k := responding(t)
	o := k.Lot(2)
	one, two := mustIssue(k, o, "SN-1"), mustIssue(k, o, "SN-2")
	wantStatus(k, "one", one, ocsp.Good)
	begun, end := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	inBatch := func(waiting int, do func() error) {
		wait.Go(func() {
			if err := do(); err != nil {
				t.Error(err)
			}
		})
		for k.DB.Waiting() < waiting {
			runtime.Gosched()
		}
	}
	closure := func(do func()) func() error {
		return func() error {
			_, err := store.Update(t.Context(), k.DB, func(*store.Tx) (struct{}, error) { do(); return struct{}{}, nil })
			return err
		}
	}
	inBatch(0, closure(func() { close(begun); <-end }))
	<-begun
	inBatch(1, func() error { return k.Keyserver.TakeLeave(t.Context(), "status-ca") })
	inBatch(2, closure(func() { wantStatus(k, "two", two, ocsp.Good) })) // after it has seen what is left
	close(end)
	wait.Wait()
	if left := k.Keyserver.StatusesLeft("status-ca"); left != law.MaxStatuses-2 {
		t.Errorf("after two statuses %d of %d are left", left, law.MaxStatuses)
	}
}

func TestThatTheCertificateOfAResponderKeyEndsIsSaidOnceADay(t *testing.T) {
	var log strings.Builder
	k := testkit.NewWith(t, testkit.Options{World: testkit.Responding, Log: slog.New(slog.NewTextHandler(&log, nil))})
	k.CertifyResponders()
	said := func(times int) {
		t.Helper()
		k.Beat()
		if n := strings.Count(log.String(), "the certificate of a responder key is to be renewed"); n != times {
			t.Errorf("it was said %d times, not %d:\n%s", n, times, log.String())
		}
	}
	k.Clock.Step(76*testkit.Day - 2*time.Second)
	said(0)
	k.Clock.Step(2 * time.Second)
	said(2) // of both
	said(2)
	k.Clock.Step(testkit.Day)
	said(4)
	k.Certify("status-root")
	k.Clock.Step(testkit.Day)
	said(5)
	k.Clock.Step(30 * testkit.Day) // ended
	said(6)
}

package keyserver_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/lotreport"
	"example.org/keyserver/internal/testkit"
)

// reported has the report on an operation signed, as olga, and verifies it with the list that it is about.
func reported(k *testkit.Kit, o keyserver.Operation) lotreport.Report {
	k.Helper()
	signed, err := k.Keyserver.LotReport(k.Context(), k.Caller("olga"), o.ID)
	if err != nil {
		k.Fatal(err)
	}
	return readReport(k, o, signed)
}

func readReport(k *testkit.Kit, o keyserver.Operation, signed []byte) lotreport.Report {
	k.Helper()
	key, err := audit.NewVerifier(k.Keyserver.LogKey())
	if err != nil {
		k.Fatal(err)
	}
	report, err := lotreport.Verify(signed, key)
	if err != nil {
		k.Fatal(err)
	}
	if err := report.CheckCertificates(bytes.NewReader(listed(k, o, time.UnixMilli(report.At)))); err != nil {
		k.Error(err)
	}
	return report
}

func listed(k *testkit.Kit, o keyserver.Operation, at time.Time) []byte {
	k.Helper()
	var list bytes.Buffer
	if err := k.Keyserver.WriteLot(k.Context(), k.Caller("olga"), o.ID, at, &list); err != nil {
		k.Fatal(err)
	}
	return list.Bytes()
}

func TestTheReportOnALotIsSignedWhenItsOperationHasEnded(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(3)
	first := mustIssue(k, o, "SN-1")
	k.Clock.Step(time.Minute)
	_, err := k.Keyserver.LotReport(k.Context(), k.Caller("olga"), o.ID)
	testkit.Refused(t, "the report on an open operation", err, law.WrongState)
	mustIssue(k, o, "SN-2")
	if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), first.ID, "superseded", "old"); err != nil {
		t.Fatal(err)
	}
	last := mustIssue(k, o, "SN-3")
	k.Clock.Step(time.Minute)
	r := reported(k, o)
	if r.State != law.Exhausted || r.Operation != o.ID || r.Digest != o.Digest || r.Orderer != "olga" || r.Certificates.Count != 3 || len(r.Lots) != 1 || r.Ended != last.Settled.UnixMilli() {
		t.Fatalf("report %+v", r)
	}
	if l := r.Lots[0]; l.Key != "ca-dev" || l.Taken != 3 || l.Issued != 3 || l.Revoked != 1 || l.First.Device != "SN-1" || l.Last.Device != "SN-3" || l.Last.Serial != last.Serial {
		t.Errorf("lot %+v", l)
	}
	// What is revoked later is in later reports, and the list of the earlier one stays what it was.
	before := listed(k, o, time.UnixMilli(r.At))
	if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), last.ID, "keyCompromise", "lost"); err != nil {
		t.Fatal(err)
	}
	k.Clock.Step(time.Millisecond)
	if !bytes.Equal(before, listed(k, o, time.UnixMilli(r.At))) || bytes.Equal(before, listed(k, o, k.Clock.Now().Add(time.Hour))) {
		t.Error("the list of the report changed, or that of now did not")
	}
	if again := reported(k, o); again.Lots[0].Revoked != 2 || again.Certificates == r.Certificates {
		t.Errorf("the later report %+v", again)
	}
}

func TestTheReportHasTheApprovalsThatStood(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{World: func(c *law.Configuration) {
		testkit.Factory(law.DuplicatesRefused)(c)
		for i := range c.Keys {
			if c.Keys[i].ID == "ca-dev" {
				c.Keys[i].Requirement = law.Require(1)
			}
		}
	}})
	k.Certify("root")
	k.Certify("ca-dev")
	o := k.Approve(k.Lot(1), "alice")
	if _, err := k.Keyserver.Withdraw(k.Context(), k.Caller("alice"), o.ID); err != nil {
		t.Fatal(err)
	}
	k.Approve(o, "bob")
	mustIssue(k, o, "SN-1")
	if r := reported(k, o); len(r.Approvals) != 1 || r.Approvals[0].By != "bob" || r.Approvals[0].Keys[0] != "ca-dev" {
		t.Errorf("approvals %+v", r.Approvals)
	}
}

// CE-06: a certificate that was being signed when the operation expired may still come: until then there is no report.
func TestWhileACertificateIsBeingSignedThereIsNoReport(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	ask := testkit.Ask("ca-dev")
	ask.Keys[0].MaxUses, ask.Validity = 3, law.AttemptLease+10*time.Second
	o := k.Create(ask)
	mustIssue(k, o, "SN-1")
	k.Clock.Step(law.AttemptLease)
	k.Beat() // makes the revocation list, for which the keystore is not to be asked later
	request := k.DeviceRequest("SN-2", k.NewDeviceKey())
	hanging := k.Keystore.Hang(t)
	done := make(chan error, 1)
	go func() {
		_, err := k.IssueDevice(o, "2", request)
		done <- err
	}()
	if err := hanging.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	k.Clock.Step(10 * time.Second)
	k.Beat()
	_, err := k.Keyserver.LotReport(k.Context(), k.Caller("olga"), o.ID)
	testkit.Unavailable(t, "the report while one is being signed", err, "running")
	hanging.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r := reported(k, o); r.State != law.Expired || r.Certificates.Count != 2 {
		t.Errorf("report %+v", r)
	}
}

// CE-06
func TestTheReportIsForThoseForWhomTheOperationExists(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(1)
	k.Keystore.Fail(errors.New("no HSM"))
	_, err := k.IssueDevice(o, "1", k.DeviceRequest("SN-1", k.NewDeviceKey()))
	testkit.Unavailable(t, "a failure", err, "keystore")
	k.Keystore.Hook(keystoretest.Hooks{})
	if _, err := k.Keyserver.Revoke(k.Context(), k.Caller("olga"), o.ID, "no HSM"); err != nil {
		t.Fatal(err)
	}
	if r := reported(k, o); r.Certificates.Count != 0 || r.Lots[0].First != nil || r.Lots[0].Taken != 1 || r.Reason != "no HSM" {
		t.Errorf("of an operation without certificates: %+v", r)
	}
	for _, who := range []law.SubjectID{"alice", "ada", "audrey"} {
		if _, err := k.Keyserver.LotReport(k.Context(), k.Caller(who), o.ID); err != nil {
			t.Errorf("for %s: %v", who, err)
		}
	}
	_, err = k.Keyserver.LotReport(k.Context(), k.Caller("eve"), o.ID)
	testkit.Refused(t, "the report for eve", err, law.NotFound)
	err = k.Keyserver.WriteLot(k.Context(), k.Caller("eve"), o.ID, time.Time{}, new(bytes.Buffer))
	testkit.Refused(t, "the list for eve", err, law.NotFound)
}

// CE-06: a revocation that is being stored while the report is made is in its list for ever, or in none.
func TestARevocationThatIsBeingStoredDoesNotChangeTheListOfAReport(t *testing.T) {
	var k *testkit.Kit
	var hold func()
	k = testkit.NewWith(t, testkit.Options{World: testkit.Factory(law.DuplicatesRefused), Commit: func(commit func() error) error {
		if during := hold; during != nil {
			hold = nil
			during()
		}
		return commit()
	}})
	k.Certify("root")
	k.Certify("ca-dev")
	o := k.Lot(1)
	c := mustIssue(k, o, "SN-1")
	k.Clock.Step(time.Second)
	done := make(chan []byte, 1)
	hold = func() { // the revocation has its time, and nobody sees it yet
		k.Clock.Step(time.Second)
		go func() {
			signed, err := k.Keyserver.LotReport(k.Context(), k.Caller("olga"), o.ID)
			if err != nil {
				t.Error(err)
			}
			done <- signed
		}()
		for len(done) == 0 && k.DB.Waiting() == 0 {
			runtime.Gosched()
		}
	}
	if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), c.ID, "superseded", "old"); err != nil {
		t.Fatal(err)
	}
	readReport(k, o, <-done)
}

// CE-06: what is counted as revoked is what the list says is revoked.
func TestTheReportCountsAsRevokedWhatItsListDoes(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(2)
	first, second := mustIssue(k, o, "SN-1"), mustIssue(k, o, "SN-2")
	for i, one := range []keyserver.Certificate{first, second} {
		if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), one.ID, "superseded", "old"); err != nil {
			t.Fatal(err)
		}
		for _, step := range []time.Duration{0, time.Millisecond} {
			k.Clock.Step(step)
			r := reported(k, o)
			list := listed(k, o, time.UnixMilli(r.At))
			if said := bytes.Count(list, []byte("superseded")); r.Lots[0].Revoked != said || step > 0 && said != i+1 {
				t.Errorf("%d are revoked, the report counts %d, and its list\n%s", i+1, r.Lots[0].Revoked, list)
			}
		}
	}
}

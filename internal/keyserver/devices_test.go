package keyserver_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func factory(t *testing.T, duplicates law.DuplicateRule) *testkit.Kit {
	k := testkit.NewWith(t, testkit.Options{World: testkit.Factory(duplicates)})
	k.Certify("root")
	k.Certify("ca-dev")
	return k
}

// mustIssue has a certificate issued for a new device with that serial number.
func mustIssue(k *testkit.Kit, o keyserver.Operation, serial string) keyserver.Certificate {
	k.Helper()
	c, err := k.IssueDevice(o, serial, k.DeviceRequest(serial, k.NewDeviceKey()))
	if err != nil {
		k.Fatal(err)
	}
	return c
}

func TestADeviceGetsACertificateUnderAnApprovedOperation(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(3)
	request := k.DeviceRequest("SN-1", k.NewDeviceKey())
	c, err := k.IssueDevice(o, "1", request)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(c.DER)
	if err != nil {
		t.Fatal(err)
	}
	if c.Device != "SN-1" || parsed.Subject.SerialNumber != "SN-1" || parsed.Subject.Organization[0] != "Example" || len(c.Path) != 3 || c.Operation != o.ID {
		t.Errorf("certificate %+v, %v", c.Certificate, parsed.Subject)
	}
	out, err := k.OpenSSL(map[string][]byte{
		"root.pem": testkit.PEM("CERTIFICATE", c.Path[2]), "ca.pem": testkit.PEM("CERTIFICATE", c.Path[1]), "device.pem": testkit.PEM("CERTIFICATE", c.DER),
	}, "verify", "-x509_strict", "-no_check_time", "-CAfile", "root.pem", "-untrusted", "ca.pem", "device.pem")
	if err != nil || !strings.Contains(out, "device.pem: OK") {
		t.Errorf("openssl says %s (%v)", out, err)
	}
	again, err := k.IssueDevice(o, "1", request)
	if err != nil || !bytes.Equal(again.DER, c.DER) {
		t.Errorf("asked again: %v, %v", again.Serial, err)
	}
	_, err = k.IssueDevice(o, "1", k.DeviceRequest("SN-2", k.NewDeviceKey()))
	testkit.Refused(t, "another request under the same key", err, law.KeyReused)
	if now := k.Look(o.ID); now.Usage["ca-dev"] != (law.Usage{Taken: 1, Signed: 1}) {
		t.Errorf("uses are %+v", now.Usage["ca-dev"])
	}
	mustIssue(k, o, "SN-2")
	mustIssue(k, o, "SN-3")
	if k.State(o.ID) != law.Exhausted {
		t.Errorf("the operation is %s", k.State(o.ID))
	}
	_, err = k.IssueDevice(o, "4", k.DeviceRequest("SN-4", k.NewDeviceKey()))
	testkit.Refused(t, "a use too many", err, law.WrongState)
}

func TestABatchOfDevicesIsAcceptedAndStoredAtOnceEachWithItsOwnResult(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(5)
	key := k.NewDeviceKey()
	orders := []keyserver.DeviceOrder{
		{IdempotencyKey: "1", Request: k.DeviceRequest("SN-1", key)},
		{IdempotencyKey: "2", Request: k.DeviceRequest("SN-1", k.NewDeviceKey())}, // the same device
		{IdempotencyKey: "3", Request: k.DeviceRequest("SN-3", key)},              // the same device key
		{IdempotencyKey: "4", Request: []byte("nonsense")},
		{IdempotencyKey: "5", Request: k.DeviceRequest("sn-5", k.NewDeviceKey())}, // not within the profile
	}
	for i := 6; i <= 10; i++ {
		orders = append(orders, keyserver.DeviceOrder{IdempotencyKey: fmt.Sprint(i), Request: k.DeviceRequest(fmt.Sprintf("SN-%d", i), k.NewDeviceKey())})
	}
	before := k.LogSize()
	all, err := k.Keyserver.IssueDevices(k.Context(), k.Caller("olga"), o.ID, "ca-dev", orders)
	if err != nil || len(all) != len(orders) {
		t.Fatalf("%d results, %v", len(all), err)
	}
	for i, want := range []law.RefusalKind{"", law.WrongState, law.WrongState, law.Impossible, law.Impossible, "", "", "", "", law.WrongState} {
		if want != "" {
			testkit.Refused(t, "order "+orders[i].IdempotencyKey, all[i].Err, want)
		} else if all[i].Err != nil || all[i].Certificate.DER == nil {
			t.Errorf("order %s: %v", orders[i].IdempotencyKey, all[i].Err)
		}
	}
	batches := map[string]int{}
	for _, e := range k.EventsSince(before) {
		batches[e.Batch]++
	}
	if len(batches) != 2 {
		t.Errorf("it took %d transactions: %v", len(batches), batches)
	}
	_, err = k.Keyserver.IssueDevices(k.Context(), k.Caller("olga"), o.ID, "ca-dev", append(orders[:2:2], orders[0]))
	if _, is := errors.AsType[*keyserver.Malformed](err); !is {
		t.Errorf("one idempotency key twice: %v", err)
	}
	again, err := k.Keyserver.IssueDevices(k.Context(), k.Caller("olga"), o.ID, "ca-dev", orders[:1])
	if err != nil || again[0].Err != nil || again[0].Certificate.Serial != all[0].Certificate.Serial {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	if n := k.Keystore.Signs("ca-dev"); n != 5 {
		t.Errorf("the keystore was asked %d times", n)
	}
}

func TestADeviceThatHasACertificateGetsWhatTheProfileSays(t *testing.T) {
	for rule, want := range map[law.DuplicateRule]struct{ sameKey, otherKey, otherDevice law.RefusalKind }{
		law.DuplicatesRefused:  {law.WrongState, law.WrongState, law.WrongState},
		law.DuplicatesSame:     {"", law.WrongState, law.WrongState},
		law.DuplicatesReplaced: {"", "", law.WrongState},
	} {
		t.Run(string(rule), func(t *testing.T) {
			k := factory(t, rule)
			o := k.Lot(10)
			key := k.NewDeviceKey()
			first, err := k.IssueDevice(o, "1", k.DeviceRequest("SN-1", key))
			if err != nil {
				t.Fatal(err)
			}
			check := func(name string, err error, want law.RefusalKind) {
				t.Helper()
				if want != "" {
					testkit.Refused(t, name, err, want)
				} else if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			_, err = k.IssueDevice(o, "4", k.DeviceRequest("SN-2", key))
			check("another device with the same key", err, want.otherDevice)
			same, err := k.IssueDevice(o, "2", k.DeviceRequest("SN-1", key))
			check("the same device and key", err, want.sameKey)
			_, err = k.IssueDevice(o, "3", k.DeviceRequest("SN-1", k.NewDeviceKey()))
			check("the same device with another key", err, want.otherKey)
			taken := k.Look(o.ID).Usage["ca-dev"].Taken
			now, err := k.Keyserver.DeviceCertificate(k.Context(), k.Caller("olga"), first.ID)
			if err != nil {
				t.Fatal(err)
			}
			switch rule {
			case law.DuplicatesSame:
				if same.ID != first.ID || taken != 1 || !now.Revocation.At.IsZero() {
					t.Errorf("the certificate is %s, first %s; %d uses are taken", same.ID, first.ID, taken)
				}
			case law.DuplicatesReplaced:
				if same.ID == first.ID || taken != 3 || now.Revocation.Code != "superseded" || now.Revocation.Reason != "replaced by certificate "+string(same.ID) {
					t.Errorf("the first is revoked: %+v; %d uses are taken", now.Revocation, taken)
				}
			default:
				if taken != 1 || !now.Revocation.At.IsZero() {
					t.Errorf("%d uses are taken, the first is revoked: %+v", taken, now.Revocation)
				}
			}
		})
	}
}

func TestOneDeviceGetsOneCertificateHoweverManyStationsAsk(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(100)
	var mu sync.Mutex
	got := 0
	testkit.Race(16, func(i int) {
		_, err := k.IssueDevice(o, fmt.Sprint(i), k.DeviceRequest("SN-1", k.NewDeviceKey()))
		var refusal *law.Refusal
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			got++
		} else if !errors.As(err, &refusal) {
			t.Error(err)
		}
	})
	if got != 1 || k.Look(o.ID).Usage["ca-dev"].Taken != 1 {
		t.Errorf("%d certificates were issued", got)
	}
}

func TestNeverMoreCertificatesThanUsesHoweverManyStationsAsk(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(20)
	var mu sync.Mutex
	got := 0
	testkit.Race(8, func(i int) {
		var orders []keyserver.DeviceOrder
		for j := range 5 {
			serial := fmt.Sprintf("SN-%d-%d", i, j)
			orders = append(orders, keyserver.DeviceOrder{IdempotencyKey: serial, Request: k.DeviceRequest(serial, k.NewDeviceKey())})
		}
		all, err := k.Keyserver.IssueDevices(k.Context(), k.Caller("olga"), o.ID, "ca-dev", orders)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, r := range all {
			if r.Err == nil {
				got++
			}
		}
	})
	if got != 20 {
		t.Errorf("%d certificates were issued, not 20", got)
	}
}

func TestManyBatchesAtOnceAskAKeystoreForNoMoreThanItTakes(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(1000)
	accepted := make(chan struct{})
	k.Keystore.Hook(keystoretest.Hooks{Before: func(context.Context, law.Permit) error {
		<-accepted // all of them: until then nobody gets out of the keystore
		return nil
	}})
	go func() {
		defer close(accepted)
		for {
			changed, stop := k.DB.WatchAny()
			if k.Count(o.ID, audit.OrderAccepted) == 600 {
				stop()
				return
			}
			<-changed
			stop()
		}
	}()
	testkit.Race(10, func(i int) {
		var orders []keyserver.DeviceOrder
		for j := range 60 {
			serial := fmt.Sprintf("SN-%d-%d", i, j)
			orders = append(orders, keyserver.DeviceOrder{IdempotencyKey: serial, Request: k.DeviceRequest(serial, k.NewDeviceKey())})
		}
		all, err := k.Keyserver.IssueDevices(k.Context(), k.Caller("olga"), o.ID, "ca-dev", orders)
		if err != nil {
			t.Error(err)
		}
		for _, r := range all {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
	})
}

// rule 12
func TestADeviceWhoseCertificateCouldNotBeSignedGetsItUnderTheSameUse(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(1)
	request := k.DeviceRequest("SN-1", k.NewDeviceKey())
	k.Keystore.Fail(errors.New("no power"))
	_, err := k.IssueDevice(o, "1", request)
	testkit.Unavailable(t, "a failure", err, "keystore")
	_, err = k.IssueDevice(o, "2", k.DeviceRequest("SN-1", k.NewDeviceKey()))
	testkit.Refused(t, "another order for the device", err, law.WrongState)
	k.Keystore.Hook(keystoretest.Hooks{})
	c, err := k.IssueDevice(o, "1", request)
	if err != nil || c.Device != "SN-1" || k.State(o.ID) != law.Exhausted {
		t.Errorf("certificate %+v, %v", c.Certificate, err)
	}
}

func TestACertificateThatWasRevokedBeforeItWasIssuedIsNotIssued(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(2)
	request := k.DeviceRequest("SN-1", k.NewDeviceKey())
	k.Keystore.Fail(errors.New("no power"))
	_, err := k.IssueDevice(o, "1", request)
	testkit.Unavailable(t, "a failure", err, "keystore")
	k.Keystore.Hook(keystoretest.Hooks{})
	page, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("ada"), keyserver.DeviceFilter{Key: "ca-dev", Device: "SN-1", Page: keyserver.Page{Limit: 10}})
	if err != nil || len(page.Certificates) != 1 || page.Certificates[0].State != law.CertificateFailed {
		t.Fatalf("%+v, %v", page, err)
	}
	if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), page.Certificates[0].ID, "cessationOfOperation", "the board was scrapped"); err != nil {
		t.Fatal(err)
	}
	_, err = k.IssueDevice(o, "1", request)
	testkit.Refused(t, "the revoked one", err, law.WrongState)
	mustIssue(k, o, "SN-1")
}

func TestACertificateThatIsRevokedWhileItIsSignedIsNotIssued(t *testing.T) {
	k := factory(t, law.DuplicatesReplaced)
	o := k.Lot(2)
	filter := keyserver.DeviceFilter{Key: "ca-dev", Device: "SN-1", Page: keyserver.Page{Limit: 10}}
	k.Keystore.Hook(keystoretest.Hooks{Before: func(context.Context, law.Permit) error {
		k.Keystore.Hook(keystoretest.Hooks{})
		page, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("ada"), filter)
		if err != nil {
			return err
		}
		if _, err = k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), page.Certificates[0].ID, "cessationOfOperation", "the board was scrapped"); err != nil {
			return err
		}
		mustIssue(k, o, "SN-1") // the device has asked anew meanwhile
		return nil
	}})
	request := k.DeviceRequest("SN-1", k.NewDeviceKey())
	for range 2 {
		c, err := k.IssueDevice(o, "1", request)
		testkit.Refused(t, "the revoked one", err, law.WrongState)
		if c.DER != nil {
			t.Errorf("it was given out: %+v", c)
		}
	}
	page, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("ada"), filter)
	if err != nil || len(page.Certificates) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	revoked, anew := page.Certificates[0], page.Certificates[1]
	if revoked.State != law.CertificateFailed || revoked.DER != nil || anew.State != law.CertificateIssued || !anew.Revocation.At.IsZero() {
		t.Errorf("the revoked one is %+v, the other %+v", revoked.Certificate, anew.Certificate)
	}
}

func TestDeviceCertificatesAreRevokedByAnAdministratorAndListed(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(10)
	var all []keyserver.Certificate
	for i := range 4 {
		all = append(all, mustIssue(k, o, fmt.Sprintf("SN-%d", i)))
	}
	_, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("olga"), all[0].ID, "keyCompromise", "lost")
	testkit.Refused(t, "by the orderer", err, law.Forbidden)
	_, err = k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("eve"), all[0].ID, "keyCompromise", "lost")
	testkit.Refused(t, "by a stranger", err, law.NotFound)
	_, err = k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), all[0].ID, "certificateHold", "lost")
	testkit.Refused(t, "for now", err, law.Impossible)
	for range 2 {
		c, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), all[0].ID, "keyCompromise", "lost")
		if err != nil || c.Revocation.By != "ada" {
			t.Fatalf("%+v, %v", c.Revocation, err)
		}
	}
	k.Beat()
	l, err := k.Keyserver.RevocationList(k.Context(), "ca-dev")
	if err != nil || l.Entries != 1 {
		t.Fatalf("%+v, %v", l, err)
	}
	n, err := k.Keyserver.RevokeDeviceCertificatesOf(k.Context(), k.Caller("ada"), o.ID, "cessationOfOperation", "the lot was stolen")
	if err != nil || n != 3 {
		t.Errorf("%d are revoked, %v", n, err)
	}
	if n, err = k.Keyserver.RevokeDeviceCertificatesOf(k.Context(), k.Caller("ada"), o.ID, "cessationOfOperation", "again"); err != nil || n != 0 {
		t.Errorf("%d more are revoked, %v", n, err)
	}
	k.Beat()
	l, err = k.Keyserver.RevocationList(k.Context(), "ca-dev")
	if err != nil || l.Entries != 4 || l.Number != 2 {
		t.Errorf("%+v, %v", l, err)
	}
	parsed, err := x509.ParseRevocationList(l.DER)
	if err != nil {
		t.Fatal(err)
	}
	var serials, want []string
	for i, e := range parsed.RevokedCertificateEntries {
		serials, want = append(serials, e.SerialNumber.Text(16)), append(want, all[i].Serial)
	}
	if slices.Sort(serials); !slices.Equal(serials, slices.Sorted(slices.Values(want))) || len(want) != 4 {
		t.Errorf("on the list are %q, want %q", serials, want)
	}
	if k.Count(o.ID, audit.CertificateRevoked) != 4 {
		t.Errorf("%d revocations are in the story of the operation", k.Count(o.ID, audit.CertificateRevoked))
	}
	if _, err := k.IssueDevice(o, "again", k.DeviceRequest("SN-0", k.NewDeviceKey())); err != nil { // its certificate does not stand any more
		t.Error(err)
	}
}

func TestDeviceCertificatesExistForWhomTheirOperationExists(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(10)
	c := mustIssue(k, o, "SN-1")
	for name, f := range map[string]keyserver.DeviceFilter{
		"operation": {Operation: o.ID}, "device": {Key: "ca-dev", Device: "SN-1"}, "serial number": {Key: "ca-dev", Serial: "00" + strings.ToUpper(c.Serial)},
	} {
		f.Page.Limit = 5
		page, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("olga"), f)
		if err != nil || len(page.Certificates) != 1 || page.Certificates[0].ID != c.ID || len(page.Certificates[0].Path) != 3 {
			t.Errorf("by %s: %+v, %v", name, page, err)
		}
		page, err = k.Keyserver.DeviceCertificates(k.Context(), k.Caller("eve"), f)
		if len(page.Certificates) != 0 || (err != nil) != (f.Operation != "") {
			t.Errorf("by %s, for eve: %+v, %v", name, page, err)
		}
	}
	for _, f := range []keyserver.DeviceFilter{{}, {Key: "ca-dev"}, {Device: "SN-1"}, {Key: "ca-dev", Device: "SN-1", Serial: "1"}, {Operation: o.ID, Key: "ca-dev", Serial: "1"}} {
		f.Page.Limit = 5
		if _, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("olga"), f); err == nil {
			t.Errorf("%+v is a filter", f)
		}
	}
	_, err := k.Keyserver.DeviceCertificate(k.Context(), k.Caller("eve"), c.ID)
	testkit.Refused(t, "a certificate for eve", err, law.NotFound)
	_, err = k.Keyserver.Certificate(k.Context(), k.Caller("ada"), c.ID)
	testkit.Refused(t, "a certificate of no key", err, law.NotFound)
	lots, err := k.Keyserver.Lots(k.Context(), k.Caller("alice"), o.ID)
	if err != nil || len(lots) != 1 || lots[0].Issued != 1 || lots[0].Taken != 1 || lots[0].MaxUses != 10 || lots[0].First.Device != "SN-1" || lots[0].Last.Device != "SN-1" {
		t.Errorf("lots are %+v, %v", lots, err)
	}
}

// AZ-02, rules 2, 9 and 10
func TestADeviceCertificateNeedsWhatASignOrderNeeds(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{World: func(c *law.Configuration) {
		testkit.Factory(law.DuplicatesRefused)(c)
		for i := range c.Keys {
			if c.Keys[i].ID == "ca-dev" {
				c.Keys[i].Requirement = law.Require(2)
			}
		}
	}})
	k.Certify("root")
	o := k.Lot(5)
	issue := func(who law.SubjectID) error {
		_, err := k.Keyserver.IssueDevice(k.Context(), k.Caller(who), o.ID, "ca-dev", keyserver.DeviceOrder{
			IdempotencyKey: string(who), Request: k.DeviceRequest("SN-1", k.NewDeviceKey()),
		})
		return err
	}
	testkit.Refused(t, "before approval", issue("olga"), law.WrongState)
	k.Approve(o, "alice")
	testkit.Refused(t, "before all approvals", issue("olga"), law.WrongState)
	k.Approve(o, "bob")
	testkit.Refused(t, "without a certificate of the CA key", issue("olga"), law.Impossible)
	k.Certify("ca-dev")
	testkit.Refused(t, "by an approver", issue("alice"), law.Forbidden)
	testkit.Refused(t, "by a stranger", issue("eve"), law.NotFound)
	k.Enable("alice", false)
	testkit.Refused(t, "after an approval has lapsed", issue("olga"), law.WrongState)
	k.Enable("alice", true)
	if err := issue("olga"); err != nil {
		t.Error(err)
	}
	if n := k.Keystore.Signs("ca-dev"); n != 1 {
		t.Errorf("the keystore was asked %d times", n)
	}
}

// What comes between the drawing up of a list and its acceptance must be on it: Check would find an accepted list on which
// a revoked certificate is missing.
func TestRevocationsThatRaceWithAListAreOnTheNextOne(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	const rounds, each = 15, 10
	o := k.Lot(rounds * each)
	beat := func() {
		if err := k.Keyserver.Beat(k.Context()); err != nil {
			t.Error(err)
		}
	}
	for round := range rounds {
		var some []keyserver.Certificate
		for i := range each {
			some = append(some, mustIssue(k, o, fmt.Sprintf("SN-%d-%d", round, i)))
		}
		testkit.Race(2, func(i int) {
			if i == 0 {
				beat()
				return
			}
			for _, c := range some {
				if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), c.ID, "keyCompromise", "lost"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	beat()
	l, err := k.Keyserver.RevocationList(k.Context(), "ca-dev")
	if err != nil || l.Entries != rounds*each || l.Number < rounds/2 { // what one round leaves unlisted makes a list due in the next
		t.Errorf("list %d has %d entries (%v)", l.Number, l.Entries, err)
	}
}

func TestAListThatTakesLongIsNotMadeAgainAllTheTime(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(3)
	revoke := func(device string) {
		c := mustIssue(k, o, device)
		if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), c.ID, "keyCompromise", "lost"); err != nil {
			t.Fatal(err)
		}
	}
	entries := func(when string, want int) {
		t.Helper()
		k.Beat()
		if l, err := k.Keyserver.RevocationList(k.Context(), "ca-dev"); err != nil || l.Entries != want {
			t.Errorf("%s: the list has %d entries (%v), want %d", when, l.Entries, err, want)
		}
	}
	revoke("SN-1")
	entries("a quick one", 1)
	revoke("SN-2")
	k.Keystore.Hook(keystoretest.Hooks{Before: func(context.Context, law.Permit) error { k.Clock.Step(2 * time.Second); return nil }})
	entries("at once after a quick one", 2)
	k.Keystore.Hook(keystoretest.Hooks{})
	revoke("SN-3")
	k.Clock.Step(2*time.Second - 1)
	entries("soon after a slow one", 2)
	k.Clock.Step(1)
	entries("as long after a slow one", 3)
}

package keyserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// deviceOrders ask for the certificates of n new devices, whose serial numbers and idempotency keys begin with a prefix.
func deviceOrders(k *testkit.Kit, prefix string, n int) []keyserver.DeviceOrder {
	k.Helper()
	orders := make([]keyserver.DeviceOrder, n)
	for i := range orders {
		serial := fmt.Sprintf("%s-%d", prefix, i)
		orders[i] = keyserver.DeviceOrder{IdempotencyKey: serial, Request: k.DeviceRequest(serial, k.NewDeviceKey())}
	}
	return orders
}

// underNew are the same requests under other idempotency keys.
func underNew(orders []keyserver.DeviceOrder) []keyserver.DeviceOrder {
	other := make([]keyserver.DeviceOrder, len(orders))
	for i, o := range orders {
		other[i] = keyserver.DeviceOrder{IdempotencyKey: "another " + o.IdempotencyKey, Request: o.Request}
	}
	return other
}

// issuing has the certificates of devices issued, as olga.
type issuing func(context.Context, *testkit.Kit, keyserver.Operation, []keyserver.DeviceOrder) []keyserver.DeviceResult

func oneByOne(ctx context.Context, k *testkit.Kit, o keyserver.Operation, orders []keyserver.DeviceOrder) []keyserver.DeviceResult {
	all := make([]keyserver.DeviceResult, len(orders))
	for i, order := range orders {
		all[i].Certificate, all[i].Err = k.Keyserver.IssueDevice(ctx, k.Caller("olga"), o.ID, "ca-dev", order)
	}
	return all
}

func inABatch(ctx context.Context, k *testkit.Kit, o keyserver.Operation, orders []keyserver.DeviceOrder) []keyserver.DeviceResult {
	all, err := k.Keyserver.IssueDevices(ctx, k.Caller("olga"), o.ID, "ca-dev", orders)
	if err != nil {
		all = make([]keyserver.DeviceResult, len(orders))
		for i := range all {
			all[i].Err = err
		}
	}
	return all
}

// Whatever goes wrong, after a restart the same requests are brought to their end: one use and one certificate for each
// device, every attempt audited, and what was answered once is answered for ever.
func TestDeviceCertificatesSurviveEveryFault(t *testing.T) {
	t.Run("one by one, in the place of earlier ones", func(t *testing.T) {
		rule := law.DuplicatesReplaced
		everyFault(t, testkit.Options{World: testkit.Factory(rule)}, func(f injected) { devicesSurvive(f, oneByOne, rule) })
	})
	t.Run("in a batch, once for each device", func(t *testing.T) {
		rule := law.DuplicatesRefused
		everyFault(t, testkit.Options{World: testkit.Factory(rule)}, func(f injected) { devicesSurvive(f, inABatch, rule) })
	})
}

func devicesSurvive(f injected, issue issuing, rule law.DuplicateRule) {
	const n = 3
	f.Certify("root")
	f.Certify("ca-dev")
	before, o := f.Lot(10), f.Lot(10)
	orders := deviceOrders(f.Kit, "SN", n)
	if rule == law.DuplicatesReplaced { // they have certificates from another operation
		mustIssueAll(f.Kit, oneByOne(f.Context(), f.Kit, before, underNew(orders)))
	}
	f.inject()
	first := issue(f.client, f.Kit, o, orders)
	for i, r := range first {
		if u, is := errors.AsType[*keyserver.Unavailable](r.Err); r.Err != nil && !errors.Is(r.Err, context.Canceled) && (!is || u.RetryAfter <= 0) {
			f.Errorf("the first answer to order %d is %v", i, r.Err)
		}
	}
	f.mend()
	second := issue(f.Context(), f.Kit, o, orders)
	mustIssueAll(f.Kit, second)
	for _, answered := range [][]keyserver.DeviceResult{first, issue(f.Context(), f.Kit, o, orders)} {
		for i, r := range answered {
			if r.Err == nil && (r.Certificate.ID != second[i].Certificate.ID || !bytes.Equal(r.Certificate.DER, second[i].Certificate.DER)) {
				f.Errorf("order %d was answered with certificate %s, and with %s", i, r.Certificate.ID, second[i].Certificate.ID)
			}
		}
	}
	expectLot(f.Kit, o, n, n)
	attempts := f.Count(o.ID, audit.OrderAccepted) + f.Count(o.ID, audit.OrderAttempted)
	if signs := asksUnder(f.Kit, o); signs > attempts || attempts > 2*n {
		f.Errorf("the keystore was asked %d times in %d audited attempts", signs, attempts)
	}
	expectCounts(f.Kit, o.ID, map[audit.Type]int{audit.OrderAccepted: n, audit.OrderSigned: n, audit.OrderFailed: attempts - n, audit.OrderRefused: 0})
	for i, r := range second {
		expectStanding(f.Kit, orders[i].IdempotencyKey, r.Certificate.ID)
	}
	if rule == law.DuplicatesRefused {
		for _, r := range issue(f.Context(), f.Kit, o, underNew(orders)) {
			testkit.Refused(f, "a second certificate for the device", r.Err, law.WrongState)
		}
	}
}

// asksUnder is how often the keystore was asked for a signature under an operation.
func asksUnder(k *testkit.Kit, o keyserver.Operation) int {
	return len(slices.DeleteFunc(k.Keystore.Calls(), func(p law.Permit) bool { return p.Operation() != o.ID }))
}

func mustIssueAll(k *testkit.Kit, all []keyserver.DeviceResult) {
	k.Helper()
	for i, r := range all {
		if r.Err != nil || len(r.Certificate.Path) != 3 {
			k.Fatalf("order %d: %v, %+v", i, r.Err, r.Certificate)
		}
	}
}

// expectLot checks the uses and the certificates of an operation on ca-dev.
func expectLot(k *testkit.Kit, o keyserver.Operation, taken, issued int) {
	k.Helper()
	if usage := k.Look(o.ID).Usage["ca-dev"]; usage != (law.Usage{Taken: taken, Signed: issued}) {
		k.Errorf("the usage is %+v, want %d taken and %d signed", usage, taken, issued)
	}
	lots, err := k.Keyserver.Lots(k.Context(), k.Caller("olga"), o.ID)
	if err != nil || len(lots) != 1 || lots[0].Taken != taken || lots[0].Issued != issued {
		k.Errorf("the lots are %+v (%v), want %d uses taken and %d certificates issued", lots, err, taken, issued)
	}
	page, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("olga"), keyserver.DeviceFilter{Operation: o.ID, Page: keyserver.Page{Limit: keyserver.MaxPage}})
	if err != nil || len(page.Certificates) != taken {
		k.Errorf("there are %d certificates (%v), want one for each of %d uses", len(page.Certificates), err, taken)
	}
}

// expectStanding checks that of the certificates of a device this one stands, and that no other does.
func expectStanding(k *testkit.Kit, device string, id law.CertificateID) {
	k.Helper()
	page, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("ada"), keyserver.DeviceFilter{Key: "ca-dev", Device: device, Page: keyserver.Page{Limit: 10}})
	if err != nil {
		k.Fatal(err)
	}
	var standing []law.CertificateID
	for _, c := range page.Certificates {
		if c.State == law.CertificateIssued && c.Revocation.At.IsZero() {
			standing = append(standing, c.ID)
		}
	}
	if len(standing) != 1 || standing[0] != id {
		k.Errorf("of device %s the certificates %v stand, want %s", device, standing, id)
	}
}

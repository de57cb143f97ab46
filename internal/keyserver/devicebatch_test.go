package keyserver_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// batchInBackground begins a batch and returns where its results will be, once n of it hang in the keystore.
func batchInBackground(ctx context.Context, k *testkit.Kit, o keyserver.Operation, orders []keyserver.DeviceOrder, n int) (*keystoretest.Hanging, <-chan []keyserver.DeviceResult) {
	k.Helper()
	hanging := k.Keystore.Hang(k)
	answer := make(chan []keyserver.DeviceResult, 1)
	go func() { answer <- inABatch(ctx, k, o, orders) }()
	if err := hanging.Wait(k.Context(), n); err != nil {
		k.Fatal(err)
	}
	return hanging, answer
}

func revoke(k *testkit.Kit, o keyserver.Operation) {
	k.Helper()
	if revoked, err := k.Keyserver.Revoke(k.Context(), k.Caller("ada"), o.ID, "wrong lot"); err != nil || revoked.State != law.Revoked {
		k.Errorf("the operation is %s (%v)", revoked.State, err)
	}
}

// rule 7
func TestWhatIsBeingSignedOfABatchIsWithheldByRevocationAndWhatWasStoredStays(t *testing.T) {
	const stored, signing = 2, 3
	for name, end := range map[string]func(*testkit.Kit, keyserver.Operation){
		"the operation is revoked":   revoke,
		"its key is revoked":         func(k *testkit.Kit, _ keyserver.Operation) { state(k, "ca-dev", law.KeyRevoked) },
		"its key's pair is replaced": func(k *testkit.Kit, _ keyserver.Operation) { k.ReplaceKeyPair("ca-dev") },
	} {
		t.Run(name, func(t *testing.T) {
			k := factory(t, law.DuplicatesRefused)
			o := k.Lot(10)
			orders := append(deviceOrders(k, "STORED", stored), deviceOrders(k, "SN", signing)...)
			before := inABatch(k.Context(), k, o, orders[:stored])
			mustIssueAll(k, before)
			hanging, answer := batchInBackground(k.Context(), k, o, orders, signing)
			end(k, o)
			expectState(k, o, law.Revoked) // though the keystore hangs
			hanging.Release()
			expect := func(results []keyserver.DeviceResult) {
				t.Helper()
				for i, r := range results[:stored] {
					if r.Err != nil || !bytes.Equal(r.Certificate.DER, before[i].Certificate.DER) {
						t.Errorf("what was stored before: %v, %+v", r.Err, r.Certificate)
					}
				}
				for _, r := range results[stored:] {
					testkit.Refused(t, "what was being signed", r.Err, law.WrongState)
					if r.Certificate.DER != nil || r.Certificate.Path != nil {
						t.Error("a certificate was released after the revocation was acknowledged")
					}
				}
			}
			expect(<-answer)
			expect(inABatch(k.Context(), k, o, orders))
			k.Restart()
			expect(inABatch(k.Context(), k, o, orders))
			expectLot(k, o, stored+signing, stored)
			expectCertificateStates(k, o, map[law.CertificateState]int{law.CertificateIssued: stored, law.CertificateWithheld: signing})
			expectCounts(k, o.ID, map[audit.Type]int{
				audit.OrderAccepted: stored + signing, audit.OrderSigned: stored, audit.OrderWithheld: signing, audit.OrderFailed: 0, audit.OrderAttempted: 0,
			})
			if n := asksUnder(k, o); n != stored+signing {
				t.Errorf("the keystore was asked %d times", n)
			}
			n, err := k.Keyserver.RevokeDeviceCertificatesOf(k.Context(), k.Caller("ada"), o.ID, "cessationOfOperation", "wrong lot")
			if err != nil || n != stored {
				t.Errorf("%d certificates could be revoked (%v)", n, err)
			}
		})
	}
}

// A withheld certificate is none: its device gets one under another operation.
func TestADeviceWhoseCertificateWasWithheldGetsOneUnderAnotherOperation(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(10)
	orders := deviceOrders(k, "SN", 3)
	hanging, answer := batchInBackground(k.Context(), k, o, orders, 3)
	revoke(k, o)
	hanging.Release()
	<-answer
	next := inABatch(k.Context(), k, k.Lot(3), orders)
	mustIssueAll(k, next)
	for i, r := range next {
		expectStanding(k, orders[i].IdempotencyKey, r.Certificate.ID)
	}
}

// rule 7: no further signature is made
func TestWhatTheKeystoreHasNotBegunOfABatchItIsNotAskedForAfterRevocation(t *testing.T) {
	const n, atOnce = 100, 16 // that a keystore takes
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(n)
	hanging, answer := batchInBackground(k.Context(), k, o, deviceOrders(k, "SN", n), atOnce)
	changed, stop := k.DB.Watch(o.ID)
	defer stop()
	revoke(k, o)
	<-changed
	hanging.Release()
	for _, r := range <-answer {
		testkit.Refused(t, "a certificate of the batch", r.Err, law.WrongState)
	}
	if asked := asksUnder(k, o); asked > keyserver.SigningAtOnce {
		t.Errorf("the keystore was asked for %d signatures, though no more than %d were begun before the revocation", asked, keyserver.SigningAtOnce)
	}
	expectLot(k, o, n, 0)
	expectCertificateStates(k, o, map[law.CertificateState]int{law.CertificateWithheld: n})
}

func expectCertificateStates(k *testkit.Kit, o keyserver.Operation, want map[law.CertificateState]int) {
	k.Helper()
	page, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("olga"), keyserver.DeviceFilter{Operation: o.ID, Page: keyserver.Page{Limit: keyserver.MaxPage}})
	if err != nil {
		k.Fatal(err)
	}
	got := map[law.CertificateState]int{}
	for _, c := range page.Certificates {
		got[c.State]++
		if (c.State == law.CertificateIssued) != (c.DER != nil) {
			k.Errorf("a certificate that is %s has %d bytes", c.State, len(c.DER))
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		k.Errorf("the certificates are %v, want %v", got, want)
	}
}

// rule 12
func TestABatchWhoseKeystoreFailsInTheMiddleIsBroughtToItsEndUnderTheSameUses(t *testing.T) {
	const n, good = 7, 3
	var calls atomic.Int64
	first := func(p law.Permit) bool { return p.Order() == "" || calls.Add(1) <= good }
	for name, hooks := range map[string]keystoretest.Hooks{
		"no signature": {Before: func(_ context.Context, p law.Permit) error {
			if first(p) {
				return nil
			}
			return errFault
		}},
		"a lost signature": {After: func(p law.Permit, u keystore.Unverified, err error) (keystore.Unverified, error) {
			if first(p) {
				return u, err
			}
			return keystore.Unverified{}, errFault
		}},
		"a bad signature": {After: func(p law.Permit, u keystore.Unverified, err error) (keystore.Unverified, error) {
			if first(p) {
				return u, err
			}
			return keystore.NewUnverified([]byte("nonsense")), nil
		}},
		"a panic": {Before: func(_ context.Context, p law.Permit) error {
			if !first(p) {
				panic("of the test")
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			calls.Store(0)
			k := factory(t, law.DuplicatesRefused)
			o := k.Lot(n)
			orders := deviceOrders(k, "SN", n)
			k.Keystore.Hook(hooks)
			begun := inABatch(k.Context(), k, o, orders)
			k.Keystore.Hook(keystoretest.Hooks{})
			issued, ids := 0, make([]law.CertificateID, n)
			for i, r := range begun {
				ids[i] = r.Certificate.ID
				if r.Err == nil {
					issued++
					continue
				}
				u := testkit.Unavailable(t, "an attempt that failed", r.Err, "keystore")
				if ids[i] = law.CertificateID(u.Order); r.Certificate.DER != nil {
					t.Error("a certificate came with the failure")
				}
			}
			if issued != good {
				t.Errorf("%d certificates were issued, the keystore made %d", issued, good)
			}
			expectLot(k, o, n, good)
			expectCertificateStates(k, o, map[law.CertificateState]int{law.CertificateIssued: good, law.CertificateFailed: n - good})
			for _, r := range inABatch(k.Context(), k, o, underNew(orders)) {
				testkit.Refused(t, "another order for a device", r.Err, law.WrongState)
			}
			k.Restart()
			done := inABatch(k.Context(), k, o, orders)
			mustIssueAll(k, done)
			for i, r := range done {
				if r.Certificate.ID != ids[i] || begun[i].Err == nil && !bytes.Equal(r.Certificate.DER, begun[i].Certificate.DER) {
					t.Errorf("order %d was %s (%v) and is %s", i, ids[i], begun[i].Err, r.Certificate.ID)
				}
			}
			expectLot(k, o, n, n)
			expectState(k, o, law.Exhausted)
			expectCounts(k, o.ID, map[audit.Type]int{
				audit.OrderAccepted: n, audit.OrderAttempted: n - good, audit.OrderFailed: n - good, audit.OrderSigned: n, audit.OperationExhausted: 1,
			})
		})
	}
}

func TestABatchIsBroughtToItsEndThoughItsClientGoesAway(t *testing.T) {
	const n = 5
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(n)
	orders := deviceOrders(k, "SN", n)
	client, leave := context.WithCancel(k.Context())
	hanging, answer := batchInBackground(client, k, o, orders, n)
	leave()
	hanging.Release()
	mustIssueAll(k, <-answer)
	mustIssueAll(k, inABatch(k.Context(), k, o, orders))
	if asked := asksUnder(k, o); asked != n {
		t.Errorf("the keystore was asked %d times", asked)
	}
	expectCounts(k, o.ID, map[audit.Type]int{audit.OrderAccepted: n, audit.OrderAttempted: 0, audit.OrderSigned: n, audit.OrderFailed: 0})
}

// A lease is for one signature. What is made of a batch is not lost because others of it take longer.
func TestABatchThatTakesASlowKeystoreLongerThanALeaseGetsOnEachTimeItIsAskedFor(t *testing.T) {
	const n, each = 200, 250 * time.Millisecond
	k := factory(t, law.DuplicatesRefused)
	o := k.Lot(n)
	orders := deviceOrders(k, "SN", n)
	k.Beat() // makes the revocation list
	var one sync.Mutex
	k.Keystore.Hook(keystoretest.Hooks{After: func(p law.Permit, u keystore.Unverified, err error) (keystore.Unverified, error) {
		if p.Order() == "" {
			return u, err
		}
		one.Lock()
		defer one.Unlock()
		k.Clock.Step(each)
		k.Beat()
		return u, err
	}})
	issued := 0
	for round := 1; issued < n; round++ {
		before := issued
		issued = 0
		for _, r := range inABatch(k.Context(), k, o, orders) {
			if r.Err == nil {
				issued++
			} else {
				testkit.Unavailable(t, "a certificate that the keystore has not come to", r.Err, "keystore")
			}
		}
		if issued <= before {
			t.Fatalf("after %d rounds %d certificates are issued, before it were %d", round, issued, before)
		}
	}
	expectLot(k, o, n, n)
	if asked := asksUnder(k, o); asked != n {
		t.Errorf("the keystore was asked for %d signatures", asked)
	}
}

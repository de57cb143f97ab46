package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// lot is the operation under which the device certificates of the contract are issued.
const lot law.OperationID = "lot"

// deviceCertificate is a new certificate of a device that key ca signs under [lot]; its device key has the fingerprint "key of "
// and the device's name.
func deviceCertificate(tx *store.Tx, id law.CertificateID, device string) law.Certificate {
	return law.Certificate{
		ID: id, Device: device, Request: "request of " + device, Fingerprint: "key of " + device, Issuer: "ca", IssuerFingerprint: "f-ca",
		Serial: "0" + string(id), TBS: []byte("tbs of " + device), NotBefore: tx.Now(), NotAfter: tx.Now().Add(hour), Operation: lot,
		Accepted: tx.Now(), State: law.CertificateRunning, Lease: tx.Now().Add(law.AttemptLease),
	}
}

// saveDevice stores a new device certificate that was changed.
func saveDevice(tx *store.Tx, id law.CertificateID, device string, change func(*law.Certificate)) error {
	c := deviceCertificate(tx, id, device)
	change(&c)
	return saveCertificate(tx, c, audit.OrderAccepted)
}

func unchanged(*law.Certificate) {}

func issued(c *law.Certificate) {
	c.State, c.DER, c.Settled = law.CertificateIssued, []byte("der of "+c.Device), c.Accepted
}

func revoked(c *law.Certificate) {
	issued(c)
	c.Revocation = law.Revocation{At: c.Accepted, By: "anna", Code: "superseded", Reason: "a new one"}
}

func inState(s law.CertificateState) func(*law.Certificate) {
	return func(c *law.Certificate) { c.State = s }
}

// expectFound checks which certificates are found, in order.
func (f *fixture) expectFound(what string, want string, all []law.Certificate, err error) {
	f.Helper()
	if got, err := ids(all, err); strings.TrimSpace(got) != want || err != nil {
		f.Errorf("%s: found are %q (%v), want %q", what, got, err, want)
	}
}

// expectKnown checks that a certificate is found in all ways, or in none. A revoked one is none that a device has.
func (f *fixture) expectKnown(r *store.Reader, c law.Certificate, known bool) {
	f.Helper()
	one, found, err := r.Certificate(c.ID)
	if found != known || known && !reflect.DeepEqual(one, c) || err != nil {
		f.Errorf("by id: %v, %+v (%v), want %v, %+v", found, one, err, known, c)
	}
	byID, err := r.CertificatesByID([]string{string(c.ID)})
	if got, found := byID[c.ID]; found != known || known && !reflect.DeepEqual(got, c) || err != nil {
		f.Errorf("among ids: %v, %+v (%v)", found, got, err)
	}
	want, like := "", ""
	if known {
		want = string(c.ID)
	}
	if c.Revocation.At.IsZero() {
		like = want
	}
	for what, read := range map[string]func() ([]law.Certificate, error){
		"in the lot": func() ([]law.Certificate, error) {
			return r.DeviceCertificates(store.DeviceQuery{Operation: lot, Limit: 9})
		},
		"of the device": func() ([]law.Certificate, error) {
			return r.DeviceCertificates(store.DeviceQuery{Issuer: "ca", Device: c.Device, Limit: 9})
		},
		"of the serial no": func() ([]law.Certificate, error) {
			return r.DeviceCertificates(store.DeviceQuery{Issuer: "ca", Serial: c.Serial, Limit: 9})
		},
	} {
		all, err := read()
		f.expectFound(what, want, all, err)
	}
	byDevice, err := r.DevicesLike("ca", "f-ca", []string{c.Device}, nil)
	f.expectFound("by device", like, byDevice, err)
	byKey, err := r.DevicesLike("ca", "f-ca", nil, []string{c.Fingerprint})
	f.expectFound("by device key", like, byKey, err)
	counted, err := r.Lot(lot, "ca")
	if isIssued := known && c.State == law.CertificateIssued; err != nil || counted.Issued == 1 != isIssued || counted.First.ID == c.ID != isIssued {
		f.Errorf("the lot is %+v (%v)", counted, err)
	}
}

var devices = map[string]func(*fixture){
	"ADeviceCertificateIsReadAsItWasStored": func(f *fixture) {
		var c law.Certificate
		f.update(func(tx *store.Tx) error {
			c = deviceCertificate(tx, "1", "a")
			return saveCertificate(tx, c, audit.OrderAccepted)
		})
		for _, change := range []func(*law.Certificate){unchanged, issued, revoked} {
			f.update(func(tx *store.Tx) error { change(&c); return saveCertificate(tx, c, audit.OrderSigned) })
			f.view(func(r *store.Reader) error { f.expectKnown(r, c, true); return nil })
		}
		f.reopen()
		f.view(func(r *store.Reader) error { f.expectKnown(r, c, true); return nil })
	},

	"DeviceCertificatesOfAKeyPairAreFoundByDeviceAndByDeviceKey": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			return errors.Join(
				saveDevice(tx, "1", "a", issued),
				saveDevice(tx, "2", "b", inState(law.CertificateFailed)),
				saveDevice(tx, "3", "a", func(c *law.Certificate) { c.Fingerprint = "key of b" }),
				saveDevice(tx, "4", "c", inState(law.CertificateWithheld)),
				saveDevice(tx, "5", "a", func(c *law.Certificate) { c.IssuerFingerprint = "older" }),
				saveDevice(tx, "6", "a", func(c *law.Certificate) { c.Issuer = "other" }),
				saveDevice(tx, "7", "", func(c *law.Certificate) { c.Key, c.Fingerprint = "fw", "key of a" }), // of a key of the server
				saveDevice(tx, "8", "a", revoked),
			)
		})
		f.view(func(r *store.Reader) error {
			for _, c := range []struct{ want, devices, keys string }{
				{"1 3", "a", ""}, {"2", "b", ""}, {"1", "", "key of a"}, {"2 3", "", "key of b"}, {"1 2 3", "a", "key of b"}, {"1 2 3 4", "b c a c", "key of a"},
				{"", "none", "a"}, {"", "", ""}, {"", "key", "of"},
			} {
				keys := []string{c.keys}
				if c.keys == "" {
					keys = nil
				}
				all, err := r.DevicesLike("ca", "f-ca", strings.Fields(c.devices), keys)
				f.expectFound(fmt.Sprintf("like %+v", c), c.want, all, err)
			}
			older, err := r.DevicesLike("ca", "older", []string{"a"}, []string{"key of a"})
			f.expectFound("of the older key pair", "5", older, err)
			nobodys, err := r.DevicesLike("ca", "f-ca", []string{""}, []string{""})
			f.expectFound("of no device", "", nobodys, err)
			return nil
		})
	},

	"AThousandDeviceCertificatesAreStoredAndFoundAtOnce": func(f *fixture) {
		const n = 1000
		var names, keys, numbers []string
		for i := range n {
			names, keys, numbers = append(names, fmt.Sprint("device ", i)), append(keys, fmt.Sprint("key of device ", i)), append(numbers, fmt.Sprintf("%04d", i))
		}
		expect := func(r *store.Reader) {
			byBoth, err := r.DevicesLike("ca", "f-ca", append(names, "none"), append(keys, "none"))
			byID, err2 := r.CertificatesByID(append(numbers, "none", numbers[0]))
			if len(byBoth) != n || len(byID) != n || err != nil || err2 != nil {
				f.Errorf("%d are found by device and device key, and %d by id (%v, %v)", len(byBoth), len(byID), err, err2)
			}
			for i, c := range byBoth {
				if c.Device != names[i] || !reflect.DeepEqual(byID[c.ID], c) {
					f.Errorf("in place %d is %+v", i, c)
				}
			}
		}
		f.update(func(tx *store.Tx) error {
			for i, name := range names {
				if err := saveDevice(tx, law.CertificateID(numbers[i]), name, unchanged); err != nil {
					return err
				}
			}
			expect(&tx.Reader)
			return nil
		})
		f.view(func(r *store.Reader) error { expect(r); return nil })
	},

	"CertificatesAreReadByTheirIDs": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			return errors.Join(saveDevice(tx, "1", "a", issued), saveDevice(tx, "2", "b", unchanged), saveCertificate(tx, certificate(tx, "3"), audit.CertificateAccepted))
		})
		f.view(func(r *store.Reader) error {
			for asked, want := range map[string]string{"1 2": "1 2", "3 1": "1 3", "2 none 2": "2", "none": "", "": ""} {
				found, err := r.CertificatesByID(strings.Fields(asked))
				if got := slices.Sorted(maps.Keys(found)); strings.Trim(fmt.Sprint(got), "[]") != want || err != nil {
					f.Errorf("asked for %q: found are %v (%v)", asked, got, err)
				}
			}
			return nil
		})
	},

	"DeviceCertificatesAreListedPageByPage": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			of := func(operation law.OperationID, issuer law.KeyID, serial string) func(*law.Certificate) {
				return func(c *law.Certificate) {
					c.Operation, c.Issuer, c.Serial = operation, issuer, cmp.Or(serial, c.Serial)
				}
			}
			return errors.Join(
				saveDevice(tx, "1", "a", unchanged), saveDevice(tx, "2", "b", of("other lot", "ca", "")), saveDevice(tx, "3", "b", inState(law.CertificateWithheld)),
				saveDevice(tx, "4", "a", of("other lot", "ca", "")), saveDevice(tx, "5", "a", of(lot, "other", "01")), saveDevice(tx, "6", "a", revoked),
				saveDevice(tx, "7", "", func(c *law.Certificate) { c.Key = "fw" }), // of a key of the server
			)
		})
		f.view(func(r *store.Reader) error {
			for _, c := range []struct {
				query store.DeviceQuery
				pages []string // of 2
			}{
				{store.DeviceQuery{Operation: lot}, []string{"1 3", "5 6", ""}},
				{store.DeviceQuery{Operation: "other lot"}, []string{"2 4", ""}},
				{store.DeviceQuery{Operation: "none"}, []string{""}},
				{store.DeviceQuery{Issuer: "ca", Device: "a"}, []string{"1 4", "6"}},
				{store.DeviceQuery{Issuer: "other", Device: "a"}, []string{"5"}},
				{store.DeviceQuery{Issuer: "ca", Serial: "01"}, []string{"1"}},
				{store.DeviceQuery{Issuer: "other", Serial: "01"}, []string{"5"}},
				{store.DeviceQuery{Issuer: "ca", Serial: "07"}, []string{""}},
				{store.DeviceQuery{}, []string{""}}, {store.DeviceQuery{Issuer: "ca"}, []string{""}},
				{store.DeviceQuery{Device: "a"}, []string{""}}, {store.DeviceQuery{Serial: "01"}, []string{""}},
			} {
				c.query.Limit = 2
				for _, want := range c.pages {
					page, err := r.DeviceCertificates(c.query)
					f.expectFound(fmt.Sprintf("%+v", c.query), want, page, err)
					if len(page) > 0 {
						c.query.After = page[len(page)-1].ID
					}
				}
			}
			return nil
		})
	},

	"ALotIsCounted": func(f *fixture) {
		refusal := func(o law.OperationID, k law.KeyID) audit.Event {
			return audit.Event{Type: audit.OrderRefused, Operation: o, Key: k, Refusal: law.WrongState, Reason: "not now"}
		}
		f.update(func(tx *store.Tx) error {
			return errors.Join(
				saveDevice(tx, "1", "a", inState(law.CertificateFailed)), saveDevice(tx, "2", "b", revoked), saveDevice(tx, "3", "c", issued),
				saveDevice(tx, "4", "d", issued), saveDevice(tx, "5", "e", inState(law.CertificateWithheld)), saveDevice(tx, "6", "f", unchanged),
				saveDevice(tx, "7", "g", func(c *law.Certificate) { issued(c); c.Issuer = "other" }),
				saveDevice(tx, "8", "h", func(c *law.Certificate) { revoked(c); c.Operation = "other lot" }),
				saveDevice(tx, "9", "", func(c *law.Certificate) { issued(c); c.Key = "fw" }), // of a key of the server
				tx.Append(refusal(lot, "ca"), refusal(lot, "other"), refusal("other lot", "ca"), refusal(lot, "ca"), refusal("", "ca")),
			)
		})
		f.view(func(r *store.Reader) error {
			for _, c := range []struct {
				operation                law.OperationID
				issuer                   law.KeyID
				issued, revoked, refused int
				first, last              law.CertificateID
			}{
				{lot, "ca", 3, 1, 2, "2", "4"}, {lot, "other", 1, 0, 1, "7", "7"}, {"other lot", "ca", 1, 1, 1, "8", "8"},
				{"other lot", "other", 0, 0, 0, "", ""}, {"", "ca", 0, 0, 0, "", ""}, {lot, "", 0, 0, 0, "", ""},
			} {
				l, err := r.Lot(c.operation, c.issuer)
				if l.Issued != c.issued || l.Revoked != c.revoked || l.Refused != c.refused || l.First.ID != c.first || l.Last.ID != c.last || err != nil {
					f.Errorf("the lot is %+v (%v), want %+v", l, err, c)
				}
			}
			return nil
		})
	},

	"DeviceCertificatesAreFoundInTheBatchThatWritesThem": func(f *fixture) {
		var c law.Certificate
		see := func(what string) func(*store.Tx) error {
			return func(tx *store.Tx) error { f.expectKnown(&tx.Reader, c, true); return say(tx, what) }
		}
		errs := f.batch(
			func(tx *store.Tx) error {
				c = deviceCertificate(tx, "1", "a")
				f.expectKnown(&tx.Reader, c, false)
				if err := saveCertificate(tx, c, audit.OrderAccepted); err != nil {
					return err
				}
				return see("a")(tx)
			},
			see("b"),
			func(tx *store.Tx) error { issued(&c); return saveCertificate(tx, c, audit.OrderSigned) },
			func(tx *store.Tx) error { revoked(&c); return saveCertificate(tx, c, audit.CertificateRevoked) },
			see("c"),
		)
		if err := errors.Join(errs...); err != nil {
			f.Error(err)
		}
		if batches := f.batchesOf("a", "b", "c"); len(batches) != 1 {
			f.Errorf("%d batches, want 1", len(batches))
		}
		f.view(func(r *store.Reader) error { f.expectKnown(r, c, true); return nil })
	},

	"ACertificateThatIsChangedTwiceInABatchIsStoredAsItWasLast": func(f *fixture) {
		var c law.Certificate
		f.update(func(tx *store.Tx) error {
			c = deviceCertificate(tx, "1", "a")
			return saveCertificate(tx, c, audit.OrderAccepted)
		})
		errs := f.batch(
			func(tx *store.Tx) error { issued(&c); return saveCertificate(tx, c, audit.OrderSigned) },
			func(tx *store.Tx) error {
				failed := c
				inState(law.CertificateFailed)(&failed)
				return errors.Join(saveCertificate(tx, failed, audit.OrderFailed), errOwn)
			},
			func(tx *store.Tx) error { revoked(&c); return saveCertificate(tx, c, audit.CertificateRevoked) },
		)
		if errs[0] != nil || !errors.Is(errs[1], errOwn) || errs[2] != nil {
			f.Errorf("the errors are %v", errs)
		}
		f.view(func(r *store.Reader) error { f.expectKnown(r, c, true); return nil })
	},

	// RFC 5280 section 4.1.2.2
	"OfTwoCertificatesOfABatchWithOneSerialNumberOneIsStored": func(f *fixture) {
		save := func(id law.CertificateID, serial string) func(*store.Tx) error {
			return func(tx *store.Tx) error {
				return saveDevice(tx, id, "device "+string(id), func(c *law.Certificate) { c.Serial = serial })
			}
		}
		errs := f.batch(saying("before"), save("1", "07"), save("2", "07"), save("3", "08"), saying("after"))
		if errs[0] != nil || errs[1] != nil || errs[2] == nil || errs[3] != nil || errs[4] != nil {
			f.Errorf("the errors are %v", errs)
		}
		if err := f.try(func(tx *store.Tx) error { return errors.Join(save("4", "09")(tx), save("5", "09")(tx)) }); err == nil {
			f.Error("one closure has stored two with one serial number")
		}
		f.expectSaid("before", "after")
		f.view(func(r *store.Reader) error {
			all, err := r.DeviceCertificates(store.DeviceQuery{Operation: lot, Limit: 9})
			f.expectFound("the lot", "1 3", all, err)
			return nil
		})
	},

	"OfAClosureThatFailsNoCertificateIsLeft": func(f *fixture) {
		c := law.Certificate{}
		none := func(tx *store.Tx) error { f.expectKnown(&tx.Reader, c, false); return nil }
		for name, fails := range map[string]func(*store.Tx) error{
			"nothing was sent": func(*store.Tx) error { return errOwn },
			"it was sent":      func(tx *store.Tx) error { f.expectKnown(&tx.Reader, c, true); return errOwn },
			"a panic":          func(tx *store.Tx) error { panic("of the test") },
		} {
			errs := f.batch(
				saying(name),
				func(tx *store.Tx) error {
					c = deviceCertificate(tx, "1", "a")
					issued(&c)
					return errors.Join(saveCertificate(tx, c, audit.OrderSigned), fails(tx))
				},
				none,
				saying(name),
			)
			if errs[0] != nil || errs[1] == nil || errs[2] != nil || errs[3] != nil {
				f.Errorf("%s: the errors are %v", name, errs)
			}
			f.view(func(r *store.Reader) error { f.expectKnown(r, c, false); return nil })
		}
		f.update(func(tx *store.Tx) error { // its serial number is free
			return saveDevice(tx, "2", "a", func(other *law.Certificate) { other.Serial = c.Serial })
		})
	},

	"ACertificateWithoutItsEventIsNotStoredThoughTheClosureSaysItSucceeded": func(f *fixture) {
		before := f.db.Head()
		var c law.Certificate
		for range 2 {
			err := f.try(func(tx *store.Tx) error {
				c = deviceCertificate(tx, "1", "a")
				_ = tx.SaveCertificate(c, audit.Event{Type: "unknown"})
				return nil
			})
			if err == nil {
				f.Error("it was stored")
			}
		}
		f.expectNothing(before)
		f.view(func(r *store.Reader) error { f.expectKnown(r, c, false); return nil })
	},
}

package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// certificate is a new certificate of key fw that key root signs in a session.
func certificate(tx *store.Tx, id law.CertificateID) law.Certificate {
	return law.Certificate{
		ID: id, Key: "fw", Fingerprint: "f-fw", Issuer: "root", IssuerFingerprint: "f-root", Serial: "0" + string(id), TBS: []byte("tbs"),
		NotBefore: tx.Now(), NotAfter: tx.Now().Add(hour), Session: "s-1", Accepted: tx.Now(), State: law.CertificateRunning,
		Lease: tx.Now().Add(law.AttemptLease),
	}
}

func saveCertificate(tx *store.Tx, c law.Certificate, of audit.Type) error {
	return tx.SaveCertificate(c, audit.Event{Type: of, Key: c.Key, Certificate: audit.CertificateOf(c)})
}

func (f *fixture) expectCertificates(want ...law.Certificate) {
	f.Helper()
	f.view(func(r *store.Reader) error {
		got, err := r.CertificatesOf("fw")
		if !reflect.DeepEqual(got, want) {
			f.Errorf("stored are\n%+v, want\n%+v", got, want)
		}
		return err
	})
}

func ids(all []law.Certificate, err error) (string, error) {
	text := ""
	for _, c := range all {
		text += string(c.ID) + " "
	}
	return text, err
}

var certificates = map[string]func(*fixture){
	"ACertificateIsReadAsItWasStored": func(f *fixture) {
		var c, imported law.Certificate
		f.update(func(tx *store.Tx) error {
			c = certificate(tx, "1")
			imported = certificate(tx, "2")
			imported.Issuer, imported.IssuerFingerprint, imported.State, imported.Lease = "", "", law.CertificateImported, tx.Now()
			imported.DER, imported.Chain = []byte("der"), [][]byte{{0x30, 1, 0}, {0x30, 2, 5, 0}}
			return errors.Join(saveCertificate(tx, c, audit.CertificateAccepted), saveCertificate(tx, imported, audit.CertificateImported))
		})
		f.expectCertificates(c, imported)
		f.clock.Step(hour)
		f.update(func(tx *store.Tx) error {
			c.State, c.DER, c.Settled = law.CertificateIssued, []byte("der"), tx.Now()
			c.Revocation = law.Revocation{At: tx.Now(), By: "anna", Code: "superseded", Reason: "a new one"}
			return saveCertificate(tx, c, audit.CertificateRevoked)
		})
		f.expectCertificates(c, imported)
		f.reopen()
		f.expectCertificates(c, imported)
	},

	"CertificatesAreFoundByWhatIsAskedOfThem": func(f *fixture) {
		f.update(func(tx *store.Tx) error {
			var err error
			for i, change := range []func(*law.Certificate){
				func(*law.Certificate) {},
				func(c *law.Certificate) { c.Lease = c.Lease.Add(1e9) },
				func(c *law.Certificate) { c.Operation = "op" },
				func(c *law.Certificate) { c.State, c.Revocation.At = law.CertificateIssued, tx.Now() },
				func(c *law.Certificate) {
					c.State, c.Revocation.At, c.IssuerFingerprint = law.CertificateIssued, tx.Now(), "older"
				},
				func(c *law.Certificate) { c.Key = "other" },
			} {
				c := certificate(tx, law.CertificateID(fmt.Sprint(i)))
				change(&c)
				err = errors.Join(err, saveCertificate(tx, c, audit.CertificateAccepted))
			}
			return err
		})
		f.view(func(r *store.Reader) error {
			for want, list := range map[string]func() ([]law.Certificate, error){
				"0 5 ": func() ([]law.Certificate, error) {
					return r.RunningCertificates(f.clock.Now().Add(law.AttemptLease), 9)
				},
				"0 ": func() ([]law.Certificate, error) {
					return r.RunningCertificates(f.clock.Now().Add(law.AttemptLease), 1)
				},
				"4 5 ":         func() ([]law.Certificate, error) { return r.Certificates("", "3", 9) },
				"1 2 ":         func() ([]law.Certificate, error) { return r.Certificates("fw", "0", 2) },
				"0 1 2 3 4 5 ": func() ([]law.Certificate, error) { return r.Certificates("", "", 9) },
				"0 1 2 3 4 ":   func() ([]law.Certificate, error) { return r.CertificatesOf("fw") },
			} {
				if got, err := ids(list()); got != want || err != nil {
					f.Errorf("got %q (%v), want %q", got, err, want)
				}
			}
			_, known, err := r.Certificate("none")
			if known {
				f.Error("a certificate was found that is not there")
			}
			return err
		})
	},

	"AnIssuerHasEachSerialNumberOnce": func(f *fixture) {
		f.update(func(tx *store.Tx) error { return saveCertificate(tx, certificate(tx, "1"), audit.CertificateAccepted) })
		err := f.try(func(tx *store.Tx) error {
			c := certificate(tx, "2")
			c.Serial = "01"
			return saveCertificate(tx, c, audit.CertificateAccepted)
		})
		if err == nil {
			f.Error("it was stored")
		}
		f.view(func(r *store.Reader) error {
			if got, err := ids(r.CertificatesOf("fw")); got != "1 " {
				return fmt.Errorf("stored are %q: %w", got, err)
			}
			return nil
		})
	},

	"RevokedCertificatesAreListedInTheOrderInWhichTheyWereRevoked": func(f *fixture) {
		var at time.Time
		f.update(func(tx *store.Tx) error {
			at = tx.Now()
			var err error
			for id, after := range map[law.CertificateID]time.Duration{"1": 2, "2": 0, "3": 1, "4": 1, "5": -1, "6": 1} {
				c := certificate(tx, id)
				c.Serial = "5e" + string(id)
				if after >= 0 {
					c.Revocation = law.Revocation{At: at.Add(after * time.Millisecond), By: "anna", Code: "superseded", Reason: "a new one"}
				}
				if id == "6" {
					c.IssuerFingerprint = "older"
				}
				err = errors.Join(err, saveCertificate(tx, c, audit.CertificateAccepted))
			}
			return err
		})
		want := []store.Revoked{
			{Serial: "5e2", At: at, Code: "superseded"}, {Serial: "5e3", At: at.Add(time.Millisecond), Code: "superseded"},
			{Serial: "5e4", At: at.Add(time.Millisecond), Code: "superseded"}, {Serial: "5e1", At: at.Add(2 * time.Millisecond), Code: "superseded"},
		}
		f.view(func(r *store.Reader) error {
			got, err := r.RevokedSince("root", "f-root", nil)
			for known := range want {
				more, wrong := r.RevokedSince("root", "f-root", want[:known+1])
				if !reflect.DeepEqual(more, want) {
					f.Errorf("with %d known, revoked are %+v, want %+v", known+1, more, want)
				}
				err = errors.Join(err, wrong)
			}
			n, wrong := r.CountRevokedBy("root", "f-root")
			if !reflect.DeepEqual(got, want) || n != len(want) {
				f.Errorf("revoked are %d: %+v, want %+v", n, got, want)
			}
			return errors.Join(err, wrong)
		})
	},

	"ARevocationListIsReadAsItWasStored": func(f *fixture) {
		list := law.RevocationList{Key: "ca"}
		expect := func() {
			f.view(func(r *store.Reader) error {
				got, err := r.RevocationList("ca")
				if !reflect.DeepEqual(got, list) {
					f.Errorf("stored is %+v, want %+v", got, list)
				}
				state, wrong := r.RevocationListState("ca")
				got.DER = nil
				if !reflect.DeepEqual(state, got) {
					f.Errorf("without its DER it is %+v, want %+v", state, got)
				}
				return errors.Join(err, wrong)
			})
		}
		expect()
		f.update(func(tx *store.Tx) error {
			list.Number, list.Lease = 1, tx.Now().Add(law.AttemptLease)
			return tx.SaveRevocationList(list, audit.Event{Type: audit.RevocationListAccepted, Key: "ca"})
		})
		expect()
		f.update(func(tx *store.Tx) error {
			list = law.RevocationList{
				Key: "ca", Fingerprint: "f-ca", Number: 2, Issued: 1, DER: []byte("der"), Entries: 3, ThisUpdate: tx.Now(), NextUpdate: tx.Now().Add(hour),
			}
			return tx.SaveRevocationList(list, audit.Event{Type: audit.RevocationListIssued, Key: "ca"})
		})
		expect()
		f.update(func(tx *store.Tx) error {
			list.Number, list.Lease = 3, tx.Now().Add(law.AttemptLease)
			next := list
			next.DER = nil
			return tx.SaveRevocationList(next, audit.Event{Type: audit.RevocationListAccepted, Key: "ca"})
		})
		expect()
	},
}

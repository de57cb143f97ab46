package keyserver_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"testing"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func changeDevices(k *testkit.Kit, change func(*law.DeviceProfile)) {
	k.Helper()
	k.ReconfigureKey("ca-dev", func(key *law.Key) {
		p := *key.Devices
		p.Subject = append([]law.DeviceAttribute(nil), p.Subject...)
		change(&p)
		key.Devices = &p
	})
}

func renameCA(k *testkit.Kit) {
	k.Helper()
	k.ReconfigureKey("ca-dev", func(key *law.Key) {
		p := *key.Profile
		p.Subject.CommonName = "ca-renamed"
		key.Profile = &p
	})
	k.Certify("ca-dev")
}

func revokeCA(k *testkit.Kit) {
	k.Helper()
	own, err := k.Keyserver.CurrentCertificate(k.Context(), k.Caller("ada"), "ca-dev")
	if err == nil {
		_, err = k.Keyserver.RevokeCertificate(k.Context(), k.Caller("ada"), own.ID, "cACompromise", "lost")
	}
	if err != nil {
		k.Fatal(err)
	}
}

// Rule 12: the certificate is the one that was drawn up first. If it is none that a device could get now, no attempt is made.
func TestAFurtherAttemptIsMadeAtADeviceCertificateThatWouldBeDrawnUpTheSameToday(t *testing.T) {
	for name, is := range map[string]struct {
		meanwhile func(*testkit.Kit)
		want      law.RefusalKind
	}{
		"nothing":                             {func(*testkit.Kit) {}, ""},
		"the CA key's certificate is renewed": {func(k *testkit.Kit) { k.Certify("ca-dev") }, ""},
		"what becomes of duplicates changes": {func(k *testkit.Kit) {
			changeDevices(k, func(p *law.DeviceProfile) { p.Duplicates = law.DuplicatesSame })
		}, law.WrongState},
		"the CA key's certificate is revoked":       {revokeCA, law.Impossible},
		"the CA key gets another name":              {renameCA, law.WrongState},
		"the profile lets no such request through":  {func(k *testkit.Kit) { changeDevices(k, func(p *law.DeviceProfile) { p.Subject[1].Pattern = "NEW" }) }, law.WrongState},
		"certificates are valid for a shorter time": {func(k *testkit.Kit) { changeDevices(k, func(p *law.DeviceProfile) { p.Validity /= 2 }) }, law.WrongState},
		"certificates say where the list is": {func(k *testkit.Kit) {
			changeDevices(k, func(p *law.DeviceProfile) { p.CRLURL = "http://example.com/ca.crl" })
		}, law.WrongState},
		"there are no certificates for devices more": {func(k *testkit.Kit) { k.ReconfigureKey("ca-dev", func(key *law.Key) { key.Devices = nil }) }, law.WrongState},
	} {
		t.Run(name, func(t *testing.T) {
			k := factory(t, law.DuplicatesReplaced)
			o := k.Lot(10)
			mustIssue(k, o, "SN-1")
			request := k.DeviceRequest("SN-1", k.NewDeviceKey())
			k.Keystore.Fail(errors.New("no power"))
			_, err := k.IssueDevice(o, "again", request)
			testkit.Unavailable(t, "a failure", err, "keystore")
			k.Keystore.Hook(keystoretest.Hooks{})
			is.meanwhile(k)
			c, err := k.IssueDevice(o, "again", request)
			if is.want != "" {
				testkit.Refused(t, "the further attempt", err, is.want)
			} else if err != nil || c.DER == nil {
				t.Errorf("the further attempt: %v", err)
			}
		})
	}
}

func TestAFurtherAttemptIsMadeAtACertificateOfAKeyThatWouldBeDrawnUpTheSameToday(t *testing.T) {
	for name, is := range map[string]struct {
		meanwhile func(*testkit.Kit)
		want      law.RefusalKind
	}{
		"the CA key's certificate is renewed": {func(k *testkit.Kit) { k.Certify("ca-dev") }, ""},
		"the CA key's certificate is revoked": {revokeCA, law.Impossible},
		"the CA key gets another name":        {renameCA, law.WrongState},
	} {
		t.Run(name, func(t *testing.T) {
			k := responding(t)
			o := k.Lot(10)
			k.Keystore.Fail(errors.New("no power"))
			_, err := k.CertificateOrder(o, "status-ca", "again")
			testkit.Unavailable(t, "a failure", err, "keystore")
			k.Keystore.Hook(keystoretest.Hooks{})
			is.meanwhile(k)
			c, err := k.CertificateOrder(o, "status-ca", "again")
			if is.want != "" {
				testkit.Refused(t, "the further attempt", err, is.want)
			} else if err != nil || c.DER == nil {
				t.Errorf("the further attempt: %v", err)
			}
		})
	}
}

func TestAboveADeviceCertificateIsOneOfTheNameThatItIsBy(t *testing.T) {
	k := factory(t, law.DuplicatesSame)
	o := k.Lot(10)
	mustIssue(k, o, "SN-1")
	renameCA(k)
	mustIssue(k, o, "SN-2")
	page, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("olga"), keyserver.DeviceFilter{Operation: o.ID, Page: keyserver.Page{Limit: 5}})
	if err != nil || len(page.Certificates) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	for _, c := range page.Certificates {
		if len(c.Path) != 3 {
			t.Fatalf("the path of %s is %d long", c.Device, len(c.Path))
		}
		leaf, err := x509.ParseCertificate(c.Path[0])
		above, err2 := x509.ParseCertificate(c.Path[1])
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(leaf.RawIssuer, above.RawSubject) {
			t.Errorf("the certificate of %s is by %s, and above it is %s", c.Device, leaf.Issuer, above.Subject)
		}
	}
}

// AZ-05: that there are more would say that there is one.
func TestAListOfDeviceCertificatesDoesNotSayThatThereAreHiddenOnes(t *testing.T) {
	k := factory(t, law.DuplicatesRefused)
	c := mustIssue(k, k.Lot(10), "SN-1")
	for name, f := range map[string]keyserver.DeviceFilter{"device": {Key: "ca-dev", Device: "SN-1"}, "serial number": {Key: "ca-dev", Serial: c.Serial}} {
		f.Page.Limit = 1
		page, err := k.Keyserver.DeviceCertificates(k.Context(), k.Caller("eve"), f)
		if err != nil || len(page.Certificates) != 0 || page.Next != "" {
			t.Errorf("by %s eve sees %+v, %v", name, page, err)
		}
	}
}

// The URL of the revocation list that goes into FW keys' certificates is that of the CA key's own profile.
func TestTheCRLURLOfAnFWKeysCertificateIsAsWhenTheOperationWasCreated(t *testing.T) {
	k := responding(t)
	o := k.Lot(10)
	_, err := k.CertificateOrder(o, "fw-one", "before")
	if err != nil {
		t.Fatal(err)
	}
	k.ReconfigureKey("ca-dev", func(key *law.Key) {
		p := *key.Profile
		p.CRLURL = "http://evil.example/never-revoked.crl"
		key.Profile = &p
	})
	_, err = k.CertificateOrder(o, "fw-one", "after")
	testkit.Refused(t, "another list under the same operation", err, law.WrongState)
}

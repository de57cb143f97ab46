package webui_test

import (
	"net/http"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

func TestTheLotOfDevicesIsOnThePageOfItsOperation(t *testing.T) {
	s := newSiteOf(t, testkit.Options{World: testkit.Factory(law.DuplicatesRefused)})
	s.Certify("root")
	s.Certify("ca-dev")
	o := s.Lot(5)
	olga := s.signIn(t, "olga")
	expect(t, olga.open("/operations/"+string(o.ID)), http.StatusOK, "Devices, ca-dev 0 certificates issued of 5, 5 left",
		"ca-dev signs nothing that is sent.", "organization: Example", "serial-number: as the device asks, within [A-Z0-9-]+", "device keys: ECDSA-P256",
		"valid for 1825 days, for digitalSignature", "a device that has a certificate (told by its serial-number, or its key) is refused")
	for _, serial := range []string{"SN-1", "SN-2", "SN-3"} {
		if _, err := s.IssueDevice(o, serial, s.DeviceRequest(serial, s.NewDeviceKey())); err != nil {
			t.Fatal(err)
		}
		s.Clock.Step(time.Minute)
	}
	if _, err := s.IssueDevice(o, "again", s.DeviceRequest("SN-2", s.NewDeviceKey())); err == nil {
		t.Fatal("a device has two certificates")
	}
	expect(t, olga.open("/operations/"+string(o.ID)), http.StatusOK,
		"3 certificates issued of 5, 2 left; 60 an hour", "First SN-1", "Last SN-3", "1 order, such as", "certificate of device SN-2", "The certificates (CSV)")
	if _, err := s.Keyserver.Revoke(t.Context(), s.Caller("olga"), o.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	expect(t, olga.open("/operations/"+string(o.ID)), http.StatusOK, "the signed report (JSON), which ks device verify checks")
}

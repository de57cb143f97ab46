package webui

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/lotreport"
	"example.org/keyserver/internal/testkit"
)

func TestTheListAndTheReportOfALotAreSaved(t *testing.T) {
	r := newReader(t, testkit.Options{World: testkit.Factory(law.DuplicatesRefused)})
	r.Certify("root")
	r.Certify("ca-dev")
	o := r.Lot(3)
	for _, serial := range []string{"SN-1", "SN-2"} {
		if _, err := r.IssueDevice(o, serial, r.DeviceRequest(serial, r.NewDeviceKey())); err != nil {
			t.Fatal(err)
		}
	}
	at := "/operations/" + string(o.ID)
	list := r.has(r.ask("olga", at+"/certificates.csv", nil), http.StatusOK, "list", "ca-dev,SN-2,")
	if rows := strings.Split(list, "\r\n"); len(rows) != 4 {
		t.Errorf("the list is\n%s", list)
	}
	r.has(r.ask("olga", at+"/report.json", nil), http.StatusConflict, "too early", "signed when it has ended")
	if _, err := r.Keyserver.Revoke(t.Context(), r.Caller("olga"), o.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	a := r.ask("olga", at+"/report.json", nil)
	key, err := audit.NewVerifier(r.Keyserver.LogKey())
	if err != nil {
		t.Fatal(err)
	}
	report, err := lotreport.Verify(a.Body.Bytes(), key)
	if err != nil || report.State != law.Revoked || a.Header().Get("Content-Disposition") != `attachment; filename="report.json"` {
		t.Errorf("%v, %+v, %v", err, report, a.Header())
	}
	if err := report.CheckCertificates(bytes.NewReader(r.ask("olga", at+"/certificates.csv", nil).Body.Bytes())); err != nil {
		t.Error(err)
	}
	for _, file := range []string{"/certificates.csv", "/report.json"} {
		r.has(r.ask("eve", at+file, nil), http.StatusNotFound, file+" for eve")
	}
}

func TestThePageOfAKeySaysWhatItIssuesOrThatTheServerAloneUsesIt(t *testing.T) {
	r := newReader(t, testkit.Options{World: testkit.Responding})
	r.shows("olga", "/keys/ca-dev", "Device certificates", "device keys: ECDSA-P256", "Open operations")
	page := r.shows("ada", "/keys/status-ca", "by the server alone", "by the server, for certificate statuses")
	for _, none := range []string{"Open operations", "Device certificates", "Most uses"} {
		if strings.Contains(page, none) {
			t.Errorf("the page of a responder key says %q", none)
		}
	}
	for _, at := range []string{"/operations/new", "/operations"} {
		if page := r.shows("olga", at, "ca-dev"); strings.Contains(page, "status-ca") {
			t.Errorf("%s offers a key that no operation can name", at)
		}
	}
}

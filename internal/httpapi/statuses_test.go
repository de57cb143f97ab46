package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ocsp"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/pki"
	"example.org/keyserver/internal/testkit"
)

// newDevice is a kit with responders, and the certificate of a device.
func newDevice(t *testing.T) (*testkit.Kit, keyserver.Certificate) {
	k := testkit.NewWith(t, testkit.Options{World: testkit.Responding})
	k.CertifyResponders()
	c, err := k.IssueDevice(k.Lot(1), "1", k.DeviceRequest("SN-1", k.NewDeviceKey()))
	if err != nil {
		t.Fatal(err)
	}
	return k, c
}

// askOpenSSL asks for the status of a certificate with openssl ocsp, which verifies the answer from the ROOT certificate on.
// The clock of the test is not the one that openssl looks at.
func askOpenSSL(k *testkit.Kit, c keyserver.Certificate, args ...string) string {
	k.Helper()
	root := c.Path[len(c.Path)-1]
	out, err := k.OpenSSL(map[string][]byte{
		"cert.pem": testkit.PEM("CERTIFICATE", c.DER), "issuer.pem": testkit.PEM("CERTIFICATE", c.Path[1]), "root.pem": testkit.PEM("CERTIFICATE", root),
		"above.pem": testkit.PEM("CERTIFICATE", c.Path[1:]...),
	}, slices.Concat([]string{"ocsp"}, args, []string{
		"-issuer", "issuer.pem", "-cert", "cert.pem", "-url", k.URL + "/ocsp", "-CAfile", "root.pem", "-verify_other", "above.pem", "-no_check_time",
		"-validity_period", "1000000000",
	})...)
	if err != nil {
		k.Errorf("openssl: %v\n%s", err, out)
	}
	return out
}

func TestOpenSSLReadsAndVerifiesTheStatusOfACertificate(t *testing.T) {
	k, c := newDevice(t)
	says := func(what, out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: openssl does not say %q, but\n%s", what, w, out)
			}
		}
	}
	says("good", askOpenSSL(k, c), "Response verify OK", "cert.pem: good")
	says("by SHA-256, without a nonce", askOpenSSL(k, c, "-no_nonce", "-sha256"), "Response verify OK", "cert.pem: good")
	if _, err := k.Keyserver.RevokeDeviceCertificate(k.Context(), k.Caller("ada"), c.ID, "keyCompromise", "read out"); err != nil {
		t.Fatal(err)
	}
	says("revoked", askOpenSSL(k, c), "Response verify OK", "cert.pem: revoked", "Reason: keyCompromise")
	ca, err := k.Keyserver.CurrentCertificate(k.Context(), k.Caller("ada"), "ca-dev")
	if err != nil {
		t.Fatal(err)
	}
	says("of a CA key", askOpenSSL(k, ca), "Response verify OK", "cert.pem: good")
	says("in full", askOpenSSL(k, ca, "-resp_text"), "OCSP Response Status: successful", "CN = status-root", "OCSP No Check", "OCSP Signing")
}

// ask asks without a token, and reads the answer.
func ask(t *testing.T, k *testkit.Kit, r *http.Request, err error) (*http.Response, []byte) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	answer := k.Do("", r)
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, body
}

func TestAStatusIsAskedForWithPOSTAndWithGET(t *testing.T) {
	k, c := newDevice(t)
	described, err := pki.Describe(c.TBS)
	if err != nil {
		t.Fatal(err)
	}
	slashes, _ := new(big.Int).SetString("0fffffffffffffffffffff", 16)
	known, unknown := k.StatusRequest(described.SerialNumber, c.Path[1]), k.StatusRequest(slashes, c.Path[1])
	get := func(request []byte) (*http.Response, []byte) {
		r, err := http.NewRequest("GET", k.URL+"/ocsp/"+url.QueryEscape(base64.StdEncoding.EncodeToString(request)), nil)
		return ask(t, k, r, err)
	}
	post := func(request []byte, media string) (*http.Response, []byte) {
		r, err := http.NewRequest("POST", k.URL+"/ocsp", bytes.NewReader(request))
		if err == nil {
			r.Header.Set("Content-Type", media)
		}
		return ask(t, k, r, err)
	}
	answer, first := get(known)
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != api.MediaStatus || answer.Header.Get("Cache-Control") != "public, max-age=3600" {
		t.Errorf("GET: %d, %v", answer.StatusCode, answer.Header)
	}
	if got, err := ocsp.ParseResponse(first, nil); err != nil || got.Status != ocsp.Good {
		t.Errorf("GET: %v", err)
	}
	answer, second := post(known, api.MediaStatusRequest)
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Cache-Control") != "no-store" || !bytes.Equal(first, second) {
		t.Errorf("POST: %d, %v, the same %t", answer.StatusCode, answer.Header, bytes.Equal(first, second))
	}
	if encoded := base64.StdEncoding.EncodeToString(unknown); !strings.Contains(encoded, "//") {
		t.Fatalf("%s has no two slashes together", encoded)
	}
	if answer, body := get(unknown); answer.StatusCode != http.StatusOK || !bytes.Equal(body, pki.StatusUnauthorized()) || answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("GET of none: %d, %x, %v", answer.StatusCode, body, answer.Header)
	}
	// a proxy may have taken the percent-encoding away
	raw := ""
	for n := int64(1 << 40); !strings.Contains(raw, "/") || strings.Contains(raw, "//"); n++ {
		raw = base64.StdEncoding.EncodeToString(k.StatusRequest(big.NewInt(n), c.Path[1]))
	}
	r, err := http.NewRequest("GET", k.URL+"/ocsp/"+raw, nil)
	if answer, body := ask(t, k, r, err); answer.StatusCode != http.StatusOK || !bytes.Equal(body, pki.StatusUnauthorized()) {
		t.Errorf("GET with slashes: %d, %s", answer.StatusCode, body)
	}
	if answer, body := post([]byte("?"), api.MediaStatusRequest); answer.StatusCode != http.StatusOK || !bytes.Equal(body, pki.StatusMalformed()) {
		t.Errorf("POST of nonsense: %d, %x", answer.StatusCode, body)
	}
	if answer, _ := post(known, api.MediaJSON); answer.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("POST of another type: %d", answer.StatusCode)
	}
	if answer, _ := post(make([]byte, api.MaxStatusRequest+1), api.MediaStatusRequest); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("POST of too much: %d", answer.StatusCode)
	}
	if api.MaxStatusRequest != pki.MaxStatusRequest {
		t.Errorf("the API lets through %d bytes, and %d are read", api.MaxStatusRequest, pki.MaxStatusRequest)
	}
	for what, path := range map[string]string{"no Base64": "/ocsp/MA%3D", "nothing": "/ocsp/"} {
		r, err := http.NewRequest("GET", k.URL+path, nil)
		if answer, _ := ask(t, k, r, err); answer.StatusCode < 400 || answer.StatusCode >= 500 {
			t.Errorf("GET of %s: %d", what, answer.StatusCode)
		}
	}
	k.Clock.Step(law.StatusRenewal / 2)
	if answer, _ := get(known); answer.Header.Get("Cache-Control") != "public, max-age=1800" {
		t.Errorf("half an hour later: %v", answer.Header)
	}
}

// CE-05: whoever announces a request and does not send it takes nobody's room.
func TestThoseWhoSendTheirRequestSlowlyKeepNobodyFromAsking(t *testing.T) {
	k, c := newDevice(t)
	const slow = 260 // more than may be under way, and than are served at once
	for i := range slow {
		conn, err := net.Dial("tcp", strings.TrimPrefix(k.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST /ocsp HTTP/1.1\r\nHost: k\r\nContent-Type: application/ocsp-request\r\nContent-Length: 70\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") { // now it is waited for
			t.Fatalf("slow request %d: %q, %v", i, line, err)
		}
	}
	answer, err := http.Post(k.URL+api.PathStatuses, api.MediaStatusRequest, bytes.NewReader(k.RequestFor(c)))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("status %d", answer.StatusCode)
	}
}

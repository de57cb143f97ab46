package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/httpapi"
	"example.org/keyserver/internal/keystore/software"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
	"example.org/keyserver/internal/testkit"
)

func TestAServerSaysWhoAndWhereItIsAndStopsWithoutLeavingAnythingBehind(t *testing.T) {
	s := newSite(t)
	s.edit("keyserver.yaml", "url:", "metrics-listen: 127.0.0.2:0\nurl:")
	first := s.must(s.init())
	v := s.serve()
	for _, word := range []string{"server", "log"} {
		if v.said[word] == "" || !strings.Contains(first.stdout, v.said[word]) {
			t.Errorf("%s is %q; init has said:\n%s", word, v.said[word], first.stdout)
		}
	}
	if v.said["DEVELOPMENT"] == "" || !strings.Contains(v.log.String(), warning) {
		t.Error("it does not say that it is in development mode")
	}
	if status, body := v.get(v.said["api"] + "/api/ready"); status != http.StatusOK || !strings.Contains(body, `"ready":true`) {
		t.Errorf("readiness: %d %s", status, body)
	}
	if _, body := v.get(v.said["api"] + "/api/version"); !strings.Contains(body, v.said["server"]) || !strings.Contains(body, `"mode":"development"`) {
		t.Errorf("version: %s", body)
	}
	if _, body := v.get(v.said["metrics"] + "/metrics"); !strings.Contains(body, "keyserver_http_requests_total") {
		t.Errorf("metrics: %s", body)
	}
	if status, _ := v.get(v.said["api"] + "/metrics"); status != http.StatusNotFound {
		t.Errorf("the API's listener answers for metrics with %d", status)
	}
	v.sign(v.order("fw-dev", "release"), "image")
	if code := v.end(); code != exitOK {
		t.Errorf("asked to stop, it ended with %d\n%s", code, v.log)
	}
	if got := s.names("data"); got != s.files("keys keyserver.db keyserver.db.lock log.key") {
		t.Errorf("it leaves %s behind", got)
	}
}

func TestASecondServerOnTheSameFileIsRefused(t *testing.T) {
	s := newSQLiteSite(t)
	s.quickKeystore()
	s.must(s.init())
	v := s.serve()
	s.refused(s.run("serve"), exitFailed, "another keyserver serves this database")
	s.refused(s.init(), exitFailed, "another keyserver serves this database")
	if code := v.end(); code != exitOK {
		t.Errorf("the first one ended with %d", code)
	}
	s.serve() // the lock is free again
}

func TestWhoWaitsForAChangeIsAnsweredWhenTheServerStops(t *testing.T) {
	s := newSite(t)
	s.edit("keyserver.yaml", "url:", "metrics-listen: 127.0.0.2:0\nurl:")
	s.quickKeystore()
	s.must(s.init())
	v := s.serve()
	o := v.order("fw-prod", "release")
	answer := make(chan error, 1)
	olga := v.as("olga")
	go func() {
		_, err := olga.WaitChange(t.Context(), o.ID, o.Revision, time.Minute)
		answer <- err
	}()
	until(t, "somebody waits", func() bool {
		_, metrics := v.get(v.said["metrics"])
		return strings.Contains(metrics, "keyserver_http_requests_in_flight 1")
	})
	if code := v.end(); code != exitOK {
		t.Errorf("it ended with %d\n%s", code, v.log)
	}
	if err := <-answer; err != nil {
		t.Errorf("who waited got: %v", err)
	}
	if strings.Contains(v.log.String(), "cut off") {
		t.Errorf("a request was cut off:\n%s", v.log)
	}
}

func TestARequestThatTakesTooLongIsCutOffWhenTheServerStops(t *testing.T) {
	begun := make(chan struct{})
	slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var said lockedBuffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	l := listener{"api", httpapi.NewServer(slow, nil, log), socket}
	address := l.address() // before Serve gives the server a TLS configuration of its own
	served, asked := make(chan error, 1), make(chan error, 1)
	go func() { served <- l.serve() }()
	go func() {
		_, err := http.Get(address)
		asked <- err
	}()
	select {
	case <-begun:
	case err := <-asked:
		t.Fatalf("the request did not reach the server: %v", err)
	}
	over, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if err := l.stop(over, log); err != nil {
		t.Error(err)
	}
	if err := <-asked; err == nil {
		t.Error("the request was answered")
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("serving ended with: %v", err)
	}
	if !strings.Contains(said.String(), "requests were cut off") {
		t.Errorf("it says: %s", &said)
	}
}

func TestAListenerThatFailsEndsTheServer(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		err = socket.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	err = run(t.Context(), testkit.New(t).Keyserver, nil, []listener{{"api", httpapi.NewServer(http.NotFoundHandler(), nil, log), socket}}, log)
	if err == nil || !strings.Contains(err.Error(), "serving api: ") {
		t.Errorf("it ended with: %v", err)
	}
}

func TestTLSIsServed(t *testing.T) {
	s := newKeyserver(t)
	roots := s.certificate("server.pem", "server.key")
	s.edit("keyserver.yaml", "url: http:", "tls: {certificate-file: server.pem, key-file: server.key}\nurl: https:")
	v := s.serve()
	if !strings.HasPrefix(v.said["api"], "https://127.0.0.1:") {
		t.Fatalf("it listens on %s", v.said["api"])
	}
	v.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	if status, body := v.get(v.said["api"] + "/api/ready"); status != http.StatusOK {
		t.Errorf("over TLS: %d %s", status, body)
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}}
	if _, err := old.Get(v.said["api"] + "/api/health"); err == nil {
		t.Error("TLS 1.1 is served")
	}
	answer, err := http.Get(strings.Replace(v.said["api"], "https", "http", 1) + "/api/health")
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered with %d", answer.StatusCode)
	}
	_ = answer.Body.Close()
}

// certificate makes a certificate for 127.0.0.1 and returns what trusts it.
func (s *site) certificate(certificateFile, keyFile string) *x509.CertPool {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "keyserver"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		s.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.Fatal(err)
	}
	s.write(certificateFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s.write(keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.read(certificateFile)))
	return roots
}

// A start that is refused says why, changes nothing, and keeps nothing locked.
func TestAStartIsRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	base, other := newKeyserver(t), newKeyserver(t)
	size := base.logSize()
	for name, c := range map[string]struct {
		spoil func(*site)
		words []string
	}{
		"plain HTTP beyond loopback": {
			func(s *site) {
				s.edit("keyserver.yaml", "mode: development\nlisten: 127.0.0.1:0\nurl: http://127.0.0.1:8443",
					"mode: production\nlisten: 0.0.0.0:8443\nurl: https://keyserver.example.com")
			},
			[]string{"keyserver.yaml: tls: a server that listens on other than loopback needs a certificate"},
		},
		"development beyond loopback": {
			func(s *site) { s.edit("keyserver.yaml", "listen: 127.0.0.1:0", "listen: 0.0.0.0:0") },
			[]string{"in development mode every listener is"},
		},
		"an issuer without TLS in production": {
			func(s *site) {
				s.edit("keyserver.yaml", "mode: development\nlisten: 127.0.0.1:0", "mode: production\nlisten: 127.0.0.1:8443")
			},
			[]string{"issuer http://127.0.0.1:", "reached by https alone"},
		},
		"the port is taken": {
			func(s *site) { s.edit("keyserver.yaml", "127.0.0.1:0", taken.Addr().String()) },
			[]string{"listening: listen tcp " + taken.Addr().String(), "address already in use"},
		},
		"the port of the metrics is taken": {
			func(s *site) { s.edit("keyserver.yaml", "url:", "metrics-listen: "+taken.Addr().String()+"\nurl:") },
			[]string{"listening for metrics: listen tcp " + taken.Addr().String()},
		},
		"a wrong passphrase": {
			func(s *site) { s.write("passphrase", "correct horse battery stable\n") },
			[]string{"keystore software: opening keystore", "the passphrase is wrong"},
		},
		"no passphrase": {
			func(s *site) { s.remove("passphrase") },
			[]string{"keystore software: passphrase: reading a secret from file", "no such file"},
		},
		"a passphrase that others may read": {
			func(s *site) { s.chmod("passphrase", 0o644) },
			[]string{"others than its owner may use it", "chmod 600"},
		},
		"no keystore": {
			func(s *site) { s.remove("data/keys") },
			[]string{"keystore software: opening keystore", "no such file", "a further server needs a copy of the first one's directory"},
		},
		"no log key": {
			func(s *site) { s.remove("data/log.key") },
			[]string{"log key: reading a secret from file", "no such file"},
		},
		"a damaged log key": {
			func(s *site) { s.write("data/log.key", "PRIVATE+KEY+keyserver/x+12345678+AAAA\n") },
			[]string{"log key from file", "it is not as it was made"},
		},
		"the log key of another server": {
			func(s *site) { s.write("data/log.key", other.read("data/log.key")) },
			[]string{"the log key is that of keyserver/", "and the database that of keyserver/"},
		},
		"the keystore of another server": {
			func(s *site) {
				s.remove("data/keys")
				s.copy(other.path("data/keys"), s.path("data/keys"))
			},
			[]string{"key fw-prod: its key pair fw-prod.1 in keystore software has the fingerprint", "key fw-dev"},
		},
		"a key pair that is gone": {
			func(s *site) { s.remove("data/keys/fw-prod.1.key") },
			[]string{"key fw-prod: keystore software does not have its key pair fw-prod.1"},
		},
		"a key of the TLS certificate that is gone": {
			func(s *site) {
				s.certificate("server.pem", "server.key")
				s.remove("server.key")
				s.edit("keyserver.yaml", "url: http:", "tls: {certificate-file: server.pem, key-file: server.key}\nurl: https:")
			},
			[]string{"reading the TLS certificate: open ", "server.key: no such file"},
		},
		"no database": {
			(*site).loseDatabase,
			[]string{"opening database ", "the database is not initialised; run keyserver init"},
		},
		"no configuration file": {
			func(s *site) { s.remove("keyserver.yaml") },
			[]string{"reading configuration: open ", "keyserver.yaml: no such file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := base.twin(t)
			c.spoil(s)
			s.refused(s.run("serve"), exitFailed, c.words...)
			if name == "no database" {
				return
			}
			if got := s.logSize(); got != size {
				t.Errorf("the audit log has %d entries, want %d as before", got, size)
			}
		})
	}
}

func (s *site) chmod(name string, mode os.FileMode) {
	s.Helper()
	if err := os.Chmod(s.path(name), mode); err != nil {
		s.Fatal(err)
	}
}

// A keystore that can be had, in which one key pair is damaged, does not keep the others from signing.
func TestADamagedKeyPairIsShownByReadinessAndDoesNotStopTheStart(t *testing.T) {
	s := newKeyserver(t)
	good := s.read("data/keys/fw-prod.1.key")
	s.write("data/keys/fw-prod.1.key", good[:len(good)-1])
	v := s.serve()
	if status, body := v.get(v.said["api"] + "/api/ready"); status != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"keystore software","ok":false}`) {
		t.Errorf("readiness: %d %s", status, body)
	}
	if !strings.Contains(v.log.String(), "fw-prod.1.key: it was changed or cut off") {
		t.Errorf("the log does not say why:\n%s", v.log)
	}
	v.sign(v.order("fw-dev", "release"), "image")
	s.write("data/keys/fw-prod.1.key", good)
	if status, body := v.get(v.said["api"] + "/api/ready"); status != http.StatusOK {
		t.Errorf("readiness after the repair: %d %s", status, body)
	}
}

// A key pair of the same name that another made does not sign in place of the configured one.
func TestAKeyPairThatWasReplacedIsRefused(t *testing.T) {
	s := newKeyserver(t)
	s.remove("data/keys/fw-dev.1.key")
	keys, err := software.Open(s.path("data/keys"), []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Generate(t.Context(), "fw-dev", 1, law.Ed25519); err != nil {
		t.Fatal(err)
	}
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	s.refused(s.run("serve"), exitFailed, "key fw-dev: its key pair fw-dev.1 in keystore software has the fingerprint")
}

// logSize is how many entries the audit log has. Nobody may be serving it.
func (s *site) logSize() int64 {
	s.Helper()
	db, err := store.Open(s.Context(), s.at, store.Options{Clock: s.clock.Now, Serve: true})
	if err != nil {
		s.Fatal(err)
	}
	size := db.Head().Size()
	if err := db.Close(); err != nil {
		s.Fatal(err)
	}
	return size
}

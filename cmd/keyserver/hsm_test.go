package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/keystore/hsm/hsmtest"
)

// withHSM gives the site a SoftHSM token, as the keystore hsm, which holds fw-dev; fw-prod stays in software.
func (s *site) withHSM(key string) hsmtest.Token {
	s.Helper()
	token := hsmtest.NewSoftHSM(s)
	s.write("pin", token.PIN+"\n")
	s.edit("keyserver.yaml", "keystores:\n", "log: {level: debug}\nkeystores:\n  - name: hsm\n    pkcs11:\n"+
		"      module: "+token.Module+"\n      token: "+token.Label+"\n      pin: {file: pin}\n      worker: "+hsmtest.Worker(s)+"\n"+
		"      environment: {SOFTHSM2_CONF: "+token.Environment["SOFTHSM2_CONF"]+"}\n")
	fields := strings.SplitAfter(s.read("bootstrap.yaml"), "keyid: fw-dev")
	s.write("bootstrap.yaml", fields[0]+strings.Replace(fields[1], "keystore: software", "keystore: hsm"+key, 1))
	return token
}

func TestCF03_AServerSignsWithAKeyInAnHSMAndOutlivesIt(t *testing.T) {
	s := newSite(t)
	s.quickKeystore()
	token := s.withHSM("")
	first := s.must(s.init())
	v := s.serve()
	key, err := v.as("olga").Key(t.Context(), "fw-dev")
	if want := (api.KeyAttributes{Local: true, Sensitive: true, AlwaysSensitive: true, NeverExtractable: true}); err != nil || key.Attributes == nil || *key.Attributes != want {
		t.Errorf("the key is %+v with %+v (error %v)", key, key.Attributes, err)
	}
	if key, err := v.as("olga").Key(t.Context(), "fw-prod"); err != nil || key.Attributes != nil {
		t.Errorf("the software keystore says %+v (error %v)", key.Attributes, err)
	}
	o := v.order("fw-dev", "release")
	v.sign(o, "one")

	if err := os.Rename(token.Directory, token.Directory+"-away"); err != nil {
		t.Fatal(err)
	}
	status, body := v.get(v.said["api"] + "/api/ready")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"keystore hsm","ok":false}`) || !strings.Contains(body, `{"name":"keystore software","ok":true}`) {
		t.Errorf("without the token: %d %s", status, body)
	}
	order := api.NewSignOrder{KeyID: "fw-dev", Data: []byte("two")}
	if signed, err := v.as("olga").PlaceSignOrder(t.Context(), o.ID, "two", order); err == nil {
		t.Errorf("without the token: %+v", signed)
	}
	if err := os.Rename(token.Directory+"-away", token.Directory); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	until(t, "that it signs again", func() bool { // CF-03
		_, err := v.as("olga").PlaceSignOrder(t.Context(), o.ID, "two", order)
		return err == nil
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if status, body := v.get(v.said["api"] + "/api/ready"); status != http.StatusOK {
		t.Errorf("with the token: %d %s", status, body)
	}
	if code := v.end(); code != exitOK {
		t.Errorf("it ended with %d", code)
	}
	s.must(s.run("verify"))
	if all := first.stdout + first.stderr + v.log.String(); strings.Contains(all, token.PIN) {
		t.Errorf("the PIN is in\n%s", all)
	}
}

func TestAKeyPairThatCouldLeaveTheHSMIsAdoptedOnlyIfThatWasSaid(t *testing.T) {
	const adopt = "\n    adopt: pkcs11:token=keys;id=%07;type=private"
	for said, words := range map[string][]string{
		adopt:                                   {"key fw-dev: the private key of pkcs11:token=keys;id=%07;type=private could leave keystore hsm", "say extractable: allowed"},
		adopt + "\n    extractable: refused":    {"say extractable: allowed"},
		strings.Replace(adopt, "%07", "%08", 1): {"key fw-dev: adopting pkcs11:token=keys;id=%08;type=private in keystore hsm: no such key pair in this keystore"},
		adopt + "\n    extractable: allowed":    nil,
	} {
		s := newSite(t)
		s.quickKeystore()
		token := s.withHSM(said)
		s.edit("bootstrap.yaml", "algorithm: Ed25519\n    hash: SHA-512\n    schemes: [EdDSA]", "algorithm: ECDSA-P256\n    hash: SHA-256\n    schemes: [ECDSA]")
		if _, err := token.Tool(t.Context(), "pkcs11-tool", "--module", token.Module, "--token-label", token.Label, "--login", "--pin", token.PIN,
			"--keypairgen", "--key-type", "EC:prime256v1", "--label", "old", "--id", "07", "--extractable"); err != nil {
			t.Fatal(err)
		}
		if words != nil {
			s.refused(s.init(), exitFailed, words...)
			continue
		}
		s.must(s.init())
		v := s.serve()
		key, err := v.as("olga").Key(t.Context(), "fw-dev")
		if err != nil || key.Attributes == nil || !key.Attributes.Extractable || key.Attributes.NeverExtractable {
			t.Errorf("it is shown as %+v (error %v)", key.Attributes, err)
		}
		v.sign(v.order("fw-dev", "release"), "one")
		v.end()
		s.must(s.run("verify"))
	}
}

func TestAnHSMThatRefusesThePINDoesNotKeepTheServerFromServing(t *testing.T) {
	s := newSite(t)
	s.quickKeystore()
	s.withHSM("")
	s.must(s.init())
	s.write("pin", "31415926\n")
	s.edit("keyserver.yaml", "url:", "metrics-listen: 127.0.0.2:0\nurl:")
	v := s.serve()
	if status, body := v.get(v.said["api"] + "/api/ready"); status != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"keystore hsm","ok":false},{"name":"keystore software","ok":true}`) {
		t.Errorf("readiness: %d %s", status, body)
	}
	if _, metrics := v.get(v.said["metrics"]); !strings.Contains(metrics, `keyserver_ready{check="keystore hsm"} 0`) || !strings.Contains(metrics, `keyserver_ready{check="keystore software"} 1`) {
		t.Errorf("the metrics say\n%s", metrics)
	}
	if log := v.log.String(); !strings.Contains(log, "the token refuses the PIN") || strings.Contains(log, "31415926") || strings.Count(log, "keystore worker started") != 1 {
		t.Errorf("the log says\n%s", log)
	}
}

func TestTheCheckOfAConfigurationLooksForWhatAnHSMNeeds(t *testing.T) {
	s := newSite(t)
	token := s.withHSM("")
	s.must(s.run("config", "check"))
	s.remove("pin")
	s.edit("keyserver.yaml", token.Module, "/nowhere/p11.so")
	s.edit("keyserver.yaml", "worker: ", "worker: /nowhere")
	s.refused(s.run("config", "check"), exitFailed, "keystore hsm: pin: reading a secret from file", "keystore hsm: module: stat /nowhere/p11.so", "keystore hsm: worker: ")
	shown := s.run("config", "show").stdout
	for _, want := range []string{"pkcs11:\n", "module: /nowhere/p11.so", "sessions: 8", "SOFTHSM2_CONF: "} {
		if !strings.Contains(shown, want) {
			t.Errorf("config show does not say %q:\n%s", want, shown)
		}
	}
}

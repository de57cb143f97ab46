package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/identity/identitytest"
)

// hostile are texts of people who would like to write lines of the log, or to the terminal of who reads it.
var hostile = []string{
	"release\nlevel=ERROR msg=\"forged\"",
	"release\r\n{\"time\":\"2026-11-23T12:00:00Z\",\"level\":\"ERROR\",\"msg\":\"forged\"}",
	"\x1b[2J\x1b]8;;https://evil.example\x07click\x1b]8;;\x07",
	"release \u202egnp.exe", "re\u200blease", "release\u2028level=ERROR", "release\x00\u0085end",
	`<script>alert(1)</script>`, `" level=ERROR msg="forged`, "javascript:alert(1)",
}

// IN-04, and that no secret is ever written.
func TestIN04_TheLogHasOneLineForEachRecordAndNoSecret(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.edit("keyserver.yaml", "keystores:", "log: {level: debug, format: "+format+"}\nkeystores:")
			s.quickKeystore()
			first := s.must(s.init())
			v := s.serve()
			v.everything()
			if code := v.end(); code != exitOK {
				t.Errorf("the server ended with %d", code)
			}
			again := s.serve() // with what the first one left behind
			again.end()
			log := v.log.String() + again.log.String()
			if n := checkRecords(t, log, format); n < 30 {
				t.Errorf("the log has only %d records:\n%s", n, log)
			}
			if strings.Count(log, "forged") > 0 && strings.Contains(log, "\nlevel=ERROR") {
				t.Errorf("a record was forged:\n%s", log)
			}
			said := log + first.stdout + first.stderr + s.must(s.run("config", "show")).stdout + s.must(s.run("config", "check")).stdout + s.must(s.run("verify")).stdout
			for what, secret := range s.secrets() {
				if strings.Contains(said, secret) {
					t.Errorf("%s was written", what)
				}
			}
		})
	}
}

// everything does what can be done to a server, well and badly.
func (v *serving) everything() {
	v.Helper()
	o := v.order("fw-dev", "release")
	v.sign(o, "image")
	p := v.order("fw-prod", "another")
	alice, olga := v.as("alice"), v.as("olga")
	if _, err := alice.Approve(v.Context(), p.ID, p.Digest); err != nil {
		v.Fatal(err)
	}
	if _, err := olga.Approve(v.Context(), p.ID, p.Digest); err == nil {
		v.Fatal("olga may approve her own operation")
	}
	if _, err := olga.Revoke(v.Context(), p.ID, "no longer needed"); err != nil {
		v.Fatal(err)
	}
	if err := v.as("audrey").Export(v.Context(), io.Discard); err != nil {
		v.Fatal(err)
	}
	for i, text := range hostile {
		_, err := olga.CreateOperation(v.Context(), "hostile-"+string(rune('a'+i)), api.NewOperation{
			KeyUsageRestrictions: []api.KeyUsageRestriction{{KeyID: "fw-dev", MaxUsageCount: 1}}, Description: text, Context: text, ValidMS: 1000,
		})
		if problem, is := errors.AsType[*api.Problem](err); err != nil && (!is || problem.Status >= 500) {
			v.Errorf("described as %q, an operation gets: %v", text, err)
		}
		if _, err := olga.Revoke(v.Context(), o.ID, text); err != nil {
			if problem, is := errors.AsType[*api.Problem](err); !is || problem.Status >= 500 {
				v.Errorf("with the reason %q, revoking gets: %v", text, err)
			}
		}
	}
	v.badSignIns()
}

// badSignIns presents tokens that are no good, in hostile requests.
func (v *serving) badSignIns() {
	v.Helper()
	good := v.token("olga")
	tokens := []string{
		good[:len(good)-3] + "AAA", strings.ToUpper(good), v.token("mallory\nlevel=ERROR msg=forged"),
		v.idp.Token("JWT", identitytest.AccessToken(v.clock.Now(), "olga")),
		v.idp.Token("at+jwt", identitytest.AccessToken(v.clock.Now(), "olga").With("aud", "somebody-else")),
		"this-is-no-token-but-a-secret-nevertheless",
	}
	for _, token := range tokens {
		for _, path := range []string{"/api/whoami", "/api/keys/fw-dev%0Alevel=ERROR", "/api/nothing?access_token=" + token} {
			r, err := http.NewRequest("GET", v.said["api"]+path, nil)
			if err != nil {
				v.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("User-Agent", "level=ERROR msg=forged")
			r.Header.Set("Referer", token)
			answer, err := v.http.Do(r)
			if err != nil {
				v.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode < 400 || answer.StatusCode >= 500 {
				v.Errorf("%s with a bad token is answered with %d", path, answer.StatusCode)
			}
		}
	}
	// What is not HTTP at all.
	c, err := net.Dial("tcp", strings.TrimPrefix(v.said["api"], "http://"))
	if err != nil {
		v.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET /api/health\x00\x1b[2J\nlevel=ERROR msg=forged\r\nAuthorization: Bearer "+good+"\r\n\r\n")
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
	v.minted(tokens...)
}

// checkRecords checks that every line of the log is a record of its own, and counts them.
func checkRecords(t *testing.T, log, format string) int {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(log, "\n"), "\n")
	for _, line := range lines {
		for _, c := range line {
			if c < ' ' || c >= 0x7f && c < 0xa0 || slices.Contains([]rune{0x202e, 0x200b, 0x2028}, c) {
				t.Errorf("the log has the character %U in: %q", c, line)
			}
		}
		var record map[string]jsontext.Value
		switch {
		case format == "json" && json.Unmarshal([]byte(line), &record) != nil:
			t.Errorf("this is no record: %q", line)
		case format == "text" && !strings.HasPrefix(line, "time="):
			t.Errorf("this is no record: %q", line)
		}
	}
	return len(lines)
}

// secrets returns everything that must never be written, by what it is.
func (s *site) secrets() map[string]string {
	s.Helper()
	logKey := strings.TrimSpace(s.read("data/log.key"))
	parts := strings.SplitN(logKey, "+", 5) // the seed is base64, which has a plus of its own now and then
	all := map[string]string{
		"the passphrase": passphrase, "the log key": logKey, "the seed of the log key": parts[len(parts)-1], "a PEM private key": "PRIVATE KEY-----",
	}
	for i, token := range s.minted() {
		name := fmt.Sprint("token ", i)
		all[name] = token
		if part := strings.Split(token, "."); len(part) == 3 {
			all["the signature of "+name] = part[2]
		}
	}
	for _, id := range []string{"fw-prod", "fw-dev"} {
		for form, text := range privateKey(s, id) {
			all["the private key of "+id+", "+form] = text
		}
	}
	return all
}

// privateKey decrypts the private key of a key of the site, as docs of package software have it, and
// returns the ways in which it could be printed.
func privateKey(s *site, id string) map[string]string {
	s.Helper()
	var header struct {
		Iterations int    `json:"iterations"`
		Salt       []byte `json:"salt"`
	}
	if err := json.Unmarshal([]byte(s.read("data/keys/keystore.json")), &header); err != nil {
		s.Fatal(err)
	}
	master, err := pbkdf2.Key(sha256.New, passphrase, header.Salt, header.Iterations, 32)
	if err != nil {
		s.Fatal(err)
	}
	kek, err := hkdf.Expand(sha256.New, master, "keyserver software keystore 1: key encryption", 32)
	if err != nil {
		s.Fatal(err)
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		s.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		s.Fatal(err)
	}
	line, sealed, _ := strings.Cut(s.read("data/keys/"+id+".1.key"), "\n")
	pkcs8, err := gcm.Open(nil, nil, []byte(sealed), []byte(line+"\n"))
	if err != nil {
		s.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		s.Fatal(err)
	}
	var scalar []byte
	switch key := key.(type) {
	case ed25519.PrivateKey:
		scalar = key.Seed()
	case *ecdsa.PrivateKey:
		if scalar, err = key.Bytes(); err != nil {
			s.Fatal(err)
		}
	}
	all := map[string]string{}
	for what, secret := range map[string][]byte{"PKCS #8": pkcs8, "scalar": scalar, "key-encryption key": kek} {
		all[what+" raw"] = string(secret)
		all[what+" in hex"] = hex.EncodeToString(secret)
		all[what+" in base64"] = base64.StdEncoding.EncodeToString(secret)
		all[what+" in bytes"] = strings.Trim(fmt.Sprint(secret), "[]")
		all[what+" as a number"] = new(big.Int).SetBytes(secret).String()
	}
	return all
}

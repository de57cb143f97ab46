package lotreport_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/lotreport"
)

// log is the key of an audit log.
type log struct {
	signer   audit.Signer
	verifier audit.Verifier
	text     string // of the verifier
}

func newLog(t testing.TB, origin string) log {
	t.Helper()
	secret, public, err := audit.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(secret)
	v, err2 := audit.NewVerifier(public)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return log{s, v, public}
}

var at = time.UnixMilli(1_900_000_000_000)

func certificate(i int) law.Certificate {
	return law.Certificate{
		ID: law.CertificateID(fmt.Sprint("c-", i)), Device: fmt.Sprintf("SN, \"%d\"", i), Serial: fmt.Sprintf("%x", i+1), Issuer: "ca", Fingerprint: "f", Request: "r",
		State: law.CertificateIssued, DER: []byte{byte(i)}, NotBefore: at, NotAfter: at.Add(time.Hour), Settled: at.Add(time.Duration(i) * time.Millisecond),
	}
}

// made is a report on a list of three certificates, of which one is revoked and one was never issued.
func made(t testing.TB, by log) (lotreport.Report, []byte) {
	t.Helper()
	var list bytes.Buffer
	l := lotreport.NewList(&list, at.Add(time.Minute))
	revoked, running := certificate(1), certificate(9)
	revoked.Revocation = law.Revocation{At: at.Add(time.Second), Code: "keyCompromise"}
	running.State = law.CertificateRunning
	for _, c := range []law.Certificate{certificate(0), revoked, running, certificate(2)} {
		l.Add(c)
	}
	certificates, err := l.End()
	if err != nil || certificates.Count != 3 {
		t.Fatalf("%v, %+v", err, certificates)
	}
	tree := audit.Tree{}
	checkpoint, err := audit.SignCheckpoint(0, tree.Root(), by.signer)
	if err != nil {
		t.Fatal(err)
	}
	return lotreport.Report{
		Version: lotreport.Version, Server: by.signer.Name(), At: at.UnixMilli(), Operation: "op-1", Digest: "d", Description: "<lot> \u2028 7", Orderer: "olga",
		State: law.Exhausted, Approvals: []lotreport.Approval{{By: "alice", At: 1, Keys: []law.KeyID{"ca"}}},
		Lots:         []lotreport.Lot{{Key: "ca", MaxUses: 4, Taken: 4, Issued: 3, Revoked: 1, First: &lotreport.Device{Device: "SN-0", Serial: "1", Issued: 5}}},
		Certificates: certificates, Checkpoint: string(checkpoint),
	}, list.Bytes()
}

func sign(t testing.TB, r lotreport.Report, by log) []byte {
	t.Helper()
	signed, err := lotreport.Sign(r, by.signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestAReportIsReadAsItWasSigned(t *testing.T) {
	by := newLog(t, "keyserver/one")
	want, list := made(t, by)
	got, err := lotreport.Verify(sign(t, want, by), by.verifier)
	if err != nil {
		t.Fatal(err)
	}
	one, _ := json.Marshal(want)
	two, _ := json.Marshal(got)
	if !bytes.Equal(one, two) || got.Issued() != 3 {
		t.Errorf("read\n     %s\nwant %s", two, one)
	}
	if err := got.CheckCertificates(bytes.NewReader(list)); err != nil {
		t.Error(err)
	}
}

// A library of others verifies a report with the key that the log key is (RFC 7515, RFC 8037).
func TestALibraryOfOthersVerifiesAReport(t *testing.T) {
	by := newLog(t, "keyserver/one")
	want, _ := made(t, by)
	parts := strings.SplitN(by.text, "+", 3)
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != 1 { // C2SP signed-note: the algorithm, then the key
		t.Fatalf("log key %s: %v", by.text, err)
	}
	s, err := jose.ParseSignedJSON(string(sign(t, want, by)), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := s.Verify(ed25519.PublicKey(raw[1:]))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil || got["operation"] != "op-1" || got["description"] != want.Description {
		t.Errorf("%v, %v", err, got)
	}
}

func TestAReportThatIsNotAsSignedIsRefused(t *testing.T) {
	by, other := newLog(t, "keyserver/one"), newLog(t, "keyserver/one")
	r, _ := made(t, by)
	signed := string(sign(t, r, by))
	part := func(name string) string {
		var parts map[string]string
		if err := json.Unmarshal([]byte(signed), &parts); err != nil {
			t.Fatal(err)
		}
		return parts[name]
	}
	with := func(change func(*lotreport.Report)) string {
		r := r
		change(&r)
		return string(sign(t, r, by))
	}
	header := func(text string) string {
		return strings.Replace(signed, part("protected"), base64.RawURLEncoding.EncodeToString([]byte(text)), 1)
	}
	elsewhere, _ := made(t, other)
	for what, c := range map[string]struct{ signed, says string }{
		"nothing":                 {"", "no JSON Web Signature"},
		"something else":          {"{}", "not a lot report by"},
		"with a member more":      {strings.Replace(signed, "{", `{"header":{},`, 1), "no JSON Web Signature"},
		"with a member twice":     {strings.Replace(signed, "{", `{"signature":"",`, 1), "no JSON Web Signature"},
		"too long":                {signed + strings.Repeat(" ", lotreport.Max), "no JSON Web Signature"},
		"by another key":          {string(sign(t, elsewhere, other)), "not a lot report by log key"},
		"by no algorithm":         {header(`{"alg":"none"}`), "not a lot report by log key"},
		"of another type":         {header(fmt.Sprintf(`{"alg":"EdDSA","kid":"keyserver/one+%08x","typ":"JWT"}`, by.verifier.KeyHash())), "not a lot report by log key"},
		"another payload":         {strings.Replace(signed, part("payload"), base64.RawURLEncoding.EncodeToString([]byte(`{}`)), 1), "has not signed it"},
		"another signature":       {strings.Replace(signed, part("signature"), base64.RawURLEncoding.EncodeToString(make([]byte, 64)), 1), "has not signed it"},
		"in another encoding":     {strings.Replace(signed, part("signature"), part("signature")+"=", 1), "not in Base64url"},
		"of another version":      {with(func(r *lotreport.Report) { r.Version = 2 }), "version 2"},
		"of another server":       {with(func(r *lotreport.Report) { r.Server = "x" }), `of server "x"`},
		"with a checkpoint of it": {with(func(r *lotreport.Report) { r.Checkpoint = elsewhere.Checkpoint }), "reading checkpoint"},
		"without a checkpoint":    {with(func(r *lotreport.Report) { r.Checkpoint = "" }), "reading checkpoint"},
	} {
		if _, err := lotreport.Verify([]byte(c.signed), by.verifier); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; it must say %q", what, err, c.says)
		}
	}
}

func TestAListThatIsNotThatOfTheReportIsRefused(t *testing.T) {
	r, list := made(t, newLog(t, "keyserver/one"))
	for what, other := range map[string][]byte{
		"another device": bytes.Replace(list, []byte("SN"), []byte("SM"), 1), "one less": list[:bytes.LastIndex(list[:len(list)-2], []byte("\r\n"))+2],
		"nothing": nil, "no table": []byte("a,b\r\nc\r\n"), "one more": append(bytes.Clone(list), list[bytes.LastIndex(list[:len(list)-2], []byte("\r\n"))+2:]...),
	} {
		if err := r.CheckCertificates(bytes.NewReader(other)); err == nil {
			t.Errorf("%s is taken for the list", what)
		}
	}
	r.Certificates.Count++
	if err := r.CheckCertificates(bytes.NewReader(list)); err == nil {
		t.Error("a list is taken for one of more")
	}
}

// What is revoked after the report was made does not change its list.
func TestAListIsTheSameWheneverItIsWritten(t *testing.T) {
	write := func(revoked time.Time) string {
		var out bytes.Buffer
		l := lotreport.NewList(&out, at)
		c := certificate(0)
		c.Revocation = law.Revocation{At: revoked, Code: "superseded"}
		l.Add(c)
		if _, err := l.End(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	want := "key,device,serial,issued,notbefore,notafter,fingerprint,request,sha256,revoked,code,certificate\r\n" +
		`ca,"SN, ""0""",1,2030-03-17T17:46:40.000Z,2030-03-17T17:46:40.000Z,2030-03-17T18:46:40.000Z,f,r,` +
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d,%sc-0\r\n"
	for what, c := range map[string]struct {
		revoked time.Time
		want    string
	}{
		"never": {time.Time{}, ",,"}, "before": {at.Add(-1), "2030-03-17T17:46:39.999Z,superseded,"}, "at the time": {at, ",,"}, "later": {at.Add(1), ",,"},
	} {
		if got := write(c.revoked); got != fmt.Sprintf(want, c.want) {
			t.Errorf("%s: the list is\n%s", what, got)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestAListThatCouldNotBeWrittenIsNotEnded(t *testing.T) {
	l := lotreport.NewList(full{}, at)
	l.Add(certificate(0))
	if _, err := l.End(); err == nil {
		t.Error("it is taken for written")
	}
}

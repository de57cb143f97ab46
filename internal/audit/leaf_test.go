package audit_test

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

var update = flag.Bool("update", false, "write the golden files anew")

// oneOfEach returns one event of each type, with what such an event carries.
func oneOfEach() []audit.Event {
	events := slices.Concat(rareOperations(), rareOrders(), aroundOperations(), session(), certificates())
	for i, e := range operation(1) {
		if !slices.ContainsFunc(events, func(o audit.Event) bool { return o.Type == e.Type }) {
			events = slices.Insert(events, min(i, len(events)), e)
		}
	}
	for i := range events {
		events[i].Time = start + int64(i)*1000
	}
	return events
}

func rareOperations() []audit.Event {
	ada := &audit.Actor{Address: "2001:db8::7", Issuer: "https://login.example.org", Sub: "24400320", Subject: "ada"}
	id, d := law.OperationID(uuid(1)), law.Digest(digest("operation"))
	return []audit.Event{
		{Type: audit.OperationRefused, Actor: ada, Request: uuid(90), Refusal: law.Impossible, Reason: "key fw-prod needs 2 approvers and only 1 person is eligible; name another key", Route: "POST /api/operations"},
		{Type: audit.OperationWithdrawn, Actor: ada, Request: uuid(91), Operation: id, Digest: d},
		{Type: audit.OperationRejected, Actor: ada, Request: uuid(92), Operation: id, Digest: d, Reason: "wrong branch \u2013 see \"notes\"\n\\o/"},
		{Type: audit.OperationLapsed, Operation: id, Digest: d, Reason: "ada is disabled"},
		{Type: audit.OperationExpired, Operation: id, Digest: d},
		{Type: audit.OperationRevoked, Actor: ada, Request: uuid(93), Operation: id, Digest: d, Reason: "the build machine was compromised"},
	}
}

func rareOrders() []audit.Event {
	ci := &audit.Actor{Address: "192.0.2.17", Issuer: "https://ci.example.org", Sub: "repo:acme/firmware:ref:refs/heads/main", Subject: "ci"}
	order := audit.Event{
		Actor: ci, Request: uuid(94), Operation: law.OperationID(uuid(1)), Digest: law.Digest(digest("operation")), Key: "fw-prod", Fingerprint: digest("fw-prod"),
		Order: law.OrderID(uuid(17)), IdempotencyKey: "build-7", Attempt: 2, Use: 3, Of: 10, Hash: law.SHA256, Scheme: law.PSS, Input: digest("image"),
	}
	attempted, failed, withheld, refused := order, order, order, order
	attempted.Type, attempted.Lease = audit.OrderAttempted, start+30_000
	failed.Type, failed.Reason = audit.OrderFailed, "the keystore did not answer in time"
	withheld.Type, withheld.Signature, withheld.Reason = audit.OrderWithheld, digest("signature"), "the operation was revoked"
	refused.Type, refused.Refusal, refused.Reason = audit.OrderRefused, law.WrongState, "the operation is pending; wait for its approvals"
	refused.Order, refused.Attempt, refused.Use, refused.Of = "", 0, 0, 0
	return []audit.Event{attempted, failed, withheld, refused}
}

func aroundOperations() []audit.Event {
	ada := &audit.Actor{Address: "2001:db8::7", Issuer: "https://login.example.org", Sub: "24400320", Subject: "ada"}
	return []audit.Event{
		{Type: audit.RequestRefused, Actor: &audit.Actor{Address: "198.51.100.3", Subject: "mallory"}, Request: uuid(95), Route: "GET /api/operations/{operation}", Refusal: law.NotFound, Reason: "there is no such operation"},
		{Type: audit.SignInRefused, Actor: &audit.Actor{Address: "198.51.100.3"}, Count: 118, Reason: "the token has expired"},
		{Type: audit.SignedIn, Actor: ada, Request: uuid(100), Route: "GET /signin/callback", SignIn: &audit.SignIn{ID: uuid(101), At: start - 60_000, ACR: "urn:example:mfa", AMR: []string{"pwd", "hwk"}}},
		{Type: audit.SignedOut, Actor: ada, Request: uuid(102), Route: "POST /signout", SignIn: &audit.SignIn{ID: uuid(101), Until: start + 28_800_000}},
		{Type: audit.ContactChanged, Actor: ada, Request: uuid(103), Route: "PUT /api/notifications", Contact: &audit.Contact{Mail: true, Tells: []string{"change", "waiting"}, Webhook: "chat"}},
		{Type: audit.ClockStepped, Clock: &audit.ClockStep{New: start - 3_600_000, Old: start}},
		{Type: audit.ClockAccepted, Clock: &audit.ClockStep{New: start - 3_600_000, Old: start}},
		{Type: audit.ServerStarted, Server: "0192f0c1-0000-7000-8000-00000000abcd", Software: "0.1.0"},
		{
			Type: audit.ConfigurationChanged, Session: uuid(96), SessionDescription: "Bob joins the release team",
			Configuration: &audit.Configuration{Kind: audit.ConfiguredRole, ID: "release-approvers", Value: jsontext.Value(`{"members":["ada","bob"],"kind":"approver","keys":["fw-prod"],"id":"release-approvers"}`)},
		},
		{Type: audit.IntegrityViolation, Operation: law.OperationID(uuid(1)), Reason: "an approval by eve is stored, but there is no event of it"},
	}
}

// session returns the events of an administration session, one of each type.
func session() []audit.Event {
	by := func(subject law.SubjectID) *audit.Actor {
		return &audit.Actor{Address: "192.0.2.21", Issuer: "https://login.example.org", Sub: digest(string(subject))[:24], Subject: subject}
	}
	s := law.SessionStatement{
		Server: "keyserver/test", ID: law.SessionID(uuid(96)), Nonce: digest("nonce"), Description: "Bob joins the release team", Plan: law.Digest(digest("plan")),
		OpenedBy: law.Principal{Subject: "ada", Issuer: "https://login.example.org", Sub: digest("ada")[:24]}, Required: 2, Active: time.Hour,
		Opened: time.UnixMilli(start).UTC(),
	}
	about := audit.Event{Session: string(s.ID), SessionDescription: s.Description, Digest: s.Digest()}
	event := func(of audit.Type, actor *audit.Actor, reason string) audit.Event {
		e := about
		e.Type, e.Actor, e.Reason = of, actor, reason
		if actor != nil {
			e.Request = uuid(97)
		}
		return e
	}
	opened := event(audit.SessionOpened, by("ada"), "")
	opened.Statement = s.Canonical()
	refused := event(audit.SessionRefused, by("carl"), "an administration session is authorised by an administrator")
	refused.Refusal, refused.Route = law.Forbidden, "POST /api/administrationsessions/{session}/authorisation"
	return []audit.Event{
		opened, refused, event(audit.SessionAuthorised, by("bob"), ""), event(audit.SessionBecameActive, nil, "2 of 2 administrators have authorised it"),
		event(audit.SessionLapsed, nil, "only 1 of 2 administrators who authorised it still count"), event(audit.SessionWithdrawn, by("bob"), ""),
		event(audit.SessionPlanApplied, by("ada"), ""), event(audit.SessionClosed, by("ada"), "its plan has been applied"),
		event(audit.SessionExpired, nil, "its time has run out"),
	}
}

// certificates returns the events of certificates and revocation lists, one of each type.
func certificates() []audit.Event {
	ada := &audit.Actor{Address: "192.0.2.21", Issuer: "https://login.example.org", Sub: digest("ada")[:24], Subject: "ada"}
	c := law.Certificate{
		ID: law.CertificateID(uuid(98)), Key: "ca-devices", Fingerprint: digest("ca-devices"), Issuer: "root", IssuerFingerprint: digest("root"),
		Serial: "4f0c6c1a9be3d2", TBS: []byte("tbsCertificate"), NotBefore: time.UnixMilli(start), NotAfter: time.UnixMilli(start + 86_400_000),
	}
	accepted, issued, imported, revoked := c, c, c, c
	issued.DER = []byte("certificate")
	imported.Issuer, imported.IssuerFingerprint, imported.DER, imported.Chain = "", "", []byte("certificate"), [][]byte{[]byte("issuer"), []byte("root")}
	revoked.DER, revoked.Revocation.Code = []byte("certificate"), "superseded"
	event := func(of audit.Type, c law.Certificate) audit.Event {
		return audit.Event{Type: of, Key: c.Key, Certificate: audit.CertificateOf(c), Session: uuid(96), SessionDescription: "A new CA key"}
	}
	with := func(e audit.Event, change func(*audit.Event)) audit.Event {
		change(&e)
		return e
	}
	signs := func(e *audit.Event) {
		e.Hash, e.Scheme, e.Input = law.SHA256, law.ECDSA, digest("tbs")
	}
	by := func(e *audit.Event) {
		e.Actor, e.Request = ada, uuid(99)
	}
	request := audit.Event{Key: "ca-devices", Fingerprint: digest("ca-devices"), Session: uuid(96), SessionDescription: "A new CA key", Hash: law.SHA256, Scheme: law.ECDSA, Input: digest("request")}
	draft := law.ListDraft{Draft: law.Draft{TBS: []byte("tbsCertList")}, Entries: 1, ThisUpdate: time.UnixMilli(start), NextUpdate: time.UnixMilli(start + 604_800_000)}
	list := audit.Event{Key: "root", Fingerprint: digest("root"), RevocationList: audit.RevocationListOf(7, draft, nil)}
	return []audit.Event{
		with(event(audit.CertificateAccepted, accepted), func(e *audit.Event) { signs(e); by(e); e.Lease = start + 30_000 }),
		event(audit.CertificateIssued, issued),
		with(event(audit.CertificateFailed, accepted), func(e *audit.Event) { e.Reason = "the keystore made no signature" }),
		with(event(audit.CertificateImported, imported), by),
		with(event(audit.CertificateRevoked, revoked), func(e *audit.Event) {
			by(e)
			e.Session, e.SessionDescription, e.Reason = "", "", "the key was replaced"
		}),
		with(request, func(e *audit.Event) { e.Type = audit.CertificateRequestAccepted; by(e) }),
		with(request, func(e *audit.Event) { e.Type, e.Signature = audit.CertificateRequestSigned, digest("signature") }),
		with(request, func(e *audit.Event) {
			e.Type, e.Reason = audit.CertificateRequestFailed, "the keystore made no signature"
		}),
		with(list, func(e *audit.Event) { e.Type, e.Lease = audit.RevocationListAccepted, start+30_000; signs(e) }),
		with(list, func(e *audit.Event) {
			e.Type, e.RevocationList = audit.RevocationListIssued, audit.RevocationListOf(7, draft, []byte("list"))
		}),
		with(list, func(e *audit.Event) {
			e.Type, e.Reason = audit.RevocationListFailed, "the keystore made no signature"
		}),
		{
			Type: audit.StatusesPermitted, Key: "responder", Fingerprint: digest("responder"), Certificate: audit.CertificateOf(issued), Count: law.MaxStatuses,
			Lease: start + 3_600_000, Request: uuid(99),
		},
	}
}

// full returns an event in which every field is set.
func full() audit.Event {
	e := oneOfEach()[0]
	for _, o := range append(operation(1), oneOfEach()...) {
		into, from := reflect.ValueOf(&e).Elem(), reflect.ValueOf(o)
		for i := range into.NumField() {
			if into.Field(i).IsZero() {
				into.Field(i).Set(from.Field(i))
			}
		}
	}
	e.Version, e.Index, e.Previous, e.Batch = audit.Version, 7, digest("before"), uuid(3)
	return e
}

func TestThereIsAGoldenLeafOfEachType(t *testing.T) {
	leaves := link(t, oneOfEach())
	got := export(t, leaves, sign(t, leaves))
	golden(t, "testdata/log.txt", got)

	report, err := audit.VerifyExport(bytes.NewReader(got), verifier(t), audit.ExportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range audit.Types() {
		if report.Counts[typ] != 1 {
			t.Errorf("%d golden leaves of type %s, not 1", report.Counts[typ], typ)
		}
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has changed, and with it the hash of every log there is; it is now\n%s", path, got)
	}
}

func TestEveryFieldOfAnEventIsInItsLeaf(t *testing.T) {
	e := full()
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Fatalf("field %s is not set", v.Type().Field(i).Name)
		}
	}
	checkOracle(t, e)
}

type failer interface{ Fatalf(string, ...any) }

// checkOracle compares the leaf with what the standard library makes of the event: json/v2 for the members,
// jsontext for the canonical form.
func checkOracle(t failer, e audit.Event) {
	leaf, err := e.Leaf()
	if err != nil {
		t.Fatalf("%v", err)
	}
	want, err := json.Marshal(e)
	if err == nil {
		err = (*jsontext.Value)(&want).Canonicalize()
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	if !bytes.Equal(leaf, want) {
		t.Fatalf("the leaf is\n%s\nand must be\n%s", leaf, want)
	}
	back, err := audit.ParseLeaf(leaf)
	if err != nil {
		t.Fatalf("%v", err)
	}
	again, err := back.Leaf()
	if err != nil || !bytes.Equal(again, leaf) {
		t.Fatalf("read and written again, the leaf is\n%s\nand was\n%s\n(%v)", again, leaf, err)
	}
}

func TestALeafIsTheCanonicalJSONOfItsEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { checkOracle(t, anyEvent(t)) })
}

func anyEvent(t *rapid.T) audit.Event {
	var e audit.Event
	fill(t, reflect.ValueOf(&e).Elem())
	e.Version = audit.Version
	e.Type = rapid.SampledFrom(audit.Types()).Draw(t, "type")
	e.Previous = ""
	if e.Index > 0 {
		e.Previous = digest(e.Batch)
	}
	return e
}

var raws = []string{`null`, `[]`, `{"b":1,"a":-0}`, ` {"é":"\u00e9\/\u007f","z":[true,false,9007199254740991,-9007199254740991]} `, `{"\ud83d\ude00":1,"\ufb33":2}`, `"7e5"`}

// fill sets each field, or leaves it zero.
func fill(t *rapid.T, v reflect.Value) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		if f.Type() != reflect.TypeFor[jsontext.Value]() && rapid.Bool().Draw(t, name+" is zero") {
			continue
		}
		switch p := f.Addr().Interface().(type) {
		case *jsontext.Value:
			*p = jsontext.Value(rapid.SampledFrom(raws).Draw(t, name))
		case *[]string:
			*p = rapid.SliceOf(rapid.String()).Draw(t, name)
		case *[]law.KeyID:
			*p = rapid.SliceOf(rapid.Just(law.KeyID("k"))).Draw(t, name)
		case *map[law.KeyID][]law.SubjectID:
			key := rapid.Custom(func(t *rapid.T) law.KeyID { return law.KeyID(rapid.StringMatching(`[a-z0-9._-]{1,63}`).Draw(t, "key")) })
			*p = rapid.MapOf(key, rapid.SliceOf(rapid.Just(law.SubjectID("ada")))).Draw(t, name)
		default:
			switch f.Kind() {
			case reflect.String:
				f.SetString(rapid.String().Draw(t, name))
			case reflect.Bool:
				f.SetBool(true)
			case reflect.Int, reflect.Int64:
				f.SetInt(rapid.Int64Range(0, 1<<53-1).Draw(t, name))
			case reflect.Pointer:
				f.Set(reflect.New(f.Type().Elem()))
				fill(t, f.Elem())
			default:
				t.Fatalf("field %s is of a kind this test does not know", name)
			}
		}
	}
}

func TestALeafThatIsNotWrittenExactlySoIsRefused(t *testing.T) {
	prefix := `{"index":0,"previous":"","time":1,"type":"server-started","v":1`
	if _, err := audit.ParseLeaf([]byte(prefix + `}`)); err != nil {
		t.Fatal(err)
	}
	hash := digest("x")
	tests := map[string]string{
		"nothing":                      ``,
		"not JSON":                     prefix,
		"not an object":                `[1]`,
		"null":                         `null`,
		"space":                        prefix + ` }`,
		"a line's end":                 prefix + "}\n",
		"a second object":              prefix + `}{}`,
		"unknown member":               prefix + `,"w":1}`,
		"member in other case":         strings.Replace(prefix, `"index"`, `"Index"`, 1) + `}`,
		"duplicate member":             prefix + `,"v":1}`,
		"wrong order":                  `{"v":1,"index":0,"previous":"","time":1,"type":"server-started"}`,
		"unneeded escape":              strings.Replace(prefix, `server-`, `server\u002d`, 1) + `}`,
		"invalid UTF-8":                `{"batch":"` + "\xff" + `",` + prefix[1:] + `}`,
		"empty member":                 `{"batch":"",` + prefix[1:] + `}`,
		"zero member":                  `{"attempt":0,` + prefix[1:] + `}`,
		"null member":                  `{"actor":null,` + prefix[1:] + `}`,
		"null list":                    `{"covers":null,` + prefix[1:] + `}`,
		"member missing":               `{"previous":"","time":1,"type":"server-started","v":1}`,
		"fraction":                     `{"attempt":1.0,` + prefix[1:] + `}`,
		"exponent":                     `{"attempt":1e0,` + prefix[1:] + `}`,
		"number as text":               `{"attempt":"1",` + prefix[1:] + `}`,
		"negative number":              `{"attempt":-1,` + prefix[1:] + `}`,
		"number beyond 2^53":           `{"attempt":9007199254740992,` + prefix[1:] + `}`,
		"number beyond 2^63":           `{"attempt":9223372036854775808,` + prefix[1:] + `}`,
		"time beyond 2^53":             strings.Replace(prefix, `"time":1`, `"time":9007199254740992`, 1) + `}`,
		"clock beyond 2^53":            `{"clock":{"new":9007199254740992,"old":1},` + prefix[1:] + `}`,
		"sign-in beyond 2^53":          strings.Replace(prefix, `"time":1`, `"signin":{"id":"","until":9007199254740992},"time":1`, 1) + `}`,
		"sign-in without an id":        strings.Replace(prefix, `"time":1`, `"signin":{"at":1},"time":1`, 1) + `}`,
		"sign-in with an empty member": strings.Replace(prefix, `"time":1`, `"signin":{"acr":"","id":""},"time":1`, 1) + `}`,
		"clock incomplete":             `{"clock":{"new":1},` + prefix[1:] + `}`,
		"statement not canonical":      strings.Replace(prefix, `"time"`, `"statement":{"b":1,"a":1},"time"`, 1) + `}`,
		"statement with a duplicate":   strings.Replace(prefix, `"time"`, `"statement":{"a":1,"a":1},"time"`, 1) + `}`,
		"statement with a fraction":    strings.Replace(prefix, `"time"`, `"statement":{"a":"\"1.5","b":1.5},"time"`, 1) + `}`,
		"statement beyond 2^53":        strings.Replace(prefix, `"time"`, `"statement":9007199254740994,"time"`, 1) + `}`,
		"configuration below -2^53":    `{"configuration":{"id":"a","kind":"key","value":-9007199254740993},` + prefix[1:] + `}`,
		"eligible for no key id":       `{"eligible":{"\ud83d\ude00":[]},` + prefix[1:] + `}`,
		"unknown version":              strings.Replace(prefix, `"v":1`, `"v":2`, 1) + `}`,
		"unknown type":                 strings.Replace(prefix, `server-started`, `server-stopped`, 1) + `}`,
		"first entry with a previous":  strings.Replace(prefix, `"previous":""`, `"previous":"`+hash+`"`, 1) + `}`,
		"second entry without":         strings.Replace(prefix, `"index":0`, `"index":1`, 1) + `}`,
		"previous too short":           strings.Replace(prefix, `0,"previous":""`, `1,"previous":"`+hash[1:]+`"`, 1) + `}`,
		"previous in upper case":       strings.Replace(prefix, `0,"previous":""`, `1,"previous":"`+strings.ToUpper(hash)+`"`, 1) + `}`,
		"longer than a leaf may be":    `{"batch":"` + strings.Repeat("x", audit.MaxLeaf) + `",` + prefix[1:] + `}`,
		"nested deeper than any event": strings.Replace(prefix, `"time"`, `"statement":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`,"time"`, 1) + `}`,
	}
	for name, leaf := range tests {
		if e, err := audit.ParseLeaf([]byte(leaf)); err == nil {
			t.Errorf("%s: read as %+v", name, e)
		} else if !reflect.DeepEqual(e, audit.Event{}) {
			t.Errorf("%s: an event came with the error", name)
		}
	}
}

func TestAnEventThatCouldNotBeReadBackIsNotWritten(t *testing.T) {
	tests := map[string]func(*audit.Event){
		"no version":              func(e *audit.Event) { e.Version = 0 },
		"no type":                 func(e *audit.Event) { e.Type = "" },
		"no previous hash":        func(e *audit.Event) { e.Previous = "" },
		"negative index":          func(e *audit.Event) { e.Index = -1 },
		"time before 1970":        func(e *audit.Event) { e.Time = -1 },
		"lease beyond 2^53":       func(e *audit.Event) { e.Lease = 1 << 53 },
		"clock before 1970":       func(e *audit.Event) { e.Clock = &audit.ClockStep{Old: -1} },
		"text not UTF-8":          func(e *audit.Event) { e.Reason, e.Route = "\xff", "\xff" },
		"statement not JSON":      func(e *audit.Event) { e.Statement = jsontext.Value(`{"a"`) },
		"statement empty":         func(e *audit.Event) { e.Statement = jsontext.Value{} },
		"statement, open string":  func(e *audit.Event) { e.Statement = jsontext.Value(`"a\`) },
		"number that is rounded":  func(e *audit.Event) { e.Statement = jsontext.Value(`[9007199254740993]`) },
		"configuration is absent": func(e *audit.Event) { e.Configuration = &audit.Configuration{} },
		"both are not JSON": func(e *audit.Event) {
			e.Configuration, e.Statement = &audit.Configuration{Value: jsontext.Value("x")}, jsontext.Value("x")
		},
		"eligible for no key": func(e *audit.Event) { e.Eligible = map[law.KeyID][]law.SubjectID{"": nil} },
		"too long":            func(e *audit.Event) { e.Reason = strings.Repeat("x", audit.MaxLeaf) },
	}
	for name, spoil := range tests {
		e := full()
		spoil(&e)
		if leaf, err := e.Leaf(); err == nil || leaf != nil {
			t.Errorf("%s: written as %.200s", name, leaf)
		}
	}
}

func FuzzLeaf(f *testing.F) {
	for _, l := range link(f, oneOfEach()) {
		f.Add(l)
	}
	f.Fuzz(func(t *testing.T, leaf []byte) {
		e, err := audit.ParseLeaf(leaf)
		if err != nil {
			return
		}
		checkOracle(t, e)
		if again, err := e.Leaf(); err != nil || !bytes.Equal(again, leaf) {
			t.Fatalf("accepted\n%s\nbut writes\n%s\n(%v)", leaf, again, err)
		}
	})
}

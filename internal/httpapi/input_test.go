package httpapi_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/testkit"
)

// operationBody is a good request with the keys given.
func operationBody(keys string) string {
	return `{"new-keyusagerestrictions":` + keys + `,"description":"d","context":"c","validms":1000}`
}

const oneKey = `[{"keyid":"fw-dev","maxusagecount":1}]`

type vector struct {
	name, body, pointer string
}

// refuseAll sends each body and checks that it is refused with 400 at the right place, and that nothing was
// stored.
func refuseAll(t *testing.T, vectors []vector) {
	k := testkit.New(t)
	before := len(k.Events(""))
	for _, v := range vectors {
		answer, p := send(k, "olga", "POST", api.PathOperations, v.body)
		expect(t, v.name, answer, p, api.Malformed)
		if p.Pointer != v.pointer {
			t.Errorf("%s: the pointer is %q, not %q (%s)", v.name, p.Pointer, v.pointer, p.Detail)
		}
	}
	if after := len(k.Events("")); after != before {
		t.Errorf("the log grew by %d entries", after-before)
	}
	answer, p := send(k, "olga", "POST", api.PathOperations, operationBody(oneKey))
	if answer.StatusCode != 201 {
		t.Errorf("a good request is refused: %+v", p)
	}
}

// IN-01
func TestIN01_AmbiguousJSONIsRefused(t *testing.T) {
	good := operationBody(oneKey)
	with := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	refuseAll(t, []vector{
		{"no body", " ", ""},
		{"duplicate name", with(`"validms":1000`, `"validms":1000,"validms":1001`), "/validms"},
		{"duplicate name deep", with(`"keyid":"fw-dev"`, `"keyid":"fw-dev","keyid":"fw-prod"`), "/new-keyusagerestrictions/0/keyid"},
		{"duplicate name, written with an escape", with(`"validms":1000`, `"validms":1000,"valid\u006ds":1001`), "/validms"},
		{"name in another case", with(`"validms"`, `"ValidMS"`), "/ValidMS"},
		{"deep name in another case", with(`"keyid"`, `"keyID"`), "/new-keyusagerestrictions/0/keyID"},
		{"name with an underscore", with(`"new-keyusagerestrictions"`, `"new_keyusagerestrictions"`), "/new_keyusagerestrictions"},
		{"unknown name", with(`"validms"`, `"x~/y":1,"validms"`), "/x~0~1y"},
		{"missing name", with(`,"context":"c"`, ``), "/context"},
		{"trailing value", good + `{}`, ""},
		{"trailing bracket", good + `}`, ""},
		{"trailing comma", with(`"validms":1000`, `"validms":1000,`), ""},
		{"trailing NUL", good + "\x00", ""},
		{"byte order mark", "\ufeff" + good, ""},
		{"UTF-16", "\xff\xfe{\x00}\x00", ""},
		{"comment", good + "// comment", ""},
		{"invalid UTF-8", with(`"d"`, "\"\xff\""), ""},
		{"lone surrogate", with(`"d"`, `"\ud800"`), ""},
		{"bare control character", with(`"d"`, "\"a\nb\""), ""},
		{"depth 17", strings.Repeat("[", 17) + strings.Repeat("]", 17), ""},
		{"depth 30000, not closed", strings.Repeat("[", 30000), ""},
		{"1e400", with(`1000`, `1e400`), "/validms"},
		{"2^53+1", with(`1000`, `9007199254740993`), "/validms"},
		{"2^53", with(`1000`, `9007199254740992`), "/validms"},
		{"string for a number", with(`1000`, `"1"`), "/validms"},
		{"1.0", with(`1000`, `1.0`), "/validms"},
		{"1e3", with(`1000`, `1e3`), "/validms"},
		{"-0", with(`1000`, `-0`), "/validms"},
		{"01", with(`1000`, `01`), ""},
		{"0x10", with(`1000`, `0x10`), ""},
		{"NaN", with(`1000`, `NaN`), ""},
		{"null for a number", with(`1000`, `null`), "/validms"},
		{"null for an optional list", with(`"validms"`, `"artifacts":null,"validms"`), "/artifacts"},
		{"null", `null`, ""},
		{"a list", `[` + good + `]`, ""},
		{"a string", `"x"`, ""},
		{"a number for a string", with(`"d"`, `7`), "/description"},
		{"an object for a list", operationBody(`{"keyid":"fw-dev","maxusagecount":1}`), "/new-keyusagerestrictions"},
	})
}

// IN-02
func TestIN02_UseCountsOutOfBoundsAreRefused(t *testing.T) {
	var vectors []vector
	for _, n := range []string{
		"-1", "0", "1.5", "1000001", "2147483648", "9223372036854775808", "18446744073709551616", "1e3", "null", `"1"`, "true", "[1]",
	} {
		vectors = append(vectors, vector{n, operationBody(`[{"keyid":"fw-dev","maxusagecount":` + n + `}]`), "/new-keyusagerestrictions/0/maxusagecount"})
	}
	vectors = append(vectors, vector{"missing", operationBody(`[{"keyid":"fw-dev"}]`), "/new-keyusagerestrictions/0/maxusagecount"})
	refuseAll(t, vectors)
}

// IN-03
func TestIN03_BadKeyListsAreRefused(t *testing.T) {
	list := func(n int) string {
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprintf(`{"keyid":"k%d","maxusagecount":1}`, i))
		}
		return operationBody("[" + strings.Join(keys, ",") + "]")
	}
	refuseAll(t, []vector{
		{"the same key twice", operationBody(`[{"keyid":"fw-dev","maxusagecount":1},{"keyid":"fw-dev","maxusagecount":1}]`), "/new-keyusagerestrictions/1/keyid"},
		{"the same key twice, with other counts", operationBody(`[{"keyid":"fw-dev","maxusagecount":1},{"keyid":"fw-dev","maxusagecount":2}]`), "/new-keyusagerestrictions/1/keyid"},
		{"empty list", operationBody(`[]`), "/new-keyusagerestrictions"},
		{"101 keys", list(101), "/new-keyusagerestrictions"},
		{"empty key id", operationBody(`[{"keyid":"","maxusagecount":1}]`), "/new-keyusagerestrictions/0/keyid"},
		{"key id that is a path", operationBody(`[{"keyid":"../root","maxusagecount":1}]`), "/new-keyusagerestrictions/0/keyid"},
		{"key id in capitals", operationBody(`[{"keyid":"FW-DEV","maxusagecount":1}]`), "/new-keyusagerestrictions/0/keyid"},
	})
}

// IN-03
func TestIN03_TenThousandKeysAreRefused(t *testing.T) {
	k := testkit.New(t)
	keys := strings.Repeat(`{"keyid":"k","maxusagecount":1},`, 9999) + `{"keyid":"k","maxusagecount":1}`
	answer, p := send(k, "olga", "POST", api.PathOperations, operationBody("["+keys+"]"))
	expect(t, "10 000 keys", answer, p, api.TooLarge)
}

// TM-01: what the schema alone can tell. That a validity of 1 ms runs out is a test of the law.
func TestTM01_ValidityOutOfBoundsIsRefused(t *testing.T) {
	var vectors []vector
	for _, n := range []string{"0", "-1", "1.5", "9223372036854775808", `"10"`, "null", "31622400001"} {
		vectors = append(vectors, vector{n, strings.Replace(operationBody(oneKey), "1000", n, 1), "/validms"})
	}
	refuseAll(t, vectors)
}

// IN-04: what is too long for the schema. What cannot be shown safely is a test of the law.
func TestIN04_OverlongTextIsRefused(t *testing.T) {
	long := func(member string, n int) string {
		return strings.Replace(operationBody(oneKey), member, `"`+strings.Repeat("x", n)+`"`, 1)
	}
	refuseAll(t, []vector{
		{"description of 1001", long(`"d"`, 1001), "/description"},
		{"context of 20001", long(`"c"`, 20001), "/context"},
		{"empty description", long(`"d"`, 0), "/description"},
	})
}

func TestRequestBodyOfTheFixtureCreatesAnOperation(t *testing.T) {
	fixture, err := os.ReadFile("../../api/testdata/new-operation.json")
	if err != nil {
		t.Fatal(err)
	}
	k := testkit.New(t)
	answer, p := send(k, "olga", "POST", api.PathOperations, string(fixture))
	if answer.StatusCode != 201 {
		t.Errorf("got %d: %+v", answer.StatusCode, p)
	}
}

func TestParametersAreValidated(t *testing.T) {
	k := testkit.New(t)
	id := string(k.Create(testkit.Ask("fw-dev")).ID)
	for _, path := range []string{
		"/api/operations?limit=0", "/api/operations?limit=-1", "/api/operations?limit=201", "/api/operations?limit=1000000000",
		"/api/operations?limit=1e2", "/api/operations?limit=+5", "/api/operations?limit=05", "/api/operations?limit=", "/api/operations?limit=1&limit=2",
		"/api/operations?state=open", "/api/operations?queue=yes", "/api/operations?text=", "/api/operations?from=-1", "/api/operations?until=9007199254740992", "/api/operations?from=2026-11-26", "/api/operations?keyid=%00", "/api/operations?unknown=1", "/api/operations?Limit=1",
		"/api/operations?cursor=", "/api/operations?cursor=..%2f..%2f", "/api/operations?cursor=" + strings.Repeat("x", 600), "/api/operations?a;b", "/api/operations?%zz=1",
		"/api/operations/" + strings.ToUpper(id), "/api/operations/1", "/api/operations/" + id + "/wait", "/api/operations/" + id + "/wait?revision=1&waitms=60001",
		"/api/operations/" + id + "/wait?revision=-1", "/api/signorders/x", "/api/keys/..%2froot", "/api/keys/%2e%2e", "/api/keys/fw-dev%00", "/api/keys?x=1",
		"/api/audit/inclusionproof", "/api/audit/inclusionproof?index=0", "/api/audit/inclusionproof?index=-1&size=1", "/api/audit/inclusionproof?index=9007199254740992&size=1",
		"/api/audit/consistencyproof?from=0&to=1", "/api/audit/events?type=A", "/api/whoami?x=1",
	} {
		answer, p := send(k, "olga", "GET", path, "")
		if p.Kind() != api.Malformed && p.Kind() != api.NotFound || answer.StatusCode != p.Kind().Status() {
			t.Errorf("GET %s: got %d %s", path, answer.StatusCode, p.Type)
		}
	}
}

func TestIdempotencyKeysAreNeededAndBounded(t *testing.T) {
	k := testkit.New(t)
	order := "/api/operations/" + string(k.Create(testkit.Ask("fw-dev")).ID) + "/signorders"
	for _, key := range []string{"", strings.Repeat("k", 129), "two words", "tab\there", "ünicode"} {
		answer, p := send(k, "olga", "POST", api.PathOperations, operationBody(oneKey), api.HeaderIdempotencyKey, key)
		expect(t, fmt.Sprintf("create with %q", key), answer, p, api.Malformed)
		answer, p = send(k, "olga", "POST", order, `{"keyid":"fw-dev"}`, api.HeaderIdempotencyKey, key)
		expect(t, fmt.Sprintf("sign with %q", key), answer, p, api.Malformed)
	}
}

func TestWhatWasSentIsNotRepeated(t *testing.T) {
	k := testkit.New(t)
	const secret = "hunter2hunter2"
	for _, body := range []string{
		strings.Replace(operationBody(oneKey), `"d"`, `["`+secret+`"]`, 1),
		operationBody(`[{"keyid":"` + secret + `?","maxusagecount":1}]`),
		`{"` + strings.Repeat("x", 2000) + secret + `":1}`,
		`"` + secret + `"`,
		secret,
	} {
		answer, p := send(k, "olga", "POST", api.PathOperations, body)
		expect(t, body, answer, p, api.Malformed)
		if strings.Contains(p.Detail+p.Pointer, secret) {
			t.Errorf("the problem repeats what was sent: %+v", p)
		}
	}
}

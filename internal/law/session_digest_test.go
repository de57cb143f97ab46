package law_test

import (
	"encoding/json/jsontext"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// goldenSession is what testdata/session.json and session.sha256 hold, written by another program: it never changes.
var goldenSession = law.SessionStatement{
	Server: "keyserver.example", ID: "0190163d-8694-739b-aea5-966c26f8ad94", Nonce: strings.Repeat("0f", 32),
	OpenedBy:    law.Principal{Subject: "ada", Issuer: "https://id.example/ü", Sub: "Ольга"},
	Description: "Bob joins: “grün” 緑 😀\n</script>&\u2028", Plan: aPlan, Required: 2, Active: time.Hour, Opened: time.UnixMilli(1795424400123).UTC(),
}

func TestTheDigestOfASessionNeverChanges(t *testing.T) {
	canonical, err := os.ReadFile("testdata/session.json")
	if err != nil {
		t.Fatal(err)
	}
	digest, err := os.ReadFile("testdata/session.sha256")
	if err != nil {
		t.Fatal(err)
	}
	if got := goldenSession.Canonical(); string(got) != string(canonical) {
		t.Errorf("canonical form\n     %s\nwant %s", got, canonical)
	}
	if got := goldenSession.Digest(); string(got)+"\n" != string(digest) {
		t.Errorf("digest %s; want %s", got, digest)
	}
	if got, err := law.ParseSessionStatement(canonical); err != nil || !reflect.DeepEqual(got, goldenSession) {
		t.Errorf("read back\n     %+v\nwant %+v\n%v", got, goldenSession, err)
	}
}

// Every single field, reached by reflection: whatever is added to the statement one day is tried, too.
func TestChangingAnyFieldOfASessionChangesItsDigest(t *testing.T) {
	seen := map[law.Digest]string{goldenSession.Digest(): "nothing"}
	base := goldenSession
	for _, path := range leavesOf(reflect.ValueOf(&base).Elem(), "") {
		after := goldenSession
		visit(reflect.ValueOf(&after).Elem(), "", func(p string, v reflect.Value) {
			if p != path {
				return
			}
			switch old := v.Interface().(type) {
			case time.Time:
				v.Set(reflect.ValueOf(old.Add(time.Millisecond)))
			case time.Duration:
				v.SetInt(int64(old + time.Millisecond))
			case int:
				v.SetInt(int64(old + 1))
			case law.Digest:
				v.SetString("cd" + string(old[2:]))
			default:
				v.SetString(v.String() + "x")
			}
		})
		d := after.Digest()
		if other, taken := seen[d]; taken {
			t.Errorf("with another %s the digest is that with another %s", path, other)
		}
		seen[d] = path
		if again := jsontext.Value(after.Canonical()); again.Canonicalize() != nil || string(again) != string(after.Canonical()) {
			t.Errorf("written %s\nRFC 8785 %s", after.Canonical(), again)
		}
		if got, err := law.ParseSessionStatement(after.Canonical()); err != nil || !reflect.DeepEqual(got, after) {
			t.Errorf("with another %s it is read back as %+v, %v", path, got, err)
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d fields were tried: %v", len(seen)-1, seen)
	}
	without := goldenSession
	without.Plan = ""
	if got, err := law.ParseSessionStatement(without.Canonical()); err != nil || got.Plan != "" || got.Digest() == goldenSession.Digest() {
		t.Errorf("without a plan: %+v, %v", got, err)
	}
}

func TestOnlyCanonicalFormsOfSessionsThatCanBeAreRead(t *testing.T) {
	good := string(goldenSession.Canonical())
	replace := func(old, with string) string {
		if strings.Count(good, old) != 1 {
			t.Fatalf("%q is there %d times", old, strings.Count(good, old))
		}
		return strings.Replace(good, old, with, 1)
	}
	for name, bad := range map[string]string{
		"nothing":             "",
		"cut off":             good[:len(good)-1],
		"trailing":            good + "\n",
		"twice":               good + good,
		"space":               replace(`"version":1`, `"version": 1`),
		"version 2":           replace(`"version":1`, `"version":2`),
		"no version":          replace(`,"version":1`, ``),
		"unknown member":      replace(`"version":1`, `"version":1,"x":1`),
		"a member twice":      replace(`"version":1`, `"version":1,"version":1`),
		"other case":          replace(`"version":1`, `"Version":1`),
		"missing member":      replace(`"plan":"`+string(aPlan)+`",`, ``),
		"null":                replace(`"`+string(aPlan)+`"`, `null`),
		"a float":             replace(`"required":2`, `"required":2.0`),
		"a string":            replace(`"required":2`, `"required":"2"`),
		"needless escape":     replace(`Bob`, `\u0042ob`),
		"invalid UTF-8":       replace(`Bob`, "\xff"),
		"members moved":       `{"version":1,` + replace(`,"version":1`, ``)[1:],
		"not an object":       `[]`,
		"nobody required":     replace(`"required":2`, `"required":0`),
		"less than nobody":    replace(`"required":2`, `"required":-2`),
		"a crowd required":    replace(`"required":2`, `"required":11`),
		"a number too large":  replace(`"required":2`, `"required":99999999999999999999`),
		"active for no time":  replace(`"activems":3600000`, `"activems":0`),
		"active for a moment": replace(`"activems":3600000`, `"activems":999`),
		"active backwards":    replace(`"activems":3600000`, `"activems":-3600000`),
		"active for days":     replace(`"activems":3600000`, `"activems":86400001`),
		"active for ever":     replace(`"activems":3600000`, `"activems":9223372036854775807`),
		"active, overflown":   replace(`"activems":3600000`, `"activems":18446744077309`), // times 1e6 it is about an hour, modulo 2^64
		"opened beyond 2^53":  replace(`"opened":1795424400123`, `"opened":9007199254740992`),
		"opened before -2^53": replace(`"opened":1795424400123`, `"opened":-9007199254740992`),
		"plan of another sum": replace(string(aPlan), `plan`),
		"plan in capitals":    replace(string(aPlan), strings.ToUpper(string(aPlan))),
	} {
		if s, err := law.ParseSessionStatement([]byte(bad)); err == nil || s != (law.SessionStatement{}) {
			t.Errorf("%s: read as %+v, %v", name, s, err)
		}
	}
}

func TestASessionThatCannotBeWrittenDownHasNoDigest(t *testing.T) {
	for name, s := range map[string]law.SessionStatement{
		"invalid UTF-8": {Description: "\xff"},
		"a time":        {Opened: time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"a number":      {Required: math.MaxInt},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it has a digest", name)
				}
			}()
			s.Digest()
		}()
	}
}

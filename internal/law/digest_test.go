package law_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"

	"pgregory.net/rapid"
)

// The statements of the golden files: testdata/NAME.json holds the canonical bytes, NAME.sha256 the digest.
// They were written by another program, and they never change: a stored operation must keep its digest for
// as long as anybody may verify it.
func goldenStatements() map[string]law.Statement {
	created := time.UnixMilli(1795424400123).UTC()
	return map[string]law.Statement{
		"minimal": {
			Server: "ks", ID: "0190163d-8694-739b-aea5-966c26f8ad91", Nonce: strings.Repeat("00", 32),
			Orderer:     law.Principal{Subject: "olga", Issuer: "https://id.example", Sub: "1"},
			Keys:        []law.KeyGrant{{Key: "fw-dev", Fingerprint: strings.Repeat("ab", 32), MaxUses: 1, Requirement: law.Require(0)}},
			Description: "d", Context: "c", Created: created, Expires: created.Add(time.Millisecond),
		},
		"everything": {
			Server: "keyserver.example", ID: "0190163d-8694-739b-aea5-966c26f8ad92", Nonce: strings.Repeat("0f", 32),
			Orderer: law.Principal{Subject: "ci", Issuer: "https://ci.example", Sub: "repo:acme/firmware:ref:refs/tags/v1.2"},
			Clients: []law.SubjectID{"line-2", "line-1"},
			Keys: []law.KeyGrant{
				{Key: "fw-prod", Fingerprint: strings.Repeat("ab", 32), MaxUses: 3, Requirement: law.Require(2)},
				{Key: "ca-devices", Fingerprint: strings.Repeat("cd", 32), MaxUses: 1_000_000, Requirement: law.Require(1)},
			},
			Description: "Release 1.2", Context: "line one\nline two, \"quoted\" \\ back",
			Artifacts: []law.Artifact{
				{Name: "image.bin", Size: 1<<53 - 1, Hash: law.SHA256, Digest: strings.Repeat("12", 32)},
				{Name: "image.sig", Size: 0, Hash: law.SHA512, Digest: strings.Repeat("34", 64)},
			},
			Created: created, Expires: created.Add(law.MaxValidity),
			Claims: []law.Claim{{Name: "repository", Present: true, Value: "acme/firmware"}, {Name: "ref", Present: true}, {Name: "actor"}},
		},
		"unicode": {
			Server: "ks", ID: "0190163d-8694-739b-aea5-966c26f8ad93", Nonce: strings.Repeat("ff", 32),
			Orderer:     law.Principal{Subject: "olga", Issuer: "https://id.example/ü", Sub: "Ольга"},
			Keys:        []law.KeyGrant{{Key: "fw-dev", Fingerprint: strings.Repeat("ab", 32), MaxUses: 1, Requirement: law.Requirement{}}},
			Description: "grün 緑 😀 é e\u0301", Context: "</script>&\u007f\u2028\t\u0001", Created: created, Expires: created.Add(time.Hour),
			Claims: []law.Claim{{Name: "\ufb33", Present: true, Value: "€\r"}},
		},
	}
}

func TestTheDigestOfAStatementNeverChanges(t *testing.T) {
	for name, s := range goldenStatements() {
		canonical, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		digest, err := os.ReadFile(filepath.Join("testdata", name+".sha256"))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Canonical(); string(got) != string(canonical) {
			t.Errorf("%s: canonical form\n     %s\nwant %s", name, got, canonical)
		}
		if got := s.Digest(); string(got)+"\n" != string(digest) {
			t.Errorf("%s: digest %s; want %s", name, got, digest)
		}
		sum := sha256.Sum256(canonical)
		if hex.EncodeToString(sum[:])+"\n" != string(digest) {
			t.Errorf("%s: the golden files do not fit each other", name)
		}
	}
}

// The order and the escapes of RFC 8785, written by hand and not by the program.
func TestTheCanonicalFormIsThatOfRFC8785(t *testing.T) {
	s := law.Statement{
		Server: "ks", ID: "op", Nonce: "00", Orderer: law.Principal{Subject: "olga", Issuer: "i", Sub: "s"}, Clients: []law.SubjectID{"b", "a"},
		Keys:        []law.KeyGrant{{Key: "k", Fingerprint: "f", MaxUses: 2, Requirement: law.Require(1)}},
		Description: "a\"b\\c/d\u0001\n\u007fé</>", Context: "c", Artifacts: []law.Artifact{{Name: "n", Size: 3, Hash: law.SHA256, Digest: "00"}},
		Created: time.UnixMilli(1), Expires: time.UnixMilli(9007199254740991), Claims: []law.Claim{{Name: "ref"}},
	}
	want := `{"artifacts":[{"digest":"00","hash":"SHA-256","name":"n","size":3}],` +
		`"claims":[{"name":"ref","present":false,"value":""}],` +
		`"clients":["b","a"],"context":"c","created":1,"description":"a\"b\\c/d\u0001\n` + "\u007fé" + `</>",` +
		`"expires":9007199254740991,` +
		`"keys":[{"fingerprint":"f","keyid":"k","maxusagecount":2,"requirement":1}],` +
		`"nonce":"00","operation":"op","orderer":{"issuer":"i","sub":"s","subject":"olga"},"server":"ks","version":1}`
	if got := string(s.Canonical()); got != want {
		t.Errorf("canonical form\n     %s\nwant %s", got, want)
	}
}

func TestAStatementReadsBackAsItWasWritten(t *testing.T) {
	for name, s := range goldenStatements() {
		got, err := law.ParseStatement(s.Canonical())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s.Clients, s.Artifacts, s.Claims = notNil(s.Clients), notNil(s.Artifacts), notNil(s.Claims)
		if !reflect.DeepEqual(got, s) {
			t.Errorf("%s: read back\n     %+v\nwant %+v", name, got, s)
		}
	}
}

func TestOnlyCanonicalFormsOfVersionOneAreRead(t *testing.T) {
	good := string(goldenStatements()["everything"].Canonical())
	replace := func(old, with string) string {
		if strings.Count(good, old) != 1 {
			t.Fatalf("%q is there %d times", old, strings.Count(good, old))
		}
		return strings.Replace(good, old, with, 1)
	}
	for name, bad := range map[string]string{
		"nothing":          "",
		"cut off":          good[:len(good)-1],
		"trailing":         good + "\n",
		"space":            replace(`"version":1`, `"version": 1`),
		"version 2":        replace(`"version":1`, `"version":2`),
		"no version":       replace(`,"version":1`, ``),
		"unknown member":   replace(`"version":1`, `"version":1,"x":1`),
		"twice":            replace(`"version":1`, `"version":1,"version":1`),
		"other case":       replace(`"version":1`, `"Version":1`),
		"null":             replace(`["line-2","line-1"]`, `null`),
		"missing member":   replace(`"clients":["line-2","line-1"],`, ``),
		"a float":          replace(`"maxusagecount":3`, `"maxusagecount":3.0`),
		"an exponent":      replace(`"maxusagecount":3`, `"maxusagecount":3e0`),
		"a string":         replace(`"maxusagecount":3`, `"maxusagecount":"3"`),
		"beyond 2^53":      replace(`"size":9007199254740991`, `"size":9007199254740993`),
		"a lone negative":  replace(`"requirement":2`, `"requirement":-2`),
		"needless escape":  replace(`Release 1.2`, `\u0052elease 1.2`),
		"invalid UTF-8":    replace(`Release 1.2`, "\xff"),
		"members moved":    `{"version":1,` + replace(`,"version":1`, ``)[1:],
		"not an object":    `[]`,
		"too much to read": good + good,
	} {
		if _, err := law.ParseStatement([]byte(bad)); err == nil {
			t.Errorf("%s: read without an error", name)
		}
	}
}

func TestAStatementThatCannotBeWrittenDownHasNoDigest(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it has a digest")
		}
	}()
	law.Statement{Description: "\xff"}.Digest()
}

// Every single field that the digest is taken over, reached by reflection: whatever is added to the
// statement one day is tried, too.
func TestChangingAnyFieldChangesTheDigest(t *testing.T) {
	everything := goldenStatements()["everything"]
	leaves := leavesOf(reflect.ValueOf(&everything).Elem(), "Statement")
	for f := range reflect.TypeFor[law.Statement]().Fields() {
		if !slices.ContainsFunc(leaves, func(path string) bool { return strings.HasPrefix(path, "Statement."+f.Name) }) {
			t.Fatalf("the golden statement with everything has no %s", f.Name)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		before := drawStatement(t)
		after := clone(before)
		leaves := leavesOf(reflect.ValueOf(&after).Elem(), "Statement")
		path := rapid.SampledFrom(leaves).Draw(t, "field")
		n := 0
		visit(reflect.ValueOf(&after).Elem(), "Statement", func(p string, v reflect.Value) {
			if p == path {
				alter(t, v)
				n++
			}
		})
		if n != 1 {
			t.Fatalf("%s is there %d times", path, n)
		}
		canonical := after.Canonical()
		again := jsontext.Value(slices.Clone(canonical))
		if err := again.Canonicalize(); err != nil || string(again) != string(canonical) {
			t.Fatalf("written %s\nRFC 8785 %s, %v", canonical, again, err)
		}
		if before.Digest() == after.Digest() {
			t.Fatalf("with another %s the digest is the same", path)
		}
		if got, err := law.ParseStatement(after.Canonical()); err != nil || got.Digest() != after.Digest() {
			t.Fatalf("read back: %v", err)
		}
	})
}

func TestAddingOrMovingAnElementChangesTheDigest(t *testing.T) {
	base := goldenStatements()["everything"]
	seen := map[law.Digest]string{base.Digest(): "base"}
	for name, change := range map[string]func(*law.Statement){
		"no clients":       func(s *law.Statement) { s.Clients = nil },
		"clients moved":    func(s *law.Statement) { slices.Reverse(s.Clients) },
		"a key less":       func(s *law.Statement) { s.Keys = s.Keys[:1] },
		"keys moved":       func(s *law.Statement) { slices.Reverse(s.Keys) },
		"no artifacts":     func(s *law.Statement) { s.Artifacts = nil },
		"artifacts moved":  func(s *law.Statement) { slices.Reverse(s.Artifacts) },
		"a claim less":     func(s *law.Statement) { s.Claims = s.Claims[1:] },
		"claims moved":     func(s *law.Statement) { slices.Reverse(s.Claims) },
		"claim not absent": func(s *law.Statement) { s.Claims[2].Present = true },
	} {
		s := clone(base)
		change(&s)
		if other, taken := seen[s.Digest()]; taken {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[s.Digest()] = name
	}
}

// visit calls f for every leaf of a statement: its strings, numbers, times, requirements and booleans.
func visit(v reflect.Value, path string, f func(string, reflect.Value)) {
	_, isTime := v.Interface().(time.Time)
	_, isRequirement := v.Interface().(law.Requirement)
	switch {
	case isTime || isRequirement:
		f(path, v)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			visit(v.Field(i), path+"."+v.Type().Field(i).Name, f)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), fmt.Sprintf("%s[%d]", path, i), f)
		}
	default:
		f(path, v)
	}
}

func leavesOf(v reflect.Value, path string) []string {
	var paths []string
	visit(v, path, func(p string, _ reflect.Value) { paths = append(paths, p) })
	return paths
}

func alter(t *rapid.T, v reflect.Value) {
	switch old := v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(old.Add(time.Duration(rapid.Int64Range(1, 1e9).Draw(t, "later")) * time.Millisecond)))
		return
	case law.Requirement:
		n := rapid.IntRange(-1, 9).Filter(func(n int) bool { return n != old.People() }).Draw(t, "people")
		v.Set(reflect.ValueOf(law.Require(n)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		old := v.String()
		v.SetString(rapid.String().Filter(func(s string) bool { return s != old }).Draw(t, "text"))
	case reflect.Int, reflect.Int64:
		old := v.Int()
		v.SetInt(rapid.Int64Range(0, 1<<53-1).Filter(func(n int64) bool { return n != old }).Draw(t, "number"))
	case reflect.Bool:
		v.SetBool(!v.Bool())
	default:
		t.Fatalf("a field of kind %s is new to this test", v.Kind())
	}
}

func drawStatement(t *rapid.T) law.Statement {
	s := clone(goldenStatements()["everything"])
	visit(reflect.ValueOf(&s).Elem(), "Statement", func(_ string, v reflect.Value) {
		if rapid.Bool().Draw(t, "other") {
			alter(t, v)
		}
	})
	return s
}

func clone(s law.Statement) law.Statement {
	s.Clients, s.Keys = slices.Clone(s.Clients), slices.Clone(s.Keys)
	s.Artifacts, s.Claims = slices.Clone(s.Artifacts), slices.Clone(s.Claims)
	return s
}

func notNil[T any](s []T) []T { return append([]T{}, s...) }

func BenchmarkDigest(b *testing.B) {
	s := goldenStatements()["everything"]
	b.ReportAllocs()
	for b.Loop() {
		s.Digest()
	}
}

func BenchmarkParseStatement(b *testing.B) {
	canonical := goldenStatements()["everything"].Canonical()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := law.ParseStatement(canonical); err != nil {
			b.Fatal(err)
		}
	}
}

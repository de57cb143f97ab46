package identity_test

import (
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/law"
)

func TestEveryNamedClaimMustFitByteForByte(t *testing.T) {
	w := newWorld(t)
	w.know(w.idp.Issuer(), person("ada", w.idp.URL, "repository", "octo/fw", "ref", "refs/heads/main", "ref", "refs/heads/stable"))
	claims := w.good().With("repository", "octo/fw").With("ref", "refs/heads/main")
	if got := w.accept(w.idp.Token("at+jwt", claims)).Subject; got != "ada" {
		t.Errorf("subject %q", got)
	}
	w.accept(w.idp.Token("at+jwt", claims.With("ref", "refs/heads/stable")))
	for _, c := range []struct {
		name  string
		value any
	}{
		{"repository", "Octo/fw"}, {"repository", "octo/fw "}, {"repository", "octo/fw2"}, {"repository", "octo/f"}, {"repository", "octo/*"},
		{"repository", ""}, {"repository", nil}, {"repository", []string{"octo/fw"}}, {"repository", map[string]any{"octo/fw": "octo/fw"}},
		{"ref", "refs/heads/main\x00"}, {"ref", "refs/heads/mаin"}, {"ref", true}, {"ref", 1},
	} {
		w.refuse(w.idp.Token("at+jwt", claims.With(c.name, c.value)), identity.NotAllowed, identity.NoSubject)
	}
	w.refuse(w.idp.Token("at+jwt", claims.Without("ref")), identity.NotAllowed, identity.NoSubject)
	w.refuse(w.idp.Token("at+jwt", claims.Without("ref").With("Ref", "refs/heads/main")), identity.NotAllowed, identity.NoSubject)
}

func TestATokenOfNobodyIsToldItsIssuerAndSub(t *testing.T) {
	w := newWorld(t)
	err := w.refuse(w.idp.Token("at+jwt", w.good().With("sub", "eve-1")), identity.NotAllowed, identity.NoSubject)
	if !strings.Contains(err.Sentence, w.idp.URL) || !strings.Contains(err.Sentence, `"eve-1"`) {
		t.Errorf("the sentence does not help an administrator: %s", err.Sentence)
	}
	if want := (law.Principal{Issuer: w.idp.URL, Sub: "eve-1"}); err.Who != want {
		t.Errorf("who: %+v, want %+v", err.Who, want)
	}
}

func TestIdentitiesAreOfOneIssuer(t *testing.T) {
	w := newWorld(t)
	other := w.idp.Issuer()
	other.URL = "https://other.example"
	facts, err := law.NewFacts(law.Configuration{
		Issuers:  []law.Issuer{w.idp.Issuer(), other},
		Subjects: []law.Subject{person("ada", w.idp.URL, "sub", "ada-1"), person("eve", other.URL, "sub", "ada-1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.facts = facts
	if got := w.accept(w.token()).Subject; got != "ada" {
		t.Errorf("subject %q, want ada", got)
	}
}

func TestTwoSubjectsThatOneTokenCouldMatchAreRefusedWithTheConfiguration(t *testing.T) {
	w := newWorld(t)
	ada, bob := person("ada", w.idp.URL, "sub", "ada-1"), person("bob", w.idp.URL, "scope", "openid")
	for _, enabled := range []bool{true, false} { // somebody must set this right in either case
		bob.Enabled = enabled
		_, err := law.NewFacts(law.Configuration{Issuers: []law.Issuer{w.idp.Issuer()}, Subjects: []law.Subject{ada, bob}})
		if err == nil || !strings.Contains(err.Error(), "subjects ada and bob") {
			t.Errorf("error %v", err)
		}
	}
	ada.Identities = append(ada.Identities, bob.Identities...)
	w.know(w.idp.Issuer(), ada) // one subject, however many identities fit
	w.accept(w.token())
}

func TestADisabledSubjectIsRefused(t *testing.T) {
	w := newWorld(t)
	ada := person("ada", w.idp.URL, "sub", "ada-1")
	ada.Enabled = false
	w.know(w.idp.Issuer(), ada)
	err := w.refuse(w.token(), identity.NotAllowed, identity.DisabledSubject)
	if err.Who.Subject != "ada" {
		t.Errorf("who: %+v", err.Who)
	}
}

func TestARememberedTokenIsMatchedWithTheFactsAsTheyAre(t *testing.T) {
	w := newWorld(t)
	token := w.token()
	w.accept(token)
	w.know(w.idp.Issuer(), person("bob", w.idp.URL, "client_id", "ks"))
	if got := w.accept(token).Subject; got != "bob" {
		t.Errorf("subject %q, want bob", got)
	}
	w.know(w.idp.Issuer())
	w.refuse(token, identity.NotAllowed, identity.NoSubject)
}

// Rule 9: what was found of a token under one configuration is not believed under another, in whatever order
// requests come that have read the one and the other.
func TestARememberedTokenOfSomebodyDisabledIsRefusedAtOnce(t *testing.T) {
	w := newWorld(t)
	token := w.token()
	w.accept(token)
	w.accept(token)
	enabled := w.facts
	ada := person("ada", w.idp.URL, "sub", "ada-1")
	ada.Enabled = false
	w.know(w.idp.Issuer(), ada)
	disabled := w.facts
	for range 2 {
		w.facts = disabled
		w.refuse(token, identity.NotAllowed, identity.DisabledSubject)
		w.facts = enabled
		w.accept(token)
	}
	w.know(w.idp.Issuer(), person("ada", w.idp.URL, "sub", "ada-2"), person("eve", w.idp.URL, "sub", "ada-1"))
	if got := w.accept(token).Subject; got != "eve" {
		t.Errorf("subject %q, want eve", got)
	}
	w.facts = law.Facts{}
	w.reject(token, identity.UnknownIssuer)
}

func TestARememberedTokenExpires(t *testing.T) {
	w := newWorld(t)
	token := w.token()
	w.accept(token)
	w.now = start.Add(5*time.Minute - time.Nanosecond)
	w.accept(token)
	w.now = start.Add(5 * time.Minute)
	w.reject(token, identity.Expired)
	w.now = start.Add(-2 * time.Minute) // a clock set back: it is not issued yet
	w.reject(token, identity.NotYetValid)
}

func TestCallersCannotChangeWhatIsRemembered(t *testing.T) {
	w := newWorld(t)
	issuer := w.idp.Issuer()
	issuer.Captured = []string{"scope"}
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	token := w.token()
	w.accept(token).Claims[0].Value = "changed"
	if got := w.accept(token).Claims[0].Value; got != "openid" {
		t.Errorf("captured %q", got)
	}
}

func TestClaimsAreCapturedAsApproversReadThem(t *testing.T) {
	w := newWorld(t)
	issuer := w.idp.Issuer()
	issuer.ActorClaim, issuer.Captured = "actor", []string{"text", "empty", "absent", "null", "yes", "count", "actor", "list", "object", "text"}
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	claims := w.good()
	for name, value := range map[string]any{
		"text": "größer <b> & \"so\"", "empty": "", "null": nil, "yes": true, "count": int64(math.MaxInt64), "actor": "octocat",
		"list": []any{"a", int64(math.MaxInt64), 1.5, nil}, "object": map[string]any{"z": 1, "a": []string{"ä"}},
	} {
		claims[name] = value
	}
	got := w.accept(w.idp.Token("at+jwt", claims))
	want := []law.Claim{
		{Name: "actor", Present: true, Value: "octocat"},
		{Name: "text", Present: true, Value: "größer <b> & \"so\""},
		{Name: "empty", Present: true},
		{Name: "absent"},
		{Name: "null"},
		{Name: "yes", Present: true, Value: "true"},
		{Name: "count", Present: true, Value: "9223372036854775807"},
		{Name: "list", Present: true, Value: `["a",9223372036854775807,1.5,null]`},
		{Name: "object", Present: true, Value: `{"a":["ä"],"z":1}`},
	}
	if !reflect.DeepEqual(got.Claims, want) || got.Actor != "octocat" {
		t.Errorf("captured %+v\nwant %+v\nactor %q", got.Claims, want, got.Actor)
	}
}

func TestAClaimThatCouldDeceiveApproversIsRefused(t *testing.T) {
	w := newWorld(t)
	issuer := w.idp.Issuer()
	issuer.ActorClaim, issuer.Captured = "actor", []string{"ref"}
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	for _, value := range []any{
		"main\u202enimda", "ma\u200bin", "main\n  approved by: bob", "main\x1b[2K", "main\x00", "main\ue000", "   ",
		strings.Repeat("m", 1025), []string{"main\u202e"}, []string{strings.Repeat("m", 1024)}, map[string]any{"\u2066": 1},
	} {
		w.reject(w.idp.Token("at+jwt", w.good().With("ref", value)), identity.BadClaim)
		w.reject(w.idp.Token("at+jwt", w.good().With("actor", value)), identity.BadClaim)
		w.accept(w.idp.Token("at+jwt", w.good().With("not captured", value)))
	}
	w.accept(w.idp.Token("at+jwt", w.good().With("ref", strings.Repeat("m", 1024))))
}

func TestTheActorIsATextOrAWholeNumber(t *testing.T) {
	w := newWorld(t)
	issuer := w.idp.Issuer()
	issuer.ActorClaim = "actor_id"
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	for want, value := range map[string]any{"583231": 583231, "583232": "583232", "9007199254740993": int64(9007199254740993), "-1": -1, "true": "true"} {
		if got := w.accept(w.idp.Token("at+jwt", w.good().With("actor_id", value))); got.Actor != want {
			t.Errorf("actor %q, want %q", got.Actor, want)
		}
	}
	for _, value := range []any{true, 1.5, 1e30, uint64(math.MaxUint64), []string{"583231"}, map[string]any{}} {
		w.reject(w.idp.Token("at+jwt", w.good().With("actor_id", value)), identity.BadClaim)
	}
	for _, claims := range []identitytest.Claims{w.good(), w.good().With("actor_id", nil), w.good().With("actor_id", "")} {
		if got := w.accept(w.idp.Token("at+jwt", claims)); got.Actor != "" {
			t.Errorf("actor %q, want none", got.Actor)
		}
	}
}

func TestTokensOfGitHubActionsSignIn(t *testing.T) {
	w := newWorld(t)
	w.know(w.idp.GitHubIssuer(), person("release", w.idp.URL, "repository_id", "74", "ref", "refs/heads/main", "environment", "production"))
	got := w.accept(w.idp.Token("JWT", identitytest.GitHubActions(w.now)))
	want := law.Caller{
		Principal: law.Principal{Subject: "release", Issuer: w.idp.URL, Sub: "repo:octo/fw:environment:production"},
		Actor:     "583231",
		Claims: []law.Claim{
			{Name: "actor_id", Present: true, Value: "583231"},
			{Name: "repository", Present: true, Value: "octo/fw"},
			{Name: "ref", Present: true, Value: "refs/heads/main"},
			{Name: "sha", Present: true, Value: "9f2c1e7ab0d4c35e8f6a7b1d2c3e4f5061728394"},
			{Name: "event_name", Present: true, Value: "push"},
			{Name: "job_workflow_ref", Present: true, Value: "octo/build/.github/workflows/sign.yml@refs/heads/main"},
			{Name: "run_id", Present: true, Value: "8123456789"},
			{Name: "run_attempt", Present: true, Value: "2"},
			{Name: "actor", Present: true, Value: "octocat"},
			{Name: "head_ref", Present: true},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("caller %+v\nwant %+v", got, want)
	}
	fork := identitytest.GitHubActions(w.now).With("repository", "mallory/fw").With("repository_id", "75")
	w.refuse(w.idp.Token("JWT", fork), identity.NotAllowed, identity.NoSubject)
	pull := identitytest.GitHubActions(w.now).With("ref", "refs/pull/7/merge").With("sub", "repo:octo/fw:pull_request")
	w.refuse(w.idp.Token("JWT", pull), identity.NotAllowed, identity.NoSubject)
}

func TestTokensOfGitLabCISignIn(t *testing.T) {
	w := newWorld(t)
	w.know(w.idp.GitLabIssuer(), person("release", w.idp.URL, "project_id", "20", "ref_protected", "true"))
	got := w.accept(w.idp.Token("JWT", identitytest.GitLabCI(w.now)))
	captured := map[string]law.Claim{}
	for _, c := range got.Claims {
		captured[c.Name] = c
	}
	if got.Subject != "release" || got.Actor != "7" || len(captured) != 10 || captured["runner_id"].Value != "1" ||
		captured["groups_direct"].Value != `["acme","acme/release"]` || captured["ci_config_sha"].Present {
		t.Errorf("caller %+v", got)
	}
	w.refuse(w.idp.Token("JWT", identitytest.GitLabCI(w.now).With("ref_protected", "false")), identity.NotAllowed, identity.NoSubject)
}

func TestTokensOfMicrosoftEntraIDSignIn(t *testing.T) {
	w := newWorld(t)
	machine := person("robot", w.idp.URL, "tid", identitytest.EntraTenant, "oid", "oid-robot")
	machine.Kind = law.Client
	w.know(w.idp.EntraIssuer(), person("ada", w.idp.URL, "tid", identitytest.EntraTenant, "oid", "oid-ada"), machine)
	if got := w.accept(w.idp.Token("JWT", identitytest.EntraUser(w.now, "oid-ada"))); got.Subject != "ada" || got.Actor != "" {
		t.Errorf("caller %+v", got)
	}
	got := w.accept(w.idp.Token("JWT", identitytest.EntraApplication(w.now, "oid-robot")))
	if got.Subject != "robot" || got.Sub != "oid-robot" || got.Claims[1].Value != `["Orders.Place"]` {
		t.Errorf("caller %+v", got)
	}
	guest := identitytest.EntraUser(w.now, "oid-ada").With("tid", "another-tenant")
	w.refuse(w.idp.Token("JWT", guest), identity.NotAllowed, identity.NoSubject)
}

func TestTheBearerTokenIsReadFromOneHeader(t *testing.T) {
	for value, want := range map[string]string{"Bearer abc": "abc", "bearer abc": "abc", "BEARER  abc": "abc"} {
		if got, err := identity.BearerToken(http.Header{"Authorization": {value}}); got != want || err != nil {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
	for _, values := range [][]string{nil, {""}, {"Bearer"}, {"Bearer "}, {"abc"}, {"Basic YTpi"}, {"Bearer abc", "Bearer abc"}} {
		if got, err := identity.BearerToken(http.Header{"Authorization": values}); err == nil {
			t.Errorf("%q: %q", values, got)
		}
	}
}

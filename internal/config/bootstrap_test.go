package config

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/strictyaml"
)

func TestTheBootstrapExampleSaysWhatItMeans(t *testing.T) {
	got, err := ReadBootstrap(filepath.Join("testdata", "bootstrap.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const people, pipelines = "https://login.example.com", "https://token.actions.githubusercontent.com"
	person := func(id law.SubjectID, name, sub string) law.Subject {
		return law.Subject{ID: id, Kind: law.User, Name: name, Enabled: true,
			Identities: []law.Identity{{Issuer: people, Claims: map[string][]string{"sub": {sub}}}}}
	}
	alice := person("alice", "Alice Adams, release engineer", "5b1f0f6e")
	alice.Actors = []law.ActorName{{Issuer: pipelines, Value: "583231"}}
	want := law.Configuration{
		Issuers: []law.Issuer{
			{URL: people, Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}},
			{URL: pipelines, Audiences: []string{"https://keyserver.example.com:8443"}, Algorithms: []string{"RS256"}, Types: []string{"JWT"},
				ActorClaim: "actor_id", Captured: []string{"repository", "ref", "sha", "run_id", "actor"}},
		},
		Subjects: []law.Subject{
			alice,
			person("bob", "Bob Brown, engineering lead", "77c0a2d4"),
			person("carol", "Carol Clark, security lead", "0e9d3b18"),
			person("dave", "Dave Dunn, platform engineer", "c4471a90"),
			{ID: "firmware-ci", Kind: law.Client, Name: "Firmware release pipeline", Enabled: true,
				Identities: []law.Identity{{Issuer: pipelines, Claims: map[string][]string{
					"repository_id": {"1296269"},
					"sub":           {"repo:example/firmware:environment:release", "repo:example/firmware:ref:refs/heads/main"}}}}},
		},
		Roles: []law.Role{
			{ID: "fw-orderers", Kind: law.Orderer, Keys: []law.KeyID{"fw-dev", "fw-prod"}, Members: []law.SubjectID{"alice", "firmware-ci"}},
			{ID: "fw-approvers", Kind: law.Approver, Keys: []law.KeyID{"fw-dev", "fw-prod"}, Members: []law.SubjectID{"bob", "carol"}},
			{ID: "administrators", Kind: law.Administrator, Members: []law.SubjectID{"dave", "carol"}},
			{ID: "auditors", Kind: law.Auditor, Members: []law.SubjectID{"dave"}},
		},
		Keys: []law.Key{
			{ID: "fw-dev", Type: law.Firmware, Algorithm: law.P256, Hash: law.SHA256, Schemes: []law.Scheme{law.ECDSA},
				Requirement: law.Require(0), MaxValidity: 24 * time.Hour, MaxUses: 1000, Approvals: law.SessionApprovals,
				State: law.KeyActive, Keystore: "software"},
			{ID: "fw-prod", Type: law.Firmware, Algorithm: law.RSA3072, Hash: law.SHA256, Schemes: []law.Scheme{law.PSS, law.PKCS1v15},
				Requirement: law.Require(2), MaxValidity: 7 * 24 * time.Hour, MaxUses: 100, Approvals: law.SessionApprovals, ArtifactsNeeded: true,
				State: law.KeyActive, Keystore: "software"},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if _, err := law.NewFacts(got); err != nil {
		t.Error(err)
	}
}

// AR-02
func TestAR02_AKeyWhoseRequirementIsAbsentIsAnErrorNotZero(t *testing.T) {
	for _, absent := range []string{"", "    requirement:\n", "    requirement: null\n", "    requirement: ~\n", "    requirement: \"\"\n", "    # requirement: 2\n"} {
		c, err := ReadBootstrap(write(t, edited(t, "bootstrap.yaml", "    requirement: 2\n", absent)))
		if err == nil || !strings.Contains(err.Error(), "`requirement`") {
			t.Errorf("%q: %v", absent, err)
		}
		if len(c.Keys) > 0 {
			t.Errorf("%q: keys came with the error", absent)
		}
	}
}

func TestASubjectCanBeNamedAndDisabled(t *testing.T) {
	for text, want := range map[string]bool{"": true, "    enabled: true\n": true, "    enabled: false\n": false} {
		c, err := ReadBootstrap(write(t, edited(t, "bootstrap.yaml", "  - id: bob\n", "  - id: bob\n"+text)))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Subjects[1].Enabled; got != want {
			t.Errorf("%q: enabled is %v", text, got)
		}
	}
}

func TestAnActorIsRequiredUnlessTheIssuerSaysOptional(t *testing.T) {
	for text, want := range map[string]bool{"": false, "    actor: required\n": false, "    actor: optional\n": true} {
		c, err := ReadBootstrap(write(t, edited(t, "bootstrap.yaml", "    actor: required\n", text)))
		if err != nil {
			t.Fatal(err)
		}
		if i := c.Issuers[1]; i.ActorOptional != want || i.ActorClaim != "actor_id" {
			t.Errorf("%q: actor %q optional is %v", text, i.ActorClaim, i.ActorOptional)
		}
	}
}

func TestAnIssuerOnLoopbackNeedsNoTLS(t *testing.T) {
	for _, url := range []string{"http://127.0.0.1:9100", "http://[::1]:9100", "http://localhost:9100/dex"} {
		text := strings.ReplaceAll(example(t, "bootstrap.yaml"), "https://login.example.com", url)
		c, err := ReadBootstrap(write(t, strings.ReplaceAll(text, "{issuer: "+url, "{issuer: \""+url+"\"")))
		if err != nil || c.Issuers[0].URL != url {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// The law names what is wrong, and the line is that of the item, wherever in the file it stands.
func TestTheLineOfWhatTheLawRefusesDoesNotDependOnTheOrderOfTheParts(t *testing.T) {
	text := edited(t, "bootstrap.yaml", "members: [bob, carol]", "members: [bob, mallory]")
	start, end := strings.Index(text, "roles:\n"), strings.Index(text, "keys:\n  - keyid")
	path := write(t, text[start:end]+text[:start]+text[end:])
	_, err := ReadBootstrap(path)
	if want := path + `: line 3: role fw-approvers: there is no subject "mallory"`; err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

func TestManyProblemsAreCounted(t *testing.T) {
	path := write(t, "- a\n")
	if _, err := ReadBootstrap(path); err == nil || !strings.Contains(err.Error(), "the file must be a mapping") {
		t.Errorf("%v", err)
	}
	_, err := ReadBootstrap(write(t, edited(t, "bootstrap.yaml", "audiences: [keyserver]", "audiences: ["+strings.Repeat("1, ", 25)+"a]")))
	if lines := strings.Split(err.Error(), "\n"); len(lines) != strictyaml.MaxProblems+1 || !strings.HasSuffix(lines[strictyaml.MaxProblems], ": and 5 more") {
		t.Errorf("%v", err)
	}
}

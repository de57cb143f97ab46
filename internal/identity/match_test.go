package identity

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
)

// No configuration that was accepted has two such subjects, and a token of both would be refused nevertheless.
func TestATokenOfTwoSubjectsIsRefused(t *testing.T) {
	v := &verified{issuer: law.Issuer{URL: "https://idp.example"}, sub: "ada-1"}
	who, err := v.only(manyPeople(t, 2), []law.SubjectID{"person-0", "person-1"})
	var refused *Error
	if !errors.As(err, &refused) || who != "" || refused.Kind != NotAllowed || refused.Reason != TwoSubjects {
		t.Fatalf("subject %q, error %v", who, err)
	}
	if strings.Contains(refused.Sentence, "person-1") || !strings.Contains(refused.Error(), "subjects person-0 and person-1") {
		t.Errorf("both subjects must be named in the log only: %q, %q", refused.Sentence, refused.Error())
	}
}

func TestASubjectThatIsNotThereSignsNobodyIn(t *testing.T) {
	v := &verified{issuer: law.Issuer{URL: "https://idp.example"}, sub: "ada-1"}
	if who, err := v.only(law.Facts{}, []law.SubjectID{"person-0"}); err == nil || who != "" {
		t.Errorf("signed in as %q", who)
	}
}

// manyPeople are facts with n people and as many pipelines of one issuer.
func manyPeople(t testing.TB, n int) law.Facts {
	t.Helper()
	const issuer = "https://idp.example"
	c := law.Configuration{Issuers: []law.Issuer{{
		URL: issuer, Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"},
	}}}
	for i := range n {
		c.Subjects = append(c.Subjects, law.Subject{
			ID: law.SubjectID(fmt.Sprintf("person-%d", i)), Kind: law.User, Name: "A person", Enabled: true,
			Identities: []law.Identity{{Issuer: issuer, Claims: map[string][]string{"sub": {fmt.Sprintf("%d", i)}, "tenant": {"t"}}}},
		}, law.Subject{
			ID: law.SubjectID(fmt.Sprintf("pipeline-%d", i)), Kind: law.Client, Name: "A pipeline", Enabled: true,
			Identities: []law.Identity{{Issuer: issuer, Claims: map[string][]string{
				"repository": {fmt.Sprintf("r%d", i/10)}, "ref": {fmt.Sprintf("refs/heads/%d", i%10)}, "tenant": {"ci"}}}},
		})
	}
	f, err := law.NewFacts(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Signing in must not take longer the more subjects there are.
func BenchmarkMatching(b *testing.B) {
	for _, n := range []int{50, 5000} {
		f := manyPeople(b, n)
		for kind, text := range map[string]map[string]string{
			"person":   {"iss": "https://idp.example", "sub": "7", "tenant": "t", "scope": "openid", "client_id": "ks"},
			"pipeline": {"sub": "repo", "tenant": "ci", "repository": "r3", "ref": "refs/heads/5", "run": "1", "actor": "me"},
			"stranger": {"sub": "nobody", "tenant": "t", "repository": "r0", "ref": "none"},
		} {
			b.Run(fmt.Sprintf("%s among %d subjects", kind, 2*n), func(b *testing.B) {
				for b.Loop() {
					f.Matching("https://idp.example", text)
				}
			})
		}
	}
}

package identitytest

import (
	"time"

	"example.org/keyserver/internal/law"
)

// AccessToken returns the claims of an access token as RFC 9068 has them, valid for five minutes.
func AccessToken(now time.Time, sub string) Claims {
	return Claims{
		"aud": Audience, "sub": sub, "client_id": "ks", "jti": "7f9c2a54", "scope": "openid",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
}

// GitHubActions returns the claims of the token of a job in GitHub Actions: a push to main of octo/fw by
// octocat. Its typ is JWT, and all but the times are strings.
func GitHubActions(now time.Time) Claims {
	return Claims{
		"aud": Audience, "sub": "repo:octo/fw:environment:production", "jti": "0d5cbd2c-6f4e-4b0e-9d7a-1f0c9f3c2b11",
		"iat": now.Unix(), "nbf": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"actor": "octocat", "actor_id": "583231",
		"repository": "octo/fw", "repository_id": "74", "repository_owner": "octo", "repository_owner_id": "65",
		"repository_visibility": "private", "environment": "production", "event_name": "push",
		"ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true", "base_ref": "", "head_ref": "",
		"sha": "9f2c1e7ab0d4c35e8f6a7b1d2c3e4f5061728394", "run_id": "8123456789", "run_number": "10", "run_attempt": "2",
		"runner_environment": "github-hosted", "workflow": "release",
		"workflow_ref": "octo/fw/.github/workflows/release.yml@refs/heads/main", "workflow_sha": "9f2c1e7ab0d4c35e8f6a7b1d2c3e4f5061728394",
		"job_workflow_ref": "octo/build/.github/workflows/sign.yml@refs/heads/main", "job_workflow_sha": "1b2c3d4e5f60718293a4b5c6d7e8f90123456789",
	}
}

// GitHubIssuer returns the configuration for [GitHubActions].
func (p *IdP) GitHubIssuer() law.Issuer {
	i := p.Issuer()
	i.Types, i.ActorClaim = []string{"JWT"}, "actor_id"
	i.Captured = []string{"repository", "ref", "sha", "event_name", "job_workflow_ref", "run_id", "run_attempt", "actor", "head_ref"}
	return i
}

// GitLabCI returns the claims of an ID token of a job in GitLab CI: a push to main of acme/fw by dana. Its
// typ is JWT; runner_id is a number, groups_direct a list, and what GitLab does not know is null.
func GitLabCI(now time.Time) Claims {
	return Claims{
		"aud": Audience, "sub": "project_path:acme/fw:ref_type:branch:ref:main", "jti": "1f0cd3a1-7c4d-4b35-9e23-0d3b8f1b7a90",
		"iat": now.Unix(), "nbf": now.Add(-5 * time.Second).Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"namespace_id": "72", "namespace_path": "acme", "project_id": "20", "project_path": "acme/fw", "project_visibility": "private",
		"user_id": "7", "user_login": "dana", "user_email": "dana@example.com", "user_access_level": "maintainer",
		"user_identities": []any{map[string]any{"provider": "saml", "extern_uid": "dana-1"}},
		"groups_direct":   []string{"acme", "acme/release"},
		"pipeline_id":     "574", "pipeline_source": "push", "job_id": "302",
		"ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
		"environment": "production", "environment_protected": "true", "deployment_tier": "production",
		"runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
		"ci_config_ref_uri": "gitlab.example.com/acme/fw//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": nil,
	}
}

// GitLabIssuer returns the configuration for [GitLabCI].
func (p *IdP) GitLabIssuer() law.Issuer {
	i := p.Issuer()
	i.Types, i.ActorClaim = []string{"JWT"}, "user_id"
	i.Captured = []string{"project_path", "ref", "ref_protected", "sha", "pipeline_id", "pipeline_source", "runner_id", "groups_direct", "ci_config_sha"}
	return i
}

// EntraTenant is the tid claim of [EntraUser].
const EntraTenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"

// EntraUser returns the claims of a version 2.0 access token of Microsoft Entra ID for a person. Its typ is
// JWT; sub differs from application to application, oid does not; azp is the client.
func EntraUser(now time.Time, oid string) Claims {
	return Claims{
		"aud": Audience, "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "ver": "2.0", "tid": EntraTenant, "oid": oid,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(75 * time.Minute).Unix(),
		"azp": "e02f1b4c-5d0c-4a6b-8a1b-c0f0f5a6d9aa", "azpacr": "0", "scp": "sign approve",
		"name": "Ada Example", "preferred_username": "ada@example.com",
		"aio": "AXQAi/8IAAAAFm+E/QTG+gFnVxLjWdw8K+61AGrSOuMMF6ebaMj7XO3I", "rh": "0.ATEAv4j5cvGGr0GRqy180BHbR", "uti": "fqiBqXLPj0eQa82S-IYFAA",
	}
}

// EntraApplication returns the claims of a version 2.0 access token of Microsoft Entra ID for a machine
// (client credentials): sub and oid are the same, and it has roles instead of a scope.
func EntraApplication(now time.Time, oid string) Claims {
	c := EntraUser(now, oid).With("sub", oid).With("roles", []string{"Orders.Place"}).With("azpacr", "1").With("idtyp", "app")
	return c.Without("scp", "name", "preferred_username")
}

// EntraIssuer returns the configuration for [EntraUser] and [EntraApplication].
func (p *IdP) EntraIssuer() law.Issuer {
	i := p.Issuer()
	i.Types = []string{"JWT"}
	i.Captured = []string{"azp", "roles"}
	return i
}

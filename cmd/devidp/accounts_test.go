package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func writeFile(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheExampleAccountsAreComplete(t *testing.T) {
	a, err := loadAccounts("testdata/accounts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if a.Audience != "keyserver" || a.TokenLifetime != time.Hour || len(a.Users) != 5 || len(a.Clients) != 1 {
		t.Errorf("got %+v", a)
	}
}

func TestAbsentFieldsHaveTheirDefaults(t *testing.T) {
	a, err := loadAccounts(writeFile(t, t.TempDir(), "accounts.yaml", "audience: keyserver\n"))
	if err != nil {
		t.Fatal(err)
	}
	if a.PublicClient != "ks" || a.TokenLifetime != time.Hour || len(a.RedirectURIs) != 1 {
		t.Errorf("got %+v", a)
	}
}

func TestASecretIsReadFromItsFile(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "ci.secret", "from a file\n")
	a, err := loadAccounts(writeFile(t, dir, "accounts.yaml", "audience: keyserver\nclients:\n  - {id: ci, name: CI, secret-file: ci.secret}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := a.client("ci"); !ok || !c.authenticates("from a file") || c.authenticates("") {
		t.Errorf("the client is %v, %v and does not go by its secret", c.id, ok)
	}
}

func TestAccountsThatMakeNoSenseAreRefused(t *testing.T) {
	const head = "audience: keyserver\n"
	for name, c := range map[string]struct{ content, want string }{
		"unknown field":       {head + "users:\n  - sub: alice\n    name: Alice\n    email: alice@example.org\n", "accounts.yaml:5:5: unknown field \"email\""},
		"unknown field above": {"audiense: keyserver\n", "accounts.yaml:1:1: unknown field \"audiense\""},
		"field twice":         {head + head, "accounts.yaml:2:1:"},
		"wrong type":          {head + "users: alice\n", "accounts.yaml:2:8:"},
		"not YAML":            {head + "users: [\n", "accounts.yaml:2:"},
		"two documents":       {head + "---\n" + head, "more than one YAML document"},
		"empty":               {"", "audience is required"},
		"number as lifetime":  {head + "token-lifetime: 3600\n", "accounts.yaml:2:"},
		"long lifetime":       {head + "token-lifetime: 25h\n", "give 1s to 24h"},
		"negative lifetime":   {head + "token-lifetime: -1h\n", "give 1s to 24h"},
		"http elsewhere":      {head + "redirect-uris: ['http://example.org/']\n", "plain http to another place"},
		"http to a name":      {head + "redirect-uris: ['http://localhost/']\n", "plain http to another place"},
		"other scheme":        {head + "redirect-uris: ['app://example/']\n", "neither http nor https"},
		"fragment":            {head + "redirect-uris: ['https://example.org/#a']\n", "without fragment"},
		"person without sub":  {head + "users: [{name: Alice}]\n", "users: number 1: sub and name are required"},
		"empty person":        {head + "users:\n  -\n", "users: number 1: sub and name are required"},
		"sub twice":           {head + "users: [{sub: a, name: A}, {sub: a, name: B}]\n", `users: sub "a" is used twice`},
		"person and machine":  {head + "users: [{sub: a, name: A}]\nclients: [{id: a, name: A, secret: s}]\n", `clients: id "a" is used twice`},
		"the public client":   {head + "clients: [{id: ks, name: A, secret: s}]\n", `clients: id "ks" is used twice`},
		"machine without id":  {head + "clients: [{name: A, secret: s}]\n", "clients: number 1: id and name are required"},
		"no secret":           {head + "clients: [{id: a, name: A}]\n", "clients: a: give either secret or secret-file"},
		"two secrets":         {head + "clients: [{id: a, name: A, secret: s, secret-file: f}]\n", "clients: a: give either secret or secret-file"},
		"secret file missing": {head + "clients: [{id: a, name: A, secret-file: missing}]\n", "clients: a: reading secret-file"},
		"secret file empty":   {head + "clients: [{id: a, name: A, secret-file: empty}]\n", "is empty"},
		"reserved claim":      {head + "clients: [{id: a, name: A, secret: s, claims: {aud: other}}]\n", "clients: a: claims: aud is set by the provider"},
		"claim without JSON":  {head + "clients: [{id: a, name: A, secret: s, claims: {x: .nan}}]\n", "clients: a: claims:"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, dir, "empty", "\n")
			_, err := loadAccounts(writeFile(t, dir, "accounts.yaml", c.content))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestARefusalDoesNotQuoteASecret(t *testing.T) {
	content := "audience: keyserver\nclients:\n  - id: ci\n    secret: hunter2\n    nmae: CI\n"
	_, err := loadAccounts(writeFile(t, t.TempDir(), "accounts.yaml", content))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want a refusal without the secret", err)
	}
}

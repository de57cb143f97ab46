package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestPagesAreThereOnlyIfTheyAreConfigured(t *testing.T) {
	if c := read(t, example(t, "development.yaml")); c.Web != nil {
		t.Errorf("there are pages: %+v", c.Web)
	}
	c := read(t, example(t, "development.yaml")+"web: {issuer: \"http://127.0.0.1:9100\", client-id: ks}\n")
	if want := (Web{Issuer: "http://127.0.0.1:9100", ClientID: "ks", Idle: 3_600_000, Absolute: 43_200_000, DecisionAge: 900_000}); !reflect.DeepEqual(*c.Web, want) {
		t.Errorf("defaults are %+v, want %+v", *c.Web, want)
	}
	if c.Web.DecisionAge.Duration() != 15*time.Minute || c.RedirectURL() != "http://127.0.0.1:8443/signed-in" || len(c.Check()) != 0 {
		t.Errorf("%v, %s, %v", c.Web.DecisionAge.Duration(), c.RedirectURL(), c.Check())
	}
}

func TestPagesAreShownWithWhereTheirSecretIs(t *testing.T) {
	path := write(t, strings.Replace(example(t, "web.yaml"), "{file: /etc/keyserver/client.secret}", "{file: client.secret}", 1))
	c, err := Read(path, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := `web:
  issuer: https://login.example.com
  client-id: keyserver-web
  client-secret:
    file: ` + strings.TrimSuffix(path, "/file.yaml") + `/client.secret
  idlems: 3600000
  absolutems: 43200000
  decision-agems: 900000
  link-hosts:
    - github.com
    - gitlab.example.com
`
	if got := shown(t, c); !strings.Contains(got, want) {
		t.Errorf("shown:\n%s\nwant in it:\n%s", got, want)
	}
	c = read(t, strings.Replace(example(t, "web.yaml"), "{file: /etc/keyserver/client.secret}", "{env: CLIENT}", 1))
	if _, err := c.Web.ClientSecret.Read(); err == nil || !strings.Contains(err.Error(), "CLIENT: it is not set") {
		t.Errorf("error %v", err)
	}
}

func TestCheckSaysWhatIsWrongWithPages(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"an issuer on another port", func(c *Config) { c.Web.Issuer = "https://login.example.com:8443/realms/people" }, ""},
		{"a public client", func(c *Config) { c.Web.ClientSecret = nil }, ""},
		{"limits at their ceiling", func(c *Config) { c.Web.Idle, c.Web.Absolute, c.Web.DecisionAge = 86_400_000, 86_400_000, 86_400_000 }, ""},
		{"hosts of all kinds", func(c *Config) { c.Web.LinkHosts = []string{"git", "xn--bcher-kva.example", "a-b.3com.example"} }, ""},
		{"an issuer in clear", func(c *Config) { c.Web.Issuer = "http://login.example.com" },
			"web: issuer http://login.example.com is reached in clear; write https://, plain http is for loopback only"},
		{"an issuer in clear on this machine", func(c *Config) { c.Web.Issuer = "http://127.0.0.1:9100" },
			"web: issuer http://127.0.0.1:9100 is reached in clear; write https://, plain http is for development mode only"},
		{"an issuer that is a script", func(c *Config) { c.Web.Issuer = "javascript:alert(1)" },
			`web: issuer "javascript:alert(1)" is not the https:// URL of an issuer; write it as it stands in the policy`},
		{"a client with a name that cannot be sent", func(c *Config) { c.Web.ClientID = "schlüssel" },
			"web: client-id must be 1 to 255 characters of ASCII; write what the issuer calls this server"},
		{"a secret that is nowhere", func(c *Config) { c.Web.ClientSecret = &Secret{} },
			"web: client-secret: say exactly one of `file` and `env`"},
		{"more idle than there is", func(c *Config) { c.Web.Absolute = 3_599_999 },
			"web: idlems is 3600000, and nobody stays signed in for longer than absolutems, 3599999; make it at most that"},
		{"limits that are none", func(c *Config) { c.Web.Idle, c.Web.Absolute, c.Web.DecisionAge = 1, 86_400_001, 86_400_001 },
			"web: absolutems is 86400001; write a number from 1 to 86400000, or remove it for the default\n" +
				"web: decision-agems is 86400001; write a number from 1 to 86400000, or remove it for the default"},
		{"nothing at all", func(c *Config) { c.Web = &Web{} },
			`web: issuer "" is not the https:// URL of an issuer; write it as it stands in the policy` + "\n" +
				"web: client-id must be 1 to 255 characters of ASCII; write what the issuer calls this server\n" +
				"web: idlems is 0; write a number from 1 to 86400000, or remove it for the default\n" +
				"web: absolutems is 0; write a number from 1 to 86400000, or remove it for the default\n" +
				"web: decision-agems is 0; write a number from 1 to 86400000, or remove it for the default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var said []string
			for _, err := range changed(t, "web.yaml", c.change).Check() {
				said = append(said, err.Error())
			}
			if got := strings.Join(said, "\n"); got != c.want {
				t.Errorf("said:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func TestALinkHostIsThePlainNameOfAHost(t *testing.T) {
	for _, host := range []string{
		"", "GitHub.com", "https://github.com", "github.com/", "github.com:443", "github.com.", ".github.com", "*.github.com", "git hub.com", "bücher.example",
		"127.0.0.1", "::1", "[::1]", "user@github.com", "-a.example", "a-.example", "a..b", "github.com\n", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "a",
	} {
		problems := changed(t, "web.yaml", func(c *Config) { c.Web.LinkHosts = []string{host} }).Check()
		if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "web: link-hosts: ") {
			t.Errorf("%q: %v", host, problems)
		}
	}
}

package config

import (
	"strings"
	"testing"

	"example.org/keyserver/internal/law"
)

// What is accepted, shown and read again is the same configuration.
func FuzzConfig(f *testing.F) {
	for _, file := range []string{"development.yaml", "production.yaml", "production-postgres.yaml", "hsm.yaml"} {
		f.Add(example(f, file))
	}
	for _, c := range refusedConfigurations {
		if text := strings.Replace(example(f, "development.yaml"), c.old, c.new, 1); len(text) < 4096 {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, problems := parse([]byte(text), "/etc/keyserver", environment(nil))
		if len(problems) > 0 {
			return
		}
		if c.LogKey.fault() != "" || c.Limits.KeystoreTimeout < 1 || len(c.Keystores) == 0 || c.Listen == "" {
			t.Fatalf("accepted although something is missing: %+v", c)
		}
		if len(c.Check()) > 0 {
			return
		}
		again, problems := parse([]byte(shown(t, c)), "/elsewhere", environment(nil))
		if len(problems) > 0 {
			t.Fatalf("shown and not accepted: %v\n%s", problems, shown(t, c))
		}
		if shown(t, again) != shown(t, c) {
			t.Fatalf("shown:\n%s\nand read again:\n%s", shown(t, c), shown(t, again))
		}
	})
}

// What is accepted is accepted by the law, and every key says how many people must approve.
func FuzzBootstrap(f *testing.F) {
	f.Add(example(f, "bootstrap.yaml"))
	for _, c := range refusedBootstraps {
		f.Add(strings.Replace(example(f, "bootstrap.yaml"), c.old, c.new, 1))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, problems := parseBootstrap([]byte(text))
		if len(problems) > 0 {
			if len(c.Issuers)+len(c.Subjects)+len(c.Roles)+len(c.Keys) > 0 {
				t.Fatalf("something came with %v", problems)
			}
			return
		}
		if _, err := law.NewFacts(c.Configuration); err != nil {
			t.Fatal(err)
		}
		if written := strings.Count(text, "requirement"); written < len(c.Keys) && !strings.Contains(text, `\`) { // escapes can spell it too
			t.Fatalf("%d keys, and only %d requirements in\n%s", len(c.Keys), written, text)
		}
		for _, k := range c.Keys {
			if !k.Requirement.Set() || k.MaxValidity <= 0 || k.State != law.KeyActive || k.PublicKey != nil {
				t.Fatalf("accepted key %+v", k)
			}
		}
	})
}

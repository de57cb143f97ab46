package config

import (
	"strings"
	"testing"
)

// What is accepted, shown and read again is the same configuration.
func FuzzConfig(f *testing.F) {
	for _, file := range []string{"development.yaml", "production.yaml", "production-postgres.yaml", "hsm.yaml", "web.yaml", "notifications.yaml"} {
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
		if c.LogKey.Fault() != "" || c.Limits.KeystoreTimeout < 1 || len(c.Keystores) == 0 || c.Listen == "" {
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

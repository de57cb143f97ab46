package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.org/keyserver/e2e/stand"
)

// The demonstration is a promise of the README: it must hold in every run of the tests too, on all parts.
func TestTheMainJobWorksEndToEndOnTheRealPrograms(t *testing.T) {
	bin := t.TempDir()
	build(t, bin, "CGO_ENABLED=0", "../../cmd/keyserver", "../../cmd/ks", "../../cmd/devidp")
	build(t, bin, "CGO_ENABLED=1", "../../cmd/keyserver-hsm")
	for _, parts := range []stand.Options{
		{Database: stand.SQLite, Keystore: stand.Software},
		{Database: stand.Postgres, Keystore: stand.Software},
		{Database: stand.SQLite, Keystore: stand.SoftHSM},
		{Database: stand.Postgres, Keystore: stand.SoftHSM},
	} {
		t.Run(parts.Database+" and "+parts.Keystore, func(t *testing.T) {
			t.Parallel()
			want, said := 19, []string{"in a SQLite file", "in files encrypted by the server"}
			if parts.Database == stand.Postgres {
				said[0] = "in PostgreSQL, "
			}
			if parts.Keystore == stand.SoftHSM {
				want, said[1] = 20, "in a token of SoftHSM2, "
			}
			var out strings.Builder
			if err := run(t.Context(), &out, bin, parts, false); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if proofs := strings.Count(out.String(), "✓"); proofs != want {
				t.Errorf("%d steps were proven, not %d\n%s", proofs, want, out.String())
			}
			for _, words := range said {
				if !strings.Contains(out.String(), words) {
					t.Errorf("it does not say %q\n%s", words, out.String())
				}
			}
		})
	}
}

func build(t *testing.T, bin, cgo string, programs ...string) {
	t.Helper()
	c := exec.Command("go", append([]string{"build", "-o", bin + string(os.PathSeparator)}, programs...)...)
	c.Env = append(c.Environ(), cgo)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
}

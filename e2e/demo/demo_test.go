package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The demonstration is a promise of the README: it must hold in every run of the tests too.
func TestTheMainJobWorksEndToEndOnTheRealPrograms(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "../../cmd/keyserver", "../../cmd/ks", "../../cmd/devidp")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
	var out strings.Builder
	if err := run(t.Context(), &out, bin, false); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if proofs := strings.Count(out.String(), "✓"); proofs != 11 {
		t.Errorf("%d steps were proven, not 11\n%s", proofs, out.String())
	}
}

package browser

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAxeThatCannotBeFetchedIsAnErrorThatSaysWhatToDo(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	if _, err := axeSource(); err == nil || !strings.Contains(err.Error(), "run scripts/need npm") {
		t.Errorf("without npm: %v", err)
	}
}

// Neither what is kept nor what npm brings is used unless it is what is pinned.
func TestAxeThatIsNotTheOnePinnedIsRefusedAndNotKept(t *testing.T) {
	cache, programs := t.TempDir(), t.TempDir()
	kept := filepath.Join(cache, "keyserver-tests", "axe-core-"+axeVersion+".tgz")
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, []byte("spoiled"), 0o644); err != nil {
		t.Fatal(err)
	}
	npm := "#!/bin/sh\necho other >axe-core-" + axeVersion + ".tgz\n"
	if err := os.WriteFile(filepath.Join(programs, "npm"), []byte(npm), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("PATH", programs)
	if _, err := axeSource(); err == nil || !strings.Contains(err.Error(), "not the one that is pinned") {
		t.Errorf("with another package: %v", err)
	}
	if now, err := os.ReadFile(kept); err != nil || string(now) != "spoiled" {
		t.Errorf("what npm brought was kept: %q, %v", now, err)
	}
}

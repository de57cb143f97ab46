package coredump_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"example.org/keyserver/internal/coredump"
)

const asChild = "KEYSERVER_TEST_DISABLE_CORE_DUMPS"

// In the child the call is made, and what the kernel then says is printed.
func TestMain(m *testing.M) {
	if os.Getenv(asChild) == "" {
		os.Exit(m.Run())
	}
	err := coredump.Disable()
	var limit unix.Rlimit
	limitErr := unix.Getrlimit(unix.RLIMIT_CORE, &limit)
	dumpable, dumpableErr := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	fmt.Println(err, limitErr, dumpableErr, "core", limit.Cur, limit.Max, "dumpable", dumpable)
}

func TestCoreDumpsAreDisabled(t *testing.T) {
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), asChild+"=1")
	out, err := child.CombinedOutput()
	if want := "<nil> <nil> <nil> core 0 0 dumpable 0\n"; err != nil || string(out) != want {
		t.Errorf("the child says %q (error %v), want %q", out, err, want)
	}
}

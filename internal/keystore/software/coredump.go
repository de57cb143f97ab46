package software

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DisableCoreDumps keeps this process's memory from being written to a core dump, and other processes of the
// same user from reading it (prctl(2), PR_SET_DUMPABLE). The server calls it before it reads a secret.
func DisableCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("disabling core dumps: setting RLIMIT_CORE to 0: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("disabling core dumps: making the process undumpable: %w", err)
	}
	return nil
}

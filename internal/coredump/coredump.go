// Package coredump keeps what is in the memory of a process that has secrets from leaving it.
package coredump

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Disable keeps this process's memory from being written to a core dump, and other processes of the
// same user from reading it (prctl(2), PR_SET_DUMPABLE). A program that has secrets calls it before it reads one.
func Disable() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("disabling core dumps: setting RLIMIT_CORE to 0: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("disabling core dumps: making the process undumpable: %w", err)
	}
	return nil
}

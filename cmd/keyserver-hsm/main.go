//go:build cgo

// Keyserver-hsm is the worker of one keystore in an HSM: it loads the PKCS#11 library of the HSM's vendor,
// logs in to one token and does what the server asks of it over a socketpair (docs/formats/hsm-worker.md).
// The server starts it, and replaces it when it hangs or crashes; it ends when the server does. There is
// nothing to say to it on its command line or in its environment; what the environment has is for the library.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"example.org/keyserver/internal/coredump"
	"example.org/keyserver/internal/keystore/hsm"
)

func main() {
	err := run(hsm.WorkerSocket)
	if err != nil {
		fmt.Fprintf(os.Stderr, "keyserver-hsm: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0) // at once, whatever the library is doing in other threads
}

// run serves the socket until the server closes it. That also ends what hangs.
func run(fd int) error {
	if err := coredump.Disable(); err != nil {
		return err
	}
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP) // the server says when it is over, after its last signature
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return errors.New("this program is started by keyserver serve, not by hand: name it in a keystore of the configuration")
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, false); err != nil { // a thread that waits in read(2) itself is woken faster than by a poller
		return fmt.Errorf("preparing the socket: %w", err)
	}
	err := newWorker(os.NewFile(uintptr(fd), "socketpair")).serve(fd)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

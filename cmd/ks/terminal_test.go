package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.org/keyserver/internal/law"
)

// openTerminal returns a pseudo-terminal of that many columns, and a function that closes it and returns
// what was printed on it.
func openTerminal(t *testing.T, columns uint16) (tty *os.File, printed func() string) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	must(err)
	must(unix.IoctlSetWinsize(int(control.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}))
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	must(err)
	var out bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = out.ReadFrom(control) // ends with an error when the other end is closed
	}()
	t.Cleanup(func() { _ = control.Close() })
	return tty, func() string {
		_ = tty.Close()
		<-done
		return out.String()
	}
}

func TestOnATerminalHashingShowsHowFarItIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fw\x1b[2J.bin")
	if err := os.WriteFile(file, make([]byte, 10<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	tty, printed := openTerminal(t, 80)
	p := &program{stderr: tty}
	size, digests, err := p.hashFile(t.Context(), file, law.SHA256, law.SHA512)
	if err != nil || size != 10<<20 || len(digests) != 2 || len(digests[1]) != 64 {
		t.Errorf("got %d bytes, %x, %v", size, digests, err)
	}
	out := printed()
	if !strings.Contains(out, "hashing fw<U+001B>[2J.bin") || strings.Contains(out, "\x1b[2J") {
		t.Errorf("got %q", out)
	}

	var plain strings.Builder
	p.stderr = &plain
	if _, _, err := p.hashFile(t.Context(), file, law.SHA256); err != nil || plain.Len() != 0 {
		t.Errorf("got %v, %q; want nothing where nobody looks", err, plain.String())
	}
}

func TestAnExportIsNotPrintedOnATerminal(t *testing.T) {
	tty, printed := openTerminal(t, 80)
	env := []string{"KS_HOME=" + t.TempDir(), "KS_SERVER=http://127.0.0.1:1", "KS_TOKEN=token"}
	if code := run(t.Context(), []string{"audit", "export"}, env, tty, tty, tty); code != exitUsage {
		t.Errorf("got exit code %d", code)
	}
	if out := printed(); !strings.Contains(out, "name a file with --output") {
		t.Errorf("got %q", out)
	}
}

func TestTextFitsTheTerminal(t *testing.T) {
	for columns, want := range map[uint16]int{0: 100, 20: 40, 64: 64, 200: 100} {
		tty, printed := openTerminal(t, columns)
		if got := width(tty); got != want {
			t.Errorf("on %d columns text is %d wide, want %d", columns, got, want)
		}
		printed()
	}
}

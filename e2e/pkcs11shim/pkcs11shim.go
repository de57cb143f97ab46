// Package pkcs11shim puts a shim between a program and its HSM in a test: a PKCS#11 module in C that passes
// every call on to a real module, writes down every call that makes a signature before it is made, and does
// harm on request. What it wrote down is the ground truth of what the HSM was asked for, independent of the
// program under test. The README says how to use it by hand.
package pkcs11shim

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed shim
var sources embed.FS

// patience is how long Await waits for calls.
const patience = 30 * time.Second

// flags of gcc, for a module with one exported symbol.
const flags = "-std=c11 -Wall -Wextra -Werror -O2 -fPIC -shared -pthread -fvisibility=hidden"

// Build compiles the shim with gcc, once for all tests of one state of its sources, and returns the path of the
// module, which is in the user's cache.
func Build(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatalf("building the shim (gcc is needed: ./scripts/need gcc libc): %v", err)
	}
	return path
}

func build() (string, error) {
	state := sha256.New()
	state.Write([]byte(flags))
	err := fs.WalkDir(sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := sources.ReadFile(path)
		fmt.Fprintf(state, "\n%s %d\n%s", path, len(text), text)
		return err
	})
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "keyserver-test")
	final := filepath.Join(dir, "shim-"+hex.EncodeToString(state.Sum(nil)[:16])+".so")
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	draft, err := os.MkdirTemp(dir, "draft-") // other test binaries build at the same time
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(draft)
	if err := compile(draft); err != nil {
		return "", err
	}
	return final, os.Rename(filepath.Join(draft, "shim.so"), final)
}

func compile(dir string) error {
	if err := os.CopyFS(dir, sources); err != nil {
		return fmt.Errorf("writing the sources: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "shim", "*.c"))
	if err != nil {
		return err
	}
	gcc := exec.Command("gcc", append(append(strings.Fields(flags+" -o shim.so"), files...), "-ldl")...)
	gcc.Dir = dir
	if out, err := gcc.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// Shim is a built shim with its directory, in front of a real module.
type Shim struct {
	Path   string // the module to load in place of the real one
	Module string // the real one
	Dir    string // holds the files calls, control and log
	t      testing.TB
	faults int // set so far
}

// New builds the shim in front of a real module. A test that fails shows what the shim logged.
func New(t testing.TB, module string) *Shim {
	t.Helper()
	s := &Shim{Path: Build(t), Module: module, Dir: t.TempDir(), t: t}
	t.Cleanup(func() {
		if log := s.Complaints(); t.Failed() && log != "" {
			t.Logf("the shim logged:\n%s", log)
		}
	})
	return s
}

// Env is what the process that loads the shim needs in its environment.
func (s *Shim) Env() []string {
	return []string{"PKCS11_SHIM_MODULE=" + s.Module, "PKCS11_SHIM_DIR=" + s.Dir}
}

// Action is what a fault does.
type Action string

// The actions. They are for calls that make a signature, Gone is for every call of PKCS#11.
const (
	Delay      Action = "delay"       // waits For before the call
	Hang       Action = "hang"        // does not return until the fault is cleared or another is set; then the call is made
	Return     Action = "return"      // returns RV and does not make the call
	Report     Action = "report"      // makes the call, keeps the signature and returns RV
	Corrupt    Action = "corrupt"     // flips the last bit of the signature
	Swap       Action = "swap"        // returns the signature that the process made before this one, with whatever key
	KillBefore Action = "kill-before" // kills the process PID before the call
	KillAfter  Action = "kill-after"  // kills the process PID after the call, before it returns
	Gone       Action = "gone"        // every function but C_GetFunctionList and C_Finalize returns RV
)

// Return values of PKCS#11 for RV.
const (
	GeneralError         = 0x05
	DeviceError          = 0x30
	DeviceRemoved        = 0x32
	SessionHandleInvalid = 0xb3
	TokenNotPresent      = 0xe0
	UserNotLoggedIn      = 0x101
)

// Self is the PID of the process that makes the call.
const Self = -1

// Fault is harm to be done. A field that is not for its action must be zero: the shim refuses what it does
// not understand by failing every call that makes a signature.
type Fault struct {
	Do    Action
	For   time.Duration // Delay; whole milliseconds
	RV    uint          // Return, Report, Gone; not 0
	PID   int           // KillBefore, KillAfter
	Label string        // only calls with the key of this CKA_LABEL; empty: each key
	ID    []byte        // only calls with the key of this CKA_ID; empty: each key
	From  int           // only from this call on, of those that fit since the fault was set, in all processes; 0 and 1: the first
	Times int           // only so many calls; 0: no limit
}

// line is the fault in the words of the control file.
func (f Fault) line(name string) string {
	words := []string{name, string(f.Do)}
	add := func(set bool, format string, value any) {
		if set {
			words = append(words, fmt.Sprintf(format, value))
		}
	}
	add(f.For != 0, "ms=%d", f.For.Milliseconds())
	add(f.RV != 0, "rv=0x%x", f.RV)
	add(f.PID == Self, "pid=%s", "self")
	add(f.PID != 0 && f.PID != Self, "pid=%d", f.PID)
	add(f.Label != "", "key=label:%s", escape(f.Label))
	add(len(f.ID) > 0, "key=id:%s", hex.EncodeToString(f.ID))
	add(f.From != 0, "from=%d", f.From)
	add(f.Times != 0, "times=%d", f.Times)
	return strings.Join(words, " ") + "\n"
}

// Set puts a fault in the place of any other, from the next call on.
func (s *Shim) Set(f Fault) {
	s.t.Helper()
	s.faults++
	s.write(f.line(fmt.Sprintf("fault%d", s.faults)))
}

// write replaces the control file as a whole.
func (s *Shim) write(text string) {
	s.t.Helper()
	control := filepath.Join(s.Dir, "control")
	err := os.WriteFile(control+".new", []byte(text), 0o600)
	if err == nil {
		err = os.Rename(control+".new", control)
	}
	if err != nil {
		s.t.Fatalf("setting a fault: %v", err)
	}
}

// Clear ends the fault that is set, if there is one. A call that hangs goes on.
func (s *Shim) Clear() {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.Dir, "control")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatalf("clearing a fault: %v", err)
	}
}

// Complaints are what the shim found worth saying, a line each: a control file that it does not understand, a fault
// that it could not do.
func (s *Shim) Complaints() string { return s.read("log") }

func (s *Shim) read(file string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, file))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatalf("reading what the shim wrote: %v", err)
	}
	return string(text)
}

// Await returns when n calls or more were begun with the key of a label.
func (s *Shim) Await(label string, n int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.Calls()[label] < n {
		select {
		case <-ctx.Done():
			s.t.Fatalf("after %v %d calls were made with %s, not %d", patience, s.Calls()[label], label, n)
		case <-tick.C:
		}
	}
}

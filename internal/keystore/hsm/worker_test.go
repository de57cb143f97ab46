package hsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.org/keyserver/internal/keystore"
	"example.org/keyserver/internal/keystore/hsm"
	"example.org/keyserver/internal/keystore/hsm/hsmtest"
	"example.org/keyserver/internal/keystore/keystoretest"
	"example.org/keyserver/internal/law"
)

// record is what a keystore logs.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func (r *record) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// quiet keeps the keepalive from meddling with what a test does to the worker.
func quiet(o hsm.Options) hsm.Options {
	o.Keepalive = time.Hour
	return o
}

// signer makes a key of P-256 and returns a function that signs with it, and checks the signature.
func signer(t *testing.T, k *hsm.Keystore, id law.KeyID) func(context.Context) error {
	t.Helper()
	pair, err := k.Generate(t.Context(), id, 1, law.P256)
	if err != nil {
		t.Fatal(err)
	}
	p := keystoretest.Permit(t, keystoretest.Key("hsm", id, law.P256, pair), keystoretest.Input(law.SHA256, law.ECDSA, []byte("firmware")))
	return func(ctx context.Context) error {
		made, err := k.Sign(ctx, p)
		if err == nil {
			_, err = made.Release(p)
		}
		return err
	}
}

func signal(t *testing.T, k *hsm.Keystore, s unix.Signal) (pid int, gone <-chan struct{}) {
	t.Helper()
	pid, gone = k.Worker()
	if pid == 0 {
		t.Fatal("there is no worker")
	}
	if err := unix.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
	if s == unix.SIGSTOP {
		until(t, "that the worker stands still", func() bool { return stopped(t, pid) })
	}
	return pid, gone
}

// stopped says whether every thread of a process has stopped: a signal takes its time.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("there are no threads of %d (error %v)", pid, err)
	}
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err == nil && !bytes.Contains(stat, []byte(") T ")) {
			return false
		}
	}
	return true
}

// until waits until something has come about.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come about", what)
		}
	}
}

func TestAWorkerThatIsKilledWhileIdleIsReplaced(t *testing.T) {
	k := hsmtest.Open(t, quiet(hsmtest.NewSoftHSM(t).Options(t, nil)))
	sign := signer(t, k, "fw")
	for range 3 {
		before, gone := signal(t, k, unix.SIGKILL)
		<-gone
		if err := sign(t.Context()); err != nil {
			t.Fatalf("the next call: %v", err)
		}
		if now, _ := k.Worker(); now == before {
			t.Fatal("it is the same worker")
		}
	}
}

func TestAWorkerThatIsKilledWhileSigningFailsThatCallAlone(t *testing.T) {
	k := hsmtest.Open(t, quiet(hsmtest.NewSoftHSM(t).Options(t, nil)))
	sign := signer(t, k, "fw")
	_, gone := signal(t, k, unix.SIGSTOP)
	answers := make(chan error)
	for range 3 {
		go func() { answers <- sign(t.Context()) }()
	}
	until(t, "that three calls wait", func() bool { return k.Waiting() == 3 })
	signal(t, k, unix.SIGKILL)
	for range 3 {
		if err := <-answers; err == nil || !strings.Contains(err.Error(), "the worker has ended") {
			t.Errorf("a call that the worker did not answer: %v", err)
		}
	}
	<-gone
	if err := sign(t.Context()); err != nil {
		t.Errorf("trying again: %v", err)
	}
}

func TestAWorkerThatHangsIsReplacedWithinItsBoundAndTakesNoOtherTokenAlong(t *testing.T) {
	dir := t.TempDir()
	var keystores []*hsm.Keystore
	for _, label := range []string{"one", "two"} { // of one library and one directory
		token, err := hsmtest.MakeSoftHSM(t.Context(), dir, label, "1234")
		if err != nil {
			t.Fatal(err)
		}
		o := quiet(token.Options(t, nil))
		o.Timeout = 500 * time.Millisecond
		keystores = append(keystores, hsmtest.Open(t, o))
	}
	sign, other := signer(t, keystores[0], "fw"), signer(t, keystores[1], "fw")
	hung, gone := signal(t, keystores[0], unix.SIGSTOP)
	began := time.Now()
	answer := make(chan error)
	go func() { answer <- sign(t.Context()) }()
	until(t, "that a call waits", func() bool { return keystores[0].Waiting() == 1 })
	if err := other(t.Context()); err != nil {
		t.Errorf("the other token, meanwhile: %v", err)
	}
	err := <-answer
	if took := time.Since(began); took < 450*time.Millisecond || took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the worker did not answer within 500ms (sign) and was killed") {
		t.Errorf("the call says: %v", err)
	}
	<-gone
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", hung)); err == nil {
		t.Error("the worker that hung is still there")
	}
	if err := sign(t.Context()); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestACallerThatGoesAwayDoesNotKillTheWorker(t *testing.T) {
	k := hsmtest.Open(t, quiet(hsmtest.NewSoftHSM(t).Options(t, nil)))
	sign := signer(t, k, "fw")
	before, _ := signal(t, k, unix.SIGSTOP)
	ctx, leave := context.WithCancel(t.Context())
	answer := make(chan error)
	go func() { answer <- sign(ctx) }()
	until(t, "that a call waits", func() bool { return k.Waiting() == 1 })
	leave()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Errorf("the call says: %v", err)
	}
	signal(t, k, unix.SIGCONT)
	if err := sign(t.Context()); err != nil {
		t.Errorf("the next call: %v", err)
	}
	if now, _ := k.Worker(); now != before {
		t.Error("it is another worker")
	}
}

func TestTheKeepaliveNoticesAWorkerThatHangs(t *testing.T) {
	var log record
	o := hsmtest.NewSoftHSM(t).Options(t, log.logger())
	o.Keepalive, o.ReadyTimeout = 50*time.Millisecond, 200*time.Millisecond
	k := hsmtest.Open(t, o)
	sign := signer(t, k, "fw")
	_, gone := signal(t, k, unix.SIGSTOP)
	<-gone
	until(t, "that it is well again", func() bool { return strings.Contains(log.String(), "keystore is well again") })
	if err := sign(t.Context()); err != nil {
		t.Errorf("the next call: %v", err)
	}
	if !strings.Contains(log.String(), "level=ERROR msg=\"keystore is ill\" error=\"the worker did not answer within 200ms (ready)") {
		t.Errorf("the log says\n%s", log.String())
	}
}

func TestAPINThatIsWrongIsTriedOnce(t *testing.T) {
	var log record
	token := hsmtest.NewSoftHSM(t)
	right, wrong := token.PIN, "31415926"
	token.PIN = wrong
	k := hsmtest.Open(t, quiet(token.Options(t, log.logger())))
	refused := func() {
		t.Helper()
		err := k.Ready(t.Context())
		if err == nil || !strings.Contains(err.Error(), "the token refuses the PIN") || !strings.Contains(err.Error(), "start the server again") {
			t.Errorf("it says: %v", err)
		}
		if _, err := k.Generate(t.Context(), "fw", 1, law.P256); err == nil {
			t.Error("it makes a key pair")
		}
	}
	refused()
	if _, err := token.Tool(t.Context(), "pkcs11-tool", "--module", token.Module, "--token-label", token.Label,
		"--login", "--pin", right, "--change-pin", "--new-pin", wrong); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 500*time.Millisecond; runtime.Gosched() { // longer than the first pauses between starts
		refused() // though the PIN would be right now
	}
	if n := strings.Count(log.String(), "keystore worker started"); n != 1 {
		t.Errorf("the PIN was tried by %d workers", n)
	}
	if err := hsmtest.Open(t, token.Options(t, nil)).Ready(t.Context()); err != nil {
		t.Errorf("after starting again: %v", err)
	}
}

func TestAWorkerWithoutAnEnvironmentOfItsOwnDoesNotGetTheServers(t *testing.T) {
	t.Setenv("KEYSERVER_SECRET", "2718281828")
	k := hsmtest.Open(t, hsmtest.NewNSS(t).Options(t, nil))
	if err := k.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid, _ := k.Worker()
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || len(text) > 0 {
		t.Errorf("its environment is %q (error %v)", text, err)
	}
}

func TestThePINIsNowhereToBeSeen(t *testing.T) {
	var log record
	token := hsmtest.NewSoftHSM(t)
	t.Setenv("KEYSERVER_SECRET", token.PIN) // the server's own environment is not the worker's
	o := token.Options(t, log.logger())
	k := hsmtest.Open(t, o)
	if err := k.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid, _ := k.Worker()
	seen := log.String()
	open := hsm.Open{PIN: hsm.PIN(token.PIN)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, it := range []any{k, open, open.PIN, []any{open}} {
			seen += fmt.Sprintf(verb, it)
		}
	}
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			t.Fatal(err)
		}
		if file == "environ" && string(text) != "SOFTHSM2_CONF="+token.Environment["SOFTHSM2_CONF"]+"\x00" {
			t.Errorf("the worker's environment is %q", text)
		}
		seen += string(text)
	}
	for _, spelling := range []string{token.PIN, fmt.Sprintf("%x", token.PIN), strings.Trim(fmt.Sprint([]byte(token.PIN)), "[]"), "0x32, 0x37"} {
		if strings.Contains(seen, spelling) {
			t.Errorf("%q is in\n%s", spelling, seen)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0") {
		t.Errorf("the worker could leave a core dump (error %v):\n%s", err, limits)
	}
}

// library compiles a PKCS#11 library that does what the text says when it is loaded.
func library(t *testing.T, does string) string {
	t.Helper()
	if does == "" {
		return "/etc/passwd"
	}
	source, path := filepath.Join(t.TempDir(), "library.c"), filepath.Join(t.TempDir(), "library.so")
	if err := os.WriteFile(source, []byte("#include <unistd.h>\n#include <stdlib.h>\nlong C_GetFunctionList(void *p) { "+does+" }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "gcc", "-shared", "-fPIC", "-o", path, source).CombinedOutput(); err != nil {
		t.Fatalf("compiling (Debian packages gcc and libc6-dev): %v\n%s", err, out)
	}
	return path
}

func TestAWorkerEndsWithTheServerAlsoWhileItsLibraryHangs(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	server, theirs := os.NewFile(uintptr(ends[0]), "server"), os.NewFile(uintptr(ends[1]), "worker")
	token := hsmtest.NewSoftHSM(t)
	entered := filepath.Join(t.TempDir(), "entered")
	module := library(t, fmt.Sprintf("(void)p; rmdir(%q); for (;;) pause();", entered))
	if err := os.Mkdir(entered, 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), hsmtest.Worker(t))
	c.ExtraFiles, c.Env = []*os.File{theirs}, []string{}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	message := fmt.Appendf(nil, `{"id":1,"open":{"protocol":1,"module":%q,"token":%q,"pin":"MTIzNA==","sessions":1}}`, module, token.Label)
	if err := hsm.NewSender(server).Send(message); err != nil {
		t.Fatal(err)
	}
	until(t, "that the library hangs", func() bool { _, err := os.Stat(entered); return errors.Is(err, os.ErrNotExist) })
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} { // it stays until the server has made its last signature
		if err := c.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	server.Close()
	if err := c.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestALibraryThatHangsOrCrashesWhenItIsLoadedIsAnErrorAndNoMore(t *testing.T) {
	for does, want := range map[string]string{
		"for (;;) pause();":          "the worker did not answer within 300ms (open) and was killed",
		"abort();":                   "the worker has ended",
		"return *(volatile long*)8;": "the worker has ended",
		"":                           "the dynamic linker refuses it", // no library at all
	} {
		o := quiet(hsmtest.NewSoftHSM(t).Options(t, nil))
		o.Module, o.OpenTimeout = library(t, does), 300*time.Millisecond
		k := hsmtest.Open(t, o)
		if err := k.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", does, err)
		}
		if err := k.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "started again in a moment") {
			t.Errorf("%s, asked again at once: %v", does, err)
		}
	}
}

func TestCF03_ATokenThatIsGoneAndBackIsUsedAgainWithoutStartingTheServer(t *testing.T) {
	token := hsmtest.NewSoftHSM(t)
	k := hsmtest.Open(t, quiet(token.Options(t, nil)))
	sign := signer(t, k, "fw")
	away := token.Directory + "-away"
	if err := os.Rename(token.Directory, away); err != nil {
		t.Fatal(err)
	}
	until(t, "that it is ill", func() bool { return k.Ready(t.Context()) != nil })
	if err := os.Rename(away, token.Directory); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	until(t, "that it signs again", func() bool { return sign(t.Context()) == nil }) // CF-03: within ten seconds
	t.Logf("it took %v", time.Since(began))
}

func TestAClosedKeystoreLeavesNoProcessBehind(t *testing.T) {
	k := hsmtest.Open(t, hsmtest.NewSoftHSM(t).Options(t, nil))
	if err := k.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid, _ := k.Worker()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		t.Error("the worker is still there")
	}
	if err := k.Ready(t.Context()); !errors.Is(err, keystore.ErrClosed) {
		t.Errorf("it says: %v", err)
	}
}

func TestATokenThatIsNotSeenIsAnErrorThatSaysWhichAre(t *testing.T) {
	const hint = "the library has the variables of the keystore's `environment` and no others"
	mistyped := quiet(hsmtest.NewSoftHSM(t).Options(t, nil))
	mistyped.Token = "kyes"
	elsewhere := quiet(hsmtest.NewSoftHSM(t).Options(t, nil))
	elsewhere.Environment = map[string]string{"SOFTHSM2_CONF": "/nowhere/softhsm2.conf"}
	for want, o := range map[string]hsm.Options{
		`0 have the label "kyes", and there must be one; the labels are: "keys"; ` + hint: mistyped,
		"initialising the PKCS#11 library":                                                elsewhere,
	} {
		if err := hsmtest.Open(t, o).Ready(t.Context()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), hint) {
			t.Errorf("it says: %v", err)
		}
	}
}

func TestTheEndOfAWorkerIsAWarningUnlessItWasWanted(t *testing.T) {
	var log record
	k := hsmtest.Open(t, quiet(hsmtest.NewSoftHSM(t).Options(t, log.logger())))
	sign := signer(t, k, "fw")
	_, gone := signal(t, k, unix.SIGKILL)
	<-gone
	if err := sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	said := log.String()
	if n := strings.Count(said, `level=WARN msg="keystore worker is gone" why="the worker has ended" status="signal: killed"`); n != 1 {
		t.Errorf("%d warnings", n)
	}
	if n := strings.Count(said, "level=INFO msg=\"keystore worker has ended\"\n"); n != 1 || strings.Count(said, "is gone") != 1 {
		t.Errorf("the log says\n%s", said)
	}
}

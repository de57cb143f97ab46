package pkcs11shim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestEachCallIsWrittenDownWithItsKey(t *testing.T) {
	k := newToken(t)
	p := k.start()
	p.signs(fw, 1)
	p.signs(odd, 2) // each asks for the length first, which is no call
	all := k.All()
	want := []Call{
		{Number: 1, PID: p.Process.Pid, Function: "C_Sign", ID: []byte{1}, Label: fw, Fault: "none", Ended: true, Called: true},
		{Number: 2, PID: p.Process.Pid, Function: "C_Sign", ID: []byte{10, 11}, Label: odd, Fault: "none", Ended: true, Called: true},
	}
	if fmt.Sprint(all) != fmt.Sprint(want) {
		t.Errorf("written down is\n%+v\nnot\n%+v", all, want)
	}
	if n := k.Calls(); len(n) != 2 || n[fw] != 1 || n[odd] != 1 {
		t.Errorf("counted is %v", n)
	}
}

func TestACallWithTooLittleRoomIsOneAndTheNextTry(t *testing.T) {
	k := newToken(t)
	p := k.start()
	p.send(fmt.Sprintf("narrow %x %x %x", fw, ecdsaRaw, digest(1)))
	if sig := p.signature(p.answer()); !p.valid(fw, 1, sig) {
		t.Errorf("the signature %x is not valid", sig)
	}
	k.counts(2)
	if c := k.All()[0]; c.Returned != 0x150 {
		t.Errorf("the first call is %+v; it was to return CKR_BUFFER_TOO_SMALL", c)
	}
}

func TestASignatureInPartsIsOneCall(t *testing.T) {
	k := newToken(t)
	p := k.start()
	p.send(fmt.Sprintf("parts %x %x %x", rsaKey, sha256RSA, "three words here"))
	text, ok := strings.CutPrefix(p.answer(), "C_SignFinal 0x0 ")
	sig, err := hex.DecodeString(text)
	if !ok || err != nil {
		t.Fatalf("no signature in parts: %v", err)
	}
	h := crypto.SHA256.New()
	h.Write([]byte("three words here"))
	if err := rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, h.Sum(nil), sig); err != nil {
		t.Error(err)
	}
	if all := k.All(); len(all) != 1 || all[0].Function != "C_SignFinal" || all[0].Label != rsaKey {
		t.Errorf("written down is %+v", all)
	}
	k.Set(Fault{Do: Return, RV: DeviceError})
	p.wants(fmt.Sprintf("parts %x %x %x", rsaKey, sha256RSA, "again"), "C_SignFinal 0x30")
	if n := k.Calls()[rsaKey]; n != 2 {
		t.Errorf("%d calls are counted, not 2", n)
	}
}

func TestACallWithoutASignatureUnderWayIsRefused(t *testing.T) {
	k := newToken(t)
	p := k.start()
	p.signs(fw, 1)
	p.wants(fmt.Sprintf("end %x %x %x", fw, ecdsaRaw, digest(2)), "C_Sign 0x91")
	k.counts(1)
}

func TestAKeyWhoseNameIsTooLongIsRefused(t *testing.T) {
	k := newToken(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.must(err)
	k.adopt(key, "long", strings.Repeat("0a", 257))
	p := k.start()
	p.wants(order("long", 1), "C_SignInit 0x5")
	p.signs(fw, 2) // in the same session
	k.counts(1)
	if len(k.All()) != 1 || !strings.Contains(k.Complaints(), "at most 256 bytes") {
		t.Errorf("written down is %+v, logged %q", k.All(), k.Complaints())
	}
}

func TestThreadsAndProcessesShareOneExactCount(t *testing.T) {
	const processes, threads, each = 3, 8, 50
	k := newToken(t)
	var all sync.WaitGroup
	for range processes {
		p := k.start()
		all.Go(func() {
			p.send(fmt.Sprintf("load %x %x %d", fw, threads, each))
			if n := p.gets(); n != threads*each {
				t.Errorf("a process got %d signatures, not %d", n, threads*each)
			}
		})
	}
	all.Wait()
	k.counts(processes * threads * each)
	pids := map[int]int{}
	for _, c := range k.All() {
		if pids[c.PID]++; !c.Ended || !c.Called {
			t.Errorf("call %+v has not ended", c)
		}
	}
	for pid, n := range pids {
		if n != threads*each {
			t.Errorf("process %d made %d calls, not %d", pid, n, threads*each)
		}
	}
}

// gets reads what a load says until it or the process has ended, and returns how many signatures it got.
func (p *process) gets() int {
	_, gets := p.tally()
	return gets
}

func (p *process) tally() (asks, gets int) {
	for line := p.answer(); line != "" && !strings.HasPrefix(line, "load "); line = p.answer() {
		switch line {
		case "asks":
			asks++
		case "gets":
			gets++
		}
	}
	return asks, gets
}

// The program says before each call that it asks, and after it that it got the signature: the count can be
// between the two only, and by no more than what each thread had under way.
func TestAProcessKilledAtAnyMomentLeavesAnExactCount(t *testing.T) {
	const rounds, threads = 12, 4
	k := newToken(t)
	asks, gets := 0, 0
	for n := range rounds {
		p := k.start()
		p.send(fmt.Sprintf("load %x %x %d", fw, threads, 1_000_000))
		k.Await(fw, k.Calls()[fw]+1+7*n)
		k.must(p.Process.Kill())
		a, g := p.tally()
		asks, gets = asks+a, gets+g
		counted, ended := k.Calls()[fw], 0
		for _, c := range k.All() {
			if c.Ended {
				ended++
			}
		}
		if counted > asks || ended < gets || ended > counted || asks-gets > (n+1)*threads {
			t.Fatalf("round %d: %d asked, %d counted, %d ended, %d got", n, asks, counted, ended, gets)
		}
	}
	p := k.start()
	counted := k.Calls()[fw]
	p.signs(fw, 1)
	k.counts(counted + 1)
}

func TestALineThatWasCutOffIsNoCall(t *testing.T) {
	k := newToken(t)
	p := k.start()
	p.signs(fw, 1)
	f, err := os.OpenFile(filepath.Join(k.Dir, "calls"), os.O_APPEND|os.O_WRONLY, 0)
	k.must(err)
	_, err = f.WriteString("before 2 pid=1 function=C_Si")
	k.must(err)
	k.must(f.Close())
	k.counts(1)
	p.signs(fw, 2)
	k.counts(2)
	if c := k.All()[1]; c.Number != 2 || c.PID != p.Process.Pid {
		t.Errorf("the second call is %+v", c)
	}
}

func TestNoCallIsMadeThatCannotBeWrittenDown(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"a directory":  func(path string) error { return os.Mkdir(path, 0o700) },
		"another file": func(path string) error { return os.WriteFile(path, []byte("dear diary\n"), 0o600) },
		"a device":     func(path string) error { return os.Symlink("/dev/full", path) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newToken(t)
			p := k.start()
			calls := filepath.Join(k.Dir, "calls")
			k.must(spoil(calls))
			p.wants(order(fw, 1), "C_Sign 0x5")
			if !strings.Contains(k.Complaints(), "the call of C_Sign is not made") {
				t.Errorf("the log says %q", k.Complaints())
			}
			k.must(os.RemoveAll(calls))
			p.signs(fw, 1)
			k.counts(1)
		})
	}
}

func TestAFileOfCallsThatIsNoneIsRefused(t *testing.T) {
	good := "before 1 pid=7 function=C_Sign id=01 label=fw control=- match=0 fault=none\nafter 1 pid=7 real=0x0 returned=0x0\n"
	if calls, err := parse(good); err != nil || len(calls) != 1 {
		t.Fatalf("%v, %v", calls, err)
	}
	for _, change := range [][2]string{
		{"before 1", "before 2"}, {"before", "begin"}, {"pid=7", "pid=x"}, {"id=01", "id=0"}, {"label=fw", "label=%"}, {"label=fw", "fw"}, {"none\n", "none more\n"},
		{"after 1", "after 2"}, {"after 1 pid=7", "after 1 pid=8"}, {"real=0x0", "real=?"}, {"returned=0x0", "returned="}, {"after", "before 2 pid=7\nafter"},
		{"returned=0x0\n", "returned=0x0\nafter 1 pid=7 real=- returned=0x0\n"}, {"match=0 ", ""},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if calls, err := parse(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, calls)
		}
	}
}

func TestTheShimLoadsNothingWithoutItsTwoVariables(t *testing.T) {
	k := newToken(t)
	for missing, sentence := range map[string]string{
		"PKCS11_SHIM_MODULE=": "PKCS11_SHIM_MODULE must name", "PKCS11_SHIM_DIR=": "PKCS11_SHIM_DIR must name",
		"PKCS11_SHIM_MODULE=" + k.Path: "the shim itself", "PKCS11_SHIM_MODULE=/nowhere.so": "/nowhere.so",
		"PKCS11_SHIM_MODULE=libc.so.6": "has no C_GetFunctionList",
	} {
		c := k.command(k.driver, k.Path, k.slot, "1234")
		c.Env = append(slices.Clone(c.Env), missing)
		out, err := c.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte(sentence)) {
			t.Errorf("with %s the driver says %s (%v)", missing, out, err)
		}
	}
}

func TestTheExampleOfTheReadmeWorks(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, block := range strings.Split(string(text), "```sh\n")[1:] {
		code, _, _ := strings.Cut(block, "```")
		script.WriteString(code)
	}
	k := &token{TB: t, Shim: &Shim{t: t}}
	c := k.command("sh", "-c", script.String())
	c.Env = append(c.Env, "TMPDIR="+t.TempDir())
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("the example fails (missing programs? ./scripts/need gcc softhsm2-util pkcs11-tool): %v\n%s", err, out)
	}
	for _, said := range []string{"before 1 ", "after 1 ", "label=fw", "fault=return", "real=- returned=0x30"} {
		if !bytes.Contains(out, []byte(said)) {
			t.Errorf("the example does not show %q:\n%s", said, out)
		}
	}
}

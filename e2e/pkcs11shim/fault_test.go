package pkcs11shim

import (
	"bytes"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func integer(b []byte) *big.Int { return new(big.Int).SetBytes(b) }

// counts checks the calls with the key fw.
func (k *token) counts(want int) {
	k.Helper()
	if got := k.Calls()[fw]; got != want {
		k.Errorf("the shim counts %d calls with %s, not %d", got, fw, want)
	}
}

// last checks the end of the last call.
func (k *token) last(fault Action, called bool, returned uint) {
	k.Helper()
	all := k.All()
	c := all[len(all)-1]
	if !c.Ended || c.Fault != string(fault) || c.Called != called || c.Returned != returned || c.Real != 0 {
		k.Errorf("the last call is %+v; expected was fault %s, called %t, returned 0x%x", c, fault, called, returned)
	}
}

// sameAgain checks that all is well once the fault is cleared, in the same session.
func (p *process) sameAgain(calls int) {
	p.Helper()
	p.Clear()
	p.signs(fw, 99)
	p.counts(calls)
	p.last("none", true, 0)
}

func TestACallIsDelayed(t *testing.T) {
	k := newToken(t)
	p := k.start()
	k.Set(Fault{Do: Delay, For: 300 * time.Millisecond})
	begin := time.Now()
	p.signs(fw, 1)
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("the call took %v", took)
	}
	k.last(Delay, true, 0)
	p.sameAgain(2)
}

func TestACallHangsUntilTheFaultIsCleared(t *testing.T) {
	k := newToken(t)
	p, other := k.start(), k.start()
	k.Set(Fault{Do: Hang, Label: fw})
	p.send(order(fw, 1))
	k.Await(fw, 1)
	other.signs(odd, 2) // another key goes on meanwhile
	if c := k.All()[0]; c.Ended || c.Fault != "hang" {
		t.Errorf("the call is %+v; it was to hang", c)
	}
	k.Clear()
	if sig := p.signature(p.answer()); !p.valid(fw, 1, sig) {
		t.Errorf("the signature %x is not valid", sig)
	}
	p.sameAgain(2)
}

func TestACallThatHangsGoesOnWhenAnotherFaultIsSet(t *testing.T) {
	k := newToken(t)
	p := k.start()
	k.Set(Fault{Do: Hang})
	p.send(order(fw, 1))
	k.Await(fw, 1)
	k.Set(Fault{Do: Hang})
	p.signature(p.answer())
	k.last(Hang, true, 0)
}

func TestACallThatHangsFailsWhenTheControlFileIsNotUnderstood(t *testing.T) {
	k := newToken(t)
	p := k.start()
	k.Set(Fault{Do: Hang})
	p.send(order(fw, 1))
	k.Await(fw, 1)
	k.write("go on\n")
	if got := p.answer(); got != "C_Sign 0x5 " {
		t.Errorf("the call is answered with %q", got)
	}
	k.last(Hang, false, GeneralError)
	p.sameAgain(2)
}

func TestACallReturnsWhatItIsToldWithoutBeingMade(t *testing.T) {
	k := newToken(t)
	p := k.start()
	for _, rv := range []uint{DeviceError, UserNotLoggedIn, 0x80000001} {
		k.Set(Fault{Do: Return, RV: rv})
		p.wants(order(fw, 1), fmt.Sprintf("C_Sign 0x%x", rv))
		k.last(Return, false, rv)
	}
	p.sameAgain(4)
}

func TestACallIsMadeAndReportedAsFailed(t *testing.T) {
	k := newToken(t)
	p := k.start()
	k.Set(Fault{Do: Report, RV: DeviceError})
	p.send(order(fw, 1))
	if got := p.answer(); got != "C_Sign 0x30 " {
		t.Errorf("the call is answered with %q", got) // also when the signature is in the caller's hands
	}
	k.last(Report, true, DeviceError)
	p.sameAgain(2)
}

func TestASignatureIsCorrupted(t *testing.T) {
	k := newToken(t)
	p := k.start()
	k.Set(Fault{Do: Corrupt})
	p.send(order(fw, 1))
	if sig := p.signature(p.answer()); len(sig) != 64 || p.valid(fw, 1, sig) {
		t.Errorf("the signature %x is valid", sig)
	}
	k.last(Corrupt, true, 0)
	p.sameAgain(2)
}

func TestASignatureIsSwappedForTheOneBefore(t *testing.T) {
	k := newToken(t)
	p := k.start()
	k.Set(Fault{Do: Swap})
	p.wants(order(fw, 1), "C_Sign 0x5") // there is none before
	if !strings.Contains(k.Complaints(), "nothing to swap") {
		t.Errorf("the log says %q", k.Complaints())
	}
	k.Clear()
	before := p.signs(odd, 2)
	k.Set(Fault{Do: Swap})
	p.send(order(fw, 3))
	if sig := p.signature(p.answer()); !bytes.Equal(sig, before) {
		t.Errorf("the signature is %x, not the one before, %x", sig, before)
	}
	k.last(Swap, true, 0)
	p.send(order(fw, 4))
	if sig := p.signature(p.answer()); !p.valid(fw, 3, sig) {
		t.Errorf("the signature %x is not that of the call before", sig)
	}
	p.sameAgain(4)
	k.Clear()
	p.wants(fmt.Sprintf("parts %x %x %x", rsaKey, sha256RSA, "long"), "C_SignFinal 0x0")
	k.Set(Fault{Do: Swap})
	p.wants(order(fw, 5), "C_Sign 0x5") // there is no room for a longer one
	p.sameAgain(6)
}

func TestTheCallerIsKilledBeforeAndAfterTheCall(t *testing.T) {
	for _, when := range []Action{KillBefore, KillAfter} {
		t.Run(string(when), func(t *testing.T) {
			k := newToken(t)
			p := k.start()
			k.Set(Fault{Do: when, PID: Self, From: 2, Times: 1})
			p.signs(fw, 1)
			p.send(order(fw, 2))
			if got := p.answer(); got != "" {
				t.Errorf("a process that was to be killed answers %q", got)
			}
			k.counts(2)
			if c := k.All()[1]; c.Fault != string(when) || c.Called != (when == KillAfter) || c.Ended != (when == KillAfter) {
				t.Errorf("the call is %+v", c)
			}
			next := k.start() // the fault was for one call of all processes
			next.signs(fw, 3)
			k.counts(3)
		})
	}
}

func TestAnotherProcessIsKilledAndHasEndedBeforeTheCallGoesOn(t *testing.T) {
	for _, when := range []Action{KillBefore, KillAfter} {
		t.Run(string(when), func(t *testing.T) {
			k := newToken(t)
			p := k.start()
			victim := exec.Command("sleep", "1000")
			k.must(victim.Start())
			k.Set(Fault{Do: when, PID: victim.Process.Pid, Times: 1})
			p.signs(fw, 1)
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", victim.Process.Pid))
			if err != nil || !bytes.Contains(stat, []byte(") Z ")) {
				t.Errorf("the process is not dead: %s (%v)", stat, err)
			}
			if err := victim.Wait(); err == nil || err.Error() != "signal: killed" {
				t.Errorf("the process ended with %v", err)
			}
			k.last(when, true, 0)
			k.Set(Fault{Do: when, PID: victim.Process.Pid}) // it is gone
			p.wants(order(fw, 2), "C_Sign 0x5")
			if !strings.Contains(k.Complaints(), "No such process") {
				t.Errorf("the log says %q", k.Complaints())
			}
			p.sameAgain(3)
		})
	}
}

func TestAFaultIsForTheCallsThatItNames(t *testing.T) {
	k := newToken(t)
	p := k.start()
	for _, c := range []struct {
		fault Fault
		calls string // a letter for each call: its key; in capitals when it is to fail
	}{
		{Fault{}, "FOF"},
		{Fault{Label: fw}, "FoFo"},
		{Fault{Label: odd}, "fOfO"},
		{Fault{ID: []byte{10, 11}}, "fOfO"},
		{Fault{ID: []byte{1}}, "FoFo"},
		{Fault{Label: "another"}, "fo"},
		{Fault{From: 3}, "foFO"},
		{Fault{Times: 2}, "FOfo"},
		{Fault{From: 2, Times: 2}, "fOFof"},
		{Fault{Label: odd, From: 2, Times: 1}, "fofOfo"},
	} {
		c.fault.Do, c.fault.RV = Return, DeviceError
		k.Set(c.fault)
		for i, letter := range c.calls {
			label := map[string]string{"F": fw, "O": odd}[strings.ToUpper(string(letter))]
			if letter < 'a' {
				p.wants(order(label, i), "C_Sign 0x30")
			} else {
				p.signs(label, i)
			}
		}
	}
}

func TestEveryFunctionFailsWhileTheHSMIsGone(t *testing.T) {
	k := newToken(t)
	p := k.start()
	k.must(p.prepares(1))
	for _, rv := range []uint{DeviceRemoved, TokenNotPresent} {
		k.Set(Fault{Do: Gone, RV: rv})
		p.send("every")
		n := 0
		for line := p.answer(); !strings.HasPrefix(line, "every"); line = p.answer() {
			n++
			if line == "" || !strings.HasSuffix(line, fmt.Sprintf(" 0x%x ", rv)) {
				t.Fatalf("while the HSM is gone: %q", line)
			}
		}
		if n != 66 {
			t.Errorf("%d functions were called, not 66", n)
		}
	}
	p.wants(fmt.Sprintf("end %x %x %x", fw, ecdsaRaw, digest(1)), "C_Sign 0xe0") // the one under way
	k.last(Gone, false, TokenNotPresent)
	p.wants("finish", "C_Finalize 0x0")
	k.Clear()
	p.wants("start", "C_Login 0x0")
	p.signs(fw, 2)
	k.counts(2)
}

// prepares begins a signature with fw.
func (p *process) prepares(n int) error {
	p.send(fmt.Sprintf("begin %x %x", fw, ecdsaRaw))
	if got := p.answer(); got != "C_SignInit 0x0 " {
		return fmt.Errorf("beginning signature %d: %s", n, got)
	}
	return nil
}

func TestAControlFileThatIsNotUnderstoodFailsEverySignature(t *testing.T) {
	k := newToken(t)
	p := k.start()
	calls := 0
	for _, line := range []string{
		"", "\n", "a", "a\n", "a corrupt", "a corrupt\n\n", "a corrupt\nb corrupt\n", " a corrupt\n", "a  corrupt\n", "a corrupt \n", "a corrupt\x00\n", "a corrupt\r\n", "A\tcorrupt\n", "a CORRUPT\n", "a none\n",
		"a malformed\n", "- corrupt\n", "a/b corrupt\n", strings.Repeat("a", 65) + " corrupt\n", "a corrupt what=1\n", "a corrupt pid=self\n", "a corrupt ms=1\n", "a corrupt from=0\n",
		"a corrupt from=-1\n", "a corrupt from=+1\n", "a corrupt from=1 from=1\n", "a corrupt times=0\n", "a corrupt times=1000000001\n", "a corrupt times=99999999999999999999\n", "a corrupt times= 1\n",
		"a corrupt key=fw\n", "a corrupt key=label:\n", "a corrupt key=label:a%\n", "a corrupt key=label:%61\n", "a corrupt key=label:%c3\n", "a corrupt key=label:ä\n", "a corrupt key=id:\n",
		"a corrupt key=id:0\n", "a corrupt key=id:0A\n", "a corrupt key=id:01 key=label:fw\n", "a delay\n", "a delay ms=\n", "a delay ms=0\n", "a delay ms=1s\n", "a delay ms=600001\n",
		"a delay ms=1 rv=0x30\n", "a return\n", "a return rv=0x0\n", "a return rv=30\n", "a return rv=0x\n", "a return rv=0xg\n", "a return rv=0x-1\n",
		"a return rv=0x10000000000000000\n", "a report\n", "a kill-before\n", "a kill-before pid=0\n", "a kill-before pid=1\n", "a kill-before pid=-7\n",
		"a kill-after pid=2147483648\n", "a kill-after pid=me\n", "a gone\n", "a gone rv=0x32 times=1\n", "a gone rv=0x32 key=label:fw\n", "a return rv=0x" + strings.Repeat("0", 1008) + "5\nb", "a corrupt " + strings.Repeat("x", 1024) + "\n",
	} {
		k.must(os.RemoveAll(k.Dir + "/log"))
		k.must(p.prepares(1))
		k.write(line)
		p.wants(fmt.Sprintf("end %x %x %x", fw, ecdsaRaw, digest(1)), "C_Sign 0x5")
		p.wants(order(fw, 1), "C_SignInit 0x5")
		if !strings.Contains(k.Complaints(), "the control file is not understood: ") {
			t.Errorf("after %q the log says %q", line, k.Complaints())
		}
		calls++
		k.counts(calls)
		k.last("malformed", false, GeneralError)
		k.Clear()
	}
	p.sameAgain(calls + 1)
	p.wants(fmt.Sprintf("begin %x %x", rsaKey, sha256RSA), "C_SignInit 0x0")
	k.write("go on\n")
	p.wants(fmt.Sprintf("part %x %x %x", rsaKey, sha256RSA, "word"), "C_SignUpdate 0x5")
}

func TestAFaultWithAFieldThatIsNotForItFailsEverySignature(t *testing.T) {
	k := newToken(t)
	p := k.start()
	for _, f := range []Fault{
		{}, {Do: Hang, RV: 1}, {Do: Return}, {Do: KillBefore}, {Do: Gone, RV: DeviceRemoved, Times: 1}, {Do: Delay, For: time.Microsecond}, {Do: Swap, From: -1},
	} {
		k.Set(f)
		p.wants(order(fw, 1), "C_SignInit 0x5")
	}
	p.sameAgain(1)
}

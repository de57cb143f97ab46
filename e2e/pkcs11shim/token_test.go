package pkcs11shim

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	_ "embed"
)

// driverSource is embedded so that a change of it runs the tests again.
//
//go:embed testdata/driver.c
var driverSource []byte

// module is SoftHSM2 where Debian puts it.
const module = "/usr/lib/softhsm/libsofthsm2.so"

// Mechanisms of PKCS#11.
const (
	ecdsaRaw  = 0x1041 // CKM_ECDSA
	sha256RSA = 0x40   // CKM_SHA256_RSA_PKCS
)

// The keys of a token: their CKA_LABEL and CKA_ID.
const (
	fw, fwID   = "fw", "01"
	odd, oddID = "Ö n=1%", "0a0b" // what a line of words must not stumble over
	rsaKey     = "rsa"
)

// token is a shim in front of a new SoftHSM2 token, with a program to drive it.
type token struct {
	*Shim
	testing.TB
	driver string
	slot   string
	conf   string
	keys   map[string]*ecdsa.PublicKey // by label
	rsa    *rsa.PublicKey
}

func newToken(t testing.TB) *token {
	t.Helper()
	k := &token{Shim: New(t, module), TB: t, keys: map[string]*ecdsa.PublicKey{}}
	dir := t.TempDir()
	k.driver = filepath.Join(dir, "driver")
	source := k.driver + ".c"
	k.must(os.WriteFile(source, driverSource, 0o600))
	k.run("gcc", append(strings.Fields("-std=c11 -Wall -Wextra -Werror -O2 -Ishim -pthread -o"), k.driver, source, "-ldl")...)
	k.conf = filepath.Join(dir, "softhsm2.conf")
	k.must(os.Mkdir(filepath.Join(dir, "tokens"), 0o700))
	k.must(os.WriteFile(k.conf, []byte("directories.tokendir = "+dir+"/tokens\nlog.level = ERROR\n"), 0o600))
	said := k.run("softhsm2-util", "--init-token", "--free", "--label", "trial", "--so-pin", "5678", "--pin", "1234")
	slot := regexp.MustCompile(`slot (\d+)`).FindStringSubmatch(said)
	if slot == nil {
		t.Fatalf("softhsm2-util names no slot: %s", said)
	}
	k.slot = slot[1]
	for label, id := range map[string]string{fw: fwID, odd: oddID} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		k.must(err)
		k.adopt(key, label, id)
		k.keys[label] = &key.PublicKey
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	k.must(err)
	k.adopt(key, rsaKey, "03")
	k.rsa = &key.PublicKey
	return k
}

func (k *token) adopt(key any, label, id string) {
	k.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	k.must(err)
	file := filepath.Join(k.TempDir(), "key.pem")
	k.must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	k.run("softhsm2-util", "--import", file, "--token", "trial", "--label", label, "--id", id, "--pin", "1234")
}

func (k *token) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// run runs a program that must succeed, with the token's environment.
func (k *token) run(program string, args ...string) string {
	k.Helper()
	out, err := k.command(program, args...).CombinedOutput()
	if err != nil {
		k.Fatalf("%s (missing? ./scripts/need gcc softhsm2-util pkcs11-tool): %v\n%s", program, err, out)
	}
	return string(out)
}

func (k *token) command(program string, args ...string) *exec.Cmd {
	c := exec.CommandContext(k.Context(), program, args...)
	c.Env = append(append(c.Environ(), "SOFTHSM2_CONF="+k.conf), k.Env()...)
	return c
}

// process is a run of the driver.
type process struct {
	*token
	*exec.Cmd
	to   io.WriteCloser
	from *bufio.Reader
}

// start starts a driver, which has opened its session and is logged in.
func (k *token) start() *process {
	k.Helper()
	p := k.begin()
	p.wants("start", "C_Login 0x0")
	return p
}

// begin starts a driver that has called nothing yet.
func (k *token) begin() *process {
	k.Helper()
	p := &process{token: k, Cmd: k.command(k.driver, k.Path, k.slot, "1234")}
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	k.must(err)
	p.from = bufio.NewReader(out)
	p.to, err = p.StdinPipe()
	k.must(err)
	k.must(p.Start())
	k.Cleanup(func() {
		_ = p.to.Close()
		_ = p.Wait() // also one that was killed
	})
	return p
}

// send gives a command without waiting for the answer.
func (p *process) send(command string) {
	p.Helper()
	if _, err := io.WriteString(p.to, command+"\n"); err != nil {
		p.Fatalf("telling the driver %q: %v", command, err)
	}
}

// answer is the next line of the driver; "" when it has ended.
func (p *process) answer() string {
	p.Helper()
	line, err := p.from.ReadString('\n')
	if err != nil && err != io.EOF {
		p.Fatalf("reading the driver's answer: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// wants gives a command, and the answer must begin so.
func (p *process) wants(command, begin string) {
	p.Helper()
	p.send(command)
	if got := p.answer(); !strings.HasPrefix(got, begin+" ") {
		p.Errorf("%s is answered with %q, not %q", command, got, begin)
	}
}

// digest is what the nth signature of a test is made of.
func digest(n int) []byte {
	d := sha256.Sum256([]byte(strconv.Itoa(n)))
	return d[:]
}

func order(label string, n int) string {
	return fmt.Sprintf("sign %x %x %x", label, ecdsaRaw, digest(n))
}

// signature is what an answer of the driver gives, which must be one of success.
func (p *process) signature(answer string) []byte {
	p.Helper()
	text, ok := strings.CutPrefix(answer, "C_Sign 0x0 ")
	sig, err := hex.DecodeString(text)
	if !ok || err != nil {
		p.Fatalf("the driver answers %q, which is no signature", answer)
	}
	return sig
}

// signs orders a signature, which must be valid.
func (p *process) signs(label string, n int) []byte {
	p.Helper()
	p.send(order(label, n))
	sig := p.signature(p.answer())
	if !p.valid(label, n, sig) {
		p.Errorf("the signature %x is not valid", sig)
	}
	return sig
}

func (p *process) valid(label string, n int, sig []byte) bool {
	if len(sig) != 64 {
		return false
	}
	r, s := sig[:32], sig[32:]
	return ecdsa.Verify(p.keys[label], digest(n), integer(r), integer(s))
}

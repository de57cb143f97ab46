package audit_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/mod/sumdb/note"

	"example.org/keyserver/internal/audit"
)

func TestTheGoldenCheckpointIsSignedAndReadTheSameForEver(t *testing.T) {
	leaves := link(t, oneOfEach())
	signed := sign(t, leaves)
	golden(t, "testdata/checkpoint.txt", signed)
	got, err := audit.ParseCheckpoint(signed, verifier(t))
	if err != nil || got != checkpointOf(leaves, len(leaves)) {
		t.Errorf("read as %+v (%v)", got, err)
	}
}

func TestAGeneratedKeySignsWhatItsVerifierVerifies(t *testing.T) {
	skey, vkey, err := audit.GenerateKey(rand.Reader, "keyserver/0192f0c1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := audit.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	var empty audit.Tree
	signed, err := audit.SignCheckpoint(0, empty.Root(), s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := audit.ParseCheckpoint(signed, v)
	if want := (audit.Checkpoint{Origin: "keyserver/0192f0c1", Root: empty.Root()}); err != nil || got != want {
		t.Errorf("read as %+v, not %+v (%v)", got, want, err)
	}
	if _, err := audit.ParseCheckpoint(signed, verifier(t)); err == nil || !strings.Contains(err.Error(), "not signed by log key keyserver/test+4cb36af7") {
		t.Errorf("the key of another log: %v", err)
	}
}

func TestAnOriginIsVisibleASCIIWithoutPlus(t *testing.T) {
	for _, origin := range []string{"", "a b", "a+b", "a\n", "ä", "a\x7f", strings.Repeat("a", 256)} {
		if _, _, err := audit.GenerateKey(rand.Reader, origin); err == nil {
			t.Errorf("a key was made for origin %q", origin)
		}
	}
	// package note alone would take this name
	skey, vkey, err := note.GenerateKey(rand.Reader, "ä")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.NewSigner(skey); err == nil {
		t.Error("a signing key of a bad origin was read")
	}
	if _, err := audit.NewVerifier(vkey); err == nil {
		t.Error("a key of a bad origin was read")
	}
}

func TestALogKeyIsNotMadeWithoutRandomness(t *testing.T) {
	broken := errors.New("no entropy")
	if _, _, err := audit.GenerateKey(iotest.ErrReader(broken), "keyserver/test"); !errors.Is(err, broken) {
		t.Errorf("made a key: %v", err)
	}
}

func TestABadLogKeyIsRefusedWithoutShowingIt(t *testing.T) {
	if _, err := audit.NewSigner(testSigner[:len(testSigner)-1]); err == nil || strings.Contains(err.Error(), "AQAB") {
		t.Errorf("a bad signing key: %v", err)
	}
	if _, err := audit.NewVerifier(testVerifier[:len(testVerifier)-1]); err == nil {
		t.Error("a bad key was read")
	}
}

type brokenSigner struct{ audit.Signer }

func (brokenSigner) Sign([]byte) ([]byte, error) { return nil, errors.New("no") }

func TestACheckpointThatCouldNotBeReadBackIsNotSigned(t *testing.T) {
	for _, size := range []int64{-1, 1 << 53} {
		if _, err := audit.SignCheckpoint(size, audit.Hash{}, signer(t)); err == nil {
			t.Errorf("signed a checkpoint of size %d", size)
		}
	}
	if _, err := audit.SignCheckpoint(1, audit.Hash{}, brokenSigner{signer(t)}); err == nil {
		t.Error("a signature that was not made is no error")
	}
}

// noted signs any text as a note.
func noted(t testing.TB, text string) []byte {
	t.Helper()
	signed, err := note.Sign(&note.Note{Text: text}, signer(t))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestACheckpointThatIsNotExactlySoIsRefusedThoughSigned(t *testing.T) {
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	if _, err := audit.ParseCheckpoint(noted(t, "keyserver/test\n7\n"+root+"\n"), verifier(t)); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"nothing":           "\n",
		"two lines":         "keyserver/test\n7\n",
		"extension line":    "keyserver/test\n7\n" + root + "\nmore\n",
		"empty line":        "keyserver/test\n7\n" + root + "\n\n",
		"another origin":    "keyserver/other\n7\n" + root + "\n",
		"no origin":         "\n7\n" + root + "\n",
		"no size":           "keyserver/test\n\n" + root + "\n",
		"negative size":     "keyserver/test\n-7\n" + root + "\n",
		"size with sign":    "keyserver/test\n+7\n" + root + "\n",
		"size with zero":    "keyserver/test\n07\n" + root + "\n",
		"size with space":   "keyserver/test\n7 \n" + root + "\n",
		"size beyond 2^53":  "keyserver/test\n9007199254740992\n" + root + "\n",
		"size beyond 2^63":  "keyserver/test\n9223372036854775808\n" + root + "\n",
		"root too short":    "keyserver/test\n7\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n",
		"root not base64":   "keyserver/test\n7\n" + root[:43] + "*\n",
		"root encoded else": "keyserver/test\n7\n" + root[:42] + "B=\n",
		"too long":          "keyserver/test\n7\n" + strings.Repeat("A", audit.MaxCheckpoint) + "\n",
	}
	for name, text := range tests {
		if c, err := audit.ParseCheckpoint(noted(t, text), verifier(t)); err == nil || c != (audit.Checkpoint{}) {
			t.Errorf("%s: read as %+v", name, c)
		}
	}
}

func TestAChangedCheckpointIsRefused(t *testing.T) {
	signed := sign(t, someLeaves(7))
	v := verifier(t)
	for i := range signed {
		for bit := range 8 {
			changed := slices.Clone(signed)
			changed[i] ^= 1 << bit
			if c, err := audit.ParseCheckpoint(changed, v); err == nil {
				t.Errorf("with bit %d of byte %d flipped it is read as %+v:\n%s", bit, i, c, changed)
			}
		}
		if _, err := audit.ParseCheckpoint(signed[:i], v); err == nil {
			t.Errorf("its first %d bytes are read", i)
		}
	}
	for i := len(signed) - 5; i < len(signed); i++ { // where base64 has bits that say nothing
		for c := range 256 {
			changed := slices.Clone(signed)
			changed[i] = byte(c)
			if _, err := audit.ParseCheckpoint(changed, v); err == nil && changed[i] != signed[i] {
				t.Errorf("with byte %d changed to %q it is read", i, changed[i])
			}
		}
	}
	line := signed[bytes.Index(signed, []byte("—")):]
	if _, err := audit.ParseCheckpoint(slices.Concat(signed, line), v); err == nil {
		t.Error("a signature that is there twice is not refused")
	}
}

func TestSignaturesOfWitnessesMayStandBesideTheLogs(t *testing.T) {
	signed := sign(t, someLeaves(7))
	skey, _, err := audit.GenerateKey(rand.Reader, "witness.example.org")
	if err != nil {
		t.Fatal(err)
	}
	witness, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(signed, note.VerifierList(verifier(t)))
	if err != nil {
		t.Fatal(err)
	}
	both, err := note.Sign(n, witness)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := audit.ParseCheckpoint(both, verifier(t)); err != nil || c.Size != 7 {
		t.Errorf("read as %+v (%v)", c, err)
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add("keyserver/test\n7\n"+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n", "")
	f.Add("keyserver/test\n9007199254740991\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", "— other AAAAAAAAAAA=\n")
	f.Add("keyserver/test\n1\n\n\n", "\n")
	f.Fuzz(func(t *testing.T, text, more string) {
		if _, err := audit.ParseCheckpoint([]byte(text+more), verifier(t)); err == nil {
			t.Fatalf("accepted without a signature: %q", text+more)
		}
		signed, err := note.Sign(&note.Note{Text: text}, signer(t))
		if err != nil {
			return
		}
		c, err := audit.ParseCheckpoint(append(signed, more...), verifier(t))
		if err != nil {
			return
		}
		again, err := audit.SignCheckpoint(c.Size, c.Root, signer(t))
		if err != nil || !bytes.Equal(again, signed) { // Ed25519 signs the same text the same way
			t.Fatalf("accepted\n%s\nas %+v, which is\n%s\n(%v)", signed, c, again, err)
		}
	})
}

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
)

// recorder is a program with a directory of its own and a log key of its own.
func recorder(t *testing.T) (*program, audit.Signer, audit.Verifier, string) {
	t.Helper()
	secret, public, err := audit.GenerateKey(strings.NewReader(strings.Repeat("memory", 32)), "keyserver/memory")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := audit.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{env: []string{"KS_HOME=" + filepath.Join(t.TempDir(), "home")}, stdout: io.Discard, stderr: io.Discard, now: func() time.Time { return time.UnixMilli(1_795_435_200_000) }}
	return p, signer, verifier, public
}

func checkpoint(t *testing.T, s audit.Signer, size int64, branch string) (string, audit.Checkpoint) {
	t.Helper()
	c := audit.Checkpoint{Origin: s.Name(), Size: size, Root: sha256.Sum256(fmt.Append(nil, size, branch))}
	signed, err := audit.SignCheckpoint(c.Size, c.Root, s)
	if err != nil {
		t.Fatal(err)
	}
	return string(signed), c
}

func sizes(m memory) string {
	var b strings.Builder
	for _, r := range m.Checkpoints {
		mark := "?"
		if r.Linked {
			mark = "-"
		}
		fmt.Fprintf(&b, "%s%d", mark, r.checkpoint.Size)
	}
	return b.String()
}

func TestTheMemoryKnowsWhichCheckpointsAreProvenToBelongTogether(t *testing.T) {
	_, signer, _, _ := recorder(t)
	var m memory
	add := func(size int64, branch string) {
		note, c := checkpoint(t, signer, size, branch)
		m.add(note, c)
	}
	linkAll := func() {
		for _, pair := range m.unlinked() {
			m.link(pair[0], pair[1])
		}
	}
	step := func(want string) {
		t.Helper()
		if got := sizes(m); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	add(10, "")
	step("?10")
	add(10, "")
	step("?10")
	add(30, "")
	step("?10?30")
	linkAll()
	step("?10-30")
	add(20, "") // between two that are linked: both neighbours are to be proven again
	step("?10?20?30")
	linkAll()
	step("?10-20-30")
	add(5, "")
	step("?5?10-20-30")
	add(20, "another") // the same size, another log
	step("?5?10-20?20?30")
	if got := len(m.unlinked()); got != 3 {
		t.Errorf("got %d pairs to be proven, want 3", got)
	}
	m.link(m.Checkpoints[0].checkpoint, m.Checkpoints[4].checkpoint) // no neighbours
	step("?5?10-20?20?30")
}

func TestTheMemoryForgetsOnlyWhatIsProvenToBeTheBeginningOfTheRest(t *testing.T) {
	_, signer, _, _ := recorder(t)
	var m memory
	for size := range int64(maxRemembered + 5) {
		note, c := checkpoint(t, signer, size+1, "")
		m.add(note, c)
	}
	m.trim()
	if got := len(m.Checkpoints); got != maxRemembered+5 {
		t.Errorf("%d of %d unproven checkpoints are left", got, maxRemembered+5)
	}
	for _, pair := range m.unlinked() {
		m.link(pair[0], pair[1])
	}
	m.trim()
	if got := len(m.Checkpoints); got != maxRemembered || m.Checkpoints[0].checkpoint.Size != 6 {
		t.Errorf("%d checkpoints are left, the first of size %d; want %d and 6", got, m.Checkpoints[0].checkpoint.Size, maxRemembered)
	}
}

func TestNoCheckpointIsLostWhenManyRunsRememberAtOnce(t *testing.T) {
	p, signer, verifier, logKey := recorder(t)
	var wg sync.WaitGroup
	for size := range int64(16) {
		note, c := checkpoint(t, signer, size+1, "")
		wg.Go(func() {
			if _, err := p.updateMemory(verifier, logKey, func(m *memory) { m.add(note, c) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m, err := p.recall(verifier, logKey)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Checkpoints) != 16 {
		t.Errorf("%s are remembered, want 1 to 16", sizes(m))
	}
}

func TestAMemoryThatWasTamperedWithIsNotUsed(t *testing.T) {
	p, signer, verifier, logKey := recorder(t)
	for _, size := range []int64{1, 2} {
		note, c := checkpoint(t, signer, size, "")
		if _, err := p.updateMemory(verifier, logKey, func(m *memory) { m.add(note, c) }); err != nil {
			t.Fatal(err)
		}
	}
	name, err := p.memoryFile(logKey)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var notes []string // as JSON
	for _, size := range []int64{1, 2} {
		note, _ := checkpoint(t, signer, size, "")
		notes = append(notes, string(mustJSON(note)))
	}
	swapped := strings.NewReplacer(notes[0], notes[1], notes[1], notes[0]).Replace(string(good))
	for what, bad := range map[string][]byte{
		"another size":      bytes.Replace(good, []byte(`memory\n1`), []byte(`memory\n3`), 1),
		"another log key":   bytes.Replace(good, []byte(`"logkey": "`), []byte(`"logkey": "x`), 1),
		"an unknown member": bytes.Replace(good, []byte(`"logkey"`), []byte(`"x": 1, "logkey"`), 1),
		"another order":     []byte(swapped),
		"half of it":        good[:len(good)/2],
	} {
		if bytes.Equal(bad, good) {
			t.Fatalf("%s: the memory was not changed", what)
		}
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := p.recall(verifier, logKey); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want an error that names the file", what, err)
		}
	}
}

func TestALogKeyIsPinnedOnFirstUseAndNeverReplaced(t *testing.T) {
	p, _, _, logKey := recorder(t)
	_, other, err := audit.GenerateKey(strings.NewReader(strings.Repeat("other!", 32)), "keyserver/memory")
	if err != nil {
		t.Fatal(err)
	}
	const server = "https://keys.example.org"
	for range 2 {
		if _, err := p.pinLogKey(server, logKey); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.pinLogKey(server, other); explain(err).code != exitTampered || !strings.Contains(err.Error(), "was pinned on 2026-11-23 12:00:00 UTC") {
		t.Errorf("got %v, want that the log key was pinned", err)
	}
	if known, there, err := p.pinned(server); err != nil || !there || known.LogKey != logKey {
		t.Errorf("got %v, %v, %v; want the first log key", known, there, err)
	}
	if _, err := p.pinLogKey("https://keys.example.org:8443", other); err != nil {
		t.Errorf("another server: %v", err)
	}
	if _, err := p.pinLogKey(server, "nonsense"); err == nil {
		t.Error("nonsense is pinned")
	}
}

func TestTheTailOfAnExportIsItsCheckpoint(t *testing.T) {
	note := "origin\n1\nroot\n\n— origin sig\n"
	for _, leaves := range []string{"", "{}\n", strings.Repeat("{\"a\":1}\n", 10_000)} {
		for _, chunk := range []int{1, 7, 4096, 1 << 20} {
			end := tail{[]byte("\n")}
			export := []byte(leaves + "\n" + note)
			for len(export) > 0 {
				n := min(chunk, len(export))
				_, _ = end.Write(export[:n])
				export = export[n:]
			}
			if got := end.checkpoint(); got != note {
				t.Errorf("%d bytes of leaves in chunks of %d: got %q", len(leaves), chunk, got)
			}
		}
	}
}

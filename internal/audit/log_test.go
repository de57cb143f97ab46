package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"fmt"
	"iter"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// Made once with audit.GenerateKey; signs test logs only.
const (
	testSigner   = "PRIVATE+KEY+keyserver/test+4cb36af7+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
	testVerifier = "keyserver/test+4cb36af7+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
)

func signer(t testing.TB) audit.Signer {
	t.Helper()
	s, err := audit.NewSigner(testSigner)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verifier(t testing.TB) audit.Verifier {
	t.Helper()
	v, err := audit.NewVerifier(testVerifier)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// uuid returns something that looks like a UUIDv7, the same for the same n.
func uuid(n int) string { return fmt.Sprintf("0192f0c1-0000-7000-8000-%012x", n) }

const start = 1_764_000_000_000 // 2025-11-24T16:00:00Z

// story returns n events as an ordinary server writes them, operation after operation, not yet linked.
func story(n int) []audit.Event {
	var events []audit.Event
	for i := 0; len(events) < n; i++ {
		events = append(events, operation(i)...)
	}
	events = events[:n]
	for i := range events {
		events[i].Time = start + int64(i)*40
	}
	return events
}

func operation(i int) []audit.Event {
	id := law.OperationID(uuid(i))
	by := func(subject law.SubjectID) *audit.Actor {
		return &audit.Actor{Address: "192.0.2.17", Issuer: "https://login.example.org", Sub: digest(string(subject))[:24], Subject: subject}
	}
	statement := fmt.Sprintf(`{"artifacts":[],"claims":[{"name":"ref","present":true,"value":"refs/tags/v%d"}],"description":"Release %d"}`, i, i)
	d := law.Digest(digest(statement))
	events := []audit.Event{
		{
			Type: audit.OperationCreated, Actor: by("ci"), Request: uuid(i), Operation: id, Digest: d, Behind: "dora", Statement: jsontext.Value(statement),
			Eligible: map[law.KeyID][]law.SubjectID{"fw-dev": {}, "fw-prod": {"ada", "bob", "eve"}},
		},
		{Type: audit.OperationApproved, Actor: by("ada"), Request: uuid(i), Operation: id, Digest: d, Covers: []law.KeyID{"fw-dev", "fw-prod"}},
		{Type: audit.OperationApproved, Actor: by("bob"), Request: uuid(i), Operation: id, Digest: d, Covers: []law.KeyID{"fw-dev", "fw-prod"}},
		{Type: audit.OperationBecameApproved, Operation: id, Digest: d},
	}
	for use := 1; use <= 8; use++ {
		order := audit.Event{
			Type: audit.OrderAccepted, Actor: by("ci"), Request: uuid(i), Operation: id, Digest: d, Key: "fw-prod", Fingerprint: digest("fw-prod"),
			Order: law.OrderID(uuid(i*8 + use)), IdempotencyKey: fmt.Sprintf("build-%d-image-%d", i, use), Attempt: 1, Lease: start + 30_000, Use: use, Of: 8,
			Hash: law.SHA256, Scheme: law.ECDSA, Input: digest(fmt.Sprint(i, use)),
		}
		signed := order
		signed.Type, signed.Signature = audit.OrderSigned, digest(order.Input)
		events = append(events, order, signed)
	}
	return append(events, audit.Event{Type: audit.OperationExhausted, Operation: id, Digest: d})
}

// link gives the events their version, index, previous hash and batch, and returns them as leaves.
func link(t testing.TB, events []audit.Event) [][]byte {
	t.Helper()
	var tree audit.Tree
	var leaves [][]byte
	for i, e := range events {
		e.Version, e.Index, e.Previous, e.Batch = audit.Version, int64(i), tree.Previous(), uuid(i/16)
		leaf, err := e.Leaf()
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leaf)
		tree, _ = tree.Append(leaf)
	}
	return leaves
}

func treeOf(leaves [][]byte) audit.Tree {
	var tree audit.Tree
	for _, l := range leaves {
		tree, _ = tree.Append(l)
	}
	return tree
}

// checkpointOf is what somebody remembers who saw the log when it had n entries.
func checkpointOf(leaves [][]byte, n int) audit.Checkpoint {
	return audit.Checkpoint{Origin: "keyserver/test", Size: int64(n), Root: treeOf(leaves[:n]).Root()}
}

// sign returns the signed checkpoint of exactly these leaves.
func sign(t testing.TB, leaves [][]byte) []byte {
	t.Helper()
	signed, err := audit.SignCheckpoint(int64(len(leaves)), treeOf(leaves).Root(), signer(t))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func all(leaves [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, l := range leaves {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func export(t testing.TB, leaves [][]byte, signed []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := audit.WriteExport(&out, all(leaves), signed); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// stored is a store of hashes as a database keeps them.
type stored map[int64]audit.Hash

func (s stored) ReadHashes(indexes []int64) ([]audit.Hash, error) {
	out := make([]audit.Hash, len(indexes))
	for i, index := range indexes {
		h, ok := s[index]
		if !ok {
			return nil, fmt.Errorf("no hash %d", index)
		}
		out[i] = h
	}
	return out, nil
}

// rootByRFC is the root as RFC 6962 section 2.1 defines it, word by word.
func rootByRFC(leaves [][]byte) audit.Hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(slices.Concat([]byte{0}, leaves[0]))
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		left, right := rootByRFC(leaves[:k]), rootByRFC(leaves[k:])
		return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
	}
}

func BenchmarkVerifyExport(b *testing.B) {
	leaves := link(b, story(100_000))
	data := export(b, leaves, sign(b, leaves))
	v := verifier(b)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		if _, err := audit.VerifyExport(bytes.NewReader(data), v, audit.ExportOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	entries := float64(b.N) * float64(len(leaves))
	b.ReportMetric(entries/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(processorTime(b)-before)/entries, "processor-ns/entry") // the same on a busy machine
	b.ReportMetric(float64(len(data))/float64(len(leaves)), "bytes/entry")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkTreeAppend(b *testing.B) {
	leaf := []byte(strings.Repeat("x", 700))
	var tree audit.Tree
	b.ReportAllocs()
	for b.Loop() {
		tree, _ = tree.Append(leaf)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "leaves/s")
}

func hexOf(h audit.Hash) string { return hex.EncodeToString(h[:]) }

package audit_test

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"example.org/keyserver/internal/audit"
)

func someLeaves(n int) [][]byte {
	leaves := make([][]byte, n)
	for i := range leaves {
		leaves[i] = fmt.Appendf(nil, "leaf %d", i)
	}
	return leaves
}

func TestTheTreeIsThatOfRFC6962(t *testing.T) {
	leaves := someLeaves(130)
	for n := range leaves {
		if got, want := treeOf(leaves[:n]).Root(), rootByRFC(leaves[:n]); got != want {
			t.Errorf("the root of %d leaves is %s, not %s", n, got, want)
		}
	}
}

func TestTheTreeStoresAndSaysWhatTlogDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves := someLeaves(rapid.IntRange(0, 5000).Draw(t, "size"))
		var tree audit.Tree
		hashes := stored{}
		for i, leaf := range leaves {
			want, err := tlog.StoredHashes(int64(i), leaf, hashes)
			if err != nil {
				t.Fatal(err)
			}
			next, got := tree.Append(leaf)
			if len(got) != len(want) {
				t.Fatalf("leaf %d stores %d hashes, not %d", i, len(got), len(want))
			}
			for j, s := range got {
				if s != (audit.StoredHash{Index: tlog.StoredHashIndex(0, int64(i)) + int64(j), Hash: want[j]}) {
					t.Fatalf("leaf %d: stored hash %d is %v", i, j, s)
				}
				hashes[s.Index] = s.Hash
			}
			tree = next
		}
		want, err := tlog.TreeHash(int64(len(leaves)), hashes)
		if err != nil || tree.Root() != want || tree.Size() != int64(len(leaves)) {
			t.Fatalf("size %d, root %s; must be %d, %s (%v)", tree.Size(), tree.Root(), len(leaves), want, err)
		}
		resumed, err := audit.Resume(tree.Size(), hashes)
		if err != nil || resumed != tree {
			t.Fatalf("the tree resumed from its hashes differs (%v)", err)
		}
	})
}

func TestACopyOfTheTreeIsASavepoint(t *testing.T) {
	before := treeOf(someLeaves(5))
	copied := before
	_, _ = before.Append([]byte("rolled back"))
	if before != copied {
		t.Error("appending changed the tree it was asked of")
	}
	if after, _ := before.Append([]byte("kept")); after.Previous() == before.Previous() || after.Size() != 6 {
		t.Errorf("after appending: size %d, previous %s", after.Size(), after.Previous())
	}
}

func TestThePreviousHashIsThatOfTheLastLeaf(t *testing.T) {
	if got := (audit.Tree{}).Previous(); got != "" {
		t.Errorf("nothing is before the first entry, but previous is %q", got)
	}
	h := audit.LeafHash([]byte("leaf 2"))
	if got, want := treeOf(someLeaves(3)).Previous(), fmt.Sprintf("%x", h[:]); got != want {
		t.Errorf("previous is %s, not %s", got, want)
	}
}

func TestATreeThatIsNotStoredIsNotResumed(t *testing.T) {
	short := tlog.HashReaderFunc(func([]int64) ([]audit.Hash, error) { return nil, nil })
	for _, size := range []int64{-1, 1 << 53, 7} {
		if _, err := audit.Resume(size, stored{}); err == nil {
			t.Errorf("resumed a tree of size %d from nothing", size)
		}
	}
	if _, err := audit.Resume(7, short); err == nil {
		t.Error("resumed a tree from too few hashes")
	}
}

func TestProofsHoldForEverySizeAndForNothingElse(t *testing.T) {
	const most = 70
	leaves := someLeaves(most)
	var tree audit.Tree
	hashes := stored{}
	var heads []audit.Checkpoint
	for n := 0; ; n++ {
		heads = append(heads, audit.Checkpoint{Origin: "keyserver/test", Size: int64(n), Root: tree.Root()})
		if n == most {
			break
		}
		next, got := tree.Append(leaves[n])
		for _, s := range got {
			hashes[s.Index] = s.Hash
		}
		tree = next
	}
	for n, head := range heads {
		for i := range n {
			proof, err := audit.ProveInclusion(head.Size, int64(i), hashes)
			if err != nil {
				t.Fatal(err)
			}
			checkInclusion(t, proof, head, i, leaves)
		}
		for m, older := range heads[:n+1] {
			proof, err := audit.ProveConsistency(head.Size, int64(m), hashes)
			if err != nil {
				t.Fatal(err)
			}
			checkConsistency(t, proof, head, older)
		}
	}
}

func checkInclusion(t *testing.T, proof []audit.Hash, head audit.Checkpoint, i int, leaves [][]byte) {
	t.Helper()
	if err := audit.CheckInclusion(proof, head, int64(i), leaves[i]); err != nil {
		t.Errorf("leaf %d of %d: %v", i, head.Size, err)
	}
	other := head
	other.Root[3] ^= 1
	for what, err := range map[string]error{
		"leaf":  audit.CheckInclusion(proof, head, int64(i), leaves[(i+1)%len(leaves)]),
		"root":  audit.CheckInclusion(proof, other, int64(i), leaves[i]),
		"proof": audit.CheckInclusion(append(proof, audit.Hash{}), head, int64(i), leaves[i]),
	} {
		if err == nil {
			t.Errorf("leaf %d of %d: proven with another %s", i, head.Size, what)
		}
	}
}

func checkConsistency(t *testing.T, proof []audit.Hash, newer, older audit.Checkpoint) {
	t.Helper()
	if err := audit.CheckConsistency(proof, newer, older); err != nil {
		t.Errorf("size %d from %d: %v", newer.Size, older.Size, err)
	}
	other := older
	other.Root[3] ^= 1
	for what, err := range map[string]error{
		"older root": audit.CheckConsistency(proof, newer, other),
		"proof":      audit.CheckConsistency(append(proof, audit.Hash{}), newer, older),
	} {
		if err == nil {
			t.Errorf("size %d from %d: proven with another %s", newer.Size, older.Size, what)
		}
	}
}

func TestProofsOfWhatCannotBeAreRefused(t *testing.T) {
	at := func(size int64) audit.Checkpoint { return audit.Checkpoint{Origin: "keyserver/test", Size: size} }
	prove := func(_ []audit.Hash, err error) error { return err }
	elsewhere := audit.Checkpoint{Origin: "keyserver/other", Size: 1}
	tests := map[string]error{
		"entry before the first":           prove(audit.ProveInclusion(3, -1, stored{})),
		"entry after the last":             prove(audit.ProveInclusion(3, 3, stored{})),
		"entry of a log of any size":       prove(audit.ProveInclusion(1<<62+1, 3, stored{})),
		"entry whose hashes are missing":   prove(audit.ProveInclusion(3, 1, stored{})),
		"shrinking log":                    prove(audit.ProveConsistency(3, 4, stored{})),
		"negative log":                     prove(audit.ProveConsistency(3, -1, stored{})),
		"log of any size":                  prove(audit.ProveConsistency(1<<62+1, 3, stored{})),
		"log whose hashes are missing":     prove(audit.ProveConsistency(3, 1, stored{})),
		"check before the first":           audit.CheckInclusion(nil, at(3), -1, nil),
		"check after the last":             audit.CheckInclusion(nil, at(3), 3, nil),
		"check in a log of any size":       audit.CheckInclusion(nil, at(1<<62+1), 3, nil),
		"check of a shrinking log":         audit.CheckConsistency(nil, at(3), at(4)),
		"check of a negative log":          audit.CheckConsistency(nil, at(3), at(-1)),
		"check of a log of any size":       audit.CheckConsistency(nil, at(1<<62+1), at(3)),
		"check of another log":             audit.CheckConsistency(nil, elsewhere, at(1)),
		"empty log with a root of its own": audit.CheckConsistency(nil, at(3), at(0)),
	}
	for what, err := range tests {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	broken := errors.New("disk on fire")
	r := tlog.HashReaderFunc(func([]int64) ([]audit.Hash, error) { return nil, broken })
	if err := prove(audit.ProveInclusion(3, 1, r)); !errors.Is(err, broken) {
		t.Errorf("the reader's error is lost: %v", err)
	}
}

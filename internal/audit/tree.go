package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a hash in the Merkle tree: SHA-256 as RFC 6962 section 2.1 applies it.
type Hash = tlog.Hash

// HashReader reads stored hashes.
type HashReader = tlog.HashReader

const hashSize = tlog.HashSize

// LeafHash returns the hash of a leaf (RFC 6962 section 2.1).
func LeafHash(leaf []byte) Hash { return tlog.RecordHash(leaf) }

// StoredHash is one hash to be stored, under its index in the order of [tlog.StoredHashIndex].
type StoredHash struct {
	Index int64
	Hash  Hash
}

// Tree is what is needed of a Merkle tree to append to it: its size and its right edge. It is a value: a
// copy is a savepoint, and two trees of the same leaves are equal. The zero Tree is empty.
type Tree struct {
	size int64
	last Hash
	// edge[l] is the root of the complete subtree of 2^l leaves at the right edge, where bit l of size is
	// set, else zero. A size is an integer of a leaf, thus below 2^53.
	edge [53]Hash
}

// Resume returns the tree of the given size, as its stored hashes tell.
func Resume(size int64, r HashReader) (Tree, error) {
	if size < 0 || size > maxInteger {
		return Tree{}, fmt.Errorf("resuming audit tree: there is no tree of size %d", size)
	}
	t := Tree{size: size}
	var levels []int
	var indexes []int64
	for l := bits.Len64(uint64(size)) - 1; l >= 0; l-- {
		if size>>l&1 == 1 {
			levels = append(levels, l)
			indexes = append(indexes, tlog.StoredHashIndex(l, size>>l-1))
		}
	}
	if size > 0 && size&1 == 0 {
		indexes = append(indexes, tlog.StoredHashIndex(0, size-1)) // the last leaf is not on the edge by itself
	}
	hashes, err := r.ReadHashes(indexes)
	if err != nil {
		return Tree{}, fmt.Errorf("resuming audit tree of size %d: %w", size, err)
	}
	if len(hashes) != len(indexes) {
		return Tree{}, fmt.Errorf("resuming audit tree of size %d: %d hashes asked for, %d read", size, len(indexes), len(hashes))
	}
	for i, l := range levels {
		t.edge[l] = hashes[i]
	}
	if size > 0 {
		t.last = hashes[len(hashes)-1]
	}
	return t, nil
}

// Append returns the tree with one leaf more, and the hashes to be stored for it.
func (t Tree) Append(leaf []byte) (next Tree, stored []StoredHash) {
	stored = t.push(LeafHash(leaf), nil)
	return t, stored
}

// push appends a leaf by its hash, in place, and the hashes to be stored to out.
func (t *Tree) push(h Hash, out []StoredHash) []StoredHash {
	index := tlog.StoredHashIndex(0, t.size)
	out = append(out, StoredHash{index, h})
	t.last = h
	l := 0
	for ; t.size>>l&1 == 1; l++ {
		h = tlog.NodeHash(t.edge[l], h)
		t.edge[l] = Hash{}
		index++
		out = append(out, StoredHash{index, h})
	}
	t.edge[l] = h
	t.size++
	return out
}

// Size is the number of leaves.
func (t Tree) Size() int64 { return t.size }

// Previous is what the next entry must say in its member previous.
func (t Tree) Previous() string {
	if t.size == 0 {
		return ""
	}
	return hex.EncodeToString(t.last[:])
}

// Root is the root hash (RFC 6962 section 2.1).
func (t Tree) Root() Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	l := bits.TrailingZeros64(uint64(t.size))
	h := t.edge[l]
	for l++; t.size>>l != 0; l++ {
		if t.size>>l&1 == 1 {
			h = tlog.NodeHash(t.edge[l], h)
		}
	}
	return h
}

package audit

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// ProveInclusion returns the proof (RFC 6962 section 2.1.1) that the tree of the given size has the leaf
// that it has at index.
func ProveInclusion(size, index int64, r HashReader) ([]Hash, error) {
	if size > maxInteger || index < 0 || index >= size {
		return nil, fmt.Errorf("proving audit entry %d: it is not in a log of size %d", index, size)
	}
	proof, err := tlog.ProveRecord(size, index, r)
	if err != nil {
		return nil, fmt.Errorf("proving audit entry %d in a log of size %d: %w", index, size, err)
	}
	return proof, nil
}

// CheckInclusion returns nil if the proof shows that the log of the checkpoint has this leaf at index.
func CheckInclusion(proof []Hash, c Checkpoint, index int64, leaf []byte) error {
	if c.Size > maxInteger || index < 0 || index >= c.Size { // tlog does not end on sizes near 2^63
		return fmt.Errorf("checking audit entry %d: it is not in a log of size %d", index, c.Size)
	}
	if err := tlog.CheckRecord(proof, c.Size, c.Root, index, LeafHash(leaf)); err != nil {
		return fmt.Errorf("checking audit entry %d in a log of size %d: %w", index, c.Size, err)
	}
	return nil
}

// ProveConsistency returns the proof (RFC 6962 section 2.1.2) that the log of the newer size begins with the
// log of the older size. The proof for an older size of 0 is empty: every log begins with the empty one.
func ProveConsistency(newer, older int64, r HashReader) ([]Hash, error) {
	if newer > maxInteger || older < 0 || older > newer {
		return nil, fmt.Errorf("proving audit log of size %d from size %d: there is no such pair", newer, older)
	}
	if older == 0 {
		return nil, nil
	}
	proof, err := tlog.ProveTree(newer, older, r)
	if err != nil {
		return nil, fmt.Errorf("proving audit log of size %d from size %d: %w", newer, older, err)
	}
	return proof, nil
}

// CheckConsistency returns nil if the proof shows that the log of the newer checkpoint begins with the log
// of the older one.
func CheckConsistency(proof []Hash, newer, older Checkpoint) error {
	if newer.Origin != older.Origin {
		return fmt.Errorf("checking audit log %s: the older checkpoint is of log %s", newer.Origin, older.Origin)
	}
	if newer.Size > maxInteger || older.Size < 0 || older.Size > newer.Size {
		return fmt.Errorf("checking audit log of size %d: it does not begin with one of size %d", newer.Size, older.Size)
	}
	if older.Size == 0 {
		var empty Tree
		if len(proof) != 0 || older.Root != empty.Root() {
			return fmt.Errorf("checking audit log of size %d: the proof from size 0 must be empty, and the root that of an empty log", newer.Size)
		}
		return nil
	}
	if err := tlog.CheckTree(proof, newer.Size, newer.Root, older.Size, older.Root); err != nil {
		return fmt.Errorf("checking audit log of size %d against size %d: %w", newer.Size, older.Size, err)
	}
	return nil
}

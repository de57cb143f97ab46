// Package audit holds the audit log's events, their canonical bytes, the Merkle tree over them, signed
// checkpoints, proofs, the export and its offline verification. docs/formats/audit.md describes every
// format for people who verify with other programs.
//
// The package is pure over bytes: it opens nothing, asks no clock and keeps no state. What is stored where
// is the business of its callers.
//
// Promises: [ParseLeaf] accepts exactly the bytes that [Event.Leaf] writes. [VerifyExport] and [Checker]
// accept a log only if every entry is in place, follows the one before, and the whole has the root that
// the checkpoint and every remembered checkpoint say. A log proves nothing to somebody who trusts neither
// its key nor a checkpoint remembered outside.
package audit

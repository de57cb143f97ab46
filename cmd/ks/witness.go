package main

import (
	"context"
	"errors"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/audit"
)

// logOf returns the verifier of the server's log: the key that was pinned, or the server's own if this is
// the first time.
func (p *program) logOf(ctx context.Context, s session) (audit.Verifier, string, error) {
	known, there, err := p.pinned(s.server)
	if err != nil {
		return nil, "", err
	}
	if there {
		v, err := audit.NewVerifier(known.LogKey)
		return v, known.LogKey, err
	}
	version, err := s.Version(ctx)
	if err != nil {
		return nil, "", err
	}
	v, err := p.pinLogKey(s.server, version.LogKey)
	return v, version.LogKey, err
}

// witness remembers a checkpoint that the server gave, and has the server prove that its log still begins
// with the log of each one that was remembered before. The error is a failure with exitTampered when it does
// not; others say that it could not be found out now, and it will be tried again the next time.
func (p *program) witness(ctx context.Context, s session, signed string) (audit.Checkpoint, error) {
	v, logKey, err := p.logOf(ctx, s)
	if err != nil {
		return audit.Checkpoint{}, err
	}
	c, err := audit.ParseCheckpoint([]byte(signed), v)
	if err != nil {
		return c, p.wrongLogKey(ctx, s, logKey, err)
	}
	m, err := p.updateMemory(v, logKey, func(m *memory) { m.add(signed, c) }) // first: it must not be lost
	if err != nil {
		return c, err
	}
	var proven [][2]audit.Checkpoint
	for _, pair := range m.unlinked() {
		if err = p.prove(ctx, s, pair[0], pair[1]); err != nil {
			break
		}
		proven = append(proven, pair)
	}
	if len(proven) > 0 {
		_, stored := p.updateMemory(v, logKey, func(m *memory) {
			for _, pair := range proven {
				m.link(pair[0], pair[1])
			}
			m.trim()
		})
		err = errors.Join(err, stored)
	}
	return c, err
}

// prove returns nil if the log of newer begins with that of older.
func (p *program) prove(ctx context.Context, s session, older, newer audit.Checkpoint) error {
	if older.Size == newer.Size { // two of one size are remembered only when they differ
		return p.rewritten(s.server, newer, nil, "the audit log of %s was rewritten: it had other %d entries", s.server, newer.Size)
	}
	var hashes []audit.Hash
	if older.Size > 0 {
		proof, err := s.ConsistencyProof(ctx, older.Size, newer.Size)
		if problem := (*api.Problem)(nil); errors.As(err, &problem) && problem.Kind() == api.Malformed {
			return p.rewritten(s.server, newer, err, "the audit log of %s no longer has the %d entries that it had: it was truncated, or set back to an earlier state", s.server, newer.Size)
		}
		if err != nil {
			return err
		}
		for _, h := range proof.Hashes {
			if len(h) != len(audit.Hash{}) {
				return p.rewritten(s.server, newer, nil, "the server's proof about the audit log is not one")
			}
			hashes = append(hashes, audit.Hash(h))
		}
	}
	if err := audit.CheckConsistency(hashes, newer, older); err != nil {
		return p.rewritten(s.server, newer, err, "the audit log of %s was rewritten: with %d entries it does not begin with the log that it was with %d entries (%v)", s.server, newer.Size, older.Size, err)
	}
	return nil
}

func (p *program) rewritten(server string, c audit.Checkpoint, cause error, format string, args ...any) error {
	hint := "tell your security people, and keep the signed checkpoints, which are evidence: `ks help files` says where they are"
	if known, there, err := p.pinned(server); err == nil && there {
		if name, err := p.memoryFile(known.LogKey); err == nil {
			hint = "tell your security people; the signed checkpoints in " + name + " are evidence. " +
				"If there is a good reason, such as a restored backup, move that file away: ks then remembers anew"
		}
	}
	return tampered(cause, hint, format, args...)
}

// wrongLogKey says why a checkpoint does not verify with the pinned log key: because the server has another
// now, or because it is not signed at all.
func (p *program) wrongLogKey(ctx context.Context, s session, logKey string, cause error) error {
	if version, err := s.Version(ctx); err == nil && version.LogKey != logKey {
		if _, err := p.pinLogKey(s.server, version.LogKey); err != nil {
			return err
		}
	}
	return tampered(cause, "tell your security people: the server, or somebody in between, gives out checkpoints that its log key did not sign",
		"the checkpoint of %s is not good: %v", s.server, cause)
}

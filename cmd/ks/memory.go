package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"

	"example.org/keyserver/internal/audit"
)

// pin is the log key that a server had when it was first seen.
type pin struct {
	Server string `json:"server"`
	LogKey string `json:"logkey"`
	Since  int64  `json:"since"` // ms since 1970 UTC
}

// memory is the checkpoints that were seen of one log, by size. It is what makes this client a witness.
type memory struct {
	LogKey      string       `json:"logkey"`
	Checkpoints []remembered `json:"checkpoints"`
}

// remembered is a checkpoint that was seen.
type remembered struct {
	Note string `json:"note"` // signed; kept whole, for it is evidence

	// Linked says that its log was proven to begin with that of the checkpoint before it in the memory. If
	// all are linked, the first of them is proven to be the beginning of the last.
	Linked bool `json:"linked"`

	checkpoint audit.Checkpoint
}

// maxRemembered is how many checkpoints are kept. The newest one stands for all before it; the others show
// more exactly where a log was changed.
const maxRemembered = 20

func (p *program) pinFile(server string) (string, error) {
	return p.homeFile("servers", url.QueryEscape(server)+".json")
}

func (p *program) memoryFile(logKey string) (string, error) {
	sum := sha256.Sum256([]byte(logKey))
	return p.homeFile("logs", hex.EncodeToString(sum[:16])+".json")
}

// pinned returns the log key that was pinned for a server, and false if none was.
func (p *program) pinned(server string) (pin, bool, error) {
	name, err := p.pinFile(server)
	if err != nil {
		return pin{}, false, err
	}
	var known pin
	there, err := readPrivate(name, &known)
	if err == nil && there && known.Server != server {
		err = fmt.Errorf("reading %s: it is of %s", name, known.Server)
	}
	return known, there, err
}

// pinLogKey pins the log key of a server if none is pinned yet, and refuses another than the pinned one.
func (p *program) pinLogKey(server, logKey string) (audit.Verifier, error) {
	verifier, err := audit.NewVerifier(logKey)
	if err != nil {
		return nil, fmt.Errorf("the server's log key: %w", err)
	}
	unlock, err := p.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	known, there, err := p.pinned(server)
	if err != nil {
		return nil, err
	}
	name, err := p.pinFile(server)
	switch {
	case err != nil:
		return nil, err
	case there && known.LogKey == logKey:
		return verifier, nil
	case there:
		return nil, tampered(nil, "if the administrators announced this change, remove "+name+" and run `ks login`; if not, tell your security people: this may be another server, or its log may have been replaced",
			"the log key of %s is %s, but %s was pinned on %s", server, logKey, known.LogKey, date(known.Since))
	}
	if err := writePrivate(name, pin{Server: server, LogKey: logKey, Since: p.now().UnixMilli()}); err != nil {
		return nil, err
	}
	p.notef("Pinned the log key of %s: %s\nCompare it with the one that the administrators published.", visible(server), visible(logKey))
	return verifier, nil
}

// recall returns what is remembered of the log.
func (p *program) recall(v audit.Verifier, logKey string) (memory, error) {
	name, err := p.memoryFile(logKey)
	if err != nil {
		return memory{}, err
	}
	m := memory{LogKey: logKey}
	if _, err := readPrivate(name, &m); err != nil {
		return m, err
	}
	if m.LogKey != logKey {
		return m, fmt.Errorf("reading %s: it is of the log key %s", name, m.LogKey)
	}
	for i := range m.Checkpoints {
		c := &m.Checkpoints[i]
		if c.checkpoint, err = audit.ParseCheckpoint([]byte(c.Note), v); err != nil {
			return m, fmt.Errorf("reading %s: %w", name, err)
		}
		if i > 0 && c.checkpoint.Size < m.Checkpoints[i-1].checkpoint.Size {
			return m, fmt.Errorf("reading %s: the checkpoints are out of order", name)
		}
	}
	return m, nil
}

// updateMemory changes what is remembered of the log and returns it.
func (p *program) updateMemory(v audit.Verifier, logKey string, change func(*memory)) (memory, error) {
	unlock, err := p.lock()
	if err != nil {
		return memory{}, err
	}
	defer unlock()
	m, err := p.recall(v, logKey)
	if err != nil {
		return m, err
	}
	change(&m)
	name, err := p.memoryFile(logKey)
	if err != nil {
		return m, err
	}
	return m, writePrivate(name, m)
}

// add remembers a checkpoint, unless it is remembered already.
func (m *memory) add(note string, c audit.Checkpoint) {
	at := len(m.Checkpoints)
	for i, r := range m.Checkpoints {
		if r.checkpoint == c {
			return
		}
		if r.checkpoint.Size > c.Size {
			at = i
			break
		}
	}
	if at < len(m.Checkpoints) {
		m.Checkpoints[at].Linked = false // there is another one before it now
	}
	m.Checkpoints = slices.Insert(m.Checkpoints, at, remembered{Note: note, checkpoint: c})
}

// link notes that these two, one after the other, are proven to belong together.
func (m *memory) link(older, newer audit.Checkpoint) {
	for i := 1; i < len(m.Checkpoints); i++ {
		if m.Checkpoints[i-1].checkpoint == older && m.Checkpoints[i].checkpoint == newer {
			m.Checkpoints[i].Linked = true
		}
	}
}

// trim forgets the oldest that are proven to be the beginning of what is kept.
func (m *memory) trim() {
	for len(m.Checkpoints) > maxRemembered && m.Checkpoints[1].Linked {
		m.Checkpoints = m.Checkpoints[1:]
	}
}

// unlinked returns the neighbours that are not proven to belong together.
func (m *memory) unlinked() (pairs [][2]audit.Checkpoint) {
	for i := 1; i < len(m.Checkpoints); i++ {
		if !m.Checkpoints[i].Linked {
			pairs = append(pairs, [2]audit.Checkpoint{m.Checkpoints[i-1].checkpoint, m.Checkpoints[i].checkpoint})
		}
	}
	return pairs
}

func (m *memory) checkpoints() []audit.Checkpoint {
	var all []audit.Checkpoint
	for _, r := range m.Checkpoints {
		all = append(all, r.checkpoint)
	}
	return all
}

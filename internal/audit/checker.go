package audit

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
)

// Tampered says that a log is not what it was.
type Tampered struct {
	// Index is the first entry that is certainly bad, missing or too many; -1 when it is the checkpoint.
	Index int64
	// Proven is how many of the first entries are exactly those of a remembered checkpoint. Whoever changes
	// an entry can make those behind it fit again: the first bad entry is between Proven and Index.
	Proven int64
	// What is wrong, in a sentence about the entry.
	What string
}

// Error names the entry and what is wrong with it.
func (t *Tampered) Error() string {
	if t.Index < 0 {
		return "the audit log's checkpoint: " + t.What
	}
	proven := fmt.Sprintf("a remembered checkpoint proves the first %d entries", t.Proven)
	switch t.Proven {
	case 0:
		proven = "no remembered checkpoint proves what is before it"
	case t.Index:
		proven = "a remembered checkpoint proves everything before it"
	}
	return fmt.Sprintf("audit entry %d: %s (%s)", t.Index, t.What, proven)
}

// Report is what a checked log is.
type Report struct {
	Checkpoint Checkpoint     // covers exactly the entries checked
	First      int64          // time of the first entry, ms UTC; 0 in an empty log
	Last       int64          // time of the last entry, ms UTC; 0 in an empty log
	Counts     map[Type]int64 // entries per type
}

// Checker checks a log entry by entry, in order: first every [Checker.Leaf], then [Checker.Finish]. After an
// error it is of no more use.
type Checker struct {
	origin     string
	remembered []Checkpoint // those not yet reached, by size
	each       func(Event) error
	tree       Tree
	before     Tree    // tree without its last entry
	previous   string  // what the last entry in tree says
	suspect    *parsed // does not follow the last entry in tree: one of the two is bad
	proven     int64
	report     Report
	scratch    []StoredHash
}

// parsed is a leaf, read.
type parsed struct {
	event Event
	hash  Hash
	err   error // why it could not be read
}

// parse reads a leaf into a zero p. It uses scratch and returns it for the next.
func (p *parsed) parse(leaf, scratch []byte) []byte {
	p.hash = LeafHash(leaf)
	scratch, p.err = p.event.parse(leaf, scratch)
	return scratch
}

// NewChecker returns a checker of the log of that origin. The log must begin with that of every remembered
// checkpoint. each, if not nil, gets every entry as it comes, and its error ends the check; what it has seen
// is good only if Finish says so in the end.
func NewChecker(origin string, remembered []Checkpoint, each func(Event) error) (*Checker, error) {
	for _, r := range remembered {
		if r.Origin != origin {
			return nil, fmt.Errorf("checking audit log %s: a remembered checkpoint is of log %s", origin, r.Origin)
		}
	}
	remembered = slices.SortedFunc(slices.Values(remembered), func(a, b Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	c := &Checker{origin: origin, remembered: remembered, each: each, report: Report{Counts: map[Type]int64{}}}
	if err := c.meet(); err != nil {
		return nil, err
	}
	return c, nil
}

// Leaf checks the next entry. Its error is a *[Tampered] or that of each.
func (c *Checker) Leaf(leaf []byte) error {
	var p parsed
	p.parse(leaf, nil)
	return c.add(&p)
}

func (c *Checker) add(p *parsed) error {
	if c.suspect != nil {
		next := p.err == nil && p.event.Index == c.suspect.event.Index+1 && p.event.Previous == hex.EncodeToString(c.suspect.hash[:])
		return c.settle(next)
	}
	n := c.tree.size
	switch {
	case p.err != nil:
		return c.tampered(n, p.err.Error())
	case p.event.Index != n:
		return c.misplaced(p)
	case p.event.Previous != c.tree.Previous():
		c.suspect = &parsed{event: p.event, hash: p.hash}
		return nil
	case n > 0 && p.event.Time < c.report.Last && p.event.Type != ClockAccepted:
		return c.tampered(n, "its time is before that of the entry before, and it is no clock-accepted")
	}
	c.before = c.tree
	c.scratch = c.tree.push(p.hash, c.scratch[:0])
	c.previous = p.event.Previous
	c.count(p.event)
	if err := c.meet(); err != nil {
		return err
	}
	if c.each != nil {
		return c.each(p.event)
	}
	return nil
}

// Finish checks that the checkpoint, whose signature has been verified, covers exactly the entries seen.
func (c *Checker) Finish(of Checkpoint) (Report, error) {
	if s := c.suspect; s != nil {
		// No entry follows the suspect. It is intact if the signed root is that of the log in which the entry
		// before it has the hash that the suspect says.
		whole := c.before
		var claimed Hash
		_, _ = hex.Decode(claimed[:], []byte(s.event.Previous)) // ParseLeaf has seen that it is hex
		whole.push(claimed, nil)
		whole.push(s.hash, nil)
		return Report{}, c.settle(whole.size == of.Size && whole.Root() == of.Root)
	}
	n := c.tree.size
	switch {
	case of.Origin != c.origin:
		return Report{}, c.tampered(-1, fmt.Sprintf("it is of log %s, not of log %s", of.Origin, c.origin))
	case len(c.remembered) > 0:
		return Report{}, c.tampered(n, fmt.Sprintf("it is missing; a remembered checkpoint covers %d entries", c.remembered[0].Size))
	case of.Size > n:
		return Report{}, c.tampered(n, fmt.Sprintf("it is missing; the checkpoint covers %d entries", of.Size))
	case of.Size < n:
		return Report{}, c.tampered(of.Size, fmt.Sprintf("it is not covered by the checkpoint, which covers %d entries", of.Size))
	case of.Root != c.tree.Root():
		return Report{}, c.tampered(n-1, "with it the log does not have the checkpoint's root; it, or one before it and all that follow, were changed")
	}
	c.report.Checkpoint = of
	return c.report, nil
}

// meet compares the tree with the remembered checkpoints of its size.
func (c *Checker) meet() error {
	for len(c.remembered) > 0 && c.remembered[0].Size <= c.tree.size {
		if c.remembered[0] != (Checkpoint{c.remembered[0].Origin, c.tree.size, c.tree.Root()}) {
			return c.tampered(c.tree.size-1, "with it the log does not have the root of a remembered checkpoint; it, or one before it and all that follow, were changed")
		}
		c.proven = c.tree.size
		c.remembered = c.remembered[1:]
	}
	return nil
}

// settle says which is bad: the suspect, which does not follow the entry before it, or that one. When the
// suspect is intact, the hash it holds was once right.
func (c *Checker) settle(intact bool) error {
	n := c.suspect.event.Index
	if intact && c.proven < n {
		return c.tampered(n-1, fmt.Sprintf("it was changed: entry %d still has its former hash", n))
	}
	return c.tampered(n, fmt.Sprintf("it does not follow entry %d: its previous hash is another", n-1))
}

// misplaced says which entry is bad when p stands where another index must stand.
func (c *Checker) misplaced(p *parsed) error {
	n := c.tree.size
	if p.event.Index == n-1 && p.event.Previous == c.previous && p.hash != c.tree.last && c.proven < n {
		return c.tampered(n-1, "there are two of it; one was inserted")
	}
	return c.tampered(n, fmt.Sprintf("entry %d stands in its place", p.event.Index))
}

func (c *Checker) tampered(index int64, what string) error {
	return &Tampered{Index: index, Proven: c.proven, What: what}
}

func (c *Checker) count(e Event) {
	if e.Index == 0 {
		c.report.First = e.Time
	}
	c.report.Last = e.Time
	c.report.Counts[e.Type]++
}

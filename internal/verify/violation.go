package verify

import "fmt"

// Violation says that an entry of the audit log tells of what may not be, though the log itself is intact.
type Violation struct {
	Index int64  // of the entry
	Rule  string // what it breaks, such as "rule 10"
	What  string // is wrong, in a sentence
}

// Error names the entry, what is wrong and the rule.
func (v *Violation) Error() string {
	return fmt.Sprintf("audit entry %d: %s (%s)", v.Index, v.What, v.Rule)
}

// here is the index of a violation by the entry that is being read.
const here = -1

func breaks(rule, what string, args ...any) error {
	return &Violation{Index: here, Rule: rule, What: fmt.Sprintf(what, args...)}
}

// Difference says that a table does not hold what the audit log tells.
type Difference struct {
	Table  string
	Row    string // names the row; empty when it is about the table
	Column string // empty when it is about the whole row
	What   string
}

// Error names the table, row and column.
func (d *Difference) Error() string {
	at := "table " + d.Table
	if d.Row != "" {
		at += ", row " + d.Row
	}
	if d.Column != "" {
		at += ", column " + d.Column
	}
	return at + ": " + d.What
}

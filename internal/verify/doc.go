// Package verify re-verifies what a keyserver has done, from its audit log alone: a [Fold] reads event
// after event, keeps the state that they tell of, and refuses the first one that the law of operations and
// administration sessions does not allow. [Export] does so with an exported log, and package verify/database with a whole database.
//
// It judges in other words than package law, so that a mistake in one of them does not hide in the other:
// of package law it uses what a statement, a key and a requirement are, never what is allowed. "rule n" is
// rule n of the law of operations, "section 5" that of administration sessions, "I n" an invariant of docs/threats.md.
//
// What it does not know is a violation: an unknown event, a member too many, a column without a meaning.
package verify

// Package law holds the rules of operations and sign orders, and nothing else.
//
// Every function is pure: what is true of the world (keys, subjects, roles, the time) comes in as an
// argument, and what changes goes out as a new value together with the list of what happened. Nothing
// here reads a clock, a file, a socket or a source of randomness. "rule n" in a comment means rule n of
// the law of operations.
//
// A verb answers with an [Outcome] and an error. The error is nil or a *[Refusal]. The Outcome is to be
// stored in both cases: what had to be settled before the verb could be judged (an expiry that was just
// met, an approval that lapsed) has happened even if the verb itself is refused.
package law

package law

// RefusalKind is the reason for a refusal in a form that programs can use. The HTTP API translates each
// to a status and a problem type.
type RefusalKind string

const (
	Forbidden   RefusalKind = "forbidden"    // who asks may not do this
	NotFound    RefusalKind = "not-found"    // for who asks there is no such thing
	WrongState  RefusalKind = "wrong-state"  // not in this state, or not any more
	NotCovered  RefusalKind = "not-covered"  // the key is not in the operation
	Duplicate   RefusalKind = "duplicate"    // done already, and once is all that is allowed
	WrongDigest RefusalKind = "wrong-digest" // the digest is not that of the operation
	Impossible  RefusalKind = "impossible"   // well-formed, but cannot be
	InputMisfit RefusalKind = "input-misfit" // the input does not fit the key or the artifacts
	KeyReused   RefusalKind = "idempotency-key-reused"
	Held        RefusalKind = "clock-held" // the clock is behind its mark
	Superseded  RefusalKind = "superseded" // a result of an attempt that is not the latest
)

// Refusal is the law's no: a kind for programs, and a sentence for people that says what to do.
type Refusal struct {
	Kind   RefusalKind
	Reason string
}

// Error returns the sentence.
func (r *Refusal) Error() string { return r.Reason }

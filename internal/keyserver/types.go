package keyserver

import (
	"time"

	"example.org/keyserver/internal/law"
)

// Caller is who asks, and how.
type Caller struct {
	law.Caller
	Address string // client's network address
	Request string // request id
	Route   string // what was asked, such as "POST /api/operations"
	// By is the making of the facts that the caller was authenticated by; zero: somebody vouches that they are
	// those of now. See [ErrStale].
	By law.Making
}

// Operation is an operation as one caller sees it now.
type Operation struct {
	law.Operation
	State     law.State
	Digest    law.Digest
	Progress  []law.KeyProgress
	Obstacles []string    // what besides missing approvals keeps it from being approved
	Counts    []law.KeyID // the keys for which the caller's approval would count
	Revision  int64       // grows with every change
}

// CreateRequest asks for a new operation. Server, ID and Nonce of the Ask are filled in by the verb.
type CreateRequest struct {
	IdempotencyKey string // scoped to the subject
	Ask            law.Ask
}

// OperationFilter selects operations. Empty fields select all.
type OperationFilter struct {
	State   law.State
	Key     law.KeyID
	Orderer law.SubjectID
	Queue   bool      // those that wait for the caller
	From    time.Time // created at this time or after
	Until   time.Time // created before this time
	// Text is in the description, whether in capitals or not, or is what the id begins with. A whole id selects that
	// operation alone.
	Text string
	Page Page
}

// Page asks for one page of a list.
type Page struct {
	Limit  int    // 1 to MaxPage
	Cursor string // empty: from the start
}

// MaxPage is the largest page of a list.
const MaxPage = 200

// OperationPage is one page of operations, newest first. A page may be shorter than asked for and still
// have a next one.
type OperationPage struct {
	Operations []Operation
	Next       string // cursor of the next page, empty at the end
}

// SignOrder is a sign order with its result, and the newest checkpoint of the audit log, which covers its
// events.
type SignOrder struct {
	law.Order
	Of         int // uses of the key that the operation has
	Checkpoint string
}

// SignOrderPage is one page of the sign orders of an operation, oldest first.
type SignOrderPage struct {
	Orders []SignOrder
	Next   string
}

// EventFilter selects audit events. Empty fields select all.
type EventFilter struct {
	Type      string
	Operation law.OperationID
	Subject   law.SubjectID // of the actor
	Key       law.KeyID
	Session   law.SessionID
	Page      Page
	Newest    bool // the newest first
}

// EventPage is one page of audit events, oldest first unless asked otherwise, each as the canonical bytes of its leaf.
type EventPage struct {
	Leaves [][]byte
	Next   string
}

// Self says who the caller is to this server.
type Self struct {
	Subject law.Subject
	Roles   []law.Role // those the subject is a member of
}

// Unavailable says that something the answer needs cannot be had now.
type Unavailable struct {
	Kind       string // "keystore", "database", "clock", "busy" or "running"
	Sentence   string
	RetryAfter time.Duration
	Order      law.OrderID // the sign order to ask for again, if there is one
	Err        error       // what was the matter, for the log
}

// Error returns the sentence.
func (u *Unavailable) Error() string { return u.Sentence }

// Unwrap returns what was the matter.
func (u *Unavailable) Unwrap() error { return u.Err }

// TooMany says that a limit of the server was reached.
type TooMany struct {
	Sentence   string
	RetryAfter time.Duration
}

// Error returns the sentence.
func (t *TooMany) Error() string { return t.Sentence }

// Malformed says that a request cannot be understood, such as a cursor that this server never gave.
type Malformed struct{ Sentence string }

// Error returns the sentence.
func (m *Malformed) Error() string { return m.Sentence }

package identity

import (
	"fmt"

	"example.org/keyserver/internal/law"
)

// Kind says what an [Error] means for the caller.
type Kind int

const (
	// Rejected: the token proves nothing. 401.
	Rejected Kind = iota
	// NotAllowed: the token is good, and there is no one subject that it may speak for. 403.
	NotAllowed
	// Unavailable: the issuer or its keys cannot be asked, so nothing is known of the token. 503.
	Unavailable
)

// Reason is why, in a form that programs can count.
type Reason string

// The reasons for which a token is Rejected.
const (
	NoToken          Reason = "no-token"
	Malformed        Reason = "malformed"
	BadHeader        Reason = "header"
	BadAlgorithm     Reason = "algorithm"
	BadType          Reason = "type"
	UnknownIssuer    Reason = "issuer"
	InsecureIssuer   Reason = "issuer-insecure"
	UnknownKey       Reason = "unknown-key"
	BadSignature     Reason = "signature"
	DevelopmentToken Reason = "development-token"
	BadAudience      Reason = "audience"
	Expired          Reason = "expired"
	NotYetValid      Reason = "not-yet-valid"
	BadClaim         Reason = "claim"
)

// The further reasons for which a sign-in with a browser is Rejected.
const (
	BadState Reason = "state"
	BadCode  Reason = "code"
	BadNonce Reason = "nonce"
	NotFresh Reason = "not-fresh"
	Denied   Reason = "denied" // by the person or the issuer
)

// The reasons for which a good token is NotAllowed, and those why nothing is known of it.
const (
	NoSubject       Reason = "no-subject"
	TwoSubjects     Reason = "two-subjects"
	DisabledSubject Reason = "disabled-subject"
	MachineSubject  Reason = "machine-subject" // at the pages only
	KeysUnavailable Reason = "keys-unavailable"
	// ProviderUnavailable: a sign-in with a browser cannot be begun or confirmed.
	ProviderUnavailable Reason = "provider-unavailable"
)

// Error is why a caller was not authenticated. It never holds a token or a part of one that has not been
// verified.
type Error struct {
	Kind     Kind
	Reason   Reason
	Sentence string // for the caller
	// Who is what is certain about the caller nevertheless: issuer and sub once the token is known to be
	// good, the subject if there is one.
	Who   law.Principal
	cause error // for the server's log only
}

// Error returns what the server's log should say; callers are shown the Sentence only.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Sentence + ": " + e.cause.Error()
	}
	return e.Sentence
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

func reject(why Reason, format string, args ...any) error {
	return &Error{Kind: Rejected, Reason: why, Sentence: fmt.Sprintf(format, args...)}
}

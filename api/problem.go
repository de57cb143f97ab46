package api

import (
	"net/http"
	"time"
)

// Kind is the stable kind of a problem: what programs decide by.
type Kind string

// The kinds of problems.
const (
	Malformed        Kind = "malformed"              // not as the specification says
	Unauthenticated  Kind = "unauthenticated"        // no valid token
	Forbidden        Kind = "forbidden"              // the caller may not do this
	NotFound         Kind = "not-found"              // for the caller there is no such thing
	MethodNotAllowed Kind = "method-not-allowed"     // the path has other methods
	WrongState       Kind = "wrong-state"            // not in this state, or not any more
	NotCovered       Kind = "not-covered"            // the key is not in the operation
	Duplicate        Kind = "duplicate"              // done already, and once is all that is allowed
	WrongDigest      Kind = "wrong-digest"           // the digest is not that of the operation or administration session
	TooLarge         Kind = "too-large"              // the body is too large
	UnsupportedMedia Kind = "unsupported-media"      // the body is not plain application/json
	Impossible       Kind = "impossible"             // well-formed, but cannot be
	InputMisfit      Kind = "input-misfit"           // the input does not fit the key or the artifacts
	KeyReused        Kind = "idempotency-key-reused" // the idempotency key was used for something else
	PolicyFault      Kind = "policy"                 // the policy is not well-formed
	TooMany          Kind = "too-many"               // a limit of the server was reached
	Internal         Kind = "internal"               // a fault of the server
	Unavailable      Kind = "unavailable"            // something that the answer needs cannot be had now
	ClockHeld        Kind = "clock-held"             // the server's clock went back
	Running          Kind = "running"                // an attempt at the sign order is being made
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{
		Malformed, Unauthenticated, Forbidden, NotFound, MethodNotAllowed, WrongState, NotCovered, Duplicate, WrongDigest,
		TooLarge, UnsupportedMedia, Impossible, InputMisfit, KeyReused, PolicyFault, TooMany, Internal, Unavailable, ClockHeld, Running,
	}
}

const typePrefix = "urn:keyserver:problem:"

// Type returns the problem type URI of the kind.
func (k Kind) Type() string { return typePrefix + string(k) }

// Status returns the HTTP status of the kind.
func (k Kind) Status() int {
	switch k {
	case Malformed, TooLarge: // a static ceiling is part of what a well-formed request is
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case WrongState, NotCovered, Duplicate:
		return http.StatusConflict
	case WrongDigest:
		return http.StatusPreconditionFailed
	case UnsupportedMedia:
		return http.StatusUnsupportedMediaType
	case Impossible, InputMisfit, KeyReused, PolicyFault:
		return http.StatusUnprocessableEntity
	case TooMany:
		return http.StatusTooManyRequests
	case Unavailable, ClockHeld, Running:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Title returns the short name of the kind for people.
func (k Kind) Title() string {
	switch k {
	case Malformed:
		return "Malformed request"
	case Unauthenticated:
		return "Not authenticated"
	case Forbidden:
		return "Not allowed"
	case NotFound:
		return "Not found"
	case MethodNotAllowed:
		return "Method not allowed"
	case WrongState:
		return "Wrong state"
	case NotCovered:
		return "Key not in the operation"
	case Duplicate:
		return "Done already"
	case WrongDigest:
		return "Wrong digest"
	case TooLarge:
		return "Too large"
	case UnsupportedMedia:
		return "Unsupported media type"
	case Impossible:
		return "Not possible"
	case InputMisfit:
		return "Input does not fit"
	case KeyReused:
		return "Idempotency key used before"
	case PolicyFault:
		return "Policy not well-formed"
	case TooMany:
		return "Too many requests"
	case Unavailable:
		return "Not available now"
	case ClockHeld:
		return "Clock is held"
	case Running:
		return "Being signed now"
	}
	return "Internal error"
}

// Problem is why a request was refused (RFC 9457). It is an error.
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`           // what is wrong and how to mend it
	Instance string `json:"instance"`         // urn:uuid: and the request id
	Order    string `json:"order,omitzero"`   // with 503: the sign order to ask for again
	Pointer  string `json:"pointer,omitzero"` // with 400: JSON pointer (RFC 6901) to the bad member

	// RetryAfter is the header Retry-After: how long to wait before asking again.
	RetryAfter time.Duration `json:"-"`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// Kind returns the kind of the problem, empty if it is not one of this API.
func (p *Problem) Kind() Kind {
	if len(p.Type) > len(typePrefix) && p.Type[:len(typePrefix)] == typePrefix {
		return Kind(p.Type[len(typePrefix):])
	}
	return ""
}

package audit

import (
	"encoding/json/jsontext"

	"example.org/keyserver/internal/law"
)

// Version is the version of the leaf format that this package writes and reads.
const Version = 1

// Event is one entry of the audit log. It has no other fields than these, so that nothing gets into the
// log by accident. A zero field is left out of the leaf, except index, previous, time, type and v.
//
// The fields stand in the order of their JSON names: encoding/json/v2 writes them in that order, and RFC
// 8785 wants them in that order.
type Event struct {
	Actor              *Actor                        `json:"actor,omitzero"`              // who did it; nil: the server itself
	Attempt            int                           `json:"attempt,omitzero"`            // of the sign order, from 1
	Batch              string                        `json:"batch,omitzero"`              // the transaction that wrote the entry
	Behind             law.SubjectID                 `json:"behind,omitzero"`             // person behind the orderer
	Certificate        *Certificate                  `json:"certificate,omitzero"`        // the certificate concerned
	Clock              *ClockStep                    `json:"clock,omitzero"`              // how the clock moved
	Configuration      *Configuration                `json:"configuration,omitzero"`      // what is configured now
	Contact            *Contact                      `json:"contact,omitzero"`            // what the subject wants to be told, and by what
	Count              int                           `json:"count,omitzero"`              // how often it happened; of statuses, how many may be signed
	Covers             []law.KeyID                   `json:"covers,omitzero"`             // keys that the approval counts for
	Digest             law.Digest                    `json:"digest,omitzero"`             // of the operation or administration session
	Eligible           map[law.KeyID][]law.SubjectID `json:"eligible,omitzero"`           // per key, when the operation was created
	Fingerprint        string                        `json:"fingerprint,omitzero"`        // of the key's public key
	Hash               law.Hash                      `json:"hash,omitzero"`               // of the input
	IdempotencyKey     string                        `json:"idempotencykey,omitzero"`     // of the sign order
	Index              int64                         `json:"index"`                       // place in the log, from 0
	Input              string                        `json:"input,omitzero"`              // lower-case hex digest of what is signed
	Key                law.KeyID                     `json:"key,omitzero"`                // the key concerned
	Lease              int64                         `json:"lease,omitzero"`              // end of the attempt's lease, or of the permission's, ms UTC
	Of                 int                           `json:"of,omitzero"`                 // uses the operation allows of the key
	Operation          law.OperationID               `json:"operation,omitzero"`          // the operation concerned
	Order              law.OrderID                   `json:"order,omitzero"`              // the sign order concerned
	Previous           string                        `json:"previous"`                    // lower-case hex leaf hash of the entry before; empty in entry 0
	Reason             string                        `json:"reason,omitzero"`             // in a person's or the law's words
	Refusal            law.RefusalKind               `json:"refusal,omitzero"`            // why, for programs
	Request            string                        `json:"request,omitzero"`            // id of the request
	RevocationList     *RevocationList               `json:"revocationlist,omitzero"`     // the revocation list concerned
	Route              string                        `json:"route,omitzero"`              // method and pattern of the request
	Scheme             law.Scheme                    `json:"scheme,omitzero"`             // of the signature
	Server             string                        `json:"server,omitzero"`             // server id
	Session            string                        `json:"session,omitzero"`            // id of the administration session
	SessionDescription string                        `json:"sessiondescription,omitzero"` // of the administration session
	Signature          string                        `json:"signature,omitzero"`          // lower-case hex SHA-256 of the signature
	SignIn             *SignIn                       `json:"signin,omitzero"`             // the sign-in with a browser concerned
	Software           string                        `json:"software,omitzero"`           // version of the server's program
	Statement          jsontext.Value                `json:"statement,omitzero"`          // canonical form of the operation or administration session
	Time               int64                         `json:"time"`                        // ms since 1970, UTC
	Type               Type                          `json:"type"`                        // what happened
	Use                int                           `json:"use,omitzero"`                // which use of the key this is, from 1
	Version            int                           `json:"v"`                           // of the leaf format
}

// Actor is who did something, as authenticated.
type Actor struct {
	Address string        `json:"address,omitzero"` // client address
	Issuer  string        `json:"issuer,omitzero"`  // the token's iss
	Sub     string        `json:"sub,omitzero"`     // the token's sub
	Subject law.SubjectID `json:"subject,omitzero"` // empty when no subject matched
}

// Configuration is one part of the configuration as it is after a change. Secrets are no part of it.
type Configuration struct {
	ID    string            `json:"id"`
	Kind  ConfigurationKind `json:"kind"`
	Value jsontext.Value    `json:"value"`
}

// ConfigurationKind says what a [Configuration] is of.
type ConfigurationKind string

const (
	ConfiguredAdministration ConfigurationKind = "administration"
	ConfiguredIssuer         ConfigurationKind = "issuer"
	ConfiguredSubject        ConfigurationKind = "subject"
	ConfiguredRole           ConfigurationKind = "role"
	ConfiguredKey            ConfigurationKind = "key"
)

// ClockStep is how the clock moved, in milliseconds since 1970, UTC.
type ClockStep struct {
	New int64 `json:"new"`
	Old int64 `json:"old"`
}

// Type is what kind of thing happened.
type Type string

const (
	OperationCreated        Type = "operation-created"
	OperationRefused        Type = "operation-refused" // its creation
	OperationApproved       Type = "operation-approved"
	OperationWithdrawn      Type = "operation-withdrawn" // one approval of it
	OperationRejected       Type = "operation-rejected"
	OperationBecameApproved Type = "operation-became-approved" // every requirement is met
	OperationLapsed         Type = "operation-lapsed"          // back to pending
	OperationExpired        Type = "operation-expired"
	OperationRevoked        Type = "operation-revoked"
	OperationExhausted      Type = "operation-exhausted"
	OrderAccepted           Type = "order-accepted"  // is also its first attempt
	OrderAttempted          Type = "order-attempted" // a further attempt
	OrderSigned             Type = "order-signed"
	OrderFailed             Type = "order-failed"   // one attempt at it
	OrderWithheld           Type = "order-withheld" // signed, but the operation was revoked meanwhile
	OrderRefused            Type = "order-refused"
	RequestRefused          Type = "request-refused" // anything else that was forbidden, or hidden
	SignInRefused           Type = "sign-in-refused" // counted per address and minute
	SignedIn                Type = "signed-in"       // with a browser
	SignedOut               Type = "signed-out"
	ContactChanged          Type = "contact-changed" // somebody chose what to be told, and by what
	ClockStepped            Type = "clock-stepped"   // found to be wrong
	ClockAccepted           Type = "clock-accepted"  // by an operator; the one event whose time may be before the last
	ServerStarted           Type = "server-started"
	ConfigurationChanged    Type = "configuration-changed"
	IntegrityViolation      Type = "integrity-violation" // what is stored contradicts itself or the log

	SessionOpened       Type = "session-opened"
	SessionAuthorised   Type = "session-authorised"
	SessionWithdrawn    Type = "session-withdrawn" // one authorisation of it
	SessionBecameActive Type = "session-became-active"
	SessionLapsed       Type = "session-lapsed"       // back to inactive
	SessionPlanApplied  Type = "session-plan-applied" // stands right before the changes of the plan
	SessionClosed       Type = "session-closed"
	SessionExpired      Type = "session-expired"
	SessionRefused      Type = "session-refused" // something that was asked of it, or in it

	// Of a certificate under an operation the events of its sign order tell.
	CertificateAccepted        Type = "certificate-accepted" // in a session; the attempt to sign it begins
	CertificateIssued          Type = "certificate-issued"
	CertificateFailed          Type = "certificate-failed"
	CertificateImported        Type = "certificate-imported" // issued elsewhere
	CertificateRevoked         Type = "certificate-revoked"
	CertificateRequestAccepted Type = "certificate-request-accepted" // in a session; the attempt to sign it begins
	CertificateRequestSigned   Type = "certificate-request-signed"
	CertificateRequestFailed   Type = "certificate-request-failed"
	RevocationListAccepted     Type = "revocation-list-accepted" // the attempt to sign it begins
	RevocationListIssued       Type = "revocation-list-issued"
	RevocationListFailed       Type = "revocation-list-failed"
	StatusesPermitted          Type = "statuses-permitted" // a responder key is to sign up to so many certificate statuses
)

// Types returns every type there is.
func Types() []Type {
	return []Type{
		OperationCreated, OperationRefused, OperationApproved, OperationWithdrawn, OperationRejected, OperationBecameApproved,
		OperationLapsed, OperationExpired, OperationRevoked, OperationExhausted,
		OrderAccepted, OrderAttempted, OrderSigned, OrderFailed, OrderWithheld, OrderRefused,
		RequestRefused, SignInRefused, SignedIn, SignedOut, ContactChanged, ClockStepped, ClockAccepted, ServerStarted, ConfigurationChanged, IntegrityViolation,
		SessionOpened, SessionAuthorised, SessionWithdrawn, SessionBecameActive, SessionLapsed, SessionPlanApplied, SessionClosed,
		SessionExpired, SessionRefused,
		CertificateAccepted, CertificateIssued, CertificateFailed, CertificateImported, CertificateRevoked, CertificateRequestAccepted,
		CertificateRequestSigned, CertificateRequestFailed, RevocationListAccepted, RevocationListIssued, RevocationListFailed,
		StatusesPermitted,
	}
}

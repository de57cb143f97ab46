package verify

import (
	"math/bits"
	"strings"

	"example.org/keyserver/internal/audit"
)

// fields is a set of an event's fields. Index, previous, time, type and version stand in every event.
type fields uint64

const (
	fActor fields = 1 << iota
	fAttempt
	fBatch
	fBehind
	fCertificate
	fClock
	fConfiguration
	fContact
	fCount
	fCovers
	fDigest
	fEligible
	fFingerprint
	fHash
	fIdempotencyKey
	fInput
	fKey
	fLease
	fOf
	fOperation
	fOrder
	fReason
	fRefusal
	fRequest
	fRevocationList
	fRoute
	fScheme
	fServer
	fSession
	fSessionDescription
	fSignature
	fSignIn
	fSoftware
	fStatement
	fUse
)

const (
	onOperation   = fBatch | fOperation | fDigest
	onOrder       = onOperation | fOrder | fAttempt | fKey | fFingerprint | fUse | fOf | fHash | fScheme | fInput
	onSession     = fBatch | fSession | fSessionDescription | fDigest
	onCertificate = fBatch | fKey | fCertificate
	onRequest     = fBatch | fKey | fFingerprint | fHash | fScheme | fInput | fSession | fSessionDescription
	onList        = fBatch | fKey | fFingerprint | fRevocationList
	refused       = fBatch | fActor | fRefusal | fReason
)

// shapeOf says which fields an event of a type must have and which others it may have.
func shapeOf(t audit.Type) (must, may fields, known bool) {
	switch t {
	case audit.OperationCreated:
		return onOperation | fActor | fStatement | fEligible, fBehind | fRequest, true
	case audit.OperationApproved:
		return onOperation | fActor | fCovers, fRequest, true
	case audit.OperationWithdrawn:
		return onOperation | fActor, fRequest, true
	case audit.OperationRejected:
		return onOperation | fActor | fReason, fRequest, true
	case audit.OperationRevoked:
		return onOperation | fReason, fActor | fRequest, true
	case audit.OperationBecameApproved, audit.OperationLapsed, audit.OperationExpired, audit.OperationExhausted:
		return onOperation | fReason, fRequest, true
	case audit.OrderAccepted, audit.OrderAttempted:
		return onOrder | fActor | fIdempotencyKey | fLease, fCertificate | fRequest, true
	case audit.OrderSigned:
		return onOrder | fSignature, fCertificate | fRequest, true
	case audit.OrderFailed, audit.OrderWithheld:
		return onOrder | fReason, fCertificate | fRequest, true
	case audit.OperationRefused:
		return refused, fRequest | fRoute, true
	case audit.OrderRefused:
		return refused | onOperation, fKey | fOrder | fIdempotencyKey | fRequest | fRoute, true
	case audit.RequestRefused:
		return refused, fOperation | fDigest | fKey | fOrder | fSession | fSessionDescription | fRequest | fRoute, true
	case audit.SignInRefused:
		return fBatch | fActor | fCount, fReason, true
	case audit.SignedIn, audit.SignedOut:
		return fBatch | fActor | fSignIn, fRequest | fRoute, true
	case audit.ContactChanged:
		return fBatch | fActor | fContact, fRequest | fRoute, true
	case audit.ClockStepped:
		return fBatch | fClock, 0, true
	case audit.ClockAccepted:
		return fBatch | fClock, fCount, true
	case audit.ServerStarted:
		return fBatch | fServer, fSoftware, true
	case audit.ConfigurationChanged:
		return fBatch | fConfiguration | fReason, fActor | fSession | fSessionDescription | fRequest, true
	case audit.SessionOpened:
		return onSession | fActor | fStatement, fRequest, true
	case audit.SessionAuthorised, audit.SessionWithdrawn, audit.SessionPlanApplied:
		return onSession | fActor, fRequest, true
	case audit.SessionClosed:
		return onSession | fActor | fReason, fRequest, true
	case audit.SessionBecameActive, audit.SessionLapsed, audit.SessionExpired:
		return onSession | fReason, fRequest, true
	case audit.SessionRefused:
		return refused, fSession | fSessionDescription | fDigest | fRequest | fRoute, true
	case audit.CertificateAccepted:
		return onCertificate | fActor | fLease | fHash | fScheme | fInput | fSession | fSessionDescription, fRequest, true
	case audit.CertificateIssued:
		return onCertificate | fSession | fSessionDescription, fRequest, true
	case audit.CertificateFailed:
		return onCertificate | fReason | fSession | fSessionDescription, fRequest, true
	case audit.CertificateImported:
		return onCertificate | fActor | fSession | fSessionDescription, fRequest, true
	case audit.CertificateRevoked:
		return onCertificate | fActor | fReason, fOperation | fRequest, true
	case audit.CertificateRequestAccepted:
		return onRequest | fActor, fRequest, true
	case audit.CertificateRequestSigned:
		return onRequest | fSignature, fRequest, true
	case audit.CertificateRequestFailed:
		return onRequest | fReason, fRequest, true
	case audit.RevocationListAccepted:
		return onList | fLease | fHash | fScheme | fInput, fActor | fSession | fSessionDescription | fRequest, true
	case audit.RevocationListIssued:
		return onList, fSession | fSessionDescription | fRequest, true
	case audit.RevocationListFailed:
		return onList | fReason, fSession | fSessionDescription | fRequest, true
	case audit.StatusesPermitted:
		return onCertificate | fFingerprint | fCount | fLease, fRequest, true
	case audit.IntegrityViolation:
		return fBatch | fReason, fActor | fOperation | fOrder | fKey | fRequest | fRoute, true
	}
	return 0, 0, false
}

func checkShape(e *audit.Event) error {
	must, may, known := shapeOf(e.Type)
	if !known {
		return breaks("the events there are", "an event of type %q is unknown", e.Type)
	}
	has := fieldsOf(e)
	if missing := must &^ has; missing != 0 {
		return breaks("what an event tells", "%s is without %s", e.Type, missing)
	}
	if extra := has &^ (must | may); extra != 0 {
		return breaks("what an event tells", "%s has %s, which it never has", e.Type, extra)
	}
	return nil
}

func fieldsOf(e *audit.Event) fields {
	var has fields
	for i, set := range [...]bool{
		e.Actor != nil, e.Attempt != 0, e.Batch != "", e.Behind != "", e.Certificate != nil, e.Clock != nil, e.Configuration != nil, e.Contact != nil, e.Count != 0,
		e.Covers != nil, e.Digest != "", e.Eligible != nil, e.Fingerprint != "", e.Hash != "", e.IdempotencyKey != "", e.Input != "",
		e.Key != "", e.Lease != 0, e.Of != 0, e.Operation != "", e.Order != "", e.Reason != "", e.Refusal != "", e.Request != "", e.RevocationList != nil,
		e.Route != "", e.Scheme != "", e.Server != "", e.Session != "", e.SessionDescription != "", e.Signature != "",
		e.SignIn != nil, e.Software != "", e.Statement != nil, e.Use != 0,
	} {
		if set {
			has |= 1 << i
		}
	}
	return has
}

// String names the fields.
func (f fields) String() string {
	names := [...]string{
		"actor", "attempt", "batch", "behind", "certificate", "clock", "configuration", "contact", "count", "covers", "digest", "eligible", "fingerprint", "hash",
		"idempotencykey", "input", "key", "lease", "of", "operation", "order", "reason", "refusal", "request", "revocationlist", "route", "scheme", "server",
		"session", "sessiondescription", "signature", "signin", "software", "statement", "use",
	}
	var in []string
	for ; f != 0; f &= f - 1 {
		in = append(in, names[bits.TrailingZeros64(uint64(f))])
	}
	return strings.Join(in, ", ")
}

// Package api is the wire form of the keyserver's HTTP API: its specification, paths, types and problems.
// openapi.yaml says what each of them means; a test of the server holds the two together.
//
// The package depends on the standard library only, so that clients can use it freely.
package api

import _ "embed"

// MediaTypes of the answers.
const (
	MediaJSON    = "application/json"
	MediaProblem = "application/problem+json"
	MediaPEM     = "application/x-pem-file"
	MediaText    = "text/plain; charset=utf-8"
	MediaYAML    = "application/yaml"
	MediaCSV     = "text/csv; charset=utf-8" // RFC 4180
	MediaJOSE    = "application/jose+json"   // RFC 7515

	MediaRevocationList = "application/pkix-crl"      // RFC 2585
	MediaStatusRequest  = "application/ocsp-request"  // RFC 6960
	MediaStatus         = "application/ocsp-response" // RFC 6960
)

// Headers of our own, and one that the standard library does not name.
const (
	HeaderRequestID      = "Request-Id"      // of the answer: names the request in logs and in the audit log
	HeaderIdempotencyKey = "Idempotency-Key" // of requests that make something
)

// Limits of a request.
const (
	MaxBody           = 64 << 10 // bytes
	MaxPolicyBody     = 16 << 20 // bytes, where administrators and auditors send a policy or a fragment of one
	MaxStatusRequest  = 2048     // bytes of a request for the status of a certificate
	MaxIdempotencyKey = 128      // visible ASCII characters
	MaxWait           = 60_000   // milliseconds
	MaxPage           = 200      // entries
	DefaultPage       = 50
	DefaultWait       = 30_000
	MaxItems          = 2000 // items of a difference in one answer
)

// Paths, with the names of their parameters in braces.
const (
	PathOpenAPI          = "/api/openapi.yaml"
	PathHealth           = "/api/health"
	PathReady            = "/api/ready"
	PathVersion          = "/api/version"
	PathWhoAmI           = "/api/whoami"
	PathContact          = "/api/notifications"
	PathKeys             = "/api/keys"
	PathKey              = "/api/keys/{keyid}"
	PathPublicKey        = "/api/keys/{keyid}/publickey"
	PathCertificate      = "/api/keys/{keyid}/certificate"
	PathDisableKey       = "/api/keys/{keyid}/disablement"
	PathWhoCan           = "/api/keys/{keyid}/whocan"
	PathOperations       = "/api/operations"
	PathOperation        = "/api/operations/{operation}"
	PathWait             = "/api/operations/{operation}/wait"
	PathApproval         = "/api/operations/{operation}/approval"
	PathRejection        = "/api/operations/{operation}/rejection"
	PathRevocation       = "/api/operations/{operation}/revocation"
	PathSignOrders       = "/api/operations/{operation}/signorders"
	PathSignOrder        = "/api/signorders/{signorder}"
	PathSessions         = "/api/administrationsessions"
	PathSession          = "/api/administrationsessions/{session}"
	PathDifference       = "/api/administrationsessions/{session}/difference"
	PathAuthorisation    = "/api/administrationsessions/{session}/authorisation"
	PathClosure          = "/api/administrationsessions/{session}/closure"
	PathApplication      = "/api/administrationsessions/{session}/application"
	PathChanges          = "/api/administrationsessions/{session}/changes"
	PathPolicy           = "/api/policy"
	PathPolicyDifference = "/api/policy/difference"
	PathSubjects         = "/api/subjects"
	PathDisableSubject   = "/api/subjects/{subject}/disablement"
	PathRoles            = "/api/roles"
	PathEvents           = "/api/audit/events"
	PathCheckpoint       = "/api/audit/checkpoint"
	PathInclusionProof   = "/api/audit/inclusionproof"
	PathConsistencyProof = "/api/audit/consistencyproof"
	PathExport           = "/api/audit/export"
)

//go:embed openapi.yaml
var openAPI string

// OpenAPI returns the specification, openapi.yaml.
func OpenAPI() string { return openAPI }

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
)

// Headers of our own, and one that the standard library does not name.
const (
	HeaderRequestID      = "Request-Id"      // of the answer: names the request in logs and in the audit log
	HeaderIdempotencyKey = "Idempotency-Key" // of requests that make something
)

// Limits of a request.
const (
	MaxBody           = 64 << 10 // bytes
	MaxIdempotencyKey = 128      // visible ASCII characters
	MaxWait           = 60_000   // milliseconds
	MaxPage           = 200      // entries
	DefaultPage       = 50
	DefaultWait       = 30_000
)

// Paths, with the names of their parameters in braces.
const (
	PathOpenAPI          = "/api/openapi.yaml"
	PathHealth           = "/api/health"
	PathReady            = "/api/ready"
	PathVersion          = "/api/version"
	PathWhoAmI           = "/api/whoami"
	PathKeys             = "/api/keys"
	PathKey              = "/api/keys/{keyid}"
	PathPublicKey        = "/api/keys/{keyid}/publickey"
	PathCertificate      = "/api/keys/{keyid}/certificate"
	PathOperations       = "/api/operations"
	PathOperation        = "/api/operations/{operation}"
	PathWait             = "/api/operations/{operation}/wait"
	PathApproval         = "/api/operations/{operation}/approval"
	PathRejection        = "/api/operations/{operation}/rejection"
	PathRevocation       = "/api/operations/{operation}/revocation"
	PathSignOrders       = "/api/operations/{operation}/signorders"
	PathSignOrder        = "/api/signorders/{signorder}"
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

package httpapi

import (
	"cmp"
	"maps"
	"net/http"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/limits"
)

// access says what a route asks of the caller before the verb judges.
type access int

const (
	ordinary access = iota // a token
	brake                  // a token; ends or takes back something, and is measured apart
	open                   // nothing
	often                  // nothing; asked by devices without number, perhaps all through one proxy
)

// free says that no token is asked for.
func (a access) free() bool { return a == open || a == often }

// route is one method of one path, and who serves it.
type route struct {
	method, path string
	access       access
	serve        func(*server, *call) (answer, error)
	rechecks     bool          // the verb makes sure in its own transaction by which facts the caller was authenticated
	crowd        *limits.Crowd // nil: as many at the same time as the rate lets through
	policy       bool          // the body has a policy, which can be large
	batch        bool          // the body has many certificate requests
	media        string        // of the body; empty: JSON

	operation  *openapi3.Operation
	parameters openapi3.Parameters // of the path and of the operation
	query      []string            // names of those in the query
	body       *openapi3.Schema    // nil: no body is allowed
	allow      string              // the methods that the path has, where this is none of them
}

func (s *server) routes() []route {
	return []route{
		{method: "GET", path: api.PathOpenAPI, access: open, serve: getOpenAPI},
		{method: "GET", path: api.PathHealth, access: open, serve: getHealth},
		{method: "GET", path: api.PathReady, access: open, serve: getReady},
		{method: "GET", path: api.PathVersion, access: open, serve: getVersion},
		{method: "GET", path: api.PathWhoAmI, serve: getWhoAmI},
		{method: "GET", path: api.PathContact, serve: getContact},
		{method: "PUT", path: api.PathContact, serve: setContact},
		{method: "GET", path: api.PathKeys, serve: listKeys},
		{method: "GET", path: api.PathKey, serve: getKey},
		{method: "GET", path: api.PathPublicKey, serve: getPublicKey},
		{method: "GET", path: api.PathCertificate, serve: getCertificate},
		{method: "POST", path: api.PathDisableKey, access: brake, serve: disableKey},
		{method: "GET", path: api.PathWhoCan, serve: whoCan, crowd: s.policies},
		{method: "POST", path: api.PathWhoCan, serve: whoCould, crowd: s.policies, policy: true},
		{method: "GET", path: api.PathOperations, serve: listOperations, crowd: s.lists},
		{method: "POST", path: api.PathOperations, serve: createOperation},
		{method: "GET", path: api.PathOperation, serve: getOperation},
		{method: "GET", path: api.PathWait, serve: waitOperation, crowd: s.waits},
		{method: "POST", path: api.PathApproval, serve: approveOperation},
		{method: "DELETE", path: api.PathApproval, access: brake, serve: withdrawApproval},
		{method: "POST", path: api.PathRejection, access: brake, serve: rejectOperation},
		{method: "POST", path: api.PathRevocation, access: brake, serve: revokeOperation},
		{method: "GET", path: api.PathSignOrders, serve: listSignOrders, crowd: s.lists},
		{method: "POST", path: api.PathSignOrders, serve: placeSignOrder, rechecks: true},
		{method: "GET", path: api.PathSignOrder, serve: getSignOrder},
		{method: "POST", path: api.PathOperationCertificates, serve: orderCertificate, rechecks: true},
		{method: "POST", path: api.PathDeviceCertificates, serve: issueDeviceCertificate, rechecks: true},
		{method: "POST", path: api.PathDeviceBatch, serve: issueDeviceCertificates, rechecks: true, crowd: s.batches, batch: true},
		{method: "GET", path: api.PathDeviceCertificates, serve: listDeviceCertificates, crowd: s.lists},
		{method: "GET", path: api.PathDeviceCertificate, serve: getDeviceCertificate},
		{method: "POST", path: api.PathRevokeDeviceCertificate, access: brake, serve: revokeDeviceCertificate},
		{method: "POST", path: api.PathRevokeDeviceCertificates, access: brake, serve: revokeDeviceCertificates},
		{method: "GET", path: api.PathLots, serve: getLots, crowd: s.lists},
		{method: "GET", path: api.PathLotReport, serve: getLotReport, crowd: s.exports},
		{method: "GET", path: api.PathLotCertificates, serve: writeLot, crowd: s.exports},
		{method: "GET", path: api.PathCertificates, serve: listCertificates, crowd: s.lists},
		{method: "GET", path: api.PathCertificateByID, serve: getCertificateByID},
		{method: "POST", path: api.PathRevokeCertificate, access: brake, serve: revokeCertificate},
		{method: "POST", path: api.PathSessionCertificates, serve: issueCertificate, crowd: s.changes},
		{method: "POST", path: api.PathCertificateRequests, serve: requestCertificate, crowd: s.changes},
		{method: "POST", path: api.PathImportedCertificates, serve: importCertificate, crowd: s.changes},
		{method: "POST", path: api.PathRevocationLists, serve: makeRevocationList, crowd: s.changes},
		{method: "GET", path: api.PathRevocationList, access: open, serve: getRevocationList},
		{method: "GET", path: api.PathStatus, access: often, serve: getStatus},
		{method: "POST", path: api.PathStatuses, access: often, serve: askStatus, media: api.MediaStatusRequest},
		{method: "GET", path: api.PathSessions, serve: listSessions, crowd: s.lists},
		{method: "POST", path: api.PathSessions, serve: openSession, crowd: s.policies, policy: true},
		{method: "GET", path: api.PathSession, serve: getSession, crowd: s.lists},
		{method: "GET", path: api.PathDifference, serve: getDifference, crowd: s.lists},
		{method: "POST", path: api.PathAuthorisation, serve: authoriseSession},
		{method: "DELETE", path: api.PathAuthorisation, access: brake, serve: withdrawAuthorisation},
		{method: "POST", path: api.PathClosure, access: brake, serve: closeSession},
		{method: "POST", path: api.PathApplication, serve: applyPlan, crowd: s.changes},
		{method: "POST", path: api.PathChanges, serve: changeConfiguration, crowd: s.changes, policy: true},
		{method: "GET", path: api.PathPolicy, serve: getPolicy, crowd: s.lists},
		{method: "POST", path: api.PathPolicyDifference, serve: comparePolicy, crowd: s.policies, policy: true},
		{method: "GET", path: api.PathSubjects, serve: listSubjects, crowd: s.lists},
		{method: "POST", path: api.PathDisableSubject, access: brake, serve: disableSubject},
		{method: "GET", path: api.PathRoles, serve: listRoles, crowd: s.lists},
		{method: "GET", path: api.PathEvents, serve: listEvents, crowd: s.lists},
		{method: "GET", path: api.PathCheckpoint, serve: getCheckpoint},
		{method: "GET", path: api.PathInclusionProof, serve: getInclusionProof},
		{method: "GET", path: api.PathConsistencyProof, serve: getConsistencyProof},
		{method: "GET", path: api.PathExport, serve: exportAudit, crowd: s.exports},
	}
}

// String is the pattern of the route, by which logs, metrics and the audit log name it.
func (r *route) String() string {
	if r.method == "" {
		return r.path
	}
	return r.method + " " + r.path
}

func (r *route) bind(item *openapi3.PathItem, op *openapi3.Operation) {
	r.operation = op
	r.parameters = slices.Concat(item.Parameters, op.Parameters)
	r.query = r.known(openapi3.ParameterInQuery)
	if op.RequestBody != nil {
		r.body = op.RequestBody.Value.Content[cmp.Or(r.media, api.MediaJSON)].Schema.Value
	}
}

// public says whether the specification asks for no token.
func (r *route) public() bool {
	return r.operation.Security != nil && len(*r.operation.Security) == 0
}

func serveUnknown(*server, *call) (answer, error) {
	return answer{}, refuse(api.NotFound, "there is nothing under this path; %s lists what there is", api.PathOpenAPI)
}

func refuseMethod(_ *server, c *call) (answer, error) {
	c.out.Header().Set("Allow", c.route.allow)
	return answer{}, refuse(api.MethodNotAllowed, "this path has no method %.20q; use %s", c.Method, c.route.allow)
}

// known returns the names of the parameters of the route that are in this place.
func (r *route) known(in string) []string {
	names := map[string]struct{}{}
	for _, p := range r.parameters {
		if p.Value.In == in {
			names[p.Value.Name] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// maxBody is how many bytes a body can have at most.
func (r *route) maxBody() int64 {
	switch {
	case r.policy:
		return api.MaxPolicyBody
	case r.media == api.MediaStatusRequest:
		return api.MaxStatusRequest
	case r.batch:
		return api.MaxBatchBody
	}
	return api.MaxBody
}

// hasBody says whether a request comes with a body.
func hasBody(r *http.Request) bool { return r.ContentLength != 0 }

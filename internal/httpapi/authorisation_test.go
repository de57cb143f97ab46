package httpapi_test

import (
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
	"example.org/keyserver/internal/testkit"
)

// callers are one of each kind of caller of the matrix, in the order of its columns: no token, the orderer
// of the operation, an approver who has approved it, one who has not, an administrator, an auditor, and
// somebody who signs in and has no role. The administrator has opened the administration session that is withdrawn
// from, closed, changed in or applied, and not the one that is authorised.
var callers = []law.SubjectID{"", "olga", "alice", "dave", "ada", "audrey", "eve"}

// matrix is the documented status of every route for each of the callers. The operation is one of olga's on
// fw-one, which needs one approval, and fw-dev, which needs none; where a sign order is placed it is
// approved by alice, elsewhere it also asks for fw-prod and is pending.
var matrix = map[string][]int{
	"getOpenapi":               {200, 200, 200, 200, 200, 200, 200},
	"getHealth":                {200, 200, 200, 200, 200, 200, 200},
	"getReady":                 {200, 200, 200, 200, 200, 200, 200},
	"getVersion":               {200, 200, 200, 200, 200, 200, 200},
	"getWhoami":                {401, 200, 200, 200, 200, 200, 200},
	"getContact":               {401, 200, 200, 200, 200, 200, 200},
	"setContact":               {401, 200, 200, 200, 200, 200, 200},
	"listKeys":                 {401, 200, 200, 200, 200, 200, 200},
	"getKey":                   {401, 200, 200, 200, 200, 200, 404},
	"getPublickey":             {401, 200, 200, 200, 200, 200, 404},
	"getCertificate":           {401, 200, 200, 200, 200, 200, 404},
	"listOperations":           {401, 200, 200, 200, 200, 200, 200},
	"createOperation":          {401, 201, 403, 403, 403, 403, 403},
	"getOperation":             {401, 200, 200, 200, 200, 200, 404},
	"waitOperation":            {401, 200, 200, 200, 200, 200, 404},
	"approveOperation":         {401, 403, 409, 200, 403, 403, 404},
	"withdrawApproval":         {401, 409, 200, 409, 409, 409, 404},
	"rejectOperation":          {401, 403, 200, 200, 403, 403, 404},
	"revokeOperation":          {401, 200, 200, 200, 200, 403, 404},
	"listSignorders":           {401, 200, 200, 200, 200, 200, 404},
	"placeSignorder":           {401, 201, 403, 403, 403, 403, 404},
	"getSignorder":             {401, 200, 200, 200, 200, 200, 404},
	"orderCertificate":         {401, 201, 403, 403, 403, 403, 404},
	"listCertificates":         {401, 200, 200, 200, 200, 200, 200},
	"getCertificateById":       {401, 200, 200, 200, 200, 200, 404},
	"revokeCertificate":        {401, 403, 403, 403, 200, 403, 404},
	"issueDevicecertificate":   {401, 201, 403, 403, 403, 403, 404},
	"issueDevicecertificates":  {401, 200, 403, 403, 403, 403, 404},
	"listDevicecertificates":   {401, 200, 200, 200, 200, 200, 404},
	"getDevicecertificate":     {401, 200, 200, 404, 200, 200, 404},
	"revokeDevicecertificate":  {401, 403, 403, 404, 200, 403, 404},
	"revokeDevicecertificates": {401, 403, 403, 403, 200, 403, 404},
	"getLots":                  {401, 200, 200, 200, 200, 200, 404},
	"getLotReport":             {401, 200, 200, 200, 200, 200, 404},
	"listLotCertificates":      {401, 200, 200, 200, 200, 200, 404},
	"issueCertificate":         {401, 404, 404, 404, 201, 403, 404},
	"requestCertificate":       {401, 404, 404, 404, 200, 403, 404},
	"importCertificate":        {401, 404, 404, 404, 422, 403, 404}, // which cannot be read
	"makeRevocationlist":       {401, 404, 404, 404, 201, 403, 404},
	"getRevocationlist":        {200, 200, 200, 200, 200, 200, 200},
	"askStatus":                {200, 200, 200, 200, 200, 200, 200},
	"getStatus":                {200, 200, 200, 200, 200, 200, 200},
	"disableKey":               {401, 403, 403, 403, 200, 403, 403},
	"disableSubject":           {401, 403, 403, 403, 200, 403, 403},
	"whoCan":                   {401, 403, 403, 403, 200, 200, 403},
	"whoCouldByPolicy":         {401, 403, 403, 403, 200, 200, 403},
	"getPolicy":                {401, 403, 403, 403, 200, 200, 403},
	"comparePolicy":            {401, 403, 403, 403, 200, 200, 403},
	"listSubjects":             {401, 403, 403, 403, 200, 200, 403},
	"listRoles":                {401, 403, 403, 403, 200, 200, 403},

	"listAdministrationsessions":         {401, 200, 200, 200, 200, 200, 200},
	"openAdministrationsession":          {401, 403, 403, 403, 201, 403, 403},
	"getAdministrationsession":           {401, 404, 404, 404, 200, 200, 404},
	"getAdministrationsessionDifference": {401, 404, 404, 404, 200, 200, 404},
	"authoriseAdministrationsession":     {401, 404, 404, 404, 200, 403, 404},
	"withdrawAuthorisation":              {401, 404, 404, 404, 200, 409, 404},
	"closeAdministrationsession":         {401, 404, 404, 404, 200, 403, 404},
	"applyPlan":                          {401, 404, 404, 404, 200, 403, 404},
	"changeConfiguration":                {401, 404, 404, 404, 200, 403, 404},

	"listEvents":          {401, 403, 403, 403, 200, 200, 403},
	"listEvents of one":   {401, 200, 200, 200, 200, 200, 404},
	"getCheckpoint":       {401, 200, 200, 200, 200, 200, 200},
	"getInclusionproof":   {401, 200, 200, 200, 200, 200, 200},
	"getConsistencyproof": {401, 200, 200, 200, 200, 200, 200},
	"exportAudit":         {401, 403, 403, 403, 200, 200, 403},
}

// queries and bodies are what the routes need besides their path.
var queries = map[string]string{
	"waitOperation": "?revision=0", "getInclusionproof": "?index=0&size=1", "getConsistencyproof": "?from=1&to=2",
	"listEvents of one": "?operation={operation}", "listDevicecertificates": "?operation={operation}",
}

var bodies = map[string]string{
	"createOperation": `{"new-keyusagerestrictions":[{"keyid":"fw-one","maxusagecount":1},{"keyid":"fw-dev","maxusagecount":1}],` +
		`"description":"release","context":"tag","validms":3600000}`,
	"setContact":       `{"tells":[]}`,
	"approveOperation": `{"digest":"{digest}"}`,
	"rejectOperation":  `{"reason":"no"}`, "revokeOperation": `{"reason":"no"}`,
	"disableKey": `{"reason":"lost"}`, "disableSubject": `{"reason":"left"}`, "whoCouldByPolicy": `{"policy":{policy}}`, "comparePolicy": `{"policy":{policy}}`,
	"openAdministrationsession": `{"description":"new people"}`, "authoriseAdministrationsession": `{"digest":"{sessiondigest}"}`,
	"changeConfiguration": `{"reason":"new people","fragment":"roles: [{id: more-auditors, kind: auditor, members: [audrey]}]"}`,
	"orderCertificate":    `{"keyid":"ca-dev","for":"fw-dev"}`, "revokeCertificate": `{"code":"superseded","reason":"old"}`,
	"issueCertificate": `{"keyid":"fw-dev","issuer":"root"}`, "requestCertificate": `{"keyid":"root"}`, "makeRevocationlist": `{"keyid":"root"}`,
	"importCertificate":        `{"keyid":"root","chain":"nonsense"}`,
	"issueDevicecertificate":   `{"operation":"{operation}","keyid":"ca-dev","csr":"{csr}"}`,
	"issueDevicecertificates":  `{"operation":"{operation}","keyid":"ca-dev","requests":[{"idempotencykey":"1","csr":"{csr}"}]}`,
	"revokeDevicecertificate":  `{"code":"superseded","reason":"old"}`,
	"revokeDevicecertificates": `{"code":"superseded","reason":"old"}`,
	"askStatus":                "0\x00",
	"placeSignorder":           `{"keyid":"fw-dev","hash":"SHA-256","digest":"` + strings.Repeat("ab", 32) + `"}`,
}

// AZ-01
func TestAZ01_EveryRouteAnswersEveryRoleAsDocumented(t *testing.T) {
	k := testkit.NewWith(t, testkit.Options{
		Limits: keyserver.Limits{PendingOperations: 1000}, World: testkit.Factory(law.DuplicatesReplaced),
	})
	k.Certify("root")
	k.Certify("ca-dev")
	older := k.Certify("fw-one")
	k.Certify("fw-one")
	k.Beat() // makes the revocation list
	signed := k.Approve(k.Create(testkit.Ask("fw-one", "fw-dev")), "alice")
	csr := base64.StdEncoding.EncodeToString(k.DeviceRequest("SN-2", k.NewDeviceKey()))
	device, err := k.IssueDevice(k.Lot(1), "1", k.DeviceRequest("SN-1", k.NewDeviceKey()))
	if err != nil {
		t.Fatal(err)
	}
	order := k.MustSign(signed, testkit.OrderAsk("fw-dev", "1", "image"))

	left := maps.Clone(matrix)
	eachOperation(t, func(method, path, id string) {
		for _, name := range []string{id, id + " of one"} {
			want, known := matrix[name]
			if !known && name == id {
				t.Errorf("%s %s (%s) is not in the matrix", method, path, id)
			}
			delete(left, name)
			for i, status := range want {
				keys := []law.KeyID{"fw-one", "fw-dev", "fw-prod"}
				switch id {
				case "placeSignorder":
					keys = keys[:2]
				case "orderCertificate", "issueDevicecertificate", "issueDevicecertificates", "revokeDevicecertificates", "getLotReport", "listLotCertificates":
					keys = []law.KeyID{"fw-one", "ca-dev"}
				}
				o := k.Approve(k.Create(testkit.Ask(keys...)), "alice")
				switch id {
				case "revokeDevicecertificates", "getLotReport", "listLotCertificates":
					endedLot(k, o)
				}
				session := sessionFor(k, id, path, fmt.Sprintf("The oscar of %s %d", id, i))
				key := "fw-one"
				if id == "disableKey" {
					key = "fw-other"
				}
				certificate := older.ID
				if strings.HasPrefix(path, api.PathDeviceCertificates) {
					certificate = device.ID
				}
				fill := strings.NewReplacer("{csr}", csr, "{keyid}", key, "{operation}", string(o.ID), "{signorder}", string(order.ID), "{certificate}", string(certificate), "{list}", "ca-dev.crl", "{request}", "MAMCAQE=", "{digest}", string(o.Digest),
					"{session}", string(session.ID), "{sessiondigest}", string(session.Digest), "{subject}", "oscar", "{policy}", policyText(k, func(*law.Configuration) {}))
				answersAsDocumented(k, attempt{
					who: callers[i], method: method, pattern: path, path: fill.Replace(path + queries[name]), body: fill.Replace(bodies[id]), status: status,
				})
				if session.ID != "" && !k.LookAt(session.ID).State.Final() {
					k.Close(session)
				}
			}
		}
	})
	if len(left) > 0 {
		t.Errorf("the matrix has routes that there are not: %v", slices.Collect(maps.Keys(left)))
	}
}

// endedLot has the certificate of a new device issued under an operation, and ends it.
func endedLot(k *testkit.Kit, o keyserver.Operation) {
	k.Helper()
	must[keyserver.Certificate](k)(k.IssueDevice(o, "1", k.DeviceRequest(strings.ToUpper(string(o.ID[16:])), k.NewDeviceKey())))
	must[keyserver.Operation](k)(k.Keyserver.Revoke(k.Context(), k.Caller("olga"), o.ID, "all are made"))
}

// sessionFor opens the administration session that a route of this path is about, if it is about one.
func sessionFor(k *testkit.Kit, id, path, name string) keyserver.Session {
	k.Helper()
	if !strings.Contains(path, "{session}") {
		return keyserver.Session{}
	}
	plan := k.Policy(rename("oscar", name))
	switch id {
	case "authoriseAdministrationsession":
		return must[keyserver.Session](k)(k.Keyserver.OpenSession(k.Context(), k.Caller("adam"), keyserver.OpenSessionRequest{Description: "new people"}))
	case "applyPlan":
		return k.ActiveSession(&plan)
	case "changeConfiguration", "issueCertificate", "requestCertificate", "importCertificate", "makeRevocationlist":
		return k.ActiveSession(nil)
	}
	return k.OpenSession(&plan)
}

// rename is a change of the configuration: a subject gets another name.
func rename(id law.SubjectID, name string) func(*law.Configuration) {
	return func(c *law.Configuration) {
		for i := range c.Subjects {
			if c.Subjects[i].ID == id {
				c.Subjects[i].Name = name
			}
		}
	}
}

// policyText is the configuration after a change as a policy, as a JSON string.
func policyText(k *testkit.Kit, change func(*law.Configuration)) string {
	k.Helper()
	return string(must[[]byte](k)(json.Marshal(string(policy.Write(k.Policy(change))))))
}

// eachOperation calls do for every operation of the specification.
func eachOperation(t *testing.T, do func(method, path, id string)) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(api.OpenAPI()))
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			do(method, path, op.OperationID)
		}
	}
}

type attempt struct {
	who                         law.SubjectID
	method, pattern, path, body string
	status                      int
}

// answersAsDocumented makes a request and checks its status, and that a refusal is exactly one event that
// says who was refused what, and nothing else is one.
func answersAsDocumented(k *testkit.Kit, a attempt) {
	k.Helper()
	size := k.LogSize()
	what := fmt.Sprintf("%s %s by %q", a.method, a.path, a.who)
	media := map[bool]string{true: api.MediaStatusRequest, false: api.MediaJSON}[a.pattern == api.PathStatuses]
	answer, p := send(k, a.who, a.method, a.path, a.body, api.HeaderIdempotencyKey, map[bool]string{true: uuid.NewString()}[a.method == "POST"], "Content-Type", media)
	if answer.StatusCode != a.status {
		k.Errorf("%s: answered %d (%s), want %d", what, answer.StatusCode, p.Detail, a.status)
	}
	var refused []audit.Event
	for _, e := range k.EventsSince(size) {
		if e.Refusal != "" {
			refused = append(refused, e)
		}
	}
	if a.status < 400 || a.status == http.StatusUnauthorized { // which is counted, see sign-in-refused
		if len(refused) != 0 {
			k.Errorf("%s: answered %d and wrote %+v", what, a.status, refused)
		}
		return
	}
	if len(refused) != 1 || refused[0].Actor == nil || refused[0].Actor.Subject != a.who || refused[0].Route != a.method+" "+a.pattern ||
		refused[0].Request != answer.Header.Get(api.HeaderRequestID) || refused[0].Reason == "" {
		k.Errorf("%s: answered %d and wrote %+v", what, a.status, refused)
	}
}

// AZ-01
func TestAZ01_RefusedSignInsAreCounted(t *testing.T) {
	k := testkit.New(t)
	n := 0
	eachOperation(t, func(method, path, id string) {
		if matrix[id][0] == http.StatusUnauthorized {
			n++
			path = strings.NewReplacer("{keyid}", "fw-one", "{operation}", exampleID, "{signorder}", exampleID, "{certificate}", exampleID, "{session}", exampleID, "{subject}", "eve").Replace(path)
			answer, p := send(k, "", method, path, strings.ReplaceAll(bodies[id], "{policy}", `""`))
			expect(t, method+" "+path, answer, p, api.Unauthenticated)
		}
	})
	k.Clock.Step(60e9)
	k.Beat()
	events := k.EventsOf("", audit.SignInRefused)
	if len(events) != 1 || events[0].Count != n || events[0].Actor.Address == "" {
		t.Errorf("of %d requests without a token the log says %+v", n, events)
	}
}

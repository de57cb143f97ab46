package api_test

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"example.org/keyserver/api"
)

func document(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(api.OpenAPI()))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSpecificationIsValid(t *testing.T) {
	doc := document(t)
	if err := doc.Validate(context.Background()); err != nil {
		t.Error(err)
	}
	if !doc.IsOpenAPI31OrLater() {
		t.Errorf("it is OpenAPI %s, not 3.1", doc.OpenAPI)
	}
}

func TestEveryRouteSaysWhatItRequiresAndWhatItRefuses(t *testing.T) {
	for path, item := range document(t).Paths.Map() {
		for method, op := range item.Operations() {
			if !strings.HasPrefix(op.Description, "Requires: ") {
				t.Errorf("%s %s does not say what role it requires", method, path)
			}
			want := []string{"401", "403", "429", "503"}
			if op.Security != nil {
				want = nil
			}
			if op.RequestBody != nil {
				want = append(want, "400", "415")
			}
			for _, status := range want {
				if op.Responses.Value(status) == nil {
					t.Errorf("%s %s does not document its answer %s", method, path, status)
				}
			}
		}
	}
}

// Bounds are what makes validation mean something: without them an integer is rounded above 2^53 and a
// string may be as long as the body.
func TestEverySchemaIsClosedAndBounded(t *testing.T) {
	doc := document(t)
	name := regexp.MustCompile(`^[a-z0-9-]+$`)
	check := func(where string, s *openapi3.Schema) {
		switch {
		case s.PermitsNull():
			t.Errorf("%s may be null", where)
		case where == "schema Event" || where == "schema Events.events[]": // the audit log has a document of its own
		case s.Type.Is("object") && (s.AdditionalProperties.Has == nil || *s.AdditionalProperties.Has):
			t.Errorf("%s takes members that it does not name", where)
		case s.Type.Is("integer") && (s.Min == nil || s.Max == nil || *s.Min < -1<<53 || *s.Max >= 1<<53):
			t.Errorf("%s is an integer without bounds", where)
		case s.Type.Is("number"):
			t.Errorf("%s is a number; only integers are exact", where)
		case s.Type.Is("string") && s.MaxLength == nil:
			t.Errorf("%s is a string without maxLength", where)
		case s.Type.Is("array") && s.MaxItems == nil:
			t.Errorf("%s is an array without maxItems", where)
		}
		for member := range s.Properties {
			if !name.MatchString(member) {
				t.Errorf("%s: the name %s is not lower case", where, member)
			}
		}
	}
	for schema, ref := range doc.Components.Schemas {
		walk("schema "+schema, ref.Value, check)
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for _, p := range slices.Concat(item.Parameters, op.Parameters) {
				walk(method+" "+path+" parameter "+p.Value.Name, p.Value.Schema.Value, check)
			}
		}
	}
}

func walk(where string, s *openapi3.Schema, check func(string, *openapi3.Schema)) {
	check(where, s)
	for name, p := range s.Properties {
		walk(where+"."+name, p.Value, check)
	}
	if s.Items != nil {
		walk(where+"[]", s.Items.Value, check)
	}
}

// The types are written by hand; this is what keeps them equal to the specification.
func TestTypesAreThoseOfTheSpecification(t *testing.T) {
	types := map[string]any{
		"NewOperation": api.NewOperation{}, "KeyUsageRestriction": api.KeyUsageRestriction{}, "Artifact": api.Artifact{},
		"NewApproval": api.NewApproval{}, "Ending": api.Ending{}, "NewSignOrder": api.NewSignOrder{},
		"Health": api.Health{}, "Readiness": api.Readiness{}, "Check": api.Check{}, "Version": api.Version{},
		"Self": api.Self{}, "NewContact": api.NewContact{}, "NewWebhook": api.NewWebhook{}, "Contact": api.Contact{}, "Webhook": api.Webhook{}, "Role": api.Role{}, "Keys": api.Keys{}, "Key": api.Key{}, "KeyAttributes": api.KeyAttributes{},
		"Operations": api.Operations{}, "Operation": api.Operation{}, "Principal": api.Principal{}, "OperationKey": api.OperationKey{},
		"Claim": api.Claim{}, "Approval": api.Approval{}, "Ended": api.Ended{},
		"SignOrders": api.SignOrders{}, "SignOrder": api.SignOrder{}, "Events": api.Events{},
		"NewSession": api.NewSession{}, "NewAuthorisation": api.NewAuthorisation{}, "NewChange": api.NewChange{}, "Policy": api.Policy{},
		"Disabling": api.Disabling{}, "Sessions": api.Sessions{}, "Session": api.Session{}, "Authorisation": api.Authorisation{},
		"Difference": api.Difference{}, "DifferenceItem": api.DifferenceItem{}, "PolicyDifference": api.PolicyDifference{},
		"Changed": api.Changed{}, "Administration": api.Administration{}, "Issuer": api.Issuer{}, "Subjects": api.Subjects{},
		"Subject": api.Subject{}, "Identity": api.Identity{}, "ClaimMatch": api.ClaimMatch{}, "Actor": api.Actor{}, "Roles": api.Roles{},
		"ConfiguredRole": api.ConfiguredRole{}, "WhoCan": api.WhoCan{}, "Never": api.Never{}, "Alone": api.Alone{},
		"Profile": api.Profile{}, "Name": api.Name{},
		"DeviceProfile": api.DeviceProfile{}, "DeviceAttribute": api.DeviceAttribute{}, "DeviceName": api.DeviceName{}, "DeviceExtension": api.DeviceExtension{},
		"NewCertificate": api.NewCertificate{}, "NewCertificateOrder": api.NewCertificateOrder{}, "OfKey": api.OfKey{}, "NewImport": api.NewImport{},
		"NewCertificateRevocation": api.NewCertificateRevocation{}, "Certificates": api.Certificates{}, "Certificate": api.Certificate{},
		"CertificateRevoked": api.CertificateRevoked{}, "RevocationList": api.RevocationList{},
		"NewDeviceCertificate": api.NewDeviceCertificate{}, "NewDeviceBatch": api.NewDeviceBatch{}, "NewDeviceRequest": api.NewDeviceRequest{},
		"DeviceResults": api.DeviceResults{}, "DeviceResult": api.DeviceResult{}, "DeviceCertificates": api.DeviceCertificates{},
		"DeviceCertificate": api.DeviceCertificate{}, "Lots": api.Lots{}, "Lot": api.Lot{}, "RevokedCount": api.RevokedCount{},
		"InclusionProof": api.InclusionProof{}, "ConsistencyProof": api.ConsistencyProof{}, "Problem": api.Problem{},
	}
	for name, ref := range document(t).Components.Schemas {
		if !ref.Value.Type.Is("object") || name == "Event" {
			continue
		}
		sample, ok := types[name]
		if !ok {
			t.Errorf("schema %s has no type", name)
			continue
		}
		delete(types, name)
		sameMembers(t, name, ref.Value, reflect.TypeOf(sample))
	}
	for name := range types {
		t.Errorf("type %s has no schema", name)
	}
}

func sameMembers(t *testing.T, name string, s *openapi3.Schema, typ reflect.Type) {
	t.Helper()
	fields := map[string]reflect.StructField{}
	for field := range typ.Fields() {
		tag, rest, _ := strings.Cut(field.Tag.Get("json"), ",")
		if tag == "-" {
			continue
		}
		fields[tag] = field
		p := s.Properties[tag]
		if p == nil {
			t.Errorf("%s: member %s is not in the specification", name, tag)
			continue
		}
		if optional := rest == "omitzero"; optional == slices.Contains(s.Required, tag) {
			t.Errorf("%s: member %s is required in one and optional in the other", name, tag)
		}
		if got := kindOf(field.Type); !p.Value.Type.Is(got) {
			t.Errorf("%s: member %s is %s here and %v in the specification", name, tag, got, p.Value.Type)
		}
	}
	for member := range s.Properties {
		if _, ok := fields[member]; !ok {
			t.Errorf("%s: the type has no member %s", name, member)
		}
	}
}

func kindOf(t reflect.Type) string {
	if t == reflect.TypeFor[[]byte]() { // base64
		return "string"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "array"
	case reflect.Struct, reflect.Pointer:
		return "object"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	}
	return t.Kind().String()
}

func TestProblemKindsAreThoseOfTheSpecification(t *testing.T) {
	var types []any
	for _, k := range api.Kinds() {
		types = append(types, k.Type())
		if p := (&api.Problem{Type: k.Type()}); p.Kind() != k {
			t.Errorf("the kind of %s is %q", p.Type, p.Kind())
		}
		if k != api.Internal && (k.Status() == 500 || k.Title() == api.Internal.Title()) {
			t.Errorf("%s has no status or title of its own", k)
		}
	}
	if spec := document(t).Components.Schemas["Problem"].Value.Properties["type"].Value.Enum; !reflect.DeepEqual(spec, types) {
		t.Errorf("the specification has %v, the package has %v", spec, types)
	}
	if p := (&api.Problem{Type: "about:blank"}); p.Kind() != "" {
		t.Errorf("the kind of a foreign problem is %q", p.Kind())
	}
}

func TestFixtureRequestIsValid(t *testing.T) {
	fixture, err := os.ReadFile("testdata/new-operation.json")
	if err != nil {
		t.Fatal(err)
	}
	var value any
	var typed api.NewOperation
	if err := json.Unmarshal(fixture, &value); err != nil {
		t.Fatal(err)
	}
	if err := document(t).Components.Schemas["NewOperation"].Value.VisitJSON(value); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal(fixture, &typed, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	if len(typed.KeyUsageRestrictions) != 2 || typed.KeyUsageRestrictions[1] != (api.KeyUsageRestriction{KeyID: "fw-prod", MaxUsageCount: 1}) {
		t.Errorf("it was read as %+v", typed)
	}
}

func TestGuideNamesEveryRouteAndProblem(t *testing.T) {
	guide, err := os.ReadFile("../docs/api/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range document(t).Paths.Map() {
		for method := range item.Operations() {
			if !strings.Contains(string(guide), "`"+method+" "+path+"`") {
				t.Errorf("docs/api/README.md does not name %s %s", method, path)
			}
		}
	}
	for _, k := range api.Kinds() {
		if !strings.Contains(string(guide), fmt.Sprintf("| `%s` | %d |", k, k.Status())) {
			t.Errorf("docs/api/README.md does not list problem %s with status %d", k, k.Status())
		}
	}
}

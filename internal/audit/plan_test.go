package audit_test

import (
	"bytes"
	"encoding/json/jsontext"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// someChanges returns changes of every kind that a plan can have, not in order.
func someChanges() law.Changes {
	set := someConfiguration()
	set.Administration = law.Administration{Administrators: 3, Active: 90 * time.Minute}
	issuer, subject, role := set.Issuers[0], set.Subjects[0], set.Roles[0]
	issuer.URL, subject.ID, role.ID = "https://ci.example.org", "aaron", "a-role"
	set.Issuers, set.Subjects, set.Roles = append(set.Issuers, issuer), append(set.Subjects, subject), append(set.Roles, role)
	slices.Reverse(set.Keys)
	for i, k := range set.Keys {
		set.Keys[i] = k.With(law.KeyPair{})
	}
	return law.Changes{Set: set, RemoveRoles: []law.RoleID{"y", "x"}, RemoveIssuers: []string{"https://b.test", "https://a.test"}}
}

func planOf(t *testing.T, c law.Changes) []byte {
	t.Helper()
	canonical, err := audit.Plan(c)
	if err != nil {
		t.Fatal(err)
	}
	return canonical
}

func TestAPlanIsCanonicalJSONWithItsObjectsByKindAndID(t *testing.T) {
	canonical := planOf(t, someChanges())
	again := jsontext.Value(bytes.Clone(canonical))
	if err := again.Canonicalize(); err != nil || !bytes.Equal(again, canonical) {
		t.Errorf("canonical is\n%s\nnot\n%s\n(%v)", again, canonical, err)
	}
	at := 0
	for _, next := range []string{
		`"administration"`, `"id":"https://ci.example.org","kind":"issuer"`, `"id":"https://login.example.org","kind":"issuer"`,
		`"id":"fw-prod","kind":"key"`, `"id":"nobody","kind":"key"`, `"id":"aaron","kind":"subject"`, `"id":"ada","kind":"subject"`,
		`"id":"a-role","kind":"role"`, `"id":"approvers","kind":"role"`,
		`{"id":"x","kind":"role","value":null}`, `{"id":"y","kind":"role","value":null}`,
		`{"id":"https://a.test","kind":"issuer","value":null}`, `{"id":"https://b.test","kind":"issuer","value":null}`,
	} {
		found := strings.Index(string(canonical[at:]), next)
		if found < 0 {
			t.Fatalf("%s is not there, or not in its place:\n%s", next, canonical)
		}
		at += found
	}
}

func TestThePlanOfTheSameChangesIsTheSameInWhateverOrderTheyCome(t *testing.T) {
	c := someChanges()
	slices.Reverse(c.Set.Issuers)
	slices.Reverse(c.Set.Keys)
	slices.Reverse(c.Set.Subjects)
	slices.Reverse(c.Set.Roles)
	slices.Reverse(c.RemoveRoles)
	slices.Reverse(c.RemoveIssuers)
	if a, b := planOf(t, c), planOf(t, someChanges()); !bytes.Equal(a, b) {
		t.Errorf("the plan is\n%s\nor\n%s", a, b)
	}
}

func TestAPlanComesBackFromItsCanonicalForm(t *testing.T) {
	for name, c := range map[string]law.Changes{"of everything": someChanges(), "of nothing": {}, "of one role that goes": {RemoveRoles: []law.RoleID{"x"}}} {
		canonical := planOf(t, c)
		back, err := audit.ParsePlan(canonical)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again := planOf(t, back); !bytes.Equal(again, canonical) {
			t.Errorf("%s: written again, it is\n%s\nand was\n%s", name, again, canonical)
		}
		if back.Empty() != c.Empty() || back.Set.Administration != c.Set.Administration {
			t.Errorf("%s: it came back as %+v", name, back)
		}
	}
}

// A key pair that was made for a key of the plan does not make it another plan.
func TestThePlanOfItsEventsIsThePlanWithItsKeyPairs(t *testing.T) {
	c := someChanges()
	after := c.Set
	after.Keys = nil
	for _, k := range c.Set.Keys {
		after.Keys = append(after.Keys, k.With(law.KeyPair{
			Version: 7, Handle: string(k.ID) + ".7", PublicKey: []byte{1}, Fingerprint: digest("pair"), Attributes: &law.KeyAttributes{Local: true},
		}))
	}
	events, err := audit.Changed(c, after)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(events[3].Value), `"handle":"fw-prod.7"`) {
		t.Errorf("the event of a key is %s", events[3].Value)
	}
	if plan, err := audit.PlanOf(events); err != nil || !bytes.Equal(plan, planOf(t, c)) {
		t.Errorf("the plan of its events is\n%s\nand must be\n%s\n(%v)", plan, planOf(t, c), err)
	}
	slices.Reverse(events)
	if plan, err := audit.PlanOf(events); err != nil || bytes.Equal(plan, planOf(t, c)) {
		t.Errorf("in another order it is the same plan (%v)", err)
	}
}

func TestAPlanThatIsNotWrittenExactlySoIsRefused(t *testing.T) {
	canonical := string(planOf(t, someChanges()))
	swapped := strings.Replace(canonical, `{"id":"x","kind":"role","value":null},{"id":"y","kind":"role","value":null}`,
		`{"id":"y","kind":"role","value":null},{"id":"x","kind":"role","value":null}`, 1)
	for name, text := range map[string]string{
		"nothing":                ``,
		"not JSON":               canonical[1:],
		"space":                  canonical + " ",
		"an unknown member":      strings.Replace(canonical, `"version":1`, `"version":1,"x":1`, 1),
		"another version":        strings.Replace(canonical, `"version":1`, `"version":2`, 1),
		"no version":             strings.Replace(canonical, `,"version":1`, ``, 1),
		"objects in other order": swapped,
		"an object twice":        strings.Replace(canonical, `{"id":"x","kind":"role","value":null}`, `{"id":"x","kind":"role","value":null},{"id":"x","kind":"role","value":null}`, 1),
		"a key with a key pair":  strings.Replace(canonical, `"handle":""`, `"handle":"k"`, 1),
		"a key that goes":        strings.Replace(canonical, `{"id":"x","kind":"role","value":null}`, `{"id":"x","kind":"key","value":null}`, 1),
		"a subject that goes":    strings.Replace(canonical, `{"id":"x","kind":"role","value":null}`, `{"id":"x","kind":"subject","value":null}`, 1),
		"an unknown kind":        strings.Replace(canonical, `"kind":"subject"`, `"kind":"group"`, 1),
		"an unknown field":       strings.Replace(canonical, `"enabled":true`, `"enabled":true,"x":1`, 1),
		"another id outside":     strings.Replace(canonical, `{"id":"aaron","kind"`, `{"id":"aardvark","kind"`, 1),
	} {
		if text == canonical {
			t.Fatalf("%s: nothing is changed", name)
		}
		if c, err := audit.ParsePlan([]byte(text)); err == nil || !reflect.DeepEqual(c, law.Changes{}) {
			t.Errorf("%s: read as %+v (%v)", name, c, err)
		}
	}
}

func TestAChangeThatNobodyCouldTellIsNotWritten(t *testing.T) {
	once := someConfiguration()
	for name, c := range map[string]law.Changes{
		"a new key pair":          {ReplacePairs: []law.KeyID{"fw-prod"}},
		"a subject twice":         {Set: law.Configuration{Subjects: append(once.Subjects, once.Subjects...)}},
		"a key twice":             {Set: law.Configuration{Keys: append(once.Keys, once.Keys...)}},
		"a role set and removed":  {Set: law.Configuration{Roles: once.Roles}, RemoveRoles: []law.RoleID{once.Roles[0].ID}},
		"an issuer removed twice": {RemoveIssuers: []string{"https://a.test", "https://a.test"}},
		"text that is not UTF-8":  {Set: law.Configuration{Subjects: []law.Subject{{ID: "ada", Name: "\xff"}}}},
		"an id that is not UTF-8": {RemoveRoles: []law.RoleID{"\xff"}},
		"a key that is not UTF-8": {Set: law.Configuration{Keys: []law.Key{{ID: "k", Keystore: "\xff"}}}},
		"an issuer not in UTF-8":  {RemoveIssuers: []string{"\xff"}},
	} {
		if plan, err := audit.Plan(c); err == nil || plan != nil {
			t.Errorf("%s: written as %s", name, plan)
		}
	}
	for _, bad := range []audit.Configuration{audit.Removed(audit.ConfiguredKey, "fw-prod"), {Kind: audit.ConfiguredKey, ID: "k", Value: jsontext.Value(`{"x":1}`)}} {
		if plan, err := audit.PlanOf([]audit.Configuration{bad}); err == nil || plan != nil {
			t.Errorf("%s is of the plan %s", bad.Value, plan)
		}
	}
}

// What changes of a key whose key pair is replaced is its key pair.
func TestAReplacedKeyPairIsAChangeOfItsKey(t *testing.T) {
	events, err := audit.Changed(law.Changes{ReplacePairs: []law.KeyID{"nobody"}}, someConfiguration())
	if err != nil || len(events) != 1 || events[0].ID != "nobody" || events[0].Removes() {
		t.Errorf("the events are %+v (%v)", events, err)
	}
}

func TestAnObjectThatIsGoneIsNotThereToBeRead(t *testing.T) {
	gone := audit.Removed(audit.ConfiguredRole, "approvers")
	var c law.Configuration
	if err := gone.AddTo(&c); err == nil || !gone.Removes() || !reflect.DeepEqual(c, law.Configuration{}) {
		t.Errorf("it is read as %+v (%v)", c, err)
	}
	leaf := link(t, []audit.Event{{Type: audit.ConfigurationChanged, Reason: "r", Configuration: &gone}})[0]
	if e, err := audit.ParseLeaf(leaf); err != nil || !e.Configuration.Removes() {
		t.Errorf("from its leaf it is %+v (%v)", e.Configuration, err)
	}
}

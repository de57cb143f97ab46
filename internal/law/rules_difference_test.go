package law_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
)

// everywhere is a configuration in which no field is empty, but those of key pairs.
func everywhere(t *testing.T) *council {
	c := newCouncil(t)
	c.cfg.Administration = law.Administration{Administrators: 2, Active: 10 * time.Minute}
	c.cfg.Issuers = append(c.cfg.Issuers, law.Issuer{
		URL: "https://full.example", Audiences: []string{"keyserver"}, Algorithms: []string{"ES256"}, Types: []string{"JWT"},
		KeysURL: "https://full.example/keys", ActorClaim: "actor", ActorOptional: true, Captured: []string{"ref"},
	})
	c.cfg.Subjects = append(c.cfg.Subjects, law.Subject{
		ID: "full", Kind: law.User, Name: "Full", Enabled: true, Identities: []law.Identity{at(people, "sub", "full", "azp", "web")},
		Actors: []law.ActorName{{Issuer: "https://full.example", Value: "full"}},
	})
	c.cfg.Roles = append(c.cfg.Roles, law.Role{ID: "full", Kind: law.Orderer, Keys: []law.KeyID{"fw-dev", "fw-test"}, Members: []law.SubjectID{"olga", "full"}})
	c.cfg.Keys = append(c.cfg.Keys, with(key("full", 0), func(k *law.Key) {
		k.Type, k.ArtifactsNeeded, k.Adopted, k.MayLeave = law.CA, true, "pkcs11:object=full", true
		k.Profile = &law.Profile{
			Subject:  law.Name{Country: "DE", Province: "P", Locality: "L", Organization: "O", OrganizationalUnit: "U", CommonName: "Full"},
			Validity: time.Hour, KeyUsage: []law.KeyUsage{law.KeyCertSign, law.CRLSign}, ExtendedKeyUsage: []string{"codeSigning"},
			CRLURL: "http://ca.example/crl",
		}
		devices := deviceProfile()
		k.Devices = &devices
	}))
	return c
}

// deep is a copy of a configuration that shares nothing with it.
func deep(c law.Configuration) law.Configuration {
	return copied(reflect.ValueOf(c)).Interface().(law.Configuration)
}

func copied(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch {
	case v.Type() == reflect.TypeFor[law.Requirement]():
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			out.Field(i).Set(copied(v.Field(i)))
		}
	case v.Kind() == reflect.Slice && !v.IsNil():
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(copied(v.Index(i)))
		}
	case v.Kind() == reflect.Map && !v.IsNil():
		out.Set(reflect.MakeMap(v.Type()))
		for _, k := range v.MapKeys() {
			out.SetMapIndex(k, copied(v.MapIndex(k)))
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(copied(v.Elem()))
	}
	return out
}

func TestExportThenPlanIsAnEmptyDifference(t *testing.T) {
	c := everywhere(t)
	wanted := deep(c.facts().Configuration())
	for i := range wanted.Roles { // what a role lists has no order
		slices.Reverse(wanted.Roles[i].Keys)
		slices.Reverse(wanted.Roles[i].Members)
	}
	for i := range wanted.Keys { // what is wanted says nothing of key pairs
		wanted.Keys[i] = wanted.Keys[i].With(law.KeyPair{})
	}
	if ch, err := c.facts().Difference(wanted); err != nil || !ch.Empty() {
		t.Errorf("%+v, %v", ch, err)
	}
	c.cfg.Administration = law.Administration{}
	wanted.Administration = law.Administration{Administrators: 2, Active: time.Hour} // which it takes where nothing is said
	if ch, err := c.facts().Difference(wanted); err != nil || !ch.Empty() {
		t.Errorf("%+v, %v", ch, err)
	}
}

// Every single field that is configured, reached by reflection: whatever is added one day is tried, too.
func TestChangingAnyFieldIsADifference(t *testing.T) {
	f := everywhere(t).facts()
	now := f.Configuration()
	last := func(c *law.Configuration) []reflect.Value {
		full := func(v reflect.Value) reflect.Value {
			for i := range v.Len() {
				if id := v.Index(i).Field(0).String(); id == "full" || id == "https://full.example" {
					return v.Index(i)
				}
			}
			t.Fatal("there is no full one")
			return v
		}
		v := reflect.ValueOf(c).Elem()
		return []reflect.Value{full(v.FieldByName("Issuers")), full(v.FieldByName("Subjects")), full(v.FieldByName("Roles")), full(v.FieldByName("Keys"))}
	}
	pair := []string{"Version", "Handle", "PublicKey", "Fingerprint", "Attributes"}
	tried := 0
	for object := range 4 {
		for _, path := range fieldsOf(last(&now)[object], "") {
			wanted := deep(now)
			v := last(&wanted)[object]
			if path == ".ID" || path == ".URL" || slices.Contains(pair, path[1:]) {
				continue
			}
			turn(t, v, "", path)
			ch, err := f.Difference(wanted)
			set := []int{len(ch.Set.Issuers), len(ch.Set.Subjects), len(ch.Set.Roles), len(ch.Set.Keys)}
			want := []int{0, 0, 0, 0}
			want[object] = 1
			if err != nil || !slices.Equal(set, want) {
				t.Errorf("%s%s: the difference is %v, %v", v.Type().Name(), path, set, err)
			}
			tried++
		}
	}
	if tried < 35 {
		t.Errorf("only %d fields were tried", tried)
	}
}

// fieldsOf lists the paths of the fields of an object, down into structs.
func fieldsOf(v reflect.Value, path string) []string {
	if v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Kind() == reflect.Struct {
		return append(fieldsOf(v.Elem(), path), path)
	}
	if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[law.Requirement]() {
		return []string{path}
	}
	var paths []string
	for i := range v.NumField() {
		paths = append(paths, fieldsOf(v.Field(i), path+"."+v.Type().Field(i).Name)...)
	}
	return paths
}

// turn makes the field at the path another.
func turn(t *testing.T, v reflect.Value, here, path string) {
	if here != path {
		if v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[law.Requirement]() {
			for i := range v.NumField() {
				turn(t, v.Field(i), here+"."+v.Type().Field(i).Name, path)
			}
		}
		return
	}
	switch {
	case v.Type() == reflect.TypeFor[law.Requirement]():
		v.Set(reflect.ValueOf(law.Require(5)))
	case v.Kind() == reflect.String:
		v.SetString(v.String() + "x")
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.CanInt():
		v.SetInt(v.Int() + 1)
	case v.Kind() == reflect.Pointer:
		v.SetZero()
	case v.Type() == reflect.TypeFor[[]law.Identity]():
		v.Index(0).Set(reflect.ValueOf(at(people, "sub", "full", "azp", "cli")))
	case v.Kind() == reflect.Slice && v.Len() > 0:
		v.Set(v.Slice(0, v.Len()-1))
	default:
		t.Fatalf("%s: a field of kind %s is new to this test, or empty", path, v.Kind())
	}
}

func TestWhatIsNotNamedGoesOrIsRefused(t *testing.T) {
	c := everywhere(t)
	c.cfg.Issuers = append(c.cfg.Issuers, issuer("https://old.example"), issuer("https://older.example"))
	f := c.facts()
	without := func(change func(*law.Configuration)) (law.Changes, error) {
		wanted := deep(f.Configuration())
		change(&wanted)
		return f.Difference(wanted)
	}
	ch, err := without(func(w *law.Configuration) {
		w.Roles = slices.DeleteFunc(w.Roles, func(r law.Role) bool { return r.ID == "full" || r.ID == "auditors" })
		w.Issuers = slices.DeleteFunc(w.Issuers, func(i law.Issuer) bool { return i.URL == "https://old.example" || i.URL == "https://older.example" })
	})
	want := law.Changes{RemoveRoles: []law.RoleID{"auditors", "full"}, RemoveIssuers: []string{"https://old.example", "https://older.example"}}
	if err != nil || fmt.Sprint(ch) != fmt.Sprint(want) {
		t.Errorf("%+v, %v", ch, err)
	}
	ch, err = without(func(w *law.Configuration) { w.Administration.Active *= 2 })
	if err != nil || ch.Set.Administration != (law.Administration{Administrators: 2, Active: 20 * time.Minute}) {
		t.Errorf("%+v, %v", ch, err)
	}
	ch, err = without(func(w *law.Configuration) { w.Administration.Administrators = 3 })
	if err != nil || ch.Set.Administration != (law.Administration{Administrators: 3, Active: 10 * time.Minute}) {
		t.Errorf("%+v, %v", ch, err)
	}
	_, err = without(func(w *law.Configuration) { w.Administration = law.Administration{} })
	wantRefusal(t, law.Impossible, err)
	wantSaid(t, "administration is not named", err)
	ch, err = without(func(w *law.Configuration) { w.Subjects = append(w.Subjects, person("max")) })
	if err != nil || len(ch.Set.Subjects) != 1 || ch.Set.Subjects[0].ID != "max" {
		t.Errorf("%+v, %v", ch, err)
	}
	for said, change := range map[string]func(*law.Configuration){
		"subject ada is not named; subjects never go: say enabled: false": func(w *law.Configuration) { w.Subjects = w.Subjects[1:] },
		"key ca is not named; keys never go: say state":                   func(w *law.Configuration) { w.Keys = w.Keys[1:] },
		`key "ca" is named twice`:                                         func(w *law.Configuration) { w.Keys = append(w.Keys, w.Keys[0]) },
		`subject "ada" is named twice`:                                    func(w *law.Configuration) { w.Subjects = append(w.Subjects, person("ada")) },
	} {
		ch, err := without(change)
		wantRefusal(t, law.Impossible, err)
		wantSaid(t, said, err)
		if !ch.Empty() {
			t.Errorf("a refused difference left %+v", ch)
		}
	}
}

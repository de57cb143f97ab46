package httpapi_test

import (
	"bufio"
	"encoding/json/v2"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// IN-01
func TestIN01_AmbiguousBodiesOfAdministrationAreRefused(t *testing.T) {
	k := testkit.New(t)
	s := k.ActiveSession(nil)
	size := k.LogSize()
	session := strings.NewReplacer("{session}", string(s.ID), "{keyid}", "fw-one", "{subject}", "olga")
	for name, v := range map[string]struct{ path, body, pointer string }{
		"duplicate name":            {api.PathSessions, `{"description":"d","description":"e"}`, "/description"},
		"name in another case":      {api.PathSessions, `{"Description":"d"}`, "/Description"},
		"unknown name":              {api.PathSessions, `{"description":"d","plan":"p"}`, "/plan"},
		"null for no policy":        {api.PathSessions, `{"description":"d","policy":null}`, "/policy"},
		"empty policy":              {api.PathSessions, `{"description":"d","policy":""}`, "/policy"},
		"an object for a text":      {api.PathSessions, `{"description":"d","policy":{"roles":[]}}`, "/policy"},
		"empty description":         {api.PathSessions, `{"description":""}`, "/description"},
		"long description":          {api.PathSessions, `{"description":"` + strings.Repeat("x", 1001) + `"}`, "/description"},
		"long policy":               {api.PathSessions, `{"description":"d","policy":"` + strings.Repeat("x", 4<<20+1) + `"}`, "/policy"},
		"no digest":                 {api.PathAuthorisation, `{"digest":""}`, "/digest"},
		"digest in capitals":        {api.PathAuthorisation, `{"digest":"` + strings.Repeat("AB", 32) + `"}`, "/digest"},
		"no fragment":               {api.PathChanges, `{"reason":"r"}`, "/fragment"},
		"no reason":                 {api.PathChanges, `{"fragment":"roles: []"}`, "/reason"},
		"a policy for a fragment":   {api.PathChanges, `{"reason":"r","policy":"roles: []"}`, "/policy"},
		"no policy to compare":      {api.PathPolicyDifference, `{}`, "/policy"},
		"a list for a policy":       {api.PathPolicyDifference, `{"policy":["a"]}`, "/policy"},
		"no policy to ask about":    {api.PathWhoCan, `{"session":"` + exampleID + `"}`, "/session"},
		"no reason for a key":       {api.PathDisableKey, `{}`, "/reason"},
		"a state for a key":         {api.PathDisableKey, `{"reason":"r","state":"active"}`, "/state"},
		"long reason for a subject": {api.PathDisableSubject, `{"reason":"` + strings.Repeat("x", 2001) + `"}`, "/reason"},
		"a body to close":           {api.PathClosure, `{}`, ""},
		"a body to apply":           {api.PathApplication, `{}`, ""},
	} {
		path := session.Replace(v.path)
		answer, p := send(k, "ada", "POST", path, v.body)
		expect(t, name, answer, p, api.Malformed)
		if name != "no policy to ask about" && p.Pointer != v.pointer {
			t.Errorf("%s: the pointer is %q, not %q (%s)", name, p.Pointer, v.pointer, p.Detail)
		}
	}
	for _, path := range []string{
		api.PathSessions + "?state=open", api.PathSessions + "?limit=0", "/api/administrationsessions/1", "/api/administrationsessions/" + exampleID + "/difference?from=-1",
		"/api/administrationsessions/" + exampleID + "/difference?limit=2001", "/api/keys/fw-one/whocan?session=x", "/api/policy?x=1",
	} {
		answer, p := send(k, "ada", "GET", path, "")
		expect(t, path, answer, p, api.Malformed)
	}
	if n := k.LogSize() - size; n != 0 {
		t.Errorf("malformed requests left %d events", n)
	}
}

// IN-04
func TestIN04_HarmfulTextOfAdministratorsIsRefused(t *testing.T) {
	k := testkit.New(t)
	before := k.Count("", audit.ConfigurationChanged)
	quote := func(text string) string { return string(must[[]byte](t)(json.Marshal(text))) }
	for name, text := range harmful {
		session := k.ActiveSession(nil)
		changes := strings.Replace(api.PathChanges, "{session}", string(session.ID), 1)
		for place, v := range map[string][2]string{
			"description":         {api.PathSessions, `{"description":` + quote(text) + `}`},
			"reason of a change":  {changes, `{"reason":` + quote(text) + `,"fragment":"roles: [{id: more, kind: auditor, members: [eve]}]"}`},
			"reason for a key":    {"/api/keys/fw-one/disablement", `{"reason":` + quote(text) + `}`},
			"reason for a person": {"/api/subjects/olga/disablement", `{"reason":` + quote(text) + `}`},
		} {
			answer, p := send(k, "ada", "POST", v[0], v[1])
			expect(t, name+" as "+place, answer, p, api.Impossible)
			checkShown(t, name+" as "+place, p)
		}
		for place, fragment := range map[string]string{
			"name":        `subjects: [{id: zoe, kind: user, name: ` + quote(text) + `}]`,
			"field":       quote(text) + `: 1`,
			"plain field": text + `: 1`,
		} {
			answer, p := send(k, "ada", "POST", changes, `{"reason":"r","fragment":`+quote(fragment)+`}`)
			if p.Kind() != api.PolicyFault && p.Kind() != api.Impossible {
				t.Errorf("%s as %s in a policy: got %d %+v", name, place, answer.StatusCode, p)
			}
			for line := range strings.SplitSeq(p.Detail, "\n") { // one for each fault
				checkShown(t, name+" as "+place+" in a policy", api.Problem{Title: p.Title, Detail: line})
			}
		}
		k.Close(session)
	}
	if n := k.Count("", audit.ConfigurationChanged); n != before {
		t.Errorf("the configuration was changed %d times", n-before)
	}
}

// IN-06
func TestIN06_LargeBodiesAreForPoliciesOfThoseWhoSeeTheConfiguration(t *testing.T) {
	k := testkit.New(t)
	body := func(size int) string {
		const head, tail = `{"description":"d","policy":"`, `"}`
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
	largest := body(64<<10+1) + strings.Repeat(" ", 16<<20-64<<10-1)
	answer, p := send(k, "ada", "POST", api.PathSessions, largest)
	expect(t, "16 MiB", answer, p, api.PolicyFault)
	answer, p = send(k, "ada", "POST", api.PathSessions, largest+" ")
	expect(t, "16 MiB and a byte", answer, p, api.TooLarge)
	answer, p = send(k, "olga", "POST", api.PathSessions, body(64<<10+1))
	expect(t, "more than 64 KiB of somebody else", answer, p, api.TooLarge)
	answer, p = send(k, "olga", "POST", api.PathSessions, body(64<<10))
	expect(t, "64 KiB of somebody else", answer, p, api.Forbidden)
	answer, p = send(k, "ada", "POST", "/api/keys/fw-one/disablement", `{"reason":"r"}`+strings.Repeat(" ", 64<<10))
	expect(t, "more than 64 KiB that is no policy", answer, p, api.TooLarge)
}

// IN-06: who sends policies and does not end takes the room of other policies, and of nothing else.
func TestIN06_PoliciesThatDoNotEndStopNoEmergency(t *testing.T) {
	k := testkit.New(t)
	s := k.OpenSession(nil)
	for range 2 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(k.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST "+api.PathSessions+" HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nAuthorization: Bearer "+
			k.Token("ada")+"\r\nContent-Length: 1000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") { // it is being read
			t.Fatalf("the server says %q: %v", line, err)
		}
	}
	answer, p := send(k, "ada", "POST", api.PathPolicyDifference, `{"policy":"x"}`)
	expect(t, "one policy more", answer, p, api.TooMany)
	for _, path := range []string{
		strings.Replace(api.PathClosure, "{session}", string(s.ID), 1), "/api/keys/fw-one/disablement", "/api/subjects/olga/disablement",
	} {
		body := `{"reason":"now"}`
		if strings.HasSuffix(path, "closure") {
			body = ""
		}
		if answer, p := send(k, "ada", "POST", path, body); answer.StatusCode != http.StatusOK {
			t.Errorf("POST %s: got %d %+v", path, answer.StatusCode, p)
		}
	}
	if key := must[law.Key](t)(k.Keyserver.Key(t.Context(), k.Caller("ada"), "fw-one")); key.State != law.KeyDisabled {
		t.Errorf("the key is %s", key.State)
	}
}

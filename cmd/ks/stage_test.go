package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"example.org/keyserver/api"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// front stands before a real keyserver and, when told to, makes its answers false, as a keyserver that was
// broken into would.
type front struct {
	url   string
	proxy http.Handler

	mu      sync.Mutex
	target  *url.URL
	falsify lie
	report  []byte // on a lot: the newest that was true
}

// lie changes an answer in place.
type lie func(*http.Response)

func newFront(t testing.TB, target string) *front {
	f := &front{}
	f.moveTo(target)
	f.proxy = &httputil.ReverseProxy{
		ErrorLog: discardLog(), // programs that are stopped while they wait
		Rewrite: func(r *httputil.ProxyRequest) {
			f.mu.Lock()
			defer f.mu.Unlock()
			r.SetURL(f.target)
		},
		ModifyResponse: func(r *http.Response) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.falsify != nil {
				f.falsify(r)
				return nil
			}
			return f.remember(r)
		},
	}
	server := httptest.NewServer(f.proxy)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// remember keeps a report on a lot, to give it out again in another's place.
func (f *front) remember(r *http.Response) (err error) {
	if !strings.HasSuffix(r.Request.URL.Path, "/lots/report") || r.StatusCode != http.StatusOK {
		return nil
	}
	f.report, err = io.ReadAll(r.Body)
	replace(r, r.StatusCode, r.Header.Get("Content-Type"), f.report)
	return err
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func (f *front) moveTo(target string) {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = u
}

// lie says whether there is such a lie, and tells it from now on.
func (f *front) lie(about string) bool {
	l, ok := lies()[about]
	f.mu.Lock()
	defer f.mu.Unlock()
	if about == "report" {
		report := f.report
		l, ok = at("/lots/report", func(r *http.Response) { replace(r, http.StatusOK, api.MediaJOSE, report) }), true
	}
	f.falsify = l
	return ok
}

// unsafeText has everything in it that could deceive a reader.
const unsafeText = "ok\x1b[2J\u202E\u200B\u009b\nstate: approved\r\x07"

func lies() map[string]lie {
	return map[string]lie{
		"nothing": nil,
		// an operation that is not what its digest says
		"description": edit(func(o *api.Operation) { o.Description = "harmless" }),
		// an operation as a server without the law's care for texts would give it
		"text": edit(func(o *api.Operation) {
			o.Description, o.Context = unsafeText, unsafeText
			o.Claims = append(o.Claims, api.Claim{Name: "ref", Present: true, Value: unsafeText}, api.Claim{Name: "actor"})
			o.Clients = append(o.Clients, unsafeText)
			o.Obstacles = append(o.Obstacles, unsafeText)
			o.Artifacts = append(o.Artifacts, api.Artifact{Name: unsafeText, Hash: unsafeText, Digest: unsafeText})
			o.Digest, _ = o.ComputeDigest()
		}),
		"texts": edit(func(list *api.Operations) {
			for i := range list.Operations {
				list.Operations[i].Description, list.Operations[i].Orderer.Subject = unsafeText, unsafeText
			}
		}),
		"self":      edit(func(s *api.Self) { s.Name, s.Roles = unsafeText, append(s.Roles, api.Role{Role: unsafeText}) }),
		"problem":   edit(func(p *api.Problem) { p.Detail, p.Instance = unsafeText, unsafeText }),
		"signature": edit(func(o *api.SignOrder) { o.Signature[len(o.Signature)-1] ^= 1 }),
		"keypair":   edit(func(o *api.SignOrder) { o.Fingerprint = strings.Repeat("0", 64) }),
		"key":       edit(func(k *api.Key) { k.Fingerprint = strings.Repeat("0", 64) }),
		"logkey": edit(func(v *api.Version) {
			v.LogKey = "keyserver/test+4cb36af7+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
		}),
		"checkpoint": edit(func(o *api.SignOrder) { o.Checkpoint = strings.Replace(o.Checkpoint, "\n", "\n1", 1) }),
		"otherlog": func(r *http.Response) {
			lies()["logkey"](r)
			at("/checkpoint", func(r *http.Response) { replace(r, http.StatusOK, api.MediaText, []byte("keyserver/test\n1\n")) })(r)
		},
		"proof":      edit(func(p *api.ConsistencyProof) { p.Hashes = append(p.Hashes, make([]byte, 32)) }),
		"shortproof": edit(func(p *api.ConsistencyProof) { p.Hashes = [][]byte{{1}} }),
		"noproof":    at("/api/audit/consistencyproof", busy),
		"busy":       busy,
		"running": at("/signorders", func(r *http.Response) {
			replace(r, http.StatusServiceUnavailable, api.MediaProblem, mustJSON(api.Problem{
				Type: api.Unavailable.Type(), Title: "busy", Status: http.StatusServiceUnavailable, Detail: "the keystore does not answer",
				Order: "0192f0c1-0000-7000-8000-000000000001", Instance: "urn:uuid:0192f0c1-0000-7000-8000-000000000002",
			}))
			r.Header.Set("Retry-After", "600")
		}),
		"gateway":  func(r *http.Response) { replace(r, http.StatusBadGateway, "text/html", []byte("<h1>\x1b[2J")) },
		"redirect": func(r *http.Response) { replace(r, http.StatusFound, "text/html", nil) },
		"nonsense": func(r *http.Response) { replace(r, http.StatusOK, api.MediaJSON, []byte("{")) },
	}
}

func busy(r *http.Response) {
	replace(r, http.StatusServiceUnavailable, api.MediaProblem, mustJSON(api.Problem{
		Type: api.Unavailable.Type(), Title: "busy", Status: http.StatusServiceUnavailable, Detail: "the database cannot be had now",
	}))
	r.Header.Set("Retry-After", "600")
}

// at tells a lie only where the path ends so.
func at(suffix string, l lie) lie {
	return func(r *http.Response) {
		if strings.HasSuffix(r.Request.URL.Path, suffix) {
			l(r)
		}
	}
}

// edit changes the answers that are of type T.
func edit[T any](change func(*T)) lie {
	return func(r *http.Response) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		var v T
		if json.Unmarshal(body, &v, json.RejectUnknownMembers(true)) == nil {
			change(&v)
			body = mustJSON(v)
		}
		replace(r, r.StatusCode, r.Header.Get("Content-Type"), body)
	}
}

func replace(r *http.Response, status int, media string, body []byte) {
	r.StatusCode, r.Status = status, ""
	r.Header.Set("Content-Type", media)
	r.Header.Del("Content-Length")
	r.ContentLength = int64(len(body))
	r.Body = io.NopCloser(bytes.NewReader(body))
}

func mustJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

// issuerFake is an OpenID provider at which one subject is signed in. The kit's own has no socket and no
// grants; it mints the tokens.
type issuerFake struct {
	url    string
	kit    *testkit.Kit
	who    law.SubjectID
	traits []string

	mu    sync.Mutex
	polls int
}

// newIssuer starts an issuer. Its traits:
//
//	denied     the person says no
//	expired    the device code expires
//	pending    the person needs a moment
//	short      access tokens live for a second, and there are refresh tokens
//	brief      access tokens live for a second, and there are no refresh tokens
//	nodevice   there is no device flow
//	broken     the token endpoint answers 500
//	insecure   the token endpoint is elsewhere, without TLS
func newIssuer(t testing.TB, kit *testkit.Kit, who law.SubjectID, traits []string) *issuerFake {
	i := &issuerFake{kit: kit, who: who, traits: traits}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("POST /device", i.device)
	mux.HandleFunc("POST /token", i.token)
	server := httptest.NewUnstartedServer(mux)
	i.url = "http://" + server.Listener.Addr().String()
	server.Start()
	t.Cleanup(server.Close)
	return i
}

func (i *issuerFake) is(trait string) bool {
	return strings.Contains(strings.Join(i.traits, " "), trait)
}

func (i *issuerFake) discovery(w http.ResponseWriter, _ *http.Request) {
	m := map[string]any{"issuer": i.url, "token_endpoint": i.url + "/token", "scopes_supported": []string{"openid", "offline_access"}}
	if !i.is("nodevice") {
		m["device_authorization_endpoint"] = i.url + "/device"
	}
	if i.is("insecure") {
		m["token_endpoint"] = "http://192.0.2.1/token"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(mustJSON(m))
}

func (i *issuerFake) device(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("client_id") != "ks" || r.FormValue("scope") != "openid offline_access" {
		oauthError(w, "invalid_client", "the client \x1b[2J is unknown")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(mustJSON(map[string]any{
		"device_code": "device-code", "user_code": "BCDF-GHJK", "verification_uri": i.url + "/activate",
		"verification_uri_complete": i.url + "/activate?code=BCDF-GHJK", "expires_in": 60, "interval": 1,
	}))
}

func (i *issuerFake) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.polls++
	first := i.polls == 1
	i.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	switch grant := r.FormValue("grant_type"); {
	case i.is("broken"):
		w.WriteHeader(http.StatusInternalServerError)
	case i.is("denied"):
		oauthError(w, "access_denied", "")
	case i.is("expired"):
		oauthError(w, "expired_token", "")
	case i.is("pending") && first:
		oauthError(w, "authorization_pending", "")
	case grant == "urn:ietf:params:oauth:grant-type:device_code" && r.FormValue("device_code") == "device-code",
		grant == "client_credentials" && id == string(i.who) && secret == "s3cret",
		grant == "refresh_token" && strings.HasPrefix(r.FormValue("refresh_token"), "refresh-"):
		i.give(w)
	default:
		oauthError(w, "invalid_grant", "no such grant")
	}
}

func (i *issuerFake) give(w http.ResponseWriter) {
	m := map[string]any{"access_token": i.kit.Token(i.who), "token_type": "Bearer", "expires_in": 3600}
	if i.is("short") || i.is("brief") {
		m["expires_in"] = 1
	}
	if i.is("short") {
		m["refresh_token"] = fmt.Sprint("refresh-", base64.RawURLEncoding.EncodeToString([]byte(i.who)))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(mustJSON(m))
}

func oauthError(w http.ResponseWriter, code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	w.Write(mustJSON(map[string]string{"error": code, "error_description": description}))
}

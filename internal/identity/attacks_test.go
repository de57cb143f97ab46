package identity_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json/v2"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/identity/identitytest"
)

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// AN-01
func TestAN01_OnlyAnAsymmetricSignatureByTheIssuersKeyCounts(t *testing.T) {
	w := newWorld(t)
	key := identitytest.NewKey(t, "rsa-1", "RS256")
	w.idp.SetKeys(key)
	w.accept(w.token())
	claims := asJSON(t, w.good().With("iss", w.idp.URL))
	header := func(alg string) []byte {
		return asJSON(t, identitytest.Header{"alg": alg, "kid": "rsa-1", "typ": "at+jwt"})
	}
	for _, none := range []string{"none", "None", "nOnE", "NONE", ""} {
		w.reject(key.Sign(header(none), claims), identity.BadAlgorithm)
		w.reject(identitytest.Part(header(none))+"."+identitytest.Part(claims)+".", identity.Malformed)
		w.reject(identitytest.Part(header(none))+"."+identitytest.Part(claims)+".AA", identity.BadAlgorithm)
	}
	w.reject(identitytest.Part(header("RS256"))+"."+identitytest.Part(claims)+".", identity.Malformed)
	w.reject(identitytest.Part(header("RS256"))+"."+identitytest.Part(claims)+".AA", identity.BadSignature)

	public := key.Private.Public().(*rsa.PublicKey)
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	secrets := map[string][]byte{
		"SPKI DER":    spki,
		"SPKI PEM":    pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}),
		"PKCS#1 DER":  pkcs1,
		"PKCS#1 PEM":  pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}),
		"JWK":         asJSON(t, jose.JSONWebKey{Key: public, KeyID: "rsa-1", Algorithm: "RS256", Use: "sig"}),
		"modulus":     public.N.Bytes(),
		"empty":       {},
		"JWK Set":     w.idp.KeySet(),
		"PEM trimmed": []byte(strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})))),
	}
	for name, secret := range secrets {
		t.Run("HMAC with the public key as "+name, func(t *testing.T) {
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				w.reject(identitytest.HMAC(secret, header(alg), claims), identity.BadAlgorithm)
			}
			w.reject(identitytest.HMAC(secret, header("RS256"), claims), identity.BadSignature)
		})
	}
}

// AN-01
func TestAN01_AKeyThatTheTokenBringsOrNamesIsNeitherUsedNorFetched(t *testing.T) {
	mallory := identitytest.NewKey(t, "key-1", "ES256")
	public := jose.JSONWebKey{Key: mallory.Private.Public(), KeyID: "key-1", Algorithm: "ES256", Use: "sig"}
	var visits atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		visits.Add(1)
		rw.Write(asJSON(t, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}))
	}))
	defer elsewhere.Close()

	w := newWorld(t)
	w.idp = identitytest.New(t)
	w.know(w.idp.Issuer(), person("ada", w.idp.URL, "sub", "ada-1"))
	var connections atomic.Int32
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connections.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	w.auth = identity.New(identity.Options{Now: func() time.Time { return w.now }, HTTP: &http.Client{Transport: transport}, Development: true})
	w.accept(w.token())
	before := connections.Load()
	if before == 0 {
		t.Fatal("the transport does not count connections")
	}

	certificate := base64.StdEncoding.EncodeToString([]byte("a certificate"))
	headers := map[string]any{
		"jwk": public, "jku": elsewhere.URL, "x5u": elsewhere.URL, "x5c": []string{certificate}, "x5t": "AAAA", "x5t#S256": "AAAA",
	}
	claims := asJSON(t, w.good().With("iss", w.idp.URL))
	for name, value := range headers {
		forged := asJSON(t, identitytest.Header{"alg": "ES256", "kid": "key-1", "typ": "at+jwt", name: value})
		w.reject(mallory.Sign(forged, claims), identity.BadSignature)
	}
	// The same headers over a good signature change nothing.
	for _, name := range []string{"jwk", "jku", "x5u", "x5t", "x5t#S256"} {
		w.accept(w.idp.TokenWith(identitytest.Header{"typ": "at+jwt", name: headers[name]}, w.good()))
	}
	if got := connections.Load() - before; got != 0 || visits.Load() != 0 {
		t.Errorf("%d connections were made, %d to where the tokens pointed; want none", got, visits.Load())
	}
}

// AN-02
func TestAN02_AKeyIdIsOnlyEverCompared(t *testing.T) {
	w := newWorld(t)
	w.accept(w.token())
	odd := []any{"' OR 1=1--", "key-1\x00", "\x00", "", "key 1", "key-1\n", "schlüssel", strings.Repeat("k", 257), nil, 1, true, []string{"key-1"}}
	for _, kid := range odd {
		w.reject(w.idp.TokenWith(identitytest.Header{"typ": "at+jwt", "kid": kid}, w.good()), identity.BadHeader)
	}
	w.reject(w.idp.TokenWith(identitytest.Header{"typ": "at+jwt", "kid": strings.Repeat("k", 10_000)}, w.good()), identity.Malformed)
	if w.fetches() != 1 {
		t.Errorf("keys were fetched %d times; a kid that cannot be one must not cause it", w.fetches())
	}
	for _, kid := range []string{"../../dev/null", "/etc/passwd", "file:///etc/passwd", "https://evil.example/keys", "KEY-1", "key-1/", "%00"} {
		w.now = w.now.Add(time.Minute)
		w.reject(w.idp.TokenWith(identitytest.Header{"typ": "at+jwt", "kid": kid}, w.good()), identity.UnknownKey)
	}
	for _, path := range w.idp.Requests() { // the client reaches one handler, whatever the host
		if path != identitytest.KeysPath && path != identitytest.DiscoveryPath {
			t.Errorf("%s was fetched", path)
		}
	}
}

// AN-03
func TestAN03_AudienceMustBeThisServer(t *testing.T) {
	w := newWorld(t)
	for _, aud := range []any{
		nil, "", "other", "Keyserver", "keyserver ", "keyserver/", []string{}, []string{"other"}, []any{"keyserver", 1}, []any{"keyserver", nil},
		[]any{[]string{"keyserver"}}, 1, true, map[string]any{"keyserver": "keyserver"},
		[]string{"keyserver", "other"}, // without azp
	} {
		w.reject(w.idp.Token("at+jwt", w.good().With("aud", aud)), identity.BadAudience)
	}
	w.reject(w.idp.Token("at+jwt", w.good().Without("aud")), identity.BadAudience)
	several := w.good().With("aud", []string{"keyserver", "other"})
	for _, azp := range []any{"other", "ks", "", nil, []string{"keyserver"}} {
		w.reject(w.idp.Token("at+jwt", several.With("azp", azp)), identity.BadAudience)
	}
	w.accept(w.idp.Token("at+jwt", several.With("azp", "keyserver")))
	w.accept(w.idp.Token("at+jwt", w.good().With("aud", []string{"keyserver"})))
	w.accept(w.idp.Token("at+jwt", w.good().With("aud", "keyserver").With("azp", "a client")))
}

// AN-03
func TestAN03_AnIDTokenIsNotAnAccessToken(t *testing.T) {
	w := newWorld(t)
	for _, typ := range []string{"JWT", "jwt", "", "id_token+jwt", "at+jwt ", "application/application/at+jwt", "text/at+jwt", "application/"} {
		w.reject(w.idp.Token(typ, w.good()), identity.BadType)
	}
	w.reject(w.idp.TokenWith(identitytest.Header{}, w.good()), identity.BadHeader) // no typ
	for _, typ := range []any{nil, 1, []string{"at+jwt"}} {
		w.reject(w.idp.TokenWith(identitytest.Header{"typ": typ}, w.good()), identity.BadHeader)
	}
	for _, typ := range []string{"at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"} {
		w.accept(w.idp.Token(typ, w.good()))
	}
	issuer := w.idp.Issuer()
	issuer.Types = []string{"x/y"}
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	w.accept(w.idp.Token("X/Y", w.good()))
	w.reject(w.idp.Token("application/x/y", w.good()), identity.BadType) // RFC 7515 leaves it out before a bare name only
}

// AN-03
func TestAN03_TheIssuerIsComparedByteForByte(t *testing.T) {
	w := newWorld(t)
	for _, iss := range []any{
		"https://idp.example/", "https://IDP.example", "http://idp.example", "https://idp.example:443", "https://idp.example#", "idp.example",
		" https://idp.example", "", nil, 1, []string{"https://idp.example"},
	} {
		w.reject(w.idp.Token("at+jwt", w.good().With("iss", iss)), identity.UnknownIssuer)
	}
	if n := len(w.idp.Requests()); n != 0 {
		t.Errorf("%d requests were made for tokens of unknown issuers", n)
	}
}

// AN-03
func TestAN03_TokensOfOneIssuerAreNotCheckedWithTheKeysOfAnother(t *testing.T) {
	w := newWorld(t)
	w.accept(w.token())
	other := identitytest.NewInProcess(t, "https://other.example") // same kid, other key
	w.reject(other.Token("at+jwt", w.good().With("iss", w.idp.URL)), identity.BadSignature)
}

// AN-03
func TestAN03_ATokenIsValidOnlyInItsTime(t *testing.T) {
	w := newWorld(t)
	at := func(d time.Duration) int64 { return w.now.Add(d).Unix() }
	for _, bad := range []struct {
		claim  string
		value  any
		reason identity.Reason
	}{
		{"exp", at(0), identity.Expired}, // at this instant it has expired
		{"exp", at(-time.Second), identity.Expired},
		{"exp", at(-time.Hour), identity.Expired},
		{"exp", 1, identity.Expired},
		{"exp", 0, identity.BadClaim},
		{"exp", -1, identity.BadClaim},
		{"exp", nil, identity.BadClaim},
		{"exp", "1795435200", identity.BadClaim},
		{"exp", 1.5, identity.BadClaim},
		{"exp", 1e300, identity.BadClaim},
		{"exp", uint64(1 << 63), identity.BadClaim},
		{"exp", int64(253402300800), identity.BadClaim},
		{"exp", []int64{at(time.Minute)}, identity.BadClaim},
		{"nbf", at(61 * time.Second), identity.NotYetValid},
		{"nbf", at(time.Hour), identity.NotYetValid},
		{"nbf", nil, identity.BadClaim},
		{"nbf", "0", identity.BadClaim},
		{"iat", at(61 * time.Second), identity.NotYetValid},
		{"iat", time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), identity.NotYetValid},
		{"iat", nil, identity.BadClaim},
		{"iat", 0.5, identity.BadClaim},
	} {
		w.reject(w.idp.Token("at+jwt", w.good().With(bad.claim, bad.value)), bad.reason)
	}
	w.reject(w.idp.Token("at+jwt", w.good().Without("exp")), identity.BadClaim)
	w.accept(w.idp.Token("at+jwt", w.good().With("exp", at(time.Second))))
	w.accept(w.idp.Token("at+jwt", w.good().With("nbf", at(time.Minute)).With("iat", at(time.Minute)))) // clocks differ
	w.accept(w.idp.Token("at+jwt", w.good().Without("iat")))
}

// AN-04
func TestAN04_OversizeTokensCostNothing(t *testing.T) {
	w := newWorld(t)
	w.accept(w.token())
	good := w.token()
	header := strings.Split(good, ".")[0]
	huge := map[string]string{
		"a million dots":         strings.Repeat(".", 1_000_000),
		"a header of 1 MB":       identitytest.Part([]byte(`{"alg":"ES256","kid":"key-1","typ":"at+jwt","x":"`+strings.Repeat("x", 1<<20)+`"}`)) + good[len(header):],
		"claims of 1 MB":         w.idp.Token("at+jwt", w.good().With("x", strings.Repeat("x", 1<<20))),
		"a byte more than 8 KiB": strings.Repeat("a", 8<<10+1),
	}
	for name, token := range huge {
		t.Run(name, func(t *testing.T) {
			w.reject(token, identity.Malformed)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w.auth.Authenticate(context.Background(), w.facts, token)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<10 {
				t.Errorf("%d bytes were allocated", used)
			}
			allocations := testing.AllocsPerRun(10, func() { w.auth.Authenticate(context.Background(), w.facts, token) })
			if allocations > 10 {
				t.Errorf("%v allocations", allocations)
			}
		})
	}
}

// AN-04
func TestAN04_OnlyASignedTokenInCompactFormIsOne(t *testing.T) {
	w := newWorld(t)
	good := w.token()
	parts := strings.Split(good, ".")
	jwe := func(header string) string {
		return identitytest.Part([]byte(header)) + "." + parts[1] + "." + parts[2] + "." + parts[2] + "." + parts[2]
	}
	malformed := map[string]string{
		"empty":                  "",
		"dots within the limit":  strings.Repeat(".", 8<<10),
		"one part":               parts[0],
		"two parts":              parts[0] + "." + parts[1],
		"four parts":             good + "." + parts[2],
		"JWE":                    jwe(`{"alg":"RSA-OAEP","enc":"A256GCM","kid":"key-1","typ":"at+jwt"}`),
		"JWE, PBES2, huge p2c":   jwe(`{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","p2c":2147483647,"p2s":"AAAA"}`),
		"JWE, compressed":        jwe(`{"alg":"dir","enc":"A256GCM","zip":"DEF"}`),
		"empty header":           "." + parts[1] + "." + parts[2],
		"empty claims":           parts[0] + ".." + parts[2],
		"JWS in JSON form":       `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"line end in a part":     parts[0] + "." + parts[1][:8] + "\n" + parts[1][8:] + "." + parts[2],
		"line end at the end":    good + "\n",
		"space":                  " " + good,
		"padding":                good + "=",
		"base64, not base64url":  parts[0] + "." + parts[1] + ".+/+/",
		"another spelling":       good[:len(good)-1] + string(otherSpelling(good[len(good)-1])),
		"header is not JSON":     "AAAA." + parts[1] + "." + parts[2],
		"claims are not JSON":    parts[0] + ".AAAA." + parts[2],
		"NUL":                    good + "\x00",
		"invalid UTF-8 in claim": w.idp.Key().Sign([]byte(`{"alg":"ES256","kid":"key-1","typ":"at+jwt"}`), []byte("{\"iss\":\"\xff\"}")),
	}
	for name, token := range malformed {
		t.Run(name, func(t *testing.T) { w.reject(token, identity.Malformed) })
	}
	claims := asJSON(t, w.good().With("iss", w.idp.URL))
	w.reject(w.idp.Key().Sign([]byte(`{"alg":"PBES2-HS512+A256KW","p2c":2147483647,"kid":"key-1","typ":"at+jwt"}`), claims), identity.BadAlgorithm)
	for _, extension := range []string{`"crit":["exp"],"exp":1`, `"crit":[]`, `"crit":null`, `"b64":false,"crit":["b64"]`, `"b64":false`, `"b64":true`} {
		header := `{"alg":"ES256","kid":"key-1","typ":"at+jwt",` + extension + `}`
		w.reject(w.idp.Key().Sign([]byte(header), claims), identity.BadHeader)
	}
	w.accept(good)
}

// otherSpelling returns a base64url character that differs only in bits that a 64-byte value does not have.
func otherSpelling(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)^1]
}

// AN-04
func TestAN04_HeaderAndClaimsAreStrictJSON(t *testing.T) {
	w := newWorld(t)
	key := w.idp.Key()
	header, claims := `{"alg":"ES256","kid":"key-1","typ":"at+jwt"}`, string(asJSON(t, w.good().With("iss", w.idp.URL)))
	w.accept(key.Sign([]byte(header), []byte(claims)))
	for _, bad := range []string{
		`{"alg":"ES256","alg":"ES256","kid":"key-1","typ":"at+jwt"}`,
		`{"alg":"none","kid":"key-1","typ":"at+jwt","alg":"ES256"}`,
		`{"alg":"ES256","\u0061lg":"ES256","kid":"key-1","typ":"at+jwt"}`,
		header + "{}", header + "x", "\ufeff" + header, "[" + header + "]", "null", `"x"`, `{"alg":"ES256","kid":"key-1","typ":"at+jwt",}`,
	} {
		w.reject(key.Sign([]byte(bad), []byte(claims)), identity.Malformed)
	}
	w.reject(key.Sign([]byte(`{"Alg":"ES256","Kid":"key-1","Typ":"at+jwt"}`), []byte(claims)), identity.BadHeader)
	for _, bad := range []string{
		claims[:len(claims)-1] + `,"sub":"root"}`,
		claims[:len(claims)-1] + `,"x":{"a":1,"a":2}}`,
		claims[:len(claims)-1] + `,"x":` + strings.Repeat("[", 5000),
		claims + claims, claims + "\x00", "\ufeff" + claims, "null", "[]",
	} {
		w.reject(key.Sign([]byte(header), []byte(bad)), identity.Malformed)
	}
	deep := claims[:len(claims)-1] + `,"x":` + strings.Repeat("[", 2500) + strings.Repeat("]", 2500) + "}"
	w.accept(key.Sign([]byte(header), []byte(deep)))
	for _, sub := range []any{nil, "", 1, true, []string{"ada-1"}, strings.Repeat("s", 256), "ada-1\n", "ada\u202e-1", "ada\u200b-1"} {
		w.reject(w.idp.Token("at+jwt", w.good().With("sub", sub)), identity.BadClaim)
	}
	w.reject(w.idp.Token("at+jwt", w.good().Without("sub")), identity.BadClaim)
}

func TestEveryAlgorithmIsVerifiedAndConfinedToItsIssuer(t *testing.T) {
	w := newWorld(t)
	all := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	rsaKey := identitytest.NewKey(t, "", "RS256")
	for i, alg := range all {
		key := identitytest.Key{ID: "key-" + alg, Algorithm: alg, Private: rsaKey.Private}
		if alg[0] == 'E' {
			key = identitytest.NewKey(t, "key-"+alg, alg)
		}
		w.idp.SetKeys(key)
		w.now = w.now.Add(time.Minute)
		issuer := w.idp.Issuer()
		issuer.Algorithms = []string{alg}
		w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
		w.accept(w.token())
		issuer.Algorithms = slices.Concat(all[:i], all[i+1:])
		w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
		w.reject(w.token(), identity.BadAlgorithm)
	}
}

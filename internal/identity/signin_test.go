package identity_test

import (
	"context"
	"encoding/json/v2"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/identity/identitytest"
	"example.org/keyserver/internal/law"
)

// browser is a person's browser in a world, with a sign-in that was begun.
type browser struct {
	*world
	pages    *identity.SignIns
	location string
	pending  identity.Pending
}

// pages returns sign-ins at the world's issuer.
func (w *world) pages(secret func() ([]byte, error)) *identity.SignIns {
	return w.auth.NewSignIns(identity.SignInOptions{
		Issuer: w.idp.URL, ClientID: identitytest.WebClient, ClientSecret: secret, RedirectURL: identitytest.RedirectURL,
	})
}

func (w *world) begin(pages *identity.SignIns, fresh bool) *browser {
	w.t.Helper()
	location, p, err := pages.Begin(context.Background(), w.facts, fresh)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{w, pages, location, p}
}

// good returns the claims of ada's ID token.
func (b *browser) good(asked url.Values) identitytest.Claims {
	return identitytest.IDToken(b.now, "ada-1", asked)
}

// consent returns the query with which the browser comes back after ada signed in.
func (b *browser) consent() url.Values {
	b.t.Helper()
	return b.bring(func(asked url.Values) string { return b.idp.Token("JWT", b.good(asked)) })
}

func (b *browser) bring(mint func(asked url.Values) string) url.Values {
	b.t.Helper()
	return b.idp.SignIn(b.t, b.location, mint)
}

func (b *browser) accept(query url.Values) identity.SignedIn {
	b.t.Helper()
	in, err := b.pages.Complete(context.Background(), b.facts, b.pending, query)
	if err != nil {
		b.t.Fatalf("a good sign-in was refused: %v", err)
	}
	return in
}

func (b *browser) refuse(query url.Values, kind identity.Kind, reason identity.Reason) *identity.Error {
	b.t.Helper()
	in, err := b.pages.Complete(context.Background(), b.facts, b.pending, query)
	return refusal(b.t, in, err, kind, reason)
}

func refusal(t testing.TB, got any, err error, kind identity.Kind, reason identity.Reason) *identity.Error {
	t.Helper()
	var refused *identity.Error
	if !errors.As(err, &refused) {
		t.Fatalf("accepted as %+v (error %v); want the reason %s", got, err, reason)
	}
	if refused.Kind != kind || refused.Reason != reason {
		t.Errorf("refused for kind %d, reason %s (%v); want kind %d, reason %s", refused.Kind, refused.Reason, refused, kind, reason)
	}
	if said := refused.Error() + refused.Sentence; strings.Contains(said, identitytest.AccessSecret) || refused.Sentence == "" {
		t.Errorf("the error says %q", said)
	}
	return refused
}

// refuseToken signs in with a forged ID token, which must be refused without a word of it.
func (b *browser) refuseToken(reason identity.Reason, mint func(asked url.Values) string) {
	b.t.Helper()
	var token string
	query := b.bring(func(asked url.Values) string { token = mint(asked); return token })
	noPartOf(b.t, token, b.refuse(query, identity.Rejected, reason))
}

func TestAPersonSignsInWithABrowser(t *testing.T) {
	w := newWorld(t)
	b := w.begin(w.pages(nil), false)
	asked, _ := url.Parse(b.location)
	if q := asked.Query(); q.Has("prompt") || q.Has("max_age") || len(q.Get("state")) != 43 || len(q.Get("nonce")) != 43 || q.Get("state") == q.Get("nonce") {
		t.Errorf("asked %v", q)
	}
	in := b.accept(b.consent())
	want := identity.SignedIn{
		Issuer: w.idp.URL, Sub: "ada-1", Claims: map[string]string{"sub": "ada-1"}, At: start, Told: true, ACR: "0", AMR: []string{"pwd"}, Name: "Ada Example",
	}
	if !reflect.DeepEqual(in, want) {
		t.Errorf("signed in as %+v, want %+v", in, want)
	}
	var again identity.SignedIn
	if err := json.Unmarshal(asJSON(t, in), &again); err != nil || !reflect.DeepEqual(again, in) {
		t.Errorf("%+v is %+v after it was kept (%v)", in, again, err)
	}
	caller, err := w.auth.Caller(w.facts, again)
	if want := (law.Principal{Subject: "ada", Issuer: w.idp.URL, Sub: "ada-1"}); err != nil || caller.Principal != want {
		t.Errorf("the caller is %+v (%v), want %+v", caller, err, want)
	}
	if kept := string(asJSON(t, in)); strings.Contains(kept, identitytest.AccessSecret) || strings.Contains(kept, b.pending.Nonce) {
		t.Errorf("kept is %s", kept)
	}
}

func TestEverySignInHasItsOwnSecrets(t *testing.T) {
	w := newWorld(t)
	pages := w.pages(nil)
	seen := map[string]bool{}
	for range 20 {
		b := w.begin(pages, false)
		for _, secret := range []string{b.pending.State, b.pending.Nonce, b.pending.Verifier} {
			if seen[secret] {
				t.Fatal("a secret came twice")
			}
			seen[secret] = true
		}
		if strings.Contains(b.location, b.pending.Verifier) {
			t.Fatal("the browser sees the verifier")
		}
	}
	if n := len(w.idp.Requests()); n != 1 {
		t.Errorf("%d requests, want one for the discovery document", n)
	}
}

func TestAClientWithASecretShowsIt(t *testing.T) {
	const secret = "p+a %:s/s"
	w := newWorld(t)
	w.idp.SetSecret(secret)
	given := []byte(secret)
	b := w.begin(w.pages(func() ([]byte, error) { return given, nil }), false)
	b.accept(b.consent())
	if string(given) == secret {
		t.Error("the secret stays in memory")
	}
	for name, read := range map[string]func() ([]byte, error){
		"another":    func() ([]byte, error) { return []byte("canary-secret"), nil },
		"empty":      func() ([]byte, error) { return nil, nil },
		"unreadable": func() ([]byte, error) { return nil, errors.New("it is gone") },
		"none":       nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := w.begin(w.pages(read), false)
			err := b.refuse(b.consent(), identity.Unavailable, identity.ProviderUnavailable)
			if strings.Contains(err.Error(), "canary") || strings.Contains(err.Sentence, "gone") {
				t.Errorf("said %v, %s", err, err.Sentence)
			}
		})
	}
}

func TestAForgedIDTokenSignsNobodyIn(t *testing.T) {
	w := newWorld(t)
	other := identitytest.NewInProcess(t, "https://other.example")
	at := func(d time.Duration) int64 { return w.now.Add(d).Unix() }
	for name, c := range map[string]struct {
		reason identity.Reason
		change func(identitytest.Claims) identitytest.Claims
	}{
		"another nonce":           {identity.BadNonce, func(c identitytest.Claims) identitytest.Claims { return c.With("nonce", "another") }},
		"no nonce":                {identity.BadNonce, func(c identitytest.Claims) identitytest.Claims { return c.Without("nonce") }},
		"a nonce that is no text": {identity.BadNonce, func(c identitytest.Claims) identitytest.Claims { return c.With("nonce", []any{c["nonce"]}) }},
		"for another client":      {identity.BadAudience, func(c identitytest.Claims) identitytest.Claims { return c.With("aud", "ks") }},
		"for the API":             {identity.BadAudience, func(c identitytest.Claims) identitytest.Claims { return c.With("aud", identitytest.Audience) }},
		"for nobody":              {identity.BadAudience, func(c identitytest.Claims) identitytest.Claims { return c.Without("aud") }},
		"for several":             {identity.BadAudience, func(c identitytest.Claims) identitytest.Claims { return c.With("aud", []any{c["aud"], "ks"}) }},
		"for several, issued to one": {identity.BadAudience, func(c identitytest.Claims) identitytest.Claims {
			return c.With("aud", []any{c["aud"], "ks"}).With("azp", "ks")
		}},
		"issued to another":            {identity.BadAudience, func(c identitytest.Claims) identitytest.Claims { return c.With("azp", "ks") }},
		"issued to what is no text":    {identity.BadAudience, func(c identitytest.Claims) identitytest.Claims { return c.With("azp", nil) }},
		"of another issuer":            {identity.UnknownIssuer, func(c identitytest.Claims) identitytest.Claims { return c.With("iss", other.URL) }},
		"of the issuer with a slash":   {identity.UnknownIssuer, func(c identitytest.Claims) identitytest.Claims { return c.With("iss", w.idp.URL+"/") }},
		"expired":                      {identity.Expired, func(c identitytest.Claims) identitytest.Claims { return c.With("exp", at(0)) }},
		"without an end":               {identity.BadClaim, func(c identitytest.Claims) identitytest.Claims { return c.Without("exp") }},
		"without a beginning":          {identity.BadClaim, func(c identitytest.Claims) identitytest.Claims { return c.Without("iat") }},
		"of the future":                {identity.NotYetValid, func(c identitytest.Claims) identitytest.Claims { return c.With("iat", at(61*time.Second)) }},
		"older than the sign-in":       {identity.Expired, func(c identitytest.Claims) identitytest.Claims { return c.With("iat", at(-61*time.Second)) }},
		"signed in in the future":      {identity.NotYetValid, func(c identitytest.Claims) identitytest.Claims { return c.With("auth_time", at(61*time.Second)) }},
		"signed in at no time":         {identity.BadClaim, func(c identitytest.Claims) identitytest.Claims { return c.With("auth_time", "yesterday") }},
		"without sub":                  {identity.BadClaim, func(c identitytest.Claims) identitytest.Claims { return c.Without("sub") }},
		"of a development provider":    {identity.DevelopmentToken, func(c identitytest.Claims) identitytest.Claims { return c.With("development", true) }},
		"with a sub that is too long":  {identity.BadClaim, func(c identitytest.Claims) identitytest.Claims { return c.With("sub", strings.Repeat("x", 256)) }},
		"with a sub that cannot be it": {identity.BadClaim, func(c identitytest.Claims) identitytest.Claims { return c.With("sub", "ada\u202e-1") }},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.begin(w.pages(nil), false)
			b.refuseToken(c.reason, func(asked url.Values) string { return w.idp.Token("JWT", c.change(b.good(asked))) })
		})
	}
}

func TestAnIDTokenMustBeSignedByTheIssuerAsOne(t *testing.T) {
	w := newWorld(t)
	key := w.idp.Key()
	mallory := identitytest.NewKey(t, key.ID, "ES256")
	rs384 := identitytest.NewKey(t, key.ID, "RS384")
	header := func(alg, typ string) []byte {
		return asJSON(t, identitytest.Header{"alg": alg, "kid": key.ID, "typ": typ})
	}
	for name, c := range map[string]struct {
		reason identity.Reason
		sign   func(claims []byte) string
	}{
		"alg none": {identity.BadAlgorithm, func(c []byte) string { return key.Sign(header("none", "JWT"), c) }},
		"no signature": {identity.Malformed, func(c []byte) string {
			return identitytest.Part(header("none", "JWT")) + "." + identitytest.Part(c) + "."
		}},
		"HS256 with the key":    {identity.BadAlgorithm, func(c []byte) string { return identitytest.HMAC(w.idp.KeySet(), header("HS256", "JWT"), c) }},
		"HMAC said to be ES":    {identity.BadSignature, func(c []byte) string { return identitytest.HMAC(w.idp.KeySet(), header("ES256", "JWT"), c) }},
		"HS256 with a secret":   {identity.BadAlgorithm, func(c []byte) string { return identitytest.HMAC([]byte("client-secret"), header("HS256", "JWT"), c) }},
		"another's key":         {identity.BadSignature, func(c []byte) string { return mallory.Sign(header("ES256", "JWT"), c) }},
		"an algorithm too many": {identity.BadAlgorithm, func(c []byte) string { return rs384.Sign(header("RS384", "JWT"), c) }},
		"an unknown key": {identity.UnknownKey, func(c []byte) string {
			return key.Sign(asJSON(t, identitytest.Header{"alg": "ES256", "kid": "key-9"}), c)
		}},
		"no kid":             {identity.BadHeader, func(c []byte) string { return key.Sign(asJSON(t, identitytest.Header{"alg": "ES256"}), c) }},
		"an access token":    {identity.BadType, func(c []byte) string { return key.Sign(header("ES256", "at+jwt"), c) }},
		"another kind":       {identity.BadType, func(c []byte) string { return key.Sign(header("ES256", "logout+jwt"), c) }},
		"an empty typ":       {identity.BadType, func(c []byte) string { return key.Sign(header("ES256", ""), c) }},
		"a typ that is none": {identity.BadHeader, func(c []byte) string { return key.Sign([]byte(`{"alg":"ES256","kid":"key-1","typ":null}`), c) }},
		"too long":           {identity.Malformed, func(c []byte) string { return key.Sign(header("ES256", "JWT"), c) + strings.Repeat("A", 8<<10) }},
		"not a JWT":          {identity.Malformed, func([]byte) string { return "canary-canary-canary" }},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.begin(w.pages(nil), false)
			b.refuseToken(c.reason, func(asked url.Values) string { return c.sign(asJSON(t, b.good(asked).With("iss", w.idp.URL))) })
		})
	}
	for _, typ := range []any{"JWT", "jwt", "application/jwt", nil} {
		b := w.begin(w.pages(nil), false)
		b.accept(b.bring(func(asked url.Values) string { return w.idp.TokenWith(identitytest.Header{"typ": typ}, b.good(asked)) }))
	}
	b := w.begin(w.pages(nil), false)
	b.accept(b.bring(func(asked url.Values) string {
		return w.idp.Token("JWT", b.good(asked).With("aud", []any{asked.Get("client_id"), "ks"}).With("azp", asked.Get("client_id")))
	}))
}

// AN-03
func TestAN03_TheIDTokenOfASignInIsNoAccessToken(t *testing.T) {
	w := newWorld(t)
	b := w.begin(w.pages(nil), false)
	var token string
	b.accept(b.bring(func(asked url.Values) string { token = w.idp.Token("JWT", b.good(asked)); return token }))
	w.reject(token, identity.BadType)

	issuer := w.idp.Issuer()
	issuer.Types = []string{"application/jwt"} // then the audience alone tells them apart
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	w.reject(token, identity.BadAudience)
	issuer.Audiences = append(issuer.Audiences, identitytest.WebClient)
	w.know(issuer, person("ada", w.idp.URL, "sub", "ada-1"))
	_, p, err := w.pages(nil).Begin(context.Background(), w.facts, false)
	refusal(t, p, err, identity.Rejected, identity.BadAudience)
	b.refuse(b.consent(), identity.Rejected, identity.BadAudience)
}

func TestAFreshSignInWasDoneSinceItWasAskedFor(t *testing.T) {
	w := newWorld(t)
	pages := w.pages(nil)
	b := w.begin(pages, true)
	asked, _ := url.Parse(b.location)
	if q := asked.Query(); q.Get("prompt") != "login" || q.Get("max_age") != "0" {
		t.Errorf("asked %v", q)
	}
	signedIn := func(b *browser, at any) func(url.Values) string {
		return func(asked url.Values) string {
			if at == nil {
				return w.idp.Token("JWT", b.good(asked).Without("auth_time"))
			}
			return w.idp.Token("JWT", b.good(asked).With("auth_time", at))
		}
	}
	b.refuseToken(identity.NotFresh, signedIn(b, nil))
	b.refuseToken(identity.NotFresh, signedIn(b, start.Add(-61*time.Second).Unix()))
	b.refuseToken(identity.NotFresh, signedIn(b, start.Add(-time.Hour).Unix()))
	w.now = start.Add(5 * time.Minute) // at the provider all the while
	b.refuseToken(identity.NotFresh, signedIn(b, start.Add(-61*time.Second).Unix()))
	if in := b.accept(b.bring(signedIn(b, start.Add(4*time.Minute).Unix()))); !in.At.Equal(start.Add(4 * time.Minute)) {
		t.Errorf("signed in at %v", in.At)
	}
	b = w.begin(pages, false)
	if in := b.accept(b.bring(signedIn(b, start.Add(-8*time.Hour).Unix()))); !in.At.Equal(start.Add(-8*time.Hour)) || !in.Told {
		t.Errorf("signed in at %v; an older sign-in does where no fresh one is asked for", in.At)
	}
	if in := b.accept(b.bring(signedIn(b, nil))); !in.At.Equal(w.now) || in.Told {
		t.Errorf("signed in at %v (told: %t), want the time of the token, which the issuer did not tell", in.At, in.Told)
	}
	if in := b.accept(b.bring(signedIn(b, w.now.Add(time.Minute).Unix()))); !in.At.Equal(w.now) {
		t.Errorf("signed in at %v: a clock that is ahead gains time", in.At)
	}
}

func TestOnlyTheAnswerToThisSignInCompletesIt(t *testing.T) {
	w := newWorld(t)
	pages := w.pages(nil)
	b, other := w.begin(pages, false), w.begin(pages, false)
	b.refuse(other.consent(), identity.Rejected, identity.BadState)
	good := b.consent()
	with := func(name string, values ...string) url.Values {
		q := url.Values{}
		for k, v := range good {
			q[k] = v
		}
		if q[name] = values; values == nil {
			delete(q, name)
		}
		return q
	}
	for _, q := range []url.Values{nil, with("state"), with("state", ""), with("state", good.Get("state"), good.Get("state")), with("state", good.Get("state")+"x")} {
		b.refuse(q, identity.Rejected, identity.BadState)
	}
	for _, q := range []url.Values{with("code"), with("code", ""), with("code", good.Get("code"), "x")} {
		b.refuse(q, identity.Rejected, identity.BadCode)
	}
	for _, q := range []url.Values{with("iss", ""), with("iss", "https://other.example"), with("iss", w.idp.URL+"/"), with("iss", w.idp.URL, w.idp.URL)} {
		b.refuse(q, identity.Rejected, identity.UnknownIssuer)
	}
	for _, p := range []identity.Pending{{}, {State: good.Get("state"), Begun: start}} {
		in, err := pages.Complete(context.Background(), w.facts, p, good)
		refusal(t, in, err, identity.Rejected, identity.BadState)
	}
	b.refuse(with("code", "made-up"), identity.Rejected, identity.BadCode)
	w.now = start.Add(15 * time.Minute)
	b.refuse(good, identity.Rejected, identity.BadState)
	w.now = start.Add(5*time.Minute - 1)
	b.accept(with("iss")) // an issuer need not name itself
	b.refuse(good, identity.Rejected, identity.BadCode)

	stolen := *b // another browser has the code and a verifier of its own
	stolen.pending.Verifier = other.pending.Verifier
	stolen.refuse(b.consent(), identity.Rejected, identity.BadCode)
}

func TestAnIssuerThatSaysItNamesItselfMustDoSo(t *testing.T) {
	w := newWorld(t)
	w.idp.Answer(identitytest.DiscoveryPath, identitytest.Say(http.StatusOK, asJSON(t, map[string]any{
		"issuer": w.idp.URL, "jwks_uri": w.idp.URL + identitytest.KeysPath, "token_endpoint": w.idp.URL + identitytest.TokenPath,
		"authorization_endpoint": w.idp.URL + identitytest.AuthorizePath, "authorization_response_iss_parameter_supported": true,
	})))
	b := w.begin(w.pages(nil), false)
	query := b.consent()
	iss := query["iss"]
	query.Del("iss")
	b.refuse(query, identity.Rejected, identity.UnknownIssuer)
	query["iss"] = iss
	b.accept(query)
}

func TestAPersonWhoDeclinesIsToldSoInOurWords(t *testing.T) {
	w := newWorld(t)
	b := w.begin(w.pages(nil), false)
	for why, want := range map[string]struct {
		kind   identity.Kind
		reason identity.Reason
		says   string
	}{
		"access_denied":           {identity.Rejected, identity.Denied, "did not sign you in: you declined"},
		"login_required":          {identity.Rejected, identity.Denied, "(login_required)"},
		"temporarily_unavailable": {identity.Unavailable, identity.ProviderUnavailable, "try again later"},
		"call 0800 canary":        {identity.Rejected, identity.Denied, "did not sign you in;"},
	} {
		query := url.Values{"error": {why}, "error_description": {"call 0800 canary"}, "state": {b.pending.State}}
		err := b.refuse(query, want.kind, want.reason)
		if !strings.Contains(err.Sentence, want.says) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: said %s (%v)", why, err.Sentence, err)
		}
		query.Set("state", "another")
		b.refuse(query, identity.Rejected, identity.BadState)
	}
}

func TestATokenAnswerThatIsNoneSignsNobodyIn(t *testing.T) {
	w := newWorld(t)
	secret := identitytest.AccessSecret
	for name, answer := range map[string]http.HandlerFunc{
		"huge":           identitytest.Say(http.StatusOK, []byte(`{"id_token":"`+strings.Repeat("x", 256<<10)+`"}`)),
		"not JSON":       identitytest.Say(http.StatusOK, []byte("<html>"+secret)),
		"a list":         identitytest.Say(http.StatusOK, []byte(`["`+secret+`"]`)),
		"two ID tokens":  identitytest.Say(http.StatusOK, []byte(`{"id_token":"`+secret+`","id_token":"x"}`)),
		"no ID token":    identitytest.Say(http.StatusOK, []byte(`{"access_token":"`+secret+`"}`)),
		"a number":       identitytest.Say(http.StatusOK, []byte(`{"access_token":"`+secret+`","id_token":1}`)),
		"empty":          identitytest.Say(http.StatusOK, nil),
		"no such client": identitytest.Say(http.StatusUnauthorized, []byte(`{"error":"invalid_client","error_description":"`+secret+`"}`)),
		"its own words":  identitytest.Say(http.StatusBadRequest, []byte(`{"error":"`+secret+`"}`)),
		"broken":         identitytest.Say(http.StatusBadGateway, []byte(secret)),
		"a redirect": func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://evil.example/other", http.StatusTemporaryRedirect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.idp.Answer(identitytest.TokenPath, answer)
			b := w.begin(w.pages(nil), false)
			before := len(w.idp.Requests())
			b.refuse(b.consent(), identity.Unavailable, identity.ProviderUnavailable)
			if n := len(w.idp.Requests()) - before; n != 1 {
				t.Errorf("%d requests, want the one for the token", n)
			}
		})
	}
}

func TestASilentTokenEndpointIsGivenUpAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.Answer(identitytest.TokenPath, identitytest.Hang)
		b := w.begin(w.pages(nil), false)
		began := time.Now()
		err := b.refuse(b.consent(), identity.Unavailable, identity.ProviderUnavailable)
		if took := time.Since(began); took != 5*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up after %v: %v", took, err)
		}
	})
}

func TestAnIssuerThatDoesNotSayHowToSignInIsUnavailable(t *testing.T) {
	const good = `{"issuer":"https://idp.example","jwks_uri":"https://idp.example/keys","authorization_endpoint":"https://idp.example/a","token_endpoint":"https://idp.example/t"}`
	for name, document := range map[string]string{
		"another issuer":     strings.Replace(good, `"issuer":"https://idp.example"`, `"issuer":"https://other.example"`, 1),
		"no authorization":   strings.Replace(good, "authorization_endpoint", "x", 1),
		"no token endpoint":  strings.Replace(good, "token_endpoint", "x", 1),
		"pages without TLS":  strings.Replace(good, "https://idp.example/a", "http://idp.example/a", 1),
		"tokens without TLS": strings.Replace(good, "https://idp.example/t", "http://127.0.0.1/t", 1),
		"a script":           strings.Replace(good, "https://idp.example/a", "javascript:alert(1)", 1),
		"not JSON":           "<html>",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.idp.Answer(identitytest.DiscoveryPath, identitytest.Say(http.StatusOK, []byte(document)))
			pages := w.pages(nil)
			for range 2 {
				_, p, err := pages.Begin(context.Background(), w.facts, false)
				refusal(t, p, err, identity.Unavailable, identity.ProviderUnavailable)
			}
			if n := len(w.idp.Requests()); n != 1 {
				t.Errorf("%d requests within ten seconds", n)
			}
			w.idp.Answer(identitytest.DiscoveryPath, nil)
			w.now = w.now.Add(10 * time.Second)
			w.begin(pages, false)
		})
	}
}

func TestWhatTheAuthorizationEndpointHasInItsAddressStays(t *testing.T) {
	w := newWorld(t)
	w.idp.Answer(identitytest.DiscoveryPath, identitytest.Say(http.StatusOK, asJSON(t, map[string]any{
		"issuer": w.idp.URL, "token_endpoint": w.idp.URL + identitytest.TokenPath, "authorization_endpoint": w.idp.URL + "/a?tenant=t&scope=all#there",
	})))
	asked, err := url.Parse(w.begin(w.pages(nil), false).location)
	if err != nil || asked.Query().Get("tenant") != "t" || asked.Query().Get("scope") != "openid profile" || asked.Fragment != "" {
		t.Errorf("the browser is sent to %v (%v)", asked, err)
	}
}

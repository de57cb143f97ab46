package identity

import (
	"bytes"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"example.org/keyserver/internal/law"
)

const (
	// typeOfIDTokens is the typ of those that have one.
	typeOfIDTokens = "JWT"

	maxToken = 8 << 10 // bytes; CVE-2025-27144: the size is known before anything is split
	maxKeyID = 256     // bytes
)

// use is what a token is presented as, in the words of the sentences.
type use string

const (
	accessToken use = "access token"
	idToken     use = "ID token"
)

// token is a JWS in compact form (RFC 7515, section 7.1), taken apart. Nothing in it is verified.
type token struct {
	use           use
	compact       string
	alg, typ, kid string
	claims        map[string]jsontext.Value
	payload       []byte
}

// checkSize is done before anything else looks at a token.
func checkSize(compact string, as use) error {
	if len(compact) > maxToken {
		return reject(Malformed, "the %s is longer than %d bytes; ask the issuer for a smaller one", as, maxToken)
	}
	return nil
}

// parse takes a token apart that is no longer than maxToken.
func parse(compact string, as use) (token, error) {
	switch strings.Count(compact, ".") {
	case 2:
	case 4:
		return token{}, reject(Malformed, "the %s is encrypted (JWE); use one that is signed only", as)
	default:
		return token{}, reject(Malformed, "the %s is not a JWT, which has three parts with a dot between them", as)
	}
	var parts [3][]byte
	for i, part := range strings.Split(compact, ".") {
		// Strict, so that a token has one spelling only. The decoder skips line ends.
		data, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || len(data) == 0 || strings.ContainsAny(part, "\r\n") {
			return token{}, reject(Malformed, "part %d of the %s is empty or not base64url", i+1, as)
		}
		parts[i] = data
	}
	t := token{use: as, compact: compact, payload: parts[1]}
	if err := json.Unmarshal(t.payload, &t.claims); err != nil || t.claims == nil {
		return token{}, reject(Malformed, "the claims of the %s are not a JSON object in which each name stands once", as)
	}
	return t, t.readHeader(parts[0])
}

// readHeader reads the header parameters that count. jwk, jku, x5u, x5c and the like are not looked at: a
// token has no say in which key verifies it.
func (t *token) readHeader(raw []byte) error {
	var header map[string]jsontext.Value
	if err := json.Unmarshal(raw, &header); err != nil || header == nil {
		return reject(Malformed, "the header of the %s is not a JSON object in which each name stands once", t.use)
	}
	for _, name := range []string{"crit", "b64"} { // RFC 7515 section 4.1.11, RFC 7797: no extension is understood
		if _, there := header[name]; there {
			return reject(BadHeader, "the header of the %s has %s, which is not supported", t.use, name)
		}
	}
	var isText [3]bool
	t.alg, isText[0] = text(header["alg"])
	t.typ, isText[1] = text(header["typ"])
	t.kid, isText[2] = text(header["kid"])
	if _, there := header["typ"]; !there && t.use == idToken { // OpenID Connect asks for none
		t.typ, isText[1] = typeOfIDTokens, true
	}
	if isText != [3]bool{true, true, true} {
		return reject(BadHeader, "the header of the %s must have alg, typ and kid, each a string", t.use)
	}
	outside := func(r rune) bool { return r <= ' ' || r > '~' }
	if t.kid == "" || len(t.kid) > maxKeyID || strings.ContainsFunc(t.kid, outside) {
		return reject(BadHeader, "the kid of the %s must be 1 to %d visible ASCII characters", t.use, maxKeyID)
	}
	return nil
}

// checkHeader checks algorithm and type with the issuer's configuration.
func (t token) checkHeader(issuer law.Issuer) error {
	if !slices.Contains(issuer.Algorithms, t.alg) {
		return reject(BadAlgorithm, "the %s is not signed with an algorithm that issuer %s may use: %s",
			t.use, issuer.URL, strings.Join(issuer.Algorithms, ", "))
	}
	if t.use == idToken {
		if strings.EqualFold(mediaType(t.typ), typeOfIDTokens) {
			return nil
		}
		return reject(BadType, "the typ of the ID token is another than %s; a token of another kind is not an ID token", typeOfIDTokens)
	}
	for _, typ := range issuer.Types {
		if strings.EqualFold(mediaType(typ), mediaType(t.typ)) {
			return nil
		}
	}
	return reject(BadType, "the typ of the access token is not one of those configured for issuer %s: %s; "+
		"an ID token is not an access token", issuer.URL, strings.Join(issuer.Types, ", "))
}

// mediaType leaves out the prefix that a typ may or may not have (RFC 7515, section 4.1.9).
func mediaType(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) && !strings.Contains(typ[len(prefix):], "/") {
		return typ[len(prefix):]
	}
	return typ
}

// checkSignature checks the signature with those of the keys that have the token's kid and fit its
// algorithm, and with no others.
func (t token) checkSignature(issuer law.Issuer, keys *keySet) error {
	candidates := keys.fitting(t.kid, t.alg)
	if len(candidates) == 0 {
		return reject(UnknownKey, "issuer %s has no key for the kid and alg of the %s; get a new token", issuer.URL, t.use)
	}
	bad := reject(BadSignature, "the signature of the %s is not by issuer %s; get a new token", t.use, issuer.URL)
	jws, err := jose.ParseSignedCompact(t.compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(t.alg)})
	if err != nil { // not passed on: it may quote the token
		return bad
	}
	for _, key := range candidates {
		// What was verified must be what was parsed.
		if payload, err := jws.Verify(key); err == nil && bytes.Equal(payload, t.payload) {
			return nil
		}
	}
	return bad
}

// text returns a JSON string. Anything else, null and absent too, is none.
func text(v jsontext.Value) (string, bool) {
	var s string
	if v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
		return "", false
	}
	return s, true
}

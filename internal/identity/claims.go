package identity

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/internal/law"
)

const (
	maxSub   = 255 // bytes; OpenID Connect Core 1.0, section 2
	maxClaim = 1 << 10
	leeway   = time.Minute  // for clocks that are ahead of ours
	lastDate = 253402300799 // the end of the year 9999, in seconds
)

type claimSet = map[string]jsontext.Value

// read checks the claims of a token whose signature is good and keeps what is needed of them. For whom the token
// was made is checked by who calls.
func (v *verified) read(claims claimSet, as use, development bool, now time.Time) error {
	if !development && string(claims["development"]) == "true" {
		return reject(DevelopmentToken, "this is a token of a development identity provider; the server is not in development mode")
	}
	var err error
	if v.times, err = readTimes(claims, as); err != nil {
		return err
	}
	if err := v.times.check(now); err != nil {
		return err
	}
	sub, ok := text(claims["sub"])
	if !ok || sub == "" || len(sub) > maxSub || !safe(sub) {
		return reject(BadClaim, "sub must be 1 to %d bytes of text that can be shown safely", maxSub)
	}
	v.sub = sub
	v.text = map[string]string{}
	for name, value := range claims {
		if s, ok := text(value); ok {
			v.text[name] = s
		}
	}
	return v.capture(claims)
}

// checkAudience checks that the token was made for this server. A token for several audiences can be used
// against us by each of the others, so it must also name one of ours as the party it was issued to (azp,
// OpenID Connect Core 1.0 section 3.1.3.7). With a single audience azp says nothing here: Microsoft Entra ID
// puts the client there, GitHub and GitLab have none.
func checkAudience(claims claimSet, issuer law.Issuer) error {
	audiences, err := readAudiences(claims)
	if err != nil {
		return err
	}
	ours := func(s string) bool { return slices.Contains(issuer.Audiences, s) }
	if !slices.ContainsFunc(audiences, ours) {
		return reject(BadAudience, "the access token is not for this server; ask issuer %s for one with the audience %s",
			issuer.URL, strings.Join(issuer.Audiences, " or "))
	}
	if azp, ok := text(claims["azp"]); len(audiences) > 1 && (!ok || !ours(azp)) {
		return reject(BadAudience, "the access token is for %d audiences and its azp is none of ours; ask issuer %s for one with a single audience",
			len(audiences), issuer.URL)
	}
	return nil
}

func readAudiences(claims claimSet) ([]string, error) {
	if one, ok := text(claims["aud"]); ok {
		return []string{one}, nil
	}
	audiences, ok := texts(claims["aud"])
	if !ok {
		return nil, reject(BadAudience, "aud must be a string or a list of strings")
	}
	return audiences, nil
}

// texts returns a JSON list of strings. Anything else is none.
func texts(value jsontext.Value) ([]string, bool) {
	var list []jsontext.Value
	if value.Kind() != '[' || json.Unmarshal(value, &list) != nil {
		return nil, false
	}
	var out []string
	for _, value := range list {
		one, ok := text(value)
		if !ok {
			return nil, false
		}
		out = append(out, one)
	}
	return out, true
}

// times are the claims exp, nbf and iat (RFC 7519, section 4.1). Zero: not in the token.
type times struct {
	use                        use
	expires, notBefore, issued time.Time
}

func readTimes(claims claimSet, as use) (t times, err error) {
	t.use = as
	if t.expires, err = numericDate(claims, "exp"); err != nil {
		return times{}, err
	}
	if t.notBefore, err = numericDate(claims, "nbf"); err != nil {
		return times{}, err
	}
	if t.issued, err = numericDate(claims, "iat"); err != nil {
		return times{}, err
	}
	if t.expires.IsZero() {
		return times{}, reject(BadClaim, "the %s has no exp; one that is valid for ever is refused", as)
	}
	return t, nil
}

func numericDate(claims claimSet, name string) (time.Time, error) {
	value, present := claims[name]
	if !present {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(string(value), 10, 64) // refuses strings, null, fractions and exponents
	if err != nil || seconds < 1 || seconds > lastDate {
		return time.Time{}, reject(BadClaim, "%s must be a whole number of seconds since 1970", name)
	}
	return time.Unix(seconds, 0), nil
}

// check allows clocks to differ only where that cannot make a token live longer.
func (t times) check(now time.Time) error {
	switch {
	case !now.Before(t.expires):
		return reject(Expired, "the %s has expired; get a new one", t.use)
	case now.Add(leeway).Before(t.notBefore):
		return reject(NotYetValid, "the %s is not valid yet; wait, or set the clocks right", t.use)
	case now.Add(leeway).Before(t.issued):
		return reject(NotYetValid, "the %s was issued in the future; set the clocks right", t.use)
	}
	return nil
}

// capture keeps the actor and the claims that approvers will be shown. What they could misread is refused
// here, since the operation's creator is not its author.
func (v *verified) capture(claims claimSet) error {
	for _, name := range capturedNames(v.issuer) {
		value, ok := shown(claims[name])
		if !ok || len(value) > maxClaim || value != "" && !safe(value) {
			return reject(BadClaim, "claim %q is shown to approvers; it must be at most %d bytes of text that can be shown safely", name, maxClaim)
		}
		// GitLab writes null for what it does not know.
		present := len(claims[name]) > 0 && claims[name].Kind() != 'n'
		v.captured = append(v.captured, law.Claim{Name: name, Present: present, Value: value})
	}
	if v.issuer.ActorClaim == "" || !v.captured[0].Present {
		return nil
	}
	if _, isText := text(claims[v.issuer.ActorClaim]); !isText && !isInteger(v.captured[0].Value) {
		return reject(BadClaim, "claim %q names the person behind the token; it must be a string or an integer", v.issuer.ActorClaim)
	}
	v.actor = actor(v.issuer, v.captured)
	return nil
}

// actor returns who is behind a token, out of what was captured of it.
func actor(issuer law.Issuer, captured []law.Claim) string {
	if issuer.ActorClaim == "" || len(captured) == 0 || !captured[0].Present {
		return ""
	}
	return captured[0].Value
}

// capturedNames are the claims that are kept for approvers, the actor's first.
func capturedNames(issuer law.Issuer) []string {
	var names []string
	if issuer.ActorClaim != "" {
		names = append(names, issuer.ActorClaim)
	}
	for _, name := range issuer.Captured {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// shown returns the text of a claim: strings as they are, the rest as compact JSON with sorted names, and
// with numbers as they were written, since the canonical form of RFC 8785 would round them.
func shown(value jsontext.Value) (string, bool) {
	switch value.Kind() {
	case 0, 'n':
		return "", true
	case '"':
		return text(value)
	}
	out := value.Clone()
	err := out.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	return string(out), err == nil
}

func isInteger(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == s
}

// safe says whether text can be shown to people in one line without deceiving them.
func safe(s string) bool {
	return !strings.Contains(s, "\n") && law.CheckText(s, maxClaim) == nil
}

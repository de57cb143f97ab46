package identity

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"maps"
	"slices"
	"time"

	"example.org/keyserver/internal/law"
)

const (
	maxSignedIn = 2560 // bytes of JSON, so that it fits into a cookie when it is sealed
	maxName     = 200
	maxMethods  = 10 // of authentication
	maxMethod   = 100
)

// SignedIn is what is kept of a person who signed in with a browser. It is plain data for where nobody but the server
// can read or change it: whoever can write one is whom they like. The zero SignedIn is nobody.
type SignedIn struct {
	Issuer   string            `json:"issuer"`
	Sub      string            `json:"sub"`
	Claims   map[string]string `json:"claims"`             // those that identities of the issuer name, and sub
	Captured []law.Claim       `json:"captured,omitempty"` // as [law.Caller] has them
	At       time.Time         `json:"at"`                 // when the person signed in, never later than the server's now
	Told     bool              `json:"told,omitempty"`     // the issuer says so; else At is when the token was made, for which nobody may have been asked anything
	ACR      string            `json:"acr,omitempty"`      // how well they did, in the issuer's words
	AMR      []string          `json:"amr,omitempty"`      // and by which means (RFC 8176)
	Name     string            `json:"name,omitempty"`     // by which the issuer calls them; to be shown, and nothing else
}

// read checks an ID token and keeps what is needed of it.
func (s *SignIns) read(ctx context.Context, f law.Facts, issuer law.Issuer, p Pending, compact string) (SignedIn, error) {
	if err := checkSize(compact, idToken); err != nil {
		return SignedIn{}, err
	}
	now := s.auth.now() // the answer may have been long in coming
	t, err := parse(compact, idToken)
	if err != nil {
		return SignedIn{}, err
	}
	if iss, ok := text(t.claims["iss"]); !ok || iss != issuer.URL {
		return SignedIn{}, reject(UnknownIssuer, "the ID token is not of issuer %s, where the sign-in was begun; sign in again", issuer.URL)
	}
	if _, err := s.auth.signed(ctx, t, issuer, now); err != nil {
		return SignedIn{}, err
	}
	if err := checkClient(t.claims, s.options.ClientID); err != nil {
		return SignedIn{}, err
	}
	v := &verified{issuer: issuer}
	if err := v.read(t.claims, idToken, s.auth.fetcher.development, now); err != nil {
		return SignedIn{}, err
	}
	if nonce, ok := text(t.claims["nonce"]); !ok || nonce != p.Nonce {
		return SignedIn{}, reject(BadNonce, "the ID token is not that of this sign-in: its nonce is another; sign in again")
	}
	at, err := v.signedInAt(t.claims, p, now)
	if err != nil {
		return SignedIn{}, err
	}
	return v.keep(f, t.claims, at)
}

// checkClient checks that the ID token was made for this server's pages, and for nobody else unless it says that it
// was issued to them (OpenID Connect Core 1.0, section 3.1.3.7, numbers 3 to 5).
func checkClient(claims claimSet, client string) error {
	audiences, err := readAudiences(claims)
	if err != nil {
		return err
	}
	azp, isText := text(claims["azp"])
	_, there := claims["azp"]
	if !slices.Contains(audiences, client) || there && (!isText || azp != client) || len(audiences) > 1 && !there {
		return reject(BadAudience, "the ID token is not for client %s alone; sign in again, and if it stays so tell who runs the issuer", client)
	}
	return nil
}

// signedInAt returns when the person signed in: auth_time, or the token's time if the issuer does not say.
func (v *verified) signedInAt(claims claimSet, p Pending, now time.Time) (time.Time, error) {
	at, err := numericDate(claims, "auth_time")
	switch {
	case err != nil:
		return time.Time{}, err
	case v.times.issued.IsZero():
		return time.Time{}, reject(BadClaim, "the ID token has no iat, which every ID token has")
	case v.times.issued.Before(p.Begun.Add(-leeway)): // no token can be older than the nonce in it
		return time.Time{}, reject(Expired, "the ID token is older than the sign-in; set the clocks right")
	case now.Add(leeway).Before(at):
		return time.Time{}, reject(NotYetValid, "the ID token says that you signed in in the future; set the clocks right")
	case p.Fresh && at.IsZero():
		return time.Time{}, reject(NotFresh, "issuer %s does not say when you signed in (auth_time), which is needed here; tell who runs it", v.issuer.URL)
	case p.Fresh && at.Before(p.Begun.Add(-leeway)):
		return time.Time{}, reject(NotFresh, "issuer %s did not ask you to sign in anew, which is needed here; sign out there, then sign in again", v.issuer.URL)
	case at.IsZero():
		at = v.times.issued
	}
	if now.Before(at) { // by clocks that differ: nobody gains time by it
		at = now
	}
	return at.UTC(), nil
}

// keep picks what pages need of the claims. What is only shown is left out if it could mislead.
func (v *verified) keep(f law.Facts, claims claimSet, at time.Time) (SignedIn, error) {
	s := SignedIn{Issuer: v.issuer.URL, Sub: v.sub, Claims: map[string]string{"sub": v.sub}, Captured: v.captured, At: at}
	_, s.Told = claims["auth_time"] // which is a time: signedInAt has read it
	for _, subject := range f.Subjects() {
		for _, identity := range subject.Identities {
			if identity.Issuer != v.issuer.URL {
				continue
			}
			for name := range identity.Claims {
				if value, ok := v.text[name]; ok {
					s.Claims[name] = value
				}
			}
		}
	}
	if name := v.text["name"]; len(name) <= maxName && safe(name) {
		s.Name = name
	}
	if acr := v.text["acr"]; len(acr) <= maxName && safe(acr) {
		s.ACR = acr
	}
	unsafe := func(method string) bool { return len(method) > maxMethod || !safe(method) }
	if amr, ok := texts(claims["amr"]); ok && len(amr) <= maxMethods && !slices.ContainsFunc(amr, unsafe) {
		s.AMR = amr
	}
	encoded, err := json.Marshal(s)
	if err != nil || len(encoded) > maxSignedIn {
		return SignedIn{}, reject(BadClaim, "the ID token says more than can be kept in a browser; ask an administrator to capture fewer claims of issuer %s", v.issuer.URL)
	}
	return s, nil
}

// Caller returns who a person is that signed in with a browser, by the facts as they are now: each time it is asked,
// so that a subject that is disabled or an identity that is removed acts at once. The error is an [*Error].
func (a *Authenticator) Caller(f law.Facts, s SignedIn) (law.Caller, error) {
	issuer, err := a.trusted(f, s.Issuer, "sign-in")
	if err != nil {
		return law.Caller{}, err
	}
	if s.Sub == "" {
		return law.Caller{}, reject(NoToken, "nobody has signed in; sign in")
	}
	sameName := func(c law.Claim, name string) bool { return c.Name == name }
	if !slices.EqualFunc(s.Captured, capturedNames(issuer), sameName) {
		return law.Caller{}, reject(BadClaim, "other claims of issuer %s are captured now than when you signed in; sign in again", issuer.URL)
	}
	claims := maps.Clone(s.Claims)
	if claims == nil {
		claims = map[string]string{}
	}
	claims["sub"] = s.Sub
	v := &verified{issuer: issuer, sub: s.Sub, text: claims, captured: s.Captured}
	found, err := v.only(f, f.Matching(issuer.URL, claims))
	if err != nil {
		return law.Caller{}, err
	}
	who := law.Principal{Subject: found, Issuer: issuer.URL, Sub: s.Sub}
	if subject, _ := f.Subject(found); subject.Kind != law.User {
		return law.Caller{}, &Error{Kind: NotAllowed, Reason: MachineSubject, Who: who, Sentence: fmt.Sprintf(
			"subject %s is a machine, and machines do not sign in at the pages; sign in as a person, or use the API", found)}
	}
	return law.Caller{Principal: who, Actor: actor(issuer, s.Captured), Claims: slices.Clone(s.Captured)}, nil
}

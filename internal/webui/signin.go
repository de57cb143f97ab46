package webui

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/identity"
	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

// The cookies. With the prefix __Host- a browser takes them from this very host alone, over TLS or on loopback
// (RFC 6265bis, section 4.1.3.2).
const (
	signInCookie  = "__Host-keyserver"
	pendingCookie = "__Host-keyserver-pending-" // and the beginning of the state: two tabs can sign in at once
	pendingTime   = 10 * time.Minute            // to sign in at the provider
	maxPending    = 3900                        // bytes of one, sealed: browsers keep no cookie that is longer than 4096 (RFC 6265, section 6.1)
	allPending    = 6 << 10                     // bytes of all of them: the head of a request is 16 KiB at most
	seenEvery     = time.Minute                 // how exactly it is kept when a sign-in was used last
)

// signIn is what the browser keeps, sealed, of somebody who is signed in. The times are milliseconds since 1970, UTC.
type signIn struct {
	ID    string
	Who   identity.SignedIn
	Began int64
	Seen  int64
}

func (i signIn) began() time.Time { return time.UnixMilli(i.Began) }

// principal is who signed in, whether that is a subject or not.
func (i signIn) principal() law.Caller {
	return law.Caller{Principal: law.Principal{Issuer: i.Who.Issuer, Sub: i.Who.Sub}}
}

// pending is what the browser keeps, sealed, of somebody who is signing in.
type pending struct {
	identity.Pending
	To    string // where to go then
	Fresh bool   // whether the provider must ask again
	Began int64
}

// errSignedOut is what happens without a sign-in, or with one that has ended.
var errSignedOut = errors.New("nobody is signed in")

// errStaleSignIn is what happens to a decision with a sign-in that is too old.
var errStaleSignIn = errors.New("the sign-in is too old for a decision")

// authenticate finds out who asks, by the facts of now.
func (s *server) authenticate(c *call) error {
	if c.route.access == open {
		return nil
	}
	i, ok := s.signedIn(c)
	if !ok {
		return errSignedOut
	}
	facts, ended, err := s.Keyserver.FactsFor(c.Context(), i.ID)
	if err != nil {
		return err
	}
	if ended {
		return errSignedOut
	}
	c.signIn, c.facts = &i, facts
	c.Caller.By = facts.Making()
	if c.Caller.Caller, err = s.Auth.Caller(facts, i.Who); err != nil {
		if c.Caller.Caller = i.principal(); c.route.access == leave {
			return nil
		}
		return s.refuseSignIn(c, err)
	}
	now := s.Now()
	if now.Sub(time.UnixMilli(i.Seen)) >= seenEvery && c.byHand() {
		i.Seen = now.UnixMilli()
		return s.keep(c, i)
	}
	return nil
}

// byHand says whether somebody went to this page or sent this form. What the script loads by itself is no use of a
// sign-in: a page that nobody sits at would keep it alive.
func (c *call) byHand() bool {
	to := c.Header.Get("Sec-Fetch-Dest")
	return to == "" || to == "document"
}

// signedIn returns the sign-in that the browser keeps, unless it has ended by itself.
func (s *server) signedIn(c *call) (i signIn, ok bool) {
	cookie, err := c.Cookie(signInCookie)
	if err != nil || !s.sealer.open(signInCookie, cookie.Value, &i) {
		return signIn{}, false
	}
	now := s.Now()
	return i, now.Before(i.began().Add(s.Absolute)) && now.Before(time.UnixMilli(i.Seen).Add(s.Idle))
}

func (s *server) keep(c *call, i signIn) error {
	sealed, err := s.sealer.seal(signInCookie, i)
	if err != nil {
		return err
	}
	setCookie(c, signInCookie, sealed, s.Absolute)
	return nil
}

func setCookie(c *call, name, value string, lifetime time.Duration) {
	http.SetCookie(c.out, &http.Cookie{
		Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: cmp.Or(int(lifetime.Seconds()), -1),
	})
}

// refuseSignIn answers somebody whose sign-in counts for nothing, as the API does.
func (s *server) refuseSignIn(c *call, err error) error {
	return s.Keyserver.RefuseSignIn(c.Context(), c.Caller, err, func(who string) error { return s.take(s.outside, who) })
}

// checkFresh refuses a decision with a sign-in that is too old. Nothing of it is done; signing in again comes
// back to the same page.
func (s *server) checkFresh(c *call) error {
	if a := c.route.access; a == decision || a == brake {
		if err := s.needFresh(c); err != nil {
			return err
		}
	}
	if c.form.Has("reason") {
		forgetTyped(c)
	}
	return nil
}

// needFresh refuses a sign-in that is too old for a decision, which is an event.
func (s *server) needFresh(c *call) error {
	if s.fresh(c) {
		return nil
	}
	refusal := &law.Refusal{Kind: law.Forbidden, Reason: "a decision needs a sign-in younger than " + length(s.DecisionAge) + "; sign in again"}
	var same *law.Refusal
	if err := s.Keyserver.Refused(c.Context(), c.Caller, refusal); !errors.As(err, &same) {
		return err
	}
	return errStaleSignIn
}

// age is how long ago the caller signed in; 0: the issuer does not say.
func (s *server) age(c *call) time.Duration {
	if !c.signIn.Who.Told {
		return 0
	}
	return s.Now().Sub(c.signIn.Who.At).Truncate(time.Second)
}

// fresh says whether the caller signed in recently enough to decide. Where the issuer does not say when that was, nobody
// knows: it may give out new tokens for days without asking anybody anything.
func (s *server) fresh(c *call) bool {
	return c.signIn.Who.Told && s.Now().Sub(c.signIn.Who.At) < s.DecisionAge
}

// beginSignIn sends the browser to the provider.
func beginSignIn(s *server, c *call) (view, error) {
	facts, err := s.Keyserver.Facts(c.Context())
	if err != nil {
		return view{}, err
	}
	q := c.URL.Query()
	fresh := q.Get("fresh") == "1"
	location, p, err := s.SignIns.Begin(c.Context(), facts, fresh)
	if err != nil {
		return view{}, err
	}
	kept := pending{Pending: p, To: local(q.Get("to")), Fresh: fresh, Began: s.Now().UnixMilli()}
	sealed, err := s.sealer.seal(pendingCookie, kept)
	if len(sealed) > maxPending {
		path, _, _ := strings.Cut(kept.To, "?")
		if kept.To = path; len(path) > maxPending/4 {
			kept.To = "/"
		}
		sealed, err = s.sealer.seal(pendingCookie, kept)
	}
	if err != nil {
		return view{}, err
	}
	makeRoom(c, len(sealed))
	setCookie(c, pendingCookie+p.State[:8], sealed, pendingTime)
	return view{redirect: location}, nil
}

// makeRoom forgets the oldest other sign-ins that were begun in this browser, so that all of them fit into the head of a
// request: any site can make a browser begin as many as it likes, and whose head is too long is answered nothing.
func makeRoom(c *call, size int) {
	room := allPending - size
	for _, old := range slices.Backward(c.Cookies()) { // a browser sends the oldest first (RFC 6265, section 5.4)
		if !strings.HasPrefix(old.Name, pendingCookie) {
			continue
		}
		if room -= len(old.Name) + len(old.Value); room < 0 {
			setCookie(c, old.Name, "", 0)
		}
	}
}

// local returns the path on this server that a sign-in comes back to; anything else leads to the first page.
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(u.Path, "//") ||
		strings.ContainsAny(to, "\\\r\n\t") || slices.Contains([]string{"/sign-in", "/signed-in", "/signed-out"}, u.Path) {
		return "/"
	}
	return u.RequestURI()
}

// completeSignIn takes the browser back from the provider.
func completeSignIn(s *server, c *call) (view, error) {
	q := c.URL.Query()
	p, ok := s.pendingSignIn(c, q.Get("state"))
	if !ok {
		return view{}, &keyserver.Malformed{Sentence: "this sign-in was not begun in this browser, or took longer than " + length(pendingTime) + "; begin again"}
	}
	setCookie(c, pendingCookie+p.State[:8], "", 0)
	facts, err := s.Keyserver.Facts(c.Context())
	if err != nil {
		return view{}, err
	}
	who, err := s.SignIns.Complete(c.Context(), facts, p.Pending, q)
	if err != nil {
		return view{}, s.refuseSignIn(c, err)
	}
	now := s.Now()
	i := signIn{ID: s.NewRequestID(), Who: who, Began: now.UnixMilli(), Seen: now.UnixMilli()}
	if err := s.record(c, &i); err != nil {
		return view{}, err
	}
	if old, ok := s.signedIn(c); ok { // it is replaced: nobody shall have two
		if err := s.end(c, old); err != nil {
			return view{}, err
		}
	}
	return view{redirect: p.To}, s.keep(c, i)
}

// record makes the sign-in an event, of the subject whose it is by the facts of then.
func (s *server) record(c *call, i *signIn) error {
	for range tries {
		facts, err := s.Keyserver.Facts(c.Context())
		if err != nil {
			return err
		}
		if c.Caller.Caller, err = s.Auth.Caller(facts, i.Who); err != nil {
			return s.refuseSignIn(c, err)
		}
		c.Caller.By = facts.Making()
		err = s.Keyserver.SignedIn(c.Context(), c.Caller, keyserver.SignIn{ID: i.ID, At: i.Who.At, ACR: i.Who.ACR, AMR: i.Who.AMR})
		if !errors.Is(err, keyserver.ErrStale) {
			return err
		}
		i.ID = s.NewRequestID()
	}
	return &keyserver.Unavailable{Kind: "busy", Sentence: "the configuration is being changed; sign in again", RetryAfter: time.Second, Err: keyserver.ErrStale}
}

// tries is how often somebody is looked up again because the configuration changed in between.
const tries = 3

func (s *server) pendingSignIn(c *call, state string) (p pending, ok bool) {
	if len(state) < 8 {
		return pending{}, false
	}
	cookie, err := c.Cookie(pendingCookie + state[:8])
	if err != nil || !s.sealer.open(pendingCookie, cookie.Value, &p) || p.State != state {
		return pending{}, false
	}
	return p, s.Now().Before(time.UnixMilli(p.Began).Add(pendingTime))
}

// end ends a sign-in on every server, for the one whom it is of.
func (s *server) end(c *call, i signIn) error {
	who := c.Caller
	who.Caller = i.principal()
	return s.Keyserver.SignOut(c.Context(), who, i.ID, i.began().Add(s.Absolute))
}

func signOut(s *server, c *call) (view, error) {
	setCookie(c, signInCookie, "", 0)
	forgetTyped(c)
	return view{redirect: "/signed-out"}, s.Keyserver.SignOut(c.Context(), c.Caller, c.signIn.ID, c.signIn.began().Add(s.Absolute))
}

func showSignedOut(*server, *call) (view, error) {
	return view{page: "signedout", title: "Signed out"}, nil
}

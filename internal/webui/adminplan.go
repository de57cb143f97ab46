package webui

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/policy"
)

// itemsShown is how many objects of a difference one page shows.
const itemsShown = 500

// differing is a difference as it is shown.
type differing struct {
	Items []changedItem
	Total int
	First int    // number of the first one that is shown
	Last  int    // and of the last one
	Next  string // address of the page with the next ones
	Start string // address of the page with the first ones, if this is another
}

// changedItem is what becomes of one object.
type changedItem struct {
	policy.Item
	Sign  string // +, ~ or -
	What  string // "new role"
	Lines []changedLine
}

// changedLine is one line of what changes; Class says whether it only adds or only removes.
type changedLine struct{ Class, Text string }

// difference shows the items from there on.
func difference(all []policy.Item, from int) differing {
	from = max(0, min(from, len(all)))
	page := all[from:min(len(all), from+itemsShown)]
	d := differing{Total: len(all), First: from + 1, Last: from + len(page)}
	for _, i := range page {
		item := changedItem{Item: i, Sign: "~", What: "changed " + i.Kind}
		switch i.Change {
		case policy.Add:
			item.Sign, item.What = "+", "new "+i.Kind
		case policy.Remove:
			item.Sign, item.What = "-", i.Kind+" removed"
		}
		for _, l := range i.Lines {
			item.Lines = append(item.Lines, changedLine{lineClass(l), l})
		}
		d.Items = append(d.Items, item)
	}
	return d
}

func lineClass(line string) string {
	switch {
	case strings.HasPrefix(line, "+ "):
		return policy.Add
	case strings.HasPrefix(line, "- "):
		return policy.Remove
	}
	return policy.Change
}

// openingPage is the form that opens an administration session, with what was typed so far.
type openingPage struct {
	Open        offer
	Description string
	Policy      string
	Present     bool // the text was filled in from the present policy
	Problems    []policyProblem
	Refused     string
	Compared    bool // the difference was asked for
	Difference  differing
	Faults      []string // why the change would be refused
	Needed      int      // administrators who must authorise it
	Active      time.Duration
	Fresh       bool
	Age         time.Duration
	Again       string
}

// policyProblem is something that is wrong with the text of a policy, with the line that it is about.
type policyProblem struct{ Sentence, Line string }

func showOpening(s *server, c *call) (view, error) {
	q := c.URL.Query()
	p := s.opening(c, q.Get("description"), "")
	if q.Get("from") == "present" {
		text, err := s.presentPolicy(c)
		if err != nil {
			return view{}, err
		}
		p.Policy, p.Present = text, true
	}
	return openingView(p), nil
}

// opening is the form with what was typed.
func (s *server) opening(c *call, description, policy string) *openingPage {
	a := c.facts.Administration()
	p := &openingPage{
		Open: s.mayOpen(c), Description: description, Policy: policy, Needed: a.Administrators, Active: a.Active,
		Fresh: s.fresh(c), Age: s.age(c),
	}
	back := "/administration/open"
	if description != "" && len(description) <= law.MaxDescription {
		back += "?" + url.Values{"description": {description}}.Encode()
	}
	p.Again = "/sign-in?" + url.Values{"to": {back}, "fresh": {"1"}}.Encode()
	return p
}

func openingView(p *openingPage) view {
	return view{page: "opening", title: "Open an administration session", section: "administration", data: p}
}

// typed is what was typed into the form, with the line ends that policies have.
func (s *server) typed(c *call) *openingPage {
	return s.opening(c, text(c.form.Get("description")), strings.ReplaceAll(c.form.Get("policy"), "\r\n", "\n"))
}

// wanted reads the policy that was typed, nil if none was. Whoever may not ask is told that instead of its faults. It
// is not ok if the page says what is wrong.
func (s *server) wanted(c *call, p *openingPage) (wanted *law.Configuration, ok bool, err error) {
	if strings.TrimSpace(p.Policy) == "" {
		return nil, true, nil
	}
	read, fault := policy.Parse([]byte(p.Policy))
	if fault == nil {
		return &read, true, nil
	}
	if err := c.facts.ReadConfiguration(c.Caller.Subject); err != nil {
		return nil, false, s.forbid(c, err.Error())
	}
	p.Problems = problemsIn(p.Policy, fault)
	return nil, false, nil
}

var faultLine = regexp.MustCompile(`^line (\d+)\b`)

// problemsIn says what is wrong with the text of a policy, and repeats the lines that it is about.
func problemsIn(text string, fault error) []policyProblem {
	const longest = 120
	lines := strings.Split(text, "\n")
	var all []policyProblem
	for said := range strings.SplitSeq(fault.Error(), "\n") {
		p := policyProblem{Sentence: sentence(said)}
		if m := faultLine.FindStringSubmatch(said); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil && n >= 1 && n <= len(lines) {
				line := []rune(strings.ToValidUTF8(lines[n-1], "\uFFFD"))
				p.Line = string(line[:min(len(line), longest)])
			}
		}
		all = append(all, p)
	}
	return all
}

// previewSession shows what a session with this policy would change, before it is opened.
func previewSession(s *server, c *call) (view, error) {
	p := s.typed(c)
	v := openingView(p)
	wanted, ok, err := s.wanted(c, p)
	switch {
	case err != nil:
		return view{}, err
	case !ok:
		v.status = http.StatusUnprocessableEntity
		return v, nil
	case wanted == nil:
		p.Compared = true
		return v, nil
	}
	d, err := s.Keyserver.Difference(c.Context(), c.Caller, *wanted)
	if err != nil {
		return view{}, err
	}
	p.Compared, p.Difference = true, difference(policy.Describe(d.Changes, d.Before), 0)
	for _, f := range d.Faults {
		p.Faults = append(p.Faults, sentence(f))
	}
	return v, nil
}

// openSession opens a session. What was typed stays in the form if it is refused.
func openSession(s *server, c *call) (view, error) {
	p := s.typed(c)
	v := openingView(p)
	if err := s.needFresh(c); err != nil {
		if err != errStaleSignIn {
			return view{}, err
		}
		v.status, p.Refused = http.StatusForbidden, "Nothing was done. Opening a session authorises it, which needs a sign-in younger than "+length(s.DecisionAge)+"."
		return v, nil
	}
	wanted, ok, err := s.wanted(c, p)
	switch {
	case err != nil:
		return view{}, err
	case !ok:
		v.status = http.StatusUnprocessableEntity
		return v, nil
	}
	opened, err := s.Keyserver.OpenSession(c.Context(), c.Caller, keyserver.OpenSessionRequest{Description: p.Description, Policy: wanted})
	if _, ok := refusal(err); ok {
		t := s.Translate(err)
		v.status, p.Refused = t.Kind().Status(), sentence(t.Detail)
		return v, nil
	}
	if err != nil {
		return view{}, err
	}
	return view{redirect: sessionAddress(opened.ID) + "?did=opened"}, nil
}

func sessionAddress(id law.SessionID) string {
	return "/administration/sessions/" + url.PathEscape(string(id))
}

type sessionPage struct {
	keyserver.Session
	Now        time.Time
	Opener     law.Subject
	Missing    int
	Counts     []sessionAuthorisation
	Difference differing
	Applied    bool   // its plan was made
	Next       string // what the session waits for
	Said       []string
	Refused    string
	Fresh      bool
	Age        time.Duration
	Again      string
	Authorise  offer
	Withdraw   offer
	Apply      offer
	Close      offer
}

// sessionAuthorisation is an administrator's yes, and whether it counts now.
type sessionAuthorisation struct {
	law.Authorisation
	Counted bool
}

func showSession(s *server, c *call) (view, error) { return s.sessionView(c, nil) }

// sessionView is the page of the session that the path names, after what was tried on it was refused, if it was.
func (s *server) sessionView(c *call, refused error) (view, error) {
	found, err := s.Keyserver.Session(c.Context(), c.Caller, law.SessionID(c.PathValue("session")))
	if err != nil {
		return view{}, err
	}
	p := &sessionPage{
		Session: found, Now: s.Now(), Missing: max(0, found.Needed-len(found.Counted)),
		Fresh: s.fresh(c), Age: s.age(c), Again: signInAgain(c, true),
	}
	p.Opener, _ = c.facts.Subject(found.OpenedBy.Subject)
	p.Applied = found.State == law.SessionClosed && found.Plan != nil && found.Ending.Reason != closedByHand
	for _, a := range found.Authorisations {
		p.Counts = append(p.Counts, sessionAuthorisation{a, a.Stands() && slices.Contains(found.Counted, a.By)})
	}
	if found.Plan != nil {
		from, _ := strconv.Atoi(c.URL.Query().Get("from")) // anything else is the beginning
		p.Difference = difference(policy.Describe(*found.Plan, found.Before), from)
		if p.Difference.Last < p.Difference.Total {
			p.Difference.Next = fmt.Sprintf("%s?from=%d", sessionAddress(found.ID), p.Difference.Last)
		}
		if p.Difference.First > 1 {
			p.Difference.Start = sessionAddress(found.ID)
		}
	}
	p.Next = sessionNext(c, found)
	s.sessionOffers(c, p)
	p.Said = sessionSaid(c.URL.Query().Get("did"), p)
	v := view{page: "session", title: shown(found.Description), section: "administration", data: p}
	if refused == nil { // else the address is that of a form, where the script finds no page
		v.live = fmt.Sprintf("/live/sessions/%s?shown=%s", url.PathEscape(string(found.ID)), sessionSum(c, found))
	} else {
		t := s.Translate(refused)
		v.status, p.Refused = t.Kind().Status(), sentence(t.Detail)
	}
	return v, nil
}

// sessionOffers asks the law what each decision would do. It decides nothing: what is sent is judged again.
func (s *server) sessionOffers(c *call, p *sessionPage) {
	if p.State.Final() {
		return
	}
	l, who, now, at := p.Session.Session, c.Caller.Subject, p.Now, sessionAddress(p.ID)
	out, err := l.Authorise(who, p.Digest, c.facts, now)
	p.Authorise = offered(at+"/authorise", err)
	if err == nil {
		p.Authorise.Does = authorisationDoes(c, p, out.Session, now)
	}
	_, err = l.Withdraw(who, c.facts, now)
	p.Withdraw = offered(at+"/withdraw", err)
	p.Withdraw.Does = "You take your authorisation back. The session stays, inactive, and you can authorise it again."
	if p.Plan != nil {
		_, err = l.Act(who, c.facts, now)
		p.Apply = offered(at+"/apply", err)
		p.Apply.Does = "The configuration changes as the plan says, all of it or nothing, and open operations are judged anew. The session is closed by it."
	}
	_, err = l.Close(who, c.facts, now)
	p.Close = offered(at+"/close", err)
	p.Close.Does = "The session ends for good, and nothing more can be changed in it."
	if p.Plan != nil {
		p.Close.Does = "The session ends for good, and its plan is not applied."
	}
}

// authorisationDoes says what the caller's authorisation would change.
func authorisationDoes(c *call, p *sessionPage, after law.Session, now time.Time) string {
	does := "The session has no plan: you let whoever authorised it change anything, with ks admin, until it ends."
	if p.Plan != nil {
		does = "You say yes to " + count(p.Difference.Total, "change") + ", all that the plan makes, and to nothing else."
	}
	if after.State(c.facts, now) == law.SessionActive {
		rest := "for " + length(after.Active)
		if !p.Activated.IsZero() { // it was active before, and its time has run since
			rest = "for the " + left(after.Ends().Sub(now)) + " that are left of it"
		}
		return does + fmt.Sprintf(" With it %d of %d administrators have authorised it: the session is active at once, %s.", len(after.Counted(c.facts)), after.Needed(c.facts), rest)
	}
	return does + " After it the session needs " + count(after.Needed(c.facts)-len(after.Counted(c.facts)), "more authorisation") + ". Nothing changes before."
}

// sessionNext says what the session waits for, and who can give it.
func sessionNext(c *call, p keyserver.Session) string {
	switch {
	case p.State == law.SessionActive && p.Plan != nil:
		return "It is active: " + either(p.Counted) + " can apply the plan until it ends."
	case p.State == law.SessionActive:
		return "It is active: " + either(p.Counted) + " can change the configuration, with ks admin, until it ends."
	case p.State != law.SessionInactive:
		return ""
	}
	n := p.Needed - len(p.Counted)
	can := slices.DeleteFunc(administrators(c.facts), func(a law.SubjectID) bool { return slices.Contains(p.Counted, a) })
	switch {
	case len(can) < n && len(can) == 0:
		return fmt.Sprintf("It needs %s, and nobody can give any: there are too few enabled administrators.", count(n, "more authorisation"))
	case len(can) < n:
		return fmt.Sprintf("It needs %s, and only %s can give any.", count(n, "more authorisation"), count(len(can), "person", "people"))
	case n == 1:
		return "It needs 1 more authorisation; " + either(can) + " can give it."
	}
	return fmt.Sprintf("It needs %d more authorisations; %s can give them.", n, either(can))
}

// closedByHand is the reason with which the law ends a session that somebody closes.
const closedByHand = "closed by hand"

// sessionSaid is what the page says of what was just done.
func sessionSaid(did string, p *sessionPage) []string {
	switch {
	case did == "opened" && !p.State.Final():
		return []string{"The session is open, and you have authorised it by opening it.", p.Next}
	case did == "authorised" && p.Withdraw.Action != "", did == "authorised" && p.State == law.SessionActive:
		return []string{"You have authorised it.", p.Next}
	case did == "withdrawn" && p.Authorise.Action != "":
		return []string{"You have withdrawn your authorisation.", p.Next}
	case did == "applied" && p.Applied:
		return []string{"The plan has been applied: the configuration is what it says, and the session is closed."}
	case did == "closed" && p.State == law.SessionClosed:
		return []string{"The session is closed. Nothing more can be changed in it."}
	}
	return nil
}

// decideSession does what a form asks for, and leads back to the session.
func (s *server) decideSession(c *call, did string, do func(law.SessionID) (keyserver.Session, error)) (view, error) {
	after, err := do(law.SessionID(c.PathValue("session")))
	if r, ok := refusal(err); ok && r.Kind != law.NotFound {
		return s.sessionView(c, err)
	}
	if err != nil {
		return view{}, err
	}
	return view{redirect: sessionAddress(after.ID) + "?did=" + did}, nil
}

func authoriseSession(s *server, c *call) (view, error) {
	return s.decideSession(c, "authorised", func(id law.SessionID) (keyserver.Session, error) {
		return s.Keyserver.AuthoriseSession(c.Context(), c.Caller, id, law.Digest(c.form.Get("digest")))
	})
}

func withdrawAuthorisation(s *server, c *call) (view, error) {
	return s.decideSession(c, "withdrawn", func(id law.SessionID) (keyserver.Session, error) {
		return s.Keyserver.WithdrawAuthorisation(c.Context(), c.Caller, id)
	})
}

func applyPlan(s *server, c *call) (view, error) {
	return s.decideSession(c, "applied", func(id law.SessionID) (keyserver.Session, error) {
		return s.Keyserver.ApplyPlan(c.Context(), c.Caller, id)
	})
}

func closeSession(s *server, c *call) (view, error) {
	return s.decideSession(c, "closed", func(id law.SessionID) (keyserver.Session, error) {
		return s.Keyserver.CloseSession(c.Context(), c.Caller, id)
	})
}

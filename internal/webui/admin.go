package webui

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/limits"
	"example.org/keyserver/internal/policy"
)

const (
	sessionsShown = 50
	subjectsShown = 100
	rolesShown    = 50
	membersShown  = 20        // of one role, in the list of all
	policyShown   = 256 << 10 // bytes; the rest is in the file
)

// policies bounds how many policies are read or written at the same time: one can name thousands of subjects.
func policies(s *server) *limits.Crowd { return s.policies }

// amendments bounds how many plans are applied at the same time.
func amendments(s *server) *limits.Crowd { return s.amendments }

// adminRoutes are the pages of administration. Opening a session authorises it too, so it needs a recent sign-in as
// authorising does; openSession checks that itself, since a refusal there must not lose the policy that was typed.
func adminRoutes() []*route {
	const session, subject = "/administration/sessions/{session}", "/administration/subjects/{subject}"
	return []*route{
		{pattern: "GET /administration", serve: showSessions, crowd: lists},
		{pattern: "GET /administration/open", serve: showOpening, crowd: policies},
		{pattern: "POST /administration/preview", serve: previewSession, fields: []string{"description", "policy"}, large: true, crowd: policies},
		{pattern: "POST /administration/sessions", serve: openSession, fields: []string{"description", "policy"}, large: true, crowd: policies},
		{pattern: "GET " + session, serve: showSession, crowd: lists},
		{pattern: "POST " + session + "/authorise", access: decision, serve: authoriseSession, fields: []string{"digest"}},
		{pattern: "POST " + session + "/withdraw", access: undo, serve: withdrawAuthorisation},
		{pattern: "POST " + session + "/apply", access: decision, serve: applyPlan, crowd: amendments},
		{pattern: "POST " + session + "/close", access: undo, serve: closeSession},
		{pattern: "GET /administration/subjects", serve: showSubjects, crowd: lists},
		{pattern: "GET " + subject, serve: showSubject, crowd: lists},
		{pattern: "POST " + subject + "/disable", access: brake, serve: disableSubject, fields: []string{"reason"}},
		{pattern: "GET /administration/roles", serve: showRoles, crowd: lists},
		{pattern: "GET /administration/policy", serve: showPolicy, crowd: policies},
		{pattern: "GET /administration/policy.yaml", serve: savePolicy, crowd: policies},
	}
}

type sessionsPage struct {
	Sessions []sessionLine
	States   []law.SessionState
	State    law.SessionState
	Open     offer
	Sees     bool   // sessions exist for the caller
	Next     string // address of the next page
	Earlier  bool   // this is not the first page
}

// sessionLine is an administration session in a list.
type sessionLine struct {
	keyserver.Session
	Opener law.Subject
}

var sessionStates = []law.SessionState{law.SessionInactive, law.SessionActive, law.SessionClosed, law.SessionExpired}

func showSessions(s *server, c *call) (view, error) {
	q := c.URL.Query()
	p := sessionsPage{States: sessionStates, State: law.SessionState(q.Get("state")), Open: s.mayOpen(c), Sees: c.facts.SeesSessions(c.Caller.Subject), Earlier: q.Get("from") != ""}
	if p.State != "" && !slices.Contains(sessionStates, p.State) {
		return view{}, &keyserver.Malformed{Sentence: fmt.Sprintf("no session is ever %q; choose one of the states in the list", shown(p.State))}
	}
	page, err := s.Keyserver.Sessions(c.Context(), c.Caller, keyserver.SessionFilter{
		State: p.State, Page: keyserver.Page{Limit: sessionsShown, Cursor: q.Get("from")},
	})
	if err != nil {
		return view{}, err
	}
	for _, each := range page.Sessions {
		line := sessionLine{Session: each}
		line.Opener, _ = c.facts.Subject(each.OpenedBy.Subject)
		p.Sessions = append(p.Sessions, line)
	}
	p.Next = nextPage(c, page.Next)
	return view{page: "administration", title: "Administration", section: "administration", data: p}, nil
}

// mayOpen asks the law whether the caller may open an administration session.
func (s *server) mayOpen(c *call) offer {
	_, err := law.OpenSession(c.Caller.Principal, law.SessionAsk{Description: "a session"}, c.facts, s.Now())
	return offered("/administration/open", err)
}

// nextPage is the address of this list from there on, empty at its end.
func nextPage(c *call, from string) string {
	if from == "" {
		return ""
	}
	q := url.Values{}
	for name, values := range c.URL.Query() {
		if len(values) > 0 && values[0] != "" {
			q.Set(name, values[0])
		}
	}
	q.Set("from", from)
	return c.URL.Path + "?" + q.Encode()
}

// pageFrom is one page of a list that is ordered by id, and the id that the next one begins with, empty at the end.
func pageFrom[T any, ID ~string](all []T, id func(T) ID, from string, limit int) (page []T, next string) {
	start, _ := slices.BinarySearchFunc(all, from, func(t T, from string) int { return strings.Compare(string(id(t)), from) })
	all = all[start:]
	if len(all) <= limit {
		return all, ""
	}
	return all[:limit], string(id(all[limit]))
}

type subjectsPage struct {
	Subjects []subjectLine
	Total    int // that fit the filter
	Text     string
	State    string // "", enabled or disabled
	Role     law.RoleID
	Next     string
	Earlier  bool
}

// subjectLine is a subject with what it can do and how it signs in.
type subjectLine struct {
	law.Subject
	Roles   []law.Role
	Sign    []wayIn
	Address string // of its page
}

// wayIn is one way to sign in.
type wayIn struct{ Issuer, Claims string }

func showSubjects(s *server, c *call) (view, error) {
	all, err := s.Keyserver.Subjects(c.Context(), c.Caller)
	if err != nil {
		return view{}, err
	}
	q := c.URL.Query()
	p := subjectsPage{Text: strings.TrimSpace(q.Get("q")), State: q.Get("state"), Role: law.RoleID(q.Get("role")), Earlier: q.Get("from") != ""}
	roles := rolesOf(c.facts)
	all = slices.DeleteFunc(all, func(each law.Subject) bool { return !p.fits(each, roles[each.ID]) })
	p.Total = len(all)
	page, next := pageFrom(all, func(each law.Subject) law.SubjectID { return each.ID }, q.Get("from"), subjectsShown)
	for _, each := range page {
		p.Subjects = append(p.Subjects, lineOf(each, roles[each.ID]))
	}
	p.Next = nextPage(c, next)
	return view{page: "subjects", title: "Subjects", section: "administration", data: p}, nil
}

// fits says whether a subject is one of those that are looked for.
func (p subjectsPage) fits(each law.Subject, roles []law.Role) bool {
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(p.Text)) }
	switch {
	case p.State == "enabled" && !each.Enabled, p.State == "disabled" && each.Enabled:
		return false
	case p.Role != "" && !slices.ContainsFunc(roles, func(r law.Role) bool { return r.ID == p.Role }):
		return false
	}
	return p.Text == "" || has(string(each.ID)) || has(each.Name) || has(string(each.Kind)) ||
		slices.ContainsFunc(each.Identities, func(i law.Identity) bool { return has(i.Issuer) || has(claimsOf(i)) }) ||
		slices.ContainsFunc(roles, func(r law.Role) bool { return has(string(r.ID)) })
}

// rolesOf says which roles each subject has.
func rolesOf(f law.Facts) map[law.SubjectID][]law.Role {
	of := map[law.SubjectID][]law.Role{}
	for _, r := range f.Roles() {
		for _, m := range r.Members {
			of[m] = append(of[m], r)
		}
	}
	return of
}

func lineOf(each law.Subject, roles []law.Role) subjectLine {
	l := subjectLine{Subject: each, Roles: roles, Address: "/administration/subjects/" + url.PathEscape(string(each.ID))}
	for _, i := range each.Identities {
		l.Sign = append(l.Sign, wayIn{i.Issuer, claimsOf(i)})
	}
	return l
}

// claimsOf says which claims an identity must have: "sub = 7f3c, tenant = a or b".
func claimsOf(i law.Identity) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(i.Claims)) {
		parts = append(parts, name+" = "+strings.Join(i.Claims[name], " or "))
	}
	return strings.Join(parts, ", ")
}

type subjectPage struct {
	subjectLine
	Disable offer
	Notes   []string // what a careful person would think of before
	Said    []string
	Refused string
	Fresh   bool
	Again   string
}

func showSubject(s *server, c *call) (view, error) { return s.subjectView(c, nil) }

// subjectView is the page of the subject that the path names, after what was tried on it was refused, if it was.
func (s *server) subjectView(c *call, refused error) (view, error) {
	roles, err := s.Keyserver.Roles(c.Context(), c.Caller) // which refuses those who may not read the configuration
	if err != nil {
		return view{}, err
	}
	id := law.SubjectID(c.PathValue("subject"))
	subject, known := c.facts.Subject(id)
	if !known {
		return view{}, &law.Refusal{Kind: law.NotFound, Reason: "there is no such subject"}
	}
	roles = slices.DeleteFunc(roles, func(r law.Role) bool { return !slices.Contains(r.Members, id) })
	p := subjectPage{subjectLine: lineOf(subject, roles), Fresh: s.fresh(c), Again: signInAgain(c, true)}
	if subject.Enabled {
		_, err = c.facts.DisableSubject(c.Caller.Subject, id)
		p.Disable = offered(p.Address+"/disable", err)
		p.Disable.Does = shown(subject.Name) + " can do nothing any more, at once: sign-ins, tokens, approvals that were given and operations that were asked for stop counting. Enabling again takes an administration session."
		p.Disable.Reason = s.typedBefore(c, p.Address+"/disable")
		if refused != nil {
			p.Disable.Reason = c.reason()
		}
		p.Notes = disablingNotes(c, id)
	} else if c.URL.Query().Get("did") == "disabled" {
		p.Said = []string{shown(subject.Name) + " is disabled. Open operations have been judged anew."}
	}
	v := view{page: "subject", title: shown(subject.Name), section: "administration", data: &p}
	if refused != nil {
		t := s.Translate(refused)
		v.status, p.Refused = t.Kind().Status(), sentence(t.Detail)
	}
	return v, nil
}

// disablingNotes say what disabling a subject would make hard to undo.
func disablingNotes(c *call, id law.SubjectID) []string {
	var notes []string
	if id == c.Caller.Subject {
		notes = append(notes, "This is you: you would be locked out yourself.")
	}
	rest := slices.DeleteFunc(administrators(c.facts), func(a law.SubjectID) bool { return a == id })
	needed := c.facts.Administration().Administrators
	if c.facts.Holds(id, law.Administrator, "") && len(rest) < needed {
		notes = append(notes, fmt.Sprintf("Only %s would be left, and an administration session needs %d: nobody could enable anybody again.", count(len(rest), "enabled administrator"), needed))
	}
	return notes
}

// administrators are those who can authorise an administration session now.
func administrators(f law.Facts) []law.SubjectID {
	var all []law.SubjectID
	for _, r := range f.Roles() {
		for _, m := range r.Members {
			if r.Kind == law.Administrator && f.Holds(m, law.Administrator, "") && !slices.Contains(all, m) {
				all = append(all, m)
			}
		}
	}
	return all
}

func disableSubject(s *server, c *call) (view, error) {
	subject, err := s.Keyserver.DisableSubject(c.Context(), c.Caller, law.SubjectID(c.PathValue("subject")), c.reason())
	if r, ok := refusal(err); ok && r.Kind != law.NotFound && c.facts.ReadConfiguration(c.Caller.Subject) == nil {
		return s.subjectView(c, err)
	}
	if err != nil {
		return view{}, err
	}
	return view{redirect: "/administration/subjects/" + url.PathEscape(string(subject.ID)) + "?did=disabled"}, nil
}

type rolesPage struct {
	Roles   []roleLine
	Next    string
	Earlier bool
}

// roleLine is a role with the members that are shown, and how many more it has.
type roleLine struct {
	law.Role
	Shown []law.Subject
	More  int
}

func showRoles(s *server, c *call) (view, error) {
	all, err := s.Keyserver.Roles(c.Context(), c.Caller)
	if err != nil {
		return view{}, err
	}
	from := c.URL.Query().Get("from")
	page, next := pageFrom(all, func(r law.Role) law.RoleID { return r.ID }, from, rolesShown)
	p := rolesPage{Next: nextPage(c, next), Earlier: from != ""}
	for _, r := range page {
		l := roleLine{Role: r, More: max(0, len(r.Members)-membersShown)}
		for _, m := range r.Members[:len(r.Members)-l.More] {
			if subject, known := c.facts.Subject(m); known {
				l.Shown = append(l.Shown, subject)
			}
		}
		p.Roles = append(p.Roles, l)
	}
	return view{page: "roles", title: "Roles", section: "administration", data: p}, nil
}

type policyPage struct {
	Text  string
	Bytes int64
	Cut   bool // the text is longer
	Open  offer
}

func showPolicy(s *server, c *call) (view, error) {
	text, err := s.presentPolicy(c)
	if err != nil {
		return view{}, err
	}
	p := policyPage{Text: text, Bytes: int64(len(text)), Open: s.mayOpen(c)}
	if len(text) > policyShown {
		p.Text, p.Cut = text[:strings.LastIndexByte(text[:policyShown], '\n')+1], true
	}
	return view{page: "policy", title: "Policy", section: "administration", data: p}, nil
}

func savePolicy(s *server, c *call) (view, error) {
	text, err := s.presentPolicy(c)
	return view{file: []byte(text), media: "application/yaml", name: "policy.yaml"}, err
}

// presentPolicy writes the configuration as it is.
func (s *server) presentPolicy(c *call) (string, error) {
	configuration, err := s.Keyserver.Policy(c.Context(), c.Caller)
	if err != nil {
		return "", err
	}
	return string(policy.Write(configuration)), nil
}

package webui

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
)

const ordersShown = 100

type operationPage struct {
	item
	Context    template.HTML
	Source     string // of the context
	Claims     []claimLine
	Orders     []keyserver.SignOrder
	MoreOrder  bool
	Lots       []keyserver.Lot // of device certificates
	Issues     []issue
	OnlyIssues bool // it names CA keys alone
	Compare    keyserver.Comparison
	Earlier    []string // what differs from the earlier operation, if there is one
	Said       []string // what there is to say about what was just done
	Refused    string   // why what was just tried was not done
	Fresh      bool     // the sign-in is recent enough to decide
	Age        time.Duration
	Again      string // where to sign in again
	Approve    offer
	Withdraw   offer
	Reject     offer
	Revoke     offer
	Next       string // what the operation waits for
}

// offer is a decision that the caller could make, as the law would judge it this moment.
type offer struct {
	Action string // where its form is sent; empty: it is not offered
	Why    string // why it is not offered, where that is worth saying
	Does   string // what it would do
	Reason string // typed before signing in again
}

type claimLine struct {
	law.Claim
	Value template.HTML
}

func showOperation(s *server, c *call) (view, error) { return s.operationView(c, nil) }

// operationView is the page of the operation that the path names, after what was tried on it was refused, if it was.
func (s *server) operationView(c *call, refused error) (view, error) {
	o, err := s.Keyserver.Operation(c.Context(), c.Caller, c.operation())
	if err != nil {
		return view{}, err
	}
	p := operationPage{
		item: s.item(c, o), Context: markdown(o.Statement.Context, s.LinkHosts), Source: o.Statement.Context,
		Fresh: s.fresh(c), Age: s.age(c), Again: signInAgain(c, true), Next: next(c, o),
	}
	for _, claim := range o.Claims {
		p.Claims = append(p.Claims, claimLine{claim, link(claim.Value, s.LinkHosts)})
	}
	p.Issues, p.OnlyIssues = issues(c.facts, o)
	orders, err := s.Keyserver.SignOrders(c.Context(), c.Caller, o.ID, keyserver.Page{Limit: ordersShown})
	if err != nil {
		return view{}, err
	}
	p.Orders, p.MoreOrder = orders.Orders, orders.Next != ""
	if p.Lots, err = s.Keyserver.Lots(c.Context(), c.Caller, o.ID); err != nil {
		return view{}, err
	}
	if p.Compare, err = s.Keyserver.Compare(c.Context(), c.Caller, o.ID); err != nil {
		return view{}, err
	}
	if e := p.Compare.Earlier; e != nil {
		p.Earlier = differences(*e, o)
	}
	s.offers(c, &p)
	v := view{page: "operation", title: shown(o.Description), section: "operations", data: &p}
	if refused == nil { // else the address is that of a form, where the script finds no page
		v.live = fmt.Sprintf("/live/operations/%s?revision=%d", o.ID, o.Revision)
	} else {
		t := s.Translate(refused)
		v.status, p.Refused = t.Kind().Status(), sentence(t.Detail)
	}
	p.Said = said(c.URL.Query().Get("did"), p)
	return v, nil
}

// offers asks the law what each decision would do. It decides nothing: what is sent is judged again.
func (s *server) offers(c *call, p *operationPage) {
	o, who, now := p.Operation, c.Caller.Subject, s.Now()
	at := "/operations/" + string(o.ID) + "/"
	out, err := o.Approve(who, o.Digest, c.facts, now)
	p.Approve = offered(at+"approve", err)
	if err == nil {
		p.Approve.Does = approvalDoes(c, o, out.Operation, now)
	}
	out, err = o.Operation.Withdraw(who, c.facts, now)
	p.Withdraw = offered(at+"withdraw", err)
	if err == nil {
		p.Withdraw.Does = "It takes your approval back. The operation is then " + string(out.Operation.State(c.facts, now)) + ", and you can approve it again."
	}
	_, err = o.Operation.Reject(who, "reason", c.facts, now)
	p.Reject = offered(at+"reject", err)
	p.Reject.Does, p.Reject.Reason = "The operation ends for good. "+shown(o.Operation.Orderer.Subject)+" is told, with your reason, and can ask anew.", s.typedBefore(c, at+"reject")
	_, err = o.Operation.Revoke(who, "reason", c.facts, now)
	p.Revoke = offered(at+"revoke", err)
	p.Revoke.Does, p.Revoke.Reason = "The operation ends for good. No further signature is made under it, and one that is being made just now is withheld. Signatures that were given out stay valid.", s.typedBefore(c, at+"revoke")
	if o.State.Final() {
		p.Approve, p.Withdraw, p.Reject, p.Revoke = offer{}, offer{}, offer{}, offer{}
	}
}

func offered(action string, err error) offer {
	if err == nil {
		return offer{Action: action}
	}
	if r, ok := refusal(err); ok {
		return offer{Why: sentence(r.Reason)}
	}
	return offer{}
}

// approvalDoes says what the caller's approval would change.
func approvalDoes(c *call, o keyserver.Operation, after law.Operation, now time.Time) string {
	does := "Your approval counts for " + joined(o.Counts) + "."
	if after.State(c.facts, now) == law.Approved {
		return does + " With it every requirement is met: the operation is approved, and " + uses(o) + " can be made until it ends."
	}
	for _, p := range after.Progress(c.facts) {
		if n := missing(p); n > 0 {
			does += fmt.Sprintf(" After it %s needs %s.", p.Key, count(n, "more approval"))
		}
	}
	return does + " Nothing can be signed before."
}

// uses says what an operation allows.
func uses(o keyserver.Operation) string {
	var parts []string
	for _, k := range o.Statement.Keys {
		parts = append(parts, fmt.Sprintf("%s with %s", count(k.MaxUses, "signature"), k.Key))
	}
	return strings.Join(parts, ", ")
}

// next says what the operation waits for, and who can give it.
func next(c *call, o keyserver.Operation) string {
	switch {
	case o.State == law.Approved:
		return "It is approved: " + uses(o) + " can be made under it."
	case o.State != law.Pending:
		return ""
	}
	var parts []string
	for _, p := range o.Progress {
		n := missing(p)
		switch {
		case n < 0:
			parts = append(parts, fmt.Sprintf("the requirement of key %s cannot be met", p.Key))
		case n > 0:
			who := candidates(c, o, p.Key)
			if len(who) < n {
				parts = append(parts, fmt.Sprintf("key %s needs %s, and only %s can give any", p.Key, count(n, "more approval"), count(len(who), "person", "people")))
			} else {
				parts = append(parts, fmt.Sprintf("key %s needs %s; %s can give %s", p.Key, count(n, "more approval"), either(who), map[bool]string{true: "it", false: "them"}[n == 1]))
			}
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return sentence(strings.Join(parts, "; "))
}

// candidates are the people whose approval would count for the key and is not there yet.
func candidates(c *call, o keyserver.Operation, key law.KeyID) []law.SubjectID {
	var who []law.SubjectID
	for _, id := range o.Eligible[key] {
		stands := slices.ContainsFunc(o.Approvals, func(a law.Approval) bool { return a.By == id && a.Withdrawn.IsZero() })
		if !stands && slices.Contains(o.EligibleFor(id, c.facts), key) {
			who = append(who, id)
		}
	}
	return who
}

// either names people of whom any will do.
func either(who []law.SubjectID) string {
	if len(who) > 6 {
		return count(len(who), "person", "people")
	}
	return strings.Replace(joined(who), " and ", " or ", 1)
}

// differences says what an operation asks for that the earlier one did not.
func differences(earlier, o keyserver.Operation) []string {
	var all []string
	differ := func(what, before, now string) {
		if before != now {
			all = append(all, fmt.Sprintf("%s: %s, last time %s", what, now, before))
		}
	}
	differ("orderer", string(earlier.Operation.Orderer.Subject), string(o.Operation.Orderer.Subject))
	for _, k := range o.Statement.Keys {
		for _, e := range earlier.Statement.Keys {
			if e.Key == k.Key {
				differ("uses of "+string(k.Key), fmt.Sprint(e.MaxUses), fmt.Sprint(k.MaxUses))
				differ("key pair of "+string(k.Key), law.Digest(e.Fingerprint).Short(), law.Digest(k.Fingerprint).Short())
				differ("profile of device certificates of "+string(k.Key), law.Digest(e.Devices).Short(), law.Digest(k.Devices).Short())
				differ("certificate profiles that "+string(k.Key)+" issues by", law.Digest(e.Profiles).Short(), law.Digest(k.Profiles).Short())
			}
		}
	}
	differ("valid for", length(earlier.Expires.Sub(earlier.Created)), length(o.Expires.Sub(o.Created)))
	differ("description", "“"+earlier.Description+"”", "“"+o.Description+"”")
	differ("named artifacts", fmt.Sprint(len(earlier.Artifacts)), fmt.Sprint(len(o.Artifacts)))
	differ("clients", list(earlier.Clients), list(o.Clients))
	for _, c := range o.Claims {
		for _, e := range earlier.Claims {
			if e.Name == c.Name {
				differ("claim "+c.Name, claimed(e), claimed(c))
			}
		}
	}
	return all
}

func list(ids []law.SubjectID) string {
	if len(ids) == 0 {
		return "none"
	}
	return joined(ids)
}

func claimed(c law.Claim) string {
	if !c.Present {
		return "absent"
	}
	return c.Value
}

// said is what the page says of what was just done.
func said(did string, p operationPage) []string {
	switch {
	case did == "approved" && p.Did, did == "withdrawn" && !p.Did:
		return []string{"You have " + did + map[string]string{"approved": " it.", "withdrawn": " your approval."}[did], p.Next}
	case did == "rejected" && p.State == law.Rejected, did == "revoked" && p.State == law.Revoked:
		return []string{"The operation is " + did + ". Nothing can be signed under it any more."}
	case did == "created":
		return []string{"The operation has been created.", p.Next}
	}
	return nil
}

// decide does what a form asks for, and leads back to the operation.
func (s *server) decide(c *call, did string, do func(law.OperationID) (keyserver.Operation, error)) (view, error) {
	o, err := do(c.operation())
	if r, ok := refusal(err); ok && r.Kind != law.NotFound {
		return s.operationView(c, err)
	}
	if err != nil {
		return view{}, err
	}
	return view{redirect: "/operations/" + string(o.ID) + "?did=" + did}, nil
}

func approve(s *server, c *call) (view, error) {
	return s.decide(c, "approved", func(id law.OperationID) (keyserver.Operation, error) {
		return s.Keyserver.Approve(c.Context(), c.Caller, id, law.Digest(c.form.Get("digest")))
	})
}

func withdraw(s *server, c *call) (view, error) {
	return s.decide(c, "withdrawn", func(id law.OperationID) (keyserver.Operation, error) {
		return s.Keyserver.Withdraw(c.Context(), c.Caller, id)
	})
}

func reject(s *server, c *call) (view, error) {
	return s.decide(c, "rejected", func(id law.OperationID) (keyserver.Operation, error) {
		return s.Keyserver.Reject(c.Context(), c.Caller, id, c.reason())
	})
}

func revoke(s *server, c *call) (view, error) {
	return s.decide(c, "revoked", func(id law.OperationID) (keyserver.Operation, error) {
		return s.Keyserver.Revoke(c.Context(), c.Caller, id, c.reason())
	})
}

// reason is what was typed as a reason, with the line ends that the law knows: a browser sends CR LF (HTML, section
// 4.10.21.4).
func (c *call) reason() string { return text(c.form.Get("reason")) }

func text(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }

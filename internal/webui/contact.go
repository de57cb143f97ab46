package webui

import (
	"net/http"
	"slices"
	"strings"

	"example.org/keyserver/internal/keyserver"
)

// contactPage is what somebody is told, and by what, as it was chosen or typed.
type contactPage struct {
	Offers  *keyserver.Notifications // nil: the server sends no messages
	Kinds   []contactKind
	Mail    string
	URL     string
	Format  keyserver.Format
	Secret  string // of a webhook, when it was just made
	Failure string // why the last message could not be sent
	Saved   bool
	Refused string
}

// contactKind is something that one can be told.
type contactKind struct {
	Kind   keyserver.Kind
	What   string
	Chosen bool
}

var contactFields = []string{"tells", "mail", "webhook", "format", "newsecret"}

// whatKinds says what one is told, in the order of the page.
var whatKinds = []contactKind{
	{Kind: keyserver.KindWaiting, What: "An operation waits for my approval"},
	{Kind: keyserver.KindExpiring, What: "It still does, and ends soon"},
	{Kind: keyserver.KindChange, What: "Something happened to an operation that I have ordered"},
}

func (s *server) contactPage(c keyserver.Contact) contactPage {
	p := contactPage{Offers: s.Keyserver.Notifications(), Mail: c.Mail, URL: c.Webhook.URL, Format: c.Webhook.Format, Secret: c.Webhook.Secret, Failure: c.Failure}
	for _, k := range whatKinds {
		k.Chosen = slices.Contains(c.Tells, k.Kind)
		p.Kinds = append(p.Kinds, k)
	}
	return p
}

func contactView(p contactPage, status int) view {
	return view{page: "contact", title: "Notifications", section: "notifications", data: p, status: status}
}

func showContact(s *server, c *call) (view, error) {
	chosen, err := s.Keyserver.Contact(c.Context(), c.Caller)
	if err != nil {
		return view{}, err
	}
	return contactView(s.contactPage(chosen), 0), nil
}

// setContact stores what somebody has chosen. The answer is the page itself, since the secret of a webhook is in no other.
func setContact(s *server, c *call) (view, error) {
	want := keyserver.Contact{Mail: strings.TrimSpace(c.form.Get("mail"))}
	for _, t := range c.form["tells"] {
		want.Tells = append(want.Tells, keyserver.Kind(t))
	}
	if u := strings.TrimSpace(c.form.Get("webhook")); u != "" {
		want.Webhook = keyserver.Webhook{URL: u, Format: keyserver.Format(c.form.Get("format"))}
	}
	chosen, err := s.Keyserver.SetContact(c.Context(), c.Caller, want, c.form.Get("newsecret") != "")
	if err == nil {
		p := s.contactPage(chosen)
		p.Saved = true
		return contactView(p, 0), nil
	}
	t := s.Translate(err)
	if status := t.Kind().Status(); status != http.StatusBadRequest && status != http.StatusUnprocessableEntity {
		return view{}, err
	}
	p := s.contactPage(want)
	p.Refused = sentence(t.Detail)
	return contactView(p, t.Kind().Status()), nil
}

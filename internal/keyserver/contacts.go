package keyserver

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/store"
)

// Kind is what a message is about.
type Kind string

const (
	KindWaiting  Kind = "waiting"  // an operation waits for the recipient's approval
	KindExpiring Kind = "expiring" // it still does, and expires soon
	KindChange   Kind = "change"   // something happened to an operation that the recipient has ordered
	KindTest     Kind = "test"     // the recipient has chosen to be told in this way
)

// Kinds are those that one can choose.
func Kinds() []Kind { return []Kind{KindWaiting, KindExpiring, KindChange} }

// Format is how a webhook wants its messages.
type Format string

const (
	FormatStandard Format = "standard" // signed as Standard Webhooks says
	FormatChat     Format = "chat"     // {"text": …}, as chat tools take it
)

// Notifications says what messages a server sends. The zero value of Reminder and Gather is refused.
type Notifications struct {
	Reminder    time.Duration // how long before its end people are told again of an operation that waits for them
	Gather      time.Duration // between two e-mails to one subject: what happens meanwhile is in the second one
	MailDomains []string      // of the addresses that e-mails go to, in small letters; none: no e-mails are sent
	Webhooks    bool          // subjects may have webhooks of their own
	PlainHTTP   bool          // these may be reached in clear: for development mode
	Channels    []Channel     // webhooks of the server
}

// Channel is a webhook that is told of all operations.
type Channel struct {
	Name  string
	Tells []Kind
}

// Webhook is where messages to a subject are posted.
type Webhook struct {
	URL    string // empty: there is none
	Format Format
	Secret string // signs messages in the standard format; shown once, when it is made
}

// Contact is what a subject has chosen to be told, and by what.
type Contact struct {
	Tells   []Kind
	Mail    string // address; empty: no e-mails
	Webhook Webhook
	Failure string // why the last message could not be sent; empty: it was
}

// targets are where messages to a subject go, as they are stored, sealed.
type targets struct {
	Mail   string `json:"mail,omitzero"`
	URL    string `json:"url,omitzero"`
	Secret string `json:"secret,omitzero"`
}

// Notifications says what messages this server sends. Nil: none.
func (k *Keyserver) Notifications() *Notifications { return k.notify }

// Contact returns what the caller has chosen to be told, without the secret of its webhook.
func (k *Keyserver) Contact(ctx context.Context, c Caller) (Contact, error) {
	return look(ctx, k, func(r *store.Reader) (Contact, error) {
		out, err := k.contact(r, c.Subject)
		out.Webhook.Secret = ""
		return out, err
	})
}

// contact reads what a subject has chosen to be told; the zero Contact if it never chose.
func (k *Keyserver) contact(r *store.Reader, who law.SubjectID) (Contact, error) {
	stored, known, err := r.Contact(who)
	if err != nil || !known {
		return Contact{}, err
	}
	out := Contact{Failure: stored.Failure}
	for _, t := range stored.Tells {
		out.Tells = append(out.Tells, Kind(t))
	}
	opened, err := k.targets.Open(nil, nil, stored.Targets, []byte(who))
	if err != nil { // the log key was replaced
		return Contact{Failure: "where messages go cannot be read any more; choose again"}, nil
	}
	var to targets
	if err := json.Unmarshal(opened, &to); err != nil {
		return Contact{}, fmt.Errorf("reading where messages to %s go: %w", who, err)
	}
	if out.Mail = to.Mail; to.URL != "" {
		out.Webhook = Webhook{to.URL, Format(stored.Webhook), to.Secret}
	}
	return out, nil
}

// SetContact stores what the caller chooses to be told, and sends a test message to where none was sent before, unless one was sent just then. The secret
// of the webhook is made by the server, anew for another URL or format or if renew is true, and is in the answer then.
func (k *Keyserver) SetContact(ctx context.Context, c Caller, want Contact, renew bool) (Contact, error) {
	if err := want.check(); err != nil {
		return Contact{}, err
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return Contact{}, fmt.Errorf("drawing the secret of a webhook: %w", err)
	}
	id, err := newID()
	if err != nil {
		return Contact{}, err
	}
	second, err := newID()
	if err != nil {
		return Contact{}, err
	}
	return update(ctx, k, func(tx *store.Tx) (Contact, error) {
		if who, known := tx.Facts().Subject(c.Subject); !known || !who.Enabled || c.stale(tx.Reader) {
			return Contact{}, ErrStale
		}
		if err := c.audit(tx, audit.Event{Type: audit.RequestRefused}, k.possible(want)); err != nil {
			return Contact{}, err
		}
		was, err := k.contact(&tx.Reader, c.Subject)
		if err != nil {
			return Contact{}, err
		}
		next, told := want, want // as stored, and as answered
		next.Failure, told.Failure = "", ""
		if fresh := renew || was.Webhook.URL != want.Webhook.URL || was.Webhook.Format != want.Webhook.Format; want.Webhook.Format == FormatStandard {
			next.Webhook.Secret = was.Webhook.Secret
			if fresh || next.Webhook.Secret == "" {
				next.Webhook.Secret = secretPrefix + base64.StdEncoding.EncodeToString(secret)
				told.Webhook.Secret = next.Webhook.Secret
			}
		}
		stored, _, err := tx.Contact(c.Subject)
		if err != nil {
			return Contact{}, err
		}
		var tests []store.Notice
		test := func(id string, way Way) {
			tests = append(tests, store.Notice{ID: id, Outgoing: store.Outgoing{Due: tx.Now()}, Kind: string(KindTest), Recipient: string(c.Subject), Way: string(way), Created: tx.Now()})
		}
		if soon := k.notify != nil && tx.Now().Before(stored.Tested.Add(k.notify.Gather)); !soon { // nobody sends others many
			if want.Mail != "" && want.Mail != was.Mail {
				test(id, WayMail)
			}
			if want.Webhook.URL != "" && (want.Webhook.URL != was.Webhook.URL || told.Webhook.Secret != "") {
				test(second, WayWebhook)
			}
		}
		if len(tests) > 0 {
			stored.Tested = tx.Now()
		}
		if err := k.saveContact(tx, c, stored, next); err != nil {
			return Contact{}, err
		}
		if len(tests) == 0 {
			return told, nil
		}
		return told, tx.Send(tests...)
	})
}

// saveContact stores what was chosen, and keeps what is known of sending.
func (k *Keyserver) saveContact(tx *store.Tx, c Caller, stored store.Contact, next Contact) error {
	stored.Contact = audit.Contact{Mail: next.Mail != "", Webhook: string(next.Webhook.Format), Tells: []string{}}
	for _, t := range next.Tells {
		stored.Tells = append(stored.Tells, string(t))
	}
	slices.Sort(stored.Tells)
	plain, err := json.Marshal(targets{next.Mail, next.Webhook.URL, next.Webhook.Secret})
	if err != nil {
		return fmt.Errorf("writing where messages to %s go: %w", c.Subject, err)
	}
	stored.Targets, stored.Failure = k.targets.Seal(nil, nil, plain, []byte(c.Subject)), ""
	told := stored.Contact
	return tx.SaveContact(c.Subject, stored, audit.Event{Type: audit.ContactChanged, Actor: c.actor(), Request: c.Request, Route: c.Route, Contact: &told})
}

const (
	maxAddress = 254  // bytes, RFC 5321 section 4.5.3.1.3
	maxURL     = 2000 // bytes
)

// address is what is taken of the addr-spec of RFC 5322 section 3.4.1: a dot-atom, and the name of a host.
var address = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)*@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// check refuses what makes no sense on any server.
func (c Contact) check() error {
	for i, t := range c.Tells {
		if !slices.Contains(Kinds(), t) || slices.Contains(c.Tells[:i], t) {
			return &Malformed{fmt.Sprintf("%q is nothing to be told of, or is named twice; name waiting, expiring or change", t)}
		}
	}
	if c.Mail != "" && (len(c.Mail) > maxAddress || !address.MatchString(c.Mail)) {
		return &Malformed{fmt.Sprintf("the e-mail address is not one like alice@example.com, its domain in small letters, in at most %d bytes of ASCII", maxAddress)}
	}
	if (c.Webhook.URL == "") != (c.Webhook.Format == "") {
		return &Malformed{"a webhook needs both its URL and the format of its messages"}
	}
	if c.Webhook.Format != "" && c.Webhook.Format != FormatStandard && c.Webhook.Format != FormatChat {
		return &Malformed{fmt.Sprintf("%q is no format of webhooks; say standard or chat", c.Webhook.Format)}
	}
	if by := c.Mail != "" || c.Webhook.URL != ""; by != (len(c.Tells) > 0) {
		return &Malformed{"say both what to be told and by what, or neither to be told nothing"}
	}
	return c.Webhook.check()
}

func (w Webhook) check() error {
	if w.URL == "" {
		return nil
	}
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	u, err := url.Parse(w.URL)
	switch {
	case len(w.URL) > maxURL || strings.ContainsFunc(w.URL, odd) || err != nil || u.Hostname() == "" || u.Opaque != "":
		return &Malformed{fmt.Sprintf("the webhook's URL is not one like https://chat.example.com/hooks/…, in at most %d bytes of ASCII", maxURL)}
	case u.User != nil || u.Fragment != "":
		return &Malformed{"the webhook's URL has a user, a password or a fragment; write it without"}
	}
	return nil
}

// possible says whether this server can do what somebody has chosen.
func (k *Keyserver) possible(c Contact) error {
	impossible := func(format string, args ...any) error {
		return &law.Refusal{Kind: law.Impossible, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case c.Mail == "" && c.Webhook.URL == "":
		return nil
	case k.notify == nil:
		return impossible("this server sends no messages; its operator can have it send them")
	}
	if _, domain, _ := strings.Cut(c.Mail, "@"); c.Mail != "" {
		switch allowed := k.notify.MailDomains; {
		case len(allowed) == 0:
			return impossible("this server sends no e-mails; use a webhook")
		case !slices.Contains(allowed, domain):
			return impossible("this server sends e-mails to addresses at %s only", strings.Join(allowed, ", "))
		}
	}
	if c.Webhook.URL == "" {
		return nil
	}
	if !k.notify.Webhooks {
		return impossible("on this server nobody has a webhook of their own; be told by e-mail")
	}
	return k.notify.reaches(c.Webhook)
}

// reaches says whether messages can be sent there, as far as its URL tells.
func (n *Notifications) reaches(w Webhook) error {
	u, err := url.Parse(w.URL)
	if err != nil {
		return err
	}
	if plain := u.Scheme == "http" && n.PlainHTTP; u.Scheme != "https" && !plain {
		return &law.Refusal{Kind: law.Impossible, Reason: "the webhook's URL must begin with https://"}
	}
	if _, err := netip.ParseAddr(strings.Trim(u.Hostname(), "[]")); err == nil && !n.PlainHTTP {
		return &law.Refusal{Kind: law.Impossible, Reason: "the webhook's URL names an address; name a host, as its certificate does"}
	}
	return nil
}

// CheckChannel says what is wrong with where a channel's messages go, nil if nothing is.
func (n *Notifications) CheckChannel(w Webhook) error {
	if err := w.check(); err != nil {
		return err
	}
	if secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(w.Secret, secretPrefix)); w.Format == FormatStandard &&
		(err != nil || !strings.HasPrefix(w.Secret, secretPrefix) || len(secret) < 24 || len(secret) > 64) {
		return fmt.Errorf("the secret is not %s and 24 to 64 bytes in base64", secretPrefix)
	}
	return n.reaches(w)
}

// secretPrefix is that of the secrets of Standard Webhooks.
const secretPrefix = "whsec_"

package notify_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json/v2"
	"io"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"example.org/keyserver/internal/keyserver"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/notify"
	"example.org/keyserver/internal/notify/notifytest"
	"example.org/keyserver/internal/testkit"
)

// world is a keyserver that sends messages, and a webhook that keeps what is posted.
type world struct {
	*testkit.Kit
	sender *notify.Sender
	hook   *httptest.Server
	posted chan posted
	answer atomic.Int64 // status
	log    *bytes.Buffer
}

type posted struct {
	*http.Request
	body []byte
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func newWorld(t *testing.T, change func(*world, *notify.Options)) *world {
	w := &world{posted: make(chan posted, 100), log: &bytes.Buffer{}}
	w.answer.Store(http.StatusNoContent)
	w.hook = httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.posted <- posted{r, body}
		if status := int(w.answer.Load()); status/100 == 3 {
			http.Redirect(out, r, "/elsewhere", status)
		} else {
			out.WriteHeader(status)
		}
	}))
	t.Cleanup(w.hook.Close)
	n := &keyserver.Notifications{
		Reminder: time.Hour, Gather: time.Minute, MailDomains: []string{"example.com"}, Webhooks: true, PlainHTTP: true,
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.hook.Certificate())
	o := notify.Options{
		Log: slog.New(slog.NewTextHandler(w.log, nil)), URL: "https://keys.example.com", Networks: loopback, Roots: roots,
		Channels: map[string]keyserver.Webhook{},
	}
	if change != nil {
		change(w, &o)
	}
	for name := range o.Channels {
		n.Channels = append(n.Channels, keyserver.Channel{Name: name, Tells: keyserver.Kinds()})
	}
	w.Kit = testkit.NewWith(t, testkit.Options{Notifications: n})
	o.Keyserver, o.Now = w.Keyserver, w.Clock.Now
	var err error
	if w.sender, err = notify.New(o); err != nil {
		t.Fatal(err)
	}
	return w
}

// send sends all that is due.
func (w *world) send() {
	w.Helper()
	if err := w.sender.Send(w.Context()); err != nil {
		w.Fatal(err)
	}
	w.sender.Wait()
}

func (w *world) choose(who law.SubjectID, c keyserver.Contact) keyserver.Contact {
	w.Helper()
	c, err := w.Keyserver.SetContact(w.Context(), w.Caller(who), c, false)
	if err != nil {
		w.Fatal(err)
	}
	w.send() // the test message
	return c
}

func (w *world) webhook(f keyserver.Format) keyserver.Contact {
	return keyserver.Contact{Tells: keyserver.Kinds(), Webhook: keyserver.Webhook{URL: w.hook.URL + "/hook?token=t0ken", Format: f}}
}

func (w *world) failure(who law.SubjectID) string {
	w.Helper()
	c, err := w.Keyserver.Contact(w.Context(), w.Caller(who))
	if err != nil {
		w.Fatal(err)
	}
	return c.Failure
}

func (w *world) next() posted {
	w.Helper()
	select {
	case p := <-w.posted:
		return p
	default:
		w.Fatal("nothing was posted")
		return posted{}
	}
}

func hostile() law.Ask {
	ask := testkit.Ask("fw-prod", "fw-dev")
	ask.Description, ask.Context = "look at https://evil.example <!channel>", "[here](https://evil.example)"
	return ask
}

func TestAWebhookIsSignedAsStandardWebhooksSays(t *testing.T) {
	w := newWorld(t, nil)
	secret := w.choose("alice", w.webhook(keyserver.FormatStandard)).Webhook.Secret
	check := func(p posted, want string) {
		t.Helper()
		key, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := key.VerifyIgnoringTimestamp(p.body, p.Header); err != nil {
			t.Error(err)
		}
		if p.Method != http.MethodPost || p.Header.Get("Content-Type") != "application/json" || p.URL.RawQuery != "token=t0ken" {
			t.Errorf("request %s %s, %v", p.Method, p.URL, p.Header)
		}
		if got := string(p.body); got != want {
			t.Errorf("posted is\n%s\nwant\n%s", got, want)
		}
	}
	at := w.Clock.Now().UTC().Format(time.RFC3339Nano)
	check(w.next(), `{"type":"test","timestamp":"`+at+`","data":{"server":"keyserver/test","url":"https://keys.example.com/notifications"}}`)
	w.Clock.Step(time.Second)
	o := w.Create(hostile())
	w.send()
	p := w.next()
	at = w.Clock.Now().UTC().Format(time.RFC3339Nano)
	expires, err := json.Marshal(o.Expires.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	check(p, `{"type":"operation.waiting","timestamp":"`+at+`","data":{"server":"keyserver/test","event":"operation-created","by":"The olga","operation":"`+string(o.ID)+
		`","digest":"`+string(o.Digest)+`","state":"pending","orderer":"The olga","keys":[{"keyid":"fw-prod","maxusagecount":1},{"keyid":"fw-dev","maxusagecount":1}],"expires":`+
		string(expires)+`,"url":"https://keys.example.com/operations/`+string(o.ID)+`"}}`)
	if got := p.Header.Get("webhook-id"); len(got) != 36 {
		t.Errorf("the message's id is %q", got)
	}
}

func TestAChatToolIsToldInPlainWords(t *testing.T) {
	w := newWorld(t, func(w *world, o *notify.Options) {
		o.Channels["releases"] = keyserver.Webhook{URL: w.hook.URL, Format: keyserver.FormatChat}
	})
	w.choose("alice", w.webhook(keyserver.FormatChat))
	if got := string(w.next().body); got != `{"text":"You will be told here."}` {
		t.Errorf("posted is %s", got)
	}
	o := w.Create(hostile())
	w.Clock.Step(time.Second)
	w.send()
	for range 2 { // to alice and to the channel
		p := w.next()
		var got struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal(p.body, &got); err != nil {
			t.Fatal(err)
		}
		want := "An operation waits for approval.\nKeys (uses)  fw-prod (1), fw-dev (1)\nOrderer      The olga\nState        pending\nEnds         " +
			o.Expires.UTC().Format("2006-01-02 15:04:05 UTC") + "\nDigest       " + o.Digest.Short() + "\nhttps://keys.example.com/operations/" + string(o.ID)
		if got.Text != want {
			t.Errorf("text is\n%s\nwant\n%s", got.Text, want)
		}
		if p.Header.Get("webhook-signature") != "" {
			t.Error("it is signed, though chat tools do not look")
		}
	}
}

func TestAMessageThatFailsIsSentAgain(t *testing.T) {
	for _, c := range []struct {
		status int
		why    string
	}{{http.StatusInternalServerError, "the webhook answered 500"}, {http.StatusFound, "the webhook answered 302"}, {http.StatusNotFound, "the webhook answered 404"}} {
		w := newWorld(t, nil)
		w.choose("carol", w.webhook(keyserver.FormatStandard))
		w.next()
		w.answer.Store(int64(c.status))
		w.Clock.Step(time.Second)
		w.Create(testkit.Ask("fw-prod"))
		w.send()
		id := w.next().Header.Get("webhook-id")
		if got := w.failure("carol"); got != c.why {
			t.Errorf("%d: failure %q", c.status, got)
		}
		w.answer.Store(http.StatusOK)
		w.Clock.Step(20 * time.Second)
		w.send()
		if again := w.next().Header.Get("webhook-id"); again != id {
			t.Errorf("%d: sent again as %q, first as %q", c.status, again, id)
		}
		if got := w.failure("carol"); got != "" {
			t.Errorf("%d: failure %q", c.status, got)
		}
	}
}

func TestAWebhookThatIsGoneIsNotAskedAgain(t *testing.T) {
	w := newWorld(t, nil)
	w.choose("carol", w.webhook(keyserver.FormatStandard))
	w.next()
	w.answer.Store(http.StatusGone)
	w.Clock.Step(time.Second)
	w.Create(testkit.Ask("fw-prod"))
	w.send()
	w.next()
	w.Clock.Step(time.Hour)
	w.send()
	if len(w.posted) != 0 || w.failure("carol") != "the webhook answered 410" {
		t.Errorf("posted again %d times, failure %q", len(w.posted), w.failure("carol"))
	}
}

func TestPrivateAddressesAreNotPostedTo(t *testing.T) {
	w := newWorld(t, func(_ *world, o *notify.Options) { o.Networks = nil })
	_, port, _ := strings.Cut(strings.TrimPrefix(w.hook.URL, "https://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.1.2.3", "169.254.169.254", "192.168.0.1", "[fd00::1]", "[fe80::1]", "100.64.0.1", "0.0.0.0", "[64:ff9b::7f00:1]"} {
		w.choose("carol", keyserver.Contact{Tells: keyserver.Kinds(), Webhook: keyserver.Webhook{URL: "https://" + host + ":" + port, Format: keyserver.FormatChat}})
		if got := w.failure("carol"); got != "the webhook's address is a private one, and messages are not sent there" {
			t.Errorf("%s: failure %q", host, got)
		}
		w.Clock.Step(time.Minute)
	}
	if len(w.posted) != 0 {
		t.Errorf("posted %d times", len(w.posted))
	}
}

func TestACertificateThatIsNotTrustedIsNotPostedTo(t *testing.T) {
	w := newWorld(t, func(_ *world, o *notify.Options) { o.Roots = x509.NewCertPool() })
	w.choose("carol", w.webhook(keyserver.FormatStandard))
	if got := w.failure("carol"); got != "the webhook could not be reached" || len(w.posted) != 0 {
		t.Errorf("failure %q, posted %d", got, len(w.posted))
	}
}

func TestTheLogDoesNotTellWhereMessagesGo(t *testing.T) {
	w := newWorld(t, nil)
	w.answer.Store(http.StatusTeapot)
	w.choose("carol", w.webhook(keyserver.FormatStandard))
	w.hook.Close()
	w.Clock.Step(time.Minute)
	w.send()
	log := w.log.String()
	if !strings.Contains(log, `to="webhook carol"`) || strings.Contains(log, "t0ken") || strings.Contains(log, "/hook") {
		t.Errorf("the log says %s", log)
	}
}

func TestAMessageThatIsCutOffWhenTheServerStopsIsSentByTheNext(t *testing.T) {
	w := newWorld(t, nil)
	w.choose("carol", w.webhook(keyserver.FormatStandard))
	w.next()
	w.Clock.Step(time.Second)
	w.Create(testkit.Ask("fw-prod"))
	stopped, stop := context.WithCancel(w.Context())
	messages, err := w.Keyserver.TakeMessages(stopped, 10, nil) // and sends none of them
	stop()
	if err != nil || len(messages) != 1 {
		t.Fatalf("taken are %+v, %v", messages, err)
	}
	w.send()
	if len(w.posted) != 0 {
		t.Error("sent though another may be sending it")
	}
	w.Clock.Step(2 * time.Minute)
	w.send()
	if got := w.next().Header.Get("webhook-id"); got != messages[0].ID {
		t.Errorf("sent is %q", got)
	}
}

// mailing is a world with a mail server.
func mailing(t *testing.T, protection notify.TLS, change func(*notify.Mail)) (*world, *notifytest.MailServer) {
	var server *notifytest.MailServer
	w := newWorld(t, func(w *world, o *notify.Options) {
		certificate := &w.hook.TLS.Certificates[0]
		if protection == notify.Plain {
			certificate = nil
		}
		server = notifytest.NewMailServer(t, string(protection), certificate)
		o.Mail = &notify.Mail{
			Host: "127.0.0.1", Port: server.Port, From: "keyserver@example.com", TLS: protection, Username: "keyserver",
			Password: func() ([]byte, error) { return []byte(notifytest.Password), nil },
		}
		if change != nil {
			change(o.Mail)
		}
	})
	return w, server
}

func byMail(who law.SubjectID) keyserver.Contact {
	return keyserver.Contact{Tells: keyserver.Kinds(), Mail: string(who) + "@example.com"}
}

func letter(t *testing.T, server *notifytest.MailServer) (*mail.Message, string, notifytest.Letter) {
	t.Helper()
	select {
	case l := <-server.Letters:
		m, err := mail.ReadMessage(strings.NewReader(l.Text))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		return m, strings.ReplaceAll(string(body), "\r\n", "\n"), l
	default:
		t.Fatal("no e-mail was sent")
		return nil, "", notifytest.Letter{}
	}
}

func TestAnEMailSaysWhatWaitsAndWhereToLook(t *testing.T) {
	for _, protection := range []notify.TLS{notify.StartTLS, notify.Implicit} {
		t.Run(string(protection), func(t *testing.T) {
			w, server := mailing(t, protection, nil)
			w.choose("alice", byMail("alice"))
			if m, body, l := letter(t, server); l.To != "alice@example.com" || l.From != "keyserver@example.com" || l.Username != "keyserver" ||
				m.Header.Get("Subject") != "[keyserver] You will be told here" || !strings.Contains(body, "https://keys.example.com/notifications") {
				t.Errorf("e-mail %+v", l)
			}
			w.Clock.Step(time.Minute)
			o := w.Create(hostile())
			w.send()
			m, body, l := letter(t, server)
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			if err != nil || subject != "[keyserver] An operation waits for your approval" {
				t.Errorf("subject %q, %v", subject, err)
			}
			for _, want := range []string{
				"The alice,\n\nAn operation waits for your approval.\n", "Keys (uses)  fw-prod (1), fw-dev (1)\n", "Orderer      The olga\n",
				"Digest       " + o.Digest.Short() + "\n", "\n  https://keys.example.com/operations/" + string(o.ID) + "\n", "Nothing can be decided by answering",
			} {
				if !strings.Contains(body, want) {
					t.Errorf("the e-mail does not say %q:\n%s", want, body)
				}
			}
			if strings.Contains(l.Text, "evil") || strings.Contains(body, "approve?") || !strings.HasPrefix(m.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("e-mail %s", l.Text)
			}
			if m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("Message-Id") == "" || m.Header.Get("Date") == "" {
				t.Errorf("header %v", m.Header)
			}
		})
	}
}

func TestOneEMailTellsOfAllThatWaits(t *testing.T) {
	w, server := mailing(t, notify.Plain, func(m *notify.Mail) { m.Username = "" })
	w.choose("alice", byMail("alice"))
	letter(t, server)
	for range 3 {
		w.Create(testkit.Ask("fw-one"))
	}
	w.Clock.Step(time.Minute)
	w.send()
	m, body, l := letter(t, server)
	if m.Header.Get("Subject") != "[keyserver] 3 operations wait for your approval" || strings.Count(body, "/operations/") != 3 || l.Username != "" {
		t.Errorf("e-mail %s", l.Text)
	}
}

func TestAnEMailThatTheServerDoesNotTakeIsSentAgainUnlessTheAddressIsRefused(t *testing.T) {
	w, server := mailing(t, notify.StartTLS, nil)
	server.Refuse = func(string) error { return &smtp.SMTPError{Code: 451, Message: "later"} }
	w.choose("alice", byMail("alice"))
	if got := w.failure("alice"); got != "the mail server did not take the e-mail" {
		t.Errorf("failure %q", got)
	}
	w.Clock.Step(20 * time.Second)
	server.Refuse = nil
	w.send()
	letter(t, server)
	server.Refuse = func(string) error { return &smtp.SMTPError{Code: 550, Message: "no such user"} }
	w.Clock.Step(time.Minute)
	w.Create(testkit.Ask("fw-one"))
	w.send()
	if got := w.failure("alice"); got != "the mail server does not take e-mails to the address" {
		t.Errorf("failure %q", got)
	}
	server.Refuse = nil
	w.Clock.Step(time.Hour)
	w.send()
	if len(server.Letters) != 0 {
		t.Error("the e-mail was sent again")
	}
}

func TestAMailServerWithoutTLSOrWithAnotherPasswordIsGivenNothing(t *testing.T) {
	for name, change := range map[string]func(*notify.Mail){
		"without TLS":           func(m *notify.Mail) { m.TLS = notify.StartTLS },
		"with another password": func(m *notify.Mail) { m.Password = func() ([]byte, error) { return []byte("wrong"), nil } },
		"with no protection":    func(m *notify.Mail) { m.TLS = "" },
	} {
		w, server := mailing(t, notify.Plain, change)
		w.choose("alice", byMail("alice"))
		if got := w.failure("alice"); got == "" || len(server.Letters) != 0 {
			t.Errorf("%s: failure %q, %d letters", name, got, len(server.Letters))
		}
	}
}

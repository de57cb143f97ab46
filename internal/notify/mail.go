package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/wneessen/go-mail"

	"example.org/keyserver/internal/keyserver"
)

// Mail is the server that e-mails are given to (RFC 5321). All are required but Username and Password.
type Mail struct {
	Host     string
	Port     int
	From     string // address
	TLS      TLS
	Username string // empty: no authentication
	Password func() ([]byte, error)
}

// TLS is how the connection to a mail server is protected.
type TLS string

const (
	StartTLS TLS = "starttls" // RFC 3207, required
	Implicit TLS = "implicit" // RFC 8314
	Plain    TLS = "none"     // for a server on this machine
)

// mail sends an e-mail.
func (s *Sender) mail(ctx context.Context, m keyserver.Message) error {
	letter, err := s.letter(m)
	if err != nil {
		return &fault{"the e-mail address cannot be used", true, withoutAddress(err, m.Mail)}
	}
	client, err := s.mailClient(ctx)
	if err != nil {
		return fmt.Errorf("preparing to send an e-mail: %w", err)
	}
	err = client.DialAndSendWithContext(ctx, letter)
	if letter.IsDelivered() { // whatever the server did then
		return nil
	}
	if refused, is := errors.AsType[*mail.SendError](err); is && refused.Reason == mail.ErrSMTPRcptTo && !refused.IsTemp() {
		return &fault{"the mail server does not take e-mails to the address", true, withoutAddress(err, m.Mail)}
	}
	if err != nil {
		return &fault{"the mail server did not take the e-mail", false, withoutAddress(err, m.Mail)}
	}
	return nil
}

// withoutAddress is an error without the address in it, which the log does not tell.
func withoutAddress(err error, address string) error {
	return errors.New(strings.ReplaceAll(err.Error(), address, "…"))
}

// mailClient returns a client whose connection ends with the context: go-mail itself looks at that only until it is
// connected.
func (s *Sender) mailClient(ctx context.Context) (*mail.Client, error) {
	protection := &tls.Config{ServerName: s.Mail.Host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = c.Close() }) // whoever reads or writes is told
		if s.Mail.TLS == Implicit {
			return tls.Client(c, protection), nil
		}
		return c, nil
	}
	options := []mail.Option{mail.WithPort(s.Mail.Port), mail.WithTimeout(patience), mail.WithTLSConfig(protection), mail.WithDialContextFunc(dial)}
	switch s.Mail.TLS {
	case StartTLS:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case Implicit:
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic)) // it is TLS from its beginning
	case Plain:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		return nil, fmt.Errorf("%q is no way to protect a connection", s.Mail.TLS)
	}
	if s.Mail.Username != "" {
		password, err := s.Mail.Password()
		if err != nil {
			return nil, err
		}
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.Mail.Username), mail.WithPassword(string(password)))
	}
	return mail.NewClient(s.Mail.Host, options...)
}

// letter is the e-mail itself (RFC 5322), in plain text. It has the same Message-ID each time that it is sent.
func (s *Sender) letter(m keyserver.Message) (*mail.Msg, error) {
	letter := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := letter.From(s.Mail.From); err != nil {
		return nil, err
	}
	if err := letter.To(m.Mail); err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(s.Mail.From, "@")
	letter.SetMessageIDWithValue(m.ID + "@" + domain)
	letter.SetDateWithValue(s.Now())
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody answers that he is on holiday
	letter.Subject(subject(m))
	letter.SetBodyString(mail.TypeTextPlain, s.body(m))
	return letter, nil
}

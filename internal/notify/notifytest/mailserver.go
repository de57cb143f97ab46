// Package notifytest gives tests a mail server that keeps what it is given.
package notifytest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Letter is an e-mail as it was given to a [MailServer].
type Letter struct {
	From, To string
	Text     string // as it was sent
	Username string // empty: without authentication
}

// MailServer is an SMTP server on loopback.
type MailServer struct {
	Port    int
	Letters chan Letter
	// Refuse is asked for each recipient, if it is not nil, and may refuse it with a *smtp.SMTPError.
	Refuse func(to string) error
}

// How a [MailServer] protects its connections.
const (
	StartTLS = "starttls"
	Implicit = "implicit"
	Plain    = "none"
)

// Password is what every user of a [MailServer] has.
const Password = "correct horse"

// NewMailServer starts a server that ends with the test. The certificate is for 127.0.0.1; of a server that offers no TLS
// it is nil.
func NewMailServer(t testing.TB, protection string, certificate *tls.Certificate) *MailServer {
	t.Helper()
	m := &MailServer{Letters: make(chan Letter, 100)}
	s := smtp.NewServer(m)
	s.Domain, s.AllowInsecureAuth = "mail.test", certificate == nil
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.Port = socket.Addr().(*net.TCPAddr).Port
	if certificate != nil {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	}
	if protection == Implicit {
		socket = tls.NewListener(socket, s.TLSConfig)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(socket) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("stopping the mail server: %v", err)
		}
		if err := <-served; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Errorf("mail server: %v", err)
		}
	})
	return m
}

// NewSession begins one with a client.
func (m *MailServer) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{server: m}, nil }

type session struct {
	server *MailServer
	letter Letter
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if password != Password {
			return errors.New("wrong password")
		}
		s.letter.Username = username
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.letter.From = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.letter.To = to
	if s.server.Refuse == nil {
		return nil
	}
	return s.server.Refuse(to)
}

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.letter.Text = string(text)
	s.server.Letters <- s.letter
	return nil
}

func (s *session) Reset()        { s.letter = Letter{Username: s.letter.Username} }
func (s *session) Logout() error { return nil }

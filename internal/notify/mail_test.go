package notify_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"example.org/keyserver/internal/notify"
)

// oddServer is a mail server on loopback that answers each command as answer says; empty: it hangs up. It says on the
// channel what it was given.
func oddServer(t *testing.T, answer func(command string) string) (port int, given chan string) {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	given = make(chan string, 100)
	go func() {
		for {
			c, err := socket.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				lines := bufio.NewScanner(c)
				for a := answer(""); a != ""; a = answer(lines.Text()) {
					if _, err := fmt.Fprint(c, a+"\r\n"); err != nil {
						return
					}
					if strings.HasPrefix(a, "354") {
						for lines.Scan() && lines.Text() != "." {
						}
						given <- "letter"
						if _, err := fmt.Fprint(c, "250 taken\r\n"); err != nil {
							return
						}
					}
					if !lines.Scan() {
						return
					}
					given <- lines.Text()
				}
			}()
		}
	}()
	t.Cleanup(func() {
		if err := socket.Close(); err != nil {
			t.Error(err)
		}
	})
	return socket.Addr().(*net.TCPAddr).Port, given
}

func letters(given chan string) int {
	n := 0
	for len(given) > 0 {
		if <-given == "letter" {
			n++
		}
	}
	return n
}

func TestAnEMailThatWasTakenIsNotSentAgainThoughTheServerHangsUpThen(t *testing.T) {
	for _, hangsUpAt := range []string{"RSET", "QUIT"} {
		port, given := oddServer(t, func(command string) string {
			switch {
			case command == "":
				return "220 odd"
			case command == hangsUpAt:
				return ""
			case command == "DATA":
				return "354 go on"
			}
			return "250 yes"
		})
		w, _ := mailing(t, notify.Plain, func(m *notify.Mail) { m.Port, m.Username = port, "" })
		w.choose("alice", byMail("alice"))
		if got := w.failure("alice"); got != "" {
			t.Errorf("%s: failure %q", hangsUpAt, got)
		}
		w.Clock.Step(time.Hour)
		w.send()
		if n := letters(given); n != 1 {
			t.Errorf("%s: the e-mail was sent %d times", hangsUpAt, n)
		}
	}
}
func TestAMailServerThatSaysNothingDoesNotKeepTheServerFromStopping(t *testing.T) {
	for _, protection := range []notify.TLS{notify.Plain, notify.StartTLS, notify.Implicit} {
		ctx, stop := context.WithCancel(t.Context())
		port, _ := oddServer(t, func(command string) string {
			if command == "" && protection != notify.Implicit {
				return "220 odd"
			}
			stop()
			<-t.Context().Done()
			return ""
		})
		w, _ := mailing(t, protection, func(m *notify.Mail) { m.Port = port })
		if _, err := w.Keyserver.SetContact(w.Context(), w.Caller("alice"), byMail("alice"), false); err != nil {
			t.Fatal(err)
		}
		if err := w.sender.Send(ctx); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		stopped := make(chan struct{})
		go func() { w.sender.Wait(); close(stopped) }()
		select {
		case <-stopped:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: the server does not stop", protection)
		}
	}
}

func TestTheLogDoesNotTellWhoseAddressWasRefused(t *testing.T) {
	w, server := mailing(t, notify.StartTLS, nil)
	for _, code := range []int{451, 550} {
		server.Refuse = func(to string) error { return &smtp.SMTPError{Code: code, Message: "no mailbox <" + to + ">"} }
		w.choose("alice", byMail("alice"))
		w.Clock.Step(time.Hour)
		w.send()
	}
	if log := w.log.String(); !strings.Contains(log, `to="mail alice"`) || strings.Contains(log, "alice@example.com") {
		t.Errorf("the log says %s", log)
	}
}

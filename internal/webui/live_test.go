package webui_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/testkit"
)

// stream is what a browser hears of a page.
type stream struct {
	t      testing.TB
	events chan string
	stop   func()
}

// listen opens the stream that a page names.
func (p *person) listen(on page) *stream {
	p.t.Helper()
	_, at, found := strings.Cut(on.body, `data-live="`)
	at, _, _ = strings.Cut(at, `"`)
	if !found {
		p.t.Fatalf("%s is not live", on.path)
	}
	server := httptest.NewServer(p.pages)
	ctx, cancel := context.WithCancel(p.t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+strings.ReplaceAll(at, "&amp;", "&"), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for name, value := range p.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		p.t.Fatalf("the stream is answered with %s", answer.Status)
	}
	s := &stream{t: p.t, events: make(chan string, 16), stop: cancel}
	go func() {
		defer close(s.events)
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			if name, is := strings.CutPrefix(lines.Text(), "event: "); is {
				s.events <- name
			}
		}
	}()
	p.t.Cleanup(func() {
		cancel()
		answer.Body.Close()
		server.Close()
	})
	return s
}

// next is the next event, or that the stream has ended.
func (s *stream) next() string {
	s.t.Helper()
	event, open := <-s.events
	if !open {
		return "end"
	}
	return event
}

func TestAnOperationPageHearsOfEachStep(t *testing.T) {
	s := newSite(t)
	o := s.Create(testkit.Ask("fw-prod"))
	alice := s.signIn(t, "alice")
	live := alice.listen(alice.open("/operations/" + string(o.ID)))
	for range 2 {
		o = s.Approve(o, "bob")
		if event := live.next(); event != "changed" {
			t.Fatalf("after an approval: %s", event)
		}
		if _, err := s.Keyserver.Withdraw(t.Context(), s.Caller("bob"), o.ID); err != nil {
			t.Fatal(err)
		}
		if event := live.next(); event != "changed" {
			t.Fatalf("after a withdrawal: %s", event)
		}
	}
}

func TestWhoMayNotSeeAnOperationAnyMoreIsToldToLook(t *testing.T) {
	s := newSite(t)
	o := s.Create(testkit.Ask("fw-one"))
	dave := s.signIn(t, "dave")
	live := dave.listen(dave.open("/operations/" + string(o.ID)))
	s.Enable("dave", false)
	s.Approve(o, "peter")
	if got := fmt.Sprint(live.next(), live.next()); got != "goneend" {
		t.Errorf("the stream says %s", got)
	}
}

func TestASessionPageHearsOfEachStep(t *testing.T) {
	s := newSite(t)
	policy := s.Policy(func(c *law.Configuration) { c.Administration.Active = 3 * time.Hour })
	session := s.OpenSession(&policy)
	adam := s.signIn(t, "adam")
	live := adam.listen(adam.open("/administration/sessions/" + string(session.ID)))
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"ada withdraws", func() error {
			_, err := s.Keyserver.WithdrawAuthorisation(t.Context(), s.Caller("ada"), session.ID)
			return err
		}},
		{"adam authorises", func() error { s.Authorise(session, "adam"); return nil }},
		{"who could give what is missing is somebody else", func() error { s.Enable("ada", false); return nil }},
		{"adam closes", func() error {
			_, err := s.Keyserver.CloseSession(t.Context(), s.Caller("adam"), session.ID)
			return err
		}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if event := live.next(); event != "changed" {
			t.Errorf("%s: %s", step.name, event)
		}
	}
}

func TestASessionPageHearsOfWhatChangedBeforeItListened(t *testing.T) {
	s := newSite(t)
	session := s.OpenSession(nil)
	audrey := s.signIn(t, "audrey")
	page := audrey.open("/administration/sessions/" + string(session.ID))
	s.Authorise(session, "adam")
	if event := audrey.listen(page).next(); event != "changed" {
		t.Errorf("the stream says %s", event)
	}
}

func TestWhoMayNotSeeSessionsHearsNothingOfThem(t *testing.T) {
	s := newSite(t)
	session := s.OpenSession(nil)
	olga := s.signIn(t, "olga")
	live := olga.listen(page{path: "no page", body: `data-live="/live/sessions/` + string(session.ID) + "?shown=" + strings.Repeat("0", 64) + `"`})
	if got := fmt.Sprint(live.next(), live.next()); got != "goneend" {
		t.Errorf("the stream says %s", got)
	}
}

func TestAPageOfARefusalIsNotLive(t *testing.T) {
	s := newSite(t)
	o, session := s.Create(testkit.Ask("fw-prod")), s.OpenSession(nil)
	adam, alice := s.signIn(t, "adam"), s.signIn(t, "alice")
	wrong := url.Values{"digest": {strings.Repeat("0", 64)}}
	for who, at := range map[*person][2]string{alice: {"/operations/" + string(o.ID), "/approve"}, adam: {"/administration/sessions/" + string(session.ID), "/authorise"}} {
		refused := who.send(who.open(at[0]), at[0]+at[1], wrong)
		expect(t, refused, http.StatusPreconditionFailed)
		if strings.Contains(refused.body, "data-live=") {
			t.Errorf("the answer to %s would be loaded again from where no page is", at[1])
		}
	}
}

func TestTheQueueHearsOfWhatChangedBeforeItListened(t *testing.T) {
	s := newSite(t)
	alice := s.signIn(t, "alice")
	for _, at := range []string{"/approvals", "/"} {
		page := alice.open(at)
		s.Create(testkit.Ask("fw-prod"))
		if event := alice.listen(page).next(); event != "changed" {
			t.Errorf("%s: the stream says %s", at, event)
		}
	}
}

func TestTheQueueHearsOfWhatIsNew(t *testing.T) {
	s := newSite(t)
	alice := s.signIn(t, "alice")
	live := alice.listen(alice.open("/approvals"))
	s.Create(testkit.Ask("fw-dev")) // waits for nobody
	s.Create(testkit.Ask("fw-prod"))
	if event := live.next(); event != "changed" {
		t.Errorf("the stream says %s", event)
	}
}

func TestWhoWasDisabledWhileListeningCanListenAgain(t *testing.T) {
	s := newSite(t)
	s.Create(testkit.Ask("fw-one"))
	dave := s.signIn(t, "dave")
	page := dave.open("/approvals")
	var all []*stream
	for range 20 { // as many as one subject may have
		all = append(all, dave.listen(page))
	}
	s.Enable("dave", false)
	for _, live := range all {
		for event := live.next(); event != "end"; event = live.next() {
			if event != "gone" {
				t.Fatalf("the stream says %s", event)
			}
		}
		live.stop()
	}
	s.Enable("dave", true)
	dave.listen(dave.open("/approvals"))
}

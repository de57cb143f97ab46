// Package pages_test uses the pages as people do: real programs, the development identity provider, and a real
// browser, in which each person has cookies of their own.
package pages_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/api"
	"example.org/keyserver/client"
	"example.org/keyserver/e2e/browser"
	"example.org/keyserver/e2e/stand"
	"example.org/keyserver/internal/notify/notifytest"
)

// site is a server with its pages, and a browser.
type site struct {
	*stand.Stand
	browser *browser.Browser
	mail    *notifytest.MailServer
}

func newSite(t *testing.T) *site {
	t.Helper()
	bin := t.TempDir()
	c := exec.Command("go", "build", "-o", bin+string(os.PathSeparator), "../../cmd/keyserver", "../../cmd/devidp")
	c.Env = append(c.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
	mail := notifytest.NewMailServer(t, notifytest.Plain, nil)
	s, err := stand.NewWith(context.WithoutCancel(t.Context()), bin, t.TempDir(), stand.Options{World: true, MailPort: mail.Port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &site{s, browser.New(t), mail}
}

// person is somebody who has signed in.
type person struct {
	*browser.Page
	t    *testing.T
	site *site
}

func (s *site) person(t *testing.T, who string) *person {
	t.Helper()
	p := &person{s.browser.Person(t), t, s}
	p.Size(1280, 800)
	p.open("/")
	p.choose(who)
	p.WaitFor("header .who")
	return p
}

// choose is what somebody does at the identity provider.
func (p *person) choose(who string) {
	p.t.Helper()
	p.Click(`input[name=sub][value="` + who + `"]`)
	p.Click(`button[value=allow]`)
}

func (p *person) open(path string) {
	p.t.Helper()
	p.Open(p.site.Server + path)
}

// well checks that nothing went wrong in the page.
func (p *person) well() {
	p.t.Helper()
	for _, complaint := range p.Complaints() {
		p.t.Errorf("at %s: %s", p.Location(), complaint)
	}
}

func (s *site) as(t *testing.T, who string) *client.Client {
	t.Helper()
	c, err := s.As(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask makes an operation of dana on a key that requires approval.
func (s *site) ask(t *testing.T, key, description, context string) api.Operation {
	t.Helper()
	o, err := s.as(t, "dana").CreateOperation(t.Context(), rand.Text(), api.NewOperation{
		KeyUsageRestrictions: []api.KeyUsageRestriction{{KeyID: key, MaxUsageCount: 1}},
		Description:          description, Context: context, ValidMS: time.Hour.Milliseconds(),
		Artifacts: []api.Artifact{{Name: "image.bin", Size: 5, Hash: "SHA-256", Digest: digest}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// digest is the SHA-256 of "hello", which is the artifact of every operation here.
const digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func (s *site) look(t *testing.T, id string) api.Operation {
	t.Helper()
	o, err := s.as(t, "dana").Operation(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// approvals are the people whose approval stands, in their order.
func approvals(o api.Operation) string {
	var who []string
	for _, a := range o.Approvals {
		if a.Withdrawn == 0 {
			who = append(who, a.By)
		}
	}
	return strings.Join(who, " ")
}

func at(o api.Operation) string { return "/operations/" + o.ID }

func button(o api.Operation, what string) string {
	return fmt.Sprintf(`form[action="%s/%s"] button`, at(o), what)
}

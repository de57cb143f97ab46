package browser

import (
	"encoding/json/v2"
	"fmt"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// Complaints is what went wrong in this page since it was made, in order and a sentence each: violations of the
// content security policy ("csp: …"), errors in the console ("console: …") and from the browser ("log: …"), and
// exceptions that nobody caught ("exception: …"). The browser tells of a violation twice, as an issue and in its log.
//
// A whole page that comes with an error status is none: the test sees what it shows. What a page loads is
// one, but for /favicon.ico, which browsers ask for by themselves.
func (p *Page) Complaints() []string {
	p.t.Helper()
	Eval[bool](p, "true") // what the browser said before this answer has been heard
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.complaints)
}

// listen hears every event of the page, on the goroutine that reads them.
func (p *Page) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.Type == network.ResourceTypeDocument {
			p.documents[string(e.RequestID)] = true
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError && !p.documents[string(e.Entry.NetworkRequestID)] {
			p.complain("log: %s (%s)", e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "assert" {
			p.complain("console: %s", arguments(e.Args))
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.complain("exception: %s (%s:%d)", text, e.ExceptionDetails.URL, e.ExceptionDetails.LineNumber+1)
	case *audits.EventIssueAdded:
		if csp := e.Issue.Details.ContentSecurityPolicyIssueDetails; csp != nil {
			p.complain("csp: %s, against %s %s", csp.ContentSecurityPolicyViolationType, csp.ViolatedDirective, csp.BlockedURL)
		}
	}
}

// complain keeps a complaint, unless it is of the icon that the browser asks every site for, sometimes, and that no
// page need have.
func (p *Page) complain(format string, args ...any) {
	if complaint := strings.TrimSpace(fmt.Sprintf(format, args...)); !strings.Contains(complaint, "/favicon.ico") {
		p.complaints = append(p.complaints, complaint)
	}
}

// arguments tells what a script gave to the console.
func arguments(args []*runtime.RemoteObject) string {
	var told []string
	for _, a := range args {
		var text string
		switch {
		case a.Description != "":
			text = a.Description
		case json.Unmarshal(a.Value, &text) != nil: // no string
			text = string(a.Value)
		}
		told = append(told, text)
	}
	return strings.Join(told, " ")
}

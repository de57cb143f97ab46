// Package browser lets tests use web pages as people do: in a headless Chromium of Debian, driven by the DevTools
// protocol. Each person has a browser context of their own, so cookies of their own, and what a page complains of is
// kept for the test to look at.
//
// Nothing sleeps. What waits, waits for a condition, with the patience of half a minute. What goes wrong ends the
// test, so a Page is for the goroutine of its test alone.
package browser

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// Chromium is where Debian's package chromium has the program.
const Chromium = "/usr/bin/chromium"

const (
	patience = 30 * time.Second
	// A start is slow where other tests have the machine busy.
	startPatience = 2 * time.Minute
	pollEvery     = 25 * time.Millisecond
)

// Browser is one Chromium that runs, with an empty profile that is removed with it.
type Browser struct {
	ctx context.Context
}

// New starts a Chromium. It ends with the test.
func New(t testing.TB) *Browser {
	t.Helper()
	if _, err := os.Stat(Chromium); err != nil {
		t.Fatalf("tests of pages need Chromium: %v; run scripts/need chromium, or install Debian's package chromium", err)
	}
	// Without a user-data-dir among the options the library makes a new one. It says --no-sandbox for root alone.
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(Chromium),
		chromedp.Flag("headless", "new"),
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", "en-GB"),
	)
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(endAllocator)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(end)

	// The life of the browser is that of the context of its first command: no deadline may be on that.
	tooSlow := time.AfterFunc(startPatience, end)
	defer tooSlow.Stop()
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s (it may take %v): %v", Chromium, startPatience, err)
	}
	return &Browser{ctx: ctx}
}

// Person opens an empty page for somebody new: nobody else's cookies are there. It is closed with the test.
func (b *Browser) Person(t testing.TB) *Page {
	t.Helper()
	return open(t, b.ctx, chromedp.WithNewBrowserContext())
}

// Tab opens a further empty page of the same person, with the same cookies.
func (p *Page) Tab() *Page {
	p.t.Helper()
	return open(p.t, p.ctx)
}

func open(t testing.TB, parent context.Context, options ...chromedp.ContextOption) *Page {
	t.Helper()
	p := &Page{t: t, documents: map[string]bool{}}
	ctx, end := chromedp.NewContext(parent, append(options, chromedp.WithListener(p.listen))...)
	t.Cleanup(end)
	p.ctx = ctx

	tooSlow := time.AfterFunc(patience, end)
	defer tooSlow.Stop()
	if _, err := chromedp.Call(ctx, audits.Enable, cdp.Empty{}); err != nil {
		t.Fatalf("opening a page: %v", err)
	}
	return p
}

package browser

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// Page is a page that somebody has open. Selectors are of CSS and mean the first element that fits.
//
// A click returns before the page it leads to is there. Wait for what that page alone shows before asking it.
type Page struct {
	t   testing.TB
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	documents  map[string]bool // the requests that were for a whole page
}

// do runs an action with the patience of all actions, or ends the test.
func do[T any](p *Page, what string, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, end := context.WithTimeout(p.ctx, patience)
	defer end()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		p.fatal(what, err)
	}
	return result
}

// fatal ends the test and says what the page shows.
func (p *Page) fatal(what string, err error) {
	p.t.Helper()
	ctx, end := context.WithTimeout(p.ctx, patience)
	defer end()
	shown, showErr := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.documentElement.innerText`))
	if showErr != nil {
		shown = showErr.Error()
	}
	p.t.Fatalf("%s: %v; the page: %s", what, err, shown)
}

// Open goes to an address and waits until the page is loaded.
func (p *Page) Open(url string) {
	p.t.Helper()
	do(p, "opening "+url, chromedp.Navigate(url))
}

// Back goes back in the page's history, as the button of the browser does: to a page as it was left, where the
// browser keeps that.
func (p *Page) Back() {
	p.t.Helper()
	history := do(p, "reading the history", chromedp.NavigationEntries())
	if history.CurrentIndex == 0 {
		p.fatal("going back", errors.New("there is no page before this one"))
	}
	before := history.Entries[history.CurrentIndex-1]
	p.call("going back", func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: before.ID})
		return err
	})
	p.until("going back", func(ctx context.Context) (bool, error) { // a page that was kept is not loaded
		now, err := chromedp.Run(ctx, chromedp.NavigationEntries())
		if err != nil || now.Entries[now.CurrentIndex].ID != before.ID {
			return false, err
		}
		return chromedp.Run(ctx, chromedp.Evaluate[bool](`document.readyState === "complete"`))
	})
}

// Reload loads the page again.
func (p *Page) Reload() {
	p.t.Helper()
	do(p, "reloading", chromedp.Reload())
}

// Location is the address that the browser shows.
func (p *Page) Location() string {
	p.t.Helper()
	return do(p, "reading the address", chromedp.Location())
}

// HTML is the whole document as it is now.
func (p *Page) HTML() string {
	p.t.Helper()
	return Eval[string](p, "document.documentElement.outerHTML")
}

// Click waits until an element is visible and can be used, and clicks in its middle.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.waitUsable(selector)
	do(p, "clicking "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// DoubleClick is Click by somebody who double-clicks everything.
func (p *Page) DoubleClick(selector string) {
	p.t.Helper()
	p.waitUsable(selector)
	do(p, "double-clicking "+selector, chromedp.DoubleClick(chromedp.CSS(selector)))
}

// Fill puts text into a field in place of what is there, and chooses by value where the field is a list.
func (p *Page) Fill(selector, text string) {
	p.t.Helper()
	p.waitUsable(selector)
	typed := Eval[bool](p, fmt.Sprintf(`(() => {
		const field = document.querySelector(%s), value = %s
		field.focus()
		if (field.tagName !== "SELECT") { field.select(); return true }
		field.value = value
		if (field.value !== value) throw new Error("there is no option " + value)
		for (const event of ["input", "change"]) field.dispatchEvent(new Event(event, {bubbles: true}))
		return false
	})()`, quote(selector), quote(text)))
	switch {
	case !typed:
	case text == "":
		do(p, "emptying "+selector, chromedp.KeyEvent("\b"))
	default:
		do(p, "filling "+selector, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, input.InsertText, input.InsertTextParams{Text: text})
			return err
		}))
	}
}

// Text waits for an element, which need not be visible, and is the text that it shows.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	p.untilTrue("waiting for "+selector, element(selector, "!!e"))
	return Eval[string](p, element(selector, `e ? e.innerText : ""`))
}

// WaitFor waits until an element is visible.
func (p *Page) WaitFor(selector string) {
	p.t.Helper()
	p.untilTrue("waiting for "+selector, element(selector, "!!e && e.checkVisibility({visibilityProperty: true})"))
}

// WaitForText waits until any element of the selector shows the text, among other text.
func (p *Page) WaitForText(selector, text string) {
	p.t.Helper()
	p.untilTrue(fmt.Sprintf("waiting for %q in %s", text, selector), fmt.Sprintf(
		`[...document.querySelectorAll(%s)].some(e => e.checkVisibility({visibilityProperty: true}) && e.innerText.includes(%s))`, quote(selector), quote(text)))
}

// waitUsable waits until an element is visible and not disabled.
func (p *Page) waitUsable(selector string) {
	p.t.Helper()
	p.untilTrue("waiting for a usable "+selector, element(selector, `!!e && e.checkVisibility({visibilityProperty: true}) && !e.matches(":disabled")`))
}

// untilTrue waits until an expression of script is true.
func (p *Page) untilTrue(what, expression string) {
	p.t.Helper()
	p.until(what, func(ctx context.Context) (bool, error) {
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err != nil && strings.Contains(err.Error(), "SyntaxError") {
			p.fatal(what, err) // patience will not mend it
		}
		return holds, err
	})
}

// until waits until a condition holds. A page that gives way to the next one may fail to answer: it is asked again.
func (p *Page) until(what string, condition func(context.Context) (bool, error)) {
	p.t.Helper()
	ctx, end := context.WithTimeout(p.ctx, patience)
	defer end()
	again := time.NewTicker(pollEvery)
	defer again.Stop()
	for {
		holds, err := condition(ctx)
		if err == nil && holds {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			p.fatal(what, errors.Join(ctx.Err(), err))
		}
	}
}

// Eval evaluates an expression of script in the page; a promise is awaited. The content security policy of the page
// does not forbid it, but holds for what the script does.
func Eval[T any](p *Page, expression string) T {
	p.t.Helper()
	return do(p, "evaluating script", chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Script switches the scripts of pages off or on, from the next page on.
func (p *Page) Script(on bool) {
	p.t.Helper()
	p.call("switching script", func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
		return err
	})
}

// Size makes the page so large, in CSS pixels. What is narrower than 600 is a phone, which lays a page out as wide as
// a laptop's unless its viewport says otherwise.
func (p *Page) Size(width, height int) {
	p.t.Helper()
	p.call("changing the size", func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: int64(width), Height: int64(height), DeviceScaleFactor: 1, Mobile: width < 600,
		})
		return err
	})
}

// Scheme says which colours the person prefers: "dark" or "light".
func (p *Page) Scheme(scheme string) {
	p.t.Helper()
	p.call("choosing colours", func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// Screenshot writes a picture (PNG) of the whole page to a file, and makes the folder that it is in.
func (p *Page) Screenshot(path string) {
	p.t.Helper()
	picture := do(p, "taking a screenshot", chromedp.FullScreenshot(100))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, picture, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *Page) call(what string, command func(context.Context, *chromedp.Target) error) {
	p.t.Helper()
	do(p, what, chromedp.Func(command))
}

// element is script that says something of e, the first element of a selector or null.
func element(selector, says string) string {
	return fmt.Sprintf("(e => %s)(document.querySelector(%s))", says, quote(selector))
}

// quote writes a text as script does. JSON is that.
func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil { // not UTF-8: the selector then fits nothing
		return `""`
	}
	return string(quoted)
}

package verify_test

import (
	"encoding/json/jsontext"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
)

// AR-09
func TestAR09_AForgedSessionIsFound(t *testing.T) {
	wantUntold(t, map[string]forgery{
		"opened by somebody else than it says": edited(by("bea"), audit.SessionOpened, in("plan")),
		"opened with another digest":           edited(func(e *audit.Event) { e.Digest = law.Digest(strings.Repeat("0", 64)) }, audit.SessionOpened),
		"opened in another form":               edited(func(e *audit.Event) { e.Statement = jsontext.Value(`{}`) }, audit.SessionOpened),
		"opened with another id":               edited(func(e *audit.Event) { e.Session = "another" }, audit.SessionOpened),
		"opened with another description":      edited(func(e *audit.Event) { e.SessionDescription = "another" }, audit.SessionOpened),
		"requiring fewer administrators":       restated(func(s *law.SessionStatement) { s.Required = 2 }),
		"active for longer":                    restated(func(s *law.SessionStatement) { s.Active = time.Hour }),
		"of another server":                    restated(func(s *law.SessionStatement) { s.Server = "another" }),
		"opened at another time":               restated(func(s *law.SessionStatement) { s.Opened = s.Opened.Add(time.Second) }),
		"with a short nonce":                   restated(func(s *law.SessionStatement) { s.Nonce = "00" }),
		"with a plan that has no digest":       restated(func(s *law.SessionStatement) { s.Plan = "plan" }),
		"opened by somebody who administers not": {"section 5", func(l *log) int {
			at := l.find(0, audit.SessionOpened, in("plan"))
			l.edit(at, by("eve"))
			return restated(func(s *law.SessionStatement) { s.OpenedBy.Subject, s.OpenedBy.Sub = "eve", "sub of eve" }).forge(l)
		}},
		"opened twice": {"section 5", func(l *log) int {
			at := l.find(0, audit.SessionOpened)
			return l.tell(at+1, l.events[at], nil)
		}},
		"authorised by somebody who administers not": edited(by("eve"), audit.SessionAuthorised, in("plan")),
		"authorised by somebody unknown":             edited(by("nobody"), audit.SessionAuthorised, in("plan")),
		"authorised by a disabled administrator":     told(audit.SessionAuthorised, "dina", "runs out", audit.SessionAuthorised, nil),
		"authorised twice by the same":               edited(by("ada"), audit.SessionAuthorised, in("plan")),
		"authorised with another digest":             edited(func(e *audit.Event) { e.Digest = law.Digest(strings.Repeat("0", 64)) }, audit.SessionAuthorised),
		"authorised though it was never opened":      edited(func(e *audit.Event) { e.Session = "another" }, audit.SessionAuthorised),
		"authorised after it was closed":             told(audit.SessionAuthorised, "dina", "changes", audit.SessionClosed, nil),
		"authorised after a day": {"section 5", func(l *log) int {
			opened := l.events[l.find(0, audit.SessionOpened, in("waits"))]
			at := l.find(0, audit.ConfigurationChanged, configures("fw-new"), inEmergency)
			return l.tell(at, l.events[l.find(0, audit.SessionAuthorised)], func(e *audit.Event) {
				e.Session, e.SessionDescription, e.Digest = opened.Session, opened.SessionDescription, opened.Digest
				e.Time, e.Batch = opened.Time+law.SessionWait.Milliseconds(), "a day later"
			})
		}},
		"active without saying so": {"section 5", func(l *log) int {
			active := l.find(0, audit.SessionBecameActive)
			l.remove(active)
			return active
		}},
		"active though one authorisation is missing": {"section 5", func(l *log) int {
			authorised := l.find(0, audit.SessionAuthorised, in("plan"))
			l.remove(authorised)
			return l.find(authorised, audit.SessionBecameActive)
		}},
		"active twice": {"section 5", func(l *log) int {
			active := l.find(0, audit.SessionBecameActive)
			return l.tell(active+1, l.events[active], nil)
		}},
		"active with another digest": {"section 5", func(l *log) int {
			active := l.find(0, audit.SessionBecameActive)
			l.edit(active, func(e *audit.Event) { e.Digest = law.Digest(strings.Repeat("0", 64)) })
			return active
		}},
		"lapsed though nothing has changed": {"section 5", func(l *log) int {
			active := l.find(0, audit.SessionBecameActive)
			return l.tell(active+1, l.events[active], func(e *audit.Event) { e.Type = audit.SessionLapsed })
		}},
		"expired before its time": edited(func(e *audit.Event) { e.Time -= time.Minute.Milliseconds() + 1; e.Batch = "earlier" }, audit.SessionExpired, in("runs out")),
		"expired after it was closed": {"section 5", func(l *log) int {
			closed := l.find(0, audit.SessionClosed)
			return l.tell(closed+1, l.events[l.find(0, audit.SessionBecameActive)], func(e *audit.Event) { e.Type = audit.SessionExpired })
		}},
		"closed by somebody who administers not": edited(by("audrey"), audit.SessionClosed, in("changes")),
		"closed twice": {"section 5", func(l *log) int {
			closed := l.find(0, audit.SessionClosed)
			return l.tell(closed+1, l.events[closed], nil)
		}},
		"withdrawn by one who authorised not":   edited(by("dina"), audit.SessionWithdrawn),
		"withdrawn by a disabled administrator": edited(by("bea"), audit.SessionWithdrawn),
		"withdrawn while it is active":          told(audit.SessionWithdrawn, "ada", "changes", audit.SessionBecameActive, nil),
		"withdrawn twice": {"section 5", func(l *log) int {
			withdrawn := l.find(0, audit.SessionWithdrawn)
			return l.tell(withdrawn+1, l.events[withdrawn], nil)
		}},
		"forgotten when a clock was accepted": {"rule 8", func(l *log) int {
			last := len(l.events)
			at := l.events[last-1].Time
			return l.tell(last, l.events[0], func(e *audit.Event) {
				*e = audit.Event{Version: e.Version, Time: at - 1, Batch: "clock", Type: audit.ClockAccepted, Clock: &audit.ClockStep{Old: at, New: at - 1}}
			})
		}},
		"ended by a clock that nobody accepts": {"rule 8", func(l *log) int {
			last := len(l.events)
			l.tell(last, l.events[last-1], func(e *audit.Event) {
				e.Type, e.Actor, e.Statement, e.Reason = audit.SessionExpired, nil, nil, "an operator accepted a clock that went back"
			})
			return last + 1
		}},
	})
}

// What does not happen leaves nothing behind but that it was asked for.
func TestARefusalNamesItsSessionAsItIs(t *testing.T) {
	refused := func(change func(*audit.Event)) forgery {
		f := told(audit.SessionRefused, "eve", "changes", audit.SessionAuthorised, func(e *audit.Event) {
			e.Refusal, e.Reason = law.Forbidden, "an administration session is authorised by an administrator"
			change(e)
		})
		f.rule = ""
		return f
	}
	l := &log{t, administer(t).log.events}
	for _, f := range []forgery{
		refused(func(*audit.Event) {}),
		refused(func(e *audit.Event) { e.Session, e.SessionDescription, e.Digest = "", "", "" }),
		refused(func(e *audit.Event) { e.Type, e.Digest = audit.RequestRefused, "" }),
	} {
		l.edit(f.forge(l), func(e *audit.Event) { e.Batch = "another" })
	}
	// They stand right behind an authorisation by which the session became active, which must be said at once.
	active := l.find(0, audit.SessionBecameActive, in("changes"))
	for range 3 {
		l.events[active], l.events[active-1] = l.events[active-1], l.events[active]
		active--
	}
	if err := l.fold(); err != nil {
		t.Fatal(err)
	}
	forgeries := map[string]forgery{}
	for name, change := range map[string]func(*audit.Event){
		"of a session that was never opened": func(e *audit.Event) { e.Session = "another" },
		"with another description":           func(e *audit.Event) { e.SessionDescription = "another" },
		"with another digest":                func(e *audit.Event) { e.Digest = law.Digest(strings.Repeat("0", 64)) },
		"with no session but its digest":     func(e *audit.Event) { e.Session, e.SessionDescription = "", "" },
	} {
		forgeries[name] = forgery{"", func(l *log) int {
			f := told(audit.SessionRefused, "eve", "changes", audit.SessionOpened, func(e *audit.Event) {
				e.Refusal, e.Reason = law.Forbidden, "no"
				change(e)
			})
			return f.forge(l)
		}}
	}
	wantUntold(t, forgeries)
}

func TestAnEventOfASessionTellsWhatItMust(t *testing.T) {
	forgeries := map[string]forgery{}
	for kind, spoil := range map[audit.Type]func(*audit.Event){
		audit.SessionOpened:       func(e *audit.Event) { e.Statement = nil },
		audit.SessionAuthorised:   func(e *audit.Event) { e.Actor = nil },
		audit.SessionWithdrawn:    func(e *audit.Event) { e.Digest = "" },
		audit.SessionBecameActive: func(e *audit.Event) { by("ada")(e) },
		audit.SessionLapsed:       reasonless,
		audit.SessionPlanApplied:  func(e *audit.Event) { e.Session = "" },
		audit.SessionClosed:       reasonless,
		audit.SessionExpired:      func(e *audit.Event) { e.SessionDescription = "" },
	} {
		f := edited(spoil, kind)
		f.rule = "what an event tells"
		forgeries[string(kind)] = f
	}
	wantUntold(t, forgeries)
}

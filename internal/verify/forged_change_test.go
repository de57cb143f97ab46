package verify_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/keyserver/internal/audit"
	"example.org/keyserver/internal/law"
	"example.org/keyserver/internal/verify"
)

// wantUntold wants every forgery of the tale to be found, at its entry and for its rule.
func wantUntold(t *testing.T, forgeries map[string]forgery) {
	t.Helper()
	events := administer(t).log.events
	for name, f := range forgeries {
		t.Run(name, func(t *testing.T) {
			l := &log{t, slices.Clone(events)}
			at := f.forge(l)
			err := l.fold()
			var v *verify.Violation
			if !errors.As(err, &v) || v.Index != int64(at) || !strings.Contains(v.Rule, f.rule) {
				t.Errorf("reported is %v; must be entry %d, %s", err, at, f.rule)
			}
			t.Log(err)
		})
	}
}

// in is a condition: the event is of that session.
func in(description string) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.SessionDescription == description }
}

func configures(id string) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Configuration.ID == id }
}

func inEmergency(e audit.Event) bool { return e.Actor != nil && e.Session == "" }

// edited is a forgery of the first such event.
func edited(change func(*audit.Event), kind audit.Type, conditions ...func(audit.Event) bool) forgery {
	return forgery{"section 5", func(l *log) int {
		i := l.find(0, kind, conditions...)
		l.edit(i, change)
		return i
	}}
}

// changed is a forgery of what is configured in the first such event.
func changed(old, with string, conditions ...func(audit.Event) bool) forgery {
	return edited(replaceValue(old, with), audit.ConfigurationChanged, conditions...)
}

// told is a forgery: an event of that session after the last such one, by somebody.
func told(kind audit.Type, who law.SubjectID, description string, after audit.Type, change func(*audit.Event)) forgery {
	return forgery{"section 5", func(l *log) int {
		at := l.find(0, after, in(description))
		like := l.events[l.find(0, audit.SessionAuthorised, in(description))]
		return l.tell(at+1, like, func(e *audit.Event) {
			by(who)(e)
			e.Type = kind
			if change != nil {
				change(e)
			}
		})
	}}
}

// restated is a forgery of what a session says of itself, with its digest wherever that stands.
func restated(change func(s *law.SessionStatement)) forgery {
	return forgery{"section 5", func(l *log) int {
		at := l.find(0, audit.SessionOpened, in("plan"))
		s, err := law.ParseSessionStatement(l.events[at].Statement)
		if err != nil {
			l.Fatal(err)
		}
		change(&s)
		for i, e := range l.events {
			if e.SessionDescription != "plan" {
				continue
			}
			l.edit(i, func(e *audit.Event) {
				if e.Statement != nil {
					e.Statement = s.Canonical()
				}
				if e.Digest != "" {
					e.Digest = s.Digest()
				}
			})
		}
		return at
	}}
}

func withoutSession(e *audit.Event) { e.Session, e.SessionDescription = "", "" }

func reasonless(e *audit.Event) { e.Reason = "" }

// AR-09, AZ-04
func TestAR09_AForgedChangeOfTheConfigurationIsFound(t *testing.T) {
	wantUntold(t, map[string]forgery{
		"without a session":                      edited(withoutSession, audit.ConfigurationChanged, in("changes")),
		"without a session, by nobody":           edited(func(e *audit.Event) { withoutSession(e); e.Actor = nil }, audit.ConfigurationChanged, in("changes")),
		"in a session, by nobody":                edited(func(e *audit.Event) { e.Actor = nil }, audit.ConfigurationChanged, in("changes")),
		"in a session that was never opened":     edited(func(e *audit.Event) { e.Session = "another" }, audit.ConfigurationChanged, in("changes")),
		"in a session of another description":    edited(func(e *audit.Event) { e.SessionDescription = "another" }, audit.ConfigurationChanged, in("changes")),
		"with a description and no session":      edited(func(e *audit.Event) { e.Session = "" }, audit.ConfigurationChanged, in("changes")),
		"by an administrator who authorised not": edited(by("dina"), audit.ConfigurationChanged, in("changes")),
		"by somebody else":                       edited(by("eve"), audit.ConfigurationChanged, in("changes")),
		"by somebody unknown":                    edited(by("nobody"), audit.ConfigurationChanged, in("changes")),
		"in an inactive session": {"section 5", func(l *log) int {
			change := l.find(0, audit.ConfigurationChanged, in("changes"))
			return l.tell(l.find(0, audit.SessionOpened, in("changes"))+1, l.events[change], nil)
		}},
		"in a session that has lapsed": {"section 5", func(l *log) int {
			change := l.find(0, audit.ConfigurationChanged, in("lapses"))
			return l.tell(l.find(0, audit.SessionLapsed, in("lapses"))+1, l.events[change], nil)
		}},
		"in a closed session": {"section 5", func(l *log) int {
			change := l.find(0, audit.ConfigurationChanged, in("changes"))
			return l.tell(l.find(0, audit.SessionClosed, in("changes"))+1, l.events[change], nil)
		}},
		"in a session whose time has run out": {"section 5", func(l *log) int { return l.atTheEnd(0) }},
		"of another in the same commit, with another description": {"section 5", func(l *log) int {
			change := l.find(0, audit.ConfigurationChanged, in("changes"))
			return l.tell(change+1, l.events[change], func(e *audit.Event) { e.SessionDescription = "another" })
		}},
		"by one who was just disabled in the same commit": {"section 5", func(l *log) int {
			disabled := l.find(0, audit.ConfigurationChanged, inEmergency, configures("bea"))
			return l.tell(disabled+1, l.events[disabled], by("bea"))
		}},
		"as a first configuration that is not at the beginning": {"section 5", func(l *log) int {
			l.events = slices.Insert(l.events, 0, l.events[0])
			l.edit(0, func(e *audit.Event) {
				*e = audit.Event{Version: e.Version, Time: e.Time, Batch: "before", Type: audit.ServerStarted, Server: "keyserver/verify"}
			})
			return 1
		}},
		"as another first configuration": {"section 5", func(l *log) int {
			first := l.find(0, audit.ConfigurationChanged, byServer, configures("administrators"))
			later := l.find(0, audit.SessionOpened)
			l.events = slices.Insert(l.events, later, l.events[first])
			l.edit(later, func(e *audit.Event) { e.Batch = "another" })
			return later
		}},
	})
}

// atTheEnd tells of a change that long after the last millisecond of a session.
func (l *log) atTheEnd(ms int64) int {
	active := l.events[l.find(0, audit.SessionBecameActive, in("runs out"))]
	expired := l.find(0, audit.SessionExpired, in("runs out"))
	return l.tell(expired, l.events[l.find(0, audit.ConfigurationChanged, in("lapses"), configures("bea"))], func(e *audit.Event) {
		by("cleo")(e)
		e.Session, e.SessionDescription = active.Session, active.SessionDescription
		e.Time, e.Batch = active.Time+time.Hour.Milliseconds()+ms, "the last moment"
	})
}

func TestInItsLastMillisecondASessionAllowsAChange(t *testing.T) {
	l := administer(t).log
	l.atTheEnd(-1)
	if err := l.fold(); err != nil {
		t.Error(err)
	}
}

// AR-09
func TestAR09_AnEmergencyOnlyDisables(t *testing.T) {
	emergency := func(id string) []func(audit.Event) bool {
		return []func(audit.Event) bool{inEmergency, configures(id)}
	}
	wantUntold(t, map[string]forgery{
		"by somebody who is no administrator": edited(by("eve"), audit.ConfigurationChanged, emergency("fw-two")...),
		"by an auditor":                       edited(by("audrey"), audit.ConfigurationChanged, emergency("bea")...),
		"lowering a requirement": {"section 5", func(l *log) int {
			raised := l.find(0, audit.ConfigurationChanged, in("changes"), configures("fw-one"))
			at := l.find(raised, audit.SessionClosed)
			return l.tell(at+1, l.events[raised], func(e *audit.Event) {
				withoutSession(e)
				replaceValue(`"requirement":1`, `"requirement":0`)(e)
			})
		}},
		"changing a limit besides":   changed(`"maxusagecount":10`, `"maxusagecount":11`, emergency("fw-two")...),
		"revoking a key":             changed(`"state":"disabled"`, `"state":"revoked"`, emergency("fw-two")...),
		"changing nothing":           changed(`"state":"disabled"`, `"state":"active"`, emergency("fw-two")...),
		"renaming a subject besides": changed(`"name":"bea"`, `"name":"Bea"`, emergency("bea")...),
		"of a subject that there is not": edited(func(e *audit.Event) {
			replaceValue(`"id":"bea"`, `"id":"zoe"`)(e)
			e.Configuration.ID = "zoe"
		}, audit.ConfigurationChanged, emergency("bea")...),
		"enabling a subject":            edited(withoutSession, audit.ConfigurationChanged, in("lapses"), configures("bea")),
		"enabling a key":                edited(withoutSession, audit.ConfigurationChanged, in("lapses"), configures("fw-two")),
		"changing what takes a session": edited(withoutSession, audit.ConfigurationChanged, in("lapses"), configures("administration")),
		"changing a role":               edited(withoutSession, audit.ConfigurationChanged, in("changes"), configures("auditors")),
		"twice": {"section 5", func(l *log) int {
			disabled := l.find(0, audit.ConfigurationChanged, emergency("fw-two")...)
			return l.tell(disabled+1, l.events[disabled], nil)
		}},
		"without saying that a session lapsed by it": {"section 5", func(l *log) int {
			lapsed := l.find(0, audit.SessionLapsed, in("lapses"))
			l.remove(lapsed)
			return lapsed
		}},
		"saying that a session lapsed by it only later": {"section 5", func(l *log) int {
			lapsed := l.find(0, audit.SessionLapsed, in("lapses"))
			l.edit(lapsed, func(e *audit.Event) { e.Batch = "another" })
			return lapsed
		}},
		"without saying that a session had expired by then": {"section 5", func(l *log) int {
			last := l.find(0, audit.SessionExpired, in("waits"))
			l.remove(last)
			return last
		}},
	})
}

// AR-09
func TestAR09_APlanIsAppliedAsItWasAuthorisedOrNotAtAll(t *testing.T) {
	closing := func(l *log) int { return l.find(0, audit.SessionClosed, in("plan")) }
	// spoilt is a forgery that only the digest of the plan shows.
	spoilt := func(forge func(l *log, first int)) forgery {
		return forgery{"section 5", func(l *log) int {
			forge(l, l.find(0, audit.ConfigurationChanged, in("plan")))
			return closing(l)
		}}
	}
	wantUntold(t, map[string]forgery{
		"with another object": spoilt(func(l *log, first int) {
			l.edit(l.find(first, audit.ConfigurationChanged, configures("fw-planned")), replaceValue(`"maxusagecount":10`, `"maxusagecount":11`))
		}),
		"with an object more": spoilt(func(l *log, first int) {
			l.tell(first+1, l.events[l.find(0, audit.ConfigurationChanged, in("lapses"), configures("bea"))], func(e *audit.Event) {
				by("dina")(e)
				e.Session, e.SessionDescription = l.events[first].Session, "plan"
			})
		}),
		"with an object less": spoilt(func(l *log, first int) { l.remove(l.find(first, audit.ConfigurationChanged, configures("approvers"))) }),
		"with nothing": {"section 5", func(l *log) int {
			first := l.find(0, audit.ConfigurationChanged, in("plan"))
			l.events = slices.Delete(l.events, first, closing(l))
			return closing(l)
		}},
		"in another order": spoilt(func(l *log, first int) { l.events[first], l.events[first+1] = l.events[first+1], l.events[first] }),
		"in two commits": {"section 5", func(l *log) int {
			first := l.find(0, audit.ConfigurationChanged, in("plan"))
			l.edit(first+1, func(e *audit.Event) { e.Batch = "another" })
			return first + 1
		}},
		"by two people": {"section 5", func(l *log) int {
			first := l.find(0, audit.ConfigurationChanged, in("plan"))
			l.edit(first+1, by("cleo"))
			return first + 1
		}},
		"by an administrator who authorised not": edited(by("bea"), audit.SessionPlanApplied, in("plan")),
		"with a new key pair of a key that is there": {"section 5", func(l *log) int {
			i := l.find(l.find(0, audit.SessionPlanApplied), audit.ConfigurationChanged, configures("fw-one"))
			l.edit(i, func(e *audit.Event) {
				k := someKey("fw-one").With(somePair("fw-one", 2))
				objects, err := audit.ConfigurationOf(law.Configuration{Keys: []law.Key{k}})
				if err != nil {
					l.Fatal(err)
				}
				e.Configuration = &objects[0]
			})
			return i
		}},
		"twice": {"section 5", func(l *log) int {
			applied, closed := l.find(0, audit.SessionPlanApplied), closing(l)
			again := slices.Clone(l.events[applied:closed])
			l.events = slices.Insert(l.events, closed+1, again...)
			return closed + 1
		}},
		"twice before it is closed": {"section 5", func(l *log) int {
			applied, closed := l.find(0, audit.SessionPlanApplied), closing(l)
			again := slices.Clone(l.events[applied:closed])
			l.events = slices.Insert(l.events, closed, again...)
			return closed
		}},
		"without closing the session": {"section 5", func(l *log) int {
			closed := closing(l)
			l.remove(closed)
			return closed
		}},
		"closing the session later": {"section 5", func(l *log) int {
			closed := closing(l)
			l.edit(closed, func(e *audit.Event) { e.Batch = "another" })
			return closed
		}},
		"closed by another": edited(by("cleo"), audit.SessionClosed, in("plan")),
		"without saying so": {"section 5", func(l *log) int {
			applied := l.find(0, audit.SessionPlanApplied)
			l.remove(applied)
			return applied
		}},
		"though the configuration has changed": {"section 5", func(l *log) int {
			applied := l.find(0, audit.SessionPlanApplied)
			return l.tell(applied, l.events[l.find(0, audit.ConfigurationChanged, inEmergency, configures("fw-two"))], nil) + 1
		}},
		"though there is none":           told(audit.SessionPlanApplied, "ada", "changes", audit.SessionBecameActive, nil),
		"though the session is inactive": told(audit.SessionPlanApplied, "ada", "plan", audit.SessionOpened, nil),
		"though another was authorised": {"section 5", func(l *log) int {
			restated(func(s *law.SessionStatement) { s.Plan = law.Digest(strings.Repeat("0", 64)) }).forge(l)
			return closing(l)
		}},
		"of a session, which then has a single change": {"section 5", func(l *log) int {
			applied := l.find(0, audit.SessionPlanApplied)
			return l.tell(applied, l.events[l.find(0, audit.ConfigurationChanged, in("plan"), configures("fw-planned"))], nil)
		}},
		"without saying what lapsed by it": {"section 5", func(l *log) int {
			lapsed := closing(l) + 1
			l.remove(lapsed)
			return lapsed
		}},
	})
}

// Section 5: what never changes, in a session or not.
func TestWhatNeverChangesDoesNotChangeInASessionEither(t *testing.T) {
	key := []func(audit.Event) bool{in("changes"), configures("fw-one")}
	// goes is a forgery by which an object is removed.
	goes := func(kind audit.ConfigurationKind, id string) func(*audit.Event) {
		return func(e *audit.Event) {
			gone := audit.Removed(kind, id)
			e.Configuration = &gone
		}
	}
	form := func(f forgery) forgery { f.rule = "the form of the configuration"; return f }
	role := []func(audit.Event) bool{in("changes"), configures("auditors")}
	wantUntold(t, map[string]forgery{
		"a key's type":      changed(`"type":"FW"`, `"type":"CA"`, key...),
		"a key's algorithm": changed(`"algorithm":"ECDSA-P256"`, `"algorithm":"ECDSA-P384"`, key...),
		"that a key signs no statuses": changed(`"profile":null`, `"profile":{"crlurl":"","extendedkeyusage":["OCSPSigning"],"keyusage":["digitalSignature"],"pathlen":0,`+
			`"subject":{"commonname":"x","country":"","locality":"","organization":"","organizationalunit":"","province":""},"validityms":1000}`, key...),
		"a key's hash":                      changed(`"hash":"SHA-256"`, `"hash":"SHA-384"`, key...),
		"a key's schemes":                   changed(`"schemes":["ECDSA"]`, `"schemes":["ECDSA","EdDSA"]`, key...),
		"a key's keystore":                  changed(`"keystore":"software"`, `"keystore":"hsm"`, key...),
		"where a key is from":               changed(`"adopted":""`, `"adopted":"pkcs11:object=x"`, key...),
		"whether a key may leave":           changed(`"mayleave":false`, `"mayleave":true`, key...),
		"where a key pair was made":         changed(`"local":true`, `"local":false`, key...),
		"a key pair, without a new version": changed(`"handle":"fw-one 1"`, `"handle":"fw-two 1"`, key...),
		"a revoked key": edited(func(e *audit.Event) {
			objects, err := audit.ConfigurationOf(law.Configuration{Keys: []law.Key{someKey("old").With(somePair("old", 1))}})
			if err != nil {
				t.Fatal(err)
			}
			e.Configuration = &objects[0]
		}, audit.ConfigurationChanged, key...),
		"a subject's kind":                   changed(`"kind":"user"`, `"kind":"client"`, in("lapses"), configures("bea")),
		"that a key is there":                edited(goes(audit.ConfiguredKey, "fw-one"), audit.ConfigurationChanged, key...),
		"that a subject is there":            edited(goes(audit.ConfiguredSubject, "eve"), audit.ConfigurationChanged, key...),
		"what takes a session, to be nobody": changed(`"administrators":3`, `"administrators":-3`, in("lapses"), configures("administration")),
		"that no two keys have the same key pair": {"the form of the configuration", func(l *log) int {
			replaced := l.find(0, audit.ConfigurationChanged, in("changes"), configures("fw-two"))
			l.edit(replaced, func(e *audit.Event) {
				pair := somePair("fw-one", 1)
				pair.Version = 2
				objects, err := audit.ConfigurationOf(law.Configuration{Keys: []law.Key{someKey("fw-two").With(pair)}})
				if err != nil {
					l.Fatal(err)
				}
				e.Configuration = &objects[0]
			})
			return replaced
		}},
		"that a role was there before it went": form(edited(goes(audit.ConfiguredRole, "no-role"), audit.ConfigurationChanged, role...)),
	})
}
